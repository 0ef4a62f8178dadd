"""Wrong and right solutions of chapter 16, `looking_inside`."""

from autograder.variants.base import right, wrong

ROLLOUT = [
    wrong(
        "attention_rollout",
        "no_residual",
        caught_by="half_of_a_position_is_itself",
        because="multiplies the maps alone, as if nothing passed by the attention",
        edit=("(0.5 * layer + 0.5 * itself) @ held", "layer @ held"),
    ),
    wrong(
        "attention_rollout",
        "rows_not_normalised",
        caught_by="half_of_a_position_is_itself",
        because="adds the residual path and does not halve: every layer doubles the rows",
        edit=("(0.5 * layer + 0.5 * itself) @ held", "(layer + itself) @ held"),
    ),
    wrong(
        "attention_rollout",
        "strongest_head",
        caught_by="half_of_a_position_is_itself",
        because="takes the largest weight of all heads; such rows sum to more than 1",
        edit=("maps.mean(dim=2)", "maps.amax(dim=2)"),
    ),
    wrong(
        "attention_rollout",
        "read_by_columns",
        caught_by="half_of_a_position_is_itself",
        because="turns queries and keys around",
        edit=("maps.mean(dim=2)", "maps.mean(dim=2).transpose(-2, -1)"),
    ),
    wrong(
        "attention_rollout",
        "layers_in_the_wrong_order",
        caught_by="later_layers_mix_what_earlier_ones_held",
        because="multiplies from the left what belongs to the right",
        edit=("(0.5 * layer + 0.5 * itself) @ held", "held @ (0.5 * layer + 0.5 * itself)"),
    ),
    wrong(
        "attention_rollout",
        "sum_of_layers",
        caught_by="later_layers_mix_what_earlier_ones_held",
        because="averages the layers instead of chaining them",
        body="""
def attention_rollout(maps, mask):
    real = mask[:, :, None] & mask[:, None, :]
    mean = torch.where(real, maps.mean(dim=2), 0.0)
    mean = mean / mean.sum(dim=-1, keepdim=True).clamp(min=torch.finfo(maps.dtype).tiny)
    mixed = 0.5 * mean + 0.5 * torch.diag_embed(mask.to(maps.dtype))
    counts = torch.arange(1, len(maps) + 1).reshape(-1, 1, 1, 1)
    return mixed.cumsum(dim=0) / counts
""",
    ),
    wrong(
        "attention_rollout",
        "last_layer_first",
        caught_by="later_layers_mix_what_earlier_ones_held",
        because="hands back the layers in reverse",
        edit=("torch.stack(after_each)", "torch.stack(after_each[::-1])"),
    ),
    wrong(
        "attention_rollout",
        "padding_takes_part",
        caught_by="padding_holds_and_gets_nothing",
        because="reads the maps without the mask",
        body="""
def attention_rollout(maps, mask):
    mean = maps.mean(dim=2)
    itself = torch.eye(maps.shape[-1], dtype=maps.dtype)
    held, after_each = itself, []
    for layer in mean:
        held = (0.5 * layer + 0.5 * itself) @ held
        after_each.append(held)
    return torch.stack(after_each)
""",
    ),
    wrong(
        "attention_rollout",
        "masked_at_the_end",
        caught_by="padding_holds_and_gets_nothing",
        because="lets padding take part and blacks it out in the result",
        body="""
def attention_rollout(maps, mask):
    itself = torch.eye(maps.shape[-1], dtype=maps.dtype)
    held, after_each = itself, []
    for layer in maps.mean(dim=2):
        held = (0.5 * layer + 0.5 * itself) @ held
        after_each.append(held)
    real = (mask[:, :, None] & mask[:, None, :]).to(maps.dtype)
    rolled = torch.stack(after_each) * real
    return rolled / rolled.sum(dim=-1, keepdim=True).clamp(min=1e-30)
""",
    ),
    wrong(
        "attention_rollout",
        "rest_not_normalised",
        caught_by="padding_holds_and_gets_nothing",
        because="takes away what padding got, and leaves rows that sum to less than 1",
        edit=(
            "    mean = mean / mean.sum(dim=-1, keepdim=True).clamp(min=torch.finfo(maps.dtype).tiny)\n",
            "",
        ),
    ),
    wrong(
        "attention_rollout",
        "padding_keeps_itself",
        caught_by="padding_holds_and_gets_nothing",
        because="gives padding a residual path of its own",
        edit=("torch.diag_embed(mask.to(maps.dtype))", "torch.eye(maps.shape[-1], dtype=maps.dtype)"),
    ),
    wrong(
        "attention_rollout",
        "empty_text_is_nan",
        caught_by="padding_holds_and_gets_nothing",
        because="divides by the sum of a row that holds nothing",
        edit=(".clamp(min=torch.finfo(maps.dtype).tiny)", ""),
    ),
    wrong(
        "attention_rollout",
        "masks_in_place",
        caught_by="leaves_the_maps_alone",
        because="blacks out the caller's own maps",
        edit=("    real = mask", "    maps[:, ~mask] *= 1\n    maps += 1e-12\n    real = mask"),
    ),
    right(
        "attention_rollout",
        "by_einsum",
        because="masks the keys, divides, and chains by einsum",
        body="""
def attention_rollout(maps, mask):
    weights = torch.einsum("lbhij->lbij", maps) / maps.shape[2]
    weights = weights.masked_fill(~mask[:, None, :], 0).masked_fill(~mask[:, :, None], 0)
    total = weights.sum(-1, keepdim=True)
    weights = weights / torch.where(total > 0, total, torch.ones_like(total))
    weights = (weights + torch.eye(maps.shape[-1], dtype=maps.dtype) * mask[:, None, :]) / 2
    rolled = [weights[0]]
    for mixture in weights[1:]:
        rolled.append(torch.einsum("bij,bjk->bik", mixture, rolled[-1]))
    return torch.stack(rolled)
""",
    ),
]

ABLATE = [
    wrong(
        "ablate_heads",
        "rows_of_the_weight",
        caught_by="one_head_is_silent_and_no_other",
        because="zeroes what `output` writes, not what it reads from the head",
        edit=(
            "weight[:, head * dim : (head + 1) * dim] = 0.0",
            "weight[head * dim : (head + 1) * dim] = 0.0",
        ),
    ),
    wrong(
        "ablate_heads",
        "every_so_manieth_number",
        caught_by="one_head_is_silent_and_no_other",
        because="thinks that the numbers of a head lie apart",
        edit=(
            "weight[:, head * dim : (head + 1) * dim] = 0.0",
            "weight[:, head :: layers[layer].heads] = 0.0",
        ),
    ),
    wrong(
        "ablate_heads",
        "heads_for_dim",
        caught_by="one_head_is_silent_and_no_other",
        because="cuts slices as wide as there are heads",
        edit=("weight.shape[1] // layers[layer].heads", "layers[layer].heads"),
    ),
    wrong(
        "ablate_heads",
        "counts_from_one",
        caught_by="one_head_is_silent_and_no_other",
        because="silences the neighbour below",
        edit=("weight[:, head * dim : (head + 1) * dim]", "weight[:, (head - 1) * dim : head * dim]"),
    ),
    wrong(
        "ablate_heads",
        "keeps_only_that_head",
        caught_by="one_head_is_silent_and_no_other",
        because="silences all the others",
        edit=(
            "weight[:, head * dim : (head + 1) * dim] = 0.0",
            "weight[:, : head * dim] = 0.0\n                weight[:, (head + 1) * dim :] = 0.0",
        ),
    ),
    wrong(
        "ablate_heads",
        "the_bias_too",
        caught_by="one_head_is_silent_and_no_other",
        because="takes the bias of the layer away with the head",
        body="""
def ablate_heads(layers, silent, measure):
    for layer, head in silent:
        if not (0 <= layer < len(layers) and 0 <= head < layers[layer].heads):
            raise ValueError("no such head")
    kept = [[p.detach().clone() for p in part.output.parameters()] for part in layers]
    try:
        with torch.no_grad():
            for layer, head in silent:
                output = layers[layer].output
                dim = output.weight.shape[1] // layers[layer].heads
                output.weight[:, head * dim : (head + 1) * dim] = 0
                output.bias.zero_()
        return measure()
    finally:
        with torch.no_grad():
            for part, values in zip(layers, kept):
                for p, value in zip(part.output.parameters(), values):
                    p.copy_(value)
""",
    ),
    wrong(
        "ablate_heads",
        "values_without_their_bias",
        caught_by="one_head_is_silent_and_no_other",
        because="zeroes the weight of the values and forgets their bias, so that the head still says something",
        body="""
def ablate_heads(layers, silent, measure):
    for layer, head in silent:
        if not (0 <= layer < len(layers) and 0 <= head < layers[layer].heads):
            raise ValueError("no such head")
    kept = [part.value.weight.detach().clone() for part in layers]
    try:
        with torch.no_grad():
            for layer, head in silent:
                weight = layers[layer].value.weight
                dim = weight.shape[0] // layers[layer].heads
                weight[head * dim : (head + 1) * dim] = 0
        return measure()
    finally:
        with torch.no_grad():
            for part, weight in zip(layers, kept):
                part.value.weight.copy_(weight)
""",
    ),
    wrong(
        "ablate_heads",
        "measured_twice",
        caught_by="one_head_is_silent_and_no_other",
        because="measures the intact model as well, at twice the cost",
        edit=("    kept = [", "    intact = measure()\n    kept = ["),
    ),
    wrong(
        "ablate_heads",
        "the_first_pair_only",
        caught_by="several_heads_at_once",
        because="stops after one head",
        edit=(
            "            for layer, head in silent:\n                weight =",
            "            for layer, head in list(silent)[:1]:\n                weight =",
        ),
    ),
    wrong(
        "ablate_heads",
        "one_layer_for_all",
        caught_by="several_heads_at_once",
        because="silences all heads in the layer of the first pair",
        edit=(
            "            for layer, head in silent:\n                weight =",
            "            for _, head in silent:\n                layer = list(silent)[0][0]\n                weight =",
        ),
    ),
    wrong(
        "ablate_heads",
        "never_restored",
        caught_by="everything_is_as_it_was",
        because="leaves the heads silent",
        edit=("                part.output.weight.copy_(weight)", "                pass"),
    ),
    wrong(
        "ablate_heads",
        "kept_without_a_copy",
        caught_by="everything_is_as_it_was",
        because="remembers the weights themselves, and copies zeros over zeros",
        edit=("part.output.weight.detach().clone()", "part.output.weight.detach()"),
    ),
    wrong(
        "ablate_heads",
        "not_after_an_error",
        caught_by="everything_is_as_it_was",
        because="restores only when the measurement went well",
        body="""
def ablate_heads(layers, silent, measure):
    for layer, head in silent:
        if not (0 <= layer < len(layers) and 0 <= head < layers[layer].heads):
            raise ValueError("no such head")
    kept = [part.output.weight.detach().clone() for part in layers]
    with torch.no_grad():
        for layer, head in silent:
            weight = layers[layer].output.weight
            dim = weight.shape[1] // layers[layer].heads
            weight[:, head * dim : (head + 1) * dim] = 0
    found = measure()
    with torch.no_grad():
        for part, weight in zip(layers, kept):
            part.output.weight.copy_(weight)
    return found
""",
    ),
    wrong(
        "ablate_heads",
        "no_error",
        caught_by="what_does_not_exist_is_refused",
        because="a head beyond the last is an empty slice, and the measurement says that it does not matter",
        edit=(
            "if not (0 <= layer < len(layers) and 0 <= head < layers[layer].heads):",
            "if not 0 <= layer < len(layers):",
        ),
    ),
    wrong(
        "ablate_heads",
        "negative_numbers",
        caught_by="what_does_not_exist_is_refused",
        because="lets negative numbers through",
        edit=(
            "0 <= layer < len(layers) and 0 <= head < layers[layer].heads",
            "layer < len(layers) and head < layers[layer].heads",
        ),
    ),
    right(
        "ablate_heads",
        "by_hooks",
        because="never touches a weight: a hook zeroes the numbers on their way into `output`",
        body="""
def ablate_heads(layers, silent, measure):
    quiet = {}
    for layer, head in silent:
        if layer not in range(len(layers)) or head not in range(layers[layer].heads):
            raise ValueError(f"no head {head} in layer {layer}")
        quiet.setdefault(layer, set()).add(head)

    def hush(heads, count):
        def before(module, inputs):
            merged = inputs[0].clone()
            dim = merged.shape[-1] // count
            for head in heads:
                merged[..., head * dim : head * dim + dim] = 0
            return (merged,)
        return before

    hooks = [
        layers[layer].output.register_forward_pre_hook(hush(heads, layers[layer].heads))
        for layer, heads in quiet.items()
    ]
    try:
        return measure()
    finally:
        for hook in hooks:
            hook.remove()
""",
    ),
]

GRADIENTS = [
    wrong(
        "integrated_gradients",
        "gradient_alone",
        caught_by="a_linear_score_is_shared_exactly",
        because="forgets to multiply with the way",
        edit=("((x - baseline) * gradient.mean(dim=0)).detach()", "gradient.mean(dim=0).detach()"),
    ),
    wrong(
        "integrated_gradients",
        "times_the_input",
        caught_by="a_linear_score_is_shared_exactly",
        because="multiplies with x, as if the baseline were zero",
        edit=("(x - baseline) * gradient", "x * gradient"),
    ),
    wrong(
        "integrated_gradients",
        "the_other_way_round",
        caught_by="a_linear_score_is_shared_exactly",
        because="counts the way from x to the baseline",
        edit=("(x - baseline) * gradient", "(baseline - x) * gradient"),
    ),
    wrong(
        "integrated_gradients",
        "sum_of_the_gradients",
        caught_by="a_linear_score_is_shared_exactly",
        because="adds the gradients up and forgets the width of a piece (with one step that is no mistake)",
        edit=("gradient.mean(dim=0)", "gradient.sum(dim=0) * 1.5"),
    ),
    wrong(
        "integrated_gradients",
        "left_ends",
        caught_by="gradients_come_from_the_middle_of_each_piece",
        because="a Riemann sum that never arrives at x",
        edit=("+ 0.5) / steps", "+ 0.0) / steps"),
    ),
    wrong(
        "integrated_gradients",
        "right_ends",
        caught_by="gradients_come_from_the_middle_of_each_piece",
        because="a Riemann sum that never stands near the baseline",
        edit=("+ 0.5) / steps", "+ 1.0) / steps"),
    ),
    wrong(
        "integrated_gradients",
        "both_ends",
        caught_by="gradients_come_from_the_middle_of_each_piece",
        because="linspace with both ends, whose mean is no rule for an integral",
        edit=(
            "(torch.arange(steps, dtype=x.dtype) + 0.5) / steps",
            "torch.linspace(0, 1, steps, dtype=x.dtype)",
        ),
    ),
    wrong(
        "integrated_gradients",
        "one_step_less",
        caught_by="gradients_come_from_the_middle_of_each_piece",
        because="off by one in the number of pieces",
        edit=(
            "(torch.arange(steps, dtype=x.dtype) + 0.5) / steps",
            "(torch.arange(max(1, steps - 1), dtype=x.dtype) + 0.5) / max(1, steps - 1)",
        ),
    ),
    wrong(
        "integrated_gradients",
        "from_zero",
        caught_by="the_shares_sum_to_the_difference",
        because="starts at zero whatever baseline is given",
        edit=("(baseline + shares * (x - baseline))", "(shares * x)"),
    ),
    wrong(
        "integrated_gradients",
        "gradient_at_the_end",
        caught_by="the_shares_sum_to_the_difference",
        because="input times gradient, at x alone",
        body="""
def integrated_gradients(score, x, baseline, steps):
    if steps < 1 or x.shape != baseline.shape:
        raise ValueError("no way")
    point = x.detach()[None].clone().requires_grad_()
    (gradient,) = torch.autograd.grad(score(point).sum(), point)
    return (x - baseline) * gradient[0]
""",
    ),
    wrong(
        "integrated_gradients",
        "backward_into_the_model",
        caught_by="leaves_no_trace",
        because="calls backward, which adds to the gradients of every parameter",
        edit=(
            "    (gradient,) = torch.autograd.grad(score(points).sum(), points)\n",
            "    score(points).sum().backward()\n    gradient = points.grad\n",
        ),
    ),
    wrong(
        "integrated_gradients",
        "marks_the_input",
        caught_by="leaves_no_trace",
        because="leaves x asking for a gradient, and the result in its graph",
        edit=(
            "((x - baseline) * gradient.mean(dim=0)).detach()",
            "(x.requires_grad_() - baseline) * gradient.mean(dim=0)",
        ),
    ),
    wrong(
        "integrated_gradients",
        "stretches_the_baseline",
        caught_by="no_way_is_refused",
        because="lets a baseline of another shape broadcast",
        edit=("if steps < 1 or x.shape != baseline.shape:", "if steps < 1:"),
    ),
    right(
        "integrated_gradients",
        "step_by_step",
        because="one point after the other, with less memory",
        body="""
def integrated_gradients(score, x, baseline, steps):
    if steps <= 0:
        raise ValueError(f"{steps} steps")
    if x.shape != baseline.shape:
        raise ValueError("the baseline has another shape")
    way, total = (x - baseline).detach(), torch.zeros_like(x)
    for number in range(steps):
        point = (baseline.detach() + way * (2 * number + 1) / (2 * steps)).unsqueeze(0).requires_grad_(True)
        total += torch.autograd.grad(score(point)[0], [point])[0][0]
    return way * total / steps
""",
    ),
]

ROBUST = [
    wrong(
        "robust_accuracy",
        "accuracy_twice",
        caught_by="both_scores_of_an_unbalanced_set",
        because="reports the accuracy under both names: of an unbalanced set it hides the rare classes",
        edit=(
            'name: {"clean": clean[name]} | seed_interval([scores[name] for scores in noisy])',
            'name: {"clean": clean["accuracy"]} | seed_interval([scores["accuracy"] for scores in noisy])',
        ),
    ),
    wrong(
        "robust_accuracy",
        "clean_is_noisy",
        caught_by="both_scores_of_an_unbalanced_set",
        because="takes the first noisy score for the clean one",
        edit=("predict(list(texts))", "predict([disturb(text, seeds[0]) for text in texts])"),
    ),
    wrong(
        "robust_accuracy",
        "scores_as_differences",
        caught_by="both_scores_of_an_unbalanced_set",
        because="reports how much is lost, and calls it the score",
        edit=(
            "seed_interval([scores[name] for scores in noisy])",
            "seed_interval([clean[name] - scores[name] for scores in noisy])",
        ),
    ),
    wrong(
        "robust_accuracy",
        "one_seed_for_all",
        caught_by="every_seed_disturbs_the_originals",
        because="the same noise every time: the interval is a point",
        edit=("[disturb(text, seed) for text in texts]", "[disturb(text, seeds[0]) for text in texts]"),
    ),
    wrong(
        "robust_accuracy",
        "noise_on_noise",
        caught_by="every_seed_disturbs_the_originals",
        because="disturbs what was disturbed before",
        body="""
def robust_accuracy(predict, texts, labels, classes, disturb, seeds):
    if not seeds or not texts or len(texts) != len(labels):
        raise ValueError("nothing to measure")
    texts = list(texts)
    clean, noisy = score_answers(predict(texts), labels, classes), []
    for seed in seeds:
        texts = [disturb(text, seed) for text in texts]
        noisy.append(score_answers(predict(texts), labels, classes))
    return {name: {"clean": clean[name]} | seed_interval([one[name] for one in noisy]) for name in clean}
""",
    ),
    wrong(
        "robust_accuracy",
        "a_seed_for_each_text",
        caught_by="every_seed_disturbs_the_originals",
        because="counts the texts into the seed",
        edit=(
            "[disturb(text, seed) for text in texts]",
            "[disturb(text, seed + i) for i, text in enumerate(texts)]",
        ),
    ),
    wrong(
        "robust_accuracy",
        "first_seed_only",
        caught_by="the_interval_is_over_the_seeds",
        because="one seed, and a conclusion",
        edit=("for seed in seeds\n", "for seed in seeds[:1]\n"),
    ),
    wrong(
        "robust_accuracy",
        "pooled",
        caught_by="the_interval_is_over_the_seeds",
        because="scores the answers of all seeds as one set, which has no spread",
        body="""
def robust_accuracy(predict, texts, labels, classes, disturb, seeds):
    if not seeds or not texts or len(texts) != len(labels):
        raise ValueError("nothing to measure")
    clean = score_answers(predict(list(texts)), labels, classes)
    answers = [answer for seed in seeds for answer in predict([disturb(text, seed) for text in texts])]
    pooled = score_answers(answers, list(labels) * len(seeds), classes)
    return {name: {"clean": clean[name]} | seed_interval([pooled[name]] * len(seeds)) for name in clean}
""",
    ),
    wrong(
        "robust_accuracy",
        "smallest_and_largest",
        caught_by="the_interval_is_over_the_seeds",
        because="takes the range of a few seeds for an interval of the mean",
        edit=(
            '{"clean": clean[name]} | seed_interval([scores[name] for scores in noisy])',
            '{"clean": clean[name]} | seed_interval([s[name] for s in noisy]) '
            '| {"low": min(s[name] for s in noisy), "high": max(s[name] for s in noisy)}',
        ),
    ),
    wrong(
        "robust_accuracy",
        "no_error",
        caught_by="nothing_to_measure_is_refused",
        because="scores what has no label",
        edit=("if not seeds or not texts or len(texts) != len(labels):", "if not seeds:"),
    ),
    right(
        "robust_accuracy",
        "in_a_loop",
        because="a loop over the seeds that collects lists",
        body="""
def robust_accuracy(predict, texts, labels, classes, disturb, seeds):
    if min(len(seeds), len(texts)) == 0 or len(labels) != len(texts):
        raise ValueError("texts, labels and seeds are needed, and one label for each text")
    collected = {"accuracy": [], "macro_f1": []}
    for seed in seeds:
        scores = score_answers(predict([disturb(t, seed) for t in texts]), labels, classes)
        for name, values in collected.items():
            values.append(scores[name])
    clean = score_answers(predict([t for t in texts]), labels, classes)
    result = {}
    for name, values in collected.items():
        result[name] = seed_interval(values)
        result[name]["clean"] = clean[name]
    return result
""",
    ),
]

GAP = [
    wrong(
        "counterfactual_gap",
        "second_minus_first",
        caught_by="one_difference_for_each_template",
        because="turns the sign around",
        edit=("mean_score(t, first) - mean_score(t, second)", "mean_score(t, second) - mean_score(t, first)"),
    ),
    wrong(
        "counterfactual_gap",
        "one_word_for_each_group",
        caught_by="one_difference_for_each_template",
        because="takes the first word to stand for its group",
        edit=("for name in names]", "for name in names[:1]]"),
    ),
    wrong(
        "counterfactual_gap",
        "sums_for_means",
        caught_by="one_difference_for_each_template",
        because="lets the larger group weigh more",
        edit=("fmean(score(", "sum(score("),
    ),
    wrong(
        "counterfactual_gap",
        "over_words_not_templates",
        caught_by="one_difference_for_each_template",
        because="pairs the words of the two groups, as many as there are",
        edit=(
            "    differences = [mean_score(t, first) - mean_score(t, second) for t in templates]\n",
            "    pairs = list(zip(first, second))\n"
            "    differences = [fmean(mean_score(t, [a]) - mean_score(t, [b]) for t in templates) for a, b in pairs]\n"
            "    templates = list(templates) + [templates[0]] * len(pairs)\n",
        ),
    ),
    wrong(
        "counterfactual_gap",
        "first_place_only",
        caught_by="only_the_name_differs",
        because="fills one place and leaves {name} in the others",
        edit=('template.replace("{name}", name)', 'template.replace("{name}", name, 1)'),
    ),
    wrong(
        "counterfactual_gap",
        "by_format",
        caught_by="only_the_name_differs",
        because="str.format stumbles over other braces in a template",
        edit=('template.replace("{name}", name)', "template.format(name=name)"),
    ),
    wrong(
        "counterfactual_gap",
        "signs_cancel",
        caught_by="both_signs_count_in_the_size",
        because="the size of the mean, in which differences of both signs cancel",
        edit=('"size": fmean(sizes)', '"size": abs(fmean(differences))'),
    ),
    wrong(
        "counterfactual_gap",
        "worst_with_its_sign",
        caught_by="both_signs_count_in_the_size",
        because="the largest difference, and not the largest in absolute value",
        edit=("templates[sizes.index(max(sizes))]", "templates[differences.index(max(differences))]"),
    ),
    wrong(
        "counterfactual_gap",
        "no_error",
        caught_by="what_names_nobody_is_refused",
        because="a template without a place has no difference, and makes the model look fair",
        edit=(
            'if lacking := [template for template in templates if "{name}" not in template]:',
            "if lacking := []:",
        ),
    ),
    wrong(
        "counterfactual_gap",
        "looks_at_the_first_template",
        caught_by="what_names_nobody_is_refused",
        because="checks one template",
        edit=(
            'for template in templates if "{name}" not in template]',
            'for template in templates[:1] if "{name}" not in template]',
        ),
    ),
    right(
        "counterfactual_gap",
        "all_texts_at_once",
        because="one call of the score for everything, cut afterwards",
        body="""
def counterfactual_gap(score, templates, first, second):
    if not (len(templates) and len(first) and len(second)):
        raise ValueError("nothing to compare")
    if any("{name}" not in t for t in templates):
        raise ValueError("a template without a place")
    words = [*first, *second]
    table = torch.tensor(score([name.join(t.split("{name}")) for t in templates for name in words]), dtype=torch.float64)
    table = table.reshape(len(templates), len(words))
    gaps = table[:, : len(first)].mean(1) - table[:, len(first) :].mean(1)
    result = seed_interval(gaps.tolist())
    result["size"] = gaps.abs().mean().item()
    result["worst"] = templates[int(gaps.abs().argmax())]
    return result
""",
    ),
]

FORGETTING = [
    wrong(
        "forgetting",
        "from_its_own_training",
        caught_by="measured_from_the_best_time",
        because="takes the score right after the task's own training for the best",
        edit=("scores[:, :-1, :-1].amax(dim=1)", "scores.diagonal(dim1=1, dim2=2)[:, :-1]"),
    ),
    wrong(
        "forgetting",
        "from_the_first_time",
        caught_by="measured_from_the_best_time",
        because="compares with the scores after the first training",
        edit=("scores[:, :-1, :-1].amax(dim=1)", "scores[:, 0, :-1]"),
    ),
    wrong(
        "forgetting",
        "rows_for_columns",
        caught_by="measured_from_the_best_time",
        because="takes rows for tasks",
        edit=("    best =", "    scores = scores.transpose(1, 2)\n    best ="),
    ),
    wrong(
        "forgetting",
        "last_scores_among_the_best",
        caught_by="what_helps_is_negative",
        because="the best of all times, so that nothing is ever gained",
        edit=("scores[:, :-1, :-1].amax(dim=1)", "scores[:, :, :-1].amax(dim=1)"),
    ),
    wrong(
        "forgetting",
        "cut_off_at_zero",
        caught_by="what_helps_is_negative",
        because="calls a gain no loss",
        edit=("best - scores[:, -1, :-1]", "(best - scores[:, -1, :-1]).clamp(min=0)"),
    ),
    wrong(
        "forgetting",
        "the_last_task_too",
        caught_by="the_last_task_does_not_count",
        because="counts a task that had no time to be forgotten",
        edit=("lost.mean(dim=-1)", "(scores.amax(dim=1) - scores[:, -1]).mean(dim=-1)"),
    ),
    wrong(
        "forgetting",
        "best_of_the_mean",
        caught_by="every_seed_has_its_own",
        because="averages the seeds first: one number, no interval",
        edit=("    best =", "    scores = scores.mean(dim=0, keepdim=True)\n    best ="),
    ),
    wrong(
        "forgetting",
        "interval_over_tasks",
        caught_by="every_seed_has_its_own",
        because="takes the tasks for repetitions",
        edit=("lost.mean(dim=-1)", "lost.mean(dim=0)"),
    ),
    wrong(
        "forgetting",
        "no_error",
        caught_by="one_task_is_refused",
        because="answers NaN",
        edit=("if scores.shape[-1] < 2:", "if scores.shape[-1] < 1:"),
    ),
    right(
        "forgetting",
        "seed_by_seed",
        because="plain loops over lists",
        body="""
def forgetting(scores):
    tasks = scores.shape[2]
    if tasks <= 1:
        raise ValueError("one task")
    found = []
    for table in scores.tolist():
        lost = [max(row[task] for row in table[:-1]) - table[-1][task] for task in range(tasks - 1)]
        found.append(fmean(lost))
    return seed_interval(found)
""",
    ),
]

# what these solutions share: the memory before the Fisher, and the penalty behind it
EWC_BEGINS = """
class EWC:
    def __init__(self, model, batches, strength):
        self.strength = strength
        trained = {name: p for name, p in model.named_parameters() if p.requires_grad}
        self.anchor = {name: p.detach().clone() for name, p in trained.items()}
        self.fisher = {name: torch.zeros_like(value) for name, value in self.anchor.items()}
        was_training = model.training
        model.eval()
"""
EWC_ENDS = """        model.train(was_training)

    def penalty(self, model):
        now = dict(model.named_parameters())
        parts = [(self.fisher[name] * (now[name] - at) ** 2).sum() for name, at in self.anchor.items()]
        return self.strength / 2 * torch.stack(parts).sum()
"""
CONSOLIDATION = [
    wrong(
        "EWC",
        "square_of_the_batch",
        caught_by="every_gradient_is_squared_by_itself",
        because="squares the mean gradient of a batch, in which the examples cancel",
        body=EWC_BEGINS
        + """        for tokens, mask, _ in batches:
            log_p = model(tokens, mask).log_softmax(dim=-1)
            for label in range(log_p.shape[1]):
                expected = (log_p[:, label].detach().exp() * log_p[:, label]).mean()
                found = torch.autograd.grad(expected, list(trained.values()), retain_graph=True, allow_unused=True)
                for name, gradient in zip(trained, found):
                    if gradient is not None:
                        self.fisher[name] += gradient**2 / len(batches)
"""
        + EWC_ENDS,
    ),
    wrong(
        "EWC",
        "at_the_labels",
        caught_by="every_gradient_is_squared_by_itself",
        because="takes the gradient at the labels of the data, the empirical Fisher",
        body=EWC_BEGINS
        + """        examples = sum(len(labels) for _, _, labels in batches)
        for tokens, mask, labels in batches:
            for one in range(len(tokens)):
                log_p = model(tokens[one : one + 1], mask[one : one + 1]).log_softmax(dim=-1)[0, labels[one]]
                found = torch.autograd.grad(log_p, list(trained.values()), allow_unused=True)
                for name, gradient in zip(trained, found):
                    if gradient is not None:
                        self.fisher[name] += gradient**2 / examples
"""
        + EWC_ENDS,
    ),
    wrong(
        "EWC",
        "classes_count_alike",
        caught_by="every_gradient_is_squared_by_itself",
        because="forgets how likely each class is",
        edit=("log_p.detach().exp() * gradient**2", "gradient**2"),
    ),
    wrong(
        "EWC",
        "not_squared",
        caught_by="every_gradient_is_squared_by_itself",
        because="the expected gradient of log p, which is 0 for every model",
        edit=("gradient**2 / examples", "gradient / examples"),
    ),
    wrong(
        "EWC",
        "sum_over_examples",
        caught_by="every_gradient_is_squared_by_itself",
        because="the more examples, the stronger the penalty",
        edit=("gradient**2 / examples", "gradient**2"),
    ),
    wrong(
        "EWC",
        "anchor_moves_along",
        caught_by="the_anchor_stays_where_it_was",
        because="keeps the parameters themselves: the penalty is 0 for ever",
        edit=(
            "p.detach().clone() for name, p in trained.items()",
            "p.detach() for name, p in trained.items()",
        ),
    ),
    wrong(
        "EWC",
        "anchored_at_zero",
        caught_by="the_anchor_stays_where_it_was",
        because="pulls towards 0, which is weight decay",
        edit=(
            "p.detach().clone() for name, p in trained.items()",
            "torch.zeros_like(p) for name, p in trained.items()",
        ),
    ),
    wrong(
        "EWC",
        "without_the_fisher",
        caught_by="the_penalty_weighs_with_the_fisher",
        because="holds every number alike",
        edit=("self.fisher[name] * (now[name] - at) ** 2", "(now[name] - at) ** 2"),
    ),
    wrong(
        "EWC",
        "not_halved",
        caught_by="the_penalty_weighs_with_the_fisher",
        because="twice as strong as said",
        edit=("self.strength / 2 *", "self.strength *"),
    ),
    wrong(
        "EWC",
        "mean_over_numbers",
        caught_by="the_penalty_weighs_with_the_fisher",
        because="a large matrix weighs no more than a small one",
        edit=("(now[name] - at) ** 2).sum() for", "(now[name] - at) ** 2).mean() for"),
    ),
    wrong(
        "EWC",
        "a_plain_number",
        caught_by="the_penalty_pulls_the_parameters_back",
        because="is added to the loss and changes nothing",
        edit=(
            "return self.strength / 2 * torch.stack(parts).sum()",
            "return self.strength / 2 * torch.stack(parts).sum().detach()",
        ),
    ),
    wrong(
        "EWC",
        "in_training_mode",
        caught_by="the_model_is_left_as_it_came",
        because="asks with dropout on",
        edit=("        model.eval()\n", ""),
    ),
    wrong(
        "EWC",
        "left_in_evaluation_mode",
        caught_by="the_model_is_left_as_it_came",
        because="the next training goes on without dropout",
        edit=("        model.train(was_training)\n", ""),
    ),
    wrong(
        "EWC",
        "by_backward",
        caught_by="the_model_is_left_as_it_came",
        because="collects the squares through .grad and leaves the last one there",
        body=EWC_BEGINS
        + """        examples = sum(len(tokens) for tokens, _, _ in batches)
        for tokens, mask, _ in batches:
            for one in range(len(tokens)):
                classes = model(tokens[one : one + 1], mask[one : one + 1]).shape[1]
                for label in range(classes):
                    model.zero_grad()
                    log_p = model(tokens[one : one + 1], mask[one : one + 1]).log_softmax(dim=-1)[0, label]
                    log_p.backward()
                    for name, p in trained.items():
                        if p.grad is not None:
                            self.fisher[name] += log_p.detach().exp() * p.grad**2 / examples
"""
        + EWC_ENDS,
    ),
    wrong(
        "EWC",
        "idle_parameters_break_it",
        caught_by="frozen_and_idle_parameters",
        because="stumbles over a parameter that plays no part",
        edit=("allow_unused=True", "allow_unused=False"),
    ),
    wrong(
        "EWC",
        "idle_parameters_left_out",
        caught_by="frozen_and_idle_parameters",
        because="drops the entries of idle parameters",
        edit=(
            "        model.train(was_training)\n",
            "        model.train(was_training)\n"
            "        self.fisher = {name: value for name, value in self.fisher.items() if value.any()}\n"
            "        self.anchor = {name: self.anchor[name] for name in self.fisher}\n",
        ),
    ),
    right(
        "EWC",
        "by_functional_gradients",
        because="torch.func: all examples at once, one class after the other",
        body="""
class EWC:
    def __init__(self, model, batches, strength):
        self.strength, mode = strength, model.training
        model.eval()
        self.anchor = {n: p.detach().clone() for n, p in model.named_parameters() if p.requires_grad}
        rest = {n: p.detach() for n, p in model.named_parameters() if not p.requires_grad}
        self.fisher = {n: torch.zeros_like(p) for n, p in self.anchor.items()}
        count = 0

        def log_odds(values, tokens, mask, label):
            answer = torch.func.functional_call(model, {**values, **rest}, (tokens[None], mask[None]))
            log_p = answer.log_softmax(dim=-1)[0]
            return log_p[label], log_p[label].exp()

        gradient = torch.func.grad(log_odds, has_aux=True)
        for tokens, mask, _ in batches:
            with torch.no_grad():
                classes = model(tokens, mask).shape[-1]
            for row in range(len(tokens)):
                count += 1
                for label in range(classes):
                    found, p = gradient(self.anchor, tokens[row], mask[row], label)
                    for n, g in found.items():
                        self.fisher[n] = self.fisher[n] + p.detach() * g.detach() * g.detach()
        self.fisher = {n: value / count for n, value in self.fisher.items()}
        model.train(mode)

    def penalty(self, model):
        total = torch.zeros((), dtype=next(iter(self.anchor.values())).dtype)
        for n, p in model.named_parameters():
            if n in self.anchor:
                total = total + (self.fisher[n] * (p - self.anchor[n]).square()).sum()
        return 0.5 * self.strength * total
""",
    ),
]

VARIANTS = ROLLOUT + ABLATE + GRADIENTS + ROBUST + GAP + FORGETTING + CONSOLIDATION
