"""One seed of a fine-tuning run, from the first step to the one look at the test set, or on from its checkpoint.

The folder of a seed holds checkpoint.pt while it trains, best.safetensors (the weights of the best epoch so far, a
`Classifier.state_dict`), tensorboard/, and, when it is finished, run.json: settings, labels, history and test result.
"""

from __future__ import annotations

import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import nn

from attention_from_scratch.fine_tuning import (
    Batch,
    adamw_groups,
    collate,
    evaluate,
    train_epoch,
    warmup_linear,
)
from attention_from_scratch.finetune_checkpoint import (
    BEST,
    CHECKPOINT,
    RUN,
    load_checkpoint,
    read_json,
    save_checkpoint,
    save_weights,
    write_json,
)  # fmt: skip
from attention_from_scratch.finetune_data import Splits
from attention_from_scratch.finetune_distributed import Dice, World, number_of, shared_out, use_precision
from attention_from_scratch.finetune_encoders import Origin, origin, rebuilt
from attention_from_scratch.finetune_methods import prepare, trained_parameters
from attention_from_scratch.finetune_methods import watch as let_the_method_watch
from attention_from_scratch.finetune_model import Classifier
from attention_from_scratch.finetune_settings import FineTuneError, Settings
from attention_from_scratch.finetune_steps import Encoded, plan
from attention_from_scratch.finetune_watch import Watch, environment

RESAMPLES = 1000
SCORED_AT_ONCE = 64
PADDING = 0


@dataclass(frozen=True)
class Job:
    """What the seeds of one command share: the data, cut into tokens, and where and how often to write."""

    splits: Splits
    encoded: Encoded
    here: World
    watch: Watch
    checkpoint_every: int


def new_model(settings: Settings, classes: int, from_random: bool) -> tuple[Classifier, Origin]:
    """The classifier at its first step: the encoder as it comes, a head drawn from the seed, the method's freezing."""
    start = origin(settings.model, settings.dropout, settings.seed, from_random)
    torch.manual_seed(number_of(settings.seed, "head"))
    model = Classifier(start.encoder, classes, settings.dropout)
    prepare(model, settings.method)
    if settings.freeze_embeddings:
        model.encoder.embeddings.requires_grad_(False)
    return model, start


def run_seed(settings: Settings, job: Job, folder: Path, from_random: bool) -> dict[str, Any]:
    """Train one seed to its end, from the beginning or from its checkpoint, and look at the test set once.

    Returns what run.json holds; a seed that is finished is not touched again.
    Raises FineTuneError when a file of the folder is damaged or the loss stops being a number.
    """
    if (folder / RUN).is_file():
        stored: dict[str, Any] = read_json(folder / RUN)
        return stored
    run = _SeedRun(settings.from_random() if from_random else settings, job, folder, from_random)
    run.train()
    result = run.finish()
    job.here.wait()
    return result


def load_run(folder: Path) -> tuple[Classifier, dict[str, Any]]:
    """The classifier of a finished run, in evaluation mode, and what its run.json holds.

    `folder` is the folder of a seed, or of a whole run: then it is the seed with the best validation score.
    Raises FineTuneError when there is no finished run in it.
    """
    folder = Path(folder)
    if not (folder / RUN).is_file():
        seeds = [path.parent for path in sorted(folder.glob(f"seed-*/{RUN}"))]
        if not seeds:
            raise FineTuneError(
                f"{folder} holds no finished run: there is no {RUN} in it or in a seed's folder"
            )
        folder = max(seeds, key=lambda path: read_json(path / RUN)["best_validation"])
    from safetensors.torch import load_file

    stored = read_json(folder / RUN)
    model = rebuilt(stored)
    prepare(model, stored["method"])
    model.load_state_dict(load_file(folder / BEST))
    return model.eval(), stored


class _SeedRun:
    """The moving parts of a run of one seed."""

    def __init__(self, settings: Settings, job: Job, folder: Path, from_random: bool) -> None:
        self.settings, self.job, self.folder, self.from_random = settings, job, folder, from_random
        self.classes = len(job.splits.labels)
        self.model, self.start = new_model(settings, self.classes, from_random)
        self.model.to(job.here.device)
        use_precision(self.model, settings.precision, job.here.device)
        self.dice = Dice(self.model, settings.seed, job.here)
        self.lengths = [len(ids) for ids, _ in job.encoded["train"]]
        self.total = settings.epochs * len(plan(self.lengths, settings, 0))
        if not self.total:
            raise FineTuneError(
                f"{len(self.lengths)} training texts do not fill {settings.parts} parts of a step"
            )
        warmup = min(round(settings.warmup * self.total), self.total - 1)
        self.optimizer = torch.optim.AdamW(
            adamw_groups(self.model, settings.weight_decay), lr=settings.learning_rate
        )
        self.scheduler = torch.optim.lr_scheduler.LambdaLR(
            self.optimizer, lambda step: warmup_linear(step, warmup, self.total)
        )
        self.progress: dict[str, Any] = {
            "epoch": 0, "in_epoch": 0, "losses": [], "rates": [], "epochs": [], "seconds": 0.0, "cpu_seconds": 0.0,
        }  # fmt: skip
        parts = {"model": self.model, "optimizer": self.optimizer, "scheduler": self.scheduler}
        self.progress = load_checkpoint(folder, parts) or self.progress
        self.parts = parts
        done = len(self.progress["losses"])
        let_the_method_watch(self.model, settings.method, self.optimizer, self.total, done)
        self.shared = shared_out(self.model, job.here)
        self.clock = time.perf_counter(), time.process_time()

    def train(self) -> None:
        """Epoch after epoch, until the last one or until the validation score has not risen for a while."""
        done = len(self.progress["losses"])
        self.job.watch.begin(self.folder, self._label(), self.total, done)
        while self.progress["epoch"] < self.settings.epochs and self._stale() < self.settings.patience:
            steps = plan(self.lengths, self.settings, self.progress["epoch"])
            while self.progress["in_epoch"] < len(steps):
                self._step(steps[self.progress["in_epoch"]])
                if len(self.progress["losses"]) % self.job.checkpoint_every == 0:
                    self._keep()
            self._validate(len(steps))
            self._keep()

    def finish(self) -> dict[str, Any]:
        """Score the best epoch on the test set, once, and write run.json."""
        from safetensors.torch import load_file

        here = self.job.here
        if not here.leads:
            return {}
        self.model.load_state_dict(load_file(self.folder / BEST))
        result = self._score("test")
        odds = result.pop("logits").softmax(dim=-1)
        epochs = self.progress["epochs"]
        best = self._best()
        record = self.settings.as_dict() | {
            "settings": self.settings.as_dict(), "labels": self.job.splits.labels, "from_random": self.from_random,
            "architecture": self.start.architecture, "tokens": self.start.tokens,
            "data_sha256": self.job.splits.fingerprint(),
            "parameters": sum(p.numel() for p in self.model.parameters()),
            "trained_parameters": trained_parameters(self.model), "processes": here.size,
            "steps": len(self.progress["losses"]), "planned_steps": self.total,
            "stopped_early": len(epochs) < self.settings.epochs,
            "best_epoch": best, "best_validation": epochs[best]["validation"]["macro_f1"],
            "epochs": epochs, "losses": self.progress["losses"], "rates": self.progress["rates"],
            "seconds": round(self.progress["seconds"], 1), "cpu_seconds": round(self.progress["cpu_seconds"], 1),
            "test": result, "environment": environment(),
            "test_predictions": [
                [int(row.argmax()), round(float(row.max()), 4)] for row in odds
            ],
        }  # fmt: skip
        write_json(self.folder / RUN, record)
        (self.folder / CHECKPOINT).unlink(missing_ok=True)
        return record

    def _step(self, examples: list[list[int]]) -> None:
        here, done = self.job.here, len(self.progress["losses"])
        mine = examples[here.rank :: here.size]
        batches = [self._batch([self.job.encoded["train"][i] for i in part]) for part in mine]
        rate = float(self.scheduler.get_last_lr()[0])
        self.dice.begin(done)
        losses = train_epoch(
            self.shared, batches, self.optimizer, self.scheduler, len(batches), self.settings.max_norm
        )
        loss = here.mean(losses[0])
        if loss != loss:
            raise FineTuneError(
                f"the loss of step {done + 1} is not a number; choose a smaller --learning-rate than "
                f"{self.settings.learning_rate:g} and another --output"
            )
        self.progress["losses"].append(loss)
        self.progress["rates"].append(rate)
        self.progress["in_epoch"] += 1
        self.job.watch.step(done, loss, rate)

    def _validate(self, steps: int) -> None:
        result = self._score("validation")
        del result["logits"]
        losses = self.progress["losses"][-steps:]
        record = {
            "epoch": self.progress["epoch"],
            "loss": sum(losses) / len(losses),
            "validation": result,
        }
        self.progress["epochs"].append(record)
        self.progress["epoch"] += 1
        self.progress["in_epoch"] = 0
        if self.job.here.leads and self._best() == len(self.progress["epochs"]) - 1:
            save_weights(self.folder / BEST, self.model.state_dict())
        self.job.watch.epoch(len(self.progress["losses"]), record)

    def _score(self, part: str) -> dict[str, Any]:
        """`evaluate` on a part, with plain lists, and the loss beside it."""
        examples = self.job.encoded[part]
        some = [examples[i : i + SCORED_AT_ONCE] for i in range(0, len(examples), SCORED_AT_ONCE)]
        draws = torch.Generator().manual_seed(number_of(self.settings.seed, part, "resamples"))
        result = evaluate(self.model, [self._batch(one) for one in some], self.classes, RESAMPLES, draws)
        labels = torch.tensor([label for _, label in examples])
        loss = nn.functional.cross_entropy(result["logits"], labels).item()
        return result | {"loss": loss, "confusion": result["confusion"].tolist()}

    def _batch(self, examples: list[tuple[list[int], int]]) -> Batch:
        tokens, mask, labels = collate(examples, PADDING)
        device = self.job.here.device
        return tokens.to(device), mask.to(device), labels.to(device)

    def _keep(self) -> None:
        wall, cpu = time.perf_counter(), time.process_time()
        self.progress["seconds"] += wall - self.clock[0]
        self.progress["cpu_seconds"] += cpu - self.clock[1]
        self.clock = wall, cpu
        if self.job.here.leads:
            save_checkpoint(self.folder, self.parts, self.progress)

    def _scores(self) -> list[float]:
        return [record["validation"]["macro_f1"] for record in self.progress["epochs"]]

    def _best(self) -> int:
        """The epoch with the best validation score, the earliest of equals."""
        return self._scores().index(max(self._scores()))

    def _stale(self) -> int:
        """How many epochs ago the best one was."""
        return len(self._scores()) - 1 - self._best() if self._scores() else 0

    def _label(self) -> str:
        return f"seed {self.settings.seed}" + (" (random weights)" if self.from_random else "")
