"""Named solutions of chapter 09, `triton_first_kernels`: kernels with one mistake each, and kernels written another way.

Judged equivalent and so not listed: loads without a mask whose lanes the store masks anyway (they read outside, which no
result shows), `other=0.0` left out where the store is masked (Triton leaves such lanes undefined; the interpreter puts 0),
and 32-bit row offsets (they overflow only in tensors of more than two billion numbers).
"""

from autograder.variants.base import right, wrong

ADD = """
@triton.jit
def add_kernel(x_ptr, y_ptr, out_ptr, size, BLOCK: tl.constexpr):
"""
SOFTMAX = """
@triton.jit
def softmax_kernel(x_ptr, out_ptr, columns, x_row, x_column, out_row, BLOCK: tl.constexpr):
"""
LAYER_NORM = """
@triton.jit
def layer_norm_kernel(x_ptr, weight_ptr, bias_ptr, out_ptr, columns, x_row, out_row, eps, BLOCK: tl.constexpr):
"""
MATMUL = """
@triton.jit
def matmul_kernel(
    a_ptr, b_ptr, out_ptr, M, N, K,
    a_row, a_column, b_row, b_column, out_row, out_column,
    BLOCK_M: tl.constexpr, BLOCK_N: tl.constexpr, BLOCK_K: tl.constexpr,
):
"""

VARIANTS = [
    # ── add_kernel
    wrong(
        "add_kernel",
        "first_operand_twice",
        caught_by="one_block_is_added",
        because="loads x twice: a copied line that was not changed",
        edit=("tl.load(y_ptr + at, mask=inside)", "tl.load(x_ptr + at, mask=inside)"),
    ),
    wrong(
        "add_kernel",
        "adds_into_its_input",
        caught_by="one_block_is_added",
        because="stores into x and copies it: the input is changed",
        edit=(
            "    tl.store(out_ptr + at, total, mask=inside)",
            "    tl.store(x_ptr + at, total, mask=inside)\n    tl.store(out_ptr + at, total, mask=inside)",
        ),
    ),
    wrong(
        "add_kernel",
        "zeros",
        caught_by="one_block_is_added",
        because="writes zeros of the right shape",
        edit=("tl.store(out_ptr + at, total,", "tl.store(out_ptr + at, total * 0,"),
    ),
    wrong(
        "add_kernel",
        "every_program_the_first_block",
        caught_by="each_program_has_its_block",
        because="ignores the number of the program",
        edit=("tl.program_id(0) * BLOCK + tl.arange(0, BLOCK)", "tl.arange(0, BLOCK)"),
    ),
    wrong(
        "add_kernel",
        "program_number_not_times_block",
        caught_by="each_program_has_its_block",
        because="moves on by one number a program, not by one block",
        edit=("tl.program_id(0) * BLOCK +", "tl.program_id(0) +"),
    ),
    wrong(
        "add_kernel",
        "store_without_mask",
        caught_by="the_tail_is_masked",
        because="the last program writes behind the end",
        edit=("tl.store(out_ptr + at, total, mask=inside)", "tl.store(out_ptr + at, total)"),
    ),
    wrong(
        "add_kernel",
        "one_too_many",
        caught_by="the_tail_is_masked",
        because="at <= size lets one lane too many through",
        edit=("inside = at < size", "inside = at <= size"),
    ),
    wrong(
        "add_kernel",
        "only_whole_blocks",
        caught_by="the_tail_is_masked",
        because="leaves out the last block when it is not full",
        edit=("inside = at < size", "inside = at < size // BLOCK * BLOCK"),
    ),
    right(
        "add_kernel",
        "moved_pointers",
        because="moves the pointers to the block first, and masks by what is left",
        body=ADD
        + """
    start = tl.program_id(axis=0) * BLOCK
    lane = tl.arange(0, BLOCK)
    left = size - start
    a = tl.load(x_ptr + start + lane, lane < left, other=0.0)
    b = tl.load(y_ptr + start + lane, lane < left, other=0.0)
    tl.store(out_ptr + start + lane, a + b, lane < left)
""",
    ),
    # ── softmax_kernel
    wrong(
        "softmax_kernel",
        "not_divided",
        caught_by="whole_rows",
        because="stores the exponentials without dividing by their sum",
        edit=("weights = exponentials / tl.sum(exponentials, 0)", "weights = exponentials"),
    ),
    wrong(
        "softmax_kernel",
        "log_softmax",
        caught_by="whole_rows",
        because="stores the logarithms of the weights",
        edit=(
            "weights = exponentials / tl.sum(exponentials, 0)",
            "weights = x - tl.max(x, 0) - tl.log(tl.sum(exponentials, 0))",
        ),
    ),
    wrong(
        "softmax_kernel",
        "zeros",
        caught_by="whole_rows",
        because="writes zeros of the right shape",
        edit=("weights = exponentials / tl.sum(exponentials, 0)", "weights = exponentials * 0"),
    ),
    wrong(
        "softmax_kernel",
        "every_program_the_first_row",
        caught_by="whole_rows",
        because="ignores the number of the program when loading",
        edit=("x_ptr + row * x_row +", "x_ptr +"),
    ),
    wrong(
        "softmax_kernel",
        "masked_lanes_are_zero",
        caught_by="lanes_beyond_the_row_count_nothing",
        because="lanes beyond the row hold 0, and each adds exp(0 - max) to the sum",
        edit=('other=-float("inf")', "other=0.0"),
    ),
    wrong(
        "softmax_kernel",
        "store_without_mask",
        caught_by="lanes_beyond_the_row_count_nothing",
        because="writes a whole block into a shorter row",
        edit=("weights.to(out_ptr.dtype.element_ty), mask=inside)", "weights.to(out_ptr.dtype.element_ty))"),
    ),
    wrong(
        "softmax_kernel",
        "load_without_mask",
        caught_by="lanes_beyond_the_row_count_nothing",
        because="what lies behind the row joins the sum",
        edit=(', mask=inside, other=-float("inf"))', ")"),
    ),
    wrong(
        "softmax_kernel",
        "no_maximum",
        caught_by="scores_of_any_size",
        because="exponentials of large scores overflow",
        edit=("tl.exp(x - tl.max(x, 0))", "tl.exp(x)"),
    ),
    wrong(
        "softmax_kernel",
        "smallest_subtracted",
        caught_by="scores_of_any_size",
        because="subtracts the smallest score, which helps only at the other end",
        edit=("tl.exp(x - tl.max(x, 0))", 'tl.exp(x - tl.min(tl.where(inside, x, float("inf")), 0))'),
    ),
    wrong(
        "softmax_kernel",
        "column_stride_ignored",
        caught_by="any_strides",
        because="takes the numbers of a row to lie side by side",
        edit=("column * x_column", "column"),
    ),
    wrong(
        "softmax_kernel",
        "out_by_the_strides_of_x",
        caught_by="any_strides",
        because="stores with the row stride of the input",
        edit=("out_ptr + row * out_row", "out_ptr + row * x_row"),
    ),
    wrong(
        "softmax_kernel",
        "differences_rounded",
        caught_by="half_precision_is_computed_in_single",
        because="turns back to the dtype of the input before the exponential",
        edit=(
            "tl.exp(x - tl.max(x, 0))",
            "tl.exp((x - tl.max(x, 0)).to(x_ptr.dtype.element_ty).to(tl.float32))",
        ),
    ),
    right(
        "softmax_kernel",
        "base_two",
        because="powers of two instead of e, and the mask applied after the exponential",
        body=SOFTMAX
        + """
    row = tl.program_id(0)
    lanes = tl.arange(0, BLOCK)
    valid = lanes < columns
    s = tl.load(x_ptr + row * x_row + lanes * x_column, mask=valid, other=0.0).to(tl.float32) * 1.4426950408889634
    top = tl.max(tl.where(valid, s, float("-inf")), axis=0)
    powers = tl.where(valid, tl.exp2(s - top), 0.0)
    total = tl.sum(powers, axis=0)
    tl.store(out_ptr + row * out_row + lanes, (powers / total).to(out_ptr.dtype.element_ty), mask=valid)
""",
    ),
    # ── layer_norm_kernel
    wrong(
        "layer_norm_kernel",
        "unbiased_variance",
        caught_by="rows_are_normed",
        because="divides by columns - 1",
        edit=("tl.sum(centred * centred, 0) / columns", "tl.sum(centred * centred, 0) / (columns - 1)"),
    ),
    wrong(
        "layer_norm_kernel",
        "bias_forgotten",
        caught_by="rows_are_normed",
        because="the bias is loaded and not added",
        edit=("tl.sqrt(variance + eps) + bias", "tl.sqrt(variance + eps)"),
    ),
    wrong(
        "layer_norm_kernel",
        "weight_of_the_row",
        caught_by="rows_are_normed",
        because="loads one weight for the row instead of one for each column",
        edit=("tl.load(weight_ptr + column, mask=inside, other=0.0)", "tl.load(weight_ptr + row)"),
    ),
    wrong(
        "layer_norm_kernel",
        "zeros",
        caught_by="rows_are_normed",
        because="writes zeros of the right shape",
        edit=("out = weight * centred / tl.sqrt(variance + eps) + bias", "out = centred * 0"),
    ),
    wrong(
        "layer_norm_kernel",
        "padding_in_the_variance",
        caught_by="lanes_beyond_the_row_have_no_variance",
        because="lanes beyond the row are 0 - mean, and join the variance",
        edit=("tl.where(inside, x - mean, 0.0)", "x - mean"),
    ),
    wrong(
        "layer_norm_kernel",
        "divided_by_block",
        caught_by="lanes_beyond_the_row_have_no_variance",
        because="divides the variance by BLOCK",
        edit=("tl.sum(centred * centred, 0) / columns", "tl.sum(centred * centred, 0) / BLOCK"),
    ),
    wrong(
        "layer_norm_kernel",
        "mean_over_block",
        caught_by="lanes_beyond_the_row_have_no_variance",
        because="divides the sum by BLOCK",
        edit=("mean = tl.sum(x, 0) / columns", "mean = tl.sum(x, 0) / BLOCK"),
    ),
    wrong(
        "layer_norm_kernel",
        "store_without_mask",
        caught_by="lanes_beyond_the_row_have_no_variance",
        because="writes a whole block into a shorter row",
        edit=("out.to(out_ptr.dtype.element_ty), mask=inside)", "out.to(out_ptr.dtype.element_ty))"),
    ),
    wrong(
        "layer_norm_kernel",
        "eps_outside_the_root",
        caught_by="eps_stands_under_the_root",
        because="adds eps to the standard deviation",
        edit=("tl.sqrt(variance + eps)", "(tl.sqrt(variance) + eps)"),
    ),
    wrong(
        "layer_norm_kernel",
        "eps_forgotten",
        caught_by="eps_stands_under_the_root",
        because="does not use eps at all",
        edit=("tl.sqrt(variance + eps)", "tl.sqrt(variance)"),
    ),
    wrong(
        "layer_norm_kernel",
        "mean_of_squares",
        caught_by="a_large_mean_costs_no_digits",
        because="computes the variance as the mean of squares less the square of the mean",
        edit=("tl.sum(centred * centred, 0) / columns", "tl.sum(x * x, 0) / columns - mean * mean"),
    ),
    wrong(
        "layer_norm_kernel",
        "rows_without_gaps",
        caught_by="rows_have_their_strides",
        because="takes a row to start where the last one ended",
        edit=("x_ptr + row * x_row", "x_ptr + row * columns"),
    ),
    right(
        "layer_norm_kernel",
        "reciprocal_root",
        because="weights 0 or 1 in place of where, and one over the root",
        body=LAYER_NORM
        + """
    r = tl.program_id(0)
    lanes = tl.arange(0, BLOCK)
    valid = lanes < columns
    keep = valid.to(tl.float32)
    x = tl.load(x_ptr + r * x_row + lanes, mask=valid, other=0.0).to(tl.float32)
    x = (x - tl.sum(x * keep, axis=0) / columns) * keep
    inverse = 1.0 / tl.sqrt(tl.sum(x * x, axis=0) / columns + eps)
    w = tl.load(weight_ptr + lanes, mask=valid)
    b = tl.load(bias_ptr + lanes, mask=valid)
    tl.store(out_ptr + r * out_row + lanes, (x * inverse * w + b).to(out_ptr.dtype.element_ty), mask=valid)
""",
    ),
    # ── matmul_kernel
    wrong(
        "matmul_kernel",
        "last_block_only",
        caught_by="whole_blocks",
        because="each block along K replaces the sum instead of adding to it",
        edit=("total = tl.dot(a, b, total, ", "total = tl.dot(a, b, "),
    ),
    wrong(
        "matmul_kernel",
        "programs_exchanged",
        caught_by="whole_blocks",
        because="takes program 0 for the tile column",
        edit=(
            "m = tl.program_id(0).to(tl.int64) * BLOCK_M + tl.arange(0, BLOCK_M)\n    n = tl.program_id(1)",
            "m = tl.program_id(1).to(tl.int64) * BLOCK_M + tl.arange(0, BLOCK_M)\n    n = tl.program_id(0)",
        ),
    ),
    wrong(
        "matmul_kernel",
        "first_block_only",
        caught_by="whole_blocks",
        because="does not move along K",
        edit=("k = start + tl.arange(0, BLOCK_K)", "k = tl.arange(0, BLOCK_K)"),
    ),
    wrong(
        "matmul_kernel",
        "zeros",
        caught_by="whole_blocks",
        because="writes zeros of the right shape",
        edit=("tl.store(out_at, total.to(", "tl.store(out_at, (total * 0).to("),
    ),
    wrong(
        "matmul_kernel",
        "rest_of_k_dropped",
        caught_by="the_rest_of_k_counts",
        because="walks over whole blocks of K only",
        edit=("range(0, K, BLOCK_K)", "range(0, K // BLOCK_K * BLOCK_K, BLOCK_K)"),
    ),
    wrong(
        "matmul_kernel",
        "k_not_masked",
        caught_by="the_rest_of_k_counts",
        because="what lies behind a row of a joins the sum",
        edit=("mask=(m < M)[:, None] & (k < K)[None, :]", "mask=(m < M)[:, None]"),
    ),
    wrong(
        "matmul_kernel",
        "k_of_b_not_masked",
        caught_by="the_rest_of_k_counts",
        because="what lies below the last row of b is multiplied by 0, and 0 times NaN is NaN",
        edit=("mask=(k < K)[:, None] & (n < N)[None, :]", "mask=(n < N)[None, :]"),
    ),
    wrong(
        "matmul_kernel",
        "masked_lanes_are_one",
        caught_by="the_rest_of_k_counts",
        because="masked numbers are 1 in both tiles, and their product counts",
        edit=(
            "mask=(m < M)[:, None] & (k < K)[None, :], other=0.0)\n        b = tl.load(b_at, mask=(k < K)[:, None] & (n < N)[None, :], other=0.0)",
            "mask=(m < M)[:, None] & (k < K)[None, :], other=1.0)\n        b = tl.load(b_at, mask=(k < K)[:, None] & (n < N)[None, :], other=1.0)",
        ),
    ),
    wrong(
        "matmul_kernel",
        "columns_not_masked",
        caught_by="ragged_edges_are_masked",
        because="the last tile column writes beyond N",
        edit=("mask=(m < M)[:, None] & (n < N)[None, :])", "mask=(m < M)[:, None])"),
    ),
    wrong(
        "matmul_kernel",
        "rows_not_masked",
        caught_by="ragged_edges_are_masked",
        because="the last tile row writes beyond M",
        edit=("mask=(m < M)[:, None] & (n < N)[None, :])", "mask=(n < N)[None, :])"),
    ),
    wrong(
        "matmul_kernel",
        "whole_tiles_only",
        caught_by="ragged_edges_are_masked",
        because="leaves out the tiles at the edges",
        edit=(
            "mask=(m < M)[:, None] & (n < N)[None, :])",
            "mask=(m < M // BLOCK_M * BLOCK_M)[:, None] & (n < N)[None, :])",
        ),
    ),
    wrong(
        "matmul_kernel",
        "b_taken_as_contiguous",
        caught_by="transposed_matrices",
        because="takes the columns of b to lie side by side",
        edit=("n[None, :] * b_column", "n[None, :]"),
    ),
    wrong(
        "matmul_kernel",
        "a_taken_as_contiguous",
        caught_by="transposed_matrices",
        because="takes the columns of a to lie side by side",
        edit=("k[None, :] * a_column", "k[None, :]"),
    ),
    wrong(
        "matmul_kernel",
        "out_taken_as_contiguous",
        caught_by="transposed_matrices",
        because="stores rows side by side whatever the strides say",
        edit=("n[None, :] * out_column", "n[None, :]"),
    ),
    wrong(
        "matmul_kernel",
        "half_precision_sum",
        caught_by="sums_are_kept_in_single",
        because="rounds the running sum to half precision at every block",
        edit=(
            'total = tl.dot(a, b, total, input_precision="ieee")',
            'total = (total + tl.dot(a, b, input_precision="ieee")).to(a.dtype).to(tl.float32)',
        ),
    ),
    right(
        "matmul_kernel",
        "moving_pointers",
        because="moves two blocks of pointers along K, and adds the products itself",
        body=MATMUL
        + """
    rows = tl.program_id(0) * BLOCK_M + tl.arange(0, BLOCK_M)
    columns = tl.program_id(1) * BLOCK_N + tl.arange(0, BLOCK_N)
    inner = tl.arange(0, BLOCK_K)
    a_block = a_ptr + rows[:, None] * a_row + inner[None, :] * a_column
    b_block = b_ptr + inner[:, None] * b_row + columns[None, :] * b_column
    acc = tl.zeros((BLOCK_M, BLOCK_N), dtype=tl.float32)
    for step in range(tl.cdiv(K, BLOCK_K)):
        left = K - step * BLOCK_K
        a = tl.load(a_block, mask=(rows[:, None] < M) & (inner[None, :] < left), other=0.0)
        b = tl.load(b_block, mask=(inner[:, None] < left) & (columns[None, :] < N), other=0.0)
        acc += tl.dot(a, b, input_precision="ieee")
        a_block += BLOCK_K * a_column
        b_block += BLOCK_K * b_row
    at = out_ptr + rows[:, None] * out_row + columns[None, :] * out_column
    tl.store(at, acc.to(out_ptr.dtype.element_ty), mask=(rows[:, None] < M) & (columns[None, :] < N))
""",
    ),
]
