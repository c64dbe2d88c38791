"""Alarms against what truly happened, where that is known: `docs/synthetic-ward.md` defines it and says why."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

from alerts.quality.alarms import INTERRUPTIVE, Alarm

WINDOW_S = 1800.0
"""How long after its onset an event may be matched."""


class TrueEvent(NamedTuple):
    """An adverse event of a patient: when the vital signs left their course, when it could be told, when it was over; s
    since the epoch."""

    patient: str
    begin_t: float
    onset_t: float
    end_t: float


def matches(begin_t: float, onset_t: float, told_t: float, until_t: float) -> bool:
    """Whether an alarm told at `told_t`, which stood until `until_t`, is one of the event: from its onset to 30 min
    after, or told while the effect was rising and still there at the onset."""
    return onset_t <= told_t <= onset_t + WINDOW_S or begin_t <= told_t < onset_t <= until_t


def found(events: Sequence[TrueEvent], alarms: Sequence[Alarm]) -> list[bool]:
    """Which events an interruptive alarm of their patient matches, each alarm one event at most."""
    of_patient: dict[str, list[Alarm]] = {}
    for alarm in sorted(alarms, key=lambda alarm: alarm.announced_t):
        if alarm.priority in INTERRUPTIVE and alarm.kind == "physiological":
            of_patient.setdefault(alarm.patient, []).append(alarm)
    hits = [False] * len(events)
    for n in sorted(range(len(events)), key=lambda n: events[n].onset_t):
        event = events[n]
        own = of_patient.get(event.patient, [])
        for alarm in own:
            if alarm.announced_t <= event.end_t and matches(
                event.begin_t, event.onset_t, alarm.announced_t, alarm.ended_t
            ):
                own.remove(alarm)
                hits[n] = True
                break
    return hits
