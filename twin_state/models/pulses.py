"""Pulses from a streamed photoplethysmogram: packets of any size, any rate from 20 Hz on.

    band      0.5 to 8 Hz                             second-order high-pass and low-pass
    trace     d band / dt                             its peak is the steepest rise, which is timed better than the foot
    energy    max(trace, 0), low-passed at 3 Hz       the slope sum of Zong et al. (Computers in Cardiology 30, 2003)

and `twin_state.models.beat_detector` on them. Intervals between pulses follow those between R peaks with the scatter of
the pulse transit time; movement makes pulses that are none, which quality tells only in part. After a gap of more than
`LONGEST_GAP_S`, or a change of rate, the filters begin anew, and the first pulse gives no interval.
"""

from __future__ import annotations

from twin_state.batch import Float
from twin_state.compiled import compiled
from twin_state.models import beat_detector as b
from twin_state.models.beat_detector import Limits
from twin_state.models.biquad import high_pass, low_pass, rest, warped

LOW_HZ, HIGH_HZ, ENERGY_HZ = 0.5, 8.0, 3.0
LIMITS = Limits(refractory_s=0.28, second_wave_s=0.45, threshold_share=0.35, delay_s=0.04)
LONGEST_GAP_S = 0.2
LEAST_HZ = 20.0
MOST = 1e12
"""Units are the sensor's own; beyond this they are none."""

FIELDS: tuple[tuple[str, int], ...] = (*((name, 1) for name in b.NAMES), ("band", 1))
WIDTH = b.WIDTH + 1
BAND = b.WIDTH


@compiled
def take(f: Float, at: int, samples: Float, t: float, hz: float, out: Float) -> int:
    """Take in one packet of `samples` (the sensor's units, more light absorbed being more; evenly `hz` a second), the
    first of them measured at `t` (s). See `twin_state.models.r_peaks.take`."""
    if hz < LEAST_HZ or samples.shape[0] == 0:
        return 0
    n = 0
    low, high, energetic = warped(LOW_HZ, hz), warped(HIGH_HZ, hz), warped(ENERGY_HZ, hz)
    expected = f[at + b.LAST_T] + 1.0 / hz
    fresh = f[at + b.HZ] == 0.0
    if not fresh and t < expected - 0.5 / hz:
        return 0
    if fresh or hz != f[at + b.HZ] or t > expected + LONGEST_GAP_S:
        first = samples[0] if abs(samples[0]) <= MOST else 0.0
        b.begin(f, at, first, t, hz)
        f[at + BAND] = 0.0
        rest(f, at + b.HIGH_1, first, low)
    for j in range(samples.shape[0]):
        x = samples[j] if abs(samples[j]) <= MOST else f[at + b.SAMPLE]
        band = low_pass(f, at + b.LOW_1, high_pass(f, at + b.HIGH_1, x, low), high)
        trace = (band - f[at + BAND]) * hz
        f[at + BAND] = band
        energy = low_pass(f, at + b.ENERGY_1, max(trace, 0.0), energetic)
        n = b.follow(f, at, x, max(trace, 0.0), energy, t + j / hz, LIMITS, out, n)
    f[at + b.LAST_T] = t + (samples.shape[0] - 1) / hz
    return n
