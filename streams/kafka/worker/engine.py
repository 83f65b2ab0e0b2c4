"""The distributed engine: a worker of a consumer group, which keeps a store caught up with a Kafka log.

Any number of workers share the partitions. A worker reads each partition from the store's position, whatever
offset the group has committed, and applies blocks with `streams.projection.apply`, which drops blocks that
the store has. So workers may be killed, replaced or late: nothing is lost and nothing counts twice.

Three threads: the event loop fetches and keeps the worker in its group (`session`); one applies (`applier`),
so that a slow store never costs the membership; one reads the log's ends, so that a stuck worker is seen.
`feedback` chooses the adapters, serves health and restarts the process.
"""

from __future__ import annotations

import asyncio
import contextlib
import threading
import time
from collections.abc import Awaitable, Callable, Iterator
from typing import TypeVar

import structlog

from schemas.catalog import CATALOG, Catalog
from schemas.errors import Halt
from streams.daemon_pool import DaemonPool, each
from streams.kafka.address import Address
from streams.kafka.log.reader import KafkaLog
from streams.kafka.security import denied
from streams.kafka.topics.admin import groups_stand_still
from streams.kafka.worker.applier import Applier
from streams.kafka.worker.assignment import Assignment
from streams.kafka.worker.progress import REFUSED, STARTING, STOPPED, WorkerProgress
from streams.kafka.worker.session import (
    EngineStuck,
    EpochDone,
    GaveUp,
    Membership,
    Recovery,
    Session,
    Stopped,
)
from streams.kafka.worker.transport import quieten
from streams.log.port import Log, LogRefused, LogUnavailable
from streams.outage import Outage
from streams.store.port import Store
from streams.store.tables import VIEWS_VERSION

R = TypeVar("R")

_WATCH_S = 2.0
COORDINATOR_S = 5.0
_TURN_S = 1.0
_LOOK_S = 0.2
_JOIN_S = 1.0
_HUNG_S = 60.0
# A transaction that works may be long: one may judge a million labels that waited for a declaration.
_LONGEST_S = 600.0
_LEAST_CPU_S = 0.05

_log = structlog.get_logger("loopline")

__all__ = ["Engine", "EngineStuck"]


class Engine:
    """One worker.

    Args:
        address: the log.
        store: gives the store to write to; called before each batch, on the applying thread, so it may give
            another one after a rebuild, and may raise while the store is unavailable.
        group: the consumer group; that of this version of the views when left out.
        progress: where to say how it goes; served by `streams.kafka.worker.health`.
        on_caught_up: called once for a store, on the applying thread, when it has reached the log's ends: the
            time to switch to views that were rebuilt.
        open_log: opens the log for reading.
    """

    def __init__(
        self,
        address: Address,
        store: Callable[[], Store],
        *,
        group: str | None = None,
        progress: WorkerProgress | None = None,
        on_caught_up: Callable[[Store], None] | None = None,
        open_log: Callable[[Address], Log] = KafkaLog,
        catalog: Catalog = CATALOG,
    ) -> None:
        self.progress = progress or WorkerProgress()
        self._address = address
        self._group = group or f"{address.prefix}-workers-v{VIEWS_VERSION}"
        self._open_log = open_log
        self._applier = Applier(store, self.progress, on_caught_up, catalog)
        self._silence = Outage(_log, "the log does not answer", "the log answers again")
        self._gave_up = ""

    def run(self, stop: threading.Event) -> None:
        """Apply blocks as they come, until `stop` is set; then finish the batch in hand and leave the group.

        Retry while the store or the broker is unavailable: no block is skipped. A worker that cannot apply
        blocks leaves the group while it retries, so that another worker may apply them.

        Raises StoreRefused when log and store do not belong together, LogRefused when the log is not whole,
        UnreadableBlock or UnreadableTypes for a block of a newer version, after what lies before it was
        applied, and EngineStuck when the process has to be replaced: by then nothing is left that keeps it
        from ending.
        """
        quieten()
        try:
            asyncio.run(self._run(stop))
        except Halt as error:
            self.progress.says(REFUSED, str(error))
            raise
        except EngineStuck as error:
            if not stop.is_set():
                raise
            _log.warning("the worker stops during a batch; another worker applies it", reason=str(error))
        self.progress.says(STOPPED)

    async def _run(self, stop: threading.Event) -> None:
        recovery = Recovery(stop)
        self.progress.says(STARTING)
        turning = asyncio.create_task(_turning(self.progress))
        try:
            await self._run_sessions(stop, recovery)
        finally:
            turning.cancel()

    async def _run_sessions(self, stop: threading.Event, recovery: Recovery) -> None:
        while not stop.is_set():
            try:
                await self._run_session(stop, recovery)
            except EpochDone:
                self.progress.says(STARTING)
                _log.info("the epoch is fully applied; reading the next one")
            except (Halt, EngineStuck):
                raise
            except Stopped:
                return
            except GaveUp as error:
                self._gave_up = f"it gave its partitions up ({error}), and joins its group again after this: "
                await recovery.wait()
            except Exception as error:
                self.progress.failures.inc()
                why = denied(error, self._address.security) or f"{type(error).__name__}: {error}"
                self.progress.left(f"{self._gave_up}{why}")
                recovery.outage.failed(error)
                await recovery.wait()

    async def _run_session(self, stop: threading.Event, recovery: Recovery) -> None:
        """Check log and store, and join the group only when both answer and belong together."""
        thread = DaemonPool(1, "apply")
        log = None
        try:
            log = await _answer(thread.call(self._open_log, self._address), stop)
            standing = await _answer(thread.call(self._applier.check, log), stop)
            ends = await _answer(thread.call(log.ends), stop)
            assignment = Assignment(self._address, log.identity, standing, ends)
            # Only now: what the last try waited for may still be unavailable, and this may be slow to fail.
            self.progress.says(STARTING)
            self._gave_up = ""
            recovery.outage.over()
            membership = Membership(self._address, self._group, log, assignment)
            session = Session(membership, self._applier, self.progress, thread, stop, recovery)
            with (
                _watching(log, self.progress, self._silence, session.refuse),
                _looking_for_coordinator(self._address, self.progress),
            ):
                await session.run()
        finally:
            if log is not None:
                await let_go(thread, log, stop)
            thread.shutdown()


async def _answer(work: Awaitable[R], stop: threading.Event) -> R:
    """The answer of log or store before joining the group. Raises Stopped, or EngineStuck after a minute."""
    pending = asyncio.ensure_future(work)
    # Nobody may be left to hear what it raises.
    pending.add_done_callback(lambda done: done.cancelled() or done.exception())
    until = time.monotonic() + _HUNG_S
    while not (await asyncio.wait((pending,), timeout=_LOOK_S))[0]:
        if stop.is_set():
            raise Stopped
        if time.monotonic() >= until:
            raise EngineStuck(f"the log or the store has not answered for {_HUNG_S:.0f} s")
    return pending.result()


async def let_go(
    thread: DaemonPool,
    log: Log,
    stop: threading.Event,
    *,
    hung_s: float = _HUNG_S,
    longest_s: float = _LONGEST_S,
) -> None:
    """Close the log when what is in hand on the thread is done. Raises EngineStuck when that does not end.

    A transaction may go on though its partitions are somebody else's by now: who has them waits for it, and
    then drops what it applied.
    """
    closing = asyncio.ensure_future(thread.call(log.close))
    began = worked = time.monotonic()
    cpu_s = thread.cpu_s()
    while not (await asyncio.wait((closing,), timeout=_LOOK_S))[0]:
        now = time.monotonic()
        if thread.cpu_s() - cpu_s >= _LEAST_CPU_S:
            cpu_s, worked = thread.cpu_s(), now
        if (stop.is_set() and now - began >= _JOIN_S) or now - worked >= hung_s or now - began >= longest_s:
            raise EngineStuck("the store did not finish the batch in hand")


async def _turning(progress: WorkerProgress) -> None:
    """Note each second that the event loop runs."""
    while True:
        progress.turned()
        await asyncio.sleep(_TURN_S)


@contextlib.contextmanager
def _watching(
    log: Log, progress: WorkerProgress, silence: Outage, refuse: Callable[[BaseException], None]
) -> Iterator[None]:
    """Read the log's ends every few seconds, on a thread that waits for nothing else."""

    def look() -> None:
        try:
            progress.ended(log.ends())
            silence.over()
        except Halt as error:
            refuse(error)
        except Exception as error:
            progress.silent(str(error) or repr(error))
            silence.failed(error)

    with each(_WATCH_S, "ends", look, at_once=True, end_s=_JOIN_S):
        yield


@contextlib.contextmanager
def _looking_for_coordinator(address: Address, progress: WorkerProgress) -> Iterator[None]:
    """Report why the group assigns no partitions: the client library retries without a message."""
    told = False

    def look() -> bool:
        nonlocal told
        if progress.state.name != STARTING:
            return False
        with contextlib.suppress(LogUnavailable, LogRefused):
            why = groups_stand_still(address)
            if why and progress.still_starting(why) and not told:
                told = True
                _log.warning("the worker waits for its consumer group", reason=why)
        return True

    with each(COORDINATOR_S, "coordinator", look, end_s=0.0):
        yield
