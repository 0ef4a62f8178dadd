"""Tiles for the kernels on the GPU that is here: at most six candidates a kernel, asked of the compiler, then timed.

Candidates that spill, that need more memory than the chip has, or that do not compile are dropped before one of them
runs. The fast kernels' candidates are tried in other processes first (`attention_cuda_trial`), because a mistake of a
compiler that divides the work among warps can be a kernel that never ends. What is chosen holds for this process; the
report says which it was, to be copied into `triton_launch` or `triton_fast_launch`.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import asdict, dataclass
from typing import Any

import torch

from attention_from_scratch.triton_compile import Request, compile_ahead, unfit
from attention_from_scratch.triton_fast_launch import FastTile, choose_fast_tile, fast_tile, hopper_or_newer
from attention_from_scratch.triton_launch import AMD, NAMES, choose_tiles, tiles
from attention_from_scratch.triton_shipped import BACKWARD, FORWARD, attention_request, fast_request
from coursebuild.benchmarks.attention_cuda_peers import Attend, Cell, draw, first_line, ours, ours_fast
from coursebuild.benchmarks.attention_cuda_trial import Trial, trials
from coursebuild.benchmarks.parts import in_parts

__all__ = ["CANDIDATES", "FAMILIES", "Family", "tune"]

KERNELS = {"forward": FORWARD, "dkdv": f"{BACKWARD}:dkdv_kernel", "dq": f"{BACKWARD}:dq_kernel"}
Tile = dict[str, Any]
MOST = 6


@dataclass(frozen=True)
class Family:
    """Kernels that work together under one peer's name, and how their tiles are known, compiled and chosen."""

    attend: Attend
    own: Callable[[str, Cell, torch.dtype], Tile]
    request: Callable[[str, str, torch.dtype, Cell, Tile], Request]
    choose: Callable[[str, Cell, torch.dtype, Tile | None], None]
    tried_first: bool
    by_mask: bool  # whether causal cells have tiles of their own


def _fast_request(kernel: str, target: str, dtype: torch.dtype, cell: Cell, tile: Tile) -> Request:
    return fast_request(kernel, target, dtype, cell.dim, FastTile(**tile), cell.causal)


def _choose_fast(kernel: str, cell: Cell, dtype: torch.dtype, tile: Tile | None) -> None:
    choose_fast_tile(kernel, cell.dim, cell.causal, FastTile(**tile) if tile else None)


FAMILIES = {
    "ours": Family(
        ours,
        lambda kernel, cell, dtype: tiles(kernel, cell.dim, dtype, AMD),
        lambda kernel, target, dtype, cell, tile: attention_request(
            KERNELS[kernel], target, dtype, cell.dim, tile
        ),
        lambda kernel, cell, dtype, tile: choose_tiles(kernel, cell.dim, dtype, tile),
        tried_first=False,
        by_mask=False,
    ),
    "ours fast": Family(
        ours_fast,
        lambda kernel, cell, dtype: asdict(fast_tile(kernel, cell.dim, cell.causal, hopper_or_newer())),
        _fast_request,
        _choose_fast,
        tried_first=True,
        by_mask=True,
    ),
}


def _plain(*tiles: tuple[int, int, int, int]) -> list[Tile]:
    return [dict(zip(NAMES, tile, strict=True)) for tile in tiles]


def _fast(*tiles: FastTile) -> list[Tile]:
    return [asdict(tile) for tile in tiles]


CANDIDATES: dict[str, dict[str, list[Tile]]] = {
    "ours": {
        "forward": _plain((128, 64, 4, 3), (128, 64, 8, 3), (128, 128, 8, 3), (128, 128, 8, 2), (128, 32, 4, 4)),
        "dkdv": _plain((32, 64, 4, 2), (64, 64, 4, 2), (64, 128, 8, 2), (32, 128, 8, 2), (32, 64, 8, 2)),
        "dq": _plain((64, 64, 4, 2), (128, 64, 8, 2), (128, 32, 4, 2), (128, 64, 8, 3), (64, 32, 4, 3)),
    },
    "ours fast": {
        "forward": _fast(
            FastTile(128, 128, 8, 2, persistent=1),
            FastTile(128, 128, 4, 2, specialize=True),
            FastTile(128, 128, 4, 2, specialize=True, persistent=1),
            FastTile(128, 64, 8, 3),
            FastTile(64, 64, 4, 3),
        ),
        "backward": _fast(
            FastTile(64, 128, 8, 2),
            FastTile(64, 64, 8, 2),
            FastTile(32, 128, 8, 3),
            FastTile(32, 64, 8, 2),
            FastTile(64, 64, 4, 1),
        ),
    },
}  # fmt: skip
"""For each peer and kernel what is tried, beside the tile that the launcher takes without any measurement."""


def tune(
    peer: str,
    cell: Cell,
    trial: Cell,
    dtype: torch.dtype,
    device: str,
    milliseconds: Callable[[Callable[[], Any], int], float],
    candidates: dict[str, list[Tile]],
) -> list[dict[str, Any]]:
    """Choose the tiles of one peer's kernels for one width and mask, by their times on `cell`; what was tried.

    Those of the fast kernels must first give the right numbers on the cell `trial`, in a process of their own.
    """
    family = FAMILIES[peer]
    tried = _compiled(peer, family, cell, dtype, device, candidates)
    if family.tried_first:
        fit = [one for one in tried if not one["dropped"]]
        faults = trials([Trial(one["kernel"], one["tile"]) for one in fit], trial, dtype, device)
        for one, fault in zip(fit, faults, strict=True):
            one["dropped"] = fault
    q, k, v, dout = draw(cell, dtype, device)
    out = family.attend(q, k, v, cell.causal)

    def forward() -> None:
        family.attend(q, k, v, cell.causal)

    def backward() -> None:
        torch.autograd.grad(out, (q, k, v), dout, retain_graph=True)

    for kernel in candidates:
        run = forward if kernel == "forward" else backward
        fit = [one for one in tried if one["kernel"] == kernel and not one["dropped"]]
        best = _fastest(family, cell, dtype, fit, run, milliseconds)
        family.choose(kernel, cell, dtype, best and best["tile"])
    return tried


def _compiled(
    peer: str,
    family: Family,
    cell: Cell,
    dtype: torch.dtype,
    device: str,
    candidates: dict[str, list[Tile]],
) -> list[dict[str, Any]]:
    """Every candidate with what the compiler says of it."""
    target = _target(device)
    wanted: list[tuple[str, Tile]] = []
    for kernel, others in candidates.items():
        own = family.own(kernel, cell, dtype)
        wanted += [(kernel, tile) for tile in [own, *(one for one in others if one != own)][:MOST]]
    requests = [family.request(kernel, target, dtype, cell, tile) for kernel, tile in wanted]
    return [
        {"peer": peer, "kernel": kernel, "dim": cell.dim, "causal": cell.causal, "tile": tile,
         "registers": made.registers, "shared": made.shared, "specialized": made.specialized,
         "dropped": unfit(made, target)}
        for (kernel, tile), made in zip(wanted, in_parts(requests, compile_ahead), strict=True)
    ]  # fmt: skip


def _fastest(
    family: Family,
    cell: Cell,
    dtype: torch.dtype,
    fit: list[dict[str, Any]],
    run: Callable[[], Any],
    milliseconds: Callable[[Callable[[], Any], int], float],
) -> dict[str, Any] | None:
    """Time the candidates of one kernel; the best is marked and returned, None where none ran."""
    for one in fit:
        family.choose(one["kernel"], cell, dtype, one["tile"])
        try:
            milliseconds(run, 1)
            one["milliseconds"] = min(milliseconds(run, 3) for _ in range(3))
        except Exception as problem:  # one that the compiler let through and the driver refuses
            one["dropped"] = first_line(problem)
    timed = [one for one in fit if "milliseconds" in one]
    best = min(timed, key=lambda one: float(one["milliseconds"]), default=None)
    if best:
        best["chosen"] = True
    return best


def _target(device: str) -> str:
    """The target to ask the compiler for: this GPU's, or the nearest that it knows; on a CPU that of an H100."""
    if device == "cpu":
        return "sm_90"
    if torch.version.hip is not None:
        return "gfx942"
    major = torch.cuda.get_device_capability()[0]
    return {8: "sm_80", 9: "sm_90"}.get(major, "sm_100")
