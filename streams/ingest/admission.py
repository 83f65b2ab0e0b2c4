"""Judging what comes in: every item is admitted, or refused with a typed problem, by itself.

A batch whose items are all plainly good is judged in a few passes over the whole body; whatever is
not plainly good is judged again item by item, and thoroughly. msgspec is strict about types and
fields, but takes the last of two equal keys, skips over unknown envelope attributes, does not limit
depth and lets an offset be written without its colon, so those are looked for here. No I/O and no
clock: the instant of receipt comes in.
"""

from __future__ import annotations

import contextlib
import json as standard_json
import math
import re
from collections import Counter
from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Any

import msgspec

from schemas import problems
from schemas.catalog import CATALOG, FIRST_YEAR, Catalog, Event
from schemas.errors import Malformed
from schemas.fields import MAX_DEPTH, MAX_EVENT_BYTES, MAX_INPUT_BYTES
from schemas.identity import NoKey, partition_key
from schemas.normal_json import whole
from schemas.numbers import MAX_SLOW_NUMBERS, slow_numbers
from schemas.problems import Problem, problem
from schemas.rules import input_size, rule_of
from streams.ingest.split import nesting

_encode = msgspec.json.Encoder().encode
_LONE_SURROGATE = re.compile("[\ud800-\udfff]")
# Envelope and data: the two objects that every event has.
_BRACKETS_OF_ONE = 2
# No event is smaller: this much its envelope takes without any value.
_SMALLEST_EVENT = 100
# What is smaller is judged in milliseconds, whatever it is; what has fewer brackets is no matter of theirs.
_FEW_BYTES, _BYTES_A_BRACKET = 16 * 1024, 16
# Escapes that need a look at what they stand for: U+0000, and a colon that counting would not see.
_HIDING = re.compile(rb"\\u00(?:00|3[aA])")
_SPELT = re.compile(rb"\\u00[2-7]")
_OFFSET_WITHOUT_COLON = re.compile(rb'[+-][0-9]{4}"')
# A number that may be out of a float's range: a long exponent, or a short one and very many digits.
_PERHAPS_TOO_LARGE = re.compile("[0-9][eE][+]?[0-9]{3}|(?<![0-9])[0-9]{201}")


class Verdict(msgspec.Struct, gc=False):
    """What became of one item: the event, or the problem, with whatever identity could be read."""

    item: bytes
    event: Event | None
    problem: Problem | None = None
    id: str | None = None
    source: str | None = None
    key: bytes = b""
    """The event's partition key: what has none is refused, and never a matter of the worker's."""


class BatchTooCostly(Malformed):
    """The items of a batch have too many slow numbers together: each may be good, in a smaller batch."""


class _Refused(Exception):
    """Why one item is refused. Raised and caught in this module only."""

    def __init__(self, code: str, detail: str) -> None:
        self.problem = problem(code, detail)
        super().__init__(detail)


def admit_batch(body: bytes, items: Sequence[bytes], catalog: Catalog = CATALOG) -> list[Verdict]:
    """Judge the items of a batch; `body` is a JSON array of exactly these items.

    Returns one verdict an item, in order. Raises BatchTooCostly.
    """
    events = None if _costly(body, items) else _plainly_good(body, items, catalog)
    if events is None:
        return [admit(item, catalog) for item in items]
    try:
        return list(map(_admitted, items, events))
    except NoKey:
        return [_admit_thoroughly(item, catalog) for item in items]


def admit_each(body: bytes, items: Sequence[bytes], catalog: Catalog = CATALOG) -> list[Verdict]:
    """Judge items that are no array together, one by one. Raises BatchTooCostly."""
    _costly(body, items)
    return [admit(item, catalog) for item in items]


def admit(item: bytes, catalog: Catalog = CATALOG) -> Verdict:
    """Judge one item by itself."""
    if len(item) <= MAX_INPUT_BYTES and slow_numbers(item) <= MAX_SLOW_NUMBERS:
        events = _plainly_good(b"[" + item + b"]", [item], catalog)
        if events is not None:
            with contextlib.suppress(NoKey):
                return _admitted(item, events[0])
    return _admit_thoroughly(item, catalog)


def takes_long(sent: bytes) -> bool:
    """Whether to judge this takes long, for an event loop.

    A JSON Schema may be declared in here, whose key may be spelt with escapes. Or it is mostly brackets:
    they are looked at one by one, and made into as many objects.
    """
    if b"json_schema" in sent or (b"\\u00" in sent and _SPELT.search(sent) is not None):
        return True
    return len(sent) > _FEW_BYTES and (sent.count(b"[") + sent.count(b"{")) * _BYTES_A_BRACKET > len(sent)


def take_long(body: bytes, items: Sequence[bytes]) -> bool:
    """Whether to judge a batch takes long: as above, or there are many items that are judged thoroughly."""
    return takes_long(body) or (
        len(body) > 2 * MAX_EVENT_BYTES and max(map(len, items), default=0) > MAX_INPUT_BYTES
    )


def _costly(body: bytes, items: Sequence[bytes]) -> bool:
    """Whether some item is refused for its slow numbers; raises TooCostly where the others have too many."""
    slow = slow_numbers(body)
    if slow <= MAX_SLOW_NUMBERS:
        return False
    slow -= sum(found for found in map(slow_numbers, items) if found > MAX_SLOW_NUMBERS)
    if slow > MAX_SLOW_NUMBERS:
        raise BatchTooCostly(
            f"{slow} numbers such as 1e300, which take long to read; a request has at most"
            f" {MAX_SLOW_NUMBERS}: send fewer events at once"
        )
    return True


def _admitted(item: bytes, event: Event) -> Verdict:
    """The verdict on what was found good. Raises NoKey."""
    return Verdict(item, event, None, event.id, event.source, partition_key(event.data))


def _plainly_good(body: bytes, items: Sequence[bytes], catalog: Catalog) -> list[Event] | None:
    """The events of a batch in which nothing needs a second look, else None."""
    # One item may be larger than an input only if the body has room for it beside the others.
    if len(body) - _SMALLEST_EVENT * (len(items) - 1) > MAX_INPUT_BYTES and (
        max(map(len, items), default=0) > MAX_INPUT_BYTES
    ):
        return None
    # Every bracket beyond those of all events may be one item's; one `[` is the batch's own.
    lists = 1 if body.find(b"[", 1) < 0 else body.count(b"[")
    if body.count(b"{") + lists > _BRACKETS_OF_ONE * len(items) + MAX_DEPTH - 2 and _perhaps_too_deep(items):
        return None
    # A search for one byte takes a tenth of a search for two.
    if b"\\" in body and _HIDING.search(body) is not None:
        return None
    try:
        if not body.isascii():
            body.decode()
        events = catalog.admission.decode(body)
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError):
        return None
    if len(events) != len(items) or not _same_keys(body, _encode(events)):
        return None
    offsets = b'0000"' in body
    for event in events:
        data = event.data
        rule = rule_of(type(data))
        if rule is not None and rule(data) is not None:
            return None
        time = event.time
        if time.year < FIRST_YEAR:
            return None
        if time.tzinfo is not UTC:
            offsets = True
    return None if offsets and _OFFSET_WITHOUT_COLON.search(body) is not None else events


def _perhaps_too_deep(items: Sequence[bytes]) -> bool:
    """Whether some item has more brackets than it may have levels."""
    return any(item.count(b"{") + item.count(b"[") > MAX_DEPTH for item in items)


def _same_keys(sent: bytes, understood: bytes) -> bool:
    """Whether every key that was sent was understood, if no offset is written without its colon.

    A key that came twice or was skipped is missing from what was understood, and its colon with it.
    The offset +00:00 is understood as Z; a text that ends like it has a colon of its own.
    """
    missing = sent.count(b":") - understood.count(b":")
    return missing == 0 or missing == sent.count(b'+00:00"') - understood.count(b'+00:00"')


def _admit_thoroughly(item: bytes, catalog: Catalog) -> Verdict:
    known: dict[str, Any] = {}
    try:
        value, twice = _parse(item)
        if isinstance(value, dict):
            known = {name: value.get(name) for name in ("id", "source") if name not in twice}
        if twice:
            raise _Refused(problems.DUPLICATE_KEY, f"the key {twice[0][:200]!r} is there twice")
        return _admitted(item, _understood(item, value, catalog))
    except NoKey as error:
        refused = problem(problems.INVALID_VALUE, f"{error} - at `$.data`")
    except _Refused as refusal:
        refused = refusal.problem
    names = _readable(known.get("id")), _readable(known.get("source"))
    return Verdict(item, None, refused, *names)


def _readable(value: Any) -> str | None:
    """An id or source of a refused item, where it can be written down as text."""
    return value if isinstance(value, str) and len(value) <= 256 and not _unwritable(value) else None


def _unwritable(text: str) -> bool:
    return "\x00" in text or _LONE_SURROGATE.search(text) is not None


def _parse(item: bytes) -> tuple[Any, list[str]]:
    """The JSON value of an item, and the keys that some object in it has twice.

    Raises _Refused when it is not JSON, or too large or too deep to look at.
    """
    if len(item) > MAX_EVENT_BYTES:
        raise _Refused(problems.TOO_LARGE, f"{len(item)} bytes; an event has at most {MAX_EVENT_BYTES}")
    if (slow := slow_numbers(item)) > MAX_SLOW_NUMBERS:
        detail = (
            f"{slow} numbers such as 1e300, which take long to read; an event has at most {MAX_SLOW_NUMBERS}"
        )
        raise _Refused(problems.TOO_LARGE, detail)
    try:
        text = item.decode()
    except UnicodeDecodeError as error:
        raise _Refused(problems.NOT_UTF8, f"byte {error.start} is not UTF-8") from None
    # Depth comes before syntax: how deep a parser gets before it gives up differs between versions of Python.
    if item.count(b"{") + item.count(b"[") > MAX_DEPTH and nesting(item) > MAX_DEPTH:
        raise _Refused(problems.TOO_DEEP, f"nested over {MAX_DEPTH} levels")
    twice: list[str] = []

    def members(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
        found = dict(pairs)
        if len(found) != len(pairs):
            times = Counter(key for key, _ in pairs)
            twice.extend(key for key, count in times.items() if count > 1)
        return found

    try:
        value = standard_json.loads(text, object_pairs_hook=members, parse_constant=_not_json)
    except standard_json.JSONDecodeError as error:
        raise _Refused(problems.INVALID_JSON, f"{error.msg} at character {error.pos}") from None
    except ValueError as error:
        # Python refuses to read integers of thousands of digits.
        raise _Refused(problems.INVALID_VALUE, f"a number cannot be read: {error}") from None
    return value, twice


def _not_json(constant: str) -> Any:
    raise standard_json.JSONDecodeError(f"{constant} is not JSON", constant, 0)


def _understood(item: bytes, value: Any, catalog: Catalog) -> Event:
    """The event that an item's JSON value is; raises _Refused when it is none."""
    if b"\\u" in item or _PERHAPS_TOO_LARGE.search(item.decode()) is not None:
        _check_values(value, "$")
    if not isinstance(value, dict):
        raise _Refused(problems.INVALID_VALUE, _NOT_AN_EVENT.get(type(value), "an event is a JSON object"))
    event_type = value.get("type")
    if not isinstance(event_type, str):
        raise _Refused(problems.INVALID_VALUE, "`type` is missing or not a text")
    if event_type in catalog.old_types:
        value = _upcast(value, catalog)
        item = _encode(value)
    elif event_type not in catalog.types:
        raise _Refused(problems.UNKNOWN_TYPE, f"{event_type[:200]!r} is no type of the catalogue")
    event = _decoded(item, value, catalog)
    if _OFFSET_WITHOUT_COLON.search(value["time"][-5:].encode() + b'"') is not None:
        raise _Refused(problems.INVALID_VALUE, "the offset of `time` is not like +01:00 - at `$.time`")
    if event.time.year < FIRST_YEAR:
        raise _Refused(problems.INVALID_VALUE, f"`time` is before the year {FIRST_YEAR} - at `$.time`")
    rule = rule_of(type(event.data))
    detail = rule(event.data) if rule is not None else None
    if detail is None and len(item) > MAX_INPUT_BYTES:
        detail = input_size(event.data)
    if detail is not None:
        raise _Refused(problems.INVALID_VALUE, detail)
    return event


def _decoded(item: bytes, value: Any, catalog: Catalog) -> Event:
    """The event, by its types; raises _Refused. In JSON 5.0 is the integer 5, which msgspec tells apart."""
    event: Event
    try:
        event = catalog.admission_of_one.decode(item)
    except (msgspec.MsgspecError, RecursionError) as error:
        try:
            event = catalog.admission_of_one.decode(standard_json.dumps(whole(value)))
        except (msgspec.MsgspecError, RecursionError):
            unknown = str(error).startswith("Object contains unknown field")
            code = problems.UNKNOWN_FIELD if unknown else problems.INVALID_VALUE
            raise _Refused(code, str(error)[:500]) from None
    return event


_NOT_AN_EVENT = {
    list: "one event was expected and this is an array: send it as application/cloudevents-batch+json",
}


def _upcast(value: dict[str, Any], catalog: Catalog) -> dict[str, Any]:
    """An older version lifted to the current one; it is judged as what it becomes."""
    try:
        return catalog.upcast(value)
    except (LookupError, TypeError, ValueError, AttributeError) as error:
        raise _Refused(
            problems.INVALID_VALUE, f"not a valid {value['type']}: {type(error).__name__} {error}"[:500]
        ) from None


def _check_values(value: Any, path: str) -> None:
    """Raises _Refused for a text or number that cannot be kept as it was meant."""
    if isinstance(value, str):
        if _unwritable(value):
            raise _Refused(problems.INVALID_VALUE, f"{path} holds U+0000 or a lone surrogate")
    elif isinstance(value, float):
        if not math.isfinite(value):
            raise _Refused(problems.INVALID_VALUE, f"{path} is a number out of range")
    elif isinstance(value, list):
        for index, item in enumerate(value):
            _check_values(item, f"{path}[{index}]")
    elif isinstance(value, dict):
        for key, item in value.items():
            _check_values(key, f"a key of {path}")
            _check_values(item, f"{path}.{key}")


def clocks_ahead(events: Sequence[Event], received: datetime) -> int:
    """How many events say a time that has not come yet."""
    return sum(event.time > received for event in events)
