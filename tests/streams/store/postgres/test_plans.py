"""What PostgreSQL's planner makes of the statements: keyed reads search an index, in a store of any size."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import pytest

from streams.store.port import Range
from streams.store.postgres import PostgresStore, PostgresStores, statements
from streams.store.postgres.snapshot import arrays
from streams.store.postgres.store import HOLD, LOCK
from streams.store.tables import (
    CASES,
    FACTS,
    FACTS_BY_TIME,
    LABELS,
    MODEL_EVENTS,
    PREDICTIONS,
    PREDICTIONS_BY_TIME,
    Index,
    Row,
    Table,
)
from streams.views.registry import TABLES
from tests.streams.store.postgres.working import fresh_store
from tests.streams.store.rows import fact, row
from tests.streams.store.storing import IDENTITY

pytestmark = pytest.mark.postgres

_SAMPLES: dict[type, Any] = {bytes: b"k", int: 1, float: 0.5, str: "s"}


def plan(store: PostgresStore, text: str, parameters: Sequence[Any]) -> str:
    """How the server would run a statement, over a connection like every other."""
    connection = store.connections.begin("BEGIN")
    try:
        rows = connection.execute(f"EXPLAIN {text}".encode(), parameters, prepare=False).fetchall()
        return "\n".join(line for (line,) in rows)
    finally:
        store.connections.end(connection)


def keys(table: Table, columns: Sequence[str]) -> list[Row]:
    """A key or two of these columns."""
    return [tuple(_SAMPLES[kind] for kind in statements.python_types(table, columns))] * 2


@pytest.fixture(scope="module", params=["empty", "small", "analysed"])
def filled(request: pytest.FixtureRequest, stores: PostgresStores) -> Iterator[PostgresStore]:
    """A store without rows, with some, and with many that the planner knows about."""
    store = fresh_store(stores, IDENTITY)
    size = {"empty": 0, "small": 50, "analysed": 3000}[request.param]
    with store.transaction([0]) as transaction:
        transaction.put(FACTS, [fact(b"%06d" % n, n, waits_for="x" if n < 9 else None) for n in range(size)])
        transaction.put(
            PREDICTIONS, [row(PREDICTIONS, pid=b"%06d" % n, model="m", at=n) for n in range(size)]
        )
        transaction.put(CASES, [row(CASES, key=b"%06d" % n, pid=b"p") for n in range(size)])
    if request.param == "analysed":
        connection = store.connections.begin("ANALYZE facts, predictions, cases")
        store.connections.end(connection)
    yield store
    store.close()


def assert_searches(found: str) -> None:
    """Nothing walks over a table, nor over an index from end to end."""
    assert "Seq Scan" not in found, found
    lines = found.splitlines()
    for number, line in enumerate(lines):
        if "Index Scan" in line or "Index Only Scan" in line:
            assert "Index Cond" in lines[number + 1], found


def test_reads_by_keys_search_an_index(filled: PostgresStore) -> None:
    """Every prefix of every key, every indexed column, and every removal."""
    for table in TABLES:
        asked = [table.key[: length + 1] for length in range(len(table.key))]
        asked += [index.columns[:1] for index in table.searched]
        for columns in asked:
            found = plan(
                filled, statements.among(table, columns), arrays(table, columns, keys(table, columns))
            )
            assert "Index" in found
            assert_searches(found)
        assert_searches(
            plan(filled, statements.delete(table), arrays(table, table.key, keys(table, table.key)))
        )


def test_walks_search_an_index(filled: PostgresStore) -> None:
    """Behind every position along every index, in both directions, nothing is sorted whole."""
    for table in TABLES:
        for index in (table.by_key, *table.indexes):
            for fixed in range(max(index.same, 1), len(index.columns) + 1):
                for given in range(fixed, len(index.order) + 1):
                    columns = index.order[:given]
                    for descending in (False, True):
                        text = statements.along(table, index, given, fixed, 5, descending=descending)
                        assert_searches(plan(filled, text, arrays(table, columns, keys(table, columns))))


def test_locks_search_an_index(filled: PostgresStore) -> None:
    """Holding positions and predictions touches no others."""
    assert_searches(plan(filled, HOLD, arrays(PREDICTIONS, ["pid"], [(b"k",), (b"l",)])))
    assert "Index Cond" in plan(filled, LOCK, arrays(FACTS, ["partition"], [(0,), (1,)]))


@pytest.mark.parametrize(
    "table, where, after, limit",
    [
        (FACTS, {"waits_for": "x"}, None, 100),
        (FACTS, {"waits_for": Range("a", "z")}, (b"k", b"1", "/s"), 100),
        (FACTS, {"key": b"k"}, None, 100),
        (FACTS, {}, (b"k", b"1", "/s"), 100),
        (PREDICTIONS, {}, (b"k",), 10),
        (LABELS, {"model": "m"}, ("m", b"k"), 10),
    ],
)
def test_pages_search_an_index(
    filled: PostgresStore, table: Table, where: dict[str, Any], after: Row | None, limit: int
) -> None:
    """What lists read page by page begins where the page begins."""
    assert_searches(plan(filled, *statements.scan(table, where, after, limit)))


def test_pairs_search_an_index(filled: PostgresStore) -> None:
    """The rows of the other table are searched for, one by one."""
    assert_searches(plan(filled, *statements.pairs(LABELS, ["label"], PREDICTIONS, ["at"], {"model": "m"})))


@pytest.mark.parametrize(
    "table, index", [(PREDICTIONS, PREDICTIONS_BY_TIME), (FACTS, FACTS_BY_TIME)], ids=["predictions", "facts"]
)
def test_the_newest_are_read_along_an_index(filled: PostgresStore, table: Table, index: Index) -> None:
    """Wherever a page begins and whatever days are asked for: a search, and nothing is sorted."""
    place = (5, *keys(table, index.columns[2:])[0])
    for within in (Range(), Range(1, 9)):
        for before in (None, place):
            found = plan(filled, *statements.newest(table, index, "x", within, before, 10))
            assert_searches(found)


def test_different_values_are_searched_for(filled: PostgresStore) -> None:
    """Each behind the one before, however many rows have it."""
    for table, column in [(PREDICTIONS, "model"), (FACTS, "waits_for"), (MODEL_EVENTS, "model")]:
        for within, after in [(Range(), None), (Range("a", "z"), None), (Range("a", "z"), "b")]:
            found = plan(filled, *statements.distinct(table, column, within, after, 10))
            assert "Seq Scan" not in found, found
