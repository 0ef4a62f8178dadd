"""The end of a run: scores with intervals over seeds, beside the baselines, the confusion table, the worst errors."""

from __future__ import annotations

import math
import statistics
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Final

from attention_from_scratch.finetune_checkpoint import write_json
from attention_from_scratch.finetune_data import Splits
from attention_from_scratch.finetune_settings import Settings
from attention_from_scratch.whole_files import write_whole

# The 97.5 % quantile of Student's t for 1, 2, … 9 degrees of freedom; a few seeds are few degrees.
STUDENT_T: Final = (12.706, 4.303, 3.182, 2.776, 2.571, 2.447, 2.365, 2.306, 2.262)
WORST: Final = 10
SCORES: Final = ("macro_f1", "accuracy")


def seed_interval(values: list[float]) -> dict[str, Any]:
    """The mean of a score over seeds, and a 95 % interval for it (None for one seed: it tells nothing of others)."""
    mean = statistics.fmean(values)
    if len(values) == 1:
        return {"mean": mean, "low": None, "high": None, "values": values}
    quantile = STUDENT_T[min(len(values) - 1, len(STUDENT_T)) - 1]
    half = quantile * statistics.stdev(values) / math.sqrt(len(values))
    return {"mean": mean, "low": mean - half, "high": mean + half, "values": values}


def summarise(
    settings: Settings,
    splits: Splits,
    runs: list[dict[str, Any]],
    random_runs: list[dict[str, Any]],
    baselines: list[dict[str, Any]],
    command: str,
) -> dict[str, Any]:
    """Everything that the report says, as JSON holds it."""
    shown = max(runs, key=lambda run: run["best_validation"])
    asked = settings.as_dict()
    del asked["seed"]
    return {
        "schema": 1,
        "command": command,
        "settings": asked,
        "seeds": [run["seed"] for run in runs],
        "environment": runs[-1]["environment"],
        "data": {
            "labels": splits.labels, "counts": splits.counts(), "notes": splits.notes, "sha256": splits.fingerprint()
        },
        "model": {name: shown[name] for name in ("parameters", "trained_parameters")},
        "result": _over_seeds(runs),
        "random_weights": _over_seeds(random_runs) if random_runs else None,
        "baselines": baselines,
        "runs": [_curves(run) for run in runs],
        "random_runs": [_curves(run) for run in random_runs],
        "shown_seed": shown["seed"],
        "confusion": shown["test"]["confusion"],
        "worst": _worst(splits, shown),
    }  # fmt: skip


def write_report(folder: Path, summary: dict[str, Any]) -> None:
    """Write report.json and report.md."""
    write_json(folder / "report.json", summary)
    write_whole(folder / "report.md", markdown(summary))


def markdown(summary: dict[str, Any]) -> str:
    """The report for a person."""
    settings, environment = summary["settings"], summary["environment"]
    blocks = [
        f"# Fine-tuning {settings['model']} on {settings['data']}, method {settings['method']}",
        f"`{summary['command']}`",
        _score_table(summary),
        "The test set was looked at once a model, after everything was decided on validation. Intervals are 95 %: over "
        "seeds, Student's t around the mean; in square brackets, resampled test texts of the one model.",
        "## Seeds",
        _seed_table(summary),
        f"## Confusion of seed {summary['shown_seed']}, the best on validation",
        markdown_table(
            ["truth \\ said", *summary["data"]["labels"]],
            [[label, *row] for label, row in zip(summary["data"]["labels"], summary["confusion"], strict=True)],
        ),
        f"## The {len(summary['worst'])} errors it was surest of",
        markdown_table(
            ["said", "with", "truth", "text"],
            [
                [e["said"], f"{e['probability']:.3f}", e["truth"], e["text"].replace("|", "\\|")]
                for e in summary["worst"]
            ],
        ),
        "## Data",
        markdown_table(
            ["part", *summary["data"]["labels"]],
            [[part, *counts.values()] for part, counts in summary["data"]["counts"].items()],
        ),
        "\n".join(f"- {note}" for note in summary["data"]["notes"]) or "- nothing was found to mend",
        "## Settings and machine",
        markdown_table(["setting", "value"], [[name, value] for name, value in settings.items()]),
        f"{environment['machine']['processor']}, {environment['threads']} of {environment['machine']['cores']} cores, "
        f"GPU: {environment['machine']['gpu'] or 'none'}, {environment['machine']['system']}; "
        + ", ".join(f"{name} {version}" for name, version in environment["versions"].items())
        + f"; {environment['time']}, load average {environment['load_average']}",
    ]  # fmt: skip
    return "\n\n".join(blocks) + "\n"


def _score_table(summary: dict[str, Any]) -> str:
    model = f"{summary['settings']['model']}, {summary['settings']['method']}"
    rows = [[f"**{model}**", *(_said(summary["result"][name]) for name in SCORES)]]
    if summary["random_weights"]:
        rows.append(
            ["the same from random weights", *(_said(summary["random_weights"][name]) for name in SCORES)]
        )
    for baseline in summary["baselines"]:
        test = baseline["test"]
        interval = f"{test['macro_f1']:.3f} [{test['low']:.3f}, {test['high']:.3f}]"
        rows.append([f"{baseline['name']} ({baseline['detail']})", interval, f"{test['accuracy']:.3f}"])
    return markdown_table(["test set", "macro-F1", "accuracy"], rows)


def _seed_table(summary: dict[str, Any]) -> str:
    rows = []
    for kind, runs in (("", summary["runs"]), ("random weights, ", summary["random_runs"])):
        for run in runs:
            test = run["test"]
            rows.append(
                [
                    f"{kind}{run['seed']}",
                    f"{run['best_epoch'] + 1} of {len(run['epochs'])}" + (" (stopped)" if run["stopped_early"] else ""),
                    f"{run['best_validation']:.3f}",
                    f"{test['macro_f1']:.3f} [{test['low']:.3f}, {test['high']:.3f}]",
                    f"{run['cpu_seconds']:.0f} s",
                ]
            )  # fmt: skip
    return markdown_table(["seed", "best epoch", "validation macro-F1", "test macro-F1", "CPU time"], rows)


def _over_seeds(runs: list[dict[str, Any]]) -> dict[str, Any]:
    return {name: seed_interval([run["test"][name] for run in runs]) for name in SCORES}


def _curves(run: dict[str, Any]) -> dict[str, Any]:
    """What a figure of a run needs."""
    kept = (
        "seed", "best_epoch", "best_validation", "stopped_early", "steps", "cpu_seconds", "seconds", "losses", "rates",
        "epochs", "test",
    )  # fmt: skip
    return {name: run[name] for name in kept}


def _worst(splits: Splits, run: dict[str, Any]) -> list[dict[str, Any]]:
    """The test texts that a run got wrong with the highest probability."""
    errors = [
        {
            "text": example.text,
            "truth": example.label,
            "said": run["labels"][said],
            "probability": probability,
        }
        for example, (said, probability) in zip(splits.parts["test"], run["test_predictions"], strict=True)
        if run["labels"][said] != example.label
    ]
    return sorted(errors, key=lambda error: -float(error["probability"]))[:WORST]


def _said(score: dict[str, Any]) -> str:
    if score["low"] is None:
        return f"{score['mean']:.3f} (one seed)"
    return f"{score['mean']:.3f} ({score['low']:.3f} to {score['high']:.3f})"


def markdown_table(head: Sequence[Any], rows: Sequence[Sequence[Any]]) -> str:
    """A table as Markdown holds it."""
    lines = [head, ["---"] * len(head), *rows]
    return "\n".join(
        "| " + " | ".join(str(cell).replace("\n", " ") for cell in line) + " |" for line in lines
    )
