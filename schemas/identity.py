"""Who an event is: typed partition keys and compact ids.

The identity of an event is (partition key, source, id). Keys are typed: prediction "x" and subject
"x" differ. Ids are compared as sent; a lower-case UUID takes 16 bytes instead of 36, because the
store's indexes are as fast as they are small, and any other text keeps its UTF-8 bytes.
"""

from __future__ import annotations

import zlib
from typing import Any

PREDICTION, JOIN_KEY, SUBJECT, MODEL = b"p", b"j", b"s", b"m"

_UUID = b"\x00"


def pack(text: str) -> bytes:
    """An id as bytes, such that different texts give different bytes. `unpack` gives it back."""
    if len(text) == 36 and text[8:24:5] == "----" and text == text.lower():
        try:
            packed = bytes.fromhex(text.replace("-", ""))
        except ValueError:
            return b"t" + text.encode()
        # Further hyphens, or the spaces that fromhex skips, leave fewer than 16 bytes.
        if len(packed) == 16:
            return _UUID + packed
    return b"t" + text.encode()


def unpack(packed: bytes) -> str:
    """The id that `pack` made these bytes from."""
    if packed[:1] != _UUID:
        return packed[1:].decode()
    digits = packed.hex()
    return f"{digits[2:10]}-{digits[10:14]}-{digits[14:18]}-{digits[18:22]}-{digits[22:]}"


def prediction_key(prediction_id: str) -> bytes:
    """The partition key of a prediction and of what names it by its id."""
    return PREDICTION + pack(prediction_id)


def join_key(model: str, key: str) -> bytes:
    """The partition key of what names a model's case by the product's own key."""
    return JOIN_KEY + f"{model}/{key}".encode()


def subject_key(subject: str) -> bytes:
    """The partition key of what is about a subject and no one prediction."""
    return SUBJECT + pack(subject)


def model_key(model: str) -> bytes:
    """The partition key of what is about a model."""
    return MODEL + model.encode()


class NoKey(ValueError):
    """Data names nothing that it is about: no prediction, join key, subject or model."""


def partition_key(data: Any) -> bytes:
    """The typed key of an event's data: its prediction, else join key, else subject, else model.

    Raises NoKey.
    """
    prediction_id = getattr(data, "prediction_id", None)
    if isinstance(prediction_id, str):
        return prediction_key(prediction_id)
    model = getattr(data, "model", None)
    key = getattr(data, "join_key", None)
    if isinstance(key, str) and isinstance(model, str):
        return join_key(model, key)
    subject = getattr(data, "subject", None)
    if isinstance(subject, str):
        return subject_key(subject)
    if not isinstance(model, str):
        raise NoKey("it names no prediction, no case by `model` and `join_key`, no subject and no model")
    return model_key(model)


def partition_of(key: bytes, partitions: int) -> int:
    """The partition of a typed key; stable across machines, processes and releases."""
    return zlib.crc32(key) % partitions
