"""What may be said to be in the log, while some of what was received is still on its way there."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from streams.ingest.receipts import Receipts
from streams.queries.freshness import complete_up_to
from streams.store.port import Applied

LONGEST = 4_020
# When an item is received, and how long it takes until it is in the log.
ITEMS = st.lists(st.tuples(st.integers(0, 20_000), st.integers(0, LONGEST)), max_size=40)


def test_what_is_open_bounds_what_is_settled() -> None:
    """The oldest that is open decides, until it is settled; two of one instant are both waited for."""
    now = [10]
    receipts = Receipts(lambda: now[0])
    assert receipts.settled_up_to() == 10
    first, second = receipts.take(), receipts.take()
    now[0] = 20
    third = receipts.take()
    now[0] = 30
    assert receipts.settled_up_to() == 9
    receipts.settle(first)
    assert receipts.settled_up_to() == 9
    receipts.settle(second)
    assert receipts.settled_up_to() == 19
    receipts.settle(third)
    assert receipts.settled_up_to() == 30


@given(steps=st.lists(st.integers(0, 6), max_size=60))
def test_everything_settled_lies_in_the_log(steps: list[int]) -> None:
    """Whatever order appends come back in: what was received by the instant lies in the log when it is asked.

    Even where the clock is set back or stands still, for what was received before the log is asked.
    """
    now, log, on_their_way = [0], list[int](), list[int]()
    receipts = Receipts(lambda: now[0])
    for step in steps:
        now[0] += step % 4 - 1
        if step < 3:
            on_their_way.append(receipts.take())
        elif step < 5 and on_their_way:
            log.append(on_their_way.pop(step % len(on_their_way)))
            receipts.settle(log[-1])
        else:
            assert all(received > receipts.settled_up_to() for received in on_their_way)
    for received in on_their_way:
        receipts.settle(received)
    assert receipts.settled_up_to() == now[0]


@given(items=ITEMS, asked=st.integers(0, 25_000), share=st.floats(0, 1))
def test_no_item_of_another_writer_is_missing(items: list[tuple[int, int]], asked: int, share: float) -> None:
    """Many write to a partition, each item within the longest time: all that is claimed is in the views."""
    log = [received for received, took in sorted(items, key=sum) if received + took <= asked]
    applied = log[: round(share * len(log))]
    positions = {0: Applied(len(applied), bytes(32), applied[-1])} if applied else {}
    claim = complete_up_to(positions, {0: len(log)}, asked - LONGEST, append_ns=LONGEST + 1)
    if claim is not None:
        said = sorted(received for received, _ in items if received <= claim and received <= asked)
        assert said == sorted(received for received in applied if received <= claim)
