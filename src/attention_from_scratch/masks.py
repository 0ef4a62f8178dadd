"""Masks: who may look at whom; a softmax and a layer that obey them; a detector of leaks.

One convention, everywhere in the course: a mask is boolean, True means *may look*, and it broadcasts to
(batch, heads, queries, keys). None means that every query may look at every key.
"""

from __future__ import annotations

import math
from collections.abc import Callable

import torch
from jaxtyping import Bool, Float, Int, Shaped
from torch import Tensor

from attention_from_scratch.multi_head import MultiHeadAttention, merge_heads, split_heads


def causal_mask(queries: int, keys: int, offset: int) -> Bool[Tensor, "queries keys"]:
    """Nobody looks into the future: query i may look at key j when j ≤ i + offset.

    `offset` is the position of the first query among the keys. It is 0 when queries and keys are the same
    sequence, and keys − queries when the queries are its last positions. A query whose i + offset is below 0 may
    look at nothing, one whose i + offset is beyond the last key may look at everything.

    Source: Vaswani et al. 2017, section 3.2.3; the offset is ours.
    """
    ### BEGIN SOLUTION
    reach = torch.arange(queries) + offset  # (queries,): the last key that each query may see
    return torch.arange(keys) <= reach[:, None]  # (queries, keys)
    ### END SOLUTION


def padding_mask(lengths: Int[Tensor, " batch"], length: int) -> Bool[Tensor, "batch 1 1 length"]:
    """Nobody looks at padding: key j of example b may be looked at when j < lengths[b].

    Every sequence of the batch is filled up to `length` at its end. The axes of size one stand for all heads and
    all queries, so the mask broadcasts to (batch, heads, queries, length).

    Raises ValueError when a length is negative or larger than `length`.
    """
    ### BEGIN SOLUTION
    if ((lengths < 0) | (lengths > length)).any():
        raise ValueError(f"lengths must lie between 0 and {length}, got {lengths.tolist()}")
    visible = torch.arange(length, device=lengths.device) < lengths[:, None]  # (batch, length)
    return visible[:, None, None, :]  # (batch, 1, 1, length)
    ### END SOLUTION


def combine_masks(*masks: Bool[Tensor, "*mask"] | None) -> Bool[Tensor, "*mask"] | None:
    """One mask for several reasons to look away: a query may look where every mask lets it.

    The masks broadcast against each other; a None forbids nothing. Without any mask that forbids something the
    result is None. The masks that come in stay as they are.

    Raises TypeError when a mask is not boolean: of numbers nobody knows which ones mean "may look".
    """
    ### BEGIN SOLUTION
    combined = None
    for mask in masks:
        if mask is None:
            continue
        if mask.dtype != torch.bool:
            raise TypeError(f"a mask must be boolean, True for may look; got {mask.dtype}")
        combined = mask if combined is None else combined & mask
    return combined
    ### END SOLUTION


def masked_softmax(
    scores: Float[Tensor, "*batch queries keys"], mask: Bool[Tensor, "*mask"] | None
) -> Float[Tensor, "*batch queries keys"]:
    """Softmax over the keys, as if those that a query may not look at were not there.

    `mask` broadcasts to the scores; True means may look; None lets everybody look everywhere. Hidden keys get a
    weight of exactly 0, visible ones share 1, whatever the scores of the hidden ones are. A query that may look at
    nothing gets only zeros, and its scores get gradients of zero. The result has the dtype of the scores, which may
    be any floating-point type.

    Source: Vaswani et al. 2017, section 3.2.3; the rule for empty rows is ours.
    """
    ### BEGIN SOLUTION
    if mask is None:
        return torch.softmax(scores, dim=-1)
    hidden = ~mask
    empty = hidden.all(dim=-1, keepdim=True)  # (…, queries, 1)
    # A row of nothing but −∞ would be NaN, also on the way back: such rows are 0 before and after the softmax.
    scores = scores.masked_fill(hidden, -math.inf).masked_fill(empty, 0.0)
    return torch.softmax(scores, dim=-1).masked_fill(empty, 0.0)
    ### END SOLUTION


def masked_attention(
    q: Float[Tensor, "*batch queries dim"],
    k: Float[Tensor, "*batch keys dim"],
    v: Float[Tensor, "*batch keys value_dim"],
    mask: Bool[Tensor, "*mask"] | None,
) -> Float[Tensor, "*batch queries value_dim"]:
    """Scaled dot-product attention in which each query looks only where the mask is True."""
    scores = q @ k.transpose(-2, -1) / math.sqrt(q.shape[-1])  # (*batch, queries, keys)
    return masked_softmax(scores, mask) @ v


class MaskedMultiHeadAttention(MultiHeadAttention):
    """Chapter 03's layer, told who may look at whom. The parameters and the constructor are the same."""

    def forward(  # type: ignore[override]  # every caller has to say the mask, if only None
        self,
        queries: Float[Tensor, "batch queries width"],
        memory: Float[Tensor, "batch keys width"],
        mask: Bool[Tensor, "queries keys"] | Bool[Tensor, "#batch #heads #queries #keys"] | None,
    ) -> Float[Tensor, "batch queries width"]:
        """For each query, what all heads read from the part of the memory that it may see.

        A query that may see nothing gets the bias of the output layer, and no NaN.

        Raises ValueError when the mask has neither two axes, (queries, keys), nor four, (batch, heads, queries, keys):
        the first of three could be examples or heads.
        """
        ### BEGIN SOLUTION
        if mask is not None and mask.ndim not in (2, 4):
            raise ValueError(
                f"a mask has 2 axes or 4, not {mask.ndim}: write out the ones of batch and heads"
            )
        q = split_heads(self.query(queries), self.heads)  # (batch, heads, queries, dim)
        k = split_heads(self.key(memory), self.heads)  # (batch, heads, keys, dim)
        v = split_heads(self.value(memory), self.heads)  # (batch, heads, keys, dim)
        return self.output(merge_heads(masked_attention(q, k, v, mask)))
        ### END SOLUTION


def changed(
    before: Shaped[Tensor, "batch positions *features"], after: Shaped[Tensor, "batch positions *features"]
) -> Bool[Tensor, "batch positions"]:
    """Where two outputs differ by more than rounding; what is not a number counts as a change.

    Rounding is 64 units in the last place of the largest number in either output, and of 1 at least.
    """
    one = before.double().reshape(*before.shape[:2], -1)  # (batch, positions, numbers)
    other = after.double().reshape(*after.shape[:2], -1)  # (batch, positions, numbers)
    size = torch.stack([one, other]).nan_to_num(0.0, 0.0, 0.0).abs().max().clamp(min=1.0)
    unit = torch.finfo(before.dtype).eps if before.is_floating_point() else 0.0
    return ~((one - other).abs().amax(dim=-1) <= 64 * unit * size)


@torch.no_grad()
def leak_test(
    model: Callable[[Tensor], Tensor],
    x: Shaped[Tensor, "batch inputs *features"],
    allowed: Bool[Tensor, "*batch outputs inputs"],
) -> Bool[Tensor, "outputs inputs"]:
    """Find out by trying where a model looks although it may not: True at (i, j) is a leak from input j to output i.

    Changes the input at one position of one example at a time and watches the whole output. Output i of the same
    example may change where allowed[i, j] is True (or allowed[b, i, j], when the examples differ); outputs of other
    examples may never change. `x` holds vectors, (batch, inputs, width), or token ids, (batch, inputs), which are
    replaced by other ids that occur in `x`. `x` stays as it is.

    Raises ValueError when the model answers the same input in two ways (say, because dropout is on) or with NaN, and
    when all ids of `x` are the same, so that there is no other to try.
    """
    ### BEGIN SOLUTION
    if not x.is_floating_point() and (x == x.flatten()[0]).all():
        raise ValueError("all ids of x are the same: give the leak test at least two different ones")
    before = model(x)
    if changed(before, model(x)).any():
        raise ValueError("two calls with the same input differ or hold NaN: call eval() before the leak test")
    allowed = allowed.expand(len(x), -1, -1)  # (batch, outputs, inputs)
    leaks = torch.zeros(allowed.shape[1:], dtype=torch.bool, device=x.device)
    generator = torch.Generator().manual_seed(0)
    for example in range(len(x)):
        for position in range(x.shape[1]):
            old = x[example, position]
            if x.is_floating_point():  # random directions: a constant shift would not pass a layer norm
                noise = torch.randn(2, *old.shape, generator=generator).to(x)
                others = [old + noise[0], old + 1000 * noise[1]]
            else:
                ids = x[x != old]
                others = [ids.min(), ids.max()]
            for new in others:
                y = x.clone()
                y[example, position] = new
                may = torch.zeros(before.shape[:2], dtype=torch.bool, device=x.device)
                may[example] = allowed[example, :, position]
                leaks[:, position] |= (changed(before, model(y)) & ~may).any(dim=0)
    return leaks
    ### END SOLUTION
