"""Second-order filters, sample by sample, for any sampling rate.

    y[n] = b0 x[n] + s1;  s1 <- b1 x[n] - a1 y[n] + s2;  s2 <- b2 x[n] - a2 y[n]        transposed direct form II

Coefficients are those of Butterworth's second-order low-pass and high-pass by the bilinear transform with pre-warping
(Oppenheim and Schafer, Discrete-Time Signal Processing, ch. 7; Q = 1/sqrt(2)). A cut-off above 45 % of the sampling
rate is taken down to it, so that no rate makes an unstable filter.
"""

from __future__ import annotations

import math

from twin_state.batch import Float
from twin_state.compiled import inlined

STATES = 2
"""Columns that one filter keeps."""

Q = 0.7071067811865476
HIGHEST_SHARE = 0.45


@inlined
def warped(cut_hz: float, hz: float) -> float:
    """The cut-off as the filters take it; once a packet, because it costs a tangent."""
    return math.tan(math.pi * min(cut_hz, HIGHEST_SHARE * hz) / hz)


@inlined
def low_pass(f: Float, at: int, x: float, w: float) -> float:
    """One sample through a low-pass with cut-off `warped` to `w`, whose two states begin at `f[at]`."""
    norm = 1.0 / (1.0 + w / Q + w * w)
    b = w * w * norm
    y = b * x + f[at]
    f[at] = 2.0 * b * x - 2.0 * (w * w - 1.0) * norm * y + f[at + 1]
    f[at + 1] = b * x - (1.0 - w / Q + w * w) * norm * y
    return y  # type: ignore[no-any-return]


@inlined
def high_pass(f: Float, at: int, x: float, w: float) -> float:
    """One sample through a high-pass with cut-off `warped` to `w`, whose two states begin at `f[at]`."""
    norm = 1.0 / (1.0 + w / Q + w * w)
    y = norm * x + f[at]
    f[at] = -2.0 * norm * x - 2.0 * (w * w - 1.0) * norm * y + f[at + 1]
    f[at + 1] = norm * x - (1.0 - w / Q + w * w) * norm * y
    return y  # type: ignore[no-any-return]


@inlined
def rest(f: Float, at: int, x: float, w: float) -> None:
    """Set a high-pass, whose two states begin at `f[at]`, at rest at the value `x`: met as a step, a first value would
    ring as a beat does."""
    norm = 1.0 / (1.0 + w / Q + w * w)
    f[at], f[at + 1] = -norm * x, norm * x
