"""One Mosquitto on loopback with the shipped configuration. Its folder holds configuration, log, pid file and data.

`deploy.mqtt.embedded` stands in where Mosquitto is not installed.
"""

from __future__ import annotations

import getpass
import re
import shutil
import signal
from importlib.resources import files
from pathlib import Path

from deploy.background import HOST, BackgroundServer
from deploy.children import free_ports, port_is_taken
from deploy.errors import UserError
from deploy.mqtt.probe import mqtt_answers

MAX_QUEUED_BYTES = 1 << 30
INSTALL = "sudo apt-get install --no-install-recommends mosquitto (Debian, Ubuntu); brew install mosquitto (macOS)"


class MqttBrokerError(UserError):
    """The MQTT broker did not start."""


def find_mosquitto() -> Path | None:
    """The installed Mosquitto; Debian keeps it in /usr/sbin, which a user's PATH may lack."""
    found = shutil.which("mosquitto") or shutil.which("mosquitto", path="/usr/sbin:/usr/local/sbin:/opt/homebrew/sbin")
    return Path(found) if found else None


class MosquittoBroker(BackgroundServer):
    """Mosquitto in one folder. `configuration` replaces the shipped template (tests run Mosquitto's defaults beside
    it)."""

    start_timeout_s = 15.0
    stop_timeout_s = 15.0
    name = "Mosquitto"
    keeps_sessions = True
    """Whether it has MQTT 5, shared subscriptions and queues for absent clients: what the guarantee rests on."""

    def __init__(self, folder: Path | str, port: int = 0, configuration: str | None = None) -> None:
        super().__init__(folder, port, "mosquitto")
        self.template = configuration or self._shipped()
        self.configuration_file = self.folder / "mosquitto.conf"

    @property
    def host(self) -> str:
        return HOST

    @property
    def url(self) -> str:
        """mqtt://host:port for clients."""
        return f"mqtt://{HOST}:{self.port}"

    def start(self) -> str:
        """Start, wait until it admits clients, return `url`. Does nothing if it runs. Raises `MqttBrokerError`."""
        if not self._comes_up():
            reason = self._last_words()
            raise MqttBrokerError(f"{self.name} did not start in {self.folder}; the end of its log:\n{reason}")
        return self.url

    def _answers(self) -> bool:
        return mqtt_answers(HOST, self.port)

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
        self._spawn(command)

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

    def save(self) -> None:
        """Make it write its sessions and queues to disk now (SIGUSR1)."""
        process = self.process
        if process is not None:
            process.send_signal(signal.SIGUSR1)
