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

from attention_from_scratch.triton_support import INTERPRETED, check_runnable, tl, triton

__all__ = ["attention_forward_kernel", "attention_specification", "triton_attention"]

LOG2_E = math.log2(math.e)
DTYPES = (torch.float32, torch.float16, torch.bfloat16)
WIDEST = 256


def attention_specification(
    q: Float[Tensor, "batch heads queries dim"],
    k: Float[Tensor, "batch groups keys dim"],
    v: Float[Tensor, "batch groups keys dim"],
    causal: bool,
    lengths: Int[Tensor, batch] | None,
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


def check_inputs(q: Tensor, k: Tensor, v: Tensor, lengths: Tensor | None) -> None:
    """Raise ValueError, saying which argument is wrong and how, unless the kernels take these tensors."""
    for name, tensor in (("q", q), ("k", k), ("v", v)):
        if tensor.ndim != 4:
            raise ValueError(
                f"{name} must have axes (batch, heads, length, dim), got shape {tuple(tensor.shape)}"
            )
        if tensor.dtype not in DTYPES:
            names = ", ".join(str(dtype).removeprefix("torch.") for dtype in DTYPES)
            raise ValueError(f"{name} is {tensor.dtype}; the kernels take {names}")
        if tensor.dtype != q.dtype:
            raise ValueError(f"q is {q.dtype} and {name} is {tensor.dtype}; they must agree")
    if k.shape != v.shape:
        raise ValueError(f"k and v must have one shape, got {tuple(k.shape)} and {tuple(v.shape)}")
    if (q.shape[0], q.shape[3]) != (k.shape[0], k.shape[3]):
        raise ValueError(f"q and k must agree in batch and dim, got {tuple(q.shape)} and {tuple(k.shape)}")
    if k.shape[1] == 0 or q.shape[1] % k.shape[1]:
        raise ValueError(f"{k.shape[1]} groups of keys do not divide {q.shape[1]} heads of queries")
    if q.shape[3] > WIDEST:
        raise ValueError(
            f"a head of {q.shape[3]} numbers does not fit on the chip; the kernels take up to {WIDEST}"
        )
    if INTERPRETED and q.dtype == torch.bfloat16:
        raise ValueError(
            "Triton's interpreter multiplies bfloat16 wrongly; use float32 or float16 on the CPU"
        )
    check_runnable(q, k, v, *(() if lengths is None else (lengths,)))
    if lengths is not None and (lengths.shape != q.shape[:1] or lengths.is_floating_point()):
        got = f"{lengths.dtype} {tuple(lengths.shape)}"
        raise ValueError(f"lengths must be {q.shape[0]} integers, one a batch item, got {got}")


FLOAT32_SIZES = (
    {"BLOCK_Q": 32, "BLOCK_K": 32, "num_warps": 4, "num_stages": 1},
    {"BLOCK_Q": 32, "BLOCK_K": 16, "num_warps": 8, "num_stages": 1},
)


def block_sizes(dim: int, dtype: torch.dtype) -> dict[str, int]:
    """Tiles and warps that fit registers and shared memory without spilling (see `course bench attention`)."""
    if (
        dtype == torch.float32
    ):  # exact float32 products run outside the tensor cores, and registers run out sooner
        return FLOAT32_SIZES[dim > 64]
    if dim <= 64:
        return {"BLOCK_Q": 128, "BLOCK_K": 64, "num_warps": 4, "num_stages": 3}
    if dim <= 128:
        return {"BLOCK_Q": 128, "BLOCK_K": 64, "num_warps": 8, "num_stages": 3}
    return {"BLOCK_Q": 64, "BLOCK_K": 32, "num_warps": 8, "num_stages": 2}


def triton_attention(
    q: Float[Tensor, "batch heads queries dim"],
    k: Float[Tensor, "batch groups keys dim"],
    v: Float[Tensor, "batch groups keys dim"],
    causal: bool,
    lengths: Int[Tensor, batch] | None,
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
