"""Hidden tests of chapter 04, `masks`."""

from __future__ import annotations

from collections.abc import Callable
from itertools import count

import torch
from torch import Tensor

from attention_from_scratch import masks as reference
from autograder.testing import Draw, Exercise, Question, Student, check, close, presupposes, raises

WHOLE_LAYERS = [
    "torch.nn.MultiheadAttention",
    "torch.nn.functional.multi_head_attention_forward",
    "torch.nn.functional.scaled_dot_product_attention",
]
HALF = (torch.float16, torch.bfloat16)
FLOATS = (*HALF, torch.float32, torch.float64)


def boolean(draw: Draw, *shape: int, share: float = 0.5) -> Tensor:
    """A random mask in which about `share` of the entries are True."""
    return draw.uniform(*shape) < share


def without_empty_rows(draw: Draw, *shape: int) -> Tensor:
    """A random mask in which every query sees at least one key and, where there are two, misses at least one."""
    mask = boolean(draw, *shape)
    mask[..., draw.integer(0, shape[-1] - 1)] = True
    if shape[-1] > 1:
        mask[..., 0] ^= mask.all(dim=-1)
    return mask


def with_empty_rows(draw: Draw, *shape: int) -> Tensor:
    """A random mask in which about a third of the queries, and the last one always, see nothing."""
    mask = without_empty_rows(draw, *shape) & boolean(draw, *shape[:-1], 1, share=0.67)
    mask[..., -1, :] = False
    return mask


causal_mask = Exercise("causal_mask")


@causal_mask.test(
    points=1,
    says="somebody sees the future, or nobody sees the past: with queries and keys of the same sequence, query i may look at the keys 0 … i and at none after; True means may look",
)
def the_future_is_hidden(student: Student, draw: Draw) -> None:
    length = draw.integer(3, 13)
    close(student.causal_mask(length, length, 0), torch.ones(length, length, dtype=torch.bool).tril())


@causal_mask.test(
    points=0.5,
    says="a query must see its own position too: the comparison is ≤ and not <, otherwise the first query sees nothing at all",
)
def everybody_sees_itself(student: Student, draw: Draw) -> None:
    length = draw.integer(1, 9)
    got = student.causal_mask(length, length, 0)
    check(got.dtype == torch.bool and got.shape == (length, length), f"{got.dtype}, {tuple(got.shape)}")
    close(got.diagonal(), torch.ones(length, dtype=torch.bool))
    close(student.causal_mask(1, 1, 0), torch.ones(1, 1, dtype=torch.bool))
    presupposes(student.causal_mask(3, 3, 0), reference.causal_mask(3, 3, 0))


@causal_mask.test(
    points=1.5,
    says="the offset is not what shifts the diagonal: query 0 stands at position `offset` of the keys, so query i may look at key j when j ≤ i + offset, with the offset that was given and not one of your own",
)
def offset_says_where_the_queries_stand(student: Student, draw: Draw) -> None:
    few, many = sorted(draw.primes(2))
    for offset in (many - few, draw.integer(1, many), 1):
        expected = torch.ones(few, many, dtype=torch.bool).tril(diagonal=offset)
        close(student.causal_mask(few, many, offset), expected, what=f"the mask with offset {offset}")


@causal_mask.test(
    points=1,
    says="there may be more keys than queries, or fewer: the mask has one row a query and one column a key, (queries, keys)",
)
def queries_and_keys_may_differ(student: Student, draw: Draw) -> None:
    few, many = sorted(draw.primes(2))
    for queries, keys in ((few, many), (many, few), (1, many), (many, 1)):
        expected = torch.ones(queries, keys, dtype=torch.bool).tril()
        close(student.causal_mask(queries, keys, 0), expected)


@causal_mask.test(
    points=0.5,
    says="an offset below zero must work like any other: queries that stand before the first key see nothing, and the rule j ≤ i + offset says so without any special case",
)
def offsets_may_be_negative(student: Student, draw: Draw) -> None:
    queries = draw.integer(4, 7)
    keys, offset = queries + draw.choice([-1, 1, 2]), -draw.integer(2, 3)
    expected = torch.ones(queries, keys, dtype=torch.bool).tril(diagonal=offset)
    close(student.causal_mask(queries, keys, offset), expected)
    close(student.causal_mask(queries, keys, keys), torch.ones(queries, keys, dtype=torch.bool))


@causal_mask.test(
    points=0.5,
    says="the result must be a boolean tensor, True for may look; numbers to add to the scores are another convention",
)
def causal_mask_is_boolean(student: Student, draw: Draw) -> None:
    queries = draw.integer(3, 7)
    keys = queries + draw.integer(
        3, 5
    )  # neither square, nor are the queries the last positions, with offset 1
    got = student.causal_mask(queries, keys, 1)
    check(isinstance(got, torch.Tensor) and got.dtype == torch.bool, f"the result is {type(got).__name__}")
    presupposes(got, reference.causal_mask(queries, keys, 1))


padding_mask = Exercise("padding_mask")


def lengths_of(draw: Draw, batch: int, length: int) -> Tensor:
    """Random lengths, among them the shortest and the longest there can be, and one between where there is room."""
    drawn = [draw.integer(1, length - 1) for _ in range(batch)]
    return torch.tensor([0, length, *drawn][:batch] if batch > 2 else [length, 1][:batch])


@padding_mask.test(
    points=1,
    says="the wrong part of the sequences is visible: the first lengths[b] keys of example b may be looked at (True), the padding behind them may not (False)",
)
def tokens_are_visible_and_padding_is_not(student: Student, draw: Draw) -> None:
    length, cut = draw.integer(8, 13), draw.integer(2, 4)
    got = student.padding_mask(torch.tensor([cut, length - 1]), length).reshape(2, -1)
    check(got.shape == (2, length), f"the mask holds {got.shape[-1]} entries an example, expected {length}")
    check(got.dtype == torch.bool, f"the mask has dtype {got.dtype}")
    rows = [[i < cut - 1 for i in range(length)], [i < length - 2 for i in range(length)]]
    judged = torch.ones(2, length, dtype=torch.bool)  # all but the last token and the first pad
    judged[0, cut - 1 : cut + 1] = False
    judged[1, length - 2 :] = False
    close(got & judged, torch.tensor(rows) & judged)


@padding_mask.test(
    points=0.5,
    says="the border is off by one: with a length of 3 the keys 0, 1, 2 are visible and key 3 is not; a length of 0 hides every key, the full length hides none",
)
def the_border_is_where_the_length_says(student: Student, draw: Draw) -> None:
    length = draw.integer(2, 9)
    lengths = torch.arange(length + 1)
    close(student.padding_mask(lengths, length).sum(dim=(1, 2, 3)), lengths)
    close(student.padding_mask(lengths, length), reference.padding_mask(lengths, length))


@padding_mask.test(
    points=1,
    says="the mask must hide keys, for every query and every head alike: its shape is (batch, 1, 1, length), with the keys on the last axis. On the axis before it, it would silence the padding as a query and still let every word read it",
)
def it_hides_keys_and_not_queries(student: Student, draw: Draw) -> None:
    batch, length = draw.primes(2)
    lengths = lengths_of(draw, batch, length)
    got = student.padding_mask(lengths, length)
    check(tuple(got.shape) == (batch, 1, 1, length), f"the shape is {tuple(got.shape)}")
    close(got, reference.padding_mask(lengths, length))


@padding_mask.test(
    points=1,
    says="every example of the batch has a length of its own, whatever the others have, and the mask is as long as `length` says even when no example fills it; the lengths stay as they are",
)
def each_example_has_its_own_length(student: Student, draw: Draw) -> None:
    batch, length = draw.integer(3, 7), draw.integer(5, 9)
    lengths = torch.tensor([draw.integer(0, 3) for _ in range(batch - 1)] + [4])
    for given in (lengths, draw.strided(lengths), lengths.to(torch.int32)):
        probe = student.probe("padding_mask", given, length)
        close(probe.value, reference.padding_mask(lengths, length))
        close(probe.args[0], given, what="the lengths after the call")
    close(student.padding_mask(lengths[-1:], length), reference.padding_mask(lengths[-1:], length))


@padding_mask.test(
    points=0.5,
    says="a length that does not fit, below 0 or above `length`, must be refused with a ValueError: tokens have been cut off, or the wrong lengths came in",
)
def lengths_must_fit(student: Student, draw: Draw) -> None:
    length = draw.integer(3, 8)
    raises(ValueError, student.padding_mask, torch.tensor([1, length + draw.integer(1, 4)]), length)
    raises(ValueError, student.padding_mask, torch.tensor([-1, length]), length)
    fitting = torch.tensor([0, draw.integer(1, length - 1), length])
    presupposes(student.padding_mask(fitting, length), reference.padding_mask(fitting, length))


combine_masks = Exercise("combine_masks")


@combine_masks.test(
    points=1.5,
    says="a key that one mask hides must stay hidden: a query may look only where every one of the masks is True, however many there are",
)
def every_mask_can_hide(student: Student, draw: Draw) -> None:
    queries, keys = draw.primes(2)
    given = [boolean(draw, queries, keys, share=0.7) for _ in range(draw.integer(3, 4))]
    for number, mask in enumerate(given):  # entry k is hidden by mask k and by no other
        mask.view(-1)[: len(given)] = torch.arange(len(given)) != number
        mask.view(-1)[len(given)] = number > 1  # and the next one by two of them
    close(student.combine_masks(*given), torch.stack(given).all(dim=0))
    close(student.combine_masks(*given[:2]), given[0] & given[1])


@combine_masks.test(
    points=1,
    says="None forbids nothing: it must be skipped wherever it stands, one mask among Nones comes back as it is, and without any mask the result is None",
)
def none_hides_nothing(student: Student, draw: Draw) -> None:
    queries, keys = draw.primes(2)
    one, other = boolean(draw, queries, keys), boolean(draw, queries, keys)
    close(student.combine_masks(None, one), one)
    close(student.combine_masks(one, None), one)
    close(student.combine_masks(None, one, None, other), one & other)
    for nothing in ((), (None,), (None, None)):
        got = student.combine_masks(*nothing)
        check(got is None, f"without a mask the result is {type(got).__name__}, not None")


@combine_masks.test(
    points=0.5,
    says="masks of different shapes must broadcast against each other, in either order: (queries, keys) with (batch, 1, 1, keys) gives (batch, 1, queries, keys)",
)
def masks_of_different_shapes_broadcast(student: Student, draw: Draw) -> None:
    batch, heads, queries, keys = draw.primes(4)
    causal, padding = boolean(draw, queries, keys), boolean(draw, batch, 1, 1, keys)
    by_head = boolean(draw, heads, 1, 1)
    close(student.combine_masks(causal, padding), causal & padding)
    close(student.combine_masks(padding, causal), causal & padding)
    close(student.combine_masks(draw.strided(causal), by_head, padding), causal & by_head & padding)


@combine_masks.test(
    points=0.5,
    says="the masks that came in were changed: a causal mask is made once and used by every layer, so `&=` on it is a trap; make a new tensor",
)
def masks_stay_as_they_were(student: Student, draw: Draw) -> None:
    queries, keys = draw.primes(2)
    given = [boolean(draw, queries, keys) for _ in range(3)]
    for number, mask in enumerate(
        given
    ):  # entries that all show, that the last hides, that the first alone shows
        mask.view(-1)[:3] = torch.arange(3) < 3 - number
    probe = student.probe("combine_masks", *given)
    close(probe.value, given[0] & given[1] & given[2])
    close(list(probe.args), given, what="the masks after the call")


@combine_masks.test(
    points=0.5,
    says="a mask of numbers must be refused with a TypeError: 0 and −∞ to add, or 1 and 0 to multiply, mean opposite things, and nobody should guess",
)
def numbers_are_refused(student: Student, draw: Draw) -> None:
    queries, keys = draw.primes(2)
    mask = boolean(draw, queries, keys)
    additive = torch.zeros(queries, keys).masked_fill(~mask, float("-inf"))
    for wrong in (additive, mask.long()):
        raises(TypeError, student.combine_masks, mask, wrong)
        raises(TypeError, student.combine_masks, wrong)
    presupposes(student.combine_masks(mask, ~mask), mask & ~mask)
    presupposes(student.combine_masks(mask), mask)


masked_softmax = Exercise("masked_softmax", forbids=WHOLE_LAYERS)


def attention_shape(draw: Draw) -> tuple[int, int, int, int]:
    """Batch, heads, queries, keys: all different, and so many keys that no mistake is hidden by too few of them."""
    batch, heads, queries = draw.primes(3)
    return batch, heads, queries, draw.integer(14, 16)


@masked_softmax.test(
    points=1.5,
    says="hidden keys still get weight, or visible ones get none: where the mask is False the weight must be exactly 0, where it is True it must not be. A score of 0 hides nothing, since e⁰ is 1",
)
def hidden_keys_weigh_nothing(student: Student, draw: Draw) -> None:
    shape = attention_shape(draw)
    mask = without_empty_rows(draw, *shape)
    got = student.masked_softmax(draw.normal(*shape), mask)
    check(got.shape == mask.shape, f"the shape is {tuple(got.shape)}")
    close(got[~mask], torch.zeros(int((~mask).sum()), dtype=torch.float64), tolerance=0.0)
    check(bool((got[mask] > 0).all()), "a visible key has no weight")


@masked_softmax.test(
    points=1,
    says="the visible keys do not share all of the weight: they must add up to 1, as if the hidden keys had never been there. Weights taken away after the softmax are missing from the sum",
)
def visible_weights_share_one(student: Student, draw: Draw) -> None:
    shape = attention_shape(draw)
    mask = without_empty_rows(draw, *shape)
    scores = draw.normal(*shape)
    got = student.masked_softmax(scores, mask)
    close(got.sum(dim=-1), torch.ones(shape[:-1], dtype=torch.float64))
    powers = torch.exp(scores) * mask
    close(got, powers / powers.sum(dim=-1, keepdim=True))


@masked_softmax.test(
    points=1,
    says="scores far from zero break it: no hidden score, however large, may reach or crowd out the visible ones, and no visible score may overflow or fall below your fill. A fill of −20 or −10000 is a score like any other; −∞ is not",
)
def scores_may_have_any_size(student: Student, draw: Draw) -> None:
    shape = attention_shape(draw)
    mask = without_empty_rows(draw, *shape)
    for dtype in (torch.float32, torch.float64):
        for middle in (-3e5, -40.0, 40.0, 3e5):
            scores = (draw.normal(*shape, dtype=torch.float32) + middle).to(dtype)
            scores = torch.where(mask, scores, draw.choice([-2.0, 2.0]) * scores)
            expected = reference.masked_softmax(scores, mask)
            close(
                student.masked_softmax(scores, mask), expected, what=f"the weights near scores of {middle:g}"
            )


@masked_softmax.test(
    points=1,
    says="a visible key whose score is exactly 0 lost its weight: 0 is an ordinary score, so what is hidden must be read from the mask and never from the scores",
)
def a_score_of_zero_is_a_score(student: Student, draw: Draw) -> None:
    shape = attention_shape(draw)
    mask = without_empty_rows(draw, *shape)
    scores = draw.normal(*shape) * boolean(draw, *shape)
    close(student.masked_softmax(scores, mask), reference.masked_softmax(scores, mask))


@masked_softmax.test(
    points=1,
    says="a query that may look at nothing must get a weight of 0 for every key: not NaN, and not equal shares of keys that it may not see; the other rows must not notice",
)
def who_sees_nothing_reads_nothing(student: Student, draw: Draw) -> None:
    shape = attention_shape(draw)
    mask = with_empty_rows(draw, *shape)
    scores = draw.normal(*shape)
    close(student.masked_softmax(scores, mask), reference.masked_softmax(scores, mask))


@masked_softmax.test(
    points=1.5,
    says="the gradient is not finite where a query sees nothing: once a row has been NaN, replacing the NaN afterwards mends the value and not the gradient, since 0 · NaN is NaN on the way back. Keep the row finite before the softmax, or stop its gradient at the scores",
)
def empty_rows_have_gradients_of_zero(student: Student, draw: Draw) -> None:
    shape = attention_shape(draw)
    mask = with_empty_rows(draw, *shape)
    for dtype in FLOATS:
        scores, upstream = draw.normal(*shape, dtype=dtype), draw.normal(*shape, dtype=dtype)
        _, grads = student.gradients("masked_softmax", scores, mask, upstream=upstream)
        leaf = scores.clone().requires_grad_()
        (reference.masked_softmax(leaf, mask) * upstream).sum().backward()
        close(grads, [leaf.grad], what=f"the gradient in {dtype}")
        empty = ~mask.any(dim=-1)
        close(
            grads[0][empty], torch.zeros_like(scores[empty]), tolerance=0.0, what="the gradient of empty rows"
        )


@masked_softmax.test(
    points=1,
    says="it fails in half precision: float16 ends at 65504, so a fill of −1e9 is refused, and a fill near the end that is *added* overflows; the result must keep the dtype of the scores",
)
def half_precision_works(student: Student, draw: Draw) -> None:
    shape = attention_shape(draw)
    for dtype in HALF:
        scores = (100 * draw.normal(*shape)).to(dtype)
        mask = without_empty_rows(draw, *shape)
        close(student.masked_softmax(scores, mask), reference.masked_softmax(scores, mask))
        low, mask = -100 - scores.abs(), with_empty_rows(draw, *shape)
        value, grads = student.gradients("masked_softmax", low, mask)
        close(value, reference.masked_softmax(low, mask))
        check(
            grads[0] is not None and bool(torch.isfinite(grads[0]).all()),
            f"a gradient in {dtype} is not finite",
        )


@masked_softmax.test(
    points=0.5,
    says="the softmax must run along the last axis, over the keys of each query, and a mask of None must leave it a plain softmax",
)
def without_a_mask_it_is_a_softmax(student: Student, draw: Draw) -> None:
    for shape in (attention_shape(draw), draw.primes(2), (3, 1, 1, 1)):
        scores = draw.normal(*shape)
        close(student.masked_softmax(scores, None), torch.softmax(scores, dim=-1))


@masked_softmax.test(
    points=0.5,
    says="the mask must broadcast to (batch, heads, queries, keys): one for all, one for each example, one for each head. No example may be judged by the mask of another",
)
def masks_broadcast_to_the_scores(student: Student, draw: Draw) -> None:
    batch, heads = draw.primes(2)
    few, many = draw.integer(3, 6), draw.integer(7, 9)
    for queries, keys in ((few, many), (many, few)):
        scores = draw.normal(batch, heads, queries, keys)
        for shape in (
            (queries, keys),
            (batch, 1, 1, keys),
            (1, heads, queries, keys),
            (batch, 1, queries, 1),
        ):
            mask = boolean(draw, *shape, share=0.6)
            close(student.masked_softmax(scores, mask), reference.masked_softmax(scores, mask))


@masked_softmax.test(
    points=0.5,
    says="scores and mask must come out as they went in, and any layout in memory must do: `masked_fill_` and `scores[...] = …` write into the caller's tensor",
)
def scores_stay_as_they_were(student: Student, draw: Draw) -> None:
    shape = attention_shape(draw)
    scores, mask = draw.strided(draw.normal(*shape)), draw.strided(with_empty_rows(draw, *shape))
    probe = student.probe("masked_softmax", scores, mask)
    close(probe.value, reference.masked_softmax(scores, mask))
    close(list(probe.args), [scores, mask], tolerance=0.0, what="the arguments after the call")


@masked_softmax.test(
    points=0.5,
    says="the gradient does not reach the scores of the visible keys, or reaches those of hidden ones, which must get exactly 0",
)
def gradients_reach_visible_scores_only(student: Student, draw: Draw) -> None:
    shape = attention_shape(draw)
    mask = without_empty_rows(draw, *shape)
    scores, upstream = draw.normal(*shape), draw.normal(*shape)
    _, grads = student.gradients("masked_softmax", scores, mask, upstream=upstream)
    weights = reference.masked_softmax(scores, mask)
    expected = weights * (upstream - (weights * upstream).sum(dim=-1, keepdim=True))
    close(grads, [expected], what="the gradient of the scores")


layer = Exercise("MaskedMultiHeadAttention", forbids=WHOLE_LAYERS)


def float32(draw: Draw, *shape: int) -> Tensor:
    """Standard normal float32 values."""
    return draw.normal(*shape, dtype=torch.float32)


def pair(student: Student, draw: Draw, width: int, heads: int):
    """The student's layer and the reference layer with the same drawn weights."""
    ours = reference.MaskedMultiHeadAttention(width, heads)
    state = {
        name: float32(draw, *p.shape) / p.shape[-1] ** (0.5 if p.ndim == 2 else 0.0)
        for name, p in ours.state_dict().items()
    }
    ours.load_state_dict(state)
    theirs = student.MaskedMultiHeadAttention(d_model=width, heads=heads)
    theirs.load_state_dict(state)
    return theirs, ours


def drawn_layer(student: Student, draw: Draw):
    """Both layers, queries, memory and the four sizes of a mask."""
    batch, heads, queries, keys = attention_shape(draw)
    width = heads * draw.integer(2, 4)
    theirs, ours = pair(student, draw, width, heads)
    sizes = (batch, heads, queries, keys)
    return theirs, ours, float32(draw, batch, queries, width), float32(draw, batch, keys, width), sizes


@layer.test(
    points=1.5,
    says="positions that the mask hides are still read, or visible ones are not: where mask[b, h, i, j] is False, query i of example b must get nothing from memory j in head h",
)
def hidden_memory_is_not_read(student: Student, draw: Draw) -> None:
    theirs, ours, x, memory, sizes = drawn_layer(student, draw)
    mask = without_empty_rows(draw, *sizes)
    close(theirs(x, memory, mask), ours(x, memory, mask))
    loud, unseen = memory.clone(), mask.clone()
    unseen[..., 0], unseen[..., 1], loud[:, 0] = False, True, 1e6 * memory[:, 0]
    expected = ours(x, memory, unseen)  # what nobody sees may be as large as it likes
    close(theirs(x, loud, unseen), expected, what="the output beside a hidden position with huge numbers")


@layer.test(
    points=1,
    says="with None for a mask it must be chapter 03's layer: the same eight parameters, the same result",
)
def without_a_mask_it_is_the_old_layer(student: Student, draw: Draw) -> None:
    theirs, ours, x, memory, sizes = drawn_layer(student, draw)
    shapes = {name: tuple(p.shape) for name, p in theirs.parameters().items()}
    check(shapes == {name: tuple(p.shape) for name, p in ours.named_parameters()}, f"parameters {shapes}")
    old = reference.MultiHeadAttention(x.shape[-1], sizes[1])
    old.load_state_dict(ours.state_dict())
    close(theirs(x, memory, None), old(x, memory))


@layer.test(
    points=1,
    says="a mask may leave axes out or have ones in them: (queries, keys) for everybody, (batch, 1, 1, keys) for padding, (1, heads, queries, keys) for heads that look in different places",
)
def one_mask_may_serve_many(student: Student, draw: Draw) -> None:
    theirs, ours, x, memory, (batch, heads, queries, keys) = drawn_layer(student, draw)
    for shape in ((queries, keys), (batch, 1, 1, keys), (1, heads, queries, keys)):
        mask = without_empty_rows(draw, *shape)
        close(theirs(x, memory, mask), ours(x, memory, mask), what=f"the output with a mask of shape {shape}")


@layer.test(
    points=1,
    says="a query that may see nothing must get the bias of the output layer, finite, and leave all gradients finite",
)
def who_sees_nothing_gets_the_bias(student: Student, draw: Draw) -> None:
    theirs, ours, x, memory, sizes = drawn_layer(student, draw)
    mask = with_empty_rows(draw, sizes[0], 1, *sizes[2:])
    value, grads, named = theirs.gradients(x, memory, mask)
    close(
        value[:, -1],
        ours.output.bias.detach().expand(sizes[0], -1),
        what="the output of a query that sees nothing",
    )
    close(value, ours(x, memory, mask))
    found = [*grads, *named.values()]
    check(len(found) == 10, f"{len(found)} gradients, expected 10")
    for gradient in found:
        check(
            gradient is not None and bool(torch.isfinite(gradient).all()),
            "a gradient is missing or not finite",
        )


@layer.test(
    points=0.5,
    says="a mask with neither two nor four axes must be refused with a ValueError: the first of three could be the examples or the heads, and broadcasting would silently take the heads",
)
def three_axes_are_refused(student: Student, draw: Draw) -> None:
    _, heads, queries, keys = attention_shape(draw)
    theirs, ours = pair(student, draw, 2 * heads, heads)
    x, memory = float32(draw, heads, queries, 2 * heads), float32(draw, heads, keys, 2 * heads)
    mask = without_empty_rows(draw, heads, queries, keys)
    raises(ValueError, theirs, x, memory, mask)
    raises(ValueError, theirs, x, memory, mask[0, 0])
    presupposes(theirs(x, memory, mask[:, None]), ours(x, memory, mask[:, None]))


@layer.test(
    points=1,
    says="examples of a batch share a mask or see each other: an example must get the same answer alone, with its own slice of the mask, as in the batch",
)
def each_example_has_its_own_mask(student: Student, draw: Draw) -> None:
    theirs, ours, x, memory, sizes = drawn_layer(student, draw)
    mask = without_empty_rows(draw, sizes[0], 1, 1, sizes[3])
    mask[..., 0], mask[0, ..., 1], mask[-1, ..., 1] = True, True, False
    together = theirs(x, memory, mask)
    for i in range(sizes[0]):
        one = slice(i, i + 1)
        close(theirs(x[one], memory[one], mask[one]), ours(x, memory, mask)[one], what=f"example {i} alone")
        close(together[one], ours(x, memory, mask)[one], what=f"example {i} in its batch")


@layer.test(
    points=1,
    says="the layer does not train: gradients must reach all parameters and both arguments, inputs in any layout must do, and nothing may flow back to memory that nobody sees",
)
def gradients_reach_what_is_seen(student: Student, draw: Draw) -> None:
    theirs, ours, x, memory, sizes = drawn_layer(student, draw)
    mask = without_empty_rows(draw, *sizes)
    mask[:, :, :, 0] = False
    mask[:, :, :, 1] = True
    upstream = float32(draw, *x.shape)
    value, grads, named = theirs.gradients(draw.strided(x), draw.strided(memory), mask, upstream=upstream)
    leaves = [x.clone().requires_grad_(), memory.clone().requires_grad_()]
    expected = ours(*leaves, mask)
    (expected * upstream).sum().backward()
    # gradients of parameters are sums over batch · length terms: ten times the room of a single result
    close(value, expected.detach())
    close(grads, [leaf.grad for leaf in leaves], tolerance=2e-4, what="the gradients of the arguments")
    wanted = {name: p.grad for name, p in ours.named_parameters()}
    close(named, wanted, tolerance=2e-4, what="the gradients of the parameters")


leak_test = Exercise("leak_test")
Model = Callable[[Tensor], Tensor]


def reader(draw: Draw, looks: Tensor, width: int, squash: Callable[[Tensor], Tensor] = torch.tanh) -> Model:
    """A model whose output i reads exactly those inputs j where looks[i, j] is True."""
    mix = (0.5 + draw.uniform(*looks.shape)) * looks  # (outputs, inputs)
    turn = draw.normal(width, 3)
    return lambda x: torch.einsum("ij,bjw,wf->bif", mix, squash(x), turn)  # (batch, outputs, 3)


def with_a_peep(own: Model, across: Model, reads: int, is_read: int) -> Model:
    """A model whose example `reads` also reads the example `is_read`."""

    def model(x: Tensor) -> Tensor:
        out = own(x)
        out[reads] += across(x[is_read : is_read + 1])[0]
        return out

    return model


def few(draw: Draw, number: int) -> list[int]:
    """Different small sizes: a leak test calls the model twice for each position of each example."""
    sizes: list[int] = []
    while len(sizes) < number:
        size = draw.integer(2, 6)
        sizes += [] if size in sizes else [size]
    return sizes


def never_by_chance(looks: Tensor, allowed: Tensor) -> None:
    """Put in a leak, a place that is seen and allowed, and one before it that is neither."""
    looks[0, 0], allowed[0, 0] = True, False
    looks[1, :2] = allowed[1, :2] = torch.tensor([False, True])


def suspicion(draw: Draw) -> tuple[Tensor, Tensor, Tensor, int]:
    """What a model looks at, what it may look at, an input for it, and its width."""
    batch, outputs, inputs, width = few(draw, 4)
    looks, allowed = boolean(draw, outputs, inputs), boolean(draw, outputs, inputs)
    never_by_chance(looks, allowed)
    return looks, allowed, draw.normal(min(batch, 3), inputs, width), width


@leak_test.test(
    points=1.5,
    says="the leaks found are not the leaks there are: result[i, j] must be True exactly where output i changes with input j although allowed[i, j] is False; change one position at a time and put it back before the next",
)
def finds_every_leak_and_no_other(student: Student, draw: Draw) -> None:
    for _ in range(4):  # a single case can come out right by chance
        looks, allowed, x, width = suspicion(draw)
        close(student.leak_test(reader(draw, looks, width), x, allowed), looks & ~allowed)


@leak_test.test(
    points=1,
    says="a model that looks only where it may has no leak, and one that looks at a single place more has exactly one: what is allowed must not be reported",
)
def looking_where_allowed_is_no_leak(student: Student, draw: Draw) -> None:
    looks, _, x, width = suspicion(draw)
    model = reader(draw, looks, width)
    close(student.leak_test(model, x, looks), torch.zeros_like(looks))
    stricter = looks.clone()
    stricter[0, 0] = False
    close(student.leak_test(model, x, stricter), looks & ~stricter)


@leak_test.test(
    points=2,
    says="a leak between examples of the batch went unnoticed: change one example at a time and watch all the others, whose outputs may never change, also where allowed is True; any example can be the one that leaks",
)
def other_examples_are_never_allowed(student: Student, draw: Draw) -> None:
    outputs, inputs, width = few(draw, 3)
    x = draw.normal(3, inputs, width)
    own = reader(draw, torch.ones(outputs, inputs, dtype=torch.bool), width)
    for reads, is_read in ((draw.integer(1, 2), 0), (draw.integer(0, 1), 2)):
        looks = boolean(draw, outputs, inputs)
        looks[0, 0], looks[1, 0] = True, False
        model = with_a_peep(own, reader(draw, looks, width), reads, is_read)
        close(student.leak_test(model, x, torch.ones_like(looks)), looks)
    close(student.leak_test(own, x, torch.ones_like(looks)), torch.zeros_like(looks))


@leak_test.test(
    points=1.5,
    says="token ids have no neighbours to move to: replace an id by a different id that occurs in x, since the model may know no others, and make sure that it really is different",
)
def token_ids_are_replaced_by_known_ids(student: Student, draw: Draw) -> None:
    batch, outputs, inputs, width = few(draw, 4)
    looks, allowed = boolean(draw, outputs, inputs), boolean(draw, outputs, inputs)
    never_by_chance(looks, allowed)
    known = [0, draw.integer(2, 9), draw.integer(11, 20)]
    table = {number: draw.normal(width) for number in known}
    x = torch.tensor([[draw.choice(known) for _ in range(inputs)] for _ in range(min(batch, 3))])
    x[:, 0], x[-1, -1] = known[0], known[-1]
    read = reader(draw, looks, width)

    def model(ids: Tensor) -> Tensor:
        check(
            ids.dtype == x.dtype and ids.shape == x.shape,
            f"the model was given {ids.dtype} {tuple(ids.shape)}",
        )
        return read(torch.stack([torch.stack([table[int(i)] for i in row]) for row in ids]))

    close(student.leak_test(model, x, allowed), looks & ~allowed)


@leak_test.test(
    points=1,
    says="the change was one that a layer norm takes out again: adding the same number to a whole vector, or doubling it, leaves its direction as it was, and a zero stays zero when doubled. Add something random, everywhere",
)
def normalised_inputs_hide_nothing(student: Student, draw: Draw) -> None:
    looks, allowed, x, _ = suspicion(draw)
    width = draw.integer(4, 8)
    x = draw.normal(*x.shape[:2], width)
    x[:, 0] = 0.0
    model = reader(draw, looks, width, squash=lambda t: torch.layer_norm(t, (width,)))
    close(student.leak_test(model, x, allowed), looks & ~allowed)


@leak_test.test(
    points=1,
    says="a small leak is a leak: a weight of a millionth on a hidden position must be found in float64, so compare as finely as rounding allows",
)
def small_leaks_count(student: Student, draw: Draw) -> None:
    looks, allowed, x, width = suspicion(draw)
    honest, leaking = reader(draw, looks & allowed, width), reader(draw, looks & ~allowed, width)
    close(student.leak_test(lambda x: honest(x) + 1e-6 * leaking(x), x, allowed), looks & ~allowed)


@leak_test.test(
    points=0.5,
    says="rounding was taken for a leak: a change in the last digits is what another order of the same sums gives, so outputs must be compared with a tolerance",
)
def rounding_is_no_leak(student: Student, draw: Draw) -> None:
    batch, length, width = few(draw, 3)
    x = draw.normal(min(batch, 3), length, width)
    everybody = draw.uniform(length, 1, low=1.0, high=3.0)

    def model(x: Tensor) -> Tensor:
        total = (everybody * x).sum(dim=1, keepdim=True)
        return (x + total) - total

    own = torch.eye(length, dtype=torch.bool)
    close(student.leak_test(model, x, own), torch.zeros_like(own))
    close(student.leak_test(model, x, ~own), own)


@leak_test.test(
    points=0.5,
    says="a model whose answer to the same input varies cannot be tested: dropout looks like a leak everywhere. Call it twice first and raise a ValueError when the answers differ",
)
def models_that_vary_are_refused(student: Student, draw: Draw) -> None:
    looks, allowed, x, width = suspicion(draw)
    steady, calls = reader(draw, looks, width), count()
    raises(ValueError, student.leak_test, lambda x: steady(x) * (1 + 0.1 * next(calls)), x, allowed)
    presupposes(student.leak_test(steady, x, allowed), looks & ~allowed)


@leak_test.test(
    points=0.5,
    says="x must be the same after the test as before, in any layout in memory, and the model must be shown inputs that differ from it at one position of one example only",
)
def the_input_stays_as_it_is(student: Student, draw: Draw) -> None:
    looks, allowed, x, width = suspicion(draw)
    model = reader(draw, looks, width)
    most = []

    def watched(y: Tensor) -> Tensor:
        most.append(int((y != x).any(dim=-1).sum()))
        return model(y)

    student.define("def test_and_input(model, x, allowed):\n    return leak_test(model, x, allowed), x")
    leaks, after = student.test_and_input(watched, draw.strided(x), allowed)
    close(leaks, looks & ~allowed)
    close(after, x, tolerance=0.0, what="x after the call")
    check(max(most) == 1, f"the model saw inputs that differ from x at {max(most)} positions")


@leak_test.test(
    points=0.5,
    says="what is allowed may differ between examples, as with padding: allowed of shape (batch, outputs, inputs) must judge each example by its own slice",
)
def examples_may_be_allowed_different_things(student: Student, draw: Draw) -> None:
    for _ in range(4):  # a single case can come out right by chance
        looks, _, x, width = suspicion(draw)
        allowed = boolean(draw, len(x), *looks.shape)
        allowed[0, 0, 0] = False
        got = student.leak_test(reader(draw, looks, width), x, allowed)
        close(got, (looks & ~allowed).any(dim=0))


QUESTIONS = [
    Question(
        "padding_as_queries",
        points=4,
        answer=(
            "The output at a padding position is an average of real words, made by a query that means nothing. It does "
            "no harm as long as nobody reads it: with the padding hidden as keys, no real position ever does, in this "
            "layer or in the next one, so outputs of real words are the same as without padding. Where it would do harm "
            "is outside of attention: in a loss averaged over all positions, in the mean over a sentence, in statistics "
            "over the batch. There the padding has to be left out once more, with the same lengths. Hiding the queries "
            "as well would leave them rows with nothing to see, which is exactly the case that gives NaN without the "
            "rule for empty rows, and it would change no real output. The test: change the ids or vectors at the "
            "padding, or the amount of padding, and see that the outputs of real words and the loss stay what they were."
        ),
        rubric=(
            "1 point: says that outputs at padding positions are meaningless but harmless as long as nobody reads them. "
            "1 point: says that hiding the keys ensures this, in the next layer too. 1 point: names a place outside "
            "attention where padding must be left out again (loss, mean over positions, batch statistics). 1 point: "
            "names what masking the queries would bring (empty rows, NaN) or a test that shows that padding does not matter."
        ),
    )
]
