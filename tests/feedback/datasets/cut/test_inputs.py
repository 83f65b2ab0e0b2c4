"""Inputs: found in the log by place, in any order, in every version of the event."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import msgspec
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from feedback.datasets.cut.inputs import Inputs
from schemas.catalog import CATALOG, Catalog
from schemas.kinds import KINDS, PREDICTION_MADE, UnreadableTypes
from schemas.normal_json import normal_json
from streams.log.block import write_block
from streams.log.memory import MemoryLog

MADE = "loopline.prediction.made.v1"
Place = tuple[int, int, int]

JSON = st.recursive(
    st.booleans()
    | st.integers(-(2**53), 2**53)
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text('ab"\\ü0.e', max_size=8),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text("ab", max_size=2), inner, max_size=3),
    max_leaves=6,
)


def item(given: Any, kind: str = MADE, field: str = "input") -> bytes:
    """A prediction with an input, or without one where it is None."""
    data = {"prediction_id": "p", "model": "m", "model_version": "1", "output": "3"}
    if given is not None:
        data[field] = given
    event = {"specversion": "1.0", "id": "e", "source": "/s", "type": kind, "time": "2026-11-20T09:00:00Z"}
    return msgspec.json.encode({**event, "data": data})


def log_of(blocks: list[list[list[Any]]], kind: str = MADE) -> MemoryLog:
    """A log with these inputs, by partition, block and place."""
    log = MemoryLog(len(blocks))
    for partition, records in enumerate(blocks):
        log.append(
            [(partition, write_block([kind], [(1, len(b))], [item(i, kind) for i in b])) for b in records]
        )
    return log


def texts(
    log: MemoryLog, places: list[Place], catalog: Catalog = CATALOG
) -> tuple[list[bytes | None], Inputs]:
    """The inputs at these places."""
    columns = [np.array([place[n] for place in places], dtype=np.int64) for n in range(3)]
    with TemporaryDirectory() as folder:
        inputs = Inputs(Path(folder) / "inputs")
        inputs.read(log, columns[0], columns[1], columns[2], lambda done, total: None, catalog)
        found = inputs.texts(0, len(places))
        inputs.close()
    return found, inputs


@given(st.data())
def test_every_place_gives_its_own_input(data: st.DataObject) -> None:
    """Whatever is asked for, in whatever order: the canonical text of the input there, or none."""
    block = st.lists(st.none() | JSON, min_size=1, max_size=4)
    blocks = data.draw(st.lists(st.lists(block, max_size=5), min_size=1, max_size=3))
    everything = {
        (partition, offset, place): value
        for partition, records in enumerate(blocks)
        for offset, values in enumerate(records)
        for place, value in enumerate(values)
    }
    asked = data.draw(st.lists(st.sampled_from(sorted(everything)), unique=True)) if everything else []
    found, inputs = texts(log_of(blocks), asked)
    expected = [everything[place] for place in asked]
    assert found == [None if value is None else normal_json(value).encode() for value in expected]
    there = [value for value in expected if value is not None]
    assert inputs.found == len(there)
    assert inputs.all_strings is all(isinstance(value, str) for value in there)


def test_places_far_apart_are_found() -> None:
    """Only the blocks that are needed are read, and those that lie together are read together."""
    log = log_of([[[f"form {number}"] for number in range(300)]])
    read: list[tuple[int, int]] = []
    original = log.read

    def counted(partition: int, offset: int, limit: int) -> list[bytes]:
        read.append((offset, limit))
        return original(partition, offset, limit)

    log.read = counted  # type: ignore[method-assign]
    found, _ = texts(log, [(0, 250, 0), (0, 3, 0), (0, 10, 0)])
    assert found == [b'"form 250"', b'"form 3"', b'"form 10"']
    assert read == [(3, 8), (250, 1)]


def test_an_old_version_is_lifted() -> None:
    """An event that called its input otherwise, in an older version, gives its input too."""

    def upcast_v1_v2(data: dict[str, Any]) -> dict[str, Any]:
        return {
            **{name: value for name, value in data.items() if name != "asked_for"},
            "input": data["asked_for"],
        }

    catalog = Catalog(
        {**KINDS, PREDICTION_MADE.name: replace(PREDICTION_MADE, version=2)},
        {"prediction.made.v1": upcast_v1_v2},
    )
    log = MemoryLog(1)
    log.append([(0, write_block([MADE], [(1, 1)], [item("form 1", field="asked_for")]))])
    assert texts(log, [(0, 0, 0)], catalog)[0] == [b'"form 1"']


def test_a_block_of_a_newer_version_is_an_error() -> None:
    """Inputs are never left out silently."""
    log = log_of([[["form 1"]]], "loopline.from.the.future.v9")
    with pytest.raises(UnreadableTypes):
        texts(log, [(0, 0, 0)])
