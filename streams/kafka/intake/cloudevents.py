"""CloudEvents as Kafka records, both ways: the Kafka protocol binding 1.0, as pure functions.

In structured mode the record's value is the event as JSON, or an array of events. In binary mode each
attribute is a header `ce_NAME`, `content-type` says what the value is, and the value is the data. Header
values are UTF-8 texts as they are: percent-encoding belongs to the HTTP binding and not to this one. What
an event is worth is left to `streams.ingest.admission`; reading records from a broker, to
`streams.kafka.intake.consumer`.
"""

from __future__ import annotations

import base64
import re
from collections.abc import Sequence
from typing import Any, NamedTuple

import msgspec

from schemas import problems
from schemas.problems import Problem, problem
from streams.ingest.split import CannotSplit, split_array

STRUCTURED = "application/cloudevents+json"
BATCH = "application/cloudevents-batch+json"
JSON = "application/json"
CONTENT_TYPE = "content-type"
PREFIX = "ce_"
MAX_BATCH_ITEMS = 1000
MAX_BATCH_BYTES = 1024 * 1024

Headers = Sequence[tuple[str, bytes | None]]
"""A record's headers as the clients give them."""

_CLOUDEVENTS = "application/cloudevents"
_JSON_MEDIA_TYPE = re.compile(r"(?:application|text)/json|[^/\s]+/[^/\s]+\+json")
_UTF8 = ("utf-8", "utf8", "us-ascii")
_SPACE = b" \t\r\n"

_encode = msgspec.json.Encoder().encode


class Found(NamedTuple):
    """One item of a record: structured JSON, or as near to it as the record is; and why it cannot be read.

    With a `problem` there is nothing left to judge: the item is kept as a dead letter.
    """

    item: bytes
    problem: Problem | None = None


class EventRecord(NamedTuple):
    """A Kafka record's headers and value."""

    headers: list[tuple[str, bytes]]
    value: bytes | None


class _Unreadable(Exception):
    """The headers do not say what the record is; `problem` is what its dead letter says."""

    def __init__(self, detail: str, code: str = problems.INVALID_VALUE) -> None:
        self.problem = problem(code, detail)
        super().__init__(detail)


def items_of(headers: Headers, value: bytes | None) -> list[Found]:
    """The events of a record, each as structured JSON in bytes; none for an empty array.

    Without a CloudEvents content type and without `ce_` headers the value is taken for structured JSON.
    """
    try:
        content_type = _content_type(headers)
        media_type, charset = _parsed(content_type)
        attributes = [
            (_text(name.removeprefix(PREFIX)), text) for name, text in headers if name.startswith(PREFIX)
        ]
        if media_type.startswith(_CLOUDEVENTS):
            return _structured(media_type, charset, value or b"")
        if attributes:
            return [_binary(content_type, charset, _texts(attributes), value)]
        if media_type in ("", JSON):
            return _structured(STRUCTURED, charset, value or b"")
        raise _Unreadable(
            f"{CONTENT_TYPE} is {content_type!r:.200} and there are no {PREFIX} headers: send {STRUCTURED},"
            f" or the attributes as headers {PREFIX}id, {PREFIX}source, {PREFIX}type and so on"
        )
    except _Unreadable as refusal:
        return [Found(as_json(headers, value), refusal.problem)]


def record_of(item: bytes) -> EventRecord:
    """An event in structured JSON as a record in binary mode; the inverse of `items_of` for texts.

    Attributes that are no texts become texts, as the CloudEvents type system writes them.
    Raises ValueError when the item is no JSON object.
    """
    try:
        event = msgspec.json.decode(item, type=dict[str, msgspec.Raw])
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError) as error:
        raise ValueError(f"an event is a JSON object: {error}") from error
    data, encoded = event.pop("data", None), event.pop("data_base64", None)
    headers = []
    for name, raw in event.items():
        attribute = msgspec.json.decode(raw)
        text = attribute if isinstance(attribute, str) else bytes(raw).decode()
        key = CONTENT_TYPE if name == "datacontenttype" else PREFIX + name
        headers.append((key, text.encode()))
    if encoded is not None:
        return EventRecord(headers, base64.b64decode(msgspec.json.decode(encoded, type=str), validate=True))
    return EventRecord(headers, None if data is None else bytes(data))


def as_json(headers: Headers, value: bytes | None) -> bytes:
    """A record of which no event can be made, whole, as a JSON object: bytes as base64."""
    whole: dict[str, Any] = {
        "kafka_headers": [[_text(name), value_of] for name, value_of in headers],
        "kafka_value": value,
    }
    return _encode(whole)


def _content_type(headers: Headers) -> str:
    found = {text for name, text in headers if name.lower() == CONTENT_TYPE}
    if len(found) > 1:
        raise _Unreadable(f"there are several {CONTENT_TYPE} headers, and they differ")
    return _decoded(CONTENT_TYPE, found.pop()) if found else ""


def _parsed(content_type: str) -> tuple[str, str]:
    """A content type's media type, and its charset, which is UTF-8 when it is left out."""
    media_type, *parameters = content_type.lower().split(";")
    for parameter in parameters:
        name, _, charset = parameter.strip().partition("=")
        if name == "charset":
            return media_type.strip(), charset.strip('"')
    return media_type.strip(), "utf-8"


def _structured(media_type: str, charset: str, value: bytes) -> list[Found]:
    if media_type not in (STRUCTURED, BATCH):
        raise _Unreadable(f"{media_type!r:.200} cannot be read here: send {STRUCTURED} or {BATCH}")
    if charset not in _UTF8:
        raise _Unreadable(f"the charset {charset!r:.200} cannot be read here: JSON is UTF-8")
    value = value.strip(_SPACE)
    if media_type == STRUCTURED:
        return [Found(value)]
    if len(value) > MAX_BATCH_BYTES:
        return [Found(value, problem(problems.TOO_LARGE, f"a batch has at most {MAX_BATCH_BYTES} bytes"))]
    try:
        items = split_array(value)
    except CannotSplit as refusal:
        return [Found(value, problem(_unreadable(value), str(refusal)))]
    if len(items) > MAX_BATCH_ITEMS:
        too_many = f"{len(items)} items; a batch has at most {MAX_BATCH_ITEMS}"
        return [Found(value, problem(problems.TOO_LARGE, too_many))]
    return [Found(item) for item in items]


def _binary(content_type: str, charset: str, texts: list[tuple[str, str]], value: bytes | None) -> Found:
    if content_type:
        texts.append(("datacontenttype", content_type))
    attributes = b",".join(_encode(name) + b":" + _encode(text) for name, text in texts)
    if value is None:
        return Found(b"{" + attributes + b"}")
    media_type = _parsed(content_type)[0]
    if media_type and _JSON_MEDIA_TYPE.fullmatch(media_type) is None:
        refusal = problem(problems.INVALID_VALUE, f"the data is {media_type!r:.200}; it must be {JSON}")
    elif charset not in _UTF8:
        refusal = problem(problems.INVALID_VALUE, f"the data's charset is {charset!r:.200}; it must be UTF-8")
    elif (json := _one_json(value)) is not None:
        # As it is: what was sent is what the log holds, and what admission judges.
        return Found(b"{" + attributes + b',"data":' + json + b"}")
    else:
        refusal = problem(_unreadable(value), "the record's value is the data, and it is not one JSON value")
    return Found(b"{" + attributes + b',"data_base64":' + _encode(value) + b"}", refusal)


def _one_json(value: bytes) -> bytes | None:
    """The value without white space around it, if nothing in it can reach beyond its place in an object."""
    value = value.strip(_SPACE)
    try:
        items = split_array(b"[" + value + b"]")
    except CannotSplit:
        return None
    return value if items == [value] else None


def _texts(attributes: list[tuple[str, bytes | None]]) -> list[tuple[str, str]]:
    for name, _ in attributes:
        if name in ("", "data", "data_base64"):
            raise _Unreadable(f"the header {PREFIX}{name} names no attribute")
    return [(name, _decoded(PREFIX + name, text)) for name, text in attributes]


def _decoded(name: str, text: bytes | None) -> str:
    try:
        return (text or b"").decode()
    except UnicodeDecodeError as error:
        raise _Unreadable(
            f"byte {error.start} of the header {name!r:.200} is not UTF-8", problems.NOT_UTF8
        ) from None


def _text(name: str) -> str:
    """A header's name in a form that can be written down."""
    return name.encode(errors="backslashreplace").decode()


def _unreadable(value: bytes) -> str:
    try:
        value.decode()
    except UnicodeDecodeError:
        return problems.NOT_UTF8
    return problems.INVALID_JSON
