"""Who may take the fast path, and in which tiles it works.

The fast kernels load whole tiles by *tensor descriptors*: a piece of hardware copies a box of numbers into shared
memory, and fills with zeros whatever lies outside of the tensor. It is there from NVIDIA's compute capability 9.0 on,
and asks that numbers of a row lie side by side and that rows, heads and batch items begin at multiples of 16 bytes.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor

from attention_from_scratch.triton_support import INTERPRETED, triton

__all__ = [
    "FAST_DTYPES",
    "FAST_WIDEST",
    "FastTile",
    "choose_fast_tile",
    "fast_tile",
    "hopper_or_newer",
    "why_not_fast",
]

FAST_DTYPES = (torch.float16, torch.bfloat16)
FAST_WIDEST = 128
ALIGNMENT = 16  # bytes


@dataclass(frozen=True)
class FastTile:
    """The shape of one fast kernel.

    `specialize` gives loading and multiplying to different warps, where the compiler can (not in the backward kernel).
    `persistent` is the number of programs that each multiprocessor keeps, which take block after block; with 0 every
    block has a program of its own.
    """

    block_q: int
    block_k: int
    num_warps: int
    num_stages: int
    specialize: bool = False
    persistent: int = 0

    def constants(self) -> dict[str, int]:
        """What a launch passes on: sizes and options of the compiler."""
        return {
            "BLOCK_Q": self.block_q,
            "BLOCK_K": self.block_k,
            "num_warps": self.num_warps,
            "num_stages": self.num_stages,
        }


# For head widths up to 32, 64 and 128, on capability 9 and from 10 on: chosen so that nothing spills and that memory
# suffices, which tests/test_triton_compile.py asks the compiler. None was timed on a GPU, so none is specialised.
EDGES = (32, 64, 128)
TABLES: dict[tuple[str, int], tuple[FastTile, ...]] = {
    ("forward", 9): (FastTile(128, 64, 4, 3), FastTile(128, 64, 4, 3), FastTile(128, 128, 8, 2)),
    ("forward", 10): (FastTile(128, 128, 8, 2), FastTile(128, 128, 8, 2), FastTile(128, 64, 8, 3)),
    ("backward", 9): (FastTile(64, 128, 8, 2), FastTile(64, 128, 8, 2), FastTile(32, 128, 8, 2)),
    ("backward", 10): (FastTile(64, 64, 8, 2), FastTile(64, 64, 8, 2), FastTile(64, 64, 8, 1)),
}
_chosen: dict[tuple[str, int, bool], FastTile] = {}


def fast_tile(kernel: str, dim: int, causal: bool, major: int) -> FastTile:
    """The tile of one kernel, "forward" or "backward", for a head width and a compute capability's first number."""
    if (kernel, dim, causal) in _chosen:
        return _chosen[kernel, dim, causal]
    return TABLES[kernel, min(10, max(9, major))][sum(dim > edge for edge in EDGES)]


def choose_fast_tile(kernel: str, dim: int, causal: bool, tile: FastTile | None) -> None:
    """From now on, in this process, use this tile for one width, causal or not; None: the table's again."""
    if tile is None:
        _chosen.pop((kernel, dim, causal), None)
    else:
        _chosen[kernel, dim, causal] = tile


def hopper_or_newer() -> int:
    """The first number of this GPU's compute capability where that is 9 or more, else 0; 9 under the interpreter."""
    if INTERPRETED:
        return 9
    if torch.version.hip is not None:
        return 0
    major = torch.cuda.get_device_capability()[0]
    return major if major >= 9 else 0


def why_not_fast(q: Tensor, k: Tensor, v: Tensor, scale: float) -> str:
    """Why the fast kernels do not take this on this machine, in a few words; empty where they do."""
    if not hopper_or_newer():
        return "the GPU has no tensor descriptors (they came with compute capability 9.0)"
    if q.dtype not in FAST_DTYPES:
        return f"{str(q.dtype).removeprefix('torch.')} is not multiplied on tensor cores here"
    if scale <= 0:
        return f"the scale is {scale}, and the largest score is looked for before scaling"
    if q.shape[3] > FAST_WIDEST:
        return f"heads of {q.shape[3]} numbers are wider than {FAST_WIDEST}"
    if q.shape[3] * q.element_size() % ALIGNMENT:
        return f"a head of {q.shape[3]} numbers is no multiple of {ALIGNMENT} bytes"
    for name, tensor in (("q", q), ("k", k), ("v", v)):
        if fault := why_no_descriptor(tensor):
            return f"{name}: {fault}"
    return ""


def why_no_descriptor(tensor: Tensor) -> str:
    """Why the hardware cannot copy boxes out of this tensor, or nothing."""
    if tensor.stride(3) != 1:
        return f"the numbers of a row lie {tensor.stride(3)} apart"
    starts = [tensor.data_ptr()] + [stride * tensor.element_size() for stride in tensor.stride()[:3]]
    if math.gcd(*starts) % ALIGNMENT:
        return f"a row, a head or a batch item does not begin at a multiple of {ALIGNMENT} bytes"
    return "" if tensor.stride(2) > 0 else "all rows lie in one place"


def allow_scratch() -> None:
    """Give Triton memory for descriptors that a kernel makes itself; they are as large as a few cache lines."""

    def allocate(size: int, alignment: int, stream: int | None) -> Tensor:
        return torch.empty(size, dtype=torch.int8, device="cuda")

    triton.set_allocator(allocate)
