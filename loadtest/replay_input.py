"""What `biotwin replay` reads: recorded payloads and commands, judged in file order into records for the log.

Each line is `{"topic", "payload", "received_at"}` or `{"command": {...}, "received_at"}`. `payload` is a string (the
bytes as UTF-8), an object or array (the bytes are its JSON), or `{"base64": "..."}` for bytes that are no text. Time
comes from `received_at` alone, in s since the epoch, and never falls.

This part is the same whether the log is in memory or in Kafka, so that both get the same records in the same order.
"""

from __future__ import annotations

from base64 import b64decode
from binascii import Error as Base64Error
from collections.abc import Iterable, Iterator, Sequence
from math import floor
from pathlib import Path
from typing import Any, NamedTuple

import msgspec
import orjson
from aiokafka.partitioner import murmur2

from contracts import topics
from contracts.command import Bind
from contracts.configuration import Configuration
from contracts.quarantine import Quarantined, Reason
from contracts.reading import Tick
from contracts.signals import default_registry
from deploy.errors import UserError
from ingest.bindings import BindingTable
from ingest.core import IngestCore, held_reading
from stream.router import RECEIVED_AT_HEADER, RouterProcessor

CLOSING_S = 15
"""Seconds of ticks after the last line."""

EVERY_SECOND_S = 1200
"""A gap in the file gets one tick for each whole second up to this long; silence is noticed well within it."""

LONG_GAP_STEP_S = 60
"""What lies beyond gets one tick a minute, and one for the gap's last second."""


class ReplayError(UserError):
    """A line that cannot be replayed; the text names file and line."""


class Line(NamedTuple):
    """One line. `payload` None: a command, whose JSON is in `command`."""

    received_at: float
    topic: str
    payload: bytes | None
    command: bytes


class Record(NamedTuple):
    """One record for topic `topic` (`telemetry` or `telemetry.quarantine`), its partition decided."""

    topic: str
    partition: int
    key: bytes | None
    value: bytes
    headers: tuple[tuple[str, bytes], ...] = ()


def partition_of(key: bytes, partitions: int) -> int:
    """The partition that Kafka's own producer chooses."""
    return int((murmur2(key) & 0x7FFF_FFFF) % partitions)


def read_lines(paths: Sequence[Path]) -> Iterator[Line]:
    """The lines of the files, one file after the other. Raises `ReplayError` naming file and line."""
    latest = float("-inf")
    for path in paths:
        try:
            with path.open("rb") as file:
                for number, text in enumerate(file, start=1):
                    if not text.strip():
                        continue
                    line = _parse(text, f"{path}, line {number}")
                    if line.received_at < latest:
                        raise ReplayError(
                            f"{path}, line {number}: received_at {line.received_at} lies before {latest} of a line "
                            "above it; arrival time never falls"
                        )
                    latest = line.received_at
                    yield line
        except OSError as error:
            raise ReplayError(f"{path}: {error.strerror or error}") from error


def _parse(text: bytes, place: str) -> Line:
    try:
        document: Any = orjson.loads(text)
    except orjson.JSONDecodeError as error:
        raise ReplayError(f"{place}: not JSON ({error})") from error
    if not isinstance(document, dict):
        raise ReplayError(f"{place}: an object is wanted")
    received_at: Any = document.get("received_at")
    if type(received_at) not in (int, float):
        raise ReplayError(f"{place}: `received_at` is missing or no number (s since the epoch)")
    if "command" in document:
        return Line(float(received_at), "", None, orjson.dumps(document["command"]))
    topic = document.get("topic")
    if not isinstance(topic, str) or "payload" not in document:
        raise ReplayError(f"{place}: `topic` and `payload`, or `command`, are wanted")
    return Line(float(received_at), topic, _payload_bytes(document["payload"], place), b"")


def _payload_bytes(payload: Any, place: str) -> bytes:
    if isinstance(payload, str):
        return payload.encode("utf-8", "surrogatepass")
    if isinstance(payload, dict) and payload.keys() == {"base64"}:
        try:
            return b64decode(payload["base64"], validate=True)
        except (Base64Error, TypeError, ValueError) as error:
            raise ReplayError(f"{place}: `base64` cannot be read ({error})") from error
    return orjson.dumps(payload)


def ticks_between(latest: float, received_at: float) -> Iterator[float]:
    """Times of the ticks for what lies between two lines: each whole second in (latest, received_at]; in a gap longer
    than `EVERY_SECOND_S` from there on one a minute, and the last whole second."""
    first, last = floor(latest) + 1, floor(received_at)
    dense = min(last, first + EVERY_SECOND_S - 1)
    yield from (float(second) for second in range(first, dense + 1))
    if dense < last:
        yield from (float(second) for second in range(dense + LONG_GAP_STEP_S, last, LONG_GAP_STEP_S))
        yield float(last)


class _Command(NamedTuple):
    """A command as the router meets it in Kafka."""

    offset: int
    key: bytes | None
    value: bytes
    headers: tuple[tuple[str, bytes], ...]


class Intake:
    """Ingest, router, releaser and ticks in one, driven by lines instead of a network.

    Bind commands take effect, and release the readings that waited for them, at the line on which they stand.
    """

    def __init__(self, configuration: Configuration) -> None:
        self._partitions = configuration.kafka.partitions
        self._site = configuration.site
        self._bindings = BindingTable()
        self._core = IngestCore(default_registry(), configuration.ingest, configuration.site, self._bindings)
        self._router = RouterProcessor(self._bindings)
        self._commands = 0
        self._waiting: dict[str, dict[str, Quarantined]] = {}
        self._latest: float | None = None

    def records(self, lines: Iterable[Line]) -> Iterator[Record]:
        """Everything that goes into the log for these lines, ticks and closing ticks with it."""
        for line in lines:
            yield from self.take(line)
        if self._latest is not None:
            first = floor(self._latest) + 1
            yield from self._ticks(float(first + second) for second in range(CLOSING_S))
            yield from self._closing(float(first + CLOSING_S))

    def take(self, line: Line) -> Iterator[Record]:
        """What one line puts into the log, the ticks before it with it."""
        if self._latest is not None:
            yield from self._ticks(ticks_between(self._latest, line.received_at))
        self._latest = line.received_at
        yield from self._command(line) if line.payload is None else self._payload(line, line.payload)

    def _ticks(self, times: Iterable[float]) -> Iterator[Record]:
        for t in times:
            value = msgspec.json.encode(Tick(t))
            for partition in range(self._partitions):
                yield Record(topics.TELEMETRY, partition, None, value)

    def _closing(self, t: float) -> Iterator[Record]:
        """The tick that says that nothing more will come: everything settles."""
        value = msgspec.json.encode(Tick(t, closing=True))
        for partition in range(self._partitions):
            yield Record(topics.TELEMETRY, partition, None, value)

    def _payload(self, line: Line, payload: bytes) -> Iterator[Record]:
        outcome = self._core.take(line.topic, payload, line.received_at)
        for accepted in outcome.accepted:
            partition = partition_of(accepted.key, self._partitions)
            yield Record(topics.TELEMETRY, partition, accepted.key, accepted.value, accepted.headers)
        status = outcome.status
        if status is not None and status.key is not None:
            yield Record(topics.TELEMETRY, partition_of(status.key, self._partitions), status.key, status.value)
        for refused in outcome.quarantined:
            if refused.reason is Reason.UNBOUND_DEVICE:
                self._waiting.setdefault(refused.device, {}).setdefault(refused.id, refused)
            yield self._quarantine(refused)

    def _quarantine(self, record: Quarantined) -> Record:
        key = record.device.encode() or None
        partition = 0 if key is None else partition_of(key, self._partitions)
        return Record(topics.QUARANTINE, partition, key, msgspec.json.encode(record))

    def _command(self, line: Line) -> Iterator[Record]:
        self._commands += 1
        headers = ((RECEIVED_AT_HEADER, repr(line.received_at).encode()),)
        routed = self._router.process([_Command(self._commands, None, line.command, headers)], line.received_at)
        for output in routed:
            if output.topic not in {topics.BINDINGS, topics.ON_CALL} and output.value is not None:
                partition = 0 if output.key is None else partition_of(output.key, self._partitions)
                yield Record(output.topic, partition, output.key, output.value)
        yield from self._release(line)

    def _release(self, line: Line) -> Iterator[Record]:
        """Readings whose device is bound by now at the time of measurement, in the order in which they came."""
        try:
            command = msgspec.json.decode(line.command, type=Bind)
        except msgspec.DecodeError:
            return
        waiting = self._waiting.get(command.device, {})
        for held in list(waiting.values()):
            patient = None if held.t is None else self._bindings.lookup(held.device, held.t)
            if patient is None:
                continue
            del waiting[held.id]
            accepted = held_reading(held, patient, self._site)
            partition = partition_of(accepted.key, self._partitions)
            yield Record(topics.TELEMETRY, partition, accepted.key, accepted.value, accepted.headers)
            yield self._quarantine(msgspec.structs.replace(held, released=True))
