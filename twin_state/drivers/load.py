"""Load and the heart rate that comes with it: what the load lets expect."""

from __future__ import annotations

import math

from twin_state import constants as c
from twin_state.batch import Float, Int
from twin_state.compiled import inlined
from twin_state.constants import Constants
from twin_state.estimators import number_of
from twin_state.models import heart_rate_under_load
from twin_state.models.latest import arrived, channel_value

HEART_RATE_UNDER_LOAD = number_of("heart_rate_under_load")
DRIVEN = (HEART_RATE_UNDER_LOAD,)

KM_PER_H = 3.6
"""In one m/s."""


@inlined
def take(k: Constants, f: Float, i: Int, e: Float, t: float, reading: int) -> None:
    """See `twin_state.drivers`."""
    if not k.models[HEART_RATE_UNDER_LOAD, c.ENABLED]:
        return
    at = k.models[HEART_RATE_UNDER_LOAD, c.BASE]
    if arrived(k, i, k.special[c.POWER], reading):
        speed_mps = math.nan
        if arrived(k, i, k.special[c.SPEED], reading):
            speed_mps = channel_value(k, f, k.special[c.SPEED])
        p = k.parameters[k.models[HEART_RATE_UNDER_LOAD, c.PARAMETERS] :]
        watts = channel_value(k, f, k.special[c.POWER])
        heart_rate_under_load.observe_load(e, at, p, watts, KM_PER_H * speed_mps, t)
    if arrived(k, i, k.special[c.HEART_RATE], reading):
        heart_rate_under_load.observe_heart_rate(e, at, channel_value(k, f, k.special[c.HEART_RATE]), t)
