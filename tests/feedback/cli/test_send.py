"""Sending batches to a server that is away, busy or strict: order and content stay, nothing is doubled."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime
from typing import Any

import pytest

from feedback.cli.batches import batches, encode
from feedback.cli.commands.send import BACKFILL, RefusedItem, Tally
from feedback.server_client import Answer, EventSender, NoAnswer, NotAccepted, NotAcknowledged
from schemas.errors import Refused, Unavailable

Reply = Callable[[list[bytes]], Answer]

OURS = {"content-type": "application/problem+json"}


def problem(code: str, detail: str) -> dict[str, str]:
    """A problem as Loopline words it."""
    return {"type": f"urn:loopline:problem:{code}", "title": "No", "code": code, "detail": detail}


def takes_all(items: list[bytes]) -> Answer:
    """Every item is accepted."""
    return taken(["accepted"] * len(items))


def taken(statuses: list[str], position: str = "0:1,dead:0") -> Answer:
    """A 200 with these statuses."""
    items = [
        {"index": index, "id": f"e-{index}", "status": status}
        | ({"problem": problem("invalid_value", "no")} if status == "refused" else {})
        for index, status in enumerate(statuses)
    ]
    document = {
        "accepted": statuses.count("accepted"),
        "refused": statuses.count("refused"),
        "position": position,
        "items": items,
    }
    return Answer(200, {}, json.dumps(document).encode())


def fails(status: int, code: str | None = None, **headers: str) -> Reply:
    """An answer of this status: a problem of ours with a code, else a page of something in between."""
    if code is None:
        return lambda items: Answer(status, {"content-type": "text/html", **headers}, b"<html>")
    body = json.dumps(problem(code, "why")).encode()
    return lambda items: Answer(status, {**OURS, **headers}, body)


def away(items: list[bytes]) -> Answer:
    """Nobody answers."""
    raise NoAnswer("nobody at home")


class Scripted:
    """A service that gives scripted replies, then accepts, and remembers what it was sent."""

    name = "scripted"

    def __init__(self, *replies: Reply) -> None:
        self.replies = list(replies)
        self.sent: list[list[bytes]] = []
        self.headers: list[Mapping[str, str]] = []

    def request(
        self, method: str, path: str, body: bytes = b"", headers: Mapping[str, str] | None = None
    ) -> Answer:
        assert (method, path) == ("POST", "/v1/events")
        items = body.split(b"\n")
        self.sent.append(items)
        self.headers.append(headers or {})
        return (self.replies.pop(0) if self.replies else takes_all)(items)

    def close(self) -> None:
        """Nothing is held."""


EVENTS = [b'{"n":1}', b'{"n":2}', b'{"n":3}']


def send(
    service: Scripted, patience_s: float = 60.0, headers: dict[str, str] | None = None
) -> tuple[Tally, Any]:
    """Send the three events in one batch; gives what became of them, and the pauses made."""
    pauses: list[float] = []
    tally = Tally()
    sender = EventSender(service, patience_s, headers, sleep=pauses.append, uniform=lambda low, high: high)
    for batch in batches(EVENTS):
        sender.send(batch.items, encode, tally.note)
    return tally, pauses


@pytest.mark.parametrize(
    "trouble",
    [away, fails(503, "not_durable"), *(fails(status) for status in (408, 425, 429, 500, 502, 503, 504))],
)
def test_a_server_that_is_away_is_tried_again_with_the_same(trouble: Reply) -> None:
    """The same bytes in the same order, with longer pauses, until they are taken."""
    service = Scripted(trouble, trouble, trouble)
    tally, pauses = send(service)
    assert service.sent == [EVENTS] * 4
    assert tally.accepted == 3
    assert len(pauses) == 3
    assert pauses[2] > pauses[0]


@pytest.mark.parametrize("status", [429, 502, 503, 504])
def test_retry_after_is_heeded(status: int) -> None:
    """A pause is as long as the server asks, in seconds or as a date."""
    _, pauses = send(Scripted(fails(status, **{"retry-after": "2"})))
    assert pauses == [2]
    then = format_datetime(datetime.now(UTC) + timedelta(seconds=30), usegmt=True)
    _, pauses = send(Scripted(fails(status, **{"retry-after": then})))
    assert 25 < pauses[0] <= 30


def test_a_server_that_asks_for_more_silence_than_there_is_patience_is_told_of_at_once() -> None:
    """Waiting would be in vain, and trying sooner is not what was asked."""
    with pytest.raises(Unavailable, match="asks for 300 s of silence"):
        send(Scripted(fails(503, "not_durable", **{"retry-after": "86400"})))


def test_patience_ends() -> None:
    """Nobody is waited for forever; what was said last is told."""
    with pytest.raises(Unavailable, match="nobody at home"):
        send(Scripted(*[away] * 99), patience_s=0.0)


def test_only_what_was_put_off_is_sent_again() -> None:
    """Items answered with `retry` go again, in order, and the others do not."""
    service = Scripted(lambda items: taken(["accepted", "retry", "retry"]))
    tally, _ = send(service)
    assert service.sent == [EVENTS, EVENTS[1:]]
    assert tally.accepted == 3


def test_a_refused_item_keeps_its_place() -> None:
    """The index is that of the input, also when the item went in a later request."""
    service = Scripted(
        lambda items: taken(["retry", "accepted", "retry"]), lambda items: taken(["accepted", "refused"])
    )
    tally, _ = send(service)
    assert tally.accepted == 2
    assert tally.refused == [RefusedItem(2, "e-1", "invalid_value", "no")]


@pytest.mark.parametrize("status,code", [(400, "invalid_json"), (413, "too_large")])
def test_a_body_that_is_not_taken_is_halved(status: int, code: str) -> None:
    """One item at fault does not keep the others out."""
    no = fails(status, code)
    service = Scripted(no, takes_all, no, no, takes_all)
    tally, _ = send(service)
    assert service.sent == [EVENTS, EVENTS[:1], EVENTS[1:], EVENTS[1:2], EVENTS[2:]]
    assert tally.accepted == 2
    assert tally.refused == [RefusedItem(1, None, code, "why")]


FOREIGN_STATUSES = (200, 201, 301, 302, 400, 401, 403, 404, 405, 410, 422, 451, 501, 505, 511)
NO_LOOPLINE = [*(fails(status) for status in FOREIGN_STATUSES)]


@pytest.mark.parametrize("answer", NO_LOOPLINE)
def test_what_is_no_loopline_is_told_at_once_in_one_sentence(answer: Reply) -> None:
    """Nothing is taken for an acknowledgement or a refusal, and nothing is tried again; exit status 3."""
    service = Scripted(answer)
    with pytest.raises(Unavailable, match=r"^scripted answered \d+ \(text/html\), which is not how"):
        send(service)
    assert len(service.sent) == 1


def test_a_request_that_the_server_does_not_serve_is_told_in_its_words() -> None:
    """A wrong path below the address, say: the server is there, and trying again would not help."""
    service = Scripted(fails(404, "not_found"))
    with pytest.raises(Refused, match="scripted answered 404: why"):
        send(service)
    assert len(service.sent) == 1


def test_backfill_is_said_in_a_header() -> None:
    """Old events are marked so that they are left out of latency metrics."""
    service = Scripted()
    send(service, headers=BACKFILL)
    assert service.headers[0]["Loopline-Backfill"] == "1"
    service = Scripted()
    send(service)
    assert "Loopline-Backfill" not in service.headers[0]


def test_one_event_is_answered_with_its_position_or_its_refusal() -> None:
    """Whoever decides something sends a single event, and hears which it is."""

    sender = EventSender(
        Scripted(lambda _: taken(["accepted"], "0:7"), lambda _: taken(["refused"], "0:7,dead:2"))
    )
    assert sender.send_event({"id": "e-1"}) == "0:7"
    with pytest.raises(NotAccepted, match="invalid_value") as refusal:
        sender.send_event({"id": "e-1"})
    assert (refusal.value.code, refusal.value.position) == ("invalid_value", "0:7,dead:2")


def test_without_patience_one_try_tells_when_to_come_back() -> None:
    """A decider has a loop of its own: it is told what the server asked for."""
    service = Scripted(fails(503, "not_durable", **{"retry-after": "7"}), away)
    sender = EventSender(service, sleep=lambda _: pytest.fail("it is not to wait"))
    for wait_s in (7.0, 0.0):
        with pytest.raises(NotAcknowledged) as failure:
            sender.send_event({"id": "e-1"})
        assert failure.value.wait_s == wait_s
    assert len(service.sent) == 2
