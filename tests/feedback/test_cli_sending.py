"""Sending batches to a server that is away, busy or strict: order and content stay, nothing is doubled."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from typing import Any

import pytest

from feedback.cli.batches import batches
from feedback.cli.endings import Unreachable
from feedback.cli.sending import BACKFILL, RefusedItem, Sender, Tally
from feedback.service import Answer, NoAnswer

Reply = Callable[[list[bytes]], Answer]


def takes_all(items: list[bytes]) -> Answer:
    """Every item is accepted."""
    return taken(["accepted"] * len(items))


def taken(statuses: list[str], position: str = "0:1,dead:0") -> Answer:
    """A 200 with these statuses."""
    items = [
        {"index": index, "id": f"e-{index}", "status": status}
        | ({"problem": {"code": "invalid_value", "detail": "no"}} if status == "refused" else {})
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
    """An answer of this status."""
    body = json.dumps({"code": code, "title": "No", "detail": "why"}).encode() if code else b""
    return lambda items: Answer(status, headers, body)


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
    sender = Sender(service, patience_s, headers or {}, sleep=pauses.append)
    for batch in batches(EVENTS):
        sender.send(batch, tally)
    return tally, pauses


@pytest.mark.parametrize("trouble", [away, fails(503, "not_durable"), fails(500), fails(502)])
def test_a_server_that_is_away_is_tried_again_with_the_same(trouble: Reply) -> None:
    """The same bytes in the same order, with longer pauses, until they are taken."""
    service = Scripted(trouble, trouble, trouble)
    tally, pauses = send(service)
    assert service.sent == [EVENTS] * 4
    assert tally.accepted == 3
    assert len(pauses) == 3
    assert pauses[2] > pauses[0]


def test_retry_after_is_heeded() -> None:
    """A pause is at least as long as the server asks, within reason."""
    _, pauses = send(Scripted(fails(503, "not_durable", **{"retry-after": "2"})))
    assert 1.5 < pauses[0] < 2.5
    _, pauses = send(Scripted(fails(503, "not_durable", **{"retry-after": "86400"})))
    assert pauses[0] < 4


def test_patience_ends() -> None:
    """Nobody is waited for forever; what was said last is told."""
    with pytest.raises(Unreachable, match="nobody at home") as refusal:
        send(Scripted(*[away] * 99), patience_s=0.0)
    assert refusal.value.exit_code == 3


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
def test_a_body_that_is_not_taken_is_sent_item_by_item(status: int, code: str) -> None:
    """One item at fault does not keep the others out."""
    service = Scripted(fails(status, code), takes_all, fails(status, code), takes_all)
    tally, _ = send(service)
    assert service.sent == [EVENTS, *([each] for each in EVENTS)]
    assert tally.accepted == 2
    assert tally.refused == [RefusedItem(1, None, code, "why")]


def test_a_page_that_is_no_answer_is_told() -> None:
    """A 200 of something else is not taken for an acknowledgement."""
    from feedback.cli.endings import Refused

    with pytest.raises(Refused, match="scripted answered 200"):
        send(Scripted(lambda items: Answer(200, {}, b"<html>")))


def test_backfill_is_said_in_a_header() -> None:
    """Old events are marked so that they are left out of latency metrics."""
    service = Scripted()
    send(service, headers=BACKFILL)
    assert service.headers[0]["Loopline-Backfill"] == "1"
    service = Scripted()
    send(service)
    assert "Loopline-Backfill" not in service.headers[0]
