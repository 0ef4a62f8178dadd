"""The single-use process of one submission: runs the cells, then answers the judge's requests. It decides nothing.

It was forked from the warm process and is fenced in before it gets here (`autograder.zygote`).
"""

from __future__ import annotations

import io
import linecache
import random
import re
import sys
import types
from typing import Any

import numpy as np
import torch

from autograder import frames, wire
from autograder.dispatcher import Dispatcher
from autograder.watch import Watch

MAX_OUTPUT = 20_000  # characters of one cell
MAX_OUTPUTS = 400_000  # of all cells together
_SHELL = re.compile(r"^[ \t]*[%!].*$", re.MULTILINE)


class Output(io.TextIOBase):
    """Standard output and error of a student's code: the beginning is kept, the rest is counted."""

    def __init__(self) -> None:
        self.parts: list[str] = []
        self.kept = self.lost = 0
        self.left = MAX_OUTPUTS

    def writable(self) -> bool:
        """It can be written."""
        return True

    def write(self, text: str) -> int:
        """Keep what there is room for."""
        text = str(text)
        room = text[: max(0, min(MAX_OUTPUT - self.kept, self.left))]
        if room:
            self.parts.append(room)
        self.kept += len(room)
        self.left -= len(room)
        self.lost += len(text) - len(room)
        return len(text)

    def take(self) -> str:
        """What was written since the last time."""
        text = "".join(self.parts) + (f"\n… {self.lost} more characters" if self.lost else "")
        self.parts, self.kept, self.lost = [], 0, 0
        return text.encode("utf-8", "replace").decode("utf-8")


class Runner:
    """One submission's namespace, and the loop that answers for it."""

    def __init__(self, reading: int, writing: int) -> None:
        self.reading, self.writing = reading, writing
        module = types.ModuleType("__main__")
        sys.modules["__main__"] = module
        self.namespace = module.__dict__
        self.output = Output()
        self.number = 0

    def serve(self) -> None:
        """Answer until the judge closes the pipe."""
        sys.stdout = sys.stderr = self.output
        torch.manual_seed(0)
        np.random.seed(0)
        random.seed(0)
        dispatcher = Dispatcher(self.namespace)
        while True:
            try:
                self.number, message = frames.receive(self.reading)
            except frames.Closed:
                return
            if wire.peek(message).get("do") == "cells":
                request = wire.decode(message)
                answer = self.cells(request["cells"])
                watch = Watch(self.namespace, request["forbidden"])
                dispatcher = Dispatcher(self.namespace, watch=watch)
            else:
                answer = dispatcher.handle(message, self.call_out)
                self.output.left = MAX_OUTPUTS
                self.output.take()
            frames.send(self.writing, self.number, answer)

    def call_out(self, message: bytes) -> bytes:
        """Ask the judge something in the middle of a request."""
        frames.send(self.writing, self.number, message)
        return frames.receive(self.reading)[1]

    def cells(self, cells: list[tuple[str, str]]) -> bytes:
        """Run the cells in order; before each, the judge is told which one it is."""
        places = Dispatcher(self.namespace)
        outputs = []
        for index, (name, source) in enumerate(cells):
            self.call_out(wire.encode({"callback": index, "args": (), "kwargs": {}}))
            error: dict[str, Any] = {}
            try:
                exec(compiled(source, f"<cell {name}>"), self.namespace)
            except BaseException as raised:
                error = places.error(raised)["error"]
                if isinstance(raised, SyntaxError) and raised.filename == f"<cell {name}>":
                    error["line"], error["cell"] = raised.lineno, name
            outputs.append({"cell": name, "text": self.output.take(), "error": error})
        return wire.encode({"value": outputs})


def compiled(source: str, filename: str) -> types.CodeType:
    """A cell's code; lines for IPython only (`%`, `!`) are left out where plain Python refuses them."""
    linecache.cache[filename] = (len(source), None, source.splitlines(keepends=True), filename)
    try:
        return compile(source, filename, "exec", dont_inherit=True)
    except SyntaxError:
        plain = _SHELL.sub("pass", source)
        if plain == source:
            raise
        return compile(plain, filename, "exec", dont_inherit=True)
