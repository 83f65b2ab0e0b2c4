"""Whatever is admitted can be folded, kept and shown: no event stops the worker, none breaks a page."""

from __future__ import annotations

import json
import tempfile
from pathlib import Path
from typing import Any

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from schemas.describe.answers import COUNT_FIELDS
from schemas.stages import Stage
from streams.ingest.admission import admit
from streams.log.memory import MemoryLog
from streams.projection.apply import advance
from streams.projection.rebuild import verify
from streams.queries.counts import counts
from streams.queries.dead_letters import dead_letters
from streams.queries.feedback import feedback
from streams.queries.labels import labels
from streams.queries.outcomes import outcomes
from streams.queries.pages import Page
from streams.queries.payloads import Payloads
from streams.queries.predictions import prediction
from streams.queries.waiting import waiting
from streams.store.memory import MemoryStore
from streams.store.port import Store
from streams.store.sqlite.store import SqliteStore, create_store
from streams.views.registry import TABLES
from tests.schemas.valid import EVENT, written
from tests.streams.drawn import START, log_of
from tests.streams.sent import WRITTEN_AS_FLOATS, event, item, made, thumb

_FEW = {
    "prediction_id": st.sampled_from(["p", "q"]),
    "join_key": st.just("case"),
    "model": st.just("m"),
    "model_version": st.sampled_from(["1", "2"]),
    "person": st.sampled_from(["ann", "bob"]),
    "subject": st.just("s"),
    "explains": st.sampled_from(["e1", "e2"]),
}


@st.composite
def meeting(draw: st.DrawFn) -> bytes:
    """Any valid event, with ids that others have too."""
    sent = draw(EVENT)
    for field in sent["data"].keys() & _FEW.keys():
        sent["data"][field] = draw(_FEW[field])
    if draw(st.booleans()):
        sent["id"] = draw(_FEW["explains"])
    sent["source"] = "/s"
    return draw(written(sent))


def shown(store: Store, log: MemoryLog) -> list[Any]:
    """Every page that there is, as JSON."""
    payloads = Payloads(log)
    with store.snapshot() as snapshot:
        pages = [
            counts(snapshot, COUNT_FIELDS, Page()),
            dead_letters(snapshot, payloads, Page()),
            waiting(snapshot, START, Page()),
            *(labels(snapshot, model, Page()) for model in ("m", "n")),
            *(outcomes(snapshot, "m", ["segment", "action"], Page()) for _ in range(1)),
            *(prediction(snapshot, payloads, name) for name in ("p", "q")),
            *(feedback(snapshot, payloads, name) for name in ("e1", "e2")),
        ]
    return [json.loads(msgspec.json.encode(page)) for page in pages]


def folded(items: list[bytes]) -> list[list[Any]]:
    """What the pages show after these events, from each store; the log verifies."""
    log = log_of([(each, START) for each in items], 2, [3])
    answers = []
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "views.db"
        create_store(path, log.identity, TABLES)
        on_disk = SqliteStore(path, writable=True)
        for store in (MemoryStore(log.identity), on_disk):
            while advance(log, store):
                pass
            answers.append(shown(store, log))
        with on_disk.snapshot() as snapshot:
            assert verify(log, snapshot, MemoryStore(log.identity)) == []
        on_disk.close()
    return answers


@settings(max_examples=20)
@given(st.lists(meeting(), min_size=1, max_size=8))
def test_any_events_fold_and_show_the_same_from_every_store(items: list[bytes]) -> None:
    """Whatever admission lets in; and a timeline has the stages that there are, in their order."""
    in_memory, on_disk = folded(items)
    assert in_memory == on_disk
    for page in in_memory[-2:]:
        for one in page:
            stages = [Stage(each["stage"]) for each in one["timeline"]]
            assert stages == sorted(stages, key=list(Stage).index)


TRICKY = {
    "the first year": event(time="1700-01-01T00:00:00+23:59"),
    "the last year": event(time="9999-12-31T23:59:59Z"),
    "a model event of the last year": event(
        type="loopline.model.deployed.v1",
        time="9999-12-31T23:59:59Z",
        data={"model": "m", "model_version": "1"},
    ),
    "a huge outcome": event("feedback.outcome.v1", data={"subject": "s", "outcome": "won", "value": 1e308}),
    "a huge outcome below nothing": event(
        "feedback.outcome.v1", data={"subject": "s", "outcome": "won", "value": -1.7e308}
    ),
    "the smallest outcome": event(
        "feedback.outcome.v1", data={"subject": "s", "outcome": "won", "value": 5e-324}
    ),
    "a huge amount": event(
        data={"prediction_id": "p", "value": "x", "amount": 1e308}, type="loopline.feedback.action.v1"
    ),
    "integers beyond 64 bits": made(output=10**40, features={"a": 10**40}, input=[10**40, 1e300]),
    "an input that RFC 8785 would round": made(input={"n": 2**53 + 1, "f": 1e21, "z": -0.0}),
    "an input of 30 levels": made(input=json.loads("[" * 30 + "]" * 30)),
    "keys beyond the basic plane": made(input={"\U0001f600": 1, "\ufb33": 2, "\u20ac": 3, "": 4}),
    "an empty key": made(output={"": None}),
    "a config version": made(config_version=2**53),
    **WRITTEN_AS_FLOATS,
    "a model of digits": made(model="1", model_version="0"),
    "text that looks like SQL": thumb(person="'; DROP TABLE facts; --", env="%_\\"),
    "a label of everything": event(
        "feedback.correction.v1", data={"prediction_id": "p-81", "label": {"a": [1, None, {"b": 0.1}]}}
    ),
    "a shape of integers beyond 64 bits": event(
        "model.declared.v1",
        data={"model": "m", "model_version": "1", "output_shape": {"labels": [10**30, 1e30]}},
    ),
    "a metric that is tiny": event(
        "model.declared.v1",
        type="loopline.evaluation.recorded.v1",
        data={"model": "m", "model_version": "1", "metrics": [{"name": "a", "value": 5e-324}]},
    ),
    "a retraction of itself": event("feedback.retraction.v1", data={"prediction_id": "p", "explains": "e-2"}),
    "a comment that explains itself": event(
        "feedback.comment.v1", data={"prediction_id": "p-81", "text": "x", "explains": "e-2"}
    ),
}


@pytest.mark.parametrize("sent", TRICKY.values(), ids=TRICKY)
def test_an_unusual_event_does_not_stop_the_worker(sent: dict[str, Any]) -> None:
    """One event that could not be folded would stop every one behind it."""
    one = item(sent)
    assert admit(one).problem is None
    beside = [item(made()), item({**thumb(), "id": "t"})]
    in_memory, on_disk = folded([*beside, one, item({**thumb(value="down"), "id": "u"})])
    assert in_memory == on_disk
