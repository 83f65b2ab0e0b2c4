"""A whole loop in memory behind the real application: what a test sends is projected when it says so."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import pytest
import structlog
from starlette.testclient import TestClient
from structlog.testing import capture_logs

from feedback.api.readiness import ViewProgress
from feedback.api.services import Services, WorkerSays
from feedback.datasets.shelf.address import shelf_of
from feedback.server.app import build_app
from streams.log.memory import MemoryLog
from streams.log.writer import Appender
from streams.metrics import Metrics
from streams.projection.apply import advance
from streams.queries.feedback import Lineage, no_lineage
from streams.store.memory import MemoryStore
from streams.store.port import Store
from tests.streams.asking import BATCH, encoded, event

NOW = 1_796_000_000_000_000_000
"""The instant (ns) of receipt unless a test moves the clock: 2026-11-30T00:53:20Z."""


class WatchedLog(MemoryLog):
    """A log of which a test hears before something is appended: where `before_append` raises, nothing is."""

    def __init__(self, partitions: int) -> None:
        super().__init__(partitions)
        self.before_append: Callable[[], object] = lambda: None

    def append(self, records: Sequence[tuple[int, bytes]]) -> None:
        self.before_append()
        super().append(records)


class Loop:
    """A server in memory: `client` asks it, `send` hands events in and lets the views catch up."""

    def __init__(self, datasets: Path | str, partitions: int = 2, **more: Any) -> None:
        self.now = NOW
        self.log = WatchedLog(partitions)
        self.metrics = Metrics()
        self.appender = Appender(self.log, self.metrics)
        self.store: Store | Exception = MemoryStore(self.log.identity)
        self.datasets = Path(datasets)
        self.shelf = shelf_of(datasets)
        self.said = WorkerSays("running")
        self.lineage: Lineage = no_lineage
        self.app = build_app(
            log=self.log,
            writer=self.appender,
            store=self._current,
            datasets=self.shelf,
            metrics=self.metrics,
            lineage=self._lineage,
            worker=lambda: self.said,
            clock=lambda: self.now,
            elapsed=lambda: self.now,
            **more,
        )
        self.client = TestClient(self.app, raise_server_exceptions=False)

    @property
    def services(self) -> Services:
        """What its routes work with."""
        services: Services = self.app.site.state.services
        return services

    def work_with(self, **changed: Any) -> None:
        """Have its routes work with other things from now on."""
        self.app.site.state.services = self.services._replace(**changed)

    @property
    def progress(self) -> ViewProgress:
        """What it remembers of the views."""
        progress: ViewProgress = self.app.site.state.progress
        return progress

    def _current(self) -> Store:
        if isinstance(self.store, Exception):
            raise self.store
        return self.store

    def _lineage(self, model: str, event_id: str, source: str) -> Sequence[str]:
        return self.lineage(model, event_id, source)

    def project(self) -> None:
        """Let the views catch up with the log."""
        while advance(self.log, self._current()):
            pass

    def send(self, *events: Any, project: bool = True) -> Any:
        """Hand events in as one batch; gives the answer's JSON."""
        body = b"[" + b",".join(one if isinstance(one, bytes) else encoded(one) for one in events) + b"]"
        answer = self.client.post("/v1/events", content=body, headers={"content-type": BATCH})
        assert answer.status_code == 200, answer.text
        if project:
            self.project()
        return answer.json()

    def get(self, path: str, status: int = 200, /, **parameters: Any) -> Any:
        """The JSON that a route answers with."""
        answer = self.client.get(path, params=parameters)
        assert answer.status_code == status, answer.text
        if status >= 400 and path != "/readyz":
            assert answer.headers["content-type"] == "application/problem+json"
            assert answer.json()["status"] == status
        return answer.json()

    def pages(self, path: str, **parameters: Any) -> list[Any]:
        """All items of a paged list."""
        items: list[Any] = []
        while True:
            page = self.get(path, **parameters)
            items += page["items"]
            if page["next"] is None:
                return items
            assert page["items"]
            parameters["next"] = page["next"]


def made(prediction_id: str = "p-1", **data: Any) -> dict[str, Any]:
    """A prediction of model m, version 1."""
    data = {"model": "m", "model_version": "1", "output": "a", **data}
    return event(
        "prediction.made", data.pop("id", f"made-{prediction_id}"), prediction_id=prediction_id, **data
    )


def declared(version: str = "1", **shape: Any) -> dict[str, Any]:
    """A declaration of model m; labels a, b and c unless another shape is given."""
    shape = shape or {"labels": ["a", "b", "c"]}
    return event(
        "model.declared", f"declared-{version}", model="m", model_version=version, output_shape=shape
    )


def correction(event_id: str, label: Any = "b", prediction_id: str = "p-1", **data: Any) -> dict[str, Any]:
    """A correction, by ann unless somebody else is named."""
    data = {"person": "ann", **data}
    return event("feedback.correction", event_id, prediction_id=prediction_id, label=label, **data)


@pytest.fixture
def log_lines() -> Iterator[list[Any]]:
    """What is logged, at whatever level another test of this process has set."""
    before = structlog.get_config()
    structlog.reset_defaults()
    with capture_logs() as lines:
        yield lines
    structlog.configure(**before)


@pytest.fixture
def loop(tmp_path: Path) -> Iterator[Loop]:
    """A loop of two partitions, with its lifespan begun and ended."""
    loop = Loop(tmp_path / "datasets")
    with loop.client:
        yield loop
    loop.appender.stop()
