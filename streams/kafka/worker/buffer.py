"""The buffer of a worker: fetched blocks that wait to be applied, in order, each once, up to a size.

A consumer may deliver blocks twice, late, or from before a seek. The buffer takes only the next block of each
partition. Fetching and applying are left to `streams.kafka.worker.engine`.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Mapping, Sequence
from enum import Enum
from itertools import islice

from streams.projection.apply import Block

MOST_BYTES = 32 * 1024 * 1024
"""About how much waits, besides what the client libraries have fetched: a second's work for a worker."""

_AT_ONCE = 2_000


class Offered(Enum):
    """What became of a block that was offered."""

    TAKEN = "taken"
    KNOWN = "known"
    """It lies before the position: the store has it."""
    AHEAD = "ahead"
    """Blocks are missing before it: somebody has to seek."""
    FOREIGN = "foreign"
    """Its partition is not this worker's any more."""


class Buffer:
    """The blocks of the partitions that a worker has been given. Used from one thread."""

    def __init__(self, most_bytes: int = MOST_BYTES) -> None:
        self._most_bytes = most_bytes
        self._pending: deque[Block] = deque()
        self._bytes = 0
        self._next: dict[int, int] = {}

    @property
    def full(self) -> bool:
        """Whether enough waits."""
        return self._bytes >= self._most_bytes

    @property
    def expected(self) -> Mapping[int, int]:
        """For each partition of this worker's, the offset of the block to be offered next."""
        return self._next

    def __len__(self) -> int:
        return len(self._pending)

    def restart(self, positions: Mapping[int, int]) -> None:
        """These are the partitions, and blocks are taken from there on; what waited is dropped."""
        self._next = dict(positions)
        self._pending.clear()
        self._bytes = 0

    def leave(self, partitions: Iterable[int]) -> None:
        """These partitions are somebody else's now, with what waited."""
        for partition in partitions:
            self._next.pop(partition, None)
        self._pending = deque(block for block in self._pending if block.partition in self._next)
        self._bytes = sum(len(block.record) for block in self._pending)

    def offer(self, block: Block) -> Offered:
        """Take a block if it is the next one of its partition."""
        expected = self._next.get(block.partition)
        if expected is None:
            return Offered.FOREIGN
        if block.offset != expected:
            return Offered.KNOWN if block.offset < expected else Offered.AHEAD
        self._next[block.partition] = expected + 1
        self._pending.append(block)
        self._bytes += len(block.record)
        return Offered.TAKEN

    def first(self) -> list[Block]:
        """The blocks that have waited longest, to be applied; they stay until `done`."""
        return list(islice(self._pending, _AT_ONCE))

    def done(self, blocks: Sequence[Block]) -> None:
        """These, the first ones, are in the store. What was dropped meanwhile is no matter."""
        for block in blocks:
            if self._pending and self._pending[0] is block:
                self._pending.popleft()
                self._bytes -= len(block.record)
