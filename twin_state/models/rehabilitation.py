"""Channels of cardiac rehabilitation: symptoms as reported, and in a session heart rate above rest and systolic fall.

heart_rate_above_rest_pct = 100 (heart rate / heart rate at the start of the session - 1): Anderson-Doi's pause rule.
systolic_fall = highest systolic pressure of this session - systolic pressure now (mm[Hg]), counted only while the load
is no lower than it was at that highest pressure (a fall with rising work: ACSM's criterion to stop).
"""

from __future__ import annotations

from twin_state import constants as c
from twin_state.batch import Float, Int
from twin_state.compiled import inlined
from twin_state.constants import Constants
from twin_state.models import patient
from twin_state.models.latest import channel_fresh, channel_time, channel_value, set_channel, unset_channel


@inlined
def observe(k: Constants, f: Float, i: Int, signal: int, value: float, t: float, reading: int) -> None:
    """Take in one trusted value measured at `t` (s)."""
    if signal == k.special[c.SYMPTOM]:
        # One symptom does not end another: only a report of none does.
        none = value == 0.0
        if none or value == 1.0:
            set_channel(k, f, i, k.signals + c.SYMPTOM_CHEST_PAIN, value, t, reading)
        if none or value == 2.0:
            set_channel(k, f, i, k.signals + c.SYMPTOM_SYNCOPE, 0.0 if none else 1.0, t, reading)
        if none or value > 2.0:
            set_channel(k, f, i, k.signals + c.SYMPTOM_OTHER, 0.0 if none else 1.0, t, reading)
        return
    if not patient.in_session(k, f):
        unset_channel(k, f, k.signals + c.HEART_RATE_ABOVE_REST)
        unset_channel(k, f, k.signals + c.SYSTOLIC_FALL)
        return
    if signal == k.special[c.HEART_RATE]:
        rest = f[k.models[c.PATIENT, c.BASE] + patient.SESSION_REST_HEART_RATE]
        if rest > 0.0:
            # In this order 77/min after 70 is 10 %, and not a hair more.
            above = 100.0 * (value - rest) / rest
            set_channel(k, f, i, k.signals + c.HEART_RATE_ABOVE_REST, above, t, reading)


@inlined
def evaluate(k: Constants, f: Float, i: Int, t: float, reading: int) -> None:
    """Judge a systolic pressure that came with this reading, once the reading's load is known too."""
    systolic = k.special[c.SYSTOLIC]
    if systolic < 0 or not patient.in_session(k, f) or channel_time(k, f, systolic) != t:
        return
    if i[k.models[c.CHANNELS, c.IDENTITY_BASE] + systolic] != reading:
        return
    value = channel_value(k, f, systolic)
    at = k.models[c.REHABILITATION, c.BASE]
    power = 0.0
    if k.special[c.POWER] >= 0 and channel_fresh(k, f, k.special[c.POWER], t):
        power = channel_value(k, f, k.special[c.POWER])
    if value >= f[at]:
        f[at] = value
        f[at + 1] = power
    fall = f[at] - value if power >= f[at + 1] else 0.0
    set_channel(k, f, i, k.signals + c.SYSTOLIC_FALL, fall, t, reading)
