"""What every test broker begins with, made once beside the jars: an archive of classes, and a formatted disk.

A broker loads and checks thousands of classes before it answers; from an archive (Java's "AppCDS") that costs
1.5 s of the processor in place of 2.8. And `kafka-storage format` is a Java of its own for two small files:
one is the same for all brokers of a version, the other is four lines.

    python -m tests.services.kafka.prepared

makes both ahead of time.
"""

from __future__ import annotations

import contextlib
import fcntl
import shutil
import signal
import socket
import subprocess
import tempfile
import time
import uuid
from base64 import urlsafe_b64encode
from functools import cache
from pathlib import Path
from typing import NamedTuple

from tests.services.kafka.jars import KafkaMissing, kafka_jars
from tests.services.ports import free_port

_READY_S = 300.0
_PROPERTIES = """\
process.roles=broker,controller
node.id=1
listeners=PLAINTEXT://127.0.0.1:{port},CONTROLLER://127.0.0.1:{controller}
controller.listener.names=CONTROLLER
controller.quorum.voters=1@127.0.0.1:{controller}
offsets.topic.replication.factor=1
log.dirs={data}
"""


class Prepared(NamedTuple):
    """Words of Java before the class to run, and the file that a formatted data folder begins with."""

    java: list[str]
    checkpoint: Path

    def format(self, data: Path, cluster_id: str, node: int) -> None:
        """Make a broker's data folder, as `kafka-storage format` would."""
        data.mkdir(parents=True)
        shutil.copy(self.checkpoint, data)
        lines = ("version=1", f"cluster.id={cluster_id}", f"node.id={node}", f"directory.id={random_id()}")
        (data / "meta.properties").write_text("\n".join(lines) + "\n")


def random_id() -> str:
    """An id as Kafka writes them."""
    return urlsafe_b64encode(uuid.uuid4().bytes).decode().rstrip("=")


@cache
def prepared() -> Prepared:
    """Both; made when they are not there yet. Processes that ask at once wait for the one that makes them.

    Raises KafkaMissing.
    """
    jars = kafka_jars()
    made = jars.with_name(f"{jars.name}.prepared")
    with (jars.parent / "lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not made.exists():
            _make(made)
    # Another Java than the archive was made with ignores it.
    java = [*_java(), f"-XX:SharedArchiveFile={made / 'classes.jsa'}", "-Xshare:auto"]
    return Prepared(java, made / "bootstrap.checkpoint")


def _java() -> list[str]:
    # The archive holds for this list of jars, in this order, and this collector of garbage.
    jars = ":".join(str(jar) for jar in sorted(kafka_jars().glob("*.jar")))
    return ["java", "-XX:+UseSerialGC", "-cp", jars]


def _make(made: Path) -> None:
    """Format a broker, and run it once: Java writes the archive as it ends."""
    # Whole or not at all: a run that was stopped half-way leaves no folder of this name.
    partial = made.with_suffix(".partial")
    shutil.rmtree(partial, ignore_errors=True)
    partial.mkdir()
    with tempfile.TemporaryDirectory() as folder:
        port, settings = free_port(), Path(folder) / "server.properties"
        data = Path(folder) / "data"
        settings.write_text(_PROPERTIES.format(port=port, controller=free_port(), data=data))
        command = ["kafka.tools.StorageTool", "format", f"--cluster-id={random_id()}", "-c", str(settings)]
        done = subprocess.run([*_java(), *command], capture_output=True, text=True, check=False)
        if done.returncode != 0:
            raise KafkaMissing(f"a test broker's data folder cannot be formatted: {done.stderr[-800:]}")
        shutil.copy(data / "bootstrap.checkpoint", partial)
        archive = f"-XX:ArchiveClassesAtExit={partial / 'classes.jsa'}"
        with subprocess.Popen(
            [*_java(), "-Xmx256m", "-XX:TieredStopAtLevel=1", archive, "kafka.Kafka", str(settings)],
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        ) as broker:
            try:
                _use(port)
                broker.send_signal(signal.SIGTERM)
                broker.wait(_READY_S)
            finally:
                broker.kill()
    partial.rename(made)


def _use(port: int) -> None:
    """Have the broker do what tests have theirs do, so that it loads the classes for it."""
    from kafka import KafkaConsumer, KafkaProducer
    from kafka.admin import KafkaAdminClient, NewTopic

    address, deadline = f"127.0.0.1:{port}", time.monotonic() + _READY_S
    while time.monotonic() < deadline:
        with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", port), 1.0):
            break
        time.sleep(0.1)
    else:
        raise KafkaMissing(f"a test broker did not answer in {_READY_S:.0f} s")
    with contextlib.closing(KafkaAdminClient(bootstrap_servers=address)) as admin:
        admin.create_topics([NewTopic("warm", num_partitions=1, replication_factor=1)])
    with contextlib.closing(KafkaProducer(bootstrap_servers=address)) as producer:
        producer.send("warm", b"up").get(_READY_S)
    with contextlib.closing(
        KafkaConsumer("warm", bootstrap_servers=address, group_id="warm", auto_offset_reset="earliest")
    ) as consumer:
        next(consumer)


if __name__ == "__main__":
    prepared()
