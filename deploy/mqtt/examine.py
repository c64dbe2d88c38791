"""Examine an MQTT broker for what the delivery guarantee needs of it. `biotwin doctor --mqtt URL` prints the findings.

The broker is used under topics and client ids of this examination alone, and its sessions are removed at the end.
"""

from __future__ import annotations

import ssl
import threading
import time
import uuid
from collections.abc import Callable
from typing import Any, NamedTuple

import paho.mqtt.client as paho
from paho.mqtt.enums import CallbackAPIVersion, MQTTProtocolVersion
from paho.mqtt.packettypes import PacketTypes
from paho.mqtt.properties import Properties

from contracts.configuration import Mqtt
from deploy.children import wait_until

SESSION_S = 600
TIMEOUT_S = 15.0
QUIET_S = 3.0
"""A broker that has sent nothing for so long has nothing more to send."""

RECEIVE_MAXIMUM = 20
WITHHELD = 100
INGEST_PAYLOAD_BYTES = 1_048_576


class Finding(NamedTuple):
    """One thing that was examined. `needed` says that BioTwin's guarantee rests on it."""

    what: str
    good: bool
    needed: bool
    detail: str


class ExaminationError(Exception):
    """The broker could not be examined; the text says why."""


class _Member:
    """One client with a session of its own, whose acknowledgements can be withheld."""

    def __init__(self, mqtt: Mqtt, client_id: str, receive_maximum: int = 1000) -> None:
        self.mqtt = mqtt
        self.client_id = client_id
        self.receive_maximum = receive_maximum
        self.received: list[int] = []
        self.withhold = False
        self.granted: list[bool] = []
        self.acknowledged: dict[int, bool] = {}
        self.last_message = 0.0
        self.session_present = False
        self.server: dict[str, Any] = {}
        self._refusal = ""
        self._connected = threading.Event()
        self._client: paho.Client | None = None

    def connect(self, *, fresh: bool = False, session_s: int = SESSION_S) -> None:
        """Connect with MQTT 5; raises `ExaminationError`."""
        client = paho.Client(
            CallbackAPIVersion.VERSION2,
            client_id=self.client_id,
            protocol=MQTTProtocolVersion.MQTTv5,
            manual_ack=True,
            reconnect_on_failure=False,
        )
        client.on_connect = self._on_connect
        client.on_message = self._on_message
        client.on_subscribe = self._on_subscribe
        client.on_publish = self._on_publish
        client.max_inflight_messages_set(200)
        if self.mqtt.username:
            client.username_pw_set(self.mqtt.username, self.mqtt.password)
        if self.mqtt.tls:
            client.tls_set_context(ssl.create_default_context(cafile=self.mqtt.ca_file or None))
        properties = Properties(PacketTypes.CONNECT)  # type: ignore[no-untyped-call]
        properties.SessionExpiryInterval = session_s
        properties.ReceiveMaximum = self.receive_maximum
        self._connected.clear()
        self._refusal = ""
        try:
            client.connect(self.mqtt.host, self.mqtt.port, clean_start=fresh, properties=properties)
        except (OSError, ValueError) as error:
            raise ExaminationError(f"no connection to {self.mqtt.host}:{self.mqtt.port}: {error}") from error
        self._client = client
        client.loop_start()
        if not self._connected.wait(TIMEOUT_S) or self._refusal:
            self.disconnect()
            raise ExaminationError(self._refusal or "no answer to an MQTT 5 CONNECT")

    def disconnect(self) -> None:
        """Leave; the session stays as long as `connect` asked."""
        if self._client is not None:
            self._client.disconnect()
            self._client.loop_stop()
            self._client = None

    def forget(self) -> None:
        """Remove the session."""
        self.disconnect()
        self.connect(fresh=True, session_s=0)
        self.disconnect()

    def subscribe(self, topic: str) -> bool:
        """Whether the subscription was granted at QoS 1."""
        before = len(self.granted)
        self._use().subscribe(topic, qos=1)
        return wait_until(lambda: len(self.granted) > before, TIMEOUT_S) and self.granted[-1]

    def publish(self, topic: str, count: int) -> int:
        """Publish 0…count-1 at QoS 1; returns how many the broker acknowledged as taken."""
        self.acknowledged.clear()
        for number in range(count):
            self._use().publish(topic, str(number), qos=1)
        wait_until(lambda: len(self.acknowledged) == count, TIMEOUT_S + count / 500)
        return sum(self.acknowledged.values())

    def _use(self) -> paho.Client:
        if self._client is None:
            raise ExaminationError(f"{self.client_id} is not connected")
        return self._client

    def _on_connect(self, _client: Any, _data: Any, flags: Any, reason: Any, properties: Any) -> None:
        if reason.is_failure:
            self._refusal = f"the broker refuses an MQTT 5 connection: {reason}"
        self.session_present = flags.session_present
        self.server = properties.json() if properties is not None else {}
        self._connected.set()

    def _on_message(self, client: paho.Client, _data: Any, message: paho.MQTTMessage) -> None:
        self.received.append(int(message.payload))
        self.last_message = time.monotonic()
        if not self.withhold:
            client.ack(message.mid, message.qos)

    def _on_subscribe(self, _client: Any, _data: Any, _mid: int, reasons: list[Any], _properties: Any) -> None:
        self.granted.append(not reasons[0].is_failure)

    def _on_publish(self, _client: Any, _data: Any, mid: int, reason: Any, _properties: Any) -> None:
        self.acknowledged[mid] = not reason.is_failure


def examine(mqtt: Mqtt, messages: int = 6000, on_step: Callable[[str], object] = lambda _: None) -> list[Finding]:
    """Everything the guarantee needs, in order; stops early where the rest cannot be told.

    `messages` are published in the test with an absent member; `on_step` hears what is being done.
    """
    run = uuid.uuid4().hex[:8]
    on_step("connecting with MQTT 5")
    publisher = _Member(mqtt, f"biotwin-doctor-{run}-p")
    try:
        publisher.connect(fresh=True, session_s=0)
    except ExaminationError as error:
        return [Finding("MQTT 5", False, True, str(error))]
    findings = [Finding("MQTT 5", True, True, f"{mqtt.host}:{mqtt.port}")]
    findings += _announced(publisher.server)
    try:
        on_step("withholding acknowledgements")
        findings += _withheld(mqtt, publisher, run)
        on_step(f"publishing {messages} messages to a shared subscription with an absent member")
        findings += _absent_member(mqtt, publisher, run, messages)
    except ExaminationError as error:
        findings.append(Finding("connection", False, True, str(error)))
    finally:
        publisher.disconnect()
    return findings


def _announced(server: dict[str, Any]) -> list[Finding]:
    """What the broker itself says in its CONNACK; MQTT 5 leaves out what is unrestricted."""
    shared = server.get("SharedSubscriptionAvailable", 1) == 1
    qos = server.get("MaximumQoS", 2)
    packet = server.get("MaximumPacketSize")
    return [
        Finding("QoS 1", qos >= 1, True, f"maximum QoS {qos}"),
        Finding("shared subscriptions announced", shared, True, "" if shared else "one ingest only"),
        Finding(
            "payload size",
            packet is None or packet >= INGEST_PAYLOAD_BYTES,
            False,
            "no limit" if packet is None else f"at most {packet} bytes; ingest takes {INGEST_PAYLOAD_BYTES}",
        ),
    ]


def _withheld(mqtt: Mqtt, publisher: _Member, run: str) -> list[Finding]:
    """One member that acknowledges nothing, leaves, and comes back."""
    topic = f"biotwin/doctor/{run}/withheld"
    member = _Member(mqtt, f"biotwin-doctor-{run}-w", RECEIVE_MAXIMUM)
    member.withhold = True
    member.connect(fresh=True)
    try:
        expiry = member.server.get("SessionExpiryInterval", SESSION_S)
        if not member.subscribe(topic):
            return [Finding("subscription at QoS 1", False, True, "refused")]
        taken = publisher.publish(topic, WITHHELD)
        _until_quiet(lambda: len(member.received), WITHHELD, [member])
        held = len(member.received)
        member.disconnect()
        member.received.clear()
        member.withhold = False
        member.connect()
        present = member.session_present
        _until_quiet(lambda: len(set(member.received)), WITHHELD, [member])
        lost = taken - len(set(member.received))
    finally:
        member.forget()
    return [
        Finding("session kept", present and expiry >= SESSION_S, True, f"for {expiry} s" if present else "it was gone"),
        Finding(
            "receive-maximum honoured",
            0 < held <= RECEIVE_MAXIMUM,
            True,
            f"{held} sent unacknowledged, {RECEIVE_MAXIMUM} allowed",
        ),
        Finding("unacknowledged messages sent again", lost <= 0, True, f"{max(lost, 0)} of {taken} lost"),
    ]


def _absent_member(mqtt: Mqtt, publisher: _Member, run: str, messages: int) -> list[Finding]:
    """Two members of a shared subscription, one of them away while messages come."""
    topic = f"biotwin/doctor/{run}/shared"
    stays, leaves = _Member(mqtt, f"biotwin-doctor-{run}-a"), _Member(mqtt, f"biotwin-doctor-{run}-b")
    try:
        for member in (stays, leaves):
            member.connect(fresh=True)
            if not member.subscribe(f"$share/biotwin-doctor-{run}/{topic}"):
                return [Finding("shared subscription", False, True, "refused: one ingest only")]
        leaves.disconnect()
        taken = publisher.publish(topic, messages)
        _until_quiet(lambda: len(set(stays.received)), messages, [stays])
        leaves.connect()
        _until_quiet(lambda: len(set(stays.received) | set(leaves.received)), messages, [stays, leaves])
        arrived = len(set(stays.received) | set(leaves.received))
    finally:
        stays.forget()
        leaves.forget()
    split = len(stays.received) <= messages and not (set(stays.received) & set(leaves.received))
    return [
        Finding(
            "shared subscription", split, True, "each message to one member" if split else "repeats between members"
        ),
        Finding("publishes acknowledged", taken == messages, True, f"{taken} of {messages}"),
        Finding("kept for an absent member", arrived >= taken, True, f"{max(taken - arrived, 0)} of {taken} lost"),
    ]


def _until_quiet(count: Callable[[], int], enough: int, members: list[_Member]) -> None:
    """Wait until `count` is reached, or nothing has come for a while."""
    start = time.monotonic()

    def done() -> bool:
        latest = max(start, *(member.last_message for member in members))
        return count() >= enough or time.monotonic() - latest > QUIET_S

    wait_until(done, TIMEOUT_S + enough / 100)
