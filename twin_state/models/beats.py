"""Which intervals between beats are trusted: those of the sinus node, without artefacts and ectopic beats.

    trusted if  0.3 s <= interval <= 2 s  and  |interval - m| <= 0.2 m,  m the median of the last 11 that were trusted

Source: Task Force of the ESC and NASPE, Circulation 93(5), 1996, on editing; the local median after Lipponen and
Tarvainen, J. Med. Eng. Technol. 43(3), 2019. A rate that changes at once looks like artefacts at first: after
`RELEARN` distrusted intervals in a row that agree with each other, they are the measure. What is distrusted is counted,
never bridged: a measure that needs successive intervals skips the pair.
"""

from __future__ import annotations

from twin_state.batch import Float
from twin_state.compiled import compiled, inlined

REMEMBERED = 11
SHORTEST_S, LONGEST_S = 0.3, 2.0
MOST_AWAY = 0.2
RELEARN = 5

COLUMNS: tuple[tuple[str, int], ...] = (
    ("trusted_s", REMEMBERED),
    ("distrusted_s", RELEARN),
    ("trusted_count", 1),
    ("distrusted_count", 1),
)
"""For the fields of the estimator that judges by them: (name, number of columns)."""
TRUSTED = 0
DISTRUSTED = TRUSTED + REMEMBERED
TRUSTED_COUNT, DISTRUSTED_COUNT = range(DISTRUSTED + RELEARN, DISTRUSTED + RELEARN + 2)
WIDTH = DISTRUSTED_COUNT + 1


@inlined
def _push(f: Float, first: int, length: int, value: float) -> None:
    for j in range(first, first + length - 1):
        f[j] = f[j + 1]
    f[first + length - 1] = value


@inlined
def _median(f: Float, end: int, count: int) -> float:
    """Of the `count` columns before `end`: the one with as many below as above; of equal ones any."""
    for j in range(end - count, end):
        below = above = 0
        for k in range(end - count, end):
            below += f[k] < f[j]
            above += f[k] > f[j]
        if 2 * below <= count and 2 * above <= count:
            return f[j]  # type: ignore[no-any-return]
    return f[end - 1]  # type: ignore[no-any-return]


@inlined
def begin_anew(f: Float, at: int) -> None:
    """Forget the intervals seen so far: a gap lies between them and what comes."""
    for n in range(WIDTH):
        f[at + n] = 0.0


@compiled
def trusted(f: Float, at: int, interval_s: float) -> bool:
    """Take in one interval (s) and say whether it is trusted. One that is not finite is not."""
    if not SHORTEST_S <= interval_s <= LONGEST_S:
        f[at + DISTRUSTED_COUNT] = 0.0
        return False
    count = int(f[at + TRUSTED_COUNT])
    if count > 0:
        m = _median(f, at + TRUSTED + REMEMBERED, min(count, REMEMBERED))
        if abs(interval_s - m) > MOST_AWAY * m:
            _push(f, at + DISTRUSTED, RELEARN, interval_s)
            f[at + DISTRUSTED_COUNT] += 1.0
            if f[at + DISTRUSTED_COUNT] < RELEARN:
                return False
            middle = _median(f, at + DISTRUSTED + RELEARN, RELEARN)
            for n in range(RELEARN):
                if abs(f[at + DISTRUSTED + n] - middle) > MOST_AWAY * middle:
                    return False
            f[at + TRUSTED_COUNT] = 0.0
            for n in range(RELEARN):
                _push(f, at + TRUSTED, REMEMBERED, f[at + DISTRUSTED + n])
                f[at + TRUSTED_COUNT] += 1.0
            f[at + DISTRUSTED_COUNT] = 0.0
            return True
    f[at + DISTRUSTED_COUNT] = 0.0
    _push(f, at + TRUSTED, REMEMBERED, interval_s)
    f[at + TRUSTED_COUNT] = min(f[at + TRUSTED_COUNT] + 1.0, float(REMEMBERED))
    return True
