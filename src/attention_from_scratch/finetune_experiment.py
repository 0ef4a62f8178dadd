"""A whole run: data checked, every seed trained and looked at once, baselines beside it, a report at the end.

folder/run-settings.json   what was asked, compared when the command is given again
folder/seed-N/             a seed (see finetune_run); folder/random-seed-N/ the same from random weights
folder/report.md, .json    the result
"""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

from attention_from_scratch.finetune_baselines import majority, tfidf
from attention_from_scratch.finetune_checkpoint import read_json, write_json
from attention_from_scratch.finetune_data import Splits, load_splits
from attention_from_scratch.finetune_distributed import World, require_parts, require_precision
from attention_from_scratch.finetune_encoders import cutter, origin
from attention_from_scratch.finetune_report import summarise, write_report
from attention_from_scratch.finetune_run import Job, run_seed
from attention_from_scratch.finetune_settings import FineTuneError, Settings, differences
from attention_from_scratch.finetune_steps import encode
from attention_from_scratch.finetune_watch import Watch

ASKED = "run-settings.json"


def fine_tune(
    settings: Settings,
    seeds: list[int],
    folder: Path,
    here: World,
    watch: Watch,
    checkpoint_every: int,
    random_seeds: list[int],
    command: str,
) -> dict[str, Any]:
    """Do all that `course finetune` does, or the rest of it where the folder holds a part; the report's content.

    `seeds` are trained from the model, `random_seeds` from random weights (for a model that has others).

    Raises FineTuneError for data, settings or a folder with which no honest run can be made, DataError when a
    built-in set or MiniLM cannot be had.
    """
    require_parts(settings.parts, here)
    require_precision(settings.precision, here.device)
    splits = load_splits(
        settings.data, settings.split_seed, settings.limit, settings.limit_scored, settings.drop_duplicates
    )
    start = origin(settings.model, settings.dropout, settings.seed, from_random=False)
    cut = cutter(start.tokens)
    _claim(folder, settings, splits, here)
    encoded = encode(splits, cut, settings.max_length)
    full = sum(len(ids) == settings.max_length for part in encoded.values() for ids, _ in part)
    if full:
        splits.notes.append(
            f"{full} texts fill {settings.max_length} tokens; what is longer than that was cut off"
        )
    job = Job(splits, encoded, here, watch, checkpoint_every)
    runs = [run_seed(replace(settings, seed=seed), job, folder / f"seed-{seed}", False) for seed in seeds]
    unread = [] if settings.model in ("random", "tiny") else random_seeds
    random_runs = [
        run_seed(replace(settings, seed=seed), job, folder / f"random-seed-{seed}", True) for seed in unread
    ]
    if not here.leads:
        return {}
    baselines = [majority(splits, settings.split_seed), tfidf(splits, settings.split_seed)]
    summary = summarise(settings, splits, runs, random_runs, baselines, command)
    write_report(folder, summary)
    return summary


def _claim(folder: Path, settings: Settings, splits: Splits, here: World) -> None:
    """Take a new folder for this run, or find that it is this run's own."""
    asked = settings.as_dict() | {"data_sha256": splits.fingerprint()}
    del asked["seed"]
    here.wait()
    if (folder / ASKED).is_file():
        if changed := differences(asked, read_json(folder / ASKED)):
            raise FineTuneError(
                f"{folder} holds another run: {'; '.join(changed)}; give the same settings, or another --output"
            )
    elif folder.is_dir() and any(folder.iterdir()):
        raise FineTuneError(f"{folder} is not empty and holds no run; choose another --output")
    here.wait()  # all have looked before one writes
    if here.leads:
        write_json(folder / ASKED, asked)
