"""Tensors and arrays as raw bytes: what the codec of `autograder.wire` puts into its blobs.

A tensor on its way to the student keeps dtype, strides, offset and `requires_grad`; only the memory that it spans is
sent, so a slice never carries its neighbours. What comes back is contiguous and detached.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import torch

MAX_DIMENSIONS = 16
MAX_ARRAY_BYTES = 64 << 20

# What both know under the same name, and what only torch has.
_SHARED = (
    "bool", "uint8", "uint16", "uint32", "uint64", "int8", "int16", "int32", "int64", "float16", "float32", "float64",
    "complex64", "complex128",
)  # fmt: skip
_TORCH_ONLY = ("bfloat16", "float8_e4m3fn", "float8_e5m2", "float8_e4m3fnuz", "float8_e5m2fnuz")
NUMPY_DTYPES = frozenset(_SHARED)
TORCH_DTYPES: dict[str, torch.dtype] = {
    name: getattr(torch, name) for name in (*_SHARED, *_TORCH_ONLY) if hasattr(torch, name)
}
TORCH_NAMES = {dtype: name for name, dtype in TORCH_DTYPES.items()}


class WireError(Exception):
    """Bytes that are not a value, or a value that cannot be sent; the text says which rule it breaks."""


def checked_size(shape: Any, item_bytes: int) -> tuple[tuple[int, ...], int]:
    """The shape as a tuple and its bytes, checked by arithmetic alone, before anything is allocated."""
    if not isinstance(shape, list | tuple) or len(shape) > MAX_DIMENSIONS:
        raise WireError(f"a shape has at most {MAX_DIMENSIONS} axes")
    if not all(type(size) is int and 0 <= size <= MAX_ARRAY_BYTES for size in shape):
        raise WireError("an axis has a size that is no whole number in range")
    size = math.prod(shape) * item_bytes
    if size > MAX_ARRAY_BYTES:
        raise WireError(f"an array of {size} bytes is larger than the {MAX_ARRAY_BYTES} allowed")
    return tuple(shape), size


def pack_tensor(tensor: torch.Tensor) -> tuple[str, tuple[int, ...], bytes]:
    """dtype, shape and the numbers in row-major order."""
    with torch.no_grad(), torch._C.DisableTorchFunctionSubclass():
        name = _sendable(tensor)
        shape, _ = checked_size(list(tensor.shape), tensor.element_size())
        flat = tensor.detach().resolve_conj().resolve_neg().contiguous().reshape(-1)
        return name, shape, _raw(flat)


def pack_strided(tensor: torch.Tensor) -> tuple[str, tuple[int, ...], tuple[int, ...], int, bytes]:
    """dtype, shape, strides, offset and the memory between the first and the last number of the tensor."""
    with torch.no_grad():
        name = _sendable(tensor)
        plain = tensor.detach().resolve_conj().resolve_neg()
        shape, strides = tuple(plain.shape), tuple(plain.stride())
        span = (
            1 + sum((n - 1) * stride for n, stride in zip(shape, strides, strict=True))
            if plain.numel()
            else 0
        )
        checked_size([span], plain.element_size())
        # An offset stays an offset, of one number, whatever stood before the tensor in its storage.
        offset = 1 if plain.storage_offset() and span else 0
        memory = torch.zeros(span + offset, dtype=plain.dtype)
        memory[offset:] = plain.as_strided((span,), (1,))
        return name, shape, strides, offset, _raw(memory)


def _sendable(tensor: torch.Tensor) -> str:
    if tensor.layout != torch.strided or tensor.device.type != "cpu" or tensor.is_quantized:
        raise WireError("only dense tensors on the CPU can be sent")
    if tensor.dtype not in TORCH_NAMES:
        raise WireError(f"a tensor of {tensor.dtype} cannot be sent")
    return TORCH_NAMES[tensor.dtype]


def _raw(flat: torch.Tensor) -> bytes:
    # a single number counts as contiguous whatever its stride is, but can be read as bytes with stride 1 only
    flat = flat.as_strided(flat.shape, (1,))
    return flat.view(torch.uint8).numpy().tobytes() if flat.numel() else b""


def unpack_tensor(name: Any, shape: Any, blob: memoryview) -> torch.Tensor:
    """A contiguous tensor; the blob must hold exactly its bytes."""
    dtype = _torch_dtype(name)
    shape, size = checked_size(shape, dtype.itemsize)
    if size != len(blob):
        raise WireError(f"a tensor of {size} bytes came with {len(blob)}")
    return _from_raw(dtype, blob).reshape(shape)


def unpack_strided(name: Any, shape: Any, strides: Any, offset: Any, blob: memoryview) -> torch.Tensor:
    """A tensor with the strides and the offset that it had on the other side."""
    dtype = _torch_dtype(name)
    shape, _ = checked_size(shape, dtype.itemsize)
    memory = _from_raw(dtype, blob)
    last = offset + sum((n - 1) * stride for n, stride in zip(shape, strides, strict=True))
    if math.prod(shape) and not 0 <= last < memory.numel():
        raise WireError("a tensor reaches beyond its memory")
    return memory.as_strided(shape, strides, offset)


def _torch_dtype(name: Any) -> torch.dtype:
    if not isinstance(name, str) or name not in TORCH_DTYPES:
        raise WireError("no such tensor dtype")
    return TORCH_DTYPES[name]


def _from_raw(dtype: torch.dtype, blob: memoryview) -> torch.Tensor:
    if len(blob) % dtype.itemsize:
        raise WireError("the bytes of a tensor do not divide into numbers")
    if not len(blob):
        return torch.empty(0, dtype=dtype)
    numbers = torch.frombuffer(bytearray(blob), dtype=torch.uint8)
    # Any byte but 0 and 1 in a boolean tensor is undefined behaviour in torch.
    return numbers != 0 if dtype == torch.bool else numbers.view(dtype)


def pack_array(array: np.ndarray[Any, Any] | np.generic) -> tuple[str, tuple[int, ...], bytes]:
    """dtype, shape and the numbers of an array in row-major order."""
    name = array.dtype.name
    if name not in NUMPY_DTYPES:
        raise WireError(f"an array of {array.dtype} cannot be sent")
    shape, _ = checked_size(list(array.shape), array.dtype.itemsize)
    return name, shape, np.ascontiguousarray(array, dtype=name).tobytes()


def pack_strided_array(
    array: np.ndarray[Any, Any],
) -> tuple[str, tuple[int, ...], tuple[int, ...] | None, bytes]:
    """Like `pack_array`, with the strides in bytes of an array that is not contiguous."""
    name, shape, raw = pack_array(array)
    if array.flags.c_contiguous or not array.size or min(array.strides) < 0:
        return name, shape, None, raw
    itemsize = array.dtype.itemsize
    if any(stride % itemsize for stride in array.strides):
        return name, shape, None, raw
    span = 1 + sum((n - 1) * stride for n, stride in zip(shape, array.strides, strict=True)) // itemsize
    checked_size([span], itemsize)
    memory = np.lib.stride_tricks.as_strided(array, shape=(span,), strides=(itemsize,))
    return name, shape, tuple(array.strides), memory.tobytes()


def unpack_array(name: Any, shape: Any, strides: Any, blob: memoryview) -> np.ndarray[Any, Any]:
    """An array of its own memory; `strides` (in bytes) only on the way to the student."""
    if not isinstance(name, str) or name not in NUMPY_DTYPES:
        raise WireError("no such array dtype")
    dtype = np.dtype(name)
    shape, size = checked_size(shape, dtype.itemsize)
    if strides is None and size != len(blob):
        raise WireError(f"an array of {size} bytes came with {len(blob)}")
    flat = np.frombuffer(bytearray(blob), dtype=np.uint8)
    flat = (flat != 0) if name == "bool" else flat.view(dtype)
    if strides is None:
        return flat.reshape(shape)
    return np.lib.stride_tricks.as_strided(flat, shape=shape, strides=strides)
