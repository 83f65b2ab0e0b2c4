"""As of, over all epochs of a log: a release can be cut again, whatever number of partitions came later."""

from __future__ import annotations

import tempfile
from pathlib import Path

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from feedback.datasets.announce import event_of
from feedback.datasets.as_of import whole
from feedback.datasets.diff import diff
from feedback.datasets.errors import AsOfRefused, NothingToRelease
from feedback.datasets.release import Published
from feedback.setting_values import MAX_PARTITIONS
from streams.ingest.admission import admit
from streams.log.memory import MemoryLog
from streams.log.port import LogIdentity, format_positions, parse_positions
from streams.projection.apply import LogOlderThanStore, check
from streams.projection.rebuild import rebuild, verify
from streams.store.memory import MemoryStore
from tests.feedback.datasets.conftest import open_gate
from tests.feedback.datasets.world import World, manifest_of, rows

ungated = pytest.mark.usefixtures("ungated")


def grown(where: Path | str, *partitions: int) -> World:
    """A world with a log of so many epochs, thirty labelled predictions in each, and its views."""
    first, *later = partitions
    world = World(where, partitions=first)
    world.say(world.declared(["3", "5", "8"]))
    world.labelled(range(30))
    for number, count in enumerate(later, 1):
        world.log.begin_epoch(count)
        world.labelled(range(30 * number, 30 * number + 30), "358"[number % 3])
    return world


def text(published: Published) -> str:
    """The as-of of a release, as its manifest has it."""
    return str(manifest_of(published)["as_of"])


@ungated
@pytest.mark.parametrize("partitions", [(2, 3), (3, 1), (2, 2), (1, 2, 4)])
def test_a_release_after_a_new_epoch_says_all_that_it_was_cut_from(
    tmp_path: Path, partitions: tuple[int, ...]
) -> None:
    """Manifest, card and event name every partition of every epoch; that vector gives the same rows again."""
    world = grown(tmp_path, *partitions)
    end = world.position()
    released = world.release()
    assert released.manifest["rows"] == 30 * len(partitions)
    assert text(released) == end
    assert len(parse_positions(end)) == sum(partitions)
    assert f"`{end}`" in (Path(released.place) / "README.md").read_text()
    assert world.emitted[-1]["data"]["as_of"] == end
    *before, current = partitions
    assert manifest_of(released)["log"] == {
        "id": "log-1",
        "epoch": len(partitions),
        "partitions": current,
        "before": before,
    }
    for as_of in (end, text(released)):
        again = world.release(as_of=as_of)
        assert text(again) == end
        assert rows(again) == rows(released)


@ungated
def test_releases_before_during_and_after_an_epoch_are_cut_again(tmp_path: Path) -> None:
    """Each vector gives its rows and content hash for ever; parents and differences hold across epochs."""
    world = grown(tmp_path, 2)
    before = world.release()
    # The next epoch has begun, and the views have not finished the one before.
    catch_up, world.catch_up = world.catch_up, lambda: None  # type: ignore[method-assign]
    world.labelled(range(30, 40), "5")
    world.log.begin_epoch(3)
    world.labelled(range(40, 60), "8")
    during = world.release(as_of=dict.fromkeys(range(2, 5), 0) | {p: world.log.ends()[p] for p in (0, 1)})
    world.catch_up = catch_up  # type: ignore[method-assign]
    world.catch_up()
    after = world.release()
    world.log.begin_epoch(1)
    world.labelled(range(60, 70), "3")
    assert [each.manifest["rows"] for each in (before, during, after)] == [30, 40, 60]
    assert after.manifest["parents"] == [during.name]
    assert during.manifest["parents"] == [before.name]
    # From the newest on, so that no parent is one of those that were cut again.
    for each, parents in ((after, after), (during, during), (before, before)):
        again = world.release(as_of=text(each))
        assert again.manifest["content_hash"] == each.manifest["content_hash"]
        assert rows(again) == rows(each)
        assert diff(world.shelf, each.name, again.name).same_content
        # The newest ancestor: what was cut of the same state, and nothing of a later one.
        assert again.manifest["parents"] == [parents.name]
        assert parse_positions(text(again)) == whole(parse_positions(text(each)), world.log)


@ungated
@pytest.mark.parametrize(
    "as_of, complaint",
    [
        ("0:2", "nothing about partition 1"),
        ("2:2,3:2,4:2", "nothing about partition 0, 1"),
        ("0:3,1:2,2:0,3:0", "nothing about partition 4"),
        ("0:3,1:2,2:0,3:0,4:0,5:0", "beyond the log's end"),
        ("0:99,1:0", "beyond the log's end"),
        ("0:1,1:2,2:1,3:0,4:0", "epoch 1, which ends at 0:3,1:2"),
        ("dead:1", "nothing about partition 0, 1"),
    ],
)
def test_what_was_no_state_of_the_log_is_refused(world: World, as_of: str, complaint: str) -> None:
    """Half an epoch, an epoch before the one before has ended, more than there is: told what the end is."""
    world.labelled(range(30))
    world.log.begin_epoch(3)
    world.labelled(range(30, 60))
    with pytest.raises(AsOfRefused, match=complaint):
        world.release(as_of=as_of)


def test_partitions_that_stayed_empty_behind_a_seal_need_no_mention() -> None:
    """A vector from before somebody added partitions to a topic holds: sealed, they have nothing in them."""
    log = MemoryLog(2)
    log.append([(0, b"x")])
    with pytest.raises(AsOfRefused, match="nothing about partition 1"):
        whole({0: 1}, log)
    log.begin_epoch(1)
    assert whole({0: 1}, log) == {0: 1, 1: 0, 2: 0}


def test_the_as_of_of_many_partitions_can_be_announced() -> None:
    """Two epochs of as many partitions as a log may have, millions of blocks each: the event is taken."""
    as_of = format_positions(dict.fromkeys(range(2 * MAX_PARTITIONS), 9_999_999))
    said = {
        "name": "m@1",
        "model": "m",
        "version": 1,
        "content_hash": "sha256:0",
        "as_of": as_of,
        "rows": 1,
        "log": {"id": "log-1"},
        "parents": [],
        "recipe": {"filters": {"env": "prod"}},
        "released_at": "2026-01-01T00:00:00Z",
    }
    assert admit(msgspec.json.encode(event_of(said))).problem is None


class Unaware(MemoryLog):
    """A reader of a log that notices a new epoch only when it has looked often enough."""

    def __init__(self, whole: MemoryLog, looks: int) -> None:
        self._whole, self._looks = whole, looks
        self._records = whole._records
        first = whole.identity
        self.identity = LogIdentity(first.id, 1, first.before[0])

    def ends(self) -> dict[int, int]:
        """The ends of the partitions that it knows."""
        self._looks -= 1
        if self._looks <= 0:
            self.identity = self._whole.identity
        known = {-1, *range(self.identity.first + self.identity.partitions)}
        return {each: end for each, end in self._whole.ends().items() if each in known}


@ungated
@pytest.mark.parametrize("looks", [1, 2, 3, 4])
def test_views_in_an_epoch_that_the_reader_has_not_noticed(tmp_path: Path, looks: int) -> None:
    """They are not taken for those of another log, and what is released says all that is in it."""
    world = grown(tmp_path, 2, 3)
    end, log = world.position(), world.log
    world.log = Unaware(log, looks)
    released = world.release(emit=lambda event: None)
    assert (text(released), released.manifest["rows"]) == (end, 60)
    with world.store.snapshot() as live:
        assert verify(Unaware(log, looks), live, MemoryStore(log.identity)) == []


def test_a_log_without_the_epoch_of_its_views_is_refused(tmp_path: Path) -> None:
    """A log that came back from an older copy does not get that epoch by waiting for it."""
    world = grown(tmp_path, 2, 3)
    with pytest.raises(LogOlderThanStore, match="partition 2"):
        check(Unaware(world.log, 1_000), world.store, within_s=0.0)


def _step(world: World, stood: dict[int, int], data: st.DataObject) -> None:
    """Move the views one block on, in a partition whose turn it is."""
    ends = world.log.ends()
    lagging = [each for each in world.log.identity.unfinished(stood, ends) if stood[each] < ends[each]]
    if lagging:
        stood[data.draw(st.sampled_from(lagging))] += 1
        rebuild(world.log, world.store, stood)


batches = st.lists(st.integers(1, 4), max_size=3)
epochs = st.lists(st.tuples(st.integers(1, 3), batches), min_size=1, max_size=3)


@settings(max_examples=15)
@given(epochs, st.data())
def test_any_state_that_was_released_can_be_released_again(
    drawn: list[tuple[int, list[int]]], data: st.DataObject
) -> None:
    """Over one to three epochs, a vector that the views stood at gives the release that was cut there."""
    with tempfile.TemporaryDirectory() as folder, pytest.MonkeyPatch.context() as patch:
        patch.setattr("feedback.datasets.release.judge", open_gate)
        world = World(folder, partitions=drawn[0][0])
        world.say(world.declared(["3", "5", "8"]))
        world.catch_up = lambda: None  # type: ignore[method-assign]
        cut: dict[str, str | None] = {}

        def cut_here(as_of: str) -> str | None:
            try:
                return str(world.release(as_of=as_of, emit=lambda event: None).manifest["content_hash"])
            except NothingToRelease:
                return None

        number = 0
        for count, sizes in drawn:
            if number or count != world.log.identity.partitions:
                world.log.begin_epoch(count)
            for size in sizes:
                world.labelled(range(number, number + size), data.draw(st.sampled_from("358")))
                number += size
                known = dict.fromkeys(range(world.log.identity.first + world.log.identity.partitions), 0)
                with world.store.snapshot() as snapshot:
                    stood = known | {each: at.offset for each, at in snapshot.positions().items()}
                for _ in range(data.draw(st.integers(0, 6))):
                    _step(world, stood, data)
                as_of = format_positions(stood)
                cut[as_of] = cut_here(as_of)
        for as_of, content_hash in cut.items():
            assert cut_here(as_of) == content_hash
