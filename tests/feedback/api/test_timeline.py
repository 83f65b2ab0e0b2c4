"""The acknowledgement: a timeline holds what is true about a feedback event now, and nothing else."""

from __future__ import annotations

from typing import Any

from schemas.instants import SECOND, rfc3339
from tests.feedback.conftest import NOW, Loop, correction, declared, made
from tests.streams.asking import event, thumb


def timeline(loop: Loop, event_id: str, **parameters: str) -> list[dict[str, Any]]:
    """The stages of the only item under this id."""
    (item,) = loop.get(f"/v1/feedback/{event_id}", **parameters)["items"]
    found: list[dict[str, Any]] = item["timeline"]
    return found


def stages(loop: Loop, event_id: str) -> list[str]:
    """The names of its stages."""
    return [stage["stage"] for stage in timeline(loop, event_id)]


def test_an_unknown_id_has_no_items(loop: Loop) -> None:
    """Nothing is known about it, which is an answer and not an error."""
    assert loop.get("/v1/feedback/nothing") == {"items": []}


def test_feedback_that_is_early_waits_and_then_joins(loop: Loop) -> None:
    """Waiting is there only while it waits; joined is when both sides were known."""
    loop.send(thumb())
    assert timeline(loop, "t-1") == [
        {"stage": "received", "at": rfc3339(NOW)},
        {"stage": "waiting", "at": rfc3339(NOW), "for": "prediction:p-1"},
    ]
    loop.now += 60 * SECOND
    loop.send(made())
    joined = rfc3339(loop.now)
    assert timeline(loop, "t-1") == [
        {"stage": "received", "at": rfc3339(NOW)},
        {"stage": "joined", "at": joined, "prediction_id": "p-1"},
        {"stage": "in_effect", "at": joined},
    ]


def test_what_a_later_vote_replaced_is_no_longer_in_effect(loop: Loop) -> None:
    """The earlier vote stays in the history, joined, and counts no more."""
    loop.send(made(), thumb("t-1", person="ann"), thumb("t-2", person="ann", time="2026-11-21T00:00:00Z"))
    assert stages(loop, "t-1") == ["received", "joined"]
    assert stages(loop, "t-2") == ["received", "joined", "in_effect"]


def test_what_was_taken_back_says_so(loop: Loop) -> None:
    """A retraction ends the effect; its own instant is the event's."""
    loop.send(made(), thumb("t-1"), event("feedback.retraction", "r-1", prediction_id="p-1", explains="t-1"))
    assert timeline(loop, "t-1")[2:] == [{"stage": "retracted", "at": "2026-11-20T09:12:31.402Z"}]
    assert stages(loop, "r-1") == ["received", "joined", "in_effect"]


def test_a_label_is_in_effect_from_its_declaration(loop: Loop) -> None:
    """A correction counts when it joins; as a label it stands from the declaration on."""
    loop.send(made(), correction("c-1"))
    waiting = timeline(loop, "c-1")
    assert [stage["stage"] for stage in waiting] == ["received", "waiting", "joined", "in_effect"]
    assert waiting[1]["for"] == "declaration:m@1"
    loop.now += SECOND
    loop.send(declared())
    settled = timeline(loop, "c-1")
    assert [stage["stage"] for stage in settled] == ["received", "joined", "in_effect"]
    assert settled[2]["at"] == rfc3339(loop.now)


def test_an_earlier_label_stands_while_the_latest_does_not_fit(loop: Loop) -> None:
    """The person's latest label that fits is in effect, though a later correction counts as feedback."""
    loop.send(declared(), made(), correction("c-1"), correction("c-2", "zebra", time="2026-11-21T00:00:00Z"))
    assert stages(loop, "c-1") == ["received", "joined", "in_effect"]
    assert loop.get("/v1/feedback/c-1")["items"][0]["effective"] is False
    assert stages(loop, "c-2") == ["received", "joined", "in_effect", "discarded"]
    assert loop.get("/v1/predictions/p-1")["label"]["label"] == "b"


def test_what_the_worker_refused_is_discarded_with_its_code(loop: Loop) -> None:
    """A verdict is a stage, not a second item."""
    loop.send(declared(), made(), correction("c-1", "zebra"), thumb("t-1", model="other"))
    assert timeline(loop, "c-1")[-1] == {"stage": "discarded", "at": rfc3339(NOW), "code": "label_invalid"}
    assert stages(loop, "t-1") == ["received", "discarded"]


def test_a_conflicting_copy_is_an_item_of_its_own(loop: Loop) -> None:
    """The first copy keeps its timeline; the later one with other content is discarded beside it."""
    loop.send(made(), thumb("t-1"))
    loop.now += SECOND
    loop.send(thumb("t-1", value="down", time="2026-11-20T10:00:00Z"))
    first, second = loop.get("/v1/feedback/t-1")["items"]
    assert [stage["stage"] for stage in first["timeline"]] == ["received", "joined", "in_effect"]
    assert first["effective"] is True
    assert (second["id"], second["source"], second["type"]) == ("t-1", "/shop", "loopline.feedback.thumb.v1")
    assert (second["at"], second["received"]) == ("2026-11-20T10:00:00Z", rfc3339(loop.now))
    assert second["timeline"] == [
        {"stage": "received", "at": rfc3339(loop.now)},
        {"stage": "discarded", "at": rfc3339(loop.now), "code": "id_conflict"},
    ]


def test_what_the_collector_refused_is_found_by_its_id(loop: Loop) -> None:
    """Where the id of a refused item could be read, asking for it tells what became of it."""
    loop.send(thumb("t-1", value="sideways"))
    assert timeline(loop, "t-1") == [
        {"stage": "received", "at": rfc3339(NOW)},
        {"stage": "discarded", "at": rfc3339(NOW), "code": "invalid_value"},
    ]
    assert loop.get("/v1/feedback/t-1", source="/shop")["items"]
    assert loop.get("/v1/feedback/t-1", source="/elsewhere") == {"items": []}


def test_the_same_id_of_two_sources_is_two_items(loop: Loop) -> None:
    """An id is its source's own; `source` chooses."""
    loop.send(made(), thumb("t-1"), thumb("t-1", source="/web", person="bob"))
    assert len(loop.get("/v1/feedback/t-1")["items"]) == 2
    (item,) = loop.get("/v1/feedback/t-1", source="/web")["items"]
    assert (item["source"], item["person"], item["prediction_id"]) == ("/web", "bob", "p-1")
    assert item["waits_for"] is None


def test_an_outcome_is_in_effect_without_a_prediction(loop: Loop) -> None:
    """What is about a subject joins nothing and counts at once."""
    loop.send(event("feedback.outcome", "o-1", subject="s", outcome="churned"))
    (item,) = loop.get("/v1/feedback/o-1")["items"]
    assert [stage["stage"] for stage in item["timeline"]] == ["received", "in_effect"]
    assert item["prediction_id"] is None


def test_a_correction_is_followed_into_datasets_models_and_production(loop: Loop) -> None:
    """In each release that holds it, each model trained on one, and the one that serves now, if so."""
    loop.send(declared(), made(), correction("c-1"))
    asked: list[tuple[str, str, str]] = []

    def lineage(model: str, event_id: str, source: str) -> list[str]:
        asked.append((model, event_id, source))
        return ["m@2", "m@3", "m.web@1"]

    loop.lineage = lineage
    assert stages(loop, "c-1") == ["received", "joined", "in_effect"]
    assert asked[-1] == ("m", "c-1", "/shop")
    for version in (1, 2, 3):
        loop.send(_released(version))
    loop.send(_released(1, "web"), _released(2, "web"))
    loop.send(
        _deployed("2", "2026-11-22T00:00:00Z", ["m@1", "m@2"]),
        _deployed("3", "2026-11-23T00:00:00Z", ["m@1"]),
    )
    further = timeline(loop, "c-1")[3:]
    assert further == [
        {"stage": "in_dataset", "at": "2026-11-21T01:30:00Z", "dataset": "m.web@1"},
        {"stage": "in_dataset", "at": "2026-11-21T02:00:00Z", "dataset": "m@2"},
        {"stage": "in_dataset", "at": "2026-11-21T03:00:00Z", "dataset": "m@3"},
        {"stage": "in_model", "at": "2026-11-22T00:00:00Z", "model_version": "2"},
    ]
    loop.send(event("model.rolled_back", "back", model="m", model_version="2", time="2026-11-24T00:00:00Z"))
    assert timeline(loop, "c-1")[-1] == {
        "stage": "deployed",
        "at": "2026-11-24T00:00:00Z",
        "model_version": "2",
    }


def _released(version: int, name: str | None = None) -> dict[str, Any]:
    return event(
        "dataset.released",
        f"release-{name}-{version}",
        model="m",
        **({} if name is None else {"name": name}),
        version=version,
        content_hash="ab",
        as_of="0:1",
        rows=1,
        time=f"2026-11-21T0{version}:{'00' if name is None else '30'}:00Z",
    )


def _deployed(version: str, time: str, datasets: list[str]) -> dict[str, Any]:
    return event(
        "model.deployed", f"deploy-{version}", model="m", model_version=version, datasets=datasets, time=time
    )
