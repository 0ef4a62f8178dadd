"""Files of labelled texts: CSV with the columns text, label and maybe split, or JSONL with the same keys."""

from __future__ import annotations

import csv
import io
import json
from pathlib import Path
from typing import Any, NamedTuple

from attention_from_scratch.finetune_settings import FineTuneError

NEEDED = ("text", "label")


class Row(NamedTuple):
    """One row of a file; `split` is None where the file has no such column."""

    text: str
    label: str
    split: str | None
    line: int


def read_rows(path: Path) -> list[Row]:
    """All rows of a .csv or .jsonl file in UTF-8. Raises FineTuneError, with the line, for what cannot be read."""
    try:
        content = path.read_bytes().decode("utf-8-sig")
    except OSError as problem:
        raise FineTuneError(f"{path} cannot be read: {problem.strerror}") from None
    except UnicodeDecodeError as problem:
        raise FineTuneError(f"{path} is not UTF-8 (byte {problem.start}); save it in that encoding") from None
    rows = _csv(path, content) if path.suffix.lower() == ".csv" else _jsonl(path, content)
    if not rows:
        raise FineTuneError(f"{path} holds no rows")
    return rows


def _csv(path: Path, content: str) -> list[Row]:
    reader = csv.DictReader(io.StringIO(content, newline=""), strict=True)
    columns = reader.fieldnames or []
    if missing := [name for name in NEEDED if name not in columns]:
        raise FineTuneError(f"{path} has no column {missing[0]!r}; its first line names {', '.join(columns)}")
    rows = []
    try:
        for record in reader:
            if None in record or any(value is None for value in record.values()):
                raise FineTuneError(
                    f"{path}: line {reader.line_num} has not as many fields as the first line"
                )
            rows.append(Row(record["text"], record["label"], record.get("split"), reader.line_num))
    except csv.Error as problem:
        raise FineTuneError(f"{path}: line {reader.line_num} is not CSV: {problem}") from None
    return rows


def _jsonl(path: Path, content: str) -> list[Row]:
    rows = []
    for number, line in enumerate(content.split("\n"), start=1):
        if not line.strip():
            continue
        try:
            record = json.loads(line)
        except json.JSONDecodeError as problem:
            raise FineTuneError(f"{path}: line {number} is not JSON: {problem.msg}") from None
        rows.append(_row_of(path, number, record))
    return rows


def _row_of(path: Path, number: int, record: Any) -> Row:
    if not isinstance(record, dict):
        raise FineTuneError(f"{path}: line {number} is no JSON object with the keys text and label")
    text, label, split = (record.get(name) for name in (*NEEDED, "split"))
    if not isinstance(text, str):
        raise FineTuneError(f"{path}: line {number} has no string under the key 'text'")
    if not isinstance(label, str | int):
        raise FineTuneError(f"{path}: line {number} has no string or whole number under the key 'label'")
    return Row(text, str(label), None if split is None else str(split), number)
