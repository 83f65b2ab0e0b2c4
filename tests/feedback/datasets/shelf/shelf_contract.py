"""What holds for releases wherever they lie: run on a folder and on an object store."""

from __future__ import annotations

import hashlib
import threading
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest

from feedback.datasets.announce import announce
from feedback.datasets.catalogue import datasets, list_releases, show
from feedback.datasets.diff import diff
from feedback.datasets.errors import BadRequest, GateFailed, NothingToRelease, ReleaseMissing
from feedback.datasets.lineage import events_behind, releases_with
from feedback.datasets.names import FILES, MANIFEST
from feedback.datasets.pages import put_pages
from feedback.datasets.release import Published
from feedback.datasets.shelf.address import shelf_of
from feedback.datasets.shelf.port import Shelf
from loopline.datasets.content import content_hash
from tests.feedback.datasets.world import MODEL, SOURCE, World


def contents(shelf: Shelf, version: int) -> dict[str, bytes]:
    """All files of a release."""
    return {name: shelf.read(MODEL, version, name) for name in FILES}


def made(where: Path | str) -> World:
    """A world with a declared model and two partitions."""
    world = World(where, partitions=2)
    world.say(world.declared(["3", "5", "8"]))
    return world


def failing(evidence: Any, allow: Any = ()) -> dict[str, Any]:
    """A gate that lets nothing pass."""
    check = {"check": "nulls", "passed": False, "allowed": False, "detail": "there are some"}
    return {"passed": False, "allowed": [], "rows": 0, "checks": [check]}


@pytest.mark.usefixtures("ungated")
class ShelfContract:
    """Subclasses give `where`: an address at which nothing lies yet."""

    @pytest.fixture
    def where(self) -> Path | str:
        """An address of this form."""
        raise NotImplementedError

    @pytest.fixture
    def here(self, where: Path | str) -> World:
        """A world whose releases go there."""
        return made(where)

    def test_there_is_nothing_before_the_first(self, where: Path | str) -> None:
        """That is no error; and a release that is not there has no file."""
        shelf = shelf_of(where)
        assert (datasets(shelf), shelf.versions(MODEL), list_releases(shelf)) == ([], [], [])
        with pytest.raises(ReleaseMissing, match="none yet"):
            show(shelf, "reader@1")
        for look in (shelf.read, shelf.body):
            with pytest.raises(FileNotFoundError):
                look(MODEL, 1, "train.parquet")

    def test_a_release_is_the_same_bytes_as_in_a_folder(self, here: World, tmp_path: Path) -> None:
        """Every file of the contract, byte for byte; the manifest vouches for each."""
        plain = made(tmp_path / "plain")
        for world in (here, plain):
            world.labelled(range(40))
            world.release()
        files = contents(here.shelf, 1)
        assert files == contents(plain.shelf, 1)
        said = show(here.shelf, "reader@1")
        assert set(said["files"]) == set(FILES) - {MANIFEST}
        for name, described in said["files"].items():
            assert hashlib.sha256(files[name]).hexdigest() == described["sha256"]
        tables = {}
        for split in said["splits"]:
            with here.shelf.opened(MODEL, 1, f"{split}.parquet") as file:
                tables[split] = pq.read_table(file)
        assert content_hash(tables) == said["content_hash"]

    def test_a_file_is_handed_out_with_its_size(self, here: World) -> None:
        """In pieces or as a path; not one that is not there."""
        here.labelled(range(10))
        here.release()
        body = here.shelf.body(MODEL, 1, "train.parquet")
        given = body.path.read_bytes() if body.path else b"".join(body.pieces)
        assert given == here.shelf.read(MODEL, 1, "train.parquet")
        assert body.size == len(given)
        for version, name in ((1, "other.parquet"), (2, "train.parquet")):
            with pytest.raises(FileNotFoundError):
                here.shelf.body(MODEL, version, name)

    def test_versions_are_listed_shown_and_compared(self, here: World) -> None:
        """The tenth after the ninth, by everybody who looks there; the newest ancestor is the parent."""
        here.labelled(range(20))
        for _ in range(9):
            here.release()
        here.labelled(range(20, 23), "5")
        tenth = here.release()
        again = shelf_of(here.where)
        assert again.versions(MODEL) == here.shelf.versions(MODEL) == list(range(1, 11))
        assert datasets(again) == [MODEL]
        assert [each["name"] for each in list_releases(again)] == [f"{MODEL}@{n}" for n in range(1, 11)]
        assert show(again, "reader@latest") == show(here.shelf, tenth.name)
        assert tenth.manifest["parents"] == ["reader@9"]
        found = diff(again, "reader@9", "reader@10")
        assert (found.added, found.removed, found.rows) == (3, 0, (20, 23))

    def test_the_folder_above_names_the_latest(self, here: World) -> None:
        """Written again by whoever comes next where it is missing; no page is taken for a dataset."""
        here.labelled(range(20))
        here.release()
        here.labelled(range(20, 23), "5")
        here.release()
        page = here.shelf.page(MODEL)
        assert page is not None
        assert "path: 2/train.parquet" in page
        assert "[reader@2](2/README.md)" in page
        here.shelf.put_page(MODEL, "torn")
        put_pages(shelf_of(here.where), MODEL)
        assert here.shelf.page(MODEL) == page
        assert "MODEL/1" in (here.shelf.page(None) or "")
        assert datasets(shelf_of(here.where)) == [MODEL]

    def test_many_versions_are_found_by_a_fresh_eye(self, here: World) -> None:
        """More than are looked at one by one."""
        assert [publish(here.shelf) for _ in range(20)] == list(range(1, 21))
        assert shelf_of(here.where).versions(MODEL) == list(range(1, 21))

    def test_a_release_never_changes(self, here: World) -> None:
        """Later releases leave every file of an earlier one as it was."""
        here.labelled(range(20))
        here.release()
        before = contents(here.shelf, 1)
        here.labelled(range(20, 40))
        here.release()
        assert contents(shelf_of(here.where), 1) == before

    def test_an_event_knows_its_releases(self, here: World) -> None:
        """From its first release on; and a release knows its events."""
        here.say(here.predicted(1), here.predicted(2), here.corrected(2, "5"))
        here.release()
        correction = here.corrected(1, "5")
        here.say(correction)
        for _ in range(2):
            here.release()
        for _ in range(2):
            assert releases_with(here.shelf, MODEL, SOURCE, correction["id"]) == ["reader@2", "reader@3"]
        assert releases_with(here.shelf, MODEL, "/another", correction["id"]) == []
        assert len(list(events_behind(here.shelf, "reader@3"))) == 4

    def test_what_fails_the_gate_is_kept_aside(self, here: World, monkeypatch: pytest.MonkeyPatch) -> None:
        """Nobody sees it among the versions, and its number is the next one's."""
        here.labelled(range(20))
        with monkeypatch.context() as patched:
            patched.setattr("feedback.datasets.release.judge", failing)
            with pytest.raises(GateFailed, match="nulls") as refusal:
                here.release()
        assert refusal.value.place.rpartition("/")[0] == f"{here.shelf.name}/{MODEL}/failed"
        assert shelf_of(here.where).versions(MODEL) == []
        assert datasets(here.shelf) == []
        assert here.release().version == 1

    @pytest.mark.parametrize("broken", ["cut", "judge", "card"])
    def test_an_error_before_the_first_write_leaves_the_number(
        self, here: World, monkeypatch: pytest.MonkeyPatch, broken: str
    ) -> None:
        """Nothing is seen of it, and the next release takes the number."""
        here.labelled(range(20))

        def fail(*args: Any, **kwargs: Any) -> None:
            raise OSError("no space left on device")

        with monkeypatch.context() as patched:
            patched.setattr(f"feedback.datasets.release.{broken}", fail)
            with pytest.raises(OSError, match="no space"):
                here.release()
        assert shelf_of(here.where).versions(MODEL) == []
        assert here.release().version == 1

    def test_releases_at_the_same_time_get_numbers_of_their_own(self, here: World) -> None:
        """Four at once, each with eyes of its own: four versions without a gap, each whole."""
        here.labelled(range(20))
        made_here: list[Published] = []
        shelves = [shelf_of(here.where) for _ in range(4)]

        def run(shelf: Shelf) -> None:
            made_here.append(here.release(emit=lambda event: None, shelf=shelf))

        threads = [threading.Thread(target=run, args=(shelf,)) for shelf in shelves]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert sorted(each.version for each in made_here) == [1, 2, 3, 4]
        assert here.shelf.versions(MODEL) == [1, 2, 3, 4]
        for each in made_here:
            assert show(here.shelf, each.name)["content_hash"] == each.manifest["content_hash"]

    def test_a_release_is_announced_once(self, here: World) -> None:
        """What was published and is not in the log is announced by the next who looks."""
        here.labelled(range(20))
        here.release()
        assert announce(here.store, shelf_of(here.where), here.emit) == []
        assert [event["data"]["version"] for event in here.emitted] == [1]

    def test_nothing_labelled_leaves_nothing(self, here: World) -> None:
        """There is no empty release, and no model of one."""
        with pytest.raises(NothingToRelease):
            here.release()
        assert here.shelf.models() == []

    @pytest.mark.parametrize("model", ["", "../up", "a/b", ".hidden"])
    def test_a_name_that_is_no_models_is_refused(
        self, here: World, model: str, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """It would become a path."""
        monkeypatch.setattr("tests.feedback.datasets.world.MODEL", model)
        with pytest.raises(BadRequest, match="no model's name"):
            here.release()


def publish(shelf: Shelf, rows: bytes = b"rows") -> int:
    """A release of two small files."""
    with (
        shelf.releasing(MODEL, lambda: None) as bench,
        bench.building() as built,
        bench.numbered() as version,
    ):
        (built / "train.parquet").write_bytes(rows)
        (built / MANIFEST).write_text("{}")
        bench.publish(built, version)
    return version
