"""A defect of ours about some events, put into the fold: those whose text says "boom"."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import pytest

from streams.fold.fold import Fold
from streams.log.memory import MemoryLog
from streams.projection.apply import advance
from streams.store.port import Store
from streams.store.tables import DEAD_LETTERS, DeadLetterRow
from tests.streams.drawn import log_of
from tests.streams.telling import declared, prediction, told

COMMENTS = ("fine", "boom", "good", "well", "boom", "right")
HISTORY = [
    declared(),
    prediction("p"),
    *(
        told("feedback.comment", f"c{number}", number, prediction_id="p", text=text)
        for number, text in enumerate(COMMENTS)
    ),
    told("feedback.correction", "fix", 9, prediction_id="p", label="b", person="ann"),
]


class Defect(Exception):
    """What a defect of ours may raise; its text repeats what the event says."""


def put_in(patch: pytest.MonkeyPatch) -> None:
    """From now on, the events in question cannot be folded."""
    enter = Fold.enter

    def faulty(fold: Fold, rows: Any) -> None:
        enter(fold, rows)
        for row in rows:
            if getattr(row, "text", None) == "boom":
                raise Defect(f"cannot take {row.text!r} of {row.person!r}")

    patch.setattr(Fold, "enter", faulty)


def log_in_blocks(*sizes: int) -> MemoryLog:
    """The history in blocks of these sizes, in turn; in two partitions."""
    return log_of(HISTORY, 2, list(sizes))


def caught_up(log: MemoryLog, store: Store, **limits: Any) -> Store:
    """The store, with all of the log applied."""
    while advance(log, store, **limits):
        pass
    return store


def judged(store: Store) -> list[DeadLetterRow]:
    """The dead letters of accepted events."""
    with store.snapshot() as snapshot:
        letters: Iterable[DeadLetterRow] = (DeadLetterRow(*row) for row in snapshot.scan(DEAD_LETTERS))
        return [letter for letter in letters if letter.partition >= 0]
