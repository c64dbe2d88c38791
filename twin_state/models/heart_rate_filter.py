"""Smoothed heart rate: a scalar Kalman filter with a random walk as its model.

    p <- p + q;  g = p / (p + r);  x <- x + g (heart rate - x);  p <- (1 - g) p,   q = 0.05, r = 4 (1/min)^2

Kalman 1960; mean and variance of the estimate are the row's two columns.
"""

from __future__ import annotations

from twin_state import constants as c
from twin_state.batch import Float, Int
from twin_state.compiled import inlined
from twin_state.constants import Constants

PROCESS_VARIANCE = 0.05
MEASUREMENT_VARIANCE = 4.0


@inlined
def observe(k: Constants, f: Float, i: Int, signal: int, value: float) -> None:
    """Take in one value; signals other than heart rate pass by."""
    if signal != k.special[c.HEART_RATE]:
        return
    mean = k.models[c.HEART_RATE_FILTER, c.BASE]
    variance = mean + 1
    if f[variance] == 0.0:
        f[mean] = value
        f[variance] = MEASUREMENT_VARIANCE
        return
    predicted = f[variance] + PROCESS_VARIANCE
    gain = predicted / (predicted + MEASUREMENT_VARIANCE)
    f[mean] += gain * (value - f[mean])
    f[variance] = (1.0 - gain) * predicted
