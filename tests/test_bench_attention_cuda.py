"""The GPU benchmark, as far as it can be tried without one: the grid, the operations counted, and the gate."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

pytest.importorskip("attention_from_scratch.triton_support")
from attention_from_scratch.triton_support import INTERPRETED
from coursebuild.benchmarks import attention_cuda as bench
from coursebuild.errors import CourseError

SMALL = bench.Cell(batch=1, heads=4, groups=2, length=33, dim=16, causal=True)
DEVICE = "cpu" if INTERPRETED else "cuda"


def test_every_cell_has_the_same_tokens_and_width() -> None:
    grid = bench.cells()[: len(bench.LENGTHS) * len(bench.DIMS) * 2]
    assert {cell.batch * cell.length for cell in grid} == {bench.TOKENS}
    assert {cell.heads * cell.dim for cell in grid} == {bench.WIDTH}
    assert len(set(bench.cells())) == len(bench.cells()) == 22


def test_a_causal_cell_counts_half_and_a_backward_pass_two_and_a_half() -> None:
    whole = bench.Cell(2, 3, 3, 8, 4, causal=False)
    assert whole.flops("forward") == 4 * 2 * 3 * 8 * 8 * 4
    assert bench.Cell(2, 3, 3, 8, 4, causal=True).flops("forward") == whole.flops("forward") / 2
    assert whole.flops("backward") == 2.5 * whole.flops("forward")


@pytest.mark.parametrize("name", ["naive", "ours"])
def test_who_computes_attention_passes_the_gate(name: str) -> None:
    peer = bench.Peer(name, getattr(bench, name))
    assert bench.gate_error(peer, SMALL, torch.float32, DEVICE) == ""


def test_who_does_not_is_refused() -> None:
    def forgets_the_mask(q: Tensor, k: Tensor, v: Tensor, causal: bool) -> Tensor:
        return bench.naive(q, k, v, False)

    def fails(q: Tensor, k: Tensor, v: Tensor, causal: bool) -> Tensor:
        raise RuntimeError("no kernel for this")

    assert "O is off by" in bench.gate_error(
        bench.Peer("wrong", forgets_the_mask), SMALL, torch.float32, DEVICE
    )
    assert "no kernel for this" in bench.gate_error(bench.Peer("broken", fails), SMALL, torch.float32, DEVICE)


@pytest.mark.skipif(torch.cuda.is_available(), reason="this is about machines without a GPU")
def test_without_a_gpu_it_says_so() -> None:
    with pytest.raises(CourseError, match="no CUDA device"):
        bench.run(None)
