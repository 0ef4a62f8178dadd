"""Small tools of an audit: scores of answers, typing mistakes, what leaving a word out does, agreement of ranks."""

from __future__ import annotations

import random
from collections.abc import Sequence

import torch
from jaxtyping import Float
from torch import Tensor, nn

from attention_from_scratch.fine_tuning import collate
from attention_from_scratch.finetune_baselines import scored
from attention_from_scratch.finetune_model import Classifier


def score_answers(answers: Sequence[int], labels: Sequence[int], classes: int) -> dict[str, float]:
    """The accuracy and the macro-F1 of answers that are numbers of classes, by chapter 13's `evaluate`."""
    sure = nn.functional.one_hot(torch.tensor(answers), classes).double()  # (texts, classes)
    scores = scored(
        sure, list(labels), seed=0, resamples=1
    )  # the interval, which needs more, is not looked at
    return {name: scores[name] for name in ("accuracy", "macro_f1")}


NEXT_TO = dict(zip("qwertyuiopasdfghjklzxcvbnm", "wertyuioaqsdfghjkzlxcvbnmn", strict=True))


def perturb(text: str, rate: float, seed: int) -> str:
    """The text with typing mistakes: each letter is hit with probability `rate`.

    A letter that is hit is dropped, doubled, exchanged with the next character, or replaced by its neighbour on the
    keyboard, each as likely. Text and seed decide everything, so the order in which texts come does not matter.
    """
    draw, typed, at = random.Random(f"{seed} {text}"), "", 0
    while at < len(text):
        letter, at = text[at], at + 1
        if not letter.isalpha() or draw.random() >= rate:
            typed += letter
            continue
        slip = draw.choice(["drop", "double", "exchange", "neighbour"])
        if slip == "exchange" and at < len(text):
            letter, at = text[at] + letter, at + 1
        typed += {"drop": "", "double": 2 * letter, "neighbour": NEXT_TO.get(letter, letter)}.get(
            slip, letter
        )
    return typed


@torch.no_grad()
def effect_of_each_word(model: Classifier, ids: list[int], answer: int) -> Float[Tensor, " words"]:
    """How much of the probability of `answer` goes when a token between [CLS] and [SEP] is left out, for each token."""
    shorter = [ids[:i] + ids[i + 1 :] for i in range(1, len(ids) - 1)]
    tokens, mask, _ = collate([(one, 0) for one in [ids, *shorter]], padding=0)
    odds = model(tokens, mask).softmax(dim=-1)[:, answer]  # (1 + words)
    return odds[0] - odds[1:]


def rank_agreement(one: Float[Tensor, " items"], other: Float[Tensor, " items"]) -> float:
    """Kendall's τ: the share of pairs that both put in the same order, minus that of those in the other order.

    1 for the same order, 0 on average for an order by chance, −1 for the opposite one; ties count for neither.
    """
    signs = [(values[:, None] - values).sign() for values in (one, other)]  # (items, items) each
    return float((signs[0] * signs[1]).sum() / (len(one) * (len(one) - 1)))
