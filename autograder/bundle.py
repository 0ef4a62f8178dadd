"""The package that students get with a chapter: the library without this chapter's and later chapters' answers."""

from __future__ import annotations

import ast
import logging
import shutil
import tomllib
from pathlib import Path

from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

from autograder.classroom import Classroom
from coursebuild.chapter import all_chapters
from coursebuild.errors import CourseError
from coursebuild.paths import ROOT
from coursebuild.syntax import parse

LIBRARY = ROOT / "src" / "attention_from_scratch"
PACKAGE = "attention_from_scratch"
STUDENT_EXTRAS = ("student", "weights", "kernels")
_LEFT_OUT = ("__pycache__", "*.pyc", ".*")


def withheld(chapter: str) -> set[str]:
    """The slugs whose modules a student of `chapter` must not get: its own and every later one's."""
    chapters = all_chapters()
    if chapter not in chapters:
        raise CourseError(f"there is no chapter {chapter}; the chapters are {', '.join(chapters)}")
    earlier = {name.split("_", 1)[1] for name in chapters[: chapters.index(chapter)]}
    known = {name.split("_", 1)[1] for name in chapters}
    tested = {path.stem for path in (ROOT / "autograder" / "hidden").glob("*.py") if path.stem != "__init__"}
    return (known | tested) - earlier


def bundled_files(chapter: str) -> list[Path]:
    """The files of the library that go into the bundle, relative to the package."""
    hidden = withheld(chapter)
    own = chapter.split("_", 1)[1]
    kept = []
    for path in sorted(LIBRARY.rglob("*")):
        relative = path.relative_to(LIBRARY)
        if (
            not path.is_file()
            or any(path.match(pattern) for pattern in _LEFT_OUT)
            or "__pycache__" in relative.parts
        ):
            continue
        stems = {part.split(".", 1)[0] for part in relative.parts}
        figure_of_this_chapter = relative.parts[0] == "figures" and relative.stem == own
        if stems & hidden and not figure_of_this_chapter:
            continue
        kept.append(relative)
    return _without_what_tells(kept, hidden)


def _without_what_tells(files: list[Path], hidden: set[str]) -> list[Path]:
    """Leave out modules that import a withheld one, those that import such a module, and so on."""
    imported = {path: _imported(path) for path in files if path.suffix == ".py"}
    while telling := {path for path in files if imported.get(path, set()) & hidden}:
        files = [path for path in files if path not in telling]
        hidden = hidden | {path.stem for path in telling if len(path.parts) == 1}
    return files


def _imported(path: Path) -> set[str]:
    """The modules of the package that a file of it imports, at any depth of the file."""
    tree = parse((LIBRARY / path).read_text(encoding="utf-8"))
    inside_figures = "figures" in path.parts
    names: set[str] = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            names |= {
                alias.name.removeprefix(f"{PACKAGE}.").split(".")[0]
                for alias in node.names
                if alias.name.startswith(f"{PACKAGE}.")
            }
        elif isinstance(node, ast.ImportFrom):
            module = node.module or ""
            beside = node.level == 1 and inside_figures  # a figure importing a figure, not a solution
            if (
                beside
                or (node.level == 0 and not module.startswith(PACKAGE))
                or module.startswith(f"{PACKAGE}.figures")
            ):
                continue
            rest = module.removeprefix(PACKAGE).lstrip(".")
            names |= {rest.split(".")[0]} if rest else {alias.name for alias in node.names}
    return names


def requirements() -> str:
    """A requirements file for a student's machine: what the notebooks need, at the course's own versions."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    extras = project["optional-dependencies"]
    asked = [*project["dependencies"], *(one for name in STUDENT_EXTRAS for one in extras[name])]
    pins = (ROOT / "constraints.txt").read_text(encoding="utf-8").splitlines()
    tested = {canonicalize_name(pin.name): pin for pin in map(Requirement, filter(_is_pin, pins))}
    lines = set()
    for one in map(Requirement, asked):
        name = canonicalize_name(one.name)
        if name != canonicalize_name(project["name"]):
            where = f"; {one.marker}" if one.marker else ""
            lines.add(f"{name}{tested.get(name, one).specifier}{where}")
    return "\n".join(["# python -m pip install -r requirements.txt, then: jupyter lab", *sorted(lines), ""])


def _is_pin(line: str) -> bool:
    return "==" in line and not line.startswith("#")


def add_bundle(room: Classroom, chapter: str) -> list[Path]:
    """Put the package and the list of what it needs beside the released notebook; what lay there before is replaced."""
    files = bundled_files(chapter)
    target = room.release(chapter).parent / PACKAGE
    shutil.rmtree(target, ignore_errors=True)
    for relative in files:
        (target / relative).parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(LIBRARY / relative, target / relative)
    (target.parent / "requirements.txt").write_text(requirements(), encoding="utf-8")
    return files


def after_generate(assignment: str, student: str, notebooks: list[str]) -> None:
    """nbgrader's hook after Generate: the same bundle however the release was made."""
    if assignment in all_chapters():
        files = add_bundle(Classroom(Path.cwd()), assignment)
        logging.getLogger("traitlets").info("Added %d files of %s to the release", len(files), PACKAGE)
