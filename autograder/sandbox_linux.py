"""The few Linux calls that the sandbox is made of, through ctypes: namespaces, mounts, capabilities, limits."""

from __future__ import annotations

import contextlib
import ctypes
import os
import resource
import struct

NEWNS, NEWUTS, NEWIPC, NEWUSER, NEWPID, NEWNET = (
    0x20000,
    0x4000000,
    0x8000000,
    0x10000000,
    0x20000000,
    0x40000000,
)
MS_RDONLY, MS_NOSUID, MS_NODEV, MS_REMOUNT, MS_BIND, MS_REC, MS_PRIVATE = 1, 2, 4, 32, 4096, 16384, 1 << 18
MNT_DETACH = 2
PR_SET_PDEATHSIG, PR_SET_DUMPABLE, PR_SET_SECCOMP, PR_CAPBSET_DROP = 1, 4, 22, 24
PR_SET_SECUREBITS, PR_SET_NO_NEW_PRIVS, PR_CAP_AMBIENT = 28, 38, 47
NO_ROOT_LOCKED = 0b1111  # a uid of 0 means nothing any more, for good
PIVOT_ROOT = {"x86_64": 155, "aarch64": 41}
CAPSET = {"x86_64": 126, "aarch64": 91}

_libc = ctypes.CDLL(None, use_errno=True)


def _check(result: int, what: str) -> int:
    if result < 0:
        number = ctypes.get_errno()
        raise OSError(number, f"{what}: {os.strerror(number)}")
    return result


def syscall(number: int, *arguments: object) -> int:
    """A raw system call; OSError when it fails."""
    _libc.syscall.restype = ctypes.c_long
    return _check(_libc.syscall(ctypes.c_long(number), *arguments), f"system call {number}")


def unshare(flags: int) -> None:
    """New namespaces for this process (a new pid namespace: for its next child)."""
    _check(_libc.unshare(flags), "unshare")


def setns(descriptor: int, kind: int) -> None:
    """Join a namespace."""
    _check(_libc.setns(descriptor, kind), "setns")


def mount(source: str, target: str, kind: str | None = None, flags: int = 0, data: str | None = None) -> None:
    """mount(2)."""
    encoded = [None if text is None else os.fsencode(text) for text in (source, target, kind, data)]
    _check(
        _libc.mount(encoded[0], encoded[1], encoded[2], ctypes.c_ulong(flags), encoded[3]), f"mount {target}"
    )


def detach(target: str) -> None:
    """Unmount a tree, now for us and when it is no longer used for the kernel."""
    _check(_libc.umount2(os.fsencode(target), MNT_DETACH), f"umount {target}")


def pivot_root(new: str, old: str) -> None:
    """Make `new` the root of this mount namespace and put the old one at `old`."""
    syscall(PIVOT_ROOT[os.uname().machine], os.fsencode(new), os.fsencode(old))


def prctl(option: int, *arguments: int) -> None:
    """prctl(2)."""
    padded = [ctypes.c_ulong(argument) for argument in (*arguments, 0, 0, 0, 0)[:4]]
    _check(_libc.prctl(option, *padded), f"prctl {option}")


def seccomp_filter(program: ctypes.Structure) -> None:
    """Give this process a seccomp filter, for good."""
    _check(_libc.prctl(PR_SET_SECCOMP, ctypes.c_ulong(2), ctypes.byref(program), 0, 0), "seccomp")


def drop_privileges() -> None:
    """No capability now or later, whatever is executed."""
    for capability in range(64):
        try:
            prctl(PR_CAPBSET_DROP, capability)
        except OSError:
            break
    with contextlib.suppress(OSError):
        prctl(PR_SET_SECUREBITS, NO_ROOT_LOCKED)
    header, data = struct.pack("<Ii", 0x20080522, 0), bytes(24)
    syscall(CAPSET[os.uname().machine], header, data)
    no_new_privileges()


def no_new_privileges() -> None:
    """Nothing that is executed gives more rights."""
    prctl(PR_SET_NO_NEW_PRIVS, 1)


def limit(*, cpu: int, memory: int | None, file_bytes: int, files: int, processes: int | None) -> None:
    """The limits of this process; `memory` is on top of what it has mapped already."""
    pairs = [
        (resource.RLIMIT_CPU, cpu), (resource.RLIMIT_AS, memory), (resource.RLIMIT_FSIZE, file_bytes),
        (resource.RLIMIT_NOFILE, files), (resource.RLIMIT_NPROC, processes), (resource.RLIMIT_CORE, 0),
        (resource.RLIMIT_MEMLOCK, 0),
    ]  # fmt: skip
    for kind, value in pairs:
        if value is not None:
            hard = resource.getrlimit(kind)[1]
            wanted = value if hard == resource.RLIM_INFINITY else min(value, hard)
            resource.setrlimit(kind, (wanted, wanted))


def mapped_bytes() -> int:
    """The address space that this process uses."""
    with open("/proc/self/statm") as file:
        return int(file.read().split()[0]) * os.sysconf("SC_PAGE_SIZE")


def threads_of(uid: int) -> int:
    """How many threads the processes of a user have."""
    count = 0
    for process in os.listdir("/proc"):
        if process.isdigit():
            with contextlib.suppress(OSError):
                if os.stat(f"/proc/{process}").st_uid == uid:
                    count += len(os.listdir(f"/proc/{process}/task"))
    return count
