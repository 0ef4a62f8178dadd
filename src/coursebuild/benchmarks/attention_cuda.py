"""`course bench attention --device cuda`: the course's kernels beside PyTorch's fused attention, on one GPU.

First the machine's two ceilings, then the gate (who does not compute attention is not timed), then tiles for our
kernels, then the cells, the most telling ones first. All peers of a cell take turns. What fails is written down and the
rest goes on; when the time is used up the rest is left out, and the report says so. With `device="cpu"` the same script
runs on the interpreter, which is how it is tested; its times mean nothing.
"""

from __future__ import annotations

import json
import platform
import statistics
import time
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path
from typing import Any

import torch

from attention_from_scratch.machine import cores, processor
from attention_from_scratch.whole_files import write_whole
from coursebuild.benchmarks.attention_cuda_peers import (
    Cell,
    Peer,
    cells,
    draw,
    first_line,
    gate_errors,
    peers,
    short_cell,
    trial_cell,
)
from coursebuild.benchmarks.attention_cuda_summary import summary, table
from coursebuild.benchmarks.attention_cuda_tiles import CANDIDATES, FAMILIES, Tile, tune
from coursebuild.errors import CourseError

ROUNDS = 3
SECONDS = 450.0  # of the eight minutes; a step that has begun is finished
TURN = 20.0  # milliseconds that one turn of a peer lasts, about
KINDS = ("forward", "backward", "both")


class Bench:
    """One run of the benchmark: its device and dtype, the time that is left, and the report as far as it is."""

    def __init__(self, device: str, dtype: torch.dtype, seconds: float) -> None:
        self.device, self.dtype = device, dtype
        self.until = time.monotonic() + seconds
        self.report: dict[str, Any] = {"gate": [], "tiles": [], "cells": [], "left_out": []}

    def is_late(self) -> bool:
        """Whether the time is used up."""
        return time.monotonic() > self.until

    def milliseconds(self, run: Callable[[], Any], repeats: int) -> float:
        """The time of one run, by device events round `repeats` of them; by the clock on a CPU."""
        if self.device == "cpu":
            begin = time.perf_counter()
            for _ in range(repeats):
                run()
            return 1e3 * (time.perf_counter() - begin) / repeats
        start, end = (torch.cuda.Event(enable_timing=True) for _ in range(2))
        start.record()
        for _ in range(repeats):
            run()
        end.record()
        torch.cuda.synchronize()
        return float(start.elapsed_time(end)) / repeats

    def peak_bytes(self, run: Callable[[], Any]) -> int | None:
        """Bytes of device memory at the worst moment of one run, beyond what was there before."""
        if self.device == "cpu":
            return None
        torch.cuda.reset_peak_memory_stats()
        before = torch.cuda.memory_allocated()
        run()
        torch.cuda.synchronize()
        return int(torch.cuda.max_memory_allocated() - before)

    def ceilings(self, size: int) -> dict[str, float]:
        """The machine's own limits: a square product of `size` on random numbers, and a copy of four times as many."""
        a, b = (torch.randn(size, size, device=self.device, dtype=self.dtype) for _ in range(2))
        source = torch.randn(4 * size * size, device=self.device)
        target = torch.empty_like(source)
        self.milliseconds(lambda: a @ b, 3)
        product = min(self.milliseconds(lambda: a @ b, 10) for _ in range(3))
        copy = min(self.milliseconds(lambda: target.copy_(source), 10) for _ in range(3))
        return {
            "matmul_flops_per_second": 2 * size**3 / product * 1e3,
            "copy_bytes_per_second": 2 * source.numel() * 4 / copy * 1e3,
        }

    def admitted(self, cell: Cell, everybody: list[Peer]) -> list[Peer]:
        """Who may be timed on this cell: each peer goes through the gate once for every kind of shape."""
        kind = short_cell(cell)
        for peer in everybody:
            if self._gate(peer, kind) is None and cell.length <= peer.longest and not self.is_late():
                errors, fault = gate_errors(peer, kind, self.dtype, self.device)
                self.report["gate"].append(
                    {"peer": peer.name, "shape": vars(kind), "errors": errors, "fault": fault}
                )
                if fault:
                    print(f"{peer.name} is not timed on shapes like {_named(kind)}: {fault}", flush=True)
        return [peer for peer in everybody if cell.length <= peer.longest and self._gate(peer, kind) == ""]

    def _gate(self, peer: Peer, kind: Cell) -> str | None:
        for entry in self.report["gate"]:
            if entry["peer"] == peer.name and entry["shape"] == vars(kind):
                return str(entry["fault"])
        return None

    def measure(self, cell: Cell, admitted: list[Peer]) -> Iterator[dict[str, Any]]:
        """Time the peers in turns. All forward passes keep what a backward pass needs, as in training."""
        q, k, v, dout = draw(cell, self.dtype, self.device)
        runs: dict[tuple[str, str], Callable[[], Any]] = {}
        repeats: dict[tuple[str, str], int] = {}
        for peer in admitted:
            try:
                mine = _runs(peer, cell, q, k, v, dout)
                for kind, run in mine.items():
                    self.milliseconds(run, 2)  # compiles, allocates
                    repeats[peer.name, kind] = max(1, int(TURN / max(self.milliseconds(run, 2), 1e-3)))
                runs |= {(peer.name, kind): run for kind, run in mine.items()}
            except Exception as problem:  # out of memory, say: the others go on
                yield {"shape": vars(cell), "peer": peer.name, "fault": first_line(problem)}
        turns: dict[tuple[str, str], list[float]] = {name: [] for name in runs}
        for _ in range(ROUNDS):
            for name, run in runs.items():
                turns[name].append(self.milliseconds(run, repeats[name]))
        for (peer_name, kind), times in turns.items():
            median = statistics.median(times)
            yield {
                "shape": vars(cell), "peer": peer_name, "kind": kind, "flops": cell.flops(kind),
                "milliseconds": {"median": median, "low": min(times), "high": max(times)},
                "flops_per_second": cell.flops(kind) / median * 1e3,
                "peak_bytes": self.peak_bytes(runs[peer_name, kind]),
            }  # fmt: skip


def _runs(peer: Peer, cell: Cell, q: Any, k: Any, v: Any, dout: Any) -> dict[str, Callable[[], Any]]:
    """The three calls that are timed."""
    out = peer.attend(q, k, v, cell.causal)

    def forward() -> None:
        peer.attend(q, k, v, cell.causal)

    def backward() -> None:
        torch.autograd.grad(out, (q, k, v), dout, retain_graph=True)

    def both() -> None:
        torch.autograd.grad(peer.attend(q, k, v, cell.causal), (q, k, v), dout)

    return dict(zip(KINDS, (forward, backward, both), strict=True))


def _named(cell: Cell) -> str:
    mask = "causal" if cell.causal else "full"
    return f"{cell.batch}×{cell.heads}:{cell.groups}×{cell.length}×{cell.dim} {mask}"


def _machine(device: str) -> dict[str, Any]:
    """What the numbers were measured on."""
    host = {"processor": processor(), "cores": cores(), "system": f"{platform.system()} {platform.machine()}"}
    if device == "cpu":
        return {"device": "cpu, Triton's interpreter"} | host
    properties = torch.cuda.get_device_properties(torch.cuda.current_device())
    return {
        "device": properties.name, "capability": f"{properties.major}.{properties.minor}",
        "memory_bytes": properties.total_memory, "multiprocessors": properties.multi_processor_count,
        "cuda": torch.version.cuda, "cudnn": torch.backends.cudnn.version(), **host,
    }  # fmt: skip


def _write(bench: Bench, json_file: Path | None) -> None:
    if json_file:
        write_whole(json_file, json.dumps(bench.report, indent=1) + "\n")


def run(
    json_file: Path | None,
    device: str = "cuda",
    dtype: torch.dtype = torch.bfloat16,
    grid: list[Cell] | None = None,
    everybody: list[Peer] | None = None,
    candidates: dict[str, dict[str, list[Tile]]] | None = None,
    largest: int = 8192,
    seconds: float = SECONDS,
) -> int:
    """The command: ceilings, gate, tiles, cells; a table on the screen, and the JSON where asked, after every cell."""
    if device == "cuda" and not torch.cuda.is_available():
        raise CourseError("there is no CUDA device here, so nothing was measured")
    bench = Bench(device, dtype, seconds)
    everybody, grid = everybody or peers(), grid or cells()
    candidates = CANDIDATES if candidates is None else candidates
    roof = bench.ceilings(largest)
    head: dict[str, Any] = {
        "schema": 2, "command": "course bench attention --device cuda", "machine": _machine(device),
        "measured": datetime.now(UTC).strftime("%Y-%m-%d %H:%M UTC"), "dtype": str(dtype).removeprefix("torch."),
        "versions": {"python": platform.python_version()} | {n: version(n) for n in ("torch", "triton")},
        "rounds": ROUNDS, "ceilings": roof,
    }  # fmt: skip
    bench.report = head | bench.report
    print(f"{bench.report['machine']['device']}: product {roof['matmul_flops_per_second'] / 1e12:.3g} TFLOP/s, "
          f"copy {roof['copy_bytes_per_second'] / 1e12:.3g} TB/s")  # fmt: skip
    tuned: set[tuple[str, int, bool]] = set()
    for cell in grid:
        if bench.is_late():
            bench.report["left_out"].append({"shape": vars(cell), "why": f"{seconds:.0f} s were used up"})
            continue
        admitted = bench.admitted(cell, everybody)
        for name in [peer.name for peer in admitted if peer.name in FAMILIES]:
            about = (name, cell.dim, FAMILIES[name].by_mask and cell.causal)
            if about not in tuned:
                tuned.add(about)
                mine = candidates.get(name, {})
                bench.report["tiles"] += tune(
                    name, cell, trial_cell(cell), dtype, device, bench.milliseconds, mine
                )
                _write(bench, json_file)
        results = list(bench.measure(cell, admitted))
        bench.report["cells"] += results
        print(table(_named(cell), results, roof), flush=True)
        bench.report["summary"] = summary(bench.report["cells"])
        _write(bench, json_file)
    for line in bench.report.get("summary", []):
        print(f"{line['mine']:9s} {line['kind']:8s} d{line['dim']:<4d} {'causal' if line['causal'] else 'full  '} "
              f"{line['ratio']:.2f} × {line['peer']} ({line['cells']} cells of 8k and 16k)")  # fmt: skip
    if bench.report["left_out"]:
        print(f"{len(bench.report['left_out'])} of {len(grid)} cells were left out: the time was used up")
    _write(bench, json_file)
    return 0
