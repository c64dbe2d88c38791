"""NEWS2, complete: both SpO2 scales, air or oxygen, ACVPU, and a range where inputs are missing or stale.

Source: Royal College of Physicians, National Early Warning Score (NEWS) 2, London 2017, chart 1 to 3. What the chart
leaves open is fixed so: values are rounded half up to the chart's resolution (integers; temperature 0.1 degree) before
they are scored, so that bands have neither gap nor overlap; scale 2 counts only by a clinician's order; an input that
is missing or older than its validity widens the score to [least possible, greatest possible] and is named, never
invented. Not applicable under 16 years, in pregnancy or with spinal injury, and suspended during an exercise session.
"""

from __future__ import annotations

import numpy as np

from twin_state import constants as c
from twin_state.batch import Float, Int
from twin_state.compiled import compiled, inlined
from twin_state.constants import Constants
from twin_state.models import patient
from twin_state.models.latest import channel_fresh, channel_time, channel_value, set_channel, unset_channel

INPUTS: tuple[str, ...] = (
    "respiratory_rate",
    "spo2",
    "supplemental_oxygen",
    "systolic_pressure",
    "heart_rate",
    "consciousness",
    "body_temperature",
)
"""In chart order; bit n of `missing` stands for the n-th."""

APPLICABLE, UNDER_16, PREGNANT, SPINAL_INJURY, IN_SESSION = range(5)
REASONS: tuple[str, ...] = (
    "",
    "not applicable under 16 years",
    "not applicable in pregnancy",
    "not applicable with spinal injury",
    "suspended during an exercise session",
)

LEAST_INPUTS_FOR_GREATEST = 5
"""The greatest possible score is offered to rules only when this many inputs are known: with fewer it would be high
for every healthy patient with one sensor."""


HELD_S = 43_200.0
"""So long an input that is no longer measured keeps its last points for what must fall before an alarm clears: the
longest interval that the chart allows between observations."""

HELD_TOTAL, HELD_SINGLE = 4, 5
"""Columns: the least total, and whether one input alone scores 3, with the last points of what is missing."""


@inlined
def _half_up(value: float) -> float:
    return np.floor(value + 0.5)  # type: ignore[no-any-return]


@inlined
def respiration_points(per_minute: float) -> int:
    """Points for respiratory rate (1/min)."""
    x = _half_up(per_minute)
    if x <= 8:
        return 3
    if x <= 11:
        return 1
    if x <= 20:
        return 0
    return 2 if x <= 24 else 3


@inlined
def spo2_points(percent: float, scale: int, oxygen: int) -> int:
    """Points for SpO2 (%) on scale 1 or 2; `oxygen` is 1 on supplemental oxygen."""
    x = _half_up(percent)
    if scale == 2:
        if x <= 83:
            return 3
        if x <= 85:
            return 2
        if x <= 87:
            return 1
        if x <= 92 or oxygen == 0:
            return 0
        if x <= 94:
            return 1
        return 2 if x <= 96 else 3
    if x <= 91:
        return 3
    if x <= 93:
        return 2
    return 1 if x <= 95 else 0


@inlined
def systolic_points(mmhg: float) -> int:
    """Points for systolic pressure (mm[Hg])."""
    x = _half_up(mmhg)
    if x <= 90:
        return 3
    if x <= 100:
        return 2
    if x <= 110:
        return 1
    return 0 if x <= 219 else 3


@inlined
def pulse_points(per_minute: float) -> int:
    """Points for pulse (1/min)."""
    x = _half_up(per_minute)
    if x <= 40:
        return 3
    if x <= 50:
        return 1
    if x <= 90:
        return 0
    if x <= 110:
        return 1
    return 2 if x <= 130 else 3


@inlined
def temperature_points(celsius: float) -> int:
    """Points for body temperature (Cel)."""
    x = _half_up(celsius * 10.0)
    if x <= 350:
        return 3
    if x <= 360:
        return 1
    if x <= 380:
        return 0
    return 1 if x <= 390 else 2


@inlined
def _reason(k: Constants, f: Float) -> int:
    at = k.models[c.PATIENT, c.BASE]
    if f[at + patient.AGE_KNOWN] > 0.0 and f[at + patient.AGE_YEARS] < 16.0:
        return UNDER_16
    if f[at + patient.PREGNANT] > 0.0:
        return PREGNANT
    if f[at + patient.SPINAL_INJURY] > 0.0:
        return SPINAL_INJURY
    if patient.in_session(k, f):
        return IN_SESSION
    return APPLICABLE


@inlined
def _known(k: Constants, f: Float, channel: int, t: float, held: bool) -> bool:
    """Whether an input has a value that counts at `t`; `held`: also one past its validity, up to `HELD_S`."""
    if channel < 0:
        return False
    measured = channel_time(k, f, channel)
    return channel_fresh(k, f, channel, t) or (held and measured > 0.0 and t - measured <= HELD_S)


@inlined
def _value(k: Constants, f: Float, channel: int) -> float:
    """An input's value; meaningless unless `_known`."""
    return channel_value(k, f, channel) if channel >= 0 else 0.0


@inlined
def _add(
    total: tuple[int, int, int, int, int], place: int, known: bool, low: int, high: int, most: int
) -> tuple[int, int, int, int, int]:
    """(least, greatest, highest of one input, inputs known, inputs missing) with the input at `place` in the chart:
    `low` to `high` points if it is known, else anything up to `most`."""
    least, greatest, single, inputs, missing = total
    if known:
        return least + low, greatest + high, max(single, low), inputs + 1, missing
    return least, greatest + most, single, inputs, missing | (1 << place)


@compiled
def total_of(
    k: Constants, f: Float, t: float, respiration_channel: int, spo2_channel: int, pulse_channel: int, held: bool
) -> tuple[int, int, int, int, int]:
    """(least, greatest, highest of one input, inputs known, inputs missing) as of `t` (s), with respiration, SpO2 and
    pulse from these channels; `held`: with the last points of what is no longer measured."""
    oxygen_channel, consciousness_channel = k.special[c.SUPPLEMENTAL_OXYGEN], k.special[c.CONSCIOUSNESS]
    systolic_channel, temperature_channel = k.special[c.SYSTOLIC], k.special[c.BODY_TEMPERATURE]
    oxygen_known = _known(k, f, oxygen_channel, t, held)
    oxygen = 0
    if oxygen_known and _value(k, f, oxygen_channel) != 0.0:
        oxygen = 1
    scale = 2 if f[k.models[c.PATIENT, c.BASE] + patient.SPO2_SCALE] == 2.0 else 1
    percent = _value(k, f, spo2_channel)
    on_air, on_oxygen = spo2_points(percent, scale, 0), spo2_points(percent, scale, 1)
    low, high = min(on_air, on_oxygen), max(on_air, on_oxygen)
    if oxygen_known:
        low = high = on_oxygen if oxygen == 1 else on_air
    alert = 0 if _value(k, f, consciousness_channel) == 0.0 else 3
    respiration = respiration_points(_value(k, f, respiration_channel))
    systolic = systolic_points(_value(k, f, systolic_channel))
    pulse = pulse_points(_value(k, f, pulse_channel))
    temperature = temperature_points(_value(k, f, temperature_channel))

    total = (0, 0, 0, 0, 0)
    total = _add(total, 0, _known(k, f, respiration_channel, t, held), respiration, respiration, 3)
    total = _add(total, 1, _known(k, f, spo2_channel, t, held), low, high, 3)
    total = _add(total, 2, oxygen_known, 2 * oxygen, 2 * oxygen, 2)
    total = _add(total, 3, _known(k, f, systolic_channel, t, held), systolic, systolic, 3)
    total = _add(total, 4, _known(k, f, pulse_channel, t, held), pulse, pulse, 3)
    total = _add(total, 5, _known(k, f, consciousness_channel, t, held), alert, alert, 3)
    return _add(total, 6, _known(k, f, temperature_channel, t, held), temperature, temperature, 3)


@compiled
def evaluate(k: Constants, f: Float, i: Int, t: float, reading: int) -> None:
    """Score the row as of `t` (s) and set the channels news2_low, news2_high and news2_single."""
    at = k.models[c.NEWS2_MODEL, c.BASE]
    reason = _reason(k, f)
    f[at + 1] = float(reason)
    breath, spo2, rate = k.special[c.RESPIRATORY_RATE], k.special[c.SPO2], k.special[c.HEART_RATE]
    least, greatest, single, known, missing = total_of(k, f, t, breath, spo2, rate, False)

    f[at] = float(missing)
    f[at + 2] = float(least)
    f[at + 3] = float(greatest)
    f[at + HELD_TOTAL], f[at + HELD_SINGLE] = float(least), 1.0 if single == 3 else 0.0
    if missing != 0 and reason == APPLICABLE:
        held = total_of(k, f, t, breath, spo2, rate, True)
        f[at + HELD_TOTAL], f[at + HELD_SINGLE] = float(held[0]), 1.0 if held[2] == 3 else 0.0
    if reason != APPLICABLE or known == 0:
        unset_channel(k, f, k.signals + c.NEWS2_LOW)
        unset_channel(k, f, k.signals + c.NEWS2_HIGH)
        unset_channel(k, f, k.signals + c.NEWS2_SINGLE)
        return
    set_channel(k, f, i, k.signals + c.NEWS2_LOW, float(least), t, reading)
    set_channel(k, f, i, k.signals + c.NEWS2_SINGLE, 1.0 if single == 3 else 0.0, t, reading)
    if known >= LEAST_INPUTS_FOR_GREATEST:
        set_channel(k, f, i, k.signals + c.NEWS2_HIGH, float(greatest), t, reading)
    else:
        unset_channel(k, f, k.signals + c.NEWS2_HIGH)
