"""Attention as one kernel: the (queries, keys) matrix of scores never leaves the chip.

One program computes `BLOCK_Q` rows of the output of one head of one batch item. It walks over the keys in blocks of
`BLOCK_K` and keeps three things a row: the largest score so far, the sum of exponentials, and the sum of values.

Masks: `causal` is aligned at the bottom right (the last query sees all keys: query i sees key j when
j ≤ i + keys - queries), `lengths` hides the keys from a length on, one length a batch item. A query that sees no key
gets zeros, and a log-sum-exp of minus infinity.
"""

from __future__ import annotations

import math

import torch
from jaxtyping import Float, Int
from torch import Tensor

from attention_from_scratch.triton_launch import block_sizes, check_inputs
from attention_from_scratch.triton_support import check_runnable, tl, triton

__all__ = [
    "attention_forward_kernel", "attention_specification", "blocks_to_visit", "one_head_attention", "one_head_kernel",
    "triton_attention",
]  # fmt: skip

LOG2_E = math.log2(math.e)


def attention_specification(
    q: Float[Tensor, "batch heads queries dim"],
    k: Float[Tensor, "batch groups keys dim"],
    v: Float[Tensor, "batch groups keys dim"],
    causal: bool,
    lengths: Int[Tensor, " batch"] | None,
    scale: float,
) -> tuple[Float[Tensor, "batch heads queries dim"], Float[Tensor, "batch heads queries"]]:
    """What the kernel computes, in plain PyTorch: the output, and the log-sum-exp of every row of scores."""
    share = q.shape[1] // k.shape[1]
    k, v = k.repeat_interleave(share, dim=1), v.repeat_interleave(share, dim=1)  # (batch, heads, keys, dim)
    scores = scale * (q @ k.transpose(-2, -1))  # (batch, heads, queries, keys)
    queries, keys = scores.shape[-2:]
    query, key = torch.arange(queries, device=q.device), torch.arange(keys, device=q.device)
    seen = torch.ones(1, 1, queries, keys, dtype=torch.bool, device=q.device)
    if causal:
        seen = seen & (key[None, :] <= query[:, None] + keys - queries)
    if lengths is not None:
        seen = seen & (key < lengths[:, None, None, None])
    lse = torch.logsumexp(scores.masked_fill(~seen, -math.inf), dim=-1)
    safe = torch.where(lse == -math.inf, 0.0, lse)[..., None]
    weights = torch.where(seen, torch.exp(torch.where(seen, scores, safe) - safe), 0.0)
    return weights @ v, lse


@triton.jit
def one_head_kernel(
    q_ptr, k_ptr, v_ptr, out_ptr, lse_ptr, queries, keys, scale,
    DIM: tl.constexpr, BLOCK_Q: tl.constexpr, BLOCK_K: tl.constexpr,
):  # fmt: skip
    """Rows p·BLOCK_Q … of the output of one head, for program p, and the log-sum-exp of their scores.

    q and out are (queries, DIM), k and v are (keys, DIM), contiguous; lse is (queries,). All are float32, and DIM is a
    power of two. The score of a query and a key is scale · q·k. Every query sees every key.
    """
    ### BEGIN SOLUTION
    rows = tl.program_id(0) * BLOCK_Q + tl.arange(0, BLOCK_Q)
    dims = tl.arange(0, DIM)
    in_row = (rows < queries)[:, None]
    q = tl.load(q_ptr + rows[:, None] * DIM + dims[None, :], mask=in_row, other=0.0)  # (BLOCK_Q, DIM)
    largest = tl.full([BLOCK_Q], float("-inf"), tl.float32)
    total = tl.zeros([BLOCK_Q], tl.float32)
    blend = tl.zeros([BLOCK_Q, DIM], tl.float32)
    for start in range(0, keys, BLOCK_K):
        key = start + tl.arange(0, BLOCK_K)
        at = key[:, None] * DIM + dims[None, :]  # (BLOCK_K, DIM)
        k = tl.load(k_ptr + at, mask=(key < keys)[:, None], other=0.0)
        v = tl.load(v_ptr + at, mask=(key < keys)[:, None], other=0.0)
        scores = scale * tl.dot(q, tl.trans(k), input_precision="ieee")  # (BLOCK_Q, BLOCK_K)
        scores = tl.where((key < keys)[None, :], scores, float("-inf"))
        new = tl.maximum(largest, tl.max(scores, 1))
        shrink = tl.exp(largest - new)
        weights = tl.exp(scores - new[:, None])
        total = total * shrink + tl.sum(weights, 1)
        blend = tl.dot(weights, v, blend * shrink[:, None], input_precision="ieee")
        largest = new
    tl.store(out_ptr + rows[:, None] * DIM + dims[None, :], blend / total[:, None], mask=in_row)
    tl.store(lse_ptr + rows, largest + tl.log(total), mask=rows < queries)
    ### END SOLUTION


def one_head_attention(
    q: Float[Tensor, "queries dim"],
    k: Float[Tensor, "keys dim"],
    v: Float[Tensor, "keys dim"],
    scale: float,
    block_q: int,
    block_k: int,
    out: Float[Tensor, "queries dim"],
    lse: Float[Tensor, " queries"],
) -> tuple[Float[Tensor, "queries dim"], Float[Tensor, " queries"]]:
    """Launch `one_head_kernel`, one program a block of queries; writes into `out` and `lse` and returns them."""
    check_runnable(q, k, v, out, lse)
    queries, dim = q.shape
    one_head_kernel[(triton.cdiv(queries, block_q),)](
        q, k, v, out, lse, queries, len(k), scale, DIM=dim, BLOCK_Q=block_q, BLOCK_K=block_k
    )
    return out, lse


def blocks_to_visit(
    block: int, block_q: int, block_k: int, queries: int, keys: int, length: int, causal: bool
) -> int:
    """How many blocks of keys, counted from the first, the block of queries number `block` has to visit.

    Blocks of queries hold `block_q` rows, blocks of keys `block_k`. Only keys below `length` are seen (`length` is at
    most `keys`), and under `causal` query i sees key j when j ≤ i + keys − queries. Blocks behind the last key that any
    of the queries sees are not visited.
    """
    ### BEGIN SOLUTION
    end = length
    if causal:
        last_query = min((block + 1) * block_q, queries) - 1
        end = min(end, max(0, last_query + keys - queries + 1))
    return triton.cdiv(end, block_k)
    ### END SOLUTION


@triton.jit
def attention_forward_kernel(
    q_ptr, k_ptr, v_ptr, out_ptr, lse_ptr, lengths_ptr,
    q_batch, q_head, q_row, q_dim,
    k_batch, k_head, k_row, k_dim,
    v_batch, v_head, v_row, v_dim,
    out_batch, out_head, out_row, out_dim,
    heads, share, queries, keys, scale_log2,
    CAUSAL: tl.constexpr, HAS_LENGTHS: tl.constexpr, DIM: tl.constexpr,
    BLOCK_D: tl.constexpr, BLOCK_Q: tl.constexpr, BLOCK_K: tl.constexpr,
):  # fmt: skip
    """Rows `BLOCK_Q` · program 0 … of the output of one head; program 1 counts (batch, head) pairs.

    Each tensor has four strides, in the order of its axes; `lse` is contiguous, (batch, heads, queries), in float32.
    `share` query heads read one head of keys. `scale_log2` is the scale of the scores times log2(e), because the
    hardware has exp2 and not exp. `BLOCK_D` is the power of two that holds `DIM` numbers.
    """
    ### BEGIN SOLUTION
    batch = (tl.program_id(1) // heads).to(tl.int64)  # offsets into large tensors overflow 32 bits
    head = (tl.program_id(1) % heads).to(tl.int64)
    rows = tl.program_id(0) * BLOCK_Q + tl.arange(0, BLOCK_Q)
    columns = tl.arange(0, BLOCK_K)
    dims = tl.arange(0, BLOCK_D)
    in_row, in_dim = rows < queries, dims < DIM

    q_at = q_ptr + batch * q_batch + head * q_head + rows[:, None] * q_row + dims[None, :] * q_dim
    q = tl.load(q_at, mask=in_row[:, None] & in_dim[None, :], other=0.0)  # (BLOCK_Q, BLOCK_D)
    k_at = k_ptr + batch * k_batch + head // share * k_head + dims[:, None] * k_dim
    v_at = v_ptr + batch * v_batch + head // share * v_head + dims[None, :] * v_dim

    end = keys
    if HAS_LENGTHS:
        end = tl.minimum(keys, tl.load(lengths_ptr + batch).to(tl.int32))
    last = end
    if CAUSAL:  # no row of this block sees a key behind the last one's diagonal
        last = tl.minimum(end, tl.maximum(0, (tl.program_id(0) + 1) * BLOCK_Q + keys - queries))

    largest = tl.full([BLOCK_Q], float("-inf"), tl.float32)
    total = tl.zeros([BLOCK_Q], tl.float32)
    blend = tl.zeros([BLOCK_Q, BLOCK_D], tl.float32)
    for start in range(0, last, BLOCK_K):
        key = start + columns
        k = tl.load(k_at + key[None, :] * k_row, mask=in_dim[:, None] & (key < end)[None, :], other=0.0)
        scores = tl.dot(q, k, input_precision="ieee") * scale_log2  # (BLOCK_Q, BLOCK_K)
        seen = (key < end)[None, :]
        if CAUSAL:
            seen = seen & (key[None, :] <= rows[:, None] + keys - queries)
        scores = tl.where(seen, scores, float("-inf"))
        new = tl.maximum(largest, tl.max(scores, 1))
        anchor = tl.where(new == float("-inf"), 0.0, new)  # -inf - (-inf) would be NaN
        weights = tl.exp2(scores - anchor[:, None])
        shrink = tl.exp2(largest - anchor)
        v = tl.load(v_at + key[:, None] * v_row, mask=(key < end)[:, None] & in_dim[None, :], other=0.0)
        blend = tl.dot(weights.to(v.dtype), v, blend * shrink[:, None], input_precision="ieee")
        total = total * shrink + tl.sum(weights, 1)
        largest = new

    total = tl.where(total == 0.0, 1.0, total)  # a row that saw nothing: blend is 0 and largest is -inf
    blend = blend / total[:, None]
    out_at = out_ptr + batch * out_batch + head * out_head + rows[:, None] * out_row + dims[None, :] * out_dim
    tl.store(out_at, blend.to(out_ptr.dtype.element_ty), mask=in_row[:, None] & in_dim[None, :])
    lse = (largest + tl.log2(total)) * 0.6931471805599453  # back from base 2
    tl.store(lse_ptr + tl.program_id(1).to(tl.int64) * queries + rows, lse, mask=in_row)
    ### END SOLUTION


def triton_attention(
    q: Float[Tensor, "batch heads queries dim"],
    k: Float[Tensor, "batch groups keys dim"],
    v: Float[Tensor, "batch groups keys dim"],
    causal: bool,
    lengths: Int[Tensor, " batch"] | None,
    scale: float,
) -> tuple[Float[Tensor, "batch heads queries dim"], Float[Tensor, "batch heads queries"]]:
    """Launch the kernel over all blocks of queries, all heads and all batch items; return `(out, lse)`.

    Inputs of any strides are read where they lie, without a copy. `out` has the dtype of `q`; `lse`, the log-sum-exp of
    every row of scaled scores, is float32. `lengths` may be None: then every key counts.

    Raises ValueError for dtypes, devices and shapes that the kernel does not take.
    Source: Dao et al. 2022, algorithm 1, with the loop order of Dao 2023.
    """
    check_inputs(q, k, v, lengths)
    ### BEGIN SOLUTION
    batch, heads, queries, dim = q.shape
    out = torch.empty_like(q, memory_format=torch.contiguous_format)
    lse = torch.empty(batch, heads, queries, dtype=torch.float32, device=q.device)
    sizes = block_sizes(dim, q.dtype)
    grid = (triton.cdiv(queries, sizes["BLOCK_Q"]), batch * heads)
    if out.numel() == 0:
        return out, lse
    attention_forward_kernel[grid](
        q, k, v, out, lse, q if lengths is None else lengths,
        *q.stride(), *k.stride(), *v.stride(), *out.stride(),
        heads, heads // k.shape[1], queries, k.shape[2], scale * LOG2_E,
        CAUSAL=causal, HAS_LENGTHS=lengths is not None, DIM=dim,
        BLOCK_D=max(16, triton.next_power_of_2(dim)), **sizes,
    )  # fmt: skip
    return out, lse
    ### END SOLUTION
