"""`course bench build`: how long the book takes, from nothing, with nothing changed, and with one chapter changed.

The measure works on a copy of the course in a folder of its own, so it touches nothing that is built already.
"""

from __future__ import annotations

import json
import platform
import shutil
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from attention_from_scratch.machine import cores
from attention_from_scratch.whole_files import write_whole
from coursebuild.chapter import all_chapters
from coursebuild.paths import REPOSITORY, Paths

COPIED = ("book", "src", "autograder", "_config.yml", "constraints.txt", "pyproject.toml")


def run(json_file: Path | None = None) -> int:
    """The command: measure, print a line a case, write the JSON where asked."""
    figures = measure()
    print(f"{figures['chapters']} chapters on {figures['machine']}")
    for case in figures["cases"]:
        steps = ", ".join(f"{name} {seconds:.1f} s" for name, seconds in case["steps"].items())
        print(f"{case['case']:<22} {case['seconds']:7.1f} s   ({steps})")
    if json_file:
        write_whole(json_file, json.dumps(figures, indent=1) + "\n")
    return 0


def measure(paths: Paths = REPOSITORY) -> dict[str, Any]:
    """The times of the three cases, each step by step."""
    with tempfile.TemporaryDirectory(prefix="course-bench-") as folder:
        copy = _copy(paths, Path(folder))
        chapter = copy.chapters / f"{all_chapters(copy)[0]}.md"
        cases = [_case("cold", copy), _case("warm, nothing changed", copy)]
        _change_prose(chapter)
        cases.append(_case("one chapter's prose", copy))
        _change_code(chapter)
        cases.append(_case("one chapter's code", copy))
        return {"chapters": len(all_chapters(copy)), "machine": machine(), "cases": cases}


def machine() -> str:
    """The machine and the versions, in words."""
    import torch

    return f"{cores()} cores, {platform.machine()}, Python {platform.python_version()}, torch {torch.__version__}"


def _copy(paths: Paths, folder: Path) -> Paths:
    for name in COPIED:
        source = paths.root / name
        if source.is_dir():
            shutil.copytree(source, folder / name, ignore=shutil.ignore_patterns("__pycache__"))
        elif source.is_file():
            shutil.copy2(source, folder / name)
    return Paths(folder)


def _change_prose(path: Path) -> None:
    path.write_text(path.read_text(encoding="utf-8").rstrip() + "\n\nOne sentence more.\n", encoding="utf-8")


def _change_code(path: Path) -> None:
    cell = "\n```{code-cell} ipython3\nprint('one cell more')\n```\n"
    path.write_text(path.read_text(encoding="utf-8") + cell, encoding="utf-8")


def _case(name: str, paths: Paths) -> dict[str, Any]:
    """One pass through the pipeline."""
    from coursebuild.book import build_html
    from coursebuild.book_pages import chapter_pages
    from coursebuild.release import release

    steps: dict[str, float] = {}
    _timed(steps, "notebooks", lambda: release(paths))
    pages = _timed(steps, "run", lambda: chapter_pages(paths=paths, quiet=True))
    _timed(steps, "html", lambda: build_html(pages, paths=paths, say=lambda text: None))
    return {"case": name, "seconds": round(sum(steps.values()), 2), "steps": steps}


def _timed(steps: dict[str, float], name: str, work: Callable[[], Any]) -> Any:
    started = time.perf_counter()
    result = work()
    steps[name] = round(time.perf_counter() - started, 2)
    return result
