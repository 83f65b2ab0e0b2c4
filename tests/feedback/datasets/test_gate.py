"""The gate: each check refuses a made-up table that breaks it, and lets a good one pass."""

from __future__ import annotations

import os
from dataclasses import replace
from pathlib import Path
from typing import Any

import msgspec
import pyarrow as pa
import pytest

from feedback.datasets.cut.columns import INSTANT, JSON, SCHEMA, STRING
from feedback.datasets.cut.recipe import SPLITS
from feedback.datasets.gate import Evidence, failures, judge, quiet_context
from feedback.datasets.shift import Shift

CLOSED = '{"labels":["3","5"]}'
NO_SHIFT = Shift(0.02, 0.6, 100, 90, 2)


def table(**columns: Any) -> Any:
    """Four good rows, with some columns made otherwise."""
    good: dict[str, Any] = {
        "prediction_id": ["a", "b", "c", "d"],
        "input_ref": ["1", "2", "3", "3"],
        "label": ["3", "5", "3", "3"],
        "agreement": [1.0, 1.0, 0.75, 1.0],
        "people": [1, 1, 4, 1],
        "model_version": ["1", "1", "2", "2"],
        "channel": ["correction"] * 4,
        "at": pa.array([1, 2, 3, 4], INSTANT),
        "split": ["train", "validation", "test", "test"],
    }
    return pa.table({**good, **columns})


def evidence(**parts: Any) -> Evidence:
    """Good evidence, with some parts made otherwise."""
    good = Evidence(dict.fromkeys(SPLITS, SCHEMA), table, {"1": CLOSED, "2": CLOSED}, STRING, NO_SHIFT)
    return replace(good, **parts)


def refusals(given: Evidence, allow: tuple[str, ...] = ()) -> list[dict[str, Any]]:
    """What kept the evidence from passing."""
    report = judge(given, allow)
    found = failures(report)
    assert report["passed"] is not bool(found)
    return found


def test_a_good_release_passes_every_check() -> None:
    """Nothing is refused, and the report names all six checks."""
    report = judge(evidence())
    assert failures(report) == []
    checks = {check["check"] for check in report["checks"]}
    assert checks == {"schema", "nulls", "label_set", "duplicates", "split_leakage", "label_shift"}
    assert msgspec.json.decode(msgspec.json.encode(report)) == report


@pytest.mark.parametrize(
    "schema",
    [
        pa.schema(list(SCHEMA)[:-1]),
        pa.schema([*SCHEMA, pa.field("more", pa.string())]),
        pa.schema(list(SCHEMA)[::-1]),
        SCHEMA.set(6, pa.field("people", pa.string())),
    ],
    ids=["missing", "unknown", "order", "type"],
)
def test_a_file_with_other_columns_is_refused(schema: Any) -> None:
    """Columns, their order and their types are those of the contract, in every split."""
    (refused,) = refusals(evidence(schemas={**dict.fromkeys(SPLITS, SCHEMA), "test": schema}))
    assert refused["check"] == "schema"
    assert not refused["allow"]


@pytest.mark.parametrize("column", ["prediction_id", "input_ref", "label", "channel", "model_version"])
def test_a_missing_value_is_refused(column: str) -> None:
    """The columns that every row must have are full; the report names the one that is not."""
    values = table()[column].to_pylist()
    refused = refusals(evidence(rows=lambda: table(**{column: [None, *values[1:]]})))
    assert ("nulls", f"column {column} has 1 empty values") in [
        (each["check"], each["detail"]) for each in refused
    ]


def test_a_label_outside_the_closed_set_is_refused() -> None:
    """With closed labels, every label is one of them; the report shows the others, the message does not."""
    given = evidence(rows=lambda: table(label=["3", "eight", "3", "3"]))
    refused = refusals(given)
    assert {each["check"] for each in refused} == {"label_set"}
    assert not any("eight" in each["detail"] for each in refused)
    assert any(check["examples"] == ['"eight"'] for check in judge(given)["checks"])


def test_a_label_is_held_against_its_own_model_version() -> None:
    """A label that only another version declared does not fit."""
    shapes = {"1": '{"labels":["3","5"]}', "2": '{"labels":["5"]}'}
    assert {each["check"] for each in refusals(evidence(shapes=shapes))} == {"label_set"}


@pytest.mark.parametrize(
    "shape, encoding, labels",
    [
        ('{"text":true}', STRING, ["anything", "goes", "that", "is"]),
        ('{"labels":["3"],"open":true}', STRING, ["3", "new", "3", "3"]),
        ('{"labels":[3,5]}', JSON, ["3", "5", "3", "3"]),
        ('{"labels":["3",5]}', JSON, ['"3"', "5", '"3"', '"3"']),
        ('{"labels":["3",5]}', STRING, ["3", "3", "3", "3"]),
        ('{"labels":[0,false,"0"]}', JSON, ["0", "false", '"0"', "0"]),
        ('{"json_schema":{"type":"object"}}', JSON, ['{"a":1}', "{}", "{}", "{}"]),
    ],
    ids=["text", "open", "numbers", "mixed", "mixed, texts voted", "any", "schema"],
)
def test_labels_of_every_declared_shape_pass(shape: str, encoding: str, labels: list[str]) -> None:
    """Labels are judged as the values they stand for, in either encoding."""
    given = evidence(shapes={"1": shape, "2": shape}, encoding=encoding, rows=lambda: table(label=labels))
    assert refusals(given) == []


def test_a_label_of_an_undeclared_version_is_refused() -> None:
    """What was never declared cannot be judged, so it does not pass."""
    assert {each["check"] for each in refusals(evidence(shapes={"1": CLOSED, "2": None}))} == {"label_set"}


def test_a_prediction_in_two_rows_is_refused() -> None:
    """One row a prediction."""
    (refused,) = refusals(evidence(rows=lambda: table(prediction_id=["a", "a", "c", "d"])))
    assert refused["check"] == "duplicates"


def test_an_input_in_two_splits_is_refused() -> None:
    """All rows about an input are in one split."""
    (refused,) = refusals(evidence(rows=lambda: table(input_ref=["1", "1", "3", "3"])))
    assert refused["check"] == "split_leakage"


def test_a_label_shift_is_refused_unless_it_is_allowed() -> None:
    """Labels unlike the parent's stop a release; `label_shift` lets it pass, and the report says so."""
    given = evidence(shift=Shift(0.4, 0.0001, 100, 90, 2))
    (refused,) = refusals(given)
    assert refused["check"] == "label_shift"
    assert refused["detail"].startswith("the labels shifted, by more than 0.1 and more than chance explains")
    assert refused["allow"]
    report = judge(given, ("label_shift",))
    assert report["passed"]
    assert report["allowed"] == ["label_shift"]


def test_without_a_parent_there_is_no_shift() -> None:
    """A first release is compared with nothing."""
    report = judge(evidence(shift=None))
    assert report["passed"]
    assert "label_shift" not in {check["check"] for check in report["checks"]}


def test_the_gate_writes_nothing_and_asks_nobody(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Great Expectations leaves no file behind, and its analytics are off."""
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    monkeypatch.chdir(tmp_path)
    judge(evidence())
    assert list(tmp_path.rglob("*")) == []
    context = quiet_context()
    assert context.variables.analytics_enabled is False
    assert context.variables.progress_bars["globally"] is False
    assert os.environ["GX_ANALYTICS_ENABLED"] == "false"
