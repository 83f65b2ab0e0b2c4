"""What `conftest.py` promises every test, tried on small runs of their own."""

from __future__ import annotations

import os
import re
import socket
import subprocess
import sys
import urllib.request
from pathlib import Path

import pytest

from tests.conftest import OutsideAddressError

ROOT = Path(__file__).resolve().parents[1]


def run(tmp_path: Path, *sources: str, ci: bool) -> tuple[int, str]:
    """Exit status and output of test files of their own under the project's settings."""
    for number, source in enumerate(sources):
        text = f'"""A made-up test file."""\nimport os\nimport pytest\n{source}'
        (tmp_path / f"test_{number}.py").write_text(text)
    env = {name: value for name, value in os.environ.items() if name != "CI"} | ({"CI": "true"} if ci else {})
    # Only the plugins that the settings name: the others take seconds to load.
    env["PYTEST_DISABLE_PLUGIN_AUTOLOAD"] = "1"
    plugins = ["tests.conftest", "pytest_timeout", "_hypothesis_pytestplugin", "no:cacheprovider"]
    command = [sys.executable, "-m", "pytest", f"--rootdir={ROOT}", "-c", str(ROOT / "pyproject.toml")]
    command += ["--continue-on-collection-errors"]
    command += [part for plugin in plugins for part in ("-p", plugin)]
    done = subprocess.run(
        [*command, str(tmp_path)],
        cwd=ROOT,
        env=env,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        check=False,
    )
    return done.returncode, done.stdout


SKIPS = [
    "@pytest.mark.skip(reason='no broker here')\ndef test_it(): ...",
    "@pytest.mark.skipif(True, reason='no broker here')\ndef test_it(): ...",
    "def test_it():\n    pytest.skip('no broker here')",
    "@pytest.fixture\ndef broker():\n    pytest.skip('no broker here')\ndef test_it(broker): ...",
    "pytest.skip('no broker here', allow_module_level=True)\ndef test_it(): ...",
]
"""Every way to skip: by mark, by condition, by call, in a fixture, a whole module."""


def test_a_skip_is_a_failure_where_the_run_decides(tmp_path: Path) -> None:
    """With CI=true every way to skip ends in a failure that tells the skip's reason."""
    status, output = run(tmp_path, *SKIPS, "def test_it(): ...", ci=True)
    assert status != 0
    assert " skipped" not in output.splitlines()[-1]
    for number in range(len(SKIPS)):
        assert re.search(
            rf"(?m)^(ERROR|FAILED) \S*test_{number}\.py.*skips are failures.*no broker here", output
        )


def test_a_skip_shows_its_reason_elsewhere(tmp_path: Path) -> None:
    """Without CI=true a skip is no failure, and its reason is printed without being asked for."""
    status, output = run(tmp_path, *SKIPS, "def test_it(): ...", ci=False)
    assert status == 0
    assert output.count("no broker here") == len(SKIPS)
    assert "1 passed, 5 skipped" in output


def test_passing_and_expected_failures_stay_what_they_are(tmp_path: Path) -> None:
    """CI=true changes skips only."""
    source = "def test_it(): ...\n@pytest.mark.xfail(reason='known')\ndef test_other():\n    assert False"
    status, output = run(tmp_path, source, ci=True)
    assert status == 0
    assert "1 passed, 1 xfailed" in output


def test_an_unknown_marker_is_refused(tmp_path: Path) -> None:
    """A misspelt marker does not silently select nothing."""
    status, output = run(tmp_path, "@pytest.mark.crahs\ndef test_it(): ...", ci=False)
    assert status != 0
    assert "crahs" in output


def test_parameters_from_a_set_are_refused(tmp_path: Path) -> None:
    """Processes that share the tests must collect them in one order."""
    source = "@pytest.mark.parametrize('letter', {'a', 'b'})\ndef test_it(letter): ..."
    status, output = run(tmp_path, source, ci=False)
    assert status != 0
    assert "test_it[" in output
    assert "sort them" in output


def test_a_warning_is_an_error(tmp_path: Path) -> None:
    """Our own code may not warn."""
    status, output = run(
        tmp_path, "import warnings\ndef test_it():\n    warnings.warn('old', stacklevel=1)", ci=False
    )
    assert status == 1
    assert "UserWarning: old" in output


def test_settings_do_not_leak_between_tests(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Neither what the shell has set nor what another test has set is seen."""
    monkeypatch.setenv("LOOPLINE_HOME", "/somewhere")
    source = (
        "def test_first():\n    assert 'LOOPLINE_HOME' not in os.environ\n"
        "    os.environ['LOOPLINE_URL'] = 'x'\n"
        "def test_second():\n    assert 'LOOPLINE_URL' not in os.environ"
    )
    status, output = run(tmp_path, source, ci=False)
    assert status == 0, output


DRAWN = (
    "from hypothesis import given, strategies as st\n"
    "@given(st.integers())\ndef test_it(n):\n    print('drawn', n)\n    assert n < 10**6"
)
"""A property that fails, and tells what was drawn for it."""


@pytest.mark.parametrize("ci", [True, False])
def test_examples_repeat(tmp_path: Path, ci: bool) -> None:
    """Two runs draw the same examples, with CI=true and without."""
    drawn = [re.findall(r"drawn (-?\d+)", run(tmp_path, DRAWN, ci=ci)[1]) for _ in range(2)]
    assert drawn[0]
    assert drawn[0] == drawn[1]


def test_no_test_reaches_outside() -> None:
    """A connection or a look-up beyond this machine is an error; this machine is not."""
    with pytest.raises(OutsideAddressError):
        urllib.request.urlopen("http://loopline.example")
    with socket.socket() as outside, pytest.raises(OutsideAddressError):
        outside.connect(("192.0.2.1", 80))
    with socket.socket() as server, socket.socket() as client:
        server.bind(("127.0.0.1", 0))
        server.listen()
        client.connect(server.getsockname())


def test_libraries_do_not_phone_home() -> None:
    """Analytics and hubs are off, for processes that tests start as well."""
    assert os.environ["GX_ANALYTICS_ENABLED"] == "false"
    assert os.environ["HF_HUB_OFFLINE"] == os.environ["HF_DATASETS_OFFLINE"] == "1"
