"""Server-sent events: each client is a cursor into the ward, not a queue.

Events are `reset` (everything; forget what you have), `rows` (rows that changed), `alert` (one record of topic
`alerts`, as written) and `status` (clock and health of the source, every two seconds, without an id). A client that
reads slowly gets the newest row instead of every row; one that stops reading is dropped; neither costs memory or time
of any other. What is the same for several clients is encoded once. An id names the last row change and, by partition,
the next alert offset: `Last-Event-ID` resumes from it without loss, after a restart of the console too, and where that
is no longer possible with a `reset`.
"""

from __future__ import annotations

import asyncio
import re
import time
from collections import Counter
from collections.abc import AsyncGenerator, Awaitable, Callable, Iterable
from contextlib import aclosing
from secrets import token_hex
from typing import Any, NamedTuple, Protocol

import orjson
import structlog
from starlette.types import Receive, Scope, Send

from alerts.console.roles import EVERYTHING, Lens
from alerts.console.ward import LoggedAlert, Ward
from contracts.metrics import ProcessMetrics

ROWS_INTERVAL_S = 1.0
STATUS_INTERVAL_S = 2.0
HELD_INTERVAL_S = 5.0
HELD_SHARES = 50
SEND_TIMEOUT_S = 20.0
RETRY_MS = 1_000

log = structlog.get_logger(__name__)

_ID = re.compile(r"([0-9a-f]{8})-(\d{1,15})-([0-9]{1,15}(?:\.[0-9]{1,15}){0,1023})?")


_STATION = re.compile(r"[a-z0-9][a-z0-9-]{0,31}")


class Source(Protocol):
    """What the streams need to know of the feed."""

    @property
    def up(self) -> bool: ...

    @property
    def loaded(self) -> bool: ...


class _Step(NamedTuple):
    """What a client gets, the alerts in it, and where it stands then."""

    chunk: bytes
    alerts: list[LoggedAlert]
    number: int
    offsets: tuple[tuple[int, int], ...]


class Streams:
    """The open streams of one console.

    Call `changed()` after the ward changed and `close()` to end every stream. `clock` gives Unix time (s).
    """

    def __init__(
        self, ward: Ward, source: Source, metrics: ProcessMetrics, clock: Callable[[], float] = time.time
    ) -> None:
        self.ward = ward
        self.source = source
        self.boot = token_hex(4)
        self._clock = clock
        self._closed = False
        self._watched = 0
        self._wake: set[asyncio.Event] = set()
        self._stations: Counter[str] = Counter()
        self._shared: dict[tuple[Any, ...], _Step] = {}
        self._shared_at = (-1, -1)
        self._clients = metrics.gauge("biotwin_console_clients")
        self._delay = metrics.histogram("biotwin_alert_to_delivered_seconds").labels("sse")
        self._delivered = metrics.counter("biotwin_alerts_delivered_total").labels("sse")

    def shared(self, key: tuple[Any, ...], make: Callable[[], _Step]) -> _Step:
        """What `make` gives, once for all clients that stand at the same place while the ward stays as it is."""
        now = self.ward.number, self.ward.serial
        if now != self._shared_at:
            self._shared_at = now
            self._shared.clear()
        found = self._shared.get(key)
        if found is None:
            found = self._shared[key] = make()
        return found

    def changed(self) -> None:
        """Wakes every stream."""
        for event in self._wake:
            event.set()

    def close(self) -> None:
        """Ends every stream; later ones end at once."""
        self._closed = True
        self.changed()

    def stations(self) -> set[str]:
        """The places whose browsers listen now, of those that say where they stand."""
        return set(self._stations)

    async def events(
        self,
        last_id: str = "",
        patient: str = "",
        *,
        rows: bool = True,
        station: str = "",
        lens: Lens = EVERYTHING,
        holds: Callable[[], Awaitable[bool]] | None = None,
    ) -> AsyncGenerator[bytes, None]:
        """The stream of one client, chunk by chunk; of one patient where `patient` is given, without rows on demand.

        It shows what `lens` lets through, and ends soon after `holds` says no.
        """
        wake, gone = asyncio.Event(), asyncio.Event()
        watching = asyncio.create_task(self._watch(holds, wake, gone)) if holds is not None else None
        if _STATION.fullmatch(station):
            self._stations[station] += 1
        self._wake.add(wake)
        self._clients.inc()
        try:
            yield f"retry: {RETRY_MS}\n\n".encode() + self._status()
            cursor = _Cursor(self, patient, rows=rows, lens=lens)
            while not self._over(gone) and not self.source.loaded:
                # Else one batch of what is being loaded would let this run round for ever, and nothing else at all.
                wake.clear()
                await _wait(wake, STATUS_INTERVAL_S)
                yield self._status()
            opening, replayed = cursor.open(last_id)
            yield opening
            status_at = rows_at = self._clock()
            while not self._over(gone):
                wake.clear()
                now = self._clock()
                chunk, alerts = cursor.advance(rows=now - rows_at >= ROWS_INTERVAL_S)
                if now - rows_at >= ROWS_INTERVAL_S:
                    rows_at = now
                if now - status_at >= STATUS_INTERVAL_S:
                    status_at = now
                    chunk += self._status()
                if chunk:
                    yield chunk
                    self._observe(alerts, replayed)
                replayed = 0
                pending = cursor.behind()
                await _wait(wake, max(0.0, rows_at + ROWS_INTERVAL_S - now) if pending else status_at + 2.0 - now)
        finally:
            if watching is not None:
                watching.cancel()
            self._wake.discard(wake)
            self._clients.dec()
            self._stations[station] -= 1
            self._stations += Counter()  # those at 0 leave

    async def _watch(self, holds: Callable[[], Awaitable[bool]], wake: asyncio.Event, gone: asyncio.Event) -> None:
        """Sets `gone` when `holds` says no, or cannot say. Beside the stream, so that no alert waits for an answer."""
        self._watched += 1
        try:
            # Many consoles that come back at once would all ask at once.
            pause_s = HELD_INTERVAL_S * (self._watched % HELD_SHARES + 1) / HELD_SHARES
            while True:
                await asyncio.sleep(pause_s)
                pause_s = HELD_INTERVAL_S
                if not await holds():
                    return
        finally:
            gone.set()
            wake.set()

    def _over(self, gone: asyncio.Event) -> bool:
        return self._closed or gone.is_set()

    def _status(self) -> bytes:
        body = {
            "now": self._clock(),
            "kafka": self.source.up,
            "loaded": self.source.loaded,
            "newest_at": self.ward.newest_at,
        }
        return b": heartbeat\nevent: status\ndata: " + orjson.dumps(body) + b"\n\n"

    def _observe(self, alerts: list[LoggedAlert], replayed: int) -> None:
        now = self._clock()
        for alert in alerts[replayed:]:
            self._delay.observe(max(0.0, now - alert.applied_at))
        self._delivered.inc(len(alerts))


class _Cursor:
    """Where one client stands: the number of the last row change, the last alert's serial, the offsets for its id."""

    def __init__(self, streams: Streams, patient: str, *, rows: bool, lens: Lens) -> None:
        self._streams = streams
        self._ward = streams.ward
        self._patient = patient
        self._rows = rows
        self._lens = lens
        self._number = 0
        self._serial = 0
        self._offsets: dict[int, int] = {}
        self._missed: list[LoggedAlert] = []

    def open(self, last_id: str) -> tuple[bytes, int]:
        """The first event (empty where the client can go on) and how many alerts it missed; `advance` sends those."""
        ward = self._ward
        known = parse_id(last_id)
        self._serial = ward.serial
        if known is None:
            return self._reset(), 0
        boot, number, offsets = known
        try:
            missed = ward.alerts_from(offsets)
        except LookupError:
            return self._reset(), 0
        self._offsets = dict(offsets)
        opening = b""
        if boot == self._streams.boot and number <= ward.number:
            self._number = number
        else:
            opening = self._reset(offsets)
        self._missed = self._of_patient(missed)
        return opening, len(self._missed)

    def advance(self, *, rows: bool) -> tuple[bytes, list[LoggedAlert]]:
        """What the client has not seen, and the alerts in it. An alert goes out at once and takes its rows along."""
        ward = self._ward
        if self._missed:
            return self._advance(rows=rows)
        seen = self._patient, self._lens, self._rows, rows
        place = self._serial, self._number, *seen, tuple(self._offsets.items())

        def make() -> _Step:
            chunk, alerts = self._advance(rows=rows)
            return _Step(chunk, alerts, self._number, tuple(self._offsets.items()))

        step = self._streams.shared(place, make)
        self._serial, self._number, self._offsets = ward.serial, step.number, dict(step.offsets)
        return step.chunk, step.alerts

    def _advance(self, *, rows: bool) -> tuple[bytes, list[LoggedAlert]]:
        ward = self._ward
        try:
            alerts = [*self._missed, *self._of_patient(ward.alerts_since(self._serial))]
        except LookupError:
            return self._reset(), []
        self._missed = []
        self._serial = ward.serial
        chunks: list[bytes] = []
        for alert in alerts:
            self._offsets[alert.partition] = alert.offset + 1
            chunks.append(_event("alert", alert.data, self._id()))
        if self._rows and (rows or alerts) and self._number < ward.number:
            changed = ward.rows_since(self._number, self._patient)
            self._number = ward.number
            if changed:
                chunks.append(_event("rows", self._listed(changed), self._id()))
        return b"".join(chunks), alerts

    def behind(self) -> bool:
        """Whether rows wait for their interval."""
        return self._rows and self._number < self._ward.number

    def _reset(self, offsets: dict[int, int] | None = None) -> bytes:
        """Everything. The id stands at `offsets` where alerts before the present are still to follow."""
        ward = self._ward
        self._number = ward.number
        self._serial = ward.serial
        self._offsets = dict(ward.next_offsets if offsets is None else offsets)
        return _event("reset", self._listed(ward.rows(self._patient) if self._rows else []), self._id())

    def _of_patient(self, alerts: Iterable[LoggedAlert]) -> list[LoggedAlert]:
        """Of the patient asked for, and of nobody: a system alarm concerns everyone."""
        return [
            alert
            for alert in alerts
            if (not self._patient or alert.patient in {"", self._patient}) and self._lens.shows(alert.kind)
        ]

    def _listed(self, rows: list[bytes]) -> bytes:
        return b'{"now":%s,"rows":[%s]}' % (orjson.dumps(self._streams._clock()), b",".join(map(self._lens.row, rows)))  # noqa: SLF001

    def _id(self) -> str:
        count = max(self._offsets, default=-1) + 1
        offsets = ".".join(str(self._offsets.get(partition, 0)) for partition in range(count))
        return f"{self._streams.boot}-{self._number}-{offsets}"


def parse_id(text: str) -> tuple[str, int, dict[int, int]] | None:
    """(boot, row number, next alert offset by partition) of an event id; None where it is not one of ours."""
    match = _ID.fullmatch(text)
    if match is None:
        return None
    offsets = (match[3] or "").split(".") if match[3] else []
    return match[1], int(match[2]), {partition: int(offset) for partition, offset in enumerate(offsets)}


def _event(kind: str, data: bytes, event_id: str) -> bytes:
    return b"event: %s\nid: %s\ndata: %s\n\n" % (kind.encode(), event_id.encode(), data)


async def _wait(wake: asyncio.Event, timeout_s: float) -> None:
    """Until `wake` is set, which it is after `timeout_s` at the latest."""
    timer = asyncio.get_running_loop().call_later(max(0.0, timeout_s), wake.set)
    try:
        await wake.wait()
    finally:
        timer.cancel()


class EventStreamResponse:
    """Sends a stream; a client that takes nothing for `SEND_TIMEOUT_S` is dropped, and may come back with its id."""

    def __init__(self, stream: AsyncGenerator[bytes, None]) -> None:
        self._stream = stream

    async def __call__(self, _scope: Scope, receive: Receive, send: Send) -> None:
        headers = [(b"content-type", b"text/event-stream; charset=utf-8"), (b"x-accel-buffering", b"no")]
        await send({"type": "http.response.start", "status": 200, "headers": headers})
        sending = asyncio.create_task(self._send(send))
        leaving = asyncio.create_task(_disconnected(receive))
        try:
            await asyncio.wait({sending, leaving}, return_when=asyncio.FIRST_COMPLETED)
        finally:
            for task in (sending, leaving):
                task.cancel()
            results = await asyncio.gather(sending, leaving, return_exceptions=True)
        for result in results:
            if isinstance(result, BaseException) and not isinstance(result, asyncio.CancelledError | OSError):
                raise result

    @staticmethod
    def _drop(sending: asyncio.Task[None] | None) -> None:
        log.warning("client_dropped", reason=f"it took nothing for {SEND_TIMEOUT_S:g} s")
        if sending is not None:
            sending.cancel()

    async def _send(self, send: Send) -> None:
        loop, task = asyncio.get_running_loop(), asyncio.current_task()
        async with aclosing(self._stream) as chunks:
            async for chunk in chunks:
                timer = loop.call_later(SEND_TIMEOUT_S, self._drop, task)
                try:
                    await send({"type": "http.response.body", "body": chunk, "more_body": True})
                finally:
                    timer.cancel()
        await send({"type": "http.response.body", "body": b"", "more_body": False})


async def _disconnected(receive: Receive) -> None:
    while (await receive())["type"] != "http.disconnect":
        pass
