"""BERT's body: chapter 06's encoder behind embeddings of words, positions and token types.

It has the parts of the published models and the names of this course; chapter 12 fills it with published weights.
Tokens are integers, (batch, length). A mask of tokens, (batch, length), is True where a real token stands and False
on padding. Token types tell the first text of a pair from the second; we read one text at a time, so all are 0.
"""

from __future__ import annotations

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor, nn

from attention_from_scratch.encoder import Encoder, LayerNorm


class BertEmbeddings(nn.Module):
    """What the first layer reads: the sum of three embeddings, normed, with dropout in training.

    `word` has a row for each of `tokens` tokens, `position` for each of `positions` places, counted from 0, and `type`
    for each of `types` token types. `norm` norms their sum.

    Source: Devlin et al. 2019, section 3 and figure 2.
    """

    def __init__(
        self, tokens: int, positions: int, types: int, width: int, eps: float, dropout: float
    ) -> None:
        super().__init__()
        self.word = nn.Embedding(tokens, width)
        self.position = nn.Embedding(positions, width)
        self.token_type = nn.Embedding(types, width)
        self.norm = LayerNorm(width, eps)
        self.dropout = nn.Dropout(dropout)

    def forward(self, tokens: Int[Tensor, "batch length"]) -> Float[Tensor, "batch length width"]:
        """The vectors of these tokens at positions 0, 1, …, all of type 0.

        Raises ValueError when there are more tokens than positions.
        """
        length, most = tokens.shape[1], self.position.num_embeddings
        if length > most:
            raise ValueError(f"{length} tokens, but the model knows {most} positions: cut the text")
        places = torch.arange(length, device=tokens.device)
        summed = (
            self.word(tokens) + self.position(places) + self.token_type.weight[0]
        )  # (batch, length, width)
        return self.dropout(self.norm(summed))


class BertEncoder(nn.Module):
    """`embeddings`, and `encoder`, a post-norm stack: from token ids to one vector for each token.

    Raises ValueError like `Encoder`.
    Source: Devlin et al. 2019; the pooler and the heads of pretraining are left out.
    """

    def __init__(
        self,
        tokens: int,
        positions: int,
        types: int,
        layers: int,
        width: int,
        heads: int,
        hidden: int,
        dropout: float,
        eps: float,
        activation: str,
    ) -> None:
        super().__init__()
        self.embeddings = BertEmbeddings(tokens, positions, types, width, eps, dropout)
        self.encoder = Encoder(layers, width, heads, hidden, dropout, eps, activation, norm="post")

    def forward(
        self, tokens: Int[Tensor, "batch length"], mask: Bool[Tensor, "batch length"]
    ) -> Float[Tensor, "batch length width"]:
        """The hidden states after the last layer. What stands where the mask is False is never looked at."""
        may_look = mask[:, None, None, :]  # (batch, 1, 1, length): the same for all heads and queries
        return self.encoder(self.embeddings(tokens), may_look)


def start_like_bert(model: BertEncoder, std: float, seed: int) -> BertEncoder:
    """Give a model the numbers that BERT starts from, in place: normal matrices and embeddings, biases 0.

    The norms keep their 1 and 0, and torch's own stream of random numbers is left where it was.
    Source: Devlin et al. 2019, the published code.
    """
    generator = torch.Generator().manual_seed(seed)
    for module in model.modules():
        if isinstance(module, nn.Linear | nn.Embedding):
            nn.init.normal_(module.weight, std=std, generator=generator)
        if isinstance(module, nn.Linear):
            nn.init.zeros_(module.bias)
    return model
