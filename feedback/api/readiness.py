"""`GET /healthz` and `/readyz`: alive, and making progress.

Ready means that the log can be written and that the views move: a process that is up but stuck is not.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from typing import Any

from starlette.requests import Request
from starlette.responses import Response

from feedback.api.errors import Unavailable
from feedback.api.reading import json_response, on_thread, view_of
from feedback.api.services import Services, services_of
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


def assess(services: Services, progress: Progress) -> tuple[list[str], dict[str, Any]]:
    """Why the server is not ready, if it is not; and what was looked at."""
    reasons: list[str] = []
    failed_at = services.appender.failed_at
    # A failure is old after a while: only the next append can tell, and somebody must send it.
    if failed_at is not None and time.monotonic() - failed_at < progress.stuck_after_s:
        reasons.append(services.appender.failure)
    says = services.worker()
    if says.state == REFUSED:
        reasons.append(f"the worker refuses to run: {says.reason}")
    standing: dict[int, int] = {}
    try:
        with view_of(services) as view:
            positions = view.snapshot.positions()
            standing = {partition: applied.offset for partition, applied in positions.items()}
            behind = lag(positions, view.ends)
    except Unavailable as missing:
        reasons.append(missing.detail)
        behind = sum(services.log.ends().values())
    still = progress.observe(standing, behind)
    if behind > 0 and still >= progress.stuck_after_s:
        reasons.append(
            f"the views are {behind} blocks behind and have not moved for {still:.0f} s: "
            + (f"the worker is {says.state}: {says.reason}" if says.reason else "is the worker running?")
        )
    looked_at = {
        "position": services.appender.position,
        "views_at": format_positions(standing),
        "lag_blocks": behind,
        "worker": says.state,
    }
    return reasons, looked_at


async def healthz(request: Request) -> Response:
    """The process answers."""
    return json_response({"status": "ok"})


async def readyz(request: Request) -> Response:
    """Whether events can be written down and become visible; if not, why."""
    services: Services = services_of(request)
    progress: Progress = request.app.state.progress
    reasons, looked_at = await on_thread(services, lambda: assess(services, progress))
    body = {"status": "unavailable" if reasons else "ready", "reasons": reasons, **looked_at}
    return json_response(body, 503 if reasons else 200)
