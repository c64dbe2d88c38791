"""What other settings would have given: each alarm of the present rules, and what becomes of it under others. Pure.

The rate of alarms alone says nothing, because no alarms at all is the lowest rate. Every point of the curve has both
sides: how many alarms there would be, and which of those that matter would be lost or late.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Literal

import msgspec
import numpy as np

from alerts.quality.alarms import INTERRUPTIVE, Alarm
from alerts.quality.figures import quality
from alerts.quality.intervals import Interval, wilson
from alerts.quality.truth import TrueEvent, found
from contracts.condition import PRIORITIES

Outcome = Literal["same", "later", "covered", "lost"]
"""`same`: told no later than now. `later`: told by the same rule while it lasted. `covered`: not by this rule, but by
another of at least its priority while it lasted. `lost`: told by nobody."""

LATER_S = 1.0
"""An alarm that comes later by no more than a tick counts as the same."""

GROUPS: tuple[str, ...] = ("useful", "acknowledged", "high", "not_useful", "interruptive")
"""Alarms of the present rules by what is known of them; one may be in several."""


class Fate(msgspec.Struct, frozen=True):
    """What becomes of one alarm; `delay_s` is how much later it is told, None where it is lost."""

    outcome: Outcome
    delay_s: float | None


class Kept(msgspec.Struct, frozen=True):
    """What becomes of a group of alarms. `delay_s` has the median, the 90th percentile and the most of those that still
    come (s)."""

    alarms: int
    same: int
    later: int
    covered: int
    lost: int
    delay_s: tuple[float, float, float] | None


class Point(msgspec.Struct, frozen=True):
    """One rule set of the sweep. `new_alarms` are interruptive ones that the present rules do not give.

    `ppv` is over alarms with feedback that would still come. `sensitivity` is there where the truth is known.
    """

    factor: float
    rules: str
    alarms: int
    interruptive: int
    per_patient_day: float | None
    interruptive_per_patient_day: float | None
    interruptive_per_patient_day_95: Interval | None
    groups: dict[str, Kept]
    new_alarms: int
    ppv: float | None
    ppv_95: Interval | None
    sensitivity: float | None = None
    sensitivity_95: Interval | None = None


class Loss(msgspec.Struct, frozen=True):
    """One alarm that matters and would be lost under the new rules."""

    id: str
    patient: str
    rule: str
    priority: str
    announced_t: float
    lasted_s: float | None
    groups: tuple[str, ...]


def groups_of(alarm: Alarm) -> tuple[str, ...]:
    """The `GROUPS` an alarm is in."""
    is_in = {
        "useful": alarm.useful is True,
        "acknowledged": alarm.answered_t is not None,
        "high": alarm.priority == "high",
        "not_useful": alarm.useful is False,
        "interruptive": alarm.priority in INTERRUPTIVE,
    }
    return tuple(name for name in GROUPS if is_in[name])


def labelled(replayed: Sequence[Alarm], recorded: Sequence[Alarm]) -> tuple[list[Alarm], int]:
    """The replayed alarms with what people did about the recorded ones, and how many recorded ones were found again.

    An alarm is found by its id, else by patient and rule where the two overlap in time. Those that are not found came
    under other rules, or from readings before history begins.
    """
    of_rule: dict[tuple[str, str], list[Alarm]] = {}
    for alarm in sorted(recorded, key=_order):
        of_rule.setdefault((alarm.patient, alarm.rule), []).append(alarm)
    then: dict[int, Alarm] = {}
    for by_id in (True, False):
        for n, one in enumerate(replayed):
            left = of_rule.get((one.patient, one.rule), [])
            same = [alarm for alarm in left if _overlap(one, alarm) and (alarm.id == one.id or not by_id)]
            if n not in then and same:
                then[n] = min(same, key=lambda alarm: abs(one.announced_t - alarm.announced_t))
                left.remove(then[n])
    marked = [
        msgspec.structs.replace(
            one,
            votes=then[n].votes if n in then else {},
            answered_t=then[n].answered_t if n in then else None,
        )
        for n, one in enumerate(replayed)
    ]
    return marked, len(then)


def _order(alarm: Alarm) -> tuple[float, str, str]:
    return alarm.announced_t, alarm.patient, alarm.id


def _overlap(one: Alarm, other: Alarm) -> bool:
    return one.announced_t <= other.ended_t and other.announced_t <= one.ended_t


def fates(present: Sequence[Alarm], other: Sequence[Alarm]) -> list[Fate]:
    """What becomes of each alarm of `present` under the rules that gave `other`."""
    of_patient: dict[str, list[Alarm]] = {}
    for alarm in sorted(other, key=_order):
        of_patient.setdefault(alarm.patient, []).append(alarm)
    return [_fate(alarm, of_patient.get(alarm.patient, [])) for alarm in present]


def _fate(alarm: Alarm, others: Sequence[Alarm]) -> Fate:
    during = [one for one in others if _overlap(one, alarm)]
    for one in during:
        if one.rule == alarm.rule:
            delay_s = max(0.0, one.announced_t - alarm.announced_t)
            return Fate("later" if delay_s > LATER_S else "same", delay_s)
    rank = PRIORITIES.index(alarm.priority)
    for one in during:
        if PRIORITIES.index(one.priority) >= rank:
            return Fate("covered", max(0.0, one.announced_t - alarm.announced_t))
    return Fate("lost", None)


def kept(found_fates: Sequence[Fate]) -> Kept:
    """The fates of a group, counted."""
    count = {outcome: sum(fate.outcome == outcome for fate in found_fates) for outcome in ("same", "later", "covered")}
    delays = [fate.delay_s for fate in found_fates if fate.delay_s is not None]
    spread = None
    if delays:
        median, p90 = np.percentile(delays, (50, 90)).tolist()
        spread = (median, p90, max(delays))
    lost = len(found_fates) - sum(count.values())
    return Kept(len(found_fates), count["same"], count["later"], count["covered"], lost, spread)


def point(
    factor: float,
    rules: str,
    present: Sequence[Alarm],
    other: Sequence[Alarm],
    monitored_days: Mapping[str, float],
    since: float,
    until: float,
    events: Sequence[TrueEvent] = (),
) -> Point:
    """One point of the curve: `other` is what the rule set of hash `rules` gave, `present` what the present one did,
    with what is known of each alarm. Alarms of both count that were announced in [since, until)."""
    reference = [alarm for alarm in present if since <= alarm.announced_t < until]
    figures = quality(other, monitored_days, since, until)
    become = fates(reference, other)
    groups = {
        name: kept([fate for alarm, fate in zip(reference, become, strict=True) if name in groups_of(alarm)])
        for name in GROUPS
    }
    useful = groups["useful"].alarms - groups["useful"].lost
    judged = useful + groups["not_useful"].alarms - groups["not_useful"].lost
    urgent = [alarm for alarm in other if since <= alarm.announced_t < until and alarm.priority in INTERRUPTIVE]
    hits = found(events, other)
    return Point(
        factor=factor,
        rules=rules,
        alarms=figures.every.alarms,
        interruptive=figures.interruptive.alarms,
        per_patient_day=figures.every.per_patient_day,
        interruptive_per_patient_day=figures.interruptive.per_patient_day,
        interruptive_per_patient_day_95=figures.interruptive.per_patient_day_95,
        groups=groups,
        new_alarms=sum(fate.outcome == "lost" for fate in fates(urgent, present)),
        ppv=useful / judged if judged else None,
        ppv_95=wilson(useful, judged),
        sensitivity=sum(hits) / len(hits) if hits else None,
        sensitivity_95=wilson(sum(hits), len(hits)),
    )


def losses(present: Sequence[Alarm], other: Sequence[Alarm], since: float, until: float) -> list[Loss]:
    """The alarms found useful, acknowledged, or of high priority, that `other` lacks, in order of time. Those that
    people found not useful are no loss."""
    reference = [alarm for alarm in present if since <= alarm.announced_t < until]
    return [
        Loss(
            alarm.id,
            alarm.patient,
            alarm.rule,
            alarm.priority,
            alarm.announced_t,
            None if alarm.ended_t == float("inf") else alarm.ended_t - alarm.announced_t,
            groups_of(alarm),
        )
        for alarm, fate in zip(reference, fates(reference, other), strict=True)
        if fate.outcome == "lost" and alarm.useful is not False and {*GROUPS[:3]} & {*groups_of(alarm)}
    ]
