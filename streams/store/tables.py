"""The views as tables: one Struct a table, its fields the columns, in order.

A row is a plain tuple in this order. `Table` adds what an adapter must know: the key, the indexes,
and which columns are sums. All ids in keys are bytes (`schemas.identity`), all instants nanoseconds,
all JSON canonical text. Whoever changes what a row means raises `VIEWS_VERSION`.
"""

from __future__ import annotations

from typing import Any, NamedTuple, get_type_hints

import msgspec
from msgspec import Struct

VIEWS_VERSION = 2

Row = tuple[Any, ...]


class Index(NamedTuple):
    """Columns to find rows by; rows whose first such column is null are left out.

    `in_time`: it is read along from its end (`Snapshot.newest`), and never chosen for what is read in the
    order of the key.
    """

    columns: tuple[str, ...]
    in_time: bool = False


class Table(NamedTuple):
    """One view. `sums` are the columns of a counter table, which grow by addition only."""

    name: str
    row: type[Struct]
    key: tuple[str, ...]
    indexes: tuple[Index, ...] = ()
    sums: tuple[str, ...] = ()

    @property
    def columns(self) -> tuple[str, ...]:
        """The names of the columns, in order."""
        return self.row.__struct_fields__

    def types(self) -> dict[str, tuple[type, bool]]:
        """For each column its Python type, and whether it may be null."""
        plain = {}
        for name, hint in get_type_hints(self.row).items():
            options = getattr(hint, "__args__", (hint,))
            plain[name] = (options[0], type(None) in options)
        return plain


class Prediction(Struct, gc=False):
    """What a model answered, once. The rest of its data is in the log, at (partition, offset, place)."""

    pid: bytes
    id: str
    source: str
    digest: bytes
    data_digest: bytes
    partition: int
    offset: int
    place: int
    at: int
    received: int
    env: str
    model: str
    model_version: str
    segment: str | None
    action: str | None
    output: str
    confidence: float | None
    person: str | None
    subject: str | None
    join_key: str | None
    input_ref: str | None
    ask_probability: float | None
    audit: int
    audit_probability: float | None


class Fact(Struct, gc=False):
    """One event about a prediction, a case or a subject, and what is true about it now.

    The columns up to `text` never change. `pid` is the prediction that it is joined to; `retracted`
    and `effective` (it counts) are 0 or 1; `code` is the worker's verdict against it; `waits_for`
    says what it needs.
    """

    key: bytes
    id: bytes
    source: str
    kind: str
    digest: bytes
    partition: int
    offset: int
    place: int
    at: int
    received: int
    person: str | None
    model: str | None
    env: str
    value: str | None
    label: str | None
    gold: int
    explains: bytes | None
    text: str | None
    pid: bytes | None = None
    joined: int | None = None
    retracted: int = 0
    retracted_at: int | None = None
    effective: int = 0
    label_used: int = 0
    code: str | None = None
    waits_for: str | None = None


class CaseEntry(Struct, gc=False):
    """The rendezvous of a join key: one of the predictions that answer for it."""

    key: bytes
    pid: bytes
    at: int
    id: str
    source: str


class Label(Struct, gc=False):
    """What people say the right label of a prediction is. `candidates` is a JSON list, most votes first."""

    model: str
    pid: bytes
    env: str
    label: str | None
    agreement: float
    people: int
    channel: str | None
    rivals: int
    candidates: str


class Override(Struct, gc=False):
    """A person's own correction of one prediction: the latest for an input is what that person gets."""

    model: str
    person: str
    input_ref: str
    pid: bytes
    env: str
    label: str
    id: str
    source: str
    at: int


class AuditedInput(Struct, gc=False):
    """An input with an audited prediction, which trains no model from then on."""

    model: str
    env: str
    input_ref: str
    pid: bytes


class Count(Struct, gc=False):
    """How many events of one kind, value and group: `n` by the rules of what counts once, `events` all."""

    dims: str
    shard: int
    model: str | None
    model_version: str | None
    segment: str | None
    action: str | None
    day: str
    kind: str
    value: str | None
    env: str
    n: int
    events: int


class Exposure(Struct, gc=False):
    """How many predictions of one group a subject saw on a day."""

    subject: str
    dims: str
    shard: int
    model: str
    model_version: str
    segment: str | None
    action: str | None
    env: str
    day: str
    n: int


class Outcome(Struct, gc=False):
    """How often an outcome befell a subject on a day."""

    subject: str
    dims: str
    shard: int
    outcome: str
    model: str | None
    env: str
    day: str
    n: int


class ModelEvent(Struct, gc=False):
    """A declaration, deployment, rollback, evaluation or release, with its data as JSON."""

    model: str
    id: bytes
    source: str
    kind: str
    digest: bytes
    partition: int
    offset: int
    place: int
    at: int
    received: int
    env: str
    data: str


class Declaration(Struct, gc=False):
    """The output shape of a model version, as JSON."""

    model: str
    model_version: str
    shape: str
    data_digest: bytes
    id: str
    source: str
    at: int
    received: int


class DeadLetterRow(Struct, gc=False):
    """A refused item, by its place in the log: refused by the collector, or judged by the worker.

    `model` and `env` are those of the prediction that an event was judged by, if it was judged by one.
    """

    partition: int
    offset: int
    place: int
    code: str
    detail: str
    id: str | None
    source: str | None
    type: str | None
    received: int
    model: str | None = None
    env: str | None = None


class Replayed(Struct, gc=False):
    """That an accepted event says which dead letter it was, named as `PARTITION:OFFSET:PLACE`.

    `claim` is the digest of what the event and the letter must have in common for it to be true: there is
    a row for the source and id, and one for the bytes. `received` is the latest of such events.
    """

    dead_letter: str
    claim: bytes
    partition: int
    received: int


PREDICTIONS_BY_TIME = Index(("model", "at", "pid"), in_time=True)
FACTS_BY_TIME = Index(("kind", "at", "id", "partition", "offset", "place"), in_time=True)
"""In the order of time, so that lists begin with the newest: rows come nearly in this order, so that each is
written behind the one before."""

PREDICTIONS = Table("predictions", Prediction, ("pid",), (PREDICTIONS_BY_TIME,))
FACTS = Table(
    "facts",
    Fact,
    ("key", "id", "source"),
    (Index(("id",)), Index(("waits_for",)), Index(("pid",)), FACTS_BY_TIME),
)
CASES = Table("cases", CaseEntry, ("key", "pid"))
LABELS = Table("labels", Label, ("model", "pid"))
OVERRIDES = Table("overrides", Override, ("model", "person", "input_ref", "pid"))
AUDITED = Table("audited_inputs", AuditedInput, ("model", "env", "input_ref", "pid"))
COUNTS = Table("counts", Count, ("dims", "shard"), sums=("n", "events"))
EXPOSURES = Table("exposures", Exposure, ("subject", "dims", "day", "shard"), sums=("n",))
OUTCOMES = Table("outcomes", Outcome, ("subject", "dims", "day", "shard"), sums=("n",))
MODEL_EVENTS = Table("model_events", ModelEvent, ("model", "id", "source"))
DECLARATIONS = Table("declarations", Declaration, ("model", "model_version"))
DEAD_LETTERS = Table(
    "dead_letters",
    DeadLetterRow,
    ("partition", "offset", "place"),
    (Index(("code",)), Index(("id",)), Index(("model", "env", "code"))),
)
REPLAYED = Table("replayed", Replayed, ("dead_letter", "claim", "partition"))

TABLES = (
    PREDICTIONS,
    FACTS,
    CASES,
    LABELS,
    OVERRIDES,
    AUDITED,
    COUNTS,
    EXPOSURES,
    OUTCOMES,
    MODEL_EVENTS,
    DECLARATIONS,
    DEAD_LETTERS,
    REPLAYED,
)

as_row = msgspec.structs.astuple
"""The row of a Struct of this module."""
