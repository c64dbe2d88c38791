"""The figures of alarm quality: how many, of what use, how soon answered, and what is wrong with the others.

Definitions follow IEC 62682 (management of alarm systems, as ISA-18.2) where it has them. What it says of one operator
is said of one ward here.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from math import isnan

import msgspec
import numpy as np

from alerts.quality.alarms import INTERRUPTIVE, Alarm
from alerts.quality.intervals import FloatArray, Interval, rate_interval, wilson, worst_tenth_share
from contracts.condition import PRIORITIES, Priority

CHATTER_ALARMS = 3
CHATTER_WINDOW_S = 600.0
"""Chattering (IEC 62682: an alarm that comes and goes repeatedly in a short time): so many alarms of one rule and
patient within so long. The usual rule of thumb, three in a minute, is for alarms without delay; with onset and clearing
delays of up to a minute nothing could ever reach it, hence ten minutes."""

SHORT_LIVED_S = 19.0
"""An alarm that was over so soon: a delay of 19 s would have spared two thirds of the ineffective or ignored ones on an
intensive care unit (Goerges 2009)."""

FLOOD_ALARMS = 10
FLOOD_OVER_ALARMS = 5
FLOOD_WINDOW_S = 600.0
"""Flood (IEC 62682): begins with more than 10 alarms in 10 minutes for one operator, ends with fewer than 5 in 10."""

STALE_S = 86_400.0
"""Stale (IEC 62682): an alarm that stands longer than 24 h."""

MONITORED_GAP_S = 900.0
"""A reading says that its patient is monitored until the next one, at most so long: the silence that BioTwin allows at
rest. A longer gap counts with this much."""


class Figures(msgspec.Struct, frozen=True):
    """What is known of a group of alarms.

    `per_patient_day` has the interval that drawing patients with replacement gives (none for fewer than five), `ppv`
    that of Wilson. `ppv` is useful / (useful + not useful) over alarms with feedback that is not `divided`. Delays are
    from announcement to the first answer (s), of those `acknowledged` or put off: an alarm that was over before anybody
    came has none.
    """

    alarms: int
    per_patient_day: float | None
    per_patient_day_95: Interval | None
    useful: int
    not_useful: int
    divided: int
    ppv: float | None
    ppv_95: Interval | None
    acknowledged: int
    acknowledge_median_s: float | None
    acknowledge_p90_s: float | None
    escalated: int
    withdrawn: int
    short_lived: int
    chattering: int
    stale: int


class Flood(msgspec.Struct, frozen=True):
    """Floods of one place: how many began, how long they took together (s), the most alarms in ten minutes."""

    place: str
    floods: int
    seconds: float
    most_in_ten_minutes: int


class Quality(msgspec.Struct, frozen=True):
    """The figures of a time span, [since, until) in s. `floods` counts interruptive alarms, by place.

    `worst_tenth_share` is over the monitored patients, of interruptive alarms.
    """

    since: float
    until: float
    patients: int
    patient_days: float
    every: Figures
    interruptive: Figures
    by_priority: dict[Priority, Figures]
    by_rule: dict[str, Figures]
    worst_tenth_share: float | None
    floods: list[Flood]


def quality(
    alarms: Sequence[Alarm],
    monitored_days: Mapping[str, float],
    since: float,
    until: float,
    place_of: Callable[[str], str] = lambda _: "",
) -> Quality:
    """The figures of the alarms that were announced in [since, until), and of those that went stale in it.

    `monitored_days` has the days that each patient was monitored. `place_of` names the ward of a patient. The order of
    `alarms` does not matter.
    """
    inside = [alarm for alarm in alarms if since <= alarm.announced_t < until]
    patients = sorted({*monitored_days, *(alarm.patient for alarm in inside)})
    days = np.array([monitored_days.get(patient, 0.0) for patient in patients])
    stale = [alarm for alarm in alarms if is_stale(alarm, since, until)]
    group = _Grouping(patients, days, inside, stale)
    urgent = [alarm for alarm in inside if alarm.priority in INTERRUPTIVE]
    share = worst_tenth_share(group.per_patient(urgent)) if patients else float("nan")
    return Quality(
        since=since,
        until=until,
        patients=len(monitored_days),
        patient_days=float(days.sum()),
        every=group.figures(lambda _: True),
        interruptive=group.figures(lambda alarm: alarm.priority in INTERRUPTIVE),
        by_priority={priority: group.figures(partial(_has, "priority", priority)) for priority in reversed(PRIORITIES)},
        by_rule={
            rule: group.figures(partial(_has, "rule", rule))
            for rule in sorted({alarm.rule for alarm in (*inside, *stale)})
        },
        worst_tenth_share=None if isnan(share) else share,
        floods=floods(urgent, place_of),
    )


def _has(field: str, value: str, alarm: Alarm) -> bool:
    return bool(getattr(alarm, field) == value)


class _Grouping:
    """What the figures of every group share: the patients and their days, the alarms, and the stale ones."""

    def __init__(
        self, patients: Sequence[str], days: FloatArray, alarms: Sequence[Alarm], stale: Sequence[Alarm]
    ) -> None:
        self._index = {patient: n for n, patient in enumerate(patients)}
        self._days = days
        self._alarms = list(zip(alarms, chattering(alarms), strict=True))
        self._stale = stale

    def per_patient(self, alarms: Sequence[Alarm]) -> FloatArray:
        """How many each patient has, shape (patients,)."""
        whose = np.array([self._index[alarm.patient] for alarm in alarms], np.int64)
        return np.bincount(whose, minlength=len(self._index)).astype(np.float64)

    def figures(self, belongs: Callable[[Alarm], bool]) -> Figures:
        """The figures of the alarms that belong."""
        alarms = [alarm for alarm, _ in self._alarms if belongs(alarm)]
        useful = sum(alarm.useful is True for alarm in alarms)
        not_useful = sum(alarm.useful is False for alarm in alarms)
        judged = useful + not_useful
        delays = [alarm.answered_t - alarm.announced_t for alarm in alarms if alarm.answered_t is not None]
        days = float(self._days.sum())
        median, p90 = np.percentile(delays, (50, 90)).tolist() if delays else (None, None)
        return Figures(
            alarms=len(alarms),
            per_patient_day=len(alarms) / days if days > 0 else None,
            per_patient_day_95=rate_interval(self.per_patient(alarms), self._days),
            useful=useful,
            not_useful=not_useful,
            divided=sum(alarm.divided for alarm in alarms),
            ppv=useful / judged if judged else None,
            ppv_95=wilson(useful, judged),
            acknowledged=len(delays),
            acknowledge_median_s=median,
            acknowledge_p90_s=p90,
            escalated=sum(alarm.escalations > 0 for alarm in alarms),
            withdrawn=sum(alarm.withdrawn for alarm in alarms),
            short_lived=sum(alarm.ended_t - alarm.announced_t < SHORT_LIVED_S for alarm in alarms),
            chattering=sum(chatters and belongs(alarm) for alarm, chatters in self._alarms),
            stale=sum(belongs(alarm) for alarm in self._stale),
        )


def is_stale(alarm: Alarm, since: float, until: float) -> bool:
    """Whether an alarm passed `STALE_S` and still stood at some moment of [since, until)."""
    stale_t = alarm.announced_t + STALE_S
    return stale_t < until and alarm.ended_t > max(since, stale_t)


def chattering(alarms: Sequence[Alarm]) -> list[bool]:
    """Which of the alarms are among `CHATTER_ALARMS` of one rule and patient that came within `CHATTER_WINDOW_S`."""
    of_rule: dict[tuple[str, str], list[int]] = defaultdict(list)
    for n in sorted(range(len(alarms)), key=lambda n: alarms[n].announced_t):
        of_rule[alarms[n].patient, alarms[n].rule].append(n)
    found = [False] * len(alarms)
    for group in of_rule.values():
        for start in range(len(group) - CHATTER_ALARMS + 1):
            together = group[start : start + CHATTER_ALARMS]
            if alarms[together[-1]].announced_t - alarms[together[0]].announced_t <= CHATTER_WINDOW_S:
                for n in together:
                    found[n] = True
    return found


def floods(alarms: Sequence[Alarm], place_of: Callable[[str], str]) -> list[Flood]:
    """The floods of each place that has alarms, by place."""
    by_place: dict[str, list[float]] = defaultdict(list)
    for alarm in alarms:
        by_place[place_of(alarm.patient)].append(alarm.announced_t)
    return [_flood(place, times) for place, times in sorted(by_place.items())]


def _flood(place: str, times: Sequence[float]) -> Flood:
    # At one moment the old leave the window before the new enter it.
    steps = sorted([(t + FLOOD_WINDOW_S, -1) for t in times] + [(t, 1) for t in times])
    count = most = begun = 0
    seconds = 0.0
    since: float | None = None
    for t, change in steps:
        count += change
        most = max(most, count)
        if since is None and count > FLOOD_ALARMS:
            since, begun = t, begun + 1
        elif since is not None and count < FLOOD_OVER_ALARMS:
            seconds, since = seconds + t - since, None
    return Flood(place, begun, seconds, most)
