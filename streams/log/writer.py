"""The one writer of the log: many requests, one append, one sync.

Requests hand over batches and wait. A writer thread takes everything that is pending, packs it into
blocks (several requests share one), appends them all at once, and then answers every waiter with the
position that covers it. There is no artificial delay: while one append syncs, the next one gathers.
What an item is worth is judged before (`streams.ingest.admission`), what HTTP says of it after
(`streams.ingest.http`).
"""

from __future__ import annotations

import asyncio
import threading
import time
from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

import msgspec
import structlog

from streams.daemon_pool import start_daemon
from streams.log.block import DEAD_LETTER_TYPE, MAX_BLOCK_BYTES, DeadLetter, write_block
from streams.log.port import DEAD, Batch, Log, NotDurable, Overloaded, Part, format_positions
from streams.metrics import Metrics
from streams.outage import Outage

MAX_BLOCK_ITEMS = 1000
MAX_PENDING_BYTES = 64 * 1024 * 1024

_encode = msgspec.json.Encoder().encode
STOPPING = "the server is stopping"
_letter_types = frozenset((DEAD_LETTER_TYPE,))
_log = structlog.get_logger("loopline.appender")


def dead_letters(letters: Sequence[DeadLetter]) -> Part:
    """The part of a batch that keeps refused items."""
    return Part(DEAD, _letter_types, [_encode(letter) for letter in letters])


@dataclass(slots=True)
class Filling:
    """A block while it is being filled."""

    types: set[str]
    received: list[tuple[int, int]]
    items: list[bytes]
    size: int

    def add(self, received: int, items: Sequence[bytes], size: int) -> None:
        """Add items that were received at one instant."""
        self.items.extend(items)
        self.size += size
        if self.received and self.received[-1][0] == received:
            self.received[-1] = (received, self.received[-1][1] + len(items))
        else:
            self.received.append((received, len(items)))

    def record(self) -> bytes:
        """The record that it is."""
        return write_block(self.types, self.received, self.items)


def pack(batches: Sequence[Batch]) -> list[tuple[int, bytes]]:
    """The records, as (partition, record), that hold these batches' items in the order they came.

    A block has at most `MAX_BLOCK_ITEMS` items and `MAX_BLOCK_BYTES` of them, a lone larger item apart.
    """
    records: list[tuple[int, bytes]] = []
    filling: dict[int, Filling] = {}

    def close(partition: int) -> Filling:
        block = filling.get(partition)
        if block is not None and block.items:
            records.append((partition, block.record()))
        filling[partition] = block = Filling(set(), [], [], 0)
        return block

    for received, parts in batches:
        for partition, types, items in parts:
            block = filling.get(partition) or close(partition)
            size = sum(map(len, items)) + len(items)
            if block.size + size <= MAX_BLOCK_BYTES and len(block.items) + len(items) <= MAX_BLOCK_ITEMS:
                block.types.update(types)
                block.add(received, items, size)
                continue
            for item in items:
                size = len(item) + 1
                if block.size + size > MAX_BLOCK_BYTES or len(block.items) >= MAX_BLOCK_ITEMS:
                    block = close(partition)
                block.types.update(types)
                block.add(received, (item,), size)
    for partition in list(filling):
        close(partition)
    return records


class _Waiter(NamedTuple):
    batch: Batch
    size: int
    answer: asyncio.Future[str]


class Appender:
    """Writes batches to the log, durably, in groups: the `streams.log.port.LogWriter` of the embedded engine.

    Args:
        log: the log, writable; nobody else may write to it.
        max_pending_bytes: how many bytes of items may wait; beyond it batches are refused at once.

    `stalled` is empty: the log takes all or nothing.
    """

    stalled = ""

    def __init__(
        self, log: Log, metrics: Metrics | None = None, *, max_pending_bytes: int = MAX_PENDING_BYTES
    ) -> None:
        self.failed_at: float | None = None
        self.failure = ""
        self._outage = Outage(_log, "append failed", "appends succeed again", level="error")
        self._commits = (metrics or Metrics()).commit_seconds
        self._append = log.append
        self._ends = log.ends()
        self.position = format_positions(self._ends)
        self._max_pending_bytes = max_pending_bytes
        self._pending: list[_Waiter] = []
        self._pending_bytes = 0
        self._awake = threading.Condition()
        self._writing = threading.Lock()
        self._stopping = False
        self._thread = start_daemon("appender", self._run)

    @property
    def ends(self) -> dict[int, int]:
        """The log's ends as far as this writer has acknowledged."""
        return dict(self._ends)

    def write(self, batch: Batch) -> asyncio.Future[str]:
        """Hand over a batch from an event loop. When the future raises, nothing of the batch is kept."""
        answer: asyncio.Future[str] = asyncio.get_running_loop().create_future()
        self._hand_over(batch, answer)
        return answer

    def write_and_wait(self, batch: Batch) -> str:
        """Write a batch on the calling thread. Returns the position that covers it; raises NotDurable."""
        with self._awake:
            if self._stopping:
                raise NotDurable(STOPPING)
        outcome = self._write([batch])
        if isinstance(outcome, NotDurable):
            raise outcome
        return outcome

    def stop(self) -> None:
        """Write what is pending, answer it, and end. Whatever comes later is refused."""
        with self._awake:
            self._stopping = True
            self._awake.notify()
        self._thread.join()

    def _hand_over(self, batch: Batch, answer: asyncio.Future[str]) -> None:
        size = 0
        for part in batch.parts:
            size += sum(map(len, part.items))
        with self._awake:
            if self._stopping:
                raise NotDurable(STOPPING)
            if self._pending_bytes + size > self._max_pending_bytes:
                raise Overloaded("too much is waiting to be written; send it again in a moment")
            self._pending_bytes += size
            self._pending.append(_Waiter(batch, size, answer))
            if len(self._pending) == 1:
                self._awake.notify()

    def _run(self) -> None:
        while True:
            with self._awake:
                while not self._pending and not self._stopping:
                    self._awake.wait()
                waiters, self._pending = self._pending, []
            if not waiters:
                return
            outcome = self._write([waiter.batch for waiter in waiters])
            with self._awake:
                self._pending_bytes -= sum(waiter.size for waiter in waiters)
            _answer([waiter.answer for waiter in waiters], outcome)

    def _write(self, batches: Sequence[Batch]) -> str | NotDurable:
        """Append the batches; returns the position after them, or why they are not durable."""
        with self._writing:
            return self._write_alone(batches)

    def _write_alone(self, batches: Sequence[Batch]) -> str | NotDurable:
        started = time.perf_counter()
        try:
            records = pack(batches)
            if records:
                self._append(records)
        except Exception as error:
            # Whatever it was, the writer lives on: the next append may succeed.
            return self._failed(error)
        for partition, _ in records:
            self._ends[partition] += 1
        self.position = format_positions(self._ends)
        self.failed_at = None
        self._outage.over()
        self._commits.observe(time.perf_counter() - started)
        return self.position

    def _failed(self, error: Exception) -> NotDurable:
        refusal = (
            error if isinstance(error, NotDurable) else NotDurable(f"the log cannot be written: {error!r}")
        )
        self._outage.failed(refusal)
        self.failed_at = time.monotonic()
        self.failure = str(refusal)
        return refusal


def _answer(answers: Sequence[asyncio.Future[str]], outcome: str | NotDurable) -> None:
    """Resolve the waiters: each event loop is woken once, whatever the number of its waiters."""
    loops: dict[asyncio.AbstractEventLoop, list[asyncio.Future[str]]] = {}
    for answer in answers:
        loops.setdefault(answer.get_loop(), []).append(answer)
    for loop, waiting in loops.items():
        try:
            loop.call_soon_threadsafe(_resolve, waiting, outcome)
        except RuntimeError:
            # The loop is closed: nobody is left to hear it. What was written stays written.
            _log.warning("nobody waits any more", requests=len(waiting))


def _resolve(answers: Sequence[asyncio.Future[str]], outcome: str | NotDurable) -> None:
    for answer in answers:
        if answer.done():
            continue
        if isinstance(outcome, str):
            answer.set_result(outcome)
        else:
            # One instance each: raising it adds a traceback to it.
            own = type(outcome)(*outcome.args)
            own.kept = outcome.kept
            answer.set_exception(own)
