"""Why a student's code gave no value: one sentence for the student, and what is known for the instructor."""

from __future__ import annotations

import builtins


class StudentFault(Exception):
    """The student's code did not give a value. One sentence for the student; the rest is for the instructor."""

    for_student = "your code gave no result"

    @property
    def for_instructor(self) -> str:
        """The same with everything that is known."""
        return str(self) or self.for_student


class StudentError(StudentFault):
    """The student's code raised an exception. `kinds` are the names of its class and of the classes above it."""

    def __init__(
        self, kinds: list[str], text: str, line: int | None, cell: str, missing: bool = False
    ) -> None:
        self.kinds, self.text, self.line, self.cell = tuple(kinds), text, line, cell
        self.kind = self.kinds[0] if self.kinds else "Exception"
        self.missing = missing
        super().__init__(f"{self.kind}: {text}" + (f" ({cell} line {line})" if line else ""))

    @property
    def for_student(self) -> str:  # type: ignore[override]
        """Class and line only: the text of an exception could carry out what a hidden test sent in."""
        if self.missing:
            return "your notebook does not define it"
        known = next((kind for kind in self.kinds if _is_builtin(kind)), "an exception")
        where = f" in line {self.line} of the cell {self.cell}" if self.line and self.cell else ""
        return f"your code raised {known}{where or (f' in line {self.line}' if self.line else '')}"


class StudentTimeout(StudentFault):
    """The student's code was stopped because it took too long."""

    def __init__(self, seconds: float) -> None:
        super().__init__(f"stopped after {seconds:g} s")
        self.for_student = f"your code was stopped after {seconds:g} seconds"


class StudentCrash(StudentFault):
    """The process of the student's code ended."""

    def __init__(self, how: str = "the process ended") -> None:
        super().__init__(how)
        self.for_student = f"your code ended its own process: {how}"


class BadReply(StudentFault):
    """What came back is not a value that a test can look at."""

    for_student = "your code returned something that is no plain value: return numbers, lists or tensors"


def _is_builtin(kind: str) -> bool:
    found = getattr(builtins, kind, None)
    return isinstance(found, type) and issubclass(found, BaseException)
