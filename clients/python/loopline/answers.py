"""What the server's answer to a batch means for each event in it.

Pure: status, headers and body in, a verdict out. Acting on it (waiting, dividing, telling the product) is the
sender's part.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import msgspec
from msgspec import Struct

# Longer than this a server may not silence a client, whatever it asks for.
MAX_RETRY_AFTER_S = 300.0

# The request was fine and the moment was not: timeout, too early, too many, and everything above 499.
_PASSING = frozenset({408, 425, 429})
# The body as a whole was not taken; a part of it may be.
_DIVISIBLE = frozenset({400, 413, 422})


class Verdict(Struct):
    """One place per event of the batch: refused ones with their problem, those to send again.

    ``again`` with everything in it means the server is away or busy (``away``); ``divide`` asks for the
    batch in halves. Whatever is in neither list was accepted.
    """

    refused: list[tuple[int, dict[str, Any]]] = []
    again: list[int] = []
    away: bool = False
    divide: bool = False
    wait_s: float = 0.0
    why: str = ""


class _Item(Struct):
    index: int
    status: str
    problem: dict[str, Any] | None = None


class _Answer(Struct):
    items: list[_Item]


_decode_answer = msgspec.json.Decoder(_Answer).decode
_decode_any = msgspec.json.Decoder().decode


def judge(status: int, headers: Mapping[str, str], body: bytes, count: int) -> Verdict:
    """The verdict on a batch of ``count`` events; the headers' names are in lower case."""
    if 200 <= status < 300:
        return _judge_items(body, count)
    if status < 400 or status >= 500 or status in _PASSING:
        wait_s = retry_after(headers.get("retry-after"))
        return Verdict(again=list(range(count)), away=True, wait_s=wait_s, why=f"answered {status}")
    if status in _DIVISIBLE and count > 1:
        return Verdict(divide=True, why=f"answered {status}")
    problem = read_problem(status, body)
    return Verdict(refused=[(index, problem) for index in range(count)], why=f"answered {status}")


def _judge_items(body: bytes, count: int) -> Verdict:
    try:
        items = _decode_answer(body).items
    except (msgspec.DecodeError, UnicodeDecodeError):
        # A proxy's greeting page is a 200 too. Nothing in it says that an event is on disk.
        everything = list(range(count))
        return Verdict(again=everything, away=True, why="answered what is not Loopline's answer to a batch")
    refused: list[tuple[int, dict[str, Any]]] = []
    silent = set(range(count))
    for item in items:
        if item.index not in silent:
            continue
        if item.status == "accepted":
            silent.discard(item.index)
        elif item.status == "refused":
            silent.discard(item.index)
            refused.append((item.index, item.problem or _nameless(200)))
    why = "asked to send some again" if silent else ""
    return Verdict(refused=refused, again=sorted(silent), why=why)


def read_problem(status: int, body: bytes) -> dict[str, Any]:
    """The RFC 9457 object in a body, or one made from the status where there is none."""
    try:
        problem = _decode_any(body)
    except (msgspec.DecodeError, UnicodeDecodeError):
        problem = None
    if not isinstance(problem, dict):
        return _nameless(status)
    # One event sent alone is answered with the batch's body, its problem inside.
    items = problem.get("items")
    if isinstance(items, list) and items and isinstance(items[0], dict):
        inner = items[0].get("problem")
        if isinstance(inner, dict):
            return inner
    return problem


def _nameless(status: int) -> dict[str, Any]:
    return {
        "type": "about:blank",
        "title": f"HTTP {status}",
        "detail": f"the server refused with {status} and gave no reason",
        "code": "refused",
    }


def retry_after(value: str | None) -> float:
    """Seconds to wait as a ``Retry-After`` header says, in seconds or as a date; 0 where it says nothing."""
    if not value:
        return 0.0
    if value.strip().isdecimal():
        seconds = float(value)
    else:
        from datetime import UTC, datetime
        from email.utils import parsedate_to_datetime

        try:
            moment = parsedate_to_datetime(value)
        except (TypeError, ValueError):
            return 0.0
        seconds = (moment.replace(tzinfo=moment.tzinfo or UTC) - datetime.now(UTC)).total_seconds()
    return min(max(seconds, 0.0), MAX_RETRY_AFTER_S)
