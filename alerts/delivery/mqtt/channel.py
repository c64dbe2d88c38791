"""An MQTT connection that comes back by itself; an alert is delivered when the broker has acknowledged its PUBLISH."""

from __future__ import annotations

import asyncio
import random
from collections.abc import Callable
from typing import Any
from urllib.parse import quote

import aiomqtt
import msgspec
import structlog
from aiomqtt.exceptions import MqttConnectError
from paho.mqtt.packettypes import PacketTypes
from paho.mqtt.properties import Properties
from paho.mqtt.reasoncodes import ReasonCode

from alerts.delivery.channel import Delivered, OnAnswer, Outcome, Retry, client_tls
from alerts.delivery.notification import Notification
from alerts.delivery.receipts import decode_answer, decode_reference, encode_reference, reference_of
from alerts.delivery.retry import Backoff
from contracts.condition import Alert
from contracts.configuration import Mqtt

IN_FLIGHT = 10
"""Unacknowledged PUBLISH packets: what the most cautious broker allows (HiveMQ's receive maximum)."""

PUBLISH_TIMEOUT_S = 30.0
KEEPALIVE_S = 15
UNSUPPORTED_VERSION = (1, 132)
"""CONNACK codes of MQTT 3.1.1 and 5 for a protocol version the broker does not speak."""

log = structlog.get_logger(__name__)


def alert_topic(site: str, alert: Alert) -> str:
    """The topic of an alert. A pseudonym is percent-encoded where MQTT would take a character of it for a wildcard or a
    level."""
    return f"biotwin/v1/{site}/alerts/{alert.priority}/{quote(alert.patient, safe='') or '-'}"


def answer_topic(site: str) -> str:
    """The response topic: not below `biotwin/v1`, where ingest would take an answer for a reading."""
    return f"biotwin/answers/v1/{site}"


def presence_topic(site: str, name: str) -> str:
    """Where a subscriber says that it is there: "online", retained, with "offline" as its last will."""
    return f"biotwin/presence/v1/{site}/{name}"


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


class _Session:
    """One connection, and an event for its end: aiomqtt's own `publish` would wait for its timeout."""

    def __init__(self, client: aiomqtt.Client) -> None:
        self.client = client
        self.ended = asyncio.Event()


class MqttChannel:
    """Publishes at QoS 1. `run` keeps the connection, `send` waits for it.

    Raises `OSError` for certificates that cannot be read.
    """

    in_flight = IN_FLIGHT
    ordered = True

    def __init__(
        self,
        mqtt: Mqtt,
        site: str,
        *,
        backoff: Backoff,
        on_connected: Callable[[bool], None],
        on_answer: OnAnswer,
        on_presence: Callable[[str, bool], None],
    ) -> None:
        self._on_presence = on_presence
        self._mqtt = mqtt
        self._site = site
        self._backoff = backoff
        self._on_connected = on_connected
        self._on_answer = on_answer
        self._tls = client_tls(mqtt.ca_file, "mqtt.ca_file") if mqtt.tls else None
        self._protocol = aiomqtt.ProtocolVersion.V5
        self._session: _Session | None = None
        self._connected = asyncio.Event()

    async def send(self, notification: Notification, on_sending: Callable[[], None]) -> Outcome:
        """Publish on the next connection there is; a connection that breaks under it leads to another attempt."""
        await self._connected.wait()
        session = self._session
        if session is None:
            return Retry("the connection broke")
        on_sending()
        publishing = asyncio.create_task(self._publish(session.client, notification))
        ended = asyncio.create_task(session.ended.wait())
        try:
            await asyncio.wait({publishing, ended}, return_when=asyncio.FIRST_COMPLETED)
            if not publishing.done():
                return Retry("the connection broke before the broker's acknowledgement")
            publishing.result()
        except aiomqtt.MqttError as error:
            return Retry(str(error))
        finally:
            publishing.cancel()
            ended.cancel()
        return Delivered()

    async def _publish(self, client: aiomqtt.Client, notification: Notification) -> None:
        await client.publish(
            alert_topic(self._site, notification.alert),
            notification.value,
            qos=1,
            retain=False,
            properties=self._properties(notification),
            timeout=PUBLISH_TIMEOUT_S,
        )

    async def run(self) -> None:
        """Connect, serve, and connect again; until cancelled."""
        failures = 0
        while True:
            connected = False
            lost: BaseException = aiomqtt.MqttError("the broker closed the connection")
            try:
                async with self._client() as client:
                    connected = True
                    log.info("mqtt_connected", host=self._mqtt.host, port=self._mqtt.port)
                    await self._serve(client)
            except aiomqtt.MqttError as error:
                lost = error
            if self._steps_down(lost):
                continue
            failures = 1 if connected and not _refused(lost) else failures + 1
            delay = self._backoff.delay_s(failures, random.random())
            log.warning("mqtt_away", host=self._mqtt.host, port=self._mqtt.port, reason=str(lost), retry_s=delay)
            await asyncio.sleep(delay)

    async def _serve(self, client: aiomqtt.Client) -> None:
        """Until the connection ends, which raises `MqttError`."""
        session = self._session = _Session(client)
        self._on_connected(True)
        self._connected.set()
        try:
            await client.subscribe(presence_topic(self._site, "+"), qos=1)
            if self._protocol is aiomqtt.ProtocolVersion.V5:
                await client.subscribe(answer_topic(self._site), qos=1)
            async for message in client.messages:
                if message.topic.matches(presence_topic(self._site, "+")):
                    self._on_presence(message.topic.value.rpartition("/")[2], message.payload == b"online")
                else:
                    self._take_answer(message)
        finally:
            session.ended.set()
            self._session = None
            self._connected.clear()
            self._on_connected(False)

    def _take_answer(self, message: aiomqtt.Message) -> None:
        correlation = getattr(message.properties, "CorrelationData", b"")
        try:
            about = decode_reference(correlation)
            answer = decode_answer(bytes(message.payload))
        except (msgspec.DecodeError, UnicodeDecodeError, RecursionError, TypeError) as error:
            log.warning("not_an_answer", reason=str(error))
            return
        self._on_answer(about, answer.state, "")

    def _properties(self, notification: Notification) -> Properties | None:
        if self._protocol is not aiomqtt.ProtocolVersion.V5:
            return None
        properties = Properties(PacketTypes.PUBLISH)  # type: ignore[no-untyped-call]
        properties.ContentType = "application/json"
        properties.PayloadFormatIndicator = 1
        properties.ResponseTopic = answer_topic(self._site)
        properties.CorrelationData = encode_reference(reference_of(notification))
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


def _refused(error: BaseException) -> bool:
    """Whether the broker answers and says no: then there is no hurry to ask again."""
    cause = error.__cause__ or error
    return isinstance(cause, aiomqtt.MqttCodeError) and isinstance(cause.rc, ReasonCode)
