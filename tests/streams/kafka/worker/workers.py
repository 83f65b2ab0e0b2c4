"""Workers in this process, on a real broker: started, watched and stopped by tests."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any, Self

from streams.kafka.address import Address
from streams.kafka.log.reader import KafkaLog
from streams.kafka.worker.engine import Engine
from streams.log.port import DEAD, Log
from streams.projection.apply import advance
from streams.store.compare import differences
from streams.store.memory import MemoryStore
from streams.store.port import Store
from streams.views.registry import TABLES

PATIENCE_S = 30.0


class RunningWorker:
    """One engine, running on a thread of its own until the context ends. `failure` is what it raised."""

    def __init__(self, address: Address, store: Callable[[], Store] | Store, **options: Any) -> None:
        provide: Callable[[], Store] = store if callable(store) else lambda: store
        self.engine = Engine(address, provide, **options)
        self.failure: BaseException | None = None
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, daemon=True)

    def _run(self) -> None:
        try:
            self.engine.run(self._stop)
        except BaseException as error:
            self.failure = error

    @property
    def partitions(self) -> set[int]:
        """The partitions that the worker has now."""
        return set(self.engine.progress.positions)

    def stop(self) -> float:
        """Ask it to stop, and wait; returns how many seconds it took."""
        since = time.monotonic()
        self._stop.set()
        self._thread.join(PATIENCE_S)
        assert not self._thread.is_alive(), "the worker did not stop"
        return time.monotonic() - since

    def ended(self) -> BaseException | None:
        """Wait until it ends by itself; what it raised."""
        self._thread.join(PATIENCE_S)
        assert not self._thread.is_alive(), f"the worker goes on: {self.engine.progress.state}"
        return self.failure

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()


def until(holds: Callable[[], bool], what: str, patience_s: float = PATIENCE_S) -> None:
    """Wait until it holds."""
    deadline = time.monotonic() + patience_s
    while not holds():
        assert time.monotonic() < deadline, f"waited {patience_s:.0f} s for {what}"
        time.sleep(0.02)


def standing(store: Store) -> dict[int, int]:
    """How many blocks of each partition a store has."""
    with store.snapshot() as snapshot:
        return {partition: applied.offset for partition, applied in snapshot.positions().items()}


def caught_up(log: Log, store: Store) -> None:
    """Wait until a store has all of the log."""
    until(
        lambda: standing(store) == {each: end for each, end in log.ends().items() if end},
        f"{log.ends()} to be applied",
    )


def assert_folded_once(log: Log, store: Store) -> None:
    """The store has what a plain fold of the log makes, number for number."""
    reference = MemoryStore(log.identity)
    while advance(log, reference):
        pass
    assert standing(reference) == standing(store)
    with reference.snapshot() as expected, store.snapshot() as found:
        assert differences(expected, found, TABLES) == []


def fill(log: Log, source: Log) -> None:
    """Append another log's blocks of each partition, in their order."""
    for partition, end in source.ends().items():
        records = source.read(partition, 0, end)
        log.append(
            [(log.identity.first + partition if partition != DEAD else DEAD, each) for each in records]
        )


@contextmanager
def opened(address: Address) -> Iterator[KafkaLog]:
    """The log at an address."""
    log = KafkaLog(address)
    try:
        yield log
    finally:
        log.close()
