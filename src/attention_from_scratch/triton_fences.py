"""Buffers that show a kernel's careless reads and writes, on a CPU as on a GPU.

A kernel that reads or writes past its tensor rarely crashes: what lies there is somebody else's numbers. Here inputs
lie in buffers that are NaN everywhere else (`poisoned`), so that one careless read spreads; outputs lie in buffers with
a known number all around (`Fence`), so that one careless write is seen.
"""

from __future__ import annotations

import math

import torch
from jaxtyping import Float
from torch import Tensor

__all__ = ["LAYOUTS", "Fence", "poisoned"]

MARGIN = 3  # numbers on either side of each axis, for a read or write that is off by one
GUARD = 1 << 15  # numbers before and behind all of it, for one that is off by a block
CANARY = 12345.0  # exact in float16, float32 and (as 12352) in bfloat16; no result of a test comes near it

LAYOUTS: dict[int, dict[str, tuple[tuple[int, ...], tuple[int, ...]]]] = {
    1: {"plain": ((0,), (1,)), "gaps": ((0,), (2,))},
    2: {
        "rows": ((0, 1), (1, 1)),  # the numbers of a row side by side
        "columns": ((1, 0), (1, 1)),  # the numbers of a column side by side
        "gaps": ((0, 1), (2, 3)),  # gaps between rows, and between the numbers of a row
    },
    4: {
        "bhnd": ((0, 1, 2, 3), (1, 1, 1, 1)),  # as the axes say
        "bnhd": ((0, 2, 1, 3), (1, 1, 1, 1)),  # heads inside positions, as `split_heads` leaves them
        "strided": ((0, 1, 2, 3), (1, 1, 2, 3)),  # gaps between rows, and between the numbers of a row
        "transposed": ((3, 1, 0, 2), (1, 1, 1, 1)),  # the numbers of a row far apart, rows side by side
    },
}
"""For each number of axes, name: (order of the axes in memory, step along each axis)."""


def _inside(like: Tensor, layout: str, fill: float, margin: int) -> tuple[Tensor, Tensor]:
    """A flat buffer full of `fill`, and a view inside it with the shape, dtype and device of `like`."""
    shape = tuple(like.shape)
    order, steps = LAYOUTS[len(shape)][layout]
    sizes = [shape[axis] * steps[axis] + 2 * margin for axis in order]
    buffer = torch.full((2 * GUARD + math.prod(sizes),), fill, dtype=like.dtype, device=like.device)
    cut = [slice(margin, margin + shape[axis] * steps[axis], steps[axis]) for axis in order]
    back = [order.index(axis) for axis in range(len(order))]
    return buffer, buffer[GUARD:-GUARD].view(sizes)[tuple(cut)].permute(
        back
    )  # the axes in their usual order again


def poisoned(x: Float[Tensor, "*axes"], layout: str, margin: int = MARGIN) -> Float[Tensor, "*axes"]:
    """The numbers of `x` as a view into a buffer of NaN, in one of the `LAYOUTS`, `margin` numbers from each edge.

    A margin of 8 numbers of two bytes lets every row begin at a multiple of 16 bytes, which some hardware asks for.
    """
    _, view = _inside(x, layout, math.nan, margin)
    return view.copy_(x)


class Fence:
    """Room for an output: `view` is full of NaN, and `fault` says afterwards what a kernel did to it and around it."""

    def __init__(self, like: Float[Tensor, "*axes"], layout: str) -> None:
        self.buffer, self.view = _inside(like, layout, CANARY, MARGIN)
        self.view.fill_(math.nan)

    def fault(self) -> str:
        """What is wrong, in a few words; empty when every number was written and nothing around them was."""
        left = int(self.view.isnan().sum())
        if left:
            return f"{left} of {self.view.numel()} numbers are NaN or were never written"
        around = self.buffer.clone()
        canary = torch.tensor(CANARY, dtype=around.dtype).item()
        touched = int((around != canary).sum()) - int((self.view != canary).sum())
        return f"{touched} numbers outside the output were overwritten" if touched else ""
