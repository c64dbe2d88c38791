"""Steady values of heart rate, respiratory rate and SpO2, what is usual for the patient, and how far he is from it.

Movement makes an oximeter read low and a patch count breaths that are none: one-sided noise with a memory of half a
minute. For each of the three vital signs the row keeps exponential averages, dt at most 60 s a value:

    centre, scatter   of the value, and of its distance from the centre, over `TAU_S`
    fast              of the value, over 40 s; distance g = x - fast
    unrest, trend     of |g| and of g, over 120 s: noise has unrest, a true fall has a trend as large as its unrest
    level             centre + OFFSET scatter: where the value would be without the noise (the upper end of what is
                      measured for SpO2, the lower end for respiratory rate, the centre for heart rate)

A value is plausible while unrest - |trend| / 2 is at most `MOST_UNREST` and it lies within `MOST_STEP` of fast +
trend / 2. The **steady value** is the value itself while plausible, else the level: an artefact is told apart by how it
comes, never by how low it is, and a breach that lasts moves the level within minutes.

The **usual** value is the mean level of up to 24 h of the stay, at least one hour, and stands still while the patient
is away from it or in a session. `deterioration` sums how far heart rate and respiratory rate lie above and SpO2 below
what is usual, each in its own scale and at most `MOST_PART`. It only ever adds alarms: no rule on a signal, a steady
value or NEWS2 reads what is usual. `heart_rate_scatter` is the scatter of heart rate as it stands: a pulse that is
irregular all the time, as in atrial fibrillation, has more of it than movement makes.

`news2_steady` is the least NEWS2 total with steady values in place of the last ones. A vital sign that is no longer
measured adds nothing to an onset, but keeps its last points in what must fall for an alarm to clear (`held_…`).
"""

from __future__ import annotations

import math

from twin_state import constants as c
from twin_state.batch import Float, Int
from twin_state.compiled import compiled, inlined
from twin_state.constants import Constants
from twin_state.models import news2, patient
from twin_state.models.latest import channel_value, set_channel, unset_channel

VITALS = 3
SIGNALS = (c.HEART_RATE, c.RESPIRATORY_RATE, c.SPO2)
TAU_S = (60.0, 200.0, 150.0)
OFFSET = (0.0, -1.4, 2.0)
CLIP = (12.0, 10.0, 6.0)
FIRST_SCATTER = (1.5, 1.0, 0.8)
MOST_UNREST = (1e9, 1.3, 0.8)
MOST_STEP = (25.0, 6.0, 4.0)
SIDE = (1.0, 1.0, -1.0)
SCALE = (7.0, 2.1, 2.2)
MOST_PART = (4.0, 4.5, 5.0)
"""For each vital sign (1/min, 1/min, %): what the text above names, tuned on the tuning seeds of the synthetic ward
alone; SIDE is the direction in which it worsens, SCALE what counts 1 in `deterioration`,
MOST_PART the most that one adds."""

FAST_TAU_S = 40.0
UNREST_TAU_S = 120.0
FIRST_UNREST = 0.6
TREND_SHARE = 0.5
LONGEST_STEP_S = 60.0
FORGET_AFTER_S = 1800.0
"""After so long without a value the averages begin anew; what is usual is kept."""

USUAL_S = 86_400.0
LEAST_USUAL_S = 3600.0
ONE_MISSING = 1.15
"""Of three vital signs two count so much more in `deterioration` while the third is not measured."""
FROZEN_ABOVE = 3.0
FROZEN_BELOW_HEART_RATE = 12.0
PART_HOLD_S = 240.0
"""A level counts so long in `deterioration` after its last value."""

(CENTRE, SCATTER, FAST, UNREST, TREND, SPAN, T, USUAL, USUAL_SPAN) = range(9)
HELD_TOTAL, HELD_DETERIORATION, MISSING, GREATEST = range(9 * VITALS, 9 * VITALS + 4)


@inlined
def _at(k: Constants, vital: int, field: int) -> int:
    return k.models[c.STEADY, c.BASE] + VITALS * field + vital  # type: ignore[no-any-return]


@inlined
def _level(k: Constants, f: Float, vital: int) -> float:
    return f[_at(k, vital, CENTRE)] + OFFSET[vital] * f[_at(k, vital, SCATTER)]  # type: ignore[no-any-return]


@compiled
def observe(k: Constants, f: Float, i: Int, signal: int, value: float, t: float, reading: int) -> bool:
    """Take in one trusted value measured at `t` (s); signals other than the three pass by. Returns whether the value is
    plausible: one that is not teaches no baseline."""
    vital = -1
    for n in range(VITALS):
        if k.special[SIGNALS[n]] == signal:
            vital = n
    if vital < 0:
        return True
    centre, scatter, fast = _at(k, vital, CENTRE), _at(k, vital, SCATTER), _at(k, vital, FAST)
    unrest, trend, span = _at(k, vital, UNREST), _at(k, vital, TREND), _at(k, vital, SPAN)
    tau = TAU_S[vital]
    step = t - f[_at(k, vital, T)]
    if step > FORGET_AFTER_S:
        f[centre] = f[fast] = value
        f[scatter], f[unrest] = FIRST_SCATTER[vital], FIRST_UNREST * FIRST_SCATTER[vital]
        f[trend] = f[span] = 0.0
        step = 0.0
    step = min(max(step, 0.0), LONGEST_STEP_S)
    f[_at(k, vital, T)] = t
    f[span] = min(f[span] + step, tau)
    weight = step / f[span] if 0.0 < f[span] < tau else 1.0 - math.exp(-step / tau)
    clip = CLIP[vital]
    distance = min(max(value - f[centre], -clip), clip)
    away = value - f[fast]
    f[fast] += (1.0 - math.exp(-step / FAST_TAU_S)) * away
    slow = 1.0 - math.exp(-step / UNREST_TAU_S)
    f[unrest] += slow * (min(abs(away), clip) - f[unrest])
    f[trend] += slow * (min(max(away, -clip), clip) - f[trend])
    f[centre] += weight * distance
    f[scatter] += (1.0 - math.exp(-step / tau)) * (abs(distance) - f[scatter])
    level = _level(k, f, vital)
    calm = f[unrest] - TREND_SHARE * abs(f[trend]) <= MOST_UNREST[vital]
    plausible = calm and abs(away - TREND_SHARE * f[trend]) <= MOST_STEP[vital]
    steady = value if plausible else level
    if vital == 0:
        set_channel(k, f, i, k.signals + c.HEART_RATE_SCATTER, f[scatter], t, reading)
    set_channel(k, f, i, k.signals + c.HEART_RATE_STEADY + vital, steady, t, reading)
    if f[_at(k, vital, USUAL_SPAN)] >= LEAST_USUAL_S:
        below = f[_at(k, vital, USUAL)] - level
        if vital == 0:
            set_channel(k, f, i, k.signals + c.HEART_RATE_BELOW_USUAL, below, t, reading)
        elif vital == 2:
            set_channel(k, f, i, k.signals + c.SPO2_BELOW_USUAL, below, t, reading)
    _learn(k, f, vital, level, step)
    return bool(plausible)


@inlined
def _learn(k: Constants, f: Float, vital: int, level: float, step: float) -> None:
    usual, span = _at(k, vital, USUAL), _at(k, vital, USUAL_SPAN)
    if f[span] == 0.0:
        f[usual] = level
    away = f[k.models[c.STEADY, c.BASE] + HELD_DETERIORATION] > FROZEN_ABOVE
    away = away or channel_value(k, f, k.signals + c.HEART_RATE_BELOW_USUAL) > FROZEN_BELOW_HEART_RATE
    if patient.in_session(k, f) or (away and f[span] >= LEAST_USUAL_S):
        return
    f[span] = min(f[span] + step, USUAL_S)
    if f[span] > 0.0:
        f[usual] += step / f[span] * (level - f[usual])


@inlined
def forget_usual(k: Constants, f: Float) -> None:
    """A new stay begins: what was usual in the last one says nothing about this one."""
    for vital in range(VITALS):
        f[_at(k, vital, USUAL)] = 0.0
        f[_at(k, vital, USUAL_SPAN)] = 0.0
    f[k.models[c.STEADY, c.BASE] + HELD_DETERIORATION] = 0.0
    for channel in (c.HEART_RATE_BELOW_USUAL, c.SPO2_BELOW_USUAL, c.DETERIORATION):
        unset_channel(k, f, k.signals + channel)


@compiled
def evaluate(k: Constants, f: Float, i: Int, t: float, reading: int) -> None:
    """Set channels deterioration and news2_steady as of `t` (s), once all values of a reading are in."""
    at = k.models[c.STEADY, c.BASE]
    total, held, known = 0.0, 0.0, 0
    for vital in range(VITALS):
        if f[_at(k, vital, USUAL_SPAN)] < LEAST_USUAL_S:
            continue
        away = SIDE[vital] * (_level(k, f, vital) - f[_at(k, vital, USUAL)])
        part = min(max(away / SCALE[vital], 0.0), MOST_PART[vital])
        age = t - f[_at(k, vital, T)]
        if age <= PART_HOLD_S:
            total += part
            known += 1
        if age <= news2.HELD_S:
            held += part
    f[at + HELD_DETERIORATION] = held
    if known == VITALS - 1:
        total *= ONE_MISSING
    if known > 0:
        set_channel(k, f, i, k.signals + c.DETERIORATION, total, t, reading)
    else:
        unset_channel(k, f, k.signals + c.DETERIORATION)
    if not k.models[c.NEWS2_MODEL, c.ENABLED]:
        return
    rate, breath, spo2 = (
        k.signals + c.HEART_RATE_STEADY,
        k.signals + c.RESPIRATORY_RATE_STEADY,
        k.signals + c.SPO2_STEADY,
    )
    least, greatest, _, inputs, missing = news2.total_of(k, f, t, breath, spo2, rate, False)
    if f[k.models[c.NEWS2_MODEL, c.BASE] + 1] != news2.APPLICABLE or inputs == 0:
        unset_channel(k, f, k.signals + c.NEWS2_STEADY)
        return
    set_channel(k, f, i, k.signals + c.NEWS2_STEADY, float(least), t, reading)
    f[at + MISSING], f[at + GREATEST] = float(missing), float(greatest)
    f[at + HELD_TOTAL] = float(least)
    if missing != 0:
        f[at + HELD_TOTAL] = float(news2.total_of(k, f, t, breath, spo2, rate, True)[0])
