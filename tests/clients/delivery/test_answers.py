"""What an answer means for each event of a batch, judged without a server."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from loopline.delivery.answers import MAX_RETRY_AFTER_S, Refusal, judge, retry_after
from schemas import problems

PROBLEM = {
    "type": "urn:loopline:problem:invalid_value",
    "title": "A value is missing or not allowed",
    "detail": "no such word",
    "code": "invalid_value",
}
OURS = {"content-type": "application/problem+json"}
PAGE = {"content-type": "text/html; charset=utf-8"}


def encoded(document: object) -> bytes:
    """A document as a body."""
    return json.dumps(document).encode()


def answer(*statuses: str) -> bytes:
    """The body of a 200 with these statuses."""
    items: list[dict[str, Any]] = [{"index": index, "status": each} for index, each in enumerate(statuses)]
    for item in items:
        if item["status"] == "refused":
            item["problem"] = PROBLEM
    return encoded({"accepted": 0, "refused": 0, "position": "x", "items": items})


@given(st.lists(st.sampled_from(["accepted", "refused", "retry", "newly invented"])))
def test_every_event_is_accepted_refused_or_sent_again(statuses: list[str]) -> None:
    """Each item has one fate; a status nobody knows yet means: not on disk, so again."""
    verdict = judge(200, {}, answer(*statuses), len(statuses))
    assert [each.item for each in verdict.refused] == [
        index for index, each in enumerate(statuses) if each == "refused"
    ]
    assert verdict.again == [
        index for index, each in enumerate(statuses) if each not in ("accepted", "refused")
    ]
    assert not verdict.away
    assert not verdict.divide
    assert verdict.position == "x"


GOOD = {"index": 0, "id": "e-0", "status": "accepted"}


@pytest.mark.parametrize(
    "broken",
    [
        None,
        [],
        {},
        "accepted",
        {"status": "accepted"},
        {"index": 1},
        {"index": "1", "status": "accepted"},
        {"index": True, "status": "accepted"},
        {"index": 1.0, "status": "accepted"},
        {"index": 7, "status": "accepted"},
        {"index": -1, "status": "accepted"},
        {"index": 1, "status": None},
        {"index": 1, "status": "ACCEPTED"},
        {"index": 1, "status": "refused"},
        {"index": 1, "status": "refused", "problem": "no"},
        {"index": 1, "status": "refused", "problem": {"type": "about:blank", "title": "No"}},
        {"index": 1, "status": "refused", "problem": {**PROBLEM, "type": ["urn:loopline:problem:x"]}},
    ],
    ids=repr,
)
def test_an_item_that_is_not_as_it_should_be_is_sent_again_alone(broken: object) -> None:
    """One broken item costs neither the good ones beside it nor the event that it should have been about."""
    verdict = judge(200, {}, encoded({"items": [GOOD, broken]}), 2)
    assert verdict.again == [1]
    assert verdict.refused == []
    assert not verdict.away


def test_an_item_the_answer_is_silent_about_or_contradicts_is_sent_again() -> None:
    """Too few items and those told twice never make an event count as accepted or refused."""
    items = [
        {"index": 1, "status": "accepted"},
        {"index": 1, "status": "refused", "problem": PROBLEM},
        {"index": 3, "status": "refused", "problem": PROBLEM, "id": "e-3"},
        {"index": 4, "status": "accepted"},
    ]
    verdict = judge(200, {}, encoded({"items": items}), 5)
    assert verdict.again == [0, 1, 2]
    assert verdict.refused == [Refusal(3, PROBLEM, "e-3")]


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"<html>",
        b"[]",
        b"{}",
        b'{"accepted": 3}',
        b'{"items": 3}',
        b'{"items": []}',
        b'{"items": [{}]}',
        b'{"items": {"0": "accepted"}}',
        b"\xff\xfe",
        b"[" * 100_000,
    ],
    ids=lambda body: repr(body[:30]),
)
@pytest.mark.parametrize("status", [200, 201, 202, 204, 206])
def test_an_unreadable_2xx_is_no_acknowledgement(status: int, body: bytes) -> None:
    """A proxy's page, half a body or another service's answer means: all of them, again."""
    verdict = judge(status, {}, body, 3)
    assert verdict.again == [0, 1, 2]
    assert verdict.away
    assert verdict.foreign


@pytest.mark.parametrize("status", [408, 425, 429, 500, 502, 503, 504, 599])
@pytest.mark.parametrize("headers, body", [(OURS, encoded(PROBLEM)), (PAGE, b"<html>")])
def test_a_moment_that_was_not_right_keeps_everything(
    status: int, headers: dict[str, str], body: bytes
) -> None:
    """Timeouts, limits and server errors, whoever tells them, lose nothing and are waited out."""
    verdict = judge(status, {**headers, "retry-after": "7"}, body, 3)
    assert verdict.again == [0, 1, 2]
    assert (verdict.away, verdict.foreign, verdict.wait_s) == (True, headers is PAGE, 7)
    assert not verdict.lasting


@pytest.mark.parametrize("status", [501, 505, 511])
def test_a_server_that_knows_no_such_request_is_no_loopline_and_stays_none(status: int) -> None:
    """No method, no version, a network's login: waiting changes none of them, so a person is told at once."""
    verdict = judge(status, PAGE, b"<html>", 3)
    assert verdict.again == [0, 1, 2]
    assert (verdict.away, verdict.foreign, verdict.lasting) == (True, True, True)
    assert not judge(status, OURS, encoded(PROBLEM), 3).lasting


FOREIGN = [
    (PAGE, b"<html>default backend - 404</html>"),
    ({}, b""),
    ({"content-type": "application/json"}, encoded(PROBLEM)),
    ({"content-type": "application/json"}, b'{"message": "no"}'),
    (OURS, b""),
    (OURS, b"null"),
    (OURS, b"[1]"),
    (OURS, encoded({"title": "No"})),
    (OURS, encoded({**PROBLEM, "type": "about:blank"})),
    (OURS, encoded({**PROBLEM, "type": "https://example.org/urn:loopline:problem:x"})),
    (OURS, encoded({**PROBLEM, "type": 7})),
    (OURS, b"\xff"),
]


@pytest.mark.parametrize("count", [1, 3])
@pytest.mark.parametrize("headers, body", FOREIGN, ids=repr)
@pytest.mark.parametrize(
    "status", [300, 301, 302, 304, 307, 308, 400, 401, 402, 403, 404, 405, 407, 409, 410, 415, 422, 451, 499]
)
def test_only_loopline_itself_can_refuse(
    status: int, headers: dict[str, str], body: bytes, count: int
) -> None:
    """A redirect or refusal of something in between keeps every event, whatever it looks like."""
    verdict = judge(status, headers, body, count)
    assert verdict.again == list(range(count))
    assert (verdict.away, verdict.foreign, verdict.divide, verdict.refused) == (True, True, False, [])
    assert str(status) in verdict.why


@pytest.mark.parametrize("headers, body", FOREIGN, ids=repr)
def test_a_proxy_s_limit_divides_and_never_drops(headers: dict[str, str], body: bytes) -> None:
    """413 of something in between: smaller parts may pass, one event alone waits and holds up nobody."""
    assert judge(413, headers, body, 2).divide
    alone = judge(413, headers, body, 1)
    assert (alone.again, alone.away, alone.foreign, alone.refused) == ([0], False, True, [])


@pytest.mark.parametrize(
    "media_type", ["application/problem+json", "Application/Problem+JSON; charset=utf-8"]
)
@pytest.mark.parametrize("status", [400, 413, 422])
def test_a_body_that_was_not_taken_is_divided_down_to_one(status: int, media_type: str) -> None:
    """Several events are tried in halves; one alone is refused, with the problem of the answer."""
    headers = {"content-type": media_type}
    assert judge(status, headers, encoded(PROBLEM), 2).divide
    alone = judge(status, headers, encoded({**PROBLEM, "position": "0:7"}), 1)
    assert alone.refused == [Refusal(0, {**PROBLEM, "position": "0:7"})]
    assert alone.position == "0:7"


@pytest.mark.parametrize("status", [401, 403, 404, 405, 407, 415, 421, 426, 431])
def test_a_request_that_loopline_does_not_serve_says_nothing_about_its_events(status: int) -> None:
    """A wrong path, an older server, a missing right: a person can mend it, and the events wait for that."""
    verdict = judge(status, OURS, encoded(PROBLEM), 3)
    assert verdict.again == [0, 1, 2]
    assert (verdict.away, verdict.foreign) == (True, False)


def problem_of(code: str) -> bytes:
    """A problem of Loopline's with this code."""
    return encoded({"type": f"urn:loopline:problem:{code}", "title": "No", "detail": "no", "code": code})


NOT_ABOUT_EVENTS = sorted({*problems.TITLES, "of_a_later_version"} - set(problems.COLLECTOR_CODES))


@pytest.mark.parametrize("count", [1, 3])
@pytest.mark.parametrize("code", NOT_ABOUT_EVENTS)
@pytest.mark.parametrize("status", [400, 402, 409, 411, 413, 422, 423])
def test_only_a_code_that_judges_an_event_refuses_one(status: int, code: str, count: int) -> None:
    """Loopline's word on a request (a `Host` that is no name) keeps every event, and a person is told."""
    verdict = judge(status, OURS, problem_of(code), count)
    assert verdict.refused == []
    if status == 413 and count > 1:
        assert verdict.divide
        return
    assert verdict.again == list(range(count))
    assert (verdict.away, verdict.foreign, verdict.lasting) == (status != 413, False, True)


@pytest.mark.parametrize("code", problems.COLLECTOR_CODES)
@pytest.mark.parametrize("status", [402, 409, 411, 423, 451])
def test_an_event_is_refused_with_a_status_for_content_alone(status: int, code: str) -> None:
    """Loopline judges content with 400, 413 and 422; all others are about the request."""
    verdict = judge(status, OURS, problem_of(code), 1)
    assert (verdict.again, verdict.refused, verdict.lasting) == ([0], [], True)


@pytest.mark.parametrize("code", problems.COLLECTOR_CODES)
@pytest.mark.parametrize("status", [400, 413, 422])
def test_each_code_of_the_collector_refuses(status: int, code: str) -> None:
    """The client knows the codes that the platform judges events with, and no list of its own."""
    assert judge(status, OURS, problem_of(code), 2).divide
    assert [each.problem["code"] for each in judge(status, OURS, problem_of(code), 1).refused] == [code]


@given(st.integers(200, 599), st.binary(max_size=40), st.sampled_from([*OURS.values(), "text/html", ""]))
def test_no_answer_loses_an_event_without_loopline_s_word(status: int, body: bytes, media_type: str) -> None:
    """Whatever comes back, what was neither accepted nor refused in Loopline's own form is sent again."""
    verdict = judge(status, {"content-type": media_type}, body, 1)
    assert verdict.again == [0]


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
        ("9" * 400, MAX_RETRY_AFTER_S),
        ("soon", 0),
        ("Fri, 31 Dec 1999 23:59:59 GMT", 0),
        ("Fri, 31 Dec 9999 23:59:59 GMT", MAX_RETRY_AFTER_S),
        ("Fri, 31 Dec 9999 23:59:59 -2359", MAX_RETRY_AFTER_S),
        ("²", 0),
        ("٣", 0),
    ],
)
def test_retry_after_in_seconds(value: str | None, seconds: float) -> None:
    """Seconds are taken, nonsense is nothing, and no server silences a client for hours."""
    assert retry_after(value) == seconds


def test_retry_after_as_a_date() -> None:
    """A date in the future is the time until then."""
    soon = format_datetime(datetime.now(UTC) + timedelta(seconds=60), usegmt=True)
    assert 55 < retry_after(soon) <= 60
