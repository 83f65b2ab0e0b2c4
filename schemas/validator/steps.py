"""What a check may cost, and the count of it."""

from __future__ import annotations

from typing import Any

MOST_STEPS = 100_000
"""So many steps may one value take: a tenth of a second at most. A list of 10,000 numbers takes 20,000."""

MOST_LEVELS = 128
"""So deep may schemas lie in each other while a value is checked, references followed."""


class OutOfSteps(Exception):
    """Whether the value is valid cannot be said within the steps that it may take."""


class Run:
    """One value's way through a schema: the steps and levels that are left, and the resources entered."""

    __slots__ = ("left", "levels", "scope")

    def __init__(self) -> None:
        self.left = MOST_STEPS
        self.levels = MOST_LEVELS
        self.scope: list[Any] = []

    def spend(self, steps: int) -> None:
        """Count steps. Raises OutOfSteps when there are none left."""
        self.left -= steps
        if self.left < 0:
            raise OutOfSteps


class Evaluated:
    """Which members of an object and items of an array some schema has looked at."""

    __slots__ = ("every_item", "items", "names")

    def __init__(self) -> None:
        self.names: set[str] = set()
        self.items: set[int] = set()
        self.every_item = False

    def add(self, other: Evaluated) -> None:
        """What another schema has looked at, which holds for the same value."""
        self.names |= other.names
        self.items |= other.items
        self.every_item = self.every_item or other.every_item
