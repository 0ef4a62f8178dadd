"""Hidden tests of chapter 09, `triton_first_kernels`.

The kernels are launched by the chapter's own launchers, inside the student's process, on inputs that lie in NaN and
outputs that lie among canaries. What comes back are numbers; the comparison is made here.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from attention_from_scratch.triton_fences import Fence
from autograder.testing import Draw, Exercise, Question, Student, check, close

# Errors are relative to the largest number of the result, which is about 1 where it matters. float32: sums of at most
# some hundred terms in another order (measured: 5e-7). float16: inputs are exact, one rounding of the result (5e-4).
FLOAT32 = 3e-6
FLOAT16 = 1e-3

HELPERS = '''
from attention_from_scratch.triton_fences import Fence, poisoned


def launched(name, tensors, layouts, like, out_layout, before, named):
    """Launch on poisoned inputs; the output with all that lies around it, and the inputs as they are afterwards."""
    views = [poisoned(x, layout) for x, layout in zip(tensors, layouts)]
    fence = Fence(like, out_layout)
    globals()[name](*views, *before, out=fence.view, **named)
    return fence.buffer, [view.clone() for view in views]
'''


def launch(
    student: Student,
    name: str,
    tensors: list[Tensor],
    like: Tensor,
    *,
    layouts: list[str] | None = None,
    out_layout: str = "",
    before: tuple[Any, ...] = (),
    **named: Any,
) -> Tensor:
    """The output of the student's kernel, launched between fences; fails on what it did to inputs and surroundings."""
    plain = {1: "plain", 2: "rows"}
    out_layout = out_layout or plain[like.ndim]
    layouts = layouts or [plain[x.ndim] for x in tensors]
    fence = Fence(like, out_layout)
    student.define(HELPERS)
    buffer, after = student.launched(
        name, tensors, layouts, torch.zeros_like(like), out_layout, before, named
    )
    close(
        buffer.isnan(),
        torch.zeros_like(buffer, dtype=torch.bool),
        what="what is NaN in and around the output",
    )
    fence.buffer.copy_(buffer)
    check(not fence.fault(), fence.fault())
    close(after, tensors, tolerance=0.0, what="the inputs after the launch")
    return fence.view


add_kernel = Exercise("add_kernel")


@add_kernel.test(
    points=1,
    says="one whole block is added wrongly: load BLOCK numbers from each of the two pointers and store their sum at the third",
)
def one_block_is_added(student: Student, draw: Draw) -> None:
    block = draw.choice([8, 16, 32])
    x, y = draw.normal(block, dtype=torch.float32), draw.normal(block, dtype=torch.float32)
    close(launch(student, "add", [x, y], x, block=block), x + y, FLOAT32)


@add_kernel.test(
    points=1,
    says="with several programs some numbers are missing or stand in the wrong place: program p owns the numbers p·BLOCK … (p+1)·BLOCK − 1, so its offsets start at tl.program_id(0) times BLOCK",
)
def each_program_has_its_block(student: Student, draw: Draw) -> None:
    block, programs = draw.choice([4, 8, 16]), draw.choice([3, 5, 7])
    x, y = (draw.normal(block * programs, dtype=torch.float32) for _ in range(2))
    close(launch(student, "add", [x, y], x, block=block), x + y, FLOAT32)


@add_kernel.test(
    points=2,
    says="the last program writes behind the end, or leaves out numbers at the end: where size is no multiple of BLOCK its last lanes must be masked, in the loads and in the store, by offset < size and nothing else",
)
def the_tail_is_masked(student: Student, draw: Draw) -> None:
    block = draw.choice([8, 16])
    for size in (block * draw.integer(1, 4) + draw.integer(1, block - 1), 1, block - 1, block + 1):
        x, y = (draw.normal(size, dtype=torch.float32) for _ in range(2))
        close(launch(student, "add", [x, y], x, block=block), x + y, FLOAT32)


softmax_kernel = Exercise("softmax_kernel")


def scores(draw: Draw, rows: int, columns: int) -> Tensor:
    """Scores as they come from a model."""
    return 2 * draw.normal(rows, columns, dtype=torch.float32)


@softmax_kernel.test(
    points=1.5,
    says="a row whose length is a power of two comes out wrong: exponentials divided by their sum, each row in its own program",
)
def whole_rows(student: Student, draw: Draw) -> None:
    x = scores(draw, draw.choice([3, 5, 7]), draw.choice([8, 16, 32]))
    close(launch(student, "softmax", [x], x), x.softmax(1), FLOAT32)


@softmax_kernel.test(
    points=2,
    says="lanes beyond the end of the row take part: what the masked load puts there must count for nothing in the maximum and in the sum, and e to the power of 0 is 1. What number has an exponential of 0?",
)
def lanes_beyond_the_row_count_nothing(student: Student, draw: Draw) -> None:
    columns = draw.choice([5, 11, 19, 37])
    x = scores(draw, 3, columns) - 3
    close(launch(student, "softmax", [x], x), x.softmax(1), FLOAT32)
    one = scores(draw, 4, 1)
    close(launch(student, "softmax", [one], one), torch.ones_like(one), FLOAT32)


@softmax_kernel.test(
    points=1.5,
    says="large scores give infinities, zeros or NaN: subtract the row's largest score before the exponential, which changes no weight",
)
def scores_of_any_size(student: Student, draw: Draw) -> None:
    x = scores(draw, 4, draw.choice([7, 13]))
    x = x + torch.tensor([[1e4], [-1e4], [3e2], [0.0]])
    x[3, 1] = 200.0
    # a solution may multiply scores of 1e4 by log2(e) before it subtracts: a rounding of 1e-3 in the exponent
    close(launch(student, "softmax", [x], x), x.softmax(1), 2e-3)


@softmax_kernel.test(
    points=2,
    says="the kernel assumes how x lies in memory: number j of row i lies i·x_row + j·x_column behind the pointer, for x and out each with its own strides",
)
def any_strides(student: Student, draw: Draw) -> None:
    # rows of whole blocks: masks are asked elsewhere
    x = scores(draw, draw.choice([3, 5, 7]), draw.choice([4, 8, 16]))
    for layout in ("columns", "gaps"):
        answer = launch(student, "softmax", [x], x, layouts=[layout])
        close(answer, x.softmax(1), FLOAT32)


@softmax_kernel.test(
    points=1,
    says="half-precision inputs lose accuracy on the way: turn what was loaded into float32, compute, and round once when storing",
)
def half_precision_is_computed_in_single(student: Student, draw: Draw) -> None:
    x = draw.normal(3, 700, dtype=torch.float32).half()
    out = launch(student, "softmax", [x], x)
    expected = x.double().softmax(1)
    # one rounding to float16 of numbers above 6e-5 (its normal range) is 5e-4 of each; a float16 sum of 700 is far off
    big = expected > 1e-4
    worst = ((out.double() - expected).abs() / expected)[big].max().item()
    check(worst <= FLOAT16, f"a weight is off by {worst:.2g} of itself")


layer_norm_kernel = Exercise("layer_norm_kernel")
EPS = 1e-7  # too small to be seen: where it stands is asked by a test of its own


def layer_norm_inputs(draw: Draw, rows: int, columns: int) -> list[Tensor]:
    """x with a mean far from 0, a weight and a bias."""
    x = draw.normal(rows, columns, dtype=torch.float32) * 3 + 2
    return [x, draw.normal(columns, dtype=torch.float32), draw.normal(columns, dtype=torch.float32)]


def normed(tensors: list[Tensor], eps: float) -> Tensor:
    """The specification, in float64."""
    x, weight, bias = (tensor.double() for tensor in tensors)
    return torch.nn.functional.layer_norm(x, x.shape[1:], weight, bias, eps)


@layer_norm_kernel.test(
    points=2,
    says="a row whose length is a power of two comes out wrong: mean 0 and variance 1, then weight and bias of each column; the variance divides by the number of columns, not by one less",
)
def rows_are_normed(student: Student, draw: Draw) -> None:
    tensors = layer_norm_inputs(draw, draw.choice([3, 5]), draw.choice([8, 16]))
    answer = launch(student, "layer_norm", tensors, tensors[0], before=(EPS,))
    close(answer, normed(tensors, EPS).float(), FLOAT32)


@layer_norm_kernel.test(
    points=2.5,
    says="rows that do not fill the block come out wrong: divide by columns and not by BLOCK, and keep the lanes beyond the row out of the variance. They are 0 after the load, but 0 minus the mean is not 0",
)
def lanes_beyond_the_row_have_no_variance(student: Student, draw: Draw) -> None:
    for columns in (draw.choice([5, 9, 17]), draw.choice([7, 15, 31])):
        tensors = layer_norm_inputs(draw, 3, columns)
        answer = launch(student, "layer_norm", tensors, tensors[0], before=(EPS,))
        close(answer, normed(tensors, EPS).float(), FLOAT32)


@layer_norm_kernel.test(
    points=1,
    says="eps stands in the wrong place: it is added to the variance, under the root",
)
def eps_stands_under_the_root(student: Student, draw: Draw) -> None:
    tensors = layer_norm_inputs(draw, 3, draw.choice([6, 10, 12]))
    tensors[0] = tensors[0] * 0.2
    for eps in (0.5, 1e-2):
        answer = launch(student, "layer_norm", tensors, tensors[0], before=(eps,))
        close(answer, normed(tensors, eps).float(), FLOAT32)


@layer_norm_kernel.test(
    points=1.5,
    says="a row with a large mean loses its digits: the mean of the squares less the square of the mean subtracts two large and nearly equal numbers. Subtract the mean first, then square",
)
def a_large_mean_costs_no_digits(student: Student, draw: Draw) -> None:
    tensors = layer_norm_inputs(draw, 3, draw.choice([11, 13]))
    tensors[0] = tensors[0] + 1000
    answer = launch(student, "layer_norm", tensors, tensors[0], before=(EPS,))
    # the mean of numbers near 1000 is rounded to 6e-5; the mean of squares would be off by 0.06
    close(answer, normed(tensors, EPS).float(), 2e-4)


@layer_norm_kernel.test(
    points=1,
    says="the kernel assumes that rows follow each other without gaps: row i starts i·x_row behind the pointer of x, and i·out_row behind that of out",
)
def rows_have_their_strides(student: Student, draw: Draw) -> None:
    wide = layer_norm_inputs(draw, 5, draw.choice([5, 9]))
    answer = launch(student, "layer_norm", wide, wide[0], before=(EPS,))  # the fence leaves gaps between rows
    close(answer, normed(wide, EPS).float(), FLOAT32)


matmul_kernel = Exercise("matmul_kernel")


def matrices(draw: Draw, M: int, N: int, K: int, dtype: torch.dtype) -> tuple[Tensor, Tensor]:
    """Two random matrices whose product is about 1 in size."""
    return draw.normal(M, K, dtype=dtype), draw.normal(K, N, dtype=dtype) / K**0.5


def product(a: Tensor, b: Tensor) -> Tensor:
    """The exact product, rounded once."""
    return (a.double() @ b.double()).to(a.dtype)


@matmul_kernel.test(
    points=2,
    says="a product of whole blocks comes out wrong: program (i, j) owns tile row i and tile column j; it walks along K block by block and adds up the products of the tiles",
)
def whole_blocks(student: Student, draw: Draw) -> None:
    a, b = matrices(draw, 16 * draw.integer(2, 3), 16 * draw.choice([1, 4]), 64, torch.float32)
    close(launch(student, "matmul", [a, b], product(a, b), block=(16, 16, 16)), product(a, b), FLOAT32)
    a, b = matrices(draw, 32, 64, 16, torch.float32)
    close(launch(student, "matmul", [a, b], product(a, b), block=(16, 32, 16)), product(a, b), FLOAT32)


@matmul_kernel.test(
    points=2.5,
    says="the rest of K is lost or filled with what lies behind: the last block along K must be masked, and a masked number in a sum must be 0",
)
def the_rest_of_k_counts(student: Student, draw: Draw) -> None:
    for K in (16 * draw.integer(1, 3) + draw.integer(1, 15), draw.integer(1, 15)):
        a, b = matrices(draw, 16, 16, K, torch.float32)
        close(launch(student, "matmul", [a, b], product(a, b), block=(16, 16, 16)), product(a, b), FLOAT32)


@matmul_kernel.test(
    points=2,
    says="a size that is no multiple of its block writes outside the result, or leaves a part of it out: the rows and columns of the last tiles must be masked in the store",
)
def ragged_edges_are_masked(student: Student, draw: Draw) -> None:
    M, N, K = draw.integer(17, 31), draw.integer(33, 47), draw.integer(17, 31)
    a, b = matrices(draw, M, N, K, torch.float32)
    close(launch(student, "matmul", [a, b], product(a, b), block=(16, 16, 16)), product(a, b), FLOAT32)
    a, b = matrices(draw, 1, 1, 3, torch.float32)
    close(launch(student, "matmul", [a, b], product(a, b), block=(16, 16, 16)), product(a, b), FLOAT32)


@matmul_kernel.test(
    points=2,
    says="the kernel assumes how the matrices lie in memory: every one of the three has a stride for its rows and one for its columns, and a transposed matrix is just other strides",
)
def transposed_matrices(student: Student, draw: Draw) -> None:
    a, b = matrices(draw, draw.integer(17, 31), draw.integer(5, 15), draw.integer(17, 31), torch.float32)
    for layouts, out_layout in (
        (["columns", "rows"], "rows"),
        (["rows", "columns"], "columns"),
        (["gaps", "gaps"], "gaps"),
    ):
        answer = launch(
            student,
            "matmul",
            [a, b],
            product(a, b),
            layouts=layouts,
            out_layout=out_layout,
            block=(16, 16, 16),
        )
        close(answer, product(a, b), FLOAT32)


@matmul_kernel.test(
    points=1.5,
    says="half-precision products are added up in half precision: keep the running sum in float32 and round once, when storing",
)
def sums_are_kept_in_single(student: Student, draw: Draw) -> None:
    a, b = matrices(draw, 16, 16, 512, torch.float16)
    a, b = a.abs(), b.abs()  # sums that only grow: every rounding of the running sum counts
    out = launch(student, "matmul", [a, b], product(a, b), block=(16, 16, 16))
    exact = a.double() @ b.double()
    error = ((out.double() - exact).norm() / exact.norm()).item()
    # one rounding of the result: at most 2.9e-4 in this measure (uniform in the last place); a float16 sum: 6e-4 and more
    check(error <= 4e-4, f"the relative error is {error:.2g}")


QUESTIONS = [
    Question(
        "what_the_interpreter_hides",
        points=4,
        answer=(
            "A store without a mask behind the end of a tensor, which on the CPU may land in unused memory; two programs "
            "that write to one place, which run one after the other here and at once on a GPU. The first is found by "
            "fences round the output or compute-sanitizer, the second by thinking about who owns which output, or by "
            "running the programs in another order and comparing."
        ),
        rubric=(
            "2 points for each mistake that is real, invisible in the interpreter and comes with a way to find it "
            "(1 without the way). Races, reads out of bounds, TF32 or bfloat16 arithmetic, tiles too large for shared "
            "memory, slowness all count; a wrong result that the interpreter shows does not."
        ),
    )
]
