"""Receivers of alerts over HTTP, SMTP, MLLP and MQTT, on loopback.

As a program (`python -m loadtest.receivers CHANNEL PORT FILE`) one writes a line for each notification to the file
before it acknowledges it, so that it can be killed at any point. Over MQTT, `mqtt:TOPIC` is the channel, the port that
of the broker, and the session one that outlives the process. Mail needs aiosmtpd, which `make setup` installs.
"""

from __future__ import annotations

import asyncio
import ssl
import sys
import threading
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import asynccontextmanager
from pathlib import Path
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, NamedTuple

import orjson
import paho.mqtt.client as paho
from paho.mqtt.enums import CallbackAPIVersion
from paho.mqtt.packettypes import PacketTypes
from paho.mqtt.properties import Properties

from alerts.delivery.mllp.framing import frame, read_frame

if TYPE_CHECKING:
    from aiosmtpd.smtp import Envelope

MQTT_SESSION_S = 3600
"""How long the broker keeps what comes while an MQTT receiver is away."""


class Request(NamedTuple):
    """One POST; the names of headers are in lower case."""

    headers: dict[str, str]
    body: bytes


class Reply(NamedTuple):
    """What an HTTP receiver answers."""

    status: int = 204
    headers: Mapping[str, str] = MappingProxyType({})
    body: bytes = b""


Answer = Callable[[Request], Awaitable[Reply]]


@asynccontextmanager
async def http_receiver(answer: Answer, port: int = 0, tls: ssl.SSLContext | None = None) -> AsyncIterator[int]:
    """Answers POSTs; gives the port."""

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            while True:
                head = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1").split("\r\n")
                headers = {name.lower(): value.strip() for name, _, value in (line.partition(":") for line in head[1:])}
                body = await reader.readexactly(int(headers.get("content-length", "0")))
                reply = await answer(Request(headers, body))
                fields = {"Content-Length": str(len(reply.body)), **reply.headers}
                lines = [f"HTTP/1.1 {reply.status} x", *(f"{name}: {value}" for name, value in fields.items())]
                writer.write("\r\n".join([*lines, "", ""]).encode() + reply.body)
                await writer.drain()
        except (OSError, EOFError, asyncio.CancelledError):
            writer.close()

    async with await asyncio.start_server(serve, "127.0.0.1", port, ssl=tls) as server:
        yield server.sockets[0].getsockname()[1]


def acknowledgement(message: bytes, code: str = "AA") -> bytes:
    """The ACK of one HL7 message."""
    number = message.decode().split("\r")[0].split("|")[9]
    return f"MSH|^~\\&|TEST||BIOTWIN||20260101||ACK^R40^ACK|1|P|2.6\rMSA|{code}|{number}\r".encode()


Hear = Callable[[bytes, asyncio.StreamWriter], Awaitable[None]]


@asynccontextmanager
async def mllp_receiver(hear: Hear, port: int = 0, tls: ssl.SSLContext | None = None) -> AsyncIterator[int]:
    """Hands each message and its connection to `hear`; gives the port."""

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            while True:
                await hear(await read_frame(reader), writer)
        except (OSError, EOFError, asyncio.CancelledError):
            writer.close()

    async with await asyncio.start_server(serve, "127.0.0.1", port, ssl=tls) as server:
        yield server.sockets[0].getsockname()[1]


class Mailbox:
    """A handler of aiosmtpd; `reply` is what DATA is answered with once `take` has the mail."""

    def __init__(self, take: Callable[[Envelope], None]) -> None:
        self._take = take
        self.reply = "250 OK"

    async def handle_DATA(self, _server: Any, _session: Any, envelope: Envelope) -> str:  # noqa: N802 - aiosmtpd's name
        if self.reply.startswith("250"):
            self._take(envelope)
        return self.reply


@asynccontextmanager
async def smtp_receiver(mailbox: Mailbox, port: int, **options: Any) -> AsyncIterator[None]:
    """An SMTP server on loopback; `options` are aiosmtpd's (tls_context, auth_required)."""
    from aiosmtpd.smtp import SMTP  # noqa: PLC0415 - of what is installed for development only

    loop = asyncio.get_running_loop()
    server = await loop.create_server(lambda: SMTP(mailbox, loop=loop, **options), "127.0.0.1", port)
    async with server:
        yield


def subscribe(topic: str, port: int, write: Callable[[str], None]) -> None:
    """Take messages of the topic at QoS 1 until killed, each acknowledged once it is written."""

    def take(_client: paho.Client, _data: Any, message: paho.MQTTMessage) -> None:
        write(message.payload.decode())

    def connected(client: paho.Client, *_: Any) -> None:
        client.subscribe(topic, qos=1)

    client = paho.Client(CallbackAPIVersion.VERSION2, "receiver", protocol=paho.MQTTv5)
    client.on_message = take
    client.on_connect = connected
    kept = Properties(PacketTypes.CONNECT)  # type: ignore[no-untyped-call]
    kept.SessionExpiryInterval = MQTT_SESSION_S
    client.connect("127.0.0.1", port, clean_start=False, properties=kept)
    client.loop_start()
    threading.Event().wait()


async def main(channel: str, port: int, file: Path) -> None:
    """Receive until killed."""
    with file.open("a") as out:

        def write(line: str) -> None:
            out.write(line + "\n")
            out.flush()

        async def post(request: Request) -> Reply:
            if "idempotency-key" in request.headers:  # FHIR's handshakes and heartbeats have none
                write(request.headers["idempotency-key"] + " " + request.body.decode())
            return Reply()

        async def hear(message: bytes, writer: asyncio.StreamWriter) -> None:
            write(message.decode().replace("\r", " "))
            writer.write(frame(acknowledgement(message)))
            await writer.drain()

        def mail(envelope: Envelope) -> None:
            write(orjson.dumps((envelope.original_content or b"").decode()).decode())

        if channel.startswith("mqtt:"):
            await asyncio.to_thread(subscribe, channel.removeprefix("mqtt:"), port, write)
        elif channel in {"webhook", "fhir"}:
            async with http_receiver(post, port):
                await asyncio.Event().wait()
        elif channel == "mllp":
            async with mllp_receiver(hear, port):
                await asyncio.Event().wait()
        else:
            async with smtp_receiver(Mailbox(mail), port):
                await asyncio.Event().wait()


if __name__ == "__main__":
    asyncio.run(main(sys.argv[1], int(sys.argv[2]), Path(sys.argv[3])))
