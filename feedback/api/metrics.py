"""`GET /metrics`: the server's counters and histograms, and what the last look saw of the views.

Nothing is asked for it: whatever hangs, the counters are told at once, and what cannot be seen is left out.
"""

from __future__ import annotations

from collections.abc import Iterable

from prometheus_client import generate_latest
from prometheus_client.core import GaugeMetricFamily, Metric
from prometheus_client.exposition import CONTENT_TYPE_PLAIN_0_0_4
from prometheus_client.registry import Collector
from starlette.requests import Request
from starlette.responses import Response

from feedback.api.readiness import ViewProgress
from feedback.api.services import services_of


class ViewNumbers(Collector):
    """What waits, and how far the worker is behind, as seen last; nothing while the views are not seen."""

    def __init__(self, progress: ViewProgress) -> None:
        self._progress = progress

    def describe(self) -> Iterable[Metric]:
        """Nothing: which numbers there are is a matter of the last look."""
        return ()

    def collect(self) -> Iterable[Metric]:
        """The numbers, and the age of the last look that saw the views."""
        age_s = self._progress.age_s()
        if age_s is not None:
            yield GaugeMetricFamily(
                "loopline_views_age_seconds",
                "How long ago the views were seen last.",
                age_s,
            )
        seen = self._progress.seen
        if seen is None:
            return
        yield GaugeMetricFamily("loopline_waiting", "Events that wait for something, visibly.", seen.waiting)
        yield GaugeMetricFamily(
            "loopline_set_aside", "Events that could not be brought into the views: dead letters.", seen.aside
        )
        if seen.behind is not None:
            yield GaugeMetricFamily(
                "loopline_worker_lag_blocks", "Blocks of the log that the views have not seen.", seen.behind
            )


async def endpoint(request: Request) -> Response:
    """The metrics in the text format."""
    text = generate_latest(services_of(request).metrics.registry)
    return Response(text, media_type=CONTENT_TYPE_PLAIN_0_0_4)
