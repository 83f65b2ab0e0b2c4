"""A view beside those of the registry, kept on a store: what a test of any store asks of it."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from streams.log.memory import MemoryLog
from streams.projection.apply import advance
from streams.projection.rebuild import rebuild, verify
from streams.store.memory import MemoryStore
from streams.store.port import Store
from streams.store.tables import Table
from streams.views.port import Views
from streams.views.registry import VIEWS, tables_of
from tests.streams.dense import dense_history
from tests.streams.drawn import log_of
from tests.streams.telling import declared, prediction, told
from tests.streams.views.plug import COMMENTS, Comments

WITH_COMMENTS: Views = (*VIEWS, Comments)
TABLES: tuple[Table, ...] = tables_of(WITH_COMMENTS)

DAY = "2026-11-20"


def _comment(event_id: str, **data: Any) -> tuple[bytes, int]:
    return told("feedback.comment", event_id, 3, text="hm", **data)


STORY = [
    declared(),
    _comment("early", prediction_id="p"),
    prediction("p"),
    prediction("q", env="test"),
    _comment("late", prediction_id="p", person="ann"),
    _comment("wrong", prediction_id="p", person="ann"),
    told("feedback.retraction", "x", 4, prediction_id="p", person="ann", explains="wrong"),
    _comment("other", prediction_id="q"),
    _comment("about a subject", subject="s"),
]
"""Two comments that count on a prediction, one on another in another environment."""


def check_kept(open_store: Callable[[MemoryLog], Store]) -> None:
    """A store that is opened for a log keeps the view, and a fold of the log in memory gives the same."""
    log = log_of(STORY, 1, [2])
    store = open_store(log)
    while advance(log, store, views=WITH_COMMENTS):
        pass
    with store.snapshot() as live:
        assert live.totals(COMMENTS, ["env", "day"]) == [("prod", DAY, 2), ("test", DAY, 1)]
        assert verify(log, live, MemoryStore(log.identity), views=WITH_COMMENTS) == []
    store.close()


def check_rebuilt(open_store: Callable[[MemoryLog], Store]) -> None:
    """Folded anew, in other transactions, a long history gives the same rows; a row that differs is found."""
    log = log_of(dense_history(5, 200), 2, [7])
    live, again = MemoryStore(log.identity), open_store(log)
    while advance(log, live, most_events=5, views=WITH_COMMENTS):
        pass
    rebuild(log, again, views=WITH_COMMENTS)
    with again.snapshot() as rebuilt:
        assert rebuilt.count(COMMENTS) > 0
        assert verify(log, rebuilt, live, views=WITH_COMMENTS) == []
    with again.transaction([0]) as transaction:
        [[model, env, day, shard, comments], *_] = transaction.scan(COMMENTS)
        transaction.put(COMMENTS, [(model, env, day, shard, comments + 1)])
    with again.snapshot() as rebuilt:
        [difference] = verify(log, rebuilt, MemoryStore(log.identity), views=WITH_COMMENTS)
    assert (difference.table, difference.column) == (COMMENTS.name, "comments")
    again.close()
