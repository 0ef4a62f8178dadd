"""What of a run's report can be published: no sentence of its data, no folder of its machine, and short numbers.

python -m attention_from_scratch.finetune_excerpt runs/rotten_tomatoes finetune_rotten_tomatoes.json
"""

from __future__ import annotations

import json
import re
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from attention_from_scratch.finetune_checkpoint import read_json
from attention_from_scratch.finetune_settings import FineTuneError
from attention_from_scratch.whole_files import write_whole

DIGITS = 5
LEFT_OUT = ("worst", "rates")  # the errors quote the data, and the rates follow from the settings


def excerpt(report: dict[str, Any]) -> dict[str, Any]:
    """The report without what it quotes, with numbers of at most five decimals."""
    kept: dict[str, Any] = _shortened(report)
    folder = re.compile(r"(--output[ =])\S*?([^/\s]+)/?(?=\s|$)")
    kept["command"] = folder.sub(r"\1runs/\2", kept["command"])
    return kept


def _shortened(value: Any) -> Any:
    match value:
        case dict():
            return {key: _shortened(item) for key, item in value.items() if key not in LEFT_OUT}
        case list():
            return [_shortened(item) for item in value]
        case float():
            return round(value, DIGITS)
    return value


def _text(value: Any) -> str:
    """JSON with a line for each entry, and lists of numbers in one line."""
    text = json.dumps(value, indent=1, ensure_ascii=False)
    numbers = re.compile(r"\[[-\d.,\s]*\]")
    return numbers.sub(
        lambda found: re.sub(r"\s+", " ", found[0]).replace("[ ", "[").replace(" ]", "]"), text
    )


def main(arguments: Sequence[str]) -> int:
    """Read the report in a run's folder and write the excerpt."""
    if len(arguments) != 2:
        print("usage: python -m attention_from_scratch.finetune_excerpt RUN_FOLDER FILE", file=sys.stderr)
        return 2
    try:
        found = read_json(Path(arguments[0]) / "report.json")
    except FineTuneError as problem:
        print(f"{problem}; it is there when `course finetune` has ended", file=sys.stderr)
        return 2
    write_whole(Path(arguments[1]), _text(excerpt(found)) + "\n")
    return 0


if __name__ == "__main__":
    raise SystemExit(main(sys.argv[1:]))
