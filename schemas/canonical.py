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
# There is a digest for every event: copying an empty hash is half the time of making one, and so is this of
# int.from_bytes with its keywords.
_EMPTY = blake2b(digest_size=8)
_number = Struct("<q").unpack


def canonical(value: Any) -> str:
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


def digest(content: Any) -> int:
    """A signed 64-bit digest of a value that msgspec can encode, equal for equal content."""
    hashed = _EMPTY.copy()
    hashed.update(_encode(content))
    number: int = _number(hashed.digest())[0]
    return number
