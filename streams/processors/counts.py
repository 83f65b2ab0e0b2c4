"""Counts: the numerators and denominators of every rate, as differences.

What a fact counts is a function of its row and its prediction's; a change of either subtracts what it
counted before and adds what it counts now. Sums only, so the partitions' order does not matter.
"""

from __future__ import annotations

from functools import lru_cache
from hashlib import blake2b

from msgspec import json

from schemas.identity import SUBJECT, unpack
from schemas.instants import DAY, utc_day
from schemas.kinds import KINDS
from streams.store.tables import Count, Exposure, Fact, Outcome, Prediction

_encode = json.Encoder().encode
_MOST_BYTES = 512


Group = tuple[str | None, str | None, str | None, str | None, int, str]
"""Whose counts belong together: a prediction's model, version, segment, action, day (days since 1970) and
environment. A plain tuple: one is made for every prediction."""

Word = tuple[str, str | None]
"""What is counted in a group: a kind of event, and the value where it has one."""


def group_of(prediction: Prediction) -> Group:
    """Where a prediction, and what is said about it, is counted."""
    return (
        prediction.model,
        prediction.model_version,
        prediction.segment,
        prediction.action,
        prediction.at // DAY,
        prediction.env,
    )


def group_alone(fact: Fact) -> Group | None:
    """Where a fact without a prediction is counted: nowhere, unless it is about a subject."""
    if fact.key[:1] != SUBJECT:
        return None
    return fact.model, None, None, None, fact.at // DAY, fact.env


def word_of(fact: Fact) -> Word | None:
    """As what a fact counts, as it stands; None if it does not."""
    kind = KINDS[fact.kind]
    if fact.retracted or not kind.counted:
        return None
    return kind.name, fact.value if kind.by_word else None


def count_row(group: Group, word: Word, shard: int, n: int, events: int) -> Count:
    """A difference to add to the counts: `n` by the rules of what counts once, `events` all not retracted."""
    model, version, segment, action, day, env = group
    columns = (model, version, segment, action, utc_day(day * DAY), *word, env)
    return Count(_group_text(columns), shard, *columns, n, events)


def exposure_row(prediction: Prediction, subject: str, shard: int) -> Exposure:
    """That a subject saw a prediction, by the prediction's group and day."""
    group = (
        prediction.model,
        prediction.model_version,
        prediction.segment,
        prediction.action,
        prediction.env,
    )
    return Exposure(subject, _group_text(group), shard, *group, utc_day(prediction.at), 1)


@lru_cache(maxsize=8192)
def _group_text(group: tuple[str | None, ...]) -> str:
    """A group as part of a key: the JSON text of its columns, or a digest where that is long.

    Control characters take six bytes each there, and an entry of an index has room for 2,700 in all.
    """
    text = _encode(group)
    if len(text) <= _MOST_BYTES:
        return text.decode()
    return f"#{blake2b(text, digest_size=16).hexdigest()}"


def outcome_row(fact: Fact, shard: int, sign: int) -> Outcome:
    """That an outcome befell a subject (sign 1), or that it was taken back (sign -1).

    Its amount stays in the fact: floats do not add up to the same sum in every order.
    """
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
