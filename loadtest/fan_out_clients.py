"""Many subscribers in one process, as cheap as they can be: `python -m loadtest.fan_out_clients PLAN`, PLAN being JSON.

Each is one socket and one protocol object; an alert is found by its id in the bytes as they come, without a parser. The
process prints `ready` once all are subscribed, and when its standard input is closed, one line of JSON: by kind, (alert
id, seconds since the epoch) of every receipt.
"""

from __future__ import annotations

import asyncio
import re
import socket
import sys
import time
from typing import Any

import msgspec
import orjson

SSE_ALERT = re.compile(rb'event: alert\nid: [^\n]*\ndata: \{"id":"([0-9a-f]+)"')
MQTT_ALERT = re.compile(rb'"id":"([0-9a-f]{16})"')
STALLED_BUFFER = 4096


class Plan(msgspec.Struct, frozen=True):
    """Where to subscribe, and how many of each kind; of each, the first `stalled` read nothing."""

    console_port: int
    mqtt_port: int
    mqtt_topic: str
    subscribers: int
    mqtt: int
    stalled: int


Receipts = list[tuple[str, float]]


class SseClient(asyncio.Protocol):
    """Takes `/events` as a browser does, rows and all."""

    def __init__(self, port: int, receipts: Receipts, *, stalled: bool) -> None:
        self._request = f"GET /events HTTP/1.0\r\nHost: 127.0.0.1:{port}\r\n\r\n".encode()
        self._receipts = receipts
        self._stalled = stalled
        self._rest = b""
        self.ready = asyncio.get_running_loop().create_future()
        self.lost = False

    def connection_made(self, transport: Any) -> None:
        transport.write(self._request)
        if self._stalled:
            transport.pause_reading()
            self.ready.set_result(None)

    def data_received(self, data: bytes) -> None:
        now = time.time()
        if not self.ready.done() and b"event: reset" in data:
            self.ready.set_result(None)
        data = self._rest + data
        end = 0
        for match in SSE_ALERT.finditer(data):
            self._receipts.append((match[1].decode(), now))
            end = match.end()
        self._rest = data[max(end, len(data) - 200) :]

    def connection_lost(self, exc: Exception | None) -> None:  # noqa: ARG002
        self.lost = True


class MqttClient(asyncio.Protocol):
    """Subscribes at QoS 1 over MQTT 3.1.1 and acknowledges."""

    def __init__(self, name: str, topic: str, receipts: Receipts, *, stalled: bool) -> None:
        self._name = name.encode()
        self._topic = topic.encode()
        self._receipts = receipts
        self._stalled = stalled
        self._rest = b""
        self.ready = asyncio.get_running_loop().create_future()
        self.lost = False

    def connection_made(self, transport: Any) -> None:
        self._transport = transport
        head = b"\x00\x04MQTT\x04\x02\x00\x00" + len(self._name).to_bytes(2, "big") + self._name
        transport.write(b"\x10" + bytes([len(head)]) + head)
        body = b"\x00\x01" + len(self._topic).to_bytes(2, "big") + self._topic + b"\x01"
        transport.write(b"\x82" + bytes([len(body)]) + body)

    def data_received(self, data: bytes) -> None:
        now = time.time()
        data = self._rest + data
        while (packet := _packet(data)) is not None:
            kind, body, data = packet
            if kind >> 4 == 9:
                self.ready.set_result(None)
                if self._stalled:
                    self._transport.pause_reading()
            elif kind >> 4 == 3:
                at = 2 + int.from_bytes(body[:2], "big")
                self._transport.write(b"\x40\x02" + body[at : at + 2])
                if match := MQTT_ALERT.search(body):
                    self._receipts.append((match[1].decode(), now))
        self._rest = data

    def connection_lost(self, exc: Exception | None) -> None:  # noqa: ARG002
        self.lost = True


def _packet(data: bytes) -> tuple[int, bytes, bytes] | None:
    """(type and flags, body, rest) of the first whole packet."""
    length, shift, at = 0, 0, 1
    while at < len(data):
        length |= (data[at] & 0x7F) << shift
        shift += 7
        at += 1
        if data[at - 1] < 0x80:
            return (data[0], data[at : at + length], data[at + length :]) if len(data) >= at + length else None
    return None


async def main(plan: Plan) -> None:
    loop = asyncio.get_running_loop()
    found: dict[str, Receipts] = {"sse": [], "mqtt": []}
    sse, mqtt = [], []
    for number in range(plan.subscribers):
        client = SseClient(plan.console_port, found["sse"], stalled=number < plan.stalled)
        await loop.create_connection(
            lambda one=client: one, sock=await _connected(plan.console_port, number < plan.stalled)
        )  # type: ignore[misc]
        sse.append(client)
    for number in range(plan.mqtt):
        subscriber = MqttClient(f"fan-out-{number}", plan.mqtt_topic, found["mqtt"], stalled=number < plan.stalled)
        sock = await _connected(plan.mqtt_port, number < plan.stalled)
        await loop.create_connection(lambda one=subscriber: one, sock=sock)  # type: ignore[misc]
        mqtt.append(subscriber)
    await asyncio.gather(*(client.ready for client in (*sse, *mqtt)))
    print("ready", flush=True)
    await asyncio.to_thread(sys.stdin.read)
    reading = {"sse": sse[plan.stalled :], "mqtt": mqtt[plan.stalled :]}
    lost = {kind: sum(client.lost for client in clients) for kind, clients in reading.items()}
    sys.stdout.write(orjson.dumps({"receipts": found, "lost": lost}).decode() + "\n")
    sys.stdout.flush()


async def _connected(port: int, small: bool) -> socket.socket:
    sock = socket.socket()
    if small:
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, STALLED_BUFFER)
    sock.setblocking(False)
    await asyncio.get_running_loop().sock_connect(sock, ("127.0.0.1", port))
    return sock


if __name__ == "__main__":
    asyncio.run(main(msgspec.json.decode(sys.argv[1], type=Plan)))
