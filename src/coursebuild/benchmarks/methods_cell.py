"""The cells of `course bench methods`: a method, a learning rate and a seed, each trained and measured by itself.

The process that is started reads what there is to do (its first argument, JSON), reads the reviews once, and forks for
every cell, so that nothing an earlier cell left behind counts. It answers with one line of JSON a cell.
"""

from __future__ import annotations

import json
import os
import sys
import tempfile
import time
import traceback
from collections.abc import Iterable, Iterator
from functools import lru_cache
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from attention_from_scratch.fine_tuning import (
    Batch,
    adamw_groups,
    collate,
    evaluate,
    train_epoch,
    warmup_linear,
)
from attention_from_scratch.finetune_data import load_splits
from attention_from_scratch.finetune_encoders import cutter
from attention_from_scratch.finetune_methods import trained_parameters, watch
from attention_from_scratch.finetune_model import Classifier
from attention_from_scratch.finetune_run import new_model
from attention_from_scratch.finetune_settings import Settings
from attention_from_scratch.finetune_steps import Encoded, encode, plan
from attention_from_scratch.measuring import can_measure_process, peak_process_bytes
from attention_from_scratch.peft_files import save_adapter

PADDING = 0
CLASSES = 2  # fresh and rotten
SCORED_AT_ONCE = 50
RESAMPLES = 1000
STEPS_FOR_MEMORY = 3  # the second step is the first with the optimiser's state in place
RANKS = (0, 1, 2, 4, 8, 16, 32, 64, 128, 384)


def cell(settings: Settings, is_search: bool, with_memory: bool, with_ranks: bool) -> dict[str, Any]:
    """Train and measure. A cell of the search for a learning rate looks at the validation set alone."""
    texts = _texts_of(settings)
    model, _ = new_model(settings, CLASSES, from_random=False)
    before = {name: p.detach().clone() for name, p in model.named_parameters()} if with_ranks else {}
    result: dict[str, Any] = {"parameters": trained_parameters(model)}
    if with_memory:
        result["memory"] = _memory(model, settings, texts)
    result |= _train(model, settings, texts)
    if is_search:
        result["validation_macro_f1"] = _scored(model, texts["validation"])["macro_f1"]
    else:
        result["test"] = _test(model, texts["test"])
        result["file_bytes"] = _file_bytes(model, settings.method)
        if settings.method == "adalora":
            result["kept"] = {
                name.removeprefix("encoder.encoder.layers.").removesuffix(".Lambda"): int((p != 0).sum())
                for name, p in model.named_parameters()
                if name.endswith(".Lambda")
            }
    if with_ranks:
        result["ranks"] = _by_rank(model, before, texts["validation"])
    return result


def _texts_of(settings: Settings) -> Encoded:
    tokens = "hashed" if settings.model == "tiny" else "wordpiece"
    return _texts(
        settings.data, settings.split_seed, settings.limit, settings.limit_scored, settings.max_length, tokens
    )


@lru_cache(maxsize=2)
def _texts(
    data: str, split_seed: int, limit: int | None, limit_scored: int | None, max_length: int, tokens: str
) -> Encoded:
    splits = load_splits(data, split_seed, limit, limit_scored, drop_duplicates=False)
    return encode(splits, cutter(tokens), max_length)


def _batches(examples: list[tuple[list[int], int]], numbers: Iterable[list[int]]) -> Iterator[Batch]:
    return (collate([examples[i] for i in some], PADDING) for some in numbers)


def _optimizer(model: Classifier, settings: Settings) -> torch.optim.Optimizer:
    return torch.optim.AdamW(adamw_groups(model, settings.weight_decay), lr=settings.learning_rate)


def _train(model: Classifier, settings: Settings, texts: Encoded) -> dict[str, Any]:
    """All epochs; the processor's seconds of training alone, without the scoring."""
    lengths = [len(ids) for ids, _ in texts["train"]]
    epochs = [
        [part for step in plan(lengths, settings, epoch) for part in step] for epoch in range(settings.epochs)
    ]
    total = sum(len(steps) for steps in epochs)
    warmup = round(settings.warmup * total)
    optimizer = _optimizer(model, settings)
    scheduler = torch.optim.lr_scheduler.LambdaLR(optimizer, lambda step: warmup_linear(step, warmup, total))
    watch(model, settings.method, optimizer, total, 0)
    torch.manual_seed(settings.seed)
    cpu, clock, losses = time.process_time(), time.perf_counter(), []
    for steps in epochs:
        losses += train_epoch(
            model, _batches(texts["train"], steps), optimizer, scheduler, 1, settings.max_norm
        )
    return {
        "steps": total,
        "train_cpu_seconds": time.process_time() - cpu,
        "train_seconds": time.perf_counter() - clock,
        "loss_of_the_last_10_steps": sum(losses[-10:]) / len(losses[-10:]),
        "gradient_bytes": sum(p.grad.nbytes for p in model.parameters() if p.grad is not None),
        "optimizer_bytes": sum(
            value.nbytes
            for state in optimizer.state.values()
            for value in state.values()
            if isinstance(value, Tensor)
        ),
    }


def _memory(model: Classifier, settings: Settings, texts: Encoded) -> dict[str, Any]:
    """By how much the process grows in a few steps on the longest texts: gradients, optimiser, activations."""
    if not can_measure_process():
        return {"why_not": "the memory of a process is read from /proc of Linux"}
    longest = sorted(range(len(texts["train"])), key=lambda i: -len(texts["train"][i][0]))
    size = settings.batch

    def steps(numbers: list[list[int]]) -> None:
        optimizer = _optimizer(model, settings)
        watch(model, settings.method, optimizer, 10, 0)
        constant = torch.optim.lr_scheduler.ConstantLR(optimizer, factor=1.0)
        train_epoch(model, _batches(texts["train"], numbers), optimizer, constant, 1, settings.max_norm)
        optimizer.zero_grad()

    large = [longest[k * size : (k + 1) * size] for k in range(STEPS_FOR_MEMORY)]
    return {
        "weight_bytes": sum(p.nbytes for p in model.parameters()),
        "peak_growth_bytes": peak_process_bytes(steps, (large,), ([longest[:1]],)),
        "tokens_of_a_step": [size, len(texts["train"][longest[0]][0])],
    }


def _scored(model: Classifier, examples: list[tuple[list[int], int]]) -> dict[str, Any]:
    """What `evaluate` says, texts of similar length together."""
    order = sorted(range(len(examples)), key=lambda i: len(examples[i][0]))
    numbers = [order[i : i + SCORED_AT_ONCE] for i in range(0, len(order), SCORED_AT_ONCE)]
    return evaluate(
        model, list(_batches(examples, numbers)), CLASSES, RESAMPLES, torch.Generator().manual_seed(0)
    )


def _test(model: Classifier, examples: list[tuple[list[int], int]]) -> dict[str, float]:
    cpu = time.process_time()
    scores = _scored(model, examples)
    seconds = time.process_time() - cpu
    kept = {name: scores[name] for name in ("macro_f1", "low", "high", "accuracy")}
    return kept | {"cpu_milliseconds_a_review": 1000 * seconds / len(examples)}


def _file_bytes(model: Classifier, method: str) -> int:
    with tempfile.TemporaryDirectory() as folder:
        return save_adapter(model, Path(folder) / "adapter.safetensors", method)


@torch.no_grad()
def _by_rank(
    model: Classifier, before: dict[str, Tensor], examples: list[tuple[list[int], int]]
) -> dict[str, list[float]]:
    """Validation macro-F1 with every matrix of the layers put back to the pretrained one plus the first directions
    of its change. What is no matrix of a layer (embeddings, biases, norms, head) stays as it was trained."""
    matrices = {n: p for n, p in model.named_parameters() if n.startswith("encoder.encoder.") and p.ndim == 2}
    changes = {n: torch.linalg.svd(p - before[n], full_matrices=False) for n, p in matrices.items()}
    whole = sum(S.square().sum().item() for _, S, _ in changes.values())
    scores, shares = [], []
    for rank in RANKS:
        for name, parameter in matrices.items():
            U, S, V = changes[name]
            parameter.copy_(before[name] + (U[:, :rank] * S[:rank]) @ V[:rank])
        scores.append(_scored(model, examples)["macro_f1"])
        shares.append(sum(S[:rank].square().sum().item() for _, S, _ in changes.values()) / whole)
    return {"rank": list(RANKS), "validation_macro_f1": scores, "share_of_the_squares": shares}


def main() -> None:
    """Fork for every order, do it, answer. The first one that fails ends it all."""
    torch.set_num_threads(1)
    for order in json.loads(sys.argv[1]):
        settings = Settings(**order["settings"])
        _texts_of(settings)
        child = os.fork()
        if child == 0:
            _answer(settings, order)
        _, status = os.waitpid(child, 0)
        if status:
            raise SystemExit(f"{settings.method}, seed {settings.seed}: the cell ended with status {status}")


def _answer(settings: Settings, order: dict[str, Any]) -> None:
    """In the child: one line, and the end."""
    status = 1
    try:
        load = os.getloadavg()[0]
        result = cell(settings, order["search"], order["memory"], order["ranks"])
        print(json.dumps(result | {"load_average": [load, os.getloadavg()[0]]}), flush=True)
        status = 0
    except BaseException:
        traceback.print_exc()
    finally:
        os._exit(status)


if __name__ == "__main__":
    main()
