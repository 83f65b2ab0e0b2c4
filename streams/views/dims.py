"""The column `dims`: a group of counters as part of a key, however long the group's columns are."""

from __future__ import annotations

from functools import lru_cache
from hashlib import blake2b

from msgspec import json

_encode = json.Encoder().encode
_MOST_BYTES = 512


@lru_cache(maxsize=8192)
def dims_of(*columns: str | None) -> str:
    """The JSON text of a group's columns, or a digest where that is long.

    Control characters take six bytes each there, and an entry of an index has room for 2,700 in all.
    """
    text = _encode(columns)
    if len(text) <= _MOST_BYTES:
        return text.decode()
    return f"#{blake2b(text, digest_size=16).hexdigest()}"
