"""A log in memory: for tests, and for folding a few blocks aside."""

from __future__ import annotations

from collections.abc import Sequence

from streams.log.port import DEAD, KnownEnds, LogIdentity


class MemoryLog:
    """Lists of records. Nothing survives the process. `before` as in `LogIdentity`."""

    def __init__(self, partitions: int = 1, log_id: str = "memory", before: tuple[int, ...] = ()) -> None:
        self.identity = LogIdentity(log_id, len(before) + 1, partitions, before)
        all_partitions = (*range(sum(before) + partitions), DEAD)
        self._records: dict[int, list[bytes]] = {partition: [] for partition in all_partitions}

    def append(self, records: Sequence[tuple[int, bytes]]) -> None:
        for partition, _ in records:
            self._records[partition]  # an unknown partition fails before anything is written
        for partition, record in records:
            self._records[partition].append(record)

    def ends(self) -> dict[int, int]:
        return {partition: len(records) for partition, records in self._records.items()}

    def known_ends(self) -> KnownEnds:
        return KnownEnds(self.ends(), 0.0)

    def read(self, partition: int, offset: int, limit: int) -> list[bytes]:
        return self._records[partition][offset : offset + limit]

    def begin_epoch(self, partitions: int) -> None:
        """Go on in another epoch: only its partitions are appended to from now on."""
        old = self.identity
        self.identity = LogIdentity(old.id, old.epoch + 1, partitions, (*old.before, old.partitions))
        for partition in self.identity.epochs()[-1]:
            self._records[partition] = []

    def close(self) -> None:
        """Nothing is held."""
