"""Named points in append and projection at which a test can stop the process.

`reached` costs a dictionary look-up and does nothing, unless LOOPLINE_CRASH_PLAN names a file: its text,
`append.2:5`, asks this process to kill itself when it reaches that point for the fifth time. The file is
removed then, so that the process that is started again lives on.
"""

from __future__ import annotations

import contextlib
import os
import signal
from pathlib import Path

_left: dict[str, int] = {}
_plan = os.environ.get("LOOPLINE_CRASH_PLAN")
if _plan is not None:
    with contextlib.suppress(FileNotFoundError):
        _point, _, _time = Path(_plan).read_text().strip().partition(":")
        _left[_point] = int(_time or 1)


def reached(point: str) -> None:
    """Say that a numbered step was reached."""
    if point in _left:
        _left[point] -= 1
        if _left[point] == 0 and _plan is not None:
            Path(_plan).unlink(missing_ok=True)
            os.kill(os.getpid(), signal.SIGKILL)
