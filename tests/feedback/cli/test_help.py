"""Help is quick and complete, options work in every position, and usage errors end with 2."""

from __future__ import annotations

import json
import resource
import subprocess
import sys
from pathlib import Path

import pytest

from feedback.cli import COMMANDS, main
from feedback.cli.options import Choices, Command, Group
from feedback.settings import SETTINGS
from tests.architecture.floors import HEAVY_FOR_HELP
from tests.feedback.running import COMMAND, loopline


def test_the_lines_of_help_are_those_of_the_commands() -> None:
    """The table that makes help quick says what each command says of itself."""
    for name, where in COMMANDS.items():
        found = main.get_command(None, name)  # type: ignore[arg-type]
        assert isinstance(found, Command | Group), name
        assert found.short_help == where.help


def test_help_loads_click_and_no_room_but_settings_and_errors() -> None:
    """What commands need is loaded when they are used."""
    program = "import sys, feedback.cli; print(*sys.modules)"
    loaded = subprocess.run(
        [sys.executable, "-P", "-c", program], capture_output=True, text=True, check=True
    ).stdout.split()
    assert "click" in loaded
    assert {
        name for name in loaded if name.partition(".")[0] in ("feedback", "streams", "schemas", "models")
    } == {
        "feedback",
        "feedback.cli",
        "feedback.cli.options",
        "feedback.escaping",
        "feedback.kafka_settings",
        "feedback.ownership",
        "feedback.redaction",
        "feedback.setting_values",
        "feedback.settings",
        "schemas",
        "schemas.errors",
    }
    assert {name for name in loaded if name.partition(".")[0] == "loopline"} == {
        "loopline",
        "loopline.errors",
    }
    assert not HEAVY_FOR_HELP.union({"msgspec", "starlette", "uvicorn"}).intersection(loaded)


def test_help_comes_at_once() -> None:
    """Under 0.3 s of processor time: it waits for nothing, and the machine may be busy."""
    took = []
    for _ in range(3):
        before = resource.getrusage(resource.RUSAGE_CHILDREN)
        done = subprocess.run([*COMMAND, "--help"], capture_output=True, text=True, check=True)
        after = resource.getrusage(resource.RUSAGE_CHILDREN)
        took.append(after.ru_utime - before.ru_utime + after.ru_stime - before.ru_stime)
        assert "Commands:" in done.stdout
    assert min(took) < 0.3


@pytest.mark.parametrize(
    "words",
    [
        ["--help"],
        ["-h"],
        *([name, "--help"] for name in COMMANDS),
        ["dead-letters", "replay", "--help"],
        ["model", "declare", "--help"],
        ["dataset", "release", "--help"],
        ["feedback", "show", "--help"],
    ],
)
def test_every_help_shows_the_shared_options_apart(words: list[str]) -> None:
    """A command's own options come first, those of every command behind."""
    result = loopline(*words)
    assert result.exit_code == 0
    _, found, shared = result.stdout.partition("Options of every command")
    assert found
    for setting in SETTINGS:
        assert not (setting.flag and setting.shared) or setting.flag in shared


@pytest.mark.parametrize(
    "words",
    [
        ["frobnicate"],
        ["send"],
        ["send", "/no/such/file"],
        ["--port", "70000", "doctor"],
        ["doctor", "--port", "http"],
        ["doctor", "--url", "localhost"],
        ["up", "--host", "0.0.0.0"],
        ["dead-letters", "replay"],
        ["dead-letters", "replay", "dead:0:0", "--all"],
        ["dead-letters", "replay", "--all", "--with", "/dev/null"],
        ["model", "declare", "m", "1"],
        ["model", "declare", "m", "1", "--text", "--label", "a"],
        ["model", "declare", "m", "1", "--labels-json", "["],
        ["model", "evaluated", "m", "1", "--metric", "accuracy"],
        ["model", "evaluated", "m", "1", "--metric", "accuracy=1,mean=2"],
        ["waiting", "--limit", "0"],
    ],
)
def test_what_cannot_be_meant_ends_with_2(words: list[str], tmp_path: Path) -> None:
    """Usage errors say what is wrong, and nothing was done."""
    result = loopline("--home", tmp_path / "home", *words)
    assert result.exit_code == 2
    assert "Error" in result.stderr
    assert "Traceback" not in result.stderr
    assert not (tmp_path / "home").exists()


def test_a_wide_open_host_must_be_meant(tmp_path: Path) -> None:
    """The refusal says what --insecure means."""
    result = loopline("up", "--home", tmp_path / "home", "--host", "0.0.0.0")
    assert "--insecure" in result.stderr
    assert "no keys" in result.stderr


@pytest.mark.parametrize(
    "words",
    [
        ["--home", "{}", "waiting"],
        ["waiting", "--home", "{}"],
        ["--home", "/elsewhere", "waiting", "--home", "{}"],
        ["--home", "{}", "dead-letters", "list"],
        ["dead-letters", "--home", "{}", "list"],
        ["dead-letters", "list", "--home", "{}"],
    ],
)
def test_shared_options_work_in_every_position(words: list[str], tmp_path: Path) -> None:
    """Before or behind the command; the last one given is taken."""
    result = loopline(*(word.format(tmp_path / "mine") for word in words))
    assert result.exit_code == 3
    assert str(tmp_path / "mine") in result.stderr


def test_a_flag_goes_before_the_environment(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """LOOPLINE_HOME is taken where no --home is given, in whatever position."""
    monkeypatch.setenv("LOOPLINE_HOME", str(tmp_path / "environment"))
    assert str(tmp_path / "environment") in loopline("waiting").stderr
    for words in (["--home", tmp_path / "flag", "waiting"], ["waiting", "--home", tmp_path / "flag"]):
        assert str(tmp_path / "flag") in loopline(*words).stderr


def test_choices_know_what_was_chosen(monkeypatch: pytest.MonkeyPatch) -> None:
    """A default is told from a choice, for a home's partitions are only compared with a choice."""
    choices = Choices()
    assert not choices.was_set("partitions")
    monkeypatch.setenv("LOOPLINE_PARTITIONS", "1")
    assert choices.was_set("partitions")


def test_without_home_and_server_nobody_is_reached(tmp_path: Path) -> None:
    """Exit status 3, and what to do."""
    result = loopline("--home", tmp_path / "none", "waiting")
    assert result.exit_code == 3
    assert "loopline up" in result.stderr
    assert result.stdout == ""
    assert not (tmp_path / "none").exists()


def test_a_server_that_is_not_there_is_not_reached(tmp_path: Path) -> None:
    """Exit status 3 for --url, for reading and for sending."""
    for words in (["waiting"], ["send", "-", "--retry-for", "0"]):
        result = loopline("--url", "http://127.0.0.1:9", *words, stdin=b"{}")
        assert result.exit_code == 3
        assert "127.0.0.1:9" in result.stderr


def test_an_address_that_cannot_be_used_is_told_once() -> None:
    """Which flag, what it said, and what it must look like."""
    said = loopline("--url", "x", "waiting").stderr
    assert said.count("cannot be used") == 1
    assert "it must look like" in said


def test_version_is_that_of_the_platform() -> None:
    """One line, with the name of the command."""
    result = loopline("--version")
    assert result.exit_code == 0
    assert result.stdout.startswith("loopline ")


def test_json_is_one_document_also_from_the_environment(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Nothing else is on standard output."""
    monkeypatch.setenv("LOOPLINE_JSON", "1")
    result = loopline("doctor", "--home", tmp_path / "none")
    assert result.exit_code == 1
    assert json.loads(result.stdout)["ok"] is False
