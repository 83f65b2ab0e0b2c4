"""Claims: who may write under a version's number on an object store, where nothing can be locked.

A claim is an object of one's own, `MODEL/.claims/N-RANDOM`. Whoever wants a number writes one, and then
lists them all. The number is one's own when that list shows no other claim of it, and there is no release
of it. Of two who claim one number, the one who listed later sees the other's claim, which was written
before either list: never do both find themselves alone. Whoever is not alone waits, when its claim is the
first by name, for the others to withdraw, and withdraws otherwise.

Nothing here rests on a clock but cleaning up. The claim of a number that is not published is never taken
away from anybody: a killed release leaves its number unused. Its files are removed by a later release when
the claim is a day old by the store's own clock; a release does not publish on a claim older than half a day
by its own.

Writing the files is left to `objects`.
"""

from __future__ import annotations

import os
import socket
import time
from datetime import timedelta
from typing import Any, NamedTuple, Protocol
from uuid import uuid4

import msgspec

from feedback.datasets.errors import ShelfUnreachable
from feedback.datasets.shelf.bucket import Objects
from loopline.backoff import Backoff, RetryPolicy

_FOLDER = ".claims"
_TRIES = 60
_LOOKS = 20
LOOK_S = 0.05
RETRY = RetryPolicy(first_s=0.1, longest_s=0.1, jitter=1.0)
"""Releases that met at one number do not meet again at the next one."""
# Time goes on while the machine sleeps.
_CLOCK = getattr(time, "CLOCK_BOOTTIME", time.CLOCK_MONOTONIC)


class Numbered(Protocol):
    """Releases whose numbers are claimed, and the objects among which claims lie."""

    name: str
    objects: Objects

    def versions(self, model: str) -> list[int]:
        """The published versions, rising."""

    def published(self, model: str, version: int) -> bool:
        """Whether a version is published."""


class ClaimTimes(NamedTuple):
    """How long a claim is good for publishing (s, by the clock here), and when the store's clock ends it."""

    good_for_s: float = 12 * 3600.0
    swept_after: timedelta = timedelta(days=1)


TIMES = ClaimTimes()


class Claims:
    """One release's claim among those of its model.

    `retry`: the pauses before another number is tried; `look_s`: between two looks for rivals.
    """

    def __init__(
        self,
        shelf: Numbered,
        model: str,
        times: ClaimTimes = TIMES,
        *,
        retry: RetryPolicy = RETRY,
        look_s: float = LOOK_S,
    ) -> None:
        self._shelf = shelf
        self._model = model
        self._times = times
        self._retry, self._look_s = retry, look_s
        self._folder = f"{model}/{_FOLDER}"
        self._mine: str | None = None
        self._since = 0.0

    def take(self) -> int:
        """Claim the lowest number behind all releases that nobody has claimed; gives it."""
        backoff = Backoff(self._retry)
        for _ in range(_TRIES):
            number = self._next()
            self._mine = f"{number}-{uuid4().hex}"
            self._since = time.clock_gettime(_CLOCK)
            who = {"host": socket.gethostname(), "process": os.getpid()}
            self._shelf.objects.write(f"{self._folder}/{self._mine}", msgspec.json.encode(who))
            if self._alone(number) and not self._shelf.published(self._model, number):
                self._sweep()
                return number
            self.give_back()
            time.sleep(backoff.next_pause_s())
        raise ShelfUnreachable(
            f"no version of {self._model} could be claimed at {self._shelf.name}:"
            " too many releases at once; try again"
        )

    def too_old(self) -> bool:
        """Whether the claim has been held for too long to publish on it, by this machine's clock."""
        return time.clock_gettime(_CLOCK) - self._since > self._times.good_for_s

    def give_back(self) -> None:
        """Take the claim away."""
        if self._mine is not None:
            self._shelf.objects.remove(f"{self._folder}/{self._mine}")
            self._mine = None

    def _next(self) -> int:
        claimed = {_number(entry) for entry in self._listed()}
        number = max(self._shelf.versions(self._model), default=0) + 1
        while number in claimed:
            number += 1
        return number

    def _alone(self, number: int) -> bool:
        """Whether ours is the only claim of the number."""
        for _ in range(_LOOKS):
            rivals = sorted(each.base_name for each in self._listed() if _number(each) == number)
            if rivals == [self._mine]:
                return True
            # Ours is gone when the number was published: whoever came next has tidied up.
            if self._mine not in rivals[:1]:
                return False
            time.sleep(self._look_s)
        return False

    def _listed(self) -> list[Any]:
        return [each for each in self._shelf.objects.listed(self._folder) if _number(each)]

    def _sweep(self) -> None:
        """Remove what killed releases have left: claims of what is published, and files of what never was."""
        listed = self._listed()
        now = next(each.mtime for each in listed if each.base_name == self._mine)
        for each in listed:
            number = _number(each)
            if each.base_name == self._mine:
                continue
            if self._shelf.published(self._model, number):
                self._shelf.objects.remove(f"{self._folder}/{each.base_name}")
            elif now - each.mtime > self._times.swept_after:
                below = f"{self._model}/{number}"
                for left in self._shelf.objects.listed(below):
                    self._shelf.objects.remove(f"{below}/{left.base_name}")


def _number(entry: Any) -> int:
    """The number that an object among the claims claims; 0 when it is no claim."""
    number, dash, _ = entry.base_name.partition("-")
    return int(number) if dash and number.isdecimal() else 0
