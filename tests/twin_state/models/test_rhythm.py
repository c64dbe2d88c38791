"""Events of rhythm: each is counted once, where it was, and nothing else is."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from twin_state.batch import Float
from twin_state.models import rhythm as model

FAST = 160.0
EVENTS = (model.BRADYCARDIA, model.TACHYCARDIA, model.PAUSES, model.ECTOPIC)


def run(intervals: list[float], fast_per_min: float = FAST, *, begin: float = 1e6) -> tuple[Float, float]:
    f = np.zeros(model.WIDTH)
    t = begin
    for interval in intervals:
        t += interval
        model.observe(f, 0, interval, t, fast_per_min)
    return f, t


def events(intervals: list[float], fast_per_min: float = FAST) -> list[float]:
    f, t = run(intervals, fast_per_min)
    return [float(model.counted(f, 0, which, t)) for which in EVENTS]


def test_a_steady_heart_has_no_event() -> None:
    assert events([0.8] * 500) == [0, 0, 0, 0]


def test_ten_slow_beats_are_one_bradycardia_and_a_second_needs_ten_others_between() -> None:
    assert events([0.8] * 20 + [1.6] * 9 + [0.8] * 20) == [0, 0, 0, 0]
    assert events([0.8] * 20 + [1.6] * 60 + [0.8] * 20) == [1, 0, 0, 0]
    assert events([0.8] * 20 + [1.6] * 20 + [0.8] * 5 + [1.6] * 20 + [0.8] * 20 + [1.6] * 15)[0] == 2


def test_a_tachycardia_is_one_at_rest_only() -> None:
    fast = [0.8] * 20 + [0.35] * 50
    assert events(fast) == [0, 1, 0, 0]
    assert events(fast, math.inf) == [0, 0, 0, 0]


@pytest.mark.parametrize(("age_years", "rate"), [(40.0, 171.0), (80.0, 144.4), (math.nan, 157.7)])
def test_how_fast_is_fast_follows_from_age(age_years: float, rate: float) -> None:
    assert model.highest_rate_per_min(age_years) == pytest.approx(rate)


def test_pauses_are_counted_and_the_longest_is_kept() -> None:
    f, t = run([0.8] * 20 + [2.6] + [0.8] * 20 + [3.4] + [0.8] * 20)
    assert [model.counted(f, 0, which, t) for which in (model.PAUSES, model.LONGEST)] == [2, 3.4]


def test_an_early_beat_with_its_pause_is_ectopic_and_what_looks_like_it_is_not() -> None:
    rest = [0.8] * 20
    assert events([*rest, 0.5, 1.1, *rest, 0.5, 1.1, *rest]) == [0, 0, 0, 2]
    assert events([*rest, 0.5, 0.3, *rest])[3] == 0, "a beat that was seen twice"
    assert events([*rest, 0.5, 0.8, *rest])[3] == 0, "no pause makes up for it"
    chance = np.random.default_rng(1)
    assert events(list(0.35 + chance.gamma(3.0, 0.1, 2000)))[3] < 10, "an irregular rhythm"


def test_what_is_a_day_old_is_no_longer_counted() -> None:
    f, t = run([0.8] * 20 + [2.6] + [0.8] * 5, begin=1_000_000.0)
    assert model.counted(f, 0, model.PAUSES, t + 20 * 3600) == 1
    assert model.counted(f, 0, model.PAUSES, t + 25 * 3600) == 0
    again = t + 49 * 3600
    for n in range(10):
        model.observe(f, 0, 0.8, again + n, FAST)
    assert model.counted(f, 0, model.PAUSES, again + 10) == 0
    assert model.counted(f, 0, model.BEATS, again + 10) == 10


INTERVALS = st.lists(
    st.one_of(st.floats(0.2, 3.0), st.sampled_from([0.8, 1.6, 0.3, 0.0, -1.0, 1e9, math.nan, math.inf])),
    min_size=1,
    max_size=300,
)


@settings(deadline=None, max_examples=30)
@given(INTERVALS, st.integers(0, 300), st.sampled_from([1.0, 40.0, 4000.0, 200_000.0]))
def test_laws(intervals: list[float], cut: int, step_s: float) -> None:
    """Finite whatever comes; a state copied midway goes on alike; a beat that comes again changes nothing."""

    def after(some: list[float], state: Float, t: float) -> float:
        for n, interval in enumerate(some):
            t += interval if math.isfinite(interval) and 0.0 < interval < 15.0 else step_s
            model.observe(state, 0, interval, t, FAST if n % 2 else math.inf)
        return t

    whole, parts = np.zeros(model.WIDTH), np.zeros(model.WIDTH)
    cut -= cut % 2
    after(intervals, whole, 1.0)
    assert np.isfinite(whole).all()
    t = after(intervals[:cut], parts, 1.0)
    copied = parts.copy()
    model.observe(copied, 0, 0.7, copied[model.T], FAST)
    assert copied.tobytes() == parts.tobytes()
    after(intervals[cut:], copied, t)
    assert copied.tobytes() == whole.tobytes()
