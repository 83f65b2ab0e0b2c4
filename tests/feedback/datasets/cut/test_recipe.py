"""Splits: a keyed, stable hash of the input's reference, and audit above it."""

from __future__ import annotations

from collections import Counter

import pytest
from hypothesis import given
from hypothesis import strategies as st

from feedback.datasets.cut.recipe import SPLITS, Splitter

REFERENCES = st.text("0123456789abcdef", min_size=1, max_size=64)


@pytest.mark.parametrize(
    "model, reference, split",
    [
        ("reader", "0" * 64, "train"),
        ("reader", "16".zfill(64), "validation"),
        ("reader", "1e".zfill(64), "test"),
        ("reader", "21".zfill(64), "validation"),
        ("matcher", "0" * 64, "validation"),
    ],
)
def test_a_split_never_changes(model: str, reference: str, split: str) -> None:
    """These inputs were assigned once; another answer would move inputs between splits of released data."""
    assert Splitter(model).split(reference) == split


@given(st.lists(REFERENCES, max_size=50), st.sampled_from(["reader", "matcher"]))
def test_an_input_is_split_by_itself(references: list[str], model: str) -> None:
    """What else is released, and in which order, makes no difference."""
    together = Splitter(model).codes(references).tolist()
    assert together == [SPLITS.index(Splitter(model).split(reference)) for reference in references]


@given(st.lists(REFERENCES, min_size=1, max_size=50, unique=True), st.data())
def test_an_audited_input_is_in_audit_only(references: list[str], data: st.DataObject) -> None:
    """Audited inputs go to audit, and the others stay where they were."""
    audited = data.draw(st.sets(st.sampled_from(references)))
    before = Splitter("reader").codes(references).tolist()
    after = Splitter("reader", audited).codes(references).tolist()
    for reference, old, new in zip(references, before, after, strict=True):
        assert SPLITS[old] != "audit"
        assert new == (SPLITS.index("audit") if reference in audited else old)


def test_splits_have_the_promised_sizes() -> None:
    """Of 50,000 inputs, 80, 10 and 10 in a hundred, within five standard errors."""
    n = 50_000
    counts = Counter(Splitter("reader").codes([f"{number:064x}" for number in range(n)]).tolist())
    for split, share in (("train", 0.8), ("validation", 0.1), ("test", 0.1)):
        error = (share * (1 - share) / n) ** 0.5
        assert abs(counts[SPLITS.index(split)] / n - share) < 5 * error


def test_models_split_the_same_inputs_independently() -> None:
    """The key is the model's: the inputs that one model trains on are spread over the other's splits."""
    references = [f"{number:064x}" for number in range(20_000)]
    train = [r for r, code in zip(references, Splitter("reader").codes(references), strict=True) if code == 0]
    share = Counter(Splitter("matcher").codes(train).tolist())[0] / len(train)
    assert abs(share - 0.8) < 0.02
