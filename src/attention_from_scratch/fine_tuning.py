"""Fine-tuning: batches, parameter groups, the learning rate over time, an epoch, an honest score, an honest experiment.

A batch is a tuple of tokens (batch, length), a mask of the same shape that is True where a token is real, and the
labels (batch). A model is called as `model(tokens, mask)` and answers with logits (batch, classes).
"""

from __future__ import annotations

import itertools
import math
import random
from collections.abc import Callable, Iterable, Sequence
from typing import TypeVar

import torch
from jaxtyping import Bool, Int
from torch import Tensor, nn

from attention_from_scratch.data import Review, without_duplicates

Batch = tuple[Int[Tensor, "batch length"], Bool[Tensor, "batch length"], Int[Tensor, " batch"]]
Example = tuple[str, str]
State = TypeVar("State")


def collate(examples: Sequence[tuple[list[int], int]], padding: int) -> Batch:
    """Make one batch of texts of different lengths, each given as its token ids and its label.

    Returns tokens (batch, length), filled up with `padding` on the right to the longest text of this batch; the mask
    (batch, length), True for every token of a text, also for one that equals `padding`; and the labels (batch).
    Tokens and labels are int64, the mask is bool.

    Raises ValueError when there are no examples, or when a text has no token.
    """
    ### BEGIN SOLUTION
    if not examples or not all(ids for ids, _ in examples):
        raise ValueError("a batch needs at least one text, and every text at least one token")
    length = max(len(ids) for ids, _ in examples)
    tokens = torch.full((len(examples), length), padding)
    mask = torch.zeros(len(examples), length, dtype=torch.bool)
    for row, (ids, _) in enumerate(examples):
        tokens[row, : len(ids)] = torch.tensor(ids)
        mask[row, : len(ids)] = True
    return tokens, mask, torch.tensor([label for _, label in examples])
    ### END SOLUTION


def adamw_groups(model: nn.Module, weight_decay: float) -> list[dict]:
    """The parameters of a model in two groups, as `torch.optim.AdamW` takes them: those that decay and the others.

    The first group has the keys "params" and "weight_decay" and holds every parameter with two axes or more (weight
    matrices, embeddings). The second holds every other one (biases, norms), with a weight decay of 0. Parameters
    that are frozen (`requires_grad` is False) are in neither, and one that is used at two places is there once.

    Source: Devlin et al. 2019, appendix A.2, for the decay; Loshchilov and Hutter 2019 for AdamW.
    """
    ### BEGIN SOLUTION
    trained = [parameter for parameter in model.parameters() if parameter.requires_grad]
    return [
        {"params": [p for p in trained if p.ndim >= 2], "weight_decay": weight_decay},
        {"params": [p for p in trained if p.ndim < 2], "weight_decay": 0.0},
    ]
    ### END SOLUTION


def warmup_linear(step: int, warmup: int, total: int) -> float:
    """The factor of the learning rate in step `step` (the first is 0) of `total` steps.

    It rises by equal amounts over the first `warmup` steps, is 1 in step `warmup`, and falls by equal amounts from
    there, so that it would be 0 in step `total`, the first that is not taken any more. It is positive in every step
    that is taken, the first and the last included, and 0 from step `total` on.

    Raises ValueError unless 0 ≤ warmup < total.
    """
    ### BEGIN SOLUTION
    if not 0 <= warmup < total:
        raise ValueError(f"the warm-up must be shorter than the run: 0 <= {warmup} < {total} does not hold")
    if step < warmup:
        return (step + 1) / (warmup + 1)
    return max(0.0, (total - step) / (total - warmup))
    ### END SOLUTION


def train_epoch(
    model: nn.Module,
    batches: Iterable[Batch],
    optimizer: torch.optim.Optimizer,
    scheduler: torch.optim.lr_scheduler.LRScheduler,
    accumulate: int,
    max_norm: float,
) -> list[float]:
    """Train on all batches once, in training mode; the loss of every step, in order.

    One step takes `accumulate` batches (the last step of an epoch takes what is left). Its loss is the mean
    cross-entropy over all examples of these batches, as if they were one batch. Gradients that the parameters hold
    already do not count. The gradient of the whole step is cut to a norm of at most `max_norm` over all parameters;
    then the optimiser steps, and after it the scheduler.
    """
    ### BEGIN SOLUTION
    model.train()
    losses, stream = [], iter(batches)
    while group := list(itertools.islice(stream, accumulate)):
        examples = sum(len(labels) for _, _, labels in group)
        optimizer.zero_grad()
        loss = 0.0
        for tokens, mask, labels in group:
            part = nn.functional.cross_entropy(model(tokens, mask), labels, reduction="sum") / examples
            part.backward()
            loss += part.item()
        nn.utils.clip_grad_norm_(model.parameters(), max_norm)
        optimizer.step()
        scheduler.step()
        losses.append(loss)
    return losses
    ### END SOLUTION


def draw_resamples(
    examples: int, resamples: int, generator: torch.Generator
) -> Int[Tensor, "resamples examples"]:
    """The numbers of the examples in each resample: as many as there are, each drawn from all of them."""
    return torch.randint(examples, (resamples, examples), generator=generator)


def evaluate(
    model: nn.Module, batches: Sequence[Batch], classes: int, resamples: int, generator: torch.Generator
) -> dict:
    """What a model says about examples that it is not trained on, and how good that is.

    The model answers in evaluation mode, without gradients, and is left in the mode in which it came. The keys are

    "logits"     (examples, classes), on the CPU, in the order of the batches
    "confusion"  (classes, classes), int64: how many examples of the class of the row got the class of the column
    "accuracy"   the share of examples that got their own class
    "macro_f1"   the mean over all classes of F1 = 2·TP / (2·TP + FP + FN), which is 0 where the denominator is 0
    "low", "high"  an interval for macro_f1: the 2.5 % and the 97.5 % quantile (linear) of the macro-F1 of the
                 resamples that `draw_resamples` draws, once, from the generator

    Source: Efron and Tibshirani 1993, chapter 13, for the interval.
    """
    ### BEGIN SOLUTION
    was_training = model.training
    model.eval()
    with torch.no_grad():
        answers = [(model(tokens, mask).cpu(), labels.cpu()) for tokens, mask, labels in batches]
    model.train(was_training)
    logits, labels = (torch.cat(parts) for parts in zip(*answers, strict=True))
    cells = labels * classes + logits.argmax(dim=-1)  # (examples): row times classes plus column

    def confusions(chosen: Tensor) -> Tensor:
        """The confusion table of every row of examples: (rows, classes, classes)."""
        counts = torch.zeros(len(chosen), classes * classes, dtype=torch.int64)
        counts.scatter_add_(1, cells[chosen], torch.ones_like(chosen))
        return counts.reshape(-1, classes, classes)  # (rows, truth, prediction)

    def macro_f1(tables: Tensor) -> Tensor:
        """Of every table, (rows): the sum of a row and of a column holds TP twice, FP and FN once."""
        right = tables.diagonal(dim1=-2, dim2=-1).double()  # (rows, classes)
        either = tables.sum(dim=-1) + tables.sum(dim=-2)  # (rows, classes)
        return (2 * right / either.clamp(min=1)).mean(dim=-1)

    whole = confusions(torch.arange(len(labels))[None])
    drawn = macro_f1(confusions(draw_resamples(len(labels), resamples, generator)))
    low, high = torch.quantile(drawn, torch.tensor([0.025, 0.975], dtype=torch.float64)).tolist()
    return {
        "logits": logits,
        "confusion": whole[0],
        "accuracy": (logits.argmax(dim=-1) == labels).double().mean().item(),
        "macro_f1": macro_f1(whole).item(),
        "low": low,
        "high": high,
    }
    ### END SOLUTION


def honest_experiment(
    examples: Sequence[Example],
    shares: tuple[float, float],
    start: Callable[[], State],
    fit: Callable[[State, list[Example]], State],
    score: Callable[[State, list[Example]], float],
    epochs: int,
    seed: int,
) -> dict:
    """Train with a validation set, and touch the test set once.

    An example is a text and its label. Of texts that differ in case and spacing only, the first stays; a text that
    stands there with two labels goes. A shuffle that depends on `seed` alone cuts the rest into training, validation
    and test examples; `shares` are the shares of the last two, rounded to whole examples. `examples` is not changed.

    `start()` gives the state to begin with. `fit(state, training examples)` gives the state after one more epoch.
    `score(state, some examples)` says how good a state is. After each of the `epochs` epochs the validation examples
    are scored, and the state with the best score is kept (the earliest of equals). At the very end, once, it is
    scored on the test examples. The keys of the result are

    "sizes"       how many training, validation and test examples there are, a list
    "validation"  the score of every epoch, a list
    "best_epoch"  the number of the best one, the first is 0
    "test"        the score of the kept state on the test examples

    Raises ValueError when one of the three parts would be empty.
    """
    ### BEGIN SOLUTION
    unique = [
        (review.text, review.label)
        for review in without_duplicates([Review(text, label, None) for text, label in examples])
    ]
    random.Random(seed).shuffle(unique)
    held, tested = (round(share * len(unique)) for share in shares)
    validation, test, train = unique[:held], unique[held : held + tested], unique[held + tested :]
    if not (train and validation and test):
        raise ValueError(f"{len(unique)} different texts cannot be cut into three parts by {shares}")
    state = kept = start()
    scores: list[float] = []
    for _ in range(epochs):
        state = fit(state, train)
        scores.append(score(state, validation))
        if scores[-1] > max(scores[:-1], default=-math.inf):
            kept = state
    return {
        "sizes": [len(train), len(validation), len(test)],
        "validation": scores,
        "best_epoch": scores.index(max(scores)),
        "test": score(kept, test),
    }
    ### END SOLUTION
