"""`course bench attention`: time and memory of the course's attention and of PyTorch's, after a check of the numbers.

On a CPU: three shapes for every peer, then time and memory against length for the three that scale. All peers take
turns in every round, so that whatever else the machine does touches them alike. The result is one JSON.
"""

from __future__ import annotations

import importlib
import json
import math
import platform
import statistics
import time
from collections.abc import Callable, Iterable
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from attention_from_scratch.machine import cores, load_average, processor
from attention_from_scratch.measuring import (
    can_measure_process,
    copy_rate,
    matmul_rate,
    peak_process_bytes,
    peak_tensor_bytes,
)
from attention_from_scratch.whole_files import write_whole
from coursebuild.benchmarks.attention_peers import PEERS, TILE, Peer, reference
from coursebuild.errors import CourseError

Shape = tuple[int, int, int, int]
SHAPES: list[Shape] = [(1, 1, 64, 32), (4, 8, 1024, 64), (1, 8, 2048, 64)]
SMALL: Shape = (1, 2, 130, 64)  # a call before the memory is measured: more than one tile, and little data
KINDS = ("forward", "forward+backward")
SWEEP = ("torch naive", "torch tiled", "SDPA")
LENGTHS = (256, 512, 1024, 2048, 4096)
TOO_LONG = 60.0  # seconds a call, by the rate on the shape before; then it is left out
SHORT = 0.02  # seconds; a shorter call is repeated until it has taken this long, and divided
# Relative error (Frobenius) against float64 in float32: sums of some thousand terms in another order, measured worst
# 5e-7; a fast exponential or a float16 accumulator is far outside.
GATE = {"O": 2e-6, "dQ": 3e-6, "dK": 3e-6, "dV": 3e-6}
BACKWARD = 2.5  # operations of a backward pass, in forward passes: five products instead of two


def run(json_file: Path | None = None, device: str = "cpu", threads: int = 1, rounds: int = 5) -> int:
    """The command: measure, print a table, write the JSON where asked."""
    if device == "cuda":
        return _on_a_gpu(json_file)
    torch.set_num_threads(threads)
    say = print
    load = {"start": load_average()}
    ceilings = _ceilings()
    rates = [rate / 1e9 for rate in ceilings.values()]
    say(f"{_machine()['processor']}, {threads} thread(s), load average {load['start']}")
    say(f"product of 2048 × 2048 in float32 {rates[0]:.1f} GFLOP/s, copy {rates[1]:.1f} GB/s")
    cells = list(measure(SHAPES, PEERS, rounds, say))
    some = [peer for peer in PEERS if peer.name in SWEEP]
    by_length = list(measure([(1, 8, length, 64) for length in LENGTHS], some, max(3, rounds - 2), say))
    ceilings = {name: max(rate, ceilings[name]) for name, rate in _ceilings().items()}
    load["end"] = load_average()
    result = {
        "schema": 1,
        "command": "course bench attention --device cpu",
        "measured": datetime.now(UTC).strftime("%Y-%m-%d %H:%M UTC"),
        "device": "cpu",
        "machine": _machine(),
        "versions": {"python": platform.python_version()} | {n: version(n) for n in ("torch", "numpy")},
        "threads": threads,
        "load_average": load,
        "rounds": rounds,
        "tile": TILE,
        "gate": GATE,
        "ceilings": ceilings,
        "peers": {peer.name: peer.what for peer in PEERS},
        "memory": _how_memory_was_measured(),
        "cells": cells,
        "by_length": by_length,
    }
    if json_file:
        write_whole(json_file, json.dumps(result, indent=1) + "\n")
    return 0


def measure(
    shapes: Iterable[Shape], peers: list[Peer], rounds: int, say: Callable[[str], Any]
) -> Iterable[dict[str, Any]]:
    """One cell for every shape, kind and peer: checked, timed in turns, memory measured; or the reason why not."""
    seen: dict[str, float] = {}  # seconds a floating-point operation, of slow peers
    for shape in shapes:
        tensors = inputs(shape)
        for kind in KINDS:
            work = flops(shape, kind)
            guess = {p.name: seen[p.name] * work for p in peers if p.name in seen}
            skipped = {name: seconds for name, seconds in guess.items() if seconds > TOO_LONG}
            errors = _through_the_gate([p for p in peers if p.name not in skipped], kind, tensors)
            times = _in_turns([p for p in peers if p.name not in skipped], kind, tensors, rounds)
            for peer in peers:
                cell = {"shape": _named(shape), "kind": kind, "peer": peer.name, "flops": work}
                if peer.name in skipped:
                    minutes = skipped[peer.name] / 60
                    cell["skipped"] = (
                        f"would take about {minutes:.0f} minutes a call, by its rate on a smaller shape"
                    )
                else:
                    cell |= {"seconds": times[peer.name], "error": errors[peer.name]}
                    cell |= _memory(peer, kind, tensors)
                say(_line(cell))
                yield cell
            seen |= {p.name: times[p.name]["median"] / work for p in peers if p.is_slow and p.name in times}


def _ceilings() -> dict[str, float]:
    """What no peer can exceed, measured before and after all of them; the better of the two counts."""
    return {
        "matmul_flops_per_second": matmul_rate(2048, 5, torch.float32),
        "copy_bytes_per_second": copy_rate(2**28, 5),
    }


def inputs(shape: Shape) -> tuple[Tensor, ...]:
    """Q, K, V and the gradient of the output, standard normal float32, the same for every peer."""
    generator = torch.Generator().manual_seed(8)
    return tuple(torch.randn(4, *shape, generator=generator).unbind(0))


def flops(shape: Shape, kind: str) -> int:
    """Operations of the matrix products, as everybody counts them; what a peer computes twice counts once."""
    batch, heads, length, dim = shape
    forward = 4 * batch * heads * length * length * dim
    return forward if kind == "forward" else int((1 + BACKWARD) * forward)


def _through_the_gate(
    peers: list[Peer], kind: str, tensors: tuple[Tensor, ...]
) -> dict[str, dict[str, float]]:
    """The errors of every peer against float64. A peer that is wrong is not timed: the benchmark stops."""
    expected = dict(zip(GATE, reference(tensors), strict=True))
    errors: dict[str, dict[str, float]] = {}
    for peer in peers:
        got = peer.call(kind)(*peer.prepare(tensors))
        results = [got] if kind == "forward" else got
        errors[peer.name] = {}
        for name, result in zip(expected, results, strict=False):
            value = torch.as_tensor(result, dtype=torch.float64)
            error = float((value - expected[name]).norm() / expected[name].norm())
            errors[peer.name][name] = error
            if not error <= GATE[name]:  # a NaN does not pass
                raise CourseError(
                    f"{peer.name} does not compute attention: {name} is off by {error:.1e} of its norm, allowed "
                    f"{GATE[name]:.0e}; nothing is timed that is wrong"
                )
    return errors


def _in_turns(
    peers: list[Peer], kind: str, tensors: tuple[Tensor, ...], rounds: int
) -> dict[str, dict[str, Any]]:
    """Seconds a call: in every round each peer has one turn. The gate was the warm-up."""
    prepared = {peer.name: peer.prepare(tensors) for peer in peers}
    once = {peer.name: _seconds(peer.call(kind), prepared[peer.name], 1) for peer in peers}
    repeats = {name: max(1, math.ceil(SHORT / seconds)) for name, seconds in once.items()}
    turns: dict[str, list[float]] = {peer.name: [] for peer in peers}
    for _ in range(rounds):
        for peer in peers:
            turns[peer.name].append(_seconds(peer.call(kind), prepared[peer.name], repeats[peer.name]))
    return {
        name: {"median": statistics.median(all_), "low": min(all_), "high": max(all_), "rounds": all_}
        for name, all_ in turns.items()
    }


def _seconds(call: Callable[..., Any], arguments: tuple[Any, ...], repeats: int) -> float:
    start = time.perf_counter()
    for _ in range(repeats):
        call(*arguments)
    return (time.perf_counter() - start) / repeats


def _memory(peer: Peer, kind: str, tensors: tuple[Tensor, ...]) -> dict[str, int | None]:
    """Bytes at the worst moment, beyond the inputs: of the process, and of PyTorch's tensors."""
    call, arguments = peer.call(kind), peer.prepare(tensors)
    small = peer.prepare(inputs(SMALL))
    process = None
    if can_measure_process():  # the smaller of two: what disturbs this measure only adds
        process = min(peak_process_bytes(call, arguments, small) for _ in range(2))
    tensor = peak_tensor_bytes(call, *arguments) if isinstance(arguments[0], Tensor) else None
    return {"process_bytes": process, "tensor_bytes": tensor}


def _line(cell: dict[str, Any]) -> str:
    shape = "×".join(str(size) for size in cell["shape"].values())
    start = f"{shape:<14} {cell['kind']:<17} {cell['peer']:<13}"
    if "skipped" in cell:
        return f"{start} not measured: {cell['skipped']}"
    seconds = cell["seconds"]
    memory = "" if cell["process_bytes"] is None else f"{cell['process_bytes'] / 2**20:9.1f} MiB"
    return (
        f"{start} {1e3 * seconds['median']:10.3f} ms ({1e3 * seconds['low']:.3f} to {1e3 * seconds['high']:.3f}) "
        f"{cell['flops'] / seconds['median'] / 1e9:8.2f} GFLOP/s {memory}"
    )


def _named(shape: Shape) -> dict[str, int]:
    return dict(zip(("batch", "heads", "length", "dim"), shape, strict=True))


def _machine() -> dict[str, Any]:
    return {"processor": processor(), "cores": cores(), "system": f"{platform.system()} {platform.machine()}"}


def _how_memory_was_measured() -> str:
    tensors = (
        "tensor_bytes: most bytes of tensors alive at once, counted at every operation PyTorch dispatches"
    )
    if not can_measure_process():
        return f"{tensors}; process_bytes needs Linux"
    process = "process_bytes: growth of VmHWM over VmRSS before the call, in a fork on one thread, the smaller of two"
    return f"{process}; {tensors}"


def _on_a_gpu(json_file: Path | None) -> int:
    """Hand over to the GPU benchmark, or say in one sentence why not."""
    if not torch.cuda.is_available():
        raise CourseError(
            "this machine has no CUDA device that PyTorch can use, so nothing was measured; use --device cpu here"
        )
    try:
        module = importlib.import_module("coursebuild.benchmarks.attention_cuda")
    except ImportError as error:  # Triton has no build for this system: the sentence says what to do
        raise CourseError(str(error)) from error
    return int(module.run(json_file))
