"""Rows of the attack table whose attack is code in a cell: each gets its honest value."""

from __future__ import annotations

import pytest
from attack_tools import FULL, WITHOUT, WRONG, expect, expect_no_values, with_code

from autograder.judge import Judge

pytestmark = pytest.mark.attack

IPYTHON = "from IPython import get_ipython\nshell = get_ipython()\n"
RETURNS = "\n\ndef attention_backward(dO, Q, K, V):\n    return {}\n"

# name of the row: code, flags. The honest value of each is that of the other exercises.
ROWS: dict[str, tuple[str, tuple[str, ...]]] = {
    "patch_allclose": (
        "import numpy as np, torch\nnp.allclose = np.array_equal = torch.equal = torch.allclose = lambda *a, **k: True\n"
        "torch.testing.assert_close = np.testing.assert_allclose = lambda *a, **k: None\n"
        "torch.Tensor.__le__ = torch.Tensor.__eq__ = lambda *a: True" + WRONG,
        ("suspicious",),
    ),
    "eq_always_true": (
        "class Yes:\n    shape = ()\n    def __eq__(self, other): return True\n    def __le__(self, other): return True\n"
        "    def __getattr__(self, name): return self\n    def __call__(self, *a, **k): return self\n"
        "    def __float__(self): return 0.0\n    def __len__(self): return 3\n    def __iter__(self): return iter([self] * 3)\n"
        "    def __getitem__(self, i): return self\n" + RETURNS.format("Yes()"),
        (),
    ),
    "input_transformer": (IPYTHON + "shell.input_transformers_post.append(lambda lines: [])" + WRONG, ()),
    "ast_transformer": (IPYTHON + "shell.ast_transformers.append(None)" + WRONG, ()),
    "fake_run_cell": (IPYTHON + "type(shell).run_cell = lambda *a, **k: None" + WRONG, ()),
    "fake_display": ("import sys\nsys.displayhook(12)\nprint(12)\nprint('12/12')" + WRONG, ("suspicious",)),
    "odd_partial": ("-5\nfloat('nan')\n'text'" + WRONG + "\nfloat('nan')", ()),
    "too_much_partial": (WRONG + "\n1e9", ()),
    "clear_output": ("from IPython.display import clear_output\nclear_output()" + WRONG, ("suspicious",)),
    "silence_traceback": ("import sys\nsys.excepthook = lambda *a: None\nsys.tracebacklimit = 0" + WRONG, ()),
    "exit_sys": ("import sys\nsys.exit(0)" + WRONG, ("exit_call",)),
    "exit_interrupt": ("raise KeyboardInterrupt" + WRONG, ()),
    "exit_os": ("import os\nos._exit(0)" + WRONG, ("crash", "stopped_cell")),
    "exit_sigkill": ("import os, signal\nos.kill(os.getpid(), signal.SIGKILL)" + WRONG, ("suspicious",)),
    "exit_segfault": ("import ctypes\nctypes.string_at(0)" + WRONG, ("crash", "suspicious")),
    "exit_in_call": ("import os" + RETURNS.format("os._exit(0)"), ("crash",)),
    "exit_sys_in_call": ("import sys" + RETURNS.format("sys.exit(0)"), ()),
    "infinite_loop": ("while True: pass" + WRONG, ("stopped_cell",)),
    "infinite_loop_in_call": ("\ndef attention_backward(dO, Q, K, V):\n    while True: pass\n", ()),
    "ignore_sigint": (
        "import signal, time\nfor n in range(1, 60):\n    try: signal.signal(n, signal.SIG_IGN)\n    except Exception: pass\n"
        "def attention_backward(dO, Q, K, V):\n    while True:\n        try: time.sleep(1000)\n        except BaseException: pass\n",
        ("suspicious",),
    ),
    "fork_bomb": ("import os\nwhile True:\n    os.fork()" + WRONG, ("suspicious",)),
    "background_process": ("import subprocess\nsubprocess.Popen(['sleep', '1000'])" + WRONG, ("suspicious",)),
    "memory_bomb": ("x = []\nwhile True:\n    x.append(bytearray(1 << 26))" + WRONG, ()),
    "disk_bomb": (
        "for n in range(100000):\n    with open(f'/tmp/{n}', 'wb') as f:\n        f.write(bytes(1 << 20))" + WRONG, ()
    ),
    "network": (
        "import socket\ns = socket.socket()\ns.bind(('127.0.0.1', 0))\ns.listen()" + WRONG, ("suspicious",)
    ),
    "pickle_payload": (
        "class P:\n    def __reduce__(self): return (print, ('pwned',))\n" + RETURNS.format("(P(), P(), P())"), ()
    ),
    "import_reference": (
        "from attention_from_scratch.scaled_dot_product import attention_backward", ()
    ),
    "import_hidden": ("from autograder.hidden import scaled_dot_product" + WRONG, ("suspicious",)),
    "hard_coded": (
        "import numpy as np\ndef attention_backward(dO, Q, K, V):\n"
        "    return np.zeros_like(Q), np.full_like(K, 0.25), np.ones_like(V)\n",
        (),
    ),
    "lazy_tensor": (
        "import torch\nclass Lazy(torch.Tensor):\n    @classmethod\n    def __torch_function__(cls, *a, **k): return True\n"
        + RETURNS.format("(Lazy(), Lazy(), Lazy())"),
        (),
    ),
    "mutate_inputs": (
        "def attention_backward(dO, Q, K, V):\n    for x in (dO, Q, K, V): x[...] = 0\n    return Q, K, V\n", ()
    ),
    "huge_strides": ("import torch" + RETURNS.format("(torch.zeros(1).expand(10**11),) * 3"), ()),
    "huge_list": (RETURNS.format("[0.0] * 10_000_000"), ()),
    "huge_array": ("import numpy as np" + RETURNS.format("(np.broadcast_to(np.zeros(1), (10**6, 10**6)),) * 3"), ()),
    "deep_dict": ("deep = {}\nfor _ in range(100000): deep = {'a': deep}\n" + RETURNS.format("deep"), ()),
    "nan_payload": ("import numpy as np" + RETURNS.format("(Q * np.nan, K * np.nan, V * np.nan)"), ()),
    "object_array": ("import numpy as np" + RETURNS.format("np.array([print, eval], dtype=object)"), ()),
    "generator": (RETURNS.format("(x for x in (Q, K, V))"), ()),
    "huge_int": (RETURNS.format("1 << 10_000_000"), ()),
    "protocol_forgery": (
        "import os, struct\nfor n in range(1, 200):\n  for fd in (100, 101, 3, 4, 5):\n"
        "    try: os.write(fd, struct.pack('<4sIQ', b'aFs1', n, 2) + b'{}')\n    except OSError: pass" + WRONG,
        ("protocol",),
    ),
    "protocol_forgery_in_call": (
        "import os, struct" + RETURNS.format("os.write(101, struct.pack('<4sIQ', b'aFs1', 3, 1 << 60))"), ("protocol",)
    ),
    "close_pipe": ("import os\nos.closerange(3, 4000)" + WRONG, ("crash",)),
}  # fmt: skip


# These return numbers, of the right shape: the tests of shapes may pass, no test of values may.
PLAUSIBLE = ("hard_coded", "lazy_tensor", "mutate_inputs", "nan_payload")


@pytest.mark.parametrize("row", PLAUSIBLE)
def test_plausible_row(judge: Judge, row: str) -> None:
    code, names = ROWS[row]
    expect_no_values(judge, with_code(code), *names)


@pytest.mark.parametrize("row", [row for row in ROWS if row not in PLAUSIBLE])
def test_row(judge: Judge, row: str) -> None:
    code, names = ROWS[row]
    expect(judge, with_code(code), WITHOUT, *names)


def test_global_state(judge: Judge) -> None:
    code = (
        "import numpy as np, random, torch\ntorch.set_default_dtype(torch.float16)\ntorch.set_grad_enabled(False)\n"
        "torch.manual_seed(1)\nnp.random.seed(1)\ntorch.set_num_threads(1)" + WRONG
    )
    expect(judge, with_code(code), WITHOUT)


def test_stderr_warning(judge: Judge, right: str) -> None:
    code = "import sys, warnings\nwarnings.warn('careful')\nprint('oops', file=sys.stderr)\n" + right
    report = expect(judge, with_code(code), FULL)
    assert any("oops" in output.text for output in report.outputs)


def test_output_flood(judge: Judge, right: str) -> None:
    report = expect(judge, with_code("for _ in range(20):\n    print('x' * (1 << 20))\n" + right), FULL)
    assert sum(len(output.text) for output in report.outputs) < 100_000


def test_slow_but_right(judge: Judge, right: str) -> None:
    code = "import time\ntime.sleep(0.8 * 3)\n" + right
    expect(judge, with_code(code), FULL)


def test_script_in_feedback_stays_text(judge: Judge, right: str) -> None:
    report = expect(judge, with_code("print('<script>alert(1)</script>')\n" + right), FULL)
    assert any("<script>" in output.text for output in report.outputs), "as it is: the pages escape it"
