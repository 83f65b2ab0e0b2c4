"""A thread that does one thing after the other for an event loop, and never keeps a process from ending."""

from __future__ import annotations

import asyncio
import contextlib
import queue
import threading
import time
from collections.abc import Callable
from typing import Any, ParamSpec, TypeVar

P = ParamSpec("P")
R = TypeVar("R")

_Call = tuple[Callable[[], Any], "asyncio.Future[Any]"]


class OneThread:
    """Runs calls on one daemon thread, in order. Made and used on a running event loop."""

    def __init__(self, name: str) -> None:
        self._loop = asyncio.get_running_loop()
        self._calls: queue.SimpleQueue[_Call | None] = queue.SimpleQueue()
        self._thread = threading.Thread(target=self._work, name=name, daemon=True)
        self._thread.start()

    async def call(self, function: Callable[P, R], /, *args: P.args, **kwargs: P.kwargs) -> R:
        """What the function returns or raises, once the calls before it are done."""
        answer: asyncio.Future[R] = self._loop.create_future()
        self._calls.put((lambda: function(*args, **kwargs), answer))
        return await answer

    def close(self) -> None:
        """End the thread when it has done what was asked; nobody waits for that."""
        self._calls.put(None)

    @property
    def alive(self) -> bool:
        """Whether the thread still works."""
        return self._thread.is_alive()

    def cpu_s(self) -> float:
        """The seconds of CPU that the thread has used; 0 where the system does not say."""
        clock_of = getattr(time, "pthread_getcpuclockid", None)
        if clock_of is None or not self.alive or self._thread.ident is None:
            return 0.0
        return time.clock_gettime(clock_of(self._thread.ident))

    def _work(self) -> None:
        while (call := self._calls.get()) is not None:
            function, answer = call
            try:
                done, failed = function(), None
            except BaseException as error:
                done, failed = None, error
            # The loop may be gone, when nobody waited for this to end.
            with contextlib.suppress(RuntimeError):
                self._loop.call_soon_threadsafe(_settle, answer, done, failed)


def _settle(answer: asyncio.Future[Any], done: Any, failed: BaseException | None) -> None:
    if answer.done():
        return
    if failed is not None:
        answer.set_exception(failed)
    else:
        answer.set_result(done)
