"""The outside of a message of `autograder.wire`: a JSON tree with raw blobs behind it, every length said before."""

from __future__ import annotations

import json
import struct
from typing import Any

from autograder.wire_arrays import MAX_ARRAY_BYTES, WireError

MAX_HEADER = 4 << 20
MAX_MESSAGE = MAX_HEADER + 2 * MAX_ARRAY_BYTES
MAX_ITEMS = 100_000
ROOM = 65536  # for the lengths in front
PREFIX = struct.Struct("<II")  # bytes of the tree, number of blobs
BLOB_SIZE = struct.Struct("<Q")


def pack(tree: bytes, blobs: list[bytes]) -> bytes:
    """A message with this tree and these blobs."""
    size = len(tree) + sum(map(len, blobs))
    if len(tree) > MAX_HEADER or size > MAX_MESSAGE - ROOM:
        raise WireError(f"a value of {size} bytes is too large to be sent")
    sizes = b"".join(BLOB_SIZE.pack(len(blob)) for blob in blobs)
    return b"".join([PREFIX.pack(len(tree), len(blobs)), sizes, tree, *blobs])


def peek(message: bytes) -> dict[str, Any]:
    """The plain entries of a message that is a dictionary: its texts and numbers, nothing that needs a blob."""
    tree, _ = parse(message)
    if not isinstance(tree, list) or tree[:1] != ["d"]:
        raise WireError("a message is no dictionary")
    plain = {}
    for pair in tree[1:65]:
        if not isinstance(pair, list) or len(pair) != 2 or not isinstance(pair[0], str):
            raise WireError("a message is no dictionary")
        plain[pair[0]] = pair[1] if isinstance(pair[1], str | int) else None
    return plain


def parse(message: bytes) -> tuple[Any, list[memoryview]]:
    """The tree and the blobs of a message, with every length checked."""
    view = memoryview(message)
    if not PREFIX.size <= len(view) <= MAX_MESSAGE:
        raise WireError("a message has a wrong length")
    tree_size, count = PREFIX.unpack_from(view)
    start = PREFIX.size + count * BLOB_SIZE.size
    if count > MAX_ITEMS or tree_size > MAX_HEADER or start + tree_size > len(view):
        raise WireError("a message has a wrong length")
    sizes = [BLOB_SIZE.unpack_from(view, PREFIX.size + i * BLOB_SIZE.size)[0] for i in range(count)]
    if start + tree_size + sum(sizes) != len(view):
        raise WireError("a message has a wrong length")
    blobs, position = [], start + tree_size
    for size in sizes:
        blobs.append(view[position : position + size])
        position += size
    try:
        tree = json.loads(bytes(view[start : start + tree_size]), parse_constant=_no_constant)
    except (ValueError, RecursionError):
        raise WireError("the tree of a message is not JSON, or too deep") from None
    return tree, blobs


def _no_constant(name: str) -> Any:
    raise ValueError(name)
