"""The private names of aiomqtt and aiokafka that ingest leans on, and what it assumes of them."""

from __future__ import annotations

import inspect

import aiomqtt
from aiokafka import AIOKafkaProducer
from paho.mqtt.client import Client as PahoClient


async def test_aiomqtt_holds_a_paho_client_whose_message_callback_can_be_replaced() -> None:
    client = aiomqtt.Client("127.0.0.1", protocol=aiomqtt.ProtocolVersion.V5)
    paho = client._client
    assert type(paho) is PahoClient
    assert paho.on_message == client._on_message

    def ours(_client: PahoClient, _userdata: object, _message: object) -> None: ...

    paho.on_message = ours
    assert paho.on_message is ours


def test_paho_leaves_acknowledging_to_us_and_acknowledges_when_asked() -> None:
    source = inspect.getsource(PahoClient._handle_publish)
    assert "if self._manual_ack:" in source
    assert list(inspect.signature(PahoClient.ack).parameters) == ["self", "mid", "qos"]
    assert list(inspect.signature(PahoClient.manual_ack_set).parameters) == ["self", "on"]


async def test_aiokafka_producer_holds_a_sender_that_can_be_closed() -> None:
    producer = AIOKafkaProducer(bootstrap_servers="127.0.0.1:1")
    assert inspect.iscoroutinefunction(producer._sender.close)
    assert inspect.iscoroutinefunction(producer.client.close)
    await producer._sender.close()
    await producer.client.close()
