"""Row 44: what an exercise forbids, under every name by which it can be reached."""

from __future__ import annotations

import pytest
from attack_tools import FULL, TARGET, WITHOUT, expect, with_code

from autograder.judge import Judge

pytestmark = pytest.mark.attack

BODY = """
def _with(attend, dO, Q, K, V):
    Q, K, V, dO = (torch.tensor(x, dtype=torch.float64) for x in (Q, K, V, dO))
    q, k, v = (x.clone().requires_grad_() for x in (Q, K, V))
    out = attend(q[None, None], k[None, None], v[None, None])[0, 0]
    return out, (q, k, v), dO


def attention_backward(dO, Q, K, V):
    out, inputs, dO = _with({attend}, dO, Q, K, V)
    out.{how}
    return tuple(x.grad.numpy() for x in inputs)
"""
WAYS = {
    "plain": "torch.nn.functional.scaled_dot_product_attention",
    "alias": "F.scaled_dot_product_attention",
    "from_import": "sdpa",
    "assigned": "mine",
    "getattr": "getattr(F, 'scaled_dot_' + 'product_attention')",
    "importlib": "getattr(__import__('importlib').import_module('torch.nn.functional'), 'scaled_dot' + '_product_attention')",
    "ops": "torch.ops.aten.scaled_dot_product_attention",
    "eval": "eval('F.scaled_dot' + '_product_attention')",
    "private": "torch._C._nn.scaled_dot_product_attention",
}  # fmt: skip
HEAD = (
    "import torch\nimport torch.nn.functional as F\n"
    "from torch.nn.functional import scaled_dot_product_attention as sdpa\nmine = F.scaled_dot_product_attention\n"
)


@pytest.mark.parametrize("way", WAYS)
def test_forbidden_call(judge: Judge, way: str) -> None:
    code = HEAD + BODY.format(attend=WAYS[way], how="backward(dO)")
    report = expect(judge, with_code(code), WITHOUT, "forbidden_call")
    exercise = next(one for one in report.exercises if one.exercise == TARGET)
    assert exercise.forbidden
    assert any(test.passed for test in exercise.tests), (
        "it would have passed: the rule alone takes the points"
    )


def test_comparing_ones_own_work_is_allowed(judge: Judge, right: str) -> None:
    check = "import torch\ntorch.nn.functional.scaled_dot_product_attention(*(torch.ones(1, 2, 2) for _ in 'abc'))\n"
    report = expect(judge, with_code(right + "\n\n" + check), FULL)
    exercise = next(one for one in report.exercises if one.exercise == TARGET)
    assert not exercise.forbidden
    assert exercise.flags, "a person may look"
