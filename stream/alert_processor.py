"""The alert agent's processor: conditions, commands and ticks of one partition in, alerts and the journal of their
signals out. Pure; it holds no decision of its own.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from math import inf
from typing import Any

import msgspec
import orjson

from alerts.alert_signal import NEVER, PatientSignals, follow, names_known, obey, pass_time
from alerts.rules import RuleSet
from alerts.step import PatientAlerts, step
from contracts.alert_signal import SignalTransition, signal_to_builtins
from contracts.command import AlertCommand
from contracts.condition import Alert, Condition, Provenance, to_builtins
from contracts.configuration import Configuration
from contracts.identity import identity_text, text_identity
from contracts.quarantine import Quarantined, Reason, encode_raw
from contracts.reading import LoggedCommand, Tick
from contracts.topics import ALERTS, CONDITIONS, JOURNAL, QUARANTINE
from stream.processor import Block, OutputRecord, SourceRecord, StateVersionError

BLOCK_ROWS = 64
"""Rows of one block of a checkpoint."""

STATE_VERSION = 2
"""Version of the blocks' schema: the first byte of each payload. Version 1 held rows alone, without signals."""

CLOCKS_REMEMBERED = 4
"""Checkpoints whose clock each block tells. A worker goes on at the last or, where a block is stale, at an earlier
one."""


class _Row(msgspec.Struct, array_like=True):
    """One patient; `fence` is the offset of the next record to apply."""

    patient: str
    fence: int
    alerts: PatientAlerts
    signals: PatientSignals = PatientSignals()


class _Block(msgspec.Struct, array_like=True):
    """A block's payload after the version. `clocks` are the positions of the newest checkpoints and the partition's
    clock (s) at each: wherever reading goes on, the clock is that of an undisturbed run."""

    clocks: list[tuple[int, float]]
    rows: list[_Row]


class _Kind(msgspec.Struct):
    """What tells the records of `conditions` apart; a condition has its own meaning of `kind`."""

    kind: Any = None


class AlertProcessor:
    """Folds the log of one partition; see `stream.processor.PartitionProcessor`.

    A patient keeps the row number it got first, so that a block's number and its rows belong together for good.
    `configuration` is taken as every processor takes it; nothing in it bears on alerts yet.
    """

    def __init__(self, configuration: Configuration, partition: int, rules: RuleSet) -> None:  # noqa: ARG002
        self._partition = partition
        self._rules = rules
        self._rows: list[_Row] = []
        self._row_of: dict[str, int] = {}
        self._due: dict[int, float] = {}
        self._position = 0
        self._clock: float | None = None
        self._clocks: dict[int, float] = {}
        self._changed: set[int] = set()
        self._block_bytes: dict[int, int] = {}
        self._kind_decoder = msgspec.json.Decoder(_Kind)
        self._decoder = msgspec.json.Decoder(Condition)
        self._tick_decoder = msgspec.json.Decoder(Tick)
        self._logged_decoder = msgspec.json.Decoder(LoggedCommand)
        self._command_decoder = msgspec.json.Decoder(AlertCommand)
        self._block_decoder = msgspec.msgpack.Decoder(_Block)
        self._counts = dict.fromkeys(
            ("records", "applied", "late", "duplicates", "quarantined", "fence_skips", "provisional_withdrawn"), 0
        )

    def process(self, records: Sequence[SourceRecord], now: float) -> list[OutputRecord]:
        """Alerts and transitions of their signals for `records` (topic `conditions`, in offset order); a record that is
        none of its kinds, or a command about no known alert, is quarantined."""
        output: list[OutputRecord] = []
        for record in records:
            self._counts["records"] += 1
            if self._clock is None:
                # A block of a checkpoint that was never closed tells of what is read again now.
                self._clocks = {at: clock for at, clock in self._clocks.items() if at <= record.offset}
                self._clock = max(self._clocks.values(), default=NEVER)
            try:
                output.extend(self._take(record, now))
            except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
                output.append(self._refused(record, str(error)))
            self._position = max(self._position, record.offset + 1)
        return output

    def flush(self, now: float) -> list[OutputRecord]:  # noqa: ARG002
        """Nothing is ever held back."""
        return []

    def changed_blocks(self) -> list[Block]:
        """Changed blocks. Every record below the newest offset is in the rows, so their fences rise to it. Where only
        the clock went on, the first block tells it."""
        if self._known_clock() > max(self._clocks.values(), default=NEVER):
            self._clocks[self._position] = self._known_clock()
            self._clocks = dict(sorted(self._clocks.items())[-CLOCKS_REMEMBERED:])
            if not self._changed:
                self._changed.add(0)
        blocks: list[Block] = []
        for number in sorted(self._changed):
            rows = self._rows[number * BLOCK_ROWS : (number + 1) * BLOCK_ROWS]
            for row in rows:
                row.fence = max(row.fence, self._position)
            payload = bytes((STATE_VERSION,)) + msgspec.msgpack.encode(_Block(list(self._clocks.items()), rows))
            self._block_bytes[number] = len(payload)
            blocks.append(Block(number, min((row.fence for row in rows), default=self._position), payload))
        self._changed.clear()
        return blocks

    def load_block(self, number: int, payload: bytes) -> None:
        """Take in a block; blocks come in any order, each once. Raises `StateVersionError` or `ValueError`.

        A row of version 1 has no signals: alerts that stood then get theirs with their next transition.
        """
        version = payload[0] if payload else 0
        if version not in (1, STATE_VERSION):
            raise StateVersionError(version, STATE_VERSION)
        try:
            body = memoryview(payload)[1:]
            block = (
                _Block([], msgspec.msgpack.decode(body, type=list[_Row]))
                if version == 1
                else self._block_decoder.decode(body)
            )
        except msgspec.DecodeError as error:
            raise ValueError(f"alert block {number} of partition {self._partition} is damaged: {error}") from error
        self._clocks.update(block.clocks)
        first = number * BLOCK_ROWS
        while len(self._rows) < first + len(block.rows):
            self._rows.append(_Row("", 0, PatientAlerts()))
        for index, row in enumerate(block.rows, start=first):
            self._row_of.pop(self._rows[index].patient, None)
            self._rows[index] = row
            self._row_of[row.patient] = index
            self._watch(index)
        self._block_bytes[number] = len(payload)

    def changed_bytes(self) -> int:
        """About what `changed_blocks` would return, by each block's last size."""
        return sum(self._block_bytes.get(number, 256) for number in self._changed)

    def counters(self) -> dict[str, int]:
        """Totals since creation, and the rows held."""
        return {**self._counts, "rows": len(self._row_of)}

    def signals(self) -> Iterator[tuple[PatientSignals, float]]:
        """The signals of every patient, each with the partition's clock (s), for metrics."""
        clock = self._known_clock()
        return ((row.signals, clock) for row in tuple(self._rows))

    def _take(self, record: SourceRecord, now: float) -> list[OutputRecord]:
        value = record.value or b""
        kind = self._kind_decoder.decode(value).kind
        if kind == "tick":
            return self._pass_time(self._tick_decoder.decode(value), record.offset, now)
        if kind == "command":
            return self._obey(self._logged_decoder.decode(value), record, now)
        return self._fold(self._decoder.decode(value), record.offset, now)

    def _fold(self, condition: Condition, offset: int, now: float) -> list[OutputRecord]:
        row, index = self._row(condition.patient)
        if offset < row.fence:
            self._counts["fence_skips"] += 1
            return []
        row.alerts, alerts = step(row.alerts, condition, self._rules)
        provenance = msgspec.structs.replace(
            condition.provenance, partition=self._partition, offset=offset, applied_at=now, announced_id=""
        )
        written = [self._written(alert, provenance) for alert in alerts]
        for alert in alerts:
            row.signals, transitions = follow(row.signals, alert, self._known_clock(), self._rules)
            written += self._journalled(transitions, provenance)
        self._counts["applied" if alerts else "duplicates"] += 1
        self._applied(index, offset)
        return written

    def _obey(self, logged: LoggedCommand, record: SourceRecord, now: float) -> list[OutputRecord]:
        command = self._command_decoder.decode(logged.command)
        if record.key != command.patient.encode():
            return [self._refused(record, "a command under another patient's key", Reason.BAD_COMMAND)]
        row, index = self._row(command.patient)
        if record.offset < row.fence:
            self._counts["fence_skips"] += 1
            return []
        clock = max(self._known_clock(), logged.received_at)
        known = names_known(row.signals, command)
        row.signals, transitions = obey(row.signals, command, clock, self._rules)
        self._applied(index, record.offset)
        if not known:
            return [self._refused(record, f"patient {command.patient} has no such alert", Reason.BAD_COMMAND)]
        return self._journalled(transitions, Provenance(self._partition, record.offset, logged.received_at, now))

    def _pass_time(self, tick: Tick, offset: int, now: float) -> list[OutputRecord]:
        """A tick that repeats, or goes back, changes nothing: the twin agent writes again what it wrote before a
        crash."""
        if tick.t <= self._known_clock():
            return []
        self._clock = tick.t
        written: list[OutputRecord] = []
        for index in sorted(index for index, at in self._due.items() if at <= tick.t):
            row = self._rows[index]
            if offset < row.fence:
                continue
            row.signals, transitions = pass_time(row.signals, row.patient, tick.t, self._rules)
            self._applied(index, offset)
            written += self._journalled(transitions, Provenance(self._partition, offset, tick.t, now))
        return written

    def _row(self, patient: str) -> tuple[_Row, int]:
        index = self._row_of.get(patient)
        if index is None:
            index = len(self._rows)
            self._rows.append(_Row(patient, 0, PatientAlerts()))
            self._row_of[patient] = index
        return self._rows[index], index

    def _applied(self, index: int, offset: int) -> None:
        self._rows[index].fence = offset + 1
        self._changed.add(index // BLOCK_ROWS)
        self._watch(index)

    def _watch(self, index: int) -> None:
        due = self._rows[index].signals.next_due()
        if due < inf:
            self._due[index] = due
        else:
            self._due.pop(index, None)

    def _known_clock(self) -> float:
        return NEVER if self._clock is None else self._clock

    def _journalled(self, transitions: Sequence[SignalTransition], provenance: Provenance) -> list[OutputRecord]:
        stamped = [msgspec.structs.replace(transition, provenance=provenance) for transition in transitions]
        return [
            OutputRecord(
                JOURNAL,
                transition.patient.encode(),
                orjson.dumps(signal_to_builtins(transition), option=orjson.OPT_SORT_KEYS),
            )
            for transition in stamped
        ]

    def _written(self, alert: Alert, provenance: Provenance) -> OutputRecord:
        if alert.transition == "withdrawn":
            self._counts["provisional_withdrawn"] += 1
        stamped = msgspec.structs.replace(
            alert, provenance=msgspec.structs.replace(provenance, announced_id=alert.provenance.announced_id)
        )
        value = orjson.dumps(to_builtins(stamped), option=orjson.OPT_SORT_KEYS)
        return OutputRecord(ALERTS, alert.patient.encode(), value)

    def _refused(self, record: SourceRecord, detail: str, reason: Reason = Reason.BAD_RECORD) -> OutputRecord:
        """Named by its content, so that a repeat has the same id; no clock and no arrival time is known for it."""
        self._counts["quarantined"] += 1
        raw = encode_raw(record.value or b"")
        refused = Quarantined(
            id=identity_text(text_identity(CONDITIONS, raw)),
            reason=reason,
            detail=detail,
            topic=CONDITIONS,
            received_at=0.0,
            raw=raw,
        )
        return OutputRecord(QUARANTINE, record.key, msgspec.json.encode(refused, order="sorted"))
