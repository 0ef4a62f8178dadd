"""Find and read what was handed in: regular files only, no links followed, capped in size, whatever the names."""

from __future__ import annotations

import errno
import os
import stat
from collections.abc import Sequence
from dataclasses import dataclass

from autograder.classroom import Classroom
from coursebuild.errors import CourseError

MAX_NOTEBOOK_BYTES = 32 * 1024 * 1024
MAX_NAME = 128  # what nbgrader's gradebook holds
_DIRECTORY = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
_FILE = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC


@dataclass(frozen=True)
class Submission:
    """One submission as found: its bytes, or the reason why there are none that count."""

    student: str
    content: bytes | None
    reason: str = ""
    timestamp: str | None = None
    secret: str | None = None

    def for_the_exchange(self) -> dict[str, str]:
        """The files by which nbgrader's exchange knows whose a feedback page is; none for what did not come from it."""
        if self.timestamp is None or self.secret is None:
            return {}
        return {"timestamp.txt": self.timestamp, "submission_secret.txt": self.secret}


def name_fault(student: str) -> str:
    """Why a directory's name cannot be a student in the gradebook, or nothing."""
    try:
        student.encode("utf-8")
    except UnicodeEncodeError:
        return "the directory's name is not UTF-8; rename it"
    if not student.isprintable():
        return "the directory's name holds a control character; rename it"
    if len(student) > MAX_NAME:
        return f"the directory's name is longer than {MAX_NAME} characters; rename it"
    return ""


def shown(student: str) -> str:
    """A student's name that is safe to print, whatever it holds."""
    if name_fault(student) == "":
        return student
    printable = ascii(student)[1:-1]
    return printable if len(printable) <= 60 else printable[:57] + "…"


def find(room: Classroom, chapter: str, students: Sequence[str] = ()) -> list[str]:
    """The students with a submission of a chapter, sorted; only those named, where some are."""
    try:
        names = [name for name in os.listdir(room.submitted) if not name.startswith(".")]
    except OSError as error:
        raise CourseError(
            f"{room.submitted} cannot be read ({error.strerror}); submissions lie in "
            f"{room.submitted}/STUDENT/{chapter}/{chapter}.ipynb"
        ) from error
    found = sorted(name for name in names if _handed_in(room, name, chapter))
    missing = [student for student in students if student not in found]
    if missing:
        near = f"; there are {', '.join(map(shown, found[:8]))}" if found else "; nobody has handed it in"
        raise CourseError(f"no submission of {chapter} by {', '.join(map(shown, missing))}{near}")
    if not found:
        raise CourseError(f"nobody has handed in {chapter}: there is no {room.submitted}/STUDENT/{chapter}")
    return [name for name in found if not students or name in students]


def _handed_in(room: Classroom, student: str, chapter: str) -> bool:
    directory = room.submitted / student
    return directory.is_symlink() or os.path.lexists(directory / chapter)


def read(room: Classroom, student: str, chapter: str) -> Submission:
    """Read one submission without following any link on the way. The reason says what is wrong with it."""
    fault = name_fault(student)
    if fault:
        return Submission(student, None, fault)
    opened: list[int] = []
    try:
        opened.append(os.open(room.submitted, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC))
        for name in (student, chapter):
            opened.append(os.open(name, _DIRECTORY, dir_fd=opened[-1]))
        timestamp, secret = (_line(opened[-1], name) for name in ("timestamp.txt", "submission_secret.txt"))
        content, reason = _notebook(opened[-1], f"{chapter}.ipynb")
        return Submission(student, content, reason, timestamp, secret)
    except OSError as error:
        return Submission(student, None, f"{student}/{chapter} {_why(error)}")
    finally:
        for descriptor in opened:
            os.close(descriptor)


def _notebook(directory: int, name: str) -> tuple[bytes | None, str]:
    try:
        content = _regular(directory, name, MAX_NOTEBOOK_BYTES)
    except FileNotFoundError:
        others = sorted(other for other in os.listdir(directory) if other.endswith(".ipynb"))
        beside = f"; there is {shown(others[0])}, rename it" if others else ""
        return None, f"there is no {name}{beside}"
    except ValueError as error:
        return None, f"{name} {error}"
    except OSError as error:
        return None, f"{name} {_why(error)}"
    if not content.strip():
        return None, f"{name} is empty"
    return content, ""


def _why(error: OSError) -> str:
    if error.errno in (errno.ELOOP, errno.ENOTDIR):
        return "is not a directory or file of its own but a link, and links are not followed"
    if error.errno == errno.EISDIR:
        return "is a directory, not a file"
    return f"cannot be read ({error.strerror})"


def _regular(directory: int, name: str, limit: int) -> bytes:
    descriptor = os.open(name, _FILE, dir_fd=directory)
    with os.fdopen(descriptor, "rb") as file:
        status = os.fstat(file.fileno())
        if stat.S_ISDIR(status.st_mode):
            raise ValueError("is a directory, not a file")
        if not stat.S_ISREG(status.st_mode):
            raise ValueError("is not a regular file")
        if status.st_size > limit:
            raise ValueError(f"is larger than {limit // 2**20} MiB")
        content = file.read(limit + 1)
    if len(content) > limit:
        raise ValueError(f"is larger than {limit // 2**20} MiB")
    return content


def _line(directory: int, name: str) -> str | None:
    try:
        return _regular(directory, name, 1000).decode("utf-8").strip() or None
    except (OSError, ValueError):
        return None
