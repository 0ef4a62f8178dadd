"""What the GPU benchmark says in the end: a table for each cell, and how our kernels stand to PyTorch's fused ones."""

from __future__ import annotations

import math
from typing import Any

__all__ = ["summary", "table"]

LONG = 8192  # the ratios are taken over cells of this length and more
OURS = ("ours fast", "ours")


def table(name: str, results: list[dict[str, Any]], ceilings: dict[str, float]) -> str:
    """One line for each peer and kind: TFLOP/s, the share of the measured product, the spread, memory."""
    lines = [name]
    for one in results:
        if "fault" in one:
            lines.append(f"  {one['peer']:15s} {one['fault']}")
            continue
        time, rate = one["milliseconds"], one["flops_per_second"]
        memory = "" if one["peak_bytes"] is None else f"  {one['peak_bytes'] / 2**20:8.0f} MiB"
        lines.append(
            f"  {one['peer']:15s} {one['kind']:8s} {rate / 1e12:8.3g} TFLOP/s  "
            f"{rate / ceilings['matmul_flops_per_second']:4.0%} of the product  {time['median']:9.3f} ms "
            f"({time['low']:.3f} to {time['high']:.3f}){memory}"
        )
    return "\n".join(lines)


def summary(cells: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """For each kind, width, mask and pair of one of our versions and another peer: the geometric mean of our speed over
    theirs on long sequences. The fast version is compared with the readable one too, and not the other way round."""
    times = {
        (one["peer"], one["kind"], *one["shape"].values()): one["milliseconds"]["median"]
        for one in cells
        if "milliseconds" in one and one["shape"]["length"] >= LONG
    }
    ratios: dict[tuple[Any, ...], list[float]] = {}
    for (peer, kind, *shape), theirs in times.items():
        for name in OURS[: OURS.index(peer)] if peer in OURS else OURS:
            mine = times.get((name, kind, *shape))
            if mine is not None:
                dim, causal = shape[-2:]
                ratios.setdefault((name, kind, dim, causal, peer), []).append(theirs / mine)
    return [
        {"mine": name, "kind": kind, "dim": dim, "causal": causal, "peer": peer, "cells": len(all_),
         "ratio": math.exp(sum(map(math.log, all_)) / len(all_))}
        for (name, kind, dim, causal, peer), all_ in ratios.items()
    ]  # fmt: skip
