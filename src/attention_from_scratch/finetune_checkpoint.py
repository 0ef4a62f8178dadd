"""What a run keeps on the disk so that a kill at any moment costs some steps and never a result.

Every file is written beside its place and renamed over it, so a reader finds the old one or the new one, whole.
"""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from attention_from_scratch.finetune_settings import FineTuneError
from attention_from_scratch.whole_files import write_whole

CHECKPOINT = "checkpoint.pt"
BEST = "best.safetensors"
RUN = "run.json"


def write_json(path: Path, value: Any) -> None:
    """Write a value as readable JSON."""
    write_whole(path, json.dumps(value, indent=1, ensure_ascii=False) + "\n")


def read_json(path: Path) -> Any:
    """What a JSON file holds. Raises FineTuneError when it is none."""
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as problem:
        raise FineTuneError(f"{path} cannot be read: {problem}") from None


def save_weights(path: Path, weights: dict[str, Tensor]) -> None:
    """Write tensors by name as safetensors; a file with which nothing but numbers can come in."""
    from safetensors.torch import save

    write_whole(path, save({name: value.detach().cpu().contiguous() for name, value in weights.items()}))


def save_checkpoint(folder: Path, parts: dict[str, Any], progress: dict[str, Any]) -> None:
    """Keep the state of the run's parts (model, optimizer, scheduler) and how far it is, in one file."""
    folder.mkdir(parents=True, exist_ok=True)
    temporary = folder / f".{CHECKPOINT}.writing"
    torch.save(
        {"parts": {name: part.state_dict() for name, part in parts.items()}, "progress": progress}, temporary
    )
    with temporary.open("rb") as file:
        os.fsync(file.fileno())
    os.replace(temporary, folder / CHECKPOINT)


def load_checkpoint(folder: Path, parts: dict[str, Any]) -> dict[str, Any] | None:
    """Bring the parts back to where the checkpoint left them; how far the run was, or None when there is none.

    Raises FineTuneError when the file is damaged.
    """
    path = folder / CHECKPOINT
    if not path.is_file():
        return None
    try:
        stored = torch.load(path, map_location="cpu", weights_only=True)
        for name, part in parts.items():
            part.load_state_dict(stored["parts"][name])
    except Exception as problem:  # torch has many kinds of error for a damaged file
        raise FineTuneError(
            f"{path} is damaged ({type(problem).__name__}); remove it to begin this seed anew"
        ) from None
    progress: dict[str, Any] = stored["progress"]
    return progress
