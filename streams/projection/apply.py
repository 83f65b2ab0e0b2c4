"""Projection: moving a store forward along its log, exactly once.

`advance` reads from the log by itself; an engine that is handed blocks fills a `BlockBatch` and calls
`apply`. Both are these steps, and the crash tests stop the process at each of them:

1. read the next blocks, from where the store stands;
2. begin a transaction that holds the positions; drop blocks below them, and refuse a gap;
3. fold the blocks (`streams.fold.fold`) and write what changed;
4. move the positions, in the same transaction;
5. commit.

A crash anywhere before the commit leaves the old views at the old position; the blocks are read again.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import NamedTuple

import msgspec
import structlog

from schemas import kinds
from schemas.catalog import CATALOG, Catalog
from schemas.errors import Halt, Unavailable
from schemas.normal_json import ContentHash
from streams.crash_points import reached
from streams.fold.fold import Fold
from streams.fold.judgement import declared, judge_again
from streams.fold.last_resort import is_of_the_data, letter_of, one_by_one, read_one_by_one
from streams.gc_pause import without_cycle_collection
from streams.log.block import Header, UnreadableBlock, digest, items_of, read_block, read_dead_letters
from streams.log.port import DEAD, NOTICES_S, Log, LogIdentity, Positions, ends_with
from streams.processors.arrivals import Arrivals, arrivals, declaration_of
from streams.store.port import Applied, Snapshot, Store, StoreRefused, Transaction
from streams.store.tables import VIEWS_VERSION, DeadLetterRow, Replayed
from streams.views.port import Views
from streams.views.registry import VIEWS

_READ_BLOCKS = 20
# Large inputs and refused items count by their bytes: a transaction holds about this much of them.
_MOST_BYTES = 16 * 1024 * 1024

_log = structlog.get_logger("loopline")


class AnotherLog(StoreRefused):
    """The store was built from another log."""


class LogOlderThanStore(StoreRefused):
    """The store stands behind the log's end: the log was restored from an older copy."""


class LogDiffers(StoreRefused):
    """The last block that the store applied is not the one in the log."""


class OtherViews(StoreRefused):
    """The store was built by another version of the views."""


class BlockRefused(StoreRefused):
    """A block cannot be applied for a reason inside it; the message names it."""


class Gap(Unavailable):
    """Between the store's position and the blocks read, some are missing."""


def check(log: Log, store: Store, *, within_s: float = NOTICES_S) -> None:
    """Raises a StoreRefused unless the store was built from this very log, and is not ahead of it.

    The log may have gone on to another epoch since; it has `within_s` to notice one that the store is in.
    """
    # In this order: other workers may move the store on while this looks, and blocks come meanwhile.
    with store.snapshot() as snapshot:
        positions = snapshot.positions()
    ends = ends_with(log, positions, within_s=within_s)
    _same_log(log.identity, store.log, ends)
    for partition, applied in positions.items():
        if applied.offset > ends.get(partition, 0):
            raise LogOlderThanStore(
                f"the store has applied {applied.offset} blocks of partition {partition} and the log has"
                f" {ends.get(partition, 0)}: the log is older than its store, and what it lost cannot be"
                " counted. Bring back the newer log; if it is gone for good, accept the loss by building the"
                " views of this log anew with `loopline replay`."
            )
        last = log.read(partition, applied.offset - 1, 1)
        if not last or digest(last[0]) != applied.digest:
            raise LogDiffers(
                f"block {applied.offset - 1} of partition {partition} is not the one that the store applied:"
                " the log was replaced or damaged. Bring back the right log, or build the views of this one"
                " anew with `loopline replay`."
            )
    # The last, so that views of another version are only built anew from a log that they belong to.
    if store.views_version != VIEWS_VERSION:
        raise OtherViews(
            f"the store holds views of version {store.views_version} and this is version {VIEWS_VERSION}:"
            " build them anew with `loopline replay`."
        )


def _same_log(log: LogIdentity, known: LogIdentity, ends: Positions) -> None:
    """Raises AnotherLog unless a log is the one that a store knows, or that one some epochs later."""
    was, now = known.epochs(), log.epochs()
    if known.id != log.id or len(now) < len(was) or now[: len(was) - 1] != was[:-1]:
        raise AnotherLog(
            f"the store was built from log {known.id} (epoch {known.epoch}) and this log is"
            f" {log.id} (epoch {log.epoch}). Bring back the log that belongs to the store,"
            " or build the views of this log anew with `loopline replay`."
        )
    last, grown = was[-1], now[len(was) - 1]
    added = [partition for partition in grown if partition not in last]
    # Behind a seal nothing comes into them any more: empty ones do no harm.
    sealed_empty = len(now) > len(was) and not any(ends[partition] for partition in added)
    if len(grown) < len(last):
        raise AnotherLog(
            f"the log's epoch {known.epoch} had {len(last)} partitions and its topic has {len(grown)} now: it"
            " was deleted and made again, and what was in it is gone. Bring back the log that belongs to the"
            " store; if that is gone for good, accept the loss by building the views of this log anew with"
            " `loopline replay`."
        )
    if added and not sealed_empty:
        raise AnotherLog(
            f"the log's epoch {known.epoch} had {len(last)} partitions and its topic has {len(grown)} now:"
            " an event that is sent again would be counted in another partition than before. Make a new"
            f" epoch with that many: `loopline topics ensure --new-epoch --partitions {len(grown)}`."
        )


class Block(NamedTuple):
    """A record of the log, and where it is."""

    partition: int
    offset: int
    record: bytes


class BlockBatch:
    """Blocks of one log that are applied together, decoded.

    `size` is how many events and refused items they hold.
    """

    def __init__(self, log: LogIdentity, catalog: Catalog = CATALOG) -> None:
        self.blocks: list[Block] = []
        self.contents: list[Arrivals] = []
        """What is in each of the blocks."""
        self.size = 0
        self.set_aside = 0
        """How many of its events were set aside, because they could not be folded."""
        self._catalog = catalog
        self._contents = ContentHash(log.id)

    def add(self, block: Block) -> int:
        """Add a block, the next of its partition. Returns how many bytes its items have.

        Raises UnreadableBlock or UnreadableTypes for a block of a newer version; it is not added then, and
        whoever holds the batch applies what is in it and stops.
        """
        header, body = read_block(block.record)
        if block.partition == DEAD:
            content = Arrivals([], [], {}, _letter_rows(block))
        else:
            content = self._events(block, header, body)
        self.blocks.append(block)
        self.contents.append(content)
        self.size += len(content)
        return len(body)

    def _events(self, block: Block, header: Header, body: bytes) -> Arrivals:
        """What is in a block of events; one that cannot be read is set aside."""
        origin = block.partition, block.offset
        try:
            events = self._catalog.read(body, header.types)
            return arrivals(events, *origin, header.instants(), self._contents, _sent_in(body))
        except Exception as error:
            if not is_of_the_data(error):
                raise
            try:
                items = items_of(body)
            except msgspec.MsgspecError as error:
                raise UnreadableBlock(f"this block is damaged: {error}") from error

            def failed(error: Exception) -> None:
                self.set_aside += 1
                _say_set_aside(block, error)

            return read_one_by_one(self._catalog, items, origin, header.instants(), self._contents, failed)


def _say_set_aside(block: Block, error: Exception) -> None:
    # The kind of error only: its text may repeat what the event says.
    _log.error(
        "an event cannot be folded and is set aside",
        partition=block.partition,
        offset=block.offset,
        error=type(error).__name__,
        at=_raised_at(error),
    )


def _raised_at(error: BaseException) -> str:
    """The function and line in which an error arose."""
    last = error.__traceback__
    while last is not None and last.tb_next is not None:
        last = last.tb_next
    return "" if last is None else f"{last.tb_frame.f_code.co_qualname}:{last.tb_lineno}"


def _sent_in(body: bytes) -> Callable[[int], bytes]:
    """From an index to the bytes of that item of a block, which is cut up only when somebody asks."""
    items: list[bytes] = []

    def sent(index: int) -> bytes:
        if not items:
            items.extend(items_of(body))
        return items[index]

    return sent


def advance(
    log: Log,
    store: Store,
    *,
    most_events: int = 16_000,
    upto: Positions | None = None,
    catalog: Catalog = CATALOG,
    views: Views = VIEWS,
) -> int:
    """Apply the next blocks of every partition, in one transaction.

    Args:
        most_events: about how many events and refused items to apply; a whole block is applied in any
            case, and no more than about 16 MiB.
            More meet their prediction in the same transaction, which spares reading and writing it
            again: 22 us an event at 2,000, 18 at 8,000, 17 at 16,000, for 30 MiB more. A worker that is
            caught up applies what there is.
        upto: positions not to go beyond; the log's ends when left out.
        views: the views that the store holds.

    Partitions of an older epoch come first: those of the next one wait until they are at their ends.

    Returns how many blocks were applied: 0 when there were none.
    Raises UnreadableBlock or UnreadableTypes for a block of a newer version; nothing is applied then.
    """
    ends = log.ends() if upto is None else upto
    with store.snapshot() as snapshot:
        applied = _offsets(snapshot, ends)
    ends = _oldest_epoch(log, applied, ends)
    with without_cycle_collection():
        batch = _next_blocks(log, applied, ends, most_events, BlockBatch(log.identity, catalog))
        return apply(store, batch, views)


def _oldest_epoch(log: Log, applied: Positions, ends: Positions) -> Positions:
    """The ends of the oldest epoch that is not applied up to them, and of the refused items."""
    epoch = log.identity.unfinished(applied, ends)
    return {partition: end for partition, end in ends.items() if partition in epoch or partition == DEAD}


def apply(store: Store, batch: BlockBatch, views: Views = VIEWS) -> int:
    """Apply a batch in one transaction. Returns how many of its blocks the store did not have yet.

    What cannot be folded for a reason inside it is looked for block by block, then event by event, so
    that neither the batch nor the engine matters for what is set aside.

    Raises Gap when blocks are missing before the first one that it does not have, and BlockRefused for a
    block that cannot be applied at all.
    """
    reached("project.1")
    if not batch.blocks:
        return 0
    try:
        return _apply_whole(store, batch, views)
    except Exception as error:
        if not is_of_the_data(error):
            raise
    applied = 0
    for block, content in zip(batch.blocks, batch.contents, strict=True):
        applied += _apply_block(store, batch, block, content, views)
    return applied


def _apply_block(store: Store, batch: BlockBatch, block: Block, content: Arrivals, views: Views) -> int:
    """Apply one block, in which there may be an event that cannot be folded. Returns 1 if it was new."""
    alone = BlockBatch(store.log)
    alone.blocks, alone.contents = [block], [content]
    try:
        return _apply_whole(store, alone, views)
    except Exception as error:
        if not is_of_the_data(error):
            raise
    try:
        # Join keys may be held again and again by who is alone.
        with store.transaction([block.partition], alone=True) as transaction:
            if not _still_to_apply(alone, _offsets(transaction, [block.partition])):
                return 0
            set_aside = sum(
                _fold_or_set_aside(store, transaction, block, part, views) for part in one_by_one(content)
            )
            transaction.advance({block.partition: _after(block)})
    except Exception as error:
        if not is_of_the_data(error):
            raise
        raise BlockRefused(
            f"block {block.offset} of partition {block.partition} cannot be applied, not even without its"
            f" events ({type(error).__name__}): nothing of it was skipped. Upgrade, or build the views anew"
            " with `loopline replay`; if that ends here too, report it."
        ) from error
    batch.set_aside += set_aside
    return 1


def _fold_or_set_aside(
    store: Store, transaction: Transaction, block: Block, part: Arrivals, views: Views
) -> int:
    """Fold one event, or make a dead letter of it. Returns 1 if it was set aside."""
    try:
        with transaction.savepoint():
            _fold(transaction, [part], views)
    except Exception as error:
        if not is_of_the_data(error):
            raise
        _say_set_aside(block, error)
        _fold(transaction, [Arrivals([], [], {}, [letter_of(part)])], views)
        return 1
    return 0


def _apply_whole(store: Store, batch: BlockBatch, views: Views) -> int:
    partitions = {block.partition for block in batch.blocks}
    # A declaration touches what waited for it, in any partition.
    declares = any(
        each.event.kind == kinds.MODEL_DECLARED.name for come in batch.contents for each in come.models
    )
    with store.transaction(partitions, alone=declares) as transaction:
        coming = _still_to_apply(batch, _offsets(transaction, partitions))
        _fold(transaction, [content for _, content in coming], views)
        reached("project.3")
        last = {block.partition: block for block, _ in coming}
        transaction.advance({partition: _after(block) for partition, block in last.items()})
    return len(coming)


def _offsets(snapshot: Snapshot, partitions: Iterable[int]) -> dict[int, int]:
    positions = snapshot.positions()
    return {
        partition: positions[partition].offset if partition in positions else 0 for partition in partitions
    }


def _next_blocks(
    log: Log, applied: Positions, ends: Positions, most_events: int, batch: BlockBatch
) -> BlockBatch:
    """Fill a batch with what comes next."""
    room = _MOST_BYTES
    # The partition that is furthest behind comes first, so that a busy one cannot starve the others.
    for partition in sorted(ends, key=lambda each: (applied[each] - ends[each], each)):
        offset = applied[partition]
        while offset < ends[partition] and batch.size < most_events and room > 0:
            limit = min(ends[partition] - offset, _READ_BLOCKS)
            records = log.read(partition, offset, limit)
            if not records:
                break
            for record in records:
                try:
                    room -= batch.add(Block(partition, offset, record))
                except Halt:
                    # What lies before it is applied first; the next call meets it again.
                    if batch.blocks:
                        return batch
                    raise
                offset += 1
    return batch


def _letter_rows(block: Block) -> list[DeadLetterRow]:
    return [
        DeadLetterRow(
            partition=block.partition,
            offset=block.offset,
            place=index,
            code=letter.code,
            detail=letter.detail,
            id=letter.id,
            source=letter.source,
            type=None,
            received=received,
        )
        for index, (received, letter) in enumerate(read_dead_letters(block.record))
    ]


def _still_to_apply(batch: BlockBatch, applied: Positions) -> list[tuple[Block, Arrivals]]:
    expected = dict(applied)
    kept = []
    for block, content in zip(batch.blocks, batch.contents, strict=True):
        if block.offset < expected[block.partition]:
            continue
        if block.offset > expected[block.partition]:
            raise Gap(
                f"the store stands before block {expected[block.partition]} of partition {block.partition}"
                f" and the next block read is {block.offset}"
            )
        expected[block.partition] += 1
        kept.append((block, content))
    return kept


def _fold(transaction: Transaction, contents: Sequence[Arrivals], views: Views) -> None:
    fold = Fold(transaction, views)
    models = [arrival for content in contents for arrival in content.models]
    declaring = {
        (data.model, data.model_version) for each in models if (data := declaration_of(each)) is not None
    }
    before = declared(transaction, declaring)
    fold.enter_models(models)
    fold.enter([row for content in contents for row in content.rows])
    for content in contents:
        fold.enter_refused(content.letters)
        fold.enter_replays(Replayed.read(row) for rows in content.replayed.values() for row in rows)
    fold.settle()
    for model, now in declared(transaction, declaring).items():
        judge_again(transaction, views, model, before[model], now)


def _after(block: Block) -> Applied:
    header, _ = read_block(block.record)
    return Applied(block.offset + 1, digest(block.record), max(header.instants(), default=0))
