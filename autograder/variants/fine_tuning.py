"""Wrong and right solutions of chapter 13, `fine_tuning`."""

from autograder.variants.base import right, wrong

COLLATE = [
    wrong(
        "collate",
        "pads_on_the_left",
        caught_by="fills_up_on_the_right_to_the_longest",
        because="puts the padding before the text, so that every position is another one",
        body="""
def collate(examples, padding):
    if not examples or not all(ids for ids, _ in examples):
        raise ValueError("empty")
    length = max(len(ids) for ids, _ in examples)
    tokens = torch.tensor([[padding] * (length - len(ids)) + ids for ids, _ in examples])
    mask = torch.tensor([[False] * (length - len(ids)) + [True] * len(ids) for ids, _ in examples])
    return tokens, mask, torch.tensor([label for _, label in examples])
""",
    ),
    wrong(
        "collate",
        "cuts_to_the_shortest",
        caught_by="fills_up_on_the_right_to_the_longest",
        because="loses the end of every longer text",
        body="""
def collate(examples, padding):
    if not examples or not all(ids for ids, _ in examples):
        raise ValueError("empty")
    length = min(len(ids) for ids, _ in examples)
    tokens = torch.tensor([ids[:length] for ids, _ in examples])
    return tokens, torch.ones_like(tokens, dtype=torch.bool), torch.tensor([label for _, label in examples])
""",
    ),
    wrong(
        "collate",
        "fixed_length",
        caught_by="fills_up_on_the_right_to_the_longest",
        because="fills every batch up to 128, which computes mostly padding",
        edit=("max(len(ids) for ids, _ in examples)", "128"),
    ),
    wrong(
        "collate",
        "zero_for_padding",
        caught_by="fills_up_on_the_right_to_the_longest",
        because="ignores the padding that it is given",
        edit=("length), padding)", "length), 0)"),
    ),
    wrong(
        "collate",
        "mask_by_value",
        caught_by="mask_is_true_on_tokens_only",
        because="takes every token that equals the padding for padding",
        edit=("    return tokens, mask,", "    mask = tokens != padding\n    return tokens, mask,"),
    ),
    wrong(
        "collate",
        "mask_inverted",
        caught_by="mask_is_true_on_tokens_only",
        because="uses the polarity of nn.MultiheadAttention, True for padding",
        edit=("    return tokens, mask,", "    return tokens, ~mask,"),
    ),
    wrong(
        "collate",
        "pads_count_as_words",
        caught_by="mask_is_true_on_tokens_only",
        because="masks nothing, so padding enters the mean and the loss",
        edit=("    return tokens, mask,", "    return tokens, torch.ones_like(mask),"),
    ),
    wrong(
        "collate",
        "mask_of_numbers",
        caught_by="mask_is_true_on_tokens_only",
        because="gives ones and zeros, as the hub's tokenizers do",
        edit=("    return tokens, mask,", "    return tokens, mask.long(),"),
    ),
    wrong(
        "collate",
        "fills_in_place",
        caught_by="leaves_the_texts_alone",
        because="appends the padding to the caller's own lists, where it is a text in the next epoch",
        body="""
def collate(examples, padding):
    if not examples or not all(ids for ids, _ in examples):
        raise ValueError("empty")
    lengths = torch.tensor([len(ids) for ids, _ in examples])
    length = int(lengths.max())
    for ids, _ in examples:
        ids += [padding] * (length - len(ids))
    tokens = torch.tensor([ids for ids, _ in examples])
    return tokens, torch.arange(length) < lengths[:, None], torch.tensor([label for _, label in examples])
""",
    ),
    wrong(
        "collate",
        "no_error",
        caught_by="refuses_what_makes_no_batch",
        because="makes a row of padding of an empty text: a mean over nothing",
        edit=("if not examples or not all(ids for ids, _ in examples):", "if not examples:"),
    ),
    wrong(
        "collate",
        "zeros",
        caught_by="fills_up_on_the_right_to_the_longest",
        because="the right shapes and nothing in them",
        edit=(
            "    return tokens, mask, torch.tensor([label for _, label in examples])",
            "    return torch.zeros_like(tokens), torch.zeros_like(mask), torch.zeros(len(examples)).long()",
        ),
    ),
    right(
        "collate",
        "by_pad_sequence",
        because="torch has a function that fills up",
        body="""
def collate(examples, padding):
    if len(examples) == 0 or min(len(ids) for ids, _ in examples) == 0:
        raise ValueError("nothing to collate")
    rows = [torch.tensor(ids) for ids, _ in examples]
    tokens = nn.utils.rnn.pad_sequence(rows, batch_first=True, padding_value=padding)
    mask = nn.utils.rnn.pad_sequence([torch.ones_like(row) for row in rows], batch_first=True) == 1
    return tokens, mask, torch.tensor([example[1] for example in examples])
""",
    ),
    right(
        "collate",
        "by_lengths",
        because="lists, then a comparison with the lengths",
        body="""
def collate(examples, padding):
    texts, labels = zip(*examples) if examples else ([], [])
    lengths = torch.tensor([len(ids) for ids in texts])
    if len(lengths) == 0 or lengths.min() == 0:
        raise ValueError("a text without a token")
    longest = lengths.max().item()
    tokens = torch.tensor([list(ids) + [padding] * (longest - len(ids)) for ids in texts])
    return tokens, torch.arange(longest) < lengths.unsqueeze(1), torch.tensor(labels)
""",
    ),
]

GROUPS = [
    wrong(
        "adamw_groups",
        "everything_decays",
        caught_by="norms_and_biases_do_not",
        because="gives one decay to all, which pulls the norms' scales to 0",
        edit=('p.ndim < 2], "weight_decay": 0.0', 'p.ndim < 2], "weight_decay": weight_decay'),
    ),
    wrong(
        "adamw_groups",
        "names_of_another_library",
        caught_by="norms_and_biases_do_not",
        because="looks for LayerNorm.weight, which no parameter here is called, so the norms decay in silence",
        body="""
def adamw_groups(model, weight_decay):
    spared = ("bias", "LayerNorm.weight")
    named = [(name, p) for name, p in model.named_parameters() if p.requires_grad]
    return [
        {"params": [p for name, p in named if not name.endswith(spared)], "weight_decay": weight_decay},
        {"params": [p for name, p in named if name.endswith(spared)], "weight_decay": 0.0},
    ]
""",
    ),
    wrong(
        "adamw_groups",
        "biases_only",
        caught_by="norms_and_biases_do_not",
        because="spares what is called bias, and forgets the scales",
        body="""
def adamw_groups(model, weight_decay):
    named = [(name, p) for name, p in model.named_parameters() if p.requires_grad]
    return [
        {"params": [p for name, p in named if "bias" not in name], "weight_decay": weight_decay},
        {"params": [p for name, p in named if "bias" in name], "weight_decay": 0.0},
    ]
""",
    ),
    wrong(
        "adamw_groups",
        "linear_layers_only",
        caught_by="matrices_decay",
        because="lets the embeddings go without decay",
        body="""
def adamw_groups(model, weight_decay):
    matrices = [m.weight for m in model.modules() if isinstance(m, nn.Linear) and m.weight.requires_grad]
    known = {id(p) for p in matrices}
    others = [p for p in model.parameters() if p.requires_grad and id(p) not in known]
    return [{"params": matrices, "weight_decay": weight_decay}, {"params": others, "weight_decay": 0.0}]
""",
    ),
    wrong(
        "adamw_groups",
        "groups_exchanged",
        caught_by="matrices_decay",
        because="lets the vectors decay and the matrices not",
        body="""
def adamw_groups(model, weight_decay):
    trained = [p for p in model.parameters() if p.requires_grad]
    return [
        {"params": [p for p in trained if p.ndim >= 2], "weight_decay": 0.0},
        {"params": [p for p in trained if p.ndim < 2], "weight_decay": weight_decay},
    ]
""",
    ),
    wrong(
        "adamw_groups",
        "vectors_forgotten",
        caught_by="norms_and_biases_do_not",
        because="hands the vectors to nobody: they never learn",
        edit=("[p for p in trained if p.ndim < 2]", "[]"),
    ),
    wrong(
        "adamw_groups",
        "a_decay_of_its_own",
        caught_by="matrices_decay",
        because="ignores the decay that it is given",
        edit=('"weight_decay": weight_decay', '"weight_decay": 0.01'),
    ),
    wrong(
        "adamw_groups",
        "frozen_ones_too",
        caught_by="frozen_parameters_are_left_out",
        because="hands frozen parameters to the optimiser",
        edit=(
            "[parameter for parameter in model.parameters() if parameter.requires_grad]",
            "list(model.parameters())",
        ),
    ),
    wrong(
        "adamw_groups",
        "shared_ones_twice",
        caught_by="shared_parameters_are_there_once",
        because="walks through all modules and takes what it meets",
        body="""
def adamw_groups(model, weight_decay):
    trained = [p for _, p in model.named_parameters(remove_duplicate=False) if p.requires_grad]
    return [
        {"params": [p for p in trained if p.ndim >= 2], "weight_decay": weight_decay},
        {"params": [p for p in trained if p.ndim < 2], "weight_decay": 0.0},
    ]
""",
    ),
    wrong(
        "adamw_groups",
        "the_model_is_decayed",
        caught_by="matrices_decay",
        because="multiplies the weights itself as well",
        edit=(
            "    return [",
            "    with torch.no_grad():\n        for p in trained:\n            p.mul_(1 - weight_decay)\n    return [",
        ),
    ),
    right(
        "adamw_groups",
        "one_pass",
        because="two lists, filled in a loop over the names",
        body="""
def adamw_groups(model, weight_decay):
    decay, spared = [], []
    for _, parameter in model.named_parameters():
        if parameter.requires_grad:
            (decay if parameter.dim() > 1 else spared).append(parameter)
    return [dict(params=decay, weight_decay=weight_decay), dict(params=spared, weight_decay=0)]
""",
    ),
    right(
        "adamw_groups",
        "by_identity",
        because="a dictionary by identity, and filters over it",
        body="""
def adamw_groups(model, weight_decay):
    learning = {id(p): p for p in model.parameters() if p.requires_grad}.values()
    matrix = lambda p: len(p.shape) >= 2
    return [
        {"weight_decay": weight_decay, "params": list(filter(matrix, learning))},
        {"weight_decay": 0.0, "params": [p for p in learning if not matrix(p)]},
    ]
""",
    ),
]

SCHEDULE = [
    wrong(
        "warmup_linear",
        "first_step_for_nothing",
        caught_by="rises_by_equal_amounts",
        because="starts from 0: the first step moves nothing",
        edit=("(step + 1) / (warmup + 1)", "step / warmup"),
    ),
    wrong(
        "warmup_linear",
        "warm_a_step_early",
        caught_by="rises_by_equal_amounts",
        because="is 1 in the last step of the warm-up already",
        edit=("(step + 1) / (warmup + 1)", "(step + 1) / warmup"),
    ),
    wrong(
        "warmup_linear",
        "no_warmup",
        caught_by="rises_by_equal_amounts",
        because="begins at the top",
        edit=("return (step + 1) / (warmup + 1)", "return 1.0"),
    ),
    wrong(
        "warmup_linear",
        "falls_from_the_start",
        caught_by="falls_to_zero_where_the_run_ends",
        because="counts the fall from step 0, so there is a jump at the top",
        edit=("(total - step) / (total - warmup)", "(total - step) / total"),
    ),
    wrong(
        "warmup_linear",
        "jump_at_the_top",
        caught_by="is_one_right_after_the_warmup",
        because="divides by the whole length: the top is below 1",
        edit=("(total - step) / (total - warmup)", "(total - step - 1) / (total - warmup)"),
    ),
    wrong(
        "warmup_linear",
        "last_step_for_nothing",
        caught_by="falls_to_zero_where_the_run_ends",
        because="is 0 in the last step that is taken",
        edit=("(total - step) / (total - warmup)", "(total - 1 - step) / max(1, total - 1 - warmup)"),
    ),
    wrong(
        "warmup_linear",
        "below_zero",
        caught_by="falls_to_zero_where_the_run_ends",
        because="climbs the loss when the run goes on for longer than planned",
        edit=("max(0.0, (total - step) / (total - warmup))", "(total - step) / (total - warmup)"),
    ),
    wrong(
        "warmup_linear",
        "constant_after_the_warmup",
        caught_by="falls_to_zero_where_the_run_ends",
        because="never falls",
        edit=("max(0.0, (total - step) / (total - warmup))", "1.0 if step < total else 0.0"),
    ),
    wrong(
        "warmup_linear",
        "cosine",
        caught_by="falls_to_zero_where_the_run_ends",
        because="falls along a cosine",
        body="""
def warmup_linear(step, warmup, total):
    if not 0 <= warmup < total:
        raise ValueError("no")
    if step < warmup:
        return (step + 1) / (warmup + 1)
    if step >= total:
        return 0.0
    return 0.5 * (1 + torch.cos(torch.tensor(torch.pi * (step - warmup) / (total - warmup))).item())
""",
    ),
    wrong(
        "warmup_linear",
        "no_error",
        caught_by="refuses_a_warmup_without_an_end",
        because="takes a warm-up that is longer than the run",
        edit=("if not 0 <= warmup < total:", "if warmup < 0:"),
    ),
    wrong(
        "warmup_linear",
        "zeros",
        caught_by="is_one_right_after_the_warmup",
        because="never learns",
        body="""
def warmup_linear(step, warmup, total):
    return 0.0
""",
    ),
    right(
        "warmup_linear",
        "smaller_of_two_lines",
        because="the smaller of the rising and the falling line",
        body="""
def warmup_linear(step, warmup, total):
    if warmup < 0 or warmup >= total:
        raise ValueError("0 <= warmup < total")
    rising = (step + 1) / (warmup + 1)
    falling = (total - step) / (total - warmup)
    return max(min(rising, falling), 0.0)
""",
    ),
]

EPOCH = [
    wrong(
        "train_epoch",
        "mean_of_means",
        caught_by="accumulated_batches_count_by_their_examples",
        because="gives every batch the same weight, however few examples it has",
        edit=(
            'labels, reduction="sum") / examples',
            "labels) / len(group)",
        ),
    ),
    wrong(
        "train_epoch",
        "accumulation_not_scaled",
        caught_by="accumulated_batches_count_by_their_examples",
        because="adds the mean losses of the batches: a step as long as so many steps",
        edit=('labels, reduction="sum") / examples', "labels)"),
    ),
    wrong(
        "train_epoch",
        "sum_of_the_examples",
        caught_by="every_batch_is_a_step",
        because="does not divide at all",
        edit=('reduction="sum") / examples', 'reduction="sum")'),
    ),
    wrong(
        "train_epoch",
        "one_loss_an_epoch",
        caught_by="every_batch_is_a_step",
        because="returns the mean over the epoch",
        edit=("    return losses", "    return [sum(losses) / len(losses)]"),
    ),
    wrong(
        "train_epoch",
        "loss_of_the_last_batch",
        caught_by="accumulated_batches_count_by_their_examples",
        because="reports the last part of a step for the whole",
        edit=("loss += part.item()", "loss = part.item()"),
    ),
    wrong(
        "train_epoch",
        "drops_the_rest",
        caught_by="what_is_left_makes_a_step",
        because="never uses the last batches of an epoch",
        edit=(
            "        examples = sum(",
            "        if len(group) < accumulate:\n            break\n        examples = sum(",
        ),
    ),
    wrong(
        "train_epoch",
        "rest_divided_by_a_full_step",
        caught_by="what_is_left_makes_a_step",
        because="divides what is left by the number of batches of a full step",
        body="""
def train_epoch(model, batches, optimizer, scheduler, accumulate, max_norm):
    model.train()
    batches, losses = list(batches), []
    for start in range(0, len(batches), accumulate):
        group = batches[start : start + accumulate]
        examples = sum(len(labels) for _, _, labels in group) * accumulate / len(group)
        optimizer.zero_grad()
        loss = 0.0
        for tokens, mask, labels in group:
            part = nn.functional.cross_entropy(model(tokens, mask), labels, reduction="sum") / examples
            part.backward()
            loss += part.item()
        nn.utils.clip_grad_norm_(model.parameters(), max_norm)
        optimizer.step()
        scheduler.step()
        losses.append(loss)
    return losses
""",
    ),
    wrong(
        "train_epoch",
        "needs_a_list",
        caught_by="what_is_left_makes_a_step",
        because="asks a stream of batches for its length",
        edit=("    model.train()\n", "    model.train()\n    steps = len(batches)\n"),
    ),
    wrong(
        "train_epoch",
        "gradients_pile_up",
        caught_by="old_gradients_do_not_count",
        because="never sets the gradients to zero",
        edit=("        optimizer.zero_grad()\n", ""),
    ),
    wrong(
        "train_epoch",
        "zero_after_the_step_only",
        caught_by="old_gradients_do_not_count",
        because="starts with what the parameters hold already",
        edit=(
            "        optimizer.zero_grad()\n        loss = 0.0\n",
            "        if losses:\n            optimizer.zero_grad()\n        loss = 0.0\n",
        ),
    ),
    wrong(
        "train_epoch",
        "zero_before_every_batch",
        caught_by="accumulated_batches_count_by_their_examples",
        because="throws away what was accumulated",
        edit=(
            "            part.backward()\n",
            "            optimizer.zero_grad()\n            part.backward()\n",
        ),
    ),
    wrong(
        "train_epoch",
        "never_clips",
        caught_by="the_gradient_of_a_whole_step_is_cut",
        because="leaves the gradient as long as it is",
        edit=("        nn.utils.clip_grad_norm_(model.parameters(), max_norm)\n", ""),
    ),
    wrong(
        "train_epoch",
        "clips_every_batch",
        caught_by="the_gradient_of_a_whole_step_is_cut",
        because="cuts the gradient before it is whole",
        edit=(
            "            part.backward()\n",
            "            part.backward()\n            nn.utils.clip_grad_norm_(model.parameters(), max_norm)\n",
        ),
    ),
    wrong(
        "train_epoch",
        "clips_after_the_step",
        caught_by="the_gradient_of_a_whole_step_is_cut",
        because="cuts the gradient when it has been used",
        edit=(
            "        nn.utils.clip_grad_norm_(model.parameters(), max_norm)\n        optimizer.step()\n",
            "        optimizer.step()\n        nn.utils.clip_grad_norm_(model.parameters(), max_norm)\n",
        ),
    ),
    wrong(
        "train_epoch",
        "clips_each_number",
        caught_by="the_gradient_of_a_whole_step_is_cut",
        because="cuts single numbers, which turns the gradient",
        edit=(
            "clip_grad_norm_(model.parameters(), max_norm)",
            "clip_grad_value_(model.parameters(), max_norm)",
        ),
    ),
    wrong(
        "train_epoch",
        "clips_each_parameter",
        caught_by="the_gradient_of_a_whole_step_is_cut",
        because="takes the norm of every parameter by itself",
        edit=(
            "        nn.utils.clip_grad_norm_(model.parameters(), max_norm)\n",
            "        for p in model.parameters():\n            nn.utils.clip_grad_norm_([p], max_norm)\n",
        ),
    ),
    wrong(
        "train_epoch",
        "scheduler_first",
        caught_by="the_scheduler_follows_the_optimiser",
        because="skips the first rate",
        edit=(
            "        optimizer.step()\n        scheduler.step()\n",
            "        scheduler.step()\n        optimizer.step()\n",
        ),
    ),
    wrong(
        "train_epoch",
        "scheduler_every_batch",
        caught_by="the_scheduler_follows_the_optimiser",
        because="runs through the schedule as many times too fast as batches are accumulated",
        edit=("        scheduler.step()\n", "        for _ in group:\n            scheduler.step()\n"),
    ),
    wrong(
        "train_epoch",
        "scheduler_once_an_epoch",
        caught_by="the_scheduler_follows_the_optimiser",
        because="moves the rate when the epoch is over",
        edit=(
            "        scheduler.step()\n        losses.append(loss)\n    return losses",
            "        losses.append(loss)\n    scheduler.step()\n    return losses",
        ),
    ),
    wrong(
        "train_epoch",
        "mode_forgotten",
        caught_by="trains_in_training_mode",
        because="trains without dropout after the first validation",
        edit=("    model.train()\n", ""),
    ),
    wrong(
        "train_epoch",
        "pads_in_the_loss",
        caught_by="padding_takes_no_part",
        because="lets the model see padding as words",
        edit=("model(tokens, mask)", "model(tokens, torch.ones_like(mask))"),
    ),
    wrong(
        "train_epoch",
        "mask_inverted",
        caught_by="padding_takes_no_part",
        because="shows the model the padding only",
        edit=("model(tokens, mask)", "model(tokens, ~mask | mask.all(dim=1, keepdim=True))"),
    ),
    wrong(
        "train_epoch",
        "zeros",
        caught_by="every_batch_is_a_step",
        because="reports losses of 0 and trains nothing",
        body="""
def train_epoch(model, batches, optimizer, scheduler, accumulate, max_norm):
    return [0.0] * -(-len(list(batches)) // accumulate)
""",
    ),
    right(
        "train_epoch",
        "one_big_graph",
        because="logits of all batches of a step in one loss, one backward",
        body="""
def train_epoch(model, batches, optimizer, scheduler, accumulate, max_norm):
    losses, waiting = [], []

    def step():
        logits = torch.cat([model(tokens, mask) for tokens, mask, _ in waiting])
        loss = nn.functional.cross_entropy(logits, torch.cat([labels for _, _, labels in waiting]))
        model.zero_grad(set_to_none=False)
        loss.backward()
        torch.nn.utils.clip_grad_norm_(list(model.parameters()), max_norm)
        optimizer.step()
        scheduler.step()
        losses.append(float(loss))
        waiting.clear()

    model.train(True)
    for batch in batches:
        waiting.append(batch)
        if len(waiting) == accumulate:
            step()
    if waiting:
        step()
    return losses
""",
    ),
    right(
        "train_epoch",
        "divides_the_gradient",
        because="sums without dividing, and divides the gradients at the end",
        body="""
def train_epoch(model, batches, optimizer, scheduler, accumulate, max_norm):
    model.train()
    batches, losses = list(batches), []
    for start in range(0, len(batches), accumulate):
        for parameter in model.parameters():
            parameter.grad = None
        total, count = 0.0, 0
        for tokens, mask, labels in batches[start : start + accumulate]:
            logits = model(tokens, mask)
            each = logits.logsumexp(dim=-1) - logits.gather(1, labels[:, None])[:, 0]
            each.sum().backward()
            total, count = total + each.sum().item(), count + len(labels)
        gradients = [p.grad for p in model.parameters() if p.grad is not None]
        for gradient in gradients:
            gradient /= count
        norm = torch.sqrt(sum(gradient.square().sum() for gradient in gradients))
        if norm > max_norm:
            for gradient in gradients:
                gradient *= max_norm / norm
        optimizer.step()
        scheduler.step()
        losses.append(total / count)
    return losses
""",
    ),
]

SCORES = [
    wrong(
        "evaluate",
        "micro_f1",
        caught_by="scores_follow_from_the_confusion_table",
        because="counts over all classes together, which is the accuracy",
        edit=(
            "return (2 * right / either.clamp(min=1)).mean(dim=-1)",
            "return 2 * right.sum(dim=-1) / either.sum(dim=-1)",
        ),
    ),
    wrong(
        "evaluate",
        "weighted_f1",
        caught_by="scores_follow_from_the_confusion_table",
        because="weighs the classes by how frequent they are",
        edit=(
            "return (2 * right / either.clamp(min=1)).mean(dim=-1)",
            "share = tables.sum(dim=-1) / tables.sum(dim=(-2, -1))[..., None]\n"
            "        return (share * 2 * right / either.clamp(min=1)).sum(dim=-1)",
        ),
    ),
    wrong(
        "evaluate",
        "macro_recall",
        caught_by="scores_follow_from_the_confusion_table",
        because="forgets what was said wrongly of other classes",
        edit=("either = tables.sum(dim=-1) + tables.sum(dim=-2)", "either = 2 * tables.sum(dim=-1)"),
    ),
    wrong(
        "evaluate",
        "table_turned",
        caught_by="scores_follow_from_the_confusion_table",
        because="puts the truth into the columns",
        edit=("labels * classes + logits.argmax(dim=-1)", "logits.argmax(dim=-1) * classes + labels"),
    ),
    wrong(
        "evaluate",
        "error_for_accuracy",
        caught_by="scores_follow_from_the_confusion_table",
        because="reports the share of errors",
        edit=("(logits.argmax(dim=-1) == labels)", "(logits.argmax(dim=-1) != labels)"),
    ),
    wrong(
        "evaluate",
        "absent_class_left_out",
        caught_by="an_absent_class_counts_as_zero",
        because="averages over the classes that occur",
        edit=(
            "return (2 * right / either.clamp(min=1)).mean(dim=-1)",
            "return (2 * right / either.clamp(min=1)).sum(dim=-1) / (either > 0).sum(dim=-1)",
        ),
    ),
    wrong(
        "evaluate",
        "absent_class_not_a_number",
        caught_by="an_absent_class_counts_as_zero",
        because="divides by zero",
        edit=("either.clamp(min=1)", "either"),
    ),
    wrong(
        "evaluate",
        "interval_of_ninety",
        caught_by="the_interval_is_of_resampled_examples",
        because="takes the 5 % and the 95 % quantile",
        edit=("[0.025, 0.975]", "[0.05, 0.95]"),
    ),
    wrong(
        "evaluate",
        "smallest_and_largest",
        caught_by="the_interval_is_of_resampled_examples",
        because="reports the range of the resamples",
        edit=("[0.025, 0.975]", "[0.0, 1.0]"),
    ),
    wrong(
        "evaluate",
        "interval_of_the_accuracy",
        caught_by="the_interval_is_of_resampled_examples",
        because="resamples another score than the one that is reported",
        edit=(
            "    drawn = macro_f1(confusions(draw_resamples(len(labels), resamples, generator)))\n",
            "    chosen = draw_resamples(len(labels), resamples, generator)\n"
            "    drawn = (logits.argmax(dim=-1) == labels).double()[chosen].mean(dim=-1)\n",
        ),
    ),
    wrong(
        "evaluate",
        "truth_and_answer_apart",
        caught_by="the_interval_is_of_resampled_examples",
        because="draws the truth and the answers of different examples",
        edit=(
            "    drawn = macro_f1(confusions(draw_resamples(len(labels), resamples, generator)))\n",
            "    chosen = draw_resamples(len(labels), resamples, generator)\n"
            "    shifted = labels.roll(1) * classes + logits.argmax(dim=-1)\n"
            "    cells = shifted\n"
            "    drawn = macro_f1(confusions(chosen))\n",
        ),
    ),
    wrong(
        "evaluate",
        "bell_curve",
        caught_by="the_interval_is_of_resampled_examples",
        because="takes two standard errors of an accuracy",
        edit=(
            "    low, high = torch.quantile(drawn, torch.tensor([0.025, 0.975], dtype=torch.float64)).tolist()\n",
            "    middle = macro_f1(whole).item()\n"
            "    half = 1.96 * (middle * (1 - middle) / len(labels)) ** 0.5\n"
            "    low, high = middle - half, middle + half\n",
        ),
    ),
    wrong(
        "evaluate",
        "stays_in_training_mode",
        caught_by="answers_in_evaluation_mode",
        because="scores with dropout",
        edit=("    model.eval()\n", ""),
    ),
    wrong(
        "evaluate",
        "always_trains_afterwards",
        caught_by="leaves_the_model_in_its_mode",
        because="puts a model that is in use into training mode",
        edit=("model.train(was_training)", "model.train()"),
    ),
    wrong(
        "evaluate",
        "stays_in_evaluation_mode",
        caught_by="leaves_the_model_in_its_mode",
        because="the next epoch trains without dropout",
        edit=("    model.train(was_training)\n", ""),
    ),
    wrong(
        "evaluate",
        "keeps_the_graph",
        caught_by="no_gradients_are_kept",
        because="records everything for a backward that never comes",
        edit=("with torch.no_grad():", "with torch.enable_grad():"),
    ),
    wrong(
        "evaluate",
        "mean_over_batches",
        caught_by="batches_do_not_matter",
        because="gives a last batch of one example the weight of a full one",
        edit=(
            '"accuracy": (logits.argmax(dim=-1) == labels).double().mean().item(),',
            '"accuracy": sum((l.argmax(-1) == y).double().mean().item() for l, y in answers) / len(answers),',
        ),
    ),
    wrong(
        "evaluate",
        "last_batch_only",
        caught_by="batches_do_not_matter",
        because="keeps the answers of the last batch",
        edit=("for parts in zip(*answers, strict=True))", "for parts in zip(*answers[-1:], strict=True))"),
    ),
    wrong(
        "evaluate",
        "zeros",
        caught_by="scores_follow_from_the_confusion_table",
        because="the right keys and nothing in them",
        body="""
def evaluate(model, batches, classes, resamples, generator):
    examples = sum(len(labels) for _, _, labels in batches)
    return {
        "logits": torch.zeros(examples, classes), "confusion": torch.zeros(classes, classes).long(),
        "accuracy": 0.0, "macro_f1": 0.0, "low": 0.0, "high": 0.0,
    }
""",
    ),
    right(
        "evaluate",
        "by_loops",
        because="counts example by example, class by class, resample by resample",
        body="""
def evaluate(model, batches, classes, resamples, generator):
    before = model.training
    model.eval()
    said, true = [], []
    with torch.inference_mode():
        for tokens, mask, labels in batches:
            said.append(model(tokens, mask).clone())
            true += labels.tolist()
    model.train(before)
    logits = torch.cat(said)
    answers = logits.argmax(dim=1).tolist()

    def score(chosen):
        scores = []
        for c in range(classes):
            tp = sum(true[i] == c and answers[i] == c for i in chosen)
            fp = sum(true[i] != c and answers[i] == c for i in chosen)
            fn = sum(true[i] == c and answers[i] != c for i in chosen)
            scores.append(2 * tp / (2 * tp + fp + fn) if tp + fp + fn else 0.0)
        return sum(scores) / classes

    table = torch.zeros(classes, classes, dtype=torch.int64)
    for t, a in zip(true, answers):
        table[t, a] += 1
    drawn = [score(row) for row in draw_resamples(len(true), resamples, generator).tolist()]
    import numpy

    low, high = numpy.percentile(drawn, [2.5, 97.5])
    hits = sum(t == a for t, a in zip(true, answers))
    return {
        "macro_f1": score(range(len(true))), "low": float(low), "high": float(high), "confusion": table,
        "accuracy": hits / len(true), "logits": logits,
    }
""",
    ),
    right(
        "evaluate",
        "precision_and_recall",
        because="bincount for the table, F1 from precision and recall",
        body="""
def evaluate(model, batches, classes, resamples, generator):
    mode = model.training
    model.train(False)
    with torch.no_grad():
        logits = torch.cat([model(tokens, mask) for tokens, mask, _ in batches])
    model.train(mode)
    labels = torch.cat([batch[2] for batch in batches])
    said = logits.max(dim=-1).indices

    def table(rows):
        cells = classes * labels[rows] + said[rows]
        return torch.bincount(cells, minlength=classes**2).view(classes, classes)

    def f1(counts):
        counts = counts.double()
        precision = (counts.diag() / counts.sum(dim=0)).nan_to_num(nan=0.0)
        recall = (counts.diag() / counts.sum(dim=1)).nan_to_num(nan=0.0)
        return (2 * precision * recall / (precision + recall)).nan_to_num(nan=0.0).mean()

    whole = table(torch.arange(len(labels)))
    drawn = torch.stack([f1(table(rows)) for rows in draw_resamples(len(labels), resamples, generator)])
    return {
        "logits": logits, "confusion": whole, "accuracy": whole.diag().sum().item() / len(labels),
        "macro_f1": f1(whole).item(), "low": drawn.quantile(0.025).item(), "high": drawn.quantile(0.975).item(),
    }
""",
    ),
]

EXPERIMENT = [
    wrong(
        "honest_experiment",
        "test_is_the_training_set",
        caught_by="the_parts_are_apart",
        because="the seed article's: the test examples are the training examples",
        edit=(
            "unique[:held], unique[held : held + tested], unique[held + tested :]",
            "unique[:held], unique[held + tested :], unique[held + tested :]",
        ),
    ),
    wrong(
        "honest_experiment",
        "trains_on_everything",
        caught_by="the_parts_are_apart",
        because="cuts off a test part and trains on all the same",
        edit=("state = fit(state, train)", "state = fit(state, unique)"),
    ),
    wrong(
        "honest_experiment",
        "validation_is_trained_on",
        caught_by="the_parts_are_apart",
        because="the part that chooses has been learned by heart",
        edit=("state = fit(state, train)", "state = fit(state, train + validation)"),
    ),
    wrong(
        "honest_experiment",
        "shares_exchanged",
        caught_by="the_parts_are_apart",
        because="takes the shares for those of training and validation",
        edit=(
            "unique[:held], unique[held : held + tested], unique[held + tested :]",
            "unique[held : held + tested], unique[held + tested :], unique[:held]",
        ),
    ),
    wrong(
        "honest_experiment",
        "repeats_stay",
        caught_by="repeated_texts_are_counted_once",
        because="cuts without looking for repeated texts",
        body="""
def honest_experiment(examples, shares, start, fit, score, epochs, seed):
    unique = list(examples)
    random.Random(seed).shuffle(unique)
    held, tested = (round(share * len(unique)) for share in shares)
    validation, test, train = unique[:held], unique[held : held + tested], unique[held + tested :]
    if not (train and validation and test):
        raise ValueError("empty")
    state = kept = start()
    scores = []
    for _ in range(epochs):
        state = fit(state, train)
        scores.append(score(state, validation))
        if scores[-1] > max(scores[:-1], default=-math.inf):
            kept = state
    best = scores.index(max(scores))
    return {"sizes": [len(train), len(validation), len(test)], "validation": scores, "best_epoch": best, "test": score(kept, test)}
""",
    ),
    wrong(
        "honest_experiment",
        "exact_repeats_only",
        caught_by="repeated_texts_are_counted_once",
        because="takes a text in other case for another text",
        edit=(
            "    unique = [",
            "    unique = list(dict(examples).items())\n    _ = [",
        ),
    ),
    wrong(
        "honest_experiment",
        "two_labels_stay",
        caught_by="repeated_texts_are_counted_once",
        because="keeps the first of two labels, which may be the wrong one",
        body="""
def honest_experiment(examples, shares, start, fit, score, epochs, seed):
    first = {}
    for text, label in examples:
        first.setdefault(" ".join(text.lower().split()), (text, label))
    unique = list(first.values())
    random.Random(seed).shuffle(unique)
    held, tested = (round(share * len(unique)) for share in shares)
    validation, test, train = unique[:held], unique[held : held + tested], unique[held + tested :]
    if not (train and validation and test):
        raise ValueError("empty")
    state = kept = start()
    scores = []
    for _ in range(epochs):
        state = fit(state, train)
        scores.append(score(state, validation))
        if scores[-1] > max(scores[:-1], default=-math.inf):
            kept = state
    best = scores.index(max(scores))
    return {"sizes": [len(train), len(validation), len(test)], "validation": scores, "best_epoch": best, "test": score(kept, test)}
""",
    ),
    wrong(
        "honest_experiment",
        "chooses_on_test",
        caught_by="the_test_set_is_scored_once",
        because="looks at the test set after every epoch and keeps the best",
        edit=("scores.append(score(state, validation))", "scores.append(score(state, test))"),
    ),
    wrong(
        "honest_experiment",
        "peeks_at_the_test_set",
        caught_by="the_test_set_is_scored_once",
        because="prints the test score of every epoch, to have an eye on it",
        edit=(
            "scores.append(score(state, validation))",
            "scores.append(score(state, validation))\n        peek = score(state, test)",
        ),
    ),
    wrong(
        "honest_experiment",
        "tests_the_last_epoch",
        caught_by="validation_chooses_the_epoch",
        because="finds the best epoch and tests another",
        edit=("score(kept, test)", "score(state, test)"),
    ),
    wrong(
        "honest_experiment",
        "latest_of_equals",
        caught_by="validation_chooses_the_epoch",
        because="prefers the longer training where nothing was gained",
        edit=("scores[-1] > max(", "scores[-1] >= max("),
    ),
    wrong(
        "honest_experiment",
        "worst_epoch",
        caught_by="validation_chooses_the_epoch",
        because="takes the score for a loss",
        edit=("scores.index(max(scores))", "scores.index(min(scores))"),
    ),
    wrong(
        "honest_experiment",
        "starts_again_every_epoch",
        caught_by="every_epoch_goes_on_from_the_last",
        because="fits the first state again and again",
        edit=("state = fit(state, train)", "state = fit(start(), train)"),
    ),
    wrong(
        "honest_experiment",
        "starts_twice",
        caught_by="every_epoch_goes_on_from_the_last",
        because="loads the pretrained weights once more",
        edit=("    scores: list[float] = []\n", "    scores: list[float] = []\n    start()\n"),
    ),
    wrong(
        "honest_experiment",
        "no_shuffle",
        caught_by="the_seed_decides_the_cut",
        because="cuts a sorted file into one part fresh and one part rotten",
        edit=("    random.Random(seed).shuffle(unique)\n", ""),
    ),
    wrong(
        "honest_experiment",
        "always_the_same_cut",
        caught_by="the_seed_decides_the_cut",
        because="ignores the seed",
        edit=("random.Random(seed)", "random.Random(0)"),
    ),
    wrong(
        "honest_experiment",
        "another_cut_every_time",
        caught_by="the_seed_decides_the_cut",
        because="nobody can repeat it",
        edit=("random.Random(seed)", "random.Random()"),
    ),
    wrong(
        "honest_experiment",
        "shuffles_the_callers_list",
        caught_by="the_seed_decides_the_cut",
        because="sorts and shuffles what it was lent",
        edit=("    unique = [", "    random.Random(seed).shuffle(examples)\n    unique = ["),
    ),
    wrong(
        "honest_experiment",
        "no_error",
        caught_by="refuses_an_empty_part",
        because="tests on nothing",
        edit=("if not (train and validation and test):", "if not train:"),
    ),
    wrong(
        "honest_experiment",
        "zeros",
        caught_by="the_parts_are_apart",
        because="the right keys and nothing in them",
        body="""
def honest_experiment(examples, shares, start, fit, score, epochs, seed):
    return {"sizes": [0, 0, 0], "validation": [0.0] * epochs, "best_epoch": 0, "test": 0.0}
""",
    ),
    right(
        "honest_experiment",
        "by_permutation",
        because="its own search for repeats, a permutation of torch, a list of states",
        body="""
def honest_experiment(examples, shares, start, fit, score, epochs, seed):
    found = {}
    for text, label in examples:
        entry = found.setdefault(" ".join(text.split()).casefold(), [text, label, set()])
        entry[2].add(label)
    texts = [(text, label) for text, label, labels in found.values() if len(labels) == 1]
    order = torch.randperm(len(texts), generator=torch.Generator().manual_seed(seed)).tolist()
    n_validation, n_test = round(len(texts) * shares[0]), round(len(texts) * shares[1])
    n_train = len(texts) - n_validation - n_test
    if min(n_train, n_validation, n_test) < 1:
        raise ValueError("an empty part")
    mixed = [texts[i] for i in order]
    train, validation, test = mixed[:n_train], mixed[n_train : n_train + n_validation], mixed[n_train + n_validation :]
    state, history = start(), []
    for _ in range(epochs):
        state = fit(state, list(train))
        history.append((score(state, list(validation)), state))
    best = max(range(epochs), key=lambda epoch: (history[epoch][0], -epoch))
    return {
        "test": score(history[best][1], test),
        "best_epoch": best,
        "validation": [value for value, _ in history],
        "sizes": [n_train, n_validation, n_test],
    }
""",
    ),
]

VARIANTS = COLLATE + GROUPS + SCHEDULE + EPOCH + SCORES + EXPERIMENT
