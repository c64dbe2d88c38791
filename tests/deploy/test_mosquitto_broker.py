"""The MQTT broker with the shipped configuration: it keeps acknowledged messages for an absent member, also over a
clean restart."""

from __future__ import annotations

import asyncio
from pathlib import Path

import aiomqtt
import pytest
from paho.mqtt.packettypes import PacketTypes
from paho.mqtt.properties import Properties

from deploy.mqtt.mosquitto import MosquittoBroker, MqttBrokerError

pytestmark = pytest.mark.mqtt

MESSAGES = 3000


def session(broker: MosquittoBroker) -> aiomqtt.Client:
    properties = Properties(PacketTypes.CONNECT)  # type: ignore[no-untyped-call]
    properties.SessionExpiryInterval = 3600
    return aiomqtt.Client(
        broker.host,
        broker.port,
        identifier="member",
        protocol=aiomqtt.ProtocolVersion.V5,
        clean_start=False,
        properties=properties,
    )


async def test_queue_of_an_absent_member_survives_a_clean_restart(tmp_path: Path) -> None:
    broker = MosquittoBroker(tmp_path / "mqtt")
    url = broker.start()
    try:
        async with session(broker) as member:
            await member.subscribe("$share/ingest/biotwin/v1/#", qos=1)
        async with aiomqtt.Client(broker.host, broker.port, protocol=aiomqtt.ProtocolVersion.V5) as publisher:
            for number in range(MESSAGES):
                await publisher.publish("biotwin/v1/site/d/vitals", str(number), qos=1)
        assert broker.stop(), "it had to be killed"
        assert broker.start() == url
        received: list[int] = []
        async with asyncio.timeout(60), session(broker) as member:
            async for message in member.messages:
                received.append(int(str(message.payload, "ascii")))
                if len(received) == MESSAGES:
                    break
        assert received == list(range(MESSAGES))
    finally:
        broker.kill()


def test_a_taken_port_is_said_plainly(mqtt: MosquittoBroker, tmp_path: Path) -> None:
    with pytest.raises(MqttBrokerError, match=f"port {mqtt.port} is taken"):
        MosquittoBroker(tmp_path, port=mqtt.port).start()
