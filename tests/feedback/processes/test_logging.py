"""One form of log lines in every process."""

from __future__ import annotations

import json
import subprocess
import sys
import urllib.error
import urllib.request
from pathlib import Path

import pytest

from tests.feedback.running import Running, event, lines, prediction, until

PROGRAM = """
import asyncio, logging, threading, warnings, os
from feedback.processes.logging import configure
import structlog
configure("info", os.environ["FORM"], "test")
structlog.get_logger("loopline").info("ours", url="postgresql://u:s3cret@h/d", label="\\x1b[31m\\u202e")
logging.getLogger("uvicorn.error").warning("a library's %s", "words")
logging.getLogger("some.library").info("is not told")
warnings.warn("a warning of Python")
thread = threading.Thread(target=lambda: 1 / 0, name="t"); thread.start(); thread.join()
async def main():
    asyncio.get_running_loop().call_soon(lambda: {}["in the loop"])
    await asyncio.sleep(0.01)
asyncio.run(main())
raise ValueError("password=s3cret at the end")
"""


def said(form: str) -> str:
    """What the program says on standard error."""
    done = subprocess.run(
        [sys.executable, "-c", PROGRAM], capture_output=True, text=True, check=False, env={"FORM": form}
    )
    assert done.returncode == 1
    assert done.stdout == ""
    return done.stderr


def test_every_line_is_json() -> None:
    """Ours, a library's, a warning, and what nobody caught: in a thread, in the loop, at the end."""
    told = [json.loads(line) for line in said("json").splitlines()]
    assert all({"timestamp", "level", "event", "process"} <= line.keys() for line in told)
    events = " ".join(line["event"] for line in told)
    assert "ours" in events
    assert "a library's words" in events
    assert "a warning of Python" in events
    assert "is not told" not in events
    failures = [line["exception"].splitlines()[-1] for line in told if "exception" in line]
    assert [failure.partition(":")[0] for failure in failures] == [
        "ZeroDivisionError",
        "KeyError",
        "ValueError",
    ]


@pytest.mark.parametrize("form", ["console", "json"])
def test_lines_hide_secrets_and_obey_nobody(form: str) -> None:
    """Whatever a library or a product says."""
    text = said(form)
    assert "s3cret" not in text
    assert not {each for each in text if not each.isprintable()} - {"\n"}


def test_all_processes_of_a_server_speak_json(tmp_path: Path) -> None:
    """Starts, refusals by their code, releases and deploys are lines; ids and texts are in none."""
    running = Running(tmp_path / "home", "--log-format", "json", "--log-level", "info").ready()
    try:
        deployed = event("model.deployed", 2, model="m", model_version="1")
        secret = event("feedback.thumb", "very-private", prediction_id="private-p", value="sideways")
        body = lines(prediction(1), deployed, secret)
        request = urllib.request.Request(
            f"{running.url}/v1/events", body, {"Content-Type": "application/x-ndjson"}
        )
        with urllib.request.urlopen(request, timeout=30) as answer:
            assert json.load(answer)["refused"] == 1
        elsewhere = urllib.request.Request(f"{running.url}/healthz", headers={"Host": "evil.example.com"})
        with pytest.raises(urllib.error.HTTPError) as refusal:
            urllib.request.urlopen(elsewhere, timeout=30)
        assert refusal.value.code == 421
        refusal.value.close()
        until(lambda: running.get("/readyz")[1]["lag_blocks"] == 0, "the views")
    finally:
        status, _, err = running.end()
    assert status == 0
    told = [json.loads(line) for line in err.splitlines()]
    assert {line["process"] for line in told} >= {"collector", "worker"}
    events = {(line["event"], line.get("code"), line.get("count")) for line in told}
    assert {
        ("the collector runs", None, None),
        ("the worker runs", None, None),
        ("a model was deployed", None, None),
        ("items were refused", "invalid_value", 1),
        ("requests were refused", "misdirected", 1),
    } <= events
    assert "private" not in err
