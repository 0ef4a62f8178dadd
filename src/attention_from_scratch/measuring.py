"""Rulers: how much memory a call needs at its worst moment, measured in two ways, and how fast this machine can go.

`peak_tensor_bytes` counts the tensors that PyTorch makes; `peak_process_bytes` asks the operating system, in a copy
of this process; `matmul_rate` and `copy_rate` measure the two ceilings of the roofline.
"""

from __future__ import annotations

import ctypes
import os
import pickle
import statistics
import sys
import threading
import time
import weakref
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

_STATUS = Path("/proc/self/status")
_MMAP_THRESHOLD = -3  # M_MMAP_THRESHOLD of <malloc.h>


class TensorMeter(TorchDispatchMode):
    """While it is on: the bytes of all tensors made since, when they are alive, and the most of them at once.

    It sees every operation that PyTorch dispatches, on any system. What an operation allocates and frees inside
    itself it does not see.
    """

    def __init__(self) -> None:
        super().__init__()
        self.alive: dict[int, int] = {}
        self.peak = 0
        self.largest = 0

    @classmethod
    def _should_skip_dynamo(cls) -> bool:
        """Nothing is compiled while the meter is on; saying so saves importing the compiler, which takes seconds."""
        return False

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        """Run one operation and count what it made."""
        known = {leaf.untyped_storage()._cdata for leaf in tree_leaves((args, kwargs)) if _is_plain(leaf)}
        result = func(*args, **(kwargs or {}))
        for leaf in tree_leaves(result):
            if _is_plain(leaf) and leaf.untyped_storage()._cdata not in known:
                self._count(leaf.untyped_storage())
        return result

    def _count(self, storage: torch.UntypedStorage) -> None:
        key = storage._cdata
        if key in self.alive or storage.nbytes() == 0:
            return
        self.alive[key] = storage.nbytes()
        weakref.finalize(storage, self.alive.pop, key, None)
        self.largest = max(self.largest, storage.nbytes())
        self.peak = max(self.peak, sum(self.alive.values()))


def peak_tensor_bytes(function: Callable[..., Any], *args: Any) -> int:
    """The most bytes of tensors, results included and arguments not, that a call holds at once."""
    with TensorMeter() as meter:
        function(*args)
    return meter.peak


def can_measure_process() -> bool:
    """Whether `peak_process_bytes` works here: it needs Linux."""
    return sys.platform == "linux" and _STATUS.is_file() and hasattr(os, "fork")


def peak_process_bytes(function: Callable[..., Any], args: tuple[Any, ...], small: tuple[Any, ...]) -> int:
    """By how many bytes the memory of a process grows at most during a call, as the operating system counts it.

    The call runs in a fork of this process, on one thread, so that nothing an earlier call left behind counts; its
    result is thrown away. Before it, `function(*small)`, a call with little data, brings in the code that the call
    will need. The number is the high-water mark of the resident memory (VmHWM of Linux) less what was resident
    before the call, so it includes what operations allocate inside themselves.

    Raises OSError where the system cannot say, RuntimeError when the call fails.
    """
    if not can_measure_process():
        raise OSError(
            "the peak memory of a process is read from /proc of Linux; use peak_tensor_bytes elsewhere"
        )
    _return_free_memory(from_now_on=False)  # the child's high-water mark starts at what this process holds
    reading, writing = os.pipe()
    child = os.fork()
    if child == 0:
        _report_growth(writing, function, args, small)
    os.close(writing)
    with os.fdopen(reading, "rb") as pipe:
        answer = pipe.read()
    os.waitpid(child, 0)
    growth = pickle.loads(answer) if answer else "the process ended without a word"
    if not isinstance(growth, int):
        raise RuntimeError(f"the call whose memory was to be measured failed: {growth}")
    return growth


def _report_growth(
    pipe: int, function: Callable[..., Any], args: tuple[Any, ...], small: tuple[Any, ...]
) -> None:
    """In the child: measure, send one number or a sentence, and end at once, with nothing of the parent's run."""
    answers: list[int | str] = ["the call ended its own thread"]
    try:
        torch.set_num_threads(1)  # the parent's threads are not in the child
        # A new thread has a heap of its own. In the old one a call would fill the holes that the parent left, and
        # the C library, which returns a hole to the system only at the end of the heap, would make it look larger.
        thread = threading.Thread(target=lambda: answers.append(_growth(function, args, small)))
        thread.start()
        thread.join()
    finally:
        os.write(pipe, pickle.dumps(answers[-1]))
        os._exit(0)


def _growth(function: Callable[..., Any], args: tuple[Any, ...], small: tuple[Any, ...]) -> int | str:
    try:
        _return_free_memory(from_now_on=True)
        function(*small)
        _return_free_memory(from_now_on=True)
        _start_high_water_mark_anew()
        before = _resident("VmRSS")
        result = function(*args)
        grown = max(0, _resident("VmHWM") - before)
        del result
        return grown
    except BaseException as problem:
        return f"{type(problem).__name__}: {problem}"


def _return_free_memory(from_now_on: bool) -> None:
    """Have the C library return what it keeps for later, which would hide or pretend a need; or every block at once."""
    try:
        library = ctypes.CDLL(None)
        if from_now_on:
            library.mallopt(_MMAP_THRESHOLD, 64 * 1024)
        library.malloc_trim(0)
    except (OSError, AttributeError):  # not the GNU C library
        return


def _start_high_water_mark_anew() -> None:
    try:
        Path("/proc/self/clear_refs").write_text("5")
    except (
        OSError
    ):  # a locked-down container: then the mark includes the small call before, which needs little
        return


def _resident(field: str) -> int:
    for line in _STATUS.read_text().splitlines():
        if line.startswith(field + ":"):
            return int(line.split()[1]) * 1024
    raise OSError(f"{_STATUS} has no line {field}")


def _is_plain(leaf: Any) -> bool:
    return isinstance(leaf, Tensor) and leaf.device.type != "meta" and leaf.layout == torch.strided


def seconds_of(call: Callable[[], Any], rounds: int) -> float:
    """The median of `rounds` timed calls, after one call to warm up."""
    call()
    times = []
    for _ in range(rounds):
        start = time.perf_counter()
        call()
        times.append(time.perf_counter() - start)
    return statistics.median(times)


def matmul_rate(size: int, rounds: int, dtype: torch.dtype) -> float:
    """Floating-point operations a second in a product of two random square matrices: the compute ceiling."""
    a, b = torch.randn(2, size, size).to(dtype)
    out = torch.empty(size, size, dtype=dtype)
    return 2 * size**3 / seconds_of(lambda: torch.matmul(a, b, out=out), rounds)


def copy_rate(size_bytes: int, rounds: int) -> float:
    """Bytes a second, read and written together, in a copy of an array far larger than the caches: the other one."""
    source = torch.ones(size_bytes // 4)
    target = torch.empty_like(source)
    return 2 * source.numel() * 4 / seconds_of(lambda: target.copy_(source), rounds)
