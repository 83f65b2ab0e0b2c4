"""Releases whose event nobody has sent, as a command leaves them that dies right after publishing."""

from __future__ import annotations

import json
from pathlib import Path

from schemas import kinds
from streams.log.block import items_of, read_block
from streams.log.port import DEAD, Log
from streams.store.port import Store
from streams.store.tables import DEAD_LETTERS, MODEL_EVENTS
from tests.crash.load import TIME

MODEL = "released"


def put_release(shelf: Path, log_id: str, version: int) -> None:
    """Publish a version that says no more of itself than its event repeats; whole, as a release appears."""
    manifest = {
        "name": f"{MODEL}@{version}",
        "model": MODEL,
        "version": version,
        "content_hash": f"sha256:{version}",
        "as_of": "0:0",
        "rows": 0,
        "log": {"id": log_id},
        "released_at": TIME,
        "parents": [],
        "recipe": {"filters": {"env": "prod"}},
    }
    place = shelf / MODEL / str(version)
    place.mkdir(parents=True)
    (place / "manifest.new").write_text(json.dumps(manifest))
    (place / "manifest.new").rename(place / "manifest.json")


def announced(store: Store) -> int:
    """How many releases the views have an event of."""
    with store.snapshot() as views:
        assert views.count(DEAD_LETTERS) == 0
        return views.count(MODEL_EVENTS, {"kind": kinds.DATASET_RELEASED.name})


def copies(log: Log) -> int:
    """How many events of releases are in the log."""
    found = 0
    for partition, end in log.ends().items():
        if partition != DEAD:
            for record in log.read(partition, 0, end):
                _, body = read_block(record)
                found += sum(kinds.DATASET_RELEASED.type.encode() in item for item in items_of(body))
    return found
