"""The demo on Kafka, Faust and PostgreSQL gives the numbers of the embedded engine, each one of them."""

from __future__ import annotations

import json
import os
import secrets
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from tests.feedback.running import loopline
from tests.services.kafka.broker import Cluster as Brokers

pytestmark = [pytest.mark.broker, pytest.mark.postgres, pytest.mark.timeout(400)]

PLAY = """
import os, sys
from pathlib import Path
from feedback.installation.cluster import Cluster
from feedback.demo import OnCluster, OnHome, run
from feedback.demo.exam import Size
from feedback.installation.home import Home
folder = Path(sys.argv[1])
if sys.argv[2] == "cluster":
    cluster = Cluster(os.environ["TEST_LOG"], os.environ["TEST_STORE"], folder / "datasets")
    venue = OnCluster(cluster, folder, port=0)
else:
    venue = OnHome(Home(folder), port=0)
run(venue, serve=False, as_json=True, size=Size(40, 160, 200))
"""
PATIENCE_S = 350


def play(folder: Path, where: str, log: str, store: str) -> subprocess.Popen[str]:
    """Begin to play."""
    return subprocess.Popen(
        [sys.executable, "-P", "-c", PLAY, str(folder), where],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env={**os.environ, "TEST_LOG": log, "TEST_STORE": store},
    )


def test_the_same_numbers_on_both_engines(kafka: Brokers, postgres_url: str, tmp_path: Path) -> None:
    """Every figure of the JSON document, the dataset's content hash among them, is the same."""
    log = kafka.address(f"t{secrets.token_hex(4)}")
    figures: dict[str, Any] = {}
    playing = {where: play(tmp_path / where, where, log, postgres_url) for where in ("home", "cluster")}
    try:
        for where, process in playing.items():
            out, err = process.communicate(timeout=PATIENCE_S)
            assert process.returncode == 0, err
            figures[where] = json.loads(out)
            assert postgres_url.rpartition("@")[0] not in err
    finally:
        for process in playing.values():
            process.kill()
            process.wait()
    assert figures["cluster"]["verified"]["identical"]
    assert figures["cluster"] == figures["home"]
    again = loopline("demo", "--log", log, "--store", postgres_url, "--no-serve", "--port", "0")
    assert again.exit_code == 1
    assert "empty database" in again.stderr
