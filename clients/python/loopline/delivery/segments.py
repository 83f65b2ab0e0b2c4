"""The files of a spool: how an event lies in one, how far it was acknowledged, and whose it is.

Which file is written or read when is :mod:`loopline.delivery.spool`'s part.
"""

from __future__ import annotations

import contextlib
import os
import stat
import time
import zlib
from pathlib import Path

from msgspec import Struct

from loopline.ids import uuid7

try:
    import fcntl
except ImportError:  # Windows has no flock, and a spool without a lock would send events of living processes.
    fcntl = None  # type: ignore[assignment]

LOCKS = fcntl is not None
"""Whether this system can lock a file for a process."""

MAGIC = b"loopline-spool 1 "
HEADER_BYTES = len(MAGIC) + 21
SUFFIX = ".spool"
FRESH = ".new"
_ABANDONED_S = 3600.0
_OTHERS_MAY_WRITE = stat.S_IWGRP | stat.S_IWOTH


class Segment(Struct, eq=False):
    """One open and locked file: acknowledged up to ``start``, written up to ``end``, ``records`` between.

    ``file`` is its device and inode: a descriptor that somebody closed may be another file's by now. It is
    not read before ``read_at``.
    """

    path: str
    descriptor: int
    file: tuple[int, int]
    start: int
    end: int
    records: int
    read_at: float = 0.0


class Batch(Struct):
    """Events read from one segment, and where it goes on after them."""

    segment: Segment
    events: list[bytes]
    end: int


def lock(descriptor: int) -> None:
    """Hold a file for as long as this process lives. Raises OSError where another process holds it."""
    fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)


def frame(event: bytes) -> bytes:
    """The line that holds one event, which must not contain a line end (JSON never does)."""
    return b"%d %08x %b\n" % (len(event), zlib.crc32(event), event)


def unframe(line: bytes) -> bytes | None:
    """The event in a line without its line end; None when the line is torn or damaged."""
    length, _, rest = line.partition(b" ")
    checksum, _, event = rest.partition(b" ")
    try:
        whole = int(length) == len(event) and int(checksum, 16) == zlib.crc32(event)
    except ValueError:
        return None
    return event if whole else None


def header(acknowledged: int) -> bytes:
    """The first line of a segment, which is acknowledged up to that byte."""
    return MAGIC + b"%020d\n" % acknowledged


def write_whole(descriptor: int, blob: bytes, offset: int) -> None:
    """Write all of the bytes at the offset or, when the disk says no, none of them."""
    written = 0
    try:
        while written < len(blob):
            written += os.pwrite(descriptor, blob[written:], offset + written)
    except OSError:
        os.ftruncate(descriptor, offset)
        raise


def read_events(segment: Segment, end: int, most: int, most_bytes: int) -> tuple[Batch, int]:
    """The next events of a segment up to ``end``, about so many bytes; and how many lines were torn."""
    events: list[bytes] = []
    start, torn = segment.start, 0
    wanted = min(end - start, most_bytes)
    block = os.pread(segment.descriptor, wanted, start)
    if b"\n" not in block and wanted < end - start:
        block = os.pread(segment.descriptor, end - start, start)
    place = 0
    while len(events) < most and (line_end := block.find(b"\n", place)) >= 0:
        event = unframe(block[place:line_end])
        place = line_end + 1
        if event is None:
            torn += 1
        else:
            events.append(event)
    if place == 0:
        # The last line has no end: the process died while writing it.
        torn += 1
        place = end - start
    return Batch(segment, events, start + place), torn


def bytes_of_others(folder: Path, own: set[str]) -> int:
    """What the segments of a folder take, without those of these names."""
    total = 0
    with os.scandir(folder) as entries:
        for entry in entries:
            if entry.name.endswith(SUFFIX) and entry.name not in own:
                with contextlib.suppress(OSError):
                    total += entry.stat().st_size
    return total


def fault_of(found: os.stat_result) -> str | None:
    """What is wrong with the owner or the mode of a folder or file; None where it is this user's alone."""
    if found.st_uid != os.geteuid():
        return f"belongs to user {found.st_uid} and not to {os.geteuid()}"
    if found.st_mode & _OTHERS_MAY_WRITE:
        return f"can be written by others (mode {stat.S_IMODE(found.st_mode):o})"
    return None


def file_of(found: os.stat_result) -> tuple[int, int]:
    """Which file it is, whatever its name."""
    return found.st_dev, found.st_ino


def names_of(segment: Segment) -> int | None:
    """How many names its file has; None where its descriptor is closed, or another file's by now."""
    try:
        found = os.fstat(segment.descriptor)
    except OSError:
        return None
    return found.st_nlink if (found.st_dev, found.st_ino) == segment.file else None


def moved(segment: Segment) -> bool:
    """Whether there is no file, or another one, where a segment was made."""
    try:
        return file_of(os.stat(segment.path)) != segment.file
    except (FileNotFoundError, NotADirectoryError):
        return True
    except OSError:
        return False


def let_go(segment: Segment) -> None:
    """Close its descriptor, unless that is another file's by now."""
    if names_of(segment) is not None:
        with contextlib.suppress(OSError):
            os.close(segment.descriptor)


def make(folder: Path, acknowledged: int = HEADER_BYTES, content: bytes = b"") -> tuple[str, int]:
    """A new file, locked before its name can be seen by others, with this content behind that byte."""
    name = folder / f"{os.getpid()}-{uuid7()}"
    fresh, path = f"{name}{FRESH}", f"{name}{SUFFIX}"
    descriptor = os.open(fresh, os.O_RDWR | os.O_CREAT | os.O_EXCL, 0o600)
    try:
        lock(descriptor)
        write_whole(descriptor, header(acknowledged), 0)
        write_whole(descriptor, content, acknowledged)
        os.rename(fresh, path)
    except OSError:
        os.close(descriptor)
        with contextlib.suppress(OSError):
            os.unlink(fresh)
        raise
    return path, descriptor


def open_again(segment: Segment) -> None:
    """Open its file once more whose descriptor somebody closed. Raises OSError where it cannot be had."""
    descriptor = os.open(segment.path, os.O_RDWR | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
    try:
        if file_of(os.fstat(descriptor)) != segment.file:
            raise FileNotFoundError(segment.path)
        lock(descriptor)
    except OSError:
        os.close(descriptor)
        raise
    segment.descriptor = descriptor


def write_anew(segment: Segment, folder: Path) -> None:
    """Write what waits in a file without a name into a new one, at the same places. Raises OSError.

    Behind the same descriptor, so that whoever reads it right now goes on.
    """
    waits = read_piece(segment.descriptor, segment.start, segment.end)
    path, descriptor = make(folder, segment.start, waits)
    try:
        os.dup2(descriptor, segment.descriptor, inheritable=False)
        segment.path, segment.file = path, file_of(os.fstat(descriptor))
    finally:
        os.close(descriptor)


def fdatasync(descriptor: int) -> None:
    """Content and length to the disk; where the system knows no such call, everything."""
    getattr(os, "fdatasync", os.fsync)(descriptor)


def sync_folder(folder: Path) -> None:
    """The names of new files to the disk."""
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def read_all(descriptor: int) -> bytes:
    """The whole file, wherever its own position is."""
    return read_piece(descriptor, 0, os.fstat(descriptor).st_size)


def read_piece(descriptor: int, start: int, end: int) -> bytes:
    """The bytes of a file between two places, or as many of them as there are."""
    pieces: list[bytes] = []
    while start < end and (piece := os.pread(descriptor, end - start, start)):
        pieces.append(piece)
        start += len(piece)
    return b"".join(pieces)


def read_header(blob: bytes) -> int:
    """How far a segment was acknowledged; its beginning when the header was torn (ids make that harmless)."""
    head = blob[:HEADER_BYTES]
    if head.startswith(MAGIC) and head[len(MAGIC) : -1].isdigit():
        return min(max(int(head[len(MAGIC) : -1]), HEADER_BYTES), len(blob))
    return min(HEADER_BYTES, len(blob))


def clear_away(path: Path) -> None:
    """Remove what a process left that died between making a segment and naming it."""
    with contextlib.suppress(OSError):
        if time.time() - path.stat().st_mtime > _ABANDONED_S:
            path.unlink()
