"""Declarations that serve later versions: what is true is a function of the set of declarations.

Whatever order declarations, predictions and labels come in, and however they lie in blocks, each version is
judged by its own declaration, else by the greatest of its model's that serves later versions.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from schemas.instants import nanoseconds
from streams.projection.apply import advance
from streams.queries.labels import labels
from streams.queries.pages import Page
from streams.store.memory import MemorySnapshot, MemoryStore
from streams.store.port import Snapshot
from streams.store.sqlite.store import SqliteStore, create_store
from streams.store.tables import DEAD_LETTERS, FACTS, LABELS, OVERRIDES, Fact, Label, Override, Row
from streams.views.registry import TABLES
from tests.streams.asking import encoded, event
from tests.streams.drawn import log_of

REF = "ab" * 32


def declared(version: str, labels: str, hour: int, *, later: bool = False, name: str = "") -> dict[str, Any]:
    """A declaration of model m at an hour of a day."""
    more = {"later_versions": True} if later else {}
    return event(
        "model.declared",
        name or f"d-{version}-{hour}",
        model="m",
        model_version=version,
        output_shape={"labels": list(labels)},
        time=f"2026-11-20T{hour:02}:00:00Z",
        **more,
    )


def made(version: str) -> dict[str, Any]:
    """The prediction `a` of a version."""
    return event(
        "prediction.made",
        f"made-{version}",
        prediction_id=f"p-{version}",
        model="m",
        model_version=version,
        output="a",
        input_ref=REF,
    )


def said(version: str) -> list[dict[str, Any]]:
    """What people say of it: bob that it is b, cy that it is c, and dan that it is right."""
    target = {"prediction_id": f"p-{version}"}
    return [
        event("feedback.correction", f"b-{version}", person="bob", label="b", **target),
        event("feedback.correction", f"c-{version}", person="cy", label="c", **target),
        event("feedback.confirmation", f"y-{version}", person="dan", value="yes", **target),
    ]


def fold(events: Sequence[dict[str, Any]], sizes: Sequence[int] = (1,)) -> MemoryStore:
    """The views of some events that came in this order, in blocks of these sizes, each in a transaction."""
    received = nanoseconds("2026-11-21T00:00:00Z")
    log = log_of([(encoded(each), received) for each in events], 1, list(sizes))
    store = MemoryStore(log.identity)
    for end in range(1, log.ends()[0] + 1):
        advance(log, store, upto={0: end})
    return store


def outcome(snapshot: Snapshot) -> dict[str, Any]:
    """What is true of labels, overrides and verdicts, without where it lies in the log."""
    facts = [Fact(*row) for row in snapshot.scan(FACTS)]
    return {
        "labels": {
            row[1]: (row[3], sorted((each["label"], each["people"]) for each in json.loads(row[8])))
            for row in snapshot.scan(LABELS)
        },
        "overrides": sorted(
            (each.person, each.pid, each.label)
            for each in (Override(*row) for row in snapshot.scan(OVERRIDES))
        ),
        "facts": sorted((each.id, each.code, each.waits_for, each.effective) for each in facts),
        "refused": sorted((row[5], row[3]) for row in snapshot.scan(DEAD_LETTERS)),
    }


def expected(declarations: Sequence[dict[str, Any]], version: str) -> set[str] | None:
    """Which labels fit, by the rule in one line; None while nothing serves the version."""
    data = [(each["time"], each["id"], each["data"]) for each in declarations]
    own = [each for *_, each in data if each["model_version"] == version]
    later = max(
        (each for each in data if each[2].get("later_versions")), default=None, key=lambda each: each[:2]
    )
    if own:
        return set(own[0]["output_shape"]["labels"])
    return None if later is None else set(later[2]["output_shape"]["labels"])


DECLARATIONS = [
    declared("1", "ab", 3, later=True),
    declared("2", "ac", 5, later=True),
    declared("3", "bc", 4, later=True),
    declared("4", "abc", 9),
]


@given(st.data())
def test_whatever_order_they_come_in_the_views_are_the_same(data: st.DataObject) -> None:
    """Any set of declarations, any order, any blocks: labels, overrides, verdicts and what waits."""
    declarations = data.draw(st.lists(st.sampled_from(DECLARATIONS), unique_by=lambda each: each["id"]))
    versions = ["1", "2", "4", "5"]
    events = [*declarations, *(each for version in versions for each in (made(version), *said(version)))]
    order = data.draw(st.permutations(events))
    sizes = data.draw(st.lists(st.integers(1, 5), min_size=1, max_size=4))
    with fold(order, sizes).snapshot() as snapshot, fold(events).snapshot() as other:
        found = outcome(snapshot)
        assert found == outcome(other)
    codes = {name: (code, waits) for name, code, waits, _ in found["facts"]}
    for version in versions:
        shape = expected(declarations, version)
        for letter in "bc":
            code, waits = codes[b"t" + f"{letter}-{version}".encode()]
            assert waits == (f"declaration:m@{version}" if shape is None else None)
            assert code == ("label_invalid" if shape is not None and letter not in shape else None)


def candidates(store: MemoryStore, version: str) -> list[str]:
    """The labels that somebody votes for."""
    with store.snapshot() as snapshot:
        items = labels(snapshot, "m", Page())["items"]
    found = [item for item in items if item["prediction_id"] == f"p-{version}"]
    return sorted(bytes(each["label"]).decode() for item in found for each in item["candidates"])


def test_a_later_version_is_judged_by_the_declaration_before_it() -> None:
    """A deploy does not park its labels."""
    store = fold([declared("1", "ab", 3, later=True), made("2"), *said("2")])
    assert candidates(store, "2") == ['"a"', '"b"']


def test_a_version_of_its_own_takes_over() -> None:
    """Labels are judged again: a verdict is withdrawn, and a vote that fits no more is none."""
    events = [declared("1", "ab", 3, later=True), made("2"), *said("2"), declared("2", "c", 1)]
    store = fold(events)
    assert candidates(store, "2") == ['"c"']
    with store.snapshot() as snapshot:
        assert [(row[5], row[3]) for row in snapshot.scan(DEAD_LETTERS)] == [("b-2", "label_invalid")]


def test_a_greater_one_takes_over_from_a_smaller() -> None:
    """The greatest instant serves, whichever came last."""
    early, late = declared("1", "ab", 3, later=True), declared("2", "abc", 4, later=True)
    for pair in ([early, late], [late, early]):
        assert candidates(fold([made("9"), *said("9"), *pair]), "9") == ['"a"', '"b"', '"c"']


def test_another_model_is_left_alone() -> None:
    """A declaration serves its own model's versions, and no other's whose name begins with it."""
    other = {**made("1"), "data": {**made("1")["data"], "model": "m2"}}
    store = fold([other, *said("1"), declared("1", "ab", 3, later=True)])
    with store.snapshot() as snapshot:
        assert {Fact(*row).waits_for for row in snapshot.scan(FACTS)} == {"declaration:m2@1"}
        assert [Label(*row) for row in snapshot.scan(LABELS)] == []


@pytest.mark.parametrize("first, second", [(True, False), (False, True)])
def test_serving_later_versions_is_part_of_what_was_declared(first: bool, second: bool) -> None:
    """A version's declaration never changes: one with the flag and one without contradict each other."""
    store = fold([declared("1", "ab", 3, later=first), declared("1", "ab", 4, later=second)])
    with store.snapshot() as snapshot:
        assert [row[3] for row in snapshot.scan(DEAD_LETTERS)] == ["declaration_conflict"]


def test_a_declaration_that_is_repeated_was_made_when_it_was_made_first() -> None:
    """A pipeline that declares at every start does not take over from the version after it."""
    first, repeated = declared("1", "ab", 3, later=True), declared("1", "ab", 8, later=True, name="again")
    newer = declared("2", "abc", 5, later=True)
    for order in ([first, newer, repeated], [repeated, newer, first], [newer, repeated, first]):
        store = fold([made("9"), *said("9"), *order])
        assert candidates(store, "9") == ['"a"', '"b"', '"c"']
        with store.snapshot() as snapshot:
            assert list(snapshot.scan(DEAD_LETTERS)) == []


def test_instants_are_compared_and_not_the_names_of_versions() -> None:
    """The name of a version says nothing about which came first."""
    events = [
        declared("10", "ab", 3, later=True),
        declared("9", "ac", 4, later=True),
        made("11"),
        *said("11"),
    ]
    assert candidates(fold(events), "11") == ['"a"', '"c"']


@pytest.fixture
def rows_read(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """How many rows each read of a store in memory gave."""
    counted: list[int] = []

    def counting(read: Callable[..., list[Row]]) -> Callable[..., list[Row]]:
        def counts(*given: Any, **more: Any) -> list[Row]:
            rows = read(*given, **more)
            counted.append(len(rows))
            return rows

        return counts

    for name in ("get", "find", "along", "newest", "distinct", "totals"):
        monkeypatch.setattr(MemorySnapshot, name, counting(getattr(MemorySnapshot, name)))
    return counted


@pytest.mark.parametrize(
    "last",
    [
        [declared("new", "ab", 20)],
        [declared("new", "abc", 20, later=True)],
        [said("9")[0]],
        [declared("9", "b", 1)],
    ],
    ids=["a declaration", "one that takes over", "a correction", "one for a version that was judged"],
)
def test_one_more_costs_the_same_beside_many_declarations(
    rows_read: list[int], last: list[dict[str, Any]]
) -> None:
    """A model's declarations are read by name, or the last one for later versions: never all of them."""
    read = []
    for many in (4, 60):
        begin = [declared(f"v-{number}", "ab", number % 12, later=True) for number in range(many)]
        events = [*begin, made("9"), *said("9")[1:], *last]
        received = nanoseconds("2026-11-21T00:00:00Z")
        log = log_of([(encoded(each), received) for each in events], 1, [len(events) - len(last), len(last)])
        store = MemoryStore(log.identity)
        advance(log, store, upto={0: 1})
        rows_read.clear()
        advance(log, store)
        read.append(sum(rows_read))
    assert read[0] == read[1]


def test_only_what_was_said_is_judged_again(rows_read: list[int]) -> None:
    """A declaration that takes over from another reads no prediction of which nobody said a label."""
    read = []
    for many in (3, 90):
        silent = [
            {**made("9"), "id": f"s-{n}", "data": {**made("9")["data"], "prediction_id": f"s-{n}"}}
            for n in range(many)
        ]
        events = [declared("1", "ab", 3, later=True), made("9"), *said("9"), *silent]
        received = nanoseconds("2026-11-21T00:00:00Z")
        last = declared("2", "abc", 4, later=True)
        log = log_of([(encoded(each), received) for each in [*events, last]], 1, [len(events), 1])
        store = MemoryStore(log.identity)
        advance(log, store, upto={0: 1})
        rows_read.clear()
        advance(log, store)
        read.append(sum(rows_read))
        assert candidates(store, "9") == ['"a"', '"b"', '"c"']
    assert read[0] == read[1]


def test_a_store_in_a_file_judges_the_same(tmp_path: Path) -> None:
    """What takes over, in any order, gives the views that a store in memory has."""
    events = [*DECLARATIONS, *(each for version in "1249" for each in (made(version), *said(version)))]
    received = nanoseconds("2026-11-21T00:00:00Z")
    for number, order in enumerate(
        (events, events[::-1], events[4:] + events[:4], events[::2] + events[1::2])
    ):
        log = log_of([(encoded(each), received) for each in order], 1, [1])
        path = tmp_path / f"{number}.db"
        create_store(path, log.identity, TABLES)
        with closing(SqliteStore(path, writable=True)) as store:
            for end in range(1, log.ends()[0] + 1):
                advance(log, store, upto={0: end})
            with store.snapshot() as snapshot, fold(events).snapshot() as other:
                assert outcome(snapshot) == outcome(other)
