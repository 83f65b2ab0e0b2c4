"""The stores hold to their contract, and answer alike whatever is done to them."""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Iterator
from contextlib import ExitStack, suppress
from functools import cache
from pathlib import Path
from typing import Any, NamedTuple

import pytest
from hypothesis import given
from hypothesis import strategies as st

from streams.store.compare import differences
from streams.store.memory import MemoryStore
from streams.store.port import Applied, Range, Snapshot, Store
from streams.store.sqlite.store import SqliteStore, create_store
from streams.store.tables import Row, Table
from streams.views.registry import TABLES
from tests.streams.store import rows
from tests.streams.store.store_contract import StoreContract
from tests.streams.store.storing import IDENTITY, Interrupted


class TestMemoryStore(StoreContract):
    """The store of dicts."""

    @pytest.fixture
    def store(self) -> Store:
        return MemoryStore(IDENTITY)


class TestSqliteStore(StoreContract):
    """The store in a file, as its writer sees it."""

    @pytest.fixture
    def store(self, tmp_path: Path) -> Iterator[Store]:
        create_store(tmp_path / "store.db", IDENTITY, TABLES)
        store = SqliteStore(tmp_path / "store.db", writable=True)
        yield store
        store.close()


class Operation(NamedTuple):
    """One call of a transaction, on one table."""

    name: str
    table: Table
    rows: list[Row]


class Step(NamedTuple):
    """A transaction: its calls, and whether it is committed."""

    operations: list[Operation]
    committed: bool


@cache
def _operations(table: Table) -> st.SearchStrategy[Operation]:
    def of_one_key(name: str, rows: list[Row]) -> Operation:
        return Operation(name, table, rows)

    places = [table.columns.index(name) for name in table.key]
    full = st.lists(
        rows.rows(table), max_size=12, unique_by=lambda row: tuple(row[place] for place in places)
    )
    kinds = [
        st.builds(of_one_key, st.just("put"), full),
        st.builds(of_one_key, st.just("delete"), st.lists(rows.keys(table), max_size=3)),
    ]
    if table.sums:
        kinds += [st.builds(of_one_key, st.just("add"), full)] * 2
    return st.one_of(kinds)


_steps = st.lists(
    st.builds(
        Step,
        st.lists(st.sampled_from(TABLES).flatmap(_operations), min_size=1, max_size=4),
        st.sampled_from([True, True, True, False]),
    ),
    min_size=1,
    max_size=4,
)


@cache
def _wheres(table: Table) -> st.SearchStrategy[dict[str, Any]]:
    def condition(column: str) -> st.SearchStrategy[dict[str, Any]]:
        values = rows.values(table, column)
        wanted = values | st.builds(Range, values, values) | st.just(Range())
        return wanted.map(lambda value: {column: value})

    one = st.sampled_from(table.columns).flatmap(condition)
    return st.just({}) | one | st.tuples(one, one).map(lambda two: {**two[0], **two[1]})


def _ask(snapshot: Snapshot, table: Table, data: st.DataObject, questions: list[Any]) -> list[Any]:
    """The answers of one snapshot to questions drawn once and kept for the other."""
    if not questions:
        questions += [
            data.draw(_wheres(table)),
            data.draw(st.none() | rows.keys(table)),
            data.draw(st.none() | st.integers(0, 3)),
            data.draw(st.lists(rows.keys(table), max_size=10)),
            data.draw(st.integers(1, len(table.key))),
            data.draw(st.lists(st.sampled_from(table.columns), max_size=3, unique=True)),
        ]
    where, after, limit, keys, length, by = questions
    answers: list[Any] = [
        list(snapshot.scan(table, where, after=after, limit=limit)),
        snapshot.count(table, where),
        sorted(snapshot.get(table, [key[:length] for key in keys]), key=repr),
        snapshot.totals(table, by, where) if table.sums else None,
    ]
    for index in table.indexes:
        column = index.columns[0]
        found = snapshot.find(table, column, [None, *rows.WORDS] if column == "code" else [b"", b"\x00"])
        answers.append(sorted(found, key=repr))
    return answers


def _apply(store: Store, step: Step, number: int) -> None:
    with suppress(Interrupted), store.transaction([0]) as transaction:
        for name, table, rows in step.operations:
            getattr(transaction, name)(table, rows)
        transaction.advance({0: Applied(number, b"%d" % number, number)})
        if not step.committed:
            raise Interrupted


@pytest.fixture(scope="module")
def empty(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An empty store to copy, which is quicker than to make one."""
    path = tmp_path_factory.mktemp("empty") / "store.db"
    create_store(path, IDENTITY, TABLES)
    return path


@pytest.mark.slow
@given(_steps, st.data())
def test_both_stores_answer_alike(empty: Path, steps: list[Step], data: st.DataObject) -> None:
    """After any transactions, kept or taken back, each question has one answer, also in old snapshots."""
    with tempfile.TemporaryDirectory() as folder, ExitStack() as stack:
        file = SqliteStore(Path(shutil.copy(empty, Path(folder, "store.db"))), writable=True)
        stack.callback(file.close)
        memory = MemoryStore(IDENTITY)
        pairs: list[tuple[Snapshot, Snapshot]] = []
        for number, step in enumerate(steps):
            pairs.append((stack.enter_context(file.snapshot()), stack.enter_context(memory.snapshot())))
            _apply(file, step, number)
            _apply(memory, step, number)
        pairs.append((stack.enter_context(file.snapshot()), stack.enter_context(memory.snapshot())))
        touched = {operation.table.name: operation.table for step in steps for operation in step.operations}
        for left, right in pairs:
            assert differences(left, right, TABLES) == []
            for table in touched.values():
                questions: list[Any] = []
                assert _ask(left, table, data, questions) == _ask(right, table, data, questions)
