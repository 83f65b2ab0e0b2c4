"""The settings a client is made with: what can never work is told at once, by the setting's name."""

from __future__ import annotations

import math
import os
from pathlib import Path
from typing import Any

import pytest

from loopline import Client, LooplineError
from loopline.errors import InvalidSetting

URL = "http://127.0.0.1:8710"

CANNOT_WORK: list[tuple[str, Any]] = [
    *[("source", value) for value in ("", "x" * 257, None, 7, "a\0b", "\ud800")],
    *[("env", value) for value in ("", "x" * 129, None, 7)],
    *[("queue_size", value) for value in (0, -1, 1.5, "10", True, None)],
    *[("queue_bytes", value) for value in (0, -1, math.inf)],
    *[("spool_bytes", value) for value in (0, -1, 10, "1 MB")],
    *[("linger", value) for value in (-0.1, math.nan, math.inf, "1", None)],
    *[("timeout", value) for value in (0, -1, math.nan, math.inf, "1", None, True)],
    *[("spool", value) for value in ("", 7, "a\0b", __file__, f"{__file__}/below")],
    *[("spool_sync", value) for value in ("never", "", None, True, 1)],
    *[("on_refused", value) for value in ("print", 7)],
    *[("headers", value) for value in ("X: y", ["X"], {"": "y"}, {"X Y": "z"}, {"X:": "z"}, {7: "z"})],
    *[("headers", {"X": value}) for value in ("a\nb", "a\r\nY: b", "a\0", "\u20ac", 7, None, b"x")],
    *[("headers", {name: "1"}) for name in ("Content-Length", "content-type", "HOST", "Transfer-Encoding")],
    *[("proxy", value) for value in ("", "ftp://x", "socks5://127.0.0.1:1080", "http://", 7)],
    ("ca_bundle", "/nowhere/ca.pem"),
]


@pytest.mark.parametrize("name, value", CANNOT_WORK, ids=repr)
def test_a_setting_that_can_never_work_is_told_when_the_client_is_made(name: str, value: object) -> None:
    """One kind of error, at the start, where a raised error hurts nobody; it names the setting."""
    settings: dict[str, Any] = {"url": URL, "source": "/test", name: value}
    with pytest.raises(LooplineError, match=rf"\b{name}\b") as raised:
        Client(**settings)
    assert isinstance(raised.value, InvalidSetting)


@pytest.mark.parametrize(
    "settings", [{}, {"url": URL}, {"source": "/test"}, {"url": None, "source": "/test"}], ids=repr
)
def test_settings_that_are_missing_are_told(settings: dict[str, Any]) -> None:
    """Without test=True a client needs a server and a source."""
    with pytest.raises(InvalidSetting, match="test=True"):
        Client(**settings)


def test_credentials_are_given_once() -> None:
    """A user in the URL and an Authorization header contradict each other."""
    with pytest.raises(InvalidSetting, match="Authorization"):
        Client("http://user:secret@host", "/test", headers={"authorization": "Bearer x"})


def test_a_spool_of_others_is_refused_with_what_to_do(tmp_path: Path) -> None:
    """A folder in which others may write is not believed, whatever `strict` says; the message says chmod."""
    folder = tmp_path / "spool"
    for mode in (0o777, 0o770, 0o720, 0o1777):
        folder.mkdir()
        folder.chmod(mode)
        with pytest.raises(InvalidSetting, match="chmod 700") as raised:
            Client(URL, "/test", spool=folder)
        assert str(folder) in str(raised.value)
        folder.rmdir()


@pytest.mark.skipif(not hasattr(os, "geteuid") or os.geteuid() != 0, reason="only root can give files away")
def test_a_spool_that_somebody_else_owns_is_refused(tmp_path: Path) -> None:
    """Also for root, which could write there."""
    folder = tmp_path / "spool"
    folder.mkdir(mode=0o700)
    os.chown(folder, 12345, 12345)
    with pytest.raises(InvalidSetting, match="belongs to user 12345"):
        Client(URL, "/test", spool=folder)
