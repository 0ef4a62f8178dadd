"""Hidden tests of chapter 06, `encoder`."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn

from attention_from_scratch import encoder as reference
from autograder.testing import Draw, Exercise, Question, Student, check, close, raises

WHOLE_NORMS = [
    "torch.nn.LayerNorm",
    "torch.nn.functional.layer_norm",
    "torch.layer_norm",
    "torch.native_layer_norm",
    "torch.nn.RMSNorm",
]
WHOLE_LAYERS = [
    "torch.nn.TransformerEncoderLayer",
    "torch.nn.TransformerEncoder",
    "torch.nn.Transformer",
    "torch.nn.MultiheadAttention",
    "torch.nn.functional.multi_head_attention_forward",
]
GRADIENT = (
    2e-4  # gradients of parameters are sums over batch · length terms: ten times the room of a single result
)


layer_norm = Exercise("layer_norm", forbids=WHOLE_NORMS)


def plain(width: int) -> tuple[Tensor, Tensor]:
    """A scale of ones and a shift of zeros."""
    return torch.ones(width, dtype=torch.float64), torch.zeros(width, dtype=torch.float64)


@layer_norm.test(
    points=1.5,
    says="the mean and the variance are taken over the wrong numbers: each position of each example has a mean and a variance of its own, over the last axis only, so that neither the length nor the batch changes what becomes of a position",
)
def every_position_has_its_own_statistics(student: Student, draw: Draw) -> None:
    batch, length, width = draw.primes(3)
    x = draw.normal(batch, length, width) * draw.uniform(batch, length, 1, low=0.5, high=3.0)
    x = x + draw.normal(batch, length, 1)
    scale, shift = plain(width)
    got = student.layer_norm(x, scale, shift, 1e-5)
    close(got, reference.layer_norm(x, scale, shift, 1e-5))
    alone = student.layer_norm(x[:1, :1], scale, shift, 1e-5)
    close(alone, got[:1, :1], what="the first position alone")


@layer_norm.test(
    points=1,
    says="the variance is the unbiased one: layer norm divides the sum of squared distances by the width, not by the width less one, and uses the variance and not the mean distance",
)
def variance_is_divided_by_the_width(student: Student, draw: Draw) -> None:
    width = draw.choice([2, 3, 5])
    x = draw.normal(draw.integer(2, 9), width)
    scale, shift = plain(width)
    close(student.layer_norm(x, scale, shift, 1e-12), reference.layer_norm(x, scale, shift, 1e-12))


@layer_norm.test(
    points=1,
    says="eps is not added to the variance under the root, or it is not the eps that was given: eps + √variance and √(variance + eps) differ whenever the variance is small. A row of equal numbers must give the shift, not NaN",
)
def eps_stands_under_the_root(student: Student, draw: Draw) -> None:
    length, width = draw.primes(2)
    scale, shift = draw.normal(width), draw.normal(width)
    x = 0.3 * draw.normal(length, width)
    x[0] = x[0, 0]  # variance zero
    for eps in (1e-3, 0.1 + draw.integer(1, 9) / 10):
        close(student.layer_norm(x, scale, shift, eps), reference.layer_norm(x, scale, shift, eps))


@layer_norm.test(
    points=0.5,
    says="scale and shift are wrong: each feature has a weight and a bias of its own; multiply by the weight after normalising and add the bias last, unscaled, whatever the number of axes before the width",
)
def each_feature_is_scaled_then_shifted(student: Student, draw: Draw) -> None:
    width = draw.choice([3, 5, 7])
    scale, shift = draw.normal(width), draw.normal(width)
    for shape in ((), (1,), draw.primes(2), (1, *draw.primes(2))):
        x = draw.normal(*shape, width)
        close(student.layer_norm(x, scale, shift, 1e-5), reference.layer_norm(x, scale, shift, 1e-5))


@layer_norm.test(
    points=0.5,
    says="the input was changed, or the function reads its memory and not the tensor: make new tensors, and take inputs whose numbers do not lie side by side",
)
def input_is_left_alone_in_any_layout(student: Student, draw: Draw) -> None:
    batch, length, width = draw.primes(3)
    x, scale, shift = draw.normal(batch, length, width), draw.normal(width), draw.normal(width)
    expected = reference.layer_norm(x, scale, shift, 1e-5)
    probe = student.probe("layer_norm", x, scale, shift, 1e-5)
    close(probe.value, expected)
    close(list(probe.args[:3]), [x, scale, shift], tolerance=0.0, what="the arguments after the call")
    close(student.layer_norm(draw.strided(x), draw.strided(scale), shift, 1e-5), expected)


@layer_norm.test(
    points=1,
    says="the gradients are wrong: the mean and the variance depend on x too, so no detach, .data, .item or no_grad on the way, and weight and bias need gradients of their own",
)
def gradients_pass_through_mean_and_variance(student: Student, draw: Draw) -> None:
    batch, length, width = draw.primes(3)
    values = [draw.normal(batch, length, width), draw.normal(width), draw.normal(width)]
    upstream = draw.normal(batch, length, width)
    got, grads = student.gradients("layer_norm", *values, 1e-5, upstream=upstream)
    leaves = [value.clone().requires_grad_() for value in values]
    expected = reference.layer_norm(leaves[0], leaves[1], leaves[2], 1e-5)
    (expected * upstream).sum().backward()
    close(got, expected.detach())
    close(grads, [leaf.grad for leaf in leaves], what="the gradients of x, weight and bias")


@layer_norm.test(
    points=0.5,
    says="digits are lost when the numbers lie far from zero: the mean of the squares less the square of the mean subtracts two large numbers that are nearly equal. Subtract the mean first and square what is left",
)
def keeps_its_digits_far_from_zero(student: Student, draw: Draw) -> None:
    length, width = draw.primes(2)
    x = (draw.normal(length, 4 * width) + 1000).to(torch.float32)
    scale, shift = (value.to(torch.float32) for value in plain(4 * width))
    expected = reference.layer_norm(x.double(), scale.double(), shift.double(), 1e-5)
    got = student.layer_norm(x, scale, shift, 1e-5)
    # float32 near 1000 has steps of 6e-5, and the mean is rounded to one of them: 1e-3 leaves room for ten
    close(got, expected.to(torch.float32), tolerance=1e-3)


feed_forward = Exercise("FeedForward", forbids=WHOLE_LAYERS)


def drawn_state(draw: Draw, module: nn.Module, scale: float = 1.0) -> dict[str, Tensor]:
    """Random weights and biases for a module, of a size that keeps its numbers near 1."""
    return {
        name: scale * draw.normal(*p.shape, dtype=torch.float32) / p.shape[-1] ** (0.5 if p.ndim == 2 else 0)
        for name, p in module.state_dict().items()
    }


def pair(student: Student, draw: Draw, name: str, scale: float = 1.0, **settings: Any):
    """The student's module and the reference module with the same settings and the same drawn weights."""
    ours = getattr(reference, name)(**settings)
    state = drawn_state(draw, ours, scale)
    ours.load_state_dict(state)
    theirs = getattr(student, name)(**settings)
    theirs.load_state_dict(state)
    return theirs, ours


def float32(draw: Draw, *shape: int) -> Tensor:
    """Standard normal float32 values."""
    return draw.normal(*shape, dtype=torch.float32)


def same_shapes(theirs, ours: nn.Module) -> None:
    """The student's parameters have the names and shapes of ours."""
    got = {name: tuple(value.shape) for name, value in theirs.parameters().items()}
    expected = {name: tuple(value.shape) for name, value in ours.named_parameters()}
    check(got == expected, f"the parameters are {got}, expected {expected}")


def same_gradients(theirs, ours: nn.Module, draw: Draw, x: Tensor, *mask: Tensor | None) -> None:
    """Value, gradient of the input and gradients of all parameters agree, for a strided input."""
    upstream = float32(draw, *x.shape)
    value, grads, by_name = theirs.gradients(draw.strided(x), *mask, upstream=upstream)
    leaf = x.clone().requires_grad_()
    expected = ours(leaf, *mask)
    (expected * upstream).sum().backward()
    close(value, expected.detach())
    close(grads[0], leaf.grad, tolerance=GRADIENT, what="the gradient of x")
    names = {name: p.grad for name, p in ours.named_parameters()}
    close(by_name, names, tolerance=GRADIENT, what="the gradients of the parameters")


@feed_forward.test(
    points=1,
    says="the parameters are not those of the exercise: two linear layers with biases, expand from width to hidden and contract from hidden to width, and nothing else that learns",
)
def two_linear_layers_with_these_names(student: Student, draw: Draw) -> None:
    width, hidden = draw.primes(2)
    theirs, ours = pair(
        student, draw, "FeedForward", width=width, hidden=hidden, dropout=0.0, activation="relu"
    )
    same_shapes(theirs, ours)
    x = float32(draw, 1, 1, width)
    close(theirs(x), ours(x))


@feed_forward.test(
    points=1.5,
    says="the order is wrong: expand, then the activation, then contract. Without the activation between them the two layers are one linear map; behind contract it would cut the result off",
)
def activation_stands_between_the_layers(student: Student, draw: Draw) -> None:
    batch, length, width, hidden = draw.primes(4)
    theirs, ours = pair(
        student, draw, "FeedForward", width=width, hidden=hidden, dropout=0.0, activation="relu"
    )
    x = float32(draw, batch, length, width)
    close(theirs(x), ours(x))
    close(theirs(x[0, 0]), ours(x[0, 0]), what="one position without batch and length")


@feed_forward.test(
    points=1,
    says='the activation is not the one named: "gelu" is the exact GELU with the error function and "gelu_tanh" its approximation, which differ by up to 5e-4, and an unknown name must be refused with a ValueError when the module is made',
)
def activation_is_the_one_named(student: Student, draw: Draw) -> None:
    for name in ("gelu", "gelu_tanh", "relu"):
        sizes = {"width": 5, "hidden": draw.choice([29, 31, 37]), "dropout": 0.0}
        theirs, ours = pair(student, draw, "FeedForward", scale=1.5, **sizes, activation=name)
        x = float32(draw, 8, 8, 5)
        close(theirs(x), ours(x), what=f"the result with {name}")
    raises(ValueError, student.FeedForward, width=3, hidden=5, dropout=0.0, activation="softmaxx")


@feed_forward.test(
    points=1,
    says="dropout is in the wrong place or never rests: in training each hidden number is zeroed with probability dropout, after the activation and before contract, and the others grow by 1 / (1 − dropout); after eval() nothing is dropped",
)
def dropout_hides_hidden_numbers_in_training_only(student: Student, draw: Draw) -> None:
    length, width = draw.primes(2)
    theirs, ours = pair(student, draw, "FeedForward", width=width, hidden=1, dropout=0.5, activation="gelu")
    x = float32(draw, 64, length, width)
    theirs.train()
    ours.eval()
    kept = torch.nn.functional.linear(
        2 * ours.activation(ours.expand(x)), ours.contract.weight, ours.contract.bias
    )
    dropped = ours.contract.bias.expand_as(kept)
    got = theirs(x)
    check(tuple(got.shape) == tuple(kept.shape), f"the shape is {tuple(got.shape)}")
    is_dropped = (got - dropped).abs().amax(-1) < (got - kept).abs().amax(-1)  # (64, length)
    close(got, torch.where(is_dropped[..., None], dropped, kept), what="the result in training")
    check(
        0.2 < is_dropped.float().mean() < 0.8,
        f"{is_dropped.float().mean():.2f} of the numbers are dropped, not half",
    )
    theirs.eval()
    close(theirs(x), ours(x), what="the result after eval()")


@feed_forward.test(
    points=0.5,
    says="the network does not train: a gradient must reach x and all four parameters, also for inputs that are not contiguous in memory",
)
def gradients_reach_both_layers(student: Student, draw: Draw) -> None:
    batch, length, width, hidden = draw.primes(4)
    theirs, ours = pair(
        student, draw, "FeedForward", width=width, hidden=hidden, dropout=0.0, activation="gelu"
    )
    same_gradients(theirs, ours, draw, float32(draw, batch, length, width))


encoder_layer = Exercise("EncoderLayer", forbids=WHOLE_LAYERS)


def layer_pair(student: Student, draw: Draw, norm: str, **changed: Any):
    """The student's layer and ours, the sizes drawn: (theirs, ours, width)."""
    heads = draw.choice([1, 2, 3])
    width = heads * draw.choice([5, 7])
    settings: dict[str, Any] = {
        "width": width,
        "heads": heads,
        "hidden": draw.choice([7, 11, 13]),
        "dropout": 0.0,
        "eps": 1e-5,
    }
    settings |= {"activation": "relu", "norm": norm} | changed
    return *pair(student, draw, "EncoderLayer", **settings), width


def ragged(draw: Draw, batch: int, length: int) -> Tensor:
    """A padding mask, (batch, 1, 1, length), in which every example has another length, one at least."""
    lengths = torch.tensor([1 + (i * 2 + draw.integer(0, 1)) % length for i in range(batch)])
    return (torch.arange(length) < lengths[:, None])[:, None, None, :]


@encoder_layer.test(
    points=1,
    says="the parameters are not those of the exercise: attention (query, key, value, output), feed_forward (expand, contract), and two norms of their own, attention_norm and feed_forward_norm",
)
def parts_have_these_names(student: Student, draw: Draw) -> None:
    for norm in ("pre", "post"):
        theirs, ours, width = layer_pair(student, draw, norm)
        same_shapes(theirs, ours)
        x = float32(draw, 1, 1, width)
        close(theirs(x, None), ours(x, None))


@encoder_layer.test(
    points=2,
    says='norm="post" is wired wrongly: each part gets x itself, its result is added to x, and the sum is normed, x = norm(x + f(x)), first with the attention and then with the feed-forward network. A norm of f(x) alone, or a residual added after the norm, is another layer',
)
def post_norm_norms_the_sum(student: Student, draw: Draw) -> None:
    batch, length = draw.primes(2)
    theirs, ours, width = layer_pair(student, draw, "post")
    x = 2 * float32(draw, batch, length, width) + 1
    close(theirs(x, None), ours(x, None))


@encoder_layer.test(
    points=2,
    says='norm="pre" is wired wrongly: each part gets the norm of x, and its result is added to x as it was, x = x + f(norm(x)). The residual path itself is never normed, and queries, keys and values all see the same norm of x',
)
def pre_norm_leaves_the_residual_path_alone(student: Student, draw: Draw) -> None:
    batch, length = draw.primes(2)
    theirs, ours, width = layer_pair(student, draw, "pre")
    x = 2 * float32(draw, batch, length, width) + 1
    close(theirs(x, None), ours(x, None))


@encoder_layer.test(
    points=1.5,
    says="the mask does not reach the attention as it came: hand it on unchanged, True for may look, whether it has two axes or four. What a masked position holds must not change the others",
)
def mask_reaches_the_attention(student: Student, draw: Draw) -> None:
    batch, length = draw.primes(2)
    for norm in ("pre", "post"):
        theirs, ours, width = layer_pair(student, draw, norm)
        x = float32(draw, batch, length, width)
        for mask in (ragged(draw, batch, length), torch.ones(length, length).tril().bool()):
            close(theirs(x, mask), ours(x, mask), what=f"the result with a mask of {mask.ndim} axes")


@encoder_layer.test(
    points=1,
    says="dropout is in the wrong place or never rests: it acts on what the attention and the feed-forward network return, before the residual is added, never on the residual path, and only in training. With dropout 1 a pre-norm layer in training returns x, and a post-norm layer norms it twice",
)
def dropout_spares_the_residual_path(student: Student, draw: Draw) -> None:
    batch, length = draw.primes(2)
    for norm in ("pre", "post"):
        theirs, ours, width = layer_pair(student, draw, norm, dropout=1.0)
        x = float32(draw, batch, length, width)
        theirs.train()
        spared = x if norm == "pre" else ours.feed_forward_norm(ours.attention_norm(x))
        close(theirs(x, None), spared, what=f"the {norm}-norm result in training with dropout 1")
        theirs.eval()
        ours.eval()
        close(theirs(x, None), ours(x, None), what=f"the {norm}-norm result after eval()")


@encoder_layer.test(
    points=1,
    says="a setting does not arrive: eps belongs to both norms, activation, hidden and dropout to the feed-forward network, heads to the attention",
)
def settings_reach_the_parts(student: Student, draw: Draw) -> None:
    for norm in ("pre", "post"):
        eps = draw.integer(5, 9) / 10
        theirs, ours, width = layer_pair(student, draw, norm, eps=eps, activation="gelu")
        x = float32(draw, 7, 5, width)
        close(theirs(x, None), ours(x, None))
        dropping, _, width = layer_pair(student, draw, norm, dropout=1.0)
        dropping.train()
        alone = dropping.feed_forward(float32(draw, 2, 3, width))
        bias = dropping.parameters()["feed_forward.contract.bias"]
        close(alone, bias.expand(2, 3, width), what="the feed-forward network in training with dropout 1")


@encoder_layer.test(
    points=0.5,
    says="examples of a batch influence each other, or a single example or position is handled differently: an example must get the same answer alone as in any batch",
)
def examples_do_not_mix(student: Student, draw: Draw) -> None:
    batch, length = draw.primes(2)
    theirs, ours, width = layer_pair(student, draw, draw.choice(["pre", "post"]))
    x = float32(draw, batch, length, width)
    together = theirs(x, None)
    close(together, ours(x, None))
    close(theirs(x[-1:], None), together[-1:], what="the last example alone")


@encoder_layer.test(
    points=0.5,
    says="the layer does not train, or it changes its input: a gradient must reach x and every parameter, also for inputs that are not contiguous in memory",
)
def gradients_reach_every_part(student: Student, draw: Draw) -> None:
    batch, length = draw.primes(2)
    for norm in ("pre", "post"):
        theirs, ours, width = layer_pair(student, draw, norm, activation="gelu")
        same_gradients(theirs, ours, draw, float32(draw, batch, length, width), ragged(draw, batch, length))


@encoder_layer.test(
    points=0.5,
    says='what cannot work must be refused with a ValueError when the layer is made: a norm that is neither "pre" nor "post", and heads that do not divide the width',
)
def refuses_what_it_does_not_know(student: Student, draw: Draw) -> None:
    sizes = {"hidden": 5, "dropout": 0.0, "eps": 1e-5, "activation": "relu"}
    word = draw.choice(["Pre", "none", "before", ""])
    raises(ValueError, student.EncoderLayer, width=6, heads=2, norm=word, **sizes)
    raises(ValueError, student.EncoderLayer, width=7, heads=2, norm="pre", **sizes)
    student.EncoderLayer(width=6, heads=2, norm="pre", **sizes)  # and what can work is not refused


encoder = Exercise("Encoder", forbids=WHOLE_LAYERS)


def stack_pair(student: Student, draw: Draw, norm: str, layers: int, **changed: Any):
    """The student's encoder and ours, the sizes drawn: (theirs, ours, width)."""
    heads = draw.choice([1, 2, 3])
    width = heads * draw.choice([5, 7])
    settings: dict[str, Any] = {
        "layers": layers,
        "width": width,
        "heads": heads,
        "hidden": draw.choice([7, 11]),
    }
    settings |= {"dropout": 0.0, "eps": 1e-5, "activation": "relu", "norm": norm} | changed
    return *pair(student, draw, "Encoder", **settings), width


@encoder.test(
    points=1.5,
    says="the layers share their parameters: a list that holds one layer several times is one layer applied several times. Make a new EncoderLayer for each place, and keep them in an nn.ModuleList named layers, so that they are found",
)
def every_layer_has_parameters_of_its_own(student: Student, draw: Draw) -> None:
    layers = draw.integer(2, 4)
    theirs, ours, width = stack_pair(student, draw, draw.choice(["pre", "post"]), layers)
    same_shapes(theirs, ours)
    x = float32(draw, 2, 3, width)
    close(theirs(x, None), ours(x, None))


@encoder.test(
    points=1.5,
    says="the layers do not follow each other: the first gets x, every other one gets what the layer before it returned, and none is left out",
)
def layers_follow_each_other(student: Student, draw: Draw) -> None:
    batch, length = draw.primes(2)
    for layers in (1, draw.integer(2, 4)):
        theirs, ours, width = stack_pair(student, draw, "post", layers)
        x = float32(draw, batch, length, width)
        close(theirs(x, None), ours(x, None), what=f"the result of {layers} layers")


@encoder.test(
    points=1.5,
    says="the mask is lost on the way: every layer needs it, not only the first one. A position that the mask hides must not reach the others through a later layer",
)
def mask_reaches_every_layer(student: Student, draw: Draw) -> None:
    batch, length = draw.primes(2)
    for norm in ("pre", "post"):
        theirs, ours, width = stack_pair(student, draw, norm, draw.integer(2, 4))
        x = float32(draw, batch, length, width)
        causal = torch.ones(length, length).tril().bool()
        for mask in (ragged(draw, batch, length), causal):
            close(
                theirs(x, mask),
                ours(x, mask),
                what=f"the {norm}-norm result under a mask of {mask.ndim} axes",
            )


@encoder.test(
    points=1,
    says="with pre-norm layers the residual path leaves the stack as a sum of everything, normed by nobody: a last LayerNorm called final_norm must norm it, once, after all layers",
)
def pre_norm_ends_in_a_norm(student: Student, draw: Draw) -> None:
    batch, length = draw.primes(2)
    theirs, ours, width = stack_pair(student, draw, "pre", draw.integer(1, 3))
    same_shapes(theirs, ours)
    x = float32(draw, batch, length, width)
    close(theirs(x, None), ours(x, None))


@encoder.test(
    points=0.5,
    says="with post-norm layers the last layer already ends in a norm: final_norm must be nn.Identity(), without parameters",
)
def post_norm_needs_no_other(student: Student, draw: Draw) -> None:
    batch, length = draw.primes(2)
    theirs, ours, width = stack_pair(student, draw, "post", draw.integer(1, 3))
    same_shapes(theirs, ours)
    x = float32(draw, batch, length, width)
    close(theirs(x, None), ours(x, None))


@encoder.test(
    points=0.5,
    says="a setting does not reach every layer or the final norm: eps, activation, dropout and norm are those that were given",
)
def settings_reach_every_layer(student: Student, draw: Draw) -> None:
    for norm in ("pre", "post"):
        eps = draw.integer(5, 9) / 10
        theirs, ours, width = stack_pair(student, draw, norm, 2, eps=eps, activation="gelu", dropout=1.0)
        x = float32(draw, 3, 5, width)
        close(theirs(x, None), ours(x, None), what=f"the {norm}-norm result in training with dropout 1")
        theirs.eval()
        ours.eval()
        close(theirs(x, None), ours(x, None), what=f"the {norm}-norm result after eval()")


@encoder.test(
    points=0.5,
    says="the stack does not train as a whole, or examples mix: a gradient must reach x and the parameters of every layer, and an example must get the same answer alone as in any batch",
)
def gradients_reach_every_layer(student: Student, draw: Draw) -> None:
    batch, length = draw.primes(2)
    for norm in ("pre", "post"):
        theirs, ours, width = stack_pair(student, draw, norm, 2, activation="gelu")
        x, mask = float32(draw, batch, length, width), ragged(draw, batch, length)
        same_gradients(theirs, ours, draw, x, mask)
        close(theirs(x[:1], mask[:1]), ours(x, mask)[:1], what="the first example alone")


parameter_count = Exercise("parameter_count")


def exactly(got: object, expected: int, what: str) -> None:
    """Counts are whole numbers: no tolerance."""
    is_number = isinstance(got, int | float) and not isinstance(got, bool)
    check(is_number and got == expected, f"{what} is {got!r}, expected {expected}")


def built(layers: int, width: int, hidden: int, norm: str) -> int:
    """The numbers in a model of this size."""
    model = reference.Encoder(layers, width, 1, hidden, 0.0, 1e-5, "relu", norm)
    return sum(p.numel() for p in model.parameters())


@parameter_count.test(
    points=2,
    says="one layer is counted wrongly: four square projections with a bias each, two matrices between width and hidden with a bias each (of hidden and of width numbers), and two norms with a weight and a bias each",
)
def counts_every_part_of_a_layer(student: Student, draw: Draw) -> None:
    for width, hidden in (draw.primes(2), draw.primes(2), (1, 1)):
        exactly(
            student.parameter_count(1, width, hidden, "post"), built(1, width, hidden, "post"), "one layer"
        )


@parameter_count.test(
    points=1,
    says="a stack has its layers many times and its final norm once at most: the layers multiply, what stands outside them does not",
)
def layers_multiply(student: Student, draw: Draw) -> None:
    layers, width, hidden = draw.primes(3)
    for norm in ("post", "pre"):
        exactly(
            student.parameter_count(layers, width, hidden, norm), built(layers, width, hidden, norm), norm
        )


@parameter_count.test(
    points=1,
    says="the final norm is counted wrongly: a pre-norm stack has one norm of 2 · width numbers more than a post-norm stack of the same size",
)
def only_pre_norm_has_a_final_norm(student: Student, draw: Draw) -> None:
    layers, width, hidden = draw.primes(3)
    pre, post = (student.parameter_count(layers, width, hidden, norm) for norm in ("pre", "post"))
    exactly(post, built(layers, width, hidden, "post"), "the post-norm stack")
    exactly(pre, post + 2 * width, "the pre-norm stack")


@parameter_count.test(
    points=1,
    says="the count of a large model is off or takes a machine to find: use the formula on the sizes, build nothing, and do not assume that hidden is four times the width",
)
def counts_what_no_machine_could_build(student: Student, draw: Draw) -> None:
    for layers, width, hidden in (
        (12, 768, 3072),
        (draw.integer(90, 99), 12288, draw.integer(40_000, 60_000)),
    ):
        expected = reference.parameter_count(layers, width, hidden, "pre")
        exactly(
            student.parameter_count(layers, width, hidden, "pre"), expected, f"{layers} layers of {width}"
        )


QUESTIONS = [
    Question(
        "a_bag_of_words_keeps_up",
        points=4,
        answer="The encoder can do what the bag of words cannot: it sees order and context. But it has some hundreds of "
        "thousands of parameters, all starting from random numbers, and ten thousand short sentences; most of the "
        "parameters are embeddings of words that occur a few times, so what they mean cannot be learned from here, and "
        "the validation loss rises while the training loss falls. The bag of words has one number a word and a penalty "
        "on its size: little variance, and most of the signal, because single words carry most of the sentiment. That "
        "one run of one seed is a little better or worse also says little: with about 1,300 test sentences the "
        "standard error of an accuracy near 0.77 is about 0.012. What would change it: more labelled data, or "
        "parameters that have already seen much text (pretraining), which chapters 12 and 13 do. To tell these "
        "apart: train on a quarter, a half and all of the sentences and see which curve still rises; or shuffle the "
        "words of each sentence and see whether the encoder loses anything at all.",
        rubric="1 point: the encoder can use order and context, the bag of words cannot. 1 point: few data for many "
        "parameters that start at random (variance, overfitting), most signal in single words. 1 point: the size "
        "of the difference is set against its uncertainty (several seeds, or the standard error). 1 point: a "
        "measurement that could decide, such as a learning curve, shuffled words, or pretrained embeddings.",
    )
]
