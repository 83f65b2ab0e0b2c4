"""Two stores are told apart by their rows, counters and positions, and by nothing else."""

from __future__ import annotations

from collections.abc import Callable
from itertools import islice

import pytest
from hypothesis import given
from hypothesis import strategies as st

from schemas.identity import pack, prediction_key
from streams.log.port import DEAD
from streams.store.compare import Difference, differences
from streams.store.memory import MemoryStore
from streams.store.port import Applied, Transaction
from streams.store.tables import CASES, COUNTS, FACTS, Row
from streams.views.registry import TABLES
from tests.streams.store.rows import case, count, fact, row, rows
from tests.streams.store.storing import IDENTITY


def _store(write: Callable[[Transaction], object]) -> MemoryStore:
    store = MemoryStore(IDENTITY)
    with store.transaction([0]) as transaction:
        write(transaction)
    return store


def _differ(
    left: Callable[[Transaction], object], right: Callable[[Transaction], object], limit: int = 20
) -> list[Difference]:
    with _store(left).snapshot() as one, _store(right).snapshot() as other:
        return differences(one, other, TABLES, limit)


def test_the_same_rows_are_identical() -> None:
    """However the rows came in, the same rows are no difference."""
    found = _differ(
        lambda tx: tx.put(CASES, [case(b"a", b"1"), case(b"b", b"1")]),
        lambda tx: tx.put(CASES, [case(b"b", b"1"), case(b"a", b"1")]),
    )
    assert found == []


def test_a_row_on_one_side_is_a_difference() -> None:
    """A missing row says on which side the other one is, wherever in the table it lies."""
    rows = [case(key, b"1") for key in (b"a", b"b", b"c", b"d")]
    found = _differ(lambda tx: tx.put(CASES, rows[:3]), lambda tx: tx.put(CASES, rows[1:]))
    assert found == [
        Difference("cases", (b"a", b"1"), None, rows[0], None),
        Difference("cases", (b"d", b"1"), None, None, rows[3]),
    ]
    assert [each.describe().partition(": (")[0] for each in found] == [
        "cases['a', '1']: only on the left",
        "cases['d', '1']: only on the right",
    ]


def test_each_column_that_differs_is_named() -> None:
    """A row on both sides differs in columns; null and empty are not the same."""
    found = _differ(
        lambda tx: tx.put(FACTS, [fact(b"k", 1, text="", effective=1, value="up")]),
        lambda tx: tx.put(FACTS, [fact(b"k", 1, text=None, effective=0, value="up")]),
    )
    key = (b"k", b"0001", "/s")
    assert found == [Difference("facts", key, "text", "", None), Difference("facts", key, "effective", 1, 0)]


def test_ids_are_shown_as_people_know_them() -> None:
    """A difference names ids and keys as they were sent, and cuts what is long."""
    uuid = "0193f1c2-1111-7222-8333-444455556666"
    key = {"key": prediction_key("p-81"), "id": pack(uuid), "source": "/shop"}
    left, right = row(FACTS, **key, text="x" * 500), row(FACTS, **key, text=None)
    found = _differ(lambda tx: tx.put(FACTS, [left]), lambda tx: tx.put(FACTS, [right]))
    described = found[0].describe()
    assert described.startswith(f"facts['p-81', '{uuid}', '/shop'].text: 'xxx")
    assert described.endswith("... != None")
    assert len(described) < 300


@pytest.mark.parametrize(
    "left, right, same",
    [
        ([count("a", 0, 5)], [count("a", 0, 2), count("a", 1, 3)], True),
        ([count("a", 0, 5)], [count("a", 7, 5)], True),
        ([], [count("a", 0, 1), count("a", 1, -1)], True),
        ([count("a", 0, 0)], [], True),
        ([count("a", 0, 5)], [count("a", 0, 5), count("a", 1, 1)], False),
        ([count("a", 0, 0, 2)], [], False),
        ([count("a", 0, 1, 2), count("a", 1, -1, -1)], [count("a", 0, 0, 1)], True),
    ],
)
def test_counters_are_compared_by_their_sums(left: list[Row], right: list[Row], same: bool) -> None:
    """Which partition counted an event is no part of a view; a counter of zero is as good as none."""
    found = _differ(lambda tx: tx.put(COUNTS, left), lambda tx: tx.put(COUNTS, right))
    assert (found == []) == same
    assert all(difference.key == ("a",) for difference in found)


def test_positions_are_compared() -> None:
    """Offset and digest count, the instant of receipt does not."""
    found = _differ(
        lambda tx: tx.advance({0: Applied(1, b"a", 5), DEAD: Applied(2, b"b", 5), 1: Applied(1, b"c", 5)}),
        lambda tx: tx.advance({0: Applied(1, b"a", 6), DEAD: Applied(2, b"x", 5), 2: Applied(1, b"d", 5)}),
    )
    assert [(each.key, each.column) for each in found] == [
        (("1",), None),
        (("2",), None),
        (("dead",), "digest"),
    ]


def test_only_the_first_differences_are_told() -> None:
    """A limit ends the comparison; the first ones are in key order."""
    rows = [case(b"%03d" % number, b"1") for number in range(100)]
    found = _differ(lambda tx: tx.put(CASES, rows), lambda tx: None, limit=3)
    assert [each.key[0] for each in found] == [b"000", b"001", b"002"]


_unique = st.lists(rows(CASES), max_size=12, unique_by=lambda row: row[:2])


@given(_unique, _unique)
def test_differences_are_those_of_sets(left: list[Row], right: list[Row]) -> None:
    """Whatever the rows, what is told is just what the rows by key show, and turned about it is the same."""
    found = _differ(lambda tx: tx.put(CASES, left), lambda tx: tx.put(CASES, right), limit=1000)
    mine, other = ({each[:2]: each for each in side} for side in (left, right))
    expected = {key for key in mine.keys() | other.keys() if mine.get(key) != other.get(key)}
    assert {difference.key for difference in found} == expected
    turned = _differ(lambda tx: tx.put(CASES, right), lambda tx: tx.put(CASES, left), limit=1000)
    assert [(each.table, each.key, each.column, each.right, each.left) for each in turned] == found
    assert list(islice((each.describe() for each in found), 5)) == [each.describe() for each in found[:5]]
