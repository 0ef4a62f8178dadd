"""`course bench methods`: every way to fine-tune on the same encoder and the same split of real reviews.

First a learning rate for each method, by the validation score of one seed after one epoch; then every method with
every seed. Each cell is written as soon as it is finished, so a run that was cut off goes on
where it stopped.
"""

from __future__ import annotations

import json
import os
import platform
import statistics
import subprocess
import sys
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path
from typing import Any

from attention_from_scratch.finetune_settings import Settings
from attention_from_scratch.machine import processor
from attention_from_scratch.whole_files import write_whole
from coursebuild.errors import CourseError

RATES = {
    "full": (1e-4, 3e-4),
    "head": (1e-2, 3e-2),
    "adapter": (3e-3, 1e-2),
    "prefix": (1e-2, 3e-2),
    "lora": (1e-3, 3e-3, 1e-2),
    "adalora": (3e-3, 1e-2, 3e-2),
}
MEANING = {
    "parameters": "numbers that are trained, the head's included",
    "gradient_bytes": "of the gradients of one step",
    "optimizer_bytes": "of AdamW's state",
    "peak_growth_bytes": "growth of the process's resident memory at the worst moment of three steps on the longest "
    "texts (VmHWM over VmRSS before, in a fork): gradients, optimiser state and activations, not the weights",
    "train_cpu_seconds": "the process's processor seconds of all training steps, one thread, without scoring",
    "file_bytes": "the safetensors file with what was trained",
    "cpu_milliseconds_a_review": "processor time of an answer in the scoring of the test set",
    "search": "one epoch with seed 0 for each of the rates; validation macro-F1 decides",
    "test": "looked at once, after the last epoch; low and high: 95 % bootstrap interval over the test reviews",
    "ranks": "full fine-tuning, seed 0: validation macro-F1 when of the change of every matrix of the six layers only "
    "the first singular directions are kept",
}


def run(json_file: Path | None = None, reviews: int = 400, epochs: int = 2, seeds: int = 3) -> int:
    """The command: measure what is missing in the file, print a table."""
    if json_file is None:
        raise CourseError(
            "course bench methods takes long and writes every cell at once: name a file with --json"
        )
    settings = _settings(reviews, epochs)
    command = f"course bench methods --reviews {reviews} --epochs {epochs} --seeds {seeds}"
    result = _opened(json_file, settings, command)
    short = settings | {"epochs": 1}
    searched = [short | {"method": m, "learning_rate": rate} for m, rates in RATES.items() for rate in rates]
    _do(json_file, result, "search", searched)
    best = {method: best_rate(result["search"], method) for method in RATES}
    runs = [
        settings | {"method": method, "learning_rate": best[method], "seed": seed}
        for seed in range(seeds)
        for method in RATES
    ]
    _do(json_file, result, "cells", runs)
    print(table(result["cells"]))
    return 0


def best_rate(search: list[dict[str, Any]], method: str) -> float:
    """The learning rate with the best validation score (the smaller of equals)."""
    tried = [cell for cell in search if cell["method"] == method]
    best = max(tried, key=lambda cell: (cell["validation_macro_f1"], -cell["learning_rate"]))
    return float(best["learning_rate"])


def table(cells: list[dict[str, Any]]) -> str:
    """A line for each method: means over its seeds, and every seed's macro-F1."""
    lines = [
        "method    parameters  optimiser+gradients  peak growth  training CPU   file      macro-F1 on the test set"
    ]
    for method in RATES:
        some = [cell for cell in cells if cell["method"] == method]
        if not some:
            continue
        first = some[0]
        mib = {
            "state": first["optimizer_bytes"] + first["gradient_bytes"],
            "peak": first.get("memory", {}).get("peak_growth_bytes", float("nan")),
            "file": first["file_bytes"],
        }
        scores = [cell["test"]["macro_f1"] for cell in some]
        cpu = statistics.mean(cell["train_cpu_seconds"] for cell in some)
        lines.append(
            f"{method:8s} {first['parameters']:11,d} {mib['state'] / 2**20:16.2f} MiB {mib['peak'] / 2**20:8.1f} MiB "
            f"{cpu:11.1f} s {mib['file'] / 2**20:7.2f} MiB  {statistics.mean(scores):.3f}  "
            f"({', '.join(f'{score:.3f}' for score in scores)})"
        )
    return "\n".join(lines)


def _settings(reviews: int, epochs: int) -> dict[str, Any]:
    settings = Settings(
        data="rotten_tomatoes", model="minilm", method="head", seed=0, split_seed=0, epochs=epochs, batch=16,
        parts=1, learning_rate=1e-3, random_learning_rate=1e-3, weight_decay=0.01, warmup=0.1, max_norm=1.0,
        dropout=0.1, max_length=32, patience=epochs, limit=reviews, limit_scored=300, freeze_embeddings=False,
        drop_duplicates=False, precision="fp32",
    )  # fmt: skip
    return settings.as_dict()


def _opened(json_file: Path, settings: dict[str, Any], command: str) -> dict[str, Any]:
    """The file as it is so far, or a new one; cells of other settings are not continued."""
    shared = {
        name: value for name, value in settings.items() if name not in ("method", "seed", "learning_rate")
    }
    if json_file.exists():
        result: dict[str, Any] = json.loads(json_file.read_text(encoding="utf-8"))
        if result["settings"] != shared:
            raise CourseError(f"{json_file} holds cells of other settings: name another file, or remove it")
        return result | {"command": command, "rates": _rates()}
    return {
        "schema": 1,
        "command": command,
        "begun": datetime.now(UTC).strftime("%Y-%m-%d %H:%M UTC"),
        "machine": {
            "processor": processor(),
            "cores": os.cpu_count(),
            "system": f"{platform.system()} {platform.machine()}",
        },
        "versions": {"python": platform.python_version()}
        | {n: version(n) for n in ("torch", "numpy", "safetensors")},
        "threads": 1,
        "settings": shared,
        "rates": _rates(),
        "meaning": MEANING,
        "search": [],
        "cells": [],
    }


def _rates() -> dict[str, list[float]]:
    return {method: list(rates) for method, rates in RATES.items()}


def _do(json_file: Path, result: dict[str, Any], kind: str, wanted: list[dict[str, Any]]) -> None:
    """Measure the cells that the file lacks, in a process that forks for each, and write every one at once."""
    keys = [{name: settings[name] for name in ("method", "learning_rate", "seed")} for settings in wanted]
    known = [{name: cell[name] for name in ("method", "learning_rate", "seed")} for cell in result[kind]]
    todo = [(key, settings) for key, settings in zip(keys, wanted, strict=True) if key not in known]
    if not todo:
        return
    orders = [_order(kind, settings) for _, settings in todo]
    environment = os.environ | {"OMP_NUM_THREADS": "1", "MKL_NUM_THREADS": "1"}
    command = [sys.executable, "-m", "coursebuild.benchmarks.methods_cell", json.dumps(orders)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True, env=environment) as process:
        assert process.stdout is not None
        answers = (line for line in process.stdout if line.startswith("{"))
        for (key, _), line in zip(todo, answers, strict=False):
            cell = key | json.loads(line)
            result[kind].append(cell)
            result["ended"] = datetime.now(UTC).strftime("%Y-%m-%d %H:%M UTC")
            write_whole(json_file, json.dumps(result, indent=1) + "\n")
            score = cell["validation_macro_f1"] if kind == "search" else cell["test"]["macro_f1"]
            print(kind, key, f"macro-F1 {score:.3f}", flush=True)
    if process.returncode:
        raise CourseError(
            f"a cell of {kind} failed (its last words stand above); what is done is in {json_file}"
        )


def _order(kind: str, settings: dict[str, Any]) -> dict[str, Any]:
    """What a cell is told; memory is measured with the first seed, and ranks of full fine-tuning with it."""
    first = kind == "cells" and settings["seed"] == 0
    return {
        "settings": settings,
        "search": kind == "search",
        "memory": first,
        "ranks": first and settings["method"] == "full",
    }
