"""From acknowledged to visible, under load: the real collector and the real worker, two processes.

A load generator sends 1,000 events a second, ten a request. Beside it a prober posts one event, notes when
the answer came, and looks into the store until the event is there; then the next. What a reader over HTTP
would add, one request, is left out.
"""

from __future__ import annotations

import http.client
import tempfile
import threading
import time
from pathlib import Path

from benchmarks import load as generator
from benchmarks.load import ONE, Load, Outcome
from benchmarks.measuring import quantile
from benchmarks.report import Row
from benchmarks.scale import Scale
from benchmarks.workload import Workload
from feedback.installation.home import Home
from feedback.processes.supervisor import Supervisor
from schemas.identity import prediction_key
from streams.store.sqlite.store import SqliteStore
from streams.store.tables import PREDICTIONS

A_SECOND = 1_000

_IN_A_REQUEST = 10
_LOOK_EVERY_S = 0.002
_LONGEST_S = 10.0
_PAUSE_S = 0.02


class Invisible(RuntimeError):
    """An acknowledged event did not come into the views."""


def _wait_for(store: SqliteStore, prediction_id: str, since: float) -> float:
    key = prediction_key(prediction_id)
    while True:
        with store.snapshot() as snapshot:
            seen = bool(snapshot.get(PREDICTIONS, [(key,)]))
        waited = time.perf_counter() - since
        if seen:
            return waited
        if waited > _LONGEST_S:
            raise Invisible(f"{prediction_id} was acknowledged {waited:.0f} s ago and is not in the views")
        time.sleep(_LOOK_EVERY_S)


def probe(store: SqliteStore, port: int, stop: threading.Event) -> list[float]:
    """Seconds from each acknowledgement to the event in the views, one probe after the other."""
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=_LONGEST_S)
    taken: list[float] = []
    workload = Workload(seed=99)
    while not stop.is_set():
        name, item = workload.prediction(f"probe-{len(taken)}")
        connection.request("POST", "/v1/events", item, {"content-type": ONE})
        response = connection.getresponse()
        body = response.read()
        acknowledged = time.perf_counter()
        if response.status != 200:
            raise Invisible(f"the probe was refused: {body!r}")
        taken.append(_wait_for(store, name, acknowledged))
        stop.wait(_PAUSE_S)
    connection.close()
    return taken


def _under_load(home: Home, port: int, seconds: float) -> tuple[list[float], Outcome]:
    requests = int(seconds * A_SECOND / _IN_A_REQUEST)
    outcomes: list[Outcome] = []
    failures: list[Exception] = []
    over = threading.Event()

    def send() -> None:
        try:
            outcomes.append(
                generator.run(
                    Load(port, requests, 8, batch=_IN_A_REQUEST, pace=A_SECOND / _IN_A_REQUEST, seed=3)
                )
            )
        except Exception as error:
            failures.append(error)
        finally:
            over.set()

    store = home.current_store()
    sender = threading.Thread(target=send)
    sender.start()
    try:
        taken = probe(store, port, over)
    finally:
        sender.join()
    if failures:
        raise failures[0]
    return taken, outcomes[0]


def measure(scale: Scale) -> list[Row]:
    """Two rows: the median, and the 99th percentile."""
    with tempfile.TemporaryDirectory(dir=scale.folder) as place:
        home = Home(Path(place) / "home")
        server = Supervisor(home, port=0, log_level="error")
        url = server.start()
        try:
            _until_views(home)
            taken, outcome = _under_load(home, int(url.rpartition(":")[2]), scale.visible_seconds)
        finally:
            home.close()
            server.stop()
    details: dict[str, float | int | str] = {
        "probes": len(taken),
        "events/s reached": outcome.requests * _IN_A_REQUEST / outcome.seconds,
        "seconds": outcome.seconds,
        "longest (ms)": max(taken) * 1e3,
    }
    what = f"acknowledged to visible in the views at {A_SECOND:,} events/s"
    return [
        Row(
            name=name,
            what=f"{what}, {label}",
            bound=bound,
            reached=quantile(taken, share) * 1e3,
            unit="ms",
            details=details,
        )
        for name, label, share, bound in (
            ("visible", "median", 0.5, 250.0),
            ("visible-p99", "99th percentile", 0.99, 1000.0),
        )
    ]


def _until_views(home: Home) -> None:
    """The worker makes the store a moment after the collector answers."""
    deadline = time.monotonic() + _LONGEST_S
    while home.current_path() is None and time.monotonic() < deadline:
        time.sleep(0.05)
