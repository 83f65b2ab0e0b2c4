"""A worker is ready while it works and moves; alive is not enough, and it says why."""

from __future__ import annotations

import http.client
import json
import socket
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager

from feedback.server.door import InThread
from feedback.server.hosts import Hosts
from streams.kafka.address import Address
from streams.kafka.worker.engine import Engine
from streams.kafka.worker.health import Health
from streams.kafka.worker.progress import REFUSED, RUNNING, WAITING, WorkerProgress
from streams.log.port import DEAD, Log, LogIdentity, LogUnavailable
from streams.store.memory import MemoryStore


class Clock:
    """A clock that is set by hand."""

    def __init__(self) -> None:
        self.now = 100.0

    def __call__(self) -> float:
        return self.now


def working() -> tuple[WorkerProgress, Clock]:
    """A worker that has partitions 0 and DEAD, and is at their ends."""
    clock = Clock()
    progress = WorkerProgress(clock)
    progress.says(RUNNING)
    progress.assigned({0: 5, DEAD: 0})
    progress.ended({0: 5, 1: 90, DEAD: 0})
    return progress, clock


@contextmanager
def served(progress: WorkerProgress) -> Iterator[http.client.HTTPConnection]:
    """A connection to the health server of a worker."""
    listening = socket.create_server(("127.0.0.1", 0))
    health = InThread(Health(progress), listening, Hosts())
    connection = http.client.HTTPConnection("127.0.0.1", listening.getsockname()[1], timeout=5)
    try:
        yield connection
    finally:
        connection.close()
        health.close()


def asked(connection: http.client.HTTPConnection, path: str) -> tuple[int, str]:
    """Status and body of an answer."""
    connection.request("GET", path)
    answer = connection.getresponse()
    return answer.status, answer.read().decode()


def test_not_ready_before_it_works() -> None:
    """A worker that has not joined its group says so, from the first moment on."""
    assert WorkerProgress().reasons() == ["the worker is starting"]


def test_nothing_to_do_is_ready() -> None:
    """At its partitions' ends a worker is ready however long; others' partitions are no matter."""
    progress, clock = working()
    clock.now += 1_000
    assert progress.reasons() == []


def test_blocks_that_wait_while_nothing_moves_are_told_within_thirty_seconds() -> None:
    """Stuck is: blocks are there and the position stands still; counted from the first of them."""
    progress, clock = working()
    clock.now += 1_000
    progress.ended({0: 7, DEAD: 0})
    clock.now += 14
    assert progress.reasons() == []
    progress.ended({0: 9, DEAD: 0})
    clock.now += 2
    (reason,) = progress.reasons()
    assert "4 blocks wait at 0:5 and nothing has moved for 16 s" in reason


def test_slow_is_not_stuck() -> None:
    """A worker that is behind and moves is ready, whatever its lag."""
    progress, clock = working()
    progress.ended({0: 1_000, DEAD: 0})
    for position in range(6, 20):
        clock.now += 10
        progress.applied({0: position})
        assert progress.reasons() == []
    assert progress.behind() == 981


def test_one_partition_that_stands_still_is_told_by_name_while_others_move() -> None:
    """However busy the others are; and when none moves any more, that is told instead."""
    progress, clock = working()
    progress.assigned({0: 5, 1: 90, DEAD: 0})
    progress.ended({0: 7, 1: 95, DEAD: 1})
    for position in range(91, 95):
        clock.now += 5
        progress.applied({1: position, DEAD: 1})
    assert progress.reasons() == ["partition 0 has not moved for 20 s while others did: 2 blocks wait at 5"]
    assert (progress.nothing_moves_s(), progress.one_stands_still_s()) == (0, 20)
    clock.now += 16
    assert progress.reasons() == ["3 blocks wait at 0:5,1:94 and nothing has moved for 16 s"]
    assert (progress.nothing_moves_s(), progress.one_stands_still_s()) == (16, 36)
    progress.applied({0: 7, 1: 95})
    assert progress.reasons() == []
    assert (progress.nothing_moves_s(), progress.one_stands_still_s()) == (0, 0)


def test_a_partition_that_comes_back_where_it_stood_has_stood_still() -> None:
    """Partitions that are handed to and fro are moved by nobody; one that another worker moved is well."""
    progress, clock = working()
    progress.ended({0: 9, 1: 95, DEAD: 0})
    clock.now += 10
    progress.keeps(())
    progress.assigned({1: 90})
    clock.now += 10
    progress.assigned({0: 5, 1: 94})
    assert progress.reasons() == ["partition 0 has not moved for 20 s while others did: 4 blocks wait at 5"]
    clock.now += 10
    assert progress.one_stands_still_s() == 30


def test_a_silent_log_keeps_the_partitions() -> None:
    """How far the log goes is not known then, and no other worker could do better."""
    progress, clock = working()
    progress.ended({0: 9, DEAD: 0})
    clock.now += 20
    progress.silent("no broker answers")
    assert (progress.nothing_moves_s(), progress.one_stands_still_s()) == (0, 0)
    assert progress.behind() == 4


def test_a_lag_that_nobody_knows_is_no_number() -> None:
    """Before the group is joined, before the log has answered, and after the partitions were given up."""
    progress = WorkerProgress(Clock())
    assert progress.behind() is None
    progress.ended({0: 5})
    assert progress.behind() is None
    progress.assigned({0: 3, 1: 2})
    assert (progress.behind(), progress.lag()) == (None, {0: 2})
    progress.ended({0: 5, 1: 2})
    assert progress.behind() == 2
    progress.left("it gave its partitions up")
    progress.keeps(())
    assert (progress.behind(), progress.lag()) == (None, {})
    assert progress.reasons() == ["the worker is waiting: it gave its partitions up"]
    progress.assigned({})
    assert progress.behind() == 0


def test_being_given_partitions_again_and_again_is_no_progress() -> None:
    """A worker that is only ever assigned the same partitions at the same positions is stuck."""
    progress, clock = working()
    progress.ended({0: 9, DEAD: 0})
    for _ in range(4):
        clock.now += 5
        progress.assigned({0: 5, DEAD: 0})
    assert len(progress.reasons()) == 1


def test_a_log_that_does_not_answer_is_told() -> None:
    """A worker that cannot know whether it is behind is not ready, after a while."""
    progress, clock = working()
    progress.silent("connection refused")
    assert progress.reasons() == []
    clock.now += 16
    progress.silent("connection refused")
    assert progress.reasons() == ["the log has not answered for 16 s: connection refused"]
    progress.ended({0: 5})
    assert progress.reasons() == []


def test_whoever_waits_or_refuses_is_not_ready() -> None:
    """The reason of a refusal, and of waiting for the store, is in the answer at once."""
    progress, _ = working()
    progress.says(WAITING, "the store is away")
    assert progress.reasons() == ["the worker is waiting: the store is away"]
    progress.says(REFUSED, "another log")
    assert progress.reasons() == ["the worker refuses to run: another log"]


def test_a_worker_that_does_not_come_round_is_not_well() -> None:
    """/healthz says so, for whoever ends it; one that waits for its store comes round."""
    progress, clock = working()
    with served(progress) as connection:
        progress.says(WAITING, "the store is away")
        clock.now += 4
        assert asked(connection, "/healthz")[0] == 200
        clock.now += 2
        assert asked(connection, "/healthz") == (500, '{"status": "the worker hangs"}')
        progress.turned()
        assert asked(connection, "/healthz")[0] == 200


def test_health_is_served_as_people_and_machines_read_it() -> None:
    """/healthz is 200 while the worker turns, /readyz 200 or 503 with reasons, /metrics text."""
    progress, _ = working()
    with served(progress) as connection:
        assert asked(connection, "/healthz") == (200, '{"status": "ok"}')
        status, body = asked(connection, "/readyz")
        assert (status, json.loads(body)["status"]) == (200, "ready")
        progress.ended({0: 7, DEAD: 0})
        progress.says(REFUSED, "another log")
        status, body = asked(connection, "/readyz")
        assert status == 503
        assert json.loads(body) == {
            "status": "unavailable",
            "reasons": ["the worker refuses to run: another log"],
            "worker": "refused",
            "partitions": "0:5,dead:0",
            "lag_blocks": 2,
        }
        status, text = asked(connection, "/metrics?now")
        assert status == 200
        assert 'loopline_worker_lag_blocks{partition="0"} 2.0' in text
        assert 'loopline_worker_lag_blocks{partition="dead"} 0.0' in text
        assert "loopline_worker_ready 0.0" in text
        assert asked(connection, "/other")[0] == 404


def test_a_worker_whose_clock_is_wrong_is_degraded() -> None:
    """It goes on working, says by how much PostgreSQL's clock differs, and shows it as a number."""
    progress, _ = working()
    progress.clocks.heard("PostgreSQL", time.time_ns() - 60 * 10**9, progress.clocks.moment())
    with served(progress) as connection:
        status, body = asked(connection, "/readyz")
        said = json.loads(body)
        assert (status, said["status"]) == (200, "degraded")
        assert said["reasons"][0].startswith("this machine's clock is 60.0 s ahead of that of PostgreSQL: ")
        _, text = asked(connection, "/metrics")
        assert 'loopline_clock_skew_seconds{against="PostgreSQL"} 59.9' in text.replace("} 60.0", "} 59.9")


def test_a_worker_that_tries_again_still_says_what_it_waits_for() -> None:
    """A try may take long, and whoever asks meanwhile is told why the last one failed."""
    stop, said = threading.Event(), list[list[str]]()

    def away(_: Address) -> Log:
        said.append(engine.progress.reasons())
        if len(said) == 2:
            stop.set()
        raise LogUnavailable("nobody there")

    store = MemoryStore(LogIdentity("log", 1, 1))
    engine = Engine(Address.parse("kafka://127.0.0.1:1"), lambda: store, open_log=away)
    engine.run(stop)
    assert said == [["the worker is starting"], ["the worker is waiting: LogUnavailable: nobody there"]]
