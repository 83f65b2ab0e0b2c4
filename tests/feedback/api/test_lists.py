"""What can be read back, newest first: predictions and what people said, by every filter, page by page."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from streams.queries import feedback_counts as said
from streams.queries import newest
from streams.store.memory import MemorySnapshot
from tests.feedback.conftest import Loop, correction, declared, made
from tests.streams.asking import event, thumb

MINUTES = [f"2026-11-{day:02}T{hour:02}:00:00Z" for day in (18, 19, 20) for hour in range(0, 24, 4)]


def ids(items: list[Any]) -> list[str]:
    """The ids of listed feedback, or of the predictions listed."""
    return [item["prediction"]["prediction_id"] if "prediction" in item else item["id"] for item in items]


def every(loop: Loop, path: str, **parameters: Any) -> list[Any]:
    """All items of a list whose pages may be empty."""
    items: list[Any] = []
    while True:
        page = loop.get(path, **parameters)
        assert len(page["items"]) <= parameters.get("limit", 100)
        items += page["items"]
        if page["next"] is None:
            return items
        parameters["next"] = page["next"]


def populate(loop: Loop) -> None:
    """Eighteen predictions over three days, of two models, and what people said of them."""
    loop.send(declared())
    for number, time in enumerate(MINUTES):
        name = f"p-{number:02}"
        loop.send(
            made(
                name,
                time=time,
                model="mn"[number % 2],
                model_version=str(number % 3),
                segment="web" if number % 2 else "app",
                action="show" if number % 4 else "confirm",
                person=f"u-{number % 5}",
                input={"n": number},
                env="test" if number == 17 else "prod",
            )
        )
        if number % 3 == 0:
            loop.send(thumb(f"t-{number:02}", name, time=time, person="ann", value="down"))
        if number % 6 == 0:
            # Superseded: it counts no more.
            loop.send(thumb(f"t-{number:02}-later", name, time=MINUTES[-1], person="ann", value="up"))
        if number % 4 == 0:
            loop.send(correction(f"c-{number:02}", "b", name, time=time, person="bob"))


@pytest.fixture
def full(loop: Loop) -> Loop:
    """A loop with something of all that can be filtered by."""
    populate(loop)
    return loop


# --------------------------------------------------------------------------------------------- predictions

FILTERS: dict[str, tuple[dict[str, str], Callable[[int], bool]]] = {
    "all": ({}, lambda n: True),
    "model": ({"model": "n"}, lambda n: n % 2 == 1),
    "version": ({"model_version": "1"}, lambda n: n % 3 == 1),
    "segment": ({"segment": "app"}, lambda n: n % 2 == 0),
    "action": ({"action": "confirm"}, lambda n: n % 4 == 0),
    "person": ({"person": "u-3"}, lambda n: n % 5 == 3),
    "from": ({"from": "2026-11-19"}, lambda n: n >= 6),
    "to": ({"to": "2026-11-19"}, lambda n: n < 12),
    "a day": ({"from": "2026-11-19", "to": "2026-11-19"}, lambda n: 6 <= n < 12),
    "a thumb that counts": ({"feedback": "thumb:down"}, lambda n: n % 6 == 3),
    "one that came later": ({"feedback": "thumb:up"}, lambda n: n % 6 == 0),
    "any thumb": ({"feedback": "feedback.thumb"}, lambda n: n % 3 == 0),
    "a correction": ({"feedback": "correction"}, lambda n: n % 4 == 0),
    "a word nobody said": ({"feedback": "action:copied"}, lambda n: False),
    "together": (
        {"model": "m", "segment": "app", "feedback": "correction", "from": "2026-11-19", "to": "2026-11-20"},
        lambda n: n % 4 == 0 and n >= 6,
    ),
}


@pytest.mark.parametrize("limit", [1, 2, 100])
@pytest.mark.parametrize("name", FILTERS)
def test_predictions_are_listed_newest_first(full: Loop, name: str, limit: int) -> None:
    """Filters combine; days are UTC days of the prediction, both included; only prod unless asked."""
    parameters, meets = FILTERS[name]
    found = every(full, "/v1/predictions", limit=limit, **parameters)
    assert ids(found) == [f"p-{number:02}" for number in reversed(range(17)) if meets(number)]


def test_a_listed_prediction_is_as_it_is_alone(full: Loop) -> None:
    """Its data as it was sent and its label, and in place of the feedback how often what counts was said."""
    for item in full.get("/v1/predictions")["items"]:
        alone = full.get(f"/v1/predictions/{item['prediction']['prediction_id']}")
        assert item["prediction"] == alone["prediction"]
        assert item["label"] == alone["label"]
        counted = [each for each in alone["feedback"] if each["effective"]]
        assert sum(item["feedback_counts"].values()) == len(counted)
    first = full.get("/v1/predictions", model="m", to="2026-11-18")["items"][-1]
    assert first["at"] == MINUTES[0]
    assert first["feedback_counts"] == {"correction": 1, "thumb:up": 1}


def test_an_environment_is_listed_when_it_is_asked_for(full: Loop) -> None:
    """What was tried out is not mixed into what is real."""
    assert ids(full.get("/v1/predictions", env="test")["items"]) == ["p-17"]
    assert full.get("/v1/predictions", env="nowhere")["items"] == []


def test_feedback_by_join_key_counts_for_its_prediction(loop: Loop) -> None:
    """However the prediction was named: by its id, or by the product's own case."""
    loop.send(
        made("p-1", join_key="case"),
        event("feedback.thumb", "t", model="m", join_key="case", value="down", time="2026-11-20T12:00:00Z"),
    )
    (item,) = loop.get("/v1/predictions", feedback="thumb:down")["items"]
    assert item["feedback_counts"] == {"thumb:down": 1}
    (said,) = loop.get("/v1/feedback")["items"]
    assert said["prediction_id"] == "p-1"


def much_said(loop: Loop, many: int) -> None:
    """Three predictions; of the second very much is said, by its id and by join key, and one word once."""
    for number in range(3):
        loop.send(made(f"p-{number}", time=f"2026-11-20T00:0{number}:00Z", join_key=f"k-{number}"))
    loop.send(
        *(
            thumb(f"t-{number:04}", "p-1", person=f"u-{number}", value="up", time="2026-11-20T01:00:00Z")
            for number in range(many)
        )
    )
    by_case = [
        event(
            "feedback.thumb",
            f"k-{number:04}",
            model="m",
            join_key="k-1",
            person=f"k-{number}",
            value="down" if number == many - 1 else "up",
            time=f"2026-11-20T01:{number % 60:02}:00Z",
        )
        for number in range(many)
    ]
    loop.send(*by_case)


def test_of_one_prediction_only_so_much_is_counted(loop: Loop, monkeypatch: pytest.MonkeyPatch) -> None:
    """The item says that there is more; what has no more than that says nothing of it."""
    monkeypatch.setattr(said, "MOST_COUNTED", 50)
    much_said(loop, 30)
    counts = {
        item["prediction"]["prediction_id"]: (item["feedback_counts"], item.get("feedback_counts_more"))
        for item in loop.get("/v1/predictions")["items"]
    }
    assert counts["p-0"] == counts["p-2"] == ({}, None)
    words, more = counts["p-1"]
    assert sum(words.values()) == 50
    assert more is True


@pytest.mark.parametrize("word, expected", [("thumb:down", ["p-1"]), ("thumb:up", ["p-1"]), ("action", [])])
def test_a_word_is_found_however_much_was_said(
    loop: Loop, monkeypatch: pytest.MonkeyPatch, word: str, expected: list[str]
) -> None:
    """A page ends within a prediction of which very much was said, and the next one goes on there."""
    monkeypatch.setattr(newest, "MOST_LOOKED_AT", 10)
    monkeypatch.setattr(said, "_FACTS_AT_ONCE", 7)
    much_said(loop, 60)
    for limit in (1, 100):
        assert ids(every(loop, "/v1/predictions", feedback=word, limit=limit)) == expected


def test_a_page_reads_no_more_where_more_was_said(loop: Loop, monkeypatch: pytest.MonkeyPatch) -> None:
    """What a page reads of facts has a bound, in all and at once, whatever it is asked for."""
    monkeypatch.setattr(newest, "MOST_LOOKED_AT", 20)
    monkeypatch.setattr(newest, "MOST_BYTES", 20 * newest.ROW_BYTES)
    monkeypatch.setattr(said, "MOST_COUNTED", 20)
    monkeypatch.setattr(said, "_FACTS_AT_ONCE", 7)
    much_said(loop, 300)
    read: list[int] = []
    along = MemorySnapshot.along

    def counting(*given: Any, **more: Any) -> Any:
        rows = along(*given, **more)
        read.append(len(rows))
        return rows

    monkeypatch.setattr(MemorySnapshot, "along", counting)
    for parameters in ({}, {"feedback": "thumb:down"}, {"feedback": "correction"}):
        read.clear()
        loop.get("/v1/predictions", **parameters)
        assert max(read) <= 32
        assert sum(read) <= 100


# ------------------------------------------------------------------------------------------------ feedback

SAID: dict[str, tuple[dict[str, str], list[str]]] = {
    "a kind": ({"kind": "correction"}, ["c-16", "c-12", "c-08", "c-04", "c-00"]),
    "a kind in full": ({"kind": "feedback.correction", "to": "2026-11-18"}, ["c-04", "c-00"]),
    "a value": ({"value": "up"}, ["t-12-later", "t-06-later", "t-00-later"]),
    "a kind and a value": ({"kind": "thumb", "value": "down", "from": "2026-11-20"}, ["t-15", "t-12"]),
    "a value of another kind": ({"kind": "correction", "value": "down"}, []),
    "a person": ({"person": "bob", "from": "2026-11-20"}, ["c-16", "c-12"]),
    "a model": ({"model": "n"}, ["t-15", "t-09", "t-03"]),
    "a day": ({"from": "2026-11-19", "to": "2026-11-19"}, ["t-09", "c-08", "t-06"]),
}


@pytest.mark.parametrize("limit", [1, 2, 100])
@pytest.mark.parametrize("name", SAID)
def test_feedback_is_listed_newest_first(full: Loop, name: str, limit: int) -> None:
    """By kind, value, person, model and day, and by several of them at once."""
    parameters, expected = SAID[name]
    assert ids(every(full, "/v1/feedback", limit=limit, **parameters)) == expected


def test_listed_feedback_is_as_its_prediction_has_it(full: Loop) -> None:
    """The same fields, with the prediction's id."""
    for item in full.get("/v1/feedback")["items"]:
        alone = full.get(f"/v1/predictions/{item['prediction_id']}")["feedback"]
        named = {key: value for key, value in item.items() if key != "prediction_id"}
        assert named in alone


def test_what_waits_is_listed_and_has_no_prediction_yet(loop: Loop) -> None:
    """It was said; it is joined to nothing and counts nowhere. So is what is about a subject."""
    loop.send(thumb("early", "unknown"), event("feedback.outcome", "o", subject="s", outcome="churned"))
    assert [
        (item["id"], item["prediction_id"], item["effective"]) for item in loop.get("/v1/feedback")["items"]
    ] == [
        ("o", None, True),
        ("early", None, False),
    ]


def test_the_environment_of_feedback_is_its_predictions(loop: Loop) -> None:
    """As in the counts; what has no prediction has its own."""
    loop.send(
        made("p", env="test"),
        thumb("t-1", "p"),
        thumb("t-2", "unknown", env="test"),
        thumb("t-3", "unknown"),
    )
    assert ids(loop.get("/v1/feedback")["items"]) == ["t-3"]
    assert ids(loop.get("/v1/feedback", env="test")["items"]) == ["t-2", "t-1"]


def test_a_model_that_only_the_prediction_names_is_found(loop: Loop) -> None:
    """Feedback need not repeat the model."""
    loop.send(made("p"), thumb("t", "p"))
    assert ids(loop.get("/v1/feedback", model="m")["items"]) == ["t"]
    assert loop.get("/v1/feedback", model="n")["items"] == []


# --------------------------------------------------------------------------------------------------- pages


@pytest.mark.parametrize("path", ["/v1/predictions", "/v1/feedback"])
def test_pages_hold_still_while_events_come(full: Loop, path: str) -> None:
    """What comes meanwhile is newer or older than the page's end: nothing is shown twice or skipped."""
    before = ids(every(full, path))
    shown: list[str] = []
    parameters: dict[str, Any] = {"limit": 2}
    for number in range(99):
        page = full.get(path, **parameters)
        shown += ids(page["items"])
        if page["next"] is None:
            break
        parameters["next"] = page["next"]
        new = f"new-{number}"
        full.send(made(new, time="2026-11-21T00:00:00Z"), thumb(new, new, time="2026-11-21T00:00:00Z"))
    assert shown == before


def test_of_one_instant_each_is_listed_once(loop: Loop) -> None:
    """An import gives thousands of events one time."""
    for number in range(30):
        loop.send(made(f"p-{number:02}"), thumb(f"t-{number:02}", f"p-{number:02}"))
    assert ids(every(loop, "/v1/predictions", limit=7)) == [f"p-{n:02}" for n in reversed(range(30))]
    assert ids(every(loop, "/v1/feedback", limit=7)) == [f"t-{n:02}" for n in reversed(range(30))]


@pytest.mark.parametrize(
    "path, rare", [("/v1/predictions", {"segment": "rare"}), ("/v1/feedback", {"person": "rare"})]
)
def test_a_page_that_meets_little_ends_early(
    loop: Loop, monkeypatch: pytest.MonkeyPatch, path: str, rare: dict[str, str]
) -> None:
    """A page looks at so many and no more; with its token the next one goes on, to the last of them."""
    monkeypatch.setattr(newest, "MOST_LOOKED_AT", 10)
    for number in range(35):
        word = "rare" if number in (3, 20) else "common"
        loop.send(
            made(f"p-{number:02}", time=f"2026-11-20T00:{number:02}:00Z", segment=word),
            thumb(f"t-{number:02}", f"p-{number:02}", time=f"2026-11-20T00:{number:02}:00Z", person=word),
        )
    sizes = []
    parameters: dict[str, Any] = dict(rare)
    while True:
        page = loop.get(path, **parameters)
        sizes.append(len(page["items"]))
        if page["next"] is None:
            break
        parameters["next"] = page["next"]
    assert sizes == [0, 1, 0, 1]


def test_a_page_carries_only_so_much(loop: Loop, monkeypatch: pytest.MonkeyPatch) -> None:
    """Large inputs end a page early; the next one goes on behind the last that was shown."""
    monkeypatch.setattr(newest, "MOST_BYTES", 3000)
    for number in range(9):
        loop.send(made(f"p-{number}", input="x" * 1000))
    first = loop.get("/v1/predictions")
    assert len(first["items"]) == 3
    assert ids(every(loop, "/v1/predictions")) == [f"p-{n}" for n in reversed(range(9))]


@pytest.mark.parametrize("path", ["/v1/predictions", "/v1/feedback"])
@pytest.mark.parametrize(
    "wrong",
    [
        {"kind": "applause"},
        {"feedback": "applause"},
        {"feedback": "thumb:"},
        {"feedback": "thumb:DOWN"},
        {"from": "yesterday"},
        {"to": "2026-13-01"},
        {"limit": "0"},
        {"next": "xyz"},
        {"modle": "m"},
    ],
    ids=str,
)
def test_a_wrong_parameter_is_refused(loop: Loop, path: str, wrong: dict[str, str]) -> None:
    """With a problem, and never answered as if it had not been there."""
    assert loop.get(path, 400, **wrong)["code"] == "invalid_request"


@pytest.mark.parametrize("path", ["/v1/predictions", "/v1/feedback"])
def test_the_first_and_the_last_day_can_be_asked_for(full: Loop, path: str) -> None:
    """Days far away are days, though no store knows their instants."""
    assert len(every(full, path, **{"from": "1000-01-01", "to": "9999-12-31"})) == len(every(full, path))
    assert every(full, path, **{"from": "9999-12-31"}) == []
    assert every(full, path, to="1000-01-01") == []
