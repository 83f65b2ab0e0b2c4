"""`GET /healthz` and `/readyz`: alive, and making progress.

Ready means that the log can be written and that the views move: a process that is up but stuck is not.
Where the views are kept by workers elsewhere, a server that can write goes on taking events in while they
stand still: it says `degraded`, and why, and stays in use.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from typing import Any, NamedTuple

from starlette.requests import Request
from starlette.responses import Response

from feedback.api.errors import Unavailable
from feedback.api.reading import json_response, on_thread, view_of
from feedback.api.services import Services, services_of
from feedback.settings import without_password
from streams.log.port import format_positions
from streams.queries.freshness import lag

STUCK_AFTER_S = 15.0
REFUSED = "refused"


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
    """Why nothing can be written, why the views do not move, if so; and what was looked at."""

    writing: list[str]
    views: list[str]
    looked_at: dict[str, Any]


def assess(services: Services, progress: Progress) -> Assessment:
    """Look at the log, the worker and the views."""
    writing: list[str] = []
    reasons: list[str] = []
    failed_at = services.appender.failed_at
    # A failure is old after a while: only the next append can tell, and somebody must send it.
    if failed_at is not None and time.monotonic() - failed_at < progress.stuck_after_s:
        writing.append(without_password(services.appender.failure))
    says = services.worker()
    if says.state == REFUSED:
        reasons.append(f"the worker refuses to run: {says.reason}")
    standing: dict[int, int] = {}
    behind = 0
    position = services.appender.position
    try:
        ends = services.ends()[1]
        # What others have appended is in it too: the views may stand there already.
        position, behind = format_positions(ends), sum(ends.values())
        with view_of(services) as view:
            positions = view.snapshot.positions()
            standing = {partition: applied.offset for partition, applied in positions.items()}
            behind = lag(positions, view.ends)
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
    looked_at = {
        "position": position,
        "views_at": format_positions(standing),
        "lag_blocks": behind,
        "worker": says.state,
    }
    return Assessment(writing, reasons, looked_at)


async def healthz(request: Request) -> Response:
    """The process answers."""
    return json_response({"status": "ok"})


async def readyz(request: Request) -> Response:
    """Whether events can be written down and become visible; if not, why."""
    services: Services = services_of(request)
    progress: Progress = request.app.state.progress
    found = await on_thread(services, lambda: assess(services, progress))
    reasons = [*found.writing, *found.views]
    unavailable = bool(reasons if services.own_views else found.writing)
    status = "unavailable" if unavailable else "degraded" if reasons else "ready"
    body = {"status": status, "reasons": reasons, **found.looked_at}
    return json_response(body, 503 if unavailable else 200)
