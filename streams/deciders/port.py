"""What a decider is: a rule that looks at a snapshot and says which decisions should be in the log.

A decision is an event. Everything in it follows from its rule, its subject and its cause: the id, and the
instant and data too, since the same id with other content is a dead letter. So it can be made again after
any crash, by any process, and counts once.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Mapping
from typing import Any, NamedTuple, Protocol, TypeVar
from uuid import NAMESPACE_URL, uuid5

from schemas.errors import Refused, Unavailable
from schemas.identity import pack
from schemas.kinds import Kind
from streams.store.port import Snapshot, Store
from streams.store.tables import MODEL_EVENTS, ModelEvent, Table

_NAMESPACE = uuid5(NAMESPACE_URL, "urn:loopline:decisions")

S = TypeVar("S")


class DecisionRefused(Refused):
    """The event of a decision was refused and is a dead letter; sent again, it would be refused again.

    `position` covers the dead letter, where that is known.
    """

    def __init__(self, code: str, detail: str, position: str | None = None) -> None:
        super().__init__(f"it was refused ({code}): {detail}")
        self.code = code
        self.position = position


class NotSent(Unavailable):
    """The event of a decision is not known to be in the log: send it again, after `wait_s` at least."""

    def __init__(self, message: str, wait_s: float = 0.0) -> None:
        super().__init__(message)
        self.wait_s = wait_s


Send = Callable[[dict[str, Any]], str | None]
"""Puts a CloudEvent into the log and gives the position that covers it, where that is known.

Raises DecisionRefused, or NotSent or any other error while it is not known to be in the log.
"""


class Decision(NamedTuple):
    """One decision: that a rule demands an event about a subject, for a cause.

    Args:
        rule: the name of the rule, in the id for ever.
        subject: what it is about, as one or more names. No personal value.
        cause: what demands it; another cause is another decision about the same subject.
        source, kind, time, data: those of the event; `time` in RFC 3339.
    """

    rule: str
    subject: tuple[str, ...]
    cause: str
    source: str
    kind: Kind
    time: str
    data: Mapping[str, Any]

    @property
    def id(self) -> str:
        """The id of its event: the same one whenever it is made."""
        return decision_id(self.rule, *self.subject, self.cause)

    def event(self) -> dict[str, Any]:
        """Its CloudEvent."""
        return {
            "specversion": "1.0",
            "id": self.id,
            "source": self.source,
            "type": self.kind.type,
            "time": self.time,
            "data": dict(self.data),
        }


def decision_id(*parts: str) -> str:
    """The uuid5 of rule, subject and cause; no part can be mistaken for two."""
    return str(uuid5(_NAMESPACE, "/".join(part.replace("%", "%25").replace("/", "%2F") for part in parts)))


class Decider(Protocol[S]):
    """A rule that decides. `S` is what it judges by: plain values."""

    @property
    def rule(self) -> str:
        """Its name, in ids and log lines."""
        ...

    @property
    def reads(self) -> Collection[Table]:
        """The tables whose changes may demand a decision: a commit that touches one is a time to look."""
        ...

    @property
    def every_s(self) -> float:
        """How often to look in any case."""
        ...

    def read(self, store: Store) -> S:
        """What it judges by, read from the views, and from outside before that. It may take long."""
        ...

    def judge(self, seen: S) -> Iterable[Decision]:
        """The decisions that should be: pure. Those that it can see were made may be left out."""
        ...

    def decided(self, views: Snapshot, decisions: Collection[Decision]) -> set[str]:
        """The ids of those of the decisions whose event the views have."""
        ...


def in_model_events(views: Snapshot, decisions: Collection[Decision]) -> set[str]:
    """The ids of those of the decisions about models whose event the views have."""
    keys = {(each.data["model"], pack(each.id), each.source): each.id for each in decisions}
    rows = ModelEvent.read_all(views.get(MODEL_EVENTS, keys))
    return {keys[row.model, row.id, row.source] for row in rows}
