"""The kernels compile for GPUs that are not here, in every configuration that we ship, and use them as they should."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch

pytest.importorskip("attention_from_scratch.triton_support")
from attention_from_scratch.triton_compile import (
    TARGETS,
    Compiled,
    Request,
    compile_ahead,
    unfit,
)
from attention_from_scratch.triton_fast_launch import FastTile
from attention_from_scratch.triton_shipped import (
    FAST_WIDTHS,
    FORWARD,
    MAJOR,
    WIDTHS,
    attention_request,
    fast_request,
    shipped,
    shipped_fast,
)

# Everything is marked slow but the widths of most models on one target: a kernel takes about a second to compile.
DTYPES = (torch.float16, torch.bfloat16, torch.float32)
EVERYWHERE = [
    pytest.param(target, dtype, id=f"{target}-{str(dtype)[6:]}") for target in TARGETS for dtype in DTYPES
]
# one or two in each row of the tables; contiguous tensors of the first two have strides that are no multiples of 16
RAGGED = (8, 20, 48, 80, 160)


def faults(requests: list[Request]) -> str:
    """What is wrong with the kernels that the compiler made, one line each."""
    return "\n".join(
        f"{request.kernel.split(':')[1]} of width {request.constants['DIM']}: {fault}"
        for request, compiled in zip(requests, compile_ahead(requests), strict=True)
        if (fault := _fault(request, compiled))
    )


def test_what_we_ship_fits_the_chip() -> None:
    assert not faults(shipped("sm_90", (torch.float16,), (64, 128), masked=True, aligned=True))


@pytest.mark.slow
@pytest.mark.parametrize(("target", "dtype"), EVERYWHERE)
def test_every_width_and_dtype_fits_every_chip(target: str, dtype: torch.dtype) -> None:
    assert not faults(shipped(target, (dtype,), WIDTHS, masked=True, aligned=True))


@pytest.mark.slow
@pytest.mark.parametrize("target", TARGETS)
def test_other_widths_and_no_masks_fit_too(target: str) -> None:
    """Heads narrower than their block, strides that are no multiples of 16, and kernels without any mask."""
    ragged = [
        request
        for width in RAGGED
        for request in shipped(target, (torch.float16,), (width,), masked=True, aligned=width % 16 == 0)
    ]
    assert not faults(ragged + shipped(target, (torch.float16,), (64, 128), masked=False, aligned=True))


@pytest.mark.slow
def test_wide_tiles_use_a_hopper_s_own_matrix_instruction() -> None:
    """HGMMA multiplies out of shared memory with a whole warp group; HMMA is what an older chip has."""
    requests = shipped("sm_90", (torch.float16,), (64, 128), masked=True, aligned=True)
    kinds = {
        (request.kernel.split(":")[1], request.constants["DIM"]): compiled.matrix_kinds
        for request, compiled in zip(requests, compile_ahead(requests), strict=True)
        if "delta" not in request.kernel
    }
    assert set(kinds.values()) == {"HGMMA"}, kinds


@pytest.mark.slow
@pytest.mark.parametrize("target", MAJOR)
def test_the_fast_kernels_fit_the_chips_that_have_tensor_descriptors(target: str) -> None:
    requests = [
        *shipped_fast(target, torch.float16, (*FAST_WIDTHS, 80), masked=True),
        *shipped_fast(target, torch.bfloat16, (64, 128), masked=True),
        *shipped_fast(target, torch.float16, (64, 128), masked=False),
        # strides that are multiples of 8 and not of 16
        *(replace(one, divisible=()) for one in shipped_fast(target, torch.float16, (24,), masked=True)),
    ]
    assert not faults(requests)


@pytest.mark.slow
@pytest.mark.parametrize("target", MAJOR)
def test_warps_are_specialised_where_a_tile_asks_for_it(target: str) -> None:
    """Each of the fast path's claims in the program: boxes are copied whole, and warps have jobs of their own."""
    tile = FastTile(128, 128, 4 if target == "sm_90" else 8, 2)
    divided = replace(tile, specialize=True)
    requests = [fast_request("forward", target, torch.bfloat16, 64, one, True) for one in (tile, divided)]
    together, apart = compile_ahead(requests)
    assert together.bulk_copies > 0
    assert apart.bulk_copies > 0
    assert not together.specialized
    assert apart.specialized
    assert not faults(requests[1:])


def test_tensor_memory_that_is_not_there_is_seen() -> None:
    """Of such a kernel the compiler makes an empty program, without an error."""
    tile = FastTile(128, 128, 8, 2)
    (made,) = compile_ahead([fast_request("backward", "sm_100", torch.float16, 64, tile, True)])
    assert not made.error
    assert "tensor memory" in unfit(made, "sm_100")


def _fault(request: Request, compiled: Compiled) -> str:
    if reason := unfit(compiled, request.target):
        return reason
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
