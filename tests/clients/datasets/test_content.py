"""The content hash: one per sequence of rows, whatever memory and files make of them."""

from __future__ import annotations

import io
from datetime import UTC, datetime
from itertools import pairwise
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given
from hypothesis import strategies as st

from loopline.datasets.content import content_hash

KINDS: dict[str, tuple[pa.DataType, st.SearchStrategy[Any]]] = {
    "text": (pa.string(), st.text(st.characters(codec="utf-8"))),
    "whole": (pa.int64(), st.integers(-(2**63), 2**63 - 1)),
    "number": (pa.float64(), st.floats(allow_nan=False).map(lambda number: number + 0.0)),
    "at": (
        pa.timestamp("ns", tz="UTC"),
        st.datetimes(datetime(1990, 1, 1), datetime(2100, 1, 1), timezones=st.just(UTC)),  # noqa: DTZ001 -- the strategy adds it
    ),
}
SCHEMA = pa.schema([(name, kind) for name, (kind, _) in KINDS.items()])
ROW = st.fixed_dictionaries({name: st.none() | values for name, (_, values) in KINDS.items()})
ROWS = st.lists(ROW, max_size=12)


def split(rows: list[dict[str, Any]]) -> pa.Table:
    """Rows as a table."""
    return pa.Table.from_pylist(rows, schema=SCHEMA)


def hashed(train: pa.Table, test: pa.Table | None = None) -> str:
    """The hash of a release whose other splits are empty."""
    empty = split([])
    return content_hash({"train": train, "validation": empty, "test": test or empty, "audit": empty})


@given(ROWS, st.lists(st.integers(0, 12), max_size=3))
def test_how_rows_lie_in_memory_and_in_files_does_not_count(
    rows: list[dict[str, Any]], cuts: list[int]
) -> None:
    """Chunks, slices, string widths, dictionaries and a way through Parquet leave the hash alone."""
    table = split(rows)
    expected = hashed(table)
    edges = [0, *sorted(min(cut, len(rows)) for cut in cuts), len(rows)]
    pieces = [table.slice(start, end - start) for start, end in pairwise(edges)]
    assert hashed(pa.concat_tables(pieces)) == expected
    padded = pa.concat_tables([table, table, table]).combine_chunks()
    assert hashed(padded.slice(len(rows), len(rows))) == expected
    wide = table.set_column(0, "text", table.column("text").cast(pa.large_string()))
    assert hashed(wide) == expected
    file = io.BytesIO()
    pq.write_table(table, file, compression="gzip", row_group_size=5)
    assert hashed(pq.read_table(io.BytesIO(file.getvalue()))) == expected


@given(ROWS, ROWS)
def test_other_rows_have_another_hash(first: list[dict[str, Any]], second: list[dict[str, Any]]) -> None:
    """Two releases have the same hash exactly when they have the same rows in the same order."""
    same = split(first).equals(split(second))
    assert (hashed(split(first)) == hashed(split(second))) == same


def test_text_does_not_run_from_one_value_into_the_next() -> None:
    """["ab", "c"], ["a", "bc"], ["abc", ""] and ["abc", null] are four contents."""
    values: list[list[str | None]] = [["ab", "c"], ["a", "bc"], ["abc", ""], ["abc", None]]
    tables = [split([{"text": text} for text in pair]) for pair in values]
    assert len({hashed(table) for table in tables}) == 4


def test_the_split_a_row_is_in_counts() -> None:
    """The same row in train and in test are two contents."""
    row, empty = split([{"text": "a"}]), split([])
    assert hashed(row, empty) != hashed(empty, row)


def test_lineage_is_not_content() -> None:
    """Other tables may come along; they do not count."""
    empty = split([])
    tables = dict.fromkeys(("train", "validation", "test", "audit"), empty)
    assert content_hash({**tables, "lineage": split([{"text": "a"}])}) == content_hash(tables)


def test_the_hash_is_what_it_always_was() -> None:
    """A fixed release keeps its hash for ever: every manifest written so far relies on it."""
    rows: list[dict[str, Any]] = [
        {"text": "smyth", "whole": 7, "number": 0.5, "at": datetime(2026, 11, 20, 9, 12, tzinfo=UTC)},
        {"text": None, "whole": None, "number": None, "at": None},
    ]
    assert hashed(split(rows), split(rows[1:])) == (
        "sha256:8614ed327cc0fefdc28b8332c639e41cd100de167cc6017b797a88fd94495b49"
    )


def test_a_column_without_a_canonical_form_is_refused() -> None:
    """Nested columns have no place in a release."""
    with pytest.raises(TypeError):
        hashed(pa.table({"nested": [[1, 2]]}))
