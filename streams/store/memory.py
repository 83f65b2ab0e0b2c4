"""A store in memory: the reference for what rows a store answers with, and a place for scratch folds.

The tables are dicts. A transaction writes beside them and is applied at its end, so rolling back is
forgetting; what it overwrites is handed to the snapshots that are open, so they go on seeing it. A
transaction costs what it touches. Indexes for prefixes and columns are made when first asked for.
"""

from __future__ import annotations

import threading
from bisect import bisect_left, bisect_right, insort
from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from itertools import islice
from operator import itemgetter
from typing import Any

from streams.log.port import LogIdentity
from streams.store.port import ANY, Applied, Range
from streams.store.tables import VIEWS_VERSION, Index, Row, Table, adding, picking

Key = tuple[Any, ...]
Pick = Callable[[Row], Key]


def _meets(value: Any, wanted: Any) -> bool:
    if not isinstance(wanted, Range):
        return bool(value == wanted)
    if value is None:
        return False
    return (wanted.low is None or value >= wanted.low) and (wanted.high is None or value <= wanted.high)


def _is_behind(location: Key, position: Key, *, descending: bool) -> bool:
    return location < position if descending else location > position


class _Walk:
    """Where rows come along an index, in sorted lists, one for each of the values of the first columns."""

    def __init__(self, table: Table, index: Index, fixed: int) -> None:
        self._known = table.column(index.known)
        self._fixed = fixed
        self._pick: Pick = picking(table, index.order)
        self._key: Pick = picking(table, table.key)
        self._orders: defaultdict[Key, list[tuple[Key, Key]]] = defaultdict(list)

    def location(self, row: Row) -> tuple[Key, Key] | None:
        """The values of the first columns, and those of the others; None for what the index leaves out."""
        if self._known(row) is None:
            return None
        values = self._pick(row)
        return values[: self._fixed], values[self._fixed :]

    def add(self, row: Row) -> None:
        if (location := self.location(row)) is not None:
            insort(self._orders[location[0]], (location[1], self._key(row)))

    def remove(self, row: Row) -> None:
        if (location := self.location(row)) is not None:
            order = self._orders[location[0]]
            del order[bisect_left(order, (location[1], self._key(row)))]
            if not order:
                del self._orders[location[0]]

    def behind(self, start: Key, *, descending: bool) -> Iterator[tuple[Key, Key]]:
        """The places and keys of the rows behind a start, one after the other."""
        order = self._orders.get(start[: self._fixed], [])
        position = start[self._fixed :]
        if descending:
            end = bisect_left(order, (position,)) if position else len(order)
            return (order[location] for location in range(end - 1, -1, -1))
        first = bisect_right(order, position, key=lambda each: each[0][: len(position)]) if position else 0
        return (order[location] for location in range(first, len(order)))


class _Rows:
    """The rows of one table by key, with indexes that grow with them."""

    def __init__(self, table: Table) -> None:
        self.table = table
        self.key = picking(table, table.key)
        self.rows: dict[Key, Row] = {}
        self._indexes: dict[tuple[str, ...], tuple[Pick, defaultdict[Key, dict[Key, None]]]] = {}
        self._walks: dict[tuple[tuple[str, ...], int], _Walk] = {}

    def index(self, columns: tuple[str, ...]) -> Mapping[Key, Mapping[Key, None]]:
        """The keys of the rows by the values of some columns."""
        if columns not in self._indexes:
            pick = picking(self.table, columns)
            made: defaultdict[Key, dict[Key, None]] = defaultdict(dict)
            for key, row in self.rows.items():
                made[pick(row)][key] = None
            self._indexes[columns] = pick, made
        return self._indexes[columns][1]

    def walk(self, index: Index, fixed: int) -> _Walk:
        """The rows in the order of an index, for each of the values of its first `fixed` columns."""
        known = self._walks.get((index.order, fixed))
        if known is None:
            known = self._walks[index.order, fixed] = _Walk(self.table, index, fixed)
            for row in self.rows.values():
                known.add(row)
        return known

    def replace(self, key: Key, row: Row | None) -> Row | None:
        """Put a row in place, or remove it; gives what was there."""
        old = self.rows.pop(key, None) if row is None else self.rows.get(key)
        if row is not None:
            self.rows[key] = row
        for walk in self._walks.values():
            if old is not None:
                walk.remove(old)
            if row is not None:
                walk.add(row)
        for pick, keys in self._indexes.values():
            if old is not None:
                del keys[pick(old)][key]
                if not keys[pick(old)]:
                    del keys[pick(old)]
            if row is not None:
                keys[pick(row)][key] = None
        return old


class MemorySnapshot:
    """The tables as they were, or will be: what differs from now lies in `beside`, None for no row."""

    def __init__(self, store: MemoryStore) -> None:
        self._store = store
        self._lock = store.lock
        self.applied = dict(store.applied)
        self.beside: defaultdict[str, dict[Key, Row | None]] = defaultdict(dict)

    def positions(self) -> dict[int, Applied]:
        return dict(self.applied)

    def get(self, table: Table, keys: Iterable[Sequence[Any]]) -> list[Row]:
        wanted = {tuple(key) for key in keys}
        if not wanted:
            return []
        columns = table.key[: len(next(iter(wanted)))]
        with self._lock:
            if columns != table.key:
                return self._among(table, columns, wanted)
            rows, beside = self._store.rows_of(table).rows, self.beside[table.name]
            found = (beside[key] if key in beside else rows.get(key) for key in wanted)
            return [row for row in found if row is not None]

    def find(self, table: Table, column: str, values: Iterable[Any]) -> list[Row]:
        with self._lock:
            return self._among(table, (column,), {(value,) for value in values if value is not None})

    def _among(self, table: Table, columns: tuple[str, ...], wanted: set[Key]) -> list[Row]:
        stored, beside = self._store.rows_of(table), self.beside[table.name]
        index, pick = stored.index(columns), picking(table, columns)
        rows = stored.rows
        found = [rows[key] for value in wanted for key in index.get(value, ()) if key not in beside]
        found += [row for row in beside.values() if row is not None and pick(row) in wanted]
        return found

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
        found: list[Row] = []
        with self._lock:
            stored, beside = self._store.rows_of(table), self.beside[table.name]
            walk = stored.walk(index, fixed)
            changed: defaultdict[Key, list[tuple[Key, Row]]] = defaultdict(list)
            for row in beside.values():
                if row is not None and (location := walk.location(row)) is not None:
                    changed[location[0]].append((location[1], row))
            for start in dict.fromkeys(map(tuple, starts)):
                position = start[fixed:]
                mine = [
                    (location, row)
                    for location, row in changed.get(start[:fixed], ())
                    if not position or _is_behind(location[: len(position)], position, descending=descending)
                ]
                theirs = walk.behind(start, descending=descending)
                kept = ((location, stored.rows[key]) for location, key in theirs if key not in beside)
                merged = sorted([*mine, *islice(kept, limit)], key=itemgetter(0), reverse=descending)
                found += [row for _, row in merged[:limit]]
        return found

    def _all(self, table: Table, where: Mapping[str, Any] | None) -> list[Row]:
        """The rows that meet `where`, in key order."""
        conditions = [(table.column(column), wanted) for column, wanted in (where or {}).items()]
        with self._lock:
            stored, beside = self._store.rows_of(table), self.beside[table.name]
            rows = [row for key, row in stored.rows.items() if key not in beside]
            rows += [row for row in beside.values() if row is not None]
        for value_of, wanted in conditions:
            rows = [row for row in rows if _meets(value_of(row), wanted)]
        return sorted(rows, key=stored.key)

    def scan(
        self,
        table: Table,
        where: Mapping[str, Any] | None = None,
        *,
        after: Sequence[Any] | None = None,
        limit: int | None = None,
    ) -> Iterator[Row]:
        rows = self._all(table, where)
        if after is not None:
            key, behind = self._store.rows_of(table).key, tuple(after)
            rows = [row for row in rows if key(row) > behind]
        return iter(rows[:limit])

    def pairs(
        self,
        table: Table,
        columns: Sequence[str],
        other: Table,
        other_columns: Sequence[str],
        where: Mapping[str, Any] | None = None,
    ) -> Iterator[tuple[Any, ...]]:
        mine, others = picking(table, tuple(columns)), picking(other, tuple(other_columns))
        other_key, partner = self._store.rows_of(other).key, picking(table, other.key)
        partners = {other_key(row): row for row in self._all(other, None)}
        for row in self._all(table, where):
            pair = partners.get(partner(row))
            if pair is not None:
                yield (*mine(row), *others(pair))

    def totals(
        self, table: Table, by: Sequence[str], where: Mapping[str, Any] | None = None
    ) -> list[tuple[Any, ...]]:
        group, sums, add = picking(table, tuple(by)), picking(table, table.sums), adding(table)
        groups: dict[Key, Row] = {}
        for row in self._all(table, where):
            known = groups.get(values := group(row))
            groups[values] = row if known is None else add(known, row)
        found = [(*values, *total) for values, row in groups.items() if any(total := sums(row))]
        return sorted(found, key=lambda row: tuple((value is not None, value) for value in row))

    def count(self, table: Table, where: Mapping[str, Any] | None = None, *, most: int | None = None) -> int:
        return len(self._all(table, where)[:most])

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
        rest = picking(table, index.columns[1:])
        rows = self._all(table, {index.columns[0]: value, index.columns[1]: within})
        if before is not None:
            rows = [row for row in rows if rest(row) < tuple(before)]
        return sorted(rows, key=rest, reverse=True)[:limit]

    def distinct(
        self, table: Table, column: str, within: Range = ANY, *, after: Any = None, limit: int
    ) -> list[Any]:
        values = set(map(table.column(column), self._all(table, {column: within})))
        return sorted(value for value in values if after is None or value > after)[:limit]


class MemoryTransaction(MemorySnapshot):
    """Changes that lie beside the tables until they are applied. One at a time: nothing needs holding."""

    shard = 0

    def lock_join_keys(self, keys: Sequence[bytes]) -> None:
        """Nobody else writes."""

    def lock_predictions(self, pids: Sequence[bytes]) -> None:
        """Nobody else writes."""

    def insert(self, table: Table, rows: Sequence[Row]) -> None:
        self.put(table, rows)

    def put(self, table: Table, rows: Sequence[Row]) -> None:
        key = self._store.rows_of(table).key
        self.beside[table.name].update((key(row), row) for row in rows)

    def delete(self, table: Table, keys: Sequence[Sequence[Any]]) -> None:
        self._store.rows_of(table)
        self.beside[table.name].update((tuple(key), None) for key in keys)

    def add(self, table: Table, rows: Sequence[Row]) -> None:
        stored, beside = self._store.rows_of(table), self.beside[table.name]
        add = adding(table)
        for row in rows:
            key = stored.key(row)
            old = beside[key] if key in beside else stored.rows.get(key)
            beside[key] = row if old is None else add(old, row)

    @contextmanager
    def savepoint(self) -> Iterator[None]:
        before = defaultdict(dict, {name: dict(rows) for name, rows in self.beside.items()})
        try:
            yield
        except BaseException:
            self.beside = before
            raise

    def advance(self, positions: Mapping[int, Applied]) -> None:
        self.applied.update(positions)


class MemoryStore:
    """Dicts of rows. Nothing survives the process."""

    def __init__(self, log_identity: LogIdentity, views_version: int = VIEWS_VERSION) -> None:
        self.log = log_identity
        self.views_version = views_version
        self._tables: dict[str, _Rows] = {}
        self.applied: dict[int, Applied] = {}
        self.lock = threading.Lock()
        self._writing = threading.Lock()
        self._open: list[MemorySnapshot] = []

    def rows_of(self, table: Table) -> _Rows:
        """The rows of a table, which is made when it is first asked for."""
        rows = self._tables.get(table.name)
        return self._tables.setdefault(table.name, _Rows(table)) if rows is None else rows

    @contextmanager
    def snapshot(self) -> Iterator[MemorySnapshot]:
        """A consistent state to read from, until the context ends."""
        with self.lock:
            snapshot = MemorySnapshot(self)
            self._open.append(snapshot)
        try:
            yield snapshot
        finally:
            with self.lock:
                self._open.remove(snapshot)

    @contextmanager
    def transaction(self, partitions: Iterable[int], *, alone: bool = False) -> Iterator[MemoryTransaction]:
        """Write until the context ends; an error forgets all of it. One at a time."""
        with self._writing:
            transaction = MemoryTransaction(self)
            yield transaction
            with self.lock:
                self._apply(transaction)

    def _apply(self, transaction: MemoryTransaction) -> None:
        for name, changes in transaction.beside.items():
            stored = self._tables[name]
            for key, row in changes.items():
                old = stored.replace(key, row)
                for snapshot in self._open:
                    snapshot.beside[name].setdefault(key, old)
        self.applied = transaction.applied

    def close(self) -> None:
        """Nothing is held."""
