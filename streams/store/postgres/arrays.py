"""Arrays as parameters in PostgreSQL's binary format, packed in a few passes.

The driver packs a list value by value, in Python: 1 us a value. Here whole columns are joined at once.
"""

from __future__ import annotations

import struct
from collections.abc import Callable, Sequence
from itertools import chain, repeat
from typing import Any, cast

import psycopg
from psycopg.adapt import Dumper
from psycopg.pq import Format
from psycopg.types.string import BytesBinaryDumper

_HEAD = struct.Struct(">iiIii")
_LENGTH = struct.Struct(">i").pack
_NULL = _LENGTH(-1)
_BYTEA, _TEXT, _BIGINT, _DOUBLE = 17, 25, 20, 701


class _Array(bytes):
    """An array that is packed already."""


class ByteaArray(_Array):
    """bytea[]"""


class TextArray(_Array):
    """text[]"""


class BigintArray(_Array):
    """bigint[]"""


class DoubleArray(_Array):
    """double precision[]"""


class _Packed(Dumper):
    format = Format.BINARY

    def dump(self, obj: bytes) -> bytes:
        return obj


def register(connection: psycopg.Connection[Any]) -> None:
    """Let a connection take these arrays as parameters."""
    for kind, oid in ((ByteaArray, 1001), (TextArray, 1009), (BigintArray, 1016), (DoubleArray, 1022)):
        connection.adapters.register_dumper(kind, type("Packed", (_Packed,), {"oid": oid}))
    # COPY looks for the dumper of a column's type and takes the last one: without this, one in Python.
    connection.adapters.register_dumper(bytes, BytesBinaryDumper)


def _joined(values: Sequence[bytes | None]) -> bytes:
    if not values:
        return b""
    if None not in values:
        texts = cast("Sequence[bytes]", values)
        # Keys mostly have one length: then one join does it.
        if len(set(map(len, texts))) == 1:
            prefix = _LENGTH(len(texts[0]))
            return prefix + prefix.join(texts)
    return b"".join(
        chain.from_iterable(
            (_NULL, b"") if value is None else (_LENGTH(len(value)), value) for value in values
        )
    )


def _fixed(values: Sequence[Any], code: str) -> bytes:
    if None not in values:
        return struct.pack(f">{f'i{code}' * len(values)}", *chain.from_iterable(zip(repeat(8), values)))
    pack = struct.Struct(f">i{code}").pack
    return b"".join(_NULL if value is None else pack(8, value) for value in values)


def _packed(kind: type[_Array], oid: int, values: Sequence[Any], body: bytes) -> _Array:
    return kind(_HEAD.pack(1, 1, oid, len(values), 1) + body)


def _bytea(values: Sequence[Any]) -> _Array:
    return _packed(ByteaArray, _BYTEA, values, _joined(values))


def _text(values: Sequence[Any]) -> _Array:
    encoded = [None if value is None else value.encode() for value in values]
    return _packed(TextArray, _TEXT, values, _joined(encoded))


def _bigint(values: Sequence[Any]) -> _Array:
    return _packed(BigintArray, _BIGINT, values, _fixed(values, "q"))


def _double(values: Sequence[Any]) -> _Array:
    return _packed(DoubleArray, _DOUBLE, values, _fixed(values, "d"))


PACKERS: dict[type, Callable[[Sequence[Any]], _Array]] = {
    bytes: _bytea,
    str: _text,
    int: _bigint,
    float: _double,
}
"""For the Python type of a column, what packs its values; None is null."""
