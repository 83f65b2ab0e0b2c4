"""What was refused, as lines of the log: one a code and a second at most, with how many there were.

Only numbers and codes: what was refused is in the dead letters, and who asked is nobody's business here.
"""

from __future__ import annotations

from collections.abc import Iterator

import structlog
from prometheus_client import Counter

from streams.metrics import Metrics

_log = structlog.get_logger("loopline")


class Refusals:
    """Tells what the counters of a server have gained since it was asked last."""

    def __init__(self, metrics: Metrics) -> None:
        self._counters = {"items": metrics.refused, "requests": metrics.requests_refused}
        self._told: dict[tuple[str, str], float] = {}

    def tell(self) -> None:
        """Log what is new."""
        for what, counter in self._counters.items():
            for code, count in _counts(counter):
                new = count - self._told.get((what, code), 0)
                if new > 0:
                    self._told[what, code] = count
                    _log.warning(f"{what} were refused", code=code, count=int(new))


def _counts(counter: Counter) -> Iterator[tuple[str, float]]:
    for metric in counter.collect():
        for sample in metric.samples:
            if sample.name.endswith("_total"):
                yield sample.labels["code"], sample.value
