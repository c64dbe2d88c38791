"""What a load lets expect of the heart."""

from __future__ import annotations

import math
from typing import Any

from stream.estimates.told import OF_NOW_S, estimate
from twin_state import constants as c
from twin_state.batch import Float
from twin_state.constants import Constants
from twin_state.drivers.load import HEART_RATE_UNDER_LOAD
from twin_state.models import heart_rate_under_load


def estimates(k: Constants, e: Float, t: float) -> dict[str, Any]:
    """See `stream.estimates`."""
    if not k.models[HEART_RATE_UNDER_LOAD, c.ENABLED]:
        return {}
    return _under_load(e, int(k.models[HEART_RATE_UNDER_LOAD, c.BASE]), t)


def _under_load(e: Float, at: int, t: float) -> dict[str, Any]:
    """The heart rate that the load and this person's past let expect; in a session with a load alone."""
    as_of = float(e[at + heart_rate_under_load.T])
    if as_of <= 0.0 or t - as_of > heart_rate_under_load.NEW_SESSION_S:
        return {}
    expected = float(heart_rate_under_load.heart_rate(e, at, t))
    variance = float(heart_rate_under_load.variance(e, at, t))
    return {"heart_rate_expected": estimate(as_of, "/min", OF_NOW_S, expected, math.sqrt(variance))}
