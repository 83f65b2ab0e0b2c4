"""Daemon threads: what is asked of them is answered or told to hang, and nobody waits for them at the end."""

from __future__ import annotations

import asyncio
import threading
import time

import pytest

from streams.daemon_pool import DaemonPool, each, run_in_background, start_daemon


def test_a_call_beside_gives_its_answer_or_its_error() -> None:
    """Each has a thread of its own that keeps no process from ending."""
    answer = run_in_background(
        "look", lambda: (threading.current_thread().daemon, threading.current_thread().name)
    )
    assert answer.result(10) == (True, "look")
    with pytest.raises(ZeroDivisionError):
        run_in_background("fails", lambda: 1 // 0).result(10)


def test_a_coroutine_that_waits_no_longer_leaves_the_call_alone() -> None:
    """A worker that is told to stop waits for nobody; what is in hand on the thread is done all the same."""
    pool = DaemonPool(1, "apply")
    go_on, done = threading.Event(), threading.Event()

    def work() -> str:
        go_on.wait(10)
        done.set()
        return "applied"

    async def given_up() -> None:
        waiting = asyncio.ensure_future(pool.call(work))
        await asyncio.sleep(0)
        waiting.cancel()
        with pytest.raises(asyncio.CancelledError):
            await waiting
        go_on.set()
        assert await pool.call(lambda: "next") == "next"

    try:
        asyncio.run(given_up())
        assert done.is_set()
    finally:
        pool.shutdown()


def test_calls_of_one_thread_are_done_in_order() -> None:
    """The applying thread does one thing after the other, and tells what CPU it used."""
    pool = DaemonPool(1, "apply")
    order: list[int] = []

    async def in_order() -> None:
        await asyncio.gather(*(pool.call(order.append, number) for number in range(50)))

    try:
        asyncio.run(in_order())
        assert order == list(range(50))
        until = time.monotonic() + 0.05

        def compute() -> None:
            while time.monotonic() < until:
                pass

        pool.submit(compute).result(10)
        assert pool.cpu_s() > 0 or not hasattr(time, "pthread_getcpuclockid")
    finally:
        pool.shutdown()


def test_work_each_so_often_ends_with_its_context() -> None:
    """At once where that is asked for, then again and again, and not after the context."""
    done = threading.Semaphore(0)
    with each(0.001, "each", done.release, at_once=True):
        for _ in range(3):
            assert done.acquire(timeout=10)
    assert not [thread for thread in threading.enumerate() if thread.name == "each"]


def test_work_that_says_so_is_not_done_again() -> None:
    """False means that nothing is left to do, and the context goes on without it."""
    calls: list[int] = []
    over = threading.Event()

    def last() -> bool:
        calls.append(1)
        over.set()
        return False

    with each(0.001, "once", last):
        assert over.wait(10)
        for thread in threading.enumerate():
            if thread.name == "once":
                thread.join(10)
    assert calls == [1]


def test_an_end_waits_for_work_that_hangs_no_longer_than_it_is_told() -> None:
    """What hangs on a broker keeps no membership from ending."""
    entered, go_on = threading.Event(), threading.Event()

    def hang() -> None:
        entered.set()
        go_on.wait(20)

    began = time.monotonic()
    with each(60.0, "hangs", hang, at_once=True, end_s=0.05):
        assert entered.wait(10)
    assert time.monotonic() - began < 15
    go_on.set()


def test_a_daemon_thread_is_started() -> None:
    """It is one of those that keep no process."""
    ran = threading.Event()
    thread = start_daemon("work", ran.set)
    assert ran.wait(10)
    assert thread.daemon
