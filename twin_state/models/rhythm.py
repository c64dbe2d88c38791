"""Events of rhythm in the intervals between beats, counted over the last 24 hours: never a diagnosis.

    bradycardia   10 beats in a row slower than 40/min; the episode ends with 10 that are not
    tachycardia   the same, faster than 0.95 (208 - 0.7 age), outside a session      Tanaka et al., JACC 37(1), 2001
    pause         an interval longer than 2.5 s
    ectopic beat  x[n-1] < 0.8 m and 1.8 m <= x[n-1] + x[n] <= 2.2 m, m the mean of the four intervals before, each of
                  which lies within 10 % of it: a premature beat in a regular rhythm, and the pause that makes up for it

An interval that is no interval (outside 200 ms to 10 s) is left out, and a gap in the beats begins every run anew.
Counts lie in one bucket an hour, of which the oldest is emptied as its hour comes again. An irregular rhythm has no
ectopic beats by this definition, and a beat that a device missed can look like a pause.
"""

from __future__ import annotations

import math

from twin_state.batch import Float
from twin_state.compiled import compiled, inlined

RUN = 10
SLOW_PER_MIN = 40.0
HIGHEST_SHARE = 0.95
AGE_UNKNOWN_YEARS = 60.0
PAUSE_S = 2.5
SHORTEST_S, LONGEST_S = 0.2, 10.0
LONGEST_GAP_S = 10.0
BEFORE = 4
REGULAR = 0.1
PREMATURE = 0.8
PAIR_LEAST, PAIR_MOST = 1.8, 2.2

HOURS = 24
HOUR_S = 3600.0
KINDS = 4
(BRADYCARDIA, TACHYCARDIA, PAUSES, ECTOPIC) = range(KINDS)
COUNTED = KINDS + 2
(LONGEST, BEATS) = range(KINDS, COUNTED)
"""Beside the counts a bucket has its longest pause (s) and how many beats it saw."""

FIELDS: tuple[tuple[str, int], ...] = (
    ("recent_s", BEFORE + 2),
    ("t", 1),
    ("hour", 1),
    ("slow_run", 1),
    ("fast_run", 1),
    ("slow", 1),
    ("fast", 1),
    ("bucket", HOURS * COUNTED),
)
"""A run counts beats that are slow (or fast) in a row, or, in an episode, those that are not."""
RECENT = 0
(T, HOUR, SLOW_RUN, FAST_RUN, SLOW, FAST) = range(BEFORE + 2, BEFORE + 8)
BUCKET = FAST + 1
WIDTH = BUCKET + HOURS * COUNTED


@inlined
def highest_rate_per_min(age_years: float) -> float:
    """Above this a rate at rest is an event; without an age (NaN) as for one of 60 years."""
    age = AGE_UNKNOWN_YEARS if math.isnan(age_years) else age_years
    return HIGHEST_SHARE * (208.0 - 0.7 * age)


@inlined
def _bucket(f: Float, at: int, t: float) -> int:
    """First column of the bucket of the hour of `t`, emptied of what is more than a day old."""
    hour = math.floor(t / HOUR_S)
    passed = hour - f[at + HOUR]
    if passed > 0.0:
        for n in range(int(min(passed, float(HOURS)))):
            first = at + BUCKET + int((hour - n) % HOURS) * COUNTED
            for j in range(COUNTED):
                f[first + j] = 0.0
        f[at + HOUR] = hour
    return at + BUCKET + int(hour % HOURS) * COUNTED


@inlined
def _episode(f: Float, run: int, standing: int, now: bool) -> bool:
    """Whether an episode began with this beat, which was slow (or fast) or not."""
    if now == (f[standing] > 0.0):
        f[run] = 0.0
        return False
    f[run] += 1.0
    if f[run] < RUN:
        return False
    f[run] = 0.0
    f[standing] = 1.0 if now else 0.0
    return now


@inlined
def _ectopic(f: Float, at: int) -> bool:
    """Whether the newest two intervals are a premature beat and its pause."""
    mean = 0.0
    for n in range(BEFORE):
        if f[at + RECENT + n] <= 0.0:
            return False
        mean += f[at + RECENT + n] / BEFORE
    for n in range(BEFORE):
        if abs(f[at + RECENT + n] - mean) > REGULAR * mean:
            return False
    early, late = f[at + RECENT + BEFORE], f[at + RECENT + BEFORE + 1]
    return early < PREMATURE * mean and PAIR_LEAST * mean <= early + late <= PAIR_MOST * mean  # type: ignore[no-any-return]


@compiled
def observe(f: Float, at: int, interval_s: float, t: float, fast_per_min: float) -> None:
    """Take in the interval (s) that ended with the beat at `t` (s). `fast_per_min` is infinite in a session.

    A beat that is not after the last one is ignored.
    """
    if not t > f[at + T]:
        return
    if t - f[at + T] > LONGEST_GAP_S:
        for n in range(BEFORE + 2):
            f[at + RECENT + n] = 0.0
        f[at + SLOW_RUN] = f[at + FAST_RUN] = f[at + SLOW] = f[at + FAST] = 0.0
    f[at + T] = t
    bucket = _bucket(f, at, t)
    if not SHORTEST_S <= interval_s <= LONGEST_S:
        return
    f[bucket + BEATS] += 1.0
    for n in range(BEFORE + 1):
        f[at + RECENT + n] = f[at + RECENT + n + 1]
    f[at + RECENT + BEFORE + 1] = interval_s
    rate = 60.0 / interval_s
    if _episode(f, at + SLOW_RUN, at + SLOW, rate < SLOW_PER_MIN):
        f[bucket + BRADYCARDIA] += 1.0
    if _episode(f, at + FAST_RUN, at + FAST, rate > fast_per_min):
        f[bucket + TACHYCARDIA] += 1.0
    if interval_s > PAUSE_S:
        f[bucket + PAUSES] += 1.0
        f[bucket + LONGEST] = max(f[bucket + LONGEST], interval_s)
    if _ectopic(f, at):
        f[bucket + ECTOPIC] += 1.0


@compiled
def counted(f: Float, at: int, which: int, t: float) -> float:
    """One kind of event, or beats, in the 24 hours before `t` (s); of LONGEST the longest (s). Whole hours count."""
    hour = math.floor(t / HOUR_S)
    total = 0.0
    for n in range(HOURS):
        own = f[at + HOUR] - ((f[at + HOUR] - n) % HOURS)
        if own <= hour - HOURS:
            continue
        value = f[at + BUCKET + n * COUNTED + which]
        total = max(total, value) if which == LONGEST else total + value
    return total
