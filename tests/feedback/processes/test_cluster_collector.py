"""Collectors of a cluster: what they answer while another machine is away, and how they end."""

from __future__ import annotations

import os
import secrets
import signal
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from datetime import UTC, datetime
from functools import partial
from typing import Any

import pytest

from feedback.processes.cluster_collector import NEW_EPOCH
from tests.feedback.running import event, lines, prediction, until
from tests.services.deployment import Deployment, Member
from tests.services.kafka.broker import Cluster
from tests.services.postgres import PostgresServer

pytestmark = [pytest.mark.broker, pytest.mark.postgres, pytest.mark.timeout(180)]


@pytest.fixture
def deployment(kafka: Cluster, postgres: PostgresServer) -> Iterator[Deployment]:
    """An empty deployment on servers that a test may stop; they are started again."""
    log = kafka.address(f"t{secrets.token_hex(4)}")
    with Deployment(log, postgres.fresh_database(), partitions=2) as made:
        yield made
    kafka.start()
    postgres.start()


def post(member: Member, *events: dict[str, Any]) -> tuple[int, Any]:
    """Send events to a collector; gives the status and the headers or the body."""
    request = urllib.request.Request(
        f"{member.url}/v1/events", lines(*events), {"Content-Type": "application/x-ndjson"}
    )
    try:
        with urllib.request.urlopen(request, timeout=30) as answer:
            return answer.status, answer.read()
    except urllib.error.HTTPError as error:
        with error:
            return error.code, error.headers


def test_events_are_taken_while_postgres_is_away(deployment: Deployment, postgres: PostgresServer) -> None:
    """Reads are 503 with Retry-After, the collector says why and stays in use, and nothing is missed."""
    (collector,) = deployment.collect()
    deployment.work()
    assert post(collector, prediction(1))[0] == 200
    postgres.stop()
    assert post(collector, prediction(2))[0] == 200
    with pytest.raises(urllib.error.HTTPError) as refusal:
        urllib.request.urlopen(f"{collector.url}/v1/waiting", timeout=30)
    with refusal.value as answer:
        assert answer.code == 503
        assert answer.headers["Retry-After"] == "1"
        assert answer.headers["Content-Type"] == "application/problem+json"
    status, said = collector.get("/readyz")
    assert (status, said["status"]) == (200, "degraded")
    assert "PostgreSQL" in said["reasons"][0]
    postgres.start()
    until(lambda: collector.get("/v1/predictions/p-2")[0] == 200, "the views to follow")
    until(lambda: collector.get("/readyz")[1]["status"] == "ready", "a collector without reasons")


def test_a_collector_starts_without_postgres(deployment: Deployment, postgres: PostgresServer) -> None:
    """What can be written down is written down; the views come later."""
    postgres.stop()
    (collector,) = deployment.collect()
    assert post(collector, prediction(1))[0] == 200
    postgres.start()
    deployment.work()
    until(lambda: collector.get("/v1/predictions/p-1")[0] == 200, "the views to follow")


def test_views_of_another_log_are_not_taken_for_this_ones(deployment: Deployment, kafka: Cluster) -> None:
    """Where somebody built the views from another log meanwhile, reads are 503 and say so, and not 404."""
    (collector,) = deployment.collect()
    deployment.work()
    assert post(collector, prediction(1))[0] == 200
    until(lambda: collector.get("/v1/predictions/p-1")[0] == 200, "the views to follow")
    other = {"LOOPLINE_LOG": kafka.address(f"t{secrets.token_hex(4)}")}
    for words in (["topics", "ensure", "--replication", "1"], ["replay"]):
        made = deployment.command(*words, **other)
        assert made.returncode == 0, made.stderr
    answers: list[tuple[int, str]] = []

    def told() -> bool:
        status, answer = collector.get("/v1/predictions/p-1")
        answers.append((status, answer.get("detail", "")))
        return "those of the log" in answers[-1][1]

    until(told, "the collector to look again")
    assert {status for status, _ in answers} <= {200, 503}
    status, said = collector.get("/readyz")
    assert (status, said["status"]) == (200, "degraded")
    assert "loopline replay" in said["reasons"][0]
    assert post(collector, prediction(2))[0] == 200
    assert deployment.command("replay").returncode == 0
    until(lambda: collector.get("/v1/predictions/p-2")[0] == 200, "the views of this log")


def _found(collector: Member, path: str) -> bool:
    return collector.get(path)[0] == 200


def test_without_brokers_nothing_is_taken(deployment: Deployment, kafka: Cluster) -> None:
    """503 with Retry-After, not ready, reads as of then; it passes, and the retry counts once."""
    (collector,) = deployment.collect()
    deployment.work()
    assert post(collector, prediction(1))[0] == 200
    until(lambda: collector.get("/v1/predictions/p-1")[0] == 200, "the views to follow")
    kafka.stop()
    stopped = datetime.now(UTC)
    status, headers = post(collector, prediction(2))
    assert status == 503
    assert int(headers["Retry-After"]) >= 1
    assert collector.get("/readyz")[0] == 503
    status, counts = collector.get("/v1/counts?by=kind")
    assert (status, counts["items"][0]["n"]) == (200, 1)
    assert datetime.fromisoformat(counts["complete_up_to"]) <= stopped
    kafka.start()
    until(lambda: post(collector, prediction(2))[0] == 200, "the brokers to be written to")
    until(lambda: collector.get("/v1/predictions/p-2")[0] == 200, "the views to follow")
    collector.ready()
    items = collector.get("/v1/counts?by=kind")[1]["items"]
    assert [(each["n"], each["events"]) for each in items] == [(2, 2)]


def test_what_was_taken_is_in_the_log_when_a_collector_has_ended(deployment: Deployment) -> None:
    """SIGTERM: the answers are given, the intake's records are committed, and the status is 0."""
    collector, other = deployment.collect(2)
    deployment.work()
    thumb = event("feedback.thumb", 1, prediction_id="p-1", person="u", value="up")
    assert post(collector, prediction(1), thumb)[0] == 200
    assert collector.end() == 0
    until(lambda: other.get("/readyz")[1]["lag_blocks"] == 0, "the views to follow")
    assert other.get("/v1/predictions/p-1")[1]["feedback"][0]["id"] == "e-1"


def test_a_collector_ends_with_a_status_of_its_own_at_a_new_epoch(deployment: Deployment) -> None:
    """Also one that nobody sends to: whoever watches over it starts it again, and it goes on there."""
    (collector,) = deployment.collect()
    deployment.work()
    assert post(collector, prediction(1))[0] == 200
    made = deployment.command("topics", "ensure", "--partitions", 3, "--new-epoch")
    assert made.returncode == 0, made.stderr
    assert collector.wait() == NEW_EPOCH
    assert "start this collector again" in collector.said()
    collector.start().ready()
    assert post(collector, prediction(2))[0] == 200
    for prediction_id in ("p-1", "p-2"):
        path = f"/v1/predictions/{prediction_id}"
        until(partial(_found, collector, path), "the views to follow")
    assert deployment.command("verify").returncode == 0


def test_a_postgres_that_hangs_shuts_no_way_in(deployment: Deployment, postgres: PostgresServer) -> None:
    """It takes connections and answers nothing: events are taken, `/readyz` answers, and the end comes."""
    (collector,) = deployment.collect()
    deployment.work()
    assert post(collector, prediction(1))[0] == 200
    until(lambda: collector.get("/v1/predictions/p-1")[0] == 200, "the views to follow")
    pids = postgres.pids()
    for pid in pids:
        os.kill(pid, signal.SIGSTOP)
    try:
        for _ in range(6):
            started = time.monotonic()
            status, said = collector.get("/readyz")
            assert time.monotonic() - started < 5
            assert status == 200
        assert (said["status"], said["reasons"]) == ("degraded", ["the views do not answer within 3 s"])
        assert said["lag_blocks"] is None
        assert post(collector, prediction(2))[0] == 200
        for _ in range(2):
            with pytest.raises(TimeoutError):
                urllib.request.urlopen(f"{collector.url}/v1/waiting", timeout=1)
        for _ in range(3):
            started = time.monotonic()
            assert collector.get(f"/v1/overrides/m?person=ann&input_ref={'ab' * 32}")[0] == 503
            assert time.monotonic() - started < 5
        with urllib.request.urlopen(f"{collector.url}/metrics", timeout=2) as answer:
            told = answer.read()
        assert b"loopline_events_accepted_total 2.0" in told
        assert b"loopline_worker_lag_blocks" not in told
        assert collector.get("/v1/datasets") == (200, {"items": [], "next": None})
        assert collector.end() == 0
    finally:
        for pid in pids:
            os.kill(pid, signal.SIGCONT)
    collector.start().ready()
    until(lambda: collector.get("/v1/predictions/p-2")[0] == 200, "the views to follow")
