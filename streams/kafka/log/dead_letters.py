"""Refused items as records of the dead-letter topic, and back.

A record is one item: its value is the item as it was sent, and its headers say why it was refused, in the
way of Kafka Connect's dead letter queues, so that tools which know those can be used. Read back, it is a
block of one dead letter, the same bytes each time: a store remembers the digest.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import NamedTuple

from schemas import problems
from streams.log.block import DeadLetter, read_dead_letters, write_dead_letters

Headers = list[tuple[str, bytes]]

_CONNECT = "__connect.errors."
_LOOPLINE = "loopline."
_STAGE = "VALUE_CONVERTER"
# What a view can be searched by fits an entry of an index; what is written here takes half of it.
_MOST_BYTES = 2048
_INSTANTS = 2**63


class ProducedRecord(NamedTuple):
    """A record of the dead-letter topic."""

    value: bytes
    headers: Headers


def dead_letter_record(received: int, letter: DeadLetter, prefix: str) -> ProducedRecord:
    """The record of a refused item that was received at this instant (ns since 1970)."""
    fields = {
        _CONNECT + "stage": _STAGE,
        _CONNECT + "exception.class.name": _LOOPLINE + letter.code,
        _CONNECT + "exception.message": letter.detail,
        _CONNECT + "connector.name": prefix,
        _CONNECT + "task.id": "0",
        _LOOPLINE + "code": letter.code,
        _LOOPLINE + "received": str(received),
    }
    if letter.id is not None:
        fields[_LOOPLINE + "id"] = letter.id
    if letter.source is not None:
        fields[_LOOPLINE + "source"] = letter.source
    if letter.origin is not None:
        for name, value in zip(("topic", "partition", "offset"), letter.origin, strict=True):
            fields[_CONNECT + name] = str(value)
    return ProducedRecord(letter.bytes, [(name, value.encode()) for name, value in fields.items()])


def dead_letter_records(record: bytes, prefix: str) -> list[ProducedRecord]:
    """The records of a block of refused items. Raises UnreadableBlock."""
    return [dead_letter_record(received, letter, prefix) for received, letter in read_dead_letters(record)]


def block_of(value: bytes | None, headers: Iterable[tuple[str, bytes | None]], timestamp_ms: int) -> bytes:
    """The block of one dead letter that a record of the topic is.

    A record that somebody else has put there is a dead letter too: nothing in a topic stops a reader, nor
    what keeps the views. U+0000 is no text for a database.
    """
    texts = {
        name: text.decode("utf-8", "replace").replace("\x00", "\ufffd")
        for name, text in headers
        if text is not None
    }
    item = b"" if value is None else bytes(value)
    received = texts.get(_LOOPLINE + "received", "")
    code = texts.get(_LOOPLINE + "code")
    searched = (code or "", texts.get(_LOOPLINE + "id", ""))
    long = any(len(text.encode()) > _MOST_BYTES for text in searched)
    if code is None or long or not _number(received) or int(received) >= _INSTANTS:
        detail = "this record of the dead-letter topic was not written by Loopline"
        foreign = DeadLetter(problems.INVALID_VALUE, detail, None, None, item)
        # Whatever clock it is by, it lies in the record: each reading of the log gives the same.
        instant = min(max(0, timestamp_ms) * 1_000_000, _INSTANTS - 1)
        return write_dead_letters(instant, [foreign], compressed=False)
    letter = DeadLetter(
        code,
        texts.get(_CONNECT + "exception.message", ""),
        texts.get(_LOOPLINE + "id"),
        texts.get(_LOOPLINE + "source"),
        item,
        _origin([texts.get(_CONNECT + name, "") for name in ("topic", "partition", "offset")]),
    )
    return write_dead_letters(int(received), [letter], compressed=False)


def _origin(texts: Sequence[str]) -> tuple[str, int, int] | None:
    topic, partition, offset = texts
    return (topic, int(partition), int(offset)) if _number(partition) and _number(offset) else None


def _number(text: str) -> bool:
    return text.isascii() and text.isdecimal() and len(text) < 20
