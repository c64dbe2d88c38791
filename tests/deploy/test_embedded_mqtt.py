"""Where Mosquitto is missing: what stands in says what it cannot do, and what to install."""

from __future__ import annotations

import asyncio
from pathlib import Path

import aiomqtt
import pytest

from deploy.mqtt import embedded
from deploy.mqtt.embedded import WARNING, AmqttBroker, mqtt_broker
from deploy.mqtt.mosquitto import MosquittoBroker, MqttBrokerError


def test_mosquitto_is_preferred_and_amqtt_stands_in(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(embedded, "find_mosquitto", lambda: Path("/usr/sbin/mosquitto"))
    assert type(mqtt_broker(tmp_path)) is MosquittoBroker
    monkeypatch.setattr(embedded, "find_mosquitto", lambda: None)
    broker = mqtt_broker(tmp_path)
    assert isinstance(broker, AmqttBroker)
    assert not broker.keeps_sessions
    assert "only one ingest" in WARNING
    assert "apt-get install" in WARNING


def test_with_neither_the_message_says_what_to_do(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(embedded, "find_spec", lambda _name: None)
    with pytest.raises(MqttBrokerError, match=r"(?s)no mosquitto found. Install it: .*--mqtt.*pip install amqtt"):
        AmqttBroker(tmp_path).start()


@pytest.mark.mqtt
async def test_amqtt_serves_one_client_of_mqtt_3(tmp_path: Path) -> None:
    pytest.importorskip("amqtt")
    broker = AmqttBroker(tmp_path / "mqtt")
    await asyncio.to_thread(broker.start)
    try:
        with pytest.raises(aiomqtt.MqttError, match="Unsupported protocol version"):
            async with aiomqtt.Client(broker.host, broker.port, protocol=aiomqtt.ProtocolVersion.V5):
                pass
        version = aiomqtt.ProtocolVersion.V311
        async with asyncio.timeout(30), aiomqtt.Client(broker.host, broker.port, protocol=version) as client:
            await client.subscribe("biotwin/v1/#", qos=1)
            await client.publish("biotwin/v1/site/d/vitals", b"1", qos=1)
            message = await anext(aiter(client.messages))
            assert message.payload == b"1"
    finally:
        assert await asyncio.to_thread(broker.stop)
