"""What every log does, whatever it is made of: one class that each adapter's tests inherit."""

from __future__ import annotations

import threading

import pytest

from streams.log.block import DeadLetter, read_dead_letters, write_dead_letters
from streams.log.port import DEAD, Log

PARTITIONS = 3


def refused(number: int) -> bytes:
    """A block of one refused item."""
    return write_dead_letters(number, [DeadLetter("invalid_json", "no JSON", None, None, b"%d" % number)])


class LogContract:
    """Inherit, and give a fixture `log` with an empty log of `PARTITIONS` partitions."""

    def test_an_empty_log_ends_at_zero_everywhere(self, log: Log) -> None:
        """Each partition, the dead-letter one included, begins at offset 0."""
        assert log.ends() == {0: 0, 1: 0, 2: 0, DEAD: 0}
        assert log.identity.partitions == PARTITIONS
        assert all(log.read(partition, 0, 10) == [] for partition in log.ends())

    def test_offsets_are_dense_within_a_partition(self, log: Log) -> None:
        """Records of a partition get the offsets 0, 1, 2 and so on, in the order of appends."""
        for number in range(7):
            log.append([(1, b"%d" % number)])
        assert log.ends()[1] == 7
        assert [log.read(1, offset, 1) for offset in range(7)] == [[b"%d" % number] for number in range(7)]

    def test_known_ends_are_those_seen_last(self, log: Log) -> None:
        """They are there from the start on, cover what `ends` gave, and their age is a number of seconds."""
        assert log.known_ends().ends == {0: 0, 1: 0, 2: 0, DEAD: 0}
        log.append([(1, b"a"), (DEAD, refused(1))])
        seen = log.ends()
        known = log.known_ends()
        assert known.ends == seen == {0: 0, 1: 1, 2: 0, DEAD: 1}
        assert 0 <= known.age_s < 60

    def test_one_append_may_reach_several_partitions(self, log: Log) -> None:
        """Within one append, each partition keeps its own order."""
        log.append([(0, b"a"), (2, b"b"), (0, b"c"), (DEAD, refused(1)), (2, b"e")])
        log.append([(2, b"f"), (DEAD, refused(2))])
        assert log.ends() == {0: 2, 1: 0, 2: 3, DEAD: 2}
        assert log.read(0, 0, 10) == [b"a", b"c"]
        assert log.read(2, 0, 10) == [b"b", b"e", b"f"]
        assert [read_dead_letters(record) for record in log.read(DEAD, 0, 10)] == [
            read_dead_letters(refused(1)),
            read_dead_letters(refused(2)),
        ]

    def test_refused_items_come_back_whole_and_the_same_each_time(self, log: Log) -> None:
        """However a log keeps refused items, each comes back with its reason, instant, origin and bytes."""
        letters = [
            DeadLetter("invalid_json", "no JSON", None, None, b"\xff\x00 not JSON"),
            DeadLetter("unknown_type", "\u00fc is unknown", "id-1", "/shop", b"{}"),
            DeadLetter("too_deep", "", "", "", b"", ("t.intake", 3, 14)),
        ]
        log.append([(DEAD, write_dead_letters(1_700_000_000_123_456_789, letters))])
        records = log.read(DEAD, 0, 10)
        assert len(records) == log.ends()[DEAD]
        assert [each for record in records for each in read_dead_letters(record)] == [
            (1_700_000_000_123_456_789, letter) for letter in letters
        ]
        assert [log.read(DEAD, offset, 1)[0] for offset in range(len(records))] == records

    def test_reading_starts_and_stops_where_it_is_told(self, log: Log) -> None:
        """A read gives at most `limit` records from its offset on, and nothing behind the end."""
        log.append([(0, bytes([number])) for number in range(10)])
        assert log.read(0, 3, 4) == [b"\x03", b"\x04", b"\x05", b"\x06"]
        assert log.read(0, 8, 4) == [b"\x08", b"\x09"]
        assert log.read(0, 10, 4) == []
        assert log.read(0, 99, 4) == []

    def test_an_append_that_fails_leaves_nothing(self, log: Log) -> None:
        """An unknown partition fails the whole append, and the next one continues without a gap."""
        log.append([(0, b"before")])
        with pytest.raises(KeyError):
            log.append([(0, b"half"), (PARTITIONS, b"nowhere")])
        assert log.ends()[0] == 1
        log.append([(0, b"after")])
        assert log.read(0, 0, 10) == [b"before", b"after"]

    def test_a_record_keeps_its_bytes(self, log: Log) -> None:
        """Any bytes, empty ones and large ones, come back as they were appended."""
        records = [b"", b"\x00" * 3, bytes(range(256)) * 2048]
        log.append([(0, record) for record in records])
        assert log.read(0, 0, 10) == records

    def test_an_empty_append_is_nothing(self, log: Log) -> None:
        """An append of no records moves no end."""
        log.append([])
        assert log.ends() == {0: 0, 1: 0, 2: 0, DEAD: 0}

    @pytest.mark.usefixtures("eager_threads")
    def test_readers_in_threads_see_a_growing_prefix(self, log: Log) -> None:
        """While a log is appended to, two readers see whole appends, in order, and never a gap."""
        stop = threading.Event()
        faults: list[str] = []

        def read() -> None:
            seen = 0
            while not stop.is_set() or seen < 2 * 60:
                records = log.read(0, 0, 1000)
                if records != [b"%d" % number for number in range(len(records))] or len(records) < seen:
                    faults.append(f"{len(records)} records after {seen}")
                    return
                seen = len(records)

        readers = [threading.Thread(target=read) for _ in range(2)]
        for reader in readers:
            reader.start()
        for number in range(60):
            log.append([(0, b"%d" % (2 * number)), (0, b"%d" % (2 * number + 1))])
        stop.set()
        for reader in readers:
            reader.join(30)
        assert faults == []
        assert not any(reader.is_alive() for reader in readers)
