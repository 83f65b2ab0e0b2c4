"""Cutting a request's body into items by bytes, before any item is judged.

So one bad item cannot hide the others: a body is only unreadable when it cannot be cut. Well-formed
arrays are cut by msgspec; this slower, tolerant cutter is for those with a bad item inside.
"""

from __future__ import annotations

import re

from msgspec import DecodeError, Raw, json

from schemas.errors import Malformed

_RAW_ITEMS = json.Decoder(list[Raw])
# A string, or one of the marks outside. Possessive: nothing is tried twice in a string that never ends.
_MARKS = re.compile(rb'"[^"\\]*+(?:\\.[^"\\]*+)*+"|[\[\]{},"]', re.DOTALL)
_CLOSER = {0x5B: 0x5D, 0x7B: 0x7D}
_JSON_SPACE = b" \t\r\n"


class CannotSplit(Malformed):
    """The body is not an array of items, whatever the items are."""


def split_array(body: bytes) -> list[bytes]:
    """The items of a JSON array, as sent, without the white space around them.

    Raises CannotSplit when brackets or quotes do not close, or when it is not one array.
    """
    try:
        return list(map(bytes, _RAW_ITEMS.decode(body)))
    except (DecodeError, UnicodeDecodeError, RecursionError):
        return _split_tolerantly(body)


def split_lines(body: bytes) -> list[bytes]:
    """The items of newline-delimited JSON, as sent; empty lines are no items."""
    return [line for line in (line.strip(_JSON_SPACE) for line in body.split(b"\n")) if line]


def _split_tolerantly(body: bytes) -> list[bytes]:
    body = body.strip(_JSON_SPACE)
    if body[:1] != b"[":
        raise CannotSplit("a batch is a JSON array: it starts with `[`")
    items: list[bytes] = []
    closers: list[int] = []
    start = 1
    for mark in _MARKS.finditer(body):
        character = body[mark.start()]
        if character in _CLOSER:
            closers.append(_CLOSER[character])
        elif character in b"]}":
            if not closers or closers.pop() != character:
                raise CannotSplit(f"a bracket at byte {mark.start()} closes nothing")
            if not closers:
                if body[mark.end() :]:
                    raise CannotSplit(f"the array ends at byte {mark.end()}, and more follows")
                last = body[start : mark.start()].strip(_JSON_SPACE)
                return [*items, last] if last or items else []
        elif character == 0x2C and len(closers) == 1:
            items.append(body[start : mark.start()].strip(_JSON_SPACE))
            start = mark.end()
        elif character == 0x22 and mark.end() == mark.start() + 1:
            raise CannotSplit(f"a string that starts at byte {mark.start()} does not end")
    raise CannotSplit("the array does not end")


def nesting(item: bytes) -> int:
    """How deep an item's brackets go, strings left out; an unbalanced one counts as it stands."""
    depth = deepest = 0
    for mark in _MARKS.finditer(item):
        character = item[mark.start()]
        if character in b"[{":
            depth += 1
            deepest = max(deepest, depth)
        elif character in b"]}":
            depth -= 1
        elif character == 0x22 and mark.end() == mark.start() + 1:
            break  # a string that does not end: there are no brackets behind it
    return deepest
