"""CloudEvents as Kafka records: what each mode means, what is refused and why, and that nothing is lost."""

from __future__ import annotations

import base64
import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from schemas import problems
from streams.ingest.admission import admit
from streams.kafka.intake.cloudevents import (
    BATCH,
    JSON,
    MAX_BATCH_ITEMS,
    STRUCTURED,
    as_json,
    items_of,
    record_of,
)
from tests.streams.sent import TIME, event, item

ATTRIBUTES = [
    ("ce_specversion", b"1.0"),
    ("ce_id", b"e-2"),
    ("ce_source", b"/shop"),
    ("ce_type", b"loopline.feedback.thumb.v1"),
    ("ce_time", TIME.encode()),
]
DATA = b'{"prediction_id": "p-81", "value": "up"}'
Headers = list[tuple[str, bytes | None]]


def typed(content_type: str) -> Headers:
    """The header of structured mode."""
    return [("content-type", content_type.encode())]


def binary(*more: tuple[str, bytes | None], without: str = "") -> Headers:
    """The headers of a thumb in binary mode."""
    return [*((name, text) for name, text in ATTRIBUTES if name != without), *more]


def code(headers: Headers, value: bytes | None) -> str:
    """Why the one item of a record is refused, by its headers and value or by admission."""
    [found] = items_of(headers, value)
    problem = found.problem or admit(found.item).problem
    assert problem is not None
    return problem.code


@pytest.mark.parametrize(
    "headers",
    [
        typed(STRUCTURED),
        typed("Application/CloudEvents+JSON; charset=UTF-8"),
        typed('application/cloudevents+json; charset="utf-8"'),
        [("Content-Type", STRUCTURED.encode())],
        [("content-type", STRUCTURED.encode())] * 2,
        [("ce_id", b"other"), *typed(STRUCTURED)],
        typed(JSON),
        [],
        [("traceparent", b"\xff"), ("b3", None)],
    ],
)
def test_structured_mode_takes_the_value_as_it_is(headers: Headers) -> None:
    """In structured mode, which is meant too where nothing is said, the item is the value itself."""
    value = item(event())
    assert items_of(headers, b" " + value + b"\n") == [(value, None)]


def test_a_batch_is_taken_apart() -> None:
    """Each event of a batch is an item of its own, so that a bad one cannot hide the others."""
    value = b"[" + item(event()) + b", {broken}, 1]"
    assert [found.item for found in items_of(typed(BATCH), value)] == [item(event()), b"{broken}", b"1"]
    assert items_of(typed(BATCH), b"[]") == []


@pytest.mark.parametrize(
    "value, expected",
    [
        (b"[1", problems.INVALID_JSON),
        (None, problems.INVALID_JSON),
        (b'["\xff', problems.NOT_UTF8),
        (b"[" + b"1," * MAX_BATCH_ITEMS + b"1]", problems.TOO_LARGE),
        (b'["' + b"x" * 1024 * 1024 + b'"]', problems.TOO_LARGE),
    ],
)
def test_a_batch_that_cannot_be_taken_apart_is_one_item(value: bytes | None, expected: str) -> None:
    """What is no array, or has more than a batch may have, is kept whole."""
    assert [found.item for found in items_of(typed(BATCH), value)] == [value or b""]
    assert code(typed(BATCH), value) == expected


@pytest.mark.parametrize(
    "content_type", [None, JSON, "application/json; charset=utf-8", "text/json", "a/b+json"]
)
def test_binary_mode_makes_an_event(content_type: str | None) -> None:
    """In binary mode each header is an attribute, and the value is the data, as it was sent."""
    [found] = items_of(binary() + (typed(content_type) if content_type else []), DATA)
    assert found.problem is None
    expected = {**event(), **({"datacontenttype": content_type} if content_type else {})}
    assert json.loads(found.item) == expected
    assert DATA in found.item
    assert admit(found.item).problem is None


def test_header_values_are_texts_as_they_are() -> None:
    """A header value is UTF-8 and nothing else: a per cent sign stands for itself."""
    odd = 'Euro € 😀 %E2%82%AC "quoted" \\ \t'
    [found] = items_of(binary(("ce_id", odd.encode()), without="ce_id"), DATA)
    assert json.loads(found.item)["id"] == odd


@pytest.mark.parametrize(
    "headers, value, expected",
    [
        (binary(), None, problems.INVALID_VALUE),
        (binary(), b"", problems.INVALID_JSON),
        (binary(), b"{broken", problems.INVALID_JSON),
        (binary(), b'{"prediction_id": "p-1"}, "id": "another"', problems.INVALID_JSON),
        (binary(), b'"a": 1', problems.INVALID_JSON),
        (binary(), b'{"a": "\xff"}', problems.NOT_UTF8),
        (binary(), b"\xff", problems.NOT_UTF8),
        (binary(), b"[" * 100 + b"]" * 100, problems.TOO_DEEP),
        (binary(), DATA.ljust(70_000) + b" ", None),
        (binary(), b'"' + b"x" * 70_000 + b'"', problems.TOO_LARGE),
        (binary() + typed("application/avro"), DATA, problems.INVALID_VALUE),
        (binary() + typed("application/json; charset=utf-16"), DATA, problems.INVALID_VALUE),
        (binary(("ce_id", b"e-3")), DATA, problems.DUPLICATE_KEY),
        (binary(("ce_datacontenttype", JSON.encode())) + typed(JSON), DATA, problems.DUPLICATE_KEY),
        (binary(without="ce_id"), DATA, problems.INVALID_VALUE),
        (binary(("ce_id", None), without="ce_id"), DATA, problems.INVALID_VALUE),
        (binary(("ce_id", b"\xff"), without="ce_id"), DATA, problems.NOT_UTF8),
        (binary(("ce_data", b"{}")), None, problems.INVALID_VALUE),
        (binary(("ce_data_base64", b"e30=")), None, problems.INVALID_VALUE),
        (binary(("ce_", b"1")), DATA, problems.INVALID_VALUE),
        (binary(("ce_\ud800", b"1")), DATA, None),
        ([("content-type", b"\xff")], DATA, problems.NOT_UTF8),
        (typed(STRUCTURED) + typed(BATCH), b"[]", problems.INVALID_VALUE),
        (typed("application/cloudevents+avro"), b"{}", problems.INVALID_VALUE),
        (typed("application/cloudevents+json; charset=latin-1"), b"{}", problems.INVALID_VALUE),
        (typed("text/plain"), item(event()), problems.INVALID_VALUE),
        (typed("application/x-ndjson"), item(event()), problems.INVALID_VALUE),
        ([], None, problems.INVALID_JSON),
        ([], b"", problems.INVALID_JSON),
        ([], b"\x00\x00\x00\x00\x01avro", problems.INVALID_JSON),
    ],
)
def test_what_is_no_event_is_refused_with_a_reason(
    headers: Headers, value: bytes | None, expected: str | None
) -> None:
    """Whatever a producer sends is an event or has a typed reason; data never reaches beyond its place."""
    if expected is None:
        [found] = items_of(headers, value)
        assert admit(found.item).problem is None
    else:
        assert code(headers, value) == expected


def test_an_unreadable_record_is_kept_whole() -> None:
    """Where no item can be made of a record, the dead letter has its headers and value."""
    headers: Headers = [("content-type", b"text/plain"), ("b3", None), ("odd\udcff", b"\xff")]
    [found] = items_of(headers, b"\xfe")
    assert found.item == as_json(headers, b"\xfe")
    kept = json.loads(found.item)
    assert [(name, value and base64.b64decode(value)) for name, value in kept["kafka_headers"]] == [
        ("content-type", b"text/plain"),
        ("b3", None),
        ("odd\\udcff", b"\xff"),
    ]
    assert base64.b64decode(kept["kafka_value"]) == b"\xfe"


def test_data_that_is_not_json_is_kept() -> None:
    """Data that Loopline cannot take is in the dead letter, as CloudEvents writes bytes in JSON."""
    [found] = items_of(binary() + typed("application/avro"), b"\xfe\x01")
    kept = json.loads(found.item)
    assert base64.b64decode(kept["data_base64"]) == b"\xfe\x01"
    assert kept["id"] == "e-2"


# -------------------------------------------------------------------------------------------- there and back

texts = st.text(st.characters(codec="utf-8"), max_size=20)
names = st.from_regex(r"[a-z0-9]{1,12}", fullmatch=True).filter(
    lambda name: name not in ("data", "datacontenttype")
)
values: st.SearchStrategy[Any] = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | texts,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(texts, inner, max_size=3),
    max_leaves=8,
)


@given(
    st.dictionaries(names, texts, min_size=1, max_size=6),
    st.sampled_from([None, JSON, "application/json; charset=utf-8", "application/vnd.x+json"]),
    values,
    st.booleans(),
)
def test_there_and_back(
    attributes: dict[str, str], content_type: str | None, data: Any, is_spaced: bool
) -> None:
    """Structured to binary and back is the same event, its data byte for byte."""
    separators = (", ", ": ") if is_spaced else (",", ":")
    whole = {**attributes, **({"datacontenttype": content_type} if content_type else {}), "data": data}
    structured = json.dumps(whole, ensure_ascii=False, separators=separators).encode()
    headers, value = record_of(structured)
    assert value == json.dumps(data, ensure_ascii=False, separators=separators).encode()
    [found] = items_of(headers, value)
    assert found.problem is None
    assert json.loads(found.item) == whole
    assert record_of(found.item) == (headers, value)


@given(st.dictionaries(names, texts, min_size=1, max_size=4), st.binary(max_size=60) | st.none())
def test_any_value_there_and_back(attributes: dict[str, str], value: bytes | None) -> None:
    """A record with any value is the same record again, whether it was good or not; no value is no data."""
    headers = [("ce_" + name, text.encode()) for name, text in attributes.items()]
    [found] = items_of(headers, value)
    if found.problem is None and value is not None:
        value = value.strip(b" \t\r\n")
        if admit(found.item).problem.code in (problems.INVALID_JSON, problems.NOT_UTF8):  # type: ignore[union-attr]
            assert found.item.endswith(b'"data":' + value + b"}")
            return
    assert record_of(found.item) == (headers, value)


@given(
    st.lists(st.tuples(texts, st.binary(max_size=10) | st.none()), max_size=4),
    st.binary(max_size=40) | st.none(),
)
def test_any_record_has_a_verdict(headers: Headers, value: bytes | None) -> None:
    """No record makes anything fail: each item of it is judged."""
    for content_type in ((), typed(STRUCTURED), typed(BATCH)):
        for found in items_of([*headers, *content_type], value):
            assert admit(found.item).problem is not None or found.problem is None


def test_attributes_that_are_no_texts_become_texts() -> None:
    """Booleans and integers are written as CloudEvents writes them in headers; no data is no value."""
    headers, value = record_of(b'{"id": "1", "sampled": true, "sequence": 7}')
    assert headers == [("ce_id", b"1"), ("ce_sampled", b"true"), ("ce_sequence", b"7")]
    assert value is None
    with pytest.raises(ValueError, match="JSON object"):
        record_of(b"[]")
