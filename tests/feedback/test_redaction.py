"""Secrets never appear in a message, whatever a library says."""

from __future__ import annotations

import logging
import os
from pathlib import Path
from urllib.parse import quote

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from feedback.redaction import MOST_SHOWN, redacted
from feedback.settings import BadSetting, adopt_library_secrets, value

S = "s3cr3t-Pa55"


@pytest.mark.parametrize(
    "said",
    [
        f"connection to postgresql://loopline:{S}@db:5432/loopline failed",
        f"connection to postgresql://u:{S}/with@every:thing%in@db:5432/loopline failed",
        f"postgresql://u:x {S}@h/d is no address",
        f'invalid dsn: missing "=" after "postgres://u:{S}@h" in connection info string',
        f"connection failed: host=db user=u password={S} dbname=d",
        f"connection failed: host=db password='it is {S}' dbname=d",
        f"ConnectionInfo(host='db', 'password': '{S}', \"user\": \"u\")",
        f'{{"aws_secret_access_key": "{S}", "region": "eu"}}',
        f"S3FileSystem(access_key='AK', secret_key='{S}', session_token='{S}')",
        f"When reading s3://AKIA:{S}@bucket/prefix: AccessDenied",
        f"GET https://bucket.example.com/x?X-Amz-Signature={S}&X-Amz-Date=1",
        f"KafkaError: SASL handshake with sasl_plain_password='{S}'",
        f"headers={{'Authorization': 'Bearer {S}'}}",
        f"Authorization: Basic {S}",
        f"proxy http://user:{S}@proxy:3128 does not answer",
        f"https://{S}@example.com/ is not to be had",
        f"sqlalchemy.exc.OperationalError: (postgresql+psycopg://u:{S}@h/d)",
    ],
)
def test_what_has_the_form_of_a_secret_is_hidden(said: str) -> None:
    """In addresses, connection strings, Python's and JSON's spellings, headers and signatures."""
    assert S not in redacted(said)
    assert "***" in redacted(said)


@pytest.mark.parametrize(
    "said",
    [
        "connection to postgresql://loopline@db:5432/loopline failed: FATAL: no password supplied",
        'password authentication failed for user "loopline"',
        "kafka://h:9092,i:9092/p does not answer",
        "http://127.0.0.1:8710 does not answer: set LOOPLINE_STORE_FILE=/run/secrets/store",
        "3 blocks behind; the token of the page before is not known",
        "s3://bucket/prefix?scheme=http&endpoint_override=objects:8333",
    ],
)
def test_what_is_no_secret_stays(said: str) -> None:
    """A message has to say what to do."""
    assert redacted(said) == said


@given(st.text(st.characters(codec="utf-8", exclude_characters="\x00"), min_size=6, max_size=30))
@example("000://")
def test_a_secret_of_the_environment_is_hidden_in_every_spelling(password: str) -> None:
    """Any text: as it is, as an address spells it, as Python writes it; alone or within other words."""
    password = f"{password.strip()}~pw~"
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("PGPASSWORD", password)
        patch.setenv("PWD", "/srv/folder")
        for spelled in (password, quote(password, safe=""), repr(password)[1:-1]):
            assert spelled not in redacted(f"FATAL: <{spelled}> is wrong")
        assert redacted("/srv/folder/x") == "/srv/folder/x"


def test_a_password_that_a_setting_said_is_hidden_wherever_it_turns_up() -> None:
    """Also decoded, by itself, in a library's own words."""
    value("store", None, {"LOOPLINE_STORE": "postgresql://u:p%40ss%2Fw%3Ard%25@db:5432/d"})
    for spelled in ("p%40ss%2Fw%3Ard%25", "p@ss/w:rd%"):
        assert spelled not in redacted(f"the server said: {spelled}")


def test_any_secret_may_lie_in_a_file(tmp_path: Path) -> None:
    """Without the end of its line; for the libraries' own variables too, and what is set goes before."""
    file = tmp_path / "key"
    file.write_text("wJalr+x/y= \r\n")
    file.chmod(0o600)
    environ = {"AWS_SECRET_ACCESS_KEY_FILE": str(file), "PGPASSWORD_FILE": str(file), "PGPASSWORD": "set"}
    adopt_library_secrets(environ)
    assert environ["AWS_SECRET_ACCESS_KEY"] == "wJalr+x/y= "
    assert environ["PGPASSWORD"] == "set"
    file.write_text("https://u:pw@loopline.example.com\n")
    assert value("url", None, {"LOOPLINE_URL_FILE": str(file)}) == "https://u:pw@loopline.example.com"


def test_a_secrets_file_that_cannot_be_used_is_named(tmp_path: Path) -> None:
    """Missing or empty: the variable and the file are said, and nothing of what it holds."""
    for path in (tmp_path / "none", tmp_path / "empty"):
        (tmp_path / "empty").write_text("\n")
        with pytest.raises(BadSetting, match=f"AWS_SESSION_TOKEN_FILE='{path}'"):
            adopt_library_secrets({"AWS_SESSION_TOKEN_FILE": str(path)})


def test_a_secrets_file_that_everybody_can_read_is_told(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """Once, with what to do; it is used all the same."""
    file = tmp_path / "open"
    file.write_text("secret-word")
    file.chmod(0o644)
    with caplog.at_level(logging.WARNING):
        for _ in range(2):
            adopt_library_secrets({"PGPASSWORD_FILE": str(file)})
    assert [record.getMessage() for record in caplog.records] == [
        f"PGPASSWORD_FILE can be read by every user of this machine: chmod 600 {file}"
    ]


def test_a_secrets_file_that_is_mounted_by_itself_is_not_told(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    """In a container its mode is that of the machine outside, where the folder keeps others from it."""
    file = tmp_path / "mounted"
    file.write_text("secret-word")
    file.chmod(0o444)
    monkeypatch.setattr(os.path, "ismount", lambda path: path == file)
    with caplog.at_level(logging.WARNING):
        adopt_library_secrets({"PGPASSWORD_FILE": str(file)})
    assert caplog.records == []


@pytest.mark.parametrize(
    "part",
    [
        "postgres://",
        "https://",
        "http://a:",
        "://",
        "a.",
        "authorization:'aws4",
        "password=",
        "password",
        "@",
    ],
)
def test_a_long_message_is_cut_before_anything_is_looked_for(part: str) -> None:
    """However it is made up; and what it says first and last is shown."""
    said = redacted("first\n" + part * (64 * 1024 // len(part)) + "\nlast")
    assert len(said) <= MOST_SHOWN + 10
    assert said.startswith("first\n")
    assert said.endswith("\nlast")


@given(
    st.sampled_from(
        [
            f"postgresql://u:{S}/@{S} {S}@h/d",
            f"https://{S}@h",
            f"s3://A:{S}@{S}@b/x",
            f"password='{S} {S}'",
            f"Authorization: Basic {S}",
        ]
    ),
    st.integers(0, 100),
    st.sampled_from(["x", " ", "\n", "@", "x y@"]),
)
def test_no_secret_is_cut_in_two(secret: str, before: int, filling: str) -> None:
    """Wherever in it a long message is cut: not even half of the secret is shown."""
    for middle in (MOST_SHOWN // 2, 3 * MOST_SHOWN):
        start = (filling * MOST_SHOWN)[: middle - before - 1] + " "
        said = redacted(start + secret + (" " + filling * 4 * MOST_SHOWN)[: 4 * MOST_SHOWN - middle])
        assert S[:6] not in said
        assert S[-6:] not in said
