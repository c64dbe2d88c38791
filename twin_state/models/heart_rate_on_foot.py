"""Heart rate in walking and running, from speed and grade: a bank of first-order responses weighted by recent success.

    u           = oxygen uptake above rest over 40 mL/kg/min;  walking 0.1 S + 1.8 S G, running 0.2 S + 0.9 S G
                  S in m/min, G the slope as a fraction                           ACSM's Guidelines, metabolic equations
    dF/dt       = (u - F) / tau,  tau_on while u > F, tau_off else                   a pair of time constants a member
    dG/dt       = (F - G) / 8 s                                                      belt and heart need a moment
    heart rate  = b + k G + r,   r <- r exp(-dt / 120 s), sd 5 bpm
    weight      ~ exp(L),  L <- L exp(-dt / 300 s) + log likelihood of the heart rate by this member

b and k are the person's today, learned with r by a Kalman filter in each member, from a prior of people in general. The
first-order plant of treadmill and heart rate is that of Hunt and Fankhauser (BioMed Eng OnLine 15, 2016); recovery is
slower than onset. The sum over members is a mixture, of which mean and variance are told.

A copy of the state to which only speeds are given goes on without heart rates. Abstains where the newest speed is older
than `STALE_S`, or none came. Of healthy young people on a treadmill; the change from walking to running lies at
`RUNNING_MPS`, downhill is taken as level.
"""

from __future__ import annotations

import math

from twin_state.batch import Float
from twin_state.compiled import compiled, inlined

TAU_ON_S = (45.0, 55.0, 65.0)
TAU_OFF_S = (75.0, 85.0, 95.0)
MEMBERS = 3
LAG_S = 8.0
RUNNING_MPS = 2.0
UPTAKE = 40.0
REST_TAU_S, SD_REST = 120.0, 5.0
"""Of what speed does not explain: time constant (s) and standard deviation (bpm)."""
MEMORY_S = 300.0
NOISE = 2.0
"""Of one heart rate (bpm² s): one that speaks for two seconds has 1 bpm²."""
STALE_S = 10.0
LONGEST_STEP_S = 10.0
NEW_SESSION_S = 900.0
SLOWEST_BPM, FASTEST_BPM = 30.0, 230.0

PARAMETERS = 4
(REST_BPM, REST_SD_BPM, GAIN_BPM, GAIN_SD_BPM) = range(PARAMETERS)
"""Prior of b and k: bpm each, k at 40 mL/kg/min above rest."""

KEPT = 12
(ENTERED, RESPONSE, B, K, R, BB, BK, BR, KK, KR, RR, LOG_WEIGHT) = range(KEPT)
FIELDS: tuple[tuple[str, int], ...] = (
    ("t", 1),
    ("heart_rate_t", 1),
    ("demand", 1),
    ("member", KEPT * MEMBERS),
)
(T, HEART_RATE_T, DEMAND, MEMBER) = range(4)
WIDTH = MEMBER + KEPT * MEMBERS


@inlined
def demand(speed_mps: float, grade_pct: float) -> float:
    """Oxygen uptake above rest in units of 40 mL/kg/min, of a steady speed (m/s) on a slope (%)."""
    s = 60.0 * speed_mps
    slope = max(grade_pct, 0.0) / 100.0
    uptake = s * (0.1 + 1.8 * slope) if speed_mps < RUNNING_MPS else s * (0.2 + 0.9 * slope)
    return uptake / UPTAKE


@inlined
def _begin(f: Float, at: int, p: Float) -> None:
    for n in range(WIDTH):
        f[at + n] = 0.0
    for n in range(MEMBERS):
        b = at + MEMBER + KEPT * n
        f[b + B], f[b + K] = p[REST_BPM], p[GAIN_BPM]
        f[b + BB], f[b + KK], f[b + RR] = p[REST_SD_BPM] ** 2, p[GAIN_SD_BPM] ** 2, SD_REST**2


@compiled
def observe_speed(f: Float, at: int, p: Float, speed_mps: float, grade_pct: float, t: float) -> None:
    """Take in the speed (m/s) and grade (%, NaN: level) since the last one, at `t` (s). A time that is not later, or a
    speed that is no number from 0 to 12, is ignored; a gap of `NEW_SESSION_S` begins a new session."""
    if not (t > f[at + T] and math.isfinite(t) and 0.0 <= speed_mps <= 12.0):
        return
    dt = t - f[at + T]
    if f[at + T] == 0.0 or dt > NEW_SESSION_S:
        _begin(f, at, p)
        dt = 0.0
    u = demand(speed_mps, min(grade_pct, 40.0) if math.isfinite(grade_pct) else 0.0)
    for n in range(MEMBERS):
        b = at + MEMBER + KEPT * n
        tau = TAU_ON_S[n] if u > f[b + ENTERED] else TAU_OFF_S[n]
        step = min(dt, LONGEST_STEP_S)
        f[b + ENTERED] += (1.0 - math.exp(-step / tau)) * (u - f[b + ENTERED])
        f[b + RESPONSE] += (1.0 - math.exp(-step / LAG_S)) * (f[b + ENTERED] - f[b + RESPONSE])
        kept = math.exp(-dt / REST_TAU_S)
        f[b + R] *= kept
        f[b + BR] *= kept
        f[b + KR] *= kept
        f[b + RR] = kept * kept * f[b + RR] + (1.0 - kept * kept) * SD_REST**2
        f[b + LOG_WEIGHT] *= math.exp(-dt / MEMORY_S)
    f[at + T] = t
    f[at + DEMAND] = u


@inlined
def _spread(f: Float, b: int) -> float:
    """Variance (bpm²) of the heart rate by the member that begins at column `b`."""
    g = f[b + RESPONSE]
    both = g * f[b + BK] + f[b + BR] + g * f[b + KR]
    return f[b + BB] + g * g * f[b + KK] + f[b + RR] + 2.0 * both  # type: ignore[no-any-return]


@compiled
def observe_heart_rate(f: Float, at: int, heart_rate_bpm: float, t: float) -> None:
    """Learn from the heart rate at `t` (s), not before the newest speed. One without a speed of the last `STALE_S`,
    implausible, or not later than the one before is ignored."""
    if not SLOWEST_BPM <= heart_rate_bpm <= FASTEST_BPM or f[at + T] == 0.0 or not 0.0 <= t - f[at + T] <= STALE_S:
        return
    since = min(t - f[at + HEART_RATE_T], STALE_S)
    if not since > 0.0:
        return
    f[at + HEART_RATE_T] = t
    noise = NOISE / since
    for n in range(MEMBERS):
        b = at + MEMBER + KEPT * n
        g = f[b + RESPONSE]
        spread = _spread(f, b) + noise
        error = heart_rate_bpm - f[b + B] - g * f[b + K] - f[b + R]
        of_b = f[b + BB] + g * f[b + BK] + f[b + BR]
        of_k = f[b + BK] + g * f[b + KK] + f[b + KR]
        of_r = f[b + BR] + g * f[b + KR] + f[b + RR]
        f[b + B] += of_b / spread * error
        f[b + K] += of_k / spread * error
        f[b + R] += of_r / spread * error
        f[b + BB] -= of_b * of_b / spread
        f[b + BK] -= of_b * of_k / spread
        f[b + BR] -= of_b * of_r / spread
        f[b + KK] -= of_k * of_k / spread
        f[b + KR] -= of_k * of_r / spread
        f[b + RR] -= of_r * of_r / spread
        f[b + LOG_WEIGHT] -= 0.5 * (math.log(spread) + error * error / spread)


@compiled
def heart_rate(f: Float, at: int, t: float, out: Float) -> bool:
    """Mean (bpm) and variance (bpm²) expected at `t` (s) into `out`; False, and nothing, where it abstains."""
    if f[at + T] == 0.0 or not 0.0 <= t - f[at + T] <= STALE_S:
        return False
    best = -math.inf
    for n in range(MEMBERS):
        best = max(best, f[at + MEMBER + KEPT * n + LOG_WEIGHT])
    total = mean = square = 0.0
    for n in range(MEMBERS):
        b = at + MEMBER + KEPT * n
        weight = math.exp(f[b + LOG_WEIGHT] - best)
        m = f[b + B] + f[b + RESPONSE] * f[b + K] + f[b + R]
        total += weight
        mean += weight * m
        square += weight * (_spread(f, b) + m * m)
    out[0] = mean / total
    out[1] = max(square / total - out[0] * out[0], 0.0)
    return True
