"""Work that is shared out among a few processes."""

from __future__ import annotations

import os
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar

__all__ = ["in_parts"]

Item = TypeVar("Item")
Answer = TypeVar("Answer")
MOST = 4


def in_parts(
    items: list[Item], work: Callable[[list[Item]], list[Answer]], cores_each: int = 1
) -> list[Answer]:
    """One answer for each item, in order: `work` gets a part of the items, in up to four threads at once.

    A thread only waits for the process that `work` starts; `cores_each` says how many cores that one keeps busy.
    """
    workers = max(1, min(MOST, (os.cpu_count() or 1) // cores_each, len(items)))
    with ThreadPoolExecutor(workers) as pool:
        parts = list(pool.map(work, [items[start::workers] for start in range(workers)]))
    return [parts[number % workers][number // workers] for number in range(len(items))]
