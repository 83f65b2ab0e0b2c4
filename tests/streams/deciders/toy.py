"""A decider for tests, and a small loop for it to decide in: a log in memory, a store, a way in."""

from __future__ import annotations

import json
from collections.abc import Collection, Iterator
from typing import Any, NamedTuple

import msgspec

from schemas import kinds
from schemas.identity import partition_key, partition_of, unpack
from schemas.instants import rfc3339
from streams.deciders.port import Decision, DecisionRefused, in_model_events
from streams.ingest.admission import admit
from streams.log.block import DeadLetter, write_block, write_dead_letters
from streams.log.memory import MemoryLog
from streams.log.port import DEAD, LogIdentity, format_positions
from streams.projection.apply import advance
from streams.store.port import Snapshot, Store
from streams.store.tables import COUNTS, DEAD_LETTERS, MODEL_EVENTS, ModelEvent, Table
from tests.streams.sent import TIME

RECEIVED = 1_800_000_000_000_000_000


class Seen(NamedTuple):
    """The thumbs down of each model version, and what was deployed."""

    downs: dict[tuple[str, str], int]
    deployed: list[ModelEvent]


class RollsBack:
    """Three thumbs down are enough: the version is rolled back, once for each time that it was deployed."""

    rule = "rolls-back"
    reads: Collection[Table] = (COUNTS, MODEL_EVENTS)
    every_s = 0.05

    def read(self, store: Store) -> Seen:
        """Two views, in one snapshot."""
        with store.snapshot() as views:
            sums = views.totals(
                COUNTS, ["model", "model_version"], {"kind": "feedback.thumb", "value": "down"}
            )
            rows = views.scan(MODEL_EVENTS, {"kind": kinds.MODEL_DEPLOYED.name})
            return Seen({each[:2]: each[2] for each in sums}, list(ModelEvent.read_all(rows)))

    def judge(self, seen: Seen) -> Iterator[Decision]:
        """A version's deployment is the cause: its id and instant are the decision's."""
        for event in seen.deployed:
            version = json.loads(event.data)["model_version"]
            if seen.downs.get((event.model, version), 0) >= 3:
                data = {"model": event.model, "model_version": version, "why": "three thumbs down"}
                cause, at = unpack(event.id), rfc3339(event.at)
                yield Decision(
                    self.rule, (event.model, version), cause, "/rules", kinds.MODEL_ROLLED_BACK, at, data
                )

    def decided(self, views: Snapshot, decisions: Collection[Decision]) -> set[str]:
        """Those whose event the views have."""
        return in_model_events(views, decisions)


class Loop:
    """A log, its store, and what was sent. Each event is a block of its own."""

    def __init__(self, identity: LogIdentity, store: Store) -> None:
        self.log = MemoryLog(identity.partitions, identity.id)
        self.store = store
        self.sent: list[dict[str, Any]] = []

    def send(self, event: dict[str, Any]) -> str | None:
        """Take an event as a collector does: into the log, or among the dead letters."""
        self.sent.append(event)
        item = msgspec.json.encode(event)
        verdict = admit(item)
        if verdict.event is None:
            assert verdict.problem is not None
            letter = DeadLetter(verdict.problem.code, "", event["id"], event["source"], item)
            self.log.append([(DEAD, write_dead_letters(RECEIVED, [letter]))])
            raise DecisionRefused(verdict.problem.code, "", self.end())
        partition = partition_of(partition_key(verdict.event.data), self.log.identity.partitions)
        self.log.append([(partition, write_block([event["type"]], [(RECEIVED, 1)], [item]))])
        return self.end()

    def end(self) -> str:
        """The log's end."""
        return format_positions(self.log.ends())

    def catch_up(self) -> None:
        """Fold what is in the log."""
        while advance(self.log, self.store):
            pass

    def say(self, kind: str, name: str, **data: Any) -> None:
        """An event of a product's, folded at once."""
        self.send(
            {
                "specversion": "1.0",
                "id": name,
                "source": "/shop",
                "type": f"loopline.{kind}.v1",
                "time": TIME,
                "data": data,
            }
        )
        self.catch_up()
        self.sent.clear()

    def disliked(self, model: str, version: str = "1", thumbs: int = 3) -> None:
        """A version is deployed, answers, and is disliked."""
        self.say("model.deployed", f"d-{model}-{version}", model=model, model_version=version)
        for number in range(thumbs):
            name = f"{model}-{version}-{number}"
            self.say(
                "prediction.made",
                f"m-{name}",
                prediction_id=name,
                model=model,
                model_version=version,
                output=1,
            )
            self.say("feedback.thumb", f"t-{name}", prediction_id=name, value="down")

    def rolled_back(self) -> list[str]:
        """The ids of the decisions in the views."""
        with self.store.snapshot() as views:
            rows = views.scan(MODEL_EVENTS, {"kind": kinds.MODEL_ROLLED_BACK.name})
            return [unpack(event.id) for event in ModelEvent.read_all(rows)]

    def letters(self) -> int:
        """How many dead letters are in the views."""
        with self.store.snapshot() as views:
            return views.count(DEAD_LETTERS)
