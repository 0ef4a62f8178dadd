"""Chapter 01: looking something up softly, for one query, in plain Python and NumPy.

`softmax` turns scores into weights, `attend_scalar` looks up a number among numbers, `attend` a vector among
vectors, and `softmax_jacobian` says how the weights move when the scores do. Nothing here needs torch.
"""

import math

import numpy as np
from jaxtyping import Float

__all__ = ["attend", "attend_scalar", "softmax", "softmax_jacobian"]


def softmax(x: list[float]) -> list[float]:
    """Turn scores into weights: positive numbers that sum to 1, where a larger score gets a larger weight.

    Weight i is exp(x[i]) / (exp(x[0]) + exp(x[1]) + …), for scores of any size: 10000 and -10000 are scores
    like any others. `x` itself is left as it is.

    Raises ValueError when `x` is empty.
    Source: Bridle 1990, who gave the function its name.
    """
    ### BEGIN SOLUTION
    if not x:
        raise ValueError("softmax of no scores: there is nothing to share the weight among")
    largest = max(x)
    exponentials = [math.exp(score - largest) for score in x]
    total = sum(exponentials)
    return [exponential / total for exponential in exponentials]
    ### END SOLUTION


def attend_scalar(query: float, keys: list[float], values: list[float], temperature: float) -> float:
    """Look `query` up among `keys` and return the mean of `values`, weighted by how close each key is.

    The score of key k is -(query - k)² / (2 · temperature); the weights are the softmax of the scores.
    The temperature may be as small as 1e-12 or as large as 1e12. The lists are left as they are.

    Raises ValueError when `temperature` is not positive, or when keys and values differ in number.
    Source: Nadaraya 1964; Watson 1964. There the temperature is the square of the bandwidth.
    """
    ### BEGIN SOLUTION
    if not temperature > 0:
        raise ValueError(f"the temperature must be positive, got {temperature}")
    if len(keys) != len(values):
        raise ValueError(f"every key needs one value, got {len(keys)} keys and {len(values)} values")
    weights = softmax([-((query - key) ** 2) / (2 * temperature) for key in keys])
    return sum(weight * value for weight, value in zip(weights, values, strict=True))
    ### END SOLUTION


def attend(
    q: Float[np.ndarray, "d"], K: Float[np.ndarray, "n d"], V: Float[np.ndarray, "n dv"]
) -> Float[np.ndarray, "dv"]:
    """Look the vector `q` up among the rows of `K` and return the mean of the rows of `V`, weighted by the match.

    The score of row i is the dot product of `q` and K[i], divided by the square root of d, the width of a key.
    The weights are the softmax of the n scores, for scores of any size. The result has the dtype of the
    inputs, and the inputs are left as they are.

    Source: Vaswani et al. 2017, section 3.2.1, for a single query.
    """
    ### BEGIN SOLUTION
    scores = K @ q / math.sqrt(q.shape[0])  # (n d) @ (d) -> (n)
    exponentials = np.exp(scores - scores.max())
    weights = exponentials / exponentials.sum()
    return weights @ V  # (n) @ (n dv) -> (dv)
    ### END SOLUTION


def softmax_jacobian(p: Float[np.ndarray, "n"]) -> Float[np.ndarray, "n n"]:
    """The derivative of every weight by every score, given the weights `p` = softmax(x).

    Entry (i, j) is ∂p[i] / ∂x[j]: how fast weight i grows when score j does. `p` holds the weights, not the
    scores, and is left as it is.
    """
    ### BEGIN SOLUTION
    return np.diag(p) - np.outer(p, p)
    ### END SOLUTION
