"""Cutting an input into batches that the server takes: by bytes, without judging any event.

A file holds one event a line, a JSON array, or one event over several lines. Lines are sent as they come,
so that a pipe that never ends works too; an array or a lone event is read whole. Sending is left to
`feedback.server_client`.
"""

from __future__ import annotations

import select
from collections.abc import Callable, Iterable, Iterator
from typing import IO, NamedTuple

from feedback.server_client import Body
from schemas.errors import Refused
from streams.ingest.split import CannotSplit, split_array

MOST_ITEMS, MOST_BYTES = 500, 900 * 1024
_JSON_SPACE = b" \t\r\n"
_BYTE_ORDER_MARK = b"\xef\xbb\xbf"
_IDLE_S = 0.2


class Unsplittable(Refused):
    """The input is an array that cannot be cut into items."""


class Item(NamedTuple):
    """One event as it was read, and its place in the input, from 0."""

    place: int
    sent: bytes


class Batch(NamedTuple):
    """Items that are sent in one request."""

    items: list[Item]

    @property
    def lines(self) -> bool:
        """Whether each item is one line; bytes that hold a line end can only be sent in an array."""
        return all(b"\n" not in item.sent for item in self.items)

    @property
    def content_type(self) -> str:
        """The media type of `body`."""
        return "application/x-ndjson" if self.lines else "application/cloudevents-batch+json"

    def body(self) -> bytes:
        """The request's body. Lines, where it can be: there a broken item cannot hide the others."""
        sent = [item.sent for item in self.items]
        return b"\n".join(sent) if self.lines else b"[" + b",".join(sent) + b"]"


def encode(items: list[Item]) -> Body:
    """Items as one request carries them."""
    batch = Batch(items)
    return Body(batch.content_type, batch.body())


def batches(items: Iterable[bytes | None]) -> Iterator[Batch]:
    """Items in batches, in order; None says that nothing more comes for now, so what is there goes out."""
    pending: list[Item] = []
    size = index = 0
    for sent in items:
        if pending and (sent is None or len(pending) == MOST_ITEMS or size + len(sent) + 1 > MOST_BYTES):
            yield Batch(pending)
            pending, size = [], 0
        if sent is not None:
            pending.append(Item(index, sent))
            index += 1
            size += len(sent) + 1
    if pending:
        yield Batch(pending)


def read_items(file: IO[bytes], read: Callable[[int], None] = lambda size: None) -> Iterator[bytes | None]:
    """The items of a file, as they lie there; None now and then when a pipe is quiet.

    `read` is told how many bytes each item took. Raises Unsplittable.
    """
    lines = _lines(file)
    first = b""
    for line in lines:
        if line is None:
            continue
        read(len(line))
        first = line.removeprefix(_BYTE_ORDER_MARK).strip(_JSON_SPACE)
        if first:
            break
    if not first:
        return
    if first[:1] == b"[":
        yield from _array(first, lines, read)
    elif first[:1] == b"{" and not _closes(first):
        yield from _spread(first, lines, read)
    else:
        yield first
        for line in lines:
            if line is None:
                yield None
                continue
            read(len(line))
            item = line.strip(_JSON_SPACE)
            if item:
                yield item


def _array(first: bytes, lines: Iterator[bytes | None], read: Callable[[int], None]) -> Iterator[bytes]:
    whole = _whole(first, lines, read)
    try:
        yield from split_array(whole)
    except CannotSplit as error:
        raise Unsplittable(f"it begins as a JSON array and cannot be cut into events: {error}") from None


def _spread(first: bytes, lines: Iterator[bytes | None], read: Callable[[int], None]) -> Iterator[bytes]:
    """One event over several lines; or lines of which the first is broken, which the server will say."""
    whole = _whole(first, lines, read)
    if _closes(whole):
        yield whole
        return
    yield from (line for line in (line.strip(_JSON_SPACE) for line in whole.split(b"\n")) if line)


def _whole(first: bytes, lines: Iterator[bytes | None], read: Callable[[int], None]) -> bytes:
    parts = [first]
    for line in lines:
        if line is not None:
            read(len(line))
            parts.append(line.rstrip(b"\n"))
    return b"\n".join(parts).strip(_JSON_SPACE)


def _closes(text: bytes) -> bool:
    """Whether this is one item by itself: brackets that open are closed, once."""
    try:
        return len(split_array(b"[" + text + b"]")) == 1
    except CannotSplit:
        return False


def _lines(file: IO[bytes]) -> Iterator[bytes | None]:
    """Lines as they come. While a pipe is quiet, None: so that what came is not held back."""
    try:
        descriptor = file.fileno()
        quiet_matters = not file.seekable()
    except (OSError, ValueError, AttributeError):
        quiet_matters = False
    if not quiet_matters:
        yield from file
        return
    rest = b""
    waited = False
    while True:
        if not waited and not select.select([descriptor], [], [], _IDLE_S)[0]:
            waited = True
            yield None
            continue
        # After None was said once, waiting may take as long as it takes.
        chunk = file.raw.read(65_536) if hasattr(file, "raw") else file.read(65_536)
        waited = False
        if not chunk:
            break
        *whole, rest = (rest + chunk).split(b"\n")
        yield from (line + b"\n" for line in whole)
    if rest:
        yield rest
