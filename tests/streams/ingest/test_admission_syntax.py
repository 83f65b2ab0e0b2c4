"""Admission by example: bytes that are no event, keys that are there twice, limits, and times."""

from __future__ import annotations

import json
from datetime import datetime
from typing import Any

import msgspec
import pytest

from schemas.catalog import CATALOG
from streams.ingest.admission import clocks_ahead
from tests.streams.sent import TIME, code, event, item, judged, made, nested, spelt, thumb

NO_JSON = {
    "nothing": b"",
    "half an event": item(thumb())[:60],
    "a trailing comma": spelt(thumb(), '"up"}', '"up",}'),
    "two events": item(thumb()) + item(thumb()),
    "two events and a comma": item(thumb()) + b"," + item(thumb()),
    "a closing bracket too many": item(thumb()) + b"]",
    "NaN": spelt(thumb(score=0.5), "0.5", "NaN"),
    "Infinity": spelt(thumb(score=0.5), "0.5", "Infinity"),
    "-Infinity in an extension": item(event())[:-1] + b',"odd":-Infinity}',
    "a leading zero": spelt(thumb(score=0.5), "0.5", "00.5"),
    "single quotes": b"{'id':'1'}",
    "a byte order mark": b"\xef\xbb\xbf" + item(thumb()),
    "a raw line end in a string": spelt(thumb(), "p-81", "p\n81"),
    "a raw U+0000 in a string": spelt(thumb(), "p-81", "p\x0081"),
    "an escape that is none": spelt(thumb(), "p-81", "p\\q81"),
    "half a unicode escape": spelt(thumb(), "p-81", "p\\u00"),
    "a backslash at the end": spelt(thumb(), '"up"', '"up\\"'),
    "a comment": item(thumb()) + b"//",
}


@pytest.mark.parametrize("sent", NO_JSON.values(), ids=NO_JSON)
def test_what_is_no_json_is_refused_as_such(sent: bytes) -> None:
    """Python's own extensions of JSON are no JSON either."""
    assert code(sent) == "invalid_json"


@pytest.mark.parametrize(
    "sent",
    [
        spelt(thumb(), "p-81", "p-@").replace(b"@", b"\xff"),
        item(event(odd="@")).replace(b"@", b"\xc3"),
        item(event(odd="@")).replace(b"@", b"\xed\xa0\x80"),
        spelt(thumb(), '"up"', '"@"').replace(b"@", b"\xc0\xaf"),
        "[]".encode("utf-16"),
    ],
)
def test_what_is_not_utf8_is_refused_as_such(sent: bytes) -> None:
    """Wherever the bytes are: in the data, in an attribute nobody reads, or everywhere."""
    assert code(sent) == "not_utf8"


TWICE = {
    "in the envelope": item(event())[:-1] + b',"id":"e-3"}',
    "with white space before the colon": item(event())[:-1] + b',"id" :"e-3"}',
    "in the data": spelt(thumb(), '"value": "up"', '"value": "up", "value": "down"'),
    "the same value twice": spelt(thumb(), '"value": "up"', '"value":"up","value":"up"'),
    "in an output": spelt(made(output={"a": 1}), '"a": 1', '"a":1,"a":1'),
    "deep in an output": spelt(made(output=[{"b": {"a": 1}}]), '"a": 1', '"a":1,"a" : 2'),
    "in an extension": spelt(event(odd={"a": 1}), '"a": 1', '"a":1,"a":1'),
    "an extension": item(event(odd=1))[:-1] + b',"odd":1}',
    "spelt with an escape": item(event())[:-1] + b',"\\u0069d":"e-3"}',
    "with a colon spelt as an escape": item(event(subject="a@"))[:-1].replace(b"@", b"\\u003a")
    + b',"id":"e-2"}',
    "the type": item(event())[:-1] + b',"type":"loopline.feedback.thumb.v1"}',
    "the data": item(event())[:-1] + b',"data":{"prediction_id":"p-81","value":"up"}}',
    "with an offset without its colon": spelt(event(), TIME, "2026-11-20T09:12:31+0100")[:-1]
    + b',"id":"e-2"}',
    "with an offset of nothing": spelt(event(), TIME, "2026-11-20T09:12:31+00:00")[:-1] + b',"id":"e-2"}',
    "a text like an offset": spelt(thumb(person="+00:00"), '"person"', '"person":"+00:00","person"'),
    "features": spelt(made(features={"a": 1}), '"a": 1', '"a":1,"a":2'),
    "in an event of an unknown type": item(event(type="loopline.new.v1"))[:-1] + b',"x":1,"x":2}',
}


@pytest.mark.parametrize("sent", TWICE.values(), ids=TWICE)
def test_a_key_that_is_there_twice_is_refused(sent: bytes) -> None:
    """JSON readers disagree about which one counts, so none does."""
    assert code(sent) == "duplicate_key"


def test_the_same_key_in_different_objects_is_no_duplicate() -> None:
    """Only one object may not have it twice."""
    assert code(made(output=[{"id": 1}, {"id": 2, "data": {"id": 3}}])) is None


DEEP = {
    "an output": (made(output=nested(30)), made(output=nested(31))),
    "an input": (made(input=nested(30)), made(input=nested(31))),
    "a label": (
        event("feedback.correction.v1", data={"prediction_id": "p", "label": nested(30)}),
        event("feedback.correction.v1", data={"prediction_id": "p", "label": nested(31)}),
    ),
    "an extension": (event(odd=nested(31)), event(odd=nested(32))),
    "a known extension": (event(traceparent=nested(31)), event(traceparent=nested(32))),
}


@pytest.mark.parametrize("good, bad", DEEP.values(), ids=DEEP)
def test_32_levels_pass_and_33_are_too_deep(good: Any, bad: Any) -> None:
    """The envelope is the first level."""
    assert code(good) is None
    assert code(bad) == "too_deep"


@pytest.mark.parametrize(
    "sent", [b"[" * 33, b"[" * 60_000, b'{"a":' * 5000, b"[" * 33 + b'"', b"[" * 40 + b"]" * 39]
)
def test_depth_comes_before_syntax(sent: bytes) -> None:
    """Brackets that never end are too deep, as deep as they go before anything else is wrong."""
    assert code(sent) == "too_deep"


def test_brackets_in_text_are_not_depth() -> None:
    """A comment may be full of them."""
    assert code(thumb(person="[" * 200)) is None
    assert code(event("feedback.comment.v1", data={"prediction_id": "p", "text": '{"[' * 5000})) is None


def test_many_brackets_beside_each_other_are_not_depth() -> None:
    """Only what is inside of something else is deeper."""
    assert code(made(output=[[]] * 1000)) is None


def test_an_event_of_64_kib_passes_and_a_larger_one_does_not() -> None:
    """The limit is on the bytes as sent."""
    rest = len(item(made(output="")))
    assert code(made(output="x" * (65536 - rest))) is None
    assert code(made(output="x" * (65537 - rest))) == "too_large"


def test_size_comes_before_everything_else() -> None:
    """What is too large is not looked at."""
    assert code(b"\xff" * 65537) == "too_large"


@pytest.mark.parametrize("character", ["x", "é", "\n"])
def test_an_input_of_32_kib_passes_and_a_larger_one_does_not(character: str) -> None:
    """The limit is on its bytes as compact JSON, however it was written down."""
    size = len(json.dumps(character, ensure_ascii=False).encode()) - 2
    fits = character * ((32768 - 2) // size)
    assert code(made(input=fits)) is None
    assert code(made(input=fits + character)) == "invalid_value"
    assert code(json.dumps(made(input=fits), indent=1, ensure_ascii=character != "é").encode()) is None


@pytest.mark.parametrize(
    "time",
    [
        "2026-11-20T09:12:31",
        "2026-11-20T09:12:31.402",
        "2026-11-20",
        "2026-11-20T09:12Z",
        "2026-11-20T09:12:31+01",
        "2026-11-20T09:12:31+0100",
        "2026-11-20T09:12:31+0000",
        "2026-11-20T09:12:31-0000",
        "2026-11-20T09:12:31+24:00",
        "2026-11-20T09:12:60Z",
        "2026-11-20T24:00:00Z",
        "2026-02-29T09:12:31Z",
        "2026-11-20T09:12:31,4Z",
        "2026-11-20T09:12:31.Z",
        "20261120T091231Z",
        "2026-11-20T09:12:31Z\n",
        " 2026-11-20T09:12:31Z",
        "1699-12-31T23:59:59Z",
        "0000-01-01T00:00:00Z",
        "yesterday",
        "",
        1795165951,
        None,
    ],
)
def test_a_time_that_is_not_rfc_3339_with_an_offset_is_invalid(time: Any) -> None:
    """A leap second has no instant of its own, and before 1700 there are no nanoseconds in 64 bits."""
    assert code(event(time=time)) == "invalid_value"


@pytest.mark.parametrize(
    "time",
    [
        TIME,
        "2026-11-20T09:12:31Z",
        "2026-11-20t09:12:31z",
        "2026-11-20 09:12:31Z",
        "2026-11-20T09:12:31.123456789Z",
        "2026-11-20T09:12:31.1234567891234Z",
        "2026-11-20T09:12:31+00:00",
        "2026-11-20T09:12:31-00:00",
        "2026-11-20T09:12:31.5+05:45",
        "2024-02-29T23:59:59-23:59",
        "1700-01-01T00:00:00+23:59",
        "9999-12-31T23:59:59Z",
    ],
)
def test_a_time_with_an_offset_is_kept_as_it_was_sent(time: str) -> None:
    """Lower case, nanoseconds and more, any offset; the log has the text itself."""
    sent = item(event(time=time))
    assert code(sent) is None
    (read,) = CATALOG.read(b"[" + sent + b"]", {"loopline.feedback.thumb.v1"})
    assert read.time == time


def test_a_clock_far_ahead_is_admitted_and_counted() -> None:
    """It cannot win, for an event's instant is never after its receipt; but somebody should know."""
    times = [
        "2026-11-20T09:12:31Z",
        "2026-11-20T09:12:32Z",
        "2099-01-01T00:00:00+05:00",
        "9999-12-31T23:59:59Z",
    ]
    events = [judged(event(time=time)).event for time in times]
    received = msgspec.convert("2026-11-20T09:12:31Z", datetime)
    assert clocks_ahead([each for each in events if each is not None], received) == 3
