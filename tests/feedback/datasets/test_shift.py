"""Label shift: large and more than chance, or none."""

from __future__ import annotations

import math

import pytest
from hypothesis import assume, example, given
from hypothesis import strategies as st
from scipy.spatial.distance import jensenshannon
from scipy.stats import chi2_contingency

from feedback.datasets.shift import label_shift

COUNTS = st.dictionaries(st.sampled_from("abcde"), st.integers(50, 500), min_size=2)
"""Labels that are frequent enough where there are about as many rows on both sides, not everywhere."""


def frequent(labels: dict[str, int], parent: dict[str, int]) -> bool:
    """Whether a chi-square test may look at every label: at least five are expected on each side."""
    names = labels.keys() | parent.keys()
    rows, parent_rows = sum(labels.values()), sum(parent.values())
    least = min(labels.get(name, 0) + parent.get(name, 0) for name in names)
    return least * min(rows, parent_rows) / (rows + parent_rows) >= 5


@given(COUNTS)
def test_the_same_shares_are_no_shift(labels: dict[str, int]) -> None:
    """Ten times as many rows with the same shares is not another distribution."""
    shift = label_shift({label: 10 * count for label, count in labels.items()}, labels)
    assert shift.distance == pytest.approx(0, abs=1e-6)
    assert not shift.shifted


@given(COUNTS, COUNTS)
# One label 56 times among 2,000 against 100: fewer than five are expected there, so it is pooled.
@example({"a": 50, "b": 450, "c": 500, "d": 500, "e": 500}, {"b": 50, "c": 50})
def test_the_numbers_are_those_of_scipy(labels: dict[str, int], parent: dict[str, int]) -> None:
    """Distance and p-value agree with scipy's, where every label is frequent enough."""
    assume(frequent(labels, parent))
    names = sorted(labels.keys() | parent.keys())
    here, there = [labels.get(name, 0) for name in names], [parent.get(name, 0) for name in names]
    shift = label_shift(labels, parent)
    assert shift.distance == pytest.approx(float(jensenshannon(here, there, 2)), abs=1e-7)
    expected = chi2_contingency([here, there], correction=False).pvalue
    assert shift.p_value == pytest.approx(float(expected), abs=1e-9)
    assert shift.compared == len(names)


def test_a_turned_distribution_is_a_shift() -> None:
    """Nine to one against one to nine is large, and not by chance."""
    shift = label_shift({"a": 90, "b": 10}, {"a": 10, "b": 90})
    assert shift.shifted
    assert (shift.rows, shift.parent_rows) == (100, 100)


def test_few_rows_are_no_evidence() -> None:
    """Three rows against four can differ by anything: that is chance."""
    assert not label_shift({"a": 3}, {"b": 4}).shifted


def test_many_rows_with_a_small_difference_are_no_shift() -> None:
    """Half a million rows show the smallest difference; it has to be large as well."""
    shift = label_shift({"a": 250_000, "b": 250_000}, {"a": 255_000, "b": 245_000})
    assert shift.p_value < 1e-9
    assert not shift.shifted


def test_free_text_shows_no_shift() -> None:
    """Labels that hardly repeat are counted together: new sentences are not a shift."""
    before = {f"sentence {number}": 1 for number in range(500)}
    after = {f"other {number}": 1 for number in range(500)}
    assert not label_shift(after, before).shifted


def test_a_common_new_label_among_rare_ones_is_a_shift() -> None:
    """Rare labels are pooled, and do not hide a label that half of the rows suddenly have."""
    before = {f"rare {number}": 1 for number in range(300)}
    assert label_shift({**before, "new": 300}, before).shifted


@given(COUNTS)
def test_nothing_to_compare_is_no_shift(labels: dict[str, int]) -> None:
    """Without rows on one side there is no distance and nothing unlikely."""
    assert label_shift({}, labels)[:2] == (0.0, 1.0)
    assert label_shift(labels, {})[:2] == (0.0, 1.0)
    assert not math.isnan(label_shift({"a": 1}, {"a": 1}).p_value)


@pytest.mark.parametrize(
    "labels, parent, begins",
    [
        ({"a": 90, "b": 10}, {"a": 10, "b": 90}, "the labels shifted, by more than 0.1"),
        (
            {"a": 250_000, "b": 250_000},
            {"a": 255_000, "b": 245_000},
            "the labels differ a little, by more than",
        ),
        (
            {"a": 15, "b": 10},
            {"a": 10, "b": 14},
            "no shift is shown: the labels look different, but chance may",
        ),
        ({"a": 50, "b": 50}, {"a": 49, "b": 51}, "no shift: the labels differ by no more than chance"),
        ({"a": 3}, {"b": 4}, "whether the labels shifted cannot be said: 3 rows against 4"),
        ({}, {"b": 4}, "the labels cannot be compared: 0 rows against 4"),
    ],
)
def test_a_sentence_says_what_the_numbers_mean(
    labels: dict[str, int], parent: dict[str, int], begins: str
) -> None:
    """Large or not, by chance or not, with few rows and with many: each case has words of its own."""
    assert label_shift(labels, parent).sentence().startswith(begins)


@given(COUNTS, COUNTS)
def test_no_sentence_denies_a_shift_that_is_one(labels: dict[str, int], parent: dict[str, int]) -> None:
    """`shifted` and the sentence say the same; p is never shown as 0."""
    shift = label_shift(labels, parent)
    assert shift.sentence().startswith("the labels shifted") is shift.shifted
    assert "p = 0," not in shift.sentence()
