"""The stub through which hidden tests call a student's code: arguments and results cross by value.

`Student` works over any channel. `LocalStudent` keeps the code in this process (plain nbgrader, the kill matrix) but
sends everything through the same codec, so that both ways of grading mean the same.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
import torch

from autograder import wire
from autograder.dispatcher import Dispatcher
from autograder.faults import BadReply, StudentCrash, StudentError, StudentFault, StudentTimeout
from autograder.global_state import Borrowed

__all__ = [
    "BadReply", "Handle", "LocalStudent", "Probe", "Student", "StudentCrash", "StudentError", "StudentFault",
    "StudentTimeout",
]  # fmt: skip

MAX_LINE = 5000


class Channel(Protocol):
    """The way to a student's code: a request out, an answer back; `serve` answers callbacks in between."""

    def exchange(self, request: bytes, serve: Callable[[bytes], bytes]) -> bytes:
        """Send a request and wait for the answer; raises StudentFault."""


@dataclass
class Probe:
    """A value, and the arguments as they were after the call."""

    value: Any
    args: tuple[Any, ...]
    kwargs: dict[str, Any]


class Student:
    """The student's functions and classes as attributes."""

    def __init__(self, channel: Channel, cells: Mapping[str, int] | None = None) -> None:
        self._stub = _Stub(channel, cells or {})

    def __getattr__(self, name: str) -> Callable[..., Any]:
        if name.startswith("__"):
            raise AttributeError(name)
        return lambda *args, **kwargs: self._stub.ask("call", None, name, args=args, kwargs=kwargs)

    def gradients(self, name: str, *args: Any, upstream: Any = None, **kwargs: Any) -> tuple[Any, list[Any]]:
        """The value, and the gradient of each floating-point tensor argument of the sum of value · upstream."""
        found = self._stub.ask("gradients", None, name, args=args, kwargs=kwargs, upstream=upstream)
        value, grads = _parts(found, 2)
        return value, grads

    def probe(self, name: str, *args: Any, **kwargs: Any) -> Probe:
        """The value, and the arguments as they are after the call."""
        value, after, named = _parts(self._stub.ask("probe", None, name, args=args, kwargs=kwargs), 3)
        if not isinstance(after, tuple) or not isinstance(named, dict):
            raise BadReply("a probe came back in another shape")
        return Probe(value, after, named)

    def read(self, name: str) -> Any:
        """A constant of the student's notebook, by value."""
        return self._stub.ask("read", None, name)

    def define(self, source: str) -> None:
        """Put helper code of the test beside the student's code."""
        self._stub.ask("define", None, None, source=source)


class Handle:
    """An object that lives beside the student's code: a layer, a cache, whatever is no plain value."""

    def __init__(self, stub: _Stub, number: int, type_name: str, generation: int) -> None:
        self._stub, self._number, self._type_name, self._generation = stub, number, type_name, generation

    def __repr__(self) -> str:
        return f"<the student's {self._type_name}>"

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        return self._ask("call", None, args=args, kwargs=kwargs)

    def __getattr__(self, name: str) -> Callable[..., Any]:
        if name.startswith("__"):
            raise AttributeError(name)
        return lambda *args, **kwargs: self._ask("call", name, args=args, kwargs=kwargs)

    def _ask(self, todo: str, name: str | None, **more: Any) -> Any:
        return self._stub.ask(todo, self, name, **more)

    def read(self, name: str) -> Any:
        """An attribute by value (or a handle on it); `a.b` goes down."""
        return self._ask("read", name)

    def state_dict(self) -> dict[str, torch.Tensor]:
        """The parameters and buffers of a module by name."""
        return _tensors_by_name(self._ask("state_dict", None))

    def parameters(self) -> dict[str, torch.Tensor]:
        """The parameters of a module by name."""
        return _tensors_by_name(self._ask("parameters", None))

    def load_state_dict(self, values: Mapping[str, torch.Tensor]) -> None:
        """Give a module these parameters and buffers."""
        self._ask("load_state_dict", None, values=dict(values))

    def train(self) -> None:
        """Put a module into training mode."""
        self._ask("train", None)

    def eval(self) -> None:
        """Put a module into evaluation mode."""
        self._ask("eval", None)

    def gradients(self, *args: Any, upstream: Any = None, **kwargs: Any) -> tuple[Any, Any, dict[str, Any]]:
        """The value, the gradients of the arguments, and those of the parameters by name."""
        found = self._ask("gradients", None, args=args, kwargs=kwargs, upstream=upstream)
        value, grads, named = _parts(found, 3)
        return value, grads, named


class _Stub:
    """Requests over a channel, and what their answers mean."""

    def __init__(self, channel: Channel, cells: Mapping[str, int]) -> None:
        self.channel, self.cells = channel, cells  # the cells by name, and how many lines each has

    def ask(self, todo: str, on: Handle | None, name: str | None, **more: Any) -> Any:
        """Send one request; the answer is a value or a handle, anything else is a StudentFault."""
        generation = getattr(self.channel, "generation", 0)
        if on is not None and on._generation != generation:
            raise StudentCrash("the process that held this object ended")
        callbacks: list[Callable[..., Any]] = []
        trouble: list[BaseException] = []
        request = {"do": todo, "on": None if on is None else on._number, "name": name, **more}
        message = wire.encode(request, inbound=True, reference=lambda value: _refer(value, callbacks))
        answer = self.channel.exchange(message, lambda asked: _serve(asked, callbacks, trouble))
        if trouble:
            raise trouble[0]
        return self.meaning(_decoded(answer), generation)

    def meaning(self, answer: Any, generation: int) -> Any:
        if not isinstance(answer, dict):
            raise BadReply("an answer is no dictionary")
        if "calls" in answer and hasattr(self.channel, "note_calls"):
            self.channel.note_calls(answer["calls"])
        if "error" in answer:
            raise self.fault(answer["error"])
        if "handle" in answer:
            number, type_name = answer["handle"], answer.get("type")
            if type(number) is not int or not isinstance(type_name, str):
                raise BadReply("a handle has no number")
            return Handle(self, number, type_name[:80], getattr(self.channel, "generation", generation))
        if "value" not in answer:
            raise BadReply("an answer has no value")
        return answer["value"]

    def fault(self, error: Any) -> StudentFault:
        """The fault for the error in an answer, whose every part may be a lie."""
        if not isinstance(error, dict) or not isinstance(error.get("kinds"), list):
            return BadReply("an error came back in another shape")
        kinds = [kind[:80] for kind in error["kinds"][:16] if isinstance(kind, str) and kind.isidentifier()]
        text, line, cell = str(error.get("text"))[:2000], error.get("line"), error.get("cell")
        if kinds[:1] == ["Unsendable"]:
            return BadReply(text)
        known = cell if isinstance(cell, str) and cell in self.cells else ""
        place = line if type(line) is int and 0 < line <= self.cells.get(known, MAX_LINE) else None
        return StudentError(kinds, text, place, known, missing=kinds[:1] == ["Missing"])


class LocalStudent(Student):
    """A student whose code is in this process, as a namespace. For plain nbgrader and the kill matrix only."""

    def __init__(self, namespace: Mapping[str, Any]) -> None:
        known = namespace if isinstance(namespace, dict) else dict(namespace)
        super().__init__(_InMemory(Dispatcher(known, around=Borrowed())))


class _InMemory:
    """A channel without a process in between."""

    def __init__(self, dispatcher: Dispatcher) -> None:
        self.dispatcher = dispatcher

    def exchange(self, request: bytes, serve: Callable[[bytes], bytes]) -> bytes:
        return self.dispatcher.handle(request, serve)


def _refer(value: Any, callbacks: list[Callable[..., Any]]) -> list[Any] | None:
    """How a value goes in that is not sent by value."""
    if isinstance(value, Handle):
        return ["h", value._number]
    if isinstance(value, np.random.Generator):
        seed = value.bit_generator.seed_seq.entropy  # type: ignore[attr-defined]
        return ["g", "numpy", int(seed)]
    if isinstance(value, torch.Generator):
        return ["g", "torch", value.initial_seed()]
    if callable(value):
        callbacks.append(value)
        return ["c", len(callbacks) - 1]
    return None


def _serve(asked: bytes, callbacks: list[Callable[..., Any]], trouble: list[BaseException]) -> bytes:
    """Answer a callback; a failed assertion of the test's own function fails the test when the call is over."""
    request = _decoded(asked)
    try:
        number, args, kwargs = request["callback"], request["args"], request["kwargs"]
        if type(number) is not int or not 0 <= number < len(callbacks):
            raise KeyError(number)
        return wire.encode({"value": callbacks[number](*args, **kwargs)}, inbound=True)
    except Exception as error:
        if isinstance(error, AssertionError) and not trouble:
            trouble.append(error)
        return wire.encode({"error": type(error).__name__}, inbound=True)


def _decoded(answer: bytes) -> Any:
    try:
        return wire.decode(answer)
    except wire.WireError as error:
        raise BadReply(str(error)) from None


def _parts(found: Any, count: int) -> tuple[Any, ...]:
    if not isinstance(found, tuple) or len(found) != count:
        raise BadReply("an answer came back in another shape")
    return found


def _tensors_by_name(found: Any) -> dict[str, torch.Tensor]:
    if not isinstance(found, dict) or not all(isinstance(value, torch.Tensor) for value in found.values()):
        raise BadReply("parameters came back in another shape")
    return found
