"""Exponentially weighted mean and variance of every signal, with the z-score of each value against what came before.

    d = x - mean;  z = d / sqrt(var);  mean <- mean + a d;  var <- (1 - a)(var + a d^2),  a = 0.01

The recursion is West's (Communications of the ACM 22(9), 1979) in its exponential form (Finch 2009).
"""

from __future__ import annotations

import math

from twin_state import constants as c
from twin_state.batch import Float, Int
from twin_state.compiled import inlined
from twin_state.constants import Constants

WEIGHT = 0.01
LEAST_VARIANCE = 1e-9


@inlined
def observe(k: Constants, f: Float, i: Int, signal: int, value: float) -> None:
    """Take in one value."""
    mean = k.models[c.MOMENTS, c.BASE] + signal
    variance = mean + k.signals
    z = variance + k.signals
    count = z + k.signals
    f[count] += 1.0
    if f[count] == 1.0:
        f[mean] = value
        return
    deviation = value - f[mean]
    f[z] = deviation / math.sqrt(f[variance]) if f[variance] > LEAST_VARIANCE else 0.0
    step = WEIGHT * deviation
    f[mean] += step
    f[variance] = (1.0 - WEIGHT) * (f[variance] + deviation * step)
