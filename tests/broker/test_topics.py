"""Brokers and topics that are not as they should be: found by commands, said by whoever waits for them."""

from __future__ import annotations

import contextlib
import json
import urllib.error
import urllib.request
from typing import Any

from kafka.admin import ConfigResource, ConfigResourceType, KafkaAdminClient

from streams.kafka.topics.availability import OFFSETS
from tests.broker.checks import check_identical, counts
from tests.feedback.running import lines, prediction, until
from tests.services.deployment import Deployment, Member
from tests.services.kafka.broker import Cluster

HEALS = "topics ensure --new-epoch"


def said(member: Member, text: str) -> None:
    """Wait until `/readyz` of a member has a text."""

    def says_so() -> bool:
        with contextlib.suppress(OSError):
            return text in json.dumps(member.get("/readyz")[1])
        return False

    until(says_so, f"{member.kind} to say {text!r}")


def send(collector: Member, number: int) -> int:
    """The status with which one prediction is answered."""
    request = urllib.request.Request(
        f"{collector.url}/v1/events", lines(prediction(number)), {"Content-Type": "application/x-ndjson"}
    )
    try:
        with urllib.request.urlopen(request, timeout=20) as answer:
            return int(answer.status)
    except urllib.error.HTTPError as error:
        error.close()
        return error.code


def test_a_group_without_a_coordinator_is_said_by_all(postgres_url: str) -> None:
    """One broker that is to make three copies of `__consumer_offsets` makes none, and nobody gets partitions.

    Commands find it, and what else is odd; worker and collector say it, and go on once it is there.
    """
    settings = {
        "offsets.topic.replication.factor": "3",
        "auto.create.topics.enable": "true",
        "offsets.retention.minutes": "60",
    }
    with Cluster(settings=settings) as kafka, Deployment(kafka.address("odd"), postgres_url) as loopline:
        admin = KafkaAdminClient(bootstrap_servers=kafka.bootstrap)
        admin.create_topics({"odd.stray": {"num_partitions": 1, "replication_factor": 1}})
        shown = loopline.command("topics", "show")
        assert shown.returncode == 1
        for each in ("replication.factor is 3", "auto.create.topics", "offsets.retention", "odd.stray"):
            assert each in shown.stdout
        collector, worker = loopline.member("collector").start(), loopline.member("worker").start()
        said(worker, "no worker gets partitions")
        said(collector, "the intake is not read")
        assert collector.get("/readyz")[0] == 200
        assert send(collector, 1) == 200
        admin.create_topics({OFFSETS: _offsets()})
        admin.close()
        worker.ready()
        until(lambda: counts(loopline) == {"prediction.made": 1}, "the event to be in the views")
        until(lambda: collector.get("/readyz")[1]["status"] == "ready", "the intake to be read")


def _offsets() -> dict[str, Any]:
    return {"num_partitions": 3, "replication_factor": 1, "configs": {"cleanup.policy": "compact"}}


def test_a_half_made_epoch_is_said_and_finished(loopline: Deployment) -> None:
    """A sealed epoch without a next one: reads go on, everybody names the command, and it mends it.

    When the next one is deleted, everybody says so, and nobody makes an empty one in its place.
    """
    (collector,) = loopline.collect()
    (worker,) = loopline.work()
    assert send(collector, 1) == 200
    log = loopline.variables["LOOPLINE_LOG"].removeprefix("kafka://")
    servers, _, prefix = log.partition("/")
    admin = KafkaAdminClient(bootstrap_servers=servers)
    limit = {"max.message.bytes": "1"}
    admin.alter_configs([ConfigResource(ConfigResourceType.TOPIC, f"{prefix}.log.1", limit)])
    admin.close()
    until(lambda: send(collector, 2) == 503, "the collector to meet the seal")
    said(collector, HEALS)
    assert collector.get("/readyz")[0] == 503
    assert counts(loopline)["prediction.made"] >= 1
    assert collector.end() == 1
    assert HEALS in collector.said()
    said(collector.start(), HEALS)
    shown = loopline.command("topics", "show")
    assert shown.returncode == 1
    assert "--new-epoch" in shown.stdout
    seen = counts(loopline)["prediction.made"]
    made = loopline.command("topics", "ensure", "--partitions", 2, "--new-epoch")
    assert made.returncode == 0, made.stderr
    assert collector.wait() == 4
    collector.start().ready()
    assert send(collector, 3) == 200
    until(lambda: counts(loopline) == {"prediction.made": seen + 1}, "the new epoch to be in the views")
    assert worker.running
    check_identical(loopline)
    again = loopline.command("topics", "ensure", "--partitions", 2, "--new-epoch")
    assert (again.returncode, "no new epoch was made" in again.stderr) == (0, True), again.stderr
    admin = KafkaAdminClient(bootstrap_servers=servers)
    admin.delete_topics([f"{prefix}.log.2"])
    admin.close()
    gone = f"the topic {prefix}.log.2 existed and is gone"
    said(worker, gone)
    said(collector, gone)
    assert (worker.get("/readyz")[0], collector.get("/readyz")[0]) == (503, 503)
    assert collector.end() == 0
    for command in ("topics show", "doctor", "topics ensure", "topics ensure --partitions 2 --new-epoch"):
        told = loopline.command(*command.split())
        assert told.returncode == 1, told.stdout
        assert f"{prefix}.log.2: topic is missing" in told.stdout + told.stderr
        assert "--new-epoch" not in told.stdout + told.stderr
    collector.start()
    assert collector.wait() == 1
    assert "epoch 2" in collector.said()
