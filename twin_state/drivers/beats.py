"""Intervals between beats: rhythm, variability, spectrum."""

from __future__ import annotations

import math

from twin_state import constants as c
from twin_state.batch import Float
from twin_state.compiled import inlined
from twin_state.constants import Constants
from twin_state.estimators import number_of
from twin_state.models import atrial_fibrillation, beat_clock, rhythm, spectrum, variability
from twin_state.models.patient import AGE_KNOWN, AGE_YEARS, SESSION_ACTIVE

BEAT_CLOCK = number_of("beat_clock")
ATRIAL_FIBRILLATION = number_of("atrial_fibrillation")
RHYTHM = number_of("rhythm")
SPECTRUM = number_of("spectrum")
VARIABILITY = number_of("variability")
DRIVEN = (BEAT_CLOCK, ATRIAL_FIBRILLATION, RHYTHM, SPECTRUM, VARIABILITY)


@inlined
def fast_per_min(k: Constants, f: Float) -> float:
    """The heart rate above which beats are tachycardia for this patient now; in a session none is."""
    at = k.models[c.PATIENT, c.BASE]
    if f[at + SESSION_ACTIVE] != 0.0:
        return math.inf
    return rhythm.highest_rate_per_min(f[at + AGE_YEARS] if f[at + AGE_KNOWN] != 0.0 else math.nan)


@inlined
def take(k: Constants, e: Float, interval_s: float, t: float, fast_per_min: float) -> None:
    """One interval (s) of a reading measured at `t` (s)."""
    if not k.models[BEAT_CLOCK, c.ENABLED]:
        return
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
