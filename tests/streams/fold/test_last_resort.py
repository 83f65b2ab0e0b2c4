"""The last resort: an event that cannot be folded is set aside, visibly, and everything else goes on."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import msgspec
import pytest
import structlog

from schemas.catalog import Catalog
from schemas.kinds import KINDS, THUMB, UnreadableTypes
from streams.log.block import UnreadableBlock, write_block
from streams.log.memory import MemoryLog
from streams.projection.apply import BlockRefused, advance
from streams.projection.rebuild import rebuild, verify
from streams.store.memory import MemoryStore
from streams.store.port import RefusedValue, Store, StoreUnreadable
from streams.store.sqlite.store import SqliteStore, create_store
from streams.store.tables import FACTS, LABELS, as_row
from streams.views.registry import TABLES
from tests.streams.drawn import views
from tests.streams.fold import faulty

Make = Callable[[MemoryLog], Store]


@pytest.fixture(params=["memory", "sqlite"])
def make_store(request: pytest.FixtureRequest, tmp_path: Path) -> Make:
    """Makes an empty store for a log, of each adapter in turn."""

    def make(log: MemoryLog) -> Store:
        if request.param == "memory":
            return MemoryStore(log.identity)
        path = tmp_path / f"views-{len(list(tmp_path.iterdir()))}.sqlite"
        create_store(path, log.identity, TABLES)
        store = SqliteStore(path, writable=True)
        request.addfinalizer(store.close)
        return store

    return make


def test_only_the_event_that_cannot_be_folded_is_set_aside(
    make_store: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It is a dead letter with its place; whatever lies before and behind it is in the views."""
    faulty.put_in(monkeypatch)
    log = faulty.log_in_blocks(4)
    store = faulty.caught_up(log, make_store(log))
    letters = faulty.judged(store)
    assert [(letter.code, letter.id, letter.type) for letter in letters] == [
        ("cannot_fold", "c1", "loopline.feedback.comment.v1"),
        ("cannot_fold", "c4", "loopline.feedback.comment.v1"),
    ]
    with store.snapshot() as snapshot:
        texts = [row[FACTS.columns.index("text")] for row in snapshot.scan(FACTS)]
        assert sorted(filter(None, texts)) == ["fine", "good", "right", "well"]
        assert snapshot.count(LABELS) == 1
        ends = {partition: end for partition, end in log.ends().items() if end}
        assert {partition: at.offset for partition, at in snapshot.positions().items()} == ends


@pytest.mark.parametrize("sizes", [(1,), (3,), (100,)])
@pytest.mark.parametrize("most_events", [1, 3, 16_000])
def test_what_is_set_aside_depends_on_no_batch(
    make_store: Make, monkeypatch: pytest.MonkeyPatch, sizes: tuple[int, ...], most_events: int
) -> None:
    """One block at a time, or all of the log in one transaction: the views are the same."""
    faulty.put_in(monkeypatch)
    log = faulty.log_in_blocks(*sizes)
    store = faulty.caught_up(log, make_store(log), most_events=most_events)
    other = faulty.caught_up(log, MemoryStore(log.identity))
    with store.snapshot() as one, other.snapshot() as two:
        assert views(one, sizes) == views(two, sizes)
        assert verify(log, one, MemoryStore(log.identity)) == []


def test_after_the_fix_a_replay_brings_it_in(make_store: Make, monkeypatch: pytest.MonkeyPatch) -> None:
    """The views built anew are those of a version that never had the defect."""
    log = faulty.log_in_blocks(3)
    with monkeypatch.context() as patch:
        faulty.put_in(patch)
        assert len(faulty.judged(faulty.caught_up(log, make_store(log)))) == 2
    mended = make_store(log)
    rebuild(log, mended)
    assert faulty.judged(mended) == []
    never = faulty.caught_up(log, MemoryStore(log.identity))
    with mended.snapshot() as one, never.snapshot() as two:
        assert views(one, [3]) == views(two, [3])


def test_neither_letter_nor_log_line_repeats_what_the_event_says(monkeypatch: pytest.MonkeyPatch) -> None:
    """The error's own text might."""
    faulty.put_in(monkeypatch)
    log = faulty.log_in_blocks(3)
    with structlog.testing.capture_logs() as lines:
        letters = faulty.judged(faulty.caught_up(log, MemoryStore(log.identity)))
    assert len(lines) == len(letters) == 2
    assert {line["error"] for line in lines} == {"Defect"}
    assert all("boom" not in str(said) for said in [*lines, *map(as_row, letters)])


class _Refusing:
    """A store that breaks when it is to write a certain text, with an error of its own.

    `always`: whatever it is to write.
    """

    def __init__(self, store: Store, error: Exception, *, always: bool = False) -> None:
        self._store, self._error, self._always = store, error, always
        self.log, self.views_version = store.log, store.views_version
        self.snapshot, self.close = store.snapshot, store.close

    @contextmanager
    def transaction(self, partitions: Any, *, alone: bool = False) -> Any:
        with self._store.transaction(partitions, alone=alone) as transaction:
            insert = transaction.insert

            def refusing(table: Any, rows: Any) -> None:
                if table is FACTS and any("boom" in row for row in rows):
                    raise self._error
                insert(table, rows)

            def never(positions: Any) -> None:
                raise self._error

            if self._always:
                transaction.advance = never  # type: ignore[method-assign]  # a fault of this one transaction
            transaction.insert = refusing  # type: ignore[method-assign]  # a fault of this one transaction
            yield transaction


def test_a_value_that_a_store_cannot_hold_is_set_aside(make_store: Make) -> None:
    """What the database says of the data is no reason to try for ever."""
    log = faulty.log_in_blocks(100)
    store = _Refusing(make_store(log), RefusedValue("no room"))
    assert [letter.code for letter in faulty.judged(faulty.caught_up(log, store))] == ["cannot_fold"] * 2


@pytest.mark.parametrize("error", [OSError("disk"), MemoryError(), StoreUnreadable("database is full")])
def test_what_no_event_is_to_blame_for_stops_as_ever(make_store: Make, error: Exception) -> None:
    """A full disk sets nothing aside: it is tried again, and nothing is skipped."""
    log = faulty.log_in_blocks(100)
    store = _Refusing(make_store(log), error)
    with pytest.raises(type(error)):
        faulty.caught_up(log, store)
    assert faulty.judged(store) == []
    with store.snapshot() as snapshot:
        # Both lie in one transaction.
        assert snapshot.positions() == {}
        assert snapshot.count(FACTS) == 0


def test_a_block_that_cannot_be_applied_at_all_refuses_by_name(make_store: Make) -> None:
    """Not even without its events: a person has to look, and knows where."""
    log = faulty.log_in_blocks(100)
    store = _Refusing(make_store(log), ValueError("secret"), always=True)
    with pytest.raises(BlockRefused, match="block 0 of partition") as caught:
        faulty.caught_up(log, store)
    assert "secret" not in str(caught.value)


def _thumb(**more: Any) -> dict[str, Any]:
    return {
        "specversion": "1.0",
        "id": "t1",
        "source": "/s",
        "type": "loopline.feedback.thumb.v1",
        "time": "2026-11-20T09:00:00Z",
        "data": {"prediction_id": "p", "value": "up"},
        **more,
    }


def _log_with(*events: Any) -> MemoryLog:
    log = MemoryLog(1)
    items = [event if isinstance(event, bytes) else msgspec.json.encode(event) for event in events]
    log.append([(0, write_block(["loopline.feedback.thumb.v1"], [(1, len(items))], items))])
    return log


@pytest.mark.parametrize(
    "odd",
    [
        pytest.param(_thumb(id="odd", time="yesterday"), id="a time that cannot be read"),
        pytest.param(_thumb(id="odd", data={"value": "up"}), id="nothing that it is about"),
        pytest.param(_thumb(id="odd", data=7), id="data of another kind"),
    ],
)
def test_an_event_that_cannot_even_be_read_is_set_aside(make_store: Make, odd: Any) -> None:
    """What admission once let in does not stop the worker of today."""
    log = _log_with(_thumb(), odd, _thumb(id="t2"))
    store = faulty.caught_up(log, make_store(log))
    [letter] = faulty.judged(store)
    assert (letter.code, letter.id, letter.source, letter.place) == ("cannot_fold", "odd", "/s", 1)
    with store.snapshot() as snapshot:
        assert snapshot.count(FACTS) == 2
        assert verify(log, snapshot, MemoryStore(log.identity)) == []


def test_a_type_of_a_newer_version_still_stops(make_store: Make) -> None:
    """Also when the block's header does not list it, and when another event beside it cannot be read."""
    log = _log_with(_thumb(time="yesterday"), _thumb(type="loopline.feedback.smell.v1"))
    with pytest.raises(UnreadableTypes, match="smell"):
        faulty.caught_up(log, make_store(log))


def test_a_damaged_block_still_stops(make_store: Make) -> None:
    """A body that is no list of items, or another number of them than the header tells."""
    for body, count in ((b"oops", 1), (msgspec.json.encode(_thumb()), 3)):
        log = MemoryLog(1)
        log.append([(0, write_block(["loopline.feedback.thumb.v1"], [(1, count)], [body]))])
        with pytest.raises(UnreadableBlock, match="damaged"):
            faulty.caught_up(log, make_store(log))


def test_an_upcaster_that_fails_on_one_event_sets_that_one_aside(make_store: Make) -> None:
    """The others of its type are lifted as ever."""

    def upcast(data: dict[str, Any]) -> dict[str, Any]:
        return {"prediction_id": "p", "value": data["thumb"]}

    catalog = Catalog({**KINDS, THUMB.name: replace(THUMB, version=2)}, {"feedback.thumb.v1": upcast})
    log = _log_with(_thumb(id="a", data={"thumb": "up"}), _thumb(id="b", data={}))
    store = make_store(log)
    while advance(log, store, catalog=catalog):
        pass
    assert [(letter.code, letter.id) for letter in faulty.judged(store)] == [("cannot_fold", "b")]
    with store.snapshot() as snapshot:
        [fact] = snapshot.scan(FACTS)
    assert fact[FACTS.columns.index("value")] == "up"
