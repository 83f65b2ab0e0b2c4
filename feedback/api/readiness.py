"""`GET /healthz` and `/readyz`: alive, and making progress.

Ready means that the log can be written and that the views move: a process that is up but stuck is not.
That it can be written is told by appends alone: whether the log says where it ends is another matter.
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

from feedback.api.ends import Known
from feedback.api.errors import NoAnswerNow
from feedback.api.reading import json_response, view_of
from feedback.api.services import WAITS, Services, WorkerSays, services_of
from feedback.settings import without_password
from schemas.problems import CANNOT_FOLD
from streams.daemon_pool import DaemonPool
from streams.log.port import LogRefused, Positions, format_positions, parse_positions
from streams.queries.dead_letters import set_aside_count
from streams.queries.freshness import lag
from streams.queries.waiting import waiting_count
from streams.stillness import Stillness, while_others_did
from streams.store.port import Snapshot

REFUSED = "refused"
# Where counting is not quick, it takes a fiftieth of the time at most.
_COUNT_QUICK_S, _COUNT_SHARE = 0.05, 50


class Seen(NamedTuple):
    """What a look saw of the views; `behind` in blocks, None while nobody knows where the log ends.

    `newest` is when the last applied block was received (ns).
    """

    standing: dict[int, int]
    behind: int | None
    waiting: int
    aside: int
    newest: int


class ViewProgress:
    """Remembers when the views last moved, or had nothing to do, and what was seen of them last.

    Args:
        clock: monotonic, in seconds.
        stuck_after_s: for how long views that are behind may stand still, and a failed append count.
        hangs_after_s: a look that has not come back by then sees nothing.
    """

    def __init__(
        self,
        clock: Callable[[], float] = time.monotonic,
        stuck_after_s: float = WAITS.stuck,
        hangs_after_s: float = WAITS.ready,
    ) -> None:
        self.stuck_after_s = stuck_after_s
        self._hangs_after_s = hangs_after_s
        self._clock = clock
        self._guard = threading.Lock()
        self._standing: dict[int, int] | None = None
        self._stillness = Stillness()
        self._look: Future[Assessment] | None = None
        self._began = 0.0
        self._thread = DaemonPool(1, "readiness")
        self._seen: Seen | None = None
        self._seen_at: float | None = None
        self._waiting, self._count_at = 0, 0.0
        self.worker = ""
        """What the worker said of itself when it was asked last."""

    @property
    def standing(self) -> dict[int, int]:
        """Where the views stood when they were seen last."""
        return self._standing or {}

    @property
    def seen(self) -> Seen | None:
        """What the last look saw; None when it saw no views, or has not come back."""
        with self._guard:
            hangs = (
                self._look is not None
                and not self._look.done()
                and time.monotonic() - self._began >= self._hangs_after_s
            )
            return None if hangs else self._seen

    def age_s(self) -> float | None:
        """How many seconds ago the views were seen last; None when they never were."""
        return None if self._seen_at is None else time.monotonic() - self._seen_at

    def saw(self, seen: Seen | None) -> None:
        """A look saw this of the views, or could not see them."""
        with self._guard:
            self._seen = seen
            if seen is not None:
                self._standing, self._seen_at = seen.standing, time.monotonic()

    def waiting(self, snapshot: Snapshot) -> int:
        """How many events wait; where very many do, they are not counted at each look."""
        began = time.monotonic()
        if began >= self._count_at:
            self._waiting = waiting_count(snapshot)
            ended = time.monotonic()
            took = ended - began
            self._count_at = ended + (took * _COUNT_SHARE if took > _COUNT_QUICK_S else 0.0)
        return self._waiting

    def look(self, services: Services) -> tuple[Future[Assessment], bool]:
        """A look at the log, the worker and the views, and whether it begins now.

        One at a time, on a thread that does nothing else: one that hangs keeps neither readers nor the
        process's end, and a thousand looks are no thousand threads.
        """
        with self._guard:
            begins = self._look is None or self._look.done()
            if self._look is None or begins:
                self._began = time.monotonic()
                self._look = self._thread.submit(assess, services, self)
            return self._look, begins

    def observe(self, standing: Positions, ends: Positions) -> tuple[float, dict[int, float]]:
        """Note where the views stand, and where the log ends.

        Returns for how many seconds they have been behind without moving, and for how many each partition
        has.
        """
        with self._guard:
            now = self._clock()
            self._stillness.note({each: standing.get(each, 0) for each in ends}, ends, now)
            return self._stillness.nothing_moves_s(ends, now), self._stillness.seconds(ends, now)


class Assessment(NamedTuple):
    """Why nothing can be written, if so; why not all of it can, or the views do not move, or cannot be seen.

    Then what the views lack, and what was looked at.
    """

    writing: list[str]
    views: list[str]
    looked_at: dict[str, Any]
    lacking: Sequence[str] = ()


def assess(services: Services, progress: ViewProgress) -> Assessment:
    """Look at the log, the worker and the views."""
    writing = _failed_append(services, progress)
    reasons = _stalled(services)
    says = services.worker()
    progress.worker = says.state
    if says.state == REFUSED:
        reasons.append(f"the worker refuses to run: {says.reason}")
    known: Known | None = None
    try:
        known = services.ends()
        reasons += _silence(services)
    except LogRefused as error:
        # It is not the log that it was: nothing may be written there either.
        writing.append(f"the log does not answer: {without_password(str(error))}")
    ends = _ends(services, known) if known else None
    seen: Seen | None = None
    lacking: list[str] = []
    try:
        with view_of(services) as view:
            seen = _seen(view.snapshot, ends, progress)
            lacking = set_aside(seen.aside)
            services.clocks.stamped(seen.newest)
    except NoAnswerNow as missing:
        reasons.append(missing.detail)
    finally:
        progress.saw(seen)
    if seen is not None and ends is not None:
        reasons += _still(services, progress, seen, ends, says)
    behind = None if seen is None else seen.behind
    lacking += services.clocks.reasons()
    lacking += [without_password(said) for said in services.lacks()]
    return Assessment(writing, reasons, _looked_at(services, progress, behind), lacking)


def _still(
    services: Services, progress: ViewProgress, seen: Seen, ends: Positions, says: WorkerSays
) -> list[str]:
    """That the views do not move, or one partition does not while others do."""
    # What lies in a later epoch waits for its turn, and does not stand still.
    now = services.log.identity.unfinished(seen.standing, ends)
    ends = {each: end for each, end in ends.items() if each < now.stop}
    nothing_s, still = progress.observe(seen.standing, ends)
    if nothing_s >= progress.stuck_after_s:
        return [
            f"the views are {seen.behind} blocks behind and have not moved for {nothing_s:.0f} s: "
            + (f"the worker is {says.state}: {says.reason}" if says.reason else "is the worker running?")
        ]
    if services.own_views:
        # The one worker of a home brings the partition that is furthest behind forward first.
        return []
    return [
        while_others_did(each, still_s, ends[each] - seen.standing.get(each, 0), seen.standing.get(each, 0))
        for each, still_s in still.items()
        if still_s >= progress.stuck_after_s
    ]


def _seen(snapshot: Snapshot, ends: Positions | None, progress: ViewProgress) -> Seen:
    positions = snapshot.positions()
    return Seen(
        {partition: applied.offset for partition, applied in positions.items()},
        None if ends is None else lag(positions, ends),
        progress.waiting(snapshot),
        set_aside_count(snapshot),
        max((applied.received for applied in positions.values()), default=0),
    )


def _ends(services: Services, known: Known | None) -> dict[int, int]:
    """Where the log ends, as far as that is known without asking.

    What others have appended was in it when the log was asked, the views may stand there already; what was
    acknowledged here since then was not.
    """
    acknowledged = parse_positions(services.writer.position)
    if known is None:
        return acknowledged
    return {each: max(end, acknowledged.get(each, 0)) for each, end in known.ends.items()}


def _stalled(services: Services) -> list[str]:
    """That a part of the log takes no appends, if so; whether the rest of it does is told by appends too."""
    return [services.writer.stalled] if services.writer.stalled else []


def _silence(services: Services) -> list[str]:
    """That the log cannot be asked for its ends, if so. Whether it can be written is told by appends."""
    trouble = services.ends.trouble(services.waits.ready)
    return [] if trouble is None else [f"the log does not answer: {without_password(trouble)}"]


def set_aside(count: int) -> list[str]:
    """That so many events could not be brought into the views, if so."""
    if not count:
        return []
    said = (
        f"{count} {'event' if count == 1 else 'events'} could not be brought into the views and"
        f" {'was' if count == 1 else 'were'} set aside: `loopline dead-letters list --code {CANNOT_FOLD}`"
        " lists them; upgrade, then `loopline replay`"
    )
    return [said]


def _failed_append(services: Services, progress: ViewProgress) -> list[str]:
    """Why the last append failed. That is old after a while: only the next one can tell."""
    failed_at = services.writer.failed_at
    if failed_at is None or time.monotonic() - failed_at >= progress.stuck_after_s:
        return []
    return [without_password(services.writer.failure)]


def _looked_at(services: Services, progress: ViewProgress, behind: int | None) -> dict[str, Any]:
    """Where log and views are known to stand, and how far they are apart where both were seen."""
    return {
        "position": format_positions(_ends(services, services.ends.known)),
        "views_at": format_positions(progress.standing),
        "lag_blocks": behind,
        "worker": progress.worker,
    }


def _unanswered(services: Services, progress: ViewProgress) -> Assessment:
    """What is known while a look has not come back: it waits for the views, for the log nobody waits long."""
    views = [
        *_stalled(services),
        *_silence(services),
        f"the views do not answer within {services.waits.ready:g} s",
    ]
    looked_at = _looked_at(services, progress, None)
    return Assessment(_failed_append(services, progress), views, looked_at, services.clocks.reasons())


async def looked(services: Services, progress: ViewProgress) -> Assessment:
    """A look that began after now; or what is known without it, when it takes too long."""
    deadline = time.monotonic() + services.waits.ready
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
    progress: ViewProgress = request.app.state.progress
    found = await looked(services, progress)
    unavailable = bool([*found.writing, *found.views] if services.own_views else found.writing)
    reasons = [*found.writing, *found.views, *found.lacking]
    status = "unavailable" if unavailable else "degraded" if reasons else "ready"
    body = {"status": status, "reasons": reasons, **found.looked_at}
    return json_response(body, 503 if unavailable else 200)
