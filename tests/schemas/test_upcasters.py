"""Upcasters, by one real example: thumbs get a second version that calls `value` `vote` and has stars.

What was sent as version 1 is admitted, kept as it was, and read as version 2.
"""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any, Literal

import msgspec
import pytest
from msgspec import UNSET, UnsetType

from schemas.catalog import CATALOG, Catalog
from schemas.events import Targeted
from schemas.fields import Probability
from schemas.identity import partition_key
from schemas.kinds import KINDS, PREFIX, THUMB, UnreadableTypes
from schemas.normal_json import ContentHash
from streams.ingest.admission import admit, admit_batch
from streams.log.block import read_block, write_block

V1, V2 = f"{PREFIX}feedback.thumb.v1", f"{PREFIX}feedback.thumb.v2"
GOLDEN_V1 = Path(__file__).parents[2] / "schemas" / "golden" / "feedback.thumb.v1.json"
GOLDEN_V2 = Path(__file__).parent / "golden" / "feedback.thumb.v2.json"


class ThumbV2(Targeted, kw_only=True):
    """Binary feedback, with the stars that it came from, if it came from stars."""

    vote: Literal["up", "down"]
    stars: Probability | UnsetType = UNSET


def upcast_v1_v2(data: dict[str, Any]) -> dict[str, Any]:
    """`value` is called `vote`, and `score` is called `stars`, which go up to five."""
    new = {key: value for key, value in data.items() if key not in ("value", "score")}
    new["vote"] = data["value"]
    if "score" in data:
        new["stars"] = data["score"]
    return new


def upcast_v0_v1(data: dict[str, Any]) -> dict[str, Any]:
    """Before there were words, a thumb was a number."""
    return {**data, "value": {1: "up", -1: "down"}[data["value"]]}


NEWER = Catalog(
    {**KINDS, THUMB.name: replace(THUMB, version=2, data=ThumbV2, word="vote")},
    {"feedback.thumb.v1": upcast_v1_v2, "feedback.thumb.v0": upcast_v0_v1},
)


def as_sent(item: bytes, **changed: Any) -> bytes:
    """An item with other attributes."""
    return json.dumps({**json.loads(item), **changed}).encode()


def test_an_old_version_is_admitted_as_what_it_becomes() -> None:
    """The golden sample of version 1, which products still send, is the golden file of version 2."""
    old, new = GOLDEN_V1.read_bytes(), json.loads(GOLDEN_V2.read_bytes())
    verdict = admit(old, NEWER)
    assert verdict.problem is None
    assert verdict.event is not None
    assert verdict.item == old
    assert verdict.event.kind == "feedback.thumb"
    assert isinstance(verdict.event.data, ThumbV2)
    assert msgspec.to_builtins(verdict.event.data) == new["data"]


def test_a_block_with_old_and_new_items_is_read_in_the_new_version() -> None:
    """The log keeps what was sent; whoever reads it sees one version only."""
    old, new = GOLDEN_V1.read_bytes(), as_sent(GOLDEN_V2.read_bytes(), id="another")
    header, body = read_block(write_block({V1, V2}, [(1, 2)], [old, new]))
    first, second = NEWER.read(body, header.types)
    assert type(first) is type(second)
    assert msgspec.to_builtins(first) == json.loads(GOLDEN_V2.read_bytes())
    assert msgspec.to_builtins(second) == json.loads(new)


def test_identity_and_content_do_not_depend_on_the_version_sent() -> None:
    """A retry after the client was upgraded is the same event, and no conflict."""
    old, new = NEWER.read(b"[" + GOLDEN_V1.read_bytes() + b"," + GOLDEN_V2.read_bytes() + b"]", {V1, V2})
    assert partition_key(old.data) == partition_key(new.data)
    assert (old.source, old.id, old.time, old.kind) == (new.source, new.id, new.time, new.kind)
    contents = ContentHash("a log")
    assert contents.of_data(old.data) == contents.of_data(new.data)


def test_versions_are_lifted_one_by_one() -> None:
    """From version 0 by way of 1 to 2."""
    sent = json.loads(GOLDEN_V1.read_bytes())
    oldest = as_sent(
        GOLDEN_V1.read_bytes(), type=f"{PREFIX}feedback.thumb.v0", data={**sent["data"], "value": -1}
    )
    verdict = admit(oldest, NEWER)
    assert verdict.event is not None
    admitted: Any = verdict.event.data
    assert admitted.vote == "down"
    (read,) = NEWER.read(b"[" + oldest + b"]", {f"{PREFIX}feedback.thumb.v0"})
    logged: Any = read.data
    assert logged.vote == "down"


@pytest.mark.parametrize(
    "data, code",
    [
        ({"prediction_id": "p", "value": "sideways"}, "invalid_value"),
        ({"prediction_id": "p"}, "invalid_value"),
        ({"value": "up"}, "invalid_value"),
        ({"prediction_id": "p", "value": "up", "colour": 1}, "unknown_field"),
        ({"prediction_id": "p", "value": "up", "score": 2}, "invalid_value"),
        (None, "invalid_value"),
        ([], "invalid_value"),
        ("up", "invalid_value"),
    ],
)
def test_a_bad_event_of_an_old_version_is_refused(data: Any, code: str) -> None:
    """It is judged as what it becomes; an upcaster that stumbles over it is a refusal and no crash."""
    verdict = admit(as_sent(GOLDEN_V1.read_bytes(), data=data), NEWER)
    assert verdict.problem is not None
    assert verdict.problem.code == code
    assert verdict.id == json.loads(GOLDEN_V1.read_bytes())["id"]


def test_an_old_version_has_the_limits_of_any_event() -> None:
    """Keys that are there twice and times without an offset are found before anything is lifted."""
    twice = GOLDEN_V1.read_bytes().replace(b'"value"', b'"value": "up", "value"')
    assert twice != GOLDEN_V1.read_bytes()
    problems = [
        admit(item, NEWER).problem for item in (twice, as_sent(GOLDEN_V1.read_bytes(), time="2026-11-20"))
    ]
    assert [problem and problem.code for problem in problems] == ["duplicate_key", "invalid_value"]


def test_old_and_new_can_be_in_one_batch() -> None:
    """Each is judged by itself."""
    items = [GOLDEN_V1.read_bytes(), GOLDEN_V2.read_bytes(), b"nope"]
    verdicts = admit_batch(b"[" + b",".join(items) + b"]", items, NEWER)
    assert [verdict.problem is None for verdict in verdicts] == [True, True, False]


def test_a_newer_type_in_a_block_stops_the_reader() -> None:
    """Nothing of it may be skipped: the reader names the types and what to do."""
    with pytest.raises(UnreadableTypes) as refusal:
        CATALOG.read(b"[" + GOLDEN_V2.read_bytes() + b"]", {V1, V2})
    assert refusal.value.types == [V2]
    assert "upgrade" in str(refusal.value)
    problem = admit(GOLDEN_V2.read_bytes()).problem
    assert problem is not None
    assert problem.code == "unknown_type"
