"""The background half of the client: batches, sends, waits and sends again, in a daemon thread.

With a spool every event is in its file before the product's call returns, and is sent from there; memory
holds only what the disk would not take. Without one the queue in memory is all there is. An event leaves
memory and disk only when the server has accepted or refused it, or when it is counted as dropped. What an
answer means is judged in :mod:`loopline.delivery.answers`, how long to wait in :mod:`loopline.backoff`;
:mod:`loopline.delivery.spooler` keeps the spool.
"""

from __future__ import annotations

import logging
import os
import random
import threading
import time
from typing import TYPE_CHECKING, Any

import msgspec

from loopline.backoff import PAUSES, Backoff, Pauses
from loopline.delivery.answers import Verdict, judge
from loopline.delivery.dividing import deliver
from loopline.delivery.lifetime import end_with_pool, look_after
from loopline.delivery.queue import BATCH_BYTES, BATCH_ITEMS, EventQueue, Fate
from loopline.delivery.refusals import OnRefused, hand_over
from loopline.delivery.spooler import Spooler
from loopline.delivery.transport import Transport
from loopline.errors import Unreachable

if TYPE_CHECKING:
    from loopline.delivery.segments import Batch
    from loopline.delivery.spool import Spool

log = logging.getLogger("loopline")

_BREATH_S = 0.1
_ADOPT_EVERY_S = 10.0
_REPORT_EVERY_S = 10.0
# Between two lines of the log that say that events still wait.
_REMIND_EVERY_S = 60.0

_decode = msgspec.json.Decoder().decode


class Sender:
    """Delivers what is put into its queue. Threads start with the first event, and anew after a fork.

    ``linger`` is how long the first event of a batch waits for company, ``timeout`` what a request may take
    in all, both in seconds. ``sync_calls``: a call returns when the disk has its event, not only the system.
    """

    def __init__(
        self,
        transport: Transport,
        queue: EventQueue,
        spool: Spool | None,
        on_refused: OnRefused | None,
        linger: float,
        timeout: float,
        sync_calls: bool = False,
        pauses: Pauses = PAUSES,
    ) -> None:
        self.queue = queue
        self.spool = spool
        self._transport = transport
        self._on_refused = on_refused
        self._linger = linger
        self._timeout = timeout
        self._sync_calls = sync_calls
        self._pauses = pauses
        self._begin_process()
        look_after(self)

    def _begin_process(self) -> None:
        """The state that belongs to one process; none of it survives a fork."""
        self._pid = os.getpid()
        self._backoff = Backoff(self._pauses.retry, random.Random().uniform)
        self._thread: threading.Thread | None = None
        self._spooler: Spooler | None = None
        self._stopping = False
        self._exiting = False
        self._hurried = False
        self._from_memory = False
        # Sent before and to be sent again, where there is no spool; and what is under way right now.
        self._pending: list[bytes] = []
        self._in_flight: list[bytes] = []
        self._ended = threading.Event()
        self._report_at = 0.0
        self._reported = 0
        self._remind_at = 0.0
        # What other processes left is not known before a look into the folder.
        self._adopt_at = 0.0
        self._looked = self.spool is None

    def after_fork(self) -> None:
        """In the child: forget the parent's events, threads, connection and locks."""
        self.queue.start_over()
        if self.spool is not None:
            self.spool.forget()
        self._transport.close()
        self._begin_process()

    # ---- the product's side

    def put(self, event: bytes) -> Fate:
        """Keep one event, on disk or in memory, and return at once; what became of it is counted too."""
        if self._pid != os.getpid():
            self.after_fork()
        fate = self._keep(event)
        if self._thread is None:
            self.start()
        return fate

    def _keep(self, event: bytes) -> Fate:
        """Into the spool or, where there is none or it cannot be written now, into memory."""
        spool, queue = self.spool, self.queue
        if spool is not None and (self._exiting or not queue.closed) and spool.put(event):
            kept = not self._sync_calls or spool.sync()
            if queue.sender_waits:
                queue.wake()
        elif queue.put(event):
            kept = not self._sync_calls
        else:
            return Fate.DROPPED
        if kept:
            return Fate.KEPT
        queue.count_unsynced()
        return Fate.UNSYNCED

    def start(self) -> None:
        """Start the threads, once; late in an interpreter's life that may fail, and closing sends instead."""
        with self.queue.lock:
            if self._thread is not None or self.queue.closed:
                return
            self._thread = threading.Thread(target=self._run, name="loopline-sender", daemon=True)
            if self.spool is not None:
                self._spooler = Spooler(self.queue, self.spool, self._pauses.sync)
        try:
            end_with_pool()
            if self._spooler is not None:
                self._spooler.thread.start()
            self._thread.start()
        except RuntimeError:
            with self.queue.lock:
                if self._spooler is not None:
                    self._spooler.stop()
                self._thread = self._spooler = None

    def idle(self) -> bool:
        """Whether there is nothing to wait for: no events, and no thread at work."""
        return self._thread is None and not self.unfinished()

    def unfinished(self) -> int:
        """Events that are neither answered for nor given up: in memory, under way and on disk."""
        spooled = self.spool.waiting if self.spool is not None else 0
        moving = self._spooler.moving if self._spooler is not None else 0
        return len(self.queue) + len(self._pending) + len(self._in_flight) + moving + spooled

    def flush(self, timeout: float) -> bool:
        """Wait until nothing is left to send, at most so many seconds; whether that was reached."""
        deadline = time.monotonic() + timeout
        if threading.current_thread() is self._thread:
            return False
        with self.queue.lock:
            self._look_around()
            self._hurry()
            while self.unfinished() or not (self._looked or self._thread is None):
                left = deadline - time.monotonic()
                if left <= 0 or self._thread is None:
                    return False
                self.queue.settled.wait(min(left, 0.5))
        return True

    def _look_around(self) -> None:
        """Ask for a look at what processes left that are gone by now: a pool's workers, a child of a fork."""
        if self.spool is not None and self._thread is not None:
            self._looked, self._adopt_at = False, 0.0

    def _hurry(self) -> None:
        """Cut lingering and a backoff of our own short (never a wait the server asked for)."""
        self._hurried = True
        self._backoff.hurry()
        self.queue.sender_waits = False
        self.queue.work.notify_all()

    def end(self, timeout: float) -> bool:
        """Stop because the process ends: what is said after that goes into the spool, for the next one."""
        self._exiting = not self.queue.closed
        return self.stop(timeout)

    def stop(self, timeout: float) -> bool:
        """Send what can be sent in the time, keep the rest on disk or count it as dropped."""
        deadline = time.monotonic() + timeout
        queue = self.queue
        if self._pid != os.getpid():
            self.after_fork()
        if threading.current_thread() is self._thread:
            log.error("close() was called from on_refused, which the sender itself runs; ignored")
            return False
        with queue.lock:
            already, queue.closed = queue.closed, True
            self._look_around()
            self._hurry()
        if already:
            # Somebody else is at it: a process that ends right now must not overtake them.
            self._ended.wait(timeout)
            return self.unfinished() == 0
        if self._thread is None and self.unfinished():
            self._send_here(deadline)
        with queue.lock:
            # With a disk to keep them there is no use in waiting for a server that is away.
            while self.unfinished() or not (self._looked or self._thread is None):
                if self.spool is not None and queue.away and not self._in_flight and not len(queue):
                    break
                left = deadline - time.monotonic()
                if left <= 0 or self._thread is None:
                    break
                queue.settled.wait(min(left, 0.1))
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
        with self.queue.lock:
            # What is still under way belongs to a thread that hangs; on disk twice is better than not at all.
            rest = self._in_flight + self._pending + self.queue.take(len(self.queue), 2**62)
            self._pending, self._in_flight = [], []
        stored = self.spool.append(rest) if self.spool is not None and rest else 0
        lost = len(rest) - stored
        if lost:
            with self.queue.lock:
                self.queue.dropped += lost
            why = "a spool would keep them" if self.spool is None else "the spool did not take them"
            log.warning("closed before %d events could be sent; %s", lost, why)
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
            if not self._send_some():
                return
            if self._backoff.failures:
                moment = time.monotonic()
                time.sleep(max(0.0, min(self._backoff.pause(moment), deadline - moment)))

    # ---- the sender thread

    def _run(self) -> None:
        while not self._stopping:
            try:
                if self.spool is not None and self._due_to_adopt():
                    self._adopt_at = time.monotonic() + _ADOPT_EVERY_S
                    self._adopt(self.spool)
                self._report_drops()
                ready = self._ready(_ADOPT_EVERY_S if self.spool is not None else None)
                if ready and not self._send_some():
                    # What waits lies in a file that cannot be read now.
                    time.sleep(_BREATH_S)
            except Exception:
                # The thread must outlive anything; what was under way is sent again after a pause.
                log.exception("the sender stumbled and goes on")
                with self.queue.lock:
                    self._pending, self._in_flight = self._in_flight + self._pending, []
                time.sleep(_BREATH_S)

    def _due_to_adopt(self) -> bool:
        return self.spool is not None and time.monotonic() >= self._adopt_at

    def _adopt(self, spool: Spool) -> None:
        adopted = spool.adopt()
        with self.queue.lock:
            # Unless somebody asked for another look meanwhile.
            self._looked = self._adopt_at > 0
            self.queue.settled.notify_all()
        if adopted:
            log.info("found %d events that another process left in %s", adopted, spool.folder)

    def _send_some(self) -> bool:
        """Send one batch: from memory, what failed before first, and from the spool, in turns."""
        queue = self.queue
        self._from_memory = not self._from_memory and bool(self._pending or len(queue))
        batch = None
        if self.spool is not None and not self._from_memory:
            batch = self.spool.peek(BATCH_ITEMS, BATCH_BYTES)
        if batch is not None:
            self._deliver(batch.events, batch)
            return True
        with queue.lock:
            events, self._pending = self._pending[:BATCH_ITEMS], self._pending[BATCH_ITEMS:]
            room = BATCH_BYTES - sum(map(len, events)) - len(events)
            if len(events) < BATCH_ITEMS and (not events or room > 0):
                events += queue.take(BATCH_ITEMS - len(events), room, at_least=0 if events else 1)
            self._in_flight = events
        if events:
            self._deliver(events, None)
        return bool(events)

    def _ready(self, longest_wait: float | None) -> bool:
        """Wait out a backoff, an empty queue and the linger; False to look around again."""
        queue = self.queue
        with queue.lock:
            if self._due_to_adopt():
                return False
            pause = self._backoff.pause(time.monotonic())
            if pause > 0:
                queue.work.wait(min(pause, longest_wait or pause))
                return False
            # Before the look at the spool, which calls fill without this lock: one of the two sees the other.
            queue.sender_waits = not self._stopping
            if not self._to_send():
                self._hurried = False
                queue.settled.notify_all()
                if queue.sender_waits:
                    queue.work.wait(longest_wait)
            queue.sender_waits = False
            if self._spooler is not None and self.spool is not None and self.spool.unsynced:
                self._spooler.look()
            if 0 < self._to_send() < BATCH_ITEMS and not self._hurried and not queue.closed:
                queue.work.wait(self._linger)
            return self._to_send() > 0 and not self._stopping

    def _to_send(self) -> int:
        return len(self.queue) + len(self._pending) + (self.spool.waiting if self.spool is not None else 0)

    # ---- one batch

    def _deliver(self, events: list[bytes], batch: Batch | None) -> None:
        """Send these events, in smaller parts where the server wants that, and settle every one of them."""
        again, verdict = deliver(events, self._attempt, self._settle)
        self._postpone(again, batch, len(events), verdict)

    def _attempt(self, events: list[bytes]) -> Verdict:
        body = b"[" + b",".join(events) + b"]"
        try:
            answer = self._transport.request(
                "POST", "/v1/events", body, "application/cloudevents-batch+json", within=self._timeout
            )
        except Unreachable as error:
            return Verdict(again=list(range(len(events))), away=True, why=str(error))
        verdict = judge(answer.status, answer.headers, answer.body, len(events))
        verdict.why = f"{self._transport.url} {verdict.why}"
        return verdict

    def _settle(self, events: list[bytes], verdict: Verdict) -> None:
        """Count, log and hand on what the server has decided."""
        refused = len(verdict.refused)
        with self.queue.lock:
            self.queue.requests += 1
            self.queue.foreign += verdict.foreign
            if verdict.divide:
                return
            self.queue.refused += refused
            self.queue.accepted += len(events) - refused - len(verdict.again)
        for index, problem, _ in verdict.refused:
            event = _read(events[index])
            log.error(
                "the server refused %s %s: %s",
                event.get("type"),
                event.get("id"),
                problem.get("detail") or problem.get("title") or problem,
            )
            if self._on_refused is not None:
                hand_over(self._on_refused, event, problem)

    def _postpone(self, again: list[bytes], batch: Batch | None, count: int, verdict: Verdict) -> None:
        """Put what must be sent again where it waits best, and say how long."""
        if batch is not None and self.spool is not None:
            again = self._postpone_spooled(again, batch, count, verdict)
        elif again and self.spool is not None:
            again = again[self.spool.append(again) :]
        queue = self.queue
        failed = bool(verdict.again) or verdict.away or verdict.foreign
        # Never under the lock: the product's log handlers may be slow, or speak through this client.
        if failed:
            self._remind(verdict)
        with queue.lock:
            self._pending = again + self._pending
            self._in_flight = []
            if failed:
                self._backoff.failed(time.monotonic(), verdict.wait_s)
                self._hurried = False
                queue.failures += 1
            else:
                self._backoff.succeeded()
            queue.away = verdict.away
            queue.settled.notify_all()

    def _postpone_spooled(
        self, again: list[bytes], batch: Batch, count: int, verdict: Verdict
    ) -> list[bytes]:
        """What of a batch from the spool has to wait in memory; the rest stays there or moves to its end."""
        assert self.spool is not None
        if len(again) == count and verdict.away:
            return []
        # Some of it is settled, or it is not for these to hold up what lies behind them.
        stored = self.spool.append(again)
        if self._sync_calls and stored:
            self.spool.sync()
        self.spool.acknowledge(batch)
        return again[stored:]

    def _remind(self, verdict: Verdict) -> None:
        """Say that events wait, and why: at the first failure, and each minute as long as it lasts."""
        moment = time.monotonic()
        if self._backoff.failures and moment < self._remind_at:
            return
        self._remind_at = moment + _REMIND_EVERY_S
        level = logging.ERROR if verdict.lasting else logging.WARNING
        log.log(level, "%d events wait, will try again: %s", self.unfinished(), verdict.why)

    def _report_drops(self) -> None:
        dropped = self.queue.dropped
        moment = time.monotonic()
        if dropped > self._reported and moment >= self._report_at:
            log.warning("%d events dropped because the queue was full", dropped - self._reported)
            self._reported = dropped
            self._report_at = moment + _REPORT_EVERY_S


def _read(event: bytes) -> dict[str, Any]:
    """An event as the product hears of it; nothing where a spool held what is no event."""
    try:
        decoded = _decode(event)
    except (msgspec.DecodeError, UnicodeDecodeError):
        return {}
    return decoded if isinstance(decoded, dict) else {}
