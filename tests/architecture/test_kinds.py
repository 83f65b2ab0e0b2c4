"""A kind of event is named in one place, `schemas.kinds`; elsewhere its row is, so that a typo is found."""

from __future__ import annotations

import ast
from collections.abc import Mapping

from schemas.kinds import FEEDBACK, KINDS, PREFIX
from tests.architecture.floors import top
from tests.architecture.source import CLIENT, Module, parse, read

_NAMES = {*KINDS, *(kind.type for kind in KINDS.values()), FEEDBACK, PREFIX + FEEDBACK}


def literals(modules: Mapping[str, Module]) -> list[str]:
    """Where a text is the name or the type of a kind, or how those of feedback begin."""
    return [
        f"{module.name}:{node.lineno} says {node.value!r}: name its row in schemas.kinds"
        for module in modules.values()
        for node in ast.walk(module.tree)
        if isinstance(node, ast.Constant) and node.value in _NAMES
    ]


def test_no_kind_is_named_outside_of_the_table() -> None:
    """The platform compares with rows, asks rows, and sends the types of rows."""
    ours = {name: module for name, module in read().items() if top(name) != CLIENT}
    table = ours.pop("schemas.kinds")
    assert len(literals({"schemas.kinds": table})) > len(KINDS)
    assert len(ours) > 100
    assert literals(ours) == []


def test_a_literal_is_found() -> None:
    """A name, a type, a beginning: also inside of an f-string and where it is a key."""
    for text in (
        'kind == "feedback.thumb"',
        'x = {"loopline.model.deployed.v1": 1}',
        'kind.startswith("feedback.")',
        'f"feedback.{kind}"',
    ):
        assert len(literals({"streams.a": parse("streams.a", text)})) == 1, text
    assert literals({"streams.a": parse("streams.a", '"""How `feedback.thumb` is counted."""')}) == []
