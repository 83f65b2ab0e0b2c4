"""Newest first: pages of what comes in time order, whose cost does not grow with the number of events.

`newest_first` walks along an index from its end, of one value or of several at once. A page looks at so many
rows and no more (`MOST_LOOKED_AT`); where a filter meets few of them, it ends early, with a token that goes
on from there and perhaps with no item at all.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from heapq import merge
from itertools import islice
from typing import Any, Generic, NamedTuple, TypeVar

from schemas.instants import DAY, nanoseconds
from streams.queries.pages import Page, listing
from streams.store.port import ANY, Range, Snapshot
from streams.store.tables import Index, Row, Table, picking

MOST_LOOKED_AT = 4000
"""About so many rows are looked at for one page, those included that tell whether one is shown."""

MOST_BYTES = 4 * 1024 * 1024
"""A page ends early rather than carry more than about this much of data as it was sent."""

ROW_BYTES = 1024
"""What a row that is read for an item weighs, beside the data that was sent."""

_FIRST_CHUNK, _LARGEST_CHUNK = 16, 512
_LEAST, _GREATEST = -(2**63), 2**63 - 1

Item = TypeVar("Item")


class Chosen(NamedTuple, Generic[Item]):
    """Rows that meet the filters, each with what was learned of it; how many others were read to know.

    `stopped` is the key of a token that goes on where that ended early.
    """

    found: Sequence[tuple[Row, Item]]
    read: int = 0
    stopped: Sequence[Any] | None = None


def days(first_day: str | None, last_day: str | None) -> Range:
    """The instants (ns) of UTC days, both inclusive, as far as a store knows them; either may be open."""
    if first_day is None and last_day is None:
        return ANY
    low = None if first_day is None else _midnight(first_day)
    high = None if last_day is None else _midnight(last_day) + DAY - 1
    return Range(
        None if low is None else min(max(low, _LEAST), _GREATEST),
        None if high is None else min(max(high, _LEAST), _GREATEST),
    )


def _midnight(day: str) -> int:
    return nanoseconds(f"{day}T00:00:00Z")


def newest_first(
    snapshot: Snapshot,
    table: Table,
    index: Index,
    values: Iterable[Any],
    within: Range = ANY,
    before: Sequence[Any] | None = None,
) -> Iterator[Row]:
    """The rows with one of the values in the first column of an index, by its other columns from the end.

    Args:
        within: the range of the index's second column.
        before: those other columns as some row has them: only rows before it.
    """
    place = position_of(table, index)
    streams = [_stream(snapshot, table, index, value, within, before) for value in values]
    return streams[0] if len(streams) == 1 else merge(*streams, key=place, reverse=True)


def position_of(table: Table, index: Index) -> Callable[[Row], tuple[Any, ...]]:
    """From a row to what orders it among all: the columns of the index behind the first."""
    return picking(table, index.columns[1:])


def _stream(
    snapshot: Snapshot,
    table: Table,
    index: Index,
    value: Any,
    within: Range,
    before: Sequence[Any] | None,
) -> Iterator[Row]:
    position, limit = position_of(table, index), _FIRST_CHUNK
    while rows := snapshot.newest(table, index, value, within, before=before, limit=limit):
        yield from rows
        if len(rows) < limit:
            return
        before, limit = position(rows[-1]), min(limit * 4, _LARGEST_CHUNK)


def page_of(
    rows: Iterator[Row],
    position: Callable[[Row], Sequence[Any]],
    chosen: Callable[[list[Row], int], Chosen[Item]],
    shown: Callable[[list[tuple[Row, Item]]], Iterable[tuple[dict[str, Any], int]]],
    page: Page,
) -> dict[str, Any]:
    """A page of the rows that a list shows.

    Args:
        rows: all that may be shown, newest first.
        position: from a row to the key of a token that goes on behind it.
        chosen: from some rows to those of them that meet the filters; about so many others may be read.
        shown: from those to the items, each with its weight: the size (bytes) of what was sent, and
            `ROW_BYTES` for each row that was read for it.
    """
    found: list[tuple[Row, Item]] = []
    looked_at, last, stopped = 0, None, None
    while len(found) <= page.limit and stopped is None:
        # As many as may be enough, and more where few of them are chosen.
        wanted = max(page.limit + 1 - len(found), looked_at)
        some = list(islice(rows, min(wanted, _LARGEST_CHUNK, max(0, MOST_LOOKED_AT - looked_at))))
        if not some:
            break
        looked_at += len(some)
        last = some[-1]
        more, read, stopped = chosen(some, MOST_LOOKED_AT - looked_at)
        found += more
        looked_at += read
    following = None
    if len(found) > page.limit:
        found = found[: page.limit]
        following = position(found[-1][0])
    elif stopped is not None:
        following = stopped
    elif looked_at >= MOST_LOOKED_AT and last is not None:
        # Perhaps there is nothing behind it: the next page says so.
        following = position(last)
    items, size = [], 0
    for (row, _), (item, weight) in zip(found, shown(found), strict=False):
        items.append(item)
        size += weight
        if size > MOST_BYTES and len(items) < len(found):
            return listing(items, position(row))
    return listing(items, following)
