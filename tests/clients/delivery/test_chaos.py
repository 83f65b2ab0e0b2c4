"""Whatever the server does, and however the events are spread: each arrives, and the numbers add up."""

from __future__ import annotations

import tempfile
from collections.abc import Callable

from hypothesis import given, settings
from hypothesis import strategies as st

from loopline import Client
from loopline.backoff import Pauses
from tests.services import fake_server as moves
from tests.services.fake_server import Handler, Move, serving


def some(status: str, every: int) -> Move:
    """Judge every so-manyeth event of a batch otherwise than accepted."""

    def move(handler: Handler, events: list[moves.Event]) -> None:
        moves.judge({event["id"]: status for event in events[::every]})(handler, events)

    return move


MOVES: dict[str, Callable[[], Move]] = {
    "accept": lambda: moves.accept,
    "500": lambda: moves.status(500),
    "429": lambda: moves.status(429, Retry_After="0"),
    "413": lambda: moves.at_most(7),
    "hang up": lambda: moves.hang_up,
    "take, hang up": lambda: moves.take_and_hang_up,
    "half answer": lambda: moves.take_and_half_answer,
    "greeting page": lambda: moves.greeting_page,
    "refuse some": lambda: some("refused", 5),
    "retry some": lambda: some("retry", 3),
}


@settings(max_examples=25)
@given(
    script=st.lists(st.sampled_from(sorted(MOVES)), max_size=8),
    bursts=st.lists(st.integers(1, 60), min_size=1, max_size=5),
    spooled=st.booleans(),
    queue_size=st.sampled_from([10, 1_000]),
)
def test_every_event_is_accepted_refused_or_counted_as_dropped(
    script: list[str], bursts: list[int], spooled: bool, queue_size: int
) -> None:
    """After any play each event is accepted, refused or dropped, and with a spool none is dropped."""
    refused: list[str] = []
    with tempfile.TemporaryDirectory() as folder, serving() as server:
        server.script = [MOVES[name]() for name in script]
        with Client(
            server.url,
            "/test",
            spool=folder if spooled else None,
            queue_size=queue_size,
            linger=0.0,
            pauses=Pauses(first=0.0005, longest=0.002),
            on_refused=lambda event, problem: refused.append(event["id"]),
        ) as client:
            made = set()
            for burst in bursts:
                made |= {client.thumb("p-1", "up") for _ in range(burst)}
                client.flush(0.001)
            assert client.flush(10)
        stats = client.stats()
        assert (stats["queued"], stats["spooled"], stats["torn"], stats["invalid"]) == (0, 0, 0, 0)
        assert stats["accepted"] + stats["refused"] + stats["dropped"] == len(made)
        assert stats["refused"] == len(refused) == len(set(refused))
        assert len(set(server.accepted) | set(refused)) == len(made) - stats["dropped"]
        if spooled:
            assert stats["dropped"] == 0
