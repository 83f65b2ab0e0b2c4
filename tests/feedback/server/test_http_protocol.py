"""Answers in one write."""

from __future__ import annotations

import asyncio

import pytest

from feedback.server.http_protocol import JoinedWrites


class _Inner(asyncio.Transport):
    """A transport that remembers what it was asked."""

    def __init__(self) -> None:
        super().__init__()
        self.done: list[bytes | str] = []

    def write(self, data: bytes | bytearray | memoryview) -> None:
        self.done.append(bytes(data))

    def close(self) -> None:
        self.done.append("closed")

    def is_closing(self) -> bool:
        return "closed" in self.done


@pytest.fixture
def inner() -> _Inner:
    """What it is put around."""
    return _Inner()


def test_what_is_written_in_one_turn_leaves_together(inner: _Inner) -> None:
    """Head and body of an answer are one write; the next answer is another one."""

    async def answers() -> None:
        transport = JoinedWrites(inner, asyncio.get_running_loop())
        transport.write(b"head, ")
        transport.write(b"body")
        assert inner.done == []
        await asyncio.sleep(0)
        transport.write(b"next")
        await asyncio.sleep(0)

    asyncio.run(answers())
    assert inner.done == [b"head, body", b"next"]


def test_closing_loses_nothing(inner: _Inner) -> None:
    """What was written before a close goes out before it, and nothing goes out after it."""

    async def answers() -> None:
        transport = JoinedWrites(inner, asyncio.get_running_loop())
        transport.write(b"last words")
        transport.close()
        assert transport.is_closing()
        await asyncio.sleep(0)

    asyncio.run(answers())
    assert inner.done == [b"last words", "closed"]
