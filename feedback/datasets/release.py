"""Cutting a release: from the log and its views to a published version, or to one kept aside.

These are the steps of `release`; a release that is killed at any of them is not there, or is there whole:

1. take the model's lock, and the views as of the wanted vector (`standing`);
2. read the labelled rows, fetch their inputs, write the splits and the lineage (`cut`);
3. let the gate judge what was written (`gate`); what fails is kept aside with the report;
4. describe it (`card`, `croissant`, `manifest`) and publish it whole (`shelf`);
5. announce it in the log (`announce`, the decider), and name it as the latest in the folder above (`pages`).
"""

from __future__ import annotations

import time
from collections.abc import Callable, Collection
from functools import cached_property, partial
from pathlib import Path
from typing import Any, NamedTuple

import msgspec

from feedback.datasets import manifest as manifests
from feedback.datasets.announce import Emit, announce
from feedback.datasets.as_of import Scratch, Standing, Wait, parse_as_of, sqlite_scratch, standing
from feedback.datasets.card import card
from feedback.datasets.catalogue import Manifest, manifest, owner, versions
from feedback.datasets.croissant import croissant
from feedback.datasets.cut.cut import Cut, cut
from feedback.datasets.cut.recipe import SPLITS, TRAINING, Filters, Wanted
from feedback.datasets.cut.rows import Progress
from feedback.datasets.errors import BadRequest, GateFailed, NothingToRelease
from feedback.datasets.gate import ALLOWABLE, JUDGED_COLUMNS, Evidence, Report, failures, judge
from feedback.datasets.names import check_dataset
from feedback.datasets.pages import put_pages
from feedback.datasets.parents import Family, count_labels
from feedback.datasets.shelf.port import Bench, Shelf
from feedback.datasets.shift import Shift, label_shift
from feedback.escaping import as_code
from schemas.instants import nanoseconds, rfc3339
from streams.log.port import Log, Positions, format_positions
from streams.store.port import Snapshot, Store
from streams.store.tables import DECLARATIONS


class Published(NamedTuple):
    """A release that is there: `MODEL@N`, where it lies, and what it says about itself.

    Without `new` it was there before: what was cut has the same content as the last of its name.
    """

    name: str
    version: int
    place: str
    manifest: Manifest
    new: bool = True


def no_progress(step: str, done: int, total: int) -> None:
    """Tells nobody."""


def parse_since(since: str | int | None) -> int | None:
    """The instant of `--since` in nanoseconds: an RFC 3339 time, or a UTC day. Raises BadRequest."""
    if since is None or isinstance(since, int):
        return since
    try:
        return nanoseconds(since if len(since) > len("2026-01-31") else f"{since}T00:00:00Z")
    except ValueError:
        raise BadRequest(f"--since {since!r} is no day, as in 2026-11-20, and no RFC 3339 time") from None


def wanted(
    model: str,
    name: str | None = None,
    *,
    since: str | int | None = None,
    model_version: str | None = None,
    segment: str | None = None,
    env: str = "prod",
) -> Wanted:
    """What is to be released, as `release` takes it. Raises BadRequest."""
    filters = Filters(env, parse_since(since), model_version, segment)
    dataset = check_dataset(model, name)
    if name is None and filters != Filters():
        raise BadRequest(
            "a release with filters carries a name, so that nobody takes it for all of the model's labels:"
            f" add --name, as in --name web for {dataset}.web@1"
        )
    return Wanted(model, name, filters)


def release(
    log: Log,
    store: Callable[[], Store],
    shelf: Shelf,
    model: str,
    name: str | None = None,
    *,
    as_of: str | Positions | None = None,
    since: str | int | None = None,
    model_version: str | None = None,
    segment: str | None = None,
    env: str = "prod",
    force: bool = False,
    allow: Collection[str] = (),
    wait: Wait | None = None,
    scratch: Scratch = sqlite_scratch,
    emit: Emit,
    now: Callable[[], int] = time.time_ns,
    progress: Progress = no_progress,
) -> Published:
    """Cut, judge, publish and announce a version of a model's dataset.

    Args:
        log: where inputs are, and what an older state is folded from.
        store: gives the live views; asked again while waiting, for they may be switched.
        shelf: where releases lie.
        name: what releases with these filters are called, `MODEL.NAME@N`; needed where there are filters.
        as_of: a vector of positions, as text or not; the log's end when left out.
        since: predictions made before are left out: an RFC 3339 time, a UTC day, or nanoseconds.
        model_version, segment, env: only predictions of these.
        force, allow: publish the last one's content again; checks that may fail: `label_shift`.
        wait: returns when the views have reached the positions that it is given; else they are polled.
        scratch: makes an empty store in a folder, for an older state.
        emit, now: puts the event into the log; the clock (ns).
        progress: is told what is being done, how much of it is done, and how much there is.

    Raises the errors of `feedback.datasets.errors`, and a `streams.projection.apply.StoreRefused` when the
    views are not those of this log.
    """
    _check_allowed(allow)
    what = wanted(model, name, since=since, model_version=model_version, segment=segment, env=env)
    vector = parse_as_of(as_of)
    with shelf.releasing(what.dataset, partial(progress, "waiting for another release", 0, 1)) as bench:
        with (
            bench.building() as aside,
            bench.building() as built,
            standing(log, store, vector, aside, wait=wait, scratch=scratch, progress=progress) as state,
        ):
            _refuse_anothers_name(shelf, state.snapshot, what)
            made = cut(log, state.snapshot, model, what.filters, built, aside, progress)
            _refuse_empty(made, model)
            # From here on the number is taken, so the earlier releases are those that are there now.
            with bench.numbered() as version:
                same = None if force else _with_content(shelf, what.dataset, made.content_hash)
                job = _Job(log, state, shelf, what, made, built, now())
                published = same or job.finished(bench, version, allow, progress)
        announce(store(), shelf, emit, model)
        put_pages(shelf, what.dataset)
    return published


def _check_allowed(allow: Collection[str]) -> None:
    refused = sorted(set(allow) - ALLOWABLE)
    if refused:
        raise BadRequest(f"--allow {refused[0]}: only {', '.join(sorted(ALLOWABLE))} may be allowed to fail")


def _with_content(shelf: Shelf, dataset: str, content_hash: str) -> Published | None:
    """The last release of a dataset, where that is its content."""
    there = versions(shelf, dataset)
    if not there:
        return None
    last = manifest(shelf, dataset, there[-1])
    if last["content_hash"] != content_hash:
        return None
    return Published(last["name"], there[-1], shelf.place(dataset, there[-1]), last, new=False)


def _refuse_anothers_name(shelf: Shelf, snapshot: Snapshot, what: Wanted) -> None:
    """Raises BadRequest where the dataset's name means something else: the names of models may have dots."""
    whose = owner(shelf, what.dataset)
    if whose is not None and whose != (what.model, what.name):
        model, name = whose
        raise BadRequest(
            f"{what.dataset} is already the name of "
            + (f"the releases {name} of the model {model}" if name else f"the releases of the model {model}")
            + ": give these another --name"
        )
    if what.name is not None and any(snapshot.get(DECLARATIONS, [(what.dataset,)])):
        raise BadRequest(
            f"there is a model {what.dataset}, whose releases will be called so: give these another --name"
        )


_WHY = {
    "no_input_ref": "without `input` or `input_ref` a row has no split: send one of them with the prediction",
    "tie": "no label has more votes than every other",
    "outside_filters": "left out by the filters",
}


def _refuse_empty(made: Cut, model: str) -> None:
    if made.census.total:
        return
    left_out = {**made.census.left_out, "outside_filters": made.census.filtered}
    reasons = ", ".join(f"{count:,} {reason} ({_WHY[reason]})" for reason, count in left_out.items() if count)
    raise NothingToRelease(
        f"no labelled prediction of {model} can be released: "
        + (
            f"{reasons}."
            if reasons
            else "there are no labels. Labels come from corrections and yes-confirmations; those of a model"
            " version without `model.declared` wait (`loopline waiting`)."
        ),
        {reason: count for reason, count in left_out.items() if count},
    )


class _Job:
    """One release in the making: what was cut, and what its ancestors were."""

    def __init__(
        self,
        log: Log,
        state: Standing,
        shelf: Shelf,
        what: Wanted,
        made: Cut,
        built: Path,
        instant: int,
    ) -> None:
        self._log = log
        self._state = state
        self._what = what
        self._made = made
        self._built = built
        self._instant = instant
        self._family = Family(shelf, what.dataset, log.identity, state.vector)

    def _column(self, splits: Collection[str], name: str) -> Any:
        return self._made.rows(self._built, [name], splits)[name]

    def finished(self, bench: Bench, version: int, allow: Collection[str], progress: Progress) -> Published:
        """Judge, describe and publish it. Raises GateFailed, and keeps it aside, when it does not pass."""
        report = self.judged(allow, progress)
        content = self.described(version, report)
        if not report["passed"]:
            kept = bench.set_aside(self._built, f"{version}-{content['content_hash'][7:19]}")
            raise GateFailed(content["name"], kept, failures(report))
        return Published(content["name"], version, bench.publish(self._built, version), content)

    def judged(self, allow: Collection[str], progress: Progress) -> Report:
        """What the gate says; it is written down beside the files."""
        progress("judging", 0, 1)
        evidence = Evidence(
            schemas=self._made.schemas(self._built),
            rows=lambda: self._made.rows(self._built, JUDGED_COLUMNS),
            shapes=self._made.shapes,
            encoding=self._made.encoding["label"],
            shift=self._shift,
        )
        report = {**judge(evidence, allow), "caveats": self._caveats()}
        (self._built / "gate.json").write_bytes(
            msgspec.json.format(msgspec.json.encode(report), indent=2) + b"\n"
        )
        progress("judging", 1, 1)
        return report

    @cached_property
    def _shift(self) -> Shift | None:
        """How the labels differ from the parent's."""
        if self._family.parent is None:
            return None
        labels = count_labels(self._column(TRAINING, "label"), self._made.encoding["label"])
        return label_shift(labels, self._family.labels())

    def _caveats(self) -> list[str]:
        """What the gate lets pass, and whoever trains on it should know."""
        refused, parent = self._made.refused, self._family.parent
        caveats = [refused.sentence()] if refused.refused else []
        if parent is not None:
            here, before = manifests.described_filters(self._what.filters), parent["recipe"]["filters"]
            changed = [
                f"{name} is {as_code(value or 'any')}, was {as_code(before.get(name) or 'any')}"
                for name, value in here.items()
                if value != before.get(name)
            ]
            if changed:
                caveats.append(f"The filters are not those of {parent['name']}: {'; '.join(changed)}.")
        return caveats

    def described(self, version: int, report: Report) -> Manifest:
        """Write card, Croissant file and manifest; gives the manifest."""
        made, parent, what = self._made, self._family.parent, self._what
        content: Manifest = {
            "name": f"{what.dataset}@{version}",
            "dataset": what.dataset,
            "model": what.model,
            "release_name": what.name,
            "version": version,
            "format": manifests.FORMAT,
            "content_hash": made.content_hash,
            "as_of": format_positions(self._state.vector),
            "log": manifests.described_log(self._log.identity),
            "released_at": rfc3339(self._instant),
            "rows": made.census.total,
            "splits": {
                split: {"rows": made.census.rows[split], "hash": made.splits[split].hash} for split in SPLITS
            },
            "parents": [] if parent is None else [parent["name"]],
            "recipe": manifests.recipe(what.model, what.filters, self._state.views_version),
            "schema": manifests.described_columns(),
            "encoding": made.encoding,
            "inputs": {"included": made.inputs_found, "by_reference": made.census.total - made.inputs_found},
            "labels": manifests.counted_labels(made.rows(self._built, ["label"])),
            **manifests.counted_census(made.census),
            "label_invalid": made.refused.document(),
            "moved_to_audit": self._family.moved_to_audit(lambda: self._column(("audit",), "input_ref")),
            "audited_later": self._family.audited_later(lambda: self._column(TRAINING, "input_ref")),
            "gate": {
                "passed": report["passed"],
                "checks": manifests.checks_in_short(report),
                "caveats": report["caveats"],
            },
            "label_shift": None
            if self._shift is None
            else {**self._shift._asdict(), "means": self._shift.sentence()},
            "allowed": report["allowed"],
        }
        rows = {f"{split}.parquet": made.census.rows[split] for split in SPLITS}
        rows["lineage.parquet"] = made.lineage_rows
        files = manifests.described_files(self._built, rows)
        for split, written in made.splits.items():
            files[f"{split}.parquet"]["decoded_bytes"] = written.decoded_bytes
        described = croissant(content, files)
        (self._built / "croissant.json").write_bytes(
            msgspec.json.format(msgspec.json.encode(described), indent=2) + b"\n"
        )
        content["files"] = files
        (self._built / "README.md").write_text(card(content), encoding="utf-8")
        content["files"] = manifests.described_files(self._built, rows, known=files)
        manifests.write(self._built, content)
        return content
