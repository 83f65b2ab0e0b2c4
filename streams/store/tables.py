"""The views as tables: one Struct a table, its fields the columns, in order.

A row is a plain tuple in this order: `ViewRow.read` makes a Struct of it, `as_row` a row of a Struct, and
`Table.column` and `picking` take values from it by the columns' names. Nothing else counts columns
(`tests.architecture.rows`). `Table` adds what an adapter must know: the key, the indexes,
and which columns are sums. All ids in keys are bytes (`schemas.identity`), all instants nanoseconds,
all JSON canonical text. Whoever changes what a row means raises `VIEWS_VERSION`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from functools import cache
from itertools import starmap
from operator import itemgetter
from typing import Any, NamedTuple, Self, get_type_hints

import msgspec
from msgspec import Struct

VIEWS_VERSION = 2

Row = tuple[Any, ...]


class Index(NamedTuple):
    """Columns to find rows by, and to walk along.

    Rows whose column `filled`, the first one where it is not said, is null are left out. `then` are the
    columns that break ties: rows come in their order, but they take no room in the index. The first `same`
    columns are only ever compared for equality, so that an adapter may keep long values short.

    `in_time`: it is read along from its end (`Snapshot.newest`), and never chosen for what is read in the
    order of the key.
    """

    columns: tuple[str, ...]
    then: tuple[str, ...] = ()
    filled: str | None = None
    same: int = 0
    in_time: bool = False

    @property
    def order(self) -> tuple[str, ...]:
        """The columns whose values say where a row comes."""
        return self.columns + self.then

    @property
    def known(self) -> str:
        """The column that is not null in any of the rows."""
        return self.filled or self.columns[0]


class ViewRow(Struct, gc=False):
    """A row of a table, its values by name."""

    @classmethod
    def read(cls, row: Row) -> Self:
        """A row as the store answers it."""
        return cls(*row)

    @classmethod
    def read_all(cls, rows: Iterable[Row]) -> Iterator[Self]:
        """Rows as the store answers them."""
        return starmap(cls, rows)


class Table(NamedTuple):
    """One view. `sums` are the columns of a counter table, which grow by addition only."""

    name: str
    row: type[Struct]
    key: tuple[str, ...]
    indexes: tuple[Index, ...] = ()
    sums: tuple[str, ...] = ()

    def __hash__(self) -> int:
        # What is cached of a table is asked for at every batch: all of its indexes would be hashed each time.
        return hash(self.name)

    @property
    def columns(self) -> tuple[str, ...]:
        """The names of the columns, in order."""
        return self.row.__struct_fields__

    def column(self, name: str) -> Callable[[Row], Any]:
        """From a row to its value in one column."""
        return column_of(self.columns, name)

    @property
    def by_key(self) -> Index:
        """The key, as something to walk along."""
        return Index(self.key)

    @property
    def searched(self) -> tuple[Index, ...]:
        """The indexes that find rows by their first column alone, whatever is in the others."""
        return tuple(each for each in self.indexes if not (each.same or each.filled or each.in_time))

    def types(self) -> dict[str, tuple[type, bool]]:
        """For each column its Python type, and whether it may be null."""
        plain = {}
        for name, hint in get_type_hints(self.row).items():
            options = getattr(hint, "__args__", (hint,))
            plain[name] = (options[0], type(None) in options)
        return plain


class Prediction(ViewRow, gc=False):
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


class Fact(ViewRow, gc=False):
    """One event about a prediction, a case or a subject, and what is true about it now.

    The columns up to `case_at` never change; that one is `at` where the key is a join key. `pid` is the
    prediction that it is joined to. `retracted` and `effective` (it counts) are 0 or 1; `retracted_at` is
    that of its own retractions, which a reason without any leaves to its thumb. `slot` says for what it
    stands as a candidate of its person's, `vote` is the name of the label that it votes for. `code` is the
    worker's verdict against it; `waits_for` says what it needs.
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
    case_at: int | None = None
    pid: bytes | None = None
    joined: int | None = None
    retracted: int = 0
    retracted_at: int | None = None
    effective: int = 0
    slot: str | None = None
    vote: bytes | None = None
    code: str | None = None
    waits_for: str | None = None

    @property
    def prediction_key(self) -> bytes:
        """The key of the prediction that it is joined to; before that, of the one that it names."""
        return self.pid or self.key


class CaseEntry(ViewRow, gc=False):
    """The rendezvous of a join key: one of the predictions that answer for it."""

    key: bytes
    pid: bytes
    at: int
    id: str
    source: str


class Label(ViewRow, gc=False):
    """What people say the right label of a prediction is, of `votes` altogether, `gold` of them gold.

    `rivals` says how many labels were voted for. `candidates` is a JSON list of them with their events,
    most votes first; null where there are many votes: then each of them has a row of `candidates`.
    """

    model: str
    pid: bytes
    env: str
    label: str | None
    agreement: float
    people: int
    channel: str | None
    rivals: int
    candidates: str | None
    votes: int
    gold: int


class CandidateRow(ViewRow, gc=False):
    """How many votes one label has, where a prediction has many votes: all, gold ones, and corrections."""

    pid: bytes
    name: bytes
    label: str
    votes: int
    gold: int
    corrections: int


class Override(ViewRow, gc=False):
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


class AuditedInput(ViewRow, gc=False):
    """An input with an audited prediction, which trains no model from then on."""

    model: str
    env: str
    input_ref: str
    pid: bytes


class Count(ViewRow, gc=False):
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


class Exposure(ViewRow, gc=False):
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


class Outcome(ViewRow, gc=False):
    """How often an outcome befell a subject on a day."""

    subject: str
    dims: str
    shard: int
    outcome: str
    model: str | None
    env: str
    day: str
    n: int


class ModelEvent(ViewRow, gc=False):
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


class Declaration(ViewRow, gc=False):
    """The output shape of a model version, as JSON.

    `later` is the model where it serves the versions without a declaration of their own, else null.
    """

    model: str
    model_version: str
    shape: str
    data_digest: bytes
    id: str
    source: str
    at: int
    received: int
    later: str | None = None


class DeadLetterRow(ViewRow, gc=False):
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


class Replayed(ViewRow, gc=False):
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
FACTS_BY_WAIT = Index(("waits_for", "key"), ("id", "source"))
FACTS_BY_SLOT = Index(("pid", "person", "slot", "at", "id"), ("source", "key"), same=3)
FACTS_BY_VOTE = Index(("pid", "vote", "id"), ("source", "key"), filled="vote", same=1)
FACTS_BY_EXPLAINED = Index(("key", "explains", "kind", "source", "id"), filled="explains", same=4)
FACTS_BY_CASE = Index(("key", "case_at", "id"), ("source",), filled="case_at", same=1)
FACTS_FROM_CASES = Index(("pid", "case_at", "id"), ("source", "key"), filled="case_at", same=1)
FACTS = Table(
    "facts",
    Fact,
    ("key", "id", "source"),
    (
        Index(("id",)),
        FACTS_BY_WAIT,
        FACTS_BY_SLOT,
        FACTS_BY_VOTE,
        FACTS_BY_EXPLAINED,
        FACTS_BY_CASE,
        FACTS_FROM_CASES,
        FACTS_BY_TIME,
    ),
)
CASES_BY_TIME = Index(("key", "at", "id"), ("source", "pid"), same=1)
CASES = Table("cases", CaseEntry, ("key", "pid"), (CASES_BY_TIME,))
LABELS = Table("labels", Label, ("model", "pid"))
CANDIDATES_BY_VOTES = Index(("pid", "gold", "votes"), ("name",))
CANDIDATES = Table("candidates", CandidateRow, ("pid", "name"), (CANDIDATES_BY_VOTES,))
OVERRIDES_BY_TIME = Index(("model", "person", "input_ref", "env", "at", "id"), ("source", "pid"), same=4)
OVERRIDES = Table("overrides", Override, ("model", "person", "input_ref", "pid"), (OVERRIDES_BY_TIME,))
AUDITED = Table("audited_inputs", AuditedInput, ("model", "env", "input_ref", "pid"))
COUNTS = Table("counts", Count, ("dims", "shard"), sums=("n", "events"))
EXPOSURES = Table("exposures", Exposure, ("subject", "dims", "day", "shard"), sums=("n",))
OUTCOMES = Table("outcomes", Outcome, ("subject", "dims", "day", "shard"), sums=("n",))
MODEL_EVENTS = Table("model_events", ModelEvent, ("model", "id", "source"))
DECLARATIONS_FOR_LATER = Index(("later", "at", "id"), ("source",))
DECLARATIONS = Table("declarations", Declaration, ("model", "model_version"), (DECLARATIONS_FOR_LATER,))
DEAD_LETTERS = Table(
    "dead_letters",
    DeadLetterRow,
    ("partition", "offset", "place"),
    (Index(("code", "partition", "offset", "place")), Index(("id",)), Index(("model", "env", "code"))),
)
REPLAYED = Table("replayed", Replayed, ("dead_letter", "claim", "partition"))

STATE = (PREDICTIONS, CASES, FACTS, MODEL_EVENTS, DECLARATIONS)
"""The tables of the fold itself, from which the views follow: `streams.views.registry` has all tables."""


def column_of(columns: Sequence[str], name: str) -> Callable[[Row], Any]:
    """From a tuple of values in these columns to the one in a column."""
    return itemgetter(columns.index(name))


def columns_of(columns: Sequence[str], names: Sequence[str]) -> Callable[[Row], Row]:
    """From a tuple of values in these columns to the tuple of those in some of them."""
    if len(names) > 1:
        return itemgetter(*map(columns.index, names))
    if not names:
        return lambda row: ()
    index = columns.index(names[0])
    return lambda row: (row[index],)


@cache
def picking(table: Table, columns: tuple[str, ...]) -> Callable[[Row], Row]:
    """From a row to its values in some columns, as a tuple."""
    return columns_of(table.columns, columns)


@cache
def adding(table: Table) -> Callable[[Row, Row], Row]:
    """From two rows of a counter table to the first one with the sums of both."""
    sums = [table.columns.index(column) for column in table.sums]

    def add(row: Row, other: Row) -> Row:
        total = list(row)
        for index in sums:
            total[index] += other[index]
        return tuple(total)

    return add


as_row = msgspec.structs.astuple
"""The row of a Struct of this module."""
