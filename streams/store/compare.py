"""Whether two stores hold the same views, and where they first differ.

Tables are walked in key order side by side, so a comparison takes no more memory for more rows.
Counter tables are compared by what their shards add up to: which partition counted an event is no
part of a view. Positions are compared too, without the instants at which the blocks were received.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from functools import reduce
from itertools import groupby
from typing import Any, NamedTuple

from schemas.identity import unpack
from streams.log.port import DEAD
from streams.store.port import Snapshot
from streams.store.tables import Row, Table, adding, columns_of, picking

_SHARD = "shard"
_SHOWN = 120
_POSITION = ("partition", "offset", "digest")


class Difference(NamedTuple):
    """A row that only one side has (`column` is None), or a column in which a row differs."""

    table: str
    key: tuple[Any, ...]
    column: str | None
    left: Any
    right: Any

    def describe(self) -> str:
        """One line for people."""
        key = ", ".join(map(_shown, self.key))
        if self.column is not None:
            return f"{self.table}[{key}].{self.column}: {_shown(self.left)} != {_shown(self.right)}"
        side, row = ("left", self.left) if self.right is None else ("right", self.right)
        return f"{self.table}[{key}]: only on the {side}: {_shown(row)}"


def differences(
    left: Snapshot, right: Snapshot, tables: Iterable[Table], limit: int = 20
) -> list[Difference]:
    """The first differences of these tables in two states, at most `limit`; empty if they are the same."""
    found: list[Difference] = []
    for difference in _all(left, right, tables):
        found.append(difference)
        if len(found) >= limit:
            break
    return found


def _all(left: Snapshot, right: Snapshot, tables: Iterable[Table]) -> Iterator[Difference]:
    yield from _merged("positions", ("partition",), _POSITION, _positions(left), _positions(right))
    for table in tables:
        key, columns = _without_shard(table.key), _without_shard(table.columns)
        yield from _merged(table.name, key, columns, _rows(left, table), _rows(right, table))


def _positions(snapshot: Snapshot) -> Iterator[Row]:
    positions = snapshot.positions().items()
    named = (("dead" if partition == DEAD else str(partition), applied) for partition, applied in positions)
    for name, applied in sorted(named):
        yield name, applied.offset, applied.digest


def _rows(snapshot: Snapshot, table: Table) -> Iterator[Row]:
    """The rows in key order; those of a counter table summed over its shards, without zeros."""
    rows = snapshot.scan(table)
    if not table.sums:
        yield from rows
        return
    group, sums = picking(table, _without_shard(table.key)), picking(table, table.sums)
    shown, add = picking(table, _without_shard(table.columns)), adding(table)
    for _, shards in groupby(rows, group):
        total = reduce(add, shards)
        if any(sums(total)):
            yield shown(total)


def _without_shard(columns: Sequence[str]) -> tuple[str, ...]:
    return tuple(column for column in columns if column != _SHARD)


def _merged(
    name: str, key: tuple[str, ...], columns: tuple[str, ...], left: Iterator[Row], right: Iterator[Row]
) -> Iterator[Difference]:
    key_of = columns_of(columns, key)
    mine, other = next(left, None), next(right, None)
    while mine is not None or other is not None:
        if mine == other:
            mine, other = next(left, None), next(right, None)
            continue
        mine_at = None if mine is None else key_of(mine)
        other_at = None if other is None else key_of(other)
        if mine_at is not None and (other_at is None or mine_at < other_at):
            yield Difference(name, mine_at, None, mine, None)
            mine = next(left, None)
        elif other_at is not None and (mine_at is None or other_at < mine_at):
            yield Difference(name, other_at, None, None, other)
            other = next(right, None)
        elif mine_at is not None and mine is not None and other is not None:
            for column, a, b in zip(columns, mine, other, strict=True):
                if a != b:
                    yield Difference(name, mine_at, column, a, b)
            mine, other = next(left, None), next(right, None)


def _shown(value: Any) -> str:
    """A value as people know it: ids unpacked, long ones cut."""
    if isinstance(value, tuple):
        return f"({', '.join(map(_shown, value))})"[:_SHOWN]
    text = _readable(value) if isinstance(value, bytes) else repr(value)
    return text if len(text) <= _SHOWN else f"{text[:_SHOWN]}..."


def _readable(value: bytes) -> str:
    """A packed id, or a typed key (one letter in front of one), as text; other bytes in hex."""
    for start in (0, 1):
        if value[start : start + 1] in (b"\x00", b"t"):
            try:
                return repr(unpack(value[start:]))
            except ValueError:
                continue
    return repr(value.decode()) if value.isascii() and value.decode().isprintable() else value.hex()
