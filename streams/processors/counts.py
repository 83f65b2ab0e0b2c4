"""Counts: the numerators and denominators of every rate, as differences.

What a fact counts is a function of its row and its prediction's; a change of either subtracts what it
counted before and adds what it counts now. Sums only, so the partitions' order does not matter.
"""

from __future__ import annotations

from functools import lru_cache

from msgspec import json

from schemas.identity import SUBJECT, unpack
from schemas.instants import DAY, utc_day
from streams.processors.amend import RETRACTION
from streams.processors.join import PREDICTION_MADE
from streams.store.tables import Count, Exposure, Fact, Outcome, Prediction

_encode = json.Encoder().encode

OUTCOME = "feedback.outcome"
_UNCOUNTED = frozenset({RETRACTION, PREDICTION_MADE})
_WITHOUT_VALUE = frozenset({"prompt.shown", "prompt.dismissed", OUTCOME})


Group = tuple[str | None, str | None, str | None, str | None, int, str, str | None, str]
"""What is counted together: a prediction's model, version, segment, action and day (days since 1970),
then kind, value and environment. A plain tuple: one is made for every event."""

Standing = tuple[Group, int, int]
"""Where an event counts, and as what: `n` by the rules of what counts once, `events` all not retracted."""


def prediction_group(prediction: Prediction, kind: str, value: str | None) -> Group:
    """Where a prediction, or something said about it, is counted."""
    return (
        prediction.model,
        prediction.model_version,
        prediction.segment,
        prediction.action,
        prediction.at // DAY,
        kind,
        value,
        prediction.env,
    )


def counted(fact: Fact, prediction: Prediction | None) -> Standing | None:
    """What a fact counts as it stands: under its prediction, or alone if it is about a subject."""
    kind = fact.kind
    if fact.retracted or kind in _UNCOUNTED:
        return None
    value = None if kind in _WITHOUT_VALUE else fact.value
    if fact.joined is not None and prediction is not None:
        return prediction_group(prediction, kind, value), fact.effective, 1
    if fact.key[:1] == SUBJECT:
        group = (fact.model, None, None, None, fact.at // DAY, kind, value, fact.env)
        return group, fact.effective, 1
    return None


@lru_cache(maxsize=8192)
def _keyed(group: Group) -> tuple[str, str]:
    day = utc_day(group[4] * DAY)
    return _encode([*group[:4], day, *group[5:]]).decode(), day


def count_row(group: Group, shard: int, n: int, events: int) -> Count:
    """A difference to add to the counts."""
    dims, day = _keyed(group)
    return Count(dims, shard, *group[:4], day, *group[5:], n, events)


def exposure_row(prediction: Prediction, shard: int) -> Exposure | None:
    """That a subject saw a prediction, by the prediction's group and day."""
    if prediction.subject is None:
        return None
    group = (
        prediction.model,
        prediction.model_version,
        prediction.segment,
        prediction.action,
        prediction.env,
    )
    return Exposure(prediction.subject, _group_text(group), shard, *group, utc_day(prediction.at), 1)


@lru_cache(maxsize=8192)
def _group_text(group: tuple[str | None, ...]) -> str:
    return _encode(group).decode()


def outcome_row(fact: Fact, shard: int, sign: int) -> Outcome | None:
    """That an outcome befell a subject (sign 1), or that it was taken back (sign -1).

    Its amount stays in the fact: floats do not add up to the same sum in every order.
    """
    if fact.kind != OUTCOME:
        return None
    assert fact.value is not None
    return Outcome(
        unpack(fact.key[1:]),
        _group_text((fact.value, fact.model, fact.env)),
        shard,
        fact.value,
        fact.model,
        fact.env,
        utc_day(fact.at),
        sign,
    )
