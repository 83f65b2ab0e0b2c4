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


def check_pauses(modules: Mapping[str, Module]) -> list[str]:
    """No loop makes its own pauses longer: `loopline.backoff` does, for all that tries again."""
    return [
        f"{name}:{node.lineno} {ast.unparse(node)}: take a RetryPolicy of loopline.backoff"
        for name, module in modules.items()
        if name != "loopline.backoff"
        for node in ast.walk(module.tree)
        if isinstance(node, ast.stmt) and _grows_a_pause(node)
    ]


def check_threads(modules: Mapping[str, Module]) -> list[str]:
    """Threads are started in one place, so that none keeps a process from ending; the client has its own."""
    return [
        f"{name}:{node.lineno} starts a thread by hand: `streams.daemon_pool` does"
        for name, module in modules.items()
        if name.partition(".")[0] in ("schemas", "models", "streams", "feedback") and name != DAEMON_POOL
        for node in ast.walk(module.tree)
        if isinstance(node, ast.Call) and ast.unparse(node.func).rpartition(".")[2] in _STARTS_THREADS
    ]


DAEMON_POOL = "streams.daemon_pool"
_STARTS_THREADS = ("Thread", "Timer", "ThreadPoolExecutor")

_PAUSE_WORDS = ("pause", "delay", "backoff", "sleep", "wait", "retry", "next_s")


def _grows_a_pause(node: ast.stmt) -> bool:
    """Whether something that is named for a pause is set to a product of itself, or made of a power."""
    if isinstance(node, ast.AugAssign):
        return isinstance(node.op, ast.Mult) and _is_a_pause(node.target)
    if not isinstance(node, ast.Assign | ast.Return) or node.value is None:
        return False
    named = [part for part in ast.walk(node) if _is_a_pause(part)]
    operations = [part for part in ast.walk(node.value) if isinstance(part, ast.BinOp)]
    if named and any(isinstance(each.op, ast.Pow) for each in operations):
        return True
    multiplied = [each for each in operations if isinstance(each.op, ast.Mult)]
    factors = {ast.unparse(side) for each in multiplied for side in (each.left, each.right)}
    targets = node.targets if isinstance(node, ast.Assign) else []
    return any(
        _is_a_pause(part) and ast.unparse(part) in factors for each in targets for part in ast.walk(each)
    )


def _is_a_pause(node: ast.AST) -> bool:
    named = node.id if isinstance(node, ast.Name) else node.attr if isinstance(node, ast.Attribute) else ""
    return any(word in named.lower() for word in _PAUSE_WORDS)


def _is_stub(node: ast.FunctionDef | ast.AsyncFunctionDef) -> bool:
    """Whether all that a function does is to say that it is not there; a hook may decline some values."""
    does = [
        part
        for part in node.body
        if not (isinstance(part, ast.Expr) and isinstance(part.value, ast.Constant))
    ]
    return bool(does) and isinstance(does[0], ast.Raise) and "NotImplementedError" in ast.dump(does[0])
