"""The moving figure of chapter 16: where every head of every layer looks, on real sentences, and rollout beside it."""

from __future__ import annotations

from collections.abc import Sequence

from torch import Tensor

from attention_from_scratch.figures.base import Figure, moving


def heads(sentences: Sequence[tuple[Sequence[str], Tensor, Tensor]]) -> Figure:
    """Choose a sentence, a layer and a head, and point at a word to see where it looks.

    A sentence is its tokens, its maps (layers, heads, length, length), and its rollout (layers, length, length), all
    rows of which sum to 1.

    Raises ValueError when there is no sentence, the shapes do not fit the tokens, or a row does not sum to 1.
    """
    if not sentences:
        raise ValueError("the head explorer needs at least one sentence")
    return moving(
        "looking_inside",
        data=[_rounded(list(words), maps, rollout) for words, maps, rollout in sentences],
        alt="Left, the words of a sentence twice, with lines from each word to those that it looks at in the chosen "
        "head. Right, a cell for each head of six layers, darker the more it looks at the marks around the text.",
        caption="Point at a word on the left, touch it, or walk with the arrow keys, to see where it looks. A cell "
        "on the right is a head: the darker, the more of its attention goes to the marks `[CLS]` and `[SEP]`. Rollout "
        "has one map a layer: what each position holds of each input.",
    )


def _rounded(words: list[str], maps: Tensor, rollout: Tensor) -> dict[str, object]:
    """A sentence as the script takes it: weights in whole thousandths, a flat list for each map."""
    length = len(words)
    if maps.ndim != 4 or maps.shape[2:] != (length, length) or rollout.shape != (len(maps), length, length):
        raise ValueError(
            f"{length} tokens, but maps {tuple(maps.shape)} and rollout {tuple(rollout.shape)}: "
            "they are (layers, heads, length, length) and (layers, length, length)"
        )
    for name, rows in (("maps", maps), ("rollout", rollout)):
        if not ((rows.sum(dim=-1) - 1).abs() < 1e-3).all():  # thousandths are all that is drawn
            raise ValueError(f"a row of the {name} does not sum to 1; cut padding off first")

    def flat(weights: Tensor) -> list[int]:
        return [int(number) for number in (1000 * weights).round().flatten()]

    return {
        "words": words,
        "maps": [[flat(head) for head in layer] for layer in maps],
        "rollout": [flat(layer) for layer in rollout],
    }
