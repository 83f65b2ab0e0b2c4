"""Models and their versions: what was declared, deployed, evaluated and learned from, and which one serves.

All of it is what was data in events of the model; how many predictions a version made comes from the
counts, so that a model that only ever answered is there too.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Sequence
from typing import Any, NamedTuple

from msgspec import Struct, json

from schemas import kinds
from schemas.identity import pack, unpack
from schemas.instants import rfc3339
from streams.fold.declarations import for_later
from streams.queries.pages import Page, listing, token
from streams.store.port import Range, Snapshot
from streams.store.tables import COUNTS, DECLARATIONS, MODEL_EVENTS, PREDICTIONS, Declaration, ModelEvent

TOKEN = tuple[str]
"""Of a list of models the last one's name, of a model's versions the last version."""

SERVING = frozenset({kinds.MODEL_DEPLOYED.name, kinds.MODEL_ROLLED_BACK.name})
"""After one of these another version serves."""
_OF_A_VERSION = SERVING | {kinds.MODEL_DECLARED.name, kinds.EVALUATION_RECORDED.name}

Node = dict[str, Any]


class Most(NamedTuple):
    """How much is shown: versions of a model, and of a version the latest evaluations, spans and datasets."""

    versions: int
    of_each: int


LISTED = Most(versions=10, of_each=5)
"""Of each model in a list."""

_OF_EACH_ALONE = 20


class _Named(Struct):
    """What is read of each event of a model; the rest only of those that are shown."""

    model_version: str


class _Served(Struct):
    """What a deployment or rollback says."""

    model_version: str
    why: str | None = None
    datasets: tuple[str, ...] = ()


_named = json.Decoder(_Named)
_served = json.Decoder(_Served)


def models(snapshot: Snapshot, page: Page, env: str = "prod") -> Node:
    """A page of models by name, each as `model` shows it with its latest versions and the one that serves."""
    after = None if page.after is None else page.after[0]
    known = {
        name
        for table in (MODEL_EVENTS, PREDICTIONS)
        for name in snapshot.distinct(table, "model", after=after, limit=page.limit + 1)
    }
    names = sorted(known)[: page.limit + 1]
    shown = names[: page.limit]
    made = _predictions(snapshot, shown, env)
    items = [_model(snapshot, name, made[name], env, LISTED) for name in shown]
    return listing(items, shown[-1:] if len(names) > page.limit else None)


def model(snapshot: Snapshot, name: str, page: Page, env: str = "prod") -> Node | None:
    """A model and a page of its versions, the latest first; None when nothing is known of it."""
    known = (
        snapshot.distinct(table, "model", Range(name, name), limit=1) for table in (MODEL_EVENTS, PREDICTIONS)
    )
    if not any(known):
        return None
    made = _predictions(snapshot, [name], env)[name]
    after = None if page.after is None else page.after[0]
    return _model(snapshot, name, made, env, Most(page.limit, _OF_EACH_ALONE), after)


def _predictions(snapshot: Snapshot, names: Sequence[str], env: str) -> defaultdict[str, dict[str, int]]:
    """How many predictions each version of some neighbouring models made."""
    made: defaultdict[str, dict[str, int]] = defaultdict(dict)
    if names:
        where = {"model": Range(names[0], names[-1]), "kind": kinds.PREDICTION_MADE.name, "env": env}
        for name, version, n, _ in snapshot.totals(COUNTS, ["model", "model_version"], where):
            made[name][version] = n
    return made


def _model(
    snapshot: Snapshot, name: str, made: dict[str, int], env: str, most: Most, after: str | None = None
) -> Node:
    events = ModelEvent.read_all(snapshot.get(MODEL_EVENTS, [(name,)]))
    told = sorted(
        (event for event in events if event.kind in _OF_A_VERSION),
        key=lambda event: (event.at, unpack(event.id), event.source),
    )
    of_version: defaultdict[str, list[ModelEvent]] = defaultdict(list)
    for event in told:
        of_version[_named.decode(event.data).model_version].append(event)
    spans = _spans([event for event in told if event.kind in SERVING and event.env == env])
    serving = next((version for version, all_of in spans.items() if all_of[-1]["until"] is None), None)
    # The one that came last is first; those that only answered come behind.
    versions = [*reversed(of_version), *sorted(made.keys() - of_version.keys(), reverse=True)]
    shown, is_last = _shown(versions, most.versions, after)
    # A list has no further pages of versions, and shows the one that serves in any case.
    beside = [serving] if most == LISTED and serving is not None and serving not in shown else []
    declared = _declared(snapshot, name, [*shown, *beside])
    found: Node = {
        "model": name,
        "serving": serving,
        "predictions": sum(made.values()),
        "versions_total": len(versions),
        "versions": [
            {
                "model_version": version,
                "declared": declared.get(version),
                "serving": version == serving,
                "predictions": made.get(version, 0),
                **_deployed(spans.get(version, []), most.of_each),
                **_told(of_version[version], env, most.of_each),
            }
            for version in [*shown, *beside]
        ],
    }
    if not is_last:
        found["versions_next"] = token([shown[-1]])
    return found


def _shown(versions: list[str], most: int, after: str | None) -> tuple[list[str], bool]:
    """The versions of a page, and whether they are the last."""
    begin = 0
    if after is not None:
        begin = versions.index(after) + 1 if after in versions else len(versions)
    return versions[begin : begin + most], begin + most >= len(versions)


def _declared(snapshot: Snapshot, name: str, versions: Sequence[str]) -> dict[str, Node]:
    """What some versions may answer, and whose declaration says so; what describes it is in the event."""
    rows = snapshot.get(DECLARATIONS, [(name, version) for version in versions])
    own = {each.model_version: each for each in Declaration.read_all(rows)}
    common = for_later(snapshot, [name]).get(name)
    serving = {version: own.get(version, common) for version in versions}
    keys = {(name, pack(each.id), each.source) for each in serving.values() if each is not None}
    events = {
        (event.id, event.source): event for event in ModelEvent.read_all(snapshot.get(MODEL_EVENTS, keys))
    }
    found = {}
    for version, row in serving.items():
        if row is not None:
            data = json.decode(events[pack(row.id), row.source].data)
            found[version] = {
                "output_shape": json.decode(row.shape),
                "description": data.get("description"),
                "from": None if row.model_version == version else row.model_version,
                "later_versions": row.later is not None,
                "at": rfc3339(row.at),
            }
    return found


def _spans(serving: Sequence[ModelEvent]) -> dict[str, list[Node]]:
    """When each version served, oldest first: from its deployment, or a rollback to it, to the next one's."""
    spans: dict[str, list[Node]] = {}
    current: Node | None = None
    version = None
    for event in serving:
        data = _served.decode(event.data)
        if data.model_version == version:
            continue
        if current is not None:
            current["until"] = rfc3339(event.at)
        version = data.model_version
        current = {"since": rfc3339(event.at), "until": None, "by": event.kind, "why": data.why}
        spans.setdefault(version, []).append(current)
    return spans


def _deployed(spans: list[Node], most: int) -> Node:
    """The latest of a version's spans, oldest first."""
    return {"deployed": spans[-most:], **({"deployed_more": True} if len(spans) > most else {})}


def _told(events: list[ModelEvent], env: str, most: int) -> Node:
    """How a version did and what it learned from, the latest first."""
    here = [event for event in reversed(events) if event.env == env]
    evaluations = [event for event in here if event.kind == kinds.EVALUATION_RECORDED.name]
    datasets = list(dict.fromkeys(_learned_from(here)))
    found: Node = {
        "evaluations": [_evaluation(event) for event in evaluations[:most]],
        "datasets": datasets[:most],
    }
    for name, all_of in (("evaluations", evaluations), ("datasets", datasets)):
        if len(all_of) > most:
            found[f"{name}_more"] = True
    return found


def _learned_from(events: Sequence[ModelEvent]) -> Iterator[str]:
    for event in events:
        if event.kind == kinds.MODEL_DEPLOYED.name:
            yield from _served.decode(event.data).datasets


def _evaluation(event: ModelEvent) -> Node:
    data = json.decode(event.data)
    return {
        "at": rfc3339(event.at),
        "metrics": [
            {
                "name": each["name"],
                "value": each["value"],
                **{end: each.get(end) for end in ("n", "low", "high")},
            }
            for each in data["metrics"]
        ],
        "dataset": data.get("dataset"),
        "split": data.get("split"),
        "id": unpack(event.id),
        "source": event.source,
    }
