"""Chapter 04's library against PyTorch's two attentions with both kinds of masks; the leak detector; the figures."""

from __future__ import annotations

import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor, nn
from torch.nn.functional import scaled_dot_product_attention

from attention_from_scratch import figures
from attention_from_scratch.masks import (
    MaskedMultiHeadAttention,
    causal_mask,
    changed,
    combine_masks,
    leak_test,
    masked_attention,
    masked_softmax,
    padding_mask,
)
from attention_from_scratch.multi_head import (
    MultiHeadAttention,
    SelfAttention,
    pack_projections,
    unpack_projections,
)

# Two right implementations differ by the order of sums of some tens of terms near 1: tens of roundings of unit
# roundoff (6e-8 in float32, 1.1e-16 in float64). Gradients sum over up to a hundred positions, hence the second table.
FORWARD = {torch.float32: 1e-5, torch.float64: 1e-13}
GRADIENT = {torch.float32: 1e-4, torch.float64: 1e-12}
# Weights are at most 1 and rounded once: one unit of roundoff, and as much again for the scores' own rounding.
HALF = {torch.float16: 2e-3, torch.bfloat16: 2e-2}

sizes = st.integers(1, 6)
dtypes = st.sampled_from([torch.float32, torch.float64])
seeds = st.integers(0, 9999)
few = settings(max_examples=40, deadline=None, derandomize=True)


def close(got: Tensor, expected: Tensor, tolerance: dict[torch.dtype, float]) -> None:
    """Equal shapes and dtypes, and numbers within the tolerance relative to the largest (at least 1)."""
    bound = tolerance[expected.dtype] * max(1.0, expected.detach().abs().max().item())
    torch.testing.assert_close(got, expected, rtol=0.0, atol=bound)


def close_gradients(one: list[Tensor], other: list[Tensor]) -> None:
    """The leaves have the same gradients."""
    for mine, theirs in zip(one, other, strict=True):
        assert mine.grad is not None
        assert theirs.grad is not None
        close(mine.grad, theirs.grad, GRADIENT)


def drawn_mask(*shape: int, empty: bool) -> Tensor:
    """A random mask; without `empty` every query sees at least one key."""
    mask = torch.rand(shape) < 0.5
    if not empty:
        mask[..., torch.randint(shape[-1], ())] = True
    return mask


def additive(mask: Tensor, dtype: torch.dtype) -> Tensor:
    """The same mask as numbers to add: 0 where one may look, −∞ elsewhere."""
    return torch.zeros(mask.shape, dtype=dtype).masked_fill(~mask, -math.inf)


# -- masks


@few
@given(queries=sizes, keys=sizes, offset=st.integers(-7, 7))
def test_causal_mask_is_the_lower_triangle(queries: int, keys: int, offset: int) -> None:
    mask = causal_mask(queries, keys, offset)
    assert mask.dtype == torch.bool
    assert torch.equal(mask, torch.ones(queries, keys, dtype=torch.bool).tril(diagonal=offset))


@few
@given(queries=sizes, more=st.integers(0, 5), seed=seeds)
def test_causal_offsets_of_sdpa(queries: int, more: int, seed: int) -> None:
    torch.manual_seed(seed)
    keys = queries + more
    q, k = torch.randn(2, queries, 4, dtype=torch.float64), torch.randn(2, keys, 4, dtype=torch.float64)
    top_left = scaled_dot_product_attention(q, k, k, is_causal=True)
    close(masked_attention(q, k, k, causal_mask(queries, keys, 0)), top_left, FORWARD)
    alone = []
    for i in range(queries):
        past = k[:, : i + more + 1]
        alone.append(scaled_dot_product_attention(q[:, i : i + 1], past, past))
    close(masked_attention(q, k, k, causal_mask(queries, keys, more)), torch.cat(alone, dim=1), FORWARD)


@few
@given(
    lengths=st.lists(st.integers(0, 5), min_size=1, max_size=5),
    kind=st.sampled_from([torch.int64, torch.int32]),
)
def test_padding_mask_hides_what_is_behind_the_length(lengths: list[int], kind: torch.dtype) -> None:
    mask = padding_mask(torch.tensor(lengths, dtype=kind), 5)
    assert mask.shape == (len(lengths), 1, 1, 5)
    assert mask[:, 0, 0].tolist() == [[j < length for j in range(5)] for length in lengths]


@pytest.mark.parametrize("lengths", [[6, 2], [2, -1]])
def test_lengths_that_do_not_fit_are_refused(lengths: list[int]) -> None:
    with pytest.raises(ValueError, match="between 0 and 5"):
        padding_mask(torch.tensor(lengths), 5)


def test_combined_masks_hide_what_any_hides() -> None:
    torch.manual_seed(0)
    masks = [torch.rand(shape) < 0.7 for shape in ((4, 5), (3, 1, 1, 5), (2, 1, 1))]
    before = [mask.clone() for mask in masks]
    combined = combine_masks(None, *masks)
    assert combined is not None
    assert combined.shape == (3, 2, 4, 5)
    for b, h, i, j in torch.cartesian_prod(*(torch.arange(n) for n in combined.shape)).tolist():
        assert combined[b, h, i, j] == (masks[0][i, j] and masks[1][b, 0, 0, j] and masks[2][h, 0, 0])
    assert all(torch.equal(mask, old) for mask, old in zip(masks, before, strict=True))
    assert combine_masks() is None
    assert combine_masks(None, None) is None


@pytest.mark.parametrize("numbers", [torch.zeros(2, 2), torch.ones(2, 2, dtype=torch.int64)])
def test_masks_of_numbers_are_refused(numbers: Tensor) -> None:
    with pytest.raises(TypeError, match="must be boolean"):
        combine_masks(causal_mask(2, 2, 0), numbers)


# -- the softmax


@few
@given(rows=sizes, keys=sizes, dtype=dtypes, empty=st.booleans(), seed=seeds)
def test_hidden_keys_are_as_good_as_absent(
    rows: int, keys: int, dtype: torch.dtype, empty: bool, seed: int
) -> None:
    torch.manual_seed(seed)
    scores, mask = 20 * torch.randn(rows, keys, dtype=dtype), drawn_mask(rows, keys, empty=empty)
    weights = masked_softmax(scores, mask)
    for row, score, seen in zip(weights, scores, mask, strict=True):
        close(row[seen], torch.softmax(score[seen], dim=0), FORWARD) if seen.any() else None
        assert (row[~seen] == 0).all()


@few
@given(dtype=st.sampled_from(list(HALF)), seed=seeds)
def test_half_precision(dtype: torch.dtype, seed: int) -> None:
    torch.manual_seed(seed)
    scores = (100 * torch.randn(2, 4, 5)).to(dtype).requires_grad_()
    mask = drawn_mask(2, 4, 5, empty=True)
    weights = masked_softmax(scores, mask)
    assert weights.dtype == dtype
    exact = masked_softmax(scores.detach().double(), mask)
    torch.testing.assert_close(weights.double(), exact, rtol=0.0, atol=HALF[dtype])
    (weights * torch.randn(2, 4, 5).to(dtype)).sum().backward()
    assert scores.grad is not None
    assert torch.isfinite(scores.grad).all()
    assert (scores.grad[~mask] == 0).all()


def test_nothing_becomes_nan_on_the_way_back() -> None:
    torch.manual_seed(0)
    scores = torch.randn(3, 4, dtype=torch.float64, requires_grad=True)
    mask = drawn_mask(3, 4, empty=True)
    mask[1] = False
    with pytest.warns(UserWarning, match="Anomaly"), torch.autograd.detect_anomaly(check_nan=True):
        masked_softmax(scores, mask).square().sum().backward()
    assert torch.autograd.gradcheck(lambda s: masked_softmax(s, mask), scores)


def test_hidden_scores_may_be_anything() -> None:
    mask = torch.tensor([[True, True, False], [False, False, False]])
    for hidden in (1e30, math.inf, math.nan):
        weights = masked_softmax(torch.tensor([[1.0, 2.0, hidden], [hidden, 0.0, 1.0]]), mask)
        close(weights[0, :2], torch.softmax(torch.tensor([1.0, 2.0]), dim=0), FORWARD)
        assert weights[0, 2] == 0
        assert (weights[1] == 0).all()


# -- attention and the layer


@few
@given(
    batch=sizes, heads=sizes, queries=sizes, keys=sizes, dim=sizes, dtype=dtypes,
    empty=st.booleans(), numbers=st.booleans(), seed=seeds,
)  # fmt: skip
def test_attention_equals_sdpa_with_both_kinds_of_masks(
    batch: int,
    heads: int,
    queries: int,
    keys: int,
    dim: int,
    dtype: torch.dtype,
    empty: bool,
    numbers: bool,
    seed: int,
) -> None:
    torch.manual_seed(seed)
    shapes = [(queries, dim), (keys, dim), (keys, dim + 1)]
    values = [torch.randn(batch, heads, *shape, dtype=dtype) for shape in shapes]
    mask = drawn_mask(batch, heads, queries, keys, empty=empty)
    one, other = [[value.clone().requires_grad_() for value in values] for _ in range(2)]
    q, k, v = other
    expected = scaled_dot_product_attention(q, k, v, attn_mask=additive(mask, dtype) if numbers else mask)
    got = masked_attention(one[0], one[1], one[2], mask)
    close(got, expected, FORWARD)
    upstream = torch.randn_like(expected)
    got.backward(upstream)
    expected.backward(upstream)
    close_gradients(one, other)


@few
@given(
    batch=sizes, heads=sizes, dim=sizes, queries=sizes, keys=sizes, dtype=dtypes,
    way=st.sampled_from(["boolean", "numbers", "two masks"]), seed=seeds,
)  # fmt: skip
def test_layer_equals_torch_with_every_kind_of_mask(
    batch: int, heads: int, dim: int, queries: int, keys: int, dtype: torch.dtype, way: str, seed: int
) -> None:
    torch.manual_seed(seed)
    ours = MaskedMultiHeadAttention(heads * dim, heads).to(dtype)
    theirs = nn.MultiheadAttention(heads * dim, heads, batch_first=True, dtype=dtype)
    theirs.load_state_dict(pack_projections(ours.state_dict()))
    causal = causal_mask(queries, keys, max(0, keys - queries))
    padding = padding_mask(torch.randint(1, keys + 1, (batch,)), keys)
    mask = combine_masks(causal, padding)
    assert mask is not None
    hidden = ~mask.expand(batch, heads, queries, keys).flatten(0, 1)
    options = {
        "boolean": {"attn_mask": hidden},
        "numbers": {"attn_mask": additive(~hidden, dtype)},
        "two masks": {"attn_mask": ~causal, "key_padding_mask": ~padding[:, 0, 0]},
    }[way]
    x = torch.randn(batch, queries, heads * dim, dtype=dtype)
    memory = torch.randn(batch, keys, heads * dim, dtype=dtype)
    one, other = [[x.clone().requires_grad_(), memory.clone().requires_grad_()] for _ in range(2)]
    got = ours(*one, mask)
    expected = theirs(other[0], other[1], other[1], **options)[0]
    close(got, expected, FORWARD)
    upstream = torch.randn_like(expected)
    got.backward(upstream)
    expected.backward(upstream)
    close_gradients(one, other)
    torchs = unpack_projections({name: p.grad for name, p in theirs.named_parameters() if p.grad is not None})
    for name, parameter in ours.named_parameters():
        assert parameter.grad is not None
        close(parameter.grad, torchs[name], GRADIENT)


def test_layer_without_a_mask_is_chapter_03s() -> None:
    torch.manual_seed(0)
    old, new = MultiHeadAttention(12, 3), MaskedMultiHeadAttention(12, 3)
    new.load_state_dict(old.state_dict())
    x, memory = torch.randn(2, 4, 12), torch.randn(2, 5, 12)
    close(new(x, memory, None), old(x, memory), FORWARD)


def test_a_sentence_does_not_notice_its_padding() -> None:
    torch.manual_seed(0)
    layer = MaskedMultiHeadAttention(12, 3).double()
    x, lengths = torch.randn(3, 6, 12, dtype=torch.float64), torch.tensor([2, 6, 1])
    together = layer(x, x, padding_mask(lengths, 6))
    for b, length in enumerate(lengths.tolist()):
        words = x[b : b + 1, :length]
        close(together[b : b + 1, :length], layer(words, words, None), FORWARD)


def test_who_sees_nobody_gets_the_bias_and_finite_gradients() -> None:
    torch.manual_seed(0)
    layer = MaskedMultiHeadAttention(12, 3)
    x = torch.randn(2, 4, 12, requires_grad=True)
    out = layer(x, x, padding_mask(torch.tensor([0, 4]), 4))
    close(out[0], layer.output.bias.detach().expand(4, 12), FORWARD)
    out.square().sum().backward()
    assert all(leaf.grad is not None and torch.isfinite(leaf.grad).all() for leaf in (x, *layer.parameters()))


def test_a_mask_of_three_axes_is_refused() -> None:
    layer, x = MaskedMultiHeadAttention(12, 3), torch.randn(3, 4, 12)
    with pytest.raises(ValueError, match="2 axes or 4, not 3"):
        layer(x, x, torch.ones(3, 4, 4, dtype=torch.bool))


# -- the leak detector

ABOVE = ~causal_mask(5, 5, 0)


def vectors(seed: int) -> Tensor:
    """A batch of three sequences of five vectors."""
    return torch.randn(3, 5, 12, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


@few
@given(outputs=sizes, inputs=sizes, batch=st.integers(1, 3), dtype=dtypes, seed=seeds)
def test_leaks_are_what_is_read_and_not_allowed(
    outputs: int, inputs: int, batch: int, dtype: torch.dtype, seed: int
) -> None:
    torch.manual_seed(seed)
    reads, allowed = torch.rand(outputs, inputs) < 0.5, torch.rand(outputs, inputs) < 0.5
    mix = reads * (1 + torch.rand(outputs, inputs, dtype=dtype))
    x = torch.randn(batch, inputs, 3, dtype=dtype)
    kept = x.clone()
    found = leak_test(lambda y: torch.einsum("ij,bjw->biw", mix, torch.tanh(y)), x, allowed)
    assert torch.equal(found, reads & ~allowed)
    assert torch.equal(x, kept)


@pytest.mark.parametrize("heads", [1, 3])
def test_attention_leaks_without_a_mask_and_not_with_it(heads: int) -> None:
    torch.manual_seed(heads)
    layer, packed = MaskedMultiHeadAttention(12, heads).double(), SelfAttention(12, heads).double()
    may = causal_mask(5, 5, 0)
    assert not leak_test(lambda x: layer(x, x, may), vectors(1), may).any()
    assert torch.equal(leak_test(lambda x: layer(x, x, None), vectors(1), may), ABOVE)
    assert torch.equal(leak_test(packed, vectors(1), may), ABOVE)


def test_torchs_own_causal_encoder_has_no_leak_and_its_batch_norm_has() -> None:
    torch.manual_seed(0)
    layer = nn.TransformerEncoderLayer(12, 3, 24, batch_first=True, dtype=torch.float64).eval()
    may = causal_mask(5, 5, 0)
    assert not leak_test(lambda x: layer(x, src_mask=~may), vectors(2), may).any()
    norm = nn.BatchNorm1d(
        12, dtype=torch.float64
    )  # in training mode: statistics of all positions of all examples
    everything = torch.ones(5, 5, dtype=torch.bool)
    assert leak_test(lambda x: norm(x.transpose(1, 2)).transpose(1, 2), vectors(2), everything).all()


def test_masking_after_the_softmax_leaks_through_the_sum() -> None:
    def model(x: Tensor) -> Tensor:
        weights = torch.softmax(x @ x.transpose(1, 2), dim=-1) * causal_mask(5, 5, 0)
        return weights @ x

    assert torch.equal(leak_test(model, vectors(3) / 3, causal_mask(5, 5, 0)), ABOVE)


def test_a_fill_of_minus_twenty_leaks() -> None:
    may = causal_mask(5, 5, 0)

    def model(x: Tensor) -> Tensor:
        return torch.softmax((x @ x.transpose(1, 2) / 12).masked_fill(~may, -20.0), dim=-1) @ x

    assert torch.equal(leak_test(model, vectors(4), may), ABOVE)


def test_token_ids_are_tried_with_ids_that_occur() -> None:
    torch.manual_seed(0)
    embedding = nn.Embedding(10, 12, dtype=torch.float64)
    layer = MaskedMultiHeadAttention(12, 3).double()
    may = causal_mask(5, 5, 0)
    ids = torch.tensor([[0, 9, 9, 0, 4], [9, 0, 4, 4, 4]])  # 9 is the last id: ids + 1 would not be known

    def model(ids: Tensor, mask: Tensor | None) -> Tensor:
        return layer(embedding(ids), embedding(ids), mask)

    assert not leak_test(lambda i: model(i, may), ids, may).any()
    assert torch.equal(leak_test(lambda i: model(i, None), ids, may), ABOVE)


def test_another_example_is_never_allowed() -> None:
    everything = torch.ones(5, 5, dtype=torch.bool)
    found = leak_test(lambda x: x + x.roll(1, dims=0), vectors(5), everything)
    assert torch.equal(found, torch.eye(5, dtype=torch.bool))


def test_padding_may_differ_between_examples() -> None:
    torch.manual_seed(0)
    layer = MaskedMultiHeadAttention(12, 3).double()
    padding = padding_mask(torch.tensor([2, 5, 3]), 5)
    allowed = padding[:, 0].expand(3, 5, 5)
    own = torch.eye(5, dtype=torch.bool)  # padding may look at itself: its queries are not hidden
    assert not leak_test(lambda x: layer(x, x, padding), vectors(6), allowed | own).any()
    found = leak_test(lambda x: layer(x, x, None), vectors(6), allowed)
    assert torch.equal(found, torch.tensor([False, False, True, True, True]).expand(5, 5))


def test_a_model_that_varies_or_gives_nan_is_refused() -> None:
    dropout = nn.Dropout(0.5)
    may = causal_mask(5, 5, 0)
    for model in (dropout, lambda x: x / 0 * 0):
        with pytest.raises(ValueError, match="eval"):
            leak_test(model, vectors(7), may)
    assert not leak_test(dropout.eval(), vectors(7), may).any()


def test_ids_that_are_all_the_same_cannot_be_tried() -> None:
    with pytest.raises(ValueError, match="at least two different ones"):
        leak_test(lambda ids: ids, torch.full((2, 5), 3), causal_mask(5, 5, 0))


def test_rounding_is_no_change_and_nan_is() -> None:
    before = torch.ones(1, 3, 2)
    after = before.clone()
    after[0, 0] += 1e-6
    after[0, 1] += 1e-3
    after[0, 2, 0] = math.nan
    assert changed(before, after).tolist() == [[False, True, True]]
    assert changed(torch.tensor([[1, 2]]), torch.tensor([[1, 3]])).tolist() == [[False, True]]


# -- the figures


def test_the_painter_says_what_does_not_fit() -> None:
    sentences, scores = [["a", "b"], ["c", "‹pad›"]], torch.randn(2, 2, 2)
    assert "‹pad›" in figures.masks.painter(sentences, [2, 1], scores)._repr_html_()
    for lengths, numbers in ([2], scores), ([2, 1], scores[:1]):
        with pytest.raises(ValueError, match="scores for each sentence"):
            figures.masks.painter(sentences, lengths, numbers)
    for lengths, numbers in ([2, 3], scores), ([2, 1], torch.randn(2, 2, 3)):
        with pytest.raises(ValueError, match="does not fit"):
            figures.masks.painter(sentences, lengths, numbers)


def test_panels_fill_the_cells_that_are_true() -> None:
    mask = causal_mask(2, 3, 0)
    words = {"alt": "What it shows.", "caption": "What to see."}
    figure = figures.masks.panels({"a < b": (["x", "y"], ["k", "l", "m"], mask)}, color="key", **words)
    assert figure.body.count("yes</title>") == int(mask.sum())
    assert figure.body.count("no</title>") == int((~mask).sum())
    assert "3 of 6 cells are filled" in figure.body
    assert "a &lt; b" in figure.body
    with pytest.raises(ValueError, match="do not fit"):
        figures.masks.panels({"a": (["x"], ["k", "l", "m"], mask)}, color="key", **words)
