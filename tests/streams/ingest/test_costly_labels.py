"""A label that takes too many steps to check is refused with its reason, and holds nobody up."""

from __future__ import annotations

import json
from typing import Any

from streams.ingest.admission import admit
from streams.projection.apply import advance
from streams.store.memory import MemoryStore
from streams.store.tables import DEAD_LETTERS, LABELS, DeadLetterRow
from tests.streams.drawn import log_of
from tests.streams.telling import declared, prediction, told

NAMES = {"type": "string", "pattern": "^([A-Za-z]+[ '-]?)+$"}
DOUBLING = {
    "$defs": {"t": {"type": ["array", "null"], "allOf": [{"items": {"$ref": "#/$defs/t"}}] * 2}},
    "$ref": "#/$defs/t",
}


def _letters_and_labels(schema: Any, *labels: Any) -> tuple[list[DeadLetterRow], list[Any]]:
    history = [
        declared(json_schema=schema),
        *(prediction(f"p{number}") for number in range(len(labels))),
        *(
            told("feedback.correction", f"c{number}", 1, prediction_id=f"p{number}", label=label)
            for number, label in enumerate(labels)
        ),
    ]
    log = log_of(history, 2, [3])
    store = MemoryStore(log.identity)
    while advance(log, store):
        pass
    with store.snapshot() as snapshot:
        letters = [DeadLetterRow(*row) for row in snapshot.scan(DEAD_LETTERS)]
        return [each for each in letters if each.partition >= 0], list(snapshot.scan(LABELS))


def test_a_name_that_an_ordinary_pattern_refuses_is_told_at_once() -> None:
    """A backtracking engine would try it until the end of days."""
    letters, labels = _letters_and_labels(NAMES, "Wolfeschlegelsteinhausenbergerdorff1", "Ann Lee")
    assert [letter.code for letter in letters] == ["label_invalid"]
    assert "does not fit" in letters[0].detail
    assert len(labels) == 1


def test_a_label_beyond_the_steps_says_so() -> None:
    """Its dead letter names the cause, and no value."""
    deep = json.loads("[" * 25 + "null" + "]" * 25)
    letters, labels = _letters_and_labels(DOUBLING, deep, [None])
    assert [letter.code for letter in letters] == ["label_invalid"]
    assert "steps" in letters[0].detail
    assert "declare" in letters[0].detail
    assert len(labels) == 1


def test_a_declaration_that_costs_too_much_is_refused_at_the_door() -> None:
    """With a sentence that says what to write instead."""
    for schema in ({"pattern": "(?=a)b"}, {"$ref": "#"}):
        item, _ = declared(json_schema=schema)
        problem = admit(item).problem
        assert problem is not None
        assert problem.code == "invalid_value"
        assert "json_schema" in problem.detail
