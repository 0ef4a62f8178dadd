"""The GPU benchmark on the interpreter: the whole script with small shapes, its gate, its tiles, what goes wrong."""

from __future__ import annotations

import json
import sys
from dataclasses import asdict
from pathlib import Path

import pytest
import torch
from torch import Tensor

pytest.importorskip("attention_from_scratch.triton_support")
from attention_from_scratch.triton_compile import Compiled
from attention_from_scratch.triton_fast_launch import FastTile
from attention_from_scratch.triton_launch import tiles
from attention_from_scratch.triton_support import INTERPRETED
from coursebuild.benchmarks import attention_cuda as bench
from coursebuild.benchmarks import attention_cuda_peers as peers
from coursebuild.benchmarks import attention_cuda_tiles as tuning
from coursebuild.benchmarks import attention_cuda_trial
from coursebuild.benchmarks.attention_cuda_summary import summary
from coursebuild.benchmarks.attention_cuda_trial import Trial
from coursebuild.errors import CourseError

SMALL = peers.Cell(batch=1, heads=4, groups=2, length=33, dim=16, causal=True)
DEVICE = "cpu" if INTERPRETED else "cuda"


def test_every_cell_has_the_same_tokens_and_width() -> None:
    all_cells = peers.cells()
    extra = [cell for cell in all_cells if cell.groups != cell.heads or cell.length == 4007]
    grid = [cell for cell in all_cells if cell not in extra]
    assert len(extra) == 2
    assert len(set(grid)) == len(peers.LENGTHS) * len(peers.DIMS) * 2
    assert {cell.batch * cell.length for cell in grid} == {peers.TOKENS}
    assert {cell.heads * cell.dim for cell in grid} == {peers.WIDTH}


def test_a_causal_cell_counts_half_and_a_backward_pass_two_and_a_half() -> None:
    whole = peers.Cell(2, 3, 3, 8, 4, causal=False)
    assert whole.flops("forward") == 4 * 2 * 3 * 8 * 8 * 4
    assert peers.Cell(2, 3, 3, 8, 4, causal=True).flops("forward") == whole.flops("forward") / 2
    assert whole.flops("backward") == 2.5 * whole.flops("forward")


def test_the_gate_looks_at_every_kind_of_cell() -> None:
    """A short cell keeps the width, the mask, the share of the groups, and whether the length is a round number."""
    for cell in peers.cells():
        short = peers.short_cell(cell)
        assert (short.dim, short.causal) == (cell.dim, cell.causal)
        assert short.heads // short.groups == cell.heads // cell.groups
        assert (short.length % 128 == 0) == (cell.length % 128 == 0)
        assert short.length < 1024


@pytest.mark.parametrize("name", ["naive", "ours"])
def test_who_computes_attention_passes_the_gate(name: str) -> None:
    errors, fault = peers.gate_errors(peers.Peer(name, getattr(peers, name)), SMALL, torch.float32, DEVICE)
    assert fault == ""
    assert set(errors) == {"O", "dQ", "dK", "dV"}


def forgets_the_mask(q: Tensor, k: Tensor, v: Tensor, causal: bool) -> Tensor:
    return peers.naive(q, k, v, False)


def fails(q: Tensor, k: Tensor, v: Tensor, causal: bool) -> Tensor:
    raise RuntimeError("no kernel for this")


def stops_the_gradient(q: Tensor, k: Tensor, v: Tensor, causal: bool) -> Tensor:
    return peers.naive(q, k.detach(), v, causal) + 0 * k.sum()


@pytest.mark.parametrize(
    ("attend", "says"),
    [(forgets_the_mask, "O is off by"), (fails, "no kernel for this"), (stops_the_gradient, "dK is off by")],
)
def test_who_does_not_is_refused(attend: peers.Attend, says: str) -> None:
    _, fault = peers.gate_errors(peers.Peer("wrong", attend), SMALL, torch.float32, DEVICE)
    assert says in fault


def runs_out_of_memory(q: Tensor, k: Tensor, v: Tensor, causal: bool) -> Tensor:
    if q.shape[2] > 32:
        raise torch.OutOfMemoryError("out of memory")
    return peers.naive(q, k, v, causal)


@pytest.mark.slow
def test_the_whole_script(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Ceilings, gate, tiles, cells and summary, with one peer that is wrong and one that fails in the middle."""
    monkeypatch.setattr(bench, "TURN", 1.0)
    monkeypatch.setattr("coursebuild.benchmarks.attention_cuda_summary.LONG", 16)

    def short(cell: peers.Cell) -> peers.Cell:
        return peers.Cell(1, cell.heads, cell.groups, 17, cell.dim, cell.causal)

    monkeypatch.setattr(bench, "short_cell", short)
    monkeypatch.setattr(bench, "trial_cell", short)
    everybody = [
        peers.Peer("ours", peers.ours),
        peers.Peer("ours fast", peers.ours_fast),
        peers.Peer("naive", peers.naive),
        peers.Peer("short only", peers.naive, longest=16),
        peers.Peer("wrong", forgets_the_mask),
        peers.Peer("hungry", runs_out_of_memory),
    ]
    grid = [peers.Cell(1, 2, 2, 33, 16, True), peers.Cell(1, 2, 1, 16, 16, False)]
    file = tmp_path / "gpu.json"
    huge, small = ({"BLOCK_Q": size, "BLOCK_K": 16, "num_warps": 4, "num_stages": 1} for size in (1024, 16))
    divided = asdict(FastTile(32, 16, 4, 1, persistent=1))
    candidates = {"ours": {"forward": [small], "dq": [huge]}, "ours fast": {"forward": [divided]}}
    code = bench.run(file, "cpu", torch.float16, grid, everybody, candidates, largest=64)
    report = json.loads(file.read_text("utf-8"))
    screen = capsys.readouterr().out

    assert code == 0
    assert {"schema", "machine", "versions", "ceilings", "gate", "tiles", "cells", "summary"} <= set(report)
    timed = {(one["peer"], one["shape"]["length"], one["kind"]) for one in report["cells"] if "kind" in one}
    long, brief = ({peer for peer, length, _ in timed if length == size} for size in (33, 16))
    assert long == {"ours", "ours fast", "naive"}
    assert brief == {
        "ours",
        "ours fast",
        "naive",
        "short only",
        "wrong",
        "hungry",
    }  # without a mask "wrong" is right
    assert all(one["milliseconds"]["median"] > 0 for one in report["cells"] if "kind" in one)
    assert [one["fault"] for one in report["cells"] if "fault" in one] == ["OutOfMemoryError: out of memory"]
    assert "wrong is not timed" in screen
    chosen = [one for one in report["tiles"] if one.get("chosen")]
    # the fast kernels are tuned for causal cells and for others, the readable ones once a width
    assert sorted((one["peer"], one["kernel"], one["causal"]) for one in chosen) == [
        ("ours", "dq", True), ("ours", "forward", True),
        ("ours fast", "forward", False), ("ours fast", "forward", True),
    ]  # fmt: skip
    (dropped,) = [one for one in report["tiles"] if one["tile"].get("BLOCK_Q") == 1024]
    assert dropped["dropped"], "a tile of 1024 rows cannot fit the registers, and is dropped before it runs"
    assert "milliseconds" not in dropped
    pairs = {(line["mine"], line["peer"]) for line in report["summary"]}
    assert {("ours fast", "ours"), ("ours fast", "naive"), ("ours", "naive")} <= pairs
    assert ("ours", "ours fast") not in pairs
    assert all(line["ratio"] > 0 for line in report["summary"])
    for one in chosen:
        cell = peers.Cell(1, 2, 2, 33, 16, one["causal"])
        tuning.FAMILIES[one["peer"]].choose(one["kernel"], cell, torch.float16, None)


def test_when_the_time_is_used_up_the_rest_is_left_out(tmp_path: Path) -> None:
    file = tmp_path / "gpu.json"
    bench.run(
        file, "cpu", torch.float32, [SMALL], [peers.Peer("naive", peers.naive)], {}, largest=16, seconds=0.0
    )
    report = json.loads(file.read_text("utf-8"))
    assert report["cells"] == []
    assert "used up" in report["left_out"][0]["why"]


def test_the_summary_is_the_geometric_mean_of_our_speed_over_theirs() -> None:
    def cell(peer: str, length: int, milliseconds: float) -> dict[str, object]:
        shape = vars(peers.Cell(1, 2, 2, length, 64, False))
        return {"peer": peer, "kind": "forward", "shape": shape, "milliseconds": {"median": milliseconds}}

    cells = [cell("ours", 8192, 1.0), cell("SDPA flash", 8192, 2.0), cell("ours", 16384, 2.0),
             cell("SDPA flash", 16384, 1.0), cell("ours", 1024, 1.0), cell("SDPA flash", 1024, 9.0)]  # fmt: skip
    (line,) = summary(cells)
    assert (line["mine"], line["peer"]) == ("ours", "SDPA flash")
    assert line["ratio"] == pytest.approx(1.0)
    assert line["cells"] == 2


def test_tiles_that_do_not_fit_are_told_apart() -> None:
    assert tuning.unfit(Compiled(), "sm_90") == ""
    assert tuning.unfit(Compiled(spills=3), "sm_90") == "3 spills"
    assert "shared" in tuning.unfit(Compiled(shared=1 << 20), "sm_90")
    assert "tensor memory" in tuning.unfit(Compiled(tensor_memory=576), "sm_100")
    assert tuning.unfit(Compiled(error="ValueError: no"), "sm_90") == "ValueError: no"
    assert all(len(all_) < tuning.MOST for mine in tuning.CANDIDATES.values() for all_ in mine.values())


TRIALS = """
import json, os, sys, time
for one in json.load(sys.stdin)["trials"]:
    stages = one["tile"]["num_stages"]
    if stages == 7:
        time.sleep(60)
    if stages == 8:
        os._exit(3)
    print(json.dumps("O is off by 2" if stages == 9 else ""), flush=True)
"""


def test_a_tile_that_hangs_or_dies_takes_nobody_along(monkeypatch: pytest.MonkeyPatch) -> None:
    """Good, hanging, good, dying, wrong, good: each trial gets its own answer, in its own place."""
    wanted = [Trial("forward", asdict(FastTile(16, 16, 4, stages))) for stages in (1, 7, 2, 8, 9, 3)]
    monkeypatch.setattr(attention_cuda_trial, "COMMAND", [sys.executable, "-c", TRIALS])
    faults = attention_cuda_trial.trials(wanted, SMALL, torch.float16, DEVICE, patience=5.0)
    says = ["", "did not come back in 5 s", "", "exit status 3", "O is off by", ""]
    assert all(part in fault for part, fault in zip(says, faults, strict=True)), faults
    assert [bool(part) for part in says] == [bool(fault) for fault in faults]


def test_chosen_tiles_are_used_until_they_are_given_back() -> None:
    before = tiles("forward", 64, torch.float16, False)
    tuning.choose_tiles("forward", 64, torch.float16, before | {"BLOCK_Q": 16})
    assert tiles("forward", 64, torch.float16, False)["BLOCK_Q"] == 16
    assert tiles("forward", 32, torch.float16, False) == tiles("forward", 32, torch.float16, False)
    tuning.choose_tiles("forward", 64, torch.float16, None)
    assert tiles("forward", 64, torch.float16, False) == before


@pytest.mark.skipif(torch.cuda.is_available(), reason="this is about machines without a GPU")
def test_without_a_gpu_it_says_so() -> None:
    with pytest.raises(CourseError, match="no CUDA device"):
        bench.run(None)
