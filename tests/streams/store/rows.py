"""Rows of the tables for tests of stores: made by hand, or drawn by hypothesis from small domains."""

from __future__ import annotations

from functools import cache
from typing import Any

from hypothesis import strategies as st

from streams.store.tables import CASES, COUNTS, FACTS, Row, Table

# Order matters in these: nulls and empty ones first, capitals before small letters, é behind z, and what
# lies beyond the basic plane behind what lies in it.
WORDS = ("", "B", "a", "a\x01", "ab", "é", "\uffff", "😀")
_BYTES = (b"", b"\x00", b"\x00\x01", b"a", b"\xff")
_SAMPLES: dict[type, tuple[Any, ...]] = {
    bytes: _BYTES,
    str: WORDS,
    int: (-(2**63), -1, 0, 1, 2**63 - 1),
    float: (-1.5, 0.0, 0.25, 1.0),
}
_PLAIN: dict[type, Any] = {bytes: b"", str: "", int: 0, float: 0.0}


def row(table: Table, **columns: Any) -> Row:
    """A row with these columns; the others are null where they may be, else empty or zero."""
    unknown = columns.keys() - set(table.columns)
    assert not unknown, f"{table.name} has no {unknown}"
    return tuple(
        columns.get(name, None if nullable else _PLAIN[kind])
        for name, (kind, nullable) in table.types().items()
    )


def case(key: bytes, pid: bytes, at: int = 0) -> Row:
    """A prediction that answers for a join key."""
    return row(CASES, key=key, pid=pid, at=at, id="i", source="/s")


def fact(key: bytes, number: int, **columns: object) -> Row:
    """An event about a key."""
    return row(FACTS, key=key, id=b"%04d" % number, source="/s", **columns)


def count(dims: str, shard: int, n: int, events: int = 0, **columns: object) -> Row:
    """A counter of a partition."""
    return row(COUNTS, dims=dims, shard=shard, n=n, events=events, **columns)


@cache
def values(table: Table, column: str) -> st.SearchStrategy[Any]:
    """What a column may hold, from few values, so that rows meet; sums stay small."""
    kind, nullable = table.types()[column]
    if column in table.sums:
        return st.integers(-2, 2)
    drawn = st.sampled_from(_SAMPLES[kind])
    return st.none() | drawn if nullable else drawn


@cache
def keys(table: Table) -> st.SearchStrategy[Row]:
    """Full keys, of which there are few."""
    return st.tuples(*(st.sampled_from(_SAMPLES[table.types()[name][0]][:3]) for name in table.key))


@cache
def rows(table: Table) -> st.SearchStrategy[Row]:
    """Rows with such keys."""
    others = [name for name in table.columns if name not in table.key]

    def whole(key: Row, rest: Row) -> Row:
        named = dict(zip((*table.key, *others), (*key, *rest), strict=True))
        return tuple(named[name] for name in table.columns)

    return st.builds(whole, keys(table), st.tuples(*(values(table, name) for name in others)))
