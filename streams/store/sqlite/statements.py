"""The SQL of the SQLite store, made from the tables as data: pure text and parameters, nothing is run here.

Keyed reads are lists of a few fixed lengths, filled up with nulls, so that there is a
handful of statement texts and each is prepared once. Every keyed read is a search of an index; a test
asks SQLite's planner.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from functools import cache
from itertools import chain
from sqlite3 import sqlite_version_info
from typing import Any

from streams.store.port import Range, UnknownColumn
from streams.store.tables import Index, Row, Table

_STRICT = " STRICT" if sqlite_version_info >= (3, 37) else ""
_TYPES = {bytes: "BLOB", int: "INTEGER", float: "REAL", str: "TEXT"}
_LENGTHS = (1, 8, 64, 256, 1024)
CHUNK = _LENGTHS[-1]
"""How many keys one statement takes."""

GROUP = 32
"""How many rows one statement writes."""

META = f"""
CREATE TABLE meta (log TEXT NOT NULL, epoch INTEGER NOT NULL, partitions INTEGER NOT NULL,
                   views_version INTEGER NOT NULL){_STRICT};
CREATE TABLE positions ("partition" INTEGER PRIMARY KEY, "offset" INTEGER NOT NULL,
                        digest BLOB NOT NULL, received INTEGER NOT NULL){_STRICT};
"""


def _names(columns: Iterable[str]) -> str:
    return ", ".join(f'"{column}"' for column in columns)


def _key_index(table: Table) -> str:
    return f'"{table.name}_key"'


def _index_name(table: Table, index: Index) -> str:
    return f'"{table.name}_{"_".join(index.columns)}"'


def create(table: Table) -> str:
    """The statements that make a table and its indexes; an index leaves nulls out where there are any."""
    types = table.types()
    columns = ", ".join(
        f'"{name}" {_TYPES[kind]}{"" if nullable else " NOT NULL"}'
        for name, (kind, nullable) in types.items()
    )
    made = [
        f'CREATE TABLE "{table.name}" ({columns}){_STRICT}',
        f'CREATE UNIQUE INDEX {_key_index(table)} ON "{table.name}" ({_names(table.key)})',
    ]
    for index in table.indexes:
        filled = f' WHERE "{index.known}" IS NOT NULL' if types[index.known][1] else ""
        name = _index_name(table, index)
        made.append(f'CREATE INDEX {name} ON "{table.name}" ({_names(index.columns)}){filled}')
    return ";\n".join(made) + ";\n"


@cache
def put(table: Table, rows: int = 1) -> str:
    """Insert rows, or replace those with their keys."""
    rest = [f'"{name}" = excluded."{name}"' for name in table.columns if name not in table.key]
    then = f"UPDATE SET {', '.join(rest)}" if rest else "NOTHING"
    return f"{_insert(table, rows)} ON CONFLICT ({_names(table.key)}) DO {then}"


@cache
def add(table: Table, rows: int = 1) -> str:
    """Insert rows of a counter table, or add their sums to those with their keys."""
    sums = ", ".join(f'"{name}" = "{name}" + excluded."{name}"' for name in table.sums)
    return f"{_insert(table, rows)} ON CONFLICT ({_names(table.key)}) DO UPDATE SET {sums}"


def _insert(table: Table, rows: int) -> str:
    marks = f"({', '.join('?' * len(table.columns))})"
    return f'INSERT INTO "{table.name}" VALUES {", ".join([marks] * rows)}'


def grouped(rows: Sequence[Row]) -> tuple[list[Row], Sequence[Row]]:
    """The parameters of whole groups of `GROUP` rows, and the rows that are left.

    Many rows a statement take two thirds of the time of one each.
    """
    whole = len(rows) - len(rows) % GROUP
    flat = [tuple(chain.from_iterable(rows[start : start + GROUP])) for start in range(0, whole, GROUP)]
    return flat, rows[whole:]


@cache
def delete(table: Table) -> str:
    """Remove the row with a key."""
    return f'DELETE FROM "{table.name}" WHERE ' + " AND ".join(f'"{name}" = ?' for name in table.key)


@cache
def _among(table: Table, columns: tuple[str, ...], length: int) -> str:
    if len(columns) == 1:
        chosen = f'SELECT {_names(table.columns)} FROM "{table.name}"'
        return f"{chosen} WHERE {_names(columns)} IN ({', '.join('?' * length)})"
    # SQLite walks over the whole table for `(a, b) IN (VALUES ...)`; a cross join keeps its order.
    names = _names(f"wanted{number}" for number in range(len(columns)))
    marks = ", ".join([f"({', '.join('?' * len(columns))})"] * length)
    chosen = ", ".join(f'it."{column}"' for column in table.columns)
    same = " AND ".join(f'it."{column}" = "wanted{number}"' for number, column in enumerate(columns))
    return (
        f"WITH wanted ({names}) AS (VALUES {marks})"
        f' SELECT {chosen} FROM wanted CROSS JOIN "{table.name}" AS it ON {same}'
    )


def among(table: Table, columns: tuple[str, ...], keys: Iterable[Row]) -> Iterator[tuple[str, list[Any]]]:
    """Statements and parameters that read the rows whose columns equal one of the keys."""
    # In key order, the pages of an index are read once each. A set would scatter keys that come in order.
    wanted = sorted(dict.fromkeys(keys))
    for start in range(0, len(wanted), CHUNK):
        chunk = wanted[start : start + CHUNK]
        length = next(each for each in _LENGTHS if each >= len(chunk))
        parameters = list(chain.from_iterable(chunk))
        # Nothing equals a null.
        parameters.extend([None] * (len(columns) * (length - len(chunk))))
        yield _among(table, columns, length), parameters


@cache
def _along(
    table: Table, index: Index, given: int, fixed: int, limit: int, descending: bool, length: int
) -> str:
    wanted = _names(f"wanted{number}" for number in range(given))
    marks = ", ".join([f"({', '.join('?' * given)})"] * length)
    terms = [f'"{column}" = "wanted{number}"' for number, column in enumerate(index.order[:fixed])]
    if given > fixed:
        behind = _names(f"wanted{number}" for number in range(fixed, given))
        sign = "<" if descending else ">"
        columns = _names(index.order[fixed:given])
        terms.append(f"({columns}) {sign} ({behind})" if given - fixed > 1 else f"{columns} {sign} {behind}")
    if index.known not in index.order[:fixed] and table.types()[index.known][1]:
        terms.append(f'"{index.known}" IS NOT NULL')
    order = ", ".join(f'"{column}"{" DESC" if descending else ""}' for column in index.order[fixed:])
    name = _key_index(table) if index == table.by_key else _index_name(table, index)
    # The rows are found by their number, one start after the other: SQLite has no lateral join.
    found = f'SELECT rowid FROM "{table.name}" INDEXED BY {name}{_where(terms)}'
    if order:
        found += f" ORDER BY {order}"
    chosen = ", ".join(f'it."{column}"' for column in table.columns)
    return (
        f"WITH wanted ({wanted}) AS (VALUES {marks}) SELECT {chosen}"
        f' FROM wanted CROSS JOIN "{table.name}" AS it ON it.rowid IN ({found} LIMIT {limit})'
    )


def along(
    table: Table, index: Index, starts: Iterable[Row], fixed: int, limit: int, *, descending: bool
) -> Iterator[tuple[str, list[Any]]]:
    """Statements and parameters that read rows along an index; those of one start in any order."""
    wanted = sorted(dict.fromkeys(starts))
    for begin in range(0, len(wanted), CHUNK):
        chunk = wanted[begin : begin + CHUNK]
        length = next(each for each in _LENGTHS if each >= len(chunk))
        given = len(chunk[0])
        parameters = list(chain.from_iterable(chunk))
        parameters.extend([None] * (given * (length - len(chunk))))
        yield _along(table, index, given, fixed, limit, descending, length), parameters


def _conditions(table: Table, where: Mapping[str, Any]) -> tuple[list[str], list[Any]]:
    terms: list[str] = []
    parameters: list[Any] = []
    for column, wanted in where.items():
        # SQLite takes a quoted name that it does not know for a text.
        if column not in table.columns:
            raise UnknownColumn(f"{table.name} has no column {column!r}")
        if wanted is None:
            terms.append(f'"{column}" IS NULL')
        elif not isinstance(wanted, Range):
            terms.append(f'"{column}" = ?')
            parameters.append(wanted)
        else:
            ends = [(sign, end) for sign, end in ((">=", wanted.low), ("<=", wanted.high)) if end is not None]
            terms.extend(f'"{column}" {sign} ?' for sign, _ in ends)
            parameters.extend(end for _, end in ends)
            if not ends:
                terms.append(f'"{column}" IS NOT NULL')
    return terms, parameters


def _behind(
    table: Table, where: Mapping[str, Any], after: Sequence[Any]
) -> tuple[list[str], list[Any]] | None:
    """The condition that a key lies behind `after`; None when nothing that meets `where` does.

    Key columns that `where` fixes are taken out, for SQLite would search by them alone and walk over
    all rows up to `after`.
    """
    key, after = list(table.key), list(after)
    while key and key[0] in where and not isinstance(where[key[0]], Range):
        fixed, limit = where[key.pop(0)], after.pop(0)
        if fixed is None or fixed < limit:
            return None
        if fixed > limit:
            return [], []
    if not key:
        return None
    if len(key) == 1:
        return [f'"{key[0]}" > ?'], after
    return [f"({_names(key)}) > ({', '.join('?' * len(key))})"], after


def _walked(table: Table, where: Mapping[str, Any]) -> str:
    """The table, with the index to read it along.

    The planner knows nothing of sizes: with a limit it would walk over all facts to find the few that
    wait, and without a condition it would sort a table, in memory, that is in order along its key.
    """
    index = _key_index(table)
    if table.key[0] not in where or isinstance(where[table.key[0]], Range):
        for each in table.searched:
            if where.get(each.columns[0]) is not None:
                index = _index_name(table, each)
    return f'"{table.name}" INDEXED BY {index}'


def scan(
    table: Table, where: Mapping[str, Any], after: Sequence[Any] | None, limit: int | None
) -> tuple[str, list[Any]] | None:
    """The statement and parameters that read a table in key order; None when there is nothing to read."""
    terms, parameters = _conditions(table, where)
    if after is not None:
        behind = _behind(table, where, after)
        if behind is None:
            return None
        terms, parameters = terms + behind[0], parameters + behind[1]
    text = f"SELECT {_names(table.columns)} FROM {_walked(table, where)}{_where(terms)}"
    text += f" ORDER BY {_names(table.key)}"
    if limit is not None:
        return f"{text} LIMIT ?", [*parameters, limit]
    return text, parameters


def pairs(
    table: Table, columns: Sequence[str], other: Table, other_columns: Sequence[str], where: Mapping[str, Any]
) -> tuple[str, list[Any]]:
    """The statement and parameters that read a table in key order, joined with another by the other's key."""
    for known, asked in ((table, (*columns, *other.key)), (other, other_columns)):
        for column in asked:
            if column not in known.columns:
                raise UnknownColumn(f"{known.name} has no column {column!r}")
    terms, parameters = _conditions(table, where)
    chosen = ", ".join([f'a."{name}"' for name in columns] + [f'b."{name}"' for name in other_columns])
    same = " AND ".join(f'b."{name}" = a."{name}"' for name in other.key)
    order = ", ".join(f'a."{name}"' for name in table.key)
    # A cross join is done in the order in which it is written.
    return (
        f"SELECT {chosen} FROM (SELECT * FROM {_walked(table, where)}{_where(terms)}) AS a"
        f' CROSS JOIN "{other.name}" AS b ON {same} ORDER BY {order}'
    ), parameters


def totals(table: Table, by: Sequence[str], where: Mapping[str, Any]) -> tuple[str, list[Any]]:
    """The statement and parameters that sum a counter table by groups."""
    for column in by:
        if column not in table.columns:
            raise UnknownColumn(f"{table.name} has no column {column!r}")
    terms, parameters = _conditions(table, where)
    sums = ", ".join(f'SUM("{name}")' for name in table.sums)
    groups = f" GROUP BY {_names(by)} ORDER BY {_names(by)}" if by else ""
    chosen = f"{_names(by)}, {sums}" if by else sums
    return f'SELECT {chosen} FROM "{table.name}"{_where(terms)}{groups}', parameters


def count(table: Table, where: Mapping[str, Any], most: int | None = None) -> tuple[str, list[Any]]:
    """The statement and parameters that count rows, up to `most`."""
    terms, parameters = _conditions(table, where)
    known = {table.key[0], *(index.columns[0] for index in table.searched)}
    walked = _walked(table, where) if known.intersection(where) else f'"{table.name}"'
    if most is not None:
        found = f"SELECT 1 FROM {walked}{_where(terms)} LIMIT ?"
        return f"SELECT COUNT(*) FROM ({found})", [*parameters, most]
    return f"SELECT COUNT(*) FROM {walked}{_where(terms)}", parameters


def newest(
    table: Table, index: Index, value: Any, within: Range, before: Sequence[Any] | None, limit: int
) -> tuple[str, list[Any]]:
    """The statement and parameters that read along an index from its end."""
    first, *rest = index.columns
    where: dict[str, Any] = {first: value}
    # Of two upper ends SQLite searches by one: the lower one has to be it.
    below = before is not None and (within.high is None or before[0] <= within.high)
    if within.low is not None or (within.high is not None and not below):
        where[rest[0]] = Range(within.low, None if below else within.high)
    terms, parameters = _conditions(table, where)
    if below and before is not None:
        terms.append(f"({_names(rest)}) < ({', '.join('?' * len(rest))})")
        parameters.extend(before)
    order = ", ".join(f'"{column}" DESC' for column in rest)
    walked = f'"{table.name}" INDEXED BY {_index_name(table, index)}'
    text = f"SELECT {_names(table.columns)} FROM {walked}{_where(terms)} ORDER BY {order} LIMIT ?"
    return text, [*parameters, limit]


def distinct(table: Table, column: str, within: Range, after: Any, limit: int) -> tuple[str, list[Any]]:
    """The statement and parameters that read the different values of a column, each by a search."""
    name = next((index for index in table.indexes if index.columns[0] == column), None)
    if name is None and table.key[0] != column:
        raise UnknownColumn(f"{table.name} has no index that begins with {column!r}")
    walked = f'"{table.name}" INDEXED BY {_key_index(table) if name is None else _index_name(table, name)}'
    least = f'"{column}" IS NOT NULL' if within.low is None else f'"{column}" >= ?1'
    begins = least if after is None else f'"{column}" > ?3 AND {least}'
    top = "" if within.high is None else f' AND "{column}" <= ?2'
    chosen = f'SELECT "{column}" FROM {walked} WHERE {{}}{top} ORDER BY "{column}" LIMIT 1'
    behind = chosen.format(f'"{column}" > found.value')
    text = (
        f"WITH RECURSIVE found (value) AS (SELECT ({chosen.format(begins)}) UNION ALL"
        f" SELECT ({behind}) FROM found WHERE found.value IS NOT NULL LIMIT ?4)"
        " SELECT value FROM found WHERE value IS NOT NULL"
    )
    return text, [within.low, within.high, after, limit]


def _where(terms: list[str]) -> str:
    return f" WHERE {' AND '.join(terms)}" if terms else ""
