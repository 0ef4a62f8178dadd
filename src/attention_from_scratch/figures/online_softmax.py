"""The moving figure of chapter 08: attention in tiles, one tile after another, with what is carried along."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

from attention_from_scratch.figures.base import Figure, moving

Scores = Sequence[Sequence[float]]


def tile_stepper(scores: Scores, values: Sequence[float], block_q: int, block_k: int) -> Figure:
    """Step through the tiles of `scores`; `values` holds one number a key. Causal or not is the reader's choice."""
    steps = {
        name: tile_steps(scores, values, causal, block_q, block_k)
        for name, causal in (("all", False), ("causal", True))
    }
    return moving(
        "online_softmax",
        data={
            "scores": [list(row) for row in scores],
            "values": list(values),
            "block_q": block_q,
            "block_k": block_k,
            "steps": steps,
        },
        alt="A grid of scores cut into tiles. One tile at a time holds numbers; under the grid stand the largest "
        "score, the sum and the blend of values of its queries, and the factor that shrinks the old sums.",
        caption="Step through the tiles. Only the tile at work holds numbers; of the tiles before it remain `m`, `l` "
        "and `acc`, one of each a query. With the causal mask, whole tiles are never visited.",
    )


def tile_steps(
    scores: Scores, values: Sequence[float], causal: bool, block_q: int, block_k: int
) -> list[dict[str, Any]]:
    """What happens in each step: a tile taken in, or the result of a row of tiles written out.

    A step names its `rows` and `columns` as [start, stop] (no columns when it writes) and lists for each of its
    queries the state after it: `m`, `shrink` (the factor on the old sums), `l`, `acc`; `out` and `lse` when it writes.
    None stands for −∞, and for the output of a query that saw nothing.
    """
    queries, keys = len(scores), len(values)
    steps: list[dict[str, Any]] = []
    for start in range(0, queries, block_q):
        rows = range(start, min(start + block_q, queries))
        states = [(-math.inf, 0.0, 0.0) for _ in rows]
        seen = rows.stop + keys - queries if causal else keys
        for first in range(0, seen, block_k):
            columns = range(first, min(first + block_k, keys))
            told = []
            for at, i in enumerate(rows):
                visible = [j for j in columns if not causal or j <= i + keys - queries]
                states[at], shrink = _taken_in(
                    states[at], [scores[i][j] for j in visible], [values[j] for j in visible]
                )
                told.append(_told(states[at], shrink))
            steps.append(
                {"rows": [rows.start, rows.stop], "columns": [columns.start, columns.stop], "states": told}
            )
        written = [_told(state, 1.0) | _result(state) for state in states]
        steps.append({"rows": [rows.start, rows.stop], "columns": None, "states": written})
    return steps


def _taken_in(
    state: tuple[float, float, float], scores: Sequence[float], values: Sequence[float]
) -> tuple[tuple[float, float, float], float]:
    m, l, acc = state
    if not scores:
        return state, 1.0
    larger = max(m, *scores)
    shrink = math.exp(m - larger)
    powers = [math.exp(score - larger) for score in scores]
    blend = sum(power * value for power, value in zip(powers, values, strict=True))
    return (larger, l * shrink + sum(powers), acc * shrink + blend), shrink


def _told(state: tuple[float, float, float], shrink: float) -> dict[str, float | None]:
    m, l, acc = state
    return {"m": None if m == -math.inf else m, "shrink": shrink, "l": l, "acc": acc}


def _result(state: tuple[float, float, float]) -> dict[str, float | None]:
    m, l, acc = state
    return {"out": acc / l if l else None, "lse": m + math.log(l) if l else None}
