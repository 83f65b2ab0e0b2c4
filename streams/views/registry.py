"""Which views there are. To add one, write a module beside this one and name its class in `VIEWS`."""

from __future__ import annotations

from collections import Counter
from functools import cache

from schemas.errors import Malformed
from streams.store.tables import STATE, Table
from streams.views.audited_inputs import AuditedInputs
from streams.views.counts import Counts
from streams.views.dead_letters import DeadLetters
from streams.views.exposures import Exposures
from streams.views.labels import Labels
from streams.views.outcomes import Outcomes
from streams.views.overrides import Overrides
from streams.views.port import Views

VIEWS: Views = (Labels, Overrides, AuditedInputs, Counts, Exposures, Outcomes, DeadLetters)
"""All views, in the order in which they are written."""


class UnfitTable(Malformed):
    """A view's table cannot be kept as it is; the message says what to change."""


@cache
def tables_of(views: Views) -> tuple[Table, ...]:
    """The tables of a store with these views: those of the fold itself, then those of each view.

    Raises UnfitTable.
    """
    tables = (*STATE, *(table for view in views for table in view.tables))
    twice = [name for name, times in Counter(table.name for table in tables).items() if times > 1]
    if twice:
        raise UnfitTable(f"two tables are named {twice[0]}: each view has tables of its own")
    for table in tables:
        if not table.sums and table.columns[: len(table.key)] != table.key:
            raise UnfitTable(f"the columns of the key of {table.name} must come first, in their order")
        if table.sums and table.columns[-len(table.sums) :] != table.sums:
            raise UnfitTable(f"the sums of {table.name} must be its last columns, in their order")
        if table.sums and "shard" not in table.key:
            raise UnfitTable(f"{table.name} has sums, so its key must have a column `shard`")
    return tables


TABLES = tables_of(VIEWS)
"""The tables that a store is made with."""
