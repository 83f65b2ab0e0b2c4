"""What tests replace in the product: never a private name, nor a constant of a module.

A wait, a clock or a limit that a test needs otherwise is an argument with a default, and what a test watches
is something that anybody can see. Names of the standard library may be replaced: a disk that fails, a clock
that stands still. Reading a private name is left to the reviewers.
"""

from __future__ import annotations

import ast
from collections.abc import Iterator, Mapping

from tests.architecture.source import Module

_REPLACING = {"setattr", "delattr", "object", "patch"}
"""`monkeypatch.setattr`, `setattr`, `mock.patch` and `mock.patch.object`."""

ALLOWED: Mapping[str, str] = {
    # Limits, not waits: drawn examples are short, and have to go beyond what the fold and the lists hold at
    # once. As arguments they would be handed through each module of the hot path.
    "WHOLE": "facts of a prediction that are loaded together",
    "LISTED": "votes that a label lists",
    "FEW": "rows that are settled along with a fact",
    "_PAGE": "rows of a walk that are read at once",
    "MOST_COUNTED": "facts that a list counts of each prediction",
    "MOST_LOOKED_AT": "rows that a list looks at",
    "MOST_BYTES": "what a page of a list may take",
    "_FACTS_AT_ONCE": "facts that are read at once for a list",
    # Objects of libraries that are made without what they would connect to.
    "_conns": "aiokafka's connections, which `SteadyClient` is about",
    "_get_conn": "aiokafka's connecting, which `SteadyClient` overrides",
    "_app": "Faust's application, which only Faust makes",
    "_client": "kafka-python's client, which only brokers make",
    "_leaders": "what a thread finds that another thread forgets meanwhile",
    "CLIENT": "kafka-python's own patience while it connects",
    # What happens between two steps of one command, in another process.
    "_look": "brokers that have not heard of a topic yet",
    "_seal": "another command's turn before this one's",
    # Two ways to one verdict, of which the thorough one is asked alone.
    "_plainly_good": "the quick look, which decides nothing by itself",
    "FOLDER": "where the reference pages lie",
}
"""Names that are replaced all the same, and what each is."""


def replaced(module: Module) -> Iterator[tuple[int, str]]:
    """The names that a test module replaces: with `setattr` and its kin, or by assigning to an object's."""
    for node in ast.walk(module.tree):
        if isinstance(node, ast.Call) and _called(node.func) in _REPLACING:
            for given in node.args[:2]:
                if isinstance(given, ast.Constant) and isinstance(given.value, str):
                    if not given.value.startswith("tests."):
                        yield node.lineno, given.value.rpartition(".")[2]
                    break
        elif isinstance(node, ast.Attribute) and not isinstance(node.ctx, ast.Load) and not _is_own(node):
            yield node.lineno, node.attr


def check_replaced(modules: Mapping[str, Module]) -> list[str]:
    """No test replaces a private name or a constant of a module."""
    return [
        f"{name}:{line}: {what} is replaced; make it an argument, or something that anybody can see"
        for name, module in modules.items()
        for line, what in replaced(module)
        if _is_private(what) and what not in ALLOWED
    ]


def _is_private(name: str) -> bool:
    return (name.startswith("_") and not name.endswith("__")) or name.isupper()


def _is_own(node: ast.Attribute) -> bool:
    """Whether an object sets an attribute of its own."""
    return isinstance(node.value, ast.Name) and node.value.id in ("self", "cls")


def _called(function: ast.expr) -> str:
    return function.attr if isinstance(function, ast.Attribute) else getattr(function, "id", "")
