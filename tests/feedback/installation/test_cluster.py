"""Commands on a cluster: a real Kafka and PostgreSQL, and the processes that a deployment runs."""

from __future__ import annotations

import contextlib
import json
import os
import re
import secrets
import signal
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import psycopg
import pytest

from feedback.installation.cluster import Cluster
from streams.log.port import LogUnavailable
from tests.docs.pages import ROOT
from tests.feedback.running import event, lines, loopline, prediction, server_on, told, until
from tests.services.deployment import Deployment
from tests.services.kafka.broker import Cluster as Brokers
from tests.services.postgres import create_database, drop_database

pytestmark = [pytest.mark.broker, pytest.mark.postgres, pytest.mark.timeout(180)]


class Place:
    """A deployment, and how commands in this process name it."""

    def __init__(self, deployment: Deployment) -> None:
        self.deployment = deployment
        self.collector = deployment.collect()[0]
        self.worker = deployment.work()[0]

    @property
    def words(self) -> list[str]:
        """The flags that name log, store and shelf, and the port of the collector."""
        said = self.deployment.variables
        named = [
            word
            for name in ("log", "store", "datasets")
            for word in (f"--{name}", said[f"LOOPLINE_{name.upper()}"])
        ]
        return [*named, "--port", str(self.collector.port)]

    def told(self, *words: object, status: int = 0, stdin: bytes | None = None) -> Any:
        """The JSON document that a command answers with."""
        return told(*words, *self.words, status=status, stdin=stdin)

    def shown(self) -> None:
        """Wait until all that was acknowledged is in the views."""
        until(lambda: self.collector.get("/readyz")[1]["lag_blocks"] == 0, "the views to follow")


@pytest.fixture(scope="module")
def place(kafka: Brokers, postgres_address: str) -> Iterator[Place]:
    """A cluster with a collector and a worker, and a little in its log; shared by this module."""
    store = create_database(postgres_address)
    try:
        with Deployment(kafka.address(f"t{secrets.token_hex(4)}"), store, partitions=3) as deployment:
            made = Place(deployment)
            sent = [prediction(number) for number in range(40)]
            for number, each in enumerate(sent):
                each["data"]["input"] = f"image {number}"
            sent += [
                event(
                    "feedback.correction",
                    f"c{number}",
                    prediction_id=f"p-{number}",
                    person="u",
                    label="ab"[number % 2],
                )
                for number in range(40)
            ]
            made.told("model", "declare", "m", "1", "--label", "a", "--label", "b")
            assert made.told("send", "-", stdin=lines(*sent))["accepted"] == 80
            made.shown()
            yield made
    finally:
        drop_database(store)


def test_events_are_sent_to_the_collector_at_host_and_port(place: Place) -> None:
    """Without --url a command speaks to the collector of the settings, and what was sent is in the views."""
    assert len(place.told("labels", "m")["items"]) == 40
    timeline = place.told("feedback", "show", "e-c3")["items"][0]["timeline"]
    assert [stage["stage"] for stage in timeline][:3] == ["received", "joined", "in_effect"]
    early = event("feedback.thumb", "early", prediction_id="p-none", person="u", value="up")
    place.told("send", "-", stdin=lines(early))
    place.shown()
    assert [item["waits_for"] for item in place.told("waiting")["items"]] == ["prediction:p-none"]


def test_refused_items_are_kept_and_put_back(place: Place) -> None:
    """They lie in a topic of their own, byte for byte, and are sent again by their name."""
    wrong = event("feedback.thumb", "wrong", prediction_id="p-1", person="w", value="sideways")
    refused = place.told("send", "-", stdin=lines(wrong), status=1)
    assert refused["refused"] == 1
    place.shown()
    (letter,) = place.told("dead-letters", "list")["items"]
    shown = loopline("dead-letters", "show", letter["dead_letter"], "--bytes", *place.words)
    assert json.loads(shown.stdout) == wrong
    again = place.told("dead-letters", "replay", letter["dead_letter"], status=1)
    assert again["refused"][0]["code"] == "invalid_value"


def test_views_are_verified_and_built_anew_beside_a_running_worker(place: Place) -> None:
    """The rebuilt store is another one, the worker goes on with it, and it is identical to the log."""
    verified = place.told("verify")
    assert verified["identical"]
    assert verified["events"] >= 81
    first = place.told("replay")
    second = place.told("replay")
    assert first["store"] != second["store"]
    more = event("feedback.thumb", "later", prediction_id="p-2", person="u", value="up")
    position = place.told("send", "-", stdin=lines(more))["position"]
    until(lambda: place.collector.get(f"/v1/counts?after={position}")[0] == 200, "the new views to follow")
    after = place.told("verify")
    assert after["identical"]
    assert after["events"] == verified["events"] + 1


def test_a_dataset_is_released_and_announced(place: Place) -> None:
    """The release is cut from the log on Kafka, lies on the shelf, and is in the log and served."""
    released = place.told("dataset", "release", "m")
    assert released["rows"] > 0
    assert [item["name"] for item in place.told("dataset", "list")["items"]] == ["m@1"]
    assert place.told("dataset", "show", "m@1")["content_hash"] == released["content_hash"]
    place.shown()
    assert place.collector.get("/v1/datasets")[1]["items"][0]["name"] == "m@1"
    stages = [each["stage"] for each in place.told("feedback", "show", "e-c3")["items"][0]["timeline"]]
    assert "in_dataset" in stages


def test_a_server_of_another_log_gets_no_event(place: Place, tmp_path: Path) -> None:
    """An embedded server at the address: release and declaration are refused, and its log stays as it is."""
    with server_on(tmp_path / "home") as other:
        before = other.get("/readyz")[1]["position"]
        for words in (
            ["dataset", "release", "m", "--force"],
            ["model", "declare", "m", "2", "--text"],
            ["send", "-"],
            ["waiting"],
        ):
            result = loopline(*words, *place.words, "--url", other.url, stdin=lines(prediction(1)))
            assert result.exit_code == 1, result.stderr
            assert f"{other.url} serves another log" in result.stderr
        found = loopline("doctor", *place.words, "--url", other.url)
        assert found.exit_code == 1
        assert f"fail  server           {other.url} serves another log than kafka://" in found.stdout
        assert other.get("/readyz")[1]["position"] == before
    assert [item["name"] for item in place.told("dataset", "list")["items"]] == ["m@1"]


def test_which_log_it_is_is_known_while_the_brokers_are_away(place: Place) -> None:
    """The broker says it, else the views; the collector says the same; with neither nobody knows."""
    log, store = place.deployment.variables["LOOPLINE_LOG"], place.deployment.variables["LOOPLINE_STORE"]
    served = place.collector.get("/healthz")[1]["log"]
    nobody = "kafka://127.0.0.1:1", "postgresql://loopline@127.0.0.1:1/loopline"
    for pair in ((log, store), (log, nobody[1]), (nobody[0], store)):
        with contextlib.closing(Cluster(*pair, "datasets")) as named:
            assert named.fingerprint() == served
    with contextlib.closing(Cluster(*nobody, "datasets")) as named, pytest.raises(LogUnavailable):
        named.fingerprint()


def test_a_release_without_a_collector_is_not_begun(place: Place) -> None:
    """Nothing is published that could not be announced; what was is listed without a collector."""
    refused = loopline("dataset", "release", "m", "--force", *place.words, "--port", "1")
    assert refused.exit_code == 3
    assert "http://127.0.0.1:1 does not answer" in refused.stderr
    listed = loopline("dataset", "list", *place.words, "--port", "1")
    assert listed.exit_code == 0, listed.stderr
    assert "m@1" in listed.stdout
    assert "m@2" not in listed.stdout
    assert listed.stderr == ""


def test_the_doctor_looks_at_brokers_topics_store_and_collector(place: Place) -> None:
    """Each is named; no password is shown."""
    place.shown()
    result = loopline("doctor", *place.words)
    assert result.exit_code == 0, result.stdout
    for subject in (
        "topics",
        "log",
        "store",
        "views",
        "lag",
        "clock",
        "waiting",
        "dead letters",
        "datasets",
        "server",
    ):
        assert f"ok    {subject} " in result.stdout or f"warn  {subject} " in result.stdout
    assert "broker 1 (127.0.0.1:" in result.stdout
    assert "3 partitions" in result.stdout
    password = place.deployment.variables["LOOPLINE_STORE"].split(":")[2].split("@")[0]
    assert password not in result.stdout


def test_connections_to_postgresql_are_those_that_the_page_says(place: Place) -> None:
    """Whoever plans `max_connections` believes the table: it holds while many read at once."""
    page = (ROOT / "docs" / "how-to" / "scale.md").read_text()
    said = {
        kind: (int(idle), int(busy))
        for kind, idle, busy in re.findall(
            r"^\| `(loopline \w+)` \|.*\| (\d+) \| (\d+) \|$", page, re.MULTILINE
        )
    }
    assert said.keys() == {"loopline collector", "loopline worker"}

    def seen() -> dict[str, int]:
        with psycopg.connect(place.deployment.variables["LOOPLINE_STORE"]) as connection:
            rows = connection.execute(
                "SELECT application_name, count(*) FROM pg_stat_activity"
                " WHERE datname = current_database() AND pid <> pg_backend_pid() GROUP BY 1"
            ).fetchall()
        return dict(rows)

    paths = ["/v1/counts", "/v1/waiting", "/v1/predictions", "/v1/labels/m", "/readyz"] * 4
    with ThreadPoolExecutor(len(paths)) as readers:
        for answer in [readers.submit(place.collector.get, path) for path in paths * 3]:
            assert answer.result()[0] == 200
        busy = seen()
    assert busy.keys() == said.keys()
    for kind, (idle, most) in said.items():
        assert idle <= busy[kind] <= most, (kind, busy)


def test_topics_are_shown_and_another_number_of_partitions_is_refused(place: Place) -> None:
    """Their number is changed by a new epoch only, and the refusal says so."""
    shown = place.told("topics", "show")
    assert (shown["epoch"], shown["partitions"], shown["findings"]) == (1, 3, [])
    assert {topic["role"] for topic in shown["topics"]} == {"log", "intake", "dead-letters"}
    assert place.told("topics", "ensure")["partitions"] == 3
    refused = loopline("topics", "ensure", "--partitions", 5, *place.words)
    assert refused.exit_code == 1
    assert "--new-epoch" in refused.stderr


def test_a_cluster_is_copied_by_tools_of_its_own(place: Place, tmp_path: Any) -> None:
    """`backup` and `restore` are of homes, and say what to do here."""
    for command in ("backup", "restore"):
        result = loopline(command, tmp_path, *place.words)
        assert result.exit_code == 1
        assert "docs/how-to/backup.md" in result.stderr


def test_a_password_is_in_no_command_line(place: Place) -> None:
    """What the worker is started with comes by its environment: others on the machine can read the rest."""
    password = place.deployment.variables["LOOPLINE_STORE"].split(":")[2].split("@")[0]
    pids = [*place.collector.pids(), *place.worker.pids()]
    assert len(pids) >= 3
    for pid in pids:
        with open(f"/proc/{pid}/cmdline", "rb") as file:
            assert password.encode() not in file.read()
    assert password not in place.collector.said() + place.worker.said()


def test_a_worker_that_dies_is_started_again(place: Place) -> None:
    """The process that applies is killed; the one that watches over it starts another."""
    (applying,) = [pid for pid in place.worker.pids() if pid != place.worker.pid]
    os.kill(applying, signal.SIGKILL)
    until(lambda: [pid for pid in place.worker.pids() if pid not in (place.worker.pid, applying)], "another")
    place.worker.ready()
    place.told("send", "-", stdin=lines(prediction(900)))
    place.shown()
    assert place.told("verify")["identical"]
