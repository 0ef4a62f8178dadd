"""Wrong and right solutions of chapter 06, `encoder`."""

from autograder.variants.base import right, wrong

NORM = [
    wrong(
        "layer_norm",
        "unbiased_variance",
        caught_by="variance_is_divided_by_the_width",
        because="torch.var divides by the width less one unless it is told otherwise",
        edit=("centred.square().mean(dim=-1, keepdim=True)", "x.var(dim=-1, keepdim=True)"),
    ),
    wrong(
        "layer_norm",
        "eps_outside_the_root",
        caught_by="eps_stands_under_the_root",
        because="adds eps to the standard deviation",
        edit=("torch.sqrt(variance + eps)", "(torch.sqrt(variance) + eps)"),
    ),
    wrong(
        "layer_norm",
        "no_eps",
        caught_by="eps_stands_under_the_root",
        because="divides by zero where all numbers of a position are equal",
        edit=("variance + eps", "variance"),
    ),
    wrong(
        "layer_norm",
        "eps_of_its_own",
        caught_by="eps_stands_under_the_root",
        because="ignores the eps that it is given",
        edit=("variance + eps", "variance + 1e-5"),
    ),
    wrong(
        "layer_norm",
        "eps_squared",
        caught_by="eps_stands_under_the_root",
        because="takes eps for a standard deviation",
        edit=("variance + eps", "variance + eps**2"),
    ),
    wrong(
        "layer_norm",
        "over_the_length",
        caught_by="every_position_has_its_own_statistics",
        because="normalises each feature over the positions",
        body="""
def layer_norm(x, weight, bias, eps):
    axis = -2 if x.ndim > 1 else -1
    centred = x - x.mean(dim=axis, keepdim=True)
    variance = centred.square().mean(dim=axis, keepdim=True)
    return weight * centred / torch.sqrt(variance + eps) + bias
""",
    ),
    wrong(
        "layer_norm",
        "over_the_batch",
        caught_by="every_position_has_its_own_statistics",
        because="normalises over the examples, which is batch norm",
        body="""
def layer_norm(x, weight, bias, eps):
    centred = x - x.mean(dim=0, keepdim=True)
    variance = centred.square().mean(dim=0, keepdim=True)
    return weight * centred / torch.sqrt(variance + eps) + bias
""",
    ),
    wrong(
        "layer_norm",
        "over_everything",
        caught_by="every_position_has_its_own_statistics",
        because="takes one mean and one variance for the whole tensor",
        body="""
def layer_norm(x, weight, bias, eps):
    centred = x - x.mean()
    return weight * centred / torch.sqrt(centred.square().mean() + eps) + bias
""",
    ),
    wrong(
        "layer_norm",
        "variance_of_the_example",
        caught_by="every_position_has_its_own_statistics",
        because="takes the mean a position and the variance an example",
        body="""
def layer_norm(x, weight, bias, eps):
    centred = x - x.mean(dim=-1, keepdim=True)
    axes = (-2, -1) if x.ndim > 1 else -1
    variance = centred.square().mean(dim=axes, keepdim=True)
    return weight * centred / torch.sqrt(variance + eps) + bias
""",
    ),
    wrong(
        "layer_norm",
        "root_forgotten",
        caught_by="variance_is_divided_by_the_width",
        because="divides by the variance",
        edit=("torch.sqrt(variance + eps)", "(variance + eps)"),
    ),
    wrong(
        "layer_norm",
        "not_centred",
        caught_by="every_position_has_its_own_statistics",
        because="divides by the root mean square and leaves the mean",
        edit=("weight * centred /", "weight * x /"),
    ),
    wrong(
        "layer_norm",
        "shifts_before_it_scales",
        caught_by="each_feature_is_scaled_then_shifted",
        because="scales the bias too",
        edit=(
            "weight * centred / torch.sqrt(variance + eps) + bias",
            "weight * (centred / torch.sqrt(variance + eps) + bias)",
        ),
    ),
    wrong(
        "layer_norm",
        "no_shift",
        caught_by="each_feature_is_scaled_then_shifted",
        because="forgets the bias",
        edit=("torch.sqrt(variance + eps) + bias", "torch.sqrt(variance + eps)"),
    ),
    wrong(
        "layer_norm",
        "three_axes_only",
        caught_by="each_feature_is_scaled_then_shifted",
        because="counts the axes from the left",
        edit=("    centred = ", "    batch, length, width = x.shape\n    centred = "),
    ),
    wrong(
        "layer_norm",
        "statistics_without_gradient",
        caught_by="gradients_pass_through_mean_and_variance",
        because="takes mean and variance for constants",
        body="""
def layer_norm(x, weight, bias, eps):
    with torch.no_grad():
        mean = x.mean(dim=-1, keepdim=True)
        variance = (x - mean).square().mean(dim=-1, keepdim=True)
    return weight * (x - mean) / torch.sqrt(variance + eps) + bias
""",
    ),
    wrong(
        "layer_norm",
        "difference_of_squares",
        caught_by="keeps_its_digits_far_from_zero",
        because="subtracts two large numbers that are nearly equal",
        edit=(
            "centred.square().mean(dim=-1, keepdim=True)",
            "(x.square().mean(dim=-1, keepdim=True) - x.mean(dim=-1, keepdim=True).square()).clamp(min=0)",
        ),
    ),
    wrong(
        "layer_norm",
        "in_place",
        caught_by="input_is_left_alone_in_any_layout",
        because="subtracts the mean from its argument",
        body="""
def layer_norm(x, weight, bias, eps):
    y = x.clone()
    with torch.no_grad():
        x -= x.mean(dim=-1, keepdim=True)
    y = y - y.mean(dim=-1, keepdim=True)
    return weight * y / torch.sqrt(y.square().mean(dim=-1, keepdim=True) + eps) + bias
""",
    ),
    wrong(
        "layer_norm",
        "zeros",
        caught_by="every_position_has_its_own_statistics",
        because="the right shape and nothing in it",
        body="""
def layer_norm(x, weight, bias, eps):
    return torch.zeros_like(x)
""",
    ),
    right(
        "layer_norm",
        "population_variance",
        because="torch.var with correction 0, a reciprocal root",
        body="""
def layer_norm(x, weight, bias, eps):
    mean = x.mean(-1, keepdim=True)
    variance = x.var(-1, correction=0, keepdim=True)
    return (x - mean) * (variance + eps).rsqrt() * weight + bias
""",
    ),
    right(
        "layer_norm",
        "by_a_matrix",
        because="centring is a linear map; the variance is a dot product",
        body="""
def layer_norm(x, weight, bias, eps):
    width = x.shape[-1]
    centring = torch.eye(width, dtype=x.dtype) - 1 / width
    centred = (x - x[..., :1]) @ centring
    variance = torch.einsum("...i,...i->...", centred, centred)[..., None] / width
    return bias + weight * (centred / (variance + eps) ** 0.5)
""",
    ),
]

FEED = """
class FeedForward(nn.Module):
    def __init__(self, width, hidden, dropout, activation):
        super().__init__()
        self.expand = nn.Linear(width, hidden)
        self.contract = nn.Linear(hidden, width)
        self.activation = activation_function(activation)
        self.p = dropout
        self.dropout = nn.Dropout(dropout)

    def forward(self, x):
        return %s
"""


def feed(result: str) -> str:
    """A feed-forward network whose forward returns `result`."""
    return FEED.replace("%s", result)


FEEDS = [
    wrong(
        "FeedForward",
        "no_activation",
        caught_by="activation_stands_between_the_layers",
        because="leaves two linear maps that are one",
        body=feed("self.contract(self.dropout(self.expand(x)))"),
    ),
    wrong(
        "FeedForward",
        "activation_last",
        caught_by="activation_stands_between_the_layers",
        because="applies the activation to the result",
        body=feed("self.activation(self.contract(self.dropout(self.expand(x))))"),
    ),
    wrong(
        "FeedForward",
        "activation_twice",
        caught_by="activation_stands_between_the_layers",
        because="applies the activation behind both layers",
        body=feed("self.activation(self.contract(self.dropout(self.activation(self.expand(x)))))"),
    ),
    wrong(
        "FeedForward",
        "adds_the_residual_itself",
        caught_by="activation_stands_between_the_layers",
        because="adds x, which is the layer's business",
        body=feed("x + self.contract(self.dropout(self.activation(self.expand(x))))"),
    ),
    wrong(
        "FeedForward",
        "always_relu",
        caught_by="activation_is_the_one_named",
        because="ignores the name",
        edit=("activation_function(activation)", "torch.relu"),
    ),
    wrong(
        "FeedForward",
        "always_the_approximation",
        caught_by="activation_is_the_one_named",
        because="takes the tanh form for every GELU",
        edit=(
            "activation_function(activation)",
            'activation_function(activation.replace("gelu", "gelu_tanh").replace("tanh_tanh", "tanh"))',
        ),
    ),
    wrong(
        "FeedForward",
        "any_name_will_do",
        caught_by="activation_is_the_one_named",
        because="takes ReLU for what it does not know",
        edit=(
            "activation_function(activation)",
            'activation_function(activation if activation in ("gelu", "gelu_tanh") else "relu")',
        ),
    ),
    wrong(
        "FeedForward",
        "no_bias",
        caught_by="two_linear_layers_with_these_names",
        because="leaves the biases out",
        edit=("nn.Linear(hidden, width)", "nn.Linear(hidden, width, bias=False)"),
    ),
    wrong(
        "FeedForward",
        "names_of_pytorch",
        caught_by="two_linear_layers_with_these_names",
        because="calls the layers linear1 and linear2",
        body=feed("self.contract(self.dropout(self.activation(self.expand(x))))")
        .replace("self.expand", "self.linear1")
        .replace("self.contract", "self.linear2"),
    ),
    wrong(
        "FeedForward",
        "four_times_the_width",
        caught_by="two_linear_layers_with_these_names",
        because="ignores hidden",
        edit=("        self.expand = ", "        hidden = 4 * width\n        self.expand = "),
    ),
    wrong(
        "FeedForward",
        "dropout_in_eval",
        caught_by="dropout_hides_hidden_numbers_in_training_only",
        because="functional dropout drops until it is told training=False",
        body=feed("self.contract(nn.functional.dropout(self.activation(self.expand(x)), self.p))"),
    ),
    wrong(
        "FeedForward",
        "dropout_last",
        caught_by="dropout_hides_hidden_numbers_in_training_only",
        because="drops from the result instead of the hidden numbers",
        body=feed("self.dropout(self.contract(self.activation(self.expand(x))))"),
    ),
    wrong(
        "FeedForward",
        "dropout_forgotten",
        caught_by="dropout_hides_hidden_numbers_in_training_only",
        because="never drops anything",
        body=feed("self.contract(self.activation(self.expand(x)))"),
    ),
    wrong(
        "FeedForward",
        "dropout_of_the_input",
        caught_by="dropout_hides_hidden_numbers_in_training_only",
        because="drops numbers of x",
        body=feed("self.contract(self.activation(self.expand(self.dropout(x))))"),
    ),
    wrong(
        "FeedForward",
        "dropout_without_growth",
        caught_by="dropout_hides_hidden_numbers_in_training_only",
        because="zeroes and does not scale what is left",
        body=feed(
            "self.contract(self.activation(self.expand(x)) * "
            "(torch.rand(*x.shape[:-1], self.expand.out_features) >= self.p * self.training))"
        ),
    ),
    wrong(
        "FeedForward",
        "frozen_hidden",
        caught_by="gradients_reach_both_layers",
        because="cuts the gradient between the layers",
        body=feed("self.contract(self.dropout(self.activation(self.expand(x)).detach()))"),
    ),
    wrong(
        "FeedForward",
        "zeros",
        caught_by="activation_stands_between_the_layers",
        because="the right parameters and an empty result",
        body=feed("torch.zeros_like(x)"),
    ),
    right(
        "FeedForward",
        "functional",
        because="functional dropout that is told the mode",
        body=feed(
            "self.contract(nn.functional.dropout(self.activation(self.expand(x)), self.p, self.training))"
        ),
    ),
    right(
        "FeedForward",
        "dropout_before_relu_commutes",
        because="matrices by hand; dropping by a mask, scaled",
        body="""
class FeedForward(nn.Module):
    def __init__(self, width, hidden, dropout, activation):
        super().__init__()
        self.act = activation_function(activation)
        self.keep = 1 - dropout
        self.contract = nn.Linear(hidden, width)
        self.expand = nn.Linear(width, hidden)

    def forward(self, x):
        hidden = self.act(x @ self.expand.weight.T + self.expand.bias)
        if self.training and self.keep < 1:
            mask = torch.rand_like(hidden) < self.keep
            hidden = hidden * mask / self.keep if self.keep else torch.zeros_like(hidden)
        return hidden @ self.contract.weight.T + self.contract.bias
""",
    ),
]

LAYER = """
class EncoderLayer(nn.Module):
    def __init__(self, width, heads, hidden, dropout, eps, activation, norm):
        super().__init__()
        if norm not in ("pre", "post"):
            raise ValueError(norm)
        self.norm = norm
        self.p = dropout
        self.attention = MaskedMultiHeadAttention(width, heads)
        self.feed_forward = FeedForward(width, hidden, dropout, activation)
        self.attention_norm = LayerNorm(width, eps)
        self.feed_forward_norm = LayerNorm(width, eps)
        self.dropout = nn.Dropout(dropout)

    def forward(self, x, mask):
        if self.norm == "pre":
            PRE
        POST
"""
PRE = """y = self.attention_norm(x)
            x = x + self.dropout(self.attention(y, y, mask))
            return x + self.dropout(self.feed_forward(self.feed_forward_norm(x)))"""
POST = """x = self.attention_norm(x + self.dropout(self.attention(x, x, mask)))
        return self.feed_forward_norm(x + self.dropout(self.feed_forward(x)))"""


def layer(pre: str = PRE, post: str = POST) -> str:
    """A layer whose two ways of norming are written out."""
    return LAYER.replace("PRE", pre).replace("POST", post)


def once(text: str, old: str, new: str) -> str:
    """`text` with its one `old` replaced."""
    assert text.count(old) == 1, old
    return text.replace(old, new)


LAYERS = [
    wrong(
        "EncoderLayer",
        "residual_after_the_norm",
        caught_by="post_norm_norms_the_sum",
        because="norms what the parts return and adds x after that",
        body=layer(
            post="""x = x + self.attention_norm(self.dropout(self.attention(x, x, mask)))
        return x + self.feed_forward_norm(self.dropout(self.feed_forward(x)))"""
        ),
    ),
    wrong(
        "EncoderLayer",
        "always_pre",
        caught_by="post_norm_norms_the_sum",
        because="checks the word norm and does not use it",
        edit=('if self.norm == "pre":', "if self.norm:"),
    ),
    wrong(
        "EncoderLayer",
        "always_post",
        caught_by="pre_norm_leaves_the_residual_path_alone",
        because="checks the word norm and does not use it",
        edit=('if self.norm == "pre":', "if not self.norm:"),
    ),
    wrong(
        "EncoderLayer",
        "pre_and_post_exchanged",
        caught_by="pre_norm_leaves_the_residual_path_alone",
        because="takes the two words for each other",
        edit=('if self.norm == "pre":', 'if self.norm == "post":'),
    ),
    wrong(
        "EncoderLayer",
        "no_residual",
        caught_by="post_norm_norms_the_sum",
        because="forgets to add x to what the attention brings",
        body=layer(post=once(POST, "x + self.dropout(self.attention", "self.dropout(self.attention")),
    ),
    wrong(
        "EncoderLayer",
        "no_second_residual",
        caught_by="pre_norm_leaves_the_residual_path_alone",
        because="forgets to add x to what the feed-forward network returns",
        body=layer(pre=once(PRE, "return x + ", "return ")),
    ),
    wrong(
        "EncoderLayer",
        "residual_of_the_norm",
        caught_by="pre_norm_leaves_the_residual_path_alone",
        because="adds the normed x, so that the residual path is normed in every layer",
        body=layer(pre=once(PRE, "x = x + self", "x = y + self")),
    ),
    wrong(
        "EncoderLayer",
        "norms_the_queries_only",
        caught_by="pre_norm_leaves_the_residual_path_alone",
        because="gives keys and values the raw x",
        body=layer(pre=once(PRE, "self.attention(y, y, mask)", "self.attention(y, x, mask)")),
    ),
    wrong(
        "EncoderLayer",
        "side_by_side",
        caught_by="pre_norm_leaves_the_residual_path_alone",
        because="gives the feed-forward network the x of before the attention",
        body=layer(
            pre="""y = self.attention_norm(x)
            a = self.dropout(self.attention(y, y, mask))
            return x + a + self.dropout(self.feed_forward(self.feed_forward_norm(x)))"""
        ),
    ),
    wrong(
        "EncoderLayer",
        "one_norm_for_both",
        caught_by="parts_have_these_names",
        because="uses a single norm twice",
        body=once(layer(), "        self.feed_forward_norm = LayerNorm(width, eps)\n", "").replace(
            "self.feed_forward_norm", "self.attention_norm"
        ),
    ),
    wrong(
        "EncoderLayer",
        "same_norm_twice",
        caught_by="post_norm_norms_the_sum",
        because="makes two norms and uses the first in both places",
        body=layer(post=once(POST, "self.feed_forward_norm(x", "self.attention_norm(x")),
    ),
    wrong(
        "EncoderLayer",
        "feed_forward_first",
        caught_by="post_norm_norms_the_sum",
        because="thinks before it looks",
        body=layer(
            post="""x = self.feed_forward_norm(x + self.dropout(self.feed_forward(x)))
        return self.attention_norm(x + self.dropout(self.attention(x, x, mask)))"""
        ),
    ),
    wrong(
        "EncoderLayer",
        "mask_forgotten",
        caught_by="mask_reaches_the_attention",
        because="takes a mask and does not use it",
        body=layer().replace("x, mask))", "x, None))").replace("y, mask))", "y, None))"),
    ),
    wrong(
        "EncoderLayer",
        "mask_turned_round",
        caught_by="mask_reaches_the_attention",
        because="takes True for hidden, as nn.MultiheadAttention does",
        edit=(
            '        if self.norm == "pre":\n',
            '        mask = None if mask is None else ~mask\n        if self.norm == "pre":\n',
        ),
    ),
    wrong(
        "EncoderLayer",
        "mask_of_the_first_example",
        caught_by="mask_reaches_the_attention",
        because="uses the first example's mask for all",
        edit=(
            '        if self.norm == "pre":\n',
            '        mask = mask[:1] if mask is not None and mask.ndim == 4 else mask\n        if self.norm == "pre":\n',
        ),
    ),
    wrong(
        "EncoderLayer",
        "dropout_in_eval",
        caught_by="dropout_spares_the_residual_path",
        because="functional dropout drops until it is told training=False",
        body=layer().replace("self.dropout(self.", "nn.functional.dropout(p=self.p, input=self."),
    ),
    wrong(
        "EncoderLayer",
        "dropout_on_the_sum",
        caught_by="dropout_spares_the_residual_path",
        because="drops numbers of the residual path too",
        body=layer(
            post="""x = self.attention_norm(self.dropout(x + self.attention(x, x, mask)))
        return self.feed_forward_norm(self.dropout(x + self.feed_forward(x)))"""
        ),
    ),
    wrong(
        "EncoderLayer",
        "dropout_of_attention_forgotten",
        caught_by="dropout_spares_the_residual_path",
        because="drops only in the feed-forward network",
        body=layer(pre=once(PRE, "self.dropout(self.attention(y, y, mask))", "self.attention(y, y, mask)")),
    ),
    wrong(
        "EncoderLayer",
        "no_dropout_inside_the_feed_forward",
        caught_by="settings_reach_the_parts",
        because="hands the feed-forward network a dropout of 0",
        edit=(
            "FeedForward(width, hidden, dropout, activation)",
            "FeedForward(width, hidden, 0.0, activation)",
        ),
    ),
    wrong(
        "EncoderLayer",
        "eps_of_pytorch",
        caught_by="settings_reach_the_parts",
        because="leaves eps at 1e-5",
        edit=("self.attention_norm = LayerNorm(width, eps)", "self.attention_norm = LayerNorm(width, 1e-5)"),
    ),
    wrong(
        "EncoderLayer",
        "always_relu",
        caught_by="settings_reach_the_parts",
        because="leaves the activation at ReLU",
        edit=(
            "FeedForward(width, hidden, dropout, activation)",
            'FeedForward(width, hidden, dropout, "relu")',
        ),
    ),
    wrong(
        "EncoderLayer",
        "one_head",
        caught_by="examples_do_not_mix",
        because="mixes the examples by a mean over the batch, and has one head",
        body=layer(
            post=once(POST, "self.feed_forward(x))", "self.feed_forward(x - 0.1 * x.mean(0)))"),
            pre=once(PRE, "            return x +", "            return x - 0.1 * x.mean(0) +"),
        ),
    ),
    wrong(
        "EncoderLayer",
        "detached_residual",
        caught_by="gradients_reach_every_part",
        because="cuts the residual path for the gradient",
        body=layer(post=once(POST, "self.attention_norm(x + ", "self.attention_norm(x.detach() + ")),
    ),
    wrong(
        "EncoderLayer",
        "any_word_is_post",
        caught_by="refuses_what_it_does_not_know",
        because="takes every other word for post",
        edit=('if norm not in ("pre", "post"):', "if norm is None:"),
    ),
    wrong(
        "EncoderLayer",
        "zeros",
        caught_by="post_norm_norms_the_sum",
        because="the right parameters and an empty result",
        body=layer(pre="return torch.zeros_like(x)", post="return torch.zeros_like(x)"),
    ),
    right(
        "EncoderLayer",
        "one_step_for_both",
        because="one helper that wires a part, used twice",
        body="""
class EncoderLayer(nn.Module):
    def __init__(self, width, heads, hidden, dropout, eps, activation, norm):
        super().__init__()
        self.pre = {"pre": True, "post": False}.get(norm)
        if self.pre is None:
            raise ValueError(f"unknown norm {norm}")
        self.attention_norm, self.feed_forward_norm = LayerNorm(width, eps), LayerNorm(width, eps)
        self.feed_forward = FeedForward(width, hidden, dropout, activation)
        self.attention = MaskedMultiHeadAttention(width, heads)
        self.drop = nn.Dropout(dropout)

    def wire(self, x, norm, part):
        if self.pre:
            return x + self.drop(part(norm(x)))
        return norm(x + self.drop(part(x)))

    def forward(self, x, mask=None):
        x = self.wire(x, self.attention_norm, lambda y: self.attention(y, y, mask))
        return self.wire(x, self.feed_forward_norm, self.feed_forward)
""",
    ),
    right(
        "EncoderLayer",
        "norms_of_pytorch",
        because="nn.LayerNorm in the places of our own",
        body=layer().replace("LayerNorm(width, eps)", "nn.LayerNorm(width, eps=eps)"),
    ),
]

STACK = """
class Encoder(nn.Module):
    def __init__(self, layers, width, heads, hidden, dropout, eps, activation, norm):
        super().__init__()
        settings = (width, heads, hidden, dropout, eps, activation, norm)
        self.layers = nn.ModuleList([EncoderLayer(*settings) for _ in range(layers)])
        self.final_norm = LayerNorm(width, eps) if norm == "pre" else nn.Identity()

    def forward(self, x, mask):
        FORWARD
"""


def stack(forward: str) -> str:
    """An encoder with another way through its layers."""
    return STACK.replace("FORWARD", forward)


RUN = """for layer in self.layers:
            x = layer(x, mask)
        return self.final_norm(x)"""

STACKS = [
    wrong(
        "Encoder",
        "one_layer_many_times",
        caught_by="every_layer_has_parameters_of_its_own",
        because="multiplies a list, which repeats one and the same layer",
        body=once(
            stack(RUN),
            "[EncoderLayer(*settings) for _ in range(layers)]",
            "[EncoderLayer(*settings)] * layers",
        ),
    ),
    wrong(
        "Encoder",
        "plain_list",
        caught_by="every_layer_has_parameters_of_its_own",
        because="keeps the layers in a Python list, where no optimiser finds them",
        body=once(
            stack(RUN),
            "nn.ModuleList([EncoderLayer(*settings) for _ in range(layers)])",
            "[EncoderLayer(*settings) for _ in range(layers)]",
        ),
    ),
    wrong(
        "Encoder",
        "only_the_first_layer_runs",
        caught_by="layers_follow_each_other",
        because="returns from inside the loop",
        body=stack("for layer in self.layers:\n            return self.final_norm(layer(x, mask))"),
    ),
    wrong(
        "Encoder",
        "every_layer_reads_the_input",
        caught_by="layers_follow_each_other",
        because="gives each layer the first x and keeps the last result",
        body=stack(
            "for layer in self.layers:\n            out = layer(x, mask)\n        return self.final_norm(out)"
        ),
    ),
    wrong(
        "Encoder",
        "last_layer_first",
        caught_by="layers_follow_each_other",
        because="walks the stack from above",
        body=stack(RUN.replace("self.layers:", "reversed(self.layers):")),
    ),
    wrong(
        "Encoder",
        "last_layer_left_out",
        caught_by="layers_follow_each_other",
        because="stops one layer early",
        body=stack(RUN.replace("self.layers:", "self.layers[:-1]:")),
    ),
    wrong(
        "Encoder",
        "residual_round_the_layers",
        caught_by="layers_follow_each_other",
        because="adds x once more, though the layer did",
        body=stack(RUN.replace("x = layer", "x = x + layer")),
    ),
    wrong(
        "Encoder",
        "mask_lost_after_the_first_layer",
        caught_by="mask_reaches_every_layer",
        because="uses up the mask in the first layer",
        body=stack(RUN.replace("x = layer(x, mask)", "x, mask = layer(x, mask), None")),
    ),
    wrong(
        "Encoder",
        "mask_in_the_last_layer_only",
        caught_by="mask_reaches_every_layer",
        because="hides the padding only at the end",
        body=stack(
            "for layer in self.layers[:-1]:\n            x = layer(x, None)\n        return self.final_norm(self.layers[-1](x, mask))"
        ),
    ),
    wrong(
        "Encoder",
        "mask_forgotten",
        caught_by="mask_reaches_every_layer",
        because="takes a mask and does not use it",
        body=stack(RUN.replace("layer(x, mask)", "layer(x, None)")),
    ),
    wrong(
        "Encoder",
        "no_final_norm",
        caught_by="pre_norm_ends_in_a_norm",
        because="leaves the sum of everything as it is",
        edit=('LayerNorm(width, eps) if norm == "pre" else nn.Identity()', "nn.Identity()"),
    ),
    wrong(
        "Encoder",
        "final_norm_unused",
        caught_by="pre_norm_ends_in_a_norm",
        because="makes the final norm and returns without it",
        body=stack(RUN.replace("self.final_norm(x)", "x")),
    ),
    wrong(
        "Encoder",
        "norm_after_every_layer",
        caught_by="mask_reaches_every_layer",
        because="norms the residual path after each layer",
        body=stack(
            RUN.replace("layer(x, mask)", "self.final_norm(layer(x, mask))").replace(
                "return self.final_norm(x)", "return x"
            )
        ),
    ),
    wrong(
        "Encoder",
        "final_norm_for_both",
        caught_by="post_norm_needs_no_other",
        because="norms twice at the end of a post-norm stack",
        edit=(' if norm == "pre" else nn.Identity()', ""),
    ),
    wrong(
        "Encoder",
        "final_norm_exchanged",
        caught_by="post_norm_needs_no_other",
        because="gives the final norm to post instead of pre",
        edit=('if norm == "pre" else', 'if norm == "post" else'),
    ),
    wrong(
        "Encoder",
        "eps_of_the_final_norm",
        caught_by="settings_reach_every_layer",
        because="leaves the final norm at 1e-5",
        edit=("LayerNorm(width, eps)", "LayerNorm(width, 1e-5)"),
    ),
    wrong(
        "Encoder",
        "dropout_of_the_layers_lost",
        caught_by="settings_reach_every_layer",
        because="makes layers without dropout",
        body=once(stack(RUN), "(width, heads, hidden, dropout, eps", "(width, heads, hidden, 0.0, eps"),
    ),
    wrong(
        "Encoder",
        "lower_layers_frozen",
        caught_by="gradients_reach_every_layer",
        because="cuts the gradient between the layers",
        body=stack(RUN.replace("layer(x, mask)", "layer(x.detach(), mask)")),
    ),
    wrong(
        "Encoder",
        "zeros",
        caught_by="layers_follow_each_other",
        because="the right parameters and an empty result",
        body=stack("return torch.zeros_like(x)"),
    ),
    right(
        "Encoder",
        "recursion",
        because="no loop: the rest of the stack is applied to the first layer's result",
        body=stack("return self.final_norm(self.run(x, mask, 0))")
        + """
    def run(self, x, mask, at):
        return x if at == len(self.layers) else self.run(self.layers[at](x, mask), mask, at + 1)
""",
    ),
    right(
        "Encoder",
        "reduce",
        because="appends to a ModuleList, and norms by nn.LayerNorm",
        body="""
class Encoder(nn.Module):
    def __init__(self, layers, width, heads, hidden, dropout, eps, activation, norm):
        super().__init__()
        self.layers = nn.ModuleList()
        while len(self.layers) < layers:
            self.layers.append(EncoderLayer(width, heads, hidden, dropout, eps, activation, norm))
        self.final_norm = nn.LayerNorm(width, eps=eps) if norm == "pre" else nn.Sequential()

    def forward(self, x, mask):
        from functools import reduce

        return self.final_norm(reduce(lambda y, layer: layer(y, mask), self.layers, x))
""",
    ),
]

COUNTS = [
    wrong(
        "parameter_count",
        "biases_of_attention",
        caught_by="counts_every_part_of_a_layer",
        because="forgets the biases of the projections",
        edit=("4 * (width * width + width)", "4 * width * width"),
    ),
    wrong(
        "parameter_count",
        "three_projections",
        caught_by="counts_every_part_of_a_layer",
        because="forgets the output projection",
        edit=("4 * (width * width + width)", "3 * (width * width + width)"),
    ),
    wrong(
        "parameter_count",
        "both_biases_of_the_hidden_width",
        caught_by="counts_every_part_of_a_layer",
        because="takes the second bias for as long as the first",
        edit=("(hidden * width + width)", "(hidden * width + hidden)"),
    ),
    wrong(
        "parameter_count",
        "norms_without_shift",
        caught_by="counts_every_part_of_a_layer",
        because="counts the weights of the norms and not their biases",
        edit=("layer_norm_each = 2 * width", "layer_norm_each = width"),
    ),
    wrong(
        "parameter_count",
        "one_norm_a_layer",
        caught_by="counts_every_part_of_a_layer",
        because="counts one norm a layer",
        edit=("feed_forward + 2 * layer_norm_each", "feed_forward + layer_norm_each"),
    ),
    wrong(
        "parameter_count",
        "final_norm_in_every_layer",
        caught_by="layers_multiply",
        because="multiplies the final norm too",
        edit=("2 * layer_norm_each) + final", "2 * layer_norm_each + final)"),
    ),
    wrong(
        "parameter_count",
        "one_layer",
        caught_by="layers_multiply",
        because="forgets that there are several layers",
        edit=("return layers * (", "return ("),
    ),
    wrong(
        "parameter_count",
        "final_norm_always",
        caught_by="only_pre_norm_has_a_final_norm",
        because="counts a final norm for post too",
        edit=('layer_norm_each if norm == "pre" else 0', "layer_norm_each"),
    ),
    wrong(
        "parameter_count",
        "final_norm_never",
        caught_by="only_pre_norm_has_a_final_norm",
        because="forgets the final norm",
        edit=('layer_norm_each if norm == "pre" else 0', "0"),
    ),
    wrong(
        "parameter_count",
        "twelve_squares",
        caught_by="counts_what_no_machine_could_build",
        because="the rule of thumb, 12 · width² a layer",
        body="""
def parameter_count(layers, width, hidden, norm):
    return 12 * layers * width**2
""",
    ),
    wrong(
        "parameter_count",
        "hidden_is_four_widths",
        caught_by="counts_what_no_machine_could_build",
        because="right for the published sizes, and for no other",
        edit=("    attention = ", "    hidden = 4 * width\n    attention = "),
    ),
    wrong(
        "parameter_count",
        "zeros",
        caught_by="counts_every_part_of_a_layer",
        because="counts nothing",
        body="""
def parameter_count(layers, width, hidden, norm):
    return 0
""",
    ),
    right(
        "parameter_count",
        "expanded",
        because="one polynomial",
        body="""
def parameter_count(layers, width, hidden, norm):
    a_layer = 4 * width**2 + 2 * width * hidden + 9 * width + hidden
    return layers * a_layer + (norm == "pre") * 2 * width
""",
    ),
    right(
        "parameter_count",
        "list_of_shapes",
        because="adds up the shapes of all tensors of a layer",
        body="""
def parameter_count(layers, width, hidden, norm):
    from math import prod

    shapes = [(width, width), (width,)] * 4 + [(hidden, width), (hidden,), (width, hidden), (width,)]
    shapes += [(width,)] * 4
    end = [(width,)] * 2 if norm == "pre" else []
    return layers * sum(map(prod, shapes)) + sum(map(prod, end))
""",
    ),
]

VARIANTS = [*NORM, *FEEDS, *LAYERS, *STACKS, *COUNTS]
