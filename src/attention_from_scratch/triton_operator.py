"""The attention kernels as operators of PyTorch: registered once, with rules for shapes, for `torch.compile`.

They stand in a module of their own because a name can be registered once a process, and chapter 11's module is run
again for every variant of its exercises.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from attention_from_scratch.triton_attention_backward import triton_attention_backward
from attention_from_scratch.triton_attention_forward import triton_attention
from attention_from_scratch.triton_launch import check_inputs

__all__ = ["attention_operator"]


@torch.library.custom_op("attention_from_scratch::attention", mutates_args=())
def attention_operator(
    q: Tensor, k: Tensor, v: Tensor, lengths: Tensor | None, causal: bool, scale: float
) -> tuple[Tensor, Tensor]:
    """The same as an operator that `torch.compile` keeps whole; returns `(out, lse)`, both with gradients."""
    return triton_attention(q, k, v, causal, lengths, scale)


@attention_operator.register_fake
def _shapes(
    q: Tensor, k: Tensor, v: Tensor, lengths: Tensor | None, causal: bool, scale: float
) -> tuple[Tensor, Tensor]:
    check_inputs(q, k, v, lengths)
    return q.new_empty(q.shape), q.new_empty(q.shape[:3], dtype=torch.float32)


@torch.library.custom_op("attention_from_scratch::attention_backward", mutates_args=())
def _backward_operator(
    dout: Tensor, dlse: Tensor, q: Tensor, k: Tensor, v: Tensor, out: Tensor, lse: Tensor,
    lengths: Tensor | None, causal: bool, scale: float,
) -> tuple[Tensor, Tensor, Tensor]:  # fmt: skip
    return triton_attention_backward(dout, q, k, v, out, lse, dlse, causal, lengths, scale)


@_backward_operator.register_fake
def _backward_shapes(
    dout: Tensor, dlse: Tensor, q: Tensor, k: Tensor, v: Tensor, out: Tensor, lse: Tensor,
    lengths: Tensor | None, causal: bool, scale: float,
) -> tuple[Tensor, Tensor, Tensor]:  # fmt: skip
    return q.new_empty(q.shape), k.new_empty(k.shape), v.new_empty(v.shape)


def _keep(ctx: Any, inputs: tuple[Any, ...], output: tuple[Tensor, Tensor]) -> None:
    q, k, v, lengths, ctx.causal, ctx.scale = inputs
    ctx.save_for_backward(q, k, v, *output, lengths)


def _gradients(ctx: Any, dout: Tensor, dlse: Tensor) -> tuple[Tensor | None, ...]:
    q, k, v, out, lse, lengths = ctx.saved_tensors
    dq, dk, dv = _backward_operator(dout, dlse, q, k, v, out, lse, lengths, ctx.causal, ctx.scale)
    return dq, dk, dv, None, None, None


attention_operator.register_autograd(_gradients, setup_context=_keep)
