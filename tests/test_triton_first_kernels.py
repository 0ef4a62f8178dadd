"""The first kernels against PyTorch, between fences: random sizes, layouts and dtypes."""

from __future__ import annotations

import subprocess
import sys

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

kernels = pytest.importorskip("attention_from_scratch.triton_first_kernels")
from attention_from_scratch.triton_fences import LAYOUTS, Fence, poisoned  # noqa: E402
from attention_from_scratch.triton_support import INTERPRETED  # noqa: E402

DEVICE = "cpu" if INTERPRETED else "cuda"
# Largest error against float64, relative to the largest number. float32: sums of some dozens of terms, reordered.
# float16: one rounding of the result, 2^-11, in a number of the largest size.
TOLERANCE = {torch.float32: 3e-6, torch.float16: 6e-4}
sizes = st.integers(1, 40)
dtypes = st.sampled_from(list(TOLERANCE))
few = settings(max_examples=15, deadline=None)  # every example starts some dozens of interpreted programs


def random(seed: int, *shape: int, dtype: torch.dtype) -> torch.Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed)).to(DEVICE, dtype)


def agrees(fence: Fence, expected: torch.Tensor) -> None:
    assert fence.fault() == ""
    size = max(1.0, expected.abs().max().item())
    assert (fence.view.double() - expected).abs().max().item() <= TOLERANCE[fence.view.dtype] * size


@few
@given(st.integers(1, 200), st.sampled_from([4, 16, 64]), dtypes, st.integers(0, 99))
def test_add(size: int, block: int, dtype: torch.dtype, seed: int) -> None:
    x, y = random(seed, size, dtype=dtype), random(seed + 1, size, dtype=dtype)
    fence = Fence(x, "plain")
    kernels.add(poisoned(x, "plain"), poisoned(y, "plain"), fence.view, block)
    agrees(fence, x.double() + y.double())


@few
@given(sizes, sizes, dtypes, st.sampled_from(list(LAYOUTS[2])), st.integers(0, 99))
def test_softmax(rows: int, columns: int, dtype: torch.dtype, layout: str, seed: int) -> None:
    x = 5 * random(seed, rows, columns, dtype=dtype)
    fence = Fence(x, "rows")
    kernels.softmax(poisoned(x, layout), fence.view)
    agrees(fence, x.double().softmax(1))


@few
@given(sizes, st.integers(2, 40), dtypes, st.integers(0, 99))
def test_layer_norm(rows: int, columns: int, dtype: torch.dtype, seed: int) -> None:
    x = 3 * random(seed, rows, columns, dtype=dtype) + 1
    weight, bias = random(seed + 1, columns, dtype=dtype), random(seed + 2, columns, dtype=dtype)
    fence = Fence(x, "rows")
    kernels.layer_norm(
        poisoned(x, "rows"), poisoned(weight, "plain"), poisoned(bias, "plain"), 1e-3, fence.view
    )
    agrees(fence, torch.layer_norm(x.double(), (columns,), weight.double(), bias.double(), 1e-3))


@few
@given(sizes, sizes, sizes, dtypes, st.sampled_from(list(LAYOUTS[2])), st.integers(0, 99))
def test_matmul(M: int, N: int, K: int, dtype: torch.dtype, layout: str, seed: int) -> None:
    a, b = random(seed, M, K, dtype=dtype), random(seed + 1, K, N, dtype=dtype)
    expected = a.double() @ b.double()
    fence = Fence(expected.to(dtype), layout)
    kernels.matmul(poisoned(a, layout), poisoned(b, "columns"), fence.view, (16, 32, 16))
    agrees(fence, expected)


def test_a_fence_sees_what_lies_outside() -> None:
    fence = Fence(torch.zeros(5, device=DEVICE), "plain")
    assert "never written" in fence.fault()
    fence.view.fill_(1.0)
    assert fence.fault() == ""
    fence.buffer[0] = 1.0
    assert "1 numbers outside" in fence.fault()


@pytest.mark.parametrize("axes", list(LAYOUTS))
def test_poison_keeps_the_numbers(axes: int) -> None:
    x = random(0, *range(2, 2 + axes), dtype=torch.float32)
    for layout in LAYOUTS[axes]:
        assert torch.equal(poisoned(x, layout), x)


def test_kernels_run_when_somebody_imported_triton_first() -> None:
    """PyTorch's compiler imports Triton too; a kernel must not depend on who came first."""
    code = (
        "import triton, torch; from attention_from_scratch.triton_first_kernels import softmax, matmul;"
        "x = torch.randn(3, 5); assert torch.allclose(softmax(x, torch.zeros(3, 5)), x.softmax(1), atol=1e-6);"
        "assert torch.allclose(matmul(x, x.t(), torch.zeros(3, 3), (16, 16, 16)), x @ x.t(), atol=1e-5)"
    )
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert run.returncode == 0, run.stderr


@pytest.mark.parametrize(
    "command",
    [
        "import attention_from_scratch.triton_first_kernels",
        "from coursebuild.benchmarks import attention_cuda",
    ],
)
def test_where_triton_is_missing_a_sentence_says_what_to_do(command: str) -> None:
    code = f"import sys; sys.modules['triton'] = None; {command}"
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert run.returncode != 0
    last = run.stderr.strip().splitlines()[-1]
    assert "ImportError: Triton has no build for this system" in last
    assert "WSL" in last
    assert "Chapter 08" in last
