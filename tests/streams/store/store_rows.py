"""What every store does with rows, whatever it is made of."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from streams.fold.declarations import for_later
from streams.log.port import DEAD
from streams.store.port import ANY, Range, Store
from streams.store.tables import (
    AUDITED,
    CASES,
    CASES_BY_TIME,
    COUNTS,
    DEAD_LETTERS,
    DECLARATIONS,
    EXPOSURES,
    FACTS,
    FACTS_BY_CASE,
    FACTS_BY_SLOT,
    FACTS_BY_TIME,
    FACTS_BY_WAIT,
    LABELS,
    PREDICTIONS,
    PREDICTIONS_BY_TIME,
    VIEWS_VERSION,
    Declaration,
    Index,
    Row,
)
from streams.views.registry import TABLES
from tests.streams.store.rows import WORDS, case, count, fact, row
from tests.streams.store.storing import IDENTITY, everything, got, put


class RowsContract:
    """Inherit, and give a fixture `store` with an empty store of `IDENTITY`, open for writing."""

    def test_a_store_knows_its_log_and_its_views(self, store: Store) -> None:
        """A store says which log it was built from, and by which version of the views."""
        assert store.log == IDENTITY
        assert store.views_version == VIEWS_VERSION

    def test_an_empty_store_answers_with_nothing(self, store: Store) -> None:
        """Every way of reading every table works before the first block."""
        with store.snapshot() as snapshot:
            assert snapshot.positions() == {}
            for table in TABLES:
                assert list(snapshot.scan(table)) == []
                assert snapshot.count(table) == 0
                assert snapshot.get(table, []) == []
                for index in table.searched:
                    assert snapshot.find(table, index.columns[0], []) == []
                for index in (*table.indexes, table.by_key):
                    assert snapshot.along(table, index, [], fixed=1, limit=1) == []
                if table.sums:
                    assert snapshot.totals(table, []) == []
                    assert snapshot.totals(table, ["env"]) == []

    def test_rows_come_back_as_they_were_put(self, store: Store) -> None:
        """Every column keeps its value: nulls, zeros, empty texts and bytes are told apart."""
        rows = [
            fact(b"p1", 1, value="", text=None, explains=b"", joined=0, digest=b"\x00" * 16, label="😀\x01"),
            fact(b"p1", 2, value=None, text="", explains=None, joined=None, digest=b"\xff" * 16),
        ]
        put(store, FACTS, rows)
        assert everything(store, FACTS) == rows
        label = row(LABELS, model="m", pid=b"p", env="prod", agreement=2 / 3, people=3, candidates="[]")
        put(store, LABELS, [label])
        assert everything(store, LABELS) == [label]

    @pytest.mark.parametrize("size", [1, 59, 60, 61, 1000])
    def test_insert_puts_what_is_not_there(self, store: Store, size: int) -> None:
        """Rows with new keys are inserted, few or many, beside those that are there."""
        put(store, FACTS, [fact(b"a", 1)])
        rows = [fact(b"b", number, text=None if number % 2 else "t") for number in range(size)]
        with store.transaction([0]) as transaction:
            transaction.insert(FACTS, rows)
            transaction.insert(FACTS, [])
        assert everything(store, FACTS) == [fact(b"a", 1), *rows]

    def test_the_longest_keys_are_kept(self, store: Store) -> None:
        """Ids of 256 characters of four bytes each fit into a key, every time."""
        long = "".join(chr(0x10000 + number * 977) for number in range(256))
        source = long[::-1]
        key, id_ = b"jm/" + long.encode(), b"t" + long[1:].encode() + b"zzzz"
        rows = [row(FACTS, key=key, id=id_, source=each) for each in sorted((source, source[:-1] + "z"))]
        put(store, FACTS, rows)
        put(store, FACTS, rows)
        assert sorted(everything(store, FACTS)) == sorted(rows)
        assert got(store, FACTS, [(key, id_, source)]) == [row(FACTS, key=key, id=id_, source=source)]

    def test_put_replaces_the_row_with_the_same_key(self, store: Store) -> None:
        """One key, one row: the last one put, whole."""
        put(store, FACTS, [fact(b"p1", 1, text="old", waits_for="prediction:x"), fact(b"p1", 2)])
        put(store, FACTS, [fact(b"p1", 1, value="up", pid=b"p9")])
        assert everything(store, FACTS) == [fact(b"p1", 1, value="up", pid=b"p9"), fact(b"p1", 2)]
        with store.snapshot() as snapshot:
            assert snapshot.find(FACTS, "waits_for", ["prediction:x"]) == []
            assert snapshot.find(FACTS, "id", [b"0001"]) == [fact(b"p1", 1, value="up", pid=b"p9")]

    def test_a_table_may_be_all_key(self, store: Store) -> None:
        """A row whose key is there already is put again without harm."""
        entry = row(AUDITED, model="m", env="prod", input_ref="r", pid=b"p")
        put(store, AUDITED, [entry])
        put(store, AUDITED, [entry])
        assert everything(store, AUDITED) == [entry]

    def test_get_reads_by_whole_keys_and_by_prefixes(self, store: Store) -> None:
        """A prefix stands for all keys that begin with it; what is not there is left out."""
        rows = [fact(key, number) for key in (b"a", b"b", b"c") for number in range(3)]
        put(store, FACTS, rows)
        assert got(store, FACTS, [(b"a",), (b"c",), (b"zz",)]) == rows[:3] + rows[6:]
        assert got(store, FACTS, [(b"b", b"0001")]) == [rows[4]]
        assert got(store, FACTS, [(b"b", b"0001", "/s"), (b"b", b"0002", "/other")]) == [rows[4]]
        assert got(store, FACTS, [[b"b"], [b"zz"]]) == rows[3:6]
        assert got(store, FACTS, iter([(b"a",)])) == rows[:3]

    @pytest.mark.parametrize("size", [1, 2, 7, 8, 9, 63, 64, 65, 300, 1023, 1024, 1025, 2500])
    def test_get_takes_any_number_of_keys(self, store: Store, size: int) -> None:
        """However many keys are asked for, and however often one of them, each row comes once."""
        rows = [case(b"%06d" % number, b"p") for number in range(size)]
        put(store, CASES, rows)
        keys = [entry[:2] for entry in rows]
        strangers = [(b"x%06d" % number, b"p") for number in range(size)]
        assert got(store, CASES, keys) == rows
        assert got(store, CASES, [*reversed(keys), *strangers, *keys]) == rows
        assert got(store, CASES, [key[:1] for key in (*keys, *strangers, *keys)]) == rows

    def test_find_reads_by_an_indexed_column(self, store: Store) -> None:
        """Rows are found by the first column of an index; null is no value to be found by."""
        rows = [fact(b"k", number, waits_for=word) for number, word in enumerate(["a", "b", None, "a"])]
        put(store, FACTS, rows)
        with store.snapshot() as snapshot:
            assert sorted(snapshot.find(FACTS, "waits_for", ["a", "a", "c", None])) == [rows[0], rows[3]]
            assert snapshot.find(FACTS, "waits_for", [None]) == []
            assert snapshot.find(FACTS, "id", [b"0002"]) == [rows[2]]

    def test_an_index_follows_its_rows(self, store: Store) -> None:
        """What was found before it changed, or before it was removed, is not found after."""
        put(store, FACTS, [fact(b"k", 1, waits_for="a"), fact(b"k", 2, waits_for="a")])
        with store.snapshot() as snapshot:
            assert len(snapshot.find(FACTS, "waits_for", ["a"])) == 2
            assert len(snapshot.get(FACTS, [(b"k",)])) == 2
        with store.transaction([0]) as transaction:
            transaction.put(FACTS, [fact(b"k", 1, waits_for="b")])
            transaction.delete(FACTS, [(b"k", b"0002", "/s")])
            assert transaction.find(FACTS, "waits_for", ["a"]) == []
        with store.snapshot() as snapshot:
            assert snapshot.find(FACTS, "waits_for", ["a"]) == []
            assert snapshot.find(FACTS, "waits_for", ["b"]) == [fact(b"k", 1, waits_for="b")]
            assert snapshot.get(FACTS, [(b"k",)]) == [fact(b"k", 1, waits_for="b")]

    def test_delete_removes_what_is_there(self, store: Store) -> None:
        """Keys that are not there are no error."""
        put(store, CASES, [case(b"k", b"1"), case(b"k", b"2")])
        with store.transaction([0]) as transaction:
            transaction.delete(CASES, [(b"k", b"1"), (b"k", b"9")])
            transaction.delete(CASES, [])
        assert everything(store, CASES) == [case(b"k", b"2")]

    def test_add_grows_the_sums(self, store: Store) -> None:
        """Counters grow by what is added and are made when they are missing; other columns stay."""
        with store.transaction([0]) as transaction:
            transaction.add(COUNTS, [count("a", 0, 2, 3, model="m"), count("b", 0, 1)])
            transaction.add(COUNTS, [count("a", 0, -1, 1, model="m"), count("a", 1, 5, model="m")])
        with store.transaction([0]) as transaction:
            transaction.add(COUNTS, [count("a", 0, 10, model="m")])
            transaction.add(COUNTS, [])
        assert everything(store, COUNTS) == [
            count("a", 0, 11, 4, model="m"),
            count("a", 1, 5, model="m"),
            count("b", 0, 1),
        ]

    @pytest.mark.parametrize("size", [1, 9, 10, 11, 95, 1000])
    def test_any_number_of_rows_is_written(self, store: Store, size: int) -> None:
        """However many rows a call writes, all of them are written, once."""
        with store.transaction([0]) as transaction:
            transaction.put(CASES, [case(b"%06d" % number, b"p", 1) for number in range(size)])
            transaction.put(CASES, [case(b"%06d" % number, b"p", number) for number in range(size)])
            transaction.add(COUNTS, [count(f"{number:06}", 0, number, 1) for number in range(size)])
            transaction.add(COUNTS, [count(f"{number:06}", 0, number, 1) for number in range(size)])
        assert everything(store, CASES) == [case(b"%06d" % number, b"p", number) for number in range(size)]
        assert everything(store, COUNTS) == [count(f"{n:06}", 0, 2 * n, 2) for n in range(size)]

    def test_scan_is_in_key_order(self, store: Store) -> None:
        """Keys are ordered by their bytes: texts by code points, numbers by value, column by column."""
        rows = [
            row(EXPOSURES, subject=word, dims="d", day="1", shard=n) for word in WORDS for n in (-1, 2, 10)
        ]
        put(store, EXPOSURES, rows[::-1])
        assert everything(store, EXPOSURES) == rows
        letters = [
            row(DEAD_LETTERS, partition=p, offset=o, place=3 - o) for p in (DEAD, 0, 1) for o in (0, 2, 11)
        ]
        put(store, DEAD_LETTERS, letters[::2] + letters[1::2])
        assert everything(store, DEAD_LETTERS) == letters

    def test_scan_reads_the_rows_that_meet_its_conditions(self, store: Store) -> None:
        """A value, a null, and a range with one end, two or none; several conditions all hold."""
        rows = [
            fact(b"k%d" % (number % 2), number, at=number, code="c" if number % 3 else None)
            for number in range(12)
        ]
        put(store, FACTS, rows)
        rows.sort()
        with store.snapshot() as snapshot:
            questions: list[tuple[dict[str, Any], Callable[[Any, Any], bool]]] = [
                ({"at": 5}, lambda at, code: at == 5),
                ({"code": None}, lambda at, code: code is None),
                ({"code": Range()}, lambda at, code: code is not None),
                ({"at": Range(3)}, lambda at, code: at >= 3),
                ({"at": Range(high=7)}, lambda at, code: at <= 7),
                ({"at": Range(3, 7), "code": "c"}, lambda at, code: 3 <= at <= 7 and code == "c"),
                ({"code": Range("a", "z")}, lambda at, code: code is not None),
                ({"code": Range("d")}, lambda at, code: False),
            ]
            for where, meets in questions:
                wanted = [each for each in rows if meets(each[8], each[FACTS.columns.index("code")])]
                assert list(snapshot.scan(FACTS, where)) == wanted, where
                assert snapshot.count(FACTS, where) == len(wanted), where

    @pytest.mark.parametrize(
        "where", [{}, {"key": b"b"}, {"key": Range(b"b")}, {"key": b"b", "pid": b"2"}, {"at": 1}]
    )
    def test_pages_are_the_whole(self, store: Store, where: dict[str, Any]) -> None:
        """Reading page by page, each from just behind the last key, gives what one scan gives."""
        put(store, CASES, [case(key, b"%d" % n, n % 2) for key in (b"a", b"b", b"c") for n in range(5)])
        with store.snapshot() as snapshot:
            whole = list(snapshot.scan(CASES, where))
            paged: list[Row] = []
            while page := list(snapshot.scan(CASES, where, after=paged[-1][:2] if paged else None, limit=2)):
                assert len(page) <= 2
                paged += page
        assert whole
        assert paged == whole

    def test_a_scan_can_start_behind_any_key(self, store: Store) -> None:
        """The key to start behind need not be there, nor meet the conditions."""
        rows = [case(key, pid) for key in (b"b", b"d") for pid in (b"1", b"3")]
        put(store, CASES, rows)
        with store.snapshot() as snapshot:
            assert list(snapshot.scan(CASES, after=(b"b", b"2"))) == rows[1:]
            assert list(snapshot.scan(CASES, after=(b"c", b""))) == rows[2:]
            assert list(snapshot.scan(CASES, after=(b"z", b""))) == []
            assert list(snapshot.scan(CASES, {"key": b"d"}, after=(b"a", b"9"))) == rows[2:]
            assert list(snapshot.scan(CASES, {"key": b"d"}, after=(b"d", b"1"))) == rows[3:]
            assert list(snapshot.scan(CASES, {"key": b"b"}, after=(b"c", b""))) == []
            assert list(snapshot.scan(CASES, {"key": b"b", "pid": b"3"}, after=(b"b", b"1"))) == [rows[1]]
            assert list(snapshot.scan(CASES, {"key": b"b", "pid": b"3"}, after=(b"b", b"3"))) == []
            assert list(snapshot.scan(CASES, limit=0)) == []

    def test_totals_add_up_over_shards(self, store: Store) -> None:
        """Groups are summed over partitions, in order with nulls first; a group of zeros is absent."""
        put(
            store,
            COUNTS,
            [
                count("a", 0, 2, 2, segment="s", env="prod"),
                count("a", 1, 3, 4, segment="s", env="prod"),
                count("b", 0, 1, 0, env="prod"),
                count("c", 0, 4, 1, segment="t", env="prod"),
                count("c", 1, -4, -1, segment="t", env="prod"),
                count("d", 0, 7, 7, segment="S", env="test"),
                count("e", 0, 0, 3, segment="u", env="prod"),
            ],
        )
        with store.snapshot() as snapshot:
            by_segment = [(None, 1, 0), ("S", 7, 7), ("s", 5, 6), ("u", 0, 3)]
            assert snapshot.totals(COUNTS, ["segment"]) == by_segment
            assert snapshot.totals(COUNTS, ["env", "segment"], {"env": "test"}) == [("test", "S", 7, 7)]
            assert snapshot.totals(COUNTS, [], {"env": "prod"}) == [(6, 9)]
            assert snapshot.totals(COUNTS, [], {"segment": "t"}) == []
            assert snapshot.totals(COUNTS, ["segment"], {"segment": Range("s", "t")}) == [("s", 5, 6)]

    def test_pairs_join_two_tables(self, store: Store) -> None:
        """Rows come with what another table says under their key, in their own order, or not at all."""
        put(store, PREDICTIONS, [row(PREDICTIONS, pid=b"%d" % n, at=n, segment="s") for n in (1, 2, 4)])
        put(store, LABELS, [row(LABELS, model=m, pid=b"%d" % n, people=n) for m in "ba" for n in (3, 2, 1)])
        with store.snapshot() as snapshot:
            pairs = snapshot.pairs(LABELS, ["model", "pid"], PREDICTIONS, ["at", "segment"])
            expected = [(model, b"%d" % n, n, "s") for model in "ab" for n in (1, 2)]
            assert list(pairs) == expected
            pairs = snapshot.pairs(LABELS, ["people"], PREDICTIONS, ["at"], {"model": "b"})
            assert list(pairs) == [(1, 1), (2, 2)]

    def test_the_newest_are_read_along_an_index(self, store: Store) -> None:
        """From the end of an index, of one value, within a range of instants, and page by page."""
        rows = [
            row(PREDICTIONS, pid=b"%d" % number, model="ab"[number % 2], at=number // 4 - 1)
            for number in range(24)
        ]
        put(store, PREDICTIONS, rows)
        ordered = sorted((each for each in rows if each[11] == "a"), key=lambda each: (each[8], each[0]))[
            ::-1
        ]
        with store.snapshot() as snapshot:

            def newest(within: Range = ANY, limit: int = 99, before: Any = None) -> list[Row]:
                return snapshot.newest(
                    PREDICTIONS, PREDICTIONS_BY_TIME, "a", within, before=before, limit=limit
                )

            assert newest() == ordered
            assert newest(limit=3) == ordered[:3]
            for low in (None, -1, 2):
                for high in (None, 0, 3):
                    wanted = [
                        each
                        for each in ordered
                        if (low is None or each[8] >= low) and (high is None or each[8] <= high)
                    ]
                    paged: list[Row] = []
                    before = None
                    while page := newest(Range(low, high), 2, before):
                        paged += page
                        before = (page[-1][8], page[-1][0])
                    assert paged == wanted
                    assert newest(Range(low, high), 99, (99, b"")) == wanted
            assert snapshot.newest(PREDICTIONS, PREDICTIONS_BY_TIME, "c", limit=9) == []

    def test_of_one_instant_the_newest_are_in_a_fixed_order(self, store: Store) -> None:
        """By id, then by the place in the log: a page that ends in the middle goes on right behind."""
        rows = [
            row(FACTS, key=b"k%d" % n, id=b"%d" % (n // 3), source="/s", kind="x", at=7, offset=n % 3)
            for n in range(9)
        ]
        put(store, FACTS, rows)
        with store.snapshot() as snapshot:
            paged: list[Row] = []
            before = None
            while page := snapshot.newest(FACTS, FACTS_BY_TIME, "x", before=before, limit=2):
                paged += page
                before = (7, page[-1][1], 0, page[-1][6], 0)
        assert paged == rows[::-1]

    def test_different_values_come_once_each(self, store: Store) -> None:
        """In order, within a range, behind another one, up to a limit; null is none of them."""
        put(store, FACTS, [fact(b"k", n, waits_for=word) for n, word in enumerate([*WORDS, None, *WORDS])])
        put(store, CASES, [case(key, b"%d" % n) for key in (b"b", b"a") for n in range(3)])
        with store.snapshot() as snapshot:
            assert snapshot.distinct(FACTS, "waits_for", limit=99) == list(WORDS)
            assert snapshot.distinct(FACTS, "waits_for", limit=2) == list(WORDS[:2])
            assert snapshot.distinct(FACTS, "waits_for", after="a", limit=99) == list(WORDS[3:])
            within = Range("a", "é")
            assert snapshot.distinct(FACTS, "waits_for", within, limit=99) == list(WORDS[2:6])
            assert snapshot.distinct(FACTS, "waits_for", within, after="ab", limit=99) == ["é"]
            assert snapshot.distinct(FACTS, "waits_for", within, after="é", limit=99) == []
            assert snapshot.distinct(CASES, "key", limit=99) == [b"a", b"b"]

    def test_counting_can_end_early(self, store: Store) -> None:
        """With `most`, no more are counted than that."""
        put(store, FACTS, [fact(b"k", number, waits_for="a") for number in range(5)])
        with store.snapshot() as snapshot:
            for most, wanted in ((0, 0), (3, 3), (5, 5), (9, 5), (None, 5)):
                assert snapshot.count(FACTS, {"waits_for": "a"}, most=most) == wanted

    def test_rows_come_along_an_index(self, store: Store) -> None:
        """From each start the rows behind it, in the order of the index and no more than asked for."""
        rows = [
            fact(b"j", n, case_at=at, at=at, waits_for=wait)
            for n, (at, wait) in enumerate([(3, "a"), (1, None), (3, "b"), (2, "a"), (-5, "a")])
        ]
        rows += [fact(b"k", 9, case_at=2, at=2), fact(b"p", 1, at=2, waits_for="a")]
        put(store, FACTS, rows)
        first, second, third, fourth, fifth, other, plain = rows
        with store.snapshot() as snapshot:

            def along(index: Index, starts: list[Row], fixed: int, limit: int, **how: bool) -> list[Row]:
                return snapshot.along(FACTS, index, starts, fixed=fixed, limit=limit, **how)

            assert along(FACTS_BY_CASE, [(b"j",)], 1, 9) == [fifth, second, fourth, first, third]
            assert along(FACTS_BY_CASE, [(b"j",)], 1, 2, descending=True) == [third, first]
            assert along(FACTS_BY_CASE, [(b"j", 2)], 1, 1) == [first]
            assert along(FACTS_BY_CASE, [(b"j", 3)], 1, 1, descending=True) == [fourth]
            assert along(FACTS_BY_CASE, [(b"j", 3, b"0000", "/s")], 1, 9) == [third]
            assert sorted(along(FACTS_BY_CASE, [(b"j", 1), (b"k", 1), (b"p", 1), (b"z", 1)], 1, 1)) == [
                fourth,
                other,
            ]
            waiting = along(FACTS_BY_WAIT, [("",)], 0, 9)
            assert waiting == [first, fourth, fifth, plain, third]
            assert along(FACTS_BY_WAIT, [("a", b"j", b"0003", "/s")], 0, 2) == [fifth, plain]
            assert along(FACTS.by_key, [(b"j", b"0001", "/s")], 1, 2) == [third, fourth]
            assert along(FACTS.by_key, [(b"j", b"0001", "/s")], 3, 2) == [second]

    def test_a_transaction_walks_along_what_it_wrote(self, store: Store) -> None:
        """Rows that a transaction put, moved or deleted are where they belong, in order with the others."""
        put(store, CASES, [case(b"k", b"%d" % n, n) for n in range(6)])
        with store.transaction([0]) as transaction:
            transaction.put(CASES, [case(b"k", b"1", 7), case(b"k", b"8", 2), case(b"l", b"9", 1)])
            transaction.delete(CASES, [(b"k", b"3")])
            rows = transaction.along(CASES, CASES_BY_TIME, [(b"k",)], fixed=1, limit=9)
            assert [row[1] for row in rows] == [b"0", b"2", b"8", b"4", b"5", b"1"]
            rows = transaction.along(CASES, CASES_BY_TIME, [(b"k", 5)], fixed=1, limit=2, descending=True)
            assert [row[1] for row in rows] == [b"4", b"8"]

    def test_long_ids_are_told_apart_along_an_index(self, store: Store) -> None:
        """However long the values are that only have to be equal, none is taken for another."""
        long = "é" * 256
        people = (long, long[:-1] + "e", "short")
        rows = [
            row(FACTS, key=b"k", id=b"%d" % n, source="/s", pid=long.encode() * 2, person=who, slot="thumb")
            for n, who in enumerate(people)
        ]
        put(store, FACTS, rows)
        with store.snapshot() as snapshot:
            for each, who in zip(rows, people, strict=True):
                start = (long.encode() * 2, who, "thumb")
                assert snapshot.along(FACTS, FACTS_BY_SLOT, [start], fixed=3, limit=5) == [each]

    def test_the_last_declaration_for_later_versions_is_found(self, store: Store) -> None:
        """Of each model by itself: the greatest (at, id, source) of those that serve later versions."""

        def declaration(
            model: str, version: str, at: int, id_: str, source: str, *, later: bool = True
        ) -> Row:
            return model, version, "{}", b"d", id_, source, at, 0, model if later else None

        greatest = declaration("m", "3", 5, "b", "/t")
        put(
            store,
            DECLARATIONS,
            [
                declaration("m", "1", 5, "a", "/z"),
                declaration("m", "2", 5, "b", "/s"),
                greatest,
                declaration("m", "4", 4, "z", "/z"),
                declaration("m", "5", 9, "z", "/z", later=False),
                declaration("n", "1", 1, "a", "/s"),
                declaration("o", "1", 1, "a", "/s", later=False),
            ],
        )
        with store.snapshot() as snapshot:
            found = for_later(snapshot, ["m", "n", "o", "p"])
        assert found == {"m": Declaration(*greatest), "n": Declaration(*declaration("n", "1", 1, "a", "/s"))}
