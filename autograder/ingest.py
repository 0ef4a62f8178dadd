"""From the bytes of a submission to what is run and read: solution cells, added cells, written answers, and flags.

Everything else in the notebook (outputs, points, tests, tags, kernels) is discarded; where it differs from the
released notebook that is said in a flag, because a person may want to know.
"""

from __future__ import annotations

import json
from collections import Counter
from dataclasses import dataclass, field
from typing import Any

from autograder.report import Flag

MAX_BYTES = 16 << 20
MAX_SOURCE = 2 << 20
MAX_CODE = (
    256 << 10
)  # characters of code that are run and checked: a syntax tree takes a thousand times its source
MAX_CELLS = 2000
MAX_DEPTH = 64
CELL_TYPES = ("code", "markdown", "raw")
SPECIAL_TAGS = ("skip-execution", "raises-exception")


class Invalid(Exception):
    """The bytes are no notebook; the text says why, for the student."""


@dataclass
class Reference:
    """What the judge knows of the chapter's notebook: the released cells by grade id, and all their sources."""

    exercises: list[str]
    questions: list[str]
    graded: dict[str, dict[str, Any]] = field(default_factory=dict)
    locked: dict[str, str] = field(default_factory=dict)
    plain: frozenset[str] = frozenset()
    kernel: str = "python3"


@dataclass
class Ingested:
    """A submission as the judge sees it."""

    cells: list[tuple[str, str]] = field(default_factory=list)  # name and source, in the notebook's order
    solutions: dict[str, str] = field(default_factory=dict)
    added: dict[str, str] = field(default_factory=dict)
    answers: dict[str, str] = field(default_factory=dict)
    flags: list[Flag] = field(default_factory=list)


def read_notebook(content: bytes) -> dict[str, Any]:
    """The notebook in these bytes, or Invalid."""
    if not content.strip():
        raise Invalid("the file is empty")
    if len(content) > MAX_BYTES:
        raise Invalid(f"the file has {len(content) >> 20} MiB, more than the {MAX_BYTES >> 20} allowed")
    try:
        notebook = json.loads(content.decode("utf-8-sig"))
    except UnicodeDecodeError:
        raise Invalid("the file is not UTF-8 text") from None
    except RecursionError:
        raise Invalid("the file is nested too deeply to be a notebook") from None
    except ValueError as error:
        raise Invalid(f"the file is not JSON: {str(error)[:120]}") from None
    if not isinstance(notebook, dict) or not isinstance(notebook.get("cells"), list):
        raise Invalid("the file is JSON, but not a notebook: it has no list of cells")
    if notebook.get("nbformat") != 4:
        raise Invalid(f"the notebook's format is {str(notebook.get('nbformat'))[:20]}; only format 4 is read")
    if len(notebook["cells"]) > MAX_CELLS:
        raise Invalid(f"the notebook has more than {MAX_CELLS} cells")
    if _too_deep(notebook):
        raise Invalid("the file is nested too deeply to be a notebook")
    return notebook


def _too_deep(value: Any) -> bool:
    level, depth = [value], 0
    while level:
        if depth > MAX_DEPTH:
            return True
        inner = [v for v in level if isinstance(v, dict | list)]
        level = [item for v in inner for item in (v.values() if isinstance(v, dict) else v)]
        depth += 1
    return False


def ingest(content: bytes, reference: Reference) -> Ingested:
    """What counts in a submission, and what was odd about it."""
    notebook = read_notebook(content)
    cells = [_cell(cell, index) for index, cell in enumerate(notebook["cells"])]
    if sum(len(source) for _, source, _, _ in cells) > MAX_SOURCE:
        raise Invalid(f"the notebook holds more than {MAX_SOURCE >> 20} MiB of text")
    found = Ingested()
    for index, (kind, source, facts, tags) in enumerate(cells):
        name = facts.get("grade_id")
        name = name if isinstance(name, str) else ""
        _look(found, reference, name, source, facts, tags)
        if name in reference.questions:
            found.answers.setdefault(name, source)
        elif name in reference.locked and name not in reference.exercises:
            continue
        elif kind == "code":
            _take(found, reference, name, source, index)
    _flag_missing(found, reference, notebook, [facts.get("grade_id") for _, _, facts, _ in cells])
    return found


def _cell(cell: Any, index: int) -> tuple[str, str, dict[str, Any], list[Any]]:
    """Kind, source, nbgrader's facts and tags of one cell."""
    if not isinstance(cell, dict) or cell.get("cell_type") not in CELL_TYPES:
        raise Invalid(f"cell {index + 1} is no cell")
    source = cell.get("source", "")
    if isinstance(source, list) and all(isinstance(line, str) for line in source):
        source = "".join(source)
    if not isinstance(source, str):
        raise Invalid(f"cell {index + 1} has a source that is no text")
    source = source.encode("utf-8", "replace").decode("utf-8")
    metadata = cell.get("metadata")
    metadata = metadata if isinstance(metadata, dict) else {}
    facts, tags = metadata.get("nbgrader"), metadata.get("tags")
    return (
        cell["cell_type"],
        source,
        facts if isinstance(facts, dict) else {},
        tags if isinstance(tags, list) else [],
    )


def _take(found: Ingested, reference: Reference, name: str, source: str, index: int) -> None:
    """A code cell: a solution, a cell of the released notebook (not run), or one that the student added."""
    if name not in reference.exercises and source.strip() in reference.plain:
        return
    if len(source) + sum(len(kept) for _, kept in found.cells) > MAX_CODE:
        text = f"cell {index + 1} was left out: together the code has more than {MAX_CODE >> 10} KiB"
        found.flags.append(Flag("too_much_code", text))
    elif name in reference.exercises and name not in found.solutions:
        found.solutions[name] = source
        found.cells.append((name, source))
    elif source.strip():
        label = f"added-{index + 1}"
        found.added[label] = source
        found.cells.append((label, source))


def _look(
    found: Ingested, reference: Reference, name: str, source: str, facts: dict[str, Any], tags: list[Any]
) -> None:
    """Flags for metadata that is not as it was released."""
    flag = found.flags.append
    for tag in SPECIAL_TAGS:
        if tag in tags and name and tag not in reference.graded.get(name, {}).get("tags", ()):
            flag(Flag("special_tag", f"cell {name[:60]} has the tag {tag}; it has no effect"))
    known = reference.graded.get(name)
    if known is None:
        if facts:
            flag(
                Flag(
                    "unknown_cell", f"a cell has the grade id {name[:60]!r}, which the chapter does not have"
                )
            )
        return
    if facts.get("schema_version") != known["schema_version"]:
        flag(Flag("odd_schema", f"cell {name} has schema version {str(facts.get('schema_version'))[:20]}"))
    if facts.get("points") != known.get("points"):
        flag(Flag("changed_points", f"cell {name} gives itself {str(facts.get('points'))[:20]} points"))
    for what in ("solution", "grade", "locked", "task"):
        if bool(facts.get(what)) != bool(known.get(what)):
            flag(Flag("changed_flags", f"cell {name} has {what} = {str(facts.get(what))[:20]}"))
    if name in reference.locked and source.strip() != reference.locked[name].strip():
        flag(Flag("changed_locked", f"the locked cell {name} was changed; the chapter's own is used"))


def _flag_missing(found: Ingested, reference: Reference, notebook: dict[str, Any], names: list[Any]) -> None:
    flag = found.flags.append
    for name, count in Counter(n for n in names if isinstance(n, str) and n in reference.graded).items():
        if count > 1:
            flag(Flag("duplicate_cell", f"{count} cells have the grade id {name}; the first one counts"))
    missing = [name for name in reference.graded if name not in names]
    if missing:
        flag(Flag("deleted_cells", f"cells are missing: {', '.join(missing)[:300]}"))
    metadata = notebook.get("metadata")
    kernel = metadata.get("kernelspec") if isinstance(metadata, dict) else None
    named = kernel.get("name") if isinstance(kernel, dict) else None
    if named != reference.kernel:
        flag(
            Flag("changed_kernel", f"the notebook asks for the kernel {str(named)[:40]!r}; it has no effect")
        )


def reference_of(release: dict[str, Any], exercises: list[str], questions: list[str]) -> Reference:
    """What `ingest` needs to know, from the released notebook."""
    reference = Reference(exercises, questions)
    plain = set()
    for index, cell in enumerate(release["cells"]):
        kind, source, facts, tags = _cell(cell, index)
        name = facts.get("grade_id")
        if name:
            reference.graded[name] = {**facts, "tags": tags}
            if facts.get("locked"):
                reference.locked[name] = source
        elif kind == "code":
            plain.add(source.strip())
    reference.plain = frozenset(plain)
    return reference
