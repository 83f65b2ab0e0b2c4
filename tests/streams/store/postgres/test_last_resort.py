"""What PostgreSQL cannot hold, or a defect of ours stumbles over, is set aside there as everywhere."""

from __future__ import annotations

from contextlib import contextmanager
from typing import Any

import psycopg
import pytest

from streams.log.memory import MemoryLog
from streams.projection.rebuild import verify
from streams.store.memory import MemoryStore
from streams.store.port import RefusedValue, StoreRefused, StoreUnavailable
from streams.store.postgres import PostgresStore
from streams.store.postgres.errors import translated
from streams.store.tables import DEAD_LETTERS, FACTS
from tests.streams.drawn import log_of, views
from tests.streams.fold import faulty
from tests.streams.store.storing import IDENTITY
from tests.streams.telling import told

pytestmark = pytest.mark.postgres


def _log(*sizes: int) -> MemoryLog:
    log = faulty.log_in_blocks(*sizes)
    log.identity = IDENTITY
    return log


@pytest.mark.parametrize("sizes", [(3,), (100,)])
def test_only_the_event_that_cannot_be_folded_is_set_aside(
    store: PostgresStore, monkeypatch: pytest.MonkeyPatch, sizes: tuple[int, ...]
) -> None:
    """The views are those of a store in memory with the same defect, row by row."""
    faulty.put_in(monkeypatch)
    log = _log(*sizes)
    faulty.caught_up(log, store)
    assert [letter.code for letter in faulty.judged(store)] == ["cannot_fold"] * 2
    other = faulty.caught_up(log, MemoryStore(log.identity))
    with store.snapshot() as one, other.snapshot() as two:
        assert views(one, sizes) == views(two, sizes)
        assert verify(log, one, MemoryStore(log.identity)) == []


class _LongKeys:
    """The store, given a key beyond what an index holds for each event that says "boom"."""

    def __init__(self, store: PostgresStore) -> None:
        self._store = store
        self.log, self.views_version = store.log, store.views_version
        self.snapshot, self.close = store.snapshot, store.close

    @contextmanager
    def transaction(self, partitions: Any, *, alone: bool = False) -> Any:
        with self._store.transaction(partitions, alone=alone) as transaction:
            insert, waits = transaction.insert, FACTS.columns.index("waits_for")

            def longer(table: Any, rows: Any) -> None:
                if table is FACTS:
                    long = "".join(chr(0x10000 + number * 977) for number in range(900))
                    rows = [(*row[:waits], long, *row[waits + 1 :]) if "boom" in row else row for row in rows]
                insert(table, rows)

            transaction.insert = longer  # type: ignore[method-assign]  # a fault of this one transaction
            yield transaction


@pytest.mark.parametrize("others", [0, 80])
def test_a_row_that_an_index_cannot_hold_is_set_aside(store: PostgresStore, others: int) -> None:
    """The server says "program limit exceeded" of it, which is no outage; with few rows and with many."""
    fillers = [told("feedback.comment", f"x{n}", 1, prediction_id="q", text="x") for n in range(others)]
    log = log_of([*faulty.HISTORY, *fillers], 2, [1000])
    log.identity = IDENTITY
    faulty.caught_up(log, _LongKeys(store))
    assert [letter.code for letter in faulty.judged(store)] == ["cannot_fold"] * 2
    with store.snapshot() as snapshot:
        assert snapshot.count(FACTS) == others + 5
        assert snapshot.count(DEAD_LETTERS, {"code": "cannot_fold"}) == 2


def test_a_table_that_is_not_as_this_version_made_it_refuses(store: PostgresStore, database: str) -> None:
    """No event is to blame, and no try mends it: nothing is set aside, and a person has to look."""
    with store.snapshot():
        pass
    with psycopg.connect(database, autocommit=True) as connection:
        schema = f"loopline_views_{store.views_version}_{store.number}"
        connection.execute(f'ALTER TABLE "{schema}".facts RENAME COLUMN "text" TO "words"')
    with pytest.raises(StoreRefused, match="PostgreSQL"):
        faulty.caught_up(_log(100), store)
    with store.snapshot() as snapshot:
        assert 0 not in snapshot.positions()


@pytest.mark.parametrize(
    "error, becomes",
    [
        (psycopg.errors.ProgramLimitExceeded, RefusedValue),
        (psycopg.errors.CharacterNotInRepertoire, RefusedValue),
        (psycopg.errors.NumericValueOutOfRange, RefusedValue),
        (psycopg.errors.UniqueViolation, RefusedValue),
        (psycopg.DataError, RefusedValue),
        (psycopg.IntegrityError, RefusedValue),
        (psycopg.errors.UndefinedColumn, StoreRefused),
        (psycopg.errors.IndexCorrupted, StoreRefused),
        (psycopg.errors.DiskFull, StoreUnavailable),
        (psycopg.errors.AdminShutdown, StoreUnavailable),
        (psycopg.OperationalError, StoreUnavailable),
    ],
)
def test_the_servers_errors_are_told_apart(error: type[psycopg.Error], becomes: type[Exception]) -> None:
    """About the data, about the store, or about now: only the last is for trying again.

    The driver's own have no SQLSTATE.
    """
    with pytest.raises(becomes), translated("host:5432/name"):
        raise error("x")
