"""Lineage: from an event to the releases it is in, and from a release or a model back to the events."""

from __future__ import annotations

from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given
from hypothesis import strategies as st

from feedback.datasets.cut.lineage_file import LINEAGE, ROWS_A_GROUP, LineageStage, bucket
from feedback.datasets.errors import ReleaseMissing
from feedback.datasets.lineage import Behind, events_behind, releases_with, trained_on
from feedback.datasets.shelf.address import shelf_of
from schemas.normal_json import normal_json
from tests.feedback.datasets.world import MODEL, SOURCE, World

pytestmark = pytest.mark.usefixtures("ungated")


def test_a_release_names_exactly_the_events_behind_it(world: World) -> None:
    """The prediction, the votes for the label and those against it; nothing of what has no say."""
    made, other = world.predicted(1, "3"), world.predicted(2, input_uri="s3://2")
    votes = [world.corrected(1, "5", "u-1"), world.corrected(1, "5", "u-2"), world.confirmed(1, "u-3")]
    world.say(made, other, *votes, world.corrected(2, "5"))
    world.say(world.event("feedback.comment", prediction_id="p-1", text="smudged", person="u-1"))
    published = world.release()
    assert set(events_behind(world.shelf, published.name)) == {
        Behind("p-1", SOURCE, made["id"], "prediction"),
        Behind("p-1", SOURCE, votes[0]["id"], "for"),
        Behind("p-1", SOURCE, votes[1]["id"], "for"),
        Behind("p-1", SOURCE, votes[2]["id"], "against"),
    }
    assert published.manifest["files"]["lineage.parquet"]["rows"] == 4


def test_an_event_knows_its_releases(world: World) -> None:
    """From its first release on, until it no longer counts; another source's event is another."""
    world.say(world.predicted(1), world.predicted(2), world.corrected(2, "5"))
    world.release()
    correction = world.corrected(1, "5")
    world.say(correction)
    world.release()
    world.release()
    world.say(
        world.event("feedback.retraction", prediction_id="p-1", person="u-1", explains=correction["id"])
    )
    world.release()
    assert releases_with(world.shelf, MODEL, SOURCE, correction["id"]) == ["reader@2", "reader@3"]
    assert releases_with(world.shelf, MODEL, "/another", correction["id"]) == []
    assert releases_with(world.shelf, MODEL, SOURCE, "unheard-of") == []
    assert releases_with(world.shelf, "another", SOURCE, correction["id"]) == []


def test_a_model_knows_what_it_was_trained_on(world: World) -> None:
    """From a model version over its deployments to the releases, and from those to the events."""
    world.labelled(range(5))
    name = world.release().name
    for datasets in ([name, "other@10"], ["other@9"]):
        world.say(world.event("model.deployed", model=MODEL, model_version="2", datasets=datasets))
    with world.store.snapshot() as snapshot:
        assert trained_on(snapshot, MODEL, "2") == ["other@9", "other@10", name]
        assert trained_on(snapshot, MODEL, "3") == []
    assert len(list(events_behind(world.shelf, name))) == 10


def test_the_events_of_a_release_that_is_not_there(world: World) -> None:
    """It is named, and what there is."""
    with pytest.raises(ReleaseMissing, match="reader@1"):
        list(events_behind(world.shelf, "reader@1"))


IDS = st.lists(st.uuids().map(str) | st.text("ab", min_size=1), min_size=1, max_size=30, unique=True)


@given(st.lists(IDS, min_size=1, max_size=4))
def test_the_file_is_sorted_by_bucket_and_complete(chunks: list[list[str]]) -> None:
    """Whatever the ids look like and however they come, all are there, in the order of their buckets."""
    from tempfile import TemporaryDirectory

    with TemporaryDirectory() as folder:
        stage = LineageStage(Path(folder) / "scratch")
        for ids in chunks:
            votes = normal_json([{"label": '"5"', "events": [{"id": "v", "source": "/s"}]}])
            stage.add(pa.array(ids), ids, ["/s"] * len(ids), ['"5"'] * len(ids), [votes] * len(ids))
        path = Path(folder) / "lineage.parquet"
        written = stage.write(path)
        table = pq.read_table(path)
    everything = [each for ids in chunks for each in ids]
    assert table.schema == LINEAGE
    assert written == table.num_rows == 2 * len(everything)
    assert sorted(table.filter(pa.compute.equal(table["role"], "prediction"))["id"].to_pylist()) == sorted(
        everything
    )
    buckets = table["bucket"].to_pylist()
    assert buckets == sorted(buckets) == [bucket(each) for each in table["id"].to_pylist()]


def test_one_event_costs_one_small_part_of_a_large_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Row groups are small, and their bounds hardly overlap: looking reads one or two of them."""
    n = 5 * ROWS_A_GROUP
    stage = LineageStage(tmp_path / "scratch")
    ids = [f"event {number}" for number in range(n)]
    stage.add(pa.array(ids), ids, ["/s"] * n, ['"5"'] * n, ["[]"] * n)
    place = tmp_path / "datasets" / MODEL / "1"
    place.mkdir(parents=True)
    (place / "manifest.json").write_text("{}")
    stage.write(place / "lineage.parquet")
    read: list[int] = []
    original = pq.ParquetFile.read_row_groups

    def counted(self: pq.ParquetFile, groups: list[int], **options: object) -> object:
        read.append(len(groups))
        return original(self, groups, **options)

    monkeypatch.setattr(pq.ParquetFile, "read_row_groups", counted)
    shelf = shelf_of(tmp_path / "datasets")
    for number in range(0, n, n // 7):
        assert releases_with(shelf, MODEL, "/s", f"event {number}") == ["reader@1"]
    assert max(read) <= 2
    assert pq.read_metadata(place / "lineage.parquet").num_row_groups >= 5
