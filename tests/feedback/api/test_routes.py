"""Each read route: what it answers, and what it says of what is not there."""

from __future__ import annotations

import base64
import threading
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

from feedback.api.services import Waits
from schemas.instants import DAY, SECOND, rfc3339
from streams.ingest.replay import marked
from streams.log.block import DeadLetter, write_dead_letters
from streams.log.port import DEAD
from tests.feedback.conftest import NOW, Loop, correction, declared, made
from tests.streams.asking import SINGLE, encoded, event, thumb

REF = "ab" * 32


# --------------------------------------------------------------------------------------------- predictions


def test_a_prediction_comes_with_everything_said_about_it(loop: Loop) -> None:
    """Feedback by id and by join key is there, in the order of its instants, with the label that follows."""
    loop.send(
        declared(),
        made(join_key="case-1", input={"x": 1}),
        correction("c-1", time="2026-11-20T10:00:00Z"),
        thumb("t-1", person="ann", time="2026-11-20T09:59:00Z"),
        event(
            "feedback.confirmation",
            "y-1",
            model="m",
            join_key="case-1",
            person="bob",
            value="yes",
            time="2026-11-20T11:00:00Z",
        ),
        event("prediction.shown", "s-1", prediction_id="p-1", shown="a"),
        thumb("t-2", model="other"),
    )
    found = loop.get("/v1/predictions/p-1")
    reference = found["prediction"].pop("input_ref")
    assert len(reference) == 64
    assert found["prediction"] == made(join_key="case-1", input={"x": 1})["data"]
    assert [(item["id"], item["type"], item["person"], item["effective"]) for item in found["feedback"]] == [
        ("t-1", "loopline.feedback.thumb.v1", "ann", True),
        ("c-1", "loopline.feedback.correction.v1", "ann", True),
        ("y-1", "loopline.feedback.confirmation.v1", "bob", True),
    ]
    assert found["feedback"][1]["data"] == correction("c-1")["data"]
    assert found["feedback"][1]["at"] == "2026-11-20T10:00:00Z"
    assert found["feedback"][1]["source"] == "/shop"
    assert found["label"] == {"label": None, "agreement": 0.5, "people": 2}


def test_a_prediction_without_labels_has_none(loop: Loop) -> None:
    """No vote is no label; the product's own input_ref is shown as it was sent."""
    loop.send(made(input_ref=REF))
    assert loop.get("/v1/predictions/p-1") == {
        "prediction": made(input_ref=REF)["data"],
        "feedback": [],
        "label": None,
    }


def test_a_prediction_is_404_while_it_is_unknown(loop: Loop) -> None:
    """What was said about it waits, and does not make it known."""
    loop.send(thumb())
    said = loop.get("/v1/predictions/p-1", 404)
    assert said["code"] == "not_found"
    assert "?after=" in said["detail"]


@pytest.mark.parametrize("prediction_id", ["a/b/c", "ä ö?&#%", "line\nend\n", "..", " ", "a" * 256])
def test_ids_are_any_text(loop: Loop, prediction_id: str) -> None:
    """Slashes, line ends and whatever else an id holds can be asked for, percent-encoded."""
    from urllib.parse import quote

    loop.send(made(prediction_id, id="made"))
    path = "/v1/predictions/" + quote(prediction_id, safe="").replace(".", "%2E")
    assert loop.get(path)["prediction"]["prediction_id"] == prediction_id


# ------------------------------------------------------------------------------------------------- waiting


def test_waiting_says_for_what_and_since_when(loop: Loop) -> None:
    """Everything parked is listed, of every environment unless one is asked for, until it joins."""
    loop.send(
        thumb("t-1", "p-9"),
        event("feedback.thumb", "t-2", model="m", join_key="case/1", value="up", env="test"),
        event("feedback.retraction", "r-1", prediction_id="p-9", explains="t-x"),
        made("p-2"),
        correction("c-1", prediction_id="p-2"),
    )
    loop.now += 90_500_000_000
    items = {item["id"]: item for item in loop.pages("/v1/waiting", limit=1)}
    assert {name: item["waits_for"] for name, item in items.items()} == {
        "t-1": "prediction:p-9",
        "t-2": "join_key:m/case/1",
        "r-1": "event:t-x",
        "c-1": "declaration:m@1",
    }
    assert items["t-1"]["age_s"] == 90.5
    assert items["t-1"]["type"] == "loopline.feedback.thumb.v1"
    assert items["t-1"]["received"] == rfc3339(NOW)
    assert [item["id"] for item in loop.get("/v1/waiting", env="test")["items"]] == ["t-2"]
    loop.send(made("p-9"), declared())
    assert set(items) - {item["id"] for item in loop.pages("/v1/waiting")} == {"t-1", "c-1"}


# -------------------------------------------------------------------------------------------------- counts


def _counted(loop: Loop) -> None:
    loop.send(
        made("p-1", segment="s", time="2026-11-20T23:59:59Z"),
        made("p-2", model_version="2", time="2026-11-21T00:00:00Z"),
        made("p-3", model="other", env="test"),
        thumb("t-1", "p-1", person="ann"),
        thumb("t-2", "p-1", person="ann", value="down", time="2026-11-25T00:00:00Z"),
        thumb("t-3", "p-2", person="ann"),
    )


def test_counts_are_totals_unless_grouped(loop: Loop) -> None:
    """Without `by`, one item with everything of production; with nothing there, zeros."""
    assert loop.get("/v1/counts")["items"] == [{"n": 0, "events": 0}]
    _counted(loop)
    assert loop.get("/v1/counts")["items"] == [{"n": 4, "events": 5}]


def test_counts_are_grouped_and_chosen(loop: Loop) -> None:
    """Groups carry the fields asked for; feedback is counted under its prediction's fields and day."""
    _counted(loop)
    assert loop.pages("/v1/counts", by="kind,day,value", limit=2) == [
        {"kind": "feedback.thumb", "day": "2026-11-20", "value": "down", "n": 1, "events": 1},
        {"kind": "feedback.thumb", "day": "2026-11-20", "value": "up", "n": 0, "events": 1},
        {"kind": "feedback.thumb", "day": "2026-11-21", "value": "up", "n": 1, "events": 1},
        {"kind": "prediction.made", "day": "2026-11-20", "value": None, "n": 1, "events": 1},
        {"kind": "prediction.made", "day": "2026-11-21", "value": None, "n": 1, "events": 1},
    ]
    assert loop.get("/v1/counts", by="segment")["items"] == [
        {"segment": None, "n": 2, "events": 2},
        {"segment": "s", "n": 2, "events": 3},
    ]
    assert loop.get("/v1/counts", **{"from": "2026-11-21", "to": "2026-11-21"})["items"] == [
        {"n": 2, "events": 2}
    ]
    assert loop.get("/v1/counts", model="other")["items"] == [{"n": 0, "events": 0}]
    assert loop.get("/v1/counts", model="other", env="test")["items"] == [{"n": 1, "events": 1}]
    assert loop.get("/v1/counts", by="env")["items"] == [
        {"env": "prod", "n": 4, "events": 5},
        {"env": "test", "n": 1, "events": 1},
    ]


def test_counts_claim_nothing_that_is_on_its_way(loop: Loop, monkeypatch: pytest.MonkeyPatch) -> None:
    """While an append is slow, all before its receipt is claimed; once it is acknowledged and seen, all."""
    loop.send(made("p-1"))
    loop.now += DAY
    entered, going_on = threading.Event(), threading.Event()

    def slowly() -> None:
        entered.set()
        assert going_on.wait(10)

    loop.log.before_append = slowly
    received = loop.now
    with ThreadPoolExecutor(1) as sender:
        sent = sender.submit(lambda: loop.send(made("p-2"), project=False))
        try:
            assert entered.wait(10)
            loop.now += DAY
            assert loop.get("/v1/counts")["complete_up_to"] == rfc3339(received - 1)
        finally:
            going_on.set()
        sent.result(10)
    loop.project()
    assert loop.get("/v1/counts")["complete_up_to"] == rfc3339(loop.now)


def test_counts_leave_others_the_time_of_an_append(tmp_path: Path) -> None:
    """Where others write too, so much before the ends were known, and before the last block that was seen."""
    loop = Loop(tmp_path / "datasets", append_s=4.0)
    with loop.client:
        loop.send(made("p-1"), made("p-2"), made("p-3"))
        loop.now += DAY
        assert loop.get("/v1/counts")["complete_up_to"] == rfc3339(loop.now - 4 * SECOND)
        loop.send(made("p-1", output="b", id="again"), project=False)
        assert loop.get("/v1/counts")["complete_up_to"] == rfc3339(NOW - 4 * SECOND)
    loop.appender.stop()


def test_counts_say_up_to_when_they_are_complete(loop: Loop) -> None:
    """Now, at the log's end; else when the slowest partition's last block was received; else nothing."""
    loop.send(made("p-1"), made("p-2"), made("p-3"))
    loop.now += DAY
    assert loop.get("/v1/counts")["complete_up_to"] == rfc3339(loop.now)
    assert loop.get("/v1/counts")["mature_up_to"] == rfc3339(loop.now - 14 * DAY)
    loop.send(made("p-1", output="b", id="again"), project=False)
    loop.now += DAY
    assert loop.get("/v1/counts")["complete_up_to"] == rfc3339(NOW)
    fresh = loop.send(7, project=False)
    assert "dead:1" in fresh["position"]
    assert loop.get("/v1/counts")["complete_up_to"] is None


# --------------------------------------------------------------------------------------- labels, overrides


def test_labels_tell_candidates_and_agreement(loop: Loop) -> None:
    """One item a prediction, in pages; `disagree` keeps those with rivals."""
    loop.send(declared(labels=["a", "b", 7]))
    for number in range(5):
        loop.send(made(f"p-{number}"), correction(f"c-{number}", "b", f"p-{number}"))
    loop.send(
        correction("d-1", 7, "p-3", person="bob"),
        correction("d-2", 7, "p-3", person="cid"),
        made("p-t", env="test"),
        correction("c-t", "b", "p-t"),
    )
    items = loop.pages("/v1/labels/m", limit=2)
    assert [item["prediction_id"] for item in items] == [f"p-{number}" for number in range(5)]
    assert items[0] == {
        "prediction_id": "p-0",
        "label": "b",
        "agreement": 1.0,
        "people": 1,
        "channel": "correction",
        "candidates": [{"label": "b", "people": 1, "events": [{"id": "c-0", "source": "/shop"}]}],
    }
    (rivals,) = loop.get("/v1/labels/m", disagree=1)["items"]
    assert (rivals["label"], rivals["people"], round(rivals["agreement"], 3)) == (7, 3, 0.667)
    assert [(one["label"], one["people"]) for one in rivals["candidates"]] == [(7, 2), ("b", 1)]
    assert len(loop.get("/v1/labels/m", disagree=0)["items"]) == 5
    assert [item["prediction_id"] for item in loop.get("/v1/labels/m", env="test")["items"]] == ["p-t"]
    assert loop.get("/v1/labels/nobody") == {"items": [], "next": None}


def test_an_override_is_the_persons_own_latest(loop: Loop) -> None:
    """What ann said last about this input is what ann gets; nobody else does; a retraction takes it back."""
    loop.send(
        declared(),
        made("p-1", input_ref=REF),
        made("p-2", input_ref=REF),
        correction("c-1", "b", "p-1", time="2026-11-20T10:00:00Z"),
        correction("c-2", "c", "p-2", time="2026-11-20T11:00:00Z"),
    )
    asked = {"person": "ann", "input_ref": REF}
    found = loop.get("/v1/overrides/m", **asked)
    assert found == {
        "label": "c",
        "id": "c-2",
        "source": "/shop",
        "at": "2026-11-20T11:00:00Z",
        "prediction_id": "p-2",
    }
    loop.send(event("feedback.retraction", "r", prediction_id="p-2", explains="c-2", person="ann"))
    assert loop.get("/v1/overrides/m", **asked)["id"] == "c-1"
    assert loop.get("/v1/overrides/m", 404, person="bob", input_ref=REF)["code"] == "not_found"
    loop.get("/v1/overrides/m", 404, person="ann", input_ref="cd" * 32)
    loop.get("/v1/overrides/m", 404, env="test", **asked)
    loop.get("/v1/overrides/other", 404, **asked)


# ------------------------------------------------------------------------------------------------ outcomes


def test_outcomes_are_an_association_over_a_group(loop: Loop) -> None:
    """Subjects exposed, those with the outcome within 30 days, and a rate only where there is enough."""
    first_day = "2026-10-01T00:00:00Z"
    events = [made(f"p-{n}", subject=f"s-{n}", segment="x", time=first_day) for n in range(30)]
    events += [
        made("p-y", subject="s-0", segment="y", time="2026-10-20T00:00:00Z"),
        event("feedback.outcome", "o-0", subject="s-0", outcome="churned", time="2026-10-31T12:00:00Z"),
        event("feedback.outcome", "o-1", subject="s-1", outcome="churned", time="2026-11-01T00:00:00Z"),
        event("feedback.outcome", "o-2", subject="s-2", outcome="churned", time="2026-09-30T00:00:00Z"),
        event("feedback.outcome", "o-3", subject="s-3", outcome="churned", model="other"),
        event("feedback.outcome", "o-4", subject="s-4", outcome="churned", time="2026-10-02T00:00:00Z"),
        event("feedback.retraction", "r-4", subject="s-4", explains="o-4"),
        event("feedback.outcome", "o-5", subject="s-99", outcome="churned", time="2026-10-02T00:00:00Z"),
    ]
    loop.send(*events)
    found = loop.get("/v1/outcomes/m", by="segment")
    assert [(item["segment"], item["outcome"], item["subjects"], item["n"]) for item in found["items"]] == [
        ("x", "churned", 30, 1),
        ("y", "churned", 1, 1),
    ]
    first, second = found["items"]
    assert first["rate"] == pytest.approx(1 / 30)
    assert 0 < first["low"] < first["rate"] < first["high"] < 1
    assert (second["rate"], second["low"], second["high"]) == (None, None, None)
    assert (found["window_days"], found["complete_up_to"]) == (30, rfc3339(NOW))
    assert len(loop.pages("/v1/outcomes/m", by="segment", limit=1)) == 2
    total = loop.get("/v1/outcomes/m")["items"]
    assert [(item["subjects"], item["n"]) for item in total] == [(30, 1)]
    late = loop.get("/v1/outcomes/m", **{"from": "2026-10-02", "to": "2026-10-20"})["items"]
    assert [(item["subjects"], item["n"]) for item in late] == [(1, 1)]
    assert loop.get("/v1/outcomes/nobody")["items"] == []


# -------------------------------------------------------------------------------------------- dead letters


def test_dead_letters_come_with_their_bytes(loop: Loop) -> None:
    """What the collector refused and what the worker judged, each under its place, in pages, by code."""
    bad = b'{"id": "b-1", "source": "/x",  "type": 5}'
    conflict = made("p-1", output="other")
    loop.send(made("p-1"), bad, made("p-2", id="second"), thumb("t-1", model="other"))
    loop.send(conflict, b"[]")
    items = loop.pages("/v1/dead-letters", limit=1)
    assert [(item["dead_letter"].split(":")[0] == "dead", item["code"], item["id"]) for item in items] == [
        (True, "invalid_value", "b-1"),
        (True, "invalid_value", None),
    ] + [(False, item["code"], item["id"]) for item in items[2:]]
    assert {(item["code"], item["id"]) for item in items[2:]} == {
        ("model_mismatch", "t-1"),
        ("id_conflict", "made-p-1"),
    }
    first = items[0]
    assert first["dead_letter"] == "dead:0:0"
    assert base64.b64decode(first["bytes"]) == bad
    assert first["source"] == "/x"
    assert first["received"] == rfc3339(NOW)
    assert first["problem"]["code"] == "invalid_value"
    (judged,) = loop.get("/v1/dead-letters", code="id_conflict")["items"]
    assert base64.b64decode(judged["bytes"]) == encoded(conflict)
    partition, offset, place = map(int, judged["dead_letter"].split(":"))
    assert loop.log.read(partition, offset, 1)
    assert place == 0
    assert loop.get("/v1/dead-letters", code="too_deep")["items"] == []


def test_a_replayed_dead_letter_is_marked(loop: Loop) -> None:
    """What was put right and sent again says so, and stays in the list."""
    loop.send({**made(), "time": "yesterday"})
    (letter,) = loop.get("/v1/dead-letters")["items"]
    assert letter["settled"] is False
    loop.send({**made(), "looplinereplay": letter["dead_letter"]})
    (letter,) = loop.get("/v1/dead-letters")["items"]
    assert letter["settled"] is letter["replayed"] is True


def test_a_replayed_dead_letter_is_known_by_its_bytes_too(loop: Loop) -> None:
    """Where no id could be read, what was put back as it was is the letter."""
    whole = encoded(made())
    letter = DeadLetter("unknown_type", "a newer type", None, None, whole)
    loop.log.append([(DEAD, write_dead_letters(NOW, [letter, letter]))])
    loop.send({**made(), "env": "typed otherwise", "looplinereplay": "dead:0:0"}, marked("dead:0:1", whole))
    settled = [item["settled"] for item in loop.get("/v1/dead-letters")["items"]]
    assert settled == [False, True]
    # The page counts as the list does.
    assert '<b>1</b><span class="soft">refused, and kept' in loop.client.get("/").text


@pytest.mark.parametrize(
    "other",
    [
        pytest.param({"id": "another-id"}, id="another id"),
        pytest.param({"source": "/another"}, id="another source"),
        pytest.param({"looplinereplay": "dead:7:0"}, id="another letter"),
    ],
)
def test_only_the_event_that_the_letter_was_settles_it(loop: Loop, other: dict[str, Any]) -> None:
    """Anybody can write down the name of a dead letter, also of one to come."""
    loop.send({**made(), "looplinereplay": "dead:0:0", **other})
    loop.send({**made(), "time": "yesterday"})
    (letter,) = loop.get("/v1/dead-letters")["items"]
    assert letter["settled"] is False


def test_a_page_of_large_dead_letters_ends_early(loop: Loop) -> None:
    """Refused bytes are large: a page is cut by their size, and the rest follows."""
    for _ in range(12):
        body = b"[" + b" " * 500_000 + b"x"
        loop.client.post(
            "/v1/events", content=body, headers={"content-type": "application/cloudevents-batch+json"}
        )
    loop.project()
    page = loop.get("/v1/dead-letters")
    assert 1 < len(page["items"]) < 12
    assert len(loop.pages("/v1/dead-letters")) == 12


# ------------------------------------------------------------------------------------------ read your writes


def test_a_read_waits_for_a_position(loop: Loop) -> None:
    """`after` gives what was acknowledged up to there, and 504 when the views do not come in time."""
    position = loop.send(made(), project=False)["position"]
    loop.work_with(waits=Waits(after=0.05))
    assert loop.get("/v1/predictions/p-1", 504, after=position)["code"] == "not_caught_up"
    loop.get("/v1/predictions/p-1", 404)
    loop.project()
    assert loop.get("/v1/predictions/p-1", after=position)["prediction"]["model"] == "m"


def test_a_read_that_waits_is_answered_when_the_views_come(loop: Loop) -> None:
    """The worker catches up while the read waits; ingestion goes on meanwhile."""
    import threading

    position = loop.send(made(), project=False)["position"]
    timer = threading.Timer(0.1, loop.project)
    timer.start()
    assert loop.get("/v1/predictions/p-1", after=position)["label"] is None
    timer.join()


# ------------------------------------------------------------------------------------------------- problems


def test_what_is_not_there_is_a_problem(loop: Loop) -> None:
    """No route, and no such method, are RFC 9457 problems like every other refusal."""
    assert loop.get("/v1/nothing", 404)["code"] == "not_found"
    assert loop.get("/v1/counts/", 404)["code"] == "not_found"
    for path in ("/v1/counts", "/", "/healthz", "/v1/predictions/x"):
        answer = loop.client.post(path)
        assert (answer.status_code, answer.json()["code"]) == (405, "method_not_allowed")
        assert "GET" in answer.headers["allow"]
    answer = loop.client.get("/v1/events")
    assert (answer.status_code, answer.headers["allow"]) == (405, "POST")


def test_a_defect_says_nothing_of_the_inside(loop: Loop) -> None:
    """An unforeseen error is a 500 problem without its message."""
    loop.store = RuntimeError("a secret of the inside")
    answer = loop.client.get("/v1/counts")
    assert (answer.status_code, answer.headers["content-type"]) == (500, "application/problem+json")
    assert "secret" not in answer.text


def test_one_event_and_its_prediction_end_to_end(loop: Loop) -> None:
    """The shortest loop there is: a prediction, a thumb, and the thumb is in effect."""
    for one in (made(), thumb()):
        answer = loop.client.post("/v1/events", content=encoded(one), headers={"content-type": SINGLE})
        assert answer.status_code == 200
    loop.project()
    found: Any = loop.get("/v1/feedback/t-1", after=answer.json()["position"])
    assert [stage["stage"] for stage in found["items"][0]["timeline"]] == ["received", "joined", "in_effect"]
