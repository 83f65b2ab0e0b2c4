"""A collector on a log in memory, for tests of what is answered and what is then in the log."""

from __future__ import annotations

from typing import Any

from streams.ingest.http import Collector
from streams.ingest.receipts import Receipts
from streams.log.block import DeadLetter, raw_items, read_dead_letters
from streams.log.port import DEAD
from streams.log.writer import Appender
from streams.metrics import Metrics
from streams.queries.payloads import Payloads
from tests.streams.asking import BATCH, Answer, ask_now
from tests.streams.log.test_writer import GatedLog

RECEIVED = 1_796_000_000_000_000_000


class Served:
    """A collector on a log in memory, and what is in that log."""

    def __init__(self, partitions: int = 1) -> None:
        self.log = GatedLog(partitions)
        self.metrics = Metrics()
        self.appender = Appender(self.log, self.metrics)
        self.app = Collector(
            self.appender,
            partitions,
            metrics=self.metrics,
            letter=Payloads(self.log).dead_letter,
            receipts=Receipts(lambda: RECEIVED),
        )

    def ask(self, body: bytes | list[bytes], content_type: str | None = BATCH, **more: Any) -> Answer:
        """One request."""
        return ask_now(self.app, body, content_type, **more)

    def items(self, partition: int = 0) -> list[bytes]:
        """The accepted items of a partition."""
        return [item for record in self.log.read(partition, 0, 100) for item in raw_items(record)]

    def letters(self) -> list[DeadLetter]:
        """The refused items."""
        records = self.log.read(DEAD, 0, 100)
        return [letter for record in records for _, letter in read_dead_letters(record)]

    def sample(self, name: str, **labels: str) -> float:
        """A metric's value."""
        return self.metrics.registry.get_sample_value(name, labels) or 0.0
