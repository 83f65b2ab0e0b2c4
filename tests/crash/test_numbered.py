"""The numbered steps are the same where they are taken, where tests kill the process, and in the docs."""

from __future__ import annotations

import inspect
import re
from types import ModuleType

import pytest

import streams.deciders.reconcile
import streams.deciders.runner
import streams.log.sqlite
import streams.projection.apply
import streams.store.sqlite.store
from tests.crash import test_steps
from tests.docs.pages import ROOT

_PAGES = ROOT / "docs" / "explanation"
_APPEND = ("append", streams.log.sqlite, [streams.log.sqlite])
_PROJECT = ("project", streams.projection.apply, [streams.projection.apply, streams.store.sqlite.store])

_DECIDE = ("decide", streams.deciders.reconcile, [streams.deciders.reconcile, streams.deciders.runner])


def _numbered(text: str) -> list[str]:
    """The items of a text's first numbered list."""
    items = re.findall(r"^(\d)\. (.+?)[;.]$", text, re.MULTILINE)
    assert [int(number) for number, _ in items] == list(range(1, len(items) + 1))
    return [item for _, item in items]


def _killed_at() -> set[str]:
    """The steps at which `test_steps` kills."""
    tests = [each for name, each in vars(test_steps).items() if name.startswith("test_")]
    return {step for test in tests for mark in test.pytestmark for step in mark.args[1]}


@pytest.mark.parametrize(
    "name,described,taken", [_APPEND, _PROJECT, _DECIDE], ids=["append", "project", "decide"]
)
def test_a_step_has_one_number_everywhere(name: str, described: ModuleType, taken: list[ModuleType]) -> None:
    """Docstring, sentinels, crash tests and pages name the same steps."""
    steps = _numbered(described.__doc__ or "")
    names = [f"{name}.{number}" for number in range(1, len(steps) + 1)]
    sources = "".join(inspect.getsource(module) for module in taken)
    assert sorted(re.findall(rf'reached\("({name}\.\d)"\)', sources)) == names
    assert {step for step in _killed_at() if step.startswith(f"{name}.")} == set(names)
    page = (_PAGES / "promise.md").read_text()
    described_there = re.findall(rf"^\| `({name}\.\d)` \| (.+?) \|", page, re.MULTILINE)
    assert [step for step, _ in described_there] == names
    assert [what.replace("`", "") for _, what in described_there] == [step.replace("`", "") for step in steps]
