"""The twin agent's processor: telemetry of one partition in, conditions and twin records out. Pure; what decides is in
`twin_state`, and this only decodes, calls `apply` and writes down the effects."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict
from operator import itemgetter
from typing import Any

import msgspec
import numpy as np

from alerts.quality.figures import MONITORED_GAP_S
from alerts.rules import RuleSet
from contracts.canonical import canonical_hash
from contracts.configuration import Configuration
from contracts.identity import identity_text, text_identity
from contracts.parameters import shipped_parameters
from contracts.quarantine import Quarantined, Reason, encode_raw
from contracts.topics import CONDITIONS, QUARANTINE, TELEMETRY, TWIN
from stream.decode import Rejected
from stream.evidence import EvidenceWriter, condition_bytes
from stream.model_sets import ModelSet
from stream.processor import Block, OutputRecord, SourceRecord, StateVersionError
from stream.twin_record import TwinWriter
from twin_state import batch as b
from twin_state import blocks
from twin_state.apply import apply
from twin_state.batch import Int
from twin_state.columns import FENCE, LAST_RECEIVED, UNPUBLISHED
from twin_state.configuration import PAST_EVENT_RULE, SignalSpec, TwinConfiguration, configure
from twin_state.estimators import ESTIMATORS
from twin_state.rules import ConditionRule
from twin_state.schema import SCHEMA_VERSION
from twin_state.store import BLOCK_ROWS, Store

TWIN_RECORDS_AT_ONCE = 16
"""Twin records written with one fetch, unless so many wait that it takes an eighth of them: writing a whole ward's at
each tick would hold up the alerts behind it."""

FIRST_ROW_BYTES = 700.0
"""What a row is taken to weigh in a checkpoint before one was written."""


def twin_configuration(model_set: ModelSet, rules: RuleSet) -> TwinConfiguration:
    """The core's configuration for a model set under a rule set; made once and shared by all partitions."""
    signals = tuple(
        SignalSpec(s.name, s.period_s, s.validity_s, s.lateness_s, baselined=s.shape in {"scalar", "beats"})
        for s in model_set.registry.signals
    )
    conditions = rules.conditions()
    if PAST_EVENT_RULE in rules:
        # It watches no channel of its own; it stands among the rules so that its transitions have a number.
        past_event = rules[PAST_EVENT_RULE]
        conditions += (ConditionRule(past_event.id, signals[0].name, "at_least", np.inf, past_event.priority),)
    parameters = {
        estimator.name: shipped_parameters(estimator.name).flat
        for estimator in ESTIMATORS
        if estimator.parameters and estimator.name in model_set.models
    }
    described: dict[str, Any] = {
        "models": model_set.models,
        "schema": SCHEMA_VERSION,
        "signals": [asdict(signal) for signal in signals],
    }
    if parameters:
        described["parameters"] = parameters
    return configure(
        signals,
        conditions,
        model_set.models,
        parameters=parameters,
        models_hash=canonical_hash(described),
        configuration_hash=rules.hash,
    )


class TwinProcessor:
    """Folds the telemetry of one partition; see `stream.processor.PartitionProcessor`."""

    def __init__(
        self, configuration: Configuration, partition: int, model_set: ModelSet, rules: RuleSet, twin: TwinConfiguration
    ) -> None:
        self._store = Store(twin)
        self._decoder = model_set.decoder(model_set.registry)
        log = configuration.worker.telemetry_topic
        self._evidence = EvidenceWriter(twin, rules, partition, self._store.device_names, log)
        self._twins = TwinWriter(twin, partition)
        self._partition = partition
        self._twin_interval_s = configuration.worker.twin_interval_s
        self._published_at = -np.inf
        self._clock = np.inf
        self._due: list[int] = []
        self._at_once = 0
        self._position = 0
        self._row_bytes = FIRST_ROW_BYTES
        self._records = 0
        self._quarantined = 0

    @property
    def store(self) -> Store:
        """The rows, for reading."""
        return self._store

    def process(self, records: Sequence[SourceRecord], now: float) -> list[OutputRecord]:
        """Conditions first, in the order in which they came about, then some of the twin records that are due.

        Ticks and commands about alerts are passed on to `conditions` as they stand, each after what its predecessors
        brought about: so the alert agent meets conditions, people's acts and the clock in the one order of the log.
        """
        if not records:
            return []
        self._records += len(records)
        batch, rejected = self._decoder.decode(records, self._store)
        effects = apply(self._store, batch)
        self._evidence.remember(batch)
        self._position = max(self._position, records[-1].offset + 1)
        output = [self._refused(records[refusal.record], refusal) for refusal in rejected]
        keys = self._store.keys
        told: list[tuple[int, OutputRecord]] = []
        for transitions in effects.transitions:
            for n in range(len(transitions.number)):
                key = keys[int(transitions.number[n, b.ROW])]
                condition = self._evidence.condition(transitions, n, key.decode(), batch, now)
                offset = int(batch.offset[int(transitions.number[n, b.RECORD])])
                told.append((offset, OutputRecord(CONDITIONS, key, condition_bytes(condition))))
        told += self._passed_on(records, batch, rejected)
        output.extend(record for _, record in sorted(told, key=itemgetter(0)))
        ticks = batch.t[(batch.kind == b.TICK) | (batch.kind == b.CLOSING)]
        if len(ticks):
            self._clock = float(ticks[-1])
        if len(ticks) and not self._due and ticks[-1] - self._published_at >= self._twin_interval_s:
            self._published_at = float(ticks[-1])
            self._due = np.flatnonzero(self._unpublished()).tolist()
            self._at_once = max(TWIN_RECORDS_AT_ONCE, len(self._due) // 8)
        if self._due:
            now_due = self._due[-self._at_once :]
            del self._due[-self._at_once :]
            output.extend(self._twin_records(now_due, now))
        return output

    def flush(self, now: float) -> list[OutputRecord]:
        """A twin record of every row that changed since its last one."""
        self._due = []
        return self._twin_records(np.flatnonzero(self._unpublished()).tolist(), now)

    def changed_blocks(self) -> list[Block]:
        """Changed blocks. Every record below the newest offset is in the rows, so their fences rise to it."""
        changed = []
        weight = 0
        fences = self._store.columns.row_number[:, FENCE]
        for number in blocks.changed_blocks(self._store):
            rows = slice(number * BLOCK_ROWS, min((number + 1) * BLOCK_ROWS, self._store.rows))
            np.maximum(fences[rows], self._position, out=fences[rows])
            payload = blocks.block_bytes(self._store, number)
            weight += len(payload)
            changed.append(Block(number, self._position, payload))
        if changed:
            self._row_bytes = weight / (len(changed) * BLOCK_ROWS)
        return changed

    def load_block(self, number: int, payload: bytes) -> None:
        """Take in a block at recovery; raises `StateVersionError` for a schema that cannot be read."""
        try:
            blocks.load_block(self._store, number, payload)
        except blocks.BlockVersionError as error:
            raise StateVersionError(error.found, SCHEMA_VERSION) from error

    def changed_bytes(self) -> int:
        """About how many bytes `changed_blocks` would return, by the weight of a row in the last checkpoint."""
        return int(blocks.changed_rows(self._store) * self._row_bytes)

    def counters(self) -> dict[str, int]:
        """Totals since creation, and the rows held."""
        counted = self._store.counters()
        return {**counted, "records": self._records, "quarantined": self._quarantined, "rows": len(self._store.index)}

    def monitored(self) -> int:
        """Patients of whom a reading arrived within `MONITORED_GAP_S` before the newest tick."""
        arrived = self._store.columns.row_time[: self._store.rows, LAST_RECEIVED]
        return int(np.count_nonzero(self._clock - arrived < MONITORED_GAP_S))

    def _passed_on(
        self, records: Sequence[SourceRecord], batch: b.Batch, rejected: Sequence[Rejected]
    ) -> list[tuple[int, OutputRecord]]:
        """Ticks, and commands that are neither in the batch nor rejected, by their offsets."""
        clocked = (batch.kind == b.TICK) | (batch.kind == b.CLOSING)
        wanted = set(batch.offset[clocked].tolist())
        if len(batch.offset) + len(rejected) < len(records):
            known = {*batch.offset.tolist(), *(records[refusal.record].offset for refusal in rejected)}
            wanted |= {record.offset for record in records if record.offset not in known}
        if not wanted:
            return []
        return [
            (
                record.offset,
                OutputRecord(CONDITIONS, record.key, record.value, self._partition if record.key is None else None),
            )
            for record in records
            if record.offset in wanted
        ]

    def _unpublished(self) -> Int:
        return self._store.columns.row_number[: self._store.rows, UNPUBLISHED]

    def _twin_records(self, rows: list[int], now: float) -> list[OutputRecord]:
        self._unpublished()[rows] = 0
        keys = self._store.keys
        return [OutputRecord(TWIN, keys[row], self._twins.record(self._store, row, now)) for row in rows if keys[row]]

    def _refused(self, record: SourceRecord, refusal: Rejected) -> OutputRecord:
        """Named by its content, so that a repeat has the same id; no clock and no arrival time is known for it."""
        self._quarantined += 1
        raw = encode_raw(record.value or b"")
        refused = Quarantined(
            id=identity_text(text_identity(TELEMETRY, raw)),
            reason=Reason.BAD_RECORD,
            detail=refusal.detail,
            topic=TELEMETRY,
            received_at=0.0,
            raw=raw,
        )
        return OutputRecord(QUARANTINE, record.key, msgspec.json.encode(refused, order="sorted"))
