"""Pairs of submissions whose code is more alike than the exercise explains, for a person to look at.

Names, comments, docstrings and layout do not count: a cell is compared as the sequence of its syntax tree's nodes, by
RapidFuzz's normalised Indel similarity. Two right answers to a short exercise are alike without anybody having copied,
so a pair counts only as far as it is closer to one another than either is to the course's own solution. This points at
what to read; it proves nothing, and it cannot see a copy that is close to the course's solution.
"""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field

import numpy as np
from rapidfuzz.distance import Indel
from rapidfuzz.process import cdist

from coursebuild.syntax import parse

ALIKE = 0.85  # below this, two cells are not called alike
BEYOND = 0.05  # how much closer to one another than to the course's solution
SHORTEST = 30  # tokens; shorter cells leave too little choice to say anything
LONGEST = 5000  # tokens of a cell that are looked at
MOST_STUDENTS = 2000  # a matrix of all pairs is made
SHOWN = 25

Cells = Mapping[str, str]  # an exercise's name: the source of its cell


@dataclass(frozen=True)
class Alike:
    """One exercise in which two submissions are alike."""

    exercise: str
    similarity: float
    to_course: float  # of the closer one of the two, to the course's solution
    same_text: bool  # to the letter, comments and all


@dataclass
class Pair:
    """Two students, and where their code is alike."""

    first: str
    second: str
    exercises: list[Alike] = field(default_factory=list)

    @property
    def weight(self) -> float:
        """By which pairs are sorted: the similarity that the course's solution does not explain, added up."""
        return sum(one.similarity - one.to_course + 0.2 * one.same_text for one in self.exercises)


def similar_pairs(students: Mapping[str, Cells], course: Cells, released: Cells) -> list[Pair]:
    """The pairs that a person should look at, the most alike first; at most `SHOWN`.

    `course` holds the course's solutions, `released` the stubs: an untouched cell is nobody's work.
    """
    pairs: dict[tuple[str, str], Pair] = {}
    for exercise in course:
        sources = {
            student: cells[exercise]
            for student, cells in sorted(students.items())
            if exercise in cells and cells[exercise].strip() != released.get(exercise, "").strip()
        }
        for first, second, alike in _alike(exercise, sources, course[exercise]):
            pairs.setdefault((first, second), Pair(first, second)).exercises.append(alike)
    found = sorted(pairs.values(), key=lambda pair: (-pair.weight, pair.first, pair.second))
    return found[:SHOWN]


def _alike(exercise: str, sources: Mapping[str, str], solution: str) -> Iterator[tuple[str, str, Alike]]:
    alphabet: dict[str, str] = {}
    texts = {student: _letters(_tokens(source), alphabet) for student, source in sources.items()}
    names = [student for student, text in texts.items() if len(text) >= SHORTEST][:MOST_STUDENTS]
    if len(names) < 2:
        return
    ours = _letters(_tokens(solution), alphabet)
    to_course = [Indel.normalized_similarity(texts[name], ours) for name in names]
    chosen = [texts[name] for name in names]
    matrix = cdist(
        chosen, chosen, scorer=Indel.normalized_similarity, score_cutoff=ALIKE, dtype=np.float32, workers=1
    )
    for row, column in np.argwhere(np.triu(matrix, k=1) >= ALIKE).tolist():
        first, second = names[row], names[column]
        explained = max(to_course[row], to_course[column])
        same = sources[first].strip() == sources[second].strip() and explained < 1
        if matrix[row, column] - explained >= BEYOND or same:
            yield first, second, Alike(exercise, float(matrix[row, column]), explained, same)


def _letters(tokens: list[str], alphabet: dict[str, str]) -> str:
    """Tokens as a string, a letter each: RapidFuzz is fastest with the first 256 letters."""
    return "".join(alphabet.setdefault(token, chr(0x21 + len(alphabet))) for token in tokens)


def _tokens(source: str) -> list[str]:
    """The nodes of the syntax tree in order; of code that Python cannot read, its words and signs."""
    try:
        tree = parse(source)
    except (SyntaxError, ValueError, RecursionError, MemoryError):
        return re.findall(r"\w+|\S", re.sub(r"#.*", "", source))[:LONGEST]
    tokens: list[str] = []
    waiting: list[ast.AST] = [tree]
    while waiting and len(tokens) < LONGEST:
        node = waiting.pop()
        tokens.append(_token(node))
        waiting += reversed([child for child in ast.iter_child_nodes(node) if not _is_docstring(child)])
    return tokens


def _token(node: ast.AST) -> str:
    """What a node is: with the name for an attribute and the value for a number, since nobody renames those."""
    kind = type(node).__name__
    if isinstance(node, ast.Attribute):
        return f"{kind} {node.attr}"
    if isinstance(node, ast.Constant) and isinstance(node.value, int | float):
        return f"{kind} {node.value}"
    return kind


def _is_docstring(node: ast.AST) -> bool:
    return (
        isinstance(node, ast.Expr)
        and isinstance(node.value, ast.Constant)
        and isinstance(node.value.value, str)
    )
