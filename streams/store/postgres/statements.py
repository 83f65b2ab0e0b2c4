"""The SQL of the PostgreSQL store, made from the tables as data: pure text and parameters.

Names carry no schema: a connection's search path says which store is meant. Keyed reads join an array
with a subquery that cannot be flattened, so that every plan is a search of an index for each key,
whatever the planner believes about sizes; a test asks it.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from functools import cache
from typing import Any

from streams.store.port import Range, UnknownColumn
from streams.store.tables import Index, Row, Table

_ORDER = ' COLLATE "C"'
_DRIVERS = {bytes: "bytea", int: "int8", float: "float8", str: "text"}
TYPES = {bytes: "bytea", int: "bigint", float: "double precision", str: "text"}

# An entry of an index has at most 2,700 bytes: the ids of a key may take 1 KiB each, and three are too many.
_LONG = {("facts", "source")}
_SHORTENED = {
    "text": "CASE WHEN octet_length({0}) > 256 THEN md5({0}) ELSE {0} END",
    "bytea": "CASE WHEN octet_length({0}) > 256 THEN decode(md5({0}), 'hex') ELSE {0} END",
}

POSITIONS = """
CREATE TABLE positions ("partition" integer PRIMARY KEY, "offset" bigint NOT NULL DEFAULT 0,
                        digest bytea NOT NULL DEFAULT '', received bigint NOT NULL DEFAULT 0)
    WITH (fillfactor = 50);
CREATE TABLE meetings (key bytea PRIMARY KEY);
"""
"""Positions, and the rows at which the two sides of a join key meet."""


def names(columns: Iterable[str], prefix: str = "") -> str:
    """Columns, quoted and with commas between them."""
    return ", ".join(f'{prefix}"{column}"' for column in columns)


def kind(table: Table, column: str) -> str:
    """PostgreSQL's type of a column."""
    return TYPES[_kinds(table)[column]]


@cache
def _kinds(table: Table) -> dict[str, type]:
    return {name: plain for name, (plain, _) in table.types().items()}


def python_types(table: Table, columns: Sequence[str]) -> list[type]:
    """The Python types of some columns."""
    return [_kinds(table)[column] for column in columns]


@cache
def copied_types(table: Table) -> list[str]:
    """PostgreSQL's types of a table's columns, as the driver names them."""
    return [_DRIVERS[plain] for plain in python_types(table, table.columns)]


def _index_name(table: Table, index: Index) -> str:
    return f'"{table.name}_{"_".join(index.columns)}"'


def _key(table: Table) -> str:
    """The key as the unique index has it."""
    return ", ".join(
        _short(table, column) if (table.name, column) in _LONG else f'"{column}"' for column in table.key
    )


def _short(table: Table, column: str, prefix: str = "") -> str:
    """A column as an index has it in which it is only compared for equality: a long value's digest."""
    shortened = _SHORTENED.get(kind(table, column))
    name = f'{prefix}"{column}"'
    return name if shortened is None else f"({shortened.format(name)})"


def _indexed(table: Table, index: Index) -> str:
    """The columns of an index as it has them."""
    short = [_short(table, column) for column in index.columns[: index.same]]
    return ", ".join([*short, *(f'"{column}"' for column in index.columns[index.same :])])


def columns_of(table: Table) -> str:
    """The columns with their types; texts are ordered by code points, as in Python."""
    return ", ".join(
        f'"{name}" {TYPES[plain]}{_ORDER if plain is str else ""}{"" if nullable else " NOT NULL"}'
        for name, (plain, nullable) in table.types().items()
    )


def create(table: Table) -> str:
    """The statements that make a table and its indexes; an index leaves nulls out where there are any."""
    types = table.types()
    made = [
        # A counter is updated again and again: with room on its page, no index is touched.
        f'CREATE TABLE "{table.name}" ({columns_of(table)}){" WITH (fillfactor = 70)" if table.sums else ""}',
        f'CREATE UNIQUE INDEX "{table.name}_key" ON "{table.name}" ({_key(table)})',
    ]
    for index in table.indexes:
        filled = f' WHERE "{index.known}" IS NOT NULL' if types[index.known][1] else ""
        made.append(
            f'CREATE INDEX {_index_name(table, index)} ON "{table.name}" ({_indexed(table, index)}){filled}'
        )
    return ";\n".join(made) + ";\n"


# Writing


def _on_conflict(table: Table) -> str:
    rest = [f'"{name}" = excluded."{name}"' for name in table.columns if name not in table.key]
    return f"DO UPDATE SET {', '.join(rest)}" if rest else "DO NOTHING"


def _adding(table: Table) -> str:
    sums = ", ".join(f'"{name}" = it."{name}" + excluded."{name}"' for name in table.sums)
    return f"DO UPDATE SET {sums}"


def _arrays(table: Table, columns: Sequence[str]) -> str:
    return ", ".join(f"%b::{kind(table, column)}[]" for column in columns)


@cache
def upsert(table: Table, *, add: bool = False, staged: bool = False) -> str:
    """Insert rows in key order; what is there is replaced, or grows.

    They come as arrays, column by column, or were copied into the table's `staging` before.
    """
    arrays = f"unnest({_arrays(table, table.columns)}) AS new ({names(table.columns)})"
    return (
        f'INSERT INTO "{table.name}" AS it SELECT {names(table.columns)}'
        f" FROM {staging(table) if staged else arrays} ORDER BY {names(table.key)}"
        f" ON CONFLICT ({_key(table)}) {_adding(table) if add else _on_conflict(table)}"
    )


def staging(table: Table) -> str:
    """The temporary table in which a session's rows wait to be written to a table."""
    return f'"new_{table.name}"'


def create_staging(table: Table) -> str:
    """The statement that makes it; it is empty again after each transaction."""
    return f'CREATE TEMPORARY TABLE {staging(table)} (LIKE "{table.name}") ON COMMIT DELETE ROWS'


def copy(table: Table, target: str) -> str:
    """Copy rows of a table to it, or to its staging, in binary."""
    return f"COPY {target} ({names(table.columns)}) FROM STDIN (FORMAT BINARY)"


@cache
def delete(table: Table) -> str:
    """Remove the rows with keys given as arrays."""
    same = " AND ".join(f'it."{name}" = doomed."{name}"' for name in table.key)
    return (
        f'DELETE FROM "{table.name}" AS it'
        f" USING unnest({_arrays(table, table.key)}) AS doomed ({names(table.key)}) WHERE {same}"
    )


# Reading by keys


@cache
def among(table: Table, columns: tuple[str, ...]) -> str:
    """Read the rows whose columns equal one of the keys, which come as arrays."""
    same = " AND ".join(f'it."{name}" = wanted."{name}"' for name in columns)
    return (
        f"SELECT {names(table.columns, 'found.')}"
        f" FROM unnest({_arrays(table, columns)}) AS wanted ({names(columns)})"
        f' CROSS JOIN LATERAL (SELECT * FROM "{table.name}" AS it WHERE {same} OFFSET 0) AS found'
    )


@cache
def along(table: Table, index: Index, given: int, fixed: int, limit: int, *, descending: bool) -> str:
    """Read the rows along an index, behind each of the starts, which come as arrays."""
    columns = index.order[:given]
    terms = []
    for number, column in enumerate(columns[:fixed]):
        terms.append(f'it."{column}" = wanted."{column}"')
        if number < index.same and kind(table, column) in _SHORTENED:
            terms.append(f"{_short(table, column, 'it.')} = {_short(table, column, 'wanted.')}")
    if given > fixed:
        sign = "<" if descending else ">"
        behind = columns[fixed:]
        terms.append(f"({names(behind, 'it.')}) {sign} ({names(behind, 'wanted.')})")
    if index.known not in columns[:fixed] and table.types()[index.known][1]:
        terms.append(f'it."{index.known}" IS NOT NULL')
    order = ", ".join(f'it."{column}"{" DESC" if descending else ""}' for column in index.order[fixed:])
    return (
        f"SELECT {names(table.columns, 'found.')}"
        f" FROM unnest({_arrays(table, columns)}) AS wanted ({names(columns)})"
        f' CROSS JOIN LATERAL (SELECT * FROM "{table.name}" AS it{_where(terms)}'
        f"{f' ORDER BY {order}' if order else ''} LIMIT {limit}) AS found"
    )


# Reading by conditions


def _known(table: Table, columns: Iterable[str]) -> None:
    for column in columns:
        if column not in table.columns:
            raise UnknownColumn(f"{table.name} has no column {column!r}")


def _conditions(table: Table, where: Mapping[str, Any]) -> tuple[list[str], list[Any]]:
    _known(table, where)
    terms: list[str] = []
    parameters: list[Any] = []
    for column, wanted in where.items():
        if wanted is None:
            terms.append(f'"{column}" IS NULL')
        elif not isinstance(wanted, Range):
            terms.append(f'"{column}" = %b::{kind(table, column)}')
            parameters.append(wanted)
        else:
            ends = [(sign, end) for sign, end in ((">=", wanted.low), ("<=", wanted.high)) if end is not None]
            terms.extend(f'"{column}" {sign} %b::{kind(table, column)}' for sign, _ in ends)
            parameters.extend(end for _, end in ends)
            if not ends:
                terms.append(f'"{column}" IS NOT NULL')
    return terms, parameters


def _where(terms: list[str]) -> str:
    return f" WHERE {' AND '.join(terms)}" if terms else ""


def _source(table: Table, where: Mapping[str, Any], terms: list[str]) -> str:
    """The rows that meet the conditions.

    Those that an index finds are found first: with a limit, the planner would rather walk over all
    facts in key order until it has met the few that wait.
    """
    by_key = where.get(table.key[0]) is not None and not isinstance(where[table.key[0]], Range)
    by_index = not by_key and any(where.get(index.columns[0]) is not None for index in table.searched)
    fence = " OFFSET 0" if by_index else ""
    return f'(SELECT * FROM "{table.name}"{_where(terms)}{fence}) AS it'


def scan(
    table: Table, where: Mapping[str, Any], after: Sequence[Any] | None, limit: int | None
) -> tuple[str, list[Any]]:
    """The statement and parameters that read a table in key order."""
    terms, parameters = _conditions(table, where)
    if after is not None:
        marks = ", ".join(f"%b::{kind(table, column)}" for column in table.key)
        terms.append(f"({names(table.key)}) > ({marks})")
        parameters.extend(after)
    text = f"SELECT {names(table.columns)} FROM {_source(table, where, terms)} ORDER BY {names(table.key)}"
    if limit is not None:
        return f"{text} LIMIT %b::bigint", [*parameters, limit]
    return text, parameters


def pairs(
    table: Table, columns: Sequence[str], other: Table, other_columns: Sequence[str], where: Mapping[str, Any]
) -> tuple[str, list[Any]]:
    """The statement and parameters that read a table in key order, joined with another by the other's key."""
    _known(table, (*columns, *other.key))
    _known(other, other_columns)
    terms, parameters = _conditions(table, where)
    chosen = ", ".join(filter(None, (names(columns, "it."), names(other_columns, "other."))))
    same = " AND ".join(f'b."{name}" = it."{name}"' for name in other.key)
    return (
        f"SELECT {chosen} FROM {_source(table, where, terms)}"
        f' CROSS JOIN LATERAL (SELECT * FROM "{other.name}" AS b WHERE {same} OFFSET 0) AS other'
        f" ORDER BY {names(table.key, 'it.')}"
    ), parameters


def totals(table: Table, by: Sequence[str], where: Mapping[str, Any]) -> tuple[str, list[Any]]:
    """The statement and parameters that sum a counter table by groups."""
    _known(table, by)
    terms, parameters = _conditions(table, where)
    sums = ", ".join(f'sum("{name}")::bigint' for name in table.sums)
    order = ", ".join(f'"{name}" NULLS FIRST' for name in by)
    groups = f" GROUP BY {names(by)} ORDER BY {order}" if by else ""
    chosen = f"{names(by)}, {sums}" if by else sums
    return f'SELECT {chosen} FROM "{table.name}"{_where(terms)}{groups}', parameters


def count(table: Table, where: Mapping[str, Any], most: int | None = None) -> tuple[str, list[Any]]:
    """The statement and parameters that count rows, up to `most`."""
    terms, parameters = _conditions(table, where)
    if most is not None:
        found = f'SELECT 1 FROM "{table.name}"{_where(terms)} LIMIT %b::bigint'
        return f"SELECT count(*) FROM ({found}) AS it", [*parameters, most]
    return f"SELECT count(*) FROM {_source(table, where, terms)}", parameters


def newest(
    table: Table, index: Index, value: Any, within: Range, before: Sequence[Any] | None, limit: int
) -> tuple[str, list[Any]]:
    """The statement and parameters that read along an index from its end."""
    first, *rest = index.columns
    where: dict[str, Any] = {first: value}
    if within.low is not None or within.high is not None:
        where[rest[0]] = within
    terms, parameters = _conditions(table, where)
    if before is not None:
        marks = ", ".join(f"%b::{kind(table, column)}" for column in rest)
        terms.append(f"({names(rest)}) < ({marks})")
        parameters.extend(before)
    # All columns of the index, though the first has one value: so the order is plainly the index's.
    order = ", ".join(f'"{column}" DESC' for column in index.columns)
    text = f'SELECT {names(table.columns)} FROM "{table.name}"{_where(terms)} ORDER BY {order}'
    return f"{text} LIMIT %b::bigint", [*parameters, limit]


def distinct(table: Table, column: str, within: Range, after: Any, limit: int) -> tuple[str, list[Any]]:
    """The statement and parameters that read the different values of a column, each by a search."""
    mark = f"%b::{kind(table, column)}"
    least, parameters = ("IS NOT NULL", []) if within.low is None else (f">= {mark}", [within.low])
    first = f'"{column}" {least}'
    if after is not None:
        first, parameters = f'{first} AND "{column}" > {mark}', [*parameters, after]
    top, high = ("", []) if within.high is None else (f' AND "{column}" <= {mark}', [within.high])
    chosen = f'SELECT "{column}" FROM "{table.name}" WHERE {{}}{top} ORDER BY "{column}" LIMIT 1'
    behind = chosen.format(f'"{column}" > found.value')
    text = (
        f"WITH RECURSIVE found (value) AS ((SELECT ({chosen.format(first)})) UNION ALL"
        f" SELECT ({behind}) FROM found WHERE found.value IS NOT NULL)"
        f" SELECT value FROM found WHERE value IS NOT NULL LIMIT %b::bigint"
    )
    return text, [*parameters, *high, *high, limit]


def sorted_keys(keys: Iterable[Sequence[Any]]) -> list[Row]:
    """Keys once each, and in order: neighbours lie on the same pages of an index."""
    # A set would scatter keys that come in order, as most do.
    return sorted(dict.fromkeys(map(tuple, keys)))
