"""Chapter 07's library against PyTorch's decoder layer, its leaks, its decoding against brute force, and its figure."""

from __future__ import annotations

import itertools
import json
import math
import re

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor, nn

from attention_from_scratch import figures
from attention_from_scratch.decoder import (
    CrossAttention,
    Decoder,
    DecoderLayer,
    Transformer,
    beam_search,
    greedy_decode,
    shift_right,
)
from attention_from_scratch.masks import causal_mask, leak_test, padding_mask
from attention_from_scratch.multi_head import pack_projections

# Two right implementations differ by the order of sums of some tens of terms near 1, through three parts and as many
# norms: some hundred roundings of unit roundoff (6e-8 in float32, 1.1e-16 in float64). Gradients sum over positions
# as well, hence the second line.
FORWARD = {torch.float32: 3e-5, torch.float64: 1e-13}
GRADIENT = {torch.float32: 3e-4, torch.float64: 1e-12}
TORCH_NAMES = {
    "feed_forward.expand": "linear1",
    "feed_forward.contract": "linear2",
    "self_attention_norm": "norm1",
    "cross_attention_norm": "norm2",
    "feed_forward_norm": "norm3",
}

sizes = st.integers(1, 5)
dtypes = st.sampled_from([torch.float32, torch.float64])
norms = st.sampled_from(["pre", "post"])
few = settings(max_examples=25, deadline=None, derandomize=True)


def close(got: Tensor, expected: Tensor, tolerance: dict[torch.dtype, float]) -> None:
    """Equal shapes and dtypes, and numbers within the tolerance relative to the largest (at least 1)."""
    bound = tolerance[expected.dtype] * max(1.0, expected.detach().abs().max().item())
    torch.testing.assert_close(got, expected, rtol=0.0, atol=bound)


def for_torch(values: dict[str, Tensor]) -> dict[str, Tensor]:
    """What belongs to a `DecoderLayer`, under the names of `nn.TransformerDecoderLayer`."""
    state = {}
    for ours, theirs in (("self_attention.", "self_attn"), ("cross_attention.", "multihead_attn")):
        mine = {name.removeprefix(ours): value for name, value in values.items() if name.startswith(ours)}
        state |= {f"{theirs}.{name}": value for name, value in pack_projections(mine).items()}
    for name, value in values.items():
        part, kind = name.rsplit(".", 1)
        if part in TORCH_NAMES:
            state[f"{TORCH_NAMES[part]}.{kind}"] = value
    return state


def scramble(layer: nn.Module) -> None:
    """Biases and norms start at 0 and 1, which would hide mistakes in them."""
    for parameter in layer.parameters():
        if parameter.ndim == 1:
            nn.init.normal_(parameter, mean=0.5, std=0.5)


def some_mask(batch: int, sources: int) -> Tensor:
    """A memory mask in which every example has at least one real place."""
    return padding_mask(torch.randint(1, sources + 1, (batch,)), sources)


@few
@given(
    batch=sizes, heads=sizes, dim=sizes, targets=sizes, sources=sizes, hidden=sizes, norm=norms, dtype=dtypes,
    activation=st.sampled_from(["relu", "gelu"]), seed=st.integers(0, 999),
)  # fmt: skip
def test_decoder_layer_equals_torch(
    batch: int, heads: int, dim: int, targets: int, sources: int, hidden: int, norm: str, dtype: torch.dtype,
    activation: str, seed: int,
) -> None:  # fmt: skip
    torch.manual_seed(seed)
    width = heads * dim + (heads * dim == 1)  # PyTorch's norm of a single number has no gradient to compare
    heads = heads if width % heads == 0 else 1
    ours = DecoderLayer(width, heads, hidden, 0.0, 1e-5, activation, norm).to(dtype)
    scramble(ours)
    theirs = nn.TransformerDecoderLayer(
        width, heads, hidden, 0.0, activation, 1e-5, batch_first=True, norm_first=norm == "pre", dtype=dtype
    )
    theirs.load_state_dict(for_torch(ours.state_dict()))
    x, memory = (
        torch.randn(batch, targets, width, dtype=dtype),
        torch.randn(batch, sources, width, dtype=dtype),
    )
    causal, mask = causal_mask(targets, targets, offset=0), some_mask(batch, sources)
    one, other = [(x.clone().requires_grad_(), memory.clone().requires_grad_()) for _ in range(2)]
    got = ours(*one, causal, mask)
    expected = theirs(*other, tgt_mask=~causal, memory_key_padding_mask=~mask[:, 0, 0])
    close(got, expected, FORWARD)
    upstream = torch.randn(got.shape, dtype=dtype)
    got.backward(upstream)
    expected.backward(upstream)
    for mine, torchs in zip(one, other, strict=True):
        assert mine.grad is not None
        assert torchs.grad is not None
        close(mine.grad, torchs.grad, GRADIENT)
    gradients = for_torch({name: p.grad for name, p in ours.named_parameters() if p.grad is not None})
    for name, parameter in theirs.named_parameters():
        assert parameter.grad is not None
        close(gradients[name], parameter.grad, GRADIENT)


@few
@given(batch=sizes, layers=st.integers(1, 3), targets=sizes, sources=sizes, norm=norms, dtype=dtypes)
def test_decoder_equals_torch(
    batch: int, layers: int, targets: int, sources: int, norm: str, dtype: torch.dtype
) -> None:
    torch.manual_seed(layers)
    ours = Decoder(layers, 12, 3, 20, 0.0, 1e-5, "gelu", norm).to(dtype)
    scramble(ours)
    layer = nn.TransformerDecoderLayer(
        12, 3, 20, 0.0, "gelu", 1e-5, batch_first=True, norm_first=norm == "pre", dtype=dtype
    )
    theirs = nn.TransformerDecoder(
        layer, layers, nn.LayerNorm(12, 1e-5, dtype=dtype) if norm == "pre" else None
    )
    for mine, torchs in zip(ours.layers, theirs.layers, strict=True):
        torchs.load_state_dict(for_torch(mine.state_dict()))
    if norm == "pre":
        assert theirs.norm is not None
        theirs.norm.load_state_dict(ours.final_norm.state_dict())
    x, memory = torch.randn(batch, targets, 12, dtype=dtype), torch.randn(batch, sources, 12, dtype=dtype)
    causal, mask = causal_mask(targets, targets, offset=0), some_mask(batch, sources)
    got = ours(x, memory, causal, mask)
    close(got, theirs(x, memory, tgt_mask=~causal, memory_key_padding_mask=~mask[:, 0, 0]), FORWARD)


@few
@given(batch=sizes, heads=sizes, dim=sizes, targets=sizes, sources=sizes, dtype=dtypes)
def test_weights_equal_those_that_torch_shows(
    batch: int, heads: int, dim: int, targets: int, sources: int, dtype: torch.dtype
) -> None:
    torch.manual_seed(dim)
    width = heads * dim
    ours = CrossAttention(width, heads).to(dtype)
    theirs = nn.MultiheadAttention(width, heads, batch_first=True, dtype=dtype)
    theirs.load_state_dict(pack_projections(ours.state_dict()))
    x, memory = (
        torch.randn(batch, targets, width, dtype=dtype),
        torch.randn(batch, sources, width, dtype=dtype),
    )
    mask = some_mask(batch, sources)
    out, maps = theirs(x, memory, memory, key_padding_mask=~mask[:, 0, 0], average_attn_weights=False)
    close(ours.weights(x, memory, mask), maps, FORWARD)
    close(ours(x, memory, mask), out, FORWARD)


@pytest.mark.parametrize("shape", [(5, 5), (1, 1, 5, 5), (2, 1, 5, 5), (2, 3, 1, 5), (2, 5), (1, 1, 1, 5)])
def test_only_a_mask_of_the_memory_is_taken(shape: tuple[int, ...]) -> None:
    layer, x, memory = CrossAttention(6, 3), torch.randn(2, 5, 6), torch.randn(2, 5, 6)
    mask = torch.ones(shape, dtype=torch.bool)
    for call in (layer, layer.weights):
        with pytest.raises(ValueError, match=r"has shape \(2, 1, 1, 5\)"):
            call(x, memory, mask)


@pytest.mark.parametrize("norm", ["pre", "post"])
def test_the_decoder_leaks_neither_future_nor_padding(norm: str) -> None:
    torch.manual_seed(0)
    decoder = Decoder(2, 12, 3, 24, 0.5, 1e-5, "relu", norm).eval()
    x, memory = torch.randn(3, 5, 12), torch.randn(3, 7, 12)
    causal, mask = causal_mask(5, 5, offset=0), padding_mask(torch.tensor([7, 4, 1]), 7)
    assert not leak_test(lambda x: decoder(x, memory, causal, mask), x, causal).any()
    assert not leak_test(lambda m: decoder(x, m, causal, mask), memory, mask[:, 0].expand(3, 5, 7)).any()
    careless = leak_test(lambda x: decoder(x, memory, None, mask), x, causal)
    assert torch.equal(careless, ~causal), "the detector must see every place of the future"


def small_transformer() -> Transformer:
    torch.manual_seed(0)
    return Transformer(11, 2, 12, 3, 24, 0.1, 1e-5, "gelu", "pre").eval()


def test_the_transformer_leaks_neither_future_nor_padding() -> None:
    model = small_transformer()
    source, target = torch.randint(11, (2, 6)), torch.randint(11, (2, 5))
    lengths = torch.tensor([6, 4])
    allowed = padding_mask(lengths, 6)[:, 0].expand(2, 5, 6)
    assert not leak_test(lambda s: model(s, lengths, target), source, allowed).any()
    assert not leak_test(lambda t: model(source, lengths, t), target, causal_mask(5, 5, offset=0)).any()


def test_padding_and_batch_change_nothing() -> None:
    model = small_transformer()
    source, target = torch.randint(11, (3, 6)), torch.randint(11, (3, 5))
    lengths = torch.tensor([6, 4, 1])
    together = model(source, lengths, target)
    assert together.shape == (3, 5, 11)
    for i, length in enumerate(lengths):
        alone = model(source[i : i + 1, :length], lengths[i : i + 1], target[i : i + 1])
        close(alone, together[i : i + 1], FORWARD)


def test_every_parameter_of_the_transformer_learns() -> None:
    model = small_transformer()
    logits = model(torch.randint(11, (2, 6)), torch.tensor([6, 4]), torch.randint(11, (2, 5)))
    logits.square().sum().backward()
    # a bias of the keys adds the same to all scores of a query, which no softmax sees
    still = {n for n, p in model.named_parameters() if p.grad is None or not p.grad.abs().max() > 1e-5}
    assert all(name.endswith("key.bias") for name in still), still


def test_a_step_of_training_without_labels_behind_the_end_is_the_same() -> None:
    """Positions labelled −100 must not matter, whatever the decoder is given there."""
    model = small_transformer()
    source, lengths = torch.randint(11, (2, 6)), torch.tensor([6, 3])
    labels = torch.tensor([[4, 5, 2, -100], [7, 8, 9, 2]])
    losses = [
        nn.functional.cross_entropy(
            model(source, lengths, shift_right(labels, 1, pad)).flatten(0, 1),
            labels.flatten(),
            ignore_index=-100,
        )
        for pad in (0, 10)
    ]
    assert torch.equal(losses[0], losses[1])


@given(
    st.lists(st.lists(st.integers(2, 50), min_size=4, max_size=4), min_size=1, max_size=4), st.integers(0, 3)
)
def test_shift_right_puts_every_label_one_place_on(rows: list[list[int]], end: int) -> None:
    labels = torch.tensor(rows)
    labels[0, end + 1 :] = -100
    before = labels.clone()
    inputs = shift_right(labels, start=1, pad=0)
    assert torch.equal(labels, before)
    for row, given_row in zip(labels.tolist(), inputs.tolist(), strict=True):
        assert given_row == [1] + [0 if label == -100 else label for label in row[:-1]]


def random_language(seed: int, tokens: int):
    """A model whose logits depend on the whole prefix."""

    def next_scores(prefixes: Tensor) -> Tensor:
        rows = []
        for prefix in prefixes.tolist():
            generator = torch.Generator().manual_seed(hash((seed, *prefix)) % 2**31)
            rows.append(2 * torch.randn(tokens, generator=generator, dtype=torch.float64))
        return torch.stack(rows)

    return next_scores


def log_probability(next_scores, tokens: tuple[int, ...]) -> float:
    """By the chain rule, one token after another."""
    total = 0.0
    for at, token in enumerate(tokens):
        total += next_scores(torch.tensor([[1, *tokens[:at]]])).log_softmax(-1)[0, token].item()
    return total


@few
@given(seed=st.integers(0, 10_000), length=st.integers(1, 3), alpha=st.sampled_from([0.0, 0.6, 1.0]))
def test_a_wide_beam_is_exhaustive(seed: int, length: int, alpha: float) -> None:
    spoken = random_language(seed, tokens=3)
    every = [
        tokens
        for size in range(1, length + 1)
        for tokens in itertools.product(range(3), repeat=size)
        if 0 not in tokens[:-1] and (tokens[-1] == 0 or size == length)
    ]
    ranked = sorted(every, key=lambda tokens: -log_probability(spoken, tokens) / len(tokens) ** alpha)
    found = beam_search(spoken, start=1, end=0, beam=1000, max_length=length, alpha=alpha)
    assert [tuple(tokens) for tokens, _ in found] == ranked
    for tokens, score in found:
        assert math.isclose(
            score, log_probability(spoken, tuple(tokens)) / len(tokens) ** alpha, abs_tol=1e-9
        )


@few
@given(seed=st.integers(0, 10_000), length=st.integers(1, 6))
def test_a_beam_of_one_is_greedy(seed: int, length: int) -> None:
    spoken = random_language(seed, tokens=4)
    greedy = greedy_decode(spoken, batch=1, start=1, end=0, pad=3, max_length=length)[0].tolist()
    assert beam_search(spoken, 1, 0, beam=1, max_length=length, alpha=0.0)[0][0] == greedy


@few
@given(seed=st.integers(0, 10_000), batch=sizes, length=st.integers(1, 7))
def test_a_row_is_written_alone_as_in_a_batch(seed: int, batch: int, length: int) -> None:
    """The model of row b reads b off the prefix: here each row has its own start."""
    spoken = random_language(seed, tokens=4)

    def of_row(row: int):
        def next_scores(tokens: Tensor) -> Tensor:
            numbers = torch.arange(row, row + len(tokens))[:, None]
            return spoken(torch.cat([numbers + 10, tokens], dim=1))

        return next_scores

    together = greedy_decode(of_row(0), batch, start=1, end=0, pad=9, max_length=length)
    for row in range(batch):
        alone = greedy_decode(of_row(row), 1, start=1, end=0, pad=9, max_length=length)[0]
        assert torch.equal(together[row, : len(alone)], alone)
        assert (together[row, len(alone) :] == 9).all()


def test_what_is_wrong_is_refused() -> None:
    with pytest.raises(ValueError, match='norm is "pre" or "post", not \'Post\''):
        DecoderLayer(4, 2, 8, 0.0, 1e-5, "relu", "Post")
    with pytest.raises(ValueError, match="3 heads do not divide a width of 4"):
        DecoderLayer(4, 3, 8, 0.0, 1e-5, "relu", "pre")


def test_the_alignment_figure_carries_its_readings() -> None:
    weights = torch.rand(2, 3, 4).softmax(dim=-1)
    figure = figures.decoder.alignment([("a b!", "xyz", weights), ("2", "22", [[[1.0], [1.0]]])])
    found = re.search(r'\{"readings":.*?\]\}\]\}', figure.script)
    assert found, "the data of the figure is not in its script"
    data = json.loads(found[0])["readings"]
    assert [one["source"] for one in data] == [list("a b!"), ["2"]]
    assert torch.allclose(torch.tensor(data[0]["heads"]), weights, atol=5e-4)


def test_the_alignment_figure_refuses_what_does_not_fit() -> None:
    with pytest.raises(ValueError, match=r"\(heads, 2, 3\)"):
        figures.decoder.alignment([("abc", "xy", torch.rand(1, 3, 2))])
    with pytest.raises(ValueError, match="at least one"):
        figures.decoder.alignment([])
