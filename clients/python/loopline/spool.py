"""Events on disk until the server has answered for them: files that outlive the process that wrote them.

A folder holds segments, each written by one process that keeps it locked (flock) as long as it lives. A line
of a segment is one event behind its length and CRC-32, so that a line torn by a crash is seen and skipped.
The first line says how far the server has acknowledged; a segment acknowledged to its end is removed.
Segments that nobody locks were left by a dead process and are adopted. Folder and files must be this user's
and writable by nobody else: what lies there is sent in this product's name. When to write and when to read is
the sender's part.

A written event survives the death of the process, SIGKILL included, since the kernel has it; a power cut only
once :meth:`Spool.sync` returned.
"""

from __future__ import annotations

import contextlib
import logging
import os
import stat
import threading
import time
import zlib
from collections.abc import Sequence
from pathlib import Path

from msgspec import Struct

from loopline.errors import SpoolRefused, SpoolUnavailable
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
_OTHERS_MAY_WRITE = stat.S_IWGRP | stat.S_IWOTH
# Between two looks for room in a folder that was full, in a product's call.
_LOOK_EVERY_S = 0.05


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
    """The segments of one folder that belong to this process. Any thread may write; one thread reads.

    ``limit`` bounds the bytes in the folder, ``segment_bytes`` one file. Raises
    :class:`~loopline.errors.SpoolUnavailable` when the folder cannot be made or written to, and its kind
    :class:`~loopline.errors.SpoolRefused` when that will not change by itself.
    """

    def __init__(
        self,
        folder: str | os.PathLike[str],
        limit: int = 256 * 1024 * 1024,
        segment_bytes: int = 4 * 1024 * 1024,
    ) -> None:
        if fcntl is None:
            raise SpoolRefused("a spool needs file locks (flock), which this system does not have")
        self.folder = Path(folder)
        self._limit = limit
        self._segment_bytes = segment_bytes
        self._segments: list[Segment] = []
        self._writing: Segment | None = None
        self._elsewhere = 0
        self._complaint: str | None = None
        self._complaint_at = 0.0
        self._synced_at = 0.0
        self.torn = 0
        self._begin_process()
        try:
            self.folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        except (FileExistsError, NotADirectoryError) as error:
            raise SpoolRefused(f"the spool folder {self.folder} cannot be used: {error}") from error
        except OSError as error:
            raise SpoolUnavailable(f"the spool folder {self.folder} cannot be used: {error}") from error
        found = self.folder.stat()
        if (fault := _fault(found)) is not None:
            raise SpoolRefused(
                f"the spool folder {self.folder} {fault}, and what lies in it is sent in your name:"
                " make it yours alone (chown, chmod 700), or name another"
            )
        if not os.access(self.folder, os.R_OK | os.W_OK | os.X_OK):
            raise SpoolUnavailable(f"the spool folder {self.folder} cannot be written to")

    def _begin_process(self) -> None:
        """What belongs to one process. The lock is re-entrant for signal handlers that speak in between."""
        self._lock = threading.RLock()
        self._sync_lock = threading.RLock()
        self._busy = False
        # Bytes that may be written before the folder is looked at again; when full, not before that moment.
        self._budget = 0
        self._look_at = 0.0
        self._written = self._synced = 0
        # Written into since the last sync, and whether there is a name among them that the folder may lose.
        self._dirty: list[Segment] = []
        self._named = False

    # ---- writing

    def put(self, event: bytes) -> bool:
        """Write one event; False when that is not possible right now. For the product's call: quick."""
        line = frame(event)
        size = len(line)
        with self._lock:
            if self._busy:
                # A signal handler in the middle of another call of this thread.
                return False
            self._busy = True
            try:
                segment = self._writing
                if (
                    segment is not None
                    and segment.end + size <= self._segment_bytes
                    and size <= self._budget
                    and os.pwrite(segment.descriptor, line, segment.end) == size
                ):
                    segment.end += size
                    segment.records += 1
                    self._budget -= size
                    self._written += 1
                    return True
                stored = self._put_slowly(event, size)
            except OSError as error:
                self._complain(f"the spool {self.folder} cannot be written: {error}")
                stored = False
            finally:
                self._busy = False
        self._tell()
        return stored

    def _put_slowly(self, event: bytes, size: int) -> bool:
        if self._budget < size:
            moment = time.monotonic()
            if moment < self._look_at:
                return False
            self._look_at = moment + _LOOK_EVERY_S
        return self._write([event]) == 1

    def append(self, events: Sequence[bytes]) -> int:
        """Write events; how many, from the first, are in the file now: fewer on a full or failing disk."""
        with self._lock:
            if self._busy:
                return 0
            self._busy = True
            try:
                stored = self._write(events)
            finally:
                self._busy = False
        self._tell()
        return stored

    def _write(self, events: Sequence[bytes]) -> int:
        stored = 0
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
        first = len(frame(events[0]))
        if segment is None or (segment.records and segment.end + first > self._segment_bytes):
            segment = self._begin()
        room = self._budget = self._room()
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
            self._budget -= size
            self._written += len(lines)
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
        self._dirty.append(segment)
        self._writing, self._named = segment, True
        return segment

    def _room(self) -> int:
        """Bytes that may still be written, as the folder is now."""
        own = {os.path.basename(each.path) for each in self._segments}
        self._elsewhere = _bytes_of_others(self.folder, own)
        return self._limit - self._elsewhere - sum(each.end for each in self._segments)

    @property
    def unsynced(self) -> bool:
        """Whether something waits here that a power cut would take."""
        return self._synced < self._written and self.waiting > 0

    def sync(self, every_s: float = 0.0) -> None:
        """Ask the disk to keep what was written through a power cut, unless that was done so short ago.

        Callers at the same time share one: who waits for another's finds its own events in it or syncs again.
        """
        with self._lock:
            wanted = self._written
        with self._sync_lock:
            if self._synced >= wanted or time.monotonic() < self._synced_at + every_s:
                return
            with self._lock:
                reached = self._written
                # Copies, so that nobody waits for the disk with the lock held.
                copies = [os.dup(each.descriptor) for each in self._dirty if each in self._segments]
                dirty, named = self._dirty, self._named
                self._dirty = [] if self._writing is None else [self._writing]
                self._named = False
            self._synced_at = time.monotonic()
            try:
                for copy in copies:
                    _fdatasync(copy)
                if named:
                    _sync_folder(self.folder)
                self._synced = reached
            except OSError as error:
                with self._lock:
                    self._dirty, self._named = dirty + self._dirty, named or self._named
                self._complain(f"the spool {self.folder} cannot be synced: {error}")
            finally:
                for copy in copies:
                    os.close(copy)
        self._tell()

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
            self._tell()
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
                if segment.start < segment.end:
                    os.pwrite(segment.descriptor, _header(segment.start), 0)
                elif segment is self._writing and segment.end < self._segment_bytes:
                    self._empty(segment)
                else:
                    self._remove(segment)
            except OSError as error:
                # They may be sent once more after a restart; their ids make that harmless.
                self._complain(f"{segment.path} cannot be marked: {error}")
        self._tell()

    def _empty(self, segment: Segment) -> None:
        """Forget what was acknowledged and keep the file: the next call needs no new one."""
        self._budget += segment.end - _HEADER_BYTES
        segment.start = segment.end = _HEADER_BYTES
        segment.records = 0
        os.ftruncate(segment.descriptor, _HEADER_BYTES)
        os.pwrite(segment.descriptor, _header(_HEADER_BYTES), 0)

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
                segment = self._take_over(path)
                if segment is not None:
                    adopted += segment.records
                    with self._lock:
                        self._segments.append(segment)
            elif path.suffix == _FRESH:
                _clear_away(path)
        self._tell()
        return adopted

    def _take_over(self, path: Path) -> Segment | None:
        """Lock a segment that nobody holds; None when there is nothing in it to take."""
        try:
            descriptor = os.open(path, os.O_RDWR | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
        except OSError:
            return None
        try:
            found = os.fstat(descriptor)
            if not stat.S_ISREG(found.st_mode) or (fault := _fault(found)) is not None:
                fault = fault if stat.S_ISREG(found.st_mode) else "is no file"
                self._complain(
                    f"{path} {fault}: its events are not sent. Is it yours? Then chown and chmod 600 it"
                )
                raise PermissionError(path)
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            # Another adopter may have sent and removed it between our open and our lock.
            if found.st_ino != os.stat(path).st_ino:
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

    # ---- the end

    @property
    def waiting(self) -> int:
        """Events on disk that the server has not acknowledged."""
        return sum(each.records for each in list(self._segments))

    def close(self) -> None:
        """Sync, unlock and leave what was not acknowledged to the next process."""
        if self.unsynced:
            self.sync()
        with self._lock:
            for segment in list(self._segments):
                if segment.start >= segment.end:
                    with contextlib.suppress(OSError):
                        self._remove(segment)
            self._drop_descriptors()

    def forget(self) -> None:
        """In a forked child: let go of the parent's segments without unlocking them for the parent."""
        self._begin_process()
        self._drop_descriptors()

    def _drop_descriptors(self) -> None:
        segments, self._segments, self._writing = self._segments, [], None
        for segment in segments:
            # Closing, and not LOCK_UN: the lock belongs to every copy of the descriptor.
            with contextlib.suppress(OSError):
                os.close(segment.descriptor)

    def _complain(self, what: str) -> None:
        """Note what is wrong, at most once in ten seconds: a full disk would say so with every event."""
        moment = time.monotonic()
        if moment >= self._complaint_at:
            self._complaint_at = moment + 10
            self._complaint = what

    def _tell(self) -> None:
        """Log it, with no lock held: the product's log handlers may be slow, or speak through this client."""
        what, self._complaint = self._complaint, None
        if what is not None:
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


def _fault(found: os.stat_result) -> str | None:
    """What is wrong with the owner or the mode of a folder or file; None where it is this user's alone."""
    if found.st_uid != os.geteuid():
        return f"belongs to user {found.st_uid} and not to {os.geteuid()}"
    if found.st_mode & _OTHERS_MAY_WRITE:
        return f"can be written by others (mode {stat.S_IMODE(found.st_mode):o})"
    return None


def _fdatasync(descriptor: int) -> None:
    """Content and length to the disk; where the system knows no such call, everything."""
    getattr(os, "fdatasync", os.fsync)(descriptor)


def _sync_folder(folder: Path) -> None:
    """The names of new files to the disk."""
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


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
