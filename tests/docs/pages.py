"""Pages and their fenced blocks, and somebody who follows a page from top to bottom.

A `bash` or `python` block is run, in the page's order, in a folder of its own. A `text` block right behind
one is what it prints, where `…` stands for anything. A server (`loopline up`, `collector`, `worker`) alone
in a block is left running. Other languages are only looked at by people. Ports are swapped for free ones,
addresses of services for those of the tests', and what would take a network or minutes (`pip`, `make`,
`docker`) is replaced by a stand-in that checks what it was given.
"""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import NamedTuple

from tests.services.ports import free_port

ROOT = Path(__file__).parents[2]
RUN = ("bash", "python")
EXPECTED = "text"
PORTS = ("8710", "8711", "8720", "8721", "8730", "8731")
KAFKA = "kafka://kafka-1:9092,kafka-2:9092,kafka-3:9092"
POSTGRES = "postgresql://loopline@postgres:5432/loopline"
OBJECTS = "s3://loopline-datasets/releases"
"""What pages call the services that somebody has."""
PATIENCE_S = 120.0

_SERVER = re.compile(r"loopline( --\S+ \S+)* (?P<kind>up|collector|worker)(?P<flags>( --\S+ \S+)*)( *#.*)?")

_FENCE = re.compile(
    r"^(?P<indent> *)```(?P<language>[a-z]*)\n(?P<body>.*?)^(?P=indent)```$", re.MULTILINE | re.DOTALL
)

_STAND_IN = """\
#!/bin/sh
# Stands in for what needs a network or minutes: checks that what is named is there.
case "$(basename "$0") $1" in
  "pip install")
    for each in "$@"; do
      case "$each" in */*) test -f "{root}/${{each%[*}}/pyproject.toml" || exit 1;; esac
    done;;
  "make "*) grep -q "^$1:" "{root}/Makefile" || exit 1;;
  "kubectl "*)
    export READER="$PWD"; cd "{root}" && exec "{python}" -m tests.deploy.kubernetes "$@";;
  "docker compose")
    shift; export READER="$PWD"; cd "{root}" && exec "{python}" -m tests.deploy.stand_in "$@";;
  *) exit 1;;
esac
"""

_INTERPRETER = """\
import contextlib, io, json, sys, traceback
names = {"__name__": "__main__"}
for line in sys.stdin:
    said, failed = io.StringIO(), ""
    try:
        with contextlib.redirect_stdout(said):
            exec(compile(json.loads(line), "<page>", "exec"), names)
    except BaseException:
        failed = traceback.format_exc()
    print(json.dumps({"said": said.getvalue(), "failed": failed}), flush=True)
"""


class Block(NamedTuple):
    """A fenced block: its language, its text without the indent, and the line of its fence."""

    language: str
    text: str
    line: int


def pages() -> list[Path]:
    """The pages for people: the README and everything in docs."""
    return [ROOT / "README.md", *sorted((ROOT / "docs").rglob("*.md"))]


def blocks(text: str) -> Iterator[Block]:
    """The fenced blocks of a page."""
    for match in _FENCE.finditer(text):
        indent = match["indent"]
        lines = [line.removeprefix(indent) for line in match["body"].splitlines(keepends=True)]
        yield Block(match["language"], "".join(lines), text.count("\n", 0, match.start()) + 1)


def matches(expected: str, said: str) -> bool:
    """Whether this was said, where `…` in what is expected is anything and any space is one space."""

    def lines(text: str) -> str:
        return "\n".join(re.sub(" +", " ", line).rstrip() for line in text.strip().splitlines())

    pattern = ".*?".join(re.escape(part) for part in lines(expected).split("…"))
    return re.fullmatch(pattern, lines(said), re.DOTALL) is not None


class Failed(AssertionError):
    """A block did not do what the page says."""


class Follower:
    """Follows one page in a folder, with servers of its own where the page starts some.

    Args:
        places: for what a page calls a service, where the test has it.
    """

    def __init__(self, page: Path, folder: Path, places: Mapping[str, str] | None = None) -> None:
        self._page = page
        self._folder = folder / "reader"
        self._folder.mkdir()
        # Pages that deploy are followed in the repository's folder.
        (self._folder / "deploy").symlink_to(ROOT / "deploy")
        self._swaps = {port: str(free_port()) for port in PORTS} | dict(places or {})
        self._programs: list[subprocess.Popen[str]] = []
        self._python: subprocess.Popen[str] | None = None
        self._collects = ""
        self._serves: str | None = None
        self.ran = 0
        self._environment = {
            **{name: text for name, text in os.environ.items() if not name.startswith("LOOPLINE_")},
            "PATH": f"{_tools(folder / 'bin')}{os.pathsep}{os.environ['PATH']}",
            "LOOPLINE_PORT": self._swaps["8710"],
            "NO_COLOR": "1",
        }

    def prepare(self, before: Iterable[Block]) -> None:
        """Run what the reader has done before: blocks of another page. Raises Failed."""
        for block in before:
            self._run(block.language, self._swapped(block.text), f"before {self._page.name}")

    def follow(self) -> None:
        """Run every block. Raises Failed, which names the page and line."""
        said: str | None = None
        for block in blocks(self._page.read_text()):
            where = f"{self._page.relative_to(ROOT)}:{block.line}"
            text = self._swapped(block.text)
            if block.language in RUN:
                said = self._run(block.language, text, where)
                self._settle()
                self.ran += 1
            elif block.language == EXPECTED and said is not None:
                if not matches(text, said):
                    raise Failed(f"{where} says\n{text}\nand what came is\n{said}")
                said = None

    def _swapped(self, text: str) -> str:
        pattern = "|".join(rf"(?<!\d){re.escape(each)}(?!\d)" for each in self._swaps)
        return re.sub(pattern, lambda found: self._swaps[found.group()], text)

    def _run(self, language: str, text: str, where: str) -> str:
        if language == "python":
            return self._run_python(text, where)
        if server := _SERVER.fullmatch(text.strip()):
            return self._start(text, where) if server["kind"] == "up" else self._join(server, text, where)
        ran = subprocess.run(
            ["bash", "-euo", "pipefail", "-c", text],
            cwd=self._folder,
            env=self._environment,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=PATIENCE_S,
            check=False,
        )
        if ran.returncode:
            raise Failed(f"{where} ended with {ran.returncode}\n{text}\n{ran.stdout}\n{ran.stderr}")
        return ran.stdout

    def _run_python(self, text: str, where: str) -> str:
        if self._python is None:
            self._python = self._program([sys.executable, "-P", "-c", _INTERPRETER])
        assert self._python.stdin is not None
        assert self._python.stdout is not None
        self._python.stdin.write(json.dumps(text) + "\n")
        self._python.stdin.flush()
        answer = json.loads(self._python.stdout.readline())
        if answer["failed"]:
            raise Failed(f"{where} failed\n{text}\n{answer['failed']}")
        return str(answer["said"])

    def _start(self, text: str, where: str) -> str:
        """Leave a server running, and read what it says until it has told its address."""
        server = self._program(["bash", "-c", f"exec {text.strip()}"])
        assert server.stdout is not None
        said = ""
        while "/v1/predictions/" not in said:
            line = server.stdout.readline()
            if not line:
                raise Failed(f"{where}: the server ended\n{said}")
            said += line
        self._serves = f"http://127.0.0.1:{self._swaps['8710']}"
        return said

    def _join(self, server: re.Match[str], text: str, where: str) -> str:
        """Leave a collector or a worker running, and wait until it is ready."""
        port = re.search(r"--port (\d+)", server["flags"])
        assert port is not None, f"{where}: a page that starts several servers gives each a port"
        url = f"http://127.0.0.1:{port[1]}"
        program = self._program(["bash", "-c", f"exec {text.strip()}"])
        deadline = time.monotonic() + PATIENCE_S
        while not _ready(url):
            if program.poll() is not None or time.monotonic() > deadline:
                raise Failed(f"{where}: the {server['kind']} did not become ready")
            time.sleep(0.1)
        # What a collector took is in the views only once a worker is there too.
        if server["kind"] == "collector":
            self._collects = url
        else:
            self._serves = self._collects
        return ""

    def _program(self, command: list[str]) -> subprocess.Popen[str]:
        program = subprocess.Popen(
            command,
            cwd=self._folder,
            env=self._environment,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        self._programs.append(program)
        return program

    def _settle(self) -> None:
        """People are slower than programs: what a block has sent is in the views before the next begins."""
        if self._serves is None:
            return
        url = self._serves
        request = urllib.request.Request(
            f"{url}/v1/events", b"[]", {"content-type": "application/cloudevents-batch+json"}
        )
        deadline = time.monotonic() + PATIENCE_S
        while time.monotonic() < deadline:
            try:
                with urllib.request.urlopen(request, timeout=10) as answer:
                    position = json.load(answer)["position"]
                with urllib.request.urlopen(f"{url}/v1/counts?after={position}", timeout=10):
                    return
            except OSError:
                time.sleep(0.1)
        raise Failed(f"{self._page}: the server did not come to rest")

    def close(self) -> None:
        """End what was left running, in the reverse order."""
        for program in reversed(self._programs):
            if program.stdin is not None:
                program.stdin.close()
            if program.poll() is None and program is not self._python:
                program.send_signal(signal.SIGTERM)
            try:
                program.wait(30)
            except subprocess.TimeoutExpired:
                program.kill()
                program.wait()
            if program.stdout is not None:
                program.stdout.close()


def _ready(url: str) -> bool:
    try:
        with urllib.request.urlopen(f"{url}/readyz", timeout=10) as answer:
            return bool(answer.status == 200)
    except OSError:
        return False


def _tools(folder: Path) -> Path:
    """The commands that a page may type: the command line and Python of this environment, and stand-ins."""
    folder.mkdir()
    python = f"#!/bin/sh\nexec {sys.executable} -P"
    scripts = {
        "loopline": f"{python} -c 'from loopline_platform import main; main()' \"$@\"\n",
        "python": f'{python} "$@"\n',
        **{
            name: _STAND_IN.format(root=ROOT, python=sys.executable)
            for name in ("pip", "make", "docker", "kubectl")
        },
    }
    for name, text in scripts.items():
        (folder / name).write_text(text)
        (folder / name).chmod(0o755)
    return folder
