"""Who reads a release: Hugging Face `datasets`, mlcroissant, pandas, and the client."""

from __future__ import annotations

import math
import shutil
from pathlib import Path
from typing import Any

import msgspec
import pytest

from feedback.datasets.pages import put_pages
from feedback.datasets.release import Published
from loopline import datasets as client
from tests.feedback.datasets.world import MODEL, World, rows, tables

pytestmark = pytest.mark.usefixtures("ungated")

SPLITS = ("train", "validation", "test")


@pytest.fixture
def released(world: World) -> Published:
    """A release with rows in every split."""
    world.labelled(range(60), segment="evening")
    world.say(*(world.predicted(100 + n, audit=True) for n in range(5)))
    world.say(*(world.corrected(100 + n, "8") for n in range(5)))
    published = world.release()
    assert all(split["rows"] for split in published.manifest["splits"].values())
    return published


def load_dataset(folder: Path, cache: Path, config: str | None = None) -> Any:
    """What Hugging Face makes of a folder."""
    from datasets import disable_progress_bars, load_dataset

    disable_progress_bars()
    return load_dataset(str(folder), config, cache_dir=str(cache))


def test_hugging_face_reads_the_splits(released: Published, tmp_path: Path) -> None:
    """`load_dataset(folder)` gives train, validation and test, and never the audited rows."""
    loaded = load_dataset(Path(released.place), tmp_path / "cache")
    assert sorted(loaded) == sorted(SPLITS)
    for split in SPLITS:
        assert loaded[split].data.table.to_pylist() == tables(released)[split].to_pylist()


@pytest.mark.parametrize("config", ["audit", "lineage"])
def test_hugging_face_reads_the_rest_by_name(released: Published, tmp_path: Path, config: str) -> None:
    """Audited rows and lineage are configurations of their own."""
    loaded = load_dataset(Path(released.place), tmp_path / "cache", config)
    assert list(loaded) == [config]
    assert loaded[config].num_rows == released.manifest["files"][f"{config}.parquet"]["rows"]


def test_hugging_face_reads_the_splits_that_have_rows(world: World, tmp_path: Path) -> None:
    """It cannot hold an empty split, so those are left out of the front matter; the files are there."""
    world.say(world.predicted(1), world.corrected(1, "5"))
    published = world.release()
    (filled,) = [split for split in SPLITS if published.manifest["splits"][split]["rows"]]
    loaded = load_dataset(Path(published.place), tmp_path / "cache")
    assert {split: loaded[split].num_rows for split in loaded} == {filled: 1}
    assert all(table.schema.equals(tables(published)[filled].schema) for table in tables(published).values())


def test_hugging_face_reads_a_release_of_audited_rows_alone(world: World, tmp_path: Path) -> None:
    """Nothing to train on: only `audit` and `lineage` are there to ask for."""
    world.say(world.predicted(1, audit=True), world.corrected(1, "5"))
    loaded = load_dataset(Path(world.release().place), tmp_path / "cache", "audit")
    assert {split: loaded[split].num_rows for split in loaded} == {"audit": 1}


def test_one_cache_keeps_releases_apart(tmp_path: Path) -> None:
    """Other models, other versions, other homes, a home made anew: each folder gives its own rows.

    Hugging Face's cache knows a folder by its last name and its configurations alone.
    """
    cache = tmp_path / "cache"
    folders = {}
    for home, label in (("a", "3"), ("b", "5"), ("c", "8")):
        world = World(tmp_path / home / "datasets", log_id=f"log-{home}")
        world.say(world.declared(["3", "5", "8"]))
        world.labelled(range(40), label)
        folders[home, 1] = Path(world.release().place), {label}, 40
        world.labelled(range(40, 70), label)
        folders[home, 2] = Path(world.release().place), {label}, 70
    moved = tmp_path / "elsewhere" / "1"
    shutil.copytree(folders["b", 1][0], moved)
    folders["moved", 1] = moved, {"5"}, 40
    for folder, labels, count in folders.values():
        loaded = load_dataset(folder, cache)
        assert sum(loaded[split].num_rows for split in loaded) == count
        assert {label for split in loaded for label in loaded[split]["label"]} == labels
    ours = {
        place: load_dataset(folder, cache, "lineage")["lineage"].num_rows
        for place, (folder, _, _) in folders.items()
    }
    assert ours == {place: 2 * count for place, (_, _, count) in folders.items()}


def test_lineage_of_equal_rows_is_told_apart(tmp_path: Path) -> None:
    """A home made anew may have the same rows from other events: the cache gives each its own events."""
    found = []
    for home, source in (("a", "/exam/forms"), ("b", "/exam/other")):
        world = World(tmp_path / home / "datasets")
        world.say(world.declared(["3", "5", "8"]))
        event = {**world.predicted(1), "source": source}
        world.say(event, {**world.corrected(1, "5"), "source": source})
        published = world.release()
        loaded = load_dataset(Path(published.place), tmp_path / "cache", "lineage")
        found.append((published.manifest["content_hash"], set(loaded["lineage"]["source"])))
    assert found[0][0] == found[1][0]
    assert [sources for _, sources in found] == [{"/exam/forms"}, {"/exam/other"}]


def test_a_folder_of_releases_is_its_latest(world: World, tmp_path: Path) -> None:
    """`load_dataset(MODEL)` gives every row of the latest release once, and says no to all models at once."""
    world.labelled(range(40))
    above = Path(world.release().place).parent
    assert total(load_dataset(above, tmp_path / "cache")) == 40
    world.labelled(range(40, 60))
    world.release()
    assert total(load_dataset(above, tmp_path / "cache")) == 60
    assert load_dataset(above, tmp_path / "cache", "lineage")["lineage"].num_rows == 120
    with pytest.raises(FileNotFoundError, match="name the folder of one release"):
        load_dataset(above.parent, tmp_path / "cache")
    (above / "README.md").unlink()
    put_pages(world.shelf, MODEL)
    assert total(load_dataset(above, tmp_path / "cache")) == 60


def test_a_page_of_ones_own_above_all_datasets_stays(world: World) -> None:
    """A shelf may be a folder that was there before, with a README."""
    world.folder.mkdir(parents=True)
    (world.folder / "README.md").write_text("ours")
    world.labelled(range(5))
    world.release()
    assert (world.folder / "README.md").read_text() == "ours"
    assert "reader@1" in (world.folder / MODEL / "README.md").read_text()


def test_single_files_are_told_apart(world: World, tmp_path: Path) -> None:
    """`load_dataset("parquet", data_files=...)` of two releases, with one cache."""
    from datasets import load_dataset as load

    world.labelled(range(40))
    first = world.release()
    world.labelled(range(40, 60))
    for published in (first, world.release()):
        files = {"train": str(Path(published.place) / "train.parquet")}
        loaded = load("parquet", data_files=files, cache_dir=str(tmp_path / "cache"))
        assert loaded["train"].num_rows == published.manifest["splits"]["train"]["rows"]


def total(loaded: Any) -> int:
    """The rows of all splits."""
    return sum(loaded[split].num_rows for split in loaded)


def test_the_croissant_file_is_valid(released: Published) -> None:
    """mlcroissant finds no error and nothing to warn about."""
    import mlcroissant

    described = mlcroissant.Dataset(str(Path(released.place) / "croissant.json"))
    issues = described.metadata.ctx.issues
    assert issues.errors == set()
    assert issues.warnings == set()
    said = msgspec.json.decode((Path(released.place) / "croissant.json").read_bytes())
    assert said["conformsTo"] == "http://mlcommons.org/croissant/1.1"
    files = {each["name"]: each["sha256"] for each in said["distribution"]}
    listed = released.manifest["files"]
    assert files == {name: listed[name]["sha256"] for name in listed if name.endswith(".parquet")}


def test_croissant_records_are_the_rows(released: Published) -> None:
    """Every record set loads by its description, and holds what the files hold."""
    import mlcroissant

    described = mlcroissant.Dataset(str(Path(released.place) / "croissant.json"))
    for split, table in tables(released).items():
        records = list(described.records(split))
        assert len(records) == table.num_rows
        for record, row in zip(records, table.to_pylist(), strict=True):
            assert {name: _plain(record[f"{split}/{name}"]) for name in row if name != "at"} == {
                name: value for name, value in row.items() if name != "at"
            }
    lineage = list(described.records("lineage"))
    assert len(lineage) == released.manifest["files"]["lineage.parquet"]["rows"]


def _plain(value: Any) -> Any:
    if isinstance(value, bytes):
        return value.decode()
    if value is None or (isinstance(value, float) and math.isnan(value)):
        return None
    return value.item() if hasattr(value, "item") else value


def test_a_notebook_finds_it_by_home(released: Published, world: World) -> None:
    """`loopline.datasets.load` checks the hash and gives Arrow or pandas."""
    home = world.folder.parent
    train = client.load(MODEL, split="train", home=home)
    assert train.equals(tables(released)["train"])
    frame = client.load(MODEL, home=home, as_="pandas")
    assert len(frame) == 60
    assert set(frame["split"]) == set(SPLITS)
    assert str(frame["at"].dtype).startswith("datetime64[ns, UTC")


def test_a_changed_file_is_noticed(released: Published, world: World) -> None:
    """A release whose bytes are not those of its manifest is refused."""
    from loopline.errors import ReleaseDamaged

    path = Path(released.place) / "train.parquet"
    path.write_bytes(path.read_bytes()[:-1] + b"x")
    with pytest.raises(ReleaseDamaged):
        client.load(MODEL, split="train", home=world.folder.parent)


def test_the_card_says_what_is_in_it(released: Published) -> None:
    """Rows, shares with their intervals and n, how it was cut, and what it does not tell."""
    card = (Path(released.place) / "README.md").read_text()
    said = released.manifest
    for promised in (
        f"# {released.name}",
        f"| train | {said['splits']['train']['rows']} |",
        "n = 65)",
        said["content_hash"],
        said["as_of"],
        "80 / 10 / 10",
        "people who answered",
        "| `8` | 5 | 7.7% (3.3% to 16.8%, n = 65) |",
    ):
        assert promised in card


def test_a_label_cannot_break_the_card(tmp_path: Path) -> None:
    """Somebody's text stays a cell of the table, whatever is in it."""
    world = World(tmp_path / "datasets")
    world.say(world.declared(text=True))
    nasty = "a | b\n# Title\n`code` <script>" + "x" * 200
    world.labelled(range(3), nasty)
    published = world.release()
    assert {row["label"] for row in rows(published)} == {nasty}
    lines = (Path(published.place) / "README.md").read_text().splitlines()
    assert sum(line.startswith("# ") for line in lines) == 1
    (line,) = [line for line in lines if "<script" in line]
    assert line.count("|") == 4


def test_filters_cannot_break_the_card(world: World) -> None:
    """A segment is any text: it stays a piece of its line, in the card and in what to mind."""
    nasty = "web |\n# Title <script>\u202e`x`"
    world.labelled(range(3), segment=nasty)
    world.labelled(range(10, 13), segment="app")
    world.release(segment="app", name="one")
    published = world.release(segment=nasty, name="one")
    lines = (Path(published.place) / "README.md").read_text().splitlines()
    assert sum(line.startswith("# ") for line in lines) == 1
    assert not any("<script" in line and "`" not in line for line in lines)
    assert not any("\u202e" in line for line in lines)
