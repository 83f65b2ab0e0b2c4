"""The rules of a view as checks: one list, run on every view of the registry and on any other one.

A check takes a view and raises AssertionError, saying what the view does that a view may not. What the rules
are for is said in `streams.views.port`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from random import Random
from typing import Any, cast

import pytest

from schemas import kinds
from streams.log.memory import MemoryLog
from streams.projection.apply import advance
from streams.store.memory import MemoryStore
from streams.store.port import Snapshot
from streams.store.tables import Table
from streams.views.port import Agenda, View, Views
from streams.views.registry import VIEWS
from tests.streams.dense import dense_history
from tests.streams.drawn import log_of, views
from tests.streams.fold.limits import limit_loading
from tests.streams.telling import declared
from tests.streams.views.stories import Place, Sent, everything, retracted

Rows = dict[str, list[Any]]
"""By table the rows as they are compared: counters summed over their shards, without zeros."""

Check = Callable[[type[View]], None]

FEW, MUCH = 60, 600
SAME = 8
"""So many rows more are still the same work: what lies there is laid out in one way or another."""

_IN_THE_LOG = {"partition", "offset", "place"}


def beside_all(view: type[View]) -> Views:
    """The registry, with this view if it is not in it."""
    return VIEWS if view in VIEWS else (*VIEWS, view)


def _fold(log: MemoryLog, holding: Views, steps: Callable[[dict[int, int]], Iterator[Any]]) -> MemoryStore:
    store = MemoryStore(log.identity)
    for options in steps(log.ends()):
        while advance(log, store, views=holding, **options):
            pass
    return store


def _at_once(ends: dict[int, int]) -> Iterator[dict[str, Any]]:
    yield {"upto": ends}


def _one_by_one(ends: dict[int, int]) -> Iterator[dict[str, Any]]:
    yield {"upto": ends, "most_events": 1}


def _in_steps(seed: int) -> Callable[[dict[int, int]], Iterator[dict[str, Any]]]:
    """Some blocks of some partitions at a time, in transactions of several sizes."""
    random = Random(seed)

    def steps(ends: dict[int, int]) -> Iterator[dict[str, Any]]:
        at = dict.fromkeys(ends, 0)
        while behind := [partition for partition in ends if at[partition] < ends[partition]]:
            for partition in random.sample(behind, random.randint(1, len(behind))):
                at[partition] += random.randint(1, ends[partition] - at[partition])
            yield {"upto": dict(at), "most_events": random.choice([1, 5, 2000])}

    return steps


def _seen(view: type[View], store: MemoryStore, sizes: Sequence[int]) -> Rows:
    with store.snapshot() as snapshot:
        return views(snapshot, sizes, view.tables)


def _rows(view: type[View], *parts: Sequence[Sent]) -> Rows:
    """The view's rows after these parts of a history, each in a transaction of its own."""
    log = log_of([event for part in parts for event in part], 1, [1])
    ends = [sum(map(len, parts[: number + 1])) for number in range(len(parts))]
    store = _fold(log, beside_all(view), lambda _: iter([{"upto": {0: end}} for end in ends]))
    return _seen(view, store, [1])


@contextmanager
def _hardly_anything_loaded(low: bool) -> Iterator[None]:
    with pytest.MonkeyPatch.context() as patch:
        if low:
            limit_loading(patch, 1, 2, 2, 2)
        yield


def check_commutes(view: type[View]) -> None:
    """Any interleaving of the partitions, any block size and any transaction give the same rows."""
    filled = False
    for seed in range(8):
        history, partitions = dense_history(seed, 60 + 10 * seed), 1 + seed % 3
        one, other = [1 + seed], [3, 1, 1 + seed % 5]
        plain, log = log_of(history, partitions, one), log_of(history, partitions, other)
        with _hardly_anything_loaded(seed % 2 == 1):
            expected = _seen(view, _fold(plain, beside_all(view), _at_once), one)
            found = _seen(view, _fold(log, beside_all(view), _in_steps(seed)), other)
        assert found == expected, f"{view.__name__} has other rows when the same comes in another order"
        filled = filled or any(expected.values())
    assert filled, f"no history of the check ever reaches {view.__name__}"


def check_takes_back(view: type[View]) -> None:
    """What was said and taken back leaves the rows of a log in which it was never said."""
    place = Place()
    base = [declared(), *(place.made(number) for number in range(3))]
    said, taken = retracted(place, view.kinds)
    never = _rows(view, base, taken)
    for low in (False, True):
        with _hardly_anything_loaded(low):
            for parts in ([base, said, taken], [base, taken, said], [said, taken, base]):
                left = _rows(view, *parts)
                assert left == never, f"{view.__name__} keeps something of what was taken back"


def check_keeps_environments_apart(view: type[View]) -> None:
    """Whoever reads one environment reads what there would be without the others."""
    places = [Place("prod"), Place("test")]
    stories = [everything(place, view.kinds) for place in places]
    mixed = _rows(view, [declared()], [event for pair in zip(*stories, strict=True) for event in pair])
    for place, story in zip(places, stories, strict=True):
        alone = _rows(view, [declared()], story)
        for table in view.tables:
            found = _of(place, table, mixed[table.name])
            expected = _of(place, table, alone[table.name])
            assert found == expected, f"{table.name}: what is read of {place.env} changes with another one"


def _of(place: Place, table: Table, rows: Iterable[Any]) -> list[Any]:
    """The rows of an environment, without where in the log they come from."""
    found = []
    for row in rows:
        named = row
        if table.sums:
            by = [column for column in table.columns if column not in ("shard", *table.sums)]
            named = dict(zip([*by, *table.sums], row, strict=True))
        assert named.keys() & {"env", "pid"}, f"the rows of {table.name} say no environment"
        if named["env"] == place.env if "env" in named else named["pid"] in place.pids():
            found.append({key: value for key, value in named.items() if key not in _IN_THE_LOG})
    return sorted(found, key=repr)


def check_is_linear(view: type[View]) -> None:
    """One more event is the same work however much lies there, and two parts add up to the whole."""
    for kind in sorted(view.kinds):
        for one_person in (False, True):
            few, much = (_work(view, kind, size, one_person=one_person) for size in (FEW, MUCH))
            told = f"{view.__name__}: one more {kind}"
            assert much.rows <= few.rows + SAME, f"{told} is {much.rows} rows of work where it was {few.rows}"
            assert much.calls <= few.calls + 1, f"{told} is {much.calls} calls where it was {few.calls}"
            assert much.size <= 2 * few.size + 1_000, f"{told} writes more the more there is"
    for seed in range(3):
        log = log_of(dense_history(seed, 80), 2, [3])
        whole, apart = (_fold(log, beside_all(view), steps) for steps in (_at_once, _one_by_one))
        assert _seen(view, whole, [3]) == _seen(view, apart, [3]), f"{view.__name__}: parts do not add up"


class _Work:
    """What a view does in one agenda: rows that it reads and gives, its calls, and the size of the rows."""

    def __init__(self) -> None:
        self.rows, self.calls, self.size = 0, 0, 0

    def note(self, rows: Sequence[Any]) -> None:
        self.calls += 1
        self.rows += len(rows)
        self.size += len(repr(rows))


class _Watched:
    """Whatever a view reads from or writes to, with its calls noted."""

    def __init__(self, target: Any, work: _Work) -> None:
        self._target, self._work = target, work

    def __getattr__(self, name: str) -> Any:
        call = getattr(self._target, name)

        def watched(*args: Any, **options: Any) -> Any:
            found = call(*args, **options)
            if found is None:
                self._work.note(args[1:])
                return None
            rows = list(found)
            self._work.note(rows)
            return iter(rows) if name == "scan" else rows

        return watched


def _watch(view: type[View], work: _Work) -> type[View]:
    """The view, with what it reads and writes noted."""

    def begin(self: View, agenda: Agenda) -> None:
        changes, snapshot = _Watched(agenda.changes, work), _Watched(agenda.snapshot, work)
        watched = agenda._replace(changes=cast("Any", changes), snapshot=cast("Snapshot", snapshot))
        view.__init__(self, watched)

    return cast("type[View]", type(view.__name__, (view,), {"__init__": begin}))


def _work(view: type[View], kind: str, size: int, *, one_person: bool) -> _Work:
    """The work of one more event of a kind, where so many lie on its prediction, subject or input."""
    work = _Work()
    watched = tuple(_watch(each, work) if each is view else each for each in beside_all(view))
    history = [declared(), *_hot(kind, size, one_person=one_person)]
    log = log_of(history, 1, [len(history) - 1, 1])
    store = MemoryStore(log.identity)
    advance(log, store, views=watched, upto={0: 1})
    work.rows, work.calls, work.size = 0, 0, 0
    advance(log, store, views=watched, upto={0: 2})
    return work


def _hot(kind: str, size: int, *, one_person: bool) -> Iterator[Sent]:
    place = Place()
    if kind == kinds.PREDICTION_MADE.name:
        yield from (place.made(number) for number in range(size + 1))
        return
    yield place.made(0)
    for number in range(size + 1):
        yield place.said(kind, f"e{number}", person="ann" if one_person else f"u{number}")


CHECKS: tuple[Check, ...] = (
    check_commutes,
    check_takes_back,
    check_keeps_environments_apart,
    check_is_linear,
)
"""What every view passes."""
