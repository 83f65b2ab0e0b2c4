"""A small world to release from: a log in memory, its views, and short ways to say what happened."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import msgspec
import pyarrow.parquet as pq

from feedback.datasets.catalogue import Manifest
from feedback.datasets.cut.recipe import SPLITS
from feedback.datasets.release import Published, release
from feedback.datasets.shelf.address import shelf_of
from schemas.identity import partition_key, partition_of
from schemas.instants import rfc3339
from streams.ingest.admission import admit
from streams.log.block import write_block
from streams.log.memory import MemoryLog
from streams.log.port import LogIdentity, Positions, format_positions
from streams.projection.apply import advance
from streams.store.memory import MemoryStore
from streams.store.port import Store

MODEL = "reader"
SOURCE = "/exam/forms"
START = 1_780_000_000_000_000_000
SECOND = 1_000_000_000

Event = dict[str, Any]


class World:
    """A log with its views, and a shelf: in `folder` where `where` is one. Each event is a second later."""

    def __init__(self, where: Path | str, partitions: int = 1, log_id: str = "log-1") -> None:
        self.log = MemoryLog(partitions, log_id)
        self.store = MemoryStore(self.log.identity)
        self.where = where
        self.folder = Path(where)
        self.shelf = shelf_of(where)
        self.emitted: list[Event] = []
        self._ticks = 0

    # ------------------------------------------------------------------------------------------ saying

    def say(self, *events: Event) -> None:
        """Put events into the log, a block for each partition they fall into, and catch up."""
        blocks: dict[int, list[bytes]] = {}
        types = sorted({event["type"] for event in events})
        for event in events:
            item = msgspec.json.encode(event)
            verdict = admit(item)
            assert verdict.event is not None, verdict.problem
            key = partition_key(verdict.event.data)
            partition = self.log.identity.first + partition_of(key, self.log.identity.partitions)
            blocks.setdefault(partition, []).append(item)
        received = START + self._ticks * SECOND
        self.log.append(
            [
                (partition, write_block(types, [(received, len(items))], items))
                for partition, items in blocks.items()
            ]
        )
        self.catch_up()

    def catch_up(self) -> None:
        """Fold what is in the log."""
        while advance(self.log, self.store):
            pass

    def event(self, kind: str, source: str = SOURCE, **data: Any) -> Event:
        """An event of a kind, with an id and a time of its own."""
        self._ticks += 1
        return {
            "specversion": "1.0",
            "id": f"e-{self._ticks}",
            "source": source,
            "type": f"loopline.{kind}.v1",
            "time": rfc3339(START + self._ticks * SECOND),
            "data": data,
        }

    def declared(self, labels: list[Any] | None = None, version: str = "1", **shape: Any) -> Event:
        """A declaration: closed labels, or what `shape` says."""
        output_shape = {"labels": labels, **shape} if labels is not None else shape
        return self.event("model.declared", model=MODEL, model_version=version, output_shape=output_shape)

    def predicted(self, number: int, output: Any = "3", **more: Any) -> Event:
        """The prediction `p-NUMBER`, about an input of its own unless another is given."""
        data = {"model": MODEL, "model_version": "1", "output": output, "confidence": 0.5, **more}
        if not data.keys() & {"input", "input_ref", "input_uri"}:
            data["input"] = f"form {number}"
        return self.event("prediction.made", prediction_id=f"p-{number}", **data)

    def corrected(self, number: int, label: Any, person: str = "u-1", **more: Any) -> Event:
        """A person's correction of `p-NUMBER`."""
        return self.event(
            "feedback.correction", prediction_id=f"p-{number}", label=label, person=person, **more
        )

    def confirmed(self, number: int, person: str = "u-1", value: str = "yes") -> Event:
        """A person's yes or no to `p-NUMBER`."""
        return self.event("feedback.confirmation", prediction_id=f"p-{number}", value=value, person=person)

    def labelled(self, numbers: range, label: Any = "3", **more: Any) -> None:
        """Predictions and a correction of each, in two blocks."""
        self.say(*(self.predicted(number, **more) for number in numbers))
        self.say(*(self.corrected(number, label) for number in numbers))

    # --------------------------------------------------------------------------------------- releasing

    def position(self) -> str:
        """The log's end, without the dead letters."""
        return format_positions({p: end for p, end in self.log.ends().items() if p >= 0})

    def emit(self, event: Event) -> None:
        """Take an event of a release into the log."""
        self.emitted.append(event)
        self.say(event)

    def release(self, **options: Any) -> Published:
        """Release, by this world's log, views and clock: also what is not new, and what has filters."""
        options.setdefault("force", True)
        if options.keys() & {"since", "model_version", "segment", "env"}:
            options.setdefault("name", "chosen")
        options.setdefault("emit", self.emit)
        options.setdefault("scratch", memory_scratch)
        options.setdefault("now", lambda: START + self._ticks * SECOND)
        shelf = options.pop("shelf", self.shelf)
        return release(self.log, lambda: self.store, shelf, MODEL, **options)


@contextmanager
def memory_scratch(folder: Path, identity: LogIdentity) -> Iterator[Store]:
    """A scratch store that leaves nothing behind."""
    yield MemoryStore(identity)


def no_wait(goal: Positions) -> None:
    """The views of this world are always there already."""


def tables(published: Published) -> dict[str, Any]:
    """The tables of a release's splits."""
    return {split: pq.read_table(Path(published.place) / f"{split}.parquet") for split in SPLITS}


def rows(published: Published) -> list[dict[str, Any]]:
    """All rows of a release, each with its split."""
    return [
        {**row, "split": split} for split, table in tables(published).items() for row in table.to_pylist()
    ]


def placed(published: Published) -> dict[str, str]:
    """For each input of a release its split. An input in two fails here."""
    found: dict[str, str] = {}
    for row in rows(published):
        assert found.setdefault(row["input_ref"], row["split"]) == row["split"]
    return found


def manifest_of(published: Published) -> Manifest:
    """The manifest as it was written."""
    content: Manifest = msgspec.json.decode((Path(published.place) / "manifest.json").read_bytes())
    return content
