"""The source as data: every module of the rooms and the client, parsed, with what it imports and when.

Nothing is imported or run here, so a check sees a module that does not even load. What is allowed is left to
`floors` and `shape`.
"""

from __future__ import annotations

import ast
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
ROOMS = ("schemas", "models", "streams", "feedback")
"""From the ground up: a room may import from those before it."""
CLIENT = "loopline"
ENTRY = "loopline_platform"
"""The module beside the rooms in which every process begins."""


@dataclass(frozen=True)
class Import:
    """One imported name: in which module and line, and whether it happens when that module is loaded."""

    module: str
    target: str
    line: int
    on_load: bool


@dataclass(frozen=True)
class Module:
    """One source file under its import name."""

    name: str
    path: Path
    text: str
    tree: ast.Module

    @property
    def is_package(self) -> bool:
        """Whether this is the `__init__` of a folder."""
        return self.path.name == "__init__.py"

    @property
    def imports(self) -> list[Import]:
        """Every import of this module, at any depth."""
        return list(_walk(self, self.tree, on_load=True))


def parse(name: str, text: str, path: Path | None = None) -> Module:
    """A module from its text; without a path it is taken for a plain file of that name."""
    where = path or Path(*name.split(".")).with_suffix(".py")
    return Module(name, where, text, ast.parse(text, str(where)))


def read(root: Path = ROOT, rooms: tuple[str, ...] = ROOMS) -> dict[str, Module]:
    """All modules of the rooms and of the client below `root`, by import name."""
    found: dict[str, Module] = {}
    homes = [(root, room) for room in rooms] + [(root / "clients" / "python", CLIENT)]
    for base, package in homes:
        for path in sorted((base / package).rglob("*.py")):
            parts = path.relative_to(base).with_suffix("").parts
            name = ".".join(parts[:-1] if parts[-1] == "__init__" else parts)
            found[name] = parse(name, path.read_text(encoding="utf-8"), path)
    return found


def _is_typing_only(node: ast.If) -> bool:
    test = node.test
    name = test.attr if isinstance(test, ast.Attribute) else test.id if isinstance(test, ast.Name) else ""
    return name == "TYPE_CHECKING"


def _walk(module: Module, node: ast.AST, *, on_load: bool) -> Iterator[Import]:
    for child in ast.iter_child_nodes(node):
        if isinstance(child, ast.Import | ast.ImportFrom | ast.Call):
            for target in _targets(module, child):
                yield Import(module.name, target, child.lineno, on_load)
        if isinstance(child, ast.If) and _is_typing_only(child):
            for part in child.body:
                yield from _walk(module, ast.Module([part], []), on_load=False)
            for part in child.orelse:
                yield from _walk(module, ast.Module([part], []), on_load=on_load)
        elif isinstance(child, ast.FunctionDef | ast.AsyncFunctionDef | ast.Lambda):
            yield from _walk(module, child, on_load=False)
        else:
            yield from _walk(module, child, on_load=on_load)


def _targets(module: Module, node: ast.Import | ast.ImportFrom | ast.Call) -> list[str]:
    if isinstance(node, ast.Import):
        return [alias.name for alias in node.names]
    if isinstance(node, ast.ImportFrom):
        base = _base(module, node)
        # `from a import b` may mean the module a.b; whoever follows imports looks which of the two exists.
        return [base, *(f"{base}.{alias.name}" for alias in node.names if alias.name != "*")]
    called = node.func.attr if isinstance(node.func, ast.Attribute) else getattr(node.func, "id", "")
    named = node.args[0] if node.args else None
    if called in {"import_module", "__import__"} and isinstance(named, ast.Constant):
        return [str(named.value)]
    return []


def _base(module: Module, node: ast.ImportFrom) -> str:
    if not node.level:
        return node.module or ""
    package = module.name.split(".") if module.is_package else module.name.split(".")[:-1]
    kept = package[: len(package) - (node.level - 1)]
    return ".".join([*kept, *([node.module] if node.module else [])])
