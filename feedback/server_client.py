"""Asking a Loopline server, whoever it is: one request, one answer; and sending events until it has them.

`OverHttp` speaks to a server elsewhere; `feedback.processes.home_server.InProcess` is the same without one.
Which of them a command takes is left to `feedback.cli.connect`.
"""

from __future__ import annotations

import os
import random
import time
from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple, Protocol, TypeVar
from urllib.parse import quote, urlencode

import msgspec

from feedback.installation.port import Place
from feedback.settings import value
from loopline.backoff import PAUSES, Backoff, RetryPolicy
from loopline.delivery.answers import Verdict, judge
from loopline.delivery.dividing import deliver
from loopline.delivery.transport import Transport
from loopline.errors import InvalidSetting, Unreachable
from schemas.errors import Malformed, Refused, Unavailable

T = TypeVar("T")

TIMEOUT_S = 30.0
_LARGEST_ANSWER = 1024 * 1024 * 1024


class Answer(NamedTuple):
    """An HTTP answer; header names in lower case."""

    status: int
    headers: Mapping[str, str]
    body: bytes

    def json(self) -> Any:
        """The body, decoded; None when it is not JSON."""
        try:
            return msgspec.json.decode(self.body)
        except (msgspec.DecodeError, UnicodeDecodeError):
            return None


class NoAnswer(Unavailable, ConnectionError):
    """The server could not be reached, or hung up."""


class NotAcknowledged(Unavailable):
    """Events are not known to be in the log: send them again, after `wait_s` at least."""

    def __init__(self, message: str, wait_s: float = 0.0) -> None:
        super().__init__(message)
        self.wait_s = wait_s


class NotAccepted(Refused):
    """The server refused an event and keeps it as a dead letter; sent again, it would be refused again.

    `position` covers the dead letter, where that is known.
    """

    def __init__(self, code: str, detail: str, position: str | None = None) -> None:
        super().__init__(f"it was refused ({code}): {detail}")
        self.code = code
        self.detail = detail
        self.position = position


class NoAddress(Malformed):
    """A text that is no address of a server."""


class Service(Protocol):
    """Somebody who answers requests. `name` is its address, or the home that it works on."""

    name: str

    def request(
        self, method: str, path: str, body: bytes = b"", headers: Mapping[str, str] | None = None
    ) -> Answer:
        """One request and its answer. Raises NoAnswer."""
        ...

    def close(self) -> None:
        """Let go of the connection, or of the home."""
        ...


class OverHttp:
    """A server elsewhere: one connection, kept alive, over the client's own transport. Raises NoAddress.

    Args:
        url: its address; a user and a password in it are sent, and are not in `name`.
        timeout_s: how long each step may take: resolving, connecting, a piece of the answer.
        headers: sent with each request.
        ca_bundle: certificates to trust instead of those that are usual.
        proxies: whether those of the environment are used; our own servers are reached directly.
    """

    def __init__(
        self,
        url: str,
        timeout_s: float = TIMEOUT_S,
        *,
        headers: Mapping[str, str] | None = None,
        ca_bundle: str | os.PathLike[str] | None = None,
        proxies: bool = False,
    ) -> None:
        try:
            self._transport = Transport(
                url,
                timeout_s,
                largest=_LARGEST_ANSWER,
                headers=headers,
                ca_bundle=ca_bundle,
                direct=not proxies,
            )
        except InvalidSetting as error:
            raise NoAddress(str(error)) from None
        self.name = self._transport.url

    def request(
        self, method: str, path: str, body: bytes = b"", headers: Mapping[str, str] | None = None
    ) -> Answer:
        """One request and its answer. Raises NoAnswer."""
        try:
            answer = self._transport.request(method, path, body or None, headers=headers)
        except Unreachable as error:
            raise NoAnswer(str(error)) from error
        return Answer(answer.status, answer.headers, answer.body)

    def close(self) -> None:
        """Close the connection."""
        self._transport.close()


class Body(NamedTuple):
    """Events as one request carries them."""

    content_type: str
    content: bytes


class EventSender:
    """Sends events to a server: again while it is away or cannot write, until each has its answer.

    What an answer means, how long to wait and how a batch is halved is the client's
    (`loopline.delivery.answers`, `backoff`, `dividing`): ids make a second arrival harmless.

    Args:
        service: the server.
        patience_s: for how long one call tries again; with 0 it tries once.
        headers: sent with each request.
        retry: the pauses between two tries.
        sleep: waits; `uniform`: draws a number between two, for the pauses.
    """

    def __init__(
        self,
        service: Service,
        patience_s: float = 0.0,
        headers: Mapping[str, str] | None = None,
        *,
        retry: RetryPolicy = PAUSES.retry,
        sleep: Callable[[float], None] = time.sleep,
        uniform: Callable[[float, float], float] = random.uniform,
    ) -> None:
        self._service = service
        self._patience_s = patience_s
        self._headers = headers or {}
        self._retry = retry
        self._sleep = sleep
        self._uniform = uniform

    def send(
        self,
        items: Sequence[T],
        encode: Callable[[list[T]], Body],
        settle: Callable[[list[T], Verdict], None],
    ) -> None:
        """Send items in one request, or in parts where the server will not have them whole.

        `settle` is told of each part and its verdict. Raises NotAcknowledged when patience ends or what
        answers is no Loopline, Refused when the server does not serve such requests.
        """

        def attempt(some: list[T]) -> Verdict:
            return self._attempt(encode(some), len(some))

        left = list(items)
        given_up = time.monotonic() + self._patience_s
        backoff = Backoff(self._retry, self._uniform)
        while True:
            left, verdict = deliver(left, attempt, settle)
            if not left:
                return
            if verdict.foreign and verdict.lasting:
                raise NotAcknowledged(f"{verdict.why}. Is the address right?")
            if verdict.lasting:
                raise Refused(verdict.why)
            now = time.monotonic()
            backoff.failed(now, verdict.wait_s)
            if now >= given_up or now + verdict.wait_s > given_up:
                raise NotAcknowledged(self._gave_up(verdict), verdict.wait_s)
            self._sleep(min(backoff.pause(now), given_up - now))

    def send_event(self, event: Mapping[str, Any]) -> str | None:
        """Send one CloudEvent; gives the position that covers it, where that is known.

        Raises NotAccepted when it was refused, and what `send` raises.
        """
        verdicts: list[Verdict] = []

        def encode(_: list[Mapping[str, Any]]) -> Body:
            return Body("application/x-ndjson", msgspec.json.encode(event))

        self.send([event], encode, lambda _, verdict: verdicts.append(verdict))
        position = next((each.position for each in reversed(verdicts) if each.position), None)
        for verdict in verdicts:
            for refusal in verdict.refused:
                raise NotAccepted(
                    str(refusal.problem.get("code", "refused")),
                    str(refusal.problem.get("detail", "")),
                    position,
                )
        return position

    def _gave_up(self, verdict: Verdict) -> str:
        said = verdict.why
        if verdict.wait_s:
            said += f", and asks for {verdict.wait_s:.0f} s of silence"
        return f"{said}; tried for {self._patience_s:g} s (--retry-for)" if self._patience_s else said

    def _attempt(self, body: Body, count: int) -> Verdict:
        headers = {"Content-Type": body.content_type, **self._headers}
        try:
            reply = self._service.request("POST", "/v1/events", body.content, headers)
        except NoAnswer as error:
            return Verdict(again=list(range(count)), away=True, why=str(error))
        verdict = judge(reply.status, reply.headers, reply.body, count)
        verdict.why = f"{self._service.name} {verdict.why}"
        return verdict


def reach(url: str, timeout_s: float = TIMEOUT_S) -> OverHttp:
    """A server somewhere, by the headers, certificates and proxies that are named here. Raises NoAddress."""
    return OverHttp(url, timeout_s, headers=value("headers"), ca_bundle=value("ca_bundle"), proxies=True)


def health(service: Service) -> Answer:
    """What a server says of itself. Raises NoAnswer, also for what a proxy says of a server that is away."""
    answer = service.request("GET", "/healthz")
    if answer.status >= 500:
        raise NoAnswer(f"{service.name} answers {answer.status}")
    return answer


def log_in(answer: Answer) -> str | None:
    """Which log a server serves, by what it says of itself; None when that does not say so."""
    said = answer.json()
    log = said.get("log") if isinstance(said, dict) else None
    return log if isinstance(log, str) else None


def serves(service: Service, place: Place) -> bool:
    """Whether a server serves the log that is at this place. Raises NoAnswer."""
    return log_in(health(service)) == place.fingerprint()


def address_of(host: str, port: int) -> str:
    """The address at which a server that listens there is reached from this machine."""
    reachable = {"0.0.0.0": "127.0.0.1", "::": "::1"}.get(host, host)
    return f"http://[{reachable}]:{port}" if ":" in reachable else f"http://{reachable}:{port}"


def path_of(*parts: str, **query: Any) -> str:
    """A path with its parts and query escaped; query values that are None are left out."""
    path = "/" + "/".join(quote(part, safe="") for part in parts)
    given = {name: value for name, value in query.items() if value is not None}
    return f"{path}?{urlencode(given)}" if given else path
