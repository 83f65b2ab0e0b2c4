"""What an installed platform has with it, looked at in a wheel built here."""

from __future__ import annotations

import subprocess
import sys
import zipfile
from pathlib import Path

from tests.architecture.source import ENTRY, ROOMS, ROOT
from tests.architecture.tracked import files


def test_the_wheel_has_every_file_of_the_rooms(tmp_path: Path) -> None:
    """What the rooms need is installed with them, tests and benchmarks are not; the client lies beside."""
    build = [sys.executable, "-m", "hatchling", "build", "--target", "wheel", "--directory", str(tmp_path)]
    done = subprocess.run(build, cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    (wheel,) = tmp_path.glob("*.whl")
    names = set(zipfile.ZipFile(wheel).namelist())
    inside = {path.relative_to(ROOT).as_posix() for path in files(ROOT)}
    assert {name for name in inside if name.partition("/")[0] in ROOMS} <= names
    assert {name.partition("/")[0] for name in names if ".dist-info/" not in name} == {*ROOMS, f"{ENTRY}.py"}
    (metadata,) = [name for name in names if name.endswith(".dist-info/METADATA")]
    needed = zipfile.ZipFile(wheel).read(metadata).decode()
    assert f"Requires-Dist: loopline @ {(ROOT / 'clients/python').as_uri()}\n" in needed
    (entry_points,) = [name for name in names if name.endswith("entry_points.txt")]
    assert b"loopline = loopline_platform:main" in zipfile.ZipFile(wheel).read(entry_points)
