"""A service that is away, as log lines tell it: it goes, it is away, once a minute, and it is back."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from typing import Any

AGAIN_S = 60.0
FLAPS_S = 10.0


class Outage:
    """One thing that can be away. Any thread may tell of it.

    What comes and goes all the time is told each ten seconds at most.

    Args:
        logger: of structlog.
        gone: the line while it is away, with `reason`, and from the second one on `for_s` and `times`.
        back: the line when it is there again, with `after_s` and `times`.
        level: that of the line while it is away.
        clock: monotonic, in seconds.
    """

    def __init__(
        self,
        logger: Any,
        gone: str,
        back: str,
        *,
        level: str = "warning",
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._logger = logger
        self._gone, self._back, self._level = gone, back, level
        self._clock = clock
        self._guard = threading.Lock()
        self._since: float | None = None
        self._said = float("-inf")
        self._told = False
        self._reason = ""
        self._times = 0

    @property
    def reason(self) -> str:
        """Why, when it was asked last; empty while it is there."""
        return self._reason if self._since is not None else ""

    def failed(self, error: BaseException | str) -> None:
        """It was asked, and did not answer, or not as it should."""
        reason = str(error) or repr(error)
        with self._guard:
            now = self._clock()
            if self._since is None:
                self._since, self._times, self._told = now, 0, False
            self._times += 1
            due = now - self._said >= (AGAIN_S if self._told else FLAPS_S)
            # Another reason is said too; in turn they would be without end.
            other, self._reason = self._told and reason != self._reason, reason
            more = {"for_s": round(now - self._since), "times": self._times} if self._times > 1 else {}
            if due:
                self._said, self._told = now, True
        if due:
            # It is rare enough, and new: `changed` has nobody leave it out as what was said before.
            self._say(reason=reason, changed=True, **more)
        elif other:
            self._say(reason=reason)

    def over(self) -> None:
        """It answered."""
        with self._guard:
            if self._since is None:
                return
            lasted, self._since = self._clock() - self._since, None
            times, told = self._times, self._told
        if told:
            self._logger.info(self._back, after_s=round(lasted, 1), times=times)

    def _say(self, **fields: Any) -> None:
        getattr(self._logger, self._level)(self._gone, **fields)
