"""Rows whose attack is in the files of a class: links, names, modules and pages. Graded by the real judge."""

from __future__ import annotations

import json
import os
import re
import shutil
import sys
from pathlib import Path
from typing import Any

import pytest
from attack_tools import CHAPTER, FULL, TARGET, WITHOUT, WRONG, Notebook, cell, code_cell, solved
from rows import row

from autograder.class_setup import init_class, release_chapter
from autograder.classroom import Classroom, open_class
from autograder.grade import ClassResult, Options, grade_class
from autograder.judge import Judge
from autograder.results import as_json

pytestmark = pytest.mark.attack
SECRET = "a line that only the instructor has"


@pytest.fixture(scope="module")
def released(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A class with the chapter released; tests copy it."""
    root = tmp_path_factory.mktemp("class") / "spring"
    room, _ = init_class(root)
    release_chapter(room, CHAPTER)
    return root


@pytest.fixture
def room(released: Path, tmp_path: Path) -> Classroom:
    """A class of one's own, with one honest student."""
    shutil.copytree(released, tmp_path / "class")
    made = open_class(tmp_path / "class")
    hand_in(made, "honest", solved())
    return made


class Lent:
    """The judge of the session, for a grader that would make its own."""

    def __init__(self, judge: Judge) -> None:
        self.isolation, self.grade = judge.isolation, judge.grade

    def __enter__(self) -> Lent:
        return self

    def __exit__(self, *_: Any) -> None:
        return None


def hand_in(room: Classroom, student: str, notebook: Notebook) -> Path:
    """A submission; returns its file."""
    path = room.submitted / student / CHAPTER / f"{CHAPTER}.ipynb"
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(notebook), "utf-8")
    return path


def wrong() -> Notebook:
    """The solved notebook with one exercise wrong."""
    notebook = solved()
    cell(notebook, TARGET)["source"] = WRONG
    return notebook


def grade(room: Classroom, judge: Judge) -> dict[str, tuple[str, float]]:
    """Status and score of everybody but the honest student, who must have everything."""
    result = grade_class(room, CHAPTER, Options(make_judge=lambda **_: Lent(judge)))
    found = {one.student: (one.report.status, one.report.score) for one in result.results}
    assert found.pop("honest") == ("graded", FULL)
    _nothing_leaks(room, result)
    return found


def _nothing_leaks(room: Classroom, result: ClassResult) -> None:
    written = [path for place in ("feedback", "autograded") for path in (room.root / place).rglob("*")]
    assert not [path for path in written if path.is_symlink()]
    text = "\n".join(path.read_text("utf-8") for path in written if path.is_file())
    assert SECRET not in text + json.dumps(as_json(result))


@row("symlink_notebook")
def test_symlink_notebook(room: Classroom, judge: Judge) -> None:
    ways = {"a": room.source(CHAPTER), "b": room.submitted / "honest" / CHAPTER / f"{CHAPTER}.ipynb"}
    for student, target in ways.items():
        path = hand_in(room, student, wrong())
        path.unlink()
        os.symlink(target, path)
    os.symlink(room.submitted / "honest", room.submitted / "twin")
    (room.submitted / "half").mkdir()
    os.symlink(room.submitted / "honest" / CHAPTER, room.submitted / "half" / CHAPTER)
    found = grade(room, judge)
    assert set(found) == {"a", "b", "twin", "half"}
    assert all(verdict == ("invalid", 0) for verdict in found.values())


@row("symlink_extra")
def test_symlink_extra(room: Classroom, judge: Judge, tmp_path: Path) -> None:
    private = tmp_path / "private.txt"
    private.write_text(SECRET)
    directory = hand_in(room, "eve", wrong()).parent
    os.symlink(private, directory / "notes.txt")
    os.symlink(private, directory / "timestamp.txt")
    os.symlink(tmp_path, directory / "everything")
    os.link(private, directory / "hard.txt")
    assert grade(room, judge) == {"eve": ("graded", WITHOUT)}


@row("shadow_module")
def test_shadow_module(room: Classroom, judge: Judge) -> None:
    directory = hand_in(room, "eve", wrong()).parent
    places = [directory, room.submitted, room.root]
    for place in places:
        for name in ("numpy", "torch", "sitecustomize", "usercustomize", "autograder", "einops", "json"):
            (place / f"{name}.py").write_text(
                f"open({str(room.root / 'REACHED')!r}, 'w')\nraise SystemExit\n"
            )
    here = Path.cwd()
    try:
        os.chdir(directory)
        assert grade(room, judge) == {"eve": ("graded", WITHOUT)}
        with Judge(isolation=judge.isolation.level) as fresh:  # started where the files lie
            assert fresh.grade(json.dumps(solved()).encode(), CHAPTER, seed=b"s").score == FULL
    finally:
        os.chdir(here)
    assert not (room.root / "REACHED").exists()


@row("startup_file")
def test_startup_file(room: Classroom, judge: Judge, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    versions = "".join(str(part) for part in sys.version_info[:2])
    places = [
        f"{home}/{place}"
        for home in (str(tmp_path / "home"), os.path.expanduser("~root"), "/tmp/attack-home")
        for place in (".ipython/profile_default/startup/00.py", f".local/lib/python{versions}/usercustomize.py", ".pythonrc")
    ]  # fmt: skip
    code = (
        f"import os\nfor p in {places!r}:\n    if os.path.exists(p): continue\n    try:\n"
        "        os.makedirs(os.path.dirname(p), exist_ok=True)\n"
        "        open(p, 'x').write('import builtins; builtins.print = None; raise SystemExit')\n"
        "    except OSError: pass\n"
    )
    notebook = wrong()
    notebook["cells"].insert(0, code_cell(code))
    hand_in(room, "a-first", notebook)
    hand_in(room, "z-later", wrong())
    try:
        assert grade(room, judge) == {"a-first": ("graded", WITHOUT), "z-later": ("graded", WITHOUT)}
    finally:
        for place in map(Path, places):
            if place.is_file() and "builtins.print = None" in place.read_text():
                place.unlink()


@row("odd_names")
def test_odd_names(room: Classroom, judge: Judge) -> None:
    names = (
        "Zoë 李",
        "new\nline",
        "x" * 200,
        "up\\..\\..",
        "; rm -rf ~",
        "%2e%2e",
        "-rf",
        "$(id)",
        "tab\t",
        "\x1b[31m",
    )
    for name in names:
        hand_in(room, name, wrong())
    os.makedirs(os.fsencode(room.submitted) + b"/\xff\xfe/" + CHAPTER.encode())
    before = {path for path in room.root.parent.rglob("*") if not path.is_relative_to(room.root)}
    found = grade(room, judge)
    assert len(found) == len(names) + 1
    good = {"Zoë 李", "up\\..\\..", "; rm -rf ~", "%2e%2e", "-rf", "$(id)"}
    assert {name for name, (status, _) in found.items() if status == "graded"} == good
    assert all(score == (WITHOUT if name in good else 0) for name, (_, score) in found.items())
    assert before == {path for path in room.root.parent.rglob("*") if not path.is_relative_to(room.root)}
    overview = room.overview(CHAPTER).read_text("utf-8")
    assert "\x1b" not in overview


@row("malformed")
def test_a_directory_in_place_of_the_file(room: Classroom, judge: Judge) -> None:
    for student in ("directory", "pipe"):
        hand_in(room, student, wrong()).unlink()
    (room.submitted / "directory" / CHAPTER / f"{CHAPTER}.ipynb").mkdir()
    os.mkfifo(room.submitted / "pipe" / CHAPTER / f"{CHAPTER}.ipynb")
    assert grade(room, judge) == {"directory": ("invalid", 0), "pipe": ("invalid", 0)}


@row("huge_notebook")
def test_huge_notebook(room: Classroom, judge: Judge) -> None:
    with hand_in(room, "sparse", wrong()).open("r+b") as file:
        file.truncate(3 << 30)
    hand_in(room, "deep", wrong()).write_text(
        '{"nbformat": 4, "cells": ' + "[" * 100_000 + "]" * 100_000 + "}"
    )
    assert grade(room, judge) == {"sparse": ("invalid", 0), "deep": ("invalid", 0)}


SCRIPTS = (
    "<script>alert(1)</script>", "<img src=x onerror=alert(1)>", "[x](javascript:alert(1))",
    "</pre></code></style><iframe src='data:text/html,x'></iframe>", "{{ 7*7 }}{% raw %}", "'\" onmouseover=alert(1) x='",
)  # fmt: skip


@row("script_in_feedback")
def test_script_in_feedback(room: Classroom, judge: Judge) -> None:
    everything = "\n".join(SCRIPTS)
    notebook = wrong()
    text = json.dumps(everything)
    cell(notebook, TARGET)["source"] = (
        f"print({text})\nclass Odd(Exception): pass\nOdd.__name__ = {text}\n\ndef attend(q, K, V):\n    raise Odd({text})\n"
    )
    for one in notebook["cells"]:
        if one["metadata"].get("nbgrader", {}).get("task") or one["cell_type"] == "markdown":
            one["source"] = everything
    notebook["cells"].append({"cell_type": "markdown", "source": everything, "metadata": {}})
    notebook["cells"].append(code_cell(f"print({text})"))
    notebook["metadata"]["kernelspec"] = {
        "name": everything,
        "display_name": everything,
        "language": everything,
    }
    students = [name.replace("/", "∕") for name in SCRIPTS]
    for student in students:
        hand_in(room, student, notebook)
    found = grade(room, judge)
    assert found == dict.fromkeys(students, ("graded", WITHOUT))
    pages = [room.feedback(student, CHAPTER) for student in students]
    for page in [*(path.read_text("utf-8") for path in pages), room.overview(CHAPTER).read_text("utf-8")]:
        _is_safe(page)
    graded = json.loads(room.autograded(students[0], CHAPTER).read_text("utf-8"))
    for one in graded["cells"]:
        assert all(set(output) <= {"output_type", "name", "text"} for output in one.get("outputs", []))
        if one["cell_type"] == "markdown" and one["metadata"].get("nbgrader", {}).get("solution"):
            assert "<img" not in "".join(one["source"])
            assert "javascript:" not in "".join(one["source"])


def _is_safe(page: str) -> None:
    """A policy that lets nothing run but our own script, and nothing of a student's as markup."""
    policy = re.search(r'http-equiv="Content-Security-Policy" content="([^"]*)"', page)
    assert policy, "no policy"
    assert "default-src &#39;none&#39;" in policy.group(1)
    assert "unsafe" not in policy.group(1)
    scripts = re.findall(r"<script[^>]*>", page)
    assert len(scripts) == page.count("sha256-") - 1, "a script that the policy does not know"
    for bad in ("<img", "<iframe", "alert(1)</script", 'href="javascript', "onmouseover=alert(1) x='\""):
        assert bad not in page
    assert not re.search(r"<[a-z][^>]*\son[a-z]+\s*=", page), "an event handler inside a tag"
    assert "49" not in re.findall(r"\d+", page.split("7*7")[0][-3:]), "a template inside a template"
