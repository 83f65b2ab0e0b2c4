"""Our worker as a process that measures itself: the engine of `loopline worker`, without its health server.

    python -m benchmarks.cluster.our_worker LOG STORE EVENTS

Starts from a filled log and an empty store, and ends when so many events are in the views. Prints what it
used from before it connected: all but the start and the imports, which the peers do not pay either.
"""

from __future__ import annotations

import json
import sys
import threading
import time
from typing import Any

from streams.kafka.address import Address
from streams.kafka.engine import Engine
from streams.kafka.log import KafkaLog
from streams.log.port import Log
from streams.store.postgres.catalogue import PostgresStores

_LOOK_S = 0.01
_LONGEST_S = 300.0


def work(log_url: str, store_url: str, events: int) -> dict[str, float]:
    """Apply so many events; what that took."""
    stores = PostgresStores(store_url)
    opened: list[Any] = []

    def open_log(address: Address) -> Log:
        log = KafkaLog(address)
        opened.append(stores.for_work(log.identity))
        return log

    engine = Engine(Address.parse(log_url), lambda: opened[-1], open_log=open_log)
    stop = threading.Event()
    running = threading.Thread(target=engine.run, args=(stop,), daemon=True)
    started, clock = time.process_time(), time.perf_counter()
    running.start()
    while (
        (applied := _applied(engine)) < events
        and running.is_alive()
        and time.perf_counter() - clock < _LONGEST_S
    ):
        time.sleep(_LOOK_S)
    used = {
        "cpu": time.process_time() - started,
        "seconds": time.perf_counter() - clock,
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
