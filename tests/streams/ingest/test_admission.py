"""Admission by example: values and fields that are wrong, and what looks wrong and is good."""

from __future__ import annotations

import json
from typing import Any

import msgspec
import pytest

from schemas.catalog import Catalog
from schemas.events import Data
from schemas.kinds import KINDS, MODEL, Kind
from streams.ingest.admission import admit, admit_batch, take_long, takes_long
from tests.streams.sent import WRITTEN_AS_FLOATS, code, event, item, judged, made, spelt, thumb

INVALID = {
    "no object": 5,
    "a text": "event",
    "null": None,
    "an array in place of an event": [thumb()],
    "no id": event(without=("id",)),
    "no source": event(without=("source",)),
    "no time": event(without=("time",)),
    "no type": event(without=("type",)),
    "no specversion": event(without=("specversion",)),
    "no data": event(without=("data",)),
    "data in base64": event(without=("data",), data_base64="e30="),
    "another specversion": event(specversion="0.3"),
    "a specversion that is a number": event(specversion=1.0),
    "a type that is a number": event(type=5),
    "a type that is null": event(type=None),
    "an id that is a number": event(id=7),
    "an id that is null": event(id=None),
    "an empty id": event(id=""),
    "an id of 257": event(id="i" * 257),
    "an empty source": event(source=""),
    "a source of 257": event(source="s" * 257),
    "data that is null": event(data=None),
    "data that is a list": event(data=[]),
    "a required field that is null": thumb(value=None),
    "an optional field that is null": thumb(score=None),
    "a value that is not listed": thumb(value="sideways"),
    "a boolean for a text": thumb(value=True),
    "a number as text": thumb(score="0.5"),
    "a boolean as a number": thumb(score=True),
    "a text as a boolean": made(asked="true"),
    "a number as a boolean": made(audit=1),
    "a score over 1": thumb(score=1.0000001),
    "a score under 0": thumb(score=-0.1),
    "no target": event(data={"value": "up"}),
    "a join key without its model": event(data={"value": "up", "join_key": "k"}),
    "a model alone": event(data={"value": "up", "model": "m"}),
    "a prediction id of 257": thumb(prediction_id="p" * 257),
    "an empty person": thumb(person=""),
    "a model with a slash": thumb(model="a/b"),
    "a model with a line end": thumb(model="m\n"),
    "a model of 129": thumb(model="m" * 129),
    "a model that begins with a dot": thumb(model=".m"),
    "a model beyond ASCII": thumb(model="mödel"),
    "a word in capitals": event(
        data={"prediction_id": "p", "reason": "Wrong"}, type="loopline.feedback.reason.v1"
    ),
    "a word of 65": event(
        data={"prediction_id": "p", "reason": "w" * 65}, type="loopline.feedback.reason.v1"
    ),
    "a word with a line end": event(
        data={"subject": "s", "outcome": "won\n"}, type="loopline.feedback.outcome.v1"
    ),
    "a segment of 129": made(segment="s" * 129),
    "an input_ref in capitals": made(input_ref="A" * 64),
    "an input_ref with a line end": made(input_ref="a" * 64 + "\n"),
    "an input that is null": made(input=None),
    "a label that is null": event("feedback.correction.v1", data={"prediction_id": "p", "label": None}),
    "a prompt without its id": event("prompt.shown.v1", data={"prediction_id": "p"}),
    "a retraction of nothing": event("feedback.retraction.v1", data={"prediction_id": "p"}),
    "a comment about nothing": event("feedback.comment.v1", data={"text": "no"}),
    "a comment about a subject and half a case": event(
        "feedback.comment.v1", data={"text": "no", "subject": "s", "join_key": "k"}
    ),
    "an empty comment": event("feedback.comment.v1", data={"prediction_id": "p", "text": ""}),
    "an outcome without its subject": event("feedback.outcome.v1", data={"outcome": "renewed"}),
    "a feature that is a list": made(features={"a": [1]}),
    "a shape of no kind": event(
        "model.declared.v1", data={"model": "m", "model_version": "1", "output_shape": {}}
    ),
    "a shape of two kinds": event(
        "model.declared.v1",
        data={"model": "m", "model_version": "1", "output_shape": {"labels": ["a"], "text": True}},
    ),
    "an open text": event(
        "model.declared.v1",
        data={"model": "m", "model_version": "1", "output_shape": {"text": True, "open": True}},
    ),
    "a text shape that is false": event(
        "model.declared.v1", data={"model": "m", "model_version": "1", "output_shape": {"text": False}}
    ),
    "a shape without labels": event(
        "model.declared.v1", data={"model": "m", "model_version": "1", "output_shape": {"labels": []}}
    ),
    "a schema that is none": event(
        "model.declared.v1",
        data={"model": "m", "model_version": "1", "output_shape": {"json_schema": {"type": "wrong"}}},
    ),
    "a dataset without a version": event(
        data={"model": "m", "model_version": "1", "datasets": ["m"]}, type="loopline.model.deployed.v1"
    ),
    "a release 0": event(
        "dataset.released.v1",
        data={"model": "m", "version": 0, "content_hash": "h", "as_of": "0:1", "rows": 2},
    ),
    "a count that is no whole number": event(
        type="loopline.dataset.released.v1",
        data={"model": "m", "version": 1, "content_hash": "h", "as_of": "0:1", "rows": 2.5},
    ),
    "an integer beyond a float's": event(
        "dataset.released.v1",
        data={"model": "m", "version": 1, "content_hash": "h", "as_of": "0:1", "rows": 2**54},
    ),
    "U+0000": spelt(thumb(), "p-81", "p\\u0000"),
    "U+0000 in an extension": event(odd="\x00"),
    "U+0000 in a key": made(output={"a\x00": 1}),
    "a lone surrogate": spelt(thumb(), "p-81", "p\\ud800"),
    "a lone second surrogate": spelt(thumb(), "p-81", "\\udc00p"),
    "surrogates the wrong way round": spelt(thumb(), "p-81", "\\ude00\\ud83d"),
    "a lone surrogate in an extension": item(event(odd="@")).replace(b"@", b"\\uDFFF"),
    "a lone surrogate in a key": item(made(output={"@": 1})).replace(b"@", b"\\ud800"),
    "1e999": spelt(thumb(score=0.5), "0.5", "1e999"),
    "1e999 in an output": spelt(made(output=[0.5]), "0.5", "-1E+999"),
    "1e999 in an extension": spelt(event(odd={"a": [0.5]}), "0.5", "1e999"),
    "very many digits in an extension": spelt(event(odd=0.5), "0.5", "9" * 320 + ".5"),
    "digits and an exponent in an extension": spelt(event(odd=0.5), "0.5", "9" * 260 + "e99"),
    "an integer of 5,000 digits": spelt(made(output=0), "0}", "1" * 5000 + "}"),
    "an integer of 5,000 digits in an extension": spelt(event(odd=77), "77", "1" * 5000),
    "a replay mark that is no text": event(looplinereplay=1),
    "a replay mark that names no dead letter": event(looplinereplay="1:2"),
    "a replay mark of 1,500 characters": event(looplinereplay="0:1:2" + "\U0001f600" * 1500),
    "a replay mark with a line end": event(looplinereplay="0:1:2\n"),
}


@pytest.mark.parametrize("sent", INVALID.values(), ids=INVALID)
def test_what_is_missing_or_not_allowed_is_an_invalid_value(sent: Any) -> None:
    """A missing field, null, a wrong type, and what cannot be kept as it was meant are `invalid_value`."""
    assert code(sent) == "invalid_value"


@pytest.mark.parametrize(
    "kind",
    [
        "loopline.feedback.thumb.v2",
        "loopline.feedback.thumb",
        "feedback.thumb.v1",
        "loopline.feedback.smile.v1",
        "",
    ],
)
def test_a_type_or_version_that_is_not_known_is_an_unknown_type(kind: str) -> None:
    """What a newer client says is kept as a dead letter, to be replayed after an upgrade."""
    assert code(event(type=kind)) == "unknown_type"


@pytest.mark.parametrize(
    "sent",
    [
        thumb(colour="red"),
        thumb(Value="up"),
        thumb(subject="s"),
        made(alternatives=[{"output": 1, "why": 2}]),
        event(
            "model.declared.v1",
            data={"model": "m", "model_version": "1", "output_shape": {"labels": ["a"], "x": 1}},
        ),
    ],
)
def test_a_field_that_is_not_known_is_refused_at_every_depth(sent: Any) -> None:
    """The data are closed; only the envelope is open."""
    assert code(sent) == "unknown_field"


def test_a_value_that_speaks_of_unknown_fields_is_no_unknown_field() -> None:
    """The code comes from the problem, never from what was sent."""
    assert code(thumb(value="Object contains unknown field `x`")) == "invalid_value"


GOOD = {
    "the longest id": event(id="i" * 256),
    "an id of characters beyond ASCII": event(id="é" * 256, source="😀"),
    "the longest model": thumb(model="m" * 128),
    "the longest word": event(
        data={"prediction_id": "p", "reason": "w" * 64}, type="loopline.feedback.reason.v1"
    ),
    "an empty segment": made(segment=""),
    "an output that is null": made(output=None),
    "an output that is any JSON": made(output={"a": [1, 2.5, True, None, "x"], "": {}}),
    "a large integer": made(output=123456789012345678901234567890),
    "a small float": made(output=5e-324),
    "a score that is an integer": thumb(score=1),
    **WRITTEN_AS_FLOATS,
    "a score of minus nothing": thumb(score=-0.0),
    "other CloudEvents attributes": event(
        datacontenttype="application/json",
        dataschema="https://x.example/s",
        subject="s",
        traceparent="00-1-2-01",
    ),
    "extensions of any kind": event(odd={"a": [1]}, sequence=3, flag=True, nothing=None),
    "a join key": event(data={"value": "up", "model": "m", "join_key": "k"}),
    "a prediction and half a case": thumb(join_key="k"),
    "a comment about a subject": event(
        "feedback.comment.v1", data={"text": "no", "subject": "s", "model": "m"}
    ),
    "a retraction about a subject": event("feedback.retraction.v1", data={"explains": "e", "subject": "s"}),
    "a subject and a case": event(
        "feedback.comment.v1", data={"text": "no", "subject": "s", "model": "m", "join_key": "k"}
    ),
    "white space everywhere": json.dumps(thumb(), indent=4).encode(),
    "escapes": spelt(thumb(person="@"), "@", '\\\\ \\" \\/ \\n \\u00e9 \\ud83d\\ude00 \\\\u0000 \\\\'),
    "a key spelt with an escape": spelt(thumb(), '"value"', '"v\\u0061lue"'),
    "a type spelt with an escape": spelt(thumb(), "loopline.", "loopline\\u002e"),
    "a text that looks like keys": thumb(person='":":{"id":', env="+0100"),
    "an id that ends like an offset": event(id="x+0100", source="-0000"),
    "a JSON Schema": event(
        "model.declared.v1",
        data={"model": "m", "model_version": "1", "output_shape": {"json_schema": {"type": "object"}}},
    ),
    "a JSON Schema that is a boolean": event(
        "model.declared.v1", data={"model": "m", "model_version": "1", "output_shape": {"json_schema": True}}
    ),
    "a replay mark": event(looplinereplay="dead:4:0"),
}


@pytest.mark.parametrize("sent", GOOD.values(), ids=GOOD)
def test_what_the_contract_allows_is_admitted(sent: Any) -> None:
    """Unusual is not bad: what was sent is understood as it was meant."""
    verdict = judged(sent)
    assert verdict.problem is None
    assert verdict.event is not None
    value = json.loads(item(sent))
    assert msgspec.to_builtins(verdict.event.data) == value["data"]
    assert (verdict.id, verdict.source) == (value["id"], value["source"])


def test_a_refused_item_is_named_where_its_id_can_be_read() -> None:
    """Whoever sent it finds it by id and source; what cannot be read, or is there twice, is left out."""
    assert (judged(thumb(value="x")).id, judged(thumb(value="x")).source) == ("e-2", "/shop")
    assert judged(event(id=7)).id is None
    assert judged(event(id="i" * 257)).id is None
    assert judged(event(id="\x00")).id is None
    assert judged(item(event())[:-1] + b',"id":"e-3"}').id is None
    assert judged(item(event())[:-1] + b',"id":"e-3"}').source == "/shop"
    assert judged(b'{"id":"e-2"').id is None
    assert judged([event()]).id is None


def test_one_bad_item_never_fails_the_others() -> None:
    """Each item of a batch has a verdict of its own, in order."""
    items = [item(thumb()), item(thumb(value="x")), b"nope", item(event(id="e-9")), b"\xff", b"x" * 65537]
    verdicts = admit_batch(b"[" + b",".join(items) + b"]", items)
    assert [verdict.item for verdict in verdicts] == items
    assert [verdict.problem and verdict.problem.code for verdict in verdicts] == [
        None,
        "invalid_value",
        "invalid_json",
        None,
        "not_utf8",
        "too_large",
    ]


def test_an_empty_batch_has_no_verdicts() -> None:
    """Nothing was sent, nothing is wrong."""
    assert admit_batch(b"[]", []) == []


def test_a_problem_says_what_to_do() -> None:
    """It is an RFC 9457 problem whose detail names the place."""
    problem = judged(thumb(score=2)).problem
    assert problem is not None
    assert problem.type == "urn:loopline:problem:invalid_value"
    assert problem.title
    assert "$.data.score" in problem.detail


class Loose(Data, kw_only=True):
    """Data that may name nothing: its model may be null."""

    model: str | None
    person: str | msgspec.UnsetType = msgspec.UNSET


def test_what_cannot_be_keyed_is_refused_at_the_door() -> None:
    """Before it is written down, alone and in a batch, however many partitions there are."""
    catalog = Catalog({**KINDS, "odd": Kind("odd", Loose, MODEL, "never")})
    odd = item(event(id="e", type="loopline.odd.v1", data={"model": None, "person": "ann"}))
    for verdict in (admit(odd, catalog), *admit_batch(b"[" + odd + b"," + odd + b"]", [odd, odd], catalog)):
        assert verdict.problem is not None
        assert verdict.problem.code == "invalid_value"
        assert verdict.id == "e"
        assert "ann" not in verdict.problem.detail


def test_what_may_declare_a_json_schema_is_judged_beside_the_loop() -> None:
    """However its key is spelt."""
    shape = {"json_schema": {"type": "string"}}
    sent = item(event("model.declared.v1", data={"model": "m", "model_version": "1", "output_shape": shape}))
    assert takes_long(sent)
    assert takes_long(sent.replace(b"json_schema", b"json\\u005fschema"))
    assert judged(sent.replace(b"json_schema", b"json\\u005fschema")).problem is None
    assert not takes_long(item(thumb(person="M\u00fcller")))


def test_brackets_and_many_large_items_take_long() -> None:
    """They are judged beside the event loop; ordinary batches and embeddings are not."""
    assert takes_long(b"[" + b"[]," * 10_000 + b"1]")
    assert takes_long(b"[" + b"{}," * 10_000 + b"1]")
    large, small = item(thumb(person="x" * 40_000)), item(thumb(person="Ann"))
    assert take_long(large * 4, [large] * 4)
    assert not take_long(large, [large])
    assert not take_long(small * 1000, [small] * 1000)
    embedding = b"[" + b"0.0123456789012345," * 50_000 + b"1]"
    assert not takes_long(embedding)
