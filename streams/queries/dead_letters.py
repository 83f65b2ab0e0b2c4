"""What was refused, by the collector or by the worker's verdict, with its original bytes.

A dead letter is named by its place in the log: `dead:OFFSET:PLACE` for what the collector refused,
`PARTITION:OFFSET:PLACE` for an accepted event that others contradict.
"""

from __future__ import annotations

import base64
from collections import Counter
from collections.abc import Iterator, Sequence
from itertools import islice
from typing import Any

from schemas.instants import rfc3339
from schemas.problems import CANNOT_FOLD, problem
from streams.ingest.replay import Name, claim_of_bytes, claim_of_identity, parse_name
from streams.log.port import DEAD
from streams.queries.pages import Int64, Page, listing
from streams.queries.payloads import Payloads
from streams.store.port import Snapshot
from streams.store.tables import DEAD_LETTERS, REPLAYED, DeadLetterRow, Replayed

TOKEN = tuple[Int64, Int64, Int64]
# A page ends early rather than carry more than this of refused bytes.
_MOST_BYTES = 4 * 1024 * 1024
# Every block holds a letter at least; where some were put back, those before them are looked for too.
_LOOKED_BACK = 4


def dead_letter_name(partition: int, offset: int, place: int) -> str:
    """The id of a dead letter."""
    return f"{'dead' if partition == DEAD else partition}:{offset}:{place}"


def dead_letters(
    snapshot: Snapshot, payloads: Payloads, page: Page, code: str | None = None
) -> dict[str, Any]:
    """A page of what was refused, in the order of the log; with `code` only that."""
    where = {} if code is None else {"code": code}
    items: list[dict[str, Any]] = []
    size = 0
    last: DeadLetterRow | None = None
    for letter in DeadLetterRow.read_all(
        snapshot.scan(DEAD_LETTERS, where, after=page.after, limit=page.limit + 1)
    ):
        if last is not None and (len(items) == page.limit or size > _MOST_BYTES):
            return listing(items, (last.partition, last.offset, last.place))
        items.append(_item(snapshot, letter, sent := _bytes(letter, payloads)))
        size += len(sent)
        last = letter
    return listing(items, None)


def recent_dead_letters(snapshot: Snapshot, payloads: Payloads, end: int, most: int) -> list[dict[str, Any]]:
    """The latest of what the collector refused and nobody put back, newest first.

    Args:
        end: the end of its partition.
        most: at most so many. They are looked for in a bounded number of blocks.
    """
    after = (DEAD, end - most * _LOOKED_BACK - 1, 2**62)
    rows = list(snapshot.scan(DEAD_LETTERS, {"partition": DEAD}, after=after))
    items = (_item(snapshot, letter, _bytes(letter, payloads)) for letter in _newest_first(rows))
    return list(islice((item for item in items if not item["settled"]), most))


def _newest_first(rows: Sequence[tuple[Any, ...]]) -> Iterator[DeadLetterRow]:
    return DeadLetterRow.read_all(reversed(rows))


def _bytes(letter: DeadLetterRow, payloads: Payloads) -> bytes:
    if letter.partition == DEAD:
        return payloads.dead_letter(letter.offset, letter.place).bytes
    return payloads.item(letter.partition, letter.offset, letter.place)


def _is_settled(snapshot: Snapshot, name: str, letter: DeadLetterRow, sent: bytes) -> bool:
    """Whether an accepted event was this letter: it says so, came later, and has its id or its bytes."""
    claims = [claim_of_bytes(sent)]
    if letter.id is not None and letter.source is not None:
        claims.append(claim_of_identity(letter.source, letter.id))
    rows = snapshot.get(REPLAYED, [(name, claim) for claim in claims])
    return any(replayed.received >= letter.received for replayed in Replayed.read_all(rows))


def set_aside_count(snapshot: Snapshot) -> int:
    """How many events could not be folded."""
    return snapshot.count(DEAD_LETTERS, {"code": CANNOT_FOLD})


def settled_counts(snapshot: Snapshot, payloads: Payloads) -> Counter[str]:
    """How many letters were put back and accepted, by their code: those that `dead_letters` calls settled."""
    latest: dict[Name, dict[bytes, int]] = {}
    for replayed in Replayed.read_all(snapshot.scan(REPLAYED)):
        claims = latest.setdefault(parse_name(replayed.dead_letter), {})
        claims[replayed.claim] = max(replayed.received, claims.get(replayed.claim, replayed.received))
    found: Counter[str] = Counter()
    rows = snapshot.get(DEAD_LETTERS, [tuple(name) for name in latest])
    for letter in DeadLetterRow.read_all(rows):
        claims = latest[Name(letter.partition, letter.offset, letter.place)]
        came = -1
        if letter.id is not None and letter.source is not None:
            came = claims.get(claim_of_identity(letter.source, letter.id), -1)
        if came < letter.received:
            # Perhaps it was put back as it was; only for these the log is opened.
            came = claims.get(claim_of_bytes(_bytes(letter, payloads)), -1)
        found[letter.code] += came >= letter.received
    return found


def _item(snapshot: Snapshot, letter: DeadLetterRow, sent: bytes) -> dict[str, Any]:
    name = dead_letter_name(letter.partition, letter.offset, letter.place)
    settled = _is_settled(snapshot, name, letter, sent)
    return {
        "dead_letter": name,
        "code": letter.code,
        "problem": problem(letter.code, letter.detail),
        "id": letter.id,
        "source": letter.source,
        "type": letter.type,
        "received": rfc3339(letter.received),
        "replayed": settled,
        "settled": settled,
        "bytes": base64.b64encode(sent).decode(),
    }
