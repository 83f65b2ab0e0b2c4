"""Every view passes every check, and each check refuses the view that breaks its rule."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from schemas import kinds
from schemas.kinds import KINDS
from streams.store.tables import COUNTS, Table, ViewRow
from streams.views.port import View
from streams.views.registry import VIEWS, UnfitTable, tables_of
from tests.streams.views.battery import (
    CHECKS,
    Check,
    check_commutes,
    check_is_linear,
    check_keeps_environments_apart,
    check_takes_back,
)
from tests.streams.views.broken import EverSaid, OneEnvironment, OrderOfArrival, ReadsEverything
from tests.streams.views.plug import Comments
from tests.streams.views.stories import EXAMPLES


def _name(each: Callable[..., object]) -> str:
    return each.__name__


@pytest.mark.parametrize("check", CHECKS, ids=_name)
@pytest.mark.parametrize("view", [*VIEWS, Comments], ids=_name)
def test_every_view_passes_every_check(view: type[View], check: Check) -> None:
    """Whatever is in the registry keeps to all rules; so does a view that only tests have."""
    check(view)


BROKEN: dict[type[View], set[Check]] = {
    # What depends on what came together is not the sum of its parts either.
    OrderOfArrival: {check_commutes, check_is_linear},
    EverSaid: {check_takes_back},
    OneEnvironment: {check_keeps_environments_apart},
    ReadsEverything: {check_is_linear},
}


@pytest.mark.parametrize("view", BROKEN, ids=_name)
def test_a_view_that_breaks_a_rule_is_refused_by_its_check_and_no_other(view: type[View]) -> None:
    """Each check finds what it is for, and blames nothing else."""
    refused = set()
    for check in CHECKS:
        try:
            check(view)
        except AssertionError:
            refused.add(check)
    assert refused == BROKEN[view]


def test_every_check_has_a_view_that_it_refuses() -> None:
    """A check that nothing fails would say nothing."""
    assert set().union(*BROKEN.values()) == set(CHECKS)


def test_the_stories_know_every_kind_of_fact() -> None:
    """A new kind of event gets an example, or the checks would pass over it."""
    about_models = {kind.name for kind in KINDS.values() if kind.about_model}
    assert EXAMPLES.keys() == KINDS.keys() - about_models - {kinds.PREDICTION_MADE.name}


class _Late(ViewRow):
    n: int
    shard: int
    key: str


@pytest.mark.parametrize(
    "table",
    [
        COUNTS,
        Table("late_key", _Late, ("key",)),
        Table("early_sums", _Late, ("shard", "key"), sums=("n",)),
        Table("unsharded", _Late, ("n",), sums=("key",)),
    ],
    ids=lambda table: table.name,
)
def test_a_table_that_cannot_be_kept_is_refused(table: Table) -> None:
    """Two tables of one name, columns in another order than rows are kept in, and sums without shards."""

    class Unfit(View):
        tables = (table,)
        kinds = frozenset({kinds.COMMENT.name})

    with pytest.raises(UnfitTable, match=table.name):
        tables_of((*VIEWS, Unfit))
