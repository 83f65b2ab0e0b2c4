"""Building views from the log anew, and proving that the live ones are the same."""

from __future__ import annotations

from collections.abc import Callable

from schemas.errors import Refused
from streams.log.port import Log, Positions, ends_with
from streams.projection.apply import advance
from streams.store.compare import Difference, differences
from streams.store.port import Snapshot, Store
from streams.views.port import Views
from streams.views.registry import VIEWS, tables_of

Progress = Callable[[int, int], None]
"""Called with (blocks done, blocks in all)."""


class BeyondTheLog(Refused):
    """Positions were asked for that the log has not reached."""


def rebuild(
    log: Log,
    store: Store,
    upto: Positions | None = None,
    progress: Progress | None = None,
    views: Views = VIEWS,
) -> None:
    """Fold the log into `store` from where it stands, up to these positions or the log's ends.

    Of partitions that `upto` leaves out nothing is folded: a new epoch may begin at any moment, and what is
    rebuilt up to a vector is not to depend on it. Raises BeyondTheLog.
    """
    ends = log.ends()
    goal = dict(ends if upto is None else upto)
    for partition, offset in goal.items():
        if offset > ends.get(partition, -1):
            raise BeyondTheLog(
                f"the log has {ends.get(partition, 0)} blocks in partition {partition}, not {offset}"
            )
    total = sum(goal.values())
    with store.snapshot() as snapshot:
        done = sum(applied.offset for applied in snapshot.positions().values())
    while blocks := advance(log, store, upto=goal, views=views):
        done += blocks
        if progress is not None:
            progress(done, total)


def verify(
    log: Log,
    live: Snapshot,
    scratch: Store,
    progress: Progress | None = None,
    limit: int = 20,
    views: Views = VIEWS,
) -> list[Difference]:
    """Rebuild every view in `scratch` up to where `live` stands, and compare row by row.

    Returns the first differences, up to `limit`; none means that the views are identical.
    """
    positions = live.positions()
    ends = ends_with(log, positions)
    goal = {partition: positions[partition].offset if partition in positions else 0 for partition in ends}
    rebuild(log, scratch, goal, progress, views)
    with scratch.snapshot() as rebuilt:
        return differences(live, rebuilt, tables_of(views), limit)
