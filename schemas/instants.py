"""Instants as integers: nanoseconds since 1970-01-01 UTC, and back to RFC 3339 text.

Python's datetime stops at microseconds; two events that differ by a nanosecond are different, so
instants are whole nanoseconds wherever they are compared, ordered or stored.
"""

from __future__ import annotations

import re
from datetime import UTC, date, datetime
from functools import lru_cache

SECOND = 1_000_000_000
DAY = 86_400 * SECOND

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
# fromisoformat takes much of ISO 8601 that RFC 3339 does not.
_TO_THE_SECOND = re.compile(
    r"[0-9]{4}-[0-9]{2}-[0-9]{2}[Tt ][0-9]{2}:[0-9]{2}:[0-9]{2}(?:[Zz]|[+-][0-9]{2}:[0-9]{2})"
)


def nanoseconds(text: str) -> int:
    """The instant of an RFC 3339 time with an offset. Digits beyond nanoseconds are cut off.

    Raises ValueError for anything else, a time without an offset included.
    """
    thousandths = _THOUSANDTHS.get(text[19:])
    if thousandths is not None:
        # Nearly every time there is.
        return _utc_seconds(text[:19]) + thousandths
    if len(text) < 21 or text[19] != ".":
        return _whole_seconds(text)
    end = len(text) - 1
    if text[end] not in "Zz":
        end = max(text.rfind("+"), text.rfind("-"), 20)
    fraction = text[20:end]
    if not (fraction.isascii() and fraction.isdigit()):
        raise ValueError(f"a decimal point needs digits: {text!r}")
    return _whole_seconds(text[:19] + text[end:]) + int(fraction[:9]) * _SCALE[min(len(fraction), 9)]


_SCALE: list[int] = [10 ** (9 - digits) for digits in range(10)]
_THOUSANDTHS = {f".{number:03d}Z": number * 1_000_000 for number in range(1000)}


@lru_cache(maxsize=4096)
def _utc_seconds(text: str) -> int:
    return _whole_seconds(text + "Z")


@lru_cache(maxsize=4096)
def _whole_seconds(text: str) -> int:
    if _TO_THE_SECOND.fullmatch(text) is None:
        raise ValueError(f"not a time like 2026-11-20T09:12:31.402Z or ...+01:00: {text!r}")
    elapsed = datetime.fromisoformat(text.upper()) - _EPOCH
    return (elapsed.days * 86_400 + elapsed.seconds) * SECOND


def rfc3339(instant: int) -> str:
    """An instant as RFC 3339 UTC text, with as many groups of three decimals as it needs."""
    seconds, rest = divmod(instant, SECOND)
    text = _second_text(seconds)
    if not rest:
        return text + "Z"
    digits = f"{rest:09d}"
    while digits.endswith("000"):
        digits = digits[:-3]
    return f"{text}.{digits}Z"


@lru_cache(maxsize=4096)
def _second_text(seconds: int) -> str:
    elapsed_days, second_of_day = divmod(seconds, 86_400)
    day = date.fromordinal(_EPOCH.toordinal() + elapsed_days)
    minute, second = divmod(second_of_day, 60)
    return f"{day.isoformat()}T{minute // 60:02d}:{minute % 60:02d}:{second:02d}"


def utc_day(instant: int) -> str:
    """The UTC day of an instant, as YYYY-MM-DD."""
    return _day_text(instant // DAY)


@lru_cache(maxsize=4096)
def _day_text(days: int) -> str:
    return date.fromordinal(_EPOCH.toordinal() + days).isoformat()
