"""Cutting an input into batches: every item once, in order, whatever the file looks like."""

from __future__ import annotations

import io
import json
import os
import threading
import time
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from feedback.cli.batches import MOST_BYTES, MOST_ITEMS, Batch, Unsplittable, batches, read_items

JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=6),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=4), inner, max_size=3),
    max_leaves=6,
)
EVENTS = st.lists(st.dictionaries(st.text(max_size=4), JSON, max_size=4), min_size=1, max_size=8)


def items_of(content: bytes) -> list[bytes]:
    """The items of a file with this content."""
    return [item for item in read_items(io.BytesIO(content)) if item is not None]


@given(EVENTS, st.sampled_from([b"\n", b"\r\n", b"\n\n", b"\n  \n"]), st.booleans())
def test_lines_are_items(events: list[Any], end: bytes, marked: bool) -> None:
    """One item a line; empty lines, line ends and a byte order mark are none of it."""
    written = [json.dumps(event).encode() for event in events]
    content = (b"\xef\xbb\xbf" if marked else b"") + end.join(written)
    assert items_of(content) == written
    assert items_of(content + end) == written


@given(EVENTS, st.sampled_from([None, 2]))
def test_an_array_has_items(events: list[Any], indent: int | None) -> None:
    """The elements of an array, with their bytes, on one line or on many."""
    found = items_of(json.dumps(events, indent=indent).encode())
    assert [json.loads(item) for item in found] == events


@given(st.dictionaries(st.text(max_size=4), JSON, min_size=1, max_size=4))
def test_one_event_over_many_lines_is_one_item(event: Any) -> None:
    """What an editor has laid out is read whole."""
    (item,) = items_of(json.dumps(event, indent=2).encode())
    assert json.loads(item) == event


def test_broken_lines_are_items_too() -> None:
    """What is no JSON is sent as it is, for the server to say so; the others are not hidden by it."""
    assert items_of(b'{"a": [\n{"b": 2}\nnonsense\n') == [b'{"a": [', b'{"b": 2}', b"nonsense"]
    assert items_of(b'{"a": 1}\n{"b": [\n{"c": 3}\n') == [b'{"a": 1}', b'{"b": [', b'{"c": 3}']
    assert items_of(b"oops\n{}\n") == [b"oops", b"{}"]


def test_an_empty_file_has_no_items() -> None:
    """Nothing, or nothing but space."""
    assert items_of(b"") == []
    assert items_of(b" \n\r\n") == []
    assert items_of(b"[]") == []


@pytest.mark.parametrize("content", [b"[{}", b'[{"a": }]]', b'["x'])
def test_an_array_that_does_not_end_is_refused(content: bytes) -> None:
    """A file that was cut off is not sent in part."""
    with pytest.raises(Unsplittable):
        items_of(content)


@given(st.lists(st.integers(1, 400_000), max_size=12))
def test_batches_keep_order_and_limits(sizes: list[int]) -> None:
    """Every item once, in order, its place counted from 0; no batch over the limits, a lone giant apart."""
    items = [bytes([65 + number % 26]) * size for number, size in enumerate(sizes)]
    made = list(batches(iter(items)))
    flat = [item for batch in made for item in batch.items]
    assert [item.sent for item in flat] == items
    assert [item.place for item in flat] == list(range(len(items)))
    for batch in made:
        assert len(batch.body()) <= MOST_BYTES or len(batch.items) == 1


def test_a_batch_has_so_many_items() -> None:
    """The number of items is limited too."""
    made = list(batches(iter([b"{}"] * (2 * MOST_ITEMS + 1))))
    assert [len(batch.items) for batch in made] == [MOST_ITEMS, MOST_ITEMS, 1]


def test_items_with_line_ends_go_as_an_array() -> None:
    """Only then: in lines a broken item cannot hide the others."""
    (plain,) = batches([b'{"a":1}', b"{"])
    (spread,) = batches([b'{"a":\n1}', b"{}"])
    assert plain.content_type == "application/x-ndjson"
    assert plain.body() == b'{"a":1}\n{'
    assert spread.content_type == "application/cloudevents-batch+json"
    assert json.loads(spread.body()) == [{"a": 1}, {}]


def test_a_quiet_pipe_does_not_hold_back_what_came() -> None:
    """Events of a pipe that stays open are sent while it is quiet, and the rest when it ends."""
    reading, writing = os.pipe()
    seen: list[Batch] = []

    def collect() -> None:
        with os.fdopen(reading, "rb") as file:
            for batch in batches(read_items(file)):
                # One by one: the list is looked at while the pipe is open.
                seen.append(batch)  # noqa: PERF402

    thread = threading.Thread(target=collect)
    thread.start()
    os.write(writing, b'{"n":1}\n{"n":2}\n')
    deadline = time.monotonic() + 10
    while not seen and time.monotonic() < deadline:
        time.sleep(0.01)
    assert [item.sent for item in seen[0].items] == [b'{"n":1}', b'{"n":2}']
    os.write(writing, b'{"n":3}')
    os.close(writing)
    thread.join(10)
    assert [item.sent for batch in seen[1:] for item in batch.items] == [b'{"n":3}']
