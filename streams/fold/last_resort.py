"""The last resort: an event that cannot be folded is set aside, visibly, and the others go on.

What is to blame is told apart here: an error inside an event's data, our own defect about it included, or the
store and the machine, which no event is to blame for. Who folds event by event is `streams.projection.apply`.
The dead letter says the same on every engine: no message of a library, and no value of the event's.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterable
from typing import Any

import msgspec

from schemas import kinds, problems
from schemas.catalog import Catalog
from schemas.errors import Refused, Unavailable
from schemas.identity import unpack
from schemas.kinds import KINDS
from schemas.normal_json import ContentHash
from streams.log.block import UnreadableBlock
from streams.processors.arrivals import Arrivals, arrivals
from streams.store.tables import DeadLetterRow, Fact, Prediction

DETAIL = (
    "this version of Loopline cannot bring the event into the views; nothing else is held up by it. The event"
    " is kept: upgrade, and `loopline replay` folds it again"
)


def is_of_the_data(error: Exception) -> bool:
    """Whether an error while folding lies in what was folded, and not in the log, the store or the machine.

    A block of a newer version is nobody's fault, and never skipped.
    """
    return not isinstance(error, Unavailable | Refused | OSError | MemoryError)


def one_by_one(content: Arrivals) -> list[Arrivals]:
    """What is in a block, each event or refused item by itself, in the order of the log."""
    parts: defaultdict[int, Arrivals] = defaultdict(lambda: Arrivals([], [], {}, []))
    for row in content.rows:
        parts[row.place].rows.append(row)
    for arrival in content.models:
        parts[arrival.place].models.append(arrival)
    for index, rows in content.replayed.items():
        parts[index].replayed[index] = rows
    for letter in content.letters:
        parts[letter.place].letters.append(letter)
    return [parts[index] for index in sorted(parts)]


def letter_of(part: Arrivals) -> DeadLetterRow:
    """The dead letter of the one event in `part`."""
    for row in part.rows:
        kind = kinds.PREDICTION_MADE.name if isinstance(row, Prediction) else row.kind
        return _letter(row, _id_of(row), row.source, kind)
    for arrival in part.models:
        return _letter(arrival, arrival.event.id, arrival.event.source, arrival.event.kind)
    # A refused item of which the store cannot hold what it says of itself.
    [letter] = part.letters
    return _letter(letter, None, None, None)


def _id_of(row: Prediction | Fact) -> str:
    return row.id if isinstance(row, Prediction) else unpack(row.id)


def _letter(at: Any, event_id: str | None, source: str | None, kind: str | None) -> DeadLetterRow:
    """`at` has the position in the log."""
    return DeadLetterRow(
        partition=at.partition,
        offset=at.offset,
        place=at.place,
        code=problems.CANNOT_FOLD,
        detail=DETAIL,
        id=event_id,
        source=source,
        type=None if kind is None else KINDS[kind].type,
        received=at.received,
    )


class _Envelope(msgspec.Struct):
    type: str
    id: Any = None
    source: Any = None


_decode_envelope = msgspec.json.Decoder(_Envelope).decode


def read_one_by_one(
    catalog: Catalog,
    items: list[bytes],
    origin: tuple[int, int],
    received: Iterable[int],
    contents: ContentHash,
    failed: Callable[[Exception], None],
) -> Arrivals:
    """The events of a block of which some cannot even be read: those become dead letters.

    Args:
        origin: the block's partition and offset.
        failed: called with each error, for the log.

    Raises UnreadableBlock when header and items do not fit together, UnreadableTypes for a type that this
    version does not know.
    """
    instants = list(received)
    if len(instants) != len(items):
        raise UnreadableBlock("this block is damaged: its header tells another number of items")
    come = Arrivals([], [], {}, [])
    for index, (item, instant) in enumerate(zip(items, instants, strict=True)):
        envelope = _envelope_of(item)
        try:
            events = catalog.read(b"[" + item + b"]", [envelope.type] if envelope else catalog.types)
            one = arrivals(events, *origin, [instant], contents, items.__getitem__, first=index)
        except Exception as error:
            if not is_of_the_data(error):
                raise
            failed(error)
            one = Arrivals([], [], {}, [_unreadable(envelope, origin, index, instant)])
        come.rows += one.rows
        come.models += one.models
        come.replayed.update(one.replayed)
        come.letters += one.letters
    return come


def _envelope_of(item: bytes) -> _Envelope | None:
    try:
        return _decode_envelope(item)
    except msgspec.MsgspecError:
        return None


def _unreadable(
    envelope: _Envelope | None, origin: tuple[int, int], index: int, received: int
) -> DeadLetterRow:
    partition, offset = origin
    return DeadLetterRow(
        partition=partition,
        offset=offset,
        place=index,
        code=problems.CANNOT_FOLD,
        detail=DETAIL,
        id=None if envelope is None else _text(envelope.id),
        source=None if envelope is None else _text(envelope.source),
        type=None if envelope is None else envelope.type,
        received=received,
    )


def _text(value: Any) -> str | None:
    return value if isinstance(value, str) and len(value) <= 256 and "\x00" not in value else None
