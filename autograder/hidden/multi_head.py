"""Hidden tests of chapter 03, `multi_head`."""

from __future__ import annotations

import torch
from torch import Tensor

from attention_from_scratch import multi_head as reference
from autograder.testing import Draw, Exercise, Question, Student, check, close, presupposes, raises

WHOLE_LAYERS = [
    "torch.nn.MultiheadAttention",
    "torch.nn.functional.multi_head_attention_forward",
    "torch.nn.functional.scaled_dot_product_attention",
]


split_heads = Exercise("split_heads", forbids=WHOLE_LAYERS)


@split_heads.test(
    points=1.5,
    says="numbers of different positions ended up in one row: the result at (b, h, l) may hold only numbers of position l of example b. Cutting the width gives (batch, length, heads, dim); the axes must then be exchanged, and a reshape to the final shape exchanges nothing",
)
def positions_do_not_mix(student: Student, draw: Draw) -> None:
    batch, heads, length, dim = draw.primes(4)
    x = draw.normal(batch, length, heads * dim)
    got = student.split_heads(x, heads=heads)
    check(tuple(got.shape) == (batch, heads, length, dim), f"the shape is {tuple(got.shape)}")
    rows = got.transpose(1, 2).reshape(batch, length, heads * dim)  # what each position owns, in some order
    close(rows.sort(dim=-1).values, x.sort(dim=-1).values, what="the numbers of each position")


@split_heads.test(
    points=1.5,
    says="the slices are cut from the wrong numbers: head h must get the numbers h·dim … (h+1)·dim − 1 of every position, neighbours staying neighbours, and not every heads-th number",
)
def heads_are_slices_of_the_width(student: Student, draw: Draw) -> None:
    batch, heads, length, dim = draw.primes(4)
    x = draw.normal(batch, length, heads * dim)
    probe = student.probe("split_heads", x, heads=heads)
    close(probe.value, reference.split_heads(x, heads=heads))
    close(probe.args[0], x, tolerance=0.0, what="the input after the call")


@split_heads.test(
    points=1,
    says="a number of heads that does not divide the width must be refused with a ValueError, and one that does must not; cutting off what does not fit, or padding, loses or invents numbers in silence",
)
def heads_must_divide(student: Student, draw: Draw) -> None:
    heads, length = draw.choice([3, 5, 7]), draw.integer(1, 5)
    x = draw.normal(2, length, heads * draw.integer(2, 4) + draw.integer(1, heads - 1))
    raises(ValueError, student.split_heads, x, heads=heads)
    student.split_heads(draw.normal(2, length, 2 * heads), heads=heads)


@split_heads.test(
    points=0.5,
    says="the function reads the memory and not the tensor: an input whose numbers are not side by side in memory must give the same result. Use reshape or rearrange where view refuses, and never as_strided with strides of your own",
)
def layout_in_memory_does_not_matter(student: Student, draw: Draw) -> None:
    batch, heads, length, dim = draw.primes(4)
    x = draw.normal(batch, length, heads * dim)
    close(student.split_heads(draw.strided(x), heads=heads), reference.split_heads(x, heads=heads))
    turned = draw.normal(batch, heads * dim, length).transpose(1, 2)
    close(student.split_heads(turned, heads=heads), reference.split_heads(turned, heads=heads))


@split_heads.test(
    points=0.5,
    says="an axis of size one got lost: one example, one position, one head or a head of one number still has its axis, so do not squeeze",
)
def sizes_of_one_keep_their_axis(student: Student, draw: Draw) -> None:
    many = draw.primes(4)
    for axis in range(4):
        batch, heads, length, dim = (1 if i == axis else size for i, size in enumerate(many))
        x = draw.normal(batch, length, heads * dim)
        close(student.split_heads(x, heads=heads), reference.split_heads(x, heads=heads))


@split_heads.test(
    points=1,
    says="no gradient flows back through the split, or it reaches the wrong numbers: move the numbers with tensor operations, without detach, .data, NumPy or no_grad",
)
def gradients_return_to_their_place(student: Student, draw: Draw) -> None:
    batch, heads, length, dim = draw.primes(4)
    x = draw.normal(batch, length, heads * dim)
    upstream = draw.normal(batch, heads, length, dim)
    _, grads = student.gradients("split_heads", x, heads=heads, upstream=upstream)
    close(grads[0], reference.merge_heads(upstream), what="the gradient of x")


merge_heads = Exercise("merge_heads", forbids=WHOLE_LAYERS)


@merge_heads.test(
    points=1.5,
    says="numbers of different positions ended up in one row: row l of the result may hold only what the heads say about position l, so the heads axis must move next to dim before the two are joined",
)
def positions_stay_together(student: Student, draw: Draw) -> None:
    batch, heads, length, dim = draw.primes(4)
    x = draw.normal(batch, heads, length, dim)
    got = student.merge_heads(x)
    check(tuple(got.shape) == (batch, length, heads * dim), f"the shape is {tuple(got.shape)}")
    rows = x.transpose(1, 2).reshape(batch, length, heads * dim)
    close(got.sort(dim=-1).values, rows.sort(dim=-1).values, what="the numbers of each position")


@merge_heads.test(
    points=1,
    says="the heads are joined in the wrong order: all numbers of head 0 come first, then all of head 1, so that merge_heads(split_heads(x, h)) is x again",
)
def merge_undoes_split(student: Student, draw: Draw) -> None:
    batch, heads, length, dim = draw.primes(4)
    x = draw.normal(batch, length, heads * dim)
    probe = student.probe("merge_heads", reference.split_heads(x, heads).contiguous())
    close(probe.value, x)
    close(probe.args[0], reference.split_heads(x, heads), tolerance=0.0, what="the input after the call")


@merge_heads.test(
    points=0.5,
    says="the function works for one layout in memory only: it must give the same result whether its input was just transposed, sliced or copied",
)
def layout_in_memory_does_not_matter_to_merge(student: Student, draw: Draw) -> None:
    batch, heads, length, dim = draw.primes(4)
    x = draw.normal(batch, heads, length, dim)
    close(student.merge_heads(draw.strided(x)), reference.merge_heads(x))
    turned = draw.normal(batch, length, heads, dim).transpose(1, 2)
    close(student.merge_heads(turned), reference.merge_heads(turned))


@merge_heads.test(
    points=0.5,
    says="an axis of size one got lost or swallowed another: the result always has three axes, (batch, length, heads · dim)",
)
def merged_sizes_of_one_keep_their_axis(student: Student, draw: Draw) -> None:
    many = draw.primes(4)
    for axis in range(4):
        x = draw.normal(*(1 if i == axis else size for i, size in enumerate(many)))
        close(student.merge_heads(x), reference.merge_heads(x))


@merge_heads.test(
    points=0.5,
    says="no gradient flows back through the merge, or it reaches the wrong head: move the numbers with tensor operations, without detach, .data, NumPy or no_grad",
)
def gradients_return_to_their_head(student: Student, draw: Draw) -> None:
    batch, heads, length, dim = draw.primes(4)
    x = draw.normal(batch, heads, length, dim)
    upstream = draw.normal(batch, length, heads * dim)
    _, grads = student.gradients("merge_heads", x, upstream=upstream)
    close(grads[0], reference.split_heads(upstream, heads), what="the gradient of x")


multi_head_attention = Exercise("MultiHeadAttention", forbids=WHOLE_LAYERS)


def drawn_state(draw: Draw, layer: torch.nn.Module, scale: float = 1.0) -> dict[str, Tensor]:
    """Random weights and biases for a layer, of a size that keeps its numbers near 1."""
    return {
        name: draw.normal(*p.shape, dtype=torch.float32)
        * scale
        / p.shape[-1] ** (0.5 if p.ndim == 2 else 0.0)
        for name, p in layer.state_dict().items()
    }


def pair(student: Student, draw: Draw, width: int, heads: int):
    """The student's layer and the reference layer with the same drawn weights."""
    ours = reference.MultiHeadAttention(width, heads)
    state = drawn_state(draw, ours)
    ours.load_state_dict(state)
    theirs = student.MultiHeadAttention(d_model=width, heads=heads)
    theirs.load_state_dict(state)
    return theirs, ours


def float32(draw: Draw, *shape: int) -> Tensor:
    """Standard normal float32 values."""
    return draw.normal(*shape, dtype=torch.float32)


@multi_head_attention.test(
    points=1,
    says="the parameters are not those of the exercise: four linear layers with biases, named query, key, value and output, each from d_model to d_model, whatever the number of heads",
)
def four_square_projections(student: Student, draw: Draw) -> None:
    heads, dim = draw.primes(2)
    layer = student.MultiHeadAttention(d_model=heads * dim, heads=heads)
    got = {name: tuple(value.shape) for name, value in layer.parameters().items()}
    ours = reference.MultiHeadAttention(heads * dim, heads)
    expected = {name: tuple(value.shape) for name, value in ours.named_parameters()}
    check(got == expected, f"the parameters are {got}, expected {expected}")
    theirs, ours = pair(student, draw, heads * dim, heads)
    x, memory = float32(draw, 2, 3, heads * dim), float32(draw, 2, 5, heads * dim)
    presupposes(theirs(x, memory), ours(x, memory))


@multi_head_attention.test(
    points=1.5,
    says="cross-attention is wrong: only the queries come from the first argument, keys and values both come from the memory, whose length may be another; the result has one row a query",
)
def keys_and_values_come_from_the_memory(student: Student, draw: Draw) -> None:
    batch, dim, queries, keys = draw.primes(4)
    theirs, ours = pair(
        student, draw, width=dim, heads=1
    )  # one head: splitting and merging cannot be at fault
    x, memory = float32(draw, batch, queries, dim), float32(draw, batch, keys, dim)
    close(theirs(x, memory), ours(x, memory))


@multi_head_attention.test(
    points=1,
    says="the weights of a query do not sum to one over the keys of its own example: softmax must run over the last axis of the scores, not over the queries, the heads or the batch. When every row of the memory is the same, its values must come out unchanged",
)
def weights_sum_to_one_over_the_keys(student: Student, draw: Draw) -> None:
    batch, heads, queries, keys = draw.primes(4)
    width = heads * draw.integer(2, 4)
    theirs, ours = pair(student, draw, width, heads)
    x = float32(draw, batch, queries, width)
    memory = float32(draw, batch, 1, width).expand(batch, keys, width).contiguous()
    expected = ours.output(ours.value(memory[:, :1])).expand(batch, queries, width)
    close(theirs(x, memory), expected)


@multi_head_attention.test(
    points=1.5,
    says="the scores have the wrong size: each head compares vectors of d_model / heads numbers, so its scores are divided by the root of that head width, not by the root of d_model, and not left undivided",
)
def scores_are_scaled_by_the_head_width(student: Student, draw: Draw) -> None:
    batch, heads, keys = draw.primes(3)
    width = heads * draw.integer(2, 5)
    theirs, ours = pair(student, draw, width, heads)
    state = ours.state_dict() | {
        "query.weight": 2 * ours.query.weight.detach(),
        "key.weight": 2 * ours.key.weight.detach(),
    }
    theirs.load_state_dict(state)
    ours.load_state_dict(state)
    x, memory = float32(draw, batch, 1, width), float32(draw, batch, keys, width)
    close(theirs(x, memory), ours(x, memory))


@multi_head_attention.test(
    points=1.5,
    says="the heads are cut or joined wrongly: with equal weights every head must give the mean of its own slice of the values, and the slices must come back in order, before the output layer mixes them",
)
def every_head_reads_its_own_slice(student: Student, draw: Draw) -> None:
    batch, heads, queries, keys = draw.primes(4)
    width = heads * draw.integer(2, 5)
    theirs, ours = pair(student, draw, width, heads)
    blind = {name: 0 * p if name.startswith("query") else p for name, p in ours.state_dict().items()}
    theirs.load_state_dict(blind)
    x, memory = float32(draw, batch, queries, width), float32(draw, batch, keys, width)
    expected = ours.output(ours.value(memory).mean(dim=1, keepdim=True)).expand(batch, queries, width)
    close(theirs(x, memory), expected)


@multi_head_attention.test(
    points=1,
    says="examples of a batch influence each other: an example must get the same answer alone as in any batch",
)
def examples_do_not_mix(student: Student, draw: Draw) -> None:
    batch, heads, queries, keys = draw.primes(4)
    width = heads * draw.integer(2, 4)
    theirs, ours = pair(student, draw, width, heads)
    x, memory = float32(draw, batch, queries, width), float32(draw, batch, keys, width)
    together = theirs(x, memory)
    for i in (0, batch - 1):
        close(theirs(x[i : i + 1], memory[i : i + 1]), together[i : i + 1], what=f"example {i} alone")
    close(together, ours(x, memory))


@multi_head_attention.test(
    points=0.5,
    says="a width that the heads do not divide must be refused with a ValueError when the layer is made, before any data arrives, and a layer whose heads divide the width must work",
)
def layer_refuses_heads_that_do_not_divide(student: Student, draw: Draw) -> None:
    heads = draw.choice([2, 3, 5])
    width = heads * draw.integer(1, 4) + draw.integer(1, heads - 1)
    raises(ValueError, student.MultiHeadAttention, d_model=width, heads=heads)
    theirs, ours = pair(student, draw, 2 * heads, heads)
    x = float32(draw, 2, 3, 2 * heads)
    presupposes(theirs(x, x), ours(x, x))


@multi_head_attention.test(
    points=1,
    says="the layer does not train: a gradient must reach all eight parameters and both arguments, also for inputs that are not contiguous in memory, and the arguments must not be changed",
)
def gradients_reach_everything(student: Student, draw: Draw) -> None:
    batch, heads, queries, keys = draw.primes(4)
    width = heads * draw.integer(2, 4)
    theirs, ours = pair(student, draw, width, heads)
    x, memory = float32(draw, batch, queries, width), float32(draw, batch, keys, width)
    upstream = float32(draw, batch, queries, width)
    value, grads, by_name = theirs.gradients(draw.strided(x), draw.strided(memory), upstream=upstream)
    leaves = [x.clone().requires_grad_(), memory.clone().requires_grad_()]
    expected = ours(*leaves)
    (expected * upstream).sum().backward()
    # gradients of parameters are sums over batch · length terms: ten times the room of a single result
    close(value, expected.detach())
    close(grads, [leaf.grad for leaf in leaves], tolerance=2e-4, what="the gradients of the arguments")
    names = {name: p.grad for name, p in ours.named_parameters()}
    close(by_name, names, tolerance=2e-4, what="the gradients of the parameters")


unpack_projections = Exercise("unpack_projections", forbids=WHOLE_LAYERS)


def packed_state(draw: Draw, width: int) -> dict[str, Tensor]:
    """A state of `nn.MultiheadAttention` with drawn numbers."""
    return {
        "in_proj_weight": draw.normal(3 * width, width),
        "in_proj_bias": draw.normal(3 * width),
        "out_proj.weight": draw.normal(width, width),
        "out_proj.bias": draw.normal(width),
    }


@unpack_projections.test(
    points=0.5,
    says="the result does not fit MultiHeadAttention.load_state_dict: it needs exactly query, key, value and output, each with .weight of shape (width, width) and .bias of shape (width,)",
)
def has_the_names_and_shapes_of_our_layer(student: Student, draw: Draw) -> None:
    width = draw.integer(2, 9)
    packed = packed_state(draw, width)
    got = student.unpack_projections(packed)
    ours = reference.MultiHeadAttention(width, 1).state_dict()
    check(isinstance(got, dict), f"the result is a {type(got).__name__}")
    shapes = {name: tuple(value.shape) for name, value in got.items()}
    expected = {name: tuple(value.shape) for name, value in ours.items()}
    check(shapes == expected, f"the entries are {shapes}")
    numbers, given = (
        torch.cat([value.flatten() for value in values.values()]).sort().values for values in (got, packed)
    )
    presupposes(numbers, given)  # all the numbers are there, wherever they went


@unpack_projections.test(
    points=1.5,
    says="the thirds went to the wrong projections or were turned: in_proj_weight holds the rows of query, then key, then value, stacked along its first axis, and no transpose is needed because both sides are linear layers",
)
def thirds_are_query_key_value(student: Student, draw: Draw) -> None:
    packed = packed_state(draw, draw.integer(2, 9))
    close(student.unpack_projections(packed), reference.unpack_projections(packed))


@unpack_projections.test(
    points=1,
    says="the dictionary that came in must be as it was: it may belong to a layer that is still in use, so build a new one and take nothing out of the old",
)
def the_packed_state_is_left_alone(student: Student, draw: Draw) -> None:
    packed = packed_state(draw, draw.integer(2, 9))
    before = {name: value.clone() for name, value in packed.items()}
    probe = student.probe("unpack_projections", packed)
    close(probe.args[0], before, tolerance=0.0, what="the packed state after the call")
    presupposes(probe.value, reference.unpack_projections(before))


grouped_query_attention = Exercise("grouped_query_attention", forbids=WHOLE_LAYERS)


def grouped(draw: Draw, groups: int, share: int) -> tuple[Tensor, Tensor, Tensor]:
    """Queries of `groups · share` heads, keys and values of `groups` heads; all other sizes differ."""
    batch, queries, keys = draw.primes(3)
    dim = draw.integer(2, 6)
    value_dim = dim + draw.integer(1, 3)
    return (
        draw.normal(batch, groups * share, queries, dim),
        draw.normal(batch, groups, keys, dim),
        draw.normal(batch, groups, keys, value_dim),
    )


@grouped_query_attention.test(
    points=2,
    says="query heads read the wrong keys: neighbours share, so with s = heads / groups the heads 0 … s−1 read group 0 and the next s read group 1. Repeating the whole stack of groups (0, 1, 0, 1, …) deals them out like cards instead",
)
def neighbouring_heads_share_a_group(student: Student, draw: Draw) -> None:
    groups, share = draw.primes(2)
    q, k, v = grouped(draw, groups, share)
    close(student.grouped_query_attention(q, k, v), reference.grouped_query_attention(q, k, v))


@grouped_query_attention.test(
    points=1,
    says="the two ends of the scale are wrong: as many groups as heads must give multi-head attention, and a single group must serve all heads",
)
def ends_are_multi_head_and_multi_query(student: Student, draw: Draw) -> None:
    heads = draw.integer(2, 5)
    for groups, share in ((heads, 1), (1, heads)):
        q, k, v = grouped(draw, groups, share)
        expected = reference.attention(q, k.expand(-1, heads, -1, -1), v.expand(-1, heads, -1, -1))
        close(student.grouped_query_attention(q, k, v), expected)


@grouped_query_attention.test(
    points=1,
    says="groups that do not divide the heads must be refused with a ValueError, or some heads would be left without keys",
)
def groups_must_divide(student: Student, draw: Draw) -> None:
    q, k, v = grouped(draw, draw.integer(2, 4), 2)
    raises(ValueError, student.grouped_query_attention, q[:, 1:], k, v)
    student.grouped_query_attention(q, k, v)


@grouped_query_attention.test(
    points=1,
    says="examples of a batch influence each other, or all use the keys of the first one: each example has keys and values of its own",
)
def each_example_has_its_own_keys(student: Student, draw: Draw) -> None:
    q, k, v = grouped(draw, draw.integer(2, 3), draw.integer(2, 3))
    last = slice(len(q) - 1, len(q))
    alone = student.grouped_query_attention(q[last], k[last], v[last])
    close(alone, reference.grouped_query_attention(q, k, v)[last])
    close(student.grouped_query_attention(q, k, v)[last], alone, what="the last example in its batch")


@grouped_query_attention.test(
    points=1,
    says="the gradient of a shared key or value head must be the sum over all query heads that read it, and inputs that are not contiguous in memory must work too",
)
def shared_heads_collect_their_gradients(student: Student, draw: Draw) -> None:
    q, k, v = grouped(draw, draw.integer(2, 3), draw.integer(2, 3))
    upstream = draw.normal(*q.shape[:-1], v.shape[-1])
    strided = [draw.strided(t) for t in (q, k, v)]
    value, grads = student.gradients("grouped_query_attention", *strided, upstream=upstream)
    leaves = [t.clone().requires_grad_() for t in (q, k, v)]
    expected = reference.grouped_query_attention(*leaves)
    (expected * upstream).sum().backward()
    close(value, expected.detach())
    close(grads, [leaf.grad for leaf in leaves], what="the gradients of q, k, v")


self_attention = Exercise("SelfAttention", forbids=WHOLE_LAYERS)


def repaired(student: Student, draw: Draw, width: int, heads: int):
    """The student's repaired layer and ours, with the same drawn weights."""
    ours = reference.SelfAttention(width, heads)
    state = drawn_state(draw, ours)
    ours.load_state_dict(state)
    theirs = student.SelfAttention(width=width, heads=heads)
    theirs.load_state_dict(state)
    return theirs, ours


@self_attention.test(
    points=1,
    says="the class still does not run by itself: every name it uses must be imported, an argument, or an attribute, and it must keep the parameters project and mix",
)
def runs_by_itself(student: Student, draw: Draw) -> None:
    batch, heads, length, dim = draw.primes(4)
    theirs, ours = repaired(student, draw, heads * dim, heads)
    longer = float32(draw, batch + 1, length + 1, heads * dim)
    x = float32(draw, batch, length, heads * dim)
    for given in (longer, x):  # two sizes: one alone might be the size that somebody wrote into the class
        out = theirs(given)
        check(out.shape == given.shape, f"the shape is {tuple(out.shape)} and not {tuple(given.shape)}")
    # with every query at zero the weights are equal, so this holds whatever the scale of the scores is
    state = {name: value.clone() for name, value in ours.state_dict().items()}
    for name in ("project.weight", "project.bias"):
        state[name][: heads * dim] = 0
    theirs.load_state_dict(state)
    mean = ours.project(x)[..., 2 * heads * dim :].mean(dim=1, keepdim=True)
    presupposes(theirs(x), ours.mix(mean).expand_as(x))


@self_attention.test(
    points=1,
    says="a width of 3 still goes into 2 heads: the constructor must raise a ValueError when the heads do not divide the width, instead of rounding down",
)
def refuses_what_does_not_divide(student: Student, draw: Draw) -> None:
    heads = draw.choice([2, 3, 5])
    raises(ValueError, student.SelfAttention, width=heads + 1, heads=heads)
    raises(ValueError, student.SelfAttention, width=heads * draw.integer(2, 4) + 1, heads=heads)
    theirs, ours = repaired(student, draw, 2 * heads, heads)
    x = float32(draw, 2, 3, 2 * heads)
    presupposes(theirs(x), ours(x))


@self_attention.test(
    points=1,
    says="the softmax runs over the wrong axis: it must be told dim=-1, the keys. Told nothing, PyTorch picks an axis by an old rule, and for three axes that is the first, where the examples and heads lie",
)
def softmax_names_the_axis_of_the_keys(student: Student, draw: Draw) -> None:
    batch, heads, length = draw.primes(3)
    width = heads * draw.integer(2, 4)
    theirs, ours = repaired(student, draw, width, heads)
    state = {name: value.clone() for name, value in ours.state_dict().items()}
    state["project.weight"][width : 2 * width] = 0  # all keys are alike, so every query weighs them equally
    theirs.load_state_dict(state)
    x = float32(draw, batch, length, width)
    value = ours.project(x)[..., 2 * width :]
    close(theirs(x), ours.mix(value.mean(dim=1, keepdim=True).expand_as(value)))


@self_attention.test(
    points=1.5,
    says="the heads are not cut from, or not put back into, the right places: undo the exchange of axes before joining heads and dim. With equal weights every position must get the mean of the values, slice by slice in order",
)
def heads_come_back_in_their_places(student: Student, draw: Draw) -> None:
    batch, heads, length = draw.primes(3)
    width = heads * draw.integer(2, 4)
    theirs, ours = repaired(student, draw, width, heads)
    state = {name: value.clone() for name, value in ours.state_dict().items()}
    state["project.weight"][:width] = 0  # all queries are 0, so all weights are equal
    state["project.bias"][:width] = 0
    theirs.load_state_dict(state)
    x = float32(draw, batch, length, width)
    value = ours.project(x)[..., 2 * width :]
    close(theirs(x), ours.mix(value.mean(dim=1, keepdim=True)).expand(batch, length, width))


@self_attention.test(
    points=1.5,
    says="the numbers still differ from attention with the same weights: the scores of a head are divided by the root of its own width, width / heads, and project gives queries, keys and values in this order",
)
def gives_the_right_numbers(student: Student, draw: Draw) -> None:
    batch, heads, length = draw.primes(3)
    width = heads * draw.integer(2, 5)
    theirs, ours = repaired(student, draw, width, heads)
    x = 2 * float32(draw, batch, length, width)
    close(theirs(x), ours(x))
    _, grads, _ = theirs.gradients(draw.strided(x))
    leaf = x.clone().requires_grad_()
    ours(leaf).sum().backward()
    close(grads[0], leaf.grad, tolerance=2e-4, what="the gradient of x")


QUESTIONS = [
    Question(
        "many_heads_few_needed",
        points=4,
        answer=(
            "There is no contradiction. Our measurement is about what a layer can compute: with one set of weights "
            "a query reads one average, and a task that needs two different averages at once is out of reach at any "
            "width. The finding of Michel et al. is about what trained layers happen to use: after training, many "
            "heads read nearly the same thing, or something that the residual path and other layers can replace, so "
            "removing them changes little. That a task needs two heads somewhere does not say that every layer needs "
            "sixteen. Also, they removed heads after training; training with one head from the start is another "
            "experiment, since spare heads may make the search easier. Before removing heads I would measure the "
            "quality on held-out data with each head removed alone and then in groups, since two heads may be able "
            "to stand in for each other but not both be spared, over several seeds, and on the rare cases that the "
            "average hides; and the time saved, since a removed head must make something faster to be worth it."
        ),
        rubric=(
            "1 point: says that one head gives one weighted average a query, so that some tasks are out of its reach "
            "(capacity). 1 point: says that Michel et al. removed heads of trained models, and that these were "
            "redundant there (use, not capacity), so both can be true. 1 point: sees that heads can stand in for each "
            "other, so that effects of single removals do not add up, or that removing after training differs from "
            "training without. 1 point: names a measurement on held-out data that would decide, with what is compared."
        ),
    )
]
