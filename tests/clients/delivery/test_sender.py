"""What the background does with a server that is away, busy, slow, half dead or that says no."""

from __future__ import annotations

import base64
import logging
import subprocess
import sys
import threading
import time
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime
from pathlib import Path

import pytest

from loopline import Client
from loopline.delivery import queue
from loopline.delivery.address import parse_url
from tests.clients.conftest import Make
from tests.services import fake_server as moves
from tests.services.fake_server import FakeServer, serving
from tests.services.ports import free_port


def settled(client: Client) -> dict[str, int]:
    """The numbers that say where events ended."""
    return {name: count for name, count in client.stats().items() if count and name != "requests"}


def test_events_arrive_as_one_batch_over_one_connection(server: FakeServer, make: Make) -> None:
    """What is said within the linger travels together, and the next over the same connection."""
    client = make(linger=0.05)
    ids = [client.thumb("p-1", "up", person=f"u-{number}") for number in range(20)]
    assert client.flush(5)
    client.thumb("p-2", "down")
    assert client.flush(5)
    assert list(server.accepted)[:20] == ids
    assert [path for path, _, _ in server.requests] == ["/v1/events"] * 2
    assert server.requests[0][1]["Content-Type"] == "application/cloudevents-batch+json"
    assert server.connections_made == 1
    assert settled(client) == {"accepted": 21}


def test_a_request_stays_within_the_limits_of_the_contract(server: FakeServer, make: Make) -> None:
    """No request has more than 500 events or 512 KiB, however much waits."""
    client = make()
    for number in range(1_200):
        client.thumb(f"p-{number}", "up")
    for number in range(40):
        client.comment(f"p-{number}", "x" * 30_000)
    assert client.flush(10)
    bodies = [body for _, _, body in server.requests]
    assert max(map(len, bodies)) <= queue.BATCH_BYTES + 2
    assert max(body.count(b'"specversion"') for body in bodies) <= queue.BATCH_ITEMS
    assert len(server.accepted) == 1_240


@pytest.mark.parametrize(
    "move",
    [
        moves.status(500),
        moves.status(503),
        moves.status(429),
        moves.status(408),
        moves.status(302, Location="http://elsewhere/"),
        moves.hang_up,
        moves.take_and_hang_up,
        moves.take_and_half_answer,
        moves.greeting_page,
    ],
    ids=["500", "503", "429", "408", "302", "hang up", "take, hang up", "half answer", "greeting page"],
)
def test_what_was_not_answered_is_sent_again_with_its_id(
    server: FakeServer, make: Make, move: moves.Move
) -> None:
    """Anything but a whole, readable answer means: the same events with the same ids, once more."""
    server.script = [move, move]
    client = make()
    sent = client.thumb("p-1", "up")
    assert client.flush(5)
    assert list(server.accepted) == [sent]
    first, *others = [body for _, _, body in server.requests]
    assert len(others) == 2
    assert others == [first, first]
    assert client.stats()["failures"] == 2
    assert client.stats()["accepted"] == 1


def test_a_server_that_is_not_there_yet_gets_everything_when_it_comes(
    monkeypatch: pytest.MonkeyPatch, make: Make
) -> None:
    """A refused connection loses nothing: events wait in memory and go out when somebody listens."""
    port = free_port()
    client = make(url=f"http://127.0.0.1:{port}")
    ids = {client.thumb(f"p-{number}", "up") for number in range(30)}
    assert not client.flush(0.2)
    assert client.stats()["queued"] == 30
    with serving(port) as late:
        assert client.flush(5)
        assert set(late.accepted) == ids
        client.close()


def test_retry_after_is_honoured(server: FakeServer, make: Make) -> None:
    """A 503 with Retry-After silences the client for that long, also when somebody flushes."""
    server.script = [moves.status(503, Retry_After="1")]
    client = make()
    began = time.monotonic()
    client.thumb("p-1", "up")
    assert not client.flush(0.3)
    assert len(server.requests) == 1
    assert client.flush(5)
    assert 0.95 < time.monotonic() - began < 3


def test_refused_events_are_logged_and_handed_over_and_never_sent_again(
    server: FakeServer, make: Make, caplog: pytest.LogCaptureFixture
) -> None:
    """One bad event is the product's to hear of, with the server's reason; the others go on."""
    heard: list[tuple[str, str]] = []
    client = make(on_refused=lambda event, problem: heard.append((event["id"], problem["detail"])))
    ids = [client.thumb("p-1", "up", id=f"e-{number}") for number in range(5)]
    server.script = [moves.judge({"e-2": "refused"})]
    with caplog.at_level(logging.ERROR, "loopline"):
        assert client.flush(5)
    assert heard == [("e-2", "because of refused")]
    assert "e-2" in caplog.text
    assert "because of refused" in caplog.text
    assert set(server.accepted) == set(ids) - {"e-2"}
    assert len(server.requests) == 1
    assert settled(client) == {"accepted": 4, "refused": 1}


def test_an_on_refused_that_raises_or_talks_back_does_no_harm(server: FakeServer, make: Make) -> None:
    """The callback may raise, exit, or use the client; the sender goes on."""
    moods = iter([ValueError("no"), SystemExit(3)])

    def on_refused(event: moves.Event, problem: dict[str, object]) -> None:
        client.comment("p-1", f"refused {event['id']}")
        assert not client.flush(1), "a flush from the sender's own thread cannot wait for itself"
        assert not client.close()
        raise next(moods)

    client = make(on_refused=on_refused)
    server.script = [moves.judge({"e-1": "refused", "e-2": "refused"})]
    client.thumb("p-1", "up", id="e-1")
    client.thumb("p-1", "up", id="e-2")
    assert client.flush(5)
    texts = {event["data"]["text"] for event in server.accepted.values()}
    assert texts == {"refused e-1", "refused e-2"}


def test_items_to_retry_are_sent_again_alone(server: FakeServer, make: Make) -> None:
    """An item answered with `retry` comes again with its id; what was accepted beside it does not."""
    client = make()
    server.script = [moves.judge({"e-0": "retry", "e-3": "retry"})]
    for number in range(5):
        client.thumb("p-1", "up", id=f"e-{number}")
    assert client.flush(5)
    assert server.times_accepted == {f"e-{number}": 1 for number in range(5)}
    assert settled(client) == {"accepted": 5, "failures": 1}


def test_a_batch_that_is_too_large_is_divided(server: FakeServer, make: Make) -> None:
    """413 to the whole body divides it until the parts are taken; no event is lost or accepted twice."""
    server.otherwise = moves.at_most(3)
    client = make()
    ids = [client.thumb(f"p-{number}", "up") for number in range(20)]
    assert client.flush(5)
    assert server.times_accepted == dict.fromkeys(ids, 1)


@pytest.mark.parametrize("spooled", [False, True])
def test_an_outage_while_a_batch_is_divided_loses_none_of_its_parts(
    server: FakeServer, make: Make, tmp_path: Path, spooled: bool
) -> None:
    """When the server goes away between two halves, both are sent again."""
    server.script = [moves.status(413), moves.status(500), moves.status(413), moves.accept, moves.hang_up]
    client = make(spool=tmp_path if spooled else None, linger=0.05)
    ids = [client.thumb(f"p-{number}", "up") for number in range(20)]
    assert client.flush(5)
    assert server.times_accepted == dict.fromkeys(ids, 1)


def test_one_poisonous_event_is_found_and_given_up(server: FakeServer, make: Make) -> None:
    """A body answered 400 because of one event is divided down to it; it is refused, never sent for ever."""

    def poison(handler: moves.Handler, events: list[moves.Event]) -> None:
        bad = any(event["id"] == "e-13" for event in events)
        (moves.status(400) if bad else moves.accept)(handler, events)

    heard: list[str] = []
    server.otherwise = poison
    client = make(on_refused=lambda event, problem: heard.append(event["id"]))
    for number in range(40):
        client.thumb("p-1", "up", id=f"e-{number}")
    assert client.flush(5)
    assert heard == ["e-13"]
    assert len(server.accepted) == 39
    assert len(server.requests) < 20


IN_BETWEEN = {
    "a login page": moves.page(401),
    "a firewall": moves.page(403, b'{"error": "forbidden"}', "application/json"),
    "an ingress without backends": moves.page(404, b"default backend - 404", "text/plain"),
    "a static site": moves.page(405),
    "a proxy that is full": moves.page(413),
    "a site that is gone": moves.page(410),
    "a censor": moves.page(451),
    "a proxy's own login": moves.page(407),
    "a redirect": moves.page(308, b"", Location="https://elsewhere/"),
    "another service's 400": moves.page(400, b'{"type":"about:blank"}', "application/problem+json"),
    "another service's 422": moves.page(422, b'{"detail": []}', "application/json"),
    "another service's 201": moves.page(201, b'{"id": 7}', "application/json"),
    "a server that takes no POST": moves.page(501),
    "the server's own door": moves.page(
        400, moves.encoded(moves.problem("invalid_request")), "application/problem+json"
    ),
    "a wrong path": moves.page(404, moves.encoded(moves.problem("not_found")), "application/problem+json"),
}


@pytest.mark.parametrize("spooled", [False, True], ids=["memory", "spool"])
@pytest.mark.parametrize("in_between", IN_BETWEEN.values(), ids=IN_BETWEEN.keys())
def test_what_is_not_loopline_s_word_drops_nothing(
    server: FakeServer, make: Make, tmp_path: Path, in_between: moves.Move, spooled: bool
) -> None:
    """Events wait while something else answers, flush() says so, and all arrive once Loopline answers."""
    heard: list[object] = []
    server.otherwise = in_between
    client = make(
        spool=tmp_path / "spool" if spooled else None, on_refused=lambda *refusal: heard.append(refusal)
    )
    ids = [client.thumb(f"p-{number}", "up") for number in range(3)]
    assert not client.flush(0.1)
    stats = client.stats()
    assert stats["queued"] + stats["spooled"] == 3
    assert stats["failures"] > 0
    assert (stats["refused"], stats["dropped"], heard) == (0, 0, [])
    server.otherwise = moves.accept
    assert client.flush(5)
    assert server.times_accepted == dict.fromkeys(ids, 1)


def test_what_is_not_loopline_is_told_loudly_and_not_with_every_attempt(
    server: FakeServer, make: Make, caplog: pytest.LogCaptureFixture
) -> None:
    """One error says how many events wait, where and for what; further attempts say it once a minute."""
    server.otherwise = moves.page(403)
    client = make()
    client.thumb("p-1", "up", person="u-secret")
    for _ in range(5):
        client.flush(0.05)
    assert client.stats()["foreign"] == client.stats()["failures"] > 1
    (line,) = [record for record in caplog.records if record.name == "loopline"]
    assert line.levelno == logging.ERROR
    assert "1 events wait" in line.getMessage()
    assert "answered 403 (text/html)" in line.getMessage()
    assert server.url in line.getMessage()
    assert "u-secret" not in line.getMessage()


def test_an_event_that_a_proxy_never_lets_through_holds_up_no_other(
    server: FakeServer, make: Make, tmp_path: Path
) -> None:
    """A proxy with a small limit: everything below it arrives, now and later; what is above it waits."""

    def small(handler: moves.Handler, events: list[moves.Event]) -> None:
        size = int(handler.headers["Content-Length"])
        (moves.page(413) if size > 1_000 else moves.accept)(handler, events)

    server.otherwise = small
    for spool in (None, tmp_path / "spool"):
        client = make(spool=spool)
        large = client.comment("p-1", "x" * 2_000)
        ids = {client.thumb(f"p-{number}", "up") for number in range(20)}
        assert not client.flush(0.5)
        ids |= {client.thumb(f"p-{number}", "down") for number in range(5)}
        assert not client.flush(0.5)
        assert ids <= set(server.accepted)
        assert large not in server.accepted
        assert client.stats()["queued"] + client.stats()["spooled"] == 1


def test_an_item_that_is_put_off_for_ever_holds_up_no_other(server: FakeServer, make: Make) -> None:
    """Without a spool too, what is to be tried again travels with what is new."""
    server.otherwise = moves.judge({"e-never": "retry"})
    client = make()
    client.thumb("p-1", "up", id="e-never")
    assert not client.flush(0.1)
    ids = {client.thumb(f"p-{number}", "up") for number in range(20)}
    assert not client.flush(0.5)
    assert set(server.accepted) == ids


def test_who_speaks_is_said_with_each_request_and_shown_nowhere(
    make: Make, server: FakeServer, caplog: pytest.LogCaptureFixture
) -> None:
    """User and password of the URL and given headers are sent; neither log, repr nor stats() has them."""
    url = server.url.replace("http://", "http://al%69ce:s3%2Fcr%40t@")
    client = make(url=url, headers={"X-Token": "t0ken"})
    client.thumb("p-1", "up")
    assert client.flush(5)
    _, headers, _ = server.requests[0]
    assert headers["Authorization"] == "Basic " + base64.b64encode(b"alice:s3/cr@t").decode()
    assert headers["X-Token"] == "t0ken"
    server.otherwise = moves.page(401)
    client.thumb("p-1", "down")
    client.flush(0.1)
    client.override("m", "u", "r")
    told = f"{caplog.text} {client!r} {client.url} {client.stats()} {parse_url(url)!r}"
    assert server.url in told
    assert not [each for each in ("alice", "al%69ce", "s3/cr@t", "s3%2F", "t0ken") if each in told]


def test_a_connection_the_server_closed_while_idle_is_replaced_at_once(
    server: FakeServer, make: Make
) -> None:
    """A keep-alive connection that ended between requests is no failure and costs no backoff."""

    def last(handler: moves.Handler, events: list[moves.Event]) -> None:
        moves.accept(handler, events)
        handler.hang_up()

    server.script = [last]
    client = make()
    client.thumb("p-1", "up")
    assert client.flush(5)
    client.thumb("p-2", "up")
    assert client.flush(5)
    assert settled(client) == {"accepted": 2}
    assert server.connections_made == 2


def test_a_silent_server_does_not_hold_the_product_or_the_process(server: FakeServer, make: Make) -> None:
    """With a request hanging, calls return at once, the queue stays bounded, and close() keeps its time."""
    server.otherwise = moves.silence
    client = make(queue_size=1_000, timeout=20)
    client.thumb("p-0", "up")
    time.sleep(0.1)
    slowest = 0.0
    for number in range(3_000):
        began = time.perf_counter()
        client.thumb(f"p-{number}", "up")
        slowest = max(slowest, time.perf_counter() - began)
    assert slowest < 0.25
    assert client.stats()["dropped"] == 2_000
    assert client.stats()["queued"] == 1_001
    began = time.monotonic()
    assert not client.close(0.3)
    assert time.monotonic() - began < 2
    assert client.stats()["dropped"] == 3_001
    assert client.stats()["queued"] == 0


def test_a_request_that_times_out_is_sent_again(server: FakeServer, make: Make) -> None:
    """A server that answers nothing within the timeout is left, and the events come again."""
    server.script = [moves.silence]
    client = make(timeout=0.2)
    sent = client.thumb("p-1", "up")
    assert client.flush(5)
    assert list(server.accepted) == [sent]
    assert client.stats()["failures"] == 1


@pytest.mark.usefixtures("eager_threads")
def test_threads_may_speak_at_the_same_time(server: FakeServer, make: Make) -> None:
    """Many threads, one client, a server that fails now and then: every event arrives."""
    server.script = [moves.status(503), moves.accept, moves.take_and_hang_up, moves.accept] * 3
    client = make()
    ids: list[list[str]] = [[] for _ in range(6)]

    def speak(own: list[str]) -> None:
        own += [client.thumb(f"p-{number}", "up") for number in range(300)]

    threads = [threading.Thread(target=speak, args=(own,)) for own in ids]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert client.flush(10)
    assert set(server.accepted) == {each for own in ids for each in own}
    assert client.stats()["accepted"] == 1_800


def test_close_delivers_and_then_nothing_is_taken(
    server: FakeServer, make: Make, caplog: pytest.LogCaptureFixture
) -> None:
    """Leaving the with block delivers; a call after it is dropped, counted, logged and harmless."""
    with make() as client:
        client.thumb("p-1", "up")
    assert len(server.accepted) == 1
    client.thumb("p-1", "down")
    assert client.stats()["dropped"] == 1
    assert "the client was closed" in caplog.text
    assert client.close()
    assert len(server.accepted) == 1


def test_a_client_that_is_let_go_still_delivers(server: FakeServer, make: Make) -> None:
    """A client nobody closed and nobody holds any more sends what it had, and its thread ends."""
    before = set(threading.enumerate())
    client = Client(server.url, "/test", linger=0.01)
    client.thumb("p-1", "up")
    (thread,) = {each for each in threading.enumerate() if each.name == "loopline-sender"} - before
    del client
    deadline = time.monotonic() + 5
    while not server.accepted and time.monotonic() < deadline:
        time.sleep(0.01)
    assert len(server.accepted) == 1
    thread.join(5)
    assert not thread.is_alive()


def test_a_client_that_is_let_go_as_the_process_ends_still_delivers(server: FakeServer) -> None:
    """A script whose client lives in a function delivers, though client and process end together."""
    code = (
        "import sys\nfrom loopline import Client\n"
        "def main(): Client(sys.argv[1], '/test').thumb('p-1', 'up')\n"
        "main()\n"
    )
    subprocess.run([sys.executable, "-c", code, server.url], check=True, timeout=20)
    assert len(server.accepted) == 1


def test_retry_after_may_be_a_date(server: FakeServer, make: Make) -> None:
    """Retry-After as an HTTP date in the past costs nothing more than a backoff."""
    past = format_datetime(datetime.now(UTC) - timedelta(hours=1), usegmt=True)
    server.script = [moves.status(503, Retry_After=past)]
    client = make()
    client.thumb("p-1", "up")
    assert client.flush(3)
