"""`biotwin` processes as children: started from one configuration, watched through their metrics, ended cleanly."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import urllib.error
import urllib.request
from collections.abc import Mapping
from pathlib import Path

import msgspec
import psutil
from prometheus_client.parser import text_string_to_metric_families

from contracts.configuration import Configuration
from deploy.children import last_lines, wait_until
from deploy.errors import UserError
from deploy.process import RunningProcess, running_processes
from loadtest.guardian import Guardian

READY_TIMEOUT_S = 90.0
DRAIN_TIMEOUT_S = 40.0


class ChildError(UserError):
    """A process did not start, did not become ready or did not end."""


class Usage:
    """What a process has used: CPU time in s, and the largest resident memory seen, in MB (1e6 bytes)."""

    def __init__(self) -> None:
        self.cpu_s = 0.0
        self.rss_mb = 0.0

    def look(self, pid: int) -> None:
        """Read the figures of a running process; one that is gone keeps its last."""
        try:
            process = psutil.Process(pid)
            times = process.cpu_times()
            self.cpu_s = times.user + times.system
            self.rss_mb = max(self.rss_mb, process.memory_info().rss / 1e6)
        except psutil.NoSuchProcess:
            return


class Child:
    """One `biotwin` command as a child process. `name` is the name under which it serves its metrics."""

    def __init__(
        self,
        name: str,
        arguments: list[str],
        configuration: Configuration,
        environment: Mapping[str, str],
        log: Path,
        guardian: Guardian | None = None,
    ) -> None:
        self.name = name
        self.log = log
        self.usage = Usage()
        self._configuration = configuration
        log.parent.mkdir(parents=True, exist_ok=True)
        with log.open("ab") as output:
            self._process = subprocess.Popen(
                [sys.executable, "-m", "deploy.cli", *arguments],
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=output,
                env={**os.environ, **environment},
                start_new_session=True,  # Ctrl-C in a terminal must not end it before we do, in order
            )
        if guardian is not None:
            guardian.guard(self._process.pid)

    @property
    def pid(self) -> int:
        return self._process.pid

    @property
    def returncode(self) -> int | None:
        """Exit status, or None while it runs."""
        return self._process.poll()

    def last_lines(self) -> str:
        """The end of its log."""
        return last_lines(self.log)

    def endpoint(self) -> RunningProcess | None:
        """Where its metrics are, once it serves them."""
        for process in running_processes(self._configuration):
            if process.pid == self.pid:
                return process
        return None

    def ready(self) -> bool:
        """Whether it says that it takes work."""
        endpoint = self.endpoint()
        if endpoint is None:
            return False
        try:
            with urllib.request.urlopen(f"{endpoint.url}/readyz", timeout=5.0) as answer:  # noqa: S310
                return bool(answer.status == 200)
        except (urllib.error.URLError, OSError):
            return False

    def wait_ready(self, timeout_s: float = READY_TIMEOUT_S) -> None:
        """Wait until it is ready; raises `ChildError` with the end of its log."""
        if (
            not wait_until(lambda: self.ready() or self.returncode is not None, timeout_s)
            or self.returncode is not None
        ):
            raise ChildError(
                f"{self.name} did not become ready (exit status {self.returncode}):\n{last_lines(self.log)}"
            )

    def counters(self) -> dict[str, float]:
        """Its metrics: each sample by name, by name{label="value",…} where it has labels. Empty while unreachable."""
        endpoint = self.endpoint()
        if endpoint is None:
            return {}
        try:
            with urllib.request.urlopen(f"{endpoint.url}/metrics", timeout=5.0) as answer:  # noqa: S310
                text = answer.read().decode()
        except (urllib.error.URLError, OSError):
            return {}
        found: dict[str, float] = {}
        for family in text_string_to_metric_families(text):
            for sample in family.samples:
                labels = ",".join(f'{name}="{value}"' for name, value in sorted(sample.labels.items()))
                found[f"{sample.name}{{{labels}}}" if labels else sample.name] = sample.value
        return found

    def look(self) -> None:
        """Take down what it has used so far."""
        if self.returncode is None:
            self.usage.look(self.pid)

    def ask_to_end(self) -> None:
        """SIGTERM, without waiting."""
        if self.returncode is None:
            self._process.send_signal(signal.SIGTERM)

    def end(self, timeout_s: float = DRAIN_TIMEOUT_S) -> int:
        """SIGTERM, wait, return the exit status; raises `ChildError` when it had to be killed."""
        self.look()
        self.ask_to_end()
        try:
            return self._process.wait(timeout_s)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
            raise ChildError(f"{self.name} did not end within {timeout_s:g} s:\n{last_lines(self.log)}") from None

    def kill(self) -> None:
        """SIGKILL, as a crash would."""
        if self.returncode is None:
            self._process.kill()
        self._process.wait()

    def signal(self, number: signal.Signals) -> None:
        """Send a signal."""
        self._process.send_signal(number)


def environment_of(configuration: Configuration, **settings: str) -> dict[str, str]:
    """The environment that makes a child see this configuration's addresses and data, and further settings, named as
    in `worker__ticks="false"`."""
    kafka, mqtt, console = configuration.kafka, configuration.mqtt, configuration.console
    base = {
        "SITE": configuration.site,
        "DATA": str(Path(configuration.data).absolute()),
        "KAFKA__BOOTSTRAP": kafka.bootstrap,
        "KAFKA__PARTITIONS": str(kafka.partitions),
        "KAFKA__GROUP": kafka.group,
        "KAFKA__SESSION_TIMEOUT_S": str(kafka.session_timeout_s),
        "KAFKA__HEARTBEAT_S": str(kafka.heartbeat_s),
        "MQTT__HOST": mqtt.host,
        "MQTT__PORT": str(mqtt.port),
        "CONSOLE__PORT": str(console.port),
        "CONSOLE__DIRECTORY": str(Path(console.directory).absolute()),
        "CONSOLE__ACCOUNTS": str(Path(console.accounts).absolute()),
        "CONSOLE__AUDIT": str(Path(console.audit).absolute()),
        "TOKENS": msgspec.json.encode(configuration.tokens).decode(),
        "HISTORY__DIRECTORY": str(Path(configuration.history.directory).absolute()),
        "METRICS__PORT": "0",
        "WORKER__RULES": configuration.worker.rules,
    }
    return {f"BIOTWIN_{name}": value for name, value in {**base, **{k.upper(): v for k, v in settings.items()}}.items()}
