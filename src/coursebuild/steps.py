"""Steps of `course make` that are left out when nothing that they read or wrote has changed since they succeeded."""

from __future__ import annotations

import hashlib
import json
import sys
from collections.abc import Callable, Iterable, Iterator
from importlib.metadata import distributions
from pathlib import Path

from attention_from_scratch.whole_files import write_whole
from coursebuild.paths import REPOSITORY, Paths

READ = ("book", "src", "autograder", "pyproject.toml", "constraints.txt")
SAMPLE = "_build/sample-class"
WRITTEN = {
    "release": ("notebooks", "solutions"),
    "build": ("_build/html",),
    "class sample": tuple(f"{SAMPLE}/{room}" for room in ("source", "release", "submitted")),
}


class Steps:
    """The steps of one run; what they read is looked at once, since none of them writes into it."""

    def __init__(self, paths: Paths = REPOSITORY) -> None:
        self.paths, self.read = paths, _contents(paths.root, READ)

    def run(self, name: str, step: Callable[[], int]) -> int:
        """Run a step, unless its files are just as they were after it last succeeded; returns its exit status."""
        record = self.paths.build / "steps.json"
        if _known(record).get(name) == self._state(name):
            print(f"course {name}: nothing has changed since the last time")
            return 0
        status = step()
        if status == 0:
            write_whole(record, json.dumps(_known(record) | {name: self._state(name)}, indent=1))
        return status

    def _state(self, name: str) -> list[str]:
        return [self.read, _times(self.paths.root, WRITTEN[name])]


def _known(record: Path) -> dict[str, list[str]]:
    try:
        found = json.loads(record.read_text("utf-8"))
    except (OSError, ValueError):
        return {}
    return found if isinstance(found, dict) else {}


def _contents(root: Path, names: Iterable[str]) -> str:
    """A digest of what a step reads: files by content, and the installed packages by version."""
    digest = hashlib.sha256(sys.version.encode())
    for package in sorted(f"{one.name} {one.version}\n" for one in distributions()):
        digest.update(package.encode())
    for path in _files(root, names):
        digest.update(f"{path.relative_to(root)}\0{hashlib.sha256(path.read_bytes()).hexdigest()}\n".encode())
    return digest.hexdigest()


def _times(root: Path, names: Iterable[str]) -> str:
    """A digest of what a step wrote: a file that somebody touched since counts as changed."""
    digest = hashlib.sha256()
    for path in _files(root, names):
        status = path.stat()
        digest.update(f"{path.relative_to(root)}\0{status.st_size} {status.st_mtime_ns}\n".encode())
    return digest.hexdigest()


def _files(root: Path, names: Iterable[str]) -> Iterator[Path]:
    for name in names:
        place = root / name
        found = sorted(place.rglob("*")) if place.is_dir() else [place]
        yield from (path for path in found if path.is_file() and "__pycache__" not in path.parts)
