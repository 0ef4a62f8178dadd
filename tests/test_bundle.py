"""The package that a student gets with a chapter: enough for its notebook, and none of its answers."""

from __future__ import annotations

import ast
import sys
from importlib.metadata import packages_distributions

import nbformat
import pytest

from autograder.bundle import LIBRARY, bundled_files, requirements, withheld
from coursebuild.chapter import all_chapters
from coursebuild.paths import ROOT

PACKAGE = "attention_from_scratch"


def modules_named(source: str) -> set[str]:
    """The modules of the package that a piece of code imports, as attention_from_scratch/… without the ending."""
    names: set[str] = set()
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.ImportFrom) and (node.module or "").split(".")[0] == PACKAGE:
            module = str(node.module)
            names |= {f"{module}.{alias.name}" for alias in node.names} if module == PACKAGE else {module}
        elif isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names if alias.name.startswith(f"{PACKAGE}.")}
    return names - {PACKAGE}


def in_the_library(module: str) -> bool:
    place = LIBRARY.joinpath(*module.split(".")[1:])
    return place.with_suffix(".py").is_file() or (place / "__init__.py").is_file()


@pytest.mark.parametrize("chapter", all_chapters())
class TestBundles:
    def test_the_notebook_finds_what_it_imports(self, chapter: str) -> None:
        """Every module of the package that a cell imports is in the bundle."""
        files = {path.with_suffix("") for path in bundled_files(chapter)}
        bundled = {".".join((PACKAGE, *path.parts)).removesuffix(".__init__") for path in files}
        notebook = nbformat.read(ROOT / "notebooks" / f"{chapter}.ipynb", as_version=4)
        cells = [cell.source for cell in notebook.cells if cell.cell_type == "code"]
        wanted = {name for source in cells for name in modules_named(_plain(source)) if in_the_library(name)}
        assert wanted, "every chapter draws a figure"
        assert wanted <= bundled, f"a student of {chapter} does not get {sorted(wanted - bundled)}"

    def test_no_module_of_this_chapter_or_a_later_one(self, chapter: str) -> None:
        hidden = withheld(chapter)
        for path in bundled_files(chapter):
            if path.suffix == ".py":
                text = (LIBRARY / path).read_text(encoding="utf-8")
                if path.parts[0] != "figures":
                    assert path.stem not in hidden
                imported = {name.split(".")[1] for name in modules_named(text)}
                assert not imported & hidden, f"{path} imports {sorted(imported & hidden)}"

    def test_what_is_bundled_can_be_imported(self, chapter: str) -> None:
        """No bundled module asks for one that was left out."""
        files = set(bundled_files(chapter))
        for path in files:
            if path.suffix == ".py":
                for name in modules_named((LIBRARY / path).read_text(encoding="utf-8")):
                    place = LIBRARY.joinpath(*name.split(".")[1:])
                    found = [place.with_suffix(".py"), place / "__init__.py"]
                    if any(one.is_file() for one in found):
                        assert files & {one.relative_to(LIBRARY) for one in found}, f"{path} imports {name}"


def test_the_requirements_are_enough_for_every_notebook() -> None:
    """Each package that a notebook imports is among them, at one exact version, and ours is not."""
    lines = [line for line in requirements().splitlines() if not line.startswith("#")]
    assert all("==" in line for line in lines)
    named = {line.split("==")[0] for line in lines} | {"ipython"}  # which ipykernel brings
    assert "attention-from-scratch" not in named
    installed = packages_distributions()
    for chapter in all_chapters():
        notebook = nbformat.read(ROOT / "notebooks" / f"{chapter}.ipynb", as_version=4)
        for cell in notebook.cells:
            for name in _top_level(cell.source) if cell.cell_type == "code" else ():
                if name != PACKAGE and name not in sys.stdlib_module_names:
                    assert set(installed[name]) & named, f"{chapter} imports {name}"


def _top_level(source: str) -> set[str]:
    """The packages that a cell imports at any depth of its code."""
    names: set[str] = set()
    for node in ast.walk(ast.parse(_plain(source))):
        if isinstance(node, ast.ImportFrom):
            names.add(str(node.module))
        elif isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
    return {name.split(".")[0] for name in names}


def _plain(source: str) -> str:
    """Without the lines that only IPython understands."""
    return "\n".join("pass" if line.lstrip().startswith(("%", "!")) else line for line in source.splitlines())
