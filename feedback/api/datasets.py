"""`GET /v1/datasets` and below: the releases in the datasets folder, as they were published.

A release is a folder MODEL/N with a manifest; one without is not published. Names from the request are
matched against patterns that no path outside the folder fits, and only plain files are handed out.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import msgspec
from starlette.requests import Request
from starlette.responses import FileResponse, Response

from feedback.api.errors import NotFound
from feedback.api.parameters import PAGING, Parameters
from feedback.api.reading import json_response, on_thread, read
from feedback.api.services import services_of
from streams.queries.pages import Int64, Page, listing

MANIFEST = "manifest.json"
TOKEN = tuple[str, Int64]

_MODEL = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,127}")
_VERSION = re.compile(r"[1-9][0-9]{0,8}")
_FILE = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,127}")
_SUMMARY = ("content_hash", "as_of", "rows", "parents", "released_at")
_MEDIA_TYPES = {
    ".parquet": "application/vnd.apache.parquet",
    ".json": "application/json",
    ".md": "text/markdown; charset=utf-8",
}


def releases(folder: Path) -> list[tuple[str, int]]:
    """The published releases below a datasets folder, by model and version."""
    return sorted(_releases(folder))


def _releases(folder: Path) -> Iterator[tuple[str, int]]:
    if not folder.is_dir():
        return
    for model in folder.iterdir():
        if not (_MODEL.fullmatch(model.name) and model.is_dir()):
            continue
        for version in model.iterdir():
            if _VERSION.fullmatch(version.name) and (version / MANIFEST).is_file():
                yield model.name, int(version.name)


def summary(folder: Path, model: str, version: int) -> dict[str, Any]:
    """What a list says of a release: its name, and the manifest's main entries."""
    manifest = msgspec.json.decode((folder / model / str(version) / MANIFEST).read_bytes())
    return {
        "model": model,
        "version": version,
        "name": f"{model}@{version}",
        **{entry: manifest[entry] for entry in _SUMMARY if entry in manifest},
    }


def latest(folder: Path, most: int) -> list[dict[str, Any]]:
    """Summaries of the highest versions of each model, at most so many."""
    return [summary(folder, *name) for name in sorted(releases(folder), key=lambda name: -name[1])[:most]]


def _page(folder: Path, page: Page) -> dict[str, Any]:
    names = [name for name in releases(folder) if page.after is None or name > page.after]
    shown = names[: page.limit]
    items = [summary(folder, *name) for name in shown]
    return listing(items, shown[-1] if len(names) > page.limit else None)


def _file(folder: Path, model: str, version: str, name: str) -> Path:
    """The path of a release's file. Raises NotFound for everything that is not one."""
    if _MODEL.fullmatch(model) and _VERSION.fullmatch(version) and _FILE.fullmatch(name):
        release = folder / model / version
        path = release / name
        if (release / MANIFEST).is_file() and path.is_file() and not path.is_symlink():
            return path
    raise NotFound("there is no such release, or no such file in it; /v1/datasets lists the releases")


async def endpoint(request: Request) -> Response:
    """The list of releases."""
    page = Parameters(request, PAGING).page(TOKEN)
    services = services_of(request)
    await read(request, lambda view: None)
    return json_response(await on_thread(services, lambda: _page(services.datasets, page)))


async def manifest(request: Request) -> Response:
    """A release's manifest."""
    return await _answer(request, MANIFEST)


async def file(request: Request) -> Response:
    """A release's file, streamed."""
    return await _answer(request, request.path_params["name"])


async def _answer(request: Request, name: str) -> Response:
    Parameters(request, ())
    services, asked = services_of(request), request.path_params
    await read(request, lambda view: None)
    path = await on_thread(services, lambda: _file(services.datasets, asked["model"], asked["version"], name))
    return FileResponse(
        path,
        media_type=_MEDIA_TYPES.get(path.suffix, "application/octet-stream"),
        headers={"x-content-type-options": "nosniff", "cache-control": "no-store"},
    )
