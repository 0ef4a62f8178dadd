"""Tiles for the kernels on the GPU that is here: at most six candidates a kernel, asked of the compiler, then timed.

Candidates that spill, that need more shared memory than the chip has, or that do not compile are dropped before one of
them runs. What is chosen holds for this process; the report says which it was, to be copied into `triton_launch`.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import torch

from attention_from_scratch.triton_compile import Compiled, Request, compile_ahead, unfit
from attention_from_scratch.triton_launch import AMD, NAMES, choose_tiles, tiles
from attention_from_scratch.triton_shipped import BACKWARD, FORWARD, attention_request
from coursebuild.benchmarks.attention_cuda_peers import Cell, draw, first_line, ours

__all__ = ["CANDIDATES", "tune"]

KERNELS = {"forward": FORWARD, "dkdv": f"{BACKWARD}:dkdv_kernel", "dq": f"{BACKWARD}:dq_kernel"}
Tile = tuple[int, int, int, int]
CANDIDATES: dict[str, list[Tile]] = {
    "forward": [(128, 64, 4, 3), (128, 64, 8, 3), (128, 128, 8, 3), (128, 128, 8, 2), (128, 32, 4, 4), (64, 64, 4, 3)],
    "dkdv": [(32, 64, 4, 2), (64, 64, 4, 2), (64, 128, 8, 2), (32, 128, 8, 2), (32, 64, 8, 2), (32, 128, 4, 2)],
    "dq": [(64, 64, 4, 2), (128, 64, 8, 2), (128, 32, 4, 2), (128, 64, 8, 3), (64, 32, 4, 3), (64, 64, 8, 2)],
}  # fmt: skip
"""(BLOCK_Q, BLOCK_K, num_warps, num_stages), beside the one that the launcher takes without any measurement."""
MOST = 6


def compile_together(requests: list[Request]) -> list[Compiled]:
    """`compile_ahead` in several processes, one a core, four at most."""
    workers = max(1, min(4, os.cpu_count() or 1, len(requests)))
    with ThreadPoolExecutor(workers) as pool:
        parts = list(pool.map(compile_ahead, [requests[start::workers] for start in range(workers)]))
    return [parts[number % workers][number // workers] for number in range(len(requests))]


def tune(
    cell: Cell,
    dtype: torch.dtype,
    device: str,
    milliseconds: Callable[[Callable[[], Any], int], float],
    candidates: dict[str, list[Tile]],
) -> list[dict[str, Any]]:
    """Choose the tiles of the three kernels for one head width, by their times on `cell`; what was tried, how fast."""
    target = _target(device)
    wanted: list[tuple[str, dict[str, int]]] = []
    for kernel, others in candidates.items():
        own = tiles(kernel, cell.dim, dtype, AMD)
        rest = [dict(zip(NAMES, tile, strict=True)) for tile in others]
        wanted += [(kernel, tile) for tile in [own, *(one for one in rest if one != own)][:MOST]]
    requests = [attention_request(KERNELS[kernel], target, dtype, cell.dim, tile) for kernel, tile in wanted]
    tried: list[dict[str, Any]] = []
    for (kernel, tile), made in zip(wanted, compile_together(requests), strict=True):
        facts = {"registers": made.registers, "shared": made.shared, "dropped": unfit(made, target)}
        tried.append({"kernel": kernel, "dim": cell.dim, "tile": tile} | facts)
    q, k, v, dout = draw(cell, dtype, device)
    out = ours(q, k, v, cell.causal)

    def forward() -> None:
        ours(q, k, v, cell.causal)

    def backward() -> None:
        torch.autograd.grad(out, (q, k, v), dout, retain_graph=True)

    for kernel in candidates:
        run = forward if kernel == "forward" else backward
        fit = [one for one in tried if one["kernel"] == kernel and not one["dropped"]]
        for one in fit:
            choose_tiles(kernel, cell.dim, dtype, one["tile"])
            try:
                milliseconds(run, 1)
                one["milliseconds"] = min(milliseconds(run, 3) for _ in range(3))
            except Exception as problem:  # one that the compiler let through and the driver refuses
                one["dropped"] = first_line(problem)
        timed = [one for one in fit if "milliseconds" in one]
        best = min(timed, key=lambda one: float(one["milliseconds"]), default=None)
        choose_tiles(kernel, cell.dim, dtype, best and best["tile"])
        if best:
            best["chosen"] = True
    return tried


def _target(device: str) -> str:
    """The target to ask the compiler for: this GPU's, or the nearest that it knows; on a CPU that of an H100."""
    if device == "cpu":
        return "sm_90"
    if torch.version.hip is not None:
        return "gfx942"
    major = torch.cuda.get_device_capability()[0]
    return {8: "sm_80", 9: "sm_90"}.get(major, "sm_100")
