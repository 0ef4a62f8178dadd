"""Named solutions of chapter 10, `triton_attention_forward`: kernels with one mistake each, and some written differently.

Judged equivalent and so not listed: loads of query rows without a mask (those rows are not stored), visiting all blocks of
keys (the mask hides what is behind; it only costs time), a sum of the rounded weights instead of the exact ones (within the
tolerance), 32-bit offsets (they overflow in tensors of more than two billion numbers), and TF32 products, which the
interpreter does not have.
"""

from autograder.variants.base import right, wrong

KERNEL = "attention_forward_kernel"

VARIANTS = [
    # ── one_head_kernel
    wrong(
        "one_head_kernel",
        "not_divided",
        caught_by="one_tile",
        because="forgets to divide the blend by the sum of the exponentials",
        edit=("blend / total[:, None], mask=in_row", "blend, mask=in_row"),
    ),
    wrong(
        "one_head_kernel",
        "scale_forgotten",
        caught_by="one_tile",
        because="takes the raw dot products as scores",
        edit=("scores = scale * tl.dot", "scores = tl.dot"),
    ),
    wrong(
        "one_head_kernel",
        "softmax_over_queries",
        caught_by="one_tile",
        because="reduces along the queries instead of the keys",
        edit=("total = total * shrink + tl.sum(weights, 1)", "total = total * shrink + tl.sum(weights, 0)"),
    ),
    wrong(
        "one_head_kernel",
        "zeros",
        caught_by="one_tile",
        because="writes zeros of the right shape",
        edit=("blend / total[:, None], mask=in_row", "blend * 0, mask=in_row"),
    ),
    wrong(
        "one_head_kernel",
        "every_program_the_first_block",
        caught_by="one_tile",
        because="ignores the number of the program",
        edit=("rows = tl.program_id(0) * BLOCK_Q + tl.arange(0, BLOCK_Q)", "rows = tl.arange(0, BLOCK_Q)"),
    ),
    wrong(
        "one_head_kernel",
        "spare_keys_count",
        caught_by="tails",
        because="keys that do not exist have the score 0 and take part",
        edit=('        scores = tl.where((key < keys)[None, :], scores, float("-inf"))\n', ""),
    ),
    wrong(
        "one_head_kernel",
        "rest_of_the_keys_dropped",
        caught_by="tails",
        because="walks over full blocks of keys only",
        edit=("range(0, keys, BLOCK_K)", "range(0, keys // BLOCK_K * BLOCK_K, BLOCK_K)"),
    ),
    wrong(
        "one_head_kernel",
        "rows_not_masked",
        caught_by="tails",
        because="stores a whole block of rows where fewer exist",
        edit=("blend / total[:, None], mask=in_row)", "blend / total[:, None])"),
    ),
    wrong(
        "one_head_kernel",
        "blend_keeps_the_old_base",
        caught_by="later_blocks_change_the_base",
        because="rescales the sum and not the blend",
        edit=("blend * shrink[:, None]", "blend"),
    ),
    wrong(
        "one_head_kernel",
        "sum_keeps_the_old_base",
        caught_by="later_blocks_change_the_base",
        because="rescales the blend and not the sum",
        edit=("total = total * shrink +", "total = total +"),
    ),
    wrong(
        "one_head_kernel",
        "maximum_of_the_last_block",
        caught_by="later_blocks_change_the_base",
        because="the base is the last block's maximum, not the running one, so the exponential of a difference overflows",
        edit=("new = tl.maximum(largest, tl.max(scores, 1))", "new = tl.max(scores, 1)"),
    ),
    wrong(
        "one_head_kernel",
        "shrink_upside_down",
        caught_by="later_blocks_change_the_base",
        because="multiplies by exp(new - old) instead of exp(old - new)",
        edit=(
            "shrink = tl.exp(largest - new)",
            'shrink = tl.where(largest == float("-inf"), 0.0, tl.exp(new - largest))',
        ),
    ),
    wrong(
        "one_head_kernel",
        "no_maximum",
        caught_by="later_blocks_change_the_base",
        because="never subtracts a maximum, so that large scores overflow",
        edit=("new = tl.maximum(largest, tl.max(scores, 1))", "new = tl.zeros([BLOCK_Q], tl.float32)"),
    ),
    wrong(
        "one_head_kernel",
        "lse_without_the_maximum",
        caught_by="log_sum_exp",
        because="stores the logarithm of the sum in the last base",
        edit=("largest + tl.log(total)", "tl.log(total)"),
    ),
    wrong(
        "one_head_kernel",
        "lse_of_base_two",
        caught_by="log_sum_exp",
        because="takes the logarithm to base 2",
        edit=("largest + tl.log(total)", "largest + tl.log2(total)"),
    ),
    right(
        "one_head_kernel",
        "normed_as_it_goes",
        because="keeps the finished softmax of what was seen, and joins by log-sum-exps",
        body="""
@triton.jit
def one_head_kernel(
    q_ptr, k_ptr, v_ptr, out_ptr, lse_ptr, queries, keys, scale,
    DIM: tl.constexpr, BLOCK_Q: tl.constexpr, BLOCK_K: tl.constexpr,
):
    i = tl.program_id(0) * BLOCK_Q + tl.arange(0, BLOCK_Q)
    d = tl.arange(0, DIM)
    place = i[:, None] * DIM + d[None, :]
    q = tl.load(q_ptr + place, mask=i[:, None] < queries, other=0.0) * scale
    out = tl.zeros([BLOCK_Q, DIM], tl.float32)
    lse = tl.full([BLOCK_Q], -1e30, tl.float32)
    for step in range(tl.cdiv(keys, BLOCK_K)):
        j = step * BLOCK_K + tl.arange(0, BLOCK_K)
        k = tl.load(k_ptr + j[None, :] * DIM + d[:, None], mask=j[None, :] < keys, other=0.0)
        v = tl.load(v_ptr + j[:, None] * DIM + d[None, :], mask=j[:, None] < keys, other=0.0)
        s = tl.dot(q, k, input_precision="ieee") + tl.where(j < keys, 0.0, float("-inf"))[None, :]
        top = tl.max(s, 1)
        p = tl.exp(s - top[:, None])
        here = top + tl.log(tl.sum(p, 1))
        both = tl.maximum(lse, here)
        both = both + tl.log(tl.exp(lse - both) + tl.exp(here - both))
        fresh = tl.dot(p * tl.exp(top - both)[:, None], v, input_precision="ieee")
        out = out * tl.exp(lse - both)[:, None] + fresh
        lse = both
    tl.store(out_ptr + place, out, mask=i[:, None] < queries)
    tl.store(lse_ptr + i, lse, mask=i < queries)
""",
    ),
    # ── blocks_to_visit
    wrong(
        "blocks_to_visit",
        "all_keys",
        caught_by="up_to_the_length",
        because="visits every block of keys whatever the length",
        edit=("end = length\n", "end = keys\n"),
    ),
    wrong(
        "blocks_to_visit",
        "last_block_dropped",
        caught_by="up_to_the_length",
        because="divides without rounding up",
        edit=("triton.cdiv(end, block_k)", "end // block_k"),
    ),
    wrong(
        "blocks_to_visit",
        "first_query_decides",
        caught_by="the_diagonal_block_counts",
        because="lets the first query of the block decide, whose later neighbours see more",
        edit=("last_query = min((block + 1) * block_q, queries) - 1", "last_query = block * block_q"),
    ),
    wrong(
        "blocks_to_visit",
        "diagonal_left_out",
        caught_by="the_diagonal_block_counts",
        because="a query does not see itself",
        edit=("last_query + keys - queries + 1", "last_query + keys - queries"),
    ),
    wrong(
        "blocks_to_visit",
        "causal_ignored",
        caught_by="the_diagonal_block_counts",
        because="visits all blocks under a causal mask too",
        edit=("if causal:", "if False:"),
    ),
    wrong(
        "blocks_to_visit",
        "aligned_at_the_start",
        caught_by="aligned_at_the_end",
        because="counts the diagonal from the first key",
        edit=("last_query + keys - queries + 1", "last_query + 1"),
    ),
    wrong(
        "blocks_to_visit",
        "negative",
        caught_by="aligned_at_the_end",
        because="returns a negative number where there is nothing to see",
        edit=("max(0, last_query + keys - queries + 1)", "last_query + keys - queries + 1 - block_k"),
    ),
    right(
        "blocks_to_visit",
        "by_counting",
        because="asks of every block whether somebody sees something of it",
        body="""
def blocks_to_visit(block, block_q, block_k, queries, keys, length, causal):
    rows = range(block * block_q, min((block + 1) * block_q, queries))
    needed = 0
    for number in range((keys + block_k - 1) // block_k):
        first = number * block_k
        if first < length and any(not causal or first <= i + keys - queries for i in rows):
            needed = number + 1
    return needed
""",
    ),
    # ── attention_forward_kernel
    wrong(
        KERNEL,
        "exp_for_exp2",
        caught_by="full_blocks",
        because="takes powers of e although the scale already holds log2(e)",
        edit=("weights = tl.exp2(scores - anchor[:, None])", "weights = tl.exp(scores - anchor[:, None])"),
    ),
    wrong(
        KERNEL,
        "not_divided",
        caught_by="full_blocks",
        because="forgets to divide by the sum of the exponentials",
        edit=("    blend = blend / total[:, None]\n", ""),
    ),
    wrong(
        KERNEL,
        "zeros",
        caught_by="full_blocks",
        because="writes zeros of the right shape",
        edit=("tl.store(out_at, blend.to(", "tl.store(out_at, (blend * 0).to("),
    ),
    wrong(
        KERNEL,
        "every_program_the_first_block",
        caught_by="full_blocks",
        because="ignores the number of the program along the queries",
        edit=("rows = tl.program_id(0) * BLOCK_Q + tl.arange(0, BLOCK_Q)", "rows = tl.arange(0, BLOCK_Q)"),
    ),
    wrong(
        KERNEL,
        "spare_keys_count",
        caught_by="ragged_ends",
        because="keys that do not exist have the score 0 and take part",
        edit=("seen = (key < end)[None, :]\n", "seen = (key >= 0)[None, :]\n"),
    ),
    wrong(
        KERNEL,
        "rest_of_the_keys_dropped",
        caught_by="ragged_ends",
        because="walks over full blocks of keys only",
        edit=("range(0, last, BLOCK_K)", "range(0, last // BLOCK_K * BLOCK_K, BLOCK_K)"),
    ),
    wrong(
        KERNEL,
        "rows_not_masked",
        caught_by="ragged_ends",
        because="stores a whole block of rows where fewer exist",
        edit=("mask=in_row[:, None] & in_dim[None, :])\n    lse =", "mask=in_dim[None, :])\n    lse ="),
    ),
    wrong(
        KERNEL,
        "lse_not_masked",
        caught_by="ragged_ends",
        because="stores a whole block of log-sum-exps, over the next head's or what lies behind",
        edit=("* queries + rows, lse, mask=in_row)", "* queries + rows, lse)"),
    ),
    wrong(
        KERNEL,
        "values_not_masked",
        caught_by="ragged_ends",
        because="loads values behind the last one: their weight is 0, and 0 times NaN is NaN",
        edit=("mask=(key < end)[:, None] & in_dim[None, :], other=0.0)", "mask=in_dim[None, :], other=0.0)"),
    ),
    wrong(
        KERNEL,
        "blend_keeps_the_old_base",
        caught_by="scores_of_any_size_in_any_order",
        because="rescales the sum and not the blend",
        edit=("blend * shrink[:, None]", "blend"),
    ),
    wrong(
        KERNEL,
        "sum_keeps_the_old_base",
        caught_by="scores_of_any_size_in_any_order",
        because="rescales the blend and not the sum",
        edit=("total = total * shrink +", "total = total +"),
    ),
    wrong(
        KERNEL,
        "maximum_of_the_last_block",
        caught_by="scores_of_any_size_in_any_order",
        because="takes the last block's maximum for the base",
        edit=("new = tl.maximum(largest, tl.max(scores, 1))", "new = tl.max(scores, 1)"),
    ),
    wrong(
        KERNEL,
        "no_maximum",
        caught_by="scores_of_any_size_in_any_order",
        because="never subtracts a maximum",
        edit=(
            'anchor = tl.where(new == float("-inf"), 0.0, new)',
            "new = tl.zeros([BLOCK_Q], tl.float32)\n        anchor = new",
        ),
    ),
    wrong(
        KERNEL,
        "batch_and_head_exchanged",
        caught_by="every_head_has_its_own",
        because="takes the remainder for the batch item",
        edit=(
            "batch = (tl.program_id(1) // heads).to(tl.int64)  # offsets into large tensors overflow 32 bits\n    head = (tl.program_id(1) % heads)",
            "batch = (tl.program_id(1) % heads).to(tl.int64)\n    head = (tl.program_id(1) // heads)",
        ),
    ),
    wrong(
        KERNEL,
        "first_batch_item_for_all",
        caught_by="every_head_has_its_own",
        because="leaves the batch out of the address of the keys",
        edit=("k_at = k_ptr + batch * k_batch + head // share", "k_at = k_ptr + head // share"),
    ),
    wrong(
        KERNEL,
        "lse_of_one_head",
        caught_by="every_head_has_its_own",
        because="stores every head's log-sum-exps over the first one's",
        edit=("tl.program_id(1).to(tl.int64) * queries + rows, lse", "rows, lse"),
    ),
    wrong(
        KERNEL,
        "contiguous_heads",
        caught_by="any_layout",
        because="takes the rows of q to follow each other",
        edit=("rows[:, None] * q_row + dims[None, :] * q_dim", "rows[:, None] * DIM + dims[None, :]"),
    ),
    wrong(
        KERNEL,
        "inner_stride_ignored",
        caught_by="any_layout",
        because="takes the numbers of a key to lie side by side",
        edit=("dims[:, None] * k_dim", "dims[:, None]"),
    ),
    wrong(
        KERNEL,
        "values_by_the_strides_of_keys",
        caught_by="any_layout",
        because="moves along the values with the keys' row stride",
        edit=("v_at + key[:, None] * v_row", "v_at + key[:, None] * k_row"),
    ),
    wrong(
        KERNEL,
        "out_by_the_strides_of_q",
        caught_by="any_layout",
        because="stores by the strides of the queries",
        edit=(
            "rows[:, None] * out_row + dims[None, :] * out_dim",
            "rows[:, None] * q_row + dims[None, :] * q_dim",
        ),
    ),
    wrong(
        KERNEL,
        "causal_ignored",
        caught_by="causal",
        because="every query sees every key of the blocks it visits",
        edit=(
            "            seen = seen & (key[None, :] <= rows[:, None] + keys - queries)\n",
            "            seen = seen\n",
        ),
    ),
    wrong(
        KERNEL,
        "aligned_at_the_start",
        caught_by="causal",
        because="aligns the mask at the top left, as PyTorch's is_causal does",
        edit=("key[None, :] <= rows[:, None] + keys - queries", "key[None, :] <= rows[:, None]"),
    ),
    wrong(
        KERNEL,
        "not_itself",
        caught_by="causal",
        because="a query does not see its own position",
        edit=(
            "key[None, :] <= rows[:, None] + keys - queries",
            "key[None, :] < rows[:, None] + keys - queries",
        ),
    ),
    wrong(
        KERNEL,
        "diagonal_block_skipped",
        caught_by="causal",
        because="stops before the block on the diagonal",
        edit=(
            "(tl.program_id(0) + 1) * BLOCK_Q + keys - queries",
            "tl.program_id(0) * BLOCK_Q + keys - queries",
        ),
    ),
    wrong(
        KERNEL,
        "stops_as_if_square",
        caught_by="causal",
        because="the end of the loop forgets that there may be more keys than queries",
        edit=(
            "tl.maximum(0, (tl.program_id(0) + 1) * BLOCK_Q + keys - queries)",
            "(tl.program_id(0) + 1) * BLOCK_Q",
        ),
    ),
    wrong(
        KERNEL,
        "lengths_ignored",
        caught_by="lengths_hide_the_padding",
        because="sees the padding",
        edit=("    if HAS_LENGTHS:\n", "    if False:\n"),
    ),
    wrong(
        KERNEL,
        "first_length_for_all",
        caught_by="lengths_hide_the_padding",
        because="uses the first batch item's length for all",
        edit=("tl.load(lengths_ptr + batch)", "tl.load(lengths_ptr)"),
    ),
    wrong(
        KERNEL,
        "one_key_too_many",
        caught_by="lengths_hide_the_padding",
        because="sees the key at the length too",
        edit=("seen = (key < end)[None, :]\n", "seen = ((key <= end) & (key < keys))[None, :]\n"),
    ),
    wrong(
        KERNEL,
        "causal_loop_forgets_the_length",
        caught_by="lengths_hide_the_padding",
        because="under a causal mask the loop and the mask go on behind the length",
        edit=(
            "last = tl.minimum(end, tl.maximum(0,",
            "end = keys\n        last = tl.minimum(end, tl.maximum(0,",
        ),
    ),
    wrong(
        KERNEL,
        "infinity_less_infinity",
        caught_by="nothing_to_see",
        because="subtracts minus infinity from minus infinity",
        edit=('tl.where(new == float("-inf"), 0.0, new)', "new"),
    ),
    wrong(
        KERNEL,
        "zero_by_zero",
        caught_by="nothing_to_see",
        because="divides nothing by nothing",
        edit=(
            "    total = tl.where(total == 0.0, 1.0, total)  # a row that saw nothing: blend is 0 and largest is -inf\n",
            "",
        ),
    ),
    wrong(
        KERNEL,
        "finite_fill",
        caught_by="nothing_to_see",
        because="hides keys with -1e4, so that a row without any key sees all of them alike",
        edit=('scores = tl.where(seen, scores, float("-inf"))', "scores = tl.where(seen, scores, -1.0e4)"),
    ),
    wrong(
        KERNEL,
        "groups_dealt_in_turn",
        caught_by="neighbours_share_a_group",
        because="deals the groups to the heads in turn: 0, 1, 0, 1",
        edit=(
            "v_at = v_ptr + batch * v_batch + head // share * v_head",
            "v_at = v_ptr + batch * v_batch + head % (heads // share) * v_head",
        ),
    ),
    wrong(
        KERNEL,
        "a_group_for_every_head",
        caught_by="neighbours_share_a_group",
        because="reads key head h for query head h, behind the last group",
        edit=(
            "k_at = k_ptr + batch * k_batch + head // share * k_head",
            "k_at = k_ptr + batch * k_batch + head * k_head",
        ),
    ),
    wrong(
        KERNEL,
        "lse_of_base_two",
        caught_by="any_scale",
        because="leaves the log-sum-exp in base 2",
        edit=(" * 0.6931471805599453", ""),
    ),
    wrong(
        KERNEL,
        "own_scale",
        caught_by="any_scale",
        because="divides by the root of the width, whatever the scale says",
        edit=("* scale_log2  #", "* (1.4426950408889634 / tl.sqrt(DIM * 1.0))  #"),
    ),
    wrong(
        KERNEL,
        "scale_made_positive",
        caught_by="any_scale",
        because="takes the size of the scale and loses its sign",
        edit=("* scale_log2  #", "* tl.abs(scale_log2)  #"),
    ),
    wrong(
        KERNEL,
        "width_not_masked_in_keys",
        caught_by="any_width",
        because="loads numbers behind the end of a key",
        edit=(
            "mask=in_dim[:, None] & (key < end)[None, :], other=0.0)",
            "mask=(key < end)[None, :], other=0.0)",
        ),
    ),
    wrong(
        KERNEL,
        "width_not_masked_in_the_store",
        caught_by="any_width",
        because="stores a whole block where the head is narrower",
        edit=("mask=in_row[:, None] & in_dim[None, :])\n    lse =", "mask=in_row[:, None])\n    lse ="),
    ),
    wrong(
        KERNEL,
        "half_precision_blend",
        caught_by="half_precision",
        because="keeps the blend in the dtype of the values",
        edit=(
            'blend = tl.dot(weights.to(v.dtype), v, blend * shrink[:, None], input_precision="ieee")',
            'blend = tl.dot(weights.to(v.dtype), v, blend * shrink[:, None], input_precision="ieee").to(v.dtype).to(tl.float32)',
        ),
    ),
    wrong(
        KERNEL,
        "half_precision_scores",
        caught_by="half_precision",
        because="rounds the scores to half precision before the exponential",
        edit=(
            'scores = tl.dot(q, k, input_precision="ieee") * scale_log2',
            'scores = (tl.dot(q, k, input_precision="ieee") * scale_log2).to(q.dtype).to(tl.float32)',
        ),
    ),
    wrong(
        KERNEL,
        "dead_rows_with_an_lse_of_zero",
        caught_by="nothing_to_see",
        because="gives a row that sees no key a log-sum-exp of 0",
        edit=(
            "lse = (largest + tl.log2(total)) * 0.6931471805599453",
            'lse = (tl.where(largest == float("-inf"), 0.0, largest) + tl.log2(total)) * 0.6931471805599453',
        ),
    ),
    wrong(
        KERNEL,
        "width_not_masked_in_queries",
        caught_by="any_width",
        because="loads numbers behind the end of a query: no key times NaN is NaN",
        edit=(
            "tl.load(q_at, mask=in_row[:, None] & in_dim[None, :], other=0.0)",
            "tl.load(q_at, mask=in_row[:, None] & (dims >= 0)[None, :], other=0.0)",
        ),
    ),
    wrong(
        KERNEL,
        "single_times_half",
        caught_by="half_precision",
        because="multiplies float32 weights with half-precision values, which tl.dot refuses",
        edit=(
            "tl.dot(weights.to(v.dtype), v,",
            "tl.dot(weights, v,",
        ),
    ),
    right(
        KERNEL,
        "masked_then_whole",
        because="adds minus infinity to hidden scores, a finite first maximum, and divides by multiplying",
        body="""
@triton.jit
def attention_forward_kernel(
    q_ptr, k_ptr, v_ptr, out_ptr, lse_ptr, lengths_ptr,
    q_batch, q_head, q_row, q_dim,
    k_batch, k_head, k_row, k_dim,
    v_batch, v_head, v_row, v_dim,
    out_batch, out_head, out_row, out_dim,
    heads, share, queries, keys, scale_log2,
    CAUSAL: tl.constexpr, HAS_LENGTHS: tl.constexpr, DIM: tl.constexpr,
    BLOCK_D: tl.constexpr, BLOCK_Q: tl.constexpr, BLOCK_K: tl.constexpr,
):
    pair = tl.program_id(1)
    b = pair // heads
    h = pair - b * heads
    g = h // share
    i = tl.program_id(0) * BLOCK_Q + tl.arange(0, BLOCK_Q)
    d = tl.arange(0, BLOCK_D)
    whole_q = (i[:, None] < queries) & (d[None, :] < DIM)
    q = tl.load(q_ptr + b * q_batch + h * q_head + i[:, None] * q_row + d[None, :] * q_dim, mask=whole_q, other=0.0)
    number = keys
    if HAS_LENGTHS:
        number = tl.load(lengths_ptr + b).to(tl.int32)
        number = tl.where(number < keys, number, keys)
    m = tl.full([BLOCK_Q], -1.0e30, tl.float32)
    l = tl.zeros([BLOCK_Q], tl.float32)
    acc = tl.zeros([BLOCK_Q, BLOCK_D], tl.float32)
    for step in range(tl.cdiv(number, BLOCK_K)):
        j = step * BLOCK_K + tl.arange(0, BLOCK_K)
        whole_k = (j[:, None] < number) & (d[None, :] < DIM)
        k = tl.load(k_ptr + b * k_batch + g * k_head + j[:, None] * k_row + d[None, :] * k_dim, mask=whole_k, other=0.0)
        v = tl.load(v_ptr + b * v_batch + g * v_head + j[:, None] * v_row + d[None, :] * v_dim, mask=whole_k, other=0.0)
        s = tl.dot(q, tl.trans(k), input_precision="ieee") * scale_log2
        s += tl.where(j < number, 0.0, float("-inf"))[None, :]
        if CAUSAL:
            s += tl.where(j[None, :] - i[:, None] > keys - queries, float("-inf"), 0.0)
        top = tl.maximum(m, tl.max(s, 1))
        p = tl.exp2(s - top[:, None])
        l = l * tl.exp2(m - top) + tl.sum(p, 1)
        acc = acc * tl.exp2(m - top)[:, None] + tl.dot(p.to(v.dtype), v, input_precision="ieee")
        m = top
    empty = l == 0.0
    acc = acc * (1.0 / tl.where(empty, 1.0, l))[:, None]
    tl.store(
        out_ptr + b * out_batch + h * out_head + i[:, None] * out_row + d[None, :] * out_dim,
        acc.to(out_ptr.dtype.element_ty), mask=whole_q,
    )
    lse = tl.where(empty, float("-inf"), m * 0.6931471805599453 + tl.log(tl.where(empty, 1.0, l)))
    tl.store(lse_ptr + pair * queries + i, lse, mask=i < queries)
""",
    ),
    # ── triton_attention
    wrong(
        "triton_attention",
        "grid_rounds_down",
        caught_by="the_whole_grid",
        because="leaves out the last block of queries when it is not full",
        edit=('triton.cdiv(queries, sizes["BLOCK_Q"])', 'max(1, queries // sizes["BLOCK_Q"])'),
    ),
    wrong(
        "triton_attention",
        "one_batch_item",
        caught_by="the_whole_grid",
        because="starts programs for one batch item only",
        edit=("batch * heads)\n", "heads)\n"),
    ),
    wrong(
        "triton_attention",
        "lse_in_the_dtype_of_q",
        caught_by="groups_widths_and_dtypes",
        because="keeps the log-sum-exp in the dtype of the inputs",
        edit=("dtype=torch.float32, device=q.device", "dtype=q.dtype, device=q.device"),
    ),
    wrong(
        "triton_attention",
        "zeros",
        caught_by="the_whole_grid",
        because="returns zeros of the right shape",
        edit=(
            "    out = torch.empty_like(q, memory_format=torch.contiguous_format)\n",
            "    return torch.zeros_like(q), torch.zeros(batch, heads, queries)\n"
            "    out = torch.empty_like(q, memory_format=torch.contiguous_format)\n",
        ),
    ),
    wrong(
        "triton_attention",
        "strides_of_a_copy",
        caught_by="strides_are_passed",
        because="passes the strides of contiguous tensors with the addresses of others",
        edit=(
            "*q.stride(), *k.stride(), *v.stride(),",
            "*q.contiguous().stride(), *k.contiguous().stride(), *v.contiguous().stride(),",
        ),
    ),
    wrong(
        "triton_attention",
        "values_with_the_strides_of_keys",
        caught_by="strides_are_passed",
        because="passes the strides of k twice",
        edit=("*k.stride(), *v.stride(),", "*k.stride(), *k.stride(),"),
    ),
    wrong(
        "triton_attention",
        "scale_without_base_change",
        caught_by="options_are_passed",
        because="forgets to multiply the scale by log2(e)",
        edit=("scale * LOG2_E", "scale"),
    ),
    wrong(
        "triton_attention",
        "own_scale",
        caught_by="options_are_passed",
        because="ignores the scale and takes one over the root of the width",
        edit=("scale * LOG2_E", "LOG2_E / dim**0.5"),
    ),
    wrong(
        "triton_attention",
        "causal_not_passed",
        caught_by="options_are_passed",
        because="never asks for a causal mask",
        edit=("CAUSAL=causal", "CAUSAL=False"),
    ),
    wrong(
        "triton_attention",
        "lengths_not_passed",
        caught_by="options_are_passed",
        because="never hides padding",
        edit=("HAS_LENGTHS=lengths is not None", "HAS_LENGTHS=False"),
    ),
    wrong(
        "triton_attention",
        "groups_for_share",
        caught_by="groups_widths_and_dtypes",
        because="passes the number of groups where the share is asked",
        edit=("heads, heads // k.shape[1],", "heads, k.shape[1],"),
    ),
    right(
        "triton_attention",
        "by_names",
        because="small tiles, strides one by one, a heads axis of the grid first computed apart",
        body="""
def triton_attention(q, k, v, causal, lengths, scale):
    check_inputs(q, k, v, lengths)
    B, H, N, D = q.shape
    G, M = k.shape[1], k.shape[2]
    out = torch.empty((B, H, N, D), dtype=q.dtype, device=q.device)
    lse = torch.empty((B, H, N), dtype=torch.float32, device=q.device)
    width = 16
    while width < D:
        width *= 2
    strides = []
    for tensor in (q, k, v, out):
        for axis in range(4):
            strides.append(tensor.stride(axis))
    attention_forward_kernel[(-(-N // 16), B * H)](
        q, k, v, out, lse, lengths if lengths is not None else lse, *strides, H, H // G, N, M, scale / math.log(2),
        CAUSAL=causal, HAS_LENGTHS=lengths is not None, DIM=D, BLOCK_D=width, BLOCK_Q=16, BLOCK_K=16,
    )
    return out, lse
""",
    ),
]
