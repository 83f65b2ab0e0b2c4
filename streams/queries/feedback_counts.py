"""What was said of predictions: how often it counts, by kind and value, and of which of them a word counts.

A prediction may have a hundred thousand facts. So what is read is bounded: some facts of each of a few
predictions together, and more, page by page, of one that has more.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterator, Mapping, Sequence
from typing import NamedTuple

from schemas.kinds import KINDS
from streams.queries.pages import Page
from streams.queries.predictions import FactPlace, facts_of, place_of
from streams.store.port import Snapshot
from streams.store.tables import FACTS, FACTS_FROM_CASES, Fact, Prediction

MOST_COUNTED = 1_000
"""So many facts of a prediction are counted, and no more."""

_PREDICTIONS_AT_ONCE, _FACTS_OF_EACH = 32, 16
_FACTS_AT_ONCE = 500

Word = tuple[str, str | None]
"""A kind of feedback and its value; in what is asked for no value is any."""


class Counted(NamedTuple):
    """How often what counts was said of a prediction, whether it has more facts, and how many were read."""

    words: Counter[Word]
    more: bool
    read: int


class Searched(NamedTuple):
    """The predictions of which a word was said, and how many facts were read to know.

    `stopped` is where the search ended early: behind a prediction, or with a place within it.
    """

    met: list[Prediction]
    read: int
    stopped: tuple[Prediction, FactPlace | None] | None = None


class _First(NamedTuple):
    """A prediction, its first facts, and whether those are all it has."""

    prediction: Prediction
    facts: list[Fact]
    is_whole: bool


class _SearchedOne(NamedTuple):
    """Whether a word is among a prediction's facts, how many were read, and where that ended too early."""

    found: bool
    read: int
    stopped: FactPlace | None = None


def counted(snapshot: Snapshot, predictions: Sequence[Prediction]) -> Iterator[Counted]:
    """What was said of each of some predictions, read as it is asked for."""
    for prediction, first, is_whole in _first_facts(snapshot, predictions):
        facts = first if is_whole else facts_of(snapshot, prediction.pid, Page(MOST_COUNTED))
        words = Counter(map(_word, filter(_counts, facts[:MOST_COUNTED])))
        yield Counted(words, len(facts) > MOST_COUNTED, len(facts))


def search(
    snapshot: Snapshot,
    predictions: Sequence[Prediction],
    wanted: Word,
    most: int,
    begun: Mapping[bytes, FactPlace],
) -> Searched:
    """Those of some predictions of which a word was said and counts.

    Args:
        most: about how many facts to read; some facts of the first prediction are read in any case.
        begun: behind which place to go on in a prediction.
    """
    met: list[Prediction] = []
    read, last = 0, None
    for prediction, first, is_whole in _first_facts(snapshot, predictions):
        if last is not None and read >= most:
            return Searched(met, read, (last, None))
        read += len(first)
        after = begun.get(prediction.pid)
        found = after is None and _is_among(first, wanted)
        if not found and not is_whole:
            found, further, place = _search_one(snapshot, prediction.pid, wanted, most - read, after)
            read += further
            if place is not None:
                return Searched(met, read, (prediction, place))
        if found:
            met.append(prediction)
        last = prediction
    return Searched(met, read)


def _search_one(
    snapshot: Snapshot, pid: bytes, wanted: Word, most: int, after: FactPlace | None
) -> _SearchedOne:
    """Look for a word among all facts of a prediction, page by page."""
    read = 0
    while True:
        facts = facts_of(snapshot, pid, Page(_FACTS_AT_ONCE, after))
        some = facts[:_FACTS_AT_ONCE]
        read += len(some)
        if _is_among(some, wanted):
            return _SearchedOne(True, read)
        if len(facts) == len(some):
            return _SearchedOne(False, read)
        after = place_of(some[-1], pid)
        if read >= most:
            return _SearchedOne(False, read, after)


def _first_facts(snapshot: Snapshot, predictions: Sequence[Prediction]) -> Iterator[_First]:
    """The first facts of each prediction, by its id and by join key."""
    for start in range(0, len(predictions), _PREDICTIONS_AT_ONCE):
        some = predictions[start : start + _PREDICTIONS_AT_ONCE]
        facts: defaultdict[bytes, list[Fact]] = defaultdict(list)
        partly: set[bytes] = set()
        by_case = [each for each in some if each.join_key is not None]
        for index, asked in ((FACTS.by_key, some), (FACTS_FROM_CASES, by_case)):
            starts = [(each.pid,) for each in asked]
            found: defaultdict[bytes, list[Fact]] = defaultdict(list)
            for fact in Fact.read_all(snapshot.along(FACTS, index, starts, fixed=1, limit=_FACTS_OF_EACH)):
                found[fact.key if index == FACTS.by_key else fact.prediction_key].append(fact)
            for pid, its in found.items():
                facts[pid] += its
                if len(its) == _FACTS_OF_EACH:
                    partly.add(pid)
        for each in some:
            yield _First(each, facts[each.pid], is_whole=each.pid not in partly)


def _counts(fact: Fact) -> bool:
    return fact.joined is not None and bool(fact.effective) and KINDS[fact.kind].is_feedback


def _word(fact: Fact) -> Word:
    return KINDS[fact.kind].short, fact.value


def _is_among(facts: Sequence[Fact], wanted: Word) -> bool:
    kind, value = wanted
    words = map(_word, filter(_counts, facts))
    return any(word == wanted if value is not None else word[0] == kind for word in words)
