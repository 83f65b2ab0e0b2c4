"""The log on three brokers: a leader moves, or hangs, and reading goes on."""

from __future__ import annotations

import asyncio
import contextlib
import socket
import threading
import time
from collections.abc import Callable, Coroutine
from contextlib import closing
from types import SimpleNamespace
from typing import Any, cast

import pytest
from kafka import TopicPartition
from kafka.errors import NotLeaderForPartitionError
from kafka.protocol.consumer import OffsetSpec

from loopline.backoff import RetryPolicy
from streams.kafka import brokers as module
from streams.kafka import connect
from streams.kafka.address import Address
from streams.kafka.brokers import Brokers, Leader
from streams.kafka.connect import answering
from streams.kafka.log.reader import KafkaLog
from streams.kafka.security import KafkaRefused
from streams.kafka.topics.admin import ensure
from streams.log.port import DEAD, LogUnavailable
from tests.services.kafka.broker import Cluster
from tests.services.kafka.fixtures import unique_prefix
from tests.services.kafka.leaders import leaders_of, move_leaders
from tests.streams.kafka.worker.workers import until

BLOCKS = [b"%d" % number for number in range(20)]


class Forgotten(dict[TopicPartition, Leader]):
    """Leaders that another thread forgets as soon as one of them was looked at."""

    def __contains__(self, topic_partition: object) -> bool:
        return self.pop(cast(Any, topic_partition), None) is not None

    def __getitem__(self, topic_partition: TopicPartition) -> Leader:
        return self.pop(topic_partition)

    def get(self, topic_partition: TopicPartition, default: Any = None) -> Any:
        """Its leader, once."""
        return self.pop(topic_partition, default)


class Manager:
    """What `Brokers` needs of the client: one broker, that leads everything and says it does not."""

    def __init__(self) -> None:
        self._conns = dict[int, Any]()
        self.cluster = SimpleNamespace(
            brokers=lambda: [SimpleNamespace(node_id=1)], broker_metadata=lambda node: node
        )

    def run(self, ask: Callable[..., Coroutine[Any, Any, None]], *words: Any) -> None:
        """Ask on a loop."""
        asyncio.run(ask(*words))

    def call_soon(self, send: Callable[..., Coroutine[Any, Any, Any]], *words: Any) -> Any:
        """Ask meanwhile."""
        return asyncio.ensure_future(send(*words))

    async def wait_for(self, answer: Coroutine[Any, Any, Any], _: float) -> Any:
        """Wait."""
        return await answer

    async def send(self, request: Any, **_: Any) -> Any:
        """Who leads; and what who does not lead says of an offset."""
        partition = SimpleNamespace(partition_index=0, leader_id=1, leader_epoch=1, offset=0)
        partition.error_code = NotLeaderForPartitionError.errno
        topic = SimpleNamespace(name="t", topic_id="id", error_code=0, partitions=[partition])
        return SimpleNamespace(topics=[topic])


def test_a_leader_that_another_thread_forgets_is_one_that_does_not_answer() -> None:
    """Between any two looks at what is known of leaders: that is no error of this thread's."""
    brokers = Brokers(Address.parse("kafka://127.0.0.1:1"), 0.1)
    brokers._client = SimpleNamespace(_manager=Manager(), close=lambda: None)
    brokers._leaders = Forgotten()
    found, missing = brokers.offsets([TopicPartition("t", 0)], OffsetSpec.LATEST)
    assert found == {}
    assert isinstance(missing, LogUnavailable)


@pytest.mark.parametrize("error", [LogUnavailable("away"), KafkaRefused("the user is not taken")])
def test_who_was_refused_does_not_ask_again_at_once(
    monkeypatch: pytest.MonkeyPatch, error: Exception
) -> None:
    """Many threads, one try to connect: brokers lock out whoever is refused too often."""
    tries: list[int] = []

    def connected(*_: object, **__: object) -> None:
        tries.append(1)
        raise error

    monkeypatch.setattr(module, "connected", connected)
    address = Address.parse("kafka://127.0.0.1:1")
    brokers = Brokers(address, 0.1, retry=RetryPolicy(0.02, 60.0), refused_s=60.0)
    for _ in range(3):
        with pytest.raises(type(error), match=str(error)):
            brokers.client  # noqa: B018 -- a property that connects
    assert len(tries) == 1


def unavailable(log: KafkaLog) -> None:
    """Nobody gives the first partition's blocks."""
    with pytest.raises(LogUnavailable):
        log.read(0, 0, 1)


@pytest.mark.broker
def test_a_leader_that_moved_is_found_at_once(kafka_cluster: Cluster) -> None:
    """Leaders move while all brokers stay up: ends, reads and appends go on with the new ones."""
    address = Address.parse(kafka_cluster.address(unique_prefix()))
    ensure(address, 3)
    with closing(KafkaLog(address)) as log:
        for _ in range(2):
            log.append([(partition, block) for block in BLOCKS for partition in (0, 1, 2)])
            before = log.ends()
            move_leaders(kafka_cluster.bootstrap, [address.log_topic(1), address.dead_letters])
            began = time.monotonic()
            assert log.ends() == before
            assert [log.read(partition, 0, 20) for partition in (0, 1, 2)] == [BLOCKS] * 3
            assert time.monotonic() - began < 5
        assert log.ends() == {0: 40, 1: 40, 2: 40, DEAD: 0}


@pytest.mark.broker
def test_a_broker_that_hangs_keeps_nobody_from_what_others_lead(kafka_cluster: Cluster) -> None:
    """What the two others lead is read as ever; the rest once Kafka has given it to them, in seconds."""
    address = Address.parse(kafka_cluster.address(unique_prefix()))
    ensure(address, 6)
    with closing(KafkaLog(address, patience_s=1.0)) as log:
        log.append([(partition, block) for block in BLOCKS for partition in range(6)])
        before = log.ends()
        leaders = leaders_of(kafka_cluster.bootstrap, address.log_topic(1))
        hanging = kafka_cluster.brokers[leaders[0] - 1]
        others = [partition for partition, leader in leaders.items() if leader != hanging.id]
        with kafka_cluster.frozen(hanging):
            began = time.monotonic()
            waiting = threading.Thread(target=unavailable, args=(log,))
            waiting.start()
            for partition in others:
                assert log.read(partition, 0, 20) == BLOCKS
                assert log.known_ends().ends == before
            assert waiting.is_alive(), "they waited for the one that hangs"
            waiting.join()
            with pytest.raises(LogUnavailable, match="does not answer"):
                log.ends()
            assert log.known_ends().age_s >= time.monotonic() - began

            def whole() -> bool:
                try:
                    return log.ends() == before and log.read(0, 0, 20) == BLOCKS
                except LogUnavailable:
                    return False

            until(whole, "the partitions of the broker that hangs")
            began = time.monotonic()
            with closing(KafkaLog(address)) as another:
                assert another.ends() == before
            assert time.monotonic() - began < 4
        assert log.ends() == before


def test_servers_that_are_silent_are_not_connected_to() -> None:
    """A machine takes connections for a process that hangs; one that says anything, or hangs up, answers."""
    with socket.create_server(("127.0.0.1", 0)) as silent, socket.create_server(("127.0.0.1", 0)) as rude:
        address = Address(tuple(f"127.0.0.1:{each.getsockname()[1]}" for each in (silent, rude)))

        def hang_up() -> None:
            rude.accept()[0].close()

        hanging_up = threading.Thread(target=hang_up)
        hanging_up.start()
        assert answering(address) == [address.servers[1]]
        hanging_up.join()
        with pytest.raises(LogUnavailable, match="no broker of kafka://"):
            answering(Address(address.servers[:1]))


def test_a_client_that_cannot_be_made_leaves_no_thread(monkeypatch: pytest.MonkeyPatch) -> None:
    """Somebody asks again every few seconds, for as long as the brokers are away."""
    monkeypatch.setattr(connect, "CLIENT", {**connect.CLIENT, "bootstrap_timeout_ms": 200})
    with socket.create_server(("127.0.0.1", 0)) as rude:

        def hang_up() -> None:
            with contextlib.suppress(OSError):
                while True:
                    rude.accept()[0].close()

        hanging_up = threading.Thread(target=hang_up)
        hanging_up.start()
        before = threading.active_count()
        with pytest.raises(LogUnavailable, match="no broker of kafka://"):
            KafkaLog(Address((f"127.0.0.1:{rude.getsockname()[1]}",)))
        until(lambda: threading.active_count() <= before, "threads to end")
        rude.shutdown(socket.SHUT_RDWR)
        hanging_up.join()
