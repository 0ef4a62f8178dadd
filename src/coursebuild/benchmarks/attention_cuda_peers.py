"""Who takes part in `course bench attention --device cuda`, on which shapes, and who is let in: a peer is timed on a
kind of shape only if its output and its gradients on a short shape of that kind agree with float64."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.nn.functional import scaled_dot_product_attention

from attention_from_scratch.triton_attention_backward import TritonAttention
from attention_from_scratch.triton_attention_forward import attention_specification
from attention_from_scratch.triton_fast_backward import FastAttention
from attention_from_scratch.triton_fast_launch import why_not_fast

__all__ = [
    "Cell",
    "Peer",
    "cells",
    "draw",
    "first_line",
    "gate_errors",
    "naive",
    "ours",
    "ours_fast",
    "peers",
    "short_cell",
    "trial_cell",
]

TOKENS, WIDTH = 16384, 2048  # batch · length and heads · dim of every cell of the grid
LENGTHS = (8192, 16384, 4096, 2048, 1024)  # the most telling first: the time may run out
DIMS = (128, 64)
LONGEST_NAIVE = 2048  # the three steps keep (length, length) matrices: 17 GiB at 16384
# Relative Frobenius error against float64. bfloat16: a rounding of the weights and of the result; gradients 1.5 times.
GATE = {torch.bfloat16: 5e-3, torch.float16: 6e-4, torch.float32: 3e-6}

Attend = Callable[[Tensor, Tensor, Tensor, bool], Tensor]


@dataclass(frozen=True)
class Peer:
    """One way to compute attention; `longest` is the longest length it is asked for."""

    name: str
    attend: Attend
    longest: int = 1 << 30


@dataclass(frozen=True)
class Cell:
    """One shape, with or without a causal mask."""

    batch: int
    heads: int
    groups: int
    length: int
    dim: int
    causal: bool

    def flops(self, kind: str) -> float:
        """Operations of "forward", "backward" or "both", as everybody counts them."""
        forward = 4 * self.batch * self.heads * self.length**2 * self.dim * (0.5 if self.causal else 1.0)
        return forward * {"forward": 1.0, "backward": 2.5, "both": 3.5}[kind]


def cells() -> list[Cell]:
    """The grid, then grouped queries and a length that is no multiple of anything."""
    grid = [
        Cell(TOKENS // length, WIDTH // dim, WIDTH // dim, length, dim, causal)
        for length in LENGTHS
        for dim in DIMS
        for causal in (False, True)
    ]
    return [*grid[:8], Cell(2, 32, 8, 8192, 128, True), Cell(4, 16, 16, 4007, 128, True), *grid[8:]]


def short_cell(cell: Cell) -> Cell:
    """The cell of the same kind that the gate looks at: two groups, and a length as round or ragged as the long one."""
    length = min(cell.length, 512 + cell.length % 512)
    return Cell(1, 2 * cell.heads // cell.groups, 2, length, cell.dim, cell.causal)


def trial_cell(cell: Cell) -> Cell:
    """The cell that tiles are tried on: more blocks than a GPU has multiprocessors, so that programs take several."""
    return Cell(1, 16 * cell.heads // cell.groups, 16, min(cell.length, 2048), cell.dim, cell.causal)


def naive(q: Tensor, k: Tensor, v: Tensor, causal: bool) -> Tensor:
    """Three steps, each through memory."""
    share = q.shape[1] // k.shape[1]
    k, v = k.repeat_interleave(share, dim=1), v.repeat_interleave(share, dim=1)  # (batch, heads, keys, dim)
    scores = q @ k.transpose(-2, -1) * q.shape[-1] ** -0.5  # (batch, heads, queries, keys)
    if causal:
        hidden = torch.ones(scores.shape[-2:], dtype=torch.bool, device=q.device).triu(1)
        scores = scores.masked_fill(hidden, float("-inf"))
    return torch.softmax(scores, dim=-1) @ v


def ours(q: Tensor, k: Tensor, v: Tensor, causal: bool) -> Tensor:
    """The kernels of chapters 10 and 11."""
    out: Tensor = TritonAttention.apply(q, k, v, causal, None, q.shape[-1] ** -0.5)
    return out


def ours_fast(q: Tensor, k: Tensor, v: Tensor, causal: bool) -> Tensor:
    """The kernels for recent GPUs; where they do not apply it fails, so that nobody takes others for them."""
    scale = q.shape[-1] ** -0.5
    if fault := why_not_fast(q, k, v, scale):
        raise ValueError(f"the fast kernels are not for this: {fault}")
    out: Tensor = FastAttention.apply(q, k, v, causal, None, scale)
    return out


def fused(backend: SDPBackend) -> Attend:
    """PyTorch's fused attention with one backend and no other."""

    def attend(q: Tensor, k: Tensor, v: Tensor, causal: bool) -> Tensor:
        with sdpa_kernel(backend):
            return scaled_dot_product_attention(
                q, k, v, is_causal=causal, enable_gqa=q.shape[1] != k.shape[1]
            )

    return attend


def flex() -> Attend:
    """FlexAttention, compiled, with a block mask where it is causal."""
    from torch.nn.attention.flex_attention import create_block_mask, flex_attention

    compiled = torch.compile(flex_attention)
    masks: dict[int, Any] = {}

    def attend(q: Tensor, k: Tensor, v: Tensor, causal: bool) -> Tensor:
        length = q.shape[2]
        if causal and length not in masks:
            masks[length] = create_block_mask(
                lambda b, h, i, j: i >= j, None, None, length, length, device=q.device
            )
        mask = masks[length] if causal else None
        out: Tensor = compiled(q, k, v, block_mask=mask, enable_gqa=q.shape[1] != k.shape[1])
        return out

    return attend


def peers() -> list[Peer]:
    """Everybody who takes part. One compiled peer serves many shapes: it may recompile, and its graph may be kept."""
    torch._dynamo.config.recompile_limit = 64
    torch._functorch.config.donated_buffer = False  # the backward pass of one graph is run many times
    return [
        Peer("ours", ours),
        Peer("ours fast", ours_fast),
        Peer("SDPA flash", fused(SDPBackend.FLASH_ATTENTION)),
        Peer("SDPA cuDNN", fused(SDPBackend.CUDNN_ATTENTION)),
        Peer("FlexAttention", flex()),
        Peer("naive", naive, LONGEST_NAIVE),
        Peer("naive compiled", torch.compile(naive), LONGEST_NAIVE),
    ]


def draw(cell: Cell, dtype: torch.dtype, device: str) -> list[Tensor]:
    """q, k, v with gradients, and the gradient of the output; standard normal, seeded."""
    generator = torch.Generator(device).manual_seed(11)
    query = (cell.batch, cell.heads, cell.length, cell.dim)
    key = (cell.batch, cell.groups, cell.length, cell.dim)
    shapes = [query, key, key, query]
    drawn = [torch.randn(shape, generator=generator, device=device).to(dtype) for shape in shapes]
    return [x.requires_grad_() for x in drawn[:3]] + drawn[3:]


def gate_errors(peer: Peer, cell: Cell, dtype: torch.dtype, device: str) -> tuple[dict[str, float], str]:
    """Relative errors of O, dQ, dK and dV on `cell` against float64, and why the peer may not be timed, or nothing."""
    q, k, v, dout = draw(cell, dtype, device)
    exact = [x.detach().double().requires_grad_() for x in (q, k, v)]
    expected, _ = attention_specification(*exact, cell.causal, None, cell.dim**-0.5)  # type: ignore[call-arg,arg-type]
    wanted = [expected, *torch.autograd.grad(expected, exact, dout.double())]
    try:
        out = peer.attend(q, k, v, cell.causal)
        got = [out, *torch.autograd.grad(out, (q, k, v), dout)]
    except Exception as problem:  # whatever a peer cannot do must not end the measurement of the others
        return {}, f"it fails: {first_line(problem)}"
    errors: dict[str, float] = {}
    for name, one, other in zip(("O", "dQ", "dK", "dV"), got, wanted, strict=True):
        errors[name] = ((one.double() - other).norm() / other.norm()).item()
        allowed = GATE[dtype] * (1.0 if name == "O" else 1.5)
        if not errors[name] <= allowed:  # a NaN does not pass
            return errors, f"{name} is off by {errors[name]:.1e} of its norm, allowed {allowed:.0e}"
    return errors, ""


def first_line(problem: Exception) -> str:
    """An error in one line."""
    lines = str(problem).strip().splitlines()
    return f"{type(problem).__name__}: {lines[0][:200]}" if lines else type(problem).__name__
