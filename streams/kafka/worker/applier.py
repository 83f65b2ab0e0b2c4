"""The applier of a worker: it writes blocks to the store, in transactions, on a thread of its own.

`streams.kafka.worker.engine` fetches the blocks and retries while the store is unavailable.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Sequence

from schemas.catalog import Catalog
from schemas.errors import Halt
from streams.gc_pause import without_cycle_collection
from streams.kafka.worker.progress import WorkerProgress
from streams.log.port import Log
from streams.projection.apply import Block, BlockBatch, Gap, apply, check
from streams.store.port import Store

MOST_EVENTS = 16_000
_MOST_BYTES = 16 * 1024 * 1024


class Applier:
    """Applies blocks to the store that `store` gives; see `Engine` for the arguments."""

    def __init__(
        self,
        store: Callable[[], Store],
        progress: WorkerProgress,
        on_caught_up: Callable[[Store], None] | None,
        catalog: Catalog,
    ) -> None:
        self._store = store
        self._progress = progress
        self._on_caught_up = on_caught_up
        self._catalog = catalog
        self._checked: Store | None = None
        self._caught_up: Store | None = None
        self._ends: dict[int, int] | None = None

    def check(self, log: Log) -> dict[int, int]:
        """Where the store stands in each partition that it knows, if it belongs to this log.

        Raises StoreRefused when it does not.
        """
        store = self._store()
        self._checked = None
        check(log, store)
        self._checked = store
        return _standing(store)

    def standing(self) -> dict[int, int]:
        """Where the store stands."""
        return _standing(self._store())

    def apply(self, blocks: Sequence[Block]) -> list[Block]:
        """Apply the first of these blocks, as many as fit a transaction; returns them.

        Raises UnreadableBlock or UnreadableTypes when the first one is of a newer version, Gap when the store
        stands elsewhere, or is another one than that which was checked.
        """
        store = self._store()
        if store is not self._checked:
            raise Gap("the store was replaced")
        started = time.perf_counter()
        with without_cycle_collection():
            batch = self._batch(blocks)
            new = apply(store, batch)
        self._progress.apply_seconds.observe(time.perf_counter() - started)
        self._progress.blocks.inc(new)
        self._progress.events.inc(batch.size)
        if batch.set_aside:
            self._progress.was_set_aside(batch.set_aside)
        return batch.blocks

    def _batch(self, blocks: Iterable[Block]) -> BlockBatch:
        batch = BlockBatch(self._store().log, self._catalog)
        room = _MOST_BYTES
        for block in blocks:
            try:
                room -= batch.add(block)
            except Halt:
                # The blocks before it are applied first; the next call meets this block again.
                if batch.blocks:
                    return batch
                raise
            if batch.size >= MOST_EVENTS or room <= 0:
                break
        return batch

    def look_if_caught_up(self, log: Log) -> None:
        """Call `on_caught_up` when the store has reached the log's ends; once for each store.

        The ends are those of the call before: under load a worker is never at the ends of this moment.
        """
        if self._on_caught_up is None:
            return
        store = self._store()
        if store is self._caught_up:
            return
        standing, before = _standing(store), self._ends
        self._ends = log.ends()
        if before is None or any(standing.get(partition, 0) < end for partition, end in before.items()):
            return
        self._on_caught_up(store)
        self._caught_up, self._ends = store, None


def _standing(store: Store) -> dict[int, int]:
    with store.snapshot() as snapshot:
        return {partition: applied.offset for partition, applied in snapshot.positions().items()}
