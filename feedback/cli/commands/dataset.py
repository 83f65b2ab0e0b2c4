"""`loopline dataset`: cutting a release, and looking at those that are there."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any, NamedTuple

import click
import msgspec

from feedback.cli.answers import Stages, answer, table
from feedback.cli.connect import (
    Compared,
    ask,
    cluster_of,
    connect,
    is_served,
    pages,
    place_of,
    works_here,
)
from feedback.cli.options import Choices, Group, command
from feedback.cli.output import note
from feedback.datasets.errors import EventRefused, NotAnnounced
from feedback.datasets.shelf.address import shelf_of
from feedback.datasets.shelf.port import Shelf
from feedback.installation.home import Home
from feedback.installation.port import NothingHere
from feedback.plurals import many
from feedback.redaction import redacted
from feedback.server_client import EventSender, NotAccepted, Service, path_of
from schemas.errors import Refused, Unavailable

if TYPE_CHECKING:
    from feedback.datasets.release import Published

_MOST_LABELS = 10


@click.group(cls=Group, short_help="Release, list, show and compare dataset versions.")
def dataset() -> None:
    """Cut training data from what people said, and look at the versions that were cut."""


def _shelf(choices: Choices) -> Shelf:
    """Where releases lie: where --datasets says, else in the home."""
    return shelf_of(choices["datasets"] or Home(choices.home).datasets)


class _AtPlace(NamedTuple):
    """Log, views and shelf of a place, and the way into its log."""

    shelf: Shelf
    log: Any
    store: Any
    emit: Any


@contextlib.contextmanager
def _at_place(choices: Choices) -> Iterator[_AtPlace]:
    """The place's log and views: beside its server, or under a home's lock when there is none."""
    from feedback.processes.home_server import InProcess

    place = place_of(choices)
    with connect(choices) as service, contextlib.closing(place):
        sender = EventSender(service, choices["retry_for"])

        def emit(event: dict[str, Any]) -> str | None:
            try:
                return sender.send_event(event)
            except NotAccepted as error:
                raise EventRefused(error.code, error.detail, error.position) from None

        if isinstance(service, InProcess):
            yield _AtPlace(_shelf(choices), service.log, lambda: service.store, emit)
        elif isinstance(place, Home) and not place.exists():
            raise Refused(
                f"a release is cut where the log is, and there is none at {place.path}: run this on the"
                " machine of the server, with its --home; or name --log and --store"
            )
        else:
            # Before hours of cutting, and not when the event is to be sent.
            (service if isinstance(service, Compared) else Compared(service, place)).compare()
            with contextlib.closing(place.open_log()) as log:
                yield _AtPlace(_shelf(choices), log, place.current_store, emit)


@command("release", short_help="Cut an immutable version.")
@click.argument("model")
@click.option(
    "--as-of",
    metavar="P:OFFSET,...",
    help="The state of the log to cut from, as an answer's `position` names it. Default: its end.",
)
@click.option(
    "--since", metavar="TIME", help="Only predictions made from then on: a UTC day or an RFC 3339 time."
)
@click.option("--model-version", metavar="VERSION", help="Only predictions of this version.")
@click.option("--segment", metavar="SEGMENT", help="Only predictions of this segment.")
@click.option(
    "--env", metavar="NAME", default="prod", show_default=True, help="Only predictions of this environment."
)
@click.option(
    "--name",
    metavar="NAME",
    help="What releases with these filters are called: MODEL.NAME@N. Needed with them.",
)
@click.option("--force", is_flag=True, help="Release the same content as the last one again.")
@click.option(
    "--allow", multiple=True, metavar="CHECK", help="A check of the gate that may fail: label_shift."
)
def release(
    choices: Choices,
    model: str,
    as_of: str | None,
    since: str | None,
    model_version: str | None,
    segment: str | None,
    env: str,
    name: str | None,
    force: bool,
    allow: tuple[str, ...],
) -> None:
    """Cut a version of MODEL's dataset from its labels: Parquet files, lineage, card and manifest.

    It must pass the gate (schema, nulls, label set, duplicates, split leakage, label shift); one that does
    not is kept aside with the report, and the exit status is 1. The same --as-of gives the same content.
    A release with filters (--since, --model-version, --segment, --env) carries a --name and is
    MODEL.NAME@N, with versions and a latest of its own. Without anything new there is no new version.
    """
    from feedback.datasets.release import release as cut
    from feedback.datasets.release import wanted

    # What cannot be meant is said before anything is opened.
    wanted(model, name, since=since, model_version=model_version, segment=segment, env=env)
    if not isinstance(works_here(choices), Home) and choices["datasets"] is None:
        raise click.UsageError(
            "--datasets (LOOPLINE_DATASETS) is not set: releases of a log on Kafka go where every machine"
            " finds them, as s3://BUCKET/PREFIX; on a single machine a folder will do"
        )
    stages = Stages()
    with _at_place(choices) as there:
        try:
            published = cut(
                there.log,
                there.store,
                there.shelf,
                model,
                name,
                as_of=as_of,
                since=since,
                model_version=model_version,
                segment=segment,
                env=env,
                force=force,
                allow=allow,
                emit=there.emit,
                progress=stages,
            )
        finally:
            stages.close()
    document = {"folder": published.place, "new": published.new, **published.manifest}
    answer(choices, document, _told(published))


def _told(published: Published) -> list[str]:
    """What is said of a release: its name, what is in it, and how to load it."""
    said = published.manifest
    splits = ", ".join(f"{name} {split['rows']:,}" for name, split in said["splits"].items())
    if published.new:
        headline = f"{published.name} is released: {many(said['rows'], 'row')} ({splits})"
    else:
        rows = many(said["rows"], "row")
        headline = f"nothing new: {published.name} holds the same {rows} (--force: release again)"
    return [
        headline,
        f"  folder        {published.place}",
        f"  content hash  {said['content_hash']}",
        f"  as of         {said['as_of']}",
        *_caveats(said),
        "",
        f'  loopline.datasets.load("{published.name}", split="train", as_="pandas")',
    ]


@command("list", short_help="List the versions.")
@click.argument("model", required=False)
def list_command(choices: Choices, model: str | None) -> None:
    """List the released versions: of MODEL under every name, of MODEL.NAME, or of all."""
    items = _local(choices, model) if _is_here(choices) else list(_remote(choices, model))
    rows = [(item["name"], item["rows"], item.get("as_of"), item.get("content_hash")) for item in items]
    nothing = "Nothing was released yet." if model is None else f"Nothing was released of {model} yet."
    lines = table(("dataset", "rows", "as of", "content hash"), rows) if rows else [nothing]
    answer(choices, {"items": items}, lines)


def _is_here(choices: Choices) -> bool:
    """Whether the releases are looked at where they lie, and not through a server elsewhere."""
    url = choices["url"]
    return url is None or cluster_of(choices) is not None or is_served(Home(choices.home), url)


def _remote(choices: Choices, model: str | None) -> Iterator[Any]:
    with connect(choices) as service:
        for item in pages(service, "v1", "datasets"):
            if model is None or model in (item["model"], item["name"].rpartition("@")[0]):
                yield item


def _local(choices: Choices, model: str | None) -> list[Any]:
    from feedback.datasets.catalogue import list_releases

    place = place_of(choices)
    if isinstance(place, Home):
        place.must_exist()
    items = list_releases(_shelf(choices), model)
    if items:
        _announce_the_rest(choices, model)
    return items


def _announce_the_rest(choices: Choices, model: str | None) -> None:
    """Announce what a killed release has published, and name the latest in the folder above."""
    from feedback.datasets.announce import announce
    from feedback.datasets.catalogue import datasets, datasets_of
    from feedback.datasets.pages import put_pages

    shelf = _shelf(choices)
    for each in datasets(shelf) if model is None else datasets_of(shelf, model):
        put_pages(shelf, each)
    try:
        if not _may_be_unannounced(choices, shelf, model):
            return
        with _at_place(choices) as there:
            for name in announce(there.store(), there.shelf, there.emit, model):
                note(f"{name} was published, but its dataset.released was not in the log: sent")
    except (NotAnnounced, Unavailable) as error:
        # What there is can be listed all the same.
        note(f"some releases may not be in the log yet: {redacted(str(error))}")


def _may_be_unannounced(choices: Choices, shelf: Shelf, model: str | None) -> bool:
    """Whether the views lack the event of a release, as far as that is known without a server."""
    from feedback.datasets.announce import unannounced

    with contextlib.closing(place_of(choices)) as place:
        try:
            return bool(unannounced(place.current_store(), shelf, model))
        except NothingHere:
            return True


def _manifest(choices: Choices, name: str) -> Any:
    from feedback.datasets.catalogue import show
    from feedback.datasets.names import parse_name

    if _is_here(choices):
        return show(_shelf(choices), name)
    dataset, version = parse_name(name)
    with connect(choices) as service:
        return ask(
            service,
            path_of("v1", "datasets", dataset, str(version or _latest(service, dataset))),
            "model",
            "version",
        )


def _latest(service: Service, dataset: str) -> int:
    names = (item["name"].rpartition("@") for item in pages(service, "v1", "datasets"))
    versions = [int(version) for name, _, version in names if name == dataset]
    if not versions:
        raise Refused(f"there is no dataset {dataset} at {service.name}")
    return int(max(versions))


@command("show", short_help="Show one version.")
@click.argument("name", metavar="MODEL@N")
def show_command(choices: Choices, name: str) -> None:
    """Show a version's manifest: rows, splits, labels and what the gate said.

    MODEL@latest works too, and MODEL.NAME@N for what was released under a name.
    """
    said = _manifest(choices, name)
    lines = [
        f"{said['name']}  {many(said['rows'], 'row')}, as of {said['as_of']}, released {said['released_at']}",
        f"  content hash  {said['content_hash']}",
        f"  parents       {', '.join(said['parents']) or 'none'}",
        *_filters(said),
        *(f"  {split:<13} {content['rows']:,}" for split, content in said["splits"].items()),
        f"  gate          {'passed' if said['gate']['passed'] else 'failed'}",
        *_caveats(said),
        *_labels(said.get("labels")),
        *_counts("left out", said.get("left_out")),
    ]
    answer(choices, said, lines)


def _filters(said: Any) -> list[str]:
    """What chose the rows of a release under a name; older manifests say nothing of it."""
    filters = said.get("recipe", {}).get("filters", {})
    given = [f"{name} {value}" for name, value in filters.items() if value is not None]
    return [f"  {'filters':<13} {', '.join(given)}"] if said.get("release_name") and given else []


def _caveats(said: Any) -> list[str]:
    """What to know before training on it; older manifests say nothing of it."""
    shift = said.get("label_shift")
    found = [] if shift is None else [f"  against       {', '.join(said['parents'])}: {shift['means']}"]
    return found + [f"  mind          {caveat}" for caveat in said["gate"].get("caveats", ())]


def _labels(counted: Any) -> list[str]:
    if not isinstance(counted, dict) or not counted.get("listed"):
        return []
    shown = counted["listed"][:_MOST_LABELS]
    listed = ", ".join(f"{_one_line(each['label'])} {each['rows']:,}" for each in shown)
    others = counted.get("others", {}).get("labels", 0) + len(counted["listed"]) - len(shown)
    return [f"  {'labels':<13} {listed}" + (f" and {others:,} others" if others else "")]


def _one_line(label: str) -> str:
    """A label as part of a line, however long it is."""
    text = " ".join(label.split())
    return text if len(text) <= 40 else f"{text[:39]}…"


def _counts(title: str, counted: Any) -> list[str]:
    if not isinstance(counted, dict) or not counted:
        return []
    return [f"  {title:<13} " + ", ".join(f"{name} {_short(count)}" for name, count in counted.items())]


def _short(value: Any) -> str:
    return f"{value:,}" if isinstance(value, int) else msgspec.json.encode(value).decode()


@command("diff", short_help="Compare two versions.")
@click.argument("before", metavar="A")
@click.argument("after", metavar="B")
def diff_command(choices: Choices, before: str, after: str) -> None:
    """Compare two versions: rows that came, went, or changed their label or split.

    Each is named as MODEL@N, or as MODEL.NAME@N where it was released under a name.
    """
    from feedback.datasets.diff import diff

    if not _is_here(choices):
        raise Refused("versions are compared where their files are: leave --url (LOOPLINE_URL) out")
    found = diff(_shelf(choices), before, after)
    answer(choices, found.document(), found.lines())


for each in (release, list_command, show_command, diff_command):
    dataset.add_command(each)
