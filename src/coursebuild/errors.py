"""Errors that a person can act on: what is wrong, where, and the mend."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path


class CourseError(Exception):
    """Something that the person at the keyboard can mend; its message is all that they see."""


@dataclass(frozen=True, order=True)
class Fault:
    """One thing wrong in a file, as one sentence that says what, and the mend."""

    path: Path
    line: int
    text: str

    def __str__(self) -> str:
        return f"{shown(self.path)}:{self.line}: {self.text}"


def shown(path: Path) -> str:
    """A path as a person wants to read it: from here, where it lies below here."""
    try:
        return str(path.relative_to(Path.cwd()))
    except ValueError:
        return str(path)


def refuse(faults: Iterable[Fault]) -> None:
    """Raise all faults at once, if there are any."""
    listed = sorted(set(faults))
    if listed:
        raise CourseError("\n".join(map(str, listed)))
