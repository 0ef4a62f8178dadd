"""The encoder of a transformer: attention and a feed-forward network, residual paths, layer norms, a stack of them.

Everything here keeps the shape (batch, length, width). `hidden` is the width inside the feed-forward network. A mask
is boolean, True where a query may look at a key, and reaches every layer.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

import torch
from jaxtyping import Bool, Float
from torch import Tensor, nn

from attention_from_scratch.masks import MaskedMultiHeadAttention


def layer_norm(
    x: Float[Tensor, "*batch width"],
    weight: Float[Tensor, " width"],
    bias: Float[Tensor, " width"],
    eps: float,
) -> Float[Tensor, "*batch width"]:
    """Bring the numbers of every position to mean 0 and variance 1, then scale and shift each feature.

    The mean and the variance are those of the last axis alone, one pair for each position. The variance is the mean
    of the squared distances (divided by the width, not by the width less one); `eps` is added to it under the root.

    Source: Ba et al. 2016, equation 4.
    """
    ### BEGIN SOLUTION
    centred = x - x.mean(dim=-1, keepdim=True)
    variance = centred.square().mean(dim=-1, keepdim=True)
    return weight * centred / torch.sqrt(variance + eps) + bias
    ### END SOLUTION


class LayerNorm(nn.Module):
    """`layer_norm` with a learned scale and shift, which start at 1 and 0."""

    def __init__(self, width: int, eps: float) -> None:
        super().__init__()
        self.eps = eps
        self.weight = nn.Parameter(torch.ones(width))
        self.bias = nn.Parameter(torch.zeros(width))

    def forward(self, x: Float[Tensor, "*batch width"]) -> Float[Tensor, "*batch width"]:
        """Normalise every position on its own."""
        return layer_norm(x, self.weight, self.bias, self.eps)


def activation_function(name: str) -> Callable[[Tensor], Tensor]:
    """The nonlinearity called `name`: relu, gelu (exact, by the error function), or gelu_tanh, which is close to it.

    Raises ValueError for another name.
    Source: Hendrycks and Gimpel 2016 for the two GELUs.
    """
    functions: dict[str, Callable[[Tensor], Tensor]] = {
        "relu": torch.relu,
        "gelu": nn.functional.gelu,
        "gelu_tanh": partial(nn.functional.gelu, approximate="tanh"),
    }
    if name not in functions:
        raise ValueError(f"there is no activation {name!r}; choose one of {', '.join(functions)}")
    return functions[name]


class FeedForward(nn.Module):
    """Two linear layers with a nonlinearity between them, the same for every position.

    `expand` maps `width` to `hidden` numbers and `contract` maps them back, both with biases. The activation stands
    between them, and dropout with probability `dropout` acts on its result, before `contract`.

    Raises ValueError when `activation` is no name that `activation_function` knows.
    Source: Vaswani et al. 2017, section 3.3.
    """

    def __init__(self, width: int, hidden: int, dropout: float, activation: str) -> None:
        super().__init__()
        ### BEGIN SOLUTION
        self.expand = nn.Linear(width, hidden)
        self.contract = nn.Linear(hidden, width)
        self.activation = activation_function(activation)
        self.dropout = nn.Dropout(dropout)
        ### END SOLUTION

    def forward(self, x: Float[Tensor, "*batch width"]) -> Float[Tensor, "*batch width"]:
        """What the network makes of each position by itself."""
        ### BEGIN SOLUTION
        return self.contract(self.dropout(self.activation(self.expand(x))))
        ### END SOLUTION


class EncoderLayer(nn.Module):
    """One layer of an encoder: self-attention, then the feed-forward network, each added to the residual path.

    Its parts are `attention` (a `MaskedMultiHeadAttention`), `feed_forward`, and the norms `attention_norm` and
    `feed_forward_norm`. With f one of the two parts, and dropout acting on what f returns, the layer computes

        norm="post":  x = norm(x + f(x))     (Vaswani et al. 2017, BERT)
        norm="pre":   x = x + f(norm(x))     (most models since)

    The feed-forward network has the same `dropout` inside.

    Raises ValueError when `norm` is another word, or when `heads` does not divide `width`.
    Source: Vaswani et al. 2017, section 3.1; Xiong et al. 2020 for the comparison of the two.
    """

    def __init__(
        self, width: int, heads: int, hidden: int, dropout: float, eps: float, activation: str, norm: str
    ) -> None:
        super().__init__()
        ### BEGIN SOLUTION
        if norm not in ("pre", "post"):
            raise ValueError(f'norm is "pre" or "post", not {norm!r}')
        self.norm = norm
        self.attention = MaskedMultiHeadAttention(width, heads)
        self.feed_forward = FeedForward(width, hidden, dropout, activation)
        self.attention_norm = LayerNorm(width, eps)
        self.feed_forward_norm = LayerNorm(width, eps)
        self.dropout = nn.Dropout(dropout)
        ### END SOLUTION

    def forward(
        self,
        x: Float[Tensor, "batch length width"],
        mask: Bool[Tensor, "length length"] | Bool[Tensor, "#batch #heads #length length"] | None,
    ) -> Float[Tensor, "batch length width"]:
        """Let every position read from those that the mask allows (None: from all), and think it over."""
        ### BEGIN SOLUTION
        if self.norm == "pre":
            normed = self.attention_norm(x)
            x = x + self.dropout(self.attention(normed, normed, mask))
            return x + self.dropout(self.feed_forward(self.feed_forward_norm(x)))
        x = self.attention_norm(x + self.dropout(self.attention(x, x, mask)))
        return self.feed_forward_norm(x + self.dropout(self.feed_forward(x)))
        ### END SOLUTION


class Encoder(nn.Module):
    """A stack of encoder layers, each with parameters of its own.

    `layers` is an `nn.ModuleList`. With norm="pre" nothing has normed the residual path when it leaves the last
    layer, so `final_norm` does; with norm="post" the last layer ends in a norm, and `final_norm` is `nn.Identity()`.

    Raises ValueError like `EncoderLayer`.
    Source: Vaswani et al. 2017, section 3.1; Xiong et al. 2020 for the final norm.
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
        ### BEGIN SOLUTION
        self.layers = nn.ModuleList(
            EncoderLayer(width, heads, hidden, dropout, eps, activation, norm) for _ in range(layers)
        )
        self.final_norm = LayerNorm(width, eps) if norm == "pre" else nn.Identity()
        ### END SOLUTION

    def forward(
        self,
        x: Float[Tensor, "batch length width"],
        mask: Bool[Tensor, "length length"] | Bool[Tensor, "#batch #heads #length length"] | None,
    ) -> Float[Tensor, "batch length width"]:
        """Send x through all layers under one mask; True where a query may look at a key, None for no mask."""
        ### BEGIN SOLUTION
        for layer in self.layers:
            x = layer(x, mask)
        return self.final_norm(x)
        ### END SOLUTION


def parameter_count(layers: int, width: int, hidden: int, norm: str) -> int:
    """How many numbers an `Encoder` of this size learns, by a formula: no layer is built.

    The number of heads is no argument: heads cut what is there.
    """
    ### BEGIN SOLUTION
    attention = 4 * (width * width + width)
    feed_forward = (width * hidden + hidden) + (hidden * width + width)
    layer_norm_each = 2 * width
    final = layer_norm_each if norm == "pre" else 0
    return layers * (attention + feed_forward + 2 * layer_norm_each) + final
    ### END SOLUTION
