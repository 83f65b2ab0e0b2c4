"""Event ids: UUIDv7, in order, unique over threads and forks."""

from __future__ import annotations

import threading
import time
import uuid

import pytest

from loopline.ids import MonotonicIds


def test_an_id_is_a_uuid_of_version_7_with_the_time_in_front() -> None:
    """Version, variant and the 48-bit millisecond are where RFC 9562 puts them; the text is lower case."""
    before = time.time_ns() // 1_000_000
    text = MonotonicIds()()
    parsed = uuid.UUID(text)
    assert str(parsed) == text
    assert (parsed.version, parsed.variant) == (7, uuid.RFC_4122)
    assert before <= parsed.int >> 80 <= time.time_ns() // 1_000_000


def test_ids_rise_within_a_millisecond() -> None:
    """Ten thousand ids in a row, many in the same millisecond, are in order as text and all different."""
    mint = MonotonicIds()
    minted = [mint() for _ in range(10_000)]
    assert minted == sorted(set(minted))
    assert {uuid.UUID(each).version for each in minted} == {7}


def test_ids_rise_when_the_clock_steps_back() -> None:
    """A clock set back an hour does not turn the order around."""
    moments = iter([10**18, 10**18 - 3_600 * 10**9, 10**18 - 10**9])
    mint = MonotonicIds(clock=lambda: next(moments))
    minted = [mint() for _ in range(3)]
    assert minted == sorted(set(minted))


def test_a_tail_that_is_used_up_moves_on_to_the_next_millisecond() -> None:
    """With no room left under the random bits, ids still rise."""
    first = MonotonicIds(clock=lambda: 10**18)()
    mint = MonotonicIds(last=(10**12, (1 << 74) - 1), clock=lambda: 10**18)
    second, third = mint(), mint()
    assert first < second < third
    assert uuid.UUID(second).int >> 80 == 10**12 + 1


@pytest.mark.usefixtures("eager_threads")
def test_threads_never_mint_the_same_id() -> None:
    """Ids of many threads are all different, and in order within each."""
    mint = MonotonicIds()
    minted: list[list[str]] = [[] for _ in range(8)]

    def run(own: list[str]) -> None:
        own += [mint() for _ in range(2_000)]

    threads = [threading.Thread(target=run, args=(own,)) for own in minted]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert all(own == sorted(own) for own in minted)
    assert len({each for own in minted for each in own}) == 16_000
