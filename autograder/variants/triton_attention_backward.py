"""Named solutions of chapter 11, `triton_attention_backward`: kernels with one mistake each, and some written differently.

Judged equivalent and so not listed: walking over all blocks under a causal mask (the mask hides the rest; it only costs
time), loads of rows that are masked again before they count, queries that do not exist but get a weight (their gradient and
delta were loaded as 0, so they add nothing), and 32-bit offsets.
"""

from autograder.variants.base import right, wrong

DELTA, DKDV, DQ, FUNCTION = "delta_kernel", "dkdv_kernel", "dq_kernel", "TritonAttention"

VARIANTS = [
    # ── delta_kernel
    wrong(
        DELTA,
        "zeros",
        caught_by="one_number_a_row",
        because="writes zeros",
        edit=("tl.store(at, tl.sum(out * dout, 1)", "tl.store(at, tl.sum(out * 0, 1)"),
    ),
    wrong(
        DELTA,
        "squares",
        caught_by="one_number_a_row",
        because="multiplies out with itself",
        edit=("tl.sum(out * dout, 1)", "tl.sum(out * out, 1)"),
    ),
    wrong(
        DELTA,
        "over_the_rows",
        caught_by="one_number_a_row",
        because="sums over the rows instead of the width",
        edit=("tl.sum(out * dout, 1)", "tl.sum(out * dout, 0)"),
    ),
    wrong(
        DELTA,
        "first_block_only",
        caught_by="one_number_a_row",
        because="ignores the number of the program along the rows",
        edit=("rows = tl.program_id(0) * BLOCK_Q + tl.arange(0, BLOCK_Q)", "rows = tl.arange(0, BLOCK_Q)"),
    ),
    wrong(
        DELTA,
        "rows_not_masked",
        caught_by="spare_lanes",
        because="stores a whole block of rows, over the next head's",
        edit=("tl.sum(out * dout, 1), mask=rows < queries)", "tl.sum(out * dout, 1))"),
    ),
    wrong(
        DELTA,
        "width_not_masked",
        caught_by="spare_lanes",
        because="reads numbers behind the end of a row",
        edit=(
            "inside = (rows < queries)[:, None] & (dims < DIM)[None, :]",
            "inside = (rows < queries)[:, None] & (dims >= 0)[None, :]",
        ),
    ),
    wrong(
        DELTA,
        "dout_by_the_strides_of_out",
        caught_by="strides_and_precision",
        because="reads dout where out lies",
        edit=(
            "rows[:, None] * dout_row + dims[None, :] * dout_dim",
            "rows[:, None] * out_row + dims[None, :] * out_dim",
        ),
    ),
    wrong(
        DELTA,
        "half_precision_product",
        caught_by="strides_and_precision",
        because="multiplies in the dtype of the inputs",
        edit=("tl.sum(out * dout, 1)", "tl.sum((out * dout).to(out_ptr.dtype.element_ty).to(tl.float32), 1)"),
    ),
    right(
        DELTA,
        "row_by_row_pointers",
        because="moves the pointers to the head first, and masks by where",
        body="""
@triton.jit
def delta_kernel(
    out_ptr, dout_ptr, delta_ptr,
    out_batch, out_head, out_row, out_dim,
    dout_batch, dout_head, dout_row, dout_dim,
    heads, queries,
    DIM: tl.constexpr, BLOCK_D: tl.constexpr, BLOCK_Q: tl.constexpr,
):
    pair = tl.program_id(1)
    out_ptr += (pair // heads) * out_batch + (pair % heads) * out_head
    dout_ptr += (pair // heads) * dout_batch + (pair % heads) * dout_head
    i = tl.program_id(0) * BLOCK_Q + tl.arange(0, BLOCK_Q)[:, None]
    d = tl.arange(0, BLOCK_D)[None, :]
    fits = (i < queries) & (d < DIM)
    a = tl.load(out_ptr + i * out_row + d * out_dim, mask=fits, other=0.0)
    b = tl.load(dout_ptr + i * dout_row + d * dout_dim, mask=fits, other=0.0)
    product = a.to(tl.float32) * b.to(tl.float32)
    rows = tl.program_id(0) * BLOCK_Q + tl.arange(0, BLOCK_Q)
    tl.store(delta_ptr + pair * queries + rows, tl.sum(product, axis=1), mask=rows < queries)
""",
    ),
    # ── dkdv_kernel
    wrong(
        DKDV,
        "zeros",
        caught_by="keys_of_full_blocks",
        because="writes zeros",
        edit=(
            "tl.store(dv_ptr + at, dv.to(",
            "dk, dv = dk * 0, dv * 0\n    tl.store(dk_ptr + at, dk.to(dk_ptr.dtype.element_ty), mask=to)\n    tl.store(dv_ptr + at, dv.to(",
        ),
    ),
    wrong(
        DKDV,
        "delta_forgotten",
        caught_by="keys_of_full_blocks",
        because="leaves out what the softmax's Jacobian subtracts",
        edit=("weights * (dweights - delta[None, :])", "weights * dweights"),
    ),
    wrong(
        DKDV,
        "delta_added",
        caught_by="keys_of_full_blocks",
        because="adds delta instead of subtracting it",
        edit=("(dweights - delta[None, :])", "(dweights + delta[None, :])"),
    ),
    wrong(
        DKDV,
        "weights_not_normed",
        caught_by="keys_of_full_blocks",
        because="forgets the log-sum-exp in the exponent",
        edit=("scores - lse[None, :] * 1.4426950408889634", "scores"),
    ),
    wrong(
        DKDV,
        "detached_scores",
        caught_by="keys_of_full_blocks",
        because="takes the weights for constants: nothing reaches the keys",
        edit=("dk = tl.dot(dscores.to(q.dtype), q, dk,", "dk = tl.dot((dscores * 0).to(q.dtype), q, dk,"),
    ),
    wrong(
        DKDV,
        "last_block_only",
        caught_by="keys_of_full_blocks",
        because="each block of queries replaces dv instead of adding to it",
        edit=(
            "dv = tl.dot(weights.to(dout.dtype), dout, dv,",
            "dv = tl.dot(weights.to(dout.dtype), dout, dv * 0,",
        ),
    ),
    wrong(
        DKDV,
        "spare_gradients_loaded",
        caught_by="keys_at_ragged_ends",
        because="loads gradients of queries that do not exist: no weight times NaN is NaN",
        edit=(
            "dout_at + rows[:, None] * dout_row, mask=inside, other=0.0",
            "dout_at + rows[:, None] * dout_row, mask=in_dim[None, :], other=0.0",
        ),
    ),
    wrong(
        DKDV,
        "rest_of_the_queries_dropped",
        caught_by="keys_at_ragged_ends",
        because="walks over full blocks of queries only",
        edit=("range(first, queries, BLOCK_Q)", "range(first, queries // BLOCK_Q * BLOCK_Q, BLOCK_Q)"),
    ),
    wrong(
        DKDV,
        "rows_not_masked",
        caught_by="keys_at_ragged_ends",
        because="stores a whole block of keys where fewer exist",
        edit=("to = (key < keys)[:, None] & in_dim[None, :]", "to = (key >= 0)[:, None] & in_dim[None, :]"),
    ),
    wrong(
        DKDV,
        "width_not_masked",
        caught_by="keys_at_ragged_ends",
        because="stores the spare lanes of the width",
        edit=(
            "to = (key < keys)[:, None] & in_dim[None, :]",
            "to = (key < keys)[:, None] & (dims >= 0)[None, :]",
        ),
    ),
    wrong(
        DKDV,
        "causal_forgotten",
        caught_by="keys_under_a_causal_mask",
        because="the forward pass was masked, the backward pass is not",
        edit=(
            "                seen = seen & (key[:, None] <= rows[None, :] + keys - queries)\n",
            "                seen = seen\n",
        ),
    ),
    wrong(
        DKDV,
        "aligned_at_the_start",
        caught_by="keys_under_a_causal_mask",
        because="aligns the mask at the top left",
        edit=("key[:, None] <= rows[None, :] + keys - queries", "key[:, None] <= rows[None, :]"),
    ),
    wrong(
        DKDV,
        "diagonal_left_out",
        caught_by="keys_under_a_causal_mask",
        because="a query does not see its own position",
        edit=(
            "key[:, None] <= rows[None, :] + keys - queries",
            "key[:, None] < rows[None, :] + keys - queries",
        ),
    ),
    wrong(
        DKDV,
        "begins_as_if_square",
        caught_by="keys_under_a_causal_mask",
        because="the walk begins too late where there are more keys than queries",
        edit=(
            "tl.maximum(0, tl.program_id(0) * BLOCK_K - (keys - queries)) // BLOCK_Q * BLOCK_Q",
            "tl.program_id(0) * BLOCK_K // BLOCK_Q * BLOCK_Q",
        ),
    ),
    wrong(
        DKDV,
        "begins_after_the_diagonal",
        caught_by="keys_under_a_causal_mask",
        because="begins with the first block that sees all keys of this one",
        edit=(
            "tl.maximum(0, tl.program_id(0) * BLOCK_K - (keys - queries)) // BLOCK_Q * BLOCK_Q",
            "tl.maximum(0, (tl.program_id(0) + 1) * BLOCK_K - (keys - queries)) // BLOCK_Q * BLOCK_Q",
        ),
    ),
    wrong(
        DKDV,
        "lengths_ignored",
        caught_by="padded_keys_get_nothing",
        because="gives gradients to the padding",
        edit=("    if HAS_LENGTHS:\n", "    if False:\n"),
    ),
    wrong(
        DKDV,
        "first_length_for_all",
        caught_by="padded_keys_get_nothing",
        because="uses the first batch item's length for all",
        edit=("tl.load(lengths_ptr + batch)", "tl.load(lengths_ptr)"),
    ),
    wrong(
        DKDV,
        "padding_not_written",
        caught_by="padded_keys_get_nothing",
        because="leaves the gradients of the padding as they were: uninitialised memory",
        edit=("to = (key < keys)[:, None] & in_dim[None, :]", "to = (key < end)[:, None] & in_dim[None, :]"),
    ),
    wrong(
        DKDV,
        "first_head_of_the_group",
        caught_by="a_group_collects_its_heads",
        because="only the first head of a group gives a gradient",
        edit=("for member in range(share):", "for member in range(1):"),
    ),
    wrong(
        DKDV,
        "counted_twice",
        caught_by="a_group_collects_its_heads",
        because="the heads of a group are counted from the first head on, for every group",
        edit=("head = group * share + member", "head = group + member"),
    ),
    wrong(
        DKDV,
        "groups_dealt_in_turn",
        caught_by="a_group_collects_its_heads",
        because="takes every groups-th head for the group",
        edit=("head = group * share + member", "head = member * groups + group"),
    ),
    wrong(
        DKDV,
        "lse_of_the_first_batch_item",
        caught_by="a_group_collects_its_heads",
        because="reads the first batch item's log-sum-exps for all",
        edit=("row_at = (batch * groups * share + head) * queries", "row_at = head * queries"),
    ),
    wrong(
        DKDV,
        "dout_by_the_strides_of_q",
        caught_by="keys_in_any_layout",
        because="reads dout where q lies",
        edit=("dout_at + rows[:, None] * dout_row", "dout_at + rows[:, None] * q_row"),
    ),
    wrong(
        DKDV,
        "stores_by_the_strides_of_k",
        caught_by="keys_in_any_layout",
        because="stores the gradients where k lies",
        edit=(
            "key[:, None] * dk_row + dims[None, :] * dk_dim",
            "key[:, None] * k_row + dims[None, :] * k_dim",
        ),
    ),
    wrong(
        DKDV,
        "inner_stride_ignored",
        caught_by="keys_in_any_layout",
        because="takes the numbers of a value to lie side by side",
        edit=("key[:, None] * v_row + dims[None, :] * v_dim", "key[:, None] * v_row + dims[None, :]"),
    ),
    wrong(
        DKDV,
        "scale_missing_in_dk",
        caught_by="keys_with_any_scale",
        because="forgets that the score was scaled",
        edit=("(dk * scale).to(", "dk.to("),
    ),
    wrong(
        DKDV,
        "scale_in_dv",
        caught_by="keys_with_any_scale",
        because="scales dv too",
        edit=("tl.store(dv_ptr + at, dv.to(", "tl.store(dv_ptr + at, (dv * scale).to("),
    ),
    wrong(
        DKDV,
        "bases_mixed",
        caught_by="keys_with_any_scale",
        because="subtracts the natural log-sum-exp from a score of base 2",
        edit=("scores - lse[None, :] * 1.4426950408889634", "scores - lse[None, :]"),
    ),
    wrong(
        DKDV,
        "delta_of_the_first_batch_item",
        caught_by="a_group_collects_its_heads",
        because="reads the first batch item's delta for all",
        edit=(
            "tl.load(delta_ptr + row_at + rows, mask",
            "tl.load(delta_ptr + head * queries + rows, mask",
        ),
    ),
    wrong(
        DKDV,
        "half_precision_dv",
        caught_by="keys_in_half_precision",
        because="rounds the sum of dv to half precision at every block",
        edit=(
            'dv = tl.dot(weights.to(dout.dtype), dout, dv, input_precision="ieee")',
            'dv = tl.dot(weights.to(dout.dtype), dout, dv, input_precision="ieee").to(dout.dtype).to(tl.float32)',
        ),
    ),
    wrong(
        DKDV,
        "half_precision_dk",
        caught_by="keys_in_half_precision",
        because="rounds the sum of dk to half precision at every block",
        edit=(
            'dk = tl.dot(dscores.to(q.dtype), q, dk, input_precision="ieee")',
            'dk = tl.dot(dscores.to(q.dtype), q, dk, input_precision="ieee").to(q.dtype).to(tl.float32)',
        ),
    ),
    wrong(
        DKDV,
        "half_precision_scores",
        caught_by="keys_in_half_precision",
        because="rounds the scores to half precision before the exponential",
        edit=(
            "* (scale * 1.4426950408889634)\n            exponent",
            "* (scale * 1.4426950408889634)\n            scores = scores.to(q.dtype).to(tl.float32)\n            exponent",
        ),
    ),
    wrong(
        DKDV,
        "single_times_half",
        caught_by="keys_in_half_precision",
        because="multiplies float32 weights with half-precision gradients, which tl.dot refuses",
        edit=(
            "tl.dot(weights.to(dout.dtype), dout,",
            "tl.dot(weights, dout,",
        ),
    ),
    right(
        DKDV,
        "natural_base",
        because="exp instead of exp2, q scaled when loaded, weights and gradients not transposed until the product",
        body="""
@triton.jit
def dkdv_kernel(
    q_ptr, k_ptr, v_ptr, dout_ptr, dk_ptr, dv_ptr, lse_ptr, delta_ptr, lengths_ptr,
    q_batch, q_head, q_row, q_dim,
    k_batch, k_head, k_row, k_dim,
    v_batch, v_head, v_row, v_dim,
    dout_batch, dout_head, dout_row, dout_dim,
    dk_batch, dk_head, dk_row, dk_dim,
    groups, share, queries, keys, scale,
    CAUSAL: tl.constexpr, HAS_LENGTHS: tl.constexpr, DIM: tl.constexpr,
    BLOCK_D: tl.constexpr, BLOCK_Q: tl.constexpr, BLOCK_K: tl.constexpr,
):
    b = tl.program_id(1) // groups
    g = tl.program_id(1) % groups
    j = tl.program_id(0) * BLOCK_K + tl.arange(0, BLOCK_K)
    d = tl.arange(0, BLOCK_D)
    number = keys
    if HAS_LENGTHS:
        number = tl.load(lengths_ptr + b).to(tl.int32)
    there = (j[:, None] < number) & (j[:, None] < keys) & (d[None, :] < DIM)
    k = tl.load(k_ptr + b * k_batch + g * k_head + j[:, None] * k_row + d[None, :] * k_dim, mask=there, other=0.0)
    v = tl.load(v_ptr + b * v_batch + g * v_head + j[:, None] * v_row + d[None, :] * v_dim, mask=there, other=0.0)
    dk = tl.zeros([BLOCK_K, BLOCK_D], tl.float32)
    dv = tl.zeros([BLOCK_K, BLOCK_D], tl.float32)
    for step in range(share * tl.cdiv(queries, BLOCK_Q)):
        h = g * share + step % share
        i = (step // share) * BLOCK_Q + tl.arange(0, BLOCK_Q)
        real = (i[:, None] < queries) & (d[None, :] < DIM)
        q = tl.load(q_ptr + b * q_batch + h * q_head + i[:, None] * q_row + d[None, :] * q_dim, mask=real, other=0.0)
        do = tl.load(
            dout_ptr + b * dout_batch + h * dout_head + i[:, None] * dout_row + d[None, :] * dout_dim, mask=real, other=0.0
        )
        line = (b * groups * share + h) * queries + i
        lse = tl.load(lse_ptr + line, mask=i < queries, other=0.0)
        delta = tl.load(delta_ptr + line, mask=i < queries, other=0.0)
        keep = (i[:, None] < queries) & (j[None, :] < number) & (j[None, :] < keys)
        if CAUSAL:
            keep &= j[None, :] - i[:, None] <= keys - queries
        s = tl.dot(q, tl.trans(k), input_precision="ieee") * scale
        p = tl.where(keep, tl.exp(tl.where(keep, s - lse[:, None], 0.0)), 0.0)
        dv += tl.dot(tl.trans(p).to(do.dtype), do, input_precision="ieee")
        ds = p * (tl.dot(do, tl.trans(v), input_precision="ieee") - delta[:, None]) * scale
        dk += tl.dot(tl.trans(ds).to(q.dtype), q, input_precision="ieee")
    place = b * dk_batch + g * dk_head + j[:, None] * dk_row + d[None, :] * dk_dim
    fits = (j[:, None] < keys) & (d[None, :] < DIM)
    tl.store(dk_ptr + place, dk.to(dk_ptr.dtype.element_ty), mask=fits)
    tl.store(dv_ptr + place, dv.to(dv_ptr.dtype.element_ty), mask=fits)
""",
    ),
    # ── dq_kernel
    wrong(
        DQ,
        "zeros",
        caught_by="queries_of_full_blocks",
        because="writes zeros",
        edit=("(dq * scale).to(", "(dq * 0).to("),
    ),
    wrong(
        DQ,
        "delta_forgotten",
        caught_by="queries_of_full_blocks",
        because="leaves out what the softmax's Jacobian subtracts",
        edit=("weights * (dweights - delta[:, None])", "weights * dweights"),
    ),
    wrong(
        DQ,
        "values_for_keys",
        caught_by="queries_of_full_blocks",
        because="multiplies by the values at the end",
        edit=("tl.dot(dscores.to(k.dtype), k, dq,", "tl.dot(dscores.to(v.dtype), v, dq,"),
    ),
    wrong(
        DQ,
        "last_block_only",
        caught_by="queries_of_full_blocks",
        because="each block of keys replaces the sum instead of adding to it",
        edit=("tl.dot(dscores.to(k.dtype), k, dq,", "tl.dot(dscores.to(k.dtype), k, dq * 0,"),
    ),
    wrong(
        DQ,
        "keys_not_masked",
        caught_by="queries_at_ragged_ends",
        because="loads keys that do not exist: no weight times NaN is NaN",
        edit=(
            "here = (key < end)[:, None] & in_dim[None, :]",
            "here = (key >= 0)[:, None] & in_dim[None, :]",
        ),
    ),
    wrong(
        DQ,
        "rest_of_the_keys_dropped",
        caught_by="queries_at_ragged_ends",
        because="walks over full blocks of keys only",
        edit=("range(0, last, BLOCK_K)", "range(0, last // BLOCK_K * BLOCK_K, BLOCK_K)"),
    ),
    wrong(
        DQ,
        "rows_not_masked",
        caught_by="queries_at_ragged_ends",
        because="stores a whole block of rows where fewer exist",
        edit=(
            "(dq * scale).to(dq_ptr.dtype.element_ty), mask=inside)",
            "(dq * scale).to(dq_ptr.dtype.element_ty), mask=in_dim[None, :])",
        ),
    ),
    wrong(
        DQ,
        "causal_forgotten",
        caught_by="queries_under_a_causal_mask",
        because="the forward pass was masked, the backward pass is not",
        edit=(
            "            seen = seen & (key[None, :] <= rows[:, None] + keys - queries)\n",
            "            seen = seen\n",
        ),
    ),
    wrong(
        DQ,
        "aligned_at_the_start",
        caught_by="queries_under_a_causal_mask",
        because="aligns the mask at the top left",
        edit=("key[None, :] <= rows[:, None] + keys - queries", "key[None, :] <= rows[:, None]"),
    ),
    wrong(
        DQ,
        "diagonal_block_skipped",
        caught_by="queries_under_a_causal_mask",
        because="stops before the block on the diagonal",
        edit=(
            "(tl.program_id(0) + 1) * BLOCK_Q + keys - queries",
            "tl.program_id(0) * BLOCK_Q + keys - queries",
        ),
    ),
    wrong(
        DQ,
        "infinity_less_infinity",
        caught_by="queries_under_a_causal_mask",
        because="a dead row's log-sum-exp is minus infinity: the difference is not masked",
        edit=(
            'tl.where(seen, scores - lse[:, None] * 1.4426950408889634, float("-inf"))',
            'tl.where(seen, scores, float("-inf")) - lse[:, None] * 1.4426950408889634',
        ),
    ),
    wrong(
        DQ,
        "lengths_ignored",
        caught_by="padding_pulls_at_nobody",
        because="the padding pulls at the queries",
        edit=("    if HAS_LENGTHS:\n", "    if False:\n"),
    ),
    wrong(
        DQ,
        "first_length_for_all",
        caught_by="padding_pulls_at_nobody",
        because="uses the first batch item's length for all",
        edit=("tl.load(lengths_ptr + batch)", "tl.load(lengths_ptr)"),
    ),
    wrong(
        DQ,
        "groups_dealt_in_turn",
        caught_by="queries_of_every_head",
        because="deals the groups to the heads in turn",
        edit=(
            "k_at = k_ptr + batch * k_batch + head // share * k_head",
            "k_at = k_ptr + batch * k_batch + head % (heads // share) * k_head",
        ),
    ),
    wrong(
        DQ,
        "dout_by_the_strides_of_q",
        caught_by="queries_of_every_head",
        because="reads dout where q lies",
        edit=(
            "rows[:, None] * dout_row + dims[None, :] * dout_dim",
            "rows[:, None] * q_row + dims[None, :] * q_dim",
        ),
    ),
    wrong(
        DQ,
        "stores_by_the_strides_of_q",
        caught_by="queries_of_every_head",
        because="stores the gradients where q lies",
        edit=(
            "rows[:, None] * dq_row + dims[None, :] * dq_dim",
            "rows[:, None] * q_row + dims[None, :] * q_dim",
        ),
    ),
    wrong(
        DQ,
        "scale_missing",
        caught_by="queries_with_any_scale",
        because="forgets that the score was scaled",
        edit=("(dq * scale).to(", "dq.to("),
    ),
    wrong(
        DQ,
        "scale_twice",
        caught_by="queries_with_any_scale",
        because="multiplies by the scale in the loop and at the end",
        edit=("weights * (dweights - delta[:, None])", "weights * (dweights - delta[:, None]) * scale"),
    ),
    wrong(
        DQ,
        "bases_mixed",
        caught_by="queries_with_any_scale",
        because="subtracts the natural log-sum-exp from a score of base 2",
        edit=("scores - lse[:, None] * 1.4426950408889634", "scores - lse[:, None]"),
    ),
    wrong(
        DQ,
        "half_precision_sum",
        caught_by="queries_in_half_precision",
        because="rounds the sum to half precision at every block",
        edit=(
            'dq = tl.dot(dscores.to(k.dtype), k, dq, input_precision="ieee")',
            'dq = tl.dot(dscores.to(k.dtype), k, dq, input_precision="ieee").to(k.dtype).to(tl.float32)',
        ),
    ),
    wrong(
        DQ,
        "half_precision_scores",
        caught_by="queries_in_half_precision",
        because="rounds the scores to half precision before the exponential",
        edit=(
            "* (scale * 1.4426950408889634)\n        exponent",
            "* (scale * 1.4426950408889634)\n        scores = scores.to(q.dtype).to(tl.float32)\n        exponent",
        ),
    ),
    wrong(
        DQ,
        "single_times_half",
        caught_by="queries_in_half_precision",
        because="multiplies float32 dscores with half-precision keys, which tl.dot refuses",
        edit=(
            "tl.dot(dscores.to(k.dtype), k,",
            "tl.dot(dscores, k,",
        ),
    ),
    right(
        DQ,
        "natural_base",
        because="exp instead of exp2, keys loaded transposed, all blocks visited",
        body="""
@triton.jit
def dq_kernel(
    q_ptr, k_ptr, v_ptr, dout_ptr, dq_ptr, lse_ptr, delta_ptr, lengths_ptr,
    q_batch, q_head, q_row, q_dim,
    k_batch, k_head, k_row, k_dim,
    v_batch, v_head, v_row, v_dim,
    dout_batch, dout_head, dout_row, dout_dim,
    dq_batch, dq_head, dq_row, dq_dim,
    heads, share, queries, keys, scale,
    CAUSAL: tl.constexpr, HAS_LENGTHS: tl.constexpr, DIM: tl.constexpr,
    BLOCK_D: tl.constexpr, BLOCK_Q: tl.constexpr, BLOCK_K: tl.constexpr,
):
    pair = tl.program_id(1)
    b = pair // heads
    h = pair % heads
    i = tl.program_id(0) * BLOCK_Q + tl.arange(0, BLOCK_Q)
    d = tl.arange(0, BLOCK_D)
    real = (i[:, None] < queries) & (d[None, :] < DIM)
    q = tl.load(q_ptr + b * q_batch + h * q_head + i[:, None] * q_row + d[None, :] * q_dim, mask=real, other=0.0)
    do = tl.load(dout_ptr + b * dout_batch + h * dout_head + i[:, None] * dout_row + d[None, :] * dout_dim, mask=real, other=0.0)
    lse = tl.load(lse_ptr + pair * queries + i, mask=i < queries, other=0.0)[:, None]
    delta = tl.load(delta_ptr + pair * queries + i, mask=i < queries, other=0.0)[:, None]
    number = keys
    if HAS_LENGTHS:
        number = tl.load(lengths_ptr + b).to(tl.int32)
    dq = tl.zeros([BLOCK_Q, BLOCK_D], tl.float32)
    for step in range(tl.cdiv(keys, BLOCK_K)):
        j = step * BLOCK_K + tl.arange(0, BLOCK_K)
        there = (j < keys) & (j < number)
        fits = there[None, :] & (d[:, None] < DIM)
        kt = tl.load(k_ptr + b * k_batch + h // share * k_head + j[None, :] * k_row + d[:, None] * k_dim, mask=fits, other=0.0)
        vt = tl.load(v_ptr + b * v_batch + h // share * v_head + j[None, :] * v_row + d[:, None] * v_dim, mask=fits, other=0.0)
        keep = there[None, :] & (i[:, None] < queries)
        if CAUSAL:
            keep &= j[None, :] - i[:, None] <= keys - queries
        s = tl.dot(q, kt, input_precision="ieee") * scale
        p = tl.where(keep, tl.exp(tl.where(keep, s - lse, 0.0)), 0.0)
        ds = p * (tl.dot(do, vt, input_precision="ieee") - delta) * scale
        dq += tl.dot(ds.to(kt.dtype), tl.trans(kt), input_precision="ieee")
    place = b * dq_batch + h * dq_head + i[:, None] * dq_row + d[None, :] * dq_dim
    tl.store(dq_ptr + place, dq.to(dq_ptr.dtype.element_ty), mask=real)
""",
    ),
    # ── TritonAttention
    wrong(
        FUNCTION,
        "keys_and_values_exchanged",
        caught_by="gradients_flow",
        because="returns the gradients of k and v in the wrong order",
        edit=("return dq, dk, dv, None, None, None", "return dq, dv, dk, None, None, None"),
    ),
    wrong(
        FUNCTION,
        "too_few_gradients",
        caught_by="gradients_flow",
        because="returns three gradients for six arguments",
        edit=("return dq, dk, dv, None, None, None", "return dq, dk, dv"),
    ),
    wrong(
        FUNCTION,
        "zeros",
        caught_by="gradients_flow",
        because="gradients of zero",
        edit=("return dq, dk, dv, None, None, None", "return 0 * dq, 0 * dk, 0 * dv, None, None, None"),
    ),
    wrong(
        FUNCTION,
        "output_saved_as_values",
        caught_by="gradients_flow",
        because="saves v where out is read: delta is wrong",
        edit=(
            "ctx.save_for_backward(q, k, v, out, lse, lengths)",
            "ctx.save_for_backward(q, k, v, q, lse, lengths)",
        ),
    ),
    wrong(
        FUNCTION,
        "causal_forgotten",
        caught_by="options_reach_the_backward_pass",
        because="the backward pass runs without the causal mask",
        edit=("lse, None, ctx.causal, lengths, ctx.scale", "lse, None, False, lengths, ctx.scale"),
    ),
    wrong(
        FUNCTION,
        "lengths_forgotten",
        caught_by="options_reach_the_backward_pass",
        because="the backward pass runs without the lengths",
        edit=("lse, None, ctx.causal, lengths, ctx.scale", "lse, None, ctx.causal, None, ctx.scale"),
    ),
    wrong(
        FUNCTION,
        "own_scale",
        caught_by="options_reach_the_backward_pass",
        because="the backward pass takes one over the root of the width",
        edit=(
            "lse, None, ctx.causal, lengths, ctx.scale",
            "lse, None, ctx.causal, lengths, q.shape[-1] ** -0.5",
        ),
    ),
    wrong(
        FUNCTION,
        "ones_from_above",
        caught_by="the_upstream_gradient_counts",
        because="takes the gradient from above to be one everywhere",
        edit=("triton_attention_backward(dout, q,", "triton_attention_backward(torch.ones_like(dout), q,"),
    ),
    wrong(
        FUNCTION,
        "sign_lost",
        caught_by="the_upstream_gradient_counts",
        because="takes the size of the gradient from above",
        edit=("triton_attention_backward(dout, q,", "triton_attention_backward(dout.abs(), q,"),
    ),
    wrong(
        FUNCTION,
        "infinite_lse_mended_wrongly",
        caught_by="dead_rows_stay_quiet",
        because="divides by the number of keys that a row sees, which may be none",
        edit=(
            "        return dq, dk, dv, None, None, None",
            "        seen = (lse - lse).exp()[..., None]\n        return dq * seen, dk, dv, None, None, None",
        ),
    ),
    right(
        FUNCTION,
        "attributes_for_options",
        because="one tuple for the options, gradients by a list",
        body="""
class TritonAttention(torch.autograd.Function):
    @staticmethod
    def forward(ctx, *arguments):
        queries, keys, values, causal, lengths, scale = arguments
        result = triton_attention(queries, keys, values, causal, lengths, scale)
        ctx.save_for_backward(queries, keys, values, *result)
        ctx.options = (causal, lengths, scale)
        return result[0]

    @staticmethod
    def backward(ctx, from_above):
        saved = ctx.saved_tensors
        causal, lengths, scale = ctx.options
        gradients = list(triton_attention_backward(from_above, *saved, None, causal, lengths, scale))
        return (*gradients, None, None, None)
""",
    ),
]
