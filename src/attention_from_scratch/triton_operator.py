"""The attention kernels as operators of PyTorch: registered once, with rules for shapes, for `torch.compile`.

They stand in a module of their own because a name can be registered once a process, and chapter 11's module is run
again for every variant of its exercises.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

from attention_from_scratch.triton_attention_backward import triton_attention_backward
from attention_from_scratch.triton_attention_forward import triton_attention
from attention_from_scratch.triton_fast_backward import fast_attention_backward
from attention_from_scratch.triton_fast_forward import fast_attention
from attention_from_scratch.triton_launch import check_inputs

__all__ = ["attention_operator", "fast_attention_operator"]


def _register(name: str, attend: Callable[..., Any], gradients: Callable[..., Any]) -> Any:
    """One operator with its gradient: `operator(q, k, v, lengths, causal, scale)` returns `(out, lse)`."""

    @torch.library.custom_op(f"attention_from_scratch::{name}", mutates_args=())
    def operator(
        q: Tensor, k: Tensor, v: Tensor, lengths: Tensor | None, causal: bool, scale: float
    ) -> tuple[Tensor, Tensor]:
        out, lse = attend(q, k, v, causal, lengths, scale)
        return out, lse

    @operator.register_fake
    def _shapes(
        q: Tensor, k: Tensor, v: Tensor, lengths: Tensor | None, causal: bool, scale: float
    ) -> tuple[Tensor, Tensor]:
        check_inputs(q, k, v, lengths)
        return q.new_empty(q.shape), q.new_empty(q.shape[:3], dtype=torch.float32)

    @torch.library.custom_op(f"attention_from_scratch::{name}_backward", mutates_args=())
    def backward(
        dout: Tensor, dlse: Tensor, q: Tensor, k: Tensor, v: Tensor, out: Tensor, lse: Tensor,
        lengths: Tensor | None, causal: bool, scale: float,
    ) -> tuple[Tensor, Tensor, Tensor]:  # fmt: skip
        dq, dk, dv = gradients(dout, q, k, v, out, lse, dlse, causal, lengths, scale)
        return dq, dk, dv

    @backward.register_fake
    def _backward_shapes(
        dout: Tensor, dlse: Tensor, q: Tensor, k: Tensor, v: Tensor, out: Tensor, lse: Tensor,
        lengths: Tensor | None, causal: bool, scale: float,
    ) -> tuple[Tensor, Tensor, Tensor]:  # fmt: skip
        return q.new_empty(q.shape), k.new_empty(k.shape), v.new_empty(v.shape)

    def _gradients(ctx: Any, dout: Tensor, dlse: Tensor) -> tuple[Tensor | None, ...]:
        q, k, v, out, lse, lengths = ctx.saved_tensors
        dq, dk, dv = backward(dout, dlse, q, k, v, out, lse, lengths, ctx.causal, ctx.scale)
        return dq, dk, dv, None, None, None

    operator.register_autograd(_gradients, setup_context=_keep)
    return operator


def _keep(ctx: Any, inputs: tuple[Any, ...], output: tuple[Tensor, Tensor]) -> None:
    q, k, v, lengths, ctx.causal, ctx.scale = inputs
    ctx.save_for_backward(q, k, v, *output, lengths)


attention_operator = _register("attention", triton_attention, triton_attention_backward)
"""`triton_attention` as an operator that `torch.compile` keeps whole."""
fast_attention_operator = _register("fast_attention", fast_attention, fast_attention_backward)
"""The same with the fast kernels where they apply."""
