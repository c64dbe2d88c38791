"""History's rows: what one Kafka record becomes in Parquet. Pure.

One row per record. For `telemetry` every scalar signal of the registry has a column `v_{signal}` (codes by their
number) and its quality `q_{signal}`, null where the reading did not carry it; the whole record stands as JSON in
`value`, so that nothing is left out (waveforms, beats, commands, ticks). `id` is the same for every copy of the same
record.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from functools import cache
from typing import Any, Protocol

import orjson
import pyarrow as pa

from contracts import topics
from contracts.canonical import canonical_hash
from contracts.signals import Signal, default_registry

HISTORY_TOPICS = (topics.TELEMETRY, topics.TWIN, topics.ALERTS)
READING_ID_HEADER = "ce_id"
SCHEMA_VERSION = "1"

_COMMON: tuple[tuple[str, pa.DataType], ...] = (
    ("partition", pa.int32()),
    ("offset", pa.int64()),
    ("id", pa.string()),
    ("key", pa.string()),
    ("kind", pa.string()),
    ("t", pa.float64()),
    ("received_at", pa.float64()),
    ("logged_at", pa.float64()),
    ("value", pa.string()),
)
_TELEMETRY: tuple[tuple[str, pa.DataType], ...] = (
    ("device", pa.string()),
    ("stream", pa.string()),
    ("session", pa.string()),
    ("seq", pa.int64()),
)
_ALERTS: tuple[tuple[str, pa.DataType], ...] = tuple(
    (name, pa.string()) for name in ("alert", "rule", "priority", "state", "transition", "stage")
)


class LoggedRecord(Protocol):
    """The part of a Kafka record that goes into history; aiokafka's `ConsumerRecord` fits."""

    @property
    def topic(self) -> str: ...
    @property
    def partition(self) -> int: ...
    @property
    def offset(self) -> int: ...
    @property
    def timestamp(self) -> int: ...
    @property
    def key(self) -> bytes | None: ...
    @property
    def value(self) -> bytes | None: ...
    @property
    def headers(self) -> Sequence[tuple[str, bytes]]: ...


def signal_columns() -> tuple[Signal, ...]:
    """Signals that have a column of their own."""
    return tuple(signal for signal in default_registry().signals if signal.shape in ("scalar", "code"))


@cache
def schema(topic: str) -> pa.Schema:
    """The Parquet schema of a topic's files."""
    fields = [*_COMMON]
    if topic == topics.TELEMETRY:
        fields += _TELEMETRY
        for signal in signal_columns():
            fields += [(f"v_{signal.name}", pa.float64()), (f"q_{signal.name}", pa.float32())]
    elif topic == topics.ALERTS:
        fields += _ALERTS
    metadata = {"biotwin.schema": SCHEMA_VERSION, "biotwin.topic": topic}
    return pa.schema([pa.field(name, kind) for name, kind in fields], metadata=metadata)


def row(record: LoggedRecord) -> dict[str, Any]:
    """One row; columns that do not apply are left out. Total: bytes that are no JSON object become `unreadable`."""
    text = (record.value or b"").decode("utf-8", "replace")
    try:
        body = orjson.loads(record.value or b"")
    except orjson.JSONDecodeError:
        body = None
    found: dict[str, Any] = {
        "partition": record.partition,
        "offset": record.offset,
        "key": None if record.key is None else record.key.decode("utf-8", "replace"),
        "logged_at": record.timestamp / 1000.0,
        "value": text,
    }
    if not isinstance(body, dict):
        kind = "deleted" if record.value is None else "unreadable"
        return found | {"id": f"{record.partition}-{record.offset}", "kind": kind}
    found |= _described(record, body)
    if record.topic == topics.TELEMETRY:
        found |= _reading(body)
    elif record.topic == topics.ALERTS:
        found |= {name: _text(body.get(name)) for name, _ in _ALERTS if name != "alert"}
        found["alert"] = _text(body.get("id"))
    return found


def _described(record: LoggedRecord, body: dict[str, Any]) -> dict[str, Any]:
    """What every record has: its kind, its times and an id that a repeat of it has too."""
    kind = _text(body.get("kind")) or record.topic
    received_at = _number(body.get("received_at"))
    identity = next((value.decode() for name, value in record.headers if name == READING_ID_HEADER), None)
    t = _number(body.get("t"))
    if kind == "command" and isinstance(body.get("command"), dict):
        t = _number(body["command"].get("t"))
        identity = canonical_hash(body["command"])
    elif kind == "tick":
        identity = f"{record.partition}-{record.offset}"
    if received_at is None and isinstance(body.get("provenance"), dict):
        received_at = _number(body["provenance"].get("received_at"))
    return {"id": identity or canonical_hash(body), "kind": kind, "t": t, "received_at": received_at}


def _reading(body: dict[str, Any]) -> dict[str, Any]:
    if body.get("kind") != "reading":
        return {}
    sequence = body.get("seq")
    found: dict[str, Any] = {
        "device": _text(body.get("device")),
        "stream": _text(body.get("stream")),
        "session": _text(body.get("session")),
        "seq": sequence if isinstance(sequence, int) and -(2**63) <= sequence < 2**63 else None,
    }
    values, quality = body.get("v"), body.get("q")
    if isinstance(values, dict):
        registry = default_registry()
        for name, value in values.items():
            if name not in registry:
                continue
            signal = registry[name]
            number = signal.codes.get(value) if isinstance(value, str) else _number(value)
            if signal.shape in ("scalar", "code") and number is not None:
                found[f"v_{name}"] = float(number)
                found[f"q_{name}"] = _number(quality.get(name)) if isinstance(quality, dict) else None
    return found


def _number(value: Any) -> float | None:
    return float(value) if isinstance(value, int | float) and not isinstance(value, bool) else None


def _text(value: Any) -> str | None:
    return value if isinstance(value, str) else None


def table(topic: str, rows: Iterable[Mapping[str, Any]]) -> pa.Table:
    """Rows as a table in the topic's schema, ordered by key and measured time so that a patient's rows lie together."""
    return ordered(pa.Table.from_pylist([dict(each) for each in rows], schema=schema(topic)))


def ordered(rows: pa.Table) -> pa.Table:
    """Rows in the order in which files keep them."""
    return rows.sort_by([("key", "ascending"), ("t", "ascending"), ("offset", "ascending")])
