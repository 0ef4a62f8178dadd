"""The moving figure of chapter 04: paint who may look at whom, and see the weights follow."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from attention_from_scratch.figures.base import Figure, moving


def painter(sentences: Sequence[Sequence[str]], lengths: Sequence[int], scores: Any) -> Figure:
    """Paint a mask over a batch of padded sentences; `scores[b][i][j]` says how well word j fits word i of example b.

    Every sentence has as many words as the longest, padding included; the first `lengths[b]` are real. Presets fill
    the mask (causal, padding, both, a window, everything), and the reader chooses how hidden keys are taken out.
    """
    rows = [[[float(score) for score in row] for row in example] for example in scores]
    words = [list(sentence) for sentence in sentences]
    size = len(words[0]) if words else 0
    if not size or len(rows) != len(words) or len(lengths) != len(words):
        raise ValueError(
            f"the painter needs a length and scores for each sentence, got {len(words)} sentences, "
            f"{len(lengths)} lengths and scores for {len(rows)}"
        )
    for sentence, length, example in zip(words, lengths, rows, strict=True):
        square = len(example) == size and all(len(row) == size for row in example)
        if len(sentence) != size or not square or not 0 <= length <= size:
            raise ValueError(
                f"every sentence needs {size} words, padding included, a length of at most {size} and "
                f"{size} × {size} scores; this one does not fit: {' '.join(sentence)}"
            )
    return moving(
        "masks",
        data={"sentences": words, "lengths": [int(length) for length in lengths], "scores": rows},
        alt="Two grids over the words of a sentence. In the left one the reader paints which word may look at which; "
        "the right one shows the weights that follow, in percent, and the sum of every row.",
        caption="Press a cell on the left, or drag over several, to hide or to show it; on the keyboard, arrows move "
        "and the space bar paints. The right grid shows the weights in percent and the sum of each row.",
    )
