"""An instructor's private hidden tests, which count like the course's own."""

from __future__ import annotations

import importlib.util
from pathlib import Path

from autograder.testing import Exercise, exercises_of
from coursebuild.errors import CourseError


def read_private(path: Path, key: str) -> dict[str, Exercise]:
    """The exercises of a file of private tests; `key` names its content."""
    spec = importlib.util.spec_from_file_location(f"private_tests_{key[:12]}", path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    try:
        spec.loader.exec_module(module)
        return exercises_of(module)
    except Exception as error:
        raise CourseError(f"{path} cannot be used ({type(error).__name__}: {error}); correct it") from error


def merged(exercises: dict[str, Exercise], private: dict[str, Exercise]) -> dict[str, Exercise]:
    """The chapter's exercises with the private tests and rules added."""
    unknown = sorted(set(private) - set(exercises))
    if unknown:
        raise CourseError(
            f"the private tests name exercises that the chapter does not have: {', '.join(unknown)}"
        )
    return {
        name: Exercise(
            name,
            [*exercise.forbids, *(private[name].forbids if name in private else ())],
            [*exercise.tests, *(private[name].tests if name in private else ())],
        )
        for name, exercise in exercises.items()
    }
