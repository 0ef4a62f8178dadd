"""What the launchers of the attention kernels decide: which tensors they take, and in which tiles they work."""

from __future__ import annotations

import torch
from torch import Tensor

from attention_from_scratch.triton_support import INTERPRETED, check_runnable

__all__ = ["AMD", "DTYPES", "WIDEST", "block_sizes", "check_inputs", "choose_tiles", "tiles"]

DTYPES = (torch.float32, torch.float16, torch.bfloat16)
INTEGERS = (torch.int64, torch.int32, torch.int16, torch.int8, torch.uint8)
WIDEST = 256
"""The largest head width: more does not fit on the chip."""
MOST_PAIRS = 65535
"""The second axis of a grid is no longer than this on NVIDIA's GPUs; it counts pairs of a batch item and a head."""


def check_inputs(q: Tensor, k: Tensor, v: Tensor, lengths: Tensor | None) -> None:
    """Raise ValueError, saying which argument is wrong and how, unless the kernels take these tensors."""
    _check_shapes(q, k, v)
    for name, tensor in (("q", q), ("k", k), ("v", v)):
        _check_offsets(name, tensor)
    if INTERPRETED and q.dtype == torch.bfloat16:
        raise ValueError(
            "Triton's interpreter multiplies bfloat16 wrongly; use float32 or float16 on the CPU"
        )
    check_runnable(q, k, v, *(() if lengths is None else (lengths,)))
    if lengths is not None:
        _check_lengths(lengths, q.shape[0])


def _check_shapes(q: Tensor, k: Tensor, v: Tensor) -> None:
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
    if not 1 <= q.shape[3] <= WIDEST:
        raise ValueError(
            f"the kernels take heads of 1 to {WIDEST} numbers, which fit on the chip, got {q.shape[3]}"
        )
    if q.shape[0] * q.shape[1] > MOST_PAIRS:
        raise ValueError(
            f"{q.shape[0]} batch items of {q.shape[1]} heads are more than the {MOST_PAIRS} programs that a GPU "
            "starts along one axis; split the batch"
        )


def _check_offsets(name: str, tensor: Tensor) -> None:
    """Within one head the kernels count in 32 bits: positions times stride must not reach 2^31."""
    reach = sum(
        (size - 1) * stride for size, stride in zip(tensor.shape[2:], tensor.stride()[2:], strict=True)
    )
    if reach >= 1 << 31:
        raise ValueError(
            f"the last number of a head of {name} lies {reach} numbers behind its first, and the kernels count to "
            "2147483647; make the tensor contiguous or split the sequence"
        )


def _check_lengths(lengths: Tensor, batch: int) -> None:
    got = f"{lengths.dtype} {tuple(lengths.shape)}"
    if lengths.shape != (batch,) or lengths.dtype not in INTEGERS:
        raise ValueError(f"lengths must be {batch} integers, one a batch item, got {got}")
    if not lengths.is_contiguous():
        raise ValueError(
            f"the kernels read lengths side by side, and these lie {lengths.stride(0)} apart; pass lengths.contiguous()"
        )


AMD = torch.version.hip is not None

# (BLOCK_Q, BLOCK_K, num_warps, num_stages) for head widths up to 32, 64, 128, and wider: chosen so that shared memory
# suffices and, for contiguous tensors, nothing spills, which tests/test_triton_compile.py asks the compiler. (Strides
# that are no multiples of 16 need more registers for addresses: dk and dv of width 80 then spill on sm_100.) None was
# timed on a GPU yet.
EDGES = (32, 64, 128)
DELTA_ROWS = 16  # of the output, for a program that only adds its products up
HALF = {
    "forward": ((128, 64, 4, 2), (128, 64, 8, 2), (128, 64, 8, 3), (64, 32, 8, 2)),
    "dkdv": ((32, 64, 4, 2), (16, 64, 4, 2), (32, 64, 8, 2), (32, 32, 8, 1)),
    "dq": ((64, 64, 4, 2), (64, 64, 4, 2), (64, 64, 8, 2), (32, 32, 4, 1)),
}
HALF_ON_AMD = {
    "forward": ((128, 64, 4, 2), (128, 64, 4, 2), (128, 64, 8, 2), (32, 32, 4, 1)),
    "dkdv": ((32, 64, 4, 2), (32, 64, 4, 2), (32, 32, 4, 1), (16, 32, 8, 1)),
    "dq": ((64, 64, 4, 2), (64, 64, 4, 2), (32, 32, 4, 1), (32, 16, 8, 1)),
}
# Exact float32 products run outside the tensor cores, where registers run out sooner.
SINGLE = {
    "forward": ((32, 32, 4, 1), (32, 32, 4, 1), (32, 16, 8, 1), (32, 16, 8, 1)),
    "dkdv": ((32, 32, 4, 1), (32, 32, 8, 1), (32, 16, 8, 1), (32, 16, 8, 1)),
    "dq": ((32, 32, 4, 1), (32, 32, 4, 1), (32, 16, 8, 1), (32, 16, 8, 1)),
}
SINGLE_ON_AMD = SINGLE | {
    "dkdv": ((16, 32, 8, 1), (16, 32, 8, 1), (16, 16, 8, 1), (16, 16, 4, 1)),
    "dq": ((32, 32, 4, 1), (32, 32, 4, 1), (32, 16, 8, 1), (16, 16, 4, 1)),
}
TABLES = {
    (False, False): HALF,
    (False, True): HALF_ON_AMD,
    (True, False): SINGLE,
    (True, True): SINGLE_ON_AMD,
}
NAMES = ("BLOCK_Q", "BLOCK_K", "num_warps", "num_stages")
_chosen: dict[tuple[str, int, torch.dtype], dict[str, int]] = {}


def tiles(kernel: str, dim: int, dtype: torch.dtype, amd: bool) -> dict[str, int]:
    """The tile of one kernel, "forward", "dkdv" or "dq", with its warps and stages."""
    if (kernel, dim, dtype) in _chosen:
        return dict(_chosen[kernel, dim, dtype])
    table = TABLES[dtype == torch.float32, amd]
    return dict(zip(NAMES, table[kernel][sum(dim > edge for edge in EDGES)], strict=True))


def choose_tiles(kernel: str, dim: int, dtype: torch.dtype, sizes: dict[str, int] | None) -> None:
    """From now on, in this process, give one kernel these sizes for one width and dtype; None: the table's again."""
    if sizes is None:
        _chosen.pop((kernel, dim, dtype), None)
    else:
        _chosen[kernel, dim, dtype] = {name: sizes[name] for name in NAMES}


def block_sizes(dim: int, dtype: torch.dtype) -> dict[str, int]:
    """The tile of the forward kernel for this head width and dtype on this machine."""
    return tiles("forward", dim, dtype, AMD)
