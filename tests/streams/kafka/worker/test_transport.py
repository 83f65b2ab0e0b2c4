"""A worker whose consumer has stopped to answer ends, so that another process takes its place."""

from __future__ import annotations

import asyncio
import threading
import time
from types import SimpleNamespace
from typing import Any, cast

import pytest

from streams.daemon_pool import DaemonPool
from streams.kafka.address import Address
from streams.kafka.worker import engine
from streams.kafka.worker.assignment import Assignment
from streams.kafka.worker.progress import WorkerProgress
from streams.kafka.worker.session import EngineStuck, Membership, Recovery, Session
from streams.log.memory import MemoryLog


def test_a_consumer_that_never_seeks_ends_the_worker() -> None:
    """A seek without an answer is given up: nothing would be applied meanwhile, nor the end heard of."""

    async def never(_: Any) -> None:
        await asyncio.Event().wait()

    async def goes_back() -> None:
        log, stop = MemoryLog(1), threading.Event()
        address = Address.parse("kafka://127.0.0.1:9092")
        membership = Membership(address, "group", log, Assignment(address, log.identity, {}, log.ends()))
        applier: Any = SimpleNamespace(check=lambda _: {})
        thread = DaemonPool(1, "apply")
        session = Session(membership, applier, WorkerProgress(), thread, stop, Recovery(stop), seek_s=0.05)
        session._app = cast(Any, SimpleNamespace(consumer=SimpleNamespace(seek_wait=never)))
        try:
            async with asyncio.timeout(5):
                with pytest.raises(EngineStuck):
                    await session._go_back(at_once=True)
        finally:
            thread.shutdown()

    asyncio.run(goes_back())


def _let_go(work: Any, stop: threading.Event, longest_s: float = 60.0) -> float:
    """How long it takes until a worker lets go of a thread that does this; raises EngineStuck."""

    async def lets_go() -> float:
        thread = DaemonPool(1, "apply")
        doing = asyncio.ensure_future(thread.call(work))
        since = time.monotonic()
        try:
            log: Any = SimpleNamespace(close=lambda: None)
            await engine.let_go(thread, log, stop, hung_s=1.0, longest_s=longest_s)
        finally:
            doing.cancel()
            thread.shutdown()
        return time.monotonic() - since

    return asyncio.run(lets_go())


def test_a_batch_that_hangs_is_given_up_and_one_that_works_is_not() -> None:
    """What uses its CPU may be a long transaction, and is let finish: not for ever, not after `stop`."""
    stop, over = threading.Event(), threading.Event()

    def works(for_s: float) -> None:
        until = time.monotonic() + for_s
        while time.monotonic() < until:
            pass

    try:
        with pytest.raises(EngineStuck):
            _let_go(over.wait, stop)
        assert _let_go(lambda: works(2.0), stop) >= 1.5
        with pytest.raises(EngineStuck):
            _let_go(lambda: works(2.0), stop, longest_s=0.5)
        stop.set()
        with pytest.raises(EngineStuck):
            _let_go(over.wait, stop)
    finally:
        over.set()


def test_partitions_are_given_up_less_often_where_that_is_in_vain() -> None:
    """Twice the patience each time, up to eight times; a quick commit brings it back, a slow one does not."""
    recovery = Recovery(threading.Event())
    waits = []
    for _ in range(5):
        waits.append(recovery.patience_s(15))
        recovery.gave_up()
    assert waits == [15, 30, 60, 120, 120]
    recovery.succeeded(quick=False)
    assert recovery.patience_s(15) == 120
    recovery.succeeded(quick=True)
    assert recovery.patience_s(15) == 15
