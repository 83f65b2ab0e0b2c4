"""The collector: what each request gets, and what of it is on disk when it gets it."""

from __future__ import annotations

import asyncio
from collections.abc import MutableMapping
from dataclasses import replace
from typing import Any

import pytest

from schemas.catalog import Catalog
from schemas.identity import partition_of, prediction_key
from schemas.kinds import KINDS, THUMB
from streams.ingest.http import MAX_BODY_BYTES, Collector, form_of
from streams.log.block import read_block
from streams.log.memory import MemoryLog
from streams.log.writer import Appender
from tests.streams.asking import BATCH, LINES, SINGLE, ask_now, encoded, thumb
from tests.streams.ingest.serving import RECEIVED, Served

# ------------------------------------------------------------------------------------------------ accepted


@pytest.mark.parametrize("content_type", [SINGLE, "application/json", "Application/JSON; charset=UTF-8"])
def test_one_event_is_on_disk_as_it_was_sent(served: Served, content_type: str) -> None:
    """A single event's 200 has the batch's body, and the log its bytes without the space around them."""
    sent = b'{"id": "t-1", ' + encoded(thumb())[1:]
    sent = sent.replace(b'"id":"t-1",', b"", 1)
    answer = served.ask(b" \r\n" + sent + b"\n", content_type)
    assert answer.status == 200
    assert answer.headers["content-type"] == "application/json"
    assert answer.json == {
        "accepted": 1,
        "refused": 0,
        "position": "0:1,dead:0",
        "items": [{"index": 0, "id": "t-1", "status": "accepted"}],
    }
    assert served.items() == [sent]
    header, _ = read_block(served.log.read(0, 0, 1)[0])
    assert header.types == ["loopline.feedback.thumb.v1"]
    assert list(header.instants()) == [RECEIVED]


@pytest.mark.parametrize("content_type", [BATCH, LINES])
def test_a_batch_is_judged_item_by_item(served: Served, content_type: str) -> None:
    """One bad item fails no other; what was refused is on disk with its bytes before the answer."""
    bad = encoded({**thumb("t-2"), "extra": 1, "data": {"prediction_id": "p-1", "value": "sideways"}})
    items = [encoded(thumb("t-1")), bad, b'{"no":', encoded(thumb("t-3"))]
    body = b"[" + b", ".join(items) + b"]" if content_type == BATCH else b"\r\n".join(items) + b"\n\n"
    if content_type == BATCH:
        items[2] = b'{"no": nothing}'
        body = b"[" + b", ".join(items) + b"]"
    answer = served.ask(body, content_type)
    assert answer.status == 200
    assert (answer.json["accepted"], answer.json["refused"]) == (2, 2)
    assert answer.json["position"] == "0:1,dead:1"
    assert [(item["index"], item["id"], item["status"]) for item in answer.json["items"]] == [
        (0, "t-1", "accepted"),
        (1, "t-2", "refused"),
        (2, None, "refused"),
        (3, "t-3", "accepted"),
    ]
    assert [item.get("problem", {}).get("code") for item in answer.json["items"]] == [
        None,
        "invalid_value",
        "invalid_json",
        None,
    ]
    assert served.items() == [items[0], items[3]]
    assert [(letter.code, letter.id, letter.bytes) for letter in served.letters()] == [
        ("invalid_value", "t-2", items[1]),
        ("invalid_json", None, items[2]),
    ]


def test_a_batch_in_which_all_is_refused_is_a_200(served: Served) -> None:
    """The request was understood and kept; what is wrong is said item by item."""
    answer = served.ask(b"[1, null]")
    assert (answer.status, answer.json["accepted"], answer.json["refused"]) == (200, 0, 2)
    assert [letter.bytes for letter in served.letters()] == [b"1", b"null"]
    assert served.sample("loopline_events_refused_total", code="invalid_value") == 2


@pytest.mark.parametrize(
    "body,content_type", [(b"[]", BATCH), (b" [ ] ", BATCH), (b"", LINES), (b"\n\n", LINES)]
)
def test_an_empty_batch_is_a_200_with_the_position(served: Served, body: bytes, content_type: str) -> None:
    """Nothing to write is nothing to wait for; the position covers what came before."""
    served.ask(encoded(thumb()), SINGLE)
    answer = served.ask(body, content_type)
    assert answer.json == {"accepted": 0, "refused": 0, "position": "0:1,dead:0", "items": []}
    assert served.log.appends == 1


def test_lines_that_are_one_value_together_are_judged_alone(served: Served) -> None:
    """Halves of an event on two lines are two bad items, though joined they would be one good event."""
    whole = encoded(thumb("t-1"))
    cut = whole.index(b',"data"')
    lines = [whole[:cut], whole[cut + 1 :], encoded(thumb("t-2")) + b"," + encoded(thumb("t-3"))]
    answer = served.ask(b"\n".join(lines), LINES)
    assert answer.json["accepted"] == 0
    assert [letter.bytes for letter in served.letters()] == lines


def test_events_lie_in_their_partitions() -> None:
    """Each event is in the partition of its key, and the position tells all of them."""
    served = Served(partitions=3)
    sent = [thumb(f"t-{number}", f"p-{number}") for number in range(12)]
    answer = served.ask(encoded(sent))
    served.appender.stop()
    expected: dict[int, list[bytes]] = {0: [], 1: [], 2: []}
    for one in sent:
        key = prediction_key(one["data"]["prediction_id"])
        expected[partition_of(key, 3)].append(encoded(one))
    assert all(expected.values())
    assert {partition: served.items(partition) for partition in range(3)} == expected
    assert answer.json["position"] == "0:1,1:1,2:1,dead:0"


def test_an_older_version_lies_in_the_log_under_its_own_type() -> None:
    """The block names the type that was sent, so that reading it lifts the item."""

    def lift(data: dict[str, Any]) -> dict[str, Any]:
        return {**data, "value": "up" if data["value"] > 0 else "down"}

    catalog = Catalog({**KINDS, THUMB.name: replace(THUMB, version=2)}, {"feedback.thumb.v1": lift})
    log = MemoryLog()
    appender = Appender(log)
    app = Collector(appender, 1, catalog=catalog)
    old = encoded(thumb("t-1", value=1))
    new = encoded({**thumb("t-2"), "type": "loopline.feedback.thumb.v2"})
    assert ask_now(app, b"[" + old + b"," + new + b"]").json["accepted"] == 2
    appender.stop()
    header, body = read_block(log.read(0, 0, 1)[0])
    assert header.types == ["loopline.feedback.thumb.v1", "loopline.feedback.thumb.v2"]
    read: list[Any] = [one.data for one in catalog.read(body, header.types)]
    assert [data.value for data in read] == ["up", "up"]


# ------------------------------------------------------------------------------------------------- refused


@pytest.mark.parametrize(
    "body,status,code",
    [
        (b"", 400, "invalid_json"),
        (b"{", 400, "invalid_json"),
        (b"NaN", 400, "invalid_json"),
        (b'{"a": NaN}', 400, "invalid_json"),
        (b"\xff\xfe{}", 400, "not_utf8"),
        (b"[]", 422, "invalid_value"),
        (b"{}", 422, "invalid_value"),
        (encoded({**thumb(), "type": "loopline.feedback.thumb.v9"}), 422, "unknown_type"),
        (encoded(thumb(mood="good")), 422, "unknown_field"),
        (encoded(thumb(value=7)), 422, "invalid_value"),
        (encoded(thumb(time="2026-11-20T09:12:31")), 422, "invalid_value"),
        (encoded(thumb())[:-1] + b',"id":"again"}', 422, "duplicate_key"),
        (b'{"a":' * 40 + b"1" + b"}" * 40, 422, "too_deep"),
    ],
)
def test_one_bad_event_is_a_problem_with_a_position(
    served: Served, body: bytes, status: int, code: str
) -> None:
    """400 where it is no UTF-8 JSON, else 422; either way it is on disk, with its bytes, under that code."""
    answer = served.ask(body, SINGLE)
    assert (answer.status, answer.headers["content-type"]) == (status, "application/problem+json")
    assert {"type", "title", "detail"} < set(answer.json)
    assert (answer.json["code"], answer.json["status"]) == (code, status)
    assert answer.json["position"] == "0:0,dead:1"
    assert [(letter.code, letter.bytes) for letter in served.letters()] == [(code, body)]


@pytest.mark.parametrize(
    "body,code",
    [
        (b"", "invalid_json"),
        (b"{}", "invalid_json"),
        (b"[1, 2", "invalid_json"),
        (b"[1]]", "invalid_json"),
        (b'["open]', "invalid_json"),
        (b"\xff[1, 2", "not_utf8"),
    ],
)
def test_a_batch_that_cannot_be_cut_is_one_dead_letter(served: Served, body: bytes, code: str) -> None:
    """A body that is no array is a 400 and kept whole, under one id."""
    answer = served.ask(body)
    assert (answer.status, answer.json["code"], answer.json["position"]) == (400, code, "0:0,dead:1")
    assert [(letter.code, letter.bytes) for letter in served.letters()] == [(code, body)]


def test_a_large_unreadable_body_is_kept_whole(served: Served) -> None:
    """The limit of an event does not apply to a body that holds many."""
    body = b"[" + b"1," * 300_000
    assert served.ask(body).status == 400
    assert [letter.bytes for letter in served.letters()] == [body]


def test_an_oversized_item_in_a_batch_is_not_kept(served: Served) -> None:
    """An item over 64 KiB is refused by itself, and the only kind of refusal that leaves nothing behind."""
    large = encoded(thumb("t-2", person="x" * 70_000))
    answer = served.ask(b"[" + encoded(thumb("t-1")) + b"," + large + b"]")
    assert [item["status"] for item in answer.json["items"]] == ["accepted", "refused"]
    assert answer.json["items"][1]["problem"]["code"] == "too_large"
    assert served.letters() == []
    assert served.sample("loopline_events_refused_total", code="too_large") == 1


@pytest.mark.parametrize(
    "chunks,content_type",
    [
        ([b'"' + b"x" * 65_536 + b'"'], SINGLE),
        ([b'"', b"x" * 65_536, b'"'], SINGLE),
        ([b"[" + b" " * MAX_BODY_BYTES + b"]"], BATCH),
        ([b"[" + b"1," * 1000 + b"1]"], BATCH),
        ([b"1\n" * 1001], LINES),
    ],
)
def test_too_large_is_413_and_not_kept(served: Served, chunks: list[bytes], content_type: str) -> None:
    """Over 64 KiB an event, 1 MiB or 1,000 items a batch: refused as a whole, nothing of it is written."""
    answer = served.ask(chunks, content_type)
    assert (answer.status, answer.json["code"]) == (413, "too_large")
    assert "connection" not in answer.headers
    assert served.log.appends == 0


def test_the_limits_themselves_are_allowed(served: Served) -> None:
    """Exactly 1,000 items and exactly 64 KiB are within the limits."""
    assert served.ask(b"[" + b"1," * 999 + b"1]").json["refused"] == 1000
    room = 65_536 - len(encoded(thumb(prediction_id="p", extension="")))
    padded = encoded({**thumb(prediction_id="p"), "extension": "x" * (room + len(encoded({})) - 2)})
    padded = padded[:-2] + b"x" * (65_536 - len(padded)) + b'"}'
    assert len(padded) == 65_536
    assert served.ask(padded, SINGLE).status == 200


def test_reading_stops_where_a_body_is_hopeless(served: Served) -> None:
    """A body of many megabytes is not read to its end, and the connection is closed after the answer."""
    reads = 0

    async def endless() -> dict[str, Any]:
        nonlocal reads
        reads += 1
        return {"type": "http.request", "body": b"x" * 100_000, "more_body": True}

    sent: list[MutableMapping[str, Any]] = []

    async def send(message: MutableMapping[str, Any]) -> None:
        sent.append(message)

    scope = {"type": "http", "method": "POST", "headers": [(b"content-type", BATCH.encode())]}
    asyncio.run(served.app(scope, endless, send))
    assert sent[0]["status"] == 413
    assert (b"connection", b"close") in sent[0]["headers"]
    assert reads < 100
    answer = served.ask([b"[", b"]"], headers=[("content-length", str(10**9))])
    assert (answer.status, answer.headers["connection"]) == (413, "close")


@pytest.mark.parametrize(
    "content_type,headers",
    [
        (None, []),
        ("text/plain", []),
        ("", []),
        ("application/json; charset=latin-1", []),
        ("application/cloudevents+avro", []),
        (SINGLE, [("content-type", BATCH)]),
        (SINGLE, [("content-encoding", "gzip")]),
    ],
)
def test_other_media_types_are_415(
    served: Served, content_type: str | None, headers: list[tuple[str, str]]
) -> None:
    """What is not said to be one of the four forms, in UTF-8 and plain, is not guessed at."""
    answer = served.ask(encoded(thumb()), content_type, headers=headers)
    assert (answer.status, answer.json["code"]) == (415, "unsupported_media_type")
    assert served.log.appends == 0


def test_harmless_headers_are_taken() -> None:
    """The same type twice, a charset that JSON has anyway, and no coding are no reason to refuse."""
    served = Served()
    headers = [("content-type", "application/json"), ("content-encoding", "identity")]
    assert served.ask(encoded(thumb()), 'APPLICATION/JSON ; charset="utf-8"', headers=headers).status == 200
    served.appender.stop()
    assert form_of(b"application/json;odd=1; charset=utf8") is form_of(b"application/json")


@pytest.mark.parametrize("method", ["GET", "PUT", "DELETE", "HEAD", "OPTIONS"])
def test_events_are_sent_with_post(served: Served, method: str) -> None:
    """Another method is 405, which says which one is allowed."""
    answer = served.ask(b"", None, method=method)
    assert (answer.status, answer.headers["allow"]) == (405, "POST")
    assert answer.json["code"] == "method_not_allowed"


def test_a_client_that_hangs_up_leaves_nothing(served: Served) -> None:
    """Half a batch is no batch: nothing of it is judged, kept or answered."""
    answer = served.ask([b"[" + encoded(thumb()), b"]"], breaks_off=True)
    assert answer.status is None
    assert served.ask(b"", breaks_off=False, content_type=LINES).status == 200
    assert served.log.appends == 0
