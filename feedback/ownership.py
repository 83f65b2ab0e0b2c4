"""Whose a file or folder is, and who else can write there.

What was merely found, and names a server or settings, is believed only where nobody else could have written
it: it may have been laid there by somebody who wants to be sent other people's feedback. Which folders may
be used is asked by `feedback.disk.must_be_ours`, by the same rule.
"""

from __future__ import annotations

import os
import stat
from pathlib import Path

ANYBODY = stat.S_IWOTH
GROUP_OR_ANYBODY = stat.S_IWGRP | stat.S_IWOTH


def distrusted(path: Path, writers: int = GROUP_OR_ANYBODY, *, superuser: bool = False) -> str | None:
    """Why a file or folder is not to be believed, with what to do about it; None where it is.

    It belongs to the user of this process, and none of `writers` can write to it. With `superuser` that
    one may use anyone's: nobody is spared its eyes. Raises FileNotFoundError.
    """
    found = path.stat()
    user = os.geteuid()
    if user != found.st_uid and not (superuser and user == 0):
        owner = f"{path} belongs to another user (uid {found.st_uid}, and this process is {user})"
        return f"{owner}: work as that user, or name a folder of yours"
    if found.st_mode & writers:
        return f"{path} can be written by other users: chmod go-w {path}, after a look at what is in it"
    return None
