"""Fitness and fatigue: how performance answers to training, learned from loads and the tests between them.

    performance(t) = p0 + k1 g(t) - k2 h(t)
    g <- g exp(-dt / tau1) + load,  h <- h exp(-dt / tau2) + load          Banister 1975; Clarke and Skiba 2013

For each pair of time constants of a grid a Kalman filter keeps (p0, k1, k2), mean and covariance: a test corrects them,
and between tests p0 walks. The pairs are weighted by how likely each made the tests that came. A forecast is the
mixture's mean and variance. Before the first test there is none; the first sets p0.

The prior of k1 and k2 is weak, and holds for loads and performances of the size of the source's (BikeScore, W).
Sources: Clarke and Skiba, Adv. Physiol. Educ. 37(2), 2013; for the filter Kolossa et al., Eur. J. Appl. Physiol. 117,
2017.
"""

from __future__ import annotations

import math

from twin_state.batch import Float
from twin_state.compiled import compiled

FITNESS_DAYS = (30.0, 42.0, 55.0)
FATIGUE_DAYS = (5.0, 10.0, 15.0, 22.0)
PAIRS = len(FITNESS_DAYS) * len(FATIGUE_DAYS)
DAY_S = 86_400.0

GAIN_FITNESS, GAIN_FATIGUE = 0.1, 0.2
SD_FITNESS, SD_FATIGUE = 0.1, 0.1
SD_START = 10.0
SD_TEST = 2.0
SD_WALK_PER_DAY = 1.0
"""Of the prior (performance per load), of p0 after the first test, of one test, and of p0's walk in a day
(performance)."""

KEPT = 12
(G, H, P0, K1, K2, C00, C01, C02, C11, C12, C22, LOG_WEIGHT) = range(KEPT)
FIELDS: tuple[tuple[str, int], ...] = (("t", 1), ("tests", 1), ("pair", KEPT * PAIRS))
T, TESTS, PAIR = range(3)
WIDTH = 2 + KEPT * PAIRS


@compiled
def pass_time(f: Float, at: int, t: float) -> None:
    """Let fitness and fatigue decay, and p0 walk, to `t` (s). A time that is not later is ignored."""
    if f[at + T] == 0.0:
        f[at + T] = t
    days = (t - f[at + T]) / DAY_S
    if not days > 0.0:
        return
    f[at + T] = t
    for n in range(PAIRS):
        b = at + PAIR + KEPT * n
        f[b + G] *= math.exp(-days / FITNESS_DAYS[n // len(FATIGUE_DAYS)])
        f[b + H] *= math.exp(-days / FATIGUE_DAYS[n % len(FATIGUE_DAYS)])
        if f[at + TESTS] > 0.0:
            f[b + C00] += SD_WALK_PER_DAY * SD_WALK_PER_DAY * days


@compiled
def observe_load(f: Float, at: int, load: float, t: float) -> None:
    """Take in the load of a session that ended at `t` (s). One that is no number, below 0 or earlier is ignored."""
    if not (math.isfinite(load) and load >= 0.0) or t < f[at + T]:
        return
    pass_time(f, at, t)
    for n in range(PAIRS):
        f[at + PAIR + KEPT * n + G] += load
        f[at + PAIR + KEPT * n + H] += load


@compiled
def forecast(f: Float, at: int, out: Float) -> bool:
    """Mean and variance of a test as of now into `out`; False, and nothing, before the first test."""
    if f[at + TESTS] == 0.0:
        return False
    best = -math.inf
    for n in range(PAIRS):
        best = max(best, f[at + PAIR + KEPT * n + LOG_WEIGHT])
    total = mean = square = 0.0
    for n in range(PAIRS):
        b = at + PAIR + KEPT * n
        weight = math.exp(f[b + LOG_WEIGHT] - best)
        m = f[b + P0] + f[b + K1] * f[b + G] - f[b + K2] * f[b + H]
        total += weight
        mean += weight * m
        square += weight * (_spread(f, b) + m * m)
    out[0] = mean / total
    out[1] = max(square / total - out[0] * out[0], 0.0)
    return True


@compiled
def _spread(f: Float, b: int) -> float:
    """Variance of a test by the pair that begins at column `b`."""
    g, h = f[b + G], -f[b + H]
    own = f[b + C00] + g * g * f[b + C11] + h * h * f[b + C22]
    both = g * f[b + C01] + h * f[b + C02] + g * h * f[b + C12]
    return own + 2.0 * both + SD_TEST * SD_TEST  # type: ignore[no-any-return]


@compiled
def observe_test(f: Float, at: int, performance: float, t: float) -> None:
    """Take in a test at `t` (s). One that is no number, or earlier than what was taken in, is ignored."""
    if not math.isfinite(performance) or t < f[at + T]:
        return
    pass_time(f, at, t)
    first = f[at + TESTS] == 0.0
    f[at + TESTS] += 1.0
    for n in range(PAIRS):
        b = at + PAIR + KEPT * n
        if first:
            f[b + K1], f[b + K2] = GAIN_FITNESS, GAIN_FATIGUE
            f[b + P0] = performance - GAIN_FITNESS * f[b + G] + GAIN_FATIGUE * f[b + H]
            f[b + C00], f[b + C11], f[b + C22] = SD_START**2, SD_FITNESS**2, SD_FATIGUE**2
            f[b + C01] = f[b + C02] = f[b + C12] = f[b + LOG_WEIGHT] = 0.0
        g, h = f[b + G], -f[b + H]
        error = performance - (f[b + P0] + f[b + K1] * g + f[b + K2] * h)
        spread = _spread(f, b)
        p0 = f[b + C00] + f[b + C01] * g + f[b + C02] * h
        p1 = f[b + C01] + f[b + C11] * g + f[b + C12] * h
        p2 = f[b + C02] + f[b + C12] * g + f[b + C22] * h
        f[b + P0] += p0 / spread * error
        f[b + K1] += p1 / spread * error
        f[b + K2] += p2 / spread * error
        f[b + C00] -= p0 * p0 / spread
        f[b + C01] -= p0 * p1 / spread
        f[b + C02] -= p0 * p2 / spread
        f[b + C11] -= p1 * p1 / spread
        f[b + C12] -= p1 * p2 / spread
        f[b + C22] -= p2 * p2 / spread
        f[b + LOG_WEIGHT] -= 0.5 * (math.log(spread) + error * error / spread)
