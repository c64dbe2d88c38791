"""An MQTT connection that comes back by itself, and publishes until the broker has acknowledged."""

from __future__ import annotations

import asyncio
import random
import ssl
from collections.abc import Callable, Sequence
from itertools import islice
from typing import Any

import aiomqtt
import structlog
from aiomqtt.exceptions import MqttConnectError
from paho.mqtt.packettypes import PacketTypes
from paho.mqtt.properties import Properties
from paho.mqtt.reasoncodes import ReasonCode

from alerts.delivery.outbox import Outgoing
from contracts.configuration import Mqtt

IN_FLIGHT = 10
"""Unacknowledged PUBLISH packets: what the most cautious broker allows (HiveMQ's receive maximum)."""

CHUNK = 200
PUBLISH_TIMEOUT_S = 30.0
KEEPALIVE_S = 15
UNSUPPORTED_VERSION = (1, 132)
"""CONNACK codes of MQTT 3.1.1 and 5 for a protocol version the broker does not speak."""

log = structlog.get_logger(__name__)


class StrictClient(aiomqtt.Client):
    """aiomqtt's client, for which a PUBLISH that the broker refuses is not delivered.

    aiomqtt 2.5 takes any PUBACK for success; MQTT 5 brokers refuse with a PUBACK (not authorized, quota exceeded).
    """

    def _on_publish(
        self, client: Any, userdata: Any, mid: int, reason_code: ReasonCode, properties: Properties
    ) -> None:
        if reason_code.is_failure:
            if not self._disconnected.done():
                self._disconnected.set_exception(aiomqtt.MqttCodeError(reason_code, "the broker refused a PUBLISH"))
            self._client.disconnect()
            return
        super()._on_publish(client, userdata, mid, reason_code, properties)


class Publisher:
    """Publishes at QoS 1. `run` keeps the connection; `publish` returns when the broker has acknowledged everything.

    What was not acknowledged when a connection broke is published again on the next one, in its old order. Raises
    `OSError` for certificates that cannot be read.
    """

    def __init__(
        self,
        mqtt: Mqtt,
        *,
        backoff_s: tuple[float, float],
        on_delivered: Callable[[Outgoing], None],
        on_connected: Callable[[bool], None],
    ) -> None:
        self._mqtt = mqtt
        self._backoff_s = backoff_s
        self._on_delivered = on_delivered
        self._on_connected = on_connected
        self._tls = ssl.create_default_context(cafile=mqtt.ca_file or None) if mqtt.tls else None
        self._protocol = aiomqtt.ProtocolVersion.V5
        self._waiting: dict[int, Outgoing] = {}
        self._number = 0
        self._wake = asyncio.Event()
        self._idle = asyncio.Event()

    async def publish(self, messages: Sequence[Outgoing]) -> None:
        """Publish in order; however long the broker is away."""
        if not messages:
            return
        for message in messages:
            self._waiting[self._number] = message
            self._number += 1
        self._idle.clear()
        self._wake.set()
        await self._idle.wait()

    async def run(self) -> None:
        """Connect, publish what waits, and connect again; until cancelled."""
        shortest, longest = self._backoff_s
        delay = shortest
        while True:
            connected = False
            lost: BaseException = aiomqtt.MqttError("the broker closed the connection")
            try:
                async with self._client() as client:
                    connected = True
                    self._on_connected(True)
                    log.info("mqtt_connected", host=self._mqtt.host, port=self._mqtt.port)
                    await self._session(client)
            except* aiomqtt.MqttError as group:
                lost = _first(group)
            finally:
                self._on_connected(False)
            if self._steps_down(lost):
                continue
            delay = shortest if connected and not _refused(lost) else min(delay * 2, longest)
            log.warning("mqtt_away", host=self._mqtt.host, port=self._mqtt.port, reason=str(lost), retry_s=delay)
            await asyncio.sleep(delay * random.uniform(0.5, 1.0))

    async def _session(self, client: aiomqtt.Client) -> None:
        client.pending_calls_threshold = CHUNK
        async with asyncio.TaskGroup() as group:
            group.create_task(_watch(client))
            group.create_task(self._pump(client))

    async def _pump(self, client: aiomqtt.Client) -> None:
        while True:
            while self._waiting:
                async with asyncio.TaskGroup() as group:
                    for number, message in list(islice(self._waiting.items(), CHUNK)):
                        group.create_task(self._publish_one(client, number, message))
            self._idle.set()
            await self._wake.wait()
            self._wake.clear()

    async def _publish_one(self, client: aiomqtt.Client, number: int, message: Outgoing) -> None:
        await client.publish(
            message.topic,
            message.payload,
            qos=1,
            retain=False,
            properties=self._properties(),
            timeout=PUBLISH_TIMEOUT_S,
        )
        del self._waiting[number]
        self._on_delivered(message)

    def _properties(self) -> Properties | None:
        if self._protocol is not aiomqtt.ProtocolVersion.V5:
            return None
        properties = Properties(PacketTypes.PUBLISH)  # type: ignore[no-untyped-call]
        properties.ContentType = "application/json"
        properties.PayloadFormatIndicator = 1
        return properties

    def _client(self) -> aiomqtt.Client:
        mqtt = self._mqtt
        v5 = self._protocol is aiomqtt.ProtocolVersion.V5
        return StrictClient(
            mqtt.host,
            mqtt.port,
            username=mqtt.username or None,
            password=mqtt.password or None,
            protocol=self._protocol,
            clean_session=None if v5 else True,
            keepalive=KEEPALIVE_S,
            max_inflight_messages=IN_FLIGHT,
            tls_context=self._tls,
        )

    def _steps_down(self, error: BaseException) -> bool:
        """Go on with MQTT 3.1.1 where the broker knows no MQTT 5."""
        if not isinstance(error, MqttConnectError) or self._protocol is not aiomqtt.ProtocolVersion.V5:
            return False
        code = error.rc.value if isinstance(error.rc, ReasonCode) else error.rc
        if code not in UNSUPPORTED_VERSION:
            return False
        log.warning("mqtt_version", reason="the broker knows no MQTT 5; going on with 3.1.1")
        self._protocol = aiomqtt.ProtocolVersion.V311
        return True


async def _watch(client: aiomqtt.Client) -> None:
    """Ends with `MqttError` as soon as the connection does: aiomqtt's `publish` would wait for its timeout."""
    async for _ in client.messages:
        pass


def _first(group: BaseExceptionGroup[BaseException]) -> BaseException:
    error: BaseException = group
    while isinstance(error, BaseExceptionGroup):
        error = error.exceptions[0]
    return error


def _refused(error: BaseException) -> bool:
    """Whether the broker answers and says no: then there is no hurry to ask again."""
    cause = error.__cause__ or error
    return isinstance(cause, aiomqtt.MqttCodeError) and isinstance(cause.rc, ReasonCode)
