"""A class on the disk: where its files lie, its secret, its configuration, and the lock that one grader holds."""

from __future__ import annotations

import fcntl
import hashlib
import hmac
import os
import secrets
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from traitlets.config.loader import Config, PyFileConfigLoader

from coursebuild.errors import CourseError

CONFIG = "nbgrader_config.py"
SECRET_BYTES = 32


@dataclass(frozen=True)
class Classroom:
    """The paths of one class directory; `name` of a chapter is NN_slug throughout."""

    root: Path

    @property
    def state(self) -> Path:
        """What grading remembers: the secret, the journal, the lock."""
        return self.root / ".course"

    @property
    def hidden(self) -> Path:
        """The instructor's private hidden tests."""
        return self.root / "hidden"

    @property
    def submitted(self) -> Path:
        """What the students handed in: submitted/STUDENT/CHAPTER/CHAPTER.ipynb."""
        return self.root / "submitted"

    def source(self, chapter: str) -> Path:
        """The source notebook, with solutions and the call of the hidden tests."""
        return self.root / "source" / chapter / f"{chapter}.ipynb"

    def release(self, chapter: str) -> Path:
        """The notebook as the students get it."""
        return self.root / "release" / chapter / f"{chapter}.ipynb"

    def autograded(self, student: str, chapter: str) -> Path:
        """The notebook with the verdicts, for formgrader."""
        return self.root / "autograded" / student / chapter / f"{chapter}.ipynb"

    def feedback(self, student: str, chapter: str) -> Path:
        """The page for the student."""
        return self.root / "feedback" / student / chapter / f"{chapter}.html"

    def overview(self, chapter: str) -> Path:
        """The page for the instructor."""
        return self.root / "overview" / f"{chapter}.html"

    def journal(self, chapter: str) -> Path:
        """What has been judged and written."""
        return self.state / "journal" / f"{chapter}.jsonl"

    def private_tests(self, chapter: str) -> Path | None:
        """The private hidden tests of a chapter, where the instructor keeps some."""
        path = self.hidden / f"{chapter.split('_', 1)[1]}.py"
        return path if path.is_file() else None

    @property
    def database(self) -> str:
        """The address of the gradebook, as nbgrader writes it."""
        return str(self.config().CourseDirectory.get("db_url", f"sqlite:///{self.root / 'gradebook.db'}"))

    @property
    def has_gradebook(self) -> bool:
        """Whether there is a gradebook to open (nbgrader would make an empty one)."""
        address = self.database
        return not address.startswith("sqlite:///") or Path(address.removeprefix("sqlite:///")).is_file()

    def config(self) -> Config:
        """The class's nbgrader configuration: the instructor's own late penalties and the like count."""
        try:
            config = PyFileConfigLoader(CONFIG, path=str(self.root)).load_config()
        except Exception as error:
            raise CourseError(f"{self.root / CONFIG} cannot be read ({error}); mend that file") from error
        config.CourseDirectory.root = str(self.root)
        return config

    @property
    def secret(self) -> bytes:
        """The key from which every seed is made."""
        path = self.state / "secret"
        try:
            key = bytes.fromhex(path.read_text(encoding="ascii").strip())
        except (OSError, ValueError) as error:
            raise CourseError(
                f"{path} cannot be read ({error}); `course class init {self.root}` makes a new one if it is gone"
            ) from error
        if len(key) < SECRET_BYTES:
            raise CourseError(
                f"{path} is too short to be a secret; delete it and run `course class init {self.root}`"
            )
        return key

    def seed(self, chapter: str, attempt: int) -> bytes:
        """The secret seed of everybody's first, second … submission of a chapter.

        The same for the whole class, because equal work must earn equal points also where a mistake shows with some
        inputs and not with others; another one for a student's next attempt, because who hands in again may have seen
        the inputs of the last one. Nobody without the class's secret can foresee them.
        """
        message = b"\0".join([b"seed-2", chapter.encode(), str(attempt).encode()])
        return hmac.new(self.secret, message, hashlib.sha256).digest()

    @contextmanager
    def lock(self) -> Iterator[None]:
        """Hold the class for one grader; a second one is refused. The lock ends with the process, even by kill -9."""
        path = self.state / "lock"
        try:
            descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        except OSError as error:
            raise CourseError(f"cannot write in {self.state} ({error.strerror}); grading needs to") from error
        try:
            try:
                fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                holder = os.read(descriptor, 100).decode("ascii", "replace").strip() or "another process"
                raise CourseError(
                    f"{self.root} is being graded by {holder}; wait until it is done, or stop it"
                ) from None
            os.ftruncate(descriptor, 0)
            os.pwrite(descriptor, f"process {os.getpid()} on {os.uname().nodename}\n".encode(), 0)
            yield
        finally:
            os.close(descriptor)


def open_class(directory: Path) -> Classroom:
    """The class in a directory; refuses what `course class init` did not make."""
    room = Classroom(Path(directory).resolve())
    if not room.root.is_dir():
        raise CourseError(
            f"there is no directory {directory}; make a class with `course class init {directory}`"
        )
    if not (room.root / CONFIG).is_file() or not room.state.is_dir():
        raise CourseError(
            f"{directory} is not a class directory; make it one with `course class init {directory}`"
        )
    return room


def new_secret(room: Classroom) -> None:
    """Make the class's secret, once, readable by its owner only."""
    room.state.mkdir(mode=0o700, exist_ok=True)
    try:
        descriptor = os.open(room.state / "secret", os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    except FileExistsError:
        return
    with os.fdopen(descriptor, "w", encoding="ascii") as file:
        file.write(secrets.token_hex(SECRET_BYTES) + "\n")
