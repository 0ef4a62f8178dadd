"""Whether something that readers get holds a line of a solution or of a hidden test.

The book is made without solutions, so nothing can leak by design; this looks at what was made, in case the design or
a chapter has a hole (an output with a traceback, say, prints the lines of the function that failed). Lines are compared
without spaces and quotes, so that neither indentation nor highlighting hides one. A line that the authors show on
purpose, in a chapter's text, a visible test, a stub or given code, is no leak.
"""

from __future__ import annotations

import html
import json
import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from coursebuild.module_source import BEGIN, END
from coursebuild.paths import Paths

MARKS = (BEGIN, "### BEGIN HIDDEN TESTS")
# shorter lines (`return out`) stand in many programs, and give nothing away
SHORTEST = 14
_UNSEEN = re.compile(r"<style\b.*?</style>|<script\b.*?</script>|<svg\b.*?</svg>", re.DOTALL | re.IGNORECASE)
_TAG = re.compile(r"<[^<>]*>")
_COLOURS = re.compile(r"\x1b\[[0-9;]*m")
_NOISE = re.compile(r"[\s\"'`]+")


@dataclass(frozen=True)
class Secret:
    """A line that no reader may get, as it is compared, and where it comes from."""

    line: str
    path: Path
    number: int


def squashed(text: str) -> str:
    """A text without what may differ between a source and its display."""
    return _NOISE.sub("", _COLOURS.sub("", text))


def _compared(line: str) -> str:
    """A line of code as it is looked for; it leaks without its comment too."""
    return squashed(line.split("  #")[0])


def text_of_page(page: str) -> str:
    """What an HTML page says, code included; style sheets, scripts and drawings left out."""
    return html.unescape(_TAG.sub("", _UNSEEN.sub(" ", page)))


def text_of_notebook(notebook: str) -> str:
    """All words of a notebook's file: sources, outputs, metadata. HTML among them is read as a page is."""
    return "\n".join(text_of_page(words) + words for words in _strings(json.loads(notebook)))


def _strings(value: Any) -> Iterator[str]:
    if isinstance(value, str):
        yield value
    elif isinstance(value, list) and value and all(isinstance(part, str) for part in value):
        yield "".join(value)
    elif isinstance(value, list | dict):
        for part in value.values() if isinstance(value, dict) else value:
            yield from _strings(part)


def secrets(paths: Paths) -> list[Secret]:
    """Every line of a solution or a hidden test that the authors do not show themselves."""
    shown = [path.read_text(encoding="utf-8") for path in sorted(paths.book.rglob("*.md"))]
    found = []
    for path in sorted(paths.library.rglob("*.py")):
        open_lines, solution = _split(path.read_text(encoding="utf-8"))
        shown.append(open_lines)
        found += [Secret(_compared(line), path, number) for number, line in solution]
    for path in sorted(paths.hidden.glob("*.py")):
        lines = path.read_text(encoding="utf-8").splitlines()
        found += [Secret(_compared(line), path, number) for number, line in enumerate(lines, 1)]
    public = squashed("\n".join(shown))
    return [secret for secret in found if len(secret.line) >= SHORTEST and secret.line not in public]


def _split(text: str) -> tuple[str, list[tuple[int, str]]]:
    """The lines of a module outside its solution regions, and those inside with their numbers."""
    inside, outside, solution = False, [], []
    for number, line in enumerate(text.splitlines(), 1):
        if BEGIN in line or END in line:
            inside = BEGIN in line
        elif inside:
            solution.append((number, line))
        else:
            outside.append(line)
    return "\n".join(outside), solution


def leaks(text: str, hidden: list[Secret]) -> list[str]:
    """What of the hidden lines stands in a text, one sentence a find."""
    found = [f"shows readers a {mark!r} region" for mark in MARKS if mark in text]
    bare = squashed(text)
    found += [
        f"shows readers line {secret.number} of {secret.path.parent.name}/{secret.path.name}"
        for secret in hidden
        if secret.line in bare
    ]
    return found


def leaks_in_folder(folder: Path, hidden: list[Secret]) -> dict[Path, list[str]]:
    """The leaking pages and notebooks below a folder, each with what it shows."""
    found = {}
    for path in sorted([*folder.rglob("*.html"), *folder.rglob("*.ipynb")]):
        text = path.read_text(encoding="utf-8")
        if said := leaks(text_of_page(text) if path.suffix == ".html" else text_of_notebook(text), hidden):
            found[path] = said
    return found
