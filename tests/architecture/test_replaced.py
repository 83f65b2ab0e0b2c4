"""Tests pass what they need otherwise; they replace nothing that is the product's own."""

from __future__ import annotations

from functools import cache

import pytest

from tests.architecture.replaced import ALLOWED, check_replaced, replaced
from tests.architecture.source import Module, parse, read


@cache
def modules_of_tests() -> dict[str, Module]:
    """All modules of the tests."""
    found = {name: each for name, each in read(rooms=("tests",)).items() if name.startswith("tests")}
    assert len(found) > 200
    return found


def test_no_test_replaces_a_private_name_or_a_constant() -> None:
    """Waits are arguments, and what is watched can be seen by anybody; exceptions have their reason."""
    assert check_replaced(modules_of_tests()) == []


@pytest.mark.parametrize(
    "line",
    [
        'monkeypatch.setattr(watchdog, "LOOK_S", 0.01)',
        'monkeypatch.setattr("feedback.processes.watchdog.LOOK_S", 0.01)',
        'patch.object(watchdog, "LOOK_S", 0.01)',
        "store._writer = None",
        "del store._writer",
        'setattr(store, "_writer", None)',
    ],
)
def test_a_replaced_name_is_found(line: str) -> None:
    """In each way to write it."""
    (found,) = check_replaced({"tests.a": parse("tests.a", line)})
    assert found.startswith("tests.a:1: ")


@pytest.mark.parametrize(
    "line",
    [
        'monkeypatch.setattr(os, "fsync", fail)',
        'monkeypatch.setattr("tests.docs.pages.ROOT", here)',
        "self._seen = []",
        "store.patience_s = 0.1",
        "seen = store._writer",
    ],
)
def test_what_may_be_replaced_is_left_alone(line: str) -> None:
    """The standard library, a test's own modules and objects, and what is public."""
    assert check_replaced({"tests.a": parse("tests.a", line)}) == []


def test_each_exception_is_needed() -> None:
    """One that no test replaces any more is taken out of the list."""
    used = {name for module in modules_of_tests().values() for _, name in replaced(module)}
    assert set(ALLOWED) <= used
