"""Atrial fibrillation from intervals between beats: how likely it is now, which beats were in it, and its burden.

Over the last `WINDOW` intervals, features that irregularity without order leaves and ectopy, breathing and noise do not
(Dash et al. 2009: turning points, RMSSD / mean; Lake and Moorman 2011: sample entropy; Sarkar et al. 2008: differences
of intervals), a network of one hidden layer on them, and a two-state hidden Markov model over beats:

    x_j                feature j of the window, each free of the heart's rate but the first; (x_j - centre_j) / scale_j
    z                  = w2 . tanh(W1 x + b1) + b2 + offset           log odds for the window
    forward            p <- p (1 - a) + (1 - p) a, then logit p <- logit p + weight z    the probability now
    label of a beat    by the window centred at it, smoothed by the beats up to `LAG` later  (Rabiner 1989)

The label comes `KEPT - 1` beats late and is what burden is made of; the probability is of now. Both abstain (NaN) where
the beats since the last gap fill no window. An interval that is no interval (outside 200 ms to 3 s) is left out; after
a gap in the beats the window begins anew.

What it cannot do: atrial flutter with regular conduction looks regular, and is not told.
"""

from __future__ import annotations

import math

import numpy as np

from twin_state.batch import Float
from twin_state.compiled import compiled, inlined

WINDOW, HALF, LAG, LEAST = 64, 32, 40, 10
SHORTEST_S, LONGEST_S = 0.2, 3.0
CLIP_S = 2.5
LONGEST_GAP_S = 10.0
FEATURES, HIDDEN = 17, 10
"""Of the network. One that is narrower leaves the last hidden columns at 0."""

SWITCH, WEIGHT, MOST_EVIDENCE = 1e-4, 0.05, 4.0
"""Chance a beat that the rhythm changes; weight of a window, sharing all but one beat with the next; bound of z."""
LEAST_PROBABILITY = 1e-6
BURDEN_TAU_S = 86_400.0

CENTRE = 0
SCALE = CENTRE + FEATURES
W1 = SCALE + FEATURES
B1 = W1 + FEATURES * HIDDEN
W2 = B1 + HIDDEN
B2 = W2 + HIDDEN
PARAMETERS = B2 + 1
"""Where each part of the parameters begins, and how many there are."""

KEPT = HALF + LAG
BINS = 64
NO_LABEL = -1.0
FIELDS: tuple[tuple[str, int], ...] = (
    ("interval_s", WINDOW),
    ("evidence", KEPT),
    ("forward", KEPT),
    ("late_interval_s", KEPT),
    ("count", 1),
    ("t", 1),
    ("probability", 1),
    ("label", 1),
    ("fibrillation_s", 1),
    ("observed_s", 1),
    ("feature", FEATURES),
    ("bins", BINS),
)
"""`interval_s`, `evidence`, `forward` and `late_interval_s` are in the order of the beats, the newest last. `bins` is
empty between two beats."""
INTERVAL = 0
EVIDENCE = INTERVAL + WINDOW
FORWARD = EVIDENCE + KEPT
LATE_INTERVAL = FORWARD + KEPT
COUNT, T, PROBABILITY, LABEL, FIBRILLATION_S, OBSERVED_S = range(LATE_INTERVAL + KEPT, LATE_INTERVAL + KEPT + 6)
FEATURE = OBSERVED_S + 1
BIN = FEATURE + FEATURES
WIDTH = BIN + BINS


@inlined
def _push(f: Float, first: int, length: int, value: float) -> None:
    for j in range(first, first + length - 1):
        f[j] = f[j + 1]
    f[first + length - 1] = value


@inlined
def _quantile(f: Float, at: int, count: int, share: float) -> float:
    """Of the differences counted in the bins of 1 % of the mean interval."""
    target = share * count
    below = 0.0
    for n in range(BINS):
        here = f[at + BIN + n]
        if below < target <= below + here:
            return n + (target - below) / here  # type: ignore[no-any-return]
        below += here
    return float(BINS)


@compiled
def features(f: Float, at: int) -> bool:
    """Write the features of the present window to columns FEATURE and on; False for too few intervals."""
    m = min(int(f[at + COUNT]), WINDOW)
    if m < LEAST:
        return False
    end = at + INTERVAL + WINDOW
    begin = end - m
    mean = 0.0
    for j in range(begin, end):
        mean += f[j]
    mean /= m
    clip = 0.6 * mean
    total = squares = large = small = turning = ectopic = second = 0.0
    for j in range(begin + 1, end):
        d = abs(f[j] - f[j - 1])
        total += min(d, clip)
        squares += min(d, clip) ** 2
        large += d > 0.06 * mean
        small += d < 0.02 * mean
        f[at + BIN + min(int(d / (0.01 * mean)), BINS - 1)] += 1.0
        if j + 1 < end:
            turning += (f[j] > f[j - 1] and f[j] > f[j + 1]) or (f[j] < f[j - 1] and f[j] < f[j + 1])
            ectopic += f[j] < 0.85 * mean and f[j + 1] > 1.1 * mean
        if j > begin + 1:
            second += min(abs(f[j] - f[j - 2]), clip)
    # Whole numbers and no branch: chance decides each pair, and this is most of the work.
    alike = alike_next = np.int64(0)
    near = 0.045 * mean
    for j in range(begin, end - 1):
        for k in range(j + 1, end - 1):
            close = np.int64(abs(f[j] - f[k]) < near)
            alike += close
            alike_next += close & np.int64(abs(f[j + 1] - f[k + 1]) < near)
    variance, lag_1, lag_2 = 1e-9, 0.0, 0.0
    half = 0.5 * mean
    for j in range(begin, end):
        x = min(max(f[j] - mean, -half), half)
        variance += x * x
        if j > begin:
            lag_1 += x * min(max(f[j - 1] - mean, -half), half)
        if j > begin + 1:
            lag_2 += x * min(max(f[j - 2] - mean, -half), half)
    at_x = at + FEATURE
    f[at_x] = math.log(mean / 0.8)
    f[at_x + 1] = math.log(total / (m - 1) / mean + 0.003)
    f[at_x + 2] = math.log(math.sqrt(squares / (m - 1)) / mean + 0.003)
    f[at_x + 3] = large / (m - 1)
    f[at_x + 4] = small / (m - 1)
    f[at_x + 5] = turning / (m - 2)
    f[at_x + 6] = -math.log((alike_next + 0.5) / (alike + 1.0))
    f[at_x + 7] = -math.log((alike + 0.5) / (0.5 * (m - 1) * (m - 2) + 1.0))
    f[at_x + 8] = lag_1 / variance
    f[at_x + 9] = lag_2 / variance
    f[at_x + 10] = math.log(_quantile(f, at, m - 1, 0.25) + 0.3)
    f[at_x + 11] = math.log(_quantile(f, at, m - 1, 0.5) + 0.3)
    f[at_x + 12] = math.log(_quantile(f, at, m - 1, 0.75) + 0.3)
    f[at_x + 13] = math.log(_quantile(f, at, m - 1, 0.9) + 0.3)
    f[at_x + 14] = ectopic / m
    f[at_x + 15] = math.log(second / (m - 2) / mean + 0.003)
    f[at_x + 16] = math.log(m / WINDOW)
    for n in range(BINS):
        f[at + BIN + n] = 0.0
    return True


@compiled
def evidence(f: Float, at: int, p: Float) -> float:
    """Log odds of fibrillation for the present window by the parameters `p`; NaN for too few intervals."""
    if not features(f, at):
        return math.nan
    z = p[B2]
    for h in range(HIDDEN):
        total = p[B1 + h]
        for j in range(FEATURES):
            total += (f[at + FEATURE + j] - p[CENTRE + j]) / p[SCALE + j] * p[W1 + j * HIDDEN + h]
        z += p[W2 + h] * math.tanh(total)
    return z  # type: ignore[no-any-return]


@inlined
def _label(f: Float, at: int) -> float:
    """Probability that the oldest beat that is kept was in fibrillation, by all that came after it."""
    one = none = 1.0
    for j in range(KEPT - 1, KEPT - 1 - LAG, -1):
        z = 0.5 * WEIGHT * f[at + EVIDENCE + j]
        up, down = math.exp(z), math.exp(-z)
        one, none = (
            (1.0 - SWITCH) * up * one + SWITCH * down * none,
            SWITCH * up * one + (1.0 - SWITCH) * down * none,
        )
        total = one + none
        one, none = one / total, none / total
    forward = f[at + FORWARD + KEPT - 1 - LAG]
    return forward * one / (forward * one + (1.0 - forward) * none)  # type: ignore[no-any-return]


@compiled
def observe(f: Float, at: int, p: Float, interval_s: float, t: float) -> float:
    """Take in the interval (s) that ended with the beat at `t` (s). Returns the label, a probability, of the beat
    `KEPT - 1` beats before, NaN where there is none; column PROBABILITY has that of now.

    A beat that is not after the last one is ignored.
    """
    if t <= f[at + T] or not SHORTEST_S <= interval_s <= LONGEST_S:
        return math.nan
    if t - f[at + T] > LONGEST_GAP_S:
        f[at + COUNT] = 0.0
    f[at + T] = t
    _push(f, at + INTERVAL, WINDOW, min(interval_s, CLIP_S))
    _push(f, at + LATE_INTERVAL, KEPT, interval_s)
    f[at + COUNT] += 1.0
    # A part of a window says nothing to a network that was fitted on whole ones.
    z = evidence(f, at, p) if f[at + COUNT] >= WINDOW else 0.0
    z = min(max(z, -MOST_EVIDENCE), MOST_EVIDENCE)
    before = f[at + PROBABILITY] if f[at + COUNT] > 1.0 else 0.5
    q = before * (1.0 - SWITCH) + (1.0 - before) * SWITCH
    odds = q / (1.0 - q) * math.exp(WEIGHT * z)
    probability = min(max(odds / (1.0 + odds), LEAST_PROBABILITY), 1.0 - LEAST_PROBABILITY)
    f[at + PROBABILITY] = probability
    _push(f, at + EVIDENCE, KEPT, z)
    _push(f, at + FORWARD, KEPT, probability)
    f[at + LABEL] = NO_LABEL
    if f[at + COUNT] < KEPT:
        return math.nan
    label = _label(f, at)
    f[at + LABEL] = label
    interval = f[at + LATE_INTERVAL]
    kept = math.exp(-interval / BURDEN_TAU_S)
    f[at + OBSERVED_S] = kept * f[at + OBSERVED_S] + interval
    f[at + FIBRILLATION_S] = kept * f[at + FIBRILLATION_S] + (interval if label > 0.5 else 0.0)
    return label


@inlined
def probability(f: Float, at: int, t: float) -> float:
    """That the rhythm is fibrillation now, NaN where too few beats are known or the last one is too long ago."""
    if f[at + COUNT] < WINDOW or t - f[at + T] > LONGEST_GAP_S:
        return math.nan
    return f[at + PROBABILITY]  # type: ignore[no-any-return]


@inlined
def burden(f: Float, at: int) -> float:
    """Share of the time observed, the last day above all, that was spent in fibrillation; NaN before any label."""
    return f[at + FIBRILLATION_S] / f[at + OBSERVED_S] if f[at + OBSERVED_S] > 0.0 else math.nan
