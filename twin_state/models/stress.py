"""Probability of mental stress from a wristband, against what is usual for this person, gated by movement.

    m_tau <- m_tau + g (x - m_tau),  g = max(1 - exp(-dt / tau), dt / age)       means of each signal over several times
    x     heart rate (1/min); log of skin conductance (uS); skin temperature (Cel); log of movement (sd of acceleration)
    features: differences of a shorter and a longer mean, 20 to 100 s, 60 to 300 s, 120 to 600 s; levels against the
              person's mean and scatter; distance from the greatest and least of late; scatter of heart rate; how fast
              skin conductance rises; movement against what is usual
    log odds = additive in the features, with one knot each (`twin_state.models.additive`) + the person's offset

What is usual is a mean over all that was seen, at most a week. Labels come late: the offset moves with each by
`LEARN (label - probability)`, at most `MOST_OFFSET`. Features after Healey and Picard, IEEE T-ITS 6(2), 2005, and
Schmidt et al., ICMI 2018 (WESAD).

Abstains (NaN) in the first `SETTLING_S`, `STALE_S` after the last skin conductance or heart rate, and while movement
over half a minute is more than `EXERCISE_G`: the heart of one who walks fast says nothing of the mind.
"""

from __future__ import annotations

import math

from twin_state.batch import Float
from twin_state.compiled import compiled, inlined
from twin_state.models import additive

SHORT_S = (20.0, 60.0, 120.0)
LONG_S = (100.0, 300.0, 600.0)
PAIRS = 3
LEVEL_S = 30.0
MEMORY_S = 7.0 * 86_400.0
RANGE_S = 86_400.0
SETTLING_S, STALE_S = 60.0, 30.0
LONGEST_GAP_S = 3600.0
LONGEST_STEP_S = 30.0
EXERCISE_G = 0.3
G_UNIT = 64.0
"""Movement is taken in 1/64 g, in which wristbands count."""
LEARN, MOST_OFFSET = 0.02, 2.0

SIGNALS = 4
(HEART_RATE, CONDUCTANCE, TEMPERATURE, MOVEMENT) = range(SIGNALS)

FEATURES = PAIRS * SIGNALS + 11
NAMES: tuple[str, ...] = (
    *("heart rate, 20 s", "skin conductance, 20 s", "skin temperature, 20 s", "movement, 20 s"),
    *("heart rate, 1 min", "skin conductance, 1 min", "skin temperature, 1 min", "movement, 1 min"),
    *("heart rate, 2 min", "skin conductance, 2 min", "skin temperature, 2 min", "movement, 2 min"),
    *("heart rate beside usual", "skin conductance beside usual", "heart rate of 2 min beside usual"),
    *("skin conductance of 2 min beside usual", "heart rate below its greatest"),
    *("skin conductance below its greatest", "skin conductance above its least"),
    *("scatter of heart rate", "rise of skin conductance", "movement beside usual", "movement of 2 min beside usual"),
)
THRESHOLD = additive.parameters(FEATURES, 1)
PERSON_VARIANCE = THRESHOLD + 1
PARAMETERS = PERSON_VARIANCE + 1
"""The last two are the probability above which the answer is yes, the share of stress where it was fitted, and the
variance of log odds between people whom the model had not seen."""

MEANS = 2 * PAIRS + 1
FIELDS: tuple[tuple[str, int], ...] = (
    ("t", 1),
    ("age", 1),
    ("heart_rate_t", 1),
    ("conductance_t", 1),
    ("signal_age", SIGNALS),
    ("mean", SIGNALS * MEANS),
    ("usual", SIGNALS),
    ("spread", SIGNALS),
    ("fast", 1),
    ("scatter", 1),
    ("usual_scatter", 1),
    ("rise", 1),
    ("usual_rise", 1),
    ("before", 1),
    ("greatest", 2),
    ("least", 1),
    ("offset", 1),
    ("feature", FEATURES),
    ("part", FEATURES),
)
(T, AGE, HEART_RATE_T, CONDUCTANCE_T, SIGNAL_AGE) = range(5)
MEAN = SIGNAL_AGE + SIGNALS
USUAL = MEAN + SIGNALS * MEANS
SPREAD = USUAL + SIGNALS
(FAST, SCATTER, USUAL_SCATTER, RISE, USUAL_RISE, BEFORE, GREATEST) = range(SPREAD + SIGNALS, SPREAD + SIGNALS + 7)
LEAST = GREATEST + 2
OFFSET = LEAST + 1
FEATURE = OFFSET + 1
PART = FEATURE + FEATURES
WIDTH = PART + FEATURES
"""A signal's means are those of SHORT_S, of LONG_S, and of LEVEL_S; the person's own is the offset alone."""


@inlined
def _gain(dt: float, tau_s: float, age_s: float) -> float:
    return max(1.0 - math.exp(-dt / tau_s), dt / age_s if age_s < tau_s else 0.0)


@inlined
def _take(f: Float, at: int, signal: int, x: float, dt: float) -> None:
    f[at + SIGNAL_AGE + signal] += dt
    age = f[at + SIGNAL_AGE + signal]
    b = at + MEAN + signal * MEANS
    for n in range(PAIRS):
        f[b + n] += _gain(dt, SHORT_S[n], age) * (x - f[b + n])
        f[b + PAIRS + n] += _gain(dt, LONG_S[n], age) * (x - f[b + PAIRS + n])
    f[b + 2 * PAIRS] += _gain(dt, LEVEL_S, age) * (x - f[b + 2 * PAIRS])
    g = _gain(dt, MEMORY_S, age)
    f[at + USUAL + signal] += g * (x - f[at + USUAL + signal])
    d = x - f[at + USUAL + signal]
    f[at + SPREAD + signal] += g * (d * d - f[at + SPREAD + signal])


@compiled
def observe(
    f: Float, at: int, heart_rate_bpm: float, conductance_us: float, temperature_cel: float, movement_g: float, t: float
) -> None:
    """Take in a second of the wristband at `t` (s), each NaN where there is none: means of the second, and the standard
    deviation of acceleration (g). A time that is not later is ignored; after `LONGEST_GAP_S` the short means begin
    anew."""
    if not (t > f[at + T] and math.isfinite(t)):
        return
    gap = t - f[at + T]
    dt = min(gap, LONGEST_STEP_S)
    if f[at + T] == 0.0 or gap > LONGEST_GAP_S:
        dt = 1.0
        f[at + AGE] = 0.0
        for signal in range(SIGNALS):
            f[at + SIGNAL_AGE + signal] = 0.0
    f[at + T] = t
    f[at + AGE] += dt
    if 20.0 <= heart_rate_bpm <= 300.0:
        first = f[at + SIGNAL_AGE + HEART_RATE] == 0.0
        _take(f, at, HEART_RATE, heart_rate_bpm, dt)
        age = f[at + SIGNAL_AGE + HEART_RATE]
        f[at + FAST] += _gain(dt, 15.0, age) * (heart_rate_bpm - f[at + FAST])
        d = heart_rate_bpm - f[at + FAST]
        f[at + SCATTER] += _gain(dt, 60.0, age) * (d * d - f[at + SCATTER])
        scatter = math.log(math.sqrt(f[at + SCATTER]) + 0.3)
        f[at + USUAL_SCATTER] += _gain(dt, MEMORY_S, age) * (scatter - f[at + USUAL_SCATTER])
        _bound(f, at + GREATEST, f[at + MEAN + HEART_RATE * MEANS + 1], f[at + USUAL + HEART_RATE], dt, first, 1.0)
        f[at + HEART_RATE_T] = t
    if 0.0 <= conductance_us <= 1000.0:
        first = f[at + SIGNAL_AGE + CONDUCTANCE] == 0.0
        x = math.log(conductance_us + 0.05)
        _take(f, at, CONDUCTANCE, x, dt)
        age = f[at + SIGNAL_AGE + CONDUCTANCE]
        up = 0.0 if first else max(x - f[at + BEFORE], 0.0) / dt
        f[at + BEFORE] = x
        f[at + RISE] += _gain(dt, 60.0, age) * (up - f[at + RISE])
        f[at + USUAL_RISE] += _gain(dt, MEMORY_S, age) * (math.log(f[at + RISE] + 1e-3) - f[at + USUAL_RISE])
        minute, usual = f[at + MEAN + CONDUCTANCE * MEANS + 1], f[at + USUAL + CONDUCTANCE]
        _bound(f, at + GREATEST + 1, minute, usual, dt, first, 1.0)
        _bound(f, at + LEAST, minute, usual, dt, first, -1.0)
        f[at + CONDUCTANCE_T] = t
    if 5.0 <= temperature_cel <= 45.0:
        _take(f, at, TEMPERATURE, temperature_cel, dt)
    if 0.0 <= movement_g <= 20.0:
        _take(f, at, MOVEMENT, math.log(G_UNIT * movement_g + 1.0), dt)


@inlined
def _bound(f: Float, column: int, x: float, usual: float, dt: float, first: bool, sign: float) -> None:
    """The greatest (sign 1) or least (-1) of late: it creeps back to what is usual within a day or so."""
    if first:
        f[column] = x
        return
    f[column] += dt / RANGE_S * (usual - f[column])
    if sign * x > sign * f[column]:
        f[column] = x


@inlined
def _write_features(f: Float, at: int) -> None:
    x = at + FEATURE
    for n in range(PAIRS):
        for signal in range(SIGNALS):
            b = at + MEAN + signal * MEANS
            f[x + n * SIGNALS + signal] = f[b + n] - f[b + PAIRS + n]
    x += PAIRS * SIGNALS
    heart, skin, moved = at + MEAN, at + MEAN + CONDUCTANCE * MEANS, at + MEAN + MOVEMENT * MEANS
    heart_spread = math.sqrt(f[at + SPREAD + HEART_RATE] + 4.0)
    skin_spread = math.sqrt(f[at + SPREAD + CONDUCTANCE] + 0.01)
    f[x] = (f[heart + 2 * PAIRS] - f[at + USUAL + HEART_RATE]) / heart_spread
    f[x + 1] = (f[skin + 2 * PAIRS] - f[at + USUAL + CONDUCTANCE]) / skin_spread
    f[x + 2] = (f[heart + 2] - f[at + USUAL + HEART_RATE]) / heart_spread
    f[x + 3] = (f[skin + 2] - f[at + USUAL + CONDUCTANCE]) / skin_spread
    f[x + 4] = f[at + GREATEST] - f[heart + 2 * PAIRS]
    f[x + 5] = f[at + GREATEST + 1] - f[skin + 2 * PAIRS]
    f[x + 6] = f[skin + 2 * PAIRS] - f[at + LEAST]
    f[x + 7] = math.log(math.sqrt(f[at + SCATTER]) + 0.3) - f[at + USUAL_SCATTER]
    f[x + 8] = math.log(f[at + RISE] + 1e-3) - f[at + USUAL_RISE]
    f[x + 9] = f[moved + 2 * PAIRS] - f[at + USUAL + MOVEMENT]
    f[x + 10] = f[moved + 2] - f[at + USUAL + MOVEMENT]


@inlined
def abstains(f: Float, at: int, t: float) -> bool:
    """Whether there is too little, too old, or too much movement to speak at `t` (s)."""
    moved = f[at + MEAN + MOVEMENT * MEANS + 2 * PAIRS]
    if f[at + AGE] < SETTLING_S or moved > math.log(G_UNIT * EXERCISE_G + 1.0):
        return True
    return bool(t - f[at + HEART_RATE_T] > STALE_S or t - f[at + CONDUCTANCE_T] > STALE_S)


@compiled
def probability(f: Float, at: int, p: Float, t: float) -> float:
    """Of stress at `t` (s), NaN where it abstains. Column PART and on has what each feature adds to the log odds."""
    if abstains(f, at, t):
        return math.nan
    _write_features(f, at)
    odds = additive.log_odds(f, at + FEATURE, p, FEATURES, 1, at + PART) + f[at + OFFSET]
    return 1.0 / (1.0 + math.exp(-min(max(odds, -30.0), 30.0)))


@inlined
def variance(p: Float, said: float) -> float:
    """Of the probability `said`, by the delta method, from how far people lie from each other; NaN where it abstained.
    Noise from second to second is not in it."""
    slope = said * (1.0 - said)
    return slope * slope * p[PERSON_VARIANCE]  # type: ignore[no-any-return]


@compiled
def learn(f: Float, at: int, said: float, label: float) -> None:
    """Move the person's offset by a label (0 or 1) of a time for which `said` was the probability; NaN is ignored."""
    if math.isnan(said) or math.isnan(label):
        return
    f[at + OFFSET] = min(max(f[at + OFFSET] + LEARN * (label - said), -MOST_OFFSET), MOST_OFFSET)
