"""Texts with labels, in three parts that share nothing: read, checked and cut before anything is trained on them.

What would spoil a result is refused (empty texts, labels that training does not know, one class, texts in two parts)
or mended and reported in `notes` (repeated texts, texts with two labels). Nothing is mended in silence.
"""

from __future__ import annotations

import hashlib
import json
import random
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final, NamedTuple

from attention_from_scratch.data import rotten_tomatoes, split_by_film, text_key, without_duplicates
from attention_from_scratch.finetune_files import read_rows
from attention_from_scratch.finetune_settings import FineTuneError

PARTS: Final = ("train", "validation", "test")
SHARES: Final = (0.7, 0.1, 0.2)


class LabelledText(NamedTuple):
    """A text, its label, and the line of the file from which it comes (0 for a built-in set)."""

    text: str
    label: str
    line: int


@dataclass(frozen=True)
class Splits:
    """Three parts, the labels in the order of their numbers, and what was found and done on the way."""

    parts: dict[str, list[LabelledText]]
    labels: list[str]
    notes: list[str]

    def numbered(self, part: str) -> list[int]:
        """The label of every text of a part, as a number."""
        number = {label: i for i, label in enumerate(self.labels)}
        return [number[example.label] for example in self.parts[part]]

    def fingerprint(self) -> str:
        """A hash of every text and label in every part: the same data gives the same hash."""
        content = [[part, example.text, example.label] for part in PARTS for example in self.parts[part]]
        return hashlib.sha256(json.dumps(content, ensure_ascii=True).encode()).hexdigest()

    def counts(self) -> dict[str, dict[str, int]]:
        """How many texts of each label every part holds."""
        return {
            part: {label: Counter(e.label for e in self.parts[part])[label] for label in self.labels}
            for part in PARTS
        }


def load_splits(
    data: str, split_seed: int, limit: int | None, limit_scored: int | None, drop_duplicates: bool
) -> Splits:
    """The data called `data` (a name of `BUILT_IN`, or a file), cut into three parts, checked, and limited in size.

    Raises FineTuneError for data that no honest result can come from.
    """
    notes: list[str] = []
    if data in BUILT_IN:
        parts = BUILT_IN[data](split_seed, notes)
    elif Path(data).suffix.lower() in (".csv", ".jsonl"):
        parts = _parts_of_a_file(Path(data), split_seed, notes)
    else:
        raise FineTuneError(
            f"--data {data} is neither a built-in set ({', '.join(BUILT_IN)}) nor a .csv or .jsonl file"
        )
    parts = {part: _one_of_each(parts[part], part, notes) for part in PARTS}
    parts = _apart(parts, drop_duplicates, notes)
    sizes = {"train": limit, "validation": limit_scored, "test": limit_scored}
    for part, most in sizes.items():
        if most is not None and most < len(parts[part]):
            notes.append(f"{most} of {len(parts[part])} texts of {part} are used, drawn at random, as asked")
            chosen = random.Random(f"{split_seed} {part}").sample(range(len(parts[part])), most)
            parts[part] = [parts[part][i] for i in sorted(chosen)]
    return Splits(parts, _labels(parts, notes), notes)


def _rotten_tomatoes(split_seed: int, notes: list[str]) -> dict[str, list[LabelledText]]:
    """The reviews of `data.py`, cut by film, so that nothing can be learned from a title."""
    everything = rotten_tomatoes()
    reviews = without_duplicates(everything)
    notes.append(
        f"{len(everything) - len(reviews)} of {len(everything)} reviews are repeats and were left out"
    )
    notes.append("the parts share no film: the films were cut at random, not the reviews")
    cut = split_by_film(reviews, SHARES, split_seed)
    return {
        part: [LabelledText(r.text, r.label, 0) for r in some] for part, some in zip(PARTS, cut, strict=True)
    }


BUILT_IN: Final[dict[str, Callable[[int, list[str]], dict[str, list[LabelledText]]]]] = {
    "rotten_tomatoes": _rotten_tomatoes
}


def _parts_of_a_file(path: Path, split_seed: int, notes: list[str]) -> dict[str, list[LabelledText]]:
    """The parts that a file names, or, when it names none, a cut of its different texts by `SHARES`."""
    rows = read_rows(path)
    if empty := [row.line for row in rows if not row.text.strip()]:
        raise FineTuneError(f"{path}: no text stands in line {_some(empty)}; fill it in or remove the line")
    if empty := [row.line for row in rows if not row.label.strip()]:
        raise FineTuneError(f"{path}: no label stands in line {_some(empty)}; fill it in or remove the line")
    named = [row for row in rows if row.split is not None]
    if not named:
        notes.append(f"the file names no split: a random cut into {', '.join(f'{s:.0%}' for s in SHARES)}")
        different = _one_of_each([LabelledText(r.text, r.label, r.line) for r in rows], "the file", notes)
        random.Random(split_seed).shuffle(different)
        edges = [round(sum(SHARES[:i]) * len(different)) for i in range(4)]
        return {part: different[edges[i] : edges[i + 1]] for i, part in enumerate(PARTS)}
    if strange := [row.line for row in rows if row.split not in PARTS]:
        raise FineTuneError(
            f"{path}: the split in line {_some(strange)} is none of {', '.join(PARTS)}; every line needs one"
        )
    return {part: [LabelledText(r.text, r.label, r.line) for r in rows if r.split == part] for part in PARTS}


def _one_of_each(examples: Sequence[LabelledText], where: str, notes: list[str]) -> list[LabelledText]:
    """The first of each text; a text with two labels is left out. Both are reported."""
    first = {text_key(example.text) for example in examples}
    kept = without_duplicates(examples)
    if len(first) < len(examples):
        notes.append(f"{len(examples) - len(first)} repeated texts in {where} were left out")
    if len(kept) < len(first):
        notes.append(f"{len(first) - len(kept)} texts in {where} have two labels and were left out")
    return kept


def _apart(
    parts: dict[str, list[LabelledText]], drop_duplicates: bool, notes: list[str]
) -> dict[str, list[LabelledText]]:
    """Refuse a text that stands in two parts, or, when asked to, take it out of the part trained or chosen on."""
    keys = {part: {text_key(example.text) for example in parts[part]} for part in PARTS}
    forbidden = {
        "train": keys["validation"] | keys["test"],
        "validation": keys["test"],
        "test": set(),
    }
    cleaned = {}
    for part, examples in parts.items():
        twice = [example for example in examples if text_key(example.text) in forbidden[part]]
        if twice and not drop_duplicates:
            raise FineTuneError(
                f"{len(twice)} texts of {part} stand in a later part too (first: {_place(twice[0])}), so the score "
                "would count what was trained on; remove them, or let --drop-duplicates take them out of this part"
            )
        if twice:
            notes.append(
                f"{len(twice)} texts of {part} stood in a later part too and were left out of {part}"
            )
        cleaned[part] = [example for example in examples if text_key(example.text) not in forbidden[part]]
    return cleaned


def _labels(parts: dict[str, list[LabelledText]], notes: list[str]) -> list[str]:
    """The labels of the training part, sorted; every part must make sense with them."""
    for part in PARTS:
        if not parts[part]:
            raise FineTuneError(f"there is no text in {part}; all of {', '.join(PARTS)} need some")
    known = sorted({example.label for example in parts["train"]})
    if len(known) < 2:
        raise FineTuneError(f"all training texts have the label {known[0]!r}; there is nothing to tell apart")
    for part in ("validation", "test"):
        if strange := [example for example in parts[part] if example.label not in known]:
            raise FineTuneError(
                f"the label {strange[0].label!r} of {len(strange)} texts in {part} (first: {_place(strange[0])}) is "
                f"not among those of training: {', '.join(known)}"
            )
        if absent := sorted(set(known) - {example.label for example in parts[part]}):
            notes.append(f"{part} holds no text with the label {', '.join(absent)}: its F1 counts as 0")
    return known


def _place(example: LabelledText) -> str:
    shown = example.text if len(example.text) <= 40 else example.text[:40] + "…"
    return f"line {example.line}, {shown!r}" if example.line else repr(shown)


def _some(lines: Iterable[int]) -> str:
    listed = list(lines)
    return ", ".join(map(str, listed[:5])) + (f" and {len(listed) - 5} more" if len(listed) > 5 else "")
