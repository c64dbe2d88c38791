"""R peaks from a streamed electrocardiogram: packets of any size, any rate from 100 Hz on.

    trace     5 to 18 Hz                              second-order high-pass and low-pass
    energy    (d trace / dt)^2, low-passed at 6 Hz    in place of a moving window, which would have to be kept

and `twin_state.models.beat_detector` on them (Pan and Tompkins 1985, with filters that fit every rate). A beat's time
is that of the R or S wave to within 25 ms, and alike for all beats. After a gap of more than `LONGEST_GAP_S`, or a
change of rate, the filters begin anew, and the first beat gives no interval.
"""

from __future__ import annotations

from twin_state.batch import Float
from twin_state.compiled import compiled
from twin_state.models import beat_detector as b
from twin_state.models.beat_detector import Limits
from twin_state.models.biquad import high_pass, low_pass, rest, warped

LOW_HZ, HIGH_HZ, ENERGY_HZ = 5.0, 18.0, 6.0
LIMITS = Limits(refractory_s=0.20, second_wave_s=0.36, threshold_share=0.25, delay_s=0.022)
LONGEST_GAP_S = 0.1
LEAST_HZ = 100.0
MOST_MV = 1e4

FIELDS: tuple[tuple[str, int], ...] = tuple((name, 1) for name in b.NAMES)
WIDTH = b.WIDTH


@compiled
def take(f: Float, at: int, samples: Float, t: float, hz: float, out: Float) -> int:
    """Take in one packet of `samples` (mV, evenly `hz` a second), the first of them measured at `t` (s).

    Beats that it completes are written to `out` (rows of `beat_detector.BEAT_COLUMNS`; room for one each 200 ms of the
    packet and one more); their number is returned. A packet that begins before the end of what was taken in is ignored.
    A sample that is no number, or beyond `MOST_MV`, repeats the one before. Below `LEAST_HZ` nothing is told.
    """
    if hz < LEAST_HZ or samples.shape[0] == 0:
        return 0
    n = 0
    low, high, energetic = warped(LOW_HZ, hz), warped(HIGH_HZ, hz), warped(ENERGY_HZ, hz)
    expected = f[at + b.LAST_T] + 1.0 / hz
    fresh = f[at + b.HZ] == 0.0
    if not fresh and t < expected - 0.5 / hz:
        return 0
    if fresh or hz != f[at + b.HZ] or t > expected + LONGEST_GAP_S:
        first = samples[0] if abs(samples[0]) <= MOST_MV else 0.0
        b.begin(f, at, first, t, hz)
        rest(f, at + b.HIGH_1, first, low)
    for j in range(samples.shape[0]):
        x = samples[j] if abs(samples[j]) <= MOST_MV else f[at + b.SAMPLE]
        trace = low_pass(f, at + b.LOW_1, high_pass(f, at + b.HIGH_1, x, low), high)
        slope = (trace - f[at + b.TRACE]) * hz
        energy = low_pass(f, at + b.ENERGY_1, slope * slope, energetic)
        n = b.follow(f, at, x, trace, energy, t + j / hz, LIMITS, out, n)
    f[at + b.LAST_T] = t + (samples.shape[0] - 1) / hz
    return n
