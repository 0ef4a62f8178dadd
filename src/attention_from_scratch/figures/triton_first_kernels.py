"""The moving figure of chapter 09: which numbers of memory the lanes of one program touch."""

from __future__ import annotations

from attention_from_scratch.figures.base import Figure, moving


def accesses(size: int, block: int) -> Figure:
    """Step through the programs of a kernel over `size` numbers; switch the mask off, change the stride.

    The drawing has room for 32 numbers of memory, 8 of which make one sector of 32 bytes.
    """
    return moving(
        "triton_first_kernels",
        data={"size": size, "block": block, "cells": 32, "sector": 8},
        alt=f"Above, the {block} lanes of one program; below, memory: {size} numbers of ours and some of others. "
        "A line leads from each lane to the number it touches. With the mask, lanes without a number touch nothing; "
        "without it they touch what is not ours. The larger the stride, the more sectors of 32 bytes are fetched.",
        caption="One program at a time. Frames round eight numbers are sectors: memory is fetched in pieces of 32 "
        "bytes, whole, however few of their numbers are used.",
    )
