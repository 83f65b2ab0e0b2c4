"""Whether the server would take an event: the same verdict, by the same rules, before anything is sent.

The rules themselves are :mod:`loopline.rules`, generated from the server's. What only the server can say is
left to it: whether a declared JSON Schema can be used, and what it judges by other events. Strict clients and
clients in test mode ask here; others leave it to the server, which keeps what it refuses.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from functools import cache
from typing import Any, get_args, get_type_hints

import msgspec
from msgspec import UNSET

from loopline import rules
from loopline.errors import InvalidEvent
from loopline.numbers import MAX_SLOW_NUMBERS, slow_numbers

_encode = msgspec.json.Encoder().encode
_decode = msgspec.json.Decoder().decode

_OFFSET_WITHOUT_COLON = re.compile(rb'[+-][0-9]{4}"')
# Greedy: what stands before the last of them may be a value that the message quotes.
_WHERE = re.compile(r"(.*) - at (?:`key` in )?`([^`]*)`\Z", re.DOTALL)
_MISSING_FIELD = re.compile(r"Object missing required field `(.*)`")
_NUMBER_FOR_TEXT = re.compile(r"Expected `str`, got `(?:int|float)`")


def check(body: bytes, kind: str) -> None:
    """Raise :class:`InvalidEvent`, with the server's code, for an event of this type that it would refuse.

    ``body`` is the event as it would be sent, of at most ``rules.MAX_EVENT_BYTES``.
    """
    if slow_numbers(body) > MAX_SLOW_NUMBERS:
        limit = f"an event may have {MAX_SLOW_NUMBERS} of them"
        raise InvalidEvent(
            f"too many numbers such as 1e300, which take long to read: {limit}", code="too_large"
        )
    if body.count(b"{") + body.count(b"[") > rules.MAX_DEPTH and _depth(_decode(body)) > rules.MAX_DEPTH:
        raise InvalidEvent(f"it is nested over {rules.MAX_DEPTH} levels", code="too_deep")
    if b"\\u0000" in body:
        _check_texts(_decode(body), "$")
    event = _understood(body, kind)
    if event.time.year < rules.FIRST_YEAR:
        raise InvalidEvent(f"it is before the year {rules.FIRST_YEAR}", "$.time")
    if _OFFSET_WITHOUT_COLON.search(body) is not None:
        _check_offset(_decode(body)["time"])
    rule = rules.RULES.get(kind)
    if rule is not None:
        _RULES[rule](event.data)
    if len(body) > rules.MAX_INPUT_BYTES:
        _check_input(event.data)


def _understood(body: bytes, kind: str) -> Any:
    decode = _decoder(kind)
    try:
        return decode(body)
    except msgspec.ValidationError as error:
        try:
            # In JSON 5.0 is the integer 5, which msgspec tells apart.
            return decode(_encode(_whole(_decode(body))))
        except msgspec.ValidationError:
            raise _explained(str(error), kind) from None


@cache
def _decoder(kind: str) -> Callable[[bytes], Any]:
    """The strict decoder of one event type, made when the first event of that type is judged."""
    event: Any = rules.Event
    return msgspec.json.Decoder(event[rules.TYPES[kind]]).decode


def _explained(said: str, kind: str) -> InvalidEvent:
    """What msgspec says, with the path in the words of the call, and without the value that it may quote."""
    found = _WHERE.match(said)
    path = "$" if found is None else found[2].replace("$.data", "$", 1)
    what = said if found is None else found[1]
    missing = _MISSING_FIELD.match(what)
    if missing is not None:
        return InvalidEvent("it is missing", f"{path}.{missing[1]}")
    if what.startswith("Object contains unknown field"):
        return InvalidEvent(what, path, "unknown_field")
    if what.startswith("Invalid enum value"):
        words = get_args(get_type_hints(rules.TYPES[kind]).get(path.removeprefix("$.")))
        what = (
            f"expected one of {', '.join(map(repr, words))}" if words else "it is none of the words allowed"
        )
    elif _NUMBER_FOR_TEXT.match(what):
        what += ': give it as text, as in "3"'
    elif path == "$.time":
        what = "expected a time with an offset, as datetime.now(UTC) has one and 2026-11-20T09:12:31Z"
    return InvalidEvent(what, path)


def _check_offset(time: str) -> None:
    if _OFFSET_WITHOUT_COLON.search(time[-5:].encode() + b'"') is not None:
        raise InvalidEvent("its offset is not like +01:00", "$.time")


def _depth(value: Any) -> int:
    if isinstance(value, dict):
        return 1 + max(map(_depth, value.values()), default=0)
    if isinstance(value, list):
        return 1 + max(map(_depth, value), default=0)
    return 0


def _check_texts(value: Any, path: str) -> None:
    if isinstance(value, str):
        if "\x00" in value:
            raise InvalidEvent("it holds U+0000", path.replace("$.data", "$", 1))
    elif isinstance(value, list):
        for index, item in enumerate(value):
            _check_texts(item, f"{path}[{index}]")
    elif isinstance(value, dict):
        for key, item in value.items():
            _check_texts(key, path)
            _check_texts(item, f"{path}.{key}" if key.isidentifier() else f"{path}[...]")


def _whole(value: Any) -> Any:
    """The value with every float that is a whole number as an integer."""
    if isinstance(value, float):
        return int(value) if value.is_integer() and abs(value) <= 2.0**53 else value
    if isinstance(value, list):
        return [_whole(item) for item in value]
    if isinstance(value, dict):
        return {key: _whole(item) for key, item in value.items()}
    return value


# ---- rules over several fields, by the names that the generated table gives them


def _target(data: Any) -> None:
    if data.prediction_id is not UNSET:
        return
    if data.join_key is UNSET:
        raise InvalidEvent("say what this is about: prediction_id=, or model= and join_key=")
    if data.model is UNSET:
        raise InvalidEvent("join_key= needs model=: the same case may be known to several models")


def _target_or_subject(data: Any) -> None:
    if data.subject is UNSET or data.join_key is not UNSET:
        _target(data)


def _one_shape(data: Any) -> None:
    shape = data.output_shape
    given = [name for name in ("labels", "text", "json_schema") if getattr(shape, name) is not UNSET]
    if len(given) != 1:
        raise InvalidEvent("it needs exactly one of labels, text and json_schema", "$.output_shape")
    if shape.open is not UNSET and shape.labels is UNSET:
        raise InvalidEvent("open goes with labels only", "$.output_shape")


_RULES: dict[str, Callable[[Any], None]] = {
    "target": _target,
    "target_or_subject": _target_or_subject,
    "one_shape": _one_shape,
}


def _check_input(data: Any) -> None:
    given = getattr(data, "input", UNSET)
    if given is not UNSET and len(_encode(given)) > rules.MAX_INPUT_BYTES:
        limit = f"it has over {rules.MAX_INPUT_BYTES} bytes"
        raise InvalidEvent(f"{limit}: keep it and send input_uri= or input_ref=", "$.input")
