"""Intervals of rates and shares, 95 %."""

from __future__ import annotations

from math import sqrt

import numpy as np
import numpy.typing as npt

FloatArray = npt.NDArray[np.float64]
Interval = tuple[float, float]

RESAMPLES = 1000
LEAST_PATIENTS = 5
"""Of fewer patients, drawing them again says nothing about others."""

_Z = 1.959963984540054
"""The 97.5th percentile of the normal distribution."""


def wilson(hits: int, trials: int) -> Interval | None:
    """The score interval of a share (Wilson 1927, doi:10.1080/01621459.1927.10502953); None without a trial. It keeps
    its meaning where the share is 0 or 1 and the trials are few."""
    if not trials:
        return None
    share, z2 = hits / trials, _Z * _Z
    middle = (share + z2 / (2 * trials)) / (1 + z2 / trials)
    half = _Z / (1 + z2 / trials) * sqrt(share * (1 - share) / trials + z2 / (4 * trials * trials))
    return max(0.0, middle - half), min(1.0, middle + half)


def resampling_weights(patients: int) -> FloatArray:
    """How often each patient is drawn in each resample with replacement, shape (RESAMPLES, patients); always the same.

    Alarms come in clusters by patient, so that an interval which took each for itself would be too narrow."""
    drawn = np.random.default_rng(0).multinomial(patients, np.full(patients, 1.0 / patients), RESAMPLES)
    return drawn.astype(np.float64)


def percentile_interval(values: FloatArray) -> Interval:
    """The 2.5th and the 97.5th percentile of the finite values; NaN where there are none."""
    known = values[np.isfinite(values)]
    if not len(known):
        return float("nan"), float("nan")
    low, high = np.percentile(known, (2.5, 97.5))
    return float(low), float(high)


def rate_interval(events: FloatArray, days: FloatArray) -> Interval | None:
    """The interval of events a day over patients, both of shape (patients,); None without a day, or for fewer
    than `LEAST_PATIENTS`."""
    if not days.sum() > 0.0 or len(days) < LEAST_PATIENTS:
        return None
    weights = resampling_weights(len(days))
    with np.errstate(invalid="ignore", divide="ignore"):
        return percentile_interval((weights @ events) / (weights @ days))


def worst_tenth_share(events: FloatArray) -> float:
    """The share of all events that the tenth of patients with the most of them has (at least one patient); NaN where
    there is no event. For comparison: 57 to 82 % of SpO2 alarms (Lansdowne 2016, PMC4891882)."""
    ordered = np.sort(events)[::-1]
    total = ordered.sum()
    return float(ordered[: max(1, len(ordered) // 10)].sum() / total) if total > 0 else float("nan")
