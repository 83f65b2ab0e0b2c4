"""A spool whose files are taken from under it: closed, removed, moved away, or unreadable for a while."""

from __future__ import annotations

import errno
import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from loopline.delivery.spool import Spool
from tests.clients.delivery.test_spooling import until

EVENTS = [b'{"id":"e-%d"}' % number for number in range(6)]


def read_all(spool: Spool) -> list[bytes]:
    """Everything that waits there, acknowledged as it is read."""
    found: list[bytes] = []
    while (batch := spool.peek(2, 10_000)) is not None:
        found += batch.events
        spool.acknowledge(batch)
    return found


def left_in(folder: Path) -> list[bytes]:
    """What the next process finds."""
    heir = Spool(folder)
    heir.adopt()
    found = read_all(heir)
    heir.close()
    return sorted(found)


def take_away(folder: Path) -> None:
    """A cleaner removes it."""
    shutil.rmtree(folder)


def replace(folder: Path) -> None:
    """A deploy moves it away and makes another."""
    folder.rename(folder.with_name("old"))
    folder.mkdir(mode=0o700)


LOOKS: dict[str, Callable[[Spool], object]] = {
    "call": lambda spool: spool.put(EVENTS[4]),
    "sync": Spool.sync,
    "adopt": Spool.adopt,
}


@pytest.mark.parametrize("look", LOOKS.values(), ids=LOOKS.keys())
@pytest.mark.parametrize("lose", [take_away, replace])
def test_a_folder_that_is_gone_is_begun_anew_with_what_waits(
    tmp_path: Path,
    lose: Callable[[Path], None],
    look: Callable[[Spool], object],
    caplog: pytest.LogCaptureFixture,
) -> None:
    """What waits and what comes after lies in files that the next process finds; the log says it once."""
    folder = tmp_path / "spool"
    spool = Spool(folder, segment_bytes=10_000, look_every_s=0.0)
    spool.append(EVENTS[:3])
    first = spool.peek(1, 10_000)
    assert first is not None
    lose(folder)
    look(spool)
    spool.acknowledge(first)
    spool.put(EVENTS[5])
    said = {*EVENTS[1:3], EVENTS[5], *([EVENTS[4]] if look is LOOKS["call"] else [])}
    assert len([line for line in caplog.messages if "removed or moved" in line]) == 1
    # As a killed process leaves it.
    spool.forget()
    assert left_in(folder) == sorted(said)


def test_a_folder_that_cannot_be_made_again_loses_no_event_that_can_be_read(tmp_path: Path) -> None:
    """A file lies where the folder was: calls are told, and what was written before is sent all the same."""
    folder = tmp_path / "spool"
    spool = Spool(folder)
    spool.append(EVENTS[:3])
    shutil.rmtree(folder)
    folder.write_bytes(b"")
    assert not spool.put(EVENTS[3])
    assert not spool.sync()
    assert spool.adopt() == 0
    assert read_all(spool) == EVENTS[:3]
    spool.close()


def test_looking_around_in_a_folder_that_is_gone_finds_nothing(tmp_path: Path) -> None:
    """Without a file of its own a spool has nothing to write anew."""
    spool = Spool(tmp_path / "spool")
    shutil.rmtree(tmp_path / "spool")
    assert spool.adopt() == 0
    spool.close()


USES: dict[str, Callable[[Spool], object]] = {
    "call": lambda spool: spool.put(EVENTS[3]),
    "append": lambda spool: spool.append(EVENTS[3:4]),
    "sync": Spool.sync,
    "adopt": Spool.adopt,
    "read": lambda spool: spool.peek(1, 10_000),
    "close": Spool.close,
    "forget": Spool.forget,
}


@pytest.mark.parametrize("reused", [False, True], ids=["closed", "another file"])
@pytest.mark.parametrize("use", USES.values(), ids=USES.keys())
def test_a_descriptor_that_is_another_file_s_is_left_alone(
    tmp_path: Path, use: Callable[[Spool], object], reused: bool
) -> None:
    """A daemon closes everything, and the number goes to the product's file: nothing of ours gets there."""
    folder, victim = tmp_path / "spool", tmp_path / "victim"
    victim.write_bytes(b"the product's own\n" * 50)
    spool = Spool(folder)
    spool.append(EVENTS[:3])
    batch = spool.peek(1, 10_000)
    assert batch is not None
    number = batch.segment.descriptor
    theirs = os.open(victim, os.O_RDWR)
    os.dup2(theirs, number)
    if not reused:
        os.close(number)
    said = [*EVENTS[:3], *([EVENTS[3]] if use in (USES["call"], USES["append"]) else [])]
    use(spool)
    if use not in (USES["close"], USES["forget"]):
        spool.acknowledge(batch)
        said = said[1:]
    if reused:
        assert os.fstat(number).st_ino == victim.stat().st_ino
        os.close(number)
    os.close(theirs)
    spool.forget()
    assert left_in(folder) == said
    assert victim.read_bytes() == b"the product's own\n" * 50


def test_a_spool_stays_where_it_was_made(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A relative folder is that of the moment when the client was made, whatever a daemon does then."""
    monkeypatch.chdir(tmp_path)
    spool = Spool("spool")
    (tmp_path / "elsewhere").mkdir()
    os.chdir(tmp_path / "elsewhere")
    spool.put(EVENTS[0])
    spool.forget()
    spool.put(EVENTS[1])
    spool.forget()
    assert left_in(tmp_path / "spool") == EVENTS[:2]
    assert not list((tmp_path / "elsewhere").iterdir())


def test_a_file_that_cannot_be_read_is_kept_and_read_later(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """EIO and ENOMEM pass: the events count as waiting, the log says so, others are read meanwhile."""
    spool = Spool(tmp_path / "spool", segment_bytes=100, read_again_s=0.05)
    spool.append(EVENTS)
    first, *others = sorted((tmp_path / "spool").iterdir())
    broken, read = first.stat(), os.pread

    def fail(descriptor: int, count: int, offset: int) -> bytes:
        if os.path.samestat(os.fstat(descriptor), broken):
            raise OSError(errno.EIO, "Input/output error")
        return read(descriptor, count, offset)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(os, "pread", fail)
        found = read_all(spool)
    assert others
    assert found == EVENTS[len(EVENTS) - len(found) :]
    assert spool.waiting == len(EVENTS) - len(found) > 0
    assert "its events wait there" in caplog.text
    later: list[bytes] = []

    def read_again() -> bool:
        later.extend(read_all(spool))
        return bool(later)

    until(read_again)
    assert later + found == EVENTS
    spool.close()


def test_a_mark_that_cannot_be_set_back_hides_no_later_event(tmp_path: Path) -> None:
    """A file is emptied and its mark cannot be written: the next process still finds what came after."""
    folder = tmp_path / "spool"
    spool = Spool(folder)
    spool.append(EVENTS[:4])
    batch = spool.peek(3, 10_000)
    assert batch is not None
    spool.acknowledge(batch)
    batch = spool.peek(3, 10_000)
    assert batch is not None
    write = os.pwrite

    def fail(descriptor: int, content: bytes, offset: int) -> int:
        if offset == 0:
            raise OSError(errno.EIO, "Input/output error")
        return write(descriptor, content, offset)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(os, "pwrite", fail)
        spool.acknowledge(batch)
        assert spool.put(EVENTS[5])
    spool.forget()
    assert EVENTS[5] in left_in(folder)


LATE = """
import atexit, sys
atexit.register(lambda: client.thumb("p-1", "up", id="late"))
from loopline import Client
client = Client("http://127.0.0.1:1", "/late", spool=sys.argv[1])
"""


def test_what_is_said_after_the_exit_hook_lies_in_the_spool(tmp_path: Path) -> None:
    """A product's own hook that runs after ours speaks too: the file could take it, and does."""
    folder = tmp_path / "spool"
    subprocess.run([sys.executable, "-c", LATE, str(folder)], check=True, capture_output=True, timeout=60)
    (event,) = left_in(folder)
    assert b'"late"' in event
