"""The views of a home: made when they are missing, built anew beside, verified; nothing else is touched."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest

from feedback.installation.home import Home, HomeRefused
from feedback.installation.rebuild import ready_store, rebuild_beside, verify_views
from streams.log.sqlite import SqliteLog
from streams.projection.apply import LogOlderThanStore, advance
from tests.feedback.running import lines, loopline, prediction


def quiet(done: int, total: int) -> None:
    """Shows no progress."""


@pytest.fixture
def home(tmp_path: Path) -> Iterator[Home]:
    """A home with three blocks in its log, and caught up."""
    made = Home(tmp_path / "home")
    made.create(1)
    for number in range(3):
        loopline("--home", made.path, "send", "-", stdin=lines(prediction(number)))
    yield made
    made.close()


@pytest.fixture
def log(home: Home) -> Iterator[SqliteLog]:
    """The home's log."""
    with closing(home.open_log()) as opened:
        yield opened


def stores(home: Home) -> set[str]:
    """The store files of a home."""
    return {path.name for path in home.stores.glob("views-*.sqlite")}


def test_missing_views_are_made(home: Home, log: SqliteLog) -> None:
    """Without a store, or with a pointer to one that is gone, there is an empty one to catch up with."""
    for gone in ("views", "pointer"):
        current = home.current_path()
        assert current is not None
        (current if gone == "views" else home.stores / "CURRENT").unlink()
        store = ready_store(home, log)
        while advance(log, store):
            pass
        assert verify_views(Home(home.path), quiet, 1).differences == []


def test_new_views_take_the_place_of_the_old_ones_and_of_remains(home: Home, log: SqliteLog) -> None:
    """What a killed rebuild has left is removed by the next one; one store is there at the end."""
    old = home.current_path()
    home.new_store(log.identity)
    assert len(stores(home)) == 2
    rebuild_beside(home, log)
    current = home.current_path()
    assert current != old
    assert stores(home) == {current.name if current else ""}
    assert verify_views(Home(home.path), quiet, 1).events == 3


def test_progress_is_told_in_blocks(home: Home, log: SqliteLog) -> None:
    """How many are done, of how many."""
    seen: list[tuple[int, int]] = []
    rebuild_beside(home, log, lambda done, total: seen.append((done, total)))
    assert seen[-1] == (3, 3)


def test_a_rebuild_that_fails_leaves_the_old_views(
    home: Home, log: SqliteLog, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The pointer moves last."""

    def full(*arguments: object, **options: object) -> None:
        raise sqlite3.OperationalError("database or disk is full")

    old = home.current_path()
    monkeypatch.setattr("feedback.installation.rebuild.rebuild", full)
    with pytest.raises(sqlite3.OperationalError):
        rebuild_beside(home, log)
    assert home.current_path() == old
    assert verify_views(Home(home.path), quiet, 1).differences == []


def test_two_do_not_build_at_once(home: Home, log: SqliteLog) -> None:
    """The second is refused, and says why."""
    with home.building(), pytest.raises(HomeRefused, match="rebuilt by another"):
        rebuild_beside(home, log)


def test_views_of_another_version_and_of_a_newer_log_are_not_built_anew(home: Home, log: SqliteLog) -> None:
    """A log that is older than its views is told first: building them anew would hide what it lost."""
    current = home.current_path()
    assert current is not None
    with closing(sqlite3.connect(current)) as connection, connection:
        connection.execute("UPDATE meta SET views_version = 0")
    with closing(sqlite3.connect(home.log_path)) as connection, connection:
        connection.execute("DELETE FROM blocks WHERE place = (SELECT max(place) FROM blocks)")
    with pytest.raises(LogOlderThanStore, match="older than its store"):
        ready_store(home, log)
    assert home.current_path() == current
