"""How good the alarms are right now, from what the alert agent remembers of their signals: the same after any restart.
Pure.

Of each patient the newest 64 ended signals are remembered, which bounds what is counted here; the report from history
(`alerts.quality.figures`) knows no such bound. An alert that came back under its own id counts once, at its newest
onset.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterable
from math import isnan
from typing import NamedTuple

import numpy as np

from alerts.alert_signal import PatientSignals, Signal
from alerts.quality.alarms import INTERRUPTIVE
from alerts.quality.figures import CHATTER_ALARMS, CHATTER_WINDOW_S, FLOOD_WINDOW_S, STALE_S
from alerts.quality.intervals import worst_tenth_share
from alerts.signal_table import LATCHED
from contracts.condition import Priority

DAY_S = 86_400.0

Group = tuple[Priority, str]
"""A priority and a rule."""


class Now(NamedTuple):
    """`chattering`: pairs of patient and rule that chatter, `stale`: alerts that have stood for longer than a day, both
    by priority and rule. `last_ten_minutes`: interruptive alarms announced in that time. `per_patient`: those of the
    last day, of each patient that has any."""

    chattering: Counter[Group]
    stale: Counter[Group]
    last_ten_minutes: int
    per_patient: list[int]


def alarms_now(patients: Iterable[tuple[PatientSignals, float]]) -> Now:
    """The figures over patients, each with the arrival clock of its partition (s)."""
    chattering: Counter[Group] = Counter()
    stale: Counter[Group] = Counter()
    last_ten_minutes = 0
    per_patient: list[int] = []
    for signals, clock in patients:
        for signal in signals.standing.values():
            if signal.state not in LATCHED and _age(signal, clock) > STALE_S:
                stale[signal.priority, signal.rule] += 1
        known = [*signals.standing.values(), *signals.ended.values()]
        of_rule: dict[str, list[Signal]] = defaultdict(list)
        for signal in known:
            if _age(signal, clock) <= CHATTER_WINDOW_S:
                of_rule[signal.rule].append(signal)
        for rule, recent in of_rule.items():
            if len(recent) >= CHATTER_ALARMS:
                chattering[recent[-1].priority, rule] += 1
        ages = [_age(signal, clock) for signal in known if signal.priority in INTERRUPTIVE]
        last_ten_minutes += sum(age <= FLOOD_WINDOW_S for age in ages)
        if today := sum(age <= DAY_S for age in ages):
            per_patient.append(today)
    return Now(chattering, stale, last_ten_minutes, per_patient)


def worst_tenth_now(now: Now, monitored: int) -> float:
    """The share of the last day's interruptive alarms that the worst tenth of the monitored patients has; 0 without
    one."""
    counts = np.zeros(max(monitored, len(now.per_patient)))
    counts[: len(now.per_patient)] = now.per_patient
    share = worst_tenth_share(counts)
    return 0.0 if isnan(share) else share


def _age(signal: Signal, clock: float) -> float:
    return float("inf") if signal.announced_t is None else clock - signal.announced_t
