"""Spectrum of heart rate variability: power at low and high frequency, and breathing seen in it.

    x(s)    trusted intervals (ms) over time, joined by lines, two samples a second, less their mean of the last 10 s
    Y1 <- a Y1 + x,  Y2 <- a Y2 + Y1,  a = exp(-0.5 s / 16 s - i 2 pi f 0.5 s)      one pair a frequency
    P(f)    |Y2|^2 over the energy of the window (n + 1) r^n, corrected for the mean that was taken off and for the
            lines between beats (sinc^4(f x mean interval)), as an exponential mean over two minutes
    LF      0.04 to 0.15 Hz, HF 0.15 to 0.40 Hz, LF/HF                     Task Force, Circulation 93(5), 1996
    respiration: the greatest P from 0.13 Hz on, where half of the power beyond 0.13 Hz lies within 0.03 Hz of it

A bank of damped resonators in place of a Lomb periodogram that is made anew each time: each frequency costs four
numbers, and streaming is batch by nature. It follows a change within two or three minutes.

Everything abstains in the first `SETTLING_S`, where more than `MOST_DISTRUSTED` of the beats are distrusted
(`twin_state.models.beats`), and 10 s after the last beat; a gap of more than 10 s begins anew. Without a clear peak
there is no respiration; HF and LF/HF abstain where breathing lies outside the band of HF, or is not seen (the guard of
the Task Force's paper, which warns of breathing below 9/min and above 24/min).
"""

from __future__ import annotations

import math

import numpy as np

from twin_state.batch import Float
from twin_state.compiled import compiled, inlined
from twin_state.models import beats

STEP_S = 0.5
DECAY_S = 16.0
MEAN_S = 10.0
SMOOTHING_S = 120.0
SETTLING_S = 150.0
EVERY_S = 5.0
LONGEST_GAP_S = 10.0
MOST_DISTRUSTED = 0.05
SPACING_HZ = 0.01
FIRST_HZ = 0.04
BINS = 52
BREATH_FIRST = 9
"""The bin of 0.13 Hz: slower than that, breathing is not told from the waves of blood pressure at 0.1 Hz."""
HF_FIRST, HF_END = 11, 37
"""Bins of HF: from 0.15 to 0.40 Hz; LF has those before."""
NEAR = 3
CLEAR = 0.5

(LF, HF, LF_TO_HF, RESPIRATION, RESPIRATION_SD, CONFIDENCE) = range(6)
"""Measures: ms2, ms2, 1, /min, /min, share of the power about the peak."""

# A band's power over a time: 1 / sqrt(bandwidth x time) of it, where the series is Gaussian (Bendat and Piersol, Random
# Data, 4th ed. 2010, ch. 8). An exponential mean is worth twice its time constant.
LF_SPREAD = 1.0 / math.sqrt(0.11 * 2.0 * SMOOTHING_S)
HF_SPREAD = 1.0 / math.sqrt(0.25 * 2.0 * SMOOTHING_S)
"""Standard deviation of LF and HF, as a share of each."""

_DECAY = math.exp(-STEP_S / DECAY_S)
_FREQUENCIES = FIRST_HZ + SPACING_HZ * np.arange(BINS)
_ANGLES = 2.0 * np.pi * _FREQUENCIES * STEP_S
TURN_REAL = tuple(float(x) for x in _DECAY * np.cos(_ANGLES))
TURN_IMAGINARY = tuple(float(x) for x in -_DECAY * np.sin(_ANGLES))
_KEEP = math.exp(-STEP_S / MEAN_S)
# The mean is taken off before it takes the sample in: H(z) = 1 - (1 - k) z^-1 / (1 - k z^-1).
_DELAY = np.exp(-1j * _ANGLES)
_PASSED = np.abs(1.0 - (1.0 - _KEEP) * _DELAY / (1.0 - _KEEP * _DELAY)) ** 2
_ENERGY = (1.0 + _DECAY**2) / (1.0 - _DECAY**2) ** 3
SCALE = tuple(float(x) for x in 2.0 * STEP_S / (_ENERGY * _PASSED))
"""From |Y2|^2 to one-sided power density (ms2/Hz), less the correction for the lines."""

KEPT = 5
(FIRST_REAL, FIRST_IMAGINARY, SECOND_REAL, SECOND_IMAGINARY, POWER) = range(KEPT)
FIELDS: tuple[tuple[str, int], ...] = (
    ("t", 1),
    ("begin_t", 1),
    ("sample_t", 1),
    ("beat_t", 1),
    ("beat_ms", 1),
    ("mean_ms", 1),
    ("distrusted", 1),
    ("measured_t", 1),
    ("bin", KEPT * BINS),
    *((f"beats_{name}", size) for name, size in beats.COLUMNS),
)
(T, BEGIN_T, SAMPLE_T, BEAT_T, BEAT_MS, MEAN_MS, DISTRUSTED, MEASURED_T, BIN) = range(9)
BEATS = BIN + KEPT * BINS
WIDTH = BEATS + beats.WIDTH


@inlined
def _sample(f: Float, at: int, x_ms: float) -> None:
    x = x_ms - f[at + MEAN_MS]
    f[at + MEAN_MS] += (1.0 - _KEEP) * x
    for n in range(BINS):
        b = at + BIN + KEPT * n
        real, imaginary = TURN_REAL[n], TURN_IMAGINARY[n]
        first = real * f[b + FIRST_REAL] - imaginary * f[b + FIRST_IMAGINARY] + x
        f[b + FIRST_IMAGINARY] = real * f[b + FIRST_IMAGINARY] + imaginary * f[b + FIRST_REAL]
        f[b + FIRST_REAL] = first
        second = real * f[b + SECOND_REAL] - imaginary * f[b + SECOND_IMAGINARY] + first
        f[b + SECOND_IMAGINARY] = (
            real * f[b + SECOND_IMAGINARY] + imaginary * f[b + SECOND_REAL] + f[b + FIRST_IMAGINARY]
        )
        f[b + SECOND_REAL] = second


@inlined
def _smooth(f: Float, at: int, t: float) -> None:
    """Take the present power of each frequency into its mean; before `SMOOTHING_S` a plain one."""
    span = t - f[at + BEGIN_T]
    share = EVERY_S / min(max(span - DECAY_S, EVERY_S), SMOOTHING_S)
    beat_s = f[at + MEAN_MS] / 1000.0
    for n in range(BINS):
        b = at + BIN + KEPT * n
        z = math.pi * (FIRST_HZ + SPACING_HZ * n) * beat_s
        lines = math.sin(z) / z if 0.0 < z < 0.5 * math.pi else 2.0 / math.pi
        square = lines * lines
        power = f[b + SECOND_REAL] * f[b + SECOND_REAL] + f[b + SECOND_IMAGINARY] * f[b + SECOND_IMAGINARY]
        f[b + POWER] += share * (SCALE[n] * power / (square * square) - f[b + POWER])


@inlined
def _begin_anew(f: Float, at: int, t: float) -> None:
    for n in range(WIDTH):
        f[at + n] = 0.0
    f[at + BEGIN_T] = f[at + SAMPLE_T] = f[at + MEASURED_T] = t


@compiled
def observe(f: Float, at: int, interval_s: float, t: float) -> None:
    """Take in the interval (s) that ended with the beat at `t` (s). One that is not after the last is ignored."""
    if not t > f[at + T]:
        return
    if t - f[at + T] > LONGEST_GAP_S:
        _begin_anew(f, at, t)
    f[at + T] = t
    known = beats.trusted(f, at + BEATS, interval_s)
    f[at + DISTRUSTED] += 0.02 * ((0.0 if known else 1.0) - f[at + DISTRUSTED])
    if not known:
        return
    x_ms = 1000.0 * interval_s
    if f[at + BEAT_MS] == 0.0:
        f[at + MEAN_MS] = x_ms
    else:
        span = t - f[at + BEAT_T]
        while f[at + SAMPLE_T] + STEP_S <= t:
            f[at + SAMPLE_T] += STEP_S
            part = min(max((f[at + SAMPLE_T] - f[at + BEAT_T]) / span, 0.0), 1.0)
            _sample(f, at, f[at + BEAT_MS] + part * (x_ms - f[at + BEAT_MS]))
            if f[at + SAMPLE_T] - f[at + MEASURED_T] >= EVERY_S:
                f[at + MEASURED_T] = f[at + SAMPLE_T]
                _smooth(f, at, f[at + SAMPLE_T])
    f[at + BEAT_T] = t
    f[at + BEAT_MS] = x_ms


@inlined
def _breath(f: Float, at: int, out: Float) -> None:
    """Peak (/min), its spread (/min) and how clear it is, into `out`; NaN where it is not clear."""
    end = BREATH_FIRST
    # A frequency that is faster than half the beats is one that folds back.
    while end < BINS and (FIRST_HZ + SPACING_HZ * end) * f[at + MEAN_MS] / 1000.0 < 0.5:
        end += 1
    total = 0.0
    peak = BREATH_FIRST
    for n in range(BREATH_FIRST, end):
        power = f[at + BIN + KEPT * n + POWER]
        total += power
        if power > f[at + BIN + KEPT * peak + POWER]:
            peak = n
    out[RESPIRATION] = out[RESPIRATION_SD] = math.nan
    out[CONFIDENCE] = 0.0
    # At the lower edge it is the flank of something slower.
    if not total > 0.0 or peak == BREATH_FIRST:
        return
    near = centre = spread = 0.0
    for n in range(max(peak - NEAR, BREATH_FIRST), min(peak + NEAR + 1, end)):
        power = f[at + BIN + KEPT * n + POWER]
        near += power
        centre += power * n
        spread += power * n * n
    centre /= near
    out[CONFIDENCE] = near / total
    if out[CONFIDENCE] < CLEAR:
        return
    out[RESPIRATION] = 60.0 * (FIRST_HZ + SPACING_HZ * centre)
    out[RESPIRATION_SD] = 60.0 * SPACING_HZ * math.sqrt(max(spread / near - centre * centre, 0.0))


@compiled
def measure(f: Float, at: int, t: float, out: Float) -> bool:
    """The measures as of `t` into `out` (6 numbers), NaN where one abstains; False where all do."""
    for n in range(6):
        out[n] = math.nan
    if f[at + T] <= 0.0 or t - f[at + T] > LONGEST_GAP_S or f[at + DISTRUSTED] > MOST_DISTRUSTED:
        return False
    if f[at + MEASURED_T] - f[at + BEGIN_T] < SETTLING_S:
        return False
    low = high = 0.0
    for n in range(HF_END):
        if n < HF_FIRST:
            low += SPACING_HZ * f[at + BIN + KEPT * n + POWER]
        else:
            high += SPACING_HZ * f[at + BIN + KEPT * n + POWER]
    out[LF] = low
    _breath(f, at, out)
    if 60.0 * 0.15 <= out[RESPIRATION] <= 60.0 * 0.40:
        out[HF] = high
        if high > 0.0:
            out[LF_TO_HF] = low / high
    return True
