"""What is handed to the producer together stays together, also while its buffer is full."""

from __future__ import annotations

import asyncio
from typing import Any, NamedTuple

import pytest

from streams.kafka import producing
from streams.kafka.address import Address
from streams.kafka.letters import Letter
from streams.kafka.producing import Ack, Producing


class Metadata(NamedTuple):
    """What a producer says of a record that was acknowledged."""

    offset: int


class FullProducer:
    """A producer whose buffer is full at every large record: those wait for a turn of the loop."""

    def __init__(self, **_: Any) -> None:
        self.kept: list[bytes] = []

    async def start(self) -> None:
        """Nothing to connect to."""

    async def send(self, topic: str, value: bytes, **_: Any) -> asyncio.Future[Metadata]:
        """Keep a record at the next offset."""
        if len(value) > 1:
            await asyncio.sleep(0)
        self.kept.append(value)
        acknowledged: asyncio.Future[Metadata] = asyncio.get_running_loop().create_future()
        acknowledged.set_result(Metadata(len(self.kept) - 1))
        return acknowledged


def test_records_sent_together_have_neighbouring_offsets(monkeypatch: pytest.MonkeyPatch) -> None:
    """A record that the producer has room for at once does not come between two that had to wait."""
    monkeypatch.setattr(producing, "AIOKafkaProducer", FullProducer)

    async def sent() -> list[Ack]:
        sender = Producing(Address.parse("kafka://127.0.0.1:9092"))
        await sender.start()
        large, small = [Letter(b"large", [])] * 3, [Letter(b"s", [])]
        return await asyncio.gather(*(sender.send(("t", 0), each) for each in (large, small, large)))

    assert asyncio.run(sent()) == [(0, 2), (3, 3), (4, 6)]
