"""One membership of the consumer group, from joining it to leaving it.

A session tells Faust where to read from and what to commit, buffers the blocks that Faust fetches, and
applies them batch by batch. When in doubt it reads the positions from the store and continues from there.
When it cannot apply its blocks it gives its partitions up, so that another worker may apply them.
"""

from __future__ import annotations

import asyncio
import math
import time
from collections.abc import Awaitable, Callable, Iterable, Mapping
from threading import Event as ThreadEvent
from typing import Any, NamedTuple, TypeVar

import structlog
from faust.types import TP

from loopline.backoff import Backoff, RetryPolicy
from schemas.errors import Halt
from streams.daemon_pool import DaemonPool
from streams.kafka.address import Address
from streams.kafka.log.dead_letters import block_of
from streams.kafka.worker.applier import Applier
from streams.kafka.worker.assignment import Assignment
from streams.kafka.worker.buffer import Buffer, Offered
from streams.kafka.worker.progress import RUNNING, WAITING, WorkerProgress
from streams.kafka.worker.transport import App
from streams.log.port import DEAD, Log
from streams.outage import Outage
from streams.projection.apply import Block, Gap

R = TypeVar("R")

# Told to stop, a worker finishes the batch in hand and leaves the group, but not at any price.
_STOP_S = 3.0
_STOP_LEAVING_S = 2.0
_LEAVE_S = 20.0
_TURN_S = 0.2
_LOOK_S = 1.0
_LOST_S = 5.0
RETRY = RetryPolicy(first_s=0.1, longest_s=5.0)
_MOST_PATIENCE = 8
# One partition that stands still may have a reason that no other worker is free of: an unavailable leader.
_ONE_OF_MANY = 4

_log = structlog.get_logger("loopline")


class MembershipEnded(Exception):
    """A membership ends without a failure of the log or the store. Raised and caught within the engine."""


class EngineStuck(MembershipEnded):
    """A thread of the engine does not end: the process has to be replaced."""


class EpochDone(MembershipEnded):
    """The epoch that was read is applied, and the log has a newer one."""


class GaveUp(MembershipEnded):
    """This worker cannot apply the blocks that wait: it leaves the group, so that another one may."""


class Stopped(MembershipEnded):
    """The worker is to stop, and does not wait any longer."""


class Recovery:
    """The pauses between retries, and how long blocks may wait before the partitions are given up.

    Both grow with each failure in a row.

    Args:
        stop: set when the worker is to stop; nothing waits for longer.
        retry: the pauses.
    """

    def __init__(self, stop: ThreadEvent, retry: RetryPolicy = RETRY) -> None:
        self._stop = stop
        self._backoff = Backoff(retry)
        self._patience = 1
        self.outage = Outage(_log, "the worker cannot continue and retries", "the worker continues")

    def succeeded(self, *, quick: bool) -> None:
        """It worked; `quick`: and nothing waits for long."""
        self._backoff.succeeded()
        self.outage.over()
        if quick:
            self._patience = 1

    def patience_s(self, stuck_after_s: float) -> float:
        """How long blocks may wait before the partitions are given up: longer each time it was in vain."""
        return self._patience * max(stuck_after_s, 1.0)

    def gave_up(self) -> None:
        """The partitions were given up; where nobody else can move them either, it is done less often."""
        self._patience = min(2 * self._patience, _MOST_PATIENCE)

    async def wait(self) -> None:
        """Wait; longer the next time."""
        until = time.monotonic() + self._backoff.next_pause_s()
        # In turns: `stop` is set by another thread or a signal, which no event of the loop's hears of.
        while not self._stop.is_set() and (left := until - time.monotonic()) > 0:  # noqa: ASYNC110 -- a thread sets `stop`
            await asyncio.sleep(min(left, _TURN_S))


class Membership(NamedTuple):
    """What a session is a member of: the group, with the log and the topics that it shares."""

    address: Address
    group: str
    log: Log
    assignment: Assignment


class Session:
    """A membership. `run` once."""

    def __init__(
        self,
        membership: Membership,
        applier: Applier,
        progress: WorkerProgress,
        thread: DaemonPool,
        stop: ThreadEvent,
        recovery: Recovery,
        *,
        seek_s: float = 60.0,
    ) -> None:
        self._seek_s = seek_s
        self._membership = membership
        self._topics = membership.assignment
        self._applier = applier
        self._progress = progress
        self._thread = thread
        self._stop = stop
        self._recovery = recovery
        self._buffer = Buffer()
        self._came, self._room = asyncio.Event(), asyncio.Event()
        self._app: App
        self._refusal: BaseException | None = None
        self._missing = False
        self._sought = self._took = self._looked = self._since = time.monotonic()

    async def run(self) -> None:
        """Join, apply until told to stop, and leave."""
        app = self._app = App(self._membership.address, self._membership.group, self)
        app.reads(self._topics.log_topic, self._log_block, self._take)
        app.reads(self._topics.dead_letters, self._dead_letter_block, self._take)
        try:
            await self._answer_of(app.start(), "the brokers")
            await self._work()
        except GaveUp as error:
            self._recovery.gave_up()
            self._progress.left(f"it gave its partitions up: {error}")
            _log.warning("the worker gives its partitions up", reason=str(error), changed=True)
            raise
        finally:
            await self._leave(app)

    def refuse(self, error: BaseException) -> None:
        """End the membership with this error; from any thread."""
        self._refusal = error

    async def _leave(self, app: App) -> None:
        try:
            async with asyncio.timeout(_STOP_LEAVING_S if self._stop.is_set() else _LEAVE_S):
                await app.stop()
        except TimeoutError:
            raise EngineStuck("leaving the consumer group timed out") from None
        except Exception as error:
            _log.warning("leaving the consumer group failed", reason=str(error) or repr(error))

    # ---------------------------------------------------------------------------------- reading

    def _log_block(self, message: Any) -> Block:
        # A record without a value is no block, and whoever applies it says so.
        return Block(self._topics.partitions.start + message.partition, message.offset, message.value or b"")

    def _dead_letter_block(self, message: Any) -> Block:
        record = block_of(message.value, message.headers or (), round(message.timestamp * 1000))
        return Block(DEAD, message.offset, record)

    async def _take(self, block: Block) -> None:
        offered = self._buffer.offer(block)
        if offered is Offered.TAKEN:
            self._took = time.monotonic()
            self._came.set()
        elif offered is Offered.AHEAD:
            self._missing = True
            self._came.set()

    # ------------------------------------------------------------------------- called by the consumer

    async def assigned(self, partitions: Iterable[TP]) -> Mapping[TP, int]:
        """The worker was assigned these partitions: read each from the store's position."""
        wanted = set(partitions)
        try:
            # What waits there is not known yet: it is given as long as blocks that are known to wait.
            most_s = self._recovery.patience_s(self._progress.stuck_after_s)
            standing = await self._ask_store(lambda: self._applier.check(self._membership.log), most_s)
        except (Halt, GaveUp) as error:
            self.refuse(error)
            raise
        positions = self._topics.owned(wanted, standing)
        self._since = time.monotonic()
        self._restart(positions)
        self._progress.rebalances.inc()
        self._progress.says(RUNNING)
        return self._topics.offsets(positions)

    def revoked(self, partitions: Iterable[TP]) -> None:
        """These partitions move to another worker, which waits for a transaction in hand."""
        self._buffer.leave(map(self._topics.partition, partitions))
        self._progress.keeps(self._buffer.expected)
        self._room.set()

    async def room(self) -> None:
        """Wait while enough blocks wait to be applied."""
        while self._buffer.full:
            self._room.clear()
            await self._room.wait()

    def applied(self) -> Mapping[TP, int]:
        """The positions that this worker has applied."""
        return self._topics.offsets(self._progress.positions)

    def _restart(self, positions: Mapping[int, int]) -> None:
        self._buffer.restart(positions)
        self._progress.assigned(positions)
        self._missing = False
        self._sought = self._took = time.monotonic()
        self._room.set()

    # ------------------------------------------------------------------------------ not for ever

    def _may_go_on(self, waits_for: str = "") -> None:
        """Raise what ends the membership: a refusal, or GaveUp when blocks wait for too long."""
        if self._refusal is not None:
            raise self._refusal
        patience_s = self._recovery.patience_s(self._progress.stuck_after_s)
        here_s = time.monotonic() - self._since
        all_s, one_s = self._progress.nothing_moves_s(), self._progress.one_stands_still_s()
        if min(all_s, here_s) >= patience_s or min(one_s, here_s) >= _ONE_OF_MANY * patience_s:
            reasons = [self._progress.still(), self._recovery.outage.reason or waits_for]
            raise GaveUp("; ".join(filter(None, reasons)))

    async def _answer_of(self, work: Awaitable[R], whom: str = "the store", most_s: float = math.inf) -> R:
        """The result of `work`, awaited while the membership lasts, and for seconds after `stop`."""
        pending = asyncio.ensure_future(work)
        # Nobody may be left to hear what it raises.
        pending.add_done_callback(lambda done: done.cancelled() or done.exception())
        began, stop_s = time.monotonic(), _STOP_S
        while not (await asyncio.wait((pending,), timeout=_TURN_S))[0]:
            waited_s = time.monotonic() - began
            waits_for = f"{whom} has not answered for {waited_s:.0f} s"
            self._may_go_on(waits_for)
            if waited_s >= most_s:
                raise GaveUp(waits_for)
            if self._stop.is_set() and (stop_s := stop_s - _TURN_S) <= 0:
                raise Stopped
        return pending.result()

    # --------------------------------------------------------------------------------- applying

    async def _work(self) -> None:
        while not self._stop.is_set():
            self._may_go_on()
            if self._app.crashed:
                raise self._app.crash_reason or RuntimeError("the Faust application crashed")
            if self._missing or self._lost():
                await self._go_back()
            if time.monotonic() - self._looked >= _LOOK_S and self._progress.state.name == RUNNING:
                self._looked = time.monotonic()
                await self._look_further()
            if len(self._buffer):
                await self._apply()
            else:
                await self._idle()

    async def _apply(self) -> None:
        blocks = self._buffer.first()
        began = time.monotonic()
        try:
            done = await self._on_thread(lambda: self._applier.apply(blocks))
        except (Halt, MembershipEnded):
            raise
        except Gap as gap:
            _log.info("reading again from the store's position", reason=str(gap))
            await self._go_back(at_once=True)
        except Exception as error:
            # Whatever failed: the transaction did not commit, or its blocks will be dropped as known.
            self._failed(error)
            await self._recovery.wait()
            await self._go_back(at_once=True)
        else:
            self._buffer.done(done)
            self._progress.applied({block.partition: block.offset + 1 for block in done})
            self._room.set()
            self._moved(time.monotonic() - began)

    def _moved(self, took_s: float) -> None:
        """A transaction was committed."""
        self._since = time.monotonic()
        # One that takes nearly as long as blocks may wait would soon have the partitions given up again.
        slow_s = self._progress.stuck_after_s / 2
        self._recovery.succeeded(quick=max(took_s, self._progress.one_stands_still_s()) < slow_s)

    async def _idle(self) -> None:
        self._came.clear()
        try:
            async with asyncio.timeout(_TURN_S):
                await self._came.wait()
        except TimeoutError:
            pass

    async def _look_further(self) -> None:
        """Check once a second whether the views are complete and whether the log has a newer epoch."""
        log = self._membership.log
        try:
            await self._on_thread(lambda: self._applier.look_if_caught_up(log))
            if self._progress.behind() == 0:
                self._recovery.outage.over()
            if log.identity.epoch > self._topics.epoch:
                standing, ends = (
                    await self._on_thread(self._applier.standing),
                    await self._on_thread(log.ends),
                )
                if all(standing.get(each, 0) >= ends[each] for each in self._topics.partitions):
                    raise EpochDone
        except (Halt, MembershipEnded):
            raise
        except Exception as error:
            self._failed(error)
            await self._recovery.wait()
            await self._ask_store(self._applier.standing)

    def _lost(self) -> bool:
        """Whether the log has blocks that should have been fetched by now and were not."""
        expected, ends = self._buffer.expected, self._progress.ends
        still = time.monotonic() - max(self._sought, self._took)
        return (
            still >= _LOST_S
            and not len(self._buffer)
            and any(offset < ends.get(partition, 0) for partition, offset in expected.items())
        )

    async def _go_back(self, *, at_once: bool = False) -> None:
        """Read again from the store's position; not within seconds of the last time, unless `at_once`."""
        self._missing = False
        if not at_once and time.monotonic() - self._sought < _LOST_S:
            # What was under way when it was done last still comes in.
            return
        standing = await self._ask_store(lambda: self._applier.check(self._membership.log))
        positions = {each: standing.get(each, 0) for each in self._buffer.expected}
        self._restart(positions)
        try:
            async with asyncio.timeout(self._seek_s):
                await self._app.consumer.seek_wait(self._topics.offsets(positions))
        except TimeoutError:
            # A seek needs no broker: the consumer's thread hangs, or is gone.
            raise EngineStuck("the Kafka consumer does not answer") from None
        except Exception as error:
            # The partitions moved meanwhile, or the broker is unavailable: retried.
            _log.info("seeking to the store's position failed", reason=str(error) or repr(error))

    async def _ask_store(self, ask: Callable[[], R], most_s: float = math.inf) -> R:
        """The store's answer, with retries while it is unavailable. Raises GaveUp after `most_s`."""
        began = time.monotonic()
        while True:
            left_s = most_s - (time.monotonic() - began)
            try:
                answer = await self._on_thread(ask, left_s)
            except (Halt, MembershipEnded):
                raise
            except Exception as error:
                self._failed(error)
                if self._stop.is_set():
                    raise Stopped from error
                if time.monotonic() - began >= most_s:
                    raise GaveUp(self._recovery.outage.reason) from error
                self._may_go_on()
                await self._recovery.wait()
            else:
                self._progress.says(RUNNING)
                return answer

    def _failed(self, error: BaseException) -> None:
        self._progress.failures.inc()
        self._progress.says(WAITING, f"{type(error).__name__}: {error}")
        self._recovery.outage.failed(error)

    async def _on_thread(self, ask: Callable[[], R], most_s: float = math.inf) -> R:
        """A call on the applying thread."""
        return await self._answer_of(self._thread.call(ask), most_s=most_s)
