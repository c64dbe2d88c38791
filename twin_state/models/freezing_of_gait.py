"""Freezing of gait from streamed acceleration at ankle, thigh and trunk: trembling in place of stepping.

    F_k   = log (P(3-8 Hz) + e) / (P(0.5-3 Hz) + e), e = (0.01 g)^2      freeze index of sensor k, its vertical axis
    P     power of the band, low-passed twice with 0.4 s
    m_k   the person's usual F_k: a running median over some minutes
    score = mean over sensors of F_k - m_k;   P(freeze) = 1 / (1 + exp(-slope (score - threshold)))

Freeze index: Moore et al., J. Neurosci. Methods 167(2), 2008; Bachlin et al., IEEE TITB 14(2), 2010. People differ more
in the level of the index than a freeze moves it: so the person's own median, and no threshold for everyone.

Packets of any size; a packet from before the last sample is ignored, and after a gap of `LONGEST_GAP_S` or a change of
rate the filters begin anew, while the medians stay. It abstains (NaN) in the first `SETTLING_S` of a recording.
"""

from __future__ import annotations

import math

from twin_state.batch import Float
from twin_state.compiled import compiled, inlined
from twin_state.models.biquad import high_pass, low_pass, rest, warped

SENSORS = 3
LOW_HZ, MIDDLE_HZ, HIGH_HZ = 0.5, 3.0, 8.0
SMOOTHING_S = 0.4
FLOOR = 1e-4
JUDGED_S = 0.25
MEDIAN_S = 300.0
FIRST_JUDGED = 20.0
SETTLING_S = 10.0
LONGEST_GAP_S = 0.5
LEAST_HZ = 20.0
MOST_G = 16.0

PARAMETERS = 2
(THRESHOLD, SLOPE) = range(PARAMETERS)

KEPT = 15
(STEP_HIGH, STEP_LOW, TREMBLE_HIGH, TREMBLE_LOW) = range(0, 8, 2)
(STEP_1, STEP_2, TREMBLE_1, TREMBLE_2, SAMPLE, MEDIAN, SPREAD) = range(8, KEPT)
FIELDS: tuple[tuple[str, int], ...] = (
    ("t", 1),
    ("hz", 1),
    ("age", 1),
    ("judged_t", 1),
    ("judged", 1),
    ("score", 1),
    ("sensor", KEPT * SENSORS),
)
(T, HZ, AGE, JUDGED_T, JUDGED, SCORE, SENSOR) = range(7)
WIDTH = SENSOR + KEPT * SENSORS


@inlined
def _judge(f: Float, at: int) -> None:
    """Score the present powers, then let the medians follow."""
    f[at + JUDGED] += 1.0
    gain = max(JUDGED_S / MEDIAN_S, 1.0 / (f[at + JUDGED] + FIRST_JUDGED))
    score = 0.0
    for k in range(SENSORS):
        b = at + SENSOR + KEPT * k
        index = math.log((f[b + TREMBLE_2] + FLOOR) / (f[b + STEP_2] + FLOOR))
        if f[at + JUDGED] <= 1.0:
            f[b + MEDIAN], f[b + SPREAD] = index, 1.0
        away = index - f[b + MEDIAN]
        score += away / SENSORS
        f[b + MEDIAN] += 2.0 * gain * f[b + SPREAD] * (0.5 if away > 0.0 else -0.5)
        f[b + SPREAD] += gain * (1.5 * abs(away) - f[b + SPREAD])
    f[at + SCORE] = score


@compiled
def take(f: Float, at: int, samples: Float, t: float, hz: float) -> None:
    """Take in one packet of `samples`, shape (n, SENSORS): vertical acceleration (g), evenly `hz` a second, the first
    measured at `t` (s). Values that are no number, or beyond `MOST_G`, repeat the one before."""
    if hz < LEAST_HZ or samples.shape[0] == 0 or not math.isfinite(t):
        return
    low, middle, high = warped(LOW_HZ, hz), warped(MIDDLE_HZ, hz), warped(HIGH_HZ, hz)
    expected = f[at + T] + 1.0 / hz
    fresh = f[at + HZ] == 0.0
    if not fresh and t < expected - 0.5 / hz:
        return
    if fresh or hz != f[at + HZ] or t > expected + LONGEST_GAP_S:
        f[at + AGE] = 0.0
        f[at + JUDGED_T] = t
        for k in range(SENSORS):
            b = at + SENSOR + KEPT * k
            first = samples[0, k] if abs(samples[0, k]) <= MOST_G else f[b + SAMPLE]
            for n in range(SAMPLE):
                f[b + n] = 0.0
            rest(f, b + STEP_HIGH, first, low)
            rest(f, b + TREMBLE_HIGH, first, middle)
            f[b + SAMPLE] = first
    f[at + HZ] = hz
    gain = 1.0 - math.exp(-1.0 / (hz * SMOOTHING_S))
    for j in range(samples.shape[0]):
        for k in range(SENSORS):
            b = at + SENSOR + KEPT * k
            x = samples[j, k] if abs(samples[j, k]) <= MOST_G else f[b + SAMPLE]
            f[b + SAMPLE] = x
            step = low_pass(f, b + STEP_LOW, high_pass(f, b + STEP_HIGH, x, low), middle)
            tremble = low_pass(f, b + TREMBLE_LOW, high_pass(f, b + TREMBLE_HIGH, x, middle), high)
            f[b + STEP_1] += gain * (step * step - f[b + STEP_1])
            f[b + STEP_2] += gain * (f[b + STEP_1] - f[b + STEP_2])
            f[b + TREMBLE_1] += gain * (tremble * tremble - f[b + TREMBLE_1])
            f[b + TREMBLE_2] += gain * (f[b + TREMBLE_1] - f[b + TREMBLE_2])
        f[at + AGE] += 1.0 / hz
        now = t + j / hz
        if now - f[at + JUDGED_T] >= JUDGED_S:
            f[at + JUDGED_T] = now
            _judge(f, at)
    f[at + T] = t + (samples.shape[0] - 1) / hz


@compiled
def probability(f: Float, at: int, p: Float, t: float) -> float:
    """Of a freeze at `t` (s), as last judged; NaN where it abstains, or the last sample is a second old."""
    if f[at + AGE] < SETTLING_S or f[at + JUDGED] == 0.0 or t - f[at + T] > 1.0:
        return math.nan
    z = p[SLOPE] * (f[at + SCORE] - p[THRESHOLD])
    return 1.0 / (1.0 + math.exp(-min(max(z, -30.0), 30.0)))
