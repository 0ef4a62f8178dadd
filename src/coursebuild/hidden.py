"""The hidden tests of a chapter, as far as the composer needs them: points and model answers."""

from __future__ import annotations

import importlib.util
from types import ModuleType
from typing import Any

from coursebuild.chapter import Chapter
from coursebuild.errors import CourseError
from coursebuild.paths import REPOSITORY


def hidden_module(chapter: Chapter) -> ModuleType:
    """The chapter's module of hidden tests; CourseError when it is missing or broken."""
    path = chapter.hidden_path
    if not path.is_file():
        raise CourseError(f"{path} is missing; write the hidden tests there")
    try:
        if chapter.paths == REPOSITORY:
            return importlib.import_module(f"autograder.hidden.{chapter.slug}")
        spec = importlib.util.spec_from_file_location(f"hidden_tests_of_{chapter.slug}", path)
        assert spec is not None
        assert spec.loader is not None
        module = importlib.util.module_from_spec(spec)
        spec.loader.exec_module(module)
        return module
    except Exception as error:
        raise CourseError(
            f"{path} cannot be imported ({type(error).__name__}: {error}); correct it"
        ) from error


def hidden_points(chapter: Chapter) -> dict[str, float]:
    """What the hidden tests of each exercise are worth together."""
    from autograder.testing import exercises_of

    return {name: exercise.points for name, exercise in exercises_of(hidden_module(chapter)).items()}


def written_questions(chapter: Chapter) -> dict[str, Any]:
    """The written questions, by name, with their points, model answers and rubrics."""
    from autograder.testing import questions_of

    return dict(questions_of(hidden_module(chapter)))


def model_answers(chapter: Chapter) -> dict[str, str]:
    """The model answer of each written question; nothing is imported where there is no question."""
    if not chapter.questions:
        return {}
    asked = written_questions(chapter)
    missing = [question.name for question in chapter.questions if question.name not in asked]
    if missing:
        raise CourseError(f"{chapter.hidden_path} has no Question named {missing[0]!r}; add it to QUESTIONS")
    return {question.name: asked[question.name].answer.strip() for question in chapter.questions}
