"""Hidden tests of chapter 05, `positions`."""

from __future__ import annotations

import torch
from torch import Tensor

from attention_from_scratch import positions as reference
from attention_from_scratch.masks import causal_mask, masked_attention
from autograder.testing import Draw, Exercise, Question, Student, check, close, raises

WHOLE_LAYERS = [
    "torch.nn.MultiheadAttention",
    "torch.nn.functional.multi_head_attention_forward",
    "torch.nn.functional.scaled_dot_product_attention",
]


def float32(draw: Draw, *shape: int) -> Tensor:
    """Standard normal numbers in single precision."""
    return draw.normal(*shape, dtype=torch.float32)


permutation_gap = Exercise("permutation_gap", forbids=WHOLE_LAYERS)


def steps(draw: Draw, length: int) -> Tensor:
    """A number for each position, (length, 1), by about one larger from each to the next."""
    return (torch.arange(length) + draw.uniform(length, low=-0.2, high=0.2))[:, None]


def set_model(x: Tensor) -> Tensor:
    """A model that knows no order: each position, and what all positions have in common."""
    return x * x.mean(dim=1, keepdim=True) + x.square()


@permutation_gap.test(
    points=1,
    says="a model that treats its positions as a set gets a gap above 0, or one that does not gets a wrong one: the output for the shuffled input must be compared with the output for x shuffled in the same order, not with the unshuffled output and not with one shuffled back",
)
def output_is_shuffled_like_the_input(student: Student, draw: Draw) -> None:
    batch, length, width = draw.integer(2, 4), draw.choice([5, 7]), draw.integer(2, 5)
    x, place = draw.normal(batch, length, width), steps(draw, length)
    close(student.permutation_gap(set_model, x), 0.0)
    close(
        student.permutation_gap(lambda t: set_model(t) + place, x),
        reference.permutation_gap(lambda t: t + place, x),
    )


@permutation_gap.test(
    points=1,
    says="the wrong axis is shuffled: positions are axis 1 of the input and of the output, not the examples and not the numbers of a vector",
)
def positions_are_what_is_shuffled(student: Student, draw: Draw) -> None:
    (batch, width), length = draw.primes(2), draw.choice([4, 6, 8, 9])
    x = draw.normal(batch, length, width)
    example, number = draw.normal(batch, 1, 1), draw.normal(1, 1, width)
    close(student.permutation_gap(lambda t: t + example + number, x), 0.0)
    place = steps(draw, length)
    close(student.permutation_gap(lambda t: t + place, x), reference.permutation_gap(lambda t: t + place, x))


@permutation_gap.test(
    points=1,
    says="one of the two shuffles is missing: exchanging the first two positions does not move the last one, and moving everybody on leaves all neighbours on a ring together, so a model can be blind to either alone",
)
def both_shuffles_are_tried(student: Student, draw: Draw) -> None:
    length = draw.integer(4, 7)
    x = draw.normal(draw.integer(2, 3), length, draw.integer(2, 4))
    x[-1] *= 10  # the last example counts most
    last = torch.zeros(length, 1, dtype=torch.float64)
    last[-1] = draw.uniform(1, low=1.0, high=3.0)
    close(student.permutation_gap(lambda t: t + last, x), float(last[-1]))

    def ring(t: Tensor) -> Tensor:
        return t + 2 * t.roll(1, dims=1)

    def both_sides(t: Tensor) -> Tensor:
        return t.roll(1, dims=1) + t.roll(-1, dims=1)

    for model in (ring, lambda t: -ring(t), both_sides):
        close(student.permutation_gap(model, x), reference.permutation_gap(model, x))


@permutation_gap.test(
    points=1,
    says="the gap is not the largest absolute difference: a mean hides a single wrong position, a maximum without the absolute value hides what is too small, and a single example says nothing about the others",
)
def largest_absolute_difference_counts(student: Student, draw: Draw) -> None:
    batch, length, width = draw.integer(2, 4), draw.integer(4, 7), draw.integer(2, 4)
    x = draw.normal(batch, length, width)
    place = torch.zeros(batch, length, width, dtype=torch.float64)
    place[-1, :, -1] = torch.arange(length)  # one step up at a time, and one large step down
    close(student.permutation_gap(lambda t: t + place, x), length - 1.0)
    close(student.permutation_gap(lambda t: t - place, x), length - 1.0)


@permutation_gap.test(
    points=1,
    says="some input is not handled: token ids of shape (batch, length), a sequence of one or two positions, or an input that is not contiguous; and the caller's x must be as it was afterwards",
)
def any_input_and_left_as_it_was(student: Student, draw: Draw) -> None:
    batch, length = draw.integer(2, 5), draw.integer(3, 7)
    ids = torch.arange(batch * length).reshape(batch, length)
    place = torch.arange(length) * draw.integer(2, 5)
    close(
        student.permutation_gap(lambda t: t + place, ids), reference.permutation_gap(lambda t: t + place, ids)
    )
    for short in (1, 2):
        x = draw.normal(batch, short, 3)
        ramp = draw.normal(short, 3)

        def model(t: Tensor, ramp: Tensor = ramp) -> Tensor:
            return t + ramp

        close(student.permutation_gap(model, x), reference.permutation_gap(model, x))
    x = draw.normal(batch, length, 3)
    student.define("def gap_and_input(model, x):\n    return permutation_gap(model, x), x\n")
    got, after = student.gap_and_input(lambda t: t + place[:, None], draw.strided(x))
    close(got, reference.permutation_gap(lambda t: t + place[:, None], x))
    close(after, x, tolerance=0.0, what="x after the call")


sinusoidal = Exercise("sinusoidal")


def table(student: Student, length: int, width: int) -> Tensor:
    """The student's table, checked to be a floating-point matrix of the right shape."""
    got = student.sinusoidal(length, width)
    check(isinstance(got, Tensor) and got.is_floating_point(), "the table is no floating-point tensor")
    check(tuple(got.shape) == (length, width), f"the shape is {tuple(got.shape)}, not {(length, width)}")
    return got.to(torch.float32)


@sinusoidal.test(
    points=1.5,
    says="sines and cosines do not alternate: column 2i is the sine and column 2i + 1 the cosine of one angle, so neighbouring columns lie on a circle, and the first pair is sin p, cos p",
)
def sines_and_cosines_are_neighbours(student: Student, draw: Draw) -> None:
    length, pairs = draw.integer(9, 30), draw.integer(3, 9)
    got = table(student, length, 2 * pairs)
    place = torch.arange(length, dtype=torch.float32)
    close(got[:, :2], torch.stack([place.sin(), place.cos()], dim=1), what="the first two columns")
    close(
        got[:, 0::2].square() + got[:, 1::2].square(),
        torch.ones(length, pairs),
        what="sin² + cos² of each pair",
    )


@sinusoidal.test(
    points=1,
    says="the hands turn at the wrong speeds: pair i turns by 10000^(−2i/width) a step, with base 10000, the same exponent for the sine and the cosine of a pair, and the whole width below the line",
)
def frequencies_are_those_of_the_formula(student: Student, draw: Draw) -> None:
    length, width = draw.integer(9, 30), 2 * draw.integer(3, 9)
    close(table(student, length, width), reference.sinusoidal(length, width))


@sinusoidal.test(
    points=1,
    says="the counting of positions starts at the wrong number: the first row is position 0, where all sines are 0 and all cosines 1, and a table of one row is that row",
)
def positions_count_from_zero(student: Student, draw: Draw) -> None:
    width = 2 * draw.integer(2, 8)
    start = torch.tensor([0.0, 1.0]).repeat(width // 2)
    close(table(student, 1, width)[0], start, what="the row of a table of one")
    got = table(student, draw.integer(3, 9), width)
    close(got[0], start, what="row 0")
    close(got[:3, 0], torch.arange(3.0).sin(), what="the first sine of rows 0, 1, 2")


@sinusoidal.test(
    points=1.5,
    says="odd widths are wrong: the last column is a sine whose cosine does not fit, and all frequencies are those of the odd width itself, not of one more or one less",
)
def odd_widths_end_with_a_sine(student: Student, draw: Draw) -> None:
    length = draw.integer(9, 30)
    for width in (1, draw.choice([3, 5, 7, 9, 11])):
        close(table(student, length, width), reference.sinusoidal(length, width))


@sinusoidal.test(
    points=1,
    says="far positions run together, or the table is not float32: angles need a format that can hold the positions, and float16 loses whole numbers above 2048, bfloat16 above 256. Compute angles in float32 or better, and give the table in float32",
)
def far_positions_stay_apart(student: Student, draw: Draw) -> None:
    width = 2 * draw.integer(2, 6)
    length = draw.integer(4100, 5000)
    dtype = student.sinusoidal(3, width).dtype
    check(dtype == torch.float32, f"the table has dtype {dtype}")
    # float32 angles of up to 5000 are right to 5e-4, those of positions in float16 are off by 1
    close(table(student, length, width)[2000:], reference.sinusoidal(length, width)[2000:], tolerance=5e-3)


learned_positions = Exercise("LearnedPositions")


def with_table(student: Student, draw: Draw, max_length: int, width: int):
    """The student's module and the numbers that were put into its table."""
    module = student.LearnedPositions(max_length=max_length, width=width)
    values = float32(draw, max_length, width)
    module.load_state_dict({"table": values})
    return module, values


@learned_positions.test(
    points=1,
    says="the module has other parameters than asked: exactly one, named table, of shape (max_length, width), trainable (an nn.Parameter), whose rows are added to x; it starts with normal numbers of standard deviation 0.02",
)
def one_table_is_the_parameter(student: Student, draw: Draw) -> None:
    max_length, width = draw.choice([7, 11, 13]), draw.choice([2, 3, 5])
    module = student.LearnedPositions(max_length=max_length, width=width)
    parameters = module.parameters()
    shapes = {name: tuple(value.shape) for name, value in parameters.items()}
    check(shapes == {"table": (max_length, width)}, f"the parameters are {shapes}")
    x = float32(draw, 2, max_length, width)
    close(module(x, offset=0), x + parameters["table"])
    start = student.LearnedPositions(max_length=400, width=25).parameters()["table"]
    # of 10000 numbers the mean is right to 2e-4 and the standard deviation to 1.4e-4: six times that and more
    check(abs(float(start.mean())) < 2e-3, f"the mean at the start is {float(start.mean()):.3g}")
    check(
        0.018 < float(start.std()) < 0.022, f"the standard deviation at the start is {float(start.std()):.3g}"
    )


@learned_positions.test(
    points=1.5,
    says="the offset is not respected: the first position of x gets row `offset` of the table, the next one the row after it",
)
def offset_moves_the_window(student: Student, draw: Draw) -> None:
    batch, length, width = draw.primes(3)
    offset = draw.integer(1, 9)
    module, values = with_table(student, draw, offset + length + draw.integer(1, 3), width)
    x = float32(draw, batch, length, width)
    close(module(x, offset=offset), x + values[offset : offset + length])


@learned_positions.test(
    points=1,
    says="examples are treated differently: position l of every example gets the same row, whatever the size of the batch; the rows follow axis 1 and not axis 0",
)
def every_example_gets_the_same_rows(student: Student, draw: Draw) -> None:
    length, width = draw.primes(2)
    module, values = with_table(student, draw, 40, width)
    for batch in (1, length, length + 1):
        x = float32(draw, batch, length, width)
        close(module(x, offset=1), x + values[1 : 1 + length])


@learned_positions.test(
    points=1,
    says="positions outside the table are not refused with a ValueError, or some inside are: a slice that is cut short to one row is broadcast over all positions in silence, a negative offset counts from the end; the very last row may be used",
)
def positions_outside_are_refused(student: Student, draw: Draw) -> None:
    length, width = draw.integer(2, 5), draw.choice([2, 3, 5])
    max_length = length + draw.integer(2, 6)
    module, values = with_table(student, draw, max_length, width)
    x = float32(draw, 2, length, width)
    fits = max_length - length
    close(module(x, offset=fits), x + values[fits:])
    for offset in (fits + 1, max_length - 1, max_length, -1, -length):
        raises(ValueError, module, x, offset=offset)


@learned_positions.test(
    points=0.5,
    says="the gradients are wrong: a used row collects the gradients of all examples, an unused row gets none, and x gets its own unchanged; also for inputs that are not contiguous, and without changing x in place",
)
def used_rows_collect_gradients(student: Student, draw: Draw) -> None:
    batch, length, width = draw.primes(3)
    offset, max_length = draw.integer(1, 5), 25
    module, values = with_table(student, draw, max_length, width)
    x, upstream = float32(draw, batch, length, width), float32(draw, batch, length, width)
    value, grads, by_name = module.gradients(draw.strided(x), offset, upstream=upstream)
    close(value, x + values[offset : offset + length])
    close(grads[0], upstream, what="the gradient of x")
    expected = torch.zeros(max_length, width)
    expected[offset : offset + length] = upstream.sum(dim=0)
    close(by_name["table"], expected, what="the gradient of the table")


rope = Exercise("rope")


def places(draw: Draw, length: int, low: int = 0, high: int = 60) -> Tensor:
    """Positions in no order, some perhaps twice."""
    return torch.tensor([draw.integer(low, high) for _ in range(length)])


@rope.test(
    points=2,
    says="the wrong numbers form pairs: number 2i turns with its neighbour 2i + 1 and both stay in their places; pairing the first half with the second, or putting all first numbers in front, is another convention",
)
def neighbours_turn_together(student: Student, draw: Draw) -> None:
    pairs, length = draw.integer(2, 6), draw.integer(2, 6)
    which = draw.integer(0, pairs - 1)
    x = torch.zeros(length, 2 * pairs, dtype=torch.float64)
    x[:, 2 * which : 2 * which + 2] = draw.normal(length, 2)
    positions = places(draw, length, low=1)
    got = student.rope(x, positions)
    check(tuple(got.shape) == tuple(x.shape), f"the shape is {tuple(got.shape)}")
    alone = got.clone()
    alone[:, 2 * which : 2 * which + 2] = 0
    close(alone, torch.zeros_like(alone), what="what stands outside the only pair that was not zero")
    close(got.norm(dim=-1), x.norm(dim=-1), what="the length of the vectors")
    many = draw.normal(length, 2 * pairs)
    close(student.rope(many, positions), reference.rope(many, positions))


@rope.test(
    points=2,
    says="the pairs turn by the wrong angles or the wrong way round: pair i at position p turns counter-clockwise by p · 10000^(−2i/dim)",
)
def turns_by_position_times_frequency(student: Student, draw: Draw) -> None:
    length, pairs = draw.primes(2)
    x, positions = draw.normal(length, 2 * pairs), torch.arange(length)
    close(student.rope(x, positions), reference.rope(x, positions))
    ones = torch.ones(1, 4, dtype=torch.float64)
    angle = torch.tensor([1.0, 0.01], dtype=torch.float64) * 7  # written out, for width 4 and position 7
    expected = torch.stack([angle.cos() - angle.sin(), angle.sin() + angle.cos()], dim=-1).reshape(1, 4)
    close(student.rope(ones, torch.tensor([7])), expected, what="ones of width 4 at position 7")


@rope.test(
    points=1.5,
    says="the positions that were given are not used: they may start anywhere, come in any order and repeat, so do not count 0, 1, 2, … (or 1, 2, 3, …) yourself",
)
def positions_are_taken_as_given(student: Student, draw: Draw) -> None:
    length, pairs = draw.primes(2)
    x = draw.normal(2, length, 2 * pairs)
    offset = draw.integer(5, 500)
    close(student.rope(x, torch.arange(length) + offset), reference.rope(x, torch.arange(length) + offset))
    positions = places(draw, length)
    close(student.rope(x, positions), reference.rope(x, positions), what="with positions in no order")
    close(student.rope(x[:, :1], torch.tensor([0])), x[:, :1], what="a vector at position 0")


@rope.test(
    points=0.5,
    says="the axes in front are not independent: the positions follow the last axis but one, whether there are no axes in front, one, or two, and whatever their sizes",
)
def any_axes_in_front(student: Student, draw: Draw) -> None:
    batch, heads, length, pairs = draw.primes(4)
    x, positions = draw.normal(batch, heads, length, 2 * pairs), places(draw, length)
    got = student.rope(x, positions)
    close(got, reference.rope(x, positions))
    alone = x[-1, 0].clone()  # a slice would cross with an odd offset, which complex views of it do not bear
    close(student.rope(alone, positions), got[-1, 0], what="one head alone")
    square = draw.normal(length, length, length, 2)
    close(
        student.rope(square, positions), reference.rope(square, positions), what="with all axes of one size"
    )


@rope.test(
    points=1,
    says="half precision spoils the angles: compute position times frequency in float32 or better and cast only cosine and sine; float16 holds no odd number above 2048. The result has the dtype of x",
)
def half_precision_keeps_far_positions(student: Student, draw: Draw) -> None:
    length, pairs = draw.integer(3, 6), draw.integer(2, 5)
    positions = 2 * places(draw, length, low=1100, high=4000) + 1
    for dtype in (torch.float16, torch.bfloat16):
        x = draw.normal(2, length, 2 * pairs, dtype=dtype)
        expected = reference.rope(x.to(torch.float64), positions).to(dtype)
        # float32 angles of up to 8000 are right to 1e-3; cosine, sine and products round at the dtype's own step
        close(student.rope(x, positions), expected, tolerance=1e-2 if dtype == torch.float16 else 3e-2)


@rope.test(
    points=0.5,
    says="what cannot be right must be refused with a ValueError: an odd width, whose last number has no partner, and positions that are not one for each vector, since a single one would be broadcast over all. An even width and a single vector are fine",
)
def odd_widths_and_missing_positions_are_refused(student: Student, draw: Draw) -> None:
    length, pairs = draw.integer(2, 6), draw.integer(2, 5)
    x, positions = draw.normal(2, length, 2 * pairs), places(draw, length, low=1)
    close(student.rope(x[:, :1], positions[:1]), reference.rope(x[:, :1], positions[:1]))
    raises(ValueError, student.rope, x[..., :-1], positions)
    raises(ValueError, student.rope, x, positions[:1])
    raises(ValueError, student.rope, x[:, :1], positions)


@rope.test(
    points=0.5,
    says="the gradient of a rotation is the rotation back, for inputs of any layout in memory; x itself must not be changed, so write into a new tensor",
)
def gradients_turn_back(student: Student, draw: Draw) -> None:
    batch, length, pairs = draw.primes(3)
    x, positions = draw.normal(batch, length, 2 * pairs), places(draw, length)
    upstream = draw.normal(batch, length, 2 * pairs)
    value, grads = student.gradients("rope", draw.strided(x), positions, upstream=upstream)
    close(value, reference.rope(x, positions))
    close(grads[0], reference.rope(upstream, -positions), what="the gradient of x")
    probe = student.probe("rope", x, positions)
    close(probe.args[0], x, tolerance=0.0, what="x after the call")


rotary_attention = Exercise("rotary_attention", forbids=WHOLE_LAYERS)


def stretches(draw: Draw) -> tuple[Tensor, Tensor, Tensor, Tensor, Tensor]:
    """Queries, keys, values, and where they stand: lengths, widths and positions all differ."""
    batch, heads, queries, keys = draw.primes(4)
    dim = 2 * draw.integer(2, 4)
    return (
        draw.normal(batch, heads, queries, dim),
        draw.normal(batch, heads, keys, dim),
        draw.normal(batch, heads, keys, dim + 2),
        places(draw, queries, low=20),
        places(draw, keys),
    )


@rotary_attention.test(
    points=1.5,
    says="the values are turned too: only queries and keys are, because they meet in a dot product, in which the positions cancel. The mean of equal values must be that value, wherever the keys stand",
)
def values_are_left_alone(student: Student, draw: Draw) -> None:
    q, k, v, query_positions, key_positions = stretches(draw)
    same = v[:, :, :1].expand_as(v).contiguous()
    expected = v[:, :, :1].expand(*q.shape[:3], v.shape[-1])
    close(student.rotary_attention(q, k, same, query_positions, key_positions, None), expected)


@rotary_attention.test(
    points=1.5,
    says="queries and keys do not stand where they were said to: the queries have positions of their own, and so have the keys; both must be turned, before the dot product, which is then divided by the root of the width",
)
def queries_and_keys_have_their_own_positions(student: Student, draw: Draw) -> None:
    q, k, v, query_positions, key_positions = stretches(draw)
    expected = reference.rotary_attention(q, k, v, query_positions, key_positions, None)
    close(student.rotary_attention(q, k, v, query_positions, key_positions, None), expected)
    one = q[:, :, -1:].clone(), k, v, query_positions[-1:], key_positions, None
    close(student.rotary_attention(*one), expected[:, :, -1:], what="the last query alone")


@rotary_attention.test(
    points=0.5,
    says="the mask is lost: where it is False a query must not look, whatever the positions; it broadcasts over batch and heads",
)
def mask_is_passed_on(student: Student, draw: Draw) -> None:
    q, k, v, query_positions, key_positions = stretches(draw)
    mask = causal_mask(q.shape[2], k.shape[2], 0)  # hides at least one key: there are two or more
    expected = reference.rotary_attention(q, k, v, query_positions, key_positions, mask)
    close(student.rotary_attention(q, k, v, query_positions, key_positions, mask), expected)


@rotary_attention.test(
    points=0.5,
    says="no gradient reaches q, k or v, or a wrong one, or an input was changed: use tensor operations, without detach and without writing into an argument",
)
def gradients_reach_all_three(student: Student, draw: Draw) -> None:
    q, k, v, query_positions, key_positions = stretches(draw)
    upstream = draw.normal(*q.shape[:3], v.shape[-1])
    strided = [draw.strided(t) for t in (q, k, v)]
    value, grads = student.gradients(
        "rotary_attention", *strided, query_positions, key_positions, None, upstream=upstream
    )
    leaves = [t.clone().requires_grad_() for t in (q, k, v)]
    turned = reference.rope(leaves[0], query_positions), reference.rope(leaves[1], key_positions)
    expected = masked_attention(*turned, leaves[2], None)
    (expected * upstream).sum().backward()
    close(value, expected.detach())
    close(grads, [leaf.grad for leaf in leaves], what="the gradients of q, k, v")


alibi_bias = Exercise("alibi_bias")


def one_step_back(student: Student, heads: int) -> Tensor:
    """What each head adds for the key just before the query: minus its slope, whatever it does with other keys."""
    got = student.alibi_bias(heads, 2, 2)
    check(tuple(got.shape) == (heads, 2, 2), f"the shape is {tuple(got.shape)}, not {(heads, 2, 2)}")
    return got[:, 1, 0]


@alibi_bias.test(
    points=1.5,
    says="the bias is not minus slope times distance: it is 0 where query and key stand at the same place and falls by one slope with every step away, to the left and to the right alike",
)
def every_step_costs_one_slope(student: Student, draw: Draw) -> None:
    heads, length = draw.choice([1, 2, 4, 8]), draw.integer(4, 9)
    got = student.alibi_bias(heads, length, length)
    check(tuple(got.shape) == (heads, length, length), f"the shape is {tuple(got.shape)}")
    slope = got[:, 0, 1].neg()  # whatever the slopes are
    check(
        bool((slope > 0).all()), f"one step to the right adds {got[:, 0, 1].tolist()}, which must be negative"
    )
    away = torch.arange(length)[:, None] - torch.arange(length)
    close(got, slope[:, None, None] * -away.abs().float(), what="the bias, measured in steps of its own size")


@alibi_bias.test(
    points=1.5,
    says="the slopes for a power of two are wrong: head h, counted from 0, has 2^(−8(h+1)/heads), so the steepest comes first, and the last is 1/256 whatever the number of heads",
)
def slopes_of_a_power_of_two(student: Student, draw: Draw) -> None:
    for heads in (1, 2, 4, draw.choice([8, 16, 32])):
        expected = -(2.0 ** (-8 * (torch.arange(heads) + 1) / heads))
        # a slope of 1/256 must be right in its own size
        close(
            one_step_back(student, heads) / expected, torch.ones(heads), what=f"the slopes of {heads} heads"
        )


@alibi_bias.test(
    points=2,
    says="the slopes for a number of heads that is no power of two are wrong: first all slopes of the largest power of two below, then every second slope of twice that many heads, starting with the first, until there are enough",
)
def slopes_of_any_other_number(student: Student, draw: Draw) -> None:
    for heads in (3, 6, draw.choice([5, 7]), draw.choice([12, 11, 13])):
        expected = reference.alibi_bias(heads, 2, 2)[:, 1, 0]
        close(
            one_step_back(student, heads) / expected, torch.ones(heads), what=f"the slopes of {heads} heads"
        )


@alibi_bias.test(
    points=1,
    says="queries and keys are aligned at the wrong end: the last query stands at the last key, so query i stands at i + keys − queries; a single query is the last, and of more queries than keys the first stand before key 0",
)
def queries_are_the_last_positions(student: Student, draw: Draw) -> None:
    heads = draw.choice([2, 4])
    for queries in (1, draw.integer(2, 5)):
        keys = queries + draw.integer(1, 9)
        close(student.alibi_bias(heads, queries, keys), reference.alibi_bias(heads, queries, keys))
    keys = draw.integer(2, 5)
    queries = keys + draw.integer(2, 9)
    close(student.alibi_bias(heads, queries, keys), reference.alibi_bias(heads, queries, keys))


QUESTIONS = [
    Question(
        "longer_texts",
        points=3,
        answer=(
            "I would begin with ALiBi, because in our experiment it was the only scheme whose loss hardly changed when "
            "the text became eight times as long as in training; a learned table is out of the question, since rows "
            "above 500 are never trained. (Rotations with a window of 500 tokens are as good an answer: with the window "
            "they were back at their loss, because no distance is new then.) The experiment cannot tell me whether "
            "anything beyond the nearest few hundred tokens is used at all: the biases made far keys count for little, "
            "and the guesses needed only near characters. Before promising, I would train at 500, and measure on "
            "held-out texts of 4,000 tokens both the loss by position and the accuracy on questions whose answer "
            "stands more than 500 tokens back, over several seeds, against the same model that is given the last 500 "
            "tokens only. If that difference is zero, the model is not harmed by long texts, but it does not read them."
        ),
        rubric=(
            "1 point: chooses ALiBi, or rotations together with a limit or a stretching of distances, and gives a "
            "reason that fits the measurements (no untrained rows, no distances that are new). 1 point: names a real "
            "limit of the experiment: one layer, one text of characters, short training, a task that needs near "
            "context only, or that not getting worse is not the same as using the context. 1 point: names a "
            "measurement at the long length on held-out data that would decide, with what it is compared with."
        ),
    )
]
