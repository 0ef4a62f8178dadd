"""The kernels compile for GPUs that are not here, in every configuration that we ship, and use them as they should."""

from __future__ import annotations

import pytest
import torch

pytest.importorskip("attention_from_scratch.triton_support")
from attention_from_scratch.triton_compile import (
    SHARED_LIMIT,
    Compiled,
    Request,
    compile_ahead,
)
from attention_from_scratch.triton_shipped import FORWARD, attention_request, shipped

# Compiling is slow: bfloat16 and float32 are asked at the widths of real models only, other targets in float16.
SHIPPED = [
    pytest.param("sm_90", torch.float16, (16, 32, 64, 128, 256), id="sm_90-float16"),
    pytest.param("sm_90", torch.bfloat16, (64, 128), id="sm_90-bfloat16"),
    pytest.param("sm_90", torch.float32, (64, 128), id="sm_90-float32"),
    pytest.param("sm_80", torch.float16, (64, 128), id="sm_80-float16"),
    pytest.param("sm_100", torch.float16, (64, 128), id="sm_100-float16"),
    pytest.param("gfx942", torch.float16, (64, 128), id="gfx942-float16"),
]


@pytest.mark.parametrize(("target", "dtype", "widths"), SHIPPED)
def test_what_we_ship_fits_the_chip(target: str, dtype: torch.dtype, widths: tuple[int, ...]) -> None:
    requests = shipped(target, (dtype,), widths)
    faults = [
        f"{request.kernel.split(':')[1]} of width {request.constants['DIM']}: {fault}"
        for request, compiled in zip(requests, compile_ahead(requests), strict=True)
        if (fault := _fault(request, compiled))
    ]
    assert not faults, "\n".join(faults)


def _fault(request: Request, compiled: Compiled) -> str:
    if compiled.error:
        return compiled.error
    if compiled.spills:
        return f"{compiled.spills} spills"
    if compiled.shared > SHARED_LIMIT[request.target]:
        return f"{compiled.shared} bytes of shared memory, {SHARED_LIMIT[request.target]} are there"
    multiplies = "delta" not in request.kernel and "*fp32" not in request.types.get("q_ptr", "")
    if multiplies and not compiled.matrix_instructions:
        return "no tensor-core instruction"
    return ""


def test_an_inner_stride_unknown_to_the_compiler_is_seen() -> None:
    """The mistake that this check is for: as a run-time number the innermost stride costs registers and loads."""
    sizes = {"BLOCK_Q": 128, "BLOCK_K": 64, "num_warps": 4, "num_stages": 3}
    good = attention_request(FORWARD, "sm_90", torch.float16, 64, sizes)
    strides = {name: "i32" for name in good.constants if name.endswith("_dim")}
    constants = {name: value for name, value in good.constants.items() if name not in strides}
    bad = Request(good.kernel, good.target, good.types | strides, constants, good.options, good.divisible)
    known, unknown = compile_ahead([good, bad])
    assert not known.spills
    assert unknown.spills > 0 or unknown.registers > known.registers or unknown.shared > known.shared


def test_a_kernel_that_does_not_compile_is_an_answer() -> None:
    good = attention_request(FORWARD, "sm_90", torch.float16, 64, {"BLOCK_Q": 32, "BLOCK_K": 32})
    bad = Request(good.kernel, good.target, good.types, good.constants | {"BLOCK_D": 48}, good.options)
    assert compile_ahead([bad])[0].error
