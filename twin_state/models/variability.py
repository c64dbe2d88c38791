"""Heart rate variability of the last two minutes of trusted intervals (`twin_state.models.beats`).

    mean NN, SDNN, RMSSD = sqrt(mean (x[n] - x[n-1])^2), pNN50       Task Force, Circulation 93(5), 1996
    SD1 = RMSSD / sqrt(2), SD2 = sqrt(2 SDNN^2 - SD1^2)              Brennan et al., IEEE TBME 48(11), 2001
    DFA-alpha1: slope of log F(s) over log s, s = 3 to 15 beats      Peng et al., Chaos 5(1), 1995; Rogers et al. 2021
        y = cumulative sum of x - mean; F(s)^2 = mean of squares about the line fitted in each box of s

The window is the newest intervals that together last at most `WINDOW_S`, `MOST` of them at most, computed anew each
`EVERY_S`: what comes out is what a batch over the same intervals gives. Distrusted intervals take their time in the
window but no part in measures; where they are more than `MOST_DISTRUSTED` of it, or the window has fewer than `LEAST`
trusted intervals, everything abstains (NaN). After a gap in the beats it begins anew.

Of people at rest and in exercise without arrhythmia; in atrial fibrillation nearly every interval is distrusted.
"""

from __future__ import annotations

import math

from twin_state.batch import Float
from twin_state.compiled import compiled, inlined
from twin_state.models import beats

WINDOW_S = 120.0
MOST = 400
EVERY_S = 5.0
LEAST = 30
MOST_DISTRUSTED = 0.05
LONGEST_GAP_S = 10.0
SHORTEST_BOX, LONGEST_BOX = 3, 15
NN50_S = 0.050

MEASURES = 8
(MEAN_NN, SDNN, RMSSD, PNN50, SD1, SD2, ALPHA1, DISTRUSTED_SHARE) = range(MEASURES)
"""Columns of the measures: s, s, s, share, s, s, 1, share. Those of a window that abstains are 0, and `VALID` is 0."""

FIELDS: tuple[tuple[str, int], ...] = (
    ("interval_s", MOST),
    ("count", 1),
    ("t", 1),
    ("evaluated_t", 1),
    ("valid", 1),
    ("measure", MEASURES),
    *((f"beats_{name}", size) for name, size in beats.COLUMNS),
)
"""A distrusted interval stands negative in `interval_s`, whose newest is the last."""
INTERVAL = 0
COUNT, T, EVALUATED_T, VALID = range(MOST, MOST + 4)
MEASURE = VALID + 1
BEATS = MEASURE + MEASURES
WIDTH = BEATS + beats.WIDTH


@inlined
def _alpha1(f: Float, begin: int, end: int, mean: float) -> float:
    """Over the trusted intervals of columns `begin` to `end`; NaN where nothing varies."""
    scales = sum_x = sum_y = sum_xx = sum_xy = 0.0
    for size in range(SHORTEST_BOX, LONGEST_BOX + 1):
        spread = size * (size * size - 1.0) / 12.0
        middle = 0.5 * (size - 1.0)
        residual = y = total = square = product = 0.0
        filled = boxes = 0
        for j in range(begin, end):
            if f[j] <= 0.0:
                continue
            y += f[j] - mean
            total += y
            square += y * y
            product += (filled - middle) * y
            filled += 1
            if filled == size:
                residual += max(square - total * total / size - product * product / spread, 0.0)
                boxes += 1
                total = square = product = 0.0
                filled = 0
        if boxes == 0 or residual <= 0.0:
            return math.nan
        x = math.log(float(size))
        z = 0.5 * math.log(residual / (boxes * size))
        scales += 1.0
        sum_x += x
        sum_y += z
        sum_xx += x * x
        sum_xy += x * z
    return (scales * sum_xy - sum_x * sum_y) / (scales * sum_xx - sum_x * sum_x)


@compiled
def evaluate(f: Float, at: int) -> bool:
    """Measure the present window into column MEASURE and on; False, and zeros, where it abstains."""
    end = at + INTERVAL + MOST
    begin = end
    span = 0.0
    first = end - min(int(f[at + COUNT]), MOST)
    while begin > first and span + abs(f[begin - 1]) <= WINDOW_S:
        begin -= 1
        span += abs(f[begin])
    for n in range(MEASURES):
        f[at + MEASURE + n] = 0.0
    count = pairs = 0
    total = distrusted = squares = large = 0.0
    for j in range(begin, end):
        if f[j] <= 0.0:
            distrusted += 1.0
            continue
        count += 1
        total += f[j]
        if j > begin and f[j - 1] > 0.0:
            difference = abs(f[j] - f[j - 1])
            pairs += 1
            squares += difference * difference
            large += difference > NN50_S
    share = distrusted / (end - begin) if end > begin else 1.0
    f[at + MEASURE + DISTRUSTED_SHARE] = share
    f[at + VALID] = 0.0
    if count < LEAST or pairs < LEAST - 1 or share > MOST_DISTRUSTED:
        return False
    mean = total / count
    deviations = 0.0
    for j in range(begin, end):
        if f[j] > 0.0:
            deviations += (f[j] - mean) * (f[j] - mean)
    variance = deviations / (count - 1)
    successive = squares / pairs
    alpha1 = _alpha1(f, begin, end, mean)
    f[at + MEASURE + MEAN_NN] = mean
    f[at + MEASURE + SDNN] = math.sqrt(variance)
    f[at + MEASURE + RMSSD] = math.sqrt(successive)
    f[at + MEASURE + PNN50] = large / pairs
    f[at + MEASURE + SD1] = math.sqrt(0.5 * successive)
    f[at + MEASURE + SD2] = math.sqrt(max(2.0 * variance - 0.5 * successive, 0.0))
    f[at + MEASURE + ALPHA1] = 0.0 if math.isnan(alpha1) else alpha1
    f[at + VALID] = 1.0 if math.isnan(alpha1) else 2.0
    return True


@compiled
def observe(f: Float, at: int, interval_s: float, t: float) -> bool:
    """Take in the interval (s) that ended with the beat at `t` (s). Returns whether the measures were made anew.

    A beat that is not after the last one is ignored.
    """
    if t <= f[at + T]:
        return False
    if t - f[at + T] > LONGEST_GAP_S:
        f[at + COUNT] = f[at + VALID] = 0.0
        beats.begin_anew(f, at + BEATS)
    f[at + T] = t
    known = beats.trusted(f, at + BEATS, interval_s)
    bounded = min(max(interval_s, beats.SHORTEST_S), beats.LONGEST_S) if not math.isnan(interval_s) else beats.LONGEST_S
    for j in range(at + INTERVAL, at + INTERVAL + MOST - 1):
        f[j] = f[j + 1]
    f[at + INTERVAL + MOST - 1] = interval_s if known else -bounded
    f[at + COUNT] = min(f[at + COUNT] + 1.0, float(MOST))
    if t - f[at + EVALUATED_T] < EVERY_S:
        return False
    f[at + EVALUATED_T] = t
    evaluate(f, at)
    return True


@inlined
def measure(f: Float, at: int, which: int, t: float) -> float:
    """One of the measures as of `t`, NaN where it abstains or the last beat is too long ago."""
    needed = 2.0 if which == ALPHA1 else 1.0
    if f[at + VALID] < needed or t - f[at + T] > LONGEST_GAP_S:
        return math.nan
    return f[at + MEASURE + which]  # type: ignore[no-any-return]
