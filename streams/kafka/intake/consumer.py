"""The intake: a consumer group of collectors reads the intake topic and writes its events to the log.

1. records are read in the group `PREFIX-intake`, as many as fit one append;
2. each record is split into items (`streams.kafka.intake.cloudevents`), and each item is judged as over HTTP;
3. accepted events and dead letters are written to the log (`streams.ingest.recorder`), with retries;
4. only then the group's offsets are committed.

After a crash between 3 and 4 the records are read again; each id counts once. No record stops the intake:
one that is no event becomes a dead letter with the record's offset, and a batch that the client library
cannot parse is parsed here (`streams.kafka.intake.record_batches`). Offsets are committed only for what the
log holds, so an operator sees lag while the log cannot be written.
"""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections.abc import Collection, Iterable, Iterator, Sequence
from typing import NamedTuple, TypeAlias

import structlog
from aiokafka import AIOKafkaConsumer, ConsumerRebalanceListener, ConsumerRecord, TopicPartition
from aiokafka.errors import (
    CommitFailedError,
    IllegalStateError,
    KafkaError,
    NoOffsetForPartitionError,
    OffsetOutOfRangeError,
)

from loopline.backoff import Backoff, RetryPolicy
from schemas.catalog import Catalog
from schemas.fields import MAX_EVENT_BYTES
from schemas.numbers import slow_numbers
from streams.crash_points import reached
from streams.ingest.admission import Verdict, admit, takes_long
from streams.ingest.recorder import Recorder
from streams.kafka import diagnosis
from streams.kafka.address import Address
from streams.kafka.intake.cloudevents import items_of
from streams.kafka.intake.record_batches import PlainRecord, read_tolerantly
from streams.kafka.security import denied
from streams.kafka.steady_client import METADATA_MS, options, steady
from streams.kafka.topics.admin import groups_stand_still
from streams.log.block import DeadLetter
from streams.log.port import DEAD, LogMissing, LogRefused, LogUnavailable, NotDurable, PartlyDurable
from streams.metrics import Metrics
from streams.outage import Outage

MAX_RECORDS = 1000
MAX_BYTES = 4 * 1024 * 1024
MAX_KEPT_BYTES = 256 * 1024
"""A larger item is kept by its first bytes only: one letter must fit into one record."""

_PARTITION_BYTES = 1024 * 1024
_FETCH_BYTES = 8 * 1024 * 1024
_POLL_MS = 250
_JUDGED_AT_ONCE = 100
_COMMIT_S = 10.0
_ENDS_S = 5.0
_LEAVE_S = 5.0
_JOIN_S = 5.0
RETRY = RetryPolicy(first_s=0.1, longest_s=5.0, jitter=0.5)
"""Several collectors read the intake: they do not all come back at once."""

IntakeRecord: TypeAlias = ConsumerRecord | PlainRecord

_log = structlog.get_logger("loopline.intake")


class NoIntake(LogMissing):
    """The intake topic is missing; the message says what to do."""


class _Abandoned(Exception):
    """The partitions moved or the intake stops: the records are read again from the committed offsets."""


class Judged(NamedTuple):
    """What became of some records: the events, the refused items, and a dead letter for each of those."""

    accepted: list[Verdict]
    refused: list[Verdict]
    dead_letters: list[DeadLetter]


class Intake(ConsumerRebalanceListener):  # type: ignore[misc]  # the library says no types
    """Reads the intake topic in the collector's event loop.

    Args:
        address: the brokers, and the prefix of topics and group.
        recorder: puts judged items into the log; the HTTP collector has one.
        metrics: where accepted and refused items and the lag are counted.

    `failure` says why nothing comes in at the moment, and is empty while all is well.
    """

    def __init__(
        self,
        address: Address,
        recorder: Recorder,
        metrics: Metrics | None = None,
        *,
        retry: RetryPolicy = RETRY,
        unseen_s: float = 10.0,
    ) -> None:
        self._unseen_s = unseen_s
        self.failure = ""
        self._outage = Outage(
            _log, "the intake cannot continue and retries", "the intake continues", level="error"
        )
        self._address = address
        self._recorder = recorder
        self._metrics = metrics or Metrics()
        self._consumer: AIOKafkaConsumer | None = None
        self._task: asyncio.Task[None] | None = None
        self._looking: asyncio.Task[None] | None = None
        self._stopping = asyncio.Event()
        self._idle = asyncio.Event()
        self._idle.set()
        self._assignments = 0
        self._assigned, self._look_at = False, 0.0
        self._seen_at = 0.0
        self._done: dict[TopicPartition, int] = {}
        self._ends: dict[TopicPartition, int] = {}
        self._backoff = Backoff(retry)

    async def start(self) -> None:
        """Join the group and begin. Raises NoIntake, or LogUnavailable when no broker answers."""
        try:
            await self._join()
        except KafkaError as error:
            raise LogUnavailable(await diagnosis.reason(self._address, error)) from error
        self._task = asyncio.create_task(self._run(), name="intake")
        self._looking = asyncio.create_task(self._look_for_coordinator(), name="coordinator")

    async def stop(self) -> None:
        """Stop; records in hand are written and committed if that takes only seconds."""
        self._stopping.set()
        if self._looking is not None:
            self._looking.cancel()
            await asyncio.gather(self._looking, return_exceptions=True)
        if self._task is not None:
            await asyncio.wait([self._task], timeout=_LEAVE_S)
            self._task.cancel()
            await asyncio.gather(self._task, return_exceptions=True)
        await self._leave()

    async def on_partitions_revoked(self, revoked: Sequence[TopicPartition]) -> None:
        """Commit the records in hand before another collector reads on from there."""
        self._assignments += 1
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(self._idle.wait(), _LEAVE_S)
        self._done.clear()
        self._ends.clear()

    async def on_partitions_assigned(self, assigned: Sequence[TopicPartition]) -> None:
        """Reading begins where the group has committed."""
        self._assigned = True
        partitions = sorted(each.partition for each in assigned)
        _log.info("reading the intake", topic=self._address.intake, partitions=partitions)

    # ------------------------------------------------------------------------------------------- the group

    async def _join(self) -> None:
        topic = self._address.intake
        self._consumer = consumer = steady(
            AIOKafkaConsumer(
                **await options(self._address),
                group_id=self._address.intake_group,
                enable_auto_commit=False,
                # Where to begin is decided here, and what was missed is told.
                auto_offset_reset="none",
                # Records of a product's aborted transaction do not count.
                isolation_level="read_committed",
                fetch_max_bytes=_FETCH_BYTES,
                max_partition_fetch_bytes=_PARTITION_BYTES,
                metadata_max_age_ms=METADATA_MS,
            )
        )
        try:
            await consumer.start()
            await self._must_be_there(consumer)
        except BaseException:
            await self._leave()
            raise
        self._assigned, self._look_at = False, time.monotonic() + _JOIN_S / 2
        consumer.subscribe([topic], listener=self)

    async def _must_be_there(self, consumer: AIOKafkaConsumer) -> None:
        """Raise NoIntake when the topic is missing: the group does not report a deleted topic."""
        self._seen_at = time.monotonic()
        if self._address.intake not in await consumer.topics():
            raise NoIntake(f"the topic {self._address.intake} is missing: run `loopline topics ensure`")

    async def _leave(self) -> None:
        consumer, self._consumer = self._consumer, None
        if consumer is None:
            return
        # A task of its own: whatever it ends with, also with being cancelled, is not how this ends.
        leaving = asyncio.ensure_future(consumer.stop())
        await asyncio.wait([leaving], timeout=_LEAVE_S)
        leaving.cancel()
        await asyncio.gather(leaving, return_exceptions=True)

    # ------------------------------------------------------------------------------------------ the reading

    async def _run(self) -> None:
        while not self._stopping.is_set():
            try:
                if self._consumer is None:
                    await self._join()
                try:
                    await self._read()
                except (NoOffsetForPartitionError, OffsetOutOfRangeError) as error:
                    await self._begin(error)
            except _Abandoned:
                continue
            except Exception as error:
                # Whatever it was: from the committed offsets on, it is tried again.
                self._failed(error)
                await self._leave()
                await self._pause()

    async def _read(self) -> None:
        """Steps 1 to 4 for what is there."""
        assert self._consumer is not None
        try:
            fetched = await self._consumer.getmany(timeout_ms=_POLL_MS, max_records=MAX_RECORDS)
        except UnicodeDecodeError:
            # A header's name that the library cannot read: nothing before or behind it would be read either.
            await self._read_tolerantly()
            return
        if not self._consumer.assignment() and time.monotonic() - self._seen_at > self._unseen_s:
            await self._must_be_there(self._consumer)
        # Not before: the partitions may have changed while it waited, and these records are of the new ones.
        seen = self._assignments
        for partition, records in fetched.items():
            self._done.setdefault(partition, records[0].offset)
        for records in _chunks(fetched.values()):
            await self._take(records, seen)
        self.failure = ""
        self._outage.over()
        self._backoff.succeeded()
        self._say_lag()

    async def _read_tolerantly(self) -> None:
        """Steps 1 to 4, once for each partition, from what was committed on and by hand."""
        assert self._consumer is not None
        seen = self._assignments
        for partition in sorted(self._consumer.assignment()):
            committed = await self._consumer.committed(partition)
            start = (await self._consumer.beginning_offsets([partition]))[partition]
            try:
                offset = start if committed is None else committed
                records, after = await read_tolerantly(self._address, partition, offset)
            except OffsetOutOfRangeError:
                await self._begin(OffsetOutOfRangeError({partition: committed}))
                records, after = await read_tolerantly(self._address, partition, start)
                if not records and seen == self._assignments:
                    await self._commit({partition: after})
            for chunk in _chunks([records]):
                await self._take(chunk, seen)
            if seen != self._assignments:
                raise _Abandoned
            self._consumer.seek(partition, after)

    async def _take(self, records: Sequence[IntakeRecord], seen: int) -> None:
        if seen != self._assignments:
            raise _Abandoned
        self._idle.clear()
        try:
            judged = Judged([], [], [])
            for start in range(0, len(records), _JUDGED_AT_ONCE):
                some = records[start : start + _JUDGED_AT_ONCE]
                sent = b",".join(record.value or b"" for record in some)
                if takes_long(sent) or slow_numbers(sent):
                    # Beside the loop, which others get between one item and the next.
                    await asyncio.to_thread(judge, some, self._recorder.catalog, judged)
                else:
                    judge(some, self._recorder.catalog, judged)
                    await asyncio.sleep(0)
            await self._write(judged, seen)
            reached("intake.3")
            await self._commit({TopicPartition(r.topic, r.partition): r.offset + 1 for r in records})
        finally:
            self._idle.set()

    async def _write(self, judged: Judged, seen: int) -> None:
        """Write items to the log until all are there; a retry writes only what is missing.

        Each try stamps a receipt of its own, since nobody waits for the first one.
        """
        while True:
            try:
                await self._recorder.record(*judged)
            except NotDurable as refusal:
                if isinstance(refusal, PartlyDurable):
                    judged = self._of(judged, refusal.missing)
                self._failed(refusal)
            else:
                return
            # What cannot be written holds up neither the group nor the end.
            self._idle.set()
            await self._pause()
            if self._stopping.is_set() or seen != self._assignments:
                raise _Abandoned
            self._idle.clear()

    def _of(self, judged: Judged, partitions: Collection[int]) -> Judged:
        accepted = [verdict for verdict in judged.accepted if self._recorder.partition(verdict) in partitions]
        return Judged(accepted, *(judged[1:] if DEAD in partitions else ([], [])))

    async def _commit(self, offsets: dict[TopicPartition, int]) -> None:
        self._done.update(offsets)
        assert self._consumer is not None
        mine = self._consumer.assignment()
        try:
            offsets = {partition: offset for partition, offset in offsets.items() if partition in mine}
            if offsets:
                await asyncio.wait_for(self._consumer.commit(offsets), _COMMIT_S)
        except (CommitFailedError, IllegalStateError):
            _log.info("partitions of the intake moved to another collector, which reads some records again")
        except (KafkaError, TimeoutError) as error:
            # The next commit covers it; until then a crash would have these records read again.
            _log.warning("the intake's offsets were not committed", reason=repr(error))

    # ------------------------------------------------------------------------------------------ on bad days

    async def _begin(self, error: NoOffsetForPartitionError | OffsetOutOfRangeError) -> None:
        """Begin at the start of a partition without a committed offset, or whose offset was deleted."""
        [found] = error.args
        partitions = {found: None} if isinstance(found, TopicPartition) else dict(found)
        assert self._consumer is not None
        try:
            starts = await self._consumer.beginning_offsets(list(partitions))
            for partition, offset in partitions.items():
                start = starts[partition]
                if offset is not None:
                    lost = max(0, start - offset)
                    self._metrics.intake_unread.inc(lost)
                    _log.error(
                        "records of the intake topic were deleted before they were read"
                        if lost
                        else "the intake topic ends before the committed offset: it was made again",
                        partition=partition.partition,
                        committed=offset,
                        start=start,
                    )
                self._consumer.seek(partition, start)
        except (KafkaError, IllegalStateError) as failure:
            self._failed(failure)
            await self._pause()

    async def _look_for_coordinator(self) -> None:
        """Report why the group assigns no partitions: the client library waits without a message."""
        while True:
            await asyncio.sleep(_JOIN_S)
            if self._consumer is None or self._assigned or time.monotonic() < self._look_at:
                continue
            with contextlib.suppress(LogUnavailable, LogRefused):
                why = await asyncio.to_thread(groups_stand_still, self._address)
                if why and not self._assigned:
                    self._failed(LogUnavailable(why))

    def _failed(self, error: Exception) -> None:
        self.failure = denied(error, self._address.security) or str(error) or repr(error)
        self._outage.failed(self.failure)

    async def _pause(self) -> None:
        """Wait, longer each time, until the intake stops; the lag is updated meanwhile."""
        pause_s = self._backoff.next_pause_s()
        with contextlib.suppress(KafkaError, IllegalStateError, TimeoutError):
            if self._consumer is not None and self._done:
                ends = self._consumer.end_offsets(list(self._done))
                self._ends = await asyncio.wait_for(ends, _ENDS_S)
        self._say_lag()
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(self._stopping.wait(), pause_s)

    def _say_lag(self) -> None:
        consumer = self._consumer
        mine = consumer.assignment() if consumer is not None else ()
        lag = 0
        for partition in mine:
            done = self._done.get(partition)
            assert consumer is not None
            end = max(consumer.highwater(partition) or 0, self._ends.get(partition, 0))
            lag += max(0, end - done) if done is not None else 0
        self._metrics.intake_lag.set(lag)


def judge(records: Sequence[IntakeRecord], catalog: Catalog, judged: Judged) -> None:
    """Judge what records hold, and add it to what was judged before."""
    for record in records:
        for item, problem in items_of(record.headers, record.value):
            verdict = admit(item, catalog)
            if problem is not None:
                verdict = Verdict(item, None, problem, verdict.id, verdict.source)
            if verdict.problem is None:
                judged.accepted.append(verdict)
            else:
                judged.refused.append(verdict)
                judged.dead_letters.append(
                    _dead_letter(verdict, (record.topic, record.partition, record.offset))
                )


def _dead_letter(verdict: Verdict, origin: tuple[str, int, int]) -> DeadLetter:
    assert verdict.problem is not None
    detail, item = verdict.problem.detail, verdict.item
    if len(item) > MAX_KEPT_BYTES:
        detail += f"; of {len(item)} bytes the first {MAX_EVENT_BYTES} are kept here"
        item = item[:MAX_EVENT_BYTES]
    return DeadLetter(verdict.problem.code, detail, verdict.id, verdict.source, item, origin)


def _chunks(fetched: Iterable[Sequence[IntakeRecord]]) -> Iterator[list[IntakeRecord]]:
    """Records in their order, no more bytes at a time than one append should carry."""
    chunk: list[IntakeRecord] = []
    size = 0
    for records in fetched:
        for record in records:
            length = len(record.value or b"")
            if chunk and size + length > MAX_BYTES:
                yield chunk
                chunk, size = [], 0
            chunk.append(record)
            size += length
    if chunk:
        yield chunk
