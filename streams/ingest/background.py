"""Work that would hold an event loop, on a thread beside it: one piece at a time, and few that wait.

What is judged in microseconds stays on the loop; a declaration with a large JSON Schema, or a
million bytes of brackets, takes far longer, and nobody else's request waits for it.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import ParamSpec, TypeVar

from streams.log.port import NotDurable

P = ParamSpec("P")
R = TypeVar("R")

MOST_WAITING = 16


class TooMuchWaits(NotDurable):
    """More of what takes long waits to be judged than may wait; nothing of this was taken."""


class Aside:
    """A thread's turn, for whoever asks from one event loop."""

    def __init__(self) -> None:
        self._turn = asyncio.Lock()
        self._waiting = 0

    async def call(self, function: Callable[P, R], /, *args: P.args, **kwargs: P.kwargs) -> R:
        """What a function gives, called on another thread. Raises TooMuchWaits."""
        if self._waiting >= MOST_WAITING:
            raise TooMuchWaits("much that takes long waits to be judged; send it again in a moment")
        self._waiting += 1
        try:
            async with self._turn:
                return await asyncio.to_thread(function, *args, **kwargs)
        finally:
            self._waiting -= 1
