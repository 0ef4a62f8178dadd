"""Hidden tests of chapter 15, `inference`."""

from __future__ import annotations

import itertools
import math
from typing import Any

import torch
from torch import Tensor, nn

from attention_from_scratch import inference as reference
from attention_from_scratch.decoder import Transformer
from attention_from_scratch.masks import causal_mask, masked_attention, padding_mask
from attention_from_scratch.positions import rotary_attention
from autograder.testing import Draw, Exercise, Question, Student, check, close, presupposes, raises


def cut(lengths: list[int]) -> list[slice]:
    """The places of pieces of these lengths."""
    ends = list(itertools.accumulate(lengths))
    return [slice(end - length, end) for end, length in zip(ends, lengths, strict=True)]


def float32(draw: Draw, *shape: int) -> Tensor:
    """Standard normal float32 values."""
    return draw.normal(*shape, dtype=torch.float32)


measure_latency = Exercise("measure_latency")


class Device:
    """A clock made of numbers, and a device that goes on working when a call has returned: nothing here is measured.

    `durations[i]` is what call i takes on the device; the call itself returns after one second. Only `synchronize`
    waits. Reading the clock takes no time.
    """

    def __init__(self, durations: list[float]) -> None:
        self.now, self.pending, self.calls, self.durations = 1000.0, 0.0, 0, durations

    def call(self) -> None:
        """Hand work to the device."""
        check(self.calls < len(self.durations), "the call was made too often")
        self.now += 1.0
        self.pending += self.durations[self.calls]
        self.calls += 1

    def synchronize(self) -> None:
        """Wait until the device has done everything."""
        self.now, self.pending = self.now + self.pending, 0.0

    def clock(self) -> float:
        """What time it is, in seconds."""
        return self.now


def percentile(times: list[float], percent: int) -> float:
    """The smallest of the times that at least `percent` % of them do not exceed."""
    return min(t for t in times if sum(s <= t for s in times) * 100 >= percent * len(times))


def measured(
    student: Student, warmup: list[float], timed: list[float]
) -> tuple[Any, Device, dict[str, float]]:
    """What the student measures on a device, the device, and what had to be found."""
    device = Device([*warmup, *timed])
    got = student.measure_latency(
        device.call, warmup=len(warmup), rounds=len(timed), clock=device.clock, synchronize=device.synchronize
    )
    times = [1.0 + t for t in timed]
    return got, device, {f"p{percent}": percentile(times, percent) for percent in (50, 95)}


def whole_numbers(draw: Draw, count: int, low: int, high: int) -> list[float]:
    """Different whole numbers as floats, so that no right sum or difference is rounded."""
    order = torch.randperm(high - low + 1, generator=draw.generator())[:count] + low
    return [float(number) for number in order]


ROUNDS = (20, 40, 60, 100)  # multiples of 20: 95 % of them is a whole number, however it is computed


@measure_latency.test(
    points=1.5,
    says="the two numbers are not the 50th and the 95th percentile of the timed rounds: sort the times; p50 is the smallest that at least half of them do not exceed, p95 the smallest that at least 95 % do not exceed. Not a mean, not the largest, nothing between two times",
)
def percentiles_of_the_single_times(student: Student, draw: Draw) -> None:
    for _ in range(2):
        timed = whole_numbers(draw, draw.choice(ROUNDS), 1, 1000)
        got, _, expected = measured(student, [], timed)
        close(got, expected)


@measure_latency.test(
    points=1.5,
    says="the warm-up calls are counted, or not made: exactly `warmup` calls come first and their times are thrown away, then come exactly `rounds` calls that are timed",
)
def warm_up_does_not_count(student: Student, draw: Draw) -> None:
    warmup = whole_numbers(draw, draw.integer(12, 16), 10**5, 10**6)
    got, device, expected = measured(student, warmup, whole_numbers(draw, 20, 1, 1000))
    check(device.calls == len(warmup) + 20, f"the call was made {device.calls} times")
    close(got, expected)


@measure_latency.test(
    points=1.5,
    says="the clock is read while the device is still at work: a call may return before its work is done, so synchronise after each call and before the clock is read, and once before the first round, or the warm-up is counted for it",
)
def the_device_has_finished_when_the_clock_is_read(student: Student, draw: Draw) -> None:
    timed = sorted(
        whole_numbers(draw, 20, 1, 1000), reverse=True
    )  # which round is in the middle is no accident
    got, _, expected = measured(student, [], timed)
    close(got, expected, what="without a warm-up")
    one = whole_numbers(
        draw, 1, 1, 1000
    )  # a single round: the work of the warm-up would stand in both numbers
    got, _, expected = measured(student, whole_numbers(draw, 2, 10**5, 10**6), one)
    close(got, expected, what="one round after a warm-up")


@measure_latency.test(
    points=1,
    says="few rounds or equal times go wrong: with one round both percentiles are its time, with any number of rounds the rank is rounded up, and times that occur twice count twice",
)
def any_number_of_rounds(student: Student, draw: Draw) -> None:
    for timed in (
        whole_numbers(draw, 1, 1, 50),
        whole_numbers(draw, 2, 1, 50),
        whole_numbers(draw, draw.choice([3, 7, 11, 13]), 1, 50),
        [float(draw.integer(1, 3)) for _ in range(draw.choice([9, 19, 21]))],
    ):
        got, _, expected = measured(student, [3.0], timed)
        close(got, expected, what=f"{len(timed)} rounds")


@measure_latency.test(
    points=0.5,
    says="with no round to time there is no answer: rounds below 1 and a negative warm-up are refused with a ValueError, before anything is called",
)
def nothing_to_measure_is_refused(student: Student, draw: Draw) -> None:
    for warmup, rounds in ((draw.integer(0, 3), 0), (2, -draw.integer(1, 5)), (-draw.integer(1, 3), 4)):
        device = Device([1.0] * 20)
        raises(
            ValueError, student.measure_latency, device.call, warmup, rounds, device.clock, device.synchronize
        )
        check(device.calls == 0, "the call was made all the same")
    got, _, expected = measured(student, whole_numbers(draw, 2, 10**5, 10**6), whole_numbers(draw, 1, 1, 90))
    presupposes(got, expected)


cache = Exercise("KVCache")


def keys_and_values(draw: Draw, *, batch: int, length: int) -> tuple[Tensor, Tensor]:
    """Keys and values for a cache; the two have different dims."""
    heads, dim, value_dim = draw.primes(3)
    return float32(draw, batch, heads, length, dim), float32(draw, batch, heads, length, value_dim)


def some_pieces(draw: Draw) -> list[int]:
    """Lengths of pieces: a single one and a longer one are among them."""
    pieces = [1, draw.integer(2, 4), draw.integer(1, 3), 1, draw.integer(2, 5)]
    order = torch.randperm(5, generator=draw.generator())
    return [pieces[i] for i in order]


@cache.test(
    points=2,
    says="the cache does not give back what was put in: append returns the keys and the values of all positions so far, those of this call at the end, in the order in which they came, and contents returns the same; keys and values may differ in their dims",
)
def everything_so_far_oldest_first(student: Student, draw: Draw) -> None:
    pieces = some_pieces(draw)
    k, v = keys_and_values(draw, batch=draw.choice([1, 2, 3]), length=sum(pieces))
    theirs = student.KVCache(sum(pieces))
    for piece in cut(pieces):
        expected = (k[:, :, : piece.stop], v[:, :, : piece.stop])
        got = theirs.append(draw.strided(k[:, :, piece]), draw.strided(v[:, :, piece]))
        close(got, expected, tolerance=0.0, what="what append returns")
        close(theirs.contents(), expected, tolerance=0.0, what="what contents returns")


@cache.test(
    points=1,
    says="length is wrong: it counts the positions in the cache, 0 at first and one more for every position that came, whatever the capacity is",
)
def length_counts_the_positions(student: Student, draw: Draw) -> None:
    pieces = some_pieces(draw)
    k, v = keys_and_values(draw, batch=2, length=sum(pieces))
    theirs = student.KVCache(sum(pieces) + draw.integer(1, 5))
    lengths = [theirs.read("length")]
    for piece in cut(pieces):
        theirs.append(k[:, :, piece], v[:, :, piece])
        lengths.append(theirs.read("length"))
    check(lengths == [0, *itertools.accumulate(pieces)], f"the lengths were {lengths} for pieces {pieces}")
    presupposes(theirs.contents(), (k, v))


@cache.test(
    points=1.5,
    says="too many positions are let in, or half of them are: what does not fit into the capacity is refused with a ValueError and the cache stays as it was, so that the next positions still fit; exactly full is not too full",
)
def a_full_cache_refuses_and_stays_as_it_was(student: Student, draw: Draw) -> None:
    room = draw.integer(3, 6)
    k, v = keys_and_values(draw, batch=2, length=room)
    theirs = student.KVCache(room)
    theirs.append(k[:, :, :2], v[:, :, :2])
    raises(ValueError, theirs.append, torch.cat([k, k], dim=2), torch.cat([v, v], dim=2))
    raises(ValueError, theirs.append, k[:, :, : room - 1] + 1, v[:, :, : room - 1] + 1)
    got = theirs.append(k[:, :, 2:], v[:, :, 2:])
    close(got, (k, v), tolerance=0.0, what="the full cache")
    raises(ValueError, theirs.append, k[:, :, :1], v[:, :, :1])


@cache.test(
    points=1.5,
    says="something was stretched to fit: keys and values that are not equally many, or whose batch, heads or dim are not those of the cache, are refused with a ValueError; one example would otherwise be copied to all without a word. An empty cache refuses what does not belong together too, and is still empty then",
)
def what_does_not_continue_is_refused(student: Student, draw: Draw) -> None:
    k, v = keys_and_values(draw, batch=3, length=9)
    theirs = student.KVCache(9)
    theirs.append(k[:, :, :2], v[:, :, :2])
    new_k, new_v = k[:, :, 2:4], v[:, :, 2:4]
    for bad_k, bad_v in (
        (new_k[:1], new_v[:1]),
        (new_k[:, :1], new_v[:, :1]),
        (new_k[..., :1], new_v),
        (new_k, new_v[..., :1]),
        (new_k, new_v[:, :, :1]),
        (new_k, new_v[:1]),
    ):
        raises(ValueError, theirs.append, bad_k, bad_v)
    presupposes(theirs.append(new_k, new_v), (k[:, :, :4], v[:, :, :4]))
    empty = student.KVCache(9)
    for bad_v in (new_v[:, :, :1], new_v[:1], new_v[:, :1]):
        raises(ValueError, empty.append, new_k, bad_v)
    presupposes(empty.append(k[1:], v[1:]), (k[1:], v[1:]))  # of another batch than what was refused


@cache.test(
    points=1,
    says="the cache holds the caller's tensors instead of copies: it must keep its numbers when the caller writes over his, and the caller's tensors must stay as they are",
)
def the_cache_keeps_copies(student: Student, draw: Draw) -> None:
    k, v = keys_and_values(draw, batch=2, length=5)
    student.define(
        "def afterwards(cache, k, v):\n"
        "    first = [t[:, :, :3].clone() for t in (k, v)]\n"
        "    second = [t[:, :, 3:].clone() for t in (k, v)]\n"
        "    cache.append(*first)\n"
        "    cache.append(*second)\n"
        "    for t in first + second:\n"
        "        t.fill_(7.0)\n"
        "    return [t.clone() for t in cache.contents()]\n"
        "def untouched(cache, k, v):\n"
        "    cache.append(k, v)\n"
        "    cache.append(k, v)\n"
        "    return [k, v]\n"
    )
    close(student.afterwards(student.KVCache(5), k, v), [k, v], tolerance=0.0, what="the cache")
    close(student.untouched(student.KVCache(10), k, v), [k, v], tolerance=0.0, what="the caller's tensors")


@cache.test(
    points=2,
    says="after reorder the rows are not the ones asked for: row i goes on as what was row rows[i], in keys and values alike; rows may repeat, be left out, or be more than before, and two rows that were one must part when other positions follow. An empty cache has no rows and stays as it is",
)
def rows_go_on_in_the_order_asked_for(student: Student, draw: Draw) -> None:
    for rows in ([2, 0, 1], [1, 1, 0, 2, 1], [draw.integer(0, 2)], [0, 0, 0]):
        k, v = keys_and_values(draw, batch=3, length=3)
        theirs = student.KVCache(6)
        theirs.append(k, v)
        theirs.reorder(torch.tensor(rows))
        expected = [k[rows], v[rows]]
        close(theirs.contents(), tuple(expected), tolerance=0.0, what="the rows")
        for _ in range(2):
            more = [float32(draw, len(rows), *t.shape[1:2], 1, t.shape[3]) for t in (k, v)]
            expected = [torch.cat([old, new], dim=2) for old, new in zip(expected, more, strict=True)]
            close(theirs.append(*more), tuple(expected), tolerance=0.0, what="what follows")
    empty = student.KVCache(3)
    empty.reorder(torch.tensor([1, 0]))
    close(empty.append(k, v), (k, v), tolerance=0.0, what="a cache that was empty when it was reordered")


attend = Exercise(
    "attend_with_cache",
    forbids=["torch.nn.functional.scaled_dot_product_attention", "torch.nn.MultiheadAttention"],
)


def heads_of(draw: Draw, length: int, *, dim: int | None = None) -> tuple[Tensor, Tensor, Tensor]:
    """Queries, keys and values of a sequence; the values have a dim of their own."""
    batch, heads, value_dim = draw.primes(3)
    dim = dim or 2 * draw.integer(1, 4)
    q, k = float32(draw, batch, heads, length, dim), float32(draw, batch, heads, length, dim)
    return q, k, float32(draw, batch, heads, length, value_dim)


def whole(q: Tensor, k: Tensor, v: Tensor, rotary: bool) -> Tensor:
    """All positions in one go, without a cache: chapters 04 and 05."""
    length = q.shape[2]
    causal, places = causal_mask(length, length, offset=0), torch.arange(length)
    return rotary_attention(q, k, v, places, places, causal) if rotary else masked_attention(q, k, v, causal)


def in_pieces(
    student: Student, q: Tensor, k: Tensor, v: Tensor, pieces: list[int], rotary: bool
) -> list[Any]:
    """What the student's function returns for each piece."""
    theirs = student.KVCache(sum(pieces))
    return [
        student.attend_with_cache(q[:, :, p], k[:, :, p], v[:, :, p], theirs, rotary) for p in cut(pieces)
    ]


@attend.test(
    points=2,
    says="one position at a time gives other numbers than the whole sequence: a new position sees itself and everything in the cache, and the scores are divided by √dim",
)
def single_positions_see_all_of_the_past(student: Student, draw: Draw) -> None:
    length = draw.integer(5, 8)
    q, k, v = heads_of(draw, length)
    expected = whole(q, k, v, rotary=False)
    for place, got in enumerate(in_pieces(student, q, k, v, [1] * length, rotary=False)):
        close(got, expected[:, :, place : place + 1], what=f"position {place}")


@attend.test(
    points=2.5,
    says="a piece of several positions is masked wrongly behind a filled cache: query i of the piece stands at position length + i, so it sees the whole cache and the piece up to itself. With offset 0 it sees too little; without a mask it sees the later positions of its own piece",
)
def pieces_behind_a_filled_cache(student: Student, draw: Draw) -> None:
    pieces = [draw.integer(2, 4), draw.integer(3, 5), draw.integer(2, 4)]
    q, k, v = heads_of(draw, sum(pieces))
    expected = whole(q, k, v, rotary=False)
    found = in_pieces(student, q, k, v, pieces, rotary=False)
    for place, got in zip(cut(pieces)[1:], found[1:], strict=True):
        close(got, expected[:, :, place], what=f"positions {place.start} to {place.stop - 1}")


@attend.test(
    points=1,
    says="the first piece is wrong: with an empty cache this is causal self-attention, and position 0 sees itself only",
)
def the_first_piece_is_causal(student: Student, draw: Draw) -> None:
    for length in (1, draw.integer(4, 7)):
        q, k, v = heads_of(draw, length)
        (got,) = in_pieces(student, q, k, v, [length], rotary=False)
        close(got, whole(q, k, v, rotary=False))


@attend.test(
    points=2.5,
    says="the rotation starts anew with each piece, or turns what was turned already: query and key of a new position are turned by where it stands in the whole sequence, cache.length and onwards, every key just once; values are never turned",
)
def rotary_positions_go_on_where_the_cache_ends(student: Student, draw: Draw) -> None:
    for pieces in ([1] * 5, [2, draw.integer(3, 5), 1, draw.integer(2, 3)]):
        q, k, v = heads_of(draw, sum(pieces))
        expected = whole(2 * q, 2 * k, v, rotary=True)
        found = in_pieces(student, 2 * q, 2 * k, v, pieces, rotary=True)
        for place, got in zip(cut(pieces), found, strict=True):
            close(got, expected[:, :, place], what=f"positions {place.start} to {place.stop - 1}")


@attend.test(
    points=1,
    says="without rotary something is turned all the same: then dim may be odd, and an odd dim cannot be turned",
)
def without_rotary_nothing_is_turned(student: Student, draw: Draw) -> None:
    pieces = [draw.integer(1, 3), draw.integer(2, 4)]
    q, k, v = heads_of(draw, sum(pieces), dim=draw.choice([1, 3, 5]))
    expected = whole(q, k, v, rotary=False)
    for place, got in zip(cut(pieces), in_pieces(student, q, k, v, pieces, rotary=False), strict=True):
        close(got, expected[:, :, place], what=f"positions {place.start} to {place.stop - 1}")


@attend.test(
    points=1,
    says="examples or layouts matter that must not: each example has its own cache, the inputs may lie in memory in any order and stay as they are, and float64 stays float64",
)
def examples_and_layouts_do_not_matter(student: Student, draw: Draw) -> None:
    student.define(
        "def attended(cache, rotary, *given):\n"
        "    return [attend_with_cache(*given, cache, rotary), *given]\n"
    )
    pieces = [draw.integer(2, 3), draw.integer(2, 3)]
    q, k, v = (t.double() for t in heads_of(draw, sum(pieces)))
    for rotary in (False, True):
        expected = whole(q, k, v, rotary)
        for row in (slice(None), slice(0, 1)):
            theirs = student.KVCache(sum(pieces))
            for p in cut(pieces):
                given = [draw.strided(t[row, :, p]) for t in (q, k, v)]
                got, *after = student.attended(theirs, rotary, *given)
                close(got, expected[row, :, p])
                close(after, given, tolerance=0.0, what="the inputs after the call")


decode = Exercise("decode_with_cache")

HELPERS = """
def a_transformer(sizes):
    from attention_from_scratch.decoder import Transformer
    return Transformer(*sizes).eval()

def decoded_in_pieces(model, pieces, memory, mask):
    with torch.no_grad():
        caches = start_caches(model, memory, sum(piece.shape[1] for piece in pieces) + 2)
        return [decode_with_cache(model, piece, caches, mask) for piece in pieces]
"""


def models(student: Student, draw: Draw, norm: str) -> tuple[Any, Transformer]:
    """The same drawn transformer twice: beside the student's code, and here."""
    heads, tokens = draw.choice([1, 2, 3]), draw.choice([11, 13, 17])
    # a layer norm of width 2 leaves only signs, in which a mistake may vanish: hence 6 at least
    sizes: list[Any] = [
        tokens,
        2,
        6 * draw.integer(1, 2),
        heads,
        draw.integer(5, 9),
        0.1,
        1e-5,
        "gelu",
        norm,
    ]
    ours = Transformer(*sizes).eval()
    state = {
        name: float32(draw, *p.shape) / p.shape[-1] ** 0.5
        if p.ndim == 2
        else float32(draw, *p.shape) / 2 + (1.0 if name.endswith("norm.weight") else 0.0)
        for name, p in ours.state_dict().items()
    }
    ours.load_state_dict(state)
    student.define(HELPERS)
    theirs = student.a_transformer(sizes)
    theirs.load_state_dict(state)
    return theirs, ours


def a_target(draw: Draw, model: Transformer, length: int, *, batch: int, padded: bool) -> tuple[Any, ...]:
    """Target ids, a memory and its mask: the last example has no padding, the others have some."""
    vocabulary, width = model.embedding.weight.shape
    tokens = torch.randint(vocabulary, (batch, length), generator=draw.generator())
    sources = draw.choice([3, 5, 7])
    lengths = torch.tensor([draw.integer(1, sources - 1) for _ in range(batch - 1)] + [sources])
    mask = padding_mask(lengths, sources) if padded else None
    return tokens, float32(draw, batch, sources, width), mask


def same_logits(
    student: Student, draw: Draw, norm: str, pieces: list[int], *, padded: bool, batch: int = 2
) -> None:
    """The student decodes in pieces what `Transformer.decode` decodes in one go."""
    theirs, ours = models(student, draw, norm)
    tokens, memory, mask = a_target(draw, ours, sum(pieces), batch=batch, padded=padded)
    with torch.no_grad():
        expected = ours.decode(tokens, memory, mask)
    found = student.decoded_in_pieces(theirs, [tokens[:, p] for p in cut(pieces)], memory, mask)
    check(isinstance(found, list) and len(found) == len(pieces), "a piece is missing")
    for place, got in zip(cut(pieces), found, strict=True):
        close(got, expected[:, place], what=f"the logits at {place.start} to {place.stop - 1}")


@decode.test(
    points=2,
    says='with norm="pre" the logits differ from those of the whole target: each part reads the normed x and is added to x itself, in the order own past, memory, feed-forward, and the final norm comes last',
)
def a_pre_norm_decoder_in_one_piece(student: Student, draw: Draw) -> None:
    same_logits(student, draw, "pre", [draw.integer(3, 6)], padded=False)


@decode.test(
    points=1.5,
    says='with norm="post" the logits differ from those of the whole target: x is the norm of x plus what a part returns, after each of the three parts',
)
def a_post_norm_decoder_in_one_piece(student: Student, draw: Draw) -> None:
    same_logits(student, draw, "post", [draw.integer(3, 6)], padded=False)


@decode.test(
    points=3,
    says="the pieces of a target give other logits than the whole: new targets stand behind those in the cache, so their position vectors start at cache.length and not at 0, and each layer goes on with its own cache",
)
def pieces_stand_behind_those_in_the_cache(student: Student, draw: Draw) -> None:
    for norm in ("pre", "post"):
        same_logits(student, draw, norm, [1, draw.integer(2, 4), 1, draw.integer(2, 3)], padded=False)
    same_logits(student, draw, "pre", [1] * draw.integer(4, 6), padded=False)


@decode.test(
    points=1.5,
    says="padding of the memory is read: memory_mask belongs to the cross-attention of every layer, in each call",
)
def padding_of_the_memory_is_not_read(student: Student, draw: Draw) -> None:
    for norm in ("pre", "post"):
        same_logits(student, draw, norm, [draw.integer(2, 3), 1, 2], padded=True, batch=3)


@decode.test(
    points=1,
    says="examples of a batch influence each other, or a batch of one is special: every example has its own past and its own memory, alone as in any batch, and the tokens stay as they are",
)
def examples_are_decoded_alone_as_together(student: Student, draw: Draw) -> None:
    theirs, ours = models(student, draw, draw.choice(["pre", "post"]))
    tokens, memory, mask = a_target(draw, ours, 5, batch=3, padded=True)
    with torch.no_grad():
        expected = ours.decode(tokens, memory, mask)
    for row in (slice(0, 3), slice(2, 3)):
        pieces = [tokens[row, :2], tokens[row, 2:]]
        found = student.decoded_in_pieces(theirs, pieces, memory[row], mask[row])
        close(torch.cat(list(found), dim=1), expected[row])


quantize_int8 = Exercise(
    "quantize_int8",
    forbids=[
        "torch.quantize_per_channel",
        "torch.quantize_per_tensor",
        "torch.fake_quantize_per_channel_affine",
    ],
)


def rows_of_many_sizes(draw: Draw, outputs: int, inputs: int) -> Tensor:
    """A float32 matrix whose rows differ by orders of magnitude."""
    sizes = 10.0 ** draw.uniform(outputs, low=-3.0, high=3.0).float()
    return float32(draw, outputs, inputs) * sizes[:, None]


def largest_is_positive(weight: Tensor) -> Tensor:
    """The matrix with the largest number of every row a positive one: here the sign shall decide nothing."""
    return torch.cat([1.5 * weight.abs().amax(dim=1, keepdim=True), weight[:, 1:]], dim=1)


def is_rounded_well(weight: Tensor, got: Any, what: str) -> None:
    """Levels and scales by their definition; a number halfway between two levels may go to either."""
    check(isinstance(got, list | tuple) and len(got) == 2, f"{what}: the result is not (levels, scale)")
    levels, scale = got
    check(isinstance(levels, Tensor) and isinstance(scale, Tensor), f"{what}: no tensors came back")
    check(levels.dtype == torch.int8, f"{what}: the levels have dtype {levels.dtype}")
    check(levels.shape == weight.shape, f"{what}: the levels have shape {tuple(levels.shape)}")
    expected = reference.quantize_int8(weight)[1]
    check(scale.shape == expected.shape, f"{what}: the scale has shape {tuple(scale.shape)}")
    close(scale / expected, torch.ones_like(expected), what=f"{what}: the scale, in units of the right one")
    error = (levels.to(weight) * expected[:, None] - weight).abs() / expected[:, None]
    check(
        bool((error <= 0.501).all()),
        f"{what}: a level is {float(error.max()):.3g} steps away from its weight",
    )


@quantize_int8.test(
    points=2,
    says="the rows do not have their own scales: the scale of a row is the largest size in it divided by 127. One scale for the whole matrix, or one for each input, leaves rows of small numbers with few levels or none",
)
def every_row_has_its_own_scale(student: Student, draw: Draw) -> None:
    outputs, inputs = draw.primes(2)
    for weight in (rows_of_many_sizes(draw, outputs, inputs), rows_of_many_sizes(draw, inputs, inputs)):
        is_rounded_well(weight, student.quantize_int8(weight), "a random matrix")


@quantize_int8.test(
    points=1.5,
    says="the levels are not the nearest whole numbers: round, do not cut off, and use −127 … 127 on both sides of zero, so that no level is more than half a step away from its weight",
)
def the_nearest_of_255_levels(student: Student, draw: Draw) -> None:
    inputs = draw.choice([7, 11, 13])
    signs = torch.tensor([[1.0], [-1.0], [1.0]])  # rows whose largest number is positive, and negative
    weight = signs * torch.cat([float32(draw, 3, inputs).clamp(-2, 2), torch.full((3, 1), 3.0)], dim=1)
    is_rounded_well(weight, student.quantize_int8(weight), "rows of both signs")
    ramp = (torch.arange(-127, 128) + draw.uniform(255, low=-0.4, high=0.4))[None].float() / 100
    ramp[0, 0], ramp[0, -1] = -1.27, 1.27
    is_rounded_well(ramp, student.quantize_int8(ramp), "a ramp over all levels")
    check(len(student.quantize_int8(ramp)[0].unique()) == 255, "not every level is in use")


@quantize_int8.test(
    points=1,
    says="a row of zeros divides by zero: it has levels 0 and the scale 1, and the other rows are as they would be without it",
)
def a_row_of_zeros_has_scale_one(student: Student, draw: Draw) -> None:
    weight = largest_is_positive(rows_of_many_sizes(draw, 5, draw.choice([3, 7])))
    weight[draw.integer(0, 4)] = 0.0
    is_rounded_well(weight, student.quantize_int8(weight), "one row of zeros among others")
    levels, scale = student.quantize_int8(torch.zeros(2, 3))
    close(levels, torch.zeros(2, 3, dtype=torch.int8), what="the levels of nothing but zeros")
    close(scale, torch.ones(2), what="the scale of nothing but zeros")


@quantize_int8.test(
    points=1,
    says="rows of very small numbers vanish: the largest number of every row becomes 127 or −127, however small it is. A floor under the scale, put there against the division by zero, rounds such a row to nothing",
)
def small_rows_keep_their_levels(student: Student, draw: Draw) -> None:
    tiny = largest_is_positive(float32(draw, 3, 7)) * torch.tensor([[1e-7], [1e-12], [1e-20]])
    is_rounded_well(tiny, student.quantize_int8(tiny), "rows of tiny numbers")
    large = largest_is_positive(float32(draw, 2, 5)) * 1e20
    is_rounded_well(large, student.quantize_int8(large), "rows of large numbers")


@quantize_int8.test(
    points=1,
    says="NaN or infinity is let through: one such number makes the scale of its row meaningless, so the matrix is refused with a ValueError",
)
def what_is_no_number_is_refused(student: Student, draw: Draw) -> None:
    weight = float32(draw, 4, 5)
    for bad in (math.nan, math.inf, -math.inf):
        spoilt = weight.clone()
        spoilt[draw.integer(0, 3), draw.integer(0, 4)] = bad
        raises(ValueError, student.quantize_int8, spoilt)
    is_rounded_well(weight, student.quantize_int8(weight), "a matrix of numbers")


@quantize_int8.test(
    points=0.5,
    says="the input was changed, its layout mattered, or the dtype of the scale is not that of the weight: the weight may lie in memory in any order, is needed afterwards as it was, and may be a parameter",
)
def any_layout_and_the_weight_stays(student: Student, draw: Draw) -> None:
    for dtype in (torch.float32, torch.float64):
        weight = draw.normal(5, 7, dtype=dtype)
        for same in (
            weight,
            draw.strided(weight),
            weight.t().contiguous().t(),
            weight.clone().requires_grad_(),
        ):
            probe = student.probe("quantize_int8", same)
            is_rounded_well(weight, probe.value, f"{dtype}")
            check(probe.value[1].dtype == dtype, f"the scale has dtype {probe.value[1].dtype}")
            close(probe.args[0].detach(), weight, tolerance=0.0, what="the weight after the call")


quantized = Exercise(
    "QuantizedLinear",
    forbids=["torch.ao.quantization.quantize_dynamic", "torch.ops.quantized.linear_dynamic"],
)
LINEAR = "def a_linear(inputs, outputs, bias):\n    return nn.Linear(inputs, outputs, bias=bias)\n"


def a_pair(
    student: Student, draw: Draw, inputs: int, outputs: int, bias: bool = True
) -> tuple[Any, nn.Linear, Any]:
    """The student's layer made from a linear layer, the layer of the rounded weight, and the linear layer they had."""
    state = {"weight": rows_of_many_sizes(draw, outputs, inputs).clamp(-50, 50)}
    if bias:
        state["bias"] = 3 * float32(draw, outputs)
    student.define(LINEAR)
    given = student.a_linear(inputs, outputs, bias)
    given.load_state_dict(state)
    levels, scale = reference.quantize_int8(state["weight"])
    ours = nn.Linear(inputs, outputs, bias=bias)
    ours.load_state_dict(state | {"weight": levels * scale[:, None]})
    return student.QuantizedLinear(given), ours.requires_grad_(False), given


@quantized.test(
    points=2.5,
    says="the output is not that of the rounded weight: x times (levels · scale), transposed as in a linear layer, each output with its own scale, for x with any number of leading axes",
)
def computes_with_the_rounded_weight(student: Student, draw: Draw) -> None:
    inputs, outputs, batch = draw.primes(3)
    for leading in ((batch,), (2, batch), (), (2, 1, 3)):
        theirs, ours, _ = a_pair(student, draw, inputs, outputs, bias=False)
        x = float32(draw, *leading, inputs)
        close(theirs(draw.strided(x)), ours(x), what=f"the output for {len(leading)} leading axes")
    theirs, ours, _ = a_pair(student, draw, inputs, inputs, bias=False)
    x = float32(draw, inputs, inputs)
    close(theirs(x), ours(x), what="the output of a square layer")


@quantized.test(
    points=1,
    says="the bias is lost, rounded or scaled: it is added in full after the product, and a layer without one has none",
)
def the_bias_is_added_in_full(student: Student, draw: Draw) -> None:
    inputs, outputs = draw.primes(2)
    for bias in (True, False):
        theirs, ours, _ = a_pair(student, draw, inputs, outputs, bias)
        x = float32(draw, 4, inputs)
        close(theirs(x), ours(x), what="the output")
        close(theirs(0 * x), ours(0 * x), what="the output for zeros")


@quantized.test(
    points=1.5,
    says="the weight is not kept in 8 bits: the state holds levels (int8) and scale, and bias if there is one, and nothing else. A copy in floating point beside them makes the layer larger than it was",
)
def the_state_is_small(student: Student, draw: Draw) -> None:
    for bias in (True, False):
        theirs, ours, _ = a_pair(student, draw, 7, 5, bias)
        state = theirs.state_dict()
        names = {"levels", "scale", "bias"} if bias else {"levels", "scale"}
        check(set(state) == names, f"the state holds {sorted(state)}")
        check(state["levels"].dtype == torch.int8, f"the levels have dtype {state['levels'].dtype}")
        student.define(COUNT)
        kept = student.bytes_kept(theirs)
        most = 7 * 5 + 2 * 5 * 4
        check(kept <= most, f"the layer keeps {kept} bytes, expected at most {most}")
        x = float32(draw, 3, 7)
        presupposes(theirs(x), ours(x))


COUNT = """
def bytes_kept(layer):
    found = {}
    def look(value, depth):
        if isinstance(value, torch.Tensor):
            found[value.untyped_storage().data_ptr()] = value.untyped_storage().nbytes()
        elif isinstance(value, dict) and depth:
            for item in value.values():
                look(item, depth - 1)
        elif isinstance(value, (list, tuple)) and depth:
            for item in value:
                look(item, depth - 1)
        elif isinstance(value, nn.Module) and depth:
            look(vars(value), depth)
    look(layer, 6)
    return sum(found.values())
"""


@quantized.test(
    points=1,
    says="a state does not travel: after load_state_dict of another layer's state the layer must compute what that one does, so levels, scale and bias belong to the state and are all that is used",
)
def a_loaded_state_is_used(student: Student, draw: Draw) -> None:
    inputs, outputs = draw.primes(2)
    first, _, _ = a_pair(student, draw, inputs, outputs)
    second, ours, _ = a_pair(student, draw, inputs, outputs)
    x = float32(draw, 3, inputs)
    first(x)  # whatever is remembered from a first call is old now
    first.load_state_dict(second.state_dict())
    close(first(x), ours(x))


@quantized.test(
    points=1,
    says="gradients do not pass through the layer, or reach its weight: what lies before it may be trained, so the gradient of x is that of the rounded linear layer, and the layer itself has no parameters",
)
def gradients_reach_the_input_only(student: Student, draw: Draw) -> None:
    inputs, outputs = draw.primes(2)
    theirs, ours, _ = a_pair(student, draw, inputs, outputs)
    x, upstream = float32(draw, 3, inputs), float32(draw, 3, outputs)
    value, grads, _ = theirs.gradients(draw.strided(x), upstream=upstream)
    leaf = x.clone().requires_grad_()
    out = ours(leaf)
    (out * upstream).sum().backward()
    close(value, out.detach())
    close(grads[0], leaf.grad, what="the gradient of x")
    check(not theirs.parameters(), f"the layer has parameters: {sorted(theirs.parameters())}")


@quantized.test(
    points=1,
    says="the linear layer and the quantised one are not separate: the layer that was given must stay as it was, and training it further must not change the quantised one",
)
def the_given_layer_stays_apart(student: Student, draw: Draw) -> None:
    inputs, outputs = draw.primes(2)
    theirs, ours, given = a_pair(student, draw, inputs, outputs)
    x = float32(draw, 3, inputs)
    student.define(
        "def spoil(layer):\n    for p in layer.parameters():\n        p.data.mul_(3.0).add_(1.0)\n"
    )
    before = {name: value.clone() for name, value in given.state_dict().items()}
    state = reference.quantize_int8(before["weight"])
    close(theirs(x), ours(x))
    close(state[0] * state[1][:, None], ours.weight.detach(), what="the weight of the given layer")
    student.spoil(given)
    close(theirs(x), ours(x), what="the output after the given layer was trained")
    student.QuantizedLinear(given)
    kept = {name: 3.0 * value + 1.0 for name, value in before.items()}
    close(given.state_dict(), kept, what="the given layer")


QUESTIONS = [
    Question(
        "which_number_to_trust",
        points=4,
        answer=(
            'The sentence "int8 makes the model four times smaller and twice as fast" mixes two claims of different '
            "kinds. The size follows from the format: a weight takes one byte instead of four, so wherever nearly all "
            "numbers are quantised the file is close to a quarter on every machine. In our table it is a quarter only "
            "when the embedding is quantised too. The speed is a property of a kernel on a machine: our own layer turns "
            "the levels back into floats at each call and gains nothing to count on, while PyTorch's int8 kernel, fed "
            "with the same levels, is, on this CPU. To believe a speed I want to know the machine, the number of "
            "threads, batch size and lengths, how many warm-up calls and rounds there were, the p50 and the p95, what "
            "it was compared with, and that both were measured in turns on the same machine. And size and speed say "
            "nothing of quality: F1 before and after on the same test set, with its interval, since a difference of "
            "half a point on 500 reviews is noise."
        ),
        rubric=(
            "1 point: says that the size follows from the format and holds everywhere, with what limits it (parts "
            "that are not quantised, the embedding). 1 point: says that the speed depends on kernel, machine and "
            "batch, and uses a measurement of the chapter (dequantising on the fly against an int8 kernel). 1 point: "
            "names at least three things that a latency needs beside it to be believed (machine, threads, batch and "
            "length, warm-up, percentiles, peer measured in the same run). 1 point: asks for quality before and after "
            "on the same data, with its uncertainty."
        ),
    )
]
