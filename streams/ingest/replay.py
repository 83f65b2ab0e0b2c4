"""Putting refused items back after a fix: the bytes to send, and which of them to send once.

An item that is put back carries the CloudEvents attribute `looplinereplay` with the name of its dead
letter, so that the views can tell that it came through at last. Refused again, it becomes a second dead
letter with the attribute inside; the attribute is taken off before the next try. Sending is left to the
command line, marking to the fold.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from hashlib import blake2b
from typing import NamedTuple

from schemas.catalog import REPLAY_ATTRIBUTE
from schemas.errors import Malformed
from schemas.fields import DEAD_LETTER_NAME
from streams.log.port import DEAD

_NAME = re.compile(DEAD_LETTER_NAME)
_MARK = re.compile(rb'\{"' + REPLAY_ATTRIBUTE.encode() + rb'":"([a-z0-9:]{1,64})"(?:,|(?=\}))')
_SPACE = b" \t\r\n"


class MalformedName(Malformed):
    """A text that names no dead letter."""


class NotAnObject(Malformed):
    """The refused bytes are no JSON object: there is nothing to put the attribute into."""


class Name(NamedTuple):
    """A dead letter's place in the log."""

    partition: int
    offset: int
    place: int

    @property
    def refused(self) -> bool:
        """Whether the collector refused it. The others were accepted, and the worker judged them."""
        return self.partition == DEAD


class ReplayItem(NamedTuple):
    """A dead letter: its name, and the item's bytes as they were sent."""

    name: str
    item: bytes


def is_name(text: str) -> bool:
    """Whether a text has the form of a dead letter's name."""
    return _NAME.fullmatch(text) is not None


def parse_name(text: str) -> Name:
    """The place that `dead:4:0` or `0:17:3` names. Raises MalformedName."""
    match = _NAME.fullmatch(text)
    if match is None:
        raise MalformedName(f"{text[:60]!r} names no dead letter; names look like dead:4:0 or 0:17:3")
    return Name(DEAD if match[1] == "dead" else int(match[1]), int(match[2]), int(match[3]))


def marked(name: str, item: bytes) -> bytes:
    """The item to send for a dead letter: its bytes, with the attribute behind the first bracket.

    Raises NotAnObject.
    """
    plain = unmarked(item)
    if plain[:1] != b"{":
        raise NotAnObject("it is no JSON object, so it cannot be put back as it is")
    rest = plain[1:].lstrip(_SPACE)
    comma = b"" if rest[:1] == b"}" else b","
    return b'{"' + REPLAY_ATTRIBUTE.encode() + b'":"' + name.encode() + b'"' + comma + plain[1:]


def mark_of(item: bytes) -> Name | None:
    """The place that an item names in front, as what `marked` gives does; None where it names none."""
    match = _MARK.match(item.strip(_SPACE))
    if match is None or not is_name(text := match[1].decode()):
        return None
    return parse_name(text)


def unmarked(item: bytes) -> bytes:
    """The item without the attribute that an earlier try has put in."""
    stripped = item.strip(_SPACE)
    match = _MARK.match(stripped)
    return stripped if match is None else b"{" + stripped[match.end() :]


def claim_of_identity(source: str, event_id: str) -> bytes:
    """What an event and the dead letter that it was have in common when source and id could be read."""
    start = source.encode(errors="surrogatepass")
    framed = len(start).to_bytes(4, "big") + start + event_id.encode(errors="surrogatepass")
    return blake2b(framed, digest_size=16, person=b"loopline.ids").digest()


def claim_of_bytes(item: bytes) -> bytes:
    """What they have in common when it was put back as it was: the bytes, without the attribute."""
    return blake2b(unmarked(item), digest_size=16, person=b"loopline.bytes").digest()


def by_content(refusals: Iterable[ReplayItem]) -> list[list[ReplayItem]]:
    """Dead letters of the same bytes together, in the order they came.

    One of each group is tried; the others follow only when it came through, or every try of all would
    double their number.
    """
    groups: dict[bytes, list[ReplayItem]] = {}
    for refusal in refusals:
        groups.setdefault(unmarked(refusal.item), []).append(refusal)
    return list(groups.values())
