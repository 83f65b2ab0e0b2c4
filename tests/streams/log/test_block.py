"""A block keeps what is put in, and says so when it cannot be read."""

from __future__ import annotations

from contextlib import suppress

import pytest
import zstandard
from hypothesis import given
from hypothesis import strategies as st
from msgspec import json

from streams.log.block import (
    DEAD_LETTER_TYPE,
    MAX_PLAIN_BYTES,
    DeadLetter,
    UnreadableBlock,
    digest,
    raw_items,
    read_block,
    read_dead_letters,
    write_block,
    write_dead_letters,
)

_NAMES = st.lists(st.text(min_size=1, max_size=20), min_size=1, max_size=4, unique=True)
_VALUES = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**53), 2**53) | st.text(max_size=20),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=6,
)
_ITEMS = st.lists(_VALUES.map(json.encode), min_size=1, max_size=20)
_INSTANTS = st.integers(0, 2**62)
_LETTERS = st.lists(
    st.builds(
        DeadLetter,
        code=st.text(max_size=10),
        detail=st.text(max_size=30),
        id=st.none() | st.text(max_size=10),
        source=st.none() | st.text(max_size=10),
        bytes=st.binary(max_size=60),
    ),
    min_size=1,
    max_size=5,
)

SAMPLE = write_block(["feedback.thumb"], [(5, 2), (7, 1)], [b'{"a":1}', b"[ 2 ]", b'"three"'])


@given(_NAMES, _ITEMS, st.data())
def test_a_block_keeps_its_items(types: list[str], items: list[bytes], data: st.DataObject) -> None:
    """Types, instants of receipt and the items' own bytes come back as they were written."""
    cut = data.draw(st.integers(0, len(items)))
    runs = [(data.draw(_INSTANTS), count) for count in (cut, len(items) - cut) if count]
    record = write_block(types, runs, items)
    header, body = read_block(record)
    assert header.types == sorted(types)
    assert list(header.instants()) == [instant for instant, count in runs for _ in range(count)]
    assert body == b"[" + b",".join(items) + b"]"
    assert raw_items(record) == items


@given(_LETTERS, _INSTANTS)
def test_dead_letters_keep_their_bytes(letters: list[DeadLetter], received: int) -> None:
    """A refused item comes back with its reason, its instant and its bytes, whatever they are."""
    record = write_dead_letters(received, letters)
    assert read_block(record)[0].types == [DEAD_LETTER_TYPE]
    assert read_dead_letters(record) == [(received, letter) for letter in letters]


def test_the_dead_letter_partition_holds_dead_letters_only() -> None:
    """A block of events where refused items belong stops the reader."""
    with pytest.raises(UnreadableBlock):
        read_dead_letters(SAMPLE)


def test_a_newer_format_says_to_upgrade() -> None:
    """A format that this version does not know is named, with what to do; it is not skipped."""
    with pytest.raises(UnreadableBlock, match=r"format 3 .* upgrade"):
        read_block(SAMPLE[:3] + b"\x03" + SAMPLE[4:])


@pytest.mark.parametrize("size", range(len(SAMPLE)))
def test_a_block_that_was_cut_is_refused(size: int) -> None:
    """However short, what is left of a block is unreadable: it is no other block, and no crash."""
    with pytest.raises(UnreadableBlock):
        read_block(SAMPLE[:size])


@given(st.integers(0, len(SAMPLE) - 1), st.integers(1, 255))
def test_a_damaged_block_never_fails_otherwise(place: int, flip: int) -> None:
    """A block with one byte changed is read or refused by name; the digest always tells it apart."""
    damaged = SAMPLE[:place] + bytes([SAMPLE[place] ^ flip]) + SAMPLE[place + 1 :]
    assert digest(damaged) != digest(SAMPLE)
    with suppress(UnreadableBlock):
        read_block(damaged)


@given(st.binary(max_size=40))
def test_other_bytes_are_no_block(record: bytes) -> None:
    """What does not begin as a block does is refused."""
    with pytest.raises(UnreadableBlock):
        read_block(record)


@pytest.mark.parametrize("place", range(SAMPLE.index(b'[{"a"'), len(SAMPLE)))
def test_a_changed_byte_among_the_items_is_noticed(place: int) -> None:
    """The items carry a checksum: a disk that returns other bytes is noticed, not folded."""
    for bit in range(8):
        damaged = SAMPLE[:place] + bytes([SAMPLE[place] ^ 1 << bit]) + SAMPLE[place + 1 :]
        with pytest.raises(UnreadableBlock):
            read_block(damaged)


@given(_LETTERS, _INSTANTS)
def test_a_plain_block_has_no_compressor_in_its_digest(letters: list[DeadLetter], received: int) -> None:
    """Format 2 reads the same as format 1, and its body lies in it as it is."""
    record = write_dead_letters(received, letters, compressed=False)
    assert record[3] == 2
    assert read_dead_letters(record) == [(received, letter) for letter in letters]
    assert record.endswith(read_block(record)[1])
    assert read_block(record) == read_block(write_dead_letters(received, letters))


def test_a_block_that_becomes_too_large_is_damaged() -> None:
    """A frame says how large it becomes: nothing is set aside for one that lies, or is a bomb."""
    header = write_block(["x"], [(1, 1)], [b"1"])[:8]
    size = int.from_bytes(header[4:8], "big")
    start = write_block(["x"], [(1, 1)], [b"1"])[: 8 + size]
    bomb = zstandard.ZstdCompressor().compress(b" " * (MAX_PLAIN_BYTES + 1))
    assert len(bomb) < 100_000
    with pytest.raises(UnreadableBlock, match="becomes more than"):
        read_block(start + bomb)
