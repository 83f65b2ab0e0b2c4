"""Named points in append and projection at which a test can stop the process.

`reached` costs a dictionary look-up and does nothing, unless LOOPLINE_CRASH_AT names the point: then
the process kills itself there, at the time given after a colon (`append.2:5` is the fifth time).
"""

from __future__ import annotations

import os
import signal

_point, _, _time = os.environ.get("LOOPLINE_CRASH_AT", "").partition(":")
_left = {_point: int(_time or 1)} if _point else {}


def reached(point: str) -> None:
    """Say that a numbered step was reached."""
    if point in _left:
        _left[point] -= 1
        if _left[point] == 0:
            os.kill(os.getpid(), signal.SIGKILL)
