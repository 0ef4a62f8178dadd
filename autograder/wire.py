"""The codec between the judge and the process that holds a student's code: values as bytes, without pickle.

A message is a JSON tree and raw blobs behind it. `decode` without hooks is what the judge reads replies with: it
checks every length, dtype, shape, depth and count before it allocates, and builds only plain values. With hooks (on
the student's side) it also understands what only goes in: strided tensors, generators, callbacks and handles.
"""

from __future__ import annotations

import json
import math
from collections.abc import Callable
from typing import Any, Protocol

import numpy as np
import torch

from autograder import wire_arrays as arrays
from autograder.wire_arrays import WireError
from autograder.wire_message import MAX_ITEMS, MAX_MESSAGE, pack, parse, peek

__all__ = ["MAX_MESSAGE", "Handles", "Hooks", "WireError", "decode", "encode", "peek"]

MAX_DEPTH = 32
MAX_BITS = 4096
MAX_KEYS = 4096  # of one dictionary: keys can be made that all have the same hash
KEY_BITS = 64
SPECIAL = {"nan": math.nan, "inf": math.inf, "-inf": -math.inf}

Handles = Callable[[Any], "int | None"]


class Hooks(Protocol):
    """What the student's side makes of references that the judge sends."""

    def callback(self, number: int) -> Callable[..., Any]:
        """A function that calls back to the judge."""

    def handle(self, number: int) -> Any:
        """The object behind a handle."""


class _Encoder:
    """One message being written; `inbound` keeps layouts, `reference` gives numbers to what goes by reference."""

    def __init__(self, inbound: bool, reference: Callable[[Any], list[Any] | None]) -> None:
        self.blobs: list[bytes] = []
        self.inbound, self.reference = inbound, reference
        self.items = 0

    def blob(self, raw: bytes) -> int:
        self.blobs.append(raw)
        return len(self.blobs) - 1

    def node(self, value: Any, depth: int = 0) -> Any:
        self.items += 1
        if depth > MAX_DEPTH or self.items > MAX_ITEMS:
            raise WireError(
                f"a value deeper than {MAX_DEPTH} or of more than {MAX_ITEMS} items cannot be sent"
            )
        if value is None or type(value) is bool or type(value) is str:
            return value
        if isinstance(value, np.generic):
            return self.array("N", value)
        if isinstance(value, bool | int) and not isinstance(value, torch.SymInt):
            return self.whole(int(value))
        if isinstance(value, float):
            return float(value) if math.isfinite(value) else ["f", str(float(value))]
        if isinstance(value, str):
            return str(value)
        return self.container(value, depth)

    def whole(self, value: int) -> int:
        if value.bit_length() > MAX_BITS:
            raise WireError(f"a whole number of more than {MAX_BITS} bits cannot be sent")
        return value

    def container(self, value: Any, depth: int) -> Any:
        if isinstance(value, list | tuple):
            if len(value) > MAX_ITEMS:
                raise WireError(f"a list of more than {MAX_ITEMS} items cannot be sent")
            return ["l" if isinstance(value, list) else "t", *(self.node(item, depth + 1) for item in value)]
        if isinstance(value, dict):
            pairs = list(value.items())
            if len(pairs) > MAX_KEYS or any(_is_long(key) for key, _ in pairs):
                raise WireError(
                    f"a dictionary of more than {MAX_KEYS} entries or with long keys cannot be sent"
                )
            return ["d", *([self.node(k, depth + 1), self.node(v, depth + 1)] for k, v in pairs)]
        if isinstance(value, torch.Tensor):
            return self.tensor(value)
        if isinstance(value, np.ndarray):
            return self.array("A", value)
        if isinstance(value, torch.dtype):
            return ["dt", str(value).removeprefix("torch.")]
        if isinstance(value, np.dtype) or (isinstance(value, type) and issubclass(value, np.generic)):
            return ["dn", np.dtype(value).name]
        referred = self.reference(value)
        if referred is None:
            raise WireError(f"a value of type {type(value).__name__} cannot be sent")
        return referred

    def tensor(self, value: torch.Tensor) -> list[Any]:
        if not self.inbound:
            name, shape, raw = arrays.pack_tensor(value)
            return ["T", name, list(shape), self.blob(raw)]
        name, shape, strides, offset, raw = arrays.pack_strided(value)
        return ["S", name, list(shape), list(strides), offset, value.requires_grad, self.blob(raw)]

    def array(self, kind: str, value: Any) -> list[Any]:
        if self.inbound and kind == "A":
            name, shape, strides, raw = arrays.pack_strided_array(value)
            return [kind, name, list(shape), None if strides is None else list(strides), self.blob(raw)]
        name, shape, raw = arrays.pack_array(value)
        return [kind, name, list(shape), None, self.blob(raw)]


def encode(
    value: Any, *, inbound: bool = False, reference: Callable[[Any], list[Any] | None] = lambda _: None
) -> bytes:
    """A value as bytes. `reference` may give `["c", n]`, `["h", n]` or `["g", kind, seed]` for other objects."""
    encoder = _Encoder(inbound, reference)
    tree = json.dumps(encoder.node(value), allow_nan=False, separators=(",", ":")).encode("ascii")
    return pack(tree, encoder.blobs)


class _Decoder:
    """One message being read."""

    def __init__(self, blobs: list[memoryview], hooks: Hooks | None) -> None:
        self.blobs, self.hooks = blobs, hooks
        self.items = 0

    def node(self, node: Any, depth: int = 0) -> Any:
        self.items += 1
        if depth > MAX_DEPTH or self.items > MAX_ITEMS:
            raise WireError("a value is too deep or has too many items")
        if isinstance(node, str):
            return _text(node)
        if node is None or isinstance(node, bool | float):
            return node
        if isinstance(node, int):
            if node.bit_length() > MAX_BITS:
                raise WireError("a whole number is too long")
            return node
        if not isinstance(node, list) or not node or not isinstance(node[0], str):
            raise WireError("not a value")
        return self.tagged(node[0], node[1:], depth)

    def tagged(self, tag: str, rest: list[Any], depth: int) -> Any:
        if tag == "l":
            return [self.node(item, depth + 1) for item in rest]
        if tag == "t":
            return tuple(self.node(item, depth + 1) for item in rest)
        if tag == "d":
            return self.mapping(rest, depth)
        if tag == "T" and len(rest) == 3:
            return arrays.unpack_tensor(rest[0], rest[1], self.blob(rest[2]))
        if tag in ("A", "N") and len(rest) == 4 and (rest[2] is None or self.hooks):
            array = arrays.unpack_array(rest[0], rest[1], rest[2], self.blob(rest[3]))
            return array if tag == "A" else array.reshape(())[()]
        if tag == "f" and len(rest) == 1 and rest[0] in tuple(SPECIAL):
            return SPECIAL[rest[0]]
        if tag == "dt" and len(rest) == 1:
            return arrays._torch_dtype(rest[0])
        if tag == "dn" and len(rest) == 1 and rest[0] in tuple(arrays.NUMPY_DTYPES):
            return np.dtype(rest[0])
        if self.hooks is not None:
            return self.referred(self.hooks, tag, rest)
        raise WireError("not a value")

    def referred(self, hooks: Hooks, tag: str, rest: list[Any]) -> Any:
        if tag == "S":
            tensor = arrays.unpack_strided(rest[0], rest[1], rest[2], rest[3], self.blob(rest[5]))
            return tensor.requires_grad_() if rest[4] else tensor
        if tag == "g":
            return (
                np.random.default_rng(rest[1])
                if rest[0] == "numpy"
                else torch.Generator().manual_seed(rest[1])
            )
        if tag == "c":
            return hooks.callback(rest[0])
        if tag == "h":
            return hooks.handle(rest[0])
        raise WireError("not a value")

    def mapping(self, pairs: list[Any], depth: int) -> dict[Any, Any]:
        found = {}
        if len(pairs) > MAX_KEYS:
            raise WireError(f"a dictionary of more than {MAX_KEYS} entries cannot be sent")
        for pair in pairs:
            if not isinstance(pair, list) or len(pair) != 2:
                raise WireError("not a dictionary")
            key = self.node(pair[0], depth + 1)
            if not isinstance(key, str | int | float | bool | tuple | None) or _is_long(key):
                raise WireError("a dictionary key is no plain value")
            try:
                found[key] = self.node(pair[1], depth + 1)
            except TypeError:
                raise WireError("a dictionary key is no plain value") from None
        return found

    def blob(self, index: Any) -> memoryview:
        if type(index) is not int or not 0 <= index < len(self.blobs):
            raise WireError("no such blob")
        return self.blobs[index]


def _is_long(key: Any) -> bool:
    """Whether a key is costly to compare with another of the same hash."""
    parts = key if isinstance(key, tuple) else (key,)
    return len(parts) > MAX_DEPTH or any(
        isinstance(part, tuple) or (isinstance(part, int) and part.bit_length() > KEY_BITS) for part in parts
    )


def _text(text: str) -> str:
    try:
        text.encode("utf-8")
    except UnicodeEncodeError:
        raise WireError("a text holds half a character") from None
    return text


def decode(message: bytes, hooks: Hooks | None = None) -> Any:
    """The value in a message; WireError for anything else, whatever the bytes are."""
    tree, blobs = parse(message)
    return _Decoder(blobs, hooks).node(tree)
