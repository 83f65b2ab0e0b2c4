"""An intake topic with a log behind it: what a test produces, what is read of it, and what the views say.

As a program it is a collector without HTTP: `python -m tests.streams.kafka.intake.intakes ADDRESS LOG`.
"""

from __future__ import annotations

import asyncio
import signal
import sys
import time
from collections import Counter
from collections.abc import AsyncIterator, Iterable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any, NamedTuple

from kafka import KafkaProducer
from kafka.admin import KafkaAdminClient, NewTopic
from kafka.errors import CoordinatorLoadInProgressError, CoordinatorNotAvailableError, NotCoordinatorError

from schemas import problems
from streams.ingest.recorder import Recorder
from streams.kafka.address import Address
from streams.kafka.intake.cloudevents import STRUCTURED, record_of
from streams.kafka.intake.consumer import Intake
from streams.log.block import DeadLetter, raw_items, read_dead_letters
from streams.log.port import DEAD, Log
from streams.log.sqlite import SqliteLog
from streams.log.writer import Appender
from streams.metrics import Metrics
from streams.projection.apply import advance
from streams.store.memory import MemoryStore
from streams.store.tables import FACTS, PREDICTIONS
from tests.streams.sent import event, item

PATIENCE_S = 40.0


class Sent(NamedTuple):
    """A record to produce."""

    headers: list[tuple[str, bytes]]
    value: bytes | None


POISON = [
    Sent([], None),
    Sent([("content-type", STRUCTURED.encode())], b"\xff\xfe"),
    Sent([("content-type", STRUCTURED.encode())], b"{" * 200_000),
    Sent([("content-type", STRUCTURED.encode())], b'"' + b"x" * 400_000 + b'"'),
    Sent([("ce_id", b"\xff"), ("ce_type", b"t")], b"{}"),
    Sent([("content-type", b"text/plain")], b"hello"),
    Sent([("ce_id", b"t"), ("ce_type", b"loopline.feedback.thumb.v1")], None),
]
"""Records that are no events."""

POISON_CODES = Counter(
    {problems.INVALID_JSON: 1, problems.NOT_UTF8: 2, problems.TOO_LARGE: 2, problems.INVALID_VALUE: 2}
)
"""Their codes."""


def thumb(number: int) -> bytes:
    """One thumb on a prediction of its own, by its number."""
    data = {"prediction_id": f"p-{number}", "value": "up"}
    return item(event(id=f"e-{number}", data=data))


def structured(number: int) -> Sent:
    """A thumb in structured mode."""
    return Sent([("content-type", STRUCTURED.encode())], thumb(number))


def binary(number: int) -> Sent:
    """A thumb in binary mode."""
    return Sent(*record_of(thumb(number)))


def mixed(count: int, start: int = 0) -> list[Sent]:
    """Thumbs in both modes."""
    return [(structured, binary)[number % 2](number) for number in range(start, start + count)]


def make_topic(address: Address, partitions: int) -> None:
    """The intake topic, as `loopline topics ensure` would make it on one broker."""
    admin = KafkaAdminClient(bootstrap_servers=address.bootstrap)
    try:
        admin.create_topics([NewTopic(address.intake, partitions, 1)], wait_for_metadata=True)
    finally:
        admin.close()


def remove_topic(address: Address) -> None:
    """Remove the intake topic with all records."""
    admin = KafkaAdminClient(bootstrap_servers=address.bootstrap)
    try:
        admin.delete_topics([address.intake])
    finally:
        admin.close()


def produce(address: Address, records: Iterable[Sent], compression: str | None = None) -> None:
    """Produce records, spread over the partitions, and wait for their acknowledgement."""
    producer = KafkaProducer(
        bootstrap_servers=address.bootstrap, acks="all", max_request_size=4 * 1024 * 1024
    )
    try:
        partitions = sorted(producer.partitions_for(address.intake))
        acknowledged = [
            producer.send(
                address.intake,
                value=value,
                key=b"any",
                headers=headers,
                partition=partitions[number % len(partitions)],
            )
            for number, (headers, value) in enumerate(records)
        ]
        producer.flush()
        for each in acknowledged:
            each.get(10)
    finally:
        producer.close()


@asynccontextmanager
async def reading(address: Address, appender: Appender, log: Log) -> AsyncIterator[tuple[Intake, Metrics]]:
    """An intake into a log, until the block ends."""
    metrics = Metrics()
    recorder = Recorder(appender, log.identity.partitions, metrics=metrics)
    intake = Intake(address, recorder, metrics)
    await intake.start()
    try:
        yield intake, metrics
    finally:
        await intake.stop()


async def until(holds: Any, what: str) -> None:
    """Wait for a condition."""
    deadline = time.monotonic() + PATIENCE_S
    while not holds():
        assert time.monotonic() < deadline, f"waited in vain for {what}"
        await asyncio.sleep(0.05)


def value_of(metrics: Metrics, name: str, **labels: str) -> float:
    """A sample of the metrics."""
    return metrics.registry.get_sample_value(name, labels) or 0.0


async def settled(address: Address, records: int, patience_s: float = PATIENCE_S) -> None:
    """Wait until the group has committed that many records in all."""
    deadline = time.monotonic() + patience_s
    while (committed := await asyncio.to_thread(committed_records, address)) < records:
        assert time.monotonic() < deadline, f"{committed} of {records} records were committed"
        await asyncio.sleep(0.1)
    assert committed == records


def committed_records(address: Address) -> int:
    """How many records the group has committed, over all partitions that begin at 0."""
    admin = KafkaAdminClient(bootstrap_servers=address.bootstrap)
    try:
        groups = admin.list_group_offsets([address.intake_group])
        return sum(each.offset for each in groups[address.intake_group].values() if each.offset > 0)
    except (CoordinatorNotAvailableError, CoordinatorLoadInProgressError, NotCoordinatorError):
        # The broker's first group: it makes the topic of offsets only now.
        return 0
    finally:
        admin.close()


class Views:
    """What the views have after all of the log, and what the log itself holds."""

    def __init__(self, log: Log) -> None:
        store = MemoryStore(log.identity)
        while advance(log, store):
            pass
        with store.snapshot() as snapshot:
            self.facts = len(list(snapshot.scan(FACTS)))
            self.predictions = len(list(snapshot.scan(PREDICTIONS)))
        ends = log.ends()
        self.dead_letters: list[DeadLetter] = []
        self.items = 0
        for partition, end in ends.items():
            for record in log.read(partition, 0, end):
                if partition == DEAD:
                    self.dead_letters += [letter for _, letter in read_dead_letters(record)]
                else:
                    self.items += len(raw_items(record))

    @property
    def codes(self) -> Counter[str]:
        """How many dead letters there are of each code."""
        return Counter(letter.code for letter in self.dead_letters)


async def _main(address: Address, path: Path) -> None:
    log = SqliteLog(path, writable=True)
    appender = Appender(log)
    stop = asyncio.Event()
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, stop.set)
    async with reading(address, appender, log):
        sys.stdout.write("reading\n")
        sys.stdout.flush()
        await stop.wait()
    appender.stop()
    log.close()


if __name__ == "__main__":
    asyncio.run(_main(Address.parse(sys.argv[1]), Path(sys.argv[2])))
