"""Alarms from the journal of alerts' signals: one for each time an alert is announced that was not standing.

A rise of the priority, a reminder and a resumed signal announce the same alarm again.
"""

from __future__ import annotations

from collections.abc import Iterable
from math import inf

import msgspec

from alerts.signal_table import ANSWERS
from contracts.alert_signal import SignalTransition
from contracts.condition import PRIORITIES, Kind, Priority

INTERRUPTIVE: frozenset[Priority] = frozenset({"high", "medium"})
"""Priorities that call somebody away from what they do."""


class Alarm(msgspec.Struct, kw_only=True):
    """One alarm. Times are of the arrival clock, s.

    `priority` is the highest that it had. `ended_t` is when its condition was over, infinite while it stands;
    `withdrawn` says that it was a notice which settling took back. `answered_t` is when somebody first acknowledged it
    or put it off. `announcements` counts signals given, `escalations` how often nobody answered in time. `votes` has
    the newest opinion of each author: useful or not.
    """

    id: str
    patient: str
    rule: str
    kind: Kind
    priority: Priority
    announced_t: float
    ended_t: float = inf
    withdrawn: bool = False
    answered_t: float | None = None
    announcements: int = 1
    escalations: int = 0
    votes: dict[str, bool] = {}

    @property
    def useful(self) -> bool | None:
        """What most of those who said something said; None where nobody did or they are divided."""
        balance = sum(1 if vote else -1 for vote in self.votes.values())
        return None if balance == 0 else balance > 0

    @property
    def divided(self) -> bool:
        """Whether as many find it useful as do not."""
        return bool(self.votes) and self.useful is None


def alarms_of(journal: Iterable[SignalTransition]) -> list[Alarm]:
    """The alarms of a journal in order of (announced_t, patient, id). Repeats and the order of records change nothing.

    Of an alarm that was announced before the journal's first record, what is known since stands.
    """
    known = {(one.patient, one.id, one.sequence): one for one in journal}
    ordered = sorted(known.values(), key=lambda one: (one.t, one.patient, one.sequence, not one.replaces, one.id))
    newest: dict[tuple[str, str], Alarm] = {}
    alarms: list[Alarm] = []
    for one in ordered:
        place = (one.patient, one.id)
        if one.replaces and (renamed := newest.pop((one.patient, one.replaces), None)) is not None:
            newest[place] = renamed
            renamed.id = one.id
        alarm = newest.get(place)
        if one.event == "condition_onset" or (alarm is None and one.announced_t is not None):
            begun = one.t if one.event == "condition_onset" or one.announced_t is None else one.announced_t
            alarm = newest[place] = Alarm(
                id=one.id,
                patient=one.patient,
                rule=one.rule,
                kind=one.kind,
                priority=one.priority,
                announced_t=begun,
                answered_t=one.answered_t,
                announcements=0 if "annunciate" in one.effects else 1,
                votes={},
            )
            alarms.append(alarm)
        if alarm is not None:
            _follow(alarm, one)
    return sorted(alarms, key=lambda alarm: (alarm.announced_t, alarm.patient, alarm.id))


def _follow(alarm: Alarm, one: SignalTransition) -> None:
    alarm.announcements += "annunciate" in one.effects
    alarm.escalations += "escalate" in one.effects
    if PRIORITIES.index(one.priority) > PRIORITIES.index(alarm.priority):
        alarm.priority = one.priority
    if one.event in ANSWERS and alarm.answered_t is None and "refuse" not in one.effects:
        alarm.answered_t = one.t
    match one.event:
        case "condition_cleared" | "condition_withdrawn":
            alarm.ended_t = one.t
            alarm.withdrawn = one.event == "condition_withdrawn"
        case "marked_useful" | "marked_not_useful":
            alarm.votes[one.actor] = one.event == "marked_useful"
