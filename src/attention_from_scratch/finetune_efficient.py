"""Chapter 14's methods on a classifier: where adapters, prefixes and low-rank updates go, and AdaLoRA's budget.

The sizes are chosen so that each of them trains about 74,000 numbers of MiniLM (AdaLoRA: keeps so many at the end).
`finetune_methods` brings this module in when one of these methods is asked for.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from typing import Final

import torch
from torch import nn

from attention_from_scratch.encoder import EncoderLayer
from attention_from_scratch.finetune_model import Classifier
from attention_from_scratch.parameter_efficient import (
    AdaLoRALinear,
    Adapted,
    Adapter,
    LoRALinear,
    PrefixAttention,
    PrefixKV,
    adalora_budget,
    allocate,
)

BOTTLENECK: Final = 8  # of the adapters
PREFIX: Final = 16  # positions
PREFIX_STD: Final = 0.02
RANK, ALPHA, DROPOUT = 8, 16.0, 0.1  # of LoRA
FIRST_RANK, LAST_RANK = (
    12,
    8,
)  # of AdaLoRA: directions of a layer at the start, and left at the end in the mean
# Λ starts at 0 and each of its numbers moves by one learning rate a step: a larger alpha makes up for few steps.
ADALORA_ALPHA: Final = 192.0
ORTHOGONALITY: Final = 0.1  # the factor of the penalty, γ of the paper
BETAS: Final = (0.85, 0.85)


def _frozen_layers(model: Classifier) -> Iterator[EncoderLayer]:
    """Freeze everything but the head, and go through the layers of the encoder."""
    model.requires_grad_(False)
    model.head.requires_grad_(True)
    for layer in model.encoder.encoder.layers:
        assert isinstance(layer, EncoderLayer)
        yield layer


def add_adapters(model: Classifier) -> None:
    """Put an adapter behind the attention and the feed-forward network of every layer."""
    for layer in _frozen_layers(model):
        for name in ("attention", "feed_forward"):
            adapter = Adapter(model.head.in_features, BOTTLENECK, "gelu")
            setattr(layer, name, Adapted(getattr(layer, name), adapter))


def add_prefixes(model: Classifier) -> None:
    """Give every layer keys and values that stand before those of the text."""
    for layer in _frozen_layers(model):
        prefix = PrefixKV(PREFIX, model.head.in_features, layer.attention.heads, PREFIX_STD)
        setattr(layer, "attention", PrefixAttention(layer.attention, prefix))  # noqa: B010  # it has another type


def add_lora(model: Classifier) -> None:
    """Give the query and value projections of every layer an update of low rank."""
    for layer in _frozen_layers(model):
        for name in ("query", "value"):
            base = getattr(layer.attention, name)
            setattr(layer.attention, name, LoRALinear(base, RANK, ALPHA, DROPOUT))


def add_adalora(model: Classifier) -> None:
    """Give the query and value projections of every layer an update whose directions compete for a budget."""
    for layer in _frozen_layers(model):
        for name in ("query", "value"):
            base = getattr(layer.attention, name)
            setattr(
                layer.attention, name, AdaLoRALinear(base, min(FIRST_RANK, *base.weight.shape), ADALORA_ALPHA)
            )


def watch(model: nn.Module, optimizer: torch.optim.Optimizer, total: int, done: int) -> None:
    """Let AdaLoRA take part in every step of the optimiser; for a model of another method nothing happens.

    Before a step the gradient of the orthogonality penalty is added; after it the importance is updated and, with
    the budget of that step, the least important directions are switched off. As in the authors' code, importance
    is that of the weights after the step. `total` is the number of steps of the whole run and `done` how many were
    taken before (in a run that is resumed; what importance has seen is part of the model's state).
    """
    layers = [module for module in model.modules() if isinstance(module, AdaLoRALinear)]
    if not layers:
        return
    steps = itertools.count(done + 1)
    optimizer.register_step_pre_hook(lambda *_: _add_penalty(layers))
    optimizer.register_step_post_hook(lambda *_: _spend(layers, next(steps), total))


def _add_penalty(layers: list[AdaLoRALinear]) -> None:
    parameters = [parameter for layer in layers for parameter in (layer.P, layer.Q)]
    with torch.enable_grad():
        penalty = ORTHOGONALITY * torch.stack([layer.orthogonality() for layer in layers]).sum()
        gradients = torch.autograd.grad(penalty, parameters)
    for parameter, gradient in zip(parameters, gradients, strict=True):
        parameter.grad = gradient if parameter.grad is None else parameter.grad + gradient


def _spend(layers: list[AdaLoRALinear], step: int, total: int) -> None:
    """Warm-up for a fifth of the steps, shrink over half of them, train on what is left for the rest."""
    warmup, cooldown, interval = total // 5, 3 * total // 10, max(1, total // 50)
    if step <= total - cooldown:
        for layer in layers:
            layer.update_importance(*BETAS)
    if step % interval == 0 or step >= total - cooldown:
        initial = sum(len(layer.Lambda) for layer in layers)
        budget = adalora_budget(step, initial, min(initial, LAST_RANK * len(layers)), warmup, cooldown, total)
        for layer, keep in zip(
            layers, allocate([layer.importance() for layer in layers], budget), strict=True
        ):
            layer.prune(keep)
