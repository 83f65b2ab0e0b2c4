"""The views of a place: made when they are missing, built anew beside those that are read, and verified.

What a view is, and how one is folded, is left to `streams`; where stores lie and which one is read to
`feedback.installation.home` and `feedback.installation.cluster`.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from typing import NamedTuple

from feedback.installation.home import Home
from feedback.installation.port import Place
from streams.log.block import read_block
from streams.log.port import DEAD, Log, format_positions
from streams.projection.apply import OtherViews, check
from streams.projection.rebuild import Progress, rebuild, verify
from streams.store.compare import Difference
from streams.store.sqlite.store import SqliteStore, create_store
from streams.views.registry import TABLES

SWITCH_GRACE_S = 1.0
_BLOCKS_AT_ONCE = 100


def ready_store(home: Home, log: Log, progress: Progress | None = None) -> SqliteStore:
    """The store to write to, made or rebuilt when it is missing or of another version of the views.

    Raises StoreRefused when log and store do not belong together.
    """
    current = home.current_path()
    if current is None or not current.exists():
        with home.building():
            home.switch(home.new_store(log.identity))
    store = home.current_store(writable=True)
    try:
        check(log, store)
    except OtherViews:
        rebuild_beside(home, log, progress)
        store = home.current_store(writable=True)
        check(log, store)
    return store


def rebuild_beside(place: Place, log: Log, progress: Progress | None = None, *, grace_s: float = 0.0) -> None:
    """Build a new store from the log, let it catch up, and make it the one that is read.

    What is read meanwhile is the old one. Raises PlaceRefused when another process does the same.
    """
    with place.anew(log.identity, grace_s=grace_s) as fresh:
        rebuild(log, fresh, progress=progress)
        # What came in while it was built; the worker does the rest.
        rebuild(log, fresh)


class Verified(NamedTuple):
    """What verifying found: the first differences, and over how many events and rows, at which position."""

    differences: list[Difference]
    events: int
    rows: int
    position: str


def verify_views(place: Place, progress: Progress, limit: int) -> Verified:
    """Rebuild the views of a place aside, as they stand now, and compare. Raises StoreRefused.

    The rebuilt ones are in an SQLite file wherever the live ones are: two stores that agree have no fault
    of their own.
    """
    with (
        contextlib.closing(place.open_log()) as log,
        place.scratch() as folder,
        contextlib.closing(place),
    ):
        live = place.current_store()
        check(log, live)
        path = folder / "views.sqlite"
        create_store(path, log.identity, TABLES)
        with contextlib.closing(SqliteStore(path, writable=True)) as scratch, live.snapshot() as snapshot:
            differences = verify(log, snapshot, scratch, progress, limit)
            positions = {partition: applied.offset for partition, applied in snapshot.positions().items()}
            rows = sum(snapshot.count(table) for table in TABLES)
        events = sum(
            count
            for partition, end in positions.items()
            if partition != DEAD
            for record in _blocks(log, partition, end)
            for _, count in read_block(record)[0].received
        )
    return Verified(differences, events, rows, format_positions(positions) or "the beginning")


def _blocks(log: Log, partition: int, end: int) -> Iterator[bytes]:
    for offset in range(0, end, _BLOCKS_AT_ONCE):
        yield from log.read(partition, offset, min(_BLOCKS_AT_ONCE, end - offset))
