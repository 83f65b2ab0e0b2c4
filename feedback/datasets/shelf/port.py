"""Where releases lie: the port. On a local folder they do as `folder` says, on an object store as `objects`.

What is in the files is left to others; `shelves` gives the shelf at an address.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any, NamedTuple, Protocol


class FileBody(NamedTuple):
    """A file as it is handed out: its size, and its bytes in pieces; `path` where it is a local file."""

    size: int
    pieces: Iterator[bytes]
    path: Path | None = None


class Bench(Protocol):
    """The making of one release of a model, as `Shelf.releasing` gives it."""

    def building(self) -> AbstractContextManager[Path]:
        """A local folder for the files, gone at the end."""

    def numbered(self) -> AbstractContextManager[int]:
        """The version of this release: nobody else gets it while it is held, or once it is published."""

    def publish(self, built: Path, version: int) -> str:
        """Make what was built the release of this version, whole or not at all; gives its place."""

    def set_aside(self, built: Path, name: str) -> str:
        """Keep what was built, but did not pass, under a name; gives its place."""


class Shelf(Protocol):
    """Releases of all models. What is there never changes. `name` is what people are told.

    Every call may raise ShelfUnreachable where the releases lie on another machine.
    """

    name: str

    look_every_s: float
    """How often to look for new releases, for whoever does so all the time: looks may cost money."""

    def __hash__(self) -> int:
        """What was read from it is remembered by it."""

    def models(self) -> list[str]:
        """What may be models with a release, in order of their names."""

    def versions(self, model: str) -> list[int]:
        """The published versions of a model's dataset, rising."""

    def read(self, model: str, version: int, name: str) -> bytes:
        """A small file of a release. Raises FileNotFoundError."""

    def opened(self, model: str, version: int, name: str) -> AbstractContextManager[Any]:
        """A file of a release as pyarrow takes it. Raises FileNotFoundError."""

    def body(self, model: str, version: int, name: str) -> FileBody:
        """A file of a published release, to be handed out. Raises FileNotFoundError."""

    def stamp(self, model: str, version: int, name: str) -> int:
        """A number that is another one when another file has taken the name. Raises FileNotFoundError."""

    def place(self, model: str, version: int) -> str:
        """Where a release lies, for people."""

    def page(self, model: str | None) -> str | None:
        """The page above a model's releases, or above all models; None where there is none."""

    def put_page(self, model: str | None, text: str) -> None:
        """Write that page, whole; one that is there gives way."""

    def releasing(self, model: str, waiting: Callable[[], None]) -> AbstractContextManager[Bench]:
        """The making of a release. `waiting` is called when another one has to be waited for."""
