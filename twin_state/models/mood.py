"""Mood as a point in two dimensions, valence and arousal, from what people answer and what their heart does.

    valence = u + d,  du = walk of 0.02 a root day,  d <- d exp(-dt / 3 d), sd 0.6        Kalman filter
    an answer (feeling, mood: -2 to 2) = u + d + noise of 0.5
    arousal a <- a exp(-dt / 1 d), sd 1;  (z of heart rate - z of log RMSSD) / 2 = a + noise of 0.7
    P(next answer is low) : additive in valence, arousal and the share of low answers so far, shipped weights

z is against this person's own exponential mean and scatter. The two dimensions: Russell, J. Pers. Soc. Psychol. 39(6),
1980. An answer counts at the time for which it was given, in order; one that is earlier than the last is ignored.

`forecast` abstains (NaN) before `LEAST_ANSWERS`. Valence and arousal have variances, which grow with time.
"""

from __future__ import annotations

import math

from twin_state.batch import Float
from twin_state.compiled import compiled, inlined
from twin_state.models import additive

DAY_S = 86_400.0
WALK, SD_USUAL, SD_DAY, DAYS = 0.02, 0.5, 0.6, 3.0
ANSWER_VARIANCE = 0.25
AROUSAL_DAYS, AROUSAL_VARIANCE = 1.0, 0.5
MOST_Z = 3.0
LEAST_GAIN = 0.03
SD_RATE_BPM, SD_LOG_RMSSD = 8.0, 0.3
FIRST_SHARE = 0.2
LEAST_ANSWERS = 3.0

FEATURES = 3
NAMES = ("valence", "arousal", "low answers so far")
PARAMETERS = additive.parameters(FEATURES, 0)

FIELDS: tuple[tuple[str, int], ...] = (
    ("t", 1),
    ("answers", 1),
    ("measured", 1),
    ("usual", 1),
    ("day", 1),
    ("covariance", 3),
    ("arousal", 2),
    ("rate", 2),
    ("log_rmssd", 2),
    ("low_share", 1),
    ("feature", FEATURES),
    ("part", FEATURES),
)
(T, ANSWERS, MEASURED, USUAL, DAY, UU, UD, DD, AROUSAL, AROUSAL_SPREAD, RATE, RATE_SPREAD, RMSSD, RMSSD_SPREAD) = range(
    14
)
LOW_SHARE = 14
FEATURE = 15
PART = FEATURE + FEATURES
WIDTH = PART + FEATURES


@compiled
def pass_time(f: Float, at: int, t: float) -> None:
    """Let the state grow old until `t` (s). A time that is not later is ignored."""
    if not math.isfinite(t):
        return
    if f[at + T] == 0.0:
        f[at + T] = t
        f[at + UU], f[at + DD], f[at + AROUSAL_SPREAD] = SD_USUAL**2, SD_DAY**2, 1.0
        f[at + LOW_SHARE] = FIRST_SHARE
    days = (t - f[at + T]) / DAY_S
    if not days > 0.0:
        return
    f[at + T] = t
    kept = math.exp(-days / DAYS)
    f[at + DAY] *= kept
    f[at + UU] = min(f[at + UU] + WALK * WALK * days, SD_USUAL**2)
    f[at + UD] *= kept
    f[at + DD] = kept * kept * f[at + DD] + (1.0 - kept * kept) * SD_DAY**2
    kept = math.exp(-days / AROUSAL_DAYS)
    f[at + AROUSAL] *= kept
    f[at + AROUSAL_SPREAD] = kept * kept * f[at + AROUSAL_SPREAD] + 1.0 - kept * kept


@inlined
def _z(f: Float, mean: int, x: float) -> float:
    z = (x - f[mean]) / math.sqrt(f[mean + 1])
    return min(max(z, -MOST_Z), MOST_Z)  # type: ignore[no-any-return]


@inlined
def _usual(f: Float, mean: int, x: float, gain: float, least: float) -> None:
    d = x - f[mean]
    f[mean] += gain * d
    f[mean + 1] = max(f[mean + 1] + gain * (d * d - f[mean + 1]), least)


@compiled
def observe_heart(f: Float, at: int, heart_rate_bpm: float, rmssd_ms: float, t: float) -> None:
    """Take in a measurement at rest at `t` (s). Values that are none, or earlier than the last, are ignored."""
    if t < f[at + T] or not (20.0 <= heart_rate_bpm <= 300.0 and 0.0 <= rmssd_ms <= 2000.0):
        return
    pass_time(f, at, t)
    x = math.log(max(rmssd_ms, 1.0))
    if f[at + MEASURED] == 0.0:
        f[at + RATE], f[at + RATE_SPREAD] = heart_rate_bpm, SD_RATE_BPM**2
        f[at + RMSSD], f[at + RMSSD_SPREAD] = x, SD_LOG_RMSSD**2
    seen = 0.5 * (_z(f, at + RATE, heart_rate_bpm) - _z(f, at + RMSSD, x))
    gain = f[at + AROUSAL_SPREAD] / (f[at + AROUSAL_SPREAD] + AROUSAL_VARIANCE)
    f[at + AROUSAL] += gain * (seen - f[at + AROUSAL])
    f[at + AROUSAL_SPREAD] *= 1.0 - gain
    f[at + MEASURED] += 1.0
    own = max(1.0 / (f[at + MEASURED] + 1.0), LEAST_GAIN)
    _usual(f, at + RATE, heart_rate_bpm, own, 9.0)
    _usual(f, at + RMSSD, x, own, 0.01)


@inlined
def _answer(f: Float, at: int, value: float) -> None:
    if math.isnan(value):
        return
    of_usual = f[at + UU] + f[at + UD]
    of_day = f[at + UD] + f[at + DD]
    spread = of_usual + of_day + ANSWER_VARIANCE
    error = min(max(value, -2.0), 2.0) - f[at + USUAL] - f[at + DAY]
    f[at + USUAL] += of_usual / spread * error
    f[at + DAY] += of_day / spread * error
    f[at + UU] -= of_usual * of_usual / spread
    f[at + UD] -= of_usual * of_day / spread
    f[at + DD] -= of_day * of_day / spread


@compiled
def observe_answer(f: Float, at: int, mood: float, feeling: float, t: float) -> None:
    """Take in answers (-2 to 2, NaN where not given) of the time `t` (s). Earlier than the last ones, or none, they are
    ignored."""
    if t < f[at + T] or (math.isnan(mood) and math.isnan(feeling)):
        return
    pass_time(f, at, t)
    _answer(f, at, mood)
    _answer(f, at, feeling)
    low = 1.0 if mood < 0.0 or feeling < 0.0 else 0.0
    f[at + ANSWERS] += 1.0
    f[at + LOW_SHARE] += max(LEAST_GAIN, 1.0 / (f[at + ANSWERS] + 3.0)) * (low - f[at + LOW_SHARE])


@compiled
def forecast(f: Float, at: int, p: Float) -> float:
    """Probability that an answer given now were low; NaN where it abstains. Columns PART and on say what adds to it."""
    if f[at + ANSWERS] < LEAST_ANSWERS:
        return math.nan
    share = f[at + LOW_SHARE]
    f[at + FEATURE] = f[at + USUAL] + f[at + DAY]
    f[at + FEATURE + 1] = f[at + AROUSAL]
    f[at + FEATURE + 2] = math.log((share + 0.02) / (1.02 - share))
    odds = additive.log_odds(f, at + FEATURE, p, FEATURES, 0, at + PART)
    return 1.0 / (1.0 + math.exp(-odds))


@inlined
def valence_variance(f: Float, at: int) -> float:
    """Of valence as it stands."""
    return f[at + UU] + 2.0 * f[at + UD] + f[at + DD]  # type: ignore[no-any-return]
