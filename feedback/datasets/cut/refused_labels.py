"""Labels that were refused: corrections whose label does not fit the output that the version declared.

They count as feedback that the output was wrong, but are no votes. What is left leans towards labels that
fit, so a release says how many there are. A person's latest correction of a prediction is counted, as in
`/v1/counts`, and only of versions with a declaration: the labels of others wait and were not judged.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import NamedTuple

from feedback.datasets.cut.recipe import Filters
from feedback.shares import share
from models.estimate import estimate
from schemas import kinds
from schemas.identity import pack
from schemas.instants import rfc3339
from schemas.problems import LABEL_INVALID
from streams.store.port import Snapshot
from streams.store.tables import COUNTS, DEAD_LETTERS, FACTS, PREDICTIONS, DeadLetterRow, Fact, Prediction

# So many verdicts are looked at together: memory stays flat whatever their number.
_CHUNK = 1_000


class RefusedLabels(NamedTuple):
    """How many corrections there are, and of how many the label was refused."""

    refused: int
    corrections: int

    def document(self) -> dict[str, float | int | None]:
        """The counts, and the share with its 95 % interval; null without corrections.

        `enough` says whether those are enough to show the share.
        """
        share = estimate(self.refused, self.corrections)
        low, high = (None, None) if share.value is None else (share.low, share.high)
        return {**self._asdict(), "share": share.value, "low": low, "high": high, "enough": share.enough}

    def sentence(self) -> str:
        """What it means for whoever trains on the rest."""
        return (
            f"Of the corrections, {share(self.refused, self.corrections)} gave a label that does not fit the"
            " declared output. They count as feedback, but their labels are not here, so the labels that are"
            " here lean towards what was declared."
            " They are listed by `loopline dead-letters list --code label_invalid`."
        )


def refused_labels(
    snapshot: Snapshot, model: str, filters: Filters, declared: Iterable[str]
) -> RefusedLabels:
    """Count the corrections of a model's predictions, as the filters have it.

    Args:
        declared: the versions that have a declaration.

    Days are counted whole: from the UTC day of `since` on, whatever the hour.
    """
    scope = _Scope(filters, frozenset(declared))
    refused = sum(
        scope.has(made.model_version, made.segment, rfc3339(made.at)[:10])
        for made in _predictions_refused(snapshot, model, filters.env)
    )
    where = {"model": model, "env": filters.env, "kind": kinds.CORRECTION.name}
    totals = snapshot.totals(COUNTS, ("model_version", "segment", "day"), where)
    corrections = sum(n for version, segment, day, n, _ in totals if scope.has(version, segment, day))
    return RefusedLabels(refused, corrections)


class _Scope:
    """The groups of predictions that a release takes."""

    def __init__(self, filters: Filters, declared: frozenset[str]) -> None:
        self._filters = filters
        self._declared = declared
        self._since = "" if filters.since is None else rfc3339(filters.since)[:10]

    def has(self, version: str, segment: str | None, day: str) -> bool:
        """Whether it takes predictions of this version, segment and UTC day."""
        filters = self._filters
        return (
            version in self._declared
            and filters.model_version in (None, version)
            and (filters.segment is None or segment == filters.segment)
            and day >= self._since
        )


def _predictions_refused(snapshot: Snapshot, model: str, env: str) -> Iterator[Prediction]:
    """For each person's latest correction whose label was refused, its prediction."""
    where = {"model": model, "env": env, "code": LABEL_INVALID}
    after = None
    while True:
        rows = snapshot.scan(DEAD_LETTERS, where, after=after, limit=_CHUNK)
        letters = list(DeadLetterRow.read_all(rows))
        if letters:
            yield from _judged(snapshot, letters)
        if len(letters) < _CHUNK:
            return
        last = letters[-1]
        after = (last.partition, last.offset, last.place)


def _judged(snapshot: Snapshot, letters: list[DeadLetterRow]) -> Iterator[Prediction]:
    places = {(letter.partition, letter.offset, letter.place) for letter in letters}
    packed = {pack(letter.id) for letter in letters if letter.id is not None}
    facts = list(Fact.read_all(snapshot.find(FACTS, "id", packed)))
    # An id may be another source's too: the place in the log is one fact's alone.
    refused = [
        fact.prediction_key
        for fact in facts
        if (fact.partition, fact.offset, fact.place) in places
        and fact.effective
        and fact.code == LABEL_INVALID
    ]
    rows = snapshot.get(PREDICTIONS, {(pid,) for pid in refused})
    made = {prediction.pid: prediction for prediction in Prediction.read_all(rows)}
    return (made[pid] for pid in refused if pid in made)
