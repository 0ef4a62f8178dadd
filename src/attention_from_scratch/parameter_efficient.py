"""Training a few numbers of a large model: adapters, prefixes, low-rank updates, and low-rank updates with a budget.

Every method here leaves the pretrained weights as they are and adds parameters of its own. A low-rank update of a
linear layer of shape (outputs, inputs) has `rank` columns and rows; `alpha / rank` is the factor it is multiplied by.
"""

from __future__ import annotations

import math

import torch
from jaxtyping import Bool, Float
from torch import Tensor, nn

from attention_from_scratch.encoder import activation_function
from attention_from_scratch.masks import MaskedMultiHeadAttention, masked_attention
from attention_from_scratch.multi_head import merge_heads, split_heads


class Adapter(nn.Module):
    """A small network beside the straight path: x + up(activation(down(x))), for every position on its own.

    `down` maps `width` to `bottleneck` numbers and `up` maps them back, both with biases. The weight and the bias of
    `up` start at zero, so a new adapter returns what it is given; `down` starts as `nn.Linear` does. `activation` is
    a name that `activation_function` of chapter 06 knows.

    Raises ValueError when `bottleneck` is below 1 or the activation is unknown.
    Source: Houlsby et al. 2019, section 2.1.
    """

    def __init__(self, width: int, bottleneck: int, activation: str) -> None:
        super().__init__()
        ### BEGIN SOLUTION
        if bottleneck < 1:
            raise ValueError(f"a bottleneck has at least one number, not {bottleneck}")
        self.down = nn.Linear(width, bottleneck)
        self.activation = activation_function(activation)
        self.up = nn.Linear(bottleneck, width)
        nn.init.zeros_(self.up.weight)
        nn.init.zeros_(self.up.bias)
        ### END SOLUTION

    def forward(self, x: Float[Tensor, "*batch width"]) -> Float[Tensor, "*batch width"]:
        """What came in, and what the small network makes of it, added."""
        ### BEGIN SOLUTION
        return x + self.up(self.activation(self.down(x)))
        ### END SOLUTION


class Adapted(nn.Module):
    """A part of a layer with an adapter behind it: `adapter(part(…))`."""

    def __init__(self, part: nn.Module, adapter: Adapter) -> None:
        super().__init__()
        self.part = part
        self.adapter = adapter

    def forward(self, *inputs: Tensor | None) -> Tensor:
        """What the part returns, adapted."""
        return self.adapter(self.part(*inputs))


class PrefixKV(nn.Module):
    """Learned keys and values that stand before those of the text, the same for every example.

    The parameters `keys` and `values` have the shape (length, width). They start as normal numbers with mean 0 and
    standard deviation `std`, and are cut into heads like any others: head 0 gets the first width / heads numbers.

    Raises ValueError when `heads` does not divide `width`.
    Source: Li and Liang 2021, without their network that makes the prefix while training; Liu et al. 2022,
    P-Tuning v2.
    """

    def __init__(self, length: int, width: int, heads: int, std: float) -> None:
        super().__init__()
        ### BEGIN SOLUTION
        if width % heads:
            raise ValueError(f"{heads} heads do not divide a width of {width}")
        self.heads = heads
        self.keys = nn.Parameter(std * torch.randn(length, width))
        self.values = nn.Parameter(std * torch.randn(length, width))
        ### END SOLUTION

    def forward(
        self,
        k: Float[Tensor, "batch heads keys dim"],
        v: Float[Tensor, "batch heads keys dim"],
        mask: Bool[Tensor, "queries keys"] | Bool[Tensor, "#batch #heads #queries keys"] | None,
    ) -> tuple[Float[Tensor, "batch heads all dim"], Float[Tensor, "batch heads all dim"], Tensor | None]:
        """Keys, values and mask with the prefix in front: all = length + keys.

        Every query may look at every position of the prefix; what the mask says of the other keys stays. A mask of
        None stays None.
        """
        ### BEGIN SOLUTION
        batch = len(k)
        keys = split_heads(self.keys[None], self.heads).expand(
            batch, -1, -1, -1
        )  # (batch, heads, length, dim)
        values = split_heads(self.values[None], self.heads).expand(batch, -1, -1, -1)  # the same shape
        if mask is not None:
            visible = mask.new_ones(*mask.shape[:-1], len(self.keys))  # (…, queries, length)
            mask = torch.cat([visible, mask], dim=-1)  # (…, queries, length + keys)
        return torch.cat([keys, k], dim=2), torch.cat([values, v], dim=2), mask
        ### END SOLUTION


class PrefixAttention(nn.Module):
    """A multi-head layer of chapter 04 that also looks at a prefix; its four projections are the old ones."""

    def __init__(self, attention: MaskedMultiHeadAttention, prefix: PrefixKV) -> None:
        super().__init__()
        self.attention = attention
        self.prefix = prefix

    def forward(
        self,
        queries: Float[Tensor, "batch queries width"],
        memory: Float[Tensor, "batch keys width"],
        mask: Bool[Tensor, "queries keys"] | Bool[Tensor, "#batch #heads #queries keys"] | None,
    ) -> Float[Tensor, "batch queries width"]:
        """For each query, what all heads read from the prefix and from the part of the memory that it may see."""
        old = self.attention
        q = split_heads(old.query(queries), old.heads)  # (batch, heads, queries, dim)
        k = split_heads(old.key(memory), old.heads)  # (batch, heads, keys, dim)
        v = split_heads(old.value(memory), old.heads)  # (batch, heads, keys, dim)
        return old.output(merge_heads(masked_attention(q, *self.prefix(k, v, mask))))


class LoRALinear(nn.Module):
    """A frozen linear layer and an update of low rank: base(x) + (alpha / rank) · B A x.

    `base` is the layer that is given, with a bias or without; its parameters get no gradients from now on. `A` has
    the shape (rank, inputs) and starts as the weight of an `nn.Linear` does (Kaiming-uniform with a = √5); `B` has
    the shape (outputs, rank) and starts at zero. Both have the dtype of the base's weight. In training, dropout with
    probability `dropout` acts on the x that goes into A, and on nothing else.

    Raises ValueError when `rank` is below 1.
    Source: Hu et al. 2022, section 4.1; A starts as in their code (in the paper, from normal numbers).
    """

    def __init__(self, base: nn.Linear, rank: int, alpha: float, dropout: float) -> None:
        super().__init__()
        ### BEGIN SOLUTION
        if rank < 1:
            raise ValueError(f"the rank of an update is at least 1, not {rank}")
        self.base = base.requires_grad_(False)
        self.A = nn.Parameter(base.weight.new_empty(rank, base.in_features))
        self.B = nn.Parameter(base.weight.new_zeros(base.out_features, rank))
        nn.init.kaiming_uniform_(self.A, a=math.sqrt(5))
        self.scale = alpha / rank
        self.dropout = nn.Dropout(dropout)
        self.merged = False
        ### END SOLUTION

    def forward(self, x: Float[Tensor, "*batch inputs"]) -> Float[Tensor, "*batch outputs"]:
        """The layer with its update; when merged, the base alone, which holds the update then."""
        ### BEGIN SOLUTION
        if self.merged:
            return self.base(x)
        return self.base(x) + self.scale * (self.dropout(x) @ self.A.T @ self.B.T)
        ### END SOLUTION

    def merge(self) -> None:
        """Add the update to the base's weight, so that one product does for two. Merged already: nothing happens."""
        ### BEGIN SOLUTION
        if not self.merged:
            with torch.no_grad():
                self.base.weight += self.scale * self.B @ self.A  # (outputs, inputs)
            self.merged = True
        ### END SOLUTION

    def unmerge(self) -> None:
        """Take the update out of the base's weight again, up to rounding. Not merged: nothing happens."""
        ### BEGIN SOLUTION
        if self.merged:
            with torch.no_grad():
                self.base.weight -= self.scale * self.B @ self.A  # (outputs, inputs)
            self.merged = False
        ### END SOLUTION


def adalora_budget(step: int, initial: int, final: int, warmup: int, cooldown: int, total: int) -> int:
    """How many directions all layers together may keep at a step.

    `initial` for the first `warmup` steps and `final` for the last `cooldown` of all `total` steps. Between the two,
    with u the share of the way that is left (1 at step `warmup`, 0 at step total − cooldown), it is final +
    (initial − final) · u³, rounded down.

    Raises ValueError when warm-up and cool-down leave no step between them, or final is larger than initial.
    Source: Zhang et al. 2023, section 3.3; u as in their code.
    """
    ### BEGIN SOLUTION
    way = total - warmup - cooldown
    if way < 1:
        raise ValueError(
            f"a warm-up of {warmup} and a cool-down of {cooldown} leave nothing of {total} steps"
        )
    if final > initial:
        raise ValueError(f"the budget shrinks: it cannot go from {initial} to {final}")
    left = min(max(total - cooldown - step, 0), way)
    return final + (initial - final) * left**3 // way**3  # whole numbers: nothing is lost to rounding
    ### END SOLUTION


class AdaLoRALinear(nn.Module):
    """A frozen linear layer and an update P Λ Q whose directions can be judged, and switched off, one by one.

    The layer computes base(x) + (alpha / rank) · P Λ Q x. `base` gets no gradients. `P` has the shape (outputs, rank),
    `Q` (rank, inputs); they start with orthonormal columns and rows (`nn.init.orthogonal_`). `Lambda` holds the
    diagonal of Λ, (rank,), and starts at zero. All have the dtype of the base's weight.

    Raises ValueError when `rank` is below 1 or above the smaller side of the base's weight.
    Source: Zhang et al. 2023, sections 3.1 and 3.2; they start P and Q from normal numbers.
    """

    def __init__(self, base: nn.Linear, rank: int, alpha: float) -> None:
        super().__init__()
        ### BEGIN SOLUTION
        if not 1 <= rank <= min(base.weight.shape):
            raise ValueError(f"a rank of {rank} does not fit a weight of shape {tuple(base.weight.shape)}")
        self.base = base.requires_grad_(False)
        self.P = nn.Parameter(nn.init.orthogonal_(base.weight.new_empty(base.out_features, rank)))
        self.Q = nn.Parameter(nn.init.orthogonal_(base.weight.new_empty(rank, base.in_features)))
        self.Lambda = nn.Parameter(base.weight.new_zeros(rank))
        self.scale = alpha / rank
        for name, parameter in list(self.named_parameters(recurse=False)):  # P, Q, Lambda: not the base's
            self.register_buffer(f"S_{name}", torch.zeros_like(parameter))
            self.register_buffer(f"U_{name}", torch.zeros_like(parameter))
        ### END SOLUTION

    def forward(self, x: Float[Tensor, "*batch inputs"]) -> Float[Tensor, "*batch outputs"]:
        """The layer with its update."""
        ### BEGIN SOLUTION
        return self.base(x) + self.scale * (x @ self.Q.T * self.Lambda @ self.P.T)
        ### END SOLUTION

    def orthogonality(self) -> Float[Tensor, ""]:
        """How far the columns of P and the rows of Q are from orthonormal: ‖PᵀP − I‖² + ‖QQᵀ − I‖², sums of squares."""
        ### BEGIN SOLUTION
        identity = torch.eye(len(self.Lambda), dtype=self.P.dtype, device=self.P.device)
        return (self.P.T @ self.P - identity).square().sum() + (self.Q @ self.Q.T - identity).square().sum()
        ### END SOLUTION

    @torch.no_grad()
    def update_importance(self, beta1: float, beta2: float) -> None:
        """Take in what the gradients of one step say; call it after `backward`, while the gradients are there.

        For every number w of P, Λ and Q, with now = |w · gradient|, the running sensitivity S and uncertainty U, both
        0 at first: S becomes beta1 · S + (1 − beta1) · now, and then U becomes beta2 · U + (1 − beta2) · |now − S|.

        Raises RuntimeError when there are no gradients.
        """
        ### BEGIN SOLUTION
        for name, weight in self.named_parameters(recurse=False):
            if weight.grad is None:
                raise RuntimeError(f"{name} has no gradient: call backward before update_importance")
            now = (weight * weight.grad).abs()
            sensitivity, uncertainty = self.get_buffer(f"S_{name}"), self.get_buffer(f"U_{name}")
            sensitivity.mul_(beta1).add_((1 - beta1) * now)
            uncertainty.mul_(beta2).add_((1 - beta2) * (now - sensitivity).abs())
        ### END SOLUTION

    def importance(self) -> Float[Tensor, " rank"]:
        """The importance of each direction: S·U of its Λ, plus the mean S·U of its column of P and of its row of Q."""
        ### BEGIN SOLUTION
        P, Lambda, Q = (
            self.get_buffer(f"S_{name}") * self.get_buffer(f"U_{name}") for name in ("P", "Lambda", "Q")
        )
        return Lambda + P.mean(dim=0) + Q.mean(dim=1)  # (rank,): P has a column for each direction, Q a row
        ### END SOLUTION

    def prune(self, keep: Bool[Tensor, " rank"]) -> None:
        """Set Λ to zero in the directions that are not kept, in place: an optimiser holds this parameter.

        P and Q stay, so that a direction may come back.
        """
        ### BEGIN SOLUTION
        with torch.no_grad():
            self.Lambda.masked_fill_(~keep, 0.0)
        ### END SOLUTION


def allocate(scores: list[Float[Tensor, " rank"]], budget: int) -> list[Bool[Tensor, " rank"]]:
    """Which directions of which layers are kept: the `budget` highest scores of all layers together."""
    together = torch.cat(scores)
    keep = torch.zeros(len(together), dtype=torch.bool, device=together.device)
    keep[together.topk(min(budget, len(together))).indices] = True
    return list(keep.split([len(one) for one in scores]))
