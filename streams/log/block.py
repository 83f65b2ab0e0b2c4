"""The block: a batch of events of one partition in one record of the log.

A record is four bytes of magic and format, four bytes of header length, a JSON header, and a JSON
array of the items as they were sent: compressed with zstd in format 1, as it is in format 2, which is
for blocks that are made anew on each reading and must be the same bytes each time. The header names the
event types inside and when each item was received, as runs of (nanoseconds since 1970, count). A reader
that meets a format it does not know stops; it never skips.
"""

from __future__ import annotations

import builtins
from collections.abc import Collection, Iterable, Sequence
from hashlib import blake2b
from itertools import chain, repeat
from threading import local

import msgspec
import zstandard

from schemas.errors import Halt

MAX_BLOCK_BYTES = 512 * 1024
MAX_PLAIN_BYTES = 64 * 1024 * 1024
DEAD_LETTER_TYPE = "loopline.dead-letter.v1"

_MAGIC = b"LLB"
_COMPRESSED, _PLAIN = 1, 2
_PREFIX_BYTES = 8
_LEVEL = 1


class Header(msgspec.Struct, frozen=True):
    """What a block says about itself: the event types inside, and (instant, count) runs of receipt."""

    types: list[str]
    received: list[tuple[int, int]]

    def instants(self) -> Iterable[int]:
        """When each item was received, in order."""
        return chain.from_iterable(repeat(instant, count) for instant, count in self.received)


class DeadLetter(msgspec.Struct, frozen=True, omit_defaults=True):
    """A refused item as it lies in the dead-letter partition, with its original bytes.

    `origin` is the record (topic, partition, offset) that it was in, where it came from Kafka.
    """

    code: str
    detail: str
    id: str | None
    source: str | None
    # Inside the class, the bare name is the field itself.
    bytes: builtins.bytes
    origin: tuple[str, int, int] | None = None


class UnreadableBlock(Halt):
    """A record that this version of Loopline cannot read. The reader must stop: it may not skip it."""


_decode_header = msgspec.json.Decoder(Header).decode
_decode_letters = msgspec.json.Decoder(list[DeadLetter]).decode
_decode_letter = msgspec.json.Decoder(DeadLetter).decode
_encode = msgspec.json.Encoder().encode
# zstandard's contexts must not be shared between threads.
_threads = local()


def _compress(body: bytes) -> bytes:
    compressor = getattr(_threads, "compressor", None)
    if compressor is None:
        compressor = _threads.compressor = zstandard.ZstdCompressor(level=_LEVEL, write_checksum=True)
    compressed: bytes = compressor.compress(body)
    return compressed


def _decompress(body: bytes) -> bytes:
    decompressor = getattr(_threads, "decompressor", None)
    if decompressor is None:
        decompressor = _threads.decompressor = zstandard.ZstdDecompressor()
    # A frame says how large it becomes, and that much is set aside before a byte of it is read.
    if not 0 <= zstandard.frame_content_size(body) <= MAX_PLAIN_BYTES:
        raise UnreadableBlock(f"this block is damaged: it becomes more than {MAX_PLAIN_BYTES} bytes")
    plain: bytes = decompressor.decompress(body)
    return plain


def write_block(
    types: Collection[str],
    received: Sequence[tuple[int, int]],
    items: Sequence[bytes],
    *,
    compressed: bool = True,
) -> bytes:
    """The record of a block of items, each one JSON value as bytes."""
    header = _encode(Header(sorted(types), list(received)))
    start = _MAGIC + bytes([_COMPRESSED if compressed else _PLAIN]) + len(header).to_bytes(4, "big")
    body = b"[" + b",".join(items) + b"]"
    return b"".join((start, header, _compress(body) if compressed else body))


def write_dead_letters(received: int, letters: Sequence[DeadLetter], *, compressed: bool = True) -> bytes:
    """The record of refused items that were received at one instant."""
    items = [_encode(letter) for letter in letters]
    return write_block([DEAD_LETTER_TYPE], [(received, len(items))], items, compressed=compressed)


def read_block(record: bytes) -> tuple[Header, bytes]:
    """The header of a record, and its body: a JSON array.

    Raises UnreadableBlock for a record of another format, or one that is damaged.
    """
    if record[:3] != _MAGIC or len(record) < _PREFIX_BYTES:
        raise UnreadableBlock("this record is not a block of Loopline's")
    if record[3] not in (_COMPRESSED, _PLAIN):
        raise UnreadableBlock(
            f"this block has format {record[3]} and this version reads formats {_COMPRESSED} and {_PLAIN}:"
            " it was written by a newer version; upgrade this one"
        )
    end = _PREFIX_BYTES + int.from_bytes(record[4:_PREFIX_BYTES], "big")
    try:
        body = record[end:] if record[3] == _PLAIN else _decompress(record[end:])
        return _decode_header(record[_PREFIX_BYTES:end]), body
    except (msgspec.MsgspecError, zstandard.ZstdError, UnicodeDecodeError, MemoryError) as error:
        raise UnreadableBlock(f"this block is damaged: {error}") from error


def read_dead_letters(record: bytes) -> list[tuple[int, DeadLetter]]:
    """The refused items of a record of the dead-letter partition, each with its instant of receipt."""
    header, body = read_block(record)
    if header.types != [DEAD_LETTER_TYPE]:
        raise UnreadableBlock(f"the dead-letter partition holds {header.types}")
    return list(zip(header.instants(), _decode_letters(body), strict=True))


def read_letter(item: bytes) -> DeadLetter:
    """One item of a block of refused items."""
    return _decode_letter(item)


def digest(record: bytes) -> bytes:
    """The 16-byte digest by which a store remembers the last block that it applied."""
    return blake2b(record, digest_size=16).digest()


def raw_items(record: bytes) -> list[bytes]:
    """The items of a block as they were sent, for those who want only one or two of them."""
    return items_of(read_block(record)[1])


def items_of(body: bytes) -> list[bytes]:
    """The same, from the block's body."""
    return [bytes(memoryview(item)) for item in msgspec.json.decode(body, type=list[msgspec.Raw])]
