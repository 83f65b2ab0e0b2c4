"""What became of what was said about a model, as far as it is known in time."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import msgspec
import pytest

from feedback.cli.judging import NotJudged, discarded
from feedback.server_client import Answer

EVENT = {"id": "e-1", "source": "/test"}


class Says:
    """A service that answers everything alike, and notes what it was asked."""

    name = "a server"

    def __init__(self, status: int, document: Any) -> None:
        self._answer = Answer(status, {}, msgspec.json.encode(document))
        self.asked: list[str] = []

    def request(
        self, method: str, path: str, body: bytes = b"", headers: Mapping[str, str] | None = None
    ) -> Answer:
        """The one answer."""
        self.asked.append(path)
        return self._answer

    def close(self) -> None:
        """Nothing to close."""


def test_a_verdict_is_read_from_the_views_that_have_the_event() -> None:
    """The event's own position is waited for; a discarded stage is the verdict, and none means it stands."""
    stands = Says(200, {"items": []})
    assert discarded(stands, EVENT, "x.1;0:3") is None
    (asked,) = stands.asked
    assert "after=" in asked
    assert "source=" in asked
    stages = [{"stage": "received"}, {"stage": "discarded", "code": "declaration_conflict"}]
    judged = Says(200, {"items": [{"timeline": stages}]})
    assert discarded(judged, EVENT, "x.1;0:3") == "declaration_conflict"


@pytest.mark.parametrize("status", [503, 504])
def test_without_views_in_time_there_is_no_verdict(status: int) -> None:
    """It is not taken for one that stands, nor for a failure."""
    with pytest.raises(NotJudged):
        discarded(Says(status, {"code": "not_caught_up"}), EVENT, "x.1;0:3")
    with pytest.raises(NotJudged):
        discarded(Says(200, {"items": []}), EVENT, None)
