"""An idempotent producer that is replaced when it has failed.

aiokafka's producer numbers the batches of each partition. A batch that it gives up on leaves a gap in the
sequence, and the broker then refuses every later batch, so a new producer takes over. The old one's unsent
batches fail with it and are never sent later.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections import defaultdict
from collections.abc import Sequence
from typing import Any, NamedTuple

import structlog
from aiokafka import AIOKafkaProducer, TopicPartition
from aiokafka.errors import KafkaError

from loopline.backoff import Backoff, RetryPolicy
from streams.kafka import diagnosis
from streams.kafka.address import Address
from streams.kafka.log.dead_letters import ProducedRecord
from streams.kafka.steady_client import METADATA_MS, options, steady
from streams.log.port import NotDurable

# A batch on its way at a time for each partition, of at most this size, or of one larger record.
_BATCH_BYTES = 512 * 1024
_REQUEST_BYTES = 8 * 1024 * 1024
_REQUEST_MS = 3_000
_START_S = 5.0
_CLOSE_S = 5.0
RETRY = RetryPolicy(first_s=0.1, longest_s=1.0)
# The type of a timestamp that is the broker's own: topics are made so.
_LOG_APPEND_TIME = 1

# The library logs each retry while a broker is unavailable; the appender logs the outage once.
logging.getLogger("aiokafka").setLevel(logging.CRITICAL)
_log = structlog.get_logger("loopline.appender")


class Ack(NamedTuple):
    """The first and the last offset of what was sent together; the first is -1 when one is not known.

    `appended_ms` is the clock of the broker that appended it (ms since 1970), where it told, and `broker` who
    that was.
    """

    first: int
    last: int
    appended_ms: int | None = None
    broker: str = ""


class Producer:
    """Sends records, and replaces a producer that failed, with the pauses of `retry`.

    `down` says why there is no producer; it is empty while there is one.
    """

    def __init__(self, address: Address, retry: RetryPolicy = RETRY) -> None:
        self.down = "the server is starting"
        self._address = address
        self._retry = retry
        self._producer: AIOKafkaProducer | None = None
        self._replacing: asyncio.Task[None] | None = None
        self._sending: set[asyncio.Task[Ack]] = set()
        self._orders: defaultdict[tuple[str, int], asyncio.Lock] = defaultdict(asyncio.Lock)
        self._stopped = False

    async def start(self) -> None:
        """Connect, or keep retrying in the background."""
        try:
            await self._connect()
        except Exception as error:
            self.replace(await diagnosis.reason(self._address, error))

    def send(self, topic_partition: tuple[str, int], records: Sequence[ProducedRecord]) -> asyncio.Task[Ack]:
        """Hand records of one partition to the producer, in order. Raises NotDurable when there is none.

        What is handed over together has offsets without another's between them, and is acknowledged before
        what comes after it.
        """
        if self._producer is None or self.down:
            raise NotDurable(self.down)
        task = asyncio.create_task(
            _send(self._producer, topic_partition, records, self._orders[topic_partition])
        )
        self._sending.add(task)
        task.add_done_callback(self._sending.discard)
        return task

    def replace(self, reason: str) -> None:
        """Refuse records until another producer has connected."""
        if self._stopped or self._replacing is not None:
            return
        self.down = reason
        _log.warning("reconnecting to the brokers", reason=reason)
        self._replacing = asyncio.create_task(self._replace())

    async def stop(self) -> None:
        """Stop, and drop what was not acknowledged."""
        self._stopped = True
        self.down = "the server is stopping"
        if self._replacing is not None:
            self._replacing.cancel()
            await asyncio.gather(self._replacing, return_exceptions=True)
        await self._drop()

    async def _connect(self) -> None:
        producer = steady(
            AIOKafkaProducer(
                **await options(self._address),
                enable_idempotence=True,
                acks="all",
                # Blocks are compressed already.
                compression_type=None,
                max_batch_size=_BATCH_BYTES,
                max_request_size=_REQUEST_BYTES,
                request_timeout_ms=_REQUEST_MS,
                metadata_max_age_ms=METADATA_MS,
                linger_ms=0,
            )
        )
        try:
            async with asyncio.timeout(_START_S):
                await producer.start()
        except BaseException:
            await _close(producer)
            raise
        self._producer = producer
        self.down = ""

    async def _replace(self) -> None:
        await self._drop()
        backoff = Backoff(self._retry)
        while True:
            try:
                await self._connect()
            except Exception as error:
                # Whatever failed: nothing else retries.
                self.down = await diagnosis.reason(self._address, error)
                await asyncio.sleep(backoff.next_pause_s())
            else:
                self._replacing = None
                return

    async def _drop(self) -> None:
        producer, self._producer = self._producer, None
        if producer is not None:
            await _close(producer)
        if self._sending:
            await asyncio.wait(self._sending, timeout=_CLOSE_S)
            for task in self._sending:
                task.cancel()


async def _send(
    producer: Any, topic_partition: tuple[str, int], records: Sequence[ProducedRecord], order: asyncio.Lock
) -> Ack:
    topic, partition = topic_partition
    leader = _leader(producer, topic_partition)
    # A full batch makes the producer wait, and a smaller record of somebody else's might still fit.
    async with order:
        futures = [
            await producer.send(topic, value, partition=partition, headers=headers)
            for value, headers in records
        ]
    appended = [await future for future in futures]
    offsets = [each.offset for each in appended]
    # One that was led by another broker meanwhile may have been appended by either.
    stamped = (
        appended[-1].timestamp_type == _LOG_APPEND_TIME
        and leader
        and leader == _leader(producer, topic_partition)
    )
    return Ack(min(offsets), offsets[-1], appended[-1].timestamp if stamped else None, leader)


def _leader(producer: Any, topic_partition: tuple[str, int]) -> str:
    """Who leads a partition, as far as the producer knows; empty when it does not."""
    cluster = producer.client.cluster
    node = cluster.leader_for_partition(TopicPartition(*topic_partition))
    broker = None if node is None else cluster.broker_metadata(node)
    return "" if broker is None else f"broker {node} ({broker.host}:{broker.port})"


async def _close(producer: Any) -> None:
    """Close a producer without waiting for unavailable brokers: its batches fail now."""
    with contextlib.suppress(Exception):
        producer._message_accumulator.fail_all(KafkaError("the producer was closed"))
    with contextlib.suppress(Exception):
        async with asyncio.timeout(_CLOSE_S):
            # A sender that had not run yet ends with a cancellation, which is not this task's.
            await asyncio.gather(producer._sender.close(), return_exceptions=True)
    with contextlib.suppress(Exception):
        async with asyncio.timeout(_CLOSE_S):
            await producer.stop()
