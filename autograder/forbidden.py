"""The check of a student's source against what an exercise forbids, with aliases followed.

A breach is a forbidden name used inside a function or class of the exercise's own cell. Code that only could be one
(a name computed at run time, `eval`, `torch.ops`) is flagged for a person; the watch at call time sees where it leads.
"""

from __future__ import annotations

import ast
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field

from autograder.report import Flag
from coursebuild.syntax import parse

MAX_DOTS = 20  # no forbidden name has more parts, and a chain can be made as long as a notebook
# The same function under its other names.
FAMILIES = {
    "softmax": (
        "torch.softmax", "torch.nn.functional.softmax", "torch.special.softmax", "torch.Tensor.softmax",
        "torch.nn.Softmax", "torch.nn.functional._softmax", "torch._softmax",
    ),
    "scaled_dot_product_attention": (
        "torch.nn.functional.scaled_dot_product_attention", "torch._C._nn.scaled_dot_product_attention",
        "torch.nn.functional._scaled_dot_product_attention",
    ),
    "MultiheadAttention": (
        "torch.nn.MultiheadAttention", "torch.nn.modules.MultiheadAttention",
        "torch.nn.modules.activation.MultiheadAttention", "torch.ao.nn.quantizable.MultiheadAttention",
    ),
}  # fmt: skip
SUSPICIOUS_NAMES = (
    "eval", "exec", "compile", "__import__", "globals", "vars", "breakpoint", "__builtins__", "__loader__", "__spec__",
)  # fmt: skip
SUSPICIOUS_MODULES = (
    "importlib", "ctypes", "gc", "inspect", "builtins", "torch.ops", "torch._C", "torch._ops", "torch.overrides",
    "torch.utils._python_dispatch", "os", "sys", "subprocess", "socket", "multiprocessing", "signal", "pickle",
    "autograder", "coursebuild", "nbgrader", "IPython", "pathlib", "shutil", "runpy", "code", "pdb", "threading",
    "_thread", "concurrent", "asyncio", "torch.jit", "torch.fx", "torch.compile", "torch.export",
    "torch._dynamo", "torch._inductor", "torch.utils.cpp_extension", "torch.library", "torch.package",
)  # fmt: skip
SUSPICIOUS_ATTRIBUTES = (
    "_getframe", "f_back", "f_globals", "f_locals", "__globals__", "__code__", "__builtins__", "__subclasses__",
    "__dict__", "tb_frame", "get_objects", "get_referrers", "_dispatcher", "_stub", "__loader__", "__spec__",
    "__mro__", "__bases__", "__base__", "gi_frame", "cr_frame", "__closure__", "sys", "os", "builtins",
    "importlib", "inspect", "ctypes", "subprocess", "_os", "_sys",
)  # fmt: skip


@dataclass
class Findings:
    """What the source of one exercise's cell says."""

    breaches: list[str] = field(default_factory=list)
    flags: list[Flag] = field(default_factory=list)


def aliases(sources: Iterable[str]) -> dict[str, str]:
    """What the top-level names of all cells stand for, as full dotted names, as far as imports and `=` tell."""
    known: dict[str, str] = {}
    for source in sources:
        tree = _parsed(source)
        for node in ast.walk(tree) if tree else ():
            if type(node) in (ast.Import, ast.ImportFrom, ast.Assign):
                _learn(node, known)
    return known


def _learn(node: ast.AST, known: dict[str, str]) -> None:
    if isinstance(node, ast.Import):
        for name in node.names:
            known[name.asname or name.name.split(".")[0]] = (
                name.name if name.asname else name.name.split(".")[0]
            )
    elif isinstance(node, ast.ImportFrom) and node.module:
        for name in node.names:
            known[name.asname or name.name] = f"{node.module}.{name.name}"
    elif isinstance(node, ast.Assign) and len(node.targets) == 1 and isinstance(node.targets[0], ast.Name):
        value = dotted(node.value, known)
        if value and value.split(".")[0] in ("torch", "numpy", "scipy", "math", "functorch"):
            known[node.targets[0].id] = value


def dotted(node: ast.AST, known: dict[str, str]) -> str | None:
    """The full dotted name of an expression such as `F.softmax` or `getattr(torch, "softmax")`."""
    attributes: list[str] = []
    while len(attributes) < MAX_DOTS:
        match node:
            case ast.Name():
                return ".".join([known.get(node.id, node.id), *reversed(attributes)])
            case ast.Attribute():
                attributes.append(node.attr)
                node = node.value
            case ast.Call(func=ast.Name(id="getattr"), args=[owner, ast.Constant(value=str(attribute)), *_]):
                attributes.append(attribute)
                node = owner
            case _:
                return None
    return None


def forbidden_names(forbids: Iterable[str]) -> dict[str, str]:
    """Every name under which something forbidden can be reached, and which rule it breaks."""
    names: dict[str, str] = {}
    for rule in forbids:
        for name in (rule, *(FAMILIES.get(rule.rsplit(".", 1)[-1], ()) if rule.startswith("torch.") else ())):
            names[name] = rule
    return names


def inspect(source: str, forbids: Iterable[str], known: dict[str, str]) -> Findings:
    """Check the cell of one exercise."""
    findings = Findings()
    rules = forbidden_names(forbids)
    tree = _parsed(source) if rules else None
    if tree is None:
        return findings
    methods = {rule.rsplit(".", 1)[-1]: rule for rule in rules if rule.startswith("torch.Tensor.")}
    for node, inside in _walk(tree):
        if type(node) not in (ast.Name, ast.Attribute, ast.Call):
            continue
        name = dotted(node, known)
        rule = rules.get(name or "")
        line = getattr(node, "lineno", 0)
        if rule and inside:
            findings.breaches.append(f"{rule} in line {line}")
        elif rule:
            findings.flags.append(
                Flag("forbidden_name", f"{rule} stands in line {line}, outside of the solution")
            )
        elif isinstance(node, ast.Attribute) and node.attr in methods and not _is_self(node.value):
            text = f".{node.attr} in line {line} may be {methods[node.attr]}"
            findings.flags.append(Flag("forbidden_name", text))
    findings.breaches = list(dict.fromkeys(findings.breaches))
    return findings


def suspicious(label: str, source: str, known: dict[str, str]) -> list[Flag]:
    """Constructs that an exercise never needs and that can hide something."""
    tree = _parsed(source)
    seen: dict[str, int] = {}
    for node in ast.walk(tree) if tree else ():
        for what in _suspects(node, known) if type(node) in _LOOKED_AT else ():
            seen.setdefault(what, getattr(node, "lineno", 0))
    return [Flag("suspicious", f"{label}, line {line}: {what}") for what, line in list(seen.items())[:20]]


_LOOKED_AT = (ast.Import, ast.ImportFrom, ast.Name, ast.Call, ast.Attribute)


def _suspects(node: ast.AST, known: dict[str, str]) -> Iterator[str]:
    if isinstance(node, ast.Import | ast.ImportFrom):
        base = f"{node.module or ''}." if isinstance(node, ast.ImportFrom) else ""
        for name in (base + alias.name for alias in node.names):
            if _below(name, SUSPICIOUS_MODULES):
                yield f"imports {name}"
    elif isinstance(node, ast.Name) and node.id in SUSPICIOUS_NAMES:
        yield f"uses {node.id}"
    elif isinstance(node, ast.Call) and isinstance(node.func, ast.Name):
        computed = len(node.args) > 1 and not isinstance(node.args[1], ast.Constant)
        if node.func.id in ("getattr", "setattr", "delattr") and computed:
            yield f"{node.func.id} with a computed name"
    elif isinstance(node, ast.Attribute):
        name = dotted(node, known) or ""
        if node.attr in SUSPICIOUS_ATTRIBUTES:
            yield f"reads {node.attr}"
        elif _below(name, tuple(m for m in SUSPICIOUS_MODULES if "." in m)):
            yield f"uses {name}"
        elif isinstance(node.ctx, ast.Store | ast.Del) and name.split(".")[0] in (
            "torch",
            "numpy",
            "math",
            "einops",
        ):
            yield f"replaces {name}"


def _below(name: str, modules: tuple[str, ...]) -> bool:
    return any(name == module or name.startswith(f"{module}.") for module in modules)


def _is_self(node: ast.AST) -> bool:
    return isinstance(node, ast.Name) and node.id == "self"


def _walk(tree: ast.AST) -> Iterator[tuple[ast.AST, bool]]:
    """Every node, and whether it stands inside a function or class."""
    stack: list[tuple[ast.AST, bool]] = [(tree, False)]
    while stack:
        node, inside = stack.pop()
        yield node, inside
        deeper = inside or isinstance(
            node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef | ast.Lambda
        )
        stack += [(child, deeper) for child in ast.iter_child_nodes(node)]


def _parsed(source: str) -> ast.Module | None:
    try:
        return parse(source)
    except (SyntaxError, ValueError, RecursionError, MemoryError):
        return None
