"""The error classes of the product: all of them, found in the source, then imported.

A class is an error when one of its bases is, by name, so that one in a module that nobody imports is found
too. Which of them may be outside the tree is left to `test_error_tree`.
"""

from __future__ import annotations

import ast
import builtins
import importlib
from collections.abc import Iterable, Mapping

from schemas.errors import LooplineError, Malformed, Refused, Unavailable
from tests.architecture.source import Module

KINDS = (Unavailable, Refused, Malformed)
"""The classes of which each error of the platform has exactly one above it."""

_FOREIGN = {"ClickException", "UsageError"}


def definitions(modules: Mapping[str, Module]) -> dict[str, list[str]]:
    """Each error class's modules by its name, in the source of these modules."""
    classes = [
        (module.name, node)
        for module in modules.values()
        for node in ast.walk(module.tree)
        if isinstance(node, ast.ClassDef)
    ]
    errors = {name for name, each in vars(builtins).items() if _is_error(each)} | _FOREIGN
    found: dict[str, list[str]] = {}
    while new := [
        (where, node)
        for where, node in classes
        if where not in found.get(node.name, ())
        and any(ast.unparse(base).rpartition(".")[2] in errors for base in node.bases)
    ]:
        for where, node in new:
            found.setdefault(node.name, []).append(where)
            errors.add(node.name)
    return found


def public(found: Mapping[str, Iterable[str]]) -> dict[str, type[Exception]]:
    """The classes themselves, by their full names, without those whose names are private."""
    return {
        f"{where}.{name}": getattr(importlib.import_module(where), name)
        for name, modules in found.items()
        if not name.startswith("_")
        for where in modules
    }


def kinds_of(error: type[Exception]) -> list[type[LooplineError]]:
    """Which of the three classes an error belongs to."""
    return [kind for kind in KINDS if issubclass(error, kind)]


def _is_error(each: object) -> bool:
    return isinstance(each, type) and issubclass(each, BaseException)


def kept_lists(modules: Mapping[str, Module], errors: Iterable[str]) -> list[str]:
    """Where somebody keeps a list of error classes under a name, or looks which modules are loaded."""
    known = set(errors)
    found = []
    for module in modules.values():
        for node in ast.walk(module.tree):
            if isinstance(node, ast.Assign | ast.AnnAssign) and isinstance(node.value, ast.Tuple):
                names = [ast.unparse(each).rpartition(".")[2] for each in node.value.elts]
                if len(known.intersection(names)) > 1:
                    found.append(f"{module.name}:{node.lineno} keeps a list: {', '.join(names)}")
            elif isinstance(node, ast.Attribute) and ast.unparse(node) == "sys.modules":
                found.append(f"{module.name}:{node.lineno} looks into sys.modules")
    return found
