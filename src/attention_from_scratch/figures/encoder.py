"""The moving figure of chapter 06: how large the gradients of each layer are, by depth, start and place of the norm."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

from attention_from_scratch.figures.base import Figure, moving

Measured = Mapping[tuple[str, int, float], Sequence[float]]
"""For (wiring, depth, scale of the first weights): the norm of the gradient of every layer, the first layer first."""

PAINT = {"post-norm": "ochre", "pre-norm": "ink", "no norm": "mask"}


def gradient_norms(measured: Measured) -> Figure:
    """Choose a depth and a scale of the first weights; see the gradient norm of every layer for each wiring.

    Raises ValueError when a wiring lacks a combination of depth and scale that another one has, when a layer is
    missing, or when a norm is not positive (the axis is logarithmic). Norms that overflowed leave the chart at its top.
    """
    wirings = list(dict.fromkeys(wiring for wiring, _, _ in measured))
    depths = sorted({depth for _, depth, _ in measured})
    scales = sorted({scale for _, _, scale in measured})
    return moving(
        "encoder",
        data={
            "wirings": [{"name": name, "paint": PAINT.get(name, "ink")} for name in wirings],
            "depths": depths,
            "scales": scales,
            "norms": [
                [[_checked(measured, (name, depth, scale)) for scale in scales] for depth in depths]
                for name in wirings
            ],
        },
        alt="Gradient norm of each layer on a logarithmic axis, one line for each place of the norm. In deep stacks "
        "the pre-norm line falls from the first layer to the last, the post-norm line stays high, and without a norm "
        "the gradients are larger by powers of ten.",
        caption="Move the depth and the scale of the first weights. Each point is one layer: the norm of the gradient "
        "of all its parameters before the first step of training.",
    )


def _checked(measured: Measured, key: tuple[str, int, float]) -> list[float | None]:
    """The norms for a key; None stands for one that overflowed."""
    if key not in measured:
        raise ValueError(
            f"no gradient norms were given for {key}: measure every wiring at every depth and scale"
        )
    norms = [float(norm) for norm in measured[key]]
    if len(norms) != key[1]:
        raise ValueError(f"{key}: {len(norms)} norms for {key[1]} layers")
    if any(norm <= 0 for norm in norms):
        raise ValueError(f"{key}: a gradient norm must be positive to stand on a logarithmic axis")
    return [norm if math.isfinite(norm) else None for norm in norms]
