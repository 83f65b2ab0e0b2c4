"""One more event where very much lies already, against the same event on a fresh key.

Every case fills a store with very many events that lie in the way of one kind of event, then applies single
events of that kind, each in a block and transaction of its own as a worker does that is caught up, and the
same ones on keys of their own. The ratio is that of the medians of their CPU, both sides in turns.

Where an event changes all that lies there, as a prediction does for which retractions wait, the other one
changes as much that is not of one key.
"""

from __future__ import annotations

import tempfile
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from statistics import median
from typing import Any, NamedTuple

import msgspec

from benchmarks.report import Row
from benchmarks.scale import Scale
from benchmarks.workload import START_NS
from schemas.catalog import CATALOG
from schemas.instants import rfc3339
from streams.log.block import write_block
from streams.log.memory import MemoryLog
from streams.projection.apply import advance
from streams.store.port import Store
from streams.store.sqlite.store import SqliteStore, create_store
from streams.views.registry import TABLES

MODEL, VERSION = "hot", "1"
_BLOCK = 200
_SECOND = 10**9
_STORE_BOUND = 3.0


class Said(NamedTuple):
    """An event to send: its kind, id and data; its time is its place in the sequence, less `ago` seconds."""

    kind: str
    id: str
    data: dict[str, Any]
    ago: int = 0


class Case(NamedTuple):
    """What lies there, and the event that comes: `hot` by its number, `fresh` on a key of its own."""

    name: str
    fill: Callable[[int], Iterator[Said]]
    hot: Callable[[int], Said]
    fresh: Callable[[int], Said]
    before: Callable[[int], Iterator[Said]]
    """What the fresh ones need: a prediction each, say."""


def _made(pid: str, **data: Any) -> Said:
    fields = {"prediction_id": pid, "model": MODEL, "model_version": VERSION, "output": "a", **data}
    return Said("prediction.made", f"made-{pid}", fields)


def _about(kind: str, event_id: str, pid: str, person: str | None, **data: Any) -> Said:
    who = {} if person is None else {"person": person}
    return Said(f"feedback.{kind}", event_id, {"prediction_id": pid, **who, **data})


def _by_key(kind: str, event_id: str, key: str, person: str, **data: Any) -> Said:
    return Said(f"feedback.{kind}", event_id, {"model": MODEL, "join_key": key, "person": person, **data})


def _predictions(count: int) -> Iterator[Said]:
    return (_made(f"fresh-{number}") for number in range(count))


def _none(count: int) -> Iterator[Said]:
    return iter(())


def _thumbs(count: int) -> Iterator[Said]:
    yield _made("p")
    for number in range(count):
        yield _about("thumb", f"t-{number}", "p", f"u-{number}", value="down" if number % 3 else "up")


def _said_about_p(kind: str, **data: Any) -> Case:
    """One more event of a kind about a prediction with very many thumbs."""
    return Case(
        kind,
        _thumbs,
        lambda n: _about(kind, f"hot-{n}", "p", f"new-{n}", **data),
        lambda n: _about(kind, f"cold-{n}", f"fresh-{n}", f"new-{n}", **data),
        _predictions,
    )


def _cases_of_one_key(count: int) -> Iterator[Said]:
    return (_made(f"c-{number}", join_key="k") for number in range(count))


def _facts_of_one_key(count: int) -> Iterator[Said]:
    yield _made("c", join_key="k")
    for number in range(count):
        yield _by_key("thumb", f"t-{number}", "k", f"u-{number}", value="up")


def _fresh_keys(count: int) -> Iterator[Said]:
    return (_made(f"fresh-{number}", join_key=f"fresh-{number}") for number in range(count))


def _outcomes(count: int) -> Iterator[Said]:
    for number in range(count // 2):
        yield Said("feedback.outcome", f"o-{number}", {"subject": "s", "outcome": "renewed"})
        yield _made(f"e-{number}", subject="s")


def _waiting(count: int) -> Iterator[Said]:
    return (_about("thumb", f"t-{number}", "never", f"u-{number}", value="up") for number in range(count))


def _votes(count: int, label: Callable[[int], str]) -> Iterator[Said]:
    yield _made("p")
    for number in range(count):
        yield _about("correction", f"v-{number}", "p", f"u-{number}", label=label(number))


def _corrected(name: str, label: Callable[[int], str]) -> Case:
    return Case(
        name,
        lambda count: _votes(count, label),
        lambda n: _about("correction", f"hot-{n}", "p", f"new-{n}", label=label(n)),
        lambda n: _about("correction", f"cold-{n}", f"fresh-{n}", f"new-{n}", label=label(n)),
        _predictions,
    )


def _one_person(count: int) -> Iterator[Said]:
    yield _made("p")
    for number in range(count // 3):
        yield _about("comment", f"c-{number}", "p", "u", text="hm")
        yield _about("action", f"a-{number}", "p", "u", value=f"word_{number}")
        yield _about("thumb", f"t-{number}", "p", "u", value="up")


def _explained(count: int) -> Iterator[Said]:
    yield _made("p")
    yield _about("thumb", "t", "p", "u", value="down")
    for number in range(count // 2):
        yield _about("reason", f"r-{number}", "p", f"u-{number}", reason="other", explains="t")
        yield _about("retraction", f"x-{number}", "p", None, explains="never")


def _each_retracted(count: int) -> Iterator[Said]:
    for number in range(count):
        yield _made(f"fresh-{number}")
        yield _about("thumb", f"cold-t-{number}", f"fresh-{number}", "u", value="up")


def _thumbs_to_retract(count: int) -> Iterator[Said]:
    yield from _thumbs(count)


def _busy_thumb(count: int) -> Iterator[Said]:
    """A thumb with very many reasons that is taken back, all by join key."""
    yield _made("p", join_key="k")
    yield _by_key("thumb", "t", "k", "u", value="down")
    for number in range(count):
        yield _by_key("reason", f"r-{number}", "k", f"u-{number}", reason="other", explains="t")
    yield _by_key("retraction", "x", "k", "u", explains="t")


def _busy_thumb_by_id(count: int) -> Iterator[Said]:
    yield _made("p")
    yield _about("thumb", "t", "p", "u", value="down")
    for number in range(count):
        yield _about("reason", f"r-{number}", "p", f"u-{number}", reason="other", explains="t")
    yield _about("retraction", "x", "p", "u", explains="t")


def _taken_back_by_key(count: int) -> Iterator[Said]:
    for number in range(count):
        yield _made(f"fresh-{number}", join_key=f"fresh-{number}")
        yield _by_key("thumb", f"cold-t-{number}", f"fresh-{number}", "u", value="down")
        yield _by_key("retraction", f"cold-x-{number}", f"fresh-{number}", "u", explains=f"cold-t-{number}")


def _taken_back(count: int) -> Iterator[Said]:
    for number in range(count):
        yield _made(f"fresh-{number}")
        yield _about("thumb", f"cold-t-{number}", f"fresh-{number}", "u", value="down")
        yield _about("retraction", f"cold-x-{number}", f"fresh-{number}", "u", explains=f"cold-t-{number}")


def _retracted_again(number: int) -> Said:
    """Each before all others that came, so that the mark moves."""
    said = _by_key("retraction", f"hot-{number}", "k", "u", explains="t")
    return said._replace(ago=4 * number + 4)


def _retracted_again_by_id(number: int) -> Said:
    return _about("retraction", f"hot-{number}", "p", "u", explains="t")._replace(ago=4 * number + 4)


_MADE_LATE = 64


def _waited_for(count: int) -> Iterator[Said]:
    """Retractions that name another model than a prediction that is to come: of one thumb, and of many."""
    for number in range(_MADE_LATE):
        yield _about("thumb", f"t-{number}", f"late-{number}", "u", value="up")
    for each in range(count // _MADE_LATE // 2):
        for number in range(_MADE_LATE):
            hot, cold = f"late-{number}", f"cold-{number}"
            said = {"model": "other", "explains": f"t-{number}"}
            yield _about("retraction", f"x-{number}-{each}", hot, None, **said)
            yield _about("retraction", f"y-{number}-{each}", hot, None, **said)
            said = {"model": "other", "explains": f"s-{number}-{each}"}
            yield _about("thumb", f"s-{number}-{each}", cold, f"u-{each}", value="up")
            yield _about("retraction", f"z-{number}-{each}", cold, None, **said)


MADE_LATE = Case(
    "prediction that retractions wait for",
    _waited_for,
    lambda n: _made(f"late-{n}"),
    lambda n: _made(f"cold-{n}"),
    _none,
)
"""What it changes is all that lies there, on either side: it grows with that, and no faster."""

CASES = (
    *(
        _said_about_p(kind, **data)
        for kind, data in {
            "thumb": {"value": "up"},
            "reason": {"reason": "other"},
            "action": {"value": "copied"},
            "correction": {"label": "b"},
            "confirmation": {"value": "yes"},
            "comment": {"text": "hm"},
        }.items()
    ),
    Case(
        "retraction",
        _thumbs_to_retract,
        lambda n: _about("retraction", f"hot-{n}", "p", None, explains=f"t-{n}"),
        lambda n: _about("retraction", f"cold-{n}", f"fresh-{n}", None, explains=f"cold-t-{n}"),
        _each_retracted,
    ),
    Case(
        "prediction on a join key",
        _cases_of_one_key,
        lambda n: _made(f"hot-{n}", join_key="k"),
        lambda n: _made(f"cold-{n}", join_key=f"cold-{n}"),
        _none,
    ),
    Case(
        "thumb by join key",
        _cases_of_one_key,
        lambda n: _by_key("thumb", f"hot-{n}", "k", f"new-{n}", value="up"),
        lambda n: _by_key("thumb", f"cold-{n}", f"fresh-{n}", f"new-{n}", value="up"),
        _fresh_keys,
    ),
    Case(
        "prediction on a join key with facts",
        _facts_of_one_key,
        lambda n: _made(f"hot-{n}", join_key="k"),
        lambda n: _made(f"cold-{n}", join_key=f"cold-{n}"),
        _none,
    ),
    Case(
        "thumb by join key with facts",
        _facts_of_one_key,
        lambda n: _by_key("thumb", f"hot-{n}", "k", f"new-{n}", value="up"),
        lambda n: _by_key("thumb", f"cold-{n}", f"fresh-{n}", f"new-{n}", value="up"),
        _fresh_keys,
    ),
    Case(
        "outcome",
        _outcomes,
        lambda n: Said("feedback.outcome", f"hot-{n}", {"subject": "s", "outcome": "churned"}),
        lambda n: Said("feedback.outcome", f"cold-{n}", {"subject": f"s-{n}", "outcome": "churned"}),
        _none,
    ),
    Case(
        "thumb that waits",
        _waiting,
        lambda n: _about("thumb", f"hot-{n}", "never", f"new-{n}", value="up"),
        lambda n: _about("thumb", f"cold-{n}", f"never-{n}", f"new-{n}", value="up"),
        _none,
    ),
    _corrected("correction among different labels", lambda n: f"label {n}"),
    _corrected("correction of one of two labels", lambda n: "ab"[n % 2]),
    Case(
        "thumb of a busy person",
        _one_person,
        lambda n: _about("thumb", f"hot-{n}", "p", "u", value="down"),
        lambda n: _about("thumb", f"cold-{n}", f"fresh-{n}", "u", value="down"),
        _predictions,
    ),
    Case(
        "reason of a busy thumb",
        _explained,
        lambda n: _about("reason", f"hot-{n}", "p", f"new-{n}", reason="other", explains="t"),
        lambda n: _about("reason", f"cold-{n}", f"fresh-{n}", f"new-{n}", reason="other", explains=f"t-{n}"),
        _predictions,
    ),
    Case(
        "earlier retraction of a busy thumb",
        _busy_thumb_by_id,
        _retracted_again_by_id,
        lambda n: _about("retraction", f"cold-{n}", f"fresh-{n}", "u", explains=f"cold-t-{n}"),
        _taken_back,
    ),
    Case(
        "earlier retraction of a busy thumb by join key",
        _busy_thumb,
        _retracted_again,
        lambda n: _by_key("retraction", f"cold-{n}", f"fresh-{n}", "u", explains=f"cold-t-{n}"),
        _taken_back_by_key,
    ),
)
"""Those in which what lies there is left as it is."""


class Fed:
    """A log and a store that events are put into; time goes on by a second with each."""

    def __init__(self, log: MemoryLog, store: Store) -> None:
        self._log, self._store = log, store
        self._now = START_NS

    def put(self, said: Iterable[Said], size: int = _BLOCK) -> None:
        """Append events in blocks, and apply them."""
        items: list[bytes] = []
        for each in said:
            items.append(self._item(each))
            if len(items) == size:
                self._append(items)
                items = []
        if items:
            self._append(items)
        while advance(self._log, self._store):
            pass

    def _item(self, said: Said) -> bytes:
        self._now += _SECOND
        event = {
            "specversion": "1.0",
            "type": f"loopline.{said.kind}.v1",
            "id": said.id,
            "source": "/bench",
            "time": rfc3339(self._now - said.ago * _SECOND),
            "data": said.data,
        }
        return msgspec.json.encode(event)

    def _append(self, items: list[bytes]) -> None:
        self._log.append([(0, write_block(CATALOG.types, [(self._now, len(items))], items))])

    def cost(self, said: Said) -> float:
        """CPU seconds of applying one event, in a transaction of its own."""
        self._append([self._item(said)])
        started = time.process_time()
        advance(self._log, self._store)
        return time.process_time() - started


def measure_case(
    case: Case, log: MemoryLog, store: Store, size: int, rounds: int
) -> tuple[list[float], list[float]]:
    """CPU seconds of each hot and each fresh event."""
    fed = Fed(log, store)
    shape = {"text": True}
    declared = {"model": MODEL, "model_version": VERSION, "output_shape": shape}
    fed.put([Said("model.declared", "declared", declared)])
    fed.put(case.before(rounds + 3))
    fed.put(case.fill(size))
    hot, fresh = [], []
    for number in range(rounds + 3):
        spent = fed.cost(case.hot(number)), fed.cost(case.fresh(number))
        # The first ones prepare statements and fill caches.
        if number >= 3:
            hot.append(spent[0])
            fresh.append(spent[1])
    return hot, fresh


@contextmanager
def _sqlite(folder: str, log: MemoryLog) -> Iterator[Store]:
    with tempfile.TemporaryDirectory(dir=folder) as place:
        path = Path(place) / "views.sqlite"
        create_store(path, log.identity, TABLES)
        store = SqliteStore(path, writable=True)
        try:
            yield store
        finally:
            store.close()


def measure(scale: Scale) -> list[Row]:
    """The dearest case of all, on SQLite; every case is among the details."""
    ratios: dict[str, float | int | str] = {}
    for case in (*CASES, MADE_LATE):
        log = MemoryLog()
        with _sqlite(scale.folder, log) as store:
            hot, fresh = measure_case(case, log, store, scale.hot_events, scale.hot_rounds)
        ratios[case.name] = median(hot) / median(fresh)
    reached = max(float(ratio) for ratio in ratios.values())
    return [
        Row(
            name="hot",
            what="one more event on a key where very much lies / on a fresh key; the dearest of all cases",
            bound=_STORE_BOUND,
            reached=reached,
            details={**ratios, "lying there": scale.hot_events, "events a side": scale.hot_rounds},
        )
    ]
