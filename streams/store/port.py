"""The store's port: rows of `streams.store.tables`, and the position they stand at.

A store is read in snapshots and moved forward in transactions. Everything that a transaction writes
becomes visible together with its positions, or not at all. Adapters know tables only as data, so a
view is added in one place.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager
from typing import Any, NamedTuple, Protocol

from schemas.errors import Halt, Malformed, Refused, Unavailable
from streams.log.port import LogIdentity
from streams.store.tables import Index, Row, Table


class RefusedValue(Malformed):
    """The store cannot hold a value that it was given: the reason lies in the data, not in the store."""


class UnknownColumn(Malformed):
    """A condition names a column that the table does not have."""


class StoreUnavailable(Unavailable):
    """What holds the store does not answer, or ended the connection. Nothing is lost: try again."""


class StoreReplaced(Unavailable):
    """Another store of the same views took the place of this one: ask for the current one, and open that."""


class StoreMissing(Refused):
    """There is no store at this place."""


class StoreExists(Refused):
    """There is a store at this place already."""


class StoreUnreadable(Refused):
    """What lies there cannot be read or written by this version, or by this user, or is damaged."""


class StoreRefused(Halt):
    """The store cannot be moved on as it is, and a person must act; the message says what to do."""


class Applied(NamedTuple):
    """How far a partition was applied: before `offset`; the last block's digest and receipt (ns)."""

    offset: int
    digest: bytes
    received: int


class Range(NamedTuple):
    """A condition on a column: low <= value <= high, either end open when None."""

    low: Any = None
    high: Any = None


ANY = Range()


class Snapshot(Protocol):
    """One consistent state of the store, for reading."""

    def positions(self) -> dict[int, Applied]:
        """How far each partition was applied; partitions without a block are left out."""
        ...

    def get(self, table: Table, keys: Iterable[Sequence[Any]]) -> list[Row]:
        """The rows whose key begins with one of `keys`; all given prefixes have one length. Any order."""
        ...

    def find(self, table: Table, column: str, values: Iterable[Any]) -> list[Row]:
        """The rows whose `column`, the first of an index to search by, has one of the values. Any order."""
        ...

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
        """The rows along an index, at most `limit` for each of `starts`, in the order of the index.

        All starts have one length. Their first `fixed` values are those of the first columns; what follows
        is a position: only rows behind it come, in the direction that is asked for. Which start comes
        first is not said, and the rows of one are together.
        """
        ...

    def scan(
        self,
        table: Table,
        where: Mapping[str, Any] | None = None,
        *,
        after: Sequence[Any] | None = None,
        limit: int | None = None,
    ) -> Iterator[Row]:
        """The rows that meet `where`, in key order, from just behind the key `after`.

        `where` maps a column to a value it equals (None: is null), or to a Range, which no null meets.
        """
        ...

    def pairs(
        self,
        table: Table,
        columns: Sequence[str],
        other: Table,
        other_columns: Sequence[str],
        where: Mapping[str, Any] | None = None,
    ) -> Iterator[tuple[Any, ...]]:
        """Some columns of the rows of `table` that meet `where`, in key order, with their rows of `other`.

        A row's other one is that whose key is in the row's columns of the same names; rows without one
        are left out. For reading many rows of two tables at once: only what is asked for is fetched.
        """
        ...

    def totals(
        self, table: Table, by: Sequence[str], where: Mapping[str, Any] | None = None
    ) -> list[tuple[Any, ...]]:
        """The sums of a counter table for each group of `by`: (*by, *sums); groups of zeros left out."""
        ...

    def count(self, table: Table, where: Mapping[str, Any] | None = None, *, most: int | None = None) -> int:
        """How many rows meet `where`; with `most` no more are looked for than that."""
        ...

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
        """The rows with a value in the first column of an index, in its order from the end.

        Args:
            within: the range of the index's second column.
            before: the other columns of the index as some row has them: only rows before it.
        """
        ...

    def distinct(
        self, table: Table, column: str, within: Range = ANY, *, after: Any = None, limit: int
    ) -> list[Any]:
        """The different values of a column that is the first of the key or of an index, in order.

        Each is searched for behind the one before, however many rows have it. Null is none of them.
        """
        ...


class Transaction(Snapshot, Protocol):
    """A snapshot that can be written to, and that sees what others committed before each read.

    Several writers may be at work, each on partitions of its own; what they share they hold, always in
    this order: partitions, join keys (`lock_join_keys`), predictions (`lock_predictions`). Whoever comes
    second waits, and then reads what the first one wrote.
    """

    @property
    def shard(self) -> int:
        """The shard of the counters to add to: no other transaction adds to it meanwhile."""
        ...

    def lock_join_keys(self, keys: Sequence[bytes]) -> None:
        """Lock join keys until the end: once in a transaction, and before `lock_predictions` unless alone."""
        ...

    def lock_predictions(self, pids: Sequence[bytes]) -> None:
        """Lock those of these predictions that are there and have a join key, until the end.

        The others are only ever touched by the writer that holds their partition.
        """
        ...

    def insert(self, table: Table, rows: Sequence[Row]) -> None:
        """Insert rows whose keys are not there, which is for the caller to know; cheaper than `put`."""
        ...

    def put(self, table: Table, rows: Sequence[Row]) -> None:
        """Insert rows, or replace those with the same keys. Keys do not repeat within a call."""
        ...

    def delete(self, table: Table, keys: Sequence[Sequence[Any]]) -> None:
        """Remove the rows with these full keys, where they are there."""
        ...

    def add(self, table: Table, rows: Sequence[Row]) -> None:
        """Add the sums of rows to those with the same keys, inserting what is missing."""
        ...

    def savepoint(self) -> AbstractContextManager[None]:
        """What is written inside is taken back when it ends with an error; the transaction goes on.

        Raises RefusedValue for what the store cannot hold.
        """
        ...

    def advance(self, positions: Mapping[int, Applied]) -> None:
        """Move partitions to these positions, in this transaction."""
        ...


class Store(Protocol):
    """The views of one log.

    It raises the errors above and no library's: StoreUnavailable, StoreReplaced and StoreUnreadable when it
    cannot be used now, for which no event is to blame.
    """

    @property
    def log(self) -> LogIdentity:
        """The log whose views these are."""
        ...

    @property
    def views_version(self) -> int:
        """The version of the views that built the store."""
        ...

    def snapshot(self) -> AbstractContextManager[Snapshot]:
        """A consistent state to read from, until the context ends."""
        ...

    def transaction(
        self, partitions: Iterable[int], *, alone: bool = False
    ) -> AbstractContextManager[Transaction]:
        """Holds these partitions' positions; commits at the end, or rolls back on error.

        `alone`: no other transaction runs meanwhile. A declaration needs it, since it touches predictions
        of all partitions, and so does whoever may have to wait for it.
        """
        ...

    def close(self) -> None:
        """Let go of everything; snapshots and transactions end."""
        ...
