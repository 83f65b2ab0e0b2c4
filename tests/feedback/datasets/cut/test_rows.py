"""Rows: one for each labelled prediction, with what the contract says, and a count of what is left out."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from feedback.datasets.errors import BadRequest, NothingToRelease
from loopline import input_ref
from tests.feedback.datasets.world import MODEL, World, rows

pytestmark = pytest.mark.usefixtures("ungated")


def test_a_row_says_what_the_events_said(world: World) -> None:
    """Every column comes from the prediction or from what people said about it."""
    made = world.predicted(
        1,
        "3",
        input={"pixels": [0, 1.0]},
        confidence=0.25,
        segment="evening",
        ask_probability=0.5,
        audit_probability=0.125,
    )
    world.say(made, world.corrected(1, "5"))
    (row,) = rows(world.release())
    assert row.pop("at").isoformat().startswith("2026-05-28T")
    assert row.pop("split") in ("train", "validation", "test")
    assert row == {
        "prediction_id": "p-1",
        "input_ref": input_ref({"pixels": [0, 1.0]}),
        "input": '{"pixels":[0,1]}',
        "output": "3",
        "label": "5",
        "agreement": 1.0,
        "people": 1,
        "confidence": 0.25,
        "segment": "evening",
        "model_version": "1",
        "channel": "correction",
        "ask_probability": 0.5,
        "audit_probability": 0.125,
    }


def test_the_majority_is_the_label_with_its_agreement(world: World) -> None:
    """Three people against one: the three's label, three quarters, four people; the row is disputed."""
    world.say(world.predicted(1))
    world.say(*(world.corrected(1, label, f"u-{n}") for n, label in enumerate(["5", "5", "8", "5"])))
    published = world.release()
    (row,) = rows(published)
    assert (row["label"], row["agreement"], row["people"]) == ("5", 0.75, 4)
    assert published.manifest["disagreements"] == 1


@pytest.mark.parametrize("channel", ["correction", "confirmation", "gold"])
def test_the_channel_is_how_the_label_came(world: World, channel: str) -> None:
    """A correction, a yes to the model's own answer, or gold, which outranks the others."""
    world.say(world.predicted(1, "3"))
    world.say(
        {
            "correction": world.corrected(1, "3"),
            "confirmation": world.confirmed(1),
            "gold": world.corrected(1, "3", gold=True),
        }[channel]
    )
    published = world.release()
    assert rows(published)[0]["channel"] == channel
    assert published.manifest["channels"] == {channel: 1}


def test_a_tie_is_no_row_but_is_listed(world: World) -> None:
    """One against one gives no label; the manifest names the prediction."""
    world.say(world.predicted(1), world.predicted(2))
    world.say(world.corrected(1, "5", "u-1"), world.corrected(1, "8", "u-2"), world.corrected(2, "5"))
    published = world.release()
    assert [row["prediction_id"] for row in rows(published)] == ["p-2"]
    assert published.manifest["ties"] == {"count": 1, "predictions": ["p-1"]}
    assert published.manifest["left_out"] == {"no_input_ref": 0, "tie": 1}


def test_a_prediction_without_an_input_reference_is_counted_out(world: World) -> None:
    """It cannot be split, so it is left out, and counted."""
    world.say(world.predicted(1, input_uri="s3://forms/1"), world.predicted(2))
    world.say(world.corrected(1, "5"), world.corrected(2, "5"))
    published = world.release()
    assert [row["prediction_id"] for row in rows(published)] == ["p-2"]
    assert published.manifest["left_out"] == {"no_input_ref": 1, "tie": 0}


def test_unlabelled_predictions_thumbs_and_noes_are_no_rows(world: World) -> None:
    """A "no" is evidence against a label, and no label."""
    world.say(*(world.predicted(number) for number in range(4)))
    world.say(world.confirmed(1, value="no"), world.corrected(3, "5"))
    world.say(world.event("feedback.thumb", prediction_id="p-2", value="down", person="u-1"))
    assert [row["prediction_id"] for row in rows(world.release())] == ["p-3"]


def test_a_retracted_label_leaves_the_next_release(world: World) -> None:
    """What was taken back trains nothing from then on; the earlier release stays as it is."""
    world.say(world.predicted(1), world.predicted(2))
    correction = world.corrected(1, "5")
    world.say(correction, world.corrected(2, "5"))
    first = world.release()
    world.say(
        world.event("feedback.retraction", prediction_id="p-1", person="u-1", explains=correction["id"])
    )
    second = world.release()
    assert [row["prediction_id"] for row in rows(second)] == ["p-2"]
    assert len(rows(first)) == 2


@pytest.mark.parametrize(
    "filters, expected",
    [
        ({}, {"p-1", "p-2", "p-3"}),
        ({"model_version": "2"}, {"p-2"}),
        ({"segment": "evening"}, {"p-3"}),
        ({"env": "dev"}, {"p-4"}),
        ({"model_version": "1", "segment": "evening"}, {"p-3"}),
    ],
)
def test_filters_choose_predictions(world: World, filters: dict[str, Any], expected: set[str]) -> None:
    """By model version, segment and environment; only `prod` unless asked. What they leave out is counted."""
    world.say(world.declared(["3", "5", "8"], version="2"))
    world.say(
        world.predicted(1),
        world.predicted(2, model_version="2"),
        world.predicted(3, segment="evening"),
        world.predicted(4, env="dev"),
    )
    world.say(*(world.corrected(number, "5") for number in range(1, 5)))
    published = world.release(**filters)
    assert {row["prediction_id"] for row in rows(published)} == expected
    said = published.manifest
    assert said["outside_filters"] == (0 if "env" in filters else 3 - len(expected))
    assert said["recipe"]["filters"].items() >= filters.items()


def test_since_leaves_out_what_was_predicted_before(world: World) -> None:
    """From an instant on, that instant included; a day begins at midnight UTC."""
    world.say(*(world.predicted(number) for number in range(3)))
    world.say(*(world.corrected(number, "5") for number in range(3)))
    every = sorted(rows(world.release()), key=lambda row: row["at"])
    later = rows(world.release(since=every[1]["at"].isoformat()))
    assert {row["prediction_id"] for row in later} == {row["prediction_id"] for row in every[1:]}
    assert len(rows(world.release(since="2026-05-28"))) == 3
    with pytest.raises(NothingToRelease) as refusal:
        world.release(since="2026-05-29")
    assert refusal.value.left_out == {"outside_filters": 3}
    with pytest.raises(BadRequest, match="no day"):
        world.release(since="yesterday")


@pytest.mark.parametrize(
    "outputs, encoding, expected",
    [
        (["3", 'a"b\\c'], "string", {"3", 'a"b\\c'}),
        (["3", None], "string", {"3", None}),
        (["3", 4], "json", {'"3"', "4"}),
        ([None, None], "string", {None}),
        ([{"b": 1, "a": [True]}, None], "json", {'{"a":[true],"b":1}', None}),
    ],
)
def test_outputs_are_plain_only_if_all_are_strings(
    world: World, outputs: list[Any], encoding: str, expected: set[Any]
) -> None:
    """The manifest says how to read them; an output of null, where a person answers first, is empty."""
    world.say(*(world.predicted(number, output) for number, output in enumerate(outputs)))
    world.say(*(world.corrected(number, "5") for number in range(len(outputs))))
    published = world.release()
    assert published.manifest["encoding"]["output"] == encoding
    assert published.manifest["encoding"]["label"] == encoding
    assert {row["output"] for row in rows(published)} == expected
    assert {row["label"] for row in rows(published)} == {"5" if encoding == "string" else '"5"'}


def test_labels_that_are_no_strings_are_json(tmp_path: Path) -> None:
    """Numbers, arrays and objects as canonical JSON text."""
    world = World(tmp_path / "datasets")
    world.say(world.declared(json_schema={"type": ["number", "object"]}))
    world.say(world.predicted(1, 1), world.predicted(2, 1))
    world.say(world.corrected(1, 2.0), world.corrected(2, {"b": 1, "a": 2}))
    published = world.release()
    assert published.manifest["encoding"] == {"input": "string", "output": "json", "label": "json"}
    assert {row["label"] for row in rows(published)} == {"2", '{"a":2,"b":1}'}


def test_labels_of_mixed_types_are_typed_by_what_was_declared(tmp_path: Path) -> None:
    """Whatever was voted for so far: JSON texts, and so are outputs, which compare with them as before."""
    world = World(tmp_path / "datasets")
    world.say(world.declared(["a", 1, 0, False, "0"]))
    world.say(
        world.predicted(1, "a"), world.predicted(2, "b"), world.corrected(1, "a"), world.corrected(2, "a")
    )
    first = world.release()
    assert first.manifest["encoding"] == {"input": "string", "output": "json", "label": "json"}
    assert [row["label"] == row["output"] for row in rows(first)] == [True, False]
    labels = [1, 0, False, "0"]
    world.say(*(world.predicted(10 + n, label) for n, label in enumerate(labels)))
    world.say(*(world.corrected(10 + n, label) for n, label in enumerate(labels)))
    second = world.release()
    assert second.manifest["encoding"] == first.manifest["encoding"]
    agreeing = {row["prediction_id"] for row in rows(second) if row["label"] == row["output"]}
    assert agreeing == {"p-1", *(f"p-{10 + n}" for n in range(len(labels)))}
    assert {row["label"] for row in rows(second)} == {'"a"', "1", "0", "false", '"0"'}


def test_nested_labels_and_null_are_json(tmp_path: Path) -> None:
    """Whatever a JSON Schema takes, in one canonical form; only an output of null is an empty one."""
    world = World(tmp_path / "datasets")
    world.say(world.declared(json_schema={"type": ["array", "object", "string"]}))
    labels = [[None, {"k": 1}], {"b": [1.0], "a": ""}, "text"]
    world.say(*(world.predicted(n, label) for n, label in enumerate(labels)), world.predicted(9, None))
    world.say(*(world.corrected(n, label) for n, label in enumerate(labels)), world.corrected(9, "text"))
    published = world.release()
    assert published.manifest["encoding"]["label"] == "json"
    assert {row["label"] for row in rows(published)} == {'[null,{"k":1}]', '{"a":"","b":[1]}', '"text"'}
    assert [row["prediction_id"] for row in rows(published) if row["output"] != row["label"]] == ["p-9"]


def test_a_column_without_a_value_is_not_typed_as_text(world: World) -> None:
    """A product that keeps its inputs to itself fills them in when it loads: nobody knows what they are."""
    world.say(world.predicted(1, input_ref="0" * 64), world.corrected(1, "5"))
    assert world.release().manifest["encoding"]["input"] == "json"


def test_inputs_come_from_the_log_wherever_they_lie(tmp_path: Path) -> None:
    """Predictions of many blocks and partitions get their own inputs, and those without one get none."""
    world = World(tmp_path / "datasets", partitions=3)
    world.say(world.declared(["3", "5"]))
    for start in range(0, 300, 50):
        numbers = range(start, start + 50)
        given = ({"input_ref": f"{n:064x}"} if n % 7 == 0 else {"input": f"form {n}"} for n in numbers)
        world.say(*(world.predicted(n, **more) for n, more in zip(numbers, given, strict=True)))
        world.say(*(world.corrected(n, "5") for n in numbers if n % 3))
    published = world.release()
    found = {row["prediction_id"]: row["input"] for row in rows(published)}
    assert found == {f"p-{n}": None if n % 7 == 0 else f"form {n}" for n in range(300) if n % 3}
    included = sum(value is not None for value in found.values())
    assert published.manifest["inputs"] == {"included": included, "by_reference": len(found) - included}


def test_inputs_of_numbers_and_text_are_json(world: World) -> None:
    """One input that is no string, and all of them are JSON texts, in one canonical form."""
    world.say(world.predicted(1, input=[1.0, 2.5]), world.predicted(2, input="a b"))
    world.say(world.corrected(1, "5"), world.corrected(2, "5"))
    published = world.release()
    assert published.manifest["encoding"]["input"] == "json"
    assert {row["input"] for row in rows(published)} == {"[1,2.5]", '"a b"'}


def test_labels_that_wait_for_a_declaration_are_no_rows(tmp_path: Path) -> None:
    """What cannot be checked is not released; the refusal says what it may be waiting for."""
    world = World(tmp_path / "datasets")
    world.say(world.predicted(1), world.corrected(1, "5"))
    with pytest.raises(NothingToRelease, match=r"model\.declared"):
        world.release()
    assert not (world.folder / MODEL / "1").exists()


def test_the_most_frequent_labels_are_listed_with_their_splits(world: World) -> None:
    """By frequency, then by text; what is beyond the list is counted."""
    world.labelled(range(30), "5")
    world.labelled(range(30, 40), "3")
    world.labelled(range(40, 50), "8")
    published = world.release()
    said = published.manifest["labels"]
    assert [(each["label"], each["rows"]) for each in said["listed"]] == [("5", 30), ("3", 10), ("8", 10)]
    assert said["others"] == {"labels": 0, "rows": 0}
    for each in said["listed"]:
        found = [row["split"] for row in rows(published) if row["label"] == each["label"]]
        assert each["splits"] == {split: found.count(split) for split in sorted(set(found))}


def test_a_list_of_labels_ends_somewhere(tmp_path: Path) -> None:
    """Free text has as many labels as rows: 200 are listed, the others counted."""
    world = World(tmp_path / "datasets")
    world.say(world.declared(text=True))
    world.say(*(world.predicted(number) for number in range(250)))
    world.say(*(world.corrected(number, f"text {number}") for number in range(250)))
    said = world.release().manifest["labels"]
    assert said["distinct"] == 250
    assert len(said["listed"]) == 200
    assert said["others"] == {"labels": 50, "rows": 50}
