"""The forward pass for recent GPUs: chapter 10's algorithm, with what the hardware offers beyond it.

Four things differ from `triton_attention_forward`. Tiles come by tensor descriptors, so no lane computes addresses or
asks whether its number exists. Blocks of keys that every query of the block sees are not masked at all. A program can
be persistent: it takes one block of queries after the other, the ones with the most keys first, so that no
multiprocessor is left with a long block at the end. And the compiler may give loading and multiplying to different
warps. What is not suited (`why_not_fast`) goes to the kernel of chapter 10; the results are the same either way.
"""

from __future__ import annotations

import torch
from jaxtyping import Float, Int
from torch import Tensor

from attention_from_scratch.triton_attention_forward import LOG2_E, triton_attention
from attention_from_scratch.triton_fast_launch import allow_scratch, fast_tile, hopper_or_newer, why_not_fast
from attention_from_scratch.triton_launch import check_inputs
from attention_from_scratch.triton_support import INTERPRETED, tl, triton

__all__ = ["fast_attention", "fast_forward_kernel"]


@triton.jit
def _walk(
    q, k_tiles, v_tiles, start_key, stop_key, end, limit, largest, total, blend, scale_log2,
    MASKED: tl.constexpr, CAUSAL: tl.constexpr, BLOCK_K: tl.constexpr, SPECIALIZE: tl.constexpr,
):  # fmt: skip
    """Online softmax over the blocks of keys from `start_key` to `stop_key`; returns (largest, total, blend).

    With `MASKED`, keys from `end` on and, under `CAUSAL`, keys behind the `limit` of a row are not seen. The scale is
    positive, so the largest score is still the largest when it is scaled.
    """
    for start in tl.range(start_key, stop_key, BLOCK_K, warp_specialize=SPECIALIZE):
        k = k_tiles.load([start, 0])  # (BLOCK_K, BLOCK_D)
        scores = tl.dot(q, k.T)  # (BLOCK_Q, BLOCK_K)
        if MASKED:
            key = start + tl.arange(0, BLOCK_K)
            seen = (key < end)[None, :]
            if CAUSAL:
                seen = seen & (key[None, :] <= limit[:, None])
            scores = tl.where(seen, scores, float("-inf"))
        new = tl.maximum(largest, tl.max(scores, 1) * scale_log2)
        anchor = new
        if MASKED:
            anchor = tl.where(new == float("-inf"), 0.0, new)  # -inf - (-inf) would be NaN
        weights = tl.exp2(scores * scale_log2 - anchor[:, None])  # one multiply-add a score
        shrink = tl.exp2(largest - anchor)
        total = total * shrink + tl.sum(weights, 1)
        v = v_tiles.load([start, 0])  # (BLOCK_K, BLOCK_D)
        blend = tl.dot(weights.to(v.dtype), v, blend * shrink[:, None])
        largest = new
    return largest, total, blend


@triton.jit
def fast_forward_kernel(
    q_ptr, k_ptr, v_ptr, out_ptr, lse_ptr, lengths_ptr,
    q_batch, q_head, q_row, k_batch, k_head, k_row, v_batch, v_head, v_row, out_batch, out_head, out_row,
    heads, share, queries, keys, pairs, works, scale_log2,
    CAUSAL: tl.constexpr, HAS_LENGTHS: tl.constexpr, RAGGED: tl.constexpr, DIM: tl.constexpr,
    BLOCK_D: tl.constexpr, BLOCK_Q: tl.constexpr, BLOCK_K: tl.constexpr, SPECIALIZE: tl.constexpr,
):  # fmt: skip
    """`works` blocks of queries: `pairs` of a batch item and a head for each block of rows, the last rows first.

    Arguments are those of `attention_forward_kernel`, without the innermost strides, which are 1. `RAGGED` says that
    the last block of keys is not full. A specialised program has one loop, because the compiler divides only one.
    """
    for work in tl.range(tl.program_id(0), works, tl.num_programs(0)):
        pair = work % pairs
        batch = (pair // heads).to(tl.int64)  # offsets into large tensors overflow 32 bits
        head = (pair % heads).to(tl.int64)
        first = (works // pairs - 1 - work // pairs) * BLOCK_Q
        rows = first + tl.arange(0, BLOCK_Q)
        limit = rows + keys - queries  # the last key that a row sees
        end = keys
        if HAS_LENGTHS:
            end = tl.minimum(keys, tl.load(lengths_ptr + batch).to(tl.int32))
        last, whole = end, end
        if CAUSAL:
            last = tl.minimum(end, tl.maximum(0, first + BLOCK_Q + keys - queries))
            whole = tl.minimum(end, tl.maximum(0, first + 1 + keys - queries))
        whole = whole // BLOCK_K * BLOCK_K  # every row sees every key before this one

        # Boxes end where the tensors do, and those of keys and values at the length: what lies behind reads as zero.
        at_k = k_ptr + batch * k_batch + head // share * k_head
        at_v = v_ptr + batch * v_batch + head // share * v_head
        there = tl.maximum(end, 1)  # an empty box is not allowed, and with no keys nothing is loaded
        k_tiles = tl.make_tensor_descriptor(at_k, [there, DIM], [k_row, 1], [BLOCK_K, BLOCK_D])
        v_tiles = tl.make_tensor_descriptor(at_v, [there, DIM], [v_row, 1], [BLOCK_K, BLOCK_D])
        at_q = q_ptr + batch * q_batch + head * q_head
        q_tiles = tl.make_tensor_descriptor(at_q, [queries, DIM], [q_row, 1], [BLOCK_Q, BLOCK_D])
        at_out = out_ptr + batch * out_batch + head * out_head
        out_tiles = tl.make_tensor_descriptor(at_out, [queries, DIM], [out_row, 1], [BLOCK_Q, BLOCK_D])

        q = q_tiles.load([first, 0])  # (BLOCK_Q, BLOCK_D)
        largest = tl.full([BLOCK_Q], float("-inf"), tl.float32)
        total = tl.zeros([BLOCK_Q], tl.float32)
        blend = tl.zeros([BLOCK_Q, BLOCK_D], tl.float32)
        if SPECIALIZE:
            largest, total, blend = _walk(
                q, k_tiles, v_tiles, 0, last, end, limit, largest, total, blend, scale_log2,
                CAUSAL or RAGGED, CAUSAL, BLOCK_K, True,
            )  # fmt: skip
        else:
            largest, total, blend = _walk(
                q, k_tiles, v_tiles, 0, whole, end, limit, largest, total, blend, scale_log2,
                False, CAUSAL, BLOCK_K, False,
            )  # fmt: skip
            if CAUSAL or RAGGED:
                largest, total, blend = _walk(
                    q, k_tiles, v_tiles, whole, last, end, limit, largest, total, blend, scale_log2,
                    True, CAUSAL, BLOCK_K, False,
                )  # fmt: skip
        total = tl.where(total == 0.0, 1.0, total)  # a row that saw nothing: blend is 0 and largest is -inf
        out_tiles.store([first, 0], (blend / total[:, None]).to(q.dtype))
        lse = (largest + tl.log2(total)) * 0.6931471805599453  # back from base 2
        tl.store(lse_ptr + pair.to(tl.int64) * queries + rows, lse, mask=rows < queries)


def fast_attention(
    q: Float[Tensor, "batch heads queries dim"],
    k: Float[Tensor, "batch groups keys dim"],
    v: Float[Tensor, "batch groups keys dim"],
    causal: bool,
    lengths: Int[Tensor, " batch"] | None,
    scale: float,
) -> tuple[Float[Tensor, "batch heads queries dim"], Float[Tensor, "batch heads queries"]]:
    """What `triton_attention` computes, `(out, lse)`, by the fast kernel where `why_not_fast` has no objection.

    Raises ValueError for dtypes, devices and shapes that neither kernel takes.
    Source: Dao et al. 2022, algorithm 1; Shah et al. 2024, section 3.1, for the division of the warps.
    """
    check_inputs(q, k, v, lengths)
    batch, heads, queries, dim = q.shape
    keys = k.shape[2]
    if q.numel() == 0 or keys == 0 or why_not_fast(q, k, v, scale):
        return triton_attention(q, k, v, causal, lengths, scale)
    out = torch.empty(q.shape, dtype=q.dtype, device=q.device)
    lse = torch.empty(batch, heads, queries, dtype=torch.float32, device=q.device)
    tile = fast_tile("forward", dim, causal, hopper_or_newer())
    works = triton.cdiv(queries, tile.block_q) * batch * heads
    allow_scratch()
    fast_forward_kernel[(_programs(works, tile.persistent),)](
        q, k, v, out, lse, q if lengths is None else lengths,
        *q.stride()[:3], *k.stride()[:3], *v.stride()[:3], *out.stride()[:3],
        heads, heads // k.shape[1], queries, keys, batch * heads, works, scale * LOG2_E,
        CAUSAL=causal, HAS_LENGTHS=lengths is not None,
        RAGGED=lengths is not None or keys % tile.block_k != 0, DIM=dim,
        BLOCK_D=max(16, triton.next_power_of_2(dim)), SPECIALIZE=tile.specialize, **tile.constants(),
    )  # fmt: skip
    return out, lse


def _programs(works: int, persistent: int) -> int:
    """How many programs share the blocks."""
    if not persistent:
        return works
    multiprocessors = 3 if INTERPRETED else torch.cuda.get_device_properties().multi_processor_count
    return min(works, persistent * multiprocessors)
