"""Daemon threads for work that may hang on another machine: they never keep the process from ending.

The standard library's pool is joined when the interpreter ends, for however long its threads wait. And it
takes any number of calls, also while none of its threads gets on: here whoever comes then is told at once.
What can hang by itself has threads of its own, so that it takes those of nothing else. Every thread of ours
is started here, but those of the client.
"""

from __future__ import annotations

import asyncio
import contextlib
import math
import queue
import threading
import time
import weakref
from collections.abc import Callable, Iterator
from concurrent.futures import Executor, Future
from functools import partial
from typing import ParamSpec, TypeVar

from schemas.errors import Unavailable

P = ParamSpec("P")
R = TypeVar("R")

_Calls = queue.SimpleQueue[Callable[[], None] | None]


class Unanswered(Unavailable):
    """A call did not come back in time, or would not."""


class DaemonPool(Executor):
    """Runs calls on a number of daemon threads, which are there from the first call on.

    Args:
        threads: how many.
        name: of the threads.
        what: what they wait for, as it is called in an error.
        patience_s: after so long a call is taken to hang, and nobody waits for it any more.
        max_pending: how many calls may wait for a thread; more are refused.
    """

    def __init__(
        self,
        threads: int,
        name: str,
        what: str = "",
        *,
        patience_s: float = math.inf,
        max_pending: int = 256,
    ) -> None:
        self.patience_s = patience_s
        self._what = what or name
        self._max_pending = max_pending
        self._calls: _Calls = queue.SimpleQueue()
        # Since when each thread has been at its call; 0 for one that waits.
        self._since = [0.0] * threads
        self._threads = [
            _daemon(f"{name}_{number}", partial(_work, self._calls, self._since, number))
            for number in range(threads)
        ]
        self._guard = threading.Lock()
        self._started = False
        # Whoever forgets to shut it down leaves no threads either.
        self._end = weakref.finalize(self, _let_go, self._calls, threads)
        self._end.atexit = False

    def submit(self, fn: Callable[P, R], /, *args: P.args, **kwargs: P.kwargs) -> Future[R]:
        """Run a call as soon as a thread is free. Raises Unanswered when that would be too long."""
        if self.hangs():
            raise self.silence()
        if self._calls.qsize() >= self._max_pending:
            raise Unanswered(f"too many ask {self._what} at once")
        answer: Future[R] = Future()
        self.start()
        self._calls.put(partial(_call, answer, partial(fn, *args, **kwargs)))
        return answer

    def start(self) -> None:
        """Start the threads, if the first call has not."""
        with self._guard:
            if not self._started:
                self._started = True
                for thread in self._threads:
                    thread.start()

    def hangs(self) -> bool:
        """Whether every thread has been at its call for longer than anybody waits."""
        longest = time.monotonic() - self.patience_s
        return all(0.0 < since < longest for since in self._since)

    def silence(self, within_s: float | None = None) -> Unanswered:
        """That there was no answer."""
        within_s = self.patience_s if within_s is None else within_s
        return Unanswered(f"{self._what} did not answer within {within_s:g} s")

    def result(self, call: Callable[[], R], within_s: float) -> R:
        """What a call gives, for a caller on another thread, who waits so long. Raises Unanswered."""
        answer = self.submit(call)
        try:
            return answer.result(within_s)
        except TimeoutError:
            # Its own error, or that of the wait.
            if answer.done():
                return answer.result()
            answer.cancel()
            raise self.silence(within_s) from None

    async def call(self, fn: Callable[P, R], /, *args: P.args, **kwargs: P.kwargs) -> R:
        """What a call gives, for a coroutine; one that stops waiting leaves the call running."""
        return await asyncio.shield(asyncio.wrap_future(self.submit(fn, *args, **kwargs)))

    def cpu_s(self) -> float:
        """The seconds of CPU that the threads have used; 0 where the system does not say."""
        clock_of = getattr(time, "pthread_getcpuclockid", None)
        if clock_of is None:
            return 0.0
        idents = [thread.ident for thread in self._threads if thread.is_alive()]
        return sum(time.clock_gettime(clock_of(ident)) for ident in idents if ident is not None)

    def shutdown(self, wait: bool = True, *, cancel_futures: bool = False) -> None:
        """Let the threads end after the calls that are there; nobody waits for that."""
        self._end()


def _work(calls: _Calls, since: list[float], number: int) -> None:
    while (call := calls.get()) is not None:
        since[number] = time.monotonic()
        call()
        since[number] = 0.0
        del call


def _call(answer: Future[R], call: Callable[[], R]) -> None:
    if not answer.set_running_or_notify_cancel():
        return
    try:
        result = call()
    except BaseException as error:
        answer.set_exception(error)
    else:
        answer.set_result(result)


def _let_go(calls: _Calls, threads: int) -> None:
    for _ in range(threads):
        calls.put(None)


# ------------------------------------------------------------------------------------ threads of their own


def start_daemon(name: str, work: Callable[[], object]) -> threading.Thread:
    """Do something on a daemon thread of its own, which is started."""
    thread = _daemon(name, work)
    thread.start()
    return thread


def run_in_background(name: str, call: Callable[[], R]) -> Future[R]:
    """What a call gives, on a daemon thread of its own; whoever asks waits as long as it likes."""
    answer: Future[R] = Future()
    start_daemon(name, partial(_call, answer, call))
    return answer


@contextlib.contextmanager
def each(
    every_s: float,
    name: str,
    work: Callable[[], bool | None],
    *,
    at_once: bool = False,
    end_s: float | None = None,
) -> Iterator[None]:
    """Do something each so many seconds on a daemon thread, until the context ends or it gives False.

    Args:
        work: what; it raises nothing.
        at_once: whether it is done at the beginning already.
        end_s: how long the end of the context waits for what is under way; as long as it takes when left out.
    """
    over = threading.Event()

    def run() -> None:
        if at_once and work() is False:
            return
        while not over.wait(every_s):
            if work() is False:
                return

    thread = start_daemon(name, run)
    try:
        yield
    finally:
        over.set()
        thread.join(end_s)


def _daemon(name: str, work: Callable[[], object]) -> threading.Thread:
    return threading.Thread(target=work, name=name, daemon=True)
