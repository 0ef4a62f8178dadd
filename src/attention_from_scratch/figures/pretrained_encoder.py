"""The moving figure of chapter 12: how far each machine is from the published one, layer by layer."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from attention_from_scratch.figures.base import Figure, moving

FLOOR = 1e-8
"""Where an error of exactly 0 is drawn: a logarithmic axis has no place for it."""


def errors_by_layer(errors: Mapping[str, Sequence[float]], right: str, tolerance: float) -> Figure:
    """Drag the tolerance; see which wrong machines would pass for the published one.

    `errors` holds, for each machine, the largest difference from the published hidden states: after the embeddings,
    then after every layer. `right` names the machine that is right, `tolerance` is where the reader starts.

    Raises ValueError when no machine has that name, the machines have different numbers of layers, or an error is
    negative or not a number.
    """
    if right not in errors:
        raise ValueError(f"there is no machine {right!r} among {', '.join(errors)}")
    counts = {len(values) for values in errors.values()}
    if len(counts) != 1 or counts == {0}:
        raise ValueError(f"every machine needs one error for each layer, got {sorted(counts)} of them")
    for name, values in errors.items():
        if not all(0 <= value < float("inf") for value in values):
            raise ValueError(f"{name}: an error is a finite number and not negative, got {list(values)}")
    return moving(
        "pretrained_encoder",
        data={
            "machines": [
                {"name": name, "right": name == right, "errors": [max(FLOOR, float(v)) for v in values]}
                for name, values in errors.items()
            ],
            "tolerance": tolerance,
        },
        alt="Largest error of each machine after the embeddings and after every layer, on a logarithmic axis. "
        "The right one stays near 0.000001, a few wrong ones between 0.001 and 0.01, the others are off by 1 and more.",
        caption="Drag the dashed line, or move it with the arrow keys: it is the tolerance of a test. A machine passes "
        "when all its points lie below the line. Choose a machine to read its errors.",
    )
