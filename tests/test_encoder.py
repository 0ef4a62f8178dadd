"""Chapter 06's library against PyTorch: `nn.LayerNorm`, `nn.TransformerEncoderLayer`, both places of the norm."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor, nn

from attention_from_scratch import figures
from attention_from_scratch.encoder import (
    Encoder,
    EncoderLayer,
    FeedForward,
    LayerNorm,
    activation_function,
    layer_norm,
    parameter_count,
)
from attention_from_scratch.masks import causal_mask, leak_test, padding_mask
from attention_from_scratch.multi_head import unpack_projections

# Two right implementations differ by the order of sums of some tens of terms near 1: tens of roundings of unit
# roundoff (6e-8 in float32, 1.1e-16 in float64). Gradients sum over up to a hundred positions, and a norm divides them
# by standard deviations that may be small, hence the second row.
FORWARD = {torch.float32: 3e-5, torch.float64: 1e-12}
GRADIENT = {torch.float32: 1e-3, torch.float64: 1e-10}

sizes = st.integers(1, 5)
dtypes = st.sampled_from([torch.float32, torch.float64])
norms = st.sampled_from(["pre", "post"])
activations = st.sampled_from(["relu", "gelu"])
few = settings(max_examples=30, deadline=None, derandomize=True)


def close(got: Tensor, expected: Tensor, tolerance: dict[torch.dtype, float]) -> None:
    """Equal shapes and dtypes, and numbers within the tolerance relative to the largest (at least 1)."""
    bound = tolerance[expected.dtype] * max(1.0, expected.detach().abs().max().item())
    torch.testing.assert_close(got, expected, rtol=0.0, atol=bound)


def from_pytorch(state: dict[str, Tensor]) -> dict[str, Tensor]:
    """What belongs to an `nn.TransformerEncoderLayer` (parameters or gradients), under our names."""
    names = {
        "linear1": "feed_forward.expand",
        "linear2": "feed_forward.contract",
        "norm1": "attention_norm",
        "norm2": "feed_forward_norm",
    }
    packed = {n.removeprefix("self_attn."): value for n, value in state.items() if n.startswith("self_attn.")}
    ours = {f"attention.{name}": value for name, value in unpack_projections(packed).items()}
    return ours | {
        f"{new}.{kind}": state[f"{old}.{kind}"] for old, new in names.items() for kind in ("weight", "bias")
    }


def randomised(module: nn.Module) -> nn.Module:
    """The module with every parameter drawn, biases and norms too, which start at 0 and 1 and would hide mistakes."""
    for parameter in module.parameters():
        nn.init.normal_(parameter, std=parameter.shape[-1] ** -0.5 if parameter.ndim == 2 else 0.5)
    return module


def same_forward_and_gradients(
    ours: nn.Module, theirs: nn.Module, x: Tensor, mask: Tensor | None, hidden: Tensor | None
) -> None:
    """Outputs, gradients of x and gradients of all parameters agree. `hidden` is the mask as PyTorch wants it."""
    one, other = x.clone().requires_grad_(), x.clone().requires_grad_()
    got, expected = ours(one, mask), theirs(other, src_key_padding_mask=hidden)
    close(got, expected, FORWARD)
    upstream = torch.randn_like(expected)
    got.backward(upstream)
    expected.backward(upstream)
    assert one.grad is not None
    assert other.grad is not None
    close(one.grad, other.grad, GRADIENT)
    gradients = from_pytorch({name: p.grad for name, p in theirs.named_parameters() if p.grad is not None})
    for name, parameter in ours.named_parameters():
        assert parameter.grad is not None
        close(parameter.grad, gradients[name], GRADIENT)


@few
@given(
    st.lists(sizes, min_size=0, max_size=3),
    st.integers(4, 9),
    dtypes,
    st.sampled_from([1e-12, 1e-5, 0.5]),
    st.integers(0, 99),
)
def test_layer_norm_equals_torch(
    shape: list[int], width: int, dtype: torch.dtype, eps: float, seed: int
) -> None:
    torch.manual_seed(seed)
    values = [
        torch.randn(*shape, width, dtype=dtype) * 3 + 1,
        torch.randn(width, dtype=dtype),
        torch.randn(width, dtype=dtype),
    ]
    one, other = [[value.clone().requires_grad_() for value in values] for _ in range(2)]
    got = layer_norm(*one, eps)
    expected = nn.functional.layer_norm(other[0], (width,), other[1], other[2], eps)
    close(got, expected, FORWARD)
    upstream = torch.randn_like(expected)
    got.backward(upstream)
    expected.backward(upstream)
    for mine, torchs in zip(one, other, strict=True):
        assert mine.grad is not None
        assert torchs.grad is not None
        close(mine.grad, torchs.grad, GRADIENT)


def test_layer_norm_passes_gradcheck_and_takes_any_layout() -> None:
    torch.manual_seed(0)
    values = [torch.randn(2, 3, 5, dtype=torch.float64), torch.randn(5).double(), torch.randn(5).double()]
    assert torch.autograd.gradcheck(lambda *v: layer_norm(*v, 1e-3), [v.requires_grad_() for v in values])
    turned = torch.randn(5, 3, 2).transpose(0, 2)
    assert not turned.is_contiguous()
    one, zero = torch.ones(5), torch.zeros(5)
    close(layer_norm(turned, one, zero, 1e-5), layer_norm(turned.contiguous(), one, zero, 1e-5), FORWARD)


def test_layer_norm_module_starts_as_a_plain_norm() -> None:
    x = torch.randn(3, 7)
    norm = LayerNorm(7, 1e-5)
    assert torch.equal(norm(x), layer_norm(x, torch.ones(7), torch.zeros(7), 1e-5))
    assert {name for name, _ in norm.named_parameters()} == {"weight", "bias"}


@few
@given(
    sizes,
    st.integers(1, 7),
    st.integers(1, 3),
    st.integers(2, 4),
    st.integers(1, 9),
    dtypes,
    norms,
    activations,
    st.integers(0, 99),
)
def test_layer_equals_torch(
    batch: int,
    length: int,
    heads: int,
    dim: int,
    hidden: int,
    dtype: torch.dtype,
    norm: str,
    activation: str,
    seed: int,
) -> None:
    torch.manual_seed(seed)
    width = heads * dim if heads * dim > 3 else 4 * heads
    theirs = nn.TransformerEncoderLayer(
        width, heads, hidden, 0.0, activation, 1e-3, batch_first=True, norm_first=norm == "pre", dtype=dtype
    )
    randomised(theirs)
    ours = EncoderLayer(width, heads, hidden, 0.0, 1e-3, activation, norm).to(dtype)
    ours.load_state_dict(from_pytorch(theirs.state_dict()))
    lengths = torch.randint(1, length + 1, (batch,))
    mask = padding_mask(lengths, length)
    x = torch.randn(batch, length, width, dtype=dtype)
    for module in (ours, theirs):
        module.zero_grad()
    same_forward_and_gradients(ours, theirs, x, mask, ~mask[:, 0, 0])


@few
@given(st.integers(1, 4), norms, dtypes, st.integers(0, 99))
def test_encoder_equals_torch(layers: int, norm: str, dtype: torch.dtype, seed: int) -> None:
    torch.manual_seed(seed)
    layer = nn.TransformerEncoderLayer(
        12, 3, 20, 0.0, "gelu", batch_first=True, norm_first=norm == "pre", dtype=dtype
    )
    final = nn.LayerNorm(12, dtype=dtype) if norm == "pre" else None
    theirs = randomised(nn.TransformerEncoder(layer, layers, norm=final, enable_nested_tensor=False))
    ours = Encoder(layers, 12, 3, 20, 0.0, 1e-5, "gelu", norm).to(dtype)
    state = {}
    for i, one in enumerate(theirs.layers):
        state |= {f"layers.{i}.{name}": value for name, value in from_pytorch(one.state_dict()).items()}
    if final is not None:
        state |= {f"final_norm.{name}": value for name, value in theirs.norm.state_dict().items()}
    ours.load_state_dict(state)
    x, mask = torch.randn(2, 7, 12, dtype=dtype), padding_mask(torch.tensor([7, 4]), 7)
    close(ours(x, mask), theirs(x, src_key_padding_mask=~mask[:, 0, 0]), FORWARD)
    causal = causal_mask(7, 7, offset=0)
    close(ours(x, causal), theirs(x, mask=~causal), FORWARD)


@pytest.mark.parametrize("norm", ["pre", "post"])
def test_no_leak_through_any_mask(norm: str) -> None:
    torch.manual_seed(0)
    encoder = randomised(Encoder(3, 12, 3, 20, 0.3, 1e-5, "gelu", norm)).eval()
    x = torch.randn(2, 6, 12)
    causal = causal_mask(6, 6, offset=0)
    assert not leak_test(lambda x: encoder(x, causal), x, causal).any()
    padding = padding_mask(torch.tensor([6, 3]), 6)
    # a position always reaches itself by the residual path, also where nobody may look at it
    allowed = padding.expand(2, 1, 6, 6)[:, 0] | torch.eye(6, dtype=torch.bool)
    assert not leak_test(lambda x: encoder(x, padding), x, allowed).any()
    blind = leak_test(lambda x: encoder(x, None), x, causal)
    assert torch.equal(blind, ~causal), "without the mask the detector must find every forbidden pair"


@few
@given(sizes, st.integers(2, 9), st.integers(1, 9), norms)
def test_parameter_count_is_that_of_the_model(layers: int, width: int, hidden: int, norm: str) -> None:
    model = Encoder(layers, width, 1, hidden, 0.0, 1e-5, "relu", norm)
    assert parameter_count(layers, width, hidden, norm) == sum(p.numel() for p in model.parameters())


def test_parameter_count_of_bert_base() -> None:
    assert parameter_count(12, 768, 3072, "post") == 85_054_464  # 109,482,240 less embeddings and pooler


@pytest.mark.parametrize("norm", ["pre", "post"])
def test_dropout_acts_in_training_only_and_spares_the_residual_path(norm: str) -> None:
    torch.manual_seed(0)
    x = torch.randn(2, 5, 12)
    layer = EncoderLayer(12, 3, 20, 1.0, 1e-5, "relu", norm)
    spared = x if norm == "pre" else layer.feed_forward_norm(layer.attention_norm(x))
    assert torch.equal(layer(x, None), spared)
    layer = EncoderLayer(12, 3, 20, 0.5, 1e-5, "relu", norm)
    assert not torch.equal(layer(x, None), layer(x, None))
    layer.eval()
    assert torch.equal(layer(x, None), layer(x, None))


def test_feed_forward_drops_hidden_numbers() -> None:
    network = FeedForward(4, 6, 1.0, "relu")
    assert torch.equal(network(torch.randn(3, 4)), network.contract.bias.expand(3, 4))


def test_activations() -> None:
    x = torch.linspace(-6, 6, 1001, dtype=torch.float64)
    exact = x * 0.5 * (1 + torch.erf(x / 2**0.5))
    torch.testing.assert_close(activation_function("gelu")(x), exact, rtol=0, atol=1e-14)
    apart = (activation_function("gelu_tanh")(x) - exact).abs().max().item()
    assert 4e-4 < apart < 5e-4
    assert torch.equal(activation_function("relu")(x), x.clamp(min=0))
    with pytest.raises(ValueError, match="choose one of relu, gelu, gelu_tanh"):
        activation_function("swish")


def test_what_cannot_work_is_refused() -> None:
    with pytest.raises(ValueError, match="'middle'"):
        EncoderLayer(6, 2, 5, 0.0, 1e-5, "relu", "middle")
    with pytest.raises(ValueError, match="2 heads do not divide a width of 7"):
        Encoder(1, 7, 2, 5, 0.0, 1e-5, "relu", "pre")


def test_layers_are_separate_objects_that_the_optimiser_finds() -> None:
    encoder = Encoder(3, 6, 2, 5, 0.0, 1e-5, "relu", "post")
    assert len({id(layer) for layer in encoder.layers}) == 3
    assert len(list(encoder.parameters())) == 3 * 16
    encoder(torch.randn(2, 4, 6), None).square().sum().backward()
    assert all(parameter.grad is not None for parameter in encoder.parameters())


MEASURED = {(name, depth, 1.0): [1.0] * depth for name in ("pre-norm", "post-norm") for depth in (2, 4)}


def test_figure_of_gradient_norms() -> None:
    shown = figures.encoder.gradient_norms(
        MEASURED | {("no norm", d, 1.0): [float("inf")] * d for d in (2, 4)}
    )
    text = shown._repr_html_()
    assert '"depths":[2,4]' in text
    assert "[null,null]" in text, "an overflow is carried as null, which JSON can hold"
    assert shown.alt in text


@pytest.mark.parametrize(
    ("change", "complaint"),
    [
        ({("pre-norm", 4, 1.0): [1.0, 1.0]}, "2 norms for 4 layers"),
        ({("pre-norm", 4, 1.0): [1.0, 1.0, 0.0, 1.0]}, "must be positive"),
        ({("pre-norm", 8, 1.0): [1.0] * 8}, "no gradient norms were given"),
    ],
)
def test_figure_refuses_what_it_cannot_draw(
    change: dict[tuple[str, int, float], list[float]], complaint: str
) -> None:
    with pytest.raises(ValueError, match=complaint):
        figures.encoder.gradient_norms(MEASURED | change)
