"""Triton where it exists, its interpreter where there is no GPU, and one clear sentence where there is neither.

Import `triton` and `tl` from here: a kernel is bound to the interpreter or to the compiler when it is decorated, so the
choice has to be made before the first `@triton.jit`. `INTERPRETED` says which one it was.
"""

from __future__ import annotations

import importlib
import os

import torch
from torch import Tensor

if not torch.cuda.is_available():
    # The interpreter runs a kernel's programs one after the other on the CPU, with NumPy in place of the hardware.
    os.environ.setdefault("TRITON_INTERPRET", "1")

try:
    import triton
    import triton.language as tl
except ImportError as error:
    raise ImportError(
        "Triton has no build for this system (it runs on Linux; on Windows use WSL, on macOS a Linux container or an "
        "online notebook). Chapter 08 holds the same algorithm in plain PyTorch, and all chapters after 11 run with it"
    ) from error

__all__ = ["INTERPRETED", "check_runnable", "tl", "triton"]

INTERPRETED = os.environ.get("TRITON_INTERPRET", "0") not in ("", "0")

if INTERPRETED and isinstance(tl.sum, triton.runtime.JITFunction):
    # Somebody (PyTorch's compiler, say) imported Triton before the interpreter was asked for, and half of the language
    # is written in itself: decorate those functions again.
    for _module in (triton.language.standard, triton.language.random, triton.language):
        importlib.reload(_module)

if INTERPRETED and not hasattr(triton.runtime.interpreter.InterpreterBuilder, "create_descriptor_reduce"):
    # The interpreter loads and stores by tensor descriptors but cannot add by them. Its programs run one after the
    # other, so to load, add and store is the same.
    def _add_by_descriptor(builder, kind, descriptor, value, offsets):
        """`descriptor.atomic_add` for the interpreter; the only kind of reduction that the course uses."""
        before = builder.create_descriptor_load(descriptor, offsets, None, None)
        after = triton.runtime.interpreter.TensorHandle(before.data + value.data, value.dtype)
        builder.create_descriptor_store(descriptor, after, offsets)

    triton.runtime.interpreter.InterpreterBuilder.create_descriptor_reduce = _add_by_descriptor


def check_runnable(*tensors: Tensor) -> None:
    """Raise ValueError unless a kernel can read these tensors here: one device, and one that the kernels run on."""
    devices = {str(tensor.device) for tensor in tensors}
    if len(devices) > 1:
        raise ValueError(f"all tensors must be on one device, got {', '.join(sorted(devices))}")
    if not INTERPRETED and not tensors[0].is_cuda:
        raise ValueError(
            f"a compiled kernel reads GPU memory, and this tensor is on {tensors[0].device}; move it with .cuda(), "
            "or set TRITON_INTERPRET=1 before Python starts to run kernels on the CPU"
        )
    if not INTERPRETED and tensors[0].device.index != torch.cuda.current_device():
        here, there = torch.cuda.current_device(), tensors[0].device.index
        raise ValueError(
            f"the tensors are on cuda:{there} and kernels start on cuda:{here}; start them under "
            f"`with torch.cuda.device({there}):`"
        )
