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
    """How far apart (0: the same, 1: nothing in common), how likely by chance, and the rows on both sides.

    `compared` is how many labels were frequent enough to compare; all others together are one of them.
    """

    distance: float
    p_value: float
    rows: int
    parent_rows: int
    compared: int = 0

    @property
    def shifted(self) -> bool:
        """Whether the difference is large and more than chance."""
        return self.distance > LARGE and self.p_value < BY_CHANCE

    def sentence(self) -> str:
        """What it means, for whoever does not know the two numbers behind it."""
        rows = f"{self.rows:,} rows against {self.parent_rows:,}"
        if not self.rows or not self.parent_rows:
            return f"the labels cannot be compared: {rows}"
        if self.compared < 2:
            return f"whether the labels shifted cannot be said: {rows}, and no two labels are frequent enough"
        measured = f"distance {self.distance:.3f} of 1, p {_shown(self.p_value)}, {rows}"
        if self.shifted:
            return f"the labels shifted, by more than {LARGE} and more than chance explains ({measured})"
        if self.distance > LARGE:
            return f"no shift is shown: the labels look different, but chance may explain that ({measured})"
        if self.p_value < BY_CHANCE:
            return (
                f"the labels differ a little, by more than chance but by less than the {LARGE} that counts as"
                f" a shift ({measured})"
            )
        return f"no shift: the labels differ by no more than chance explains ({measured})"


def _shown(p_value: float) -> str:
    return "< 0.0001" if p_value < 0.0001 else f"= {p_value:.2g}"


def label_shift(labels: Mapping[str, int], parent: Mapping[str, int]) -> Shift:
    """Compare two distributions, each a count of rows by label."""
    rows, parent_rows = sum(labels.values()), sum(parent.values())
    if not rows or not parent_rows:
        return Shift(0.0, 1.0, rows, parent_rows)
    pairs = _pooled(labels, parent, rows, parent_rows)
    if len(pairs) < 2:
        return Shift(0.0, 1.0, rows, parent_rows, len(pairs))
    total = rows + parent_rows
    statistic = divergence = 0.0
    for here, there in pairs:
        for seen, all_seen in ((here, rows), (there, parent_rows)):
            expected = (here + there) * all_seen / total
            statistic += (seen - expected) ** 2 / expected
        divergence += _half(here / rows, there / parent_rows) + _half(there / parent_rows, here / rows)
    from scipy.stats import chi2

    p_value = float(chi2.sf(statistic, len(pairs) - 1))
    return Shift(math.sqrt(max(divergence, 0.0)), p_value, rows, parent_rows, len(pairs))


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
