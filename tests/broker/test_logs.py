"""Logs and stores that are not what they were: refused with what to do, and nothing is counted wrongly."""

from __future__ import annotations

import contextlib
import json
import secrets
import urllib.request
from pathlib import Path
from typing import Any

import psycopg
import pytest
from kafka import KafkaAdminClient, KafkaProducer
from kafka.structs import TopicPartition

from feedback.datasets.release import release
from feedback.datasets.shelf.address import shelf_of
from feedback.installation import cluster
from streams.log.block import write_block
from streams.log.port import parse_positions
from tests.broker.checks import check_identical, check_promise, counts
from tests.crash.load import Load, crossing
from tests.feedback.datasets.conftest import open_gate
from tests.feedback.running import event, lines, until
from tests.services.deployment import Deployment, Member
from tests.services.kafka.broker import Cluster
from tests.services.postgres import PostgresServer


def _loaded(loopline: Deployment, sender: int = 0, batches: int = 10) -> Load:
    """A small load, acknowledged."""
    load = Load(loopline.address, senders=1, batches=batches, make=lambda _, number: crossing(sender, number))
    load.start()
    load.wait()
    return load


def _joined(*loads: Load) -> Load:
    """Several loads as one, to check them together."""
    first, *others = loads
    for other in others:
        first.acknowledged += other.acknowledged
        first.refused += other.refused
        first.positions += other.positions
        first.sent += other.sent
    return first


def _topic(loopline: Deployment, epoch: int = 1) -> tuple[str, str]:
    """The brokers, and the name of the log's topic."""
    brokers, _, prefix = loopline.variables["LOOPLINE_LOG"].removeprefix("kafka://").partition("/")
    return brokers, f"{prefix}.log.{epoch}"


def _admin(loopline: Deployment) -> tuple[KafkaAdminClient, str]:
    brokers, topic = _topic(loopline)
    return KafkaAdminClient(bootstrap_servers=brokers), topic


def _says(member: Member, words: str) -> str:
    """Wait until a member is not ready for a reason with these words; gives its reasons."""

    def reasons() -> str:
        status, answer = member.get("/readyz")
        return str(answer["reasons"]) if status == 503 else ""

    return str(until(lambda: words in reasons() and reasons(), f"a refusal that speaks of {words!r}"))


def _produce(loopline: Deployment, record: bytes, partition: int = 0) -> None:
    brokers, topic = _topic(loopline)
    producer = KafkaProducer(bootstrap_servers=brokers)
    producer.send(topic, record, partition=partition).get(timeout=20)
    producer.close()


@pytest.mark.parametrize(
    "record, words",
    [
        (b"\x00 somebody else's record", "not a block"),
        (b"LLB\x63" + write_block([], [], [])[4:], "newer version"),
        (write_block(["loopline.feedback.of_tomorrow.v9"], [(1, 1)], [b"{}"]), "of_tomorrow"),
    ],
    ids=["poison", "newer format", "newer type"],
)
def test_a_block_that_cannot_be_read_stops_the_worker(
    loopline: Deployment, record: bytes, words: str
) -> None:
    """It is never skipped and never a dead letter; what came before is in the views, and the log goes on."""
    loopline.collect()
    (worker,) = loopline.work()
    before = _loaded(loopline)
    check_promise(loopline, before)
    _produce(loopline, record)
    _says(worker, words)
    after = _loaded(loopline, sender=1)
    assert len(after.acknowledged) == after.sent
    assert sum(counts(loopline).values()) >= before.sent
    check_identical(loopline)


def test_a_worker_before_its_topics_goes_on_when_they_are_made(loopline: Deployment) -> None:
    """It says what to run, and nobody has to start it again afterwards."""
    log = f"{loopline.variables['LOOPLINE_LOG']}-later"
    loopline.variables["LOOPLINE_LOG"] = log
    worker = loopline.member("worker").start()
    _says(worker, "loopline topics ensure")
    made = loopline.command("topics", "ensure", "--partitions", 4, "--replication", 1)
    assert made.returncode == 0, made.stderr
    worker.ready()
    loopline.collect()
    check_promise(loopline, _loaded(loopline))


def test_a_recreated_topic_is_another_log(loopline: Deployment) -> None:
    """A topic of the same name with another history is refused by worker and collector."""
    (collector,) = loopline.collect()
    (worker,) = loopline.work()
    check_promise(loopline, _loaded(loopline))
    assert worker.end() == 0
    assert collector.end() == 0
    admin, topic = _admin(loopline)
    admin.delete_topics([topic])
    until(lambda: topic not in admin.list_topics(), "the topic to go")
    admin.close()
    made = loopline.command("topics", "ensure", "--partitions", 4, "--replication", 1)
    assert made.returncode in (0, 1)
    worker.start()
    _says(worker, "replay")
    assert loopline.command("verify").returncode == 1


def test_a_truncated_topic_is_refused(loopline: Deployment) -> None:
    """Records deleted from the start of the log cannot be counted any more: the worker says what to do."""
    loopline.collect()
    (worker,) = loopline.work()
    check_promise(loopline, _loaded(loopline))
    assert worker.end() == 0
    admin, topic = _admin(loopline)
    admin.delete_records({TopicPartition(topic, 0): 1}, timeout_ms=20_000)
    admin.close()
    worker.start()
    _says(worker, "start")
    verified = loopline.command("verify")
    assert verified.returncode == 1
    assert "partition 0" in verified.stderr


def test_a_log_from_an_older_backup_is_refused(postgres_url: str, tmp_path: Path) -> None:
    """A broker restored to before what the views hold: the worker refuses, and says that the log is older."""
    with Cluster() as kafka, Deployment(kafka.address("t"), postgres_url) as loopline:
        (collector,) = loopline.collect()
        (worker,) = loopline.work()
        check_promise(loopline, _loaded(loopline))
        kafka.stop()
        kafka.copy_data(tmp_path)
        kafka.start()
        _loaded(loopline, sender=1)
        collector.ready()
        until(lambda: worker.get("/readyz")[1]["lag_blocks"] == 0, "the views to follow")
        assert worker.end() == 0
        collector.kill()
        kafka.stop()
        kafka.restore_data(tmp_path)
        kafka.start()
        worker.start()
        _says(worker, "older")


def test_a_store_from_an_older_backup_catches_up(kafka: Cluster, postgres: PostgresServer) -> None:
    """Kafka's committed offsets are ahead of the restored store: its own position wins, nothing is missed."""
    older, newer = postgres.fresh_database(), postgres.fresh_database()
    with Deployment(kafka.address(f"t{secrets.token_hex(4)}"), newer) as loopline:
        (collector,) = loopline.collect()
        (worker,) = loopline.work()
        first = _loaded(loopline)
        check_promise(loopline, first)
        assert worker.end() == 0
        assert collector.end() == 0
        _copy(postgres.url, newer, older)
        collector.start().ready()
        worker.start().ready()
        second = _loaded(loopline, sender=1)
        both = _joined(first, second)
        check_promise(loopline, both)
        assert worker.end() == 0
        assert collector.end() == 0
        _copy(postgres.url, older, newer)
        collector.start()
        worker.start()
        check_promise(loopline, both)


def _copy(server: str, source: str, target: str) -> None:
    """Put a copy of one database in the place of another, as restoring a backup does."""
    names = [url.rpartition("/")[2] for url in (source, target)]
    with psycopg.connect(server, autocommit=True) as connection:
        connection.execute(f'DROP DATABASE "{names[1]}" WITH (FORCE)'.encode())
        connection.execute(
            "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = %s", [names[0]]
        )
        connection.execute(f'CREATE DATABASE "{names[1]}" TEMPLATE "{names[0]}"'.encode())


def test_partitions_added_to_a_live_topic_are_refused(loopline: Deployment) -> None:
    """The log goes on with those it had; who starts anew refuses and says what to do; a new epoch heals."""
    (collector,) = loopline.collect()
    (worker,) = loopline.work()
    load = _loaded(loopline)
    admin, topic = _admin(loopline)
    admin.create_partitions({topic: 6})
    admin.close()
    load = _joined(load, _loaded(loopline, sender=1))
    shown = loopline.command("topics", "show")
    assert shown.returncode == 1
    assert "--new-epoch" in shown.stdout + shown.stderr
    assert collector.running
    assert worker.running
    assert worker.end() == 0
    worker.start()
    _says(worker, "--new-epoch")
    made = loopline.command("topics", "ensure", "--partitions", 6, "--replication", 1, "--new-epoch")
    assert made.returncode == 0, made.stderr
    assert worker.end() in (0, 1, 64)
    collector.kill()
    collector.start().ready()
    worker.start()
    check_promise(loopline, _joined(load, _loaded(loopline, sender=2)))


def test_a_new_epoch_changes_the_number_of_partitions_under_load(
    loopline: Deployment, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The old epoch is finished first; what was acknowledged counts once, what was released is cut again.

    Releases are cut before the new epoch, during it (it has begun, the views have not finished the old
    one) and after it; each as-of gives the same content in the end.
    """
    monkeypatch.setattr("feedback.datasets.release.judge", open_gate)
    collectors = loopline.collect(2)
    loopline.work(2)
    _say_labels(collectors[0], range(20), declare=True)
    load = Load(loopline.address, senders=3, batches=60, make=crossing)
    load.start()
    released = [_release(loopline)]
    until(lambda: load.done() >= load.sent * 0.3, "a third of the load")
    with loopline.holding_positions():
        ended = _say_labels(collectors[0], range(20, 30))
        made = loopline.command("topics", "ensure", "--partitions", 6, "--replication", 1, "--new-epoch")
        assert made.returncode == 0, made.stderr
        # A collector that meets the seal ends, and whoever watches over it starts it again.
        for collector in collectors:
            until(collector.ended, "the collector to meet the seal")
            collector.start()
        until(collectors[0].healthy, "the collector to answer")
        _say_labels(collectors[0], range(30, 45))
        released.append(_release(loopline, ended))
    for collector in collectors:
        collector.ready()
    load.wait()
    check_promise(loopline, load)
    shown: Any = loopline.command("topics", "show", "--json").stdout
    assert '"epoch": 2' in shown or '"epoch":2' in shown
    released.append(_release(loopline))
    assert [each["rows"] for each in released] == [20, 30, 45]
    assert [len(parse_positions(each["as_of"])) for each in released] == [4, 10, 10]
    for each in released:
        again = _release(loopline, each["as_of"])
        assert again["content_hash"] == each["content_hash"]
    listed = json.loads(loopline.command("dataset", "list", "--json", "--url", collectors[1].url).stdout)
    assert len(listed["items"]) == 6
    assert collectors[0].get("/v1/waiting?after=" + released[-1]["as_of"])[0] == 200


def _say_labels(collector: Member, numbers: range, *, declare: bool = False) -> str:
    """Labelled predictions of another environment than the load's; gives the position after them."""
    model = {"model": "reader", "env": "exam"}
    sent = [
        event("prediction.made", f"x{n}", prediction_id=f"x-{n}", model_version="1", output="a", **more)
        for n in numbers
        for more in [{**model, "input": f"form {n}"}]
    ]
    sent += [
        event("feedback.correction", f"y{n}", prediction_id=f"x-{n}", person="u", label="b", **model)
        for n in numbers
    ]
    if declare:
        shape = {"labels": ["a", "b"]}
        sent.append(event("model.declared", "d", model_version="1", output_shape=shape, **model))
    body = lines(*sent)
    request = urllib.request.Request(
        f"{collector.url}/v1/events", body, {"Content-Type": "application/x-ndjson"}
    )
    with urllib.request.urlopen(request, timeout=20) as answer:
        said = json.loads(answer.read())
    assert said["accepted"] == len(sent)
    return str(said["position"])


def _release(loopline: Deployment, as_of: str | None = None) -> Any:
    """The manifest of a release of what was labelled, cut in this process."""
    log, store, shelf = (loopline.variables[f"LOOPLINE_{name}"] for name in ("LOG", "STORE", "DATASETS"))
    with (
        contextlib.closing(cluster.Cluster(log, store, shelf)) as installation,
        contextlib.closing(installation.open_log()) as opened,
    ):
        return release(
            opened,
            installation.current_store,
            shelf_of(shelf),
            "reader",
            "exam",
            env="exam",
            as_of=as_of,
            force=True,
            emit=lambda event: None,
        ).manifest
