"""Python's parser, for programs with several threads."""

from __future__ import annotations

import ast
import threading

_ONE_AT_A_TIME = threading.Lock()


def parse(source: str, filename: str = "<unknown>") -> ast.Module:
    """`ast.parse`, by one thread at a time.

    CPython 3.11 counts the depth of a tree in a place that all threads share, and where two of them build one at a time
    it raises "SystemError: AST constructor recursion depth mismatch" (python/cpython#106905).

    Raises what `ast.parse` raises.
    """
    with _ONE_AT_A_TIME:
        return ast.parse(source, filename)
