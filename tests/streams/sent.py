"""Single events as a product would send them, good and then changed, and the verdict on one."""

from __future__ import annotations

import json
from typing import Any

from streams.ingest.admission import Verdict, admit, admit_batch

TIME = "2026-11-20T09:12:31.402Z"


def event(
    kind: str = "feedback.thumb.v1", *, without: tuple[str, ...] = (), **changed: Any
) -> dict[str, Any]:
    """A good event of a kind; `changed` are attributes of the envelope, and `data`."""
    kinds: dict[str, dict[str, Any]] = {
        "feedback.thumb.v1": {"prediction_id": "p-81", "value": "up"},
        "feedback.comment.v1": {"prediction_id": "p-81", "text": "no"},
        "feedback.correction.v1": {"prediction_id": "p-81", "label": "smyth"},
        "feedback.retraction.v1": {"prediction_id": "p-81", "explains": "e-1"},
        "feedback.outcome.v1": {"subject": "s-1", "outcome": "renewed"},
        "prediction.made.v1": {"prediction_id": "p-81", "model": "m", "model_version": "1", "output": "a"},
        "prompt.shown.v1": {"prediction_id": "p-81", "prompt_id": "q-1"},
        "model.declared.v1": {"model": "m", "model_version": "1", "output_shape": {"labels": ["a"]}},
        "dataset.released.v1": {"model": "m", "version": 1, "content_hash": "h", "as_of": "0:1", "rows": 2},
    }
    whole = {
        "specversion": "1.0",
        "id": "e-2",
        "source": "/shop",
        "type": f"loopline.{kind}",
        "time": TIME,
        "data": kinds[kind],
        **changed,
    }
    return {key: value for key, value in whole.items() if key not in without}


def thumb(**data: Any) -> dict[str, Any]:
    """A good thumb with other data."""
    return event(data={"prediction_id": "p-81", "value": "up", **data})


def made(**data: Any) -> dict[str, Any]:
    """A good prediction with more data."""
    whole = event("prediction.made.v1")
    return {**whole, "data": {**whole["data"], **data}}


WRITTEN_AS_FLOATS: dict[str, dict[str, Any]] = {
    "a config version written as a float": made(config_version=3.0, output=[2.0, 10**30]),
    "counts written as floats": event(
        type="loopline.evaluation.recorded.v1",
        data={"model": "m", "model_version": "1", "metrics": [{"name": "a", "value": 1, "n": 5e10}]},
    ),
    "a release written as floats": event(
        type="loopline.dataset.released.v1",
        data={"model": "m", "version": 1.0, "content_hash": "h", "as_of": "0:1", "rows": 2.0},
    ),
}
"""Events whose integers are written as floats, which JSON does not tell apart."""


def item(value: Any) -> bytes:
    """A value as it would be sent."""
    return value if isinstance(value, bytes) else json.dumps(value, ensure_ascii=False).encode()


def nested(levels: int) -> Any:
    """Arrays inside each other."""
    value: Any = 1
    for _ in range(levels):
        value = [value]
    return value


def spelt(good: dict[str, Any], old: str, new: str) -> bytes:
    """A good event with a piece of its text replaced."""
    text = json.dumps(good)
    assert old in text
    return text.replace(old, new, 1).encode()


def judged(sent: Any) -> Verdict:
    """The verdict on one item, which is the same alone, in a batch, and beside good and bad ones."""
    one, good, bad = item(sent), item(thumb()), b"nope"
    alone = admit(one)
    for items in ([one], [good, one], [one, bad, good]):
        among = admit_batch(b"[" + b",".join(items) + b"]", items)[items.index(one)]
        assert (among.problem, among.id, among.source) == (alone.problem, alone.id, alone.source)
        assert (among.event is None) == (alone.event is None)
    return alone


def code(sent: Any) -> str | None:
    """The code of the problem, or None for an item that is admitted."""
    problem = judged(sent).problem
    return None if problem is None else problem.code
