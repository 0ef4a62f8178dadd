"""A class from its making to its grades, with a judge of the tests' own: what is written, kept and refused."""

from __future__ import annotations

import errno
import json
import os
import shutil
import signal
import stat
import subprocess
import sys
import time
from datetime import datetime
from pathlib import Path
from typing import Any

import nbformat
import pytest
from class_helpers import CHAPTER, StubJudge, by_student, grade, hand_in
from nbgrader.api import Gradebook
from nbgrader.coursedir import CourseDirectory
from nbgrader.exchange.default import ExchangeReleaseFeedback
from nbgrader.utils import notebook_hash

import autograder.grade
from autograder.class_setup import init_class, release_chapter
from autograder.classroom import Classroom, open_class
from autograder.results import as_json
from coursebuild.chapter import load
from coursebuild.errors import CourseError

HERE = Path(__file__).parent


@pytest.fixture(scope="module")
def released(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A class with one chapter released; tests copy it."""
    root = tmp_path_factory.mktemp("class") / "spring"
    room, _ = init_class(root)
    release_chapter(room, CHAPTER)
    return root


@pytest.fixture
def room(released: Path, tmp_path: Path) -> Classroom:
    """A class of one's own, in another place than where it was made."""
    shutil.copytree(released, tmp_path / "moved")
    StubJudge.calls.clear()
    return open_class(tmp_path / "moved")


@pytest.fixture(scope="module")
def names() -> list[str]:
    return [exercise.name for exercise in load(CHAPTER).exercises]


@pytest.fixture(scope="module")
def top() -> float:
    return sum(exercise.points for exercise in load(CHAPTER).exercises)


def grades(room: Classroom, student: str) -> dict[str, Any]:
    with Gradebook(room.database) as book:
        notebook = book.find_submission_notebook(CHAPTER, CHAPTER, student)
        return {grade.name: grade.to_dict() for grade in notebook.grades} | {"flagged": notebook.flagged}


def test_a_class_has_a_secret_that_only_its_owner_reads(released: Path) -> None:
    assert stat.S_IMODE((released / ".course" / "secret").stat().st_mode) == 0o600


def test_making_a_class_again_changes_nothing(room: Classroom) -> None:
    before = {path: path.read_bytes() for path in room.root.rglob("*") if path.is_file()}
    _, made = init_class(room.root)
    assert made == []
    assert before == {path: path.read_bytes() for path in room.root.rglob("*") if path.is_file()}


def test_a_directory_with_other_things_in_it_is_left_alone(tmp_path: Path) -> None:
    (tmp_path / "thesis.tex").write_text("x")
    with pytest.raises(CourseError, match="not empty"):
        init_class(tmp_path)
    assert [path.name for path in tmp_path.iterdir()] == ["thesis.tex"]


def test_the_release_holds_no_answer(released: Path) -> None:
    release = released / "release" / CHAPTER
    files = {str(path.relative_to(release)) for path in release.rglob("*") if path.is_file()}
    assert "attention_from_scratch/__init__.py" in files
    assert "attention_from_scratch/multi_head.py" not in files
    text = "".join(path.read_text("utf-8") for path in release.rglob("*") if path.suffix in (".py", ".ipynb"))
    assert "autograder.plain" not in text
    owns_split = [line for line in load(CHAPTER).solution("split_heads").splitlines() if "rearrange(" in line]
    assert owns_split
    assert not any(line.strip() in text for line in owns_split)


def test_a_source_changed_by_hand_is_not_overwritten(room: Classroom) -> None:
    room.source(CHAPTER).write_text("{}")
    with pytest.raises(CourseError, match="changed by hand"):
        release_chapter(room, CHAPTER)
    assert room.source(CHAPTER).read_text() == "{}"


def test_grades_reach_the_gradebook_the_pages_and_the_json(
    room: Classroom, names: list[str], top: float
) -> None:
    hand_in(room, "ada")
    hand_in(room, "bo", wrong=(names[0],))
    result = grade(room)
    assert by_student(result)["ada"] == ("graded", top)
    ada, bo = grades(room, "ada"), grades(room, "bo")
    assert sum(ada[f"{name}-hidden"]["auto_score"] for name in names) == top
    assert bo[f"{names[0]}-hidden"]["auto_score"] == 0
    data = json.loads(as_json(result))
    assert set(data) == {"chapter", "isolation", "submissions"}
    assert data["isolation"] == "landlock"
    entry = data["submissions"][1]
    assert set(entry) == {"student", "status", "score", "max_score", "exercises", "flags", "manual"}
    assert set(entry["exercises"][0]) == {"exercise", "score", "max_score", "tests", "flags"}
    assert entry["exercises"][0]["tests"] == [
        {"name": "gives_values", "passed": False, "message": "the `values` are wrong"}
    ]
    assert set(entry["manual"]) == {"score", "max_score", "pending"}
    assert "off by 3" not in json.dumps(data)
    for path in (room.feedback("bo", CHAPTER), room.autograded("bo", CHAPTER), room.overview(CHAPTER)):
        assert path.is_file()


def test_feedback_shows_the_sentence_and_runs_nothing(room: Classroom, names: list[str]) -> None:
    hand_in(room, "<b>eve", wrong=(names[0],), extra="<script>alert(1)</script>")
    grade(room)
    page = room.feedback("<b>eve", CHAPTER).read_text("utf-8")
    assert "The <code>values</code> are wrong." in page
    assert "default-src &#39;none&#39;" in page
    assert "<script" not in page
    assert "<b>eve" not in page
    assert "&lt;script&gt;alert(1)" in page
    assert "off by 3" not in page, "the detail is for the instructor"
    assert "<b>eve" not in room.overview(CHAPTER).read_text("utf-8")


def test_the_graded_notebook_keeps_our_metadata_and_none_of_theirs(room: Classroom, names: list[str]) -> None:
    path = hand_in(room, "ada", wrong=(names[0],))
    notebook = json.loads(path.read_text("utf-8"))
    output = {"output_type": "stream", "name": "stdout", "text": "all tests passed"}
    for cell in notebook["cells"]:
        if cell["cell_type"] == "code":
            cell["outputs"] = [output]
            cell["metadata"].setdefault("nbgrader", {})["points"] = 99
    path.write_text(json.dumps(notebook))
    grade(room)
    graded = nbformat.read(room.autograded("ada", CHAPTER), as_version=4)
    released = nbformat.read(room.release(CHAPTER), as_version=4)
    assert [c.metadata for c in graded.cells if "nbgrader" in c.metadata] == [
        c.metadata for c in released.cells if "nbgrader" in c.metadata
    ]
    text = nbformat.writes(graded)
    assert "all tests passed" not in text
    hidden = next(
        c for c in graded.cells if c.metadata.get("nbgrader", {}).get("grade_id") == f"{names[0]}-hidden"
    )
    assert "FAILED  gives_values" in hidden.outputs[0].text


def test_what_a_person_gave_survives_grading_again(room: Classroom, names: list[str]) -> None:
    path = hand_in(room, "ada", wrong=(names[0],))
    grade(room)
    with Gradebook(room.database) as book:
        one = book.find_grade(f"{names[0]}-hidden", CHAPTER, CHAPTER, "ada")
        one.manual_score, one.extra_credit, one.needs_manual_grade = 2.5, 0.5, False
        book.find_comment(names[0], CHAPTER, CHAPTER, "ada").manual_comment = "nearly"
        book.db.commit()
    grade(room, regrade=True)
    same = grades(room, "ada")[f"{names[0]}-hidden"]
    assert (same["manual_score"], same["extra_credit"], same["needs_manual_grade"]) == (2.5, 0.5, False)
    path.unlink()
    hand_in(room, "ada", extra="a second attempt")
    grade(room)
    new = grades(room, "ada")[f"{names[0]}-hidden"]
    assert (new["manual_score"], new["extra_credit"], new["needs_manual_grade"]) == (2.5, 0.5, True)
    assert new["auto_score"] == load(CHAPTER).exercises[0].points
    with Gradebook(room.database) as book:
        assert book.find_comment(names[0], CHAPTER, CHAPTER, "ada").manual_comment == "nearly"


def test_only_what_is_new_is_judged(room: Classroom) -> None:
    for student in ("ada", "bo", "cy"):
        hand_in(room, student)
    first = grade(room)
    assert len(StubJudge.calls) == 3
    again = grade(room)
    assert len(StubJudge.calls) == 3
    assert as_json(first) == as_json(again)
    hand_in(room, "bo", extra="changed")
    grade(room)
    assert len(StubJudge.calls) == 4
    room.hidden.mkdir(exist_ok=True)
    (room.hidden / "multi_head.py").write_text("# private tests\n")
    grade(room)
    assert len(StubJudge.calls) == 7, "private tests change every verdict"


def test_a_lost_gradebook_is_filled_again_without_judging(room: Classroom, top: float) -> None:
    hand_in(room, "ada")
    before = (room.root / "gradebook.db").read_bytes()
    grade(room)
    (room.root / "gradebook.db").write_bytes(before)
    grade(room)
    assert len(StubJudge.calls) == 1
    with Gradebook(room.database) as book:
        assert book.find_submission(CHAPTER, "ada").score == top


def test_the_whole_class_meets_the_same_inputs_and_a_next_attempt_others(room: Classroom) -> None:
    """Equal work must earn equal points, and who hands in again may have seen the last inputs."""
    hand_in(room, "ada", extra="one")
    hand_in(room, "bo", extra="two")
    grade(room)
    first, also_first = StubJudge.calls
    assert first == also_first
    hand_in(room, "ada", extra="three")
    grade(room)
    hand_in(room, "ada", extra="four")
    grade(room)
    assert len({first, *StubJudge.calls[2:]}) == 3
    hand_in(room, "ada", extra="three")
    grade(room, regrade=True)
    assert sorted(StubJudge.calls[-2:]) == sorted([StubJudge.calls[2], first])


def test_seeds_are_of_a_class_and_a_chapter(room: Classroom, tmp_path: Path) -> None:
    other, _ = init_class(tmp_path / "other")
    seeds = {room.seed(CHAPTER, 0), room.seed(CHAPTER, 1), room.seed("02_other", 0), other.seed(CHAPTER, 0)}
    assert len(seeds) == 4
    assert room.seed(CHAPTER, 0) == open_class(room.root).seed(CHAPTER, 0)


def test_a_killed_grader_goes_on_where_it_was(room: Classroom, top: float) -> None:
    students = [f"student{n:02d}" for n in range(12)]
    for student in students:
        hand_in(room, student)
    process = subprocess.Popen([sys.executable, str(HERE / "class_helpers.py"), str(room.root)])
    deadline = time.monotonic() + 60
    while len(list((room.root / "feedback").glob("*"))) < 4 and time.monotonic() < deadline:
        time.sleep(0.01)
    process.send_signal(signal.SIGKILL)
    process.wait()
    done = len(room.journal(CHAPTER).read_bytes().splitlines())
    assert done >= 4
    result = grade(room)
    assert by_student(result) == dict.fromkeys(students, ("graded", top))
    assert 0 < len(StubJudge.calls) < len(students), "what was judged before is not judged again"
    assert all(grades(room, student)["flagged"] is False for student in students)


@pytest.mark.parametrize("cut", [1, 20, 300])
def test_a_journal_cut_anywhere_is_read_as_far_as_it_goes(room: Classroom, cut: int, top: float) -> None:
    for student in ("ada", "bo"):
        hand_in(room, student)
    grade(room)
    journal = room.journal(CHAPTER)
    journal.write_bytes(journal.read_bytes()[:-cut])
    result = grade(room)
    assert by_student(result) == {"ada": ("graded", top), "bo": ("graded", top)}
    lines = journal.read_bytes().splitlines()
    assert all(json.loads(line) for line in lines)


def test_two_graders_at_once_are_refused(room: Classroom) -> None:
    hand_in(room, "ada")
    with room.lock(), pytest.raises(CourseError, match=rf"being graded by process {os.getpid()}"):
        grade(room)
    assert by_student(grade(room))["ada"][0] == "graded"


def test_a_full_disk_is_a_retry_and_loses_nothing(
    room: Classroom, monkeypatch: pytest.MonkeyPatch, top: float
) -> None:
    hand_in(room, "ada")
    hand_in(room, "bo")
    real = autograder.grade.write_whole

    def full(path: Path, *args: Any, **kwargs: Any) -> None:
        if "ada" in path.parts:
            raise OSError(errno.ENOSPC, "No space left on device")
        real(path, *args, **kwargs)

    monkeypatch.setattr(autograder.grade, "write_whole", full)
    result = grade(room)
    assert by_student(result) == {"ada": ("retry", 0.0), "bo": ("graded", top)}
    assert result.retries == 1
    assert "No space left" in result.results[0].report.flags[0].message
    monkeypatch.undo()
    assert by_student(grade(room))["ada"] == ("graded", top)
    assert len(StubJudge.calls) == 2, "the verdict was in the journal"


def test_odd_submissions_are_invalid_and_the_class_goes_on(room: Classroom, top: float) -> None:
    hand_in(room, "Zoë 李")
    good = hand_in(room, "ada")
    hand_in(room, "new\nline")
    hand_in(room, "x" * 200)
    for student, content in (("empty", b""), ("cut", good.read_bytes()[:500]), ("null", b"\0" * 100)):
        hand_in(room, student).write_bytes(content)
    for student in ("link", "directory", "pipe"):
        hand_in(room, student).unlink()
    os.symlink(room.source(CHAPTER), room.submitted / "link" / CHAPTER / f"{CHAPTER}.ipynb")
    (room.submitted / "directory" / CHAPTER / f"{CHAPTER}.ipynb").mkdir()
    os.mkfifo(room.submitted / "pipe" / CHAPTER / f"{CHAPTER}.ipynb")
    os.symlink(room.submitted / "ada", room.submitted / "twin")
    (room.submitted / "nothing" / CHAPTER).mkdir(parents=True)
    with open(hand_in(room, "huge"), "r+b") as file:
        file.truncate(40 * 2**20)
    result = by_student(grade(room))
    assert {student for student, (status, _) in result.items() if status == "graded"} == {"ada", "Zoë 李"}
    assert result["Zoë 李"][1] == top
    assert len(result) == 13
    assert all(score == 0 for status, score in result.values() if status == "invalid")
    assert "could not read your notebook" in room.feedback("cut", CHAPTER).read_text("utf-8")
    assert not room.autograded("twin", CHAPTER).parent.parent.is_symlink()


def test_late_work_is_penalised_as_nbgrader_has_it(room: Classroom, top: float) -> None:
    with open(room.root / "nbgrader_config.py", "a") as file:
        file.write('\nc.LateSubmissionPlugin.penalty_method = "zero"\n')
    with Gradebook(room.database) as book:
        book.find_assignment(CHAPTER).duedate = datetime(2026, 11, 1)
        book.db.commit()
    for student, time_ in (("early", "2026-10-31 12:00:00 UTC"), ("late", "2026-11-02 12:00:00 UTC")):
        (hand_in(room, student).parent / "timestamp.txt").write_text(time_)
    (hand_in(room, "unclear").parent / "timestamp.txt").write_text("yesterday, I think")
    result = {one.student: one for one in grade(room).results}
    assert (result["early"].penalty, result["late"].penalty, result["unclear"].penalty) == (0.0, top, 0.0)
    assert result["unclear"].report.flags[0].name == "timestamp"
    with Gradebook(room.database) as book:
        book.find_assignment(CHAPTER).duedate = datetime(2026, 12, 1)
        book.db.commit()
    assert {one.student: one.penalty for one in grade(room).results}["late"] == 0.0
    assert len(StubJudge.calls) == 3


def test_wrong_usage_is_one_clear_sentence(room: Classroom, tmp_path: Path) -> None:
    hand_in(room, "ada")
    with pytest.raises(
        CourseError, match=r"no submission of 03_multi_head by \.\./\.\./etc; there is|there are ada"
    ):
        grade(room, students=["../../etc"])
    with pytest.raises(CourseError, match="no directory"):
        open_class(tmp_path / "nowhere")
    with pytest.raises(CourseError, match="is not a class directory"):
        open_class(tmp_path)
    fresh, _ = init_class(tmp_path / "fresh")
    (fresh.submitted / "ada" / CHAPTER).mkdir(parents=True)
    with pytest.raises(CourseError, match="is not released"):
        grade(fresh)
    (room.root / "nbgrader_config.py").write_text("c = get_config(\n")
    with pytest.raises(CourseError, match=r"nbgrader_config\.py cannot be read"):
        grade(room)


def test_named_students_only(room: Classroom) -> None:
    hand_in(room, "ada")
    hand_in(room, "bo")
    assert list(by_student(grade(room, students=["bo"]))) == ["bo"]
    assert not room.autograded("ada", CHAPTER).exists()


def test_the_page_shows_what_a_person_added(room: Classroom, names: list[str], top: float) -> None:
    hand_in(room, "ada", wrong=(names[0],))
    grade(room)
    assert "Your instructor gave" not in room.feedback("ada", CHAPTER).read_text("utf-8")
    with Gradebook(room.database) as book:
        one = book.find_grade(f"{names[0]}-hidden", CHAPTER, CHAPTER, "ada")
        one.manual_score, one.needs_manual_grade = 2.5, False
        book.find_comment(names[1], CHAPTER, CHAPTER, "ada").manual_comment = "<i>neat</i>"
        book.db.commit()
    grade(room)
    page = room.feedback("ada", CHAPTER).read_text("utf-8")
    assert "Your instructor gave 2.5 of" in page
    assert "&lt;i&gt;neat&lt;/i&gt;" in page
    assert f"{top - load(CHAPTER).exercises[0].points + 2.5:g}</strong> points in all" in page
    assert len(StubJudge.calls) == 1


def test_no_judge_is_started_where_everything_is_judged(
    room: Classroom, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(StubJudge, "level", "full")
    hand_in(room, "ada")
    hand_in(room, "broken").write_bytes(b"")
    first = grade(room)
    monkeypatch.setattr(StubJudge, "__enter__", None)  # starting it would fail
    assert as_json(grade(room)) == as_json(first)
    hand_in(room, "bo")
    with pytest.raises(TypeError):
        grade(room)


def test_feedback_goes_back_through_nbgraders_exchange(room: Classroom, tmp_path: Path) -> None:
    """nbgrader names a page by a secret that the submission came with; students find theirs by the same one."""
    handed = hand_in(room, "ada").parent
    (handed / "timestamp.txt").write_text("2026-10-31 12:00:00 UTC")
    (handed / "submission_secret.txt").write_text("only ada and the exchange know this")
    hand_in(room, "by.mail")
    grade(room)
    exchange = tmp_path / "exchange"
    exchange.mkdir()
    exchange.chmod(0o777)
    config = room.config()
    config.Exchange.root = str(exchange)
    config.CourseDirectory.update(
        {"root": str(room.root), "course_id": "attention", "assignment_id": CHAPTER, "student_id": "ada"}
    )
    ExchangeReleaseFeedback(coursedir=CourseDirectory(config=config), config=config).start()
    (page,) = (exchange / "attention" / "feedback").glob("*.html")
    assert page.stem == notebook_hash(secret="only ada and the exchange know this", notebook_id=CHAPTER)
    assert page.read_bytes() == room.feedback("ada", CHAPTER).read_bytes()
    assert not (room.feedback("by.mail", CHAPTER).parent / "submission_secret.txt").exists()
