"""The log on Kafka, as its readers see it: topics of blocks, one topic an epoch, and one of refused items.

Offsets are Kafka's own: there are no transactions and no compaction, so they have no gaps. The client
library would silently move a reader that stands outside of what is there; here that is refused. Writing is
left to `streams.kafka.appender`, making and checking the topics to `streams.kafka.topics`; `append` is for
commands and tests, with one round trip each.

Everything goes over connections of its own, guarded by one lock: threads may share a log.
"""

from __future__ import annotations

import contextlib
import threading
import time
from collections import OrderedDict, deque
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from kafka import KafkaConsumer, KafkaProducer, TopicPartition
from kafka.errors import (
    IllegalStateError,
    KafkaError,
    MessageSizeTooLargeError,
    OffsetOutOfRangeError,
)

from streams.kafka.address import Address
from streams.kafka.connecting import CLIENT, Epochs, look_up
from streams.kafka.letters import block_of, letters_of
from streams.kafka.security import KafkaRefused, denied
from streams.log.port import KnownEnds, LogIdentity, LogRefused, LogUnavailable, NotDurable

_FETCH_BYTES = 1024 * 1024
_BUFFERED_BYTES = 64 * 1024 * 1024
_ANSWER_S = 10.0
_LOOK_S = 2.0
_POLL_MS = 200


class LogTruncated(LogRefused):
    """Blocks were removed from the log's beginning, or the log is shorter than it was."""


class _Ahead:
    """What was fetched of a partition and not yet asked for, from `offset` on."""

    def __init__(self, offset: int) -> None:
        self.offset = offset
        self.records: deque[bytes] = deque()
        self.bytes = 0

    @property
    def end(self) -> int:
        return self.offset + len(self.records)

    def put(self, record: bytes) -> None:
        self.records.append(record)
        self.bytes += len(record)

    def drop_until(self, offset: int) -> None:
        while self.records and self.offset < offset:
            self.bytes -= len(self.records.popleft())
            self.offset += 1


class KafkaLog:
    """The log at an address.

    Args:
        address: the brokers and the prefix.
        remember_s: for how long `ends` may answer without asking the brokers, for those who ask at each
            request; never behind what was told to `acknowledged`.

    Raises LogUnavailable when no broker answers, LogMissing or another LogRefused when the topics are not
    there or not whole.
    """

    def __init__(self, address: Address, *, remember_s: float = 0.0) -> None:
        self.address = address
        self._remember_s = remember_s
        self._lock = threading.RLock()
        self._consumer: Any = None
        self._producer: Any = None
        self._ahead: OrderedDict[int, _Ahead] = OrderedDict()
        self._ends: dict[int, int] = {}
        self._floor: dict[int, int] = {}
        self._seen: tuple[float, dict[int, int]] = 0.0, {}
        self._asked = self._looked = -1e9
        self._epochs = self._look()
        with self._talking():
            starts = self._reader().beginning_offsets(list(self._places().values()))
        for place, start in starts.items():
            _refuse_truncated(place, start)
        self.ends()

    @property
    def identity(self) -> LogIdentity:
        """Which log this is; a new epoch is noticed seconds after it began."""
        return self._epochs.identity

    def ends(self) -> dict[int, int]:
        """For each partition of all epochs, and `DEAD`, the offset after its last record."""
        with self._lock:
            now = time.monotonic()
            if now - self._looked > _LOOK_S:
                self._epochs = self._look()
            if now - self._asked > self._remember_s or not self._ends:
                places = self._places()
                found = self._ends_of(list(places.values()))
                self._ends = {partition: found[place] for partition, place in places.items()}
                self._asked = now
                self._seen = now, self._ends
            return self._with_acknowledged(self._ends)

    def known_ends(self) -> KnownEnds:
        """The ends as they were seen last; whatever another thread waits for."""
        seen, ends = self._seen
        return KnownEnds(self._with_acknowledged(dict(ends)), time.monotonic() - seen)

    def acknowledged(self, partition: int, end: int) -> None:
        """Tell what an appender of this process knows to be there."""
        self._floor[partition] = end

    def _with_acknowledged(self, ends: Mapping[int, int]) -> dict[int, int]:
        return {partition: max(end, self._floor.get(partition, 0)) for partition, end in ends.items()}

    def read(self, partition: int, offset: int, limit: int) -> list[bytes]:
        """Up to `limit` records from `offset` on; what a sequential reader asks for next comes along."""
        with self._lock:
            place = self._places()[partition]
            ahead = self._ahead.get(partition)
            if ahead is None or not ahead.offset <= offset <= ahead.end:
                ahead = self._ahead[partition] = _Ahead(offset)
            self._ahead.move_to_end(partition)
            ahead.drop_until(offset)
            if len(ahead.records) < limit:
                end = self._end_of(partition, place, ahead, limit)
                if ahead.end < end:
                    with self._talking():
                        self._fetch(place, ahead, min(limit, end - offset))
            taken = [ahead.records[number] for number in range(min(limit, len(ahead.records)))]
            self._forget_some()
            return taken

    def append(self, records: Sequence[tuple[int, bytes]]) -> None:
        """Append records and wait for the brokers; all `kept` is None when any of them is in doubt."""
        with self._lock:
            places = self._places()
            sends = [send for partition, record in records for send in self._sends(places[partition], record)]
            if not sends:
                return
            failed: list[Exception] = []
            try:
                producer = self._writer()
                pending = [
                    producer.send(place.topic, value, headers=headers, partition=place.partition)
                    for place, value, headers in sends
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
                # A batch that was given up leaves a gap in the producer's sequence: the next one begins anew.
                self._close_writer()
                raise _not_durable(failed[0]) from failed[0]

    def close(self) -> None:
        """Close the connections."""
        with self._lock:
            self._close_reader()
            self._close_writer()

    # ---------------------------------------------------------------------------------------- the topics

    def _look(self) -> Epochs:
        with self._talking():
            found = look_up(self.address)
        known = getattr(self, "_epochs", None)
        if known is not None and known.identity.id != found.identity.id:
            raise LogRefused(
                f"the topic {self.address.log_topic(1)} was deleted and made again: this is another log."
                " Bring back the brokers' data, or start on a store of its own."
            )
        self._looked = time.monotonic()
        return found

    def _places(self) -> dict[int, TopicPartition]:
        return self._epochs.places

    def _sends(
        self, place: TopicPartition, record: bytes
    ) -> Iterator[tuple[TopicPartition, bytes, list[tuple[str, bytes]]]]:
        if place.topic == self.address.dead_letters:
            for value, headers in letters_of(record, self.address.prefix):
                yield place, value, headers
        else:
            yield place, record, []

    # ----------------------------------------------------------------------------------------- the clients

    def _reader(self) -> Any:
        if self._consumer is None:
            self._consumer = KafkaConsumer(
                **self.address.client_options,
                enable_auto_commit=False,
                auto_offset_reset="none",
                max_partition_fetch_bytes=_FETCH_BYTES,
                fetch_max_wait_ms=_POLL_MS,
                allow_auto_create_topics=False,
                **CLIENT,
            )
        return self._consumer

    def _close_reader(self) -> None:
        if self._consumer is not None:
            with contextlib.suppress(KafkaError, OSError, IllegalStateError):
                self._consumer.close()
            self._consumer = None

    def _close_writer(self) -> None:
        if self._producer is not None:
            with contextlib.suppress(KafkaError, OSError, IllegalStateError):
                self._producer.close(timeout=_LOOK_S)
            self._producer = None

    def _writer(self) -> Any:
        if self._producer is None:
            self._producer = KafkaProducer(
                **self.address.client_options,
                acks="all",
                max_request_size=8 * 1024 * 1024,
                delivery_timeout_ms=int(_ANSWER_S * 1000),
                **CLIENT,
            )
        return self._producer

    @contextlib.contextmanager
    def _talking(self) -> Iterator[None]:
        """Say by name what goes wrong with the brokers."""
        try:
            yield
        except OffsetOutOfRangeError as error:
            raise LogTruncated(
                f"the log does not have the offset that was asked for any more ({error}): blocks were removed"
                " from it. Bring back the whole log, or restore a backup of it."
            ) from error
        except (KafkaError, OSError) as error:
            if isinstance(error, LogUnavailable):
                raise
            if said := denied(error, self.address.security):
                raise KafkaRefused(said) from error
            raise LogUnavailable(
                f"no broker of {self.address} answers: {error or type(error).__name__}. Look whether they"
                " run and can be reached; nothing is lost, and it goes on when they are back."
            ) from error

    # ------------------------------------------------------------------------------------------ the reading

    def _end_of(self, partition: int, place: TopicPartition, ahead: _Ahead, limit: int) -> int:
        """The partition's end; asked anew when what is known of it would not do for this read."""
        known = self._ends.get(partition, 0)
        if known < ahead.offset + limit:
            known = self._ends[partition] = self._ends_of([place])[place]
        return known

    def _ends_of(self, places: list[TopicPartition]) -> dict[TopicPartition, int]:
        deadline = time.monotonic() + _ANSWER_S
        while True:
            with self._talking():
                try:
                    found: dict[TopicPartition, int] = self._reader().end_offsets(places)
                    return found
                except KeyError:
                    # The client leaves out topics that it has not heard of yet; a new one asks the brokers.
                    self._close_reader()
            if time.monotonic() > deadline:
                raise LogUnavailable(
                    "the brokers do not say where the log ends: have all partitions a leader?"
                )
            time.sleep(0.1)

    def _fetch(self, place: TopicPartition, ahead: _Ahead, wanted: int) -> None:
        """Read on until there is enough; what comes along with it is kept for the next read."""
        consumer = self._reader()
        if consumer.assignment() != {place}:
            consumer.assign([place])
            consumer.seek(place, ahead.end)
        elif consumer.position(place) != ahead.end:
            consumer.seek(place, ahead.end)
        deadline = time.monotonic() + _ANSWER_S
        while len(ahead.records) < wanted:
            fetched = consumer.poll(timeout_ms=_POLL_MS, max_records=10_000).get(place, ())
            for record in fetched:
                if record.offset != ahead.end:
                    raise LogTruncated(
                        f"{place.topic} partition {place.partition} has offset {record.offset} where"
                        f" {ahead.end} was due: the log has a hole. Was it compacted, or written to in"
                        " transactions? Restore a backup of it."
                    )
                ahead.put(self._block(place, record))
            if not fetched and time.monotonic() > deadline:
                raise LogUnavailable(
                    f"{place.topic} partition {place.partition} gives nothing at offset {ahead.end},"
                    f" within {_ANSWER_S:.0f} s: is its leader up?"
                )

    def _block(self, place: TopicPartition, record: Any) -> bytes:
        if place.topic == self.address.dead_letters:
            return block_of(record.value, record.headers, record.timestamp)
        return b"" if record.value is None else bytes(record.value)

    def _forget_some(self) -> None:
        """Keep what was fetched ahead within bounds: the partitions read longest ago go first."""
        while len(self._ahead) > 1 and sum(each.bytes for each in self._ahead.values()) > _BUFFERED_BYTES:
            self._ahead.popitem(last=False)


def _refuse_truncated(place: TopicPartition, start: int) -> None:
    if start > 0:
        raise LogTruncated(
            f"{place.topic} partition {place.partition} begins at offset {start}: blocks were removed from"
            " the log, which is kept whole. Take off its retention (`loopline topics show` says which) and"
            " restore a backup of it."
        )


def _not_durable(error: Exception) -> NotDurable:
    refusal = NotDurable(f"the brokers did not acknowledge: {str(error) or type(error).__name__}")
    refusal.kept = False if isinstance(error, MessageSizeTooLargeError) else None
    return refusal
