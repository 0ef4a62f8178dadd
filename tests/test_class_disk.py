"""A disk or a gradebook that is full is a retry: nothing is lost, and the next run goes on where it was."""

from __future__ import annotations

import errno
import os
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from class_helpers import CHAPTER, StubJudge, by_student, grade, gradebook_rows, hand_in
from sqlalchemy import event
from sqlalchemy.engine import Engine

from autograder.class_setup import init_class, release_chapter
from autograder.classroom import Classroom, open_class
from autograder.results import as_json
from coursebuild.errors import CourseError

STUDENTS = tuple(f"student{number}" for number in range(6))


@pytest.fixture(scope="module")
def handed_in(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A class in which six have handed in."""
    room, _ = init_class(tmp_path_factory.mktemp("disk") / "class")
    release_chapter(room, CHAPTER)
    for student in STUDENTS:
        hand_in(room, student)
    return room.root


@pytest.fixture
def expected(handed_in: Path, tmp_path: Path) -> tuple[str, list[Any]]:
    """What a run on a disk with room gives."""
    plain = open_class(Path(shutil.copytree(handed_in, tmp_path / "plain")))
    result = grade(plain)
    StubJudge.calls.clear()
    return as_json(result), gradebook_rows(plain)


@pytest.fixture
def room(handed_in: Path, tmp_path: Path) -> Classroom:
    return open_class(Path(shutil.copytree(handed_in, tmp_path / "class")))


def test_a_journal_that_cannot_grow(
    room: Classroom, expected: tuple[str, list[Any]], monkeypatch: pytest.MonkeyPatch
) -> None:
    written = [0]

    def full(descriptor: int, data: bytes, offset: int) -> int:
        written[0] += 1
        if 3 < written[0] < 9:
            if written[0] % 2:
                raise OSError(errno.ENOSPC, "No space left on device")
            return real(descriptor, data[: len(data) // 2], offset)  # half of it, and then no more
        return real(descriptor, data, offset)

    real = os.pwrite
    monkeypatch.setattr("autograder.journal.os.pwrite", full)
    result = grade(room)
    assert 0 < result.retries < len(STUDENTS)
    monkeypatch.undo()
    assert as_json(grade(room)) == expected[0]
    assert gradebook_rows(room) == expected[1]
    assert len(StubJudge.calls) < 2 * len(STUDENTS), "what was kept is not judged again"


def test_a_gradebook_that_cannot_grow(room: Classroom, expected: tuple[str, list[Any]]) -> None:
    def no_more_pages(connection: Any, _: Any) -> None:
        pages = connection.execute("PRAGMA page_count").fetchone()[0]
        connection.execute(f"PRAGMA max_page_count = {pages}")

    event.listen(Engine, "connect", no_more_pages)
    try:
        result = grade(room)
    finally:
        event.remove(Engine, "connect", no_more_pages)
    assert result.retries > 0
    said = [one.report.flags[0].message for one in result.results if one.report.status == "retry"]
    assert all("full" in message for message in said)
    calls = len(StubJudge.calls)
    assert as_json(grade(room)) == expected[0]
    assert gradebook_rows(room) == expected[1]
    assert len(StubJudge.calls) == calls, "the verdicts were in the journal"


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A file system of its own, of one MiB; where this user may not mount one the test is skipped."""
    place = tmp_path / "small"
    place.mkdir()
    made = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", "size=1m", "tmpfs", str(place)], capture_output=True, check=False
    )
    if made.returncode:
        pytest.skip("this user may not mount a file system")
    yield place
    subprocess.run(["umount", "-l", str(place)], check=True)


def grow(disk: Path, size: str) -> None:
    subprocess.run(["mount", "-o", f"remount,size={size}", str(disk)], check=True)


def test_a_disk_that_is_really_full(
    small_disk: Path, handed_in: Path, expected: tuple[str, list[Any]]
) -> None:
    grow(small_disk, "64m")
    room = open_class(Path(shutil.copytree(handed_in, small_disk / "class")))
    used = shutil.disk_usage(small_disk).used
    ended = []
    for room_left in (0, 40, 120, 250, 400):
        grow(small_disk, str(used + room_left * 1024))
        try:
            ended.append(grade(room).retries)
        except CourseError as error:
            ended.append(str(error))
        used = max(used, shutil.disk_usage(small_disk).used)
    assert ended[0] != 0, "the disk was full"
    assert any(isinstance(end, int) and end > 0 for end in ended) or "overview" in str(ended), ended
    grow(small_disk, "64m")
    assert as_json(grade(room)) == expected[0]
    assert gradebook_rows(room) == expected[1]
    assert by_student(grade(room)).keys() == set(STUDENTS)
