"""Hidden tests of chapter 07, `decoder`."""

from __future__ import annotations

import itertools
import zlib
from typing import Any

import torch
from torch import Tensor

from attention_from_scratch import decoder as reference
from attention_from_scratch.masks import causal_mask, padding_mask
from autograder.testing import Draw, Exercise, Question, Student, check, close, presupposes, raises

WHOLE_LAYERS = [
    "torch.nn.MultiheadAttention",
    "torch.nn.TransformerDecoderLayer",
    "torch.nn.TransformerDecoder",
    "torch.nn.Transformer",
    "torch.nn.functional.multi_head_attention_forward",
    "torch.nn.functional.scaled_dot_product_attention",
]
# gradients of parameters are sums over batch · length terms, through several layers: ten times the room of a result
GRADIENT = 2e-4


def float32(draw: Draw, *shape: int) -> Tensor:
    """Standard normal float32 values."""
    return draw.normal(*shape, dtype=torch.float32)


def drawn_state(draw: Draw, layer: torch.nn.Module) -> dict[str, Tensor]:
    """Random weights and biases for a layer, of a size that keeps its numbers near 1; norms keep a scale near 1."""
    return {
        name: float32(draw, *p.shape) / p.shape[-1] ** 0.5
        if p.ndim == 2
        else float32(draw, *p.shape) / 2 + (1.0 if name.endswith("norm.weight") else 0.0)
        for name, p in layer.state_dict().items()
    }


def source_mask(draw: Draw, batch: int, sources: int) -> Tensor:
    """A memory mask of sources of different lengths, at least one of them shorter than the memory."""
    lengths = [draw.integer(1, sources - 1), *(draw.integer(1, sources) for _ in range(batch - 1))]
    return padding_mask(torch.tensor(lengths), sources)


cross_attention = Exercise("CrossAttention", forbids=WHOLE_LAYERS)


def crossing(student: Student, draw: Draw, width: int, heads: int):
    """The student's layer and the reference layer with the same drawn weights."""
    ours = reference.CrossAttention(width, heads)
    state = drawn_state(draw, ours)
    ours.load_state_dict(state)
    theirs = student.CrossAttention(width, heads)
    theirs.load_state_dict(state)
    return theirs, ours


@cross_attention.test(
    points=1.5,
    says="keys and values are not those of the memory: only the queries come from the targets, and a target must never read the sequence that it belongs to",
)
def keys_and_values_come_from_the_memory(student: Student, draw: Draw) -> None:
    batch, width = draw.primes(2)
    theirs, ours = crossing(
        student, draw, width, heads=1
    )  # one head: splitting and merging cannot be at fault
    for sources, targets in ((5, 5), (draw.integer(2, 4), draw.integer(5, 7))):
        x, memory = float32(draw, batch, targets, width), float32(draw, batch, sources, width)
        close(theirs(x, memory, None), ours(x, memory, None))


@cross_attention.test(
    points=1.5,
    says="part of the memory is never read: every target, the first too, reads all of it, however long it is. The memory has a length of its own, and no target lies before or after it",
)
def every_place_of_the_memory_is_read(student: Student, draw: Draw) -> None:
    batch, heads, sources = draw.primes(3)
    width, sources = heads * draw.integer(2, 4), sources + 13
    theirs, ours = crossing(student, draw, width, heads)
    for targets in (1, draw.integer(2, 12), sources):
        x, memory = float32(draw, batch, targets, width), float32(draw, batch, sources, width)
        close(theirs(x, memory, None), ours(x, memory, None))


@cross_attention.test(
    points=1.5,
    says="weights must return one map for every head, (batch, heads, targets, sources), each row of it the softmax over the sources of q·k / √(width / heads): not the mean of the heads, not its transpose, not the scores, and detached from nothing",
)
def weights_are_a_map_for_every_head(student: Student, draw: Draw) -> None:
    batch, heads, targets, sources = draw.primes(4)
    width = heads * draw.integer(2, 4)
    theirs, ours = crossing(student, draw, width, heads)
    x, memory = float32(draw, batch, targets, width), float32(draw, batch, sources, width)
    got = theirs.weights(2 * x, memory, None)
    close(got, ours.weights(2 * x, memory, None), what="the weights")
    close(got.sum(dim=-1), torch.ones(batch, heads, targets), what="the sums of the rows")


@cross_attention.test(
    points=1.5,
    says="padding of the source is read, or real places of it are not: where the memory mask is False the weight is exactly 0, in weights and in the result alike, and True means may look",
)
def padding_of_the_memory_is_not_read(student: Student, draw: Draw) -> None:
    batch, heads, targets, sources = draw.primes(4)
    width = heads * draw.integer(2, 4)
    theirs, ours = crossing(student, draw, width, heads)
    x, memory = float32(draw, batch, targets, width), float32(draw, batch, sources, width)
    mask = source_mask(draw, batch, sources)
    dirty = memory.masked_fill(~mask[:, 0, 0, :, None], 1e3)  # whatever stands in the padding
    weights = theirs.weights(x, dirty, mask)
    close(weights, ours.weights(x, memory, mask), what="the weights")
    check(not weights.masked_select(~mask).any(), "padding has a weight above 0")
    close(theirs(x, dirty, mask), ours(x, memory, mask))


@cross_attention.test(
    points=1,
    says="a mask that belongs to the targets is taken for one of the memory: only (batch, 1, 1, sources) and None are masks of a memory, every other shape is refused with a ValueError, by both methods. When both sequences happen to be equally long, a causal mask fits by accident, and that accident is the reason for the rule",
)
def a_mask_of_the_targets_is_refused(student: Student, draw: Draw) -> None:
    batch, length = draw.primes(2)
    theirs, ours = crossing(student, draw, 6, heads=2)
    x, memory = float32(draw, batch, length, 6), float32(draw, batch, length, 6)
    causal = causal_mask(length, length, offset=0)
    for mask in (causal, causal[None, None], causal.expand(batch, 1, length, length)):
        raises(ValueError, theirs, x, memory, mask)
        raises(ValueError, theirs.weights, x, memory, mask)
    mask = source_mask(draw, batch, length)
    presupposes(theirs(x, memory, mask), ours(x, memory, mask))


@cross_attention.test(
    points=1,
    says="examples of a batch influence each other: an example must read its own memory under its own mask, alone as in any batch, and a memory in which nothing is real must give numbers and not NaN",
)
def every_example_reads_its_own_memory(student: Student, draw: Draw) -> None:
    batch, heads, targets, sources = draw.primes(4)
    batch += 1  # at least two examples beside the one that has nothing to read
    width = heads * draw.integer(2, 4)
    theirs, ours = crossing(student, draw, width, heads)
    x, memory = float32(draw, batch, targets, width), float32(draw, batch, sources, width)
    mask = source_mask(draw, batch, sources)
    mask[batch - 1] = False
    expected = ours(x, memory, mask)
    close(theirs(x, memory, mask), expected)
    for i in (0, batch - 1):
        close(theirs(x[i : i + 1], memory[i : i + 1], mask[i : i + 1]), expected[i : i + 1])


@cross_attention.test(
    points=1,
    says="the layer does not train: a gradient must reach all eight parameters, the targets and the memory (through the keys and through the values), also for inputs that are not contiguous, and the inputs must not be changed",
)
def gradients_reach_both_sequences(student: Student, draw: Draw) -> None:
    batch, heads, targets, sources = draw.primes(4)
    width = heads * draw.integer(2, 4)
    theirs, ours = crossing(student, draw, width, heads)
    x, memory = float32(draw, batch, targets, width), float32(draw, batch, sources, width)
    mask = source_mask(draw, batch, sources)
    same_gradients(draw, theirs, ours, (x, memory), (mask,))
    unchanged(student, theirs, x, memory, mask)


def same_gradients(draw: Draw, theirs: Any, ours: torch.nn.Module, inputs: tuple, masks: tuple) -> None:
    """Compare value, gradients of the inputs and gradients of the parameters, on inputs that are not contiguous."""
    upstream = float32(draw, *inputs[0].shape)
    value, grads, by_name = theirs.gradients(*(draw.strided(t) for t in inputs), *masks, upstream=upstream)
    leaves = [t.clone().requires_grad_() for t in inputs]
    expected = ours(*leaves, *masks)
    (expected * upstream).sum().backward()
    close(value, expected.detach())
    close(grads, [leaf.grad for leaf in leaves], tolerance=GRADIENT, what="the gradients of the arguments")
    names = {name: p.grad for name, p in ours.named_parameters()}
    close(by_name, names, tolerance=GRADIENT, what="the gradients of the parameters")


def unchanged(student: Student, theirs: Any, *inputs: Tensor) -> None:
    """Look at the arguments of a layer after a call."""
    student.define("def inputs_after(layer, *args):\n    layer(*args)\n    return list(args)\n")
    close(
        student.inputs_after(theirs, *inputs), list(inputs), tolerance=0.0, what="the inputs after the call"
    )


decoder_layer = Exercise("DecoderLayer", forbids=WHOLE_LAYERS)


def layers(
    student: Student, draw: Draw, norm: str, *, heads: int, quiet: tuple[str, ...] = (), **changed: Any
):
    """The student's layer and ours with the same drawn weights; the `quiet` parts return zeros."""
    width, hidden = heads * draw.integer(2, 4), draw.integer(5, 11)
    sizes: dict[str, Any] = {"width": width, "heads": heads, "hidden": hidden, "dropout": 0.0}
    kinds: dict[str, Any] = {"activation": draw.choice(["relu", "gelu"]), "eps": 1e-5, "norm": norm} | changed
    ours = reference.DecoderLayer(**sizes, **kinds)
    state = drawn_state(draw, ours)
    for name in state:
        if name.startswith(quiet) and name.split(".")[1] in ("output", "contract"):
            state[name] = 0 * state[name]
    ours.load_state_dict(state)
    theirs = student.DecoderLayer(**sizes, **kinds)
    theirs.load_state_dict(state)
    return theirs, ours


def sequences(draw: Draw, width: int):
    """Targets, memory, a causal mask and a memory mask; all lengths differ."""
    batch, targets, sources = draw.primes(3)
    x, memory = float32(draw, batch, targets, width), float32(draw, batch, sources, width)
    return x, memory, causal_mask(targets, targets, offset=0), source_mask(draw, batch, sources)


def width_of(layer: reference.DecoderLayer) -> int:
    """The width of a reference layer."""
    return layer.self_attention.query.in_features


@decoder_layer.test(
    points=1,
    says="the parts are not those of the exercise: self_attention, cross_attention and feed_forward, with self_attention_norm, cross_attention_norm and feed_forward_norm, a norm of its own for each part",
)
def six_parts_with_these_names(student: Student, draw: Draw) -> None:
    theirs, ours = layers(student, draw, "pre", heads=2)
    got = {name: tuple(value.shape) for name, value in theirs.parameters().items()}
    expected = {name: tuple(value.shape) for name, value in ours.named_parameters()}
    check(got == expected, f"the parameters are {got}, expected {expected}")
    inputs = sequences(draw, width_of(ours))
    presupposes(theirs(*inputs), ours(*inputs))


@decoder_layer.test(
    points=1.5,
    says='with norm="post" the numbers are wrong: x = norm(x + part(x)), three times over, for self-attention, cross-attention and the feed-forward network in this order, each with its own norm. The residual is added before the norm, and the memory is never normed',
)
def post_norm_is_the_formula_of_the_paper(student: Student, draw: Draw) -> None:
    theirs, ours = layers(student, draw, "post", heads=draw.integer(1, 3))
    inputs = sequences(draw, width_of(ours))
    close(theirs(*inputs), ours(*inputs))


@decoder_layer.test(
    points=1.5,
    says='with norm="pre" the numbers are wrong: x = x + part(norm(x)), three times over. The norm acts on what goes into the part, never on the residual path, and the memory is not normed, for the encoder has done that',
)
def pre_norm_leaves_the_residual_path_alone(student: Student, draw: Draw) -> None:
    theirs, ours = layers(student, draw, "pre", heads=draw.integer(1, 3))
    inputs = sequences(draw, width_of(ours))
    close(theirs(*inputs), ours(*inputs))


@decoder_layer.test(
    points=1.5,
    says="a target sees its own future: self-attention must obey the target mask. Changing a later target changed the result of an earlier one, or the mask was taken for another",
)
def targets_obey_the_target_mask(student: Student, draw: Draw) -> None:
    theirs, ours = layers(student, draw, draw.choice(["pre", "post"]), heads=2, quiet=("cross_attention.",))
    x, memory, target_mask, memory_mask = sequences(draw, width_of(ours))
    before = theirs(x, memory, target_mask, memory_mask)
    close(before, ours(x, memory, target_mask, memory_mask))
    later = x.clone()
    later[:, -1] = float32(draw, len(x), x.shape[-1])
    close(theirs(later, memory, target_mask, memory_mask)[:, :-1], before[:, :-1], what="the earlier targets")
    free = causal_mask(x.shape[1], x.shape[1], offset=x.shape[1])  # everybody may see everybody
    close(theirs(x, memory, free, memory_mask), ours(x, memory, free, memory_mask))


@decoder_layer.test(
    points=1.5,
    says="the memory is not read as it should be: every target, the first too, reads all real places of it and none of its padding. The causal mask belongs to the targets alone, the memory mask to cross-attention alone",
)
def all_real_places_of_the_memory_are_read(student: Student, draw: Draw) -> None:
    theirs, ours = layers(student, draw, draw.choice(["pre", "post"]), heads=2, quiet=("self_attention.",))
    x, memory, target_mask, memory_mask = sequences(draw, width_of(ours))
    dirty = memory.masked_fill(~memory_mask[:, 0, 0, :, None], 1e3)
    close(theirs(x, dirty, target_mask, memory_mask), ours(x, memory, target_mask, memory_mask))
    square = float32(
        draw, len(x), x.shape[1], x.shape[2]
    )  # as many sources as targets: here the masks fit both
    mask = source_mask(draw, len(x), x.shape[1])
    close(theirs(x, square, target_mask, mask), ours(x, square, target_mask, mask))
    close(
        theirs(x, square, target_mask, None), ours(x, square, target_mask, None), what="without a memory mask"
    )


@decoder_layer.test(
    points=1,
    says="dropout is wrong: in training it acts on what each of the three parts returns, before that is added to x, and after eval() on nothing. With a dropout of 1 nothing of the parts is left, and what comes out is x",
)
def dropout_acts_on_what_the_parts_return(student: Student, draw: Draw) -> None:
    _, ours = layers(student, draw, "pre", heads=1)
    inputs = sequences(draw, width_of(ours))
    state = ours.state_dict()
    hidden = len(state["feed_forward.expand.bias"])
    lossy = student.DecoderLayer(width_of(ours), 1, hidden, 1.0, 1e-5, "relu", "pre")
    lossy.load_state_dict(state)
    lossy.train()
    close(lossy(*inputs), inputs[0], tolerance=0.0, what="the result with a dropout of 1")
    lossy.eval()
    whole = reference.DecoderLayer(width_of(ours), 1, hidden, 0.0, 1e-5, "relu", "pre")
    whole.load_state_dict(state)
    close(lossy(*inputs), whole(*inputs), what="the result after eval()")


@decoder_layer.test(
    points=1,
    says="a setting does not arrive: eps belongs to all three norms, activation and dropout to the feed-forward network too",
)
def settings_reach_the_parts(student: Student, draw: Draw) -> None:
    for norm in ("pre", "post"):
        theirs, ours = layers(student, draw, norm, heads=2, eps=draw.integer(5, 9) / 10, activation="gelu")
        inputs = sequences(draw, width_of(ours))
        close(theirs(*inputs), ours(*inputs))
        dropping = student.DecoderLayer(6, 2, 7, 1.0, 1e-5, "gelu", norm)
        dropping.train()
        alone = dropping.feed_forward(float32(draw, 2, 3, 6))
        bias = dropping.parameters()["feed_forward.contract.bias"]
        close(alone, bias.expand(2, 3, 6), what="the feed-forward network in training with dropout 1")


@decoder_layer.test(
    points=0.5,
    says='a norm that is neither "pre" nor "post" must be refused with a ValueError when the layer is made, or a spelling mistake trains another model',
)
def another_norm_is_refused(student: Student, draw: Draw) -> None:
    for norm in ("Pre", "before", "", draw.choice(["posts", "none", "rms"])):
        raises(ValueError, student.DecoderLayer, 4, 2, 8, 0.0, 1e-5, "relu", norm)
    theirs, ours = layers(student, draw, "post", heads=2)
    inputs = sequences(draw, width_of(ours))
    presupposes(theirs(*inputs), ours(*inputs))


@decoder_layer.test(
    points=0.5,
    says="examples of a batch influence each other: each one has its own targets, its own memory and its own row of the memory mask",
)
def examples_do_not_mix(student: Student, draw: Draw) -> None:
    theirs, ours = layers(student, draw, draw.choice(["pre", "post"]), heads=2)
    x, memory, target_mask, memory_mask = sequences(draw, width_of(ours))
    expected = ours(x, memory, target_mask, memory_mask)
    close(theirs(x, memory, target_mask, memory_mask), expected)
    for i in (0, len(x) - 1):
        row = slice(i, i + 1)
        close(
            theirs(x[row], memory[row], target_mask, memory_mask[row]), expected[row], what="an example alone"
        )


@decoder_layer.test(
    points=1,
    says="the layer does not train: gradients must reach all its parameters, the targets and the memory, also for inputs that are not contiguous, and the inputs must not be changed",
)
def gradients_reach_every_part(student: Student, draw: Draw) -> None:
    for norm in ("pre", "post"):
        theirs, ours = layers(student, draw, norm, heads=2)
        x, memory, target_mask, memory_mask = sequences(draw, width_of(ours))
        same_gradients(draw, theirs, ours, (x, memory), (target_mask, memory_mask))
        unchanged(student, theirs, x, memory, target_mask, memory_mask)


shift_right = Exercise("shift_right")
START, PAD, IGNORE = 1, 0, -100


def labels(draw: Draw, batch: int, length: int) -> Tensor:
    """Random labels from 2 to 60."""
    return (58 * draw.uniform(batch, length)).long() + 2


def padded_labels(draw: Draw, batch: int, length: int) -> Tensor:
    """Labels of different lengths, with −100 behind them."""
    found = labels(draw, batch, length)
    ends = torch.tensor([draw.integer(1, length - 2) for _ in range(batch)])
    return found.masked_fill(torch.arange(length) >= ends[:, None], IGNORE)


@shift_right.test(
    points=2,
    says="a position is given the wrong token: position 0 gets start and position i the label of position i − 1. Given its own label it has nothing to learn, given a later one it learns to look ahead, and the last label is nobody's input",
)
def every_position_gets_the_label_before_it(student: Student, draw: Draw) -> None:
    batch, length = draw.primes(2)
    start = draw.integer(61, 90)
    found = labels(draw, batch, length)
    close(student.shift_right(found, start=start, pad=PAD), reference.shift_right(found, start, PAD))


@shift_right.test(
    points=1.5,
    says="−100 reaches the model, or something else was replaced: −100 marks labels that are not asked for and no embedding has such a row, so in the inputs it becomes pad, and nothing but −100 does",
)
def what_is_not_asked_becomes_padding(student: Student, draw: Draw) -> None:
    batch, length = draw.primes(2)
    found = padded_labels(draw, batch, length + 3)
    found[0, 0] = PAD  # a token with the number of the padding, or of the start, is a token like any other
    found[-1, 0] = START
    pad = draw.integer(61, 90)
    close(student.shift_right(found, start=START, pad=pad), reference.shift_right(found, START, pad))


@shift_right.test(
    points=1,
    says="the labels that came in were changed: they are still needed for the loss, so write into a new tensor",
)
def the_labels_stay_as_they_are(student: Student, draw: Draw) -> None:
    batch, length = draw.primes(2)
    found = padded_labels(draw, batch, length + 3)
    probe = student.probe("shift_right", found, start=START, pad=PAD)
    close(probe.args[0], found, what="the labels after the call")
    presupposes(probe.value, reference.shift_right(found, START, PAD))


@shift_right.test(
    points=0.5,
    says="one layout or one size is special: a single label, a single example and labels that are not side by side in memory must be shifted like any others",
)
def any_size_and_any_layout(student: Student, draw: Draw) -> None:
    for batch, length in ((1, draw.integer(2, 6)), (draw.integer(2, 6), 1), (1, 1)):
        found = labels(draw, batch, length)
        close(student.shift_right(found, start=START, pad=PAD), reference.shift_right(found, START, PAD))
    turned = padded_labels(draw, 4, 7).t()
    close(student.shift_right(turned, start=START, pad=PAD), reference.shift_right(turned, START, PAD))


greedy_decode = Exercise("greedy_decode", forbids=["torch.multinomial"])


class Writer:
    """A model made of drawn numbers: the logits depend on the row, the position and the token before."""

    def __init__(self, draw: Draw, batch: int, tokens: int, end: int, ends_at: list[int]) -> None:
        """Row b writes `end` as its token number ends_at[b] (from 0), and nowhere before."""
        self.table = draw.normal(max(ends_at) + 2, batch, tokens, tokens)  # (position, batch, before, token)
        self.table[..., end] = -20.0
        for row, at in enumerate(ends_at):
            self.table[at:, row, :, end] = draw.normal(1).item()  # behind its end a row may do as it likes
            self.table[at, row, :, end] = 20.0
        self.prefixes: list[Tensor] = []

    def __call__(self, prefix: Tensor) -> Tensor:
        """The logits of the next token of every row."""
        self.prefixes.append(prefix.clone())
        position, batch = prefix.shape[1] - 1, self.table.shape[1]
        check(prefix.shape[0] == batch, f"a batch of {batch} was asked with {prefix.shape[0]} rows")
        check(
            position < len(self.table), f"the model was asked for token {position}, and all rows have ended"
        )
        return self.table[position, torch.arange(batch), prefix[:, -1]]


def writing(draw: Draw, ends_at: list[int], *, most: int | None = None):
    """A writer, and the arguments to decode it with."""
    tokens = draw.choice([7, 11, 13])
    start, end, pad = (int(i) for i in torch.randperm(tokens, generator=draw.generator())[:3])
    writer = Writer(draw, len(ends_at), tokens, end, ends_at)
    most = most or max(ends_at) + draw.integer(2, 5)
    return writer, {"batch": len(ends_at), "start": start, "end": end, "pad": pad, "max_length": most}


def expected_of(writer: Writer, arguments: dict[str, int]) -> Tensor:
    """What the reference writes; the record of the writer stays empty."""
    found = reference.greedy_decode(writer, **arguments)
    writer.prefixes.clear()
    return found


@greedy_decode.test(
    points=2,
    says="the wrong token was chosen: every row takes the token with the largest logit of its own row, never a drawn one, and never the choice of another row",
)
def every_row_takes_its_likeliest_token(student: Student, draw: Draw) -> None:
    batch = draw.choice([2, 3, 5])
    at = draw.integer(5, 8)
    writer, arguments = writing(draw, [at] * batch)
    expected = expected_of(writer, arguments)[:, :at]  # before anybody ends
    got = student.greedy_decode(writer, **arguments)
    check(isinstance(got, Tensor) and got.ndim == 2, "the result is no tensor with two axes")
    close(got[:, :at], expected)


@greedy_decode.test(
    points=1.5,
    says="the model was asked with the wrong tokens: it gets start and everything written so far, in order, one column more each time. A transformer has no memory of its own between two questions",
)
def the_model_sees_everything_written_so_far(student: Student, draw: Draw) -> None:
    batch = draw.choice([2, 3, 5])
    at = draw.integer(4, 7)
    writer, arguments = writing(draw, [at] * batch)
    expected = expected_of(writer, arguments)
    got = student.greedy_decode(writer, **arguments)
    seen = writer.prefixes
    check(len(seen) > at, f"the model was asked {len(seen)} times")
    for step, prefix in enumerate(seen[: at + 1]):
        check(tuple(prefix.shape) == (batch, step + 1), f"question {step} has shape {tuple(prefix.shape)}")
        check(bool((prefix[:, 0] == arguments["start"]).all()), f"question {step} does not begin with start")
        check(torch.equal(prefix[:, 1:], expected[:, :step]), f"question {step} holds other tokens")
    presupposes(got[:, :at], expected[:, :at])


@greedy_decode.test(
    points=1.5,
    says="a row was not ended by its end token: behind end there is only pad, whatever the model would go on to say, while the other rows go on",
)
def ended_rows_get_padding(student: Student, draw: Draw) -> None:
    ends_at = [draw.integer(0, 2), draw.integer(3, 5), draw.integer(6, 8)]
    writer, arguments = writing(draw, ends_at)
    expected = expected_of(writer, arguments)
    got = student.greedy_decode(writer, **arguments)
    check(isinstance(got, Tensor) and got.shape[:1] == (3,), "there is not one row for every example")
    for row, at in enumerate(ends_at):
        close(got[row, : at + 1], expected[row, : at + 1], what=f"row {row} up to its end")
        behind = got[row, at + 1 : max(ends_at) + 1]
        check(len(behind) == max(ends_at) - at, f"row {row} is cut off")
        check(
            bool((behind == arguments["pad"]).all()), f"row {row} goes on behind its end: {behind.tolist()}"
        )


@greedy_decode.test(
    points=1,
    says="writing stops at the wrong time: as soon as every row has ended, and not before. One more question to the model is one too many",
)
def stops_when_every_row_has_ended(student: Student, draw: Draw) -> None:
    ends_at = [draw.integer(4, 6), draw.integer(0, 3)]
    writer, arguments = writing(draw, ends_at, most=30)
    expected = expected_of(writer, arguments)
    got = student.greedy_decode(writer, **arguments)
    check(len(writer.prefixes) == max(ends_at) + 1, f"the model was asked {len(writer.prefixes)} times")
    close(got, expected)


@greedy_decode.test(
    points=1,
    says="max_length is not kept: when nobody ends, exactly max_length tokens are written, and start is not one of them",
)
def writes_at_most_max_length_tokens(student: Student, draw: Draw) -> None:
    for most in (1, draw.integer(2, 6)):
        writer, arguments = writing(draw, [most + 5, most + 3], most=most)
        expected = expected_of(writer, arguments)
        close(student.greedy_decode(writer, **arguments), expected)
        check(len(writer.prefixes) == most, f"the model was asked {len(writer.prefixes)} times")


@greedy_decode.test(
    points=1,
    says="the result holds what was written, no more and no less: start was given and is left out, end was written and is kept. A start that is the same token as end has ended nothing",
)
def keeps_the_end_and_leaves_out_the_start(student: Student, draw: Draw) -> None:
    for at in (0, draw.integer(1, 5)):
        writer, arguments = writing(draw, [at])  # a single row: neither padding nor the others are at stake
        expected = expected_of(writer, arguments)
        close(student.greedy_decode(writer, **arguments), expected)
        same = arguments | {"start": arguments["end"]}
        close(
            student.greedy_decode(writer, **same),
            expected_of(writer, same),
            what="with start = end, the result",
        )


beam_search = Exercise("beam_search")


class Language:
    """A model made of drawn numbers: logits that depend on the whole prefix, each prefix with its own."""

    def __init__(self, draw: Draw, tokens: int, end: int, start: int, end_bonus: float = 0.0) -> None:
        self.tokens, self.end, self.start, self.end_bonus = tokens, end, start, end_bonus
        self.salt = draw.integer(0, 2**30)
        self.prefixes: list[list[list[int]]] = []

    def __call__(self, prefixes: Tensor) -> Tensor:
        """The logits after each prefix; a constant that depends on the prefix is added to all of a row."""
        rows = prefixes.tolist()
        self.prefixes.append(rows)
        return torch.stack([self.logits(tuple(row)) for row in rows])

    def logits(self, prefix: tuple[int, ...]) -> Tensor:
        """The logits after one prefix, in float64."""
        generator = torch.Generator().manual_seed(zlib.crc32(repr(prefix).encode()) ^ self.salt)
        drawn = torch.randn(self.tokens + 1, generator=generator, dtype=torch.float64)
        logits = 1.5 * drawn[:-1] + 4 * drawn[-1]
        logits[self.end] += self.end_bonus
        return logits

    def total(self, tokens: list[int]) -> float:
        """The log-probability of a sequence."""
        found = 0.0
        for at, token in enumerate(tokens):
            found += self.logits((self.start, *tokens[:at])).log_softmax(dim=-1)[token].item()
        return found


def language(draw: Draw, tokens: int, end_bonus: float = 0.0) -> Language:
    """A language with a drawn start and end."""
    start, end = (int(i) for i in torch.randperm(tokens, generator=draw.generator())[:2])
    return Language(draw, tokens, end, start, end_bonus)


Ranking = list[tuple[list[int], float]]


def searched(student: Student, spoken: Language, beam: int, max_length: int, alpha: float) -> Ranking:
    """What the student's search returns, as plain lists and numbers."""
    spoken.prefixes.clear()
    found = student.beam_search(
        spoken, start=spoken.start, end=spoken.end, beam=beam, max_length=max_length, alpha=alpha
    )
    check(isinstance(found, list | tuple), f"the result is a {type(found).__name__}, not a list")
    check(
        all(isinstance(one, list | tuple) and len(one) == 2 for one in found),
        "an item is not (tokens, score)",
    )
    plain = []
    for tokens, score in found:
        check(isinstance(tokens, list | tuple | Tensor), "the tokens are no list")
        plain.append(([int(token) for token in tokens], float(score)))
    return plain


def same_ranking(got: Ranking, expected: Ranking, what: str) -> None:
    """The same sequences in the same order, with the same scores to six digits (room for float32)."""
    check([tokens for tokens, _ in got] == [tokens for tokens, _ in expected], f"{what}: other sequences")
    close([score for _, score in got], [score for _, score in expected], tolerance=1e-5, what=what)


def honest(spoken: Language, beam: int, max_length: int, alpha: float) -> Ranking:
    """The reference search."""
    return reference.beam_search(spoken, spoken.start, spoken.end, beam, max_length, alpha)


@beam_search.test(
    points=2,
    says="the best sequence was missed although nothing had to be thrown away: a beam as wide as the number of sequences must rank all of them, each once, by its log-probability",
)
def a_wide_beam_ranks_every_sequence(student: Student, draw: Draw) -> None:
    spoken = language(draw, tokens=3)
    most = 3
    everything = []
    for length in range(1, most + 1):
        for tokens in itertools.product(range(3), repeat=length):
            ends = [at for at, token in enumerate(tokens) if token == spoken.end]
            if ends == [length - 1] or (not ends and length == most):
                everything.append((list(tokens), spoken.total(list(tokens))))
    everything.sort(key=lambda one: one[1], reverse=True)
    same_ranking(searched(student, spoken, 100, most, 0.0), everything, "the ranking of all sequences")


@beam_search.test(
    points=2,
    says="the scores are not log-probabilities: take the log-softmax of each row of logits and add up along the sequence. Logits of two rows cannot be compared, and probabilities are multiplied, not added",
)
def log_probabilities_add_up(student: Student, draw: Draw) -> None:
    spoken = language(draw, tokens=draw.choice([5, 7]))
    beam, most = draw.integer(2, 4), draw.integer(3, 5)
    got = searched(student, spoken, beam, most, 0.0)
    check(len(got) > 0, "nothing was found")
    for tokens, score in got:
        check(0 < len(tokens) <= most, f"a sequence has {len(tokens)} tokens")
        close(score, spoken.total(tokens), tolerance=1e-5, what=f"the score of {tokens}")
    presupposes(got[0][1], honest(spoken, beam, most, 0.0)[0][1])


@beam_search.test(
    points=1.5,
    says="the beams were mixed up: a sequence must be extended by the tokens that the model gave for this very sequence, and keep its own past and its own sum when the pool is sorted anew",
)
def every_sequence_keeps_its_own_past(student: Student, draw: Draw) -> None:
    spoken = language(draw, tokens=draw.choice([7, 11]), end_bonus=-20.0)  # nobody ends
    beam, most = draw.integer(3, 5), draw.integer(4, 6)
    same_ranking(searched(student, spoken, beam, most, 0.0), honest(spoken, beam, most, 0.0), "the pool")


@beam_search.test(
    points=2,
    says="an ended sequence was extended, dropped or scored again: behind end nothing follows. It stays in the pool with the score it has, is not sent to the model, and competes with the longer ones for its place",
)
def ended_sequences_stay_as_they_are(student: Student, draw: Draw) -> None:
    spoken = language(draw, tokens=5, end_bonus=1.5)  # ends are frequent
    beam, most = draw.integer(4, 6), draw.integer(4, 6)
    expected = honest(spoken, beam, most, 0.0)
    got = searched(student, spoken, beam, most, 0.0)
    for tokens, _ in got:
        check(spoken.end not in tokens[:-1], f"{tokens} goes on behind its end")
    asked = [row for rows in spoken.prefixes for row in rows]
    check(all(spoken.end not in row[1:] for row in asked), "the model was asked what follows an end")
    same_ranking(got, expected, "the pool")


@beam_search.test(
    points=1.5,
    says="the length counts wrongly: the score is the sum divided by L to the power alpha, where L counts the tokens written, end included and start not, and the pool is ranked by this score in every round",
)
def scores_are_divided_by_a_power_of_the_length(student: Student, draw: Draw) -> None:
    for alpha in (1.0, draw.uniform(1, low=0.4, high=0.9).item(), 2.0):
        spoken = language(draw, tokens=5, end_bonus=0.5)
        beam, most = draw.integer(3, 5), draw.integer(4, 6)
        same_ranking(
            searched(student, spoken, beam, most, alpha), honest(spoken, beam, most, alpha), "the pool"
        )


@beam_search.test(
    points=1,
    says="the size of the pool is wrong: at most beam sequences are kept, asked about and returned, all different, the best first. The search begins with one empty sequence, for beam copies of it would only find the same things beam times",
)
def the_pool_holds_beam_different_sequences(student: Student, draw: Draw) -> None:
    spoken = language(draw, tokens=draw.choice([5, 7]), end_bonus=-20.0)
    for beam in (1, draw.integer(2, 4)):
        expected = honest(spoken, beam, 4, 0.0)
        got = searched(student, spoken, beam, 4, 0.0)
        widths = [len(rows) for rows in spoken.prefixes]
        check(max(widths, default=0) <= beam, f"the model was asked about {widths} sequences at once")
        check(len(got) == beam, f"{len(got)} sequences came back, expected {beam}")
        check(len({tuple(tokens) for tokens, _ in got}) == len(got), "the same sequence came back twice")
        same_ranking(got, expected, "the pool")


@beam_search.test(
    points=1,
    says="the search ends at the wrong time: when every sequence of the pool has ended, or after max_length tokens; what has not ended by then is returned as it is, without an end that nobody wrote",
)
def stops_when_the_pool_has_ended(student: Student, draw: Draw) -> None:
    spoken = language(draw, tokens=5, end_bonus=20.0)  # the likeliest thing is to end at once
    expected = honest(spoken, 1, 20, 0.0)
    same_ranking(searched(student, spoken, 1, 20, 0.0), expected, "the pool of one")
    check(len(spoken.prefixes) == 1, f"the model was asked {len(spoken.prefixes)} times")
    endless = language(draw, tokens=5, end_bonus=-20.0)
    for most in (1, draw.integer(2, 4)):
        expected = honest(endless, 2, most, 0.0)
        same_ranking(searched(student, endless, 2, most, 0.0), expected, f"after {most} tokens")


QUESTIONS = [
    Question(
        "what_the_baseline_shows",
        points=4,
        answer=(
            "The two models differ in one thing: what the decoder may read of the source. With attention it has one "
            "vector for every character, without it a single vector, the mean. Everything else is equal: encoder, "
            "decoder, number of parameters, data, steps, learning rate. So the measurement says that within this "
            "training the fixed vector does much worse, above all on two dates. It does not say that a fixed vector "
            "could never do it: 64 real numbers have room for two dates, and the baseline's loss was still falling. "
            "Nor does it show which property of attention helps: the decoder sees more numbers (a vector for each "
            "character), it may choose anew at every step, and copying is easier to learn than packing and unpacking. "
            "To tell room from ease of learning I would train the baseline much longer and with a wider vector until "
            "its score no longer rises, and look at the score against the number of dates in the source; if it is "
            "room, longer sources hurt however long the training is. To tell more numbers from choosing anew, I would "
            "give the decoder several fixed vectors with uniform weights. All with several seeds, since one run of "
            "each says nothing about the spread."
        ),
        rubric=(
            "1 point: says what is equal and what differs between the two models. 1 point: says that the result "
            "holds for this budget of training, and is no proof that one vector cannot hold the source. 1 point: "
            "proposes a measurement that separates capacity from ease of learning (longer training, a wider vector, "
            "score against the length of the source, training score against held-out score) and says which outcome "
            "would mean what. 1 point: names a further limit of the comparison, such as one seed, one task made of "
            "regular formats, one learning rate chosen for the model with attention."
        ),
    )
]
