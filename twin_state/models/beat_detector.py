"""Beats in a trace that swings at each of them: what R peaks and pulses have in common. Packets of any size.

The caller makes of each sample a *trace*, whose extreme marks the beat, and an *energy*, whose peaks tell beats from
the rest. After Pan and Tompkins (IEEE Trans. Biomed. Eng. 32(3), 1985):

    a peak of energy is a beat if it exceeds          noise + share (signal - noise)
    signal, noise <- 7/8 old + 1/8 peak               running peaks of beats and of the rest
    blind for `refractory_s` after a beat; up to `second_wave_s` after one, a peak of less than half its slope is a
    second wave of the same beat
    search back: where 1.66 mean intervals brought no beat, the greatest peak above half the threshold counts

A beat stands at the extreme of the trace since energy last rose from a trough, to a fraction of a sample by a parabola,
on the side (up or down) on which the beats so far were the greater: a complex of two like halves must not make
intervals jump.

Quality of a beat, 0 to 1: 1 - noise / its own peak of energy, times how alike its height is to that of its
predecessors and its energy to theirs, times the share of samples since the beat before at which the signal moved.
"""

from __future__ import annotations

import math
from typing import NamedTuple

from twin_state.batch import Float
from twin_state.compiled import inlined

LEARNING_S = 2.0
"""So long after a start no beat is told: the running peaks are the greatest energy seen."""
PEAK_WEIGHT, SEARCH_BACK, FIRST_RR_S = 0.125, 1.66, 0.8
LONGEST_RR_S = FORGET_S = 2.5
"""No interval is longer; after so long without a beat the threshold falls to this share."""
FORGET_SHARE = 0.2


class Limits(NamedTuple):
    """What differs between the kinds of signal. `delay_s` is the filters' delay, taken off each beat's time."""

    refractory_s: float
    second_wave_s: float
    threshold_share: float
    delay_s: float


NAMES: tuple[str, ...] = (
    "hz",
    "started_t",
    "last_t",
    "filter_high_1",
    "filter_high_2",
    "filter_low_1",
    "filter_low_2",
    "filter_energy_1",
    "filter_energy_2",
    "sample",
    "trace",
    "trace_before",
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
    "last_beat_t",
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
    TRACE,
    TRACE_BEFORE,
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
    LAST_BEAT_T,
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
BEAT_T, RR_MS, QUALITY = range(BEAT_COLUMNS)
"""Columns of what is told of a beat: its time (s), interval to the one before (ms; NaN where there is none), quality (0
to 1)."""


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
    rr = t - f[at + LAST_BEAT_T]
    known = f[at + JOINED] > 0.0 and 0.0 < rr <= LONGEST_RR_S
    if known:
        f[at + MEAN_RR] += PEAK_WEIGHT * (min(max(rr, 0.5 * f[at + MEAN_RR]), 1.5 * f[at + MEAN_RR]) - f[at + MEAN_RR])
    moved = f[at + MOVED] / f[at + SEEN] if f[at + SEEN] > 0.0 else 0.0
    f[at + MOVED] = f[at + SEEN] = 0.0
    f[at + LAST_BEAT_T], f[at + BEAT_SLOPE], f[at + JOINED] = t, slope, 1.0
    f[at + HELD_ENERGY] = 0.0
    out[n, BEAT_T] = t
    out[n, RR_MS] = 1000.0 * rr if known else math.nan
    out[n, QUALITY] = min(max(1.0 - f[at + NOISE] / energy, 0.0), 1.0) * alike * min(2.0 * moved, 1.0)
    return n + 1


@inlined
def _judge(f: Float, at: int, energy: float, t: float, limits: Limits, out: Float, n: int) -> int:
    """Judge a peak of energy at `t`; returns the number of beats written to `out`."""
    if t - f[at + STARTED_T] < LEARNING_S:
        f[at + SIGNAL] = max(f[at + SIGNAL], energy)
        return n
    threshold = f[at + NOISE] + limits.threshold_share * (f[at + SIGNAL] - f[at + NOISE])
    up, up_t, down, down_t = f[at + UP], f[at + UP_T], f[at + DOWN], f[at + DOWN_T]
    since = (up_t if f[at + MEAN_UP] >= f[at + MEAN_DOWN] else down_t) - f[at + LAST_BEAT_T]
    if since < limits.refractory_s:
        return n
    if since < limits.second_wave_s and f[at + SLOPE] < 0.5 * f[at + BEAT_SLOPE]:
        return n
    if energy > threshold:
        return _tell(f, at, energy, up, up_t, down, down_t, f[at + SLOPE], out, n)
    f[at + NOISE] += PEAK_WEIGHT * (energy - f[at + NOISE])
    if energy > 0.5 * threshold and energy > f[at + HELD_ENERGY]:
        f[at + HELD_ENERGY], f[at + HELD_SLOPE] = energy, f[at + SLOPE]
        f[at + HELD_UP], f[at + HELD_UP_T], f[at + HELD_DOWN], f[at + HELD_DOWN_T] = up, up_t, down, down_t
    return n


@inlined
def begin(f: Float, at: int, x: float, t: float, hz: float) -> None:
    """Forget everything: a new trace begins at `t` (s) with the sample `x`, evenly `hz` a second."""
    for n in range(WIDTH):
        f[at + n] = 0.0
    f[at + HZ], f[at + STARTED_T], f[at + SAMPLE] = hz, t, x
    f[at + MEAN_RR] = FIRST_RR_S


@inlined
def follow(
    f: Float, at: int, x: float, trace: float, energy: float, t: float, limits: Limits, out: Float, n: int
) -> int:
    """Take in what the caller made of the sample `x` at `t` (s). Returns `n`, or n + 1 where it wrote a beat to
    `out[n]`."""
    hz = f[at + HZ]
    f[at + SEEN] += 1.0
    f[at + MOVED] += x != f[at + SAMPLE]
    f[at + SAMPLE] = x
    middle, before = f[at + TRACE], f[at + TRACE_BEFORE]
    f[at + TRACE_BEFORE], f[at + TRACE] = middle, trace
    f[at + SLOPE] = max(f[at + SLOPE], abs(trace - middle) * hz)
    if middle > before and middle >= trace and middle > f[at + UP]:
        f[at + UP] = middle
        f[at + UP_T] = t + (_vertex(before, middle, trace) - 1.0) / hz - limits.delay_s
    if middle < before and middle <= trace and -middle > f[at + DOWN]:
        f[at + DOWN] = -middle
        f[at + DOWN_T] = t + (_vertex(before, middle, trace) - 1.0) / hz - limits.delay_s
    last, earlier = f[at + ENERGY], f[at + ENERGY_BEFORE]
    f[at + ENERGY_BEFORE], f[at + ENERGY] = last, energy
    if last > earlier and last >= energy:
        n = _judge(f, at, last, t, limits, out, n)
    elif last <= earlier and last < energy:  # a trough: what belongs to the next peak begins here
        f[at + UP] = f[at + DOWN] = f[at + SLOPE] = 0.0
    waited = t - f[at + LAST_BEAT_T]
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
        f[at + LAST_BEAT_T] = t - limits.refractory_s
    return n
