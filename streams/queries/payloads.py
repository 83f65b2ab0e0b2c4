"""Events as they were sent: the views keep what pages show, the log has the rest.

Blocks never change, so the items of the last few that were opened are kept.
"""

from __future__ import annotations

import threading
from collections import OrderedDict
from collections.abc import Iterable, Iterator
from itertools import islice
from typing import Any, NamedTuple

import msgspec

from streams.log.block import DeadLetter, raw_items, read_block, read_dead_letters
from streams.log.port import DEAD, Log

_KEPT_BLOCKS = 16
_READ_AT_ONCE = 100
# How far back from a partition's end the latest events are looked for, and in which steps.
_TAIL_BLOCKS, _STEP_BLOCKS = 256, 4


class Original(NamedTuple):
    """An event's type and data as sent; `data` is JSON to be embedded as it is."""

    type: str
    data: msgspec.Raw


class _Envelope(msgspec.Struct):
    type: str
    data: msgspec.Raw


_decode_envelope = msgspec.json.Decoder(_Envelope).decode


class Payloads:
    """Reads items of a log by their place. Safe to use from several threads."""

    def __init__(self, log: Log) -> None:
        self._log = log
        self._guard = threading.Lock()
        self._blocks: OrderedDict[tuple[int, int], list[Any]] = OrderedDict()

    def item(self, partition: int, offset: int, place: int) -> bytes:
        """The bytes of an accepted event as they were sent."""
        item: bytes = self._block(partition, offset)[place]
        return item

    def event(self, partition: int, offset: int, place: int) -> Original:
        """The type and data of an accepted event."""
        envelope = _decode_envelope(self.item(partition, offset, place))
        return Original(envelope.type, envelope.data)

    def events(self, places: Iterable[tuple[int, int, int]]) -> Iterator[Original]:
        """The events at some places (partition, offset, place), in the order asked.

        Some are read at a time, in the order of the log: a block is read once for all of them.
        """
        asked = iter(places)
        while some := list(islice(asked, _READ_AT_ONCE)):
            found = {where: self.event(*where) for where in sorted(set(some))}
            yield from (found[where] for where in some)

    def dead_letter(self, offset: int, place: int) -> DeadLetter:
        """An item that the collector refused."""
        letter: DeadLetter = self._block(DEAD, offset)[place]
        return letter

    def _block(self, partition: int, offset: int) -> list[Any]:
        where = partition, offset
        with self._guard:
            if where in self._blocks:
                self._blocks.move_to_end(where)
                return self._blocks[where]
        (record,) = self._log.read(partition, offset, 1)
        items: list[Any]
        if partition == DEAD:
            items = [letter for _, letter in read_dead_letters(record)]
        else:
            items = raw_items(record)
        with self._guard:
            self._blocks[where] = items
            while len(self._blocks) > _KEPT_BLOCKS:
                self._blocks.popitem(last=False)
        return items


class Arrived(NamedTuple):
    """One of the latest events: what it is, and when it was received (ns)."""

    id: str
    source: str
    type: str
    received: int


class _Identity(msgspec.Struct):
    id: str
    source: str
    type: str


_decode_identities = msgspec.json.Decoder(list[_Identity]).decode


def latest(log: Log, prefix: str, most: int) -> list[Arrived]:
    """The latest events whose type begins with `prefix`, newest first, as far as the log's tail has them."""
    found: list[Arrived] = []
    for partition, end in log.ends().items():
        if partition != DEAD:
            found += _tail(log, partition, end, prefix, most)
    # The sort is stable: of one instant, the last one in the log comes first.
    return sorted(found, key=lambda event: -event.received)[:most]


def _tail(log: Log, partition: int, end: int, prefix: str, most: int) -> list[Arrived]:
    """At least `most` of a partition's matching events, the last one first, unless the tail has fewer."""
    found: list[Arrived] = []
    furthest = max(0, end - _TAIL_BLOCKS)
    while end > furthest and len(found) < most:
        start = max(furthest, end - _STEP_BLOCKS)
        for record in reversed(log.read(partition, start, end - start)):
            header, body = read_block(record)
            if not any(name.startswith(prefix) for name in header.types):
                continue
            events = [
                Arrived(event.id, event.source, event.type, instant)
                for event, instant in zip(_decode_identities(body), header.instants(), strict=True)
                if event.type.startswith(prefix)
            ]
            found += reversed(events)
        end = start
    return found
