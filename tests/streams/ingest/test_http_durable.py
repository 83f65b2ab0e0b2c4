"""The collector: nothing is answered before it is on disk, and what is answered is counted."""

from __future__ import annotations

import asyncio
import json
from typing import Any

import msgspec
import pytest

from streams.ingest import http as collector
from streams.ingest.replay import marked
from streams.log.block import raw_items
from streams.log.port import NotDurable
from tests.streams.asking import BATCH, SINGLE, Answer, ask, encoded, event, thumb
from tests.streams.ingest.serving import Served


def test_no_answer_comes_before_its_append(served: Served) -> None:
    """However many requests, each 200 follows the append that holds its event, and they share appends."""

    async def run() -> list[Answer]:
        served.log.open.clear()
        requests = [
            asyncio.ensure_future(ask(served.app, encoded(thumb(f"t-{number}")), SINGLE))
            for number in range(40)
        ]
        await asyncio.sleep(0.1)
        assert not any(request.done() for request in requests)
        assert served.items() == []
        served.log.open.set()
        return list(await asyncio.gather(*requests))

    answers = asyncio.run(run())
    assert {answer.status for answer in answers} == {200}
    assert served.log.appends <= 3
    assert len(served.items()) == 40
    # Each answer's position covers the block in which its event lies.
    for answer in answers:
        end = int(answer.json["position"].split(",")[0].removeprefix("0:"))
        covered = [item for record in served.log.read(0, 0, end) for item in raw_items(record)]
        assert any(msgspec.json.decode(item)["id"] == answer.json["items"][0]["id"] for item in covered)


@pytest.mark.parametrize(
    "body,content_type", [(encoded([thumb()]), BATCH), (encoded(thumb()), SINGLE), (b"{", SINGLE)]
)
def test_what_cannot_be_written_is_503(served: Served, body: bytes, content_type: str) -> None:
    """Never a false answer, not even a 422 whose item could not be kept; and whole again afterwards."""
    served.log.fail = NotDurable("the disk is full")
    answer = served.ask(body, content_type)
    assert (answer.status, answer.headers["retry-after"]) == (503, "1")
    assert (answer.json["code"], answer.json["status"]) == ("not_durable", 503)
    assert "disk is full" in answer.json["detail"]
    assert served.sample("loopline_events_accepted_total") == 0
    assert served.sample("loopline_not_durable_total") == 1
    served.log.fail = None
    assert served.ask(body, content_type).status in (200, 400)
    assert served.items() + [letter.bytes for letter in served.letters()] != []


def test_what_is_counted(served: Served) -> None:
    """Accepted and refused items, clocks that run ahead, and how long an answer took."""
    ahead = thumb("t-2", time="2031-01-01T00:00:00Z")
    served.ask(encoded([thumb("t-1"), ahead, 7]))
    assert served.sample("loopline_events_accepted_total") == 2
    assert served.sample("loopline_events_refused_total", code="invalid_value") == 1
    assert served.sample("loopline_clock_ahead_total") == 1
    assert served.sample("loopline_ack_seconds_count") == 1
    assert served.sample("loopline_commit_seconds_count") == 1


def test_old_events_are_left_out_of_latency_metrics(served: Served) -> None:
    """A request that says it is a backfill is counted, and not timed."""
    served.ask(encoded([thumb("t-1")]), headers=[("loopline-backfill", "1")])
    assert served.sample("loopline_events_accepted_total") == 1
    assert served.sample("loopline_ack_seconds_count") == 0
    served.ask(encoded([thumb("t-2")]), headers=[("loopline-backfill", "0")])
    assert served.sample("loopline_ack_seconds_count") == 1


def test_a_prediction_and_a_declaration_are_accepted(served: Served) -> None:
    """Every group of types has its way in, with the rules over several fields."""
    made = event("prediction.made", "e-1", prediction_id="p", model="m", model_version="1", output=None)
    declared = event("model.declared", "e-2", model="m", model_version="1", output_shape={"labels": ["a"]})
    both = event(
        "model.declared", "e-3", model="m", model_version="1", output_shape={"labels": ["a"], "text": True}
    )
    answer = served.ask(encoded([made, declared, both]))
    assert [item["status"] for item in answer.json["items"]] == ["accepted", "accepted", "refused"]


def test_a_defect_is_a_problem_too(served: Served, monkeypatch: pytest.MonkeyPatch) -> None:
    """An unforeseen error says nothing of the inside to the client, and is raised for the server's log."""
    monkeypatch.setattr(collector, "admit", lambda *_: 1 / 0)
    sent: list[Any] = []

    async def run() -> None:
        async def receive() -> Any:
            return {"type": "http.request", "body": b"{}"}

        async def send(message: Any) -> None:
            sent.append(message)

        scope = {"type": "http", "method": "POST", "headers": [(b"content-type", b"application/json")]}
        await served.app(scope, receive, send)

    with pytest.raises(ZeroDivisionError):
        asyncio.run(run())
    assert sent[0]["status"] == 500
    assert b"division" not in sent[1]["body"]


def test_a_dead_letter_that_is_put_back_in_vain_is_kept_once(served: Served) -> None:
    """Whoever says that dead letters are put back, and of which, is told, and no second one is made."""
    wrong = encoded({**thumb("t-1"), "type": "loopline.feedback.smell.v1"})
    served.ask(encoded([json.loads(wrong)]))
    letters = len(served.letters())
    again = marked("dead:0:0", wrong)
    for headers, more in (([("loopline-replay", "1")], 0), ([("loopline-replay", "0")], 1), ([], 1)):
        answer = served.ask(b"[" + again + b"]", headers=headers)
        assert [item["status"] for item in answer.json["items"]] == ["refused"]
        letters += more
        assert len(served.letters()) == letters
    served.ask(b"[" + wrong + b"]", headers=[("loopline-replay", "1")])
    assert len(served.letters()) == letters + 1


@pytest.mark.parametrize(
    "name, item",
    [
        ("dead:7:0", None),
        ("dead:0:7", None),
        ("dead:999999999999999999:0", None),
        ("0:0:0", None),
        ("dead:0:0", {"id": "other"}),
        ("dead:abc", None),
    ],
)
def test_what_only_looks_put_back_is_kept(served: Served, name: str, item: Any) -> None:
    """The letter that it names is not there, or has other bytes: what was refused is kept."""
    wrong = {**thumb("t-1"), "type": "loopline.feedback.smell.v1"}
    served.ask(encoded([wrong]))
    again = marked(name, encoded({**wrong, **(item or {})}))
    answer = served.ask(b"[" + again + b"]", headers=[("loopline-replay", "1")])
    assert [item["status"] for item in answer.json["items"]] == ["refused"]
    assert [letter.bytes for letter in served.letters()] == [encoded(wrong), again]
