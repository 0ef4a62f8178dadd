"""Chapter 13's library against PyTorch, scikit-learn and transformers, and the Python side of its figure."""

from __future__ import annotations

import copy
import math
import warnings

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.metrics import accuracy_score, confusion_matrix, f1_score
from torch import Tensor, nn

from attention_from_scratch import figures
from attention_from_scratch.bert import BertEncoder
from attention_from_scratch.fine_tuning import (
    adamw_groups,
    collate,
    draw_resamples,
    evaluate,
    honest_experiment,
    train_epoch,
    warmup_linear,
)
from attention_from_scratch.finetune_methods import prepare
from attention_from_scratch.finetune_model import Classifier

# A step on an accumulated gradient and on that of one batch differ by the order of sums of some tens of terms; AdamW
# divides the gradient by its own size, so that a rounding may move a weight by that share of a learning rate.
STEP = {torch.float64: 1e-9, torch.float32: 2e-4}
few = settings(max_examples=25, deadline=None, derandomize=True)
dtypes = st.sampled_from([torch.float32, torch.float64])
texts = st.lists(
    st.tuples(st.lists(st.integers(0, 29), min_size=1, max_size=9), st.integers(0, 2)), min_size=1, max_size=9
)


def small(
    seed: int, dtype: torch.dtype = torch.float64, dropout: float = 0.0, classes: int = 3
) -> Classifier:
    torch.manual_seed(seed)
    encoder = BertEncoder(30, 12, 2, 2, 8, 2, 12, dropout, 1e-12, "gelu")
    return Classifier(encoder, classes, dropout).to(dtype)


@few
@given(texts, st.integers(0, 40))
def test_collate_equals_pad_sequence(examples: list[tuple[list[int], int]], padding: int) -> None:
    tokens, mask, labels = collate(examples, padding)
    rows = [torch.tensor(ids) for ids, _ in examples]
    assert torch.equal(tokens, nn.utils.rnn.pad_sequence(rows, batch_first=True, padding_value=padding))
    assert mask.sum(dim=1).tolist() == [len(ids) for ids, _ in examples]
    assert mask.dtype == torch.bool
    assert (mask.int().diff(dim=1) <= 0).all()  # no token after padding
    assert labels.tolist() == [label for _, label in examples]


@few
@given(texts, st.integers(0, 99))
def test_the_classifier_does_not_see_padding(examples: list[tuple[list[int], int]], seed: int) -> None:
    model = small(seed)
    tokens, mask, _ = collate(examples, 0)
    other = torch.where(mask, tokens, (tokens + 7) % 30)
    logits = model(tokens, mask)
    torch.testing.assert_close(model(other, mask), logits)
    alone = collate(examples[:1], 0)
    torch.testing.assert_close(model(alone[0], alone[1]), logits[:1])  # nor its neighbours
    logits.square().sum().backward()
    assert all(parameter.grad is not None for parameter in model.parameters())


def test_groups_of_a_classifier() -> None:
    model = small(0)
    decay, spared = adamw_groups(model, 0.3)
    names = {id(p): name for name, p in model.named_parameters()}
    matrices = {names[id(p)] for p in decay["params"]}
    vectors = {names[id(p)] for p in spared["params"]}
    assert matrices | vectors == set(names.values())
    assert not matrices & vectors
    assert all("norm" not in name and not name.endswith("bias") for name in matrices)
    assert (decay["weight_decay"], spared["weight_decay"]) == (0.3, 0.0)
    prepare(model, "head")
    decay, spared = adamw_groups(model, 0.3)
    assert [names[id(p)] for p in decay["params"] + spared["params"]] == ["head.weight", "head.bias"]


def test_an_unknown_method_is_refused() -> None:
    with pytest.raises(ValueError, match="there is no method 'fully'"):
        prepare(small(0), "fully")


@few
@given(st.integers(0, 20), st.integers(1, 40))
def test_the_schedule_falls_like_the_usual_one(warmup: int, more: int) -> None:
    transformers = pytest.importorskip("transformers")
    total = warmup + more
    parameter = nn.Parameter(torch.zeros(1))
    optimizer = torch.optim.SGD([parameter], lr=1.0)
    usual = transformers.get_linear_schedule_with_warmup(optimizer, warmup, total).lr_lambdas[0]
    ours = [warmup_linear(step, warmup, total) for step in range(total + 3)]
    for step in range(warmup, total + 3):
        assert ours[step] == pytest.approx(usual(step), abs=1e-12)
    assert ours.count(1.0) == 1
    assert ours.index(1.0) == warmup
    assert min(ours[:total]) > 0.0  # the usual one wastes its first step
    rises = np.diff([0.0, *ours[: warmup + 1]])
    assert np.allclose(rises, 1 / (warmup + 1))


@few
@given(texts, st.integers(1, 4), dtypes, st.floats(0.01, 10.0), st.integers(0, 99))
def test_an_epoch_of_parts_equals_plain_training(
    examples: list[tuple[list[int], int]], parts: int, dtype: torch.dtype, max_norm: float, seed: int
) -> None:
    ours = small(seed, dtype)
    theirs = copy.deepcopy(ours)
    cuts = [part for part in (examples[i::parts] for i in range(parts)) if part]

    def optimizer_of(model: nn.Module) -> tuple[torch.optim.Optimizer, torch.optim.lr_scheduler.LRScheduler]:
        optimizer = torch.optim.SGD(adamw_groups(model, 0.01), lr=0.1)
        return optimizer, torch.optim.lr_scheduler.LambdaLR(optimizer, lambda s: warmup_linear(s, 1, 4))

    batches = [collate(part, 0) for part in cuts] * 2
    losses = train_epoch(ours.eval(), batches, *optimizer_of(ours), len(cuts), max_norm)
    optimizer, scheduler = optimizer_of(theirs)
    tokens, mask, labels = collate([example for part in cuts for example in part], 0)
    expected = []
    for _ in range(2):
        loss = nn.functional.cross_entropy(theirs(tokens, mask), labels)
        optimizer.zero_grad()
        loss.backward()
        nn.utils.clip_grad_norm_(theirs.parameters(), max_norm)
        optimizer.step()
        scheduler.step()
        expected.append(loss.item())
    assert losses == pytest.approx(expected, abs=STEP[dtype])
    assert ours.training
    for one, other in zip(ours.parameters(), theirs.parameters(), strict=True):
        torch.testing.assert_close(one, other, rtol=0, atol=STEP[dtype])


class Answers(nn.Module):
    """Says class `tokens[:, 0]`."""

    def forward(self, tokens: Tensor, mask: Tensor) -> Tensor:
        return nn.functional.one_hot(tokens[:, 0], 4).float()


@few
@given(
    st.lists(st.tuples(st.integers(0, 3), st.integers(0, 3)), min_size=1, max_size=40),
    st.integers(1, 9),
    st.integers(0, 99),
)
def test_scores_equal_those_of_scikit_learn(pairs: list[tuple[int, int]], size: int, seed: int) -> None:
    examples = [([said], true) for said, true in pairs]
    batches = [collate(examples[i : i + size], 0) for i in range(0, len(examples), size)]
    got = evaluate(Answers(), batches, 4, 20, torch.Generator().manual_seed(seed))
    said, true = np.array(pairs).T
    every = {"labels": range(4), "zero_division": 0, "average": "macro"}
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        assert got["macro_f1"] == pytest.approx(f1_score(true, said, **every), abs=1e-12)
        drawn = [
            f1_score(true[rows], said[rows], **every)
            for rows in draw_resamples(len(pairs), 20, torch.Generator().manual_seed(seed)).numpy()
        ]
    assert got["confusion"].tolist() == confusion_matrix(true, said, labels=range(4)).tolist()
    assert got["accuracy"] == pytest.approx(accuracy_score(true, said), abs=1e-12)
    assert (got["low"], got["high"]) == pytest.approx(tuple(np.percentile(drawn, [2.5, 97.5])), abs=1e-12)


def test_dropout_rests_while_a_model_is_scored_and_works_afterwards() -> None:
    model = small(0, dropout=0.5).train()
    batches = [collate([([1, 2, 3], 0), ([4], 1)], 0)]
    one, two = (evaluate(model, batches, 3, 5, torch.Generator().manual_seed(0))["logits"] for _ in range(2))
    assert torch.equal(one, two)
    assert model.training
    tokens, mask, _ = batches[0]
    assert not torch.equal(model(tokens, mask), model(tokens, mask))


def test_labels_by_coin_get_what_they_deserve() -> None:
    draw = np.random.default_rng(0)
    examples = [(f"text {i}", str(draw.integers(2))) for i in range(400)]
    found = honest_experiment(
        examples + [(text.upper(), label) for text, label in examples],
        (0.1, 0.4),
        dict,
        lambda known, some: known | dict(some),
        lambda known, some: sum(known.get(text, "0") == label for text, label in some) / len(some),
        epochs=2,
        seed=3,
    )
    assert found["sizes"] == [200, 40, 160]
    assert abs(found["test"] - 0.5) < 4 * math.sqrt(0.25 / 160)  # four standard errors of a coin


def run_of(seed: int, steps: int, epochs: int) -> dict:
    validation = {"loss": 0.5, "macro_f1": 0.7}
    losses = [1.0 / (step + 1) for step in range(steps)]
    return {"seed": seed, "losses": losses, "epochs": [{"validation": validation}] * epochs}


def test_the_figure_holds_every_run() -> None:
    made = figures.fine_tuning.seeds(
        {"tuned": [run_of(0, 300, 2), run_of(1, 300, 2)], "random": [run_of(0, 7, 1)]}, 20
    )
    page = made._repr_html_()
    assert page.count('"seed"') == 3
    assert '"tuned"' in page
    assert '"random"' in page
    assert "[300,0.7]" in page.replace(" ", "")  # the second epoch ends with the last step


@pytest.mark.parametrize(
    ("groups", "window", "complaint"),
    [
        ({}, 5, "one to 3 groups"),
        ({name: [run_of(0, 3, 1)] for name in "abcd"}, 5, "one to 3 groups"),
        ({"a": []}, 5, "has no runs"),
        ({"a": [run_of(0, 0, 1)]}, 5, "no steps"),
        ({"a": [run_of(0, 3, 1)]}, 0, "the window is 0"),
    ],
)
def test_the_figure_refuses_what_it_cannot_show(groups: dict, window: int, complaint: str) -> None:
    with pytest.raises(ValueError, match=complaint):
        figures.fine_tuning.seeds(groups, window)
