"""Runs the judge's requests against a namespace of a student's code. It lives beside that code and decides nothing.

A request is a message of `autograder.wire`: what to do, with which arguments. The answer is a value, the number of a
handle (for an object that is no plain value, such as a layer), or the error that the student's code raised.
"""

from __future__ import annotations

import contextlib
import itertools
from collections.abc import Callable
from types import TracebackType
from typing import Any

import torch

from autograder import wire
from autograder.watch import HELPER, Watch

CallOut = Callable[[bytes], bytes]
TEXT_LIMIT = 2000
FLOATING = (torch.float64, torch.float32, torch.float16, torch.bfloat16)


class Dispatcher:
    """Requests in, answers out. `around` is entered for every request (see `autograder.global_state`)."""

    def __init__(self, namespace: dict[str, Any], around: Any = None, watch: Watch | None = None) -> None:
        self.namespace = namespace
        self.helpers: dict[str, Any] = {}
        self.handles: dict[int, Any] = {}
        self.numbers = itertools.count(1)
        self.around = around or contextlib.nullcontext()
        self.watch = watch
        self.watching = watch.watching if watch else contextlib.nullcontext
        self.call_out: CallOut = _nobody

    def handle(self, message: bytes, call_out: CallOut) -> bytes:
        """Answer one request. Whatever the student's code raises becomes part of the answer."""
        self.call_out = call_out
        with self.around:
            try:
                request = wire.decode(message, self.hooks())
                answer = self.answer(request)
            except BaseException as error:
                answer = self.error(error)
            if self.watch:
                answer["calls"] = self.watch.take()
            return self.encoded(answer)

    def encoded(self, answer: dict[str, Any]) -> bytes:
        try:
            return wire.encode(answer)
        except BaseException as error:
            kinds = ["Unsendable"]
            return wire.encode({"error": {"kinds": kinds, "text": _text(error), "line": None, "cell": ""}})

    # -- references that come with a request

    def hooks(self) -> _Hooks:
        return _Hooks(self)

    # -- what can be asked

    def answer(self, request: dict[str, Any]) -> dict[str, Any]:
        """Do what a request asks."""
        todo = request["do"]
        if todo == "define":
            self.define(request["source"])
            return {"value": None}
        target = self.target(request["on"], request.get("name"))
        if todo == "read":
            return self.result(target)
        if todo in ("state_dict", "parameters", "train", "eval", "load_state_dict"):
            return {"value": self.module(target, todo, request.get("values"))}
        args, kwargs = request["args"], request["kwargs"]
        if todo == "gradients":
            is_handle = request["on"] is not None
            with torch.enable_grad():
                return {
                    "value": gradients(self.watched(target), args, kwargs, request["upstream"], is_handle)
                }
        value = self.watched(target)(*args, **kwargs)
        if todo == "probe":
            return {"value": (value, args, kwargs)}
        return self.result(value)

    def watched(self, target: Any) -> _Watched:
        """The same function, with the watch on while it runs."""
        return _Watched(target, self.watching)

    def define(self, source: str) -> None:
        """Run helper code of a test on a copy of the names, so that the student's own stay as they are."""
        scope = dict(self.namespace) | self.helpers
        known = dict(scope)
        exec(compile(source, HELPER, "exec", dont_inherit=True), scope)
        self.helpers |= {name: value for name, value in scope.items() if known.get(name) is not value}

    def target(self, on: int | None, name: str | None) -> Any:
        if on is not None:
            found = self.handles[on]
            for part in name.split(".") if name else ():
                found = getattr(found, part)
            return found
        for names in (self.helpers, self.namespace):
            if name in names:
                return names[name]
        raise Missing(f"{name} is not defined")

    def result(self, value: Any) -> dict[str, Any]:
        """A value where it can be sent, else a handle on it."""
        if isinstance(value, torch.nn.Module) or not self.sendable(value):
            number = next(self.numbers)
            self.handles[number] = value
            return {"handle": number, "type": type(value).__name__[:80]}
        return {"value": value}

    def sendable(self, value: Any) -> bool:
        plain = (torch.Tensor, list, tuple, dict, str, int, float, torch.dtype)
        if value is None or isinstance(value, plain) or type(value).__module__ == "numpy":
            return True
        try:
            wire.encode(value)
        except wire.WireError:
            return False
        return True

    def module(self, layer: torch.nn.Module, todo: str, values: Any) -> Any:
        if todo == "state_dict":
            return {name: value.detach() for name, value in layer.state_dict().items()}
        if todo == "parameters":
            return {name: value.detach() for name, value in layer.named_parameters()}
        if todo == "load_state_dict":
            layer.load_state_dict(values)
        else:
            layer.train(todo == "train")
        return None

    # -- errors

    def error(self, error: BaseException) -> dict[str, Any]:
        """The classes of an error, its text and the student's line that raised it."""
        kinds = [cls.__name__[:80] for cls in type(error).__mro__ if cls not in (object, BaseException)]
        line, cell = self.place(error.__traceback__)
        return {"error": {"kinds": kinds[:16], "text": _text(error), "line": line, "cell": cell}}

    def place(self, trace: TracebackType | None) -> tuple[int | None, str]:
        """The last line of the student's own code in a traceback, and the cell it stands in."""
        found: tuple[int | None, str] = (None, "")
        while trace is not None:
            if trace.tb_frame.f_globals is self.namespace:
                filename = trace.tb_frame.f_code.co_filename
                found = (trace.tb_lineno, filename[6:-1] if filename.startswith("<cell ") else "")
            trace = trace.tb_next
        return found


class _Watched:
    """A function of the student's that is watched while it runs, and only then."""

    def __init__(self, target: Any, watching: Callable[[], Any]) -> None:
        self.target, self.watching = target, watching

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        with self.watching():
            return self.target(*args, **kwargs)


class Missing(NameError):
    """The student's code does not define what a test asks for."""


class _Hooks:
    """What the references in a request become."""

    def __init__(self, dispatcher: Dispatcher) -> None:
        self.dispatcher = dispatcher

    def handle(self, number: int) -> Any:
        return self.dispatcher.handles[number]

    def callback(self, number: int) -> Callable[..., Any]:
        def back(*args: Any, **kwargs: Any) -> Any:
            asked = wire.encode({"callback": number, "args": args, "kwargs": kwargs})
            answer = wire.decode(self.dispatcher.call_out(asked), self)
            if "error" in answer:
                raise getattr(__import__("builtins"), answer["error"], RuntimeError)("the function failed")
            return answer["value"]

        return back


def gradients(target: _Watched, args: Any, kwargs: Any, upstream: Any, is_handle: bool) -> tuple[Any, ...]:
    """The value, the gradients of its floating-point arguments and, for a layer, of its parameters by name."""
    leaves = [leaf for leaf in _tensors((args, kwargs)) if leaf.dtype in FLOATING]
    for leaf in leaves:
        leaf.requires_grad_()
    value = target(*args, **kwargs)
    layer = target.target if is_handle and isinstance(target.target, torch.nn.Module) else None
    named = [(name, p) for name, p in layer.named_parameters() if p.requires_grad] if layer else []
    total = _weighted_sum(value, upstream)
    wanted = leaves + [parameter for _, parameter in named]
    if total is None or not total.requires_grad or not wanted:
        found: list[Any] = [None] * len(wanted)
    else:
        found = list(torch.autograd.grad(total, wanted, allow_unused=True))
    grads = found[: len(leaves)]
    if not is_handle:
        return value, grads
    return value, grads, {name: grad for (name, _), grad in zip(named, found[len(leaves) :], strict=True)}


def _tensors(value: Any) -> list[torch.Tensor]:
    if isinstance(value, torch.Tensor):
        return [value]
    items = value.values() if isinstance(value, dict) else value if isinstance(value, list | tuple) else ()
    return [tensor for item in items for tensor in _tensors(item)]


def _weighted_sum(value: Any, upstream: Any) -> torch.Tensor | None:
    """The sum of value · upstream. Without an upstream it is ones; a None in a tuple leaves that output out."""
    if isinstance(value, torch.Tensor):
        return (value if upstream is None else value * upstream).sum()
    outputs = list(value) if isinstance(value, list | tuple) else [value]
    if upstream is None:
        pairs = [(v, None) for v in outputs if isinstance(v, torch.Tensor) and v.requires_grad]
    else:
        pairs = [(v, u) for v, u in zip(outputs, upstream, strict=True) if u is not None]
    sums = [_weighted_sum(v, u) for v, u in pairs]
    return sum(s for s in sums if s is not None) if sums else None  # type: ignore[return-value]


def _text(error: BaseException) -> str:
    try:
        return str(error)[:TEXT_LIMIT].encode("utf-8", "replace").decode("utf-8")
    except BaseException:
        return ""


def _nobody(message: bytes) -> bytes:
    raise RuntimeError("nobody is there to call back")
