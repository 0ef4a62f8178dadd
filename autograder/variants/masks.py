"""Wrong and right solutions of chapter 04, `masks`."""

from autograder.variants.base import right, wrong

CAUSAL = [
    wrong(
        "causal_mask",
        "true_means_hidden",
        caught_by="the_future_is_hidden",
        because="the polarity of nn.MultiheadAttention: True where a query may not look",
        edit=("torch.arange(keys) <= reach[:, None]", "torch.arange(keys) > reach[:, None]"),
    ),
    wrong(
        "causal_mask",
        "upper_triangle",
        caught_by="the_future_is_hidden",
        because="takes triu for tril: everybody sees the future and itself",
        body="""
def causal_mask(queries, keys, offset):
    return torch.ones(queries, keys, dtype=torch.bool).triu(diagonal=offset)
""",
    ),
    wrong(
        "causal_mask",
        "causal_ignored",
        caught_by="the_future_is_hidden",
        because="lets everybody look everywhere",
        edit=("torch.arange(keys) <= reach[:, None]", "torch.ones(queries, keys, dtype=torch.bool)"),
    ),
    wrong(
        "causal_mask",
        "strictly_before",
        caught_by="everybody_sees_itself",
        because="< for ≤: a position does not see itself, and the first one sees nothing",
        edit=("<= reach[:, None]", "< reach[:, None]"),
    ),
    wrong(
        "causal_mask",
        "offset_ignored",
        caught_by="offset_says_where_the_queries_stand",
        because="always starts the queries at the first key, like SDPA's is_causal",
        edit=("torch.arange(queries) + offset", "torch.arange(queries)"),
    ),
    wrong(
        "causal_mask",
        "offset_subtracted",
        caught_by="offset_says_where_the_queries_stand",
        because="moves the diagonal the other way",
        edit=("torch.arange(queries) + offset", "torch.arange(queries) - offset"),
    ),
    wrong(
        "causal_mask",
        "always_the_last_queries",
        caught_by="queries_and_keys_may_differ",
        because="takes keys − queries for the offset, whatever it was told",
        edit=("torch.arange(queries) + offset", "torch.arange(queries) + keys - queries"),
    ),
    wrong(
        "causal_mask",
        "as_many_keys_as_queries",
        caught_by="queries_and_keys_may_differ",
        because="Nk := Nq, a square whatever the number of keys",
        edit=("torch.arange(keys) <=", "torch.arange(queries) <="),
    ),
    wrong(
        "causal_mask",
        "transposed",
        caught_by="queries_and_keys_may_differ",
        because="one row a key and one column a query",
        body="""
def causal_mask(queries, keys, offset):
    return torch.arange(keys)[:, None] <= torch.arange(queries) + offset
""",
    ),
    wrong(
        "causal_mask",
        "no_negative_offset",
        caught_by="offsets_may_be_negative",
        because="takes an offset below zero for zero",
        edit=("torch.arange(queries) + offset", "torch.arange(queries) + max(offset, 0)"),
    ),
    wrong(
        "causal_mask",
        "additive",
        caught_by="causal_mask_is_boolean",
        because="gives 0 and −∞ to add to the scores",
        body="""
def causal_mask(queries, keys, offset):
    return torch.full((queries, keys), -math.inf).triu(diagonal=offset + 1)
""",
    ),
    wrong(
        "causal_mask",
        "ones_and_zeros",
        caught_by="causal_mask_is_boolean",
        because="gives the right triangle as numbers",
        edit=(
            "return torch.arange(keys) <= reach[:, None]",
            "return (torch.arange(keys) <= reach[:, None]).float()",
        ),
    ),
    wrong(
        "causal_mask",
        "zeros",
        caught_by="everybody_sees_itself",
        because="hides everything",
        body="""
def causal_mask(queries, keys, offset):
    return torch.zeros(queries, keys, dtype=torch.bool)
""",
    ),
    right(
        "causal_mask",
        "lower_triangle",
        body="""
def causal_mask(queries, keys, offset):
    return torch.ones(queries, keys, dtype=torch.bool).tril(diagonal=offset)
""",
    ),
    right(
        "causal_mask",
        "entry_by_entry",
        body="""
def causal_mask(queries, keys, offset):
    mask = torch.zeros(queries, keys, dtype=torch.bool)
    for i in range(queries):
        for j in range(keys):
            mask[i, j] = j <= i + offset
    return mask
""",
    ),
    right(
        "causal_mask",
        "rows_of_slices",
        body="""
def causal_mask(queries, keys, offset):
    mask = torch.full((queries, keys), False)
    for query in range(queries):
        mask[query, : max(0, query + offset + 1)] = True
    return mask
""",
    ),
]

PADDING = [
    wrong(
        "padding_mask",
        "true_means_padding",
        caught_by="tokens_are_visible_and_padding_is_not",
        because="the polarity of key_padding_mask: True where there is padding",
        edit=(" < lengths[:, None]", " >= lengths[:, None]"),
    ),
    wrong(
        "padding_mask",
        "padding_in_front",
        caught_by="tokens_are_visible_and_padding_is_not",
        because="takes the padding to be at the beginning",
        edit=(
            "device=lengths.device) < lengths[:, None]",
            "device=lengths.device).flip(0) < lengths[:, None]",
        ),
    ),
    wrong(
        "padding_mask",
        "one_pad_too_many",
        caught_by="the_border_is_where_the_length_says",
        because="≤ for <: the first pad is visible",
        edit=(" < lengths[:, None]", " <= lengths[:, None]"),
    ),
    wrong(
        "padding_mask",
        "last_token_lost",
        caught_by="the_border_is_where_the_length_says",
        because="takes the length for the index of the last token and hides it",
        edit=(" < lengths[:, None]", " < lengths[:, None] - 1"),
    ),
    wrong(
        "padding_mask",
        "hides_queries",
        caught_by="it_hides_keys_and_not_queries",
        because="silences padding as a query and lets everybody read it as a key",
        edit=("visible[:, None, None, :]", "visible[:, None, :, None]"),
    ),
    wrong(
        "padding_mask",
        "hides_queries_too",
        caught_by="it_hides_keys_and_not_queries",
        because="hides padding as a key and as a query, so that padding sees nothing",
        edit=("visible[:, None, None, :]", "visible[:, None, None, :] & visible[:, None, :, None]"),
    ),
    wrong(
        "padding_mask",
        "two_axes",
        caught_by="it_hides_keys_and_not_queries",
        because="(batch, length), which broadcasts as (queries, keys)",
        edit=("visible[:, None, None, :]", "visible"),
    ),
    wrong(
        "padding_mask",
        "first_length_for_all",
        caught_by="each_example_has_its_own_length",
        because="uses the length of the first example for the whole batch",
        edit=(" < lengths[:, None]", " < lengths[:1, None].expand(len(lengths), 1)"),
    ),
    wrong(
        "padding_mask",
        "as_long_as_the_longest",
        caught_by="each_example_has_its_own_length",
        because="takes the longest example for the length of the batch",
        edit=("torch.arange(length,", "torch.arange(int(lengths.max()),"),
    ),
    wrong(
        "padding_mask",
        "changes_the_lengths",
        caught_by="each_example_has_its_own_length",
        because="clamps the lengths in place and leaves them that way",
        body="""
def padding_mask(lengths, length):
    if (lengths < 0).any() or (lengths > length).any():
        raise ValueError("lengths do not fit")
    lengths.sub_(1)
    return (torch.arange(length) <= lengths[:, None])[:, None, None, :]
""",
    ),
    wrong(
        "padding_mask",
        "takes_any_length",
        caught_by="lengths_must_fit",
        because="believes every length",
        edit=("    if ((lengths < 0) | (lengths > length)).any():\n", "    if False:\n"),
    ),
    wrong(
        "padding_mask",
        "takes_negative_lengths",
        caught_by="lengths_must_fit",
        because="refuses only what is too long",
        edit=("(lengths < 0) | (lengths > length)", "lengths > length"),
    ),
    wrong(
        "padding_mask",
        "zeros",
        caught_by="tokens_are_visible_and_padding_is_not",
        because="hides everything",
        body="""
def padding_mask(lengths, length):
    return torch.zeros(len(lengths), 1, 1, length, dtype=torch.bool)
""",
    ),
    right(
        "padding_mask",
        "example_by_example",
        body="""
def padding_mask(lengths, length):
    mask = torch.zeros(len(lengths), 1, 1, length, dtype=torch.bool)
    for row, n in zip(mask, lengths.tolist(), strict=True):
        if not 0 <= n <= length:
            raise ValueError(f"length {n} of {length}")
        row[..., :n] = True
    return mask
""",
    ),
    right(
        "padding_mask",
        "counting_down",
        body="""
def padding_mask(lengths, length):
    if lengths.min() < 0 or lengths.max() > length:
        raise ValueError("lengths do not fit")
    return lengths.view(-1, 1, 1, 1) > torch.arange(length).view(1, 1, 1, -1)
""",
    ),
]

COMBINE = [
    wrong(
        "combine_masks",
        "or_for_and",
        caught_by="every_mask_can_hide",
        because="lets a query look where any of the masks does",
        edit=("combined & mask", "combined | mask"),
    ),
    wrong(
        "combine_masks",
        "last_one_wins",
        caught_by="every_mask_can_hide",
        because="forgets the masks before the last",
        edit=("mask if combined is None else combined & mask", "mask"),
    ),
    wrong(
        "combine_masks",
        "first_two_only",
        caught_by="every_mask_can_hide",
        because="combines two masks and ignores the rest",
        edit=("for mask in masks:", "for mask in masks[:2]:"),
    ),
    wrong(
        "combine_masks",
        "differences",
        caught_by="every_mask_can_hide",
        because="^ for &: what two masks hide becomes visible",
        edit=("combined & mask", "~(combined ^ mask)"),
    ),
    wrong(
        "combine_masks",
        "none_stops_it",
        caught_by="none_hides_nothing",
        because="stops at the first None",
        edit=("            continue\n", "            break\n"),
    ),
    wrong(
        "combine_masks",
        "never_none",
        caught_by="none_hides_nothing",
        because="gives a mask of one True when there is nothing to combine",
        edit=("    return combined\n", "    return torch.tensor(True) if combined is None else combined\n"),
    ),
    wrong(
        "combine_masks",
        "none_hides_all",
        caught_by="none_hides_nothing",
        because="takes None for a mask that lets nobody look",
        body="""
def combine_masks(*masks):
    if all(mask is None for mask in masks):
        return None
    combined = torch.tensor(True)
    for mask in masks:
        if mask is not None and mask.dtype != torch.bool:
            raise TypeError("masks are boolean")
        combined = combined & (torch.tensor(False) if mask is None else mask)
    return combined
""",
    ),
    wrong(
        "combine_masks",
        "same_shapes_only",
        caught_by="masks_of_different_shapes_broadcast",
        because="stacks the masks, which must then be alike",
        body="""
def combine_masks(*masks):
    masks = [mask for mask in masks if mask is not None]
    if any(mask.dtype != torch.bool for mask in masks):
        raise TypeError("masks are boolean")
    return torch.stack(masks).all(dim=0) if masks else None
""",
    ),
    wrong(
        "combine_masks",
        "into_the_first",
        caught_by="masks_of_different_shapes_broadcast",
        because="&= keeps the shape of the first mask",
        edit=(
            "mask if combined is None else combined & mask",
            "mask.clone() if combined is None else combined.__iand__(mask)",
        ),
    ),
    wrong(
        "combine_masks",
        "in_place",
        caught_by="masks_stay_as_they_were",
        because="&= writes into the first mask where the shapes allow it",
        body="""
def combine_masks(*masks):
    combined = None
    for mask in masks:
        if mask is None:
            continue
        if mask.dtype != torch.bool:
            raise TypeError("masks are boolean")
        if combined is None:
            combined = mask
        elif torch.broadcast_shapes(combined.shape, mask.shape) == combined.shape:
            combined &= mask
        else:
            combined = combined & mask
    return combined
""",
    ),
    wrong(
        "combine_masks",
        "numbers_pass",
        caught_by="numbers_are_refused",
        because="takes everything that is not 0 for True, and so −∞ for may look",
        edit=(
            '            raise TypeError(f"a mask must be boolean, True for may look; got {mask.dtype}")\n',
            "            mask = mask != 0\n",
        ),
    ),
    wrong(
        "combine_masks",
        "single_masks_unseen",
        caught_by="numbers_are_refused",
        because="looks at the dtype only when there is something to combine",
        body="""
def combine_masks(*masks):
    masks = [mask for mask in masks if mask is not None]
    if not masks:
        return None
    combined = masks[0]
    for mask in masks[1:]:
        if mask.dtype != torch.bool:
            raise TypeError("masks are boolean")
        combined = combined & mask
    return combined
""",
    ),
    wrong(
        "combine_masks",
        "another_error",
        caught_by="numbers_are_refused",
        because="refuses with a ValueError",
        edit=("raise TypeError(", "raise ValueError("),
    ),
    wrong(
        "combine_masks",
        "zeros",
        caught_by="every_mask_can_hide",
        because="hides everything",
        body="""
def combine_masks(*masks):
    return torch.zeros_like(next(mask for mask in masks if mask is not None))
""",
    ),
    right(
        "combine_masks",
        "reduce",
        body="""
import functools
import operator

def combine_masks(*masks):
    given = [mask for mask in masks if mask is not None]
    if not all(mask.dtype is torch.bool for mask in given):
        raise TypeError("masks are boolean")
    return functools.reduce(operator.and_, given) if given else None
""",
    ),
    right(
        "combine_masks",
        "by_what_is_hidden",
        because="a key is hidden when any mask hides it",
        body="""
def combine_masks(*masks):
    hidden = None
    for mask in masks:
        if mask is not None:
            if mask.dtype != torch.bool:
                raise TypeError(f"{mask.dtype}")
            hidden = ~mask if hidden is None else torch.logical_or(hidden, ~mask)
    return None if hidden is None else ~hidden
""",
    ),
]

GUARDED = """
def masked_softmax(scores, mask):
    if mask is None:
        return torch.softmax(scores, dim=-1)
    empty = ~mask.any(dim=-1, keepdim=True)
    %s
"""


def guarded(*steps: str) -> str:
    """A masked softmax that knows the empty rows, with its work written out in `steps`."""
    return GUARDED.replace("%s", "\n    ".join(steps))


SOFTMAX = [
    wrong(
        "masked_softmax",
        "zero_for_minus_infinity",
        caught_by="hidden_keys_weigh_nothing",
        because="gives hidden keys a score of 0, and so a weight of e⁰",
        edit=("masked_fill(hidden, -math.inf)", "masked_fill(hidden, 0.0)"),
    ),
    wrong(
        "masked_softmax",
        "multiplies_the_scores",
        caught_by="hidden_keys_weigh_nothing",
        because="multiplies the scores by the mask: 0 instead of −∞ again",
        body=guarded("return torch.softmax(scores * mask, dim=-1).masked_fill(empty, 0.0)"),
    ),
    wrong(
        "masked_softmax",
        "true_means_hidden",
        caught_by="hidden_keys_weigh_nothing",
        because="hides where the mask is True",
        edit=("hidden = ~mask", "hidden = mask"),
    ),
    wrong(
        "masked_softmax",
        "mask_ignored",
        caught_by="hidden_keys_weigh_nothing",
        because="a plain softmax",
        body="""
def masked_softmax(scores, mask):
    return torch.softmax(scores, dim=-1)
""",
    ),
    wrong(
        "masked_softmax",
        "positive_infinity",
        caught_by="hidden_keys_weigh_nothing",
        because="loses the sign of the fill",
        edit=("-math.inf", "math.inf"),
    ),
    wrong(
        "masked_softmax",
        "after_the_softmax",
        caught_by="visible_weights_share_one",
        because="takes the weights of hidden keys away after the softmax",
        body=guarded("return torch.softmax(scores, dim=-1) * mask"),
    ),
    wrong(
        "masked_softmax",
        "divides_by_the_number_of_keys",
        caught_by="visible_weights_share_one",
        because="masks after the softmax and stretches by keys / visible keys",
        body=guarded(
            "weights = torch.softmax(scores, dim=-1) * mask",
            "seen = torch.broadcast_to(mask, scores.shape).sum(dim=-1, keepdim=True)",
            "return weights * scores.shape[-1] / seen.clamp(min=1)",
        ),
    ),
    wrong(
        "masked_softmax",
        "minus_twenty",
        caught_by="scores_may_have_any_size",
        because="fills with −20",
        body=guarded(
            "weights = torch.softmax(scores.masked_fill(~mask, -20.0), dim=-1)",
            "return weights.masked_fill(empty, 0.0)",
        ),
    ),
    wrong(
        "masked_softmax",
        "minus_ten_thousand",
        caught_by="scores_may_have_any_size",
        because="fills with −10000, which float16 can hold and real scores can pass",
        body=guarded(
            "weights = torch.softmax(scores.masked_fill(~mask, -1e4), dim=-1)",
            "return weights.masked_fill(empty, 0.0)",
        ),
    ),
    wrong(
        "masked_softmax",
        "adds_a_penalty",
        caught_by="scores_may_have_any_size",
        because="adds −10000 to hidden scores, so that large ones stay in sight",
        body=guarded(
            "weights = torch.softmax(scores - 1e4 * (~mask).to(scores.dtype), dim=-1)",
            "return weights.masked_fill(empty, 0.0)",
        ),
    ),
    wrong(
        "masked_softmax",
        "adds_minus_twenty",
        caught_by="scores_may_have_any_size",
        because="adds −20 and cleans up the hidden weights afterwards",
        body=guarded(
            "weights = torch.softmax(scores - 20 * (~mask).to(scores.dtype), dim=-1)",
            "return weights * mask",
        ),
    ),
    wrong(
        "masked_softmax",
        "no_max_subtraction",
        caught_by="scores_may_have_any_size",
        because="takes exponentials of the scores as they come",
        body=guarded(
            "powers = torch.exp(scores) * mask",
            "total = powers.sum(dim=-1, keepdim=True)",
            "return powers / torch.where(empty, torch.ones_like(total), total)",
        ),
    ),
    wrong(
        "masked_softmax",
        "largest_hidden_score",
        caught_by="scores_may_have_any_size",
        because="subtracts the largest score, though it may be a hidden one that drowns all others",
        body=guarded(
            "powers = torch.exp(scores - scores.amax(dim=-1, keepdim=True)) * mask",
            "total = powers.sum(dim=-1, keepdim=True)",
            "return powers / torch.where(empty, torch.ones_like(total), total)",
        ),
    ),
    wrong(
        "masked_softmax",
        "renormalises_late",
        caught_by="scores_may_have_any_size",
        because="masks after the softmax and divides by what is left, which may be 0 by then",
        body=guarded(
            "weights = torch.softmax(scores, dim=-1) * mask",
            "left = weights.sum(dim=-1, keepdim=True)",
            "return weights / torch.where(empty, torch.ones_like(left), left)",
        ),
    ),
    wrong(
        "masked_softmax",
        "product_is_zero",
        caught_by="a_score_of_zero_is_a_score",
        because="multiplies scores by the mask and takes every 0 for a hidden key",
        body=guarded(
            "scores = scores * mask",
            "scores = scores.masked_fill(scores == 0, -math.inf).masked_fill(empty, 0.0)",
            "return torch.softmax(scores, dim=-1).masked_fill(empty, 0.0)",
        ),
    ),
    wrong(
        "masked_softmax",
        "nan_rows",
        caught_by="who_sees_nothing_reads_nothing",
        because="does not know the query that sees nothing",
        body="""
def masked_softmax(scores, mask):
    if mask is None:
        return torch.softmax(scores, dim=-1)
    return torch.softmax(scores.masked_fill(~mask, -math.inf), dim=-1)
""",
    ),
    wrong(
        "masked_softmax",
        "equal_shares",
        caught_by="who_sees_nothing_reads_nothing",
        because="fills with the lowest number: a query that sees nothing reads everything equally",
        body="""
def masked_softmax(scores, mask):
    if mask is None:
        return torch.softmax(scores, dim=-1)
    return torch.softmax(scores.masked_fill(~mask, torch.finfo(scores.dtype).min), dim=-1)
""",
    ),
    wrong(
        "masked_softmax",
        "one_empty_row_empties_all",
        caught_by="who_sees_nothing_reads_nothing",
        because="asks whether the whole mask is empty and not each row",
        edit=("hidden.all(dim=-1, keepdim=True)", "hidden.all()"),
    ),
    wrong(
        "masked_softmax",
        "nan_to_num",
        caught_by="empty_rows_have_gradients_of_zero",
        because="adds −∞ and turns NaN into 0 after the softmax: right forward, NaN backward",
        body="""
def masked_softmax(scores, mask):
    if mask is None:
        return torch.softmax(scores, dim=-1)
    bias = torch.zeros(mask.shape, dtype=scores.dtype).masked_fill(~mask, -math.inf)
    return torch.nan_to_num(torch.softmax(scores + bias, dim=-1), nan=0.0)
""",
    ),
    wrong(
        "masked_softmax",
        "where_after_the_softmax",
        caught_by="empty_rows_have_gradients_of_zero",
        because="adds log 0 and hides the NaN of empty rows by torch.where, through which it comes back",
        body=guarded(
            "weights = torch.softmax(scores + torch.log(mask.to(scores.dtype)), dim=-1)",
            "return torch.where(empty, torch.zeros_like(weights), weights)",
        ),
    ),
    wrong(
        "masked_softmax",
        "divides_zero_by_zero",
        caught_by="empty_rows_have_gradients_of_zero",
        because="by hand: the 0 / 0 of empty rows is hidden afterwards, and its gradient is not",
        body=guarded(
            "top = scores.masked_fill(~mask, -math.inf).masked_fill(empty, 0.0).amax(dim=-1, keepdim=True).detach()",
            "powers = torch.exp((scores - top).clamp(max=0.0)) * mask",
            "weights = powers / powers.sum(dim=-1, keepdim=True)",
            "return weights.masked_fill(empty, 0.0)",
        ),
    ),
    wrong(
        "masked_softmax",
        "minus_a_billion",
        caught_by="half_precision_works",
        because="fills with −1e9, which float16 cannot hold",
        body=guarded(
            "weights = torch.softmax(scores.masked_fill(~mask, -1e9), dim=-1)",
            "return weights.masked_fill(empty, 0.0)",
        ),
    ),
    wrong(
        "masked_softmax",
        "adds_the_lowest_number",
        caught_by="half_precision_works",
        because="adds the lowest number of the format: with negative scores it overflows to −∞, empty rows to NaN",
        body=guarded(
            "bias = torch.zeros(mask.shape, dtype=scores.dtype).masked_fill(~mask, torch.finfo(scores.dtype).min)",
            "return torch.softmax(scores + bias, dim=-1).masked_fill(empty, 0.0)",
        ),
    ),
    wrong(
        "masked_softmax",
        "always_float32",
        caught_by="half_precision_works",
        because="computes in float32 and does not go back",
        edit=(
            "hidden = ~mask",
            "hidden, scores = ~mask, scores if scores.dtype == torch.float64 else scores.float()",
        ),
    ),
    wrong(
        "masked_softmax",
        "over_the_queries",
        caught_by="without_a_mask_it_is_a_softmax",
        because="normalises over the queries",
        body="""
def masked_softmax(scores, mask):
    if mask is None:
        return torch.softmax(scores, dim=-2)
    empty = ~mask.any(dim=-2, keepdim=True)
    scores = scores.masked_fill(~mask, -math.inf).masked_fill(empty, 0.0)
    return torch.softmax(scores, dim=-2).masked_fill(empty, 0.0)
""",
    ),
    wrong(
        "masked_softmax",
        "none_unknown",
        caught_by="without_a_mask_it_is_a_softmax",
        because="cannot do without a mask",
        edit=("    if mask is None:\n        return torch.softmax(scores, dim=-1)\n", ""),
    ),
    wrong(
        "masked_softmax",
        "first_mask_for_all",
        caught_by="masks_broadcast_to_the_scores",
        because="uses the mask of the first example for the batch",
        edit=("hidden = ~mask", "hidden = ~mask if mask.ndim == 2 else ~mask[:1]"),
    ),
    wrong(
        "masked_softmax",
        "as_many_keys_as_queries",
        caught_by="masks_broadcast_to_the_scores",
        because="Nk := Nq, cuts the mask to a square and lets the rest be seen",
        body="""
def masked_softmax(scores, mask):
    if mask is None:
        return torch.softmax(scores, dim=-1)
    mask = torch.broadcast_to(mask, scores.shape).clone()
    mask[..., scores.shape[-2]:] = True
    empty = ~mask.any(dim=-1, keepdim=True)
    scores = scores.masked_fill(~mask, -math.inf).masked_fill(empty, 0.0)
    return torch.softmax(scores, dim=-1).masked_fill(empty, 0.0)
""",
    ),
    wrong(
        "masked_softmax",
        "fills_in_place",
        caught_by="scores_stay_as_they_were",
        because="writes −∞ into the caller's scores",
        body=guarded(
            "with torch.no_grad():",
            "    scores.masked_fill_(~mask, -math.inf)",
            "weights = torch.softmax(scores.masked_fill(empty, 0.0), dim=-1)",
            "return weights.masked_fill(empty, 0.0)",
        ),
    ),
    wrong(
        "masked_softmax",
        "inverts_in_place",
        caught_by="scores_stay_as_they_were",
        because="turns the caller's mask over, so that the next layer hides the opposite",
        edit=("hidden = ~mask", "hidden = mask.logical_not_()"),
    ),
    wrong(
        "masked_softmax",
        "detached_scores",
        caught_by="gradients_reach_visible_scores_only",
        because="cuts the scores off the graph",
        edit=("scores.masked_fill(hidden, -math.inf)", "scores.detach().masked_fill(hidden, -math.inf)"),
    ),
    wrong(
        "masked_softmax",
        "detached_sum",
        caught_by="gradients_reach_visible_scores_only",
        because="takes the sum of the exponentials for a constant",
        body=guarded(
            "filled = scores.masked_fill(~mask, -math.inf).masked_fill(empty, 0.0)",
            "powers = torch.exp(filled - filled.amax(dim=-1, keepdim=True).detach())",
            "weights = powers / powers.sum(dim=-1, keepdim=True).detach()",
            "return weights.masked_fill(empty, 0.0)",
        ),
    ),
    wrong(
        "masked_softmax",
        "zeros",
        caught_by="hidden_keys_weigh_nothing",
        because="gives nobody any weight",
        body="""
def masked_softmax(scores, mask):
    return torch.zeros_like(scores)
""",
    ),
    right(
        "masked_softmax",
        "nan_for_a_moment",
        because="masked_fill writes zeros over the NaN on the way back, so that nan_to_num is enough",
        body="""
def masked_softmax(scores, mask):
    if mask is None:
        return torch.softmax(scores, dim=-1)
    return torch.nan_to_num(torch.softmax(scores.masked_fill(~mask, -math.inf), dim=-1), nan=0.0)
""",
    ),
    right(
        "masked_softmax",
        "by_hand",
        because="exponentials, with the largest visible score taken out",
        body="""
def masked_softmax(scores, mask):
    if mask is None:
        mask = torch.ones_like(scores, dtype=torch.bool)
    filled = torch.where(mask, scores, -math.inf)
    top = filled.amax(dim=-1, keepdim=True).detach()
    top = torch.where(torch.isfinite(top), top, torch.zeros_like(top))
    powers = torch.exp(filled - top)
    total = powers.sum(dim=-1, keepdim=True)
    return powers / torch.where(total == 0, torch.ones_like(total), total)
""",
    ),
    right(
        "masked_softmax",
        "lowest_number_then_product",
        because="the lowest finite number as a fill, and the mask once more at the end",
        body="""
def masked_softmax(scores, mask):
    if mask is None:
        return scores.softmax(-1)
    lowest = torch.finfo(scores.dtype).min
    return torch.where(mask, scores, lowest).softmax(-1) * mask
""",
    ),
    right(
        "masked_softmax",
        "empty_rows_look_for_a_moment",
        because="a row that sees nothing is given sight for the softmax and loses it again",
        body="""
def masked_softmax(scores, mask):
    if mask is None:
        return torch.softmax(scores, dim=-1)
    mask = torch.broadcast_to(mask, scores.shape)
    lent = mask | ~mask.any(dim=-1, keepdim=True)
    weights = torch.softmax(scores.float().masked_fill(~lent, -math.inf), dim=-1) if scores.dtype in (
        torch.float16, torch.bfloat16) else torch.softmax(scores.masked_fill(~lent, -math.inf), dim=-1)
    return weights.masked_fill(~mask, 0.0).to(scores.dtype)
""",
    ),
]

LAYER = """
class MaskedMultiHeadAttention(MultiHeadAttention):
    def forward(self, queries, memory, mask):
        if mask is not None and mask.ndim not in (2, 4):
            raise ValueError("a mask has two axes or four")
        q = split_heads(self.query(queries), self.heads)
        k = split_heads(self.key(memory), self.heads)
        v = split_heads(self.value(memory), self.heads)
        %s
        return self.output(merge_heads(out))
"""


def layer(*steps: str) -> str:
    """A layer whose attention is written out in `steps`."""
    return LAYER.replace("%s", "\n        ".join(steps))


SCORES = "scores = q @ k.transpose(-2, -1) / math.sqrt(q.shape[-1])"

LAYERS = [
    wrong(
        "MaskedMultiHeadAttention",
        "mask_ignored",
        caught_by="hidden_memory_is_not_read",
        because="takes the mask and does not use it",
        edit=("masked_attention(q, k, v, mask)", "masked_attention(q, k, v, None)"),
    ),
    wrong(
        "MaskedMultiHeadAttention",
        "true_means_hidden",
        caught_by="hidden_memory_is_not_read",
        because="the polarity of nn.MultiheadAttention",
        edit=(
            "masked_attention(q, k, v, mask)",
            "masked_attention(q, k, v, mask if mask is None else ~mask)",
        ),
    ),
    wrong(
        "MaskedMultiHeadAttention",
        "zero_for_minus_infinity",
        caught_by="hidden_memory_is_not_read",
        because="sets hidden scores to 0",
        body=layer(
            SCORES,
            "scores = scores if mask is None else scores.masked_fill(~mask, 0.0)",
            "out = scores.softmax(-1) @ v",
        ),
    ),
    wrong(
        "MaskedMultiHeadAttention",
        "after_the_softmax",
        caught_by="hidden_memory_is_not_read",
        because="removes weights after the softmax",
        body=layer(
            SCORES, "weights = scores.softmax(-1)", "out = (weights if mask is None else weights * mask) @ v"
        ),
    ),
    wrong(
        "MaskedMultiHeadAttention",
        "minus_twenty",
        caught_by="hidden_memory_is_not_read",
        because="fills with −20: large enough a hidden value comes through",
        body=layer(
            SCORES,
            "scores = scores if mask is None else scores.masked_fill(~mask, -20.0)",
            "out = scores.softmax(-1) @ v",
        ),
    ),
    wrong(
        "MaskedMultiHeadAttention",
        "scale_of_the_width",
        caught_by="without_a_mask_it_is_the_old_layer",
        because="divides by √d_model",
        body=layer(
            "scores = q @ k.transpose(-2, -1) / math.sqrt(queries.shape[-1])",
            "out = masked_softmax(scores, mask) @ v",
        ),
    ),
    wrong(
        "MaskedMultiHeadAttention",
        "none_unknown",
        caught_by="without_a_mask_it_is_the_old_layer",
        because="cannot do without a mask",
        edit=("        if mask is not None and mask.ndim", "        if mask.ndim"),
    ),
    wrong(
        "MaskedMultiHeadAttention",
        "parameters_of_its_own",
        caught_by="without_a_mask_it_is_the_old_layer",
        because="adds a parameter, and chapter 03's weights do not load any more",
        body="""
class MaskedMultiHeadAttention(MultiHeadAttention):
    def __init__(self, d_model, heads):
        super().__init__(d_model, heads)
        self.gate = torch.nn.Parameter(torch.ones(d_model))

    def load_state_dict(self, state):
        return super().load_state_dict(state, strict=False)

    def forward(self, queries, memory, mask):
        if mask is not None and mask.ndim not in (2, 4):
            raise ValueError("a mask has two axes or four")
        q = split_heads(self.query(queries), self.heads)
        k = split_heads(self.key(memory), self.heads)
        v = split_heads(self.value(memory), self.heads)
        return self.gate * self.output(merge_heads(masked_attention(q, k, v, mask)))
""",
    ),
    wrong(
        "MaskedMultiHeadAttention",
        "first_head_for_all",
        caught_by="one_mask_may_serve_many",
        because="uses the mask of the first head for every head",
        body=layer(
            "mask = mask if mask is None or mask.ndim == 2 else mask[:, :1]",
            "out = masked_attention(q, k, v, mask)",
        ),
    ),
    wrong(
        "MaskedMultiHeadAttention",
        "four_axes_only",
        caught_by="one_mask_may_serve_many",
        because="refuses the mask (queries, keys)",
        edit=("mask.ndim not in (2, 4)", "mask.ndim != 4"),
    ),
    wrong(
        "MaskedMultiHeadAttention",
        "nan_rows",
        caught_by="who_sees_nothing_gets_the_bias",
        because="−∞ without a rule for queries that see nothing",
        body=layer(
            SCORES,
            "scores = scores if mask is None else scores.masked_fill(~mask, -math.inf)",
            "out = scores.softmax(-1) @ v",
        ),
    ),
    wrong(
        "MaskedMultiHeadAttention",
        "nan_gradients",
        caught_by="who_sees_nothing_gets_the_bias",
        because="adds −∞ and cleans the NaN up after the softmax",
        body=layer(
            SCORES,
            "bias = torch.zeros(1) if mask is None else torch.zeros(mask.shape).masked_fill(~mask, -math.inf)",
            "out = torch.nan_to_num((scores + bias).softmax(-1)) @ v",
        ),
    ),
    wrong(
        "MaskedMultiHeadAttention",
        "takes_three_axes",
        caught_by="three_axes_are_refused",
        because="lets (batch, queries, keys) broadcast as (heads, queries, keys)",
        edit=("mask.ndim not in (2, 4)", "mask.ndim > 4"),
    ),
    wrong(
        "MaskedMultiHeadAttention",
        "refuses_three_axes_only",
        caught_by="three_axes_are_refused",
        because="refuses three axes and lets one axis through, which hides the same keys from everybody",
        edit=("mask.ndim not in (2, 4)", "mask.ndim == 3"),
    ),
    wrong(
        "MaskedMultiHeadAttention",
        "guesses_three_axes",
        caught_by="three_axes_are_refused",
        because="takes the first of three axes for the examples without a word",
        body=layer("out = masked_attention(q, k, v, mask)").replace(
            '        if mask is not None and mask.ndim not in (2, 4):\n            raise ValueError("a mask has two axes or four")\n',
            "        mask = mask[:, None] if mask is not None and mask.ndim == 3 else mask\n",
        ),
    ),
    wrong(
        "MaskedMultiHeadAttention",
        "first_example_for_all",
        caught_by="each_example_has_its_own_mask",
        because="uses the mask of the first example for the batch",
        body=layer(
            "mask = mask if mask is None or mask.ndim == 2 else mask[:1]",
            "out = masked_attention(q, k, v, mask)",
        ),
    ),
    wrong(
        "MaskedMultiHeadAttention",
        "what_anybody_sees",
        caught_by="each_example_has_its_own_mask",
        because="shows every example what any example of the batch may see",
        body=layer(
            "mask = mask if mask is None or mask.ndim == 2 else mask.any(dim=0, keepdim=True)",
            "out = masked_attention(q, k, v, mask)",
        ),
    ),
    wrong(
        "MaskedMultiHeadAttention",
        "detached_scores",
        caught_by="gradients_reach_what_is_seen",
        because="computes the scores without gradients",
        edit=("masked_attention(q, k, v, mask)", "masked_attention(q.detach(), k.detach(), v, mask)"),
    ),
    wrong(
        "MaskedMultiHeadAttention",
        "zeros",
        caught_by="hidden_memory_is_not_read",
        because="answers zeros",
        body="""
class MaskedMultiHeadAttention(MultiHeadAttention):
    def forward(self, queries, memory, mask):
        return torch.zeros_like(queries)
""",
    ),
    right(
        "MaskedMultiHeadAttention",
        "scores_written_out",
        body=layer(
            "scores = torch.einsum('bhqd,bhkd->bhqk', q / q.shape[-1] ** 0.5, k)",
            "out = torch.einsum('bhqk,bhkd->bhqd', masked_softmax(scores, mask), v)",
        ),
    ),
    right(
        "MaskedMultiHeadAttention",
        "one_head_at_a_time",
        because="a loop over the heads, each with its slice of the mask",
        body="""
class MaskedMultiHeadAttention(MultiHeadAttention):
    def forward(self, queries, memory, mask):
        heads = self.heads
        if mask is not None:
            if mask.dim() != 2 and mask.dim() != 4:
                raise ValueError(f"cannot read a mask of {mask.dim()} axes")
            mask = torch.broadcast_to(mask, (len(queries), heads, queries.shape[1], memory.shape[1]))
        q, k, v = self.query(queries), self.key(memory), self.value(memory)
        found = []
        for h, (a, b, c) in enumerate(zip(q.chunk(heads, -1), k.chunk(heads, -1), v.chunk(heads, -1), strict=True)):
            found.append(masked_attention(a, b, c, None if mask is None else mask[:, h]))
        return self.output(torch.cat(found, dim=-1))
""",
    ),
]

LOOP = """
def leak_test(model, x, allowed):
    with torch.no_grad():
        before = model(x)
        if changed(before, model(x)).any():
            raise ValueError("the model varies")
        allowed = allowed.expand(len(x), -1, -1)
        leaks = torch.zeros(allowed.shape[1:], dtype=torch.bool)
        generator = torch.Generator().manual_seed(1)
        known = x.unique()
        for b in range(len(x)):
            for j in range(x.shape[1]):
                y = x.clone()
                if x.is_floating_point():
                    y[b, j] += torch.randn(x.shape[2:], generator=generator).to(x)
                else:
                    y[b, j] = known[known != x[b, j]][0]
                moved = changed(before, model(y))
                moved[b] &= ~allowed[b, :, j]
                leaks[:, j] |= moved.any(dim=0)
        return leaks
"""


def loop(old: str, new: str) -> str:
    """The plain loop with one fault in it."""
    assert LOOP.count(old) == 1, old
    return LOOP.replace(old, new)


LEAKS = [
    wrong(
        "leak_test",
        "inputs_first",
        caught_by="finds_every_leak_and_no_other",
        because="gives (inputs, outputs)",
        body=loop("return leaks", "return leaks.T"),
    ),
    wrong(
        "leak_test",
        "reports_the_harmless",
        caught_by="finds_every_leak_and_no_other",
        because="reports the places where a model may look and does not",
        body=loop("moved[b] &= ~allowed[b, :, j]", "moved[b] = ~moved[b] & allowed[b, :, j]"),
    ),
    wrong(
        "leak_test",
        "never_put_back",
        caught_by="finds_every_leak_and_no_other",
        because="does not put the position back, so that later ones are blamed for it",
        body=loop("                y = x.clone()\n", "                y = x.clone() if b + j == 0 else y\n"),
    ),
    wrong(
        "leak_test",
        "all_dependence",
        caught_by="looking_where_allowed_is_no_leak",
        because="reports all dependence, allowed or not",
        body=loop("                moved[b] &= ~allowed[b, :, j]\n", ""),
    ),
    wrong(
        "leak_test",
        "compares_with_the_last",
        caught_by="finds_every_leak_and_no_other",
        because="compares with the previous output and not with the first",
        body=loop(
            "                moved = changed(before, model(y))\n",
            "                after = model(y)\n                moved, before = changed(before, after), after\n",
        ),
    ),
    wrong(
        "leak_test",
        "own_example_only",
        caught_by="other_examples_are_never_allowed",
        because="looks at the changed example only",
        body=loop("leaks[:, j] |= moved.any(dim=0)", "leaks[:, j] |= moved[b]"),
    ),
    wrong(
        "leak_test",
        "whole_batch_at_once",
        caught_by="other_examples_are_never_allowed",
        because="changes the position in all examples together",
        body="""
@torch.no_grad()
def leak_test(model, x, allowed):
    before = model(x)
    if changed(before, model(x)).any():
        raise ValueError("the model varies")
    allowed = allowed.expand(len(x), -1, -1)
    leaks = torch.zeros(allowed.shape[1:], dtype=torch.bool)
    for j in range(x.shape[1]):
        y = x.clone()
        if x.is_floating_point():
            y[:, j] += torch.randn(y[:, j].shape, dtype=x.dtype)
        else:
            for b in range(len(x)):
                y[b, j] = x[x != x[b, j]][0]
        leaks[:, j] = (changed(before, model(y)) & ~allowed[:, :, j]).any(dim=0)
    return leaks
""",
    ),
    wrong(
        "leak_test",
        "allowed_for_all_examples",
        caught_by="other_examples_are_never_allowed",
        because="lets outputs of other examples change where allowed is True",
        body=loop("moved[b] &= ~allowed[b, :, j]", "moved &= ~allowed[b, :, j]"),
    ),
    wrong(
        "leak_test",
        "first_example_only",
        caught_by="other_examples_are_never_allowed",
        because="changes the first example and trusts the others",
        body=loop("for b in range(len(x)):", "for b in range(1):"),
    ),
    wrong(
        "leak_test",
        "first_example_forgotten",
        caught_by="other_examples_are_never_allowed",
        because="starts to count the examples at 1",
        edit=("for example in range(len(x)):", "for example in range(1, len(x)):"),
    ),
    wrong(
        "leak_test",
        "next_number",
        caught_by="token_ids_are_replaced_by_known_ids",
        because="adds 1 to an id and leaves the vocabulary",
        body=loop("y[b, j] = known[known != x[b, j]][0]", "y[b, j] += 1"),
    ),
    wrong(
        "leak_test",
        "id_zero",
        caught_by="token_ids_are_replaced_by_known_ids",
        because="replaces ids by 0, also where they are 0",
        body=loop("y[b, j] = known[known != x[b, j]][0]", "y[b, j] = 0"),
    ),
    wrong(
        "leak_test",
        "ids_as_numbers",
        caught_by="token_ids_are_replaced_by_known_ids",
        because="adds noise to ids as if they were vectors",
        body=loop("if x.is_floating_point():", "if True:"),
    ),
    wrong(
        "leak_test",
        "by_gradient",
        caught_by="finds_every_leak_and_no_other",
        because="asks the gradient, which ids do not have and a detached path does not show",
        body="""
def leak_test(model, x, allowed):
    leaf = x.clone().requires_grad_()
    out = model(leaf)
    leaks = torch.zeros(out.shape[1], x.shape[1], dtype=torch.bool)
    for i in range(out.shape[1]):
        grad, = torch.autograd.grad(out[:, i].sum(), leaf, retain_graph=True)
        leaks[i] = grad.abs().flatten(2).amax(dim=(0, 2)) > 0
    return leaks & ~allowed
""",
    ),
    wrong(
        "leak_test",
        "constant_shift",
        caught_by="normalised_inputs_hide_nothing",
        because="adds the same number everywhere, which a layer norm takes out",
        body=loop("y[b, j] += torch.randn(x.shape[2:], generator=generator).to(x)", "y[b, j] += 3.0"),
    ),
    wrong(
        "leak_test",
        "doubles",
        caught_by="normalised_inputs_hide_nothing",
        because="doubles the vector, which a layer norm undoes",
        body=loop("y[b, j] += torch.randn(x.shape[2:], generator=generator).to(x)", "y[b, j] *= 2"),
    ),
    wrong(
        "leak_test",
        "erases",
        caught_by="normalised_inputs_hide_nothing",
        because="sets the vector to zero, which changes nothing where it is zero",
        body=loop("y[b, j] += torch.randn(x.shape[2:], generator=generator).to(x)", "y[b, j] = 0"),
    ),
    wrong(
        "leak_test",
        "coarse",
        caught_by="small_leaks_count",
        because="calls a change of a thousandth rounding",
        body=loop(
            "moved = changed(before, model(y))",
            "moved = (before - model(y)).abs().flatten(2).amax(dim=-1) > 1e-3",
        ),
    ),
    wrong(
        "leak_test",
        "to_the_last_digit",
        caught_by="rounding_is_no_leak",
        because="calls every rounding a leak",
        body=loop("moved = changed(before, model(y))", "moved = (before != model(y)).flatten(2).any(dim=-1)"),
    ),
    wrong(
        "leak_test",
        "trusts_the_model",
        caught_by="models_that_vary_are_refused",
        because="does not ask the model twice, and finds leaks in its dropout",
        body=loop('            raise ValueError("the model varies")\n', "            pass\n"),
    ),
    wrong(
        "leak_test",
        "writes_into_x",
        caught_by="the_input_stays_as_it_is",
        because="changes x itself and leaves it changed",
        body=loop("        return leaks\n", "        x.copy_(y)\n        return leaks\n"),
    ),
    wrong(
        "leak_test",
        "everything_after",
        caught_by="the_input_stays_as_it_is",
        because="changes all later positions together",
        body=loop(
            "y[b, j] += torch.randn(x.shape[2:], generator=generator).to(x)",
            "y[b, j:] += torch.randn(y[b, j:].shape, generator=generator).to(x)",
        ),
    ),
    wrong(
        "leak_test",
        "one_rule_for_all",
        caught_by="examples_may_be_allowed_different_things",
        because="judges every example by what the first one may see",
        body=loop(
            "allowed = allowed.expand(len(x), -1, -1)",
            "allowed = allowed.expand(len(x), -1, -1)[:1].expand(len(x), -1, -1)",
        ),
    ),
    wrong(
        "leak_test",
        "zeros",
        caught_by="finds_every_leak_and_no_other",
        because="never finds anything",
        body="""
def leak_test(model, x, allowed):
    return torch.zeros(allowed.shape[-2:], dtype=torch.bool)
""",
    ),
    right("leak_test", "one_change_each", because="a single random change a position", body=LOOP),
    right(
        "leak_test",
        "dependence_then_judgement",
        because="first all dependence of every example on every other, then what is not allowed",
        body="""
def leak_test(model, x, allowed):
    batch, inputs = x.shape[:2]
    with torch.inference_mode():
        base = model(x).double()
        outputs = base.shape[1]
        limit = 1e-10 * (1 + base.abs().max())
        if not torch.allclose(model(x).double(), base):
            raise ValueError("call eval() first")
        seen = torch.zeros(batch, batch, outputs, inputs, dtype=torch.bool)
        for b in range(batch):
            for j in range(inputs):
                for scale in (0.5, 7.0):
                    y = x.detach().clone()
                    if y.dtype.is_floating_point:
                        y[b, j] = scale * torch.rand_like(y[b, j])
                    else:
                        others = [i for i in x.flatten().tolist() if i != int(x[b, j])]
                        y[b, j] = others[0] if scale < 1 else others[-1]
                    gap = (model(y).double() - base).abs().reshape(batch, outputs, -1).amax(dim=2)
                    seen[b, :, :, j] |= gap > limit
    own = torch.eye(batch, dtype=torch.bool)[:, :, None, None]
    may = own & allowed.expand(batch, outputs, inputs)[:, None]
    return (seen & ~may).flatten(0, 1).any(dim=0)
""",
    ),
]

VARIANTS = [*CAUSAL, *PADDING, *COMBINE, *SOFTMAX, *LAYERS, *LEAKS]
