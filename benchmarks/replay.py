"""Replay against live: folding a whole log anew, and following it while it is written.

Live is the embedded worker's step, called after every ten blocks that were appended, as under load; what
appending costs is left to `append`. Replay is `streams.projection.rebuild` on the log that live left behind.
"""

from __future__ import annotations

import tempfile
import time
from pathlib import Path
from statistics import median

from benchmarks.measuring import cpu, ratio, spread
from benchmarks.report import Row
from benchmarks.scale import Scale
from benchmarks.workload import BATCH, Workload
from streams.log.sqlite import SqliteLog, create_log
from streams.projection.apply import advance
from streams.projection.rebuild import rebuild
from streams.store.sqlite.store import SqliteStore, create_store
from streams.views.registry import TABLES

_APPENDED_AT_ONCE = 10 * BATCH


def _live(folder: Path, events: int) -> float:
    """CPU seconds of following a log while it grows. The log is left in the folder."""
    identity = create_log(folder / "log.sqlite", 1)
    log = SqliteLog(folder / "log.sqlite", writable=True)
    create_store(folder / "live.sqlite", identity, TABLES)
    store = SqliteStore(folder / "live.sqlite", writable=True)
    workload = Workload()
    log.append(workload.declared())
    spent = 0.0
    try:
        for done in range(0, events, _APPENDED_AT_ONCE):
            log.append(workload.records(min(_APPENDED_AT_ONCE, events - done)))
            started = time.process_time()
            while advance(log, store):
                pass
            spent += time.process_time() - started
    finally:
        store.close()
        log.close()
    return spent


def _replayed(folder: Path) -> float:
    """CPU seconds of folding that log into a new store."""
    log = SqliteLog(folder / "log.sqlite")
    create_store(folder / "replayed.sqlite", log.identity, TABLES)
    store = SqliteStore(folder / "replayed.sqlite", writable=True)
    try:
        return cpu(lambda: rebuild(log, store))
    finally:
        store.close()
        log.close()


def measure(scale: Scale) -> list[Row]:
    """The row: CPU of replay over CPU of live, for the same events."""
    rounds = 1 if scale.quick else 2
    live: list[float] = []
    replayed: list[float] = []
    for _ in range(rounds):
        with tempfile.TemporaryDirectory(dir=scale.folder) as folder:
            live.append(_live(Path(folder), scale.replay_events))
            replayed.append(_replayed(Path(folder)))
    low, high = spread(replayed, live)
    return [
        Row(
            name="replay",
            what=f"replay of {scale.replay_events:,} events into all views / following them live",
            bound=1.0,
            reached=ratio(replayed, live),
            low=low,
            high=high,
            details={
                "us of CPU an event, replay": median(replayed) / scale.replay_events * 1e6,
                "live": median(live) / scale.replay_events * 1e6,
                "rounds": rounds,
            },
        )
    ]
