"""Rows of the attack table whose attack is code in a cell: each gets its honest value, at each level."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from attack_tools import (
    FULL,
    LIMITS,
    RETURNS,
    WITHOUT,
    WRONG,
    code_cell,
    edited,
    expect,
    printed,
    told,
    with_code,
)
from rows import row

from autograder.judge import Judge

pytestmark = pytest.mark.attack

IPYTHON = "from IPython import get_ipython\nshell = get_ipython()\n"
# In pieces so that no machine is harmed where there is no fence: each says REACHED when it went too far.
FORKS = """
import os
made = 0
for _ in range(20):
    try:
        if os.fork() == 0: os._exit(0)
        made += 1
    except OSError: pass
if made: print('REACHED')
"""
MEMORY = """
kept = []
try:
    while len(kept) < 64: kept.append(bytearray(1 << 26))
    print('REACHED')
except MemoryError: kept = []
"""
DISK = """
import os
made, wrote = [], 0
for place in ('.', '/tmp', '/dev/shm', '/var/tmp'):
    for n in range(40):
        name = f'{place}/attack-{n}'
        try:
            with open(name, 'wb') as f: f.write(bytes(1 << 20))
            made.append(name)
            wrote += 1
        except OSError: pass
for name in set(made): os.remove(name)
if wrote > 40: print('REACHED')
"""
THREADS = """
import threading, time
threading.stack_size(65536)
started = 0
try:
    for _ in range(1500):
        threading.Thread(target=time.sleep, args=(3,), daemon=True).start()
        started += 1
    print('REACHED')
except RuntimeError: pass
"""

UNCHECKED = "import autograder.wire as wire\nwire.MAX_KEYS = 10**9\nwire._is_long = lambda key: False\n"

# case: row, code, flags. The honest value of each is that of the other exercises.
CASES: dict[str, tuple[str, str, tuple[str, ...]]] = {
    "patch_allclose": (
        "patch_allclose",
        "import numpy as np, torch\nnp.allclose = np.array_equal = torch.equal = torch.allclose = lambda *a, **k: True\n"
        "torch.testing.assert_close = np.testing.assert_allclose = lambda *a, **k: None\n"
        "torch.Tensor.__le__ = torch.Tensor.__eq__ = lambda *a: True" + WRONG,
        ("suspicious",),
    ),
    "eq_always_true": (
        "eq_always_true",
        "class Yes:\n    shape = ()\n    def __eq__(self, other): return True\n    def __le__(self, other): return True\n"
        "    def __getattr__(self, name): return self\n    def __call__(self, *a, **k): return self\n"
        "    def __float__(self): return 0.0\n    def __len__(self): return 3\n    def __iter__(self): return iter([self] * 3)\n"
        "    def __getitem__(self, i): return self\n" + RETURNS.format("Yes()"),
        (),
    ),
    "input_transformer": ("input_transformer", IPYTHON + "shell.input_transformers_post.append(lambda lines: [])" + WRONG, ()),
    "ast_transformer": ("ast_transformer", IPYTHON + "shell.ast_transformers.append(None)" + WRONG, ()),
    "fake_run_cell": ("fake_run_cell", IPYTHON + "type(shell).run_cell = lambda *a, **k: None" + WRONG, ()),
    "fake_display": ("fake_display", "import sys\nsys.displayhook(12)\nprint(12)\nprint('12/12')" + WRONG, ("suspicious",)),
    "odd_partial": ("odd_partial", "-5\nfloat('nan')\n'text'" + WRONG + "\nfloat('nan')", ()),
    "too_much_partial": ("too_much_partial", WRONG + "\n1e9", ()),
    "clear_output": ("clear_output", "from IPython.display import clear_output\nclear_output()" + WRONG, ("suspicious",)),
    "silence_traceback": ("silence_traceback", "import sys\nsys.excepthook = lambda *a: None\nsys.tracebacklimit = 0" + WRONG, ()),
    "exit_sys": ("exit_calls", "import sys\nsys.exit(0)" + WRONG, ("exit_call",)),
    "exit_interrupt": ("exit_calls", "raise KeyboardInterrupt" + WRONG, ()),
    "exit_os": ("exit_calls", "import os\nos._exit(0)" + WRONG, ("crash", "stopped_cell")),
    "exit_sigkill": ("exit_calls", "import os, signal\nos.kill(os.getpid(), signal.SIGKILL)" + WRONG, ("suspicious",)),
    "exit_segfault": ("exit_calls", "import ctypes\nctypes.string_at(0)" + WRONG, ("crash", "suspicious")),
    "exit_sigstop": ("exit_calls", "import os, signal\nos.kill(os.getpid(), signal.SIGSTOP)" + WRONG, ("suspicious",)),
    "raised_limits": (
        "raised_limits",
        "import resource\nfor kind in (resource.RLIMIT_AS, resource.RLIMIT_FSIZE, resource.RLIMIT_NPROC):\n"
        "    try: resource.setrlimit(kind, (resource.RLIM_INFINITY, resource.RLIM_INFINITY))\n"
        "    except (OSError, ValueError): pass\n" + MEMORY + WRONG,
        (),
    ),
    "exit_in_call": ("exit_calls", "import os" + RETURNS.format("os._exit(0)"), ("crash",)),
    "exit_sys_in_call": ("exit_calls", "import sys" + RETURNS.format("sys.exit(0)"), ()),
    "infinite_loop": ("infinite_loop", "while True: pass" + WRONG, ("stopped_cell",)),
    "infinite_loop_in_call": ("infinite_loop", "\ndef attend(q, K, V):\n    while True: pass\n", ()),
    "ignore_sigint": (
        "ignore_sigint",
        "import signal, time\nfor n in range(1, 60):\n    try: signal.signal(n, signal.SIG_IGN)\n    except Exception: pass\n"
        "def attend(q, K, V):\n    while True:\n        try: time.sleep(1000)\n        except BaseException: pass\n",
        ("suspicious",),
    ),
    "fork_bomb": ("fork_bomb", FORKS + WRONG, ("suspicious",)),
    "background_process": ("background_process", "import subprocess\nsubprocess.Popen(['sleep', '5'], start_new_session=True)\nprint('REACHED')" + WRONG, ("suspicious",)),
    "memory_bomb": ("memory_bomb", MEMORY + WRONG, ()),
    "disk_bomb": ("disk_bomb", DISK + WRONG, ("suspicious",)),
    "thread_bomb": ("thread_bomb", THREADS + WRONG, ("suspicious",)),
    "network": (
        "network",
        "import socket\ns = socket.socket()\ns.bind(('127.0.0.1', 0))\ns.listen()\nprint('REACHED')" + WRONG,
        ("suspicious",),
    ),
    "pickle_payload": (
        "pickle_payload",
        "class P:\n    def __reduce__(self): return (print, ('pwned',))\n" + RETURNS.format("P()"), ()
    ),
    "import_reference": (
        "import_reference",
        "from attention_from_scratch.soft_lookup import attend", ()
    ),
    "import_hidden": ("import_reference", "from autograder.hidden import soft_lookup" + WRONG, ("suspicious",)),
    "hard_coded": (
        "hard_coded",
        "import numpy as np\ndef attend(q, K, V):\n"
        "    return np.array([11.5, 20.0])[: V.shape[1]] if len(K) == 4 else np.zeros(V.shape[1])\n",
        (),
    ),
    "lazy_tensor": (
        "lazy_tensor",
        "import torch\nclass Lazy(torch.Tensor):\n    @classmethod\n    def __torch_function__(cls, *a, **k): return True\n"
        + RETURNS.format("Lazy(V[0])"),
        (),
    ),
    "mutate_inputs": (
        "mutate_inputs",
        "def attend(q, K, V):\n    for x in (q, K, V): x[...] = 0\n    return V[0]\n", ()
    ),
    "huge_strides": ("huge_reply", "import torch" + RETURNS.format("torch.zeros(1).expand(10**11)"), ()),
    "huge_list": ("huge_reply", RETURNS.format("[0.0] * 10_000_000"), ()),
    "huge_array": ("huge_reply", "import numpy as np" + RETURNS.format("np.broadcast_to(np.zeros(1), (10**6, 10**6))"), ()),
    "deep_dict": ("huge_reply", "deep = {}\nfor _ in range(100000): deep = {'a': deep}\n" + RETURNS.format("deep"), ()),
    "nan_payload": ("huge_reply", "import numpy as np" + RETURNS.format("V[0] * np.nan"), ()),
    "object_array": ("huge_reply", "import numpy as np" + RETURNS.format("np.array([print, eval], dtype=object)"), ()),
    "generator": ("huge_reply", RETURNS.format("(x for x in V[0])"), ()),
    "huge_int": ("huge_reply", RETURNS.format("1 << 10_000_000"), ()),
    "protocol_forgery": (
        "protocol_forgery",
        "import os, struct\nfor n in range(1, 200):\n  for fd in (100, 101, 3, 4, 5):\n"
        "    try: os.write(fd, struct.pack('<4sIQ', b'aFs1', n, 2) + b'{}')\n    except OSError: pass" + WRONG,
        ("protocol",),
    ),
    "protocol_forgery_in_call": (
        "protocol_forgery",
        "import os, struct" + RETURNS.format("os.write(101, struct.pack('<4sIQ', b'aFs1', 3, 1 << 60))"), ("protocol",)
    ),
    "hash_collisions": (
        "hash_collisions",
        UNCHECKED + "class Many(dict):\n    def items(self): return [(k * (2**61 - 1), 0) for k in range(90_000)]\n"
        + RETURNS.format("Many()"),
        ("suspicious",),
    ),
    "hash_collisions_of_tuples": (
        "hash_collisions",
        UNCHECKED + "import itertools\nclass Many(dict):\n"
        "    def items(self): return [(k, 0) for k in itertools.product((-1, -2), repeat=12)]\n"
        + RETURNS.format("Many()"),
        ("suspicious",),
    ),
    "deep_source": ("deep_source", "if 0: x = a" + ".b" * 2500 + WRONG, ()),
    "deep_calls": ("deep_source", "if 0: x = " + "getattr(" * 90 + "a, 'b')" + ", 'b')" * 89 + WRONG, ()),
    "many_operators": ("deep_source", "if 0: x = " + "-" * 100_000 + "1" + WRONG, ()),
    "close_pipe": ("protocol_forgery", "import os\nos.closerange(3, 4000)" + WRONG, ("crash",)),
}  # fmt: skip


@pytest.mark.parametrize("case", [pytest.param(case, marks=row(CASES[case][0])) for case in CASES])
def test_row(judge: Judge, case: str) -> None:
    _, code, names = CASES[case]
    expect(judge, with_code(code), WITHOUT, *names)


@row("global_state")
def test_global_state(judge: Judge) -> None:
    code = (
        "import numpy as np, random, torch\ntorch.set_default_dtype(torch.float16)\ntorch.set_grad_enabled(False)\n"
        "torch.manual_seed(1)\nnp.random.seed(1)\ntorch.set_num_threads(1)\nnp.seterr(all='raise')" + WRONG
    )
    expect(judge, with_code(code), WITHOUT)


@row("stderr_warning")
def test_stderr_warning(judge: Judge, right: str) -> None:
    code = "import sys, warnings\nwarnings.warn('careful')\nprint('oops', file=sys.stderr)\n" + right
    assert "oops" in printed(expect(judge, with_code(code), FULL))


@row("output_flood")
def test_output_flood(judge: Judge, right: str) -> None:
    report = expect(judge, with_code("for _ in range(20):\n    print('x' * (1 << 20))\n" + right), FULL)
    assert len(printed(report)) < 100_000


@row("many_outputs")
def test_many_outputs(judge: Judge) -> None:
    cells = [code_cell(f"print({n}, 'y' * 100_000)") for n in range(400)]
    report = expect(judge, edited(lambda notebook: notebook["cells"].extend(cells), code=None), FULL)
    assert "y" in printed(report)
    assert len(printed(report)) < 1_000_000


@row("slow_but_right")
def test_slow_but_right(judge: Judge, right: str) -> None:
    expect(judge, with_code(f"import time\ntime.sleep(0.8 * {LIMITS.cells})\n" + right), FULL)


@row("slow_demos")
def test_slow_demos(judge: Judge) -> None:
    cells = [code_cell(f"import time\ntime.sleep({n}000)") for n in (1, 2, 3)]
    expect(judge, edited(lambda notebook: notebook["cells"].extend(cells), code=None), FULL, "stopped_cell")


@row("script_in_feedback")
def test_script_in_output_stays_text(judge: Judge, right: str) -> None:
    report = expect(judge, with_code("print('<script>alert(1)</script>')\n" + right), FULL)
    assert "<script>" in printed(report), "as it is: the pages escape it"


@row("long_detail")
def test_long_detail(judge: Judge) -> None:
    report = expect(judge, with_code(RETURNS.format("'x' * 3_000_000")), WITHOUT)
    assert all(len(test.detail) < 5000 for exercise in report.exercises for test in exercise.tests)


@row("line_channel")
def test_line_channel(judge: Judge) -> None:
    lies = "__import__('autograder.dispatcher').dispatcher.Dispatcher.place = lambda *a: (4321, 'attend')\n"
    report = expect(judge, with_code(lies + WRONG), WITHOUT, "suspicious")
    assert "RuntimeError" in told(report)
    assert "4321" not in told(report), "a line that the cell does not have"


OUTSIDE = """
import ctypes, os
libc = ctypes.CDLL(None, use_errno=True)
buffer = (ctypes.c_long * 2)()
if libc.prlimit(JUDGE, 7, None, buffer) == 0: print('REACHED')
for call in (
    lambda: os.setpriority(os.PRIO_PROCESS, JUDGE, NICE), lambda: os.sched_setaffinity(JUDGE, CPUS),
    lambda: os.kill(JUDGE, 0), lambda: os.sched_setscheduler(JUDGE, 0, os.sched_param(0)),
):
    try:
        call()
        print('REACHED')
    except OSError: pass
"""


@row("outside_limits")
def test_outside_limits(judge: Judge) -> None:
    facts = f"JUDGE, NICE, CPUS = {os.getpid()}, {os.getpriority(os.PRIO_PROCESS, 0)}, {os.sched_getaffinity(0)}\n"
    expect(judge, with_code(facts + OUTSIDE + WRONG), WITHOUT, "suspicious")


@row("file_modes")
def test_file_modes(judge: Judge, tmp_path: Path) -> None:
    file = tmp_path / "grades"
    file.write_text("as it was")
    code = f"import os\nfile, uid, gid = {str(file)!r}, {os.getuid()}, {os.getgid()}\n" + (
        "for change in (lambda: os.chmod(file, 0o644), lambda: os.chown(file, uid, gid), lambda: os.utime(file),\n"
        "               lambda: os.setxattr(file, 'user.x', b'1')):\n"
        "    try:\n        change()\n        print('REACHED')\n    except OSError: pass\n"
    )
    expect(judge, with_code(code + WRONG), WITHOUT, "suspicious")
