"""The processes of the compose files, by hand: their commands, variables, ports, secrets and health checks.

What is changed for that is told in `by_hand`. Whether images and volumes do their part is left to Docker.
"""

from __future__ import annotations

import contextlib
import json
import re
import subprocess
import sys
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest
from pyarrow import fs

from tests.deploy.by_hand import Composed, Traffic, new_version
from tests.deploy.composed import BROKERS, COMPOSE, NEXT_WORKERS, ONCE, OURS, ROOT, SECRETS, SERVERS, services
from tests.docs.pages import blocks
from tests.feedback.running import until
from tests.services.kafka.broker import Cluster
from tests.services.kafka.jars import KafkaMissing, kafka_jars
from tests.services.ports import free_port

pytestmark = [pytest.mark.broker, pytest.mark.postgres, pytest.mark.timeout(300)]

PREDICTION = "loopline.prediction.made.v1"
THUMB = "loopline.feedback.thumb.v1"


@pytest.fixture
def objects(tmp_path: Path) -> Iterator[str]:
    """Host and port of an S3 server."""
    port = free_port()
    with (tmp_path / "objects.said").open("wb") as said:
        server = subprocess.Popen(
            [sys.executable, "-m", "moto.server", "-H", "127.0.0.1", "-p", str(port)],
            stdout=said,
            stderr=said,
        )
    try:
        until(lambda: _answers(f"http://127.0.0.1:{port}/moto-api/"), "an S3 server")
        yield f"127.0.0.1:{port}"
    finally:
        server.kill()
        server.wait()


def _answers(url: str) -> bool:
    with contextlib.suppress(OSError), urllib.request.urlopen(url, timeout=10) as answer:
        return bool(answer.status == 200)
    return False


OF_A_CONTAINER = re.compile(
    r"CLUSTER_ID|KAFKA_(NODE_ID|HEAP_OPTS|LOG_DIRS|PROCESS_ROLES|CONTROLLER_\w+|INTER_BROKER_\w+|(\w+_)?LISTENERS?(_\w+)?)"
)
"""Where a broker lies and what it is called there; the fixture has its own."""


def broker_settings(path: Path) -> dict[str, str]:
    """How a compose file has its brokers keep things, as lines of `server.properties`."""
    return {
        key.removeprefix("KAFKA_").lower().replace("_", "."): text
        for key, text in services(path)["kafka"]["environment"].items()
        if not OF_A_CONTAINER.fullmatch(key)
    }


def _brokers(count: int, path: Path) -> Iterator[Cluster]:
    try:
        kafka_jars()
    except KafkaMissing as missing:
        pytest.skip(str(missing))
    with Cluster(count, settings=broker_settings(path)) as cluster:
        yield cluster


@pytest.fixture
def one_broker() -> Iterator[Cluster]:
    """A broker with the settings of docker-compose.yml."""
    yield from _brokers(1, COMPOSE)


@pytest.fixture
def three_brokers() -> Iterator[Cluster]:
    """Brokers with the settings of docker-compose.brokers.yml."""
    yield from _brokers(3, BROKERS)


@pytest.fixture
def composed(tmp_path: Path, one_broker: Cluster, postgres_url: str, objects: str) -> Iterator[Composed]:
    """The services, with the fixtures' Kafka, PostgreSQL and S3 in the place of the containers."""
    store = urlsplit(postgres_url)
    without = store._replace(netloc=f"{store.username}@{store.hostname}:{store.port}").geturl()
    replaced = {
        "kafka://kafka:9092": f"kafka://{one_broker.bootstrap}",
        "postgresql://loopline@postgres:5432/loopline": without,
        "objects:8333": objects,
    }
    processes = Composed(replaced, tmp_path, secrets={"postgres-password": store.password or ""})
    try:
        yield processes
    finally:
        processes.kill()


def _send(url: str, kind: str, event_id: str, data: dict[str, Any]) -> dict[str, Any]:
    event = {"specversion": "1.0", "id": event_id, "source": "/shop/web", "type": kind, "data": data}
    event["time"] = "2026-01-05T09:12:31Z"
    body = json.dumps(event).encode()
    request = urllib.request.Request(f"{url}/v1/events", body, {"content-type": "application/json"})
    with urllib.request.urlopen(request, timeout=30) as answer:
        said: dict[str, Any] = json.load(answer)
        return said


def _get(url: str) -> Any:
    with urllib.request.urlopen(url, timeout=30) as answer:
        return json.load(answer)


def test_the_composed_processes_work_together_and_are_upgraded(composed: Composed, tmp_path: Path) -> None:
    """An event counts once, whoever took it; then the page's commands bring another version of the views.

    Meanwhile somebody sends and somebody reads: no answer is a 503, the old views are read until the new ones
    are there, found right by `verify`, and every event counts once.
    """
    composed.up(*ONCE)
    composed.up(*SERVERS)
    data = {"prediction_id": "p-1", "model": "m"}
    made = {**data, "model_version": "1", "output": "a"}
    first, second = composed.url("collector-1"), composed.url("collector-2")
    _send(first, PREDICTION, "e-1", made)
    _send(second, PREDICTION, "e-1", made)
    said = _send(second, THUMB, "e-2", {**data, "person": "u-1", "value": "up"})
    assert said["accepted"] == 1
    for url in (first, second):
        seen = _get(f"{url}/v1/predictions/p-1?after={said['position']}")
        assert [each["id"] for each in seen["feedback"]] == ["e-2"]
        with urllib.request.urlopen(f"{url}/", timeout=30) as page:
            assert page.headers["content-type"].startswith("text/html")

    build, _, beside, instead = upgrade_commands()
    later = new_version(tmp_path / "later")
    with Traffic(composed) as traffic:
        composed.follow(build, later)
        composed.follow(beside, later)
        assert composed.image == {**dict.fromkeys(SERVERS, ROOT), **dict.fromkeys(NEXT_WORKERS, later)}
        before = traffic.reads
        until(lambda: traffic.reads > before, "the old views to be read")
        verified = composed.follow(instead, later)
    assert verified.startswith("identical: ")
    assert traffic.failures == []
    assert composed.image == dict.fromkeys(SERVERS, later)
    counted = _get(f"{composed.next_url()}/v1/counts?by=kind&after={traffic.position}")
    assert {item["kind"]: item["n"] for item in counted["items"]} == {
        "prediction.made": traffic.events // 2 + 1,
        "feedback.thumb": traffic.events // 2 + 1,
    }
    assert traffic.events
    assert all(_get(f"{composed.url(name)}/readyz")["status"] == "ready" for name in SERVERS)
    # Nothing that was built aside is left where a container has its volume.
    assert [path for name in OURS for path in (tmp_path / name).glob("loopline-scratch-*")] == []
    assert composed.end(*SERVERS) == dict.fromkeys(SERVERS, 0)


def upgrade_commands() -> list[str]:
    """The blocks of the page that upgrades with Compose, in order."""
    page = (ROOT / "docs/how-to/upgrade.md").read_text()
    section = page.partition("## With Docker Compose")[2].partition("\n## ")[0]
    return [block.text for block in blocks(section)]


def test_an_upgrade_replaces_one_server_at_a_time() -> None:
    """Workers before collectors where the views are the same, and never two of a kind in one command."""
    _, same, _, instead = upgrade_commands()
    for block, order in ((same, SERVERS[2:] + SERVERS[:2]), (instead, SERVERS)):
        ups = [line.split() for line in block.splitlines() if " up " in line]
        assert [words[-1] for words in ups] == list(order)
        assert all(words[:-1] == ["docker", "compose", "up", "-d", "--no-deps", "--wait"] for words in ups)


def test_three_brokers_hold_every_topic_three_times(
    tmp_path: Path, three_brokers: Cluster, postgres_url: str
) -> None:
    """The topics that the second file makes are safe, by the settings that its own brokers have."""
    replaced = {
        "kafka://kafka:9092,kafka-2:9092,kafka-3:9092": f"kafka://{three_brokers.bootstrap}",
        "postgresql://loopline@postgres:5432/loopline": postgres_url,
    }
    composed = Composed(replaced, tmp_path, BROKERS)
    composed.up("topics")
    shown = composed.run("loopline", "topics", "show", "--json")
    assert shown.returncode == 0, shown.stderr
    topics = json.loads(shown.stdout)["topics"]
    assert topics
    assert {topic["replication"] for topic in topics} == {3}


def test_the_bucket_is_made_once(tmp_path: Path, objects: str) -> None:
    """The bucket that releases go to is there afterwards, and making it again changes nothing."""
    composed = Composed({"objects:8333": objects}, tmp_path)
    composed.up("bucket")
    keys = {"access_key": SECRETS["s3-access-key"], "secret_key": SECRETS["s3-secret-key"]}
    store = fs.S3FileSystem(**keys, endpoint_override=objects, scheme="http", region="us-east-1")
    with store.open_output_stream("loopline-datasets/releases/kept") as stream:
        stream.write(b"x")
    composed.up("bucket")
    assert store.get_file_info("loopline-datasets/releases/kept").size == 1
