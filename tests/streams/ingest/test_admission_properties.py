"""Admission by property: the quick look and the thorough one agree, with each other and with the contract."""

from __future__ import annotations

import json
import math
import re
from datetime import date
from functools import cache
from typing import Any

import msgspec
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from jsonschema import Draft202012Validator

from schemas.catalog import CATALOG, CURRENT
from schemas.describe.json_schemas import event_schema
from schemas.kinds import PREFIX
from streams.ingest import admission
from streams.ingest.admission import Verdict, admit, admit_batch
from tests.schemas.valid import EVENT, JSON, TEXT, event_of, written

_RFC3339 = re.compile(
    r"(?P<day>\d{4}-\d\d-\d\d)[Tt ]([01]\d|2[0-3]):[0-5]\d:[0-5]\d(\.\d+)?([Zz]|[+-]([01]\d|2[0-3]):[0-5]\d)",
    re.ASCII,
)

ODD = st.one_of(
    JSON,
    st.sampled_from(
        [
            "",
            "\x00",
            "a" * 257,
            -1,
            1.5,
            2**60,
            [],
            {},
            None,
            True,
            "2026-11-20T09:12:31+0100",
            "x" * 40_000,
            "NaN",
        ]
    ),
)
TIMES = st.sampled_from(
    [
        "2026-11-20T09:12:31",
        "2026-11-20T09:12:31+0000",
        "2026-11-20T09:12:31-0000",
        "2026-11-20T09:12:31.5+0100",
        "2026-11-20T09:12:60Z",
        "2026-11-20T24:00:00Z",
        "2026-02-30T09:12:31Z",
        "2026-11-20 09:12:31Z",
        "1699-12-31T23:59:59Z",
        "0001-01-01T00:00:00+23:00",
        "2026-11-20",
        1795165951,
    ]
)


def shown(verdict: Verdict) -> Any:
    """What a verdict says, in a form that can be compared."""
    event = None if verdict.event is None else msgspec.to_builtins(verdict.event)
    return verdict.item, verdict.id, verdict.source, verdict.problem, event


def thoroughly(item: bytes) -> Verdict:
    """The verdict of the thorough look alone."""
    return admission._admit_thoroughly(item, CATALOG)


def array(items: list[bytes]) -> bytes:
    """A batch of these items."""
    return b"[" + b",".join(items) + b"]"


def _pairs(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    if len(dict(pairs)) != len(pairs):
        raise ValueError("twice")
    return dict(pairs)


def _constant(name: str) -> Any:
    raise ValueError(name)


def _depth(value: Any) -> int:
    if isinstance(value, dict):
        return 1 + max(map(_depth, value.values()), default=0)
    return 1 + max(map(_depth, value), default=0) if isinstance(value, list) else 0


def _can_be_kept(value: Any) -> bool:
    if isinstance(value, str):
        return "\x00" not in value and not any("\ud800" <= character <= "\udfff" for character in value)
    if isinstance(value, float):
        return math.isfinite(value)
    if isinstance(value, dict):
        return all(_can_be_kept(key) and _can_be_kept(member) for key, member in value.items())
    return not isinstance(value, list) or all(map(_can_be_kept, value))


@cache
def _validator(name: str) -> Any:
    return Draft202012Validator(event_schema(name))


def good_by_contract(item: bytes) -> bool:
    """Whether an item is a good event, judged from the JSON Schemas and the contract's words, and slowly."""
    try:
        value = json.loads(item.decode(), object_pairs_hook=_pairs, parse_constant=_constant)
    except ValueError:
        return False
    if len(item) > 65536 or _depth(value) > 32 or not _can_be_kept(value) or not isinstance(value, dict):
        return False
    name = str(value.get("type")).removeprefix(PREFIX)
    if name not in CURRENT or not _validator(name).is_valid(value):
        return False
    match = _RFC3339.fullmatch(value["time"])
    if match is None:
        return False
    try:
        msgspec.convert(match["day"], date)
    except msgspec.ValidationError:
        return False
    compact = json.dumps(value["data"].get("input"), ensure_ascii=False, separators=(",", ":"))
    return len(compact.encode()) <= 32768


@st.composite
def mutated(draw: st.DrawFn) -> bytes:
    """An event that was good before one or two things were done to it, mostly bad ones."""
    event = draw(EVENT)
    for _ in range(draw(st.integers(1, 2))):
        where = event if draw(st.booleans()) or not isinstance(event.get("data"), dict) else event["data"]
        key = draw(st.sampled_from([*where, "new"]))
        match draw(st.integers(0, 4)):
            case 0:
                where.pop(key, None)
            case 1:
                where[key] = draw(ODD)
            case 2:
                where[draw(TEXT)] = draw(ODD)
            case 3:
                event["time"] = draw(TIMES)
            case 4:
                where[key] = [[where.get(key)]]
    return draw(written(event))


@st.composite
def doubled(draw: st.DrawFn) -> bytes:
    """A good event in which one key, at any depth, is there twice."""
    item = draw(EVENT.flatmap(written))
    keys = list(re.finditer(rb'"(?:[^"\\]|\\.)*"(?=\s*:)', item))
    match = draw(st.sampled_from(keys))
    space = draw(st.sampled_from([b"", b" ", b"\n"]))
    value = draw(st.sampled_from([b"1", b'"x"', b'"+00:00"', b'":"', b"null", b'{"a":[]}']))
    return item[: match.start()] + match.group() + space + b":" + value + b"," + item[match.start() :]


@st.composite
def scratched(draw: st.DrawFn) -> bytes:
    """A good event with a few bytes changed, added or lost."""
    item = bytearray(draw(EVENT.flatmap(written)))
    for _ in range(draw(st.integers(1, 3))):
        place = draw(st.integers(0, len(item) - 1))
        piece = draw(
            st.one_of(
                st.binary(max_size=2),
                st.sampled_from([b'"', b"\\", b",", b"}", b"]", b":", b"0", b"e999", b"-"]),
            )
        )
        item[place : place + draw(st.integers(0, 2))] = piece
        if not item:
            return b""
    return bytes(item)


ANY = st.one_of(EVENT.flatmap(written), mutated(), doubled(), scratched(), JSON.flatmap(written))


@settings(max_examples=50)
@given(EVENT.flatmap(written))
def test_good_events_are_admitted(item: bytes) -> None:
    """Whatever the contract allows is admitted, however it is written down."""
    verdict = admit(item)
    assert verdict.problem is None
    assert verdict.event is not None
    assert verdict.item == item
    assert (verdict.id, verdict.source) == (verdict.event.id, verdict.event.source)


@settings(max_examples=50)
@given(EVENT.flatmap(written))
def test_what_was_said_is_what_is_understood(item: bytes) -> None:
    """The decoded data are the data that were sent, and reading the log gives the same."""
    verdict = admit(item)
    assert verdict.event is not None
    sent = json.loads(item)
    assert msgspec.to_builtins(verdict.event.data) == sent["data"]
    (read,) = CATALOG.read(b"[" + item + b"]", {sent["type"]})
    assert read.kind == verdict.event.kind
    assert read.time == sent["time"]
    assert msgspec.to_builtins(read.data) == sent["data"]


@given(ANY)
@example(b"")
@example(b"[]")
@example(b'{"a":1},{"b":2}')
@example(b"{}]")
@example(b"{},")
def test_the_quick_look_agrees_with_the_thorough_one(item: bytes) -> None:
    """An item gets one verdict, whichever way it was judged."""
    assert shown(admit(item)) == shown(thoroughly(item))


@given(ANY)
def test_admission_is_the_contract(item: bytes) -> None:
    """An item is admitted exactly when the JSON Schemas and the contract's limits allow it."""
    assert (admit(item).problem is None) == good_by_contract(item)


@settings(max_examples=60)
@given(doubled())
def test_no_key_twice_is_admitted(item: bytes) -> None:
    """A key that an object has twice is found at every depth and in every spelling."""
    problem = admit(item).problem
    assert problem is not None
    assert problem.code == "duplicate_key"


@settings(max_examples=40)
@given(st.lists(ANY, max_size=4))
def test_a_batch_is_its_items(drawn: list[bytes]) -> None:
    """What an item gets does not depend on the items beside it."""
    items = [item.strip(b" \t\r\n") for item in drawn]
    assert list(map(shown, admit_batch(array(items), items))) == list(map(shown, map(thoroughly, items)))


@settings(max_examples=20)
@given(st.lists(EVENT.flatmap(written), min_size=2, max_size=4), st.data())
def test_a_batch_whose_pieces_join_into_other_events_is_judged_piece_by_piece(
    events: list[bytes], data: st.DataObject
) -> None:
    """Pieces that are events only when they are put together are no events."""
    whole = b",".join(event.strip(b" \t\r\n") for event in events)
    cuts = [match.start() for match in re.finditer(b",", whole)]
    chosen = sorted(data.draw(st.lists(st.sampled_from(cuts), min_size=1, max_size=3, unique=True)))
    pieces = [whole[start + 1 : end] for start, end in zip([-1, *chosen], [*chosen, len(whole)], strict=True)]
    verdicts = [admit(piece) for piece in pieces]
    assert [verdict.problem is None for verdict in verdicts] == [piece in events for piece in pieces]


@pytest.mark.parametrize("name", sorted(CURRENT))
@settings(max_examples=5)
@given(st.data())
def test_every_type_can_be_drawn(name: str, data: st.DataObject) -> None:
    """The events that the properties are tried on are of all types."""
    item = data.draw(event_of(name).flatmap(written))
    assert admit(item).problem is None
    assert json.loads(item)["type"] == PREFIX + name
