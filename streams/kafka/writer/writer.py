"""The appender to Kafka: many requests share a block, and are answered when the brokers acknowledge it.

It is a `streams.log.port.LogWriter` on the server's event loop. The items of requests are collected into one
block a partition (the crash tests stop the process at each of these steps):

1. a block is held until it has 100 events, or for 20 ms;
2. it is handed to an idempotent producer, which sends it to the partition's leader, `acks=all`, in order;
3. the acknowledgement moves the known end of the partition; the requests are answered once the ends that
   other collectors have acknowledged are known, so that the answer's position covers those too.

A block that is not acknowledged in time is in doubt: the answer says so, and the producer keeps retrying,
since the broker may have the block. Meanwhile its partition is stalled: new items for it are refused at once
and certainly not kept, so that nothing piles up and a sender hears within moments. A producer that failed is
replaced, and its unsent blocks are dropped. Sending again is right in each case: ids count once.
"""

from __future__ import annotations

import asyncio
import math
import time
from collections.abc import Callable, Collection, Mapping, Sequence
from functools import partial

import structlog
from aiokafka.errors import MessageSizeTooLargeError

from streams.clocks import ClockWatch
from streams.crash_points import reached
from streams.kafka.log.dead_letters import ProducedRecord, dead_letter_record
from streams.kafka.log.end_offsets import EndOffsets
from streams.kafka.log.reader import KafkaLog
from streams.kafka.security import denied
from streams.kafka.writer.pending import Waiter
from streams.kafka.writer.producer import Ack, Producer
from streams.log.block import MAX_BLOCK_BYTES, read_letter
from streams.log.port import DEAD, Batch, NotDurable, Overloaded, format_positions
from streams.log.writer import MAX_BLOCK_ITEMS, MAX_PENDING_BYTES, STOPPING, Filling
from streams.metrics import Metrics
from streams.outage import Outage

HOLD_EVENTS = 100
HOLD_S = 0.020
ACK_S = 4.0
APPEND_S = HOLD_S + ACK_S
"""What is not acknowledged so long after it was handed over is never acknowledged."""
_MS = 1_000_000

_log = structlog.get_logger("loopline.appender")


class LogEnded(NotDurable):
    """Nothing can be appended to this log any more; restart the process, or do what the message says."""


class KafkaAppender:
    """Writes batches to a Kafka log.

    Args:
        log: the log, for its identity and its ends; it is told what was acknowledged.
        metrics: where acknowledgements are timed.
        clocks: told what time it was by the broker that appended a block.
        max_pending_bytes: how many bytes of items may be on their way; beyond it batches are refused.
        hold_events, hold_s: how long a block is held.
        ack_s: after how long without an acknowledgement a block is in doubt.

    A failure while other partitions acknowledge does not count; `stalled` reports it. `sealed`: the log's
    epoch is over, and a process that starts once there is a next one can append. `ended` is empty, or
    says why nothing can be appended any more: the epoch was sealed, or the log was replaced.
    """

    def __init__(
        self,
        log: KafkaLog,
        metrics: Metrics | None = None,
        *,
        clocks: ClockWatch | None = None,
        max_pending_bytes: int = MAX_PENDING_BYTES,
        hold_events: int = HOLD_EVENTS,
        hold_s: float = HOLD_S,
        ack_s: float = ACK_S,
    ) -> None:
        self.ended = ""
        self.sealed = False
        self._outage = Outage(_log, "append failed", "appends succeed again", level="error")
        self._failed_at: float | None = None
        self._failure = ""
        self._acknowledged_at = -math.inf
        self._log = log
        self._identity = log.identity
        self._clocks = clocks or ClockWatch()
        self._commits = (metrics or Metrics()).commit_seconds
        self._ends = log.ends()
        self._position: str | None = None
        self._max_pending_bytes = max_pending_bytes
        self._pending_bytes = 0
        self._hold_events, self._hold_s, self._ack_s = hold_events, hold_s, ack_s
        self._held: dict[int, _Held] = {}
        self._under_way: set[_Sent] = set()
        self._stalled: dict[int, int] = {}
        self._producer = Producer(log.address)
        appended = (*self._identity.epochs()[-1], DEAD)
        self._covered: dict[int, int] = {}
        self._end_offsets = EndOffsets(
            log.address, {each: self._topic(each) for each in appended}, self._learn
        )
        self._stopping = False

    @property
    def position(self) -> str:
        """The text of a position that covers everything acknowledged so far, as far as it is known here."""
        if self._position is None:
            self._position = format_positions(self.ends)
        return self._position

    @property
    def failed_at(self) -> float | None:
        """When appending failed, if nothing was acknowledged since; now, while all of it would be refused."""
        return time.monotonic() if self._refuses_all() else self._failed_at

    @property
    def failure(self) -> str:
        """Why it failed."""
        return self.ended or self._producer.down or self._failure

    @property
    def stalled(self) -> str:
        """Where nothing is acknowledged now, while it is elsewhere; else empty."""
        partitions = ", ".join(map(_called, sorted(self._stalled)))
        return f"not acknowledged now, and refused: appends to {partitions}" if partitions else ""

    def _refuses_all(self) -> bool:
        return bool(self.ended or self._producer.down) or self._stalled.keys() >= set(
            self._identity.epochs()[-1]
        )

    @property
    def ends(self) -> dict[int, int]:
        """The log's ends as far as this writer knows."""
        return {partition: max(end, self._covered.get(partition, 0)) for partition, end in self._ends.items()}

    def cover(self, then: Callable[[], None]) -> None:
        """Call `then` once `position` covers what anybody has acknowledged by now."""
        self._end_offsets.ask(then)

    def _learn(self, ends: Mapping[int, int]) -> None:
        """Where the log ends; apart from what this writer knows by its own acknowledgements."""
        for partition, end in ends.items():
            if end > self._covered.get(partition, 0):
                self._covered[partition] = end
                self._position = None

    async def start(self) -> None:
        """Connect; if no broker answers, batches are refused until one does."""
        await self._producer.start()

    def write(self, batch: Batch) -> asyncio.Future[str]:
        """Hand over a batch on the event loop; the future's result is the position that covers it."""
        self._refuse_if_over()
        size = sum(len(item) for part in batch.parts for item in part.items)
        if self._pending_bytes + size > self._max_pending_bytes:
            raise Overloaded("too much is waiting to be written; send it again in a moment")
        waiter = Waiter(asyncio.get_running_loop().create_future(), self)
        down = self._producer.down
        for partition, types, items in batch.parts:
            if down or partition in self._stalled:
                reason = down or f"{_called(partition)} does not acknowledge appends"
                waiter.refused(partition, NotDurable(f"{reason}; the collector retries"))
            else:
                self._take(waiter, batch.received, partition, types, items)
        waiter.handed_over()
        return waiter.answer

    async def stop(self) -> None:
        """Write what is held, wait for its answers, and end. Whatever comes later is refused."""
        self._stopping = True
        for partition in list(self._held):
            self._close(partition)
        # Longer than this it is in doubt, and nobody waits for it.
        under_way = [sent.answer for sent in self._under_way if sent.answer is not None and not sent.overdue]
        if under_way:
            await asyncio.wait(under_way, timeout=self._ack_s)
        await self._end_offsets.stop()
        await self._producer.stop()

    # ---------------------------------------------------------------------------------- 1. a block is held

    def _refuse_if_over(self) -> None:
        if self._stopping:
            raise NotDurable(STOPPING)
        if self.ended:
            raise LogEnded(self.ended)

    def _take(
        self, waiter: Waiter, received: int, partition: int, types: Collection[str], items: Sequence[bytes]
    ) -> None:
        held = self._held.get(partition) or self._open(partition)
        size = sum(map(len, items)) + len(items)
        fits = held.block.size + size <= MAX_BLOCK_BYTES and len(held.block.items) + len(items) <= (
            MAX_BLOCK_ITEMS
        )
        if fits:
            self._put(held, waiter, received, types, items, size)
        else:
            for item in items:
                size = len(item) + 1
                if held.block.items and (
                    held.block.size + size > MAX_BLOCK_BYTES or len(held.block.items) >= MAX_BLOCK_ITEMS
                ):
                    self._close(partition)
                    held = self._open(partition)
                self._put(held, waiter, received, types, (item,), size)
        if len(held.block.items) >= self._hold_events:
            self._close(partition)

    def _put(
        self,
        held: _Held,
        waiter: Waiter,
        received: int,
        types: Collection[str],
        items: Sequence[bytes],
        size: int,
    ) -> None:
        held.block.types.update(types)
        held.block.add(received, items, size)
        self._pending_bytes += size
        if not held.waiters or held.waiters[-1] is not waiter:
            waiter.awaits()
            held.waiters.append(waiter)

    def _open(self, partition: int) -> _Held:
        loop = asyncio.get_running_loop()
        held = self._held[partition] = _Held(partition, loop.time())
        held.timer = loop.call_later(self._hold_s, self._close, partition)
        return held

    # -------------------------------------------------------------------------------- 2. it is handed over

    def _close(self, partition: int) -> None:
        held = self._held.pop(partition, None)
        if held is None:
            return
        if held.timer is not None:
            held.timer.cancel()
        sent = _Sent(partition, held.block.size, held.waiters, time.perf_counter(), self._clocks.moment())
        self._under_way.add(sent)
        try:
            if self.ended:
                raise LogEnded(self.ended)
            if partition in self._stalled:
                raise NotDurable(f"{_called(partition)} does not acknowledge appends; the collector retries")
            reached("append.1")
            answer = self._producer.send(self._topic(partition), self._records(partition, held.block))
        except NotDurable as refusal:
            self._done(sent)
            self._fail(sent, refusal)
            return
        reached("append.2")
        sent.answer = answer
        loop = asyncio.get_running_loop()
        # By when it was handed over: a process that was stopped meanwhile acknowledges nothing older.
        overdue_at = min(loop.time(), held.opened + self._hold_s) + self._ack_s
        sent.timer = loop.call_at(overdue_at, self._overdue, sent)
        answer.add_done_callback(partial(self._answered, sent))

    def _topic(self, partition: int) -> tuple[str, int]:
        if partition == DEAD:
            return self._log.address.dead_letters, 0
        return self._log.address.log_topic(self._identity.epoch), partition - self._identity.first

    def _records(self, partition: int, block: Filling) -> list[ProducedRecord]:
        if partition != DEAD:
            return [ProducedRecord(block.record(), [])]
        instants = (instant for instant, count in block.received for _ in range(count))
        prefix = self._log.address.prefix
        pairs = zip(instants, block.items, strict=True)
        return [dead_letter_record(instant, read_letter(item), prefix) for instant, item in pairs]

    def _overdue(self, sent: _Sent) -> None:
        """It may be there, or get there: nobody can know."""
        sent.overdue = True
        self._stalled[sent.partition] = self._stalled.get(sent.partition, 0) + 1
        refusal = NotDurable(f"{_called(sent.partition)} has not acknowledged within {self._ack_s:g} s")
        refusal.kept = None
        self._fail(sent, refusal)
        # They count each block once: what becomes of this one later would be taken for another one's end.
        sent.waiters = []

    # ---------------------------------------------------------------------------------- 3. it is answered

    def _answered(self, sent: _Sent, answer: asyncio.Future[Ack]) -> None:
        self._done(sent)
        error = asyncio.CancelledError() if answer.cancelled() else answer.exception()
        if error is not None:
            self._refused(sent, error)
            return
        first, last, appended_ms, broker = answer.result()
        if appended_ms is not None:
            self._clocks.heard(broker, appended_ms * _MS, sent.asked_at, exact_ns=_MS)
        known = self._ends[sent.partition]
        if first < known:
            # Offsets of a log only grow. -1 is what a broker says that remembers only that it was kept.
            if first >= 0:
                self._end(
                    f"{_called(sent.partition)} was acknowledged at offset {first} after {known}: its topic"
                    " was deleted and made again. Bring back the brokers' data, or take another store"
                )
            refusal = (
                LogEnded(self.ended)
                if self.ended
                else NotDurable("the broker acknowledged a block without its offset")
            )
            refusal.kept = None
            self._fail(sent, refusal)
            return
        self._ends[sent.partition] = last + 1
        self._position = None
        self._log.acknowledged(sent.partition, last + 1)
        self._failed_at, self._acknowledged_at = None, time.monotonic()
        if not self._stalled:
            self._outage.over()
        self._commits.observe(time.perf_counter() - sent.started)
        reached("append.3")
        for waiter in sent.waiters:
            waiter.acknowledged()

    def _refused(self, sent: _Sent, error: BaseException) -> None:
        """The producer gave up on it; what follows it in its partition could only fail."""
        if isinstance(error, MessageSizeTooLargeError):
            self.seal()
            self._fail(sent, LogEnded(self.ended))
            return
        why = denied(error, self._log.address.security) or repr(error)
        refusal = NotDurable(f"{_called(sent.partition)} was not acknowledged: {why}")
        refusal.kept = None
        self._fail(sent, refusal)
        if not self._stopping:
            self._producer.replace(f"the brokers refused a block: {why}")

    def _done(self, sent: _Sent) -> None:
        self._under_way.discard(sent)
        self._pending_bytes -= sent.size
        if sent.timer is not None:
            sent.timer.cancel()
        if sent.overdue:
            self._stalled[sent.partition] -= 1
            if not self._stalled[sent.partition]:
                del self._stalled[sent.partition]

    def _fail(self, sent: _Sent, refusal: NotDurable) -> None:
        self._outage.failed(refusal)
        now = time.monotonic()
        # What came before others were acknowledged says nothing of the next append.
        if now - self._acknowledged_at > self._ack_s / 2:
            self._failed_at, self._failure = now, str(refusal)
        for waiter in sent.waiters:
            waiter.failed(sent.partition, refusal)

    def seal(self) -> None:
        """The epoch is over: nothing is appended any more."""
        self.sealed = True
        self._end(
            f"{self._log.address.log_topic(self._identity.epoch)} takes no appends any more: its epoch was"
            " sealed by `loopline topics ensure --new-epoch`. A collector that starts when the next epoch is"
            " there goes on; if it does not come, that command did not finish: run it again"
        )

    def _end(self, reason: str) -> None:
        if not self.ended:
            _log.error("nothing can be appended any more", reason=reason)
            self.ended = reason


class _Held:
    """A block while it is being filled, and who waits for it."""

    __slots__ = ("block", "opened", "partition", "timer", "waiters")

    def __init__(self, partition: int, opened: float) -> None:
        self.partition = partition
        self.opened = opened
        self.block = Filling(set(), [], [], 0)
        self.waiters: list[Waiter] = []
        self.timer: asyncio.TimerHandle | None = None


class _Sent:
    """A block on its way."""

    __slots__ = ("answer", "asked_at", "overdue", "partition", "size", "started", "timer", "waiters")

    def __init__(
        self, partition: int, size: int, waiters: list[Waiter], started: float, asked_at: int
    ) -> None:
        self.partition = partition
        self.size = size
        self.waiters = waiters
        self.started = started
        self.asked_at = asked_at
        self.overdue = False
        self.answer: asyncio.Future[Ack] | None = None
        self.timer: asyncio.TimerHandle | None = None


def _called(partition: int) -> str:
    return "the dead-letter topic" if partition == DEAD else f"partition {partition}"


__all__ = ["ACK_S", "APPEND_S", "HOLD_EVENTS", "HOLD_S", "KafkaAppender", "LogEnded"]
