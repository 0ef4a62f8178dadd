"""Wrong and right solutions of chapter 14, `parameter_efficient`."""

from autograder.variants.base import right, wrong

ADAPTER = [
    wrong(
        "Adapter",
        "both_zero",
        caught_by="learns_from_its_first_step",
        because="starts down at zero too, so that no gradient ever reaches a weight",
        edit=(
            "        nn.init.zeros_(self.up.weight)\n",
            "        nn.init.zeros_(self.up.weight)\n        nn.init.zeros_(self.down.weight)\n"
            "        nn.init.zeros_(self.down.bias)\n",
        ),
    ),
    wrong(
        "Adapter",
        "random_start",
        caught_by="begins_as_the_identity",
        because="leaves up as nn.Linear starts it, which disturbs the pretrained model",
        edit=("        nn.init.zeros_(self.up.weight)\n", ""),
    ),
    wrong(
        "Adapter",
        "bias_left_random",
        caught_by="begins_as_the_identity",
        because="forgets the bias of up",
        edit=("        nn.init.zeros_(self.up.bias)\n", ""),
    ),
    wrong(
        "Adapter",
        "no_residual",
        caught_by="adds_the_small_network_to_x",
        because="returns the small network alone",
        edit=("return x + self.up", "return self.up"),
    ),
    wrong(
        "Adapter",
        "in_place",
        caught_by="adds_the_small_network_to_x",
        because="adds into the tensor that came in, which others still read",
        edit=(
            "return x + self.up(self.activation(self.down(x)))",
            "return x.add_(self.up(self.activation(self.down(x))))",
        ),
    ),
    wrong(
        "Adapter",
        "activation_last",
        caught_by="adds_the_small_network_to_x",
        because="puts the activation behind up; the two layers are one linear map",
        edit=("self.up(self.activation(self.down(x)))", "self.activation(self.up(self.down(x)))"),
    ),
    wrong(
        "Adapter",
        "no_activation",
        caught_by="adds_the_small_network_to_x",
        because="forgets the activation",
        edit=("self.up(self.activation(self.down(x)))", "self.up(self.down(x))"),
    ),
    wrong(
        "Adapter",
        "always_relu",
        caught_by="adds_the_small_network_to_x",
        because="takes the same activation whatever was named",
        edit=("self.up(self.activation(", "self.up(torch.relu("),
    ),
    wrong(
        "Adapter",
        "residual_detached",
        caught_by="gradients_flow_around_and_through",
        because="lets no gradient pass around the small network",
        edit=("return x + self.up", "return x.detach() + self.up"),
    ),
    wrong(
        "Adapter",
        "no_biases",
        caught_by="two_layers_down_and_up",
        because="leaves out the biases",
        edit=("nn.Linear(width, bottleneck)", "nn.Linear(width, bottleneck, bias=False)"),
    ),
    wrong(
        "Adapter",
        "empty_bottleneck",
        caught_by="refuses_no_bottleneck",
        because="makes an adapter that learns nothing but a bias",
        edit=("if bottleneck < 1:", "if bottleneck < 0:"),
    ),
    wrong(
        "Adapter",
        "zeros",
        caught_by="adds_the_small_network_to_x",
        because="the right shape and nothing in it",
        edit=("return x + self.up(self.activation(self.down(x)))", "return torch.zeros_like(x)"),
    ),
    right(
        "Adapter",
        "by_hand",
        because="keeps the parts in a Sequential beside their names and fills with data",
        body="""
class Adapter(nn.Module):
    def __init__(self, width, bottleneck, activation):
        super().__init__()
        if not bottleneck > 0:
            raise ValueError("too narrow")
        self.phi = activation_function(activation)
        self.down, self.up = nn.Linear(width, bottleneck), nn.Linear(bottleneck, width)
        with torch.no_grad():
            for p in self.up.parameters():
                p.fill_(0.0)

    def forward(self, x):
        inside = self.phi(nn.functional.linear(x, self.down.weight, self.down.bias))
        return inside @ self.up.weight.T + self.up.bias + x
""",
    ),
]

PREFIX = [
    wrong(
        "PrefixKV",
        "mask_not_widened",
        caught_by="mask_grows_in_front",
        because="leaves the mask as wide as the text",
        edit=("mask = torch.cat([visible, mask], dim=-1)", "mask = mask"),
    ),
    wrong(
        "PrefixKV",
        "mask_widened_behind",
        caught_by="mask_grows_in_front",
        because="puts the new columns behind those of the text",
        edit=("torch.cat([visible, mask], dim=-1)", "torch.cat([mask, visible], dim=-1)"),
    ),
    wrong(
        "PrefixKV",
        "prefix_hidden",
        caught_by="mask_grows_in_front",
        because="fills the new columns with False: nobody sees the prefix",
        edit=("mask.new_ones(", "mask.new_zeros("),
    ),
    wrong(
        "PrefixKV",
        "mask_of_numbers",
        caught_by="mask_grows_in_front",
        because="fills the new columns with float ones, which makes a mask of numbers",
        edit=(
            "mask.new_ones(*mask.shape[:-1], len(self.keys))",
            "torch.ones(*mask.shape[:-1], len(self.keys))",
        ),
    ),
    wrong(
        "PrefixKV",
        "mask_widens_the_queries",
        caught_by="mask_grows_in_front",
        because="adds the prefix to the axis of the queries too, as if it asked",
        edit=(
            "            mask = torch.cat([visible, mask], dim=-1)",
            "            mask = torch.cat([visible, mask], dim=-1)\n"
            "            mask = torch.cat([mask[..., :1, :].expand(*mask.shape[:-2], len(self.keys), -1), mask], dim=-2)",
        ),
    ),
    wrong(
        "PrefixKV",
        "behind_the_text",
        caught_by="stands_before_the_text",
        because="puts the prefix behind the text",
        edit=(
            "torch.cat([keys, k], dim=2), torch.cat([values, v], dim=2)",
            "torch.cat([k, keys], dim=2), torch.cat([v, values], dim=2)",
        ),
    ),
    wrong(
        "PrefixKV",
        "keys_for_values",
        caught_by="stands_before_the_text",
        because="takes the same numbers for keys and values",
        edit=("split_heads(self.values[None], self.heads)", "split_heads(self.keys[None], self.heads)"),
    ),
    wrong(
        "PrefixKV",
        "added_to_the_text",
        caught_by="stands_before_the_text",
        because="adds the mean of the prefix to the keys instead of standing beside them",
        body="""
class PrefixKV(nn.Module):
    def __init__(self, length, width, heads, std):
        super().__init__()
        if width % heads:
            raise ValueError("heads")
        self.heads = heads
        self.keys = nn.Parameter(std * torch.randn(length, width))
        self.values = nn.Parameter(std * torch.randn(length, width))

    def forward(self, k, v, mask):
        keys = split_heads(self.keys[None], self.heads).mean(dim=2, keepdim=True)
        values = split_heads(self.values[None], self.heads).mean(dim=2, keepdim=True)
        return k + keys, v + values, mask
""",
    ),
    wrong(
        "PrefixKV",
        "cut_by_a_view",
        caught_by="is_cut_into_heads_like_the_text",
        because="views the prefix as (heads, length, dim), which mixes positions",
        body="""
class PrefixKV(nn.Module):
    def __init__(self, length, width, heads, std):
        super().__init__()
        if width % heads:
            raise ValueError("heads")
        self.heads = heads
        self.keys = nn.Parameter(std * torch.randn(length, width))
        self.values = nn.Parameter(std * torch.randn(length, width))

    def forward(self, k, v, mask):
        shape = (1, self.heads, len(self.keys), -1)
        keys = self.keys.reshape(shape).expand(len(k), -1, -1, -1)
        values = self.values.reshape(shape).expand(len(k), -1, -1, -1)
        if mask is not None:
            mask = torch.cat([mask.new_ones(*mask.shape[:-1], len(self.keys)), mask], dim=-1)
        return torch.cat([keys, k], dim=2), torch.cat([values, v], dim=2), mask
""",
    ),
    wrong(
        "PrefixKV",
        "unit_start",
        caught_by="learns_keys_and_values",
        because="ignores the standard deviation",
        edit=("self.values = nn.Parameter(std * torch", "self.values = nn.Parameter(torch"),
    ),
    wrong(
        "PrefixKV",
        "a_parameter_for_a_head",
        caught_by="learns_keys_and_values",
        because="keeps the prefix in another shape, which no file of another program fits",
        body="""
class PrefixKV(nn.Module):
    def __init__(self, length, width, heads, std):
        super().__init__()
        if width % heads:
            raise ValueError("heads")
        self.keys = nn.Parameter(std * torch.randn(heads, length, width // heads))
        self.values = nn.Parameter(std * torch.randn(heads, length, width // heads))

    def forward(self, k, v, mask):
        keys, values = self.keys.expand(len(k), -1, -1, -1), self.values.expand(len(k), -1, -1, -1)
        if mask is not None:
            mask = torch.cat([mask.new_ones(*mask.shape[:-1], keys.shape[2]), mask], dim=-1)
        return torch.cat([keys, k], dim=2), torch.cat([values, v], dim=2), mask
""",
    ),
    wrong(
        "PrefixKV",
        "frozen_prefix",
        caught_by="gradients_reach_the_prefix",
        because="reads the prefix without its gradient",
        edit=(
            "split_heads(self.keys[None], self.heads)",
            "split_heads(self.keys.detach()[None], self.heads)",
        ),
    ),
    wrong(
        "PrefixKV",
        "text_without_gradient",
        caught_by="gradients_reach_the_prefix",
        because="cuts the gradient to the keys of the text, and with it that of all layers below",
        edit=("torch.cat([keys, k], dim=2)", "torch.cat([keys, k.detach()], dim=2)"),
    ),
    wrong(
        "PrefixKV",
        "invents_a_mask",
        caught_by="no_mask_stays_none",
        because="makes a mask of None that hides the text",
        edit=(
            "        if mask is not None:\n",
            "        if mask is None:\n"
            "            hidden = torch.zeros(1, k.shape[2], dtype=torch.bool)\n"
            "            mask = torch.cat([torch.ones(1, len(self.keys), dtype=torch.bool), hidden], dim=-1)\n"
            "        else:\n",
        ),
    ),
    wrong(
        "PrefixKV",
        "rounds_down",
        caught_by="prefix_refuses_heads_that_do_not_divide",
        because="accepts heads that do not divide",
        edit=("        if width % heads:\n", "        if heads > width:\n"),
    ),
    wrong(
        "PrefixKV",
        "zeros",
        caught_by="stands_before_the_text",
        because="the right shapes and nothing in them",
        edit=(
            "torch.cat([keys, k], dim=2), torch.cat([values, v], dim=2), mask",
            "torch.zeros_like(torch.cat([keys, k], dim=2)), torch.zeros_like(torch.cat([values, v], dim=2)), mask",
        ),
    ),
    right(
        "PrefixKV",
        "padded_mask",
        because="rearranges with einops and pads the mask",
        body="""
class PrefixKV(nn.Module):
    def __init__(self, length, width, heads, std):
        super().__init__()
        if width % heads != 0:
            raise ValueError(f"{width} numbers for {heads} heads")
        self.h, self.length = heads, length
        self.keys, self.values = (nn.Parameter(torch.empty(length, width).normal_(0.0, std)) for _ in range(2))

    def forward(self, k, v, mask):
        batch, heads, _, dim = k.shape
        out = []
        for own, text in ((self.keys, k), (self.values, v)):
            cut = own.reshape(self.length, self.h, dim).transpose(0, 1)
            out.append(torch.cat([cut.unsqueeze(0).repeat(batch, 1, 1, 1), text], dim=-2))
        wide = None if mask is None else nn.functional.pad(mask, (self.length, 0), value=True)
        return out[0], out[1], wide
""",
    ),
]

LORA = [
    wrong(
        "LoRALinear",
        "both_zero",
        caught_by="learns_from_the_first_step",
        because="starts A and B at zero: each one's gradient is a product with the other",
        edit=(
            "        nn.init.kaiming_uniform_(self.A, a=math.sqrt(5))\n",
            "        nn.init.zeros_(self.A)\n",
        ),
    ),
    wrong(
        "LoRALinear",
        "both_random",
        caught_by="begins_as_its_base",
        because="starts B random too, so that the first answer is not the base's",
        edit=(
            "base.weight.new_zeros(base.out_features, rank)",
            "torch.randn_like(base.weight)[:, :rank].contiguous()",
        ),
    ),
    wrong(
        "LoRALinear",
        "large_start",
        caught_by="learns_from_the_first_step",
        because="starts A with standard normal numbers, far larger than a linear layer's",
        edit=("nn.init.kaiming_uniform_(self.A, a=math.sqrt(5))", "nn.init.normal_(self.A, std=3.0)"),
    ),
    wrong(
        "LoRALinear",
        "no_scale",
        caught_by="update_is_scaled_by_alpha_over_rank",
        because="forgets alpha / rank",
        edit=("self.scale = alpha / rank", "self.scale = 1.0"),
    ),
    wrong(
        "LoRALinear",
        "alpha_alone",
        caught_by="update_is_scaled_by_alpha_over_rank",
        because="multiplies by alpha and does not divide by the rank",
        edit=("self.scale = alpha / rank", "self.scale = alpha"),
    ),
    wrong(
        "LoRALinear",
        "root_of_the_rank",
        caught_by="update_is_scaled_by_alpha_over_rank",
        because="divides by the root of the rank, which is another method",
        edit=("self.scale = alpha / rank", "self.scale = alpha / math.sqrt(rank)"),
    ),
    wrong(
        "LoRALinear",
        "upside_down",
        caught_by="update_is_scaled_by_alpha_over_rank",
        because="takes rank / alpha",
        edit=("self.scale = alpha / rank", "self.scale = rank / alpha"),
    ),
    wrong(
        "LoRALinear",
        "base_trained",
        caught_by="base_is_frozen",
        because="leaves the gradients of the base on",
        edit=("self.base = base.requires_grad_(False)", "self.base = base"),
    ),
    wrong(
        "LoRALinear",
        "bias_trained",
        caught_by="base_is_frozen",
        because="freezes the weight and forgets the bias",
        edit=(
            "        self.base = base.requires_grad_(False)\n",
            "        self.base = base\n        self.base.weight.requires_grad_(False)\n",
        ),
    ),
    wrong(
        "LoRALinear",
        "freezes_a_copy",
        caught_by="base_is_frozen",
        because="wraps a copy, and leaves the layer that was given as it was, in memory and trained",
        edit=(
            "        self.base = base.requires_grad_(False)\n",
            "        import copy\n\n        self.base = copy.deepcopy(base).requires_grad_(False)\n",
        ),
    ),
    wrong(
        "LoRALinear",
        "needs_a_bias",
        caught_by="base_is_frozen",
        because="freezes the bias without looking whether there is one",
        edit=(
            "        self.base = base.requires_grad_(False)\n",
            "        self.base = base\n        base.weight.requires_grad_(False), base.bias.requires_grad_(False)\n",
        ),
    ),
    wrong(
        "LoRALinear",
        "base_without_gradient",
        caught_by="gradients_flow_through_base_and_update",
        because="freezes by no_grad, which cuts the gradient of x through the base too",
        edit=(
            "        return self.base(x) + self.scale",
            "        with torch.no_grad():\n            frozen = self.base(x)\n        return frozen + self.scale",
        ),
    ),
    wrong(
        "LoRALinear",
        "dropout_on_the_base",
        caught_by="dropout_spares_the_base",
        because="drops the x that the frozen base sees",
        edit=(
            "        return self.base(x) + self.scale * (self.dropout(x)",
            "        x = self.dropout(x)\n        return self.base(x) + self.scale * (x",
        ),
    ),
    wrong(
        "LoRALinear",
        "dropout_forgotten",
        caught_by="dropout_spares_the_base",
        because="never drops anything",
        edit=("self.dropout(x) @", "x @"),
    ),
    wrong(
        "LoRALinear",
        "dropout_always",
        caught_by="dropout_spares_the_base",
        because="drops when the model is used, too",
        edit=("(self.dropout(x) @", "(nn.functional.dropout(x, self.dropout.p, True) @"),
    ),
    wrong(
        "LoRALinear",
        "dropout_behind_the_update",
        caught_by="dropout_spares_the_base",
        because="drops single outputs of the update instead of its input",
        edit=(
            "self.scale * (self.dropout(x) @ self.A.T @ self.B.T)",
            "self.scale * self.dropout(x @ self.A.T @ self.B.T)",
        ),
    ),
    wrong(
        "LoRALinear",
        "counted_twice",
        caught_by="merging_changes_no_answer",
        because="adds the update in forward although the base holds it",
        edit=("        if self.merged:\n            return self.base(x)\n", ""),
    ),
    wrong(
        "LoRALinear",
        "merges_without_scale",
        caught_by="merging_changes_no_answer",
        because="merges B A without alpha / rank",
        edit=("self.base.weight += self.scale * self.B @ self.A", "self.base.weight += self.B @ self.A"),
    ),
    wrong(
        "LoRALinear",
        "merges_twice",
        caught_by="merging_changes_no_answer",
        because="adds the update again at every merge",
        edit=("        if not self.merged:\n", "        if True:\n"),
    ),
    wrong(
        "LoRALinear",
        "does_not_merge",
        caught_by="merging_changes_no_answer",
        because="sets the flag and leaves the weight, so that the update is lost",
        edit=(
            "                self.base.weight += self.scale * self.B @ self.A  # (outputs, inputs)\n",
            "                pass\n",
        ),
    ),
    wrong(
        "LoRALinear",
        "unmerge_forgets_the_flag",
        caught_by="unmerging_brings_the_layer_back",
        because="subtracts the update and goes on as if it were in the base",
        edit=(
            "                self.base.weight -= self.scale * self.B @ self.A  # (outputs, inputs)\n            self.merged = False\n",
            "                self.base.weight -= self.scale * self.B @ self.A  # (outputs, inputs)\n",
        ),
    ),
    wrong(
        "LoRALinear",
        "unmerges_what_is_not_merged",
        caught_by="unmerging_brings_the_layer_back",
        because="subtracts an update that was never added",
        edit=(
            "        if self.merged:\n            with torch.no_grad():",
            "        if True:\n            with torch.no_grad():",
        ),
    ),
    wrong(
        "LoRALinear",
        "no_check",
        caught_by="lora_refuses_no_rank",
        because="makes a layer of rank 0, or divides by zero",
        edit=("        if rank < 1:\n", "        if rank < 0:\n"),
    ),
    wrong(
        "LoRALinear",
        "zeros",
        caught_by="update_is_scaled_by_alpha_over_rank",
        because="the right shape and nothing in it",
        edit=(
            "return self.base(x) + self.scale * (self.dropout(x) @ self.A.T @ self.B.T)",
            "return 0.0 * self.base(x)",
        ),
    ),
    right(
        "LoRALinear",
        "keeps_the_old_weight",
        because="unmerges by putting back a copy; products by functional.linear",
        body="""
class LoRALinear(nn.Module):
    def __init__(self, base, rank, alpha, dropout):
        super().__init__()
        if rank <= 0:
            raise ValueError("rank must be positive")
        for p in base.parameters():
            p.requires_grad = False
        like = {"dtype": base.weight.dtype, "device": base.weight.device}
        self.base = base
        self.A = nn.Parameter(nn.Linear(base.in_features, rank, bias=False, **like).weight.detach().clone())
        self.B = nn.Parameter(torch.zeros(base.out_features, rank, **like))
        self.p, self.alpha, self.rank, self.old = dropout, alpha, rank, None

    def forward(self, x):
        y = self.base(x)
        if self.old is None:
            inside = nn.functional.linear(nn.functional.dropout(x, self.p, self.training), self.A)
            y = y + nn.functional.linear(inside, self.B) * self.alpha / self.rank
        return y

    @torch.no_grad()
    def merge(self):
        if self.old is None:
            self.old = self.base.weight.clone()
            self.base.weight.copy_(self.old + torch.einsum("or,ri->oi", self.B, self.A) * (self.alpha / self.rank))

    @torch.no_grad()
    def unmerge(self):
        if self.old is not None:
            self.base.weight.copy_(self.old)
            self.old = None
""",
    ),
    right(
        "LoRALinear",
        "one_matrix",
        because="adds the update to the weight in every call, when nothing is dropped",
        body="""
class LoRALinear(nn.Module):
    def __init__(self, base, rank, alpha, dropout):
        super().__init__()
        if rank < 1:
            raise ValueError("rank")
        self.base = base
        base.weight.requires_grad_(False)
        if base.bias is not None:
            base.bias.requires_grad_(False)
        bound = 1 / math.sqrt(base.in_features)
        self.A = nn.Parameter(torch.empty(rank, base.in_features).uniform_(-bound, bound).to(base.weight))
        self.B = nn.Parameter(torch.zeros(base.out_features, rank).to(base.weight))
        self.scale, self.drop, self.sign = alpha / rank, nn.Dropout(dropout), 0

    def update(self):
        return self.scale * (self.B @ self.A)

    def forward(self, x):
        if self.sign:
            return self.base(x)
        if self.training and self.drop.p:
            return self.base(x) + self.drop(x) @ self.update().T
        return nn.functional.linear(x, self.base.weight + self.update(), self.base.bias)

    def merge(self):
        self.base.weight.data += (1 - self.sign) * self.update().detach()
        self.sign = 1

    def unmerge(self):
        self.base.weight.data -= self.sign * self.update().detach()
        self.sign = 0
""",
    ),
]

BUDGET = [
    wrong(
        "adalora_budget",
        "straight_line",
        caught_by="shrinks_with_the_cube_of_what_is_left",
        because="goes down by equal amounts",
        edit=("(initial - final) * left**3 // way**3", "(initial - final) * left // way"),
    ),
    wrong(
        "adalora_budget",
        "square",
        caught_by="shrinks_with_the_cube_of_what_is_left",
        because="takes the square",
        edit=("left**3 // way**3", "left**2 // way**2"),
    ),
    wrong(
        "adalora_budget",
        "cube_of_what_is_done",
        caught_by="shrinks_with_the_cube_of_what_is_left",
        because="takes 1 − (share done)³, which waits long and falls late",
        edit=(
            "final + (initial - final) * left**3 // way**3",
            "initial - (initial - final) * (way - left)**3 // way**3",
        ),
    ),
    wrong(
        "adalora_budget",
        "share_of_all_steps",
        caught_by="shrinks_with_the_cube_of_what_is_left",
        because="measures the way from step 0 to the last one",
        body="""
def adalora_budget(step, initial, final, warmup, cooldown, total):
    if total - warmup - cooldown < 1 or final > initial:
        raise ValueError("no schedule")
    if step <= warmup:
        return initial
    if step >= total - cooldown:
        return final
    return int(final + (initial - final) * (1 - step / total) ** 3)
""",
    ),
    wrong(
        "adalora_budget",
        "no_warm_up",
        caught_by="stays_whole_in_the_warm_up",
        because="starts to shrink at step 0",
        body="""
def adalora_budget(step, initial, final, warmup, cooldown, total):
    way = total - warmup - cooldown
    if way < 1 or final > initial:
        raise ValueError("no schedule")
    left = max(0.0, 1 - step / (total - cooldown))
    return int(final + (initial - final) * left**3)
""",
    ),
    wrong(
        "adalora_budget",
        "grows_in_the_warm_up",
        caught_by="stays_whole_in_the_warm_up",
        because="does not limit the share that is left to one",
        edit=("min(max(total - cooldown - step, 0), way)", "max(total - cooldown - step, 0)"),
    ),
    wrong(
        "adalora_budget",
        "no_cool_down",
        caught_by="is_final_in_the_cool_down",
        because="reaches the final budget at the last step only",
        body="""
def adalora_budget(step, initial, final, warmup, cooldown, total):
    if total - warmup - cooldown < 1 or final > initial:
        raise ValueError("no schedule")
    left = min(max(total - step, 0), total - warmup)
    return final + (initial - final) * left**3 // (total - warmup) ** 3
""",
    ),
    wrong(
        "adalora_budget",
        "goes_below",
        caught_by="is_final_in_the_cool_down",
        because="follows the cube below the final budget",
        edit=("min(max(total - cooldown - step, 0), way)", "min(total - cooldown - step, way)"),
    ),
    wrong(
        "adalora_budget",
        "a_fraction",
        caught_by="is_a_whole_number_rounded_down",
        because="returns a fraction of a direction",
        edit=("left**3 // way**3", "left**3 / way**3"),
    ),
    wrong(
        "adalora_budget",
        "rounded_up",
        caught_by="is_a_whole_number_rounded_down",
        because="rounds up, one direction over the budget",
        edit=("(initial - final) * left**3 // way**3", "-(-(initial - final) * left**3 // way**3)"),
    ),
    wrong(
        "adalora_budget",
        "no_way_accepted",
        caught_by="budget_refuses_what_cannot_be",
        because="accepts a schedule that has no step to shrink in",
        edit=("    if way < 1:\n", "    way = max(way, 1)\n    if way < 1:\n"),
    ),
    wrong(
        "adalora_budget",
        "growing_accepted",
        caught_by="budget_refuses_what_cannot_be",
        because="accepts a budget that grows",
        edit=("    if final > initial:\n", "    if False:\n"),
    ),
    wrong(
        "adalora_budget",
        "zeros",
        caught_by="shrinks_with_the_cube_of_what_is_left",
        because="nothing, whatever is asked",
        body="""
def adalora_budget(step, initial, final, warmup, cooldown, total):
    return 0
""",
    ),
    right(
        "adalora_budget",
        "by_cases",
        because="three cases and floating-point numbers",
        body="""
def adalora_budget(step, initial, final, warmup, cooldown, total):
    end = total - cooldown
    if end <= warmup or initial < final:
        raise ValueError("no schedule")
    if step < warmup:
        return initial
    if step >= end:
        return final
    share = 1 - (step - warmup) / (end - warmup)
    return int(math.floor(final + share**3 * (initial - final)))
""",
    ),
]

_SCORE = "P.mean(dim=0) + Q.mean(dim=1)"

ADALORA = [
    wrong(
        "AdaLoRALinear",
        "no_lambda",
        caught_by="adds_p_lambda_q",
        because="leaves out Lambda, so that the update is P Q",
        edit=("x @ self.Q.T * self.Lambda @ self.P.T", "x @ self.Q.T @ self.P.T"),
    ),
    wrong(
        "AdaLoRALinear",
        "no_scale",
        caught_by="adds_p_lambda_q",
        because="forgets alpha / rank",
        edit=("self.scale = alpha / rank", "self.scale = 1.0"),
    ),
    wrong(
        "AdaLoRALinear",
        "squared_lambda",
        caught_by="adds_p_lambda_q",
        because="gives Lambda to both sides",
        edit=(
            "x @ self.Q.T * self.Lambda @ self.P.T",
            "x @ self.Q.T * self.Lambda @ (self.P * self.Lambda).T",
        ),
    ),
    wrong(
        "AdaLoRALinear",
        "random_lambda",
        caught_by="adalora_begins_as_its_base",
        because="starts with an update that nobody asked for",
        edit=("nn.Parameter(base.weight.new_zeros(rank))", "nn.Parameter(base.weight.new_ones(rank))"),
    ),
    wrong(
        "AdaLoRALinear",
        "zero_bases",
        caught_by="adalora_begins_as_its_base",
        because="starts P at zero as well, so that nothing ever gets a gradient",
        edit=(
            "nn.Parameter(nn.init.orthogonal_(base.weight.new_empty(base.out_features, rank)))",
            "nn.Parameter(base.weight.new_zeros(base.out_features, rank))",
        ),
    ),
    wrong(
        "AdaLoRALinear",
        "base_trained",
        caught_by="trains_p_lambda_q_alone",
        because="leaves the gradients of the base on",
        edit=("self.base = base.requires_grad_(False)", "self.base = base"),
    ),
    wrong(
        "AdaLoRALinear",
        "base_without_gradient",
        caught_by="trains_p_lambda_q_alone",
        because="cuts the gradient of x through the base",
        edit=("return self.base(x) +", "return self.base(x).detach() +"),
    ),
    wrong(
        "AdaLoRALinear",
        "orthogonality_with_a_root",
        caught_by="orthogonality_is_the_sum_of_squares",
        because="takes the norms instead of their squares",
        edit=(
            "(self.P.T @ self.P - identity).square().sum() + (self.Q @ self.Q.T - identity).square().sum()",
            "(self.P.T @ self.P - identity).norm() + (self.Q @ self.Q.T - identity).norm()",
        ),
    ),
    wrong(
        "AdaLoRALinear",
        "orthogonality_of_p_alone",
        caught_by="orthogonality_is_the_sum_of_squares",
        because="forgets Q",
        edit=(" + (self.Q @ self.Q.T - identity).square().sum()", ""),
    ),
    wrong(
        "AdaLoRALinear",
        "off_diagonal_only",
        caught_by="orthogonality_is_the_sum_of_squares",
        because="asks for right angles and not for length one",
        edit=(
            "(self.P.T @ self.P - identity).square().sum() + (self.Q @ self.Q.T - identity).square().sum()",
            "((self.P.T @ self.P) * (1 - identity)).square().sum() + ((self.Q @ self.Q.T) * (1 - identity)).square().sum()",
        ),
    ),
    wrong(
        "AdaLoRALinear",
        "orthogonality_without_gradient",
        caught_by="orthogonality_is_the_sum_of_squares",
        because="measures on detached copies, so that the penalty trains nothing",
        edit=("(self.P.T @ self.P - identity)", "(self.P.T @ self.P.detach() - identity)"),
    ),
    wrong(
        "AdaLoRALinear",
        "sum_for_mean",
        caught_by="importance_joins_the_three_parts",
        because="sums over P and Q, so that wide layers win",
        edit=(_SCORE, "P.sum(dim=0) + Q.sum(dim=1)"),
    ),
    wrong(
        "AdaLoRALinear",
        "lambda_alone",
        caught_by="importance_joins_the_three_parts",
        because="judges a direction by its Lambda alone",
        edit=(f"return Lambda + {_SCORE}", "return Lambda"),
    ),
    wrong(
        "AdaLoRALinear",
        "signed_product",
        caught_by="importance_joins_the_three_parts",
        because="takes w · gradient with its sign",
        edit=("now = (weight * weight.grad).abs()", "now = weight * weight.grad"),
    ),
    wrong(
        "AdaLoRALinear",
        "gradient_alone",
        caught_by="importance_joins_the_three_parts",
        because="takes the size of the gradient for the importance",
        edit=("now = (weight * weight.grad).abs()", "now = weight.grad.abs()"),
    ),
    wrong(
        "AdaLoRALinear",
        "no_uncertainty",
        caught_by="importance_joins_the_three_parts",
        because="takes the sensitivity alone",
        edit=(
            'self.get_buffer(f"S_{name}") * self.get_buffer(f"U_{name}") for',
            'self.get_buffer(f"S_{name}") for',
        ),
    ),
    wrong(
        "AdaLoRALinear",
        "betas_swapped",
        caught_by="importance_joins_the_three_parts",
        because="gives beta2 to the sensitivity and beta1 to the uncertainty",
        edit=(
            "        for name, weight in self.named_parameters(recurse=False):\n",
            "        beta1, beta2 = beta2, beta1\n        for name, weight in self.named_parameters(recurse=False):\n",
        ),
    ),
    wrong(
        "AdaLoRALinear",
        "compares_with_the_old_mean",
        caught_by="importance_remembers_earlier_steps",
        because="takes the uncertainty against the sensitivity before the update",
        edit=(
            "            sensitivity.mul_(beta1).add_((1 - beta1) * now)\n"
            "            uncertainty.mul_(beta2).add_((1 - beta2) * (now - sensitivity).abs())\n",
            "            uncertainty.mul_(beta2).add_((1 - beta2) * (now - sensitivity).abs())\n"
            "            sensitivity.mul_(beta1).add_((1 - beta1) * now)\n",
        ),
    ),
    wrong(
        "AdaLoRALinear",
        "forgets",
        caught_by="importance_remembers_earlier_steps",
        because="keeps the last step only",
        edit=("sensitivity.mul_(beta1).add_", "sensitivity.mul_(0).add_"),
    ),
    wrong(
        "AdaLoRALinear",
        "uncertainty_forgets",
        caught_by="importance_remembers_earlier_steps",
        because="starts the uncertainty anew at every step",
        edit=("uncertainty.mul_(beta2).add_", "uncertainty.mul_(0).add_"),
    ),
    wrong(
        "AdaLoRALinear",
        "prunes_the_kept",
        caught_by="pruning_silences_directions",
        because="takes keep for drop",
        edit=("masked_fill_(~keep, 0.0)", "masked_fill_(keep, 0.0)"),
    ),
    wrong(
        "AdaLoRALinear",
        "a_new_parameter",
        caught_by="pruning_silences_directions",
        because="makes a new parameter, while the optimiser goes on training the old one",
        edit=(
            "            self.Lambda.masked_fill_(~keep, 0.0)\n",
            "            self.Lambda = nn.Parameter(torch.where(keep, self.Lambda, 0.0))\n",
        ),
    ),
    wrong(
        "AdaLoRALinear",
        "prunes_p_and_q",
        caught_by="pruning_silences_directions",
        because="erases the directions themselves, so that none can come back",
        edit=(
            "            self.Lambda.masked_fill_(~keep, 0.0)\n",
            "            self.Lambda.masked_fill_(~keep, 0.0)\n            self.P.masked_fill_(~keep, 0.0)\n",
        ),
    ),
    wrong(
        "AdaLoRALinear",
        "too_wide",
        caught_by="adalora_refuses_what_makes_no_sense",
        because="accepts more directions than the matrix has",
        edit=("if not 1 <= rank <= min(base.weight.shape):", "if not 1 <= rank <= max(base.weight.shape):"),
    ),
    wrong(
        "AdaLoRALinear",
        "zeros",
        caught_by="adds_p_lambda_q",
        because="the right shape and nothing in it",
        edit=(
            "return self.base(x) + self.scale * (x @ self.Q.T * self.Lambda @ self.P.T)",
            "return 0.0 * self.base(x)",
        ),
    ),
    right(
        "AdaLoRALinear",
        "three_times_written_out",
        because="names the three parameters and their running means one by one, without a loop over names",
        body="""
class AdaLoRALinear(nn.Module):
    def __init__(self, base, rank, alpha):
        super().__init__()
        if not 0 < rank <= min(base.in_features, base.out_features):
            raise ValueError("rank")
        self.base, self.alpha, self.rank = base.requires_grad_(False), alpha, rank
        self.P = nn.Parameter(torch.empty(base.out_features, rank).to(base.weight))
        self.Q = nn.Parameter(torch.empty(rank, base.in_features).to(base.weight))
        self.Lambda = nn.Parameter(torch.zeros(rank).to(base.weight))
        nn.init.orthogonal_(self.P), nn.init.orthogonal_(self.Q)
        for name, like in (("P", self.P), ("L", self.Lambda), ("Q", self.Q)):
            self.register_buffer("mean" + name, torch.zeros_like(like.data))
            self.register_buffer("doubt" + name, torch.zeros_like(like.data))

    def parts(self):
        return [
            (self.P, self.meanP, self.doubtP),
            (self.Lambda, self.meanL, self.doubtL),
            (self.Q, self.meanQ, self.doubtQ),
        ]

    def forward(self, x):
        inside = nn.functional.linear(x, self.Q) * self.Lambda
        return self.base(x) + nn.functional.linear(inside, self.P) * self.alpha / self.rank

    def orthogonality(self):
        one = torch.eye(self.rank).to(self.P)
        return ((self.P.T @ self.P - one) ** 2).sum() + ((self.Q @ self.Q.T - one) ** 2).sum()

    @torch.no_grad()
    def update_importance(self, beta1, beta2):
        if any(weight.grad is None for weight, _, _ in self.parts()):
            raise RuntimeError("backward comes first")
        for weight, mean, doubt in self.parts():
            now = torch.abs(weight * weight.grad)
            mean.copy_(beta1 * mean + (1 - beta1) * now)
            doubt.copy_(beta2 * doubt + (1 - beta2) * torch.abs(now - mean))

    def importance(self):
        return self.meanL * self.doubtL + (self.meanP * self.doubtP).mean(0) + (self.meanQ * self.doubtQ).mean(1)

    @torch.no_grad()
    def prune(self, keep):
        self.Lambda *= keep
""",
    ),
    right(
        "AdaLoRALinear",
        "plain_attributes",
        because="keeps the running means in dictionaries, multiplies out P Λ Q",
        body="""
class AdaLoRALinear(nn.Module):
    def __init__(self, base, rank, alpha):
        super().__init__()
        rows, columns = base.weight.shape
        if rank < 1 or rank > rows or rank > columns:
            raise ValueError("rank")
        for p in base.parameters():
            p.requires_grad_(False)
        self.base, self.factor, like = base, alpha / rank, base.weight.dtype
        self.P = nn.Parameter(torch.linalg.qr(torch.randn(rows, rank, dtype=like)).Q)
        self.Q = nn.Parameter(torch.linalg.qr(torch.randn(columns, rank, dtype=like)).Q.T.contiguous())
        self.Lambda = nn.Parameter(torch.zeros(rank, dtype=like))
        self.means, self.doubts = {}, {}

    def forward(self, x):
        update = torch.einsum("or,r,ri->oi", self.P, self.Lambda, self.Q) * self.factor
        return nn.functional.linear(x, self.base.weight + update, self.base.bias)

    def orthogonality(self):
        total = 0
        for gram in (self.P.T @ self.P, self.Q @ self.Q.T):
            total = total + torch.linalg.matrix_norm(gram - torch.eye(len(gram), dtype=gram.dtype)) ** 2
        return total

    def update_importance(self, beta1, beta2):
        for name, p in self.named_parameters(recurse=False):
            if p.grad is None:
                raise RuntimeError("no gradient")
            now = (p.detach() * p.grad.detach()).abs()
            mean = beta1 * self.means.get(name, 0.0) + (1 - beta1) * now
            self.doubts[name] = beta2 * self.doubts.get(name, 0.0) + (1 - beta2) * (now - mean).abs()
            self.means[name] = mean

    def importance(self):
        s = {name: self.means[name] * self.doubts[name] for name in self.means}
        return s["Lambda"] + s["P"].sum(0) / s["P"].shape[0] + s["Q"].sum(1) / s["Q"].shape[1]

    def prune(self, keep):
        self.Lambda.data = torch.where(keep, self.Lambda.data, torch.zeros_like(self.Lambda.data))
""",
    ),
]

VARIANTS = [*ADAPTER, *PREFIX, *LORA, *BUDGET, *ADALORA]
