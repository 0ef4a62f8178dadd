"""From texts to the batches of a run: token ids once, and for every epoch the examples of every step."""

from __future__ import annotations

import random

from attention_from_scratch.finetune_data import PARTS, Splits
from attention_from_scratch.finetune_distributed import number_of
from attention_from_scratch.finetune_encoders import Cut
from attention_from_scratch.finetune_settings import Settings

Encoded = dict[str, list[tuple[list[int], int]]]
STEPS_IN_A_POOL = 16


def encode(splits: Splits, cut: Cut, max_length: int) -> Encoded:
    """The token ids and the number of the label of every text of every part."""
    return {
        part: list(
            zip(cut([e.text for e in splits.parts[part]], max_length), splits.numbered(part), strict=True)
        )
        for part in PARTS
    }


def plan(lengths: list[int], settings: Settings, epoch: int) -> list[list[list[int]]]:
    """The examples of every part of every step of an epoch, as numbers: texts of similar length stand together.

    It depends on the seed and the epoch alone. Every part of a step has the same size, so that a mean over processes
    is a mean over examples; up to `parts` − 1 examples are left out of an epoch for that, other ones each time.
    """
    draw = random.Random(number_of(settings.seed, "order", epoch))
    order = list(range(len(lengths)))
    draw.shuffle(order)
    steps, pool_size = [], STEPS_IN_A_POOL * settings.batch
    for start in range(0, len(order), pool_size):
        pool = sorted(order[start : start + pool_size], key=lambda i: lengths[i])
        steps += [pool[i : i + settings.batch] for i in range(0, len(pool), settings.batch)]
    draw.shuffle(steps)
    sizes = [len(step) // settings.parts for step in steps]
    return [
        [step[k * size : (k + 1) * size] for k in range(settings.parts)]
        for step, size in zip(steps, sizes, strict=True)
        if size
    ]
