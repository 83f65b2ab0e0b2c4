"""Each partition's stillness is its own, and what moves is never called still."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from streams.log.port import DEAD
from streams.stillness import Stillness, name_of, while_others_did

PARTITIONS = (0, 1, DEAD)


def test_one_stands_still_while_others_move() -> None:
    """It counts from the first sight of a lag, to its own next step."""
    still = Stillness()
    still.note({0: 5, 1: 5}, {0: 5, 1: 5}, 0)
    still.note({0: 5, 1: 6}, {0: 7, 1: 9}, 100)
    still.note({0: 5, 1: 7}, {0: 7, 1: 9}, 110)
    assert still.seconds((0, 1), 115) == {0: 15, 1: 5}
    assert still.nothing_moves_s((0, 1), 115) == 5
    still.note({0: 6, 1: 9}, {0: 7, 1: 9}, 120)
    assert still.seconds((0, 1), 120) == {0: 0}
    still.note({0: 7, 1: 9}, {0: 7, 1: 9}, 130)
    assert still.nothing_moves_s((0, 1), 500) == 0


def test_a_step_of_one_that_was_not_behind_is_a_step() -> None:
    """A busy partition that keeps up shows that the views move."""
    still = Stillness()
    still.note({0: 5, 1: 5}, {0: 9, 1: 5}, 0)
    still.note({0: 5, 1: 8}, {0: 9, 1: 8}, 20)
    assert still.nothing_moves_s((0, 1), 21) == 1
    assert still.seconds((0, 1), 21) == {0: 21}


def test_a_reason_names_the_partition() -> None:
    """Refused items have a partition of their own."""
    assert while_others_did(DEAD, 16.4, 1, 7) == (
        "partition dead has not moved for 16 s while others did: 1 block waits at 7"
    )
    assert name_of(3) == "3"


@given(
    st.lists(
        st.tuples(st.sampled_from(PARTITIONS), st.integers(0, 3), st.integers(0, 3), st.integers(0, 30)),
        max_size=40,
    )
)
def test_it_is_what_a_plain_history_says(turns: list[tuple[int, int, int, int]]) -> None:
    """For each partition: the time since it last moved, or since it was first seen behind after that."""
    still, now = Stillness(), 0
    at, ends = dict.fromkeys(PARTITIONS, 0), dict.fromkeys(PARTITIONS, 0)
    since: dict[int, int | None] = dict.fromkeys(PARTITIONS)
    for partition, steps, more, pause in turns:
        now += pause
        ends[partition] += more
        moved = min(steps, ends[partition] - at[partition])
        at[partition] += moved
        still.note(at, ends, now)
        if moved:
            since[partition] = None
        for each in PARTITIONS:
            if at[each] == ends[each]:
                since[each] = None
            elif since[each] is None:
                since[each] = now
        expected = {each: now - began for each, began in since.items() if began is not None}
        assert still.seconds(PARTITIONS, now) == dict(sorted(expected.items()))
        nothing = still.nothing_moves_s(PARTITIONS, now)
        assert nothing <= max(expected.values(), default=0)
        assert not (moved and nothing)
