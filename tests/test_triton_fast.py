"""The fast kernels on the interpreter: the grid of hard cases in float16, and who is sent to the other kernels."""

from __future__ import annotations

import math
from collections.abc import Iterator

import pytest
import torch
from torch import Tensor

pytest.importorskip("attention_from_scratch.triton_support")
from test_triton_attention import CASES, DEVICE, Case, error, inputs, room

from attention_from_scratch import triton_fast_backward, triton_fast_forward
from attention_from_scratch.triton_attention_forward import attention_specification
from attention_from_scratch.triton_fast_backward import FastAttention
from attention_from_scratch.triton_fast_forward import fast_attention
from attention_from_scratch.triton_fast_launch import (
    FastTile,
    choose_fast_tile,
    fast_tile,
    hopper_or_newer,
    why_not_fast,
)
from attention_from_scratch.triton_fences import poisoned
from attention_from_scratch.triton_operator import fast_attention_operator

pytestmark = pytest.mark.skipif(not hopper_or_newer(), reason="needs tensor descriptors")

OTHERS = {"width_20", "width_256", "negative_scale"}  # the cases that the fast kernels do not take
# Blocks of queries and of keys of different sizes, one loop and two, a program a block and few programs for all blocks.
TILES = {
    "two_loops": FastTile(32, 16, 4, 1),
    "persistent": FastTile(16, 32, 4, 1, specialize=True, persistent=1),
}
GRID = [pytest.param(case, name, id=f"{case.name}-{name}") for case in CASES for name in TILES]


@pytest.fixture(autouse=True)
def _tables_again() -> Iterator[None]:
    yield
    for case in CASES:
        for kernel in ("forward", "backward"):
            choose_fast_tile(kernel, case.dim, case.causal, None)


def aligned(case: Case) -> tuple[list[Tensor], Tensor | None, float]:
    """The inputs of the case in float16, in poison again, but so that rows begin at multiples of 16 bytes."""
    drawn, lengths, scale = inputs(case, torch.float16)
    layouts = ["bnhd" if layout in ("bnhd", "transposed") else "bhnd" for layout in case.layouts]
    views = [poisoned(x.clone(), layout, margin=8) for x, layout in zip(drawn, layouts, strict=True)]
    return views, lengths, scale


@pytest.mark.parametrize(("case", "tile"), GRID)
def test_outputs_and_gradients(case: Case, tile: str) -> None:
    for kernel in ("forward", "backward"):
        choose_fast_tile(kernel, case.dim, case.causal, TILES[tile])
    views, lengths, scale = aligned(case)
    assert bool(why_not_fast(*views, scale)) == (case.name in OTHERS)
    _, lse = fast_attention(*views, case.causal, lengths, scale)
    leaves = [view.requires_grad_() for view in views]
    exact = [view.detach().double().requires_grad_() for view in views]
    out = FastAttention.apply(*leaves, case.causal, lengths, scale)
    qd, kd, vd = exact
    expected, expected_lse = attention_specification(qd, kd, vd, case.causal, lengths, scale)
    assert error(out, expected) <= room(case, torch.float16)
    dead = expected_lse.isneginf()
    assert torch.equal(lse.isneginf(), dead)
    # the scores are float32: relative rounding of the largest
    assert ((lse - expected_lse)[~dead].abs() <= 5e-6 * expected_lse[~dead].abs().clamp(min=1.0)).all()
    upstream = torch.randn(out.shape, generator=torch.Generator().manual_seed(1)).to(out)
    got = torch.autograd.grad(out, leaves, upstream)
    wanted = torch.autograd.grad(expected, exact, upstream.double())
    for name, one, other in zip("qkv", got, wanted, strict=True):
        assert error(one, other) <= 1.5 * room(case, torch.float16), f"gradient of {name}"


def drawn(*shape: int) -> list[Tensor]:
    """q, k and v of one shape in float16."""
    return [
        torch.randn(shape, generator=torch.Generator().manual_seed(n)).half().to(DEVICE) for n in range(3)
    ]


@pytest.mark.parametrize("tile", TILES)
def test_nan_behind_the_length_is_never_read(tile: str) -> None:
    """Padding may hold anything: boxes of keys and values end at the length, in whole blocks of keys too."""
    choose_fast_tile("forward", 16, False, TILES[tile])
    q, k, v = drawn(2, 2, 64, 16)
    lengths = torch.tensor([64, 7], device=DEVICE)
    expected, _ = attention_specification(q.double(), k.double(), v.double(), False, lengths, 0.25)
    clean, _ = fast_attention(q, k, v, False, lengths, 0.25)
    assert error(clean, expected) <= 6e-4  # float16, as in the grid
    for x in (k, v):
        x[1, :, 7:] = math.nan
    leaves = [x.requires_grad_() for x in (q, k, v)]
    spoiled = FastAttention.apply(*leaves, False, lengths, 0.25)
    assert torch.equal(spoiled, clean)
    dq, dk, dv = torch.autograd.grad(spoiled.float().sum(), leaves)
    assert all(x.isfinite().all() for x in (dq, dk, dv))
    assert not dk[1, :, 7:].any()
    assert not dv[1, :, 7:].any()


def test_nan_stays_in_its_row() -> None:
    q, k, v = drawn(1, 2, 40, 16)
    q[0, 1, 17, 3] = math.nan
    out, lse = fast_attention(q, k, v, False, None, 0.25)
    bad = torch.zeros(1, 2, 40, dtype=torch.bool, device=DEVICE)
    bad[0, 1, 17] = True
    assert torch.equal(out.isnan().any(-1), bad)
    assert torch.equal(lse.isnan(), bad)


def test_an_expanded_upstream_gradient() -> None:
    leaves = [x.requires_grad_() for x in drawn(1, 2, 33, 16)]
    FastAttention.apply(*leaves, True, None, 0.25).sum().backward()
    exact = [x.detach().double().requires_grad_() for x in leaves]
    qd, kd, vd = exact
    expected, _ = attention_specification(qd, kd, vd, True, None, 0.25)
    for leaf, other in zip(leaves, torch.autograd.grad(expected.sum(), exact), strict=True):
        assert leaf.grad is not None
        assert error(leaf.grad, other) <= 9e-4  # float16 gradients, as in the grid


def test_the_operator_has_gradients_of_both_results_and_is_kept_whole() -> None:
    """`opcheck` looks at the registration; `torch.compile` must give the gradients of float64, lse's own included."""
    upstream = torch.randn(1, 2, 33, generator=torch.Generator().manual_seed(3)).to(DEVICE)

    def loss(q: Tensor, k: Tensor, v: Tensor) -> Tensor:
        out, lse = fast_attention_operator(q, k, v, None, True, 0.3)
        return out.double().sum() + (lse * upstream).double().sum()

    leaves = [x.requires_grad_() for x in drawn(1, 2, 33, 16)]
    report = torch.library.opcheck(fast_attention_operator, (*leaves, None, True, 0.3))
    assert set(report.values()) == {"SUCCESS"}
    compiled = torch.compile(loss, fullgraph=True, backend="aot_eager")
    exact = [x.detach().double().requires_grad_() for x in leaves]
    qd, kd, vd = exact
    expected, expected_lse = attention_specification(qd, kd, vd, True, None, 0.3)
    wanted = torch.autograd.grad(expected.sum() + (expected_lse * upstream).sum(), exact)
    for one, other in zip(torch.autograd.grad(compiled(*leaves), leaves), wanted, strict=True):
        assert error(one, other) <= 9e-4  # float16 gradients, as in the grid


UNSUITED = [
    ("float32", lambda x: x.float(), 0.25),
    ("wider than 128", lambda x: x.repeat(1, 1, 1, 10), 0.25),
    ("no multiple of 16 bytes", lambda x: x[..., :9].contiguous(), 0.25),
    ("apart", lambda x: x.transpose(2, 3).contiguous().transpose(2, 3), 0.25),
    ("begin at a multiple", lambda x: x.repeat(1, 1, 1, 2)[..., 3:19], 0.25),
    ("all rows lie in one place", lambda x: x[:, :, :1].expand(-1, -1, 19, -1), 0.25),
    ("the scale is -0.5", lambda x: x, -0.5),
    ("the scale is 0.0", lambda x: x, 0.0),
]


@pytest.mark.parametrize(("says", "change", "scale"), UNSUITED, ids=[says for says, *_ in UNSUITED])
def test_what_is_not_suited_goes_to_the_other_kernels(
    says: str, change: object, scale: float, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The same numbers to the last bit, because the same kernels made them, forward and backward."""

    def never(*_: object, **__: object) -> None:
        raise AssertionError("the fast kernel was started")

    monkeypatch.setattr(triton_fast_forward, "fast_forward_kernel", never)
    monkeypatch.setattr(triton_fast_backward, "fast_backward_kernel", never)
    q, k, v = (change(x) for x in drawn(1, 2, 19, 16))  # type: ignore[operator]
    assert says in why_not_fast(q, k, v, scale)
    leaves = [x.detach().requires_grad_() for x in (q, k, v)]
    out = FastAttention.apply(*leaves, True, None, scale)
    other, _ = triton_fast_forward.triton_attention(q, k, v, True, None, scale)
    assert torch.equal(out, other)
    out.float().sum().backward()
    assert all(leaf.grad is not None for leaf in leaves)


def test_no_queries_and_no_keys() -> None:
    (q, *_), (k, *_) = drawn(1, 2, 0, 16), drawn(1, 2, 3, 16)
    assert fast_attention(q, k, k, True, None, 0.25)[0].shape == q.shape
    out, lse = fast_attention(k, q, q, True, None, 0.25)
    assert not out.any()
    assert lse.isneginf().all()


def test_a_chosen_tile_is_used_until_it_is_given_back() -> None:
    before = fast_tile("forward", 16, True, 9)
    choose_fast_tile("forward", 16, True, FastTile(16, 16, 4, 1))
    assert fast_tile("forward", 16, True, 9) == FastTile(16, 16, 4, 1)
    assert fast_tile("forward", 16, False, 9) == before
    choose_fast_tile("forward", 16, True, None)
    assert fast_tile("forward", 16, True, 9) == before
