"""The log's port: what the collector appends to and the workers read from.

A log has an identity, an epoch, a fixed number of partitions, and one more partition for refused
items. An offset counts the blocks of a partition; a position "before offset N" is written N.
"""

from __future__ import annotations

import hashlib
import re
import time
from collections.abc import Awaitable, Collection, Mapping, Sequence
from typing import NamedTuple, Protocol

from schemas.errors import Halt, Malformed, Refused, Unavailable

DEAD = -1
"""The partition of refused items, written `dead` in positions."""

NOTICES_S = 5.0
"""For how long to wait for a log to name a partition that its store has."""

_PART = re.compile(r"(dead|0|[1-9][0-9]{0,8}):(0|[1-9][0-9]{0,17})")

Positions = Mapping[int, int]
"""For each partition, how many of its blocks are meant: the offset of the first one that is not."""


class LogIdentity(NamedTuple):
    """Which log this is: another id is another log.

    `partitions` are those of the current epoch, the only ones that are appended to. Partitions are
    numbered on through the epochs: `before` says how many each earlier epoch had, oldest first.
    """

    id: str
    epoch: int
    partitions: int
    before: tuple[int, ...] = ()

    @property
    def first(self) -> int:
        """The number of the current epoch's first partition."""
        return sum(self.before)

    @property
    def fingerprint(self) -> str:
        """Which log this is, for whoever asks a server: tells logs apart, and does not give the id away."""
        return hashlib.blake2b(self.id.encode(), digest_size=8, person=b"loopline log").hexdigest()

    def epochs(self) -> list[range]:
        """The partitions of each epoch, oldest first."""
        spans, start = [], 0
        for count in (*self.before, self.partitions):
            spans.append(range(start, start + count))
            start += count
        return spans

    def unfinished(self, applied: Positions, ends: Positions) -> range:
        """The partitions of the oldest epoch that views have not applied to its end; else the current one's.

        Blocks of later epochs wait their turn.
        """
        spans = self.epochs()
        for span in spans:
            if any(applied.get(each, 0) < ends.get(each, 0) for each in span):
                return span
        return spans[-1]


class NotDurable(Unavailable):
    """An append did not reach the disk; nothing of it may be acknowledged.

    `kept` is False when it is certain that nothing was kept, and None when nobody can know, as when a
    broker's answer was lost. Sending again is right in both cases: ids count once.
    """

    kept: bool | None = False


class PartlyDurable(NotDurable):
    """Of what was handed over together, the parts in `missing` partitions are not durable; the others are.

    `position` covers those that are. `kept` is said of the missing ones.
    """

    def __init__(self, reason: str, position: str, missing: frozenset[int], kept: bool | None = None) -> None:
        super().__init__(reason)
        self.position = position
        self.missing = missing
        self.kept = kept


class Overloaded(NotDurable):
    """More is waiting to be written than may wait; nothing of this was taken."""


class LogUnavailable(Unavailable, ConnectionError):
    """What holds the log does not answer now; asking again later is right."""


class LogRefused(Halt):
    """The log is not what it has to be, and nothing is read or appended before a person has mended it."""


class LogDenied(LogRefused):
    """This client is not let in, or may not do something: the log may be what it was, and goes on as such."""


class LogMissing(LogRefused):
    """There is no log at this place."""


class LogUnreadable(Refused):
    """The file of a log cannot be read now; the message says why, and where to look."""


class KnownEnds(NamedTuple):
    """Where a log ended when it was seen last: each partition ends there or later.

    `age_s` is for how many seconds that has been known, of several partitions the longest: what is complete
    up to here is complete as of so long ago, and not of now.
    """

    ends: dict[int, int]
    age_s: float


class Log(Protocol):
    """An append-only sequence of records for each partition."""

    @property
    def identity(self) -> LogIdentity:
        """Which log this is."""
        ...

    def append(self, records: Sequence[tuple[int, bytes]]) -> None:
        """Append (partition, record) pairs; they are on disk when this returns.

        Raises NotDurable when they are not. Unless its `kept` is None, none of them is visible then.
        """
        ...

    def ends(self) -> dict[int, int]:
        """For each partition, `DEAD` included, the offset after its last record. Raises LogUnavailable."""
        ...

    def known_ends(self) -> KnownEnds:
        """The ends as they were seen last, at once: no other machine is asked, and no lock waited for.

        Never behind what `ends` gave before. A log on this machine is looked at, so that the age is 0.
        """
        ...

    def read(self, partition: int, offset: int, limit: int) -> list[bytes]:
        """Up to `limit` records of a partition from `offset` on, in order; empty at the end.

        A log that keeps refused items one by one gives `DEAD` back as blocks of one item each, the same
        bytes each time. Raises LogUnavailable, or LogRefused for an offset that is no longer there.
        """
        ...

    def close(self) -> None:
        """Let go of what is held."""
        ...


class Part(NamedTuple):
    """Items of one partition: the event types among them, and each item's bytes."""

    partition: int
    types: Collection[str]
    items: Sequence[bytes]


class Batch(NamedTuple):
    """What one request hands over: its parts, and the instant (ns) at which they were received."""

    received: int
    parts: Sequence[Part]


class LogWriter(Protocol):
    """Writes batches into a log, and answers each once it is durable. Every way in uses one."""

    @property
    def position(self) -> str:
        """The text of a position that covers everything acknowledged so far."""
        ...

    @property
    def failed_at(self) -> float | None:
        """The monotonic instant (s) of the last failure, if nothing was acknowledged since, else None."""
        ...

    @property
    def failure(self) -> str:
        """Why the last write failed that did."""
        ...

    @property
    def stalled(self) -> str:
        """What of the log cannot be written now, while the rest can; else empty."""
        ...

    def write(self, batch: Batch) -> Awaitable[str]:
        """Hand over a batch on the running event loop; the result is the position that covers it.

        Raises NotDurable at once, `Overloaded` when too much is waiting. Awaiting raises NotDurable when
        the batch is not durable, or PartlyDurable when only some of its partitions have theirs.
        """
        ...


def ends_with(
    log: Log, partitions: Collection[int], *, within_s: float = NOTICES_S, look_s: float = 0.1
) -> dict[int, int]:
    """The log's ends, once they name these partitions, those of a store.

    A store may be in the log's next epoch while a reader of the log has not noticed yet that it began. After
    some seconds the ends are given as they are: then the store is ahead of its log.
    """
    deadline = time.monotonic() + within_s
    while True:
        ends = log.ends()
        if ends.keys() >= set(partitions) or time.monotonic() >= deadline:
            return ends
        time.sleep(look_s)


class MalformedPosition(Malformed):
    """A text that is no vector of positions."""


def format_positions(positions: Positions) -> str:
    """A vector of positions as text: `0:17,1:3,dead:2`."""
    ordered = sorted(positions.items(), key=lambda item: (item[0] == DEAD, item[0]))
    return ",".join(f"{'dead' if partition == DEAD else partition}:{offset}" for partition, offset in ordered)


def parse_positions(text: str) -> dict[int, int]:
    """The vector of positions that a text like `0:17,1:3` means. Raises MalformedPosition."""
    positions: dict[int, int] = {}
    for part in text.split(","):
        match = _PART.fullmatch(part)
        if match is None:
            raise MalformedPosition(f"{part[:40]!r} is not PARTITION:OFFSET, as in 0:17,1:3")
        partition = DEAD if match[1] == "dead" else int(match[1])
        if partition in positions:
            raise MalformedPosition(f"partition {match[1]} is there twice")
        positions[partition] = int(match[2])
    return positions
