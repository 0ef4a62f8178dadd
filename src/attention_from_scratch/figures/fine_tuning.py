"""The moving figure of chapter 13: the curves of several seeds of a fine-tuning run, side by side."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Final

from attention_from_scratch.figures.base import Figure, moving

PAINT: Final = ("ink", "ochre", "soft")
QUANTITIES: Final = {
    "loss": "training loss",
    "validation_loss": "validation loss",
    "macro_f1": "validation macro-F1",
}
MOST_POINTS: Final = 120

Run = Mapping[str, Any]
"""What the report of `course finetune` keeps of a seed: "seed", "losses" of all steps, "epochs" with "validation"."""


def seeds(groups: Mapping[str, Sequence[Run]], window: int) -> Figure:
    """Choose what to see; move the line along the steps; read off every group: mean, smallest and largest seed.

    `groups` has up to three entries, each with the runs of its seeds. The training loss is the mean of the last
    `window` steps.

    Raises ValueError when there are no groups or more than three, when a group has no runs, or a run has no steps.
    """
    if not 1 <= len(groups) <= len(PAINT):
        raise ValueError(f"one to {len(PAINT)} groups can be told apart, not {len(groups)}")
    if window < 1:
        raise ValueError(f"the window is {window}; it must be at least 1 step")
    for name, runs in groups.items():
        if not runs or not all(run["losses"] and run["epochs"] for run in runs):
            raise ValueError(f"the group {name!r} has no runs, or one of them has no steps or no epochs")
    return moving(
        "fine_tuning",
        data={
            "quantities": [{"key": key, "words": words} for key, words in QUANTITIES.items()],
            "groups": [
                {"name": name, "paint": paint, "runs": [_series(run, window) for run in runs]}
                for paint, (name, runs) in zip(PAINT, groups.items(), strict=False)
            ],
        },
        alt="Curves of several seeds over the steps of training, one colour for each place to start from. The seeds of "
        "one colour lie close together; the runs from pretrained weights fall faster and end better than those from "
        "random weights.",
        caption="Choose a quantity and move the line: every thin curve is one seed. A difference that is smaller than "
        "the distance between the curves of one colour says nothing.",
    )


def _series(run: Run, window: int) -> dict[str, Any]:
    """The three curves of a run as points (step, value)."""
    losses, epochs = run["losses"], run["epochs"]
    smooth = [sum(losses[max(0, end - window) : end]) / min(window, end) for end in range(1, len(losses) + 1)]
    every = -(-len(losses) // MOST_POINTS)
    chosen = sorted({*range(0, len(losses), every), len(losses) - 1})
    ends = [round(len(losses) * (number + 1) / len(epochs)) for number in range(len(epochs))]

    def after_epochs(key: str) -> list[list[float]]:
        return [[end, epoch["validation"][key]] for end, epoch in zip(ends, epochs, strict=True)]

    return {
        "seed": run["seed"],
        "loss": [[step + 1, round(smooth[step], 4)] for step in chosen],
        "validation_loss": after_epochs("loss"),
        "macro_f1": after_epochs("macro_f1"),
    }
