"""The golden log: whoever changes what its fold gives raises the version of the views.

`golden/log.json` holds the records of a log, `golden/views.json` what they fold to under the version
that it names. After a wanted change of the views, raise `VIEWS_VERSION` and write the second file
anew with `python -m tests.streams.projection.test_golden`. The first one stays as it is: old logs must be
read.
"""

from __future__ import annotations

import json
from base64 import b64decode, b64encode
from pathlib import Path
from typing import Any

from streams.log.memory import MemoryLog
from streams.projection.apply import advance
from streams.store.memory import MemoryStore
from streams.store.tables import VIEWS_VERSION
from tests.streams.dense import dense_history
from tests.streams.drawn import log_of, views

_FOLDER = Path(__file__).with_name("golden")
_PARTITIONS = 2
_BLOCK_SIZES = [20]


def _golden_log() -> MemoryLog:
    log = MemoryLog(_PARTITIONS)
    for partition, record in json.loads((_FOLDER / "log.json").read_text()):
        log.append([(partition, b64decode(record))])
    return log


def _folded(log: MemoryLog) -> dict[str, Any]:
    store = MemoryStore(log.identity)
    while advance(log, store):
        pass
    with store.snapshot() as snapshot:
        shown = views(snapshot, _BLOCK_SIZES)
    return {"views_version": VIEWS_VERSION, "views": json.loads(json.dumps(shown, default=bytes.hex))}


def test_the_fold_of_the_golden_log_changes_only_with_the_version_of_the_views() -> None:
    """A store says which version of the views built it, and that must tell different views apart."""
    assert _folded(_golden_log()) == json.loads((_FOLDER / "views.json").read_text())


def test_the_golden_log_fills_every_view_but_those_of_replays_and_many_votes() -> None:
    """The golden log is worth comparing: hardly a view of it is empty."""
    empty = [name for name, rows in _folded(_golden_log())["views"].items() if not rows]
    assert empty == ["candidates", "replayed"]


def _write() -> None:
    _FOLDER.mkdir(exist_ok=True)
    if not (_FOLDER / "log.json").exists():
        log = log_of(dense_history(9, 250), _PARTITIONS, _BLOCK_SIZES)
        records = [
            [partition, b64encode(record).decode()]
            for partition, end in log.ends().items()
            for record in log.read(partition, 0, end)
        ]
        (_FOLDER / "log.json").write_text(json.dumps(records, indent=0) + "\n")
    (_FOLDER / "views.json").write_text(json.dumps(_folded(_golden_log()), indent=1) + "\n")


if __name__ == "__main__":
    _write()
