"""The alert agent's processor: conditions of one partition in, alerts out. Pure; it holds no decision of its own."""

from __future__ import annotations

from collections.abc import Sequence

import msgspec
import orjson

from alerts.rules import RuleSet
from alerts.step import PatientAlerts, step
from contracts.condition import Alert, Condition, Provenance, to_builtins
from contracts.configuration import Configuration
from contracts.identity import identity_text, text_identity
from contracts.quarantine import Quarantined, Reason, encode_raw
from contracts.topics import ALERTS, CONDITIONS, QUARANTINE
from stream.processor import Block, OutputRecord, SourceRecord, StateVersionError

BLOCK_ROWS = 64
"""Rows of one block of a checkpoint."""

STATE_VERSION = 1
"""Version of the blocks' schema: the first byte of each payload."""


class _Row(msgspec.Struct, array_like=True):
    """One patient; `fence` is the offset of the next condition to apply."""

    patient: str
    fence: int
    alerts: PatientAlerts


class AlertProcessor:
    """Folds the conditions of one partition; see `stream.processor.PartitionProcessor`.

    A patient keeps the row number it got first, so that a block's number and its rows belong together for good.
    `configuration` is taken as every processor takes it; nothing in it bears on alerts yet.
    """

    def __init__(self, configuration: Configuration, partition: int, rules: RuleSet) -> None:  # noqa: ARG002
        self._partition = partition
        self._rules = rules
        self._rows: list[_Row] = []
        self._row_of: dict[str, int] = {}
        self._position = 0
        self._changed: set[int] = set()
        self._block_bytes: dict[int, int] = {}
        self._decoder = msgspec.json.Decoder(Condition)
        self._block_decoder = msgspec.msgpack.Decoder(list[_Row])
        self._counts = dict.fromkeys(
            ("records", "applied", "late", "duplicates", "quarantined", "fence_skips", "provisional_withdrawn"), 0
        )

    def process(self, records: Sequence[SourceRecord], now: float) -> list[OutputRecord]:
        """Alerts for `records` (topic `conditions`, in offset order); a record that is no condition is quarantined."""
        output: list[OutputRecord] = []
        for record in records:
            self._counts["records"] += 1
            try:
                condition = self._decoder.decode(record.value or b"")
            except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
                output.append(self._refused(record, str(error)))
            else:
                output.extend(self._fold(condition, record.offset, now))
            self._position = max(self._position, record.offset + 1)
        return output

    def flush(self, now: float) -> list[OutputRecord]:  # noqa: ARG002
        """Nothing is ever held back."""
        return []

    def changed_blocks(self) -> list[Block]:
        """Changed blocks. Every condition below the newest offset is in the rows, so their fences rise to it."""
        blocks: list[Block] = []
        for number in sorted(self._changed):
            rows = self._rows[number * BLOCK_ROWS : (number + 1) * BLOCK_ROWS]
            for row in rows:
                row.fence = max(row.fence, self._position)
            payload = bytes((STATE_VERSION,)) + msgspec.msgpack.encode(rows)
            self._block_bytes[number] = len(payload)
            blocks.append(Block(number, min(row.fence for row in rows), payload))
        self._changed.clear()
        return blocks

    def load_block(self, number: int, payload: bytes) -> None:
        """Take in a block; blocks come in any order, each once. Raises `StateVersionError` or `ValueError`."""
        version = payload[0] if payload else 0
        if version != STATE_VERSION:
            raise StateVersionError(version, STATE_VERSION)
        try:
            rows = self._block_decoder.decode(memoryview(payload)[1:])
        except msgspec.DecodeError as error:
            raise ValueError(f"alert block {number} of partition {self._partition} is damaged: {error}") from error
        first = number * BLOCK_ROWS
        while len(self._rows) < first + len(rows):
            self._rows.append(_Row("", 0, PatientAlerts()))
        for index, row in enumerate(rows, start=first):
            self._row_of.pop(self._rows[index].patient, None)
            self._rows[index] = row
            self._row_of[row.patient] = index
        self._block_bytes[number] = len(payload)

    def changed_bytes(self) -> int:
        """About what `changed_blocks` would return, by each block's last size."""
        return sum(self._block_bytes.get(number, 256) for number in self._changed)

    def counters(self) -> dict[str, int]:
        """Totals since creation, and the rows held."""
        return {**self._counts, "rows": len(self._row_of)}

    def _fold(self, condition: Condition, offset: int, now: float) -> list[OutputRecord]:
        index = self._row_of.get(condition.patient)
        if index is None:
            index = len(self._rows)
            self._rows.append(_Row(condition.patient, 0, PatientAlerts()))
            self._row_of[condition.patient] = index
        row = self._rows[index]
        if offset < row.fence:
            self._counts["fence_skips"] += 1
            return []
        row.alerts, alerts = step(row.alerts, condition, self._rules)
        row.fence = offset + 1
        self._changed.add(index // BLOCK_ROWS)
        self._counts["applied" if alerts else "duplicates"] += 1
        received_at = condition.provenance.received_at
        return [self._written(alert, Provenance(self._partition, offset, received_at, now)) for alert in alerts]

    def _written(self, alert: Alert, provenance: Provenance) -> OutputRecord:
        if alert.transition == "withdrawn":
            self._counts["provisional_withdrawn"] += 1
        stamped = msgspec.structs.replace(
            alert, provenance=msgspec.structs.replace(provenance, announced_id=alert.provenance.announced_id)
        )
        value = orjson.dumps(to_builtins(stamped), option=orjson.OPT_SORT_KEYS)
        return OutputRecord(ALERTS, alert.patient.encode(), value)

    def _refused(self, record: SourceRecord, detail: str) -> OutputRecord:
        """Named by its content, so that a repeat has the same id; no clock and no arrival time is known for it."""
        self._counts["quarantined"] += 1
        raw = encode_raw(record.value or b"")
        refused = Quarantined(
            id=identity_text(text_identity(CONDITIONS, raw)),
            reason=Reason.BAD_RECORD,
            detail=detail,
            topic=CONDITIONS,
            received_at=0.0,
            raw=raw,
        )
        return OutputRecord(QUARANTINE, record.key, msgspec.json.encode(refused, order="sorted"))
