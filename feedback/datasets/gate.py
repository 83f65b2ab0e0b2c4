"""The gate: what a release must hold before it is published, as a Great Expectations suite.

Six checks, by the names that a report, an error and `--allow` use: `schema`, `nulls`, `label_set`,
`duplicates`, `split_leakage` and `label_shift`. Only the last may be allowed to fail, since labels do
shift when the world does. Great Expectations is imported here and nowhere else, when it is needed (it
takes seconds), with its analytics off and nothing written anywhere. What becomes of a release that fails
is left to `release`.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Collection, Iterator, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import msgspec
import pyarrow as pa
import pyarrow.compute as pc

from feedback.datasets.cut.columns import SCHEMA, as_json
from feedback.datasets.shift import LARGE, Shift
from schemas.normal_json import normal_json
from schemas.shapes import fits

if TYPE_CHECKING:
    import pandas as pd

SCHEMA_CHECK, NULLS, LABEL_SET, DUPLICATES, LEAKAGE, SHIFT = (
    "schema",
    "nulls",
    "label_set",
    "duplicates",
    "split_leakage",
    "label_shift",
)
ALLOWABLE = frozenset({SHIFT})
JUDGED_COLUMNS = (
    "prediction_id",
    "input_ref",
    "label",
    "agreement",
    "people",
    "model_version",
    "channel",
    "at",
)
"""The columns that `Evidence.rows` needs, beside `split`."""

_MOST_LABELS_LISTED = 10_000


@dataclass(frozen=True)
class Evidence:
    """What the gate looks at.

    Args:
        schemas: the Arrow schema of each split's file.
        rows: gives a table of `JUDGED_COLUMNS` and `split`, over all splits.
        shapes: the declared output shape of each model version, as JSON; None where there is none.
        encoding: how labels are written, `string` or `json`.
        shift: how the labels differ from the parent's; None without a parent.
    """

    schemas: Mapping[str, Any]
    rows: Callable[[], Any]
    shapes: Mapping[str, str | None]
    encoding: str
    shift: Shift | None


Report = dict[str, Any]
"""`passed`, `allowed`, and the `checks` with what each expected and found; a plain JSON object."""


def judge(evidence: Evidence, allow: Collection[str] = ()) -> Report:
    """Hold the evidence against the suite. `allow` names checks that may fail."""
    context = quiet_context()
    import great_expectations as gx

    source = context.data_sources.add_pandas("release")
    checks: list[dict[str, Any]] = []
    rows = evidence.rows()
    for name, frame, expectations in _suites(evidence, rows):
        asset = source.add_dataframe_asset(name)
        batch = asset.add_batch_definition_whole_dataframe("all").get_batch({"dataframe": frame})
        result = batch.validate(gx.ExpectationSuite(name=name, expectations=expectations))
        checks.extend(_outcome(each, name) for each in result.results)
    for check in checks:
        check["allowed"] = not check["passed"] and check["check"] in allow
    order = {
        check: place
        for place, check in enumerate((SCHEMA_CHECK, NULLS, LABEL_SET, DUPLICATES, LEAKAGE, SHIFT))
    }
    checks.sort(key=lambda check: order[check["check"]])
    return {
        "passed": all(check["passed"] or check["allowed"] for check in checks),
        "allowed": sorted({check["check"] for check in checks if check["allowed"]}),
        "rows": rows.num_rows,
        "checks": checks,
        "great_expectations": gx.__version__,
    }


def quiet_context() -> Any:
    """A context of Great Expectations that lives in memory, draws nothing and reports to nobody."""
    # Read when it is imported; said again below for versions that look at the context.
    os.environ["GX_ANALYTICS_ENABLED"] = "false"
    import great_expectations as gx
    from great_expectations.data_context.types.base import DataContextConfig, InMemoryStoreBackendDefaults

    config = DataContextConfig(
        store_backend_defaults=InMemoryStoreBackendDefaults(),
        analytics_enabled=False,
        progress_bars={"globally": False, "metric_calculations": False},
    )
    return gx.get_context(mode="ephemeral", project_config=config)


def failures(report: Report) -> list[dict[str, Any]]:
    """What kept a release from passing: `check`, `detail`, and whether `--allow` would let it pass."""
    return [
        {"check": check["check"], "detail": check["detail"], "allow": check["check"] in ALLOWABLE}
        for check in report["checks"]
        if not (check["passed"] or check["allowed"])
    ]


def _suites(evidence: Evidence, rows: Any) -> Iterator[tuple[str, pd.DataFrame, list[Any]]]:
    """The tables that are judged, each with what is expected of it."""
    import great_expectations.expectations as gxe
    import pandas as pd

    columns = [
        {"split": split, "column": name, "found": found, "expected": expected}
        for split, schema in evidence.schemas.items()
        for name, found, expected in _compared(schema)
    ]
    yield (
        "columns",
        pd.DataFrame(columns, columns=["split", "column", "found", "expected"], dtype=str),
        [
            gxe.ExpectColumnPairValuesToBeEqual(
                column_A="found", column_B="expected", meta={"check": SCHEMA_CHECK}
            )
        ],
    )
    nulls = [gxe.ExpectColumnValuesToNotBeNull(column=name, meta={"check": NULLS}) for name in JUDGED_COLUMNS]
    yield (
        "rows",
        rows.select([*JUDGED_COLUMNS, "split"]).to_pandas(),
        [*nulls, gxe.ExpectColumnValuesToBeUnique(column="prediction_id", meta={"check": DUPLICATES})],
    )
    places = rows.group_by(["input_ref", "split"]).aggregate([]).select(["input_ref", "split"])
    yield (
        "inputs",
        places.filter(pc.is_valid(places["input_ref"])).to_pandas(),
        [gxe.ExpectColumnValuesToBeUnique(column="input_ref", meta={"check": LEAKAGE})],
    )
    yield "labels", _labels(evidence, rows), _label_expectations(evidence)
    if evidence.shift is not None:
        shift = evidence.shift
        yield (
            "parent",
            pd.DataFrame([{**shift._asdict(), "beyond_chance": shift.distance if shift.shifted else 0.0}]),
            [
                gxe.ExpectColumnMaxToBeBetween(
                    column="beyond_chance",
                    max_value=LARGE,
                    meta={"check": SHIFT, "sentence": shift.sentence()},
                )
            ],
        )


def _compared(schema: Any) -> Iterator[tuple[str, str, str]]:
    """For each column, found or expected: its name, and its place and type on both sides."""
    found = {field.name: f"{place}: {field.type}" for place, field in enumerate(schema)}
    expected = {field.name: f"{place}: {field.type}" for place, field in enumerate(SCHEMA)}
    for name in {**expected, **found}:
        yield name, found.get(name, "missing"), expected.get(name, "no such column")


def _labels(evidence: Evidence, rows: Any) -> pd.DataFrame:
    """Each label of each model version once, with whether it fits what that version declared."""
    pairs = rows.group_by(["model_version", "label"]).aggregate([])
    pairs = pairs.filter(pc.is_valid(pairs["label"]))
    # A declared set may hold labels of several types: only their JSON texts can be compared.
    labels = as_json(pairs["label"], evidence.encoding)
    fitting = []
    for version, label in zip(pairs["model_version"].to_pylist(), labels.to_pylist(), strict=True):
        shape = evidence.shapes.get(version)
        fitting.append(shape is not None and fits(shape)(label))
    frame: pd.DataFrame = pa.table(
        {
            "model_version": pairs["model_version"],
            "label": labels,
            "fits": pa.array(fitting, pa.bool_()),
        }
    ).to_pandas()
    return frame


def _label_expectations(evidence: Evidence) -> list[Any]:
    import great_expectations.expectations as gxe

    expectations = [
        gxe.ExpectColumnValuesToBeInSet(column="fits", value_set=[True], meta={"check": LABEL_SET})
    ]
    closed = _closed_labels(evidence)
    if closed is not None:
        known = gxe.ExpectColumnValuesToBeInSet(column="label", value_set=closed, meta={"check": LABEL_SET})
        expectations.append(known)
    return expectations


def _closed_labels(evidence: Evidence) -> list[str] | None:
    """The labels that the model versions declared, as JSON texts; None where one takes others too."""
    known: set[str] = set()
    for shape_json in evidence.shapes.values():
        shape = msgspec.json.decode(shape_json) if shape_json is not None else {}
        if "labels" not in shape or shape.get("open"):
            return None
        known.update(map(normal_json, shape["labels"]))
    return sorted(known) if len(known) <= _MOST_LABELS_LISTED else None


def _outcome(result: Any, table: str) -> dict[str, Any]:
    """One expectation's result, in plain values."""
    config = result.expectation_config
    found = result.result or {}
    check = config.meta["check"]
    kwargs = {name: value for name, value in config.kwargs.items() if name not in ("batch_id", "value_set")}
    unexpected = [str(value)[:200] for value in found.get("partial_unexpected_list", [])][:5]
    return {
        "check": check,
        "expectation": config.type,
        "table": table,
        "on": kwargs,
        "passed": bool(result.success),
        "detail": _detail(bool(result.success), check, config, found, unexpected),
        "unexpected": found.get("unexpected_count"),
        "examples": unexpected,
        "observed": msgspec.to_builtins(found.get("observed_value"), enc_hook=str),
    }


def _detail(passed: bool, check: str, config: Any, found: Mapping[str, Any], unexpected: list[str]) -> str:
    """What was found, for a person."""
    if check == SHIFT:
        sentence: str = config.meta["sentence"]
        return sentence
    return "as expected" if passed else _sentence(check, config, found, unexpected)


def _sentence(check: str, config: Any, found: Mapping[str, Any], unexpected: list[str]) -> str:
    """What did not hold, for a person."""
    count, column = found.get("unexpected_count", 0), config.kwargs.get("column")
    shown = ", ".join(unexpected[:3])
    if check == NULLS:
        return f"column {column} has {count:,} empty values" if count else f"column {column} cannot be read"
    return {
        SCHEMA_CHECK: f"columns that are not where or what they should be: {count:,}, such as {shown}",
        # The labels themselves may be personal: they are in the report, not in a message.
        LABEL_SET: f"labels that do not fit what their model version declared: {count:,}",
        DUPLICATES: f"rows that share a prediction_id with another: {count:,}, such as {shown}",
        LEAKAGE: f"inputs that are in more than one split: {shown}",
    }[check]
