"""Events as hypothesis draws them: all kinds, few ids, so that everything collides with everything."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import msgspec
from hypothesis import strategies as st

from schemas.catalog import CATALOG
from schemas.identity import partition_key, partition_of
from schemas.instants import DAY, rfc3339
from streams.ingest.admission import admit
from streams.log.block import DeadLetter, write_block, write_dead_letters
from streams.log.memory import MemoryLog
from streams.log.port import DEAD
from streams.store.port import Snapshot
from streams.store.tables import Table
from streams.views.registry import TABLES

START = 1_790_000_000 * 1_000_000_000

_predictions = st.sampled_from(["p1", "p2", "p3"])
_models = st.sampled_from(["m", "m", "m", "other"])
_versions = st.sampled_from(["v1", "v2"])
_keys = st.sampled_from(["k1"])
_people = st.sampled_from(["ann", "bob", "cy"])
_labels = st.sampled_from(["a", "b", "odd"])
_ids = st.sampled_from([f"e{n}" for n in range(20)])
_sources = st.sampled_from(["/x", "/x", "/x", "/y"])
_instants = st.integers(-5, 5).map(lambda step: START + step * DAY // 3)


def _optional(**fields: st.SearchStrategy[Any]) -> st.SearchStrategy[dict[str, Any]]:
    return st.fixed_dictionaries({}, optional=fields)


_target = st.one_of(
    st.fixed_dictionaries({"prediction_id": _predictions}, optional={"model": _models}),
    st.fixed_dictionaries({"model": _models, "join_key": _keys}),
)


def _about(**fields: st.SearchStrategy[Any]) -> st.SearchStrategy[dict[str, Any]]:
    return st.tuples(_target, st.fixed_dictionaries(fields), _optional(person=_people)).map(
        lambda parts: {**parts[0], **parts[1], **parts[2]}
    )


_shapes = st.sampled_from(
    [{"labels": ["a", "b"]}, {"labels": ["a"]}, {"labels": ["a"], "open": True}, {"text": True}]
)

KINDS: dict[str, st.SearchStrategy[dict[str, Any]]] = {
    "prediction.made": st.tuples(
        st.fixed_dictionaries(
            {"prediction_id": _predictions, "model": _models, "model_version": _versions, "output": _labels}
        ),
        _optional(
            join_key=_keys,
            subject=st.sampled_from(["s1", "s2"]),
            input=st.sampled_from(["i1", "i2"]),
            segment=st.sampled_from(["", "de"]),
            audit=st.booleans(),
            env=st.sampled_from(["prod", "test"]),
        ),
    ).map(lambda parts: {**parts[0], **parts[1]}),
    "prediction.shown": st.fixed_dictionaries({"prediction_id": _predictions, "shown": _labels}),
    "prompt.shown": _about(prompt_id=_ids),
    "prompt.dismissed": _about(prompt_id=_ids),
    "feedback.action": _about(value=st.sampled_from(["copied", "sent"])),
    "feedback.thumb": _about(value=st.sampled_from(["up", "down"])),
    "feedback.reason": st.tuples(
        _about(reason=st.sampled_from(["incorrect", "other"])), _optional(explains=_ids)
    ).map(lambda parts: {**parts[0], **parts[1]}),
    "feedback.comment": st.one_of(
        _about(text=st.just("hm")),
        st.fixed_dictionaries({"subject": st.sampled_from(["s1", "s2"]), "text": st.just("why")}),
    ),
    "feedback.correction": st.tuples(_about(label=_labels), _optional(gold=st.booleans())).map(
        lambda parts: {**parts[0], **parts[1]}
    ),
    "feedback.confirmation": _about(value=st.sampled_from(["yes", "no"])),
    "feedback.outcome": st.fixed_dictionaries(
        {"subject": st.sampled_from(["s1", "s2"]), "outcome": st.sampled_from(["churned", "renewed"])},
        optional={"value": st.sampled_from([0.1, 0.2, 0.7]), "model": _models},
    ),
    "feedback.retraction": st.one_of(
        _about(explains=_ids),
        st.fixed_dictionaries({"subject": st.sampled_from(["s1", "s2"]), "explains": _ids}),
    ),
    "model.declared": st.fixed_dictionaries(
        {"model": _models, "model_version": _versions, "output_shape": _shapes}
    ),
    "model.deployed": st.fixed_dictionaries({"model": _models, "model_version": _versions}),
}

# What others depend on comes more often.
_OFTEN = [
    *sorted(KINDS),
    *["prediction.made", "model.declared", "feedback.correction", "feedback.retraction"] * 3,
]


@st.composite
def events(draw: st.DrawFn) -> tuple[bytes, int]:
    """One event as sent, and when it was received (ns): late, early, or with a clock that runs ahead."""
    kind = draw(st.sampled_from(_OFTEN))
    event = {
        "specversion": "1.0",
        "type": f"loopline.{kind}.v1",
        "id": draw(_ids),
        "source": draw(_sources),
        "time": rfc3339(draw(_instants)),
        "data": draw(KINDS[kind]),
    }
    return msgspec.json.encode(event), draw(_instants)


@st.composite
def histories(draw: st.DrawFn) -> list[tuple[bytes, int]]:
    """A sequence of events in which some are sent again."""
    sent = draw(st.lists(events(), min_size=25, max_size=80))
    again = draw(st.lists(st.sampled_from(sent), max_size=5))
    return [*sent, *again]


def log_of(history: Sequence[tuple[bytes, int]], partitions: int, block_sizes: Sequence[int]) -> MemoryLog:
    """A log with this history in it, each partition cut into blocks of the given sizes, in turn."""
    log = MemoryLog(partitions)
    waiting: dict[int, list[tuple[bytes, int]]] = {partition: [] for partition in range(partitions)}
    for item, received in history:
        verdict = admit(item)
        assert verdict.event is not None, verdict.problem
        waiting[partition_of(partition_key(verdict.event.data), partitions)].append((item, received))
    for partition, items in waiting.items():
        turn = 0
        while items:
            size = block_sizes[turn % len(block_sizes)]
            block, items = items[:size], items[size:]
            runs = [(received, 1) for _, received in block]
            log.append([(partition, write_block(CATALOG.types, runs, [item for item, _ in block]))])
            turn += 1
    log.append([(DEAD, write_dead_letters(START, [DeadLetter("invalid_json", "x", None, None, b"{")]))])
    return log


def views(
    snapshot: Snapshot, block_sizes: Sequence[int], tables: Sequence[Table] = TABLES
) -> dict[str, list[Any]]:
    """Every view as comparable rows: counters summed, places as ordinals within their partition."""
    shown: dict[str, list[Any]] = {}
    for table in tables:
        if table.sums:
            by = [column for column in table.columns if column not in ("shard", *table.sums)]
            shown[table.name] = sorted(snapshot.totals(table, by), key=repr)
            continue
        rows = []
        for row in snapshot.scan(table):
            named = dict(zip(table.columns, row, strict=True))
            if "place" in named and named["partition"] != DEAD:
                turns = [block_sizes[turn % len(block_sizes)] for turn in range(named.pop("offset"))]
                named["place"] += sum(turns)
            rows.append(named)
        shown[table.name] = sorted(rows, key=repr)
    return shown
