"""The shelf at an address: a folder of this machine, or an object store."""

from __future__ import annotations

import os
from pathlib import Path
from urllib.parse import unquote, urlsplit

from feedback.datasets.errors import BadRequest
from feedback.datasets.shelf.bucket import objects_at
from feedback.datasets.shelf.folder import FolderShelf
from feedback.datasets.shelf.objects import ObjectShelf
from feedback.datasets.shelf.port import Shelf


def shelf_of(where: str | os.PathLike[str]) -> Shelf:
    """The shelf at a folder, or at a URI of pyarrow.fs as in `s3://BUCKET/PREFIX?region=...`.

    Nothing is asked over the network yet. Raises BadRequest for what is neither.
    """
    if isinstance(where, os.PathLike) or "://" not in where:
        return FolderShelf(Path(where))
    parts = urlsplit(where)
    if parts.scheme != "file":
        return ObjectShelf(objects_at(where))
    if parts.netloc not in ("", "localhost") or not parts.path:
        raise BadRequest(
            f"{where} names no folder of this machine: write file:///FOLDER, or the folder alone"
        )
    return FolderShelf(Path(unquote(parts.path)))
