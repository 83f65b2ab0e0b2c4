"""The processes of the compose files, without containers, and what Compose's commands do with them.

Only what a container changes is changed here: names of other services become addresses of the fixtures',
ports become free ones, home and secrets are folders, and the image's own programs are those of this checkout.
An image is a folder of code: `new_version` makes another one, of a later version of the views.
"""

from __future__ import annotations

import contextlib
import itertools
import json
import os
import re
import shutil
import signal
import subprocess
import sys
import threading
import time
import urllib.request
from collections.abc import Mapping, Sequence
from functools import partial
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from loopline_platform import ROOMS
from streams.store.tables import VIEWS_VERSION
from tests.crash.load import BATCH, batch
from tests.deploy.composed import NEXT_WORKERS, ROOT, SECRETS, SERVERS, services
from tests.deploy.stand_in import parsed
from tests.feedback.running import COMMAND, until
from tests.services.ports import free_port

CHECK = ROOT / "deploy/image/is-ready"
_COMMAND = re.compile(r"(?P<again>until )?docker compose (?P<words>[^;|\n]+)")


def new_version(folder: Path) -> Path:
    """The code of this checkout with the next version of the views: what a new image would hold."""
    for name in (*ROOMS, "loopline_platform.py"):
        source = ROOT / name
        if source.is_dir():
            # With what is compiled, which is good for files of the same age.
            shutil.copytree(source, folder / name)
        else:
            shutil.copy(source, folder / name)
    tables = folder / "streams/store/tables.py"
    text = tables.read_text()
    changed = text.replace(f"VIEWS_VERSION = {VIEWS_VERSION}", f"VIEWS_VERSION = {VIEWS_VERSION + 1}")
    assert changed != text
    tables.write_text(changed)
    return folder


class Composed:
    """The services of ours that a compose file has, each run as a process.

    Args:
        replaced: what stands in the file, and what it is here.
        folder: for homes, secrets and what is said.
        file: the compose file.
        secrets: what the secrets' files hold, where it is not what it does not matter.
    """

    def __init__(
        self,
        replaced: Mapping[str, str],
        folder: Path,
        file: Path = ROOT / "docker-compose.yml",
        secrets: Mapping[str, str] | None = None,
    ) -> None:
        self._services = services(file)
        self._folder = folder
        hidden = folder / "secrets"
        hidden.mkdir(mode=0o700)
        for name, text in {**SECRETS, **(secrets or {})}.items():
            (hidden / name).write_text(f"{text}\n")
            (hidden / name).chmod(0o400)
        self._replaced = {**replaced, "/run/secrets": str(hidden), "0.0.0.0": "127.0.0.1"}
        self._ports = {name: str(free_port()) for name in (*SERVERS, *NEXT_WORKERS)}
        self._running: dict[str, subprocess.Popen[bytes]] = {}
        self._built = ROOT
        self._turn = itertools.count()
        self.rotation: list[str] = []
        """The collectors that a load balancer would send to: those that are ready."""
        self.image: dict[str, Path] = {}
        """Which code each service runs."""

    def build(self, code: Path) -> None:
        """From now on what is started runs this code; what runs goes on."""
        self._built = code

    def _here(self, name: str, text: str) -> str:
        """A text of the service as it is without containers."""
        for inside, here in self._replaced.items():
            text = text.replace(inside, here)
        for inside in ("8710", "8711"):
            text = text.replace(inside, self._ports.get(name, inside))
        return text

    def _variables(self, name: str) -> dict[str, str]:
        """The environment of a service's process."""
        inherited = {
            key: text for key, text in os.environ.items() if not key.startswith(("LOOPLINE_", "AWS_", "PG"))
        }
        home = self._folder / name
        home.mkdir(exist_ok=True)
        ours = {"LOOPLINE_HOME": str(home), "TMPDIR": str(home), "PYTHONPATH": str(self._built)}
        ours["LOOPLINE_PORT"] = self._ports.get(name, "8710")
        given = self._services[name]["environment"].items()
        return inherited | ours | {key: self._here(name, text) for key, text in given}

    def _words(self, name: str, given: Sequence[str] | None = None) -> list[str]:
        """What a service runs; its entry point is the image's where it names none."""
        service = self._services[name]
        start = COMMAND
        if "entrypoint" in service:
            assert service["entrypoint"] == ["python", "-c"]
            start = [sys.executable, "-c"]
        return [*start, *(given or (self._here(name, word) for word in service["command"]))]

    def run(self, name: str, *words: str) -> subprocess.CompletedProcess[str]:
        """Run a service that ends, with these words instead of its own, as `docker compose run` does."""
        return subprocess.run(
            self._words(name, words),
            env=self._variables(name),
            cwd=self._folder,
            capture_output=True,
            text=True,
            timeout=120,
            check=False,
        )

    def up(self, *names: str) -> None:
        """Start services, or make them anew, all at once, and wait until each is healthy, as `up --wait`."""
        self.end(*names)
        for name in names:
            if self._services[name]["restart"] == "no":
                # Compose goes on only if it ended well.
                done = self.run(name)
                assert done.returncode == 0, f"{name}: {done.stdout}{done.stderr}"
                continue
            with (self._folder / f"{name}.said").open("ab") as said:
                self._running[name] = subprocess.Popen(
                    self._words(name),
                    env=self._variables(name),
                    cwd=self._folder,
                    stdout=said,
                    stderr=said,
                    start_new_session=True,
                )
            self.image[name] = self._built
        for name in self._running.keys() & set(names):
            until(partial(self._healthy, name), f"a healthy {name}")
            if name.startswith("collector"):
                self.rotation.append(name)

    def _healthy(self, name: str) -> bool:
        running = self._running[name]
        assert running.poll() is None, f"{name} ended: {self.said(name)}"
        how, program, port, path = self._services[name]["healthcheck"]["test"]
        assert (how, program) == ("CMD", CHECK.name)
        words = [str(CHECK), self._here(name, port), path]
        return subprocess.run(words, stderr=subprocess.DEVNULL, check=False).returncode == 0

    def said(self, name: str) -> str:
        """What a server wrote."""
        return (self._folder / f"{name}.said").read_text()

    def url(self, name: str) -> str:
        """Where a server answers."""
        return f"http://127.0.0.1:{self._ports[name]}"

    def end(self, *names: str) -> dict[str, int]:
        """SIGTERM to those of these that run, and their exit statuses, within the grace of the file."""
        ended = {name: self._running.pop(name) for name in names if name in self._running}
        self.rotation = [name for name in self.rotation if name not in ended]
        for process in ended.values():
            process.send_signal(signal.SIGTERM)
        statuses = {}
        for name, process in ended.items():
            grace = int(self._services[name]["stop_grace_period"].removesuffix("s"))
            statuses[name] = process.wait(grace)
            self.image.pop(name)
        return statuses

    def kill(self) -> None:
        """End what is left."""
        for process in self._running.values():
            if process.poll() is None:
                with contextlib.suppress(ProcessLookupError):
                    os.killpg(process.pid, signal.SIGKILL)
                process.wait()

    def follow(self, text: str, built: Path) -> str:
        """Do what the Compose commands of a page's block do; `build` makes what is started run `built`.

        Returns what the last `run` said.
        """
        said = ""
        for match in _COMMAND.finditer(text):
            typed = parsed(match["words"].split())
            if typed.command == "build":
                self.build(built)
            elif typed.command == "up":
                assert typed.no_deps
                assert typed.wait
                self.up(*typed.services)
            elif typed.command == "rm":
                assert typed.stop
                self.end(*typed.services)
            else:
                assert typed.command == "run"
                done = self.run(typed.service, *typed.words)
                while match["again"] and done.returncode != 0:
                    # Refused while there are no views of its version; what differs is for people to look at.
                    assert "there are no views" in done.stderr, done.stdout + done.stderr
                    time.sleep(0.1)
                    done = self.run(typed.service, *typed.words)
                assert done.returncode == 0, done.stdout + done.stderr
                said = done.stdout
        return said

    def next_url(self) -> str:
        """A collector to ask, as a load balancer gives them. Raises LookupError."""
        rotation = self.rotation
        if not rotation:
            raise LookupError("no collector is ready")
        return self.url(rotation[next(self._turn) % len(rotation)])


class Traffic:
    """A product that sends, and somebody who reads, without a pause, until the context ends.

    Whoever asks a collector that just left the rotation asks another one, as a load balancer does.
    """

    def __init__(self, composed: Composed) -> None:
        self._composed = composed
        self._stop = threading.Event()
        self._threads = [threading.Thread(target=each) for each in (self._send, self._read)]
        self.batches = 0
        self.reads = 0
        self.position = ""
        self.failures: list[str] = []

    def __enter__(self) -> Self:
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._stop.set()
        for thread in self._threads:
            thread.join()

    @property
    def events(self) -> int:
        """How many events were acknowledged."""
        return self.batches * BATCH

    def _send(self) -> None:
        while not self._stop.is_set():
            # Without its last item, which is refused on purpose.
            body = json.dumps(batch(0, self.batches)[:-1]).encode()
            answer = self._ask("/v1/events", body)
            if answer is not None and answer["accepted"] == BATCH:
                self.batches += 1
                self.position = answer["position"]
            time.sleep(0.1)

    def _read(self) -> None:
        while not self._stop.is_set():
            if self._ask("/v1/counts?by=kind") is not None:
                self.reads += 1
            time.sleep(0.05)

    def _ask(self, path: str, body: bytes | None = None) -> Any:
        """The answer, or None where a connection was cut and another collector is to be asked."""
        headers = {"content-type": "application/cloudevents-batch+json"} if body else {}
        request = urllib.request.Request(self._composed.next_url() + path, body, headers)
        try:
            with urllib.request.urlopen(request, timeout=30) as answer:
                return json.load(answer)
        except urllib.error.HTTPError as error:
            with error:
                self.failures.append(f"{error.code} at {path}: {error.read().decode()}")
        except OSError:
            pass
        return None
