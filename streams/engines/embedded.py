"""The embedded engine: one worker that follows the log and keeps the store caught up."""

from __future__ import annotations

import threading
from collections.abc import Callable

from streams.log.port import Log
from streams.projection import advance, check
from streams.store.port import Store


class Worker:
    """Follows a log. `store` gives the store to write to, and may give another one after a rebuild."""

    def __init__(self, log: Log, store: Callable[[], Store], poll_s: float = 0.02) -> None:
        self._log = log
        self._store = store
        self._poll_s = poll_s

    def run(self, stop: threading.Event) -> None:
        """Apply blocks as they come, until `stop` is set.

        Raises StoreRefused when log and store do not belong together, and UnreadableBlock or
        UnreadableTypes for a block of a newer version: nothing is skipped.
        """
        checked: Store | None = None
        while not stop.is_set():
            store = self._store()
            if store is not checked:
                check(self._log, store)
                checked = store
            if not advance(self._log, store):
                stop.wait(self._poll_s)
