"""Which topics a worker reads, and which partition of the log each of their partitions is.

The log's partitions are numbered on through its epochs; a topic's begin at 0. Of the epochs, the oldest one
that is not applied is read, so that the blocks of a key are applied in the order in which they were written;
the refused items are always read.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from faust.types import TP

from streams.kafka.address import Address
from streams.log.port import DEAD, LogIdentity, Positions


class Assignment:
    """What a worker reads while the log is this one, and the store stands there.

    Attributes:
        log_topic: the topic of the epoch to be read.
        dead_letters: the topic of refused items.
        epoch: the epoch's number, from 1 on.
        partitions: the log's partitions that the epoch has.
    """

    def __init__(self, address: Address, identity: LogIdentity, standing: Positions, ends: Positions) -> None:
        self.partitions = identity.unfinished(standing, ends)
        self.epoch = identity.epochs().index(self.partitions) + 1
        self.log_topic = address.log_topic(self.epoch)
        self.dead_letters = address.dead_letters

    def partition(self, tp: TP) -> int:
        """The log's partition that a topic's partition is."""
        return DEAD if tp.topic == self.dead_letters else self.partitions.start + int(tp.partition)

    def tp(self, partition: int) -> TP:
        """The topic's partition that a partition of the log is."""
        if partition == DEAD:
            return TP(self.dead_letters, 0)
        return TP(self.log_topic, partition - self.partitions.start)

    def offsets(self, positions: Mapping[int, int]) -> dict[TP, int]:
        """Positions of the log as offsets of topics."""
        return {self.tp(partition): offset for partition, offset in positions.items()}

    def owned(self, tps: Iterable[TP], standing: Positions) -> dict[int, int]:
        """Where the store stands in each partition of the log that these are."""
        return {partition: standing.get(partition, 0) for partition in map(self.partition, tps)}
