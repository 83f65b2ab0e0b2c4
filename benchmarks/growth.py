"""The worker along one long run: what an event costs at 1,000,000 and at 20,000,000, and the memory it takes.

One log and one store on disk grow together, as in production: blocks are appended, the worker follows. The
cost of an event is that of a whole window of the first million events, and of the last. A run this long sees
the machine busier and quieter, so each window also decodes its own blocks, piece by piece between the
worker's steps, and windows are compared in units of that; the bare CPU times are told beside it.
"""

from __future__ import annotations

import gc
import sys
import tempfile
import time
from pathlib import Path

import msgspec

from benchmarks.measuring import peak_mib, resident_mib
from benchmarks.report import Row
from benchmarks.scale import Scale
from benchmarks.workload import Workload
from schemas.catalog import CATALOG
from streams.log.block import read_block
from streams.log.sqlite import SqliteLog, create_log
from streams.projection.apply import advance
from streams.store.sqlite.store import SqliteStore, create_store
from streams.views.registry import TABLES

_PIECE = 2_000


class Window(msgspec.Struct):
    """So many events: CPU seconds of the worker and of decoding alone, and memory at the end (MiB)."""

    events: int = 0
    worker: float = 0.0
    decoding: float = 0.0
    resident: float = 0.0

    @property
    def us(self) -> float:
        """Microseconds of the worker's CPU for an event."""
        return self.worker / self.events * 1e6

    @property
    def relative(self) -> float:
        """The worker's CPU in units of decoding."""
        return self.worker / self.decoding


def _decode(records: list[tuple[int, bytes]]) -> None:
    for _, record in records:
        header, body = read_block(record)
        CATALOG.read(body, header.types)


def run(scale: Scale, folder: Path) -> list[Window]:
    """The windows of a run of `last_events`, each of `first_events`."""
    identity = create_log(folder / "log.sqlite", 1)
    log = SqliteLog(folder / "log.sqlite", writable=True)
    create_store(folder / "views.sqlite", identity, TABLES)
    store = SqliteStore(folder / "views.sqlite", writable=True)
    workload = Workload()
    log.append(workload.declared())
    advance(log, store)
    windows = [Window()]
    clock = time.process_time
    try:
        for done in range(0, scale.last_events, _PIECE):
            if windows[-1].events >= scale.first_events:
                windows.append(Window())
            window = windows[-1]
            records = workload.records(min(_PIECE, scale.last_events - done))
            log.append(records)
            started = clock()
            while advance(log, store):
                pass
            between = clock()
            _decode(records)
            window.decoding += clock() - between
            window.worker += between - started
            window.events += min(_PIECE, scale.last_events - done)
            if window.events >= scale.first_events:
                window.resident = resident_mib()
                _tell(len(windows), window, folder)
    finally:
        store.close()
        log.close()
    gc.collect()
    windows[-1].resident = resident_mib()
    return windows


def _tell(number: int, window: Window, folder: Path) -> None:
    size = sum(path.stat().st_size for path in folder.iterdir()) / 2**30
    print(
        f"  window {number}: {window.us:.1f} us an event, {window.relative:.2f}x decoding,"
        f" {window.resident:.0f} MiB, {size:.1f} GiB on disk",
        file=sys.stderr,
        flush=True,
    )


def measure(scale: Scale) -> list[Row]:
    """Two rows: the last window's cost over the first's, and the peak of memory."""
    with tempfile.TemporaryDirectory(dir=scale.folder) as folder:
        windows = run(scale, Path(folder))
        size = sum(path.stat().st_size for path in Path(folder).iterdir())
    first, last = windows[0], windows[-1]
    whole = sum(window.worker for window in windows) / sum(window.decoding for window in windows)
    all_windows = [window.relative / first.relative for window in windows]
    details: dict[str, float | int | str] = {
        "first window (us of CPU an event)": first.us,
        "last window": last.us,
        "in units of decoding, first": first.relative,
        "last": last.relative,
        "the whole run": whole,
        "events": scale.last_events,
        "a window": scale.first_events,
        "bytes an event on disk": size / scale.last_events,
    }
    return [
        Row(
            name="growth",
            what=f"worker into SQLite, an event at {scale.last_events:,} / at {scale.first_events:,} events",
            bound=1.3,
            reached=max(last.relative, first.relative) / min(last.relative, first.relative),
            low=min(all_windows),
            high=max(all_windows),
            details=details,
        ),
        Row(
            name="growth-memory",
            what=f"the same: memory of the process at its peak, over {scale.last_events:,} events",
            bound=400,
            reached=peak_mib(),
            unit="MiB",
            details={
                "resident after the first window (MiB)": first.resident,
                "after the last": last.resident,
            },
        ),
    ]
