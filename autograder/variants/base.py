"""Named wrong and right solutions: the material that hidden tests are scored against."""

from __future__ import annotations

import importlib
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType

from coursebuild.module_source import read_module


@dataclass(frozen=True)
class Variant:
    """One solution of an exercise: wrong, with the hidden test that must catch it, or right, written another way."""

    exercise: str
    name: str
    is_right: bool
    because: str = ""
    caught_by: str = ""
    body: str | None = None
    edit: tuple[str, str] | None = None

    def source(self, reference: str) -> str:
        """The cell as a student would write it, given the reference source of the exercise."""
        if self.body is not None:
            return self.body.strip("\n") + "\n"
        assert self.edit is not None
        old, new = self.edit
        if reference.count(old) != 1:
            raise ValueError(
                f"variant {self.exercise}.{self.name}: the text to edit stands {reference.count(old)} times "
                f"in the reference, not once: {old!r}"
            )
        return reference.replace(old, new)


def wrong(
    exercise: str,
    name: str,
    *,
    caught_by: str,
    because: str,
    body: str | None = None,
    edit: tuple[str, str] | None = None,
) -> Variant:
    """A wrong solution: the misconception behind it, and the hidden test that must fail on it."""
    _one_of(exercise, name, body, edit)
    return Variant(exercise, name, False, because, caught_by, body, edit)


def right(
    exercise: str,
    name: str,
    *,
    body: str | None = None,
    edit: tuple[str, str] | None = None,
    because: str = "",
) -> Variant:
    """A right solution written another way: it must keep every point."""
    _one_of(exercise, name, body, edit)
    return Variant(exercise, name, True, because, "", body, edit)


def variants_of(slug: str) -> list[Variant]:
    """The variants of a chapter."""
    return list(importlib.import_module(f"autograder.variants.{slug}").VARIANTS)


def definition(module: ModuleType, name: str) -> str:
    """The source of a top-level function or class of a module, decorators and closing comments included."""
    assert module.__file__ is not None
    source = read_module(Path(module.__file__))
    if name not in source.spans:
        raise ValueError(f"{module.__name__} defines no {name}")
    return source.source(name) + "\n"


def _one_of(exercise: str, name: str, body: str | None, edit: tuple[str, str] | None) -> None:
    if (body is None) == (edit is None):
        raise ValueError(f"variant {exercise}.{name}: give either body= or edit=")
