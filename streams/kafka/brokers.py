"""A client of the brokers that threads share, which reads the ends and the records of partitions.

No lock is held while a thread waits for a broker's answer; a thread that needs the client while another
thread makes or closes it waits for that. A request goes to the leader of each partition:

1. unknown leaders are looked up at a broker that answers;
2. the request is sent to all leaders at the same time, with a second and a half to answer;
3. a leader that is none any more, or gave no answer, is forgotten, and step 1 is retried until the caller's
   patience is over.

A broker that gave no answer is set aside for two seconds: requests to other brokers go on, and a caller with
less patience than that does not wait for it. The client library connects, and looks up the brokers' names on
the same thread: a name server that hangs delays every request. The library's consumer is not used, since it
retries at a broker that is no leader any more for five minutes.
"""

from __future__ import annotations

import contextlib
import random
import threading
import time
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping
from typing import Any, NamedTuple, TypeVar

from aiokafka.record.memory_records import MemoryRecords
from kafka import TopicPartition
from kafka.errors import (
    CorruptRecordError,
    KafkaError,
    KafkaTimeoutError,
    LeaderNotAvailableError,
    NodeNotReadyError,
    OffsetOutOfRangeError,
    RequestTimedOutError,
    for_code,
)
from kafka.protocol.consumer import FetchRequest, ListOffsetsRequest, OffsetSpec
from kafka.protocol.metadata import MetadataRequest

from loopline.backoff import Backoff, RetryPolicy
from streams.kafka.address import Address
from streams.kafka.connect import connected
from streams.kafka.security import KafkaRefused, denied
from streams.log.port import LogUnavailable

T = TypeVar("T")

_BROKER_S = 1.5
_ASIDE_S = 2.0
_SURE_S = 0.5
RETRY = RetryPolicy(first_s=0.02, longest_s=0.25)
REFUSED_S = 2.0
_FETCH_BYTES = 1024 * 1024
_FETCH_WAIT_MS = 100
# The last version that names topics by their names.
_FETCH_VERSION = 12
_NO_SESSION = -1


class _SetAside(Exception):
    """A broker gave no answer a moment ago."""

    def __init__(self, node: int, until: float) -> None:
        super().__init__(f"broker {node} takes requests and gives no answer")
        self.until = until


# The library's client raises the last one when another thread has closed it meanwhile.
_RETRYABLE = (KafkaError, _SetAside, OSError, RuntimeError)


class Leader(NamedTuple):
    """Who leads a partition of which topic, since which election."""

    topic: object
    epoch: int
    node: int


class Offsets(NamedTuple):
    """An offset for each partition that was told; and why the others were not, if there are any."""

    found: dict[TopicPartition, int]
    missing: LogUnavailable | None


class FetchedRecord(NamedTuple):
    """A record as it lies in a partition; the timestamp is in milliseconds."""

    offset: int
    timestamp: int
    value: bytes | None
    headers: list[tuple[str, bytes | None]]


class Brokers:
    """The brokers of an address.

    Args:
        address: where to begin to look for them.
        patience_s: for how long a call retries while a partition's leader is unavailable.
        retry: the pauses between retries; after the longest, brokers that were unavailable are tried again.
        refused_s: after so long, brokers that refused this client are tried again.
    """

    def __init__(
        self,
        address: Address,
        patience_s: float,
        *,
        retry: RetryPolicy = RETRY,
        refused_s: float = REFUSED_S,
    ) -> None:
        self.address = address
        self._patience_s = patience_s
        self._retry, self._refused_s = retry, refused_s
        self._guard = threading.Lock()
        self._client: Any = None
        self._connect_failure: tuple[float, LogUnavailable | KafkaRefused] | None = None
        self._leaders: dict[TopicPartition, Leader] = {}
        self._newest: dict[TopicPartition, Leader] = {}
        self._aside: dict[int, float] = {}

    @property
    def client(self) -> Any:
        """The client, for other requests to the brokers. Raises LogUnavailable or KafkaRefused."""
        # The thread that connects gives up within seconds; the others wait for it, and do not retry at once:
        # some brokers count refused logins and lock the user out after a few.
        with self._guard:
            if self._client is None:
                if self._connect_failure is not None and time.monotonic() < self._connect_failure[0]:
                    raise type(self._connect_failure[1])(*self._connect_failure[1].args)
                try:
                    self._client = connected(self.address, max_in_flight_requests_per_connection=100)
                except (LogUnavailable, KafkaRefused) as error:
                    refused = isinstance(error, KafkaRefused)
                    pause_s = self._refused_s if refused else self._retry.longest_s
                    self._connect_failure = time.monotonic() + pause_s, error
                    raise
            return self._client

    def offsets(self, topic_partitions: Iterable[TopicPartition], which: OffsetSpec) -> Offsets:
        """The first or the last offset of partitions, as far as their leaders tell."""

        def request(some: Mapping[TopicPartition, Leader]) -> Any:
            topic, partition = ListOffsetsRequest.ListOffsetsTopic, _OffsetsPartition
            return ListOffsetsRequest(
                isolation_level=0,
                topics=[
                    topic(
                        name=name,
                        partitions=[
                            partition(
                                partition_index=each.partition,
                                current_leader_epoch=leader.epoch,
                                timestamp=int(which),
                            )
                            for each, leader in some.items()
                            if each.topic == name
                        ],
                    )
                    for name in {each.topic for each in some}
                ],
                min_version=4,
            )

        def told(response: Any) -> Iterator[tuple[TopicPartition, int, int]]:
            for topic in response.topics:
                for each in topic.partitions:
                    yield TopicPartition(topic.name, each.partition_index), each.error_code, each.offset

        return Offsets(*self._ask(topic_partitions, request, told))

    def fetch(self, topic_partition: TopicPartition, offset: int) -> list[FetchedRecord]:
        """Some records of a partition from an offset on, that is known to have some there.

        Raises LogUnavailable, and OffsetOutOfRangeError when the leader does not have that offset.
        """

        def request(led: Mapping[TopicPartition, Leader]) -> Any:
            partition = FetchRequest.FetchTopic.FetchPartition(
                partition=topic_partition.partition,
                current_leader_epoch=led[topic_partition].epoch,
                fetch_offset=offset,
                last_fetched_epoch=-1,
                log_start_offset=-1,
                partition_max_bytes=_FETCH_BYTES,
            )
            return FetchRequest(
                max_wait_ms=_FETCH_WAIT_MS,
                min_bytes=1,
                max_bytes=_FETCH_BYTES,
                isolation_level=0,
                session_id=0,
                session_epoch=_NO_SESSION,
                topics=[FetchRequest.FetchTopic(topic=topic_partition.topic, partitions=[partition])],
                forgotten_topics_data=[],
                rack_id="",
                min_version=9,
                max_version=_FETCH_VERSION,
            )

        def told(response: Any) -> Iterator[tuple[TopicPartition, int, bytes]]:
            if response.error_code:
                yield topic_partition, response.error_code, b""
            for topic in response.responses:
                for each in topic.partitions:
                    # A new leader that has not heard yet how far the copies are gives nothing, for a moment.
                    code = each.error_code or (0 if each.records else LeaderNotAvailableError.errno)
                    yield topic_partition, code, bytes(each.records or b"")

        found, missing = self._ask([topic_partition], request, told)
        if missing is not None:
            if isinstance(missing.__cause__, OffsetOutOfRangeError):
                raise missing.__cause__
            raise missing
        return list(_records(topic_partition, found[topic_partition], offset))

    def close(self) -> None:
        """Close the connections."""
        with self._guard:
            client, self._client = self._client, None
        _close(client)

    # ------------------------------------------------------------------------------------------ asking

    def _ask(
        self,
        topic_partitions: Iterable[TopicPartition],
        request: Callable[[Mapping[TopicPartition, Leader]], Any],
        told: Callable[[Any], Iterator[tuple[TopicPartition, int, T]]],
    ) -> tuple[dict[TopicPartition, T], LogUnavailable | None]:
        """What the leaders answer of each partition, and why some did not."""
        left, found = set(topic_partitions), dict[TopicPartition, T]()
        began, backoff = time.monotonic(), Backoff(self._retry)
        while True:
            failures = dict[TopicPartition, Exception].fromkeys(left, LeaderNotAvailableError())
            client = None
            try:
                client = self.client
                client._manager.run(self._ask_leaders, client._manager, left, request, told, found, failures)
            except LogUnavailable as unavailable:
                # No broker could be connected to, and trying took its time already.
                return found, unavailable
            except _RETRYABLE as error:
                self._drop(client)
                failures = dict.fromkeys(left, error)
            left -= set(found)
            if not left:
                return found, None
            for topic_partition in left:
                self._leaders.pop(topic_partition, None)
                if denial := denied(failures[topic_partition], self.address.security):
                    raise KafkaRefused(denial) from failures[topic_partition]
            pause_s = backoff.next_pause_s()
            if max(time.monotonic() + pause_s, _no_use_before(failures, left)) > began + self._patience(
                failures, left
            ):
                return found, self._missing(failures, left)
            time.sleep(pause_s)

    def _patience(
        self, failures: Mapping[TopicPartition, Exception], left: Collection[TopicPartition]
    ) -> float:
        # A former leader may not know of its successor or of later records; the leader repeats its answer.
        sure = all(isinstance(failures[topic_partition], OffsetOutOfRangeError) for topic_partition in left)
        return min(self._patience_s, _SURE_S) if sure else self._patience_s

    def _missing(
        self, failures: Mapping[TopicPartition, Exception], left: Collection[TopicPartition]
    ) -> LogUnavailable:
        for each in left:
            # Brokers that come back from an older copy know of fewer elections: the next call believes them.
            self._newest.pop(each, None)
        topic_partition = min(left)
        error = failures[topic_partition]
        unavailable = LogUnavailable(
            f"the leader of {partition_text(topic_partition)} does not answer, at {self.address}:"
            f" {str(error) or type(error).__name__}. Check that all brokers run; reading goes on when the"
            " leader is back or another broker leads."
        )
        unavailable.__cause__ = error
        return unavailable

    def _drop(self, client: Any) -> None:
        """Make another client for the next call: this one knows no broker that answers."""
        with self._guard:
            if self._client is not client:
                return
            self._client = None
        self._leaders.clear()
        _close(client)

    # --------------------------------------------------------------------- on the thread of the client

    async def _ask_leaders(
        self,
        manager: Any,
        topic_partitions: Collection[TopicPartition],
        request: Callable[[Mapping[TopicPartition, Leader]], Any],
        told: Callable[[Any], Iterator[tuple[TopicPartition, int, T]]],
        found: dict[TopicPartition, T],
        failures: dict[TopicPartition, Exception],
    ) -> None:
        """Steps 1 and 2, once; raises only when no broker tells who leads."""
        if not all(topic_partition in self._leaders for topic_partition in topic_partitions):
            await self._look_up(manager, topic_partitions, failures)
        groups = dict[int, dict[TopicPartition, Leader]]()
        for topic_partition in topic_partitions:
            # Other threads forget leaders meanwhile, so each is taken from there once.
            if (leader := self._leaders.get(topic_partition)) is not None:
                groups.setdefault(leader.node, {})[topic_partition] = leader
        sent = [
            (group, manager.call_soon(self._send, manager, node, request(group)))
            for node, group in groups.items()
        ]
        for group, answer in sent:
            try:
                answers = list(told(await answer))
            except _RETRYABLE as error:
                failures |= dict.fromkeys(group, error)
                continue
            for topic_partition, code, result in answers:
                if code:
                    failures[topic_partition] = for_code(code)()
                else:
                    found[topic_partition] = result

    async def _look_up(
        self,
        manager: Any,
        topic_partitions: Collection[TopicPartition],
        failures: dict[TopicPartition, Exception],
    ) -> None:
        """Step 1: who leads these partitions."""
        topics = sorted({topic_partition.topic for topic_partition in topic_partitions})
        failures |= dict.fromkeys(topic_partitions, LeaderNotAvailableError())
        for topic in (await self._metadata(manager, topics)).topics:
            if topic.error_code:
                error = for_code(topic.error_code)()
                failures |= {
                    topic_partition: error
                    for topic_partition in topic_partitions
                    if topic_partition.topic == topic.name
                }
            for each in topic.partitions:
                topic_partition = TopicPartition(topic.name, each.partition_index)
                leader = Leader(topic.topic_id, each.leader_epoch, each.leader_id)
                newest = self._newest.get(topic_partition)
                # A broker that was cut off may still name an earlier leader.
                outdated = newest is not None and newest.topic == leader.topic and newest.epoch > leader.epoch
                if leader.node >= 0 and not outdated:
                    self._leaders[topic_partition] = self._newest[topic_partition] = leader

    async def _metadata(self, manager: Any, topics: list[str]) -> Any:
        nodes = [broker.node_id for broker in manager.cluster.brokers()]
        random.shuffle(nodes)
        nodes.sort(key=lambda node: (self._aside.get(node, 0.0) > time.monotonic(), not _open(manager, node)))
        failure: Exception = NodeNotReadyError("no broker is known")
        for node in nodes:
            wanted = [MetadataRequest.MetadataRequestTopic(name=topic) for topic in topics]
            try:
                return await self._send(
                    manager, node, MetadataRequest(topics=wanted, allow_auto_topic_creation=False)
                )
            except _RETRYABLE as error:
                failure = error
        raise failure

    async def _send(self, manager: Any, node: int, request: Any) -> Any:
        """One broker's answer. Raises KafkaError, and at once while it is set aside."""
        if (until := self._aside.get(node, 0.0)) > time.monotonic():
            raise _SetAside(node, until)
        timeout_ms = _BROKER_S * 1000
        if manager.cluster.broker_metadata(node) is None:
            manager.cluster.request_update()
        try:
            return await manager.wait_for(
                manager.send(request, node_id=node, request_timeout_ms=timeout_ms), timeout_ms
            )
        except (RequestTimedOutError, KafkaTimeoutError):
            self._aside[node] = until = time.monotonic() + _ASIDE_S
            raise _SetAside(node, until) from None


_OffsetsPartition = ListOffsetsRequest.ListOffsetsTopic.ListOffsetsPartition


def partition_text(topic_partition: TopicPartition) -> str:
    """A partition of a topic as messages name it."""
    return f"{topic_partition.topic} partition {topic_partition.partition}"


def _no_use_before(failures: Mapping[TopicPartition, Exception], left: Collection[TopicPartition]) -> float:
    """The instant before which a retry is of no use: the brokers that lead what is left are set aside."""
    errors = [failures[topic_partition] for topic_partition in left]
    return min(error.until if isinstance(error, _SetAside) else 0.0 for error in errors)


def _open(manager: Any, node: int) -> bool:
    connection = manager._conns.get(node)
    return connection is not None and connection.connected


def _records(topic_partition: TopicPartition, data: bytes, offset: int) -> Iterator[FetchedRecord]:
    """The records of whole batches from an offset on. Raises CorruptRecordError."""
    batches = MemoryRecords(data)
    while batches.has_next():
        batch = batches.next_batch()
        if not batch.validate_crc():
            raise CorruptRecordError(f"{partition_text(topic_partition)} is damaged after offset {offset}")
        if not batch.is_control_batch:
            for each in batch:
                if each.offset >= offset:
                    yield FetchedRecord(each.offset, each.timestamp, each.value, each.headers)


def _close(client: Any) -> None:
    """Close a client, and ignore its errors: nobody uses it any more."""
    if client is not None:
        with contextlib.suppress(*_RETRYABLE):
            client.close()
