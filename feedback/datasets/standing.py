"""As of: the state of the views that a release is cut from, as a vector of positions and a snapshot at it.

Without a vector it is the log's end, once the worker is there. With one at which the views do not stand any
more, the log is folded again, up to it, into a scratch store.
"""

from __future__ import annotations

import contextlib
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager
from pathlib import Path
from typing import NamedTuple

from feedback.datasets.errors import AsOfRefused, NotCaughtUp
from feedback.datasets.rows import Progress
from streams.log.port import (
    DEAD,
    Log,
    LogIdentity,
    MalformedPosition,
    Positions,
    format_positions,
    parse_positions,
)
from streams.projection import check
from streams.rebuild import rebuild
from streams.store.port import Snapshot, Store

WAIT_S = 60.0
_POLL_S = 0.02

Wait = Callable[[Positions], None]
"""Returns when the views have reached these positions, or raises."""

Scratch = Callable[[Path, LogIdentity], AbstractContextManager[Store]]
"""An empty store for a log, in a folder that is removed afterwards."""


class Standing(NamedTuple):
    """A snapshot, the vector that it stands at (data partitions only), and the version of its views."""

    snapshot: Snapshot
    vector: dict[int, int]
    views_version: int


def parse_as_of(as_of: str | Positions | None) -> dict[int, int] | None:
    """The vector that is meant. Raises AsOfRefused."""
    if as_of is None:
        return None
    try:
        vector = parse_positions(as_of) if isinstance(as_of, str) else dict(as_of)
    except MalformedPosition as error:
        raise AsOfRefused(f"--as-of: {error}") from error
    # What was refused is in no dataset.
    vector.pop(DEAD, None)
    return vector


@contextlib.contextmanager
def sqlite_scratch(folder: Path, identity: LogIdentity) -> Iterator[Store]:
    """A scratch store of the embedded engine."""
    from streams.store.sqlite import SqliteStore, create_store

    path = folder / "as-of.sqlite"
    create_store(path, identity)
    store = SqliteStore(path, writable=True)
    try:
        yield store
    finally:
        store.close()


@contextlib.contextmanager
def standing(
    log: Log,
    store: Callable[[], Store],
    as_of: dict[int, int] | None,
    folder: Path,
    *,
    wait: Wait | None,
    scratch: Scratch,
    progress: Progress,
) -> Iterator[Standing]:
    """The views as of a vector, or of the log's end. `folder` is for a scratch store.

    Raises AsOfRefused for a vector that is not one of this log, NotCaughtUp when the views stay behind, and a
    StoreRefused when the views are not those of this log.
    """
    if as_of is None:
        ends = _data_only(log.ends())
        (wait or _Polling(store, log))(ends)
    else:
        _check_vector(as_of, log)
    live = store()
    check(log, live)
    with live.snapshot() as snapshot:
        vector = _vector(snapshot, log)
        if as_of is None or vector == as_of:
            yield Standing(snapshot, vector, live.views_version)
            return
    with scratch(folder, log.identity) as aside:
        rebuild(log, aside, {**as_of, DEAD: 0}, lambda done, total: progress("folding the log", done, total))
        with aside.snapshot() as snapshot:
            yield Standing(snapshot, _vector(snapshot, log), aside.views_version)


def reaches(vector: Mapping[int, int], other: Mapping[int, int]) -> bool:
    """Whether a vector lies at or behind another one, in every partition."""
    return all(vector.get(partition, 0) >= offset for partition, offset in other.items())


class _Polling:
    """Waits for the worker by looking at the store."""

    def __init__(self, store: Callable[[], Store], log: Log) -> None:
        self._store = store
        self._log = log

    def __call__(self, goal: Positions) -> None:
        deadline = time.monotonic() + WAIT_S
        while True:
            with self._store().snapshot() as snapshot:
                vector = _vector(snapshot, self._log)
            if reaches(vector, goal):
                return
            if time.monotonic() >= deadline:
                raise NotCaughtUp(
                    f"the views stand at {format_positions(vector)} and the log's end is"
                    f" {format_positions(goal)}: is the worker running? `loopline up` starts it; or release"
                    f" what is there with --as-of {format_positions(vector)}"
                )
            time.sleep(_POLL_S)


def _data_only(positions: Positions) -> dict[int, int]:
    return {partition: offset for partition, offset in sorted(positions.items()) if partition != DEAD}


def _vector(snapshot: Snapshot, log: Log) -> dict[int, int]:
    applied = snapshot.positions()
    return {
        partition: applied[partition].offset if partition in applied else 0
        for partition in range(log.identity.partitions)
    }


def _check_vector(as_of: Positions, log: Log) -> None:
    ends = _data_only(log.ends())
    missing = sorted(ends.keys() - as_of.keys())
    if missing:
        raise AsOfRefused(
            f"--as-of says nothing about partition {', '.join(map(str, missing))}: the whole vector is"
            f" needed, as in {format_positions(ends)}, which is the log's end"
        )
    beyond = [partition for partition, offset in as_of.items() if offset > ends.get(partition, -1)]
    if beyond:
        raise AsOfRefused(
            f"--as-of {format_positions(as_of)} is beyond the log's end, which is {format_positions(ends)}"
        )
