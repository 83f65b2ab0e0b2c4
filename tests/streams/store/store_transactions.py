"""What every store does with transactions and snapshots, whatever it is made of."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import ExitStack

import pytest

from streams.log.port import DEAD
from streams.store.port import Applied, Store
from streams.store.tables import (
    CASES,
    COUNTS,
    Row,
)
from tests.streams.store.rows import case, count
from tests.streams.store.storing import Interrupted, everything, got, put


class TransactionsContract:
    """Inherit, and give a fixture `store` with an empty store of `IDENTITY`, open for writing."""

    def test_positions_move_with_the_rows(self, store: Store) -> None:
        """Positions are kept per partition; those that a transaction does not move stay."""
        first, second = Applied(3, b"digest", 7), Applied(9, b"other", 8)
        with store.transaction([0, DEAD]) as transaction:
            assert transaction.positions() == {}
            transaction.advance({0: first, DEAD: second})
            assert transaction.positions() == {0: first, DEAD: second}
        with store.transaction([1]) as transaction:
            transaction.advance({1: first})
            transaction.advance({0: second})
        with store.snapshot() as snapshot:
            assert snapshot.positions() == {0: second, 1: first, DEAD: second}

    def test_a_transaction_reads_its_own_writes(self, store: Store) -> None:
        """Each way of reading sees what the transaction has written so far."""
        put(store, CASES, [case(b"k", b"1", 1), case(b"k", b"2", 1)])
        put(store, COUNTS, [count("a", 0, 1)])
        with store.transaction([0]) as transaction:
            transaction.put(CASES, [case(b"k", b"1", 5), case(b"k", b"3", 5)])
            transaction.delete(CASES, [(b"k", b"2")])
            transaction.add(COUNTS, [count("a", 0, 1), count("a", 1, 1)])
            rows = [case(b"k", b"1", 5), case(b"k", b"3", 5)]
            assert sorted(transaction.get(CASES, [(b"k",)])) == rows
            assert sorted(transaction.get(CASES, [(b"k", b"1"), (b"k", b"2"), (b"k", b"3")])) == rows
            assert list(transaction.scan(CASES, {"at": 5})) == rows
            assert transaction.count(CASES) == 2
            assert transaction.totals(COUNTS, ["dims"]) == [("a", 3, 0)]
            transaction.put(CASES, [case(b"k", b"2", 6)])
            transaction.delete(CASES, [(b"k", b"1"), (b"k", b"3")])
        assert everything(store, CASES) == [case(b"k", b"2", 6)]

    @pytest.mark.parametrize("error", [Interrupted, KeyboardInterrupt])
    def test_an_error_takes_everything_back(self, store: Store, error: type[BaseException]) -> None:
        """A transaction that ends in an error leaves rows, counters and positions as they were."""
        put(store, CASES, [case(b"k", b"1", 1), case(b"k", b"2", 1)])
        put(store, COUNTS, [count("a", 0, 1)])

        def interrupted() -> None:
            with store.transaction([0]) as transaction:
                transaction.put(CASES, [case(b"k", b"1", 9), case(b"k", b"3", 9)])
                transaction.delete(CASES, [(b"k", b"2")])
                transaction.add(COUNTS, [count("a", 0, 9), count("b", 0, 9)])
                transaction.advance({0: Applied(9, b"d", 9)})
                raise error

        with pytest.raises(error):
            interrupted()
        assert everything(store, CASES) == [case(b"k", b"1", 1), case(b"k", b"2", 1)]
        assert everything(store, COUNTS) == [count("a", 0, 1)]
        with store.snapshot() as snapshot:
            assert snapshot.positions() == {}
        put(store, CASES, [case(b"k", b"1", 2)])
        assert got(store, CASES, [(b"k", b"1")]) == [case(b"k", b"1", 2)]

    def test_a_reader_beside_a_writer_sees_the_old_state(self, store: Store) -> None:
        """What a transaction has written is seen by nobody before its end, and then by new snapshots."""
        put(store, CASES, [case(b"k", b"1", 1)])
        with store.transaction([0]) as transaction:
            transaction.put(CASES, [case(b"k", b"1", 2), case(b"k", b"2", 2)])
            transaction.advance({0: Applied(1, b"d", 1)})
            assert everything(store, CASES) == [case(b"k", b"1", 1)]
            with store.snapshot() as snapshot:
                assert snapshot.positions() == {}
        assert everything(store, CASES) == [case(b"k", b"1", 2), case(b"k", b"2", 2)]

    def test_a_snapshot_stays_what_it_was(self, store: Store) -> None:
        """Whatever is written while a snapshot is open, it answers as when it was opened; several differ."""
        put(store, CASES, [case(b"k", b"1", 1), case(b"k", b"2", 1)])
        put(store, COUNTS, [count("a", 0, 1)])
        with ExitStack() as stack:
            first = stack.enter_context(store.snapshot())
            with store.transaction([0]) as transaction:
                transaction.put(CASES, [case(b"k", b"1", 2), case(b"k", b"3", 2)])
                transaction.delete(CASES, [(b"k", b"2")])
                transaction.add(COUNTS, [count("a", 0, 5)])
                transaction.advance({0: Applied(1, b"d", 1)})
            second = stack.enter_context(store.snapshot())
            with store.transaction([0]) as transaction:
                transaction.put(CASES, [case(b"k", b"2", 3)])
                transaction.delete(CASES, [(b"k", b"1"), (b"k", b"3")])
                transaction.advance({0: Applied(2, b"e", 2)})
            old, new = [case(b"k", b"1", 1), case(b"k", b"2", 1)], [case(b"k", b"1", 2), case(b"k", b"3", 2)]
            for snapshot, rows, total, positions in [
                (first, old, 1, {}),
                (second, new, 6, {0: Applied(1, b"d", 1)}),
            ]:
                assert list(snapshot.scan(CASES)) == rows
                assert sorted(snapshot.get(CASES, [(b"k",)])) == rows
                keys = [(b"k", b"%d" % n) for n in range(4)]
                assert sorted(snapshot.get(CASES, keys)) == rows
                assert snapshot.count(CASES) == 2
                assert snapshot.totals(COUNTS, ["dims"]) == [("a", total, 0)]
                assert snapshot.positions() == positions
        assert everything(store, CASES) == [case(b"k", b"2", 3)]

    def test_a_second_writer_waits_for_the_first(self, store: Store) -> None:
        """Two transactions on the same positions follow each other: the later one sees the earlier one."""
        inside, done = threading.Event(), threading.Event()
        seen: list[dict[int, Applied]] = []

        def second() -> None:
            inside.wait(10)
            with store.transaction([0]) as transaction:
                seen.append(transaction.positions())
                transaction.advance({0: Applied(2, b"b", 2)})
            done.set()

        thread = threading.Thread(target=second)
        thread.start()
        with store.transaction([0]) as transaction:
            inside.set()
            assert not done.wait(0.2)
            assert seen == []
            transaction.advance({0: Applied(1, b"a", 1)})
        thread.join(10)
        assert seen == [{0: Applied(1, b"a", 1)}]
        with store.snapshot() as snapshot:
            assert snapshot.positions() == {0: Applied(2, b"b", 2)}

    @pytest.mark.usefixtures("eager_threads")
    def test_readers_in_threads_see_whole_transactions(self, store: Store) -> None:
        """While rows and the position move together, no reader sees one without the other."""
        rounds, faults, stop = 60, list[str](), threading.Event()

        def read() -> None:
            last = 0
            while not stop.is_set():
                with store.snapshot() as snapshot:
                    at = snapshot.positions().get(0, Applied(0, b"", 0)).offset
                    rows = snapshot.get(CASES, [(b"k",)])
                    total = sum(total for (total, _) in snapshot.totals(COUNTS, []))
                if not last <= at == len(rows) == total or any(entry[2] != at for entry in rows):
                    faults.append(f"{last} {at} {len(rows)} {total}")
                last = at

        readers = [threading.Thread(target=read) for _ in range(2)]
        for reader in readers:
            reader.start()
        for number in range(1, rounds + 1):
            with store.transaction([0]) as transaction:
                transaction.put(CASES, [case(b"k", b"%04d" % n, number) for n in range(number)])
                transaction.add(COUNTS, [count("a", number % 3, 1)])
                transaction.advance({0: Applied(number, b"d", number)})
        stop.set()
        for reader in readers:
            reader.join(30)
        assert faults == []

    def test_a_scan_may_be_left_half_way(self, store: Store) -> None:
        """Who stops reading early holds nothing: the next snapshot is of the newest state."""
        put(store, CASES, [case(b"%06d" % number, b"p", 1) for number in range(2000)])
        scans: list[Iterator[Row]] = []
        with store.snapshot() as snapshot:
            scans.append(snapshot.scan(CASES))
            assert next(scans[0])[2] == 1
        put(store, CASES, [case(b"%06d" % number, b"p", 2) for number in range(2000)])
        assert {entry[2] for entry in everything(store, CASES)} == {2}
