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
    """Listens on `/events` until cancelled and keeps every alert. `connected` is set once the stream stands; `run`
    again goes on behind the last event, as a browser does."""

    def __init__(self, host: str, port: int) -> None:
        self.host = host
        self.port = port
        self.receipts: list[Receipt] = []
        self.connected = asyncio.Event()
        self._last_id = ""

    async def run(self) -> None:
        """Read the stream to its end; raises `OSError` where it cannot be opened or breaks."""
        reader, writer = await asyncio.open_connection(self.host, self.port, limit=LINE_LIMIT)
        try:
            # HTTP/1.0, so that the answer comes as it is and not in chunks.
            headers = f"Host: {self.host}:{self.port}\r\n"
            seen = f"Last-Event-ID: {self._last_id}\r\n" if self._last_id else ""
            writer.write(f"GET /events?only=alerts HTTP/1.0\r\n{headers}{seen}\r\n".encode())
            status = await reader.readline()
            if b" 200 " not in status:
                raise OSError(f"the console answered {status.decode(errors='replace').strip()!r}")
            kind, event_id = b"", ""
            while line := await reader.readline():
                if line.startswith(b"event: "):
                    kind = line[7:].strip()
                    if kind == b"reset":
                        self.connected.set()
                elif line.startswith(b"id: "):
                    event_id = line[4:].decode().strip()
                elif not line.strip() and event_id:
                    self._last_id, event_id = event_id, ""
                elif line.startswith(b"data: ") and kind == b"alert":
                    self.receipts.append(Receipt(time.time(), orjson.loads(line[6:])))
        finally:
            writer.close()
