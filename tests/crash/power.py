"""What a power cut leaves: a disk on which only what was synced is sure to be.

A write is on disk when a sync of that file, begun after it, has ended; a new file is there when its folder
was synced after it was first written. Of all else, nothing, all or a part may be there.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from random import Random

from tests.crash.tracing import FILE_WRITE, SYNCS, Call

_SECTOR = 512


def nothing_else(write: Call) -> int:
    """Of a write that was not synced, no byte is there."""
    return 0


def anything(random: Random) -> Callable[[Call], int]:
    """Of a write that was not synced, all is there, or nothing, or some sectors."""

    def kept(write: Call) -> int:
        sectors = len(write.data) // _SECTOR + 1
        return min(len(write.data), _SECTOR * random.randint(0, sectors))

    return kept


class Disk:
    """The disk under a traced process.

    Args:
        before: the files that it wrote to and their bytes on disk, as they were when it began.
        calls: what it asked of the system.
    """

    def __init__(self, before: Mapping[str, bytes], calls: Sequence[Call]) -> None:
        self._before = before
        self._syncs = [call for call in calls if call.name in SYNCS and call.result == 0]
        self._writes = [call for call in calls if call.name == FILE_WRITE and call.result > 0]
        # A trace that shows only a part of what was written would prove nothing.
        assert all(len(write.data) == write.result for write in self._writes)
        self._sure_at = [self._synced(write.target, write.ended) for write in self._writes]
        self._named_at = dict.fromkeys(before, -1.0)
        for write in self._writes:
            folder = str(Path(write.target).parent)
            self._named_at.setdefault(write.target, self._synced(folder, write.ended))

    def _synced(self, target: str, since: int) -> float:
        """When the first sync of a file or folder that began after `since` had ended."""
        ends = [sync.ended for sync in self._syncs if sync.target == target and sync.began > since]
        return min(ends, default=float("inf"))

    def after_a_cut(self, at: int, kept: Callable[[Call], int] = nothing_else) -> dict[str, bytes]:
        """The files if the power fails before line `at`; `kept` bytes stay of a write that is not sure."""
        files = {path: bytearray(content) for path, content in self._before.items()}
        for write, sure_at in zip(self._writes, self._sure_at, strict=True):
            if write.began >= at:
                continue
            size = len(write.data) if sure_at < at else kept(write)
            if size == 0 or self._named_at[write.target] >= at:
                continue
            file = files.setdefault(write.target, bytearray())
            file.extend(bytes(max(0, write.number + size - len(file))))
            file[write.number : write.number + size] = write.data[:size]
        return {path: bytes(content) for path, content in files.items()}
