"""A collector of a cluster: the server of `feedback.server.app` on Kafka and PostgreSQL, any number of them.

It starts when the log can be read, whether PostgreSQL answers or not. It takes events in over HTTP and from
the intake topic, and ends

- with `STOPPED` when it is told to: what it took is in the log, and answered. Where brokers hang it ends
  within ten seconds all the same, and requests without an answer are to be sent again;
- with `NEW_EPOCH` when the log went on to another epoch: a collector that is started now writes there;
- with 1, and what its threads do on standard error, when it does not answer itself any more;
- with a refusal, which says what to do, when the log is not the one it was, or not that of the views, or
  when its topics would not keep what is acknowledged.
"""

from __future__ import annotations

import asyncio
import contextlib
import math
import os
import signal
import time
from collections.abc import AsyncIterator, Callable
from typing import TYPE_CHECKING

import structlog

from feedback.api.services import WorkerSays
from feedback.installation.cluster import Cluster, ClusterRefused
from feedback.installation.port import NothingHere
from feedback.processes.deciders import deciding_in_cluster
from feedback.processes.ending import ends_after_signal
from feedback.processes.home_server import STOPPED, application, serve
from feedback.processes.supervisor import listen
from feedback.processes.watchdog import ends_when_silent
from feedback.server_client import address_of
from feedback.settings import value
from loopline.backoff import Backoff, RetryPolicy
from schemas.errors import Unavailable
from streams.ingest.recorder import Recorder
from streams.log.port import LogIdentity, LogRefused, LogUnavailable
from streams.metrics import Metrics
from streams.projection.apply import OtherViews, check

if TYPE_CHECKING:
    from streams.kafka.intake.consumer import Intake
    from streams.kafka.log.reader import KafkaLog
    from streams.kafka.writer.writer import KafkaAppender
    from streams.store.postgres import PostgresStore

NEW_EPOCH = 4
KEEP_ENDS_NS = 200_000_000
_LOOK_S = 0.2
_END_S = 8.5
# Whoever asks a server is not kept longer for a partition that nobody leads now.
_LOG_PATIENCE_S = 2.0
RETRY = RetryPolicy(first_s=0.2, longest_s=5.0)

_log = structlog.get_logger("loopline")


class TopicsRefused(ClusterRefused):
    """The topics would not keep what is acknowledged; the message says what to do."""


class ViewsOfAnotherLog(ClusterRefused, NothingHere):
    """PostgreSQL holds views, and they are not those of this log."""


class CollectorEnded(ClusterRefused):
    """The collector ended by itself; the message says why, and what to do."""


class Collecting:
    """One collector. `listening` says where, once the port is taken.

    Args:
        intake: whether it reads the intake topic too.
        patience_s: how long to wait for the brokers at the start.
    """

    def __init__(
        self,
        cluster: Cluster,
        host: str,
        port: int,
        *,
        log_level: str = "warning",
        intake: bool = True,
        patience_s: float = 10.0,
    ) -> None:
        self._cluster = cluster
        cluster.called = "loopline collector"
        self._log_level = log_level
        self._with_intake = intake
        self._metrics = Metrics()
        self._intake_failure: Callable[[], str] = str
        self.listening = listen(host, port)
        self.url = address_of(host, self.listening.getsockname()[1])
        self._closing = contextlib.ExitStack()
        self._closing.callback(self.listening.close)
        try:
            self._closing.callback(cluster.close)
            self._log, self._sealed = _patiently(cluster, patience_s, intake=intake)
            self._closing.callback(self._log.close)
            self._identity = self._log.identity
            _must_belong(cluster, self._log)
        except BaseException:
            self._closing.close()
            raise

    def run(self) -> int:
        """Serve until SIGTERM or SIGINT. Returns a status; raises CollectorEnded."""
        from streams.kafka.writer.writer import APPEND_S, KafkaAppender

        with self._closing:
            appender = KafkaAppender(self._log, self._metrics, clocks=self._cluster.clocks)
            if self._sealed:
                appender.seal()
            app = application(
                self._log,
                appender,
                self._metrics,
                self._views,
                self._cluster.datasets,
                worker=lambda: WorkerSays("elsewhere"),
                keep_ends_ns=KEEP_ENDS_NS,
                append_s=APPEND_S,
                own_views=False,
                clocks=self._cluster.clocks,
                lacks=self._lacks,
                beside=[
                    lambda _: self._appending(appender),
                    *([self._reading] if self._with_intake else []),
                ],
            )
            # Requests have five seconds for their answers, then the appender writes what it took.
            ending = ends_after_signal(
                (signal.SIGTERM, signal.SIGINT),
                lambda: _log.warning("the collector waits for brokers that do not answer, and ends without"),
                within_s=_END_S,
                status=lambda: NEW_EPOCH if appender.ended or self._is_over() else STOPPED,
            )
            with (
                ending as hear,
                ends_when_silent(self.url, value("hang_after") or math.inf),
                deciding_in_cluster(self._cluster, self._views, self._log.ends, self.url),
            ):
                serve(app, self.listening, self._log_level, hear)
            if not (appender.ended or self._is_over()):
                return STOPPED
            if appender.sealed and not self._is_over():
                raise CollectorEnded(appender.ended)
            # Only one that starts now can go on, if it is still the same log.
            now = _now(self._cluster)
            if now is not None and now.id == self._identity.id and now.epoch > self._identity.epoch:
                return NEW_EPOCH
            raise CollectorEnded(appender.ended)

    def _views(self) -> PostgresStore:
        """The store that is read. Raises ViewsOfAnotherLog: what they say would be taken for this log's."""
        store = self._cluster.current_store()
        if store.log.id != self._identity.id:
            raise ViewsOfAnotherLog(
                f"the views in PostgreSQL are those of the log {store.log.id}, and this collector writes to"
                f" {self._identity.id}. Correct the address, or build the views of this log anew with"
                " `loopline replay`."
            )
        return store

    def _is_over(self) -> bool:
        """Whether the log has gone on to another epoch since this collector was started."""
        return self._log.identity.epoch > self._identity.epoch

    @contextlib.asynccontextmanager
    async def _appending(self, appender: KafkaAppender) -> AsyncIterator[None]:
        """The appender, as long as the server runs; it writes what was taken before it ends."""
        await appender.start()
        watching = asyncio.create_task(self._watch(appender))
        try:
            yield
        finally:
            watching.cancel()
            await asyncio.gather(watching, return_exceptions=True)
            await appender.stop()

    async def _watch(self, appender: KafkaAppender) -> None:
        """End the server when nothing can be written to this log any more.

        Not before there is a next epoch to go on in: until then what is in the log can be read here, and who
        asks is told what is missing.
        """
        await until_over(self._log, self._identity, appender)
        os.kill(os.getpid(), signal.SIGTERM)

    def _lacks(self) -> list[str]:
        failure = self._intake_failure()
        return [f"the intake is not read: {failure}"] if failure else []

    @contextlib.asynccontextmanager
    async def _reading(self, recorder: Recorder) -> AsyncIterator[None]:
        """The intake, as long as the server runs. That it is unavailable keeps no other way in shut."""
        from streams.kafka.intake.consumer import Intake

        intake = Intake(self._cluster.address, recorder, self._metrics)
        self._intake_failure = lambda: intake.failure
        starting = asyncio.create_task(_until_it_starts(intake))
        try:
            yield
        finally:
            starting.cancel()
            await asyncio.gather(starting, return_exceptions=True)
            await intake.stop()


async def until_over(
    log: KafkaLog, began: LogIdentity, appender: KafkaAppender, *, look_s: float = _LOOK_S
) -> None:
    """Return when nothing can be written to the log, and it has an epoch after the one that this began in."""
    while log.identity.epoch <= began.epoch and (appender.sealed or not appender.ended):
        await asyncio.sleep(look_s)
        if appender.sealed:
            # What is refused now may be granted again: the next epoch is waited for all the same.
            with contextlib.suppress(Unavailable, LogRefused):
                await asyncio.to_thread(log.ends)


def _patiently(cluster: Cluster, patience_s: float, *, intake: bool) -> tuple[KafkaLog, bool]:
    """The log, once a broker answers, and whether its last epoch was sealed.

    Raises what it raised last when none answers in time.
    """
    deadline, backoff = time.monotonic() + patience_s, Backoff(RETRY)
    while True:
        try:
            sealed = _must_be_safe(cluster, intake=intake)
            return cluster.open_log(_LOG_PATIENCE_S), sealed
        except Unavailable as error:
            pause_s = backoff.next_pause_s()
            if time.monotonic() + pause_s > deadline:
                raise
            _log.warning("waiting for the log", reason=str(error))
        time.sleep(pause_s)


def _must_be_safe(cluster: Cluster, *, intake: bool) -> bool:
    """Raises TopicsRefused when an acknowledgement could not be believed, by what `topics show` finds.

    What only stops work, or is worth knowing, is logged: it may be mended while the collector runs. Returns
    whether the last epoch is sealed: the next one may come any moment.
    """
    from streams.kafka.topics.admin import show
    from streams.kafka.topics.policy import UNSAFE

    address = cluster.address
    found = [each for each in show(address).findings if intake or each.topic != address.intake]
    if unsafe := [each for each in found if each.level == UNSAFE]:
        raise TopicsRefused("\n".join(map(str, unsafe)))
    for each in found:
        _log.warning("not as it should be", found=str(each))
    return any(each.setting == "sealed" for each in found)


def _now(cluster: Cluster) -> LogIdentity | None:
    """Which log it is now; None when there is none that could be read."""
    try:
        with contextlib.closing(cluster.open_log()) as log:
            return log.identity
    except (LogRefused, LogUnavailable):
        return None


def _must_belong(cluster: Cluster, log: KafkaLog) -> None:
    """Raises StoreRefused when the views are those of another log, or of a newer one.

    What is taken into such a log would be lost when the right one is brought back. Views that are not to be
    had, or of which there are none yet, say nothing about it.
    """
    try:
        check(log, cluster.current_store())
    except (NothingHere, OtherViews):
        pass
    except Unavailable as error:
        _log.warning("starting without the views", reason=str(error))


async def _until_it_starts(intake: Intake, retry: RetryPolicy = RETRY) -> None:
    """Start reading the intake, again and again while that is not possible, for whatever reason."""
    backoff = Backoff(retry)
    while True:
        try:
            await intake.start()
            return
        except Exception as error:
            pause_s = backoff.next_pause_s()
            intake.failure = str(error) or repr(error)
            _log.warning("the intake cannot be read", reason=intake.failure, again_in_s=pause_s)
        await asyncio.sleep(pause_s)
