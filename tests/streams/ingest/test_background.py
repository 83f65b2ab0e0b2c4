"""Work beside the event loop: one piece at a time, few that wait, and the loop goes on."""

from __future__ import annotations

import asyncio
import threading

import pytest

from streams.ingest.background import MOST_WAITING, Aside, TooMuchWaits


def test_the_loop_goes_on_while_something_long_is_judged() -> None:
    """Others are answered meanwhile."""

    async def scenario() -> list[str]:
        aside, order, go = Aside(), [], threading.Event()

        def long() -> None:
            go.wait(10)
            order.append("long")

        call = asyncio.create_task(aside.call(long))
        await asyncio.sleep(0)
        order.append("other")
        go.set()
        await call
        return order

    assert asyncio.run(scenario()) == ["other", "long"]


def test_few_may_wait() -> None:
    """The next one is told to come again, and nothing of it was taken."""

    async def scenario() -> int:
        aside, go = Aside(), threading.Event()
        calls = [asyncio.create_task(aside.call(go.wait, 10)) for _ in range(MOST_WAITING)]
        await asyncio.sleep(0)
        with pytest.raises(TooMuchWaits, match="again"):
            await aside.call(go.wait, 10)
        go.set()
        return sum(await asyncio.gather(*calls))

    assert asyncio.run(scenario()) == MOST_WAITING
