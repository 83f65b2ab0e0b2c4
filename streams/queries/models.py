"""Models and their versions: what was declared, deployed, evaluated and learned from, and which one serves.

All of it is what was said in events of the model; how many predictions a version made comes from the
counts, so that a model that only ever answered is there too.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Sequence
from typing import Any

from msgspec import json

from schemas.identity import unpack
from schemas.instants import rfc3339
from streams.declarations import rank
from streams.processors.join import PREDICTION_MADE
from streams.queries.pages import Page, listing
from streams.store.port import Range, Snapshot
from streams.store.tables import COUNTS, DECLARATIONS, MODEL_EVENTS, PREDICTIONS, Declaration, ModelEvent

TOKEN = tuple[str]

_SERVING = frozenset({"model.deployed", "model.rolled_back"})

Node = dict[str, Any]


def models(snapshot: Snapshot, page: Page, env: str = "prod") -> Node:
    """A page of models by name, each as `model` shows it."""
    after = None if page.after is None else page.after[0]
    known = {
        name
        for table in (MODEL_EVENTS, PREDICTIONS)
        for name in snapshot.distinct(table, "model", after=after, limit=page.limit + 1)
    }
    names = sorted(known)[: page.limit + 1]
    shown = names[: page.limit]
    items = _models(snapshot, shown, env)
    return listing(items, shown[-1:] if len(names) > page.limit else None)


def model(snapshot: Snapshot, name: str, env: str = "prod") -> Node | None:
    """A model and its versions, the latest first; None when nothing was ever said of it or by it."""
    known = (
        snapshot.distinct(table, "model", Range(name, name), limit=1) for table in (MODEL_EVENTS, PREDICTIONS)
    )
    return _models(snapshot, [name], env)[0] if any(known) else None


def _models(snapshot: Snapshot, names: Sequence[str], env: str) -> list[Node]:
    if not names:
        return []
    predictions: defaultdict[str, dict[str, int]] = defaultdict(dict)
    where = {"model": Range(names[0], names[-1]), "kind": PREDICTION_MADE, "env": env}
    for name, version, n, _ in snapshot.totals(COUNTS, ["model", "model_version"], where):
        predictions[name][version] = n
    declarations: defaultdict[str, list[Declaration]] = defaultdict(list)
    for row in snapshot.get(DECLARATIONS, [(name,) for name in names]):
        declarations[row[0]].append(Declaration(*row))
    events: defaultdict[str, list[ModelEvent]] = defaultdict(list)
    for row in snapshot.get(MODEL_EVENTS, [(name,) for name in names]):
        events[row[0]].append(ModelEvent(*row))
    return [_model(name, predictions[name], declarations[name], events[name], env) for name in names]


def _model(
    name: str,
    predictions: dict[str, int],
    declarations: Sequence[Declaration],
    events: Iterable[ModelEvent],
    env: str,
) -> Node:
    told = sorted(events, key=lambda event: (event.at, unpack(event.id), event.source))
    data = {id(event): json.decode(event.data) for event in told}
    own = {each.model_version: each for each in declarations}
    common = max((each for each in declarations if each.later is not None), key=rank, default=None)
    here = [event for event in told if event.env == env]
    spans = _spans([(event, data[id(event)]) for event in here if event.kind in _SERVING])
    serving = next((version for version, all_of in spans.items() if all_of[-1]["until"] is None), None)
    versions: dict[str, Node] = {}
    named = [data[id(event)]["model_version"] for event in told if event.kind in _OF_A_VERSION]
    # The one that came last is first; those that only answered come behind.
    for version in [*reversed(dict.fromkeys(named)), *sorted(predictions.keys() - named, reverse=True)]:
        versions[version] = {
            "model_version": version,
            "declared": _declared(own.get(version, common), version, told, data),
            "deployed": spans.get(version, []),
            "serving": version == serving,
            "evaluations": [],
            "datasets": [],
            "predictions": predictions.get(version, 0),
        }
    for event in reversed(here):
        said = data[id(event)]
        if event.kind == "evaluation.recorded":
            versions[said["model_version"]]["evaluations"].append(_evaluation(event, said))
        if event.kind == "model.deployed":
            learned_from = versions[said["model_version"]]["datasets"]
            learned_from += [each for each in said.get("datasets", ()) if each not in learned_from]
    return {"model": name, "serving": serving, "versions": list(versions.values())}


_OF_A_VERSION = _SERVING | {"model.declared", "evaluation.recorded"}


def _declared(
    row: Declaration | None, version: str, told: Iterable[ModelEvent], data: dict[int, Node]
) -> Node | None:
    """What a version may answer, and whose declaration says so; its description is in the event that did."""
    if row is None:
        return None
    said: Node = next(
        data[id(event)] for event in told if (unpack(event.id), event.source) == (row.id, row.source)
    )
    return {
        "output_shape": json.decode(row.shape),
        "description": said.get("description"),
        "from": None if row.model_version == version else row.model_version,
        "later_versions": row.later is not None,
        "at": rfc3339(row.at),
    }


def _spans(serving: Sequence[tuple[ModelEvent, Node]]) -> dict[str, list[Node]]:
    """When each version served, oldest first: from its deployment, or a rollback to it, to the next one's."""
    spans: dict[str, list[Node]] = {}
    current: Node | None = None
    version = None
    for event, said in serving:
        if said["model_version"] == version:
            continue
        if current is not None:
            current["until"] = rfc3339(event.at)
        version = said["model_version"]
        current = {"since": rfc3339(event.at), "until": None, "by": event.kind, "why": said.get("why")}
        spans.setdefault(version, []).append(current)
    return spans


def _evaluation(event: ModelEvent, said: Node) -> Node:
    return {
        "at": rfc3339(event.at),
        "metrics": [
            {
                "name": each["name"],
                "value": each["value"],
                **{end: each.get(end) for end in ("n", "low", "high")},
            }
            for each in said["metrics"]
        ],
        "dataset": said.get("dataset"),
        "split": said.get("split"),
        "id": unpack(event.id),
        "source": event.source,
    }
