"""Publishing a simulated stream over real MQTT: at the stream's own times, QoS 1, with a record of acknowledgements.

Open loop: a message leaves when it is due, whether or not earlier ones were acknowledged; only when more than the
in-flight window is outstanding does the next one wait, and that is counted. What the broker has not acknowledged when a
connection breaks is published again on the next one.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections import OrderedDict
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any, Self
from zlib import crc32

import aiomqtt
import msgspec
import orjson

from contracts.configuration import Mqtt
from deploy.errors import UserError
from deploy.mqtt.client import client_of
from loadtest.simulation import Message

CONNECTIONS = 4
IN_FLIGHT = 5000
"""Messages of one connection that may wait for the broker's acknowledgement."""

RECONNECT_S = (0.2, 5.0)

_OTHER = {
    aiomqtt.ProtocolVersion.V5: aiomqtt.ProtocolVersion.V311,
    aiomqtt.ProtocolVersion.V311: aiomqtt.ProtocolVersion.V5,
}
FINISH_TIMEOUT_S = 60.0
CONNECT_TIMEOUT_S = 15.0


class PublishCounts(msgspec.Struct):
    """What one run came to. `published` counts readings (and broken payloads), `messages` PUBLISH packets.
    `delayed` messages left more than 50 ms after they were due, `repeated` were sent again on a new connection."""

    published: int = 0
    messages: int = 0
    acknowledged: int = 0
    delayed: int = 0
    repeated: int = 0


class _Pending:
    __slots__ = ("message", "published_at")

    def __init__(self, message: Message) -> None:
        self.message = message
        self.published_at = 0.0


OnAcknowledged = Callable[[Message, float, float], None]
"""(message, time of the publish call, time of the acknowledgement), in s since the epoch."""


class _Connection:
    """One MQTT connection, kept up."""

    def __init__(self, settings: Mqtt, identifier: str, counts: PublishCounts, on_acknowledged: OnAcknowledged) -> None:
        self._settings = settings
        self._identifier = identifier
        self._counts = counts
        self._on_acknowledged = on_acknowledged
        self._client: aiomqtt.Client | None = None
        self._protocol = aiomqtt.ProtocolVersion.V5
        self._lost = asyncio.Event()
        self._tasks: set[asyncio.Task[None]] = set()
        self._numbered = 0
        self.pending: OrderedDict[int, _Pending] = OrderedDict()
        self.up = asyncio.Event()
        self.room = asyncio.Event()
        self.room.set()
        self.idle = asyncio.Event()
        self.idle.set()

    def publish(self, message: Message) -> None:
        """Send now, or as soon as there is a connection."""
        self._numbered += 1
        pending = _Pending(message)
        self.pending[self._numbered] = pending
        self.idle.clear()
        if len(self.pending) >= IN_FLIGHT:
            self.room.clear()
        if self._client is not None:
            self._send(self._client, self._numbered, pending)

    def _send(self, client: aiomqtt.Client, number: int, pending: _Pending) -> None:
        task = asyncio.create_task(self._deliver(client, number, pending))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _deliver(self, client: aiomqtt.Client, number: int, pending: _Pending) -> None:
        message = pending.message
        pending.published_at = pending.published_at or time.time()
        try:
            await client.publish(message.topic, message.payload, qos=1, retain=message.retain, timeout=60.0)
        except aiomqtt.MqttError:
            self._lost.set()
            return
        if self.pending.pop(number, None) is not None:
            self._on_acknowledged(message, pending.published_at, time.time())
            if len(self.pending) < IN_FLIGHT:
                self.room.set()
            if not self.pending:
                self.idle.set()

    async def run(self) -> None:
        """Hold the connection until cancelled."""
        wait_s = RECONNECT_S[0]
        while True:
            try:
                async with self._connect() as client:
                    wait_s = RECONNECT_S[0]
                    self._lost.clear()
                    self._counts.repeated += len(self.pending)
                    for number, pending in self.pending.items():
                        self._send(client, number, pending)
                    self._client = client
                    self.up.set()
                    await self._lost.wait()
            except aiomqtt.MqttError:
                if not self.up.is_set():
                    # A broker that knows no MQTT 5 hangs up on it.
                    self._protocol = _OTHER[self._protocol]
            finally:
                self._client = None
            await asyncio.sleep(wait_s)
            wait_s = min(wait_s * 2.0, RECONNECT_S[1])

    def _connect(self) -> aiomqtt.Client:
        client = client_of(
            self._settings,
            identifier=self._identifier,
            protocol=self._protocol,
            max_inflight_messages=IN_FLIGHT,
            max_queued_outgoing_messages=0,
            logger=_quiet_logger(),
        )
        client.pending_calls_threshold = 10 * IN_FLIGHT
        return client


def _quiet_logger() -> logging.Logger:
    logger = logging.getLogger("biotwin.simulator.mqtt")
    logger.setLevel(logging.ERROR)
    return logger


class Publisher:
    """Publishes messages at their times. A context manager; entering it raises `UserError` where no broker answers.

    Messages of one topic keep their order on one connection. `file`, where given, gets one JSON line for each message
    that the broker acknowledged: `ids`, `topic`, `published_at`, `acknowledged_at`.
    """

    def __init__(self, settings: Mqtt, name: str, file: Path | None = None, connections: int = CONNECTIONS) -> None:
        self.counts = PublishCounts()
        self._settings = settings
        self._file = None if file is None else file.open("wb", buffering=1 << 16)
        self._connections = [
            _Connection(settings, f"{name}-{number}", self.counts, self._acknowledged) for number in range(connections)
        ]
        self._running: list[asyncio.Task[None]] = []

    async def __aenter__(self) -> Self:
        self._running = [asyncio.create_task(connection.run()) for connection in self._connections]
        try:
            async with asyncio.timeout(CONNECT_TIMEOUT_S):
                for connection in self._connections:
                    await connection.up.wait()
        except TimeoutError as error:
            await self.__aexit__()
            raise UserError(f"no MQTT broker answers at {self._settings.host}:{self._settings.port}") from error
        return self

    async def __aexit__(self, *_error: object) -> None:
        for task in self._running:
            task.cancel()
        await asyncio.gather(*self._running, return_exceptions=True)
        if self._file is not None:
            self._file.close()

    def _acknowledged(self, message: Message, published_at: float, acknowledged_at: float) -> None:
        self.counts.acknowledged += len(message.identities)
        if self._file is not None and message.identities:
            line: dict[str, Any] = {
                "ids": message.identities,
                "topic": message.topic,
                "published_at": published_at,
                "acknowledged_at": acknowledged_at,
            }
            self._file.write(orjson.dumps(line, option=orjson.OPT_APPEND_NEWLINE))

    def publish(self, message: Message) -> None:
        """Publish one message now."""
        self.counts.messages += 1
        self.counts.published += len(message.identities)
        place = crc32(message.topic.encode()) % len(self._connections)
        self._connections[place].publish(message)

    async def play(
        self, messages: Iterable[Message], start_t: float, begin_at: float, speed: float, stop: asyncio.Event
    ) -> None:
        """Publish a stream whose time `start_t` falls on the clock time `begin_at` (both s since the epoch), `speed`
        times as fast as it is written, until its end or until `stop` is set."""
        for message in messages:
            due = begin_at + (message.at - start_t) / speed
            wait_s = due - time.time()
            if wait_s > 0.0005:
                await asyncio.sleep(wait_s)
            elif wait_s < -0.05:
                self.counts.delayed += 1
                await asyncio.sleep(0)
            if stop.is_set():
                return
            await self._room()
            self.publish(message)

    async def _room(self) -> None:
        for connection in self._connections:
            if not connection.room.is_set():
                await connection.room.wait()

    async def finish(self, timeout_s: float = FINISH_TIMEOUT_S) -> None:
        """Wait until everything was acknowledged; raises `TimeoutError`."""
        async with asyncio.timeout(timeout_s):
            for connection in self._connections:
                await connection.idle.wait()
