"""Positions: how attention learns where a token stands. Sinusoids, learned vectors, rotations, and linear biases.

Attention alone treats its input as a set (`permutation_gap` measures it). Two of the four ways to tell it the order add
a vector to every token before the first layer; the other two act on queries, keys or scores inside every layer.

Pairs, everywhere in this module, are neighbours: numbers 0 and 1, 2 and 3, … Where a model pairs the first half of a
vector with the second, `interleaving` leads from its habit to ours.
"""

from __future__ import annotations

import math
from collections.abc import Callable

import torch
from jaxtyping import Bool, Float, Float64, Int, Shaped
from torch import Tensor, nn

from attention_from_scratch.masks import masked_attention, masked_softmax


def permutation_gap(model: Callable[[Tensor], Tensor], x: Shaped[Tensor, "batch length *features"]) -> float:
    """How far a model is from treating its positions as a set: 0 when shuffling the input just shuffles the output.

    Two shuffles are tried: the first two positions exchanged, and all positions moved on by one, the last to the front.
    Every other order is some sequence of these two. The gap is the largest absolute difference, over both and over all
    numbers, between the output for the shuffled input and the shuffled output for `x`. NaN in an output gives NaN.

    `model` maps (batch, length, …) to (batch, length, …) and gives the same output for the same input each time, so put
    modules with dropout into evaluation mode. A single position has no other order: the gap is 0.
    """
    ### BEGIN SOLUTION
    length = x.shape[1]
    exchanged = torch.arange(length)
    exchanged[:2] = exchanged[:2].flip(0)
    moved_on = torch.arange(length).roll(1)
    with torch.no_grad():
        out = model(x)
        gaps = [(model(x[:, order]) - out[:, order]).abs().max() for order in (exchanged, moved_on)]
    return torch.stack(gaps).max().item()
    ### END SOLUTION


def frequencies(width: int) -> Float64[Tensor, " pairs"]:
    """How far each pair of numbers turns from one position to the next, in radians: 10000^(−2i / width) for pair i.

    Pair 0 turns by 1, the last by little more than 1/10000. An odd width has a last pair with one number.
    In float64, because a large position times a rounded frequency is a wrong angle.
    Source: Vaswani et al. 2017, section 3.5.
    """
    return 10000.0 ** (-torch.arange(0, width, 2, dtype=torch.float64) / width)


def sinusoidal(length: int, width: int) -> Float[Tensor, "length width"]:
    """A vector for each position 0 … length − 1: sines and cosines of its angles, neighbour by neighbour.

    Number 2i of row p is sin(p · frequency i), number 2i + 1 is cos(p · frequency i). An odd width ends with a
    sine whose cosine does not fit. In float32.

    Source: Vaswani et al. 2017, section 3.5.
    """
    ### BEGIN SOLUTION
    angle = torch.arange(length)[:, None] * frequencies(width)  # (length, pairs), float64
    pairs = torch.stack([angle.sin(), angle.cos()], dim=-1)  # (length, pairs, 2)
    return pairs.flatten(1)[:, :width].float()  # (length, pairs · 2), cut to (length, width)
    ### END SOLUTION


class LearnedPositions(nn.Module):
    """A trainable vector for each of the positions 0 … max_length − 1, added to what stands there.

    One parameter, `table`, of shape (max_length, width). It starts small: normal, with standard deviation 0.02.

    Source: Gehring et al. 2017; Devlin et al. 2019.
    """

    def __init__(self, max_length: int, width: int) -> None:
        super().__init__()
        ### BEGIN SOLUTION
        self.table = nn.Parameter(0.02 * torch.randn(max_length, width))
        ### END SOLUTION

    def forward(
        self, x: Float[Tensor, "batch length width"], offset: int
    ) -> Float[Tensor, "batch length width"]:
        """Add the vectors of the positions offset … offset + length − 1 to every example.

        Raises ValueError when a position lies outside 0 … max_length − 1.
        """
        ### BEGIN SOLUTION
        end = offset + x.shape[1]
        if offset < 0 or end > len(self.table):
            raise ValueError(
                f"positions {offset} … {end - 1} are not all in a table of {len(self.table)} positions; "
                "make it longer or the text shorter"
            )
        return x + self.table[offset:end]
        ### END SOLUTION


def rope(
    x: Float[Tensor, "*leading length dim"], positions: Int[Tensor, " length"]
) -> Float[Tensor, "*leading length dim"]:
    """Turn every pair of neighbouring numbers by position × frequency of the pair (rotary position embedding).

    With a = position · frequency i, the pair (x[2i], x[2i+1]) becomes
    (x[2i] cos a − x[2i+1] sin a,  x[2i] sin a + x[2i+1] cos a). The result has the dtype of `x`; the angles are
    computed in float64 whatever that dtype is.

    Raises ValueError when `dim` is odd, or when there is not one position for each vector.
    Source: Su et al. 2021, section 3.4.2.
    """
    ### BEGIN SOLUTION
    length, dim = x.shape[-2:]
    if dim % 2:
        raise ValueError(f"rotary positions turn pairs of numbers, and a width of {dim} is odd")
    if positions.shape != (length,):
        raise ValueError(f"{length} vectors need {length} positions, got shape {tuple(positions.shape)}")
    angle = positions[:, None] * frequencies(dim).to(positions.device)  # (length, pairs), float64
    cos, sin = angle.cos().to(x.dtype), angle.sin().to(x.dtype)
    first, second = x[..., 0::2], x[..., 1::2]  # (*leading, length, pairs)
    turned = torch.stack([first * cos - second * sin, first * sin + second * cos], dim=-1)
    return turned.flatten(-2)  # (*leading, length, pairs, 2) → (*leading, length, dim)
    ### END SOLUTION


def interleaving(dim: int) -> Int[Tensor, " dim"]:
    """The order that makes neighbours of what half pairing pairs: 0, dim/2, 1, dim/2 + 1, …

    Many released models pair number i with number i + dim/2. Reorder the rows of each head's query and key weights by
    this (`weight[interleaving(dim)]`) and `rope` gives their scores: a dot product does not care about order.
    """
    return torch.arange(dim).view(2, dim // 2).t().flatten()  # (2, pairs) → (pairs, 2) → (dim,)


def rotary_attention(
    q: Float[Tensor, "*leading queries dim"],
    k: Float[Tensor, "*leading keys dim"],
    v: Float[Tensor, "*leading keys value_dim"],
    query_positions: Int[Tensor, " queries"],
    key_positions: Int[Tensor, " keys"],
    mask: Bool[Tensor, "*mask"] | None,
) -> Float[Tensor, "*leading queries value_dim"]:
    """Scaled dot-product attention whose scores know the distance between query and key, by rotation.

    Where `mask` is False a query does not look; None hides nothing.

    Source: Su et al. 2021, section 3.2.
    """
    ### BEGIN SOLUTION
    return masked_attention(rope(q, query_positions), rope(k, key_positions), v, mask)
    ### END SOLUTION


def alibi_bias(heads: int, queries: int, keys: int) -> Float[Tensor, "heads queries keys"]:
    """What each head adds to its scores: −slope × distance between query and key (attention with linear biases).

    The queries are the last positions of the keys: query i stands at i + keys − queries. With more queries than keys
    this is negative for the first ones, which stand before key 0. Distances count both ways.
    In float32. For a power of two, head h (from 0) has the slope 2^(−8(h+1) / heads). Any other number of heads takes
    the slopes of n heads, the largest power of two below, and then those of 2n heads number 0, 2, 4, … until
    there are enough.

    Source: Press et al. 2022, section 3, and the authors' code for other numbers of heads.
    """
    ### BEGIN SOLUTION

    def slopes(count: int) -> list[float]:
        return [2.0 ** (-8 * (head + 1) / count) for head in range(count)]

    power = 2 ** int(math.log2(heads))
    slope = torch.tensor(slopes(power) + slopes(2 * power)[::2][: heads - power])
    here = torch.arange(queries) + keys - queries
    distance = (here[:, None] - torch.arange(keys)).abs()  # (queries, keys)
    return slope[:, None, None] * -distance  # (heads, queries, keys)
    ### END SOLUTION


def biased_attention(
    q: Float[Tensor, "*leading queries dim"],
    k: Float[Tensor, "*leading keys dim"],
    v: Float[Tensor, "*leading keys value_dim"],
    bias: Float[Tensor, "*bias"],
    mask: Bool[Tensor, "*mask"] | None,
) -> Float[Tensor, "*leading queries value_dim"]:
    """Scaled dot-product attention with `bias` added to the scaled scores, before the mask and the softmax."""
    scores = q @ k.transpose(-2, -1) / math.sqrt(q.shape[-1]) + bias.to(q)  # (*leading, queries, keys)
    return masked_softmax(scores, mask) @ v
