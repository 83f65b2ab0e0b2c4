"""A home: what lies where, who may write, and how one store takes another's place."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest

from feedback.installation.home import Home, HomeMissing, HomeRefused, Locked, ServerInfo
from streams.log.port import DEAD
from streams.store.port import StoreUnreadable
from streams.store.tables import VIEWS_VERSION


@pytest.fixture
def home(tmp_path: Path) -> Iterator[Home]:
    """A home with an empty log of two partitions."""
    made = Home(tmp_path / "home")
    made.create(2)
    yield made
    made.close()


def test_a_new_home_has_an_empty_log_and_is_its_owners_alone(home: Home) -> None:
    """The log is there with its partitions, and others cannot look in."""
    assert [path.name for path in home.path.iterdir()] == ["log.sqlite"]
    assert home.path.stat().st_mode & 0o077 == 0
    with closing(home.open_log()) as log:
        assert log.ends() == {0: 0, 1: 0, DEAD: 0}


def test_a_home_is_made_once(home: Home) -> None:
    """A second log is refused, for it would hide the first."""
    with pytest.raises(HomeRefused):
        home.create(2)


def test_views_without_their_log_are_not_given_a_new_one(home: Home) -> None:
    """A lost log is told, and not replaced by an empty one."""
    with closing(home.open_log()) as log:
        home.switch(home.new_store(log.identity))
    home.log_path.unlink()
    with pytest.raises(HomeRefused, match="restore"):
        home.create(2)


def test_a_missing_home_says_how_to_make_one(tmp_path: Path) -> None:
    """The refusal names the place and the command."""
    with pytest.raises(HomeMissing, match="loopline up"):
        Home(tmp_path / "nowhere").open_log()


def test_half_a_home_is_none(tmp_path: Path) -> None:
    """What a killed creation has left is not taken for a log, and does not stand in the way."""
    home = Home(tmp_path)
    (tmp_path / "log.sqlite.new").write_bytes(b"half")
    assert not home.exists()
    home.create(1)
    with closing(home.open_log()) as log:
        assert log.identity.partitions == 1


def test_a_switch_is_seen_by_those_who_read(home: Home) -> None:
    """The store that is read changes with the pointer, and the others are removed."""
    with closing(home.open_log()) as log:
        first, second = home.new_store(log.identity), home.new_store(log.identity)
        with pytest.raises(HomeMissing):
            home.current_store()
        home.switch(first)
        old = home.current_store()
        assert home.current_store() is old
        assert first.exists()
        assert not second.exists()
        third = home.new_store(log.identity)
        assert home.current_store() is old
        home.switch(third)
        assert home.current_store() is not old
        assert home.current_store().views_version == VIEWS_VERSION
    assert {path.name for path in home.stores.glob("views-*.sqlite")} == {third.name}


def test_an_old_reader_finishes_after_a_switch(home: Home) -> None:
    """A snapshot that is open when the stores change is read to its end."""
    with closing(home.open_log()) as log:
        home.switch(home.new_store(log.identity))
        with home.current_store().snapshot() as snapshot:
            home.switch(home.new_store(log.identity))
            home.current_store()
            assert snapshot.positions() == {}


def test_a_damaged_pointer_is_told(home: Home) -> None:
    """A pointer that names no store is not followed."""
    home.stores.mkdir()
    (home.stores / "CURRENT").write_text("../../etc/passwd")
    with pytest.raises(HomeRefused, match="damaged"):
        home.current_path()


def test_one_may_append(home: Home) -> None:
    """The second is refused, and told who holds the home."""
    lock = home.lock("serves")
    lock.say("serves", "http://127.0.0.1:1")
    with pytest.raises(Locked, match=rf"process {os.getpid()} \(serves at http://127.0.0.1:1\)"):
        home.lock("sends", wait_s=5.0)
    lock.release()
    home.lock("sends").release()


def test_children_hold_the_home_too(home: Home) -> None:
    """The home is free only when every process that inherited the lock has ended."""
    lock = home.lock("serves")
    with subprocess.Popen(
        [sys.executable, "-c", "input()"], stdin=subprocess.PIPE, pass_fds=[lock.fileno()]
    ) as child:
        lock.release()
        with pytest.raises(Locked):
            home.lock("sends")
        child.communicate()
    home.lock("sends").release()


def test_one_builds_views_at_a_time(home: Home) -> None:
    """A second rebuild is refused while the first one runs."""
    with home.building(), pytest.raises(HomeRefused, match="rebuilt"), home.building():
        pass
    with home.building():
        pass


def test_a_dead_server_is_none(home: Home) -> None:
    """The address of a process that is gone is not believed, though its children hold the home still."""
    lock = home.lock("serves")
    with subprocess.Popen([sys.executable, "-c", ""]) as gone:
        pass
    home.say_server(ServerInfo("http://127.0.0.1:1", gone.pid))
    assert home.server() is None
    home.say_server(ServerInfo("http://127.0.0.1:1", os.getpid()))
    assert home.server() == ServerInfo("http://127.0.0.1:1", os.getpid())
    home.say_server(None)
    assert home.server() is None
    lock.release()


def test_the_worker_is_heard(home: Home) -> None:
    """What the worker says last is what is read; before it says anything it is unknown."""
    assert home.worker_state().state == "unknown"
    home.say_worker("refused", "another log")
    said = home.worker_state()
    assert (said.state, said.reason) == ("refused", "another log")


def test_what_killed_processes_leave_is_swept(home: Home) -> None:
    """Work aside of a process that is gone is removed; that of a living one stays."""
    with subprocess.Popen([sys.executable, "-c", ""]) as gone:
        pass
    left = home.path / f"scratch-{gone.pid}-abc"
    left.mkdir()
    with home.scratch() as mine:
        home.sweep()
        assert mine.exists()
    assert not left.exists()
    assert not mine.exists()


# -------------------------------------------------------------------------------- which server is believed


@pytest.fixture
def served(home: Home) -> Iterator[Home]:
    """A home that a server says it runs on, and holds."""
    lock = home.lock("serves")
    home.say_server(ServerInfo("http://127.0.0.1:1", os.getpid()))
    yield home
    lock.release()


def test_a_server_is_believed_while_the_home_is_held(home: Home) -> None:
    """What it wrote down names it; after it has gone, also by SIGKILL, its note speaks of nobody."""
    lock = home.lock("serves")
    home.say_server(ServerInfo("http://127.0.0.1:1", os.getpid()))
    assert home.server() is not None
    lock.release()
    assert home.server() is None


def test_a_copied_home_has_no_server(served: Home, tmp_path: Path) -> None:
    """The copy's note names the original's server, whose process is alive, and nobody holds the copy."""
    copy = Home(shutil.copytree(served.path, tmp_path / "copy"))
    assert copy.server() is None
    assert served.server() is not None


@pytest.mark.parametrize("which", ["", "server.json"])
def test_what_others_can_write_is_not_believed(served: Home, which: str) -> None:
    """A note, or a folder, that somebody else may have written is refused, with what to do."""
    os.chmod(served.path / which, 0o777)
    with pytest.raises(HomeRefused, match="chmod go-w"):
        served.server()


def test_what_belongs_to_others_is_not_believed(served: Home, monkeypatch: pytest.MonkeyPatch) -> None:
    """A note that another user wrote is refused."""
    monkeypatch.setattr(os, "geteuid", lambda: 4711)
    with pytest.raises(HomeRefused, match="another user"):
        served.server()


def test_a_look_does_not_stand_in_a_servers_way(home: Home) -> None:
    """Whether a home is held is asked while others take it: none of them is refused for that."""
    stop = threading.Event()

    def look() -> None:
        while not stop.is_set():
            home.is_held()

    looking = threading.Thread(target=look)
    looking.start()
    try:
        for _ in range(200):
            home.lock("takes it").release()
    finally:
        stop.set()
        looking.join()


def test_a_store_that_was_replaced_is_let_go_of(tmp_path: Path) -> None:
    """Seconds after the switch, at the next look: until then the disk keeps a file that nobody can see."""
    home = Home(tmp_path / "home", retired_s=-1.0)
    identity = home.create(1)
    home.switch(home.new_store(identity))
    first = home.current_store()
    home.switch(home.new_store(identity))
    assert home.current_store() is not first
    with first.snapshot():
        # Whoever was about to read it still can.
        pass
    home.current_store()
    with pytest.raises(StoreUnreadable, match="was closed"), first.snapshot():
        pass
    held = [os.readlink(each) for each in Path("/proc/self/fd").iterdir() if each.is_symlink()]
    assert not [name for name in held if str(home.path) in name and "(deleted)" in name]
    home.close()
