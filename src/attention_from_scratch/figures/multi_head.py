"""The moving figure of chapter 03: one number followed from memory to the stack of heads."""

from __future__ import annotations

from attention_from_scratch.figures.base import Figure, moving


def strides(length: int, heads: int, dim: int) -> Figure:
    """Step through the numbers of a (length, width) grid; see where the right and the wrong recipe put each."""
    return moving(
        "multi_head",
        data={"length": length, "heads": heads, "dim": dim},
        alt="The memory as a row of numbers, the grid of positions and the stack of heads. The chosen number is "
        "marked in all three; cutting and exchanging keeps it at its position, a view alone moves it to another.",
        caption="Step through the numbers, or point at one. The colours are the positions: with the right recipe "
        "every head has one row of each colour.",
    )
