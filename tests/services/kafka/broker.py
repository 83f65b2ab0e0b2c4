"""Kafka brokers for tests and benchmarks: started, stopped, killed, frozen; KRaft, on free ports.

    with Cluster() as kafka:                    # one broker; Cluster(3) for three
        kafka.bootstrap                         # "127.0.0.1:21034"
        kafka.brokers[0].kill()                 # SIGKILL
        kafka.brokers[0].start()                # on the same ports and data
        kafka.stop(); kafka.start()             # all of them

Plain classes, without pytest; its fixtures are in `tests.services.kafka.fixtures`.
"""

from __future__ import annotations

import contextlib
import os
import shutil
import signal
import socket
import subprocess
import tempfile
import time
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Self

from tests.services.kafka.jars import KafkaMissing, kafka_jars
from tests.services.kafka.prepared import prepared, random_id
from tests.services.kafka.secured import certificates, listener_settings, openssl_is_here
from tests.services.ports import free_port

READY_S = 60.0
QUICK_START = ("-XX:TieredStopAtLevel=1",)
"""Less compiling: up sooner, slower under load. Benchmarks give `jvm=()`."""

_LOG4J = """<?xml version="1.0" encoding="UTF-8"?>
<Configuration status="ERROR">
  <Appenders><Console name="out"><PatternLayout pattern="%d %p %c %m%n"/></Console></Appenders>
  <Loggers><Root level="WARN"><AppenderRef ref="out"/></Root></Loggers>
</Configuration>
"""


class BrokerFailed(Exception):
    """A broker did not come up; the text has the end of its log."""


class Broker:
    """One broker, which is a controller too. Made by `Cluster`."""

    def __init__(
        self, folder: Path, settings: Mapping[str, str], cluster_id: str, heap: str, jvm: Sequence[str]
    ) -> None:
        self.id = int(settings["node.id"])
        self.port = int(settings["listeners"].split(",")[0].rpartition(":")[2])
        self.bootstrap = f"127.0.0.1:{self.port}"
        self.folder = folder
        self.data = folder / "data"
        self._process: subprocess.Popen[bytes] | None = None
        folder.mkdir(parents=True)
        begin = prepared()
        begin.format(self.data, cluster_id, self.id)
        (folder / "log4j2.xml").write_text(_LOG4J)
        lines = [f"{name}={value}\n" for name, value in {**settings, "log.dirs": str(self.data)}.items()]
        (folder / "server.properties").write_text("".join(lines))
        logs = f"-Dlog4j2.configurationFile={folder / 'log4j2.xml'}"
        self._java = [*begin.java, f"-Xmx{heap}", logs, *jvm]

    @property
    def pid(self) -> int:
        """The process id of the running broker."""
        assert self._process is not None, "this broker is not running"
        return self._process.pid

    @property
    def running(self) -> bool:
        """Whether the process is there, frozen or not."""
        return self._process is not None and self._process.poll() is None

    def start(self, *, wait: bool = True) -> None:
        """Start the process, on the same ports and data as before; `wait` until it answers."""
        assert not self.running, "this broker is running already"
        with (self.folder / "out").open("ab") as out:
            self._process = subprocess.Popen(
                [*self._java, "kafka.Kafka", str(self.folder / "server.properties")],
                stdin=subprocess.DEVNULL,
                stdout=out,
                stderr=out,
                # A signal to the test's terminal is not meant for the broker.
                start_new_session=True,
            )
        if wait:
            self.ready()

    def ready(self, brokers: int = 1, timeout_s: float = READY_S) -> None:
        """Wait until the broker answers, and sees that many brokers in its cluster."""
        deadline = time.monotonic() + timeout_s
        while not self._answers(brokers):
            if not self.running or time.monotonic() > deadline:
                said = (self.folder / "out").read_text(errors="replace")[-3000:]
                raise BrokerFailed(f"broker {self.id} is not ready after {timeout_s:.0f} s at most:\n{said}")
            time.sleep(0.05)

    def _answers(self, brokers: int) -> bool:
        from kafka.admin import KafkaAdminClient
        from kafka.errors import KafkaError

        with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", self.port), 1.0):
            try:
                admin = KafkaAdminClient(bootstrap_servers=self.bootstrap, request_timeout_ms=5000)
            except KafkaError:
                return False
            try:
                return len(admin.describe_cluster()["brokers"]) >= brokers
            except KafkaError:
                return False
            finally:
                admin.close()
        return False

    def stop(self, timeout_s: float = 20.0) -> None:
        """SIGTERM, and wait; a broker that cannot end in time (its controllers are away) is killed."""
        self._end(signal.SIGTERM, timeout_s)

    def kill(self) -> None:
        """SIGKILL."""
        self._end(signal.SIGKILL, 10.0)

    def freeze(self) -> None:
        """SIGSTOP: connections stay open, and nothing answers."""
        os.kill(self.pid, signal.SIGSTOP)

    def thaw(self) -> None:
        """SIGCONT."""
        os.kill(self.pid, signal.SIGCONT)

    def _end(self, number: int, timeout_s: float) -> None:
        if self._process is None:
            return
        if self._process.poll() is None:
            os.kill(self._process.pid, number)
            # A frozen process hears nothing but SIGKILL.
            os.kill(self._process.pid, signal.SIGCONT)
            try:
                self._process.wait(timeout_s)
            except subprocess.TimeoutExpired:
                self._process.kill()
        self._process.wait()
        self._process = None


class Cluster:
    """Brokers in one cluster, on ports of 127.0.0.1 and in a folder of their own.

    Args:
        brokers: how many; with three, internal topics have three replicas too.
        settings: more lines of `server.properties`, for all brokers.
        heap: the `-Xmx` of each.
        jvm: more options of Java.
        folder: where to keep data and logs; a temporary one that goes away at the end when not given.
        secured: whether they can also be reached with TLS and logins, and ask for rights there; where this
            machine can make certificates.

    As a context manager it starts the brokers and removes them at the end. Raises KafkaMissing where
    there is no Java.
    """

    def __init__(
        self,
        brokers: int = 1,
        *,
        settings: Mapping[str, str] | None = None,
        heap: str = "256m",
        jvm: Sequence[str] = QUICK_START,
        folder: Path | None = None,
        secured: bool = False,
    ) -> None:
        self._temporary = folder is None
        self.folder = folder or Path(tempfile.mkdtemp(prefix="kafka-"))
        ports = [free_port() for _ in range(4 * brokers)]
        places = {node: ports[4 * node - 4 : 4 * node] for node in range(1, brokers + 1)}
        voters = ",".join(f"{node}@127.0.0.1:{controller}" for node, (_, controller, *_) in places.items())
        self.certificates = certificates(self.folder) if secured and openssl_is_here() else None
        cluster_id = random_id()
        self.brokers = [
            Broker(
                self.folder / f"broker{node}",
                {
                    **_settings(brokers),
                    "node.id": str(node),
                    "listeners": f"PLAINTEXT://127.0.0.1:{port},CONTROLLER://127.0.0.1:{controller}",
                    "controller.quorum.voters": voters,
                    **self._listeners(*places[node]),
                    **(settings or {}),
                },
                cluster_id,
                heap,
                jvm,
            )
            for node, (port, controller, *_) in places.items()
        ]
        self.logins = ",".join(f"localhost:{login}" for _, _, login, _ in places.values())
        self.mutual = ",".join(f"localhost:{mutual}" for _, _, _, mutual in places.values())
        self.bootstrap = ",".join(broker.bootstrap for broker in self.brokers)

    def _listeners(self, port: int, controller: int, login: int, mutual: int) -> Mapping[str, str]:
        if self.certificates is None:
            return {}
        return listener_settings(self.certificates, port, login, mutual, controller)

    def address(self, prefix: str) -> str:
        """The address of a log on this cluster, as in settings."""
        return f"kafka://{self.bootstrap}/{prefix}"

    def start(self) -> None:
        """Start those that are not running, and wait until all see each other."""
        for broker in self.brokers:
            if not broker.running:
                broker.start(wait=False)
        for broker in self.brokers:
            broker.ready(len(self.brokers))

    def stop(self) -> None:
        """SIGTERM to all."""
        for broker in self.brokers:
            if broker.running and len(self.brokers) > 1:
                # Together: the last two of three could not agree on a controlled end any more.
                os.kill(broker.pid, signal.SIGTERM)
        for broker in self.brokers:
            broker.stop(3.0 if len(self.brokers) > 1 else 20.0)

    def kill(self) -> None:
        """SIGKILL to all."""
        for broker in self.brokers:
            broker.kill()

    def freeze(self) -> None:
        """SIGSTOP to all."""
        for broker in self.brokers:
            broker.freeze()

    def thaw(self) -> None:
        """SIGCONT to all."""
        for broker in self.brokers:
            broker.thaw()

    @contextlib.contextmanager
    def frozen(self, broker: Broker) -> Iterator[None]:
        """One broker that hangs until the context ends, and is a good one again then."""
        broker.freeze()
        try:
            yield
        finally:
            broker.thaw()
            for each in self.brokers:
                each.ready(len(self.brokers))

    def copy_data(self, to: Path) -> None:
        """Copy the data folders of the stopped brokers: a backup."""
        assert not any(broker.running for broker in self.brokers), "stop the brokers first"
        for broker in self.brokers:
            shutil.copytree(broker.data, to / f"broker{broker.id}")

    def restore_data(self, source: Path) -> None:
        """Put a backup in the place of the stopped brokers' data."""
        assert not any(broker.running for broker in self.brokers), "stop the brokers first"
        for broker in self.brokers:
            shutil.rmtree(broker.data)
            shutil.copytree(source / f"broker{broker.id}", broker.data)

    def close(self) -> None:
        """End the processes at once, and remove what they wrote."""
        self.kill()
        if self._temporary:
            shutil.rmtree(self.folder, ignore_errors=True)

    def __enter__(self) -> Self:
        try:
            self.start()
        except BaseException:
            self.close()
            raise
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


def _settings(brokers: int) -> dict[str, str]:
    """What every test broker is told: nothing made by itself, little memory, quick to notice its peers."""
    copies = str(min(3, brokers))
    return {
        "process.roles": "broker,controller",
        "controller.listener.names": "CONTROLLER",
        "auto.create.topics.enable": "false",
        "unclean.leader.election.enable": "false",
        "default.replication.factor": copies,
        "min.insync.replicas": "2" if brokers >= 3 else "1",
        "offsets.topic.replication.factor": copies,
        "offsets.topic.num.partitions": "3",
        "transaction.state.log.replication.factor": copies,
        "transaction.state.log.min.isr": "1",
        "share.coordinator.state.topic.replication.factor": copies,
        "share.coordinator.state.topic.min.isr": "1",
        "group.initial.rebalance.delay.ms": "0",
        "group.min.session.timeout.ms": "1000",
        # A broker that comes back waits until its last session is over.
        "broker.session.timeout.ms": "1000" if brokers == 1 else "3000",
        "broker.heartbeat.interval.ms": "250",
        "controlled.shutdown.enable": "true" if brokers > 1 else "false",
        "num.network.threads": "2",
        "num.io.threads": "4",
        "num.recovery.threads.per.data.dir": "1",
        "log.cleaner.dedupe.buffer.size": "4194304",
        "log.index.size.max.bytes": "1048576",
    }


__all__ = ["Broker", "BrokerFailed", "Cluster", "KafkaMissing", "kafka_jars"]
