"""From verdicts to the log: accepted events by their partition, refused items as dead letters; and counted.

Every way in ends here, so that an event that came over HTTP and one that came from Kafka's intake topic
lie in the log in the same form. Judging is left to `streams.ingest.admission`, writing to the `LogWriter`,
and what a sender is told to the way in.
"""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from datetime import UTC, datetime
from itertools import islice
from typing import Any

import msgspec
import structlog

from schemas import kinds, problems
from schemas.catalog import CATALOG, Catalog
from schemas.events import DatasetReleased
from schemas.identity import partition_of
from schemas.releases import dataset_of
from streams.ingest.admission import Verdict, clocks_ahead
from streams.ingest.receipts import Receipts
from streams.ingest.replay import mark_of, unmarked
from streams.log.block import DeadLetter
from streams.log.port import DEAD, Batch, LogWriter, Part, PartlyDurable
from streams.log.writer import dead_letters
from streams.metrics import Metrics


class _TypeNames(dict[type, str]):
    """The CloudEvents type of each event class."""

    def __missing__(self, event: type[msgspec.Struct]) -> str:
        name = self[event] = str(event.__struct_config__.tag)
        return name


_type_name = _TypeNames().__getitem__


class _Typed(msgspec.Struct):
    type: str


_decode_type = msgspec.json.Decoder(_Typed).decode


_log = structlog.get_logger("loopline")

_MOST_LINES = 10
_TOLD = {
    kinds.DATASET_RELEASED.type: "a dataset was released",
    kinds.MODEL_DEPLOYED.type: "a model was deployed",
    kinds.MODEL_ROLLED_BACK.type: "a model was rolled back",
}


def _tell(events: Iterable[Any]) -> None:
    """Log what operators look for: none of it holds a personal value. A line takes time: a batch gets few."""
    lines: Counter[tuple[str, str, str | int, str | None]] = Counter()
    for event in events:
        told = _TOLD.get(_type_name(type(event)))
        if told is not None:
            data = event.data
            if isinstance(data, DatasetReleased):
                name = f"{dataset_of(data.model, data.name or None)}@{data.version}"
                lines[told, data.model, data.version, name] += 1
            else:
                lines[told, data.model, data.model_version, None] += 1
    for told, model, version, release in islice(lines, _MOST_LINES):
        _log.info(told, model=model, version=version, **({"name": release} if release else {}))
    if len(lines) > _MOST_LINES:
        _log.info("more of the same came at once", lines_left_out=len(lines) - _MOST_LINES)


def _letters_of(refused: Iterable[Verdict]) -> list[DeadLetter]:
    return [
        DeadLetter(verdict.problem.code, verdict.problem.detail, verdict.id, verdict.source, verdict.item)
        for verdict in refused
        if verdict.problem is not None and verdict.problem.code != problems.TOO_LARGE
    ]


class Recorder:
    """Puts judged items into the log and counts them once they are there.

    Args:
        writer: writes accepted and refused items into the log.
        partitions: how many partitions the log's current epoch has.
        first: the number of the first of them.
        letter: the dead letter at an offset and place of the log, to see whether what is put back lies
            there already; it raises where there is none. Called on another thread.
        receipts: stamps what is put into the log, and tells what of it is not there yet.
    """

    def __init__(
        self,
        writer: LogWriter,
        partitions: int,
        *,
        first: int = 0,
        metrics: Metrics | None = None,
        catalog: Catalog = CATALOG,
        letter: Callable[[int, int], DeadLetter] | None = None,
        receipts: Receipts | None = None,
    ) -> None:
        self.catalog = catalog
        self._receipts = receipts or Receipts()
        self._letter = letter
        self._writer = writer
        self._partitions = partitions
        self._first = first
        self._metrics = metrics or Metrics()

    async def record(
        self,
        accepted: Sequence[Verdict],
        refused: Sequence[Verdict],
        letters: Sequence[DeadLetter] | None = None,
        *,
        replaying: bool = False,
    ) -> str:
        """Put items into the log; returns the position that covers them.

        `letters` are the dead letters of what was refused, where the way in has made them itself.
        `replaying`: dead letters are put back. One that is refused again is not kept a second time when
        the letter that it names has these very bytes.

        Raises NotDurable, or PartlyDurable when only some partitions have them: `partition` says whose an
        event is, and refused items are `DEAD`'s.
        """
        if letters is None:
            letters = _letters_of(refused)
            if replaying and any(mark_of(letter.bytes) for letter in letters):
                letters = await asyncio.to_thread(self._new_ones, letters)
        parts = list(self._parts(accepted))
        if letters:
            parts.append(dead_letters(letters))
        position = self._writer.position
        # Stamped when nothing is left to do but to append: from then on an append's patience is all it takes.
        received = self._receipts.take()
        try:
            if parts:
                position = await self._writer.write(Batch(received, parts))
        except PartlyDurable as partly:
            kept = [verdict for verdict in accepted if self.partition(verdict) not in partly.missing]
            self._count(received, kept, () if DEAD in partly.missing else refused)
            raise
        finally:
            self._receipts.settle(received)
        self._count(received, accepted, refused)
        return position

    def _new_ones(self, letters: Sequence[DeadLetter]) -> list[DeadLetter]:
        """Those that do not lie in the log already."""
        return [letter for letter in letters if not self._is_kept(letter.bytes)]

    def _is_kept(self, item: bytes) -> bool:
        name = mark_of(item)
        if name is None or not name.refused or self._letter is None:
            return False
        try:
            kept = self._letter(name.offset, name.place)
        except Exception:
            # It is not there, or cannot be read now: to keep one twice loses nothing.
            return False
        return unmarked(kept.bytes) == unmarked(item)

    def partition(self, verdict: Verdict) -> int:
        """The partition of an accepted event."""
        return self._first + partition_of(verdict.key, self._partitions)

    def _parts(self, accepted: Sequence[Verdict]) -> Sequence[Part]:
        if not accepted:
            return ()
        if self._partitions == 1:
            return (self._part(self._first, accepted),)
        by_partition: dict[int, list[Verdict]] = {}
        for verdict in accepted:
            by_partition.setdefault(self.partition(verdict), []).append(verdict)
        return [self._part(partition, verdicts) for partition, verdicts in by_partition.items()]

    def _part(self, partition: int, verdicts: Sequence[Verdict]) -> Part:
        items = [verdict.item for verdict in verdicts]
        if self.catalog.old_types:
            # An older version lies in the log as it was sent, under its own type.
            types = {_decode_type(item).type for item in items}
        else:
            types = set(map(_type_name, {type(verdict.event) for verdict in verdicts}))
        return Part(partition, types, items)

    def _count(self, received: int, accepted: Sequence[Verdict], refused: Sequence[Verdict]) -> None:
        if accepted:
            self._metrics.accepted.inc(len(accepted))
            events: list[Any] = [verdict.event for verdict in accepted]
            if not _TOLD.keys().isdisjoint(map(_type_name, set(map(type, events)))):
                _tell(events)
            ahead = clocks_ahead(events, datetime.fromtimestamp(received / 1e9, UTC))
            if ahead:
                self._metrics.clock_ahead.inc(ahead)
        for verdict in refused:
            if verdict.problem is not None:
                self._metrics.refused.labels(verdict.problem.code).inc()
