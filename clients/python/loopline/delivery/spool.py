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
import errno
import os
import threading
import time
from collections.abc import Sequence
from pathlib import Path

from loopline.delivery.adoption import left_behind
from loopline.delivery.complaints import Complaints
from loopline.delivery.segments import (
    HEADER_BYTES,
    LOCKS,
    Batch,
    Segment,
    bytes_of_others,
    fdatasync,
    frame,
    header,
    let_go,
    moved,
    names_of,
    open_again,
    read_events,
    sync_folder,
    write_anew,
    write_whole,
)
from loopline.delivery.spool_folder import discard, make_folder, new_segment
from loopline.errors import SpoolRefused, SpoolUnavailable


class Spool:
    """The segments of one folder that belong to this process. Any thread may write; one thread reads.

    ``limit`` bounds the bytes in the folder, ``segment_bytes`` one file. ``look_every_s`` lies between two
    looks for room in a full folder, or for a file where it was; ``read_again_s`` before one that could not be
    read is tried again. Raises :class:`~loopline.errors.SpoolUnavailable` when the folder cannot be made or
    written to, and its kind :class:`~loopline.errors.SpoolRefused` when that will not change by itself.
    """

    def __init__(
        self,
        folder: str | os.PathLike[str],
        limit: int = 256 * 1024 * 1024,
        segment_bytes: int = 4 * 1024 * 1024,
        *,
        look_every_s: float = 0.05,
        read_again_s: float = 10.0,
    ) -> None:
        if not LOCKS:
            raise SpoolRefused("a spool needs file locks (flock), which this system does not have")
        try:
            # A daemon changes its working folder later.
            self.folder = Path(folder).absolute()
        except OSError as error:
            raise SpoolUnavailable(f"the spool folder {folder} cannot be used: {error}") from error
        self._limit = limit
        self._segment_bytes = segment_bytes
        self._look_every_s, self._read_again_s = look_every_s, read_again_s
        self._segments: list[Segment] = []
        self._writing: Segment | None = None
        self._elsewhere = 0
        self._complaints = Complaints()
        self._synced_at = 0.0
        #: Lines that a crash had cut.
        self.torn = 0
        self._begin_process()
        make_folder(self.folder)

    def _begin_process(self) -> None:
        """What belongs to one process. The lock is re-entrant for signal handlers that speak in between."""
        self._lock = threading.RLock()
        self._sync_lock = threading.RLock()
        self._busy = False
        # Bytes that may be written before the folder is looked at again; when full, not before that moment;
        # and when a call looks next whether its file is still where it was.
        self._budget, self._look_at, self._stand_at = 0, 0.0, 0.0
        self._written = self._synced = 0
        # How often a sync failed, and how much the latest of them was to keep.
        self._failures = self._failed = 0
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
                segment = self._in_hand()
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
            except (OSError, SpoolUnavailable) as error:
                self._complaints.note(f"the spool {self.folder} cannot be written: {error}")
                stored = False
            finally:
                self._busy = False
        self._complaints.tell()
        return stored

    def _in_hand(self) -> Segment | None:
        """The segment to write into, after a look whether it still is one: closed, removed, moved away."""
        segment = self._writing
        if segment is None:
            return None
        moment = time.monotonic()
        look = moment >= self._stand_at
        if look:
            self._stand_at = moment + self._look_every_s
        if names_of(segment) and not (look and moved(segment)):
            return segment
        return segment if self._stand_up(segment) else None

    def _stand_up(self, segment: Segment) -> bool:
        """Have a segment a file in the folder again whose own was closed, removed or moved; whether it has.

        The caller holds the lock. Where it has none, nothing is written into it any more.
        """
        names = names_of(segment)
        if names and not moved(segment):
            return True
        try:
            if names is None:
                open_again(segment)
                what = "closed by somebody else, and was opened again"
            else:
                make_folder(self.folder)
                write_anew(segment, self.folder)
                what = "removed or moved: what waits was written into a new one"
        except (OSError, SpoolUnavailable) as error:
            what = f"removed or closed, and cannot be written again: {error}"
            if self._writing is segment:
                self._writing = None
            if names is None:
                # Its file is another process's by now, or is found where this one looks around.
                self._segments.remove(segment)
        self._complaints.note(f"a file of the spool {self.folder} was {what}")
        stands = segment in self._segments and bool(names_of(segment))
        if stands:
            self._dirty = [each for each in self._dirty if each is not segment] + [segment]
            self._named = True
        return stands

    def _put_slowly(self, event: bytes, size: int) -> bool:
        if self._budget < size:
            moment = time.monotonic()
            if moment < self._look_at:
                return False
            self._look_at = moment + self._look_every_s
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
        self._complaints.tell()
        return stored

    def _write(self, events: Sequence[bytes]) -> int:
        stored = 0
        while stored < len(events):
            try:
                count = self._write_some(events[stored:])
            except (OSError, SpoolUnavailable) as error:
                self._complaints.note(f"the spool {self.folder} cannot be written: {error}")
                break
            if count == 0:
                self._complaints.note(f"the spool {self.folder} is full ({self._limit} bytes)")
                break
            stored += count
        return stored

    def _write_some(self, events: Sequence[bytes]) -> int:
        """Fill the segment in hand, or a new one, with as many events as fit; how many did."""
        segment = self._in_hand()
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
            write_whole(segment.descriptor, b"".join(lines), segment.end)
            segment.end += size
            segment.records += len(lines)
            self._budget -= size
            self._written += len(lines)
        return len(lines)

    def _begin(self) -> Segment:
        """A new segment to write into."""
        segment = new_segment(self.folder)
        self._segments.append(segment)
        self._dirty.append(segment)
        self._writing, self._named = segment, True
        return segment

    def _room(self) -> int:
        """Bytes that may still be written, as the folder is now."""
        own = {os.path.basename(each.path) for each in self._segments}
        self._elsewhere = bytes_of_others(self.folder, own)
        return self._limit - self._elsewhere - sum(each.end for each in self._segments)

    @property
    def unsynced(self) -> bool:
        """Whether something waits here that a power cut would take."""
        return self._synced < self._written and self.waiting > 0

    def sync(self, every_s: float = 0.0) -> bool:
        """Ask the disk to keep what was written through a power cut, unless that was done so short ago.

        Whether all that was written before this call is kept now. Callers at the same time share one sync:
        who waits for another's finds its own events in it or syncs again.
        """
        with self._lock:
            wanted, failures = self._written, self._failures
        with self._sync_lock:
            if self._synced >= wanted:
                return True
            if self._failures > failures and self._failed >= wanted:
                # The one waited for failed. The system says so once: another would succeed, and keep nothing.
                return False
            if time.monotonic() < self._synced_at + every_s:
                return False
            done = self._sync_dirty()
        self._complaints.tell()
        return done

    def _sync_dirty(self) -> bool:
        stood = self._stand_all_up()
        with self._lock:
            reached = self._written
            dirty, named = self._dirty, self._named
            self._dirty = [] if self._writing is None else [self._writing]
            self._named = False
        self._synced_at = time.monotonic()
        try:
            if not stood:
                raise FileNotFoundError("its files were removed")
            with contextlib.ExitStack() as opened:
                for copy in self._copies(dirty, opened):
                    fdatasync(copy)
            if named:
                sync_folder(self.folder)
        except OSError as error:
            with self._lock:
                known = [each for each in dirty if each in self._segments]
                self._dirty = known + [each for each in self._dirty if each not in known]
                self._named = named or self._named
                self._failures += 1
                self._failed = reached
            self._complaints.note(f"the spool {self.folder} cannot be synced: {error}")
            return False
        self._synced = reached
        return True

    def _copies(self, segments: Sequence[Segment], opened: contextlib.ExitStack) -> list[int]:
        """Their descriptors once more, so that nobody waits for the disk with the lock held."""
        copies = []
        with self._lock:
            for segment in segments:
                if segment in self._segments and names_of(segment) is not None:
                    copies.append(os.dup(segment.descriptor))
                    opened.callback(os.close, copies[-1])
        return copies

    def _stand_all_up(self) -> bool:
        """The same for all segments, one by one, so that a call in between waits for one at most."""
        stood = True
        for segment in list(self._segments):
            with self._lock:
                if self._busy or segment not in self._segments:
                    continue
                self._busy = True
                try:
                    stood = self._stand_up(segment) and stood
                finally:
                    self._busy = False
        return stood

    # ---- reading

    def peek(self, most: int, most_bytes: int) -> Batch | None:
        """The oldest events not acknowledged, at most so many and about so many bytes."""
        while True:
            moment = time.monotonic()
            with self._lock:
                ready = (each for each in self._segments if each.start < each.end and each.read_at <= moment)
                segment = next(ready, None)
                if segment is None:
                    return None
                if names_of(segment) is None and not self._stand_up(segment):
                    continue
                end = segment.end
            batch = self._read(segment, end, most, most_bytes)
            if batch is None:
                continue
            if batch.events:
                return batch
            # Nothing but damaged lines: step over them.
            self.acknowledge(batch)

    def _read(self, segment: Segment, end: int, most: int, most_bytes: int) -> Batch | None:
        """The next of a segment; None when it cannot be read now, and is tried again later."""
        try:
            batch, torn = read_events(segment, end, most, most_bytes)
            if names_of(segment) is None:
                raise OSError(errno.EBADF, "its descriptor was closed")
        except OSError as error:
            segment.read_at = time.monotonic() + self._read_again_s
            self._complaints.note(f"{segment.path} cannot be read, its events wait there: {error}")
            self._complaints.tell()
            return None
        self.torn += torn
        return batch

    def acknowledge(self, batch: Batch) -> None:
        """The server has answered for these: never read them again; remove a segment at its end."""
        segment = batch.segment
        with self._lock:
            if segment not in self._segments:
                return
            if names_of(segment) is None and not self._stand_up(segment):
                return
            segment.start = batch.end
            segment.records = max(segment.records - len(batch.events), 0)
            try:
                if segment.start < segment.end:
                    os.pwrite(segment.descriptor, header(segment.start), 0)
                elif segment is self._writing and segment.end < self._segment_bytes:
                    self._empty(segment)
                else:
                    self._remove(segment)
            except OSError as error:
                # They may be sent once more after a restart; their ids make that harmless.
                self._complaints.note(f"{segment.path} cannot be marked: {error}")
        self._complaints.tell()

    def _empty(self, segment: Segment) -> None:
        """Forget what was acknowledged and keep the file: the next call needs no new one."""
        # The mark before the end: behind a mark that stays a later process would look for the next events.
        os.pwrite(segment.descriptor, header(HEADER_BYTES), 0)
        os.ftruncate(segment.descriptor, HEADER_BYTES)
        self._budget += segment.end - HEADER_BYTES
        segment.start = segment.end = HEADER_BYTES
        segment.records = 0

    def _remove(self, segment: Segment) -> None:
        self._segments.remove(segment)
        if segment is self._writing:
            self._writing = None
        discard(segment)

    # ---- what others left

    def adopt(self) -> int:
        """Take over the segments of processes that are gone; how many events they hold."""
        adopted = 0
        self._stand_all_up()
        with self._lock:
            own = {each.path for each in self._segments}
        for segment in left_behind(self.folder, own, self._complaints):
            adopted += segment.records
            with self._lock:
                self._segments.append(segment)
            if segment.records == 0:
                # All that the process got to write, if anything, is a line that was cut.
                batch: Batch | None = Batch(segment, [], segment.end)
                if segment.start < segment.end:
                    batch = self._read(segment, segment.end, segment.end, segment.end)
                if batch is not None:
                    self.acknowledge(batch)
        self._complaints.tell()
        return adopted

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
            let_go(segment)
