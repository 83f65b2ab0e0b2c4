"""What goes wrong with a spool, in the log: seldom, and never with a lock held."""

from __future__ import annotations

import logging
import time

log = logging.getLogger("loopline")

_EVERY_S = 10.0


class Complaints:
    """Noted where it happens, told where nothing is held: a product's log handlers may speak themselves."""

    def __init__(self) -> None:
        self._noted: str | None = None
        self._next_at = 0.0

    def note(self, what: str) -> None:
        """Remember it, at most once in ten seconds: a full disk would say so with every event."""
        moment = time.monotonic()
        if moment >= self._next_at:
            self._next_at = moment + _EVERY_S
            self._noted = what

    def tell(self) -> None:
        """Log what was noted."""
        what, self._noted = self._noted, None
        if what is not None:
            log.error("%s", what)
