"""`course bench audit`: what a fine-tuned classifier looks at, what disturbs it, whom it prefers, what it forgets.

Every seed fine-tunes the model of chapter 16 anew and is audited in the same way; the JSON holds the values of each
seed and their intervals. It is written after every seed, and a run that was stopped goes on with the next one.
"""

from __future__ import annotations

import copy
import functools
import json
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from attention_from_scratch.archives import DataError
from attention_from_scratch.audit_texts import ELSEWHERE_THAN_FILMS, GROUPS
from attention_from_scratch.audit_tools import perturb, score_answers
from attention_from_scratch.audited_model import (
    FROZEN,
    MAX_LENGTH,
    Text,
    attention_layers,
    batches_of,
    encoded,
    fit,
    nothing,
    plot_texts,
    probabilities,
    review_texts,
    upper_layers_of_minilm,
)  # fmt: skip
from attention_from_scratch.finetune_model import Classifier
from attention_from_scratch.finetune_watch import environment
from attention_from_scratch.looking_inside import (
    EWC,
    ablate_heads,
    agreement,
    attributions,
    counterfactual_gap,
    robust_accuracy,
)  # fmt: skip
from attention_from_scratch.whole_files import write_whole
from coursebuild.errors import CourseError

SIZES = {"train": 960, "test": 400}
PLOT_SIZES = {"train": 320, "test": 200}
EPOCHS, RATE = 2, 4e-4
PLOT_EPOCHS, PLOT_RATE = 2, 1e-3
STRENGTHS = {"EWC, λ = 10⁴": 1e4, "EWC, λ = 10⁵": 1e5, "EWC, λ = 10⁶": 1e6}
# how many texts of the test, or of the training, each of these takes
ABLATED_ON, EXPLAINED, FISHER_OF = 96, 24, 96
TYPO_RATES, NOISE_SEEDS, NOISY = (0.05, 0.1), (1, 2, 3), 200
PADDING, STEPS = 0, 16  # of integrated gradients: they start at a text of [PAD], number 0
RARE = 10  # one rotten review among so many, in the unbalanced set


def run(json_file: Path | None = None, seeds: int = 3) -> int:
    """The command: audit one seed after the other, write the JSON after each."""
    torch.set_num_threads(1)
    result = _opened(json_file)
    try:
        texts, plots = review_texts(SIZES), plot_texts(PLOT_SIZES)
        for seed in range(len(result["runs"]), seeds):
            began = time.process_time()
            found = audit_seed(seed, texts, plots)
            result["runs"].append(found | {"seed": seed, "cpu_seconds": round(time.process_time() - began)})
            result["environment"] = environment()
            print(
                json.dumps({key: found[key] for key in ("test", "forgetting", "gaps")}, indent=1), flush=True
            )
            if json_file:
                write_whole(json_file, json.dumps(result, indent=1) + "\n")
    except DataError as problem:
        raise CourseError(str(problem)) from None
    return 0


def audit_seed(seed: int, texts: dict[str, list[Text]], plots: dict[str, list[Text]]) -> dict[str, Any]:
    """Fine-tune with this seed, then ask everything."""
    torch.manual_seed(seed)
    model = Classifier(upper_layers_of_minilm(), classes=2, dropout=0.1)
    fit(model, encoded(texts["train"]), EPOCHS, RATE, seed, nothing)
    return {
        "test": scores(model, texts["test"]),
        "unbalanced": scores(model, _unbalanced(texts["test"])),
        "shifted": scores(model, list(ELSEWHERE_THAN_FILMS)),
        "typos": {str(rate): _under_typos(model, texts["test"][:NOISY], rate) for rate in TYPO_RATES},
        "gaps": {
            name: counterfactual_gap(lambda some: probabilities(model, some)[:, 1].tolist(), *group)
            for name, group in GROUPS.items()
        },
        "agreement": agreement(
            [attributions(model, ids, PADDING, STEPS) for ids, _ in encoded(texts["test"][:EXPLAINED])]
        ),
        "ablation": _losses_without_heads(model, texts["test"][:ABLATED_ON]),
        "forgetting": _later_task(model, seed, texts, plots),
    }


def scores(model: Classifier, texts: list[Text]) -> dict[str, float]:
    """Accuracy and macro-F1 on these texts."""
    answers = probabilities(model, [text for text, _ in texts]).argmax(dim=-1).tolist()
    return score_answers(answers, [label for _, label in texts], 2)


def _unbalanced(texts: list[Text]) -> list[Text]:
    """All fresh reviews, and so few rotten ones that one in `RARE` is rotten."""
    fresh, rotten = ([text for text in texts if text[1] == label] for label in (1, 0))
    return fresh + rotten[: len(fresh) // (RARE - 1)]


def _under_typos(model: Classifier, texts: list[Text], rate: float) -> dict[str, Any]:
    return robust_accuracy(
        lambda some: probabilities(model, some).argmax(dim=-1).tolist(),
        [text for text, _ in texts], [label for _, label in texts], 2,
        lambda text, seed: perturb(text, rate, seed), NOISE_SEEDS,
    )  # fmt: skip


def _losses_without_heads(model: Classifier, texts: list[Text]) -> dict[str, Any]:
    """The loss of the intact model, without each single head, and without each whole layer."""
    layers = attention_layers(model)
    batches = batches_of(encoded(texts), None)
    model.eval()

    @torch.no_grad()
    def loss() -> float:
        parts = [nn.functional.cross_entropy(model(t, m), y, reduction="sum") for t, m, y in batches]
        return float(sum(parts)) / len(texts)

    heads = range(layers[0].heads)
    return {
        "intact": loss(),
        "heads": [[ablate_heads(layers, [(n, h)], loss) for h in heads] for n in range(len(layers))],
        "layers": [ablate_heads(layers, [(n, h) for h in heads], loss) for n in range(len(layers))],
    }


def _later_task(
    first: Classifier, seed: int, texts: dict[str, list[Text]], plots: dict[str, list[Text]]
) -> dict[str, list[list[float]]]:
    """Macro-F1 of both tasks before and after the second was learned, with nothing, replay, or EWC against forgetting.

    Each entry is a table as `forgetting` takes it: a row for each time, a column for each task.
    """
    batches = batches_of(encoded(texts["train"]), seed)
    memory = EWC(first, batches_of(encoded(texts["train"][:FISHER_OF]), None), strength=0.0)
    examples = encoded(plots["train"])
    torch.manual_seed(seed)
    before = _of_both(first, Classifier(first.encoder, classes=2, dropout=0.1), texts, plots)
    tables = {}
    for way in ("nothing", "replay", *STRENGTHS):
        torch.manual_seed(seed)
        old = copy.deepcopy(first)
        new = Classifier(old.encoder, classes=2, dropout=0.1)
        memory.strength = STRENGTHS.get(way, 0.0)
        extra = _replayed(old, batches) if way == "replay" else functools.partial(memory.penalty, old)
        fit(new, examples, PLOT_EPOCHS, PLOT_RATE, seed, nothing if way == "nothing" else extra)
        tables[way] = [before, _of_both(old, new, texts, plots)]
    return tables


def _of_both(
    old: Classifier, new: Classifier, texts: dict[str, list[Text]], plots: dict[str, list[Text]]
) -> list[float]:
    """The macro-F1 of the first task and of the second, now."""
    return [scores(old, texts["test"])["macro_f1"], scores(new, plots["test"])["macro_f1"]]


def _replayed(old: Classifier, batches: list[Any]) -> Callable[[], Tensor]:
    """The loss of the first task on the next of its batches."""
    stream = iter(batches)

    def loss() -> Tensor:
        tokens, mask, labels = next(stream)
        return nn.functional.cross_entropy(old(tokens, mask), labels)

    return loss


def _opened(json_file: Path | None) -> dict[str, Any]:
    """What is there of an earlier run with the same settings, or a new beginning."""
    new = {
        "schema": 1,
        "command": "course bench audit --json FILE",
        "settings": {
            "data": "rotten_tomatoes", "sizes": SIZES, "plot_sizes": PLOT_SIZES, "epochs": EPOCHS, "rate": RATE,
            "frozen_layers": FROZEN, "max_length": MAX_LENGTH, "plot_epochs": PLOT_EPOCHS, "plot_rate": PLOT_RATE,
            "strengths": STRENGTHS, "ablated_on": ABLATED_ON, "explained": EXPLAINED, "fisher_of": FISHER_OF,
            "typo_rates": list(TYPO_RATES), "noise_seeds": list(NOISE_SEEDS), "noisy": NOISY, "rare": RARE,
            "steps": STEPS, "shifted": len(ELSEWHERE_THAN_FILMS),
        },
        "runs": [],
    }  # fmt: skip
    if json_file and json_file.is_file():
        old = json.loads(json_file.read_text(encoding="utf-8"))
        if old.get("settings") == new["settings"]:
            return dict(old)
    return new
