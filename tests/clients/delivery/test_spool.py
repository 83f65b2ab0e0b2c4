"""The files a spool writes: what comes back, what a crash may cut, whose they are, how many."""

from __future__ import annotations

import errno
import fcntl
import os
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from loopline.delivery import spool as spools
from loopline.delivery.segments import frame, unframe
from loopline.delivery.spool import Spool
from loopline.errors import SpoolRefused, SpoolUnavailable

EVENTS = [b'{"id":"e-%d","text":"%s"}' % (number, b"x" * number) for number in range(100)]


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Where the spool is."""
    return tmp_path / "spool"


@pytest.fixture
def spool(folder: Path) -> Iterator[Spool]:
    """An empty spool."""
    made = Spool(folder)
    yield made
    made.close()


def drain(spool: Spool, most: int = 7) -> list[bytes]:
    """Read and acknowledge everything, a few at a time."""
    events: list[bytes] = []
    while (batch := spool.peek(most, 1_000)) is not None:
        events += batch.events
        spool.acknowledge(batch)
    return events


def abandon(spool: Spool) -> None:
    """What the death of a process leaves: the files as they are, the locks gone."""
    spool.forget()


@given(st.binary().filter(lambda event: b"\n" not in event))
def test_a_line_reads_back_as_its_event(event: bytes) -> None:
    """Framing and unframing is the identity."""
    line = frame(event)
    assert line.endswith(b"\n")
    assert unframe(line[:-1]) == event


@given(st.binary(min_size=1).filter(lambda event: b"\n" not in event), st.data())
def test_a_damaged_line_is_seen(event: bytes, data: st.DataObject) -> None:
    """A line cut anywhere, or with any byte of its event changed, is no event."""
    line = frame(event)[:-1]
    cut = data.draw(st.integers(0, len(line) - 1))
    assert unframe(line[:cut]) is None
    place = data.draw(st.integers(len(line) - len(event), len(line) - 1))
    flipped = bytes([line[place] ^ data.draw(st.integers(1, 255))])
    assert unframe(line[:place] + flipped + line[place + 1 :]) is None


def test_events_come_back_in_order_and_leave_no_file(spool: Spool, folder: Path) -> None:
    """What was appended is read once, oldest first; at its end a segment is emptied, and removed by close."""
    assert spool.append(EVENTS[:60]) == 60
    assert spool.append(EVENTS[60:]) == 40
    assert spool.waiting == 100
    assert drain(spool) == EVENTS
    assert spool.waiting == 0
    (path,) = folder.iterdir()
    assert path.stat().st_size == len(b"loopline-spool 1 ") + 21
    assert spool.append(EVENTS[:3]) == 3
    assert drain(spool) == EVENTS[:3]
    spool.close()
    assert list(folder.iterdir()) == []


def test_what_was_not_acknowledged_is_read_again(spool: Spool) -> None:
    """Reading removes nothing; only an acknowledgement does."""
    spool.append(EVENTS[:5])
    first = spool.peek(2, 10_000)
    again = spool.peek(2, 10_000)
    assert first is not None
    assert again is not None
    assert first.events == again.events == EVENTS[:2]
    spool.acknowledge(first)
    assert drain(spool) == EVENTS[2:5]


def test_segments_rotate_and_go_one_by_one(folder: Path) -> None:
    """A long outage is many small files, and each goes as soon as it is delivered."""
    spool = Spool(folder, segment_bytes=500)
    assert spool.append(EVENTS[:40]) == 40
    files = len(list(folder.iterdir()))
    assert files > 3
    batch = spool.peek(1_000, 10_000)
    assert batch is not None
    spool.acknowledge(batch)
    assert len(list(folder.iterdir())) == files - 1
    assert batch.events + drain(spool) == EVENTS[:40]
    spool.close()


def test_the_next_process_adopts_only_what_was_not_acknowledged(folder: Path) -> None:
    """After a death, the rest of a half delivered segment is found, and nothing that was acknowledged."""
    first = Spool(folder)
    first.append(EVENTS[:10])
    batch = first.peek(4, 10_000)
    assert batch is not None
    first.acknowledge(batch)
    abandon(first)
    second = Spool(folder)
    assert second.adopt() == 6
    assert drain(second) == EVENTS[4:10]
    second.close()
    assert list(folder.iterdir()) == []


def test_a_living_process_keeps_its_segments(folder: Path) -> None:
    """A locked segment is nobody else's; once its owner is gone exactly one other takes it."""
    owner, other, third = Spool(folder), Spool(folder), Spool(folder)
    owner.append(EVENTS[:10])
    assert other.adopt() == 0
    abandon(owner)
    assert other.adopt() == 10
    assert other.adopt() == 0
    assert third.adopt() == 0
    assert drain(other) == EVENTS[:10]
    for each in (other, third):
        each.close()


def test_a_segment_that_another_adopter_just_removed_is_not_adopted(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Between opening a file and locking it, somebody else may have sent and removed it."""
    first = Spool(folder)
    first.append(EVENTS[:10])
    abandon(first)
    (path,) = folder.iterdir()
    lock = fcntl.flock

    def too_late(descriptor: int, operation: int) -> None:
        path.unlink()
        lock(descriptor, operation)

    monkeypatch.setattr(fcntl, "flock", too_late)
    second = Spool(folder)
    assert second.adopt() == 0
    assert second.waiting == 0
    second.close()


@pytest.mark.parametrize("cut", [1, 5, 20])
def test_a_torn_last_line_costs_only_itself(folder: Path, cut: int) -> None:
    """A process that died while writing leaves half a line: that one is skipped and counted."""
    first = Spool(folder)
    first.append(EVENTS[:10])
    abandon(first)
    (path,) = folder.iterdir()
    os.truncate(path, path.stat().st_size - cut)
    second = Spool(folder)
    assert second.adopt() == 9
    assert drain(second) == EVENTS[:9]
    assert second.torn == 1
    second.close()
    assert list(folder.iterdir()) == []


def test_a_damaged_line_in_the_middle_costs_only_itself(folder: Path) -> None:
    """A flipped byte loses one event, and the ones after it are still read."""
    first = Spool(folder)
    first.append(EVENTS[:10])
    abandon(first)
    (path,) = folder.iterdir()
    path.write_bytes(path.read_bytes().replace(b'"e-4"', b'"E-4"'))
    second = Spool(folder)
    assert second.adopt() == 9
    assert drain(second, most=1) == EVENTS[:4] + EVENTS[5:10]
    assert second.torn == 1
    second.close()


@pytest.mark.parametrize("content", [b"", b"loopline-sp", b"\x00" * 100])
def test_a_file_torn_in_its_first_line_is_cleared(folder: Path, content: bytes) -> None:
    """A segment that never got an event is nothing to adopt, and does not stay for ever."""
    folder.mkdir()
    (folder / "1-x.spool").write_bytes(content)
    spool = Spool(folder)
    assert spool.adopt() == 0
    assert list(folder.iterdir()) == []
    spool.close()


def test_a_header_that_was_torn_means_from_the_beginning(folder: Path) -> None:
    """When the place of the last acknowledgement cannot be read, everything is sent again."""
    first = Spool(folder)
    first.append(EVENTS[:10])
    abandon(first)
    (path,) = folder.iterdir()
    blob = bytearray(path.read_bytes())
    blob[20:25] = b"?????"
    path.write_bytes(blob)
    second = Spool(folder)
    assert second.adopt() == 10
    assert drain(second) == EVENTS[:10]
    second.close()


def test_the_folder_is_bounded(folder: Path) -> None:
    """No more is written than the limit allows, over all processes; what does not fit is told."""
    first = Spool(folder, limit=2_000, segment_bytes=600)
    stored = first.append(EVENTS)
    assert 10 < stored < 100
    second = Spool(folder, limit=2_000, segment_bytes=600)
    assert second.append(EVENTS) == 0
    assert sum(path.stat().st_size for path in folder.iterdir()) <= 2_000 + 38
    assert drain(first) == EVENTS[:stored]
    assert second.append(EVENTS[:5]) == 5
    for each in (first, second):
        each.close()


def test_a_full_disk_tears_nothing(spool: Spool, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """When the disk fills up in the middle of a write, the half that was written is taken back."""
    spool.append(EVENTS[:3])
    size = sum(path.stat().st_size for path in folder.iterdir())
    write, writes = os.pwrite, 0

    def fail_later(descriptor: int, blob: bytes, offset: int) -> int:
        nonlocal writes
        writes += 1
        if writes > 1:
            raise OSError(errno.ENOSPC, "No space left on device")
        return write(descriptor, blob[: len(blob) // 2], offset)

    monkeypatch.setattr(os, "pwrite", fail_later)
    assert spool.append(EVENTS[3:8]) == 0
    monkeypatch.undo()
    assert sum(path.stat().st_size for path in folder.iterdir()) == size
    assert spool.append(EVENTS[8:10]) == 2
    assert drain(spool) == EVENTS[:3] + EVENTS[8:10]
    assert spool.torn == 0


def test_a_closed_spool_is_synced_and_free(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """close() asks the disk to keep what was written and lets others adopt it."""
    synced: list[int] = []
    sync = os.fsync

    def note(descriptor: int) -> None:
        synced.append(descriptor)
        sync(descriptor)

    monkeypatch.setattr(spools, "fdatasync", note)
    first = Spool(folder)
    first.append(EVENTS[:10])
    first.close()
    assert len(synced) == 1
    second = Spool(folder)
    assert second.adopt() == 10
    second.close()


def test_only_this_user_may_read_what_people_said(spool: Spool, folder: Path) -> None:
    """Spooled events hold personal data: neither folder nor files are open to others."""
    spool.append(EVENTS[:1])
    (path,) = folder.iterdir()
    assert path.stat().st_mode & 0o077 == 0
    assert folder.stat().st_mode & 0o077 == 0


def test_a_folder_that_cannot_be_is_refused_by_name(tmp_path: Path) -> None:
    """A file where the folder should be is a SpoolUnavailable that names it."""
    (tmp_path / "taken").write_text("")
    with pytest.raises(SpoolUnavailable, match="taken"):
        Spool(tmp_path / "taken")


def test_a_file_in_which_others_may_write_is_not_sent(folder: Path, caplog: pytest.LogCaptureFixture) -> None:
    """What lies in it could be anybody's: it stays there, and the log says which file and what to do."""
    first = Spool(folder)
    first.append(EVENTS[:3])
    abandon(first)
    (path,) = folder.iterdir()
    path.chmod(0o622)
    second = Spool(folder)
    assert second.adopt() == 0
    assert path.name in caplog.text
    assert "chmod 600" in caplog.text
    path.chmod(0o600)
    assert second.adopt() == 3
    second.close()


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can give files away")
def test_a_file_of_somebody_else_is_not_sent(folder: Path, caplog: pytest.LogCaptureFixture) -> None:
    """Neither a file of another user nor a link or anything else that is no file."""
    first = Spool(folder)
    first.append(EVENTS[:3])
    abandon(first)
    (path,) = folder.iterdir()
    (folder / "link.spool").symlink_to(path)
    os.mkfifo(folder / "pipe.spool", 0o600)
    os.chown(path, 12345, 12345)
    second = Spool(folder)
    assert second.adopt() == 0
    assert "belongs to user 12345" in caplog.text
    second.close()


@pytest.mark.parametrize("mode", [0o777, 0o770, 0o702, 0o1777])
def test_a_folder_in_which_others_may_write_is_refused(folder: Path, mode: int) -> None:
    """Whoever may put files there could speak in this product's name."""
    folder.mkdir()
    folder.chmod(mode)
    with pytest.raises(SpoolRefused, match="chmod 700"):
        Spool(folder)


def test_single_events_are_written_like_many(folder: Path) -> None:
    """put() fills segments as append() does, rotates, keeps to the limit and says when there is no room."""
    spool = Spool(folder, limit=3_000, segment_bytes=600)
    stored = [event for event in EVENTS if spool.put(event)]
    assert 20 < len(stored) < 100
    assert len(list(folder.iterdir())) > 2
    assert sum(path.stat().st_size for path in folder.iterdir()) <= 3_000 + 38
    assert drain(spool) == stored
    assert spool.append(EVENTS[:1]) == 1
    assert spool.put(EVENTS[1])
    assert drain(spool) == EVENTS[:2]
    spool.close()


def test_an_interrupted_single_write_tears_nothing(
    spool: Spool, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A write that the disk takes by half is written again whole, or taken back."""
    spool.put(EVENTS[0])
    write, halves = os.pwrite, [True]

    def half(descriptor: int, blob: bytes, offset: int) -> int:
        return write(descriptor, blob[: len(blob) // 2] if halves.pop() else blob, offset)

    halves[:] = [False, False, True]
    monkeypatch.setattr(os, "pwrite", half)
    assert spool.put(EVENTS[50])
    monkeypatch.undo()
    assert spool.put(EVENTS[2])
    assert drain(spool) == [EVENTS[0], EVENTS[50], EVENTS[2]]
    assert spool.torn == 0
