"""The kill matrix for instructors: what the hidden tests say of every named wrong and right solution.

`course list --kill-matrix` prints it, and the instructors' edition of the book has it as a page. Trying all solutions
of a chapter takes some seconds, so what came out is kept by content.
"""

from __future__ import annotations

import hashlib
import json
import re
import warnings
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path

from attention_from_scratch.whole_files import write_whole
from coursebuild.chapter import all_chapters, full_name
from coursebuild.paths import REPOSITORY

# a name that has to break at the end of a line, or the table is wider than the page
_LONG_NAME = re.compile(r"\b[a-z0-9]+(?:_[a-z0-9]+){2,}\b")
INTRODUCTION = """\
# What the hidden tests catch

Every exercise has wrong solutions with a name, each a misconception that students have, and right ones that are written
in another way. This table says what the hidden tests make of each. The test in bold is the one that must catch it. A
right solution has no test in its last column, and keeps all its points.

A wrong solution keeps the points of what it gets right, so a low score is not the aim: the aim is that the test whose
sentence names the mistake is among those that fail.
"""


@dataclass(frozen=True)
class Matrix:
    """The table of one chapter, and what is wrong with its tests."""

    chapter: str
    table: str
    faults: list[str]


def matrices(names: Iterable[str] = (), say: Callable[[str], None] = print) -> list[Matrix]:
    """The tables of the named chapters, or of all that have variants."""
    wanted = [full_name(name) for name in names] or all_chapters()
    return [_matrix(name, say) for name in wanted if _variants(name).is_file()]


def page(names: Iterable[str] = (), say: Callable[[str], None] = print) -> str:
    """All tables as a page of the book."""
    tables = "".join(f"\n{_by_exercise(made.table)}" for made in matrices(names, say))
    return INTRODUCTION + _LONG_NAME.sub(lambda name: name[0].replace("_", "_<wbr>"), tables)


def _by_exercise(table: str) -> str:
    """A chapter's table cut into one for each exercise, so that its columns have room on a page."""
    lines, last = [], ""
    for line in table.splitlines():
        exercise, _, rest = line.removeprefix("| ").partition(" | ")
        if not line.startswith("| ") or exercise == "exercise":
            lines += [line] if line.startswith("#") else []
            continue
        if exercise != last:
            lines += [
                "",
                f"### {exercise}",
                "",
                "| variant | misconception | score | caught by |",
                "|---|---|---|---|",
            ]
            last = exercise
        lines.append(f"| {rest}")
    return "\n".join(lines) + "\n"


def _matrix(name: str, say: Callable[[str], None]) -> Matrix:
    place = REPOSITORY.build / "cache" / f"kill_matrix-{name}.json"
    digest = _digest(name)
    try:
        kept = json.loads(place.read_text(encoding="utf-8"))
        if kept["digest"] == digest:
            return Matrix(name, kept["table"], kept["faults"])
    except (OSError, ValueError, KeyError):
        pass
    say(f"Trying the named solutions of {name} …")
    made = _tried(name)
    write_whole(
        place, json.dumps({"digest": digest, "table": made.table, "faults": made.faults}, ensure_ascii=False)
    )
    return made


def _tried(name: str) -> Matrix:
    from autograder.killmatrix import markdown, try_variant
    from autograder.variants.base import variants_of

    slug = name[3:]
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # wrong solutions overflow, and say so
        verdicts = [try_variant(slug, variant) for variant in variants_of(slug)]
    return Matrix(name, markdown(slug, verdicts), [verdict.fault for verdict in verdicts if verdict.fault])


def _variants(name: str) -> Path:
    return REPOSITORY.root / "autograder" / "variants" / f"{name[3:]}.py"


def _digest(name: str) -> str:
    """Of everything that a verdict can depend on."""
    autograder = REPOSITORY.root / "autograder"
    files = [_variants(name), REPOSITORY.hidden / f"{name[3:]}.py", REPOSITORY.constraints]
    files += [*autograder.glob("*.py"), *REPOSITORY.library.rglob("*.py")]
    digest = hashlib.sha256()
    for path in sorted(files):
        if path.is_file():
            digest.update(f"{path.name} ".encode() + hashlib.sha256(path.read_bytes()).digest())
    return digest.hexdigest()
