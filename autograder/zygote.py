"""The warm process: it has imported torch once, and forks what is needed from then on.

Three generations, each started by a message on a Unix socket that also hands over file descriptors:

base       imported torch and this package's untrusted half; it never sees a test, an answer or a seed
keeper     one a chapter: enters its namespaces and the private root with the earlier chapters' modules, imports those
runner     one a submission, process 1 of a pid namespace of its own: drops every right and runs the student's code

`python -I -m autograder.zygote FD` is the base.
"""

from __future__ import annotations

import contextlib
import gc
import json
import os
import signal
import socket
import sys
from collections.abc import Callable
from typing import Any

import einops
import einops.layers.torch  # noqa: F401
import jaxtyping  # noqa: F401

from autograder import sandbox_linux, sandbox_root
from autograder.keeper import STRANGER, Answer, Keeper
from autograder.watch import torch_is_ready

MESSAGE_BYTES = 1 << 20
KEEPER_FLAGS = (
    sandbox_linux.NEWUSER | sandbox_linux.NEWNS | sandbox_linux.NEWNET
    | sandbox_linux.NEWIPC | sandbox_linux.NEWUTS | sandbox_linux.NEWPID
)  # fmt: skip


def listen(control: socket.socket, answer: Callable[[dict[str, Any], list[int]], Answer]) -> None:
    """Answer messages until the other side is gone. A failure is an answer too."""
    while True:
        data, received, _, _ = socket.recv_fds(control, MESSAGE_BYTES, 8)
        if not data:
            return
        try:
            reply, handed = answer(json.loads(data), received)
        except Exception as error:
            reply, handed = {"error": f"{type(error).__name__}: {error}"}, []
        socket.send_fds(control, [json.dumps(reply).encode()], handed)
        for descriptor in {*received, *handed}:
            os.close(descriptor)


class Base:
    """Forks keepers."""

    def answer(self, message: dict[str, Any], received: list[int]) -> Answer:
        """Start a keeper on the socket that came with the message."""
        mapping = sandbox_linux.mapped_bytes()
        ready_in, ready_out = os.pipe()
        go_in, go_out = os.pipe()
        pid = os.fork()
        if pid == 0:
            code = 1
            with contextlib.suppress(BaseException):
                _only(received[0], ready_out, go_in)
                _start_keeper(message, received[0], ready_out, go_in, mapping)
                code = 0
            os._exit(code)
        os.close(ready_out)
        os.close(go_in)
        try:
            asked = os.read(ready_in, 1)
            if asked == b"m":
                _write_map(pid, STRANGER)
                os.write(go_out, b"g")
                asked = os.read(ready_in, 1)
            trouble = b"" if asked == b"r" else os.read(ready_in, 4000)
            if asked != b"r":
                os.waitpid(pid, 0)
                return {"error": trouble.decode("utf-8", "replace") or "it ended at once"}, []
            return {"pid": pid}, []
        finally:
            os.close(ready_in)
            os.close(go_out)


def _only(*kept: int) -> None:
    """Close every descriptor but these and the standard ones."""
    last = 2
    for descriptor in sorted(kept):
        os.closerange(last + 1, descriptor)
        last = descriptor
    os.closerange(last + 1, 4096)


def _write_map(pid: int, uid: int) -> None:
    for name in ("gid_map", "uid_map"):
        with open(f"/proc/{pid}/{name}", "w") as file:
            file.write(f"0 {uid} 1")


def _start_keeper(message: dict[str, Any], control: int, ready: int, go: int, mapping: int) -> None:
    signal.signal(signal.SIGCHLD, signal.SIG_DFL)
    try:
        namespace = None
        if message["level"] == "full":
            proc = os.open("/proc", os.O_PATH)
            _enter(message, ready, go)
            child = os.fork()  # the keeper itself is process 1 of a pid namespace: its end is the end of all
            if child:
                _only()
                os.waitpid(child, 0)
                os._exit(0)
            namespace = os.open("self/ns/pid", os.O_RDONLY | os.O_CLOEXEC, dir_fd=proc)
            os.close(proc)
        keeper = Keeper(message, namespace, mapping)
    except BaseException as error:
        os.write(ready, b"e" + f"{type(error).__name__}: {error}".encode()[:3000])
        os._exit(1)
    os.close(go)
    os.write(ready, b"r")
    os.close(ready)
    listen(socket.socket(fileno=control), keeper.answer)


def _enter(message: dict[str, Any], ready: int, go: int) -> None:
    """Into the namespaces and the private root, as root or as anybody."""
    if os.geteuid() == 0:
        sandbox_linux.unshare(sandbox_linux.NEWNS)
        sandbox_root.build(message["root"], message["package"])
        sandbox_linux.unshare(KEEPER_FLAGS)
        os.write(ready, b"m")
        os.read(go, 1)
        os.setgroups([])
        os.setresgid(0, 0, 0)
        os.setresuid(0, 0, 0)
    else:
        uid, gid = os.geteuid(), os.getegid()
        sandbox_linux.unshare(KEEPER_FLAGS)
        for name, text in (("setgroups", "deny"), ("gid_map", f"0 {gid} 1"), ("uid_map", f"0 {uid} 1")):
            with open(f"/proc/self/{name}", "w") as file:
                file.write(text)
        sandbox_root.build(message["root"], message["package"])


def main(descriptor: int) -> None:
    """The base: listens on the socket that it was given."""
    torch_is_ready()
    gc.collect()
    gc.freeze()
    signal.signal(signal.SIGCHLD, signal.SIG_IGN)
    control = socket.socket(fileno=descriptor)
    control.send(b"{}")
    listen(control, Base().answer)


if __name__ == "__main__":
    main(int(sys.argv[1]))
