"""What the estimators say of a patient, for a twin's record. One that abstains is named without a value."""

from __future__ import annotations

import math
from typing import Any

from twin_state import constants as c
from twin_state.batch import Float
from twin_state.configuration import TwinConfiguration
from twin_state.estimate import ATRIAL_FIBRILLATION, VARIABILITY
from twin_state.models import atrial_fibrillation, variability

OF_NOW_S = 60.0
"""How long an estimate of the last minutes holds, counted from its last beat: what settles is some seconds old."""
OF_STAY_S = 86_400.0
"""How long what is counted over the stay holds."""


def estimates(configuration: TwinConfiguration, e: Float, t: float) -> dict[str, Any]:
    """By name, as of the patient's clock `t` (s), from the row's estimates `e`; of models that have seen anything."""
    k = configuration.constants
    found: dict[str, Any] = {}
    if k.models[ATRIAL_FIBRILLATION, c.ENABLED]:
        found |= _fibrillation(e, int(k.models[ATRIAL_FIBRILLATION, c.BASE]), t)
    if k.models[VARIABILITY, c.ENABLED]:
        found |= _variability(e, int(k.models[VARIABILITY, c.BASE]), t)
    return found


def _fibrillation(e: Float, at: int, t: float) -> dict[str, Any]:
    as_of = float(e[at + atrial_fibrillation.T])
    if as_of <= 0.0:
        return {}
    p = float(atrial_fibrillation.probability(e, at, t))
    burden = float(atrial_fibrillation.burden(e, at))
    return {
        "atrial_fibrillation_probability": _estimate(as_of, "1", OF_NOW_S, p, math.sqrt(p * (1.0 - p))),
        "atrial_fibrillation_burden": _estimate(as_of, "1", OF_STAY_S, burden, math.nan),
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
        "mean_nn": _estimate(as_of, "ms", OF_NOW_S, 1000.0 * mean_nn, 1000.0 * sdnn / math.sqrt(beats)),
        "sdnn": _estimate(as_of, "ms", OF_NOW_S, 1000.0 * sdnn, 1000.0 * sdnn / math.sqrt(2.0 * beats)),
        "rmssd": _estimate(as_of, "ms", OF_NOW_S, 1000.0 * rmssd, 1000.0 * rmssd / math.sqrt(2.0 * beats)),
        "dfa_alpha1": _estimate(as_of, "1", OF_NOW_S, measure(variability.ALPHA1), math.nan),
    }


def _estimate(t: float, unit: str, valid_s: float, value: float, sd: float) -> dict[str, Any]:
    told: dict[str, Any] = {"t": t, "unit": unit, "valid_s": valid_s}
    if not math.isnan(value):
        told["value"] = value
        if not math.isnan(sd):
            told["sd"] = sd
    return told
