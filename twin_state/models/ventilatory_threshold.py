"""Heart rate at the first and second ventilatory threshold, fused from what an ordinary session of rising load shows.

    prior      N(mean, sd^2) of people, or what was carried over from this person's last session
    evidence   threshold = a + b x + noise of sd s, for each heart rate x that the session has shown so far:
      VT1  that at which RMSSD falls to its floor (4.5 ms, an SD1 of about 3 ms)               Tulppo et al. 1996
           that at which DFA-alpha1 falls below 0.75                                           Rogers et al. 2021
      VT2  that at which DFA-alpha1 falls below 0.5
    posterior  the product of the normal densities: mean and sd

a, b and s of each are shipped, so that where alpha1 stands at a threshold is not assumed but learned: the published
0.75 does not carry over to every cohort. Between sessions the posterior is the prior, its sd growing by 0.3 bpm a root
day. Tulppo et al., Am. J. Physiol. 271(1), 1996; Rogers et al., Front. Physiol. 11, 2021.

Without any evidence the posterior is the prior and says so by its sd.
"""

from __future__ import annotations

import math

from twin_state.batch import Float
from twin_state.compiled import compiled, inlined

FLOOR_MS, FIRST_ALPHA1, SECOND_ALPHA1 = 4.5, 0.75, 0.5
SMOOTHING = 1.0 / 3.0
"""Share of a new window (each 5 s) in the mean that must fall below a mark."""
DAY_S = 86_400.0
WALK_BPM = 0.3
NEW_SESSION_S = 3600.0

EVIDENCE = 3
(FLOOR, ALPHA1_FIRST, ALPHA1_SECOND) = range(EVIDENCE)
OF_THRESHOLD = (0, 0, 1)
"""Which threshold each piece of evidence speaks of: 0 the first, 1 the second."""
PRIOR = 4
PARAMETERS = PRIOR + 3 * EVIDENCE
"""Parameters: mean and sd (bpm) of the first and of the second threshold; then a, b and s of each piece of evidence."""

FIELDS: tuple[tuple[str, int], ...] = (
    ("t", 1),
    ("windows", 1),
    ("rmssd", 1),
    ("alpha1", 1),
    ("seen", EVIDENCE),
    ("carried", 4),
    ("carried_t", 1),
)
(T, WINDOWS, RMSSD, ALPHA1, SEEN) = range(5)
CARRIED = SEEN + EVIDENCE
CARRIED_T = CARRIED + 4
WIDTH = CARRIED_T + 1


@inlined
def _mark(f: Float, at: int, which: int, below: bool, heart_rate_bpm: float) -> None:
    if f[at + SEEN + which] == 0.0 and below:
        f[at + SEEN + which] = heart_rate_bpm


@compiled
def observe(f: Float, at: int, heart_rate_bpm: float, rmssd_ms: float, alpha1: float, watts: float, t: float) -> None:
    """Take in a window of variability under load at `t` (s): heart rate (1/min), RMSSD (ms), DFA-alpha1 and load (W),
    each NaN where it abstains. Rest, an implausible heart rate, and a time that is not later are ignored."""
    if not (t > f[at + T] and math.isfinite(t) and 30.0 <= heart_rate_bpm <= 230.0 and 0.0 < watts <= 3000.0):
        return
    if t - f[at + T] > NEW_SESSION_S:
        for n in range(CARRIED):
            f[at + n] = 0.0
    f[at + T] = t
    f[at + WINDOWS] += 1.0
    if 0.0 <= rmssd_ms <= 1000.0:
        f[at + RMSSD] += (SMOOTHING if f[at + RMSSD] > 0.0 else 1.0) * (rmssd_ms - f[at + RMSSD])
        _mark(f, at, FLOOR, f[at + RMSSD] < FLOOR_MS, heart_rate_bpm)
    if 0.0 < alpha1 <= 3.0:
        f[at + ALPHA1] += (SMOOTHING if f[at + ALPHA1] > 0.0 else 1.0) * (alpha1 - f[at + ALPHA1])
        _mark(f, at, ALPHA1_FIRST, f[at + ALPHA1] < FIRST_ALPHA1, heart_rate_bpm)
        _mark(f, at, ALPHA1_SECOND, f[at + ALPHA1] < SECOND_ALPHA1, heart_rate_bpm)


@inlined
def evidence(f: Float, at: int, which: int) -> float:
    """The heart rate (1/min) that the session has shown; NaN where it has not yet."""
    return f[at + SEEN + which] if f[at + SEEN + which] > 0.0 else math.nan


@compiled
def threshold(f: Float, at: int, p: Float, which: int, t: float, out: Float) -> None:
    """Mean (bpm) and sd of the first (`which` 0) or second (1) threshold at `t` (s) into `out`."""
    mean, sd = p[2 * which], p[2 * which + 1]
    if f[at + CARRIED_T] > 0.0:
        days = max(t - f[at + CARRIED_T], 0.0) / DAY_S
        mean = f[at + CARRIED + 2 * which]
        sd = min(math.sqrt(f[at + CARRIED + 2 * which + 1] ** 2 + WALK_BPM * WALK_BPM * days), p[2 * which + 1])
    weight = 1.0 / (sd * sd)
    total = weight * mean
    for k in range(EVIDENCE):
        if OF_THRESHOLD[k] != which:
            continue
        x = evidence(f, at, k)
        if math.isnan(x):
            continue
        b = PRIOR + 3 * k
        own = 1.0 / (p[b + 2] * p[b + 2])
        weight += own
        total += own * (p[b] + p[b + 1] * x)
    out[0] = total / weight
    out[1] = 1.0 / math.sqrt(weight)


@compiled
def carry(f: Float, at: int, p: Float, t: float, out: Float) -> None:
    """End a session at `t` (s): what is known of both thresholds is the prior of the next; what was shown is
    forgotten. `out` (2 numbers) is overwritten."""
    if f[at + WINDOWS] == 0.0:
        return
    threshold(f, at, p, 0, t, out)
    mean, sd = out[0], out[1]
    threshold(f, at, p, 1, t, out)
    f[at + CARRIED], f[at + CARRIED + 1], f[at + CARRIED + 2], f[at + CARRIED + 3] = mean, sd, out[0], out[1]
    f[at + CARRIED_T] = t
    for n in range(WINDOWS, CARRIED):
        f[at + n] = 0.0
