"""Wrong and right solutions of chapter 03, `multi_head`."""

from autograder.variants.base import right, wrong

SPLIT = [
    wrong(
        "split_heads",
        "view_for_transpose",
        caught_by="positions_do_not_mix",
        because="reshapes straight to (batch, heads, length, dim), which regroups positions",
        body="""
def split_heads(x, heads):
    batch, length, width = x.shape
    if width % heads:
        raise ValueError("heads must divide the width")
    return x.reshape(batch, heads, length, width // heads)
""",
    ),
    wrong(
        "split_heads",
        "every_heads_th_number",
        caught_by="heads_are_slices_of_the_width",
        because="deals the numbers of a position out to the heads in turn",
        edit=("(heads dim) ->", "(dim heads) ->"),
    ),
    wrong(
        "split_heads",
        "heads_behind_length",
        caught_by="positions_do_not_mix",
        because="cuts the width but leaves the heads axis behind the length axis",
        edit=("-> batch heads length dim", "-> batch length heads dim"),
    ),
    wrong(
        "split_heads",
        "cuts_the_rest_off",
        caught_by="heads_must_divide",
        because="rounds the head width down and drops the last numbers",
        body="""
def split_heads(x, heads):
    batch, length, width = x.shape
    dim = width // heads
    return x[..., : heads * dim].reshape(batch, length, heads, dim).transpose(1, 2)
""",
    ),
    wrong(
        "split_heads",
        "another_error",
        caught_by="heads_must_divide",
        because="leaves it to einops to complain, with an error that is not a ValueError",
        edit=("    if width % heads:\n", "    if width < 0:\n"),
    ),
    wrong(
        "split_heads",
        "strides_by_hand",
        caught_by="layout_in_memory_does_not_matter",
        because="walks the memory with the strides of a contiguous tensor",
        body="""
def split_heads(x, heads):
    batch, length, width = x.shape
    if width % heads:
        raise ValueError("heads must divide the width")
    dim = width // heads
    return x.as_strided((batch, heads, length, dim), (length * width, dim, width, 1))
""",
    ),
    right(
        "split_heads",
        "view_only",
        because="cutting one axis in two is a view of any layout",
        body="""
def split_heads(x, heads):
    batch, length, width = x.shape
    if width % heads:
        raise ValueError("heads must divide the width")
    return x.view(batch, length, heads, width // heads).transpose(1, 2)
""",
    ),
    wrong(
        "split_heads",
        "squeezes",
        caught_by="sizes_of_one_keep_their_axis",
        because="drops axes of size one",
        edit=('dim", heads=heads)', 'dim", heads=heads).squeeze()'),
    ),
    wrong(
        "split_heads",
        "detaches",
        caught_by="gradients_return_to_their_place",
        because="works on the data and cuts the gradient",
        edit=("rearrange(x, ", "rearrange(x.detach(), "),
    ),
    wrong(
        "split_heads",
        "changes_its_input",
        caught_by="heads_are_slices_of_the_width",
        because="zeroes the input behind itself",
        body="""
def split_heads(x, heads):
    if x.shape[-1] % heads:
        raise ValueError("heads must divide the width")
    out = torch.stack(x.clone().chunk(heads, dim=-1), dim=1)
    with torch.no_grad():
        x.zero_()
    return out
""",
    ),
    right(
        "split_heads",
        "reshape_then_transpose",
        body="""
def split_heads(x, heads):
    batch, length, width = x.shape
    if width % heads != 0:
        raise ValueError(f"width {width} and heads {heads}")
    return x.reshape(batch, length, heads, width // heads).transpose(1, 2)
""",
    ),
    right(
        "split_heads",
        "chunks_stacked",
        body="""
def split_heads(x, heads):
    if x.size(-1) % heads:
        raise ValueError("cannot cut")
    return torch.stack(x.chunk(heads, dim=-1), dim=1)
""",
    ),
]

MERGE = [
    wrong(
        "merge_heads",
        "reshape_without_exchange",
        caught_by="positions_stay_together",
        because="joins the memory as it lies, heads of different positions side by side",
        body="""
def merge_heads(x):
    batch, heads, length, dim = x.shape
    return x.reshape(batch, length, heads * dim)
""",
    ),
    wrong(
        "merge_heads",
        "exchanges_the_wrong_axes",
        caught_by="positions_stay_together",
        because="exchanges length and dim, and then joins",
        body="""
def merge_heads(x):
    batch, heads, length, dim = x.shape
    return x.transpose(2, 3).reshape(batch, length, heads * dim)
""",
    ),
    wrong(
        "merge_heads",
        "dim_before_heads",
        caught_by="merge_undoes_split",
        because="puts the first number of every head first, then the second",
        edit=("(heads dim)", "(dim heads)"),
    ),
    wrong(
        "merge_heads",
        "last_head_first",
        caught_by="merge_undoes_split",
        because="joins the heads backwards",
        edit=("rearrange(x, ", "rearrange(x.flip(1), "),
    ),
    wrong(
        "merge_heads",
        "strides_by_hand",
        caught_by="layout_in_memory_does_not_matter_to_merge",
        because="reads the memory as if the input were contiguous",
        body="""
def merge_heads(x):
    batch, heads, length, dim = x.shape
    rows = x.as_strided((batch, length, heads, dim), (heads * length * dim, dim, length * dim, 1))
    return rows.reshape(batch, length, heads * dim)
""",
    ),
    wrong(
        "merge_heads",
        "view_after_exchange_of_a_transposed_input",
        caught_by="layout_in_memory_does_not_matter_to_merge",
        because="relies on the input being a transposed contiguous tensor",
        body="""
def merge_heads(x):
    batch, heads, length, dim = x.shape
    return x.transpose(1, 2).view(batch, length, heads * dim)
""",
    ),
    wrong(
        "merge_heads",
        "squeezes",
        caught_by="merged_sizes_of_one_keep_their_axis",
        because="drops axes of size one",
        edit=('(heads dim)")', '(heads dim)").squeeze()'),
    ),
    wrong(
        "merge_heads",
        "sums_the_heads",
        caught_by="positions_stay_together",
        because="adds the heads up instead of putting them side by side",
        body="""
def merge_heads(x):
    return x.sum(dim=1)
""",
    ),
    wrong(
        "merge_heads",
        "detaches",
        caught_by="gradients_return_to_their_head",
        because="cuts the gradient",
        edit=("rearrange(x, ", "rearrange(x.data, "),
    ),
    right(
        "merge_heads",
        "transpose_then_reshape",
        body="""
def merge_heads(x):
    batch, heads, length, dim = x.shape
    return x.transpose(1, 2).reshape(batch, length, heads * dim)
""",
    ),
    right(
        "merge_heads",
        "concatenate",
        body="""
def merge_heads(x):
    return torch.cat([x[:, head] for head in range(x.shape[1])], dim=-1)
""",
    ),
]

LAYER = """
class MultiHeadAttention(nn.Module):
    def __init__(self, d_model, heads):
        super().__init__()
        if d_model % heads:
            raise ValueError("heads must divide d_model")
        self.heads = heads
        self.query = nn.Linear(d_model, d_model)
        self.key = nn.Linear(d_model, d_model)
        self.value = nn.Linear(d_model, d_model)
        self.output = nn.Linear(d_model, d_model)

    def forward(self, queries, memory):
        q = split_heads(self.query(queries), self.heads)
        k = split_heads(self.key(memory), self.heads)
        v = split_heads(self.value(memory), self.heads)
        %s
        return self.output(merge_heads(out))
"""


def layer(*steps: str) -> str:
    """A layer whose attention is written out in `steps`."""
    return LAYER.replace("%s", "\n        ".join(steps))


SCORES = "scores = q @ k.transpose(-2, -1)"

LAYERS = [
    wrong(
        "MultiHeadAttention",
        "root_of_d_model",
        caught_by="scores_are_scaled_by_the_head_width",
        because="divides by √d_model instead of the root of the head width",
        body=layer(SCORES, "out = (scores / queries.shape[-1] ** 0.5).softmax(-1) @ v"),
    ),
    wrong(
        "MultiHeadAttention",
        "no_scale",
        caught_by="scores_are_scaled_by_the_head_width",
        because="forgets the scale",
        body=layer(SCORES, "out = scores.softmax(-1) @ v"),
    ),
    wrong(
        "MultiHeadAttention",
        "head_width_without_root",
        caught_by="scores_are_scaled_by_the_head_width",
        because="divides by the head width instead of its root",
        body=layer(SCORES, "out = (scores / q.shape[-1]).softmax(-1) @ v"),
    ),
    wrong(
        "MultiHeadAttention",
        "softmax_over_queries",
        caught_by="weights_sum_to_one_over_the_keys",
        because="normalises over the queries",
        body=layer(SCORES, "out = (scores / q.shape[-1] ** 0.5).softmax(-2) @ v"),
    ),
    wrong(
        "MultiHeadAttention",
        "softmax_over_the_batch",
        caught_by="weights_sum_to_one_over_the_keys",
        because="normalises over the examples",
        body=layer(SCORES, "out = (scores / q.shape[-1] ** 0.5).softmax(0) @ v"),
    ),
    wrong(
        "MultiHeadAttention",
        "softmax_over_heads",
        caught_by="weights_sum_to_one_over_the_keys",
        because="normalises over the heads",
        body=layer(SCORES, "out = (scores / q.shape[-1] ** 0.5).softmax(1) @ v"),
    ),
    wrong(
        "MultiHeadAttention",
        "keys_of_the_first_example",
        caught_by="examples_do_not_mix",
        because="broadcasts the keys of example 0 over the batch",
        body=layer("out = attention(q, k[:1], v)"),
    ),
    wrong(
        "MultiHeadAttention",
        "values_of_the_first_example",
        caught_by="examples_do_not_mix",
        because="broadcasts the values of example 0 over the batch",
        body=layer("out = attention(q, k, v[0])"),
    ),
    wrong(
        "MultiHeadAttention",
        "values_from_the_queries",
        caught_by="keys_and_values_come_from_the_memory",
        because="projects the values from the queries",
        edit=("self.value(memory)", "self.value(queries)"),
    ),
    wrong(
        "MultiHeadAttention",
        "self_attention_only",
        caught_by="keys_and_values_come_from_the_memory",
        because="ignores the memory",
        edit=("        q = split_heads(", "        memory = queries\n        q = split_heads("),
    ),
    wrong(
        "MultiHeadAttention",
        "keys_for_values",
        caught_by="keys_and_values_come_from_the_memory",
        because="reads the keys instead of the values",
        body=layer("out = attention(q, k, k)"),
    ),
    wrong(
        "MultiHeadAttention",
        "merges_by_reshape",
        caught_by="every_head_reads_its_own_slice",
        because="joins the heads as they lie in memory",
        edit=("merge_heads(attention(q, k, v))", "attention(q, k, v).reshape(queries.shape)"),
    ),
    wrong(
        "MultiHeadAttention",
        "splits_by_reshape",
        caught_by="every_head_reads_its_own_slice",
        because="reshapes straight to (batch, heads, length, dim)",
        edit=("v = split_heads(self.value(memory), self.heads)", "v = self.value(memory).reshape(k.shape)"),
    ),
    wrong(
        "MultiHeadAttention",
        "output_before_the_merge_order",
        caught_by="every_head_reads_its_own_slice",
        because="joins dim before heads",
        edit=("merge_heads(attention(q, k, v))", 'rearrange(attention(q, k, v), "b h l d -> b l (d h)")'),
    ),
    wrong(
        "MultiHeadAttention",
        "no_output_layer",
        caught_by="every_head_reads_its_own_slice",
        because="makes the output layer and does not use it",
        edit=("self.output(merge_heads(attention(q, k, v)))", "merge_heads(attention(q, k, v))"),
    ),
    wrong(
        "MultiHeadAttention",
        "no_biases",
        caught_by="four_square_projections",
        because="leaves the biases out",
        edit=(
            "self.query = nn.Linear(d_model, d_model)",
            "self.query = nn.Linear(d_model, d_model, bias=False)",
        ),
    ),
    wrong(
        "MultiHeadAttention",
        "one_width_for_each_head",
        caught_by="four_square_projections",
        because="gives every head the whole width, so that parameters grow with the heads",
        body="""
class MultiHeadAttention(nn.Module):
    def __init__(self, d_model, heads):
        super().__init__()
        if d_model % heads:
            raise ValueError("heads must divide d_model")
        self.heads = heads
        self.query = nn.Linear(d_model, heads * d_model)
        self.key = nn.Linear(d_model, heads * d_model)
        self.value = nn.Linear(d_model, heads * d_model)
        self.output = nn.Linear(heads * d_model, d_model)

    def forward(self, queries, memory):
        q = split_heads(self.query(queries), self.heads)
        k = split_heads(self.key(memory), self.heads)
        v = split_heads(self.value(memory), self.heads)
        return self.output(merge_heads(attention(q, k, v)))
""",
    ),
    wrong(
        "MultiHeadAttention",
        "refuses_late",
        caught_by="layer_refuses_heads_that_do_not_divide",
        because="notices in forward only that the heads do not divide the width",
        edit=("        if d_model % heads:\n", "        if d_model < 0:\n"),
    ),
    wrong(
        "MultiHeadAttention",
        "frozen_keys",
        caught_by="gradients_reach_everything",
        because="computes the keys without gradients",
        edit=("attention(q, k, v)", "attention(q, k.detach(), v)"),
    ),
    right(
        "MultiHeadAttention",
        "flat_batch",
        because="heads folded into the batch, torch.bmm",
        body=layer(
            "flat = [t.flatten(0, 1) for t in (q, k, v)]",
            "weights = torch.softmax(torch.bmm(flat[0], flat[1].mT) * q.shape[-1] ** -0.5, dim=2)",
            "out = torch.bmm(weights, flat[2]).unflatten(0, q.shape[:2])",
        ),
    ),
    right(
        "MultiHeadAttention",
        "einsum",
        because="einsum, scale on the queries",
        body=layer(
            "scores = torch.einsum('bhqd,bhkd->bhqk', q / math.sqrt(q.shape[-1]), k)",
            "out = torch.einsum('bhqk,bhkd->bhqd', scores.softmax(dim=-1), v)",
        ),
    ),
    right(
        "MultiHeadAttention",
        "one_head_at_a_time",
        because="a loop over the heads",
        body=layer(
            "out = torch.stack([attention(q[:, h], k[:, h], v[:, h]) for h in range(self.heads)], dim=1)"
        ),
    ),
]

UNPACK = [
    wrong(
        "unpack_projections",
        "value_before_key",
        caught_by="thirds_are_query_key_value",
        because="takes the thirds as query, value, key",
        edit=('zip(("query", "key", "value")', 'zip(("query", "value", "key")'),
    ),
    wrong(
        "unpack_projections",
        "transposed",
        caught_by="thirds_are_query_key_value",
        because="turns the weights, as if PyTorch multiplied from the other side",
        body="""
def unpack_projections(packed):
    state = {}
    for kind in ("weight", "bias"):
        for name, third in zip(("query", "key", "value"), packed[f"in_proj_{kind}"].chunk(3)):
            state[f"{name}.{kind}"] = third.T if kind == "weight" else third
        state[f"output.{kind}"] = packed[f"out_proj.{kind}"]
    return state
""",
    ),
    wrong(
        "unpack_projections",
        "cut_along_the_inputs",
        caught_by="has_the_names_and_shapes_of_our_layer",
        because="cuts the columns instead of the rows",
        edit=(".chunk(3, dim=0)", ".chunk(3, dim=-1)"),
    ),
    wrong(
        "unpack_projections",
        "interleaved_rows",
        caught_by="thirds_are_query_key_value",
        because="takes every third row",
        edit=(
            'packed[f"in_proj_{kind}"].chunk(3, dim=0)',
            '[packed[f"in_proj_{kind}"][i::3] for i in range(3)]',
        ),
    ),
    wrong(
        "unpack_projections",
        "weights_only",
        caught_by="has_the_names_and_shapes_of_our_layer",
        because="forgets the biases",
        edit=('for kind in ("weight", "bias"):', 'for kind in ("weight",):'),
    ),
    wrong(
        "unpack_projections",
        "keeps_torch_names",
        caught_by="has_the_names_and_shapes_of_our_layer",
        because="leaves out_proj under its old name",
        edit=('state[f"output.{kind}"]', 'state[f"out_proj.{kind}"]'),
    ),
    wrong(
        "unpack_projections",
        "takes_it_apart",
        caught_by="the_packed_state_is_left_alone",
        because="pops the entries out of the dictionary it was given",
        edit=('packed[f"out_proj.{kind}"]', 'packed.pop(f"out_proj.{kind}")'),
    ),
    right(
        "unpack_projections",
        "slices",
        body="""
def unpack_projections(packed):
    width = packed["in_proj_weight"].shape[1]
    state = {"output.weight": packed["out_proj.weight"], "output.bias": packed["out_proj.bias"]}
    for i, name in enumerate(["query", "key", "value"]):
        rows = slice(i * width, (i + 1) * width)
        state[name + ".weight"] = packed["in_proj_weight"][rows].clone()
        state[name + ".bias"] = packed["in_proj_bias"][rows].clone()
    return state
""",
    ),
]

GROUPED = [
    wrong(
        "grouped_query_attention",
        "repeat_for_repeat_interleave",
        caught_by="neighbouring_heads_share_a_group",
        because="repeats the stack of groups, so that neighbours read different groups",
        body="""
def grouped_query_attention(q, k, v):
    heads, groups = q.shape[1], k.shape[1]
    if heads % groups:
        raise ValueError("groups must divide heads")
    share = heads // groups
    return attention(q, k.repeat(1, share, 1, 1), v.repeat(1, share, 1, 1))
""",
    ),
    wrong(
        "grouped_query_attention",
        "groups_inside",
        caught_by="neighbouring_heads_share_a_group",
        because="cuts the heads as (share groups) going in and as (groups share) coming out",
        edit=(
            '"batch (groups share) queries dim -> batch groups',
            '"batch (share groups) queries dim -> batch groups',
        ),
    ),
    wrong(
        "grouped_query_attention",
        "first_group_only",
        caught_by="neighbouring_heads_share_a_group",
        because="all heads read the first group",
        edit=("attention(q, k[:, :, None], v[:, :, None])", "attention(q, k[:, :1, None], v[:, :1, None])"),
    ),
    wrong(
        "grouped_query_attention",
        "values_of_another_group",
        caught_by="neighbouring_heads_share_a_group",
        because="spreads the keys by interleaving and the values by repeating",
        body="""
def grouped_query_attention(q, k, v):
    heads, groups = q.shape[1], k.shape[1]
    if heads % groups:
        raise ValueError("groups must divide heads")
    share = heads // groups
    return attention(q, k.repeat_interleave(share, dim=1), v.repeat(1, share, 1, 1))
""",
    ),
    wrong(
        "grouped_query_attention",
        "no_single_group",
        caught_by="ends_are_multi_head_and_multi_query",
        because="takes one group for a mistake",
        edit=("    if heads % groups:\n", "    if heads % groups or groups == 1:\n"),
    ),
    wrong(
        "grouped_query_attention",
        "no_error",
        caught_by="groups_must_divide",
        because="cuts the spread keys to fit",
        body="""
def grouped_query_attention(q, k, v):
    heads, groups = q.shape[1], k.shape[1]
    share = -(-heads // groups)
    return attention(q, k.repeat_interleave(share, 1)[:, :heads], v.repeat_interleave(share, 1)[:, :heads])
""",
    ),
    wrong(
        "grouped_query_attention",
        "first_example_for_all",
        caught_by="each_example_has_its_own_keys",
        because="broadcasts the keys of example 0 over the batch",
        edit=("k[:, :, None]", "k[:1, :, None]"),
    ),
    wrong(
        "grouped_query_attention",
        "spread_along_the_batch",
        caught_by="neighbouring_heads_share_a_group",
        because="interleaves the wrong axis and folds the batch into the heads",
        body="""
def grouped_query_attention(q, k, v):
    heads, groups = q.shape[1], k.shape[1]
    if heads % groups:
        raise ValueError("groups must divide heads")
    share = heads // groups
    k = k.repeat(share, 1, 1, 1).reshape(len(q), heads, *k.shape[2:])
    v = v.repeat(share, 1, 1, 1).reshape(len(q), heads, *v.shape[2:])
    return attention(q, k, v)
""",
    ),
    wrong(
        "grouped_query_attention",
        "shared_without_gradient",
        caught_by="shared_heads_collect_their_gradients",
        because="detaches the shared keys",
        edit=("k[:, :, None]", "k.detach()[:, :, None]"),
    ),
    wrong(
        "grouped_query_attention",
        "strides_by_hand",
        caught_by="shared_heads_collect_their_gradients",
        because="spreads the keys by as_strided, as if they were contiguous",
        body="""
def grouped_query_attention(q, k, v):
    batch, groups, keys, dim = k.shape
    heads = q.shape[1]
    if heads % groups:
        raise ValueError("groups must divide heads")
    q = rearrange(q, "batch (groups share) queries dim -> batch groups share queries dim", groups=groups)
    k = k.as_strided((batch, groups, 1, keys, dim), (groups * keys * dim, keys * dim, 0, dim, 1))
    out = attention(q, k, v[:, :, None])
    return rearrange(out, "batch groups share queries dim -> batch (groups share) queries dim")
""",
    ),
    right(
        "grouped_query_attention",
        "repeat_interleave",
        body="""
def grouped_query_attention(q, k, v):
    heads, groups = q.shape[1], k.shape[1]
    if heads % groups:
        raise ValueError(f"{groups} groups, {heads} heads")
    share = heads // groups
    return attention(q, k.repeat_interleave(share, dim=1), v.repeat_interleave(share, dim=1))
""",
    ),
    right(
        "grouped_query_attention",
        "index",
        because="a table says which group each head reads",
        body="""
def grouped_query_attention(q, k, v):
    heads, groups = q.shape[1], k.shape[1]
    if heads % groups:
        raise ValueError("groups must divide heads")
    group = torch.arange(heads) * groups // heads
    return attention(q, k[:, group], v[:, group])
""",
    ),
]

REPAIRED = """
class SelfAttention(nn.Module):
    def __init__(self, width, heads):
        super().__init__()
        if width % heads:
            raise ValueError("heads must divide the width")
        self.width, self.heads, self.dim = width, heads, width // heads
        self.project = nn.Linear(width, 3 * width)
        self.mix = nn.Linear(width, width)

    def forward(self, x):
        batch, length, _ = x.shape
        q, k, v = self.project(x).chunk(3, dim=-1)
        q, k, v = (self.fold(part, batch, length) for part in (q, k, v))
        scores = torch.bmm(q, k.transpose(1, 2)) / math.sqrt(self.dim)
        weights = torch.softmax(scores, dim=-1)
        out = torch.bmm(weights, v).view(batch, self.heads, length, self.dim)
        out = out.transpose(1, 2).reshape(batch, length, self.width)
        return self.mix(out)

    def fold(self, part, batch, length):
        part = part.reshape(batch, length, self.heads, self.dim).transpose(1, 2)
        return part.reshape(batch * self.heads, length, self.dim)
"""


def unrepaired(old: str, new: str) -> str:
    """The repaired class with one fault put back."""
    assert REPAIRED.count(old) == 1, old
    return REPAIRED.replace(old, new)


HUNT = [
    wrong(
        "SelfAttention",
        "undefined_width",
        caught_by="runs_by_itself",
        because="leaves a name in forward that only the constructor knew",
        body=unrepaired("reshape(batch, length, self.width)", "reshape(batch, length, width)"),
    ),
    wrong(
        "SelfAttention",
        "missing_name",
        caught_by="runs_by_itself",
        because="leaves a module that nothing imports",
        body=unrepaired("math.sqrt", "maths.sqrt"),
    ),
    wrong(
        "SelfAttention",
        "fixed_length",
        caught_by="runs_by_itself",
        because="writes the sizes of the example into the class",
        body=unrepaired("batch, length, _ = x.shape", "batch, length = 2, 5"),
    ),
    wrong(
        "SelfAttention",
        "rounds_down",
        caught_by="refuses_what_does_not_divide",
        because="still takes a width of 3 and 2 heads",
        body=unrepaired(
            '        if width % heads:\n            raise ValueError("heads must divide the width")\n', ""
        ),
    ),
    wrong(
        "SelfAttention",
        "refuses_with_assert",
        caught_by="refuses_what_does_not_divide",
        because="refuses with an AssertionError, which python -O removes",
        body=unrepaired(
            '        if width % heads:\n            raise ValueError("heads must divide the width")\n',
            "        assert width % heads == 0\n",
        ),
    ),
    wrong(
        "SelfAttention",
        "softmax_without_axis",
        caught_by="softmax_names_the_axis_of_the_keys",
        because="leaves the axis of the softmax to PyTorch, which takes the first",
        body=unrepaired("torch.softmax(scores, dim=-1)", "nn.functional.softmax(scores)"),
    ),
    wrong(
        "SelfAttention",
        "softmax_over_queries",
        caught_by="softmax_names_the_axis_of_the_keys",
        because="names the axis of the queries",
        body=unrepaired("torch.softmax(scores, dim=-1)", "torch.softmax(scores, dim=1)"),
    ),
    wrong(
        "SelfAttention",
        "no_way_back",
        caught_by="heads_come_back_in_their_places",
        because="joins heads and dim without undoing the exchange of axes",
        body=unrepaired("out = out.transpose(1, 2).reshape", "out = out.reshape"),
    ),
    wrong(
        "SelfAttention",
        "folds_by_reshape",
        caught_by="heads_come_back_in_their_places",
        because="cuts the heads by a reshape alone",
        body=unrepaired(
            "reshape(batch, length, self.heads, self.dim).transpose(1, 2)",
            "reshape(batch, self.heads, length, self.dim)",
        ),
    ),
    wrong(
        "SelfAttention",
        "root_of_the_width",
        caught_by="gives_the_right_numbers",
        because="divides by the root of the model's width",
        body=unrepaired("math.sqrt(self.dim)", "math.sqrt(self.width)"),
    ),
    wrong(
        "SelfAttention",
        "no_scale",
        caught_by="gives_the_right_numbers",
        because="does not divide the scores",
        body=unrepaired(" / math.sqrt(self.dim)", ""),
    ),
    wrong(
        "SelfAttention",
        "keys_first",
        caught_by="gives_the_right_numbers",
        because="takes the packed projection as key, query, value",
        body=unrepaired("q, k, v = self.project(x)", "k, q, v = self.project(x)"),
    ),
    right("SelfAttention", "folded_batch", because="repaired line by line", body=REPAIRED),
    right(
        "SelfAttention",
        "einsum",
        body="""
class SelfAttention(nn.Module):
    def __init__(self, width, heads):
        super().__init__()
        if heads < 1 or width % heads != 0:
            raise ValueError(f"cannot cut {width} into {heads}")
        self.heads = heads
        self.project = nn.Linear(width, 3 * width)
        self.mix = nn.Linear(width, width)

    def forward(self, x):
        q, k, v = rearrange(self.project(x), "b l (part h d) -> part b h l d", part=3, h=self.heads)
        scores = torch.einsum("bhid,bhjd->bhij", q, k) * q.shape[-1] ** -0.5
        out = torch.einsum("bhij,bhjd->bhid", scores.softmax(-1), v)
        return self.mix(rearrange(out, "b h l d -> b l (h d)"))
""",
    ),
]

VARIANTS = [*SPLIT, *MERGE, *LAYERS, *UNPACK, *GROUPED, *HUNT]
