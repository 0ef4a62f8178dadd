"""What the run of a chapter depends on, as the name of a cache file.

Everything counts that can change an output: the code cells, the library's modules that they import, directly or not,
the data and scripts beside those, and the exact versions. Prose does not: mending a sentence runs nothing.
"""

from __future__ import annotations

import hashlib
import json
import sys
from pathlib import Path

from nbformat import NotebookNode

from coursebuild.chapter import Chapter
from coursebuild.module_source import imported_modules
from coursebuild.paths import Paths


def cache_path(chapter: Chapter, source: NotebookNode) -> Path:
    """Where the outputs of this very run are kept."""
    digest = hashlib.blake2b(digest_size=16)
    digest.update(sys.version.encode())
    for cell in source.cells:
        if cell.cell_type == "code":
            digest.update(json.dumps([cell.source, cell.metadata.get("tags", [])]).encode())
    for path in dependencies(chapter, source):
        content = path.read_bytes()
        digest.update(f"{path.relative_to(chapter.paths.root)} {len(content)}\n".encode() + content)
    return chapter.paths.build / "cache" / f"{chapter.name}-{digest.hexdigest()}.json"


def dependencies(chapter: Chapter, source: NotebookNode) -> list[Path]:
    """Every file that the run of a chapter reads: modules of the library, their data and scripts, the versions."""
    code = [cell.source for cell in source.cells if cell.cell_type == "code"]
    modules: set[Path] = set()
    waiting = [module for text in code for module in imported_modules(_plain(text))]
    waiting.append(f"figures.{chapter.slug}")
    while waiting:
        path = _module_file(chapter.paths, waiting.pop())
        if path is not None and path not in modules:
            modules.add(path)
            waiting.extend(imported_modules(path.read_text(encoding="utf-8")))
            waiting.extend(_siblings(chapter.paths, path))
    files = modules | set(_beside(chapter.paths, modules))
    files -= _data_of_others(chapter.paths, [*code, *(path.read_text(encoding="utf-8") for path in modules)])
    if chapter.paths.constraints.is_file():
        files.add(chapter.paths.constraints)
    return sorted(files)


def _plain(text: str) -> str:
    return "\n".join("pass" if line.startswith(("%", "!")) else line for line in text.split("\n"))


def _module_file(paths: Paths, name: str) -> Path | None:
    """The file of a module, or of the module that a name is imported from."""
    parts = name.split(".")
    while parts:
        base = paths.library.joinpath(*parts)
        for path in (base.with_suffix(".py"), base / "__init__.py"):
            if path.is_file():
                return path
        parts.pop()
    return None


def _siblings(paths: Paths, path: Path) -> list[str]:
    """The modules of the same package that a package's `__init__` can bring in by itself; chapters' own aside."""
    if path.name != "__init__.py" or path.parent == paths.library:
        return []
    package = path.parent.relative_to(paths.library).as_posix().replace("/", ".")
    chapters = {chapter.stem[3:] for chapter in paths.chapters.glob("*.md")}
    return [f"{package}.{other.stem}" for other in path.parent.glob("*.py") if other.stem not in chapters]


def _data_of_others(paths: Paths, own: list[str]) -> set[Path]:
    """Data files that others name and this run does not. What nobody names may be anybody's."""
    sources = [*paths.chapters.glob("*.md"), *paths.library.rglob("*.py")]
    everything = [path.read_text(encoding="utf-8") for path in sources]
    return {
        path
        for path in (paths.library / "data_files").glob("*")
        if any(path.name in text for text in everything) and not any(path.name in text for text in own)
    }


def _beside(paths: Paths, modules: set[Path]) -> list[Path]:
    """Data files, and the scripts and styles of the figures in use."""
    stems = {path.stem for path in modules}
    chapters = {chapter.stem[3:] for chapter in paths.chapters.glob("*.md")}
    return [
        path
        for path in paths.library.rglob("*")
        if path.is_file()
        and path.suffix not in (".py", ".pyc", ".typed")
        and (path.stem in stems or path.stem not in chapters)
    ]
