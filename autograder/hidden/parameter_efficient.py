"""Hidden tests of chapter 14, `parameter_efficient`."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor, nn

from attention_from_scratch import parameter_efficient as reference
from autograder.testing import Draw, Exercise, Question, Student, check, close, presupposes, raises

READY_MADE = ["peft", "torch.nn.utils.parametrize", "torch.nn.utils.parametrizations", "loralib"]
GRADIENT = 1e-9  # everything here is float64 and small: the tolerance of a single result

HELPERS = '''
import torch
from torch import nn

def frozen_linear_for_a_test(inputs, outputs, bias=True):
    """A linear layer of a test, float64."""
    return nn.Linear(inputs, outputs, bias=bias, dtype=torch.float64)

def double_for_a_test(module):
    """A module in float64."""
    return module.double()

def steps_for_a_test(layer, inputs, upstreams, beta1, beta2):
    """Several backward passes, each followed by update_importance; the parameters stay as they are."""
    for x, upstream in zip(inputs, upstreams):
        layer.zero_grad()
        (layer(x) * upstream).sum().backward()
        layer.update_importance(beta1, beta2)
    return layer.importance()

def inputs_after_a_call_for_a_test(layer, *inputs):
    """What the inputs of a call are afterwards."""
    layer(*inputs)
    return list(inputs)

def held_by_an_optimizer_for_a_test(layer, keep):
    """What an optimiser that was made before the pruning holds as Lambda afterwards."""
    held = layer.Lambda
    layer.prune(keep)
    return held.detach()

def trainable_names_for_a_test(layer):
    """The names of the parameters that are trained."""
    return [name for name, parameter in layer.named_parameters() if parameter.requires_grad]
'''


def drawn_state(draw: Draw, shapes: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Random float64 numbers for parameters of these shapes, of a size that keeps results near 1."""
    return {
        name: draw.normal(*value.shape) / (value.shape[-1] ** 0.5 if value.ndim == 2 else 1)
        for name, value in shapes.items()
    }


def same_shapes(theirs: Any, ours: nn.Module) -> None:
    """The student's parameters have the names and shapes of ours."""
    got = {name: tuple(value.shape) for name, value in theirs.parameters().items()}
    expected = {name: tuple(value.shape) for name, value in ours.named_parameters()}
    check(got == expected, f"the parameters are {got}, expected {expected}")


def same_gradients(theirs: Any, ours: nn.Module, draw: Draw, x: Tensor) -> None:
    """Value, gradient of x and gradients of all trained parameters agree, for a strided x."""
    expected_leaf = x.clone().requires_grad_()
    expected = ours(expected_leaf)
    upstream = draw.normal(*expected.shape)
    value, grads, by_name = theirs.gradients(draw.strided(x), upstream=upstream)
    (expected * upstream).sum().backward()
    close(value, expected.detach())
    close(grads[0], expected_leaf.grad, tolerance=GRADIENT, what="the gradient of x")
    names = {name: p.grad for name, p in ours.named_parameters() if p.requires_grad}
    close(by_name, names, tolerance=GRADIENT, what="the gradients of the parameters")


# --- Adapter

adapter = Exercise("Adapter", forbids=READY_MADE)


def adapter_pair(
    student: Student, draw: Draw, width: int, bottleneck: int, activation: str
) -> tuple[Any, Any]:
    """The student's adapter and ours with the same drawn numbers, in float64."""
    ours = reference.Adapter(width, bottleneck, activation).double()
    state = drawn_state(draw, dict(ours.named_parameters()))
    ours.load_state_dict(state)
    student.define(HELPERS)
    theirs = student.double_for_a_test(
        student.Adapter(width=width, bottleneck=bottleneck, activation=activation)
    )
    theirs.load_state_dict(state)
    return theirs, ours


@adapter.test(
    points=1,
    says="the parameters are not those of the exercise: two linear layers with biases, down from width to bottleneck and up from bottleneck to width",
)
def two_layers_down_and_up(student: Student, draw: Draw) -> None:
    width, bottleneck = draw.primes(2)
    theirs, ours = adapter_pair(student, draw, width, bottleneck, "gelu")
    same_shapes(theirs, ours)
    x = draw.normal(1, 1, width)
    presupposes(theirs(x), ours(x))


@adapter.test(
    points=1.5,
    says="a new adapter changes what passes through: weight and bias of up start at zero, so that x comes out as it came in and training starts from the pretrained model",
)
def begins_as_the_identity(student: Student, draw: Draw) -> None:
    width, bottleneck = draw.primes(2)
    fresh = student.Adapter(width=width, bottleneck=bottleneck, activation="gelu")
    x = draw.normal(3, 2, width, dtype=torch.float32)
    close(fresh(x), x, tolerance=0.0, what="what comes out of a new adapter")
    theirs, ours = adapter_pair(student, draw, width, bottleneck, "gelu")
    presupposes(theirs(x.double()), ours(x.double()))


@adapter.test(
    points=1,
    says="a new adapter cannot learn: with the weights of down and of up both at zero, neither ever gets a gradient. Only up starts at zero, down starts as nn.Linear does",
)
def learns_from_its_first_step(student: Student, draw: Draw) -> None:
    width, bottleneck = draw.choice([11, 13, 17]), draw.choice([5, 7])
    student.define(HELPERS)
    fresh = student.double_for_a_test(student.Adapter(width=width, bottleneck=bottleneck, activation="gelu"))
    x, upstream = draw.normal(7, width), draw.normal(7, width)
    ours = reference.Adapter(width, bottleneck, "gelu").double()
    ours.load_state_dict(fresh.state_dict())
    (ours(x) * upstream).sum().backward()
    _, _, grads = fresh.gradients(x, upstream=upstream)
    close(grads["up.weight"], ours.up.weight.grad, what="the gradient of up.weight")
    check(grads["up.weight"].abs().max() > 1e-3, "the gradient of up.weight is zero")


@adapter.test(
    points=1.5,
    says="the adapter computes something else than x + up(activation(down(x))): the activation stands between the two layers, and x itself is added, once, to what up returns, as a new tensor and not into the one that came in",
)
def adds_the_small_network_to_x(student: Student, draw: Draw) -> None:
    for name in ("gelu", "relu"):
        batch, length, width, bottleneck = draw.primes(4)
        theirs, ours = adapter_pair(student, draw, width, bottleneck, name)
        x = draw.normal(batch, length, width)
        probe = theirs(x)
        close(probe, ours(x), what=f"the result with {name}")
        close(theirs(x[0, 0]), ours(x[0, 0]), what="one position without batch and length")
        after = student.inputs_after_a_call_for_a_test(theirs, x)
        close(after, [x], tolerance=0.0, what="x after the call")


@adapter.test(
    points=0.5,
    says="the gradients are wrong: they flow to x along both ways, around the small network and through it, and to all four parameters, also for inputs that do not lie contiguously in memory",
)
def gradients_flow_around_and_through(student: Student, draw: Draw) -> None:
    batch, length, width, bottleneck = draw.primes(4)
    theirs, ours = adapter_pair(student, draw, width, bottleneck, "gelu")
    same_gradients(theirs, ours, draw, draw.normal(batch, length, width))


@adapter.test(
    points=0.5,
    says="a bottleneck of less than one number and an unknown activation must be refused with a ValueError when the adapter is made; a bottleneck of one must work",
)
def refuses_no_bottleneck(student: Student, draw: Draw) -> None:
    width = draw.choice([3, 5])
    raises(ValueError, student.Adapter, width=width, bottleneck=0, activation="relu")
    raises(ValueError, student.Adapter, width=width, bottleneck=2, activation="softmaxx")
    theirs, ours = adapter_pair(student, draw, width, 1, "gelu")
    x = draw.normal(2, 3, width)
    presupposes(theirs(x), ours(x))


# --- PrefixKV

prefix_kv = Exercise("PrefixKV", forbids=READY_MADE)


def prefix_pair(student: Student, draw: Draw, length: int, heads: int, dim: int) -> tuple[Any, Any]:
    """The student's prefix and ours with the same drawn numbers, in float64."""
    ours = reference.PrefixKV(length, heads * dim, heads, 1.0).double()
    state = {name: draw.normal(*value.shape) for name, value in ours.named_parameters()}
    ours.load_state_dict(state)
    student.define(HELPERS)
    made = student.PrefixKV(length=length, width=heads * dim, heads=heads, std=1.0)
    theirs = student.double_for_a_test(made)
    theirs.load_state_dict(state)
    return theirs, ours


def text(draw: Draw, batch: int, heads: int, keys: int, dim: int) -> tuple[Tensor, Tensor]:
    """Keys and values of a text."""
    return draw.normal(batch, heads, keys, dim), draw.normal(batch, heads, keys, dim)


def broadcast(mask: Any, shape: tuple[int, ...]) -> Tensor:
    """A mask in full size; one that does not broadcast fails the test."""
    check(isinstance(mask, Tensor), "the mask came back as no tensor")
    fits = len(mask.shape) <= 4 and all(
        one in (1, size) for one, size in zip(mask.shape[::-1], shape[::-1], strict=False)
    )
    check(fits, f"the mask has the shape {tuple(mask.shape)}, which does not broadcast to {shape}")
    return mask.expand(shape)


@prefix_kv.test(
    points=1,
    says="the parameters are not those of the exercise: keys and values, each of the shape (length, width), normal numbers with mean 0 and the standard deviation that was given",
)
def learns_keys_and_values(student: Student, draw: Draw) -> None:
    length, heads, dim = draw.primes(3)
    theirs, ours = prefix_pair(student, draw, length, heads, dim)
    same_shapes(theirs, ours)
    std = draw.choice([0.02, 0.5, 2.0])
    many = student.PrefixKV(length=80, width=60, heads=3, std=std).parameters()
    for name in ("keys", "values"):  # 4,800 numbers: mean and deviation are within 8 % of std by many sigmas
        measured = many[name].double().std().item()
        check(
            abs(measured / std - 1) < 0.08, f"the standard deviation of {name} is {measured:.3g}, not {std}"
        )
        check(abs(many[name].double().mean().item()) < 0.08 * std, f"the mean of {name} is not 0")
    k, v = text(draw, 2, heads, 3, dim)
    presupposes(theirs(k, v, None), ours(k, v, None))


@prefix_kv.test(
    points=2,
    says="the prefix is not where it belongs: it stands before the keys (and values) of the text along the axis of positions, its keys with the keys and its values with the values, the same for every example",
)
def stands_before_the_text(student: Student, draw: Draw) -> None:
    batch, keys, length, dim = draw.primes(4)
    theirs, ours = prefix_pair(student, draw, length, 1, dim)  # one head: its slicing cannot be at fault
    k, v = text(draw, batch, 1, keys, dim)
    close(list(theirs(k, v, None))[:2], list(ours(k, v, None))[:2], what="keys and values")


@prefix_kv.test(
    points=1,
    says="the prefix is cut into heads wrongly: head h gets the numbers h·dim … (h+1)·dim − 1 of every position of the prefix, as split_heads does it",
)
def is_cut_into_heads_like_the_text(student: Student, draw: Draw) -> None:
    heads, keys, length, dim = draw.primes(4)
    theirs, ours = prefix_pair(student, draw, length, heads, dim)
    k, v = text(draw, 2, heads, keys, dim)
    close(list(theirs(k, v, None))[:2], list(ours(k, v, None))[:2], what="keys and values")
    close(list(theirs(draw.strided(k), draw.strided(v), None))[:2], list(ours(k, v, None))[:2])


@prefix_kv.test(
    points=2,
    says="the mask does not fit the longer keys: it gets as many columns more as the prefix has positions, in front, all True, since every query may look at the prefix, and what it said of the text stays at its key",
)
def mask_grows_in_front(student: Student, draw: Draw) -> None:
    batch, queries, keys, length = draw.primes(4)
    heads, dim = 2, 3
    theirs, ours = prefix_pair(student, draw, length, heads, dim)
    k, v = text(draw, batch, heads, keys, dim)
    for shape in (
        (queries, keys),
        (batch, 1, queries, keys),
        (batch, heads, queries, keys),
        (batch, 1, 1, keys),
    ):
        mask = draw.uniform(*shape) < 0.5
        mask[..., 0] = False  # something of the text is hidden whatever is drawn
        probe = theirs(k, v, mask)
        wide = (batch, heads, queries, length + keys)
        close(
            broadcast(probe[2], wide),
            ours(k, v, mask)[2].expand(wide),
            what=f"the mask that was {shape}, broadcast",
        )
        close(list(probe[:2]), list(ours(k, v, mask)[:2]), what="keys and values")
        after = student.inputs_after_a_call_for_a_test(theirs, k, v, mask)
        close(after, [k, v, mask], tolerance=0.0, what="keys, values and mask after the call")


@prefix_kv.test(
    points=0.5,
    says="a mask of None, which hides nothing, must stay None, or become one that hides nothing",
)
def no_mask_stays_none(student: Student, draw: Draw) -> None:
    heads, keys, length, dim = draw.primes(4)
    theirs, ours = prefix_pair(student, draw, length, heads, dim)
    k, v = text(draw, 1, heads, keys, dim)
    got, expected = theirs(k, v, None), ours(k, v, None)
    check(isinstance(got, tuple | list) and len(got) == 3, "the result is not keys, values and mask")
    hides_nothing = got[2] is None or (
        isinstance(got[2], Tensor)
        and got[2].dtype == torch.bool
        and got[2].shape[-1] == length + keys
        and got[2].all()
    )
    check(bool(hides_nothing), f"the mask is {got[2]!r}")
    presupposes(list(got[:2]), list(expected[:2]))


@prefix_kv.test(
    points=1,
    says="the prefix does not learn: gradients must reach its keys and its values, summed over all examples, and flow on to the keys and values of the text",
)
def gradients_reach_the_prefix(student: Student, draw: Draw) -> None:
    batch, keys, length, dim = draw.primes(4)
    heads = 2
    theirs, ours = prefix_pair(student, draw, length, heads, dim)
    k, v = text(draw, batch, heads, keys, dim)
    ups = (draw.normal(batch, heads, length + keys, dim), draw.normal(batch, heads, length + keys, dim), None)
    value, grads, by_name = theirs.gradients(k, v, None, upstream=ups)
    leaves = [k.clone().requires_grad_(), v.clone().requires_grad_()]
    expected = ours(*leaves, None)
    sum((one * up).sum() for one, up in zip(expected[:2], ups[:2], strict=True)).backward()
    close(list(value[:2]), [one.detach() for one in expected[:2]])
    close(grads, [leaf.grad for leaf in leaves], tolerance=GRADIENT, what="the gradients of k and v")
    close(by_name, {n: p.grad for n, p in ours.named_parameters()}, tolerance=GRADIENT, what="the gradients")


@prefix_kv.test(
    points=0.5,
    says="a width that the heads do not divide must be refused with a ValueError when the prefix is made, and one that they divide must work",
)
def prefix_refuses_heads_that_do_not_divide(student: Student, draw: Draw) -> None:
    heads = draw.choice([2, 3, 5])
    raises(ValueError, student.PrefixKV, length=3, width=heads * draw.integer(1, 4) + 1, heads=heads, std=0.1)
    theirs, ours = prefix_pair(student, draw, 2, heads, 3)
    k, v = text(draw, 2, heads, 5, 3)
    presupposes(theirs(k, v, None), ours(k, v, None))


# --- LoRALinear

lora = Exercise("LoRALinear", forbids=READY_MADE)


def lora_pair(
    student: Student, draw: Draw, inputs: int, outputs: int, rank: int, alpha: float, fresh: bool = False
) -> tuple[Any, Any]:
    """The student's layer and ours in float64; with drawn A and B, or (fresh) with the student's own first ones."""
    student.define(HELPERS)
    base, theirs_base = (
        nn.Linear(inputs, outputs, dtype=torch.float64),
        student.frozen_linear_for_a_test(inputs, outputs),
    )
    weights = drawn_state(draw, dict(base.named_parameters()))
    base.load_state_dict(weights)
    theirs_base.load_state_dict(weights)
    theirs = student.LoRALinear(theirs_base, rank=rank, alpha=alpha, dropout=0.0)
    ours = reference.LoRALinear(base, rank, alpha, 0.0)
    if fresh:
        state = theirs.state_dict()
    else:
        state = weights_of(ours, draw, weights)
        theirs.load_state_dict(state)
    ours.load_state_dict(state)
    return theirs, ours


def weights_of(ours: nn.Module, draw: Draw, base: dict[str, Tensor]) -> dict[str, Tensor]:
    """Drawn parameters for a layer that holds a base with these."""
    own = {name: p for name, p in ours.named_parameters() if not name.startswith("base.")}
    return drawn_state(draw, own) | {f"base.{name}": value for name, value in base.items()}


def sizes(draw: Draw) -> tuple[int, int, int]:
    """Inputs, outputs and a smaller rank of at least 2."""
    inputs, outputs = draw.choice([(5, 7), (7, 5), (11, 5), (5, 11), (7, 13)])
    return inputs, outputs, draw.choice([2, 3])


@lora.test(
    points=1,
    says="a new layer does not answer like its base: B starts at zero, so that the update B A starts at zero and training starts from the pretrained model. The shapes are A (rank, inputs) and B (outputs, rank)",
)
def begins_as_its_base(student: Student, draw: Draw) -> None:
    inputs, outputs, rank = sizes(draw)
    theirs, ours = lora_pair(student, draw, inputs, outputs, rank, 5.0, fresh=True)
    same_shapes(theirs, ours)
    x = draw.normal(3, 2, inputs)
    close(theirs(x), ours.base(x).detach())
    check(not theirs.state_dict()["B"].any(), "B is not zero")
    drawn, ours = lora_pair(student, draw, inputs, outputs, rank, 5.0)
    presupposes(drawn(x), ours(x))


@lora.test(
    points=1.5,
    says="the layer can never learn: with A and B both zero each one's gradient is a product with the other and stays zero. A starts random, as the weight of an nn.Linear, and only B at zero",
)
def learns_from_the_first_step(student: Student, draw: Draw) -> None:
    inputs, outputs, rank = sizes(draw)
    theirs, ours = lora_pair(student, draw, inputs, outputs, rank, 2.0 * rank, fresh=True)
    x, upstream = draw.normal(9, inputs), draw.normal(9, outputs)
    (ours(x) * upstream).sum().backward()
    _, _, grads = theirs.gradients(x, upstream=upstream)
    close(grads["B"], ours.B.grad, what="the gradient of B in a new layer")
    check(grads["B"].abs().max() > 1e-4, "the gradient of B is zero in a new layer")
    A = theirs.state_dict()["A"]
    check(A.abs().max() <= (1 + 1e-6) / inputs**0.5, "A is larger than the weights of an nn.Linear start")


@lora.test(
    points=2,
    says="the update has the wrong size: it is multiplied by alpha / rank, so that another rank does not ask for another learning rate; alpha alone, its inverse, its root or nothing is another size",
)
def update_is_scaled_by_alpha_over_rank(student: Student, draw: Draw) -> None:
    inputs, outputs, _ = sizes(draw)
    for rank in (1, 3, 4):
        alpha = draw.choice([1.0, 5.0, 16.0])
        theirs, ours = lora_pair(student, draw, inputs, outputs, rank, alpha)
        x = draw.normal(2, 3, inputs)
        close(theirs(x), ours(x), what=f"the result with rank {rank} and alpha {alpha}")
        close(theirs(x[0, 0]), ours(x[0, 0]), what="one vector without batch")


@lora.test(
    points=1,
    says="the base is trained too: weight and bias of the layer that was given must have requires_grad False, so that A and B are the only parameters with gradients and the optimiser keeps state for nothing else. A layer without a bias has only a weight to freeze",
)
def base_is_frozen(student: Student, draw: Draw) -> None:
    inputs, outputs, rank = sizes(draw)
    theirs, ours = lora_pair(student, draw, inputs, outputs, rank, 4.0)
    names = student.trainable_names_for_a_test(theirs)
    check(sorted(names) == ["A", "B"], f"the trained parameters are {names}")
    x = draw.normal(2, inputs)
    for bias in (True, False):
        given = student.frozen_linear_for_a_test(inputs, outputs, bias)
        layer = student.LoRALinear(given, rank=rank, alpha=4.0, dropout=0.0)
        names = student.trainable_names_for_a_test(given)
        check(not names, f"of the layer that was given, {names} are still trained")
        state = given.state_dict()
        presupposes(layer(x), nn.functional.linear(x, state["weight"], state.get("bias")))
    presupposes(theirs(x), ours(x))


@lora.test(
    points=1,
    says="the gradients are wrong: x gets its gradient through the base and through the update, A and B get theirs, with the factor alpha / rank, also for inputs that do not lie contiguously in memory",
)
def gradients_flow_through_base_and_update(student: Student, draw: Draw) -> None:
    inputs, outputs, rank = sizes(draw)
    theirs, ours = lora_pair(student, draw, inputs, outputs, rank, 5.0)
    same_gradients(theirs, ours, draw, draw.normal(3, 2, inputs))


@lora.test(
    points=1.5,
    says="dropout is in the wrong place: it acts on the x that goes into A, in training only, and never on the x that the frozen base sees, whose answer would be spoilt for nothing",
)
def dropout_spares_the_base(student: Student, draw: Draw) -> None:
    student.define(HELPERS)
    outputs, count = draw.choice([3, 5, 7]), 64
    base = student.frozen_linear_for_a_test(1, outputs)
    theirs = student.LoRALinear(base, rank=1, alpha=2.0, dropout=0.5)
    ours = reference.LoRALinear(nn.Linear(1, outputs, dtype=torch.float64), 1, 2.0, 0.0)
    weights = {name: draw.normal(*p.shape) + 3 for name, p in ours.named_parameters()}
    theirs.load_state_dict(weights)
    ours.load_state_dict(weights)
    x = draw.uniform(count, 1, low=1.0, high=2.0)
    theirs.train()
    got, kept, dropped = (
        theirs(x),
        2 * ours(x) - ours.base(x),
        ours.base(x),
    )  # what stays grows by 1 / (1 − 0.5)
    check(tuple(got.shape) == (count, outputs), f"the shape is {tuple(got.shape)}")
    is_dropped = (got - dropped).abs().amax(-1) < (got - kept).abs().amax(-1)  # (count,)
    close(got, torch.where(is_dropped[:, None], dropped, kept).detach(), what="the result in training")
    check(
        0.15 < is_dropped.double().mean() < 0.85,
        f"{int(is_dropped.sum())} of {count} updates are dropped, not half",
    )
    theirs.eval()
    close(theirs(x), ours(x).detach(), what="the result after eval()")


@lora.test(
    points=1.5,
    says="merging changes what the layer computes: afterwards the base's weight is W + (alpha / rank) · B A, the answer is that of the base alone, without the update once more, and a second merge() adds nothing",
)
def merging_changes_no_answer(student: Student, draw: Draw) -> None:
    inputs, outputs, rank = sizes(draw)
    theirs, ours = lora_pair(student, draw, inputs, outputs, rank, 5.0)
    x = draw.normal(3, inputs)
    expected = ours(x).detach()
    ours.merge()
    for _ in range(2):
        theirs.merge()
        close(theirs(x), expected, what="the answer after merge()")
        close(theirs.state_dict()["base.weight"], ours.base.weight, what="the base's weight after merge()")
    names = student.trainable_names_for_a_test(theirs)
    check("base.weight" not in names, "the base is trained after merge()")


@lora.test(
    points=1,
    says="unmerging does not bring back the layer: the update is subtracted from the base's weight again, once, and added in forward as before; unmerge() on a layer that is not merged does nothing",
)
def unmerging_brings_the_layer_back(student: Student, draw: Draw) -> None:
    inputs, outputs, rank = sizes(draw)
    theirs, ours = lora_pair(student, draw, inputs, outputs, rank, 5.0)
    x = draw.normal(3, inputs)
    theirs.unmerge()
    close(theirs(x), ours(x), what="the answer after unmerge() without merge()")
    theirs.merge()
    for _ in range(2):
        theirs.unmerge()
        close(theirs.state_dict()["base.weight"], ours.base.weight, what="the base's weight after unmerge()")
        close(theirs(x), ours(x), what="the answer after unmerge()")
    same_gradients(theirs, ours, draw, x)


@lora.test(
    points=0.5,
    says="a rank below one must be refused with a ValueError when the layer is made, and a rank of one must work",
)
def lora_refuses_no_rank(student: Student, draw: Draw) -> None:
    student.define(HELPERS)
    base = student.frozen_linear_for_a_test(3, 5)
    raises(ValueError, student.LoRALinear, base, rank=0, alpha=1.0, dropout=0.0)
    theirs, ours = lora_pair(student, draw, 3, 5, 1, 2.0)
    x = draw.normal(2, 3)
    presupposes(theirs(x), ours(x))


# --- adalora_budget

budget = Exercise("adalora_budget", forbids=READY_MADE)


def schedule(draw: Draw) -> dict[str, int]:
    """A drawn schedule whose way is long enough to tell cubes from squares."""
    initial, final = draw.integer(60, 200), draw.integer(5, 40)
    warmup, cooldown, way = draw.integer(2, 9), draw.integer(2, 9), draw.choice([23, 29, 31])
    return {
        "initial": initial,
        "final": final,
        "warmup": warmup,
        "cooldown": cooldown,
        "total": warmup + way + cooldown,
    }


@budget.test(
    points=1,
    says="the warm-up is wrong: for the first warmup steps, and at step warmup itself, the budget is the initial one",
)
def stays_whole_in_the_warm_up(student: Student, draw: Draw) -> None:
    plan = schedule(draw)
    for step in range(plan["warmup"] + 1):
        close(student.adalora_budget(step, **plan), plan["initial"], what=f"the budget at step {step}")
    after = plan["warmup"] + 3
    presupposes(student.adalora_budget(after, **plan), reference.adalora_budget(after, **plan))


@budget.test(
    points=1,
    says="the cool-down is wrong: from step total − cooldown on the budget is the final one, so that the last steps train what is left and nothing is switched off any more",
)
def is_final_in_the_cool_down(student: Student, draw: Draw) -> None:
    plan = schedule(draw)
    for step in range(plan["total"] - plan["cooldown"], plan["total"] + 3):
        close(student.adalora_budget(step, **plan), plan["final"], what=f"the budget at step {step}")
    before = plan["warmup"] + 4
    presupposes(student.adalora_budget(before, **plan), reference.adalora_budget(before, **plan))


@budget.test(
    points=2,
    says="the way down is wrong: between warm-up and cool-down the budget is final + (initial − final) · u³, where u is the share of that way that is left; a straight line, a square, or a share of all steps is another schedule",
)
def shrinks_with_the_cube_of_what_is_left(student: Student, draw: Draw) -> None:
    plan = schedule(draw)
    way = plan["total"] - plan["warmup"] - plan["cooldown"]
    for step in range(plan["warmup"] + 1, plan["total"] - plan["cooldown"]):
        exact = (
            plan["final"]
            + (plan["initial"] - plan["final"]) * ((plan["total"] - plan["cooldown"] - step) / way) ** 3
        )
        got = student.adalora_budget(step, **plan)
        check(isinstance(got, int | float), f"the budget is a {type(got).__name__}")
        check(
            abs(got - exact) <= 1,
            f"the budget at step {step} is {got}, between {exact - 1:.2f} and {exact + 1:.2f} asked",
        )


@budget.test(
    points=0.5,
    says="the budget counts directions, so it is a whole number (an int), rounded down",
)
def is_a_whole_number_rounded_down(student: Student, draw: Draw) -> None:
    plan = schedule(draw)
    way = plan["total"] - plan["warmup"] - plan["cooldown"]
    for step in range(plan["warmup"] + 1, plan["total"] - plan["cooldown"]):
        left = plan["total"] - plan["cooldown"] - step
        remainder = (plan["initial"] - plan["final"]) * left**3 % way**3
        if 0.01 < remainder / way**3 < 0.99:  # nearer to a whole number than that, rounding errors may decide
            got = student.adalora_budget(step, **plan)
            check(type(got) is int, f"the budget at step {step} is {got!r}")
            close(got, reference.adalora_budget(step, **plan), what=f"the budget at step {step}")


@budget.test(
    points=0.5,
    says="a schedule without a step between warm-up and cool-down, and a budget that would grow, must be refused with a ValueError; equal budgets are allowed",
)
def budget_refuses_what_cannot_be(student: Student, draw: Draw) -> None:
    warmup, cooldown = draw.integer(2, 9), draw.integer(2, 9)
    plan = {"initial": 30, "final": 10, "warmup": warmup, "cooldown": cooldown}
    raises(ValueError, student.adalora_budget, warmup, **plan, total=warmup + cooldown)
    raises(ValueError, student.adalora_budget, warmup, **(plan | {"final": 31}), total=50)
    same = plan | {"final": 30, "total": 50}
    presupposes(student.adalora_budget(warmup + 5, **same), 30)
    plan = schedule(draw)
    presupposes(
        student.adalora_budget(plan["warmup"] + 5, **plan),
        reference.adalora_budget(plan["warmup"] + 5, **plan),
    )


# --- AdaLoRALinear

adalora = Exercise("AdaLoRALinear", forbids=READY_MADE)


def adalora_pair(
    student: Student, draw: Draw, inputs: int, outputs: int, rank: int, alpha: float
) -> tuple[Any, Any]:
    """The student's layer and ours in float64 with drawn P, Λ and Q."""
    student.define(HELPERS)
    base, theirs_base = (
        nn.Linear(inputs, outputs, dtype=torch.float64),
        student.frozen_linear_for_a_test(inputs, outputs),
    )
    weights = drawn_state(draw, dict(base.named_parameters()))
    base.load_state_dict(weights)
    theirs_base.load_state_dict(weights)
    theirs = student.AdaLoRALinear(theirs_base, rank=rank, alpha=alpha)
    ours = reference.AdaLoRALinear(base, rank, alpha)
    drawn = weights_of(ours, draw, weights)
    drawn["Lambda"] = drawn["Lambda"] + 2 * drawn["Lambda"].sign()  # no direction is silent
    theirs.load_state_dict(theirs.state_dict() | drawn)  # buffers, whatever their names, stay as they are
    ours.load_state_dict(ours.state_dict() | drawn)
    return theirs, ours


@adalora.test(
    points=1.5,
    says="the layer computes something else than base(x) + (alpha / rank) · P Λ Q x: Q maps the inputs to rank numbers, each is multiplied by its own number of Lambda, and P maps them to the outputs",
)
def adds_p_lambda_q(student: Student, draw: Draw) -> None:
    inputs, outputs, rank = sizes(draw)
    theirs, ours = adalora_pair(student, draw, inputs, outputs, rank, draw.choice([1.0, 5.0, 7.0]))
    same_shapes(theirs, ours)
    x = draw.normal(2, 3, inputs)
    close(theirs(x), ours(x))
    close(theirs(x[0, 0]), ours(x[0, 0]), what="one vector without batch")


@adalora.test(
    points=1,
    says="a new layer is not a start: Lambda starts at zero, so that it answers like its base, and P and Q start with orthonormal columns and rows, so that Lambda gets a gradient from the first step",
)
def adalora_begins_as_its_base(student: Student, draw: Draw) -> None:
    student.define(HELPERS)
    inputs, outputs, rank = sizes(draw)
    base = student.frozen_linear_for_a_test(inputs, outputs)
    fresh = student.AdaLoRALinear(base, rank=rank, alpha=5.0)
    state, x = fresh.state_dict(), draw.normal(4, inputs)
    close(fresh(x), nn.functional.linear(x, state["base.weight"], state["base.bias"]))
    check(not state["Lambda"].any(), "Lambda is not zero")
    one = torch.eye(rank, dtype=torch.float64)
    close(state["P"].T @ state["P"], one, what="PᵀP of a new layer")
    close(state["Q"] @ state["Q"].T, one, what="QQᵀ of a new layer")
    theirs, ours = adalora_pair(student, draw, inputs, outputs, rank, 5.0)
    presupposes(theirs(x), ours(x))


@adalora.test(
    points=1,
    says="the gradients are wrong: P, Lambda and Q are trained and the base is not, and x gets its gradient through the base and through the update",
)
def trains_p_lambda_q_alone(student: Student, draw: Draw) -> None:
    inputs, outputs, rank = sizes(draw)
    theirs, ours = adalora_pair(student, draw, inputs, outputs, rank, 5.0)
    names = student.trainable_names_for_a_test(theirs)
    check(sorted(names) == ["Lambda", "P", "Q"], f"the trained parameters are {names}")
    same_gradients(theirs, ours, draw, draw.normal(3, 2, inputs))


@adalora.test(
    points=1.5,
    says="the orthogonality term is wrong: the sums of the squares of PᵀP − I and of QQᵀ − I, which are (rank, rank) matrices, added; no root, no mean, and gradients flow to P and Q",
)
def orthogonality_is_the_sum_of_squares(student: Student, draw: Draw) -> None:
    inputs, outputs, rank = sizes(draw)
    theirs, ours = adalora_pair(student, draw, inputs, outputs, rank, 1.0)
    close(theirs.orthogonality(), ours.orthogonality().detach())
    student.define(
        "def gradients_for_a_test(layer):\n"
        "    import torch\n"
        "    return list(torch.autograd.grad(layer.orthogonality(), [layer.P, layer.Q]))\n"
    )
    got = student.gradients_for_a_test(theirs)
    close(got, list(torch.autograd.grad(ours.orthogonality(), [ours.P, ours.Q])), what="its gradients")


def after_steps(
    student: Student, draw: Draw, count: int, rank: int, betas: tuple[float, float]
) -> tuple[Tensor, Tensor]:
    """Importance after some backward passes: the student's and ours."""
    inputs, outputs, _ = sizes(draw)
    theirs, ours = adalora_pair(student, draw, inputs, outputs, rank, 5.0)  # alpha / rank is never 1
    xs = [draw.normal(4, inputs) for _ in range(count)]
    upstreams = [3 * draw.normal(4, outputs) for _ in range(count)]
    got = student.steps_for_a_test(theirs, xs, upstreams, *betas)
    for x, upstream in zip(xs, upstreams, strict=True):
        ours.zero_grad()
        (ours(x) * upstream).sum().backward()
        ours.update_importance(*betas)
    return got, ours.importance()


@adalora.test(
    points=1.5,
    says="the importance after one step is wrong: with I = |w · gradient| for every number w, the sensitivity is (1 − beta1) · I and the uncertainty (1 − beta2) · |I − sensitivity|, their product is a number's score, and a direction adds the score of its Lambda, the mean over its column of P and the mean over its row of Q",
)
def importance_joins_the_three_parts(student: Student, draw: Draw) -> None:
    for rank in (1, 3):
        got, expected = after_steps(student, draw, 1, rank, (0.6, 0.3))
        close(got, expected, what="the importance after one step")


@adalora.test(
    points=1.5,
    says="the importance forgets or mixes up its past: sensitivity and uncertainty are running means from step to step, each with its own beta, and the uncertainty compares with the sensitivity that was just updated",
)
def importance_remembers_earlier_steps(student: Student, draw: Draw) -> None:
    got, expected = after_steps(student, draw, 4, draw.choice([2, 3]), (0.9, 0.4))
    close(got, expected, what="the importance after four steps")


@adalora.test(
    points=1,
    says="pruning is wrong: Lambda becomes zero in the directions that are not kept and stays in the others, and P and Q stay as they are, so that a direction can come back. Lambda is changed in place: an optimiser holds this parameter, and would go on with the old one",
)
def pruning_silences_directions(student: Student, draw: Draw) -> None:
    inputs, outputs, _ = sizes(draw)
    theirs, ours = adalora_pair(student, draw, inputs, outputs, 3, 2.0)
    keep = torch.tensor(draw.choice([[True, False, True], [False, True, False], [True, True, False]]))
    held = student.held_by_an_optimizer_for_a_test(theirs, keep)
    ours.prune(keep)
    close(held, ours.Lambda.detach(), what="the Lambda that an optimiser holds")
    state = theirs.state_dict()
    for name in ("Lambda", "P", "Q"):
        close(state[name], ours.state_dict()[name], what=f"{name} after pruning")
    x = draw.normal(2, inputs)
    close(theirs(x), ours(x), what="the answer after pruning")


@adalora.test(
    points=1,
    says="what makes no sense must be refused: a rank below one or above the smaller side of the weight with a ValueError, and update_importance without gradients with a RuntimeError",
)
def adalora_refuses_what_makes_no_sense(student: Student, draw: Draw) -> None:
    student.define(HELPERS)
    inputs, outputs = draw.choice([(3, 5), (5, 3)])
    for rank in (0, 4):
        base = student.frozen_linear_for_a_test(inputs, outputs)
        raises(ValueError, student.AdaLoRALinear, base, rank=rank, alpha=1.0)
    theirs, ours = adalora_pair(student, draw, inputs, outputs, 3, 2.0)
    raises(RuntimeError, theirs.update_importance, 0.5, 0.5)
    x = draw.normal(2, inputs)
    presupposes(theirs(x), ours(x))


QUESTIONS = [
    Question(
        "what_would_you_ship",
        points=4,
        answer=(
            "Forty customers, one encoder: full fine-tuning means forty copies of 90 MB, of which one at a time fits "
            "into memory, and each training run needs gradients and optimiser state of three more copies. LoRA means "
            "one copy and forty files of 0.3 MB, merged for a customer whose traffic fills a process (no cost per "
            "answer), or left unmerged so that one process serves many customers from one base. From the table I "
            "would look at the gap in macro-F1 between full and LoRA, against the spread over seeds and the bootstrap "
            "interval of the test set: if the gap is smaller than the spread, the table does not show one. I would not "
            "conclude that LoRA trains much faster: the forward pass and most of the backward pass stay. Before I "
            "decide I would measure on the customer's own data, with more reviews, since the table's setting is small, "
            "and check that the same learning-rate search was given to all methods."
        ),
        rubric="1 for storage and serving (one base, small files, merged or not); 1 for what memory and time really do (state shrinks, the forward pass does not); 1 for reading the F1 columns against the spread over seeds and the interval; 1 for a measurement of their own before deciding",
    )
]
