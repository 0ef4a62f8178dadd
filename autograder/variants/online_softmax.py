"""Wrong and right solutions of chapter 08, `online_softmax`."""

from autograder.variants.base import right, wrong

COST = [
    wrong(
        "attention_cost",
        "zeros",
        caught_by="both_products_count",
        because="returns zeros under the right names",
        body="""
def attention_cost(B, H, Lq, Lk, d, dtype):
    return {"flops": 0, "naive_bytes": 0, "fused_bytes": 0}
""",
    ),
    wrong(
        "attention_cost",
        "one_product",
        caught_by="both_products_count",
        because="counts QKᵀ and forgets AV",
        edit=("2 * (2 * scores * d)", "2 * scores * d"),
    ),
    wrong(
        "attention_cost",
        "multiplications_only",
        caught_by="both_products_count",
        because="counts a multiplication and an addition as one",
        edit=("2 * (2 * scores * d)", "2 * (scores * d)"),
    ),
    wrong(
        "attention_cost",
        "queries_squared",
        caught_by="both_products_count",
        because="takes the number of keys for that of the queries",
        edit=("scores = B * H * Lq * Lk", "scores = B * H * Lq * Lq"),
    ),
    wrong(
        "attention_cost",
        "scores_written_once",
        caught_by="three_steps_move_the_scores_four_times",
        because="counts what is written and not what is read again",
        edit=("4 * scores)", "2 * scores)"),
    ),
    wrong(
        "attention_cost",
        "width_of_all_heads",
        caught_by="three_steps_move_the_scores_four_times",
        because="forgets that every head moves vectors of its own",
        edit=("vectors = B * H * (", "vectors = B * ("),
    ),
    wrong(
        "attention_cost",
        "fused_still_moves_scores",
        caught_by="one_step_moves_no_scores",
        because="lets the fused step read and write the scores once",
        edit=("(vectors + B * H * Lq) * size", "(vectors + 2 * scores) * size"),
    ),
    wrong(
        "attention_cost",
        "no_log_sum_exp",
        caught_by="one_step_moves_no_scores",
        because="forgets the number a query that the backward pass needs",
        edit=("(vectors + B * H * Lq) * size", "vectors * size"),
    ),
    wrong(
        "attention_cost",
        "always_float32",
        caught_by="bytes_follow_the_dtype",
        because="takes 4 bytes for every dtype",
        edit=("dtype.itemsize", "4"),
    ),
    wrong(
        "attention_cost",
        "bits_for_bytes",
        caught_by="three_steps_move_the_scores_four_times",
        because="counts bits",
        edit=("dtype.itemsize", "torch.finfo(dtype).bits"),
    ),
    right(
        "attention_cost",
        "by_tensors_without_memory",
        because="asks tensors on the meta device how large they are",
        body="""
def attention_cost(B, H, Lq, Lk, d, dtype):
    def size(*shape):
        made = torch.empty(shape, dtype=dtype, device="meta")
        return made.numel() * made.element_size()
    q, k, v, o = size(B, H, Lq, d), size(B, H, Lk, d), size(B, H, Lk, d), size(B, H, Lq, d)
    s = a = size(B, H, Lq, Lk)
    steps = [(q + k, s), (s, a), (a + v, o)]
    return {
        "flops": 4 * B * H * Lq * Lk * d,
        "naive_bytes": sum(reads + writes for reads, writes in steps),
        "fused_bytes": q + k + v + o + size(B, H, Lq),
    }
""",
    ),
]

ONLINE = [
    wrong(
        "online_softmax",
        "zeros",
        caught_by="statistics_of_the_whole_row",
        because="returns zeros of the right shape",
        body="""
def online_softmax(chunks):
    first = next(iter(chunks))
    return torch.zeros_like(first[..., 0]), torch.zeros_like(first[..., 0])
""",
    ),
    wrong(
        "online_softmax",
        "last_chunk_only",
        caught_by="statistics_of_the_whole_row",
        because="starts again with every chunk",
        body="""
def online_softmax(chunks):
    for chunk in chunks:
        m = chunk.amax(dim=-1)
        base = torch.where(m == -math.inf, 0.0, m)
        l = torch.exp(chunk - base[..., None]).sum(dim=-1)
    return m, l
""",
    ),
    wrong(
        "online_softmax",
        "old_sum_not_rescaled",
        caught_by="old_sum_shrinks_when_the_maximum_rises",
        because="adds sums that were measured from different largest scores",
        edit=("l = l * torch.exp(m - base) + ", "l = l + "),
    ),
    wrong(
        "online_softmax",
        "rescaled_the_wrong_way",
        caught_by="old_sum_shrinks_when_the_maximum_rises",
        because="multiplies by exp(new m - old m)",
        edit=("torch.exp(m - base)", "torch.exp(torch.where(m == -math.inf, 0.0, base - m))"),
    ),
    wrong(
        "online_softmax",
        "one_maximum_for_all_rows",
        caught_by="scores_of_a_thousand_are_fine",
        because="takes one largest score for the whole chunk; rows far below it vanish",
        body="""
def online_softmax(chunks):
    m, l = torch.tensor(-math.inf), torch.tensor(0.0)
    for chunk in chunks:
        larger = torch.maximum(m, chunk.amax().expand(chunk.shape[:-1]))
        base = torch.where(larger == -math.inf, 0.0, larger)
        l = l * torch.exp(m - base) + torch.exp(chunk - base[..., None]).sum(dim=-1)
        m = larger
    return m, l
""",
    ),
    wrong(
        "online_softmax",
        "no_running_maximum",
        caught_by="scores_of_a_thousand_are_fine",
        because="sums exp(score) and divides by exp(m) at the end",
        body="""
def online_softmax(chunks):
    m, total = torch.tensor(-math.inf), torch.tensor(0.0)
    for chunk in chunks:
        m = torch.maximum(m, chunk.amax(dim=-1))
        total = total + torch.exp(chunk).sum(dim=-1)
    return m, total / torch.exp(torch.where(m == -math.inf, 0.0, m))
""",
    ),
    wrong(
        "online_softmax",
        "maximum_of_the_first_chunk",
        caught_by="scores_of_a_thousand_are_fine",
        because="keeps the base of the first chunk and corrects at the end",
        body="""
def online_softmax(chunks):
    base = m = l = None
    for chunk in chunks:
        top = chunk.amax(dim=-1)
        if base is None:
            base, m, l = torch.where(top == -math.inf, 0.0, top), top, torch.zeros_like(top)
        m = torch.maximum(m, top)
        l = l + torch.exp(chunk - base[..., None]).sum(dim=-1)
    return m, l * torch.exp(base - torch.where(m == -math.inf, 0.0, m))
""",
    ),
    wrong(
        "online_softmax",
        "nan_from_a_masked_chunk",
        caught_by="minus_infinity_counts_nothing",
        because="computes (−∞) − (−∞)",
        edit=("torch.where(torch.isneginf(larger), 0.0, larger)", "larger"),
    ),
    wrong(
        "online_softmax",
        "nan_taken_for_one",
        caught_by="a_row_of_nothing_is_empty",
        because="turns NaN into 0 before exp, so that every masked score counts 1",
        edit=(
            "torch.exp(chunk - base[..., None])",
            "torch.exp(torch.nan_to_num(chunk - larger[..., None], nan=0.0))",
        ),
    ),
    wrong(
        "online_softmax",
        "large_finite_start",
        caught_by="a_row_of_nothing_is_empty",
        because="starts at -1e9 in place of −∞, which then is the largest score of an empty row",
        edit=("torch.tensor(-math.inf)", "torch.tensor(-1e9)"),
    ),
    wrong(
        "online_softmax",
        "all_put_together",
        caught_by="keeps_two_numbers_a_row",
        because="concatenates the chunks",
        body="""
def online_softmax(chunks):
    scores = torch.cat(list(chunks), dim=-1)
    m = scores.amax(dim=-1)
    return m, torch.exp(scores - torch.where(m == -math.inf, 0.0, m)[..., None]).sum(dim=-1)
""",
    ),
    wrong(
        "online_softmax",
        "reads_twice",
        caught_by="keeps_two_numbers_a_row",
        because="goes through the chunks once for m and once for l",
        body="""
def online_softmax(chunks):
    m = None
    for chunk in chunks:
        top = chunk.amax(dim=-1)
        m = top if m is None else torch.maximum(m, top)
    base = torch.where(m == -math.inf, 0.0, m)
    return m, sum((torch.exp(chunk - base[..., None]).sum(dim=-1) for chunk in chunks), torch.zeros_like(m))
""",
    ),
    wrong(
        "online_softmax",
        "changes_the_chunks",
        caught_by="statistics_of_the_whole_row",
        because="takes exp in place",
        edit=("torch.exp(chunk - base[..., None])", "chunk.sub_(base[..., None]).exp_()"),
    ),
    right(
        "online_softmax",
        "through_logsumexp",
        because="keeps the logarithm of the sum instead of the sum",
        body="""
def online_softmax(chunks):
    m = lse = None
    for chunk in chunks:
        top, part = chunk.max(dim=-1).values, torch.logsumexp(chunk, dim=-1)
        m = top if m is None else torch.maximum(m, top)
        lse = part if lse is None else torch.logaddexp(lse, part)
    return m, torch.exp(torch.where(m == -math.inf, m, lse - m))
""",
    ),
    right(
        "online_softmax",
        "in_place_statistics",
        because="statistics updated in place, NaN of masked scores replaced after exp",
        body="""
def online_softmax(chunks):
    m = l = None
    for chunk in chunks:
        if m is None:
            m = torch.full_like(chunk[..., 0], -math.inf)
            l = torch.zeros_like(m)
        old = m.clone()
        torch.maximum(old, chunk.amax(-1), out=m)
        l *= torch.nan_to_num(torch.exp(old - m), nan=0.0)
        l += torch.nan_to_num(torch.exp(chunk - m.unsqueeze(-1)), nan=0.0).sum(-1)
    return m, l
""",
    ),
]

MERGE = [
    wrong(
        "merge_states",
        "zeros",
        caught_by="sums_are_brought_to_one_base",
        because="returns zeros of the right shapes",
        body="""
def merge_states(a, b):
    return tuple(torch.zeros_like(x) for x in a)
""",
    ),
    wrong(
        "merge_states",
        "sums_just_added",
        caught_by="sums_are_brought_to_one_base",
        because="adds the sums without a change of base",
        edit=("l_a * shrink_a + l_b * shrink_b", "l_a + l_b"),
    ),
    wrong(
        "merge_states",
        "accumulator_not_rescaled",
        caught_by="blends_are_brought_to_the_same_base",
        because="rescales the sums and forgets the blends",
        edit=("acc_a * shrink_a[..., None] + acc_b * shrink_b[..., None]", "acc_a + acc_b"),
    ),
    wrong(
        "merge_states",
        "blends_normalised",
        caught_by="blends_are_brought_to_the_same_base",
        because="divides by l already here",
        body="""
def merge_states(a, b):
    (m_a, l_a, acc_a), (m_b, l_b, acc_b) = a, b
    m = torch.maximum(m_a, m_b)
    base = torch.where(m == -math.inf, 0.0, m)
    x, y = torch.exp(m_a - base), torch.exp(m_b - base)
    l = l_a * x + l_b * y
    return m, l, (acc_a * x[..., None] + acc_b * y[..., None]) / torch.where(l == 0, 1.0, l)[..., None]
""",
    ),
    wrong(
        "merge_states",
        "only_the_old_state_shrinks",
        caught_by="any_order_will_do",
        because="takes for granted that the second state holds the larger score",
        body="""
def merge_states(a, b):
    (m_a, l_a, acc_a), (m_b, l_b, acc_b) = a, b
    m = torch.maximum(m_a, m_b)
    shrink = torch.exp(m_a - torch.where(m == -math.inf, 0.0, m))
    return m, l_a * shrink + l_b, acc_a * shrink[..., None] + acc_b
""",
    ),
    wrong(
        "merge_states",
        "nan_from_nothing",
        caught_by="nothing_changes_nothing",
        because="computes (−∞) − (−∞)",
        edit=("torch.where(torch.isneginf(m), 0.0, m)", "m"),
    ),
    wrong(
        "merge_states",
        "weights_by_exp_m",
        caught_by="thousands_are_fine",
        because="brings both sums to base 0 by exp(m) and back",
        body="""
def merge_states(a, b):
    (m_a, l_a, acc_a), (m_b, l_b, acc_b) = a, b
    m = torch.maximum(m_a, m_b)
    x, y = torch.exp(m_a), torch.exp(m_b)
    z = torch.exp(torch.where(m == -math.inf, 0.0, m))
    return m, (l_a * x + l_b * y) / z, (acc_a * x[..., None] + acc_b * y[..., None]) / z[..., None]
""",
    ),
    wrong(
        "merge_states",
        "changes_its_input",
        caught_by="states_are_left_alone",
        because="adds into the first state",
        body="""
def merge_states(a, b):
    (m_a, l_a, acc_a), (m_b, l_b, acc_b) = a, b
    m = torch.maximum(m_a, m_b)
    base = torch.where(m == -math.inf, 0.0, m)
    x, y = torch.exp(m_a - base), torch.exp(m_b - base)
    l_a.mul_(x).add_(l_b * y)
    acc_a.mul_(x[..., None]).add_(acc_b * y[..., None])
    return m, l_a, acc_a
""",
    ),
    right(
        "merge_states",
        "by_the_difference",
        because="one exponential of the gap between the two",
        body="""
def merge_states(a, b):
    gap = torch.nan_to_num(a[0] - b[0], nan=0.0, posinf=math.inf, neginf=-math.inf)
    shrink = torch.exp(-gap.abs())
    x, y = torch.where(gap < 0, shrink, 1.0), torch.where(gap > 0, shrink, 1.0)
    return (
        torch.maximum(a[0], b[0]),
        x * a[1] + y * b[1],
        x.unsqueeze(-1) * a[2] + y.unsqueeze(-1) * b[2],
    )
""",
    ),
    right(
        "merge_states",
        "stacked",
        because="treats the two states as two keys and takes a softmax over them",
        body="""
def merge_states(a, b):
    m = torch.stack([a[0], b[0]])
    top = m.max(dim=0).values
    weights = (m - top.clamp(min=torch.finfo(top.dtype).min)).exp()
    l = (weights * torch.stack([a[1], b[1]])).sum(dim=0)
    acc = torch.einsum("s...,s...d->...d", weights, torch.stack([a[2], b[2]]))
    return top, l, acc
""",
    ),
]

TILE = [
    wrong(
        "score_tile",
        "zeros",
        caught_by="scaled_by_the_root_of_dim",
        because="returns zeros of the right shape",
        body="""
def score_tile(Q, K, rows, columns, causal):
    return Q.new_zeros(*Q.shape[:-2], rows.stop - rows.start, columns.stop - columns.start)
""",
    ),
    wrong(
        "score_tile",
        "no_scale",
        caught_by="scaled_by_the_root_of_dim",
        because="does not divide the scores",
        edit=(" / math.sqrt(Q.shape[-1])", ""),
    ),
    wrong(
        "score_tile",
        "always_eight",
        caught_by="scaled_by_the_root_of_dim",
        because="divides by 8, which is right for a width of 64 only",
        edit=("math.sqrt(Q.shape[-1])", "8"),
    ),
    wrong(
        "score_tile",
        "root_of_the_keys",
        caught_by="scaled_by_the_root_of_dim",
        because="divides by the root of the number of keys",
        edit=("math.sqrt(Q.shape[-1])", "math.sqrt(K.shape[-2])"),
    ),
    wrong(
        "score_tile",
        "first_columns",
        caught_by="the_tile_that_was_asked_for",
        because="takes as many keys as asked for, but from the start",
        edit=("K[..., columns, :]", "K[..., : columns.stop - columns.start, :]"),
    ),
    wrong(
        "score_tile",
        "slices_the_batch",
        caught_by="the_tile_that_was_asked_for",
        because="slices the first axis",
        edit=("Q[..., rows, :]", "Q[rows]"),
    ),
    wrong(
        "score_tile",
        "mask_of_the_tile_alone",
        caught_by="causal_counts_in_the_whole_matrix",
        because="compares positions in the tile",
        edit=(
            "S = S.masked_fill(j > i + offset, -math.inf)",
            "S = S.masked_fill(j - columns.start > i - rows.start + offset, -math.inf)",
        ),
    ),
    wrong(
        "score_tile",
        "causal_ignored",
        caught_by="causal_counts_in_the_whole_matrix",
        because="ignores causal",
        edit=("    if causal:\n", "    if False:\n"),
    ),
    wrong(
        "score_tile",
        "nobody_sees_itself",
        caught_by="causal_counts_in_the_whole_matrix",
        because="hides the diagonal too",
        edit=("j > i + offset", "j >= i + offset"),
    ),
    wrong(
        "score_tile",
        "top_left",
        caught_by="the_last_query_sees_every_key",
        because="aligns the mask at the first query and the first key",
        edit=("offset = K.shape[-2] - Q.shape[-2]", "offset = 0"),
    ),
    wrong(
        "score_tile",
        "offset_turned_round",
        caught_by="the_last_query_sees_every_key",
        because="subtracts the offset that it should add",
        edit=("offset = K.shape[-2] - Q.shape[-2]", "offset = Q.shape[-2] - K.shape[-2]"),
    ),
    wrong(
        "score_tile",
        "whole_matrix_first",
        caught_by="only_the_tile_is_computed",
        because="computes all scores and cuts the tile out",
        body="""
def score_tile(Q, K, rows, columns, causal):
    S = Q @ K.mT / math.sqrt(Q.shape[-1])
    if causal:
        i, j = torch.arange(Q.shape[-2])[:, None], torch.arange(K.shape[-2])
        S = S.masked_fill(j > i + K.shape[-2] - Q.shape[-2], -math.inf)
    return S[..., rows, columns]
""",
    ),
    wrong(
        "score_tile",
        "scales_the_queries_in_place",
        caught_by="only_the_tile_is_computed",
        because="divides Q itself",
        body="""
def score_tile(Q, K, rows, columns, causal):
    q = Q[..., rows, :]
    q /= math.sqrt(Q.shape[-1])
    S = q @ K[..., columns, :].mT
    if causal:
        i, j = torch.arange(rows.start, rows.stop)[:, None], torch.arange(columns.start, columns.stop)
        S = S.masked_fill(j > i + K.shape[-2] - Q.shape[-2], -math.inf)
    return S
""",
    ),
    right(
        "score_tile",
        "triu_of_the_tile",
        because="a triangle whose diagonal is moved",
        body="""
def score_tile(Q, K, rows, columns, causal):
    S = torch.einsum("bhqd,bhkd->bhqk", Q[:, :, rows] * Q.shape[-1] ** -0.5, K[:, :, columns])
    if causal:
        diagonal = rows.start + K.shape[2] - Q.shape[2] - columns.start
        hidden = torch.ones(S.shape[2], S.shape[3], dtype=torch.bool).triu(diagonal + 1)
        S = S.masked_fill(hidden, float("-inf"))
    return S
""",
    ),
]

FORWARD = """
def flash_forward(Q, K, V, causal, block_q, block_k):
    queries, keys = Q.shape[-2], K.shape[-2]
    scale = 1 / math.sqrt(Q.shape[-1])
    offset = keys - queries
    O = torch.empty(*Q.shape[:-1], V.shape[-1], dtype=Q.dtype)
    LSE = torch.empty(Q.shape[:-1], dtype=Q.dtype)
    for i in range(0, queries, block_q):
        q = Q[..., i : i + block_q, :] * scale
        m = torch.full(q.shape[:-1], -math.inf, dtype=Q.dtype)
        l = torch.zeros_like(m)
        acc = torch.zeros(*q.shape[:-1], V.shape[-1], dtype=Q.dtype)
        for j in range(0, keys, block_k):
            k, v = K[..., j : j + block_k, :], V[..., j : j + block_k, :]
            if causal and j > i + q.shape[-2] - 1 + offset:
                break
            S = q @ k.mT
            if causal:
                row = i + torch.arange(q.shape[-2])[:, None]
                column = j + torch.arange(k.shape[-2])
                S = S.masked_fill(column > row + offset, -math.inf)
            new = torch.maximum(m, S.max(dim=-1).values)
            safe = new.masked_fill(new == -math.inf, 0.0)
            P = torch.exp(S - safe[..., None])
            shrink = torch.exp(m - safe)
            l = l * shrink + P.sum(-1)
            acc = acc * shrink[..., None] + P @ v
            m = new
        O[..., i : i + block_q, :] = acc / l.masked_fill(l == 0, 1.0)[..., None]
        LSE[..., i : i + block_q] = m + l.log()
    return O, LSE
"""


def forward(old: str, new: str) -> str:
    """The forward pass written out in full, with one mistake."""
    assert FORWARD.count(old) == 1, old
    return FORWARD.replace(old, new)


FLASH = [
    wrong(
        "flash_forward",
        "zeros",
        caught_by="exact_where_the_blocks_divide",
        because="returns zeros of the right shapes",
        body="""
def flash_forward(Q, K, V, causal, block_q, block_k):
    return Q.new_zeros(*Q.shape[:-1], V.shape[-1]), Q.new_zeros(Q.shape[:-1])
""",
    ),
    wrong(
        "flash_forward",
        "accumulator_not_rescaled",
        caught_by="exact_where_the_blocks_divide",
        because="keeps the old blend at its old base",
        body=forward("acc = acc * shrink[..., None] + P @ v", "acc = acc + P @ v"),
    ),
    wrong(
        "flash_forward",
        "sum_not_rescaled",
        caught_by="exact_where_the_blocks_divide",
        because="keeps the old sum at its old base",
        body=forward("l = l * shrink + P.sum(-1)", "l = l + P.sum(-1)"),
    ),
    wrong(
        "flash_forward",
        "always_eight",
        caught_by="exact_where_the_blocks_divide",
        because="divides the scores by 8 whatever the width is",
        body=forward("scale = 1 / math.sqrt(Q.shape[-1])", "scale = 1 / 8"),
    ),
    wrong(
        "flash_forward",
        "no_scale",
        caught_by="exact_where_the_blocks_divide",
        because="forgets the scale",
        body=forward("scale = 1 / math.sqrt(Q.shape[-1])", "scale = 1.0"),
    ),
    wrong(
        "flash_forward",
        "root_of_the_value_width",
        caught_by="exact_where_the_blocks_divide",
        because="takes the width of the values for that of the keys",
        body=forward("math.sqrt(Q.shape[-1])", "math.sqrt(V.shape[-1])"),
    ),
    wrong(
        "flash_forward",
        "mean_of_tiles",
        caught_by="exact_where_the_blocks_divide",
        because="normalises every tile and takes the mean",
        body=forward(
            "acc = acc * shrink[..., None] + P @ v",
            "acc = acc + l[..., None] * (P / P.sum(-1, keepdim=True).clamp(min=1e-300)) @ v",
        ),
    ),
    wrong(
        "flash_forward",
        "remainder_of_the_keys_dropped",
        caught_by="the_last_tile_is_smaller",
        because="visits full tiles of keys only",
        body=forward(
            "for j in range(0, keys, block_k):", "for j in range(0, keys // block_k * block_k, block_k):"
        ),
    ),
    wrong(
        "flash_forward",
        "remainder_of_the_queries_dropped",
        caught_by="the_last_tile_is_smaller",
        because="visits full tiles of queries only",
        body=forward(
            "for i in range(0, queries, block_q):",
            "for i in range(0, queries // block_q * block_q, block_q):",
        ).replace("torch.empty", "torch.zeros"),
    ),
    wrong(
        "flash_forward",
        "padded_keys_count",
        caught_by="the_last_tile_is_smaller",
        because="pads the keys with zeros, whose scores of 0 then count",
        body=FORWARD.replace(
            "    O = torch.empty",
            "    more = -keys % block_k\n"
            "    K, V = torch.nn.functional.pad(K, (0, 0, 0, more)), torch.nn.functional.pad(V, (0, 0, 0, more))\n"
            "    O = torch.empty",
        ),
    ),
    wrong(
        "flash_forward",
        "sum_for_its_logarithm",
        caught_by="log_sum_exp_of_every_query",
        because="returns l",
        body=forward("= m + l.log()", "= l"),
    ),
    wrong(
        "flash_forward",
        "logarithm_without_the_base",
        caught_by="log_sum_exp_of_every_query",
        because="returns log(l) and forgets m",
        body=forward("= m + l.log()", "= l.log()"),
    ),
    wrong(
        "flash_forward",
        "base_two",
        caught_by="log_sum_exp_of_every_query",
        because="takes the logarithm to base 2",
        body=forward("= m + l.log()", "= (m + l.log()) / math.log(2)"),
    ),
    wrong(
        "flash_forward",
        "causal_ignored",
        caught_by="causal_for_any_two_lengths",
        because="ignores causal",
        body="def flash_forward(Q, K, V, causal, block_q, block_k):\n    causal = False\n"
        + FORWARD.split("\n", 2)[2],
    ),
    wrong(
        "flash_forward",
        "top_left",
        caught_by="causal_for_any_two_lengths",
        because="aligns the mask at the first query and the first key",
        body=forward("offset = keys - queries", "offset = 0"),
    ),
    wrong(
        "flash_forward",
        "stops_a_tile_early",
        caught_by="causal_for_any_two_lengths",
        because="skips by the first query of the tile, whose followers see more",
        body=forward("j > i + q.shape[-2] - 1 + offset", "j > i + offset"),
    ),
    wrong(
        "flash_forward",
        "skips_without_the_offset",
        caught_by="causal_for_any_two_lengths",
        because="masks rightly and skips as if the lengths were the same",
        body=forward("j > i + q.shape[-2] - 1 + offset", "j > i + q.shape[-2] - 1"),
    ),
    wrong(
        "flash_forward",
        "nan_from_nothing",
        caught_by="a_query_that_sees_nothing",
        because="computes (−∞) − (−∞) for a query that has seen nothing yet",
        body=forward("safe = new.masked_fill(new == -math.inf, 0.0)", "safe = new"),
    ),
    wrong(
        "flash_forward",
        "divides_by_nothing",
        caught_by="a_query_that_sees_nothing",
        because="divides 0 by 0 for a query that sees nothing",
        body=forward("l.masked_fill(l == 0, 1.0)[..., None]", "l[..., None]"),
    ),
    wrong(
        "flash_forward",
        "large_negative_for_hidden",
        caught_by="a_query_that_sees_nothing",
        because="hides scores with -1e9, so that a query that sees nothing takes a mean",
        body=forward(
            "masked_fill(column > row + offset, -math.inf)", "masked_fill(column > row + offset, -1e9)"
        ),
    ),
    wrong(
        "flash_forward",
        "log_sum_exp_of_nothing_is_zero",
        caught_by="a_query_that_sees_nothing",
        because="gives a query that saw nothing an LSE of 0",
        body=forward("= m + l.log()", "= torch.where(l == 0, 0.0, m + l.log())"),
    ),
    wrong(
        "flash_forward",
        "no_running_maximum",
        caught_by="scores_of_a_thousand_stay_finite",
        because="takes exp of the scores themselves",
        body=forward("new = torch.maximum(m, S.max(dim=-1).values)", "new = torch.zeros_like(m)").replace(
            "m = torch.full(q.shape[:-1], -math.inf, dtype=Q.dtype)",
            "m = torch.zeros(q.shape[:-1], dtype=Q.dtype)",
        ),
    ),
    wrong(
        "flash_forward",
        "maximum_of_the_first_tile",
        caught_by="scores_of_a_thousand_stay_finite",
        because="never moves the base again after the first tile",
        body=forward(
            "new = torch.maximum(m, S.max(dim=-1).values)",
            "new = torch.where(m == -math.inf, S.max(dim=-1).values, m)",
        ),
    ),
    wrong(
        "flash_forward",
        "whole_matrix",
        caught_by="never_more_than_a_tile",
        because="computes all scores at once",
        body="""
def flash_forward(Q, K, V, causal, block_q, block_k):
    S = Q @ K.mT / math.sqrt(Q.shape[-1])
    if causal:
        i, j = torch.arange(Q.shape[-2])[:, None], torch.arange(K.shape[-2])
        S = S.masked_fill(j > i + K.shape[-2] - Q.shape[-2], -math.inf)
    LSE = torch.logsumexp(S, dim=-1)
    return torch.nan_to_num(torch.exp(S - LSE[..., None])) @ V, LSE
""",
    ),
    wrong(
        "flash_forward",
        "strips_of_keys",
        caught_by="never_more_than_a_tile",
        because="cuts the queries and takes all keys at once",
        body=FORWARD.replace("\n    scale = 1", "\n    block_k = keys\n    scale = 1"),
    ),
    wrong(
        "flash_forward",
        "whole_mask",
        caught_by="never_more_than_a_tile",
        because="makes the mask of the whole matrix and cuts tiles out of it",
        body=FORWARD.replace(
            "    O = torch.empty",
            "    hidden = torch.arange(keys) > torch.arange(queries)[:, None] + offset\n    O = torch.empty",
        ).replace(
            "masked_fill(column > row + offset, -math.inf)",
            "masked_fill(hidden[i : i + block_q, j : j + block_k], -math.inf)",
        ),
    ),
    wrong(
        "flash_forward",
        "keeps_every_tile",
        caught_by="never_more_than_a_tile",
        because="computes the scores in tiles and then keeps them all",
        body="""
def flash_forward(Q, K, V, causal, block_q, block_k):
    queries, keys = Q.shape[-2], K.shape[-2]
    out, lse = [], []
    for i in range(0, queries, block_q):
        rows = slice(i, min(i + block_q, queries))
        seen = rows.stop + keys - queries if causal else keys
        tiles = {
            j: score_tile(Q, K, rows, slice(j, min(j + block_k, keys)), causal) for j in range(0, seen, block_k)
        }
        out.append(tiles)
    O = Q.new_zeros(*Q.shape[:-1], V.shape[-1])
    LSE = Q.new_full(Q.shape[:-1], -math.inf)
    for i, tiles in zip(range(0, queries, block_q), out):
        for S in tiles.values():
            LSE[..., i : i + block_q] = torch.logaddexp(LSE[..., i : i + block_q], torch.logsumexp(S, dim=-1))
        base = torch.where(LSE == -math.inf, 0.0, LSE)[..., i : i + block_q, None]
        for j, S in tiles.items():
            O[..., i : i + block_q, :] += torch.exp(S - base) @ V[..., j : j + block_k, :]
    return O, LSE
""",
    ),
    wrong(
        "flash_forward",
        "computes_hidden_tiles",
        caught_by="hidden_tiles_are_skipped",
        because="masks tiles that it need not compute",
        body=forward("if causal and j > i + q.shape[-2] - 1 + offset:", "if False:"),
    ),
    wrong(
        "flash_forward",
        "first_example_for_all",
        caught_by="inputs_as_they_come",
        because="reads the values of the first example for all",
        body=FORWARD.replace("V[..., j : j + block_k, :]", "V[:1, :, j : j + block_k, :]"),
    ),
    wrong(
        "flash_forward",
        "scales_the_queries_in_place",
        caught_by="inputs_as_they_come",
        because="changes Q",
        body=FORWARD.replace(
            "q = Q[..., i : i + block_q, :] * scale", "q = Q[..., i : i + block_q, :].mul_(scale)"
        ),
    ),
    wrong(
        "flash_forward",
        "fixed_dtype",
        caught_by="inputs_as_they_come",
        because="computes and returns float64 whatever comes in",
        body=FORWARD.replace(
            "    queries, keys", "    Q, K, V = Q.double(), K.double(), V.double()\n    queries, keys"
        ),
    ),
    wrong(
        "flash_forward",
        "walks_the_memory",
        caught_by="inputs_as_they_come",
        because="takes K as if it lay in memory without gaps",
        body=FORWARD.replace(
            "    queries, keys",
            "    B, H, N, d = K.shape\n"
            "    K = K.as_strided(K.shape, (H * N * d, N * d, d, 1))\n    queries, keys",
        ),
    ),
    right("flash_forward", "in_full", because="running statistics written out", body=FORWARD),
    right(
        "flash_forward",
        "keys_outside",
        because="keys in the outer loop, outputs kept normalised, joined by their log-sum-exps",
        body="""
def flash_forward(Q, K, V, causal, block_q, block_k):
    queries, keys = Q.shape[-2], K.shape[-2]
    O = torch.zeros(*Q.shape[:-1], V.shape[-1], dtype=Q.dtype)
    LSE = torch.full(Q.shape[:-1], -math.inf, dtype=Q.dtype)
    for j in range(0, keys, block_k):
        for i in range(0, queries, block_q):
            rows, columns = slice(i, min(i + block_q, queries)), slice(j, min(j + block_k, keys))
            if causal and columns.start > rows.stop - 1 + keys - queries:
                continue
            S = score_tile(Q, K, rows, columns, causal)
            part = torch.logsumexp(S, dim=-1)
            old = LSE[..., rows].clone()
            LSE[..., rows] = torch.logaddexp(old, part)
            base = torch.where(LSE[..., rows] == -math.inf, 0.0, LSE[..., rows])[..., None]
            O[..., rows, :] *= torch.exp(old[..., None] - base)
            O[..., rows, :] += torch.exp(S - base) @ V[..., columns, :]
    return O, LSE
""",
    ),
    right(
        "flash_forward",
        "one_head_at_a_time",
        because="loops over examples and heads, and over tiles of queries, with lists that are joined",
        body="""
def flash_forward(Q, K, V, causal, block_q, block_k):
    queries, keys = Q.shape[2], K.shape[2]
    O, LSE = torch.zeros(*Q.shape[:3], V.shape[3], dtype=Q.dtype), torch.zeros(*Q.shape[:3], dtype=Q.dtype)
    for b in range(Q.shape[0]):
        for h in range(Q.shape[1]):
            pieces = []
            for i in range(0, queries, block_q):
                last = min(i + block_q, queries)
                empty = torch.zeros(last - i, dtype=Q.dtype)
                state = (empty - math.inf, empty, torch.zeros(last - i, V.shape[3], dtype=Q.dtype))
                for j in range(0, keys, block_k):
                    if causal and j > last - 1 + keys - queries:
                        break
                    columns = slice(j, min(j + block_k, keys))
                    S = score_tile(Q[b : b + 1, h : h + 1], K[b : b + 1, h : h + 1], slice(i, last), columns, causal)[0, 0]
                    m, l = online_softmax([S])
                    P = torch.exp(S - torch.nan_to_num(m, neginf=0.0)[:, None])
                    state = merge_states(state, (m, l, P @ V[b, h, columns]))
                pieces.append(state)
            m, l, acc = (torch.cat(parts) for parts in zip(*pieces))
            O[b, h] = torch.where(l[:, None] > 0, acc / l[:, None], torch.zeros_like(acc))
            LSE[b, h] = m + torch.log(l)
    return O, LSE
""",
    ),
]

BACKWARD = """
def flash_backward(Q, K, V, O, LSE, dO, causal, block_q, block_k):
    queries, keys = Q.shape[-2], K.shape[-2]
    scale = Q.shape[-1] ** -0.5
    offset = keys - queries
    dQ, dK, dV = torch.zeros(Q.shape, dtype=Q.dtype), torch.zeros(K.shape, dtype=Q.dtype), torch.zeros(V.shape, dtype=Q.dtype)
    D = torch.einsum("bhqd,bhqd->bhq", O, dO)
    L = LSE.masked_fill(LSE == -math.inf, 0.0)
    for j in range(0, keys, block_k):
        k, v = K[..., j : j + block_k, :], V[..., j : j + block_k, :]
        for i in range(0, queries, block_q):
            q, do = Q[..., i : i + block_q, :], dO[..., i : i + block_q, :]
            S = q @ k.transpose(-2, -1) * scale
            if causal:
                row = i + torch.arange(q.shape[-2])[:, None]
                column = j + torch.arange(k.shape[-2])
                S = S.masked_fill(column > row + offset, -math.inf)
            P = torch.exp(S - L[..., i : i + block_q, None])
            dP = do @ v.transpose(-2, -1)
            dS = P * (dP - D[..., i : i + block_q, None])
            dV[..., j : j + block_k, :] += P.transpose(-2, -1) @ do
            dK[..., j : j + block_k, :] += dS.transpose(-2, -1) @ q * scale
            dQ[..., i : i + block_q, :] += dS @ k * scale
    return dQ, dK, dV
"""


def backward(old: str, new: str) -> str:
    """The backward pass written out in full, with one mistake."""
    assert BACKWARD.count(old) == 1, old
    return BACKWARD.replace(old, new)


BACK = [
    wrong(
        "flash_backward",
        "zeros",
        caught_by="values_collect_the_weights",
        because="returns zeros of the right shapes",
        body="""
def flash_backward(Q, K, V, O, LSE, dO, causal, block_q, block_k):
    return torch.zeros(Q.shape, dtype=Q.dtype), torch.zeros(K.shape, dtype=Q.dtype), torch.zeros(V.shape, dtype=Q.dtype)
""",
    ),
    wrong(
        "flash_backward",
        "weights_not_normalised",
        caught_by="values_collect_the_weights",
        because="subtracts the largest score of the tile in place of LSE",
        body=backward(
            "P = torch.exp(S - L[..., i : i + block_q, None])", "P = torch.exp(S - S.amax(-1, keepdim=True))"
        ),
    ),
    wrong(
        "flash_backward",
        "softmax_of_every_tile",
        caught_by="values_collect_the_weights",
        because="normalises every tile by itself",
        body=backward("P = torch.exp(S - L[..., i : i + block_q, None])", "P = torch.softmax(S, dim=-1)"),
    ),
    wrong(
        "flash_backward",
        "last_tile_of_queries_wins",
        caught_by="values_collect_the_weights",
        because="assigns dV where it should add",
        body=backward("dV[..., j : j + block_k, :] += P", "dV[..., j : j + block_k, :] = P"),
    ),
    wrong(
        "flash_backward",
        "delta_missing",
        caught_by="delta_is_subtracted",
        because="forgets that the weights of a row sum to 1",
        body=backward("dS = P * (dP - D[..., i : i + block_q, None])", "dS = P * dP"),
    ),
    wrong(
        "flash_backward",
        "delta_of_the_tile",
        caught_by="delta_is_subtracted",
        because="sums P·dP over the tile, which is only a part of the row",
        body=backward("(dP - D[..., i : i + block_q, None])", "(dP - (P * dP).sum(-1, keepdim=True))"),
    ),
    wrong(
        "flash_backward",
        "delta_added",
        caught_by="delta_is_subtracted",
        because="gets the sign of delta wrong",
        body=backward("(dP - D[..., i : i + block_q, None])", "(dP + D[..., i : i + block_q, None])"),
    ),
    wrong(
        "flash_backward",
        "no_scale_in_dq",
        caught_by="both_gradients_are_scaled",
        because="forgets the scale in dQ",
        body=backward("dS @ k * scale", "dS @ k"),
    ),
    wrong(
        "flash_backward",
        "no_scale_in_dk",
        caught_by="both_gradients_are_scaled",
        because="forgets the scale in dK",
        body=backward("dS.transpose(-2, -1) @ q * scale", "dS.transpose(-2, -1) @ q"),
    ),
    wrong(
        "flash_backward",
        "scaled_twice",
        caught_by="both_gradients_are_scaled",
        because="scales dS and the products",
        body=backward(
            "dS = P * (dP - D[..., i : i + block_q, None])",
            "dS = scale * P * (dP - D[..., i : i + block_q, None])",
        ),
    ),
    wrong(
        "flash_backward",
        "always_eight",
        caught_by="both_gradients_are_scaled",
        because="divides by 8 whatever the width is",
        body=backward("scale = Q.shape[-1] ** -0.5", "scale = 0.125"),
    ),
    wrong(
        "flash_backward",
        "causal_forgotten",
        caught_by="causal_on_the_way_back",
        because="forgets the mask on the way back",
        body=backward("            if causal:\n", "            if False:\n"),
    ),
    wrong(
        "flash_backward",
        "top_left",
        caught_by="causal_on_the_way_back",
        because="aligns the mask at the first query and the first key",
        body=backward("offset = keys - queries", "offset = 0"),
    ),
    wrong(
        "flash_backward",
        "mask_of_the_tile_alone",
        caught_by="causal_on_the_way_back",
        because="compares positions in the tile",
        body=backward("column > row + offset", "column - j > row - i + offset"),
    ),
    wrong(
        "flash_backward",
        "nan_from_nothing",
        caught_by="no_gradient_from_nothing",
        because="computes exp(−∞ − (−∞))",
        body=backward("L = LSE.masked_fill(LSE == -math.inf, 0.0)", "L = LSE"),
    ),
    wrong(
        "flash_backward",
        "equal_weights_from_nothing",
        caught_by="no_gradient_from_nothing",
        because="turns the NaN of a query that saw nothing into weights of 1",
        body=backward(
            "P = torch.exp(S - L[..., i : i + block_q, None])",
            "P = torch.exp(torch.nan_to_num(S - LSE[..., i : i + block_q, None], nan=0.0))",
        ),
    ),
    wrong(
        "flash_backward",
        "remainder_of_the_keys_dropped",
        caught_by="the_last_tile_has_gradients_too",
        because="visits full tiles of keys only",
        body=backward(
            "for j in range(0, keys, block_k):", "for j in range(0, keys // block_k * block_k, block_k):"
        ),
    ),
    wrong(
        "flash_backward",
        "remainder_of_the_queries_dropped",
        caught_by="the_last_tile_has_gradients_too",
        because="visits full tiles of queries only",
        body=backward(
            "for i in range(0, queries, block_q):",
            "for i in range(0, queries // block_q * block_q, block_q):",
        ),
    ),
    wrong(
        "flash_backward",
        "exponentials_alone",
        caught_by="gradients_of_large_scores",
        because="divides exp(S) by exp(LSE)",
        body=backward(
            "P = torch.exp(S - L[..., i : i + block_q, None])",
            "P = torch.exp(S) / torch.exp(L[..., i : i + block_q, None])",
        ),
    ),
    wrong(
        "flash_backward",
        "whole_matrix",
        caught_by="tiles_only_on_the_way_back",
        because="computes all weights at once",
        body=BACKWARD.replace("    scale = Q", "    block_q, block_k = queries, keys\n    scale = Q"),
    ),
    wrong(
        "flash_backward",
        "strips_of_queries",
        caught_by="tiles_only_on_the_way_back",
        because="cuts the keys and takes all queries at once",
        body=BACKWARD.replace("    scale = Q", "    block_q = queries\n    scale = Q"),
    ),
    wrong(
        "flash_backward",
        "keeps_every_tile",
        caught_by="tiles_only_on_the_way_back",
        because="stores the weights of all tiles",
        body=backward("    D = torch", "    kept = []\n    D = torch").replace(
            "            dP = do", "            kept.append(P)\n            dP = do"
        ),
    ),
    wrong(
        "flash_backward",
        "changes_the_gradient",
        caught_by="inputs_of_any_layout",
        because="multiplies dO in place",
        body=backward('torch.einsum("bhqd,bhqd->bhq", O, dO)', "O.mul_(dO).sum(-1)"),
    ),
    wrong(
        "flash_backward",
        "flattens_dO",
        caught_by="inputs_of_any_layout",
        because="takes a view that an expanded dO cannot give",
        body=BACKWARD.replace("    scale = Q", "    dO = dO.view(-1).view(dO.shape)\n    scale = Q"),
    ),
    right("flash_backward", "keys_outside", because="written out, keys in the outer loop", body=BACKWARD),
    right(
        "flash_backward",
        "ignores_the_saved_numbers",
        because="runs the forward pass again instead of trusting O and LSE",
        body="""
def flash_backward(Q, K, V, O, LSE, dO, causal, block_q, block_k):
    O, LSE = flash_forward(Q, K, V, causal, block_q, block_k)
    queries, keys = Q.shape[2], K.shape[2]
    dQ, dK, dV = (torch.zeros(x.shape, dtype=x.dtype) for x in (Q, K, V))
    base = torch.nan_to_num(LSE, neginf=0.0)
    for i in range(0, queries, block_q):
        rows = slice(i, min(i + block_q, queries))
        delta = (O[:, :, rows] * dO[:, :, rows]).sum(-1, keepdim=True)
        for j in range(0, keys, block_k):
            columns = slice(j, min(j + block_k, keys))
            P = torch.exp(score_tile(Q, K, rows, columns, causal) - base[:, :, rows, None])
            dS = P * (dO[:, :, rows] @ V[:, :, columns].mT - delta) / math.sqrt(Q.shape[3])
            dQ[:, :, rows] += torch.einsum("bhqk,bhkd->bhqd", dS, K[:, :, columns])
            dK[:, :, columns] += torch.einsum("bhqk,bhqd->bhkd", dS, Q[:, :, rows])
            dV[:, :, columns] += torch.einsum("bhqk,bhqd->bhkd", P, dO[:, :, rows])
    return dQ, dK, dV
""",
    ),
]

VARIANTS = [*COST, *ONLINE, *MERGE, *TILE, *FLASH, *BACK]
