"""Everything that becomes a key has a bound, and at that bound it fits the index of every store."""

from __future__ import annotations

from pathlib import Path

import pytest

from streams.ingest.admission import admit
from streams.projection.apply import advance
from streams.projection.rebuild import verify
from streams.store.memory import MemoryStore
from streams.store.sqlite.store import SqliteStore, create_store
from streams.store.tables import CANDIDATES, FACTS
from streams.views.registry import TABLES
from tests.streams.drawn import log_of, views
from tests.streams.fold.faulty import judged
from tests.streams.fold.longest import HISTORIES

MOST_BYTES = 2704
"""An entry of an index of PostgreSQL's, headers included."""


@pytest.mark.parametrize("kind", HISTORIES)
def test_the_longest_events_fold_on_sqlite(tmp_path: Path, kind: str) -> None:
    """All are admitted, none is set aside, and the views are those of a store in memory."""
    assert all(admit(item).problem is None for item, _ in HISTORIES[kind])
    log = log_of(HISTORIES[kind], 2, [3])
    create_store(tmp_path / "views.sqlite", log.identity, TABLES)
    store = SqliteStore(tmp_path / "views.sqlite", writable=True)
    other = MemoryStore(log.identity)
    for each in (store, other):
        while advance(log, each):
            pass
    assert [letter for letter in judged(store) if letter.code == "cannot_fold"] == []
    with store.snapshot() as one, other.snapshot() as two:
        assert views(one, [3]) == views(two, [3])
        assert verify(log, one, MemoryStore(log.identity)) == []
    store.close()


@pytest.mark.parametrize("kind", HISTORIES)
def test_no_key_is_longer_than_an_index_takes(kind: str) -> None:
    """Of every table and index there is, also one that is new; and every table has rows here."""
    log = log_of(HISTORIES[kind], 2, [3])
    store = MemoryStore(log.identity)
    while advance(log, store):
        pass
    with store.snapshot() as snapshot:
        for table in TABLES:
            rows = list(snapshot.scan(table))
            # Of a label with many votes, by the prediction's key and the label's digest: short.
            assert rows or table is CANDIDATES, f"no row of {table.name}: let the longest events make one"
            # What is only compared for equality has a digest in PostgreSQL's index, and so has the source of
            # a fact in its key.
            own = {"source"} if table is FACTS else set()
            for columns, same in (
                (table.key, own),
                *((index.columns, {*index.columns[: index.same]}) for index in table.indexes),
            ):
                for row in rows:
                    values = ((row[table.columns.index(column)], column in same) for column in columns)
                    size = sum(_bytes(*value) for value in values)
                    assert size <= MOST_BYTES, f"{table.name} {columns}: {size} bytes"


def _bytes(value: object, short: bool) -> int:
    """How many bytes a value takes in an index, with its own header."""
    if isinstance(value, str | bytes):
        size = len(value.encode() if isinstance(value, str) else value)
        return 8 + (min(size, 256) if short else size)
    return 8
