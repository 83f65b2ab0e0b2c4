"""The appender on librdkafka's mock cluster, which needs no Java: what can be shown without a broker.

It runs wherever the tests run. aiokafka's idempotent producer speaks to the mock; kafka-python cannot
connect to it, so that `KafkaLog`, the topics and their checks need the real broker, as does all that is
about CreateTopics, DeleteRecords, configuration or brokers that go away. What was written is read back with
librdkafka's own consumer.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from typing import Any, cast

import pytest
from confluent_kafka import Consumer, Producer, TopicPartition

from streams.kafka.address import Address
from streams.kafka.log.dead_letters import block_of
from streams.kafka.log.reader import KafkaLog
from streams.kafka.writer.writer import KafkaAppender
from streams.log.block import DeadLetter, raw_items, read_dead_letters
from streams.log.port import DEAD, Batch, LogIdentity, LogWriter, Part
from streams.log.writer import dead_letters
from tests.streams.log.writer_contract import Kept, LogWriterContract, Writing

PARTITIONS = 4  # the mock's own choice for topics that it makes


class MockedLog:
    """What the appender asks of a log, of topics on the mock cluster."""

    def __init__(self, address: Address) -> None:
        self.address = address
        self.identity = LogIdentity("mock", 1, PARTITIONS)
        self.told: dict[int, int] = {}

    def ends(self) -> dict[int, int]:
        """They are new."""
        return dict.fromkeys((*range(PARTITIONS), DEAD), 0)

    def acknowledged(self, partition: int, end: int) -> None:
        """What the appender tells."""
        self.told[partition] = end


@pytest.fixture
def log() -> Iterator[MockedLog]:
    """Empty topics on a mock cluster of one broker."""
    owner = Producer({"bootstrap.servers": "mock", "test.mock.num.brokers": 1, "log_level": 0})
    [broker] = owner.list_topics(timeout=10).brokers.values()
    address = Address.parse(f"kafka://{broker.host}:{broker.port}/mock")
    for topic in (address.log_topic(1), address.dead_letters):
        owner.list_topics(topic, timeout=10)
    yield MockedLog(address)
    del owner


def _records(address: Address, topic: str, partition: int, count: int) -> list[Any]:
    consumer = Consumer({"bootstrap.servers": address.bootstrap, "group.id": "reader"})
    try:
        consumer.assign([TopicPartition(topic, partition, 0)])
        return list(consumer.consume(count, timeout=10))
    finally:
        consumer.close()


def _appended(log: MockedLog, *batches: Batch, **how: Any) -> list[str]:
    async def run() -> list[str]:
        appender = KafkaAppender(cast(KafkaLog, log), **how)
        await appender.start()
        try:
            return list(await asyncio.gather(*map(appender.write, batches)))
        finally:
            await appender.stop()

    return asyncio.run(run())


class TestContract(LogWriterContract):
    """The writer to Kafka holds to the contract of all writers."""

    @pytest.fixture
    def writing(self, log: MockedLog) -> Writing:
        """A writer to that log, which ends with the context."""

        @asynccontextmanager
        async def open_writer(**how: Any) -> AsyncIterator[LogWriter]:
            writer = KafkaAppender(cast(KafkaLog, log), **how)
            await writer.start()
            try:
                yield writer
            finally:
                await writer.stop()

        return open_writer

    @pytest.fixture
    def kept(self, log: MockedLog) -> Kept:
        """The items of that log's blocks, read by another library."""

        def read(partition: int, blocks: int) -> list[bytes]:
            records = _records(log.address, log.address.log_topic(1), partition, blocks)
            return [item for record in records for item in raw_items(record.value())]

        return read


def test_requests_share_a_block_of_a_hundred(log: MockedLog) -> None:
    """Four requests of 25 events are one record, and each is answered with the position behind it."""
    batches = [Batch(1, [Part(2, {"t"}, [b"%d" % (25 * n + i) for i in range(25)])]) for n in range(4)]
    assert _appended(log, *batches, hold_s=600.0) == ["0:0,1:0,2:1,3:0,dead:0"] * 4
    assert log.told == {2: 1}
    [record] = _records(log.address, log.address.log_topic(1), 2, 1)
    assert raw_items(record.value()) == [b"%d" % number for number in range(100)]


def test_refused_items_are_records_with_headers(log: MockedLog) -> None:
    """Each dead letter is a record of its own, and reads back as it was."""
    letters = [DeadLetter("invalid_json", "no", None, "/shop", b"%d" % number) for number in range(3)]
    assert _appended(log, Batch(7, [dead_letters(letters)])) == ["0:0,1:0,2:0,3:0,dead:3"]
    records = _records(log.address, log.address.dead_letters, 0, 3)
    blocks = [block_of(each.value(), each.headers(), each.timestamp()[1]) for each in records]
    assert [read_dead_letters(block) for block in blocks] == [[(7, letter)] for letter in letters]
