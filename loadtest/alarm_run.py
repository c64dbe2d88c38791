"""A rule set over the labelled ward: the core, the evidence and the alerts of the live path, without Kafka and JSON."""

from __future__ import annotations

from dataclasses import dataclass, field

from alerts.rules import RuleSet
from alerts.step import PatientAlerts, step
from contracts.condition import Alert, Condition, Kind, Priority
from loadtest.labelled_ward import IntArray
from loadtest.ward_batches import pseudonym
from stream.evidence import EvidenceWriter
from stream.model_sets import ModelSet
from stream.twin_processor import twin_configuration
from twin_state.apply import apply
from twin_state.batch import ROW, Batch
from twin_state.store import Store


@dataclass(slots=True)
class Alarm:
    """One alarm: told at `told_t` (arrival clock), counted from `onset_t` (event time), over at `until_t` (event time;
    infinite while it stands). A notice that was taken back is an alarm too."""

    patient: int
    rule: str
    kind: Kind
    priority: Priority
    told_t: float
    onset_t: float
    until_t: float = float("inf")
    withdrawn: bool = False


@dataclass(slots=True)
class AlarmLog:
    """Alerts as they are announced, made into alarms: one for each time an alert comes up that did not stand."""

    alarms: list[Alarm] = field(default_factory=list)
    _standing: dict[str, Alarm] = field(default_factory=dict)

    def add(self, patient: int, alert: Alert, told_t: float) -> None:
        """Take in the next announcement about a patient, made at `told_t` on the arrival clock (s)."""
        announced_as = alert.provenance.announced_id
        if announced_as and announced_as in self._standing:
            # The settled onset takes the place of the notice that went out under another id.
            self._standing[alert.id] = self._standing.pop(announced_as)
        alarm = self._standing.get(alert.id)
        if alert.state == "active":
            if alarm is None:
                alarm = Alarm(patient, alert.rule, alert.kind, alert.priority, told_t, alert.onset_t)
                self._standing[alert.id] = alarm
                self.alarms.append(alarm)
        elif alarm is not None and alert.state != "suppressed":
            alarm.until_t = alert.t
            alarm.withdrawn = alert.state == "withdrawn"
            del self._standing[alert.id]


class AlarmRun:
    """Twins and alerts of a ward's patients under one rule set."""

    def __init__(self, model_set: ModelSet, rules: RuleSet, patients: int) -> None:
        self.store = Store(twin_configuration(model_set, rules), rows=max(64, patients))
        self.rows: IntArray = self.store.row_indices([pseudonym(n).encode() for n in range(patients)])
        self.log = AlarmLog()
        self._rules = rules
        self._evidence = EvidenceWriter(self.store.configuration, rules, 0, self.store.device_names)
        self._alerts = [PatientAlerts() for _ in range(patients)]

    def take(self, batch: Batch) -> list[tuple[Condition, list[Alert]]]:
        """Apply a batch, whose rows are `self.rows`, and follow its alerts; returns what was said."""
        keys = self.store.keys
        self._evidence.remember(batch)
        said = []
        for transitions in apply(self.store, batch).transitions:
            for n, row in enumerate(transitions.number[:, ROW].tolist()):
                condition = self._evidence.condition(transitions, n, keys[row].decode(), batch, 0.0)
                self._alerts[row], alerts = step(self._alerts[row], condition, self._rules)
                for alert in alerts:
                    self.log.add(row, alert, condition.provenance.received_at)
                said.append((condition, alerts))
        return said
