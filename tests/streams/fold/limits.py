"""Limits of the fold so low that drawn histories, which are short, go beyond all of them."""

from __future__ import annotations

import pytest

from streams.fold import fold, retractions
from streams.fold import join_key_locks as locks
from streams.fold import settlement as settling
from streams.views import labels, working_set


def limit_loading(patch: pytest.MonkeyPatch, whole: int, listed: int, few: int, page: int) -> None:
    """Load so few facts of a prediction whole, list so few votes, and settle so little along or at once."""
    patch.setattr(working_set, "WHOLE", whole)
    patch.setattr(labels, "LISTED", listed)
    for module in (settling, retractions):
        patch.setattr(module, "FEW", few)
    for module in (fold, locks, retractions):
        patch.setattr(module, "_PAGE", page)
