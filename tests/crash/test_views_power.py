"""A power cut while views are built: the disk keeps a whole state of them, and the worker goes on from there.

The store leaves syncs to SQLite's checkpoints, so it may fall back; it may not come back half. As in
`test_fsync`, the disk is put together from the worker's system calls, here at many instants.
"""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from random import Random

import pytest

from feedback.installation.home import Home
from feedback.processes.home_server import InProcess
from streams.log.port import Positions
from streams.log.sqlite import SqliteLog
from streams.projection.apply import advance, check
from streams.store.compare import differences
from streams.store.memory import MemoryStore
from streams.store.port import Store
from streams.store.sqlite.store import SqliteStore
from streams.views.registry import TABLES
from tests.crash.load import batch
from tests.crash.power import Disk, anything
from tests.crash.tracing import FILE_WRITE, Call, calls, traced
from tests.feedback.running import until
from tests.streams.asking import BATCH

pytestmark = pytest.mark.trace

_BATCHES, _CUTS = 60, 25
# Small transactions, and a checkpoint every few of them: else there were one of each.
_WORKER = """
import sys
from feedback.processes.home_server import main
from streams.projection import apply as projection
from streams.store.sqlite import store as sqlite

projection._READ_BLOCKS = 2
projection.advance.__kwdefaults__["most_events"] = 10
sqlite._WRITER = tuple(setting for setting in sqlite._WRITER if "wal_autocheckpoint" not in setting)
sqlite._WRITER += ("wal_autocheckpoint=15",)
sys.exit(main())
"""


def _send(home: Home, numbers: range) -> None:
    service = InProcess(home)
    try:
        for number in numbers:
            body = json.dumps(batch(0, number)).encode()
            assert service.request("POST", "/v1/events", body, {"content-type": BATCH}).status == 200
    finally:
        service.close()


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, dict[str, bytes], list[Call]]:
    """A log; the views of its first block as they were on disk; and how a worker built the rest."""
    folder = tmp_path_factory.mktemp("views")
    home = Home(folder / "home")
    home.create(2)
    _send(home, range(1))
    path = home.current_path()
    assert path is not None
    before = {str(path): path.read_bytes()}
    _send(home, range(1, _BATCHES))
    path.write_bytes(before[str(path)])
    assert sorted(each.name for each in home.stores.glob("views-*")) == [path.name]
    worker = [sys.executable, "-P", "-c", _WORKER, "worker", str(home.path)]
    process = subprocess.Popen(traced(worker, folder / "trace"), stdin=subprocess.PIPE, process_group=0)
    try:
        until(lambda: _positions(home.current_store()) == _ends(home), "the views to be built")
    finally:
        home.close()
        assert process.stdin is not None
        process.stdin.close()
        process.wait(60)
    seen = calls((folder / "trace").read_text())
    ours = [each for each in seen if home.stores in (Path(each.target), Path(each.target).parent)]
    return home.log_path, before, ours


def _positions(store: Store) -> Positions:
    with store.snapshot() as snapshot:
        return {partition: applied.offset for partition, applied in snapshot.positions().items()}


def _ends(home: Home) -> Positions:
    log = home.open_log()
    try:
        return log.ends()
    finally:
        log.close()


def _cuts(seen: list[Call]) -> Iterator[int]:
    """Instants of a power cut: some at random, and the end."""
    random = Random(20261121)
    written = [call.began for call in seen if call.name == FILE_WRITE]
    yield from sorted(random.sample(range(written[0], written[-1]), _CUTS))
    yield written[-1] + 1


def test_views_after_a_power_cut_are_whole_and_go_on(
    built: tuple[Path, dict[str, bytes], list[Call]], tmp_path: Path
) -> None:
    """At whatever instant, with whatever else of the writes: a state that was, and the same end."""
    log_path, before, seen = built
    log = SqliteLog(log_path)
    whole = MemoryStore(log.identity)
    while advance(log, whole):
        pass
    disk, random = Disk(before, seen), Random(20261122)
    stood = set()
    for number, cut in enumerate(_cuts(seen)):
        folder = tmp_path / str(number)
        folder.mkdir()
        for path, content in disk.after_a_cut(cut, anything(random)).items():
            (folder / Path(path).name).write_bytes(content)
        store = SqliteStore(next(folder.glob("*.sqlite")), writable=True)
        check(log, store)
        stood.add(tuple(sorted(_positions(store).items())))
        while advance(log, store):
            pass
        with store.snapshot() as left, whole.snapshot() as right:
            assert differences(left, right, TABLES) == []
        store.close()
        shutil.rmtree(folder)
    log.close()
    # They did fall back, to several different states: else no cut was tried.
    assert len(stood) > 3, stood
