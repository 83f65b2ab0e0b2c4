"""The one question a product asks while it works: what it answers, and how long it takes at most."""

from __future__ import annotations

import contextlib
import socket
import threading
import time

import pytest

from loopline import Client
from loopline.errors import LooplineError, Refused, Unreachable
from tests.clients.conftest import Make
from tests.services.fake_server import FakeServer, encoded, problem

REF = "0" * 64
PATH = f"/v1/overrides/name-matcher?person=u+7%2F%C3%A9&input_ref={REF}"


def ask(client: Client, **how: object) -> object:
    """Ask for the override of one person with an awkward id."""
    return client.override("name-matcher", "u 7/é", REF, **how)  # type: ignore[arg-type]  # as products do


def test_an_override_is_what_the_person_said(server: FakeServer, make: Make) -> None:
    """The label record comes back as the server gives it."""
    server.pages[PATH] = (200, b'{"label":"smyth","id":"e-1","source":"/a","at":"2026-11-20T09:12:31Z"}')
    record = ask(make())
    assert record == {"label": "smyth", "id": "e-1", "source": "/a", "at": "2026-11-20T09:12:31Z"}


def test_no_override_is_none(server: FakeServer, make: Make) -> None:
    """404 means that this person said nothing about this input, for strict clients too."""
    assert ask(make(strict=True)) is None
    assert server.requests[0][0] == PATH


def test_a_server_that_is_away_gives_none_or_raises_where_asked(make: Make) -> None:
    """The product goes on without the answer, unless it wants to know."""
    client = make(url="http://127.0.0.1:9")
    assert ask(client) is None
    with pytest.raises(Unreachable):
        ask(client, strict=True)
    with pytest.raises(Unreachable):
        ask(make(url="http://127.0.0.1:9", strict=True))


def test_a_slow_server_costs_no_more_than_the_timeout(server: FakeServer, make: Make) -> None:
    """The question is bounded in time."""
    server.before_page = lambda: server.released.wait(10)
    client = make()
    began = time.monotonic()
    assert ask(client, timeout=0.2) is None
    assert time.monotonic() - began < 1.5


def test_an_answer_that_drips_costs_no_more_than_the_timeout(make: Make) -> None:
    """A server that sends a byte now and then, for ever, is left when the time is over."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        done = threading.Event()

        def drip() -> None:
            connection, _ = listener.accept()
            with connection, contextlib.suppress(OSError):
                while not done.wait(0.05):
                    connection.sendall(b"H")

        thread = threading.Thread(target=drip)
        thread.start()
        began = time.monotonic()
        assert ask(make(url=f"http://127.0.0.1:{listener.getsockname()[1]}"), timeout=0.3) is None
        assert time.monotonic() - began < 1.5
        done.set()
        thread.join()


@pytest.mark.parametrize(
    "status, body, error",
    [
        (422, encoded(problem("invalid_request", "no such model")), Refused),
        (422, b'{"title":"No","detail":"no such model"}', Unreachable),
        (404, b"<html>no backend</html>", Unreachable),
        (302, b"", Unreachable),
        (200, b"<html>", Unreachable),
    ],
)
def test_a_server_that_refuses_or_talks_nonsense(
    server: FakeServer, make: Make, status: int, body: bytes, error: type[LooplineError]
) -> None:
    """Neither raises by itself; strictly, the refusal carries status and problem."""
    server.pages[PATH] = (status, body)
    assert ask(make()) is None
    with pytest.raises(error) as raised:
        ask(make(), strict=True)
    if isinstance(raised.value, Refused):
        assert (raised.value.status, raised.value.problem["detail"]) == (422, "no such model")


@pytest.mark.parametrize(
    "model, person", [(None, "u-7"), (7, "u-7"), ("m", "\ud800secret"), (object(), "u-7")]
)
def test_what_cannot_be_asked_gives_none_or_an_error_of_ours(
    make: Make, model: object, person: str, caplog: pytest.LogCaptureFixture
) -> None:
    """A product's mistake never raises by itself nor shows the person; strictly it is a LooplineError."""
    client = make()
    assert client.override(model, person, REF) is None  # type: ignore[arg-type]  # as products do
    with pytest.raises(LooplineError) as raised:
        client.override(model, person, REF, strict=True)  # type: ignore[arg-type]  # as products do
    assert "secret" not in f"{raised.value} {caplog.text}"


def test_an_override_takes_no_longer_than_it_was_given_whatever_hangs(
    make: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A resolver that does not answer is waited for as long as a server that does not."""
    release = threading.Event()

    def hang(*_: object, **__: object) -> object:
        release.wait(10)
        raise socket.gaierror(-2, "Name or service not known")

    client = make(url="http://loop.test:8710")
    monkeypatch.setattr(socket, "getaddrinfo", hang)
    try:
        for seconds in (0.2, 0.4):
            began = time.monotonic()
            assert ask(client, timeout=seconds) is None
            assert time.monotonic() - began < seconds + 0.4
    finally:
        release.set()


def test_a_server_may_live_below_a_path(server: FakeServer, make: Make) -> None:
    """A prefix in the URL, with or without a slash at its end, stays in front of every route."""
    for end in ("/loop", "/loop/"):
        client = make(url=server.url + end)
        client.thumb("p-1", "up")
        assert client.flush(5)
    assert {path for path, _, _ in server.requests} == {"/loop/v1/events"}
