"""Turns `_config.yml` and `book/_toc.yml` into what Sphinx reads: a `conf.py` and a table of contents, in the stage.

`-n -W` are Sphinx's, and Jupyter Book's own command cannot leave out its extensions that talk to other hosts, so the
settings are Jupyter Book's and the build is Sphinx's.
"""

from __future__ import annotations

import pprint
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import yaml

from coursebuild.errors import CourseError, shown
from coursebuild.paths import Paths

# both would bring scripts from other hosts: running code in the page, and comments
_LEFT_OUT = {"sphinx_thebe", "sphinx_comments", "sphinx.ext.intersphinx"}
_CHAPTERS = "chapters/"
# in a book of some of the chapters, links to the others lead nowhere, which is no fault
_LINKS = ["ref.doc", "ref.ref", "ref.eq", "myst.xref_missing"]


def write_settings(
    stage: Path,
    paths: Paths,
    heads: dict[str, dict[str, Any]],
    *,
    solutions: bool,
    extra: Sequence[str] = (),
) -> None:
    """Write `_toc.yml` and `conf.py` into the stage, if they differ from what stands there.

    `extra` are pages that the authored table of contents does not have; they come last.
    """
    contents = _contents(paths.book / "_toc.yml", set(heads))
    contents["parts"][-1]["chapters"] += [{"file": name} for name in extra]
    _write(stage / "_toc.yml", yaml.safe_dump(contents, sort_keys=False, allow_unicode=True))
    settings = _sphinx_settings(paths.root / "_config.yml", stage)
    settings |= {"course_chapters": heads, "course_solutions": solutions}
    if set(heads) < {path.stem for path in paths.chapters.glob("*.md")}:
        settings["suppress_warnings"] = [*settings.get("suppress_warnings", []), *_LINKS]
    if solutions:
        settings["html_title"] += ", instructors’ edition"
    _write(stage / "conf.py", "globals().update(\n" + pprint.pformat(settings, width=110) + "\n)\n")


def _contents(path: Path, chapters: set[str]) -> dict[str, Any]:
    """The table of contents with just these chapters; a part without any is left out."""
    try:
        contents: dict[str, Any] = yaml.safe_load(path.read_text(encoding="utf-8"))
    except (OSError, yaml.YAMLError) as problem:
        raise CourseError(f"{shown(path)} cannot be read: {problem}") from problem
    listed = set()
    for part in contents.get("parts", []):
        listed |= {entry["file"] for entry in part["chapters"]}
        part["chapters"] = [entry for entry in part["chapters"] if _kept(entry["file"], chapters)]
    contents["parts"] = [part for part in contents.get("parts", []) if part["chapters"]]
    if missing := sorted(name for name in chapters if _CHAPTERS + name not in listed):
        raise CourseError(f"{shown(path)} does not list {', '.join(missing)}; add it to its part")
    return contents


def _kept(file: str, chapters: set[str]) -> bool:
    return not file.startswith(_CHAPTERS) or file.removeprefix(_CHAPTERS) in chapters


def _sphinx_settings(config: Path, stage: Path) -> dict[str, Any]:
    from jupyter_book.config import get_final_config

    if not config.is_file():
        raise CourseError(f"{shown(config)} is missing; it holds the settings of the book")
    settings, _ = get_final_config(
        user_yaml=config, cli_config={"latex_individualpages": False}, sourcedir=stage
    )
    settings["extensions"] = [name for name in settings["extensions"] if name not in _LEFT_OUT]
    settings["html_theme_options"].pop("launch_buttons", None)
    return dict(settings)


def _write(path: Path, text: str) -> None:
    if not path.is_file() or path.read_text(encoding="utf-8") != text:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, encoding="utf-8")
