"""What the steps of the demo share: the server and how to speak to it, the cast, the figures so far.

What is done and told is in `examweek` and `afterwards`.
"""

from __future__ import annotations

import contextlib
import io
from collections import Counter
from collections.abc import Iterator, Sequence
from itertools import groupby
from typing import Any

import msgspec

from feedback.demo.answers import SOURCES, Act
from feedback.demo.exam import Form, Reader, Size, deal, forms
from feedback.demo.mischief import BATCH
from feedback.demo.telling import Teller
from feedback.demo.venues import Venue
from feedback.server_client import Answer, OverHttp, path_of
from loopline import Client

_CHUNK = 100


class DemoFailed(RuntimeError):
    """The server did what it should not, or did not do what it should."""


class Stage:
    """The demo in progress.

    Args:
        venue, url: where the server runs.
        teller: whom to tell.
        size: how many pictures take part.
    """

    def __init__(self, venue: Venue, url: str, teller: Teller, size: Size) -> None:
        self.folder = venue.folder
        self._words = venue.words
        self.url = url
        self.teller = teller
        self.piles = deal(size)
        self.first = Reader([(picture.pixels, picture.truth) for picture in self.piles.known])
        self.forms: list[Form] = forms(self.piles.exam, self.first)
        self.form_of = {form.prediction_id: form for form in self.forms}
        self.sent: Counter[str] = Counter()
        self.repeated = 0
        self.followed = ""
        self._service = OverHttp(url)
        self._clients = {source: Client(url, source=source, strict=True) for source in SOURCES}

    def client(self, source: str) -> Client:
        """The client of one place that speaks."""
        return self._clients[source]

    # ---------------------------------------------------------------------------------------- sending

    def play(self, label: str, acts: Sequence[Act]) -> None:
        """Send what people do through their clients; returns when the server has answered for all of it."""
        with self.teller.progress(label, len(acts)) as done:
            for start in range(0, len(acts), _CHUNK):
                chunk = acts[start : start + _CHUNK]
                for act in chunk:
                    self._do(act)
                self.settle()
                done(len(chunk))

    def _do(self, act: Act) -> None:
        call = getattr(self._clients[act.source], act.call)
        for _ in range(act.times):
            call(**act.arguments)
        self.sent[act.call] += 1
        self.repeated += act.times - 1

    def settle(self) -> None:
        """Wait until the server has answered for everything. Raises DemoFailed."""
        for client in self._clients.values():
            if not client.flush(30):
                raise DemoFailed(f"{self.url} did not take everything within 30 s")

    # ---------------------------------------------------------------------------------------- reading

    def post(self, body: bytes, media_type: str) -> Answer:
        """One request to the collector as any program could make it."""
        return self._service.request("POST", "/v1/events", body, {"content-type": media_type})

    def ask(self, *parts: str, **query: Any) -> Any:
        """What the server answers, once its views hold everything acknowledged so far. Raises DemoFailed."""
        position = self.post(b"[]", BATCH).json()["position"]
        answer = self._service.request("GET", path_of("v1", *parts, **query, after=position))
        if answer.status != 200:
            raise DemoFailed(f"{parts} answered {answer.status}: {answer.body.decode(errors='replace')}")
        return answer.json()

    def pages(self, *parts: str, **query: Any) -> Iterator[Any]:
        """The items of a list, page after page."""
        following = None
        while True:
            page = self.ask(*parts, **query, limit=1000, next=following)
            yield from page["items"]
            following = page["next"]
            if following is None:
                return

    def waiting(self) -> Counter[str]:
        """How many events wait, by what for: a prediction, a join key, a declaration."""
        return Counter(item["waits_for"].partition(":")[0] for item in self.pages("waiting"))

    def dead_letters(self) -> dict[str, list[Any]]:
        """What was refused, by code."""
        items = sorted(self.pages("dead-letters"), key=lambda item: item["code"])
        return {code: list(group) for code, group in groupby(items, lambda item: item["code"])}

    def metric(self, name: str) -> int:
        """A counter as a scrape of `/metrics` shows it. Raises DemoFailed."""
        text = self._service.request("GET", "/metrics").body.decode()
        for line in text.splitlines():
            if line.startswith(f"{name} "):
                return int(float(line.partition(" ")[2]))
        raise DemoFailed(f"{self.url}/metrics has no {name}")

    def loopline(self, *words: str) -> Any:
        """What the command line says, as its `--json` document. Raises DemoFailed."""
        from feedback.cli import main

        # All of it is named here: what the environment names may be somebody's own.
        where = [*self._words, "--url", self.url]
        said = io.StringIO()
        with contextlib.redirect_stdout(said):
            status = main([*words, *where, "--json"], standalone_mode=False)
        if status:
            raise DemoFailed(f"loopline {' '.join(words)} ended with {status}: {said.getvalue()}")
        return msgspec.json.decode(said.getvalue())

    def close(self) -> None:
        """Close the connections."""
        for client in self._clients.values():
            client.close()
        self._service.close()
