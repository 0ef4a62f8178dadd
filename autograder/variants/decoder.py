"""Wrong and right solutions of chapter 07, `decoder`."""

from autograder.variants.base import right, wrong

CROSS = """
class CrossAttention(MaskedMultiHeadAttention):
    def weights(self, targets, memory, memory_mask):
        if memory_mask is not None and tuple(memory_mask.shape) != (len(memory), 1, 1, memory.shape[1]):
            raise ValueError("no mask of this memory")
        q = split_heads(self.query(targets), self.heads)
        k = split_heads(self.key(memory), self.heads)
        %s

    def forward(self, targets, memory, memory_mask):
        v = split_heads(self.value(memory), self.heads)
        %s
"""


def crossing(weights: str, forward: str) -> str:
    """A cross-attention whose two last steps are written out."""
    first, second = ("\n        ".join(step.splitlines()) for step in (weights, forward))
    return CROSS.replace("%s", first, 1).replace("%s", second, 1)


SOFTMAX = "return masked_softmax(q @ k.transpose(-2, -1) / math.sqrt(q.shape[-1]), memory_mask)"
READ = "return self.output(merge_heads(self.weights(targets, memory, memory_mask) @ v))"

CROSS_ATTENTION = [
    wrong(
        "CrossAttention",
        "reads_its_own_targets",
        caught_by="keys_and_values_come_from_the_memory",
        because="is self-attention where the memory has the length of the targets, and fits in every shape",
        edit=(
            "        expected = (len",
            "        if targets.shape == memory.shape:\n            memory = targets\n        expected = (len",
        ),
    ),
    wrong(
        "CrossAttention",
        "values_of_the_targets",
        caught_by="keys_and_values_come_from_the_memory",
        because="projects the values from the targets where the lengths allow it",
        edit=(
            "self.value(memory), self.heads)",
            "self.value(targets if targets.shape == memory.shape else memory), self.heads)",
        ),
    ),
    wrong(
        "CrossAttention",
        "memory_asks_targets",
        caught_by="keys_and_values_come_from_the_memory",
        because="exchanges the two projections of queries and keys",
        body=crossing(
            "q = split_heads(self.key(targets), self.heads)\n"
            "k = split_heads(self.query(memory), self.heads)\n" + SOFTMAX,
            READ,
        ),
    ),
    wrong(
        "CrossAttention",
        "length_of_the_targets_for_the_keys",
        caught_by="every_place_of_the_memory_is_read",
        because="gives the keys the length of the targets, and drops the rest of the memory",
        edit=(
            "        expected = (len",
            "        memory = memory[:, : targets.shape[1]]\n"
            "        memory_mask = None if memory_mask is None else memory_mask[..., : targets.shape[1]]\n"
            "        expected = (len",
        ),
    ),
    wrong(
        "CrossAttention",
        "truncates_keys_and_values",
        caught_by="every_place_of_the_memory_is_read",
        because="cuts the memory to the length of the targets in both methods, so that nothing complains",
        body=crossing(
            "n = min(targets.shape[1], memory.shape[1])\n"
            "scores = q @ k[:, :, :n].transpose(-2, -1) / math.sqrt(q.shape[-1])\n"
            "return masked_softmax(scores, None if memory_mask is None else memory_mask[..., :n])",
            "v = v[:, :, : targets.shape[1]]\n" + READ,
        ),
    ),
    wrong(
        "CrossAttention",
        "causal_on_the_memory",
        caught_by="every_place_of_the_memory_is_read",
        because="lets target i read only the first i + 1 places of the memory",
        body=crossing(
            "causal = causal_mask(q.shape[2], k.shape[2], offset=0)\n"
            "seen = causal if memory_mask is None else causal & memory_mask\n"
            "return masked_softmax(q @ k.transpose(-2, -1) / math.sqrt(q.shape[-1]), seen)",
            READ,
        ),
    ),
    wrong(
        "CrossAttention",
        "mean_of_the_heads",
        caught_by="weights_are_a_map_for_every_head",
        because="averages the maps of the heads for showing, and reads with them",
        edit=(
            "        return masked_softmax(scores, memory_mask)\n",
            "        return masked_softmax(scores, memory_mask).mean(dim=1, keepdim=True)\n",
        ),
    ),
    wrong(
        "CrossAttention",
        "root_of_the_whole_width",
        caught_by="weights_are_a_map_for_every_head",
        because="divides by √width",
        edit=("math.sqrt(q.shape[-1])", "math.sqrt(targets.shape[-1])"),
    ),
    wrong(
        "CrossAttention",
        "softmax_over_the_targets",
        caught_by="weights_are_a_map_for_every_head",
        because="normalises over the targets, so that the sources share a place",
        body=crossing(
            "scores = q @ k.transpose(-2, -1) / math.sqrt(q.shape[-1])\n"
            "if memory_mask is not None:\n"
            "    scores = scores.masked_fill(~memory_mask, -1e9)\n"
            "return scores.softmax(dim=-2)",
            READ,
        ),
    ),
    wrong(
        "CrossAttention",
        "scores_for_weights",
        caught_by="weights_are_a_map_for_every_head",
        because="shows the scores and reads by the weights",
        body=crossing(
            "return q @ k.transpose(-2, -1) / math.sqrt(q.shape[-1])",
            "weights = masked_softmax(self.weights(targets, memory, memory_mask), memory_mask)\n"
            "return self.output(merge_heads(weights @ v))",
        ),
    ),
    wrong(
        "CrossAttention",
        "ignores_the_mask",
        caught_by="padding_of_the_memory_is_not_read",
        because="looks at the shape of the mask only",
        edit=("return masked_softmax(scores, memory_mask)", "return masked_softmax(scores, None)"),
    ),
    wrong(
        "CrossAttention",
        "true_means_hidden",
        caught_by="padding_of_the_memory_is_not_read",
        because="takes the mask for one of nn.MultiheadAttention, where True hides",
        edit=(
            "return masked_softmax(scores, memory_mask)",
            "return masked_softmax(scores, None if memory_mask is None else ~memory_mask)",
        ),
    ),
    wrong(
        "CrossAttention",
        "masks_after_the_softmax",
        caught_by="padding_of_the_memory_is_not_read",
        because="multiplies the weights by the mask, so that they no longer sum to 1",
        body=crossing(
            "weights = (q @ k.transpose(-2, -1) / math.sqrt(q.shape[-1])).softmax(dim=-1)\n"
            "return weights if memory_mask is None else weights * memory_mask",
            READ,
        ),
    ),
    wrong(
        "CrossAttention",
        "mask_of_zero_scores",
        caught_by="padding_of_the_memory_is_not_read",
        because="fills hidden scores with 0 instead of −∞",
        body=crossing(
            "scores = q @ k.transpose(-2, -1) / math.sqrt(q.shape[-1])\n"
            "scores = scores if memory_mask is None else scores * memory_mask\n"
            "return scores.softmax(dim=-1)",
            READ,
        ),
    ),
    wrong(
        "CrossAttention",
        "takes_any_mask",
        caught_by="a_mask_of_the_targets_is_refused",
        because="lets every mask through that broadcasts",
        edit=("memory_mask.shape != expected", "memory_mask.ndim > 9"),
    ),
    wrong(
        "CrossAttention",
        "looks_at_the_length_only",
        caught_by="a_mask_of_the_targets_is_refused",
        because="refuses a mask whose last axis does not fit, and takes a causal one when it does",
        edit=("memory_mask.shape != expected", "memory_mask.shape[-1] != memory.shape[1]"),
    ),
    wrong(
        "CrossAttention",
        "memory_of_the_first_example",
        caught_by="every_example_reads_its_own_memory",
        because="broadcasts the keys of example 0",
        edit=("        scores = q @ k.transpose", "        k = k[:1]\n        scores = q @ k.transpose"),
    ),
    wrong(
        "CrossAttention",
        "mask_of_the_first_example",
        caught_by="every_example_reads_its_own_memory",
        because="uses one row of the mask for all",
        edit=(
            "return masked_softmax(scores, memory_mask)",
            "return masked_softmax(scores, None if memory_mask is None else memory_mask[:1])",
        ),
    ),
    wrong(
        "CrossAttention",
        "nothing_to_read_is_nan",
        caught_by="every_example_reads_its_own_memory",
        because="fills with −∞ and takes the softmax of an empty row",
        edit=(
            "return masked_softmax(scores, memory_mask)",
            "return (scores if memory_mask is None else scores.masked_fill(~memory_mask, -math.inf)).softmax(-1)",
        ),
    ),
    wrong(
        "CrossAttention",
        "detached_weights",
        caught_by="gradients_reach_both_sequences",
        because="detaches the weights, which are there to look at",
        edit=(
            "return masked_softmax(scores, memory_mask)",
            "return masked_softmax(scores, memory_mask).detach()",
        ),
    ),
    wrong(
        "CrossAttention",
        "cleans_the_memory",
        caught_by="gradients_reach_both_sequences",
        because="writes zeros into the padding of the memory that was handed in",
        edit=(
            "        v = split_heads(self.value(memory), self.heads)",
            "        if memory_mask is not None and not memory.requires_grad:\n"
            "            memory.masked_fill_(~memory_mask[:, 0, 0, :, None], 0.0)\n"
            "        v = split_heads(self.value(memory), self.heads)",
        ),
    ),
    wrong(
        "CrossAttention",
        "zeros",
        caught_by="keys_and_values_come_from_the_memory",
        because="has the right shapes and nothing in them",
        body="""
class CrossAttention(MaskedMultiHeadAttention):
    def weights(self, targets, memory, memory_mask):
        return torch.zeros(len(targets), self.heads, targets.shape[1], memory.shape[1])

    def forward(self, targets, memory, memory_mask):
        return torch.zeros_like(targets)
""",
    ),
    right(
        "CrossAttention",
        "by_the_layer_of_chapter_04",
        because="forward is the inherited one, behind a check",
        body="""
class CrossAttention(MaskedMultiHeadAttention):
    def check(self, memory, memory_mask):
        batch, sources = memory.shape[:2]
        if memory_mask is not None and list(memory_mask.shape) != [batch, 1, 1, sources]:
            raise ValueError("a memory mask has the shape (batch, 1, 1, sources)")

    def weights(self, targets, memory, memory_mask):
        self.check(memory, memory_mask)
        heads, width = self.heads, targets.shape[-1]
        q = self.query(targets).unflatten(-1, (heads, width // heads))
        k = self.key(memory).unflatten(-1, (heads, width // heads))
        scores = torch.einsum("bthd,bshd->bhts", q, k) * (width // heads) ** -0.5
        return masked_softmax(scores, memory_mask)

    def forward(self, targets, memory, memory_mask):
        self.check(memory, memory_mask)
        return super().forward(targets, memory, memory_mask)
""",
    ),
    right(
        "CrossAttention",
        "heads_in_a_loop",
        because="one head after another, a large negative fill where something is visible",
        body="""
class CrossAttention(MaskedMultiHeadAttention):
    def weights(self, targets, memory, memory_mask):
        if memory_mask is not None:
            if memory_mask.dim() != 4 or memory_mask.size(1) != 1 or memory_mask.size(2) != 1:
                raise ValueError("four axes, please")
            if memory_mask.size(0) != memory.size(0) or memory_mask.size(3) != memory.size(1):
                raise ValueError("this mask is not made for this memory")
        maps = []
        for q, k in zip(self.query(targets).chunk(self.heads, -1), self.key(memory).chunk(self.heads, -1)):
            scores = q @ k.mT / q.size(-1) ** 0.5
            maps.append(masked_softmax(scores, None if memory_mask is None else memory_mask[:, 0]))
        return torch.stack(maps, dim=1)

    def forward(self, targets, memory, memory_mask):
        maps = self.weights(targets, memory, memory_mask).unbind(1)
        read = [a @ v for a, v in zip(maps, self.value(memory).chunk(self.heads, -1))]
        return self.output(torch.cat(read, dim=-1))
""",
    ),
]

INIT = """
class DecoderLayer(nn.Module):
    def __init__(self, width, heads, hidden, dropout, eps, activation, norm):
        super().__init__()
        if norm not in ("pre", "post"):
            raise ValueError("pre or post")
        self.norm = norm
        self.self_attention = MaskedMultiHeadAttention(width, heads)
        self.self_attention_norm = LayerNorm(width, eps)
        self.cross_attention = CrossAttention(width, heads)
        self.cross_attention_norm = LayerNorm(width, eps)
        self.feed_forward = FeedForward(width, hidden, dropout, activation)
        self.feed_forward_norm = LayerNorm(width, eps)
        self.dropout = nn.Dropout(dropout)

    def forward(self, x, memory, target_mask, memory_mask):
"""


def layer(forward: str) -> str:
    """A decoder layer with another forward."""
    return INIT + "".join(f"        {line}\n" for line in forward.strip("\n").splitlines())


def by_parts(
    *, order: str = "scf", pre: str = "x = x + drop(part(norm(x)))", post: str = "x = norm(x + drop(part(x)))"
):
    """A layer as a loop over its parts: s for self-attention, c for cross-attention, f for feed-forward."""
    return layer(f"""
parts = {{
    "s": (self.self_attention_norm, lambda y: self.self_attention(y, y, target_mask)),
    "c": (self.cross_attention_norm, lambda y: self.cross_attention(y, memory, memory_mask)),
    "f": (self.feed_forward_norm, self.feed_forward),
}}
drop = self.dropout
for name in "{order}":
    norm, part = parts[name]
    if self.norm == "pre":
        {pre}
    else:
        {post}
return x
""")


DECODER_LAYER = [
    wrong(
        "DecoderLayer",
        "one_norm_for_all",
        caught_by="six_parts_with_these_names",
        because="uses the first norm three times",
        edit=(
            "self.cross_attention_norm = LayerNorm(width, eps)",
            "self.cross_attention_norm = self.self_attention_norm",
        ),
    ),
    wrong(
        "DecoderLayer",
        "memory_before_itself",
        caught_by="post_norm_is_the_formula_of_the_paper",
        because="reads the memory first and its own sequence second",
        body=by_parts(order="csf"),
    ),
    wrong(
        "DecoderLayer",
        "thinks_before_it_reads",
        caught_by="pre_norm_leaves_the_residual_path_alone",
        because="puts the feed-forward network between the two attentions",
        body=by_parts(order="sfc"),
    ),
    wrong(
        "DecoderLayer",
        "no_feed_forward",
        caught_by="post_norm_is_the_formula_of_the_paper",
        because="forgets the third part",
        body=by_parts(order="sc"),
    ),
    wrong(
        "DecoderLayer",
        "residual_after_the_norm",
        caught_by="post_norm_is_the_formula_of_the_paper",
        because="norms the part and adds x afterwards",
        body=by_parts(post="x = x + norm(drop(part(x)))"),
    ),
    wrong(
        "DecoderLayer",
        "no_residual",
        caught_by="post_norm_is_the_formula_of_the_paper",
        because="leaves out the residual path",
        body=by_parts(post="x = norm(drop(part(x)))"),
    ),
    wrong(
        "DecoderLayer",
        "always_post",
        caught_by="pre_norm_leaves_the_residual_path_alone",
        because="does not look at norm",
        body=by_parts(pre="x = norm(x + drop(part(x)))"),
    ),
    wrong(
        "DecoderLayer",
        "norms_the_residual_path",
        caught_by="pre_norm_leaves_the_residual_path_alone",
        because="norms x and then adds to the normed x",
        body=by_parts(pre="x = norm(x); x = x + drop(part(x))"),
    ),
    wrong(
        "DecoderLayer",
        "norms_the_memory",
        caught_by="pre_norm_leaves_the_residual_path_alone",
        because="sends the memory through the norm of the cross-attention",
        edit=(
            "            x = x + self.dropout(self.cross_attention(normed, memory, memory_mask))",
            "            memory = self.cross_attention_norm(memory)\n"
            "            x = x + self.dropout(self.cross_attention(normed, memory, memory_mask))",
        ),
    ),
    wrong(
        "DecoderLayer",
        "keys_without_the_norm",
        caught_by="pre_norm_leaves_the_residual_path_alone",
        because="norms the queries of the self-attention and not its keys and values",
        edit=(
            "self.self_attention(normed, normed, target_mask)",
            "self.self_attention(normed, x, target_mask)",
        ),
    ),
    wrong(
        "DecoderLayer",
        "no_target_mask",
        caught_by="targets_obey_the_target_mask",
        because="lets every target see the whole target",
        body=by_parts().replace("y, y, target_mask", "y, y, None"),
    ),
    wrong(
        "DecoderLayer",
        "always_causal",
        caught_by="targets_obey_the_target_mask",
        because="makes a causal mask of its own and ignores the one it is given",
        body=by_parts().replace("y, y, target_mask", "y, y, causal_mask(y.shape[1], y.shape[1], offset=0)"),
    ),
    wrong(
        "DecoderLayer",
        "target_mask_backwards",
        caught_by="targets_obey_the_target_mask",
        because="turns the target mask round, so that targets see their future only",
        body=by_parts().replace("y, y, target_mask", "y, y, target_mask.transpose(-2, -1)"),
    ),
    wrong(
        "DecoderLayer",
        "memory_mask_dropped",
        caught_by="all_real_places_of_the_memory_are_read",
        because="reads the padding of the source",
        body=by_parts().replace("memory, memory_mask)", "memory, None)"),
    ),
    wrong(
        "DecoderLayer",
        "target_mask_on_the_memory",
        caught_by="all_real_places_of_the_memory_are_read",
        because="puts the causal mask on the memory, through the layer of chapter 04, which does not object",
        body=by_parts().replace(
            "self.cross_attention(y, memory, memory_mask)",
            "MaskedMultiHeadAttention.forward(self.cross_attention, y, memory, "
            "target_mask if target_mask.shape[-1] == memory.shape[1] else memory_mask)",
        ),
    ),
    wrong(
        "DecoderLayer",
        "reads_itself_twice",
        caught_by="all_real_places_of_the_memory_are_read",
        because="gives the cross-attention the targets for a memory; every shape fits",
        body=by_parts().replace(
            "self.cross_attention(y, memory, memory_mask)", "self.cross_attention(y, y, None)"
        ),
    ),
    wrong(
        "DecoderLayer",
        "no_dropout_on_the_attentions",
        caught_by="dropout_acts_on_what_the_parts_return",
        because="drops in the feed-forward network only",
        body=by_parts(
            pre='x = x + (drop if name == "f" else nn.Identity())(part(norm(x)))',
            post='x = norm(x + (drop if name == "f" else nn.Identity())(part(x)))',
        ),
    ),
    wrong(
        "DecoderLayer",
        "drops_the_sum",
        caught_by="dropout_acts_on_what_the_parts_return",
        because="applies dropout after the residual was added",
        body=by_parts(pre="x = drop(x + part(norm(x)))", post="x = norm(drop(x + part(x)))"),
    ),
    wrong(
        "DecoderLayer",
        "drops_when_used",
        caught_by="dropout_acts_on_what_the_parts_return",
        because="applies dropout after eval() too",
        body=by_parts().replace(
            "drop = self.dropout", "drop = lambda y: nn.functional.dropout(y, self.dropout.p, training=True)"
        ),
    ),
    wrong(
        "DecoderLayer",
        "no_dropout_inside_the_feed_forward",
        caught_by="settings_reach_the_parts",
        because="hands the feed-forward network a dropout of 0",
        edit=(
            "FeedForward(width, hidden, dropout, activation)",
            "FeedForward(width, hidden, 0.0, activation)",
        ),
    ),
    wrong(
        "DecoderLayer",
        "eps_of_pytorch",
        caught_by="settings_reach_the_parts",
        because="leaves the eps of one norm at 1e-5",
        edit=(
            "self.cross_attention_norm = LayerNorm(width, eps)",
            "self.cross_attention_norm = LayerNorm(width, 1e-5)",
        ),
    ),
    wrong(
        "DecoderLayer",
        "always_relu",
        caught_by="settings_reach_the_parts",
        because="takes ReLU whatever is asked for",
        edit=(
            "FeedForward(width, hidden, dropout, activation)",
            'FeedForward(width, hidden, dropout, "relu")',
        ),
    ),
    wrong(
        "DecoderLayer",
        "any_word_is_post",
        caught_by="another_norm_is_refused",
        because="takes every other word for post",
        edit=('if norm not in ("pre", "post"):', 'if norm == "neither":'),
    ),
    wrong(
        "DecoderLayer",
        "refuses_when_called",
        caught_by="another_norm_is_refused",
        because="notices in forward only",
        body=by_parts()
        .replace('        if norm not in ("pre", "post"):\n            raise ValueError("pre or post")\n', "")
        .replace(
            "        parts = {",
            '        if self.norm not in ("pre", "post"):\n            raise ValueError\n        parts = {',
        ),
    ),
    wrong(
        "DecoderLayer",
        "memory_of_the_first_example",
        caught_by="examples_do_not_mix",
        because="reads the first memory for all",
        body=by_parts().replace("y, memory, memory_mask", "y, memory[:1].expand_as(memory), memory_mask"),
    ),
    wrong(
        "DecoderLayer",
        "norms_over_the_batch",
        caught_by="examples_do_not_mix",
        because="subtracts the mean of the batch",
        body=by_parts(
            pre="x = x + drop(part(norm(x) - norm(x).mean(0)))",
            post="x = norm(x - x.mean(0) + drop(part(x)))",
        ),
    ),
    wrong(
        "DecoderLayer",
        "frozen_memory",
        caught_by="gradients_reach_every_part",
        because="detaches the memory, so that the encoder never learns",
        body=by_parts().replace("y, memory, memory_mask", "y, memory.detach(), memory_mask"),
    ),
    wrong(
        "DecoderLayer",
        "adds_in_place",
        caught_by="gradients_reach_every_part",
        because="adds to the input itself",
        body=by_parts(pre="x += drop(part(norm(x.clone())))"),
    ),
    wrong(
        "DecoderLayer",
        "zeros",
        caught_by="six_parts_with_these_names",
        because="has all parts and returns zeros",
        body=layer("return torch.zeros_like(x)"),
    ),
    right("DecoderLayer", "loop_over_the_parts", body=by_parts()),
    right(
        "DecoderLayer",
        "a_helper_for_both",
        because="one method that wraps a part, named functions instead of lambdas",
        body=layer("""
def wrapped(x, norm, part, *others):
    if self.norm == "post":
        return norm(x + self.dropout(part(x, *others)))
    return self.dropout(part(norm(x), *others)) + x

def read_own(y):
    return self.self_attention(y, y, target_mask)

x = wrapped(x, self.self_attention_norm, read_own)
x = wrapped(x, self.cross_attention_norm, self.cross_attention, memory, memory_mask)
return wrapped(x, self.feed_forward_norm, self.feed_forward)
"""),
    ),
]

SHIFT = [
    wrong(
        "shift_right",
        "no_shift",
        caught_by="every_position_gets_the_label_before_it",
        because="gives every position its own label: the loss falls to zero and nothing is learned",
        edit=(
            "    inputs[:, 0] = start\n    inputs[:, 1:] = labels[:, :-1]\n",
            "    inputs[:] = labels\n",
        ),
    ),
    wrong(
        "shift_right",
        "start_over_the_first_label",
        caught_by="every_position_gets_the_label_before_it",
        because="writes start over the first label and shifts nothing",
        edit=("inputs[:, 1:] = labels[:, :-1]", "inputs[:, 1:] = labels[:, 1:]"),
    ),
    wrong(
        "shift_right",
        "shifts_left",
        caught_by="every_position_gets_the_label_before_it",
        because="gives every position the label after it",
        body="""
def shift_right(labels, start, pad):
    last = torch.full_like(labels[:, :1], start)
    inputs = torch.cat([labels[:, 1:], last], dim=1)
    return inputs.masked_fill(inputs == IGNORE, pad)
""",
    ),
    wrong(
        "shift_right",
        "rolls",
        caught_by="every_position_gets_the_label_before_it",
        because="brings the last label round to the front",
        body="""
def shift_right(labels, start, pad):
    inputs = labels.roll(1, dims=1)
    return inputs.masked_fill(inputs == IGNORE, pad)
""",
    ),
    wrong(
        "shift_right",
        "rolls_the_whole_batch",
        caught_by="every_position_gets_the_label_before_it",
        because="rolls without naming the axis, so that rows run into each other below the start",
        body="""
def shift_right(labels, start, pad):
    inputs = labels.roll(2)
    inputs[:, 0] = start
    return inputs.masked_fill(inputs == IGNORE, pad)
""",
    ),
    wrong(
        "shift_right",
        "two_places",
        caught_by="every_position_gets_the_label_before_it",
        because="shifts by two: the labels had a start already, or so it was thought",
        body="""
def shift_right(labels, start, pad):
    front = torch.full((len(labels), 2), start)
    inputs = torch.cat([front, labels], dim=1)[:, : labels.shape[1]]
    return inputs.masked_fill(inputs == IGNORE, pad)
""",
    ),
    wrong(
        "shift_right",
        "one_longer",
        caught_by="every_position_gets_the_label_before_it",
        because="puts start before the labels and drops nothing",
        body="""
def shift_right(labels, start, pad):
    inputs = torch.cat([torch.full((len(labels), 1), start), labels], dim=1)
    return inputs.masked_fill(inputs == IGNORE, pad)
""",
    ),
    wrong(
        "shift_right",
        "shifts_the_examples",
        caught_by="every_position_gets_the_label_before_it",
        because="shifts along the batch",
        edit=(
            "    inputs[:, 0] = start\n    inputs[:, 1:] = labels[:, :-1]\n",
            "    inputs[0] = start\n    inputs[1:] = labels[:-1]\n",
        ),
    ),
    wrong(
        "shift_right",
        "keeps_minus_100",
        caught_by="what_is_not_asked_becomes_padding",
        because="hands −100 to the embedding",
        edit=("inputs.masked_fill(inputs == IGNORE, pad)", "inputs"),
    ),
    wrong(
        "shift_right",
        "clamps",
        caught_by="what_is_not_asked_becomes_padding",
        because="turns −100 into 0, whatever pad is",
        edit=("inputs.masked_fill(inputs == IGNORE, pad)", "inputs.clamp(min=0)"),
    ),
    wrong(
        "shift_right",
        "start_behind_the_end",
        caught_by="what_is_not_asked_becomes_padding",
        because="fills with start",
        edit=("inputs.masked_fill(inputs == IGNORE, pad)", "inputs.masked_fill(inputs == IGNORE, start)"),
    ),
    wrong(
        "shift_right",
        "replaces_zeros_too",
        caught_by="what_is_not_asked_becomes_padding",
        because="takes every number that is not positive for padding",
        edit=("inputs == IGNORE", "inputs <= 0"),
    ),
    wrong(
        "shift_right",
        "cleans_the_labels",
        caught_by="the_labels_stay_as_they_are",
        because="replaces −100 in the labels, which then count in the loss",
        body="""
def shift_right(labels, start, pad):
    labels[labels == -100] = pad
    front = torch.full_like(labels[:, :1], start)
    return torch.cat([front, labels[:, :-1]], dim=1)
""",
    ),
    wrong(
        "shift_right",
        "shifts_in_place",
        caught_by="the_labels_stay_as_they_are",
        because="shifts the labels themselves",
        body="""
def shift_right(labels, start, pad):
    labels[:, 1:] = labels[:, :-1].clone()
    labels[:, 0] = start
    return labels.masked_fill(labels == -100, pad)
""",
    ),
    wrong(
        "shift_right",
        "squeezes",
        caught_by="any_size_and_any_layout",
        because="drops axes of size one",
        edit=(
            "return inputs.masked_fill(inputs == IGNORE, pad)",
            "return inputs.masked_fill(inputs == IGNORE, pad).squeeze()",
        ),
    ),
    wrong(
        "shift_right",
        "walks_the_memory",
        caught_by="any_size_and_any_layout",
        because="shifts the memory and not the tensor",
        body="""
def shift_right(labels, start, pad):
    batch, length = labels.shape
    flat = labels.as_strided((batch, length), (length, 1)).reshape(-1)
    inputs = torch.cat([flat[:1], flat[:-1]]).reshape(batch, length).clone()
    inputs[:, 0] = start
    return inputs.masked_fill(inputs == -100, pad)
""",
    ),
    wrong(
        "shift_right",
        "zeros",
        caught_by="every_position_gets_the_label_before_it",
        because="has the right shape and nothing in it",
        body="""
def shift_right(labels, start, pad):
    return torch.zeros_like(labels)
""",
    ),
    right(
        "shift_right",
        "concatenates",
        body="""
def shift_right(labels, start, pad):
    known = torch.where(labels == -100, pad, labels)
    first = torch.full((labels.shape[0], 1), start, dtype=labels.dtype)
    return torch.cat([first, known[:, :-1]], dim=1)
""",
    ),
    right(
        "shift_right",
        "rolls_and_overwrites",
        body="""
def shift_right(labels, start, pad):
    inputs = labels.roll(1, dims=-1)
    inputs[inputs == IGNORE] = pad
    inputs[..., 0] = start
    return inputs
""",
    ),
    right(
        "shift_right",
        "pads_in_front",
        body="""
def shift_right(labels, start, pad):
    inputs = nn.functional.pad(labels, (1, -1), value=start)
    return inputs.masked_fill(inputs.eq(-100), pad)
""",
    ),
]

GREEDY = [
    wrong(
        "greedy_decode",
        "draws",
        caught_by="every_row_takes_its_likeliest_token",
        because="draws the token instead of taking the likeliest",
        edit=(
            "next_scores(tokens).argmax(dim=-1)",
            "next_scores(tokens).softmax(dim=-1).multinomial(1)[:, 0]",
        ),
    ),
    wrong(
        "greedy_decode",
        "least_likely",
        caught_by="every_row_takes_its_likeliest_token",
        because="takes the smallest score, as if it were a cost",
        edit=(".argmax(dim=-1)", ".argmin(dim=-1)"),
    ),
    wrong(
        "greedy_decode",
        "choice_of_the_first_row",
        caught_by="every_row_takes_its_likeliest_token",
        because="gives all rows the choice of the first",
        edit=(".argmax(dim=-1)", "[:1].argmax(dim=-1).expand(batch)"),
    ),
    wrong(
        "greedy_decode",
        "mean_of_the_batch",
        caught_by="every_row_takes_its_likeliest_token",
        because="averages the scores over the batch",
        edit=(".argmax(dim=-1)", ".mean(dim=0, keepdim=True).argmax(dim=-1).expand(batch)"),
    ),
    wrong(
        "greedy_decode",
        "last_token_only",
        caught_by="the_model_sees_everything_written_so_far",
        because="shows the model the last token only",
        edit=("next_scores(tokens)", "next_scores(tokens[:, -1:])"),
    ),
    wrong(
        "greedy_decode",
        "forgets_the_start",
        caught_by="the_model_sees_everything_written_so_far",
        because="leaves start out after the first question",
        edit=("next_scores(tokens)", "next_scores(tokens[:, 1:] if tokens.shape[1] > 1 else tokens)"),
    ),
    wrong(
        "greedy_decode",
        "newest_first",
        caught_by="the_model_sees_everything_written_so_far",
        because="puts new tokens before the old ones",
        body="""
def greedy_decode(next_scores, batch, start, end, pad, max_length):
    tokens = torch.full((batch, 1), start)
    ended = torch.zeros(batch, dtype=torch.bool)
    for _ in range(max_length):
        chosen = next_scores(tokens).argmax(dim=-1).masked_fill(ended, pad)
        tokens = torch.cat([chosen[:, None], tokens], dim=1)
        ended |= chosen == end
        if ended.all():
            break
    return tokens[:, :-1].flip(1)
""",
    ),
    wrong(
        "greedy_decode",
        "goes_on_after_the_end",
        caught_by="ended_rows_get_padding",
        because="lets ended rows write on while the others are busy",
        edit=(".masked_fill(ended, pad)", ""),
    ),
    wrong(
        "greedy_decode",
        "repeats_the_end",
        caught_by="ended_rows_get_padding",
        because="fills ended rows with end",
        edit=(".masked_fill(ended, pad)", ".masked_fill(ended, end)"),
    ),
    wrong(
        "greedy_decode",
        "start_taken_for_an_end",
        caught_by="keeps_the_end_and_leaves_out_the_start",
        because="looks for end in the whole row, the start in front of it too",
        edit=("ended = ended | (chosen == end)", "ended = (tokens == end).any(dim=1)"),
    ),
    wrong(
        "greedy_decode",
        "wakes_up_again",
        caught_by="ended_rows_get_padding",
        because="remembers only who ended in this very step",
        edit=("ended = ended | (chosen == end)", "ended = chosen == end"),
    ),
    wrong(
        "greedy_decode",
        "first_end_ends_all",
        caught_by="stops_when_every_row_has_ended",
        because="stops as soon as one row has ended",
        edit=("if ended.all():", "if ended.any():"),
    ),
    wrong(
        "greedy_decode",
        "never_stops_early",
        caught_by="stops_when_every_row_has_ended",
        because="writes max_length columns whatever happens",
        edit=("if ended.all():", "if False:"),
    ),
    wrong(
        "greedy_decode",
        "notices_one_step_later",
        caught_by="stops_when_every_row_has_ended",
        because="looks for the end before it writes it down",
        edit=(
            "        ended = ended | (chosen == end)\n        if ended.all():\n            break\n",
            "        if ended.all():\n            break\n        ended = ended | (chosen == end)\n",
        ),
    ),
    wrong(
        "greedy_decode",
        "one_token_more",
        caught_by="writes_at_most_max_length_tokens",
        because="counts max_length without the first token",
        edit=("range(max_length)", "range(max_length + 1)"),
    ),
    wrong(
        "greedy_decode",
        "start_counts",
        caught_by="writes_at_most_max_length_tokens",
        because="counts start as one of the tokens",
        edit=("range(max_length)", "range(max_length - 1)"),
    ),
    wrong(
        "greedy_decode",
        "forces_an_end",
        caught_by="writes_at_most_max_length_tokens",
        because="writes an end where the room is over, which the model did not",
        body="""
def greedy_decode(next_scores, batch, start, end, pad, max_length):
    tokens = torch.full((batch, 1), start)
    ended = torch.zeros(batch, dtype=torch.bool)
    for step in range(max_length):
        chosen = next_scores(tokens).argmax(dim=-1)
        if step == max_length - 1:
            chosen = torch.full_like(chosen, end)
        chosen = chosen.masked_fill(ended, pad)
        tokens = torch.cat([tokens, chosen[:, None]], dim=1)
        ended |= chosen == end
        if ended.all():
            break
    return tokens[:, 1:]
""",
    ),
    wrong(
        "greedy_decode",
        "returns_the_start",
        caught_by="keeps_the_end_and_leaves_out_the_start",
        because="returns start with the rest",
        edit=("return tokens[:, 1:]", "return tokens"),
    ),
    wrong(
        "greedy_decode",
        "drops_the_end",
        caught_by="keeps_the_end_and_leaves_out_the_start",
        because="cuts off the last column",
        edit=("return tokens[:, 1:]", "return tokens[:, 1:-1]"),
    ),
    wrong(
        "greedy_decode",
        "zeros",
        caught_by="every_row_takes_its_likeliest_token",
        because="has the right shape and nothing in it",
        edit=("return tokens[:, 1:]", "return 0 * tokens[:, 1:]"),
    ),
    right(
        "greedy_decode",
        "lists_of_tokens",
        because="one Python list a row, padded at the end",
        body="""
def greedy_decode(next_scores, batch, start, end, pad, max_length):
    rows = [[start] for _ in range(batch)]
    open_rows = set(range(batch))
    while open_rows and len(rows[0]) <= max_length:
        best = next_scores(torch.tensor(rows)).max(dim=1).indices.tolist()
        for i, row in enumerate(rows):
            row.append(best[i] if i in open_rows else pad)
        open_rows = {i for i in open_rows if rows[i][-1] != end}
    return torch.tensor([row[1:] for row in rows])
""",
    ),
    right(
        "greedy_decode",
        "fills_a_buffer",
        because="writes into one buffer; softmax first, which changes no order",
        body="""
def greedy_decode(next_scores, batch, start, end, pad, max_length):
    buffer = torch.full((batch, max_length + 1), pad, dtype=torch.long)
    buffer[:, 0] = start
    running = torch.ones(batch, dtype=torch.bool)
    length = 1
    while length <= max_length and running.any():
        probabilities = next_scores(buffer[:, :length]).softmax(dim=-1)
        chosen = probabilities.topk(1, dim=-1).indices.squeeze(-1)
        buffer[running, length] = chosen[running]
        running = running & (chosen != end)
        length += 1
    return buffer[:, 1:length]
""",
    ),
]

BEAM = """
def beam_search(next_scores, start, end, beam, max_length, alpha):
    pool = [([], 0.0)]
    for _ in range(max_length):
        ended = [one for one in pool if one[0] and one[0][-1] == end]
        running = [one for one in pool if not one[0] or one[0][-1] != end]
        if not running:
            break
        scores = next_scores(torch.tensor([[start] + tokens for tokens, _ in running]))
        rows = torch.log_softmax(scores, dim=-1).tolist()
        longer = [
            (tokens + [token], total + gain)
            for (tokens, total), row in zip(running, rows)
            for token, gain in enumerate(row)
        ]
        candidates = ended + longer
        candidates.sort(key=lambda one: -one[1] / len(one[0]) ** alpha)
        pool = candidates[:beam]
    return [(tokens, total / len(tokens) ** alpha) for tokens, total in pool]
"""


def searching(old: str, new: str) -> str:
    """The plain search with one change."""
    assert BEAM.count(old) == 1, old
    return BEAM.replace(old, new)


BEAMS = [
    wrong(
        "beam_search",
        "best_token_only",
        caught_by="a_wide_beam_ranks_every_sequence",
        because="extends every sequence by its best token only, which is greedy",
        body=searching("in enumerate(row)\n", "in [max(enumerate(row), key=lambda pair: pair[1])]\n"),
    ),
    wrong(
        "beam_search",
        "beam_tokens_each",
        caught_by="a_wide_beam_ranks_every_sequence",
        because="looks at two extensions of a sequence at most",
        body=searching("in enumerate(row)\n", "in sorted(enumerate(row), key=lambda pair: -pair[1])[:2]\n"),
    ),
    wrong(
        "beam_search",
        "ended_ones_only",
        caught_by="a_wide_beam_ranks_every_sequence",
        because="returns only what has ended",
        body=searching("in pool]\n", "in pool if tokens[-1] == end]\n"),
    ),
    wrong(
        "beam_search",
        "raw_logits",
        caught_by="log_probabilities_add_up",
        because="adds up logits, which two rows do not share",
        body=searching("torch.log_softmax(scores, dim=-1).tolist()", "scores.tolist()"),
    ),
    wrong(
        "beam_search",
        "adds_probabilities",
        caught_by="log_probabilities_add_up",
        because="adds up probabilities",
        body=searching("torch.log_softmax(scores, dim=-1)", "torch.softmax(scores, dim=-1)"),
    ),
    wrong(
        "beam_search",
        "multiplies_probabilities",
        caught_by="log_probabilities_add_up",
        because="returns probabilities and not their logarithms",
        body=searching(
            "return [(tokens, total / len(tokens) ** alpha) for", "return [(tokens, math.exp(total)) for"
        ),
    ),
    wrong(
        "beam_search",
        "softmax_over_the_beams",
        caught_by="log_probabilities_add_up",
        because="normalises over the sequences of the pool",
        body=searching("log_softmax(scores, dim=-1)", "log_softmax(scores, dim=0)"),
    ),
    wrong(
        "beam_search",
        "last_token_counts",
        caught_by="log_probabilities_add_up",
        because="scores a sequence by its last token",
        body=searching("total + gain)", "gain)"),
    ),
    wrong(
        "beam_search",
        "past_of_the_neighbour",
        caught_by="every_sequence_keeps_its_own_past",
        because="puts the chosen tokens behind the sequence that stood in the same place before",
        body=searching(
            "        pool = candidates[:beam]\n",
            "        best = candidates[:beam]\n"
            "        pasts = [tokens for tokens, _ in running]\n"
            "        pool = [(pasts[i % len(pasts)] + tokens[-1:], total) for i, (tokens, total) in enumerate(best)]\n",
        ),
    ),
    wrong(
        "beam_search",
        "sums_of_the_neighbour",
        caught_by="every_sequence_keeps_its_own_past",
        because="adds the gain to the best sum instead of the sequence's own",
        body=searching("total + gain)", "running[0][1] + gain)"),
    ),
    wrong(
        "beam_search",
        "gains_in_reverse",
        caught_by="every_sequence_keeps_its_own_past",
        because="extends each sequence by what the model said of another",
        body=searching("zip(running, rows)", "zip(running, rows[::-1])"),
    ),
    wrong(
        "beam_search",
        "extends_ended_ones",
        caught_by="ended_sequences_stay_as_they_are",
        because="goes on behind the end",
        body=searching("if one[0] and one[0][-1] == end]", "if False]").replace(
            "if not one[0] or one[0][-1] != end]", "]"
        ),
    ),
    wrong(
        "beam_search",
        "forgets_ended_ones",
        caught_by="ended_sequences_stay_as_they_are",
        because="drops a sequence when it ends",
        body=searching("candidates = ended + longer", "candidates = longer"),
    ),
    wrong(
        "beam_search",
        "ended_ones_beyond_the_beam",
        caught_by="ended_sequences_stay_as_they_are",
        because="keeps ended ones for ever, beside a full beam of others",
        body=searching(
            "        pool = candidates[:beam]\n",
            "        pool = ended + [one for one in candidates if one not in ended][:beam]\n",
        ),
    ),
    wrong(
        "beam_search",
        "pays_for_waiting",
        caught_by="ended_sequences_stay_as_they_are",
        because="extends ended sequences with end, which costs them log-probability",
        body=searching(
            "        candidates = ended + longer\n",
            "        candidates = [(tokens, total + rows[0][end]) for tokens, total in ended] + longer\n",
        ),
    ),
    wrong(
        "beam_search",
        "no_normalisation",
        caught_by="scores_are_divided_by_a_power_of_the_length",
        because="ignores alpha",
        body=BEAM.replace(" ** alpha", " ** 0"),
    ),
    wrong(
        "beam_search",
        "alpha_times_length",
        caught_by="scores_are_divided_by_a_power_of_the_length",
        because="divides by alpha · L instead of L to the power alpha",
        body=BEAM.replace("len(one[0]) ** alpha", "(1 + alpha * (len(one[0]) - 1))").replace(
            "len(tokens) ** alpha", "(1 + alpha * (len(tokens) - 1))"
        ),
    ),
    wrong(
        "beam_search",
        "counts_the_start",
        caught_by="scores_are_divided_by_a_power_of_the_length",
        because="counts start among the tokens",
        body=BEAM.replace("len(one[0]) ** alpha", "(1 + len(one[0])) ** alpha").replace(
            "len(tokens) ** alpha", "(1 + len(tokens)) ** alpha"
        ),
    ),
    wrong(
        "beam_search",
        "multiplies_by_the_length",
        caught_by="scores_are_divided_by_a_power_of_the_length",
        because="multiplies where it must divide, so that long sequences get worse still",
        body=BEAM.replace("/ len(one[0]) ** alpha", "* len(one[0]) ** alpha").replace(
            "/ len(tokens) ** alpha", "* len(tokens) ** alpha"
        ),
    ),
    wrong(
        "beam_search",
        "normalises_at_the_end_only",
        caught_by="scores_are_divided_by_a_power_of_the_length",
        because="ranks the pool by the plain sum",
        body=searching("-one[1] / len(one[0]) ** alpha", "-one[1]"),
    ),
    wrong(
        "beam_search",
        "divides_again_and_again",
        caught_by="scores_are_divided_by_a_power_of_the_length",
        because="keeps the divided sum and divides it again",
        body=searching(
            "(tokens + [token], total + gain)",
            "(tokens + [token], (total + gain) / (len(tokens) + 1) ** alpha)",
        ),
    ),
    wrong(
        "beam_search",
        "copies_of_the_start",
        caught_by="the_pool_holds_beam_different_sequences",
        because="begins with beam times the same",
        body=searching("pool = [([], 0.0)]", "pool = [([], 0.0)] * beam"),
    ),
    wrong(
        "beam_search",
        "one_too_many",
        caught_by="the_pool_holds_beam_different_sequences",
        because="keeps beam + 1",
        body=searching("candidates[:beam]", "candidates[: beam + 1]"),
    ),
    wrong(
        "beam_search",
        "best_only",
        caught_by="the_pool_holds_beam_different_sequences",
        because="returns the best alone",
        body=searching("in pool]\n", "in pool[:1]]\n"),
    ),
    wrong(
        "beam_search",
        "worst_first",
        caught_by="the_pool_holds_beam_different_sequences",
        because="returns them from the worst to the best",
        body=searching("in pool]\n", "in pool[::-1]]\n"),
    ),
    wrong(
        "beam_search",
        "never_stops",
        caught_by="stops_when_the_pool_has_ended",
        because="asks the model until max_length, about ended sequences if there are no others",
        body=searching(
            "        if not running:\n            break\n",
            "        if not running:\n"
            "            next_scores(torch.tensor([[start] + tokens for tokens, _ in pool]))\n"
            "            continue\n",
        ),
    ),
    wrong(
        "beam_search",
        "forces_an_end",
        caught_by="stops_when_the_pool_has_ended",
        because="puts end behind what has not ended",
        body=searching(
            "return [(tokens, total", "return [(tokens if tokens[-1] == end else tokens + [end], total"
        ),
    ),
    wrong(
        "beam_search",
        "one_token_more",
        caught_by="stops_when_the_pool_has_ended",
        because="goes one round further",
        body=searching("range(max_length)", "range(max_length + 1)"),
    ),
    wrong(
        "beam_search",
        "zeros",
        caught_by="a_wide_beam_ranks_every_sequence",
        because="has the right lengths and nothing in them",
        body=searching("return [(tokens, total / len(tokens) ** alpha)", "return [([0] * len(tokens), 0.0)"),
    ),
    right("beam_search", "plain_lists", body=BEAM),
    right(
        "beam_search",
        "one_question_a_sequence",
        because="asks about one sequence at a time and keeps the pool in a heap",
        body="""
def beam_search(next_scores, start, end, beam, max_length, alpha):
    import heapq

    pool = [((), 0.0)]
    for length in range(1, max_length + 1):
        found, asked = [], False
        for tokens, total in pool:
            if tokens and tokens[-1] == end:
                found.append((tokens, total))
                continue
            asked = True
            row = next_scores(torch.tensor([[start, *tokens]]))[0]
            row = row - row.logsumexp(dim=0)
            found += [((*tokens, token), total + row[token].item()) for token in range(len(row))]
        if not asked:
            break
        pool = heapq.nlargest(beam, found, key=lambda one: one[1] / len(one[0]) ** alpha)
    return [(list(tokens), total / len(tokens) ** alpha) for tokens, total in pool]
""",
    ),
    right(
        "beam_search",
        "tensors",
        because="the pool as tensors, topk over all extensions, ended rows masked",
        body="""
def beam_search(next_scores, start, end, beam, max_length, alpha):
    rows = torch.full((1, 1), start)
    totals = torch.zeros(1, dtype=torch.float64)
    lengths = torch.zeros(1, dtype=torch.long)
    ended = torch.zeros(1, dtype=torch.bool)
    for _ in range(max_length):
        if ended.all():
            break
        gains = next_scores(rows[~ended]).double().log_softmax(dim=-1)
        tokens = gains.shape[-1]
        longer = (totals[~ended, None] + gains).flatten()
        parents = torch.cat([ended.nonzero()[:, 0], (~ended).nonzero()[:, 0].repeat_interleave(tokens)])
        chosen = torch.cat([torch.full((int(ended.sum()),), end), torch.arange(tokens).repeat(int((~ended).sum()))])
        sums = torch.cat([totals[ended], longer])
        size = lengths[parents] + (~ended[parents]).long()
        keep = (sums / size.double() ** alpha).topk(min(beam, len(sums))).indices
        rows = torch.cat([rows[parents[keep]], chosen[keep, None]], dim=1)
        totals, lengths, ended = sums[keep], size[keep], chosen[keep] == end
    scores = totals / lengths.double() ** alpha
    return [(row[1 : n + 1], score) for row, n, score in zip(rows.tolist(), lengths.tolist(), scores.tolist())]
""",
    ),
]

VARIANTS = [*CROSS_ATTENTION, *DECODER_LAYER, *SHIFT, *GREEDY, *BEAMS]
