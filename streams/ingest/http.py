"""`POST /v1/events`: events come in over HTTP, and the answer says they are on disk.

A bare ASGI application, because every microsecond here is paid per request. One request is these steps:

1. the request is read: its media type, and its body up to the limit;
2. the body is cut into items (`streams.ingest.split`), and each one is judged (`streams.ingest.admission`);
3. what was accepted and what was refused is put into the log (`streams.ingest.recorder`), and waited for;
4. the answer is written: only now, and only when it is on disk, a 2xx.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Collection, Sequence
from enum import Enum, auto
from functools import lru_cache

import msgspec

from schemas import problems
from schemas.catalog import CATALOG, Catalog
from schemas.fields import MAX_EVENT_BYTES
from schemas.problems import Problem, problem
from streams.ingest.admission import (
    BatchTooCostly,
    Verdict,
    admit,
    admit_batch,
    admit_each,
    take_long,
    takes_long,
)
from streams.ingest.asgi import ClientGone, Receive, Scope, Send, TooLarge, read_body, send_json, send_problem
from streams.ingest.background import Aside
from streams.ingest.receipts import Receipts
from streams.ingest.recorder import Recorder
from streams.ingest.split import CannotSplit, split_array, split_lines
from streams.log.block import DeadLetter
from streams.log.port import DEAD, LogWriter, NotDurable, PartlyDurable
from streams.metrics import Metrics

MAX_BATCH_ITEMS = 1000
MAX_BODY_BYTES = 1024 * 1024
ACCEPTS = (
    "application/cloudevents+json",
    "application/json",
    "application/cloudevents-batch+json",
    "application/x-ndjson",
)
BACKFILL = (b"loopline-backfill", b"1")
"""The header of requests with old events, which are left out of latency metrics."""

REPLAYING = (b"loopline-replay", b"1")
"""The header of requests that put dead letters back: what lies there already is not kept a second time."""

_JSON_SPACE = b" \t\r\n"
_UNREADABLE = (problems.INVALID_JSON, problems.NOT_UTF8)


class BodyForm(Enum):
    """How the events lie in a body."""

    ONE = auto()
    ARRAY = auto()
    LINES = auto()


_FORMS = dict(zip(ACCEPTS, (BodyForm.ONE, BodyForm.ONE, BodyForm.ARRAY, BodyForm.LINES), strict=True))


class ItemAnswer(msgspec.Struct, omit_defaults=True, gc=False):
    """What an answer says of one item."""

    index: int
    id: str | None
    status: str
    problem: Problem | None = None


class BatchAnswer(msgspec.Struct, gc=False):
    """The body of a 200."""

    accepted: int
    refused: int
    position: str
    items: list[ItemAnswer]


_encode = msgspec.json.Encoder().encode


@lru_cache(maxsize=256)
def form_of(content_type: bytes) -> BodyForm | None:
    """How the events lie in a body of this media type; None when it is not accepted."""
    media_type, *parameters = content_type.decode("latin-1").lower().split(";")
    for parameter in parameters:
        name, _, value = parameter.strip().partition("=")
        if name == "charset" and value.strip('"') not in ("utf-8", "utf8", "us-ascii"):
            return None
    return _FORMS.get(media_type.strip())


class Collector:
    """The ASGI application behind `POST /v1/events`.

    Args:
        writer: writes accepted and refused items into the log.
        partitions: how many partitions the log's current epoch has.
        first: the number of the first of them.
        letter: the dead letter at an offset and place of the log; it raises where there is none.
        receipts: stamps the instant of receipt.

    `recorder` is what puts items into the log, for the other ways in to share.
    """

    def __init__(
        self,
        writer: LogWriter,
        partitions: int,
        *,
        first: int = 0,
        metrics: Metrics | None = None,
        catalog: Catalog = CATALOG,
        letter: Callable[[int, int], DeadLetter] | None = None,
        receipts: Receipts | None = None,
    ) -> None:
        self._metrics = metrics or Metrics()
        self._aside = Aside()
        self.recorder = Recorder(
            writer,
            partitions,
            first=first,
            metrics=self._metrics,
            catalog=catalog,
            letter=letter,
            receipts=receipts,
        )

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request."""
        if scope["method"] != "POST":
            detail = "events are sent with POST"
            await send_problem(send, 405, problem("method_not_allowed", detail), [(b"allow", b"POST")])
            return
        form = _form(scope["headers"])
        if form is None:
            detail = f"send one of {', '.join(ACCEPTS)}, as UTF-8 and not compressed"
            await send_problem(send, 415, problem("unsupported_media_type", detail))
            return
        limit = MAX_EVENT_BYTES if form is BodyForm.ONE else MAX_BODY_BYTES
        try:
            body = await read_body(scope, receive, limit)
            started = time.perf_counter()
            replaying = REPLAYING in scope["headers"]
            if form is BodyForm.ONE:
                status, answer = await self._one(body, replaying)
            else:
                status, answer = await self._many(body, form, replaying)
        except ClientGone:
            return
        except BatchTooCostly as refusal:
            await send_problem(send, 413, problem(problems.TOO_LARGE, str(refusal)))
        except TooLarge as refusal:
            close = [(b"connection", b"close")] if refusal.unread else []
            await send_problem(send, 413, problem(problems.TOO_LARGE, str(refusal)), close)
        except NotDurable as failure:
            self._metrics.not_durable.inc()
            await send_problem(
                send, 503, problem("not_durable", f"{failure}. {_kept(failure)}"), [(b"retry-after", b"1")]
            )
        except Exception:
            defect = problem("unavailable", "this is a defect; the server's log says more")
            await send_problem(send, 500, defect)
            raise
        else:
            if BACKFILL not in scope["headers"]:
                self._metrics.ack_seconds.observe(time.perf_counter() - started)
            await send_json(send, status, answer, problem=status != 200)

    async def _one(self, body: bytes, replaying: bool) -> tuple[int, bytes]:
        item = body.strip(_JSON_SPACE)
        if takes_long(item):
            verdict = await self._aside.call(admit, item, self.recorder.catalog)
        else:
            verdict = admit(item, self.recorder.catalog)
        if verdict.problem is None:
            position = await self.recorder.record([verdict], [])
            return 200, _encode(BatchAnswer(1, 0, position, [ItemAnswer(0, verdict.id, "accepted")]))
        if verdict.problem.code == problems.TOO_LARGE:
            raise TooLarge(verdict.problem.detail)
        position = await self.recorder.record([], [verdict], replaying=replaying)
        status = 400 if verdict.problem.code in _UNREADABLE else 422
        return status, _with_position(verdict.problem, status, position)

    async def _many(self, body: bytes, form: BodyForm, replaying: bool) -> tuple[int, bytes]:
        try:
            items = split_lines(body) if form is BodyForm.LINES else split_array(body)
        except CannotSplit as refusal:
            unreadable = problem(_unreadable(body), str(refusal))
            letter = Verdict(body.strip(_JSON_SPACE), None, unreadable)
            position = await self.recorder.record([], [letter])
            return 400, _with_position(unreadable, 400, position)
        if len(items) > MAX_BATCH_ITEMS:
            raise TooLarge(f"{len(items)} items; a batch has at most {MAX_BATCH_ITEMS}")
        if take_long(body, items):
            verdicts = await self._aside.call(_judge, body, items, form, self.recorder.catalog)
        else:
            verdicts = _judge(body, items, form, self.recorder.catalog)
        refused = [verdict for verdict in verdicts if verdict.problem is not None]
        accepted = [verdict for verdict in verdicts if verdict.problem is None] if refused else verdicts
        try:
            position = await self.recorder.record(accepted, refused, replaying=replaying)
        except PartlyDurable as partly:
            return 200, _encode(self._partly(partly, verdicts))
        answers = [
            ItemAnswer(index, verdict.id, "accepted")
            if verdict.problem is None
            else ItemAnswer(index, verdict.id, "refused", verdict.problem)
            for index, verdict in enumerate(verdicts)
        ]
        return 200, _encode(BatchAnswer(len(accepted), len(refused), position, answers))

    def _partly(self, partly: PartlyDurable, verdicts: Sequence[Verdict]) -> BatchAnswer:
        """The answer when some partitions did not acknowledge: their items are to be sent again."""
        again = problem("not_durable", f"{partly}. {_kept(partly)}")
        answers, counts = [], {"accepted": 0, "refused": 0, "retry": 0}
        for index, verdict in enumerate(verdicts):
            if self._missing(verdict, partly.missing):
                item = ItemAnswer(index, verdict.id, "retry", again)
            elif verdict.problem is None:
                item = ItemAnswer(index, verdict.id, "accepted")
            else:
                item = ItemAnswer(index, verdict.id, "refused", verdict.problem)
            counts[item.status] += 1
            answers.append(item)
        return BatchAnswer(counts["accepted"], counts["refused"], partly.position, answers)

    def _missing(self, verdict: Verdict, missing: Collection[int]) -> bool:
        """Whether an item belongs to a partition that did not acknowledge."""
        if verdict.problem is None:
            return self.recorder.partition(verdict) in missing
        return DEAD in missing and verdict.problem.code != problems.TOO_LARGE


def _kept(failure: NotDurable) -> str:
    """What a sender is told about what was not acknowledged."""
    if failure.kept is None:
        return "Whether it was kept cannot be known: send it again, it counts once."
    return "This item was not kept." if isinstance(failure, PartlyDurable) else "Nothing was kept."


def _form(headers: Sequence[tuple[bytes, bytes]]) -> BodyForm | None:
    """How the events lie in a body under these headers; None when it cannot be read."""
    form: BodyForm | None = None
    for name, value in headers:
        if name == b"content-type":
            if form is not None and form_of(value) is not form:
                return None
            form = form_of(value)
            if form is None:
                return None
        elif name == b"content-encoding" and value.strip().lower() not in (b"", b"identity"):
            return None
    return form


def _judge(body: bytes, items: list[bytes], form: BodyForm, catalog: Catalog) -> list[Verdict]:
    if form is BodyForm.LINES:
        body = b"[" + b",".join(items) + b"]"
        # Lines that are no JSON values by themselves may be one together: then each is judged alone.
        try:
            alone = split_array(body) == items
        except CannotSplit:
            alone = False
        if not alone:
            return admit_each(body, items, catalog)
    return admit_batch(body, items, catalog)


def _unreadable(body: bytes) -> str:
    try:
        body.decode()
    except UnicodeDecodeError:
        return problems.NOT_UTF8
    return problems.INVALID_JSON


def _with_position(refusal: Problem, status: int, position: str) -> bytes:
    return _encode({**msgspec.structs.asdict(refusal), "status": status, "position": position})
