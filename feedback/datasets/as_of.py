"""As of: the state of the views that a release is cut from, as a vector of positions and a snapshot at it.

Without a vector it is the log's end, once the worker is there. With one at which the views do not stand any
more, the log is folded again, up to it, into a scratch store.

A vector is over all epochs of the log. An epoch begins where the one before ends, so one that was written
down before an epoch began names none of its partitions, and means that nothing of it is in.
"""

from __future__ import annotations

import contextlib
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager
from pathlib import Path
from typing import NamedTuple

from feedback.datasets.cut.rows import Progress
from feedback.datasets.errors import AsOfRefused, NotCaughtUp
from streams.log.port import (
    DEAD,
    Log,
    LogIdentity,
    MalformedPosition,
    Positions,
    ends_with,
    format_positions,
    parse_positions,
)
from streams.projection.apply import check
from streams.projection.rebuild import rebuild
from streams.store.port import Snapshot, Store
from streams.views.registry import TABLES

Wait = Callable[[Positions], None]
"""Returns when the views have reached these positions, or raises."""

Scratch = Callable[[Path, LogIdentity], AbstractContextManager[Store]]
"""An empty store for a log, in a folder that is removed afterwards."""


class Standing(NamedTuple):
    """A snapshot, the vector that it stands at, and the version of its views.

    The vector has every partition that the log has had, but for the one of refused items.
    """

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
    from streams.store.sqlite.store import SqliteStore, create_store

    path = folder / "as-of.sqlite"
    create_store(path, identity, TABLES)
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
        (wait or Polling(store, log))(_data_only(log.ends()))
    else:
        as_of = whole(as_of, log)
    live = store()
    check(log, live)
    with live.snapshot() as snapshot:
        vector = _vector(snapshot, log)
        if as_of is None or _begun(vector) == _begun(as_of):
            yield Standing(snapshot, vector, live.views_version)
            return
    with scratch(folder, log.identity) as aside:
        rebuild(log, aside, as_of, lambda done, total: progress("folding the log", done, total))
        with aside.snapshot() as snapshot:
            yield Standing(snapshot, as_of, aside.views_version)


def reaches(vector: Mapping[int, int], other: Mapping[int, int]) -> bool:
    """Whether a vector lies at or behind another one, in every partition."""
    return all(vector.get(partition, 0) >= offset for partition, offset in other.items())


class Polling:
    """Waits for the worker by looking at the store, each `poll_s`, for `within_s`."""

    def __init__(
        self, store: Callable[[], Store], log: Log, *, within_s: float = 60.0, poll_s: float = 0.02
    ) -> None:
        self._poll_s = poll_s
        self._store = store
        self._log = log
        self._within_s = within_s

    def __call__(self, goal: Positions) -> None:
        """Return once the views have reached these positions. Raises NotCaughtUp."""
        deadline = time.monotonic() + self._within_s
        while True:
            with self._store().snapshot() as snapshot:
                vector = _vector(snapshot, self._log)
            if reaches(vector, goal):
                return
            if time.monotonic() >= deadline:
                raise NotCaughtUp(
                    f"the views stand at {format_positions(vector)} and the log's end is"
                    f" {format_positions(goal)}: is the worker running? `loopline up` starts it, and on many"
                    " machines `loopline worker`; or release what is there with"
                    f" --as-of {format_positions(vector)}"
                )
            time.sleep(self._poll_s)


def _data_only(positions: Positions) -> dict[int, int]:
    return {partition: offset for partition, offset in sorted(positions.items()) if partition != DEAD}


def _begun(vector: Positions) -> dict[int, int]:
    """A vector without what says nothing: two are the same state when these are the same."""
    return {partition: offset for partition, offset in vector.items() if offset}


def _vector(snapshot: Snapshot, log: Log) -> dict[int, int]:
    """Where the views stand, in every partition of the log."""
    applied = snapshot.positions()
    partitions = set(range(log.identity.first + log.identity.partitions))
    if not applied.keys() <= partitions | {DEAD}:
        # The views are in an epoch that this reader of the log has not noticed yet.
        partitions = ends_with(log, applied).keys() - {DEAD}
    return {each: applied[each].offset if each in applied else 0 for each in sorted(partitions)}


def whole(as_of: Positions, log: Log) -> dict[int, int]:
    """The vector that is meant, in every partition of the log.

    What it may leave out is what can only be nothing: epochs after the last one that it names, and partitions
    in which a past epoch has nothing. Raises AsOfRefused for what was no state of this log.
    """
    ends = _data_only(log.ends())
    if any(offset > ends.get(partition, -1) for partition, offset in as_of.items()):
        raise AsOfRefused(
            f"--as-of {format_positions(as_of)} is beyond the log's end, which is {format_positions(ends)}"
        )
    epochs = log.identity.epochs()
    named = [epoch for epoch in epochs if as_of.keys() & set(epoch)] or epochs[:1]
    missing = [
        partition
        for epoch in epochs[: epochs.index(named[-1]) + 1]
        for partition in epoch
        if partition not in as_of and (ends[partition] or epoch is epochs[-1])
    ]
    if missing:
        raise AsOfRefused(
            f"--as-of says nothing about partition {', '.join(map(str, missing))}: the whole vector is"
            f" needed, as in {format_positions(ends)}, which is the log's end"
        )
    vector = {partition: as_of.get(partition, 0) for partition in ends}
    for number, epoch in enumerate(epochs[:-1], 1):
        end = {partition: ends[partition] for partition in epoch}
        if any(vector[each] for each in range(epoch.stop, len(ends))) and not reaches(vector, end):
            raise AsOfRefused(
                f"--as-of {format_positions(as_of)} has blocks of a later epoch and not all of epoch"
                f" {number}, which ends at {format_positions(end)}: the next one begins there"
            )
    return vector
