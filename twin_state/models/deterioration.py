"""Risk of deterioration by the hour, from vital signs taken now and then: additive, so that it can be explained.

Features: for each vital sign the level, v <- v + 0.4 (value - v), and how often it is taken, d <- d + 0.15 (taken - d);
for supplemental oxygen the fraction inspired, how often and since when; hours of the stay; how many signs were taken of
late. How often a sign is taken says what those at the bedside think. One that was never taken counts as its centre.

The log odds are additive in them, with five knots each (`twin_state.models.additive`). It abstains before any sign was
taken, and a day after the last.
"""

from __future__ import annotations

import math

from twin_state.batch import Float
from twin_state.compiled import compiled
from twin_state.models import additive

SIGNS = 7
(HEART_RATE, SPO2, TEMPERATURE, SYSTOLIC, MEAN_PRESSURE, DIASTOLIC, RESPIRATORY_RATE) = range(SIGNS)
"""1/min, %, Cel, mm[Hg] each, 1/min."""
ROOM_AIR = 0.21
LEVEL_GAIN, TAKEN_GAIN, OXYGEN_GAIN, NUMBER_GAIN = 0.4, 0.15, 0.1, 0.3
HOUR_S = 3600.0
LONGEST_GAP_S = 86_400.0
FIRST_HOURS = 6.0
OXYGEN_FORGOTTEN_H = 24.0

FEATURES = 3 + 2 * SIGNS + 5
(HOURS, NUMBER, BEGINNING, LEVEL) = range(4)
TAKEN = LEVEL + SIGNS
(OXYGEN, OXYGEN_TAKEN, OXYGEN_EVER, OXYGEN_HOURS, OXYGEN_TIMES) = range(TAKEN + SIGNS, TAKEN + SIGNS + 5)
NAMES: tuple[str, ...] = (
    *("hours of the stay", "signs taken of late", "first hours"),
    *(
        "heart rate",
        "SpO2",
        "temperature",
        "systolic pressure",
        "mean pressure",
        "diastolic pressure",
        "respiratory rate",
    ),
    *("how often heart rate is taken", "how often SpO2 is taken", "how often temperature is taken"),
    *("how often systolic pressure is taken", "how often mean pressure is taken"),
    *("how often diastolic pressure is taken", "how often respiratory rate is taken"),
    *("oxygen given", "how often oxygen is recorded", "whether oxygen was ever recorded"),
    *("hours since oxygen was recorded", "times oxygen was recorded"),
)
"""What a feature says, in its order."""

KNOTS = 5
PARAMETERS = additive.parameters(FEATURES, KNOTS)

FIELDS: tuple[tuple[str, int], ...] = (
    ("t", 1),
    ("begin_t", 1),
    ("sign_t", 1),
    ("seen", SIGNS),
    ("level", SIGNS),
    ("taken", SIGNS),
    ("number", 1),
    ("oxygen", 1),
    ("oxygen_taken", 1),
    ("oxygen_times", 1),
    ("oxygen_hours", 1),
)
(T, BEGIN_T, SIGN_T, SEEN) = range(4)
STATE_LEVEL = SEEN + SIGNS
STATE_TAKEN = STATE_LEVEL + SIGNS
(STATE_NUMBER, STATE_OXYGEN, STATE_OXYGEN_TAKEN, STATE_OXYGEN_TIMES, STATE_OXYGEN_HOURS) = range(
    STATE_TAKEN + SIGNS, STATE_TAKEN + SIGNS + 5
)
WIDTH = STATE_OXYGEN_HOURS + 1


@compiled
def observe_hour(f: Float, at: int, values: Float, oxygen: float, t: float, stay_h: float) -> None:
    """Take in one hour of signs, shape (SIGNS,), NaN where not taken, and the fraction of oxygen inspired (NaN where
    not recorded). `t` (s) is the hour's end, `stay_h` how long the stay has lasted then. A time that is not later than
    the last is ignored; hours in between count as hours in which nothing was taken, up to a day."""
    if not t > f[at + T]:
        return
    if f[at + T] == 0.0 or t - f[at + T] > LONGEST_GAP_S:
        for n in range(WIDTH):
            f[at + n] = 0.0
        f[at + STATE_OXYGEN_HOURS] = OXYGEN_FORGOTTEN_H
        missed = 0
    else:
        missed = int((t - f[at + T]) / HOUR_S + 0.5) - 1
    f[at + T] = t
    f[at + BEGIN_T] = t - HOUR_S * max(stay_h, 0.0)
    for _ in range(missed):
        _count(f, at, values, math.nan, nothing=True)
    _count(f, at, values, oxygen, nothing=False)
    for n in range(SIGNS):
        if math.isfinite(values[n]):
            f[at + SIGN_T] = t


@compiled
def _count(f: Float, at: int, values: Float, oxygen: float, nothing: bool) -> None:
    number = 0.0
    for n in range(SIGNS):
        x = values[n]
        taken = math.isfinite(x) and not nothing
        if taken:
            number += 1.0
            if f[at + SEEN + n] == 0.0:
                f[at + SEEN + n] = 1.0
                f[at + STATE_LEVEL + n] = x
            else:
                f[at + STATE_LEVEL + n] += LEVEL_GAIN * (x - f[at + STATE_LEVEL + n])
        f[at + STATE_TAKEN + n] += TAKEN_GAIN * ((1.0 if taken else 0.0) - f[at + STATE_TAKEN + n])
    f[at + STATE_NUMBER] += NUMBER_GAIN * (number - f[at + STATE_NUMBER])
    recorded = math.isfinite(oxygen)
    if recorded:
        f[at + STATE_OXYGEN] = oxygen
        f[at + STATE_OXYGEN_TIMES] += 1.0
        f[at + STATE_OXYGEN_HOURS] = 0.0
    else:
        f[at + STATE_OXYGEN_HOURS] = min(f[at + STATE_OXYGEN_HOURS] + 1.0, OXYGEN_FORGOTTEN_H)
    f[at + STATE_OXYGEN_TAKEN] += OXYGEN_GAIN * ((1.0 if recorded else 0.0) - f[at + STATE_OXYGEN_TAKEN])


@compiled
def features(f: Float, at: int, out: Float) -> None:
    """The features as they stand into `out`, its first FEATURES columns; NaN for the level of a sign never taken."""
    hours = max((f[at + T] - f[at + BEGIN_T]) / HOUR_S, 1.0)
    out[HOURS] = math.log(hours)
    out[NUMBER] = f[at + STATE_NUMBER]
    out[BEGINNING] = min(hours, FIRST_HOURS)
    for n in range(SIGNS):
        out[LEVEL + n] = f[at + STATE_LEVEL + n] if f[at + SEEN + n] > 0.0 else math.nan
        out[TAKEN + n] = f[at + STATE_TAKEN + n]
    out[OXYGEN] = f[at + STATE_OXYGEN]
    out[OXYGEN_TAKEN] = f[at + STATE_OXYGEN_TAKEN]
    out[OXYGEN_EVER] = 1.0 if f[at + STATE_OXYGEN_TIMES] > 0.0 else 0.0
    out[OXYGEN_HOURS] = f[at + STATE_OXYGEN_HOURS]
    out[OXYGEN_TIMES] = math.log(1.0 + f[at + STATE_OXYGEN_TIMES])


@compiled
def log_odds(x: Float, p: Float) -> float:
    """Of the features in the first FEATURES columns of `x`, as `features` writes them; its next FEATURES columns get
    what each adds. `p` are the population parameters."""
    return additive.log_odds(x, 0, p, FEATURES, KNOTS, FEATURES)


@compiled
def known(f: Float, at: int, t: float) -> bool:
    """Whether the model has anything to go by at `t` (s)."""
    return f[at + SIGN_T] > 0.0 and t - f[at + SIGN_T] <= LONGEST_GAP_S  # type: ignore[no-any-return]


def shock_index(heart_rate_bpm: float, systolic_mmhg: float) -> float:
    """Heart rate over systolic pressure; about 0.5 to 0.7 in the healthy. NaN without both.

    Source: Allgower and Burri, Dtsch. Med. Wochenschr. 92(43), 1967. It adds nothing to the risk above that the two
    signs do not, and stands beside it for people to read.
    """
    if not (math.isfinite(heart_rate_bpm) and systolic_mmhg > 0.0):
        return math.nan
    return heart_rate_bpm / systolic_mmhg
