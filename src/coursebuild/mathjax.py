"""MathJax for the book, out of a pinned package: no page asks another host for it, and it is never committed."""

from __future__ import annotations

import shutil
from importlib import metadata
from pathlib import Path

from coursebuild.errors import CourseError

_PACKAGE = "sphinx-mathjax-offline"
# one file that typesets TeX as SVG (no fonts to load, which browsers refuse to pages opened from a folder), and the
# small extensions that it loads when a formula needs them
_MAIN = "tex-svg.js"
_EXTENSIONS = "input/tex/extensions"
_LEFT_OUT = {"all-packages.js"}


def copy_mathjax(target: Path) -> None:
    """Copy what the pages load into `target`, unless it is there."""
    try:
        source = Path(str(metadata.distribution(_PACKAGE).locate_file(f"{_PACKAGE}/static/mathjax")))
    except metadata.PackageNotFoundError as problem:
        raise CourseError(f"the package {_PACKAGE} is not installed; run `make setup`") from problem
    files = [source / _MAIN, *(p for p in (source / _EXTENSIONS).glob("*.js") if p.name not in _LEFT_OUT)]
    for file in files:
        copy = target / file.relative_to(source)
        if not copy.is_file() or copy.stat().st_size != file.stat().st_size:
            copy.parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(file, copy)
