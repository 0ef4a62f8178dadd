"""Try tiles of the fast kernels in other processes: one that hangs or breaks the GPU's context takes nobody along.

python -m coursebuild.benchmarks.attention_cuda_trial      (reads its work from standard input)
"""

from __future__ import annotations

import json
import os
import selectors
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from typing import Any

import torch

from attention_from_scratch.triton_fast_launch import FastTile, choose_fast_tile
from coursebuild.benchmarks.attention_cuda_peers import Cell, Peer, gate_errors, ours_fast
from coursebuild.benchmarks.parts import in_parts

__all__ = ["Trial", "trials"]

PATIENCE = 60.0  # seconds for a trial; Python's start, the GPU's context and two compilations need some 20
COMMAND = [sys.executable, "-m", "coursebuild.benchmarks.attention_cuda_trial"]


@dataclass(frozen=True)
class Trial:
    """One tile of one fast kernel."""

    kernel: str
    tile: dict[str, Any]


def trials(
    wanted: list[Trial], cell: Cell, dtype: torch.dtype, device: str, patience: float = PATIENCE
) -> list[str]:
    """For each trial why it may not run here, or nothing: it computed attention on `cell` and came back in time."""
    return in_parts(wanted, lambda part: _in_turn(part, cell, dtype, device, patience), cores_each=2)


def _in_turn(wanted: list[Trial], cell: Cell, dtype: torch.dtype, device: str, patience: float) -> list[str]:
    """One process for all of them, and a new one behind each that hung or died."""
    faults: list[str] = []
    while len(faults) < len(wanted):
        message = {
            "cell": asdict(cell), "dtype": str(dtype).removeprefix("torch."), "device": device,
            "trials": [asdict(trial) for trial in wanted[len(faults) :]],
        }  # fmt: skip
        faults += _answers(json.dumps(message), patience)
    return faults


def _answers(message: str, patience: float) -> Iterator[str]:
    """What one process said of its trials, up to the first one that it did not survive."""
    with subprocess.Popen(
        COMMAND, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL
    ) as run:
        assert run.stdin
        assert run.stdout
        run.stdin.write(message.encode())
        run.stdin.close()
        for _ in json.loads(message)["trials"]:
            line = _line_before(run.stdout.fileno(), time.monotonic() + patience)
            if line is None:
                run.kill()
                yield f"it did not come back in {patience:.0f} s"
                return
            if not line:
                yield f"its process ended with exit status {run.wait()}"
                return
            yield json.loads(line)


def _line_before(descriptor: int, until: float) -> bytes | None:
    """One line, nothing at the end of the stream, None when the time is over."""
    line = b""
    with selectors.DefaultSelector() as selector:
        selector.register(descriptor, selectors.EVENT_READ)
        while not line.endswith(b"\n"):
            if not selector.select(max(0.0, until - time.monotonic())):
                return None
            byte = os.read(descriptor, 1)
            if not byte:
                return b""
            line += byte
    return line


def main() -> None:
    """The other process: one line of JSON for every trial, a fault or an empty string."""
    message = json.load(sys.stdin)
    answers = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)  # whatever else is printed must not be taken for an answer
    cell, dtype = Cell(**message["cell"]), getattr(torch, message["dtype"])
    for one in message["trials"]:
        choose_fast_tile(one["kernel"], cell.dim, cell.causal, FastTile(**one["tile"]))
        _, fault = gate_errors(Peer("trial", ours_fast), cell, dtype, message["device"])
        choose_fast_tile(one["kernel"], cell.dim, cell.causal, None)
        print(json.dumps(fault), file=answers, flush=True)


if __name__ == "__main__":
    main()
