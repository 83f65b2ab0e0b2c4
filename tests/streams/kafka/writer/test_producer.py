"""What is handed to the producer together stays together, also while its buffer is full."""

from __future__ import annotations

import asyncio
from typing import Any, NamedTuple

import pytest
from aiokafka.errors import KafkaError

from loopline.backoff import RetryPolicy
from streams.kafka import diagnosis
from streams.kafka.address import Address
from streams.kafka.log.dead_letters import ProducedRecord
from streams.kafka.writer import producer as module
from streams.kafka.writer.producer import Ack, Producer

ADDRESS = Address.parse("kafka://127.0.0.1:9092")


@pytest.fixture(autouse=True)
def unconnected(monkeypatch: pytest.MonkeyPatch) -> None:
    """The library's producer is a stand-in: nobody is connected to."""

    async def options(_: Address) -> dict[str, Any]:
        return {}

    monkeypatch.setattr(module, "options", options)
    monkeypatch.setattr(module, "steady", lambda made: made)


class Metadata(NamedTuple):
    """What a producer says of a record that was acknowledged."""

    offset: int
    timestamp: int = 0
    timestamp_type: int = 0


class Broker(NamedTuple):
    """A broker as the library knows it."""

    host: str
    port: int


class FullProducer:
    """A producer whose buffer is full at every large record: those wait for a turn of the loop."""

    def __init__(self, **_: Any) -> None:
        self.kept: list[bytes] = []
        self.client = self.cluster = self
        self.leaders = [1]

    def leader_for_partition(self, _: object) -> int | None:
        """Who leads, as often as it is asked; the last one then stays."""
        return self.leaders.pop(0) if len(self.leaders) > 1 else self.leaders[0]

    def broker_metadata(self, node: int) -> Broker:
        """Where a broker is."""
        return Broker(f"kafka-{node}", 9092)

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
    monkeypatch.setattr(module, "AIOKafkaProducer", FullProducer)

    async def sent() -> list[Ack]:
        sender = Producer(ADDRESS)
        await sender.start()
        large, small = [ProducedRecord(b"large", [])] * 3, [ProducedRecord(b"s", [])]
        return await asyncio.gather(*(sender.send(("t", 0), each) for each in (large, small, large)))

    assert [(ack.first, ack.last) for ack in asyncio.run(sent())] == [(0, 2), (3, 3), (4, 6)]


@pytest.mark.parametrize(
    "leaders, kind, told",
    [
        pytest.param([1], 1, (77, "broker 1 (kafka-1:9092)"), id="by its own clock"),
        pytest.param([1], 0, (None, "broker 1 (kafka-1:9092)"), id="by the producer's clock"),
        pytest.param([1, 2], 1, (None, "broker 1 (kafka-1:9092)"), id="led by another one meanwhile"),
        pytest.param([None], 1, (None, ""), id="led by nobody"),
    ],
)
def test_the_time_of_an_append_is_that_of_the_broker_that_led(
    monkeypatch: pytest.MonkeyPatch, leaders: list[int], kind: int, told: tuple[int | None, str]
) -> None:
    """A time is told only when it is known whose clock it is."""

    class Stamping(FullProducer):
        async def send(self, topic: str, value: bytes, **_: Any) -> asyncio.Future[Metadata]:
            answer: asyncio.Future[Metadata] = asyncio.get_running_loop().create_future()
            answer.set_result(Metadata(0, 77, kind))
            return answer

        async def start(self) -> None:
            self.leaders = list(leaders)

    monkeypatch.setattr(module, "AIOKafkaProducer", Stamping)

    async def sent() -> Ack:
        sender = Producer(ADDRESS)
        await sender.start()
        return await sender.send(("t", 0), [ProducedRecord(b"l", [])])

    ack = asyncio.run(sent())
    assert (ack.appended_ms, ack.broker) == told


def test_an_offset_that_the_broker_does_not_remember_is_said_of_all(monkeypatch: pytest.MonkeyPatch) -> None:
    """Where one of the records sent together has no offset, nobody may believe the others' end."""

    class Forgetful(FullProducer):
        async def send(self, topic: str, value: bytes, **_: Any) -> asyncio.Future[Metadata]:
            answer = await super().send(topic, value)
            if len(self.kept) < 2:
                return answer
            unknown: asyncio.Future[Metadata] = asyncio.get_running_loop().create_future()
            unknown.set_result(Metadata(-1))
            return unknown

    monkeypatch.setattr(module, "AIOKafkaProducer", Forgetful)

    async def sent() -> Ack:
        sender = Producer(ADDRESS)
        await sender.start()
        return await sender.send(("t", 0), [ProducedRecord(b"l", [])] * 2)

    assert asyncio.run(sent()).first == -1


def test_a_producer_is_replaced_whatever_keeps_it_from_starting(monkeypatch: pytest.MonkeyPatch) -> None:
    """A failure that no library names is tried again too: else nothing would be taken any more, for good.

    That holds for looking for its reason as well.
    """
    made: list[FullProducer] = []

    class Failing(FullProducer):
        async def start(self) -> None:
            made.append(self)
            if len(made) in (2, 3):
                raise (ValueError, KafkaError)[len(made) - 2]("not now")

    async def refusal(_: Address) -> str:
        raise TypeError("that is no answer")

    monkeypatch.setattr(diagnosis, "refusal", refusal)
    monkeypatch.setattr(module, "AIOKafkaProducer", Failing)

    async def replaced() -> None:
        sender = Producer(ADDRESS, RetryPolicy(0.01, 1.0))
        await sender.start()
        sender.replace("the brokers refused a block")
        async with asyncio.timeout(5):
            while sender.down:  # noqa: ASYNC110 -- nobody there sets an event
                await asyncio.sleep(0.01)
        await sender.stop()

    asyncio.run(replaced())
    assert len(made) == 4
