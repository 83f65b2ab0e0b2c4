"""The embedded engine: one worker that follows the log and keeps the store caught up."""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import Generic, TypeVar

from streams.log.port import Log
from streams.projection.apply import advance, check
from streams.store.port import Store

S = TypeVar("S", bound=Store)


class Worker(Generic[S]):
    """Follows a log.

    Args:
        store: gives the store to write to, and may give another one after a rebuild.
        each_turn: called after every look at the log, with the store that has all of what was there then
            or a batch more of it than before: a sign of life, and the time to tidy up.
    """

    def __init__(
        self,
        log: Log,
        store: Callable[[], S],
        poll_s: float = 0.02,
        each_turn: Callable[[S], None] = lambda store: None,
    ) -> None:
        self._log = log
        self._store = store
        self._poll_s = poll_s
        self._each_turn = each_turn

    def run(self, stop: threading.Event) -> None:
        """Apply blocks as they come, until `stop` is set.

        Raises StoreRefused when log and store do not belong together, and UnreadableBlock or
        UnreadableTypes for a block of a newer version: nothing is skipped.
        """
        checked: S | None = None
        while not stop.is_set():
            store = self._store()
            if store is not checked:
                check(self._log, store)
                checked = store
            moved = advance(self._log, store)
            self._each_turn(store)
            if not moved:
                stop.wait(self._poll_s)
