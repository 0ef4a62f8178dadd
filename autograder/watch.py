"""Notes at call time what a student's code calls that an exercise forbids. It runs beside that code.

torch's own functions are seen by a mode that every call passes, however the function was reached (`getattr`,
`importlib`, `torch.ops`, `eval`); functions of other libraries and classes are wrapped. A student who undoes this in
the process is left with the check of the source, which the judge does itself.
"""

from __future__ import annotations

import contextlib
import functools
import importlib
import sys
import threading
from collections.abc import Callable, Iterator
from types import FrameType
from typing import Any

import torch
from torch.overrides import TorchFunctionMode

Call = tuple[
    str, str, str
]  # a forbidden name, the cell whose code called it, and the function or class of that cell
HELPER = "<helper of a test>"  # its own calls are not the student's


class Watch:
    """The forbidden calls seen while a function of the student's runs, each with the cell that made it."""

    def __init__(self, namespace: dict[str, Any], forbidden: list[str]) -> None:
        self.namespace = namespace
        self.forbidden = forbidden
        self.last_names = {name.rsplit(".", 1)[-1]: name for name in forbidden if name.startswith("torch.")}
        self.seen: dict[Call, None] = {}
        self.active = False
        for name in forbidden:
            self._wrap(name)
        if forbidden:
            self._follow_threads()

    @contextlib.contextmanager
    def watching(self) -> Iterator[None]:
        """While this is open, calls are noted."""
        self.active = True
        try:
            with _Mode(self) if self.forbidden else contextlib.nullcontext():
                yield
        finally:
            self.active = False

    def take(self) -> list[list[str]]:
        """What was seen since the last time."""
        seen, self.seen = self.seen, {}
        return [list(call) for call in seen]

    def name_of(self, function: Any) -> str | None:
        """The forbidden name behind a function of torch, under whichever of its names it was called."""
        name = getattr(function, "__name__", "") or ""
        bare = name.strip("_").split(".")[0]
        if bare in self.last_names and not isinstance(function, type):
            return self.last_names[bare]
        if bare.startswith("scaled_dot_product_") and "scaled_dot_product_attention" in self.last_names:
            return self.last_names["scaled_dot_product_attention"]
        return None

    def note(self, name: str) -> None:
        """Note a call, with the student's innermost cell."""
        if self.active:
            place = self._place(sys._getframe(1))
            if place[0] != HELPER:
                self.seen[(name, *place)] = None

    def _place(self, frame: FrameType | None) -> tuple[str, str]:
        while frame is not None:
            code = frame.f_code
            if code.co_filename == HELPER:
                return HELPER, ""
            if frame.f_globals is self.namespace and code.co_filename.startswith("<cell "):
                return code.co_filename[6:-1], code.co_qualname.split(".")[0]
            frame = frame.f_back
        return "", "?"

    def _wrap(self, name: str) -> None:
        """Wrap what is no function that torch's mode sees: classes, and functions of other libraries."""
        module_name, _, last = name.rpartition(".")
        root = name.split(".", 1)[0]
        if root not in sys.modules:
            return
        try:
            module = importlib.import_module(module_name)
            found = getattr(module, last)
        except (ImportError, AttributeError):
            return
        if isinstance(found, type):
            found.__init__ = self._noting(name, found.__init__)  # type: ignore[misc]
        elif root != "torch" or ".autograd." in name or ".func." in name:
            setattr(module, last, self._noting(name, found))

    def _follow_threads(self) -> None:
        """torch's mode holds in one thread: those that student code starts get it too. It is blind to TorchScript."""
        start: Callable[[threading.Thread], None] = threading.Thread._bootstrap_inner  # type: ignore[attr-defined]

        @functools.wraps(start)
        def watched(thread: threading.Thread) -> None:
            with _Mode(self):
                start(thread)

        threading.Thread._bootstrap_inner = watched  # type: ignore[attr-defined]
        for name in ("script", "trace", "CompilationUnit", "load"):
            setattr(torch.jit, name, _no_script)

    def _noting(self, name: str, function: Callable[..., Any]) -> Callable[..., Any]:
        @functools.wraps(function)
        def noted(*args: Any, **kwargs: Any) -> Any:
            self.note(name)
            return function(*args, **kwargs)

        return noted


class _Mode(TorchFunctionMode):
    """Sees every call of a function of torch."""

    def __init__(self, watch: Watch) -> None:
        super().__init__()
        self.watch = watch

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        name = self.watch.name_of(func)
        if name:
            self.watch.note(name)
        return func(*args, **(kwargs or {}))


def _no_script(*args: Any, **kwargs: Any) -> Any:
    raise RuntimeError("TorchScript is not available while an exercise that forbids calls is graded")


def torch_is_ready() -> None:
    """Run what torch does once on first use, before there is anything of a student's."""
    with torch.enable_grad():
        x = torch.ones(2, 2, requires_grad=True)
        torch.nn.functional.softmax(x @ x, dim=-1).sum().backward()
