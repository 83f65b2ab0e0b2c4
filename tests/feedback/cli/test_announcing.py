"""What a release says of an event that could not be sent is true, however the command reaches the log."""

from __future__ import annotations

import socket
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import pytest

from feedback.datasets.errors import EventRefused, NotAnnounced
from feedback.installation.home import Home
from feedback.server_client import EventSender
from schemas.errors import Unavailable
from tests.feedback.datasets.conftest import open_gate
from tests.feedback.running import event, lines, loopline, prediction, server_on, told, until

BY_ITSELF = "a server that runs with these releases sends it by itself"
PROMISE = "the model's next release sends it, and so does `loopline dataset list`"


@pytest.fixture(autouse=True)
def ungated(monkeypatch: pytest.MonkeyPatch) -> None:
    """Releases are not judged: loading Great Expectations takes seconds."""
    monkeypatch.setattr("feedback.datasets.release.judge", open_gate)


def labelled(model: str) -> bytes:
    """A declaration, and predictions with a label each."""
    made = [
        event("model.declared", f"d-{model}", model=model, model_version="1", output_shape={"text": True})
    ]
    for number in range(3):
        each = prediction(f"{model}-{number}")  # type: ignore[arg-type]
        each["data"] |= {"model": model, "input": number}
        made.append(each)
        said = {"prediction_id": each["data"]["prediction_id"], "person": "u", "label": "b"}
        made.append(event("feedback.correction", f"c-{model}-{number}", **said))
    return lines(*made)


def in_datasets(at: Sequence[Any], model: str) -> list[str]:
    """The releases that the views know a correction to be in."""
    (item,) = told("feedback", "show", f"e-c-{model}-0", *at)["items"]
    return [stage["dataset"] for stage in item["timeline"] if stage["stage"] == "in_dataset"]


def released_and_not_announced(
    at: Sequence[Any], model: str, monkeypatch: pytest.MonkeyPatch, fails: Exception | None = None
) -> str:
    """Send some labels, and release while the event cannot be sent; what the command says."""
    assert told("send", "-", *at, stdin=labelled(model))["refused"] == 0

    def send(*_: Any) -> None:
        raise fails or Unavailable("the server hung up")

    with monkeypatch.context() as patched:
        patched.setattr(EventSender, "send", send)
        result = loopline("dataset", "release", model, *at)
    assert result.exit_code == 1, result.stderr
    assert f"{model}@1 is published" in result.stderr
    return result.stderr


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Home:
    """A home without a server."""
    made = Home(tmp_path_factory.mktemp("unserved") / "home")
    made.create(2)
    return made


@pytest.fixture(scope="module")
def served(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Home]:
    """A home with a server."""
    with server_on(tmp_path_factory.mktemp("served") / "home") as running:
        yield running.home


def test_without_a_server_the_list_sends_it(home: Home, monkeypatch: pytest.MonkeyPatch) -> None:
    """Release and list hold the home's lock, one after the other; the message promises it."""
    at = ("--home", home.path)
    assert PROMISE in released_and_not_announced(at, "m", monkeypatch)
    listed = loopline("dataset", "list", *at)
    assert listed.exit_code == 0, listed.stderr
    assert "m@1 was published, but its dataset.released was not in the log: sent" in listed.stderr
    assert "m@1 " in listed.stdout
    assert in_datasets(at, "m") == ["m@1"]
    assert loopline("dataset", "list", *at).stderr == ""


@pytest.mark.parametrize("how", ["home", "home-and-url", "file"])
def test_beside_a_server_it_is_sent_by_itself(
    served: Home, how: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Nobody has to do anything, as the message says; a list has nothing left to send."""
    server = served.server()
    assert server is not None
    at: tuple[Any, ...] = ("--home", served.path)
    if how == "home-and-url":
        at = (*at, "--url", server.url)
    if how == "file":
        # The folder .loopline is nothing that anybody named; the server that the file names serves its log.
        (tmp_path / ".loopline").symlink_to(served.path)
        (tmp_path / "loopline.toml").write_text(f'url = "{server.url}"\n')
        monkeypatch.chdir(tmp_path)
        at = ()
    model = f"m-{how}"
    assert BY_ITSELF in released_and_not_announced(at, model, monkeypatch)
    until(lambda: in_datasets(at, model) == [f"{model}@1"], "the event in the views")
    listed = loopline("dataset", "list", *at)
    assert (listed.exit_code, listed.stderr) == (0, "")
    assert f"{model}@1 " in listed.stdout
    assert loopline("dataset", "diff", f"{model}@1", f"{model}@1", *at).exit_code == 0


def test_the_next_release_sends_it(home: Home, monkeypatch: pytest.MonkeyPatch) -> None:
    """As the message says; also when there is nothing new to release."""
    at = ("--home", home.path)
    released_and_not_announced(at, "next", monkeypatch)
    assert not told("dataset", "release", "next", *at)["new"]
    assert in_datasets(at, "next") == ["next@1"]


def test_an_event_that_was_refused_is_no_matter_of_sending_again(
    home: Home, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It is a dead letter, and the message says how to bring it into the log."""
    refused = EventRefused("unknown_field", "there is no field `name`")
    said = released_and_not_announced(("--home", home.path), "refused", monkeypatch, refused)
    assert PROMISE not in said
    assert "`loopline dead-letters list --code unknown_field`" in said
    assert "loopline dead-letters replay" in said


def test_with_an_address_alone_nothing_is_released_or_promised(
    served: Home, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A release is cut where the log is; what was released elsewhere is listed as the server says."""
    server = served.server()
    assert server is not None
    monkeypatch.chdir(tmp_path)
    refused = loopline("dataset", "release", "m", "--url", server.url)
    assert refused.exit_code == 2
    assert "is published" not in refused.stderr
    listed = told("dataset", "list", "--url", server.url)["items"]
    assert {item["name"] for item in listed} <= {"m-home@1", "m-home-and-url@1", "m-file@1"}


def test_a_list_is_given_though_nobody_can_be_reached(home: Home, monkeypatch: pytest.MonkeyPatch) -> None:
    """What cannot be announced now is told, and keeps nobody from seeing what there is."""
    at = ("--home", home.path)
    released_and_not_announced(at, "later", monkeypatch)
    lock = home.lock("tests")
    try:
        listed = loopline("dataset", "list", "later", *at, lock_wait_s=0.0)
    finally:
        lock.release()
    assert listed.exit_code == 0, listed.stderr
    assert "later@1" in listed.stdout
    assert "some releases may not be in the log yet" in listed.stderr


def test_the_message_holds_for_who_calls_it_from_python() -> None:
    """It promises what any caller can have: the next release, or the command on the same log and releases."""
    said = str(NotAnnounced("m@1", ConnectionError("nobody listens.")))
    assert "could not be sent: nobody listens; " in said
    assert "where the settings name this log and these releases" in said


def test_a_shelf_that_hangs_holds_up_neither_the_views_nor_the_end(tmp_path: Path) -> None:
    """An object store takes connections and never answers: events are folded, and the server ends soon."""
    with socket.create_server(("127.0.0.1", 0), backlog=64) as silent:
        where = f"s3://b/x?endpoint_override=127.0.0.1:{silent.getsockname()[1]}&scheme=http&region=r"
        variables = {"AWS_ACCESS_KEY_ID": "a", "AWS_SECRET_ACCESS_KEY": "b", "LOOPLINE_DATASETS": where}
        with server_on(tmp_path / "home", cwd=None, **variables) as running:
            silent.accept()
            position = told("send", "-", "--home", tmp_path / "home", stdin=lines(prediction(1)))["position"]
            until(lambda: running.get(f"/v1/counts?after={position}")[0] == 200, "the views to follow")
            _, _, said = running.end()
        assert "is killed" not in said
