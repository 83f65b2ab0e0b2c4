"""What may change in a released schema: an optional field or a type may come, and nothing else."""

from __future__ import annotations

import copy
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from schemas.catalog import CATALOG
from schemas.describe.compatibility import AGREED, breaking_changes, breaking_release
from schemas.describe.json_schemas import event_schema, names

RELEASED = Path(__file__).parents[3] / "schemas" / "released"

Change = Callable[[dict[str, Any]], Any]

SCHEMA: dict[str, Any] = {
    "$id": "urn:x",
    "title": "loopline.x.v1",
    "description": "What it is.",
    "type": "object",
    "properties": {
        "specversion": {"const": "1.0"},
        "data": {
            "type": "object",
            "properties": {
                "name": {"type": "string", "minLength": 1, "maxLength": 10},
                "share": {"type": "number", "minimum": 0, "maximum": 1},
                "word": {"type": "string", "pattern": "^[a-z]+$"},
                "value": {"enum": ["up", "down"]},
                "any": {"type": ["string", "number"], "x-loopline-personal": True},
                "list": {"type": "array", "items": {"type": "string"}, "maxItems": 3},
                "map": {"type": "object", "additionalProperties": {"type": "string"}},
                "alternatives": {
                    "type": "array",
                    "items": {
                        "type": "object",
                        "properties": {"output": {}},
                        "required": ["output"],
                        "additionalProperties": False,
                    },
                },
            },
            "required": ["name"],
            "additionalProperties": False,
            "anyOf": [{"required": ["word"]}, {"required": ["value"]}],
        },
    },
    "required": ["specversion", "data"],
    "additionalProperties": True,
}


def field(name: str, **words: Any) -> Change:
    """The change of some words of a field of the data; None takes a word away."""

    def change(schema: dict[str, Any]) -> None:
        found = schema["properties"]["data"]["properties"][name]
        for word, value in words.items():
            if value is None:
                del found[word]
            else:
                found[word] = value

    return change


def data(change: Change) -> Change:
    """A change of the data's own schema."""
    return lambda schema: change(schema["properties"]["data"])


def alternative(change: Change) -> Change:
    """A change of the schema inside of a list."""
    return data(lambda found: change(found["properties"]["alternatives"]["items"]))


BREAKING: dict[str, tuple[Change, str]] = {
    "a field removed": (data(lambda d: d["properties"].pop("share")), "$.properties"),
    "a field renamed": (data(lambda d: d["properties"].update(part=d["properties"].pop("share"))), "share"),
    "a field required": (data(lambda d: d["required"].append("share")), ".data.share: is required now"),
    "a field required no longer": (data(lambda d: d.pop("required")), ".data.name: is no longer required"),
    "a new required field": (
        data(lambda d: (d["properties"].update(new={}), d["required"].append("new"))),
        ".data.new: is required now",
    ),
    "a new required field in a list": (
        alternative(lambda d: (d["properties"].update(new={}), d["required"].append("new"))),
        ".alternatives/items.new",
    ),
    "a field removed in a list": (
        alternative(lambda d: d["properties"].pop("output")),
        ".output: was removed",
    ),
    "a list's items narrowed": (field("list", items={"type": "string", "maxLength": 3}), "list/items"),
    "another type": (field("name", type="number"), "`type`"),
    "a type less": (field("any", type=["string"]), "refuses what was valid"),
    "a type more": (field("any", type=["string", "number", "null"]), "allows what was not valid"),
    "no type": (field("name", type=None), "allows what was not valid"),
    "an enum value less": (field("value", enum=["up"]), "refuses what was valid"),
    "an enum value more": (field("value", enum=["up", "down", "same"]), "allows what was not valid"),
    "an enum of its own": (field("name", enum=["a"]), "refuses what was valid"),
    "a shorter text": (field("name", maxLength=9), "refuses what was valid"),
    "a longer text": (field("name", maxLength=11), "allows what was not valid"),
    "a least length": (field("name", minLength=2), "refuses what was valid"),
    "no least length": (field("name", minLength=None), "allows what was not valid"),
    "a limit where none was": (field("word", maxLength=9), "refuses what was valid"),
    "a higher minimum": (field("share", minimum=0.5), "refuses what was valid"),
    "a higher maximum": (field("share", maximum=2), "allows what was not valid"),
    "a number and a boolean": (field("share", minimum=False), "`minimum`"),
    "another pattern": (field("word", pattern="^[a-z]{1,9}$"), "refuses what was valid"),
    "a format": (field("word", format="date"), "refuses what was valid"),
    "fewer items": (field("list", maxItems=2), "refuses what was valid"),
    "a map narrowed": (field("map", additionalProperties={"type": "string", "maxLength": 1}), "map.*"),
    "a map closed": (field("map", additionalProperties=False), "additionalProperties"),
    "a mark of personal data lost": (field("any", **{"x-loopline-personal": None}), "personal"),
    "another constant": (lambda s: s["properties"].update(specversion={"const": "2.0"}), "`const`"),
    "closed data opened": (data(lambda d: d.update(additionalProperties=True)), "allows what was not valid"),
    "the open envelope closed": (lambda s: s.update(additionalProperties=False), "refuses what was valid"),
    "a shape for what was free": (
        lambda s: s["properties"].update(odd={"type": "string"}),
        "was free to be anything",
    ),
    "another rule": (data(lambda d: d["anyOf"].pop()), "`anyOf`"),
    "a further rule": (data(lambda d: d.update(oneOf=[{"required": ["any"]}])), "`oneOf`"),
}

COMPATIBLE: dict[str, Change] = {
    "nothing": lambda schema: None,
    "a new optional field": data(lambda d: d["properties"].update(new={"type": "string"})),
    "a new optional field in a list": alternative(lambda d: d["properties"].update(new={})),
    "other words for people": lambda s: (s.update(description="Else.", title="x"), s.pop("$id")),
    "a field described": field("name", description="A name.", examples=["x"]),
    "a field marked as personal": field("name", **{"x-loopline-personal": True}),
    "fields in another order": data(
        lambda d: d.update(properties=dict(reversed(d["properties"].items())), required=list(d["required"]))
    ),
}


def changed(change: Change) -> dict[str, Any]:
    """The schema after a change."""
    schema = copy.deepcopy(SCHEMA)
    change(schema)
    return schema


@pytest.mark.parametrize("change, says", BREAKING.values(), ids=BREAKING)
def test_a_breaking_change_is_named(change: Change, says: str) -> None:
    """Whether it refuses what was valid or allows what was not: it needs a new version."""
    found = breaking_changes(SCHEMA, changed(change))
    assert found
    assert all(line.startswith("loopline.x.v1 at ") for line in found)
    assert says in found[0] or says == "$.properties"


@pytest.mark.parametrize("change", COMPATIBLE.values(), ids=COMPATIBLE)
def test_a_compatible_change_is_none(change: Change) -> None:
    """An optional field may come, and words for people may change."""
    assert breaking_changes(SCHEMA, changed(change)) == []


def test_every_breaking_change_is_named_and_not_only_the_first() -> None:
    """Whoever reads the list sees all that is to be undone."""
    found = breaking_changes(
        SCHEMA,
        changed(lambda s: (field("name", maxLength=9)(s), data(lambda d: d["properties"].pop("share"))(s))),
    )
    assert len(found) == 2


def test_a_type_may_come_and_may_go_only_with_an_upcaster() -> None:
    """Old events lie in logs for ever."""
    assert breaking_release({}, {"x.v1": SCHEMA}) == []
    assert breaking_release({"x.v1": SCHEMA}, {"x.v2": SCHEMA}, upcast=["x.v1"]) == []
    (found,) = breaking_release({"x.v1": SCHEMA}, {"x.v2": SCHEMA})
    assert "x.v1 was removed" in found
    assert breaking_release({"x.v1": SCHEMA}, {"x.v1": changed(field("name", maxLength=9))}) != []


MADE_BY_LOOPLINE = ".looplinereplay: `pattern` nothing became "
"""The one limit that came after a release. Loopline alone sets this attribute, and always in this form; any
other text in it named nothing, and made a key of whatever somebody wrote there."""


@pytest.mark.parametrize("release", sorted(RELEASED.iterdir()), ids=lambda path: path.name)
def test_what_was_released_still_holds(release: Path) -> None:
    """The types of today keep the promise of every release: change one, and this names the change."""
    released = {path.stem: json.loads(path.read_bytes()) for path in sorted(release.glob("*.json"))}
    assert released
    proposed = {name: event_schema(name) for name in names()}
    found = breaking_release(released, proposed, CATALOG.upcasters)
    assert [each for each in found if not each.partition(" at ")[2].startswith(MADE_BY_LOOPLINE)] == []


def test_what_was_agreed_is_needed_and_no_more_than_a_text() -> None:
    """Each agreed field differs from a release that would refuse it, and stays a text."""
    for name, path in AGREED:
        first, *_ = sorted(RELEASED.iterdir())
        released = json.loads((first / f"{name}.json").read_bytes())
        proposed = event_schema(name)
        assert any(path in found for found in breaking_changes(released, proposed))
        assert not any(path in found for found in breaking_release({name: released}, {name: proposed}))
        other = copy.deepcopy(proposed)
        other["properties"]["data"]["properties"][path.rpartition(".")[2]]["type"] = "number"
        assert any(path in found for found in breaking_release({name: released}, {name: other}))


def test_the_guard_would_notice() -> None:
    """A limit of a real type, made smaller, is refused."""
    schema = event_schema("feedback.comment.v1")
    narrower = copy.deepcopy(schema)
    narrower["properties"]["data"]["properties"]["text"]["maxLength"] = 1000
    (found,) = breaking_changes(schema, narrower)
    assert "feedback.comment.v1" in found
    assert ".data.text" in found
    assert "1000" in found
