"""A Kafka as managed ones are: TLS, logins, and for each user no more rights than docs/how-to lists."""

from __future__ import annotations

import contextlib
import json
import secrets
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
from kafka import KafkaProducer

from feedback.datasets.release import release
from feedback.datasets.shelf.address import shelf_of
from feedback.installation import cluster
from streams.kafka.address import Address
from streams.kafka.log.reader import KafkaLog
from streams.kafka.security import KafkaRefused, Security
from streams.kafka.topics.admin import show
from tests.broker.checks import check_identical, counts
from tests.crash.load import Load, crossing
from tests.feedback.datasets.conftest import open_gate
from tests.feedback.running import event, until
from tests.services.deployment import Deployment
from tests.services.kafka.broker import Cluster
from tests.services.kafka.rights import documented_rights, grant, user_of

PAGE = Path(__file__).parents[2] / "docs/how-to/secure-kafka.md"
USERS = ("loopline-admin", "loopline-collector", "loopline-worker", "shop")
INTAKE = 50


def settings_of(user: Security, folder: Path) -> dict[str, str]:
    """The settings with which somebody logs in; the password lies in a file."""
    file = folder / user.username
    file.write_text(user.password)
    file.chmod(0o600)
    return {
        "LOOPLINE_KAFKA_USERNAME": user.username,
        "LOOPLINE_KAFKA_PASSWORD_FILE": str(file),
        "LOOPLINE_KAFKA_CA_FILE": user.ca_file,
    }


def test_a_secured_kafka_with_exactly_the_documented_rights(
    kafka: Cluster, postgres_url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Each user does its part and nothing else; every event is there once, though each login expires."""
    prefix = f"t{secrets.token_hex(4)}"
    names = {user: f"{user}-{prefix}" for user in USERS}
    users = {user: user_of(kafka, name) for user, name in names.items()}
    grant(kafka, documented_rights(PAGE.read_text()), {**names, "loopline": prefix})
    login: dict[str, Any] = {user: settings_of(security, tmp_path) for user, security in users.items()}
    address = Address.parse(f"kafka://{kafka.logins}/{prefix}")
    with Deployment(str(address), postgres_url, **login["loopline-admin"]) as loopline:
        collector = login["loopline-collector"]
        loopline.variables.update(collector)
        loopline.collect(1, **collector)
        loopline.work(1, **login["loopline-worker"])
        load = Load(loopline.address, senders=2, batches=12, make=crossing)
        load.start()
        _produce(address._replace(security=users["shop"]))
        load.wait()
        expected = {
            "prediction.made": load.sent // 2 + INTAKE,
            "feedback.thumb": load.sent // 2,
            "feedback.correction": INTAKE,
        }
        until(lambda: counts(loopline) == expected, "all events to be in the views")
        check_identical(loopline)
        monkeypatch.setattr("feedback.datasets.release.judge", open_gate)
        assert _released(loopline, users["loopline-collector"]) == INTAKE
        _refused(loopline, address, login, users)
        ended = loopline.command(
            "topics", "ensure", "--partitions", 5, "--new-epoch", **login["loopline-admin"]
        )
        assert ended.returncode == 0, ended.stderr
        for member in (*loopline.collectors, *loopline.workers):
            assert "s3cret" not in member.said()


def _produce(intake: Address) -> None:
    """A product's own events, by somebody who may write there and nothing else."""
    shape = {"labels": ["a", "b"]}
    said = [event("model.declared", "d", model="shop", model_version="1", output_shape=shape)]
    for number in range(INTAKE):
        about = {"model": "shop", "prediction_id": f"i-{number}"}
        made = {"model_version": "1", "output": "a", "input": f"form {number}"}
        said.append(event("prediction.made", f"p{number}", **about, **made))
        said.append(event("feedback.correction", f"c{number}", **about, person="u", label="b"))
    producer = KafkaProducer(**intake.client_options, acks="all")
    for each in said:
        producer.send(intake.intake, json.dumps(each).encode())
    producer.flush(timeout=20)
    producer.close()


def _released(loopline: Deployment, user: Security) -> int:
    """Cut a dataset of what came by the intake: its number of rows."""
    log, store, shelf = (loopline.variables[f"LOOPLINE_{name}"] for name in ("LOG", "STORE", "DATASETS"))
    with (
        contextlib.closing(cluster.Cluster(log, store, shelf, user)) as installation,
        contextlib.closing(installation.open_log()) as opened,
    ):
        cut = release(
            opened,
            installation.current_store,
            shelf_of(shelf),
            "shop",
            force=True,
            emit=lambda said: None,
        )
    return int(cut.manifest["rows"])


def _refused(
    loopline: Deployment, address: Address, login: Mapping[str, dict[str, str]], users: Mapping[str, Security]
) -> None:
    """Who may not, or is not known, is told so in one sentence, whatever it starts."""
    with pytest.raises(KafkaRefused, match="deny the user 'shop-"):
        KafkaLog(address._replace(security=users["shop"]))
    with pytest.raises(KafkaRefused, match=r"docs/how-to/secure-kafka\.md"):
        show(address._replace(security=users["shop"]))
    wrong = {**login["loopline-worker"], "LOOPLINE_KAFKA_PASSWORD": "wr0ng-s3cret"}
    started = loopline.command("collector", "--port", "0", **wrong)
    assert started.returncode == 1
    assert "does not take the user" in started.stderr
    worker = loopline.member("worker").start(**wrong)

    def says_so() -> bool:
        with contextlib.suppress(OSError):
            return "does not take the user" in str(worker.get("/readyz"))
        return False

    until(says_so, "the worker to say why")
    assert worker.end() == 0
    for said in (started.stdout + started.stderr, worker.said()):
        assert "s3cret" not in said
