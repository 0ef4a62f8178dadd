"""`course class init` and `course class release`: an ordinary nbgrader course directory, and a chapter put into it."""

from __future__ import annotations

import hashlib
import json
import os
import re
import sys
from importlib.resources import files
from pathlib import Path
from typing import Any

import nbformat

from attention_from_scratch.whole_files import write_whole
from autograder.bundle import add_bundle
from autograder.classroom import CONFIG, Classroom, new_secret
from coursebuild.chapter import all_chapters, load
from coursebuild.compose import source_notebook
from coursebuild.errors import CourseError

DIRECTORIES = ("source", "release", "submitted", "hidden")


def init_class(directory: Path) -> tuple[Classroom, list[str]]:
    """Make a class directory, or complete one; nothing that is there is changed. Returns what was made."""
    room = Classroom(Path(directory).resolve())
    made: list[str] = []
    try:
        if room.root.is_dir() and not (room.root / CONFIG).exists() and any(room.root.iterdir()):
            raise CourseError(f"{directory} is not empty and is not a class; name a new directory")
        room.root.mkdir(parents=True, exist_ok=True)
        for name in DIRECTORIES:
            if not (room.root / name).is_dir():
                (room.root / name).mkdir()
                made.append(f"{name}/")
        for name in (CONFIG, "README.md", ".gitignore"):
            if not (room.root / name).exists():
                text = (
                    files("autograder")
                    .joinpath("templates", f"class_{name.lstrip('.')}.txt")
                    .read_text("utf-8")
                )
                write_whole(room.root / name, text)
                made.append(name)
        new_secret(room)
    except OSError as error:
        raise CourseError(f"cannot make a class in {directory}: {error.strerror or error}") from error
    return room, made


def release_chapter(room: Classroom, chapter: str) -> list[str]:
    """Put a chapter into the class: its source, its release with the student's package, and the gradebook's entries.

    Returns what the release directory holds.
    """
    if chapter not in all_chapters():
        raise CourseError(f"there is no chapter {chapter}; the chapters are {', '.join(all_chapters())}")
    with room.lock():
        try:
            _write_source(room, chapter)
            generate(room, chapter)
            add_bundle(room, chapter)
        except OSError as error:
            raise CourseError(
                f"cannot write the release of {chapter} in {room.root}: {error.strerror or error}"
            ) from error
    directory = room.release(chapter).parent
    return sorted(str(path.relative_to(directory)) for path in directory.rglob("*") if path.is_file())


def _write_source(room: Classroom, chapter: str) -> None:
    """Write the source notebook, unless the instructor changed the one that is there."""
    path, record = room.source(chapter), room.state / "sources.json"
    text = nbformat.writes(source_notebook(load(chapter)))
    known: dict[str, str] = json.loads(record.read_text("utf-8")) if record.exists() else {}
    if path.exists():
        present = path.read_bytes()
        if present == text.encode() or _digest(present) == known.get(chapter):
            pass
        else:
            raise CourseError(
                f"{path} was changed by hand and would be overwritten; move it away to release the course's own"
            )
    write_whole(path, text)
    known[chapter] = _digest(text.encode())
    write_whole(record, json.dumps(known, indent=1), mode=0o600)


def _digest(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()


def generate(room: Classroom, chapter: str) -> None:
    """nbgrader's own generate_assignment: cuts solutions and hidden tests, locks cells, fills the gradebook."""
    from nbgrader.converters import GenerateAssignment
    from nbgrader.coursedir import CourseDirectory
    from nbgrader.utils import capture_log

    config = room.config()
    config.CourseDirectory.assignment_id = chapter
    coursedir = CourseDirectory(config=config)
    converter = GenerateAssignment(coursedir=coursedir, config=config)
    converter.post_convert_hook = _no_hook  # the bundle is added afterwards, where an error is not swallowed
    converter.force = True
    here, path = Path.cwd(), os.environ.get("PATH", "")
    scripts = os.path.dirname(
        sys.executable
    )  # nbgrader calls `alembic` by name when it makes a new gradebook
    try:
        os.environ["PATH"] = os.pathsep.join([scripts, path or os.defpath])
        result: dict[str, Any] = capture_log(converter)
    finally:
        os.environ["PATH"] = path
        os.chdir(here)
    if not result["success"]:
        log = result.get("log", "")
        if "Cannot add or remove cells" in log or "submissions associated" in log:
            raise CourseError(
                f"the exercises of {chapter} are not those of the earlier release and submissions are graded already: "
                "release into a new class, or remove it from the gradebook (`nbgrader db assignment remove`)"
            )
        raise CourseError(f"nbgrader could not generate {chapter}: {_cause(log or result.get('error', ''))}")


def _cause(log: str) -> str:
    """The last line of the first traceback, which says what went wrong."""
    lines = [line for line in log.splitlines() if line.strip()]
    raised = [line for line in lines if re.match(r"\s*[A-Za-z_.]+(Error|Exception|Invalid\w*): ", line)]
    return (raised or lines or ["no reason was given"])[0].strip()


def _no_hook(**_: Any) -> None:
    return None
