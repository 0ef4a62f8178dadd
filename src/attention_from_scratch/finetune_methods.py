"""The ways to fine-tune, by name: each changes a classifier in place and freezes what it does not train."""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

from attention_from_scratch.finetune_model import Classifier


def train_everything(model: Classifier) -> None:
    """Train every parameter of the encoder and the head."""
    model.requires_grad_(True)


def train_the_head(model: Classifier) -> None:
    """Train the last linear layer alone; the encoder stays as it was."""
    model.requires_grad_(False)
    model.head.requires_grad_(True)


METHODS: Final[dict[str, Callable[[Classifier], None]]] = {
    "full": train_everything,
    "head": train_the_head,
}


def prepare(model: Classifier, method: str) -> None:
    """Make the model ready to be fine-tuned by a method of `METHODS`: change it in place, freeze what stays.

    Raises ValueError for a name that is not in `METHODS`.
    """
    if method not in METHODS:
        raise ValueError(f"there is no method {method!r}; choose one of {', '.join(METHODS)}")
    METHODS[method](model)
