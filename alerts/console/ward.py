"""The ward in memory: what the console shows, changed by records and read by pages and streams. Pure.

Every change takes the next `number`; a row remembers the number of its last change, so that a stream that stopped at
one number is brought up to date with one look at the rows that changed since. Alert transitions are also kept in a log
by their Kafka position, so that a stream can go on where it stopped even after the console was restarted.
"""

from __future__ import annotations

from collections import OrderedDict, deque
from collections.abc import Iterable, Mapping
from typing import Any, NamedTuple

import msgspec
import orjson

from alerts.console.alert_book import AlertBook, AlertLife, rank, shown
from alerts.console.directory import Entry
from alerts.console.receipt_book import ReceiptBook
from alerts.console.records import Score, SignalValue, TwinRecord
from alerts.console.trend import Trend
from alerts.on_call import OnCallTable
from contracts.alert_signal import SignalTransition
from contracts.condition import Alert

ALERT_LOG = 5_000
"""Alert transitions kept for streams that come back."""


SYSTEM = ""
"""The "patient" of system alarms, which concern no single patient."""


class LoggedAlert(NamedTuple):
    """An alert transition as streams send it. `serial` counts the log's entries from 1."""

    serial: int
    partition: int
    offset: int
    patient: str
    applied_at: float
    data: bytes
    kind: str


class Patient:
    """One patient as the console knows it. `received` is when each signal's value was first seen to have arrived."""

    def __init__(self, pseudonym: str) -> None:
        self.pseudonym = pseudonym
        self.entry: Entry | None = None
        self.record: TwinRecord | None = None
        self.alerts = AlertBook()
        self.trends: dict[str, Trend] = {}
        self.received: dict[str, tuple[float, float]] = {}
        self.encoded = b""


class Ward:
    """All patients, by pseudonym."""

    def __init__(self) -> None:
        self.number = 0
        self.newest_at = 0.0
        self.patients: dict[str, Patient] = {}
        self.log: deque[LoggedAlert] = deque(maxlen=ALERT_LOG)
        self.on_call = OnCallTable()
        self.receipts = ReceiptBook()
        self.serial = 0
        self.next_offsets: dict[int, int] = {}
        self.lost_offsets: dict[int, int] = {}
        self._changed: OrderedDict[str, int] = OrderedDict()

    def apply_twin(self, record: TwinRecord) -> None:
        """Takes a twin's newest state."""
        patient = self._patient(record.patient)
        patient.record = record
        arrived = record.provenance.received_at or 0.0
        self.newest_at = max(self.newest_at, record.provenance.applied_at, arrived)
        for name, signal in record.shown_signals().items():
            known = patient.received.get(name)
            if known is None or known[0] != signal.t:
                received_at = signal.received_at or arrived or signal.t
                patient.received[name] = (signal.t, received_at)
                _add(patient, name, signal, received_at)
        score = record.shown_news2()
        if score is not None and score.applicable and score.low is not None and score.high is not None:
            for name, value in (("news2_low", score.low), ("news2_high", score.high)):
                patient.trends.setdefault(name, Trend()).add(record.clock(), value, 1.0, 0.0)
        self._touch(patient)

    def remove_twin(self, pseudonym: str) -> None:
        """The twin is gone; its alerts and directory entry stay."""
        if pseudonym in self.patients:
            self.patients[pseudonym].record = None
            self._touch(self.patients[pseudonym])

    def apply_alert(self, alert: Alert, partition: int, offset: int) -> None:
        """Takes one record of topic `alerts`; a repeat of a transition changes nothing."""
        self.next_offsets[partition] = offset + 1
        patient = self._patient(alert.patient)
        if not patient.alerts.apply(alert):
            return
        self.serial += 1
        if len(self.log) == self.log.maxlen:
            self.lost_offsets[self.log[0].partition] = self.log[0].offset
        self.log.append(
            LoggedAlert(
                self.serial,
                partition,
                offset,
                alert.patient,
                alert.provenance.applied_at,
                msgspec.json.encode(alert),
                alert.kind,
            )
        )
        self._touch(patient)

    def apply_signal(self, transition: SignalTransition) -> None:
        """Takes one record of topic `alerts.journal`; a repeat changes nothing."""
        patient = self._patient(transition.patient)
        if patient.alerts.apply_signal(transition):
            self._touch(patient)

    def set_directory(self, entries: Mapping[str, Entry]) -> bool:
        """Takes the directory's entries; says whether anything changed."""
        before = self.number
        for pseudonym, patient in self.patients.items():
            if patient.entry is not None and pseudonym not in entries:
                patient.entry = None
                self._touch(patient)
        for pseudonym, entry in entries.items():
            patient = self._patient(pseudonym)
            if patient.entry != entry:
                patient.entry = entry
                self._touch(patient)
        return self.number != before

    def shown(self, patient: Patient) -> bool:
        """Whether the patient stands on the ward list: known by name or by a twin and not discharged, or with an alert
        that stands."""
        if patient.alerts.standing():
            return True
        if patient.record is not None:
            return not patient.record.has_left()
        return patient.entry is not None

    def rows_since(self, number: int, pseudonym: str = "") -> list[bytes]:
        """The encoded rows that changed after `number`; of one patient and the system where `pseudonym` is given."""
        if pseudonym:
            changed = [name for name in (pseudonym, SYSTEM) if self._changed.get(name, -1) > number]
        else:
            changed = []
            for name in reversed(self._changed):
                if self._changed[name] <= number:
                    break
                changed.append(name)
        return [self._encoded(self.patients[name]) for name in changed]

    def rows(self, pseudonym: str = "") -> list[bytes]:
        """Every encoded row, the most urgent first; of one patient and the system where `pseudonym` is given."""
        chosen: Iterable[Patient] = self.patients.values()
        if pseudonym:
            chosen = [self.patients[name] for name in (pseudonym, SYSTEM) if name in self.patients]
        listed = sorted((patient for patient in chosen if self.shown(patient)), key=_order)
        return [self._encoded(patient) for patient in listed]

    def alerts_since(self, serial: int) -> list[LoggedAlert]:
        """Logged alert transitions after `serial`, oldest first; raises `LookupError` where some are gone."""
        if serial >= self.serial:
            return []
        if not self.log or self.log[0].serial > serial + 1:
            raise LookupError(serial)
        first = serial + 1 - self.log[0].serial
        return [self.log[i] for i in range(first, len(self.log))]

    def alerts_from(self, offsets: Mapping[int, int]) -> list[LoggedAlert]:
        """Logged alert transitions at or after those Kafka offsets; raises `LookupError` where some are gone."""
        if any(offsets.get(partition, 0) <= lost for partition, lost in self.lost_offsets.items()):
            raise LookupError(dict(offsets))
        return [alert for alert in self.log if alert.offset >= offsets.get(alert.partition, 0)]

    def row(self, patient: Patient) -> dict[str, Any]:
        """What a ward row shows of a patient, as plain types."""
        record = patient.record
        entry = patient.entry
        standing = patient.alerts.standing()
        score = record.shown_news2() if record is not None else None
        row: dict[str, Any] = {
            "patient": patient.pseudonym,
            "name": entry.display_name if entry else "",
            "ward": entry.ward if entry else "",
            "bed": entry.bed if entry else "",
            "age_band": entry.age_band if entry else "",
            "listed": self.shown(patient),
            "urgency": _urgency(patient.alerts, standing, score),
            "alerts": [shown(patient.alerts, life, complete=False) for life in standing],
            "signals": {},
            "news2": msgspec.to_builtins(score) if score is not None else None,
        }
        if record is not None:
            row |= {
                "t": record.clock(),
                "signals": {name: _signal(patient, name, value) for name, value in record.shown_signals().items()},
                "session": record.shown_session(),
                "limits": record.shown_limits(),
                "estimates": msgspec.to_builtins(record.estimates),
                "received_at": record.provenance.received_at,
                "applied_at": record.provenance.applied_at,
            }
        return row

    def _patient(self, pseudonym: str) -> Patient:
        if pseudonym not in self.patients:
            self.patients[pseudonym] = Patient(pseudonym)
        return self.patients[pseudonym]

    def _touch(self, patient: Patient) -> None:
        self.number += 1
        self._changed[patient.pseudonym] = self.number
        self._changed.move_to_end(patient.pseudonym)
        patient.encoded = b""

    def _encoded(self, patient: Patient) -> bytes:
        if not patient.encoded:
            patient.encoded = orjson.dumps(self.row(patient))
        return patient.encoded


def _signal(patient: Patient, name: str, signal: SignalValue) -> dict[str, Any]:
    return {
        "value": signal.value,
        "t": signal.t,
        "quality": signal.quality,
        "received_at": patient.received[name][1],
        "exact": signal.received_at is not None,
        "baseline": msgspec.to_builtins(signal.baseline) if signal.baseline is not None else None,
    }


def _add(patient: Patient, name: str, signal: SignalValue, received_at: float) -> None:
    if isinstance(signal.value, (int, float)):
        quality = 1.0 if signal.quality is None else signal.quality
        patient.trends.setdefault(name, Trend()).add(signal.t, signal.value, quality, received_at - signal.t)


def _urgency(alerts: AlertBook, standing: list[AlertLife], score: Score | None) -> list[float]:
    """Highest priority of an alert that stands, 1 where nobody has answered the first of it, then the upper bound of
    NEWS2 (-1 where there is none)."""
    high = -1.0
    if score is not None and score.applicable and score.high is not None:
        high = score.high
    priority = float(max((rank(life.newest.priority) for life in standing), default=-1))
    return [priority, float(bool(standing) and not alerts.answered(standing[0])), high]


def _order(patient: Patient) -> tuple[Any, ...]:
    record = patient.record
    score = record.shown_news2() if record is not None else None
    priority, unanswered, news2 = _urgency(patient.alerts, patient.alerts.standing(), score)
    entry = patient.entry or Entry(patient.pseudonym)
    return (
        -priority,
        -unanswered,
        -news2,
        not entry.bed,
        entry.ward,
        natural(entry.bed),
        entry.display_name,
        patient.pseudonym,
    )


def natural(text: str) -> tuple[tuple[int, int, str], ...]:
    """A sort key that puts bed 9 before bed 10."""
    words: list[tuple[int, int, str]] = []
    digits = ""
    for character in f"{text} ":
        if character.isdecimal():
            digits += character
            continue
        if digits:
            words.append((0, int(digits), ""))
            digits = ""
        words.append((1, 0, character))
    return tuple(words)
