"""The Dockerfile builds from files that are there, and leaves no tools and no root behind."""

from __future__ import annotations

import json
import re
import shlex
import tomllib
from fnmatch import fnmatch
from typing import NamedTuple
from urllib.parse import urlsplit

import click
import pytest

from feedback.cli import main
from feedback.server import ROUTES
from feedback.settings import BY_NAME, SETTINGS, value
from tests.architecture.tracked import files
from tests.deploy.composed import ROOT


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
        if word == "FROM":
            found.append([])
        found[-1].append(Step(word, rest))
    return found


BUILD, RUN = stages()


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
    """The interpreter that runs is the one that installed: the official image's, of a version we support."""
    (build,), (run,) = those(BUILD, "FROM"), those(RUN, "FROM")
    found = re.fullmatch(r"(python:(3\.\d+)-slim-\w+) AS build", build)
    assert found is not None
    assert run == found[1]
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    assert f"Programming Language :: Python :: {found[2]}" in project["classifiers"]


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
    assert not ignored("streams/fold.py")


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
    """No package is installed there, and all that it takes from the first is the environment."""
    assert those(RUN, "COPY") == ["--from=build /opt/loopline /opt/loopline"]
    for text in those(RUN, "RUN"):
        assert not re.search(r"\b(apt-get|apk|pip|curl|wget)\b", text)


def test_it_does_not_run_as_root() -> None:
    """The user is one that the stage makes, and owns the home."""
    (user,) = those(RUN, "USER")
    made = " ".join(those(RUN, "RUN"))
    assert f"--gid {user}" in made
    assert f"--owner {user}" in made
    words = [step.word for step in RUN]
    assert words.index("USER") > max(n for n, word in enumerate(words) if word in ("RUN", "COPY"))
    assert those(RUN, "WORKDIR") == those_volumes() == [environment(RUN)["LOOPLINE_HOME"]]


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
    words = json.loads(check.partition("CMD ")[2])
    compile(words[2], "health check", "exec")
    asked = urlsplit(re.findall(r"http://[^']+", words[2])[0])
    assert str(asked.port) == environment(RUN)["LOOPLINE_PORT"]
    assert asked.path in {route.path for route in ROUTES}
