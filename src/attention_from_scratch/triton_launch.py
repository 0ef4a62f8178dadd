"""What the launchers of the attention kernels decide: which tensors they take, and in which tiles they work."""

from __future__ import annotations

import torch
from torch import Tensor

from attention_from_scratch.triton_support import INTERPRETED, check_runnable

__all__ = ["AMD", "DTYPES", "WIDEST", "block_sizes", "check_inputs", "tiles"]

DTYPES = (torch.float32, torch.float16, torch.bfloat16)
WIDEST = 256
"""The largest head width: more does not fit on the chip."""


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


AMD = torch.version.hip is not None

# (BLOCK_Q, BLOCK_K, num_warps, num_stages) for head widths up to 64, up to 128, and wider. They were chosen so that
# nothing spills and shared memory suffices, which tests/test_triton_compile.py asks the compiler; none was timed on a
# GPU yet.
HALF = {
    "forward": ((128, 64, 4, 3), (128, 64, 8, 3), (64, 32, 8, 2)),
    "dkdv": ((32, 64, 4, 2), (32, 64, 8, 2), (32, 32, 8, 1)),
    "dq": ((64, 64, 4, 2), (64, 64, 8, 2), (32, 32, 8, 1)),
}
HALF_ON_AMD = {
    "forward": ((128, 64, 4, 2), (128, 64, 8, 2), (32, 32, 4, 1)),
    "dkdv": ((32, 64, 4, 2), (32, 32, 4, 1), (32, 32, 8, 1)),
    "dq": ((64, 64, 4, 2), (32, 32, 4, 1), (32, 32, 8, 1)),
}
# Exact float32 products run outside the tensor cores, where registers run out sooner.
SINGLE = ((32, 32, 4, 1), (32, 16, 8, 1), (32, 16, 8, 1))


def tiles(kernel: str, dim: int, dtype: torch.dtype, amd: bool) -> dict[str, int]:
    """The tile of one kernel, "forward", "dkdv" or "dq", with its warps and stages."""
    table = SINGLE if dtype == torch.float32 else (HALF_ON_AMD if amd else HALF)[kernel]
    names = ("BLOCK_Q", "BLOCK_K", "num_warps", "num_stages")
    return dict(zip(names, table[(dim > 64) + (dim > 128)], strict=True))


def block_sizes(dim: int, dtype: torch.dtype) -> dict[str, int]:
    """The tile of the forward kernel for this head width and dtype on this machine."""
    return tiles("forward", dim, dtype, AMD)
