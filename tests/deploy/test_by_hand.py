"""The processes of docker-compose.yml, by hand: its commands, variables, ports and health checks.

Only what a container changes is changed here: names of other services become addresses of the fixtures',
ports become free ones, and the home is a folder. Whether images and volumes do their part is left to Docker.
"""

from __future__ import annotations

import contextlib
import json
import os
import re
import signal
import subprocess
import sys
import urllib.request
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import pytest
from pyarrow import fs

from tests.crash.checking import free_port
from tests.deploy.composed import BROKERS, COMPOSE, OURS, SECRETS, SERVERS, services
from tests.feedback.running import COMMAND, until
from tests.kafka.broker import Cluster
from tests.kafka.jars import KafkaMissing, kafka_jars

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


def broker_settings(paths: Sequence[Path]) -> dict[str, str]:
    """How the compose files have their brokers keep things, as lines of `server.properties`."""
    return {
        key.removeprefix("KAFKA_").lower().replace("_", "."): text
        for key, text in services(*paths)["kafka"]["environment"].items()
        if not OF_A_CONTAINER.fullmatch(key)
    }


def _brokers(count: int, paths: Sequence[Path]) -> Iterator[Cluster]:
    try:
        kafka_jars()
    except KafkaMissing as missing:
        pytest.skip(str(missing))
    with Cluster(count, settings=broker_settings(paths)) as cluster:
        yield cluster


@pytest.fixture
def one_broker() -> Iterator[Cluster]:
    """A broker with the settings of docker-compose.yml."""
    yield from _brokers(1, [COMPOSE])


@pytest.fixture
def three_brokers() -> Iterator[Cluster]:
    """Brokers with the settings of docker-compose.brokers.yml."""
    yield from _brokers(3, [COMPOSE, BROKERS])


class Composed:
    """The services of ours that compose files have, each run as a process."""

    def __init__(self, replaced: Mapping[str, str], folder: Path, *paths: Path) -> None:
        self._services = services(*paths)
        self._replaced = replaced
        self._folder = folder
        self._ports = {name: str(free_port()) for name in SERVERS}
        self._running: dict[str, subprocess.Popen[bytes]] = {}

    def _here(self, name: str, text: str) -> str:
        """A text of the service as it is without containers."""
        for inside, here in self._replaced.items():
            text = text.replace(inside, here)
        for inside in ("8710", "8711"):
            text = text.replace(inside, self._ports.get(name, inside))
        return text

    def _process(self, name: str) -> tuple[list[str], dict[str, str]]:
        """Words and variables of a service; its entry point is the image's where it names none."""
        service = self._services[name]
        start = COMMAND
        if "entrypoint" in service:
            assert service["entrypoint"][0] == "python"
            start = [sys.executable, *service["entrypoint"][1:]]
        words = [*start, *(self._here(name, word) for word in service["command"])]
        variables = {key: self._here(name, text) for key, text in service["environment"].items()}
        ours = {"LOOPLINE_HOME": str(self._folder / name), "LOOPLINE_PORT": self._ports.get(name, "8710")}
        inherited = {
            key: text for key, text in os.environ.items() if not key.startswith(("LOOPLINE_", "AWS_"))
        }
        return words, inherited | ours | variables

    def run(self, name: str) -> None:
        """Run a service that ends; Compose goes on only if it ended well."""
        words, variables = self._process(name)
        done = subprocess.run(
            words, env=variables, cwd=self._folder, capture_output=True, text=True, timeout=120, check=False
        )
        assert done.returncode == 0, f"{name}: {done.stdout}{done.stderr}"

    def up(self, name: str) -> None:
        """Start a service that stays, and wait for its own health check."""
        words, variables = self._process(name)
        with (self._folder / f"{name}.said").open("wb") as said:
            self._running[name] = subprocess.Popen(
                words, env=variables, cwd=self._folder, stdout=said, stderr=said, start_new_session=True
            )
        until(lambda: self._healthy(name), f"a healthy {name}")

    def _healthy(self, name: str) -> bool:
        running = self._running[name]
        assert running.poll() is None, f"{name} ended: {(self._folder / f'{name}.said').read_text()}"
        how, _, flag, script = self._services[name]["healthcheck"]["test"]
        assert how == "CMD"
        words = [sys.executable, flag, self._here(name, script)]
        asked = subprocess.run(words, stderr=subprocess.DEVNULL, check=False)
        return asked.returncode == 0

    def url(self, name: str) -> str:
        """Where a server answers."""
        return f"http://127.0.0.1:{self._ports[name]}"

    def exec(self, name: str, *words: str) -> subprocess.CompletedProcess[str]:
        """A command of `loopline` with a service's variables, as `docker compose exec` runs it."""
        return subprocess.run(
            [*COMMAND, *words],
            env=self._process(name)[1],
            cwd=self._folder,
            capture_output=True,
            text=True,
            timeout=120,
            check=False,
        )

    def down(self) -> dict[str, int]:
        """SIGTERM to all, and their exit statuses; within the grace that the file gives."""
        for process in self._running.values():
            process.send_signal(signal.SIGTERM)
        statuses = {}
        for name, process in self._running.items():
            grace = int(self._services[name]["stop_grace_period"].removesuffix("s"))
            statuses[name] = process.wait(grace)
        return statuses

    def kill(self) -> None:
        """End what is left."""
        for process in self._running.values():
            if process.poll() is None:
                with contextlib.suppress(ProcessLookupError):
                    os.killpg(process.pid, signal.SIGKILL)
                process.wait()


@pytest.fixture
def composed(tmp_path: Path, one_broker: Cluster, postgres_url: str, objects: str) -> Iterator[Composed]:
    """The services, with the fixtures' Kafka, PostgreSQL and S3 in the place of the containers."""
    replaced = {
        "kafka://kafka:9092": f"kafka://{one_broker.bootstrap}",
        f"postgresql://loopline:{SECRETS['POSTGRES_PASSWORD']}@postgres:5432/loopline": postgres_url,
        "objects:8333": objects,
        "0.0.0.0": "127.0.0.1",
    }
    processes = Composed(replaced, tmp_path)
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


def test_the_composed_processes_work_together(composed: Composed) -> None:
    """Topics, bucket, collectors, workers: an event counts once, whoever took it, and all end in time."""
    for name in OURS:
        if name in SERVERS:
            composed.up(name)
        else:
            composed.run(name)
            composed.run(name)  # Compose runs it again at each `up`
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
    verified = composed.exec("collector-1", "verify")
    assert (verified.returncode, verified.stdout.partition(":")[0]) == (0, "identical"), verified.stderr
    assert all(_get(f"{composed.url(name)}/readyz")["status"] == "ready" for name in SERVERS)
    assert composed.down() == dict.fromkeys(SERVERS, 0)


def test_three_composed_brokers_keep_what_they_acknowledge(tmp_path: Path, three_brokers: Cluster) -> None:
    """With the second file the topics get three copies, and nothing about brokers or topics is unsafe."""
    inside = services(COMPOSE, BROKERS)["topics"]["environment"]["LOOPLINE_LOG"]
    composed = Composed({inside: f"kafka://{three_brokers.bootstrap}"}, tmp_path, COMPOSE, BROKERS)
    composed.run("topics")
    shown = composed.exec("topics", "topics", "show", "--json")
    assert shown.returncode == 0, shown.stderr
    topics = json.loads(shown.stdout)["topics"]
    assert topics
    assert {topic["replication"] for topic in topics} == {3}


def test_the_bucket_is_made_once(tmp_path: Path, objects: str) -> None:
    """The bucket that releases go to is there afterwards, and making it again changes nothing."""
    composed = Composed({"objects:8333": objects}, tmp_path)
    composed.run("bucket")
    keys = {"access_key": SECRETS["S3_ACCESS_KEY"], "secret_key": SECRETS["S3_SECRET_KEY"]}
    store = fs.S3FileSystem(**keys, endpoint_override=objects, scheme="http", region="us-east-1")
    with store.open_output_stream("loopline-datasets/releases/kept") as stream:
        stream.write(b"x")
    composed.run("bucket")
    assert store.get_file_info("loopline-datasets/releases/kept").size == 1
