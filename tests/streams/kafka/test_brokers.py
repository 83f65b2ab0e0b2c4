"""The log on three brokers: a leader moves, or hangs, and reading goes on."""

from __future__ import annotations

import contextlib
import socket
import threading
import time
from contextlib import closing

import pytest

from streams.kafka import connecting
from streams.kafka.address import Address
from streams.kafka.connecting import answering
from streams.kafka.log import KafkaLog
from streams.kafka.topics import ensure
from streams.log.port import DEAD, LogUnavailable
from tests.kafka.broker import Cluster
from tests.kafka.fixtures import unique_prefix
from tests.kafka.leaders import leaders_of, move_leaders
from tests.streams.kafka.working import until

BLOCKS = [b"%d" % number for number in range(20)]


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
    monkeypatch.setattr(connecting, "CLIENT", {**connecting.CLIENT, "bootstrap_timeout_ms": 200})
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
