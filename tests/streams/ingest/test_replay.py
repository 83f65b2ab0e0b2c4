"""Putting refused items back: the bytes that are sent, and which of them are sent once."""

from __future__ import annotations

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from streams.ingest.admission import admit
from streams.ingest.replay import (
    MalformedName,
    Name,
    NotAnObject,
    ReplayItem,
    by_content,
    marked,
    parse_name,
    unmarked,
)
from streams.log.port import DEAD

NAMES = st.builds(lambda offset, place: f"dead:{offset}:{place}", st.integers(0, 10**12), st.integers(0, 999))
OBJECTS = st.dictionaries(st.text(max_size=8), st.integers() | st.text(max_size=8), max_size=4)


@given(NAMES, OBJECTS, st.sampled_from([None, 2]))
def test_a_marked_item_is_the_same_object_with_the_attribute(
    name: str, sent: dict[str, object], indent: int | None
) -> None:
    """Every member stays, in any layout, and the attribute names the dead letter."""
    sent.pop("looplinereplay", None)
    item = json.dumps(sent, indent=indent).encode()
    assert json.loads(marked(name, item)) == {"looplinereplay": name, **sent}


@given(NAMES, NAMES, OBJECTS)
def test_a_second_try_names_the_second_dead_letter(first: str, second: str, sent: dict[str, object]) -> None:
    """The attribute of an earlier try is taken off, so tries do not pile up."""
    sent.pop("looplinereplay", None)
    item = json.dumps(sent).encode()
    assert unmarked(marked(first, item)) == item
    assert marked(second, marked(first, item)) == marked(second, item)


def test_broken_json_keeps_its_fault() -> None:
    """What is wrong inside is not touched: the collector says it again."""
    assert marked("dead:0:0", b'{"id": 1, oops') == b'{"looplinereplay":"dead:0:0","id": 1, oops'


def test_a_marked_event_is_accepted() -> None:
    """The attribute is one that the collector takes, and reads."""
    item = (
        b'{"specversion": "1.0", "id": "e-1", "source": "/t", "type": "loopline.feedback.thumb.v1",'
        b' "time": "2026-01-01T00:00:00Z", "data": {"prediction_id": "p", "value": "up"}}'
    )
    verdict = admit(marked("dead:3:1", item))
    assert verdict.problem is None
    assert verdict.event is not None
    assert verdict.event.looplinereplay == "dead:3:1"


@pytest.mark.parametrize("item", [b"", b"not json", b"[{}]", b'"{"', b"\xff{"])
def test_what_is_no_object_cannot_be_put_back(item: bytes) -> None:
    """There is nothing to put the attribute into."""
    with pytest.raises(NotAnObject):
        marked("dead:0:0", item)


def test_names_are_places_in_the_log() -> None:
    """`dead` is what the collector refused; a number is what the worker judged."""
    assert parse_name("dead:4:0") == Name(DEAD, 4, 0)
    assert parse_name("dead:4:0").refused
    assert parse_name("0:17:3") == Name(0, 17, 3)
    assert not parse_name("0:17:3").refused


@pytest.mark.parametrize("text", ["", "dead", "dead:1", "dead:1:2:3", "-1:0:0", "dead:01:0", "dead:1:x"])
def test_other_texts_name_none(text: str) -> None:
    """A malformed name is refused, and shown."""
    with pytest.raises(MalformedName):
        parse_name(text)


def test_the_same_bytes_are_tried_once() -> None:
    """An item that was refused again is grouped with its first dead letter."""
    first, other = b'{"a":1}', b'{"b":1}'
    again = marked("dead:0:0", first)
    groups = by_content(
        [ReplayItem("dead:0:0", first), ReplayItem("dead:1:0", other), ReplayItem("dead:2:0", again)]
    )
    assert [[refusal.name for refusal in group] for group in groups] == [
        ["dead:0:0", "dead:2:0"],
        ["dead:1:0"],
    ]
