"""What the first page shows, from one view: numbers with the n that they rest on, and lists with an end."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from feedback.api.services import View
from feedback.datasets.errors import ShelfUnreachable
from feedback.shares import shown as shown_rate
from models.estimate import Estimate, estimate
from schemas import kinds, problems
from schemas.stages import Stage
from streams.log.port import DEAD
from streams.queries.counts import counts
from streams.queries.dead_letters import recent_dead_letters, settled_counts
from streams.queries.feedback import feedback, no_lineage
from streams.queries.freshness import lag
from streams.queries.pages import Page
from streams.queries.payloads import latest
from streams.queries.waiting import waiting, waiting_count
from streams.store.tables import COUNTS, DEAD_LETTERS

_EVERYTHING = Page(limit=1000)
_DETAILS = {"for": "for ", "dataset": "", "model_version": "", "code": ""}
_TONES = {Stage.RECEIVED: "done", Stage.WAITING: "wait", Stage.RETRACTED: "bad", Stage.DISCARDED: "bad"}
_UNITS = ((86_400, "d"), (3_600, "h"), (60, "min"))


NO_LOG: dict[str, Any] = {"latest": [], "settled": {}, "dead_letters": []}
"""What is shown of the log while it does not answer."""


def from_views(view: View, shown: int) -> dict[str, Any]:
    """What comes from the views alone; `shown` is the length of its lists."""
    by_kind = counts(view.snapshot, ("kind",), _EVERYTHING, env="prod")["items"]
    return {
        "kinds": by_kind,
        "predictions": sum(item["n"] for item in by_kind if item["kind"] == kinds.PREDICTION_MADE.name),
        "feedback_n": sum(item["n"] for item in by_kind if item["kind"].startswith(kinds.FEEDBACK)),
        "rates": _rates(view),
        "waiting_n": waiting_count(view.snapshot),
        "waiting": waiting(view.snapshot, view.now, Page(limit=shown))["items"],
        "dead_letter_counts": {
            code: view.snapshot.count(DEAD_LETTERS, {"code": code})
            for code in (*problems.COLLECTOR_CODES, *problems.WORKER_CODES)
        },
        "lag": None if view.ends is None else lag(view.snapshot.positions(), view.ends.ends),
        **view.freshness(),
    }


def from_log(view: View, shown: int) -> dict[str, Any]:
    """What needs the log's own blocks too: the latest, and what was put back."""
    refused = view.snapshot.positions().get(DEAD)
    end = 0 if refused is None else refused.offset
    return {
        "latest": _latest(view, shown),
        "settled": settled_counts(view.snapshot, view.payloads),
        "dead_letters": recent_dead_letters(view.snapshot, view.payloads, end, shown),
    }


def open_refusals(refused: Mapping[str, int], settled: Mapping[str, int]) -> dict[str, Any]:
    """(code, title, how many) of what was refused and is open: it was not put back; and the sums."""
    every = ((code, problems.TITLES[code], n - settled.get(code, 0)) for code, n in refused.items())
    still_open = [entry for entry in every if entry[2]]
    return {
        "refused": still_open,
        "refused_n": sum(n for _, _, n in still_open),
        "settled_n": sum(settled.values()),
    }


def _rates(view: View) -> list[dict[str, Any]]:
    """Shares that a page can show at a glance, each with its n and a 95% interval, or without enough data."""
    thumb, confirmation = kinds.THUMB.name, kinds.CONFIRMATION.name
    n = {
        (kind, value): n
        for kind in (thumb, confirmation)
        for value, n, _ in view.snapshot.totals(COUNTS, ["value"], {"kind": kind, "env": "prod"})
    }
    shares = (
        ("Thumbs up", (thumb, "up"), (thumb, "down")),
        ("Confirmed with yes", (confirmation, "yes"), (confirmation, "no")),
    )
    return [
        {"name": name, "rate": estimate(n.get(good, 0), n.get(good, 0) + n.get(bad, 0))}
        for name, good, bad in shares
    ]


def _latest(view: View, shown: int) -> list[dict[str, Any]]:
    """The latest feedback, each with what is true about it now."""
    items = []
    lineage = view.services.lineage
    for arrived in latest(view.services.log, kinds.PREFIX + kinds.FEEDBACK, shown):
        try:
            known = feedback(view.snapshot, view.payloads, arrived.id, arrived.source, lineage)
        except ShelfUnreachable:
            # The page says so where the datasets are; each stage before them is true.
            lineage = no_lineage
            known = feedback(view.snapshot, view.payloads, arrived.id, arrived.source, lineage)
        age_s = (view.now - arrived.received) / 1e9
        shown_as = [_chip(stage) for stage in known[0]["timeline"]] if known else []
        items.append(
            {"event": arrived, "age_s": age_s, "known": known[0] if known else None, "chips": shown_as}
        )
    return items


def _chip(stage: dict[str, Any]) -> dict[str, str]:
    """A stage in a few words, and the tone to show it in."""
    details = [f"{word}{stage[name]}" for name, word in _DETAILS.items() if name in stage]
    text = " ".join([stage["stage"].replace("_", " "), *details])
    return {"text": text, "at": stage["at"], "tone": _TONES.get(stage["stage"], "good")}


def describe_age(seconds: float) -> str:
    """A duration as people say it: 3 s, 12 min, 2 h, 5 d."""
    for length, unit in _UNITS:
        if seconds >= length:
            return f"{int(seconds // length)} {unit}"
    return f"{max(0, int(seconds))} s"


def described_rate(rate: Estimate) -> str:
    """A rate with its interval and its n in whole percents, or that there is too little data for one."""
    return shown_rate(rate, digits=0)
