"""The events that every benchmark uses: a product's day, the same on every run and machine.

Three models answer; people react to answers of the last minutes with actions, thumbs and reasons, corrections
and confirmations. Ids are UUIDv7 in the order of time, events are about 350 bytes, and a hundredth of the
feedback comes before its prediction. How they reach the log is left to the benchmarks.
"""

from __future__ import annotations

import random
from collections import deque
from collections.abc import Iterator
from hashlib import sha256
from typing import NamedTuple

from schemas.fields import REASONS
from schemas.instants import rfc3339
from streams.log.port import Batch, Part
from streams.log.writer import pack

BATCH = 100
SOURCE = "/shop/reader"
START_NS = 1_793_000_000 * 10**9
EVENTS_A_SECOND = 200

_MODELS = ("name-matcher", "digit-reader", "intent")
_LABELS = tuple(f"label-{number}" for number in range(12))
_SEGMENTS = tuple(f"segment-{number}" for number in range(6))
_ACTIONS = ("copied", "sent", "edited", "accepted", "dismissed")
_REFS = tuple(sha256(str(number).encode()).hexdigest() for number in range(4096))
_RECENT = 3000

# Of a hundred events so many are of each kind; the sum is 100.
MIX = {
    "prediction.made": 40,
    "feedback.action": 18,
    "feedback.thumb": 16,
    "feedback.reason": 6,
    "feedback.correction": 10,
    "feedback.confirmation": 10,
}
_EARLY = 0.01
TYPES = frozenset(f"loopline.{kind}.v1" for kind in MIX)


class _Answer(NamedTuple):
    """A prediction that people can react to."""

    id: str
    model: str
    person: str
    output: str


class Workload:
    """An endless stream of events. Two of the same seed give the same bytes."""

    def __init__(self, seed: int = 7) -> None:
        self._random = random.Random(seed)
        self._now = START_NS
        self._kinds: Iterator[str] = iter(())
        self._recent: deque[_Answer] = deque(maxlen=_RECENT)
        self._coming: deque[_Answer] = deque()
        self._thumbs: deque[tuple[_Answer, str]] = deque(maxlen=200)

    @property
    def now(self) -> int:
        """The instant (ns) of the latest event."""
        return self._now

    def declaration(self, model: str, version: str) -> bytes:
        """What a model version may answer: comes first, so that labels do not wait."""
        labels = ",".join(f'"{label}"' for label in _LABELS)
        told = f'"model":"{model}","model_version":"{version}","output_shape":{{"labels":[{labels}]}}'
        return self._item("model.declared", told)[1]

    def corrected(self, model: str, input_ref: str, people: int) -> Iterator[bytes]:
        """A prediction of version 1, and the corrections of so many people."""
        choice = self._random.random
        pid = self._id()
        yield self._item(
            "prediction.made",
            f'"prediction_id":"{pid}","model":"{model}","model_version":"1",'
            f'"output":"{_LABELS[int(choice() * len(_LABELS))]}","confidence":{choice():.4f},'
            f'"input_ref":"{input_ref}","segment":"{_SEGMENTS[int(choice() * 6)]}"',
        )[1]
        label = _LABELS[int(choice() ** 2 * len(_LABELS))]
        for _ in range(people):
            person = f"u-{int(choice() * 50_000)}"
            told = f'"prediction_id":"{pid}","model":"{model}","person":"{person}","label":"{label}"'
            yield self._item("feedback.correction", told)[1]

    def events(self, count: int) -> list[bytes]:
        """The next events, each as its JSON."""
        return [self._next() for _ in range(count)]

    def records(self, events: int, size: int = BATCH) -> list[tuple[int, bytes]]:
        """The next events as records of partition 0, in blocks of `size`, as the appender packs them."""
        batches = []
        for done in range(0, events, size):
            items = self.events(min(size, events - done))
            batches.append(pack([Batch(self._now, [Part(0, TYPES, items)])]))
        return [record for packed in batches for record in packed]

    def declared(self) -> list[tuple[int, bytes]]:
        """The declarations of all models as one record."""
        items = [self.declaration(model, version) for model in _MODELS for version in ("1", "2")]
        return pack([Batch(self._now, [Part(0, ["loopline.model.declared.v1"], items)])])

    def prediction(self, prediction_id: str) -> tuple[str, bytes]:
        """A prediction of this id: the id, and the event's JSON."""
        self._coming.appendleft(self._answer()._replace(id=prediction_id))
        return prediction_id, self._prediction()

    def _id(self) -> str:
        text = f"{self._now // 1_000_000:012x}7{self._random.getrandbits(12):03x}"
        tail = f"{self._random.getrandbits(62) | 1 << 63:016x}"
        return f"{text[:8]}-{text[8:12]}-{text[12:]}-{tail[:4]}-{tail[4:]}"

    def _item(self, kind: str, data: str) -> tuple[str, bytes]:
        self._now += 1_000_000_000 // EVENTS_A_SECOND
        name = self._id()
        text = (
            f'{{"specversion":"1.0","id":"{name}","source":"{SOURCE}","type":"loopline.{kind}.v1",'
            f'"time":"{rfc3339(self._now - self._now % 1_000_000)}","data":{{{data}}}}}'
        )
        return name, text.encode()

    def _next(self) -> bytes:
        kind = next(self._kinds, None)
        if kind is None:
            hundred = [kind for kind, share in MIX.items() for _ in range(share)]
            self._random.shuffle(hundred)
            self._kinds = iter(hundred)
            kind = next(self._kinds)
        if kind == "prediction.made" or not self._recent:
            return self._prediction()
        return self._feedback(kind)

    def _answer(self) -> _Answer:
        choice = self._random.random
        return _Answer(
            self._id(),
            _MODELS[int(choice() * len(_MODELS))],
            f"u-{int(choice() * 50_000)}",
            _LABELS[int(choice() ** 2 * len(_LABELS))],
        )

    def _prediction(self) -> bytes:
        answer = self._coming.popleft() if self._coming else self._answer()
        self._recent.append(answer)
        choice = self._random.random
        return self._item(
            "prediction.made",
            f'"prediction_id":"{answer.id}","model":"{answer.model}",'
            f'"model_version":"{1 + (choice() < 0.7)}","output":"{answer.output}",'
            f'"confidence":{choice():.4f},'
            f'"input_ref":"{_REFS[int(choice() * len(_REFS))]}","segment":"{_SEGMENTS[int(choice() * 6)]}",'
            f'"person":"{answer.person}","action":"show","features":{{"words":{int(choice() * 90)}}}',
        )[1]

    def _feedback(self, kind: str) -> bytes:
        choice = self._random.random
        if choice() < _EARLY:
            answer = self._answer()
            self._coming.append(answer)
        else:
            answer = self._recent[int(choice() * len(self._recent))]
        told = ""
        if kind == "feedback.action":
            told = f'"value":"{_ACTIONS[int(choice() * 5)]}","duration_ms":{int(choice() * 60_000)}'
        elif kind == "feedback.thumb":
            told = f'"value":"{"up" if choice() < 0.7 else "down"}"'
        elif kind == "feedback.reason":
            told = f'"reason":"{REASONS[int(choice() * 5)]}"'
            if self._thumbs:
                answer, thumb = self._thumbs.popleft()
                told += f',"explains":"{thumb}"'
        elif kind == "feedback.correction":
            told = f'"label":"{_LABELS[int(choice() * len(_LABELS))]}"'
        else:
            told = f'"value":"{"yes" if choice() < 0.8 else "no"}"'
        name, item = self._item(
            kind,
            f'"prediction_id":"{answer.id}","model":"{answer.model}","person":"{answer.person}",{told}',
        )
        if kind == "feedback.thumb":
            self._thumbs.append((answer, name))
        return item


def labelled(model: str, count: int) -> Iterator[bytes]:
    """A declaration, then predictions of one model, each followed by a person's correction of it.

    One in ten is corrected by a second person as well; every input is another one.
    """
    workload = Workload(seed=11)
    yield workload.declaration(model, "1")
    for number in range(count):
        yield from workload.corrected(model, sha256(b"%d" % number).hexdigest(), 2 if number % 10 == 0 else 1)


def bodies(batches: int, size: int = BATCH, seed: int = 7) -> list[bytes]:
    """JSON arrays of events, as clients post them."""
    workload = Workload(seed)
    return [b"[" + b",".join(workload.events(size)) + b"]" for _ in range(batches)]
