"""`course finetune`: train a classifier on an encoder, honestly, and report what it is worth."""

from __future__ import annotations

import argparse
import sys
from importlib.util import find_spec
from pathlib import Path
from typing import Any

NEEDED = ("torch", "sklearn", "safetensors")


def register(subparsers: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Add the subcommand."""
    parser = subparsers.add_parser(
        "finetune",
        help="fine-tune an encoder on labelled texts, with a report",
        description="Fine-tune an encoder on labelled texts: checkpoints, exact resume, one look at the test set, a "
        "report against baselines. Given again with the same --output, the command goes on where it was. "
        "`tensorboard --logdir OUTPUT` shows the curves. For N processes: torchrun --nproc-per-node N $(which course) "
        "finetune … --parts N.",
        formatter_class=argparse.ArgumentDefaultsHelpFormatter,
    )
    add = parser.add_argument
    add(
        "--data",
        required=True,
        metavar="DATA",
        help="rotten_tomatoes, or a .csv or .jsonl file: text, label(, split)",
    )
    add(
        "--model",
        required=True,
        metavar="MODEL",
        help="minilm, random, tiny, or a folder of a run or a model",
    )
    add(
        "--method",
        default="full",
        metavar="METHOD",
        help="what is trained: full, head, and chapter 14's methods",
    )
    add("--output", type=Path, required=True, metavar="DIR", help="the folder of the run")
    add("--seeds", default="0,1,2", metavar="N,N", help="a run for each")
    add("--epochs", type=int, default=3, metavar="N", help="at most")
    add(
        "--patience",
        type=int,
        default=2,
        metavar="N",
        help="epochs without a better validation before it stops",
    )
    add("--batch", type=int, default=32, metavar="N", help="examples in a step")
    add(
        "--parts",
        type=int,
        default=2,
        metavar="N",
        help="parts of a step: accumulated, or shared by processes",
    )
    add(
        "--learning-rate",
        type=float,
        metavar="X",
        help="the largest, after the warm-up; when not given, 5e-05 for full and each other method's own",
    )
    add("--random-learning-rate", type=float, default=3e-4, metavar="X", help="the same, from random weights")
    add("--weight-decay", type=float, default=0.01, metavar="X", help="of matrices and embeddings")
    add("--warmup", type=float, default=0.1, metavar="X", help="share of the steps")
    add("--max-norm", type=float, default=1.0, metavar="X", help="of the gradient of a step")
    add("--dropout", type=float, default=0.1, metavar="X", help="in the encoder and before the head")
    add("--max-length", type=int, default=128, metavar="N", help="tokens of a text; the rest is cut off")
    add("--limit", type=int, metavar="N", help="training texts to use, drawn at random")
    add("--limit-scored", type=int, metavar="N", help="the same for validation and for test")
    add(
        "--split-seed",
        type=int,
        default=13,
        metavar="N",
        help="of the cut into parts, where the data have none",
    )
    add(
        "--freeze-embeddings",
        action="store_true",
        help="train everything but the embeddings: faster on a CPU",
    )
    add("--drop-duplicates", action="store_true", help="take texts of a later part out of an earlier one")
    add("--skip-random", action="store_true", help="leave out the same architecture from random weights")
    add(
        "--random-seeds",
        type=int,
        metavar="N",
        help="only so many seeds from random weights; all, when not given",
    )
    add("--device", choices=["cpu", "cuda"], default="cpu", help="where to compute")
    add("--precision", choices=["fp32", "bf16"], default="fp32", help="bf16 needs a GPU that has it")
    add("--threads", type=int, metavar="N", help="of the CPU; PyTorch's choice when not given")
    add("--checkpoint-every", type=int, default=50, metavar="N", help="steps")
    parser.set_defaults(run=run)


def run(arguments: argparse.Namespace) -> int:
    """Fine-tune, print where the report is and what it says first."""
    from coursebuild.errors import CourseError

    if absent := [name for name in NEEDED if find_spec(name) is None]:
        raise CourseError(f"fine-tuning needs {', '.join(absent)}: pip install '.[weights]'")
    import torch

    from attention_from_scratch.archives import DataError
    from attention_from_scratch.finetune_distributed import world
    from attention_from_scratch.finetune_experiment import fine_tune
    from attention_from_scratch.finetune_report import markdown
    from attention_from_scratch.finetune_settings import FineTuneError
    from attention_from_scratch.finetune_watch import Screen, Watch

    if arguments.threads is not None:
        if arguments.threads < 1:
            raise CourseError(f"--threads is {arguments.threads}; it must be at least 1")
        torch.set_num_threads(arguments.threads)
    if arguments.checkpoint_every < 1:
        raise CourseError(f"--checkpoint-every is {arguments.checkpoint_every}; it must be at least 1")
    if arguments.random_seeds is not None and arguments.random_seeds < 1:
        raise CourseError("--random-seeds is at least 1; to leave random weights out, say --skip-random")
    seeds = _seeds(arguments.seeds)
    try:
        with world(arguments.device) as here, Screen() if here.leads else Watch() as watch:
            summary = fine_tune(
                _settings(arguments, seeds[0]),
                seeds,
                arguments.output,
                here,
                watch,
                arguments.checkpoint_every,
                [] if arguments.skip_random else seeds[: arguments.random_seeds],
                _command(),
            )
    except (FineTuneError, DataError) as problem:
        raise CourseError(str(problem)) from None
    if summary:
        print("\n\n".join(markdown(summary).split("\n\n")[:4]))
        print(f"\nThe whole report: {arguments.output / 'report.md'}")
    return 0


def _settings(arguments: argparse.Namespace, seed: int) -> Any:
    from dataclasses import fields

    from attention_from_scratch.finetune_methods import LEARNING_RATES, METHODS
    from attention_from_scratch.finetune_settings import FineTuneError, Settings

    if arguments.method not in METHODS:
        raise FineTuneError(f"there is no method {arguments.method!r}; choose one of {', '.join(METHODS)}")
    given = vars(arguments) | {"seed": seed}
    if arguments.learning_rate is None:
        given["learning_rate"] = LEARNING_RATES[arguments.method]
    return Settings(**{field.name: given[field.name] for field in fields(Settings)})


def _seeds(text: str) -> list[int]:
    from coursebuild.errors import CourseError

    try:
        seeds = [int(part) for part in text.split(",")]
    except ValueError:
        raise CourseError(f"--seeds {text} is no list of whole numbers such as 0,1,2") from None
    if len(set(seeds)) < len(seeds) or min(seeds) < 0:
        raise CourseError(f"--seeds {text}: name every seed once, none below 0")
    return seeds


def _command() -> str:
    """The command as it was given, without the path of the program."""
    return " ".join(["course", *sys.argv[1:]])
