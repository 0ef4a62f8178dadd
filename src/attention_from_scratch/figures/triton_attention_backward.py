"""The moving figure of chapter 11: the roofline, and where attention stands under it."""

from __future__ import annotations

import json
from importlib import resources
from typing import Any

import torch

from attention_from_scratch.figures.base import Figure, moving
from attention_from_scratch.online_softmax import attention_cost

FUSED = ("torch tiled", "SDPA")
"""The versions that never write the scores to memory."""


def roofline(dim: int, bytes_per_number: int, teraflops: float, terabytes_per_second: float) -> Figure:
    """Move the length, the machine's peak and its bandwidth; or see the course's versions as a CPU ran them.

    Operations and bytes are those of chapter 08's `attention_cost`; the measured points are those of its benchmark.
    """
    return moving(
        "triton_attention_backward",
        data={
            "dim": dim,
            "size": bytes_per_number,
            "peak": teraflops,
            "bandwidth": terabytes_per_second,
            "measured": measured_versions(),
        },
        alt="Attainable speed against operations for each byte, both on logarithmic axes: a slope where memory is the "
        "limit, then a flat roof where arithmetic is. Attention in three steps stays where it is at any length; in "
        "one kernel it moves to the right as the length grows, under the flat roof. On the measured CPU five versions "
        "of the course lie below the roof: Python loops far down, the fused one of PyTorch nearest to it.",
        caption="The roof of a machine, and attention under it: the best that three steps and one kernel could reach "
        "on a machine of your choice, or what the versions of the course did reach on a CPU.",
    )


def measured_versions() -> dict[str, Any]:
    """The CPU of chapter 08 and its forward passes: ceilings and points, in TFLOP/s, TB/s and operations a byte.

    Each version stands at the longest of the benchmark's three shapes that it was timed on.
    """
    file = resources.files("attention_from_scratch").joinpath("data_files/attention_cpu.json")
    bill = json.loads(file.read_text("utf-8"))
    points: dict[str, dict[str, Any]] = {}
    for cell in sorted(bill["cells"], key=lambda cell: int(cell["shape"]["length"])):
        if cell["kind"] == "forward" and "seconds" in cell:
            batch, heads, length, dim = cell["shape"].values()
            cost = attention_cost(batch, heads, length, length, dim, torch.float32)
            moved = cost["fused_bytes" if cell["peer"] in FUSED else "naive_bytes"]
            points[cell["peer"]] = {
                "name": cell["peer"],
                "fused": cell["peer"] in FUSED,
                "length": length,
                "intensity": cost["flops"] / moved,
                "rate": cost["flops"] / cell["seconds"]["median"] / 1e12,
            }
    return {
        "machine": bill["machine"]["processor"],
        "threads": bill["threads"],
        "peak": bill["ceilings"]["matmul_flops_per_second"] / 1e12,
        "bandwidth": bill["ceilings"]["copy_bytes_per_second"] / 1e12,
        "points": list(points.values()),
    }
