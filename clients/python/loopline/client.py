"""The client: takes events from the product in microseconds and leaves the rest to the background.

It never raises into the product's code and never makes it wait, unless ``strict=True`` asks for errors. The
calls themselves are in :mod:`loopline.calls` and :mod:`loopline.announcements`, sending in
:mod:`loopline.delivery.sender`.
"""

from __future__ import annotations

import logging
import os
import threading
import time as clock
import weakref
from collections.abc import Callable, Mapping
from datetime import datetime
from types import TracebackType
from typing import TYPE_CHECKING, Any, Literal, Self

import msgspec

from loopline import events
from loopline.announcements import Announcements
from loopline.backoff import PAUSES, Pauses
from loopline.delivery.answers import loopline_problem
from loopline.delivery.lifetime import EXIT_S
from loopline.delivery.queue import EventQueue, Fate
from loopline.delivery.refusals import OnRefused, Refusals, hand_over
from loopline.delivery.sender import Sender
from loopline.delivery.transport import Transport
from loopline.errors import (
    Closed,
    InvalidEvent,
    InvalidSetting,
    LooplineError,
    QueueFull,
    RequestRefused,
    SpoolRefused,
    SpoolUnavailable,
    Unreachable,
)
from loopline.ids import uuid7
from loopline.settings import check_callback, check_pauses, check_seconds, check_size, check_spool, check_text

if TYPE_CHECKING:
    from loopline.delivery.spool import Spool

log = logging.getLogger("loopline")

_COMPLAIN_EVERY_S = 10.0
_LEAST_SPOOL_BYTES = 1024

_decode = msgspec.json.Decoder().decode


class Client(Announcements):
    """Sends what a model predicted and what people did about it to a Loopline server.

    - ``url``: the server, as ``http://127.0.0.1:8710``; ``source``: who speaks, as ``/shop/name-matcher``.
      Both may be left out with ``test=True``, which sends nothing and records in ``client.events`` what the
      server would take; what it would refuse is counted as invalid and handed to ``on_refused`` at once.
      User and password in the URL are sent as basic authentication, and shown nowhere.
    - ``env``: the environment of every event that names none; only ``prod`` counts and trains.
    - ``spool``: a folder that keeps each event from the call on until the server has answered for it. One
      folder belongs to one server; any number of processes may share it. ``spool_bytes`` bounds it.
    - ``spool_sync``: what a call waits for. ``"soon"``: the event is in the file, which survives the death of
      the process; the disk is asked to keep it within a second. ``"call"``: the disk has it, which survives
      a power cut too, and costs a call what the disk costs. Where the disk will not, the event is kept and
      sent all the same, and counted as ``unsynced``.
    - ``on_refused``: called with ``(event, problem)`` in the background for what the server refused, and for
      what cannot be sent at all (a NaN, bytes, over 64 KiB); ``event`` then holds the values as given.
    - ``strict``: raise :class:`~loopline.errors.LooplineError` for what is otherwise logged and counted: an
      event that cannot be JSON or that the server would refuse, a full queue, a spool that cannot be used.
      After :class:`~loopline.errors.SpoolUnavailable` from a call its event is kept; after others it is not.
    - ``queue_size`` and ``queue_bytes`` bound the memory; a full queue without a spool drops and counts.
    - ``linger``: seconds the first event of a batch waits for company; ``timeout``: seconds for a request.
    - ``headers``: sent with each request, as for a proxy that asks for a token.
    - ``proxy``: the proxy to use; without it the one that ``HTTP_PROXY``, ``HTTPS_PROXY`` and ``NO_PROXY``
      name, which never applies to this machine itself.
    - ``ca_bundle``: certificates to trust; without it those of ``REQUESTS_CA_BUNDLE``, ``CURL_CA_BUNDLE`` or
      ``SSL_CERT_FILE``, or the system's.
    - ``pauses``: what the client waits of its own accord (``loopline.backoff.Pauses``), for tests,
      which have no time to lose; anywhere else what is set is right.

    Settings that can never work raise :class:`~loopline.errors.InvalidSetting` right here. Any number of
    threads may use one client; a forked child has a client of its own from then on.
    """

    def __init__(
        self,
        url: str | None = None,
        source: str | None = None,
        env: str = "prod",
        spool: str | os.PathLike[str] | None = None,
        on_refused: OnRefused | None = None,
        test: bool = False,
        *,
        strict: bool = False,
        queue_size: int = 10_000,
        queue_bytes: int = 64 * 1024 * 1024,
        spool_bytes: int = 256 * 1024 * 1024,
        spool_sync: Literal["soon", "call"] = "soon",
        linger: float = 0.05,
        timeout: float = 10.0,
        headers: Mapping[str, str] | None = None,
        proxy: str | None = None,
        ca_bundle: str | os.PathLike[str] | None = None,
        pauses: Pauses = PAUSES,
    ) -> None:
        if not test and (url is None or source is None):
            raise InvalidSetting("say url= and source=, or test=True to record without sending")
        check_text("source", "/test" if source is None else source)
        check_text("env", env)
        check_size("queue_size", queue_size, 1)
        check_size("queue_bytes", queue_bytes, 1)
        check_size("spool_bytes", spool_bytes, _LEAST_SPOOL_BYTES)
        check_seconds("linger", linger)
        check_seconds("timeout", timeout, above=True)
        check_spool(spool, spool_sync)
        check_callback(on_refused)
        check_pauses(pauses)
        address = "http://127.0.0.1:8710" if url is None else url
        self._connect: Callable[[float], Transport] = lambda seconds: Transport(
            address, seconds, headers=headers, proxy=proxy, ca_bundle=ca_bundle
        )
        self._transport = self._connect(timeout)
        #: The server's address, without user and password.
        self.url = self._transport.url
        self.source = "/test" if source is None else events.id_text(source)
        self.env = events.id_text(env)
        self.test, self.strict, self._on_refused = test, strict, on_refused
        #: What was recorded, as decoded CloudEvents, in test mode; empty otherwise.
        self.events: list[dict[str, Any]] = []
        # Written with the event only where the server would not assume it.
        self._env = None if self.env == "prod" else self.env
        self._complain_at, self._complaints = 0.0, 0
        self._check = _load_check() if strict or test else None
        self._refusals = None if on_refused is None or test else Refusals(on_refused)
        kept = None if test else self._open_spool(spool, spool_bytes, pauses.look)
        self._queue = EventQueue(queue_size, queue_bytes)
        self._sender: Sender | None = None
        if not test:
            settings = on_refused, linger, timeout, spool is not None and spool_sync == "call", pauses
            self._sender = Sender(self._transport, self._queue, kept, *settings)
            if kept is not None:
                # At once: an earlier process may have left something to send.
                self._sender.start()
            weakref.finalize(self, _abandon, self._sender).atexit = False

    def _open_spool(
        self, folder: str | os.PathLike[str] | None, limit: int, look_every_s: float
    ) -> Spool | None:
        if folder is None:
            return None
        # Imports are done where they are first needed: every start of every product pays for the others.
        from loopline.delivery.spool import Spool

        try:
            return Spool(folder, limit, look_every_s=look_every_s)
        except SpoolRefused:
            raise
        except SpoolUnavailable:
            if self.strict:
                raise
            log.exception("going on without a spool")
            return None

    # ---- events

    def _record(
        self,
        kind: str,
        id: str | None,
        time: str | datetime | None,
        data: events.Data,
        named: str | None = None,
    ) -> str:
        if data.env is None:
            data.env = self._env
        id, time = uuid7() if id is None else id, events.now() if time is None else time
        envelope = events.Envelope("1.0", id, self.source, kind, time, data)
        try:
            body = events.encode(envelope)
            if self._check is not None:
                self._check(body, kind)
        except LooplineError as error:
            if self.strict:
                raise
            self._refuse(envelope, error)
        except Exception as error:
            if self.strict:
                raise InvalidEvent(f"it cannot be recorded: {type(error).__name__}") from error
            self._refuse(envelope, error)
        else:
            self._hand_on(kind, body)
        return events.id_text(envelope.id if named is None else getattr(data, named))

    def _hand_on(self, kind: str, body: bytes) -> None:
        """Give an event to be sent. Whatever goes wrong from here on, it is not invalid."""
        if self._sender is None:
            self.events.append(_decode(body))
            return
        try:
            fate = self._sender.put(body)
        except Exception as error:
            said = f"an event may be kept or not: {type(error).__name__}"
            if self.strict:
                raise LooplineError(said) from error
            log.exception("%s", said)
            return
        if fate is Fate.DROPPED:
            self._dropped(kind)
        elif fate is Fate.UNSYNCED and self.strict:
            raise SpoolUnavailable(
                "the event is kept and will be sent, so do not give it again, but the disk has not got it:"
                " a power cut may lose it (the log says why)"
            )

    def _refuse(self, envelope: events.Envelope, error: Exception) -> None:
        """Count, log and hand on a call of which nothing is sent."""
        with self._queue.lock:
            self._queue.invalid += 1
        self._complain(envelope.type, error)
        if self._on_refused is None:
            return
        refusal = error if isinstance(error, InvalidEvent) else InvalidEvent(type(error).__name__)
        if self._refusals is not None:
            self._refusals.put(events.as_given(envelope), refusal.problem)
        else:
            hand_over(self._on_refused, events.as_given(envelope), refusal.problem)

    def _dropped(self, kind: str) -> None:
        if self.strict:
            raise Closed("the client was closed") if self._queue.closed else QueueFull("no room in memory")
        if self._queue.closed:
            self._complain(kind, Closed("the client was closed"))

    def _complain(self, kind: str, error: Exception) -> None:
        """Log an event that cannot be sent, in one line at most in ten seconds."""
        self._complaints += 1
        moment = clock.monotonic()
        if moment >= self._complain_at:
            self._complain_at = moment + _COMPLAIN_EVERY_S
            why = error if isinstance(error, LooplineError) else type(error).__name__
            log.error("%d events not sent, the latest (%s) because: %s", self._complaints, kind, why)
            self._complaints = 0

    # ---- questions

    def override(
        self,
        model: str,
        person: str,
        input_ref: str,
        *,
        timeout: float = 1.0,
        strict: bool | None = None,
    ) -> dict[str, Any] | None:
        """What this person said is right for this input: ``{"label", "id", "source", "at"}``, or None.

        Waits for the answer, ``timeout`` seconds at most for all of it: the resolver, every address, a proxy,
        TLS, the answer. None also when the server is
        unreachable or refuses the question, unless ``strict`` (the client's own by default) asks for
        :class:`~loopline.errors.Unreachable` or :class:`~loopline.errors.RequestRefused`.
        """
        if self.test:
            return None
        strict = self.strict if strict is None else strict
        try:
            return self._ask_override(model, person, input_ref, timeout)
        except LooplineError as error:
            if strict:
                raise
            log.warning("no override for a person of %s: %s", model, error)
        except Exception as error:
            # Without the values: one of them names a person.
            said = f"this cannot be asked: {type(error).__name__}"
            if strict:
                raise InvalidEvent(said) from None
            log.warning("no override: %s", said)
        return None

    def _ask_override(self, model: str, person: str, input_ref: str, timeout: float) -> dict[str, Any] | None:
        end = clock.monotonic() + timeout
        from urllib.parse import quote, urlencode

        asked = {"model": model, "person": person, "input_ref": input_ref}
        texts = {name: events.id_text(value) for name, value in asked.items()}
        for name, text in texts.items():
            if not text:
                raise InvalidEvent("it must be a text that is not empty", f"$.{name}")
        path = f"/v1/overrides/{quote(texts.pop('model'), safe='')}?{urlencode(texts)}"
        transport = self._connect(timeout)
        try:
            answer = transport.request("GET", path, within=end - clock.monotonic())
        finally:
            transport.close()
        problem = loopline_problem(answer.headers, answer.body)
        if problem is not None and answer.status == 404:
            return None
        if problem is not None:
            raise RequestRefused(answer.status, problem)
        foreign = f"{self.url} answered {answer.status}, and not as a Loopline server does"
        if answer.status != 200:
            raise Unreachable(foreign)
        try:
            return msgspec.json.decode(answer.body, type=dict[str, Any])
        except (msgspec.DecodeError, UnicodeDecodeError) as error:
            raise Unreachable(foreign) from error

    # ---- state

    def flush(self, timeout: float = 10.0) -> bool:
        """Wait until the server has answered for every event, at most so many seconds; whether it has."""
        end = clock.monotonic() + timeout
        done = True if self._sender is None else self._sender.flush(timeout)
        if self._refusals is not None:
            self._refusals.wait(max(0.0, end - clock.monotonic()))
        return done

    def close(self, timeout: float = 5.0) -> bool:
        """Flush, end the background and refuse further events; whether everything was delivered.

        What cannot be sent in the time stays in the spool for the next process or, without one, is counted as
        dropped. A process that ends closes its clients by itself, in at most two seconds.
        """
        end = clock.monotonic() + timeout
        done = True if self._sender is None else self._sender.stop(timeout)
        if self._refusals is not None:
            self._refusals.wait(max(0.0, end - clock.monotonic()))
        return done

    def stats(self) -> Mapping[str, int]:
        """Where the events of this process are, in numbers.

        ``accepted`` and ``refused`` by the server; ``dropped`` for want of room or time, or with a file of
        the spool that could not be read; ``invalid`` never sent; ``queued`` in memory; ``spooled`` on disk;
        ``unsynced`` calls with ``spool_sync="call"`` that returned before the disk had their event;
        ``torn`` lines of the spool that a crash had cut;
        ``requests`` made, ``failures`` among them after which something had to be sent again, and ``foreign``
        answers that were not Loopline's: of a proxy, a login page, another server on the port.
        """
        box = self._queue
        spool = self._sender.spool if self._sender is not None else None
        spooled = spool.waiting if spool is not None else 0
        unfinished = self._sender.unfinished() if self._sender is not None else 0
        return {
            "accepted": box.accepted,
            "refused": box.refused,
            "dropped": box.dropped,
            "invalid": box.invalid,
            "queued": max(unfinished - spooled, 0),
            "spooled": spooled,
            "unsynced": box.unsynced,
            "torn": spool.torn if spool is not None else 0,
            "requests": box.requests,
            "failures": box.failures,
            "foreign": box.foreign,
        }

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()


def _load_check() -> Callable[[bytes, str], None]:
    """The server's rules, which only some clients need: every start of every product would pay for them."""
    from loopline.admission import check

    return check


def _abandon(sender: Sender) -> None:
    """The product let go of a client without closing it: send what it had, off the product's thread."""
    if not sender.idle():
        threading.Thread(target=sender.stop, args=(EXIT_S,), name="loopline-last", daemon=True).start()
    else:
        sender.stop(0.0)
