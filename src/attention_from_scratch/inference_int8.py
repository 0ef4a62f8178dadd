"""Eight bits for a whole model: its embeddings too, and PyTorch's int8 kernels for the levels that we rounded.

Nothing here rounds a weight: levels and scales are those of chapter 15's `quantize_int8`.
"""

from __future__ import annotations

import copy
import warnings
from collections.abc import Sequence
from pathlib import Path

import torch
from jaxtyping import Float, Int, Int8
from torch import Tensor, nn

from attention_from_scratch.inference import QuantizedLinear, quantize_int8, quantize_linears

ENGINES = ("x86", "fbgemm", "qnnpack")
"""PyTorch's int8 engines for x86 processors and for ARM, the first that this build has is used."""


class QuantizedEmbedding(nn.Module):
    """A table of vectors in 8 bits, with a scale for each; only the rows that are asked for become floats."""

    levels: Int8[Tensor, "tokens width"]
    scale: Float[Tensor, " tokens"]

    def __init__(self, embedding: nn.Embedding) -> None:
        super().__init__()
        self.embedding_dim = embedding.embedding_dim
        levels, scale = quantize_int8(embedding.weight)
        self.register_buffer("levels", levels)
        self.register_buffer("scale", scale)

    def forward(self, tokens: Int[Tensor, "*batch"]) -> Float[Tensor, "*batch width"]:
        """The vectors of these tokens."""
        scale = self.scale[tokens]  # (*batch,)
        return self.levels[tokens].to(scale.dtype) * scale[..., None]


class KernelLinear(nn.Module):
    """A `QuantizedLinear` run by PyTorch's int8 kernel, which rounds the input as well.

    The kernel gives the whole input of a call one scale and one zero point, multiplies whole numbers, and adds them up
    exactly. With `reduce_range` the input gets 7 bits instead of 8. Processors without int8 dot products (AVX2) add
    pairs of products in 16 bits, where 8 bits times 8 bits do not fit: without `reduce_range` they are cut off, and
    the result is wrong without a word.

    The packed weight lives outside the state: save the `QuantizedLinear`, and make this from it.
    Raises RuntimeError where PyTorch has no int8 kernels.
    """

    def __init__(self, layer: QuantizedLinear, reduce_range: bool) -> None:
        super().__init__()
        self.reduce_range = reduce_range
        use_int8_engine()
        zeros = torch.zeros(len(layer.scale), dtype=torch.int64)
        with warnings.catch_warnings():
            warnings.simplefilter(
                "ignore"
            )  # PyTorch means to retire this kind of tensor, and has no other packing
            weight = torch._make_per_channel_quantized_tensor(layer.levels, layer.scale.double(), zeros, 0)
        self.packed = torch.ops.quantized.linear_prepack(weight, layer.bias)

    def forward(self, x: Float[Tensor, "*batch inputs"]) -> Float[Tensor, "*batch outputs"]:
        """The product of the rounded input with the rounded weight, plus the bias."""
        return torch.ops.quantized.linear_dynamic(x, self.packed, self.reduce_range)


def use_int8_engine() -> str:
    """Choose PyTorch's int8 engine for this processor; return its name.

    Raises RuntimeError where this build of PyTorch has none.
    """
    known = [name for name in ENGINES if name in torch.backends.quantized.supported_engines]
    if not known:
        raise RuntimeError("this build of PyTorch has no int8 kernels; QuantizedLinear works without them")
    torch.backends.quantized.engine = known[0]
    return known[0]


def quantized_copy(model: nn.Module, tables: Sequence[str]) -> nn.Module:
    """A copy of a model with its linear layers in 8 bits, and the embeddings with these names too."""
    small = copy.deepcopy(model).eval()
    quantize_linears(small)
    for name in tables:
        table = small.get_submodule(name)
        if not isinstance(table, nn.Embedding):
            raise ValueError(f"{name} is a {type(table).__name__}, not an embedding")
        small.set_submodule(name, QuantizedEmbedding(table))
    return small


def with_kernels(quantized: nn.Module, reduce_range: bool) -> nn.Module:
    """A copy of a quantised model whose linear layers are run by PyTorch's int8 kernels."""
    fast = copy.deepcopy(quantized).eval()
    for name, layer in list(fast.named_modules()):
        if isinstance(layer, QuantizedLinear):
            fast.set_submodule(name, KernelLinear(layer, reduce_range))
    return fast


def file_size(model: nn.Module, path: Path) -> int:
    """Write the state of a model as safetensors; the bytes on the disk."""
    from safetensors.torch import save_file

    save_file({name: value.contiguous() for name, value in model.state_dict().items()}, path)
    return path.stat().st_size
