"""Our worker as a process that measures itself: the engine of `loopline worker`, without its health server.

    python -m benchmarks.cluster.our_worker LOG STORE EVENTS

Starts from a filled log and empty views, and ends when so many events are in the views. Prints what it used
from the first block that it decoded to the commit of the last, as the peers do from their first event.
"""

from __future__ import annotations

import json
import sys
import threading
import time
from collections.abc import Collection
from typing import Any

from schemas.catalog import CATALOG, Catalog, LoggedEvent
from streams.kafka.address import Address
from streams.kafka.log.reader import KafkaLog
from streams.kafka.worker.engine import Engine
from streams.log.port import Log
from streams.store.postgres.catalogue import PostgresStores
from streams.views.registry import TABLES

_LOOK_S = 0.01
_LONGEST_S = 300.0


class FirstRead(Catalog):
    """The catalogue, and when it was first asked to read a block."""

    def __init__(self) -> None:
        vars(self).update(vars(CATALOG))
        self.cpu = self.clock = 0.0

    def read(self, body: bytes, types: Collection[str]) -> list[LoggedEvent]:
        """The events of a block."""
        if not self.clock:
            self.cpu, self.clock = time.process_time(), time.perf_counter()
        return super().read(body, types)


def work(log_url: str, store_url: str, events: int) -> dict[str, float]:
    """Apply so many events; what that took."""
    stores = PostgresStores(store_url, TABLES)
    opened: list[Any] = []

    def open_log(address: Address) -> Log:
        log = KafkaLog(address)
        opened.append(stores.for_work(log.identity))
        return log

    first = FirstRead()
    engine = Engine(Address.parse(log_url), lambda: opened[-1], open_log=open_log, catalog=first)
    stop = threading.Event()
    running = threading.Thread(target=engine.run, args=(stop,), daemon=True)
    deadline = time.monotonic() + _LONGEST_S
    running.start()
    while (applied := _applied(engine)) < events and running.is_alive() and time.monotonic() < deadline:
        time.sleep(_LOOK_S)
    used = {
        "cpu": time.process_time() - first.cpu,
        "seconds": time.perf_counter() - first.clock,
        "events": applied,
    }
    stop.set()
    running.join(_LONGEST_S)
    stores.close()
    return used


def _applied(engine: Engine) -> float:
    counted = next(iter(engine.progress.events.collect()))
    return next(sample.value for sample in counted.samples if sample.name.endswith("_total"))


def main() -> None:
    """Work, and say what it took."""
    log_url, store_url, events = sys.argv[1:]
    print(json.dumps(work(log_url, store_url, int(events))))


if __name__ == "__main__":
    main()
