"""The moving figure of chapter 05: a query and a key turned by their positions, pair by pair."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from attention_from_scratch.figures.axes import floats
from attention_from_scratch.figures.base import Figure, moving


def rotation_dial(query: Sequence[float], key: Sequence[float], frequencies: Any, length: int) -> Figure:
    """Move query and key along `length` positions; each pair turns by its own frequency (radians a step)."""
    pairs = floats(frequencies)
    if len(query) != 2 * len(pairs) or len(key) != 2 * len(pairs):
        raise ValueError(
            f"{len(pairs)} frequencies turn {2 * len(pairs)} numbers; "
            f"the query has {len(query)} and the key {len(key)}: give two numbers a frequency"
        )
    data = {"query": floats(query), "key": floats(key), "frequencies": pairs, "length": length}
    return moving(
        "positions",
        data=data,
        alt=f"A line of positions with a query and a key to drag, {len(pairs)} dials on which their pairs of numbers "
        "turn, the fastest first, and a curve of the dot product against the distance, on which a dot stays where it "
        "is while both move together.",
        caption="Blue is the query, orange the key; faint lines show them unturned. Under each dial stands what its "
        "pair adds to the dot product.",
    )
