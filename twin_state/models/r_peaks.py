"""R peaks from a streamed electrocardiogram: packets of any size, any rate from 100 Hz on.

After Pan and Tompkins (IEEE Trans. Biomed. Eng. 32(3), 1985), with filters that fit every rate:

    band      5 to 18 Hz                              second-order high-pass and low-pass
    energy    (d band / dt)^2, low-passed at 6 Hz     in place of their moving window, which would have to be kept
    a peak of energy is a beat if it exceeds          noise + 0.25 (signal - noise)
    signal, noise <- 7/8 old + 1/8 peak               running peaks of beats and of the rest
    blind for 200 ms after a beat; up to 360 ms after one, a peak of less than half its slope is a T wave
    search back: where 1.66 mean intervals brought no beat, the greatest peak above half the threshold counts

The R peak is the extreme of `band` since energy last rose from a trough, to a fraction of a sample by a parabola, on
the side (up or down) on which the beats so far were the greater: a complex of two like halves must not make intervals
jump. Its time is that of the R or S wave to within 25 ms, and alike for all beats: filters delay every beat by as much,
of which `DELAY_S` is taken off. After a gap of more than `LONGEST_GAP_S`, or a change of
rate, the filters begin anew, and the first beat gives no interval.

Quality of a beat, 0 to 1: 1 - noise / its own peak of energy, times how alike its height is to that of its
predecessors and its energy to theirs, times the share of samples since the beat before at which the signal moved.
"""

from __future__ import annotations

import math

from twin_state.batch import Float
from twin_state.compiled import compiled, inlined
from twin_state.models.biquad import high_pass, low_pass, warped

LOW_HZ, HIGH_HZ, ENERGY_HZ = 5.0, 18.0, 6.0
REFRACTORY_S, T_WAVE_S = 0.20, 0.36
LONGEST_GAP_S = 0.1
LEARNING_S = 2.0
"""So long after a start no beat is told: the running peaks are the greatest energy seen."""
THRESHOLD_SHARE, PEAK_WEIGHT, SEARCH_BACK, FIRST_RR_S = 0.25, 0.125, 1.66, 0.8
LONGEST_RR_S = FORGET_S = 2.5
FORGET_SHARE = 0.2
"""No interval is longer; after so long without a beat the threshold falls to this share."""
LEAST_HZ = 100.0
MOST_MV = 1e4
DELAY_S = 0.022
"""Of the band-pass at the frequencies of a QRS complex."""

NAMES: tuple[str, ...] = (
    "hz",
    "started_t",
    "last_t",
    "filters",
    "filters_high_2",
    "filters_low_1",
    "filters_low_2",
    "filters_energy_1",
    "filters_energy_2",
    "sample",
    "band",
    "band_before",
    "energy",
    "energy_before",
    "signal",
    "noise",
    "up",
    "up_t",
    "down",
    "down_t",
    "slope",
    "mean_up",
    "mean_down",
    "mean_rr_s",
    "beat_t",
    "beat_slope",
    "held_energy",
    "held_up",
    "held_up_t",
    "held_down",
    "held_down_t",
    "held_slope",
    "seen",
    "moved",
    "joined",
)
FIELDS: tuple[tuple[str, int], ...] = tuple((name, 1) for name in NAMES)
WIDTH = len(NAMES)
(
    HZ,
    STARTED_T,
    LAST_T,
    HIGH_1,
    HIGH_2,
    LOW_1,
    LOW_2,
    ENERGY_1,
    ENERGY_2,
    SAMPLE,
    BAND,
    BAND_BEFORE,
    ENERGY,
    ENERGY_BEFORE,
    SIGNAL,
    NOISE,
    UP,
    UP_T,
    DOWN,
    DOWN_T,
    SLOPE,
    MEAN_UP,
    MEAN_DOWN,
    MEAN_RR,
    BEAT_T,
    BEAT_SLOPE,
    HELD_ENERGY,
    HELD_UP,
    HELD_UP_T,
    HELD_DOWN,
    HELD_DOWN_T,
    HELD_SLOPE,
    SEEN,
    MOVED,
    JOINED,
) = range(WIDTH)

BEAT_COLUMNS = 3
PEAK_T, RR_MS, QUALITY = range(BEAT_COLUMNS)
"""Columns of what `take` writes: time of the R peak (s), interval to the one before (ms; NaN where there is none), and
quality (0 to 1)."""


@inlined
def _begin(f: Float, at: int, x: float, t: float, hz: float) -> None:
    for n in range(WIDTH):
        f[at + n] = 0.0
    f[at + HZ], f[at + STARTED_T], f[at + SAMPLE] = hz, t, x
    f[at + MEAN_RR] = FIRST_RR_S
    # A high-pass that met the first value as a step would ring as a beat does: it starts at rest at that value.
    w = warped(LOW_HZ, hz)
    norm = 1.0 / (1.0 + w / 0.7071067811865476 + w * w)
    f[at + HIGH_1], f[at + HIGH_2] = -norm * x, norm * x


@inlined
def _vertex(before: float, middle: float, after: float) -> float:
    """Of the parabola through three samples, the place of the extreme from the middle one, in samples."""
    bend = before - 2.0 * middle + after
    return 0.0 if bend == 0.0 else min(max(0.5 * (before - after) / bend, -0.5), 0.5)


@inlined
def _tell(
    f: Float,
    at: int,
    energy: float,
    up: float,
    up_t: float,
    down: float,
    down_t: float,
    slope: float,
    out: Float,
    n: int,
) -> int:
    """A peak is a beat: write it to `out[n]` and return the number of beats written."""
    first = f[at + MEAN_UP] == 0.0 and f[at + MEAN_DOWN] == 0.0
    if first:
        f[at + MEAN_UP], f[at + MEAN_DOWN] = up, down
    upward = f[at + MEAN_UP] >= f[at + MEAN_DOWN]
    t = up_t if upward else down_t
    height, usual = (up, f[at + MEAN_UP]) if upward else (down, f[at + MEAN_DOWN])
    alike = min(height, usual) / max(height, usual) if height > 0.0 and usual > 0.0 else 0.0
    f[at + MEAN_UP] += PEAK_WEIGHT * (up - f[at + MEAN_UP])
    f[at + MEAN_DOWN] += PEAK_WEIGHT * (down - f[at + MEAN_DOWN])
    alike *= math.sqrt(min(energy, f[at + SIGNAL]) / max(energy, f[at + SIGNAL]))
    # One artefact must not raise the threshold above the beats that follow.
    f[at + SIGNAL] += PEAK_WEIGHT * (min(energy, 2.0 * f[at + SIGNAL]) - f[at + SIGNAL])
    rr = t - f[at + BEAT_T]
    known = f[at + JOINED] > 0.0 and 0.0 < rr <= LONGEST_RR_S
    if known:
        f[at + MEAN_RR] += PEAK_WEIGHT * (min(max(rr, 0.5 * f[at + MEAN_RR]), 1.5 * f[at + MEAN_RR]) - f[at + MEAN_RR])
    moved = f[at + MOVED] / f[at + SEEN] if f[at + SEEN] > 0.0 else 0.0
    f[at + MOVED] = f[at + SEEN] = 0.0
    f[at + BEAT_T], f[at + BEAT_SLOPE], f[at + JOINED] = t, slope, 1.0
    f[at + HELD_ENERGY] = 0.0
    out[n, PEAK_T] = t
    out[n, RR_MS] = 1000.0 * rr if known else math.nan
    out[n, QUALITY] = min(max(1.0 - f[at + NOISE] / energy, 0.0), 1.0) * alike * min(2.0 * moved, 1.0)
    return n + 1


@inlined
def _judge(f: Float, at: int, energy: float, t: float, out: Float, n: int) -> int:
    """Judge a peak of energy at `t`; returns the number of beats written to `out`."""
    if t - f[at + STARTED_T] < LEARNING_S:
        f[at + SIGNAL] = max(f[at + SIGNAL], energy)
        return n
    threshold = f[at + NOISE] + THRESHOLD_SHARE * (f[at + SIGNAL] - f[at + NOISE])
    up, up_t, down, down_t = f[at + UP], f[at + UP_T], f[at + DOWN], f[at + DOWN_T]
    since = (up_t if f[at + MEAN_UP] >= f[at + MEAN_DOWN] else down_t) - f[at + BEAT_T]
    if since < REFRACTORY_S:
        return n
    if since < T_WAVE_S and f[at + SLOPE] < 0.5 * f[at + BEAT_SLOPE]:
        return n
    if energy > threshold:
        return _tell(f, at, energy, up, up_t, down, down_t, f[at + SLOPE], out, n)
    f[at + NOISE] += PEAK_WEIGHT * (energy - f[at + NOISE])
    if energy > 0.5 * threshold and energy > f[at + HELD_ENERGY]:
        f[at + HELD_ENERGY], f[at + HELD_SLOPE] = energy, f[at + SLOPE]
        f[at + HELD_UP], f[at + HELD_UP_T], f[at + HELD_DOWN], f[at + HELD_DOWN_T] = up, up_t, down, down_t
    return n


@inlined
def _sample(f: Float, at: int, x: float, t: float, w: tuple[float, float, float], out: Float, n: int) -> int:
    hz = f[at + HZ]
    f[at + SEEN] += 1.0
    f[at + MOVED] += x != f[at + SAMPLE]
    f[at + SAMPLE] = x
    band = low_pass(f, at + LOW_1, high_pass(f, at + HIGH_1, x, w[0]), w[1])
    middle, before = f[at + BAND], f[at + BAND_BEFORE]
    f[at + BAND_BEFORE], f[at + BAND] = middle, band
    slope = (band - middle) * hz
    f[at + SLOPE] = max(f[at + SLOPE], abs(slope))
    if middle > before and middle >= band and middle > f[at + UP]:
        f[at + UP] = middle
        f[at + UP_T] = t + (_vertex(before, middle, band) - 1.0) / hz - DELAY_S
    if middle < before and middle <= band and -middle > f[at + DOWN]:
        f[at + DOWN] = -middle
        f[at + DOWN_T] = t + (_vertex(before, middle, band) - 1.0) / hz - DELAY_S
    energy = low_pass(f, at + ENERGY_1, slope * slope, w[2])
    last, earlier = f[at + ENERGY], f[at + ENERGY_BEFORE]
    f[at + ENERGY_BEFORE], f[at + ENERGY] = last, energy
    if last > earlier and last >= energy:
        n = _judge(f, at, last, t, out, n)
    elif last <= earlier and last < energy:  # a trough: what belongs to the next peak begins here
        f[at + UP] = f[at + DOWN] = f[at + SLOPE] = 0.0
    waited = t - f[at + BEAT_T]
    if f[at + JOINED] > 0.0 and waited > SEARCH_BACK * f[at + MEAN_RR] and f[at + HELD_ENERGY] > 0.0:
        n = _tell(
            f,
            at,
            f[at + HELD_ENERGY],
            f[at + HELD_UP],
            f[at + HELD_UP_T],
            f[at + HELD_DOWN],
            f[at + HELD_DOWN_T],
            f[at + HELD_SLOPE],
            out,
            n,
        )
    if waited > FORGET_S and t - f[at + STARTED_T] > LEARNING_S + FORGET_S:
        # No beat at this threshold: they became smaller, or an artefact was taken for their measure.
        f[at + JOINED] = 0.0
        f[at + SIGNAL] *= FORGET_SHARE
        f[at + BEAT_T] = t - REFRACTORY_S
    return n


@compiled
def take(f: Float, at: int, samples: Float, t: float, hz: float, out: Float) -> int:
    """Take in one packet of `samples` (mV, evenly `hz` a second), the first of them measured at `t` (s).

    Beats that it completes are written to `out` (rows of `BEAT_COLUMNS`; room for one each 200 ms of the packet and one
    more); their number is returned. A packet that lies before what was taken in is ignored. A sample that is
    no number, or beyond `MOST_MV`, repeats the one before. Below `LEAST_HZ` nothing is told.
    """
    if hz < LEAST_HZ or samples.shape[0] == 0:
        return 0
    n = 0
    w = (warped(LOW_HZ, hz), warped(HIGH_HZ, hz), warped(ENERGY_HZ, hz))
    expected = f[at + LAST_T] + 1.0 / hz
    fresh = f[at + HZ] == 0.0
    if not fresh and t < expected - 0.5 / hz:
        return 0
    if fresh or hz != f[at + HZ] or t > expected + LONGEST_GAP_S:
        first = samples[0] if abs(samples[0]) <= MOST_MV else 0.0
        _begin(f, at, first, t, hz)
    for j in range(samples.shape[0]):
        x = samples[j] if abs(samples[j]) <= MOST_MV else f[at + SAMPLE]
        n = _sample(f, at, x, t + j / hz, w, out, n)
    f[at + LAST_T] = t + (samples.shape[0] - 1) / hz
    return n
