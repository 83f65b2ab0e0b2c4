"""`GET /metrics`: the server's counters and histograms, and two numbers read from the views."""

from __future__ import annotations

from collections.abc import Iterable

from prometheus_client import generate_latest
from prometheus_client.core import GaugeMetricFamily, Metric
from prometheus_client.exposition import CONTENT_TYPE_PLAIN_0_0_4
from prometheus_client.registry import Collector
from starlette.requests import Request
from starlette.responses import Response

from feedback.api.errors import Unavailable
from feedback.api.reading import on_thread, view_of
from feedback.api.services import Services, services_of
from streams.queries.dead_letters import set_aside_count
from streams.queries.freshness import lag
from streams.queries.waiting import waiting_count


class ViewNumbers(Collector):
    """What waits, and how far the worker is behind: read when a scrape asks."""

    def __init__(self, services: Services) -> None:
        self._services = services

    def describe(self) -> Iterable[Metric]:
        """Nothing: registering must not read the views."""
        return ()

    def collect(self) -> Iterable[Metric]:
        """The two numbers; nothing while there are no views."""
        try:
            with view_of(self._services) as view:
                parked = waiting_count(view.snapshot)
                behind = lag(view.snapshot.positions(), view.ends)
                aside = set_aside_count(view.snapshot)
        except Unavailable:
            return
        yield GaugeMetricFamily("loopline_waiting", "Events that wait for something, visibly.", parked)
        yield GaugeMetricFamily(
            "loopline_worker_lag_blocks", "Blocks of the log that the views have not seen.", behind
        )
        yield GaugeMetricFamily(
            "loopline_set_aside", "Events that could not be brought into the views: dead letters.", aside
        )


async def endpoint(request: Request) -> Response:
    """The metrics in the text format."""
    services = services_of(request)
    text = await on_thread(services, lambda: generate_latest(services.metrics.registry))
    return Response(text, media_type=CONTENT_TYPE_PLAIN_0_0_4)
