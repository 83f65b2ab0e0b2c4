"""Brokers and PostgreSQL stop, die and freeze under load; what was acknowledged is there once."""

from __future__ import annotations

import secrets
import time
from collections.abc import Iterator

import pytest

from tests.broker.checks import check_promise, counts
from tests.crash.load import Load, crossing
from tests.feedback.running import until
from tests.services.deployment import Deployment, Member
from tests.services.kafka.broker import Cluster
from tests.services.kafka.leaders import leaders_of, move_leaders
from tests.services.postgres import PostgresServer


def _reached(load: Load, share: float) -> None:
    until(lambda: load.done() >= load.sent * share, f"{share:.0%} of the load")


def _running(loopline: Deployment, batches: int = 80) -> Load:
    """Two collectors, two workers, and a load under way."""
    loopline.collect(2)
    loopline.work(2)
    load = Load(loopline.address, senders=3, batches=batches, make=crossing)
    load.start()
    _reached(load, 0.2)
    return load


@pytest.mark.parametrize("end", ["stop", "kill"])
def test_the_broker_goes_and_comes_back(loopline: Deployment, kafka: Cluster, end: str) -> None:
    """While it is away collectors answer 503, and logs stay short; when it is back nothing is missing."""
    load = _running(loopline)
    members = [*loopline.collectors, *loopline.workers]
    lines = {member: len(member.lines()) for member in members}
    getattr(kafka, end)()
    before = load.done()
    time.sleep(2 if end == "stop" else 10)
    assert load.done() - before <= load.sent * 0.1
    # A client of a broker that is away says so many times a second; what matters is told, and not buried.
    for member, known in lines.items():
        said = [line for line in member.lines()[known:] if "items were refused" not in line]
        assert len(said) < 40, "\n".join(said)
    kafka.start()
    load.wait()
    assert load.retries > 0
    check_promise(loopline, load)
    for collector in loopline.collectors:
        assert any("appends succeed again" in line for line in collector.lines())


def test_the_brokers_connection_freezes_for_a_while(loopline: Deployment, kafka: Cluster) -> None:
    """A broker that hangs without closing a connection is waited for or given up, and counted on once."""
    load = _running(loopline)
    kafka.freeze()
    try:
        time.sleep(12)
    finally:
        kafka.thaw()
    load.wait()
    check_promise(loopline, load)


def test_one_of_three_brokers_dies(kafka_cluster: Cluster, postgres_url: str) -> None:
    """With three replicas, two in sync are enough: the load goes on over the death of any one broker."""
    log = kafka_cluster.address(f"t{secrets.token_hex(4)}")
    with Deployment(log, postgres_url, replication=3) as loopline:
        load = _running(loopline)
        kafka_cluster.brokers[0].kill()
        try:
            load.wait()
            check_promise(loopline, load)
        finally:
            kafka_cluster.start()


def test_leaders_move_and_a_broker_hangs(kafka_cluster: Cluster, postgres_url: str) -> None:
    """Leaders that move keep nobody waiting; one broker that hangs keeps nobody from the others for long."""
    log = kafka_cluster.address(f"t{secrets.token_hex(4)}")
    prefix = log.rpartition("/")[2]
    topics = [f"{prefix}.{name}" for name in ("log.1", "dead-letters", "intake")]
    with Deployment(log, postgres_url, replication=3) as loopline:
        members = [*loopline.collect(2), *loopline.work(2)]

        def slowly() -> tuple[str, int]:
            time.sleep(0.1)
            return loopline.address()

        load = Load(slowly, senders=3, batches=50, make=crossing)
        load.start()
        _reached(load, 0.2)
        move_leaders(kafka_cluster.bootstrap, [*topics, "__consumer_offsets"])
        began = time.monotonic()
        while not all(member.get("/readyz")[1]["status"] == "ready" for member in members):
            assert time.monotonic() - began < 5, [member.get("/readyz") for member in members]
        assert sum(counts(loopline).values()) > 0
        _reached(load, 0.5)
        hanging = leaders_of(kafka_cluster.bootstrap, topics[0])[0]
        with kafka_cluster.frozen(kafka_cluster.brokers[hanging - 1]):
            # Until Kafka misses it, nothing is acknowledged that it has to have a copy of.
            before, waiting = load.done(), True
            while waiting or load.done() == before:
                waiting = False
                for collector in loopline.collectors:
                    assert _answers(collector, "/v1/counts?by=kind")
                    status, said = collector.get("/readyz")
                    assert status == 200 or "acknowledge" in said["reasons"][0], said
                    waiting = waiting or status != 200
            # Whoever takes appends is in use, though the broker hangs on.
            for _ in range(10):
                for collector in loopline.collectors:
                    assert collector.get("/readyz")[0] == 200
                    assert _answers(collector, "/v1/counts?by=kind")
        load.wait()
        check_promise(loopline, load)


def _answers(member: Member, path: str) -> bool:
    """Whether a read is answered, in seconds."""
    began = time.monotonic()
    return member.get(path)[0] == 200 and time.monotonic() - began < 5


@pytest.fixture
def own_postgres(postgres: PostgresServer) -> Iterator[PostgresServer]:
    """A server that this test may stop; started again for those that come after."""
    yield postgres
    postgres.start()


@pytest.mark.parametrize("crash", [False, True])
def test_postgres_restarts_under_load(kafka: Cluster, own_postgres: PostgresServer, crash: bool) -> None:
    """Collectors go on acknowledging while PostgreSQL is away, and workers go on from its position."""
    log = kafka.address(f"t{secrets.token_hex(4)}")
    with Deployment(log, own_postgres.fresh_database()) as loopline:
        load = _running(loopline)
        own_postgres.stop(crash=crash)
        before = load.done()
        until(lambda: load.done() > before, "events to be acknowledged without PostgreSQL")
        own_postgres.start()
        load.wait()
        check_promise(loopline, load)
