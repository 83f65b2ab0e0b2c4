"""One text for one JSON value: keys sorted, whole floats as integers.

Labels, outputs and event contents are compared and counted by this text. It is not RFC 8785 (which
rounds large integers); the hash of an input is, and the client computes that one.
"""

from __future__ import annotations

from hashlib import blake2b
from struct import Struct
from typing import Any

import msgspec

_encode = msgspec.json.Encoder(order="deterministic").encode
_LARGEST_EXACT = 2.0**53
_DIGEST_BYTES = 16
_two_parts = Struct(">qI").pack


def normal_json(value: Any) -> str:
    """The canonical JSON text of a JSON value, such that equal values have equal texts."""
    if type(value) is not str:
        value = whole(value)
    return _encode(value).decode()


def whole(value: Any) -> Any:
    """The value with every float that is a whole number as an integer, as JSON does not tell them apart."""
    kind = type(value)
    if kind is float:
        return int(value) if value.is_integer() and abs(value) <= _LARGEST_EXACT else value
    if kind is list:
        return [whole(item) for item in value]
    if kind is dict:
        return {key: whole(item) for key, item in value.items()}
    return value


class ContentHash:
    """Digests of what the events of one log say: equal for equal content, and for no other.

    BLAKE2b of 128 bits under a key that is made from the log's identity, so that no two contents can be
    prepared that look alike in every log. It is the same on each engine and each time the log is folded.
    """

    def __init__(self, log_id: str) -> None:
        key = blake2b(log_id.encode(), digest_size=32, person=b"loopline.content").digest()
        # There is a digest for every event: copying an empty hash is half the time of making one.
        self._empty = blake2b(digest_size=_DIGEST_BYTES, key=key)

    def of_data(self, data: Any) -> bytes:
        """The digest of data alone: a value that msgspec can encode."""
        hashed = self._empty.copy()
        hashed.update(_encode(data))
        return hashed.digest()

    def of_event(self, kind: str, instant: int, data: Any) -> bytes:
        """The digest of an event's kind, instant (ns) and data."""
        hashed = self._empty.copy()
        hashed.update(_encode(data) + _framed(kind, instant))
        return hashed.digest()

    def of_both(self, kind: str, instant: int, data: Any) -> tuple[bytes, bytes]:
        """`of_data` and `of_event` in one pass."""
        hashed = self._empty.copy()
        hashed.update(_encode(data))
        alone = hashed.digest()
        hashed.update(_framed(kind, instant))
        return alone, hashed.digest()


class _Kinds(dict[str, bytes]):
    """A kind as bytes that can be read from their end."""

    def __missing__(self, kind: str) -> bytes:
        text = kind.encode()
        framed = self[kind] = text + len(text).to_bytes(2, "big")
        return framed


_kinds = _Kinds()


def _framed(kind: str, instant: int) -> bytes:
    """What comes behind the data: read from its end, only one kind and one instant give it."""
    # A clock may be as far ahead as the year 9999: more nanoseconds than 64 bits hold.
    return _two_parts(instant >> 32, instant & 0xFFFFFFFF) + _kinds[kind]
