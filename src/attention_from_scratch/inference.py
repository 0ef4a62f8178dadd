"""Answering fast: a cache of keys and values, decoding in chunks, weights in 8 bits, and a stopwatch to trust.

Axes: batch, heads, new (positions that come in a call), length (positions known so far), dim. All of it is for
answering, not for training: the models are in evaluation mode, and nobody asks the caches for gradients.
"""

import math
from collections.abc import Callable
from typing import Any, NamedTuple

import torch
from jaxtyping import Bool, Float, Int, Int8
from torch import Tensor, nn

from attention_from_scratch.decoder import CrossAttention, NextScores, Transformer
from attention_from_scratch.masks import MaskedMultiHeadAttention, causal_mask, masked_attention
from attention_from_scratch.multi_head import merge_heads, split_heads
from attention_from_scratch.positions import rope, sinusoidal


def measure_latency(
    call: Callable[[], object],
    warmup: int,
    rounds: int,
    clock: Callable[[], float],
    synchronize: Callable[[], object],
) -> dict[str, float]:
    """How long a call takes: {"p50": seconds, "p95": seconds} over `rounds` calls, each timed by itself.

    Before them come `warmup` calls that do not count. `clock()` returns the time in seconds. A device may still be
    at work when `call()` returns; `synchronize()` returns when it has finished. Work of one call must not be counted
    for another. The p-th percentile is the smallest of the times that at least p % of the rounds do not exceed.

    Raises ValueError when `rounds` is below 1 or `warmup` below 0.
    """
    ### BEGIN SOLUTION
    if rounds < 1 or warmup < 0:
        raise ValueError(f"cannot measure {rounds} rounds after {warmup} warm-up calls")
    for _ in range(warmup):
        call()
    synchronize()
    times = []
    for _ in range(rounds):
        start = clock()
        call()
        synchronize()
        times.append(clock() - start)
    times.sort()
    rank = {percent: -(-percent * rounds // 100) for percent in (50, 95)}  # rounded up, in whole numbers
    return {f"p{percent}": times[place - 1] for percent, place in rank.items()}
    ### END SOLUTION


class KVCache:
    """The keys and values of all positions so far, of one attention layer, with room for `capacity` positions.

    `length` is the number of positions that it holds, 0 at the start.

    Source: Shazeer 2019 describes the cost of reading it; Pope et al. 2022 the use in large models.
    """

    def __init__(self, capacity: int) -> None:
        ### BEGIN SOLUTION
        self.capacity = capacity
        self.length = 0
        self.keys = self.values = torch.empty(0)
        ### END SOLUTION

    def append(
        self, k: Float[Tensor, "batch heads new dim"], v: Float[Tensor, "batch heads new value_dim"]
    ) -> tuple[Float[Tensor, "batch heads length dim"], Float[Tensor, "batch heads length value_dim"]]:
        """Take in the keys and values of the next positions; return those of all positions, oldest first.

        The cache keeps copies. Raises ValueError, and stays as it was, when there is not room for the new positions,
        when `k` and `v` differ in batch, heads or positions, or when batch, heads or a dim are not those of what it
        holds.
        """
        ### BEGIN SOLUTION
        end = self.length + k.shape[2]
        if end > self.capacity:
            raise ValueError(f"{end} positions do not fit into a cache of {self.capacity}")
        if self.length == 0:
            self.keys = k.new_empty(*k.shape[:2], self.capacity, k.shape[3])
            self.values = v.new_empty(*v.shape[:2], self.capacity, v.shape[3])
        fits = k.shape == (*self.keys.shape[:2], k.shape[2], self.keys.shape[3])
        if not fits or v.shape != (*k.shape[:3], self.values.shape[3]):
            raise ValueError(
                f"keys {tuple(k.shape)} and values {tuple(v.shape)} do not continue a cache of "
                f"{tuple(self.keys.shape)} and {tuple(self.values.shape)}"
            )
        self.keys[:, :, self.length : end] = k
        self.values[:, :, self.length : end] = v
        self.length = end
        return self.contents()
        ### END SOLUTION

    def contents(
        self,
    ) -> tuple[Float[Tensor, "batch heads length dim"], Float[Tensor, "batch heads length value_dim"]]:
        """The keys and values of all positions so far, oldest first. Asked only when there is at least one."""
        ### BEGIN SOLUTION
        return self.keys[:, :, : self.length], self.values[:, :, : self.length]
        ### END SOLUTION

    def reorder(self, rows: Int[Tensor, " new_batch"]) -> None:
        """Go on with these rows of the batch, in this order: row i is what was row rows[i]. Rows may repeat.

        An empty cache stays as it is.
        """
        ### BEGIN SOLUTION
        if self.length:
            self.keys, self.values = self.keys[rows], self.values[rows]
        ### END SOLUTION


def attend_with_cache(
    q: Float[Tensor, "batch heads new dim"],
    k: Float[Tensor, "batch heads new dim"],
    v: Float[Tensor, "batch heads new value_dim"],
    cache: KVCache,
    rotary: bool,
) -> Float[Tensor, "batch heads new value_dim"]:
    """Causal attention for new positions only: the past is in the cache, and they go there too.

    The new positions follow those in the cache. Each one sees all of the past, itself, and the new ones before it.
    With `rotary`, queries and keys are turned by the positions where they stand in the whole sequence, counted
    from 0, as `rope` does; values are not turned.

    Calls with the pieces of a sequence, one after the other, give the pieces of what one call gives for all of it.
    """
    ### BEGIN SOLUTION
    start, new = cache.length, q.shape[2]
    if rotary:
        positions = torch.arange(start, start + new, device=q.device)
        q, k = rope(q, positions), rope(k, positions)
    keys, values = cache.append(k, v)
    visible = causal_mask(new, start + new, offset=start).to(q.device)
    return masked_attention(q, keys, values, visible)
    ### END SOLUTION


class LayerCache(NamedTuple):
    """What one decoder layer need not compute again: keys and values of the targets so far, and of the memory."""

    own: "KVCache"
    memory: "KVCache"


def start_caches(
    transformer: Transformer, memory: Float[Tensor, "batch sources width"], capacity: int
) -> list[LayerCache]:
    """A cache for each decoder layer: the memory's keys and values are in it; there is room for `capacity` targets."""
    caches = []
    layer: Any
    for layer in transformer.decoder.layers:
        cross, cache = layer.cross_attention, LayerCache(KVCache(capacity), KVCache(memory.shape[1]))
        cache.memory.append(
            split_heads(cross.key(memory), cross.heads),  # (batch, heads, sources, dim)
            split_heads(cross.value(memory), cross.heads),  # (batch, heads, sources, dim)
        )
        caches.append(cache)
    return caches


def read_own_past(
    layer: MaskedMultiHeadAttention, x: Float[Tensor, "batch new width"], cache: "KVCache"
) -> Float[Tensor, "batch new width"]:
    """Causal self-attention of a layer for new positions; those before them are in the cache."""
    projections = (layer.query, layer.key, layer.value)
    q, k, v = (split_heads(linear(x), layer.heads) for linear in projections)  # (batch, heads, new, dim)
    return layer.output(merge_heads(attend_with_cache(q, k, v, cache, rotary=False)))


def read_memory(
    layer: CrossAttention,
    x: Float[Tensor, "batch new width"],
    cache: "KVCache",
    memory_mask: Bool[Tensor, "batch 1 1 sources"] | None,
) -> Float[Tensor, "batch new width"]:
    """Cross-attention of a layer for new positions; the keys and values of the memory are in the cache."""
    q = split_heads(layer.query(x), layer.heads)  # (batch, heads, new, dim)
    return layer.output(merge_heads(masked_attention(q, *cache.contents(), memory_mask)))


def decode_with_cache(
    transformer: Transformer,
    tokens: Int[Tensor, "batch new"],
    caches: list[LayerCache],
    memory_mask: Bool[Tensor, "batch 1 1 sources"] | None,
) -> Float[Tensor, "batch new tokens"]:
    """The logits behind new targets, when all targets before them are in the caches; then they are there too.

    `caches` come from `start_caches`, and the transformer is in evaluation mode. Calls with the pieces of a target,
    one after the other, give the pieces of what `transformer.decode` gives for all of it.
    """
    ### BEGIN SOLUTION
    start = caches[0].own.length
    x = transformer.embedding(tokens)  # (batch, new, width)
    width = x.shape[-1]
    x = math.sqrt(width) * x + sinusoidal(start + tokens.shape[1], width)[start:].to(x)
    layer: Any
    for layer, cache in zip(transformer.decoder.layers, caches, strict=True):
        if layer.norm == "pre":
            x = x + read_own_past(layer.self_attention, layer.self_attention_norm(x), cache.own)
            normed = layer.cross_attention_norm(x)
            x = x + read_memory(layer.cross_attention, normed, cache.memory, memory_mask)
            x = x + layer.feed_forward(layer.feed_forward_norm(x))
        else:
            x = layer.self_attention_norm(x + read_own_past(layer.self_attention, x, cache.own))
            read = read_memory(layer.cross_attention, x, cache.memory, memory_mask)
            x = layer.cross_attention_norm(x + read)
            x = layer.feed_forward_norm(x + layer.feed_forward(x))
    return transformer.decoder.final_norm(x) @ transformer.embedding.weight.T
    ### END SOLUTION


def cached_scores(
    transformer: Transformer,
    memory: Float[Tensor, "batch sources width"],
    memory_mask: Bool[Tensor, "batch 1 1 sources"] | None,
    capacity: int,
) -> NextScores:
    """A `next_scores` for `greedy_decode` and `beam_search` that computes only what it has not seen.

    Each call continues rows of the call before. A row that continues its own place stays there; any other looks
    for the row with its beginning, and takes that one's cache (a beam has one memory for all its rows).
    """
    caches = start_caches(transformer, memory, capacity)
    seen: list[list[int]] = [[] for _ in range(len(memory))]

    def next_scores(tokens: Int[Tensor, "rows length"]) -> Float[Tensor, "rows tokens"]:
        nonlocal seen, memory_mask
        known = caches[0].own.length
        begins = [row[:known] for row in tokens.tolist()]
        rows = [i if seen[i : i + 1] == [begin] else seen.index(begin) for i, begin in enumerate(begins)]
        if rows != list(range(len(seen))):
            chosen = torch.tensor(rows)
            memory_mask = None if memory_mask is None else memory_mask[chosen]
            for layer in caches:
                layer.memory.reorder(chosen)
                layer.own.reorder(chosen)
        seen = tokens.tolist()
        return decode_with_cache(transformer, tokens[:, known:], caches, memory_mask)[:, -1]

    return next_scores


def quantize_int8(
    weight: Float[Tensor, "outputs inputs"],
) -> tuple[Int8[Tensor, "outputs inputs"], Float[Tensor, " outputs"]]:
    """Round a matrix to whole numbers from −127 to 127, with one scale for each row: (levels, scale).

    `levels · scale[:, None]` is the matrix again, up to half a scale. The number of largest size in a row becomes
    127 or −127. A row of zeros has levels 0 and the scale 1. The scale has the dtype of the weight, which stays as
    it is.

    Raises ValueError when the weight holds NaN or infinity: one such number would take its whole row with it.
    Source: Jacob et al. 2018, section 2, with the zero point at 0; Krishnamoorthi 2018, section 3, for rows.
    """
    ### BEGIN SOLUTION
    weight = weight.detach()
    largest = weight.abs().amax(dim=1)  # (outputs,)
    if not torch.isfinite(largest).all():
        raise ValueError("the weight holds NaN or infinity, which no scale can hold")
    scale = torch.where(largest > 0, largest / 127, 1.0)
    return (weight / scale[:, None]).round().to(torch.int8), scale
    ### END SOLUTION


class QuantizedLinear(nn.Module):
    """A linear layer whose weight is kept in 8 bits: what `linear` computes, up to rounding of the weight.

    The state holds `levels` (int8) and `scale` of `quantize_int8`, and `bias` in full, if the layer has one: as
    buffers, since none of them is trained. No copy of the weight in floating point is kept. Gradients flow through
    the layer to its input.
    """

    levels: Int8[Tensor, "outputs inputs"]
    scale: Float[Tensor, " outputs"]
    bias: Float[Tensor, " outputs"] | None

    def __init__(self, linear: nn.Linear) -> None:
        super().__init__()
        ### BEGIN SOLUTION
        levels, scale = quantize_int8(linear.weight)
        self.register_buffer("levels", levels)
        self.register_buffer("scale", scale)
        self.register_buffer("bias", None if linear.bias is None else linear.bias.detach().clone())
        ### END SOLUTION

    def forward(self, x: Float[Tensor, "*batch inputs"]) -> Float[Tensor, "*batch outputs"]:
        """The product with the rounded weight, plus the bias."""
        ### BEGIN SOLUTION
        # A scale belongs to an output, so it can wait until the product is done: fewer multiplications.
        out = nn.functional.linear(x, self.levels.to(x.dtype)) * self.scale  # (*batch, outputs)
        return out if self.bias is None else out + self.bias
        ### END SOLUTION


def quantize_linears(model: nn.Module) -> int:
    """Replace every `nn.Linear` inside a model by its `QuantizedLinear`, in place; return how many there were."""
    replaced = 0
    for name, child in list(model.named_children()):
        if isinstance(child, nn.Linear):
            setattr(model, name, QuantizedLinear(child))
            replaced += 1
        else:
            replaced += quantize_linears(child)
    return replaced
