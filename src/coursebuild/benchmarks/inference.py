"""`course bench inference`: a fine-tuned classifier in 32 and in 8 bits: bytes on the disk, latency, macro-F1.

All forms are made from one run, answer the same test reviews, and take turns on the clock, one thread. The run is the
one in --run DIR, or a small one that this command makes itself, with the settings below.
"""

from __future__ import annotations

import itertools
import json
import statistics
import tempfile
import time
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from attention_from_scratch.archives import DataError
from attention_from_scratch.fine_tuning import evaluate
from attention_from_scratch.finetune_data import load_splits
from attention_from_scratch.finetune_distributed import World
from attention_from_scratch.finetune_encoders import cutter
from attention_from_scratch.finetune_run import Job, load_run, run_seed
from attention_from_scratch.finetune_settings import FineTuneError, Settings
from attention_from_scratch.finetune_steps import encode
from attention_from_scratch.finetune_watch import Watch, environment
from attention_from_scratch.inference import measure_latency
from attention_from_scratch.inference_int8 import file_size, quantized_copy, use_int8_engine, with_kernels
from attention_from_scratch.minilm import pad
from attention_from_scratch.whole_files import write_whole
from coursebuild.errors import CourseError

SMALL_RUN = Settings(
    data="rotten_tomatoes", model="minilm", method="full", seed=0, split_seed=13, epochs=1, batch=32, parts=1,
    learning_rate=1e-4, random_learning_rate=3e-4, weight_decay=0.01, warmup=0.1, max_norm=1.0, dropout=0.1,
    max_length=64, patience=1, limit=1600, limit_scored=800, freeze_embeddings=True, drop_duplicates=False,
    precision="fp32",
)  # fmt: skip
WORDS = "encoder.embeddings.word"
BATCHES = {1: 40, 16: 20}  # how many reviews at once, and how many such calls a turn times
TURNS = 3
WARM_UP = 3
RESAMPLES = 1000
BUSY = 1.5  # a load average above it: other programs were measured too
FORMS = {
    "float32": "as it was trained",
    "int8 weights": "the course's QuantizedLinear: int8 levels, turned into float32 at each call",
    "int8 weights and words": "the same, and the embedding of the words in int8",
    "int8 kernel": "the same levels in PyTorch's int8 kernel, which rounds the input of each layer to 7 bits",
    "torch.ao": "torch.ao.quantization.quantize_dynamic with its defaults: one scale a matrix, words in float32",
}
Models = dict[str, nn.Module]
Call = Callable[[], object]


def run(json_file: Path | None = None, run_folder: Path | None = None) -> int:
    """The command: fine-tune if need be, measure, print a table, write the JSON where asked."""
    torch.set_num_threads(1)
    before, began = environment(), time.perf_counter()
    _warn(before["load_average"])
    try:
        with tempfile.TemporaryDirectory() as scratch:
            folder = run_folder or _small_run(Path(scratch))
            model, stored = load_run(folder)
            examples = _test_examples(stored)
            models = forms(model)
            sizes = _sizes(models, Path(scratch))
            print(f"asking {len(examples)} test reviews of {len(models)} forms …", flush=True)
    except (FineTuneError, DataError) as problem:
        raise CourseError(str(problem)) from None
    quality = _quality(models, examples, len(stored["labels"]))
    latency = {str(batch): _latency(models, [ids for ids, _ in examples], batch) for batch in BATCHES}
    after = environment()
    cells = {name: {"bytes": sizes[name], **quality[name]} for name in models}
    print(_table(cells, latency))
    _warn(after["load_average"])
    result = {
        "schema": 1,
        "command": "course bench inference" + (" --run DIR" if run_folder else ""),
        "measured": after["time"],
        "machine": after["machine"] | {"vector_instructions": torch.backends.cpu.get_cpu_capability()},
        "versions": after["versions"],
        "threads": 1,
        "int8_engine": use_int8_engine(),
        "load_average": {"start": before["load_average"], "end": after["load_average"]},
        "seconds": round(time.perf_counter() - began),
        "settings": stored["settings"]
        | {name: Path(stored["settings"][name]).name for name in ("data", "model")},
        "trained_on": stored["settings"]["limit"],
        "test_reviews": len(examples),
        "turns": TURNS,
        "warm_up": WARM_UP,
        "calls_a_turn": {str(batch): calls for batch, calls in BATCHES.items()},
        "seed_of_the_resamples": 0,
        "meaning": {
            "bytes": "of the file with all weights: safetensors; torch.save for torch.ao",
            "latency": "seconds a call on the first test reviews, in order, padded to the longest of a call; p50 and "
            "p95 within a turn, the median of the turns; low and high: the p50 of the fastest and slowest turn",
            "low, high": "95 % bootstrap interval of macro_f1 over the test reviews, the same resamples for all",
            "changed": "test reviews that got another answer than in float32; to_right and to_wrong among them",
        },
        "forms": FORMS,
        "cells": cells,
        "latency": latency,
    }
    if json_file:
        write_whole(json_file, json.dumps(result, indent=1) + "\n")
    return 0


def forms(model: nn.Module) -> Models:
    """The same classifier in every form of `FORMS`."""
    small = quantized_copy(model, [WORDS])
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # torch.ao says that it will move
        kernel = with_kernels(small, reduce_range=True)
        peer = torch.ao.quantization.quantize_dynamic(model, {nn.Linear}, dtype=torch.qint8)
    return dict(zip(FORMS, (model.eval(), quantized_copy(model, []), small, kernel, peer), strict=True))


def _small_run(folder: Path) -> Path:
    """Fine-tune with `SMALL_RUN`; the folder of the seed."""
    s = SMALL_RUN
    splits = load_splits(s.data, s.split_seed, s.limit, s.limit_scored, s.drop_duplicates)
    encoded = encode(splits, cutter("wordpiece"), s.max_length)
    print(f"fine-tuning on {len(encoded['train'])} reviews, {s.epochs} epoch, seed {s.seed} …", flush=True)
    here = World(rank=0, size=1, device=torch.device("cpu"))
    run_seed(s, Job(splits, encoded, here, Watch(), checkpoint_every=10**6), folder / "seed", False)
    return folder / "seed"


def _test_examples(stored: dict[str, Any]) -> list[tuple[list[int], int]]:
    """The test texts of a run, as token ids with the numbers of their labels; the run's own data or none."""
    s = stored["settings"]
    splits = load_splits(s["data"], s["split_seed"], s["limit"], s["limit_scored"], s["drop_duplicates"])
    if splits.fingerprint() != stored["data_sha256"]:
        raise FineTuneError(
            f"the data {s['data']} are not those of the run any more; what is scored on them compares with nothing"
        )
    return encode(splits, cutter(stored["tokens"]), s["max_length"])["test"]


def _sizes(models: Models, scratch: Path) -> dict[str, int]:
    sizes = {name: file_size(models[name], scratch / "weights") for name in list(FORMS)[:3]}
    torch.save(models["torch.ao"].state_dict(), scratch / "peer")
    # the kernel's form is made from the file of the form before it
    return sizes | {
        "int8 kernel": sizes["int8 weights and words"],
        "torch.ao": (scratch / "peer").stat().st_size,
    }


def _quality(
    models: Models, examples: list[tuple[list[int], int]], classes: int
) -> dict[str, dict[str, Any]]:
    """Macro-F1 on the test reviews, and how many answers differ from those in float32."""
    order = sorted(range(len(examples)), key=lambda i: len(examples[i][0]))  # little padding
    examples = [examples[i] for i in order]
    batches = []
    for start in range(0, len(examples), 32):
        some = examples[start : start + 32]
        batches.append((*pad([ids for ids, _ in some]), torch.tensor([label for _, label in some])))
    labels = torch.cat([label for _, _, label in batches])
    found, before = {}, torch.empty(0)
    for name, model in models.items():
        result = evaluate(model, batches, classes, RESAMPLES, torch.Generator().manual_seed(0))
        answers = result["logits"].argmax(dim=-1)
        before = answers if name == "float32" else before
        changed = answers != before
        found[name] = {key: result[key] for key in ("macro_f1", "low", "high", "accuracy")} | {
            "changed": int(changed.sum()),
            "to_right": int((changed & (answers == labels)).sum()),
            "to_wrong": int((changed & (before == labels)).sum()),
        }
    return found


def _latency(models: Models, texts: list[list[int]], batch: int) -> dict[str, dict[str, float]]:
    """p50 and p95 of every form on the same calls, in turns."""
    calls = max(1, min(BATCHES[batch], len(texts) // batch))
    inputs = [pad(texts[i * batch : (i + 1) * batch]) for i in range(calls)]
    turns: dict[str, list[dict[str, float]]] = {name: [] for name in models}
    with torch.no_grad():
        for _ in range(TURNS):
            for name, model in models.items():
                turns[name].append(
                    measure_latency(
                        _one_after_the_other(model, inputs), WARM_UP, calls, time.perf_counter, lambda: None
                    )
                )
    return {
        name: {key: statistics.median(turn[key] for turn in some) for key in ("p50", "p95")}
        | {"low": min(turn["p50"] for turn in some), "high": max(turn["p50"] for turn in some)}
        for name, some in turns.items()
    }


def _one_after_the_other(model: nn.Module, inputs: list[tuple[Tensor, Tensor]]) -> Call:
    """A call that takes the next input each time, and the first one again after the last."""
    order = itertools.cycle(inputs)
    return lambda: model(*next(order))


def _table(cells: dict[str, dict[str, Any]], latency: dict[str, dict[str, dict[str, float]]]) -> str:
    """What a person reads."""
    head = f"{'':24s}{'MiB':>7s}" + "".join(f"{f'p50 / p95 ms at {batch}':>22s}" for batch in latency)
    lines = [head + f"{'macro-F1':>11s}{'95 % interval':>17s}{'changed':>9s}"]
    for name, cell in cells.items():
        times = [f"{1e3 * one[name]['p50']:.1f} / {1e3 * one[name]['p95']:.1f}" for one in latency.values()]
        lines.append(
            f"{name:24s}{cell['bytes'] / 2**20:7.1f}"
            + "".join(f"{words:>22s}" for words in times)
            + f"{cell['macro_f1']:11.3f}{cell['low']:10.3f} … {cell['high']:.3f}{cell['changed']:9d}"
        )
    return "\n".join(lines)


def _warn(load: list[float] | None) -> None:
    if load and load[0] > BUSY:
        print(f"the load average is {load[0]}: other programs are at work, and every time here is theirs too")
