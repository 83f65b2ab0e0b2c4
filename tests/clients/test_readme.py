"""The client's README: every example in it runs, top to bottom, and says what is true."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

import loopline
from loopline import Client
from tests.clients.datasets.test_load import write
from tests.services.fake_server import FakeServer

README = (Path(loopline.__file__).parent.parent / "README.md").read_text()


def test_every_example_runs(
    server: FakeServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """The Python blocks are one program: it runs against a server, and its events arrive."""
    write(tmp_path / ".loopline", "name-matcher", 1)
    monkeypatch.chdir(tmp_path)
    program = "\n".join(re.findall(r"```python\n(.*?)```", README, re.DOTALL))
    assert "http://127.0.0.1:8710" in program
    names: dict[str, object] = {}
    exec(program.replace("http://127.0.0.1:8710", server.url), names)
    assert names["delivered"] is True
    assert names["answer"] == "smith"
    assert [event["type"].split(".", 1)[1] for event in server.accepted.values()] == [
        "prediction.made.v1",
        "feedback.thumb.v1",
        "feedback.reason.v1",
        "feedback.correction.v1",
        "prediction.made.v1",
        "feedback.confirmation.v1",
        "feedback.retraction.v1",
        "feedback.thumb.v1",
    ]
    assert "'accepted': 7" in capsys.readouterr().out


def test_every_call_is_in_the_table() -> None:
    """A call that nobody can find is not there."""
    calls = [name for name in vars(Client).keys() | dir(Client) if not name.startswith("_")]
    assert [name for name in calls if f"`{name}" not in README and f".{name}(" not in README] == []
