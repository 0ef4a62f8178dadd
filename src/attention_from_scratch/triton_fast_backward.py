"""The backward pass for recent GPUs: five products of a tile in place of seven.

The kernels of chapter 11 make every tile of weights twice, so that each output has one owner. Here it is made once: the
program that owns a block of keys makes dK and dV as before, and *adds* its part of dQ to rows to which other programs
add as well. Additions in memory are atomic, so none is lost; but floating-point sums depend on the order, and that is
whoever comes first. So dQ can differ in its last bits from run to run, as nothing that chapter 11's kernels make does.
"""

from __future__ import annotations

from typing import Any

import torch
from jaxtyping import Float, Int
from torch import Tensor
from torch.autograd.function import once_differentiable

from attention_from_scratch.triton_attention_backward import deltas, triton_attention_backward
from attention_from_scratch.triton_fast_forward import fast_attention
from attention_from_scratch.triton_fast_launch import allow_scratch, fast_tile, hopper_or_newer, why_not_fast
from attention_from_scratch.triton_launch import check_inputs
from attention_from_scratch.triton_support import tl, triton

__all__ = ["FastAttention", "fast_attention_backward", "fast_backward_kernel"]


@triton.jit
def fast_backward_kernel(
    q_ptr, k_ptr, v_ptr, dout_ptr, dq_ptr, dk_ptr, dv_ptr, lse_ptr, delta_ptr, lengths_ptr,
    q_batch, q_head, q_row, k_batch, k_head, k_row, v_batch, v_head, v_row, dout_batch, dout_head, dout_row,
    groups, share, queries, keys, pairs, scale,
    CAUSAL: tl.constexpr, HAS_LENGTHS: tl.constexpr, DIM: tl.constexpr,
    BLOCK_D: tl.constexpr, BLOCK_Q: tl.constexpr, BLOCK_K: tl.constexpr,
):  # fmt: skip
    """dK and dV of one block of keys of one group, and its part of dQ, added to float32 zeros without the scale.

    `pairs` counts batch items times groups. Programs with the first keys, which most queries see, come first. `dq`,
    `dk` and `dv` are contiguous.
    """
    pair = tl.program_id(0) % pairs
    begin = tl.program_id(0) // pairs * BLOCK_K
    batch = (pair // groups).to(tl.int64)
    group = (pair % groups).to(tl.int64)
    end = keys
    if HAS_LENGTHS:
        end = tl.minimum(keys, tl.load(lengths_ptr + batch).to(tl.int32))
    key = begin + tl.arange(0, BLOCK_K)
    there = tl.maximum(end, 1)  # an empty box is not allowed
    at_k = k_ptr + batch * k_batch + group * k_head
    at_v = v_ptr + batch * v_batch + group * v_head
    k_tiles = tl.make_tensor_descriptor(at_k, [there, DIM], [k_row, 1], [BLOCK_K, BLOCK_D])
    v_tiles = tl.make_tensor_descriptor(at_v, [there, DIM], [v_row, 1], [BLOCK_K, BLOCK_D])
    k = k_tiles.load([begin, 0])  # (BLOCK_K, BLOCK_D)
    v = v_tiles.load([begin, 0])
    dk = tl.zeros([BLOCK_K, BLOCK_D], tl.float32)
    dv = tl.zeros([BLOCK_K, BLOCK_D], tl.float32)

    first = 0
    if CAUSAL:  # rows above the diagonal of this block's first key see nothing of it
        first = tl.maximum(0, begin - (keys - queries)) // BLOCK_Q * BLOCK_Q
    if begin >= end:
        first = queries
    for member in range(share):
        head = group * share + member
        rows_at = (batch * groups * share + head) * queries
        at_q = q_ptr + batch * q_batch + head * q_head
        at_dout = dout_ptr + batch * dout_batch + head * dout_head
        q_tiles = tl.make_tensor_descriptor(at_q, [queries, DIM], [q_row, 1], [BLOCK_Q, BLOCK_D])
        dout_tiles = tl.make_tensor_descriptor(at_dout, [queries, DIM], [dout_row, 1], [BLOCK_Q, BLOCK_D])
        dq_tiles = tl.make_tensor_descriptor(
            dq_ptr + rows_at * DIM, [queries, DIM], [DIM, 1], [BLOCK_Q, BLOCK_D]
        )
        for start in tl.range(first, queries, BLOCK_Q):
            rows = start + tl.arange(0, BLOCK_Q)
            in_row = rows < queries
            q = q_tiles.load([start, 0])  # (BLOCK_Q, BLOCK_D)
            dout = dout_tiles.load([start, 0])
            lse = tl.load(lse_ptr + rows_at + rows, mask=in_row, other=0.0)
            delta = tl.load(delta_ptr + rows_at + rows, mask=in_row, other=0.0)
            seen = (key < end)[:, None]  # rows that do not exist are zeros in q and dout, and add nothing
            if CAUSAL:
                seen = seen & (key[:, None] <= rows[None, :] + keys - queries)
            scores = tl.dot(k, q.T) * (scale * 1.4426950408889634)  # (BLOCK_K, BLOCK_Q)
            weights = tl.exp2(tl.where(seen, scores - lse[None, :] * 1.4426950408889634, float("-inf")))
            dv = tl.dot(weights.to(dout.dtype), dout, dv)
            dweights = tl.dot(v, dout.T)  # (BLOCK_K, BLOCK_Q)
            dscores = (weights * (dweights - delta[None, :])).to(q.dtype)
            dk = tl.dot(dscores, q, dk)
            dq_tiles.atomic_add([start, 0], tl.dot(dscores.T, k))

    at_out = (batch * groups + group) * keys * DIM
    dk_tiles = tl.make_tensor_descriptor(dk_ptr + at_out, [keys, DIM], [DIM, 1], [BLOCK_K, BLOCK_D])
    dv_tiles = tl.make_tensor_descriptor(dv_ptr + at_out, [keys, DIM], [DIM, 1], [BLOCK_K, BLOCK_D])
    dk_tiles.store([begin, 0], (dk * scale).to(k.dtype))
    dv_tiles.store([begin, 0], dv.to(v.dtype))


def fast_attention_backward(
    dout: Float[Tensor, "batch heads queries dim"],
    q: Float[Tensor, "batch heads queries dim"],
    k: Float[Tensor, "batch groups keys dim"],
    v: Float[Tensor, "batch groups keys dim"],
    out: Float[Tensor, "batch heads queries dim"],
    lse: Float[Tensor, "batch heads queries"],
    dlse: Float[Tensor, "batch heads queries"] | None,
    causal: bool,
    lengths: Int[Tensor, " batch"] | None,
    scale: float,
) -> tuple[
    Float[Tensor, "batch heads queries dim"],
    Float[Tensor, "batch groups keys dim"],
    Float[Tensor, "batch groups keys dim"],
]:
    """`(dq, dk, dv)` by the fast kernel where `why_not_fast` has no objection, else by those of chapter 11.

    Arguments and results are those of `triton_attention_backward`.

    Raises ValueError for what neither takes.
    Source: Dao 2023, algorithm 2.
    """
    check_inputs(q, k, v, lengths)
    if q.numel() == 0 or k.numel() == 0 or why_not_fast(q, k, v, scale):
        return triton_attention_backward(dout, q, k, v, out, lse, dlse, causal, lengths, scale)
    if why_not_fast(dout, dout, dout, scale):
        dout = dout.contiguous()  # the gradient of a sum, say, is one number with strides of zero
    batch, heads, queries, dim = q.shape
    groups, keys = k.shape[1:3]
    dq = torch.zeros(q.shape, dtype=torch.float32, device=q.device)
    dk, dv = (torch.empty(one.shape, dtype=one.dtype, device=one.device) for one in (k, v))
    lse, delta = lse.contiguous(), deltas(out, dout, dlse)  # they lie side by side
    tile = fast_tile("backward", dim, causal, hopper_or_newer())
    allow_scratch()
    fast_backward_kernel[(triton.cdiv(keys, tile.block_k) * batch * groups,)](
        q, k, v, dout, dq, dk, dv, lse, delta, q if lengths is None else lengths,
        *q.stride()[:3], *k.stride()[:3], *v.stride()[:3], *dout.stride()[:3],
        groups, heads // groups, queries, keys, batch * groups, scale,
        CAUSAL=causal, HAS_LENGTHS=lengths is not None, DIM=dim,
        BLOCK_D=max(16, triton.next_power_of_2(dim)), **tile.constants(),
    )  # fmt: skip
    return (dq * scale).to(q.dtype), dk, dv


class FastAttention(torch.autograd.Function):
    """`TritonAttention` with the fast kernels: `out = FastAttention.apply(q, k, v, causal, lengths, scale)`."""

    @staticmethod
    def forward(
        ctx: Any, q: Tensor, k: Tensor, v: Tensor, causal: bool, lengths: Tensor | None, scale: float
    ) -> Float[Tensor, "batch heads queries dim"]:
        """Run the forward kernel, and keep what the backward pass reads."""
        out, lse = fast_attention(q, k, v, causal, lengths, scale)
        ctx.save_for_backward(q, k, v, out, lse, lengths)
        ctx.causal, ctx.scale = causal, scale
        return out

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, dout: Tensor) -> tuple[Tensor | None, ...]:
        """One gradient for each argument of `forward`; None for those that have none."""
        q, k, v, out, lse, lengths = ctx.saved_tensors
        dq, dk, dv = fast_attention_backward(dout, q, k, v, out, lse, None, ctx.causal, lengths, ctx.scale)
        return dq, dk, dv, None, None, None
