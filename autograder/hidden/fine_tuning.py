"""Hidden tests of chapter 13, `fine_tuning`."""

from __future__ import annotations

import itertools
from collections import Counter
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

from attention_from_scratch import fine_tuning as reference
from autograder.testing import Draw, Exercise, Question, Student, check, close, presupposes, raises

# Beside the student's code: a small model that notes how it is called, and runs that report what became of it. The
# same text runs beside the reference (`beside_the_reference`); the tests compare the two reports.
HELPERS = '''
import torch
from torch import nn


class Small(nn.Module):
    """The mean of word vectors under the mask, a norm, a linear layer; out of training its answers are scaled."""

    def __init__(self, weights, factor):
        super().__init__()
        tokens, width = weights["word.weight"].shape
        self.word = nn.Embedding(tokens, width)
        self.norm = nn.LayerNorm(width)
        self.head = nn.Linear(width, len(weights["head.bias"]))
        self.double()
        self.load_state_dict(weights)
        self.factor, self.modes, self.grads = factor, [], []

    def forward(self, tokens, mask):
        self.modes.append(self.training)
        self.grads.append(torch.is_grad_enabled())
        words = self.word(tokens) * mask[..., None]
        mean = words.sum(dim=1) / mask.sum(dim=1, keepdim=True)
        logits = self.head(self.norm(mean))
        return logits if self.training else self.factor * logits


def run_epoch(weights, batches, rate, factors, accumulate, max_norm, stale, training, stream):
    model = Small(weights, 3.0)
    model.train(training)
    optimizer = torch.optim.SGD(model.parameters(), lr=rate)
    rates = []
    optimizer.register_step_pre_hook(lambda *_: rates.append(optimizer.param_groups[0]["lr"]))
    scheduler = torch.optim.lr_scheduler.LambdaLR(optimizer, lambda step: factors[step] if step < len(factors) else 0.0)
    for parameter in model.parameters():
        parameter.grad = torch.full_like(parameter, stale) if stale else None
    given = (batch for batch in batches) if stream else batches
    losses = train_epoch(model, given, optimizer, scheduler, accumulate, max_norm)
    after = {name: value.detach().clone() for name, value in model.state_dict().items()}
    return {"losses": losses, "weights": after, "rates": rates, "modes": model.modes}


def run_evaluate(weights, batches, classes, resamples, seed, training, factor):
    model = Small(weights, factor)
    model.train(training)
    result = evaluate(model, batches, classes, resamples, torch.Generator().manual_seed(seed))
    logits = result["logits"] if isinstance(result, dict) else None
    held = bool(logits.requires_grad) if isinstance(logits, torch.Tensor) else None
    return {
        "result": result, "modes": model.modes, "grads": model.grads, "after": model.training, "held": held,
    }


class Parts(nn.Module):
    """Embeddings, a linear layer, a norm under a name of its own, a lone vector and a lone number."""

    def __init__(self, tokens, width, classes):
        super().__init__()
        self.word = nn.Embedding(tokens, width)
        self.middle = nn.Linear(width, width)
        self.after_middle = nn.LayerNorm(width)
        self.temperature = nn.Parameter(torch.ones(width))
        self.scale = nn.Parameter(torch.tensor(1.0))
        self.head = nn.Linear(width, classes)


def make_parts(sizes, frozen, shared):
    model = Parts(*sizes)
    model.double()
    for number, parameter in enumerate(model.parameters()):
        with torch.no_grad():
            parameter.copy_(torch.linspace(1.0, 2.0 + number, parameter.numel()).reshape(parameter.shape))
    if shared:
        model.again = model.middle
    for name, parameter in model.named_parameters():
        parameter.requires_grad_(not any(name.startswith(start) for start in frozen))
    return model


def decayed(sizes, decay, rate, frozen, shared):
    """How much of every parameter is left after a step with no gradient, and how often it is in the groups."""
    model = make_parts(sizes, frozen, shared)
    before = {name: value.detach().clone() for name, value in model.named_parameters()}
    groups = adamw_groups(model, decay)
    names = {id(value): name for name, value in model.named_parameters()}
    listed = [[names.get(id(parameter), "?") for parameter in group["params"]] for group in groups]
    optimizer = torch.optim.AdamW([dict(group, params=list(group["params"])) for group in groups], lr=rate)
    for parameter in model.parameters():
        parameter.grad = torch.zeros_like(parameter)
    optimizer.step()
    left = {name: (value.detach() / before[name]).mean().item() for name, value in model.named_parameters()}
    return {"left": left, "listed": listed, "decays": [group["weight_decay"] for group in groups]}
'''


def beside_the_reference() -> dict[str, Any]:
    """The helpers beside our own functions."""
    scope: dict[str, Any] = {
        name: getattr(reference, name) for name in ("train_epoch", "evaluate", "adamw_groups")
    }
    exec(HELPERS, scope)
    return scope


def weights_of(draw: Draw, tokens: int, width: int, classes: int) -> dict[str, Tensor]:
    """Random weights of the small model, far enough from 0 that every gradient matters."""
    return {
        "word.weight": draw.normal(tokens, width),
        "norm.weight": draw.uniform(width, low=0.5, high=1.5),
        "norm.bias": draw.normal(width),
        "head.weight": draw.normal(classes, width),
        "head.bias": draw.normal(classes),
    }


def batch_of(
    draw: Draw, examples: int, length: int, tokens: int, classes: int
) -> tuple[Tensor, Tensor, Tensor]:
    """Random tokens under a ragged mask, whose padding holds real tokens, so that it shows where it counts."""
    lengths = torch.tensor([draw.integer(1, length) for _ in range(examples)])
    lengths[0] = length
    words = torch.tensor([[draw.integer(0, tokens - 1) for _ in range(length)] for _ in range(examples)])
    labels = torch.tensor([draw.integer(0, classes - 1) for _ in range(examples)])
    return words, torch.arange(length) < lengths[:, None], labels


collate = Exercise("collate")


def texts_of(draw: Draw, count: int) -> list[tuple[list[int], int]]:
    """Texts of different lengths, one of them of one token."""
    lengths = [draw.integer(1, 9) for _ in range(count)] + [1, 11]
    return [([draw.integer(1, 99) for _ in range(length)], draw.integer(0, 4)) for length in lengths]


@collate.test(
    points=1.5,
    says="the tokens are not filled up as agreed: every text starts at place 0, the padding follows on its right, and the length is that of the longest text of this batch, no text is cut",
)
def fills_up_on_the_right_to_the_longest(student: Student, draw: Draw) -> None:
    padding = draw.integer(100, 200)
    for texts in (texts_of(draw, draw.integer(2, 5)), texts_of(draw, 3)[-1:], texts_of(draw, 3)[:1] * 2):
        close(
            student.collate(texts, padding), reference.collate(texts, padding), what="(tokens, mask, labels)"
        )


@collate.test(
    points=1.5,
    says="the mask is wrong: it is of type bool, True on every token of the text and False on the padding that was added; a token of the text that happens to equal the padding is still a token",
)
def mask_is_true_on_tokens_only(student: Student, draw: Draw) -> None:
    texts = texts_of(draw, draw.integer(2, 5))
    padding = texts[-1][0][draw.integer(0, 10)]  # a number that the longest text holds
    close(student.collate(texts, padding)[1], reference.collate(texts, padding)[1], what="the mask")


@collate.test(
    points=0.5,
    says="the texts that were handed in have changed: fill up a copy, since the next epoch needs them as they were",
)
def leaves_the_texts_alone(student: Student, draw: Draw) -> None:
    texts = texts_of(draw, 3)
    probe = student.probe("collate", texts, 0)
    close(probe.args[0], texts, what="the texts after the call")
    presupposes(probe.value, reference.collate(texts, 0))


@collate.test(
    points=0.5,
    says="what makes no batch must be refused with a ValueError: no examples at all, and a text without a token, wherever it stands",
)
def refuses_what_makes_no_batch(student: Student, draw: Draw) -> None:
    texts = texts_of(draw, 3)
    place = draw.integer(0, len(texts) - 1)
    raises(ValueError, student.collate, [], 0)
    raises(ValueError, student.collate, [*texts[:place], ([], 1), *texts[place:]], 0)
    presupposes(student.collate(texts, 0), reference.collate(texts, 0))


adamw_groups = Exercise("adamw_groups")
MATRICES = ("word.weight", "middle.weight", "head.weight")


def decayed(
    student: Student, draw: Draw, frozen: list[str], shared: bool
) -> tuple[dict[str, Any], dict[str, Any]]:
    """What is left of the parameters after a step of pure decay, with the student's groups and with ours."""
    student.define(HELPERS)
    sizes = list(draw.primes(3))
    asked = (sizes, draw.integer(2, 8) / 10, draw.integer(2, 8) / 10, frozen, shared)
    got, expected = student.decayed(*asked), beside_the_reference()["decayed"](*asked)
    check(isinstance(got, dict) and isinstance(got.get("left"), dict), "the groups could not be used")
    return got, expected


@adamw_groups.test(
    points=1.5,
    says="a matrix does not decay as asked: weight matrices and embeddings, which have two axes, belong in the first group, with the weight decay that was given",
)
def matrices_decay(student: Student, draw: Draw) -> None:
    got, expected = decayed(student, draw, [], shared=False)
    for name in MATRICES:
        close(got["left"].get(name), expected["left"][name], what=f"what is left of {name}")
    close(got["decays"], expected["decays"], what="the weight decays of the two groups")


@adamw_groups.test(
    points=1.5,
    says="something decays that must not: biases, the scale and shift of a norm, and single vectors or numbers, whatever their names are, belong in the second group, whose weight decay is 0. They have fewer than two axes",
)
def norms_and_biases_do_not(student: Student, draw: Draw) -> None:
    got, expected = decayed(student, draw, [], shared=False)
    for name in expected["left"]:
        if name not in MATRICES:
            close(got["left"].get(name), 1.0, what=f"what is left of {name}")
    close([sorted(g) for g in got["listed"]], [sorted(g) for g in expected["listed"]], what="the groups")


@adamw_groups.test(
    points=1,
    says="a frozen parameter is in a group: who does not learn (requires_grad is False) must not be handed to the optimiser, whose weight decay would shrink it all the same",
)
def frozen_parameters_are_left_out(student: Student, draw: Draw) -> None:
    frozen = draw.choice([["word", "after_middle"], ["middle", "temperature"], ["head", "word"]])
    got, expected = decayed(student, draw, frozen, shared=False)
    close([sorted(g) for g in got["listed"]], [sorted(g) for g in expected["listed"]], what="the groups")
    close(got["left"], expected["left"], what="what is left of the parameters")


@adamw_groups.test(
    points=1,
    says="a parameter that two parts of the model share is there twice: it would be stepped twice; every parameter is in one group, once",
)
def shared_parameters_are_there_once(student: Student, draw: Draw) -> None:
    got, expected = decayed(student, draw, [], shared=True)
    theirs, ours = (Counter(itertools.chain(*report["listed"])) for report in (got, expected))
    close(theirs, ours, what="how often each is listed")
    close(got["left"], expected["left"], what="what is left of the parameters")


warmup_linear = Exercise("warmup_linear")


def same_factors(student: Student, steps: list[int], warmup: int, total: int) -> None:
    """The factor of every one of these steps."""
    for step in steps:
        expected = reference.warmup_linear(step, warmup, total)
        close(student.warmup_linear(step, warmup, total), expected, what=f"step {step} of {warmup}, {total}")


@warmup_linear.test(
    points=1,
    says="the rise is wrong: over the first `warmup` steps the factor grows by equal amounts, from 1/(warmup + 1) in the first step; a first step of 0 would be a step for nothing",
)
def rises_by_equal_amounts(student: Student, draw: Draw) -> None:
    warmup = draw.integer(3, 12)
    same_factors(student, list(range(warmup)), warmup, warmup + draw.integer(5, 20))
    same_factors(student, [0], 1, draw.integer(3, 9))


@warmup_linear.test(
    points=1,
    says="the top is at the wrong step: the factor is 1 in step `warmup`, which is the first step of all when there is no warm-up",
)
def is_one_right_after_the_warmup(student: Student, draw: Draw) -> None:
    for warmup in (0, 1, draw.integer(2, 12)):
        total = warmup + draw.integer(2, 20)
        same_factors(student, [warmup, warmup + 1], warmup, total)


@warmup_linear.test(
    points=1,
    says="the fall is wrong: from 1 in step `warmup` it goes down by equal amounts to 0 in step `total`; the last step that is taken, total − 1, still learns, and after the end the factor stays 0",
)
def falls_to_zero_where_the_run_ends(student: Student, draw: Draw) -> None:
    for warmup in (0, draw.integer(1, 9)):
        total = warmup + draw.integer(4, 20)
        same_factors(student, [*range(warmup + 1, total), total, total + draw.integer(1, 9)], warmup, total)


@warmup_linear.test(
    points=1,
    says="a warm-up that leaves no step to fall, or a negative one, must be refused with a ValueError",
)
def refuses_a_warmup_without_an_end(student: Student, draw: Draw) -> None:
    total = draw.integer(2, 20)
    raises(ValueError, student.warmup_linear, 0, total, total)
    raises(ValueError, student.warmup_linear, 0, total + draw.integer(1, 5), total)
    raises(ValueError, student.warmup_linear, 0, -draw.integer(1, 5), total)
    same_factors(student, [0, total - 1], total - 1, total)  # and the longest that can be is not refused


train_epoch = Exercise("train_epoch")


def same_epoch(
    student: Student,
    draw: Draw,
    sizes: list[int],
    accumulate: int,
    tolerance: float | None = None,
    **changed: Any,
) -> dict[str, Any]:
    """An epoch over batches of these sizes, theirs against ours: losses and weights. Returns their report."""
    tokens, width, classes = 17, draw.choice([3, 5]), draw.choice([2, 3])
    batches = [batch_of(draw, size, draw.integer(2, 7), tokens, classes) for size in sizes]
    asked: dict[str, Any] = {
        "weights": weights_of(draw, tokens, width, classes), "batches": batches, "rate": 0.3,
        "factors": [1.0] * len(sizes), "accumulate": accumulate, "max_norm": 1e6, "stale": 0.0, "training": True,
        "stream": False,
    }  # fmt: skip
    asked |= changed
    student.define(HELPERS)
    got = student.run_epoch(**asked)
    expected = beside_the_reference()["run_epoch"](**asked)
    close(got["losses"], expected["losses"], tolerance, what="the losses")
    close(got["weights"], expected["weights"], tolerance, what="the weights afterwards")
    return {"got": got, "expected": expected}


@train_epoch.test(
    points=1.5,
    says="with one batch a step the losses or the weights are not those of plain training: mean cross-entropy, backward, a step of the optimiser, and the loss of every step in the list",
)
def every_batch_is_a_step(student: Student, draw: Draw) -> None:
    same_epoch(student, draw, [draw.integer(2, 5) for _ in range(3)], accumulate=1)


@train_epoch.test(
    points=2,
    says="accumulated batches are not weighed by their examples: a step over several batches must be the step of one batch with all their examples, so sum the losses of all examples and divide by how many these are, for the gradient and for the loss that is reported",
)
def accumulated_batches_count_by_their_examples(student: Student, draw: Draw) -> None:
    sizes = [1, draw.integer(5, 8), draw.integer(2, 3)]
    same_epoch(student, draw, sizes * 2, accumulate=3)


@train_epoch.test(
    points=1.5,
    says="the end of the epoch is lost, or `batches` is taken for a list: when fewer batches are left than a step takes they make a step of their own, with the mean over their own examples, and batches may be any iterable",
)
def what_is_left_makes_a_step(student: Student, draw: Draw) -> None:
    sizes = [draw.integer(2, 5) for _ in range(2 * 3 + draw.integer(1, 2))]
    same_epoch(student, draw, sizes, accumulate=3, stream=True)
    same_epoch(student, draw, sizes[:2], accumulate=5)


@train_epoch.test(
    points=1,
    says="old gradients count: each step starts from none, the first one too, whatever the parameters hold when the epoch begins",
)
def old_gradients_do_not_count(student: Student, draw: Draw) -> None:
    stale = draw.choice([-1, 1]) * draw.integer(5, 9)
    same_epoch(student, draw, [3, 2, 4, 3], accumulate=2, stale=float(stale))


@train_epoch.test(
    points=1.5,
    says="the gradient is not cut to its norm: once a step, when all its batches have been through backward and before the optimiser steps, the gradient of all parameters together is scaled to a norm of at most max_norm",
)
def the_gradient_of_a_whole_step_is_cut(student: Student, draw: Draw) -> None:
    # PyTorch adds 1e-6 to the norm by which it divides; who does not is right too
    same_epoch(
        student, draw, [3, 2, 4, 3], accumulate=2, max_norm=draw.integer(1, 4) / 20, rate=1.0, tolerance=1e-5
    )
    same_epoch(
        student, draw, [3, 2], accumulate=1, max_norm=draw.integer(1, 4) / 20, rate=1.0, tolerance=1e-5
    )


@train_epoch.test(
    points=1,
    says="the learning rate is off by a step: the scheduler steps once for every step of the optimiser, not for every batch, and after it, so that the first step has the first rate",
)
def the_scheduler_follows_the_optimiser(student: Student, draw: Draw) -> None:
    factors = [draw.integer(1, 9) / 10 + step for step in range(6)]
    both = same_epoch(student, draw, [2, 3, 2, 2, 3], accumulate=2, factors=factors)
    close(both["got"]["rates"], both["expected"]["rates"], what="the rate of every step")


@train_epoch.test(
    points=0.5,
    says="the model is not in training mode: without model.train() a model that was just evaluated trains with its dropout off",
)
def trains_in_training_mode(student: Student, draw: Draw) -> None:
    both = same_epoch(student, draw, [2, 3], accumulate=1, training=False)
    close(both["got"]["modes"], both["expected"]["modes"], what="the mode of every call")


@train_epoch.test(
    points=1,
    says="the mask does not reach the model as it came, so padding takes part in the loss: call the model with the tokens and the mask of the batch",
)
def padding_takes_no_part(student: Student, draw: Draw) -> None:
    tokens, classes = 17, 2
    words, mask, labels = batch_of(draw, 4, 6, tokens, classes)
    other = torch.where(mask, words, (words + 1 + draw.integer(0, 9)) % tokens)
    weights = weights_of(draw, tokens, 3, classes)
    one, two = (
        same_epoch(student, draw, [4], 1, batches=[(tensor, mask, labels)], weights=weights)["got"]
        for tensor in (words, other)
    )
    close(one["losses"], two["losses"], what="the loss with other numbers in the padding")


evaluate = Exercise("evaluate")
SCORES = ("accuracy", "macro_f1")
Report = tuple[dict[str, Any], dict[str, Any]]


def same_scores(student: Student, draw: Draw, names: tuple[str, ...], **changed: Any) -> Report:
    """An evaluation, theirs against ours, compared in these keys. Returns both reports."""
    tokens, width, classes = 17, 3, draw.choice([3, 4])
    asked: dict[str, Any] = {
        "weights": weights_of(draw, tokens, width, classes),
        "batches": [batch_of(draw, size, draw.integer(2, 7), tokens, classes) for size in (11, 2, 7)],
        "classes": classes, "resamples": 30, "seed": draw.integer(0, 10**6), "training": False, "factor": 3.0,
    }  # fmt: skip
    asked |= {name: value(classes) if callable(value) else value for name, value in changed.items()}
    student.define(HELPERS)
    got = student.run_evaluate(**asked)
    expected = beside_the_reference()["run_evaluate"](**asked)
    check(isinstance(got["result"], dict), "the result is no dictionary")
    for name in names:
        close(got["result"].get(name), expected["result"][name], what=name)
    return got, expected


@evaluate.test(
    points=2,
    says="a score does not follow from the confusion table: rows are what is true, columns what the model says; accuracy is the share on the diagonal; macro-F1 is the plain mean over the classes of 2·TP / (2·TP + FP + FN), so that a rare class counts as much as a frequent one",
)
def scores_follow_from_the_confusion_table(student: Student, draw: Draw) -> None:
    def lopsided(classes: int) -> list[tuple[Tensor, Tensor, Tensor]]:
        words, mask, labels = batch_of(draw, 40, 5, 17, classes)
        labels[draw.integer(5, 8) :] = 0
        labels[:classes] = torch.arange(classes)
        return [(words[:23], mask[:23], labels[:23]), (words[23:], mask[23:], labels[23:])]

    same_scores(student, draw, ("confusion", *SCORES), batches=lopsided)


@evaluate.test(
    points=1,
    says="a class that is neither true nor said anywhere is left out or gives NaN: its F1 counts as 0, and the mean is over all classes",
)
def an_absent_class_counts_as_zero(student: Student, draw: Draw) -> None:
    tokens, width = 17, 3
    weights = weights_of(draw, tokens, width, 4)
    weights["head.bias"][2] = -1e6  # never said
    words, mask, labels = batch_of(draw, 60, 5, tokens, 4)  # some are said right, whatever the weights
    labels[labels == 2] = 3  # and never true
    same_scores(
        student, draw, ("confusion", *SCORES, "low", "high"), weights=weights, classes=4,
        batches=[(words, mask, labels)],
    )  # fmt: skip


@evaluate.test(
    points=2,
    says="the interval is not that of the resamples: call draw_resamples once, take the macro-F1 of every resample, with truth and answer of an example drawn together, and return the 2.5 % and the 97.5 % quantile",
)
def the_interval_is_of_resampled_examples(student: Student, draw: Draw) -> None:
    same_scores(student, draw, ("low", "high"), resamples=draw.integer(40, 60))
    same_scores(student, draw, ("low", "high", "macro_f1"), resamples=2)


@evaluate.test(
    points=1.5,
    says="the model answers in training mode: with dropout on, its answers are a draw; call model.eval() before the first batch",
)
def answers_in_evaluation_mode(student: Student, draw: Draw) -> None:
    got, expected = same_scores(student, draw, ("logits",), training=True)
    close(got["modes"], expected["modes"], what="the mode of every call")


@evaluate.test(
    points=1,
    says="the model is not left in the mode in which it came: training goes on after a validation, and a model in use stays in use",
)
def leaves_the_model_in_its_mode(student: Student, draw: Draw) -> None:
    for training in (True, False):
        got, expected = same_scores(student, draw, (), training=training)
        close(got["after"], expected["after"], what="whether it trains afterwards")
        presupposes(got["result"].get("logits"), expected["result"]["logits"])


@evaluate.test(
    points=0.5,
    says="gradients are kept: what is only scored needs none, and they cost as much memory as training does",
)
def no_gradients_are_kept(student: Student, draw: Draw) -> None:
    got, expected = same_scores(student, draw, ("logits",))
    close(got["held"], expected["held"], what="whether the logits hold a graph")
    close(got["grads"], expected["grads"], what="whether gradients were on in every call")


@evaluate.test(
    points=1,
    says="the scores depend on how the examples are cut into batches: collect the answers of all batches, in their order, and score them together; a mean of the scores of batches is another number",
)
def batches_do_not_matter(student: Student, draw: Draw) -> None:
    words, mask, labels = batch_of(draw, 19, 6, 17, 3)
    weights = weights_of(draw, 17, 3, 3)
    seed = draw.integer(0, 10**6)
    for cuts in ([19], [1, 13, 5], [9, 10]):
        batches = list(zip(*(tensor.split(cuts) for tensor in (words, mask, labels)), strict=True))
        same_scores(
            student, draw, ("logits", *SCORES), batches=batches, weights=weights, classes=3, seed=seed
        )


honest_experiment = Exercise("honest_experiment")


class Laboratory:
    """Callbacks that note what they are given: states are whole numbers, and a table says how good each is."""

    def __init__(self, first: int, goodness: list[float]) -> None:
        self.first, self.goodness = first, goodness
        self.started = 0
        self.fitted: list[tuple[int, list[Any]]] = []
        self.scored: list[tuple[int, list[Any]]] = []

    def start(self) -> int:
        self.started += 1
        return self.first

    def fit(self, state: int, examples: list[Any]) -> int:
        self.fitted.append((state, [tuple(e) for e in examples]))
        return state + 1

    def score(self, state: int, examples: list[Any]) -> float:
        self.scored.append((state, [tuple(e) for e in examples]))
        return self.goodness[state - self.first] + len(examples) / 1000

    @property
    def trained_on(self) -> set[tuple[str, str]]:
        return {example for _, examples in self.fitted for example in examples}


def sentences(draw: Draw, count: int) -> list[tuple[str, str]]:
    """Different texts with one of two labels, in no order."""
    return [
        (f"Text {number} {draw.integer(0, 9)}", draw.choice(["fresh", "rotten"])) for number in range(count)
    ]


def experiment(
    student: Student, draw: Draw, examples: list[tuple[str, str]], epochs: int = 3, seed: int = 0,
    shares: tuple[float, float] = (0.25, 0.25), goodness: list[float] | None = None,
) -> tuple[dict[str, Any], Laboratory]:  # fmt: skip
    """Run the student's experiment in a laboratory of its own."""
    rising = [0.1 * state for state in range(epochs + 1)]
    lab = Laboratory(draw.integer(5, 50), goodness or rising)
    got = student.honest_experiment(examples, shares, lab.start, lab.fit, lab.score, epochs, seed)
    check(isinstance(got, dict), "the result is no dictionary")
    return got, lab


def parts_of(lab: Laboratory) -> tuple[set[Any], set[Any], set[Any]]:
    """What was trained on, what was scored before the end, and what was scored last."""
    check(bool(lab.fitted) and len(lab.scored) > 1, "nothing was trained or scored")
    validation = {example for _, examples in lab.scored[:-1] for example in examples}
    return lab.trained_on, validation, set(lab.scored[-1][1])


@honest_experiment.test(
    points=2,
    says="the three parts share examples or lose some: training, validation and test examples are different ones, together they are all of them, the shares of validation and test are those that were asked for, and fit sees the training examples only",
)
def the_parts_are_apart(student: Student, draw: Draw) -> None:
    examples = sentences(draw, 4 * draw.integer(5, 9))
    got, lab = experiment(student, draw, examples)
    train, validation, test = parts_of(lab)
    check(not (train & validation or train & test or validation & test), "an example is in two parts")
    check(train | validation | test == set(examples), "the parts are not all examples")
    quarter = len(examples) // 4
    close([len(train), len(validation), len(test)], [2 * quarter, quarter, quarter], what="the sizes")
    close(got.get("sizes"), [2 * quarter, quarter, quarter], what="the sizes that are reported")
    check(all(len(fitted) == 2 * quarter for _, fitted in lab.fitted), "an epoch saw other examples")


@honest_experiment.test(
    points=1.5,
    says="repeated texts get through: texts that differ in case or spacing only are one text, which may stand in one part only, so keep the first; a text with two labels goes altogether. This comes before the cut",
)
def repeated_texts_are_counted_once(student: Student, draw: Draw) -> None:
    plain = sentences(draw, 24)
    again = [(f"  {text.upper().replace(' ', '   ')} ", label) for text, label in plain[:9]]
    doubtful = [("No one knows", "fresh"), ("no one  KNOWS", "rotten")]
    got, lab = experiment(student, draw, [*plain, *again, *doubtful])
    train, validation, test = parts_of(lab)
    check(train | validation | test == set(plain), "the parts are not the first of every text")
    close(sum(got.get("sizes", [])), 24, what="how many texts there are")
    check(not (train & test or train & validation or validation & test), "a text is in two parts")


@honest_experiment.test(
    points=1.5,
    says="the test examples are scored more than once, or before everything is decided: in every epoch the validation examples are scored, and the test examples once, at the very end",
)
def the_test_set_is_scored_once(student: Student, draw: Draw) -> None:
    epochs = draw.integer(3, 5)
    got, lab = experiment(student, draw, sentences(draw, 40), epochs=epochs)
    _, validation, test = parts_of(lab)
    check(not validation & test, "test examples were scored during training")
    close(len(lab.scored), epochs + 1, what="how often something was scored")
    expected = [0.1 * epoch + len(validation) / 1000 for epoch in range(1, epochs + 1)]
    close(got.get("validation"), expected, what="the validation scores")


@honest_experiment.test(
    points=1.5,
    says="the wrong state is tested: it is the one after the epoch with the best validation score, the earliest of equals, and not the last one",
)
def validation_chooses_the_epoch(student: Student, draw: Draw) -> None:
    best = draw.integer(0, 2)
    goodness = [
        0.0,
        *(0.5 if epoch == best else 0.5 - 0.1 * (epoch < best or epoch % 2) for epoch in range(5)),
    ]
    got, lab = experiment(student, draw, sentences(draw, 40), epochs=5, goodness=goodness)
    close(got.get("best_epoch"), best, what="the best epoch")
    close(lab.scored[-1][0], lab.first + best + 1, what="the state that is tested")
    close(got.get("test"), 0.5 + 0.01, what="the test score")


@honest_experiment.test(
    points=0.5,
    says="the epochs do not build on each other: start() is called once, the first epoch fits what it gives, and every other one what the epoch before it returned",
)
def every_epoch_goes_on_from_the_last(student: Student, draw: Draw) -> None:
    epochs = draw.integer(3, 5)
    got, lab = experiment(student, draw, sentences(draw, 40), epochs=epochs)
    close(lab.started, 1, what="how often start was called")
    close([state for state, _ in lab.fitted], [lab.first + e for e in range(epochs)], what="the states")
    close(got.get("best_epoch"), epochs - 1, what="the best epoch")


@honest_experiment.test(
    points=0.5,
    says="the cut does not depend on the seed alone: the same seed gives the same parts, another seed other ones, the order of the file decides nothing, and the examples handed in stay as they are",
)
def the_seed_decides_the_cut(student: Student, draw: Draw) -> None:
    examples = sorted(sentences(draw, 60), key=lambda example: example[1])
    seed = draw.integer(0, 1000)
    tested = []
    for one in (seed, seed, seed + 1):
        got, lab = experiment(student, draw, examples, seed=one)
        close(got.get("sizes"), [30, 15, 15], what="the sizes")
        tested.append(set(lab.scored[-1][1]))
    check(tested[0] == tested[1], "the same seed gave other parts")
    check(tested[0] != tested[2], "another seed gave the same parts")
    for some in tested:
        check(len(some) == 15, "the test part has another size")
        check(len({label for _, label in some}) == 2, "a part holds one end of the file")
    lab = Laboratory(1, [0.0, 0.1])
    student.define(
        "def list_after(examples, *more):\n    honest_experiment(examples, *more)\n    return examples\n"
    )
    left = student.list_after(examples, (0.25, 0.25), lab.start, lab.fit, lab.score, 1, seed)
    close(left, examples, what="the examples after the call")


@honest_experiment.test(
    points=0.5,
    says="a part that would be empty must be refused with a ValueError before anything is trained",
)
def refuses_an_empty_part(student: Student, draw: Draw) -> None:
    lab = Laboratory(1, [0.0, 0.1])
    calls: list[Callable[..., Any]] = [lab.start, lab.fit, lab.score]
    few = sentences(draw, 10)
    for shares in ((0.5, 0.5), (0.0, 0.5), (0.5, 0.0), (0.01, 0.3)):
        raises(ValueError, student.honest_experiment, few, shares, *calls, 1, 0)
    check(not lab.fitted, "something was trained all the same")
    got, _ = experiment(student, draw, few, epochs=1, shares=(0.2, 0.3))
    close(got.get("sizes"), [5, 2, 3], what="the sizes")


QUESTIONS = [
    Question(
        "is_it_better",
        points=4,
        answer="First: was the test set looked at once? Here it chose the best of ten epochs, so 0.812 is the largest of "
        "ten numbers that chance moves, and the comparison is with a run that chose on validation. Were the two runs made "
        "on the same cut, without repeated texts, with the same epochs and the same search for a learning rate? Second, "
        "the size of chance: with 400 sentences the resampled interval on this page is some eight points wide, and the "
        "seeds of one and the same recipe differ among each other; a difference of 0.012 is five sentences and inside "
        "both. What would decide: both recipes with several seeds (five, say), the same data and budget, the epoch "
        "chosen on validation, then one look each at the same larger test set; compare the seeds' intervals, or, for "
        "fixed models, resample the difference of the two on the same sentences, which is sharper than two intervals.",
        rubric="1 point: the best of ten epochs was chosen on the test set, which makes the number too good. 1 point: "
        "the same data, cut, budget and tuning for both are asked for. 1 point: the difference is set against the "
        "interval over resamples and the one over seeds, and is smaller. 1 point: an experiment that could decide, with "
        "several seeds or a paired comparison, chosen on validation, tested once.",
    )
]
