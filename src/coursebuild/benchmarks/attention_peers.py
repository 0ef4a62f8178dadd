"""The attentions that `course bench attention` compares: the course's own, chapter by chapter, and PyTorch's."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.nn.functional import scaled_dot_product_attention

from attention_from_scratch import multi_head, online_softmax, scaled_dot_product

TILE = 128
"""Rows and columns of a tile of the tiled peer."""

Inputs = tuple[Any, Any, Any, Any]
"""Q, K, V and the gradient of the output, in the form a peer works on."""


@dataclass(frozen=True)
class Peer:
    """One way of computing attention. `forward` gives O; `both` gives (O, dQ, dK, dV); `prepare` is not timed."""

    name: str
    what: str
    prepare: Callable[[tuple[Tensor, ...]], Inputs]
    forward: Callable[..., Any]
    both: Callable[..., Any]
    is_slow: bool = False

    def call(self, kind: str) -> Callable[..., Any]:
        """The function for "forward" or "forward+backward", on four prepared inputs."""
        return self.forward if kind == "forward" else self.both


def _nested(tensors: tuple[Tensor, ...]) -> Inputs:
    q, k, v, upstream = (tensor.tolist() for tensor in tensors)
    return q, k, v, upstream


def _arrays(tensors: tuple[Tensor, ...]) -> Inputs:
    q, k, v, upstream = (tensor.numpy() for tensor in tensors)
    return q, k, v, upstream


def _as_they_are(tensors: tuple[Tensor, ...]) -> Inputs:
    q, k, v, upstream = tensors
    return q, k, v, upstream


def _python_head(q: list[list[float]], k: list[list[float]], v: list[list[float]]) -> tuple[Any, Any]:
    """One head with numbers and loops: the output and the weights."""
    scale = 1 / math.sqrt(len(q[0]))
    out, weights = [], []
    for query in q:
        scores = [scale * sum(a * b for a, b in zip(query, key, strict=True)) for key in k]
        largest = max(scores)
        exponentials = [math.exp(score - largest) for score in scores]
        total = sum(exponentials)
        row = [exponential / total for exponential in exponentials]
        weights.append(row)
        out.append([sum(w * x for w, x in zip(row, column, strict=True)) for column in zip(*v, strict=True)])
    return out, weights


def _python_head_backward(q: Any, k: Any, v: Any, upstream: Any, weights: Any) -> tuple[Any, Any, Any]:
    """The gradients of one head, a number at a time."""
    dim, value_dim, scale = len(q[0]), len(v[0]), 1 / math.sqrt(len(q[0]))
    dq = [[0.0] * dim for _ in q]
    dk = [[0.0] * dim for _ in k]
    dv = [[0.0] * value_dim for _ in v]
    for i, (row, d_out) in enumerate(zip(weights, upstream, strict=True)):
        d_row = [sum(a * b for a, b in zip(d_out, value, strict=True)) for value in v]
        delta = sum(a * b for a, b in zip(row, d_row, strict=True))
        for j, weight in enumerate(row):
            d_score = scale * weight * (d_row[j] - delta)
            for c in range(dim):
                dq[i][c] += d_score * k[j][c]
                dk[j][c] += d_score * q[i][c]
            for c in range(value_dim):
                dv[j][c] += weight * d_out[c]
    return dq, dk, dv


def _python_forward(q: Any, k: Any, v: Any, upstream: Any) -> Any:
    return [
        [_python_head(*head)[0] for head in zip(*example, strict=True)]
        for example in zip(q, k, v, strict=True)
    ]


def _python_both(q: Any, k: Any, v: Any, upstream: Any) -> Any:
    results: tuple[list[Any], ...] = ([], [], [], [])
    for example in zip(q, k, v, upstream, strict=True):
        heads = []
        for q_head, k_head, v_head, d_head in zip(*example, strict=True):
            out, weights = _python_head(q_head, k_head, v_head)
            heads.append((out, *_python_head_backward(q_head, k_head, v_head, d_head, weights)))
        for result, parts in zip(results, zip(*heads, strict=True), strict=True):
            result.append(list(parts))
    return results


def _numpy_forward(q: Any, k: Any, v: Any, upstream: Any) -> Any:
    out = np.empty_like(upstream)
    for at in np.ndindex(q.shape[:2]):
        out[at], _ = scaled_dot_product.scaled_dot_product_attention(q[at], k[at], v[at])
    return out


def _numpy_both(q: Any, k: Any, v: Any, upstream: Any) -> Any:
    out, dq, dk, dv = (np.empty_like(x) for x in (upstream, q, k, v))
    for at in np.ndindex(q.shape[:2]):
        out[at], _ = scaled_dot_product.scaled_dot_product_attention(q[at], k[at], v[at])
        dq[at], dk[at], dv[at] = scaled_dot_product.attention_backward(upstream[at], q[at], k[at], v[at])
    return out, dq, dk, dv


def _tiled(q: Tensor, k: Tensor, v: Tensor) -> Tensor:
    return online_softmax.flash_attention(q, k, v, causal=False, block_q=TILE, block_k=TILE)


def _torch_peer(name: str, what: str, attend: Callable[[Tensor, Tensor, Tensor], Tensor]) -> Peer:
    """A peer whose gradients come from autograd."""

    def forward(q: Tensor, k: Tensor, v: Tensor, upstream: Tensor) -> Tensor:
        with torch.no_grad():
            return attend(q, k, v)

    def both(q: Tensor, k: Tensor, v: Tensor, upstream: Tensor) -> tuple[Tensor, ...]:
        leaves = [x.detach().requires_grad_() for x in (q, k, v)]
        out = attend(*leaves)
        return (out.detach(), *torch.autograd.grad(out, leaves, upstream))

    return Peer(name, what, _as_they_are, forward, both)


PEERS = [
    Peer(
        "Python loops",
        "numbers and lists, one multiplication at a time",
        _nested,
        _python_forward,
        _python_both,
        is_slow=True,
    ),
    Peer("NumPy", "chapter 02, one head after another", _arrays, _numpy_forward, _numpy_both),
    _torch_peer(
        "torch naive", "chapter 03: scores, softmax and output as three tensors", multi_head.attention
    ),
    _torch_peer("torch tiled", f"chapter 08: tiles of {TILE} × {TILE}, backward by recomputation", _tiled),
    _torch_peer("SDPA", "torch.nn.functional.scaled_dot_product_attention", scaled_dot_product_attention),
]


def reference(tensors: tuple[Tensor, ...]) -> tuple[Tensor, ...]:
    """(O, dQ, dK, dV) in float64, straight from the formula."""
    q, k, v, upstream = (x.double() for x in tensors)
    leaves = [x.requires_grad_() for x in (q, k, v)]
    scores = leaves[0] @ leaves[1].mT / math.sqrt(q.shape[-1])  # (batch, heads, queries, keys)
    out = torch.softmax(scores, dim=-1) @ leaves[2]
    return (out.detach(), *torch.autograd.grad(out, leaves, upstream))
