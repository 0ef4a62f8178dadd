"""The leak guard on the real chapters: students' notebooks hold no secret line, and every solution would be noticed."""

from __future__ import annotations

import pytest

from coursebuild.chapter import all_chapters, load
from coursebuild.compose import dumps, release_notebook
from coursebuild.leaks import MARKS, Secret, leaks, secrets, text_of_notebook
from coursebuild.module_source import without_markers
from coursebuild.paths import REPOSITORY


@pytest.fixture(scope="module")
def hidden() -> list[Secret]:
    return secrets(REPOSITORY)


@pytest.mark.parametrize("name", all_chapters())
def test_the_students_notebook_shows_no_solution_and_no_hidden_test(name: str, hidden: list[Secret]) -> None:
    assert not leaks(text_of_notebook(dumps(release_notebook(load(name)))), hidden)


@pytest.mark.parametrize("name", all_chapters())
def test_every_solution_of_a_chapter_would_be_noticed(name: str, hidden: list[Secret]) -> None:
    chapter = load(name)
    unseen = [
        exercise.name
        for exercise in chapter.exercises
        if not leaks(without_markers(chapter.solution(exercise.name)), hidden)
    ]
    assert not unseen, f"every line of these solutions is short, or stands in the text: {', '.join(unseen)}"


def test_the_markers_themselves_are_noticed() -> None:
    for mark in MARKS:
        assert leaks(f"def f():\n    {mark}\n", [])
