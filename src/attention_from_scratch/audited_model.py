"""The model that chapter 16 audits: MiniLM with its upper layers fine-tuned on film reviews, and a second task for it.

Two tasks share an encoder. The first is chapter 13's, for the film or against it. The second tells what happens in a
film from what a critic says of it. Each task has a `Classifier` of its own around the one encoder.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Sequence

import torch
from torch import Tensor, nn

from attention_from_scratch.bert import BertEncoder
from attention_from_scratch.data import Review, film_plots, rotten_tomatoes, split_by_film, without_duplicates
from attention_from_scratch.fine_tuning import Batch, adamw_groups, collate, warmup_linear
from attention_from_scratch.finetune_model import Classifier
from attention_from_scratch.masks import MaskedMultiHeadAttention
from attention_from_scratch.minilm import load_minilm, token_ids

Text = tuple[str, int]
Example = tuple[list[int], int]
SHARES = (0.7, 0.1, 0.2)
SPLIT_SEED = 13  # chapter 13's cut: no film stands in two parts
MAX_LENGTH = 48
FROZEN = 4  # layers, counted from below: they and the embeddings stay as they were published
BATCH = 32


def review_texts(sizes: dict[str, int]) -> dict[str, list[Text]]:
    """Sentences about films, 1 for fresh and 0 for rotten: so many for each of train, validation and test."""
    return {
        name: random.Random(f"{SPLIT_SEED} {name}").sample(
            [(review.text, int(review.label == "fresh")) for review in part], sizes[name]
        )
        for name, part in _reviews_by_part().items()
        if name in sizes
    }


def plot_texts(sizes: dict[str, int]) -> dict[str, list[Text]]:
    """Sentences of which half are reviews, 1, and half the first sentences of plots, 0; no film stands in two parts."""
    reviews = _reviews_by_part()
    part_of = {review.film: name for name, part in reviews.items() for review in part}
    draw = random.Random(SPLIT_SEED)
    plots: dict[str, list[Text]] = {name: [] for name in reviews}
    for plot in film_plots():
        name = part_of.get(plot.film) or draw.choices(list(reviews), SHARES)[0]
        plots[name].append((plot.text.split(". ")[0], 0))
    texts = {}
    for name, size in sizes.items():
        mixed = draw.sample(plots[name], size // 2)
        mixed += [(review.text, 1) for review in draw.sample(reviews[name], size - size // 2)]
        texts[name] = draw.sample(mixed, size)
    return texts


def encoded(texts: Sequence[Text]) -> list[Example]:
    """The same with token ids for words."""
    return list(
        zip(token_ids([text for text, _ in texts], MAX_LENGTH), [label for _, label in texts], strict=True)
    )


def batches_of(examples: Sequence[Example], seed: int | None) -> list[Batch]:
    """Batches of texts of like length; with a seed they are shuffled, without one they come from short to long."""
    draw = random.Random(seed)
    mixed = draw.sample(list(examples), len(examples))
    ordered = sorted(mixed if seed is not None else examples, key=lambda example: len(example[0]))
    groups = [ordered[i : i + BATCH] for i in range(0, len(ordered), BATCH)]
    return [
        collate(group, padding=0)
        for group in (draw.sample(groups, len(groups)) if seed is not None else groups)
    ]


def upper_layers_of_minilm() -> BertEncoder:
    """MiniLM of which only the layers from `FROZEN` on are trained."""
    encoder = load_minilm(dropout=0.1)
    for part in (encoder.embeddings, *list(encoder.encoder.layers)[:FROZEN]):
        part.requires_grad_(False)
    return encoder


def attention_layers(model: nn.Module) -> list[MaskedMultiHeadAttention]:
    """The attention of every layer, from the first one up."""
    return [part for part in model.modules() if isinstance(part, MaskedMultiHeadAttention)]


def nothing() -> float:
    """What is added to the loss when nothing is."""
    return 0.0


def fit(
    model: Classifier,
    examples: Sequence[Example],
    epochs: int,
    rate: float,
    seed: int,
    extra: Callable[[], Tensor | float],
) -> list[float]:
    """Train on these examples as in chapter 13; `extra()` is added to the loss of each step. The loss of every step."""
    optimizer = torch.optim.AdamW(adamw_groups(model, weight_decay=0.01), lr=rate)
    steps = epochs * len(batches_of(examples, seed))
    scheduler = torch.optim.lr_scheduler.LambdaLR(
        optimizer, lambda step: warmup_linear(step, steps // 10, steps)
    )
    losses = []
    for epoch in range(epochs):
        for tokens, mask, labels in batches_of(examples, seed + 1000 * epoch):
            model.train()
            optimizer.zero_grad()
            loss = nn.functional.cross_entropy(model(tokens, mask), labels) + extra()
            loss.backward()
            nn.utils.clip_grad_norm_(model.parameters(), 1.0)
            optimizer.step()
            scheduler.step()
            losses.append(loss.item())
    return losses


@torch.no_grad()
def probabilities(model: Classifier, texts: Sequence[str]) -> Tensor:
    """The probability of each class for each text, (texts, classes), in evaluation mode."""
    model.eval()
    ids = token_ids(texts, MAX_LENGTH)
    order = sorted(range(len(ids)), key=lambda i: len(ids[i]))
    found = torch.empty(len(ids), model.head.out_features)
    for start in range(0, len(order), BATCH):
        chosen = order[start : start + BATCH]
        tokens, mask, _ = collate([(ids[i], 0) for i in chosen], padding=0)
        found[chosen] = model(tokens, mask).softmax(dim=-1)
    return found


def _reviews_by_part() -> dict[str, list[Review]]:
    parts = split_by_film(without_duplicates(rotten_tomatoes()), SHARES, SPLIT_SEED)
    return dict(zip(("train", "validation", "test"), parts, strict=True))
