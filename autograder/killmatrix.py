"""The kill matrix: every named wrong solution against every hidden test of its exercise."""

from __future__ import annotations

import hashlib
import importlib
import linecache
import pkgutil
from copy import copy
from dataclasses import dataclass
from typing import Any

from autograder.student import LocalStudent
from autograder.testing import exercises_of, load, run_exercise
from autograder.variants.base import Variant, definition, right, variants_of

AT_LEAST_WRONG = 5
AT_LEAST_RIGHT = 1


@dataclass(frozen=True)
class Verdict:
    """What the hidden tests said of one variant."""

    variant: Variant
    score: float
    max_score: float
    failed: tuple[str, ...]
    details: tuple[str, ...]

    @property
    def fault(self) -> str:
        """What is wrong with the tests (not with the variant), or nothing."""
        label = f"{self.variant.exercise}.{self.variant.name}"
        if self.variant.is_right:
            lost = "; ".join(self.details)
            return "" if not self.failed else f"{label} is right and lost points: {lost}"
        if not self.failed:
            return f"{label} is wrong and survived every test that was run"
        if self.variant.caught_by not in self.failed:
            return f"{label} is caught only by {', '.join(self.failed)}, not by {self.variant.caught_by}"
        return ""


def namespace_with(slug: str, exercise: str, source: str) -> dict[str, Any]:
    """The chapter's reference module, run anew with one exercise replaced by `source`."""
    module = importlib.import_module(f"attention_from_scratch.{slug}")
    path = module.__file__
    assert path is not None
    with open(path, encoding="utf-8") as file:
        text = file.read()
    original = definition(module, exercise)
    if text.count(original) != 1:
        raise ValueError(f"{path}: the definition of {exercise} stands {text.count(original)} times")
    namespace: dict[str, Any] = {"__name__": f"variant_of_{slug}", "__file__": path}
    variant, label = text.replace(original, source), f"<{slug}.{exercise}>"
    linecache.cache[label] = (
        len(variant),
        None,
        variant.splitlines(keepends=True),
        label,
    )  # Triton reads it there
    exec(compile(variant, label, "exec"), namespace)
    return namespace


def try_variant(slug: str, variant: Variant, seed: bytes | None = None, named_only: bool = False) -> Verdict:
    """Run the hidden tests of a variant's exercise on it, by default with a seed of its own.

    `named_only`: of a wrong one's tests run just the one that it is named for, which must catch it in any case.
    """
    reference = definition(importlib.import_module(f"attention_from_scratch.{slug}"), variant.exercise)
    namespace = namespace_with(slug, variant.exercise, variant.source(reference))
    exercise = exercises_of(load(slug))[variant.exercise]
    if named_only and not variant.is_right:
        exercise = copy(exercise)
        exercise.tests = [test for test in exercise.tests if test.name == variant.caught_by]
    seed = seed or hashlib.blake2b(f"{slug}.{variant.exercise}.{variant.name}".encode()).digest()
    result = run_exercise(exercise, LocalStudent(namespace), seed)
    failed = [test for test in result.tests if not test.passed]
    details = tuple(f"{test.name}: {test.detail or test.message}" for test in failed)
    return Verdict(variant, result.score, result.max_score, tuple(t.name for t in failed), details)


def reference_variant(slug: str, exercise: str) -> Variant:
    """The reference solution itself, as a right variant."""
    source = definition(importlib.import_module(f"attention_from_scratch.{slug}"), exercise)
    return right(exercise, "reference", body=source, because="the reference solution")


def chapters() -> list[str]:
    """The slugs of the chapters that have variants."""
    package = importlib.import_module("autograder.variants")
    return sorted(found.name for found in pkgutil.iter_modules(package.__path__) if found.name != "base")


def counts_fault(slug: str) -> str:
    """Which exercises have too few variants, or variants of exercises that do not exist."""
    names = list(exercises_of(load(slug)))
    variants = variants_of(slug)
    faults = [f"{v.exercise}.{v.name}: no such exercise" for v in variants if v.exercise not in names]
    labels = [(v.exercise, v.name) for v in variants]
    faults += [
        f"{label[0]}.{label[1]} is there twice" for label in sorted(set(labels)) if labels.count(label) > 1
    ]
    for name in names:
        wrongs = sum(v.exercise == name and not v.is_right for v in variants)
        rights = sum(v.exercise == name and v.is_right for v in variants)
        if wrongs < AT_LEAST_WRONG or rights < AT_LEAST_RIGHT:
            faults.append(f"{name} has {wrongs} wrong and {rights} right variants")
    return "; ".join(faults)


def markdown(slug: str, verdicts: list[Verdict]) -> str:
    """The matrix as a table for instructors."""
    lines = [
        f"## {slug}",
        "",
        "| exercise | variant | misconception | score | caught by |",
        "|---|---|---|---|---|",
    ]
    for verdict in verdicts:
        variant = verdict.variant
        because = variant.because or ("written another way" if variant.is_right else "")
        caught = ", ".join(f"**{t}**" if t == variant.caught_by else t for t in verdict.failed) or "—"
        lines.append(
            f"| {variant.exercise} | {variant.name} | {because} | {verdict.score:g}/{verdict.max_score:g} | {caught} |"
        )
    return "\n".join(lines) + "\n"
