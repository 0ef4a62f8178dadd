"""Which row of the attack table each level of isolation holds, from running the attacks on this machine.

    python -m autograder.levels                     # run tests/attacks and print the table
    python -m autograder.levels --output FILE.md    # the same into a file that a page can include
    python -m autograder.levels --from A.json B.json    # of runs made with pytest --levels-json; a later one counts

It takes ten minutes on a quiet machine, and needs the repository and pytest.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

from autograder import sandbox_cgroups, sandbox_landlock

ROOT = Path(__file__).resolve().parents[1]


def run_attacks(into: Path) -> int:
    """Run every case at every level; returns pytest's exit status."""
    command = [
        sys.executable,
        "-m",
        "pytest",
        "-q",
        str(ROOT / "tests" / "attacks"),
        "--levels-json",
        str(into),
    ]
    return subprocess.run(command, cwd=ROOT, check=False).returncode


def table(found: dict[str, Any], machine: str) -> str:
    """The table in Markdown."""
    levels = found["levels"]
    lines = [
        f"Run on {machine}. A number is how many cases were run; where they were held, every one got its "
        "honest value there, and the next student's was graded as if nothing had happened.",
        "",
        "| no. | row | what the submission does | " + " | ".join(f"`{level}`" for level in levels) + " |",
        "|---|---|---|" + "---|" * len(levels),
    ]
    notes: dict[str, list[str]] = {}
    for row in found["rows"]:
        cells = [_cell(row["outcomes"], level) for level in levels]
        lines.append(f"| {row['number']} | `{row['name']}` | {row['does']} | " + " | ".join(cells) + " |")
        for level in levels:
            reason = found["not_held"].get(level, {}).get(row["name"])
            if reason:
                notes.setdefault(level, []).append(f"`{row['name']}`: {reason}")
    for level, reasons in notes.items():
        lines += ["", f"What `{level}` does not hold:", "", *(f"- {reason}" for reason in reasons)]
    return "\n".join(lines) + "\n"


def merged(runs: list[dict[str, Any]]) -> dict[str, Any]:
    """Several runs as one: what a later one saw of a case counts."""
    last = runs[-1]
    for row in last["rows"]:
        outcomes: dict[str, dict[str, str]] = {}
        for run in runs:
            for same in (one for one in run["rows"] if one["name"] == row["name"]):
                for level, cases in same["outcomes"].items():
                    outcomes.setdefault(level, {}).update(cases)
        row["outcomes"] = outcomes
    return last


def _cell(outcomes: dict[str, dict[str, str]], level: str) -> str:
    seen = [*outcomes.get(level, {}).values(), *outcomes.get("any", {}).values()]
    failed = sum(outcome == "failed" for outcome in seen)
    if failed:
        return f"**{failed} of {len(seen)} failed**"
    if "not held" in seen:
        return "not held"
    held = seen.count("passed")
    return f"held ({held})" if held else "not run"


def this_machine() -> str:
    """What the levels depend on."""
    groups = sorted({f"v{place.version}" for place in sandbox_cgroups.here()})
    who = "root" if os.geteuid() == 0 else "an ordinary user"
    return (
        f"Linux {platform.release()} ({platform.machine()}), Python {platform.python_version()}, as {who}, "
        f"Landlock {sandbox_landlock.version() or 'missing'}, "
        f"control groups {' and '.join(groups) if groups else 'not writable'}"
    )


def main() -> int:
    """The command."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else "")
    parser.add_argument("--output", type=Path, help="write the table there instead of printing it")
    parser.add_argument(
        "--from", dest="made", type=Path, nargs="+", help="the JSON of runs, instead of a new run"
    )
    asked = parser.parse_args()
    status = 0
    with tempfile.TemporaryDirectory() as directory:
        paths = asked.made or [Path(directory) / "levels.json"]
        if asked.made is None:
            status = run_attacks(paths[0])
        text = table(merged([json.loads(path.read_text()) for path in paths]), this_machine())
    if asked.output:
        asked.output.write_text(text, "utf-8")
    else:
        print(text, end="")
    return status


if __name__ == "__main__":
    sys.exit(main())
