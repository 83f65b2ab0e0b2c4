"""Delivering a batch: in one request, or in halves where the server will not have it whole. Pure.

How a request is made and what is done with its answer is the caller's; the client's sender and the command
line both send through here.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeVar

from loopline.delivery.answers import Verdict

T = TypeVar("T")


def deliver(
    items: list[T],
    attempt: Callable[[list[T]], Verdict],
    settle: Callable[[list[T], Verdict], None],
) -> tuple[list[T], Verdict]:
    """Attempt the items, halved as long as the verdict asks for it, and settle every part, in order.

    Returns what has to be sent again and the verdict that says most about why. An outage ends it: what was
    not attempted yet is in what has to be sent again.
    """
    parts = [items]
    again: list[T] = []
    telling = Verdict()
    while parts:
        part = parts.pop()
        verdict = attempt(part)
        settle(part, verdict)
        if verdict.divide:
            half = len(part) // 2
            parts += [part[half:], part[:half]]
            continue
        again += [part[index] for index in verdict.again]
        if verdict.again or not telling.again:
            telling = verdict
        if verdict.away:
            while parts:
                again += parts.pop()
    return again, telling
