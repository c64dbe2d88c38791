"""What a session costs: training impulse from heart rate, session RPE, and the work that is left above critical power.

    TRIMP  per minute  = h a exp(b h),  h = (heart rate - rest) / (maximum - rest), 0 to 1      Banister 1991
                         a, b = 0.64, 1.92 for men and 0.86, 1.67 for women
    session RPE        = RPE (0 to 10) x minutes                                                Foster et al. 2001
    W' balance         dW/dt = CP - P while P > CP;  (CP - P) (W0 - W) / W0 below it            Skiba et al. 2015

Banister in Physiological Testing of the High-Performance Athlete (1991), ch. 8; Foster et al., J. Strength Cond. Res.
15(1), 2001; Skiba et al., Eur. J. Appl. Physiol. 115(4), 2015. Values older than `LONGEST_STEP_S` count for no time.
"""

from __future__ import annotations

import math

from twin_state.batch import Float
from twin_state.compiled import inlined

MALE, FEMALE = range(2)
FACTOR = (0.64, 0.86)
EXPONENT = (1.92, 1.67)
LONGEST_STEP_S = 15.0

FIELDS: tuple[tuple[str, int], ...] = (
    ("heart_rate_t", 1),
    ("trimp", 1),
    ("power_t", 1),
    ("w_prime_balance_j", 1),
    ("w_prime_least_j", 1),
)
HEART_RATE_T, TRIMP, POWER_T, BALANCE, LEAST = range(5)
WIDTH = 5


@inlined
def trimp_per_minute(heart_rate_bpm: float, rest_bpm: float, maximum_bpm: float, sex: int) -> float:
    """Training impulse of one minute at a heart rate (1/min); 0 at rest and below. `sex` is MALE or FEMALE."""
    if not maximum_bpm > rest_bpm:
        return 0.0
    share = min(max((heart_rate_bpm - rest_bpm) / (maximum_bpm - rest_bpm), 0.0), 1.0)
    return share * FACTOR[sex] * math.exp(EXPONENT[sex] * share)


@inlined
def session_rpe(rpe: float, minutes: float) -> float:
    """Foster's load of a session from its rating (0 to 10) and length."""
    return rpe * minutes


@inlined
def begin(f: Float, at: int, w_prime_j: float) -> None:
    """A session begins with all of W' (J)."""
    for n in range(WIDTH):
        f[at + n] = 0.0
    f[at + BALANCE] = f[at + LEAST] = w_prime_j


@inlined
def observe_heart_rate(
    f: Float, at: int, heart_rate_bpm: float, t: float, rest_bpm: float, maximum_bpm: float, sex: int
) -> None:
    """Add what the time since the last heart rate cost at this one. One that is not later, or no number, is ignored."""
    if not math.isfinite(heart_rate_bpm) or t <= f[at + HEART_RATE_T]:
        return
    if f[at + HEART_RATE_T] > 0.0:
        minutes = min(t - f[at + HEART_RATE_T], LONGEST_STEP_S) / 60.0
        f[at + TRIMP] += minutes * trimp_per_minute(heart_rate_bpm, rest_bpm, maximum_bpm, sex)
    f[at + HEART_RATE_T] = t


@inlined
def observe_power(f: Float, at: int, power_w: float, t: float, critical_power_w: float, w_prime_j: float) -> None:
    """Take what the time since the last power drew from W', or gave back. One that is not later is ignored."""
    if not math.isfinite(power_w) or t <= f[at + POWER_T] or not w_prime_j > 0.0:
        return
    if f[at + POWER_T] > 0.0:
        seconds = min(t - f[at + POWER_T], LONGEST_STEP_S)
        above = power_w - critical_power_w
        if above > 0.0:
            f[at + BALANCE] -= above * seconds
        else:
            # Solved over the step: what is missing decays, so that a long step cannot give back more than all.
            missing = (w_prime_j - f[at + BALANCE]) * math.exp(above * seconds / w_prime_j)
            f[at + BALANCE] = w_prime_j - missing
        f[at + LEAST] = min(f[at + LEAST], f[at + BALANCE])
    f[at + POWER_T] = t
