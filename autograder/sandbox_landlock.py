"""Landlock: which files a process may read or write, without any privilege; no network, no signals outside."""

from __future__ import annotations

import contextlib
import ctypes
import os
import struct
from collections.abc import Iterable

from autograder import sandbox_linux as linux

CREATE, ADD, RESTRICT = 444, 445, 446
READ = 0b1101  # execute (map a library), read a file, list a directory
ON_FILES = 0b1100000000000111  # execute, write, read, truncate, ioctl: the rest is about directories
BY_VERSION = {1: 13, 2: 14, 3: 15, 4: 15, 5: 16}  # how many rights on files each version knows


def version() -> int:
    """The kernel's version of Landlock, 0 where there is none."""
    try:
        return linux.syscall(CREATE, None, ctypes.c_size_t(0), ctypes.c_uint32(1))
    except OSError:
        return 0


def restrict(readable: Iterable[str], writable: Iterable[str] = ()) -> None:
    """Only these paths from now on, for this process and its children; needs `no_new_privileges` before."""
    known = version()
    every = (1 << BY_VERSION.get(known, 16)) - 1
    attributes = struct.pack("<QQQ", every, 3 if known >= 4 else 0, 3 if known >= 6 else 0)
    attributes = attributes[: 24 if known >= 6 else 16 if known >= 4 else 8]
    ruleset = linux.syscall(CREATE, attributes, ctypes.c_size_t(len(attributes)), ctypes.c_uint32(0))
    try:
        for path in readable:
            _allow(ruleset, path, READ)
        for path in writable:
            _allow(ruleset, path, every & ~1)
        linux.syscall(RESTRICT, ctypes.c_int(ruleset), ctypes.c_uint32(0))
    finally:
        os.close(ruleset)


def _allow(ruleset: int, path: str, rights: int) -> None:
    with contextlib.suppress(FileNotFoundError):
        descriptor = os.open(path, os.O_PATH | os.O_CLOEXEC)
        try:
            if not os.path.isdir(path):
                rights &= ON_FILES
            rule = struct.pack("<Qi", rights, descriptor)
            linux.syscall(ADD, ctypes.c_int(ruleset), ctypes.c_int(1), rule, ctypes.c_uint32(0))
        finally:
            os.close(descriptor)
