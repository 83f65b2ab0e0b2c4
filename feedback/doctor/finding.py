"""What a look at an installation finds, and the looks that are the same for a home and a cluster."""

from __future__ import annotations

import contextlib
import time
from collections import Counter
from collections.abc import Callable, Iterator
from typing import NamedTuple, ParamSpec

from feedback.datasets.announce import unannounced
from feedback.datasets.shelf.port import Shelf
from feedback.plurals import many
from feedback.remedies import remedies
from feedback.server_client import NoAddress, NoAnswer, reach
from feedback.settings import without_password
from loopline.errors import NotLoopline
from streams.queries.dead_letters import settled_counts
from streams.queries.parked import parked
from streams.queries.payloads import Payloads
from streams.store.port import Snapshot, Store
from streams.store.tables import DEAD_LETTERS

P = ParamSpec("P")

OK, WARN, FAIL = "ok", "warn", "fail"

_CLOCK_WARN_S = 5.0
_LISTED = 5


class Finding(NamedTuple):
    """What was looked at, how it is (ok, warn or fail), what was seen, and what to do."""

    subject: str
    state: str
    said: str
    do: str = ""


Findings = Iterator[Finding]


def checked(subject: str, look: Callable[P, Findings], *args: P.args, **kwargs: P.kwargs) -> Findings:
    """What a check finds; that it fails by itself is a finding too."""
    try:
        yield from look(*args, **kwargs)
    except Exception as error:
        yield Finding(subject, FAIL, without_password(f"{type(error).__name__}: {error}"))


def contents(snapshot: Snapshot, payloads: Payloads) -> Findings:
    """What waits, and what was refused."""
    groups = parked(snapshot)
    over = "over " if any(group["more"] for group in groups) else ""
    waiting = many(sum(group["events"] for group in groups), "event")
    yield Finding("waiting", OK, f"{over}{waiting} (`loopline waiting`)")
    for each in remedies(groups):
        yield Finding("waits for", WARN if each.urgent else OK, each.said, each.do)
    codes = Counter(map(DEAD_LETTERS.column("code"), snapshot.scan(DEAD_LETTERS)))
    settled = settled_counts(snapshot, payloads)
    if not codes:
        yield Finding("dead letters", OK, "none")
        return
    still_open = codes - settled
    by_code = ", ".join(f"{code} {count:,}" for code, count in sorted(still_open.items()))
    said = f"{still_open.total():,} open{f': {by_code}' if by_code else ''}; {settled.total():,} put back"
    yield Finding("dead letters", WARN if still_open else OK, said, "`loopline dead-letters list`")


def releases(store: Store, shelf: Shelf) -> Findings:
    """Which releases the log does not know, though they were cut from it, and which cannot be read."""
    damaged: list[tuple[str, str]] = []
    missing = unannounced(store, shelf, complain=lambda name, why: damaged.append((name, why)))
    if missing:
        names = ", ".join(missing[:_LISTED]) + (" ..." if len(missing) > _LISTED else "")
        said = f"{many(len(missing), 'release')} not in the log yet: {names}"
        do = "a running server sends them within minutes, and says in its log what keeps it from that;"
        yield Finding("releases", WARN, said, f"{do} `loopline dataset list` sends them now")
    for name, why in damaged:
        do = "bring its files back from a copy, or remove its folder and release again"
        yield Finding("releases", WARN, f"{name} is damaged and is not announced: {why}", do)


def clock(newest: float) -> Findings:
    """Whether this machine's clock is behind the instant (s since 1970) when the log's last event came in."""
    ahead = newest - time.time()
    if ahead > _CLOCK_WARN_S:
        said = f"the log's last event was received {ahead:.0f} s in the future"
        do = "set the clocks here and where events are taken in: else they seem to come before earlier ones"
        yield Finding("clock", WARN, said, do)
    else:
        yield Finding("clock", OK, "not behind the log's last event")


def server(url: str, start: str) -> Findings:
    """Whether the server there is ready; `start` says what to do when it does not answer."""
    try:
        with contextlib.closing(reach(url, timeout_s=10.0)) as service:
            answer = service.request("GET", "/readyz")
    except (NoAnswer, NoAddress) as error:
        yield Finding("server", FAIL, str(error), start)
        return
    said = answer.json()
    if not isinstance(said, dict) or "status" not in said:
        yield Finding("server", FAIL, str(NotLoopline(url, f"answered {answer.status}")), "correct --url")
        return
    reasons = "; ".join(said.get("reasons") or [said.get("detail", "")])
    if answer.status != 200:
        yield Finding("server", FAIL, f"{url} is not ready: {reasons or answer.status}")
    elif said.get("status") == "degraded":
        yield Finding("server", WARN, f"{url} takes events in, but: {reasons}")
    else:
        yield Finding("server", OK, f"{url} is ready")
