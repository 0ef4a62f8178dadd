"""Run a command and say what it cost: seconds on the clock, seconds of the processor, memory of its processes.

The clock depends on what else the machine does; the processor's seconds, of the command and of everything that it
started, hardly do.
"""

from __future__ import annotations

import contextlib
import ctypes
import os
import platform
import resource
import subprocess
import threading
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from importlib.metadata import version
from pathlib import Path
from typing import Any

import psutil

from attention_from_scratch.machine import cores, processor

_SET_CHILD_SUBREAPER = 36  # linux/prctl.h
SAMPLE_SECONDS = 0.25


@dataclass
class Cost:
    """What one run of a command cost; `load` is the machine's load average at its start."""

    seconds: float
    cpu: float
    load: float


@dataclass
class Memory:
    """The most memory seen in a run, in MiB: of all processes together, and of its own in each role."""

    together: float = 0.0
    own: dict[str, float] = field(default_factory=dict)


def run(command: Sequence[str], where: Path, memory: Memory | None = None) -> Cost:
    """Run a command to its end. Raises RuntimeError, with its last words, when it fails."""
    _adopt_orphans()
    load, before, began = os.getloadavg()[0], _cpu_of_children(), time.perf_counter()
    environment = {
        **os.environ,
        "OMP_NUM_THREADS": "1",
    }  # for both ways: more threads than cores slow each other
    process = subprocess.Popen(
        command, cwd=where, env=environment, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True
    )
    done = threading.Event()
    watcher = threading.Thread(target=_watch, args=(process.pid, memory, done))
    if memory is not None:
        watcher.start()
    _, said = process.communicate()
    seconds = time.perf_counter() - began
    done.set()
    if memory is not None:
        watcher.join()
    _wait_for_orphans()
    if process.returncode:
        raise RuntimeError(f"{' '.join(command)} ended with {process.returncode}: {said[-2000:]}")
    return Cost(seconds, _cpu_of_children() - before, load)


def _adopt_orphans() -> None:
    """Processes whose parent ends become ours (on Linux), so that their time is counted when we wait for them."""
    if platform.system() == "Linux":
        ctypes.CDLL(None, use_errno=True).prctl(_SET_CHILD_SUBREAPER, 1, 0, 0, 0)


def _wait_for_orphans() -> None:
    with contextlib.suppress(ChildProcessError):
        while True:
            os.waitpid(-1, 0)


def _cpu_of_children() -> float:
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime


def _watch(pid: int, memory: Memory | None, done: threading.Event) -> None:
    assert memory is not None
    while not done.wait(SAMPLE_SECONDS):
        with contextlib.suppress(psutil.Error, OSError):
            _sample(psutil.Process(pid), memory)


def _sample(process: psutil.Process, memory: Memory) -> None:
    """Shared pages count once in `together` (Pss); `own` is what would be free if that process ended (Uss)."""
    together = 0.0
    for one in [process, *process.children(recursive=True)]:
        with contextlib.suppress(psutil.Error, OSError):
            used = one.memory_full_info()
            together += used.pss / 2**20
            role = _role(process, one)
            memory.own[role] = max(memory.own.get(role, 0.0), used.uss / 2**20)
    memory.together = max(memory.together, together)


def _role(main: psutil.Process, one: psutil.Process) -> str:
    """By the number of generations below the command: itself, the warm process, the keepers, the runners."""
    lineage = [parent.pid for parent in (one, *one.parents())]
    depth = lineage.index(main.pid) if main.pid in lineage else 0
    return ("judge", "base", "keeper", "keeper", "runner")[min(depth, 4)]


def machine() -> dict[str, Any]:
    """The machine and the versions."""
    return {
        "cores": cores(),
        "processor": processor(),
        "system": f"{platform.system()} {platform.release()}",
        "python": platform.python_version(),
        **{name: version(name) for name in ("torch", "numpy", "nbgrader")},
    }
