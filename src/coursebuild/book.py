"""The HTML book: executed chapters and authored pages in, a folder of pages out that asks nothing of any other host.

The pages are laid into a staging directory, where only what changed is written anew; Sphinx then rebuilds those pages.
When nothing changed at all, Sphinx is not even started.
"""

from __future__ import annotations

import hashlib
import json
import shutil
import subprocess
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from coursebuild.book_config import write_settings
from coursebuild.errors import CourseError, shown
from coursebuild.leaks import Secret, leaks, leaks_in_folder, secrets, text_of_notebook
from coursebuild.mathjax import copy_mathjax
from coursebuild.paths import REPOSITORY, Paths

STAMP = ".course-build"
_AUTHORED = ("*.md", "*.bib", "_include/*.md", "_static/*")


@dataclass(frozen=True)
class Page:
    """A chapter as the book shows it."""

    name: str
    notebook: str
    """The executed notebook as JSON: stubs, or in the instructors' edition solutions, with the solved outputs."""
    download: str
    """The student's notebook as JSON."""
    head: dict[str, Any]
    """`part`, `points` and `minutes`, for the line under the title."""


def build(
    names: Sequence[str] | None = None,
    *,
    solutions: bool = False,
    output: Path | None = None,
    paths: Paths = REPOSITORY,
    say: Callable[[str], None] = print,
) -> Path:
    """Run the chapters (all, or those named), make the book and return its first page."""
    from coursebuild.book_pages import chapter_pages

    extra = {}
    if solutions and paths == REPOSITORY:
        from coursebuild import kill_matrix

        extra = {"kill_matrix": kill_matrix.page(names or (), say)}
    return build_html(
        chapter_pages(names, solutions=solutions, paths=paths, say=say),
        solutions=solutions, output=output, extra=extra, paths=paths, say=say,
    )  # fmt: skip


def build_html(
    pages: Sequence[Page],
    *,
    solutions: bool = False,
    output: Path | None = None,
    extra: Mapping[str, str] | None = None,
    paths: Paths = REPOSITORY,
    say: Callable[[str], None] = print,
) -> Path:
    """Make the book of these chapters in `output` and return its first page.

    `extra` are pages that are made and not written, by name: their Markdown, put at the end of the contents.
    """
    made = dict(extra or {})
    edition = "instructor" if solutions else "reader"
    target = output or paths.build / ("html-instructor" if solutions else "html")
    hidden = [] if solutions else secrets(paths)
    if not solutions:
        _refuse_leaks(pages, hidden)
    _refuse_foreign(target)
    # two builds into two folders may run at once, so each folder has a stage of its own
    room = edition if output is None else f"{edition}-{_short(str(target.resolve()))}"
    stage = paths.build / "stage" / room
    _lay(stage, paths, pages, made)
    heads = {page.name: page.head for page in pages}
    write_settings(stage, paths, heads, solutions=solutions, extra=list(made))
    digest = _digest(stage, pages)
    stamp = target / STAMP
    if stamp.is_file() and stamp.read_text() == digest:
        say(f"The book is up to date: {shown(target / 'index.html')}")
        return target / "index.html"
    target.mkdir(parents=True, exist_ok=True)
    stamp.write_text("being built")
    say(f"Making the HTML of {len(pages)} chapters …")
    _run_sphinx(stage, target, paths.build / "doctrees" / room)
    for path in (target / "chapters").glob("*.html"):
        if path.stem not in {page.name for page in pages}:
            path.unlink()  # of an earlier build with other chapters
    copy_mathjax(target / "_static" / "mathjax")
    _write_all(target / "notebooks", {f"{page.name}.ipynb": page.download.encode() for page in pages})
    if not solutions:
        _remove_leaks(target, hidden)
    stamp.write_text(digest)
    say(f"The book is ready: {shown(target / 'index.html')}")
    return target / "index.html"


def _lay(stage: Path, paths: Paths, pages: Sequence[Page], extra: Mapping[str, str]) -> None:
    files = {f"chapters/{page.name}.ipynb": page.notebook.encode() for page in pages}
    files |= {f"{name}.md": text.encode() for name, text in extra.items()}
    for pattern in _AUTHORED:
        for path in sorted(paths.book.glob(pattern)):
            if path.is_file():
                files[path.relative_to(paths.book).as_posix()] = path.read_bytes()
    _write_all(stage, files)


def _write_all(folder: Path, files: dict[str, bytes]) -> None:
    """Make the folder hold just these files, touching only those that differ (Sphinx looks at the times)."""
    generated = {"conf.py", "_toc.yml"}
    for path in sorted(folder.rglob("*")) if folder.is_dir() else []:
        name = path.relative_to(folder).as_posix()
        if path.is_file() and name not in files and name not in generated:
            path.unlink()
    for name, content in files.items():
        path = folder / name
        if path.is_file() and path.read_bytes() == content:
            continue
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content)


def _digest(stage: Path, pages: Sequence[Page]) -> str:
    """Of everything that the HTML depends on: the staged files, the downloads and the code that makes pages."""
    sources = Path(__file__).parent
    code = [
        *sources.glob("*book*.py"),
        *sources.glob("sphinx_*.py"),
        sources / "mathjax.py",
        sources / "leaks.py",
    ]
    figures = [
        path for path in (sources.parent / "attention_from_scratch/figures").iterdir() if path.is_file()
    ]
    digest = hashlib.sha256()
    for path in sorted([*stage.rglob("*"), *code, *figures]):
        if path.is_file():
            digest.update(json.dumps([path.name, hashlib.sha256(path.read_bytes()).hexdigest()]).encode())
    for page in pages:
        digest.update(page.download.encode())
    return digest.hexdigest()


def _run_sphinx(stage: Path, target: Path, doctrees: Path) -> None:
    command = [sys.executable, "-m", "sphinx", "-b", "html", "-n", "-W", "--keep-going", "-q"]
    done = subprocess.run(
        [*command, "-d", str(doctrees), str(stage), str(target)], capture_output=True, text=True, check=False
    )
    if done.returncode:
        # a page that failed once must be read again, or the next build would call it good
        shutil.rmtree(doctrees, ignore_errors=True)
        words = [line for line in (done.stderr + done.stdout).splitlines() if line.strip()]
        raise CourseError("the book was not made; Sphinx says:\n" + "\n".join(words[-40:]))


def _refuse_leaks(pages: Sequence[Page], hidden: list[Secret]) -> None:
    found = [
        f"chapter {page.name} {said}"
        for page in pages
        for said in leaks("\n".join(map(text_of_notebook, (page.notebook, page.download))), hidden)
    ]
    if found:
        raise CourseError("\n".join(found) + "\nNothing was written; take that out of the chapter")


def _remove_leaks(target: Path, hidden: list[Secret]) -> None:
    """The last look, at the very files that readers get; one that leaks does not stay."""
    found = leaks_in_folder(target, hidden)
    for path in found:
        path.unlink()
    if found:
        said = [f"{shown(path)} {what}" for path, sentences in found.items() for what in sentences]
        raise CourseError("\n".join(said) + "\nThese files were removed; the book is not complete")


def _short(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()[:12]


def _refuse_foreign(target: Path) -> None:
    if target.is_file():
        raise CourseError(f"{shown(target)} is a file; name a folder for the book")
    if target.is_dir() and any(target.iterdir()) and not (target / STAMP).is_file():
        raise CourseError(
            f"{shown(target)} holds files that are not of this book; name an empty or a new folder with --output"
        )
