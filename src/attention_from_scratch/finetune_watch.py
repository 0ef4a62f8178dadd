"""Who follows a run while it goes: a progress bar or plain lines for a person, curves for TensorBoard."""

from __future__ import annotations

import os
import platform
import sys
import time
from pathlib import Path
from types import TracebackType
from typing import Any

import torch

from attention_from_scratch.machine import load_average, processor


class Watch:
    """Tells nobody anything. A run calls these three at its start, after every step and after every epoch."""

    def begin(self, folder: Path, label: str, total: int, done: int) -> None:
        """A run of `total` steps begins, or goes on after `done` of them."""

    def step(self, step: int, loss: float, rate: float) -> None:
        """Step number `step` (the first is 0) is done."""

    def epoch(self, step: int, record: dict[str, Any]) -> None:
        """An epoch is done and validated."""

    def close(self) -> None:
        """Nothing more will come."""

    def __enter__(self) -> Watch:
        return self

    def __exit__(self, kind: type | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self.close()


class Screen(Watch):
    """A bar where somebody watches, one line an epoch where nobody does; curves beside them for TensorBoard."""

    def __init__(self) -> None:
        from rich.console import Console
        from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

        self.console = Console(stderr=True)
        columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
        self.bar = Progress(*columns, console=self.console, disable=not self.console.is_terminal)
        self.bar.start()
        self.writer: Any = None

    def begin(self, folder: Path, label: str, total: int, done: int) -> None:
        """Start a line of the bar, and a writer that forgets what came after the checkpoint."""
        self._close_writer()
        self.label = label
        self.task = self.bar.add_task(label, total=total, completed=done)
        if done and not self.console.is_terminal:
            print(f"{label}: goes on after step {done} of {total}", file=sys.stderr, flush=True)
        try:
            from torch.utils.tensorboard import SummaryWriter
        except ImportError:
            print("no curves for TensorBoard: pip install tensorboard", file=sys.stderr)
            return
        self.writer = SummaryWriter(str(folder / "tensorboard"), purge_step=done)

    def step(self, step: int, loss: float, rate: float) -> None:
        """The bar moves, two curves grow."""
        self.bar.update(self.task, completed=step + 1, description=f"{self.label}  loss {loss:.3f}")
        if self.writer:
            self.writer.add_scalar("train/loss", loss, step)
            self.writer.add_scalar("train/learning_rate", rate, step)

    def epoch(self, step: int, record: dict[str, Any]) -> None:
        """What the validation said."""
        if self.writer:
            for name in ("loss", "accuracy", "macro_f1"):
                self.writer.add_scalar(f"validation/{name}", record["validation"][name], step)
            self.writer.flush()
        said = (
            f"{self.label}: epoch {record['epoch'] + 1}, loss {record['loss']:.3f}, validation loss "
            f"{record['validation']['loss']:.3f}, macro-F1 {record['validation']['macro_f1']:.3f}"
        )
        if self.console.is_terminal:
            self.console.print(said)
        else:
            print(said, file=sys.stderr, flush=True)

    def close(self) -> None:
        """Leave the terminal as it was."""
        self.bar.stop()
        self._close_writer()

    def _close_writer(self) -> None:
        if self.writer:
            self.writer.close()
            self.writer = None


def environment() -> dict[str, Any]:
    """Where a run was made: processor, cores, threads, versions, and how busy the machine was. No names, no paths."""
    from importlib.metadata import version

    return {
        "time": time.strftime("%Y-%m-%d %H:%M UTC", time.gmtime()),
        "machine": {
            "processor": processor(),
            "cores": os.cpu_count(),
            "system": f"{platform.system()} {platform.machine()}",
            "gpu": torch.cuda.get_device_name() if torch.cuda.is_available() else None,
        },
        "versions": {"python": platform.python_version(), "torch": torch.__version__}
        | {name: version(name) for name in ("numpy", "scikit-learn", "safetensors")},
        "threads": torch.get_num_threads(),
        "load_average": load_average(),
    }
