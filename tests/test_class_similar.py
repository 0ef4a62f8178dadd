"""Code that is alike, and the instructor's page on a class."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest
from class_helpers import CHAPTER, grade, hand_in

from autograder.class_setup import init_class, release_chapter
from autograder.classroom import Classroom, open_class
from autograder.similar import similar_pairs
from coursebuild.chapter import load

COURSE = """
def split_heads(x, heads):
    width = x.shape[-1]
    if width % heads:
        raise ValueError(f"{heads} heads do not divide a width of {width}")
    return rearrange(x, "batch length (heads dim) -> batch heads length dim", heads=heads)
"""
OWN = '''
def split_heads(x, heads):
    """My own way."""
    batch, length, width = x.shape
    if width % heads:
        raise ValueError("no")
    parts = []
    for head in range(heads):  # one slice after the other
        start = head * width // heads
        parts.append(x[:, :, start:start + width // heads])
    return torch.stack(parts, dim=1)
'''
RENAMED = """
def split_heads(t, n):
    b, l, w = t.shape

    if w % n:
        raise ValueError("this cannot be divided")
    pieces = []
    for i in range(n):
        first = i * w // n
        pieces.append(t[:, :, first : first + w // n])
    return torch.stack(pieces, dim=1)
"""
OTHER = """
def split_heads(x, heads):
    *front, length, width = x.shape
    assert heads > 0
    if width != width // heads * heads:
        raise ValueError("the width does not fit")
    return x.reshape(*front, length, heads, width // heads).transpose(-3, -2)
"""


def pairs(**sources: str) -> list[tuple[str, str]]:
    cells = {student: {"split_heads": source} for student, source in sources.items()}
    found = similar_pairs(cells, {"split_heads": COURSE}, {"split_heads": "def split_heads(x, heads): ..."})
    return [(pair.first, pair.second) for pair in found]


def test_new_names_comments_and_layout_hide_nothing() -> None:
    assert pairs(ada=OWN, bo=OTHER, cy=RENAMED) == [("ada", "cy")]


def test_two_who_wrote_what_the_course_has_are_no_pair() -> None:
    assert pairs(ada=COURSE, bo=COURSE.replace("width", "w")) == []


def test_untouched_cells_are_nobodys_work() -> None:
    stub = "def split_heads(x, heads): ..."
    assert pairs(ada=stub, bo=stub) == []


def test_code_that_python_cannot_read_is_compared_too() -> None:
    broken = OWN.replace("return", "retrun torch")
    assert pairs(ada=broken, bo=broken + "# mine", cy=OTHER) == [("ada", "bo")]


@pytest.mark.parametrize("source", ["(" * 100_000, "x = " + "-" * 50_000 + "1", "\0", "é" * 100_000, ""])
def test_no_source_breaks_the_comparison(source: str) -> None:
    assert isinstance(pairs(ada=source, bo=source), list)


def test_the_same_to_the_letter_is_said() -> None:
    cells = {student: {"split_heads": OWN} for student in ("ada", "bo")}
    found = similar_pairs(cells, {"split_heads": COURSE}, {})
    assert [one.same_text for pair in found for one in pair.exercises] == [True]


@pytest.fixture(scope="module")
def released(tmp_path_factory: pytest.TempPathFactory) -> Path:
    room, _ = init_class(tmp_path_factory.mktemp("similar") / "class")
    release_chapter(room, CHAPTER)
    return room.root


@pytest.fixture
def room(released: Path, tmp_path: Path) -> Classroom:
    return open_class(Path(shutil.copytree(released, tmp_path / "class")))


def test_the_overview_shows_pairs_levels_and_every_exercise(room: Classroom) -> None:
    hand_in(room, "ada", extra=OWN.replace("\n", "\n# ") + OWN)
    hand_in(room, "<i>bo", extra=RENAMED.replace("\n", "\n# ") + RENAMED)
    hand_in(room, "cy", extra=OTHER)
    grade(room)
    page = room.overview(CHAPTER).read_text("utf-8")
    alike = page[page.index("Code that is alike") :]
    assert '<td class="who">&lt;i&gt;bo</td><td class="who">ada</td>' in alike
    assert "cy</td>" not in alike
    assert "3 landlock" in page
    assert all(f"<code>{exercise.name}</code>" in page for exercise in load(CHAPTER).exercises)
    assert "<i>bo" not in page


def test_the_overview_holds_everybody_also_when_one_is_graded_again(room: Classroom) -> None:
    for student in ("ada", "bo"):
        hand_in(room, student)
    grade(room)
    hand_in(room, "cy")  # handed in, and not graded yet
    grade(room, students=["bo"], regrade=True)
    page = room.overview(CHAPTER).read_text("utf-8")
    assert page.count('class="who">ada</td>') >= 1
    assert page.count('class="who">bo</td>') >= 1
    assert 'class="who">cy</td>' not in page
