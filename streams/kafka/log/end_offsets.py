"""The log's end offsets, read from the brokers, so that a position covers other collectors' appends too.

A position covers everything that was acknowledged before this answer. A collector knows its own
acknowledgements; it learns of the others' by reading the end offsets after its own acknowledgement and
before its answer. One request to the brokers serves all pending answers.
"""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections.abc import Callable, Mapping
from typing import Any

import structlog
from aiokafka import AIOKafkaConsumer, TopicPartition

from streams.kafka.address import Address
from streams.kafka.steady_client import METADATA_MS, options, steady

PAUSE_S = 0.004
"""Between two requests: a hundred a second cost little, and a block is held for longer."""

_ANSWER_S = 1.0
_AWAY_S = 2.0

_log = structlog.get_logger("loopline.appender")


class EndOffsets:
    """Reads where partitions end.

    Args:
        address: the brokers.
        topic_partitions: the topic and its partition for each of the log's partitions that are appended to.
        learn: called with the ends, before the callbacks of `ask`.
        pause_s: between two requests.

    A request without an answer within a second is given up, and not repeated for two seconds: the callbacks
    are called nevertheless, and the position covers what this collector acknowledged.
    """

    def __init__(
        self,
        address: Address,
        topic_partitions: Mapping[int, tuple[str, int]],
        learn: Callable[[Mapping[int, int]], None],
        pause_s: float = PAUSE_S,
    ) -> None:
        self._address = address
        self._topic_partitions = {
            TopicPartition(*topic_partition): partition
            for partition, topic_partition in topic_partitions.items()
        }
        self._learn = learn
        self._pause_s = pause_s
        self._pending: list[Callable[[], None]] = []
        self._asking: asyncio.Task[None] | None = None
        self._consumer: Any = None
        self._silent_until = 0.0

    def ask(self, then: Callable[[], None]) -> None:
        """Call `then` on this event loop once the ends after this moment are known, or cannot be."""
        self._pending.append(then)
        if self._asking is None:
            self._asking = asyncio.create_task(self._ask())

    async def stop(self) -> None:
        """Call the pending callbacks, and close the connection."""
        if self._asking is not None:
            self._asking.cancel()
            await asyncio.gather(self._asking, return_exceptions=True)
        self._tell(self._taken())
        await self._close()

    async def _ask(self) -> None:
        try:
            while pending := self._taken():
                try:
                    await self._look()
                finally:
                    self._tell(pending)
                await asyncio.sleep(self._pause_s)
        finally:
            self._asking = None

    async def _look(self) -> None:
        if time.monotonic() < self._silent_until:
            return
        try:
            async with asyncio.timeout(_ANSWER_S):
                found = await (await self._connected()).end_offsets(list(self._topic_partitions))
        except Exception as error:
            # Whatever failed: later callbacks wait for the next request.
            self._silent_until = time.monotonic() + _AWAY_S
            _log.warning(
                "the log's ends are unknown: positions cover only this collector's appends",
                reason=repr(error),
            )
            await self._close()
        else:
            self._learn(
                {self._topic_partitions[topic_partition]: end for topic_partition, end in found.items()}
            )

    async def _connected(self) -> Any:
        if self._consumer is None:
            consumer = steady(
                AIOKafkaConsumer(
                    **await options(self._address),
                    group_id=None,
                    enable_auto_commit=False,
                    metadata_max_age_ms=METADATA_MS,
                )
            )
            # Paused: it is told of the topics, and fetches nothing.
            consumer.assign(list(self._topic_partitions))
            consumer.pause(*self._topic_partitions)
            try:
                await consumer.start()
            except BaseException:
                await consumer.stop()
                raise
            self._consumer = consumer
        return self._consumer

    async def _close(self) -> None:
        consumer, self._consumer = self._consumer, None
        if consumer is not None:
            with contextlib.suppress(Exception):
                async with asyncio.timeout(_ANSWER_S):
                    await consumer.stop()

    def _taken(self) -> list[Callable[[], None]]:
        pending, self._pending = self._pending, []
        return pending

    @staticmethod
    def _tell(pending: list[Callable[[], None]]) -> None:
        for then in pending:
            then()
