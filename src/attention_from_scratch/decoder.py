"""One sequence reads another: cross-attention, the decoder, the whole transformer, and how it writes.

Axes: batch, heads, targets (positions of the sequence that is written), sources (positions of the sequence that is
read), width. The memory is what the encoder makes of the source. A memory mask is boolean, True where the memory holds
something, of shape (batch, 1, 1, sources); a target mask is causal and says which targets a target may see.

The two decoding functions know no model: they are given `next_scores`, a function from the tokens so far,
(rows, length), to the logits of the token that follows, (rows, tokens).
"""

from __future__ import annotations

import math
from collections.abc import Callable

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor, nn

from attention_from_scratch.encoder import Encoder, FeedForward, LayerNorm
from attention_from_scratch.masks import MaskedMultiHeadAttention, causal_mask, masked_softmax, padding_mask
from attention_from_scratch.multi_head import merge_heads, split_heads
from attention_from_scratch.positions import sinusoidal

NextScores = Callable[[Int[Tensor, "rows length"]], Float[Tensor, "rows tokens"]]
IGNORE = -100
"""The label of a position where nothing is asked; `cross_entropy` passes over it."""


class CrossAttention(MaskedMultiHeadAttention):
    """Attention from one sequence to another, which can show where it looks.

    The constructor and the four linear layers `query`, `key`, `value` and `output` are those of
    `MaskedMultiHeadAttention`. Queries come from the targets; keys and values come from the memory.

    A memory mask is the same for all targets: (batch, 1, 1, sources), as `padding_mask` makes it, or None.
    Both methods raise ValueError for any other shape, so a mask that belongs to the targets is not taken for it.

    Source: Bahdanau et al. 2015 for the idea; Vaswani et al. 2017, section 3.2.3, "encoder-decoder attention".
    """

    def weights(
        self,
        targets: Float[Tensor, "batch targets width"],
        memory: Float[Tensor, "batch sources width"],
        memory_mask: Bool[Tensor, "batch 1 1 sources"] | None,
    ) -> Float[Tensor, "batch heads targets sources"]:
        """How much each target reads from each place of the memory, one map a head. A row sums to 1."""
        ### BEGIN SOLUTION
        expected = (len(memory), 1, 1, memory.shape[1])
        if memory_mask is not None and memory_mask.shape != expected:
            raise ValueError(f"a mask of this memory has shape {expected}, not {tuple(memory_mask.shape)}")
        q = split_heads(self.query(targets), self.heads)  # (batch, heads, targets, dim)
        k = split_heads(self.key(memory), self.heads)  # (batch, heads, sources, dim)
        scores = q @ k.transpose(-2, -1) / math.sqrt(q.shape[-1])  # (batch, heads, targets, sources)
        return masked_softmax(scores, memory_mask)
        ### END SOLUTION

    def forward(  # type: ignore[override]  # this mask is narrower, on purpose
        self,
        targets: Float[Tensor, "batch targets width"],
        memory: Float[Tensor, "batch sources width"],
        memory_mask: Bool[Tensor, "batch 1 1 sources"] | None,
    ) -> Float[Tensor, "batch targets width"]:
        """For each target, what all heads read from the memory, mixed by the output layer."""
        ### BEGIN SOLUTION
        v = split_heads(self.value(memory), self.heads)  # (batch, heads, sources, dim)
        return self.output(merge_heads(self.weights(targets, memory, memory_mask) @ v))
        ### END SOLUTION


class DecoderLayer(nn.Module):
    """One layer of a decoder: read what is written so far, read the memory, think it over.

    Its parts are `self_attention` (a `MaskedMultiHeadAttention`), `cross_attention` (a `CrossAttention`) and
    `feed_forward` (a `FeedForward`), in this order, with the norms `self_attention_norm`, `cross_attention_norm` and
    `feed_forward_norm`. With f one of the three parts, and dropout acting on what f returns, the layer computes

        norm="post":  x = norm(x + f(x))
        norm="pre":   x = x + f(norm(x))

    The memory is not normed here: the encoder has done it. The feed-forward network has the same `dropout` inside.

    Raises ValueError when `norm` is another word, or when `heads` does not divide `width`.
    Source: Vaswani et al. 2017, section 3.1.
    """

    def __init__(
        self, width: int, heads: int, hidden: int, dropout: float, eps: float, activation: str, norm: str
    ) -> None:
        super().__init__()
        ### BEGIN SOLUTION
        if norm not in ("pre", "post"):
            raise ValueError(f'norm is "pre" or "post", not {norm!r}')
        self.norm = norm
        self.self_attention = MaskedMultiHeadAttention(width, heads)
        self.cross_attention = CrossAttention(width, heads)
        self.feed_forward = FeedForward(width, hidden, dropout, activation)
        self.self_attention_norm = LayerNorm(width, eps)
        self.cross_attention_norm = LayerNorm(width, eps)
        self.feed_forward_norm = LayerNorm(width, eps)
        self.dropout = nn.Dropout(dropout)
        ### END SOLUTION

    def forward(
        self,
        x: Float[Tensor, "batch targets width"],
        memory: Float[Tensor, "batch sources width"],
        target_mask: Bool[Tensor, "targets targets"] | Bool[Tensor, "#batch #heads #targets targets"] | None,
        memory_mask: Bool[Tensor, "batch 1 1 sources"] | None,
    ) -> Float[Tensor, "batch targets width"]:
        """Let every target read the targets that `target_mask` allows, and what `memory_mask` says is there."""
        ### BEGIN SOLUTION
        if self.norm == "pre":
            normed = self.self_attention_norm(x)
            x = x + self.dropout(self.self_attention(normed, normed, target_mask))
            normed = self.cross_attention_norm(x)
            x = x + self.dropout(self.cross_attention(normed, memory, memory_mask))
            return x + self.dropout(self.feed_forward(self.feed_forward_norm(x)))
        x = self.self_attention_norm(x + self.dropout(self.self_attention(x, x, target_mask)))
        x = self.cross_attention_norm(x + self.dropout(self.cross_attention(x, memory, memory_mask)))
        return self.feed_forward_norm(x + self.dropout(self.feed_forward(x)))
        ### END SOLUTION


class Decoder(nn.Module):
    """A stack of decoder layers that read one memory; `final_norm` as in `Encoder`.

    Source: Vaswani et al. 2017, section 3.1.
    """

    def __init__(
        self,
        layers: int,
        width: int,
        heads: int,
        hidden: int,
        dropout: float,
        eps: float,
        activation: str,
        norm: str,
    ) -> None:
        super().__init__()
        self.layers = nn.ModuleList(
            DecoderLayer(width, heads, hidden, dropout, eps, activation, norm) for _ in range(layers)
        )
        self.final_norm = LayerNorm(width, eps) if norm == "pre" else nn.Identity()

    def forward(
        self,
        x: Float[Tensor, "batch targets width"],
        memory: Float[Tensor, "batch sources width"],
        target_mask: Bool[Tensor, "targets targets"] | Bool[Tensor, "#batch #heads #targets targets"] | None,
        memory_mask: Bool[Tensor, "batch 1 1 sources"] | None,
    ) -> Float[Tensor, "batch targets width"]:
        """Send x through all layers; each reads the same memory under the same two masks."""
        for layer in self.layers:
            x = layer(x, memory, target_mask, memory_mask)
        return self.final_norm(x)


class Transformer(nn.Module):
    """The encoder–decoder transformer: token ids of a source and of a target in, logits of the next tokens out.

    Source and target share one vocabulary and one embedding, whose transpose is the output layer.
    Source: Vaswani et al. 2017; section 3.4 for the shared matrix and the factor √width.
    """

    def __init__(
        self,
        tokens: int,
        layers: int,
        width: int,
        heads: int,
        hidden: int,
        dropout: float,
        eps: float,
        activation: str,
        norm: str,
    ) -> None:
        super().__init__()
        self.embedding = nn.Embedding(tokens, width)
        nn.init.normal_(self.embedding.weight, std=width**-0.5)
        self.encoder = Encoder(layers, width, heads, hidden, dropout, eps, activation, norm)
        self.decoder = Decoder(layers, width, heads, hidden, dropout, eps, activation, norm)
        self.dropout = nn.Dropout(dropout)

    def embed(self, tokens: Int[Tensor, "batch length"]) -> Float[Tensor, "batch length width"]:
        """A vector for what each token is, plus one for where it stands."""
        x = self.embedding(tokens)
        width = x.shape[-1]
        return self.dropout(math.sqrt(width) * x + sinusoidal(tokens.shape[1], width).to(x))

    def encode(
        self, source: Int[Tensor, "batch sources"], lengths: Int[Tensor, " batch"]
    ) -> tuple[Float[Tensor, "batch sources width"], Bool[Tensor, "batch 1 1 sources"] | None]:
        """The memory of a source, and which of its places are real."""
        mask = padding_mask(lengths, source.shape[1])
        return self.encoder(self.embed(source), mask), mask

    def decode(
        self,
        target: Int[Tensor, "batch targets"],
        memory: Float[Tensor, "batch sources width"],
        memory_mask: Bool[Tensor, "batch 1 1 sources"] | None,
    ) -> Float[Tensor, "batch targets tokens"]:
        """At every target position, the logits of the token that follows it."""
        length = target.shape[1]
        visible = causal_mask(length, length, offset=0).to(target.device)
        x = self.decoder(self.embed(target), memory, visible, memory_mask)
        return x @ self.embedding.weight.T  # (batch, targets, width) @ (width, tokens)

    def forward(
        self,
        source: Int[Tensor, "batch sources"],
        lengths: Int[Tensor, " batch"],
        target: Int[Tensor, "batch targets"],
    ) -> Float[Tensor, "batch targets tokens"]:
        """Read the source, then predict every next token of the target at once."""
        memory, memory_mask = self.encode(source, lengths)
        return self.decode(target, memory, memory_mask)


def shift_right(labels: Int[Tensor, "batch length"], start: int, pad: int) -> Int[Tensor, "batch length"]:
    """What the decoder is given while it learns to answer `labels`: at each position, the label before it.

    Position 0 gets `start`; the last label is never an input. Labels of −100 mark positions where nothing is asked;
    no embedding has a row −100, so these become `pad`.

    Source: Vaswani et al. 2017, section 3.1, "offset by one position".
    """
    ### BEGIN SOLUTION
    inputs = torch.empty_like(labels)
    inputs[:, 0] = start
    inputs[:, 1:] = labels[:, :-1]
    return inputs.masked_fill(inputs == IGNORE, pad)
    ### END SOLUTION


def greedy_decode(
    next_scores: NextScores, batch: int, start: int, end: int, pad: int, max_length: int
) -> Int[Tensor, "batch length"]:
    """Write a sequence for every row of a batch: always the likeliest next token, until `end`.

    `next_scores` gets all tokens so far, `start` first, and is asked once for every new column. A row that has
    written `end` goes on with `pad`. Writing stops when every row has ended, or after `max_length` tokens. The result
    holds what was written: no `start`, but `end`, and `pad` behind it. `start` and `end` may be the same token, as in
    BART: what stands in front has ended nothing. `max_length` is at least 1.
    """
    ### BEGIN SOLUTION
    tokens = torch.full((batch, 1), start)
    ended = torch.zeros(batch, dtype=torch.bool)
    for _ in range(max_length):
        chosen = next_scores(tokens).argmax(dim=-1).masked_fill(ended, pad)  # (batch,)
        tokens = torch.cat([tokens, chosen[:, None]], dim=1)  # (batch, length + 1)
        ended = ended | (chosen == end)
        if ended.all():
            break
    return tokens[:, 1:]
    ### END SOLUTION


def beam_search(
    next_scores: NextScores, start: int, end: int, beam: int, max_length: int, alpha: float
) -> list[tuple[list[int], float]]:
    """The best sequences that a search finds which keeps `beam` of them: (tokens, score), best first.

    The score of a sequence of L tokens is the sum of the log-probabilities of its tokens, divided by L to the power
    `alpha`. `start` counts for nothing and is not returned; `end` is a token like the others. In each round, every
    sequence of the pool that has not ended is extended by every token; the ended ones stay in the pool as they are;
    the `beam` best of all of these are the next pool. The search is over when all have ended, or after `max_length`
    rounds; what has not ended by then is returned too. `beam` and `max_length` are at least 1.

    Source: Wu et al. 2016, section 7, for dividing by a power of the length (theirs has a slightly other form).
    """
    ### BEGIN SOLUTION
    pool: list[tuple[list[int], float]] = [([], 0.0)]  # tokens, and the sum of their log-probabilities

    def score(found: tuple[list[int], float]) -> float:
        tokens, total = found
        return total / len(tokens) ** alpha

    for _ in range(max_length):
        ended = [found for found in pool if found[0][-1:] == [end]]
        open_ones = [found for found in pool if found[0][-1:] != [end]]
        if not open_ones:
            break
        scores = next_scores(torch.tensor([[start, *tokens] for tokens, _ in open_ones]))
        log_probabilities = scores.log_softmax(dim=-1).tolist()
        longer = [
            ([*tokens, token], total + gain)
            for (tokens, total), row in zip(open_ones, log_probabilities, strict=True)
            for token, gain in enumerate(row)
        ]
        pool = sorted(ended + longer, key=score, reverse=True)[:beam]
    return [(tokens, score((tokens, total))) for tokens, total in pool]
    ### END SOLUTION
