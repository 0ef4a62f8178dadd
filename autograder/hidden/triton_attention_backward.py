"""Hidden tests of chapter 11, `triton_attention_backward`.

Each kernel is launched alone, on inputs that lie in NaN and outputs that lie among canaries, with the log-sum-exp and delta
that the specification gives; so a mistake in one exercise costs nothing in another. Gradients are compared with float64
autograd of the specification, in the Frobenius norm: float32 5e-6 (sums of some dozens of terms, measured 5e-7); float16
cases state their own.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor

from attention_from_scratch.triton_attention_forward import attention_specification
from attention_from_scratch.triton_fences import Fence
from autograder.testing import Draw, Exercise, Student, check

TOLERANCE = {torch.float32: 5e-6}

HELPERS = """
from attention_from_scratch.triton_fences import Fence, poisoned


def launched_delta(out, dout, layouts, block):
    views = [poisoned(x, layout) for x, layout in zip((out, dout), layouts)]
    batch, heads, queries, dim = out.shape
    delta = Fence(torch.zeros(batch * heads * queries), "plain")
    delta_kernel[(triton.cdiv(queries, block), batch * heads)](
        *views, delta.view, *[step for x in views for step in x.stride()], heads, queries,
        DIM=dim, BLOCK_D=max(16, triton.next_power_of_2(dim)), BLOCK_Q=block,
    )
    return delta.buffer


def launched(which, q, k, v, dout, lse, delta, lengths, causal, scale, layouts, out_layout, blocks):
    views = [poisoned(x, layout) for x, layout in zip((q, k, v, dout), layouts)]
    rest = (lse.clone(), delta.clone(), q if lengths is None else lengths)
    steps = [step for x in views for step in x.stride()]
    batch, heads, queries, dim = q.shape
    groups, keys = k.shape[1], k.shape[2]
    constants = dict(
        CAUSAL=causal, HAS_LENGTHS=lengths is not None, DIM=dim, BLOCK_D=max(16, triton.next_power_of_2(dim)),
        BLOCK_Q=blocks[0], BLOCK_K=blocks[1],
    )
    if which == "dkdv":
        dk, dv = Fence(k, out_layout), Fence(v, out_layout)
        dkdv_kernel[(triton.cdiv(keys, blocks[1]), batch * groups)](
            *views, dk.view, dv.view, *rest, *steps, *dk.view.stride(),
            groups, heads // groups, queries, keys, scale, **constants,
        )
        return dk.buffer, dv.buffer
    dq = Fence(q, out_layout)
    dq_kernel[(triton.cdiv(queries, blocks[0]), batch * heads)](
        *views, dq.view, *rest, *steps, *dq.view.stride(),
        heads, heads // groups, queries, keys, scale, **constants,
    )
    return (dq.buffer,)


def apply(q, k, v, causal, lengths, scale):
    return TritonAttention.apply(q, k, v, causal, lengths, scale)
"""


def agree(got: Tensor, expected: Tensor, tolerance: float, what: str) -> None:
    """Relative Frobenius error within the tolerance; absolute where everything must be zero."""
    check(
        got.shape == expected.shape, f"{what} has shape {tuple(got.shape)}, expected {tuple(expected.shape)}"
    )
    check(bool(got.isfinite().all()), f"{what} holds NaN or infinity where it must not")
    size = expected.norm().item() or 1.0
    error = (got.double() - expected).norm().item() / size
    check(error <= tolerance, f"{what}: relative error {error:.2g}, allowed {tolerance:.2g}")


def unfenced(like: Tensor, layout: str, buffer: Tensor, what: str) -> Tensor:
    """The output inside a fence that came back; fails on what was written around it or not written at all."""
    fence = Fence(like, layout)
    check(buffer.shape == fence.buffer.shape, f"{what}: the buffer has another size")
    fence.buffer.copy_(buffer)
    check(not fence.fault(), f"{what}: {fence.fault()}")
    return fence.view


Inputs = tuple[Tensor, Tensor, Tensor, Tensor]


def inputs(draw: Draw, batch: int, heads: int, groups: int, queries: int, keys: int, dim: int) -> Inputs:
    """Random q, k, v and dout in float32."""
    a, b = (batch, heads, queries, dim), (batch, groups, keys, dim)
    q, k, v, dout = (draw.normal(*shape, dtype=torch.float32) for shape in (a, b, b, a))
    return q, k, v, dout


def gradients(drawn: Inputs, causal: bool, lengths: Tensor | None, scale: float) -> tuple[Tensor, ...]:
    """dq, dk, dv, lse and delta of the specification, in float64."""
    q, k, v = (x.detach().double().requires_grad_() for x in drawn[:3])
    out, lse = attention_specification(q, k, v, causal, lengths, scale)
    dout = drawn[3].double()
    dq, dk, dv = torch.autograd.grad(out, (q, k, v), dout)
    return dq, dk, dv, lse.detach(), (out * dout).sum(-1).detach()


def run(
    student: Student,
    which: str,
    drawn: Inputs,
    *,
    lengths: list[int] | None = None,
    causal: bool = False,
    scale: float | None = None,
    layouts: tuple[str, ...] = ("bhnd", "bhnd", "bhnd", "bhnd"),
    out_layout: str = "bhnd",
    blocks: tuple[int, int] = (16, 16),
    tolerance: float | None = None,
) -> None:
    """Launch one of the two large kernels between fences and compare what it wrote."""
    q, k, v, _ = drawn
    scale = 1 / math.sqrt(q.shape[-1]) if scale is None else scale
    given = None if lengths is None else torch.tensor(lengths)
    dq, dk, dv, lse, delta = gradients(drawn, causal, given, scale)
    student.define(HELPERS)
    buffers = student.launched(
        which,
        *drawn,
        lse.float(),
        delta.float(),
        given,
        causal,
        scale,
        list(layouts),
        out_layout,
        list(blocks),
    )
    expected = {"dq": [("dq", q, dq)], "dkdv": [("dk", k, dk), ("dv", v, dv)]}[which]
    check(len(buffers) == len(expected), "not as many outputs")
    for (name, like, exact), buffer in zip(expected, buffers, strict=True):
        allowed = tolerance or TOLERANCE[like.dtype]
        agree(unfenced(like, out_layout, buffer, name), exact, allowed, name)


# ── delta

delta_kernel = Exercise("delta_kernel")


def run_delta(student: Student, out: Tensor, dout: Tensor, layouts: tuple[str, str], block: int) -> None:
    """Launch between fences and compare."""
    student.define(HELPERS)
    buffer = student.launched_delta(out, dout, list(layouts), block)
    exact = (out.double() * dout.double()).sum(-1).flatten()
    agree(unfenced(torch.zeros(exact.numel()), "plain", buffer, "delta"), exact, 3e-6, "delta")


@delta_kernel.test(
    points=1.5,
    says="delta is not the sum over the width of out times dout, one number for each row of every head",
)
def one_number_a_row(student: Student, draw: Draw) -> None:
    out, dout = (draw.normal(2, 3, 16, 16, dtype=torch.float32) for _ in range(2))
    run_delta(student, out, dout, ("bhnd", "bhnd"), 16)
    run_delta(student, out, dout, ("bhnd", "bhnd"), 8)


@delta_kernel.test(
    points=1.5,
    says="rows or widths that do not fill the block come out wrong: lanes beyond the width must add nothing, and rows beyond the queries must not be stored, where the next head's numbers lie",
)
def spare_lanes(student: Student, draw: Draw) -> None:
    shape = (draw.integer(1, 2), 2, draw.integer(17, 30), draw.choice([5, 20]))
    out, dout = (draw.normal(*shape, dtype=torch.float32) for _ in range(2))
    run_delta(student, out, dout, ("bhnd", "bhnd"), 16)


@delta_kernel.test(
    points=1,
    says="the kernel assumes how out or dout lies in memory: each has four strides of its own. Half-precision numbers are multiplied and added in float32",
)
def strides_and_precision(student: Student, draw: Draw) -> None:
    out, dout = (draw.normal(2, 2, 9, 16, dtype=torch.float32) for _ in range(2))
    run_delta(student, out, dout, ("bnhd", "strided"), 16)
    run_delta(student, out, dout, ("transposed", "bnhd"), 16)
    run_delta(student, out.half(), dout.half(), ("bhnd", "bhnd"), 16)


# ── dK and dV

dkdv_kernel = Exercise("dkdv_kernel")


@dkdv_kernel.test(
    points=1.5,
    says="one head with full blocks comes out wrong: dv adds weightsᵀ·dout, and dk adds scale · (weights · (dout·vᵀ − delta))ᵀ · q, with weights = exp(score − lse)",
)
def keys_of_full_blocks(student: Student, draw: Draw) -> None:
    run(student, "dkdv", inputs(draw, 1, 1, 1, 32, 32, 16))


@dkdv_kernel.test(
    points=1.5,
    says="queries or keys that do not fill a block come out wrong, or something beside dk and dv is overwritten: a query that does not exist must have no weight",
)
def keys_at_ragged_ends(student: Student, draw: Draw) -> None:
    run(student, "dkdv", inputs(draw, 1, 1, 1, draw.integer(17, 31), draw.integer(17, 31), 16))
    run(student, "dkdv", inputs(draw, 1, 1, 1, draw.integer(1, 7), draw.integer(1, 7), draw.choice([7, 20])))


@dkdv_kernel.test(
    points=2,
    says="the causal mask is wrong in the backward pass: key j is seen by query i when j ≤ i + keys − queries; the walk over the queries may begin late, but not later than the first query that sees the block",
)
def keys_under_a_causal_mask(student: Student, draw: Draw) -> None:
    for queries, keys in ((37, 37), (draw.integer(5, 20), draw.integer(35, 50)), (draw.integer(51, 60), 18)):
        run(
            student,
            "dkdv",
            inputs(draw, 1, 1, 1, queries, keys, 16),
            causal=True,
            blocks=draw.choice([(16, 16), (32, 16), (16, 32)]),
        )


@dkdv_kernel.test(
    points=1.5,
    says="keys behind a batch item's length must get gradients of zero, written, and must not disturb the others; the padding itself may hold NaN",
)
def padded_keys_get_nothing(student: Student, draw: Draw) -> None:
    keys = draw.integer(33, 50)
    drawn = inputs(draw, 3, 1, 1, 18, keys, 16)
    run(student, "dkdv", drawn, lengths=[draw.integer(1, 15), 0, draw.integer(17, 31)])
    run(student, "dkdv", drawn, lengths=[draw.integer(1, 15), keys, 20], causal=True)


@dkdv_kernel.test(
    points=2,
    says="a group's keys and values must collect the gradients of all the heads that share them, each once, from the right heads: group g serves heads g·share … (g+1)·share − 1 of its own batch item",
)
def a_group_collects_its_heads(student: Student, draw: Draw) -> None:
    share, groups = draw.choice([2, 3]), draw.choice([2, 3])
    run(student, "dkdv", inputs(draw, 2, share * groups, groups, 9, 17, 16))


@dkdv_kernel.test(
    points=1.5,
    says="the kernel assumes how a tensor lies in memory: q, k, v, dout and dk each have four strides of their own; a gradient that autograd hands over is rarely contiguous",
)
def keys_in_any_layout(student: Student, draw: Draw) -> None:
    drawn = inputs(draw, 2, 2, 2, 7, 19, 16)
    run(student, "dkdv", drawn, layouts=("bnhd", "strided", "transposed", "bnhd"), out_layout="bnhd")
    run(student, "dkdv", drawn, layouts=("strided", "bnhd", "bnhd", "transposed"), out_layout="strided")


@dkdv_kernel.test(
    points=1,
    says="the scale or the base is wrong: lse is natural, exp2 wants log2(e) times the difference, and dk carries the scale once; dv does not",
)
def keys_with_any_scale(student: Student, draw: Draw) -> None:
    drawn = inputs(draw, 1, 1, 1, 17, 19, 16)
    for scale in (draw.choice([0.05, 0.9]), -0.4):
        run(student, "dkdv", drawn, scale=scale)


def halves(draw: Draw, queries: int, keys: int, dim: int) -> Inputs:
    """Half-precision inputs with a gradient from above that never changes its sign, so that sums only grow."""
    q, k, v, dout = inputs(draw, 1, 1, 1, queries, keys, dim)
    return q.half(), k.half(), v.half(), dout.abs().half()


@dkdv_kernel.test(
    points=1,
    says="half-precision inputs fail or lose too much: lse, delta, weights and both sums are float32; weights and dscores are rounded to the dtype of the inputs only where they enter a product, and the sums once when they are stored",
)
def keys_in_half_precision(student: Student, draw: Draw) -> None:
    # 32 blocks of queries: 2.4e-4 with float32 sums, 5e-4 and more where a sum or the scores are float16 on the way
    run(student, "dkdv", halves(draw, 512, 16, 16), scale=1.0, tolerance=3.6e-4)


# ── dQ

dq_kernel = Exercise("dq_kernel")


@dq_kernel.test(
    points=1.5,
    says="one head with full blocks comes out wrong: dq adds scale · (weights · (dout·vᵀ − delta)) · k over the blocks of keys",
)
def queries_of_full_blocks(student: Student, draw: Draw) -> None:
    run(student, "dq", inputs(draw, 1, 1, 1, 32, 48, 16))


@dq_kernel.test(
    points=1,
    says="queries or keys that do not fill a block come out wrong, or something beside dq is overwritten: a key that does not exist must have no weight, and nothing is loaded for it",
)
def queries_at_ragged_ends(student: Student, draw: Draw) -> None:
    run(student, "dq", inputs(draw, 1, 1, 1, draw.integer(17, 31), draw.integer(17, 31), 16))
    run(student, "dq", inputs(draw, 1, 1, 1, draw.integer(1, 7), draw.integer(1, 7), draw.choice([7, 20])))


@dq_kernel.test(
    points=1.5,
    says="the causal mask is wrong: query i sees key j when j ≤ i + keys − queries, and the walk ends where the last query of the block sees no more; a query that sees nothing gets zeros",
)
def queries_under_a_causal_mask(student: Student, draw: Draw) -> None:
    for queries, keys in ((37, 37), (draw.integer(5, 20), draw.integer(35, 50)), (draw.integer(51, 60), 18)):
        # the last: some block holds queries that see nothing and others that do
        run(student, "dq", inputs(draw, 1, 1, 1, queries, keys, 16), causal=True)


@dq_kernel.test(
    points=1,
    says="keys behind a batch item's length still pull at the queries, or another item's length is used; what lies there may be NaN",
)
def padding_pulls_at_nobody(student: Student, draw: Draw) -> None:
    keys = draw.integer(33, 50)
    drawn = inputs(draw, 3, 1, 1, 18, keys, 16)
    run(student, "dq", drawn, lengths=[draw.integer(1, 15), 0, draw.integer(17, 31)])


@dq_kernel.test(
    points=1,
    says="heads, groups or layouts are mixed up: query head h reads group h // share of its own batch item, and each of q, k, v, dout and dq has four strides of its own",
)
def queries_of_every_head(student: Student, draw: Draw) -> None:
    share = draw.choice([2, 3])
    drawn = inputs(draw, 2, 2 * share, 2, 6, 17, 16)
    run(student, "dq", drawn)
    run(student, "dq", drawn, layouts=("bnhd", "strided", "transposed", "bnhd"), out_layout="strided")
    run(student, "dq", drawn, layouts=("strided", "transposed", "bnhd", "transposed"), out_layout="bnhd")


@dq_kernel.test(
    points=1,
    says="the scale or the base is wrong: lse is natural, exp2 wants log2(e) times the difference, and dq carries the scale once",
)
def queries_with_any_scale(student: Student, draw: Draw) -> None:
    drawn = inputs(draw, 1, 1, 1, 17, 19, 16)
    for scale in (draw.choice([0.05, 0.9]), -0.4):
        run(student, "dq", drawn, scale=scale)


@dq_kernel.test(
    points=1,
    says="half-precision inputs fail or lose too much: lse, delta, weights and the sum are float32; dscores are rounded to the dtype of the keys only where they enter the product, and the sum once when it is stored",
)
def queries_in_half_precision(student: Student, draw: Draw) -> None:
    # 32 blocks of keys: at most 4.2e-4 with a float32 sum, 7.3e-4 and more where it or the scores are float16 on the way
    run(student, "dq", halves(draw, 16, 512, 16), scale=0.5, tolerance=5.5e-4)


# ── the function

TritonAttention = Exercise("TritonAttention", forbids=["torch.nn.functional.scaled_dot_product_attention"])


def differentiate(
    student: Student,
    drawn: Inputs,
    *,
    causal: bool = False,
    lengths: list[int] | None = None,
    scale: float = 0.25,
) -> None:
    """Ask PyTorch for the gradients through the student's function."""
    given = None if lengths is None else torch.tensor(lengths)
    q, k, v, dout = drawn
    student.define(HELPERS)
    leaves = [x.clone().requires_grad_() for x in (q, k, v)]
    value, grads = student.gradients("apply", *leaves, causal, given, scale, upstream=dout)
    expected, _ = attention_specification(q.double(), k.double(), v.double(), causal, given, scale)
    agree(value, expected, 3e-6, "out")
    for name, got, exact in zip("qkv", grads, gradients(drawn, causal, given, scale), strict=False):
        check(got is not None, f"no gradient reaches {name}")
        agree(got, exact, TOLERANCE[torch.float32], f"the gradient of {name}")


@TritonAttention.test(
    points=2,
    says="the output or a gradient is wrong without any mask: forward returns out alone and saves what backward reads; backward returns one gradient for each of the six arguments, in their order, and None for the last three",
)
def gradients_flow(student: Student, draw: Draw) -> None:
    differentiate(student, inputs(draw, 2, 2, 2, 17, 19, 16))


@TritonAttention.test(
    points=1.5,
    says="causal, lengths or the scale of the forward pass are not those of the backward pass: keep them in ctx",
)
def options_reach_the_backward_pass(student: Student, draw: Draw) -> None:
    drawn = inputs(draw, 2, 2, 2, 17, 19, 16)
    differentiate(student, drawn, causal=True)
    differentiate(student, drawn, lengths=[draw.integer(1, 18), 19])
    differentiate(student, drawn, scale=draw.choice([0.1, 0.6]))


@TritonAttention.test(
    points=1.5,
    says="the gradient that comes from above is not used as it is: backward gets dout, of any size and sign, and the result is proportional to it",
)
def the_upstream_gradient_counts(student: Student, draw: Draw) -> None:
    q, k, v, dout = inputs(draw, 1, 2, 1, 11, 13, 16)
    differentiate(student, (q, k, v, -3 * dout))
    differentiate(student, (q, k, v, torch.ones_like(dout)))


@TritonAttention.test(
    points=1,
    says="queries that see no key give NaN, in the output or in a gradient",
)
def dead_rows_stay_quiet(student: Student, draw: Draw) -> None:
    differentiate(student, inputs(draw, 2, 1, 1, 33, 9, 16), causal=True, lengths=[0, 9])
