"""The MQTT session of one ingest slot. The only module here that knows aiomqtt and the paho client inside it.

aiomqtt connects and keeps the connection alive. It has no manual acknowledgement, and its message queue costs a task a
message, so two things are taken from the paho client it holds (`aiomqtt.Client._client`, the one private name used):
the message callback, and `ack`. tests/ingest/test_client_names.py holds both to what is assumed here.
"""

from __future__ import annotations

import asyncio
import random
import time
from collections import deque
from collections.abc import Callable
from typing import Protocol

import aiomqtt
import structlog
from aiomqtt.exceptions import MqttConnectError
from paho.mqtt.client import MQTT_CLEAN_START_FIRST_ONLY, MQTTMessage
from paho.mqtt.client import Client as PahoClient
from paho.mqtt.packettypes import PacketTypes
from paho.mqtt.properties import Properties
from paho.mqtt.reasoncodes import ReasonCode

from contracts.configuration import Configuration

GROUP = "biotwin"
SESSION_EXPIRY_S = 14 * 24 * 3600
"""How long the broker keeps a slot's session while no process holds it (MQTT 5; 3.1.1 knows no limit)."""

KEEPALIVE_S = 20
UNSUPPORTED_VERSION = frozenset({1, 132})
"""CONNACK codes "unacceptable protocol version" of 3.1.1 and "unsupported protocol version" of 5."""

FIRST_FAILURE_CODE = 128
"""Reason codes from here on are failures, in SUBACK of both versions."""

HELD_LIMIT_FACTOR = 2
"""A broker that does not know receive-maximum may send this many times more before ingest stops listening."""

MAX_PACKETS_A_TURN = 64

_log = structlog.get_logger("biotwin.ingest.mqtt")


class Delivery:
    """One PUBLISH. `received_at` in s since the epoch. It is settled once its records are safe in Kafka."""

    __slots__ = ("client", "mid", "payload", "qos", "received_at", "settled", "topic")

    def __init__(self, client: PahoClient, message: MQTTMessage, received_at: float) -> None:
        self.client = client
        try:
            self.topic = message.topic
        except UnicodeDecodeError:
            self.topic = "\N{REPLACEMENT CHARACTER}"
        self.payload = message.payload
        self.qos = message.qos
        self.mid = message.mid
        self.received_at = received_at
        self.settled = False


class MqttListener(Protocol):
    """Who is told what happens on the session; called in the event loop, must not block."""

    def delivered(self, delivery: Delivery) -> None:
        """A message came; it is answered by `MqttSession.settle`."""

    def connected(self) -> None:
        """The session is up and subscribed."""

    def disconnected(self) -> None:
        """The connection is gone: what was delivered and is not settled will be delivered again."""


class MqttSession:
    """The persistent session of a slot: connects again for ever, and acknowledges in order of arrival.

    What is held unacknowledged is bounded by receive-maximum. A broker that speaks only 3.1.1 has its own window; past
    twice receive-maximum ingest stops listening to the connection and takes a new one when all it held is settled.
    """

    def __init__(
        self, configuration: Configuration, listener: MqttListener, clock: Callable[[], float] = time.time
    ) -> None:
        self._mqtt = configuration.mqtt
        self._ingest = configuration.ingest
        self._site = configuration.site
        self._listener = listener
        self._clock = clock
        self._held: deque[Delivery] = deque()
        self._current: PahoClient | None = None
        self._deaf = False
        self._reconnect = asyncio.Event()
        self._protocol = aiomqtt.ProtocolVersion.V5
        self._failing = False
        self._paused = False
        self._taken = 0
        self._tidied = False
        self._reading_on = False

    @property
    def client_id(self) -> str:
        """Stable, so that the broker keeps what comes while nobody listens."""
        return f"biotwin-{self._site}-ingest-{self._ingest.slot}"

    @property
    def subscriptions(self) -> tuple[str, str]:
        """The topic filter to subscribe to, and the one of the other kind, which an earlier setting may have left.

        Several slots share one subscription. A single slot subscribes plainly: Mosquitto (2.0.11, measured) restores a
        stored session's plain subscriptions when it is restarted, and forgets shared ones until the client is back;
        what is published in between is acknowledged to the device and lost.

        The filter covers our own alerts too, which the core leaves alone: one that spared them would also lose,
        without a word, what a device publishes on a topic of the wrong shape.
        """
        plain = f"biotwin/v1/{self._site}/#"
        shared = f"$share/{GROUP}/{plain}"
        return (plain, shared) if self._ingest.slots == 1 else (shared, plain)

    @property
    def unacknowledged(self) -> int:
        """Messages held until Kafka acknowledges."""
        return len(self._held)

    def settle(self, delivery: Delivery) -> None:
        """The message's records are safe: acknowledge it as soon as all that came before it are."""
        delivery.settled = True
        if delivery.client is not self._current:
            return  # its connection is gone; the broker delivers it again
        held = self._held
        while held and held[0].settled:
            first = held.popleft()
            if first.qos:
                first.client.ack(first.mid, first.qos)
        if self._deaf and not held:
            self._reconnect.set()

    def pause(self) -> None:
        """Take in nothing more: what still comes stays unacknowledged and is delivered to the next connection."""
        self._paused = True

    async def run(self) -> None:
        """Keep the session connected until cancelled."""
        backoff_s = self._ingest.reconnect_min_s
        while True:
            try:
                async with self._client() as client:
                    await self._subscribe(client)
                    backoff_s = self._ingest.reconnect_min_s
                    self._recovered()
                    await self._until_disconnected(client)
            except aiomqtt.MqttError as error:
                self._failed(error)
            finally:
                self._lost()
            # Full jitter: slots that lost the same broker must not come back together.
            await asyncio.sleep(random.uniform(0.5, 1.0) * backoff_s)
            backoff_s = min(2 * backoff_s, self._ingest.reconnect_max_s)

    async def end(self, quiet_s: float) -> None:
        """Drain the slot and end its session at the broker: unsubscribe, take what is queued, then forget.

        Returns when nothing came for `quiet_s` and all that came is settled. Raises `aiomqtt.MqttError`.
        """
        async with self._client() as client:
            for subscription in self.subscriptions:
                await client.unsubscribe(subscription)
            self._listener.connected()
            taken, quiet_since = self._taken, self._clock()
            while self._held or self._clock() - quiet_since < quiet_s:
                await asyncio.sleep(0.05)
                if self._taken != taken:
                    taken, quiet_since = self._taken, self._clock()
        self._lost()
        # A clean start ends the stored session; this connection asks the broker to keep none.
        async with self._client(clean=True):
            pass

    def _client(self, *, clean: bool = False) -> aiomqtt.Client:
        mqtt = self._mqtt
        v5 = self._protocol is aiomqtt.ProtocolVersion.V5
        properties = None
        if v5:
            properties = Properties(PacketTypes.CONNECT)  # type: ignore[no-untyped-call]
            properties.SessionExpiryInterval = 0 if clean else SESSION_EXPIRY_S
            properties.ReceiveMaximum = self._ingest.receive_maximum
        client = aiomqtt.Client(
            mqtt.host,
            mqtt.port,
            username=mqtt.username or None,
            password=mqtt.password or None,
            identifier=self.client_id,
            protocol=self._protocol,
            clean_session=None if v5 else clean,
            clean_start=clean if v5 else MQTT_CLEAN_START_FIRST_ONLY,
            properties=properties,
            keepalive=KEEPALIVE_S,
            tls_params=aiomqtt.TLSParameters(ca_certs=mqtt.ca_file or None) if mqtt.tls else None,
        )
        paho = client._client  # noqa: SLF001
        paho.manual_ack_set(True)
        paho.on_message = self._on_message
        # From here on, not from SUBACK: what the session kept comes right behind CONNACK.
        self._current = paho
        return client

    async def _subscribe(self, client: aiomqtt.Client) -> None:
        wanted, unwanted = self.subscriptions
        codes = await client.subscribe(wanted, qos=1)
        for code in codes:
            number = code.value if isinstance(code, ReasonCode) else code
            if number >= FIRST_FAILURE_CODE:
                raise aiomqtt.MqttError(f"the broker refused the subscription {wanted}: {code}")
        if not self._tidied:
            await client.unsubscribe(unwanted)
            self._tidied = True

    async def _until_disconnected(self, client: aiomqtt.Client) -> None:
        """Returns when ingest wants a new connection; raises `aiomqtt.MqttError` when this one broke."""
        waits = {
            asyncio.ensure_future(_exhaust(client)),
            asyncio.ensure_future(self._reconnect.wait()),
        }
        try:
            done, _ = await asyncio.wait(waits, return_when=asyncio.FIRST_COMPLETED)
        finally:
            for wait in waits:
                wait.cancel()
        for wait in done:
            wait.result()

    def _on_message(self, client: PahoClient, _userdata: object, message: MQTTMessage) -> None:
        if client is not self._current or self._paused or self._deaf:
            return
        limit = self._ingest.receive_maximum
        if len(self._held) >= HELD_LIMIT_FACTOR * limit:
            if message.qos == 0:
                return  # nothing was promised for it
            self._deaf = True
            _log.warning("mqtt_window_exceeded", held=len(self._held), receive_maximum=limit)
            return
        delivery = Delivery(client, message, self._clock())
        self._held.append(delivery)
        self._taken += 1
        self._listener.delivered(delivery)
        if not self._reading_on:
            self._reading_on = True
            asyncio.get_running_loop().call_soon(self._read_on, client)

    def _read_on(self, client: PahoClient) -> None:
        """Read the packets that stand behind the one just read: aiomqtt reads one a turn of the event loop, which
        costs a quarter more."""
        try:
            for _ in range(MAX_PACKETS_A_TURN):
                taken = self._taken
                client.loop_read()
                if self._taken == taken:
                    break
        except BaseException:
            self._reconnect.set()
            raise
        finally:
            self._reading_on = False

    def _recovered(self) -> None:
        if self._failing:
            _log.info("mqtt_connected_again", host=self._mqtt.host, port=self._mqtt.port)
        else:
            _log.info("mqtt_connected", client_id=self.client_id, protocol=self._protocol.name)
        self._failing = False
        self._listener.connected()

    def _failed(self, error: aiomqtt.MqttError) -> None:
        if self._protocol is aiomqtt.ProtocolVersion.V5 and _refuses_version(error):
            self._protocol = aiomqtt.ProtocolVersion.V311
            _log.warning("mqtt_5_refused", now="3.1.1: the broker's own window bounds what is held")
        elif not self._failing:
            self._failing = True
            _log.error(
                "mqtt_unreachable",
                host=self._mqtt.host,
                port=self._mqtt.port,
                error=_cause(error),
                action="trying again",
            )

    def _lost(self) -> None:
        if self._current is not None:
            self._current = None
            self._held.clear()
            self._deaf = False
            self._reconnect.clear()
            self._listener.disconnected()


async def _exhaust(client: aiomqtt.Client) -> None:
    """Ends with aiomqtt's error when the connection is lost; nothing else ever comes, our callback takes it all."""
    async for _ in client.messages:
        raise RuntimeError("aiomqtt delivered a message past our callback")


def _refuses_version(error: aiomqtt.MqttError) -> bool:
    if not isinstance(error, MqttConnectError):
        return False
    number = error.rc.value if isinstance(error.rc, ReasonCode) else error.rc
    return number in UNSUPPORTED_VERSION


def _cause(error: aiomqtt.MqttError) -> str:
    """The error and, where aiomqtt wraps one, what lies under it."""
    return str(error) if error.__cause__ is None else f"{error}: {error.__cause__}"
