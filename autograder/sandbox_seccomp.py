"""A seccomp filter for student code: no processes, no network, no debugging, no administration.

A list of what is refused, not of what is allowed: torch, NumPy and their allocators may use what they like. Refused
calls fail with "not permitted", so that code which tries gets an exception and goes on.
"""

from __future__ import annotations

import ctypes
import os
import struct

from autograder import sandbox_linux as linux

# name: (x86_64, aarch64); None where the machine does not have it
REFUSED: dict[str, tuple[int | None, int | None]] = {
    "fork": (57, None), "vfork": (58, None), "execve": (59, 221), "execveat": (322, 281),
    "socket": (41, 198), "bind": (49, 200), "connect": (42, 203), "listen": (50, 201), "accept": (43, 202),
    "accept4": (288, 242), "sendto": (44, 206), "sendmsg": (46, 211), "sendmmsg": (307, 269),
    "ptrace": (101, 117), "process_vm_readv": (310, 270), "process_vm_writev": (311, 271), "kcmp": (312, 272),
    "pidfd_open": (434, 434), "pidfd_getfd": (438, 438), "pidfd_send_signal": (424, 424), "tkill": (200, 130),
    "rt_sigqueueinfo": (129, 138), "rt_tgsigqueueinfo": (297, 240),
    "unshare": (272, 97), "setns": (308, 268), "chroot": (161, 51), "pivot_root": (155, 41), "mount": (165, 40),
    "umount2": (166, 39), "open_tree": (428, 428), "move_mount": (429, 429), "fsopen": (430, 430),
    "fsconfig": (431, 431), "fsmount": (432, 432), "fspick": (433, 433), "mount_setattr": (442, 442),
    "name_to_handle_at": (303, 264), "open_by_handle_at": (304, 265), "fanotify_init": (300, 262),
    "keyctl": (250, 219), "add_key": (248, 217), "request_key": (249, 218), "bpf": (321, 280),
    "perf_event_open": (298, 241), "userfaultfd": (323, 282), "io_uring_setup": (425, 425),
    "io_uring_enter": (426, 426), "io_uring_register": (427, 427), "memfd_create": (319, 279),
    "memfd_secret": (447, 447), "shmget": (29, 194), "shmat": (30, 196), "shmctl": (31, 195),
    "msgget": (68, 186), "msgsnd": (69, 189),
    "msgrcv": (70, 188), "msgctl": (71, 187), "semget": (64, 190), "semop": (65, 193), "semtimedop": (220, 192),
    "semctl": (66, 191), "sync": (162, 81), "syncfs": (306, 267),
    "mq_open": (240, 180), "init_module": (175, 105), "finit_module": (313, 273), "delete_module": (176, 106),
    "kexec_load": (246, 104), "reboot": (169, 142), "swapon": (167, 224), "swapoff": (168, 225),
    "settimeofday": (164, 170), "clock_settime": (227, 112), "adjtimex": (159, 171), "acct": (163, 89),
    "sethostname": (170, 161), "setdomainname": (171, 162), "quotactl": (179, 60), "syslog": (103, 116),
    "personality": (135, 92), "iopl": (172, None), "ioperm": (173, None), "modify_ldt": (154, None),
    "nfsservctl": (180, 42), "lookup_dcookie": (212, 18), "vhangup": (153, 58), "landlock_create_ruleset": (444, 444),
    # Landlock says nothing about a file's owner, mode, times and attributes
    "chmod": (90, None), "fchmod": (91, 52), "fchmodat": (268, 53), "fchmodat2": (452, 452), "chown": (92, None),
    "fchown": (93, 55), "lchown": (94, None), "fchownat": (260, 54), "utime": (132, None), "utimes": (235, None),
    "futimesat": (261, None), "utimensat": (280, 88), "setxattr": (188, 5), "lsetxattr": (189, 6),
    "fsetxattr": (190, 7), "removexattr": (197, 14), "lremovexattr": (198, 15), "fremovexattr": (199, 16),
    "setxattrat": (463, 463), "removexattrat": (466, 466), "inotify_add_watch": (254, 27),
    # nothing about other processes of the same user, whose priority and memory these calls reach
    "setpriority": (141, 140), "ioprio_set": (251, 30), "sched_setscheduler": (144, 119), "sched_setparam": (142, 118),
    "sched_setattr": (314, 274), "migrate_pages": (256, 238), "move_pages": (279, 239), "process_madvise": (440, 440),
    "process_mrelease": (448, 448), "setpgid": (109, 154),
}  # fmt: skip
CLONE, CLONE3, KILL, TGKILL = (56, 220), (435, 435), (62, 129), (234, 131)
PRLIMIT, SET_AFFINITY = (302, 261), (203, 122)
NEWEST = 462  # a call that was added to Linux later is not known here, and is refused
AUDIT = {"x86_64": 0xC000003E, "aarch64": 0xC00000B7}
LOAD, EQUAL, AT_LEAST, ANY_BIT, RETURN = 0x20, 0x15, 0x35, 0x45, 0x06
ALLOW, KILL_PROCESS, NOT_PERMITTED, NO_SUCH_CALL = 0x7FFF0000, 0x80000000, 0x50001, 0x50026
NUMBER_AT, ARCH_AT, FIRST_ARGUMENT_AT = 0, 4, 16
CLONE_THREAD = 0x10000


INSTRUCTION = struct.Struct("=HBBI")  # code, jump if true, jump if false, number


class _Program(ctypes.Structure):
    _fields_ = (("length", ctypes.c_uint16), ("instructions", ctypes.c_void_p))


def program(process: int) -> list[tuple[int, int, int, int]]:
    """The filter for the process with this id (as it sees itself)."""
    machine = os.uname().machine
    column = 0 if machine == "x86_64" else 1
    made = [(LOAD, 0, 0, ARCH_AT), (EQUAL, 1, 0, AUDIT[machine]), (RETURN, 0, 0, KILL_PROCESS)]
    made.append((LOAD, 0, 0, NUMBER_AT))
    if machine == "x86_64":  # the x32 numbers are other names for the same calls
        made += [(AT_LEAST, 0, 1, 0x40000000), (RETURN, 0, 0, NOT_PERMITTED)]
    for numbers in REFUSED.values():
        number = numbers[column]
        if number is not None:
            made += [(EQUAL, 0, 1, number), (RETURN, 0, 0, NOT_PERMITTED)]
    made += [(EQUAL, 0, 1, CLONE3[column]), (RETURN, 0, 0, NO_SUCH_CALL)]
    made += [(AT_LEAST, 0, 1, NEWEST + 1), (RETURN, 0, 0, NO_SUCH_CALL)]
    # threads, but no processes
    made += [(EQUAL, 0, 4, CLONE[column]), (LOAD, 0, 0, FIRST_ARGUMENT_AT), (ANY_BIT, 0, 1, CLONE_THREAD)]
    made += [(RETURN, 0, 0, ALLOW), (RETURN, 0, 0, NOT_PERMITTED)]
    # signals and limits for nobody but itself
    for number in (KILL[column], TGKILL[column]):
        made += _only_for(number, process)
    for number in (PRLIMIT[column], SET_AFFINITY[column]):
        made += _only_for(number, 0, process)
    return [*made, (RETURN, 0, 0, ALLOW)]


def _only_for(number: int, *processes: int) -> list[tuple[int, int, int, int]]:
    """The call with this number is allowed when its first argument is one of these, and refused otherwise."""
    tests = [(EQUAL, 0, 1, process & 0xFFFFFFFF) for process in processes]
    inner = [(LOAD, 0, 0, FIRST_ARGUMENT_AT)]
    for test in tests:
        inner += [test, (RETURN, 0, 0, ALLOW)]
    inner.append((RETURN, 0, 0, NOT_PERMITTED))
    return [(EQUAL, 0, len(inner), number), *inner]


def apply() -> None:
    """Filter this process from now on; needs `no_new_privileges` before."""
    made = program(os.getpid())
    instructions = ctypes.create_string_buffer(b"".join(INSTRUCTION.pack(*one) for one in made))
    linux.seccomp_filter(_Program(len(made), ctypes.addressof(instructions)))


def available() -> bool:
    """Whether this machine's system calls are known here."""
    return os.uname().machine in AUDIT
