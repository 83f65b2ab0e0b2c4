"""The collector: what each request gets, and what of it is on disk when it gets it."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Iterator
from typing import Any

import msgspec
import pytest

from schemas.catalog import CURRENT, Catalog
from schemas.identity import partition_of, prediction_key
from streams import collector
from streams.appender import Appender
from streams.collector import MAX_BODY_BYTES, Collector, form_of
from streams.dead_letters import marked
from streams.log.block import DeadLetter, raw_items, read_block, read_dead_letters
from streams.log.memory import MemoryLog
from streams.log.port import DEAD, NotDurable
from streams.metrics import Metrics
from streams.queries.originals import Originals
from streams.receipts import Receipts
from tests.streams.asking import BATCH, LINES, SINGLE, Answer, ask, ask_now, encoded, event, thumb
from tests.streams.test_appender import GatedLog

RECEIVED = 1_796_000_000_000_000_000


class Served:
    """A collector on a log in memory, and what is in that log."""

    def __init__(self, partitions: int = 1) -> None:
        self.log = GatedLog(partitions)
        self.metrics = Metrics()
        self.appender = Appender(self.log, self.metrics)
        self.app = Collector(
            self.appender,
            partitions,
            metrics=self.metrics,
            letter=Originals(self.log).dead_letter,
            receipts=Receipts(lambda: RECEIVED),
        )

    def ask(self, body: bytes | list[bytes], content_type: str | None = BATCH, **more: Any) -> Answer:
        """One request."""
        return ask_now(self.app, body, content_type, **more)

    def items(self, partition: int = 0) -> list[bytes]:
        """The accepted items of a partition."""
        return [item for record in self.log.read(partition, 0, 100) for item in raw_items(record)]

    def letters(self) -> list[DeadLetter]:
        """The refused items."""
        records = self.log.read(DEAD, 0, 100)
        return [letter for record in records for _, letter in read_dead_letters(record)]

    def sample(self, name: str, **labels: str) -> float:
        """A metric's value."""
        return self.metrics.registry.get_sample_value(name, labels) or 0.0


@pytest.fixture
def served() -> Iterator[Served]:
    """A collector with one partition."""
    served = Served()
    yield served
    served.log.open.set()
    served.appender.stop()


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

    current = {name: data for name, data in CURRENT.items() if name != "feedback.thumb.v1"}
    catalog = Catalog(
        {**current, "feedback.thumb.v2": CURRENT["feedback.thumb.v1"]}, {"feedback.thumb.v1": lift}
    )
    log = MemoryLog()
    appender = Appender(log)
    app = Collector(appender, 1, catalog=catalog)
    old = encoded(thumb("t-1", value=1))
    new = encoded({**thumb("t-2"), "type": "loopline.feedback.thumb.v2"})
    assert ask_now(app, b"[" + old + b"," + new + b"]").json["accepted"] == 2
    appender.stop()
    header, body = read_block(log.read(0, 0, 1)[0])
    assert header.types == ["loopline.feedback.thumb.v1", "loopline.feedback.thumb.v2"]
    assert [one.data.value for one in catalog.read(body, header.types)] == ["up", "up"]


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

    sent: list[dict[str, Any]] = []

    async def send(message: dict[str, Any]) -> None:
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


# ------------------------------------------------------------------------------------------------- durable


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
