"""Events on disk while the server is away: append-only files that outlive the process that wrote them.

A folder holds segments, each written by one process that keeps it locked (flock) as long as it lives. A line
of a segment is one event behind its length and CRC-32, so that a line torn by a crash is seen and skipped.
The first line says how far the server has acknowledged; a segment acknowledged to its end is removed.
Segments that nobody locks were left by a dead process and are adopted. When to write and when to read is the
sender's part.
"""

from __future__ import annotations

import contextlib
import logging
import os
import threading
import time
import zlib
from collections.abc import Sequence
from pathlib import Path

from msgspec import Struct

from loopline.errors import SpoolUnavailable
from loopline.ids import uuid7

try:
    import fcntl
except ImportError:  # Windows has no flock, and a spool without a lock would send events of living processes.
    fcntl = None  # type: ignore[assignment]

log = logging.getLogger("loopline")

_MAGIC = b"loopline-spool 1 "
_HEADER_BYTES = len(_MAGIC) + 21
_SUFFIX = ".spool"
_FRESH = ".new"
_ABANDONED_S = 3600.0
_LARGEST_LINE = 64 * 1024 + 32


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


class Spool:
    """The segments of one folder that belong to this process. Any thread may append; one thread reads.

    ``limit`` bounds the bytes in the folder, ``segment_bytes`` one file. Raises
    :class:`~loopline.errors.SpoolUnavailable` when the folder cannot be made or written to.
    """

    def __init__(
        self,
        folder: str | os.PathLike[str],
        limit: int = 256 * 1024 * 1024,
        segment_bytes: int = 4 * 1024 * 1024,
    ) -> None:
        if fcntl is None:
            raise SpoolUnavailable("a spool needs file locks (flock), which this system does not have")
        self.folder = Path(folder)
        self._limit = limit
        self._segment_bytes = segment_bytes
        self._lock = threading.Lock()
        self._segments: list[Segment] = []
        self._writing: Segment | None = None
        self._elsewhere = 0
        self.unsynced = False
        self._complaint_at = 0.0
        self._synced_at = 0.0
        self.torn = 0
        try:
            self.folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        except OSError as error:
            raise SpoolUnavailable(f"the spool folder {self.folder} cannot be used: {error}") from error
        if not os.access(self.folder, os.R_OK | os.W_OK | os.X_OK):
            raise SpoolUnavailable(f"the spool folder {self.folder} cannot be written to")

    # ---- writing

    def append(self, events: Sequence[bytes]) -> int:
        """Write events; how many, from the first, are on disk now: fewer on a full or failing one."""
        stored = 0
        with self._lock:
            while stored < len(events):
                try:
                    count = self._write_some(events[stored:])
                except OSError as error:
                    self._complain(f"the spool {self.folder} cannot be written: {error}")
                    break
                if count == 0:
                    self._complain(f"the spool {self.folder} is full ({self._limit} bytes)")
                    break
                stored += count
        return stored

    def _write_some(self, events: Sequence[bytes]) -> int:
        """Fill the segment in hand, or a new one, with as many events as fit; how many did."""
        segment = self._writing
        if segment is None or segment.end >= self._segment_bytes:
            segment = self._begin()
        room = self._room()
        segment_room = self._segment_bytes - segment.end
        lines: list[bytes] = []
        size = 0
        for event in events:
            line = frame(event)
            # The folder never goes beyond its limit; a segment may, by its only event.
            if size + len(line) > room or (lines and size + len(line) > segment_room):
                break
            lines.append(line)
            size += len(line)
        if lines:
            _write_whole(segment.descriptor, b"".join(lines), segment.end)
            segment.end += size
            segment.records += len(lines)
            self.unsynced = True
        return len(lines)

    def _begin(self) -> Segment:
        """A new segment, locked before its name can be seen by others."""
        name = self.folder / f"{os.getpid()}-{uuid7()}"
        fresh = f"{name}{_FRESH}"
        descriptor = os.open(fresh, os.O_RDWR | os.O_CREAT | os.O_EXCL, 0o600)
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            _write_whole(descriptor, _header(_HEADER_BYTES), 0)
            path = f"{name}{_SUFFIX}"
            os.rename(fresh, path)
        except OSError:
            os.close(descriptor)
            with contextlib.suppress(OSError):
                os.unlink(fresh)
            raise
        segment = Segment(path, descriptor, _HEADER_BYTES, _HEADER_BYTES, 0)
        self._segments.append(segment)
        self._writing = segment
        return segment

    def _room(self) -> int:
        """Bytes that may still be written; what others hold is looked up anew when it matters."""
        mine = sum(each.end for each in self._segments)
        fresh = self._writing is not None and self._writing.records == 0
        if fresh or self._limit - self._elsewhere - mine < 2 * _LARGEST_LINE:
            own = {os.path.basename(each.path) for each in self._segments}
            self._elsewhere = _bytes_of_others(self.folder, own)
        return self._limit - self._elsewhere - mine

    def sync(self, every_s: float = 0.0) -> None:
        """Ask the disk to keep what was written through a power cut, unless that was done so short ago.

        What a killed process wrote needs no sync.
        """
        with self._lock:
            moment = time.monotonic()
            if not self.unsynced or moment < self._synced_at + every_s:
                return
            self.unsynced = False
            self._synced_at = moment
            # A copy, so that nobody waits for the disk with the lock held.
            copies = [os.dup(each.descriptor) for each in self._segments]
        for copy in copies:
            try:
                os.fsync(copy)
            except OSError as error:
                self._complain(f"the spool {self.folder} cannot be synced: {error}")
            finally:
                os.close(copy)

    # ---- reading

    def peek(self, most: int, most_bytes: int) -> Batch | None:
        """The oldest events not acknowledged, at most so many and about so many bytes."""
        while True:
            with self._lock:
                segment = next((each for each in self._segments if each.start < each.end), None)
                if segment is None:
                    return None
                start, end = segment.start, segment.end
            batch = self._read(segment, start, end, most, most_bytes)
            if batch.events:
                return batch
            # Nothing but damaged lines: step over them.
            self.acknowledge(batch)

    def _read(self, segment: Segment, start: int, end: int, most: int, most_bytes: int) -> Batch:
        wanted = min(end - start, most_bytes)
        try:
            block = os.pread(segment.descriptor, wanted, start)
            if b"\n" not in block and wanted < end - start:
                block = os.pread(segment.descriptor, end - start, start)
        except OSError as error:
            self._complain(f"{segment.path} cannot be read, its events are given up: {error}")
            return Batch(segment, [], end)
        events: list[bytes] = []
        place = 0
        while len(events) < most:
            line_end = block.find(b"\n", place)
            if line_end < 0:
                break
            event = unframe(block[place:line_end])
            place = line_end + 1
            if event is None:
                self.torn += 1
            else:
                events.append(event)
        if place == 0:
            # The last line has no end: the process died while writing it.
            self.torn += 1
            place = end - start
        return Batch(segment, events, start + place)

    def acknowledge(self, batch: Batch) -> None:
        """The server has answered for these: never read them again; remove a segment at its end."""
        segment = batch.segment
        with self._lock:
            if segment not in self._segments:
                return
            segment.start = batch.end
            segment.records = max(segment.records - len(batch.events), 0)
            try:
                if segment.start >= segment.end:
                    self._remove(segment)
                else:
                    os.pwrite(segment.descriptor, _header(segment.start), 0)
            except OSError as error:
                # They may be sent once more after a restart; their ids make that harmless.
                self._complain(f"{segment.path} cannot be marked: {error}")

    def _remove(self, segment: Segment) -> None:
        self._segments.remove(segment)
        if segment is self._writing:
            self._writing = None
        try:
            os.unlink(segment.path)
        finally:
            os.close(segment.descriptor)

    # ---- what others left

    def adopt(self) -> int:
        """Take over the segments of processes that are gone; how many events they hold."""
        adopted = 0
        with self._lock:
            own = {each.path for each in self._segments}
        for path in sorted(self.folder.iterdir()):
            if path.suffix == _SUFFIX and str(path) not in own:
                segment = _take_over(path)
                if segment is not None:
                    adopted += segment.records
                    with self._lock:
                        self._segments.append(segment)
            elif path.suffix == _FRESH:
                _clear_away(path)
        return adopted

    # ---- the end

    @property
    def waiting(self) -> int:
        """Events on disk that the server has not acknowledged."""
        return sum(each.records for each in list(self._segments))

    def close(self) -> None:
        """Sync, unlock and leave what was not acknowledged to the next process."""
        self.sync()
        with self._lock:
            for segment in list(self._segments):
                if segment.start >= segment.end:
                    with contextlib.suppress(OSError):
                        self._remove(segment)
            self._drop_descriptors()

    def forget(self) -> None:
        """In a forked child: let go of the parent's segments without unlocking them for the parent."""
        self._lock = threading.Lock()
        self._drop_descriptors()

    def _drop_descriptors(self) -> None:
        segments, self._segments, self._writing = self._segments, [], None
        for segment in segments:
            # Closing, and not LOCK_UN: the lock belongs to every copy of the descriptor.
            with contextlib.suppress(OSError):
                os.close(segment.descriptor)

    def _complain(self, what: str) -> None:
        """Log, at most once in ten seconds: a full disk would say so with every event."""
        moment = time.monotonic()
        if moment >= self._complaint_at:
            self._complaint_at = moment + 10
            log.error("%s", what)


def _header(acknowledged: int) -> bytes:
    return _MAGIC + b"%020d\n" % acknowledged


def _write_whole(descriptor: int, blob: bytes, offset: int) -> None:
    """Write all of the bytes at the offset or, when the disk says no, none of them."""
    written = 0
    try:
        while written < len(blob):
            written += os.pwrite(descriptor, blob[written:], offset + written)
    except OSError:
        os.ftruncate(descriptor, offset)
        raise


def _bytes_of_others(folder: Path, own: set[str]) -> int:
    total = 0
    with os.scandir(folder) as entries:
        for entry in entries:
            if entry.name.endswith(_SUFFIX) and entry.name not in own:
                with contextlib.suppress(OSError):
                    total += entry.stat().st_size
    return total


def _take_over(path: Path) -> Segment | None:
    """Lock a segment that nobody holds; None when there is nothing in it to take."""
    try:
        descriptor = os.open(path, os.O_RDWR)
    except OSError:
        return None
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        # Another adopter may have sent and removed it between our open and our lock.
        if os.fstat(descriptor).st_ino != os.stat(path).st_ino:
            raise FileNotFoundError(path)
        blob = _read_all(descriptor)
        start = _read_header(blob)
        records = sum(unframe(line) is not None for line in blob[start:].split(b"\n")[:-1])
        if records == 0:
            os.unlink(path)
            raise FileNotFoundError(path)
    except OSError:
        os.close(descriptor)
        return None
    return Segment(str(path), descriptor, start, len(blob), records)


def _read_all(descriptor: int) -> bytes:
    size = os.fstat(descriptor).st_size
    pieces: list[bytes] = []
    place = 0
    while place < size and (piece := os.pread(descriptor, size - place, place)):
        pieces.append(piece)
        place += len(piece)
    return b"".join(pieces)


def _read_header(blob: bytes) -> int:
    """How far a segment was acknowledged; its beginning when the header was torn (ids make that harmless)."""
    head = blob[:_HEADER_BYTES]
    if head.startswith(_MAGIC) and head[len(_MAGIC) : -1].isdigit():
        return min(max(int(head[len(_MAGIC) : -1]), _HEADER_BYTES), len(blob))
    return min(_HEADER_BYTES, len(blob))


def _clear_away(path: Path) -> None:
    """Remove what a process left that died between making a segment and naming it."""
    with contextlib.suppress(OSError):
        if time.time() - path.stat().st_mtime > _ABANDONED_S:
            path.unlink()
