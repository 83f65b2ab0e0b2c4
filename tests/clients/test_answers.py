"""What an answer means for each event of a batch, judged without a server."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from loopline.answers import MAX_RETRY_AFTER_S, judge, retry_after

PROBLEM = {"type": "about:blank", "title": "Invalid", "detail": "no such word", "code": "invalid_value"}


def answer(*statuses: str) -> bytes:
    """The body of a 200 with these statuses."""
    items: list[dict[str, Any]] = [{"index": index, "status": each} for index, each in enumerate(statuses)]
    for item in items:
        if item["status"] == "refused":
            item["problem"] = PROBLEM
    return json.dumps({"accepted": 0, "refused": 0, "position": "x", "items": items}).encode()


@given(st.lists(st.sampled_from(["accepted", "refused", "retry", "newly invented"])))
def test_every_event_is_accepted_refused_or_sent_again(statuses: list[str]) -> None:
    """Each item has one fate; a status nobody knows yet means: not on disk, so again."""
    verdict = judge(200, {}, answer(*statuses), len(statuses))
    assert [index for index, _ in verdict.refused] == [
        index for index, each in enumerate(statuses) if each == "refused"
    ]
    assert verdict.again == [
        index for index, each in enumerate(statuses) if each not in ("accepted", "refused")
    ]
    assert not verdict.away
    assert not verdict.divide


def test_an_item_the_answer_is_silent_about_is_sent_again() -> None:
    """Too few items, unknown indexes and repeated ones never make an event count as accepted."""
    body = json.dumps(
        {
            "items": [
                {"index": 1, "status": "accepted"},
                {"index": 7, "status": "accepted"},
                {"index": -1, "status": "accepted"},
                {"index": 1, "status": "refused"},
            ]
        }
    )
    verdict = judge(200, {}, body.encode(), 3)
    assert verdict.again == [0, 2]
    assert verdict.refused == []


@pytest.mark.parametrize(
    "body",
    [b"", b"<html>", b"[]", b"{}", b'{"accepted": 3}', b'{"items": 3}', b'{"items": [{}]}', b"\xff\xfe"],
    ids=repr,
)
def test_an_unreadable_200_is_no_acknowledgement(body: bytes) -> None:
    """A proxy's page, half a body or another service's answer means: all of them, again."""
    verdict = judge(200, {}, body, 3)
    assert verdict.again == [0, 1, 2]
    assert verdict.away


@pytest.mark.parametrize("status", [204, 301, 307, 408, 425, 429, 500, 502, 503, 504, 599])
def test_a_moment_that_was_not_right_keeps_everything(status: int) -> None:
    """Redirects, timeouts, limits and server errors lose nothing and are waited out."""
    verdict = judge(status, {"retry-after": "7"}, b"", 3)
    assert verdict.again == [0, 1, 2]
    assert verdict.away
    assert verdict.wait_s == (0 if status < 300 else 7)


@pytest.mark.parametrize("status", [400, 413, 422])
def test_a_body_that_was_not_taken_is_divided_down_to_one(status: int) -> None:
    """Several events are tried in halves; one alone is refused, with the problem of the answer."""
    assert judge(status, {}, b"", 2).divide
    alone = judge(status, {}, json.dumps(PROBLEM).encode(), 1)
    assert alone.refused == [(0, PROBLEM)]


def test_the_problem_of_one_event_is_found_inside_the_batch_s_body() -> None:
    """422 for one event carries the item's problem, which is the one people want to read."""
    assert judge(422, {}, answer("refused"), 1).refused == [(0, PROBLEM)]


@pytest.mark.parametrize("body", [b"", b"null", b"[1]", b'"no"', b"<html>"], ids=repr)
def test_a_refusal_without_a_reason_still_has_a_problem(body: bytes) -> None:
    """on_refused always gets an object with title, detail and code."""
    ((_, problem),) = judge(403, {}, body, 1).refused
    assert {"title", "detail", "code"} <= set(problem)
    assert "403" in problem["detail"]


@pytest.mark.parametrize(
    "value, seconds",
    [
        (None, 0),
        ("", 0),
        ("0", 0),
        ("3", 3),
        (" 3 ", 3),
        ("-3", 0),
        ("99999999", MAX_RETRY_AFTER_S),
        ("soon", 0),
        ("Fri, 31 Dec 1999 23:59:59 GMT", 0),
        ("²", 0),
    ],
)
def test_retry_after_in_seconds(value: str | None, seconds: float) -> None:
    """Seconds are taken, nonsense is nothing, and no server silences a client for hours."""
    assert retry_after(value) == seconds


def test_retry_after_as_a_date() -> None:
    """A date in the future is the time until then."""
    soon = format_datetime(datetime.now(UTC) + timedelta(seconds=60), usegmt=True)
    assert 55 < retry_after(soon) <= 60
