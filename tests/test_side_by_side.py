"""Several processes share the tests as `side_by_side.py` says, tried on a small run of its own."""

from __future__ import annotations

import os
import subprocess
import sys
from collections import defaultdict
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
TESTS = '''"""A made-up test file."""
import os
import time
import pytest

@pytest.fixture
def kafka_cluster(): ...

@pytest.mark.parametrize("number", range(3))
def test_it(number{needs}):
    time.sleep(0.05)
    with open(os.environ["TOLD"], "a") as told:
        told.write(f"{name} {{os.environ['PYTEST_XDIST_WORKER']}}\\n")
'''


def test_a_file_stays_whole_and_brokers_are_kept_to_some_processes(tmp_path: Path) -> None:
    """Tests of a file run in one process; those that need three brokers come first, and in two of three."""
    for kind, needs in (("plain", ""), ("brokers", ", kafka_cluster")):
        for number in range(4):
            name = f"test_{kind}_{number}"
            (tmp_path / f"{name}.py").write_text(TESTS.format(name=name, needs=needs))
    told = tmp_path / "told"
    command = [sys.executable, "-m", "pytest", f"--rootdir={ROOT}", "-c", str(ROOT / "pyproject.toml")]
    # Only the plugins that the settings name: the others take seconds to load.
    plugins = ["xdist", "tests.conftest", "pytest_timeout", "_hypothesis_pytestplugin", "no:cacheprovider"]
    command += [part for plugin in plugins for part in ("-p", plugin)]
    done = subprocess.run(
        [*command, "-n", "3", str(tmp_path)],
        cwd=ROOT,
        env={**os.environ, "TOLD": str(told), "PYTEST_DISABLE_PLUGIN_AUTOLOAD": "1"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout
    assert "24 passed" in done.stdout
    ran = [line.split() for line in told.read_text().splitlines()]
    where: dict[str, set[str]] = defaultdict(set)
    for name, process in ran:
        where[name].add(process)
    assert [name for name, processes in where.items() if len(processes) > 1] == []
    on_brokers = {process for name, process in ran if "brokers" in name}
    assert len(on_brokers) <= 2
    for process in on_brokers:
        kinds = ["brokers" in name for name, by in ran if by == process]
        assert kinds == sorted(kinds, reverse=True)
