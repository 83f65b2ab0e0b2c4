"""How long things are, what they are called, and whether they say what they are for.

Style that a linter can see is left to ruff; what the linter has no rule for is here.
"""

from __future__ import annotations

import ast
from collections.abc import Mapping

from tests.architecture.source import Module

MODULE_LINES = 450
FUNCTION_LINES = 60
"""From `def` to the last line; decorators are not counted, they are declarations."""

EMPTY_NAMES = {"common", "helper", "helpers", "manager", "managers", "misc", "util", "utils"}
"""Words that say nothing about what a module is for."""

LEFT_FOR_LATER = ("TO" + "DO", "FIX" + "ME", "XX" + "X")


def check_module_sizes(modules: Mapping[str, Module]) -> list[str]:
    """No module is longer than people keep in mind."""
    return [
        f"{name}: {lines} lines, {MODULE_LINES} are allowed"
        for name, module in modules.items()
        if (lines := len(module.text.splitlines())) > MODULE_LINES
    ]


def check_function_sizes(modules: Mapping[str, Module]) -> list[str]:
    """No function is longer than a screen."""
    return [
        f"{name}:{node.lineno} {node.name}: {lines} lines, {FUNCTION_LINES} are allowed"
        for name, module in modules.items()
        for node in ast.walk(module.tree)
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)
        and (lines := (node.end_lineno or node.lineno) - node.lineno + 1) > FUNCTION_LINES
    ]


def check_docstrings(modules: Mapping[str, Module]) -> list[str]:
    """Every module says what it is for."""
    return [f"{name}: no docstring" for name, module in modules.items() if not ast.get_docstring(module.tree)]


def check_names(modules: Mapping[str, Module]) -> list[str]:
    """No module has a name that would fit any other."""
    return [
        f"{name}: {word!r} does not say what the module is for"
        for name in modules
        for word in sorted(EMPTY_NAMES.intersection(name.rpartition(".")[2].split("_")))
    ]


def check_finished(modules: Mapping[str, Module]) -> list[str]:
    """Nothing is left for later in a comment, and no function is a stub."""
    found = []
    for name, module in modules.items():
        for number, line in enumerate(module.text.splitlines(), 1):
            found += [f"{name}:{number} says {word}" for word in LEFT_FOR_LATER if word in line]
        found += [
            f"{name}:{node.lineno} {node.name} is a stub"
            for node in ast.walk(module.tree)
            if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef) and _is_stub(node)
        ]
    return found


def _is_stub(node: ast.FunctionDef | ast.AsyncFunctionDef) -> bool:
    """Whether all that a function does is to say that it is not there; a hook may decline some values."""
    does = [
        part
        for part in node.body
        if not (isinstance(part, ast.Expr) and isinstance(part.value, ast.Constant))
    ]
    return bool(does) and isinstance(does[0], ast.Raise) and "NotImplementedError" in ast.dump(does[0])
