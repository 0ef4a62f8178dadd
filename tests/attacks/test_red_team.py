"""Our own finds: attacks on the protocol, on what a test may ask, on the check of forbidden calls and on memory.

Several need a hidden test that no chapter has: it is given to the judge as an instructor's private test.
"""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from attack_tools import (
    CHAPTER,
    FULL,
    LIMITS,
    RETURNS,
    SEED,
    TARGET,
    WITHOUT,
    cell,
    expect,
    flags,
    solved,
    target_of,
    with_code,
)
from rows import row

from autograder.judge import Judge
from autograder.report import SubmissionReport
from autograder.session import Session
from autograder.student import Student

pytestmark = pytest.mark.attack

PRIVATE = """
import torch
from autograder.testing import Exercise, close, check
attend = Exercise("attend")

@attend.test(points=5, says="private")
def private(student, draw):
"""


def with_private(judge: Judge, body: str, content: bytes, tmp_path: Path) -> SubmissionReport:
    """A verdict with one more hidden test, worth 5 points."""
    path = tmp_path / "private.py"
    path.write_text(PRIVATE + "".join(f"    {line}\n" for line in body.strip().splitlines()))
    return judge.grade(content, CHAPTER, seed=SEED, private_tests=path)


def private_passed(report: SubmissionReport) -> bool:
    """Whether the private test passed."""
    return next(test.passed for test in target_of(report).tests if test.name == "private")


@row("forged_request")
def test_a_test_may_say_the_judge_s_own_words(judge: Judge, right: str, tmp_path: Path) -> None:
    body = """
text = {"do": "cells", "cells": [("x", "raise SystemExit")], "callback": 3, "error": {"kinds": []}}
check(student.same(text) == text, "not the same")
"""
    report = with_private(judge, body, with_code(right + "\n\ndef same(x):\n    return x\n"), tmp_path)
    assert report.score == FULL + 5, target_of(report).tests


@row("oracle")
@pytest.mark.parametrize(
    "calls",
    ["while True: f(1.0)", "f()", "f(*[1.0] * 1000)", "f({(1, 2): [None]})", "f.number = 7", "return f"],
)
def test_oracle(judge: Judge, right: str, tmp_path: Path, calls: str) -> None:
    code = right + f"\n\ndef use(f):\n    {calls}\n    return 3.0\n"
    report = with_private(judge, "close(student.use(lambda x: 2.0 * x), 5.0)", with_code(code), tmp_path)
    assert not private_passed(report)
    assert report.score == FULL, target_of(report).tests


@row("oracle")
def test_a_callback_that_is_not_there(judge: Judge, right: str, tmp_path: Path) -> None:
    code = right + (
        "\n\ndef use(f):\n    import autograder.wire as wire, os, struct\n"
        "    for number in (7, -1, True, None, 'x', 10**30):\n"
        "        message = wire.encode({'callback': number, 'args': (), 'kwargs': {}})\n"
        "        os.write(101, struct.pack('<4sIQ', b'aFs1', 1, len(message)) + message)\n    return 5.0\n"
    )
    report = with_private(judge, "close(student.use(lambda x: 2.0 * x), 5.0)", with_code(code), tmp_path)
    assert not private_passed(report)
    assert "protocol" in flags(report)


@row("patched_helper")
@pytest.mark.parametrize(
    "patch",
    [
        "torch.Tensor.__mul__ = torch.Tensor.__add__ = lambda *a: a[0]",
        "torch.equal = torch.allclose = lambda *a: True",
        "import builtins; builtins.sum = builtins.max = lambda *a: a[0]",
        "import autograder.dispatcher as d; d.Dispatcher.define = lambda *a: None; helper = lambda x: x",
        "import autograder.dispatcher as d; d.Dispatcher.answer = lambda *a: {'value': 0.0}",
    ],
)
def test_patched_helper(judge: Judge, tmp_path: Path, patch: str) -> None:
    body = """
student.define("def helper(x):\\n    return 2 * inner(x) + 1")
x = draw.normal(3, 2)
close(student.helper(x), 2 * x.sin() + 1)
"""
    code = f"import torch\n{patch}\n\ndef inner(x):\n    return x\n" + RETURNS.format("V[0]")
    report = with_private(judge, body, with_code(code), tmp_path)
    assert report.score <= WITHOUT, target_of(report).tests
    assert not target_of(report).score


LAYER = """
import torch
class Layer(torch.nn.Module):
    def __init__(self, n):
        super().__init__()
        self.weight = torch.nn.Parameter(torch.zeros(n))
    {lie}
    def forward(self, x):
        return x
"""


@row("forged_state")
@pytest.mark.parametrize(
    "lie",
    [
        "def load_state_dict(self, values): self.kept = values",
        "def state_dict(self): return {'weight': torch.ones(7)}",
        "def named_parameters(self): return [('weight', torch.ones(1).expand(10**9))]",
        "def __call__(self, x): return self",
        "def __getattribute__(self, name): return lambda *a, **k: {}",
    ],
)
def test_forged_state(judge: Judge, right: str, tmp_path: Path, lie: str) -> None:
    body = """
layer = student.Layer(4)
weight, x = draw.normal(4), draw.normal(4)
layer.load_state_dict({"weight": weight})
value, grads, named = layer.gradients(x)
close(value, x * weight)
close(grads[0], weight)
close(named["weight"], x)
close(layer.parameters()["weight"], weight)
"""
    report = with_private(judge, body, with_code(right + "\n\n" + LAYER.format(lie=lie)), tmp_path)
    assert not private_passed(report)
    assert report.score == FULL, target_of(report).tests


CHEAT = "torch.nn.functional.scaled_dot_product_attention(*(torch.as_tensor(x)[None] for x in (q[None], K, V)))[0, 0].numpy()"
ELSEWHERE = {
    "a helper in another exercise's cell": ("def cheat(q, K, V):\n    return {cheat}", "return cheat(q, K, V)"),
    "a thread": (
        "import threading\ndef cheat(q, K, V):\n    out = []\n"
        "    sdpa = getattr(torch.nn.functional, 'scaled_dot_' + 'product_attention')\n"
        "    work = lambda: out.append(sdpa(*(torch.as_tensor(x)[None] for x in (q[None], K, V)))[0, 0].numpy())\n"
        "    thread = threading.Thread(target=work)\n    thread.start()\n    thread.join()\n    return out[0]",
        "return cheat(q, K, V)",
    ),
    "TorchScript": (
        "text = 'def f(q, k, v): return torch.scaled_dot_' + 'product_attention(q, k, v)'\n"
        "def cheat(q, K, V):\n    unit = torch.jit.CompilationUnit(text)\n"
        "    return unit.f(*(torch.as_tensor(x)[None] for x in (q[None], K, V)))[0, 0].numpy()",
        "return cheat(q, K, V)",
    ),
}  # fmt: skip


@row("forbidden_elsewhere")
@pytest.mark.parametrize("way", ELSEWHERE)
def test_forbidden_elsewhere(judge: Judge, way: str) -> None:
    helper, use = ELSEWHERE[way]
    notebook = solved()
    neighbour = cell(notebook, "softmax")
    neighbour["source"] += "\n\nimport torch\n" + helper.replace("{cheat}", CHEAT) + "\n"
    cell(notebook, TARGET)["source"] = f"def attend(q, K, V):\n    {use}\n"
    report = expect(judge, json.dumps(notebook).encode(), WITHOUT)
    assert target_of(report).forbidden or "suspicious" in flags(report)


@row("shared_memory")
def test_no_memory_is_shared_with_the_next_submission(judge: Judge) -> None:
    expect(judge, with_code(RETURNS.format("V[0]")), WITHOUT)
    session = Session(judge.course(CHAPTER).keeper, [("mine", "x = 1")], [], LIMITS)
    try:
        session.start()
        assert session.runner is not None
        facts = Path(f"/proc/self/fdinfo/{session.runner.handle}").read_text()
        pid = next(line.split()[1] for line in facts.splitlines() if line.startswith("Pid:"))
        maps = Path(f"/proc/{pid}/maps").read_text()
        assert "torch" in maps
        assert not [
            line for line in maps.splitlines() if line.split()[1][1] == "w" and line.split()[1][3] == "s"
        ]
        assert Student(session, {}).read("x") == 1
    finally:
        session.stop()
