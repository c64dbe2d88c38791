"""Transitions of the twin core as `conditions` records: identities, evidence and provenance put into words."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import orjson

from alerts.rules import RuleSet
from contracts.condition import Baseline, Condition, Evidence, Input, Place, Provenance, to_builtins
from contracts.identity import condition_identity, identity_text
from contracts.topics import TELEMETRY
from stream.build import build_name
from twin_state import batch as b
from twin_state.batch import Batch, Float, Int, Transitions
from twin_state.configuration import PAST_EVENT_RULE, TwinConfiguration
from twin_state.models import baseline, news2

UNSIGNED = (1 << 64) - 1

DEVICES_SILENT = "devices_silent"
STEADY_SCORE = "news2_steady"

INPUTS_OF: dict[str, tuple[str, ...]] = {
    "news2_low": news2.INPUTS,
    "news2_high": news2.INPUTS,
    "news2_single": news2.INPUTS,
    "heart_rate_above_rest_pct": ("heart_rate",),
    "systolic_fall": ("systolic_pressure", "power_w"),
    "symptom_chest_pain": ("symptom",),
    "symptom_syncope": ("symptom",),
    "symptom_other": ("symptom",),
    "heart_rate_steady": ("heart_rate",),
    "respiratory_rate_steady": ("respiratory_rate",),
    "spo2_steady": ("spo2",),
    "news2_steady": news2.INPUTS,
    "heart_rate_below_usual": ("heart_rate",),
    "spo2_below_usual": ("spo2",),
    "heart_rate_scatter": ("heart_rate",),
    "deterioration": ("heart_rate", "respiratory_rate", "spo2"),
    "silence_s": (),
    DEVICES_SILENT: (),
}
"""Signals that a channel made by a model rests on."""


RECENT_READINGS = 16_384
"""Readings of a partition whose offsets are remembered: those that open conditions, mostly, until these are written."""


class RecentReadings:
    """Where the newest readings of a partition stand in the log, by identity. Lost with the process: it serves
    provenance alone."""

    def __init__(self) -> None:
        self._identity = np.zeros(RECENT_READINGS, np.int64)
        self._offset = np.full(RECENT_READINGS, -1, np.int64)
        self._next = 0

    def add(self, batch: Batch) -> None:
        """Remember the batch's records in place of the oldest."""
        identity, offset = batch.reading[-RECENT_READINGS:], batch.offset[-RECENT_READINGS:]
        at = (self._next + np.arange(len(offset))) % RECENT_READINGS
        self._identity[at], self._offset[at] = identity, offset
        self._next = (self._next + len(offset)) % RECENT_READINGS

    def offset_of(self, identity: int) -> int | None:
        """The lowest offset remembered of a reading, None where it is not remembered."""
        found = self._offset[(self._identity == identity) & (self._offset >= 0)]
        return int(found.min()) if len(found) else None


class EvidenceWriter:
    """Writes condition records for one partition under one configuration. `device_names` are the store's, `log` is the
    topic that the partition belongs to."""

    def __init__(
        self,
        configuration: TwinConfiguration,
        rules: RuleSet,
        partition: int,
        device_names: Mapping[int, str],
        log: str = TELEMETRY,
    ) -> None:
        self._configuration = configuration
        self._rules = rules
        self._partition = partition
        self._log = log
        self._recent = RecentReadings()
        self._device_names = device_names
        layout = configuration.layout
        self._signal = {name: n for n, name in enumerate(layout.signals)}
        self._quality = layout.place("latest", "trusted_quality").start
        # A signal has the same number as the channel of its trusted values.
        self._channel_value = layout.place("channels", "value").start
        self._channel_t = layout.place("channels", "t").start
        self._channel_reading = layout.place("channels", "reading").start
        self._z = layout.place("moments", "z").start if ("moments", "z") in layout.places else -1
        self._baseline = layout.place("baseline", "mean").start if ("baseline", "mean") in layout.places else -1
        self._missing = layout.place("news2", "missing").start if ("news2", "missing") in layout.places else -1
        self._least = layout.place("news2", "least").start if ("news2", "least") in layout.places else -1
        steady = ("steady", "missing")
        self._steady_missing = layout.place(*steady).start if steady in layout.places else -1
        self._steady_score = layout.channels.index(STEADY_SCORE)
        silent = ("devices", "offline")
        self._silent = layout.place(*silent) if silent in layout.places else slice(0)

    def remember(self, batch: Batch) -> None:
        """Take note of where a batch's readings stand, before its conditions are written."""
        self._recent.add(batch)

    def condition(self, transitions: Transitions, n: int, patient: str, batch: Batch, now: float) -> Condition:
        """The n-th transition as a record; `now` (s) is the processing clock and goes into provenance alone."""
        number, measure = transitions.number[n], transitions.measure[n]
        what = int(number[b.WHAT])
        opening = self._recent.offset_of(int(number[b.OPENED_BY]))
        rule = self._configuration.rules[int(number[b.RULE])]
        notice = self._rules.get(rule.id)
        record = int(number[b.RECORD])
        opened_by = int(number[b.OPENED_BY]) & UNSIGNED
        announced_as = int(number[b.ANNOUNCED_ID]) & UNSIGNED
        amended = what == b.UPDATE and number[b.STAGE] == b.PROVISIONAL
        identity = condition_identity(patient, rule.id, announced_as if amended else opened_by)
        announced_id = ""
        if what == b.ONSET and announced_as not in (0, opened_by):
            announced_id = condition_identity(patient, rule.id, announced_as)
        t = float(measure[b.T])
        if rule.id == PAST_EVENT_RULE:
            channel = self._configuration.layout.signals[int(number[b.ANNOUNCED_ID])]
            value = float(measure[b.VALUE])
            quality = _quality_of(batch, record, int(number[b.ANNOUNCED_ID]), value)
            inputs = [Input(channel, value, t, 0.0, quality, identity_text(opened_by))]
        else:
            channel = rule.channel
            inputs = self._inputs(channel, t, transitions.state[n], transitions.identities[n])
        low, high, missing = self._range(channel, transitions.state[n])
        evidence = Evidence(
            channel=channel,
            value=float(measure[b.VALUE]),
            threshold=float(measure[b.THRESHOLD_VALUE]),
            limit_from="patient" if number[b.PERSONAL] else "rule",
            inputs=inputs,
            model=self._configuration.models_hash,
            configuration=self._configuration.configuration_hash,
            low=low,
            high=high,
            missing=missing,
            devices=self._devices(transitions.identities[n]) if channel == DEVICES_SILENT else [],
        )
        return Condition(
            id=identity,
            patient=patient,
            rule=rule.id,
            kind=notice.kind if notice else "physiological",
            priority=notice.priority if notice else rule.priority,
            state=b.STATES[what],  # type: ignore[arg-type]
            stage=b.STAGES[int(number[b.STAGE])],  # type: ignore[arg-type]
            t=t,
            onset_t=float(measure[b.ONSET_T]),
            evidence=evidence,
            provenance=Provenance(
                partition=self._partition,
                offset=int(batch.offset[record]),
                received_at=float(batch.received_at[record]),
                applied_at=now,
                announced_id=announced_id,
                decided=Place(self._log, self._partition, int(batch.offset[record])),
                opened=None if opening is None else Place(self._log, self._partition, opening),
                build=build_name(),
            ),
        )

    def _inputs(self, channel: str, t: float, state: Float, identities: Int) -> list[Input]:
        inputs = []
        for name in INPUTS_OF.get(channel, (channel,)):
            signal = self._signal.get(name)
            if signal is None or state[self._channel_t + signal] <= 0.0:
                continue
            measured = float(state[self._channel_t + signal])
            inputs.append(
                Input(
                    signal=name,
                    value=float(state[self._channel_value + signal]),
                    t=measured,
                    age_s=round(t - measured, 3),
                    quality=float(state[self._quality + signal]),
                    reading=identity_text(int(identities[self._channel_reading + signal]) & UNSIGNED),
                    z=self._deviation(signal, state),
                    baseline=self._usual(signal, state),
                )
            )
        return inputs

    def _devices(self, identities: Int) -> list[str]:
        """Names of the row's silent devices."""
        return sorted(self._device_names[int(device)] for device in identities[self._silent] if device)

    def _deviation(self, signal: int, state: Float) -> float | None:
        """z against the moments before the value, else against the personal baseline once that is warm."""
        if self._z >= 0:
            return float(state[self._z + signal])
        usual = self._usual(signal, state)
        if usual is None or usual.count < baseline.WARM_UP_VALUES or usual.scale <= 0.0:
            return None
        return (float(state[self._channel_value + signal]) - usual.mean) / usual.scale

    def _usual(self, signal: int, state: Float) -> Baseline | None:
        """The signal's personal baseline, however young; None before its first value."""
        if self._baseline < 0:
            return None
        signals = len(self._configuration.layout.signals)
        mean, scale, count = state[self._baseline + signal : self._baseline + 3 * signals : signals].tolist()
        return Baseline(mean, scale, int(count)) if count > 0.0 else None

    def _range(self, channel: str, state: Float) -> tuple[float | None, float | None, list[str]]:
        if channel == STEADY_SCORE and self._steady_missing >= 0:
            missing = missing_inputs(int(state[self._steady_missing]))
            least = float(state[self._channel_value + self._steady_score])
            return (least, float(state[self._steady_missing + 1]), missing) if missing else (None, None, [])
        if not channel.startswith("news2") or self._missing < 0:
            return None, None, []
        missing = missing_inputs(int(state[self._missing]))
        if not missing:
            return None, None, []
        return float(state[self._least]), float(state[self._least + 1]), missing


def _quality_of(batch: Batch, record: int, signal: int, value: float) -> float:
    """The quality that a record of the batch gives a value of its own."""
    first = int(batch.first[record])
    own = slice(first, first + int(batch.values[record]))
    found = (batch.signal[own] == signal) & (batch.value[own] == value)
    return float(batch.quality[own][found][0])


def missing_inputs(bits: int) -> list[str]:
    """The NEWS2 inputs that a row's `missing` names."""
    return [name for n, name in enumerate(news2.INPUTS) if bits & (1 << n)]


def condition_bytes(condition: Condition) -> bytes:
    """A condition as it stands in Kafka: sorted keys, provenance included."""
    return orjson.dumps(to_builtins(condition), option=orjson.OPT_SORT_KEYS)
