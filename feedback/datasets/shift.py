"""Label shift: how far the labels of a release lie from those of its parent.

Two questions, and only a yes to both is a shift: is the difference large (Jensen-Shannon distance, base
2, over `LARGE`), and is it more than chance (chi-square test of homogeneity, p under `BY_CHANCE`)? Labels
too rare to be tested are counted together, so free text, where hardly a label repeats, shows none.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import NamedTuple

LARGE = 0.1
BY_CHANCE = 0.01
# The usual rule for a chi-square test: at least five expected in each cell.
_LEAST_EXPECTED = 5.0


class Shift(NamedTuple):
    """How far apart (0: the same, 1: nothing in common), how likely by chance, and the rows on both sides."""

    distance: float
    p_value: float
    rows: int
    parent_rows: int

    @property
    def shifted(self) -> bool:
        """Whether the difference is large and more than chance."""
        return self.distance > LARGE and self.p_value < BY_CHANCE


def label_shift(labels: Mapping[str, int], parent: Mapping[str, int]) -> Shift:
    """Compare two distributions, each a count of rows by label."""
    rows, parent_rows = sum(labels.values()), sum(parent.values())
    if not rows or not parent_rows:
        return Shift(0.0, 1.0, rows, parent_rows)
    pairs = _pooled(labels, parent, rows, parent_rows)
    if len(pairs) < 2:
        return Shift(0.0, 1.0, rows, parent_rows)
    total = rows + parent_rows
    statistic = divergence = 0.0
    for here, there in pairs:
        for seen, all_seen in ((here, rows), (there, parent_rows)):
            expected = (here + there) * all_seen / total
            statistic += (seen - expected) ** 2 / expected
        divergence += _half(here / rows, there / parent_rows) + _half(there / parent_rows, here / rows)
    from scipy.stats import chi2

    p_value = float(chi2.sf(statistic, len(pairs) - 1))
    return Shift(math.sqrt(max(divergence, 0.0)), p_value, rows, parent_rows)


def _half(share: float, other: float) -> float:
    return 0.0 if share == 0 else 0.5 * share * math.log2(share / ((share + other) / 2))


def _pooled(
    labels: Mapping[str, int], parent: Mapping[str, int], rows: int, parent_rows: int
) -> list[tuple[int, int]]:
    """The two counts of each label that is frequent enough, and those of all the others together."""
    smaller = min(rows, parent_rows) / (rows + parent_rows)
    pairs, rest = [], [0, 0]
    for label in labels.keys() | parent.keys():
        here, there = labels.get(label, 0), parent.get(label, 0)
        if (here + there) * smaller >= _LEAST_EXPECTED:
            pairs.append((here, there))
        else:
            rest[0] += here
            rest[1] += there
    if sum(rest) * smaller >= _LEAST_EXPECTED:
        pairs.append((rest[0], rest[1]))
    return sorted(pairs)
