"""`GET /healthz` and `/readyz`: alive, and making progress.

Ready means that the log can be written and that the views move: a process that is up but stuck is not.
Where the views are kept by workers elsewhere, a server that can write goes on taking events in while they
stand still: it says `degraded`, and why, and stays in use.
"""

from __future__ import annotations

import asyncio
import threading
import time
from collections.abc import Callable, Sequence
from concurrent.futures import Future
from typing import Any, NamedTuple

from starlette.requests import Request
from starlette.responses import Response

from feedback.api.errors import Unavailable
from feedback.api.reading import json_response, view_of
from feedback.api.services import Services, services_of
from feedback.readers import Readers
from feedback.settings import without_password
from schemas.problems import CANNOT_FOLD
from streams.log.port import Positions, format_positions, parse_positions
from streams.queries.dead_letters import set_aside_count
from streams.queries.freshness import lag
from streams.store.port import Snapshot

STUCK_AFTER_S = 15.0
# Whoever asks has less patience than a machine that hangs.
ANSWER_S = 3.0
REFUSED = "refused"
_LOG, _VIEWS = "the log does not answer", "the views do not answer"


class Progress:
    """Remembers when the views last moved, or had nothing to do.

    Args:
        clock: monotonic, in seconds.
        stuck_after_s: for how long views that are behind may stand still, and a failed append count.
    """

    def __init__(
        self, clock: Callable[[], float] = time.monotonic, stuck_after_s: float = STUCK_AFTER_S
    ) -> None:
        self.stuck_after_s = stuck_after_s
        self._clock = clock
        self._guard = threading.Lock()
        self._standing: dict[int, int] | None = None
        self._behind = 0
        self._moved = clock()
        self._look: Future[Assessment] | None = None
        self._thread = Readers(1, "readiness")
        self.waits_for = _LOG
        """What the look that is under way waits for."""

    @property
    def standing(self) -> dict[int, int]:
        """Where the views stood when they were seen last."""
        return self._standing or {}

    def look(self, services: Services) -> tuple[Future[Assessment], bool]:
        """A look at the log, the worker and the views, and whether it begins now.

        One at a time, on a thread that does nothing else: one that hangs keeps neither readers nor the
        process's end, and a thousand looks are no thousand threads.
        """
        with self._guard:
            begins = self._look is None or self._look.done()
            if self._look is None or begins:
                self._look = self._thread.submit(assess, services, self)
            return self._look, begins

    def observe(self, standing: dict[int, int], behind: int) -> float:
        """Note where the views stand; returns for how many seconds they have been behind without moving."""
        with self._guard:
            now = self._clock()
            # From the first sight of a lag on: how long there was nothing to do before it does not count.
            if behind == 0 or self._behind == 0 or standing != self._standing:
                self._moved = now
            self._standing, self._behind = standing, behind
            return now - self._moved


class Assessment(NamedTuple):
    """Why nothing can be written, why the views do not move, if so; what they lack; what was looked at."""

    writing: list[str]
    views: list[str]
    looked_at: dict[str, Any]
    lacking: Sequence[str] = ()


def assess(services: Services, progress: Progress) -> Assessment:
    """Look at the log, the worker and the views."""
    writing = _failed_append(services, progress)
    reasons: list[str] = []
    says = services.worker()
    if says.state == REFUSED:
        reasons.append(f"the worker refuses to run: {says.reason}")
    standing: dict[int, int] = {}
    ends = _acknowledged(services)
    behind = 0
    lacking: list[str] = []
    try:
        progress.waits_for = _LOG
        # What others have appended is in it too, the views may stand there already; what was acknowledged
        # here since the log was asked is not.
        ends = {each: max(end, ends.get(each, 0)) for each, end in services.ends()[1].items()}
        behind = sum(ends.values())
        progress.waits_for = _VIEWS
        with view_of(services) as view:
            positions = view.snapshot.positions()
            standing = {partition: applied.offset for partition, applied in positions.items()}
            behind = lag(positions, ends)
            lacking = set_aside(view.snapshot)
            services.clocks.stamped(max((applied.received for applied in positions.values()), default=0))
    except Unavailable as missing:
        reasons.append(missing.detail)
    except services.away as error:
        writing.append(f"the log does not answer: {without_password(str(error))}")
    still = progress.observe(standing, behind)
    if behind > 0 and still >= progress.stuck_after_s:
        reasons.append(
            f"the views are {behind} blocks behind and have not moved for {still:.0f} s: "
            + (f"the worker is {says.state}: {says.reason}" if says.reason else "is the worker running?")
        )
    lacking += services.clocks.reasons()
    return Assessment(writing, reasons, _looked_at(ends, standing, behind, says.state), lacking)


def set_aside(snapshot: Snapshot) -> list[str]:
    """That some events could not be brought into the views, if so."""
    count = set_aside_count(snapshot)
    if not count:
        return []
    said = (
        f"{count} {'event' if count == 1 else 'events'} could not be brought into the views and"
        f" {'was' if count == 1 else 'were'} set aside: `loopline dead-letters list --code {CANNOT_FOLD}`"
        " lists them; upgrade, then `loopline replay`"
    )
    return [said]


def _acknowledged(services: Services) -> dict[int, int]:
    """Where the log ends by what this server knows without asking."""
    return parse_positions(services.appender.position)


def _failed_append(services: Services, progress: Progress) -> list[str]:
    """Why the last append failed. That is old after a while: only the next one can tell."""
    failed_at = services.appender.failed_at
    if failed_at is None or time.monotonic() - failed_at >= progress.stuck_after_s:
        return []
    return [without_password(services.appender.failure)]


def _looked_at(ends: Positions, standing: Positions, behind: int, worker: str) -> dict[str, Any]:
    return {
        "position": format_positions(ends),
        "views_at": format_positions(standing),
        "lag_blocks": behind,
        "worker": worker,
    }


def _unanswered(services: Services, progress: Progress) -> Assessment:
    """What is known while a look has not come back."""
    writing = _failed_append(services, progress)
    views: list[str] = []
    (writing if progress.waits_for is _LOG else views).append(f"{progress.waits_for} within {ANSWER_S:g} s")
    ends, standing = _acknowledged(services), progress.standing
    behind = sum(max(0, end - standing.get(partition, 0)) for partition, end in ends.items())
    looked_at = _looked_at(ends, standing, behind, services.worker().state)
    return Assessment(writing, views, looked_at, services.clocks.reasons())


async def looked(services: Services, progress: Progress) -> Assessment:
    """A look that began after now; or what is known without it, when it takes too long."""
    deadline = time.monotonic() + ANSWER_S
    # One that is under way may have begun before; whoever begins the next, it is new enough.
    for _ in range(2):
        look, begins = progress.look(services)
        left = max(0.0, deadline - time.monotonic())
        done, _unfinished = await asyncio.wait([asyncio.wrap_future(look)], timeout=left)
        if not done:
            return _unanswered(services, progress)
        if begins:
            break
    return look.result()


async def healthz(request: Request) -> Response:
    """The process answers, and says which log it serves: whoever connects compares."""
    return json_response({"status": "ok", "log": request.app.state.fingerprint})


async def readyz(request: Request) -> Response:
    """Whether events can be written down and become visible; if not, why."""
    services: Services = services_of(request)
    progress: Progress = request.app.state.progress
    found = await looked(services, progress)
    unavailable = bool([*found.writing, *found.views] if services.own_views else found.writing)
    reasons = [*found.writing, *found.views, *found.lacking]
    status = "unavailable" if unavailable else "degraded" if reasons else "ready"
    body = {"status": status, "reasons": reasons, **found.looked_at}
    return json_response(body, 503 if unavailable else 200)
