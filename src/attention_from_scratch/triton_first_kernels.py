"""First GPU programs: add, a softmax of rows, layer norm, a tiled matrix product. Each kernel with its launcher.

A kernel is written for one *program*: it works out from its number which part of the data is its own, loads that part,
computes, and stores. A launcher allocates the output and starts as many programs as there are parts.
"""

from __future__ import annotations

from jaxtyping import Float
from torch import Tensor

from attention_from_scratch.triton_support import check_runnable, tl, triton

__all__ = [
    "add", "add_kernel", "layer_norm", "layer_norm_kernel", "matmul", "matmul_kernel", "softmax", "softmax_kernel",
]  # fmt: skip


@triton.jit
def add_kernel(x_ptr, y_ptr, out_ptr, size, BLOCK: tl.constexpr):
    """out[i] = x[i] + y[i] for the `BLOCK` numbers of this program; program p owns p·BLOCK … (p+1)·BLOCK − 1.

    The three pointers lead to `size` numbers each, side by side. `size` need not be a multiple of BLOCK.
    """
    ### BEGIN SOLUTION
    at = tl.program_id(0) * BLOCK + tl.arange(0, BLOCK)
    inside = at < size
    total = tl.load(x_ptr + at, mask=inside) + tl.load(y_ptr + at, mask=inside)
    tl.store(out_ptr + at, total, mask=inside)
    ### END SOLUTION


@triton.jit
def softmax_kernel(x_ptr, out_ptr, columns, x_row, x_column, out_row, BLOCK: tl.constexpr):
    """The softmax of one row of x: row p for program p.

    Number j of row i of x lies at x_ptr + i·x_row + j·x_column, number j of row i of out at out_ptr + i·out_row + j.
    BLOCK is a power of two that is not smaller than `columns`. Scores of any size are fine; the arithmetic is float32.
    """
    ### BEGIN SOLUTION
    row = tl.program_id(0).to(tl.int64)  # row · stride may be more than 32 bits hold
    column = tl.arange(0, BLOCK)
    inside = column < columns
    x = tl.load(x_ptr + row * x_row + column * x_column, mask=inside, other=-float("inf")).to(tl.float32)
    exponentials = tl.exp(x - tl.max(x, 0))
    weights = exponentials / tl.sum(exponentials, 0)
    tl.store(out_ptr + row * out_row + column, weights.to(out_ptr.dtype.element_ty), mask=inside)
    ### END SOLUTION


@triton.jit
def layer_norm_kernel(
    x_ptr, weight_ptr, bias_ptr, out_ptr, columns, x_row, out_row, eps, BLOCK: tl.constexpr
):  # fmt: skip
    """Layer norm of one row of x: row p for program p; mean 0 and variance 1, then weight and bias of each column.

    The numbers of a row lie side by side; rows are x_row apart in x and out_row apart in out. The variance is the mean
    of the squared distances; `eps` is added to it under the root. BLOCK is a power of two that is not smaller than
    `columns`; the arithmetic is float32.
    """
    ### BEGIN SOLUTION
    row = tl.program_id(0).to(tl.int64)
    column = tl.arange(0, BLOCK)
    inside = column < columns
    x = tl.load(x_ptr + row * x_row + column, mask=inside, other=0.0).to(tl.float32)
    mean = tl.sum(x, 0) / columns
    centred = tl.where(inside, x - mean, 0.0)  # beyond the row x was 0, and 0 - mean is not
    variance = tl.sum(centred * centred, 0) / columns
    weight = tl.load(weight_ptr + column, mask=inside, other=0.0).to(tl.float32)
    bias = tl.load(bias_ptr + column, mask=inside, other=0.0).to(tl.float32)
    out = weight * centred / tl.sqrt(variance + eps) + bias
    tl.store(out_ptr + row * out_row + column, out.to(out_ptr.dtype.element_ty), mask=inside)
    ### END SOLUTION


@triton.jit
def matmul_kernel(
    a_ptr, b_ptr, out_ptr, M, N, K,
    a_row, a_column, b_row, b_column, out_row, out_column,
    BLOCK_M: tl.constexpr, BLOCK_N: tl.constexpr, BLOCK_K: tl.constexpr,
):  # fmt: skip
    """One BLOCK_M × BLOCK_N tile of out = a @ b: tile row program 0, tile column program 1.

    a is (M, K), b is (K, N); number (i, j) of a lies at a_ptr + i·a_row + j·a_column, and so for the others. The sum is
    kept in float32 and rounded once, at the end. No size need be a multiple of its block.
    """
    ### BEGIN SOLUTION
    m = tl.program_id(0).to(tl.int64) * BLOCK_M + tl.arange(0, BLOCK_M)
    n = tl.program_id(1).to(tl.int64) * BLOCK_N + tl.arange(0, BLOCK_N)
    total = tl.zeros([BLOCK_M, BLOCK_N], tl.float32)
    for start in range(0, K, BLOCK_K):
        k = start + tl.arange(0, BLOCK_K)
        a_at = a_ptr + m[:, None] * a_row + k[None, :] * a_column  # (BLOCK_M, BLOCK_K)
        b_at = b_ptr + k[:, None] * b_row + n[None, :] * b_column  # (BLOCK_K, BLOCK_N)
        a = tl.load(a_at, mask=(m < M)[:, None] & (k < K)[None, :], other=0.0)
        b = tl.load(b_at, mask=(k < K)[:, None] & (n < N)[None, :], other=0.0)
        total = tl.dot(a, b, total, input_precision="ieee")
    out_at = out_ptr + m[:, None] * out_row + n[None, :] * out_column
    tl.store(out_at, total.to(out_ptr.dtype.element_ty), mask=(m < M)[:, None] & (n < N)[None, :])
    ### END SOLUTION


def add(
    x: Float[Tensor, " size"], y: Float[Tensor, " size"], out: Float[Tensor, " size"], block: int
) -> Float[Tensor, " size"]:
    """Launch `add_kernel` on three contiguous vectors; writes into `out` and returns it."""
    check_runnable(x, y, out)
    add_kernel[(triton.cdiv(x.numel(), block),)](x, y, out, x.numel(), BLOCK=block)
    return out


def softmax(
    x: Float[Tensor, "rows columns"], out: Float[Tensor, "rows columns"]
) -> Float[Tensor, "rows columns"]:
    """Launch `softmax_kernel`, one program a row; x of any strides, rows of `out` contiguous."""
    check_runnable(x, out)
    rows, columns = x.shape
    softmax_kernel[(rows,)](
        x, out, columns, *x.stride(), out.stride(0), BLOCK=triton.next_power_of_2(columns)
    )
    return out


def layer_norm(
    x: Float[Tensor, "rows columns"],
    weight: Float[Tensor, " columns"],
    bias: Float[Tensor, " columns"],
    eps: float,
    out: Float[Tensor, "rows columns"],
) -> Float[Tensor, "rows columns"]:
    """Launch `layer_norm_kernel`, one program a row; rows of x and `out` contiguous."""
    check_runnable(x, weight, bias, out)
    rows, columns = x.shape
    layer_norm_kernel[(rows,)](
        x, weight, bias, out, columns, x.stride(0), out.stride(0), eps, BLOCK=triton.next_power_of_2(columns)
    )
    return out


def matmul(
    a: Float[Tensor, "M K"], b: Float[Tensor, "K N"], out: Float[Tensor, "M N"], block: tuple[int, int, int]
) -> Float[Tensor, "M N"]:
    """Launch `matmul_kernel`, one program a tile of `out`; all strides are read as they are."""
    check_runnable(a, b, out)
    (M, K), N = a.shape, b.shape[1]
    BLOCK_M, BLOCK_N, BLOCK_K = block
    matmul_kernel[(triton.cdiv(M, BLOCK_M), triton.cdiv(N, BLOCK_N))](
        a, b, out, M, N, K, *a.stride(), *b.stride(), *out.stride(),
        BLOCK_M=BLOCK_M, BLOCK_N=BLOCK_N, BLOCK_K=BLOCK_K,
    )  # fmt: skip
    return out
