"""Telling a story in events, and looking at the views that follow from it."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import msgspec

from schemas.identity import join_key, pack, prediction_key
from schemas.instants import nanoseconds, rfc3339
from streams.projection.apply import advance
from streams.store.memory import MemoryStore
from streams.store.tables import (
    COUNTS,
    DEAD_LETTERS,
    FACTS,
    LABELS,
    OVERRIDES,
    DeadLetterRow,
    Fact,
    Label,
    Override,
)
from tests.streams.drawn import log_of

NOON = nanoseconds("2026-11-20T12:00:00Z")
MINUTE = 60_000_000_000


def told(
    kind: str, event_id: str, minute: int = 0, *, source: str = "/shop", **data: Any
) -> tuple[bytes, int]:
    """One event that happened `minute` minutes after noon and was received at once."""
    event = {
        "specversion": "1.0",
        "type": f"loopline.{kind}.v1",
        "id": event_id,
        "source": source,
        "time": rfc3339(NOON + minute * MINUTE),
        "data": data,
    }
    return msgspec.json.encode(event), NOON + minute * MINUTE


def prediction(prediction_id: str = "p", minute: int = 0, **data: Any) -> tuple[bytes, int]:
    """A prediction of model m, version 1, with output "a"."""
    fields = {"model": "m", "model_version": "1", "output": "a", **data}
    return told("prediction.made", f"made-{prediction_id}", minute, prediction_id=prediction_id, **fields)


def declared(version: str = "1", **shape: Any) -> tuple[bytes, int]:
    """The declaration of model m's version; labels a, b and c unless said otherwise."""
    shape = shape or {"labels": ["a", "b", "c"]}
    return told("model.declared", f"declared-{version}", model="m", model_version=version, output_shape=shape)


class Views:
    """The views after a history, by the names that tests speak of."""

    def __init__(
        self, history: Iterable[tuple[bytes, int]], partitions: int = 1, *, one_by_one: bool = False
    ) -> None:
        log = log_of(list(history), partitions, [1] if one_by_one else [2])
        store = MemoryStore(log.identity)
        if one_by_one:
            # Each event in a transaction of its own, so that what it changes lies in the store already.
            for end in range(1, log.ends()[0] + 1):
                advance(log, store, upto={0: end})
        while advance(log, store):
            pass
        with store.snapshot() as snapshot:
            self.facts = [Fact(*row) for row in snapshot.scan(FACTS)]
            self.labels = [Label(*row) for row in snapshot.scan(LABELS)]
            self.overrides = [Override(*row) for row in snapshot.scan(OVERRIDES)]
            letters = [DeadLetterRow(*row) for row in snapshot.scan(DEAD_LETTERS)]
            self.counts = {
                (kind, value): (n, events)
                for kind, value, n, events in snapshot.totals(COUNTS, ("kind", "value"))
            }
        self.letters = {(letter.id, letter.code) for letter in letters if letter.partition >= 0}

    def fact(self, event_id: str) -> Fact:
        """The one fact with this event id."""
        (fact,) = (fact for fact in self.facts if fact.id == pack(event_id))
        return fact

    def label(self, prediction_id: str = "p") -> tuple[str | None, float, int] | None:
        """A prediction's label, agreement and people; None without votes."""
        for row in self.labels:
            if row.pid == prediction_key(prediction_id):
                return row.label and msgspec.json.decode(row.label), row.agreement, row.people
        return None

    def waiting(self) -> dict[str, str]:
        """What waits for what, by the last part of the typed id."""
        return {fact.id[1:].decode(): fact.waits_for for fact in self.facts if fact.waits_for is not None}

    def home(self, event_id: str) -> str | None:
        """The prediction that a fact is joined to."""
        fact = self.fact(event_id)
        if fact.joined is None:
            return None
        return fact.prediction_key[2:].decode()


__all__ = ["MINUTE", "NOON", "Views", "declared", "join_key", "prediction", "told"]
