"""What goes wrong: a script that sends garbage over plain HTTP, and mistakes that only other events can show.

Each piece says what the server should make of it. Nothing of it may cost anybody else an event.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from datetime import timedelta
from typing import NamedTuple

from feedback.demo.answers import APP, FIRST, SERVICE, WEEK, Act
from feedback.demo.exam import LABELS, MODEL, Form
from feedback.demo.people import SCRIPT
from schemas.kinds import PREFIX, THUMB

BATCH, ONE = "application/cloudevents-batch+json", "application/json"


class Garbage(NamedTuple):
    """One request: its body, its media type, and the status that it should get."""

    what: str
    body: bytes
    media_type: str = ONE
    status: int = 422


def _thumb(number: int, **changed: object) -> dict[str, object]:
    """A thumb that nothing is wrong with, but for what is changed; None leaves a field out."""
    event: dict[str, object] = {
        "specversion": "1.0",
        "id": f"script-{number}",
        "source": "/home-made",
        "type": THUMB.type,
        "time": "2025-06-03T10:00:00Z",
        "data": {"prediction_id": f"form-{number:04d}", "person": SCRIPT.name, "value": "up"},
    }
    event.update(changed)
    return {name: value for name, value in event.items() if value is not None}


def _said(**data: object) -> dict[str, object]:
    return {"prediction_id": "form-0001", "person": SCRIPT.name, "value": "up", **data}


def garbage() -> Iterator[Garbage]:
    """All of the script's requests; the first is a batch of which two thirds are fine."""
    fine = [json.dumps(_thumb(number)).encode() for number in (101, 102, 103, 104)]
    half = (
        b"[" + b",".join([fine[0], b'{"specversion": "1.0", oops}', fine[1], fine[2], b"17", fine[3]]) + b"]"
    )
    yield Garbage("a batch with two broken items of six", half, BATCH, 200)
    yield Garbage("half an event", fine[0][:80], status=400)
    yield Garbage("a batch that breaks off", b"[" + fine[0] + b"," + fine[1][:50], BATCH, 400)
    yield Garbage("text in Latin-1", '{"id": "Müller"}'.encode("latin-1"), status=400)
    yield Garbage("a thumb to the side", json.dumps(_thumb(1, data=_said(value="sideways"))).encode())
    yield Garbage(
        "a score of NaN", json.dumps(_thumb(2, data=_said(score=float("nan")))).encode(), status=400
    )
    yield Garbage("a time without an offset", json.dumps(_thumb(3, time="2025-06-03T10:00:00")).encode())
    yield Garbage("no target", json.dumps(_thumb(4, data={"value": "up"})).encode())
    yield Garbage("a version of tomorrow", json.dumps(_thumb(5, type=f"{PREFIX}{THUMB.name}.v9")).encode())
    yield Garbage("a field nobody knows", json.dumps(_thumb(6, data=_said(colour="red"))).encode())
    yield Garbage("the same key twice", fine[0].replace(b'"value": "up"', b'"value": "up", "value": "down"'))
    deep = json.dumps(_thumb(7, data=None)).encode()[:-1] + b', "data": ' + b"[" * 40 + b"]" * 40 + b"}"
    yield Garbage("40 levels of brackets", deep)
    yield Garbage(
        "100 KiB of text", json.dumps(_thumb(8, data=_said(value="u" * 100_000))).encode(), status=413
    )
    yield Garbage("a table", b"form,thumb\n1,up\n", "text/csv", 415)


def mistakes(forms: list[Form]) -> Iterator[Act]:
    """Well-formed events that contradict others: the worker finds them, after the 2xx."""
    at = forms[0].at + timedelta(hours=7)

    def said(form: Form, what: str, **arguments: object) -> dict[str, object]:
        return {
            "prediction_id": form.prediction_id,
            "person": "ben",
            "time": at,
            "id": f"{form.prediction_id}.{what}",
            **arguments,
        }

    yield Act(WEEK, APP, "thumb", said(forms[30], "other-model", value="down", model="essay-grader"))
    yield Act(WEEK, APP, "correction", said(forms[31], "in-words", label="seven"))
    yield Act(WEEK, APP, "correction", said(forms[32], "as-number", label=7))
    again = {
        "model": MODEL,
        "model_version": FIRST,
        "output": "0" if forms[33].reading.output != "0" else "1",
        "prediction_id": forms[33].prediction_id,
        "time": forms[33].at,
        "id": f"{forms[33].prediction_id}.made-again",
    }
    yield Act(WEEK, SERVICE, "prediction", again)
    yield Act(WEEK, APP, "comment", said(forms[34], "same-id", text="the first of two"))
    yield Act(WEEK, APP, "comment", said(forms[34], "same-id", text="another one under the same id"))
    shape = {"labels": [*LABELS, "blank"]}
    declared = {
        "model": MODEL,
        "model_version": FIRST,
        "output_shape": shape,
        "time": at,
        "id": "declared.again",
    }
    yield Act(WEEK, SERVICE, "declare", declared)
