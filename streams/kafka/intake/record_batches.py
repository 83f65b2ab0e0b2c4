"""Batches that the client libraries cannot parse: those with a header whose name is not UTF-8.

Kafka accepts any bytes as a header's name, and the libraries raise for the whole batch with such a record: a
reader would never get past it. This module fetches and parses batches itself (message format 2, as every
broker since 0.11 stores them), and only where the library has failed.
"""

from __future__ import annotations

import struct
import zlib
from collections.abc import Callable, Iterable, Mapping
from operator import itemgetter
from typing import NamedTuple

import zstandard
from aiokafka import TopicPartition
from aiokafka.client import AIOKafkaClient
from aiokafka.codec import lz4_decode, snappy_decode
from aiokafka.errors import KafkaError, for_code
from aiokafka.protocol.fetch import FetchRequest

from streams.kafka.address import Address
from streams.kafka.steady_client import options

_FETCH_BYTES = 1024 * 1024
_WAIT_MS = 100
_REQUEST_MS = 10_000
MAX_PLAIN_BYTES = 256 * 1024 * 1024
_GZIP, _ZSTD = 1, 4
# Base offset, length, leader epoch, magic, checksum, attributes, last delta, timestamps, producer, count.
_BATCH = struct.Struct(">qiibIhiqqqhii")
_AFTER_LENGTH = 12
_TRANSACTIONAL, _CONTROL = 0x10, 0x20
_COMMITTED = 1
_DECODERS: Mapping[int, Callable[[bytes], bytes]] = {
    0: bytes,
    2: snappy_decode,
    3: lz4_decode,
}


class PlainRecord(NamedTuple):
    """A record as the intake needs it; what is not UTF-8 in a header's name is escaped."""

    topic: str
    partition: int
    offset: int
    value: bytes | None
    headers: list[tuple[str, bytes | None]]


async def read_tolerantly(
    address: Address, partition: TopicPartition, offset: int
) -> tuple[list[PlainRecord], int]:
    """Some records from an offset on, and the offset after them; none of open or aborted transactions.

    Raises KafkaError, or LogUnavailable.
    """
    client = AIOKafkaClient(**await options(address), request_timeout_ms=_REQUEST_MS)
    try:
        await client.bootstrap()
        await client.set_topics([partition.topic])
        leader = client.cluster.leader_for_partition(partition)
        if leader is None or leader < 0:
            raise KafkaError(f"{partition} has no leader now")
        topics = [(partition.topic, [(partition.partition, offset, _FETCH_BYTES)])]
        answer = await client.send(leader, FetchRequest(_WAIT_MS, 1, _FETCH_BYTES, _COMMITTED, topics))
    finally:
        await client.close()
    [(_, [(_, error, _, _, _, aborted, *_, batches)])] = answer.topics
    if error:
        raise for_code(error)()
    return records_of(batches, partition, offset, aborted or ())


def records_of(
    batches: bytes, partition: TopicPartition, offset: int, aborted: Iterable[tuple[int, int]] = ()
) -> tuple[list[PlainRecord], int]:
    """The records of whole batches from an offset on, and the offset after the last batch.

    `aborted` are the producers whose transactions were aborted, each with the first offset of one; the
    producer's next control batch ends it.
    """
    found: list[PlainRecord] = []
    begun, aborting = sorted(aborted, key=itemgetter(1)), set[int]()
    start = 0
    while start + _BATCH.size <= len(batches):
        base, length, _, _, _, attributes, last, _, _, producer, *_, count = _BATCH.unpack_from(
            batches, start
        )
        end = start + _AFTER_LENGTH + length
        if end > len(batches):
            break
        while begun and begun[0][1] <= base:
            aborting.add(begun.pop(0)[0])
        if attributes & _CONTROL:
            aborting.discard(producer)
        elif not (attributes & _TRANSACTIONAL and producer in aborting):
            body = decoded(attributes & 7, bytes(batches[start + _BATCH.size : end]))
            reader = _Reader(body)
            for _ in range(count):
                delta, value, headers = reader.record()
                if base + delta >= offset:
                    found.append(
                        PlainRecord(partition.topic, partition.partition, base + delta, value, headers)
                    )
        offset = max(offset, base + last + 1)
        start = end
    return found, offset


def decoded(codec: int, packed: bytes, most: int = MAX_PLAIN_BYTES) -> bytes:
    """A batch's records as their producer packed them. Raises KafkaError for more than `most` bytes.

    A broker passes on what it was given: a megabyte of gzip may become a gigabyte.
    """
    if codec == _GZIP:
        unpacking = zlib.decompressobj(wbits=zlib.MAX_WBITS | 32)
        plain = unpacking.decompress(packed, most + 1)
    elif codec == _ZSTD:
        with zstandard.ZstdDecompressor().stream_reader(packed, read_across_frames=True) as reader:
            plain = reader.read(most + 1)
    else:
        # Neither grows by more than 255 times.
        plain = _DECODERS[codec](packed)
    if len(plain) > most:
        raise KafkaError(f"a batch of records has more than {most} bytes when unpacked")
    return plain


class _Reader:
    """Goes through the bytes of a batch."""

    def __init__(self, body: bytes) -> None:
        self._body = body
        self._at = 0

    def record(self) -> tuple[int, bytes | None, list[tuple[str, bytes | None]]]:
        """The next record: its offset's delta, its value and its headers."""
        length = self._varint()
        end = self._at + length
        self._at += 1  # attributes, of which there are none
        self._varint()  # timestamp
        delta = self._varint()
        self._bytes()  # key
        value = self._bytes()
        headers = [self._header() for _ in range(self._varint())]
        self._at = end
        return delta, value, headers

    def _header(self) -> tuple[str, bytes | None]:
        name = self._bytes() or b""
        return name.decode(errors="backslashreplace"), self._bytes()

    def _bytes(self) -> bytes | None:
        length = self._varint()
        if length < 0:
            return None
        self._at += length
        return self._body[self._at - length : self._at]

    def _varint(self) -> int:
        number = shift = 0
        while True:
            byte = self._body[self._at]
            self._at += 1
            number |= (byte & 0x7F) << shift
            if byte < 0x80:
                return (number >> 1) ^ -(number & 1)
            shift += 7
