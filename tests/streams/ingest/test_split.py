"""Cutting a body into items: by bytes, before anybody asks what the items are worth."""

from __future__ import annotations

import time

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from streams.ingest import split as splitting
from streams.ingest.split import CannotSplit, nesting, split_array, split_lines
from tests.schemas.valid import EVENT, JSON, written

SPACE = st.text(" \t\r\n", max_size=3).map(str.encode)
_MARKS = [b"[", b"]", b"{", b"}", b",", b'"', b"\\", b" "]
VALUES = st.lists(st.one_of(JSON, EVENT).flatmap(written), max_size=5)


@given(VALUES, st.data())
@settings(max_examples=60)
def test_each_value_of_an_array_comes_back_as_it_was_sent(values: list[bytes], data: st.DataObject) -> None:
    """The white space around a value is not part of it; the one inside is."""
    body = b",".join(data.draw(SPACE) + value + data.draw(SPACE) for value in values)
    body = data.draw(SPACE) + b"[" + body + (b"" if values else data.draw(SPACE)) + b"]" + data.draw(SPACE)
    assert split_array(body) == [value.strip(b" \t\r\n") for value in values]
    assert splitting._split_tolerantly(body) == split_array(body)


@given(VALUES)
@settings(max_examples=40)
def test_each_line_comes_back_as_it_was_sent(values: list[bytes]) -> None:
    """Lines end with LF or CR LF; empty ones are no items."""
    lines = [value.replace(b"\n", b" ").replace(b"\r", b" ").strip() for value in values]
    assert split_lines(b"\n".join(lines)) == lines
    assert split_lines(b"\r\n \r\n".join(lines) + b"\r\n\n") == lines


@st.composite
def scratched(draw: st.DrawFn) -> bytes:
    """An array of values in which bytes were changed, added or lost."""
    body = bytearray(b"[" + b", ".join(draw(VALUES)) + b"]")
    for _ in range(draw(st.integers(0, 4))):
        place = draw(st.integers(0, len(body)))
        piece = draw(st.one_of(st.binary(max_size=2), st.sampled_from(_MARKS)))
        body[place : place + draw(st.integers(0, 2))] = piece
    return bytes(body)


@given(scratched())
def test_a_body_is_cut_whole_or_not_at_all(body: bytes) -> None:
    """The items lie in the body in their order, with nothing but commas and white space between them."""
    try:
        items = split_array(body)
    except CannotSplit:
        return
    rest = body.strip(b" \t\r\n")
    assert rest[:1] == b"["
    rest = rest[1:]
    for number, item in enumerate(items):
        rest = rest.lstrip(b" \t\r\n")
        if number:
            assert rest[:1] == b","
            rest = rest[1:].lstrip(b" \t\r\n")
        assert rest.startswith(item)
        rest = rest[len(item) :]
    assert rest.strip(b" \t\r\n") == b"]"


@pytest.mark.parametrize(
    "body, items",
    [
        (b"[]", []),
        (b" [ ] ", []),
        (b"[nope]", [b"nope"]),
        (b'[{"a":1}, nope ,{"b":2}]', [b'{"a":1}', b"nope", b'{"b":2}']),
        (b'[{"a":NaN},{"b":2}]', [b'{"a":NaN}', b'{"b":2}']),
        (b'[{"a":"\xff"},{"b":2}]', [b'{"a":"\xff"}', b'{"b":2}']),
        (b'[{"a":"],[\\"]"},{"b":2}]', [b'{"a":"],[\\"]"}', b'{"b":2}']),
        (b"[1,]", [b"1", b""]),
        (b"[,]", [b"", b""]),
        (b"[1,,2]", [b"1", b"", b"2"]),
        (b"[[1,2],[3]]", [b"[1,2]", b"[3]"]),
        (b"[" * 5000 + b"]" * 5000, [b"[" * 4999 + b"]" * 4999]),
    ],
)
def test_a_bad_item_does_not_hide_the_others(body: bytes, items: list[bytes]) -> None:
    """A body can be cut where its items end, whatever they are, nothing included."""
    assert split_array(body) == items


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"   ",
        b'{"a":1}',
        b"[",
        b'[{"a":1},{"b":',
        b'[{"a":1},{"b":2}',
        b'[{"a":"x},{"b":2}]',
        b'[{"a":1}},{"b":2}]',
        b'[{"a":[1}],{"b":2}]',
        b'[{"a":1}] [',
        b"[1]]",
        b"\xef\xbb\xbf[1]",
        "[1]".encode("utf-16"),
        b'["\\',
    ],
)
def test_a_body_that_cannot_be_cut_is_refused_with_the_reason(body: bytes) -> None:
    """Half a batch, brackets or quotes that do not close, and what is no array at all."""
    with pytest.raises(CannotSplit) as refusal:
        split_array(body)
    assert str(refusal.value)


def test_lines_are_cut_at_line_feeds_only() -> None:
    """Other characters that end lines somewhere are part of a line."""
    assert split_lines('1\r\n\n  2\u2028"\x0b"\n'.encode()) == [b"1", '2\u2028"\x0b"'.encode()]
    assert split_lines(b"") == []


@pytest.mark.parametrize(
    "item, levels",
    [
        (b"1", 0),
        (b"[]", 1),
        (b'{"a":[{}]}', 3),
        (b"[[],[],[]]", 2),
        (b'["[[["]', 1),
        (b'["\\"[[["]', 1),
        (b"[[[", 3),
        (b"]]][", 0),
        (b'["[[[', 1),
    ],
)
def test_nesting_counts_brackets_outside_of_text(item: bytes, levels: int) -> None:
    """What is unbalanced counts as it stands."""
    assert nesting(item) == levels


@pytest.mark.parametrize("piece", [b'\\"', b'"\\', b"\\", b'"', b'["', b'{"a', b'",'])
def test_no_body_takes_long_to_cut(piece: bytes) -> None:
    """The time grows with the length and no faster: what never closes is looked at once."""
    body = b'[{"' + piece * (1024 * 1024 // len(piece))
    started = time.process_time()
    with pytest.raises(CannotSplit):
        splitting._split_tolerantly(body)
    nesting(body)
    assert time.process_time() - started < 5
