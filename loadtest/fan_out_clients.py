"""Many subscribers in one process, as cheap as they can be: `python -m loadtest.fan_out_clients PLAN`, PLAN being JSON.

Each is one socket and one protocol object; an alert is found by its id in the bytes as they come, without a parser. One
that has stalled is a socket that asks and never reads. The process prints `ready` once all are subscribed and, when its
standard input is closed, one line of JSON: by kind, (alert id, seconds since the epoch) of every receipt.
"""

from __future__ import annotations

import asyncio
import re
import socket
import sys
import time
from collections.abc import Sequence
from typing import Any

import msgspec
import orjson
import uvloop

SSE_ALERT = re.compile(rb'event: alert\nid: [^\n]*\ndata: \{"id":"([0-9a-f]+)"')
MQTT_ALERT = re.compile(rb'"id":"([0-9a-f]{16})"')
STALLED_BUFFER = 4096


class Plan(msgspec.Struct, frozen=True):
    """Where to subscribe, and how many of each kind; of each, `stalled` read nothing."""

    console_port: int
    mqtt_port: int
    mqtt_topic: str
    subscribers: int
    mqtt: int
    stalled: int


Receipts = list[tuple[str, float]]


class Client(asyncio.Protocol):
    """A subscriber: `ready` is done once it is subscribed, `lost` says that its connection has ended."""

    def __init__(self, request: bytes, receipts: Receipts) -> None:
        self.request = request
        self.receipts = receipts
        self.rest = b""
        self.ready: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self.lost = False

    def connection_made(self, transport: Any) -> None:
        self.transport = transport
        transport.write(self.request)

    def connection_lost(self, exc: Exception | None) -> None:  # noqa: ARG002
        self.lost = True


class SseClient(Client):
    """Takes `/events` as a browser does, rows and all."""

    def data_received(self, data: bytes) -> None:
        now = time.time()
        if not self.ready.done() and b"event: reset" in data:
            self.ready.set_result(None)
        data = self.rest + data
        end = 0
        for match in SSE_ALERT.finditer(data):
            self.receipts.append((match[1].decode(), now))
            end = match.end()
        self.rest = data[max(end, len(data) - 200) :]


class MqttClient(Client):
    """Subscribes at QoS 1 over MQTT 3.1.1 and acknowledges."""

    def data_received(self, data: bytes) -> None:
        now = time.time()
        data = self.rest + data
        while (packet := _packet(data)) is not None:
            kind, body, data = packet
            if kind >> 4 == 9:
                self.ready.set_result(None)
            elif kind >> 4 == 3:
                at = 2 + int.from_bytes(body[:2], "big")
                self.transport.write(b"\x40\x02" + body[at : at + 2])
                if match := MQTT_ALERT.search(body):
                    self.receipts.append((match[1].decode(), now))
        self.rest = data


def sse_request(port: int) -> bytes:
    """HTTP/1.0, so that the answer comes as it is and not in chunks."""
    return f"GET /events HTTP/1.0\r\nHost: 127.0.0.1:{port}\r\n\r\n".encode()


def mqtt_request(name: str, topic: str) -> bytes:
    """CONNECT, and SUBSCRIBE at QoS 1."""
    head = b"\x00\x04MQTT\x04\x02\x00\x00" + len(name).to_bytes(2, "big") + name.encode()
    body = b"\x00\x01" + len(topic).to_bytes(2, "big") + topic.encode() + b"\x01"
    return b"\x10" + bytes([len(head)]) + head + b"\x82" + bytes([len(body)]) + body


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


def _stalled(port: int, request: bytes) -> socket.socket:
    stalled = socket.socket()
    stalled.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, STALLED_BUFFER)
    stalled.connect(("127.0.0.1", port))
    stalled.sendall(request)
    return stalled


async def main(plan: Plan) -> None:
    """Subscribe, listen until standard input ends, tell."""
    loop = asyncio.get_running_loop()
    requests = [mqtt_request(f"fan-out-{number}", plan.mqtt_topic) for number in range(plan.mqtt)]
    silent = [_stalled(plan.console_port, sse_request(plan.console_port)) for _ in range(plan.stalled)]
    silent += [_stalled(plan.mqtt_port, request) for request in requests[: plan.stalled]]
    found: dict[str, Receipts] = {"sse": [], "mqtt": []}
    reading: dict[str, Sequence[Client]] = {
        "sse": [
            SseClient(sse_request(plan.console_port), found["sse"]) for _ in range(plan.subscribers - plan.stalled)
        ],
        "mqtt": [MqttClient(request, found["mqtt"]) for request in requests[plan.stalled :]],
    }
    for kind, port in (("sse", plan.console_port), ("mqtt", plan.mqtt_port)):
        for client in reading[kind]:
            await loop.create_connection(lambda one=client: one, "127.0.0.1", port)  # type: ignore[misc]
    await asyncio.gather(*(client.ready for clients in reading.values() for client in clients))
    print("ready", flush=True)
    await asyncio.to_thread(sys.stdin.read)
    lost = {kind: sum(client.lost for client in clients) for kind, clients in reading.items()}
    for one in silent:
        one.close()
    print(orjson.dumps({"receipts": found, "lost": lost}).decode(), flush=True)


if __name__ == "__main__":
    uvloop.run(main(msgspec.json.decode(sys.argv[1], type=Plan)))
