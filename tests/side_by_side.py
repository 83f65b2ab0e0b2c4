"""Which process runs which tests, where pytest-xdist runs several side by side (`-n 4`).

Each process collects all tests, and tells the scheduler by a file which of them go together: those of a file,
so that what its fixtures start is started once; and one by one where each test starts everything itself.
Tests on the session's brokers begin first, in some of the processes only, for brokers are dear;
`tests.services.kafka.fixtures` ends them where none follow. After those comes what takes longest, so that the
processes end together.

xdist's own way, the mark `xdist_group`, is not used: it writes the group into the test's name, where pytest
9.2 does not look any more. Every test goes its own way then, and each process starts everything.
"""

from __future__ import annotations

import json
import os
import tempfile
from collections.abc import Mapping
from math import inf
from pathlib import Path
from typing import Any

import pytest
from xdist.scheduler import LoadScopeScheduling

_ROOT = Path(__file__).resolve().parent
_PROCESSES = {"kafka_cluster": 2, "kafka": 3}
"""How many of the processes run the tests with each of these fixtures; in the order of their turns."""
_ONE_BY_ONE = ("broker/", "crash/", "docs/test_examples.py", "benchmarks/test_cluster.py", "deploy/")
"""Where a test is a scenario of half a minute that shares nothing with its neighbours."""
_LONG = (
    "docs/test_examples.py::test_every_example_runs[datasets]",
    "benchmarks/test_cluster.py",
    "docs/test_examples.py::test_every_example_runs_on_many_machines",
    "broker/",
    "deploy/test_by_hand.py",
    "feedback/demo/",
    "docs/test_examples.py::test_every_example_runs[tutorial]",
    "streams/fold/test_order_rule.py",
    "feedback/processes/test_cluster_collector.py",
    "feedback/datasets/shelf/test_objects.py",
    "streams/kafka/",
    "streams/store/postgres/",
    "crash/",
    "docs/test_examples.py",
    "test_explore.py",
)
"""What takes long, the longest first."""


def _path(item: pytest.Item) -> str:
    return item.path.relative_to(_ROOT).as_posix() if item.path.is_relative_to(_ROOT) else str(item.path)


def _brokers(item: pytest.Item) -> str | None:
    names = getattr(item, "fixturenames", ())
    return next((fixture for fixture in _PROCESSES if fixture in names), None)


def group_of(item: pytest.Item) -> str:
    """What one process runs together: the brokers that the tests need, and what they share."""
    path = _path(item)
    shared = item.nodeid if path.startswith(_ONE_BY_ONE) else path
    # A file of which some tests need brokers is two groups.
    return f"{_brokers(item) or ''} {shared}"


def _turn(item: pytest.Item) -> tuple[int, int]:
    """When a test has its turn: brokers, then by the table above, then everything else."""
    brokers = [*_PROCESSES, None].index(_brokers(item))
    name = f"{_path(item)}::{item.nodeid.partition('::')[2]}"
    return brokers, next((turn for turn, long in enumerate(_LONG) if name.startswith(long)), len(_LONG))


def refuse_sets(items: list[pytest.Item]) -> None:
    """A set has another order in each process, and all must collect the same for xdist."""
    for item in items:
        for mark in item.iter_markers("parametrize"):
            values = mark.kwargs.get("argvalues", mark.args[-1])
            if isinstance(values, set | frozenset):
                raise pytest.UsageError(f"{item.nodeid} has its parameters from a set: sort them")


def order(config: pytest.Config, items: list[pytest.Item]) -> None:
    """In one of several processes: put what takes long first, and tell the scheduler what goes together."""
    told = getattr(config, "workerinput", {}).get("groups")
    if told is None:
        return
    items.sort(key=_turn)
    partial = Path(f"{told}.{os.getpid()}")
    partial.write_text(json.dumps({item.nodeid: group_of(item) for item in items}))
    # All processes write the same; whoever reads finds a whole file.
    partial.replace(told)


class Groups(LoadScopeScheduling):
    """Hands out whole groups in the order of the tests, each to a process that may have what it needs."""

    def __init__(self, config: pytest.Config, log: Any = None) -> None:
        super().__init__(config, log)
        self._groups: Mapping[str, str] | None = None
        config.option.loadscopereorder = False

    def _split_scope(self, nodeid: str) -> str:
        if self._groups is None:
            self._groups = json.loads(_told().read_text())
        return self._groups[nodeid]

    def _assign_work_unit(self, node: Any) -> None:
        place = self.nodes.index(node)
        may = (
            group for group in self.workqueue if place < _PROCESSES.get(group.partition(" ")[0], place + 1)
        )
        group = next(may, None)
        if group is None:
            node.shutdown()
            return
        self.workqueue.move_to_end(group, last=False)
        super()._assign_work_unit(node)


def _processes(group: str) -> float:
    """How many processes may run a group."""
    return _PROCESSES.get(group.partition(" ")[0], inf)


def _told() -> Path:
    """Where the processes of this run tell the scheduler what goes together."""
    return Path(tempfile.gettempdir()) / f"loopline-tests-{os.getpid()}.json"


class Plugin:
    """What the process does that hands out the work."""

    @pytest.hookimpl(optionalhook=True)
    def pytest_configure_node(self, node: Any) -> None:
        """Tell each process where to write."""
        node.workerinput["groups"] = str(_told())

    @pytest.hookimpl(optionalhook=True)
    def pytest_xdist_make_scheduler(self, config: pytest.Config, log: Any) -> Groups:
        """Hand out the groups above, whatever `--dist` says."""
        return Groups(config, log)

    def pytest_unconfigure(self) -> None:
        """Leave nothing behind."""
        _told().unlink(missing_ok=True)
