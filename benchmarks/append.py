"""Taking events in, in process: decode, validate, compress and append durably, against decoding alone.

What is measured is what the collector does with a request's body, with the log's own writer thread and a
sync of the disk for every batch; HTTP is left to `over_http`.
"""

from __future__ import annotations

import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from statistics import median

from benchmarks.measuring import cpu, in_turns, ratio, spread
from benchmarks.report import Row
from benchmarks.scale import Scale
from benchmarks.workload import BATCH, bodies
from schemas.catalog import CATALOG
from schemas.kinds import KINDS
from streams.ingest.admission import admit_batch
from streams.ingest.split import split_array
from streams.log.port import Batch, Part
from streams.log.sqlite import SqliteLog, create_log
from streams.log.writer import Appender


def decode(batches: Sequence[bytes]) -> None:
    """The floor: msgspec decodes each body into the catalogue's types, limits checked."""
    for body in batches:
        CATALOG.admission.decode(body)


def take_in(appender: Appender, batches: Sequence[bytes]) -> None:
    """Judge each body and append what was accepted; each one is on disk before the next."""
    for body in batches:
        verdicts = admit_batch(body, split_array(body))
        types = {KINDS[verdict.event.kind].type for verdict in verdicts if verdict.event}
        items = [verdict.item for verdict in verdicts]
        appender.write_and_wait(Batch(time.time_ns(), [Part(0, types, items)]))


def measure(scale: Scale) -> list[Row]:
    """The row: CPU of taking in over CPU of decoding the same bodies."""
    batches = bodies(scale.append_batches)
    with tempfile.TemporaryDirectory(dir=scale.folder) as folder:
        path = Path(folder) / "log.sqlite"
        create_log(path, 1)
        log = SqliteLog(path, writable=True)
        appender = Appender(log)
        try:
            costs = in_turns(
                {
                    "decoding": lambda: cpu(lambda: decode(batches)),
                    "taking in": lambda: cpu(lambda: take_in(appender, batches)),
                },
                scale.rounds,
            )
        finally:
            appender.stop()
            log.close()
    events = BATCH * len(batches)
    low, high = spread(costs["taking in"], costs["decoding"])
    return [
        Row(
            name="append",
            what="decode, validate, compress, append durably, batches of 100 / msgspec decoding alone",
            bound=4,
            reached=ratio(costs["taking in"], costs["decoding"]),
            low=low,
            high=high,
            details={
                "us of CPU an event": median(costs["taking in"]) / events * 1e6,
                "decoding": median(costs["decoding"]) / events * 1e6,
                "events a round": events,
                "rounds": scale.rounds,
                "bytes an event": sum(map(len, batches)) / events,
            },
        )
    ]
