"""The shelf in a folder, and under real processes: killed at each numbered step, and several at once."""

from __future__ import annotations

import signal
import subprocess
import sys
from pathlib import Path

import pytest

from feedback.datasets.errors import BadRequest
from feedback.datasets.shelf.address import shelf_of
from feedback.datasets.shelf.folder import FolderShelf
from tests.feedback.datasets.shelf.shelf_contract import ShelfContract


class TestFolder(ShelfContract):
    """The contract, in a folder."""

    @pytest.fixture
    def where(self, tmp_path: Path) -> Path:
        """A folder that is not there yet."""
        return tmp_path / "datasets"


@pytest.mark.parametrize("address", ["{}", "file://{}", "file://localhost{}"])
def test_a_folder_is_named_by_its_path_or_address(tmp_path: Path, address: str) -> None:
    """Both are the same place."""
    shelf = shelf_of(address.format(tmp_path))
    assert isinstance(shelf, FolderShelf)
    assert shelf.folder == tmp_path


@pytest.mark.parametrize(
    "address", ["file://elsewhere/x", "http://127.0.0.1/x", "s3:///x", "hdfs://host/x", "gs://bucket/x"]
)
def test_what_is_neither_folder_nor_object_store_is_refused(address: str) -> None:
    """At once, with what an address looks like."""
    with pytest.raises(BadRequest, match="folder"):
        shelf_of(address)


PUBLISH = """
import os, signal, sys
from pathlib import Path
from feedback.datasets.shelf import folder as module

def reached(step):
    if step == sys.argv[3]:
        os.kill(os.getpid(), signal.SIGKILL)

module.reached = reached
shelf = module.FolderShelf(Path(sys.argv[1]))
for _ in range(int(sys.argv[2])):
    with shelf.releasing("reader", print) as bench, bench.building() as built, bench.numbered() as version:
        (built / "train.parquet").write_bytes(b"rows" * 10_000)
        (built / "manifest.json").write_text("{}")
        bench.publish(built, version)
"""


def publish(folder: Path, times: int = 1, crash_at: str = "") -> subprocess.Popen[bytes]:
    """A process that publishes so many releases, or is killed at a step."""
    return subprocess.Popen([sys.executable, "-c", PUBLISH, str(folder), str(times), crash_at])


@pytest.mark.crash
@pytest.mark.parametrize("step, there", [("release.1", []), ("release.2", []), ("release.3", [1])])
def test_a_killed_release_is_not_there_or_is_there_whole(tmp_path: Path, step: str, there: list[int]) -> None:
    """At every step; and the next release is not disturbed by what the killed one left."""
    assert publish(tmp_path, crash_at=step).wait(30) == -signal.SIGKILL
    assert shelf_of(tmp_path).versions("reader") == there
    for version in there:
        assert (tmp_path / "reader" / str(version) / "train.parquet").stat().st_size == 40_000
    assert publish(tmp_path).wait(30) == 0
    after = [*there, len(there) + 1]
    assert shelf_of(tmp_path).versions("reader") == after
    assert sorted(entry.name for entry in (tmp_path / "reader").iterdir()) == list(map(str, after))


@pytest.mark.crash
def test_processes_that_release_at_once_get_versions_without_gaps(tmp_path: Path) -> None:
    """Three processes, four releases each: twelve versions."""
    processes = [publish(tmp_path, 4) for _ in range(3)]
    assert [process.wait(60) for process in processes] == [0, 0, 0]
    assert shelf_of(tmp_path).versions("reader") == list(range(1, 13))
