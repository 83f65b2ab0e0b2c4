"""What holds for every test: no network, no settings from outside, no silent skips, and examples that repeat.

Fixtures that belong to one room are left to that room's own conftest.
"""

from __future__ import annotations

import ipaddress
import os
import socket
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

# Before anything that phones home is imported, here or in a process that a test starts.
os.environ["GX_ANALYTICS_ENABLED"] = "false"
os.environ["HF_HUB_OFFLINE"] = "1"
os.environ["HF_DATASETS_OFFLINE"] = "1"
os.environ["HF_HUB_DISABLE_TELEMETRY"] = "1"

import pytest
from hypothesis import HealthCheck, settings

from tests import side_by_side

# Imported before the settings are taken away: it reads the name of a server.
from tests.services.kafka.fixtures import end_unneeded, kafka, kafka_cluster, start_needed
from tests.services.postgres import postgres, postgres_address, postgres_url

__all__ = ["kafka", "kafka_cluster", "postgres", "postgres_address", "postgres_url"]

SETTINGS_PREFIX = "LOOPLINE_"
for name in [name for name in os.environ if name.startswith(SETTINGS_PREFIX)]:
    del os.environ[name]

# A busy machine is slow at times; that alone is no finding: no deadlines, no complaint about slow examples.
# Every run draws the same examples: a failure on a fresh clone tells of the clone. `make explore` draws anew.
settings.register_profile(
    "repeatable",
    deadline=None,
    suppress_health_check=[HealthCheck.too_slow],
    derandomize=True,
    database=None,
    print_blob=True,
)
settings.register_profile("explore", parent=settings.get_profile("repeatable"), derandomize=False)
settings.load_profile("repeatable")


def in_ci() -> bool:
    """Whether this run is the one that decides: CI=true."""
    return os.environ.get("CI", "").lower() in {"1", "true"}


# ----------------------------------------------------------------------------------------------- no network


class OutsideAddressError(RuntimeError):
    """A test reached for an address that is not on this machine."""


def _is_here(host: object) -> bool:
    if host is None or host in ("", b"", "localhost", b"localhost"):
        return True
    text = host.decode("ascii", "replace") if isinstance(host, bytes) else str(host)
    try:
        address = ipaddress.ip_address(text.partition("%")[0])
    except ValueError:
        return False
    return address.is_loopback or address.is_unspecified


def refuse_outside(event: str, args: tuple[Any, ...]) -> None:
    """Audit hook: connections and name look-ups stay on this machine."""
    if event == "socket.connect":
        connection, address = args
        if connection.family in (socket.AF_INET, socket.AF_INET6) and not _is_here(address[0]):
            raise OutsideAddressError(f"a test tried to connect to {address}; tests need no network")
    elif event == "socket.getaddrinfo" and not _is_here(args[0]):
        raise OutsideAddressError(f"a test tried to look up {args[0]!r}; tests need no network")


sys.addaudithook(refuse_outside)


@pytest.fixture(autouse=True)
def no_settings_from_outside() -> Iterator[None]:
    """Each test starts without LOOPLINE_* variables and leaves none behind."""
    for name in [name for name in os.environ if name.startswith(SETTINGS_PREFIX)]:
        del os.environ[name]
    yield
    for name in [name for name in os.environ if name.startswith(SETTINGS_PREFIX)]:
        del os.environ[name]


@pytest.fixture
def eager_threads() -> Iterator[None]:
    """Threads take turns as often as they can, so that what is not guarded is seen in few rounds."""
    usual = sys.getswitchinterval()
    sys.setswitchinterval(1e-6)
    yield
    sys.setswitchinterval(usual)


# ------------------------------------------------------------------------------------------- a first verdict

_ROOT = Path(__file__).resolve().parent
_NOT_QUICK = {
    "": (
        *("benchmarks", "broker", "crash", "deploy", "docs"),
        *("test_conftest.py", "test_explore.py", "test_loopline_platform.py"),
    ),
    "streams": ("kafka",),
    "streams/fold": ("test_flat_cost.py",),
    "streams/store": ("postgres",),
    "services": ("test_postgres.py",),
    "feedback": ("datasets", "demo"),
    "feedback/cli": ("test_commands.py", "test_connect.py", "test_dataset.py", "test_send.py"),
    "feedback/installation": (
        *("test_backup.py", "test_cluster.py", "test_cluster_parts.py", "test_cluster_refusals.py"),
        "test_rebuild.py",
    ),
    "feedback/processes": ("test_cluster_collector.py", "test_supervisor.py", "test_watchdog.py"),
    "feedback/server": ("test_door.py",),
    "feedback/api": ("test_described.py", "test_over_http.py"),
}
"""By folder, what starts services, kills processes, builds wheels or runs the examples of the docs."""
_NOT_QUICK_MARKS = ("browser", "broker", "crash", "disk", "fuzz", "peer", "postgres", "slow", "trace")


def pytest_addoption(parser: pytest.Parser) -> None:
    """`--quick`: what `make quick` runs."""
    parser.addoption("--quick", action="store_true", help="only what needs no services and little time")


def pytest_ignore_collect(collection_path: Path, config: pytest.Config) -> bool | None:
    """Folders that are not quick are not even imported then."""
    if not config.getoption("quick", False) or not collection_path.is_relative_to(_ROOT):
        return None
    folder, _, name = collection_path.relative_to(_ROOT).as_posix().rpartition("/")
    return name in _NOT_QUICK.get(folder, ()) or None


def _leave_out_slow(config: pytest.Config, items: list[pytest.Item]) -> None:
    slow = [item for item in items if any(map(item.get_closest_marker, _NOT_QUICK_MARKS))]
    config.hook.pytest_deselected(items=slow)
    items[:] = [item for item in items if item not in set(slow)]


# ------------------------------------------------------------------------------------------ side by side


def pytest_configure(config: pytest.Config) -> None:
    """Where several processes run the tests, ours decides which runs which."""
    if config.pluginmanager.hasplugin("xdist") and not hasattr(config, "workerinput"):
        config.pluginmanager.register(side_by_side.Plugin())


@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """A first verdict has fewer tests, and several processes an order of their own."""
    if config.getoption("quick", False):
        _leave_out_slow(config, items)
    side_by_side.refuse_sets(items)
    side_by_side.order(config, items)


@pytest.hookimpl(tryfirst=True)
def pytest_runtest_setup(item: pytest.Item) -> None:
    """A test finds the brokers that it names running."""
    start_needed(item)


@pytest.hookimpl(trylast=True)
def pytest_runtest_teardown(item: pytest.Item, nextitem: pytest.Item | None) -> None:
    """Brokers that nobody waits for end."""
    end_unneeded(item.config, nextitem)


# ------------------------------------------------------------------------------------------ no silent skips


def _fail_if_skipped(report: pytest.TestReport | pytest.CollectReport) -> None:
    """With CI=true what was skipped has failed, with the reason of the skip; an expected failure has not."""
    if in_ci() and report.outcome == "skipped" and not hasattr(report, "wasxfail"):
        reason = report.longrepr[2] if isinstance(report.longrepr, tuple) else str(report.longrepr)
        report.outcome = "failed"
        report.longrepr = f"{report.nodeid}: skips are failures with CI=true. {reason}"


@pytest.hookimpl(wrapper=True, tryfirst=True)
def pytest_runtest_makereport(item: pytest.Item, call: pytest.CallInfo[None]) -> Any:
    """Turn a skipped test into a failed one where the run decides."""
    report = yield
    _fail_if_skipped(report)
    return report


@pytest.hookimpl(wrapper=True, tryfirst=True)
def pytest_make_collect_report(collector: pytest.Collector) -> Any:
    """Turn a skipped module into a failed one where the run decides."""
    report = yield
    _fail_if_skipped(report)
    return report
