"""Where a run begins: an encoder by name or from a folder, and the way it cuts texts into tokens."""

from __future__ import annotations

import json
import re
import zlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, Final

import torch

from attention_from_scratch.bert import BertEncoder, start_like_bert
from attention_from_scratch.finetune_model import Classifier
from attention_from_scratch.finetune_settings import FineTuneError
from attention_from_scratch.minilm import load_minilm, minilm_config, random_minilm, token_ids
from attention_from_scratch.minilm_files import bert_settings
from attention_from_scratch.pretrained_encoder import load_pretrained

Cut = Callable[[Sequence[str], int], list[list[int]]]
NAMES: Final = ("minilm", "random", "tiny")
TINY: Final[dict[str, Any]] = {
    "tokens": 500, "positions": 128, "types": 2, "layers": 2, "width": 16, "heads": 2, "hidden": 32,
    "eps": 1e-12, "activation": "gelu",
}  # fmt: skip
BERT_STD: Final = 0.02


@dataclass(frozen=True)
class Origin:
    """An encoder to begin with, the sizes to build it again, and how it cuts texts (a name for `cutter`)."""

    encoder: BertEncoder
    architecture: dict[str, Any]
    tokens: str


def origin(model: str, dropout: float, seed: int, from_random: bool) -> Origin:
    """What `model` names: minilm (pretrained), random (the same, untrained), tiny (for tests), or a folder.

    A folder is one of a former run, whose encoder is taken and whose head is not, or one with a published model that
    reads MiniLM's vocabulary (config.json, model.safetensors). With `from_random` the weights are those of an
    untrained model of the same architecture.

    Raises FineTuneError for anything else, DataError when MiniLM's files cannot be had.
    """
    if model in ("minilm", "random"):
        fresh = from_random or model == "random"
        encoder = random_minilm(dropout, seed) if fresh else load_minilm(dropout)
        return Origin(encoder, bert_settings(minilm_config()), "wordpiece")
    if model == "tiny":
        return Origin(_untrained(TINY, dropout, seed), dict(TINY), "hashed")
    folder = Path(model)
    if (folder / "run.json").is_file():
        stored = json.loads((folder / "run.json").read_text(encoding="utf-8"))
        read, prefix = folder / "best.safetensors", "encoder."
        architecture, tokens = stored["architecture"], stored["tokens"]
    elif (folder / "config.json").is_file():
        read, prefix = folder / "model.safetensors", ""
        architecture = bert_settings(json.loads((folder / "config.json").read_text(encoding="utf-8")))
        tokens = "wordpiece"
    else:
        raise FineTuneError(
            f"--model {model} is neither {', '.join(NAMES)} nor a folder with run.json or config.json in it"
        )
    encoder = _untrained(architecture, dropout, seed)
    if not from_random:
        _fill(encoder, read, prefix)
    return Origin(encoder, architecture, tokens)


def cutter(tokens: str) -> Cut:
    """The function (texts, max_length) → token ids of a way of cutting: wordpiece (MiniLM's) or hashed (tiny's)."""
    return token_ids if tokens == "wordpiece" else partial(_hashed, size=TINY["tokens"])


def rebuilt(stored: dict[str, Any]) -> Classifier:
    """An unfilled classifier of the sizes that a run's run.json holds, with its method's changes still to be made."""
    encoder = BertEncoder(**stored["architecture"], dropout=stored["dropout"])
    return Classifier(encoder, len(stored["labels"]), stored["dropout"])


def _untrained(architecture: dict[str, Any], dropout: float, seed: int) -> BertEncoder:
    """An encoder of these sizes as BERT starts."""
    with torch.random.fork_rng(devices=[]):
        encoder = BertEncoder(**architecture, dropout=dropout)
    return start_like_bert(encoder, BERT_STD, seed)


def _fill(encoder: BertEncoder, path: Path, prefix: str) -> None:
    """Put a file's weights into the encoder: our names where there is a prefix, published names where there is none."""
    from safetensors import SafetensorError
    from safetensors.torch import load_file

    try:
        weights = load_file(path)
        if prefix:
            ours = {n.removeprefix(prefix): value for n, value in weights.items() if n.startswith(prefix)}
            encoder.load_state_dict(ours)
        else:
            load_pretrained(encoder, weights)
    except (OSError, SafetensorError, RuntimeError, ValueError) as problem:
        raise FineTuneError(f"{path} does not fill the encoder: {problem}") from None


def _hashed(texts: Sequence[str], max_length: int, size: int) -> list[list[int]]:
    """Words to numbers by a hash, with a 1 before and a 2 after them: needs no vocabulary, and words may collide."""
    return [
        [1, *(3 + zlib.crc32(word.encode()) % (size - 3) for word in words[: max_length - 2]), 2]
        for words in (re.findall(r"\w+|[^\w\s]", text.lower()) for text in texts)
    ]
