"""Chapter 02: scaled dot-product attention for many queries at once, forward and backward, in NumPy.

`scores` compares every query with every key, `score_variance` measures why the scores must be scaled,
`scaled_dot_product_attention` is the forward pass and `attention_backward` its gradient, written by hand.
`entropy` and `numerical_gradient` are the two measuring instruments that the chapter needs. Nothing here needs torch.
"""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np
from jaxtyping import Float

__all__ = [
    "attention_backward",
    "entropy",
    "numerical_gradient",
    "scaled_dot_product_attention",
    "score_variance",
    "scores",
]


def entropy(weights: Float[np.ndarray, "*rows m"]) -> Float[np.ndarray, "*rows"]:
    """How spread out each row of weights is, in nats: 0 for all the weight on one key, log(m) for equal shares."""
    logarithms = np.log(np.where(weights > 0, weights, 1.0))  # 0 · log 0 counts as 0, its limit
    return np.abs(np.sum(weights * logarithms, axis=-1))  # (*rows m) -> (*rows)


def score_variance(d: int, trials: int, rng: np.random.Generator) -> float:
    """Measure the variance of the dot product of two vectors of `d` independent standard normal numbers.

    Every trial draws a query and a key of its own from `rng` and takes their dot product, without any scaling.
    The result is the variance of those `trials` numbers: the measurement itself, with its noise, and not a formula.

    Source: the claim is footnote 4 of Vaswani et al. 2017.
    """
    ### BEGIN SOLUTION
    queries = rng.standard_normal((trials, d))
    keys = rng.standard_normal((trials, d))
    products = np.sum(queries * keys, axis=1)  # (trials d) -> (trials): one dot product a trial
    return float(products.var())
    ### END SOLUTION


def scores(Q: Float[np.ndarray, "n d"], K: Float[np.ndarray, "m d"]) -> Float[np.ndarray, "n m"]:
    """Compare every query (a row of `Q`) with every key (a row of `K`), on a scale that does not depend on d.

    Entry (i, j) is the dot product of Q[i] and K[j], divided by the square root of d. The result has the dtype of
    the inputs, and the inputs are left as they are.

    Source: Vaswani et al. 2017, section 3.2.1.
    """
    ### BEGIN SOLUTION
    return Q @ K.T / math.sqrt(Q.shape[-1])  # (n d) @ (d m) -> (n m)
    ### END SOLUTION


def scaled_dot_product_attention(
    Q: Float[np.ndarray, "n d"], K: Float[np.ndarray, "m d"], V: Float[np.ndarray, "m dv"]
) -> tuple[Float[np.ndarray, "n dv"], Float[np.ndarray, "n m"]]:
    """Let every query look up its own blend of the rows of `V`; return `(out, weights)`.

    Row i of `weights` is the softmax of row i of the scaled scores: how query i shares its attention among the m
    keys. Row i of `out` is the blend of the rows of `V` with those weights. Scores of any size are fine, also where
    one row of scores lies far above another. The results have the dtype of the inputs, which are left as they are.

    Source: Vaswani et al. 2017, equation 1.
    """
    ### BEGIN SOLUTION
    S = scores(Q, K)
    exponentials = np.exp(S - S.max(axis=1, keepdims=True))
    weights = exponentials / exponentials.sum(axis=1, keepdims=True)
    return weights @ V, weights  # (n m) @ (m dv) -> (n dv)
    ### END SOLUTION


def attention_backward(
    dO: Float[np.ndarray, "n dv"],
    Q: Float[np.ndarray, "n d"],
    K: Float[np.ndarray, "m d"],
    V: Float[np.ndarray, "m dv"],
) -> tuple[Float[np.ndarray, "n d"], Float[np.ndarray, "m d"], Float[np.ndarray, "m dv"]]:
    """Carry a gradient back through scaled dot-product attention; return `(dQ, dK, dV)`.

    `dO` is the derivative of a loss (one number) by every entry of `out`. The results are the derivatives of the
    same loss by every entry of `Q`, `K` and `V`, and have their shapes. They have the dtype of the inputs, which are
    left as they are.

    Source: worked out by hand in chapter 02 of this course.
    """
    ### BEGIN SOLUTION
    _, A = scaled_dot_product_attention(Q, K, V)
    dV = A.T @ dO  # (m n) @ (n dv) -> (m dv)
    dA = dO @ V.T  # (n dv) @ (dv m) -> (n m)
    dS = A * (dA - np.sum(A * dA, axis=1, keepdims=True))  # the softmax Jacobian of every row, applied
    scale = 1 / math.sqrt(Q.shape[-1])
    dQ = scale * (dS @ K)  # (n m) @ (m d) -> (n d)
    dK = scale * (dS.T @ Q)  # (m n) @ (n d) -> (m d)
    return dQ, dK, dV
    ### END SOLUTION


def numerical_gradient(
    loss: Callable[[Float[np.ndarray, "*shape"]], float], X: Float[np.ndarray, "*shape"], step: float
) -> Float[np.ndarray, "*shape"]:
    """Measure the derivative of `loss(X)` by every entry of `X`: nudge it both ways and see what changes."""
    gradient = np.empty_like(X)
    for index in np.ndindex(X.shape):
        above, below = X.copy(), X.copy()
        above[index] += step
        below[index] -= step
        # divide by the nudge that was really made: X ± step is rounded too
        gradient[index] = (loss(above) - loss(below)) / (above[index] - below[index])
    return gradient
