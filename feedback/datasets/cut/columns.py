"""Columns of a release: their names and types, and quick ways from stored rows to Arrow arrays.

`output`, `label` and `input` come as JSON texts. A release holds them as plain strings (`string`), or as the
JSON texts (`json`); which, is decided in `write`, and the manifest says it.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import msgspec
import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from schemas.identity import unpack
from schemas.normal_json import normal_json

STRING, JSON = "string", "json"
ENCODED = ("input", "output", "label")
INSTANT = pa.timestamp("ns", tz="UTC")

SCHEMA = pa.schema(
    [
        pa.field("prediction_id", pa.string(), nullable=False),
        pa.field("input_ref", pa.string(), nullable=False),
        pa.field("input", pa.string()),
        pa.field("output", pa.string()),
        pa.field("label", pa.string(), nullable=False),
        pa.field("agreement", pa.float64(), nullable=False),
        pa.field("people", pa.int64(), nullable=False),
        pa.field("confidence", pa.float64()),
        pa.field("segment", pa.string()),
        pa.field("model_version", pa.string(), nullable=False),
        pa.field("channel", pa.string(), nullable=False),
        pa.field("ask_probability", pa.float64()),
        pa.field("audit_probability", pa.float64()),
        pa.field("at", INSTANT, nullable=False),
    ]
)
"""The columns of train, validation, test and audit, in the contract's order."""

_UUID_KEY_BYTES = 18
_UUID_CHARACTERS = 36
_HYPHENS = (8, 13, 18, 23)


def prediction_ids(keys: Sequence[bytes]) -> Any:
    """The prediction ids of typed partition keys, as a string array."""
    joined = b"".join(keys)
    if len(joined) != _UUID_KEY_BYTES * len(keys) or any(
        key[1] or len(key) != _UUID_KEY_BYTES for key in keys
    ):
        return pa.array([unpack(key[1:]) for key in keys], pa.string())
    digits = np.frombuffer(joined.hex().encode(), dtype=np.uint8)
    digits = digits.reshape(len(keys), 2 * _UUID_KEY_BYTES)[:, 4:]
    texts = np.full((len(keys), _UUID_CHARACTERS), ord("-"), dtype=np.uint8)
    texts[:, [place for place in range(_UUID_CHARACTERS) if place not in _HYPHENS]] = digits
    offsets = np.arange(len(keys) + 1, dtype=np.int32) * _UUID_CHARACTERS
    return pa.StringArray.from_buffers(len(keys), pa.py_buffer(offsets), pa.py_buffer(texts.tobytes()))


def only_strings(texts: Any) -> bool:
    """Whether every JSON text of a string array that is there is a JSON string."""
    return bool(pc.all(pc.starts_with(texts, '"'), min_count=0).as_py())


def plain(texts: Any) -> Any:
    """The values of an array of JSON strings, as an array of the strings themselves."""
    if pc.any(pc.match_substring(texts, "\\"), min_count=0).as_py():
        decode = msgspec.json.Decoder(str).decode
        return pa.array([None if text is None else decode(text) for text in texts.to_pylist()], texts.type)
    return pc.utf8_slice_codeunits(texts, 1, -1)


def as_json(texts: Any, encoding: str) -> Any:
    """The values of an encoded column as canonical JSON texts."""
    if encoding == JSON:
        return texts
    return pa.chunked_array(
        [[None if text is None else normal_json(text) for text in texts.to_pylist()]], type=pa.string()
    )
