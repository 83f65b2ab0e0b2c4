"""What `make explore` promises: other examples each time, a seed that brings them back, and an end."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from tests import explore
from tests.test_conftest import DRAWN


@pytest.fixture(autouse=True)
def profiles(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The made-up tests know the project's ways to draw, and load the plugins that their settings name."""
    # The others take seconds to load.
    monkeypatch.setenv("PYTEST_DISABLE_PLUGIN_AUTOLOAD", "1")
    monkeypatch.setenv("PYTEST_PLUGINS", "pytest_timeout,_hypothesis_pytestplugin")
    (tmp_path / "conftest.py").write_text('"""Made up."""\nimport tests.conftest\n')


@pytest.fixture
def property_test(tmp_path: Path) -> str:
    """A file with a property that fails for large numbers."""
    path = tmp_path / "test_made_up.py"
    path.write_text(f'"""A made-up test file."""\n{DRAWN}')
    return str(path)


def drawn(capfd: pytest.CaptureFixture[str]) -> tuple[str, list[str]]:
    """What was printed since the last call, and the numbers in it."""
    text = capfd.readouterr().out
    return text, re.findall(r"drawn (-?\d+)", text)


def test_a_seed_brings_a_round_back(property_test: str, capfd: pytest.CaptureFixture[str]) -> None:
    """The same seed draws the same examples, another seed others, and the failure names its seed."""
    rounds = []
    for seed in ("7", "7", "8"):
        assert explore.main(["--seed", seed, property_test]) == 1
        text, numbers = drawn(capfd)
        assert f"{seed}: the round failed" in text
        rounds.append(numbers)
    assert rounds[0]
    assert rounds[0] == rounds[1] != rounds[2]


def test_seeds_of_its_own_are_told(property_test: str, capfd: pytest.CaptureFixture[str]) -> None:
    """Without a seed it draws one, and prints it before the round begins."""
    assert explore.main(["--minutes", "5", property_test]) == 1
    seed = re.match(r"(\d+): a round with this seed", drawn(capfd)[0])
    assert seed is not None
    assert explore.main(["--seed", seed[1], property_test]) == 1


def test_the_time_is_a_bound(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    """A round that outlasts the time is interrupted, and what it had started is cleaned up."""
    source = (
        "import pathlib, time\nimport pytest\nfrom hypothesis import given, strategies as st\n"
        "@pytest.fixture(scope='module')\ndef server():\n    yield\n"
        f"    pathlib.Path({str(tmp_path / 'cleaned')!r}).touch()\n"
        "@given(st.integers())\ndef test_it(server, n):\n    time.sleep(60)"
    )
    (tmp_path / "test_endless.py").write_text(f'"""A made-up test file."""\n{source}')
    assert explore.main(["--minutes", "0.1", str(tmp_path)]) == 0
    assert "0 whole rounds" in drawn(capfd)[0]
    assert (tmp_path / "cleaned").exists()


def test_nothing_to_explore_is_no_success(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    """A path without property tests is said to be one."""
    (tmp_path / "test_plain.py").write_text('"""A made-up test file."""\ndef test_it(): ...')
    assert explore.main(["--seed", "1", str(tmp_path)]) != 0
    assert "found no property test" in drawn(capfd)[0]
