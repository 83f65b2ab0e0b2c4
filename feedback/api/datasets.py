"""`GET /v1/datasets` and below: the releases on the shelf, as they were published.

Names from the request are matched against patterns that no path outside a release fits. Where releases lie,
and what of it is published, is left to the shelf.
"""

from __future__ import annotations

import contextlib
import re
from collections.abc import AsyncIterator, Callable, Iterator, Sequence
from itertools import islice
from pathlib import PurePosixPath
from typing import Any, TypeVar

import msgspec
from starlette.requests import Request
from starlette.responses import FileResponse, Response, StreamingResponse

from feedback.api.errors import NoAnswerNow, NotFound
from feedback.api.parameters import PAGING, Parameters
from feedback.api.reading import caught_up, json_response, on_thread
from feedback.api.services import Services, services_of
from feedback.datasets.errors import ShelfUnreachable
from feedback.datasets.names import MANIFEST, is_model, is_version
from feedback.datasets.shelf.port import FileBody, Shelf
from streams.daemon_pool import DaemonPool, Unanswered
from streams.queries.feedback import Lineage
from streams.queries.pages import Int64, Page, listing

R = TypeVar("R")

TOKEN = tuple[str, Int64]

_FILE = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,127}")
_SUMMARY = ("content_hash", "as_of", "rows", "parents", "released_at")
_MEDIA_TYPES = {
    ".parquet": "application/vnd.apache.parquet",
    ".json": "application/json",
    ".md": "text/markdown; charset=utf-8",
}


def _releases(shelf: Shelf, after: tuple[str, int] | None) -> Iterator[tuple[str, int]]:
    """The published releases behind one, by dataset and version; none is looked at before it is needed."""
    for dataset in shelf.models():
        if after is None or dataset >= after[0]:
            yield from (
                (dataset, version)
                for version in shelf.versions(dataset)
                if after is None or (dataset, version) > after
            )


def summary(shelf: Shelf, dataset: str, version: int) -> dict[str, Any]:
    """What a list says of a release: its name, and the manifest's main entries."""
    manifest = msgspec.json.decode(shelf.read(dataset, version, MANIFEST))
    return {
        "model": manifest.get("model", dataset),
        "dataset": dataset,
        "release_name": manifest.get("release_name"),
        "version": version,
        "name": f"{dataset}@{version}",
        **{entry: manifest[entry] for entry in _SUMMARY if entry in manifest},
    }


def latest(shelf: Shelf, most: int) -> list[dict[str, Any]]:
    """Summaries of the highest versions of each dataset, at most so many."""
    names = sorted(_releases(shelf, None), key=lambda name: -name[1])
    return [summary(shelf, *name) for name in names[:most]]


def bounded(lineage: Lineage, readers: DaemonPool) -> Lineage:
    """Lineage for who reads a timeline on other threads, and waits for these as long as suits them.

    Raises ShelfUnreachable when it is not told by then.
    """

    def asked(model: str, event_id: str, source: str) -> Sequence[str]:
        try:
            return readers.result(lambda: lineage(model, event_id, source), readers.patience_s)
        except Unanswered as error:
            raise ShelfUnreachable(str(error)) from None

    return asked


def _page(shelf: Shelf, page: Page) -> dict[str, Any]:
    names = list(islice(_releases(shelf, page.after), page.limit + 1))
    shown = names[: page.limit]
    items = [summary(shelf, *name) for name in shown]
    return listing(items, shown[-1] if len(names) > page.limit else None)


def _body(shelf: Shelf, model: str, version: str, name: str) -> FileBody:
    """A release's file. Raises NotFound for everything that is not one."""
    if is_model(model) and is_version(version) and _FILE.fullmatch(name):
        with contextlib.suppress(FileNotFoundError, NotADirectoryError):
            return shelf.body(model, int(version), name)
    raise NotFound("there is no such release, or no such file in it; /v1/datasets lists the releases")


async def endpoint(request: Request) -> Response:
    """The list of releases."""
    page = Parameters(request, PAGING).page(TOKEN)
    services = services_of(request)
    await caught_up(request)
    return json_response(await looked(services, lambda: _page(services.datasets, page)))


async def manifest(request: Request) -> Response:
    """A release's manifest."""
    return await _answer(request, MANIFEST)


async def file(request: Request) -> Response:
    """A release's file, streamed."""
    return await _answer(request, request.path_params["name"])


async def looked(services: Services, look: Callable[[], R], within_s: float | None = None) -> R:
    """What `look` finds on the shelf, on its threads. Raises NoAnswerNow when the shelf is away, or hangs."""
    try:
        return await on_thread(services.threads.datasets, look, within_s)
    except ShelfUnreachable as error:
        raise NoAnswerNow(str(error)) from None


async def _answer(request: Request, name: str) -> Response:
    Parameters(request, ())
    services, asked = services_of(request), request.path_params
    await caught_up(request)
    body = await looked(services, lambda: _body(services.datasets, asked["model"], asked["version"], name))
    headers = {"x-content-type-options": "nosniff", "cache-control": "no-store"}
    media_type = _MEDIA_TYPES.get(PurePosixPath(name).suffix, "application/octet-stream")
    if body.path is not None:
        return FileResponse(body.path, media_type=media_type, headers=headers)
    headers["content-length"] = str(body.size)
    return StreamingResponse(_handed_out(services, body), media_type=media_type, headers=headers)


async def _handed_out(services: Services, body: FileBody) -> AsyncIterator[bytes]:
    """The pieces of a file. One that hangs half way ends the answer before its length: that is seen."""
    while piece := await looked(services, lambda: next(body.pieces, b"")):
        yield piece
