"""The model that Part IV fine-tunes: a pretrained encoder, the mean of its word vectors, and a linear layer."""

from __future__ import annotations

from jaxtyping import Bool, Float, Int
from torch import Tensor, nn

from attention_from_scratch.bert import BertEncoder
from attention_from_scratch.pretrained_encoder import mean_pool

HEAD_STD = 0.02  # how BERT starts a new layer


class Classifier(nn.Module):
    """An encoder over tokens, and a decision for the whole text.

    Its parts are `encoder` and `head`, a linear layer from the encoder's width to the classes. Dropout with
    probability `dropout` acts on the mean vector, before the head.

    Source: Devlin et al. 2019, section 3.2, with the mean of the tokens in place of the first one.
    """

    def __init__(self, encoder: BertEncoder, classes: int, dropout: float) -> None:
        super().__init__()
        self.encoder = encoder
        self.dropout = nn.Dropout(dropout)
        self.head = nn.Linear(encoder.embeddings.word.embedding_dim, classes)
        nn.init.normal_(self.head.weight, std=HEAD_STD)
        nn.init.zeros_(self.head.bias)

    def forward(
        self, tokens: Int[Tensor, "batch length"], mask: Bool[Tensor, "batch length"]
    ) -> Float[Tensor, "batch classes"]:
        """A number for each class; True in `mask` stands for a real token, whatever is False changes nothing."""
        hidden = self.encoder(tokens, mask)
        return self.head(self.dropout(mean_pool(hidden, mask)))
