"""Row 44: what an exercise forbids, under every name by which it can be reached."""

from __future__ import annotations

import pytest
from attack_tools import FULL, WITHOUT, expect, target_of, with_code
from rows import row

from autograder.judge import Judge

pytestmark = [pytest.mark.attack]

BODY = """
def attend(q, K, V):
    return {attend}(*(torch.as_tensor(x)[None] for x in (q[None], K, V)))[0, 0].numpy()
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


@row("forbidden_call")
@pytest.mark.parametrize("way", WAYS)
def test_forbidden_call(judge: Judge, way: str) -> None:
    code = HEAD + BODY.format(attend=WAYS[way])
    report = expect(judge, with_code(code), WITHOUT, "forbidden_call")
    exercise = target_of(report)
    assert exercise.forbidden
    assert any(test.passed for test in exercise.tests), (
        "it would have passed: the rule alone takes the points"
    )


@row("forbidden_call")
def test_comparing_ones_own_work_is_allowed(judge: Judge, right: str) -> None:
    check = "import torch\ntorch.nn.functional.scaled_dot_product_attention(*(torch.ones(1, 2, 2) for _ in 'abc'))\n"
    report = expect(judge, with_code(right + "\n\n" + check), FULL)
    exercise = target_of(report)
    assert not exercise.forbidden
    assert exercise.flags, "a person may look"
