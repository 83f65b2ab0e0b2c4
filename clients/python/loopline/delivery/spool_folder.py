"""The folder of a spool: made, checked for whose it is, and given new segments.

What lies in it is sent in this product's name, so it must be this user's and writable by nobody else. What is
written into segments is left to ``spool``.
"""

from __future__ import annotations

import contextlib
import os
from pathlib import Path

from loopline.delivery.segments import HEADER_BYTES, Segment, fault_of, file_of, let_go, make
from loopline.errors import SpoolRefused, SpoolUnavailable


def make_folder(folder: Path) -> None:
    """The folder, where it is missing, and whether it may be used.

    Raises :class:`~loopline.errors.SpoolUnavailable`, and its kind :class:`~loopline.errors.SpoolRefused`
    when that will not change by itself.
    """
    try:
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    except (FileExistsError, NotADirectoryError) as error:
        raise SpoolRefused(f"the spool folder {folder} cannot be used: {error}") from error
    except OSError as error:
        raise SpoolUnavailable(f"the spool folder {folder} cannot be used: {error}") from error
    if (fault := fault_of(folder.stat())) is not None:
        raise SpoolRefused(
            f"the spool folder {folder} {fault}, and what lies in it is sent in your name:"
            " make it yours alone (chown, chmod 700), or name another"
        )
    if not os.access(folder, os.R_OK | os.W_OK | os.X_OK):
        raise SpoolUnavailable(f"the spool folder {folder} cannot be written to")


def new_segment(folder: Path) -> Segment:
    """An empty segment, locked by this process; the folder is made again where somebody removed it."""
    try:
        path, descriptor = make(folder)
    except FileNotFoundError:
        make_folder(folder)
        path, descriptor = make(folder)
    return Segment(path, descriptor, file_of(os.fstat(descriptor)), HEADER_BYTES, HEADER_BYTES, 0)


def discard(segment: Segment) -> None:
    """Remove a segment's file, and let go of it; it may be gone already, with the folder."""
    try:
        with contextlib.suppress(FileNotFoundError):
            os.unlink(segment.path)
    finally:
        let_go(segment)
