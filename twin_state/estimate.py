"""What settles goes through the estimators here, in their order; see `twin_state.estimators`."""

from __future__ import annotations

import math

from twin_state import batch as b
from twin_state import constants as c
from twin_state.batch import Float
from twin_state.columns import NODE_COUNT, NODE_KIND, NODE_T, VALUES_PER_NODE, Columns
from twin_state.compiled import compiled, inlined
from twin_state.constants import Constants
from twin_state.estimators import number_of
from twin_state.models import atrial_fibrillation, beat_clock, heart_rate_under_load, rhythm, spectrum, variability
from twin_state.models.patient import AGE_KNOWN, AGE_YEARS, SESSION_ACTIVE

BEAT_CLOCK = number_of("beat_clock")
ATRIAL_FIBRILLATION = number_of("atrial_fibrillation")
HEART_RATE_UNDER_LOAD = number_of("heart_rate_under_load")
RHYTHM = number_of("rhythm")
SPECTRUM = number_of("spectrum")
VARIABILITY = number_of("variability")
WIRED = (BEAT_CLOCK, ATRIAL_FIBRILLATION, HEART_RATE_UNDER_LOAD, RHYTHM, SPECTRUM, VARIABILITY)
"""Those that `take` drives."""

KM_PER_H = 3.6
"""In one m/s."""


@inlined
def _fast_per_min(k: Constants, settled: Float) -> float:
    at = k.models[c.PATIENT, c.BASE]
    if settled[at + SESSION_ACTIVE] != 0.0:
        return math.inf
    return rhythm.highest_rate_per_min(settled[at + AGE_YEARS] if settled[at + AGE_KNOWN] != 0.0 else math.nan)


@inlined
def _beat(k: Constants, e: Float, interval_s: float, t: float, fast_per_min: float) -> None:
    at = beat_clock.beat_t(e, k.models[BEAT_CLOCK, c.BASE], interval_s, t)
    if k.models[ATRIAL_FIBRILLATION, c.ENABLED]:
        p = k.parameters[k.models[ATRIAL_FIBRILLATION, c.PARAMETERS] :]
        atrial_fibrillation.observe(e, k.models[ATRIAL_FIBRILLATION, c.BASE], p, interval_s, at)
    if k.models[VARIABILITY, c.ENABLED]:
        variability.observe(e, k.models[VARIABILITY, c.BASE], interval_s, at)
    if k.models[SPECTRUM, c.ENABLED]:
        spectrum.observe(e, k.models[SPECTRUM, c.BASE], interval_s, at)
    if k.models[RHYTHM, c.ENABLED]:
        rhythm.observe(e, k.models[RHYTHM, c.BASE], interval_s, at, fast_per_min)


@inlined
def _load(k: Constants, e: Float, watts: float, speed_mps: float, heart_rate: float, t: float) -> None:
    at = k.models[HEART_RATE_UNDER_LOAD, c.BASE]
    if not math.isnan(watts):
        p = k.parameters[k.models[HEART_RATE_UNDER_LOAD, c.PARAMETERS] :]
        heart_rate_under_load.observe_load(e, at, p, watts, KM_PER_H * speed_mps, t)
    if not math.isnan(heart_rate):
        heart_rate_under_load.observe_heart_rate(e, at, heart_rate, t)


@compiled
def take(k: Constants, s: Columns, row: int, node: int) -> None:
    """Take in one node of the buffer as it settles. A new stay begins with nothing known."""
    kind = s.node_number[node, NODE_KIND]
    e = s.estimates[row]
    if kind == b.ADMIT:
        for n in range(e.shape[0]):
            e[n] = 0.0
    if kind != b.READING:
        return
    t = s.node_time[node, NODE_T]
    heart_rate = watts = speed_mps = math.nan
    for n in range(s.node_number[node, NODE_COUNT]):
        if s.node_value[node, VALUES_PER_NODE + n] < k.quality_floor:
            continue
        signal, value = s.node_signal[node, n], s.node_value[node, n]
        if signal == k.special[c.RR] and k.models[BEAT_CLOCK, c.ENABLED]:
            _beat(k, e, value / 1000.0, t, _fast_per_min(k, s.settled[row]))
        elif signal == k.special[c.HEART_RATE]:
            heart_rate = value
        elif signal == k.special[c.POWER]:
            watts = value
        elif signal == k.special[c.SPEED]:
            speed_mps = value
    if k.models[HEART_RATE_UNDER_LOAD, c.ENABLED]:
        _load(k, e, watts, speed_mps, heart_rate, t)
