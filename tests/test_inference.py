"""Chapter 15's library: cached against full decoding, int8 against the definition and PyTorch's, the stopwatch."""

from __future__ import annotations

import itertools
import json
import math
import re
import warnings

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor, nn

from attention_from_scratch import figures
from attention_from_scratch.decoder import Transformer, beam_search, greedy_decode
from attention_from_scratch.inference import (
    KVCache,
    QuantizedLinear,
    attend_with_cache,
    cached_scores,
    decode_with_cache,
    measure_latency,
    quantize_int8,
    quantize_linears,
    start_caches,
)
from attention_from_scratch.masks import causal_mask, leak_test, masked_attention, padding_mask
from attention_from_scratch.positions import rotary_attention

# Sums of some tens of terms near 1 in another order, through up to three layers: some hundred roundings of unit
# roundoff (6e-8 in float32, 1.1e-16 in float64).
TOLERANCE = {torch.float32: 3e-5, torch.float64: 1e-12}
sizes = st.integers(1, 4)
dtypes = st.sampled_from([torch.float32, torch.float64])
pieces = st.lists(st.integers(1, 4), min_size=1, max_size=4)
few = settings(max_examples=25, deadline=None, derandomize=True)


def close(got: Tensor, expected: Tensor) -> None:
    """Equal shapes and dtypes, and numbers within the tolerance relative to the largest (at least 1)."""
    bound = TOLERANCE[expected.dtype] * max(1.0, expected.abs().max().item())
    torch.testing.assert_close(got, expected, rtol=0.0, atol=bound)


def transformer(norm: str, dtype: torch.dtype, dropout: float = 0.0) -> Transformer:
    """A small one with random weights, also in the norms and biases, which would hide mistakes at 1 and 0."""
    model = Transformer(11, 2, 12, 3, 20, dropout, 1e-5, "gelu", norm)
    for parameter in model.parameters():
        if parameter.ndim == 1:
            nn.init.normal_(parameter, mean=0.5, std=0.5)
    return model.to(dtype).eval()


def cut(lengths: list[int]) -> list[slice]:
    """The places of pieces of these lengths."""
    ends = list(itertools.accumulate(lengths))
    return [slice(end - length, end) for end, length in zip(ends, lengths, strict=True)]


# -- the cache


@few
@given(batch=sizes, heads=sizes, dim=sizes, value_dim=sizes, lengths=pieces, seed=st.integers(0, 99))
def test_the_cache_is_a_concatenation(
    batch: int, heads: int, dim: int, value_dim: int, lengths: list[int], seed: int
) -> None:
    torch.manual_seed(seed)
    k, v = torch.randn(batch, heads, sum(lengths), dim), torch.randn(batch, heads, sum(lengths), value_dim)
    cache = KVCache(sum(lengths))
    returned = []
    for piece in cut(lengths):
        returned.append((piece.stop, *cache.append(k[:, :, piece], v[:, :, piece])))
        assert cache.length == piece.stop
    for end, keys, values in returned:  # also those returned early are still what they were
        assert torch.equal(keys, k[:, :, :end])
        assert torch.equal(values, v[:, :, :end])
    assert all(map(torch.equal, cache.contents(), (k, v)))


def test_the_cache_keeps_copies() -> None:
    k, v = torch.randn(2, 1, 3, 4), torch.randn(2, 1, 3, 4)
    cache, before = KVCache(3), (k.clone(), v.clone())
    cache.append(k, v)
    k.zero_()
    v.zero_()
    assert all(map(torch.equal, cache.contents(), before))


@pytest.mark.parametrize(
    ("k", "v"),
    [
        ((2, 3, 4, 5), (2, 3, 4, 5)),  # no room
        ((1, 3, 1, 5), (1, 3, 1, 5)),  # would broadcast over the batch
        ((2, 1, 1, 5), (2, 1, 1, 5)),  # and over the heads
        ((2, 3, 1, 1), (2, 3, 1, 5)),
        ((2, 3, 1, 5), (2, 3, 1, 1)),
        ((2, 3, 2, 5), (2, 3, 1, 5)),  # more keys than values
    ],
)
def test_what_does_not_fit_is_refused_and_changes_nothing(k: tuple[int, ...], v: tuple[int, ...]) -> None:
    cache = KVCache(5)
    before = cache.append(torch.randn(2, 3, 2, 5), torch.randn(2, 3, 2, 5))
    before = tuple(t.clone() for t in before)
    with pytest.raises(ValueError, match=r"do not (fit|continue)"):
        cache.append(torch.randn(k), torch.randn(v))
    assert cache.length == 2
    assert all(map(torch.equal, cache.contents(), before))
    cache.append(torch.randn(2, 3, 3, 5), torch.randn(2, 3, 3, 5))


@pytest.mark.parametrize("rows", [[1, 0], [0, 0, 1, 0], [1]])
def test_reordered_rows_live_their_own_lives(rows: list[int]) -> None:
    k, more = torch.randn(2, 1, 3, 2), torch.randn(len(rows), 1, 2, 2)
    cache = KVCache(8)
    cache.reorder(torch.tensor(rows))  # of nothing: nothing happens
    cache.append(k, -k)
    cache.reorder(torch.tensor(rows))
    keys, values = cache.append(more, -more)
    expected = torch.cat([k[rows], more], dim=2)
    assert torch.equal(keys, expected)
    assert torch.equal(values, -expected)


# -- attention with a cache


@few
@given(
    batch=sizes,
    heads=sizes,
    dim=sizes,
    lengths=pieces,
    rotary=st.booleans(),
    dtype=dtypes,
    seed=st.integers(0, 99),
)
def test_pieces_attend_like_the_whole(
    batch: int, heads: int, dim: int, lengths: list[int], rotary: bool, dtype: torch.dtype, seed: int
) -> None:
    torch.manual_seed(seed)
    length = sum(lengths)
    q, k, v = torch.randn(3, batch, heads, length, 2 * dim, dtype=dtype)
    causal, places = causal_mask(length, length, offset=0), torch.arange(length)
    whole = rotary_attention(q, k, v, places, places, causal) if rotary else masked_attention(q, k, v, causal)
    cache = KVCache(length + 2)
    found = [attend_with_cache(q[:, :, p], k[:, :, p], v[:, :, p], cache, rotary) for p in cut(lengths)]
    close(torch.cat(found, dim=2), whole)


# -- the decoder of chapter 07


@few
@given(
    norm=st.sampled_from(["pre", "post"]), dtype=dtypes, batch=sizes, sources=sizes, lengths=pieces,
    padded=st.booleans(), seed=st.integers(0, 99),
)  # fmt: skip
def test_pieces_decode_like_the_whole(
    norm: str, dtype: torch.dtype, batch: int, sources: int, lengths: list[int], padded: bool, seed: int
) -> None:
    torch.manual_seed(seed)
    model = transformer(norm, dtype)
    tokens = torch.randint(11, (batch, sum(lengths)))
    memory = torch.randn(batch, sources, 12, dtype=dtype)
    mask = padding_mask(torch.randint(1, sources + 1, (batch,)), sources) if padded else None
    with torch.no_grad():
        caches = start_caches(model, memory, capacity=sum(lengths))
        found = [decode_with_cache(model, tokens[:, piece], caches, mask) for piece in cut(lengths)]
        close(torch.cat(found, dim=1), model.decode(tokens, memory, mask))


@pytest.mark.parametrize("lengths", [[6], [1] * 6, [2, 3, 1]])
def test_no_piece_sees_its_future(lengths: list[int]) -> None:
    torch.manual_seed(0)
    model, memory = transformer("pre", torch.float64), torch.randn(2, 3, 12, dtype=torch.float64)

    def in_pieces(tokens: Tensor) -> Tensor:
        caches = start_caches(model, memory, capacity=6)
        return torch.cat([decode_with_cache(model, tokens[:, p], caches, None) for p in cut(lengths)], dim=1)

    tokens = torch.randint(11, (2, 6))
    assert not leak_test(in_pieces, tokens, causal_mask(6, 6, offset=0)).any()
    assert leak_test(in_pieces, tokens, torch.zeros(6, 6, dtype=torch.bool)).equal(
        causal_mask(6, 6, offset=0)
    )


def test_greedy_and_beam_write_the_same_with_a_cache() -> None:
    torch.manual_seed(3)
    model = transformer("post", torch.float64)
    source, lengths = torch.randint(3, 11, (4, 5)), torch.tensor([5, 3, 1, 4])
    with torch.no_grad():
        memory, mask = model.encode(source, lengths)
        options = {"start": 1, "end": 2, "pad": 0, "max_length": 9}
        plain = greedy_decode(lambda tokens: model.decode(tokens, memory, mask)[:, -1], 4, **options)
        assert torch.equal(greedy_decode(cached_scores(model, memory, mask, 9), 4, **options), plain)
        for row in range(4):
            one, seen = memory[row : row + 1], mask[row : row + 1]

            def full(tokens: Tensor, one: Tensor = one, seen: Tensor = seen) -> Tensor:
                rows = len(tokens)
                return model.decode(tokens, one.expand(rows, -1, -1), seen.expand(rows, -1, -1, -1))[:, -1]

            expected = beam_search(full, 1, 2, 3, 7, 0.6)
            found = beam_search(cached_scores(model, one, seen, 7), 1, 2, 3, 7, 0.6)
            assert [tokens for tokens, _ in found] == [tokens for tokens, _ in expected]
            assert [s for _, s in found] == pytest.approx([s for _, s in expected], abs=1e-9)


# -- eight bits


@few
@given(outputs=sizes, inputs=st.integers(1, 9), dtype=dtypes, seed=st.integers(0, 99))
def test_every_row_is_rounded_by_its_own_scale(
    outputs: int, inputs: int, dtype: torch.dtype, seed: int
) -> None:
    torch.manual_seed(seed)
    weight = torch.randn(outputs, inputs, dtype=dtype) * 10.0 ** torch.randint(-12, 12, (outputs, 1))
    weight[seed % outputs] *= seed % 3 != 0  # at times a row of zeros
    levels, scale = quantize_int8(weight)
    assert (levels.dtype, scale.dtype) == (torch.int8, dtype)
    zero = ~weight.any(dim=1)
    assert torch.equal(scale[zero], torch.ones_like(scale[zero]))
    assert (levels.int().abs().amax(dim=1)[~zero] == 127).all()
    error = (levels * scale[:, None] - weight).abs()
    assert (error <= 0.5001 * scale[:, None]).all()


@pytest.mark.parametrize("bad", [math.nan, math.inf, -math.inf])
def test_what_is_no_number_is_refused(bad: float) -> None:
    weight = torch.randn(3, 4)
    weight[1, 2] = bad
    with pytest.raises(ValueError, match="NaN or infinity"):
        quantize_int8(weight)


def test_pytorch_rounds_to_the_same_levels() -> None:
    torch.manual_seed(0)
    weight = torch.randn(7, 30, dtype=torch.float32)
    levels, scale = quantize_int8(weight)
    zeros = torch.zeros(7, dtype=torch.long)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # these tensors will leave PyTorch
        theirs = torch.quantize_per_channel(weight, scale.double(), zeros, 0, torch.qint8)
    assert (levels.int() - theirs.int_repr().int()).abs().max() <= 1  # a tie may fall either way
    assert (levels == theirs.int_repr()).float().mean() > 0.99


@few
@given(outputs=sizes, inputs=sizes, biased=st.booleans(), dtype=dtypes, seed=st.integers(0, 99))
def test_a_quantized_layer_is_the_layer_of_the_rounded_weight(
    outputs: int, inputs: int, biased: bool, dtype: torch.dtype, seed: int
) -> None:
    torch.manual_seed(seed)
    linear = nn.Linear(inputs, outputs, bias=biased, dtype=dtype)
    layer = QuantizedLinear(linear)
    levels, scale = quantize_int8(linear.weight)
    with torch.no_grad():
        linear.weight.copy_(levels * scale[:, None])
    x = torch.randn(3, 2, inputs, dtype=dtype, requires_grad=True)
    twin = x.detach().clone().requires_grad_()
    close(layer(x).detach(), linear(twin).detach())
    gradients = [
        torch.autograd.grad(out.square().sum(), t)[0] for out, t in ((layer(x), x), (linear(twin), twin))
    ]
    close(*gradients)
    assert not list(layer.parameters())
    other = QuantizedLinear(nn.Linear(inputs, outputs, bias=biased, dtype=dtype))
    other.load_state_dict(layer.state_dict())
    assert torch.equal(other(x), layer(x))


def test_a_quantized_model_is_a_quarter_as_large_and_says_nearly_the_same() -> None:
    torch.manual_seed(0)
    model = Transformer(11, 2, 96, 3, 384, 0.0, 1e-5, "gelu", "pre").eval()
    tokens, memory = torch.randint(11, (2, 6)), torch.randn(2, 5, 96)
    before = model.decode(tokens, memory, None).detach()
    linears = sum(isinstance(part, nn.Linear) for part in model.modules())
    size = sum(value.nbytes for value in model.state_dict().values())
    assert quantize_linears(model) == linears > 0
    assert not any(isinstance(part, nn.Linear) for part in model.modules())
    assert sum(value.nbytes for value in model.state_dict().values()) < 0.28 * size
    after = model.decode(tokens, memory, None)
    assert 0 < (after - before).norm() / before.norm() < 0.02  # measured 0.006: rounding of 2 · 10 matrices
    with torch.no_grad():
        caches = start_caches(model, memory, capacity=6)
        found = [decode_with_cache(model, tokens[:, i : i + 1], caches, None) for i in range(6)]
    close(torch.cat(found, dim=1), after)  # the cache does not mind


# -- the stopwatch


class Device:
    """A clock, and a device that works behind the program's back: only `synchronize` waits for it."""

    def __init__(self, durations: list[float]) -> None:
        self.now, self.pending, self.durations = 0.0, 0.0, iter(durations)

    def call(self) -> None:
        """Hand work to the device; a moment passes."""
        self.now += 1.0
        self.pending += next(self.durations)

    def synchronize(self) -> None:
        """Wait until the device has done it."""
        self.now, self.pending = self.now + self.pending, 0.0

    def clock(self) -> float:
        """What time it is."""
        return self.now


@few
@given(
    warmup=st.integers(0, 4), times=st.lists(st.integers(1, 1000), min_size=1, max_size=60),
    slow=st.integers(10**4, 10**6),
)  # fmt: skip
def test_latency_by_the_definition(warmup: int, times: list[int], slow: int) -> None:
    device = Device([float(slow)] * warmup + [float(t) for t in times])
    found = measure_latency(device.call, warmup, len(times), device.clock, device.synchronize)
    for percent in (50, 95):
        smallest = min(t for t in times if sum(s <= t for s in times) * 100 >= percent * len(times))
        assert found[f"p{percent}"] == smallest + 1.0  # the moment of the call itself


@pytest.mark.parametrize(("warmup", "rounds"), [(0, 0), (3, -1), (-1, 3)])
def test_nothing_to_measure_is_refused(warmup: int, rounds: int) -> None:
    device = Device([1.0] * 9)
    with pytest.raises(ValueError, match="cannot measure"):
        measure_latency(device.call, warmup, rounds, device.clock, device.synchronize)


# -- the figure


def test_the_timeline_counts_what_is_computed() -> None:
    shown = figures.inference.timeline(prompt=5, written=4, chunk=2)
    html = shown._repr_html_()
    data = json.loads(re.search(r"draw\(root, (\{.*?\}), tools\)", html)[1])
    assert data == {"prompt": 5, "written": 4, "chunk": 2}
    with pytest.raises(ValueError, match="at least"):
        figures.inference.timeline(prompt=5, written=4, chunk=0)
