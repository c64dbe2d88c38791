"""When each beat was: readings bring several intervals with one time, or drop some.

t[n] = t[n-1] + interval, unless that lies more than `MOST_APART_S` from the reading's time: then it is that time
"""

from __future__ import annotations

import math

from twin_state.batch import Float
from twin_state.compiled import inlined

MOST_APART_S = 3.0
LEAST_STEP_S = 0.001

FIELDS: tuple[tuple[str, int], ...] = (("t", 1),)
T = 0


@inlined
def beat_t(f: Float, at: int, interval_s: float, t: float) -> float:
    """The time (s) of the beat that ended the interval, in a reading measured at `t`; later than that of the last."""
    expected = f[at + T] + interval_s
    if not abs(expected - t) <= MOST_APART_S:
        expected = t
    f[at + T] = max(expected, f[at + T] + LEAST_STEP_S) if math.isfinite(expected) else t
    return f[at + T]  # type: ignore[no-any-return]
