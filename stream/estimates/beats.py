"""What the intervals between beats say: fibrillation, variability, spectrum, events of rhythm."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from stream.estimates.told import OF_NOW_S, OF_STAY_S, estimate
from twin_state import constants as c
from twin_state.batch import Float
from twin_state.constants import Constants
from twin_state.drivers.beats import ATRIAL_FIBRILLATION, RHYTHM, SPECTRUM, VARIABILITY
from twin_state.models import atrial_fibrillation, rhythm, spectrum, variability

EVENTS = {
    "bradycardia_episodes": rhythm.BRADYCARDIA,
    "tachycardia_episodes": rhythm.TACHYCARDIA,
    "pauses": rhythm.PAUSES,
    "ectopic_beats": rhythm.ECTOPIC,
}
"""Name -> what `twin_state.models.rhythm` counts."""


def estimates(k: Constants, e: Float, t: float) -> dict[str, Any]:
    """See `stream.estimates`."""
    found: dict[str, Any] = {}
    if k.models[ATRIAL_FIBRILLATION, c.ENABLED]:
        found |= _fibrillation(e, int(k.models[ATRIAL_FIBRILLATION, c.BASE]), t)
    if k.models[VARIABILITY, c.ENABLED]:
        found |= _variability(e, int(k.models[VARIABILITY, c.BASE]), t)
    if k.models[SPECTRUM, c.ENABLED]:
        found |= _spectrum(e, int(k.models[SPECTRUM, c.BASE]), t)
    if k.models[RHYTHM, c.ENABLED]:
        found |= _events(e, int(k.models[RHYTHM, c.BASE]), t)
    return found


def _fibrillation(e: Float, at: int, t: float) -> dict[str, Any]:
    as_of = float(e[at + atrial_fibrillation.T])
    if as_of <= 0.0:
        return {}
    p = float(atrial_fibrillation.probability(e, at, t))
    burden = float(atrial_fibrillation.burden(e, at))
    return {
        "atrial_fibrillation_probability": estimate(as_of, "1", OF_NOW_S, p, math.sqrt(p * (1.0 - p))),
        "atrial_fibrillation_burden": estimate(as_of, "1", OF_STAY_S, burden, math.nan),
    }


def _variability(e: Float, at: int, t: float) -> dict[str, Any]:
    as_of = float(e[at + variability.T])
    if as_of <= 0.0:
        return {}

    def measure(which: int) -> float:
        return float(variability.measure(e, at, which, t))

    mean_nn, sdnn, rmssd = measure(variability.MEAN_NN), measure(variability.SDNN), measure(variability.RMSSD)
    # Of independent intervals; those of a heart are not, so that the true deviation is somewhat greater.
    beats = variability.WINDOW_S / mean_nn if mean_nn > 0.0 else math.nan
    return {
        "mean_nn": estimate(as_of, "ms", OF_NOW_S, 1000.0 * mean_nn, 1000.0 * sdnn / math.sqrt(beats)),
        "sdnn": estimate(as_of, "ms", OF_NOW_S, 1000.0 * sdnn, 1000.0 * sdnn / math.sqrt(2.0 * beats)),
        "rmssd": estimate(as_of, "ms", OF_NOW_S, 1000.0 * rmssd, 1000.0 * rmssd / math.sqrt(2.0 * beats)),
        "dfa_alpha1": estimate(as_of, "1", OF_NOW_S, measure(variability.ALPHA1), math.nan),
    }


def _spectrum(e: Float, at: int, t: float) -> dict[str, Any]:
    as_of = float(e[at + spectrum.T])
    if as_of <= 0.0:
        return {}
    out = np.empty(6)
    spectrum.measure(e, at, t, out)
    low, high, ratio = float(out[spectrum.LF]), float(out[spectrum.HF]), float(out[spectrum.LF_TO_HF])
    return {
        "lf": estimate(as_of, "ms2", OF_NOW_S, low, spectrum.LF_SPREAD * low),
        "hf": estimate(as_of, "ms2", OF_NOW_S, high, spectrum.HF_SPREAD * high),
        "lf_hf": estimate(as_of, "1", OF_NOW_S, ratio, math.hypot(spectrum.LF_SPREAD, spectrum.HF_SPREAD) * ratio),
        "respiratory_rate_from_beats": estimate(
            as_of, "/min", OF_NOW_S, float(out[spectrum.RESPIRATION]), float(out[spectrum.RESPIRATION_SD])
        ),
    }


def _events(e: Float, at: int, t: float) -> dict[str, Any]:
    """Counts of the last 24 hours; without a beat in them there is nothing to count in."""
    as_of = float(e[at + rhythm.T])
    if as_of <= 0.0:
        return {}
    seen = rhythm.counted(e, at, rhythm.BEATS, t) > 0.0

    def count(which: int) -> float:
        return float(rhythm.counted(e, at, which, t)) if seen else math.nan

    found = {name: estimate(as_of, "1", OF_STAY_S, count(which), math.nan) for name, which in EVENTS.items()}
    if count(rhythm.PAUSES) > 0.0:
        found["longest_pause"] = estimate(as_of, "s", OF_STAY_S, count(rhythm.LONGEST), math.nan)
    return found
