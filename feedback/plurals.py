"""Numbers with their nouns, as people read them."""

from __future__ import annotations


def many(count: int, one: str, more: str | None = None) -> str:
    """A number with its noun: `1 event`, `2 events`."""
    return f"{count:,} {one if count == 1 else more or one + 's'}"
