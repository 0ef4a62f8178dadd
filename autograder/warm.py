"""The judge's side of the warm process: start it, get a fenced-in process for a submission, end it.

Everything here is safe to call from several threads.
"""

from __future__ import annotations

import contextlib
import json
import os
import select
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from autograder import sandbox_cgroups
from autograder.frames import Pipe

START_SECONDS = 120
ANSWER_SECONDS = 30


class Retry(BaseException):
    """No verdict, by no fault of the student's: no memory, a fork that failed. Try again later."""

    not_the_students_fault = True


@dataclass(frozen=True)
class Limits:
    """What one submission may use. Seconds are wall time unless they say cpu."""

    cells: float = 40.0  # running all its cells
    call: float = 20.0  # one call of a function
    total: float = 150.0  # everything together
    cpu: int = 150
    memory: int = 2 << 30
    file_bytes: int = 16 << 20
    restarts: int = 6  # fresh processes after a crash or a time-out


class Control:
    """A socket to one of the warm processes: one question at a time."""

    def __init__(self, ours: socket.socket) -> None:
        self.socket, self.lock = ours, threading.Lock()

    def ask(self, message: dict[str, Any], hand: list[int]) -> tuple[dict[str, Any], list[int]]:
        """Send a message with file descriptors; the answer may come with some."""
        try:
            with self.lock:
                socket.send_fds(self.socket, [json.dumps(message).encode()], hand)
                data, received, _, _ = socket.recv_fds(self.socket, 65536, 4)
        except OSError as error:
            raise Retry(f"the warm process does not answer: {error}") from None
        answer: dict[str, Any] = json.loads(data or b'{"error": "the warm process ended"}')
        if "error" in answer:
            raise Retry(f"the warm process failed: {answer['error']}")
        return answer, received


class Runner:
    """One submission's process, seen from the judge."""

    def __init__(self, keeper: Keeper, pid: int, handle: int, pipe: Pipe) -> None:
        self.keeper, self.pid, self.handle, self.pipe = keeper, pid, handle, pipe
        self.group = sandbox_cgroups.Group(keeper.cgroups, keeper.limits.memory)
        process = sandbox_cgroups.process_of(handle) if keeper.cgroups else None
        if process is not None:
            self.group.add(process)
        self.cpu = 0.0
        self.status: int | None = None

    def end(self) -> None:
        """Kill it with everything in its pid namespace, wait for its end, and note the CPU time it used."""
        if self.status is not None:
            return
        with contextlib.suppress(ProcessLookupError):
            signal.pidfd_send_signal(self.handle, signal.SIGKILL)
        self.pipe.close()
        self._ended(ANSWER_SECONDS)
        if self.keeper.level == "none":  # no namespace whose end takes its children along
            with contextlib.suppress(ProcessLookupError, PermissionError):
                os.killpg(self.pid, signal.SIGKILL)
        os.close(self.handle)
        self.status = -signal.SIGKILL
        answer, _ = self.keeper.control.ask({"reap": self.pid}, [])
        self.status, self.cpu = answer["status"], answer["cpu"]
        self.group.end()

    def alive(self) -> bool:
        """Whether it still runs."""
        return self.status is None and not self._ended(0)

    def _ended(self, seconds: float) -> bool:
        poll = select.poll()  # select refuses descriptors above 1023
        poll.register(self.handle, select.POLLIN)
        return bool(poll.poll(seconds * 1000))


class Keeper:
    """The warm process of one chapter."""

    def __init__(
        self, control: Control, home: Path, limits: Limits, level: str, cgroups: list[sandbox_cgroups.Place]
    ) -> None:
        self.control, self.home, self.limits, self.level = control, home, limits, level
        self.cgroups = cgroups

    def runner(self) -> Runner:
        """A fresh process, fenced in."""
        their_reading, our_writing = os.pipe()
        our_reading, their_writing = os.pipe()
        wanted = {"cpu": self.limits.cpu, "memory": self.limits.memory, "file_bytes": self.limits.file_bytes}
        try:
            answer, handed = self.control.ask(wanted, [their_reading, their_writing])
        except BaseException:
            os.close(our_reading)
            os.close(our_writing)
            raise
        finally:
            os.close(their_reading)
            os.close(their_writing)
        return Runner(self, answer["pid"], handed[0], Pipe(our_reading, our_writing))

    def end(self) -> None:
        """End it and all its runners."""
        self.control.socket.close()
        shutil.rmtree(self.home, ignore_errors=True)


def _start() -> tuple[subprocess.Popen[bytes], socket.socket]:
    """The base process, importing what it needs, and our end of the socket to it."""
    ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    environment = {
        "PATH": "/usr/bin:/bin", "HOME": "/tmp", "LANG": "C.UTF-8", "OMP_NUM_THREADS": "1",
        "MKL_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1", "PYTHONHASHSEED": "0",
    }  # fmt: skip
    root = Path(__file__).resolve().parents[1]
    run = f"from autograder.zygote import main; main({theirs.fileno()})"
    code = f"import sys; sys.path.insert(0, {str(root)!r}); {run}"
    process = subprocess.Popen(
        [sys.executable, "-I", "-B", "-c", code], pass_fds=[theirs.fileno()], env=environment, cwd="/",
        stdin=subprocess.DEVNULL, start_new_session=True,
    )  # fmt: skip
    theirs.close()
    return process, ours


_early: list[tuple[subprocess.Popen[bytes], socket.socket]] = []


def start_early() -> None:
    """Start a base process for the next `Warm`: it imports torch while the caller still imports what it needs."""
    _early.append(_start())


def forget_early() -> None:
    """End the processes that were started early and that nobody took."""
    while _early:
        process, ours = _early.pop()
        process.kill()
        process.wait()
        ours.close()


class Warm:
    """The base process; a context manager."""

    def __init__(self) -> None:
        self.process, ours = _early.pop() if _early else _start()
        ours.settimeout(START_SECONDS)
        self.control = Control(ours)
        try:
            if not ours.recv(100):
                raise Retry("the warm process did not start; its message is above")
        except TimeoutError:
            self.close()
            raise Retry(f"the warm process did not start in {START_SECONDS} s") from None
        self.keepers: list[Keeper] = []
        self.cgroups = sandbox_cgroups.here()
        sandbox_cgroups.sweep(self.cgroups)

    def keeper(self, level: str, files: dict[str, bytes], modules: list[str], limits: Limits) -> Keeper:
        """The warm process of a chapter, with these files as its course package."""
        home = Path(tempfile.mkdtemp(prefix="course-judge-"))
        home.chmod(0o755)
        for name, content in files.items():
            path = home / "package" / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(content)
        for part in ("package", "root"):
            (home / part).mkdir(exist_ok=True)
        ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        message = {
            "level": level, "root": str(home / "root"), "package": str(home / "package"), "modules": modules
        }  # fmt: skip
        try:
            self.control.ask(message, [theirs.fileno()])
        except BaseException:
            ours.close()
            shutil.rmtree(home, ignore_errors=True)
            raise
        finally:
            theirs.close()
        ours.settimeout(START_SECONDS)
        keeper = Keeper(Control(ours), home, limits, level, self.cgroups)
        self.keepers.append(keeper)
        return keeper

    def close(self) -> None:
        """End everything."""
        for keeper in getattr(self, "keepers", []):
            keeper.end()
        self.control.socket.close()
        try:
            self.process.wait(timeout=5)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()


def deadline(seconds: float) -> float:
    """The moment that many seconds from now."""
    return time.monotonic() + seconds
