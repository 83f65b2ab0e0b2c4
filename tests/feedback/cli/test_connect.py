"""Whom a command speaks to: the server of its own home's log, and nobody who merely answers there."""

from __future__ import annotations

import contextlib
import json
import os
import shutil
from collections.abc import Iterator
from pathlib import Path

import click
import pytest

from feedback.cli import main
from feedback.cli.connect import cluster_of
from feedback.cli.options import Choices
from feedback.installation.home import Home, ServerInfo
from tests.feedback.running import Running, lines, loopline, prediction, server_on, told, until


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Running]:
    """A server that runs on a home."""
    with server_on(tmp_path_factory.mktemp("original") / "home") as running:
        yield running


def test_a_copied_home_is_worked_on_itself(server: Running, tmp_path: Path) -> None:
    """Events sent to a copy of a home that is served are in the copy, and not in the original."""
    copy = tmp_path / "copy"
    shutil.copytree(server.home.path, copy)
    assert told("--home", copy, "send", "-", stdin=lines(prediction(1)))["accepted"] == 1
    assert server.get("/v1/predictions/p-1")[0] == 404
    with server_on(copy) as served:
        until(lambda: served.get("/v1/predictions/p-1")[0] == 200, "the prediction in the copy")


def test_a_server_of_another_log_is_not_spoken_to(server: Running, tmp_path: Path) -> None:
    """Whoever listens at a gone server's address is asked which log it serves, and then left alone."""
    other = Home(tmp_path / "other")
    other.create(1)
    lock = other.lock("serves")
    lock.say("serves", server.url)
    other.say_server(ServerInfo(server.url, os.getpid()))
    try:
        refused = loopline("--home", other.path, "send", "-", stdin=lines(prediction(2)))
    finally:
        lock.release()
    assert refused.exit_code == 3
    assert "held by process" in refused.stderr
    assert server.get("/v1/predictions/p-2")[0] == 404


def test_the_doctor_tells_of_another_log(server: Running, tmp_path: Path) -> None:
    """It names the server that answers for another log, and what to do."""
    other = Home(tmp_path / "other")
    other.create(1)
    lock = other.lock("serves")
    lock.say("serves", server.url)
    other.say_server(ServerInfo(server.url, os.getpid()))
    try:
        document = json.loads(loopline("--home", other.path, "doctor", "--json").stdout)
    finally:
        lock.release()
    (found,) = [each for each in document["findings"] if each["subject"] == "server"]
    assert found["state"] == "fail"
    assert "another log" in found["said"]


def test_what_works_at_the_log_refuses_the_address_of_another_server(
    server: Running, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """No command takes `--url` and then works on whatever home lies here; that of the home itself is fine."""
    other = Home(tmp_path / "other")
    other.create(1)
    for words in (["verify"], ["replay"], ["backup", tmp_path / "copy"], ["dataset", "release", "m"]):
        result = loopline("--home", other.path, "--url", server.url, *words)
        assert result.exit_code == 2, result.stdout
        assert "leave --url out" in result.stderr
    assert not (tmp_path / "copy").exists()
    assert loopline("--home", server.home.path, "--url", server.url, "verify").exit_code == 0
    monkeypatch.setenv("LOOPLINE_URL", server.url)
    result = loopline("--home", other.path, "replay")
    assert result.exit_code == 0
    assert str(other.path) in result.stderr
    result = loopline("--home", other.path, "dataset", "release", "m")
    assert result.exit_code == 1
    assert "another log" in result.stderr


def test_the_doctor_compares_the_server_that_is_named_with_the_home(server: Running, tmp_path: Path) -> None:
    """A server that is fine and serves another log is not this home's, and the doctor fails it."""
    other = Home(tmp_path / "other")
    other.create(1)
    result = loopline("--home", other.path, "--url", server.url, "doctor")
    assert result.exit_code == 1
    assert "serves another log" in result.stdout
    assert (
        f"{server.url} is ready" in loopline("--home", server.home.path, "--url", server.url, "doctor").stdout
    )


def test_a_declaration_that_contradicts_the_first_is_told_where_it_was_made(server: Running) -> None:
    """Exit status 1 and why, in words and as JSON; the same again, and what holds, end with 0."""
    at = ("--home", server.home.path, "model", "declare", "judged", "1")
    assert loopline(*at, "--label", "a").exit_code == 0
    assert loopline(*at, "--label", "a").exit_code == 0
    result = loopline(*at, "--text")
    assert result.exit_code == 1
    assert "is declared (" not in result.stdout
    assert "judged 1 was declared before with another shape" in result.stderr
    assert told(*at, "--text", status=1)["code"] == "declaration_conflict"


def test_alive_says_which_log(server: Running) -> None:
    """/healthz names the log by a text that does not give its id away."""
    said = server.get("/healthz")[1]
    with contextlib.closing(server.home.open_log()) as log:
        assert said["log"] == log.identity.fingerprint
        assert log.identity.id not in json.dumps(said)


def test_a_database_sees_which_command_its_connections_are_of(monkeypatch: pytest.MonkeyPatch) -> None:
    """`application_name` is the command as it is typed; outside of one it is a command's all the same."""
    monkeypatch.setenv("LOOPLINE_LOG", "kafka://127.0.0.1:9092")
    monkeypatch.setenv("LOOPLINE_STORE", "postgresql://loopline@127.0.0.1/loopline")

    def called() -> str:
        cluster = cluster_of(Choices())
        assert cluster is not None
        return cluster.called

    assert called() == "loopline command"
    with (
        click.Context(main, info_name="anything") as context,
        click.Context(main, context, info_name="dataset") as group,
        click.Context(main, group, info_name="release"),
    ):
        assert called() == "loopline dataset release"
