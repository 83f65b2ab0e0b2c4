"""Identity: typed partition keys, and ids that are short and never meet."""

from __future__ import annotations

import subprocess
import sys
from uuid import UUID

import msgspec
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from schemas.catalog import CATALOG, CURRENT
from schemas.events import FeedbackThumb
from schemas.identity import (
    join_key,
    model_key,
    pack,
    partition_key,
    partition_of,
    prediction_key,
    subject_key,
    unpack,
)
from streams.ingest.admission import admit
from tests.schemas.valid import EVENT, written

UUIDS = st.uuids().map(str)
# Close to a UUID and none: other letters, hyphens elsewhere, spaces that bytes.fromhex skips, other digits.
NEARLY = st.one_of(
    UUIDS.map(str.upper),
    UUIDS.map(str.title),
    UUIDS.map(lambda text: text.replace("-", "")),
    UUIDS.map(lambda text: "{" + text + "}"),
    UUIDS.map(lambda text: "urn:uuid:" + text),
    st.tuples(UUIDS, st.integers(0, 35), st.sampled_from(" \t-gG0٣²١A:\u00a0\u0130ſ")).map(
        lambda parts: parts[0][: parts[1]] + parts[2] + parts[0][parts[1] + 1 :]
    ),
    st.tuples(UUIDS, st.integers(0, 34), st.sampled_from(["  ", "--", " 0", "0 "])).map(
        lambda parts: parts[0][: parts[1]] + parts[2] + parts[0][parts[1] + 2 :]
    ),
)
TEXTS = st.one_of(st.text(st.characters(exclude_categories=["Cs"]), max_size=40), UUIDS, NEARLY)


@given(TEXTS)
@example("01234567-89ab-cdef-0123-456789abcdef")
@example("01234567-8901-2345-6789-012345678901")
@example("01234567-89AB-cdef-0123-456789abcdef")
@example("0123456 -89ab-cdef-0123-456789abcdef")
@example("0123 567-89ab-cdef-0123-456789abcdef")
@example("٠١٢٣٤٥٦٧-٨٩٠١-٢٣٤٥-٦٧٨٩-٠١٢٣٤٥٦٧٨٩٠١")
@example("--------------------------------" + "----")
@example("\x00" + "a" * 16)
@example("t")
@example("")
def test_an_id_comes_back_as_it_was_sent(text: str) -> None:
    """So different ids have different bytes; a capital letter is a difference."""
    assert unpack(pack(text)) == text


@given(TEXTS, TEXTS)
def test_different_ids_have_different_bytes(one: str, other: str) -> None:
    """Ids are compared as sent."""
    assert (pack(one) == pack(other)) == (one == other)


@given(st.uuids())
def test_a_uuid_takes_17_bytes(uuid: UUID) -> None:
    """As products write it: lower case with hyphens."""
    assert len(pack(str(uuid))) == 17
    assert len(pack(str(uuid).upper())) == 37


@given(TEXTS, TEXTS)
def test_keys_of_different_kinds_never_meet(one: str, other: str) -> None:
    """Prediction "x" and subject "x" differ, and so do the case "x" of a model and the model."""
    keys = {prediction_key(one), subject_key(one), model_key("m"), join_key("m", other)}
    assert len(keys) == 4


NAMES = st.from_regex(r"[A-Za-z0-9][A-Za-z0-9._-]{0,5}", fullmatch=True)


@given(st.tuples(NAMES, st.text("a/-:", max_size=5)), st.tuples(NAMES, st.text("a/-:", max_size=5)))
def test_a_join_key_includes_its_model(one: tuple[str, str], other: tuple[str, str]) -> None:
    """No model has a slash, so the case may."""
    assert (join_key(*one) == join_key(*other)) == (one == other)


def test_the_key_is_the_prediction_else_the_case_else_the_subject_else_the_model() -> None:
    """The first that an event has."""
    everything = FeedbackThumb(value="up", prediction_id="p", model="m", join_key="k")
    assert partition_key(everything) == prediction_key("p")
    assert partition_key(FeedbackThumb(value="up", model="m", join_key="k")) == join_key("m", "k")
    comment = msgspec.convert({"text": "t", "subject": "s", "model": "m"}, CURRENT["feedback.comment.v1"])
    assert partition_key(comment) == subject_key("s")
    deployed = msgspec.convert({"model": "m", "model_version": "1"}, CURRENT["model.deployed.v1"])
    assert partition_key(deployed) == model_key("m")


@given(EVENT.flatmap(written))
def test_the_key_is_the_same_on_the_way_in_and_out(item: bytes) -> None:
    """What the collector routes by is what the worker finds."""
    verdict = admit(item)
    assert verdict.event is not None
    (read,) = CATALOG.read(b"[" + item + b"]", CATALOG.types)
    assert partition_key(read.data) == partition_key(verdict.event.data)


@pytest.mark.parametrize("partitions", [1, 2, 7, 64])
def test_a_key_has_one_partition(partitions: int) -> None:
    """All partitions are used."""
    used = {partition_of(prediction_key(f"p-{number}"), partitions) for number in range(2000)}
    assert used == set(range(partitions))


def test_the_partition_of_a_key_is_the_same_in_every_process() -> None:
    """A changed hash would send a retry to another partition, where it would count again."""
    assert [partition_of(prediction_key(text), 16) for text in ("p-81", "é", "a" * 256)] == [3, 13, 15]
    code = "from schemas.identity import *; print(partition_of(prediction_key('p-81'), 16))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "3"
