"""An outage of a service in log lines: one when it begins, one a minute while it lasts, one when it ends."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from typing import Any

AGAIN_S = 60.0
FLAPS_S = 10.0


class Outage:
    """One service that can be unavailable. Safe to use from any thread.

    A service that fails and recovers all the time is logged every ten seconds at most.

    Args:
        logger: of structlog.
        gone: the line while it is unavailable, with `reason`, and from the second one on `for_s` and `times`.
        back: the line when it is available again, with `after_s` and `times`.
        level: that of the line while it is unavailable.
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
        self._logged_at = float("-inf")
        self._logged = False
        self._reason = ""
        self._times = 0

    @property
    def reason(self) -> str:
        """Why the last call failed; empty while the service is available."""
        return self._reason if self._since is not None else ""

    def failed(self, error: BaseException | str) -> None:
        """A call failed."""
        reason = str(error) or repr(error)
        with self._guard:
            now = self._clock()
            if self._since is None:
                self._since, self._times, self._logged = now, 0, False
            self._times += 1
            due = now - self._logged_at >= (AGAIN_S if self._logged else FLAPS_S)
            # A new reason is logged too, without `changed`: alternating reasons would never end.
            other, self._reason = self._logged and reason != self._reason, reason
            more = {"for_s": round(now - self._since), "times": self._times} if self._times > 1 else {}
            if due:
                self._logged_at, self._logged = now, True
        if due:
            # Rare enough, and new: `changed` keeps the log's limit from dropping it as a repetition.
            self._write(reason=reason, changed=True, **more)
        elif other:
            self._write(reason=reason)

    def over(self) -> None:
        """A call succeeded."""
        with self._guard:
            if self._since is None:
                return
            lasted, self._since = self._clock() - self._since, None
            times, told = self._times, self._logged
        if told:
            self._logger.info(self._back, after_s=round(lasted, 1), times=times)

    def _write(self, **fields: Any) -> None:
        getattr(self._logger, self._level)(self._gone, **fields)
