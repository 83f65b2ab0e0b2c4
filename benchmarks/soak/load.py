"""A product under way: batches of all sorts, again and again until they are acknowledged; and its readers.

What was accepted is counted here, event by event, to be compared with what the views count. A batch is sent
twice now and then, and has an item that is refused.
"""

from __future__ import annotations

import contextlib
import http.client
import itertools
import json
import socket
import threading
import time
from collections import Counter
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime
from typing import Any

MODEL, VERSION = "soak", "1"
LABELS = ("ham", "spam", "other")
_PREDICTIONS = 8
_PATIENCE_S, _READ_S = 90.0, 20.0
_AT_ONCE = 10
_HEADERS = {"content-type": "application/cloudevents-batch+json"}

Address = Callable[[], tuple[str, int]]
"""Where to send the next request: a server may move. Raises LookupError while there is none."""


class Unanswered(Exception):
    """A request was not answered as it must be."""


def _event(kind: str, event_id: str, **data: Any) -> dict[str, Any]:
    return {
        "specversion": "1.0",
        "id": event_id,
        "source": "/soak",
        "type": f"loopline.{kind}.v1",
        "time": datetime.now(UTC).isoformat(),
        "data": data,
    }


def declaration() -> list[dict[str, Any]]:
    """What the model may answer."""
    shape = {"labels": list(LABELS)}
    return [_event("model.declared", "declared", model=MODEL, model_version=VERSION, output_shape=shape)]


def batch(number: int) -> list[dict[str, Any]]:
    """Predictions, and what people said about them; the feedback of every third batch comes first."""
    made, said = [], []
    for index in range(_PREDICTIONS):
        name = f"{number}-{index}"
        about = {"prediction_id": f"p-{name}", "person": f"u-{(number * 7 + index) % 500}"}
        label = LABELS[(number + index) % len(LABELS)]
        prediction = {
            "prediction_id": about["prediction_id"],
            "model": MODEL,
            "model_version": VERSION,
            "output": label,
            "input": f"text {name}",
            "segment": f"s{index % 4}",
            "join_key": f"case-{name}",
        }
        made.append(_event("prediction.made", f"m-{name}", **prediction))
        said.append(_event("feedback.thumb", f"t-{name}", **about, value="down" if index % 3 else "up"))
        if index % 2:
            right = LABELS[(number + index + 1) % len(LABELS)]
            said.append(_event("feedback.correction", f"c-{name}", **about, label=right))
    by_case = {"model": MODEL, "join_key": f"case-{number}-0", "person": "u-case"}
    said.append(_event("feedback.action", f"a-{number}", **by_case, value="copied"))
    said.append(_event("feedback.comment", f"o-{number}", **by_case, text="not what I meant"))
    refused = _event("feedback.thumb", f"bad-{number}", value="up")
    return [*(said + made if number % 3 == 0 else made + said), refused]


def kind_of(event: dict[str, Any]) -> str:
    """The kind under which an event is counted."""
    return str(event["type"]).removeprefix("loopline.").removesuffix(".v1")


class Product:
    """Sends batches, and remembers what was accepted."""

    def __init__(self, address: Address) -> None:
        self._address = address
        self._numbers = itertools.count()
        self._guard = threading.Lock()
        self._accepted: set[str] = set()
        self.kinds: Counter[str] = Counter()
        self.position = ""
        self.tries_again = 0

    @property
    def accepted(self) -> int:
        """How many events were accepted, each once."""
        return len(self._accepted)

    def send(self, seconds: float, a_second: float) -> None:
        """Send so many batches a second for a while, from three threads."""
        due = [number / a_second for number in range(max(1, int(seconds * a_second)))]
        began = time.monotonic()

        def one(after_s: float) -> None:
            time.sleep(max(0.0, began + after_s - time.monotonic()))
            number = next(self._numbers)
            for _ in range(2 if number % 10 == 0 else 1):
                self.hand_over(batch(number))

        with ThreadPoolExecutor(3) as pool:
            list(pool.map(one, due))

    def hand_over(self, events: Sequence[dict[str, Any]]) -> None:
        """Send a batch until every item was answered. Raises Unanswered."""
        deadline = time.monotonic() + _PATIENCE_S
        left = list(events)
        while left:
            answer = self._post(json.dumps(left).encode())
            if answer is not None:
                left = self._heard(left, answer)
            if left:
                if time.monotonic() > deadline:
                    raise Unanswered(f"a batch was not acknowledged within {_PATIENCE_S:.0f} s")
                with self._guard:
                    self.tries_again += 1
                time.sleep(0.1)

    def _heard(self, events: list[dict[str, Any]], answer: Any) -> list[dict[str, Any]]:
        again = []
        with self._guard:
            self.position = answer["position"]
            for item in answer["items"]:
                event = events[item["index"]]
                if item["status"] == "retry":
                    again.append(event)
                elif item["status"] == "accepted" and event["id"] not in self._accepted:
                    self._accepted.add(event["id"])
                    self.kinds[kind_of(event)] += 1
                elif item["status"] == "refused" and not event["id"].startswith("bad-"):
                    raise Unanswered(f"an event was refused: {item}")
        return again

    def _post(self, body: bytes) -> Any:
        """The answer to a batch, or None: nothing was promised, try again."""
        try:
            status, content = request(self._address(), "POST", "/v1/events", body)
        except (OSError, http.client.HTTPException, LookupError):
            return None
        if status == 503:
            return None
        if status != 200:
            raise Unanswered(f"a batch was answered with {status}: {content[:300]!r}")
        return json.loads(content)


def request(address: tuple[str, int], method: str, path: str, body: bytes = b"") -> tuple[int, bytes]:
    """One request on a connection of its own. Raises OSError or HTTPException."""
    connection = http.client.HTTPConnection(*address, timeout=30)
    try:
        connection.request(method, path, body or None, _HEADERS if body else {})
        answer = connection.getresponse()
        return answer.status, answer.read()
    finally:
        connection.close()


class Readers:
    """Whoever reads: everything in bursts, and one who looks at `/readyz` and `/metrics` all the time."""

    def __init__(self, address: Address, a_second: float = 5.0) -> None:
        self._address = address
        self._pause_s = 1 / a_second
        self.looks = 0
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._look, daemon=True)
        self._thread.start()

    def close(self) -> None:
        """Look no more."""
        self._over.set()
        self._thread.join()

    def _look(self) -> None:
        for path in itertools.cycle(("/readyz", "/metrics", "/healthz")):
            if self._over.wait(self._pause_s):
                return
            with contextlib.suppress(OSError, http.client.HTTPException, LookupError):
                request(self._address(), "GET", path)
                self.looks += 1

    def burst(self, position: str, times: int = 3) -> None:
        """Ten at a time: everything that can be read, some of it in vain, and some who hang up half way."""
        paths = [
            "/",
            "/readyz",
            "/metrics",
            "/openapi.json",
            "/v1/counts?by=kind,value,segment",
            f"/v1/labels/{MODEL}?limit=50",
            f"/v1/overrides/{MODEL}?person=u-1&input_ref={'0' * 64}",
            f"/v1/outcomes/{MODEL}",
            "/v1/predictions/p-1-1",
            "/v1/predictions/none",
            "/v1/feedback/t-1-1?source=/soak",
            "/v1/waiting",
            "/v1/dead-letters?limit=20",
            "/v1/datasets",
            f"/v1/datasets/{MODEL}/1/files/train.parquet",
            f"/v1/waiting?after={position}",
        ]
        with ThreadPoolExecutor(_AT_ONCE) as pool:
            statuses = list(pool.map(self._read, paths * times))
            list(pool.map(self._hang_up, range(_AT_ONCE)))
        wrong = [(path, each) for path, each in zip(paths * times, statuses, strict=True) if each >= 500]
        if wrong:
            raise Unanswered(f"GET {wrong[0][0]} was answered with {wrong[0][1]}")

    def _read(self, path: str) -> int:
        """The status of a read; 503 says that it is to be tried again, as while views are switched."""
        deadline = time.monotonic() + _READ_S
        while True:
            status, _ = request(self._address(), "GET", path)
            if status != 503 or time.monotonic() > deadline:
                return status
            time.sleep(0.2)

    def _hang_up(self, number: int) -> None:
        head = b"POST /v1/events HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Length: 1000\r\n\r\n["
        with contextlib.suppress(OSError), socket.create_connection(self._address(), timeout=10) as half:
            half.sendall(head if number % 2 else b"GET /v1/counts HTTP/1.1\r\nHo")
