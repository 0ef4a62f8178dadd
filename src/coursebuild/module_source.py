"""The source of the library's modules: definitions, solution regions, imports and free names, all by AST."""

from __future__ import annotations

import ast
import builtins
import symtable
from dataclasses import dataclass, field
from pathlib import Path

from coursebuild.paths import PACKAGE
from coursebuild.syntax import parse

BEGIN = "### BEGIN SOLUTION"
END = "### END SOLUTION"


@dataclass
class ModuleSource:
    """A module's text and where its top-level names are defined."""

    path: Path
    text: str
    spans: dict[str, tuple[int, int]] = field(default_factory=dict)

    def source(self, name: str) -> str:
        """The source of a top-level function, class or constant, decorators included."""
        first, last = self.spans[name]
        return "\n".join(self.text.splitlines()[first - 1 : last])

    def line(self, name: str) -> int:
        """The line on which a definition starts."""
        return self.spans[name][0]


def read_module(path: Path) -> ModuleSource:
    """Read a module; SyntaxError and OSError are the caller's to explain."""
    text = path.read_text(encoding="utf-8")
    module = ModuleSource(path, text)
    lines = text.splitlines()
    for node in parse(text, str(path)).body:
        for name in _defined(node):
            decorators = getattr(node, "decorator_list", [])
            first = min([node.lineno, *(decorator.lineno for decorator in decorators)])
            module.spans[name] = (first, _last_line(lines, node.end_lineno or node.lineno))
    return module


def _last_line(lines: list[str], end: int) -> int:
    """Where a definition ends, with the indented comments (END SOLUTION) that the syntax tree does not hold."""
    last = end
    for number, text in enumerate(lines[end:], end + 1):
        if text.strip() and not text.startswith((" ", "\t")):
            break
        if text.strip():
            last = number
    return last


def _defined(node: ast.stmt) -> list[str]:
    if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef):
        return [node.name]
    if isinstance(node, ast.Assign):
        return [target.id for target in node.targets if isinstance(target, ast.Name)]
    if isinstance(node, ast.AnnAssign) and isinstance(node.target, ast.Name):
        return [node.target.id]
    return []


def region_fault(source: str) -> str:
    """What is wrong with the solution regions of a definition, or nothing."""
    inside, found = False, 0
    for line in source.splitlines():
        if BEGIN in line:
            if inside:
                return f"has a second {BEGIN} before {END}; close the first region"
            inside, found = True, found + 1
        elif END in line:
            if not inside:
                return f"has {END} without {BEGIN}; add the missing marker"
            inside = False
    if inside:
        return f"has {BEGIN} without {END}; add the missing marker"
    if not found:
        return f"has no solution region; put what the student must write between {BEGIN} and {END}"
    return ""


def without_markers(source: str) -> str:
    """A solution as a person would write it."""
    return "\n".join(line for line in source.split("\n") if line.strip() not in (BEGIN, END))


def imported_modules(text: str, package: str = PACKAGE) -> dict[str, int]:
    """The submodules of the library that a text imports, `package.` cut off, each with its line."""
    found: dict[str, int] = {}
    for node in ast.walk(parse(text)):
        if isinstance(node, ast.Import):
            names = [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom) and not node.level:
            names = [node.module or "", *(f"{node.module}.{alias.name}" for alias in node.names)]
        else:
            continue
        for name in names:
            if name.startswith(package + "."):
                found.setdefault(name.removeprefix(package + "."), node.lineno)
    return found


def free_names(source: str) -> set[str]:
    """The names that a piece of code takes from its surroundings, builtins aside."""
    names: set[str] = set()
    tables = [symtable.symtable(source, "<cell>", "exec")]
    while tables:
        table = tables.pop()
        tables.extend(table.get_children())
        for symbol in table.get_symbols():
            outer = not symbol.is_assigned() if table.get_type() == "module" else symbol.is_global()
            if outer and symbol.is_referenced():
                names.add(symbol.get_name())
    return names - defined_names(source) - set(dir(builtins)) - {"__name__", "__file__", "__class__"}


def defined_names(source: str) -> set[str]:
    """The names that a piece of code binds at its top level, imports included."""
    table = symtable.symtable(source, "<cell>", "exec")
    return {s.get_name() for s in table.get_symbols() if s.is_assigned() or s.is_imported()}
