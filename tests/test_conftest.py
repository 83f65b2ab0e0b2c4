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


def run(tmp_path: Path, source: str, *, ci: bool) -> tuple[int, str]:
    """Exit status and output of a test file of its own under the project's settings."""
    file = tmp_path / "test_made_up.py"
    file.write_text(f'"""A made-up test file."""\nimport os\nimport pytest\n{source}')
    env = {name: value for name, value in os.environ.items() if name != "CI"} | ({"CI": "true"} if ci else {})
    command = [
        sys.executable,
        "-m",
        "pytest",
        "-p",
        "tests.conftest",
        "-p",
        "no:cacheprovider",
        f"--rootdir={ROOT}",
    ]
    command += ["-c", str(ROOT / "pyproject.toml"), str(file)]
    done = subprocess.run(command, cwd=ROOT, env=env, capture_output=True, text=True, check=False)
    return done.returncode, done.stdout


SKIPS = [
    "@pytest.mark.skip(reason='no broker here')\ndef test_it(): ...",
    "@pytest.mark.skipif(True, reason='no broker here')\ndef test_it(): ...",
    "def test_it():\n    pytest.skip('no broker here')",
    "@pytest.fixture\ndef broker():\n    pytest.skip('no broker here')\ndef test_it(broker): ...",
    "pytest.skip('no broker here', allow_module_level=True)\ndef test_it(): ...",
]


@pytest.mark.parametrize("source", SKIPS, ids=["mark", "condition", "call", "fixture", "module"])
def test_a_skip_is_a_failure_where_the_run_decides(tmp_path: Path, source: str) -> None:
    """With CI=true every way to skip ends in a failure that tells the skip's reason; without, the reason is shown."""
    status, output = run(tmp_path, source, ci=True)
    assert status in {1, 2}
    assert "skips are failures with CI=true" in output
    assert "no broker here" in output
    status, output = run(tmp_path, source, ci=False)
    assert status in {0, 5}
    assert re.search(r"SKIPPED \[1\] .*no broker here", output)


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
        "def test_first():\n    assert 'LOOPLINE_HOME' not in os.environ\n    os.environ['LOOPLINE_URL'] = 'x'\n"
        "def test_second():\n    assert 'LOOPLINE_URL' not in os.environ"
    )
    status, output = run(tmp_path, source, ci=False)
    assert status == 0, output


def test_examples_repeat_where_the_run_decides(tmp_path: Path) -> None:
    """With CI=true two runs draw the same examples."""
    source = (
        "from hypothesis import given, strategies as st\n"
        "@given(st.integers())\ndef test_it(n):\n    print('drawn', n)\n    assert os.environ.get('CI') == 'true'"
    )
    drawn = [
        re.findall(r"drawn (-?\d+)", run(tmp_path, f"{source}\n    assert n < 10**6", ci=True)[1])
        for _ in range(2)
    ]
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
