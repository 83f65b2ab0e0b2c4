"""Threads for blocking work that may hang on another machine: they never keep the process from ending.

The standard library's pool is joined when the interpreter ends, for however long its threads wait.
"""

from __future__ import annotations

import queue
import threading
import weakref
from collections.abc import Callable
from concurrent.futures import Executor, Future
from functools import partial
from typing import ParamSpec, TypeVar

P = ParamSpec("P")
R = TypeVar("R")

_Calls = queue.SimpleQueue[Callable[[], None] | None]


class Readers(Executor):
    """Runs calls on a number of daemon threads, which are there from the first call on."""

    def __init__(self, threads: int, name: str) -> None:
        self._calls: _Calls = queue.SimpleQueue()
        self._threads = [
            threading.Thread(target=_work, args=(self._calls,), name=f"{name}_{number}", daemon=True)
            for number in range(threads)
        ]
        self._guard = threading.Lock()
        self._started = False
        # Whoever forgets to shut it down leaves no threads either.
        self._end = weakref.finalize(self, _let_go, self._calls, threads)
        self._end.atexit = False

    def submit(self, fn: Callable[P, R], /, *args: P.args, **kwargs: P.kwargs) -> Future[R]:
        """Run a call as soon as a thread is free."""
        answer: Future[R] = Future()
        with self._guard:
            if not self._started:
                self._started = True
                for thread in self._threads:
                    thread.start()
        self._calls.put(partial(_call, answer, partial(fn, *args, **kwargs)))
        return answer

    def shutdown(self, wait: bool = True, *, cancel_futures: bool = False) -> None:
        """Let the threads end after the calls that are there; nobody waits for that."""
        self._end()


def _work(calls: _Calls) -> None:
    while (call := calls.get()) is not None:
        call()
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
