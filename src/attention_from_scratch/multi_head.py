"""Multi-head attention on batches: split, attend, merge; grouped queries; weights shared with PyTorch's layer.

Axes, everywhere in this module: batch, heads, length (of queries or of keys), dim (the width of one head).
`width` is the width of the model, heads × dim.
"""

from __future__ import annotations

import math

import torch
from einops import rearrange
from jaxtyping import Float
from torch import Tensor, nn


def attention_weights(
    q: Float[Tensor, "*batch queries dim"], k: Float[Tensor, "*batch keys dim"]
) -> Float[Tensor, "*batch queries keys"]:
    """Softmax over the keys of q·k / √dim, for every item of the leading axes on its own."""
    scores = q @ k.transpose(-2, -1) / math.sqrt(q.shape[-1])  # (*batch, queries, keys)
    return torch.softmax(scores, dim=-1)


def attention(
    q: Float[Tensor, "*batch queries dim"],
    k: Float[Tensor, "*batch keys dim"],
    v: Float[Tensor, "*batch keys value_dim"],
) -> Float[Tensor, "*batch queries value_dim"]:
    """Scaled dot-product attention over the last two axes; all axes before them are independent problems."""
    return attention_weights(q, k) @ v


def split_heads(
    x: Float[Tensor, "batch length width"], heads: int
) -> Float[Tensor, "batch heads length dim"]:
    """Cut the width of every position into `heads` equal slices, and give each head an axis of its own.

    Head 0 gets the first `width // heads` numbers of every position, head 1 the next, and so on.

    Raises ValueError when `heads` does not divide the width.
    Source: Vaswani et al. 2017, section 3.2.2.
    """
    ### BEGIN SOLUTION
    width = x.shape[-1]
    if width % heads:
        raise ValueError(f"{heads} heads do not divide a width of {width}")
    return rearrange(x, "batch length (heads dim) -> batch heads length dim", heads=heads)
    ### END SOLUTION


def merge_heads(x: Float[Tensor, "batch heads length dim"]) -> Float[Tensor, "batch length width"]:
    """Put the slices of all heads side by side again, head 0 first: what `split_heads` cut apart.

    Source: Vaswani et al. 2017, section 3.2.2, "Concat".
    """
    ### BEGIN SOLUTION
    return rearrange(x, "batch heads length dim -> batch length (heads dim)")
    ### END SOLUTION


class MultiHeadAttention(nn.Module):
    """Attention with `heads` heads: queries look into a memory, and read from it once a head.

    Four linear layers of `d_model` to `d_model`, with biases, named `query`, `key`, `value` and `output`.
    The queries go through `query`, the memory through `key` and `value`; each head attends on its own slice;
    the merged slices go through `output`. With `memory` equal to `queries` this is self-attention.

    Raises ValueError when `heads` does not divide `d_model`.
    Source: Vaswani et al. 2017, section 3.2.2.
    """

    def __init__(self, d_model: int, heads: int) -> None:
        super().__init__()
        ### BEGIN SOLUTION
        if d_model % heads:
            raise ValueError(f"{heads} heads do not divide a width of {d_model}")
        self.heads = heads
        self.query = nn.Linear(d_model, d_model)
        self.key = nn.Linear(d_model, d_model)
        self.value = nn.Linear(d_model, d_model)
        self.output = nn.Linear(d_model, d_model)
        ### END SOLUTION

    def forward(
        self, queries: Float[Tensor, "batch queries width"], memory: Float[Tensor, "batch keys width"]
    ) -> Float[Tensor, "batch queries width"]:
        """For each query position, what all heads read from the memory, mixed by the output layer."""
        ### BEGIN SOLUTION
        q = split_heads(self.query(queries), self.heads)  # (batch, heads, queries, dim)
        k = split_heads(self.key(memory), self.heads)  # (batch, heads, keys, dim)
        v = split_heads(self.value(memory), self.heads)  # (batch, heads, keys, dim)
        return self.output(merge_heads(attention(q, k, v)))
        ### END SOLUTION


def unpack_projections(packed: dict[str, Tensor]) -> dict[str, Tensor]:
    """The state of an `nn.MultiheadAttention`, renamed and cut for our `MultiHeadAttention`.

    PyTorch keeps the three input projections stacked, query over key over value, in one `in_proj_weight` of
    shape (3·width, width) and one `in_proj_bias` of shape (3·width,); `out_proj.weight` and `out_proj.bias` are
    what we call `output`. The result has eight entries, `query.weight`, `query.bias`, … `output.bias`.
    """
    ### BEGIN SOLUTION
    state = {}
    for kind in ("weight", "bias"):
        thirds = packed[f"in_proj_{kind}"].chunk(3, dim=0)  # each (width, width), or (width,)
        for name, third in zip(("query", "key", "value"), thirds, strict=True):
            state[f"{name}.{kind}"] = third
        state[f"output.{kind}"] = packed[f"out_proj.{kind}"]
    return state
    ### END SOLUTION


def pack_projections(state: dict[str, Tensor]) -> dict[str, Tensor]:
    """The way back: the state of our `MultiHeadAttention`, stacked and named for `nn.MultiheadAttention`."""
    packed = {}
    for kind in ("weight", "bias"):
        thirds = [state[f"{name}.{kind}"] for name in ("query", "key", "value")]
        packed[f"in_proj_{kind}"] = torch.cat(thirds, dim=0)  # (3·width, width), or (3·width,)
        packed[f"out_proj.{kind}"] = state[f"output.{kind}"]
    return packed


def grouped_query_attention(
    q: Float[Tensor, "batch heads queries dim"],
    k: Float[Tensor, "batch groups keys dim"],
    v: Float[Tensor, "batch groups keys value_dim"],
) -> Float[Tensor, "batch heads queries value_dim"]:
    """Attention in which neighbouring query heads share one head of keys and values.

    With 6 heads and 2 groups, query heads 0, 1, 2 read key head 0 and query heads 3, 4, 5 read key head 1.
    As many groups as heads is multi-head attention; one group is multi-query attention.

    Raises ValueError when the number of groups does not divide the number of heads.
    Source: Ainslie et al. 2023; one group: Shazeer 2019.
    """
    ### BEGIN SOLUTION
    heads, groups = q.shape[1], k.shape[1]
    if heads % groups:
        raise ValueError(f"{groups} groups of keys do not divide {heads} heads of queries")
    q = rearrange(q, "batch (groups share) queries dim -> batch groups share queries dim", groups=groups)
    out = attention(q, k[:, :, None], v[:, :, None])  # keys and values broadcast over `share`, uncopied
    return rearrange(out, "batch groups share queries dim -> batch (groups share) queries dim")
    ### END SOLUTION


class SelfAttention(nn.Module):
    """Multi-head self-attention with one packed projection: the broken class of the chapter, repaired.

    Two linear layers with biases: `project` maps `width` to 3·`width` (queries, then keys, then values) and
    `mix` maps the merged heads from `width` to `width`.

    Raises ValueError when `heads` does not divide `width`.
    """

    def __init__(self, width: int, heads: int) -> None:
        super().__init__()
        ### BEGIN SOLUTION
        if width % heads:
            raise ValueError(f"{heads} heads do not divide a width of {width}")
        self.heads = heads
        self.project = nn.Linear(width, 3 * width)
        self.mix = nn.Linear(width, width)
        ### END SOLUTION

    def forward(self, x: Float[Tensor, "batch length width"]) -> Float[Tensor, "batch length width"]:
        """Every position reads from all positions of its own example."""
        ### BEGIN SOLUTION
        q, k, v = (split_heads(part, self.heads) for part in self.project(x).chunk(3, dim=-1))
        return self.mix(merge_heads(attention(q, k, v)))
        ### END SOLUTION
