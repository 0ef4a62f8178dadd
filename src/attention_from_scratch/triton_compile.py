"""Compile kernels for GPUs that are not here, and read what the compiler made: registers, spills, shared memory.

A kernel that was decorated under the interpreter cannot be compiled, so the work is done in a fresh Python in which
the interpreter is off. NVIDIA's assembler and disassembler come inside the Triton wheel; of AMD code the compiler's own
notes are read. A binary says nothing about speed, but much about mistakes: a stride that the compiler does not know, a
tile too large for the registers, a product that missed the tensor cores.
"""

from __future__ import annotations

import inspect
import json
import os
import re
import subprocess
import sys
import tempfile
import textwrap
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

__all__ = ["SHARED_LIMIT", "TARGETS", "Compiled", "Request", "as_module", "compile_ahead", "unfit"]

TARGETS = {
    "sm_80": ("cuda", 80, 32),
    "sm_90": ("cuda", 90, 32),
    "sm_100": ("cuda", 100, 32),
    "gfx942": ("hip", "gfx942", 64),
}
SHARED_LIMIT = {
    "sm_80": 166_912,
    "sm_90": 232_448,
    "sm_100": 232_448,
    "gfx942": 65_536,
}  # bytes a block may use
TENSOR_MEMORY_LIMIT = 512  # columns; the memory beside the tensor cores of sm_100, where accumulators live
MATRIX_INSTRUCTIONS = {
    "sm_80": r"\bHMMA",
    "sm_90": r"\bHG?MMA",  # HGMMA: a whole warp group multiplies out of shared memory; HMMA: one warp, out of registers
    "sm_100": r"\b(?:UTC\w*MMA|HMMA)",
    "gfx942": r"v_mfma_",
}


@dataclass(frozen=True)
class Request:
    """One kernel in one configuration for one target.

    `kernel` is "module:name". `types` names every argument that is passed at run time, in Triton's spelling ("*fp16",
    "i32", "fp32"); `constants` holds the rest. Pointers are taken to be aligned to 16 bytes, as PyTorch allocates them.
    """

    kernel: str
    target: str
    types: dict[str, str]
    constants: dict[str, Any]
    options: dict[str, int] = field(default_factory=dict)
    divisible: tuple[str, ...] = ()  # integers that are multiples of 16


@dataclass(frozen=True)
class Compiled:
    """What the compiler made: `error` is empty where it made something. Sizes are bytes a thread or a block.

    `matrix_kinds` names the matrix instructions that are in the program ("HGMMA", "HMMA", "UTCHMMA", "v_mfma"), and
    `instructions` counts all instructions of it. `bulk_copies` are the instructions that move a whole box by a tensor
    descriptor; `specialized` says that the warps have different jobs; `tensor_memory` counts columns.
    """

    error: str = ""
    registers: int = 0
    spills: int = 0
    shared: int = 0
    matrix_instructions: int = 0
    matrix_kinds: str = ""
    instructions: int = 0
    bulk_copies: int = 0
    specialized: bool = False
    tensor_memory: int = 0


def unfit(compiled: Compiled, target: str) -> str:
    """Why a program should not run on this target, or nothing: it is none, it spills, or its tiles do not fit."""
    if compiled.error:
        return compiled.error
    if compiled.spills:
        return f"{compiled.spills} spills"
    if compiled.shared > SHARED_LIMIT[target]:
        return f"{compiled.shared} bytes of shared memory, {SHARED_LIMIT[target]} are there"
    # the compiler makes an empty program then, without a word
    if compiled.tensor_memory > TENSOR_MEMORY_LIMIT:
        return f"{compiled.tensor_memory} columns of tensor memory, {TENSOR_MEMORY_LIMIT} are there"
    return ""


def compile_ahead(requests: list[Request], path: list[str] | None = None) -> list[Compiled]:
    """Compile every request in one fresh Python; `path` is put before its module search path.

    Raises RuntimeError when that Python itself fails; a kernel that does not compile is an answer like any other.
    """
    message = {"requests": [asdict(request) for request in requests], "path": path or []}
    environment = {**os.environ, "TRITON_INTERPRET": "0"}
    run = subprocess.run(
        [sys.executable, "-m", __name__],
        input=json.dumps(message),
        env=environment,
        capture_output=True,
        text=True,
    )
    if run.returncode:
        raise RuntimeError(f"compiling ahead of time failed: {run.stderr.strip().splitlines()[-1:]}")
    return [Compiled(**answer) for answer in json.loads(run.stdout.splitlines()[-1])]


def as_module(*kernels: Any) -> tuple[str, str]:
    """Write kernels that were defined in a notebook into a module of their own; returns its folder and its name."""
    folder = tempfile.mkdtemp(prefix="kernels-")
    header = "from attention_from_scratch.triton_support import tl, triton"
    sources = [textwrap.dedent(inspect.getsource(kernel.fn)) for kernel in kernels]
    Path(folder, "notebook_kernels.py").write_text("\n\n\n".join([header, *sources]), encoding="utf-8")
    return folder, "notebook_kernels"


def _compile(request: Request) -> Compiled:
    """Runs in the fresh Python."""
    import importlib

    import triton
    from triton.backends.compiler import GPUTarget
    from triton.compiler import ASTSource

    module, name = request.kernel.split(":")
    kernel = getattr(importlib.import_module(module), name)
    names = [parameter.name for parameter in kernel.params]
    signature = {one: request.types.get(one, "constexpr") for one in names}
    aligned = [one for one in names if signature[one].startswith("*") or one in request.divisible]
    attributes = {(names.index(one),): [["tt.divisibility", 16]] for one in aligned}
    constants = {one: value for one, value in request.constants.items() if one in names}
    source = ASTSource(kernel, signature, constants, attributes)
    try:
        binary = triton.compile(source, target=GPUTarget(*TARGETS[request.target]), options=request.options)
    except Exception as error:
        return Compiled(error=f"{type(error).__name__}: {str(error).strip().splitlines()[-1]}")
    if request.target == "gfx942":
        text = binary.asm["amdgcn"]
        spills = max([int(number) for number in re.findall(r"vgpr_spill_count:\s+(\d+)", text)], default=0)
        registers = max([int(number) for number in re.findall(r"\.vgpr_count:\s+(\d+)", text)], default=0)
        matrices = len(re.findall(MATRIX_INSTRUCTIONS["gfx942"], text))
        count = len(re.findall(r"^\s+[vs]_\w+|^\s+(?:ds|buffer|global)_\w+", text, re.MULTILINE))
        kinds = "v_mfma" if matrices else ""
        return Compiled("", registers, spills, binary.metadata.shared, matrices, kinds, count)
    columns = getattr(binary.metadata, "tmem_size", 0) or 0
    return _read_cubin(binary.asm["cubin"], binary.metadata.shared, columns, request.target)


def _read_cubin(cubin: bytes, shared: int, columns: int, target: str) -> Compiled:
    with tempfile.NamedTemporaryFile(suffix=".cubin") as file:
        file.write(cubin)
        file.flush()
        usage = _tool("cuobjdump", "-res-usage", file.name)
        # the code alone, without an analysis that takes its time
        code = _tool("nvdisasm", "-c", "-ndf", file.name)
    registers = max([int(number) for number in re.findall(r"REG:(\d+)", usage)], default=0)
    spills = len(re.findall(r"\b(?:LDL|STL)\b", code))  # loads and stores of a thread's private stack
    matrices = re.findall(MATRIX_INSTRUCTIONS[target], code)
    count = len(re.findall(r"^\s*/\*[0-9a-f]{4,}\*/\s+\S", code, re.MULTILINE))
    kinds = " ".join(sorted(set(matrices)))
    boxes = len(re.findall(r"\bUTMA(?:LDG|STG|REDG)", code))
    specialized = "USETMAXREG" in code  # one warp group hands registers to another
    return Compiled("", registers, spills, shared, len(matrices), kinds, count, boxes, specialized, columns)


def _tool(name: str, *arguments: str) -> str:
    """What one of NVIDIA's tools says, which come inside the Triton wheel."""
    import triton

    tool = Path(triton.__file__).parent / "backends" / "nvidia" / "bin" / name
    run = subprocess.run([str(tool), *arguments], capture_output=True, text=True, check=True)
    return run.stdout + run.stderr


def main() -> None:
    """Read requests from standard input, write what was compiled to standard output."""
    message = json.load(sys.stdin)
    sys.path[:0] = message["path"]
    requests = [Request(**{**one, "divisible": tuple(one["divisible"])}) for one in message["requests"]]
    print(json.dumps([asdict(_compile(request)) for request in requests]))


if __name__ == "__main__":
    main()
