"""Chapter 16's library: against definitions, theorems and finite differences; the audit's file, card and figure."""

from __future__ import annotations

import json
import math
import re
from importlib import resources
from pathlib import Path

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor, nn

from attention_from_scratch import figures
from attention_from_scratch.audit_texts import ELSEWHERE_THAN_FILMS, GROUPS
from attention_from_scratch.audit_tools import effect_of_each_word, perturb, rank_agreement, score_answers
from attention_from_scratch.audited_model import attention_layers, batches_of, fit, nothing
from attention_from_scratch.bert import BertEncoder
from attention_from_scratch.finetune_model import Classifier
from attention_from_scratch.looking_inside import (
    EWC,
    ablate_heads,
    agreement,
    attention_maps,
    attention_rollout,
    attributions,
    counterfactual_gap,
    forgetting,
    integrated_gradients,
    robust_accuracy,
)
from attention_from_scratch.model_card import model_card
from coursebuild.benchmarks import audit as command

# Sums of some tens of terms near 1 in another order, through two layers: some hundred roundings of float64.
TOLERANCE = 1e-12
few = settings(max_examples=20, deadline=None, derandomize=True)


def close(got: Tensor, expected: Tensor, tolerance: float = TOLERANCE) -> None:
    """Equal shapes and dtypes, and numbers within the tolerance relative to the largest (at least 1)."""
    bound = tolerance * max(1.0, expected.abs().max().item())
    torch.testing.assert_close(got, expected, rtol=0.0, atol=bound)


@pytest.fixture
def model() -> Classifier:
    """A small classifier with random weights, also in the norms and biases."""
    torch.manual_seed(0)
    encoder = BertEncoder(20, 12, 1, 2, 12, 3, 16, 0.1, 1e-12, "gelu")
    classifier = Classifier(encoder, 2, 0.1).double()
    for parameter in classifier.parameters():
        nn.init.normal_(parameter, mean=0.2, std=0.5)
    return classifier.eval()


def padded() -> tuple[Tensor, Tensor]:
    """Two texts, the second with padding that holds real tokens."""
    tokens = torch.tensor([[1, 5, 6, 7, 2], [1, 8, 2, 9, 9]])
    return tokens, torch.tensor([[True] * 5, [True, True, True, False, False]])


class TestMaps:
    def test_maps_are_those_that_the_layers_use(self, model: Classifier) -> None:
        tokens, mask = padded()
        seen: list[Tensor] = []
        layer = attention_layers(model)[-1]
        hook = layer.output.register_forward_pre_hook(lambda _, given: seen.append(given[0]))
        values: list[Tensor] = []
        other = layer.value.register_forward_hook(lambda *given: values.append(given[2]))
        with torch.no_grad():
            model(tokens, mask)
        hook.remove()
        other.remove()
        maps = attention_maps(model.encoder, tokens, mask)
        cut = values[0].reshape(2, 5, 3, 4).transpose(1, 2)  # (batch, heads, length, dim)
        close(seen[0], (maps[-1] @ cut).transpose(1, 2).reshape(2, 5, 12))
        assert (maps[:, 1, :, :, 3:] == 0).all()

    def test_rollout_of_a_text_does_not_depend_on_its_padding(self, model: Classifier) -> None:
        tokens, mask = padded()
        alone = attention_rollout(attention_maps(model.encoder, tokens[1:, :3], mask[1:, :3]), mask[1:, :3])
        together = attention_rollout(attention_maps(model.encoder, tokens, mask), mask)
        close(together[:, 1:, :3, :3], alone)
        assert (together[:, 1, 3:] == 0).all()
        assert (together[:, 1, :, 3:] == 0).all()

    @few
    @given(st.integers(1, 4), st.integers(1, 5), st.integers(0, 10**6))
    def test_rows_of_a_rollout_sum_to_one(self, layers: int, length: int, seed: int) -> None:
        generator = torch.Generator().manual_seed(seed)
        maps = torch.rand(layers, 1, 2, length, length, generator=generator, dtype=torch.float64).softmax(
            dim=-1
        )
        rolled = attention_rollout(maps, torch.ones(1, length, dtype=torch.bool))
        close(rolled.sum(dim=-1), torch.ones(layers, 1, length, dtype=torch.float64))

    def test_maps_that_look_nowhere_else_leave_everything_in_place(self) -> None:
        itself = torch.eye(4).expand(3, 1, 2, 4, 4)
        rolled = attention_rollout(itself, torch.ones(1, 4, dtype=torch.bool))
        assert torch.equal(rolled, torch.eye(4).expand(3, 1, 4, 4))


class TestAblation:
    def test_silent_heads_do_not_move_the_output(self, model: Classifier) -> None:
        """With a head silent its values may be anything."""
        tokens, mask = padded()
        layers = attention_layers(model)

        @torch.no_grad()
        def answer() -> Tensor:
            return model(tokens, mask)

        intact, without = answer(), ablate_heads(layers, [(0, 1)], answer)
        assert not torch.equal(intact, without)
        with torch.no_grad():
            layers[0].value.weight[4:8] += 3.0
        close(ablate_heads(layers, [(0, 1)], answer), without)
        assert not torch.equal(answer(), intact)


class TestIntegratedGradients:
    def test_the_error_of_completeness_falls_with_the_square_of_the_steps(self, model: Classifier) -> None:
        x = torch.randn(4, 12, dtype=torch.float64, generator=torch.Generator().manual_seed(1))

        def score(points: Tensor) -> Tensor:
            return torch.tanh(points.flatten(1).sum(dim=1) / 4)

        exact = score(x[None]) - score(torch.zeros_like(x)[None])
        errors = [
            abs(integrated_gradients(score, x, torch.zeros_like(x), n).sum() - exact).item()
            for n in (4, 8, 16)
        ]
        assert errors[0] / errors[1] == pytest.approx(4, rel=0.3)
        assert errors[1] / errors[2] == pytest.approx(4, rel=0.3)

    def test_accounts_of_an_answer_have_one_number_a_word(self, model: Classifier) -> None:
        ids = [1, 5, 6, 7, 8, 2]
        found = attributions(model, ids, baseline_id=0, steps=4)
        assert {name: account.shape for name, account in found.items()} == dict.fromkeys(found, (4,))
        assert all((account >= 0).all() for account in found.values())
        again = agreement([found, found])
        assert set(again) == {"attention", "rollout", "gradients"}
        assert again["rollout"]["values"][0] == again["rollout"]["values"][1]

    def test_leaving_a_word_out_is_asking_the_shorter_text(self, model: Classifier) -> None:
        ids = [1, 5, 6, 2]
        with torch.no_grad():
            odds = [model(torch.tensor([some]), torch.ones(1, len(some), dtype=torch.bool)).softmax(dim=-1)[0, 1]
                    for some in (ids, [1, 6, 2], [1, 5, 2])]  # fmt: skip
        close(effect_of_each_word(model, ids, 1), torch.stack([odds[0] - odds[1], odds[0] - odds[2]]))


class TestTools:
    def test_kendalls_tau(self) -> None:
        rising = torch.tensor([1.0, 2.0, 3.0, 4.0])
        assert rank_agreement(rising, rising**3) == 1
        assert rank_agreement(rising, -rising) == -1
        assert rank_agreement(rising, torch.tensor([2.0, 1.0, 3.0, 4.0])) == pytest.approx(
            4 / 6
        )  # one pair of six

    def test_typing_mistakes_are_as_frequent_as_asked_and_can_be_repeated(self) -> None:
        text = "the quick brown fox jumps over the lazy dog " * 60
        assert perturb(text, 0.0, 1) == text
        assert perturb(text, 0.3, 1) == perturb(text, 0.3, 1) != perturb(text, 0.3, 2)
        words = [(a, b) for a, b in zip(text.split(), perturb(text, 0.05, 1).split(), strict=False)]
        assert (
            0.05 < sum(a != b for a, b in words) / len(words) < 0.35
        )  # one minus 0.95 to the power of 4, about 0.19

    def test_who_always_says_the_frequent_class_has_accuracy_and_no_f1(self) -> None:
        found = score_answers([0] * 10, [0] * 9 + [1], 2)
        assert found == pytest.approx({"accuracy": 0.9, "macro_f1": 9 / 19})

    def test_robustness_and_gap_and_forgetting_report_seed_intervals(self) -> None:
        got = robust_accuracy(
            lambda some: [len(t) % 2 for t in some],
            ["a", "bb", "c"],
            [1, 0, 1],
            2,
            lambda t, s: t + "x" * s,
            [2, 1],
        )
        assert got["accuracy"]["values"] == [1.0, 0.0]
        gap = counterfactual_gap(
            lambda some: [float(len(t)) for t in some], ["{name}", "{name} {name}"], ["aa"], ["b"]
        )
        assert gap["values"] == [1.0, 2.0]
        lost = forgetting(torch.tensor([[[0.9, 0.1], [0.4, 0.8]]]))
        assert (lost["mean"], lost["low"]) == (pytest.approx(0.5), None)


class TestEWC:
    def test_the_fisher_is_the_curvature_of_the_divergence(self, model: Classifier) -> None:
        """KL(p, p moved by ε in one number) is ½·F·ε² up to ε³: a definition that squares no gradient."""
        tokens, mask = padded()
        memory = EWC(model, [(tokens, mask, torch.zeros(2, dtype=torch.long))], 1.0)
        weight, step = model.head.weight, 1e-4
        with torch.no_grad():
            before = model(tokens, mask).log_softmax(dim=-1)
            for place in ((0, 3), (1, 7)):
                weight[place] += step
                after = model(tokens, mask).log_softmax(dim=-1)
                weight[place] -= step
                divergence = (before.exp() * (before - after)).sum(dim=-1).mean().item()
                expected = memory.fisher["head.weight"][place].item()
                assert 2 * divergence / step**2 == pytest.approx(expected, rel=1e-2, abs=1e-6)

    def test_it_holds_what_matters_and_lets_go_of_what_does_not(self, model: Classifier) -> None:
        tokens, mask = padded()
        memory = EWC(model, [(tokens, mask, torch.zeros(2, dtype=torch.long))], 1.0)
        unseen = torch.ones(20, dtype=torch.bool)
        unseen[tokens[mask]] = False
        assert (memory.fisher["encoder.embeddings.word.weight"][unseen] == 0).all()
        with torch.no_grad():
            model.encoder.embeddings.word.weight[unseen] += 5.0
        assert memory.penalty(model) == 0


def test_training_learns_and_is_repeatable() -> None:
    examples = [([1, 5 + i % 2, 7 + i % 5, 2], i % 2) for i in range(256)]
    losses = []
    for _ in range(2):
        torch.manual_seed(3)
        small = Classifier(BertEncoder(20, 12, 1, 1, 12, 3, 16, 0.0, 1e-12, "gelu"), 2, 0.0)
        losses.append(fit(small, examples, 4, 3e-2, 0, nothing))
    assert losses[0] == losses[1]
    assert losses[0][-1] < losses[0][0] / 2
    assert sum(len(labels) for _, _, labels in batches_of(examples, 0)) == 256


def test_the_texts_of_the_audit_are_as_the_card_says() -> None:
    for templates, first, second in GROUPS.values():
        assert all("{name}" in template for template in templates)
        assert not set(first) & set(second)
    labels = [label for _, label in ELSEWHERE_THAN_FILMS]
    assert labels.count(0) == labels.count(1)


class TestAuditFile:
    @pytest.fixture
    def audit(self) -> dict:
        path = resources.files("attention_from_scratch").joinpath("data_files/audit_cpu.json")
        return dict(json.loads(path.read_text(encoding="utf-8")))

    def test_it_says_where_it_was_made_and_holds_several_seeds(self, audit: dict) -> None:
        assert {"time", "machine", "versions", "threads", "load_average"} <= audit["environment"].keys()
        assert len({run["seed"] for run in audit["runs"]}) == len(audit["runs"]) >= 2
        assert "/tmp" not in json.dumps(audit)

    def test_it_is_what_the_command_makes(self, tmp_path: Path, audit: dict) -> None:
        """A run goes on from this file: it was made with the settings that stand in the code."""
        there = tmp_path / "audit.json"
        there.write_text(json.dumps(audit), encoding="utf-8")
        assert command._opened(there)["runs"] == audit["runs"]
        there.write_text(json.dumps(audit | {"settings": {}}), encoding="utf-8")
        assert command._opened(there)["runs"] == []

    def test_the_unbalanced_set_has_one_rotten_review_in_ten(self) -> None:
        texts = [(f"text {i}", i % 2) for i in range(90)]
        labels = [label for _, label in command._unbalanced(texts)]
        assert (labels.count(1), labels.count(0)) == (45, 5)

    def test_every_number_of_the_card_is_one_of_the_file(self, audit: dict) -> None:
        card = str(model_card(audit))
        run = audit["runs"][0]
        mean = math.fsum(one["test"]["macro_f1"] for one in audit["runs"]) / len(audit["runs"])
        assert f"{mean:.3f}" in card
        for name in (*run["gaps"], *run["agreement"]):
            assert name in card
        for heading in ("How good", "disturbs", "prefers", "forgets", "Limits"):
            assert heading in card
        alone = str(model_card(audit | {"runs": audit["runs"][:1]}))
        assert "one seed: no interval" in alone
        page = model_card(audit)._repr_html_()
        assert page.count("<table") == 5
        assert "**" not in page


class TestFigure:
    def test_it_carries_the_maps_in_thousandths(self) -> None:
        maps = torch.full((2, 3, 4, 4), 0.25)
        html = figures.looking_inside.heads([(["a", "b", "c", "d"], maps, maps[:, 0])])._repr_html_()
        found = json.loads(re.search(r"draw\(root, (\[.*?\]), tools\)", html)[1])  # type: ignore[index]
        assert found[0]["maps"][1][2] == [250] * 16
        assert found[0]["rollout"][0] == [250] * 16

    def test_it_refuses_padding_and_wrong_shapes(self) -> None:
        maps = torch.full((2, 3, 4, 4), 0.25)
        with pytest.raises(ValueError, match="does not sum to 1"):
            figures.looking_inside.heads([(list("abcd"), 0.5 * maps, maps[:, 0])])
        with pytest.raises(ValueError, match="3 tokens"):
            figures.looking_inside.heads([(list("abc"), maps, maps[:, 0])])
        with pytest.raises(ValueError, match="at least one"):
            figures.looking_inside.heads([])
