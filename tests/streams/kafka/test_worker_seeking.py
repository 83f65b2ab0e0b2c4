"""A worker whose consumer has stopped to answer ends, so that another process takes its place."""

from __future__ import annotations

import asyncio
import threading
from types import SimpleNamespace
from typing import Any, cast

import pytest

from streams.kafka import session as module
from streams.kafka.address import Address
from streams.kafka.assignment import Assignment
from streams.kafka.one_thread import OneThread
from streams.kafka.progress import Progress
from streams.kafka.session import Backoff, EngineStuck, Place, Session
from streams.log.memory import MemoryLog


def test_a_consumer_that_never_seeks_ends_the_worker(monkeypatch: pytest.MonkeyPatch) -> None:
    """A seek without an answer is given up: nothing would be applied meanwhile, nor the end heard of."""
    monkeypatch.setattr(module, "_SEEK_S", 0.05)

    async def never(_: Any) -> None:
        await asyncio.Event().wait()

    async def goes_back() -> None:
        log, stop = MemoryLog(1), threading.Event()
        address = Address.parse("kafka://127.0.0.1:9092")
        place = Place(address, "group", log, Assignment(address, log.identity, {}, log.ends()))
        applier: Any = SimpleNamespace(check=lambda _: {})
        thread = OneThread("apply")
        session = Session(place, applier, Progress(), thread, stop, Backoff(stop))
        session._app = cast(Any, SimpleNamespace(consumer=SimpleNamespace(seek_wait=never)))
        try:
            async with asyncio.timeout(5):
                with pytest.raises(EngineStuck):
                    await session._go_back(at_once=True)
        finally:
            thread.close()

    asyncio.run(goes_back())
