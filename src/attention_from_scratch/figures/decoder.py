"""The moving figure of chapter 07: which places of the source each written character reads."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from attention_from_scratch.figures.base import Figure, moving

Reading = tuple[str, str, Sequence[Any]]
"""A source, what was written, and the weights of each head: (heads, characters written, characters of the source)."""


def alignment(readings: Sequence[Reading]) -> Figure:
    """Step through the characters that were written, or point at one, and see which characters it was read from.

    Raises ValueError when the weights have not one row for each written character and one column for each source
    character in every head.
    """
    if not readings:
        raise ValueError("there is no reading to show: give at least one (source, written, weights)")
    data = [_plain(source, written, weights) for source, written, weights in readings]
    return moving(
        "decoder",
        data={"readings": data},
        alt="A map with a row for each character that was written and a column for each character of the source. "
        "Darker cells have more weight; the chosen row is marked, and its weights also shade the source above it.",
        caption="Step through what was written, or point at a row. The darker a character of the source, the more "
        "weight it got. “mean” is the average over the heads.",
    )


def _plain(source: str, written: str, weights: Any) -> dict[str, Any]:
    """One reading as lists, with three digits: enough for the eye, and small in the page."""
    heads = weights.tolist() if hasattr(weights, "tolist") else weights
    rows = [row for head in heads for row in head]
    if (
        not heads
        or any(len(head) != len(written) for head in heads)
        or any(len(r) != len(source) for r in rows)
    ):
        raise ValueError(
            f"the weights must have the shape (heads, {len(written)}, {len(source)}): a row for each character of "
            f"{written!r} and a column for each of {source!r}"
        )
    short = [[[round(float(weight), 3) for weight in row] for row in head] for head in heads]
    return {"source": list(source), "written": list(written), "heads": short}
