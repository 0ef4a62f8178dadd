"""The attention kernels against float64: a grid of hard small cases, interpreted, and on a GPU where there is one."""

from __future__ import annotations

import math
from dataclasses import dataclass

import pytest
import torch
from torch import Tensor

triton_forward = pytest.importorskip("attention_from_scratch.triton_attention_forward")
from attention_from_scratch.figures.triton_attention_backward import measured_versions  # noqa: E402
from attention_from_scratch.triton_attention_backward import TritonAttention  # noqa: E402
from attention_from_scratch.triton_attention_forward import (  # noqa: E402
    attention_specification,
    triton_attention,
)
from attention_from_scratch.triton_fences import poisoned  # noqa: E402
from attention_from_scratch.triton_operator import attention_operator  # noqa: E402
from attention_from_scratch.triton_support import INTERPRETED  # noqa: E402

DEVICE = "cpu" if INTERPRETED else "cuda"
# Relative Frobenius error against float64. float32: a few roundings of 6e-8 in sums of some hundred terms. float16 and
# bfloat16: one rounding of the weights and one of the result (2^-11 and 2^-8); a float16 accumulator would be at 1e-3.
# Gradients pass through one more product: 1.5 times as much.
TOLERANCE = {torch.float32: 2e-6, torch.float16: 6e-4, torch.bfloat16: 5e-3}
DTYPES = [torch.float32, torch.float16] + ([] if INTERPRETED else [torch.bfloat16])


@dataclass(frozen=True)
class Case:
    """One set of shapes and options; `size` multiplies the queries, so that scores grow."""

    name: str
    batch: int = 1
    heads: int = 2
    groups: int = 2
    queries: int = 37
    keys: int = 53
    dim: int = 16
    causal: bool = False
    lengths: tuple[int, ...] | None = None
    scale: float = 0.7
    size: float = 1.0
    layouts: tuple[str, str, str] = ("bhnd", "bhnd", "bhnd")


CASES = [
    Case("plain"),
    Case("one_query", queries=1),
    Case("one_key", keys=1),
    Case("whole_blocks", queries=64, keys=128, dim=32),
    Case("causal_square", queries=61, keys=61, causal=True),
    Case("causal_fewer_queries", queries=23, keys=71, causal=True),
    Case("causal_more_queries", queries=71, keys=23, causal=True),
    Case("causal_long", queries=150, keys=150, causal=True, heads=1, groups=1),
    Case("padded", batch=2, lengths=(53, 17)),
    Case("padded_causal", batch=2, queries=53, causal=True, lengths=(31, 7)),
    Case("empty_sequence", batch=2, lengths=(0, 29)),
    Case("all_rows_dead", queries=40, keys=8, causal=True, lengths=(0,)),
    Case("grouped", heads=6, groups=2, queries=19, keys=29),
    Case("one_group", batch=2, heads=3, groups=1, queries=19, keys=29, causal=True),
    Case("width_20", dim=20),
    Case("width_80", dim=80, queries=21),
    Case("width_256", dim=256, queries=9, keys=33, heads=1, groups=1),
    Case("large_scores", size=300.0, scale=1.0),
    Case("negative_scale", scale=-0.5),
    Case("many_keys", queries=16, keys=512, heads=1, groups=1, dim=64),
    Case("positions_before_heads", batch=2, layouts=("bnhd", "bnhd", "bnhd")),
    Case("gaps", layouts=("strided", "strided", "strided")),
    Case("mixed_layouts", batch=2, layouts=("transposed", "strided", "bnhd"), causal=True),
]
GRID = [pytest.param(case, dtype, id=f"{case.name}-{str(dtype)[6:]}") for case in CASES for dtype in DTYPES]


def inputs(case: Case, dtype: torch.dtype) -> tuple[list[Tensor], Tensor | None, float]:
    """q, k and v inside poison, the lengths, and the scale that is really used."""
    generator = torch.Generator().manual_seed(sum(map(ord, case.name)))
    shapes = [
        (case.batch, case.heads, case.queries, case.dim),
        (case.batch, case.groups, case.keys, case.dim),
        (case.batch, case.groups, case.keys, case.dim),
    ]
    drawn = [torch.randn(shape, generator=generator).to(dtype) for shape in shapes]
    drawn[0] *= case.size
    views = [poisoned(x.to(DEVICE), layout) for x, layout in zip(drawn, case.layouts, strict=True)]
    lengths = None if case.lengths is None else torch.tensor(case.lengths, device=DEVICE)
    return views, lengths, case.scale / math.sqrt(case.dim)


def error(got: Tensor, expected: Tensor) -> float:
    """Relative Frobenius error; absolute where everything must be zero."""
    size = expected.norm().item() or 1.0
    return (got.double() - expected).norm().item() / size


def room(case: Case, dtype: torch.dtype) -> float:
    """How far off an output may be.

    Scores and log-sum-exps near 1000 are rounded to 6e-5 in float32, and the weights are off by as large a part.
    """
    return TOLERANCE[dtype] * (30.0 if case.size > 1 else 1.0)


@pytest.mark.parametrize(("case", "dtype"), GRID)
def test_forward(case: Case, dtype: torch.dtype) -> None:
    (q, k, v), lengths, scale = inputs(case, dtype)
    out, lse = triton_attention(q, k, v, case.causal, lengths, scale)
    expected, expected_lse = attention_specification(
        q.double(), k.double(), v.double(), case.causal, lengths, scale
    )
    assert out.dtype == dtype
    assert lse.dtype == torch.float32
    assert error(out, expected) <= room(case, dtype)
    dead = expected_lse.isneginf()
    assert torch.equal(lse.isneginf(), dead)
    # the scores are float32: relative rounding of the largest
    allowed = 5e-6 * expected_lse[~dead].abs().clamp(min=1.0)
    assert ((lse.double() - expected_lse)[~dead].abs() <= allowed).all()


@pytest.mark.parametrize(("case", "dtype"), GRID)
def test_gradients(case: Case, dtype: torch.dtype) -> None:
    views, lengths, scale = inputs(case, dtype)
    leaves = [view.requires_grad_() for view in views]
    exact = [view.detach().double().requires_grad_() for view in views]
    qd, kd, vd = exact
    out = TritonAttention.apply(*leaves, case.causal, lengths, scale)
    expected, _ = attention_specification(qd, kd, vd, case.causal, lengths, scale)
    upstream = torch.randn(out.shape, generator=torch.Generator().manual_seed(1)).to(out)
    got = torch.autograd.grad(out, leaves, upstream)
    wanted = torch.autograd.grad(expected, exact, upstream.double())
    for name, one, other in zip("qkv", got, wanted, strict=True):
        assert error(one, other) <= 1.5 * room(case, dtype), f"gradient of {name}"


@pytest.mark.parametrize(
    "case",
    [case for case in CASES if case.name in ("plain", "padded_causal", "grouped")],
    ids=lambda case: case.name,
)
def test_no_worse_than_twice_pytorch_in_half_precision(case: Case) -> None:
    (q, k, v), lengths, scale = inputs(case, torch.float16)
    out, _ = triton_attention(q, k, v, case.causal, lengths, scale)
    same, _ = attention_specification(q, k, v, case.causal, lengths, scale)
    exact, _ = attention_specification(q.double(), k.double(), v.double(), case.causal, lengths, scale)
    assert error(out, exact) <= 2 * error(same, exact)


def test_nan_stays_in_its_row() -> None:
    q, k, v = (torch.randn(1, 2, 40, 16, generator=torch.Generator().manual_seed(seed)) for seed in range(3))
    q[0, 1, 17, 3] = math.nan
    out, lse = triton_attention(q.to(DEVICE), k.to(DEVICE), v.to(DEVICE), False, None, 0.25)
    bad = torch.zeros(1, 2, 40, dtype=torch.bool, device=DEVICE)
    bad[0, 1, 17] = True
    assert torch.equal(out.isnan().any(-1), bad)
    assert torch.equal(lse.isnan(), bad)


def test_an_expanded_upstream_gradient_is_read_by_its_strides() -> None:
    q, k, v = (torch.randn(1, 2, 33, 16, requires_grad=True) for _ in range(3))
    leaves = [x.detach().to(DEVICE).requires_grad_() for x in (q, k, v)]
    TritonAttention.apply(
        *leaves, True, None, 0.25
    ).sum().backward()  # the gradient of a sum has strides of 0
    expected, _ = attention_specification(q.double(), k.double(), v.double(), True, None, 0.25)
    wanted = torch.autograd.grad(expected.sum(), (q, k, v))
    for leaf, other in zip(leaves, wanted, strict=True):
        assert leaf.grad is not None
        assert error(leaf.grad.cpu(), other.double()) <= 3e-6


def test_lse_has_a_gradient_in_the_operator() -> None:
    drawn = [
        torch.randn(2, 2, 19, 16, generator=torch.Generator().manual_seed(seed)).to(DEVICE)
        for seed in range(3)
    ]
    upstream = torch.randn(2, 2, 19, generator=torch.Generator().manual_seed(3)).to(DEVICE)
    leaves, exact = [x.clone().requires_grad_() for x in drawn], [x.double().requires_grad_() for x in drawn]
    out, lse = attention_operator(*leaves, None, True, 0.3)
    qd, kd, vd = exact
    expected, expected_lse = attention_specification(qd, kd, vd, True, None, 0.3)
    got = torch.autograd.grad(out.sum() + (lse * upstream).sum(), leaves)
    wanted = torch.autograd.grad(expected.sum() + (expected_lse * upstream).sum(), exact)
    for one, other in zip(got, wanted, strict=True):
        assert error(one, other) <= 3e-6


@pytest.mark.parametrize(("groups", "lengths", "causal"), [(2, None, True), (1, (17, 5), False)])
def test_the_operator_is_registered_properly(
    groups: int, lengths: tuple[int, ...] | None, causal: bool
) -> None:
    q = torch.randn(2, 2, 13, 16, device=DEVICE, requires_grad=True)
    k, v = (torch.randn(2, groups, 17, 16, device=DEVICE, requires_grad=True) for _ in range(2))
    given = None if lengths is None else torch.tensor(lengths, device=DEVICE)
    report = torch.library.opcheck(attention_operator, (q, k, v, given, causal, 0.25))
    assert set(report.values()) == {"SUCCESS"}


@pytest.mark.parametrize("how", ["function", "operator"])
def test_a_gradient_of_the_gradient_is_refused(how: str) -> None:
    """The backward kernels are a black box: a second derivative must be an error and not a silent zero."""
    q, k, v = (torch.randn(1, 1, 5, 16, device=DEVICE, requires_grad=True) for _ in range(3))
    if how == "function":
        out = TritonAttention.apply(q, k, v, False, None, 0.25)
    else:
        out, _ = attention_operator(q, k, v, None, False, 0.25)
    (gradient,) = torch.autograd.grad(out.square().sum(), q, create_graph=True)
    with pytest.raises(RuntimeError):
        gradient.sum().backward()


@pytest.mark.parametrize("backend", ["aot_eager", pytest.param("inductor", marks=pytest.mark.slow)])
def test_torch_compile_keeps_the_operator_whole(backend: str) -> None:
    q, k, v = (torch.randn(1, 2, 17, 16, device=DEVICE, requires_grad=True) for _ in range(3))

    def loss(q: Tensor, k: Tensor, v: Tensor) -> Tensor:
        return attention_operator(2 * q, k, v, None, True, 0.25)[0].square().sum()

    eager = torch.autograd.grad(loss(q, k, v), (q, k, v))
    compiled = torch.compile(loss, fullgraph=True, backend=backend)
    for one, other in zip(torch.autograd.grad(compiled(q, k, v), (q, k, v)), eager, strict=True):
        assert torch.allclose(one, other, rtol=1e-6, atol=1e-6)  # the same kernels; float32 sums in one order


def _two(*tensors: Tensor) -> list[Tensor]:
    """The same with two batch items."""
    return [x.repeat(2, 1, 1, 1) for x in tensors]


def _far_apart(x: Tensor) -> Tensor:
    """A view whose rows lie 2^30 numbers apart, in memory that is never touched."""
    return torch.empty(1, dtype=x.dtype, device="meta").as_strided(x.shape, (0, 0, 1 << 30, 1))


BAD = [
    ("q is torch.float64", lambda q, k, v: (q.double(), k.double(), v.double(), None)),
    ("they must agree", lambda q, k, v: (q, k.half(), v, None)),
    ("must have axes", lambda q, k, v: (q[0], k, v, None)),
    ("k and v must have one shape", lambda q, k, v: (q, k, v[:, :, :3], None)),
    ("agree in batch and dim", lambda q, k, v: (q[..., :8], k, v, None)),
    ("do not divide", lambda q, k, v: (q, k.repeat(1, 2, 1, 1)[:, :3], v.repeat(1, 2, 1, 1)[:, :3], None)),
    ("heads of 1 to 256 numbers", lambda q, k, v: (*(x.repeat(1, 1, 1, 20) for x in (q, k, v)), None)),
    ("heads of 1 to 256 numbers", lambda q, k, v: (*(x[..., :0] for x in (q, k, v)), None)),
    ("split the batch", lambda q, k, v: (*(x.expand(40000, -1, -1, -1) for x in (q, k, v)), None)),
    ("numbers behind its first", lambda q, k, v: (_far_apart(q), k, v, None)),
    (
        "lengths.contiguous()",
        lambda q, k, v: (*_two(q, k, v), torch.tensor([[3, 0], [4, 0]], device=DEVICE)[:, 0]),
    ),
    ("lengths must be", lambda q, k, v: (*_two(q, k, v), torch.tensor([True, False], device=DEVICE))),
    ("lengths must be", lambda q, k, v: (q, k, v, torch.tensor([3, 4, 5], device=DEVICE))),
    ("lengths must be", lambda q, k, v: (q, k, v, torch.tensor([3.0], device=DEVICE))),
]


@pytest.mark.parametrize(("says", "spoil"), BAD, ids=[f"{number}" for number in range(len(BAD))])
def test_unsupported_input_is_refused_in_a_sentence(says: str, spoil: object) -> None:
    q, k, v = (torch.randn(1, 2, 5, 16, device=DEVICE) for _ in range(3))
    q, k, v, lengths = spoil(q, k, v)  # type: ignore[operator]
    with pytest.raises(ValueError, match=says):
        triton_attention(q, k, v, False, lengths, 0.25)


def test_no_queries_and_no_keys() -> None:
    q, k = torch.randn(1, 2, 0, 16, device=DEVICE), torch.randn(1, 2, 3, 16, device=DEVICE)
    assert triton_attention(q, k, k, True, None, 0.25)[0].shape == q.shape
    out, lse = triton_attention(k, q, q, True, None, 0.25)
    assert not out.any()
    assert lse.isneginf().all()


def test_the_measured_roofline_holds_every_version_below_the_roof() -> None:
    measured = measured_versions()
    points = {point["name"]: point for point in measured["points"]}
    assert {"Python loops", "NumPy", "torch naive", "torch tiled", "SDPA"} == set(points)
    for point in points.values():
        assert 0 < point["rate"] < min(measured["peak"], point["intensity"] * measured["bandwidth"])
    assert points["SDPA"]["intensity"] > 10 * points["torch naive"]["intensity"]  # no scores through memory
