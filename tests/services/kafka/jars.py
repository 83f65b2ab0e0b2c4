"""The jars of Apache Kafka's server: resolved once by Maven, into a folder that git ignores.

Starting brokers from them is left to `tests.services.kafka.broker`.

    python -m tests.services.kafka.jars

resolves them ahead of time, and prints the folder.
"""

from __future__ import annotations

import fcntl
import hashlib
import re
import shutil
import subprocess
import sys
from functools import cache
from pathlib import Path

_HERE = Path(__file__).parent
_POM = _HERE / "pom.xml"
_FOLDER = _HERE / ".jars"
_JAVA = 17


class KafkaMissing(Exception):
    """There is no Kafka broker to be had on this machine; the text says why."""


@cache
def kafka_jars() -> Path:
    """The folder with the jars of Kafka's server; resolved when it is not there yet.

    Processes that ask at the same time wait for the one that resolves. Raises KafkaMissing.
    """
    _need_java()
    _FOLDER.mkdir(exist_ok=True)
    jars = _FOLDER / hashlib.sha256(_POM.read_bytes()).hexdigest()[:12]
    with (_FOLDER / "lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not jars.exists():
            _resolve(jars)
    return jars


def _need_java() -> None:
    try:
        said = subprocess.run(["java", "-version"], capture_output=True, text=True, check=True).stderr
    except (OSError, subprocess.CalledProcessError) as error:
        raise KafkaMissing(f"Kafka's server needs Java {_JAVA} or newer, and `java` does not run") from error
    version = re.search(r'version "(\d+)', said)
    if version is None or int(version[1]) < _JAVA:
        raise KafkaMissing(f"Kafka's server needs Java {_JAVA} or newer; `java` is {said.splitlines()[:1]}")


def _resolve(jars: Path) -> None:
    if shutil.which("mvn") is None:
        raise KafkaMissing("the jars of Kafka's server are resolved with Maven, and there is no `mvn`")
    # Whole or not at all: a run that was stopped half-way leaves no folder of this name.
    partial = jars.with_suffix(".partial")
    shutil.rmtree(partial, ignore_errors=True)
    command = ["mvn", "-q", "-B", "-f", str(_POM), "dependency:copy-dependencies"]
    done = subprocess.run(
        [*command, f"-DoutputDirectory={partial}", "-DincludeScope=runtime"],
        capture_output=True,
        text=True,
        check=False,
        stdin=subprocess.DEVNULL,
    )
    if done.returncode != 0:
        raise KafkaMissing(f"Maven cannot resolve the jars of Kafka's server: {done.stdout[-800:]}")
    partial.rename(jars)


if __name__ == "__main__":
    sys.stdout.write(f"{kafka_jars()}\n")
