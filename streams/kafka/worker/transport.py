"""Faust with the store's positions in the place of the broker's committed offsets, and nothing of its state.

What Faust brings here is the consumer group, the fetching and the agents. Its tables, windows, sensors, web
server, producer and leader topics stay off: see the notes at each. What is done with the blocks is left to
`streams.kafka.worker.engine`.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable, Iterable, Mapping
from typing import Any, Protocol

import faust
from aiokafka import AIOKafkaConsumer, TopicPartition
from aiokafka.coordinator.assignors.roundrobin import RoundRobinPartitionAssignor
from aiokafka.errors import ConsumerStoppedError, KafkaError
from faust.app.base import BootStrategy
from faust.events import Event
from faust.sensors import Monitor
from faust.transport.drivers import aiokafka as driver
from faust.types import TP

from streams.kafka.address import Address
from streams.kafka.connect import answering
from streams.kafka.steady_client import METADATA_MS, steady
from streams.log.port import LogUnavailable
from streams.projection.apply import Block

SESSION_S = 10.0
HEARTBEAT_S = 2.0
MAX_POLL_S = 600.0
REQUEST_S = 30.0
COMMIT_EVERY_S = 2.0
_BUFFERED_BLOCKS = 100_000
_YIELD_AFTER = 32
_FETCH_BYTES = 2 * 1024 * 1024
_FETCH_WAIT_MS = 100


class Steering(Protocol):
    """What a consumer asks the engine: where to read from, and what to commit."""

    async def assigned(self, partitions: Iterable[TP]) -> Mapping[TP, int]:
        """These partitions are the worker's from now on; returns where to read each from."""
        ...

    def revoked(self, partitions: Iterable[TP]) -> None:
        """These partitions are not the worker's any more."""
        ...

    async def room(self) -> None:
        """Wait while enough blocks wait to be applied."""
        ...

    def applied(self) -> Mapping[TP, int]:
        """How far the worker's partitions are in the store: what to commit, as a hint for people."""
        ...


class _Thread(driver.AIOKafkaConsumerThread):
    """Faust's thread, with a consumer of our own settings."""

    app: Any

    def _create_worker_consumer(self, transport: Any) -> AIOKafkaConsumer:
        consumer = AIOKafkaConsumer(
            **_options(self.app.address),
            group_id=self.app.conf.id,
            client_id="loopline-worker",
            partition_assignment_strategy=[RoundRobinPartitionAssignor],
            enable_auto_commit=False,
            auto_offset_reset="earliest",
            max_partition_fetch_bytes=_FETCH_BYTES,
            # A request for idle partitions keeps the busy ones of the same broker waiting: Faust's 1.5 s
            # would be seen as 1.5 s of latency, and as a tenth of the throughput.
            fetch_max_wait_ms=_FETCH_WAIT_MS,
            check_crcs=True,
            metadata_max_age_ms=METADATA_MS,
            request_timeout_ms=int(REQUEST_S * 1000),
            # A killed worker's partitions move after this. Heartbeats go on while a batch is applied, since
            # that happens on another thread.
            session_timeout_ms=int(SESSION_S * 1000),
            heartbeat_interval_ms=int(HEARTBEAT_S * 1000),
            # Nothing is polled while enough waits: however long the store needs, the worker stays a member.
            max_poll_interval_ms=int(MAX_POLL_S * 1000),
            # The others give their partitions back at once, and need not be waited for longer than this.
            rebalance_timeout_ms=int(REQUEST_S * 1000),
        )
        return steady(consumer)

    async def _commit(self, offsets: Mapping[TP, int]) -> bool:
        """Commit, if the broker is there and the partitions are still ours: it is a hint, and comes again."""
        owned = self.assignment()
        try:
            await self._ensure_consumer().commit(
                {TopicPartition(*tp): offset for tp, offset in offsets.items() if tp in owned}
            )
        except KafkaError:
            return False
        return True


def _options(address: Address) -> dict[str, Any]:
    # On a thread that has nothing else to do yet.
    try:
        return {**address.client_options, "bootstrap_servers": answering(address)}
    except LogUnavailable:
        # The consumer says so itself when it starts, where it is expected to.
        return address.client_options


class _Consumer(driver.Consumer):
    """A consumer that starts where the store stands, whatever offsets were committed."""

    app: Any

    def _new_consumer_thread(self) -> _Thread:
        return _Thread(self, loop=self.loop, beacon=self.beacon)

    async def seek_to_committed(self) -> Mapping[TP, int]:
        positions: Mapping[TP, int] = await self.app.steering.assigned(self.assignment())
        await self.seek_wait(positions)
        return positions

    async def on_partitions_assigned(self, assigned: set[TP], generation_id: int = 0) -> None:
        await super().on_partitions_assigned(assigned, generation_id)
        if not assigned:
            # Faust seeks nothing then, and so would not say that the worker has joined.
            await self.app.steering.assigned(())

    async def on_partitions_revoked(self, revoked: set[TP]) -> None:
        self.app.steering.revoked(revoked)
        await super().on_partitions_revoked(revoked)

    async def force_commit(self, topics: Any = None, start_new_transaction: bool = True) -> bool:
        """Commit where the store stands, and nothing else.

        Faust would commit what was acknowledged, and it acknowledges what it skips in a rebalance.
        """
        owned = self.assignment()
        offsets = {
            tp: offset
            for tp, offset in self.app.steering.applied().items()
            if tp in owned and offset != self._committed_offset[tp]
        }
        if not offsets or not await self._commit(offsets):
            return False
        self._committed_offset.update(offsets)
        return True

    async def _drain_messages(self, fetcher: Any) -> None:
        """Hand over what is fetched: Faust's own loop makes two tasks and keeps three sets for each message.

        Which messages count is decided by `streams.kafka.worker.buffer`, so nothing is left out here.
        """
        try:
            while not (self.should_stop or fetcher.should_stop):
                await self.app.steering.room()
                handed = 0
                async for _, message in self.getmany(timeout=1.0):
                    await self.callback(message)
                    handed += 1
                    if handed % _YIELD_AFTER == 0:
                        await asyncio.sleep(0)
                await asyncio.sleep(0)
        except (ConsumerStoppedError, asyncio.CancelledError):
            if not self.app.should_stop:
                raise

    def on_buffer_full(self, tp: TP) -> None:
        """Nothing: what waits is bounded by `Steering.room`.

        Faust would leave the partition out of its fetches, and see only a second later that it need not.
        """

    def verify_event_path(self, now: float, tp: TP) -> None:
        """Nothing: `streams.kafka.worker.progress` watches over it, and says so to more than a log."""


class _Transport(driver.Transport):
    Consumer = _Consumer


class _NoMonitor(Monitor):
    """Faust's monitor keeps numbers for each message; here the engine counts, for each batch."""

    def track_tp_end_offset(self, tp: TP, offset: int) -> None:
        """Nothing."""


class _Boot(BootStrategy):
    """Only what a consumer group needs: nothing is produced, and nothing is served."""

    enable_web = False
    enable_kafka_producer = False
    enable_sensors = False


class _Blocks(faust.Schema[bytes, bytes]):
    """Messages as blocks of the log; Faust's codecs are passed by."""

    def __init__(self, read: Callable[[Any], Block]) -> None:
        super().__init__(key_type=bytes, value_type=bytes, key_serializer="raw", value_serializer="raw")
        self._read = read

    def compile(self, app: Any, **_: Any) -> Callable[..., Awaitable[Event]]:
        read = self._read

        async def decode(message: Any, *, propagate: bool = False) -> Event:
            return Event(app, None, read(message), None, message)

        return decode


class App(faust.App):
    """A Faust application that reads blocks; one for each try, on the running event loop."""

    BootStrategy = _Boot

    def __init__(self, address: Address, group: str, steering: Steering, **options: Any) -> None:
        # Faust asks for it while it is made.
        self.steering = steering
        self.address = address
        super().__init__(
            group,
            broker=[f"kafka://{server}" for server in address.servers],
            autodiscover=False,
            Monitor=_NoMonitor,
            agent_supervisor="mode.CrashingSupervisor",
            web_enabled=False,
            topic_allow_declare=False,
            topic_disable_leader=True,
            processing_guarantee="at_least_once",
            consumer_auto_offset_reset="earliest",
            # What waits is bounded by bytes, in `streams.kafka.worker.buffer`.
            stream_buffer_maxsize=_BUFFERED_BLOCKS,
            # Revoked blocks are dropped at once. The transaction that may be in hand is no danger: whoever
            # has the partition next waits for it, and then drops what it applied.
            stream_wait_empty=False,
            broker_commit_interval=COMMIT_EVERY_S,
            # Faust's own time limits follow these; the consumer's are in `_Thread`.
            broker_session_timeout=SESSION_S,
            broker_heartbeat_interval=HEARTBEAT_S,
            broker_request_timeout=REQUEST_S,
            **options,
        )

    def reads(
        self, topic: str, read: Callable[[Any], Block], take: Callable[[Block], Awaitable[None]]
    ) -> None:
        """Hand every message of a topic to `take`, as the block that `read` makes of it."""

        async def agent(stream: Any) -> None:
            async for block in stream:
                await take(block)

        # No acknowledgements: what is committed is the store's position.
        channel = self.topic(topic, schema=_Blocks(read), acks=False, internal=False)
        self.agent(channel, name=f"reader-of-{topic}", concurrency=1)(agent)

    def on_init_dependencies(self) -> Iterable[Any]:
        """The services to start, without the monitor."""
        return self.boot_strategy.server()

    async def on_first_start(self) -> None:
        """Make no folders: nothing is kept on disk."""

    def _new_transport(self) -> Any:
        return _Transport(self.conf.broker_consumer, self)


def quieten() -> None:
    """Let Faust and its libraries speak of failures only."""
    # Of what is derived from Faust's classes here, Faust speaks in this module's name.
    for name in ("faust", "mode", "aiokafka", __name__):
        logging.getLogger(name).setLevel(logging.ERROR)
