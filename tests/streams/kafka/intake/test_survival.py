"""The intake goes on whatever its client library does; no broker is needed."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Sequence
from typing import Any

import pytest
from aiokafka import TopicPartition
from aiokafka.errors import OffsetOutOfRangeError

from streams.ingest.recorder import Recorder
from streams.kafka.address import Address
from streams.kafka.intake import consumer as module
from streams.kafka.intake.consumer import Intake
from streams.kafka.intake.record_batches import PlainRecord
from streams.log.port import Batch
from streams.metrics import Metrics
from tests.streams.kafka.intake.intakes import until
from tests.streams.log.writer_contract import StubWriter

ADDRESS = Address.parse("kafka://127.0.0.1:9092")
PLACE = TopicPartition(ADDRESS.intake, 0)
START = 7


class Library:
    """A consumer of one partition, whose records before `START` were deleted."""

    def __init__(self, *_: Any, **__: Any) -> None:
        self.listener: Any = None

    async def start(self) -> None:
        """Nothing to connect to."""

    async def topics(self) -> set[str]:
        """What is there."""
        return {ADDRESS.intake}

    def subscribe(self, topics: Sequence[str], listener: Any) -> None:
        """The partition is this one's at once."""

    def assignment(self) -> set[TopicPartition]:
        """The one partition."""
        return {PLACE}

    async def getmany(self, **_: Any) -> dict[TopicPartition, list[Any]]:
        """Nothing to read."""
        await asyncio.sleep(0.01)
        return {}

    async def committed(self, partition: TopicPartition) -> int:
        """What was committed is not there any more."""
        return 3

    async def beginning_offsets(self, partitions: Sequence[TopicPartition]) -> dict[TopicPartition, int]:
        """What is left begins here."""
        return dict.fromkeys(partitions, START)

    async def end_offsets(self, partitions: Sequence[TopicPartition]) -> dict[TopicPartition, int]:
        """And ends here."""
        return dict.fromkeys(partitions, START + 1)

    def seek(self, partition: TopicPartition, offset: int) -> None:
        """Read on from there."""

    def highwater(self, partition: TopicPartition) -> int:
        """The end."""
        return START + 1

    async def commit(self, offsets: dict[TopicPartition, int]) -> None:
        """Written down."""

    async def stop(self) -> None:
        """Nothing to let go of."""


class Written(StubWriter):
    """An appender that remembers what it was handed."""

    position = ""

    def __init__(self) -> None:
        self.batches: list[Batch] = []

    def write(self, batch: Batch) -> Awaitable[str]:
        """It is there at once."""
        self.batches.append(batch)
        answer: asyncio.Future[str] = asyncio.get_running_loop().create_future()
        answer.set_result("")
        return answer


@pytest.fixture(autouse=True)
def nobody_to_reach(monkeypatch: pytest.MonkeyPatch) -> None:
    """There is no server that could be asked whether it answers, and no client of the library's."""

    async def options(_: Address) -> dict[str, Any]:
        return {}

    monkeypatch.setattr(module, "options", options)
    monkeypatch.setattr(module, "steady", lambda consumer: consumer)


def test_an_intake_goes_on_after_any_failure_of_leaving(monkeypatch: pytest.MonkeyPatch) -> None:
    """However badly the consumer fails and ends, another one takes its place."""
    made: list[Library] = []

    class Failing(Library):
        def __init__(self, *_: Any, **__: Any) -> None:
            super().__init__()
            made.append(self)

        async def getmany(self, **_: Any) -> dict[TopicPartition, list[Any]]:
            raise ValueError("the library failed")

        async def stop(self) -> None:
            if len(made) == 1:
                raise RuntimeError("and could not be stopped")
            raise asyncio.CancelledError

    monkeypatch.setattr(module, "AIOKafkaConsumer", Failing)

    async def reading() -> None:
        intake = Intake(ADDRESS, Recorder(Written(), 1))
        await intake.start()
        await until(lambda: len(made) > 2, "a third consumer")
        await intake.stop()

    asyncio.run(reading())


def test_deleted_records_do_not_end_reading_by_hand(monkeypatch: pytest.MonkeyPatch) -> None:
    """Where the committed offset is gone and a header is unreadable, it begins at the start and counts."""
    committed: dict[TopicPartition, int] = {}

    class Unreadable(Library):
        async def getmany(self, **_: Any) -> dict[TopicPartition, list[Any]]:
            if committed:
                return await super().getmany()
            raise UnicodeDecodeError("utf-8", b"\xff", 0, 1, "in a header's name")

        async def commit(self, offsets: dict[TopicPartition, int]) -> None:
            committed.update(offsets)

    async def by_hand(
        bootstrap: str, partition: TopicPartition, offset: int
    ) -> tuple[list[PlainRecord], int]:
        if offset < START:
            raise OffsetOutOfRangeError()
        return [PlainRecord(PLACE.topic, 0, offset, b"no event", [])], offset + 1

    monkeypatch.setattr(module, "AIOKafkaConsumer", Unreadable)
    monkeypatch.setattr(module, "read_tolerantly", by_hand)
    metrics, written = Metrics(), Written()

    async def reading() -> None:
        intake = Intake(ADDRESS, Recorder(written, 1), metrics)
        await intake.start()
        await until(lambda: committed, "a commit")
        await intake.stop()

    asyncio.run(reading())
    assert committed == {PLACE: START + 1}
    assert len(written.batches) == 1
    assert metrics.intake_unread._value.get() == START - 3


def test_a_topic_that_is_deleted_is_told_until_it_is_back(monkeypatch: pytest.MonkeyPatch) -> None:
    """The group of a topic that is gone gives nothing, and says nothing: whoever reads looks for itself."""
    there = {ADDRESS.intake}

    class Empty(Library):
        async def topics(self) -> set[str]:
            return set(there)

        def assignment(self) -> set[TopicPartition]:
            return {PLACE} if there else set()

    monkeypatch.setattr(module, "AIOKafkaConsumer", Empty)

    async def reading() -> None:
        intake = Intake(ADDRESS, Recorder(Written(), 1), unseen_s=0.0)
        await intake.start()
        there.clear()
        await until(lambda: "is missing: run `loopline topics ensure`" in intake.failure, "what is missing")
        there.add(ADDRESS.intake)
        await until(lambda: not intake.failure, "the topic to be read again")
        await intake.stop()

    asyncio.run(reading())
