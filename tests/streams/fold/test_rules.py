"""What the views say, rule by rule of the contract."""

from __future__ import annotations

from typing import Any

import pytest

from tests.streams.telling import MINUTE, NOON, Views, declared, prediction, told


def thumb(event_id: str, value: str = "up", minute: int = 1, **data: Any) -> tuple[bytes, int]:
    """A thumb of ann on prediction p, unless said otherwise."""
    data = {"prediction_id": "p", "person": "ann", **data}
    return told("feedback.thumb", event_id, minute, value=value, **data)


def correction(event_id: str, label: Any, minute: int = 1, **data: Any) -> tuple[bytes, int]:
    """A correction of ann on prediction p, unless said otherwise."""
    data = {"prediction_id": "p", "person": "ann", **data}
    return told("feedback.correction", event_id, minute, label=label, **data)


def confirmation(event_id: str, value: str, minute: int = 1, **data: Any) -> tuple[bytes, int]:
    """A confirmation of ann on prediction p, unless said otherwise."""
    data = {"prediction_id": "p", "person": "ann", **data}
    return told("feedback.confirmation", event_id, minute, value=value, **data)


def retraction(event_id: str, explains: str, minute: int = 9, **data: Any) -> tuple[bytes, int]:
    """A retraction by ann on prediction p, unless said otherwise."""
    data = data or {"prediction_id": "p", "person": "ann"}
    return told("feedback.retraction", event_id, minute, explains=explains, **data)


# Join


def test_feedback_before_its_prediction_waits_and_then_joins() -> None:
    """Feedback that comes early is parked, and joins when its prediction comes."""
    assert Views([thumb("t")]).waiting() == {"t": "prediction:p"}
    views = Views([thumb("t"), prediction()])
    assert views.waiting() == {}
    assert views.home("t") == "p"
    assert views.counts["feedback.thumb", "up"] == (1, 1)


def test_feedback_that_names_another_model_is_a_dead_letter() -> None:
    """A prediction id of another model is a mismatch: it joins and counts nowhere."""
    views = Views([thumb("t", model="other"), prediction()])
    assert views.letters == {("t", "model_mismatch")}
    assert views.home("t") is None
    assert ("feedback.thumb", "up") not in views.counts


def test_feedback_by_join_key_finds_the_latest_prediction_not_later_than_itself() -> None:
    """A join key serves the prediction with the greatest (at, id) that is not after the feedback."""
    about = {"prediction_id": None, "model": "m", "join_key": "k"}
    story = [
        prediction("p1", 0, join_key="k"),
        prediction("p2", 5, join_key="k"),
        prediction("p3", 20, join_key="k"),
        told("feedback.thumb", "t", 10, value="up", model="m", join_key="k"),
    ]
    assert Views(story, partitions=3).home("t") == "p2"
    assert Views(reversed(story), partitions=3).home("t") == "p2"
    assert about["join_key"] == "k"


def test_feedback_by_join_key_moves_when_a_better_prediction_comes_late() -> None:
    """A better prediction that arrives late takes the feedback over, by subtract and add."""
    feedback = told("feedback.thumb", "t", 10, value="up", model="m", join_key="k")
    first, second = prediction("p1", 0, join_key="k"), prediction("p2", 5, join_key="k", segment="late")
    views = Views([first, feedback, second], partitions=2)
    assert views.home("t") == "p2"
    assert views.counts["feedback.thumb", "up"] == (1, 1)


def test_a_prediction_at_the_same_instant_serves_the_feedback() -> None:
    """Not after means that the same instant will do, and ids break ties among predictions only."""
    feedback = told("feedback.thumb", "a", 5, value="up", model="m", join_key="k")
    views = Views([prediction("p1", 5, join_key="k"), prediction("p2", 5, join_key="k"), feedback])
    assert views.home("a") == "p2"


def test_feedback_by_join_key_waits_until_a_prediction_is_old_enough() -> None:
    """Feedback earlier than every prediction of its join key waits for one."""
    feedback = told("feedback.thumb", "t", 1, value="up", model="m", join_key="k/1")
    views = Views([prediction("p", 5, join_key="k/1"), feedback])
    assert views.waiting() == {"t": "join_key:m/k/1"}


def test_a_join_key_includes_its_model() -> None:
    """The same join key of another model is another case."""
    feedback = told("feedback.thumb", "t", 1, value="up", model="other", join_key="k")
    assert Views([prediction(join_key="k"), feedback]).waiting() == {"t": "join_key:other/k"}


def test_a_person_votes_once_whether_by_id_or_by_join_key() -> None:
    """Votes on one prediction count once a person, however the prediction was named."""
    by_key = told("feedback.thumb", "t2", 5, value="down", model="m", join_key="k", person="ann")
    views = Views([prediction(join_key="k"), thumb("t1", "up", 1), by_key], partitions=3)
    assert views.counts["feedback.thumb", "down"] == (1, 1)
    assert views.counts["feedback.thumb", "up"] == (0, 1)


# Once


def test_the_same_event_counts_once() -> None:
    """A retry of the same event changes nothing, in another block too."""
    views = Views([prediction(), thumb("t"), thumb("t"), prediction(), thumb("t")])
    assert views.counts["feedback.thumb", "up"] == (1, 1)
    assert views.counts["prediction.made", None] == (1, 1)
    assert views.letters == set()


def test_a_copy_with_the_same_instant_written_otherwise_is_a_copy() -> None:
    """Times are the same content when they are the same instant."""
    item, received = thumb("t")
    other = item.replace(b"12:01:00Z", b"14:01:00.000+02:00")
    assert other != item
    views = Views([prediction(), (item, received), (other, received)])
    assert views.letters == set()


@pytest.mark.parametrize(
    "other",
    [
        thumb("t", "down"),
        thumb("t", minute=2),
        told("feedback.comment", "t", 1, prediction_id="p", text="x"),
    ],
)
def test_the_same_id_with_other_content_is_a_conflict(other: tuple[bytes, int]) -> None:
    """The first in the log stands; a later one with another type, instant or data is a dead letter."""
    views = Views([prediction(), thumb("t"), other])
    assert views.letters == {("t", "id_conflict")}
    assert views.counts["feedback.thumb", "up"] == (1, 1)


def test_a_nanosecond_makes_another_content() -> None:
    """Nanoseconds are kept: one apart is a conflict."""
    item, received = thumb("t")
    later = item.replace(b"12:01:00Z", b"12:01:00.000000001Z")
    assert Views([(item, received), (later, received)]).letters == {("t", "id_conflict")}


def test_the_same_id_about_another_prediction_is_another_event() -> None:
    """Identity includes the partition key."""
    views = Views([prediction("p"), prediction("q"), thumb("t"), thumb("t", prediction_id="q")])
    assert views.letters == set()
    assert views.counts["feedback.thumb", "up"] == (2, 2)


def test_a_second_prediction_of_the_same_id_conflicts_unless_it_is_identical() -> None:
    """A prediction is made once; an identical one under a new id is no conflict."""
    again = told("prediction.made", "x", prediction_id="p", model="m", model_version="1", output="a")
    other = told("prediction.made", "y", prediction_id="p", model="m", model_version="1", output="b")
    views = Views([prediction(), again, other, other])
    assert views.letters == {("y", "prediction_conflict")}
    assert views.counts["prediction.made", None] == (1, 1)


# Amend and retract


def test_the_latest_vote_of_a_person_counts() -> None:
    """Latest is the greatest (at, id), never the last to arrive."""
    views = Views([prediction(), thumb("b", "down", 5), thumb("a", "up", 2), thumb("c", "up", 5)])
    assert views.counts["feedback.thumb", "up"] == (1, 2)
    assert views.counts["feedback.thumb", "down"] == (0, 1)
    assert views.fact("c").effective


def test_a_clock_that_runs_ahead_cannot_win() -> None:
    """An event's instant is never later than its receipt."""
    item, _ = thumb("ahead", "down", minute=600)
    views = Views([prediction(), (item, NOON + MINUTE), thumb("t", "up", 5)])
    assert views.fact("t").effective
    assert views.fact("ahead").at == NOON + MINUTE


def test_without_a_person_each_event_is_its_own_voter() -> None:
    """Anonymous thumbs all count."""
    views = Views([prediction()] + [thumb(f"t{n}", person="ann" if n > 5 else f"u{n}") for n in range(3)])
    anonymous = [told("feedback.thumb", f"x{n}", 1, prediction_id="p", value="up") for n in range(3)]
    assert views.counts["feedback.thumb", "up"] == (3, 3)
    assert Views([prediction(), *anonymous]).counts["feedback.thumb", "up"] == (3, 3)


def test_actions_and_reasons_count_once_a_word_and_comments_always() -> None:
    """Per person, prediction and word: one action, one reason; all comments."""
    about = {"prediction_id": "p", "person": "ann"}
    views = Views(
        [prediction()]
        + [told("feedback.action", f"a{n}", n, value="copied", **about) for n in range(3)]
        + [told("feedback.action", "s", 1, value="sent", **about)]
        + [told("feedback.reason", f"r{n}", n, reason="incorrect", **about) for n in range(2)]
        + [told("feedback.comment", f"c{n}", n, text="hm", **about) for n in range(2)]
    )
    assert views.counts["feedback.action", "copied"] == (1, 3)
    assert views.counts["feedback.action", "sent"] == (1, 1)
    assert views.counts["feedback.reason", "incorrect"] == (1, 2)
    assert views.counts["feedback.comment", None] == (2, 2)


@pytest.mark.parametrize("order", [1, -1])
def test_a_retraction_takes_back_whether_it_comes_before_or_after(order: int) -> None:
    """A retraction is a permanent mark; the earlier vote counts again."""
    story = [prediction(), thumb("t1", "up", 1), thumb("t2", "down", 2), retraction("r", "t2")]
    views = Views(story[::order])
    assert views.fact("t2").retracted
    assert views.counts["feedback.thumb", "up"] == (1, 1)
    assert ("feedback.thumb", "down") not in views.counts


def test_a_retraction_of_something_unknown_waits_for_it() -> None:
    """A retraction before what it marks is visible as waiting."""
    assert Views([prediction(), retraction("r", "t")]).waiting() == {"r": "event:t"}


@pytest.mark.parametrize("person, counts", [("ann", True), ("bob", False), (None, True)])
def test_a_retraction_counts_from_the_same_person_or_a_server(person: str | None, counts: bool) -> None:
    """Nobody takes back what another person said; a server, which names nobody, may."""
    who: dict[str, Any] = {} if person is None else {"person": person}
    views = Views([prediction(), thumb("t"), retraction("r", "t", prediction_id="p", **who)])
    assert views.fact("t").retracted == counts


def test_a_retraction_cannot_be_retracted() -> None:
    """A mark is permanent."""
    views = Views([prediction(), thumb("t"), retraction("r", "t"), retraction("r2", "r")])
    assert views.fact("t").retracted
    assert not views.fact("r").retracted


def test_retracting_a_thumb_retracts_its_reasons_only() -> None:
    """The two-step falls together; comments and corrections stay; superseding takes nothing along."""
    about = {"prediction_id": "p", "person": "ann", "explains": "t"}
    second_steps = [
        told("feedback.reason", "r", 2, reason="incorrect", **about),
        told("feedback.comment", "c", 2, text="x", **about),
        correction("k", "b", 2, explains="t"),
    ]
    views = Views([prediction(), declared(), thumb("t", "down"), *second_steps, retraction("x", "t")])
    assert [views.fact(name).retracted for name in ("r", "c", "k")] == [1, 0, 0]
    superseded = Views([prediction(), thumb("t", "down"), *second_steps, thumb("t2", "up", 5)])
    assert superseded.fact("r").effective


def test_a_reason_that_explains_no_thumb_explains_nothing() -> None:
    """Neither itself nor a comment is a thumb: nothing is taken along."""
    about = {"prediction_id": "p", "person": "ann"}
    views = Views(
        [
            prediction(),
            told("feedback.comment", "c", 1, text="x", **about),
            told("feedback.reason", "r1", 2, reason="other", explains="c", **about),
            told("feedback.reason", "r2", 2, reason="incorrect", explains="r2", **about),
            retraction("x", "c"),
        ]
    )
    assert views.fact("c").retracted
    assert not views.fact("r1").retracted
    assert not views.fact("r2").retracted


# Labels


def test_labels_wait_for_the_declaration_and_the_join_does_not() -> None:
    """Without a declared output, a correction counts as feedback and its label waits."""
    views = Views([prediction(), correction("k", "b"), confirmation("y", "yes", person="bob")])
    waits = "declaration:m@1"
    assert views.waiting() == {"k": waits, "y": waits}
    assert views.counts["feedback.correction", None] == (1, 1)
    assert views.label() is None
    later = Views([prediction(), correction("k", "b"), declared()])
    assert later.waiting() == {}
    assert later.label() == ("b", 1.0, 1)


def test_the_majority_of_people_is_the_label() -> None:
    """One vote a person; agreement is the winner's votes over all votes; people are all voters."""
    votes = [correction(f"k{n}", label, person=f"u{n}") for n, label in enumerate("bbc")]
    views = Views([declared(), prediction(), *votes, correction("k9", "b", 2, person="u0")])
    label = views.label()
    assert label is not None
    assert (label[0], label[2]) == ("b", 3)
    assert label[1] == pytest.approx(2 / 3)


def test_a_tie_gives_no_label() -> None:
    """Two labels with as many votes: no label, and both are candidates."""
    views = Views([declared(), prediction(), correction("1", "b"), correction("2", "c", person="bob")])
    assert views.label() == (None, 0.5, 2)
    assert views.labels[0].rivals == 2


def test_gold_outranks_any_number_of_others() -> None:
    """Gold votes are tallied alone."""
    votes = [correction(f"k{n}", "b", person=f"u{n}") for n in range(3)]
    views = Views([declared(), prediction(), *votes, correction("g", "c", gold=True, person="judge")])
    assert views.label() == ("c", 1.0, 1)
    assert views.labels[0].channel == "gold"


def test_a_yes_is_a_vote_for_the_output() -> None:
    """A yes-confirmation votes for the prediction's own output, unless that is outside the shape."""
    assert Views([declared(), prediction(), confirmation("y", "yes")]).label() == ("a", 1.0, 1)
    outside = Views([declared(), prediction(output="z"), confirmation("y", "yes")])
    assert outside.label() is None
    assert outside.letters == set()


def test_a_later_no_withdraws_a_yes_only() -> None:
    """A no is evidence against the output, not against the person's own correction."""
    story = [declared(), prediction(), confirmation("y", "yes", 2), confirmation("n", "no", 3)]
    assert Views(story).label() is None
    assert Views([*story, correction("k", "b", 1)]).label() == ("b", 1.0, 1)


def test_a_persons_vote_is_the_latest_of_correction_and_yes() -> None:
    """One label vote a person, whichever came last."""
    story = [declared(), prediction(), correction("k", "b", 2)]
    assert Views([*story, confirmation("y", "yes", 3)]).label() == ("a", 1.0, 1)
    assert Views([*story, confirmation("y", "yes", 1)]).label() == ("b", 1.0, 1)


def test_a_label_that_does_not_fit_is_refused_and_the_feedback_stays() -> None:
    """The latest label that fits stands; the other one still counts as feedback."""
    views = Views([declared(), prediction(), correction("k1", "b", 1), correction("k2", "zz", 2)])
    assert views.letters == {("k2", "label_invalid")}
    assert views.label() == ("b", 1.0, 1)
    assert views.fact("k2").effective
    assert views.counts["feedback.correction", None] == (1, 2)


def test_a_label_is_judged_again_when_its_prediction_changes() -> None:
    """Moved by join key to a prediction of another version, a label fits that version's shape or not."""
    by_key = told("feedback.correction", "k", 9, label="zz", model="m", join_key="j", person="ann")
    first = [declared(), prediction("p1", 0, join_key="j"), by_key]
    assert Views(first).letters == {("k", "label_invalid")}
    second = [declared("2", text=True), prediction("p2", 5, join_key="j", model_version="2")]
    views = Views([*first, *second], partitions=2)
    assert views.letters == set()
    assert views.label("p2") == ("zz", 1.0, 1)


def test_a_retraction_reaches_labels_overrides_and_counts() -> None:
    """What is taken back is in no view but the history."""
    story = [declared(), prediction(input="x"), correction("k", "b")]
    assert len(Views(story).overrides) == 1
    views = Views([*story, retraction("r", "k")])
    assert views.label() is None
    assert views.overrides == []
    assert ("feedback.correction", None) not in views.counts


def test_a_declaration_is_immutable() -> None:
    """A second shape for the same version is a conflict; the same one under a new id is none."""
    again = told(
        "model.declared", "x", model="m", model_version="1", output_shape={"labels": ["a", "b", "c"]}
    )
    other = told("model.declared", "y", model="m", model_version="1", output_shape={"text": True})
    assert Views([declared(), again, other]).letters == {("y", "declaration_conflict")}


# Overrides, outcomes, environments


def test_a_persons_own_correction_is_their_override_for_the_input() -> None:
    """Per person and input: the latest fitting correction, on whichever prediction."""
    story = [declared(), prediction("p", input="x"), prediction("q", 1, input="x")]
    views = Views([*story, correction("k1", "b", 2), correction("k2", "c", 3, prediction_id="q")])
    latest = max(views.overrides, key=lambda row: row.at)
    assert (latest.person, latest.label, latest.id) == ("ann", '"c"', "k2")
    assert len({row.input_ref for row in views.overrides}) == 1


def test_a_prediction_counts_under_its_own_environment_whatever_its_feedback_says() -> None:
    """In counts the environment is the prediction's."""
    views = Views([prediction(env="test"), thumb("t", env="prod")])
    assert views.counts["feedback.thumb", "up"] == (1, 1)


def test_an_outcome_can_be_taken_back_by_its_subject() -> None:
    """A retraction may name the subject that an outcome is about."""
    outcome = told("feedback.outcome", "o", 1, subject="s", outcome="churned")
    views = Views([outcome, retraction("r", "o", subject="s")])
    assert views.fact("o").retracted
    assert ("feedback.outcome", None) not in views.counts


def test_an_input_that_has_no_canonical_form_stops_nothing() -> None:
    """An integer beyond a double has no RFC 8785 form: the prediction counts, and has no reference."""
    views = Views([declared(), prediction(input=10**400), correction("k", "b")])
    assert views.label() == ("b", 1.0, 1)
    assert views.overrides == []


def test_a_vote_that_moves_leaves_its_old_prediction_without_a_label() -> None:
    """Moved by join key, a correction takes its label along, also when both lay in the store already."""
    by_key = told("feedback.correction", "k", 9, label="b", model="m", join_key="j", person="ann")
    story = [declared(), prediction("p1", 0, join_key="j", input="x"), by_key]
    views = Views([*story, prediction("p2", 5, join_key="j", input="x")], one_by_one=True)
    assert views.label("p1") is None
    assert views.label("p2") == ("b", 1.0, 1)
    assert len(views.overrides) == 1


def test_a_verdict_that_no_longer_holds_is_withdrawn_from_the_dead_letters() -> None:
    """A label refused under one prediction's shape and fitting the next one's is no dead letter any more."""
    by_key = told("feedback.correction", "k", 9, label="zz", model="m", join_key="j", person="ann")
    story = [declared(), declared("2", text=True), prediction("p1", 0, join_key="j"), by_key]
    assert Views(story, one_by_one=True).letters == {("k", "label_invalid")}
    moved = [*story, prediction("p2", 5, join_key="j", model_version="2")]
    assert Views(moved, one_by_one=True).letters == set()
