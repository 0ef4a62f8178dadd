"""Every hidden test is scored against named wrong solutions, and against right ones written another way."""

from __future__ import annotations

import importlib
from dataclasses import replace
from pathlib import Path

import pytest

from autograder.forbidden import aliases, inspect, suspicious
from autograder.killmatrix import chapters, counts_fault, reference_variant, try_variant
from autograder.testing import exercises_of, load
from autograder.variants.base import Variant, definition, variants_of

CASES = [
    pytest.param(slug, variant, id=f"{slug}-{variant.exercise}-{variant.name}")
    for slug in chapters()
    for variant in variants_of(slug)
]
REFERENCES = [
    pytest.param(slug, name, id=f"{slug}-{name}") for slug in chapters() for name in exercises_of(load(slug))
]


@pytest.mark.parametrize(("slug", "variant"), CASES)
def test_variant_gets_what_it_deserves(slug: str, variant: Variant) -> None:
    """Each wrong solution meets the test that must fail on it; the whole table is `course list --kill-matrix`."""
    verdict = try_variant(slug, variant, named_only=True)
    assert not verdict.fault, verdict.fault + "\n" + "\n".join(verdict.details)


@pytest.mark.parametrize("seed", [b"one seed", b"another seed", b"a third seed"])
@pytest.mark.parametrize(("slug", "name"), REFERENCES)
def test_reference_keeps_every_point(slug: str, name: str, seed: bytes) -> None:
    verdict = try_variant(slug, reference_variant(slug, name), seed)
    assert verdict.score == verdict.max_score, verdict.details


@pytest.mark.parametrize("slug", chapters())
def test_every_exercise_has_enough_variants(slug: str) -> None:
    assert not counts_fault(slug), counts_fault(slug)


@pytest.mark.parametrize("slug", chapters())
def test_every_hidden_test_catches_somebody(slug: str) -> None:
    """A test that no wrong solution is named for proves nothing: it may not be able to fail."""
    named = {(variant.exercise, variant.caught_by) for variant in variants_of(slug)}
    idle = [
        f"{exercise.name}.{test.name}"
        for exercise in exercises_of(load(slug)).values()
        for test in exercise.tests
        if (exercise.name, test.name) not in named
    ]
    assert not idle, f"no wrong variant is named for: {', '.join(idle)}"


@pytest.mark.parametrize("slug", chapters())
def test_no_honest_solution_is_flagged(slug: str) -> None:
    """A flag asks a person to look. One that every right submission carries teaches that person not to."""
    module = importlib.import_module(f"attention_from_scratch.{slug}")
    exercises = exercises_of(load(slug))
    honest = [reference_variant(slug, name) for name in exercises]
    honest += [variant for variant in variants_of(slug) if variant.is_right]
    flags = []
    for variant in honest:
        source = variant.source(definition(module, variant.exercise))
        known = aliases([Path(str(module.__file__)).read_text(encoding="utf-8"), source])
        found = inspect(source, exercises[variant.exercise].forbids, known)
        label = f"{variant.exercise}.{variant.name}"
        flags += [flag.message for flag in [*suspicious(label, source, known), *found.flags]]
        flags += [f"{label}: {breach}" for breach in found.breaches]
    assert not flags, "\n".join(flags)


def test_what_is_flagged_is_still_flagged() -> None:
    """The test above would pass if nothing were flagged any more."""
    assert suspicious("f", "def f(x, name):\n    return getattr(x, name)\n", {})
    assert inspect("def f(x):\n    return x.softmax(-1)\n", ["torch.Tensor.softmax"], {}).flags


def test_a_wrong_solution_that_its_test_lets_through_is_told() -> None:
    """The reference itself, called wrong, and a mistake that is named for the test of another."""
    slug = "soft_lookup"
    name, exercise = next(iter(exercises_of(load(slug)).items()))
    honest = reference_variant(slug, name)
    disguised = replace(honest, is_right=False, caught_by=exercise.tests[0].name)
    assert "survived" in try_variant(slug, disguised, named_only=True).fault
    assert "survived" in try_variant(slug, disguised).fault
    caught = next(
        variant for variant in variants_of(slug) if variant.exercise == name and not variant.is_right
    )
    failed = try_variant(slug, caught).failed
    spared = next(test.name for test in exercise.tests if test.name not in failed)
    misnamed = replace(caught, caught_by=spared)
    assert "survived" in try_variant(slug, misnamed, named_only=True).fault
    assert "is caught only by" in try_variant(slug, misnamed).fault


def test_a_definition_ends_with_its_closing_comment(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    source = "def f():\n    ### BEGIN SOLUTION\n    return 1\n    ### END SOLUTION\n"
    (tmp_path / "closing_comment.py").write_text(f"import math\n\n\n{source}\n\ndef g():\n    return 2\n")
    monkeypatch.syspath_prepend(tmp_path)
    assert definition(importlib.import_module("closing_comment"), "f") == source
    with pytest.raises(ValueError, match="defines no h"):
        definition(importlib.import_module("closing_comment"), "h")
