"""Instants: whole nanoseconds, from RFC 3339 text and back."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from schemas.instants import DAY, SECOND, nanoseconds, rfc3339, utc_day
from tests.schemas.valid import TIME

INSTANTS = st.integers(-(2**63), 2**63 - 1)
EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


@given(INSTANTS)
def test_an_instant_comes_back_from_its_text(instant: int) -> None:
    """Every instant of 64 bits has one text, which means it."""
    text = rfc3339(instant)
    assert nanoseconds(text) == instant
    assert nanoseconds(text.lower()) == instant
    assert nanoseconds(text.replace("Z", "+00:00")) == instant
    assert text.endswith("Z")


@given(INSTANTS, INSTANTS)
def test_texts_of_one_length_are_in_the_order_of_their_instants(one: int, other: int) -> None:
    """So a page may sort by either."""
    texts = rfc3339(one), rfc3339(other)
    if len(texts[0]) == len(texts[1]):
        assert (texts[0] < texts[1]) == (one < other)


@given(TIME)
def test_a_time_means_what_datetime_says(text: str) -> None:
    """To the microsecond, for any offset; the digits beyond are looked at apart."""
    whole = text[:19].upper() + text[19:].upper()
    digits = ""
    if whole[19] == ".":
        end = next(at for at in range(20, len(whole)) if not whole[at].isdigit())
        digits, whole = whole[20:end], whole[:19] + whole[end:]
    seconds = (datetime.fromisoformat(whole) - EPOCH) // timedelta(seconds=1)
    assert nanoseconds(text) == seconds * SECOND + int(digits.ljust(9, "0")[:9])


@given(INSTANTS, st.integers(-1439, 1439))
def test_an_offset_does_not_change_the_instant(instant: int, minutes: int) -> None:
    """The same instant on another clock."""
    instant -= instant % SECOND
    sign, ahead = "-" if minutes < 0 else "+", abs(minutes)
    local = rfc3339(instant + minutes * 60 * SECOND).removesuffix("Z")
    assert nanoseconds(f"{local}{sign}{ahead // 60:02d}:{ahead % 60:02d}") == instant


@pytest.mark.parametrize(
    "instant, text",
    [
        (0, "1970-01-01T00:00:00Z"),
        (1, "1970-01-01T00:00:00.000000001Z"),
        (1_000, "1970-01-01T00:00:00.000001Z"),
        (500_000_000, "1970-01-01T00:00:00.500Z"),
        (-1, "1969-12-31T23:59:59.999999999Z"),
        (1_795_165_951_402_000_000, "2026-11-20T09:12:31.402Z"),
        (-8_520_336_000_000_000_000, "1700-01-01T00:00:00Z"),
    ],
)
def test_texts_have_as_many_decimals_as_they_need(instant: int, text: str) -> None:
    """In groups of three."""
    assert rfc3339(instant) == text
    assert nanoseconds(text) == instant


@pytest.mark.parametrize(
    "text",
    [
        "",
        "2026-11-20",
        "2026-11-20T09:12:31",
        "2026-11-20T09:12:31.402",
        "2026-11-20T09:12Z",
        "2026-11-20T09:12:31+0100",
        "2026-11-20T09:12:31.5+0100",
        "2026-11-20T09:12:31+01",
        "2026-11-20T09:12:31.Z",
        "2026-11-20T09:12:31.5.5Z",
        "2026-11-20T09:12:31.٣Z",
        "٢٠٢٦-11-20T09:12:31Z",
        "2026-11-20T09:12:31.-5Z",
        "2026-11-20T09:12:31.5-Z",
        "2026-11-20T09:12:60Z",
        "2026-13-20T09:12:31Z",
        "20261120T091231Z",
        "2026-W47-5T09:12:31Z",
        "2026-11-20T09:12:31Z ",
        "2026-11-20T09:12:31Z\n",
        "2026-11-20T09:12:31.5+01:00Z",
    ],
)
def test_anything_else_is_no_time(text: str) -> None:
    """Much of ISO 8601 is not RFC 3339."""
    with pytest.raises(ValueError):
        nanoseconds(text)


def test_digits_beyond_nanoseconds_are_cut_off() -> None:
    """Never rounded: an event does not move into the next second."""
    assert nanoseconds("2026-11-20T09:12:31.9999999999Z") == nanoseconds("2026-11-20T09:12:31.999999999Z")


@given(INSTANTS)
def test_a_day_is_the_date_of_its_text(instant: int) -> None:
    """Days are UTC; a day before 1970 is one too."""
    assert utc_day(instant) == rfc3339(instant)[:10]
    assert utc_day(instant - instant % DAY) == utc_day(instant)
