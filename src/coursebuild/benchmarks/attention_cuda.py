"""`course bench attention --device cuda`: the course's kernels beside PyTorch's fused attention, on one GPU.

First the machine's two ceilings, then a gate: a peer that does not compute attention is not timed. All peers of a cell
take turns. Operations are counted as everybody does: 4·B·H·N²·D forward (half of it under a causal mask), 2.5 times as
much backward.
"""

from __future__ import annotations

import json
import platform
import statistics
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.nn.functional import scaled_dot_product_attention

from attention_from_scratch.triton_attention_backward import TritonAttention
from attention_from_scratch.triton_attention_forward import attention_specification
from attention_from_scratch.whole_files import write_whole
from coursebuild.errors import CourseError

TOKENS, WIDTH = 16384, 2048  # batch · length and heads · dim of every cell
LENGTHS = (1024, 2048, 4096, 8192, 16384)
DIMS = (64, 128)
LONGEST_NAIVE = 2048  # the three steps keep (length, length) matrices: 17 GiB at 16384
ROUNDS = 3
# Relative Frobenius error against float64. bfloat16: a rounding of the weights and of the result; gradients 1.5 times.
GATE = {torch.bfloat16: 5e-3, torch.float16: 6e-4, torch.float32: 3e-6}

Attend = Callable[[Tensor, Tensor, Tensor, bool], Tensor]


@dataclass(frozen=True)
class Peer:
    """One way to compute attention; `longest` is the longest length it is asked for."""

    name: str
    attend: Attend
    longest: int = 1 << 30


@dataclass(frozen=True)
class Cell:
    """One shape, with or without a causal mask."""

    batch: int
    heads: int
    groups: int
    length: int
    dim: int
    causal: bool

    def flops(self, kind: str) -> float:
        """Operations of "forward", "backward" or "both"."""
        forward = 4 * self.batch * self.heads * self.length**2 * self.dim * (0.5 if self.causal else 1.0)
        return forward * {"forward": 1.0, "backward": 2.5, "both": 3.5}[kind]


def cells() -> list[Cell]:
    """The grid, then grouped queries and a length that is no multiple of anything."""
    grid = [
        Cell(TOKENS // length, WIDTH // dim, WIDTH // dim, length, dim, causal)
        for dim in DIMS
        for causal in (False, True)
        for length in LENGTHS
    ]
    return [*grid, Cell(2, 32, 8, 8192, 128, True), Cell(4, 16, 16, 4007, 128, True)]


def naive(q: Tensor, k: Tensor, v: Tensor, causal: bool) -> Tensor:
    """Three steps, each through memory."""
    share = q.shape[1] // k.shape[1]
    k, v = k.repeat_interleave(share, dim=1), v.repeat_interleave(share, dim=1)  # (batch, heads, keys, dim)
    scores = q @ k.transpose(-2, -1) * q.shape[-1] ** -0.5  # (batch, heads, queries, keys)
    if causal:
        hidden = torch.ones(scores.shape[-2:], dtype=torch.bool, device=q.device).triu(1)
        scores = scores.masked_fill(hidden, float("-inf"))
    return torch.softmax(scores, dim=-1) @ v


def ours(q: Tensor, k: Tensor, v: Tensor, causal: bool) -> Tensor:
    """The kernels of chapters 10 and 11."""
    out: Tensor = TritonAttention.apply(q, k, v, causal, None, q.shape[-1] ** -0.5)
    return out


def fused(backend: SDPBackend) -> Attend:
    """PyTorch's fused attention with one backend and no other."""

    def attend(q: Tensor, k: Tensor, v: Tensor, causal: bool) -> Tensor:
        with sdpa_kernel(backend):
            return scaled_dot_product_attention(
                q, k, v, is_causal=causal, enable_gqa=q.shape[1] != k.shape[1]
            )

    return attend


def flex() -> Attend:
    """FlexAttention, compiled, with a block mask where it is causal."""
    from torch.nn.attention.flex_attention import create_block_mask, flex_attention

    compiled = torch.compile(flex_attention)
    masks: dict[int, Any] = {}

    def attend(q: Tensor, k: Tensor, v: Tensor, causal: bool) -> Tensor:
        length = q.shape[2]
        if causal and length not in masks:
            masks[length] = create_block_mask(
                lambda b, h, i, j: i >= j, None, None, length, length, device=q.device
            )
        mask = masks[length] if causal else None
        out: Tensor = compiled(q, k, v, block_mask=mask, enable_gqa=q.shape[1] != k.shape[1])
        return out

    return attend


def peers() -> list[Peer]:
    """Everybody who takes part."""
    return [
        Peer("naive", naive, LONGEST_NAIVE),
        Peer("naive compiled", torch.compile(naive), LONGEST_NAIVE),
        Peer("SDPA flash", fused(SDPBackend.FLASH_ATTENTION)),
        Peer("SDPA cuDNN", fused(SDPBackend.CUDNN_ATTENTION)),
        Peer("FlexAttention", flex()),
        Peer("ours", ours),
    ]


def draw(cell: Cell, dtype: torch.dtype, device: str) -> list[Tensor]:
    """q, k, v with gradients, and the gradient of the output; standard normal, seeded."""
    generator = torch.Generator(device).manual_seed(11)
    query = (cell.batch, cell.heads, cell.length, cell.dim)
    key = (cell.batch, cell.groups, cell.length, cell.dim)
    shapes = [query, key, key, query]
    drawn = [torch.randn(shape, generator=generator, device=device).to(dtype) for shape in shapes]
    return [x.requires_grad_() for x in drawn[:3]] + drawn[3:]


def gate_error(peer: Peer, cell: Cell, dtype: torch.dtype, device: str) -> str:
    """Why a peer may not be timed, or nothing: its output and gradients on a short cell against float64."""
    q, k, v, dout = draw(cell, dtype, device)
    exact = [x.detach().double().requires_grad_() for x in (q, k, v)]
    expected, _ = attention_specification(*exact, cell.causal, None, cell.dim**-0.5)  # type: ignore[call-arg,arg-type]
    wanted = [expected, *torch.autograd.grad(expected, exact, dout.double())]
    try:
        out = peer.attend(q, k, v, cell.causal)
        got = [out, *torch.autograd.grad(out, (q, k, v), dout)]
    except Exception as problem:
        return f"it fails: {type(problem).__name__}: {str(problem).splitlines()[0]}"
    for name, one, other in zip(("O", "dQ", "dK", "dV"), got, wanted, strict=True):
        error = ((one.double() - other).norm() / other.norm()).item()
        allowed = GATE[dtype] * (1.0 if name == "O" else 1.5)
        if not error <= allowed:
            return f"{name} is off by {error:.1e} of its norm, allowed {allowed:.0e}"
    return ""


def milliseconds(run: Callable[[], Any], repeats: int) -> float:
    """The time of one run, by device events round `repeats` of them."""
    start, end = (torch.cuda.Event(enable_timing=True) for _ in range(2))
    start.record()
    for _ in range(repeats):
        run()
    end.record()
    torch.cuda.synchronize()
    return float(start.elapsed_time(end)) / repeats


def measure(cell: Cell, admitted: list[Peer]) -> Iterator[dict[str, Any]]:
    """Time every admitted peer in turns: forward and both; backward is the difference of the medians."""
    q, k, v, dout = draw(cell, torch.bfloat16, "cuda")
    runs: dict[tuple[str, str], Callable[[], Any]] = {}
    for peer in admitted:

        def forward(attend: Attend = peer.attend) -> None:
            with torch.no_grad():
                attend(q, k, v, cell.causal)

        def both(attend: Attend = peer.attend) -> None:
            torch.autograd.grad(attend(q, k, v, cell.causal), (q, k, v), dout)

        runs[peer.name, "forward"], runs[peer.name, "both"] = forward, both
    repeats = {
        name: max(1, int(20 / max(milliseconds(run, 2), 1e-3))) for name, run in runs.items()
    }  # about 20 ms
    turns: dict[tuple[str, str], list[float]] = {name: [] for name in runs}
    for _ in range(ROUNDS):
        for name, run in runs.items():
            turns[name].append(milliseconds(run, repeats[name]))
    for (peer_name, kind), times in turns.items():
        torch.cuda.reset_peak_memory_stats()
        before = torch.cuda.memory_allocated()
        runs[peer_name, kind]()
        torch.cuda.synchronize()
        median = statistics.median(times)
        yield {
            "shape": vars(cell), "peer": peer_name, "kind": kind, "flops": cell.flops(kind),
            "milliseconds": {"median": median, "low": min(times), "high": max(times)},
            "peak_bytes": torch.cuda.max_memory_allocated() - before,
        }  # fmt: skip
    for peer in admitted:
        median = statistics.median(turns[peer.name, "both"]) - statistics.median(turns[peer.name, "forward"])
        yield {
            "shape": vars(cell), "peer": peer.name, "kind": "backward", "flops": cell.flops("backward"),
            "milliseconds": {"median": median}, "note": "both less forward",
        }  # fmt: skip


def ceilings() -> dict[str, float]:
    """The machine's own limits: a large bfloat16 product, and a large copy."""
    a, b = (torch.randn(8192, 8192, device="cuda", dtype=torch.bfloat16) for _ in range(2))
    source = torch.randn(1 << 28, device="cuda")
    target = torch.empty_like(source)
    milliseconds(lambda: a @ b, 3)
    product = min(milliseconds(lambda: a @ b, 10) for _ in range(3))
    copy = min(milliseconds(lambda: target.copy_(source), 10) for _ in range(3))
    return {
        "matmul_flops_per_second": 2 * 8192**3 / product * 1e3,
        "copy_bytes_per_second": 2 * source.numel() * 4 / copy * 1e3,
    }


def run(json_file: Path | None) -> int:
    """The command: ceilings, gate, cells; a table on the screen, and the JSON where asked."""
    if not torch.cuda.is_available():
        raise CourseError("there is no CUDA device here, so nothing was measured")
    roof = ceilings()
    print(f"{torch.cuda.get_device_name()}: product {roof['matmul_flops_per_second'] / 1e12:.0f} TFLOP/s, "
          f"copy {roof['copy_bytes_per_second'] / 1e12:.2f} TB/s")  # fmt: skip
    everybody = peers()
    refused: dict[str, str] = {}
    for peer in everybody:
        for dim, causal in ((64, False), (128, True)):
            fault = gate_error(peer, Cell(1, 4, 4, 512, dim, causal), torch.bfloat16, "cuda")
            if fault:
                refused[peer.name] = fault
                print(f"{peer.name} is not timed: {fault}")
                break
    results = []
    for cell in cells():
        admitted = [peer for peer in everybody if peer.name not in refused and cell.length <= peer.longest]
        for result in measure(cell, admitted):
            results.append(result)
            rate = result["flops"] / result["milliseconds"]["median"] / 1e9
            share = rate * 1e12 / roof["matmul_flops_per_second"]
            print(f"{cell.length:6d} d{cell.dim:<4d} {'causal' if cell.causal else 'full  '} {result['kind']:8s} "
                  f"{result['peer']:15s} {rate:7.0f} TFLOP/s  {share:4.0%} of the product", flush=True)  # fmt: skip
    if json_file:
        report = {
            "schema": 1, "command": "course bench attention --device cuda", "device": torch.cuda.get_device_name(),
            "measured": datetime.now(UTC).strftime("%Y-%m-%d %H:%M UTC"),
            "versions": {"python": platform.python_version()} | {n: version(n) for n in ("torch", "triton")},
            "ceilings": roof, "refused": refused, "cells": results,
        }  # fmt: skip
        write_whole(json_file, json.dumps(report, indent=1) + "\n")
    return 0
