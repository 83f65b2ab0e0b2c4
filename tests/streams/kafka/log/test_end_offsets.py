"""Those who wait for the log's ends are told, whatever becomes of the question; no broker is needed."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from streams.kafka.address import Address
from streams.kafka.log import end_offsets
from streams.kafka.log.end_offsets import EndOffsets


@pytest.fixture(autouse=True)
def unconnected(monkeypatch: pytest.MonkeyPatch) -> None:
    """The library's consumer is a stand-in: nobody is connected to."""

    async def options(_: Address) -> dict[str, Any]:
        return {}

    monkeypatch.setattr(end_offsets, "options", options)
    monkeypatch.setattr(end_offsets, "steady", lambda made: made)


class Failing:
    """A consumer that fails in a way that no library names, when it is asked and when it is closed."""

    def __init__(self, **_: Any) -> None: ...

    def assign(self, partitions: Any) -> None:
        """It is told of the topics."""

    def pause(self, *partitions: Any) -> None:
        """And fetches nothing."""

    async def start(self) -> None:
        """Nothing to connect to."""

    async def end_offsets(self, partitions: Any) -> dict[Any, int]:
        """No answer."""
        await asyncio.sleep(0.02)
        raise ValueError("the library failed")

    async def stop(self) -> None:
        """No good end either."""
        raise RuntimeError("and could not be stopped")


def test_everybody_who_asked_is_told_after_any_failure(monkeypatch: pytest.MonkeyPatch) -> None:
    """Who asks while a question fails is told after the next one, though nobody asks again."""
    monkeypatch.setattr(end_offsets, "AIOKafkaConsumer", Failing)

    async def asked() -> None:
        address = Address.parse("kafka://127.0.0.1:9092")
        asking = EndOffsets(address, {0: ("t", 0)}, lambda _: None)
        first, second = asyncio.Event(), asyncio.Event()
        asking.ask(first.set)
        await asyncio.sleep(0.01)
        asking.ask(second.set)
        async with asyncio.timeout(5):
            await first.wait()
            await second.wait()
        await asking.stop()

    asyncio.run(asked())
