"""Nothing that comes in is lost: every item of a body is in the log, a dead letter, or too large."""

from __future__ import annotations

import asyncio
import json
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st

from streams.ingest.http import Collector
from streams.log.block import raw_items, read_block, read_dead_letters
from streams.log.memory import MemoryLog
from streams.log.port import DEAD
from streams.log.writer import Appender
from tests.streams.asking import BATCH, LINES, SINGLE, Answer, ask, encoded, event, thumb

TOO_LARGE = encoded(thumb("large", person="x" * 66_000))
CODES = {
    "invalid_json",
    "not_utf8",
    "invalid_value",
    "unknown_type",
    "unknown_field",
    "duplicate_key",
    "too_deep",
}

GOOD = st.integers(0, 40).map(lambda number: encoded(thumb(f"t-{number}", f"p-{number % 7}", person="ä")))
BAD = st.sampled_from(
    [
        b"1",
        b'"text"',
        b"{}",
        b"nope",
        b'{"id":"\xff"}',
        encoded(thumb(value="sideways")),
        encoded(thumb(mood=1)),
        encoded(event("feedback.mood", "m")),
        encoded(thumb())[:-1] + b',"id":"twice"}',
        encoded(thumb(person="\x00")),
        b'{"a":' * 40 + b"1" + b"}" * 40,
    ]
)
ITEMS = st.lists(st.one_of(GOOD, GOOD, BAD, st.just(TOO_LARGE)), max_size=9)


def collected(partitions: int, *requests: tuple[bytes, str]) -> tuple[MemoryLog, list[Answer]]:
    """A log, and the answers, after these requests at once."""
    log = MemoryLog(partitions)
    appender = Appender(log)
    app = Collector(appender, partitions)

    async def run() -> list[Answer]:
        return list(await asyncio.gather(*(ask(app, body, form) for body, form in requests)))

    try:
        return log, asyncio.run(run())
    finally:
        appender.stop()


def written(log: MemoryLog) -> tuple[list[bytes], list[bytes]]:
    """Accepted items and refused ones, each in the order of bytes."""
    accepted: list[bytes] = []
    for partition in range(log.identity.partitions):
        for record in log.read(partition, 0, 10_000):
            header, body = read_block(record)
            items = raw_items(record)
            assert len(items) == len(list(header.instants()))
            assert {json.loads(item)["type"] for item in items} == set(header.types)
            assert body == b"[" + b",".join(items) + b"]"
            accepted += items
    letters = [letter for record in log.read(DEAD, 0, 10_000) for letter in read_dead_letters(record)]
    return sorted(accepted), sorted(letter.bytes for _, letter in letters)


@given(st.lists(st.tuples(ITEMS, st.sampled_from([BATCH, LINES])), max_size=4), st.integers(1, 3))
@settings(max_examples=60)
def test_every_item_is_accounted_for(batches: list[tuple[list[bytes], str]], partitions: int) -> None:
    """What the answers say is what the log holds, item by item, whatever the batches and their mix."""
    requests = [
        (b"[" + b" , ".join(items) + b"]" if form == BATCH else b"\n".join(items), form)
        for items, form in batches
    ]
    log, answers = collected(partitions, *requests)
    accepted: list[bytes] = []
    refused: list[bytes] = []
    for (items, _), answer in zip(batches, answers, strict=True):
        assert answer.status == 200
        said: dict[str, Any] = answer.json
        assert [entry["index"] for entry in said["items"]] == list(range(len(items)))
        assert said["accepted"] + said["refused"] == len(items)
        for item, entry in zip(items, said["items"], strict=True):
            if entry["status"] == "accepted":
                assert "problem" not in entry
                accepted.append(item)
            elif entry["problem"]["code"] == "too_large":
                assert item == TOO_LARGE
            else:
                assert entry["problem"]["code"] in CODES
                refused.append(item)
    assert written(log) == (sorted(accepted), sorted(refused))


JSONISH = st.lists(
    st.sampled_from(
        [b"[", b"]", b"{", b"}", b",", b":", b'"', b"\\", b"\n", b" ", b"1", b"null", b"\xff", b"\x00", b"a"]
    ),
    max_size=30,
).map(b"".join)


@given(st.one_of(JSONISH, st.binary(max_size=60)), st.sampled_from([SINGLE, BATCH, LINES]))
def test_no_body_is_lost_or_fails_the_server(body: bytes, form: str) -> None:
    """Arbitrary bytes are refused with a described status, and every refused byte can be read again."""
    log, (answer,) = collected(1, (body, form))
    assert answer.status in (200, 400, 422)
    accepted, refused = written(log)
    assert accepted == []
    if answer.status == 200:
        assert len(refused) == answer.json["refused"]
    else:
        assert refused == [body.strip(b" \t\r\n")]
    for letter in refused:
        assert letter in body
