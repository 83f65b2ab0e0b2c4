"""The table of settings drives flags, environment and pages."""

from __future__ import annotations

from pathlib import Path

import pytest

from feedback.cli import reference
from feedback.settings import BY_NAME, SETTINGS, BadSetting, value


def test_a_flag_goes_before_the_environment_and_that_before_the_default() -> None:
    """What was given is taken, else the environment, else the default."""
    environ = {"LOOPLINE_PORT": "9000"}
    assert value("port", "7000", environ) == 7000
    assert value("port", None, environ) == 9000
    assert value("port", None, {}) == 8710
    assert value("home", None, {}) == Path(".loopline")
    assert (value("outcome_window", None, {}), value("maturity", None, {})) == (30, 14)


@pytest.mark.parametrize(
    "name,text",
    [
        ("port", "70000"),
        ("port", "http"),
        ("partitions", "0"),
        ("partitions", "2.5"),
        ("url", "127.0.0.1:8710"),
        ("insecure", "maybe"),
        ("log_level", "loud"),
        ("retry_for", "-1"),
        ("maturity", "0"),
    ],
)
def test_a_setting_that_cannot_be_used_is_named(name: str, text: str) -> None:
    """The refusal names the flag or the variable, and the value."""
    setting = BY_NAME[name]
    with pytest.raises(BadSetting) as refusal:
        value(name, None, {setting.env: text})
    assert setting.env in str(refusal.value)
    assert repr(text) in str(refusal.value)


def test_names_flags_and_variables_are_unique() -> None:
    """No two settings share a name, a flag or a variable."""
    for column in ("name", "env"):
        assert len({getattr(setting, column) for setting in SETTINGS}) == len(SETTINGS)
    flags = [setting.flag for setting in SETTINGS if setting.flag]
    assert len(set(flags)) == len(flags)


@pytest.mark.parametrize("name", ["cli.md", "settings.md"])
def test_the_reference_is_what_the_code_says(name: str) -> None:
    """The pages are generated and up to date: `python -m feedback.cli.reference` writes them."""
    assert (reference.FOLDER / name).read_text() == reference.pages()[name]


def test_every_setting_and_command_is_documented() -> None:
    """Each setting has its row, and each command its section."""
    settings, commands = reference.settings_page(), reference.cli_page()
    for setting in SETTINGS:
        assert f"| {setting.name} |" in settings
        assert f"`{setting.env}`" in settings
    for words in (
        "up",
        "demo",
        "send",
        "verify",
        "replay",
        "waiting",
        "labels",
        "backup",
        "restore",
        "doctor",
    ):
        assert f"## loopline {words}\n" in commands
    for words in (
        "dead-letters list",
        "dead-letters show",
        "dead-letters replay",
        "model declare",
        "model evaluated",
        "model deployed",
        "model rolled-back",
        "dataset release",
        "dataset list",
        "dataset show",
        "dataset diff",
        "feedback show",
    ):
        assert f"## loopline {words}\n" in commands


def test_a_stale_page_is_found(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """--check ends with 1 and writes nothing; without it the pages are written."""
    monkeypatch.setattr(reference, "FOLDER", tmp_path)
    assert reference.main(["--check"]) == 1
    assert list(tmp_path.iterdir()) == []
    assert reference.main([]) == 0
    assert reference.main(["--check"]) == 0
    (tmp_path / "cli.md").write_text("old")
    assert reference.main(["--check"]) == 1
