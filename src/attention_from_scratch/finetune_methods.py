"""The ways to fine-tune, by name: each changes a classifier in place and freezes what it does not train."""

from __future__ import annotations

import importlib
from collections.abc import Callable
from functools import partial
from typing import Any, Final

import torch
from torch import nn

from attention_from_scratch.finetune_model import Classifier


def train_everything(model: Classifier) -> None:
    """Train every parameter of the encoder and the head."""
    model.requires_grad_(True)


def train_the_head(model: Classifier) -> None:
    """Train the last linear layer alone; the encoder stays as it was."""
    model.requires_grad_(False)
    model.head.requires_grad_(True)


def _of_chapter_14(name: str, *arguments: Any) -> None:
    """Call a function of `finetune_efficient`, which a package that was handed out before chapter 14 lacks."""
    try:
        module = importlib.import_module("attention_from_scratch.finetune_efficient")
    except ModuleNotFoundError as problem:
        raise ValueError(f"this method is built in chapter 14; here are full and head ({problem})") from None
    getattr(module, name)(*arguments)


METHODS: Final[dict[str, Callable[[Classifier], None]]] = {
    "full": train_everything,
    "head": train_the_head,
    "adapter": partial(_of_chapter_14, "add_adapters"),
    "prefix": partial(_of_chapter_14, "add_prefixes"),
    "lora": partial(_of_chapter_14, "add_lora"),
    "adalora": partial(_of_chapter_14, "add_adalora"),
}


LEARNING_RATES: Final[dict[str, float]] = {
    "full": 5e-5, "head": 3e-2, "adapter": 1e-2, "prefix": 3e-2, "lora": 1e-2, "adalora": 3e-2,
}  # fmt: skip
"""What each method begins with when nobody says; for all but "full" the best of `course bench methods` on MiniLM."""


def prepare(model: Classifier, method: str) -> None:
    """Make the model ready to be fine-tuned by a method of `METHODS`: change it in place, freeze what stays.

    New parameters are drawn from torch's own stream of random numbers. Call it once for a model, before the
    optimiser is made, and before the weights of a model that was fine-tuned by the method are loaded into it.

    Raises ValueError for a name that is not in `METHODS`.
    """
    if method not in METHODS:
        raise ValueError(f"there is no method {method!r}; choose one of {', '.join(METHODS)}")
    METHODS[method](model)


def watch(model: nn.Module, method: str, optimizer: torch.optim.Optimizer, total: int, done: int) -> None:
    """Let the method take part in every step of the optimiser; only AdaLoRA, which has a budget to keep, does.

    `total` is the number of steps of the whole run, and `done` how many of them were taken before, in a run that is
    resumed. Call it once for an optimiser.
    """
    if method == "adalora":
        _of_chapter_14("watch", model, optimizer, total, done)


def trained_parameters(model: nn.Module) -> int:
    """How many numbers of the model are trained."""
    return sum(parameter.numel() for parameter in model.parameters() if parameter.requires_grad)
