"""One Mosquitto on loopback with the shipped configuration. Its folder holds configuration, log, pid file and data.

`deploy.mqtt.embedded` stands in where Mosquitto is not installed.
"""

from __future__ import annotations

import getpass
import re
import shutil
import signal
import subprocess
from importlib.resources import files
from pathlib import Path

import psutil

from deploy.children import end_process, free_ports, last_lines, port_is_taken, running_process, wait_until
from deploy.errors import UserError
from deploy.mqtt.probe import mqtt_answers

HOST = "127.0.0.1"
MAX_QUEUED_BYTES = 1 << 30
START_TIMEOUT_S = 15.0
STOP_TIMEOUT_S = 15.0
INSTALL = "sudo apt-get install --no-install-recommends mosquitto (Debian, Ubuntu); brew install mosquitto (macOS)"


class MqttBrokerError(UserError):
    """The MQTT broker did not start."""


def find_mosquitto() -> Path | None:
    """The installed Mosquitto; Debian keeps it in /usr/sbin, which a user's PATH may lack."""
    found = shutil.which("mosquitto") or shutil.which("mosquitto", path="/usr/sbin:/usr/local/sbin:/opt/homebrew/sbin")
    return Path(found) if found else None


class MosquittoBroker:
    """Mosquitto in one folder. `port` 0 takes a free one, which a restart keeps; `configuration` replaces the
    shipped template (tests run Mosquitto's defaults beside it)."""

    name = "Mosquitto"
    keeps_sessions = True
    """Whether it has MQTT 5, shared subscriptions and queues for absent clients: what the guarantee rests on."""

    def __init__(self, folder: Path | str, port: int = 0, configuration: str | None = None) -> None:
        self.folder = Path(folder).absolute()
        self.port = port
        self.template = configuration or self._shipped()
        self.configuration_file = self.folder / "mosquitto.conf"
        self.pid_file = self.folder / "mosquitto.pid"
        self.log_file = self.folder / "mosquitto.log"
        self._child: subprocess.Popen[bytes] | None = None

    @property
    def host(self) -> str:
        return HOST

    @property
    def url(self) -> str:
        """mqtt://host:port for clients."""
        return f"mqtt://{HOST}:{self.port}"

    @property
    def process(self) -> psutil.Process | None:
        """The running broker of this folder, whoever started it."""
        if self._child is not None:
            # By its handle: right after the start, the command line of a child cannot be read yet.
            return psutil.Process(self._child.pid) if self._child.poll() is None else None
        return running_process(self.pid_file, str(self.folder))

    def start(self, timeout_s: float = START_TIMEOUT_S) -> str:
        """Start, wait until it admits clients, return `url`. Does nothing if it runs. Raises `MqttBrokerError`."""
        if self.process is not None:
            self.port = self.port or self._port_on_file()
        else:
            self._launch()
        ready = wait_until(lambda: mqtt_answers(HOST, self.port) or self.process is None, timeout_s)
        if not ready or self.process is None:
            self.kill()
            reason = last_lines(self.log_file) or last_lines(self.folder / "console.log")
            raise MqttBrokerError(f"{self.name} did not start in {self.folder}; the end of its log:\n{reason}")
        return self.url

    def _launch(self) -> None:
        command = self._command()
        if self.port and port_is_taken(self.port):
            raise MqttBrokerError(
                f"port {self.port} is taken by another program. To use an MQTT broker that runs there, give it with "
                "--mqtt;\nto start this one elsewhere, set mqtt.port to another port."
            )
        self.port = self.port or free_ports(1)[0]
        data = self.folder / "data"
        data.mkdir(parents=True, exist_ok=True)
        text = self.template.format(
            host=HOST, port=self.port, data=data, log=self.log_file, max_queued_bytes=MAX_QUEUED_BYTES
        )
        self.configuration_file.write_text(text, encoding="utf-8")
        with (self.folder / "console.log").open("ab") as output:
            self._child = subprocess.Popen(
                command,
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=output,
                cwd=self.folder,
                start_new_session=True,  # Ctrl-C in a terminal must not end it before its clients
            )
        self.pid_file.write_text(str(self._child.pid), encoding="ascii")

    def _command(self) -> list[str]:
        """What to run; raises `MqttBrokerError` where it is not installed."""
        program = find_mosquitto()
        if program is None:
            raise MqttBrokerError(
                f"no mosquitto found. Install it: {INSTALL};\n"
                "or use an MQTT 5 broker that already runs: --mqtt mqtt://host:port"
            )
        return [str(program), "-c", str(self.configuration_file)]

    def _shipped(self) -> str:
        """The shipped template. Started as root, Mosquitto would give up its rights and then could not write here."""
        text = (files("deploy.mqtt") / "mosquitto.conf").read_text(encoding="utf-8")
        return f"{text}user {getpass.getuser()}\n"

    def _port_on_file(self) -> int:
        text = self.configuration_file.read_text(encoding="utf-8")
        found = re.search(r"^listener (\d+)|bind: [\d.]+:(\d+)", text, re.MULTILINE)
        if found is None:
            raise MqttBrokerError(f"{self.configuration_file} names no listener")
        return int(found[1] or found[2])

    def stop(self, timeout_s: float = STOP_TIMEOUT_S) -> bool:
        """Stop cleanly (SIGTERM: it saves its sessions) and wait. True if nothing had to be killed."""
        process = self.process
        clean = process is None or end_process(process, timeout_s)
        self._forget()
        return clean

    def save(self) -> None:
        """Make it write its sessions and queues to disk now (SIGUSR1)."""
        process = self.process
        if process is not None:
            process.send_signal(signal.SIGUSR1)

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
        """Stop and remove sessions and queues."""
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
