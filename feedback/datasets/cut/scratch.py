"""Scratch files of a release: Arrow batches on disk, written once and read back by number.

A release passes over its rows more than once (what a column's encoding is, is known only at the end). Between
the passes the rows lie here, so memory stays flat whatever the number of rows.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pyarrow as pa

LEAST_ROWS = 16_384


class Gathered:
    """Small batches put together to larger ones."""

    def __init__(self) -> None:
        self._batches: list[Any] = []
        self._rows = 0

    def add(self, batch: Any) -> Any:
        """Take a batch; gives a larger one as soon as there is enough for it, else None."""
        self._batches.append(batch)
        self._rows += batch.num_rows
        return self.rest() if self._rows >= LEAST_ROWS else None

    def rest(self) -> Any:
        """What is there as one batch, or None."""
        if not self._batches:
            return None
        batch = pa.concat_batches(self._batches)
        self._batches, self._rows = [], 0
        return batch


class BatchFile:
    """Batches of one schema in an Arrow file. First `write` them all, then `finish`, then `read`."""

    def __init__(self, path: Path, schema: Any) -> None:
        self._path = path
        self._sink = pa.OSFile(str(path), "wb")
        self._writer: Any = pa.ipc.new_file(self._sink, schema)
        self._source: Any = None
        self._reader: Any = None
        self._written = 0

    def write(self, batch: Any) -> int:
        """Append a batch; gives its number."""
        self._writer.write_batch(batch)
        self._written += 1
        return self._written - 1

    def finish(self) -> None:
        """End the writing and open for reading."""
        self._writer.close()
        self._sink.close()
        self._source = pa.memory_map(str(self._path))
        self._reader = pa.ipc.open_file(self._source)

    def read(self, number: int) -> Any:
        """The batch of a number, backed by the file."""
        return self._reader.get_batch(number)

    def __iter__(self) -> Iterator[Any]:
        return map(self.read, range(self._written))

    def close(self) -> None:
        """Close the file; batches that were read stay valid."""
        if self._reader is None:
            self._writer.close()
            self._sink.close()
        else:
            self._source.close()
