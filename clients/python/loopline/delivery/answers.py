"""What the server's answer to a batch means for each event in it.

Only Loopline itself can refuse an event: with an RFC 9457 problem of a type that begins with
``urn:loopline:problem:``, in the event's own item or, for the whole of a request, with one of the codes that
judge an event. Whatever else comes back (a proxy's page, a login, another server on the port, Loopline's word
on a request that it does not serve) says nothing about the events, and they wait. Pure: status, headers and
body in, a verdict out. Acting on it (waiting, dividing, telling the product) is the sender's part.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any, NamedTuple

import msgspec
from msgspec import Struct

# Longer than this a server may not silence a client, whatever it asks for.
MAX_RETRY_AFTER_S = 300.0

PROBLEM_TYPE = "application/problem+json"
PROBLEM_URN = "urn:loopline:problem:"

# The request was fine and the moment was not: timeout, too early, too many, and everything above 499.
_PASSING = frozenset({408, 425, 429})
# Of the latter, what no waiting changes: a server that has no such method or version, and a network's login.
_NEVER = frozenset({501, 505, 511})
# With these Loopline judges what is in a request; with every other one who asks, where, and in which form.
_ABOUT_THE_CONTENT = frozenset({400, 413, 422})
_TOO_LARGE = 413
_MEDIA_TYPE = re.compile(r"[a-z0-9.+-]{1,40}/[a-z0-9.+-]{1,60}")


class Refusal(NamedTuple):
    """What Loopline will never take: the place in the batch, why, and the id as the server read it."""

    item: int
    problem: dict[str, Any]
    id: str | None = None


class Verdict(Struct):
    """One place per event of the batch: refused ones with their problem, those to send again.

    ``again`` with everything in it means the server is away or busy (``away``); ``divide`` asks for the
    batch in halves. Whatever is in neither list was accepted. ``foreign``: what answered is no Loopline.
    ``lasting``: it will answer like that again until a person does something.
    """

    refused: list[Refusal] = []
    again: list[int] = []
    away: bool = False
    divide: bool = False
    foreign: bool = False
    lasting: bool = False
    wait_s: float = 0.0
    why: str = ""
    position: str | None = None


_decode_any = msgspec.json.Decoder().decode


def judge(status: int, headers: Mapping[str, str], body: bytes, count: int) -> Verdict:
    """The verdict on a batch of ``count`` events; the headers' names are in lower case."""
    if 200 <= status < 300:
        return _judge_items(status, headers, body, count)
    problem = loopline_problem(headers, body)
    everything = list(range(count))
    wait_s = retry_after(headers.get("retry-after"))
    if status >= 500 or status in _PASSING:
        foreign = problem is None
        return Verdict(
            again=everything,
            away=True,
            foreign=foreign,
            lasting=foreign and status in _NEVER,
            wait_s=wait_s,
            why=_no_loopline(status, headers) if foreign else f"answered {status}",
        )
    why = _no_loopline(status, headers) if problem is None else _said(status, problem)
    refused = problem is not None and status in _ABOUT_THE_CONTENT and _judges_an_event(problem)
    if count > 1 and (refused or status == _TOO_LARGE):
        # A proxy with a smaller limit than ours lets parts through too.
        return Verdict(divide=True, foreign=problem is None, why=why)
    if problem is None or not refused:
        away = status != _TOO_LARGE
        foreign = problem is None
        return Verdict(again=everything, away=away, foreign=foreign, lasting=True, wait_s=wait_s, why=why)
    position = problem.get("position")
    return Verdict(
        refused=[Refusal(index, problem) for index in everything],
        why=why,
        position=position if isinstance(position, str) else None,
    )


def _judges_an_event(problem: Mapping[str, Any]) -> bool:
    """Whether a problem is about what an event holds, and not about the request that brought it."""
    from loopline.rules import REFUSALS

    return str(problem["type"]).removeprefix(PROBLEM_URN) in REFUSALS


def _said(status: int, problem: Mapping[str, Any]) -> str:
    return f"answered {status}: {problem.get('detail') or problem.get('title') or problem['type']}"


def _judge_items(status: int, headers: Mapping[str, str], body: bytes, count: int) -> Verdict:
    """A 2xx names each event's fate; an event whose fate is missing, unreadable or told twice goes again."""
    document = _decoded(body)
    items = document.get("items") if isinstance(document, dict) else None
    fates: dict[int, Refusal | bool | None] = {}
    for item in items if isinstance(items, list) else []:
        index = item.get("index") if isinstance(item, dict) else None
        if type(index) is int and 0 <= index < count:
            fates[index] = _fate(index, item) if index not in fates else None
    if count and not fates:
        # A proxy's greeting page is a 200 too. Nothing in it says that an event is on disk.
        why = _no_loopline(status, headers)
        return Verdict(again=list(range(count)), away=True, foreign=True, lasting=True, why=why)
    again = [index for index in range(count) if fates.get(index) is None]
    position = document.get("position") if isinstance(document, dict) else None
    return Verdict(
        refused=[fate for _, fate in sorted(fates.items()) if isinstance(fate, Refusal)],
        again=again,
        why=f"asked to send {len(again)} of {count} again" if again else "",
        position=position if isinstance(position, str) else None,
    )


def _fate(index: int, item: dict[str, Any]) -> Refusal | bool | None:
    """True for accepted, the refusal, or None for whatever means: again."""
    if item.get("status") == "accepted":
        return True
    problem = item.get("problem")
    if item.get("status") == "refused" and isinstance(problem, dict) and _is_ours(problem):
        id = item.get("id")
        return Refusal(index, problem, id if isinstance(id, str) else None)
    return None


def loopline_problem(headers: Mapping[str, str], body: bytes) -> dict[str, Any] | None:
    """Loopline's own problem in an answer; None for whatever else says no."""
    if _media_type(headers) != PROBLEM_TYPE:
        return None
    problem = _decoded(body)
    return problem if isinstance(problem, dict) and _is_ours(problem) else None


def _is_ours(problem: Mapping[str, Any]) -> bool:
    kind = problem.get("type")
    return isinstance(kind, str) and kind.startswith(PROBLEM_URN)


def _no_loopline(status: int, headers: Mapping[str, str]) -> str:
    media_type = _media_type(headers)
    form = f" ({media_type})" if _MEDIA_TYPE.fullmatch(media_type) else ""
    return (
        f"answered {status}{form}, which is not how Loopline answers: another server, a proxy or a login page"
    )


def _media_type(headers: Mapping[str, str]) -> str:
    return headers.get("content-type", "").partition(";")[0].strip().lower()


def _decoded(body: bytes) -> Any:
    try:
        return _decode_any(body)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return None


def retry_after(value: str | None) -> float:
    """Seconds to wait as a ``Retry-After`` header says, in seconds or as a date; 0 where it says nothing."""
    if not value:
        return 0.0
    text = value.strip()
    if text.isdecimal() and text.isascii():
        seconds = float(text)
    else:
        from datetime import UTC, datetime
        from email.utils import parsedate_to_datetime

        try:
            moment = parsedate_to_datetime(text)
            seconds = (moment.replace(tzinfo=moment.tzinfo or UTC) - datetime.now(UTC)).total_seconds()
        except (TypeError, ValueError, OverflowError):
            return 0.0
    return min(max(seconds, 0.0), MAX_RETRY_AFTER_S)
