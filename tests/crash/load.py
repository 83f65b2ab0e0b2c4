"""A product under way: sends events from several threads, again and again until they are acknowledged.

Every event has its own id, so what arrived can be counted exactly. A retry keeps the id, as a client's
must. Bounded in events and in time.
"""

from __future__ import annotations

import http.client
import json
import threading
import time
from collections.abc import Callable
from typing import Any

TIME = "2026-01-01T12:00:00Z"
BATCH = 8
PATIENCE_S = 60.0

_HEADERS = {"content-type": "application/cloudevents-batch+json"}


def _event(kind: str, event_id: str, **data: Any) -> dict[str, Any]:
    return {
        "specversion": "1.0",
        "id": event_id,
        "source": "/crash",
        "type": f"loopline.{kind}.v1",
        "time": TIME,
        "data": data,
    }


def batch(sender: int, number: int) -> list[dict[str, Any]]:
    """Predictions with a thumb each, the thumb first in every other batch, and one item that is refused."""
    events: list[dict[str, Any]] = []
    for index in range(BATCH // 2):
        name = f"{sender}-{number}-{index}"
        made = _event(
            "prediction.made", f"m-{name}", prediction_id=name, model="m", model_version="1", output="a"
        )
        thumb = _event("feedback.thumb", f"t-{name}", prediction_id=name, value="up")
        events += [thumb, made] if number % 2 else [made, thumb]
    return [*events, _event("feedback.thumb", f"bad-{sender}-{number}", value="up")]


def crossing(sender: int, number: int) -> list[dict[str, Any]]:
    """A batch whose thumbs name the product's own case: they meet their prediction across partitions."""
    events = batch(sender, number)
    for event in events[:-1]:
        data = event["data"]
        data["join_key"] = f"case-{data['prediction_id']}"
        if "value" in data:
            del data["prediction_id"]
            data["model"] = "m"
    return events


class Load:
    """Several senders, each with its batches. `address` is asked anew for every try: the server may move.

    `make` gives the batch of a sender and number: `BATCH` events, half of them predictions, and one more
    that is refused.
    """

    def __init__(
        self,
        address: Callable[[], tuple[str, int]],
        senders: int = 3,
        batches: int = 60,
        make: Callable[[int, int], list[dict[str, Any]]] = batch,
    ) -> None:
        self._address = address
        self._batches = batches
        self._make = make
        self._guard = threading.Lock()
        self.acknowledged: list[str] = []
        self.refused: list[str] = []
        self.positions: list[str] = []
        self.retries = 0
        self.failure = ""
        self._threads = [threading.Thread(target=self._run, args=[sender]) for sender in range(senders)]
        self.sent = senders * batches * BATCH

    def start(self) -> None:
        """Begin."""
        for thread in self._threads:
            thread.start()

    def wait(self) -> None:
        """Until every event was acknowledged."""
        for thread in self._threads:
            thread.join(PATIENCE_S * 2)
            assert not thread.is_alive()
        assert not self.failure, self.failure

    def done(self) -> int:
        """How many events were acknowledged so far."""
        with self._guard:
            return len(self.acknowledged)

    def reached(self, number: float) -> bool:
        """Whether so many events were acknowledged."""
        return self.done() >= number

    def _run(self, sender: int) -> None:
        for number in range(self._batches):
            events = self._make(sender, number)
            deadline = time.monotonic() + PATIENCE_S
            while events:
                answer = self._post(json.dumps(events).encode())
                if answer is not None:
                    events = self._heard(events, answer)
                if events:
                    if time.monotonic() > deadline:
                        self.failure = f"sender {sender} got no answer for batch {number}"
                        return
                    self.retries += 1
                    time.sleep(0.05)

    def _heard(self, events: list[dict[str, Any]], answer: Any) -> list[dict[str, Any]]:
        """Note what was acknowledged; gives the events that are to be sent again."""
        with self._guard:
            self.positions.append(answer["position"])
            for item in answer["items"]:
                if item["status"] != "retry":
                    kept = self.acknowledged if item["status"] == "accepted" else self.refused
                    kept.append(item["id"])
        return [events[item["index"]] for item in answer["items"] if item["status"] == "retry"]

    def _post(self, body: bytes) -> Any:
        """The answer to a batch, or None: nothing was promised, try again."""
        connection = None
        try:
            connection = http.client.HTTPConnection(*self._address(), timeout=10)
            connection.request("POST", "/v1/events", body, _HEADERS)
            answer = connection.getresponse()
            content = answer.read()
        except (OSError, http.client.HTTPException, LookupError):
            return None
        finally:
            if connection is not None:
                connection.close()
        if answer.status == 503:
            assert answer.getheader("retry-after")
            return None
        assert answer.status == 200, content
        return json.loads(content)
