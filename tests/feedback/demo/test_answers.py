"""What the demo's people do is one fixed list in which every kind of feedback and every trouble is there."""

from __future__ import annotations

from collections import Counter
from datetime import timedelta

import pytest

from feedback.demo import answers, exam
from feedback.demo.answers import BACK_ONLINE, EARLY, WEEK, WEEKS_LATER, Act
from feedback.demo.mischief import garbage, mistakes
from feedback.demo.people import MARKERS, markers_of

SMALL = exam.Size(known=40, exam=160, held_out=200)


@pytest.fixture(scope="module")
def piles() -> exam.Piles:
    """A small exam."""
    return exam.deal(SMALL)


@pytest.fixture(scope="module")
def forms(piles: exam.Piles) -> list[exam.Form]:
    """Its forms, as the first model reads them."""
    return exam.forms(piles.exam, exam.Reader([(each.pixels, each.truth) for each in piles.known]))


@pytest.fixture(scope="module")
def acts(forms: list[exam.Form]) -> list[Act]:
    """All that people do."""
    return answers.week(forms)


def test_no_picture_is_in_two_piles() -> None:
    """What is held out is neither learned from nor read in the exam, and every picture is dealt once."""
    piles = exam.deal(exam.Size(known=40, exam=1157, held_out=600))
    refs = [picture.ref for pile in piles for picture in pile]
    assert len(refs) == 1797
    # Two people wrote the very same pixels now and then; across piles nobody did.
    for one, other in (("known", "held_out"), ("exam", "held_out"), ("known", "exam")):
        assert not {p.ref for p in getattr(piles, one)} & {p.ref for p in getattr(piles, other)}


def test_the_list_is_the_same_every_time(piles: exam.Piles, acts: list[Act]) -> None:
    """Models, draws and times repeat, so that the demo prints the same numbers on every run."""
    again = exam.forms(piles.exam, exam.Reader([(each.pixels, each.truth) for each in piles.known]))
    assert answers.week(again) == acts


def test_every_kind_of_feedback_is_given(acts: list[Act]) -> None:
    """The demo shows all the calls by which people and products speak about a prediction."""
    assert {act.call for act in acts} == {
        "prediction",
        "shown",
        "prompt_shown",
        "prompt_dismissed",
        "action",
        "thumb",
        "reason",
        "comment",
        "correction",
        "confirmation",
        "outcome",
        "retraction",
    }


def test_every_id_is_used_once(acts: list[Act]) -> None:
    """Only a retry repeats an id, and a retry is one act that is sent twice."""
    ids = Counter((act.source, act.arguments["id"]) for act in acts)
    assert set(ids.values()) == {1}
    assert {act.times for act in acts} == {1, 2}


def test_people_are_early_late_and_on_time(forms: list[exam.Form], acts: list[Act]) -> None:
    """Feedback comes before its prediction, in the week, after it, weeks later, and from the future."""
    assert {act.chapter for act in acts} == {EARLY, WEEK, BACK_ONLINE, WEEKS_LATER}
    assert all(act.call != "prediction" for act in acts if act.chapter == EARLY)
    last = forms[-1].at
    assert all(
        act.arguments["time"] > last + timedelta(days=14) for act in acts if act.chapter == WEEKS_LATER
    )
    ahead = [act for act in acts if act.arguments.get("person") == "fay"]
    assert ahead
    assert all(act.arguments["time"] > last + answers.YEARS_AHEAD / 2 for act in ahead)


def test_liars_lie_and_the_honest_do_not(forms: list[exam.Form], acts: list[Act]) -> None:
    """Whoever does not lie and does not slip types what was really written."""
    truth = {form.prediction_id: form.picture.truth for form in forms}
    taken_back = {act.arguments["explains"] for act in acts if act.call == "retraction"}
    wrong = Counter(
        act.arguments["person"]
        for act in acts
        if act.call == "correction"
        and "prediction_id" in act.arguments
        and act.arguments["id"] not in taken_back
        and act.arguments["label"] != truth[act.arguments["prediction_id"]]
    )
    assert set(wrong) == {person.name for person in MARKERS if person.lies}


def test_some_forms_have_three_markers() -> None:
    """Most forms have one marker; where there are three they are three people."""
    sizes = Counter(len(markers_of(number)) for number in range(600))
    assert sizes == {1: 500, 3: 100}
    assert all(len({person.name for person in markers_of(n)}) == len(markers_of(n)) for n in range(600))


def test_confidences_are_the_models_own(forms: list[exam.Form]) -> None:
    """A confident answer is right more often than one that is proposed for confirmation."""
    sure = [form.right for form in forms if not form.uncertain]
    unsure = [form.right for form in forms if form.uncertain]
    assert sum(sure) / len(sure) > sum(unsure) / len(unsure) + 0.1
    assert all(0 <= form.reading.second_confidence <= form.reading.confidence <= 1 for form in forms)


def test_trouble_is_of_all_sorts(forms: list[exam.Form]) -> None:
    """Garbage comes in each of the ways that HTTP answers tell apart; mistakes name forms that are there."""
    assert {piece.status for piece in garbage()} == {200, 400, 413, 415, 422}
    ids = {form.prediction_id for form in forms}
    assert all(act.arguments.get("prediction_id", forms[0].prediction_id) in ids for act in mistakes(forms))
