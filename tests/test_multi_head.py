"""Chapter 03's library against PyTorch: `nn.MultiheadAttention`, and SDPA with grouped queries."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor, nn

from attention_from_scratch.multi_head import (
    MultiHeadAttention,
    SelfAttention,
    attention,
    grouped_query_attention,
    merge_heads,
    pack_projections,
    split_heads,
    unpack_projections,
)

# Two right implementations differ by the order of sums of some tens of terms near 1: tens of roundings of unit
# roundoff (6e-8 in float32, 1.1e-16 in float64). Gradients sum over up to a hundred positions, hence the second column.
FORWARD = {torch.float32: 1e-5, torch.float64: 1e-13}
GRADIENT = {torch.float32: 1e-4, torch.float64: 1e-12}

sizes = st.integers(1, 6)
dtypes = st.sampled_from([torch.float32, torch.float64])
few = settings(max_examples=40, deadline=None, derandomize=True)


def close(got: Tensor, expected: Tensor, tolerance: dict[torch.dtype, float]) -> None:
    """Equal shapes and dtypes, and numbers within the tolerance relative to the largest (at least 1)."""
    bound = tolerance[expected.dtype] * max(1.0, expected.detach().abs().max().item())
    torch.testing.assert_close(got, expected, rtol=0.0, atol=bound)


@few
@given(batch=sizes, heads=sizes, length=sizes, dim=sizes)
def test_merge_undoes_split(batch: int, heads: int, length: int, dim: int) -> None:
    x = torch.randn(batch, length, heads * dim)
    stack = split_heads(x, heads)
    assert stack.shape == (batch, heads, length, dim)
    assert torch.equal(merge_heads(stack), x)
    for head in range(heads):
        assert torch.equal(stack[:, head], x[..., head * dim : (head + 1) * dim])


@few
@given(batch=sizes, heads=sizes, dim=sizes, queries=sizes, keys=sizes, dtype=dtypes, seed=st.integers(0, 999))
def test_layer_equals_torch_both_ways(
    batch: int, heads: int, dim: int, queries: int, keys: int, dtype: torch.dtype, seed: int
) -> None:
    torch.manual_seed(seed)
    width = heads * dim
    ours = MultiHeadAttention(width, heads).to(dtype)
    theirs = nn.MultiheadAttention(width, heads, batch_first=True, dtype=dtype)
    nn.init.normal_(theirs.in_proj_bias)
    nn.init.normal_(theirs.out_proj.bias)
    ours.load_state_dict(unpack_projections(theirs.state_dict()))
    theirs.load_state_dict(pack_projections(ours.state_dict()))
    x, memory = torch.randn(batch, queries, width, dtype=dtype), torch.randn(batch, keys, width, dtype=dtype)
    one, other = [(x.clone().requires_grad_(), memory.clone().requires_grad_()) for _ in range(2)]
    upstream = torch.randn(batch, queries, width, dtype=dtype)
    expected = theirs(other[0], other[1], other[1], need_weights=False)[0]
    got = ours(*one)
    close(got, expected, FORWARD)
    got.backward(upstream)
    expected.backward(upstream)
    for mine, torchs in zip(one, other, strict=True):
        assert mine.grad is not None
        assert torchs.grad is not None
        close(mine.grad, torchs.grad, GRADIENT)
    gradients = unpack_projections(
        {name: p.grad for name, p in theirs.named_parameters() if p.grad is not None}
    )
    for name, parameter in ours.named_parameters():
        assert parameter.grad is not None
        close(parameter.grad, gradients[name], GRADIENT)


def test_packing_undoes_unpacking() -> None:
    state = nn.MultiheadAttention(12, 3).state_dict()
    back = pack_projections(unpack_projections(state))
    assert back.keys() == state.keys()
    assert all(torch.equal(back[name], state[name]) for name in state)


@few
@given(batch=sizes, groups=sizes, share=sizes, queries=sizes, keys=sizes, dim=sizes, dtype=dtypes)
def test_grouped_queries_equal_sdpa(
    batch: int, groups: int, share: int, queries: int, keys: int, dim: int, dtype: torch.dtype
) -> None:
    generator = torch.Generator().manual_seed(batch * 31 + groups)
    shapes = [(groups * share, queries, dim), (groups, keys, dim), (groups, keys, dim)]
    values = [torch.randn(batch, *shape, generator=generator, dtype=dtype) for shape in shapes]
    one, other = [[value.clone().requires_grad_() for value in values] for _ in range(2)]
    got = grouped_query_attention(*one)
    expected = nn.functional.scaled_dot_product_attention(*other, enable_gqa=True)
    close(got, expected, FORWARD)
    upstream = torch.randn(got.shape, generator=generator, dtype=dtype)
    got.backward(upstream)
    expected.backward(upstream)
    for mine, torchs in zip(one, other, strict=True):
        assert mine.grad is not None
        assert torchs.grad is not None
        close(mine.grad, torchs.grad, GRADIENT)


@few
@given(batch=sizes, heads=sizes, queries=sizes, keys=sizes, dim=sizes, value_dim=sizes)
def test_attention_equals_sdpa_for_values_of_any_width(
    batch: int, heads: int, queries: int, keys: int, dim: int, value_dim: int
) -> None:
    generator = torch.Generator().manual_seed(dim)
    q, k, v = (
        torch.randn(batch, heads, length, width, generator=generator, dtype=torch.float64)
        for length, width in ((queries, dim), (keys, dim), (keys, value_dim))
    )
    close(attention(q, k, v), nn.functional.scaled_dot_product_attention(q, k, v), FORWARD)


def test_self_attention_is_the_layer_with_one_packed_projection() -> None:
    torch.manual_seed(0)
    packed, layer = SelfAttention(12, 3).double(), MultiHeadAttention(12, 3).double()
    layer.load_state_dict(
        unpack_projections(
            {
                "in_proj_weight": packed.project.weight.detach(),
                "in_proj_bias": packed.project.bias.detach(),
                "out_proj.weight": packed.mix.weight.detach(),
                "out_proj.bias": packed.mix.bias.detach(),
            }
        )
    )
    x = torch.randn(2, 5, 12, dtype=torch.float64)
    close(packed(x), layer(x, x), FORWARD)


@pytest.mark.parametrize("layout", ["transposed", "every second number"])
def test_layout_in_memory_does_not_matter(layout: str) -> None:
    x = torch.randn(2, 5, 12).transpose(0, 1) if layout == "transposed" else torch.randn(5, 2, 24)[..., ::2]
    assert not x.is_contiguous()
    assert torch.equal(split_heads(x, 3), split_heads(x.contiguous(), 3))
    stack = split_heads(x, 3)
    assert torch.equal(merge_heads(stack), merge_heads(stack.contiguous()))


def test_what_does_not_divide_is_refused() -> None:
    with pytest.raises(ValueError, match="5 heads do not divide a width of 12"):
        split_heads(torch.randn(1, 2, 12), 5)
    for layer in (MultiHeadAttention, SelfAttention):
        with pytest.raises(ValueError, match="2 heads do not divide a width of 3"):
            layer(3, 2)
    with pytest.raises(ValueError, match="2 groups of keys do not divide 5 heads of queries"):
        grouped_query_attention(torch.randn(1, 5, 2, 4), torch.randn(1, 2, 3, 4), torch.randn(1, 2, 3, 4))
