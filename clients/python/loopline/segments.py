"""The files of a spool: how an event lies in one, how far it was acknowledged, and whose it is.

Which file is written or read when is :mod:`loopline.spool`'s part.
"""

from __future__ import annotations

import contextlib
import os
import stat
import time
import zlib
from pathlib import Path

from msgspec import Struct

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
    """One open and locked file: acknowledged up to ``start``, written up to ``end``, ``records`` between."""

    path: str
    descriptor: int
    start: int
    end: int
    records: int


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


def removed(segment: Segment) -> bool:
    """Whether its file has no name any more, so that only this process can still read it."""
    return os.fstat(segment.descriptor).st_nlink == 0


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
    size = os.fstat(descriptor).st_size
    pieces: list[bytes] = []
    place = 0
    while place < size and (piece := os.pread(descriptor, size - place, place)):
        pieces.append(piece)
        place += len(piece)
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
