"""Chapter 08: exact attention in tiles: what it costs, the softmax in one pass, FlashAttention forward and backward.

`attention_cost` counts operations and bytes; `online_softmax` and `merge_states` are the idea; `score_tile`,
`flash_forward` and `flash_backward` are the algorithm, and `flash_attention` makes it a function that autograd knows.
Axes: batch, heads, queries, keys, dim, value_dim. No tensor here has an axis of queries and one of keys at full length.
"""

from __future__ import annotations

import math
from collections.abc import Iterable
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor

State = tuple[Tensor, Tensor, Tensor]
"""What is known of some keys, for each query: the largest score, the sum of exponentials, the blend of values."""


def attention_cost(B: int, H: int, Lq: int, Lk: int, d: int, dtype: torch.dtype) -> dict[str, int]:
    """Count the work of attention for B examples, H heads, Lq queries and Lk keys of width d (values: width d too).

    Returns a dictionary of three whole numbers:

    `"flops"`: floating-point operations of the two matrix products, where a multiplication and an addition are two.
    `"naive_bytes"`: bytes moved to and from memory by three separate steps, S = QKᵀ/√d, A = softmax(S), O = AV, each
    of which reads its inputs from memory and writes its result to memory.
    `"fused_bytes"`: bytes moved by one step that reads Q, K and V once and writes O and one number a query, the
    log-sum-exp of its scores.

    Every number has the dtype given. The softmax's own operations are few beside the products, and left out.

    Source: Dao et al. 2022, section 3.2, with constants.
    """
    ### BEGIN SOLUTION
    vectors = B * H * (2 * Lq + 2 * Lk) * d  # Q and O, K and V
    scores = B * H * Lq * Lk
    size = dtype.itemsize
    return {
        "flops": 2 * (2 * scores * d),
        "naive_bytes": (vectors + 4 * scores) * size,  # S and A are each written once and read once
        "fused_bytes": (vectors + B * H * Lq) * size,
    }
    ### END SOLUTION


def online_softmax(
    chunks: Iterable[Float[Tensor, "*rows _"]],
) -> tuple[Float[Tensor, "*rows"], Float[Tensor, "*rows"]]:
    """Read the rows of scores chunk by chunk, once; return the pair `(m, l)`.

    Each chunk holds the next few columns of all rows, as many as it likes. For each row `m` is the largest score of
    all and `l` the sum of exp(score - m), so that the softmax of a score s is exp(s - m) / l. A score of −∞ counts
    nothing, and a row with no other score gives m = −∞ and l = 0. Scores of ±1e3 are scores like any others.
    The chunks are left as they are.

    Source: Milakov and Gimelshein 2018, algorithm 3.
    """
    ### BEGIN SOLUTION
    m, l = (
        torch.tensor(-math.inf),
        torch.tensor(0.0),
    )  # no score seen yet; they take the shape of the first chunk
    for chunk in chunks:
        larger = torch.maximum(m, chunk.amax(dim=-1))
        base = torch.where(torch.isneginf(larger), 0.0, larger)  # (−∞) − (−∞) would be NaN
        l = l * torch.exp(m - base) + torch.exp(chunk - base[..., None]).sum(dim=-1)
        m = larger
    return m, l
    ### END SOLUTION


def merge_states(a: State, b: State) -> State:
    """Join what is known of some keys and what is known of some others, for the same queries.

    A state is `(m, l, acc)`: for each query the largest score m, shape (*rows), the sum l of exp(score - m), shape
    (*rows), and the sum acc of exp(score - m) · value, shape (*rows, value_dim). Where nothing was seen, it is
    (−∞, 0, 0). The result is the state of all the keys together; the order of a and b does not matter, and neither
    is changed.

    Source: Rabe and Staats 2021; Dao et al. 2022, algorithm 1.
    """
    ### BEGIN SOLUTION
    (m_a, l_a, acc_a), (m_b, l_b, acc_b) = a, b
    m = torch.maximum(m_a, m_b)
    base = torch.where(torch.isneginf(m), 0.0, m)
    shrink_a, shrink_b = (
        torch.exp(m_a - base),
        torch.exp(m_b - base),
    )  # the change of base; one of the two is 1
    return m, l_a * shrink_a + l_b * shrink_b, acc_a * shrink_a[..., None] + acc_b * shrink_b[..., None]
    ### END SOLUTION


def score_tile(
    Q: Float[Tensor, "batch heads queries dim"],
    K: Float[Tensor, "batch heads keys dim"],
    rows: slice,
    columns: slice,
    causal: bool,
) -> Float[Tensor, "batch heads tile_rows tile_columns"]:
    """The scaled scores of the queries in `rows` with the keys in `columns`, and no others.

    A score is q·k / √dim. With `causal`, a score that its query may not see is −∞: query i sees key j where
    j ≤ i + keys − queries (bottom-right aligned: the last query sees every key). i and j count in the whole of Q and
    K, and the slices have a start and a stop that lie inside.

    Source: Dao 2023, section 3.1, on causal masks in blocks.
    """
    ### BEGIN SOLUTION
    S = (
        Q[..., rows, :] @ K[..., columns, :].mT / math.sqrt(Q.shape[-1])
    )  # (batch, heads, tile_rows, tile_columns)
    if causal:
        offset = K.shape[-2] - Q.shape[-2]
        i = torch.arange(rows.start, rows.stop, device=Q.device)[:, None]  # (tile_rows, 1)
        j = torch.arange(columns.start, columns.stop, device=Q.device)  # (tile_columns)
        S = S.masked_fill(j > i + offset, -math.inf)
    return S
    ### END SOLUTION


def flash_forward(
    Q: Float[Tensor, "batch heads queries dim"],
    K: Float[Tensor, "batch heads keys dim"],
    V: Float[Tensor, "batch heads keys value_dim"],
    causal: bool,
    block_q: int,
    block_k: int,
) -> tuple[Float[Tensor, "batch heads queries value_dim"], Float[Tensor, "batch heads queries"]]:
    """Exact attention, never holding more scores than one tile of block_q × block_k; return `(O, LSE)`.

    O is softmax(QKᵀ/√dim)V and LSE the logarithm of each query's sum of exp(score). With `causal`, query i sees key j
    where j ≤ i + keys − queries, and tiles that nobody in them may see are not computed. A query that sees no key
    has O = 0 and LSE = −∞. The blocks need not divide the lengths. The inputs are left as they are.

    Source: Dao et al. 2022, algorithm 1; loops over queries outside as in Dao 2023.
    """
    ### BEGIN SOLUTION
    queries, keys = Q.shape[-2], K.shape[-2]
    O = Q.new_zeros(*Q.shape[:-1], V.shape[-1])
    LSE = Q.new_full(Q.shape[:-1], -math.inf)
    for i in range(0, queries, block_q):
        rows = slice(i, min(i + block_q, queries))
        state: State = (LSE[..., rows], torch.zeros_like(LSE[..., rows]), O[..., rows, :])  # nothing seen yet
        seen = rows.stop + keys - queries if causal else keys  # keys that the last query of the tile may see
        for j in range(0, seen, block_k):
            columns = slice(j, min(j + block_k, keys))
            S = score_tile(Q, K, rows, columns, causal)
            m = S.amax(dim=-1)
            P = torch.exp(S - torch.where(torch.isneginf(m), 0.0, m)[..., None])
            state = merge_states(state, (m, P.sum(dim=-1), P @ V[..., columns, :]))
        m, l, acc = state
        O[..., rows, :] = acc / torch.where(l == 0, 1.0, l)[..., None]
        LSE[..., rows] = m + torch.log(l)
    return O, LSE
    ### END SOLUTION


def flash_backward(
    Q: Float[Tensor, "batch heads queries dim"],
    K: Float[Tensor, "batch heads keys dim"],
    V: Float[Tensor, "batch heads keys value_dim"],
    O: Float[Tensor, "batch heads queries value_dim"],
    LSE: Float[Tensor, "batch heads queries"],
    dO: Float[Tensor, "batch heads queries value_dim"],
    causal: bool,
    block_q: int,
    block_k: int,
) -> tuple[
    Float[Tensor, "batch heads queries dim"],
    Float[Tensor, "batch heads keys dim"],
    Float[Tensor, "batch heads keys value_dim"],
]:
    """Carry the gradient dO of O back to Q, K and V, never holding more than tiles; return `(dQ, dK, dV)`.

    O and LSE are what `flash_forward` returned for the same Q, K, V and `causal`. The weights of a tile are computed
    again from them: exp(score - LSE). A query that saw no key gets and gives no gradient. The inputs are left as they
    are.

    Source: Dao et al. 2022, algorithm 4.
    """
    ### BEGIN SOLUTION
    queries, keys = Q.shape[-2], K.shape[-2]
    scale = 1 / math.sqrt(Q.shape[-1])
    dQ, dK, dV = Q.new_zeros(Q.shape), K.new_zeros(K.shape), V.new_zeros(V.shape)
    delta = (dO * O).sum(dim=-1, keepdim=True)  # (batch, heads, queries, 1)
    base = torch.where(torch.isneginf(LSE), 0.0, LSE)[..., None]  # (batch, heads, queries, 1)
    for i in range(0, queries, block_q):
        rows = slice(i, min(i + block_q, queries))
        seen = rows.stop + keys - queries if causal else keys
        for j in range(0, seen, block_k):
            columns = slice(j, min(j + block_k, keys))
            P = torch.exp(score_tile(Q, K, rows, columns, causal) - base[..., rows, :])
            dP = dO[..., rows, :] @ V[..., columns, :].mT  # (batch, heads, tile_rows, tile_columns)
            dS = P * (dP - delta[..., rows, :]) * scale
            dQ[..., rows, :] += dS @ K[..., columns, :]
            dK[..., columns, :] += dS.mT @ Q[..., rows, :]
            dV[..., columns, :] += P.mT @ dO[..., rows, :]
    return dQ, dK, dV
    ### END SOLUTION


class FlashAttention(torch.autograd.Function):
    """`flash_forward` and `flash_backward` as one operation: autograd keeps Q, K, V, O and LSE, and no scores."""

    @staticmethod
    def forward(
        ctx: Any, Q: Tensor, K: Tensor, V: Tensor, causal: bool, block_q: int, block_k: int
    ) -> Tensor:
        """The output O; what the backward pass needs is kept in `ctx`."""
        O, LSE = flash_forward(Q, K, V, causal, block_q, block_k)
        ctx.save_for_backward(Q, K, V, O, LSE)
        ctx.options = (causal, block_q, block_k)
        return O

    @staticmethod
    def backward(ctx: Any, *upstream: Tensor) -> tuple[Tensor | None, ...]:
        """The gradients of Q, K and V; the three options have none."""
        (dO,) = upstream
        Q, K, V, O, LSE = ctx.saved_tensors
        causal, block_q, block_k = ctx.options
        return (*flash_backward(Q, K, V, O, LSE, dO, causal, block_q, block_k), None, None, None)


def flash_attention(
    Q: Float[Tensor, "batch heads queries dim"],
    K: Float[Tensor, "batch heads keys dim"],
    V: Float[Tensor, "batch heads keys value_dim"],
    causal: bool,
    block_q: int,
    block_k: int,
) -> Float[Tensor, "batch heads queries value_dim"]:
    """Exact attention in tiles, differentiable: the output O of `flash_forward`, with `flash_backward` behind it."""
    return FlashAttention.apply(Q, K, V, causal, block_q, block_k)
