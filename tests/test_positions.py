"""Chapter 05's library against PyTorch and Hugging Face, and what its figure is given."""

from __future__ import annotations

import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor, nn

from attention_from_scratch import figures
from attention_from_scratch.masks import causal_mask, masked_attention
from attention_from_scratch.multi_head import MultiHeadAttention
from attention_from_scratch.positions import (
    LearnedPositions,
    alibi_bias,
    biased_attention,
    frequencies,
    interleaving,
    permutation_gap,
    rope,
    rotary_attention,
    sinusoidal,
)

# Two right implementations differ by the order of sums of some tens of terms near 1: tens of roundings of unit
# roundoff (6e-8 in float32, 1.1e-16 in float64). Gradients sum over up to a hundred positions, hence the second row.
FORWARD = {torch.float32: 1e-5, torch.float64: 1e-13}
GRADIENT = {torch.float32: 1e-4, torch.float64: 1e-12}

sizes = st.integers(1, 6)
dtypes = st.sampled_from([torch.float32, torch.float64])
seeds = st.integers(0, 999)
few = settings(max_examples=40, deadline=None, derandomize=True)


def close(got: Tensor, expected: Tensor, tolerance: dict[torch.dtype, float] = FORWARD) -> None:
    """Equal shapes and dtypes, and numbers within the tolerance relative to the largest (at least 1)."""
    bound = tolerance[expected.dtype] * max(1.0, expected.detach().abs().max().item())
    torch.testing.assert_close(got, expected, rtol=0.0, atol=bound)


def drawn(seed: int, dtype: torch.dtype, *shapes: tuple[int, ...]) -> list[Tensor]:
    """Normal numbers of the given shapes."""
    generator = torch.Generator().manual_seed(seed)
    return [torch.randn(*shape, generator=generator, dtype=torch.float64).to(dtype) for shape in shapes]


def backward(function, tensors: list[Tensor], upstream: Tensor) -> tuple[Tensor, list[Tensor]]:
    """The value of a function, and the gradients of its arguments."""
    leaves = [tensor.clone().requires_grad_() for tensor in tensors]
    value = function(*leaves)
    return value.detach(), list(torch.autograd.grad(value, leaves, upstream))


@few
@given(length=st.integers(1, 30), width=st.integers(1, 17))
def test_sinusoidal_is_the_formula_number_by_number(length: int, width: int) -> None:
    expected = torch.empty(length, width)
    for place in range(length):
        for number in range(width):
            angle = place / 10000 ** (2 * (number // 2) / width)
            expected[place, number] = math.cos(angle) if number % 2 else math.sin(angle)
    close(sinusoidal(length, width), expected)


def test_sinusoidal_rows_stay_apart_far_out() -> None:
    table = sinusoidal(100_000, 4)
    close(table[-1, 0], torch.tensor(math.sin(99_999.0)))
    assert (table[1:] - table[:-1]).abs().amax(dim=-1).min() > 0.1


@few
@given(batch=sizes, heads=sizes, length=sizes, pairs=sizes, dtype=dtypes, seed=seeds)
def test_rope_equals_hugging_face_after_reordering(
    batch: int, heads: int, length: int, pairs: int, dtype: torch.dtype, seed: int
) -> None:
    """Llama's code pairs halves: `interleaving` must lead from there to us, for values and gradients."""
    modeling = pytest.importorskip("transformers.models.llama.modeling_llama")
    dim = 2 * pairs
    order = interleaving(dim)
    x, upstream = drawn(seed, dtype, *2 * [(batch, heads, length, dim)])
    places = torch.randint(0, 500, (length,), generator=torch.Generator().manual_seed(seed))
    angle = torch.cat(2 * [places[:, None] * frequencies(dim)], dim=-1)[None]  # (1, length, dim)
    cos, sin = angle.cos().to(dtype), angle.sin().to(dtype)
    theirs = backward(lambda x: modeling.apply_rotary_pos_emb(x, x, cos, sin)[0], [x], upstream)
    ours = backward(lambda x: rope(x[..., order], places)[..., order.argsort()], [x], upstream)
    close(ours[0], theirs[0])
    close(ours[1][0], theirs[1][0])


@few
@given(length=sizes, pairs=sizes, shift=st.integers(0, 100_000), seed=seeds)
def test_rotated_scores_know_the_distance_only(length: int, pairs: int, shift: int, seed: int) -> None:
    q, k = drawn(seed, torch.float64, *2 * [(length, 2 * pairs)])
    places = torch.arange(length)
    here = rope(q, places) @ rope(k, places).T
    there = rope(q, places + shift) @ rope(k, places + shift).T
    # an angle of 1e5 has a last digit of 1e-11, and cosine and sine pass it on
    torch.testing.assert_close(there, here, rtol=0.0, atol=1e-9)
    close(rope(rope(q, places), -places), q)


def test_half_precision_is_rounded_once() -> None:
    (x,) = drawn(0, torch.float64, (5, 8))
    places = torch.tensor([2047, 2049, 4095, 9001, 65535])
    for dtype, step in (
        (torch.float16, 4e-3),
        (torch.bfloat16, 3e-2),
    ):  # a few units of the last place near 2
        got = rope(x.to(dtype), places)
        assert got.dtype == dtype
        torch.testing.assert_close(got.double(), rope(x.to(dtype).double(), places), rtol=0.0, atol=step)


@few
@given(batch=sizes, heads=sizes, queries=sizes, more=sizes, pairs=sizes, dtype=dtypes, seed=seeds)
def test_both_attentions_equal_sdpa(
    batch: int, heads: int, queries: int, more: int, pairs: int, dtype: torch.dtype, seed: int
) -> None:
    keys, dim = queries + more, 2 * pairs
    shapes = [(batch, heads, queries, dim), (batch, heads, keys, dim), (batch, heads, keys, dim + 1)]
    *values, upstream = drawn(seed, dtype, *shapes, (batch, heads, queries, dim + 1))
    q_places, k_places = torch.arange(more, keys), torch.arange(keys)
    mask = causal_mask(queries, keys, more)
    sdpa = nn.functional.scaled_dot_product_attention
    bias = alibi_bias(heads, queries, keys).to(dtype)
    pairs_of_functions = [
        (
            lambda q, k, v: rotary_attention(q, k, v, q_places, k_places, mask),
            lambda q, k, v: sdpa(rope(q, q_places), rope(k, k_places), v, attn_mask=mask),
        ),
        (
            lambda q, k, v: biased_attention(q, k, v, bias, mask),
            lambda q, k, v: sdpa(q, k, v, attn_mask=bias.masked_fill(~mask, -math.inf)),
        ),
    ]
    for ours, theirs in pairs_of_functions:
        got, expected = backward(ours, values, upstream), backward(theirs, values, upstream)
        close(got[0], expected[0])
        for mine, torchs in zip(got[1], expected[1], strict=True):
            close(mine, torchs, GRADIENT)


@pytest.mark.parametrize("heads", [*range(1, 18), 24, 32, 40, 112])
def test_alibi_slopes_equal_hugging_face(heads: int) -> None:
    modeling = pytest.importorskip("transformers.models.bloom.modeling_bloom")
    theirs = modeling.build_alibi_tensor(torch.ones(1, 6, dtype=torch.long), heads, torch.float32)[:, 0]
    bias = alibi_bias(heads, 1, 6)[:, 0]  # theirs counts from the first key: the same up to a constant a head
    close(bias - bias[:, :1], theirs)


@few
@given(heads=sizes, queries=sizes, more=st.integers(0, 6))
def test_alibi_of_the_last_queries_is_the_end_of_the_square(heads: int, queries: int, more: int) -> None:
    keys = queries + more
    assert torch.equal(alibi_bias(heads, queries, keys), alibi_bias(heads, keys, keys)[:, more:])


@few
@given(batch=sizes, length=sizes, width=sizes, offset=st.integers(0, 5), dtype=dtypes, seed=seeds)
def test_learned_positions_equal_an_embedding(
    batch: int, length: int, width: int, offset: int, dtype: torch.dtype, seed: int
) -> None:
    ours, theirs = LearnedPositions(11, width).to(dtype), nn.Embedding(11, width, dtype=dtype)
    theirs.load_state_dict({"weight": ours.state_dict()["table"]})
    x, upstream = drawn(seed, dtype, *2 * [(batch, length, width)])
    got = ours(x, offset)
    expected = x + theirs(torch.arange(offset, offset + length))
    close(got, expected)
    got.backward(upstream)
    expected.backward(upstream)
    assert ours.table.grad is not None
    assert theirs.weight.grad is not None
    close(ours.table.grad, theirs.weight.grad, GRADIENT)


@pytest.mark.parametrize("offset", [-1, 9, 12])
def test_positions_outside_the_table_are_refused(offset: int) -> None:
    with pytest.raises(ValueError, match="not all in a table of 10 positions"):
        LearnedPositions(10, 4)(torch.randn(2, 2, 4), offset)


def test_what_cannot_be_turned_is_refused() -> None:
    with pytest.raises(ValueError, match="width of 5 is odd"):
        rope(torch.randn(3, 5), torch.arange(3))
    for places in (torch.arange(1), torch.arange(4), torch.arange(3)[None]):
        with pytest.raises(ValueError, match="3 vectors need 3 positions"):
            rope(torch.randn(3, 4), places)


@pytest.mark.parametrize("seed", range(3))
def test_gap_is_zero_exactly_for_models_of_sets(seed: int) -> None:
    torch.manual_seed(seed)
    (x,) = drawn(seed, torch.float64, (3, 7, 12))
    layer = MultiHeadAttention(12, 3).double()
    projections = (layer.query, layer.key, layer.value)
    places = torch.arange(7)

    def through(kind: str):
        def model(x: Tensor) -> Tensor:
            q, k, v = (project(x) for project in projections)
            if kind == "rope":
                return rotary_attention(q, k, v, places, places, None)
            if kind == "alibi":
                return biased_attention(q, k, v, alibi_bias(1, 7, 7)[0], None)
            return masked_attention(q, k, v, causal_mask(7, 7, 0) if kind == "causal" else None)

        return model

    assert permutation_gap(through("plain"), x) < 1e-13
    assert permutation_gap(lambda x: layer(x, x), x) < 1e-13
    for kind in ("rope", "alibi", "causal"):
        assert permutation_gap(through(kind), x) > 1e-3, kind
    assert permutation_gap(lambda x: layer(x, x) + sinusoidal(7, 12), x) > 1e-3
    assert math.isnan(permutation_gap(lambda x: x * math.nan, x))


@pytest.mark.parametrize("seed", range(20))
def test_two_shuffles_find_what_any_shuffle_finds(seed: int) -> None:
    """A map that some random order does not pass through has a gap, also a map of a few positions only."""
    generator = torch.Generator().manual_seed(seed)
    mixing = torch.eye(6, dtype=torch.float64)
    i, j = torch.randperm(6, generator=generator)[:2].tolist()
    mixing[i, j] = 0.5  # position i reads position j: no other order is treated so
    x = torch.randn(2, 6, 3, generator=generator, dtype=torch.float64)
    assert permutation_gap(lambda x: mixing @ x, x) > 1e-3


def test_the_dial_is_given_two_numbers_a_frequency() -> None:
    figure = figures.positions.rotation_dial([1, 0, 0, 1], [0, 1, 1, 0], frequencies(4), 16)
    assert '"frequencies":[1.0,0.01]' in figure.script
    assert '"length":16' in figure.script
    with pytest.raises(ValueError, match="2 frequencies turn 4 numbers"):
        figures.positions.rotation_dial([1, 0], [0, 1, 1, 0], frequencies(4), 16)
