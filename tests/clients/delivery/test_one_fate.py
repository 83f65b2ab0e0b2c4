"""One fate for each event: what is kept is never called refused, and what is promised of the disk is true."""

from __future__ import annotations

import errno
import os
import shutil
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from loopline.delivery import spool as spools
from loopline.delivery.segments import frame
from loopline.delivery.sender import Sender
from loopline.delivery.spool import Spool
from loopline.errors import Closed, SpoolUnavailable
from tests.clients.conftest import QUICK, Make
from tests.services.fake_server import FakeServer, serving
from tests.services.ports import free_port

EVENTS = [b'{"id":"e-%d"}' % number for number in range(10)]
Break = Callable[[pytest.MonkeyPatch], None]


def no_sync(patch: pytest.MonkeyPatch) -> None:
    """The disk answers EIO when it is asked to keep a file."""

    def fail(descriptor: int) -> None:
        raise OSError(errno.EIO, "Input/output error")

    patch.setattr(spools, "fdatasync", fail)


def no_name(patch: pytest.MonkeyPatch) -> None:
    """The disk answers EIO when it is asked to keep a name."""

    def fail(folder: Path) -> None:
        raise OSError(errno.EIO, "Input/output error")

    patch.setattr(spools, "sync_folder", fail)


def no_descriptor(patch: pytest.MonkeyPatch) -> None:
    """The process has as many files open as it may."""

    def fail(descriptor: int) -> int:
        raise OSError(errno.EMFILE, "Too many open files")

    patch.setattr(os, "dup", fail)


def no_room(patch: pytest.MonkeyPatch) -> None:
    """The disk is full: half of a line is written, and nothing after it."""
    write = os.pwrite

    def fail(descriptor: int, content: bytes, offset: int) -> int:
        if b"thumb" not in content:
            raise OSError(errno.ENOSPC, "No space left on device")
        return write(descriptor, content[: len(content) // 2], offset)

    patch.setattr(os, "pwrite", fail)


@pytest.fixture(params=[no_sync, no_name, no_descriptor, no_room])
def broken(request: pytest.FixtureRequest) -> Break:
    """A way in which a disk does not keep an event."""
    way: Break = request.param
    return way


def refusals() -> tuple[list[Any], Callable[[Any, Any], None]]:
    """What was handed to `on_refused`, and the function that notes it."""
    told: list[Any] = []
    return told, lambda event, problem: told.append(event)


def test_a_strict_call_says_that_its_event_is_kept_and_not_synced(
    tmp_path: Path, make: Make, broken: Break
) -> None:
    """It raises SpoolUnavailable, and the event is sent all the same, once."""
    port = free_port()
    client = make(
        url=f"http://127.0.0.1:{port}",
        spool=tmp_path / "spool",
        spool_sync="call",
        strict=True,
        pauses=QUICK._replace(look=0.0),
    )
    with pytest.MonkeyPatch.context() as patch:
        broken(patch)
        with pytest.raises(SpoolUnavailable, match="is kept and will be sent"):
            client.thumb("p-1", "up", id="e-1")
    said = client.stats()
    assert (said["unsynced"], said["invalid"], said["dropped"]) == (1, 0, 0)
    assert said["queued"] + said["spooled"] == 1
    client.thumb("p-1", "down", id="e-2")
    assert client.stats()["unsynced"] == 1
    with serving(port) as server:
        assert client.flush(10)
        assert server.times_accepted == {"e-1": 1, "e-2": 1}


def test_a_call_that_is_not_strict_counts_what_is_not_synced(
    server: FakeServer, tmp_path: Path, make: Make, broken: Break
) -> None:
    """Its event is counted as unsynced, neither as invalid nor handed to on_refused, and arrives."""
    told, note = refusals()
    client = make(spool=tmp_path / "spool", spool_sync="call", on_refused=note)
    with pytest.MonkeyPatch.context() as patch:
        broken(patch)
        assert client.thumb("p-1", "up", id="e-1") == "e-1"
    assert client.flush(10)
    said = client.stats()
    assert (said["unsynced"], said["invalid"], said["dropped"], said["accepted"]) == (1, 0, 0, 1)
    assert not told
    assert server.accepted.keys() == {"e-1"}


def test_a_call_that_does_not_sync_promises_no_sync(tmp_path: Path, make: Make) -> None:
    """With `soon` and a disk that syncs nothing, a strict call returns: a process's death loses nothing."""
    away = f"http://127.0.0.1:{free_port()}"
    client = make(url=away, spool=tmp_path / "spool", strict=True)
    with pytest.MonkeyPatch.context() as patch:
        no_sync(patch)
        client.thumb("p-1", "up")
    assert (client.stats()["unsynced"], client.stats()["spooled"]) == (0, 1)


def test_who_waits_for_a_sync_that_fails_is_told_so(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The system reports a failed write once: who waited does not take a later success for its own."""
    asked, go, waits, calls = threading.Event(), threading.Event(), threading.Event(), []
    lock = threading.RLock

    class Seen:
        """A lock that says when somebody has to wait for it."""

        def __init__(self) -> None:
            self._lock = lock()

        def __enter__(self) -> None:
            if not self._lock.acquire(blocking=False):
                waits.set()
                self._lock.acquire()

        def __exit__(self, *error: object) -> None:
            self._lock.release()

    with monkeypatch.context() as patch:
        patch.setattr(threading, "RLock", Seen)
        spool = Spool(tmp_path / "spool")

    def fail_once(descriptor: int) -> None:
        calls.append(descriptor)
        if len(calls) == 1:
            asked.set()
            assert go.wait(10)
            raise OSError(errno.EIO, "Input/output error")

    monkeypatch.setattr(spools, "fdatasync", fail_once)
    spool.append(EVENTS[:2])
    answers: list[bool] = []
    first = threading.Thread(target=lambda: answers.append(spool.sync()))
    first.start()
    assert asked.wait(10)
    waits.clear()
    second = threading.Thread(target=lambda: answers.append(spool.sync()))
    second.start()
    assert waits.wait(10)
    go.set()
    first.join()
    second.join()
    assert answers == [False, False]
    assert spool.sync(), "who asks later tries again"
    spool.close()


def test_a_disk_that_never_syncs_costs_no_more_each_time(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A sync that fails asks for as many files as the one before."""
    asked: list[int] = []

    def fail(descriptor: int) -> None:
        asked.append(descriptor)
        raise OSError(errno.EIO, "Input/output error")

    spool = Spool(tmp_path / "spool")
    opened: list[int] = []
    dup = os.dup

    def note(descriptor: int) -> int:
        opened.append(descriptor)
        return dup(descriptor)

    monkeypatch.setattr(spools, "fdatasync", fail)
    monkeypatch.setattr(os, "dup", note)
    for event in EVENTS:
        spool.put(event)
        assert not spool.sync()
    assert len(opened) == len(asked) == len(EVENTS)
    spool.forget()


def test_a_folder_that_was_removed_is_made_again(tmp_path: Path, make: Make) -> None:
    """What waits is written into a new file that has a name, before the call says that it is synced."""
    port, folder = free_port(), tmp_path / "spool"
    client = make(url=f"http://127.0.0.1:{port}", spool=folder, spool_sync="call")
    client.thumb("p-1", "up", id="e-1")
    shutil.rmtree(folder)
    client.thumb("p-1", "up", id="e-2")
    assert client.stats()["unsynced"] == 0
    client.thumb("p-1", "up", id="e-3")
    assert client.stats()["unsynced"] == 0
    (path,) = folder.iterdir()
    assert all(id in path.read_bytes() for id in (b"e-1", b"e-2", b"e-3"))
    assert folder.stat().st_mode & 0o077 == 0
    with serving(port) as server:
        assert client.flush(10)
        assert server.times_accepted == {"e-1": 1, "e-2": 1, "e-3": 1}


@pytest.mark.parametrize("look", [Spool.sync, Spool.adopt])
def test_a_look_finds_that_the_folder_was_removed(tmp_path: Path, look: Callable[[Spool], int]) -> None:
    """A sync and a look around: what was written before and after it lies in a file that has a name."""
    folder = tmp_path / "spool"
    spool = Spool(folder)
    spool.put(EVENTS[0])
    shutil.rmtree(folder)
    look(spool)
    (path,) = folder.iterdir()
    assert EVENTS[0] in path.read_bytes()
    spool.put(EVENTS[1])
    assert spool.sync()
    assert EVENTS[1] in path.read_bytes()
    assert spool.waiting == 2
    spool.close()


def test_a_file_that_holds_only_a_torn_line_is_counted_and_removed(tmp_path: Path) -> None:
    """A process that died in its first write left one torn line and no event."""
    folder = tmp_path / "spool"
    first = Spool(folder)
    first.put(EVENTS[0])
    first.forget()
    (path,) = folder.iterdir()
    path.write_bytes(path.read_bytes()[: -len(frame(EVENTS[0])) // 2])
    second = Spool(folder)
    assert second.adopt() == 0
    assert second.torn == 1
    assert not list(folder.iterdir())
    second.close()


def test_what_goes_wrong_after_an_event_is_kept_does_not_make_it_invalid(
    server: FakeServer, tmp_path: Path, make: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whatever fails between keeping and returning: the event is neither invalid nor handed to on_refused."""
    told, note = refusals()
    client = make(spool=tmp_path / "spool", on_refused=note)
    put = Sender.put

    def stumble(sender: Sender, event: bytes) -> object:
        put(sender, event)
        raise MemoryError

    monkeypatch.setattr(Sender, "put", stumble)
    assert client.thumb("p-1", "up", id="e-1") == "e-1"
    assert client.flush(10)
    assert (client.stats()["invalid"], client.stats()["accepted"]) == (0, 1)
    assert not told


def test_a_closed_strict_client_keeps_nothing(tmp_path: Path, make: Make) -> None:
    """What raises Closed is in no file."""
    away = f"http://127.0.0.1:{free_port()}"
    client = make(url=away, spool=tmp_path / "spool", spool_sync="call", strict=True)
    client.close()
    with pytest.raises(Closed):
        client.thumb("p-1", "up")
    assert not list((tmp_path / "spool").glob("*.spool"))
    assert (client.stats()["dropped"], client.stats()["unsynced"]) == (1, 0)


def test_closing_with_a_full_spool_says_so(
    tmp_path: Path, make: Make, caplog: pytest.LogCaptureFixture
) -> None:
    """What neither the server nor the spool took is dropped, and the log does not advise a spool."""
    client = make(url=f"http://127.0.0.1:{free_port()}", spool=tmp_path / "spool")
    with pytest.MonkeyPatch.context() as patch:
        no_room(patch)
        client.thumb("p-1", "up")
        assert not client.close(0.1)
    assert client.stats()["dropped"] == 1
    assert "the spool did not take them" in caplog.text


def test_a_thread_that_cannot_start_leaves_no_other_behind(
    server: FakeServer, tmp_path: Path, make: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A process with as many threads as it may have keeps events, and never has two senders."""
    start = threading.Thread.start

    def refuse(thread: threading.Thread) -> None:
        if thread.name == refused:
            raise RuntimeError("can't start new thread")
        start(thread)

    for refused in ("loopline-sender", "loopline-spooler"):
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(threading.Thread, "start", refuse)
            client = make(spool=tmp_path / refused)
            client.thumb("p-1", "up", id=refused)
        assert not [each for each in threading.enumerate() if each.name == "loopline-sender"]
        client.thumb("p-1", "up")
        assert client.flush(10)
        client.close()
    assert set(server.times_accepted.values()) == {1}
