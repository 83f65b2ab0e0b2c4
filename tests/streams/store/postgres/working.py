"""Workers of one store, each on partitions of its own: in threads, or stopped before their commit."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from random import Random

from schemas.catalog import CATALOG
from streams.log.block import write_block
from streams.log.memory import MemoryLog
from streams.log.port import LogIdentity
from streams.projection.apply import Block, BlockBatch, advance, apply
from streams.store.memory import MemoryStore
from streams.store.port import Store, Transaction
from streams.store.postgres import PostgresStore, PostgresStores
from tests.streams.drawn import START, views
from tests.streams.sent import item

WAIT_S = 20.0
SOON_S = 0.25


def log_with(*blocks: tuple[int, Sequence[dict[str, object]]], partitions: int = 2) -> MemoryLog:
    """A log with these blocks: (partition, events)."""
    log = MemoryLog(partitions)
    for partition, events in blocks:
        runs = [(START, len(events))]
        log.append([(partition, write_block(CATALOG.types, runs, [item(event) for event in events]))])
    return log


def batch_of(log: MemoryLog, partition: int, start: int = 0, end: int | None = None) -> BlockBatch:
    """Some blocks of a partition, decoded; all of them when left out."""
    batch = BlockBatch(log.identity)
    stop = log.ends()[partition] if end is None else end
    for offset, record in enumerate(log.read(partition, start, stop - start), start):
        batch.add(Block(partition, offset, record))
    return batch


def folded(log: MemoryLog) -> dict[str, list[object]]:
    """The views of a log, folded in memory by one worker."""
    store = MemoryStore(log.identity)
    while advance(log, store):
        pass
    with store.snapshot() as snapshot:
        return views(snapshot, [1])


def seen(store: Store) -> dict[str, list[object]]:
    """The views as they lie in a store."""
    with store.snapshot() as snapshot:
        return views(snapshot, [1])


class Pausing:
    """A store whose transactions stop before their commit until `resume` is set; `doomed` ones fail then."""

    def __init__(self, store: PostgresStore, *, doomed: bool = False) -> None:
        self.log, self.views_version = store.log, store.views_version
        self.snapshot, self.close = store.snapshot, store.close
        self.paused, self.resume = threading.Event(), threading.Event()
        self._store, self._doomed = store, doomed

    @contextmanager
    def transaction(self, partitions: Iterable[int], *, alone: bool = False) -> Iterator[Transaction]:
        with self._store.transaction(partitions, alone=alone) as transaction:
            yield transaction
            self.paused.set()
            assert self.resume.wait(WAIT_S)
            if self._doomed:
                raise ConnectionAbortedError("this worker dies before its commit")


class Working(threading.Thread):
    """Work in a thread; `result` gives what it returned, or raises what it raised."""

    def __init__(self, work: Callable[[], object]) -> None:
        super().__init__(daemon=True)
        self._work = work
        self._outcome: object = None
        self._error: BaseException | None = None
        self.start()

    def run(self) -> None:
        try:
            self._outcome = self._work()
        except BaseException as error:
            self._error = error

    def waits(self) -> bool:
        """Whether it is not done soon."""
        self.join(SOON_S)
        return self.is_alive()

    def result(self) -> object:
        self.join(WAIT_S)
        assert not self.is_alive()
        if self._error is not None:
            raise self._error
        return self._outcome


def one_after_the_other(
    store: PostgresStore, first: BlockBatch, second: BlockBatch, *, doomed: bool = False
) -> tuple[bool, object]:
    """Apply `second` while `first` is folded and not committed: whether it had to wait, what it returned."""
    pausing = Pausing(store, doomed=doomed)
    one = Working(lambda: apply(pausing, first))
    assert pausing.paused.wait(WAIT_S)
    other = Working(lambda: apply(store, second))
    waited = other.waits()
    pausing.resume.set()
    applied = other.result()
    if not doomed:
        one.result()
    one.join(WAIT_S)
    return waited, applied


def work_apart(log: MemoryLog, store: Store, partitions: Iterable[int], seed: int) -> None:
    """Apply the blocks of some partitions in transactions of random sizes, some of them twice."""
    random = Random(seed)
    at = dict.fromkeys(partitions, 0)
    ends = log.ends()
    while behind := [partition for partition in at if at[partition] < ends[partition]]:
        batch = BlockBatch(log.identity)
        for partition in random.sample(behind, random.randint(1, len(behind))):
            # As after a restart: some blocks come again.
            start = max(at[partition] - random.choice([0, 0, 2]), 0)
            at[partition] = min(at[partition] + random.randint(1, 6), ends[partition])
            for offset, record in enumerate(log.read(partition, start, at[partition] - start), start):
                batch.add(Block(partition, offset, record))
        apply(store, batch)


def fresh_store(stores: PostgresStores, log: LogIdentity) -> PostgresStore:
    """An empty, current store, in the place of what there was."""
    store = stores.new_store(log)
    stores.switch(store)
    stores.drop_stale(-1.0)
    return store
