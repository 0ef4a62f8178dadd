"""Regenerates `notebooks/` and `solutions/`, or says what in them is out of step."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

import nbformat

from attention_from_scratch.whole_files import write_whole
from coursebuild.chapter import Chapter, all_chapters, full_name
from coursebuild.check import faults_of
from coursebuild.compose import dumps, release_notebook, solution_notebook
from coursebuild.errors import Fault, shown
from coursebuild.nbgrading import digest
from coursebuild.paths import REPOSITORY, Paths
from coursebuild.reader import read_chapter


@dataclass
class Outcome:
    """What a release did, or would do."""

    written: list[Path] = field(default_factory=list)
    unchanged: list[Path] = field(default_factory=list)
    removed: list[Path] = field(default_factory=list)
    kept: list[tuple[Path, Path]] = field(default_factory=list)
    reasons: dict[Path, str] = field(default_factory=dict)
    faults: list[Fault] = field(default_factory=list)


def release(paths: Paths = REPOSITORY, names: Sequence[str] = (), *, check: bool = False) -> Outcome:
    """Write both notebooks of each chapter (all of them by default); with `check`, only compare.

    A chapter with faults is left out, and its faults are in the outcome. A student notebook in which somebody has
    worked is kept beside the new one as `NN_slug.edited.ipynb`.
    """
    outcome = Outcome()
    wanted = [full_name(name, paths) for name in names] or all_chapters(paths)
    for name in wanted:
        chapter = read_chapter(name, paths)
        faults = faults_of(chapter)
        outcome.faults += faults
        if not faults:
            for path, text in generated(chapter).items():
                _settle(outcome, path, text, check)
    if not names:
        _remove_orphans(outcome, paths, check)
    return outcome


def generated(chapter: Chapter) -> dict[Path, str]:
    """The two files of a chapter, and what they must hold."""
    file = f"{chapter.name}.ipynb"
    return {
        chapter.paths.notebooks / file: dumps(release_notebook(chapter)),
        chapter.paths.solutions / file: dumps(solution_notebook(chapter)),
    }


def _settle(outcome: Outcome, path: Path, text: str, check: bool) -> None:
    try:
        old = path.read_text(encoding="utf-8")
    except (FileNotFoundError, UnicodeDecodeError):
        old = None
    if old == text:
        outcome.unchanged.append(path)
        return
    outcome.written.append(path)
    outcome.reasons[path] = "is missing" if old is None and not path.exists() else "differs from its sources"
    if check:
        return
    if path.exists() and is_edited(path):
        kept = _free_name(path)
        path.rename(kept)
        outcome.kept.append((path, kept))
    write_whole(path, text)


def is_edited(path: Path) -> bool:
    """Whether somebody changed a cell of a generated notebook; outputs alone do not count."""
    try:
        notebook = nbformat.read(path, as_version=4)
        recorded = notebook.metadata["course"]["release"]
    except Exception:  # not a notebook that we wrote, so not ours to throw away
        return True
    return path.parent.name == "notebooks" and digest(notebook) != recorded


def _free_name(path: Path) -> Path:
    number = 1
    while True:
        suffix = ".edited" if number == 1 else f".edited-{number}"
        kept = path.with_name(f"{path.stem}{suffix}.ipynb")
        if not kept.exists():
            return kept
        number += 1


def _remove_orphans(outcome: Outcome, paths: Paths, check: bool) -> None:
    """Remove generated notebooks whose chapter is gone; anything else in the rooms is left alone."""
    known = set(all_chapters(paths))
    for room in (paths.notebooks, paths.solutions):
        for path in sorted(room.glob("[0-9][0-9]_*.ipynb")):
            if path.stem in known or ".edited" in path.name or is_edited(path):
                continue
            outcome.removed.append(path)
            outcome.reasons[path] = "has no chapter"
            if not check:
                path.unlink()


def out_of_step(outcome: Outcome) -> list[str]:
    """One line for each file that is not what its sources say."""
    return [f"{shown(path)} {outcome.reasons[path]}" for path in [*outcome.written, *outcome.removed]]
