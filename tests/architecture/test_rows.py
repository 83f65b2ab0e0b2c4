"""Rows are built and read by name, and two values that are swapped are found by `make lint`."""

from __future__ import annotations

import ast
import copy
import subprocess
import sys
from collections.abc import Iterator
from itertools import combinations
from pathlib import Path

import pytest

from tests.architecture import rows
from tests.architecture.source import ROOT, Module, parse, read

MODULES = read()
FIELDS = rows.rows_of(MODULES)
TABLES = {rows.TABLES: MODULES[rows.TABLES]}


def made_up(text: str, name: str = "streams.a") -> dict[str, Module]:
    """The tables, and one module that exists only in a test."""
    imports = "from streams.store.tables import Exposure, FACTS, Fact, Prediction\n"
    return {**TABLES, name: parse(name, imports + text)}


def test_rows_are_built_and_read_by_name() -> None:
    """The code as it is passes every check, and there are rows of all tables among what was checked."""
    assert rows.violations(MODULES) == []
    built = {each.row for each in rows.constructions(MODULES)}
    assert built == FIELDS.keys()


BUILDING = sorted({each.module for each in rows.constructions(MODULES)})


def test_each_exception_is_needed(monkeypatch: pytest.MonkeyPatch) -> None:
    """A column that is said to be made of something else would be refused without that."""
    modules = TABLES | {name: MODULES[name] for name in BUILDING}
    for row, column in list(rows.MADE_OF):
        with monkeypatch.context() as patch:
            patch.delitem(rows.MADE_OF, (row, column))
            assert any(f"builds {row}.{column} of" in said for said in rows.check_names(modules)), column


def calls(module: Module) -> Iterator[tuple[ast.Module, ast.Call, str]]:
    """Of a module a copy of its tree for each call that builds a row, with that call, and the row's name."""
    lines = {each.line: each.row for each in rows.constructions({**TABLES, module.name: module})}
    for number, node in enumerate(ast.walk(module.tree)):
        if (
            isinstance(node, ast.Call)
            and node.lineno in lines
            and set(FIELDS[lines[node.lineno]]) >= {each.arg for each in node.keywords}
            and len(node.keywords) > 1
        ):
            tree = copy.deepcopy(module.tree)
            call = list(ast.walk(tree))[number]
            assert isinstance(call, ast.Call)
            yield tree, call, lines[node.lineno]


@pytest.mark.parametrize("name", BUILDING)
def test_any_two_values_that_are_swapped_are_found(name: str) -> None:
    """Whichever two columns of whichever row change places: the check says where, types or no types."""
    module = MODULES[name]
    swapped = 0
    for tree, call, row in calls(module):
        for one, other in combinations(call.keywords, 2):
            if isinstance(one.value, ast.Constant) and isinstance(other.value, ast.Constant):
                # Two that are the same, or of types that mypy tells apart.
                same = one.value.value == other.value.value
                assert same or type(one.value.value) is not type(other.value.value)
                continue
            if ast.dump(one.value) == ast.dump(other.value):
                continue
            one.value, other.value = other.value, one.value
            found = rows.check_names({**TABLES, name: Module(name, module.path, module.text, tree)})
            assert any(f"{row}.{each.arg}" in said for each in (one, other) for said in found), (
                one.arg,
                other.arg,
            )
            one.value, other.value = other.value, one.value
            swapped += 1
    assert swapped


@pytest.mark.parametrize(
    "text",
    [
        "def f(row): return row[3]",
        "def f(row): return row[:2]",
        "def f(rows): return [each[0] for each in rows]",
        "def f(rows): return rows[0][1]",
        "def f(rows):\n for it in rows:\n  yield it[-1]",
        "def f(snapshot): return {it[0] for it in snapshot.scan(FACTS)}",
        "def f(self): return {it[0] for it in self._tx.get(FACTS, [])}",
        "PID = FACTS.columns.index('pid')",
        "def f(table):\n columns = table.columns\n return list(map(columns.index, table.key))",
    ],
)
def test_counting_columns_is_found(text: str) -> None:
    """A number behind a row, and the index of a column, in every spelling."""
    assert rows.check_counting(made_up(text))
    assert rows.check_counting(made_up(text, "feedback.a"))


@pytest.mark.parametrize(
    "text",
    [
        "def f(rows): return rows[-1], rows[:10]",
        "def f(row): return row['label']",
        "def f(key): return key[:1]",
    ],
)
def test_what_is_no_column_may_be_counted(text: str) -> None:
    """Rows of a page, a dict by its keys, the first byte of a key."""
    assert not rows.check_counting(made_up(text))


@pytest.mark.parametrize("call", ["Fact(*row)", "Fact(key, id)", "Fact(key, id=id)", "Fact(**values)"])
def test_building_by_position_is_found(call: str) -> None:
    """A row has its columns by name, each of them where a reader and the check see it."""
    assert rows.check_construction(made_up(f"made = {call}"))
    assert not rows.check_construction(made_up("made = Fact(key=key, id=id)\nread = Fact.read(row)"))


@pytest.mark.parametrize(
    "text",
    [
        "def f(it):\n segment = it.action\n return Exposure(segment=segment)",
        "def f(it):\n segment, action = it.action, it.segment\n return Exposure(segment=segment)",
        "def f(it):\n if segment := it.action:\n  return Exposure(segment=segment)",
    ],
)
def test_a_variable_with_the_wrong_name_is_found(text: str) -> None:
    """What is swapped on the way to a row is swapped in it."""
    assert rows.check_assignments(made_up(text))


def test_a_variable_with_its_own_name_is_fine() -> None:
    """Also where a function names several, or uses another name for one of them."""
    text = "def f(it):\n segment, other = it.segment, it.action\n return Exposure(segment=segment)"
    assert not rows.check_assignments(made_up(text))


def test_keywords_of_any_call_are_looked_at() -> None:
    """Also what is no row: a group that counts belong to, the parameters of a function."""
    assert rows.check_keywords(made_up("x = f(segment=it.action, action=it.segment)"))
    assert not rows.check_keywords(made_up("x = f(segment=it.segment, action=it.action)"))


WRONG = """
from typing import cast
from schemas.catalog import LoggedEvent
from schemas.logged_data import LoggedPrediction
from streams.processors.arrivals import Arrival, _make_prediction
from streams.store.tables import CaseEntry


def swapped(arrival: Arrival, data: LoggedPrediction) -> object:
    return _make_prediction(
        arrival, arrival.event, data, pid="p", env=b"e", output="o", input_ref=None, audit=0
    )


def also_swapped(key: bytes, pid: bytes) -> CaseEntry:
    return CaseEntry(key=key, pid=pid, at="id", id=1, source="s")


def misspelt(event: LoggedEvent) -> object:
    return event.data.joinkey


def of_another_kind(event: LoggedEvent) -> object:
    return event.data.model_version


def perhaps_missing(event: LoggedEvent) -> str:
    return event.data.model


def forgotten(key: bytes) -> CaseEntry:
    return CaseEntry(key=key, pid=key, at=1, id="i")
"""


def test_the_type_checker_finds_the_wrong_field(tmp_path: Path) -> None:
    """mypy knows what a row takes and what an event's data has: each of these is an error of lint."""
    (tmp_path / "wrong.py").write_text(WRONG)
    checked = subprocess.run(
        [sys.executable, "-m", "mypy", "--strict", str(tmp_path / "wrong.py")],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
    )
    found = [line.partition("error: ")[2] for line in checked.stdout.splitlines() if "error: " in line]
    for name in ("pid", "env", "at", "id", "joinkey", "model_version", "str | None", "source"):
        assert any(f'"{name}"' in each for each in found), (name, checked.stdout)
    assert len(found) == 8
