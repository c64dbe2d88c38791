"""Early warning of infection by the day: heart rate at rest that rises, steps that fall, against this person's own.

    z    = (x - median) / s of the days from 43 to 2 days ago;  s^2 = (n MAD^2 + 5 s0^2) / (n + 5)
    x      heart rate at rest (1/min); log (steps + 500)
    features: z today, and means of z over 2 and 4 days times the root of the share of days that were there, of both
    log odds additive in the features (`twin_state.models.additive`); an alarm above the threshold, then none for 9 days

Robust z after Mishra et al., Nat. Biomed. Eng. 4, 2020, and Alavi et al., Nat. Med. 28, 2022, who use heart rate at
night; `s` is drawn to what is usual among people (s0) while there are few days. Two days are left out, so that an
illness that begins slowly does not become what is usual. The rest after an alarm is the reset of a control chart: one
illness is told once. Abstains (NaN) before `LEAST_DAYS` days in the window.
"""

from __future__ import annotations

import math

from twin_state.batch import Float
from twin_state.compiled import compiled, inlined
from twin_state.models import additive

DAYS = 42
LEFT_OUT = 1.0
LEAST_DAYS = 7
PRIOR_DAYS = 5.0
MAD_TO_SD = 1.4826
MOST_Z = 4.0
REST_DAYS = 9.0
SIGNALS = 2
SD_AMONG_PEOPLE = (2.0, 0.4)
RECENT = 4

FEATURES = 6
NAMES = (
    *("heart rate at rest today", "steps today", "heart rate at rest, 2 days", "steps, 2 days"),
    *("heart rate at rest, 4 days", "steps, 4 days"),
)
THRESHOLD = additive.parameters(FEATURES, 0)
PARAMETERS = THRESHOLD + 1
"""The last parameter is the log odds above which there is an alarm."""

FIELDS: tuple[tuple[str, int], ...] = (
    ("day", 1),
    ("alarm_day", 1),
    ("alarmed", 1),
    ("known", 1),
    ("odds", 1),
    ("days", DAYS),
    ("value", DAYS * SIGNALS),
    ("recent_day", RECENT),
    ("recent_z", RECENT * SIGNALS),
    ("feature", FEATURES),
    ("part", FEATURES),
)
(DAY, ALARM_DAY, ALARMED, KNOWN, ODDS, DAYS_AT) = range(6)
VALUE = DAYS_AT + DAYS
RECENT_DAY = VALUE + DAYS * SIGNALS
RECENT_Z = RECENT_DAY + RECENT
FEATURE = RECENT_Z + RECENT * SIGNALS
PART = FEATURE + FEATURES
WIDTH = PART + FEATURES
"""Days are counted from any day on, and kept one greater than they are, so that 0 is none."""


@inlined
def _in_window(f: Float, at: int, j: int, day: float) -> bool:
    kept = f[at + DAYS_AT + j]
    ago = day - kept
    return kept != 0.0 and LEFT_OUT + 1.0 <= ago <= DAYS + LEFT_OUT  # type: ignore[no-any-return]


@inlined
def _middle(f: Float, at: int, signal: int, day: float, about: float) -> float:
    """Median of the window's values, or, where `about` is a number, of their distances from it; NaN without any."""
    low = high = math.nan
    count = 0
    for j in range(DAYS):
        count += _in_window(f, at, j, day)
    for j in range(DAYS):
        if not _in_window(f, at, j, day):
            continue
        x = f[at + VALUE + j * SIGNALS + signal]
        x = x if math.isnan(about) else abs(x - about)
        below = equal = 0
        for k in range(DAYS):
            if _in_window(f, at, k, day):
                y = f[at + VALUE + k * SIGNALS + signal]
                y = y if math.isnan(about) else abs(y - about)
                below += y < x
                equal += y == x
        if below <= (count - 1) // 2 < below + equal:
            low = x
        if below <= count // 2 < below + equal:
            high = x
    return 0.5 * (low + high)


@compiled
def observe_day(f: Float, at: int, p: Float, rest_heart_rate_bpm: float, steps: float, day: float) -> bool:
    """Take in a day (its number) with the heart rate at rest (1/min) and the steps of that day, NaN where not known.
    True where it raises an alarm. A day that is not later than the last, or has no heart rate, is ignored."""
    kept = day + 1.0
    if not (math.isfinite(day) and 20.0 <= rest_heart_rate_bpm <= 200.0):
        return False
    if f[at + KNOWN] > 0.0 and not kept > f[at + DAY]:
        return False
    f[at + KNOWN] = 1.0
    f[at + DAY] = kept
    walked = steps if 0.0 <= steps <= 500_000.0 else math.nan
    count = 0
    for j in range(DAYS):
        count += _in_window(f, at, j, kept)
    alarm = False
    f[at + ODDS] = 0.0
    if count >= LEAST_DAYS:
        for n in range(RECENT - 1):
            f[at + RECENT_DAY + n] = f[at + RECENT_DAY + n + 1]
            for signal in range(SIGNALS):
                f[at + RECENT_Z + n * SIGNALS + signal] = f[at + RECENT_Z + (n + 1) * SIGNALS + signal]
        f[at + RECENT_DAY + RECENT - 1] = kept
        for signal in range(SIGNALS):
            x = rest_heart_rate_bpm if signal == 0 else math.log(walked + 500.0)
            median = _middle(f, at, signal, kept, math.nan)
            mad = MAD_TO_SD * _middle(f, at, signal, kept, median)
            prior = SD_AMONG_PEOPLE[signal]
            s = math.sqrt((count * mad * mad + PRIOR_DAYS * prior * prior) / (count + PRIOR_DAYS))
            z = min(max((x - median) / s, -MOST_Z), MOST_Z) if math.isfinite(x) else 0.0
            f[at + RECENT_Z + (RECENT - 1) * SIGNALS + signal] = z
            f[at + FEATURE + signal] = z
            f[at + FEATURE + 2 + signal] = _mean(f, at, signal, kept, 2.0)
            f[at + FEATURE + 4 + signal] = _mean(f, at, signal, kept, 4.0)
        f[at + ODDS] = additive.log_odds(f, at + FEATURE, p, FEATURES, 0, at + PART)
        rested = f[at + ALARMED] == 0.0 or kept - f[at + ALARM_DAY] > REST_DAYS
        if f[at + ODDS] > p[THRESHOLD] and rested:
            alarm = True
            f[at + ALARMED] = 1.0
            f[at + ALARM_DAY] = kept
    f[at + KNOWN] = 2.0 if count >= LEAST_DAYS else 1.0
    oldest = 0
    for j in range(DAYS):
        if f[at + DAYS_AT + j] == 0.0:
            oldest = j
            break
        if f[at + DAYS_AT + j] < f[at + DAYS_AT + oldest]:
            oldest = j
    f[at + DAYS_AT + oldest] = kept
    f[at + VALUE + oldest * SIGNALS] = rest_heart_rate_bpm
    # An unknown count stands as the median does: it moves nothing.
    usual = _middle(f, at, 1, kept, math.nan)
    x = math.log(walked + 500.0)
    f[at + VALUE + oldest * SIGNALS + 1] = x if math.isfinite(x) else (usual if math.isfinite(usual) else 9.0)
    return alarm


@inlined
def _mean(f: Float, at: int, signal: int, kept: float, days: float) -> float:
    """Mean z of the last so many days, times the root of the share of them that were there."""
    total = count = 0.0
    for n in range(RECENT):
        if f[at + RECENT_DAY + n] != 0.0 and kept - f[at + RECENT_DAY + n] < days:
            total += f[at + RECENT_Z + n * SIGNALS + signal]
            count += 1.0
    return total / count * math.sqrt(count / days) if count > 0.0 else 0.0


@inlined
def log_odds(f: Float, at: int, day: float) -> float:
    """Of infection on the day last taken in; NaN where it abstains, or that was more than two days before `day`."""
    if f[at + KNOWN] < 2.0 or day + 1.0 - f[at + DAY] > 2.0:
        return math.nan
    return f[at + ODDS]  # type: ignore[no-any-return]
