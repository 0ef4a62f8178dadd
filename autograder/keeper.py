"""The warm process of one chapter: it has imported the chapter's package, and forks a fenced-in runner when asked.

It was forked from the base and brought into its namespaces (`autograder.zygote`); it never runs a student's code.
"""

from __future__ import annotations

import contextlib
import gc
import importlib
import os
import signal
import sys
from typing import Any

from autograder import sandbox_landlock, sandbox_linux, sandbox_root, sandbox_seccomp
from autograder.runner import Runner

# An unprivileged uid of the host that nobody else uses, for a judge that runs as root.
STRANGER = 64321
Answer = tuple[dict[str, Any], list[int]]


class Keeper:
    """Forks runners for one chapter."""

    def __init__(self, message: dict[str, Any], namespace: int | None, mapping: int) -> None:
        self.level, self.namespace, self.mapping = message["level"], namespace, mapping
        self.stranger = self.level == "landlock" and os.geteuid() == 0 and sandbox_root.open_to_others()
        self.processes = 256 if self.level == "full" else None
        if self.level == "landlock":  # threads of the same user count together, whoever started them
            uid = STRANGER if self.stranger else os.geteuid()
            self.processes = sandbox_linux.threads_of(uid) + 512
        package = sandbox_root.COURSE if self.level == "full" else message["package"]
        sys.path = [package, *(p for p in sys.path if p and os.path.basename(p) not in ("src", "main"))]
        sys.path = [p for p in sys.path if not os.path.isfile(os.path.join(p, "autograder", "zygote.py"))]
        sys.meta_path = [
            finder for finder in sys.meta_path if "__editable__" not in getattr(finder, "__module__", "")
        ]
        for name in [n for n in sys.modules if n.startswith("__editable__")]:
            del sys.modules[name]
        if self.level == "landlock":
            self._fence(package)
        sys.modules["autograder"].__path__ = []  # what is imported is all that there is
        for name in message["modules"]:
            with contextlib.suppress(Exception):
                importlib.import_module(name)
        gc.collect()
        gc.freeze()

    def _fence(self, package: str) -> None:
        """Landlock for the keeper and everything it forks: no privilege is needed, nothing can be written."""
        paths = sandbox_root.readable()
        paths = sandbox_root.leaves(paths, sandbox_root.ours_inside(paths))
        sandbox_linux.no_new_privileges()
        devices = ["/dev/zero", "/dev/urandom", "/dev/random"]
        sandbox_landlock.restrict([*paths, package, *devices], ["/dev/null"])
        os.chdir(package)

    def answer(self, message: dict[str, Any], received: list[int]) -> Answer:
        """Start a runner on the pipes that came with the message, or say how one ended."""
        if "reap" in message:
            _, status, usage = os.wait4(message["reap"], 0)
            return {"status": os.waitstatus_to_exitcode(status), "cpu": usage.ru_utime + usage.ru_stime}, []
        pid = self._fork(message, received)
        handle = os.pidfd_open(pid)
        return {"pid": pid}, [handle]

    def _fork(self, message: dict[str, Any], received: list[int]) -> int:
        if self.level == "full":
            assert self.namespace is not None
            sandbox_linux.unshare(sandbox_linux.NEWPID)
        try:
            pid = os.fork()
        finally:
            if self.level == "full" and os.getpid() == 1 and self.namespace is not None:
                with contextlib.suppress(OSError):
                    sandbox_linux.setns(self.namespace, sandbox_linux.NEWPID)
        if pid == 0:
            code = 70
            try:
                self._become_runner(message, *received)
                code = 0
            finally:
                os._exit(code)
        return pid

    def _become_runner(self, message: dict[str, Any], reading: int, writing: int) -> None:
        """Drop every right, then run the student's code."""
        os.setsid()
        nothing = os.open("/dev/null", os.O_RDWR)
        for standard in (0, 1, 2):
            os.dup2(nothing, standard)
        reading, writing = os.dup2(reading, 100, False), os.dup2(writing, 101, False)
        os.closerange(3, 100)
        os.closerange(102, 4096)
        if self.level == "full":
            sandbox_linux.unshare(sandbox_linux.NEWNS | sandbox_linux.NEWIPC)
            sandbox_root.scratch()
        memory = self.mapping + message["memory"]
        files = 0 if self.level == "landlock" else message["file_bytes"]
        sandbox_linux.limit(
            cpu=message["cpu"], memory=memory, file_bytes=files, files=128, processes=self.processes
        )
        if self.stranger:
            os.setgroups([])
            os.setresgid(STRANGER, STRANGER, STRANGER)
            os.setresuid(STRANGER, STRANGER, STRANGER)
        if self.level == "full" or self.stranger or (self.level == "landlock" and os.geteuid() == 0):
            sandbox_linux.drop_privileges()
        if self.level == "full" and sandbox_landlock.version():
            sandbox_landlock.restrict(["/"], ["/tmp", "/dev/null"])
        if self.level != "none":
            sandbox_linux.no_new_privileges()
            sandbox_seccomp.apply()
        signal.signal(signal.SIGINT, signal.default_int_handler)
        Runner(reading, writing).serve()
