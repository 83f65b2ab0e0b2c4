"""What an agenda changes, as rows: inserted, put, deleted and added to, table by table.

Only the bookkeeping: what the rows mean is known to those who give them, the fold and the views. Tables are
written in the order in which they are listed, and the rows of each in the order of their keys, so that
writers who wait for each other never do so in a ring.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterable, Sequence
from functools import cache

from streams.store.port import Transaction
from streams.store.tables import Row, Table, adding, picking


class Changes:
    """What is to be written to these tables, in their order. Use once."""

    def __init__(self, tables: Sequence[Table]) -> None:
        self._tables = tables
        self._inserted: defaultdict[str, list[Row]] = defaultdict(list)
        # By key; None for a row that is deleted.
        self._rows: defaultdict[str, dict[Row, Row | None]] = defaultdict(dict)
        self._sums: defaultdict[str, dict[Row, Row]] = defaultdict(dict)
        self._key_of = _key_of(tuple(tables))

    def insert(self, table: Table, rows: Iterable[Row]) -> None:
        """Insert rows whose keys are not there, which is for the caller to know."""
        self._inserted[table.name] += rows

    def put(self, table: Table, row: Row) -> None:
        """Insert a row, or replace the one with its key. Of what is said of one key, the last holds."""
        self._rows[table.name][self._key_of[table.name](row)] = row

    def delete(self, table: Table, key: Row) -> None:
        """Remove the row with this key, if it is there. Of what is said of one key, the last holds."""
        self._rows[table.name][key] = None

    def add(self, table: Table, row: Row) -> None:
        """Add the sums of a row to those of the row with its key."""
        rows, key = self._sums[table.name], self._key_of[table.name](row)
        known = rows.get(key)
        rows[key] = row if known is None else adding(table)(known, row)

    def write(self, transaction: Transaction) -> None:
        """Write everything: first what is deleted, then what is inserted, put and added to."""
        for table in self._tables:
            if doomed := sorted(key for key, row in self._rows[table.name].items() if row is None):
                transaction.delete(table, doomed)
        for table in self._tables:
            if rows := self._inserted[table.name]:
                # In key order: neighbours lie on the same pages of an index. Keys come first, and once.
                transaction.insert(table, sorted(rows))
        for table in self._tables:
            if rows := sorted(row for row in self._rows[table.name].values() if row is not None):
                transaction.put(table, rows)
        for table in self._tables:
            if added := self._sums.get(table.name):
                # What adds up to nothing needs no row. A store adds in the order of keys by itself.
                sums = picking(table, table.sums)
                transaction.add(table, [row for row in added.values() if any(sums(row))])


@cache
def _key_of(tables: tuple[Table, ...]) -> dict[str, Callable[[Row], Row]]:
    """By table, from a row to its key."""
    return {table.name: picking(table, table.key) for table in tables}
