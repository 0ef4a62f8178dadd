"""The gradients of attention in three kernels, and the function that PyTorch trains through.

The weights are not kept from the forward pass: with the log-sum-exp of a row they are made again, tile by tile, as
exp(score - lse). `delta_kernel` computes what the softmax's Jacobian needs of each row, `dkdv_kernel` owns a block of
keys and walks over the queries, `dq_kernel` owns a block of queries and walks over the keys; so no two programs ever
write to one place. The masks are those of `triton_attention_forward`.
"""

from __future__ import annotations

from typing import Any

import torch
from jaxtyping import Float, Int
from torch import Tensor
from torch.autograd.function import once_differentiable

from attention_from_scratch.triton_attention_forward import triton_attention
from attention_from_scratch.triton_launch import AMD, DELTA_ROWS, check_inputs, tiles
from attention_from_scratch.triton_support import tl, triton

__all__ = [
    "TritonAttention",
    "delta_kernel",
    "deltas",
    "dkdv_kernel",
    "dq_kernel",
    "triton_attention_backward",
]


@triton.jit
def delta_kernel(
    out_ptr, dout_ptr, delta_ptr,
    out_batch, out_head, out_row, out_dim,
    dout_batch, dout_head, dout_row, dout_dim,
    heads, queries,
    DIM: tl.constexpr, BLOCK_D: tl.constexpr, BLOCK_Q: tl.constexpr,
):  # fmt: skip
    """delta = Σ_dim out · dout of every row, in float32: contiguous (batch, heads, queries)."""
    ### BEGIN SOLUTION
    batch = (tl.program_id(1) // heads).to(tl.int64)
    head = (tl.program_id(1) % heads).to(tl.int64)
    rows = tl.program_id(0) * BLOCK_Q + tl.arange(0, BLOCK_Q)
    dims = tl.arange(0, BLOCK_D)
    inside = (rows < queries)[:, None] & (dims < DIM)[None, :]
    out_at = out_ptr + batch * out_batch + head * out_head + rows[:, None] * out_row + dims[None, :] * out_dim
    dout_at = (
        dout_ptr + batch * dout_batch + head * dout_head + rows[:, None] * dout_row + dims[None, :] * dout_dim
    )
    out = tl.load(out_at, mask=inside, other=0.0).to(tl.float32)
    dout = tl.load(dout_at, mask=inside, other=0.0).to(tl.float32)
    at = delta_ptr + tl.program_id(1).to(tl.int64) * queries + rows
    tl.store(at, tl.sum(out * dout, 1), mask=rows < queries)
    ### END SOLUTION


@triton.jit
def dkdv_kernel(
    q_ptr, k_ptr, v_ptr, dout_ptr, dk_ptr, dv_ptr, lse_ptr, delta_ptr, lengths_ptr,
    q_batch, q_head, q_row, q_dim,
    k_batch, k_head, k_row, k_dim,
    v_batch, v_head, v_row, v_dim,
    dout_batch, dout_head, dout_row, dout_dim,
    dk_batch, dk_head, dk_row, dk_dim,
    groups, share, queries, keys, scale,
    CAUSAL: tl.constexpr, HAS_LENGTHS: tl.constexpr, DIM: tl.constexpr,
    BLOCK_D: tl.constexpr, BLOCK_Q: tl.constexpr, BLOCK_K: tl.constexpr,
):  # fmt: skip
    """dK and dV of one block of keys of one group: all heads of the group, all queries that see the block.

    `dk` and `dv` have the same strides. Program 1 counts (batch, group) pairs.
    """
    ### BEGIN SOLUTION
    batch = (tl.program_id(1) // groups).to(tl.int64)
    group = (tl.program_id(1) % groups).to(tl.int64)
    key = tl.program_id(0) * BLOCK_K + tl.arange(0, BLOCK_K)
    dims = tl.arange(0, BLOCK_D)
    in_dim = dims < DIM
    end = keys
    if HAS_LENGTHS:
        end = tl.minimum(keys, tl.load(lengths_ptr + batch).to(tl.int32))
    here = (key < end)[:, None] & in_dim[None, :]
    k_at = k_ptr + batch * k_batch + group * k_head + key[:, None] * k_row + dims[None, :] * k_dim
    v_at = v_ptr + batch * v_batch + group * v_head + key[:, None] * v_row + dims[None, :] * v_dim
    k = tl.load(k_at, mask=here, other=0.0)  # (BLOCK_K, BLOCK_D)
    v = tl.load(v_at, mask=here, other=0.0)
    dk = tl.zeros([BLOCK_K, BLOCK_D], tl.float32)
    dv = tl.zeros([BLOCK_K, BLOCK_D], tl.float32)

    first = 0
    if CAUSAL:  # rows above the diagonal of this block's first key see nothing of it
        first = tl.maximum(0, tl.program_id(0) * BLOCK_K - (keys - queries)) // BLOCK_Q * BLOCK_Q
    if tl.program_id(0) * BLOCK_K >= end:
        first = queries
    for member in range(share):
        head = group * share + member
        q_at = q_ptr + batch * q_batch + head * q_head + dims[None, :] * q_dim
        dout_at = dout_ptr + batch * dout_batch + head * dout_head + dims[None, :] * dout_dim
        row_at = (batch * groups * share + head) * queries
        for start in range(first, queries, BLOCK_Q):
            rows = start + tl.arange(0, BLOCK_Q)
            in_row = rows < queries
            inside = in_row[:, None] & in_dim[None, :]
            q = tl.load(q_at + rows[:, None] * q_row, mask=inside, other=0.0)  # (BLOCK_Q, BLOCK_D)
            dout = tl.load(dout_at + rows[:, None] * dout_row, mask=inside, other=0.0)
            lse = tl.load(lse_ptr + row_at + rows, mask=in_row, other=0.0)
            delta = tl.load(delta_ptr + row_at + rows, mask=in_row, other=0.0)
            seen = in_row[None, :] & (key < end)[:, None]
            if CAUSAL:
                seen = seen & (key[:, None] <= rows[None, :] + keys - queries)
            scores = tl.dot(k, tl.trans(q), input_precision="ieee") * (scale * 1.4426950408889634)
            exponent = tl.where(seen, scores - lse[None, :] * 1.4426950408889634, float("-inf"))
            weights = tl.exp2(exponent)  # (BLOCK_K, BLOCK_Q): the transposed weights, made again
            dv = tl.dot(weights.to(dout.dtype), dout, dv, input_precision="ieee")
            dweights = tl.dot(v, tl.trans(dout), input_precision="ieee")  # (BLOCK_K, BLOCK_Q)
            dscores = weights * (dweights - delta[None, :])
            dk = tl.dot(dscores.to(q.dtype), q, dk, input_precision="ieee")

    to = (key < keys)[:, None] & in_dim[None, :]
    at = batch * dk_batch + group * dk_head + key[:, None] * dk_row + dims[None, :] * dk_dim
    tl.store(dk_ptr + at, (dk * scale).to(dk_ptr.dtype.element_ty), mask=to)
    tl.store(dv_ptr + at, dv.to(dv_ptr.dtype.element_ty), mask=to)
    ### END SOLUTION


@triton.jit
def dq_kernel(
    q_ptr, k_ptr, v_ptr, dout_ptr, dq_ptr, lse_ptr, delta_ptr, lengths_ptr,
    q_batch, q_head, q_row, q_dim,
    k_batch, k_head, k_row, k_dim,
    v_batch, v_head, v_row, v_dim,
    dout_batch, dout_head, dout_row, dout_dim,
    dq_batch, dq_head, dq_row, dq_dim,
    heads, share, queries, keys, scale,
    CAUSAL: tl.constexpr, HAS_LENGTHS: tl.constexpr, DIM: tl.constexpr,
    BLOCK_D: tl.constexpr, BLOCK_Q: tl.constexpr, BLOCK_K: tl.constexpr,
):  # fmt: skip
    """dQ of one block of queries of one head: the loop of the forward kernel, with the weights made from lse."""
    ### BEGIN SOLUTION
    batch = (tl.program_id(1) // heads).to(tl.int64)
    head = (tl.program_id(1) % heads).to(tl.int64)
    rows = tl.program_id(0) * BLOCK_Q + tl.arange(0, BLOCK_Q)
    dims = tl.arange(0, BLOCK_D)
    in_row, in_dim = rows < queries, dims < DIM
    inside = in_row[:, None] & in_dim[None, :]
    q_at = q_ptr + batch * q_batch + head * q_head + rows[:, None] * q_row + dims[None, :] * q_dim
    dout_at = (
        dout_ptr + batch * dout_batch + head * dout_head + rows[:, None] * dout_row + dims[None, :] * dout_dim
    )
    k_at = k_ptr + batch * k_batch + head // share * k_head + dims[None, :] * k_dim
    v_at = v_ptr + batch * v_batch + head // share * v_head + dims[None, :] * v_dim
    q = tl.load(q_at, mask=inside, other=0.0)  # (BLOCK_Q, BLOCK_D)
    dout = tl.load(dout_at, mask=inside, other=0.0)
    row_at = tl.program_id(1).to(tl.int64) * queries + rows
    lse = tl.load(lse_ptr + row_at, mask=in_row, other=0.0)
    delta = tl.load(delta_ptr + row_at, mask=in_row, other=0.0)

    end = keys
    if HAS_LENGTHS:
        end = tl.minimum(keys, tl.load(lengths_ptr + batch).to(tl.int32))
    last = end
    if CAUSAL:
        last = tl.minimum(end, tl.maximum(0, (tl.program_id(0) + 1) * BLOCK_Q + keys - queries))
    dq = tl.zeros([BLOCK_Q, BLOCK_D], tl.float32)
    for start in range(0, last, BLOCK_K):
        key = start + tl.arange(0, BLOCK_K)
        here = (key < end)[:, None] & in_dim[None, :]
        k = tl.load(k_at + key[:, None] * k_row, mask=here, other=0.0)  # (BLOCK_K, BLOCK_D)
        v = tl.load(v_at + key[:, None] * v_row, mask=here, other=0.0)
        seen = in_row[:, None] & (key < end)[None, :]
        if CAUSAL:
            seen = seen & (key[None, :] <= rows[:, None] + keys - queries)
        scores = tl.dot(q, tl.trans(k), input_precision="ieee") * (scale * 1.4426950408889634)
        exponent = tl.where(seen, scores - lse[:, None] * 1.4426950408889634, float("-inf"))
        weights = tl.exp2(exponent)  # (BLOCK_Q, BLOCK_K)
        dweights = tl.dot(dout, tl.trans(v), input_precision="ieee")  # (BLOCK_Q, BLOCK_K)
        dscores = weights * (dweights - delta[:, None])
        dq = tl.dot(dscores.to(k.dtype), k, dq, input_precision="ieee")

    dq_at = dq_ptr + batch * dq_batch + head * dq_head + rows[:, None] * dq_row + dims[None, :] * dq_dim
    tl.store(dq_at, (dq * scale).to(dq_ptr.dtype.element_ty), mask=inside)
    ### END SOLUTION


def deltas(
    out: Float[Tensor, "batch heads queries dim"],
    dout: Float[Tensor, "batch heads queries dim"],
    dlse: Float[Tensor, "batch heads queries"] | None,
) -> Float[Tensor, "batch heads queries"]:
    """Launch `delta_kernel` on all rows, and take off the gradient of the log-sum-exp where somebody used it."""
    batch, heads, queries, dim = out.shape
    delta = torch.empty(batch, heads, queries, dtype=torch.float32, device=out.device)
    delta_kernel[(triton.cdiv(queries, DELTA_ROWS), batch * heads)](
        out, dout, delta, *out.stride(), *dout.stride(), heads, queries,
        DIM=dim, BLOCK_D=max(16, triton.next_power_of_2(dim)), BLOCK_Q=DELTA_ROWS,
    )  # fmt: skip
    if dlse is not None:
        delta -= dlse  # lse's own gradient by the scores is the weights: it joins where delta stands
    return delta


def triton_attention_backward(
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
    """Launch the three kernels; return `(dq, dk, dv)`, contiguous, in the dtype of the inputs.

    `out` and `lse` are what the forward pass returned; `dlse` is the gradient of `lse`, None where nobody used it.
    Raises ValueError for what the kernels do not take.
    Source: Dao et al. 2022, algorithm 4, in two loops without atomic additions as in the Triton tutorial.
    """
    check_inputs(q, k, v, lengths)
    batch, heads, queries, dim = q.shape
    groups, keys = k.shape[1:3]
    dq, dk, dv = (torch.empty(one.shape, dtype=one.dtype, device=one.device) for one in (q, k, v))
    if dq.numel() == 0 or dk.numel() == 0:
        return dq.zero_(), dk.zero_(), dv.zero_()
    constants = {"DIM": dim, "BLOCK_D": max(16, triton.next_power_of_2(dim))}
    constants |= {"CAUSAL": causal, "HAS_LENGTHS": lengths is not None}
    # lse and delta lie side by side
    rest = (lse.contiguous(), deltas(out, dout, dlse), q if lengths is None else lengths)
    inputs = (*q.stride(), *k.stride(), *v.stride(), *dout.stride())
    sizes = tiles("dkdv", dim, q.dtype, AMD)
    dkdv_kernel[(triton.cdiv(keys, sizes["BLOCK_K"]), batch * groups)](
        q, k, v, dout, dk, dv, *rest, *inputs, *dk.stride(),
        groups, heads // groups, queries, keys, scale, **constants, **sizes,
    )  # fmt: skip
    sizes = tiles("dq", dim, q.dtype, AMD)
    dq_kernel[(triton.cdiv(queries, sizes["BLOCK_Q"]), batch * heads)](
        q, k, v, dout, dq, *rest, *inputs, *dq.stride(),
        heads, heads // groups, queries, keys, scale, **constants, **sizes,
    )  # fmt: skip
    return dq, dk, dv


class TritonAttention(torch.autograd.Function):
    """Attention that PyTorch can train through: `out = TritonAttention.apply(q, k, v, causal, lengths, scale)`."""

    @staticmethod
    def forward(
        ctx: Any, q: Tensor, k: Tensor, v: Tensor, causal: bool, lengths: Tensor | None, scale: float
    ) -> Float[Tensor, "batch heads queries dim"]:
        """Run the forward kernel, and keep what the backward pass reads."""
        ### BEGIN SOLUTION
        out, lse = triton_attention(q, k, v, causal, lengths, scale)
        ctx.save_for_backward(q, k, v, out, lse, lengths)
        ctx.causal, ctx.scale = causal, scale
        return out
        ### END SOLUTION

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, dout: Tensor) -> tuple[Tensor | None, ...]:
        """One gradient for each argument of `forward`; None for those that have none."""
        ### BEGIN SOLUTION
        q, k, v, out, lse, lengths = ctx.saved_tensors
        dq, dk, dv = triton_attention_backward(dout, q, k, v, out, lse, None, ctx.causal, lengths, ctx.scale)
        return dq, dk, dv, None, None, None
        ### END SOLUTION
