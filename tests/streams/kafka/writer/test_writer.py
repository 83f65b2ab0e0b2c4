"""The appender to Kafka: blocks by count and time, answers after acknowledgements, and honest refusals."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager, closing
from typing import Any

import pytest
from kafka.admin import KafkaAdminClient

from streams.kafka.address import Address
from streams.kafka.log.reader import KafkaLog
from streams.kafka.topics.admin import ensure
from streams.kafka.writer.writer import KafkaAppender, LogEnded
from streams.log.block import DeadLetter, raw_items, read_dead_letters
from streams.log.port import DEAD, Batch, NotDurable, Overloaded, Part, PartlyDurable
from streams.log.writer import dead_letters
from tests.services.kafka.broker import Cluster
from tests.services.kafka.fixtures import unique_prefix

pytestmark = pytest.mark.broker

LONG_S = 600.0
RECOVERY_S = 40.0


@pytest.fixture
def address(kafka: Cluster) -> Address:
    """A log of two partitions."""
    address = Address.parse(kafka.address(unique_prefix()))
    ensure(address, 2)
    return address


def batch(count: int, *partitions: int, first: int = 0) -> Batch:
    """A batch of that many items for each partition."""
    items = [b"%d" % number for number in range(first, first + count)]
    return Batch(1, [Part(partition, {"t"}, items) for partition in partitions or (0,)])


@asynccontextmanager
async def appending(address: Address, **how: Any) -> AsyncIterator[KafkaAppender]:
    """An appender, for as long as the context lasts."""
    with closing(KafkaLog(address)) as log:
        appender = KafkaAppender(log, **how)
        await appender.start()
        try:
            yield appender
        finally:
            await appender.stop()


def blocks(address: Address, partition: int = 0) -> list[list[bytes]]:
    """The items of each block of a partition."""
    with closing(KafkaLog(address)) as log:
        return [raw_items(record) for record in log.read(partition, 0, 10_000)]


async def until_taken(appender: KafkaAppender, batch: Callable[[], Batch]) -> str:
    """Send again, as clients do, until it is acknowledged."""
    deadline = time.monotonic() + RECOVERY_S
    while True:
        try:
            return await appender.write(batch())
        except NotDurable:
            assert time.monotonic() < deadline, "it does not recover by itself"
            await asyncio.sleep(0.1)


def run(test: Awaitable[None]) -> None:
    """Run a test's coroutine."""

    async def main() -> None:
        await test

    asyncio.run(main())


def test_a_block_is_full_at_a_hundred_events(address: Address) -> None:
    """With a hold that never ends, requests wait until their block has 100 events, and no longer."""

    async def test() -> None:
        async with appending(address, hold_s=LONG_S) as appender:
            answers = [appender.write(batch(30, first=30 * number)) for number in range(3)]
            await asyncio.sleep(0.2)
            assert not any(answer.done() for answer in answers)
            assert await appender.write(batch(10, first=90)) == "0:1,1:0,dead:0"
            assert await asyncio.gather(*answers) == ["0:1,1:0,dead:0"] * 3

    run(test())
    assert blocks(address) == [[b"%d" % number for number in range(100)]]


def test_a_block_is_held_for_a_moment_only(address: Address) -> None:
    """A single event is not held back for others that may never come."""

    async def test() -> None:
        async with appending(address, hold_events=10**9) as appender:
            first, second = appender.write(batch(1)), appender.write(batch(2, first=1))
            assert await first == await second == "0:1,1:0,dead:0"
            assert await appender.write(batch(1, 1)) == "0:1,1:1,dead:0"

    run(test())
    assert (blocks(address), blocks(address, 1)) == ([[b"0", b"1", b"2"]], [[b"0"]])


def test_a_position_covers_what_other_collectors_acknowledged(address: Address) -> None:
    """Written at one collector, then at another: the position of the second covers the first."""

    async def test() -> None:
        async with appending(address) as one, appending(address) as other:
            for number in range(5):
                await one.write(batch(1, 1, first=number))
                assert await other.write(batch(1, first=number)) == f"0:{number + 1},1:{number + 1},dead:0"

    run(test())


def test_refused_items_are_letters_one_by_one(address: Address) -> None:
    """Dead letters of one request are as many records, and the position counts them."""
    letters = [DeadLetter("invalid_json", "no", None, None, b"%d" % number) for number in range(3)]

    async def test() -> None:
        async with appending(address) as appender:
            assert await appender.write(Batch(7, [dead_letters(letters)])) == "0:0,1:0,dead:3"

    run(test())
    with closing(KafkaLog(address)) as log:
        read = [read_dead_letters(record) for record in log.read(DEAD, 0, 10)]
    assert read == [[(7, letter)] for letter in letters]


def test_what_waits_is_bounded(address: Address) -> None:
    """Beyond the bound a batch is refused at once, and none of it is kept."""

    async def test() -> None:
        async with appending(address, hold_s=LONG_S, max_pending_bytes=100) as appender:
            first = appender.write(batch(50))
            with pytest.raises(Overloaded):
                appender.write(batch(90))
            stopping = asyncio.create_task(appender.stop())
            await first
            await stopping
            with pytest.raises(NotDurable, match="stopping"):
                appender.write(batch(1))

    run(test())
    assert blocks(address) == [[b"%d" % number for number in range(50)]]


@pytest.mark.parametrize("how", ["stopped", "frozen"])
def test_a_broker_that_is_away_is_a_refusal_and_then_it_goes_on(
    kafka: Cluster, address: Address, how: str
) -> None:
    """In doubt while a block is on its way, certainly not kept after; and it recovers by itself."""

    async def test() -> None:
        async with appending(address, ack_s=1.0) as appender:
            await appender.write(batch(1))
            await asyncio.to_thread(kafka.stop if how == "stopped" else kafka.freeze)
            try:
                with pytest.raises(NotDurable) as doubtful:
                    await appender.write(batch(1, first=1))
                with pytest.raises(NotDurable) as certain:
                    await appender.write(batch(1, first=2))
                assert appender.failed_at is not None
            finally:
                await asyncio.to_thread(kafka.start if how == "stopped" else kafka.thaw)
            assert (doubtful.value.kept, certain.value.kept) == (None, False)
            await until_taken(appender, lambda: batch(1, first=3))
            assert appender.failed_at is None

    run(test())
    kept = [item for block in blocks(address) for item in block]
    # What was in doubt may be there, once; what was refused is not; what was acknowledged is. A slow machine
    # doubts the last one too, before it is acknowledged.
    assert kept[0] == b"0"
    assert set(kept[1:-1]) <= {b"1", b"3"}
    assert kept.count(b"1") <= 1
    assert kept[-1] == b"3"


def test_a_sealed_epoch_ends_the_appender(address: Address) -> None:
    """What meets the seal is certainly not kept, and nothing is taken from then on."""

    async def test() -> None:
        async with appending(address) as appender:
            await appender.write(batch(1))
            await asyncio.to_thread(ensure, address, 3, new_epoch=True)
            with pytest.raises(LogEnded) as refusal:
                await appender.write(batch(1, first=1))
            assert refusal.value.kept is False
            assert "sealed" in appender.ended
            with pytest.raises(LogEnded):
                appender.write(batch(1, first=2))

    run(test())
    kept = [block for block in blocks(address) if block]
    assert kept == [[b"0"]]


def test_a_recreated_topic_ends_the_appender(kafka: Cluster, address: Address) -> None:
    """An acknowledgement at an offset that was there before is none: the topic is another one."""

    async def test() -> None:
        async with appending(address) as appender:
            await appender.write(batch(1))
            await asyncio.to_thread(_recreate, kafka, address)
            deadline = time.monotonic() + RECOVERY_S
            while not appender.ended:
                with pytest.raises(NotDurable) as refusal:
                    await appender.write(batch(1, first=1))
                assert refusal.value.kept is not True
                assert time.monotonic() < deadline, "the other topic is not noticed"
                await asyncio.sleep(0.05)
            assert "made again" in appender.ended

    run(test())


def _recreate(kafka: Cluster, address: Address) -> None:
    admin = KafkaAdminClient(bootstrap_servers=kafka.bootstrap)
    admin.delete_topics([address.log_topic(1)])
    while address.log_topic(1) in admin.list_topics():
        time.sleep(0.05)
    admin.close()
    ensure(address, 2)


def test_partitions_that_are_away_are_missing_alone(kafka_cluster: Cluster) -> None:
    """With one of three leaders gone, the others' items are kept, and only its own are to be sent again."""
    address = Address.parse(kafka_cluster.address(unique_prefix()))
    admin = KafkaAdminClient(bootstrap_servers=kafka_cluster.bootstrap)
    one_copy = {"min.insync.replicas": "1"}
    placed = {0: [1], 1: [2], 2: [3]}
    admin.create_topics(
        {
            address.log_topic(1): {"assignments": placed, "configs": one_copy},
            address.dead_letters: {"assignments": {0: [1]}, "configs": one_copy},
        },
        wait_for_metadata=True,
    )
    admin.close()

    async def test() -> None:
        async with appending(address, ack_s=1.0) as appender:
            await appender.write(batch(1, 0, 1, 2))
            await asyncio.to_thread(kafka_cluster.brokers[2].kill)
            try:
                with pytest.raises(PartlyDurable) as partly:
                    await appender.write(batch(1, 0, 1, 2, first=1))
                assert partly.value.missing == {2}
                assert partly.value.position == "0:2,1:2,2:1,dead:0"
                with pytest.raises(NotDurable) as nothing:
                    await appender.write(batch(1, 2, first=2))
                assert not isinstance(nothing.value, PartlyDurable)
                # Once nobody leads the partition its block is given up, and the producer replaced: a moment
                # without any, in which the others' items are refused too.
                await until_taken(appender, lambda: batch(1, 0, 1, first=2))
            finally:
                await asyncio.to_thread(kafka_cluster.start)
            await until_taken(appender, lambda: batch(1, 2, first=3))

    run(test())
    for partition in (0, 1):
        kept = [item for block in blocks(address, partition) for item in block]
        # A block in flight at that moment is in doubt, and may be there from both times.
        assert kept in ([b"0", b"1", b"2"], [b"0", b"1", b"2", b"2"])
    assert [item for block in blocks(address, 2) for item in block][::-1][0] == b"3"
