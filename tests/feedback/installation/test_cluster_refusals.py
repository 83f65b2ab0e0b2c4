"""What a cluster that is not as it should be answers: with what to do, an exit status, and no password."""

from __future__ import annotations

import secrets
from pathlib import Path

import pytest
from click.testing import Result
from kafka.admin import ConfigResource, ConfigResourceType, KafkaAdminClient

from tests.feedback.running import loopline
from tests.services.kafka.broker import Cluster

NOBODY = "127.0.0.1:1"
STORE = f"postgresql://loopline:s3cret@{NOBODY}/loopline"
DISTRIBUTED = (
    ["collector", "--port", "0"],
    ["worker", "--port", "0"],
    ["topics", "show"],
    ["topics", "ensure"],
)


def on(log: str, store: str, *words: object) -> Result:
    """Run a command on a cluster; nobody's password is shown, whatever happens."""
    result = loopline(*words, "--log", log, "--store", store, "--retry-for", "0.1")
    assert "s3cret" not in result.stdout + result.stderr
    return result


@pytest.mark.parametrize("words", [["verify"], ["send", "-"], ["doctor"], *DISTRIBUTED], ids=" ".join)
@pytest.mark.parametrize("named", ["log", "store"])
def test_log_and_store_go_together(words: list[str], named: str) -> None:
    """One without the other is a usage error that names both."""
    address = {"log": f"kafka://{NOBODY}", "store": STORE}[named]
    result = loopline(*words, f"--{named}", address)
    assert result.exit_code == 2
    assert "LOOPLINE_LOG" in result.stderr
    assert "LOOPLINE_STORE" in result.stderr
    assert "s3cret" not in result.stderr


@pytest.mark.parametrize("words", DISTRIBUTED, ids=" ".join)
def test_the_parts_of_a_cluster_need_one(words: list[str]) -> None:
    """Without log and store they say what runs on one machine."""
    result = loopline(*words)
    assert result.exit_code == 2
    assert "On one machine" in result.stderr


def test_a_server_on_files_is_not_started_where_a_cluster_is_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """`up` says what runs there instead; a home on the command line goes before the environment."""
    monkeypatch.setenv("LOOPLINE_LOG", f"kafka://{NOBODY}")
    monkeypatch.setenv("LOOPLINE_STORE", STORE)
    result = loopline("up", "--port", "0")
    assert result.exit_code == 2
    assert "loopline collector" in result.stderr
    beside = loopline("verify", "--home", tmp_path)
    assert beside.exit_code == 1
    assert "no home" in beside.stderr
    both = loopline("verify", "--home", tmp_path, "--log", f"kafka://{NOBODY}")
    assert both.exit_code == 2


@pytest.mark.parametrize(
    "address",
    [
        "kafka://",
        "kafka://host",
        f"kafka://{NOBODY}/a/b",
        "localhost:9092",
        f"kafka://me:s3cret@{NOBODY}",
        f"kafka://{NOBODY},me:s3cret@{NOBODY}",
    ],
)
def test_a_malformed_log_address_is_a_usage_error(address: str) -> None:
    """It says how one is written, and nothing of a password that somebody has put there."""
    result = on(address, STORE, "verify")
    assert result.exit_code == 2
    assert "--log" in result.stderr


def test_a_collector_that_others_can_reach_has_to_be_meant() -> None:
    """As for `up`: a host that is not loopback needs --insecure."""
    result = on(f"kafka://{NOBODY}", STORE, "collector", "--host", "0.0.0.0", "--port", "0")
    assert result.exit_code == 2
    assert "--insecure" in result.stderr


def test_nobody_at_the_host_and_port(tmp_path: Path) -> None:
    """A command that speaks to a collector says where it looked."""
    result = on(f"kafka://{NOBODY}", STORE, "waiting", "--port", "1")
    assert result.exit_code == 3
    assert "http://127.0.0.1:1 does not answer" in result.stderr


@pytest.mark.broker
@pytest.mark.parametrize("words", [["verify"], ["replay"], ["topics", "show"], ["collector", "--port", "0"]])
def test_brokers_that_are_away(words: list[str]) -> None:
    """Exit status 3, and which brokers were asked."""
    result = on(f"kafka://{NOBODY}", STORE, *words)
    assert result.exit_code == 3, result.stderr
    assert NOBODY in result.stderr


@pytest.mark.broker
@pytest.mark.parametrize("words", [["verify"], ["replay"], ["topics", "show"], ["collector", "--port", "0"]])
def test_topics_that_are_missing(kafka: Cluster, words: list[str]) -> None:
    """Exit status 1, and the command that makes them."""
    result = on(kafka.address(f"t{secrets.token_hex(4)}"), STORE, *words)
    assert result.exit_code == 1, result.stderr
    assert "loopline topics ensure" in result.stderr


@pytest.mark.broker
def test_topics_that_would_break_the_promise_are_not_made(kafka: Cluster) -> None:
    """Two copies are not safe on one broker: refused with what to do, and nothing was made."""
    log = kafka.address(f"t{secrets.token_hex(4)}")
    result = on(log, STORE, "topics", "ensure", "--replication", "2")
    assert result.exit_code == 1
    assert "What to do" in result.stderr
    assert on(log, STORE, "topics", "show").exit_code == 1


@pytest.mark.broker
@pytest.mark.parametrize("wrong", ["retention", "no intake"])
def test_a_collector_does_not_start_on_topics_that_break_the_promise(kafka: Cluster, wrong: str) -> None:
    """What it acknowledges would be deleted, or not be read: it says what to do, like `topics show`."""
    log = kafka.address(f"t{secrets.token_hex(4)}")
    assert on(log, STORE, "topics", "ensure", "--partitions", "1").exit_code == 0
    prefix = log.rpartition("/")[2]
    client = KafkaAdminClient(bootstrap_servers=kafka.bootstrap)
    try:
        if wrong == "retention":
            short = ConfigResource(ConfigResourceType.TOPIC, f"{prefix}.log.1", {"retention.ms": "86400000"})
            client.alter_configs([short])
        else:
            client.delete_topics([f"{prefix}.intake"])
    finally:
        client.close()
    named = "retention.ms=-1" if wrong == "retention" else "loopline topics ensure"
    for words in (["collector", "--port", "0"], ["topics", "show"]):
        result = on(log, STORE, *words)
        assert result.exit_code == 1, result.stdout
        assert named in result.stdout + result.stderr


@pytest.mark.broker
@pytest.mark.postgres
@pytest.mark.parametrize("wrong", ["away", "password"])
def test_a_database_that_is_not_to_be_had(kafka: Cluster, postgres_url: str, wrong: str) -> None:
    """Exit status 3, and the server's name; the doctor looks at everything else all the same."""
    log = kafka.address(f"t{secrets.token_hex(4)}")
    user, _, server = postgres_url.rpartition("@")
    store = STORE if wrong == "away" else f"{user.rpartition(':')[0]}:s3cret@{server}"
    assert on(log, store, "topics", "ensure", "--partitions", "1").exit_code == 0
    result = on(log, store, "verify")
    assert result.exit_code == 3, result.stderr
    assert (NOBODY if wrong == "away" else "password authentication failed") in result.stderr
    doctor = on(log, store, "doctor", "--port", "1")
    assert doctor.exit_code == 1
    assert "ok    topics" in doctor.stdout
    assert "fail  store" in doctor.stdout


@pytest.mark.broker
@pytest.mark.postgres
def test_views_that_no_worker_has_made_yet(kafka: Cluster, postgres_url: str) -> None:
    """Exit status 1, and what makes them."""
    log = kafka.address(f"t{secrets.token_hex(4)}")
    assert on(log, postgres_url, "topics", "ensure", "--partitions", "1").exit_code == 0
    result = on(log, postgres_url, "verify")
    assert result.exit_code == 1
    assert "loopline worker" in result.stderr
