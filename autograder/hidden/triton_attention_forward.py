"""Hidden tests of chapter 10, `triton_attention_forward`.

Kernels are launched inside the student's process on inputs that lie in NaN and outputs that lie among canaries; what
comes back is compared here, with float64. Errors are relative Frobenius errors: float32 3e-6 (some dozens of terms,
measured 4e-7), float16 4.5e-4 (one rounding of the weights and one of the result, measured 3e-4; a float16 accumulator
is at 6.8e-4 and more).
"""

from __future__ import annotations

import math
from typing import Any

import torch
from torch import Tensor

from attention_from_scratch import triton_attention_forward as reference
from attention_from_scratch.triton_fences import Fence
from autograder.testing import Draw, Exercise, Student, check

TOLERANCE = {torch.float32: 3e-6, torch.float16: 4.5e-4}

HELPERS = '''
from attention_from_scratch.triton_fences import Fence, poisoned


def launched_one_head(q, k, v, scale, block_q, block_k):
    """Launch the kernel of one head; the outputs with what lies around them."""
    lse = Fence(q[:, 0], "plain")
    room = torch.full((q.numel() + 2 * 4096,), 12345.0)  # rows side by side, as this kernel wants them
    inner = room[4096:-4096].view(q.shape)
    inner.fill_(float("nan"))
    one_head_attention(q.clone(), k.clone(), v.clone(), scale, block_q, block_k, inner, lse.view)
    return room, lse.buffer


def launched(q, k, v, lengths, causal, scale, layouts, out_layout, blocks):
    """Launch the batched kernel; the outputs with what lies around them, and the inputs as they are afterwards."""
    views = [poisoned(x, layout) for x, layout in zip((q, k, v), layouts)]
    out, lse = Fence(q, out_layout), Fence(torch.zeros(q.shape[0] * q.shape[1] * q.shape[2]), "plain")
    batch, heads, queries, dim = q.shape
    block_q, block_k = blocks
    attention_forward_kernel[(triton.cdiv(queries, block_q), batch * heads)](
        *views, out.view, lse.view, q if lengths is None else lengths,
        *[step for x in (*views, out.view) for step in x.stride()],
        heads, heads // k.shape[1], queries, k.shape[2], scale * 1.4426950408889634,
        CAUSAL=causal, HAS_LENGTHS=lengths is not None, DIM=dim,
        BLOCK_D=max(16, triton.next_power_of_2(dim)), BLOCK_Q=block_q, BLOCK_K=block_k,
    )
    return out.buffer, lse.buffer, [view.clone() for view in views]
'''


def agree(got: Tensor, expected: Tensor, tolerance: float, what: str) -> None:
    """Minus infinity in the same places, and all other numbers within the tolerance, in the Frobenius norm."""
    check(
        got.shape == expected.shape, f"{what} has shape {tuple(got.shape)}, expected {tuple(expected.shape)}"
    )
    dead = expected.isneginf()
    check(torch.equal(got.isneginf(), dead), f"{what}: minus infinity in other places than expected")
    one, other = got[~dead].double(), expected[~dead].double()
    check(bool(one.isfinite().all()), f"{what} holds NaN or infinity where it must not")
    error = ((one - other).norm() / (other.norm() if other.norm() > 0 else 1.0)).item()
    check(error <= tolerance, f"{what}: relative error {error:.2g}, allowed {tolerance:.2g}")


def unfenced(like: Tensor, layout: str, buffer: Tensor, what: str) -> Tensor:
    """The output inside a fence that came back; fails on what was written around it or not written at all."""
    fence = Fence(like, layout)
    check(buffer.shape == fence.buffer.shape, f"{what}: the buffer has another size")
    fence.buffer.copy_(buffer)
    fault = fence.fault() if not fence.view.isneginf().any() else ""
    check(not fault, f"{what}: {fault}")
    return fence.view


Inputs = tuple[Tensor, Tensor, Tensor]


def inputs(draw: Draw, batch: int, heads: int, groups: int, queries: int, keys: int, dim: int) -> Inputs:
    """Random queries, keys and values in float32."""
    shapes = [(batch, heads, queries, dim), (batch, groups, keys, dim), (batch, groups, keys, dim)]
    q, k, v = (draw.normal(*shape, dtype=torch.float32) for shape in shapes)
    return q, k, v


def run(
    student: Student,
    drawn: Inputs,
    *,
    lengths: list[int] | None = None,
    causal: bool = False,
    scale: float | None = None,
    layouts: tuple[str, str, str] = ("bhnd", "bhnd", "bhnd"),
    out_layout: str = "bhnd",
    blocks: tuple[int, int] = (16, 16),
) -> None:
    """Launch the student's kernel between fences and compare both outputs with the specification."""
    q, k, v = drawn
    scale = 1 / math.sqrt(q.shape[-1]) if scale is None else scale
    given = None if lengths is None else torch.tensor(lengths)
    student.define(HELPERS)
    out, lse, after = student.launched(q, k, v, given, causal, scale, list(layouts), out_layout, list(blocks))
    exact, exact_lse = reference.attention_specification(
        q.double(), k.double(), v.double(), causal, given, scale
    )
    agree(unfenced(q, out_layout, out, "out"), exact, TOLERANCE[q.dtype], "out")
    flat = torch.zeros(exact_lse.numel())
    agree(unfenced(flat, "plain", lse, "lse").view(exact_lse.shape), exact_lse, 3e-6, "lse")
    for name, now, before in zip("qkv", after, drawn, strict=True):
        check(torch.equal(now, before), f"{name} was changed")


# ── one head

one_head_kernel = Exercise("one_head_kernel")


def run_one_head(
    student: Student,
    q: Tensor,
    k: Tensor,
    v: Tensor,
    scale: float,
    blocks: tuple[int, int],
    tolerance: float = 3e-6,
) -> None:
    """The same for the kernel of one head."""
    student.define(HELPERS)
    room, lse = student.launched_one_head(q, k, v, scale, *blocks)
    check(room.numel() == q.numel() + 8192, "the buffer has another size")
    around = torch.cat([room[:4096], room[-4096:]])
    check(
        bool((around == 12345.0).all()),
        f"{int((around != 12345.0).sum())} numbers outside the output were overwritten",
    )
    exact, exact_lse = reference.attention_specification(
        q[None, None].double(), k[None, None].double(), v[None, None].double(), False, None, scale
    )
    agree(room[4096:-4096].view(q.shape), exact[0, 0], tolerance, "out")
    agree(unfenced(q[:, 0], "plain", lse, "lse"), exact_lse[0, 0], 3e-6, "lse")


def head(draw: Draw, queries: int, keys: int, dim: int) -> Inputs:
    """Random queries, keys and values of one head."""
    q, k, v = (draw.normal(size, dim, dtype=torch.float32) for size in (queries, keys, keys))
    return q, k, v


@one_head_kernel.test(
    points=2,
    says="one block of queries and one block of keys come out wrong: scores, softmax over the keys, blend of the values, divided by the sum of the exponentials at the end",
)
def one_tile(student: Student, draw: Draw) -> None:
    run_one_head(student, *head(draw, 16, 16, 16), 0.25, (16, 16))
    run_one_head(student, *head(draw, 48, 16, 16), 0.25, (16, 16))


@one_head_kernel.test(
    points=2,
    says="queries or keys that do not fill a block come out wrong: mask the rows in the store, and give scores of keys that do not exist minus infinity before the maximum and the exponential",
)
def tails(student: Student, draw: Draw) -> None:
    queries, keys = draw.integer(17, 31), draw.integer(25, 31)
    run_one_head(student, *head(draw, queries, keys, 16), 0.3, (16, 16))
    q, k, v = head(draw, draw.integer(1, 7), draw.integer(1, 7), 32)
    run_one_head(
        student, q + 1, k - 1, v, 0.3, (16, 32)
    )  # negative scores: a spare lane of score 0 would win


@one_head_kernel.test(
    points=2.5,
    says="several blocks of keys are not joined rightly: when a block brings a larger score, the sum and the blend so far are in the old base and must be multiplied by exp(old maximum − new maximum), both of them",
)
def later_blocks_change_the_base(student: Student, draw: Draw) -> None:
    q, k, v = head(draw, 19, 75, 16)
    k = k * torch.linspace(0.2, 4.0, 75)[:, None]  # the largest scores come late
    run_one_head(student, q, k, v, 0.5, (16, 16))
    run_one_head(student, q, k.flip(0), v, 0.5, (16, 16))
    # scores of some hundreds are rounded to 1.5e-5 in float32, and weights are off by as large a part of themselves
    run_one_head(student, 40 * q, k, v, 0.5, (16, 16), 3e-5)


@one_head_kernel.test(
    points=1.5,
    says="lse is not the natural logarithm of the sum of exponentials of the scaled scores: it is the largest score plus the logarithm of the sum that was kept relative to it",
)
def log_sum_exp(student: Student, draw: Draw) -> None:
    q, k, v = head(draw, 17, 33, 16)
    run_one_head(student, q, k, v, draw.choice([0.1, 0.9]), (16, 16))


# ── which blocks

blocks_to_visit = Exercise("blocks_to_visit")


def visited(student: Student, options: dict[str, Any]) -> None:
    """Compare for every block of queries."""
    for block in range(math.ceil(options["queries"] / options["block_q"])):
        got, expected = (
            student.blocks_to_visit(block=block, **options),
            reference.blocks_to_visit(block, **options),
        )
        check(
            type(got) is int and got == expected, f"block {block} of {options}: {got!r}, expected {expected}"
        )


@blocks_to_visit.test(
    points=1,
    says="without a causal mask every block up to the last visible key is visited, also the last one when it is not full; keys from length on count for nothing",
)
def up_to_the_length(student: Student, draw: Draw) -> None:
    for length in (0, 1, 16, 17, draw.integer(18, 63), 64):
        options = {"block_q": 16, "block_k": 16, "queries": draw.integer(1, 50), "keys": 64, "length": length}
        visited(student, options | {"causal": False})


@blocks_to_visit.test(
    points=1.5,
    says="under a causal mask with as many queries as keys the last query of the block decides: it sees the keys up to its own number",
)
def the_diagonal_block_counts(student: Student, draw: Draw) -> None:
    for block_q, block_k in ((16, 16), (32, 16), (16, 64)):
        size = 64 * draw.integer(1, 2) + 1  # the last query is the first of a block of keys
        options = {"block_q": block_q, "block_k": block_k, "queries": size, "keys": size, "length": size}
        visited(student, options | {"causal": True})
        visited(student, options | {"causal": True, "length": draw.integer(1, size)})


@blocks_to_visit.test(
    points=1.5,
    says="with other numbers of keys than queries the diagonal moves: the last query sees all keys, so query i sees keys up to i + keys − queries, and where that is negative there is nothing to visit",
)
def aligned_at_the_end(student: Student, draw: Draw) -> None:
    # no block of queries ends at the first key of a block of keys: the test above asks for that
    more, fewer = draw.integer(66, 78), draw.integer(20, 30)
    for queries, keys in ((fewer + 10, fewer + 10 + more), (fewer + more, fewer)):
        options = {"block_q": 16, "block_k": 32, "queries": queries, "keys": keys, "length": keys}
        visited(student, options | {"causal": True})


# ── the batched kernel

attention_forward_kernel = Exercise("attention_forward_kernel")


@attention_forward_kernel.test(
    points=1.5,
    says="one head with full blocks comes out wrong: this is one_head_kernel with strides, and with exp2 where the scale already holds log2(e)",
)
def full_blocks(student: Student, draw: Draw) -> None:
    run(student, inputs(draw, 1, 1, 1, 32, 48, 16))


@attention_forward_kernel.test(
    points=1.5,
    says="queries or keys that do not fill a block come out wrong, or something beside the output is overwritten",
)
def ragged_ends(student: Student, draw: Draw) -> None:
    run(student, inputs(draw, 1, 1, 1, draw.integer(17, 31), draw.integer(25, 31), 16))
    q, k, v = inputs(draw, 1, 1, 1, 1, draw.integer(1, 7), 16)
    run(student, (q + 1, k - 1, v))


@attention_forward_kernel.test(
    points=2,
    says="the running maximum is not used as it must: a block with larger scores changes the base of the sum and of the blend, and scores of some hundreds must neither overflow nor vanish",
)
def scores_of_any_size_in_any_order(student: Student, draw: Draw) -> None:
    q, k, v = inputs(draw, 1, 1, 1, 17, 70, 16)
    k = k * torch.linspace(0.2, 4.0, 70)[:, None]
    run(student, (q, k, v))
    run(student, (q, k.flip(2), v))
    # base 2, so that float32 holds scores of some hundreds exactly; the last block's are smaller by more than it can hold
    run(student, ((30 * q).round() / 4, k.flip(2).round(), v), scale=math.log(2))


@attention_forward_kernel.test(
    points=1.5,
    says="programs of one head read or write another head's or another batch item's numbers: program 1 counts pairs, batch = pair // heads and head = pair % heads, and each has its strides in all four tensors",
)
def every_head_has_its_own(student: Student, draw: Draw) -> None:
    heads = draw.choice([2, 3])
    run(student, inputs(draw, 3, heads, heads, 9, 11, 16))


@attention_forward_kernel.test(
    points=2,
    says="the kernel assumes how a tensor lies in memory: each of the four has its own four strides, the innermost one included",
)
def any_layout(student: Student, draw: Draw) -> None:
    drawn = inputs(draw, 2, 2, 2, 7, 27, 16)
    run(student, drawn, layouts=("bnhd", "strided", "transposed"), out_layout="bnhd")
    run(student, drawn, layouts=("transposed", "bnhd", "strided"), out_layout="strided")


@attention_forward_kernel.test(
    points=2,
    says="the causal mask is wrong: query i sees key j when j ≤ i + keys − queries, itself included, also where there are more keys than queries or fewer, and in the blocks on the diagonal",
)
def causal(student: Student, draw: Draw) -> None:
    for queries, keys in ((37, 37), (draw.integer(5, 20), draw.integer(35, 50)), (34, 33)):
        run(
            student,
            inputs(draw, 1, 1, 1, queries, keys, 16),
            causal=True,
            blocks=draw.choice([(16, 16), (32, 16)]),
        )


@attention_forward_kernel.test(
    points=1.5,
    says="keys from a batch item's length on are seen, or the length of another item is used: load lengths[batch], and leave out what lies behind, which may be NaN",
)
def lengths_hide_the_padding(student: Student, draw: Draw) -> None:
    keys = draw.integer(35, 49)
    q, k, v = inputs(draw, 3, 2, 2, 18, keys, 16)
    lengths = [draw.integer(1, 15), keys, draw.integer(17, 31)]
    run(student, (q, k, v), lengths=lengths)
    run(student, (q, k, v), lengths=lengths, causal=True)


@attention_forward_kernel.test(
    points=1.5,
    says="a query that sees no key must get zeros and a log-sum-exp of minus infinity: its maximum is minus infinity, and minus infinity less minus infinity is NaN",
)
def nothing_to_see(student: Student, draw: Draw) -> None:
    run(student, inputs(draw, 1, 2, 2, 50, 9, 16), causal=True)
    run(student, inputs(draw, 2, 1, 1, 5, 19, 16), lengths=[0, draw.integer(1, 15)])


@attention_forward_kernel.test(
    points=1.5,
    says="grouped heads read the wrong keys and values: neighbouring query heads share, so query head h reads group h // share",
)
def neighbours_share_a_group(student: Student, draw: Draw) -> None:
    share, groups = draw.choice([2, 3]), draw.choice([2, 3])
    run(student, inputs(draw, 2, share * groups, groups, 6, 13, 16))


@attention_forward_kernel.test(
    points=1,
    says="the scale or the base is wrong: the weights are powers of two of score times scale_log2, and lse goes back to the natural logarithm, which is 0.693 times the one of base 2",
)
def any_scale(student: Student, draw: Draw) -> None:
    drawn = inputs(draw, 1, 1, 1, 17, 27, 16)
    for scale in (draw.choice([0.07, 1.3]), -0.4):
        run(student, drawn, scale=scale)


@attention_forward_kernel.test(
    points=1,
    says="head widths that are no power of two come out wrong: the block is wider than the head, and lanes from DIM on must be masked in every load and in the store",
)
def any_width(student: Student, draw: Draw) -> None:
    run(student, inputs(draw, 1, 2, 2, 9, 27, draw.choice([17, 20, 24])))
    run(student, inputs(draw, 1, 1, 1, 5, 9, draw.choice([3, 7])))


@attention_forward_kernel.test(
    points=1,
    says="half-precision inputs lose too much: scores, maximum, sum and blend are kept in float32, only the weights are rounded before they multiply the values, and the output once when it is stored",
)
def half_precision(student: Student, draw: Draw) -> None:
    q, k, v = (x.half() for x in inputs(draw, 1, 1, 1, 16, 512, 32))
    run(student, (q, k[:, :, :40], v[:, :, :40]), scale=1.0)  # scores of some tens, not to be rounded
    run(student, (q, k, v.abs()))


# ── the launcher

triton_attention = Exercise("triton_attention", forbids=["torch.nn.functional.scaled_dot_product_attention"])


def launch(student: Student, drawn: Inputs, causal: bool, lengths: list[int] | None, scale: float) -> Tensor:
    """Call the student's launcher and compare both results; returns `out`."""
    given = None if lengths is None else torch.tensor(lengths)
    out, lse = student.triton_attention(*drawn, causal, given, scale)
    q, k, v = (x.double() for x in drawn)
    exact, exact_lse = reference.attention_specification(q, k, v, causal, given, scale)
    check(out.dtype == drawn[0].dtype, f"out has dtype {out.dtype}, expected {drawn[0].dtype}")
    check(lse.dtype == torch.float32, f"lse has dtype {lse.dtype}, expected torch.float32")
    agree(out, exact, TOLERANCE[out.dtype], "out")
    agree(lse, exact_lse, 3e-6, "lse")
    returned: Tensor = out
    return returned


@triton_attention.test(
    points=2,
    says="not every program is started, or the outputs have the wrong shape: one program for each block of queries and each pair of batch item and head; out has the shape of q, and lse is (batch, heads, queries) in float32",
)
def the_whole_grid(student: Student, draw: Draw) -> None:
    batch, heads = draw.choice([2, 3]), draw.choice([2, 3])
    launch(student, inputs(draw, batch, heads, heads, draw.integer(33, 47), 21, 16), False, None, 0.25)


@triton_attention.test(
    points=1.5,
    says="the strides do not reach the kernel in the right order: four for each of q, k, v and out, as the signature has them, of the tensors as they are, without a copy",
)
def strides_are_passed(student: Student, draw: Draw) -> None:
    q, k, v = inputs(draw, 2, 3, 3, 11, 13, 16)
    turned = [x.transpose(1, 2).contiguous().transpose(1, 2) for x in (q, k, v)]
    launch(student, (turned[0], draw.strided(k), v), False, None, 0.25)
    launch(student, (q, turned[1], turned[2]), False, None, 0.25)


@triton_attention.test(
    points=1.5,
    says="the options do not reach the kernel: causal, lengths (or none), and the scale, which is multiplied by log2(e) on the way",
)
def options_are_passed(student: Student, draw: Draw) -> None:
    drawn = inputs(draw, 2, 2, 2, 23, 29, 16)
    launch(student, drawn, True, None, draw.choice([0.1, 0.6]))
    launch(student, drawn, False, [draw.integer(1, 28), 29], 0.25)
    launch(student, drawn, True, [29, draw.integer(8, 28)], -0.3)


@triton_attention.test(
    points=1,
    says="groups, widths or dtypes do not reach the kernel: share is heads over groups, BLOCK_D the next power of two and at least 16, and out has the dtype of q",
)
def groups_widths_and_dtypes(student: Student, draw: Draw) -> None:
    launch(
        student, inputs(draw, 1, 6, draw.choice([1, 2, 3]), 9, 11, draw.choice([5, 20])), False, None, 0.25
    )
    q, k, v = (x.half() for x in inputs(draw, 1, 2, 2, 9, 11, 16))
    launch(student, (q, k, v), True, None, 0.25)
