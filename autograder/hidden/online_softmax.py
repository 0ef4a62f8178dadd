"""Hidden tests of chapter 08, `online_softmax`."""

from __future__ import annotations

import math

import torch
from torch import Tensor

from autograder.testing import Draw, Exercise, Question, Student, check, close

WHOLE_LAYERS = [
    "torch.nn.MultiheadAttention",
    "torch.nn.functional.multi_head_attention_forward",
    "torch.nn.functional.scaled_dot_product_attention",
]

# Beside the student's code: runs a call and records how many numbers the largest tensor it makes has, how many are
# alive at the worst moment, and how many operations its matrix products take. It reports; the tests decide.
METER = """
import weakref
import torch
from torch.utils._python_dispatch import TorchDispatchMode

FIRST_FACTOR = {"mm": 0, "bmm": 0, "mv": 0, "dot": 0, "addmm": 1, "baddbmm": 1, "addmv": 1, "addbmm": 1}

def tensors(values):
    for value in values:
        if isinstance(value, torch.Tensor):
            yield value
        elif isinstance(value, (list, tuple)):
            yield from tensors(value)

class NumbersMade(TorchDispatchMode):
    @classmethod
    def _should_skip_dynamo(cls):  # nothing is compiled here, and asking for it would import the whole compiler
        return False

    def __init__(self):
        super().__init__()
        self.alive, self.largest, self.peak, self.operations = {}, 0, 0, 0

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        before = {t.untyped_storage()._cdata for t in tensors([*args, *(kwargs or {}).values()])}
        result = func(*args, **(kwargs or {}))
        left = FIRST_FACTOR.get(func.__name__.split(".")[0])
        if left is not None:
            self.operations += 2 * result.numel() * args[left].shape[-1]
        for t in tensors([result]):
            if t.untyped_storage()._cdata not in before:
                self.count(t.untyped_storage(), t.element_size())
        return result

    def count(self, storage, size):
        key = storage._cdata
        if key not in self.alive:
            self.alive[key] = storage.nbytes() // size
            weakref.finalize(storage, self.alive.pop, key, None)
            self.largest = max(self.largest, self.alive[key])
            self.peak = max(self.peak, sum(self.alive.values()))

def metered(function, *args):
    with NumbersMade() as meter:
        result = function(*args)
    return result, meter.largest, meter.peak

def metered_chunks(chunks):
    return metered(online_softmax, iter(chunks))

def metered_tile(*args):
    return metered(score_tile, *args)

def metered_forward(*args):
    return metered(flash_forward, *args)

def metered_backward(*args):
    return metered(flash_backward, *args)

def operations_of_forward(*args):
    with NumbersMade() as meter:
        result = flash_forward(*args)
    return result, meter.operations
"""


Tensors = tuple[Tensor, Tensor, Tensor, Tensor]
"""Q, K, V and dO."""


def visible(queries: int, keys: int) -> Tensor:
    """The bottom-right aligned causal mask, True where query i may see key j."""
    i, j = torch.arange(queries)[:, None], torch.arange(keys)
    return j <= i + keys - queries


def naive(Q: Tensor, K: Tensor, V: Tensor, causal: bool) -> tuple[Tensor, Tensor]:
    """Output and log-sum-exp from the whole matrix; a query that sees nothing gets zeros and −∞."""
    S = Q @ K.mT / math.sqrt(Q.shape[-1])  # (batch, heads, queries, keys)
    if causal:
        S = S.masked_fill(~visible(*S.shape[-2:]), -math.inf)
    m = S.detach().amax(dim=-1, keepdim=True)
    powers = torch.exp(S - torch.where(torch.isneginf(m), 0.0, m))
    l = powers.sum(dim=-1, keepdim=True)
    LSE = (m + torch.log(l)).squeeze(-1)
    return powers / torch.where(l == 0, 1.0, l) @ V, LSE


def naive_gradients(inputs: Tensors, causal: bool) -> tuple[Tensor, ...]:
    """The gradients of Q, K and V, by autograd through the whole matrix."""
    Q, K, V, dO = inputs
    leaves = [x.clone().requires_grad_() for x in (Q, K, V)]
    O, _ = naive(leaves[0], leaves[1], leaves[2], causal)
    return torch.autograd.grad(O, leaves, dO)


def problem(
    draw: Draw, queries: int, keys: int, dim: int = 0, size: float = 1.0, examples: int = 0
) -> Tensors:
    """Q, K, V and dO; values wider than keys; what is 0 is drawn."""
    batch, heads = draw.choice([(2, 3), (3, 2), (1, 2), (2, 1)])
    batch = examples or batch
    dim = dim or draw.integer(2, 7)
    value_dim = dim + draw.integer(1, 3)
    return (
        size * draw.normal(batch, heads, queries, dim),
        size * draw.normal(batch, heads, keys, dim),
        draw.normal(batch, heads, keys, value_dim),
        draw.normal(batch, heads, queries, value_dim),
    )


attention_cost = Exercise("attention_cost")


def drawn_sizes(draw: Draw) -> dict[str, int]:
    """Five sizes, all different."""
    B, H, Lq, Lk, d = draw.primes(5)
    return {"B": B, "H": H, "Lq": 7 * Lq, "Lk": 11 * Lk, "d": 3 * d}


def cost(student: Student, sizes: dict[str, int], dtype: torch.dtype, name: str) -> int:
    """One entry of what the student's function returns."""
    got = student.attention_cost(**sizes, dtype=dtype)
    check(isinstance(got, dict) and name in got, f"the result {got!r} has no entry {name}")
    check(float(got[name]) == int(got[name]), f"{name} is {got[name]}, not a whole number")
    return int(got[name])


@attention_cost.test(
    points=1,
    says="flops is wrong: there are two matrix products, QKᵀ and AV, each of B·H·Lq·Lk·d multiplications and as many additions, and a multiplication and an addition are two operations",
)
def both_products_count(student: Student, draw: Draw) -> None:
    sizes = drawn_sizes(draw)
    expected = 4 * math.prod(sizes.values())
    for dtype in (torch.float32, torch.float16):
        check(cost(student, sizes, dtype, "flops") == expected, "flops is wrong")


@attention_cost.test(
    points=1,
    says="naive_bytes is wrong: count what every step reads and writes. The scores are written by the first step and read by the second, the weights are written by the second and read by the third; Q, K, V are read once and O is written once; queries and keys may differ in number",
)
def three_steps_move_the_scores_four_times(student: Student, draw: Draw) -> None:
    sizes = drawn_sizes(draw)
    B, H, Lq, Lk, d = sizes.values()
    expected = 4 * B * H * (2 * Lq * d + 2 * Lk * d + 4 * Lq * Lk)
    got = cost(student, sizes, torch.float32, "naive_bytes")
    check(got == expected, f"naive_bytes is {got}, expected {expected}")


@attention_cost.test(
    points=1,
    says="fused_bytes is wrong: one step reads Q, K and V and writes O and one number a query and head; no term may grow with the product of the two lengths",
)
def one_step_moves_no_scores(student: Student, draw: Draw) -> None:
    sizes = drawn_sizes(draw)
    B, H, Lq, Lk, d = sizes.values()
    expected = 4 * B * H * (2 * Lq * d + 2 * Lk * d + Lq)
    got = cost(student, sizes, torch.float32, "fused_bytes")
    check(got == expected, f"fused_bytes is {got}, expected {expected}")


@attention_cost.test(
    points=1,
    says="the bytes do not follow the dtype: a number takes 2 bytes in float16 and bfloat16, 4 in float32 and 8 in float64",
)
def bytes_follow_the_dtype(student: Student, draw: Draw) -> None:
    sizes = drawn_sizes(draw)
    B, H, Lq, Lk, d = sizes.values()
    for dtype, size in ((torch.float16, 2), (torch.bfloat16, 2), (torch.float32, 4), (torch.float64, 8)):
        fused = size * B * H * (2 * Lq * d + 2 * Lk * d + Lq)
        check(cost(student, sizes, dtype, "fused_bytes") == fused, f"fused_bytes in {dtype}")
        got = cost(student, sizes, dtype, "naive_bytes")
        check(got == fused + size * B * H * (4 * Lq * Lk - Lq), f"naive_bytes in {dtype}")


online_softmax = Exercise("online_softmax", forbids=WHOLE_LAYERS)


def statistics(scores: Tensor) -> tuple[Tensor, Tensor]:
    """(m, l) of whole rows."""
    m = scores.amax(dim=-1)
    base = torch.where(torch.isneginf(m), 0.0, m)
    return m, torch.exp(scores - base[..., None]).sum(dim=-1)


def cut(scores: Tensor, draw: Draw) -> list[Tensor]:
    """The columns in chunks of random widths, one of them a single column."""
    widths = [1, draw.integer(2, 4), draw.integer(1, 3)]
    rest = scores.shape[-1] - sum(widths)
    check(rest > 0, "the test draws too few columns")
    return list(scores.split([*widths, rest], dim=-1))


@online_softmax.test(
    points=1.5,
    says="m or l is not that of the whole row: m is the largest score of all chunks and l the sum of exp(score - m) over all of them, for every row on its own and for chunks of any width",
)
def statistics_of_the_whole_row(student: Student, draw: Draw) -> None:
    shape = draw.choice([(3, 5), (2, 3, 2), (7,), (1, 1)])
    scores = 2 * draw.normal(*shape, draw.integer(11, 17))
    chunks = cut(scores, draw)
    probe = student.probe("online_softmax", chunks)
    close(probe.value, statistics(scores), what="(m, l)")
    close(probe.args[0], chunks, tolerance=0.0, what="the chunks after the call")
    single = scores.to(torch.float32)
    close(student.online_softmax(cut(single, draw)), statistics(single), what="(m, l) in float32")
    close(student.online_softmax([scores]), statistics(scores), what="(m, l) of a single chunk")


@online_softmax.test(
    points=1,
    says="the sum is not brought to the new base: when a chunk holds a larger score, what was summed before was measured from the old largest and must be multiplied by exp(old m - new m)",
)
def old_sum_shrinks_when_the_maximum_rises(student: Student, draw: Draw) -> None:
    rows, columns = draw.integer(2, 5), draw.integer(12, 17)
    scores = (
        draw.normal(rows, columns).sort(dim=-1).values
    )  # every chunk holds a larger score than the one before
    close(
        student.online_softmax(cut(draw.strided(scores), draw)),
        statistics(scores),
        what="(m, l), rising scores",
    )
    falling = scores.flip(-1)
    close(student.online_softmax(cut(falling, draw)), statistics(falling), what="(m, l), falling scores")


@online_softmax.test(
    points=1,
    says="scores of 1000 or -1000 overflow or vanish: only differences from the running maximum may go through exp, never the scores themselves",
)
def scores_of_a_thousand_are_fine(student: Student, draw: Draw) -> None:
    scores = draw.normal(4, 13)
    far = scores + torch.tensor([1000.0, -1000.0, 300.0, 0.0], dtype=torch.float64)[:, None]
    far[3] += torch.linspace(
        -9000.0, 9000.0, 13
    )  # wherever the first chunk ends, the next one is far above it
    close(student.online_softmax(cut(far, draw)), statistics(far), what="(m, l)")


@online_softmax.test(
    points=1,
    says="a score of −∞ spoils the row: it counts nothing wherever it stands, also when a whole first chunk is −∞, where (−∞) − (−∞) would be NaN",
)
def minus_infinity_counts_nothing(student: Student, draw: Draw) -> None:
    scores = draw.normal(5, 14)
    scores[0, :1] = -math.inf
    scores[1, :6] = -math.inf
    scores[2, 3:9] = -math.inf
    scores[3, -1] = -math.inf
    got = student.online_softmax([scores[:, :1], scores[:, 1:3], scores[:, 3:9], scores[:, 9:]])
    close(got, statistics(scores), what="(m, l)")


@online_softmax.test(
    points=0.5,
    says="a row in which every score is −∞ has no largest score and no sum: m = −∞ and l = 0, not NaN and not a count of the keys; other rows are not touched by it",
)
def a_row_of_nothing_is_empty(student: Student, draw: Draw) -> None:
    scores = draw.normal(3, 12)
    scores[draw.integer(0, 2)] = -math.inf
    close(student.online_softmax(cut(scores, draw)), statistics(scores), what="(m, l)")


@online_softmax.test(
    points=1,
    says="the chunks are read more than once, or put together again: they may come from a generator, and whatever the function keeps must not grow with the number of chunks",
)
def keeps_two_numbers_a_row(student: Student, draw: Draw) -> None:
    student.define(METER)
    rows, width, count = draw.integer(2, 3), draw.integer(3, 5), draw.integer(40, 50)
    scores = draw.normal(rows, width * count)
    got, _, peak = student.metered_chunks(list(scores.split(width, dim=-1)))
    close(got, statistics(scores), what="(m, l)")
    allowed = 8 * rows * width + 12 * rows  # a few tensors of a chunk's size, some of a row's
    check(
        peak <= allowed, f"{peak} numbers alive at once, allowed {allowed}; all scores are {scores.numel()}"
    )


merge_states = Exercise("merge_states", forbids=WHOLE_LAYERS)

State = tuple[Tensor, Tensor, Tensor]


def state_of(scores: Tensor, values: Tensor) -> State:
    """(m, l, acc) of some keys."""
    m, l = statistics(scores)
    powers = torch.exp(scores - torch.where(torch.isneginf(m), 0.0, m)[..., None])
    return m, l, powers @ values


def two_sets(draw: Draw, size: float = 2.0) -> tuple[Tensor, Tensor, int]:
    """Scores of all keys, their values, and where to cut them in two."""
    batch, rows, first, second = draw.primes(4)
    value_dim = draw.integer(1, 4)
    scores = size * draw.normal(batch, rows, first + second)
    return scores, draw.normal(batch, first + second, value_dim), first


def halves(scores: Tensor, values: Tensor, at: int) -> tuple[State, State, State]:
    """The states of the keys before and from `at`, and of all."""
    before = state_of(scores[..., :at], values[..., :at, :])
    return before, state_of(scores[..., at:], values[..., at:, :]), state_of(scores, values)


@merge_states.test(
    points=1,
    says="m or l of the merged state is wrong: m is the larger of the two, and both sums are brought to it, by exp(m_a - m) and exp(m_b - m), before they are added",
)
def sums_are_brought_to_one_base(student: Student, draw: Draw) -> None:
    a, b, expected = halves(*two_sets(draw))
    got = student.merge_states(a, b)
    close(got[0], expected[0], what="m")
    close(got[1], expected[1], what="l")


@merge_states.test(
    points=1.5,
    says="acc of the merged state is wrong: the blends of values were measured from two different largest scores and must be multiplied by the same factors as the sums before they are added",
)
def blends_are_brought_to_the_same_base(student: Student, draw: Draw) -> None:
    a, b, expected = halves(*two_sets(draw))
    close(student.merge_states(a, b)[2], expected[2], what="acc")


@merge_states.test(
    points=1,
    says="the merged state depends on the order: merge(a, b) and merge(b, a) are the same, and so are merge(merge(a, b), c) and merge(a, merge(b, c)); the second state need not hold the larger score",
)
def any_order_will_do(student: Student, draw: Draw) -> None:
    scores, values, at = two_sets(draw)
    scores = scores.sort(dim=-1, descending=bool(draw.integer(0, 1))).values
    a, b, expected = halves(scores, values, at)
    close(student.merge_states(a, b), expected, what="merge(a, b)")
    close(student.merge_states(b, a), expected, what="merge(b, a)")
    parts = [state_of(scores[..., [j]], values[..., [j], :]) for j in range(scores.shape[-1])]
    merged = parts[-1]
    for part in reversed(parts[:-1]):
        merged = student.merge_states(part, merged)
    close(merged, expected, what="keys merged one by one from the end")


@merge_states.test(
    points=1,
    says="the state of nothing, (−∞, 0, 0), must change nothing on either side, and two of them make one: (−∞) − (−∞) is NaN, so the base of an empty row has to be something finite",
)
def nothing_changes_nothing(student: Student, draw: Draw) -> None:
    scores, values, at = two_sets(draw)
    scores[:, 0, :at] = -math.inf
    scores[:, 1, at:] = -math.inf
    scores[:, -1] = -math.inf
    a, b, expected = halves(scores, values, at)
    close(student.merge_states(a, b), expected, what="the merged state")
    close(student.merge_states(b, a), expected, what="the merged state, in the other order")


@merge_states.test(
    points=1,
    says="largest scores of ±1000 overflow or vanish: only the differences m_a - m and m_b - m, which are never positive, may go through exp",
)
def thousands_are_fine(student: Student, draw: Draw) -> None:
    scores, values, at = two_sets(draw)
    shift = torch.tensor([1000.0, -1000.0], dtype=torch.float64)[draw.integer(0, 1)]
    a, b, expected = halves(scores + shift, values, at)
    close(student.merge_states(a, b), expected, what="both far away")
    scores[..., :at] += 2 * shift
    a, b, expected = halves(scores, values, at)
    close(student.merge_states(a, b), expected, what="one far above the other")


@merge_states.test(
    points=0.5,
    says="the states that came in were changed: build new tensors, the old state may still be needed",
)
def states_are_left_alone(student: Student, draw: Draw) -> None:
    a, b, expected = halves(*two_sets(draw))
    probe = student.probe("merge_states", a, b)
    close(probe.value, expected, what="the merged state")
    close(probe.args, (a, b), tolerance=0.0, what="the two states after the call")


score_tile = Exercise("score_tile", forbids=WHOLE_LAYERS)


def tile_of(Q: Tensor, K: Tensor, rows: slice, columns: slice, causal: bool) -> Tensor:
    """A tile cut out of the whole matrix."""
    S = Q @ K.mT / math.sqrt(Q.shape[-1])  # (batch, heads, queries, keys)
    if causal:
        S = S.masked_fill(~visible(*S.shape[-2:]), -math.inf)
    return S[..., rows, columns]


TILE = """
def tile_at(Q, K, row, row_stop, column, column_stop, causal):
    return score_tile(Q, K, slice(row, row_stop), slice(column, column_stop), causal)

def metered_tile_at(Q, K, row, row_stop, column, column_stop, causal):
    return metered(score_tile, Q, K, slice(row, row_stop), slice(column, column_stop), causal)
"""


def every_tile(
    student: Student,
    Q: Tensor,
    K: Tensor,
    block_q: int,
    block_k: int,
    causal: bool,
    strided: Draw | None = None,
) -> None:
    """Compare all tiles, those at the rims included."""
    student.define(TILE)
    Q_in, K_in = (strided.strided(Q), strided.strided(K)) if strided else (Q, K)
    queries, keys = Q.shape[-2], K.shape[-2]
    for i in range(0, queries, block_q):
        for j in range(0, keys, block_k):
            rows, columns = slice(i, min(i + block_q, queries)), slice(j, min(j + block_k, keys))
            got = student.tile_at(Q_in, K_in, rows.start, rows.stop, columns.start, columns.stop, causal)
            close(got, tile_of(Q, K, rows, columns, causal), what=f"rows {i} and columns {j} on")


@score_tile.test(
    points=1,
    says="the scores have the wrong size: every q·k is divided by the root of dim, the width of the vectors compared, and by no fixed number",
)
def scaled_by_the_root_of_dim(student: Student, draw: Draw) -> None:
    student.define(TILE)
    for dim in (1, draw.choice([2, 3, 5]), draw.choice([7, 11, 64])):
        Q, K, _, _ = problem(draw, 5, 4, dim)
        got = student.tile_at(Q, K, 0, 5, 0, 4, False)
        close(got, tile_of(Q, K, slice(0, 5), slice(0, 4), False), what=f"the scores for dim {dim}")


@score_tile.test(
    points=1,
    says="this is not the tile that was asked for: rows picks queries and columns picks keys, in all examples and heads, and a tile at the rim may be smaller than the others",
)
def the_tile_that_was_asked_for(student: Student, draw: Draw) -> None:
    queries, keys = draw.choice([(7, 11), (11, 7), (13, 7), (7, 13)])
    block_q, block_k = draw.choice([(3, 5), (5, 3), (2, 5), (5, 2), (1, 3)])
    Q, K, _, _ = problem(draw, queries, keys)
    every_tile(student, Q, K, block_q, block_k, causal=False, strided=draw)


@score_tile.test(
    points=1.5,
    says="the causal mask counts from the corner of the tile: i and j are positions in the whole of Q and K, so the starts of rows and columns have to be added before they are compared",
)
def causal_counts_in_the_whole_matrix(student: Student, draw: Draw) -> None:
    length, block_q, block_k = draw.integer(9, 13), draw.integer(2, 3), draw.integer(4, 5)
    Q, K, _, _ = problem(draw, length, length)
    every_tile(student, Q, K, block_q, block_k, causal=True)


@score_tile.test(
    points=1,
    says="with more keys than queries, or fewer, the mask is aligned at the wrong corner: the last query sees every key, so query i sees key j where j ≤ i + keys − queries",
)
def the_last_query_sees_every_key(student: Student, draw: Draw) -> None:
    few, many = draw.integer(3, 5), draw.integer(7, 9)
    for queries, keys in ((few, many), (many, few), (1, many)):
        Q, K, _, _ = problem(draw, queries, keys)
        every_tile(student, Q, K, 2, 3, causal=True)


@score_tile.test(
    points=0.5,
    says="more than the tile is computed: take the rows of Q and the columns of K first, and make the mask for the tile only; the whole matrix must never exist, and Q and K stay as they are",
)
def only_the_tile_is_computed(student: Student, draw: Draw) -> None:
    student.define(METER)
    student.define(TILE)
    queries, keys = draw.integer(50, 60), draw.integer(61, 70)
    Q, K, _, _ = problem(draw, queries, keys, dim=3)
    for causal in (False, True):
        probe = student.probe("metered_tile_at", Q, K, 40, 47, 41, 46, causal)
        got, largest, _ = probe.value
        close(got, tile_of(Q, K, slice(40, 47), slice(41, 46), causal), what="the tile")
        close(probe.args[:2], (Q, K), tolerance=0.0, what="Q and K after the call")
        allowed = 2 * max(Q.numel(), K.numel())  # a scaled copy of Q is no crime; a matrix is ten times that
        check(largest <= allowed, f"a tensor of {largest} numbers was made, allowed {allowed}")


flash_forward = Exercise("flash_forward", forbids=WHOLE_LAYERS)


@flash_forward.test(
    points=1.5,
    says="O differs from softmax(QKᵀ/√dim)V, although every tile is full: bring the old l and acc to the new base with every tile, divide by l once at the end, and scale the scores by the root of dim",
)
def exact_where_the_blocks_divide(student: Student, draw: Draw) -> None:
    block_q, block_k = draw.primes(2)
    Q, K, V, _ = problem(draw, 2 * block_q, 3 * block_k, size=1.5)
    close(student.flash_forward(Q, K, V, False, block_q, block_k)[0], naive(Q, K, V, False)[0], what="O")


@flash_forward.test(
    points=1,
    says="keys or queries at the end are lost, or counted twice: where a block does not divide a length, the last tile is smaller, and a block larger than the length is one tile",
)
def the_last_tile_is_smaller(student: Student, draw: Draw) -> None:
    queries, keys = draw.integer(7, 11), draw.integer(8, 13)
    Q, K, V, _ = problem(draw, queries, keys)
    expected = naive(Q, K, V, False)[0]
    for block_q, block_k in ((3, 5), (5, 3), (queries - 1, keys - 1), (64, 64), (1, 1)):
        got = student.flash_forward(Q, K, V, False, block_q, block_k)[0]
        close(got, expected, what=f"O in tiles of {block_q} by {block_k}")


@flash_forward.test(
    points=1.5,
    says="LSE is not the natural logarithm of each query's sum of exp(score): it is m + log(l), from the scaled scores and the final m and l, one number a query",
)
def log_sum_exp_of_every_query(student: Student, draw: Draw) -> None:
    queries, keys = draw.integer(3, 9), draw.integer(7, 13)
    Q, K, V, _ = problem(draw, queries, keys, size=2.0)
    close(student.flash_forward(Q, K, V, False, 2, 3)[1], naive(Q, K, V, False)[1], what="LSE")


@flash_forward.test(
    points=1.5,
    says="causal is wrong: query i sees key j where j ≤ i + keys − queries, so that the last query sees every key whatever the lengths and the tiles are",
)
def causal_for_any_two_lengths(student: Student, draw: Draw) -> None:
    few, many = draw.integer(3, 6), draw.integer(8, 13)
    for queries, keys in ((many, many), (few, many), (1, many)):
        Q, K, V, _ = problem(draw, queries, keys)
        for block_q, block_k in ((2, 3), (3, 2), (4, 4)):
            got = student.flash_forward(Q, K, V, True, block_q, block_k)
            close(got, naive(Q, K, V, True), what=f"(O, LSE) of {queries} queries, {keys} keys")


@flash_forward.test(
    points=1,
    says="a query that sees no key (causal, with more queries than keys) must get O = 0 and LSE = −∞, without NaN there or in any other query, also when it shares a tile with queries that do see keys",
)
def a_query_that_sees_nothing(student: Student, draw: Draw) -> None:
    keys = draw.integer(2, 5)
    queries = keys + draw.integer(3, 7)
    Q, K, V, _ = problem(draw, queries, keys)
    for block_q, block_k in ((2, 2), (3, 2), (queries, keys), (2, 1)):
        close(student.flash_forward(Q, K, V, True, block_q, block_k), naive(Q, K, V, True), what="(O, LSE)")


@flash_forward.test(
    points=1,
    says="scores of ±1000 overflow: subtract the running maximum before exp in every tile, and never exp(m) or exp(LSE) alone",
)
def scores_of_a_thousand_stay_finite(student: Student, draw: Draw) -> None:
    queries, keys = draw.integer(5, 9), draw.integer(7, 13)
    Q, K, V, _ = problem(draw, queries, keys)
    # the last query scores −1000 on the two keys of the first tile and 1000 on the last key
    K = torch.cat([-Q[..., -1:, :].expand(K[..., :2, :].shape), K[..., 2:-1, :], Q[..., -1:, :]], dim=-2)
    own = Q[..., -1:, :].square().sum(dim=-1, keepdim=True) / math.sqrt(Q.shape[-1])
    Q = Q * (1000.0 / own)
    for causal in (False, True):
        expected = naive(Q, K, V, causal)
        close(student.flash_forward(Q, K, V, causal, 3, 2), expected, tolerance=1e-8, what="(O, LSE)")


@flash_forward.test(
    points=1.5,
    says="more scores than one tile exist at once: no tensor may be larger than the inputs or a tile of block_q × block_k a head, and tiles that are done must not be kept; that goes for masks too",
)
def never_more_than_a_tile(student: Student, draw: Draw) -> None:
    student.define(METER)
    Q, K, V, _ = long_problem(draw)
    got, largest, peak = student.metered_forward(Q, K, V, True, 13, 11)
    close(got, naive(Q, K, V, True), what="(O, LSE)")
    check_memory(largest, peak, Q, K, V)


def long_problem(draw: Draw) -> Tensors:
    """Narrow vectors and many of them, so that a matrix of scores is far larger than all inputs together."""
    Q, K, V, dO = problem(draw, draw.integer(80, 86), draw.integer(90, 96), dim=2)
    return Q, K, V[..., :3].contiguous(), dO[..., :3].contiguous()


def check_memory(largest: int, peak: int, Q: Tensor, K: Tensor, V: Tensor) -> None:
    """Room for copies and padded copies of the inputs and outputs and for tiles, none for a matrix or a strip of it."""
    heads = Q.shape[0] * Q.shape[1]
    vectors = max(Q.numel(), K.numel(), V.numel())
    allowed = vectors + 13 * 11 * heads + 20 * heads
    check(largest <= allowed, f"a tensor of {largest} numbers was made, allowed {allowed}")
    matrix = Q.shape[-2] * K.shape[-2] * heads
    check(peak <= 0.6 * matrix, f"{peak} numbers were alive at once, allowed {0.6 * matrix:.0f}")


@flash_forward.test(
    points=0.5,
    says="with causal, tiles are computed that nobody in them may see: for long sequences half of all tiles can be skipped, so the loop over the keys must end with the last key that the tile's last query sees",
)
def hidden_tiles_are_skipped(student: Student, draw: Draw) -> None:
    student.define(METER)
    block = draw.integer(4, 6)
    Q, K, V, _ = problem(draw, 10 * block, 10 * block)
    got, causal = student.operations_of_forward(Q, K, V, True, block, block)
    close(got, naive(Q, K, V, True), what="(O, LSE)")
    _, everything = student.operations_of_forward(Q, K, V, False, block, block)
    # 55 of 100 tiles have something to see
    check(causal <= 0.7 * everything, f"{causal} operations with the mask, {everything} without")


@flash_forward.test(
    points=0.5,
    says="the result depends on how the inputs lie in memory, on the other examples or on the dtype, or the inputs were changed: every example and head stands alone, and O and LSE have the dtype of Q",
)
def inputs_as_they_come(student: Student, draw: Draw) -> None:
    queries, keys = draw.integer(3, 7), draw.integer(8, 11)
    Q, K, V, _ = problem(draw, queries, keys, examples=draw.integer(2, 3))
    expected = naive(Q, K, V, True)
    strided = [draw.strided(x) for x in (Q, K, V)]
    probe = student.probe("flash_forward", *strided, True, 2, 3)
    close(probe.value, expected, what="(O, LSE)")
    close(probe.args[:3], (Q, K, V), tolerance=0.0, what="the inputs after the call")
    alone = student.flash_forward(Q[-1:], K[-1:], V[-1:], True, 2, 3)
    close(alone, tuple(x[-1:] for x in expected), what="the last example alone")
    single = [x.to(torch.float32) for x in (Q, K, V)]
    close(
        student.flash_forward(*single, True, 2, 3),
        naive(single[0], single[1], single[2], True),
        what="(O, LSE) in float32",
    )


flash_backward = Exercise("flash_backward", forbids=WHOLE_LAYERS)


def gradients(
    student: Student, tensors: Tensors, causal: bool, block_q: int, block_k: int
) -> tuple[Tensor, ...]:
    """What the student's backward pass makes of exact O and LSE."""
    Q, K, V, dO = tensors
    O, LSE = naive(Q, K, V, causal)
    got = student.flash_backward(Q, K, V, O, LSE, dO, causal, block_q, block_k)
    check(isinstance(got, tuple | list) and len(got) == 3, "the result is not (dQ, dK, dV)")
    return tuple(got)


@flash_backward.test(
    points=1,
    says="dV is wrong: it is Aᵀ·dO with the normalised weights A = exp(S − LSE), summed over all tiles of queries that read these values",
)
def values_collect_the_weights(student: Student, draw: Draw) -> None:
    block_q, block_k = draw.primes(2)
    tensors = problem(draw, 2 * block_q, 3 * block_k)
    got = gradients(student, tensors, False, block_q, block_k)
    close(got[2], naive_gradients(tensors, False)[2], what="dV")


@flash_backward.test(
    points=1.5,
    says="the softmax's own gradient is incomplete: dS = A·(dA − delta), where delta is the sum of dO·O over the width of the values, one number a query, and the same in all tiles",
)
def delta_is_subtracted(student: Student, draw: Draw) -> None:
    tensors = problem(draw, draw.integer(4, 7), draw.integer(8, 11), dim=1)  # a width of 1 needs no scale
    got = gradients(student, tensors, False, 2, 3)
    close(got, naive_gradients(tensors, False), what="the gradients for dim 1")


@flash_backward.test(
    points=1.5,
    says="dQ and dK have the wrong size: the scores were divided by the root of dim on the way, so both gradients are divided by it too; dQ is dS·K and dK is dSᵀ·Q, each summed over the tiles",
)
def both_gradients_are_scaled(student: Student, draw: Draw) -> None:
    for dim in (draw.choice([2, 3, 5]), draw.choice([7, 11])):
        tensors = problem(draw, draw.integer(4, 7), draw.integer(8, 11), dim=dim)
        got = gradients(student, tensors, False, 3, 2)
        close(got[:2], naive_gradients(tensors, False)[:2], what=f"dQ and dK for dim {dim}")


@flash_backward.test(
    points=1.5,
    says="causal is lost or misplaced on the way back: the same scores must be −∞ as on the way forward, j > i + keys − queries, so that hidden keys get no gradient from a query and give none",
)
def causal_on_the_way_back(student: Student, draw: Draw) -> None:
    few, many = draw.integer(3, 6), draw.integer(8, 12)
    for queries, keys in ((many, many), (few, many)):
        tensors = problem(draw, queries, keys)
        for block_q, block_k in ((2, 3), (3, 2)):
            got = gradients(student, tensors, True, block_q, block_k)
            close(got, naive_gradients(tensors, True), what=f"gradients of {queries} queries, {keys} keys")


@flash_backward.test(
    points=1,
    says="a query that saw no key (LSE = −∞) spoils the gradients: exp(−∞ − (−∞)) is NaN; such a query gets no gradient and gives none",
)
def no_gradient_from_nothing(student: Student, draw: Draw) -> None:
    keys = draw.integer(2, 5)
    tensors = problem(draw, keys + draw.integer(3, 6), keys)
    expected = naive_gradients(tensors, True)
    for block_q, block_k in ((2, 2), (5, 3), (3, 1)):
        close(gradients(student, tensors, True, block_q, block_k), expected, what="the gradients")


@flash_backward.test(
    points=1,
    says="tiles at the end are lost on the way back: where a block does not divide a length the last tile is smaller, for the queries and for the keys",
)
def the_last_tile_has_gradients_too(student: Student, draw: Draw) -> None:
    queries, keys = draw.integer(7, 11), draw.integer(8, 13)
    tensors = problem(draw, queries, keys)
    expected = naive_gradients(tensors, False)
    for block_q, block_k in ((3, 5), (queries - 1, keys - 1), (64, 64), (1, 1)):
        got = gradients(student, tensors, False, block_q, block_k)
        close(got, expected, what=f"the gradients in tiles of {block_q} by {block_k}")


@flash_backward.test(
    points=0.5,
    says="scores of ±1000 overflow on the way back: exp(S − LSE) is at most 1, exp(S) and exp(LSE) alone are not finite",
)
def gradients_of_large_scores(student: Student, draw: Draw) -> None:
    Q, K, V, dO = problem(draw, draw.integer(4, 7), draw.integer(8, 11))
    # the largest score is 1000 and its neighbours in a row are close by, so that the weights are not all 0 and 1
    Q, K = (
        torch.cat([Q, torch.full_like(Q[..., :1], 30.0)], -1),
        torch.cat([K, torch.full_like(K[..., :1], 80.0)], -1),
    )
    got = gradients(student, (Q, K, V, dO), False, 3, 2)
    close(got, naive_gradients((Q, K, V, dO), False), tolerance=1e-8, what="the gradients")


@flash_backward.test(
    points=1.5,
    says="more than tiles exist at once on the way back: compute the weights of a tile again from Q, K and LSE, use them, and let them go; no tensor may be larger than the inputs or a tile of block_q × block_k a head",
)
def tiles_only_on_the_way_back(student: Student, draw: Draw) -> None:
    student.define(METER)
    Q, K, V, dO = long_problem(draw)
    O, LSE = naive(Q, K, V, True)
    got, largest, peak = student.metered_backward(Q, K, V, O, LSE, dO, True, 13, 11)
    close(got, naive_gradients((Q, K, V, dO), True), what="the gradients")
    check_memory(largest, peak, Q, K, V)


OF_A_SUM = """
import torch

def backward_of_sum(Q, K, V, O, LSE, causal, block_q, block_k):
    one = torch.ones((), dtype=O.dtype).expand(O.shape)
    return flash_backward(Q, K, V, O, LSE, one, causal, block_q, block_k)
"""


@flash_backward.test(
    points=0.5,
    says="the gradients depend on how the inputs lie in memory or on the other examples, or an input was changed: a dO that is one number expanded, as sum().backward() makes it, is an input like any other",
)
def inputs_of_any_layout(student: Student, draw: Draw) -> None:
    student.define(OF_A_SUM)
    Q, K, V, dO = problem(draw, draw.integer(3, 6), draw.integer(7, 9), examples=draw.integer(2, 3))
    dO = dO.transpose(1, 2).contiguous().transpose(1, 2)  # as it comes back from merging the heads
    O, LSE = naive(Q, K, V, True)
    inputs = [*(draw.strided(x) for x in (Q, K, V, O, LSE)), dO]
    probe = student.probe("flash_backward", *inputs, True, 2, 3)
    expected = naive_gradients((Q, K, V, dO), True)
    close(probe.value, expected, what="the gradients")
    close(probe.args[:6], (Q, K, V, O, LSE, dO), tolerance=0.0, what="the inputs after the call")
    alone = student.flash_backward(*(x[-1:] for x in (Q, K, V, O, LSE, dO)), True, 2, 3)
    close(alone, tuple(x[-1:] for x in expected), what="the last example alone")
    got = student.backward_of_sum(Q, K, V, O, LSE, True, 2, 3)
    close(got, naive_gradients((Q, K, V, torch.ones_like(O)), True), what="the gradients of a plain sum")


QUESTIONS = [
    Question(
        "where_tiling_pays",
        points=4,
        answer=(
            "Tiling alone changed what must exist at once: memory grows with the length and no more with its square. It did "
            "not remove work; the backward pass even computes every score a second time. In time it pulls both ways: every "
            "tile is a dozen separate PyTorch calls, each with a fixed price and each writing its small result and reading "
            "it back, which loses at short lengths; but a tile fits into the cache and the whole matrix does not, which "
            "gains at long ones. Only a fused step keeps the tile on the chip through all operations, without calls in "
            "between, as SDPA does, and it is the fastest throughout. The roofline says where traffic decides: naive "
            "attention in float32 at width 64 does d/4 = 16 operations a byte, so on a machine whose ridge lies above that "
            "(a GPU: hundreds) it waits for memory, and on one whose ridge lies below it hardly does. I would measure both "
            "ceilings on my machine, compare the ridge with the naive intensity, and then time naive and fused attention, "
            "forward and backward, and their peak memory, at the lengths of my real use."
        ),
        rubric=(
            "1 point: says what tiling alone changes, memory linear in the length, and that the work stays the same or "
            "grows (recomputation). 1 point: says what only a fused step changes (no separate calls, the tile stays on the "
            "chip), or explains with the cache why tiling helps at long lengths and hurts at short ones. 1 point: uses "
            "the roofline: compares an intensity with a ridge, and says which side memory-bound is. 1 point: names a measurement that would decide, with what is compared."
        ),
    )
]
