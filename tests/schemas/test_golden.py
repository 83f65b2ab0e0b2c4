"""Golden samples: one or more of each type and version, as a product would send them."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import msgspec
import pytest
from jsonschema import Draft7Validator, Draft202012Validator

from schemas.catalog import CATALOG, CURRENT
from schemas.describe.json_schemas import event_schema
from schemas.kinds import PREFIX
from streams.ingest.admission import admit

FOLDER = Path(__file__).parents[2] / "schemas" / "golden"
SAMPLES = sorted(FOLDER.glob("*.json"))


def type_of(path: Path) -> str:
    """The type and version in a sample's file name: `feedback.comment.v1.subject.json` is a comment."""
    return ".".join(path.name.split(".")[:3])


def sample(path: Path) -> dict[str, Any]:
    """A golden sample as a dict."""
    content: dict[str, Any] = json.loads(path.read_bytes())
    return content


def test_every_type_has_a_golden_sample_and_every_sample_a_type() -> None:
    """A type without a sample, or a sample without a type, is a mistake."""
    assert {type_of(path) for path in SAMPLES} == set(CURRENT)
    assert {f"{name}.json" for name in CURRENT} <= {path.name for path in SAMPLES}


@pytest.mark.parametrize("path", SAMPLES, ids=lambda path: path.name)
def test_a_golden_sample_is_admitted_and_read_as_it_was_sent(path: Path) -> None:
    """On the way in and out of the log, its data are what the file says."""
    sent = path.read_bytes()
    verdict = admit(sent)
    assert verdict.problem is None
    assert verdict.event is not None
    content = sample(path)
    assert content["type"] == PREFIX + type_of(path)
    assert msgspec.to_builtins(verdict.event.data) == content["data"]
    (read,) = CATALOG.read(b"[" + sent + b"]", {content["type"]})
    assert (read.id, read.source, read.time) == (content["id"], content["source"], content["time"])
    assert f"{read.kind}.v1" == type_of(path)
    assert msgspec.to_builtins(read.data) == content["data"]


@pytest.mark.parametrize("validator", [Draft7Validator, Draft202012Validator])
@pytest.mark.parametrize("path", SAMPLES, ids=lambda path: path.name)
def test_a_golden_sample_fits_its_json_schema(path: Path, validator: Any) -> None:
    """In the eyes of both drafts; and with a stranger's field in its data it does not."""
    schema = event_schema(type_of(path))
    content = sample(path)
    validator(schema).validate(content)
    stranger = {**content, "data": {**content["data"], "stranger": 1}}
    assert not validator(schema).is_valid(stranger)


@pytest.mark.parametrize("name", sorted(CURRENT))
def test_the_golden_samples_use_every_field(name: str) -> None:
    """An optional field that no sample has would change unseen."""
    used = {field for path in SAMPLES if type_of(path) == name for field in sample(path)["data"]}
    assert used == set(CURRENT[name].__struct_fields__)


def test_golden_samples_are_different_events() -> None:
    """Together they can be one batch."""
    identities = [(content["source"], content["id"]) for content in map(sample, SAMPLES)]
    assert len(set(identities)) == len(identities)
