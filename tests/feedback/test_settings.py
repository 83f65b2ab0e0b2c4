"""The table of settings drives flags, environment and pages."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from feedback.cli import reference
from feedback.settings import BY_NAME, SETTINGS, BadSetting, value, was_said, without_password
from tests.feedback.running import loopline

CLUSTER = [
    [part, "--port", "0", "--log", "kafka://127.0.0.1:1", "--store", "postgresql://u@127.0.0.1:1/d"]
    for part in ("collector", "worker")
]


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
        ("log", "localhost:9092"),
        ("replication", "0"),
        ("datasets", "s3://"),
        ("datasets", "gs://bucket/prefix"),
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


def written(folder: Path, text: str) -> dict[str, str]:
    """An environment that names a file with this text."""
    path = folder / "settings.toml"
    path.write_text(text)
    return {"LOOPLINE_CONFIG": str(path)}


def test_the_file_goes_behind_the_environment_and_before_the_default(tmp_path: Path) -> None:
    """Flag, environment, file, default: the first that says something is taken."""
    environ = written(tmp_path, 'port = 9100\ninsecure = true\nlog = "kafka://a:9092"\n')
    assert value("port", None, environ) == 9100
    assert value("insecure", None, environ) is True
    assert value("log", None, environ) == "kafka://a:9092"
    assert value("port", None, {**environ, "LOOPLINE_PORT": "9000"}) == 9000
    assert value("port", "7000", {**environ, "LOOPLINE_PORT": "9000"}) == 7000
    assert value("host", None, environ) == "127.0.0.1"
    assert was_said("port", environ)
    assert not was_said("host", environ)


def test_the_working_folders_file_is_read_unless_another_is_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """`loopline.toml` beside the default home needs no flag; a named file is read instead of it."""
    monkeypatch.chdir(tmp_path)
    assert value("port", None, {}) == 8710
    (tmp_path / "loopline.toml").write_text("port = 9200")
    assert value("port", None, {}) == 9200
    assert value("port", None, written(tmp_path, "maturity = 7")) == 8710


@pytest.mark.parametrize("line", ['host = "0.0.0.0"', "insecure = true", 'allowed_hosts = ["a"]'])
def test_a_file_that_was_found_opens_no_server(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, line: str
) -> None:
    """What opens a server to other machines comes from a file that somebody named, whatever is asked for."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "loopline.toml").write_text(f"port = 9200\n{line}\n")
    with pytest.raises(BadSetting, match="--config"):
        value("port", None, {})
    assert value("port", None, {"LOOPLINE_CONFIG": "loopline.toml"}) == 9200


def test_a_file_that_was_found_is_ours(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A found file of another user, or one that anybody can write, is refused; a named one is read."""
    monkeypatch.chdir(tmp_path)
    path = tmp_path / "loopline.toml"
    path.write_text("port = 9200\n")
    path.chmod(0o666)
    with pytest.raises(BadSetting, match="chmod"):
        value("port", None, {})
    path.chmod(0o664)
    assert value("port", None, {}) == 9200
    monkeypatch.setattr(os, "geteuid", lambda: 4711)
    with pytest.raises(BadSetting, match="another user"):
        value("port", None, {})
    assert value("port", None, {"LOOPLINE_CONFIG": str(path)}) == 9200


@pytest.mark.parametrize(
    "text,said",
    [
        ("prot = 1", "prot, and there is no such setting"),
        ("[log]\nurl = 1", "log in .* is neither text nor a number"),
        ("port = ", "is no TOML"),
        ("port = 70000", "port in .*settings.toml='70000' cannot be used: a port is"),
    ],
)
def test_a_file_that_cannot_be_used_is_refused_by_name(tmp_path: Path, text: str, said: str) -> None:
    """A misspelt name, a value of the wrong kind and broken TOML are told, with the file's name."""
    with pytest.raises(BadSetting, match=said):
        value("port" if "log" not in text else "log", None, written(tmp_path, text))


def test_a_named_file_that_is_not_there_is_refused(tmp_path: Path) -> None:
    """Only the file of the working folder may be missing."""
    with pytest.raises(BadSetting, match="No such file"):
        value("port", None, {"LOOPLINE_CONFIG": str(tmp_path / "none.toml")})


def test_a_flag_names_the_file_for_this_process_and_its_children(tmp_path: Path) -> None:
    """`--config` in any position is known to all that read settings; a bad entry is a usage error."""
    written(tmp_path, "port = 70000")
    result = loopline("doctor", "--config", tmp_path / "settings.toml")
    assert result.exit_code == 2
    assert "port in" in result.stderr
    assert os.environ["LOOPLINE_CONFIG"] == str(tmp_path / "settings.toml")


def test_the_stores_address_may_lie_in_a_file_of_its_own(tmp_path: Path) -> None:
    """As container secrets do: LOOPLINE_STORE_FILE names it."""
    secret = tmp_path / "secret"
    secret.write_text("postgresql://loopline:pw@postgres/loopline\n")
    environ = {"LOOPLINE_STORE_FILE": str(secret)}
    assert value("store", None, environ) == "postgresql://loopline:pw@postgres/loopline"
    assert was_said("store", environ)
    with pytest.raises(BadSetting, match="LOOPLINE_STORE_FILE"):
        value("store", None, {"LOOPLINE_STORE_FILE": str(tmp_path / "none")})


@pytest.mark.parametrize(
    "address",
    [
        "postgresql://",
        "postgresql://u:p%40w#[:]@h:5432/d",
        "postgresql:///d?host=/var/run/postgresql&user=u",
        "postgresql://u@[::1]:5432,h2:5433,h3/d?target_session_attrs=read-write",
        "postgres://u@%2Fvar%2Frun/d?options=-c%20statement_timeout=0",
    ],
)
def test_what_the_client_library_understands_may_be_written(address: str) -> None:
    """Several hosts, sockets, addresses of IPv6, parameters, and nothing at all."""
    assert value("store", None, {"LOOPLINE_STORE": address}) == address


@pytest.mark.parametrize("words", [["up", "--port", "0"], *CLUSTER], ids=lambda words: words[0])
@pytest.mark.parametrize("name", ["LOOPLINE_STUCK_AFTER", "LOOPLINE_MATURITY", "LOOPLINE_OUTCOME_WINDOW"])
def test_a_server_looks_at_its_settings_before_it_starts(
    words: list[str], name: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """What only a running server reads is a usage error too, and no process that dies again and again."""
    monkeypatch.setenv("LOOPLINE_HOME", str(tmp_path / "home"))
    monkeypatch.setenv(name, "soon")
    result = loopline(*words)
    assert result.exit_code == 2
    assert f"{name}='soon' cannot be used: it is a " in result.stderr
    assert not (tmp_path / "home").exists()


@pytest.mark.parametrize("port", ["no", "0", "65536"])
def test_the_stores_port_is_one(port: str) -> None:
    """A slip of the pen is told at once, and not tried again and again as a server that is away."""
    for address in (f"postgresql://h:{port}/d", f"postgresql://u:pw@h1:5432,h2:{port}/d"):
        with pytest.raises(BadSetting, match="5432"):
            value("store", None, {"LOOPLINE_STORE": address})


def test_a_password_is_never_shown(tmp_path: Path) -> None:
    """Neither when a setting cannot be used, nor in an address that is shown."""
    for text in (
        "mysql://u:s3cret@h/d",
        "postgresql://u:s3cret%@h/d",
        # The client library would take a part of the password for the host, and show that.
        "postgresql://u:s3cret/x@h/d",
        "postgresql://u:12/s3cret@h/d",
        "postgresql://u:x@s3cret@h/d",
        "postgresql://u:x?s3cret@h/d",
        "postgresql://u:x s3cret@h/d",
        "postgresql://u:s3cret",
    ):
        for environ in ({"LOOPLINE_STORE": text}, written(tmp_path, f'store = "{text}"')):
            with pytest.raises(BadSetting) as refusal:
                value("store", None, environ)
            assert "s3cret" not in str(refusal.value)
    assert without_password("postgresql://u:s3c/r:et@h:5432/d") == "postgresql://u:***@h:5432/d"
    assert without_password("postgresql://h/d?password=s3cret&sslmode=require") == (
        "postgresql://h/d?password=***&sslmode=require"
    )
    assert without_password("kafka://h:9092,i:9092/p") == "kafka://h:9092,i:9092/p"


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


def test_who_speaks_to_the_server_is_a_secret() -> None:
    """A refused address or header shows neither password nor value, however it is broken."""
    for name, text in (
        ("LOOPLINE_URL", "http://alice:s3cret@host:0"),
        ("LOOPLINE_URL", "alice:s3cret@host"),
        ("LOOPLINE_HEADERS", "X-Token s3cret"),
        ("LOOPLINE_HEADERS", "X-Token: s3cret\x01"),
        ("LOOPLINE_HEADERS", "X Token: s3cret"),
        ("LOOPLINE_HEADERS", "Host: s3cret"),
    ):
        with pytest.raises(BadSetting) as refusal:
            value(name.removeprefix("LOOPLINE_").lower(), None, {name: text})
        assert name in str(refusal.value)
        assert "s3cret" not in str(refusal.value)


def test_headers_are_one_a_line(tmp_path: Path) -> None:
    """In the variable, in a file that a variable names, and in the file of settings."""
    text = "Authorization: Bearer a:b\n\nX-Tenant:shop\n"
    expected = {"Authorization": "Bearer a:b", "X-Tenant": "shop"}
    (tmp_path / "headers").write_text(text)
    (tmp_path / "loopline.toml").write_text(f'headers = """\n{text}"""\n')
    assert value("headers", None, {}) is None
    assert value("headers", None, {"LOOPLINE_HEADERS": text}) == expected
    assert value("headers", None, {"LOOPLINE_HEADERS_FILE": str(tmp_path / "headers")}) == expected
    assert value("headers", None, {"LOOPLINE_CONFIG": str(tmp_path / "loopline.toml")}) == expected


def test_a_bundle_of_certificates_is_there(tmp_path: Path) -> None:
    """One that is not is refused by name."""
    with pytest.raises(BadSetting, match="LOOPLINE_CA_BUNDLE"):
        value("ca_bundle", None, {"LOOPLINE_CA_BUNDLE": str(tmp_path / "none.pem")})
    assert value("ca_bundle", None, {"LOOPLINE_CA_BUNDLE": str(tmp_path)}) == str(tmp_path)
