"""An event goes to the log that is set, and to no other: whoever connects compares the server's log first."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import pytest

from feedback.installation.cluster import Cluster
from feedback.installation.home import Home
from streams.kafka.security import KafkaRefused
from streams.log.port import LogIdentity, LogMissing, LogUnavailable
from tests.feedback.cli.test_no_loopline import COMMANDS
from tests.feedback.running import lines, loopline, prediction
from tests.services.fake_server import FakeServer, problem, serving

OURS, OTHERS = (LogIdentity(name, 1, 1).fingerprint for name in ("ours", "another's"))
KAFKA = ("--log", "kafka://127.0.0.1:1", "--store", "postgresql://loopline:s3cret@127.0.0.1:1/loopline")
AWAY = "no broker of kafka://127.0.0.1:1 takes a connection"
REFUSES, NO_TOPIC = "the brokers do not take the password", "there is no topic loopline.log.1"
FAILURES = {
    "away": LogUnavailable(f"{AWAY}."),
    "refuse": KafkaRefused(f"{REFUSES}."),
    "have no topic": LogMissing(NO_TOPIC),
}
LOOKED_AT_ITSELF = {"dataset list", "dataset show"}
"""Where log and store are set, the releases are looked at where they lie."""


@pytest.fixture
def server() -> Iterator[FakeServer]:
    """A server that accepts everything, and has an empty list of labels."""
    with serving() as fake:
        fake.pages["/v1/labels/m?limit=1"] = 200, b'{"items": []}'
        fake.pages["/v1/labels/m?limit=101"] = 200, b'{"items": []}'
        yield fake


@pytest.fixture
def known(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """The brokers say which log is there, and there is a place for releases."""
    monkeypatch.setattr(Cluster, "fingerprint", lambda _: OURS)
    monkeypatch.setenv("LOOPLINE_DATASETS", str(tmp_path / "releases"))


def said(log: str) -> tuple[int, bytes]:
    """How a server says which log it serves."""
    return 200, json.dumps({"status": "ok", "log": log}).encode()


def asked(server: FakeServer) -> set[str]:
    """The paths that were asked for, without their queries."""
    return {path.partition("?")[0] for path, _, _ in server.requests}


@pytest.mark.usefixtures("known")
@pytest.mark.parametrize("command", [name for name in COMMANDS if name not in LOOKED_AT_ITSELF])
@pytest.mark.parametrize("by", ["--url", "--port"])
def test_a_collector_of_another_log_is_refused(server: FakeServer, command: str, by: str) -> None:
    """Every command says both logs and what to do, and neither sends nor asks it anything."""
    server.pages["/healthz"] = said(OTHERS)
    address = server.url if by == "--url" else str(server.server_address[1])
    result = loopline(*COMMANDS[command], *KAFKA, by, address, stdin=lines(prediction(1)))
    assert result.exit_code == 1, result.stderr
    (told,) = [line for line in result.stderr.splitlines() if line.startswith("loopline:")]
    for word in (server.url, OTHERS, OURS, "kafka://127.0.0.1:1", "`url`"):
        assert word in told
    assert "s3cret" not in result.stderr
    assert asked(server) == {"/healthz"}


def test_a_release_of_a_log_on_kafka_names_where_it_goes(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A folder that happens to be where a command is run is no shelf: nothing is cut there."""
    monkeypatch.chdir(tmp_path)
    result = loopline("dataset", "release", "m", *KAFKA)
    assert result.exit_code == 2
    assert "LOOPLINE_DATASETS" in result.stderr
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("command", COMMANDS)
@pytest.mark.parametrize("how", ["flags", "environment"])
def test_a_server_of_another_log_than_the_homes_is_refused(
    server: FakeServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, command: str, how: str
) -> None:
    """A home that is named and the address of another server: however they are named, nothing is sent."""
    home = Home(tmp_path / "home")
    home.create(1)
    server.pages["/healthz"] = said(OTHERS)
    words: list[Any] = []
    if how == "flags":
        words = ["--home", home.path, "--url", server.url]
    else:
        monkeypatch.setenv("LOOPLINE_HOME", str(home.path))
        monkeypatch.setenv("LOOPLINE_URL", server.url)
    result = loopline(*COMMANDS[command], *words, stdin=lines(prediction(1)))
    assert result.exit_code == 1, result.stderr
    assert f"{server.url} serves another log ({OTHERS})" in result.stderr
    assert asked(server) == {"/healthz"}


class Case(NamedTuple):
    """What a server says of itself, and how sending to it and asking it end: exit status and words."""

    answer: tuple[int, bytes] | None
    sending: tuple[int, str]
    asking: tuple[int, str]
    brokers: str = "answer"


HTML = b"<html>Welcome</html>"
UNKNOWN = "What it answers may be of another log."
CASES = {
    "the same log": Case(said(OURS), (0, ""), (0, "")),
    "another log": Case(said(OTHERS), (1, "serves another log"), (1, "serves another log")),
    "an older Loopline": Case((200, b'{"status": "ok"}'), (1, "upgrade it"), (0, UNKNOWN)),
    "a page": Case((200, HTML), (3, "not as a Loopline"), (0, UNKNOWN)),
    "a proxy that hides it": Case((404, HTML), (3, "not as a Loopline"), (0, UNKNOWN)),
    "a name that is not its own": Case(
        (421, json.dumps(problem("misdirected", "not its name")).encode()), (1, "not its name"), (0, UNKNOWN)
    ),
    "a proxy without backends": Case((502, HTML), (3, "answers 502"), (3, "answers 502")),
    "nobody": Case(None, (3, "does not answer"), (3, "does not answer")),
    "brokers that are away": Case(said(OURS), (3, AWAY), (0, UNKNOWN), "away"),
    "brokers that are away, another log": Case(said(OTHERS), (3, AWAY), (0, UNKNOWN), "away"),
    "brokers that refuse this machine": Case(said(OURS), (1, REFUSES), (0, UNKNOWN), "refuse"),
    "brokers without its topics": Case(said(OURS), (1, NO_TOPIC), (0, UNKNOWN), "have no topic"),
}


@pytest.mark.parametrize("case", CASES)
def test_while_it_cannot_be_told_nothing_is_sent(
    server: FakeServer, monkeypatch: pytest.MonkeyPatch, case: str
) -> None:
    """What is sent needs a server that is known to serve the log; what is asked is told with a note."""
    answer, sending, asking, brokers = CASES[case]

    def fingerprint(_: Cluster) -> str:
        if brokers != "answer":
            raise FAILURES[brokers]
        return OURS

    monkeypatch.setattr(Cluster, "fingerprint", fingerprint)
    url = "http://127.0.0.1:1" if answer is None else server.url
    if answer is not None:
        server.pages["/healthz"] = answer
    at = (*KAFKA, "--url", url, "--retry-for", "0")
    for words, (status, words_said) in ((["send", "-"], sending), (["labels", "m"], asking)):
        result = loopline(*words, *at, stdin=lines(prediction(1)))
        assert result.exit_code == status, result.stderr
        assert words_said in result.stderr
        assert ".." not in result.stderr.replace("...", "")
        assert ".;" not in result.stderr
        assert ("labels for m yet" in result.stdout) == (words[0] == "labels" and status == 0)
    assert bool(server.times_accepted) == (sending[0] == 0)


def test_a_sender_is_patient_while_brokers_are_away(
    server: FakeServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    """--retry-for holds for the comparison as for the sending: it goes on once a broker answers."""
    looks: list[int] = []

    def fingerprint(_: Cluster) -> str:
        looks.append(1)
        if len(looks) < 3:
            raise LogUnavailable(f"{AWAY}.")
        return OURS

    monkeypatch.setattr(Cluster, "fingerprint", fingerprint)
    server.pages["/healthz"] = said(OURS)
    result = loopline(
        "send", "-", *KAFKA, "--url", server.url, "--retry-for", "20", stdin=lines(prediction(1))
    )
    assert result.exit_code == 0, result.stderr
    assert sum(server.times_accepted.values()) == 1


@pytest.mark.parametrize("a_home_is_there", [False, True])
def test_a_server_that_is_named_alone_is_compared_with_nothing(
    server: FakeServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, a_home_is_there: bool
) -> None:
    """Nobody named a log: a folder .loopline that happens to lie here is none, and no broker is needed."""
    monkeypatch.chdir(tmp_path)
    if a_home_is_there:
        Home(tmp_path / ".loopline").create(1)
    assert loopline("send", "-", "--url", server.url, stdin=lines(prediction(1))).exit_code == 0
    assert loopline("labels", "m", "--url", server.url).exit_code == 0
    assert "/healthz" not in asked(server)
    assert sum(server.times_accepted.values()) == 1
