"""A plain aiomqtt client from the configuration, for the tools beside the pipeline."""

from __future__ import annotations

import ssl
from typing import Any

import aiomqtt

from contracts.configuration import Mqtt


def client_of(mqtt: Mqtt, **options: Any) -> aiomqtt.Client:
    """A client for that broker, MQTT 5 unless `options` say otherwise."""
    options = {"protocol": aiomqtt.ProtocolVersion.V5, **options}
    if mqtt.tls:
        options["tls_context"] = ssl.create_default_context(cafile=mqtt.ca_file or None)
    return aiomqtt.Client(
        mqtt.host, mqtt.port, username=mqtt.username or None, password=mqtt.password or None, **options
    )
