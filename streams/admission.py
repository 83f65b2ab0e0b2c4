"""Judging what comes in: every item is admitted, or refused with a typed problem, by itself.

A batch whose items are all plainly good is judged in a few passes over the whole body; whatever is
not plainly good is judged again item by item, and thoroughly. msgspec is strict about types and
fields, but takes the last of two equal keys, skips over unknown envelope attributes and does not
limit depth, so those are looked for here. No I/O and no clock: the instant of receipt comes in.
"""

from __future__ import annotations

import json as standard_json
import math
import re
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

import msgspec

from schemas import problems
from schemas.catalog import CATALOG, Catalog, Event
from schemas.fields import MAX_DEPTH, MAX_EVENT_BYTES, MAX_INPUT_BYTES
from schemas.problems import Problem, problem
from schemas.rules import RULES
from streams.splitting import nesting

_encode = msgspec.json.Encoder().encode
_LONE_SURROGATE = re.compile("[\ud800-\udfff]")
# Envelope and data: the two objects that every event has.
_BRACKETS_OF_ONE = 2


@dataclass(slots=True)
class Verdict:
    """What became of one item: the event, or the problem, with whatever identity could be read."""

    item: bytes
    event: Event | None
    problem: Problem | None = None
    id: str | None = None
    source: str | None = None


class Refused(Exception):
    """Why one item is refused. Raised and caught in this module only."""

    def __init__(self, code: str, detail: str) -> None:
        self.problem = problem(code, detail)
        super().__init__(detail)


class DuplicateKey(ValueError):
    """An object with the same key twice, met while parsing."""


def admit_batch(body: bytes, items: Sequence[bytes], catalog: Catalog = CATALOG) -> list[Verdict]:
    """Judge the items of a batch; `body` is a JSON array of exactly these items.

    Returns one verdict an item, in order.
    """
    events = _plainly_good(body, items, catalog)
    if events is None:
        return [admit(item, catalog) for item in items]
    return [
        Verdict(item, event, None, event.id, event.source) for item, event in zip(items, events, strict=True)
    ]


def _plainly_good(body: bytes, items: Sequence[bytes], catalog: Catalog) -> list[Event] | None:
    """The events of a batch in which nothing needs a second look, else None."""
    if b"\\" in body or (len(body) > MAX_INPUT_BYTES and max(map(len, items)) > MAX_INPUT_BYTES):
        return None
    if body.count(b"{") + body.count(b"[") > _BRACKETS_OF_ONE * len(items) + MAX_DEPTH - 2:
        return None
    try:
        if not body.isascii():
            body.decode()
        events = catalog.admission.decode(body)
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError):
        return None
    if not _same_keys(body, _encode(events)):
        return None
    for event in events:
        rule = RULES.get(type(event.data))
        if rule is not None and rule(event.data) is not None:
            return None
    return events


def _same_keys(sent: bytes, understood: bytes) -> bool:
    """Whether every key that was sent was understood: no backslash in either, so quotes only delimit.

    A key that came twice or was skipped is missing from what was understood. Colons are quicker to
    count, but a time's offset may be written with or without them; then the keys' ends are counted.
    """
    return sent.count(b":") == understood.count(b":") or sent.count(b'":') == understood.count(b'":')


def admit(item: bytes, catalog: Catalog = CATALOG) -> Verdict:
    """Judge one item by itself."""
    if len(item) <= MAX_INPUT_BYTES:
        events = _plainly_good(b"[" + item + b"]", [item], catalog)
        if events is not None and len(events) == 1:
            event = events[0]
            return Verdict(item, event, None, event.id, event.source)
    return _admit_thoroughly(item, catalog)


def _admit_thoroughly(item: bytes, catalog: Catalog) -> Verdict:
    value: Any = None
    try:
        value = _parse(item)
        return _understood(item, value, catalog)
    except Refused as refusal:
        known = value if isinstance(value, dict) else {}
        return Verdict(item, None, refusal.problem, _readable(known.get("id")), _readable(known.get("source")))


def _readable(value: Any) -> str | None:
    """An id or source of a refused item, where it can be written down as text."""
    return value if isinstance(value, str) and len(value) <= 256 and not _unwritable(value) else None


def _unwritable(text: str) -> bool:
    return "\x00" in text or _LONE_SURROGATE.search(text) is not None


def _parse(item: bytes) -> Any:
    """The JSON value of an item; raises Refused when it is not strictly JSON or breaks a limit."""
    if len(item) > MAX_EVENT_BYTES:
        raise Refused(problems.TOO_LARGE, f"{len(item)} bytes; an event has at most {MAX_EVENT_BYTES}")
    try:
        text = item.decode()
    except UnicodeDecodeError as error:
        raise Refused(problems.NOT_UTF8, f"byte {error.start} is not UTF-8") from None
    deep = nesting(item) > MAX_DEPTH
    try:
        return standard_json.loads(text, object_pairs_hook=_unique, parse_constant=_not_json)
    except DuplicateKey as error:
        code = problems.TOO_DEEP if deep else problems.DUPLICATE_KEY
        raise Refused(code, str(error) if not deep else _TOO_DEEP) from None
    except RecursionError:
        raise Refused(problems.TOO_DEEP, _TOO_DEEP) from None
    except standard_json.JSONDecodeError as error:
        raise Refused(problems.INVALID_JSON, f"{error.msg} at character {error.pos}") from None
    except ValueError as error:
        # Python refuses to read integers of thousands of digits.
        raise Refused(problems.INVALID_VALUE, f"a number cannot be read: {error}") from None
    finally:
        del text


_TOO_DEEP = f"nested over {MAX_DEPTH} levels"


def _unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    members = dict(pairs)
    if len(members) != len(pairs):
        seen: set[str] = set()
        twice = next(key for key, _ in pairs if key in seen or seen.add(key))  # type: ignore[func-returns-value]
        raise DuplicateKey(f"the key {twice!r} is there twice")
    return members


def _not_json(constant: str) -> Any:
    raise standard_json.JSONDecodeError(f"{constant} is not JSON", constant, 0)


def _understood(item: bytes, value: Any, catalog: Catalog) -> Verdict:
    if nesting(item) > MAX_DEPTH:
        raise Refused(problems.TOO_DEEP, _TOO_DEEP)
    _check_values(value, "$")
    if not isinstance(value, dict):
        raise Refused(problems.INVALID_VALUE, _NOT_AN_EVENT.get(type(value), "an event is a JSON object"))
    event_type = value.get("type")
    if not isinstance(event_type, str):
        raise Refused(problems.INVALID_VALUE, "`type` is missing or not a text")
    if event_type in catalog.old_types:
        value = _upcast(value, catalog)
    elif event_type not in catalog.types:
        raise Refused(problems.UNKNOWN_TYPE, f"{event_type[:200]!r} is no type of the catalogue")
    try:
        event = catalog.admission_of_one.decode(_encode(value))
    except (msgspec.MsgspecError, RecursionError) as error:
        unknown = "unknown field" in str(error)
        raise Refused(
            problems.UNKNOWN_FIELD if unknown else problems.INVALID_VALUE, str(error)[:500]
        ) from None
    rule = RULES.get(type(event.data))
    detail = rule(event.data) if rule is not None else None
    if detail is not None:
        raise Refused(problems.INVALID_VALUE, detail)
    return Verdict(item, event, None, event.id, event.source)


_NOT_AN_EVENT = {
    list: "one event was expected and this is an array: send it as application/cloudevents-batch+json",
}


def _upcast(value: dict[str, Any], catalog: Catalog) -> dict[str, Any]:
    """An older version lifted to the current one; it is judged as what it becomes."""
    try:
        return catalog.upcast(value)
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise Refused(
            problems.INVALID_VALUE, f"not a valid {value['type']}: {type(error).__name__} {error}"
        ) from None


def _check_values(value: Any, path: str) -> None:
    """Raises Refused for a text or number that cannot be kept as it was meant."""
    if isinstance(value, str):
        if _unwritable(value):
            raise Refused(problems.INVALID_VALUE, f"{path} holds U+0000 or a lone surrogate")
    elif isinstance(value, float):
        if not math.isfinite(value):
            raise Refused(problems.INVALID_VALUE, f"{path} is a number out of range")
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
