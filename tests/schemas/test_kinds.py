"""The table of kinds: what counts once, and that a row which does not fit its data is refused."""

from __future__ import annotations

from dataclasses import replace

import pytest
from msgspec import UNSET, UnsetType

from schemas import kinds
from schemas.catalog import CATALOG, Catalog
from schemas.events import Data, FeedbackThumb, PredictionMade, Targeted
from schemas.kind_checks import KindWithoutKey, KindWithoutRule
from schemas.kinds import KINDS, MODEL, PREDICTION, SUBJECT, TARGET, Kind, UnreadableTypes

COUNTS_ONCE = {
    "prediction": ["prediction.made"],
    "person": ["feedback.thumb", "feedback.confirmation", "feedback.correction"],
    "word": ["feedback.action", "feedback.reason"],
    "each": ["feedback.comment", "feedback.outcome", "prediction.shown", "prompt.shown", "prompt.dismissed"],
    "never": ["feedback.retraction"],
}


@pytest.mark.parametrize("once", COUNTS_ONCE)
def test_what_counts_once(once: str) -> None:
    """As the contract has it: per person and prediction, per person, prediction and word, each, or none."""
    assert {KINDS[name].once for name in COUNTS_ONCE[once]} == {once}


def test_what_votes_and_what_can_be_taken_back() -> None:
    """Corrections and confirmations vote; all feedback but a retraction can be retracted."""
    assert {"feedback.correction", "feedback.confirmation"} == kinds.VOTING
    retractable = {kind.short for kind in KINDS.values() if kind.retractable}
    assert retractable == set(kinds.FEEDBACK_KINDS) - {"retraction"}


def test_a_row_is_reached_by_its_name() -> None:
    """Every row is in the table under its own name, and is the only one of it."""
    rows = [value for value in vars(kinds).values() if isinstance(value, Kind)]
    assert len(rows) == len(KINDS) == len(CATALOG.current)
    assert all(KINDS[row.name] is row for row in rows)
    assert KINDS["feedback.thumb"].type == "loopline.feedback.thumb.v1"


def test_a_name_without_a_row_is_from_a_newer_version() -> None:
    """It is neither skipped nor treated like some other kind."""
    with pytest.raises(UnreadableTypes, match="upgrade"):
        KINDS["feedback.stars"]


class Loose(Data, kw_only=True):
    """Data that may name nothing."""

    person: str | UnsetType = UNSET
    value: str


class OfAModel(Data, kw_only=True):
    """Data that always names a model."""

    model: str
    value: str


class OfASubject(Data, kw_only=True):
    """Data that always names a subject."""

    subject: str
    value: str


class OfAPrediction(Data, kw_only=True):
    """Data that always names a prediction, and no person."""

    prediction_id: str
    value: str


class OfACase(Data, kw_only=True):
    """Data that names a join key, and perhaps no model."""

    join_key: str
    model: str | UnsetType = UNSET


def made_up(kind: Kind) -> Catalog:
    """A catalogue with one kind more."""
    return Catalog({**KINDS, kind.name: kind})


@pytest.mark.parametrize(
    "kind",
    [
        Kind("odd", Loose, MODEL, "never"),
        Kind("odd", OfACase, TARGET, "each"),
        Kind("odd", OfAModel, SUBJECT, "each"),
        Kind("odd", FeedbackThumb, PREDICTION, "person"),
        Kind("odd", PredictionMade, TARGET, "each"),
        Kind("odd", OfASubject, (), "each"),
    ],
    ids=["nothing", "no model", "another", "not always", "always", "empty"],
)
def test_a_kind_without_a_key_is_refused(kind: Kind) -> None:
    """Its events would be admitted and have no place in the log, or another one than its row says."""
    with pytest.raises(KindWithoutKey, match=r"loopline\.odd\.v1"):
        made_up(kind)


@pytest.mark.parametrize(
    "kind",
    [
        Kind("odd", FeedbackThumb, TARGET, "sometimes"),  # type: ignore[arg-type] # what mypy would find
        Kind("odd", FeedbackThumb, TARGET, "person", word="vote"),
        Kind("odd", FeedbackThumb, TARGET, "person", json="label"),
        Kind("odd", OfAPrediction, PREDICTION, "person"),
        Kind("odd", OfASubject, SUBJECT, "word", word="value"),
        Kind("odd", FeedbackThumb, TARGET, "word"),
        Kind("odd", FeedbackThumb, TARGET, "each", votes=True),
        Kind("odd", OfAModel, MODEL, "each"),
    ],
    ids=["unknown", "word", "content", "person", "subject", "no word", "votes", "model"],
)
def test_a_kind_without_a_rule_is_refused(kind: Kind) -> None:
    """Nobody could tell what of it counts once."""
    with pytest.raises(KindWithoutRule, match=r"loopline\.odd\.v1"):
        made_up(kind)


def test_a_kind_with_a_key_and_a_rule_is_known() -> None:
    """One row makes a kind: the catalogue reads its events."""
    assert "loopline.odd.v1" in made_up(Kind("odd", OfAModel, MODEL, "never")).types
    assert "loopline.odd.v1" in made_up(Kind("odd", OfASubject, SUBJECT, "each", word="value")).types
    assert "loopline.odd.v3" in made_up(Kind("odd", Targeted, TARGET, "person", version=3)).types
    renamed = replace(kinds.THUMB, version=2)
    assert "loopline.feedback.thumb.v1" not in made_up(renamed).types
