"""One submission's code at work: the channel that `autograder.student` talks through, with its limits.

When the process dies or takes too long it is replaced by a fresh one that runs the cells again, a bounded number of
times; a cell that ended the process is left out then. The function that did it twice is not called a third time.
"""

from __future__ import annotations

import contextlib
import time
from collections import Counter
from collections.abc import Callable
from typing import Any

from autograder import frames, wire
from autograder.report import CellOutput, Flag
from autograder.student import BadReply, StudentCrash, StudentError, StudentFault, StudentTimeout, _Stub
from autograder.warm import Keeper, Limits, Runner

MAX_CALLBACKS = 100_000
TWICE = 2
Call = tuple[
    str, str, str
]  # a forbidden name, the cell whose code called it, and the function or class of that cell


class Session:
    """The channel to one submission's process. `generation` counts the processes, so that handles do not mix."""

    def __init__(
        self, keeper: Keeper, cells: list[tuple[str, str]], forbidden: list[str], limits: Limits
    ) -> None:
        self.keeper, self.limits = keeper, limits
        self.cells, self.forbidden = cells, forbidden
        self.skipped: dict[str, str] = {}
        self.outputs: dict[str, CellOutput] = {}
        self.flags: list[Flag] = []
        self.calls: set[Call] = set()
        self.failures: Counter[str] = Counter()
        self.runner: Runner | None = None
        self.generation = self.number = 0
        self.cpu = 0.0
        self.seconds = {"start": 0.0, "cells": 0.0}
        self.end_by = time.monotonic() + limits.total

    # -- the channel

    def exchange(self, request: bytes, serve: Callable[[bytes], bytes]) -> bytes:
        """Send a request to the student's code and wait for its answer, within the limits."""
        what = _name_of(request)
        if self.failures[what] >= TWICE:
            raise StudentCrash("it failed this way twice before")
        self.start()
        try:
            return self._within(self.limits.call, request, serve)
        except StudentFault:
            self.failures[what] += 1
            raise

    def _within(self, seconds: float, request: bytes, serve: Callable[[bytes], bytes]) -> bytes:
        assert self.runner is not None
        pipe = self.runner.pipe
        by = min(time.monotonic() + seconds, self.end_by)
        try:
            if not pipe.idle():
                raise frames.FrameError("a reply that nobody asked for")
            self.number += 1
            pipe.send(self.number, request, by)
            for _ in range(MAX_CALLBACKS):
                answer = pipe.receive(self.number, by)
                if not _is_callback(answer):
                    return answer
                pipe.send(self.number, serve(answer), by)
            raise frames.FrameError("too many calls of a function of the test")
        except frames.TooLate:
            self.stop()
            raise StudentTimeout(seconds) from None
        except frames.Closed:
            raise self._crash() from None
        except frames.FrameError as error:
            self.stop()
            self._flag("protocol", f"{error}; the process was ended")
            raise BadReply(str(error)) from None

    def note_calls(self, calls: Any) -> None:
        """Forbidden calls that the watch in the student's process saw."""
        if isinstance(calls, list):
            for call in calls[:100]:
                if isinstance(call, list) and len(call) == 3 and all(isinstance(part, str) for part in call):
                    self.calls.add((call[0], call[1], call[2]))

    # -- the process

    def start(self) -> None:
        """See to it that there is a process in which the cells have run."""
        while self.runner is None or not self.runner.alive():
            if self.runner is not None:
                self._crash()
            if time.monotonic() > self.end_by:
                raise StudentTimeout(self.limits.total)
            if self.generation > self.limits.restarts:
                raise StudentCrash("it ended its process too often")
            self.generation += 1
            began = time.monotonic()
            self.runner = self.keeper.runner()
            self.seconds["start"] += time.monotonic() - began
            self._run_cells()
            self.seconds["cells"] += time.monotonic() - began

    def start_quietly(self) -> None:
        """The same, when nothing has been asked yet: that there is no process shows at the first question."""
        with contextlib.suppress(StudentFault):
            self.start()

    def _run_cells(self) -> None:
        cells = [(name, source) for name, source in self.cells if name not in self.skipped]
        at = [""]
        message = wire.encode({"do": "cells", "cells": cells, "forbidden": self.forbidden}, inbound=True)
        stub = _Stub(self, lines_of(cells))
        began = time.monotonic()
        try:
            answer = self._within(self.limits.cells, message, lambda asked: _progress(asked, cells, at))
            self._take_outputs(stub, stub.meaning(_decoded(answer), 0), {name for name, _ in cells})
        except StudentFault as fault:
            self.stop()
            if at[0]:
                self.end_by += (
                    time.monotonic() - began
                )  # a demo that was made longer costs the exercises no time
                self.skipped[at[0]] = str(fault)
                self.outputs[at[0]] = CellOutput(at[0], "", fault.for_student)
                self._flag("stopped_cell", f"the cell {at[0]} was left out: {fault}")
            else:
                self._flag("protocol", f"the cells were not run: {fault}")

    def _take_outputs(self, stub: _Stub, found: Any, names: set[str]) -> None:
        if not isinstance(found, list):
            raise BadReply("the outputs came back in another shape")
        for one in found[: len(names)]:
            if not isinstance(one, dict) or one.get("cell") not in names:
                raise BadReply("the outputs came back in another shape")
            error = one.get("error") or {}
            fault = stub.fault(error) if error else None
            said = fault.for_student.removeprefix("your code ") if fault else ""
            if isinstance(fault, StudentError) and fault.kind == "SystemExit":
                self._flag("exit_call", f"the cell {one['cell']} calls sys.exit")
            self.outputs[one["cell"]] = CellOutput(one["cell"], str(one.get("text"))[:25_000], said)

    def _crash(self) -> StudentCrash:
        runner = self.runner
        self.stop()
        how = f"exit status {runner.status}" if runner and runner.status is not None else "the process ended"
        self._flag("crash", f"the process of the student's code ended: {how}")
        return StudentCrash("it ended early")

    def stop(self) -> None:
        """End the process, if there is one."""
        runner, self.runner = self.runner, None
        if runner is not None:
            runner.end()
            self.cpu += runner.cpu

    def _flag(self, name: str, message: str) -> None:
        if len(self.flags) < 20 and not any(f.name == name and f.message == message for f in self.flags):
            self.flags.append(Flag(name, message))


def lines_of(cells: list[tuple[str, str]]) -> dict[str, int]:
    """How many lines each cell has: an error cannot stand below the last one."""
    return {name: len(source.splitlines()) for name, source in cells}


def _decoded(message: bytes) -> Any:
    try:
        return wire.decode(message)
    except wire.WireError as error:
        raise BadReply(str(error)) from None


def _name_of(request: bytes) -> str:
    """Which function a request is about (we wrote it ourselves)."""
    found = wire.peek(request)
    return f"{found.get('do')} {found.get('on')} {found.get('name')}"


def _is_callback(answer: bytes) -> bool:
    try:
        return "callback" in wire.peek(answer)
    except wire.WireError as error:
        raise frames.FrameError(str(error)) from None


def _progress(asked: bytes, cells: list[tuple[str, str]], at: list[str]) -> bytes:
    index = wire.peek(asked).get("callback")
    if type(index) is int and 0 <= index < len(cells):
        at[0] = cells[index][0]
    return wire.encode({"value": None}, inbound=True)
