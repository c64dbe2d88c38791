"""The MQTT broker of an installation: Mosquitto, or where that is missing amqtt, a small one written in Python.

amqtt lets one try BioTwin without installing anything. It speaks MQTT 3.1.1 without shared subscriptions, so one ingest
takes everything; it keeps nothing for an absent client, so what comes while ingest is away is lost.
"""

from __future__ import annotations

import sys
from importlib.util import find_spec
from pathlib import Path

from deploy.mqtt.mosquitto import INSTALL, MosquittoBroker, MqttBrokerError, find_mosquitto

WARNING = (
    f"no mosquitto found: amqtt stands in. It has neither MQTT 5 nor $share, so only one ingest can run, and it keeps "
    f"nothing for an ingest that is away. Not for patients' data. Install Mosquitto: {INSTALL}"
)

CONFIGURATION = """\
listeners:
  default:
    type: tcp
    bind: {host}:{port}
plugins:
  amqtt.plugins.authentication.AnonymousAuthPlugin:
    allow_anonymous: true
"""


class AmqttBroker(MosquittoBroker):
    """amqtt in place of Mosquitto, with the same handling."""

    name = "amqtt"
    keeps_sessions = False

    def _command(self) -> list[str]:
        if find_spec("amqtt") is None:
            raise MqttBrokerError(
                f"no mosquitto found. Install it: {INSTALL};\n"
                "or use an MQTT 5 broker that already runs: --mqtt mqtt://host:port;\n"
                "or, only to look at BioTwin: pip install amqtt"
            )
        return [sys.executable, "-m", "amqtt.scripts.broker_script", "-c", str(self.configuration_file)]

    def _shipped(self) -> str:
        return CONFIGURATION


def mqtt_broker(folder: Path | str, port: int = 0) -> MosquittoBroker:
    """The best broker that can be had here; `keeps_sessions` says whether `WARNING` has to be shown."""
    if find_mosquitto() is not None:
        return MosquittoBroker(folder, port)
    return AmqttBroker(folder, port)
