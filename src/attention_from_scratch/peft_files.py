"""What a method trained, as a small file: saved without the pretrained weights, loaded onto the same ones only.

The file is in the safetensors format: the trained parameters and all buffers by name, and in its metadata the method
and a fingerprint of the frozen weights that they were trained for.
"""

from __future__ import annotations

import hashlib
from pathlib import Path

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor, nn

FORMAT = "attention-from-scratch adapter 1"


class AdapterFileError(ValueError):
    """A file of trained parameters that cannot be made, read, or used with this model; the text says why."""


def fingerprint(model: nn.Module) -> str:
    """A hash of every frozen parameter: its name, shape, dtype and bytes. One changed number changes it."""
    digest = hashlib.sha256()
    for name, parameter in sorted(model.named_parameters()):
        if not parameter.requires_grad:
            digest.update(f"{name} {tuple(parameter.shape)} {parameter.dtype}\n".encode())
            digest.update(parameter.detach().cpu().contiguous().view(torch.uint8).numpy().data)
    return digest.hexdigest()


def save_adapter(model: nn.Module, file: Path, method: str) -> int:
    """Write what the model trains, and nothing else; the size of the file in bytes.

    Raises AdapterFileError while a LoRA layer is merged: its base weights are not the pretrained ones then.
    """
    merged = [name for name, module in model.named_modules() if getattr(module, "merged", False)]
    if merged:
        raise AdapterFileError(
            f"{merged[0]} and {len(merged) - 1} other layers are merged into the base: call unmerge() before saving"
        )
    metadata = {"format": FORMAT, "method": method, "base": fingerprint(model)}
    file.parent.mkdir(parents=True, exist_ok=True)
    save_file(_trained(model), file, metadata=metadata)
    return file.stat().st_size


def load_adapter(model: nn.Module, file: Path, method: str) -> None:
    """Read trained parameters into a model that was prepared by the same method on the same pretrained weights.

    Nothing of the model is changed unless all of the file fits.

    Raises AdapterFileError, which says what does not fit: no such file or no such format, another method, other
    pretrained weights, parameters that are missing or unknown or have another shape, numbers that are not finite.
    """
    metadata, tensors = _read(file)
    if metadata.get("format") != FORMAT:
        raise AdapterFileError(
            f"{file} was not written by save_adapter: its format is {metadata.get('format')!r}"
        )
    if metadata.get("method") != method:
        raise AdapterFileError(
            f"{file} was trained by the method {metadata.get('method')!r}, and this model is prepared for {method!r}"
        )
    wanted = _trained(model)
    _check(file, tensors, wanted)
    if metadata.get("base") != fingerprint(model):
        raise AdapterFileError(
            f"{file} was trained on other pretrained weights than this model holds (or some layer is merged): "
            "load the base model that it was trained on, prepare it, and load the file into that"
        )
    with torch.no_grad():
        for name, tensor in wanted.items():
            tensor.copy_(tensors[name])


def _trained(model: nn.Module) -> dict[str, Tensor]:
    """The model's own tensors that belong in the file, by name; they share its memory."""
    trained = {name: p.detach() for name, p in model.named_parameters() if p.requires_grad}
    return trained | {name: buffer.detach() for name, buffer in model.named_buffers()}


def _read(file: Path) -> tuple[dict[str, str], dict[str, Tensor]]:
    if not file.is_file():
        raise AdapterFileError(f"there is no file {file}")
    try:
        with safe_open(file, framework="pt") as opened:
            return opened.metadata() or {}, {name: opened.get_tensor(name) for name in opened.keys()}  # noqa: SIM118
    except (SafetensorError, OSError) as problem:
        raise AdapterFileError(
            f"{file} is no safetensors file, or only a part of one: {problem}"
        ) from problem


def _check(file: Path, tensors: dict[str, Tensor], wanted: dict[str, Tensor]) -> None:
    missing, unknown = sorted(wanted.keys() - tensors.keys()), sorted(tensors.keys() - wanted.keys())
    if missing or unknown:
        raise AdapterFileError(
            f"{file} holds other parameters than this model trains: {len(missing)} are missing"
            f"{f' ({missing[0]}, …)' if missing else ''}, {len(unknown)} are unknown"
            f"{f' ({unknown[0]}, …)' if unknown else ''}"
        )
    for name, tensor in tensors.items():
        if tensor.shape != wanted[name].shape:
            raise AdapterFileError(
                f"{file}: {name} has the shape {tuple(tensor.shape)}, and the model's has {tuple(wanted[name].shape)}: "
                "were rank, bottleneck or prefix of another size?"
            )
        if tensor.dtype != wanted[name].dtype:
            raise AdapterFileError(
                f"{file}: {name} is {tensor.dtype}, and the model's is {wanted[name].dtype}"
            )
        if not tensor.isfinite().all():
            raise AdapterFileError(f"{file}: {name} holds NaN or infinity")
