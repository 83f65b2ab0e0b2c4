"""The entry points of packages: what others may import from them, listed in the docstring of an `__init__`.

An item of such a list begins with the name of a module, and has the names that are imported from it in
backquotes: - `streams.projection.apply`: `advance`, `check`. It stands in a package around the module. The
lists are text, so that reading them loads nothing.
"""

from __future__ import annotations

import ast
import re
from collections import defaultdict
from collections.abc import Mapping

from tests.architecture.floors import within
from tests.architecture.source import Module

LISTED = ("models", "streams", "feedback.datasets")
"""The packages of which others import only what is listed."""

_ITEM = re.compile(r"^- `([\w.]+)`:(.*(?:\n  .+)*)", re.MULTILINE)
_NAME = re.compile(r"`(\w+)`")

Points = dict[str, set[str]]
"""The names of each module."""


def listed(modules: Mapping[str, Module]) -> Points:
    """What the packages list."""
    found: Points = {}
    for package in LISTED:
        for module in modules.values():
            if module.is_package and within(module.name, package):
                for name, text in _ITEM.findall(ast.get_docstring(module.tree) or ""):
                    if within(name, module.name):
                        found.setdefault(name, set()).update(_NAME.findall(text))
    return found


def imported(modules: Mapping[str, Module]) -> dict[tuple[str, str], str]:
    """Each name that is imported from outside of its package, by module and name, with who does it."""
    found: dict[tuple[str, str], str] = {}
    for module in modules.values():
        imports = [each for each in module.imports if _crosses(each.target, module.name)]
        for each in imports:
            # `from a import b` is there as a and as a.b: what is meant is the longer one.
            if not any(each.line == other.line and _is_in(other.target, each.target) for other in imports):
                where = _module_of(each.target, modules)
                found.setdefault((where, each.target[len(where) + 1 :]), f"{module.name}:{each.line}")
    return found


def _crosses(target: str, importer: str) -> bool:
    """Whether an import leads into a package with a list, from outside of it."""
    return any(within(target, package) and not within(importer, package) for package in LISTED)


def _is_in(target: str, outer: str) -> bool:
    return target != outer and within(target, outer)


def check_entry_points(modules: Mapping[str, Module]) -> list[str]:
    """What others import is listed, what is listed is imported, and it is there."""
    points, asked = listed(modules), imported(modules)
    wrong = [
        f"{who} imports {name} from {where}: list it in the __init__ of a package around it, or do not"
        for (where, name), who in asked.items()
        if name not in points.get(where, ())
    ]
    by_module = defaultdict(set)
    for where, name in asked:
        by_module[where].add(name)
    for where, names in points.items():
        if where not in modules:
            wrong.append(f"{where} is listed and is no module")
            continue
        wrong += [f"{where} has no {name}, which is listed" for name in names - _bound(modules[where])]
        wrong += [f"nobody imports {name} of {where}, which is listed" for name in names - by_module[where]]
    return wrong


def _module_of(target: str, modules: Mapping[str, Module]) -> str:
    """The module in which an imported name is; of a module itself, the package around it."""
    parts = target.split(".")[:-1] or [target]
    while ".".join(parts) not in modules:
        parts.pop()
    return ".".join(parts)


def _bound(module: Module) -> set[str]:
    """The names that a module has at its top level."""
    names: set[str] = set()
    for node in module.tree.body:
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef):
            names.add(node.name)
        elif isinstance(node, ast.Assign):
            for target in node.targets:
                names |= {each.id for each in ast.walk(target) if isinstance(each, ast.Name)}
        elif isinstance(node, ast.AnnAssign) and isinstance(node.target, ast.Name):
            names.add(node.target.id)
        elif isinstance(node, ast.Import | ast.ImportFrom):
            names |= {alias.asname or alias.name for alias in node.names}
    return names
