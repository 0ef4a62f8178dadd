"""Attacks that the judge runs inside its own sandbox before it trusts it: each must fail."""

from __future__ import annotations

import contextlib
import os
import socket
import tempfile
from pathlib import Path

from autograder.faults import StudentFault
from autograder.report import Isolation
from autograder.session import Session
from autograder.warm import Keeper, Limits, Retry, Warm

CANARY = "canary of the judge"
# Each attack sets `got` when it reaches what it must not reach; raising is how it fails.
ATTACKS = {
    "network": "import socket; socket.create_connection(('127.0.0.1', PORT), timeout=2); got = True",
    "files": "got = CANARY in open(SECRET).read()",
    "class directory": "import os; got = 'secret.txt' in os.listdir(os.path.dirname(SECRET))",
    "hidden tests": "import autograder.hidden; got = True",
    "hidden tests' files": "open(HIDDEN).read(); got = True",
    "answers": "import coursebuild; got = True",
    "writing": "open(SECRET + '.mine', 'w').write('x'); got = True",
    "writing packages": "import os, torch; p = torch.__file__ + '.mine'; open(p, 'w'); got = True; os.remove(p)",
    "processes": "import os\nif os.fork() == 0: os._exit(0)\ngot = True",
    "programs": "import os; os.posix_spawn('/bin/true', ['true'], {}); got = True",
    "limits of others": (
        "import ctypes; b = (ctypes.c_long * 2)(); got = ctypes.CDLL(None).prlimit(JUDGE, 7, None, b) == 0"
    ),
    "owners and modes": "import os; os.chmod(SECRET, 0o600); got = True",
    "shared memory": "import ctypes; got = ctypes.CDLL(None).shmget(0, 4096, 0o1600) >= 0",
    "signals": "import os; os.kill(JUDGE, 0); got = True",
    "memory of others": "open(f'/proc/{JUDGE}/mem', 'rb').read(1); got = True",
    "debugging": (
        "import ctypes, os; got = ctypes.CDLL(None).process_vm_readv(os.getpid(), None, 0, None, 0, 0) == 0"
    ),
    "namespaces": "import ctypes; got = ctypes.CDLL(None).unshare(0x10000000) == 0",
    "environment": "import os; got = 'COURSE_CANARY' in os.environ",
    "descriptors": "import os\nfor n in range(3, 100):\n    try: os.fstat(n); got = True\n    except OSError: pass",
    "memory": "x = bytearray(MEMORY); got = True",
    "disk": "open('big', 'wb').write(bytes(DISK)); got = True",
}
_RUN = """
got = False
try:
    exec(ATTACK)
except BaseException as error:
    pass
print('reached' if got else 'held')
"""


def probe(keeper: Keeper, level: str) -> Isolation:
    """What each attack finds in a process of this keeper; True where it was held off."""
    limits = Limits(cells=30, restarts=len(ATTACKS))
    with tempfile.TemporaryDirectory() as directory, socket.create_server(("127.0.0.1", 0)) as server:
        secret = Path(directory) / "secret.txt"
        secret.write_text(CANARY)
        facts = {
            "PORT": server.getsockname()[1], "SECRET": str(secret), "CANARY": CANARY, "JUDGE": os.getpid(),
            "HIDDEN": str(Path(__file__).parent / "hidden" / "__init__.py"),
            "MEMORY": limits.memory + (1 << 30), "DISK": 4 * limits.file_bytes,
        }  # fmt: skip
        start = "".join(f"{name} = {value!r}\n" for name, value in facts.items())
        cells = [(name, f"{start}ATTACK = {attack!r}\n{_RUN}") for name, attack in ATTACKS.items()]
        session = Session(keeper, cells, [], limits)
        try:
            session.start()
        finally:
            session.stop()
    found = {name: _held(session, name) for name in ATTACKS}
    if keeper.cgroups:
        found["control groups"] = True
    return Isolation(level, found)  # type: ignore[arg-type]


def _held(session: Session, name: str) -> bool:
    output = session.outputs.get(name)
    return name in session.skipped or (output is not None and "held" in output.text)


def choose(warm: Warm, asked: str | None) -> Isolation:
    """The best level that holds, or the one asked for; Unavailable when it does not hold."""
    tried = []
    for level in [asked] if asked else ["full", "landlock"]:
        with contextlib.suppress(Retry):
            keeper = warm.keeper(level, {"attention_from_scratch/__init__.py": b""}, [], Limits())
            try:
                found = probe(keeper, level)
            except StudentFault as fault:
                tried.append(f"{level}: Python does not start behind the fence ({fault})")
                continue
            finally:
                keeper.end()
            failed = [name for name, held in found.probes.items() if not held]
            if not failed or level == "none":
                return found
            tried.append(f"{level}: {', '.join(failed)} not held off")
            continue
        tried.append(f"{level}: could not be set up")
    raise Unavailable(
        f"this machine cannot fence off student code ({'; '.join(tried)}). Grade on Linux with user namespaces or "
        "Landlock, or, for code that you trust, ask for `--isolation none` by hand"
    )


class Unavailable(Exception):
    """The level of isolation that is needed cannot be had here."""
