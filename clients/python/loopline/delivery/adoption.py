"""What processes that are gone left in a spool's folder: their segments, locked and read again.

A segment that a living process holds stays its own; what others own or may write to is not taken.
"""

from __future__ import annotations

import os
import stat
from collections.abc import Collection, Iterator
from pathlib import Path

from loopline.delivery.complaints import Complaints
from loopline.delivery.segments import (
    FRESH,
    SUFFIX,
    Segment,
    clear_away,
    fault_of,
    file_of,
    lock,
    read_all,
    read_header,
    unframe,
)


def left_behind(folder: Path, own: Collection[str], complaints: Complaints) -> Iterator[Segment]:
    """Each segment that nobody holds, locked for this process, but those with these paths.

    One without a whole event has no ``records``, and is the caller's to remove.
    """
    try:
        paths = sorted(folder.iterdir())
    except (FileNotFoundError, NotADirectoryError):
        # Somebody removed the folder: nothing was left in it.
        return
    for path in paths:
        if path.suffix == FRESH:
            clear_away(path)
        elif path.suffix == SUFFIX and str(path) not in own:
            segment = _take_over(path, complaints)
            if segment is not None:
                yield segment


def _take_over(path: Path, complaints: Complaints) -> Segment | None:
    """Lock a segment that nobody holds; None when it cannot be had."""
    try:
        descriptor = os.open(path, os.O_RDWR | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
    except OSError:
        return None
    try:
        found = os.fstat(descriptor)
        fault = fault_of(found) if stat.S_ISREG(found.st_mode) else "is no file"
        if fault is not None:
            complaints.note(
                f"{path} {fault}: its events are not sent. Is it yours? Then chown and chmod 600 it"
            )
            raise PermissionError(path)
        lock(descriptor)
        # Another adopter may have sent and removed it between our open and our lock.
        if file_of(found) != file_of(os.stat(path)):
            raise FileNotFoundError(path)
        blob = read_all(descriptor)
    except OSError:
        os.close(descriptor)
        return None
    start = read_header(blob)
    records = sum(unframe(line) is not None for line in blob[start:].split(b"\n")[:-1])
    return Segment(str(path), descriptor, file_of(found), start, len(blob), records)
