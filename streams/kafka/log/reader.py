"""The log on Kafka, as its readers see it: topics of blocks, one topic an epoch, and one of refused items.

Offsets are Kafka's own: there are no transactions and no compaction, so they have no gaps. An offset outside
of the log is refused, never moved. Writing is left to `streams.kafka.writer.writer`,
making and checking the topics to `streams.kafka.topics.admin`, and finding who leads a partition to
`streams.kafka.brokers`; `append` is for commands and tests, with one round trip each.

Threads may share a log, and wait for each other only where they read the same partition: a broker that hangs
delays only reads of partitions that it leads. The topics are checked in the background every few seconds.
"""

from __future__ import annotations

import contextlib
import threading
import time
from collections import OrderedDict, deque
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import Future, wait
from typing import Any

from kafka import KafkaProducer, TopicPartition
from kafka.errors import (
    CorruptRecordError,
    IllegalStateError,
    KafkaError,
    MessageSizeTooLargeError,
    OffsetOutOfRangeError,
)
from kafka.protocol.consumer import OffsetSpec

from streams.daemon_pool import run_in_background
from streams.kafka.address import Address
from streams.kafka.brokers import Brokers, FetchedRecord, partition_text
from streams.kafka.connect import CLIENT, Epochs, answering, failed, look_up
from streams.kafka.log.dead_letters import block_of, dead_letter_records
from streams.log.port import KnownEnds, LogIdentity, LogRefused, LogUnavailable, NotDurable

PATIENCE_S = 10.0
_BUFFERED_BYTES = 64 * 1024 * 1024
_ANSWER_S = 10.0
_CLOSE_S = 2.0
_GLANCE_S = 0.5


class LogTruncated(LogRefused):
    """Blocks were removed from the log's beginning, or the log is shorter than it was."""


class _Ahead:
    """The records of a partition that were fetched ahead, from `offset` on. One reader at a time."""

    def __init__(self) -> None:
        self.reading = threading.Lock()
        self.offset = 0
        self.records: deque[bytes] = deque()
        self.bytes = 0

    @property
    def end(self) -> int:
        return self.offset + len(self.records)

    def put(self, record: bytes) -> None:
        self.records.append(record)
        self.bytes += len(record)

    def begin_at(self, offset: int) -> None:
        """Drop what is not needed to go on from an offset."""
        if not self.offset <= offset <= self.end:
            self.clear()
            self.offset = offset
        while self.offset < offset:
            self.bytes -= len(self.records.popleft())
            self.offset += 1

    def clear(self) -> None:
        self.offset, self.bytes = self.end, 0
        self.records.clear()


class KafkaLog:
    """The log at an address.

    Args:
        address: the brokers and the prefix.
        patience_s: how long a call retries while a partition's leader is unavailable; at least two seconds
            where a broker hangs.
        look_every_s: how often to check whether the log is still the same, and has another epoch.

    Raises LogUnavailable when no broker answers, LogMissing or another LogRefused when the topics are not
    there or not whole.
    """

    def __init__(
        self, address: Address, *, patience_s: float = PATIENCE_S, look_every_s: float = 2.0
    ) -> None:
        self.address = address
        self._look_every_s = look_every_s
        self._brokers = Brokers(address, patience_s)
        self._guard = threading.Lock()
        self._writing = threading.Lock()
        self._producer: Any = None
        self._ahead: OrderedDict[int, _Ahead] = OrderedDict()
        self._seen: dict[int, tuple[float, int]] = {}
        self._floor: dict[int, int] = {}
        self._refusal: LogRefused | None = None
        self._looked = time.monotonic()
        self._looking: Future[None] | None = None
        try:
            self._epochs = self._look()
            starts = self._brokers.offsets(self._epochs.topic_partitions.values(), OffsetSpec.EARLIEST)
            for topic_partition, start in starts.found.items():
                _refuse_truncated(topic_partition, start)
            if starts.missing is not None:
                raise starts.missing
            self._see(self._epochs.topic_partitions)
        except BaseException:
            self._brokers.close()
            raise

    @property
    def identity(self) -> LogIdentity:
        """Which log this is; a new epoch is noticed seconds after it began."""
        return self._epochs.identity

    def ends(self) -> dict[int, int]:
        """For each partition of all epochs, and `DEAD`, the offset after its last record.

        Raises LogUnavailable when the leader of one of them does not answer, and LogRefused when another log
        was found in the place of this one.
        """
        if time.monotonic() - self._looked > self._look_every_s:
            self.look(_GLANCE_S)
        if self._refusal is not None:
            raise type(self._refusal)(*self._refusal.args)
        return self._with_acknowledged(self._see(self._epochs.topic_partitions))

    def known_ends(self) -> KnownEnds:
        """The ends as they were seen last, without waiting for a broker."""
        seen = self._seen.copy()
        ends = self._with_acknowledged({partition: end for partition, (_, end) in seen.items()})
        return KnownEnds(ends, time.monotonic() - min(instant for instant, _ in seen.values()))

    def acknowledged(self, partition: int, end: int) -> None:
        """Note an end that an appender of this process knows."""
        self._floor[partition] = end

    def look(self, within_s: float) -> None:
        """Check in the background whether this is still the same log, and whether it has a newer epoch.

        Waits up to `within_s`; a later result is seen by the next caller.
        """
        with self._guard:
            look = self._looking
            if look is None or look.done():
                look = self._looking = run_in_background("look", self._look_in_background)
                self._looked = time.monotonic()
        wait([look], within_s)

    def read(self, partition: int, offset: int, limit: int) -> list[bytes]:
        """Up to `limit` records from `offset` on; what a sequential reader asks for next comes along."""
        topic_partition = self._epochs.topic_partitions[partition]
        with self._guard:
            ahead = self._ahead.setdefault(partition, _Ahead())
            self._ahead.move_to_end(partition)
        with ahead.reading:
            ahead.begin_at(offset)
            if len(ahead.records) < limit:
                wanted = min(limit, self._end_of(partition, ahead.offset + limit) - offset)
                while len(ahead.records) < wanted:
                    for record in self._fetched(topic_partition, ahead.end):
                        ahead.put(self._block(topic_partition, record))
            taken = [ahead.records[number] for number in range(min(limit, len(ahead.records)))]
        self._forget_some(ahead)
        return taken

    def append(self, records: Sequence[tuple[int, bytes]]) -> None:
        """Append records and wait for the brokers. Raises NotDurable; `kept` is None when in doubt."""
        with self._writing:
            topic_partitions = self._epochs.topic_partitions
            sends = [
                send
                for partition, record in records
                for send in self._sends(topic_partitions[partition], record)
            ]
            if not sends:
                return
            failed: list[Exception] = []
            try:
                producer = self._writer()
                pending = [
                    producer.send(
                        topic_partition.topic, value, headers=headers, partition=topic_partition.partition
                    )
                    for topic_partition, value, headers in sends
                ]
                producer.flush(timeout=_ANSWER_S)
            except (KafkaError, OSError) as error:
                self._close_writer()
                raise _not_durable(error) from error
            for future in pending:
                try:
                    future.get(timeout=_ANSWER_S)
                except (KafkaError, OSError) as error:
                    failed.append(error)
            if failed:
                # A batch that was given up leaves a gap in the producer's sequence; a new producer has none.
                self._close_writer()
                raise _not_durable(failed[0]) from failed[0]

    def close(self) -> None:
        """Close the connections."""
        self._brokers.close()
        with self._writing:
            self._close_writer()

    # ---------------------------------------------------------------------------------------- the topics

    def _look(self) -> Epochs:
        try:
            return look_up(self._brokers.client, self.address)
        except LogUnavailable:
            raise
        except (KafkaError, OSError) as error:
            raise failed(self.address, error) from error

    def _look_in_background(self) -> None:
        try:
            found = self._look()
        except LogRefused as refusal:
            self._refusal = refusal
        except LogUnavailable:
            # The call that reads the ends reports that the brokers are unavailable.
            return
        else:
            if found.identity.id == self.identity.id and found.identity.epoch < self.identity.epoch:
                gone = self.address.log_topic(found.identity.epoch + 1)
                self._refusal = LogRefused(
                    f"the topic {gone} existed and is gone, with its acknowledged events. Bring back the"
                    " brokers' data, and make no new epoch before: it would lie in the place of the lost one."
                )
            elif found.identity.id == self.identity.id:
                self._epochs, self._refusal = found, None
            else:
                self._refusal = LogRefused(
                    f"the topic {self.address.log_topic(1)} was deleted and made again: this is another log."
                    " Bring back the brokers' data, or start on a store of its own."
                )

    # ----------------------------------------------------------------------------------------- the writing

    def _sends(
        self, topic_partition: TopicPartition, record: bytes
    ) -> Iterator[tuple[TopicPartition, bytes, list[tuple[str, bytes]]]]:
        if topic_partition.topic == self.address.dead_letters:
            for value, headers in dead_letter_records(record, self.address.prefix):
                yield topic_partition, value, headers
        else:
            yield topic_partition, record, []

    def _close_writer(self) -> None:
        if self._producer is not None:
            with contextlib.suppress(KafkaError, OSError, IllegalStateError):
                self._producer.close(timeout=_CLOSE_S)
            self._producer = None

    def _writer(self) -> Any:
        if self._producer is None:
            self._producer = KafkaProducer(
                **{**self.address.client_options, "bootstrap_servers": answering(self.address), **CLIENT},
                acks="all",
                max_request_size=8 * 1024 * 1024,
                delivery_timeout_ms=int(_ANSWER_S * 1000),
            )
        return self._producer

    # ------------------------------------------------------------------------------------------ the reading

    def _see(self, topic_partitions: Mapping[int, TopicPartition]) -> dict[int, int]:
        """Where these partitions end. Raises LogUnavailable, and remembers what was told nevertheless."""
        asked_at = time.monotonic()
        offsets = self._brokers.offsets(topic_partitions.values(), OffsetSpec.LATEST)
        ends = {
            partition: offsets.found[topic_partition]
            for partition, topic_partition in topic_partitions.items()
            if topic_partition in offsets.found
        }
        for partition, end in ends.items():
            self._seen[partition] = asked_at, end
        if offsets.missing is not None:
            raise offsets.missing
        return ends

    def _with_acknowledged(self, ends: Mapping[int, int]) -> dict[int, int]:
        return {partition: max(end, self._floor.get(partition, 0)) for partition, end in ends.items()}

    def _end_of(self, partition: int, wanted: int) -> int:
        """The partition's end; read again when the known end is before `wanted`."""
        _, known = self._seen.get(partition, (0.0, 0))
        if known >= wanted:
            return known
        return self._see({partition: self._epochs.topic_partitions[partition]})[partition]

    def _fetched(self, topic_partition: TopicPartition, offset: int) -> list[FetchedRecord]:
        """Records from an offset on that is before the end."""
        try:
            records = self._brokers.fetch(topic_partition, offset)
        except OffsetOutOfRangeError as error:
            raise LogTruncated(
                f"the log does not have offset {offset} of {partition_text(topic_partition)} any more: blocks"
                " were removed from it. Bring back the whole log, or restore a backup of it."
            ) from error
        except CorruptRecordError as error:
            raise LogRefused(
                f"{error}: a disk or a connection changed it. Restore a backup of it."
            ) from error
        found = next(iter(records), None)
        if found is None or [each.offset for each in records] != list(range(offset, offset + len(records))):
            raise LogTruncated(
                f"{partition_text(topic_partition)} has a hole at or after offset {offset}: was it compacted,"
                " or written to in transactions? Restore a backup of it."
            )
        return records

    def _block(self, topic_partition: TopicPartition, record: FetchedRecord) -> bytes:
        if topic_partition.topic == self.address.dead_letters:
            return block_of(record.value, record.headers, record.timestamp)
        return b"" if record.value is None else bytes(record.value)

    def _forget_some(self, mine: _Ahead) -> None:
        """Keep what was fetched ahead within bounds: the partitions read longest ago go first."""
        with self._guard:
            for ahead in self._ahead.values():
                if sum(each.bytes for each in self._ahead.values()) <= _BUFFERED_BYTES:
                    return
                if ahead is not mine and ahead.reading.acquire(blocking=False):
                    ahead.clear()
                    ahead.reading.release()


def _refuse_truncated(topic_partition: TopicPartition, start: int) -> None:
    if start > 0:
        raise LogTruncated(
            f"{partition_text(topic_partition)} begins at offset {start}: blocks were removed from the log,"
            " which is kept whole. Take off its retention (`loopline topics show` says which) and"
            " restore a backup of it."
        )


def _not_durable(error: Exception) -> NotDurable:
    refusal = NotDurable(f"the brokers did not acknowledge: {str(error) or type(error).__name__}")
    refusal.kept = False if isinstance(error, MessageSizeTooLargeError) else None
    return refusal
