"""The log on a real broker holds to the contract, and notices what may not happen to a log."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import closing
from typing import Any

import pytest
from kafka import KafkaConsumer, KafkaProducer, TopicPartition
from kafka.admin import KafkaAdminClient

from streams.kafka.address import Address, BadAddress
from streams.kafka.log.dead_letters import block_of
from streams.kafka.log.reader import KafkaLog, LogTruncated
from streams.kafka.topics.admin import check, ensure
from streams.log.block import DeadLetter, read_dead_letters, write_dead_letters
from streams.log.port import DEAD, LogMissing, LogRefused, LogUnavailable, NotDurable
from tests.services.kafka.broker import Cluster
from tests.services.kafka.fixtures import unique_prefix
from tests.streams.log.log_contract import PARTITIONS, LogContract

pytestmark = pytest.mark.broker


@pytest.fixture
def address(kafka: Cluster) -> Address:
    """A log of three partitions that no other test uses."""
    address = Address.parse(kafka.address(unique_prefix()))
    ensure(address, PARTITIONS)
    return address


@pytest.fixture
def admin(kafka: Cluster) -> Iterator[Any]:
    """A client to do to topics what nobody should."""
    client = KafkaAdminClient(bootstrap_servers=kafka.bootstrap)
    yield client
    client.close()


class TestKafkaLog(LogContract):
    """The log on a broker."""

    @pytest.fixture
    def log(self, address: Address) -> Iterator[KafkaLog]:
        log = KafkaLog(address)
        yield log
        log.close()


def test_a_log_is_read_in_order_by_many_small_reads(address: Address) -> None:
    """Readers that take turns over partitions, a few blocks at a time, see each block once, in order."""
    with closing(KafkaLog(address)) as log:
        for start in range(0, 1500, 250):
            log.append([(p, b"%d" % number * 300) for number in range(start, start + 250) for p in (0, 1)])
    with closing(KafkaLog(address)) as log:
        seen: dict[int, list[bytes]] = {0: [], 1: []}
        while len(seen[1]) < 1500:
            for partition, records in seen.items():
                records += log.read(partition, len(records), 17)
        assert seen[0] == seen[1] == [b"%d" % number * 300 for number in range(1500)]
        assert log.read(0, 1499, 5) == [b"1499" * 300]
        assert log.read(0, 3, 1) == [b"3" * 300]


def test_a_log_without_topics_is_missing(kafka: Cluster) -> None:
    """Opening makes no topics; it says what does."""
    with pytest.raises(LogMissing, match="loopline topics ensure"):
        KafkaLog(Address.parse(kafka.address(unique_prefix())))


def test_a_truncated_log_is_refused(address: Address, admin: Any) -> None:
    """A log whose first blocks were deleted opens no more, and one that is open gives no wrong block."""
    with closing(KafkaLog(address)) as log:
        log.append([(0, b"%d" % number) for number in range(5)])
        admin.delete_records({TopicPartition(address.log_topic(1), 0): 3})
        with pytest.raises(LogTruncated, match="removed"):
            log.read(0, 1, 1)
    with pytest.raises(LogTruncated, match="begins at offset 3"):
        KafkaLog(address)


def test_a_recreated_log_is_another_one(address: Address, admin: Any) -> None:
    """A topic that was deleted and made again has another identity; one that was open is refused."""
    with closing(KafkaLog(address, look_every_s=0.0)) as log:
        log.append([(0, b"0")])
        before = log.identity
        admin.delete_topics([address.log_topic(1)])
        while address.log_topic(1) in admin.list_topics():
            pass
        ensure(address, PARTITIONS)
        with pytest.raises(LogRefused, match="another log"):
            log.ends()
    with closing(KafkaLog(address)) as log:
        assert log.identity.id != before.id


def test_a_log_that_lost_its_last_epoch_is_refused(address: Address, admin: Any) -> None:
    """It is no earlier epoch to go back to: what was acknowledged is gone, and both who look say so."""
    ensure(address, 5, new_epoch=True)
    with closing(KafkaLog(address, look_every_s=0.0)) as log:
        known, gone = log.identity, address.log_topic(2)
        admin.delete_topics([gone])
        while gone in admin.list_topics():
            pass
        with pytest.raises(LogRefused, match=f"{gone} existed and is gone"):
            log.ends()
        assert log.identity == known
    found = [each for each in check(address, known) if each.setting == "topic"]
    assert len(found) == 1
    assert "bring back the brokers' data" in found[0].remedy


def test_a_new_epoch_is_followed(address: Address) -> None:
    """Partitions are numbered on: what was written to the first epoch stays where it was."""
    with closing(KafkaLog(address, look_every_s=0.0)) as log:
        log.append([(2, b"old")])
        ensure(address, 5, new_epoch=True)
        assert log.ends() == {0: 0, 1: 0, 2: 1, 3: 0, 4: 0, 5: 0, 6: 0, 7: 0, DEAD: 0}
        assert log.identity == (log.identity.id, 2, 5, (3,))
        with pytest.raises(NotDurable) as refusal:
            log.append([(2, b"late")])
        assert refusal.value.kept is False
        log.append([(3, b"new")])
        assert [log.read(2, 0, 9), log.read(3, 0, 9)] == [[b"old"], [b"new"]]


def test_a_lost_epoch_is_refused(address: Address, admin: Any) -> None:
    """A log whose first topic is gone and whose second is there has lost blocks."""
    ensure(address, 2, new_epoch=True)
    admin.delete_topics([address.log_topic(1)])
    while address.log_topic(1) in admin.list_topics():
        pass
    with pytest.raises(LogRefused, match="lost an epoch"):
        KafkaLog(address)


def test_a_broker_that_is_away_is_named_and_comes_back(kafka: Cluster, address: Address) -> None:
    """Without a broker, reading says so by name; with it, the same log goes on."""
    with closing(KafkaLog(address)) as log:
        log.append([(0, b"0")])
        kafka.stop()
        try:
            with pytest.raises(LogUnavailable, match="no broker of kafka://"):
                log.ends()
        finally:
            kafka.start()
        assert log.ends()[0] == 1
        assert log.read(0, 0, 1) == [b"0"]


def test_ends_are_never_behind_what_was_acknowledged(address: Address) -> None:
    """Ends that were seen a while ago still cover what this process's appender knows to be there."""
    with closing(KafkaLog(address)) as log, closing(KafkaLog(address)) as other:
        assert log.ends()[0] == 0
        other.append([(0, b"0")])
        assert log.known_ends().ends[0] == 0
        log.acknowledged(0, 1)
        assert log.known_ends().ends[0] == 1


def test_a_refused_item_is_a_record_that_connect_tools_know(kafka: Cluster, address: Address) -> None:
    """A dead letter's record has the item as value, and headers in the way of Kafka Connect."""
    letter = DeadLetter(
        "unknown_type", "no such type", "e-1", "/shop", b'{"type": 1}', (address.intake, 2, 7)
    )
    with closing(KafkaLog(address)) as log:
        log.append([(DEAD, write_dead_letters(17, [letter]))])
    consumer = KafkaConsumer(
        address.dead_letters, bootstrap_servers=kafka.bootstrap, auto_offset_reset="earliest"
    )
    record = next(iter(consumer))
    consumer.close()
    assert record.value == b'{"type": 1}'
    assert dict(record.headers) == {
        "__connect.errors.topic": address.intake.encode(),
        "__connect.errors.partition": b"2",
        "__connect.errors.offset": b"7",
        "__connect.errors.stage": b"VALUE_CONVERTER",
        "__connect.errors.exception.class.name": b"loopline.unknown_type",
        "__connect.errors.exception.message": b"no such type",
        "__connect.errors.connector.name": address.prefix.encode(),
        "__connect.errors.task.id": b"0",
        "loopline.code": b"unknown_type",
        "loopline.id": b"e-1",
        "loopline.source": b"/shop",
        "loopline.received": b"17",
    }


def test_a_foreign_record_among_dead_letters_is_one(kafka: Cluster, address: Address) -> None:
    """What somebody else put into the topic is shown as a dead letter, and stops nobody."""
    producer = KafkaProducer(bootstrap_servers=kafka.bootstrap)
    producer.send(address.dead_letters, b"hello").get(10)
    producer.close()
    with closing(KafkaLog(address)) as log:
        [(received, letter)] = read_dead_letters(log.read(DEAD, 0, 10)[0])
    assert letter.bytes == b"hello"
    assert "not written by Loopline" in letter.detail
    assert received > 1_700_000_000_000_000_000


@pytest.mark.parametrize("value", [None, b"", b"x"])
def test_any_record_is_a_readable_letter(value: bytes | None) -> None:
    """Headers that are damaged, doubled or empty give a letter, never an error."""
    headers = [("loopline.code", b"\xff"), ("loopline.received", b"-1"), ("loopline.id", None)]
    [(received, letter)] = read_dead_letters(block_of(value, headers, -1))
    assert (received, letter.bytes) == (0, value or b"")


def test_addresses_come_back_from_their_text() -> None:
    """An address is read as it is written, and names topics by its prefix."""
    address = Address.parse("kafka://a:1,b.example:65535/shop.eu")
    assert address[:2] == (("a:1", "b.example:65535"), "shop.eu")
    assert Address.parse(str(address)) == address
    assert Address.parse("kafka://a:1").prefix == Address.parse("kafka://a:1/").prefix == "loopline"
    assert address.log_topic(2) == "shop.eu.log.2"
    assert (address.intake, address.dead_letters) == ("shop.eu.intake", "shop.eu.dead-letters")


_BAD = [
    "a:1",
    "kafka://",
    "kafka://a",
    "kafka://a:0",
    "kafka://a:65536",
    "kafka://a:1,",
    "kafka://a:1/b/c",
    "kafka://a..b:1",
]


@pytest.mark.parametrize(
    "text", [*_BAD, "kafka://a:1/ b", "http://a:1", "kafka://u:p@a:1", "kafka://a:1/" + "x" * 201]
)
def test_a_bad_address_is_refused(text: str) -> None:
    """What is no address is refused by name."""
    with pytest.raises(BadAddress):
        Address.parse(text)
