"""The background half of the client: batches, sends, waits and sends again, in a daemon thread.

It sends what failed before first, then the spool, then the queue. An event leaves memory and disk only when
the server has accepted or refused it, or when it is counted as dropped. What an answer means is judged in
:mod:`loopline.answers`, how long to wait in :mod:`loopline.backoff`; :mod:`loopline.spooler` fills the spool.
"""

from __future__ import annotations

import logging
import os
import random
import threading
import time
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import msgspec

from loopline.answers import Verdict, judge
from loopline.backoff import Backoff
from loopline.errors import Unreachable
from loopline.lifetime import end_with_worker, look_after
from loopline.outbox import BATCH_BYTES, BATCH_ITEMS, Outbox
from loopline.spooler import SYNC_EVERY_S, Spooler
from loopline.transport import Transport

if TYPE_CHECKING:
    from loopline.spool import Batch, Spool

log = logging.getLogger("loopline")

OnRefused = Callable[[dict[str, Any], dict[str, Any]], object]

_BREATH_S = 0.1
_ADOPT_EVERY_S = 30.0
_REPORT_EVERY_S = 10.0

_decode = msgspec.json.Decoder().decode


class Sender:
    """Delivers what is put into its outbox. Threads start with the first event, and anew after a fork.

    ``linger`` is how long the first event of a batch waits for company, in seconds.
    """

    def __init__(
        self,
        transport: Transport,
        outbox: Outbox,
        spool: Spool | None,
        on_refused: OnRefused | None,
        linger: float,
    ) -> None:
        self.outbox = outbox
        self.spool = spool
        self._transport = transport
        self._on_refused = on_refused
        self._linger = linger
        self._begin_process()
        look_after(self)

    def _begin_process(self) -> None:
        """The state that belongs to one process; none of it survives a fork."""
        self._pid = os.getpid()
        self._backoff = Backoff(random.Random().uniform)
        self._thread: threading.Thread | None = None
        self._spooler: Spooler | None = None
        self._stopping = False
        self._hurried = False
        # Sent before and to be sent again, where there is no spool; and what is under way right now.
        self._pending: list[bytes] = []
        self._in_flight: list[bytes] = []
        self._ended = threading.Event()
        self._report_at = 0.0
        self._reported = 0
        # What earlier processes left is not known before the first look into the folder.
        self._looked = self.spool is None

    def after_fork(self) -> None:
        """In the child: forget the parent's events, threads, connection and locks."""
        self.outbox.start_over()
        if self.spool is not None:
            self.spool.forget()
        self._transport.close()
        self._begin_process()

    # ---- the product's side

    def put(self, event: bytes) -> bool:
        """Queue one event and return at once; False when it was dropped and counted."""
        if self._pid != os.getpid():
            self.after_fork()
        queued = self.outbox.put(event)
        if self._thread is None:
            self.start()
        return queued

    def start(self) -> None:
        """Start the threads, once; late in an interpreter's life that may fail, and closing sends instead."""
        with self.outbox.lock:
            if self._thread is not None or self.outbox.closed:
                return
            self._thread = threading.Thread(target=self._run, name="loopline-sender", daemon=True)
            if self.spool is not None:
                self._spooler = Spooler(self.outbox, self.spool)
        try:
            end_with_worker()
            self._thread.start()
            if self._spooler is not None:
                self._spooler.thread.start()
        except RuntimeError:
            self._thread = self._spooler = None

    def idle(self) -> bool:
        """Whether there is nothing to wait for: no events, and no thread at work."""
        return self._thread is None and not len(self.outbox)

    def unfinished(self) -> int:
        """Events that are neither answered for nor given up: in memory, under way and on disk."""
        spooled = self.spool.waiting if self.spool is not None else 0
        moving = self._spooler.moving if self._spooler is not None else 0
        return len(self.outbox) + len(self._pending) + len(self._in_flight) + moving + spooled

    def flush(self, timeout: float) -> bool:
        """Wait until nothing is left to send, at most so many seconds; whether that was reached."""
        deadline = time.monotonic() + timeout
        if threading.current_thread() is self._thread:
            return False
        with self.outbox.lock:
            self._hurry()
            while self.unfinished() or not (self._looked or self._thread is None):
                left = deadline - time.monotonic()
                if left <= 0 or self._thread is None:
                    return False
                self.outbox.settled.wait(min(left, 0.5))
        return True

    def _hurry(self) -> None:
        """Cut lingering and a backoff of our own short (never a wait the server asked for)."""
        self._hurried = True
        self._backoff.hurry()
        self.outbox.sender_waits = False
        self.outbox.work.notify_all()

    def stop(self, timeout: float) -> bool:
        """Send what can be sent in the time, keep the rest on disk or count it as dropped."""
        deadline = time.monotonic() + timeout
        outbox = self.outbox
        if self._pid != os.getpid():
            self.after_fork()
        if threading.current_thread() is self._thread:
            log.error("close() was called from on_refused, which the sender itself runs; ignored")
            return False
        with outbox.lock:
            already, outbox.closed = outbox.closed, True
            self._hurry()
        if already:
            # Somebody else is at it: a process that ends right now must not overtake them.
            self._ended.wait(timeout)
            return self.unfinished() == 0
        if self._thread is None and len(outbox):
            self._send_here(deadline)
        with outbox.lock:
            # With a disk to keep them there is no use in waiting for a server that is away.
            while self.unfinished() and not (self.spool is not None and outbox.away and not self._in_flight):
                left = deadline - time.monotonic()
                if left <= 0 or self._thread is None:
                    break
                outbox.settled.wait(min(left, 0.1))
            self._stopping = True
            if self._spooler is not None:
                self._spooler.stop()
            self._hurry()
        self._end_threads(deadline)
        try:
            return self._keep_the_rest()
        finally:
            self._ended.set()

    def _end_threads(self, deadline: float) -> None:
        threads = [each for each in (self._thread, self._spooler and self._spooler.thread) if each]
        for thread in threads:
            thread.join(max(0.05, min(0.25, deadline - time.monotonic())))
        if any(thread.is_alive() for thread in threads):
            self._transport.abort()
            for thread in threads:
                thread.join(0.5)

    def _keep_the_rest(self) -> bool:
        with self.outbox.lock:
            # What is still under way belongs to a thread that hangs; on disk twice is better than not at all.
            rest = self._in_flight + self._pending + self.outbox.take(len(self.outbox), 2**62)
            self._pending, self._in_flight = [], []
        stored = self.spool.append(rest) if self.spool is not None and rest else 0
        lost = len(rest) - stored
        if lost:
            with self.outbox.lock:
                self.outbox.dropped += lost
            log.warning("closed before %d events could be sent; a spool would keep them", lost)
        done = self.unfinished() == 0 and not rest
        if self.spool is not None:
            self.spool.close()
        if self._thread is None or not self._thread.is_alive():
            self._transport.close()
            self._thread = self._spooler = None
        return done

    def _send_here(self, deadline: float) -> None:
        """Deliver in the calling thread, when the interpreter would not start another."""
        while time.monotonic() < deadline:
            with self.outbox.lock:
                events = self._pending or self.outbox.take()
                self._pending = []
                self._in_flight = events
            if not events:
                return
            self._deliver(events, None)
            if self._pending:
                moment = time.monotonic()
                time.sleep(max(0.0, min(self._backoff.pause(moment), deadline - moment)))

    # ---- the sender thread

    def _run(self) -> None:
        adopt_at = 0.0
        while not self._stopping:
            try:
                if self.spool is not None and time.monotonic() >= adopt_at:
                    adopt_at = time.monotonic() + _ADOPT_EVERY_S
                    self._adopt(self.spool)
                self._report_drops()
                self._turn(_ADOPT_EVERY_S if self.spool is not None else None)
            except Exception:
                # The thread must outlive anything; what was under way is sent again after a pause.
                log.exception("the sender stumbled and goes on")
                with self.outbox.lock:
                    self._pending, self._in_flight = self._in_flight + self._pending, []
                time.sleep(_BREATH_S)

    def _adopt(self, spool: Spool) -> None:
        adopted = spool.adopt()
        self._looked = True
        if adopted:
            log.info("found %d events that an earlier process left in %s", adopted, spool.folder)

    def _turn(self, longest_wait: float | None) -> None:
        """Wait for something to send, and send one batch of it."""
        outbox = self.outbox
        with outbox.lock:
            if not self._ready(longest_wait):
                return
            events, self._pending = self._pending[:BATCH_ITEMS], self._pending[BATCH_ITEMS:]
            self._in_flight = events
        if events:
            self._deliver(events, None)
            return
        batch = self.spool.peek(BATCH_ITEMS, BATCH_BYTES) if self.spool is not None else None
        if batch is not None:
            self._deliver(batch.events, batch)
            return
        with outbox.lock:
            events = outbox.take()
            self._in_flight = events
        if events:
            self._deliver(events, None)

    def _ready(self, longest_wait: float | None) -> bool:
        """Under the lock: wait out a backoff, an empty queue and the linger; False to look around again."""
        outbox = self.outbox
        pause = self._backoff.pause(time.monotonic())
        if pause > 0:
            outbox.work.wait(pause)
            return False
        if self._pending or (self.spool is not None and self.spool.waiting):
            return not self._stopping
        if not len(outbox):
            self._hurried = False
            outbox.settled.notify_all()
            outbox.sender_waits = not self._stopping
            if outbox.sender_waits:
                outbox.work.wait(longest_wait)
            outbox.sender_waits = False
        if len(outbox) and len(outbox) < BATCH_ITEMS and not self._hurried and not outbox.closed:
            outbox.work.wait(self._linger)
        return len(outbox) > 0 and not self._stopping

    # ---- one batch

    def _deliver(self, events: list[bytes], batch: Batch | None) -> None:
        """Send these events, in smaller parts where the server wants that, and settle every one of them."""
        parts = [events]
        again: list[bytes] = []
        verdict = Verdict()
        while parts:
            part = parts.pop()
            verdict = self._attempt(part)
            if verdict.divide:
                half = len(part) // 2
                parts += [part[half:], part[:half]]
                continue
            self._settle(part, verdict)
            again += [part[index] for index in verdict.again]
            if verdict.away:
                while parts:
                    again += parts.pop()
        self._postpone(again, batch, len(events), verdict)

    def _attempt(self, events: list[bytes]) -> Verdict:
        body = b"[" + b",".join(events) + b"]"
        try:
            answer = self._transport.request("POST", "/v1/events", body, "application/cloudevents-batch+json")
        except Unreachable as error:
            return Verdict(again=list(range(len(events))), away=True, why=str(error))
        return judge(answer.status, answer.headers, answer.body, len(events))

    def _settle(self, events: list[bytes], verdict: Verdict) -> None:
        """Count, log and hand on what the server has decided."""
        refused = len(verdict.refused)
        with self.outbox.lock:
            self.outbox.requests += 1
            self.outbox.refused += refused
            self.outbox.accepted += len(events) - refused - len(verdict.again)
        for index, problem in verdict.refused:
            event = _decode(events[index])
            log.error(
                "the server refused %s %s: %s",
                event.get("type"),
                event.get("id"),
                problem.get("detail") or problem.get("title") or problem,
            )
            if self._on_refused is not None:
                try:
                    self._on_refused(event, problem)
                except BaseException:
                    # Of any kind: this thread is not the one that sys.exit() is meant for.
                    log.exception("on_refused failed")

    def _postpone(self, again: list[bytes], batch: Batch | None, count: int, verdict: Verdict) -> None:
        """Put what must be sent again where it waits best, and say how long."""
        if batch is not None and self.spool is not None and len(again) < count:
            # Some of it is settled: the rest moves to the end of the spool.
            again = again[self.spool.append(again) :]
            self.spool.acknowledge(batch)
        elif batch is not None:
            again = []
        elif again and self.spool is not None:
            again = again[self.spool.append(again) :]
        outbox = self.outbox
        failed = bool(verdict.again) or verdict.away
        # Never under the lock: the product's log handlers may be slow, or speak through this client.
        if failed and self._backoff.failures == 0:
            log.warning("events wait, will try again: %s", verdict.why)
        with outbox.lock:
            self._pending = again + self._pending
            self._in_flight = []
            if failed:
                self._backoff.failed(time.monotonic(), verdict.wait_s)
                self._hurried = False
                outbox.failures += 1
                outbox.away = verdict.away
            else:
                self._backoff.succeeded()
                outbox.away = False
            if outbox.away and self.spool is not None:
                outbox.overflow.notify_all()
            outbox.settled.notify_all()
        if self.spool is not None:
            self.spool.sync(SYNC_EVERY_S)

    def _report_drops(self) -> None:
        dropped = self.outbox.dropped
        moment = time.monotonic()
        if dropped > self._reported and moment >= self._report_at:
            log.warning("%d events dropped because the queue was full", dropped - self._reported)
            self._reported = dropped
            self._report_at = moment + _REPORT_EVERY_S
