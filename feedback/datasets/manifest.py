"""The manifest: everything a release says about itself, as one JSON object.

It is written last, names every other file with its SHA-256, and is what makes a folder a release. The content
hash covers the rows alone, so it does not depend on when, where or in which version the rows were released.
"""

from __future__ import annotations

import hashlib
from collections import defaultdict
from collections.abc import Mapping
from importlib import metadata
from pathlib import Path
from typing import Any

import msgspec
import pyarrow.compute as pc

from feedback.datasets.catalogue import Manifest
from feedback.datasets.cut.columns import SCHEMA
from feedback.datasets.cut.recipe import FRACTIONS, RECIPE_VERSION, RESOLVER, SPLIT_METHOD, Filters, split_key
from feedback.datasets.cut.rows import Census
from feedback.datasets.names import MANIFEST
from schemas.instants import rfc3339
from streams.log.port import LogIdentity

FORMAT = 2
MOST_LABELS_LISTED = 200


def recipe(model: str, filters: Filters, views_version: int) -> dict[str, Any]:
    """How the rows were chosen, labelled and split: what somebody needs to cut them again."""
    return {
        "version": RECIPE_VERSION,
        "filters": described_filters(filters),
        "resolver": RESOLVER,
        "splits": {"fractions": FRACTIONS, "method": SPLIT_METHOD, "key": split_key(model).hex()},
        "views_version": views_version,
        "loopline": platform_version(),
    }


def described_log(log: LogIdentity) -> dict[str, Any]:
    """The log it was cut from, and the epoch; `before`: how many partitions each epoch before that had."""
    described: dict[str, Any] = {"id": log.id, "epoch": log.epoch, "partitions": log.partitions}
    return described | ({"before": list(log.before)} if log.before else {})


def described_filters(filters: Filters) -> dict[str, str | None]:
    """The filters as the manifest has them; null stands for all."""
    return {
        "env": filters.env,
        "since": None if filters.since is None else rfc3339(filters.since),
        "model_version": filters.model_version,
        "segment": filters.segment,
    }


def platform_version() -> str:
    """The installed version of the platform."""
    try:
        return metadata.version("loopline-platform")
    except metadata.PackageNotFoundError:
        return "unknown"


def described_columns() -> list[dict[str, Any]]:
    """The columns of a release: name, type, and whether a value may be missing."""
    return [{"name": field.name, "type": str(field.type), "nullable": field.nullable} for field in SCHEMA]


def counted_labels(rows: Any) -> dict[str, Any]:
    """The distribution of a table's `label` by `split`: the most frequent, and how many more."""
    totals = rows.group_by("label").aggregate([([], "count_all")])
    ranked = totals.sort_by([("count_all", "descending"), ("label", "ascending")])
    listed = ranked.slice(0, MOST_LABELS_LISTED)
    splits: defaultdict[str, dict[str, int]] = defaultdict(dict)
    shown = rows.filter(pc.is_in(rows["label"], value_set=listed["label"]))
    for each in shown.group_by(["label", "split"]).aggregate([([], "count_all")]).to_pylist():
        splits[each["label"]][each["split"]] = each["count_all"]
    counts = dict(zip(listed["label"].to_pylist(), listed["count_all"].to_pylist(), strict=True))
    return {
        "distinct": ranked.num_rows,
        "listed": [
            {"label": label, "rows": count, "splits": dict(sorted(splits[label].items()))}
            for label, count in counts.items()
        ],
        "others": {"labels": ranked.num_rows - len(counts), "rows": rows.num_rows - sum(counts.values())},
    }


def counted_census(census: Census) -> dict[str, Any]:
    """What went in and what did not."""
    return {
        "left_out": {reason: census.left_out[reason] for reason in ("no_input_ref", "tie")},
        "outside_filters": census.filtered,
        "ties": {"count": census.left_out["tie"], "predictions": census.ties},
        "disagreements": census.disagreements,
        "channels": dict(sorted(census.channels.items())),
        "model_versions": dict(sorted(census.model_versions.items())),
    }


def checks_in_short(report: Mapping[str, Any]) -> dict[str, str]:
    """For each check of the gate: passed, failed or allowed."""
    short: dict[str, str] = {}
    for check in report["checks"]:
        if not check["passed"]:
            short[check["check"]] = "allowed" if check["allowed"] else "failed"
        else:
            short.setdefault(check["check"], "passed")
    return short


def described_files(
    folder: Path, rows: Mapping[str, int], known: Mapping[str, dict[str, Any]] | None = None
) -> dict[str, dict[str, Any]]:
    """Size, SHA-256 and rows (where it has any) of each file in a folder; `known` ones are not read again."""
    described = dict(known or {})
    for path in sorted(folder.iterdir()):
        if path.name in described:
            continue
        with path.open("rb") as file:
            digest = hashlib.file_digest(file, "sha256").hexdigest()
        described[path.name] = {"bytes": path.stat().st_size, "sha256": digest}
        if path.name in rows:
            described[path.name]["rows"] = rows[path.name]
    return described


def write(folder: Path, content: Manifest) -> None:
    """Write the manifest. Keys keep their order."""
    (folder / MANIFEST).write_bytes(msgspec.json.format(msgspec.json.encode(content), indent=2) + b"\n")
