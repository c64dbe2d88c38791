"""A client of the console's server-sent events, as small as one can be: for measuring when an alert arrives."""

from __future__ import annotations

import asyncio
import time
from typing import Any, NamedTuple

import orjson

LINE_LIMIT = 64 * 1024 * 1024


class Receipt(NamedTuple):
    """One alert record as it came, and when (s since the epoch)."""

    received_at: float
    alert: dict[str, Any]


class AlertListener:
    """Listens on `/events` with a named token until cancelled and keeps every alert. `connected` is set once the stream
    stands."""

    def __init__(self, host: str, port: int, token: str) -> None:
        self.host = host
        self.port = port
        self._token = token
        self.receipts: list[Receipt] = []
        self.connected = asyncio.Event()

    async def run(self) -> None:
        """Read the stream to its end; raises `OSError` where it cannot be opened or breaks."""
        reader, writer = await asyncio.open_connection(self.host, self.port, limit=LINE_LIMIT)
        try:
            # HTTP/1.0, so that the answer comes as it is and not in chunks.
            headers = f"Host: {self.host}:{self.port}\r\nAuthorization: Bearer {self._token}\r\n"
            writer.write(f"GET /events?only=alerts HTTP/1.0\r\n{headers}\r\n".encode())
            status = await reader.readline()
            if b" 200 " not in status:
                raise OSError(f"the console answered {status.decode(errors='replace').strip()!r}")
            kind = b""
            while line := await reader.readline():
                if line.startswith(b"event: "):
                    kind = line[7:].strip()
                    if kind == b"reset":
                        self.connected.set()
                elif line.startswith(b"data: ") and kind == b"alert":
                    self.receipts.append(Receipt(time.time(), orjson.loads(line[6:])))
        finally:
            writer.close()
