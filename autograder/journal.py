"""The journal of a chapter's grading: what was judged and what was written, so that nothing is lost or done twice.

One JSON record a line, appended and forced to the disk. A record that a crash cut short is not read, and is cut off
before the next one is written. The last record of a key wins.
"""

from __future__ import annotations

import hashlib
import json
import os
import sys
from pathlib import Path
from typing import Any

import attention_from_scratch
import autograder
from autograder.classroom import Classroom
from autograder.report import SubmissionReport

# Modules of this package that cannot change a verdict; a change in any other one means judging again.
_PRESENTATION = frozenset(
    """
    bundle class_result class_setup classroom dask_judges export feedback formgrader grade graded_notebook
    gradebook gradebook_view journal killmatrix levels overview pages plain quick results sample similar stability
    submitted workers
    """.split()  # noqa: SIM905
)


class Journal:
    """An append-only file of records; safe to read after a crash at any byte."""

    def __init__(self, path: Path) -> None:
        path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        self._descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        self._judged: dict[str, dict[str, Any]] = {}
        self._written: dict[str, dict[str, str]] = {}
        self._attempts: dict[str, list[str]] = {}
        self._end = self._read(path)

    def _read(self, path: Path) -> int:
        end = 0
        for line in path.read_bytes().splitlines(keepends=True):
            try:
                record = json.loads(line) if line.endswith(b"\n") else None
            except ValueError:
                record = None
            if record is not None:
                self._take(record)
            if line.endswith(b"\n"):
                end += len(line)
        return end

    def _take(self, record: dict[str, Any]) -> None:
        if record["kind"] == "judged":
            self._judged[record["key"]] = record["report"]
            whose, content = record.get("student", ""), record.get("content", "")  # older journals do not say
            seen = self._attempts.setdefault(whose, [])
            if content not in seen:
                seen.append(content)
        else:
            self._written[record["student"]] = record

    def _append(self, record: dict[str, Any]) -> None:
        line = json.dumps(record, ensure_ascii=True, separators=(",", ":")).encode() + b"\n"
        os.ftruncate(self._descriptor, self._end)
        done = 0
        while done < len(line):
            done += os.pwrite(self._descriptor, line[done:], self._end + done)
        os.fsync(self._descriptor)
        self._end += len(line)
        self._take(record)

    def report(self, key: str) -> SubmissionReport | None:
        """What was judged under a key, if it was."""
        data = self._judged.get(key)
        return None if data is None else SubmissionReport.from_dict(data)

    def judged(self, key: str, student: str, content: bytes, report: SubmissionReport) -> None:
        """Keep a report. Raises OSError where the disk does not take it; the journal stays readable."""
        record = {"kind": "judged", "key": key, "student": student, "report": report.to_dict()}
        self._append(record | {"content": content_digest(content)})

    def attempt(self, student: str, content: bytes) -> int:
        """Which of a student's different submissions this is, from 0; one that comes again keeps its number."""
        seen = self._attempts.get(student, [])
        digest = content_digest(content)
        return seen.index(digest) if digest in seen else len(seen)

    def written(self, student: str) -> dict[str, str]:
        """The last time that this student's grade was written: `key`, `content`, `state`, or nothing."""
        return self._written.get(student, {})

    def mark_written(self, student: str, key: str, content: str, state: str, seconds: float) -> None:
        """Note that the gradebook and the files hold the result of a key.

        `content` is the submission's digest, `state` what else the files and the grade depend on, `seconds` how long
        the writing took.
        """
        record = {"kind": "written", "student": student, "key": key, "content": content, "state": state}
        self._append(record | {"seconds": round(seconds, 4)})

    def close(self) -> None:
        """Close the file."""
        os.close(self._descriptor)


def judging_key(room: Classroom, chapter: str, isolation: str) -> bytes:
    """What a verdict depends on besides the submission: tests, library, judge, limits, seed policy, level."""
    digest = hashlib.sha256(f"journal-2\0{chapter}\0{isolation}\0{sys.version_info[:2]}\0".encode())
    digest.update(hashlib.sha256(b"seed-2" + room.secret).digest())
    digest.update(code_digest(chapter.split("_", 1)[1]))
    private = room.private_tests(chapter)
    digest.update(private.read_bytes() if private else b"no private tests")
    return digest.digest()


def content_digest(content: bytes) -> str:
    """What stands in the journal for a submission's bytes."""
    return hashlib.sha256(content).hexdigest()


def submission_key(base: bytes, student: str, content: bytes) -> str:
    """The journal's key of one submission."""
    digest = hashlib.sha256(base + os.fsencode(student) + b"\0")
    digest.update(hashlib.sha256(content).digest())
    return digest.hexdigest()


def code_digest(slug: str | None = None) -> bytes:
    """What the code of the judge, the library and the hidden tests (of one chapter, or of all) is."""
    digest = hashlib.sha256()
    for path in _verdict_files(slug or "*"):
        digest.update(f"{path.parent.name}/{path.name}\0".encode())
        digest.update(hashlib.sha256(path.read_bytes()).digest())
    return digest.digest()


def _verdict_files(slug: str) -> list[Path]:
    grading = Path(next(iter(autograder.__path__)))
    library = Path(next(iter(attention_from_scratch.__path__)))
    files = [path for path in grading.glob("*.py") if path.stem not in _PRESENTATION]
    files += [path for path in library.rglob("*.py") if "figures" not in path.parts]
    return sorted([*files, *(grading / "hidden").glob(f"{slug}.py")])
