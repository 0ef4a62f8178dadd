"""Every configuration of the attention kernels that we ship, as requests for the ahead-of-time compiler."""

from __future__ import annotations

from functools import partial
from typing import Any

import torch

from attention_from_scratch.triton_compile import Request
from attention_from_scratch.triton_fast_launch import FastTile, fast_tile
from attention_from_scratch.triton_launch import DELTA_ROWS, tiles
from attention_from_scratch.triton_support import triton

__all__ = ["FAST", "FAST_WIDTHS", "WIDTHS", "attention_request", "fast_request", "shipped", "shipped_fast"]

WIDTHS = (16, 32, 64, 128, 256)
NAMES = {torch.float32: "*fp32", torch.float16: "*fp16", torch.bfloat16: "*bf16"}
FORWARD = "attention_from_scratch.triton_attention_forward:attention_forward_kernel"
BACKWARD = "attention_from_scratch.triton_attention_backward"
FAST = {
    "forward": "attention_from_scratch.triton_fast_forward:fast_forward_kernel",
    "backward": "attention_from_scratch.triton_fast_backward:fast_backward_kernel",
}
FAST_WIDTHS = (16, 32, 64, 128)
MAJOR = {"sm_90": 9, "sm_100": 10}
"""The targets that have tensor descriptors, with the first number of their compute capability."""
TENSORS = {
    FAST["forward"]: ("q", "k", "v", "out"),
    FAST["backward"]: ("q", "k", "v", "dout"),
    FORWARD: ("q", "k", "v", "out"),
    f"{BACKWARD}:delta_kernel": ("out", "dout"),
    f"{BACKWARD}:dkdv_kernel": ("q", "k", "v", "dout", "dk"),
    f"{BACKWARD}:dq_kernel": ("q", "k", "v", "dout", "dq"),
}


def attention_request(
    kernel: str,
    target: str,
    dtype: torch.dtype,
    width: int,
    sizes: dict[str, int],
    masked: bool = True,
    aligned: bool = True,
) -> Request:
    """One kernel with tiles of `sizes`: causal and with lengths where `masked`, otherwise without either.

    `aligned`: all strides but the innermost, which is 1, are multiples of 16; Triton makes another program where they
    are not, as with a width of 20.
    """
    tensors = TENSORS[kernel]
    types = {f"{name}_ptr": NAMES[dtype] for name in (*tensors, "dk", "dv")}
    if kernel == FAST["backward"]:
        types["dq_ptr"] = "*fp32"  # several programs add to it
    types |= {
        "lse_ptr": "*fp32",
        "delta_ptr": "*fp32",
        "lengths_ptr": "*i64",
        "scale": "fp32",
        "scale_log2": "fp32",
    }
    strides = [f"{name}_{axis}" for name in tensors for axis in ("batch", "head", "row")]
    types |= dict.fromkeys((*strides, "heads", "groups", "share", "queries", "keys", "pairs", "works"), "i32")
    tiles = {name: size for name, size in sizes.items() if name.isupper()}
    constants: dict[str, Any] = {
        f"{name}_dim": 1 for name in tensors
    }  # as Triton itself treats a stride of 1
    constants |= {
        "CAUSAL": masked,
        "HAS_LENGTHS": masked,
        "RAGGED": masked,
        "DIM": width,
        "BLOCK_D": max(16, triton.next_power_of_2(width)),
        **tiles,
    }
    options = {name: size for name, size in sizes.items() if not name.isupper()}
    return Request(kernel, target, types, constants, options, tuple(strides) if aligned else ())


def shipped(
    target: str, dtypes: tuple[torch.dtype, ...], widths: tuple[int, ...], masked: bool, aligned: bool
) -> list[Request]:
    """All kernels at these head widths in the tiles that the launchers choose."""
    requests = []
    for dtype in dtypes:
        for width in widths:
            made = partial(attention_request, masked=masked, aligned=aligned)
            sizes = {one: tiles(one, width, dtype, target == "gfx942") for one in ("forward", "dkdv", "dq")}
            requests += [
                made(FORWARD, target, dtype, width, sizes["forward"]),
                made(f"{BACKWARD}:delta_kernel", target, dtype, width, {"BLOCK_Q": DELTA_ROWS}),
                made(f"{BACKWARD}:dkdv_kernel", target, dtype, width, sizes["dkdv"]),
                made(f"{BACKWARD}:dq_kernel", target, dtype, width, sizes["dq"]),
            ]
    return requests


def fast_request(
    kernel: str, target: str, dtype: torch.dtype, width: int, tile: FastTile, masked: bool
) -> Request:
    """The fast kernel "forward" or "backward" in one tile."""
    sizes = tile.constants() | {"SPECIALIZE": tile.specialize}
    return attention_request(FAST[kernel], target, dtype, width, sizes, masked)


def shipped_fast(target: str, dtype: torch.dtype, widths: tuple[int, ...], masked: bool) -> list[Request]:
    """Both fast kernels at these head widths in the tiles that the launchers choose."""
    return [
        fast_request(kernel, target, dtype, width, fast_tile(kernel, width, masked, MAJOR[target]), masked)
        for width in widths
        for kernel in FAST
    ]
