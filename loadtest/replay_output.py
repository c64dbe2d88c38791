"""What `biotwin replay` writes: five files in canonical form, the same bytes whichever way the records went.

`conditions.jsonl` and `alerts.jsonl` hold provisional and settled records, `journal.jsonl` the transitions of alerts'
signals, one transition a line, in the order (t, patient, rule, id, sequence, text); `twins.jsonl` the last settled
state of each twin by patient; `quarantine.jsonl` what was refused or waits, by id, with `released` where it waits no
more. `provenance` is left out, and of a record that came more than once one line stands.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import orjson

from contracts import topics
from contracts.canonical import canonical_bytes
from stream.twin_record import LIVE, RECEIVED_AT

FILES: dict[str, str] = {
    topics.CONDITIONS: "conditions.jsonl",
    topics.ALERTS: "alerts.jsonl",
    topics.JOURNAL: "journal.jsonl",
    topics.TWIN: "twins.jsonl",
    topics.QUARANTINE: "quarantine.jsonl",
}

KeyedValue = tuple[bytes | None, bytes | None]


def journal_lines(values: Iterable[KeyedValue]) -> list[bytes]:
    """Canonical lines of conditions, alerts or signal transitions. What belongs to no patient is left out: system
    alarms tell of the run, not of the file, and what the twin agent passes on stands in the log."""
    found: dict[bytes, tuple[Any, ...]] = {}
    for _, value in values:
        if value is None:
            continue
        record: dict[str, Any] = orjson.loads(value)
        if not record.get("patient"):
            continue
        line = canonical_bytes(record)
        found[line] = (record["t"], record["patient"], record["rule"], record["id"], record.get("sequence", 0), line)
    return sorted(found, key=lambda line: found[line])


def twin_lines(values: Iterable[KeyedValue]) -> list[bytes]:
    """The newest record of each key, by key; a key whose newest record is empty is left out."""
    newest: dict[bytes, bytes | None] = {key: value for key, value in values if key is not None}
    return [_settled_bytes(value) for _, value in sorted(newest.items()) if value is not None]


def _settled_bytes(value: bytes) -> bytes:
    record: dict[str, Any] = orjson.loads(value)
    record.pop(LIVE, None)
    for signal in record.get("signals", {}).values():
        signal.pop(RECEIVED_AT, None)
    return canonical_bytes(record)


def quarantine_lines(values: Iterable[KeyedValue]) -> list[bytes]:
    """One line an id: as it first came, and released if any record says so."""
    found: dict[str, dict[str, Any]] = {}
    for _, value in values:
        if value is None:
            continue
        record: dict[str, Any] = orjson.loads(value)
        known = found.get(record["id"])
        if known is None:
            found[record["id"]] = record
            continue
        first = min(known, record, key=lambda one: (one["received_at"], canonical_bytes(one)))
        released = known.get("released") or record.get("released")
        found[record["id"]] = {**first, "released": True} if released else first
    return [canonical_bytes(found[identity]) for identity in sorted(found)]


def lines_of(topic: str, values: Iterable[KeyedValue]) -> list[bytes]:
    """The canonical lines of one of the topics of `FILES`."""
    if topic == topics.TWIN:
        return twin_lines(values)
    return quarantine_lines(values) if topic == topics.QUARANTINE else journal_lines(values)


def write_files(directory: Path, by_topic: Mapping[str, Iterable[KeyedValue]]) -> dict[str, int]:
    """Write the files; returns the number of lines of each."""
    directory.mkdir(parents=True, exist_ok=True)
    counts: dict[str, int] = {}
    for topic, name in FILES.items():
        lines = lines_of(topic, by_topic.get(topic, ()))
        (directory / name).write_bytes(b"".join(line + b"\n" for line in lines))
        counts[name] = len(lines)
    return counts
