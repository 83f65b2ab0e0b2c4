"""`dataset.released`: the event that puts a release into the log. Sending it twice is sending it once.

A release is published first and announced after; whoever is killed in between leaves a release without its
event, which the next release or list of that model sends. How it is sent is left to the caller.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import Any
from uuid import NAMESPACE_URL, uuid5

import msgspec

from feedback.datasets.catalogue import Manifest, dataset_in, datasets, datasets_of, manifest, owner, versions
from feedback.datasets.errors import NotAnnounced
from feedback.datasets.shelf import Shelf
from schemas import kinds
from schemas.releases import release_of
from streams.store.port import Snapshot
from streams.store.tables import MODEL_EVENTS

SOURCE = "/loopline/datasets"
KIND = kinds.DATASET_RELEASED

Emit = Callable[[dict[str, Any]], None]
"""Puts a CloudEvent into the log; returns when it is there, or raises: EventRefused when it was refused."""

_data = MODEL_EVENTS.column("data")
_NAMESPACE = uuid5(NAMESPACE_URL, "urn:loopline:decisions")


def event_of(said: Mapping[str, Any]) -> dict[str, Any]:
    """The CloudEvent of a release, from its manifest: the same one whenever it is made."""
    data = {
        "model": said["model"],
        "version": said["version"],
        "content_hash": said["content_hash"],
        "as_of": said["as_of"],
        "rows": said["rows"],
    }
    if said["parents"]:
        data["parents"] = said["parents"]
    # The id of a release without a name is what it was before there were names.
    name = said.get("release_name")
    if name is not None:
        data["name"] = name
    env = said["recipe"]["filters"]["env"]
    if env != "prod":
        data["env"] = env
    return {
        "specversion": "1.0",
        "id": str(
            uuid5(_NAMESPACE, f"{KIND.name}/{dataset_in(said)}/{said['version']}/{said['content_hash']}")
        ),
        "source": SOURCE,
        "type": KIND.type,
        "time": said["released_at"],
        "data": data,
    }


def announced(snapshot: Snapshot, model: str) -> set[str]:
    """The releases of a model, as `MODEL@N`, whose event is in the views."""
    rows = snapshot.scan(MODEL_EVENTS, {"model": model, "kind": KIND.name})
    return {release_of(msgspec.json.decode(_data(row))) for row in rows}


def unannounced(snapshot: Snapshot, shelf: Shelf, model: str | None = None) -> Iterator[Manifest]:
    """The manifest of every release, of one model or all, of which the views have no event."""
    known: dict[str, set[str]] = {}
    for dataset in datasets(shelf) if model is None else datasets_of(shelf, model):
        whose = owner(shelf, dataset)
        if whose is None:
            continue
        if whose[0] not in known:
            known[whose[0]] = announced(snapshot, whose[0])
        for version in versions(shelf, dataset):
            if f"{dataset}@{version}" not in known[whose[0]]:
                yield manifest(shelf, dataset, version)


def announce(snapshot: Snapshot, shelf: Shelf, emit: Emit, model: str | None = None) -> list[str]:
    """Send the event of every release, of one model or all, that the views have none of; gives their names.

    Raises NotAnnounced when one cannot be sent.
    """
    sent = []
    for said in unannounced(snapshot, shelf, model):
        try:
            emit(event_of(said))
        except Exception as error:
            raise NotAnnounced(said["name"], error) from error
        sent.append(said["name"])
    return sent
