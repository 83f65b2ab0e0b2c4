"""One more event costs the same however much lies about its key: rows read and written are counted."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from functools import partial
from typing import Any

import pytest

from benchmarks.hot import CASES, MODEL, VERSION, Case, Fed, Said
from streams.fold import fold, retractions
from streams.log.memory import MemoryLog
from streams.store.memory import MemoryStore, MemoryTransaction

FEW, MUCH = 100, 3_000
SAME = 8
"""So many rows more are still the same: what comes in whole or in part, as it is laid out."""

ROUNDS = 4


class Counted(MemoryStore):
    """Counts the rows that transactions read and write, and their calls."""

    def __init__(self, *args: Any) -> None:
        super().__init__(*args)
        self.rows, self.calls = 0, 0

    @contextmanager
    def transaction(self, partitions: Iterable[int], *, alone: bool = False) -> Iterator[MemoryTransaction]:
        """One whose methods count."""
        with super().transaction(partitions, alone=alone) as transaction:
            for name in ("get", "find", "along", "scan", "totals", "newest", "distinct"):
                setattr(transaction, name, partial(self._read, getattr(transaction, name)))
            for name in ("put", "add", "delete"):
                setattr(transaction, name, partial(self._write, getattr(transaction, name)))
            yield transaction

    def _read(self, read: Callable[..., Iterable[Any]], *args: Any, **kwargs: Any) -> Any:
        found = list(read(*args, **kwargs))
        self.calls += 1
        self.rows += len(found)
        return iter(found) if read.__name__ == "scan" else found

    def _write(self, write: Callable[..., None], table: Any, rows: Any) -> None:
        self.calls += 1
        self.rows += len(rows)
        write(table, rows)


def _filled(case: Case, size: int) -> tuple[Fed, Counted]:
    log = MemoryLog()
    store = Counted(log.identity)
    fed = Fed(log, store)
    declared = {"model": MODEL, "model_version": VERSION, "output_shape": {"text": True}}
    fed.put([Said("model.declared", "declared", declared)])
    fed.put(case.fill(size))
    return fed, store


def _cost(fed: Fed, store: Counted, said: Said) -> tuple[int, int]:
    """The rows and calls of one event."""
    store.rows, store.calls = 0, 0
    fed.put([said])
    return store.rows, store.calls


def _said(kind: str, event_id: str, **data: Any) -> Said:
    return Said(kind, event_id, data)


def _case(name: str, fill: Callable[[int], Iterator[Said]], hot: Callable[[int], Said]) -> Case:
    return Case(name, fill, hot, hot, lambda count: iter(()))


BY_NAME = {case.name: case for case in CASES}
BUSY = BY_NAME["earlier retraction of a busy thumb by join key"].fill
BUSY_BY_ID = BY_NAME["earlier retraction of a busy thumb"].fill
K = {"model": MODEL, "join_key": "k"}


def _not_taken_back(count: int) -> Iterator[Said]:
    return (said for said in BUSY(count) if said.id != "x")


def _corrections_of_one(count: int) -> Iterator[Said]:
    yield _said(
        "prediction.made", "m", prediction_id="p", model=MODEL, model_version=VERSION, output="a", input="i"
    )
    for n in range(count):
        yield _said("feedback.correction", f"c-{n}", prediction_id="p", person="u", label=f"label {n}")


def _one_input(count: int) -> Iterator[Said]:
    for n in range(count):
        yield _prediction(n, input="i")
        yield _said("feedback.correction", f"c-{n}", prediction_id=f"p-{n}", person="u", label="b")


def _prediction(n: Any, **data: Any) -> Said:
    fields = {"model": MODEL, "model_version": VERSION, "output": "a", **data}
    return _said("prediction.made", f"made-{n}", prediction_id=f"p-{n}", **fields)


def _comments(count: int) -> Iterator[Said]:
    return (_said("feedback.comment", f"c-{n}", subject="s", text="hm") for n in range(count))


def _undeclared(count: int) -> Iterator[Said]:
    for n in range(count // 2):
        yield _prediction(n, model="silent")
        yield _said("feedback.correction", f"c-{n}", prediction_id=f"p-{n}", person="u", label="b")


def _declared(n: Any, model: str = MODEL, **data: Any) -> Said:
    shape = {"text": True}
    return _said("model.declared", f"d-{n}", model=model, model_version=f"v-{n}", output_shape=shape, **data)


def _versions(count: int, **data: Any) -> Iterator[Said]:
    return (_declared(n, model="x", **data) for n in range(count))


def _versions_for_later(count: int) -> Iterator[Said]:
    yield from _versions(count, later_versions=True)
    yield _prediction("new", model="x", model_version="new")


def _versions_waiting(count: int) -> Iterator[Said]:
    for n in range(count // 2):
        yield _prediction(n, model="x", model_version=f"w-{n}")
        yield _said("feedback.correction", f"c-{n}", prediction_id=f"p-{n}", person="u", label="b")


def _served_by_another(count: int) -> Iterator[Said]:
    yield _declared("first", model="x", later_versions=True)
    for n in range(count // 2):
        yield _prediction(n, model="x", model_version="new")
        yield _said("feedback.correction", f"c-{n}", prediction_id=f"p-{n}", person="u", label="b")


def _audited(count: int) -> Iterator[Said]:
    return (_audited_one(n) for n in range(count))


def _audited_one(n: Any) -> Said:
    return _prediction(n, input="i", subject="s", audit=True, audit_probability=0.5)


def _prompts(count: int) -> Iterator[Said]:
    return (
        _said("prompt.shown", f"q-{n}", prompt_id=f"q-{n}", prediction_id="never", person="u")
        for n in range(count)
    )


FURTHER = (
    _case(
        "another's retraction of a busy thumb",
        _not_taken_back,
        lambda n: _said("feedback.retraction", f"hot-{n}", **K, person=f"other-{n}", explains="t"),
    ),
    _case(
        "conflict with a busy thumb",
        BUSY,
        lambda n: _said("feedback.thumb", "t", **K, person="u", value="up"),
    ),
    _case(
        "reason of a busy thumb that is taken back",
        BUSY,
        lambda n: _said("feedback.reason", f"hot-{n}", **K, person=f"new-{n}", reason="other", explains="t"),
    ),
    _case(
        "retraction of a reason of a busy thumb",
        BUSY,
        lambda n: _said("feedback.retraction", f"hot-{n}", **K, explains=f"r-{n}"),
    ),
    _case(
        "retraction of what never comes",
        BY_NAME["reason of a busy thumb"].fill,
        lambda n: _said("feedback.retraction", f"hot-{n}", prediction_id="p", explains="never"),
    ),
    _case(
        "retraction of a thumb that is taken back, by another",
        BUSY_BY_ID,
        lambda n: _said("feedback.retraction", f"hot-{n}", prediction_id="p", person="other", explains="t"),
    ),
    _case(
        "retraction of the latest of a person's corrections",
        _corrections_of_one,
        lambda n: _said("feedback.retraction", f"hot-{n}", prediction_id="p", explains=f"c-{99 - n}"),
    ),
    _case(
        "correction of a person with very many",
        _corrections_of_one,
        lambda n: _said("feedback.correction", f"hot-{n}", prediction_id="p", person="u", label="b"),
    ),
    _case(
        "correction for an input that was corrected often",
        _one_input,
        lambda n: _said("feedback.correction", f"hot-{n}", prediction_id=f"p-{n}", person="u", label="z"),
    ),
    _case(
        "second prediction of one id",
        BY_NAME["thumb"].fill,
        lambda n: _said(
            "prediction.made", f"hot-{n}", prediction_id="p", model=MODEL, model_version=VERSION, output="z"
        ),
    ),
    _case(
        "prediction before all others on a join key",
        BY_NAME["prediction on a join key"].fill,
        lambda n: _prediction(f"hot-{n}", join_key="k")._replace(ago=10**6),
    ),
    _case(
        "thumb before all predictions on a join key",
        BY_NAME["prediction on a join key with facts"].fill,
        lambda n: _said("feedback.thumb", f"hot-{n}", **K, person="u", value="up")._replace(ago=10**6),
    ),
    _case(
        "prediction before all others on a join key with facts",
        BY_NAME["prediction on a join key with facts"].fill,
        lambda n: _prediction(f"hot-{n}", join_key="k")._replace(ago=10**6),
    ),
    _case(
        "comment about a subject",
        _comments,
        lambda n: _said("feedback.comment", f"hot-{n}", subject="s", text="hm"),
    ),
    _case(
        "retraction of a comment about a subject",
        _comments,
        lambda n: _said("feedback.retraction", f"hot-{n}", subject="s", explains=f"c-{n}"),
    ),
    _case(
        "retraction of an outcome",
        BY_NAME["outcome"].fill,
        lambda n: _said("feedback.retraction", f"hot-{n}", subject="s", explains=f"o-{n}"),
    ),
    _case(
        "correction that waits for a declaration",
        _undeclared,
        lambda n: _said("feedback.correction", f"hot-{n}", prediction_id=f"p-{n}", person="v", label="b"),
    ),
    _case(
        "declaration of another version than that waited for",
        _undeclared,
        lambda n: _declared(n, model="silent"),
    ),
    *(
        _case(name, fill, lambda n: _declared(f"hot-{n}", model="x"))
        for name, fill in {
            "declaration of one more version": _versions,
            "declaration beside many for later versions": _versions_for_later,
            "declaration where many versions wait": _versions_waiting,
            "declaration where another serves what was made": _served_by_another,
        }.items()
    ),
    _case(
        "correction where many declarations serve later versions",
        _versions_for_later,
        lambda n: _said(
            "feedback.correction", f"hot-{n}", prediction_id="p-new", person=f"new-{n}", label="b"
        ),
    ),
    _case(
        "prediction of a busy subject and an audited input",
        _audited,
        lambda n: _audited_one(f"hot-{n}"),
    ),
    _case(
        "prompt that waits",
        _prompts,
        lambda n: _said("prompt.shown", f"hot-{n}", prompt_id=f"hot-{n}", prediction_id="never", person="u"),
    ),
    _case(
        "deployment",
        lambda count: (
            _said("model.deployed", f"m-{n}", model=MODEL, model_version=VERSION) for n in range(count)
        ),
        lambda n: _said("model.deployed", f"hot-{n}", model=MODEL, model_version=VERSION),
    ),
)


@pytest.mark.parametrize("case", [*CASES, *FURTHER], ids=lambda case: case.name)
def test_one_more_event_reads_no_more_where_very_much_lies(case: Case) -> None:
    """Rows read and written, and calls of the store, are those of a key about which less is known."""
    costs = []
    for size in (FEW, MUCH):
        fed, store = _filled(case, size)
        costs.append([_cost(fed, store, case.hot(number)) for number in range(ROUNDS)])
    for (rows, calls), (more_rows, more_calls) in zip(*costs, strict=True):
        assert rows > 0
        assert more_rows <= rows + SAME
        assert more_calls <= calls + 1


def _mistaken(count: int) -> Iterator[Said]:
    """Retractions of one thumb on a prediction not made yet; most name another model than will be its own."""
    yield _said("feedback.thumb", "t", prediction_id="p-late", person="u", value="up")
    for n in range(count):
        model = {} if n % 3 == 0 else {"model": "other"}
        yield _said("feedback.retraction", f"x-{n}", prediction_id="p-late", explains="t", **model)


def test_a_prediction_costs_what_waits_for_it(monkeypatch: pytest.MonkeyPatch) -> None:
    """Where all that lies there changes, the rows grow with it and no faster, on however many pages."""
    monkeypatch.setattr(fold, "_PAGE", 50)
    monkeypatch.setattr(retractions, "_PAGE", 50)
    case = _case("mistaken retractions", _mistaken, lambda n: _prediction("late"))
    few, much = (_cost(*_filled(case, size), case.hot(0))[0] / size for size in (FEW, MUCH))
    assert much <= 1.2 * few
