"""History's rows: what one Kafka record becomes in Parquet. Pure.

One row per record. For `telemetry` every scalar signal of the registry has a column `v_{signal}` (codes by their
number) and its quality `q_{signal}`, null where the reading did not carry it; the whole record stands as JSON in
`value`, so that nothing is left out (waveforms, beats, commands, ticks). `id` is the same for every copy of the same
record.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import cache
from typing import Any, Protocol

import orjson
import pyarrow as pa

from contracts import topics
from contracts.canonical import canonical_hash
from contracts.signals import Signal, default_registry
from stream.processor import SourceRecord

HISTORY_TOPICS = (topics.TELEMETRY, topics.TWIN, topics.ALERTS, topics.JOURNAL)
FILE_ORDER = ("key", "t", "offset")
"""The columns by which files are ordered, so that a patient's rows lie together."""

RECORDS_AT_ONCE = 1000
"""How many records stand as Python objects at a time while they become a table."""

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
_JOURNAL: tuple[tuple[str, pa.DataType], ...] = tuple(
    (name, pa.string()) for name in ("alert", "rule", "priority", "event", "actor")
)
_ABOUT_ALERTS = {topics.ALERTS: _ALERTS, topics.JOURNAL: _JOURNAL}
"""The own columns of topics about alerts: fields of the record, and `alert`, its id."""


class LoggedRecord(SourceRecord, Protocol):
    """The part of a Kafka record that goes into history; aiokafka's `ConsumerRecord` fits."""

    @property
    def topic(self) -> str: ...
    @property
    def partition(self) -> int: ...
    @property
    def timestamp(self) -> int: ...
    @property
    def headers(self) -> Sequence[tuple[str, bytes]]: ...


def signal_columns() -> tuple[Signal, ...]:
    """Signals that have a column of their own."""
    return tuple(signal for signal in default_registry().signals if signal.shape in ("scalar", "code"))


@cache
def _codes() -> dict[str, dict[str, int]]:
    """The codes of every signal that has a column; none for a scalar."""
    return {signal.name: signal.codes for signal in signal_columns()}


@cache
def schema(topic: str) -> pa.Schema:
    """The Parquet schema of a topic's files."""
    fields = [*_COMMON]
    if topic == topics.TELEMETRY:
        fields += _TELEMETRY
        for signal in signal_columns():
            fields += [(f"v_{signal.name}", pa.float64()), (f"q_{signal.name}", pa.float32())]
    else:
        fields += _ABOUT_ALERTS.get(topic, ())
    metadata = {"biotwin.schema": SCHEMA_VERSION, "biotwin.topic": topic}
    return pa.schema([pa.field(name, kind) for name, kind in fields], metadata=metadata)


def _row(record: LoggedRecord) -> dict[str, Any]:
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
    elif record.topic in _ABOUT_ALERTS:
        found |= {name: _text(body.get(name)) for name, _ in _ABOUT_ALERTS[record.topic] if name != "alert"}
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
        qualities = quality if isinstance(quality, dict) else {}
        codes_of = _codes()
        for name, value in values.items():
            codes = codes_of.get(name)
            if codes is None:
                continue
            number = codes.get(value) if isinstance(value, str) else _number(value)
            if number is not None:
                found[f"v_{name}"] = float(number)
                found[f"q_{name}"] = _number(qualities.get(name))
    return found


def _number(value: Any) -> float | None:
    return float(value) if isinstance(value, int | float) and not isinstance(value, bool) else None


def _text(value: Any) -> str | None:
    return value if isinstance(value, str) else None


def table(topic: str, records: Sequence[LoggedRecord]) -> pa.Table:
    """One row for each record of `topic`, in the topic's schema and in the order of files."""
    blocks = [records[start : start + RECORDS_AT_ONCE] for start in range(0, len(records), RECORDS_AT_ONCE)]
    return ordered(pa.concat_tables([schema(topic).empty_table(), *(_block(schema(topic), block) for block in blocks)]))


def _block(shape: pa.Schema, records: Sequence[LoggedRecord]) -> pa.Table:
    columns: dict[str, list[Any]] = {}
    for place, record in enumerate(records):
        for name, value in _row(record).items():
            column = columns.get(name)
            if column is None:
                column = columns[name] = [None] * len(records)
            column[place] = value
    # Most signals are missing from most blocks, and Arrow makes a column of nulls without looking at a value.
    arrays = [
        pa.array(columns[field.name], field.type) if field.name in columns else pa.nulls(len(records), field.type)
        for field in shape
    ]
    return pa.Table.from_arrays(arrays, schema=shape)


def ordered(rows: pa.Table) -> pa.Table:
    """Rows in the order in which files keep them."""
    return rows.sort_by([(name, "ascending") for name in FILE_ORDER])
