"""Technical alarms about delivery itself: consoles and subscribers that are lost, chains at whose end nobody answered.

They concern no single patient, so they have no place in a patient's journal; their state is what topic `alerts` says of
them, and nothing else. Pure.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import NamedTuple

from contracts.condition import Alert, ConditionState
from contracts.identity import identity_text, text_identity

CONSOLE_LOST = "console-lost"
SUBSCRIBER_LOST = "subscriber-lost"
ESCALATION_EXHAUSTED = "escalation-exhausted"

RULES = frozenset({CONSOLE_LOST, SUBSCRIBER_LOST, ESCALATION_EXHAUSTED})

REPEATED_AFTER_S = 6 * 3600.0
"""An alarm that stands is told again so often, so that whoever reads back one day knows of it."""

OVER: Mapping[str, str] = {
    CONSOLE_LOST: "A console that was lost is there again.",
    SUBSCRIBER_LOST: "A subscriber that was lost is there again.",
    ESCALATION_EXHAUSTED: "An alert that nobody had answered is answered, or over.",
}


class Wanted(NamedTuple):
    """An alarm that is to stand: where it is written, and its sentence."""

    partition: int
    message: str


class Written(NamedTuple):
    """A transition to be written to `alerts`, in this partition."""

    partition: int
    alert: Alert


class SystemAlarms:
    """Which of these alarms stand, as far as the partitions read here say."""

    def __init__(self) -> None:
        self._known: dict[str, Written] = {}

    def take(self, alert: Alert, partition: int) -> None:
        """One record of `alerts`; others than these alarms are passed over."""
        if alert.patient == "" and alert.rule in RULES:
            known = self._known.get(alert.id)
            if known is None or known.alert.sequence < alert.sequence:
                self._known[alert.id] = Written(partition, alert)

    def changes(
        self, wanted: Mapping[tuple[str, str], Wanted], unknown: Collection[tuple[str, str]], now: float
    ) -> list[Written]:
        """What is to be written so that exactly the `wanted` alarms (by rule and subject) stand at `now` (s). Of what
        is `unknown` nothing is said. They are to be taken in once they are written."""
        kept = {_id(rule, subject) for rule, subject in unknown}
        found: list[Written] = []
        ids = set()
        for (rule, subject), want in sorted(wanted.items()):
            alarm_id = _id(rule, subject)
            ids.add(alarm_id)
            known = self._known.get(alarm_id)
            if known is None or known.alert.state != "active":
                sequence = 1 if known is None else known.alert.sequence + 1
                found.append(Written(want.partition, _alarm(alarm_id, rule, "onset", now, now, sequence, want.message)))
            elif now - known.alert.t >= REPEATED_AFTER_S:
                found.append(_next(known, "update", now, want.message))
        for alarm_id, known in sorted(self._known.items()):
            if known.alert.state == "active" and alarm_id not in ids and alarm_id not in kept:
                found.append(_next(known, "clear", now, OVER[known.alert.rule]))
        return found

    def forget(self, before: float) -> None:
        """Leave out alarms that were over before that time (s)."""
        self._known = {
            alarm_id: known
            for alarm_id, known in self._known.items()
            if known.alert.state == "active" or known.alert.t >= before
        }


def _id(rule: str, subject: str) -> str:
    return identity_text(text_identity(rule, subject))


def _next(known: Written, transition: ConditionState, now: float, message: str) -> Written:
    alert = known.alert
    alarm = _alarm(alert.id, alert.rule, transition, now, alert.onset_t, alert.sequence + 1, message)
    return Written(known.partition, alarm)


def _alarm(
    alarm_id: str, rule: str, transition: ConditionState, t: float, onset_t: float, sequence: int, message: str
) -> Alert:
    return Alert(
        id=alarm_id,
        patient="",
        rule=rule,
        kind="technical",
        priority="high",
        state="cleared" if transition == "clear" else "active",
        transition=transition,
        stage="settled",
        t=round(t, 3),
        onset_t=round(onset_t, 3),
        sequence=sequence,
        message=message,
        source="BioTwin",
    )
