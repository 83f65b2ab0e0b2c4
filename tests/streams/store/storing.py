"""What the contracts of stores share: the log that a store belongs to, and one-line reads and writes."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from streams.log.port import LogIdentity
from streams.store.port import Store
from streams.store.tables import (
    Row,
    Table,
)

IDENTITY = LogIdentity("7f6b3a3c-0000-4000-8000-000000000000", 1, 2)


class Interrupted(Exception):
    """What the tests raise inside a transaction."""


def put(store: Store, table: Table, rows: Sequence[Row]) -> None:
    """Put rows in a transaction of their own."""
    with store.transaction([0]) as transaction:
        transaction.put(table, rows)


def got(store: Store, table: Table, keys: Iterable[Sequence[object]]) -> list[Row]:
    """What `get` gives, in order."""
    with store.snapshot() as snapshot:
        return sorted(snapshot.get(table, keys))


def everything(store: Store, table: Table) -> list[Row]:
    """All rows, in key order."""
    with store.snapshot() as snapshot:
        return list(snapshot.scan(table))
