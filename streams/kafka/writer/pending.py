"""One request that waits for the blocks in which its items lie, in whatever partitions.

It is answered once, when all blocks are decided; a block that fails after that does not change the answer.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Protocol

from streams.log.port import NotDurable, PartlyDurable


class Covered(Protocol):
    """Who knows the position that covers everything acknowledged so far."""

    @property
    def position(self) -> str:
        """That position, as far as it is known."""
        ...

    def cover(self, then: Callable[[], None]) -> None:
        """Call `then` once it covers what anybody has acknowledged by now."""
        ...


class Waiter:
    """Counts the blocks that are not decided. The hand-over itself counts as one, so that it ends first."""

    __slots__ = ("_acknowledged", "_log", "_missing", "_open", "answer")

    def __init__(self, answer: asyncio.Future[str], log: Covered) -> None:
        self.answer = answer
        self._log = log
        self._open = 1
        self._acknowledged = False
        self._missing: dict[int, NotDurable] = {}

    def awaits(self) -> None:
        """One more block has items of it."""
        self._open += 1

    def refused(self, partition: int, refusal: NotDurable) -> None:
        """Its part of a partition was not taken at all."""
        self._missing[partition] = refusal

    def handed_over(self) -> None:
        """All parts are in blocks, or were refused."""
        self._decided()

    def acknowledged(self) -> None:
        """A block is durable."""
        self._acknowledged = True
        self._decided()

    def failed(self, partition: int, refusal: NotDurable) -> None:
        """A block is not durable, or nobody can know."""
        # In doubt outweighs what certainly was not kept.
        if self._open > 0 and (partition not in self._missing or refusal.kept is None):
            self._missing[partition] = refusal
        self._decided()

    def _decided(self) -> None:
        self._open -= 1
        if self._open:
            return
        if self._acknowledged:
            self._log.cover(self._answer)
        else:
            self._answer()

    def _answer(self) -> None:
        if self.answer.done():
            return
        position = self._log.position
        if not self._missing:
            self.answer.set_result(position)
            return
        kept = None if any(refusal.kept is None for refusal in self._missing.values()) else False
        worst = next(refusal for refusal in self._missing.values() if refusal.kept is kept)
        if self._acknowledged:
            missing = frozenset(self._missing)
            self.answer.set_exception(PartlyDurable(str(worst), position, missing, kept))
            return
        # One instance each: raising it adds a traceback to it.
        own = type(worst)(*worst.args)
        own.kept = kept
        self.answer.set_exception(own)
