"""The load generator: so many POSTs over so many kept-alive connections, in a process of its own.

Bytes are prepared before the clock starts and answers are barely read, so that little of the machine goes to
asking. The same for every server. Bounded in count and in time.
"""

from __future__ import annotations

import asyncio
import contextlib
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from statistics import median
from typing import cast

import msgspec

from benchmarks.measuring import quantile
from benchmarks.workload import Workload

LONGEST_S = 120.0
_LENGTH = b"\r\ncontent-length: "
ONE, MANY = "application/json", "application/cloudevents-batch+json"


class Load(msgspec.Struct, frozen=True):
    """What to ask: `requests` of `batch` events (1: no array) each, over `connections`, events by `seed`.

    `pace` is requests a second over all connections; 0 is as fast as the answers come.
    """

    port: int
    requests: int
    connections: int
    batch: int = 1
    seed: int = 1
    pace: float = 0.0


class Outcome(msgspec.Struct):
    """What came of it. Latencies are seconds."""

    requests: int
    failed: int
    seconds: float
    median_s: float
    p99_s: float
    first_failure: str = ""

    @property
    def a_second(self) -> float:
        """Answered requests a second."""
        return (self.requests - self.failed) / self.seconds


class Pacer:
    """Spreads requests evenly over time; each one asks how long it has to wait."""

    def __init__(self, a_second: float) -> None:
        self._every = 1 / a_second if a_second else 0.0
        self._next = time.perf_counter()

    def delay(self) -> float:
        """Seconds from now to the next request's turn."""
        due = self._next
        self._next = due + self._every
        return due - time.perf_counter() if self._every else 0.0


class Connection(asyncio.Protocol):
    """One connection: sends a request, waits for its answer, sends the next."""

    def __init__(
        self, waiting: list[bytes], latencies: list[float], failures: list[str], pacer: Pacer
    ) -> None:
        self._waiting = waiting
        self._pacer = pacer
        self._latencies = latencies
        self._failures = failures
        self._buffer = b""
        self._sent_at = 0.0
        self._transport: asyncio.Transport | None = None
        self.done: asyncio.Future[None] = asyncio.get_running_loop().create_future()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Remember where to write."""
        # uvloop's transports are no subclasses of asyncio's.
        self._transport = cast(asyncio.Transport, transport)

    def start(self) -> None:
        """Send the first request."""
        self._send()

    def data_received(self, data: bytes) -> None:
        """Collect an answer; when it is whole, send the next request."""
        answer = self._buffer + data if self._buffer else data
        end = answer.find(b"\r\n\r\n")
        # Both servers write header names in lower case; what has no length is never whole.
        start = answer.find(_LENGTH, 0, end)
        start += len(_LENGTH)
        if start < len(_LENGTH) or len(answer) < end + 4 + int(answer[start : answer.find(b"\r", start)]):
            self._buffer = answer
            return
        self._buffer = b""
        self._latencies.append(time.perf_counter() - self._sent_at)
        if not answer.startswith(b"HTTP/1.1 200"):
            self._failures.append(answer.decode("latin-1")[:500])
        self._send()

    def connection_lost(self, error: Exception | None) -> None:
        """A server that hangs up has failed the request that was on its way."""
        if not self.done.done():
            self._failures.append(f"the server hung up: {error}")
            self.done.set_result(None)

    def _send(self) -> None:
        assert self._transport is not None
        if not self._waiting:
            if not self.done.done():
                self.done.set_result(None)
            self._transport.close()
            return
        request = self._waiting.pop()
        delay = self._pacer.delay()
        if delay > 0:
            asyncio.get_running_loop().call_later(delay, self._send_now, request)
        else:
            self._send_now(request)

    def _send_now(self, request: bytes) -> None:
        assert self._transport is not None
        self._sent_at = time.perf_counter()
        self._transport.write(request)


def requests_of(load: Load) -> list[bytes]:
    """The requests as bytes, the first to send last."""
    workload = Workload(load.seed)
    kind = ONE if load.batch == 1 else MANY
    head = (
        f"POST /v1/events HTTP/1.1\r\nhost: 127.0.0.1:{load.port}\r\ncontent-type: {kind}\r\ncontent-length: "
    ).encode()
    prepared = []
    for _ in range(load.requests):
        items = workload.events(load.batch)
        body = items[0] if load.batch == 1 else b"[" + b",".join(items) + b"]"
        prepared.append(head + str(len(body)).encode() + b"\r\n\r\n" + body)
    return prepared[::-1]


async def ask(load: Load, prepared: list[bytes]) -> Outcome:
    """Send everything; returns when every answer is there or the time is over."""
    loop = asyncio.get_running_loop()
    latencies: list[float] = []
    failures: list[str] = []
    connections: list[Connection] = []
    pacer = Pacer(load.pace)
    for _ in range(load.connections):
        _, connection = await loop.create_connection(
            lambda: Connection(prepared, latencies, failures, pacer), "127.0.0.1", load.port
        )
        connections.append(connection)
    started = time.perf_counter()
    for connection in connections:
        connection.start()
    waiting = asyncio.gather(*(connection.done for connection in connections))
    with contextlib.suppress(TimeoutError):
        await asyncio.wait_for(waiting, LONGEST_S)
    seconds = time.perf_counter() - started
    if not latencies:
        latencies.append(seconds)
    return Outcome(
        len(latencies),
        len(failures),
        seconds,
        median(latencies),
        quantile(latencies, 0.99),
        failures[0] if failures else "",
    )


def run(load: Load) -> Outcome:
    """Generate the load from a process of its own."""
    done = subprocess.run(
        [sys.executable, "-m", "benchmarks.load"],
        input=msgspec.json.encode(load),
        stdout=subprocess.PIPE,
        check=True,
        timeout=LONGEST_S * 2,
        cwd=Path(__file__).parent.parent,
    )
    outcome = msgspec.json.decode(done.stdout, type=Outcome)
    if outcome.failed:
        raise RuntimeError(f"{outcome.failed} of {outcome.requests} requests failed: {outcome.first_failure}")
    return outcome


def main(arguments: Sequence[str] = ()) -> None:
    """Read a Load from standard input, write its Outcome to standard output."""
    import uvloop

    load = msgspec.json.decode(sys.stdin.buffer.read(), type=Load)
    prepared = requests_of(load)
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        outcome = runner.run(ask(load, prepared))
    sys.stdout.buffer.write(msgspec.json.encode(outcome))


if __name__ == "__main__":
    main()
