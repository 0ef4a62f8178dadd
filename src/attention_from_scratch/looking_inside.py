"""Looking inside: what a model looks at, what it needs, what its answer is made of, and how far to trust it.

Axes: layers, batch, heads, length (of a text in tokens). A mask of tokens is True where a real token stands and False
on padding. Scores lie between 0 and 1, more is better. Every interval is `seed_interval`'s: Student's t, 95 %.
"""

import math
from collections.abc import Callable, Collection, Sequence
from statistics import fmean
from typing import Any, TypeVar

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor, nn

from attention_from_scratch.audit_tools import effect_of_each_word, rank_agreement, score_answers
from attention_from_scratch.audited_model import attention_layers
from attention_from_scratch.bert import BertEncoder
from attention_from_scratch.finetune_model import Classifier
from attention_from_scratch.finetune_report import seed_interval
from attention_from_scratch.masks import MaskedMultiHeadAttention, masked_softmax
from attention_from_scratch.multi_head import split_heads
from attention_from_scratch.pretrained_encoder import hidden_states, mean_pool

Batch = tuple[Int[Tensor, "batch length"], Bool[Tensor, "batch length"], Int[Tensor, " batch"]]
Outcome = TypeVar("Outcome")


@torch.no_grad()
def attention_maps(
    model: BertEncoder, tokens: Int[Tensor, "batch length"], mask: Bool[Tensor, "batch length"]
) -> Float[Tensor, "layers batch heads length length"]:
    """Where every head of every layer looks: row i of a map holds the weights that query i gives to all keys."""
    maps = []
    for part, x in zip(attention_layers(model), hidden_states(model, tokens, mask)[:-1], strict=True):
        q = split_heads(part.query(x), part.heads)  # (batch, heads, length, dim)
        k = split_heads(part.key(x), part.heads)  # (batch, heads, length, dim)
        scores = q @ k.transpose(-2, -1) / math.sqrt(q.shape[-1])  # (batch, heads, length, length)
        maps.append(masked_softmax(scores, mask[:, None, None, :]))
    return torch.stack(maps)


def attention_rollout(
    maps: Float[Tensor, "layers batch heads length length"], mask: Bool[Tensor, "batch length"]
) -> Float[Tensor, "layers batch length length"]:
    """Follow attention down to the input: entry [l, b, i, j] is how much of input j position i holds after layer l.

    In each layer the maps of all heads are averaged. Whatever they give to padding is taken away, and each row is
    divided by what is left of it, so that it sums to 1. Half of a position's new vector is what attention brings, the
    other half is the position itself, on the residual path. The layers are chained from the first one up. Rows and
    columns of padding are 0, so each row of a real token sums to 1. `maps` stays as it is.

    Source: Abnar and Zuidema 2020, section 3; the rule for padding is ours.
    """
    ### BEGIN SOLUTION
    real = mask[:, :, None] & mask[:, None, :]  # (batch, length, length)
    mean = torch.where(real, maps.mean(dim=2), 0.0)  # (layers, batch, length, length)
    mean = mean / mean.sum(dim=-1, keepdim=True).clamp(min=torch.finfo(maps.dtype).tiny)
    itself = torch.diag_embed(mask.to(maps.dtype))  # (batch, length, length)
    held, after_each = itself, []
    for layer in mean:
        held = (0.5 * layer + 0.5 * itself) @ held
        after_each.append(held)
    return torch.stack(after_each)
    ### END SOLUTION


def ablate_heads(
    layers: Sequence[MaskedMultiHeadAttention],
    silent: Collection[tuple[int, int]],
    measure: Callable[[], Outcome],
) -> Outcome:
    """What `measure()` says while some heads are silent.

    `silent` holds pairs (number of the layer, number of the head), both counted from 0. What a silent head hands to
    its layer's `output` is zero at every position; the other heads and the bias of `output` work as before. Of the
    weights of `output`, which map the merged heads to the width, head h reads the slice h·dim … (h+1)·dim.
    `measure` is called once, without arguments. Afterwards the layers are as they were, to the bit, also when
    `measure` raises an error.

    Raises ValueError for a layer or a head that does not exist, before anything is measured.
    Source: Michel et al. 2019, section 3.
    """
    ### BEGIN SOLUTION
    for layer, head in silent:
        if not (0 <= layer < len(layers) and 0 <= head < layers[layer].heads):
            raise ValueError(f"there is no head {head} in layer {layer}")
    kept = [part.output.weight.detach().clone() for part in layers]
    try:
        with torch.no_grad():
            for layer, head in silent:
                weight = layers[layer].output.weight  # (width, heads · dim)
                dim = weight.shape[1] // layers[layer].heads
                weight[:, head * dim : (head + 1) * dim] = 0.0
        return measure()
    finally:
        with torch.no_grad():
            for part, weight in zip(layers, kept, strict=True):
                part.output.weight.copy_(weight)
    ### END SOLUTION


def integrated_gradients(
    score: Callable[[Float[Tensor, "points *shape"]], Float[Tensor, " points"]],
    x: Float[Tensor, "*shape"],
    baseline: Float[Tensor, "*shape"],
    steps: int,
) -> Float[Tensor, "*shape"]:
    """Share the difference score(x) − score(baseline) out among the numbers of x.

    Each number gets (x − baseline) times the mean gradient of the score on the straight way from the baseline to x.
    The way is cut into `steps` equal pieces, and the gradient is taken in the middle of each. `score` gives one number
    for each of several points at once. The sum of all shares is the difference itself, up to the error of the cut.
    The result carries no graph, no parameter gets a gradient, and `x` and `baseline` stay as they are.

    Raises ValueError when `steps` is below 1 or the two shapes differ.
    Source: Sundararajan, Taly and Yan 2017, section 3; completeness is their proposition 1.
    """
    ### BEGIN SOLUTION
    if steps < 1 or x.shape != baseline.shape:
        raise ValueError(f"{steps} steps from {tuple(baseline.shape)} to {tuple(x.shape)} make no way")
    shares = (torch.arange(steps, dtype=x.dtype) + 0.5) / steps  # (steps,): 1/2n, 3/2n, …
    shares = shares.reshape(-1, *[1] * x.ndim)  # (steps, 1, …, 1)
    points = (baseline + shares * (x - baseline)).detach().requires_grad_()  # (steps, *shape)
    (gradient,) = torch.autograd.grad(score(points).sum(), points)
    return ((x - baseline) * gradient.mean(dim=0)).detach()
    ### END SOLUTION


def attributions(
    model: Classifier, ids: list[int], baseline_id: int, steps: int
) -> dict[str, Float[Tensor, " words"]]:
    """How much each token between [CLS] and [SEP] matters, by four accounts that need not agree.

    "deleting"   how far the probability of the answer moves when the token is left out: the account that acts
    "attention"  what it gets from all queries and heads of the last layer
    "rollout"    how much of it all positions hold after the last layer
    "gradients"  the size of its integrated gradients, from a text of nothing but `baseline_id` in its place
    """
    model.eval()
    tokens, mask = torch.tensor([ids]), torch.ones(1, len(ids), dtype=torch.bool)
    maps = attention_maps(model.encoder, tokens, mask)
    blank = torch.tensor([[ids[0], *[baseline_id] * (len(ids) - 2), ids[-1]]])
    with torch.no_grad():
        x, baseline = (model.encoder.embeddings(some)[0] for some in (tokens, blank))  # (length, width)
        answer = int(model(tokens, mask).argmax())

    def log_odds(points: Float[Tensor, "points length width"]) -> Float[Tensor, " points"]:
        seen = mask.expand(len(points), -1)  # (points, length)
        hidden = model.encoder.encoder(points, seen[:, None, None, :])
        return model.head(mean_pool(hidden, seen)).log_softmax(dim=-1)[:, answer]

    return {
        "deleting": effect_of_each_word(model, ids, answer).abs(),
        "attention": maps[-1, 0].mean(dim=(0, 1))[1:-1],
        "rollout": attention_rollout(maps, mask)[-1, 0].mean(dim=0)[1:-1],
        "gradients": integrated_gradients(log_odds, x, baseline, steps).sum(dim=-1).abs()[1:-1],
    }


def agreement(accounts: Sequence[dict[str, Float[Tensor, " words"]]]) -> dict[str, dict[str, Any]]:
    """How well each account orders the words as deleting them does: Kendall's τ, an interval over the texts."""
    return {
        name: seed_interval([rank_agreement(one[name], one["deleting"]) for one in accounts])
        for name in ("attention", "rollout", "gradients")
    }


def robust_accuracy(
    predict: Callable[[list[str]], list[int]],
    texts: Sequence[str],
    labels: Sequence[int],
    classes: int,
    disturb: Callable[[str, int], str],
    seeds: Sequence[int],
) -> dict[str, dict[str, Any]]:
    """How good the answers are on the texts as they are, and on disturbed ones, over several seeds of the noise.

    `predict` gives the number of a class for each of several texts. `disturb(text, seed)` is the text with noise. For
    each seed all the texts are disturbed anew, from the original, predicted and scored. Returns

        {"accuracy": {"clean": …, "mean": …, "low": …, "high": …, "values": […]}, "macro_f1": {the same keys}}

    with the score of the texts as they are, and `seed_interval` of the scores under noise, one value a seed. The texts
    and labels stay as they are.

    Raises ValueError when there is no seed, no text, or not one label for each text.
    """
    ### BEGIN SOLUTION
    if not seeds or not texts or len(texts) != len(labels):
        raise ValueError(f"{len(texts)} texts, {len(labels)} labels and {len(seeds)} seeds measure nothing")
    clean = score_answers(predict(list(texts)), labels, classes)
    noisy = [
        score_answers(predict([disturb(text, seed) for text in texts]), labels, classes) for seed in seeds
    ]
    return {
        name: {"clean": clean[name]} | seed_interval([scores[name] for scores in noisy]) for name in clean
    }
    ### END SOLUTION


def counterfactual_gap(
    score: Callable[[list[str]], list[float]],
    templates: Sequence[str],
    first: Sequence[str],
    second: Sequence[str],
) -> dict[str, Any]:
    """How much a score depends on who is named, when nothing else in the text differs.

    A template holds the place "{name}" at least once; every such place is filled with the same word. The difference of
    a template is the mean score over the words of `first` minus the mean over those of `second`. Returns
    `seed_interval` of the differences, one value a template in order, together with

        "size"   the mean of their absolute values: differences of both signs do not cancel in it
        "worst"  the template whose difference is the largest in absolute value, the first of equals

    Raises ValueError when there are no templates, no words in a group, or a template has no place for a name.
    Source: Kiritchenko and Mohammad 2018 for the templates; Garg et al. 2019 for the gap.
    """
    ### BEGIN SOLUTION
    if not templates or not first or not second:
        raise ValueError("there must be templates, and words in both groups")
    if lacking := [template for template in templates if "{name}" not in template]:
        raise ValueError(f"no place for a name, {{name}}, in {lacking[0]!r}")

    def mean_score(template: str, names: Sequence[str]) -> float:
        return fmean(score([template.replace("{name}", name) for name in names]))

    differences = [mean_score(t, first) - mean_score(t, second) for t in templates]
    sizes = [abs(difference) for difference in differences]
    worst = templates[sizes.index(max(sizes))]
    return seed_interval(differences) | {"size": fmean(sizes), "worst": worst}
    ### END SOLUTION


def forgetting(scores: Float[Tensor, "seeds tasks tasks"]) -> dict[str, Any]:
    """How much is lost of earlier tasks by learning later ones, over several seeds.

    scores[s, i, j] is how well the model of seed s does task j after it was trained on task i; the tasks were trained
    in the order 0, 1, …. What is lost of a task is the best score that it had at any time before the last training,
    minus its score after it: negative when the last training helped. The last task has had no time to be forgotten and
    does not count. A seed's forgetting is the mean over the others. Returns `seed_interval` of it, one value a seed.

    Raises ValueError when there are fewer than two tasks.
    Source: Chaudhry et al. 2018, section 3.2.
    """
    ### BEGIN SOLUTION
    if scores.shape[-1] < 2:
        raise ValueError("one task alone is not forgotten: scores of at least two tasks are needed")
    best = scores[:, :-1, :-1].amax(dim=1)  # (seeds, tasks − 1)
    lost = best - scores[:, -1, :-1]  # (seeds, tasks − 1)
    return seed_interval(lost.mean(dim=-1).tolist())
    ### END SOLUTION


class EWC:
    """Elastic weight consolidation: remember where a model stood, and which of its numbers mattered there.

    Made after the training on a task, with examples of that task. Both dictionaries hold an entry for each parameter
    that is trained (`requires_grad`), by name:

        anchor  its value at this moment, whatever becomes of the model later
        fisher  the diagonal of the Fisher information: the mean over all examples of E[(∂ log p(y | example) / ∂θ)²],
                where y is drawn from the model's own answer p; it has the parameter's shape

    So each example and each class has a gradient of its own, squared by itself, and counts with the probability that
    the model gives to the class. The labels of the batches are not looked at. A parameter that plays no part gets 0.
    The model answers in evaluation mode and is left in the mode and with the gradients with which it came.

    Source: Kirkpatrick et al. 2017, section 2; Kunstner et al. 2019 on why not the labels of the data.
    """

    def __init__(self, model: nn.Module, batches: Sequence[Batch], strength: float) -> None:
        ### BEGIN SOLUTION
        self.strength = strength
        trained = {name: p for name, p in model.named_parameters() if p.requires_grad}
        self.anchor = {name: p.detach().clone() for name, p in trained.items()}
        self.fisher = {name: torch.zeros_like(value) for name, value in self.anchor.items()}
        was_training = model.training
        model.eval()
        examples = sum(len(tokens) for tokens, _, _ in batches)
        for tokens, mask, _ in batches:
            for one in range(len(tokens)):
                logits = model(tokens[one : one + 1], mask[one : one + 1])  # (1, classes)
                for log_p in logits.log_softmax(dim=-1)[0]:
                    found = torch.autograd.grad(
                        log_p, list(trained.values()), retain_graph=True, allow_unused=True
                    )
                    for name, gradient in zip(trained, found, strict=True):
                        if gradient is not None:
                            self.fisher[name] += log_p.detach().exp() * gradient**2 / examples
        model.train(was_training)
        ### END SOLUTION

    def penalty(self, model: nn.Module) -> Float[Tensor, ""]:
        """strength / 2 · Σ fisher · (θ − anchor)² over all numbers θ of the model: to be added to the loss.

        Its gradient reaches the parameters of `model`, and nothing else.
        """
        ### BEGIN SOLUTION
        now = dict(model.named_parameters())
        parts = [(self.fisher[name] * (now[name] - at) ** 2).sum() for name, at in self.anchor.items()]
        return self.strength / 2 * torch.stack(parts).sum()
        ### END SOLUTION
