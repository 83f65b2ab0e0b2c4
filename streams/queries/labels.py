"""Labels, and overrides: what people say the right answer is, for training and for one person."""

from __future__ import annotations

from typing import Any

from schemas import kinds
from schemas.identity import unpack
from schemas.instants import rfc3339
from schemas.problems import LABEL_INVALID
from streams.queries.pages import Page, listing
from streams.queries.parked import MOST_COUNTED
from streams.queries.predictions import as_json
from streams.queries.votes import shown_candidates
from streams.store.port import Range, Snapshot
from streams.store.tables import COUNTS, DEAD_LETTERS, LABELS, OVERRIDES, OVERRIDES_BY_TIME, Label, Override

TOKEN = tuple[str, bytes]


def labels(
    snapshot: Snapshot, model: str, page: Page, *, env: str = "prod", disagree: bool = False
) -> dict[str, Any]:
    """A page of a model's labels, one item a prediction; with `disagree` those with rival candidates."""
    where: dict[str, Any] = {"model": model, "env": env}
    if disagree:
        where["rivals"] = Range(2)
    rows = list(snapshot.scan(LABELS, where, after=page.after, limit=page.limit + 1))
    shown = list(Label.read_all(rows[: page.limit]))
    candidates = shown_candidates(snapshot, shown)
    items = [
        {
            "prediction_id": unpack(label.pid[1:]),
            "label": as_json(label.label),
            "agreement": label.agreement,
            "people": label.people,
            "channel": label.channel,
            "candidates": [
                {**candidate, "label": as_json(candidate["label"])} for candidate in candidates[label.pid]
            ],
            **({"rivals": label.rivals} if label.rivals > len(candidates[label.pid]) else {}),
        }
        for label in shown
    ]
    last = shown[-1] if len(rows) > page.limit else None
    return listing(items, None if last is None else (last.model, last.pid))


def refused(snapshot: Snapshot, model: str, env: str = "prod") -> dict[str, int] | None:
    """How many of how many corrections of a model have a label that is refused; None where none has."""
    where = {"model": model, "env": env}
    invalid = snapshot.count(DEAD_LETTERS, {**where, "code": LABEL_INVALID}, most=MOST_COUNTED)
    if not invalid:
        return None
    rows = snapshot.totals(COUNTS, [], {**where, "kind": kinds.CORRECTION.name})
    return {LABEL_INVALID: invalid, "corrections": next((events for _, events in rows), invalid)}


def override(
    snapshot: Snapshot, model: str, person: str, input_ref: str, env: str = "prod"
) -> dict[str, Any] | None:
    """What this person gets for this input: the label of the person's own latest correction, or None."""
    start = (model, person, input_ref, env)
    rows = snapshot.along(OVERRIDES, OVERRIDES_BY_TIME, [start], fixed=4, limit=1, descending=True)
    if not rows:
        return None
    latest = Override.read(rows[0])
    return {
        "label": as_json(latest.label),
        "id": latest.id,
        "source": latest.source,
        "at": rfc3339(latest.at),
        "prediction_id": unpack(latest.pid[1:]),
    }
