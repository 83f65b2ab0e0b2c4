"""Reading a store in PostgreSQL within one transaction of the server.

What is asked is in `statements`; when the transaction begins and ends is left to `store`.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from itertools import count
from typing import Any

from streams.store.port import ANY, Applied, Range
from streams.store.postgres import statements
from streams.store.postgres.arrays import PACKERS
from streams.store.postgres.connections import Connection
from streams.store.tables import Index, Row, Table, columns_of, picking

_FETCHED_AT_ONCE = 1000


def arrays(table: Table, columns: Sequence[str], rows: Sequence[Sequence[Any]]) -> list[bytes]:
    """Rows as one packed array for each column."""
    kinds = statements.python_types(table, columns)
    return [PACKERS[kind](values) for kind, values in zip(kinds, zip(*rows, strict=True), strict=True)]


class PostgresSnapshot:
    """What one connection sees, in the transaction that it is in."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection
        self._cursor = connection.cursor(binary=True)
        self._names = count()
        self._ended = False

    def _rows(self, text: str, parameters: Sequence[Any] = ()) -> list[Row]:
        return self._cursor.execute(text.encode(), parameters).fetchall()

    def positions(self) -> dict[int, Applied]:
        rows = self._rows('SELECT "partition", "offset", digest, received FROM positions WHERE "offset" > 0')
        return {partition: Applied(*applied) for partition, *applied in rows}

    def get(self, table: Table, keys: Iterable[Sequence[Any]]) -> list[Row]:
        wanted = statements.sorted_keys(keys)
        return self._among(table, table.key[: len(wanted[0])], wanted) if wanted else []

    def find(self, table: Table, column: str, values: Iterable[Any]) -> list[Row]:
        wanted = statements.sorted_keys((value,) for value in values if value is not None)
        return self._among(table, (column,), wanted) if wanted else []

    def _among(self, table: Table, columns: tuple[str, ...], keys: list[Row]) -> list[Row]:
        return self._rows(statements.among(table, columns), arrays(table, columns, keys))

    def along(
        self,
        table: Table,
        index: Index,
        starts: Iterable[Sequence[Any]],
        *,
        fixed: int,
        limit: int,
        descending: bool = False,
    ) -> list[Row]:
        wanted = statements.sorted_keys(starts)
        if not wanted:
            return []
        given = len(wanted[0])
        text = statements.along(table, index, given, fixed, limit, descending=descending)
        rows = self._rows(text, arrays(table, index.order[:given], wanted))
        if len(rows) > 1:
            rows.sort(key=picking(table, index.order), reverse=descending)
        return rows

    def scan(
        self,
        table: Table,
        where: Mapping[str, Any] | None = None,
        *,
        after: Sequence[Any] | None = None,
        limit: int | None = None,
    ) -> Iterator[Row]:
        if limit is not None:
            return iter(self._rows(*statements.scan(table, where or {}, after, limit)))
        return self._stream(*statements.scan(table, where or {}, after, None))

    def pairs(
        self,
        table: Table,
        columns: Sequence[str],
        other: Table,
        other_columns: Sequence[str],
        where: Mapping[str, Any] | None = None,
    ) -> Iterator[tuple[Any, ...]]:
        return self._stream(*statements.pairs(table, columns, other, other_columns, where or {}))

    def _stream(self, text: str, parameters: Sequence[Any]) -> Iterator[Row]:
        """The rows through a cursor of the server's, some at a time.

        One that is left half way is closed by the end of the transaction: by then the connection may be
        another's, so nothing is asked of it when an iterator is thrown away.
        """
        if self._ended:
            return
        name = f"scan_{next(self._names)}"
        asked = self._connection.cursor(binary=True)
        asked.execute(f"DECLARE {name} NO SCROLL CURSOR FOR {text}".encode(), parameters, prepare=False)
        while not self._ended:
            asked.execute(f"FETCH {_FETCHED_AT_ONCE} FROM {name}".encode(), prepare=False)
            rows = asked.fetchall()
            yield from rows
            if len(rows) < _FETCHED_AT_ONCE:
                break
        if not self._ended:
            asked.execute(f"CLOSE {name}".encode(), prepare=False)

    def totals(
        self, table: Table, by: Sequence[str], where: Mapping[str, Any] | None = None
    ) -> list[tuple[Any, ...]]:
        rows = self._rows(*statements.totals(table, by, where or {}))
        sums = columns_of((*by, *table.sums), table.sums)
        return [row for row in rows if any(sums(row))]

    def count(self, table: Table, where: Mapping[str, Any] | None = None, *, most: int | None = None) -> int:
        [(found,)] = self._rows(*statements.count(table, where or {}, most))
        return int(found)

    def newest(
        self,
        table: Table,
        index: Index,
        value: Any,
        within: Range = ANY,
        *,
        before: Sequence[Any] | None = None,
        limit: int,
    ) -> list[Row]:
        return self._rows(*statements.newest(table, index, value, within, before, limit))

    def distinct(
        self, table: Table, column: str, within: Range = ANY, *, after: Any = None, limit: int
    ) -> list[Any]:
        rows = self._rows(*statements.distinct(table, column, within, after, limit))
        return [value for (value,) in rows]

    def end(self) -> None:
        """Scans that were left half way end here."""
        self._ended = True
