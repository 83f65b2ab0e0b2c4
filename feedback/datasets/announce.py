"""`dataset.released`: the event that puts a release into the log, decided by what lies on the shelf.

A release is published first and announced after. `ReleaseAnnouncer` is the decider that finds which releases
have no event in the views: the command that cuts one lets it look once, and so does a running server again
and again. Whoever is killed in between leaves a release that the next look finds.

A shelf may be copied, or shared by several logs. Only what was cut from the log of the views is announced in
it: the manifest names the log. What was cut from another one is left to that one; what cannot be read is said
once, and keeps nothing else back.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator, Mapping
from typing import Any, NamedTuple

import msgspec
import structlog

from feedback.datasets.errors import NotAnnounced
from feedback.datasets.names import MANIFEST, check_model, is_model
from feedback.datasets.shelf.port import Shelf
from schemas import kinds
from schemas.releases import release_of
from streams.deciders.port import Decision, Send, in_model_events
from streams.deciders.reconcile import difference, reconcile
from streams.store.port import Snapshot, Store
from streams.store.tables import MODEL_EVENTS, ModelEvent, Table

SOURCE = "/loopline/datasets"
KIND = kinds.DATASET_RELEASED
RULE = KIND.name

Emit = Send
"""Puts a CloudEvent into the log; returns when it is there, or raises: EventRefused when it was refused."""

Complain = Callable[[str, str], None]
"""Is told of a release that cannot be read, as `MODEL@N`, and why."""

_log = structlog.get_logger("loopline")


def log_damaged(release: str, reason: str) -> None:
    """Say it in the log of the process."""
    _log.warning("a release is damaged and is not announced", release=release, reason=reason)


class _CutFrom(msgspec.Struct, frozen=True):
    id: str


class _Filters(msgspec.Struct, frozen=True):
    env: str = "prod"


class _Recipe(msgspec.Struct, frozen=True):
    filters: _Filters = _Filters()


class Release(msgspec.Struct, frozen=True):
    """What a manifest says of its release, as far as the event repeats it."""

    name: str
    model: str
    version: int
    content_hash: str
    as_of: str
    rows: int
    released_at: str
    log: _CutFrom
    parents: list[str] = []
    recipe: _Recipe = _Recipe()
    # One without a name has the event that it had before there were names.
    release_name: str | None = None


class Shelved(NamedTuple):
    """The log of the views, and the releases on the shelf of which the views have no event."""

    log: str
    releases: list[Release]


def decision_of(release: Release) -> Decision:
    """That a release is announced: the same decision whenever it is made."""
    data: dict[str, Any] = {
        "model": release.model,
        "version": release.version,
        "content_hash": release.content_hash,
        "as_of": release.as_of,
        "rows": release.rows,
    }
    if release.parents:
        data["parents"] = release.parents
    if release.release_name is not None:
        data["name"] = release.release_name
    if release.recipe.filters.env != "prod":
        data["env"] = release.recipe.filters.env
    subject = (release.name.rpartition("@")[0], str(release.version))
    return Decision(RULE, subject, release.content_hash, SOURCE, KIND, release.released_at, data)


def event_of(manifest: Mapping[str, Any]) -> dict[str, Any]:
    """The CloudEvent of a release, from its manifest: the same one whenever it is made."""
    return decision_of(msgspec.convert(manifest, Release)).event()


def announced(views: Snapshot) -> set[str]:
    """The releases, as `MODEL@N`, whose event is in the views."""
    rows = ModelEvent.read_all(views.scan(MODEL_EVENTS, {"kind": KIND.name}))
    return {release_of(msgspec.json.decode(row.data)) for row in rows}


class ReleaseAnnouncer:
    """Decides which releases of a shelf are to be announced.

    Args:
        shelf: where the releases lie.
        model: only releases of this model; of all when left out.
        complain: is told of each damaged release, once.
    """

    rule = RULE
    reads: Collection[Table] = ()
    """What demands a decision comes onto the shelf, not into the views."""

    def __init__(self, shelf: Shelf, model: str | None = None, complain: Complain = log_damaged) -> None:
        self._shelf = shelf
        self._complain = complain
        self._model = None if model is None else check_model(model)
        # Read before, and of no concern: damaged, or of another log. By the stamp of the manifest.
        self._passed_over: dict[tuple[str, int], tuple[str, int]] = {}

    @property
    def every_s(self) -> float:
        """As often as the shelf bears being looked at."""
        return self._shelf.look_every_s

    def read(self, store: Store) -> Shelved:
        """The releases without an event, as their manifests describe them. Raises ShelfUnreachable."""
        there = [(dataset, each) for dataset in self._datasets() for each in self._shelf.versions(dataset)]
        with store.snapshot() as views:
            known = announced(views) if there else set()
        log = store.log.id
        unknown = [each for each in there if f"{each[0]}@{each[1]}" not in known]
        return Shelved(log, [found for each in unknown if (found := self._release(*each, log)) is not None])

    def _datasets(self) -> Iterator[str]:
        for name in self._shelf.models():
            if is_model(name) and (self._model is None or f"{name}.".startswith(f"{self._model}.")):
                yield name

    def _release(self, dataset: str, version: int, log: str) -> Release | None:
        """What a manifest says; None where that is damaged, gone, or of another log or model."""
        try:
            stamp = log, self._shelf.stamp(dataset, version, MANIFEST)
            if self._passed_over.get((dataset, version)) == stamp:
                return None
            manifest = self._shelf.read(dataset, version, MANIFEST)
        except FileNotFoundError:
            return None
        try:
            found = msgspec.json.decode(manifest, type=Release)
            if (dataset, version) != (found.name.rpartition("@")[0], found.version):
                raise ValueError(f"its manifest calls it {found.name}")
        except ValueError as error:
            self._passed_over[dataset, version] = stamp
            self._complain(f"{dataset}@{version}", str(error))
            return None
        if found.log.id != log:
            self._passed_over[dataset, version] = stamp
            return None
        return found if self._model in (None, found.model) else None

    def judge(self, seen: Shelved) -> list[Decision]:
        """Every release that was cut from this log."""
        return [decision_of(release) for release in seen.releases if release.log.id == seen.log]

    def decided(self, views: Snapshot, decisions: Collection[Decision]) -> set[str]:
        """Those whose event the views have."""
        return in_model_events(views, decisions)


def unannounced(
    store: Store, shelf: Shelf, model: str | None = None, complain: Complain = log_damaged
) -> list[str]:
    """The releases of this log, of one model or all, of which the views have no event."""
    announcer = ReleaseAnnouncer(shelf, model, complain)
    missing = difference(announcer, announcer.read(store), store, refused_too=True)
    return ["@".join(decision.subject) for decision in missing]


def announce(store: Store, shelf: Shelf, emit: Emit, model: str | None = None) -> list[str]:
    """Look once, and send what is missing, of one model or all; gives the names of the releases.

    What was refused before is sent once more: somebody asks for it. Raises NotAnnounced when one cannot be
    sent.
    """

    def send(event: dict[str, Any]) -> str | None:
        try:
            return emit(event)
        except Exception as error:
            raise NotAnnounced(release_of(event["data"]), error) from error

    done = reconcile(ReleaseAnnouncer(shelf, model), store, send, refused_too=True)
    return ["@".join(decision.subject) for decision in done.sent]
