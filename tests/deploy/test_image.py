"""The Dockerfile builds from files that are there, and leaves no tools and no root behind."""

from __future__ import annotations

import json
import os
import re
import shlex
import subprocess
import threading
import tomllib
from fnmatch import fnmatch
from http.server import BaseHTTPRequestHandler, HTTPServer
from typing import NamedTuple

import click
import pytest

from feedback.cli import main
from feedback.server.app import ROUTES
from feedback.settings import BY_NAME, SETTINGS, value
from tests.architecture.tracked import files
from tests.deploy.composed import OURS, ROOT, services

CHECK = ROOT / "deploy/image/is-ready"


class Step(NamedTuple):
    """One instruction of a Dockerfile: its word, and what stands behind it on one line."""

    word: str
    text: str


def stages() -> list[list[Step]]:
    """The Dockerfile's stages."""
    text = re.sub(r"^#.*\n", "", (ROOT / "Dockerfile").read_text(), flags=re.MULTILINE)
    lines = re.sub(r"\\\n\s*", "", text).splitlines()
    found: list[list[Step]] = []
    for line in filter(None, lines):
        word, _, rest = line.partition(" ")
        if word in ("ARG", "FROM"):
            found.append([])
        found[-1].append(Step(word, rest))
    return found


BASE, BUILD, RUN = stages()


def those(stage: list[Step], word: str) -> list[str]:
    """What stands behind a word, in order."""
    return [step.text for step in stage if step.word == word]


def environment(stage: list[Step]) -> dict[str, str]:
    """The variables that a stage sets."""
    return dict(part.split("=", 1) for text in those(stage, "ENV") for part in shlex.split(text))


def ignored(path: str) -> bool:
    """Whether .dockerignore keeps a file out of the build: of the lines that fit, the last one decides."""
    verdict = False
    for line in (ROOT / ".dockerignore").read_text().splitlines():
        if line and not line.startswith("#"):
            pattern = line.removeprefix("!").removeprefix("**/")
            anywhere = line.removeprefix("!").startswith("**/")
            parts = path.split("/")
            heads = ["/".join(parts[: n + 1]) for n in range(len(parts))]
            if any(fnmatch(head, pattern) for head in (parts if anywhere else heads)):
                verdict = not line.startswith("!")
    return verdict


def test_both_stages_stand_on_the_same_pinned_slim_image() -> None:
    """The interpreter that runs is the one that installed: the official one, or its digest."""
    (name,) = those(BASE, "ARG")
    found = re.fullmatch(r"PYTHON_IMAGE=python:(3\.\d+)-slim-\w+", name)
    assert found is not None
    assert those(BUILD, "FROM") == ["${PYTHON_IMAGE} AS build"]
    assert those(RUN, "FROM") == ["${PYTHON_IMAGE}"]
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    assert f"Programming Language :: Python :: {found[1]}" in project["classifiers"]


def test_what_is_copied_is_there_and_is_not_ignored() -> None:
    """Every source exists, and .dockerignore lets it through with all that git has below it."""
    tracked = [path.relative_to(ROOT).as_posix() for path in files(ROOT)]
    for text in those(BUILD, "COPY"):
        *sources, _ = text.split()
        for source in sources:
            below = [name for name in tracked if name == source or name.startswith(f"{source}/")]
            assert below, source
            assert [name for name in below if ignored(name)] == []


@pytest.mark.parametrize(
    "path", [".git/config", ".env", ".venv/bin/python", "tests/conftest.py", ".loopline/log", "docs/index.md"]
)
def test_what_is_not_needed_stays_out(path: str) -> None:
    """History, passwords, environments, data and tests are not sent to the builder."""
    assert ignored(path)


def test_caches_stay_out() -> None:
    """What a run leaves in a room is not built in."""
    assert ignored("streams/__pycache__/fold.cpython-313.pyc")
    assert not ignored("streams/fold/fold.py")


def test_the_image_installs_the_locked_versions_and_the_rooms() -> None:
    """From the runtime's lock without resolving, then client and platform without dependencies."""
    run = " ".join(those(BUILD, "RUN"))
    assert "--no-deps --only-binary :all: --require-hashes -r requirements-runtime.lock" in run
    assert "--no-deps ./clients/python" in run
    assert "--no-deps . " in run
    assert "pip check" in run
    copied = {text.split()[0] for text in those(BUILD, "COPY")}
    wheel = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["hatch"]["build"]["targets"]["wheel"]
    assert set(wheel["only-include"]) <= copied


def test_the_last_stage_has_no_tools_and_takes_only_the_environment() -> None:
    """No package is installed there, and it takes the environment from the first, and the health check."""
    assert those(RUN, "COPY") == [
        "--from=build /opt/loopline /opt/loopline",
        "deploy/image/is-ready /usr/local/bin/is-ready",
    ]
    for text in those(RUN, "RUN"):
        assert not re.search(r"\b(apt-get|apk|pip|curl|wget)\b", text)


def test_it_does_not_run_as_root() -> None:
    """The user is a number that the stage makes, and owns the home, where temporary files lie too."""
    (user,) = those(RUN, "USER")
    number, _, group = user.partition(":")
    made = " ".join(those(RUN, "RUN"))
    assert int(number) >= 10000, "no user of the machine's has it"
    assert f"--uid {number}" in made
    assert f"--gid {group}" in made
    words = [step.word for step in RUN]
    assert words.index("USER") > max(n for n, word in enumerate(words) if word in ("RUN", "COPY"))
    home = environment(RUN)["LOOPLINE_HOME"]
    assert environment(RUN)["TMPDIR"] == home
    assert f"--owner loopline --group loopline {home}" in made
    assert those(RUN, "WORKDIR") == those_volumes() == [home]
    assert {each["user"] for name, each in services().items() if name in OURS} == {user}


def those_volumes() -> list[str]:
    """The folders that the image declares as volumes."""
    (text,) = those(RUN, "VOLUME")
    volumes: list[str] = json.loads(text)
    return volumes


def test_its_settings_exist() -> None:
    """Every variable of ours is a setting and is accepted; Python writes its lines at once."""
    given = environment(RUN)
    ours = {key: text for key, text in given.items() if key.startswith("LOOPLINE_")}
    named = {setting.env: setting.name for setting in SETTINGS}
    for key in ours:
        value(named[key], environ=ours)
    assert given["PYTHONUNBUFFERED"] == "1"


def test_it_runs_and_asks_what_there_is() -> None:
    """The command is one of ours, its ports are those of the settings, and the health check asks a route."""
    assert those(RUN, "ENTRYPOINT") == ['["loopline"]']
    (command,) = those(RUN, "CMD")
    (name,) = json.loads(command)
    assert main.get_command(click.Context(main), name) is not None
    ports = {str(BY_NAME[name].default) for name in ("port", "worker_port")}
    assert set(those(RUN, "EXPOSE")[0].split()) == ports
    (check,) = those(RUN, "HEALTHCHECK")
    program, port, path = json.loads(check.partition("CMD ")[2])
    assert program == CHECK.name
    assert port == environment(RUN)["LOOPLINE_PORT"]
    assert path in {route.path for route in ROUTES}


class _Answers(BaseHTTPRequestHandler):
    """Says 200 to /ready and 503 to all else."""

    def do_GET(self) -> None:
        """Answer."""
        self.send_response(200 if self.path == "/ready" else 503)
        self.end_headers()

    def log_message(self, *said: object) -> None:
        """Say nothing."""


def test_the_health_check_tells_200_from_all_else() -> None:
    """Ready, not ready, and nobody there: the statuses that Docker looks at, from the image's own shell."""
    assert os.access(CHECK, os.X_OK)
    with HTTPServer(("127.0.0.1", 0), _Answers) as server:
        port = str(server.server_port)
        threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01}).start()
        try:
            statuses = [
                subprocess.run([CHECK, port, path], check=False).returncode for path in ("/ready", "/readyz")
            ]
        finally:
            server.shutdown()
    gone = subprocess.run([CHECK, port, "/ready"], check=False, stderr=subprocess.DEVNULL).returncode
    assert (statuses, gone) == ([0, 1], 1)
