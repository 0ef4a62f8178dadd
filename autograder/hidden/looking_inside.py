"""Hidden tests of chapter 16, `looking_inside`."""

from __future__ import annotations

import functools
import hashlib
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

from attention_from_scratch import looking_inside as reference
from autograder.testing import Draw, Exercise, Question, Student, check, close, presupposes, raises

# Beside the student's code: small models and scores, and runs that report what became of them. The same text runs
# beside the reference (`beside_the_reference`); the tests compare the two reports.
HELPERS = '''
import torch
from torch import nn

from attention_from_scratch.masks import MaskedMultiHeadAttention


def run_ablation(weights, heads, x, silent, note, fails):
    """A stack of attention layers with residual paths, measured while some heads are silent, and afterwards."""
    layers = []
    for state, count in zip(weights, heads):
        layer = MaskedMultiHeadAttention(x.shape[-1], count).double()
        layer.load_state_dict(state)
        layers.append(layer)

    def answer():
        y = x
        for layer in layers:
            y = y + layer(y, y, None)
        return y.detach().clone()

    def measure():
        note()
        if fails:
            raise ArithmeticError("a measurement that fails")
        return answer()

    got = None
    try:
        got = ablate_heads(layers, silent, measure)
    except ArithmeticError:
        pass
    return {"got": got, "answer": answer(), "weights": [dict(layer.state_dict()) for layer in layers]}


def scored_by(kind, matrix, vector):
    """Scores of several points at once, (points, *shape) -> (points): linear, quadratic, or a small network."""
    first, last = nn.Parameter(matrix.clone()), nn.Parameter(vector.clone())
    def score(points):
        flat = points.flatten(1)
        if kind == "linear":
            return flat @ last
        if kind == "quadratic":
            return ((flat @ first) ** 2).sum(dim=1) + flat @ last
        return torch.tanh(flat @ first) @ last
    return score, (first, last)


def run_attribution(kind, matrix, vector, x, baseline, steps):
    score, parameters = scored_by(kind, matrix, vector)
    for parameter in parameters:
        parameter.grad = torch.full_like(parameter, 7.0)
    got = integrated_gradients(score, x, baseline, steps)
    held = bool(got.requires_grad) if isinstance(got, torch.Tensor) else None
    got = got.detach() if isinstance(got, torch.Tensor) else got
    return {
        "got": got, "held": held, "marked": bool(x.requires_grad or baseline.requires_grad),
        "inputs": [x.detach().clone(), baseline.detach().clone()],
        "grads": [parameter.grad.clone() if parameter.grad is not None else None for parameter in parameters],
    }


class Small(nn.Module):
    """The mean of word vectors, a hidden layer and a head; one matrix is frozen, one is never used."""

    def __init__(self, weights):
        super().__init__()
        for name, value in weights.items():
            setattr(self, name, nn.Parameter(value.clone(), requires_grad=name != "frozen"))

    def forward(self, tokens, mask):
        words = self.word[tokens] * mask[..., None]
        mean = words.sum(dim=1) / mask.sum(dim=1, keepdim=True)
        hidden = torch.tanh(mean @ self.frozen @ self.middle)
        if self.training:
            hidden = 2 * hidden
        return hidden @ self.head


def run_ewc(weights, batches, strength, moves, training):
    model = Small(weights)
    model.train(training)
    for parameter in model.parameters():
        parameter.grad = torch.full_like(parameter, 7.0)
    ewc = EWC(model, batches, strength)
    after = model.training
    stale = {name: None if p.grad is None else p.grad.clone() for name, p in model.named_parameters()}
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            if name in moves:
                parameter += moves[name]
            parameter.grad = None
    penalty = ewc.penalty(model)
    value = penalty.detach().clone()
    if penalty.requires_grad:
        penalty.backward()
    return {
        "fisher": {name: v.detach().clone() for name, v in ewc.fisher.items()},
        "anchor": {name: v.detach().clone() for name, v in ewc.anchor.items()},
        "penalty": value, "after": after, "stale": stale,
        "grads": {name: p.grad for name, p in model.named_parameters() if p.grad is not None},
    }
'''
NAMES = ("ablate_heads", "integrated_gradients", "EWC")


def beside_the_reference() -> dict[str, Any]:
    """The helpers beside our own functions."""
    scope: dict[str, Any] = {name: getattr(reference, name) for name in NAMES}
    exec(HELPERS, scope)
    return scope


def beside_both(student: Student, name: str, *asked: Any) -> tuple[Any, Any]:
    """The report of a helper beside the student's code, and beside ours."""
    student.define(HELPERS)
    expected = beside_the_reference()[name](*asked)
    got = getattr(student, name)(*asked)  # the name is one of ours
    check(isinstance(got, dict), "the report is no dictionary")
    return got, expected


attention_rollout = Exercise("attention_rollout")


def some_maps(draw: Draw, layers: int, batch: int, length: int) -> Tensor:
    """Maps as of a model that was asked without a mask: every row sums to 1, padding gets its share."""
    heads = draw.integer(2, 4)
    return draw.normal(layers, batch, heads, length, length).softmax(dim=-1)


def ragged(draw: Draw, batch: int, length: int) -> Tensor:
    """A mask of texts of different lengths; one fills the batch, one is a single token."""
    lengths = torch.tensor([length, 1, *[draw.integer(2, length - 1) for _ in range(batch - 2)]])
    return torch.arange(length) < lengths[:, None]


@attention_rollout.test(
    points=1,
    says="one layer alone is not as agreed: the maps of all heads are averaged, and half of every position is what attention brings, the other half the position itself, so that every row sums to 1 again",
)
def half_of_a_position_is_itself(student: Student, draw: Draw) -> None:
    length, batch = draw.integer(4, 7), draw.integer(2, 3)
    maps, mask = some_maps(draw, 1, batch, length), torch.ones(batch, length, dtype=torch.bool)
    close(student.attention_rollout(draw.strided(maps), mask), reference.attention_rollout(maps, mask))


@attention_rollout.test(
    points=1,
    says="the layers are chained in the wrong way: what layer l holds of the input is its own mixture times what the layer below held, later times earlier, and the result has one matrix for each layer, the first layer's first",
)
def later_layers_mix_what_earlier_ones_held(student: Student, draw: Draw) -> None:
    length, batch, layers = draw.integer(4, 7), 2, draw.integer(3, 5)
    sharp = draw.normal(layers, batch, 2, length, length) * 4  # maps that do not commute
    maps, mask = sharp.softmax(dim=-1), torch.ones(batch, length, dtype=torch.bool)
    close(student.attention_rollout(maps, mask), reference.attention_rollout(maps, mask))


@attention_rollout.test(
    points=1.5,
    says="padding gets a share: what the averaged maps give to padding is taken away, in every layer, and the rest of a row is divided by its sum; the rows and columns of padding are 0, also those on the diagonal, and a text of nothing gives zeros and no NaN",
)
def padding_holds_and_gets_nothing(student: Student, draw: Draw) -> None:
    length, batch, layers = draw.integer(4, 7), 4, draw.integer(2, 4)
    maps, mask = some_maps(draw, layers, batch, length), ragged(draw, batch, length)
    close(student.attention_rollout(maps, mask), reference.attention_rollout(maps, mask))
    mask[-1] = False
    close(
        student.attention_rollout(maps, mask), reference.attention_rollout(maps, mask), what="an empty text"
    )


@attention_rollout.test(
    points=0.5,
    says="the maps that were handed in have changed: work on copies, others want to draw them",
)
def leaves_the_maps_alone(student: Student, draw: Draw) -> None:
    maps, mask = some_maps(draw, 2, 3, 5), ragged(draw, 3, 5)
    probe = student.probe("attention_rollout", maps, mask)
    close(probe.args[0], maps, tolerance=0.0, what="the maps after the call")
    close(probe.args[1], mask, what="the mask after the call")
    presupposes(probe.value, reference.attention_rollout(maps, mask))


ablate_heads = Exercise("ablate_heads")
Note = Callable[[], None]


class Calls:
    """Counts how often something was measured."""

    def __init__(self) -> None:
        self.count = 0

    def __call__(self) -> None:
        self.count += 1


def ablation(
    student: Student, draw: Draw, silent: Callable[[list[int]], list[tuple[int, int]]], fails: bool = False
) -> Any:
    """A run with some silent heads, theirs and ours, and how often theirs measured."""
    heads, width = [draw.choice([2, 4]), 3, draw.choice([4, 6])], 12
    weights = [
        {f"{part}.{kind}": draw.normal(*shape) / 3
         for part in ("query", "key", "value", "output")
         for kind, shape in (("weight", (width, width)), ("bias", (width,)))}
        for _ in heads
    ]  # fmt: skip
    x, calls = draw.normal(draw.integer(2, 3), draw.integer(3, 5), width), Calls()
    student.define(HELPERS)
    asked = weights, heads, x, silent(heads)
    expected = beside_the_reference()["run_ablation"](*asked, lambda: None, fails)
    got = student.run_ablation(*asked, calls, fails)
    check(isinstance(got, dict), "the report is no dictionary")
    return got, expected, calls.count


def not_the_first(draw: Draw, layer: int, heads: list[int]) -> list[tuple[int, int]]:
    """One head of this layer; the first is where most wrong slices are right."""
    return [(layer, draw.integer(1, heads[layer] - 1))]


@ablate_heads.test(
    points=1.5,
    says="what is silenced is not the one head that was asked for: head h of a layer hands the slice h·dim … (h+1)·dim of its numbers to `output`, which reads them with the columns of its weight; the bias of `output` and all other heads go on as before, and measure is called once",
)
def one_head_is_silent_and_no_other(student: Student, draw: Draw) -> None:
    for layer in range(3):
        got, expected, calls = ablation(student, draw, functools.partial(not_the_first, draw, layer))
        close(got["got"], expected["got"], what=f"the answer without a head of layer {layer}")
        close(calls, 1, what="how often it was measured")


@ablate_heads.test(
    points=1,
    says="several heads go wrong: all pairs are silent at the same time, in one layer and in different ones, and with no pair at all the model answers as it is",
)
def several_heads_at_once(student: Student, draw: Draw) -> None:
    choices: list[Callable[[list[int]], list[tuple[int, int]]]] = [
        lambda heads: [(0, heads[0] - 1), (1, 2), (1, 0), (2, 1)],
        lambda heads: [(1, head) for head in range(3)],
        lambda heads: [],
    ]
    for choose in choices:
        got, expected, _ = ablation(student, draw, choose)
        close(got["got"], expected["got"], what="the answer without these heads")


@ablate_heads.test(
    points=1,
    says="the model is not what it was: after the measurement every weight is back, to the bit, and the model answers as before, also when the measurement raises an error; try … finally is made for that",
)
def everything_is_as_it_was(student: Student, draw: Draw) -> None:
    for fails in (False, True):
        got, expected, calls = ablation(student, draw, lambda heads: [(0, 1), (2, 0)], fails)
        close(got["answer"], expected["answer"], what=f"the answer afterwards (error: {fails})")
        close(got["weights"], expected["weights"], tolerance=0.0, what=f"the weights (error: {fails})")
        close(calls, 1, what="how often it was measured")
        if not fails:
            presupposes(got["got"], expected["got"])


@ablate_heads.test(
    points=0.5,
    says="a head or a layer that does not exist must be refused with a ValueError before anything is measured; numbers count from 0, and negative ones count nothing",
)
def what_does_not_exist_is_refused(student: Student, draw: Draw) -> None:
    student.define(HELPERS)
    state = {f"{part}.{kind}": draw.normal(*shape)
             for part in ("query", "key", "value", "output")
             for kind, shape in (("weight", (6, 6)), ("bias", (6,)))}  # fmt: skip
    x, calls = draw.normal(1, 3, 6), Calls()
    for pair in ((0, 3), (1, 0), (0, -1), (-1, 0)):
        raises(ValueError, student.run_ablation, [state], [3], x, [(0, 1), pair], calls, False)
    check(calls.count == 0, "it was measured all the same")
    expected = beside_the_reference()["run_ablation"]([state], [3], x, [(0, 2)], lambda: None, False)
    got = student.run_ablation([state], [3], x, [(0, 2)], calls, False)
    presupposes(got["got"], expected["got"])


integrated_gradients = Exercise("integrated_gradients")


def a_way(draw: Draw) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """The matrix and vector of a score, a point and a baseline that is not zero, with two axes."""
    length, width, hidden = draw.integer(2, 4), draw.integer(2, 3), draw.integer(2, 4)
    numbers = length * width
    x, baseline = draw.normal(length, width), draw.normal(length, width) + 1
    return draw.normal(numbers, hidden), draw.normal(max(numbers, hidden)), x, baseline


def attribution(student: Student, draw: Draw, kind: str, steps: int) -> Any:
    """An attribution of theirs and of ours, and what was asked."""
    matrix, vector, x, baseline = a_way(draw)
    vector = vector[: matrix.shape[1] if kind == "network" else matrix.shape[0]]
    return *beside_both(student, "run_attribution", kind, matrix, vector, x, baseline, steps), (x, baseline)


@integrated_gradients.test(
    points=1,
    says="the shares of a linear score are wrong: there the gradient is the same everywhere, and each number gets its weight times (x − baseline), not times x, and not the gradient alone",
)
def a_linear_score_is_shared_exactly(student: Student, draw: Draw) -> None:
    got, expected, _ = attribution(student, draw, "linear", draw.integer(1, 9))
    close(got["got"], expected["got"])


@integrated_gradients.test(
    points=1.5,
    says="the gradients are not taken where they should be: cut the way into `steps` equal pieces and stand in the middle of each, at (k + ½) / steps of the way from the baseline to x; then take their mean",
)
def gradients_come_from_the_middle_of_each_piece(student: Student, draw: Draw) -> None:
    for steps in (1, 2, draw.integer(3, 7)):
        got, expected, _ = attribution(student, draw, "network", steps)
        close(got["got"], expected["got"], what=f"the shares with {steps} steps")


@integrated_gradients.test(
    points=1,
    says="the shares do not sum to score(x) − score(baseline): for a quadratic score the middles of the pieces are exact, with any number of steps and any baseline",
)
def the_shares_sum_to_the_difference(student: Student, draw: Draw) -> None:
    got, expected, _ = attribution(student, draw, "quadratic", draw.integer(2, 5))
    check(isinstance(got["got"], Tensor), "the result is no tensor")
    close(got["got"].sum(), expected["got"].sum(), what="the sum of the shares")
    presupposes(got["got"], expected["got"])


@integrated_gradients.test(
    points=1,
    says="something is left behind: the result carries no graph, x and the baseline stay as they are and ask for no gradient, and the model's parameters keep the gradients they had; torch.autograd.grad asks for one gradient only",
)
def leaves_no_trace(student: Student, draw: Draw) -> None:
    got, expected, inputs = attribution(student, draw, "network", 3)
    presupposes(got["got"], expected["got"])
    close(
        [got["held"], got["marked"]],
        [False, False],
        what="whether a graph is held, whether inputs are marked",
    )
    close(got["inputs"], list(inputs), tolerance=0.0, what="the inputs after the call")
    close(got["grads"], expected["grads"], what="the gradients of the parameters")


@integrated_gradients.test(
    points=0.5,
    says="what is no way must be refused with a ValueError: fewer than one step, and a baseline of another shape than x, which would be stretched to fit without a word",
)
def no_way_is_refused(student: Student, draw: Draw) -> None:
    student.define(HELPERS)
    x, matrix, vector = draw.normal(3, 2), draw.normal(6, 2), draw.normal(6)
    for baseline, steps in (
        (draw.normal(3, 2), 0),
        (draw.normal(3, 2), -2),
        (draw.normal(2), 3),
        (draw.normal(1, 2), 3),
    ):
        raises(ValueError, student.run_attribution, "linear", matrix, vector, x, baseline, steps)
    got, expected = beside_both(student, "run_attribution", "linear", matrix, vector, x, draw.normal(3, 2), 2)
    presupposes(got["got"], expected["got"])


robust_accuracy = Exercise("robust_accuracy")


class Reader:
    """Answers from a table that nobody knows, right more often than not, and notes what it was asked."""

    def __init__(self, draw: Draw, classes: int, frequent: int) -> None:
        self.key = f"{draw.integer(0, 10**9)}"
        self.classes = classes
        rest = [label for label in range(classes) for _ in range(2)]
        self.labels = [0] * frequent + rest
        self.texts = [f"text {i} {draw.integer(0, 99)}" for i in range(len(self.labels))]
        self.disturbed: list[tuple[str, int]] = []

    def number(self, words: str) -> int:
        return int.from_bytes(hashlib.blake2b(f"{self.key} {words}".encode()).digest()[:4], "big")

    def disturb(self, text: str, seed: int) -> str:
        self.disturbed.append((text, seed))
        return f"{text} noise {self.number(f'{text} {seed}') % 97}"

    def predict(self, texts: list[str]) -> list[int]:
        return [self.answer(text) for text in texts]

    def answer(self, text: str) -> int:
        number, original = self.number(text), text.split(" noise")[0]
        trust = 6 if original == text else 3
        if original in self.texts and number % 10 < trust:
            return self.labels[self.texts.index(original)]
        return number // 10 % self.classes


def robustness(student: Student, draw: Draw, seeds: list[int]) -> Any:
    """What they measure, what we do, and the reader that both asked."""
    reader = Reader(draw, draw.integer(3, 4), draw.integer(12, 20))
    asked = reader.texts, reader.labels, reader.classes, reader.disturb
    expected = reference.robust_accuracy(reader.predict, *asked, seeds)
    reader.disturbed.clear()
    got = student.robust_accuracy(reader.predict, *asked, seeds)
    for name in ("accuracy", "macro_f1"):
        check(isinstance(got, dict) and isinstance(got.get(name), dict), f"the result has no {name}")
    return got, expected, reader


def some_seeds(draw: Draw, count: int) -> list[int]:
    """Different seeds, in no order."""
    return [int(seed) for seed in torch.randperm(1000, generator=draw.generator())[:count]]


@robust_accuracy.test(
    points=1.5,
    says="the scores are not those of the answers: of a set where one class is frequent, accuracy and macro-F1 differ; macro-F1 is the mean of the F1 of all classes (score_answers knows both), and `clean` is the score on the texts as they are",
)
def both_scores_of_an_unbalanced_set(student: Student, draw: Draw) -> None:
    got, expected, _ = robustness(student, draw, some_seeds(draw, 3))
    for name in ("accuracy", "macro_f1"):
        for key in ("clean", "values"):
            close(got[name].get(key), expected[name][key], what=f"{key} of {name}")


@robust_accuracy.test(
    points=1,
    says="the seeds are not runs of their own: for each seed, in order, every text is disturbed once, from the original and with that seed, and all its answers are scored together",
)
def every_seed_disturbs_the_originals(student: Student, draw: Draw) -> None:
    seeds = some_seeds(draw, draw.integer(3, 5))
    got, expected, reader = robustness(student, draw, seeds)
    wanted = [(text, seed) for seed in seeds for text in reader.texts]
    check(sorted(reader.disturbed) == sorted(wanted), "other texts or seeds were disturbed")
    for name in ("accuracy", "macro_f1"):
        close(got[name].get("values"), expected[name]["values"], what=f"the values of {name}")


@robust_accuracy.test(
    points=1,
    says="the mean and the interval are not those over the seeds: use seed_interval of one score for each seed; a single seed has a mean and None for low and high, since it says nothing about other seeds",
)
def the_interval_is_over_the_seeds(student: Student, draw: Draw) -> None:
    for count in (1, 2, draw.integer(3, 5)):
        got, expected, _ = robustness(student, draw, some_seeds(draw, count))
        close(got, expected, what=f"the result over {count} seeds")


@robust_accuracy.test(
    points=0.5,
    says="what measures nothing must be refused with a ValueError: no seeds, no texts, or not one label for each text",
)
def nothing_to_measure_is_refused(student: Student, draw: Draw) -> None:
    reader = Reader(draw, 3, 9)
    texts, labels = reader.texts, reader.labels
    for some, known, seeds in (
        (texts, labels, []),
        ([], [], [1]),
        (texts, labels[1:], [1]),
        (texts[1:], labels, [1]),
    ):
        raises(ValueError, student.robust_accuracy, reader.predict, some, known, 3, reader.disturb, seeds)
    got, expected, _ = robustness(student, draw, [3, 4])
    close(got, expected)


counterfactual_gap = Exercise("counterfactual_gap")
PLACES = (
    "{name} plays the lead.",
    "A film by {name}.",
    "{name} and the friends of {name} laugh.",
    "Only {name} {title}.",
)


def gap(student: Student, draw: Draw) -> Any:
    """The gap of a random score, theirs and ours, and what the score was asked."""
    key, asked = draw.integer(0, 10**9), []
    templates = [f"{draw.integer(0, 99)}: {place}" for place in PLACES]
    words = [f"W{number}" for number in draw.primes(6)]
    cut = draw.choice([2, 4])

    def score(texts: list[str]) -> list[float]:
        asked.extend(texts)
        return [hashlib.blake2b(f"{key} {text}".encode()).digest()[0] / 256 for text in texts]

    expected = reference.counterfactual_gap(score, templates, words[:cut], words[cut:])
    wanted = list(asked)
    asked.clear()
    got = student.counterfactual_gap(score, templates, words[:cut], words[cut:])
    check(isinstance(got, dict), "the result is no dictionary")
    return got, expected, sorted(set(asked)), sorted(set(wanted))


@counterfactual_gap.test(
    points=1,
    says="the differences are not those of the templates: for each template, in order, the mean score over the words of the first group minus the mean over those of the second, groups of any size; mean, low and high are seed_interval's over these differences",
)
def one_difference_for_each_template(student: Student, draw: Draw) -> None:
    got, expected, _, _ = gap(student, draw)
    for key in ("values", "mean", "low", "high"):
        close(got.get(key), expected[key], what=key)


@counterfactual_gap.test(
    points=0.5,
    says="the texts differ in more than the name: every place of a template gets the same word, every word of both groups stands in every template, and nothing else changes, whatever other braces a template holds",
)
def only_the_name_differs(student: Student, draw: Draw) -> None:
    got, expected, asked, wanted = gap(student, draw)
    check(asked == wanted, "the score was asked about other texts")
    close(got.get("values"), expected["values"], what="values")


@counterfactual_gap.test(
    points=1,
    says="the size or the worst template is wrong: the size is the mean of the absolute differences of the templates, in which differences of both signs do not cancel, and the worst template, as it was given, is the one with the largest of them",
)
def both_signs_count_in_the_size(student: Student, draw: Draw) -> None:
    for _ in range(3):
        got, expected, _, _ = gap(student, draw)
        close(got.get("size"), expected["size"], what="size")
        close(got.get("worst"), expected["worst"], what="worst")
    key = draw.integer(1, 3) / 8  # a sum that is not rounded: both differences have the same size
    scores = {"a x": 0.5 - key, "a y": 0.5, "b x": 0.5 + key, "b y": 0.5}
    got = student.counterfactual_gap(
        lambda texts: [scores[t] for t in texts], ["a {name}", "b {name}"], ["x"], ["y"]
    )
    close(
        [got.get("mean"), got.get("size"), got.get("worst")],
        [0.0, key, "a {name}"],
        what="mean, size and worst",
    )


@counterfactual_gap.test(
    points=0.5,
    says="what names nobody must be refused with a ValueError: no templates, no words in one of the groups, and a template without a place for a name, wherever it stands",
)
def what_names_nobody_is_refused(student: Student, draw: Draw) -> None:
    def score(texts: list[str]) -> list[float]:
        return [float(len(text)) for text in texts]

    good = ["{name} laughs.", "We saw {name}."]
    for templates, first, second in (
        ([], ["a"], ["b"]), (good, [], ["b"]), (good, ["a"], []), ([*good, "Nobody laughs."], ["a"], ["b"]),
    ):  # fmt: skip
        raises(ValueError, student.counterfactual_gap, score, templates, first, second)
    got, expected, _, _ = gap(student, draw)
    close(got.get("values"), expected["values"], what="values")


forgetting = Exercise("forgetting")


def scores_over_time(draw: Draw, seeds: int, tasks: int) -> Tensor:
    """Scores of several seeds: rows are the times, columns the tasks; no order among them."""
    return draw.uniform(seeds, tasks, tasks, low=0.2, high=1.0)


@forgetting.test(
    points=1,
    says="what is lost of a task is not measured from its best score: take the best at any time before the last training, which need not be the one right after its own training, minus the score at the end",
)
def measured_from_the_best_time(student: Student, draw: Draw) -> None:
    scores = scores_over_time(draw, 2, draw.integer(4, 6))
    scores[:, 1, 0] = 1.5  # the first task was best after the second training
    scores[:, -1] *= 0.1  # and everything is worse at the end
    close(student.forgetting(draw.strided(scores)), reference.forgetting(scores))


@forgetting.test(
    points=0.5,
    says="a task that got better by the last training has a negative forgetting: the last scores are not among those that the best is taken of, and nothing is cut off at 0",
)
def what_helps_is_negative(student: Student, draw: Draw) -> None:
    scores = scores_over_time(draw, 3, draw.integer(2, 4))
    scores[:, :-1] = scores[:, :1]  # the same at every time before the last training
    scores[:, -1] = 1.1
    close(student.forgetting(scores), reference.forgetting(scores))


@forgetting.test(
    points=0.5,
    says="the last task counts although it had no time to be forgotten: the mean is over all tasks but the last",
)
def the_last_task_does_not_count(student: Student, draw: Draw) -> None:
    scores = scores_over_time(draw, 2, 3)
    expected = reference.forgetting(scores)
    for last in (0.0, 5.0):
        scores[:, :, -1] = last
        close(student.forgetting(scores), expected, what=f"with {last} for the last task")


@forgetting.test(
    points=0.5,
    says="the interval is not that over the seeds: each seed has one forgetting, the mean over its tasks, and seed_interval takes these; the best of a mean is not the mean of the bests, and one seed has no interval",
)
def every_seed_has_its_own(student: Student, draw: Draw) -> None:
    for seeds in (1, 2, draw.integer(3, 6)):
        scores = scores_over_time(draw, seeds, draw.integer(4, 5))
        close(student.forgetting(scores), reference.forgetting(scores), what=f"the result over {seeds} seeds")


@forgetting.test(
    points=0.5,
    says="one task alone cannot be forgotten: scores of fewer than two tasks must be refused with a ValueError",
)
def one_task_is_refused(student: Student, draw: Draw) -> None:
    raises(ValueError, student.forgetting, scores_over_time(draw, 3, 1))
    scores = scores_over_time(draw, 3, 2)
    presupposes(student.forgetting(scores), reference.forgetting(scores))


ewc = Exercise("EWC")
SHAPES = {"word": ("tokens", "width"), "frozen": ("width", "width"), "middle": ("width", "hidden"),
          "head": ("hidden", "classes"), "idle": ("width", "classes")}  # fmt: skip


def consolidation(
    student: Student, draw: Draw, sizes: tuple[int, ...] = (3, 1, 2), training: bool = False
) -> Any:
    """A model remembered, moved and penalised: their report and ours."""
    size = {"tokens": 7, "width": 3, "hidden": 4, "classes": draw.integer(2, 4)}
    shapes = {name: [size[axis] for axis in axes] for name, axes in SHAPES.items()}
    weights = {name: draw.normal(*shape) for name, shape in shapes.items()}
    moves = {name: draw.normal(*shape) for name, shape in shapes.items() if name != "frozen"}
    batches = []
    for examples in sizes:
        length = draw.integer(2, 5)
        tokens = torch.tensor([[draw.integer(0, 6) for _ in range(length)] for _ in range(examples)])
        lengths = torch.tensor([draw.integer(1, length) for _ in range(examples)])
        labels = torch.tensor([draw.integer(0, size["classes"] - 1) for _ in range(examples)])
        batches.append((tokens, torch.arange(length) < lengths[:, None], labels))
    return beside_both(student, "run_ewc", weights, batches, draw.integer(2, 9) / 4, moves, training)


def trained(values: Any) -> dict[str, Any]:
    """The entries that matter to most tests; whether others are there is the matter of one."""
    check(isinstance(values, dict), "fisher or anchor is no dictionary")
    return {name: values.get(name) for name in ("word", "middle", "head")}


@ewc.test(
    points=1.5,
    says="the Fisher is wrong: for each example and each class take the gradient of log p(class), square it, weigh it with the probability that the model gives to the class, and take the mean over all examples of all batches; a gradient of a whole batch, squared, or one at the labels is another number",
)
def every_gradient_is_squared_by_itself(student: Student, draw: Draw) -> None:
    for sizes in ((3, 1, 2), (4,)):
        got, expected = consolidation(student, draw, sizes)
        close(trained(got["fisher"]), trained(expected["fisher"]), what="fisher")
        presupposes(got["penalty"], expected["penalty"])


@ewc.test(
    points=1,
    says="the anchor moves with the model, or never stood where the model did: keep copies of the parameters as they are when the object is made, or the penalty is 0 for ever",
)
def the_anchor_stays_where_it_was(student: Student, draw: Draw) -> None:
    got, expected = consolidation(student, draw)
    close(trained(got["anchor"]), trained(expected["anchor"]), tolerance=0.0, what="anchor")
    check(float(got["penalty"]) > 0, "a model that has moved pays nothing")
    presupposes(got["penalty"], expected["penalty"])


@ewc.test(
    points=1,
    says="the penalty is wrong: half the strength times the sum over all numbers of fisher · (θ − anchor)², neither a mean nor without the Fisher, which says how much each number matters",
)
def the_penalty_weighs_with_the_fisher(student: Student, draw: Draw) -> None:
    got, expected = consolidation(student, draw)
    close(got["penalty"], expected["penalty"], what="the penalty")


@ewc.test(
    points=0.5,
    says="the penalty does not pull: its gradient must reach the parameters of the model, so nothing of it may be detached or turned into a plain number",
)
def the_penalty_pulls_the_parameters_back(student: Student, draw: Draw) -> None:
    got, expected = consolidation(student, draw)
    close(trained(got["grads"]), trained(expected["grads"]), what="the gradient of the penalty")


@ewc.test(
    points=0.5,
    says="the model is not left as it came, or answered in training mode: ask it in evaluation mode, put it back into its own, and leave the gradients that its parameters hold as they are",
)
def the_model_is_left_as_it_came(student: Student, draw: Draw) -> None:
    for training in (True, False):
        got, expected = consolidation(student, draw, training=training)
        close(got["after"], training, what="whether it trains afterwards")
        close(got["stale"], expected["stale"], what="the gradients it held")
        close(trained(got["fisher"]), trained(expected["fisher"]), what="fisher")
        presupposes(got["penalty"], expected["penalty"])


@ewc.test(
    points=0.5,
    says="frozen or idle parameters go wrong: a frozen one has no entry in either dictionary, and one that plays no part in the answer has a Fisher of 0 in its own shape (allow_unused=True)",
)
def frozen_and_idle_parameters(student: Student, draw: Draw) -> None:
    got, expected = consolidation(student, draw)
    close(got["fisher"], expected["fisher"], what="fisher")
    close(got["anchor"], expected["anchor"], what="anchor")
    presupposes(got["penalty"], expected["penalty"])


QUESTIONS = [
    Question(
        "may_it_be_used",
        points=4,
        answer="What the map shows: how the heads of a layer mixed positions for this sentence. It does not show what the "
        "answer depended on: on this page other weights gave nearly the same answers, the ranking by attention agreed "
        "little with what deleting a word does, and values, the residual path and the later layers are not in it. So the "
        "map is no proof that the name did not matter. What would test the claim: the same applications with only the "
        "name exchanged, several templates and names, the difference with its interval, over several seeds of the "
        "training; attributions that are checked against deletion; on the bank's own kind of text, since the card's "
        "numbers hold for sentences about films of 2002. An interval that holds 0 would not prove fairness either: it "
        "bounds the gap for these templates and names, and says nothing of other groups or of who gets which label.",
        rubric="1 point: says what a map does show (mixing of positions) and that it is no account of the answer, with one "
        "measurement of this page. 1 point: proposes to exchange names and to measure the difference, with an interval, "
        "over templates and seeds. 1 point: the data of the audit are not those of the use (shift). 1 point: says what "
        "even a small gap would not show.",
    )
]
