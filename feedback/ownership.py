"""Whose a file is: what names a server is believed only where nobody else could have written it.

A folder that was merely found, as `.loopline` in the working folder is, may have been laid there by somebody
who wants to be sent other people's feedback.
"""

from __future__ import annotations

import os
import stat
from pathlib import Path

ANYBODY = stat.S_IWOTH
GROUP_OR_ANYBODY = stat.S_IWGRP | stat.S_IWOTH


def distrusted(path: Path, writers: int = GROUP_OR_ANYBODY) -> str | None:
    """Why a file or folder is not to be believed, with what to do about it; None where it is.

    It is believed where it belongs to the user of this process, and none of `writers` can write to it.
    Raises FileNotFoundError.
    """
    found = path.stat()
    if found.st_uid != os.geteuid():
        owner = f"{path} belongs to another user (uid {found.st_uid})"
        return f"{owner}: work as that user, or name a folder of yours"
    if found.st_mode & writers:
        return f"{path} can be written by other users: chmod go-w {path}, after a look at what is in it"
    return None
