"""What the running server counts and times, under the contract's Prometheus names.

One `Metrics` a server, on a registry of its own, so that two servers in one process do not meet.
Numbers that are read from the views at scrape time are left to `feedback.api.metrics`.
"""

from __future__ import annotations

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram

_SECONDS = (0.0005, 0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1.0, 2.0, 5.0)


class Metrics:
    """The counters and histograms of one server."""

    def __init__(self) -> None:
        self.registry = CollectorRegistry()
        self.accepted = Counter(
            "loopline_events_accepted_total",
            "Events that are on disk and were answered with a 2xx.",
            registry=self.registry,
        )
        self.refused = Counter(
            "loopline_events_refused_total",
            "Items that were refused, by problem code.",
            ["code"],
            registry=self.registry,
        )
        self.requests_refused = Counter(
            "loopline_requests_refused_total",
            "Requests that were refused before anything looked at what they ask, by problem code.",
            ["code"],
            registry=self.registry,
        )
        self.clock_ahead = Counter(
            "loopline_clock_ahead_total",
            "Accepted events whose own time was later than their receipt.",
            registry=self.registry,
        )
        self.not_durable = Counter(
            "loopline_not_durable_total",
            "Requests that were answered with 503, because nothing could be written down.",
            registry=self.registry,
        )
        self.ack_seconds = Histogram(
            "loopline_ack_seconds",
            "From a request's last byte to its events being on disk.",
            buckets=_SECONDS,
            registry=self.registry,
        )
        self.commit_seconds = Histogram(
            "loopline_commit_seconds",
            "One append to the log, its sync to disk included.",
            buckets=_SECONDS,
            registry=self.registry,
        )
        self.read_seconds = Histogram(
            "loopline_read_seconds",
            "A read route, waiting for `after` included.",
            ["route"],
            buckets=_SECONDS,
            registry=self.registry,
        )
        self.intake_lag = Gauge(
            "loopline_intake_lag_records",
            "Records of the intake topic that this collector is to read and has not put into the log.",
            registry=self.registry,
        )
        self.intake_unread = Counter(
            "loopline_intake_deleted_unread_total",
            "Records of the intake topic that the broker deleted before they were read.",
            registry=self.registry,
        )
