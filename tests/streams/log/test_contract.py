"""The logs hold to their contract, and positions are written and read the same."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from streams.log.memory import MemoryLog
from streams.log.port import DEAD, Log, MalformedPosition, format_positions, parse_positions
from streams.log.sqlite import SqliteLog, create_log
from tests.streams.log.log_contract import PARTITIONS, LogContract


class TestMemoryLog(LogContract):
    """The log of lists."""

    @pytest.fixture
    def log(self) -> Log:
        return MemoryLog(PARTITIONS)


class TestSqliteLog(LogContract):
    """The log in a file, as its writer sees it."""

    @pytest.fixture
    def log(self, tmp_path: Path) -> Iterator[Log]:
        create_log(tmp_path / "log.db", PARTITIONS)
        log = SqliteLog(tmp_path / "log.db", writable=True)
        yield log
        log.close()


_offsets = st.integers(0, 10**18 - 1)
_vectors = st.dictionaries(st.integers(DEAD, 10**9 - 1), _offsets, min_size=1, max_size=6)


@given(_vectors)
def test_positions_come_back_from_their_text(positions: dict[int, int]) -> None:
    """Any vector of positions is the same after writing and reading."""
    assert parse_positions(format_positions(positions)) == positions


def test_positions_are_written_in_one_way() -> None:
    """Partitions are in order, and the dead-letter one is last, by name."""
    assert format_positions({1: 3, DEAD: 2, 0: 17}) == "0:17,1:3,dead:2"


_MALFORMED = [
    ",",
    "0",
    "0:",
    ":1",
    "0:1,",
    "0:1,,1:1",
    "0:1,0:2",
    "0:-1",
    "-1:0",
    "00:1",
    "0:01",
    "dead",
    "DEAD:1",
    "0:1e3",
    "0:+1",
    "٠:1",
    "0:9999999999999999999",
    "9999999999:0",
    "0:1;1:2",
    "a:1",
    "dead:1,dead:2",
]


@pytest.mark.parametrize("text", [*_MALFORMED, "", "0:1 ", " 0:1", "0:1\n"])
def test_a_malformed_position_is_refused(text: str) -> None:
    """What is no vector of positions is refused by name, never read as something near."""
    with pytest.raises(MalformedPosition):
        parse_positions(text)


@given(st.text(max_size=30))
def test_no_text_fails_otherwise(text: str) -> None:
    """Any text is a vector of positions or malformed; one that is read means what it says."""
    try:
        positions = parse_positions(text)
    except MalformedPosition:
        return
    assert sorted(text.split(",")) == sorted(format_positions(positions).split(","))
